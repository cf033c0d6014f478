package member

import (
	"context"
	"crypto/rand"
	"fmt"

	"mimigate/core/content"
	"mimigate/core/member/form"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// compose makes a message ready to be sent: with salt and addresses, so that its id is fixed; and protected, if its sender has a
// leaf by now.
func (m *Members) compose(ctx context.Context, s *shared, from uri.User, msg *content.Message) (*Outgoing, error) {
	c := *msg
	c.SenderURI, c.RoomURI = from.String(), s.id.String()
	if c.Salt == (content.Salt{}) {
		if _, err := rand.Read(c.Salt[:]); err != nil {
			return nil, err
		}
	}
	encoded, err := content.Marshal(&c)
	if err != nil {
		return nil, err
	}
	s.last++ // a number whose unit is undone is left out
	o := &Outgoing{Number: s.last, From: from, Content: encoded}
	if o.ID, err = content.ComputeID(c.SenderURI, c.RoomURI, encoded); err != nil {
		return nil, err
	}
	if _, in := s.leaves[from]; !in {
		asked, err := m.asked(ctx, s.id, from)
		if err == nil && !asked {
			err = ErrNotParticipant
		}
		return o, err
	}
	if err := s.state.MaySend(from); err != nil {
		return nil, err
	}
	if err := m.permits(ctx, s, from, &c); err != nil {
		return nil, err
	}
	return o, m.protect(ctx, s, o)
}

// asked reports whether it was asked that a user be in the room.
func (m *Members) asked(ctx context.Context, id uri.Room, user uri.User) (bool, error) {
	requests, err := m.Store.RoomRequests(ctx, id)
	for _, r := range requests {
		if r.Subject == user.String() && r.Role > uint32(policy.BannedRole) {
			return true, nil
		}
	}
	return false, err
}

// protect encrypts a message as its sender's leaf (design §4 step 3). The same content and salt may be protected again in a later epoch, after a definite
// refusal for its epoch (design §5 rule v): its id stays the same. A stale group protects nothing.
func (m *Members) protect(ctx context.Context, s *shared, o *Outgoing) error {
	leaf, in := s.leaves[o.From]
	if !in || s.stale || s.group.Epoch() < o.After {
		return nil
	}
	data, err := form.Frame(s.group.Context(), o.Content)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	framing, err := form.Framing(s.group.Context(), s.state.Rules(), o.Content, data)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	s.mu.Lock()
	step, err := s.group.Protect(leaf, data, framing)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	o.Message = step.Message
	return m.keep(ctx, s, step)
}

// permits reports whether a sender's role permits a message, as all clients judge it (mimi-room-policy-04 §8.3, §8.4). What a message
// refers to may be unknown here: then nobody here has seen it, and no harm can be done to it. Refusals wrap policy.ErrDenied.
func (m *Members) permits(ctx context.Context, s *shared, from uri.User, c *content.Message) error {
	p := policy.Message{
		Reaction: c.IsReaction() || c.IsUnreact(), Reply: c.IsReply(), Replaces: !c.Replaces.IsZero(),
		Deleted: c.IsDelete() || c.IsUnreact(), Own: true, Topic: len(c.TopicID) > 0,
	}
	if p.Replaces {
		first, err := m.Store.KnownMessage(ctx, s.id, c.Replaces)
		if err != nil {
			return err
		}
		if first != nil {
			p.Own, p.Reaction = first.From == from, first.Reaction
			p.TopicChanged = !p.Deleted && string(first.Topic) != string(c.TopicID)
		}
	}
	for _, part := range c.Body.Walk() {
		p.Previews = p.Previews || part.Disposition == content.Preview
		if e, ok := part.Body.(content.External); ok && part.Disposition != content.Session {
			p.Assets = append(p.Assets, policy.KindOf(e.ContentType, part.Disposition == content.Render || part.Disposition == content.Inline))
		}
	}
	return s.state.Rules().AllowedMessage(s.state.Role(from), p)
}

// known is what is remembered of a message that was delivered.
func known(from uri.User, c *content.Message) *Known {
	return &Known{From: from, Topic: c.TopicID, Reaction: c.IsReaction() || c.IsUnreact()}
}

// participant returns a user's line of the participant list.
func participant(user uri.User, role uint32) room.Participant {
	return room.Participant{User: user.String(), Role: policy.RoleIndex(role)}
}
