package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mimigate/core/member/blame"
	"mimigate/core/member/form"
	"mimigate/core/member/keys"
	"mimigate/core/member/rights"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// An external commit brings one of our people into a group without anybody's help (RFC 9420 §12.4.3.2): to recover a room whose group
// was lost (design §7), or to come in where nobody from here may bring them in. What it needs is asked of the hub. The group it
// leads to is on disk beside the commit before the hub is asked to take it, and is the room's once that comes back through the inbox.

// pauseLost is how long a room that lets nobody of ours back in is left alone before it is asked again.
const pauseLost = 5 * time.Minute

func entryName(id uri.Room) []byte { return []byte("entry " + id.String()) }

// loadEntry returns the group that one of our people has entered by a commit that is on its way, nil where there is none.
func (m *Members) loadEntry(ctx context.Context, id uri.Room) (*mls.Group, error) {
	records, err := m.Store.LoadRecords(ctx, entryName(id))
	if err != nil || len(records) == 0 {
		return nil, err
	}
	g, err := mls.LoadGroup(m.MLS, records)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return g, nil
}

// setEntry replaces it; nil: there is none any more.
func (m *Members) setEntry(ctx context.Context, s *shared, g *mls.Group) error {
	before := s.entry
	if before == nil && g == nil {
		return nil
	}
	s.entry = g
	m.Store.OnRollback(ctx, func() { s.entry = before })
	delta := []mls.Record{{Prefix: true}}
	if g != nil {
		delta = append(delta, g.Snapshot()...)
	}
	return m.Store.ApplyDelta(ctx, entryName(s.id), delta)
}

// lose marks a room's group as lost: nothing more is sent on its state, and it is joined anew.
func (m *Members) lose(ctx context.Context, s *shared, why string) error {
	m.Log.Error("a room's group is lost and must be joined anew", "room", s.id, "epoch", s.group.Epoch(), "reason", why)
	next := s.memory
	next.stale = true
	m.change(ctx, s, next)
	if err := m.setEntry(ctx, s, nil); err != nil {
		return err
	}
	if err := m.Store.SetPendingCommit(ctx, s.id, nil); err != nil {
		return err
	}
	m.Store.OnCommit(ctx, func() { m.queues.Wake(s.id) })
	return m.Store.SetStale(ctx, s.id, true)
}

// nextEntry finds the next job of a room whose group is lost.
func (m *Members) nextEntry(ctx context.Context, s *shared) (job, error) {
	c, err := m.Store.PendingCommit(ctx, s.id)
	switch {
	case err != nil:
		return nil, err
	case c != nil && s.entry != nil && c.Answered:
		return nil, nil // it will come back
	case c != nil && s.entry != nil:
		return m.update(s.id, c.Request)
	}
	if s.group == nil {
		return nil, nil // nobody of ours is in it yet
	}
	who := m.enterers(s)
	return m.enter(s.id, s.group.CipherSuite(), who[s.tried%len(who)]), nil
}

// enterers are those who may recover a room, in the order in which they try: the gateway participant first.
func (m *Members) enterers(s *shared) []uri.User {
	var list []uri.User
	for l := range s.state.Leaves() {
		if l.User.Provider() == m.Provider && l.User != m.gateway {
			list = append(list, l.User)
		}
	}
	if s.state.Role(m.gateway) > policy.BannedRole || len(list) == 0 {
		list = slices.Insert(list, 0, m.gateway)
	}
	return list
}

// enter is the job of making an external commit of one of our people.
func (m *Members) enter(id uri.Room, suite mls.CipherSuite, who uri.User) job {
	return func(ctx context.Context) error {
		leaf, plain, err := m.askGroupInfo(ctx, id, suite, who)
		if err != nil {
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error {
			s, err := m.place(ctx, id)
			switch {
			case err != nil:
				return err
			case plain == nil:
				return m.notLetIn(ctx, s, who)
			}
			return m.stageEntry(ctx, s, who, leaf, plain)
		})
	}
}

