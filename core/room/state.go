package room

import (
	"crypto/sha256"
	"iter"
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// State is a room between two updates: what the group's last commit settled, and the proposals accepted since. It never changes; it
// may be used by many goroutines.
type State struct {
	room      uri.Room
	committed *view
	effective *view
	pending   []Pending
}

// Pending is a proposal that was accepted and that no commit has taken yet.
type Pending struct {
	Actor    Actor
	Proposal Proposal
}

// New returns the state of a room at the beginning of an epoch: dict is the app_data_dictionary of the GroupContext, leaves
// are the members of the group. A room made by others is taken as it is: what its dictionary lacks, or has in a form we cannot read
// ([State.Unreadable]), counts as absent. Only an unreadable participant list is an error; it wraps mls.ErrSyntax.
func New(room uri.Room, dict mls.AppDataDictionary, leaves []Leaf) (*State, error) {
	v, err := load(dict, leaves)
	if err != nil {
		return nil, err
	}
	return &State{room: room, committed: v, effective: v}, nil
}

// Check reports what is wrong with a room that we are about to create, which [New] would take as it is: an invalid policy, a
// participant without a role or twice, a client without a participant, an unreadable component.
func (s *State) Check() error {
	v := s.committed
	if len(v.broken) > 0 {
		return wrap(v.broken[0], mls.ErrSyntax)
	}
	if err := v.rules.Validate(); err != nil {
		return err
	}
	switch {
	case v.roleless() > 0:
		return policy.Invalid(secList, "a participant has a role that does not exist")
	case len(v.index) != len(v.people):
		return policy.Invalid(secList, "a participant is listed twice")
	case slices.ContainsFunc(v.people, func(p person) bool { return !p.valid }):
		return policy.Invalid(secList, "a participant's URI is not one of MIMI")
	case v.strays > 0:
		return policy.Invalid(secUpdate, "a client's user is not a participant")
	case v.metadata.URI != s.room.String():
		return policy.Invalid(secMetadata, "room_uri is not the room's address")
	}
	return v.rules.CheckCensus(&policy.Census{}, v.census())
}

// Room returns the room's address.
func (s *State) Room() uri.Room { return s.room }

// Rules returns the effective policy. It is shared: do not change it.
func (s *State) Rules() *policy.Rules { return s.effective.rules }

// Metadata returns the effective metadata.
func (s *State) Metadata() Metadata { return s.effective.metadata }

// Dictionary returns the committed dictionary: that of the GroupContext. Do not change it.
func (s *State) Dictionary() mls.AppDataDictionary { return s.committed.dict }

// Unreadable returns the components whose data is malformed and which therefore count as absent.
func (s *State) Unreadable() []policy.Component { return slices.Clone(s.effective.broken) }

// Pending returns the accepted proposals that no commit has taken, in the order of acceptance.
func (s *State) Pending() []Pending { return slices.Clone(s.pending) }

// Committed returns the room as the epoch's GroupContext has it, without the pending proposals.
func (s *State) Committed() *State {
	return &State{room: s.room, committed: s.committed, effective: s.committed}
}

// Participants returns the effective participant list, the banned included.
func (s *State) Participants() []Participant { return s.effective.participants() }

// Role returns a user's effective role, policy.NoRole where it is not in the list.
func (s *State) Role(user uri.User) policy.RoleIndex { return s.effective.role(user.String()) }

// Clients returns the number of clients a user effectively has in the group.
func (s *State) Clients(user uri.User) int {
	if p := s.effective.person(user.String()); p != nil {
		return p.clients
	}
	return 0
}

// Leaves returns the committed leaves, in the order of their indices.
func (s *State) Leaves() iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for _, l := range s.committed.leaves {
			if !l.User.IsZero() && !yield(l) {
				return
			}
		}
	}
}

// Leaf returns the committed leaf at an index; false where it is blank.
func (s *State) Leaf(i mls.LeafIndex) (Leaf, bool) {
	if l := s.committed.leaf(i); l != nil {
		return *l, true
	}
	return Leaf{}, false
}

// Allows reports whether a user is in the effective list with a role that lists c. For capabilities without further conditions,
// such as policy.CanReceiveMessage, that is the whole answer.
func (s *State) Allows(user uri.User, c policy.Capability) bool {
	role := s.Role(user)
	return role != policy.NoRole && s.effective.rules.Holds(role, c)
}

