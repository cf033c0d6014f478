package member

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"mimigate/core/content"
	"mimigate/core/member/blame"
	"mimigate/core/member/form"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// Open opens what stands in a room's inbox (design §4 step 10), in order, within ctx's unit (T4): the group's step, what is told to the Sink, and the row
// of the inbox are committed together. What can never be opened is logged and left out; an error means that the same is to be
// opened again later.
func (m *Members) Open(ctx context.Context, id uri.Room) error {
	return m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.place(ctx, id)
		if err != nil || s.opening {
			return err // whoever is opening further up takes what has come meanwhile
		}
		s.opening = true
		defer func() { s.opening = false }()
		for {
			number, body, ok, err := m.Store.NextInbox(ctx, id)
			if err != nil {
				return err
			}
			if !ok {
				return m.resume(ctx, id)
			}
			if s, err = m.openBody(ctx, s, body); err != nil {
				return err
			}
			if err := m.Store.DropInbox(ctx, id, number); err != nil {
				return err
			}
		}
	})
}

// resume goes on, after the unit, with what waited for something to come in.
func (m *Members) resume(ctx context.Context, id uri.Room) error {
	s := m.cached(id)
	if s == nil {
		return nil
	}
	o, err := m.Store.NextOutgoing(ctx, id, s.sent)
	if err != nil {
		return err
	}
	requests, err := m.Store.RoomRequests(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case o != nil || s.stale:
		m.Store.OnCommit(ctx, func() { m.queues.Wake(id) })
	case len(requests) > 0:
		m.Store.OnCommit(ctx, func() { m.queues.WakeAfter(id, m.soon()) })
	case len(s.group.Proposals()) > 0:
		wait := m.turn(s)
		m.Store.OnCommit(ctx, func() {
			m.queues.WakeAfter(id, m.soon())
			m.watch.WakeAfter(id, wait+m.Batch)
		})
	}
	return nil
}

// openBody opens the messages of one request. A Welcome in it belongs to the commit before it.
func (m *Members) openBody(ctx context.Context, s *shared, body []byte) (*shared, error) {
	list, err := mimi.ParseFanout(body)
	if err != nil {
		m.Log.Error("a request in the inbox cannot be read", "room", s.id, "error", err)
		return s, nil
	}
	var welcome *mls.Welcome
	for i := range list {
		if w := list[i].Message.Welcome; w != nil {
			welcome = w
		}
	}
	for i := range list {
		if s, err = m.openMessage(ctx, s, &list[i], welcome); err != nil {
			return s, err
		}
	}
	return s, nil
}

// openMessage opens one message. Of a lost group what was said in epochs that we had is still readable; its handshakes lead
// nowhere, until one of our people enters it anew or somebody brings them in.
func (m *Members) openMessage(ctx context.Context, s *shared, f *mimi.FanoutMessage, welcome *mls.Welcome) (*shared, error) {
	for len(s.unechoed) > 0 && s.unechoed[0].event.Timestamp < f.Timestamp { // the hub has gone on, so it never will
		s.silent = true
		event := s.unechoed[0].event
		s.unechoed = s.unechoed[1:]
		var err error
		if s, err = m.openMessage(ctx, s, &event, nil); err != nil {
			return s, err
		}
	}
	if s.stale {
		entered, err := m.isEntry(ctx, s, f.Message)
		if err != nil {
			return s, err
		}
		if entered {
			return m.begin(ctx, s, s.entry, f.Timestamp)
		}
	}
	switch {
	case f.Message.Welcome != nil && s.stale:
		return m.join(ctx, s, f)
	case s.group == nil || f.Message.Welcome != nil: // of before our time; or merged with its commit
		return s, nil
	case f.Message.Private != nil:
		return s, m.openPrivate(ctx, s, f)
	case s.stale:
		return s, nil
	}
	return s, m.openHandshakes(ctx, s, f, welcome)
}

// drop logs a message that cannot be used, and why.
func (m *Members) drop(s *shared, what string, err error) {
	m.Log.Warn(what, "room", s.id, "epoch", s.group.Epoch(), "error", err)
}

