package room

import (
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// Leaf is an MLS client in the room's group.
type Leaf struct {
	Index  mls.LeafIndex
	User   uri.User
	Client uri.Client // zero where the credential names the user only
}

// view is a room at one moment. Views share what did not change between them; nothing in them is ever written to.
type view struct {
	dict     mls.AppDataDictionary
	rules    *policy.Rules
	metadata Metadata
	broken   []policy.Component // present in dict but malformed: treated as absent

	people []person
	index  map[string]int // position in people by the normal form of the URI
	leaves []Leaf         // by leaf index; no user: blank
	adds   []Leaf         // proposed, not committed: they have no index yet
	strays int            // leaves whose user is not in the list
}

// person is a participant with what is needed again and again.
type person struct {
	Participant
	address
	key     string // normal form of User
	clients int
}

func newPerson(p Participant) person {
	key, a := addressOf(p.User)
	return person{Participant: p, address: a, key: key}
}

// load reads a dictionary. Components that are malformed count as absent, but for the participant list, whose error it returns.
func load(dict mls.AppDataDictionary, leaves []Leaf) (*view, error) {
	var list Contents
	if data, ok := dict.Get(mls.ComponentID(policy.ParticipantList)); ok {
		if err := list.Decode(policy.ParticipantList, data); err != nil {
			return nil, err
		}
	}
	v := &view{dict: dict}
	v.readRules()
	v.readMetadata()
	for _, p := range list.Participants {
		v.people = append(v.people, newPerson(p))
	}
	for _, l := range leaves {
		v.place(l, int(l.Index))
	}
	v.reindex()
	v.count()
	return v, nil
}

// readRules decodes the policy components of the dictionary anew.
func (v *view) readRules() {
	var c Contents
	v.broken = nil
	for _, entry := range v.dict {
		id := policy.Component(entry.ID)
		if _, known := formats(id); !known || id == policy.ParticipantList || id == policy.RoomMetadata {
			continue
		}
		if c.Decode(id, entry.Data) != nil {
			v.broken = append(v.broken, id)
		}
	}
	v.rules = &c.Rules
}

func (v *view) readMetadata() {
	var c Contents
	if data, ok := v.dict.Get(mls.ComponentID(policy.RoomMetadata)); ok && c.Decode(policy.RoomMetadata, data) != nil {
		v.broken = append(v.broken, policy.RoomMetadata)
	}
	v.metadata = c.Metadata
}

// place puts a leaf at an index, extending the tree as needed.
func (v *view) place(l Leaf, at int) {
	for len(v.leaves) <= at {
		v.leaves = append(v.leaves, Leaf{})
	}
	l.Index = mls.LeafIndex(at)
	v.leaves[at] = l
}

// reindex makes the index fit a new list.
func (v *view) reindex() {
	v.index = make(map[string]int, len(v.people))
	for i := range v.people {
		if _, twice := v.index[v.people[i].key]; !twice {
			v.index[v.people[i].key] = i
		}
	}
}

// count counts every participant's clients anew; people must not be shared.
func (v *view) count() {
	v.strays = 0
	for i := range v.people {
		v.people[i].clients = 0
	}
	for _, list := range [][]Leaf{v.leaves, v.adds} {
		for i := range list {
			if list[i].User.IsZero() {
				continue
			}
			if p := v.person(list[i].User.String()); p != nil {
				p.clients++
			} else {
				v.strays++
			}
		}
	}
}

// person returns the participant whose URI has the normal form key, or nil.
func (v *view) person(key string) *person {
	i, ok := v.index[key]
	if !ok {
		return nil
	}
	return &v.people[i]
}

// role returns a user's role, policy.NoRole where it is not in the list.
func (v *view) role(key string) policy.RoleIndex {
	if p := v.person(key); p != nil {
		return p.Role
	}
	return policy.NoRole
}

// leaf returns the leaf at an index, or nil where there is none.
func (v *view) leaf(i mls.LeafIndex) *Leaf {
	if uint64(i) >= uint64(len(v.leaves)) || v.leaves[i].User.IsZero() {
		return nil
	}
	return &v.leaves[i]
}

// next returns the view after a list of proposals, all of which refer to v, in the order of their commit. Without commit
// they are only accepted: Adds get no index. joiner is the leaf of somebody who commits from outside, or nil.
func (v *view) next(proposals []Proposal, joiner *Leaf, commit bool) (*view, error) {
	n := *v
	listed, err := n.applyComponents(v, proposals)
	if err != nil {
		return nil, err
	}
	moved := n.applyLeaves(proposals, joiner, commit)
	if listed {
		n.reindex()
	}
	if listed || moved {
		if !listed {
			n.people = slices.Clone(n.people)
		}
		n.count()
	}
	return &n, nil
}

// applyComponents applies what the proposals do to the dictionary of old; it reports whether the participant list changed.
func (v *view) applyComponents(old *view, proposals []Proposal) (listed bool, err error) {
	updates := make(map[policy.Component][][]byte)
	var order []policy.Component
	for _, p := range proposals {
		if p.Type != mls.ProposalAppDataUpdate {
			continue
		}
		if _, seen := updates[p.Component]; !seen {
			order = append(order, p.Component)
		}
		if p.Remove {
			updates[p.Component] = nil
		} else {
			updates[p.Component] = append(updates[p.Component], p.Data)
		}
	}
	for _, id := range order {
		if id == policy.ParticipantList {
			listed = true
			if err := v.applyList(updates[id]); err != nil {
				return false, err
			}
			continue
		}
		if err := v.applyComponent(old, id, updates[id]); err != nil {
			return false, err
		}
	}
	return listed, nil
}

// applyComponent replaces one component other than the participant list. Unlike Components.Update it refuses malformed
// data in any of them: what we cannot read we cannot judge.
func (v *view) applyComponent(old *view, id policy.Component, updates [][]byte) error {
	if updates == nil {
		v.dict = v.dict.With(mls.ComponentID(id), nil)
	} else {
		before, _ := old.dict.Get(mls.ComponentID(id))
		data, err := Components{}.Update(mls.ComponentID(id), before, updates)
		if err != nil {
			return err
		}
		v.dict = v.dict.With(mls.ComponentID(id), data)
	}
	if id == policy.RoomMetadata {
		v.broken = slices.DeleteFunc(slices.Clone(v.broken), func(c policy.Component) bool { return c == id })
		v.readMetadata()
	} else if _, known := formats(id); known {
		metadataBroken := slices.Contains(v.broken, policy.RoomMetadata)
		v.readRules()
		if metadataBroken {
			v.broken = append(v.broken, policy.RoomMetadata)
		}
	}
	if slices.Contains(v.broken, id) {
		return wrap(id, mls.ErrSyntax)
	}
	return nil
}

func (v *view) applyList(updates [][]byte) error {
	parsed := make([]ListUpdate, len(updates))
	for i, data := range updates {
		var err error
		if parsed[i], err = ParseListUpdate(data); err != nil {
			return err
		}
	}
	people, err := splice(v.people, parsed, func(p *person, r policy.RoleIndex) { p.Role = r }, newPerson)
	if err != nil {
		return err
	}
	v.people = people
	c := Contents{Participants: v.participants()}
	v.dict = v.dict.With(mls.ComponentID(policy.ParticipantList), c.Encode(policy.ParticipantList))
	return nil
}

func (v *view) participants() []Participant {
	list := make([]Participant, len(v.people))
	for i := range v.people {
		list[i] = v.people[i].Participant
	}
	return list
}

// applyLeaves changes the leaves as RFC 9420 §12.3 orders it: updates, removals, additions; it reports whether it did anything.
// Where the tree has no blank leaf it grows to the right (§12.1.1).
func (v *view) applyLeaves(proposals []Proposal, joiner *Leaf, commit bool) bool {
	var adds []Leaf
	cloned := false
	for _, p := range proposals {
		switch p.Type {
		case mls.ProposalAdd:
			adds = append(adds, p.Leaf)
		case mls.ProposalUpdate, mls.ProposalRemove, mls.ProposalSelfRemove:
			if !cloned {
				v.leaves, cloned = slices.Clone(v.leaves), true
			}
			if p.Type == mls.ProposalUpdate {
				v.leaves[p.Leaf.Index] = p.Leaf
			} else {
				v.leaves[p.Leaf.Index] = Leaf{}
			}
		}
	}
	for n := len(v.leaves); n > 0 && v.leaves[n-1].User.IsZero(); n-- { // the tree shrinks from the right
		v.leaves = v.leaves[:n-1]
	}
	if joiner != nil {
		adds = append(adds, *joiner)
	}
	if !commit {
		v.adds = adds
		return cloned || len(adds) > 0
	}
	if len(adds) > 0 && !cloned {
		v.leaves = slices.Clone(v.leaves)
	}
	blank := 0
	for _, l := range adds {
		for blank < len(v.leaves) && !v.leaves[blank].User.IsZero() {
			blank++
		}
		v.place(l, blank)
	}
	return cloned || len(adds) > 0
}

// census counts the people for the limits of the policy.
func (v *view) census() *policy.Census {
	c := &policy.Census{Roles: make(map[policy.RoleIndex]policy.Tally)}
	for i := range v.people {
		p := &v.people[i]
		t := c.Roles[p.Role]
		t.All++
		if p.clients > 0 {
			t.Active++
		}
		c.Roles[p.Role] = t
		if p.Role != policy.BannedRole {
			c.Users++
		}
		c.Clients += p.clients
		c.Extra += max(0, p.clients-1)
	}
	c.Clients += v.strays
	return c
}

// roleless counts the participants whose role the room does not define.
func (v *view) roleless() int {
	n := 0
	for i := range v.people {
		if p := &v.people[i]; p.Role == policy.NoRole || v.rules.Role(p.Role) == nil {
			n++
		}
	}
	return n
}
