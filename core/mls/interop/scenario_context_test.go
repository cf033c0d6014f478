package interop

import (
	"bytes"
	"context"
	"fmt"

	"mimigate/core/mls"
)

// Extension types of the GroupContext (RFC 9420 §17.3, draft-ietf-mls-extensions-10).
const (
	applicationID         = 1
	requiredCapabilities  = 3
	externalSenders       = 5
	appDataDictionaryType = 6
)

// vector prefixes b with its length as a variable-length integer (RFC 9420 §2.1.2); b is shorter than 16,384 bytes.
func vector(b []byte) []byte {
	if len(b) < 64 {
		return append([]byte{byte(len(b))}, b...)
	}
	return append([]byte{0x40 | byte(len(b)>>8), byte(len(b))}, b...)
}

// senders is the external_senders extension that lists the given ExternalSender structures (RFC 9420 §12.1.8.1).
func senders(list ...[]byte) Extension {
	return Extension{Type: externalSenders, Data: vector(bytes.Join(list, nil))}
}

// someSender is an ExternalSender that never says anything: only its bytes count, but its key is one of the suite.
func (s *stage) someSender(n byte) []byte {
	key, err := mls.DefaultSuites().NewSignatureKey(mls.CipherSuite(s.suite.Code), bytes.NewReader(bytes.Repeat([]byte{n}, 66)))
	if err != nil {
		panic(err) // 66 bytes are enough for a key of any suite, and these are in range
	}
	return append(append(vector(key.PublicBytes()), 0, 1), vector([]byte("sender"))...)
}

