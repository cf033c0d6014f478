package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// member is a client on a stage. group is nil until it has joined; leaf is kept up to date by agree.
type member struct {
	name           string
	implementation Implementation
	client         Client
	group          Group
	leaf           uint32
}

func (m *member) can(f Feature) bool { return !lacks(m.implementation, f) }

// stage is one group with members of several implementations. Every message one of them makes is delivered to all the others, and
// after every epoch all must agree.
type stage struct {
	suite   Suite
	group   []byte
	live    []*member
	born    int
	psks    map[string][]byte
	pending []Proposal // sent this epoch and not yet committed
	sent    [][]byte   // the messages of pending that members sent
}

func newStage(suite Suite, group string) *stage {
	return &stage{suite: suite, group: []byte(group), psks: map[string][]byte{}}
}

// close forgets every live member.
func (s *stage) close() error {
	var errs []error
	for _, m := range s.live {
		errs = append(errs, m.client.Close())
	}
	s.live = nil
	return errors.Join(errs...)
}

// client makes a client that is not yet a member, and knows every PSK of the stage.
func (s *stage) client(ctx context.Context, implementation Implementation) (*member, error) {
	name := fmt.Sprintf("%s-%d", implementation.Name(), s.born)
	s.born++
	c, err := implementation.NewClient(ctx, s.suite, name)
	if err != nil {
		return nil, fmt.Errorf("%s: new client: %w", name, err)
	}
	m := &member{name: name, implementation: implementation, client: c}
	for id, secret := range s.psks {
		if err := c.AddPSK(ctx, []byte(id), secret); err != nil {
			return nil, fmt.Errorf("%s: PSK: %w", name, err)
		}
	}
	return m, nil
}

// psk makes an external PSK known to all members, and to all who come.
func (s *stage) psk(ctx context.Context, id string, secret []byte) error {
	s.psks[id] = secret
	for _, m := range s.live {
		if err := m.client.AddPSK(ctx, []byte(id), secret); err != nil {
			return fmt.Errorf("%s: PSK: %w", m.name, err)
		}
	}
	return nil
}

func (s *stage) create(ctx context.Context, implementation Implementation, extensions ...Extension) (*member, error) {
	m, err := s.client(ctx, implementation)
	if err != nil {
		return nil, err
	}
	if m.group, err = m.client.Create(ctx, s.group, extensions); err != nil {
		return nil, fmt.Errorf("%s: create: %w", m.name, err)
	}
	s.live = append(s.live, m)
	return m, s.agree(ctx)
}

// addition makes a client and the proposal that adds it.
func (s *stage) addition(ctx context.Context, implementation Implementation) (*member, Proposal, error) {
	m, err := s.client(ctx, implementation)
	if err != nil {
		return nil, Proposal{}, err
	}
	p, err := s.invite(ctx, m)
	return m, p, err
}

func (s *stage) invite(ctx context.Context, m *member) (Proposal, error) {
	kp, err := m.client.KeyPackage(ctx)
	if err != nil {
		return Proposal{}, fmt.Errorf("%s: key package: %w", m.name, err)
	}
	return Proposal{Kind: Add, KeyPackage: kp}, nil
}

// add has by add one new client of each implementation, in one commit.
func (s *stage) add(ctx context.Context, by *member, implementations ...Implementation) ([]*member, error) {
	var joiners []*member
	var c Commit
	for _, implementation := range implementations {
		m, p, err := s.addition(ctx, implementation)
		if err != nil {
			return nil, err
		}
		joiners, c.Proposals = append(joiners, m), append(c.Proposals, p)
	}
	return joiners, s.commit(ctx, by, c, joiners...)
}