// askGroupInfo asks the hub for a room's GroupInfo, for a new leaf of one of our people; nil where the hub does not let them in.
func (m *Members) askGroupInfo(ctx context.Context, id uri.Room, suite mls.CipherSuite, who uri.User) (mls.LeafTemplate, *mimi.GroupInfoPlain, error) {
	leaf, err := m.keys.Leaf(ctx, who, suite, 0)
	if err != nil {
		return leaf, nil, err
	}
	hub, _, err := m.Peers.Hub(id.Provider())
	if err != nil {
		return leaf, nil, err
	}
	plain, err := m.keys.GroupInfo(ctx, hub, id, suite, leaf)
	if errors.Is(err, keys.ErrNotLetIn) {
		return leaf, nil, nil
	}
	return leaf, plain, err
}

// notLetIn goes on after the hub has refused one of our people a GroupInfo.
func (m *Members) notLetIn(ctx context.Context, s *shared, who uri.User) error {
	if s.stale {
		s.tried++
		if s.tried%len(m.enterers(s)) != 0 {
			return nil
		}
		return mimi.RetryAfter(pauseLost, keys.ErrNotLetIn)
	}
	return m.abandon(ctx, s, who.String(), "the room does not let them in")
}

// stageEntry makes the external commit and puts it on disk, with the group it leads to. An old leaf of the same client is replaced;
// who is not in the participant list enters it.
func (m *Members) stageEntry(ctx context.Context, s *shared, who uri.User, leaf mls.LeafTemplate, plain *mimi.GroupInfoPlain) error {
	c, err := m.Store.PendingCommit(ctx, s.id)
	if err != nil || c != nil && (s.entry != nil || !s.stale) {
		return err // another came first
	}
	o := mls.ExternalOptions{RatchetTree: plain.Tree.Tree, Framing: form.HandshakeFraming(&plain.GroupInfo.Context)}
	for _, p := range plain.Pending {
		o.Pending = append(o.Pending, p.Proposal.Message)
	}
	public, err := mls.NewPublicGroup(m.MLS, &plain.GroupInfo, plain.Tree.Tree)
	if err != nil {
		return m.unenterable(ctx, s, who, err)
	}
	state, err := roomState(s.id, public)
	if err != nil {
		return m.unenterable(ctx, s, who, err)
	}
	_, client, err := m.keys.Credential(who)
	if err != nil {
		return err
	}
	for l := range state.Leaves() {
		if l.Client == client {
			o.Remove = &l.Index
		}
	}
	if state.Role(who) == policy.NoRole {
		u := state.Change(participant(who, rights.OpenRole(state, who)))
		o.Proposals = append(o.Proposals, componentUpdate(policy.ParticipantList, u.Marshal()))
	}
	g, step, err := mls.ExternalCommit(m.MLS, &plain.GroupInfo, leaf, o)
	if err != nil {
		return m.unenterable(ctx, s, who, err)
	}
	if err := m.setEntry(ctx, s, g); err != nil {
		return err
	}
	return m.Store.SetPendingCommit(ctx, s.id, &Commit{Request: mls.Marshal(updateRequest(step, g.RatchetTree(), m.joins(s.id))),
		Subjects: []string{who.String()}})
}

// notEntered goes on after the hub has refused an external commit of ours.
func (m *Members) notEntered(ctx context.Context, s *shared, c *Commit, resp *mimi.UpdateRoomResponse) error {
	if err := m.setEntry(ctx, s, nil); err != nil {
		return err
	}
	who, err := uri.ParseUser(c.Subjects[0])
	if err != nil || resp.Code == mimi.UpdateWrongEpoch { // of a GroupInfo that was new a moment ago: again
		return err
	}
	m.Log.Warn("the hub lets nobody in", "room", s.id, "reason", resp.Description)
	return m.notLetIn(ctx, s, who)
}

// unenterable gives an entry up for what stands in the GroupInfo.
func (m *Members) unenterable(ctx context.Context, s *shared, who uri.User, err error) error {
	m.Log.Error("a room cannot be entered", "room", s.id, "error", err)
	return m.notLetIn(ctx, s, who)
}