// changeExtensions sets, replaces and carries extensions that every implementation of RFC 9420 knows.
func changeExtensions(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, _, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	set := func(e ...Extension) []Proposal { return []Proposal{{Kind: GroupExtensions, Extensions: e}} }
	want := func(n int) func() error {
		return func() error {
			state, err := a.group.State(ctx)
			if err == nil && len(state.Extensions) != n {
				err = fmt.Errorf("%d extensions in the GroupContext, want %d", len(state.Extensions), n)
			}
			return err
		}
	}
	return inTurn(
		func() error { return s.commit(ctx, a, Commit{Proposals: set(senders(s.someSender(1)))}) }, want(1),
		func() error {
			return s.propose(ctx, a, set(senders(s.someSender(2), s.someSender(3)))[0], Framing{})
		},
		func() error { return s.commit(ctx, b, Commit{}) }, want(1),
		func() error { _, err := s.add(ctx, c, joiner, creator); return err }, want(1),
		func() error {
			m, err := s.client(ctx, joiner)
			if err != nil {
				return err
			}
			return s.joinExternal(ctx, m, b, true, ExternalJoin{})
		},
		want(1),
		// With an Add and a Remove in the same commit, whose path is sealed under the new extensions (RFC 9420 §12.4.1).
		func() error {
			m, add, err := s.addition(ctx, joiner)
			if err != nil {
				return err
			}
			return s.commit(ctx, b, Commit{Proposals: append(set(senders(s.someSender(4))), add, Proposal{Kind: Remove, Leaf: c.leaf})}, m)
		},
		want(1),
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

// requireCapabilities asks for Basic credentials, which all have, and has people join under it.
func requireCapabilities(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	basic := Extension{Type: requiredCapabilities, Data: []byte{0, 0, 2, 0, 1}} // no extensions, no proposals, credential type 1
	return inTurn(
		func() error {
			return s.commit(ctx, a, Commit{Proposals: []Proposal{{Kind: GroupExtensions, Extensions: []Extension{basic}}}})
		},
		func() error { _, err := s.add(ctx, b, joiner, creator); return err },
		func() error { return s.propose(ctx, a, Proposal{Kind: Update}, Framing{}) },
		func() error { return s.commit(ctx, b, Commit{}) },
	)
}

func clearExtensions(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	none := Proposal{Kind: GroupExtensions}
	return inTurn(
		func() error {
			return s.commit(ctx, b, Commit{Proposals: []Proposal{{Kind: GroupExtensions, Extensions: []Extension{senders(s.someSender(1))}}}})
		},
		func() error { return s.commit(ctx, a, Commit{Proposals: []Proposal{none}}) },
		func() error {
			state, err := b.group.State(ctx)
			if err == nil && len(state.Extensions) > 0 {
				err = fmt.Errorf("%d extensions are left", len(state.Extensions))
			}
			return err
		},
	)
}

// appDataDictionary creates a group with an app_data_dictionary (draft-ietf-mls-extensions-10) and replaces it.
func appDataDictionary(ctx context.Context, s *stage, creator, joiner Implementation) error {
	dictionary := func(value string) Extension {
		entry := append([]byte{0x80, 0x01}, vector([]byte(value))...)
		return Extension{Type: appDataDictionaryType, Data: vector(entry)}
	}
	a, err := s.create(ctx, creator, dictionary("first"))
	if err != nil {
		return err
	}
	joined, err := s.add(ctx, a, joiner, creator)
	if err != nil {
		return err
	}
	m, err := s.client(ctx, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.everyoneSpeaks(ctx) },
		func() error {
			return s.commit(ctx, joined[0], Commit{Proposals: []Proposal{{Kind: GroupExtensions, Extensions: []Extension{dictionary("second")}}}})
		},
		func() error { return s.joinExternal(ctx, m, a, true, ExternalJoin{}) },
		func() error { return s.commit(ctx, m, Commit{}) },
		func() error {
			state, err := a.group.State(ctx)
			if err == nil && (len(state.Extensions) != 1 || !bytes.Equal(state.Extensions[0].Data, dictionary("second").Data)) {
				err = fmt.Errorf("GroupContext extensions %v", state.Extensions)
			}
			return err
		},
	)
}

// outsider makes a client of the joiner's implementation that stays outside.
func outsider(ctx context.Context, s *stage, joiner Implementation) (*member, Outsider, error) {
	m, err := s.client(ctx, joiner)
	if err != nil {
		return nil, nil, err
	}
	o, ok := m.client.(Outsider)
	if !ok {
		return nil, nil, fmt.Errorf("%s: no Outsider: %w", m.name, ErrCannot)
	}
	return m, o, nil
}

// externalSender: an external sender of the joiner's implementation proposes a Remove and an Add (RFC 9420 §12.1.8.1).
func externalSender(ctx context.Context, s *stage, creator, joiner Implementation) error {
	_, o, err := outsider(ctx, s, joiner)
	if err != nil {
		return err
	}
	entry, err := o.ExternalSender(ctx)
	if err != nil {
		return err
	}
	a, err := s.create(ctx, creator, senders(s.someSender(9), entry))
	if err != nil {
		return err
	}
	joined, err := s.add(ctx, a, creator, joiner, creator)
	if err != nil {
		return err
	}
	propose := func(p Proposal, aad []byte) error {
		info, err := a.group.GroupInfo(ctx, true)
		if err != nil {
			return err
		}
		message, err := o.ProposeExternal(ctx, info, p, aad)
		if err != nil {
			return fmt.Errorf("external sender: %w", err)
		}
		return s.fromOutside(ctx, message, p, aad)
	}
	m, add, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return propose(Proposal{Kind: Remove, Leaf: joined[0].leaf}, nil) },
		func() error { return s.commit(ctx, joined[1], Commit{}) },
		func() error { return propose(add, []byte("on behalf")) },
		func() error { return s.commit(ctx, a, Commit{}, m) },
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

// newMemberProposal: a client proposes its own Add (sender type new_member_proposal).
func newMemberProposal(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	enter := func(committer *member, aad []byte) func() error {
		return func() error {
			m, o, err := outsider(ctx, s, joiner)
			if err != nil {
				return err
			}
			info, err := a.group.GroupInfo(ctx, true)
			if err != nil {
				return err
			}
			message, err := o.ProposeJoin(ctx, info, aad)
			if err != nil {
				return fmt.Errorf("%s: propose own Add: %w", m.name, err)
			}
			if err := s.fromOutside(ctx, message, Proposal{Kind: Add}, aad); err != nil {
				return err
			}
			return s.commit(ctx, committer, Commit{}, m)
		}
	}
	return inTurn(enter(a, nil), enter(b, []byte("please")), func() error { return s.everyoneSpeaks(ctx) })
}