// commit has by commit, delivers the commit, lets joiners in by the Welcome and those removed go, and compares everybody.
func (s *stage) commit(ctx context.Context, by *member, c Commit, joiners ...*member) error {
	gone := map[uint32]bool{}
	for _, p := range slices.Concat(s.pending, c.Proposals) {
		if p.Kind == Remove || p.Kind == SelfRemove {
			gone[p.Leaf] = true
		}
	}
	s.pending, s.sent = nil, nil
	done, err := by.group.Commit(ctx, c)
	if err != nil {
		return fmt.Errorf("%s: commit: %w", by.name, err)
	}
	want := Received{Content: CommitMessage, AAD: c.AAD, Sender: int64(by.leaf)}
	if err := s.deliver(ctx, by, done.Commit, want, gone); err != nil {
		return fmt.Errorf("commit of %s: %w", by.name, err)
	}
	if (done.Welcome != nil) != (len(joiners) > 0) {
		return fmt.Errorf("%s: commit: %d joiners, Welcome of %d bytes", by.name, len(joiners), len(done.Welcome))
	}
	var tree []byte
	if c.OmitTree && len(joiners) > 0 {
		info, err := by.group.GroupInfo(ctx, false)
		if err != nil {
			return fmt.Errorf("%s: tree: %w", by.name, err)
		}
		tree = info.Tree
	}
	for _, m := range joiners {
		if m.group, err = m.client.Join(ctx, done.Welcome, tree); err != nil {
			return fmt.Errorf("%s: join by the Welcome of %s: %w", m.name, by.name, err)
		}
		s.live = append(s.live, m)
	}
	return s.agree(ctx)
}

// deliver gives a message to every live member but its author. Members whose leaf is in gone must notice that they are removed.
func (s *stage) deliver(ctx context.Context, author *member, message []byte, want Received, gone map[uint32]bool) error {
	var left []*member
	for _, m := range s.live {
		if m == author {
			left = append(left, m)
			continue
		}
		got, err := m.group.Process(ctx, message)
		if err != nil {
			return fmt.Errorf("%s: process: %w", m.name, err)
		}
		want.Removed = gone[m.leaf]
		if got.Content != want.Content || got.Sender != want.Sender || got.Removed != want.Removed || !bytes.Equal(got.AAD, want.AAD) || !bytes.Equal(got.Plaintext, want.Plaintext) {
			return fmt.Errorf("%s: processed %s %q (AAD %q) of leaf %d, removed %t; want %s %q (AAD %q) of leaf %d, removed %t", m.name,
				got.Content, got.Plaintext, got.AAD, got.Sender, got.Removed, want.Content, want.Plaintext, want.AAD, want.Sender, want.Removed)
		}
		if !got.Removed {
			left = append(left, m)
		} else if err := m.client.Close(); err != nil {
			return fmt.Errorf("%s: close: %w", m.name, err)
		}
	}
	s.live = left
	return nil
}

// propose has by author a proposal and everybody see it.
func (s *stage) propose(ctx context.Context, by *member, p Proposal, f Framing) error {
	message, err := by.group.Propose(ctx, p, f)
	if err != nil {
		return fmt.Errorf("%s: propose %s: %w", by.name, p.Kind, err)
	}
	if p.Kind == SelfRemove {
		p.Leaf = by.leaf
	}
	s.pending, s.sent = append(s.pending, p), append(s.sent, message)
	want := Received{Content: ProposalMessage, AAD: f.AAD, Sender: int64(by.leaf)}
	if err := s.deliver(ctx, by, message, want, nil); err != nil {
		return fmt.Errorf("proposal %s of %s: %w", p.Kind, by.name, err)
	}
	return nil
}

// fromOutside has everybody see a proposal of somebody who is no member.
func (s *stage) fromOutside(ctx context.Context, message []byte, p Proposal, aad []byte) error {
	s.pending = append(s.pending, p)
	if err := s.deliver(ctx, nil, message, Received{Content: ProposalMessage, AAD: aad, Sender: NoLeaf}, nil); err != nil {
		return fmt.Errorf("proposal %s from outside: %w", p.Kind, err)
	}
	return nil
}

// say has by send an application message to everybody.
func (s *stage) say(ctx context.Context, by *member, plaintext, aad []byte) error {
	message, err := by.group.Protect(ctx, plaintext, aad)
	if err != nil {
		return fmt.Errorf("%s: protect: %w", by.name, err)
	}
	return s.hear(ctx, by, by.leaf, message, plaintext, aad)
}

