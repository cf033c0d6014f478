package member

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"mimigate/core/content"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// job is one question to the room's hub, and what to make of the answer. An error means that there is none yet.
type job func(ctx context.Context) error

// step does the next thing that is to be done in a room, and reports whether it found any. In a unit of work it all belongs to that
// unit; outside of any, the question is asked between two units. requests says that changes that were asked for are due
// even if no message waits for them.
func (m *Members) step(ctx context.Context, id uri.Room, requests bool) (more bool, err error) {
	var next job
	err = m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.place(ctx, id)
		switch {
		case err != nil:
			return err
		case s.stale:
			next, err = m.nextEntry(ctx, s)
		default:
			next, err = m.next(ctx, s, requests)
		}
		return err
	})
	if err != nil || next == nil {
		return false, err
	}
	return true, next(ctx)
}

// next finds the next job of a room: first the commit that is on its way, then the messages in their order, then changes. A
// message whose sender has no leaf yet waits for the commit that makes one, and all after it wait too.
func (m *Members) next(ctx context.Context, s *shared, requests bool) (job, error) {
	c, err := m.Store.PendingCommit(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if c != nil && !c.Answered {
		return m.update(s.id, c.Request)
	}
	if s.doubt {
		return m.examine(s), nil
	}
	o, err := m.Store.NextOutgoing(ctx, s.id, s.sent)
	if err != nil {
		return nil, err
	}
	if o != nil {
		if next, err := m.nextMessage(ctx, s, o); err != nil || next != nil {
			return next, err
		}
		if _, in := s.leaves[o.From]; !in {
			asked, err := m.asked(ctx, s.id, o.From)
			if err != nil {
				return nil, err
			}
			if !asked && c == nil {
				return m.giveUp(ctx, s, o, "the sender is not in the room")
			}
			requests = true
		}
	}
	if c != nil {
		return nil, nil // what is to be committed next depends on it
	}
	return m.nextChange(ctx, s, requests)
}

// nextMessage is the job of sending a message; nil while it cannot be protected. One that waited is judged only now.
func (m *Members) nextMessage(ctx context.Context, s *shared, o *Outgoing) (job, error) {
	if o.Message == nil {
		if _, in := s.leaves[o.From]; !in {
			return nil, nil
		}
		c, err := content.Unmarshal(o.Content)
		if err != nil {
			return nil, fmt.Errorf("member: stored message: %w", err)
		}
		switch err := m.permits(ctx, s, o.From, c); {
		case errors.Is(err, policy.ErrDenied):
			return m.giveUp(ctx, s, o, notPermitted)
		case err != nil:
			return nil, err
		}
		if err := m.protect(ctx, s, o); err != nil || o.Message == nil {
			return nil, err
		}
		if err := m.Store.PutOutgoing(ctx, s.id, o); err != nil {
			return nil, err
		}
	}
	return m.submit(s.id, o)
}

// notPermitted tells people that a message was refused for its sender's role.
const notPermitted = "their role in the room does not permit it"

// giveUp takes a message back that nobody will see; there may be more to do after it.
func (m *Members) giveUp(ctx context.Context, s *shared, o *Outgoing, reason string) (job, error) {
	if err := m.Store.DropOutgoing(ctx, s.id, o.Number); err != nil {
		return nil, err
	}
	return func(context.Context) error { return nil }, m.sink.Refused(ctx, s.id, o.From, o.ID, reason)
}

// submit is the job of handing a message to the hub: T2 is its side.
func (m *Members) submit(id uri.Room, o *Outgoing) (job, error) {
	msg, err := mimi.ParseMessage(o.Message)
	if err != nil {
		return nil, fmt.Errorf("member: stored message: %w", err)
	}
	req := &mimi.SubmitMessageRequest{Message: msg, Sender: o.From.String()}
	return func(ctx context.Context) error {
		hub, _, err := m.Peers.Hub(id.Provider())
		if err != nil {
			return err
		}
		resp, err := hub.Submit(ctx, m.Provider, id, req)
		switch {
		case mimi.Final(err):
			resp = &mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}
		case err != nil:
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error { return m.submitted(ctx, id, o.Message, resp) })
	}, nil
}

// submitted takes the hub's answer for a message; in a room whose hub is this very process it has come back already.
func (m *Members) submitted(ctx context.Context, id uri.Room, message []byte, resp *mimi.SubmitMessageResponse) error {
	s, err := m.room(ctx, id)
	if err != nil {
		return err
	}
	o, err := m.Store.OutgoingByHash(ctx, id, sha256.Sum256(message))
	if err != nil || o == nil {
		return err
	}
	switch resp.Code {
	case mimi.SubmitAccepted: // on disk it stays as it was: it will soon come back
		s.sent = max(s.sent, o.Number)
		msg, err := mimi.ParseMessage(o.Message)
		if err != nil {
			return fmt.Errorf("member: stored message: %w", err)
		}
		return m.accepted(ctx, s, mimi.FanoutMessage{Timestamp: resp.Accepted, Message: msg, Frank: resp.Frank})
	case mimi.SubmitEpochTooOld:
		o.Message, o.After = nil, resp.Epoch
	default:
		if !s.stale && s.examined != s.group.Epoch()+1 && s.state.MaySend(o.From) == nil {
			s.doubt = true // a hub that went back takes nothing of our epoch
			return nil
		}
		if err := m.Store.DropOutgoing(ctx, id, o.Number); err != nil {
			return err
		}
		return m.sink.Refused(ctx, id, o.From, o.ID, "the room does not take it")
	}
	return m.Store.PutOutgoing(ctx, id, o)
}

