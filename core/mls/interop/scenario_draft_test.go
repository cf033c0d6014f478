package interop

import (
	"bytes"
	"context"
	"fmt"
)

// dictionaryOf is the app_data_dictionary that holds pairs of component and value, in this order (draft-ietf-mls-extensions-10 §4.6).
func dictionaryOf(entries ...Proposal) Extension {
	var out []byte
	for _, e := range entries {
		out = append(out, byte(e.Component>>8), byte(e.Component))
		out = append(out, vector(e.Data)...)
	}
	return Extension{Type: appDataDictionaryType, Data: vector(out)}
}

func setApp(component uint16, value string) Proposal {
	return Proposal{Kind: AppDataUpdate, Component: component, Data: []byte(value)}
}

// has checks that the GroupContext holds exactly these extensions.
func has(ctx context.Context, m *member, want ...Extension) func() error {
	return func() error {
		state, err := m.group.State(ctx)
		if err != nil {
			return fmt.Errorf("%s: state: %w", m.name, err)
		}
		if len(state.Extensions) != len(want) {
			return fmt.Errorf("%s: GroupContext extensions %v, want %v", m.name, state.Extensions, want)
		}
		for i, e := range state.Extensions {
			if e.Type != want[i].Type || !bytes.Equal(e.Data, want[i].Data) {
				return fmt.Errorf("%s: GroupContext extension %d is %v, want %v", m.name, i, e, want[i])
			}
		}
		return nil
	}
}

// appDataUpdates changes components by value and by reference, alone and beside other proposals. Each member's application replaces a
// component's data with the update.
func appDataUpdates(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, err := s.create(ctx, creator, senders(s.someSender(1)))
	if err != nil {
		return err
	}
	joined, err := s.add(ctx, a, joiner, creator)
	if err != nil {
		return err
	}
	b, c := joined[0], joined[1]
	d, add, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	const low, high = 0x8001, 0x8002
	ephemeral := Proposal{Kind: AppEphemeral, Component: high, Data: []byte("seen")}
	commit := func(by *member, proposals ...Proposal) func() error {
		return func() error { return s.commit(ctx, by, Commit{Proposals: proposals}) }
	}
	propose := func(by *member, p Proposal, f Framing) func() error {
		return func() error { return s.propose(ctx, by, p, f) }
	}
	long := string(bytes.Repeat([]byte{'l'}, 300))
	return inTurn(
		// There is no dictionary yet: it is appended after what is there.
		commit(a, setApp(high, "one")), has(ctx, b, senders(s.someSender(1)), dictionaryOf(setApp(high, "one"))),
		propose(b, setApp(low, long), Framing{}),
		propose(c, setApp(high, "two"), Framing{Private: true}),
		commit(a, setApp(high, "three")),
		has(ctx, c, senders(s.someSender(1)), dictionaryOf(setApp(low, long), setApp(high, "three"))),
		commit(b, ephemeral, Proposal{Kind: AppDataRemove, Component: high}),
		has(ctx, a, senders(s.someSender(1)), dictionaryOf(setApp(low, long))),
		// With an Add and a path: the path is sealed under the new dictionary.
		propose(c, Proposal{Kind: Update}, Framing{}),
		func() error { return s.commit(ctx, b, Commit{Proposals: []Proposal{setApp(low, ""), add}}, d) },
		has(ctx, d, senders(s.someSender(1)), dictionaryOf(setApp(low, ""))),
		propose(d, ephemeral, Framing{AAD: []byte("by reference")}),
		commit(a),
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

// selfRemoves has members leave by SelfRemove (draft-ietf-mls-extensions-10 §5.1).
func selfRemoves(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	leave := func(m *member) func() error {
		return func() error { return s.propose(ctx, m, Proposal{Kind: SelfRemove}, Framing{}) }
	}
	return inTurn(
		leave(c),
		func() error { return s.commit(ctx, b, Commit{}) },
		leave(b),
		// Its leaf is filled again in the same commit.
		func() error {
			e, add, err := s.addition(ctx, joiner)
			if err != nil {
				return err
			}
			return s.commit(ctx, a, Commit{Proposals: []Proposal{add, setApp(0x8001, "gone")}}, e)
		},
		leave(a),
		func() error { return s.commit(ctx, d, Commit{}) },
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

// externalCommitWithAppData: somebody joins by a commit that changes a component and sees off those who are leaving, as in MIMI.
func externalCommitWithAppData(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, _, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	m, err := s.client(ctx, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.propose(ctx, c, Proposal{Kind: SelfRemove}, Framing{}) },
		func() error { return s.propose(ctx, d, Proposal{Kind: SelfRemove}, Framing{}) },
		func() error {
			return s.joinExternal(ctx, m, a, true, ExternalJoin{Proposals: []Proposal{setApp(0x8001, "me too")}, Pending: s.sent})
		},
		has(ctx, a, dictionaryOf(setApp(0x8001, "me too"))),
		func() error { return s.everyoneSpeaks(ctx) },
		func() error { return s.commit(ctx, a, Commit{}) },
		// The same one starts anew, in one commit with a change.
		func() error {
			return s.joinExternal(ctx, m, a, false, ExternalJoin{Resync: true, Proposals: []Proposal{setApp(0x8001, "again")}})
		},
		func() error { return s.commit(ctx, m, Commit{}) },
		func() error { return s.everyoneSpeaks(ctx) },
	)
}
