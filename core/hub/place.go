package hub

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"mimigate/core/mimi"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

const secBase = "mimi-room-policy-04 §5"

// placeOf works out a room's place.
func placeOf(s *room.State, providers map[uri.Provider]bool) Place {
	base := s.Rules().Base
	var p Place
	if base.ParentDependent {
		p.Parent = base.ParentRoom
	}
	if base.FixedMembership {
		digest := s.Membership()
		p.Membership = digest[:]
	}
	p.Links = s.Rules().JoinLinks
	if s.Rules().Assets == nil {
		return p
	}
	for _, d := range s.Rules().Assets.Domains {
		of, err := uri.NewProvider(d.Provider)
		if _, takesPart := providers[of]; err != nil || !takesPart {
			continue
		}
		for _, host := range d.Hosts {
			p.Hosts = append(p.Hosts, strings.ToLower(host))
		}
	}
	slices.Sort(p.Hosts)
	p.Hosts = slices.Compact(p.Hosts)
	return p
}

func (p *Place) equal(o *Place) bool {
	return p.Parent == o.Parent && bytes.Equal(p.Membership, o.Membership) && slices.Equal(p.Hosts, o.Hosts) && slices.Equal(p.Links, o.Links)
}

// fits checks a room's next state against the other rooms (mimi-room-policy-04 §5): a dependent room has participants of its parent alone,
// and there is one room of fixed membership for a set of participants.
func (h *Hub) fits(ctx context.Context, id uri.Room, s *room.State) error {
	p := placeOf(s, nil)
	if p.Parent != "" {
		parent, err := uri.ParseRoom(p.Parent)
		if err != nil || parent == id || parent.Provider() != h.Provider {
			return notAllowed(secBase, "the parent is no other room of this hub")
		}
		r, err := h.room(ctx, parent)
		if errors.Is(err, mimi.ErrNotFound) {
			return notAllowed(secBase, "there is no such parent room")
		}
		if err != nil {
			return err
		}
		if err := s.CheckParent(r.state); err != nil {
			return refuse(err)
		}
	}
	if p.Membership == nil {
		return nil
	}
	others, err := h.Store.HubRoomsOf(ctx, p.Membership)
	if err == nil && slices.ContainsFunc(others, func(o uri.Room) bool { return o != id }) {
		return notAllowed(secBase, "these participants have a room of fixed membership already")
	}
	return err
}

// cascade makes those who are no longer in a room, or banned from it, leave the rooms that depend on it (mimi-room-policy-04 §5). What
// one of those rooms does not let its hub do is told by the log and changes nothing here.
func (h *Hub) cascade(ctx context.Context, parent *hosted) error {
	children, err := h.Store.HubChildren(ctx, parent.id)
	if err != nil {
		return err
	}
	for _, id := range children {
		child, err := h.room(ctx, id)
		if err != nil {
			return err
		}
		var wishes []room.Participant
		for _, p := range child.state.Outside(parent.state) {
			to := policy.NoRole
			if u, err := uri.ParseUser(p.User); err == nil && parent.state.Role(u) == policy.BannedRole {
				to = policy.BannedRole
			}
			wishes = append(wishes, room.Participant{User: p.User, Role: to})
		}
		err = h.expel(ctx, child, wishes)
		if why, ok := refused(err); ok {
			h.Log.Warn("people outside of the parent room cannot be removed", "room", id, "parent", parent.id, "reason", why)
		} else if err != nil {
			return err
		}
	}
	return nil
}
