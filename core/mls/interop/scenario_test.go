package interop

import (
	"context"
	"fmt"
)

// A scenario is played by two implementations: one creates the group, the other joins; both bring more members as needed. creator and
// joiner name the features each role needs.
type scenario struct {
	name    string
	brief   bool // also played in suites that get a brief run
	creator []Feature
	joiner  []Feature
	play    func(ctx context.Context, s *stage, creator, joiner Implementation) error
}

func scenarios() []scenario {
	return []scenario{
		{name: "join commit message", brief: true, play: joinCommitMessage},
		{name: "join with separate tree", joiner: []Feature{SeparateTree}, play: joinWithSeparateTree},
		{name: "add update remove", play: addUpdateRemove},
		{name: "one commit adds many", play: addMany},
		{name: "proposals by reference", play: proposalsByReference},
		{name: "handshakes as PrivateMessage", brief: true, play: privateHandshakes},
		{name: "padded handshakes", joiner: []Feature{PaddedHandshakes}, play: paddedHandshakes},
		{name: "commits with AAD", creator: []Feature{CommitAAD}, play: commitsWithAAD},
		{name: "external commit", brief: true, play: externalCommit},
		{name: "external commit with AAD", joiner: []Feature{ExternalCommitAAD}, play: externalCommitWithAAD},
		{name: "external commit with PSK", joiner: []Feature{ExternalCommitMore}, play: externalCommitWithPSK},
		{name: "external commit with app data", creator: []Feature{DraftProposals}, joiner: []Feature{ExternalCommitMore, DraftProposals}, play: externalCommitWithAppData},
		{name: "resync", play: resync},
		{name: "pre-shared keys", play: preSharedKeys},
		{name: "messages out of order", play: outOfOrder},
		{name: "late message", play: lateMessage},
		{name: "late message of a removed member", creator: []Feature{LateFromRemoved}, play: lateFromRemoved},
		{name: "group context extensions", play: changeExtensions},
		{name: "required capabilities", creator: []Feature{RequireCapability}, joiner: []Feature{RequireCapability}, play: requireCapabilities},
		{name: "remove all extensions", creator: []Feature{ClearExtensions}, joiner: []Feature{ClearExtensions}, play: clearExtensions},
		{name: "app data dictionary", creator: []Feature{CustomExtensions}, joiner: []Feature{CustomExtensions}, play: appDataDictionary},
		{name: "app data updates", creator: []Feature{DraftProposals}, joiner: []Feature{DraftProposals}, play: appDataUpdates},
		{name: "self-remove", creator: []Feature{DraftProposals}, joiner: []Feature{DraftProposals}, play: selfRemoves},
		{name: "external sender", joiner: []Feature{OutsideProposals}, play: externalSender},
		{name: "new member proposes itself", joiner: []Feature{OutsideProposals}, play: newMemberProposal},
	}
}

// pair creates a group and lets one member of the joiner's implementation in by Welcome.
func pair(ctx context.Context, s *stage, creator, joiner Implementation) (*member, *member, error) {
	a, err := s.create(ctx, creator)
	if err != nil {
		return nil, nil, err
	}
	joined, err := s.add(ctx, a, joiner)
	if err != nil {
		return nil, nil, err
	}
	return a, joined[0], nil
}

// four is pair with one more member of each: a and c of the creator's implementation, b and d of the joiner's.
func four(ctx context.Context, s *stage, creator, joiner Implementation) (a, b, c, d *member, err error) {
	if a, b, err = pair(ctx, s, creator, joiner); err != nil {
		return
	}
	more, err := s.add(ctx, b, creator, joiner)
	if err != nil {
		return
	}
	return a, b, more[0], more[1], nil
}