// isEntry reports whether a handshake is our external commit that is on its way.
func (m *Members) isEntry(ctx context.Context, s *shared, msg mimi.Message) (bool, error) {
	if s.entry == nil || msg.Public == nil {
		return false, nil
	}
	c, err := m.Store.PendingCommit(ctx, s.id)
	if err != nil || c == nil {
		return false, err
	}
	req := new(mimi.UpdateRequest)
	if err := mls.Unmarshal(c.Request, req); err != nil {
		return false, fmt.Errorf("member: stored commit: %w", err)
	}
	return bytes.Equal(req.Message.Raw, msg.Raw), nil
}

// begin makes g the room's group, in the place of one that was lost or where there was none. Of what our people still want to say
// nothing is sent as it was protected before; those whose leaves were lost are brought in again by the next commits.
func (m *Members) begin(ctx context.Context, s *shared, g *mls.Group, at uint64) (*shared, error) {
	mem, err := m.remember(s.id, g)
	if err != nil {
		return s, err
	}
	next := &shared{id: s.id, opening: true, last: s.last, group: g, memory: mem}
	if err := m.Store.ApplyDelta(ctx, stateName(s.id), append([]mls.Record{{Prefix: true}}, g.Snapshot()...)); err != nil {
		return s, err
	}
	err = errors.Join(m.setEntry(ctx, s, nil), m.Store.SetPendingCommit(ctx, s.id, nil), m.Store.SetStale(ctx, s.id, false),
		m.unprotect(ctx, s.id), m.adopt(ctx, next))
	if err != nil {
		return s, err
	}
	if err := m.missLost(ctx, next); err != nil {
		return next, err
	}
	if err := m.fulfilled(ctx, next); err != nil {
		return next, err
	}
	if s.group == nil {
		return next, m.introduce(ctx, next, at)
	}
	m.Log.Warn("a room's group was joined anew", "room", s.id, "epoch", g.Epoch(), "lost", len(mem.lost))
	if err := m.tell(ctx, next, s.state, new(blame.Blame), at); err != nil {
		return next, err
	}
	return next, m.sink.Gap(ctx, s.id, time.UnixMilli(int64(at)))
}

// unprotect lets what is still to be said be protected anew: its ids stay.
func (m *Members) unprotect(ctx context.Context, id uri.Room) error {
	for after := int64(0); ; {
		o, err := m.Store.NextOutgoing(ctx, id, after)
		if err != nil || o == nil {
			return err
		}
		after = o.Number
		if o.Message == nil {
			continue
		}
		o.Message, o.After = nil, 0
		if err := m.Store.PutOutgoing(ctx, id, o); err != nil {
			return err
		}
	}
}

// missLost asks that those of our people come in again whose leaves we have no keys of.
func (m *Members) missLost(ctx context.Context, s *shared) error {
	if len(s.lost) == 0 {
		return nil
	}
	requests, err := m.Store.RoomRequests(ctx, s.id)
	if err != nil {
		return err
	}
	wanted := make(map[string]bool)
	for i := range requests {
		wanted[requests[i].Subject] = true
	}
	for _, l := range s.lost {
		role, subject := s.state.Role(l.User), l.User.String()
		if role <= policy.BannedRole || wanted[subject] {
			continue
		}
		wanted[subject] = true
		if err := m.Store.PutRoomRequest(ctx, s.id, &Request{Subject: subject, Role: uint32(role)}); err != nil {
			return err
		}
	}
	return nil
}

// examine is the job of finding out whether the hub still has the group that we have: one that was restored from a backup has gone
// back, and what it makes of the group now is another.
func (m *Members) examine(s *shared) job {
	id, suite := s.id, s.group.CipherSuite()
	who := m.enterers(s)[0]
	return func(ctx context.Context) error {
		_, plain, err := m.askGroupInfo(ctx, id, suite, who)
		if err != nil {
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error {
			s, err := m.room(ctx, id)
			if err != nil || s.stale {
				return err
			}
			s.doubt, s.examined = false, s.group.Epoch()+1
			if plain == nil {
				return nil
			}
			theirs, ours := &plain.GroupInfo.Context, s.group.Context()
			if theirs.Epoch < ours.Epoch || theirs.Epoch == ours.Epoch && !bytes.Equal(theirs.ConfirmedTranscriptHash, ours.ConfirmedTranscriptHash) {
				return m.lose(ctx, s, "the hub has gone back")
			}
			return nil
		})
	}
}
