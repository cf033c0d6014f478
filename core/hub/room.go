package hub

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// hosted is a room of ours in memory. All but the group is touched only within units of work.
type hosted struct {
	id    uri.Room
	fence int64
	memory

	mu    sync.Mutex // for group: its steps are settled after their unit, when another may have its turn
	group *mls.PublicGroup
}

// memory is what a unit that is undone brings back as a whole.
type memory struct {
	row       Row
	state     *room.State
	proposals []ProposalRow
	providers map[uri.Provider]bool // who are told application messages (true) or handshakes alone
	place     Place
}

func stateName(id uri.Room) []byte { return []byte("hub " + id.String()) }

// identify implements [room.Identify].
func identify(l *mls.LeafNode) (room.Leaf, error) {
	user, client, err := mimi.Identify(&l.Credential)
	return room.Leaf{User: user, Client: client}, err
}

func (h *Hub) cached(id uri.Room) *hosted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[id]
}

// forget drops a room from memory; it is loaded again when it is needed.
func (h *Hub) forget(r *hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.id] == r {
		delete(h.rooms, r.id)
	}
}

// room returns a room of ours, within a unit. The error wraps mimi.ErrNotFound where there is none.
func (h *Hub) room(ctx context.Context, id uri.Room) (*hosted, error) {
	if r := h.cached(id); r != nil {
		if err := h.Store.CheckRoom(ctx, id, r.fence); err != nil {
			h.forget(r)
			return nil, err
		}
		return r, nil
	}
	row, err := h.Store.HubRoom(ctx, id)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, fmt.Errorf("%w: no such room", mimi.ErrNotFound)
	}
	r := &hosted{id: id, memory: memory{row: *row}}
	if r.proposals, err = h.Store.HubProposals(ctx, id); err != nil {
		return nil, err
	}
	records, err := h.Store.LoadRecords(ctx, stateName(id))
	if err != nil {
		return nil, err
	}
	if r.group, err = mls.LoadPublicGroup(h.MLS, records); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if r.state, err = h.restore(r); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	r.providers = providersOf(r.state)
	r.place = placeOf(r.state, r.providers)
	return r, h.adopt(ctx, r)
}

// adopt makes this instance the room's owner and keeps the room in memory, for as long as the unit is not undone.
func (h *Hub) adopt(ctx context.Context, r *hosted) error {
	var err error
	if r.fence, err = h.Store.OwnRoom(ctx, r.id); err != nil {
		return err
	}
	h.mu.Lock()
	h.rooms[r.id] = r
	h.mu.Unlock()
	h.Store.OnRollback(ctx, func() { h.forget(r) })
	return nil
}

// stateOf is the state of a room at the beginning of its group's epoch.
func stateOf(id uri.Room, g *mls.PublicGroup) (*room.State, error) {
	dict, err := g.Context().Dictionary()
	if err != nil {
		return nil, err
	}
	var leaves []room.Leaf
	for i, node := range g.Members() {
		l, err := identify(node)
		if err != nil {
			return nil, err
		}
		l.Index = i
		leaves = append(leaves, l)
	}
	return room.New(id, dict, leaves)
}

// restore works out a room's state after it was loaded: proposals that were accepted together are accepted together again.
func (h *Hub) restore(r *hosted) (*room.State, error) {
	state, err := stateOf(r.id, r.group)
	if err != nil {
		return nil, err
	}
	pending := r.group.Proposals()
	if len(pending) != len(r.proposals) {
		return nil, fmt.Errorf("%w: %d pending proposals of %d", mls.ErrStorage, len(pending), len(r.proposals))
	}
	for from := 0; from < len(pending); {
		to := from + 1
		for to < len(pending) && r.proposals[to].Sequence == r.proposals[from].Sequence {
			to++
		}
		u, err := h.bundle(r.group, pending[from:to])
		if err != nil {
			return nil, err
		}
		if state, err = state.Apply(u); err != nil {
			return nil, err
		}
		from = to
	}
	return state, nil
}

// providersOf returns who takes part: every provider with a leaf hears of handshakes, and of application messages where one of
// its users with a leaf may receive them (mimi-protocol-06 §5.3; mimi-room-policy-04 §8.3).
func providersOf(s *room.State) map[uri.Provider]bool {
	all := make(map[uri.Provider]bool)
	for l := range s.Leaves() {
		if p := l.User.Provider(); !all[p] {
			all[p] = s.Allows(l.User, policy.CanReceiveMessage)
		}
	}
	return all
}

// takesPart reports whether a provider has a user in the room.
func (r *hosted) takesPart(p uri.Provider) bool {
	if _, ok := r.providers[p]; ok {
		return true
	}
	return slices.ContainsFunc(r.state.Participants(), func(q room.Participant) bool {
		u, err := uri.ParseUser(q.User)
		return err == nil && u.Provider() == p
	})
}

// change replaces what is in memory of a room, and brings it back if the unit is undone. The room's place is kept where it changes.
func (h *Hub) change(ctx context.Context, r *hosted, next memory) error {
	before := r.memory
	if next.state != before.state {
		next.providers = providersOf(next.state)
		next.place = placeOf(next.state, next.providers)
	}
	r.memory = next
	h.Store.OnRollback(ctx, func() { r.memory = before })
	if next.place.equal(&before.place) {
		return nil
	}
	return h.Store.PutHubPlace(ctx, r.id, next.place, h.Now())
}

// keep stores a staged step in the unit; it is settled with the unit or discarded with it (design §5 rule ii).
func (h *Hub) keep(ctx context.Context, r *hosted, step *mls.Step) error {
	h.Store.OnRollback(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := r.group.Discard(step); err != nil {
			h.forget(r) // what is on disk is right
		}
	})
	h.Store.OnCommit(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		// Units that were committed together may report in any order, and to settle a step settles those before it.
		_ = r.group.Settle(step)
	})
	return h.Store.ApplyDelta(ctx, stateName(r.id), step.Delta)
}