// openPrivate opens an application message. Our own cannot be decrypted by their sender: they stand on disk since T1, and are
// found by the hash of the MLSMessage.
func (m *Members) openPrivate(ctx context.Context, s *shared, f *mimi.FanoutMessage) error {
	own, err := m.Store.OutgoingByHash(ctx, s.id, sha256.Sum256(f.Message.Raw))
	if err != nil {
		return err
	}
	if own != nil {
		s.arrived(f.Message)
		return m.finished(ctx, s, own, f.Timestamp)
	}
	s.mu.Lock()
	step, err := s.group.Process(f.Message.Message, mls.Arrival{})
	s.mu.Unlock()
	if err != nil {
		m.drop(s, "a message cannot be opened", err)
		if !s.stale && f.Message.Epoch() > s.group.Epoch() {
			return m.lose(ctx, s, "a message of an epoch whose commit never came")
		}
		return nil
	}
	if err := m.keep(ctx, s, step); err != nil {
		return err
	}
	from, err := identify(step.Leaf) // of the message's own epoch: its place may be somebody else's by now
	if err != nil {
		m.drop(s, "a message is not of a person", err)
		return nil
	}
	c, id, err := m.decode(s, from.User, step.Application, f)
	if err != nil {
		m.drop(s, "a message is not what it should be", err)
		return nil
	}
	if c == nil {
		return nil
	}
	return m.deliver(ctx, s, from.User, id, c, f.Timestamp)
}

// decode reads application data and checks that it is from whom and where it says (mimi-content-09 §4.3, §9.1). Media types other
// than a message are nil.
func (m *Members) decode(s *shared, from uri.User, data []byte, f *mimi.FanoutMessage) (*content.Message, content.MessageID, error) {
	types, err := s.group.Context().ContentMediaTypes()
	if err != nil {
		return nil, content.MessageID{}, err
	}
	encoded := data
	if types != nil {
		framed, err := content.UnmarshalFramed(data, types[0].Type)
		if err != nil || !framed.Is(content.TypeMessage) {
			return nil, content.MessageID{}, err
		}
		encoded = framed.Content
	}
	c, err := content.Unmarshal(encoded)
	if err != nil {
		return nil, content.MessageID{}, err
	}
	id, err := content.Verify(c, encoded, from, s.id)
	if err != nil {
		return nil, id, err
	}
	if err := c.CheckTimes(time.UnixMilli(int64(f.Timestamp)), time.Time{}, m.Now()); err != nil {
		return nil, id, err
	}
	return c, id, form.CheckFrank(m.MLS.Suites, s.group.Context(),
		&mimi.FrankingContext{Sender: from.String(), Room: s.id.String(), Accepted: f.Timestamp}, encoded, data, f)
}

// deliver tells the Sink of a message: once, and if its sender's role permits it.
func (m *Members) deliver(ctx context.Context, s *shared, from uri.User, id content.MessageID, c *content.Message, accepted uint64) error {
	before, err := m.Store.KnownMessage(ctx, s.id, id)
	if err != nil || before != nil {
		return err
	}
	switch err := m.permits(ctx, s, from, c); {
	case errors.Is(err, policy.ErrDenied):
		m.drop(s, "a message that its sender's role does not permit", err)
		return nil
	case err != nil:
		return err
	}
	at := time.UnixMilli(int64(accepted))
	if err := m.Store.PutKnownMessage(ctx, s.id, id, known(from, c), at); err != nil {
		return err
	}
	return m.sink.Message(ctx, s.id, from, id, at, c)
}

// openHandshakes takes a proposal or commit and those that came with it.
func (m *Members) openHandshakes(ctx context.Context, s *shared, f *mimi.FanoutMessage, welcome *mls.Welcome) error {
	for _, msg := range append([]mimi.Message{f.Message}, f.More...) {
		if err := m.openHandshake(ctx, s, msg, welcome, f.Timestamp); err != nil || s.stale || s.group == nil {
			return err
		}
	}
	return nil
}

