package member

import (
	"context"
	"fmt"

	"mimigate/core/member/form"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// join takes part in a room that somebody elsewhere has added our people to, with all of them at once. A Welcome that is for none of
// us, or does not hold, is left out.
func (m *Members) join(ctx context.Context, s *shared, f *mimi.FanoutMessage) (*shared, error) {
	var refs [][]byte
	for _, secret := range f.Message.Welcome.Secrets {
		refs = append(refs, secret.NewMember)
	}
	own, err := m.keys.Secrets(ctx, refs)
	if err != nil {
		return s, err
	}
	g, err := mls.JoinWelcome(m.MLS, f.Message.Welcome, mls.JoinOptions{Own: own, RatchetTree: f.Tree.Tree})
	var state *room.State
	if err == nil {
		state, err = roomState(s.id, &g.PublicGroup)
	}
	if err == nil && state.Metadata().URI != s.id.String() {
		err = fmt.Errorf("%w: of another room", mls.ErrWelcome)
	}
	if err != nil {
		m.Log.Warn("a Welcome cannot be used", "room", s.id, "error", err)
		return s, nil
	}
	if err := m.keys.Used(ctx, own); err != nil {
		return s, err
	}
	return m.begin(ctx, s, g, f.Timestamp)
}

// CreateRoom makes a room of our domain, with our gateway participant as its owner and first member (design §7), hosted by our own
// hub. It fails with ErrUser for a room of another domain, and where there is such a room already.
func (m *Members) CreateRoom(ctx context.Context, id uri.Room, name, subject string) error {
	if id.Provider() != m.Provider {
		return ErrUser
	}
	return m.Store.Do(ctx, func(ctx context.Context) error {
		hub, err := m.Founder.Sender(ctx, m.Suite)
		if err != nil {
			return err
		}
		creator, err := m.keys.New(ctx, m.gateway, m.Suite, 0)
		if err != nil {
			return err
		}
		group, err := m.Provider.Group(id.Segments()...)
		if err != nil {
			return err
		}
		g, err := mls.NewGroup(m.MLS, []byte(group.String()), form.RoomExtensions(m.gateway, id, name, subject, &hub), creator)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		info, err := g.GroupInfo(0, false)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if err := m.Founder.Create(ctx, id, info, g.RatchetTree()); err != nil {
			return err
		}
		s := &shared{id: id, group: g}
		if s.memory, err = m.remember(id, g); err != nil {
			return err
		}
		if err := m.Store.ApplyDelta(ctx, stateName(id), g.Snapshot()); err != nil {
			return err
		}
		return m.adopt(ctx, s)
	})
}
