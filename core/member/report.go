package member

import (
	"context"
	"time"

	"mimigate/core/member/blame"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// tell tells the Sink what changed in the room: in the order of the list, who came and who changed, then who left.
func (m *Members) tell(ctx context.Context, s *shared, before *room.State, by *blame.Blame, accepted uint64) error {
	at := time.UnixMilli(int64(accepted))
	people := func(list []room.Participant, only func(was, is policy.RoleIndex) bool) error {
		for _, p := range list {
			user, err := uri.ParseUser(p.User)
			if err != nil {
				continue // a provider
			}
			was, is := before.Role(user), s.state.Role(user)
			if was == is || !only(was, is) {
				continue
			}
			if err := m.sink.Participant(ctx, s.id, user, by.Of(p.User), uint32(was), uint32(is), at); err != nil {
				return err
			}
		}
		return nil
	}
	if err := people(s.state.Participants(), func(_, is policy.RoleIndex) bool { return is != policy.NoRole }); err != nil {
		return err
	}
	if err := people(before.Participants(), func(_, is policy.RoleIndex) bool { return is == policy.NoRole }); err != nil {
		return err
	}
	was, is := before.Metadata(), s.state.Metadata()
	if was.Name == is.Name && was.Subject == is.Subject {
		return nil
	}
	return m.sink.Described(ctx, s.id, by.Of(""), is.Name, is.Subject, at)
}

// introduce tells the Sink of all who are in a room that we were brought into.
func (m *Members) introduce(ctx context.Context, s *shared, accepted uint64) error {
	at := time.UnixMilli(int64(accepted))
	for _, p := range s.state.Participants() {
		user, err := uri.ParseUser(p.User)
		if err != nil {
			continue // a provider
		}
		if err := m.sink.Participant(ctx, s.id, user, uri.User{}, uint32(policy.NoRole), uint32(p.Role), at); err != nil {
			return err
		}
	}
	if meta := s.state.Metadata(); meta.Name != "" || meta.Subject != "" {
		return m.sink.Described(ctx, s.id, uri.User{}, meta.Name, meta.Subject, at)
	}
	return nil
}