// inTurn runs steps until one fails.
func inTurn(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func joinCommitMessage(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	speak := func() error { return s.everyoneSpeaks(ctx) }
	return inTurn(
		speak,
		func() error { return s.commit(ctx, b, Commit{}) },
		speak,
		func() error { return s.commit(ctx, a, Commit{}) },
		speak,
	)
}

func joinWithSeparateTree(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, err := s.create(ctx, creator)
	if err != nil {
		return err
	}
	b, p, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.commit(ctx, a, Commit{Proposals: []Proposal{p}, OmitTree: true}, b) },
		func() error { return s.everyoneSpeaks(ctx) },
		func() error { return s.commit(ctx, b, Commit{}) },
	)
}

func addUpdateRemove(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	remove := func(by, who *member) func() error {
		return func() error {
			return s.commit(ctx, by, Commit{Proposals: []Proposal{{Kind: Remove, Leaf: who.leaf}}})
		}
	}
	update := func(m *member) func() error { return func() error { return s.commit(ctx, m, Commit{}) } }
	speak := func() error { return s.everyoneSpeaks(ctx) }
	refill := func(by *member) func() error {
		return func() error {
			// One commit that empties a leaf and fills it again: the new leaf must not read the commit's path, nor the old one.
			e, p, err := s.addition(ctx, joiner)
			if err != nil {
				return err
			}
			return s.commit(ctx, by, Commit{Proposals: []Proposal{{Kind: Remove, Leaf: d.leaf}, p}}, e)
		}
	}
	return inTurn(speak, update(a), update(b), update(c), update(d), remove(b, c), speak, refill(a), speak, update(b),
		remove(a, b), speak,
		func() error { _, err := s.add(ctx, a, joiner, creator, joiner, creator, joiner); return err },
		speak, update(a))
}

func addMany(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	crowd := make([]Implementation, 15)
	for i := range crowd {
		crowd[i] = []Implementation{creator, joiner}[i%2]
	}
	joined, err := s.add(ctx, b, crowd...)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.commit(ctx, joined[14], Commit{}) },
		func() error { return s.commit(ctx, joined[7], Commit{}) },
		func() error { return s.commit(ctx, a, Commit{}) },
		func() error { return s.say(ctx, joined[3], []byte("hello all"), nil) },
	)
}

func proposalsByReference(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	e, add, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	f, add2, err := s.addition(ctx, creator)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.propose(ctx, b, add, Framing{}) },
		func() error { return s.propose(ctx, c, Proposal{Kind: Update}, Framing{AAD: []byte("why")}) },
		func() error { return s.propose(ctx, d, Proposal{Kind: Update}, Framing{}) },
		func() error { return s.commit(ctx, a, Commit{}, e) },
		func() error { return s.everyoneSpeaks(ctx) },
		func() error { return s.propose(ctx, a, Proposal{Kind: Remove, Leaf: c.leaf}, Framing{}) },
		func() error { return s.propose(ctx, e, Proposal{Kind: Update}, Framing{}) },
		func() error { return s.propose(ctx, b, add2, Framing{}) },
		func() error { return s.commit(ctx, d, Commit{}, f) },
		func() error { return s.commit(ctx, f, Commit{}) },
		func() error { return s.propose(ctx, b, Proposal{Kind: Update}, Framing{}) },
		// The committer's own Update is left out; a by-value proposal stands beside one by reference.
		func() error { return s.propose(ctx, a, Proposal{Kind: Update}, Framing{}) },
		func() error {
			return s.commit(ctx, b, Commit{Proposals: []Proposal{{Kind: Remove, Leaf: e.leaf}}})
		},
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

func privateHandshakes(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	private := Framing{Private: true}
	e, add, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.everyoneSpeaks(ctx) },
		func() error { return s.commit(ctx, a, Commit{Framing: private}) },
		func() error { return s.commit(ctx, b, Commit{Framing: private, Proposals: []Proposal{add}}, e) },
		func() error {
			return s.propose(ctx, d, Proposal{Kind: Update}, Framing{Private: true, AAD: []byte("hidden")})
		},
		func() error { return s.propose(ctx, b, Proposal{Kind: Remove, Leaf: c.leaf}, private) },
		func() error { return s.commit(ctx, a, Commit{Framing: private}) },
		func() error { return s.propose(ctx, a, Proposal{Kind: Update}, private) },
		func() error { return s.commit(ctx, e, Commit{Framing: private}) },
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