// update is the job of handing our commit to the hub.
func (m *Members) update(id uri.Room, request []byte) (job, error) {
	req := new(mimi.UpdateRequest)
	if err := mls.Unmarshal(request, req); err != nil {
		return nil, fmt.Errorf("member: stored commit: %w", err)
	}
	return func(ctx context.Context) error {
		hub, _, err := m.Peers.Hub(id.Provider())
		if err != nil {
			return err
		}
		resp, err := hub.Update(ctx, m.Provider, id, req)
		switch {
		case mimi.Final(err):
			resp = &mimi.UpdateRoomResponse{Code: mimi.UpdateNotAllowed, Description: "the room's provider does not take it"}
		case err != nil:
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error { return m.updated(ctx, id, request, req.Message, resp) })
	}, nil
}

// updated takes the hub's answer for our commit. After success it is merged when it comes back through the inbox; it may have been
// already. A refusal is the only reason to discard it beside another commit that takes its epoch (design §5 rule iv).
func (m *Members) updated(ctx context.Context, id uri.Room, request []byte, commit mimi.Message, resp *mimi.UpdateRoomResponse) error {
	c, err := m.Store.PendingCommit(ctx, id)
	if err != nil || c == nil || string(c.Request) != string(request) {
		return err
	}
	s, err := m.place(ctx, id)
	if err != nil {
		return err
	}
	if resp.Code == mimi.UpdateSuccess {
		c.Answered = true
		if err := m.Store.SetPendingCommit(ctx, id, c); err != nil {
			return err
		}
		return m.accepted(ctx, s, mimi.FanoutMessage{Timestamp: resp.Accepted, Message: commit})
	}
	if err := m.Store.SetPendingCommit(ctx, id, nil); err != nil {
		return err
	}
	if s.entry != nil {
		return m.notEntered(ctx, s, c, resp)
	}
	s.mu.Lock()
	step := s.group.Drop()
	s.mu.Unlock()
	if err := m.keep(ctx, s, step); err != nil {
		return err
	}
	if resp.Code == mimi.UpdateWrongEpoch && resp.Epoch < s.group.Epoch() {
		return m.lose(ctx, s, "the hub has gone back")
	}
	if resp.Code == mimi.UpdateWrongEpoch {
		m.inVain(ctx, s) // the commit that took it is yet to come
		return nil
	}
	m.Log.Info("commit refused", "room", id, "reason", resp.Description, "changes", len(c.Subjects))
	return m.refused(ctx, s, c.Subjects, "the room's provider does not allow it")
}

// inVain remembers that nothing of ours can be committed in this epoch. If it lasts, it is tried again all the same.
func (m *Members) inVain(ctx context.Context, s *shared) {
	s.vain = s.group.Epoch() + 1
	m.Store.OnCommit(ctx, func() { m.watch.WakeAfter(s.id, m.Echo) })
}

// refused follows a commit that is not possible: alone each of its changes may be, and one that is not is told to the Sink.
func (m *Members) refused(ctx context.Context, s *shared, subjects []string, reason string) error {
	if len(subjects) == 0 {
		m.inVain(ctx, s)
		return nil
	}
	if len(subjects) == 1 {
		return m.abandon(ctx, s, subjects[0], reason)
	}
	requests, err := m.Store.RoomRequests(ctx, s.id)
	if err != nil {
		return err
	}
	for i := range requests {
		for _, subject := range subjects {
			if requests[i].Subject == subject {
				requests[i].Alone = true
				if err := m.Store.PutRoomRequest(ctx, s.id, &requests[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// abandon gives a request up.
func (m *Members) abandon(ctx context.Context, s *shared, subject, reason string) error {
	if err := m.Store.DropRoomRequest(ctx, s.id, subject); err != nil {
		return err
	}
	var user uri.User
	if subject != "" {
		var err error
		if user, err = uri.ParseUser(subject); err != nil {
			return nil // nobody to tell about
		}
	}
	return m.sink.Unchanged(ctx, s.id, user, reason)
}

// finished tells that a message came back, with what it was.
func (m *Members) finished(ctx context.Context, s *shared, o *Outgoing, accepted uint64) error {
	if err := m.Store.DropOutgoing(ctx, s.id, o.Number); err != nil {
		return err
	}
	c, err := content.Unmarshal(o.Content)
	if err != nil {
		return fmt.Errorf("member: stored message: %w", err)
	}
	if err := m.permits(ctx, s, o.From, c); errors.Is(err, policy.ErrDenied) { // no more: nobody else will show it either
		return m.sink.Refused(ctx, s.id, o.From, o.ID, notPermitted)
	}
	return m.deliver(ctx, s, o.From, o.ID, c, accepted)
}
