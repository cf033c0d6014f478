package member

import (
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// may reports whether a user of ours may commit a change of somebody else, as the room's rules have it.
func (m *Members) may(s *shared, by uri.User, r *Request) bool {
	rules := s.state.Rules()
	actor := policy.Actor{Role: s.state.Role(by), Domain: m.Provider.Domain()}
	can := func(use policy.Capability, domain string, from, to policy.RoleIndex) bool {
		return rules.Allowed(actor, policy.Action{Use: use, Domain: domain, From: from, To: to}) == nil
	}
	if r.Subject == "" {
		meta := s.state.Metadata()
		return (meta.Name == r.Name || can(policy.CanChangeRoomName, "", 0, 0)) && (meta.Subject == r.About || can(policy.CanChangeRoomSubject, "", 0, 0))
	}
	user, err := uri.ParseUser(r.Subject)
	if err != nil || m.isFulfilled(s, r) {
		return true // which the plan finds out
	}
	now, want, domain := s.state.Role(user), policy.RoleIndex(r.Role), user.Domain()
	switch {
	case by == user:
		return false
	case !r.Exact && now == policy.BannedRole:
		return true
	case !r.Exact && now != policy.NoRole, want == now:
		return m.mayReplace(s, can, user, now)
	case want == policy.NoRole:
		return can(policy.CanRemoveParticipant, domain, now, want)
	case want == policy.BannedRole && can(policy.CanBan, domain, now, want), now == policy.BannedRole && can(policy.CanUnban, domain, now, want):
		return true
	case now == policy.NoRole:
		return can(policy.CanAddParticipant, domain, now, want)
	}
	return can(policy.CanChangeUserRole, domain, now, want)
}

// mayReplace reports whether somebody may bring in, or take away, the clients of a user whose role stays.
func (m *Members) mayReplace(s *shared, can func(policy.Capability, string, policy.RoleIndex, policy.RoleIndex) bool, user uri.User, role policy.RoleIndex) bool {
	lost := slices.ContainsFunc(s.lost, func(l room.Leaf) bool { return l.User == user })
	if (lost || role == policy.BannedRole) && !can(policy.CanKick, user.Domain(), role, role) {
		return false
	}
	return role == policy.BannedRole || can(policy.CanAddParticipant, user.Domain(), role, role)
}

// mayLeave reports whether one of our people may leave by themself, or take their client away from a room of fixed membership.
func (m *Members) mayLeave(s *shared, user uri.User) bool {
	role, rules := s.state.Role(user), s.state.Rules()
	leave := policy.Action{Use: policy.CanRemoveSelf, Own: true, Domain: user.Domain(), From: role}
	if rules.Base.FixedMembership {
		leave.Use, leave.To = policy.CanRemoveOwnClient, role
	}
	return rules.Allowed(policy.Actor{Role: role, Domain: user.Domain()}, leave) == nil
}

// leaving are the leaves whose removal is pending: they can commit nothing.
func leaving(g *mls.Group) map[mls.LeafIndex]bool {
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

// committers are the leaves of ours that can commit: the gateway participant's first. Others stand in for it where it is not in the
// room or has no right to, for our own people alone.
func (m *Members) committers(s *shared) []mls.LeafIndex {
	gone := leaving(s.group)
	list := slices.DeleteFunc(s.group.LocalLeaves(), func(i mls.LeafIndex) bool {
		l, ok := s.state.Leaf(i)
		return gone[i] || !ok || s.state.Role(l.User) <= policy.BannedRole
	})
	if g, ok := s.leaves[m.gateway]; ok && !gone[g] {
		list = slices.DeleteFunc(list, func(i mls.LeafIndex) bool { return i == g })
		list = slices.Insert(list, 0, g)
	}
	return list
}

// whoMay finds a leaf of ours that may commit a change.
func (m *Members) whoMay(s *shared, committers []mls.LeafIndex, r *Request) (mls.LeafIndex, bool) {
	user, err := uri.ParseUser(r.Subject)
	ours := err == nil && user.Provider() == m.Provider
	_, attended := s.leaves[m.gateway]
	tried := make(map[policy.RoleIndex]bool)
	for _, i := range committers {
		l, _ := s.state.Leaf(i)
		role := s.state.Role(l.User)
		if l.User != m.gateway && attended && !ours {
			break
		}
		if tried[role] && l.User.String() != r.Subject {
			continue
		}
		if m.may(s, l.User, r) {
			return i, true
		}
		tried[role] = l.User.String() != r.Subject
	}
	return 0, false
}
