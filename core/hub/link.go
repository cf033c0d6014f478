package hub

import (
	"context"
	"slices"
	"time"

	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// A joining code (mimi-protocol-06 §5.6) is one of the room's join_links, octet for octet, and gives the first of the roles that role 0 may
// change to: neither draft says how a code names its role ([R]). It is good for as long as join_link_policy has it, from when the link came
// into the room, and for one user where that is not for several (mimi-room-policy-04 §6.2).

// joinRole returns the role that a code gives to a user, policy.NoRole where it is good for nothing.
func (h *Hub) joinRole(ctx context.Context, r *hosted, code string, user uri.User) (policy.RoleIndex, error) {
	rules := r.state.Rules()
	if code == "" || !slices.Contains(rules.JoinLinks, code) {
		return policy.NoRole, nil
	}
	link, ok, err := h.Store.HubLink(ctx, r.id, code)
	if err != nil || !ok {
		return policy.NoRole, err
	}
	if p := rules.JoinLink; p != nil {
		if p.Expiration > 0 && h.Now().Sub(link.Made) > time.Duration(p.Expiration)*time.Second {
			return policy.NoRole, nil
		}
		if !p.MultiUser && link.Guest != "" && link.Guest != user.String() {
			return policy.NoRole, nil
		}
	}
	if outsider := rules.Role(policy.NoRole); outsider != nil {
		for _, c := range outsider.Changes {
			if c.From == policy.NoRole && len(c.Targets) > 0 {
				return c.Targets[0], nil
			}
		}
	}
	return policy.NoRole, nil
}

// guest gives a newcomer the role of the code that they have shown when they asked for the GroupInfo, and returns the code; empty where it
// gives none.
func (h *Hub) guest(ctx context.Context, r *hosted, a *room.Actor) (code string, err error) {
	if a.Kind != room.Newcomer || len(r.state.Rules().JoinLinks) == 0 {
		return "", nil
	}
	if code, err = h.Store.HubGuest(ctx, r.id, a.Leaf.User); err != nil {
		return "", err
	}
	if a.JoinRole, err = h.joinRole(ctx, r, code, a.Leaf.User); err != nil || a.JoinRole == policy.NoRole {
		return "", err
	}
	return code, nil
}