// MaySend reports whether the hub may take an application message from a user: it must be in the effective list, have a client
// in the group and canSendMessage. It takes the same time whatever the size of the room. The error wraps policy.ErrDenied.
func (s *State) MaySend(user uri.User) error {
	p := s.effective.person(user.String())
	switch {
	case p == nil:
		return policy.Denied(secUpdate, "the sender is not a participant")
	case p.clients == 0:
		return policy.Denied(secUpdate, "the sender has no client in the group")
	case !s.effective.rules.Holds(p.Role, policy.CanSendMessage):
		return policy.Denied("mimi-room-policy-04 §8.3", "role %d lacks canSendMessage", p.Role)
	}
	return nil
}

// MayJoin reports whether a newcomer could join by an external commit: what the hub must know before it hands out a GroupInfo. A user in the
// list needs canAddOwnClient; others need a way in for at least one role. The error wraps policy.ErrDenied.
func (s *State) MayJoin(a Actor) error {
	a.Kind = Newcomer
	by, err := s.identify(a)
	if err != nil {
		return err
	}
	rules := s.effective.rules
	if !externalCommits(rules) {
		return policy.Denied(secMLS, "the room takes no external commits")
	}
	if by.Role != policy.NoRole {
		return rules.Allowed(by.Actor, policy.Action{Use: policy.CanAddOwnClient, Own: true, Domain: by.Domain, From: by.Role, To: by.Role})
	}
	err = policy.Denied(secAdding, "no role is open")
	for i := range rules.Roles {
		if to := rules.Roles[i].Index; to != policy.NoRole {
			if err = rules.AllowedJoin(by.Actor, to); err == nil {
				return nil
			}
		}
	}
	return err
}

// Change returns the participant-list update that gives each user the role beside it: adding who is not in the committed
// list, removing for policy.NoRole. Users who are as wanted are left out.
func (s *State) Change(want ...Participant) ListUpdate {
	var u ListUpdate
	for _, p := range want {
		key, _ := addressOf(p.User)
		i, listed := s.committed.index[key]
		switch {
		case !listed && p.Role != policy.NoRole:
			u.Added = append(u.Added, p)
		case listed && p.Role == policy.NoRole:
			u.Removed = append(u.Removed, uint32(i))
		case listed && p.Role != s.committed.people[i].Role:
			u.Changed = append(u.Changed, IndexRole{uint32(i), p.Role})
		}
	}
	return u
}

// Outside returns the effective participants of a dependent room who are not, or not unbanned, in its parent: the hub removes
// them (mimi-room-policy-04 §5).
func (s *State) Outside(parent *State) []Participant {
	var list []Participant
	for i := range s.effective.people {
		p := &s.effective.people[i]
		if role := parent.effective.role(p.key); role == policy.NoRole || role == policy.BannedRole && p.Role != policy.BannedRole {
			list = append(list, p.Participant)
		}
	}
	return list
}

// CheckParent reports whether the participants are a strict subset of the parent's and both rooms have the same hub
// (mimi-room-policy-04 §5). The hub calls it after Apply for rooms whose policy is parent-dependent. The error wraps policy.ErrDenied.
func (s *State) CheckParent(parent *State) error {
	switch {
	case s.effective.rules.Base.ParentRoom != parent.room.String() || s.room.Domain() != parent.room.Domain():
		return policy.Denied(secBase, "this is not the parent room")
	case len(s.Outside(parent)) > 0 || len(s.effective.people) >= len(parent.effective.people):
		return policy.Denied(secBase, "the participants are not a strict subset of the parent room's")
	}
	return nil
}

// Membership returns a digest of the set of effective participants. A hub keeps at most one room of fixed membership for each
// (mimi-room-policy-04 §5).
func (s *State) Membership() [sha256.Size]byte {
	keys := make([]string, len(s.effective.people))
	for i := range s.effective.people {
		keys[i] = s.effective.people[i].key
	}
	slices.Sort(keys)
	var e mls.Encoder
	encodeTexts(&e, keys)
	return sha256.Sum256(e.Bytes())
}

// Moved returns the users whose entries an update of the participant list changes, removes or adds; nil for any other proposal.
func (s *State) Moved(p Proposal) []uri.User {
	if p.Type != mls.ProposalAppDataUpdate || p.Component != policy.ParticipantList || p.Remove {
		return nil
	}
	moves, err := s.moves(p.Data)
	if err != nil {
		return nil
	}
	var list []uri.User
	for _, m := range moves {
		if u, err := uri.ParseUser(m.key); err == nil {
			list = append(list, u)
		}
	}
	return list
}