// hear delivers an application message of the leaf that author had when it was made.
func (s *stage) hear(ctx context.Context, author *member, leaf uint32, message, plaintext, aad []byte) error {
	want := Received{Content: ApplicationMessage, Plaintext: plaintext, AAD: aad, Sender: int64(leaf)}
	if err := s.deliver(ctx, author, message, want, nil); err != nil {
		return fmt.Errorf("message of %s: %w", author.name, err)
	}
	return nil
}

// everyoneSpeaks has every member send one message with authenticated data and one without.
func (s *stage) everyoneSpeaks(ctx context.Context) error {
	for _, m := range s.live {
		if err := s.say(ctx, m, []byte("from "+m.name), []byte("aad of "+m.name)); err != nil {
			return err
		}
		if err := s.say(ctx, m, []byte{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// joinExternal brings m in by an external commit on the GroupInfo of from. With Resync, m's former membership ends.
func (s *stage) joinExternal(ctx context.Context, m, from *member, embedTree bool, join ExternalJoin) error {
	info, err := from.group.GroupInfo(ctx, embedTree)
	if err != nil {
		return fmt.Errorf("%s: group info: %w", from.name, err)
	}
	join.Info = info.Message
	if !embedTree {
		join.Tree = info.Tree
	}
	if join.Resync {
		s.live = slices.DeleteFunc(s.live, func(x *member) bool { return x == m })
	}
	gone := map[uint32]bool{}
	if len(join.Pending) > 0 {
		for _, p := range s.pending {
			gone[p.Leaf] = p.Kind == SelfRemove
		}
	}
	s.pending, s.sent = nil, nil
	g, commit, err := m.client.JoinExternal(ctx, join)
	if err != nil {
		return fmt.Errorf("%s: external commit on the GroupInfo of %s: %w", m.name, from.name, err)
	}
	m.group = g
	if err := s.deliver(ctx, m, commit, Received{Content: CommitMessage, AAD: join.AAD, Sender: NoLeaf}, gone); err != nil {
		return fmt.Errorf("external commit of %s: %w", m.name, err)
	}
	s.live = append(s.live, m)
	return s.agree(ctx)
}

// agree compares the epoch as all live members see it, their exporter's output included (RFC 9420 §8.5, §8.7).
func (s *stage) agree(ctx context.Context) error {
	var first State
	var secret []byte
	leaves := map[uint32]string{}
	for i, m := range s.live {
		state, err := m.group.State(ctx)
		if err != nil {
			return fmt.Errorf("%s: state: %w", m.name, err)
		}
		m.leaf = state.Leaf
		if other, taken := leaves[state.Leaf]; taken {
			return fmt.Errorf("%s and %s both have leaf %d", m.name, other, state.Leaf)
		}
		leaves[state.Leaf] = m.name
		out, err := m.group.Export(ctx, "mimigate interop", []byte{byte(state.Epoch)}, 16+int(state.Epoch%32))
		if err != nil {
			return fmt.Errorf("%s: export: %w", m.name, err)
		}
		if i == 0 {
			first, secret = state, out
		}
		switch {
		case state.Epoch != first.Epoch:
			return fmt.Errorf("%s is in epoch %d, %s in %d", m.name, state.Epoch, s.live[0].name, first.Epoch)
		case !bytes.Equal(state.TreeHash, first.TreeHash):
			return fmt.Errorf("epoch %d: tree hash of %s differs from that of %s", state.Epoch, m.name, s.live[0].name)
		case !bytes.Equal(state.Authenticator, first.Authenticator):
			return fmt.Errorf("epoch %d: epoch authenticator of %s differs from that of %s", state.Epoch, m.name, s.live[0].name)
		case !slices.EqualFunc(state.Extensions, first.Extensions, func(a, b Extension) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }):
			return fmt.Errorf("epoch %d: GroupContext extensions of %s differ from those of %s", state.Epoch, m.name, s.live[0].name)
		case !bytes.Equal(out, secret):
			return fmt.Errorf("epoch %d: exporter of %s differs from that of %s", state.Epoch, m.name, s.live[0].name)
		case state.Members != len(s.live):
			return fmt.Errorf("epoch %d: %s counts %d members, want %d", state.Epoch, m.name, state.Members, len(s.live))
		}
	}
	return nil
}
