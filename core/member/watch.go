package member

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"mimigate/core/member/form"
	"mimigate/core/member/rights"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// acceptance is something of ours that the hub has accepted, until it has come back.
type acceptance struct {
	event mimi.FanoutMessage // as the hub would have fanned it out
	since time.Time
}

// soon is when a change of a room is due: a little different for each gateway, so that they do not always race for the same epoch.
func (m *Members) soon() time.Duration { return m.Batch + rand.N(m.Batch/2+1) }

// accepted remembers that the hub has accepted something of ours. A hub that is known not to send it back (design §4) is not waited for.
func (m *Members) accepted(ctx context.Context, s *shared, event mimi.FanoutMessage) error {
	s.unechoed = append(s.unechoed, acceptance{event, m.Now()})
	if s.silent {
		return m.echo(ctx, s, event.Timestamp)
	}
	m.Store.OnCommit(ctx, func() { m.watch.WakeAfter(s.id, m.Echo) })
	return nil
}

// arrived notes that something of ours has come back.
func (s *shared) arrived(msg mimi.Message) {
	s.unechoed = slices.DeleteFunc(s.unechoed, func(a acceptance) bool { return bytes.Equal(a.event.Message.Raw, msg.Raw) })
}

// echo puts into the inbox what the hub has accepted of ours until a time, and has not sent back.
func (m *Members) echo(ctx context.Context, s *shared, until uint64) error {
	for len(s.unechoed) > 0 && s.unechoed[0].event.Timestamp <= until {
		event := s.unechoed[0].event
		s.unechoed = s.unechoed[1:]
		body := mls.Marshal(&event)
		if _, err := m.Store.PutInbox(ctx, s.id, body, mimi.InboxHash(s.id, body), m.Now()); err != nil {
			return err
		}
	}
	return m.Open(ctx, s.id)
}

// check looks after what should have happened in a room by now.
func (m *Members) check(ctx context.Context, id uri.Room) (more bool, err error) {
	var wait time.Duration
	err = m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.place(ctx, id)
		if err != nil {
			return err
		}
		late := uint64(0)
		for _, a := range s.unechoed {
			if m.Now().Sub(a.since) >= m.Echo {
				late = a.event.Timestamp
			}
		}
		if late > 0 {
			m.Log.Warn("the hub does not send back what it has accepted", "room", id)
			s.silent = true
			if err := m.echo(ctx, s, late); err != nil {
				return err
			}
		}
		wait, err = m.recheck(ctx, s)
		return err
	})
	if err == nil && wait > 0 {
		err = mimi.RetryAfter(wait, errEarly)
	}
	return false, err
}

// errEarly: there is more to be waited for.
var errEarly = errors.New("member: too early")

// recheck asks again what became of a commit whose acceptance was forgotten, commits in an epoch again whose end never came, and
// says how long to wait for what else there is.
func (m *Members) recheck(ctx context.Context, s *shared) (time.Duration, error) {
	s.vain = 0
	m.Store.OnCommit(ctx, func() { m.queues.Wake(s.id) })
	if len(s.unechoed) > 0 {
		return m.Echo, nil
	}
	c, err := m.Store.PendingCommit(ctx, s.id)
	if err != nil {
		return 0, err
	}
	if c != nil && c.Answered {
		c.Answered = false
		return 0, m.Store.SetPendingCommit(ctx, s.id, c)
	}
	if s.stale || len(s.group.Proposals()) == 0 {
		return 0, nil
	}
	return m.turn(s), nil
}

// turn is how long it is until we are to commit what others have proposed: at once where we are the first in line, and with each
// gateway before us a while later, so that one commits and no more. The first is the hub's own gateway participant, then it goes
// by each provider's lowest leaf.
func (m *Members) turn(s *shared) time.Duration {
	line := rights.Line(s.state, rights.Leaving(s.group))
	if s.proposed.IsZero() {
		s.proposed = m.Now()
	}
	return time.Duration(max(0, slices.Index(line, m.Provider)))*m.Patience - m.Now().Sub(s.proposed)
}

// depart is the job of letting one of our people leave a room by themself: they propose it, and somebody else commits it
// (mls-extensions-10 §6, mimi-room-policy-04 §8.1.2). In a room of fixed membership their client goes, and they stay listed.
// Nil: it is proposed already.
func (m *Members) depart(s *shared, r *Request, user uri.User) (job, error) {
	leaf := s.leaves[user]
	if rights.Leaving(s.group)[leaf] || s.departed[r.Subject] == s.group.Epoch()+1 {
		return nil, nil
	}
	req, err := m.departure(s, user, leaf)
	if err != nil {
		return nil, err
	}
	id, subject := s.id, r.Subject
	return func(ctx context.Context) error {
		hub, _, err := m.Peers.Hub(id.Provider())
		if err != nil {
			return err
		}
		resp, err := hub.Update(ctx, m.Provider, id, req)
		switch {
		case mimi.Final(err):
			resp = &mimi.UpdateRoomResponse{Code: mimi.UpdateNotAllowed}
		case err != nil:
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error {
			s, err := m.room(ctx, id)
			if err != nil {
				return err
			}
			if resp.Code == mimi.UpdateNotAllowed {
				return m.abandon(ctx, s, subject, "the room's provider does not allow it")
			}
			if s.departed == nil {
				s.departed = make(map[string]uint64)
			}
			s.departed[subject] = s.group.Epoch() + 1 // if nothing comes of it, the next epoch is another chance
			return nil
		})
	}, nil
}

// departure makes the proposals. The group takes them when they come back through the inbox, like everybody else's.
func (m *Members) departure(s *shared, user uri.User, leaf mls.LeafIndex) (*mimi.UpdateRequest, error) {
	proposals := []mls.Proposal{{Type: mls.ProposalSelfRemove}}
	if !s.state.Rules().Base.FixedMembership {
		u := s.state.Change(participant(user, uint32(policy.NoRole)))
		proposals = append(proposals, componentUpdate(policy.ParticipantList, u.Marshal()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *mls.Step
	var list []mimi.Message
	for _, p := range proposals {
		step, err := s.group.Propose(leaf, p, form.HandshakeFraming(s.group.Context()), false)
		if err == nil {
			first = cmp.Or(first, step)
			var msg mimi.Message
			if msg, err = mimi.ParseMessage(step.Message); err == nil {
				list = append(list, msg)
				continue
			}
		}
		if first != nil {
			_ = s.group.Discard(first)
		}
		return nil, err
	}
	return &mimi.UpdateRequest{Message: list[0], More: list[1:]}, s.group.Discard(first)
}