// paddedHandshakes: the joiner's implementation reads what the creator's has padded.
func paddedHandshakes(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	padded := Framing{Private: true, Pad: true}
	return inTurn(
		func() error { return s.propose(ctx, a, Proposal{Kind: Update}, padded) },
		func() error { return s.commit(ctx, b, Commit{}) },
		func() error { return s.commit(ctx, a, Commit{Framing: padded}) },
	)
}

func commitsWithAAD(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, _, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.commit(ctx, a, Commit{Framing: Framing{AAD: []byte("franking")}}) },
		func() error {
			return s.commit(ctx, a, Commit{Framing: Framing{Private: true, AAD: []byte("hidden commit")}})
		},
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

func externalCommit(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, _, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	enter := func(implementation Implementation, from *member, embedTree bool) func() error {
		return func() error {
			m, err := s.client(ctx, implementation)
			if err != nil {
				return err
			}
			if err := s.joinExternal(ctx, m, from, embedTree, ExternalJoin{}); err != nil {
				return err
			}
			if err := s.everyoneSpeaks(ctx); err != nil {
				return err
			}
			return s.commit(ctx, m, Commit{})
		}
	}
	return inTurn(
		enter(joiner, a, true),
		enter(creator, b, false),
		func() error {
			return s.commit(ctx, b, Commit{Proposals: []Proposal{{Kind: Remove, Leaf: c.leaf}}})
		},
		enter(joiner, a, true), // into the blank leaf
		// A GroupInfo of an epoch that its author entered by external commit.
		func() error {
			m, err := s.client(ctx, joiner)
			if err != nil {
				return err
			}
			if err := s.joinExternal(ctx, m, a, true, ExternalJoin{}); err != nil {
				return err
			}
			return enter(creator, m, true)()
		},
		func() error { return s.commit(ctx, a, Commit{}) },
	)
}

func externalCommitWithAAD(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, _, err := pair(ctx, s, creator, creator)
	if err != nil {
		return err
	}
	m, err := s.client(ctx, joiner)
	if err != nil {
		return err
	}
	return s.joinExternal(ctx, m, a, true, ExternalJoin{AAD: []byte("let me in")})
}

func externalCommitWithPSK(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, _, err := pair(ctx, s, creator, creator)
	if err != nil {
		return err
	}
	if err := s.psk(ctx, "ticket", []byte("secret of the ticket")); err != nil {
		return err
	}
	m, err := s.client(ctx, joiner)
	if err != nil {
		return err
	}
	return s.joinExternal(ctx, m, a, true, ExternalJoin{Proposals: []Proposal{{Kind: ExternalPSK, PSK: []byte("ticket")}}})
}