func (m *Members) openHandshake(ctx context.Context, s *shared, msg mimi.Message, welcome *mls.Welcome, accepted uint64) error {
	own, err := m.ownSecrets(ctx, s, msg.Message)
	if err != nil {
		return err
	}
	with := mls.Arrival{Own: own, Welcome: welcome}
	if ours, err := m.isEntry(ctx, s, msg); err != nil {
		return err
	} else if ours {
		with.Entered = s.entry
	}
	s.mu.Lock()
	step, err := s.group.Process(msg.Message, with)
	s.mu.Unlock()
	if err != nil {
		return m.cannotFollow(ctx, s, msg, err)
	}
	if step.Commit == nil {
		return m.keep(ctx, s, step)
	}
	s.arrived(msg)
	return m.merge(ctx, s, step, own, accepted)
}

// cannotFollow judges a handshake that the engine does not take: an old one, or a proposal, is left out; a commit of our epoch that
// the hub has accepted and we cannot take means that the group has gone on without us.
func (m *Members) cannotFollow(ctx context.Context, s *shared, msg mimi.Message, err error) error {
	m.drop(s, "a handshake cannot be taken", err)
	switch commit := msg.Public != nil && msg.Public.Content.ContentType == mls.ContentCommit; {
	case commit && msg.Epoch() >= s.group.Epoch():
		return m.lose(ctx, s, "it has gone on without us")
	case commit && s.examined != s.group.Epoch()+1: // another than the one we have followed: a hub that went back?
		s.doubt = true
		m.Store.OnCommit(ctx, func() { m.queues.Wake(s.id) })
	}
	return nil
}

// merge begins the epoch of a commit, whosever it is, and tells the Sink what it changed.
func (m *Members) merge(ctx context.Context, s *shared, commit *mls.Step, own []*mls.JoinSecrets, accepted uint64) error {
	before := s.state
	s.mu.Lock()
	step, err := s.group.Merge(commit)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	if err := m.keep(ctx, s, step); err != nil {
		return err
	}
	if err := m.Store.SetPendingCommit(ctx, s.id, nil); err != nil { // ours came back, or another took the epoch
		return err
	}
	if err := m.setEntry(ctx, s, nil); err != nil {
		return err
	}
	if err := m.keys.Used(ctx, own); err != nil {
		return err
	}
	next, err := m.remember(s.id, s.group)
	if err != nil {
		return err
	}
	m.change(ctx, s, next)
	s.proposed = time.Time{}
	if err := m.fulfilled(ctx, s); err != nil {
		return err
	}
	if len(next.leaves) == 0 {
		if err := m.leave(ctx, s); err != nil {
			return err
		}
	}
	return m.tell(ctx, s, before, blame.Authors(before, s.state, commit), accepted)
}

// leave forgets a room that none of our people is in any more, and what was still to be said and changed there; its records are
// deleted with the merge.
func (m *Members) leave(ctx context.Context, s *shared) error {
	m.forget(s)
	m.Store.OnRollback(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.rooms[s.id] = s
	})
	for {
		o, err := m.Store.NextOutgoing(ctx, s.id, 0)
		if err != nil {
			return err
		}
		if o == nil {
			break
		}
		if _, err := m.giveUp(ctx, s, o, "the sender is not in the room"); err != nil {
			return err
		}
	}
	requests, err := m.Store.RoomRequests(ctx, s.id)
	for i := range requests {
		if err := m.abandon(ctx, s, requests[i].Subject, "nobody from here is in the room any more"); err != nil {
			return err
		}
	}
	return err
}

// fulfilled takes off the requests that the new epoch fulfils.
func (m *Members) fulfilled(ctx context.Context, s *shared) error {
	requests, err := m.Store.RoomRequests(ctx, s.id)
	if err != nil {
		return err
	}
	for i := range requests {
		if m.isFulfilled(s, &requests[i]) {
			if err := m.Store.DropRoomRequest(ctx, s.id, requests[i].Subject); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Members) isFulfilled(s *shared, r *Request) bool {
	if r.Subject == "" {
		meta := s.state.Metadata()
		return meta.Name == r.Name && meta.Subject == r.About
	}
	user, err := uri.ParseUser(r.Subject)
	if err != nil {
		return true
	}
	role, clients := s.state.Role(user), s.state.Clients(user)
	if r.Role <= uint32(policy.BannedRole) {
		return clients == 0 && (uint32(role) == r.Role || r.Role == 0 && s.state.Rules().Base.FixedMembership)
	}
	return !m.needsLeaf(s, r, user) && (!r.Exact || uint32(role) == r.Role)
}
