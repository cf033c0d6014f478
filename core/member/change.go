package member

import (
	"slices"

	"mimigate/core/member/rights"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// may reports whether a user of ours may commit a change of somebody else.
func (m *Members) may(s *shared, by uri.User, r *Request) bool {
	lost := slices.ContainsFunc(s.lost, func(l room.Leaf) bool { return l.User.String() == r.Subject })
	return m.isFulfilled(s, r) || rights.May(s.state, by, r, lost)
}

// committers are the leaves of ours that can commit: the gateway participant's first. Others stand in for it where it is not in the
// room or has no right to, for our own people alone.
func (m *Members) committers(s *shared) []mls.LeafIndex {
	gone := rights.Leaving(s.group)
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