func resync(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, c, d, err := four(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	return inTurn(
		func() error { return s.joinExternal(ctx, b, a, true, ExternalJoin{Resync: true}) },
		func() error { return s.everyoneSpeaks(ctx) },
		func() error { return s.joinExternal(ctx, d, c, false, ExternalJoin{Resync: true}) },
		func() error { return s.commit(ctx, a, Commit{}) },
		func() error { return s.joinExternal(ctx, a, b, true, ExternalJoin{Resync: true}) },
		func() error { return s.commit(ctx, d, Commit{}) },
		func() error { return s.everyoneSpeaks(ctx) },
	)
}

func preSharedKeys(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	c, add, err := s.addition(ctx, joiner)
	if err != nil {
		return err
	}
	use := func(ids ...string) (out []Proposal) {
		for _, id := range ids {
			out = append(out, Proposal{Kind: ExternalPSK, PSK: []byte(id)})
		}
		return out
	}
	return inTurn(
		func() error { return s.psk(ctx, "one", []byte("first secret")) },
		func() error { return s.psk(ctx, "two", []byte("second, longer secret of 33 bytes")) },
		func() error { return c.client.AddPSK(ctx, []byte("two"), s.psks["two"]) },
		func() error { return s.commit(ctx, a, Commit{Proposals: use("one")}) },
		func() error { return s.commit(ctx, b, Commit{Proposals: use("two", "one")}) },
		func() error { return s.commit(ctx, b, Commit{Proposals: append(use("two"), add)}, c) },
		func() error { return c.client.AddPSK(ctx, []byte("one"), s.psks["one"]) },
		func() error { return s.propose(ctx, b, use("one")[0], Framing{}) },
		func() error { return s.commit(ctx, a, Commit{Framing: Framing{Private: true}, Proposals: use("two")}) },
		func() error { return s.everyoneSpeaks(ctx) },
		// A resumption PSK of the present epoch, then of the one before (RFC 9420 §8.6).
		func() error {
			return s.commit(ctx, a, Commit{Proposals: []Proposal{{Kind: ResumptionPSK, Epoch: epochOf(ctx, a)}}})
		},
		func() error {
			return s.commit(ctx, b, Commit{Proposals: []Proposal{{Kind: ResumptionPSK, Epoch: epochOf(ctx, b) - 1}}})
		},
	)
}

// epochOf returns a member's epoch, or one that cannot be.
func epochOf(ctx context.Context, m *member) uint64 {
	state, err := m.group.State(ctx)
	if err != nil {
		return 1 << 62
	}
	return state.Epoch
}

func outOfOrder(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	reversed := func(by *member) func() error {
		return func() error {
			var sent [][]byte
			for i := range 5 {
				m, err := by.group.Protect(ctx, []byte{byte(i)}, []byte("n"))
				if err != nil {
					return fmt.Errorf("%s: protect: %w", by.name, err)
				}
				sent = append(sent, m)
			}
			for i := len(sent) - 1; i >= 0; i-- {
				if err := s.hear(ctx, by, by.leaf, sent[i], []byte{byte(i)}, []byte("n")); err != nil {
					return fmt.Errorf("generation %d: %w", i, err)
				}
			}
			for i, m := range sent { // RFC 9420 §9.2: used keys are gone
				if s.hear(ctx, by, by.leaf, m, []byte{byte(i)}, []byte("n")) == nil {
					return fmt.Errorf("a replay of generation %d was accepted", i)
				}
			}
			return nil
		}
	}
	return inTurn(reversed(a), reversed(b), func() error { return s.everyoneSpeaks(ctx) })
}

func lateMessage(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	late := func(by, committer *member, epochs int) func() error {
		return func() error {
			m, err := by.group.Protect(ctx, []byte("sorry, the tunnel"), nil)
			if err != nil {
				return fmt.Errorf("%s: protect: %w", by.name, err)
			}
			for range epochs {
				if err := s.commit(ctx, committer, Commit{}); err != nil {
					return err
				}
			}
			return s.hear(ctx, by, by.leaf, m, []byte("sorry, the tunnel"), nil)
		}
	}
	return inTurn(late(a, b, 1), late(b, a, 1), late(a, a, 2), late(b, b, 2))
}

// lateFromRemoved: the creator's implementation opens a message whose sender was removed after sending it.
func lateFromRemoved(ctx context.Context, s *stage, creator, joiner Implementation) error {
	a, b, err := pair(ctx, s, creator, joiner)
	if err != nil {
		return err
	}
	m, err := b.group.Protect(ctx, []byte("goodbye"), nil)
	if err != nil {
		return fmt.Errorf("%s: protect: %w", b.name, err)
	}
	leaf := b.leaf
	if err := s.commit(ctx, a, Commit{Proposals: []Proposal{{Kind: Remove, Leaf: leaf}}}); err != nil {
		return err
	}
	return s.hear(ctx, b, leaf, m, []byte("goodbye"), nil)
}
