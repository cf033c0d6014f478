package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A random schedule keeps between two and mostMembers members.
const mostMembers = 12

// schedule is a random life of one group.
type schedule struct {
	*stage
	*rand.Rand
	implementations []Implementation
	psk             int
}

// runRandom plays a schedule of the given number of epochs; the same seed gives the same operations.
func runRandom(t *testing.T, suite Suite, epochs int, seed uint64, implementations []Implementation) {
	t.Logf("seed %d, %d epochs", seed, epochs)
	r := &schedule{stage: newStage(suite, "random"), Rand: rand.New(rand.NewPCG(seed, uint64(suite.Code))), implementations: implementations}
	if err := errors.Join(r.run(t.Context(), epochs), r.close()); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

func (r *schedule) run(ctx context.Context, epochs int) error {
	a, err := r.create(ctx, r.implementation())
	if err != nil {
		return err
	}
	if _, err := r.add(ctx, a, r.implementations...); err != nil {
		return err
	}
	for epoch := range epochs {
		step := r.epoch
		if r.IntN(6) == 0 {
			step = r.external
		}
		if err := step(ctx); err != nil {
			return fmt.Errorf("random epoch %d: %w", epoch, err)
		}
		if err := r.say(ctx, r.pick(r.live), fmt.Appendf(nil, "message %d", epoch), r.aad(true)); err != nil {
			return fmt.Errorf("random epoch %d: %w", epoch, err)
		}
	}
	return nil
}

func (r *schedule) implementation() Implementation {
	return r.implementations[r.IntN(len(r.implementations))]
}

func (r *schedule) pick(from []*member) *member { return from[r.IntN(len(from))] }

// aad is authenticated data, or none; always none unless may is set.
func (r *schedule) aad(may bool) []byte {
	if !may || r.IntN(2) == 0 {
		return nil
	}
	return fmt.Appendf(nil, "aad %d", r.IntN(1000))
}

// framing is a way to frame a handshake that everybody can read.
func (r *schedule) framing(aad bool) Framing {
	f := Framing{Private: r.IntN(3) == 0, Pad: r.IntN(2) == 0, AAD: r.aad(aad)}
	f.Pad = f.Pad && r.allCan(PaddedHandshakes)
	return f
}

func (r *schedule) allCan(f Feature) bool {
	return !slices.ContainsFunc(r.implementations, func(i Implementation) bool { return lacks(i, f) })
}

// external lets somebody new in by external commit, or a member that starts anew.
func (r *schedule) external(ctx context.Context) error {
	from := r.pick(r.live)
	join := ExternalJoin{Resync: len(r.live) >= mostMembers || r.IntN(2) == 0}
	var m *member
	var err error
	if join.Resync {
		for m = from; m == from; m = r.pick(r.live) {
		}
	} else if m, err = r.client(ctx, r.implementation()); err != nil {
		return err
	}
	join.AAD = r.aad(m.can(ExternalCommitAAD))
	return r.joinExternal(ctx, m, from, r.IntN(2) == 0, join)
}

// plan is what one commit will hold.
type plan struct {
	committer *member
	commit    Commit
	joiners   []*member
	touched   map[*member]bool // removed or updating: at most one such proposal a leaf (RFC 9420 §12.2)
	removed   int
}

// epoch has some members propose and one commit. A message sent before is delivered after.
func (r *schedule) epoch(ctx context.Context) error {
	p := &plan{committer: r.pick(r.live), touched: map[*member]bool{}}
	p.commit.Framing = r.framing(p.committer.can(CommitAAD))
	speaker := r.pick(r.live)
	leaf := speaker.leaf
	late, err := speaker.group.Protect(ctx, []byte("late"), nil)
	if err != nil {
		return fmt.Errorf("%s: protect: %w", speaker.name, err)
	}
	p.touched[speaker] = true // not every peer opens a late message of a removed member
	for range r.IntN(4) {
		by := r.pick(r.live)
		if by == p.committer {
			continue
		}
		proposal, err := r.proposal(ctx, p, by)
		if err != nil {
			return err
		}
		if proposal.Kind == "" {
			continue
		}
		f := r.framing(true)
		f.Private = f.Private && proposal.Kind != SelfRemove
		if err := r.propose(ctx, by, proposal, f); err != nil {
			return err
		}
	}
	for range r.IntN(3) {
		proposal, err := r.proposal(ctx, p, p.committer)
		if err != nil {
			return err
		}
		if proposal.Kind != "" {
			p.commit.Proposals = append(p.commit.Proposals, proposal)
		}
	}
	p.commit.OmitTree = r.IntN(2) == 0 && !slices.ContainsFunc(p.joiners, func(m *member) bool { return !m.can(SeparateTree) })
	if err := r.commit(ctx, p.committer, p.commit, p.joiners...); err != nil {
		return err
	}
	return r.hearLate(ctx, speaker, leaf, late, p.joiners)
}

// hearLate delivers a message of the epoch before to those who were members then.
func (r *schedule) hearLate(ctx context.Context, speaker *member, leaf uint32, late []byte, joiners []*member) error {
	all := r.live
	r.live = slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return slices.Contains(joiners, m) })
	defer func() { r.live = all }()
	return r.hear(ctx, speaker, leaf, late, []byte("late"), nil)
}

// proposal makes a proposal by a member that may stand in the planned commit, or none.
func (r *schedule) proposal(ctx context.Context, p *plan, by *member) (Proposal, error) {
	none := Proposal{}
	kinds := 6
	if r.allCan(DraftProposals) {
		kinds = 9
	}
	switch r.IntN(kinds) {
	case 0, 1:
		if len(r.live)+len(p.joiners) >= mostMembers || by != p.committer && r.IntN(2) == 0 {
			return none, nil
		}
		m, add, err := r.addition(ctx, r.implementation())
		p.joiners = append(p.joiners, m)
		return add, err
	case 2, 3:
		victim := r.pick(r.live)
		if victim == p.committer || victim == by || p.touched[victim] || len(r.live)-p.removed <= 2 {
			return none, nil
		}
		p.touched[victim] = true
		p.removed++
		return Proposal{Kind: Remove, Leaf: victim.leaf}, nil
	case 4:
		if by == p.committer || p.touched[by] {
			return none, nil
		}
		p.touched[by] = true
		return Proposal{Kind: Update}, nil
	case 5:
		r.psk++
		id := fmt.Sprintf("psk %d", r.psk)
		return Proposal{Kind: ExternalPSK, PSK: []byte(id)}, r.knowPSK(ctx, id, p.joiners)
	case 6:
		if by == p.committer || p.touched[by] || len(r.live)-p.removed <= 2 {
			return none, nil
		}
		p.touched[by] = true
		p.removed++
		return Proposal{Kind: SelfRemove}, nil
	case 7:
		return setApp(uint16(0x8000+r.IntN(5)), fmt.Sprintf("value %d", r.IntN(1000))), nil
	case 8:
		return Proposal{Kind: AppEphemeral, Component: 0x8001, Data: []byte("seen")}, nil
	}
	return none, nil
}

// knowPSK makes a new PSK known to members and to those about to join.
func (r *schedule) knowPSK(ctx context.Context, id string, joiners []*member) error {
	secret := fmt.Appendf(nil, "secret of %s", id)
	if err := r.stage.psk(ctx, id, secret); err != nil {
		return err
	}
	for _, m := range joiners {
		if err := m.client.AddPSK(ctx, []byte(id), secret); err != nil {
			return fmt.Errorf("%s: PSK: %w", m.name, err)
		}
	}
	return nil
}
