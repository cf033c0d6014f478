// Package rights judges, by a room's rules, what our people may do there themselves.
package rights

import (
	"mimigate/core/member/record"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// May reports whether a user may commit a change about somebody else. lost says that it replaces clients of theirs.
func May(s *room.State, by uri.User, r *record.Request, lost bool) bool {
	rules := s.Rules()
	actor := policy.Actor{Role: s.Role(by), Domain: by.Domain()}
	can := func(use policy.Capability, domain string, from, to policy.RoleIndex) bool {
		return rules.Allowed(actor, policy.Action{Use: use, Domain: domain, From: from, To: to}) == nil
	}
	if r.Subject == "" {
		meta := s.Metadata()
		return (meta.Name == r.Name || can(policy.CanChangeRoomName, "", 0, 0)) && (meta.Subject == r.About || can(policy.CanChangeRoomSubject, "", 0, 0))
	}
	user, err := uri.ParseUser(r.Subject)
	if err != nil || by == user {
		return err != nil // which the commit's plan finds out
	}
	now, want, domain := s.Role(user), policy.RoleIndex(r.Role), user.Domain()
	switch {
	case !r.Exact && now == policy.BannedRole:
		return true // and this
	case !r.Exact && now != policy.NoRole, want == now:
		kick := !lost && now != policy.BannedRole || can(policy.CanKick, domain, now, now)
		return kick && (now == policy.BannedRole || can(policy.CanAddParticipant, domain, now, now))
	case want == policy.NoRole:
		return can(policy.CanRemoveParticipant, domain, now, want)
	case want == policy.BannedRole && can(policy.CanBan, domain, now, want), now == policy.BannedRole && can(policy.CanUnban, domain, now, want):
		return true
	case now == policy.NoRole:
		return can(policy.CanAddParticipant, domain, now, want)
	}
	return can(policy.CanChangeUserRole, domain, now, want)
}

// MayLeave reports whether a user may leave by themself, or take their client away from a room of fixed membership.
func MayLeave(s *room.State, user uri.User) bool {
	role, rules := s.Role(user), s.Rules()
	leave := policy.Action{Use: policy.CanRemoveSelf, Own: true, Domain: user.Domain(), From: role}
	if rules.Base.FixedMembership {
		leave.Use, leave.To = policy.CanRemoveOwnClient, role
	}
	return rules.Allowed(policy.Actor{Role: role, Domain: user.Domain()}, leave) == nil
}

// OpenRole is the role in which a room takes somebody who comes by themself; the member's where it takes nobody, and will say so.
func OpenRole(s *room.State, who uri.User) uint32 {
	rules := s.Rules()
	for i := range rules.Roles {
		if to := rules.Roles[i].Index; to > policy.BannedRole && rules.AllowedJoin(policy.Actor{Domain: who.Domain()}, to) == nil {
			return uint32(to)
		}
	}
	return uint32(policy.MemberRole)
}

// Leaving are the leaves whose removal is pending: they can commit nothing.
func Leaving(g *mls.Group) map[mls.LeafIndex]bool {
	out := make(map[mls.LeafIndex]bool)
	for _, p := range g.Proposals() {
		switch p.Proposal.Type {
		case mls.ProposalRemove:
			out[p.Proposal.Remove] = true
		case mls.ProposalSelfRemove:
			out[p.Sender.Leaf()] = true
		}
	}
	return out
}

// Line is who is to commit what others have proposed, one provider after the other: the hub's own gateway participant first, then by each
// provider's lowest leaf.
func Line(s *room.State, leaving map[mls.LeafIndex]bool) []uri.Provider {
	var line []uri.Provider
	seen := make(map[uri.Provider]bool)
	add := func(first bool) {
		for l := range s.Leaves() {
			p := l.User.Provider()
			if leaving[l.Index] || s.Role(l.User) <= policy.BannedRole || seen[p] {
				continue
			}
			if gateway, err := p.User("gateway"); first && (err != nil || l.User != gateway || p != s.Room().Provider()) {
				continue
			}
			seen[p] = true
			line = append(line, p)
		}
	}
	add(true)
	add(false)
	return line
}
