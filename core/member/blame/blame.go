// Package blame finds out who made the changes of a commit.
package blame

import (
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// Blame says who changed whom: by the URI of the user changed, "" for the room's metadata.
type Blame struct {
	committer uri.User
	proposers map[string]uri.User
}

// Of returns who changed somebody.
func (b *Blame) Of(subject string) uri.User {
	if u, ok := b.proposers[subject]; ok {
		return u
	}
	return b.committer
}

// Authors works out who made the changes of a commit: its committer, but for proposals that others made.
func Authors(before, after *room.State, commit *mls.Step) *Blame {
	leafUser := func(s *room.State, i mls.LeafIndex) uri.User {
		l, _ := s.Leaf(i)
		return l.User
	}
	b := &Blame{committer: leafUser(before, commit.Commit.Committer), proposers: make(map[string]uri.User)}
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
