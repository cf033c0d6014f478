package member

import (
	"context"
	"time"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// tell tells the Sink what changed in the room: in the order of the list, who came and who changed, then who left.
func (m *Members) tell(ctx context.Context, s *shared, before *room.State, by *blame, accepted uint64) error {
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
			if err := m.sink.Participant(ctx, s.id, user, by.of(p.User), uint32(was), uint32(is), at); err != nil {
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
	return m.sink.Described(ctx, s.id, by.of(""), is.Name, is.Subject, at)
}

// blame says who changed whom: by the URI of the user changed, "" for the room's metadata.
type blame struct {
	committer uri.User
	proposers map[string]uri.User
}

func (b *blame) of(subject string) uri.User {
	if u, ok := b.proposers[subject]; ok {
		return u
	}
	return b.committer
}

// authors works out who made the changes of a commit: its committer, but for proposals that others made.
func authors(before, after *room.State, commit *mls.Step) *blame {
	leafUser := func(s *room.State, i mls.LeafIndex) uri.User {
		l, _ := s.Leaf(i)
		return l.User
	}
	b := &blame{committer: leafUser(before, commit.Commit.Committer), proposers: make(map[string]uri.User)}
	if commit.Commit.External {
		b.committer = leafUser(after, commit.Commit.Committer)
	}
	people := before.Participants()
	for _, p := range commit.Commit.Proposals {
		if p.Ref == "" || p.Proposal.Type != mls.ProposalAppDataUpdate {
			continue
		}
		var by uri.User // zero for the hub
		if p.Sender.Type == mls.SenderMember {
			by = leafUser(before, p.Sender.Leaf())
		}
		switch policy.Component(p.Proposal.AppDataUpdate.Component) {
		case policy.RoomMetadata:
			b.proposers[""] = by
		case policy.ParticipantList:
			u, err := room.ParseListUpdate(p.Proposal.AppDataUpdate.Update)
			if err != nil {
				continue // the engine has taken it, so it is not
			}
			for _, i := range u.Removed {
				b.proposers[people[i].User] = by
			}
			for _, c := range u.Changed {
				b.proposers[people[c.Index].User] = by
			}
			for _, a := range u.Added {
				b.proposers[a.User] = by
			}
		}
	}
	return b
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
