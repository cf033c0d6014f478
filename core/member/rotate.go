package member

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

// rotate is the duty of giving our leaves new keys: in each room in use one of ours commits so often (RFC 9420 §12.4: with a path, which
// renews what protects the whole group) that each has its turn in about the time that the room's policy or Rotate says. Whose turn
// it is, and when, is chance: nothing has to be remembered over a restart, and gateways do not do it all at once.
func (m *Members) rotate(ctx context.Context) {
	tick := min(10*time.Minute, m.Rotate/8)
	for {
		timer := time.NewTimer(tick*3/4 + rand.N(tick/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		m.mu.Lock()
		rooms := make([]uri.Room, 0, len(m.rooms))
		for id := range m.rooms {
			rooms = append(rooms, id)
		}
		m.mu.Unlock()
		for _, id := range rooms {
			err := m.Store.Do(ctx, func(ctx context.Context) error { return m.refresh(ctx, id, tick) })
			if err != nil && ctx.Err() == nil {
				m.Log.Warn("keys could not be renewed", "room", id, "error", err)
			}
		}
	}
}

// refresh lets one of our leaves commit new keys, if chance has it so for a tick. Where anything else is on its way, that comes first.
func (m *Members) refresh(ctx context.Context, id uri.Room, tick time.Duration) error {
	s, err := m.room(ctx, id)
	if err != nil || s.stale || s.doubt {
		return err
	}
	every := m.Rotate
	if op := s.state.Rules().Operational; op != nil && op.LeafUpdate.Default > 0 {
		every = min(every, time.Duration(min(op.LeafUpdate.Default, uint64(every/time.Second)+1))*time.Second)
	}
	committers := m.committers(s)
	if rand.Float64()*float64(every) >= float64(tick)*float64(len(committers)) {
		return nil
	}
	c, err := m.Store.PendingCommit(ctx, id)
	if err != nil || c != nil || s.vain == s.group.Epoch()+1 {
		return err
	}
	by := committers[rand.N(len(committers))]
	// Those who have the keys that they came with have not been renewed yet: they go first.
	if fresh := slices.DeleteFunc(slices.Clone(committers), func(i mls.LeafIndex) bool { return s.group.Leaf(i).Source != mls.SourceKeyPackage }); len(fresh) > 0 {
		by = fresh[rand.N(len(fresh))]
	}
	l, _ := s.state.Leaf(by)
	leaf, err := m.keys.Leaf(ctx, l.User, s.group.CipherSuite(), 0)
	if err != nil {
		return err
	}
	if _, err := m.commitPlan(ctx, s, by, &plan{leaf: &leaf}); err != nil {
		return err
	}
	m.Store.OnCommit(ctx, func() { m.queues.Wake(id) })
	return nil
}
