package hub

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// Expel makes the hub itself propose that a user leave a room (role policy.NoRole) or be banned (policy.BannedRole), with all clients: as
// an external sender (RFC 9420 §12.1.8), with what the room's policy lets its hub do. A member commits it. Whoever is gone already, or is
// about to go, is left as they are. The error wraps mimi.ErrNotFound where there is no such room, policy.ErrDenied or policy.ErrInvalid.
func (h *Hub) Expel(ctx context.Context, id uri.Room, user uri.User, role policy.RoleIndex) error {
	err := h.Store.Do(ctx, func(ctx context.Context) error {
		r, err := h.room(ctx, id)
		if err != nil {
			return err
		}
		return h.expel(ctx, r, []room.Participant{{User: user.String(), Role: role}})
	})
	if why, ok := refused(err); ok {
		return fmt.Errorf("hub: %w", why)
	}
	return err
}

// expel proposes that users get the roles beside them and, where these are none, that their clients go.
func (h *Hub) expel(ctx context.Context, r *hosted, wishes []room.Participant) error {
	var out outgoing
	err := h.Store.Do(ctx, func(ctx context.Context) error { // a part, which a refusal undoes
		list, err := h.proposals(ctx, r, r.state, wishes)
		if err != nil || len(list) == 0 {
			return err
		}
		out, err = h.propose(ctx, h.Provider, r, list)
		return err
	})
	if err != nil || len(out.to) == 0 {
		return err
	}
	return h.fanout(ctx, r, out.event, out.to)
}

// proposals makes the hub's proposals for what it wishes and state does not have.
func (h *Hub) proposals(ctx context.Context, r *hosted, state *room.State, wishes []room.Participant) ([]mimi.Message, error) {
	var list []mls.Proposal
	var change []room.Participant
	leaving := make(map[mls.LeafIndex]bool)
	for _, p := range state.Pending() {
		if t := p.Proposal.Type; t == mls.ProposalRemove || t == mls.ProposalSelfRemove {
			leaving[p.Proposal.Leaf.Index] = true
		}
	}
	for _, w := range wishes {
		u, err := uri.ParseUser(w.User)
		if err != nil {
			continue // a server: it has no clients, and is not of any parent room
		}
		if state.Role(u) != w.Role {
			change = append(change, w)
		}
		for l := range state.Leaves() {
			if l.User == u && w.Role <= policy.BannedRole && !leaving[l.Index] {
				list = append(list, mls.Proposal{Type: mls.ProposalRemove, Remove: l.Index})
			}
		}
	}
	if u := state.Change(change...); !u.Empty() {
		list = append(list, mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
			Component: mls.ComponentID(policy.ParticipantList), Operation: mls.OpUpdate, Update: u.Marshal()}})
	}
	return h.sign(ctx, r, list)
}

// sign makes the hub's proposals for the current epoch.
func (h *Hub) sign(ctx context.Context, r *hosted, list []mls.Proposal) ([]mimi.Message, error) {
	key, credential, err := h.signer(ctx, r.group.CipherSuite())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	index, err := senderIndex(r.group.Context(), mls.ExternalSender{SignatureKey: key.PublicBytes(), Credential: credential})
	if err != nil {
		return nil, err
	}
	var out []mimi.Message
	for _, p := range list {
		m, err := r.group.ExternalProposal(index, key, p, mls.Framing{})
		if err != nil {
			return nil, refuse(err)
		}
		out = append(out, mimi.NewMessage(m))
	}
	return out, nil
}

// senderIndex finds an external sender. The hub is one in every epoch, or it refuses the epoch.
func senderIndex(c *mls.GroupContext, who mls.ExternalSender) (uint32, error) {
	list, err := externalSenders(c)
	if err != nil {
		return 0, refuse(err)
	}
	want := mls.Marshal(mls.ExternalSenders{who})
	for i := range list {
		if bytes.Equal(mls.Marshal(list[i:i+1]), want) {
			return uint32(i), nil
		}
	}
	return 0, notAllowed("mimi-protocol-06 §7", "the hub is not an external sender")
}

// wishes are what the hub's own pending proposals are for, and those by which people leave: an external commit takes their clients away
// (mls-extensions-10 §6.3), and nobody else would take them off the list.
func (h *Hub) wishes(r *hosted) []room.Participant {
	var list []room.Participant
	wish := func(u uri.User) {
		w := room.Participant{User: u.String(), Role: r.state.Role(u)}
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	for _, p := range r.state.Pending() {
		if p.Actor.Kind == room.Member {
			l, _ := r.state.Leaf(p.Actor.Leaf.Index)
			if slices.Contains(r.state.Committed().Moved(p.Proposal), l.User) && r.state.Role(l.User) == policy.NoRole {
				wish(l.User)
			}
		}
		if p.Actor.Kind != room.Server || p.Actor.Provider != h.Provider {
			continue
		}
		switch p.Proposal.Type {
		case mls.ProposalRemove:
			if l, ok := r.state.Leaf(p.Proposal.Leaf.Index); ok {
				wish(l.User)
			}
		case mls.ProposalAppDataUpdate:
			for _, user := range r.state.Committed().Moved(p.Proposal) {
				wish(user)
			}
		}
	}
	return list
}

// renew makes the hub's proposals that an external commit could not take again for its epoch, to go with it to everybody
// (mimi-protocol-06 §5.5). Those that the room does not take any more are left out.
func (h *Hub) renew(ctx context.Context, r *hosted, wishes []room.Participant) ([]mimi.Message, error) {
	var renewed []mimi.Message
	for _, w := range wishes {
		var list []mimi.Message
		err := h.Store.Do(ctx, func(ctx context.Context) (err error) {
			if list, err = h.proposals(ctx, r, r.state, []room.Participant{w}); err != nil || len(list) == 0 {
				return err
			}
			next := r.memory
			if err := h.stage(ctx, h.Provider, r, list, &next); err != nil {
				return err
			}
			return h.change(ctx, r, next)
		})
		if why, ok := refused(err); ok {
			h.Log.Warn("a proposal of the hub is not taken any more", "room", r.id, "reason", why)
			continue
		}
		if err != nil {
			return nil, err
		}
		renewed = append(renewed, list...)
	}
	return renewed, h.Store.SetHubProposals(ctx, r.id, r.proposals)
}
