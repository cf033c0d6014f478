package room

import (
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// Update is what one request changes: a bundle of proposals, accepted together or not at all, or a commit.
type Update struct {
	Actor     Actor
	Commit    bool
	Proposals []Proposal // in their order; a commit's by value and by reference
}

// ActorKind says how an actor is bound to the group (RFC 9420 §6).
type ActorKind uint8

// The kinds of actor.
const (
	Member   ActorKind = iota // a leaf
	Newcomer                  // not in the group: an external commit, or a proposal to be added
	Server                    // a provider's server, by its entry in external_senders
)

// Actor is who signed an update.
type Actor struct {
	Kind     ActorKind
	Leaf     Leaf             // Member: Index alone; Newcomer: user and client, as its credential has them
	Provider uri.Provider     // Server
	Claims   []policy.Claim   // what the credential proves; only preauthorisation asks
	JoinRole policy.RoleIndex // Newcomer: the role named by a valid join code it has shown

	Client policy.ClientCapabilities // Newcomer: what its leaf can do
}

// Proposal is an MLS proposal in the room's terms. In a commit, Ref alone stands for a pending proposal.
type Proposal struct {
	Ref  mls.ProposalRef // in a bundle: by which a commit will name it
	Type mls.ProposalType

	Leaf     Leaf                      // Add, Update: who it will be; Update, Remove, SelfRemove: Index
	Client   policy.ClientCapabilities // Add: what the KeyPackage's leaf can do
	Lifetime uint64                    // Add: seconds for which the KeyPackage is good

	Component policy.Component // AppDataUpdate, AppEphemeral
	Remove    bool             // AppDataUpdate: removes the component
	Data      []byte           // AppDataUpdate: the payload
}

// Apply returns the state after an update, or why it is refused: an error that wraps policy.ErrDenied (the actor may not),
// policy.ErrInvalid (nobody may) or mls.ErrSyntax. s itself stays as it is. What MLS asks of signatures, key packages
// and the form of commits has been checked by the engine before.
func (s *State) Apply(u Update) (*State, error) {
	by, err := s.identify(u.Actor)
	if err != nil {
		return nil, err
	}
	if u.Commit {
		return s.commit(u, by)
	}
	return s.propose(u, by)
}

// party is an actor whose place in the room is known.
type party struct {
	policy.Actor
	kind ActorKind
	key  string // normal form of its URI
	leaf Leaf

	client policy.ClientCapabilities
}

func (s *State) identify(a Actor) (party, error) {
	p := party{kind: a.Kind, leaf: a.Leaf, client: a.Client, Actor: policy.Actor{Claims: a.Claims, JoinRole: a.JoinRole}}
	switch a.Kind {
	case Member:
		l := s.committed.leaf(a.Leaf.Index)
		if l == nil {
			return party{}, policy.Invalid(secSenders, "the sender's leaf is blank")
		}
		p.leaf, p.key, p.Domain = *l, l.User.String(), l.User.Domain()
	case Newcomer:
		if a.Leaf.User.IsZero() {
			return party{}, policy.Invalid(secSenders, "the newcomer's credential names no user")
		}
		p.key, p.Domain = a.Leaf.User.String(), a.Leaf.User.Domain()
	default:
		if a.Provider.IsZero() {
			return party{}, policy.Invalid(secSenders, "the server's credential names no provider")
		}
		p.key, p.Domain, p.Server = a.Provider.String(), a.Provider.Domain(), policy.Follower
		if p.Domain == s.room.Domain() {
			p.Server = policy.Hub
		}
	}
	p.Role = s.effective.role(p.key)
	return p, nil
}

// out reports whether a member has been removed or banned: the hub takes nothing from it any more but the removal of its own
// clients (mimi-protocol-06 §5.3).
func (p *party) out() bool {
	return p.kind == Member && (p.Role == policy.NoRole || p.Role == policy.BannedRole)
}

// propose accepts a bundle of proposals.
func (s *State) propose(u Update, by party) (*State, error) {
	if len(u.Proposals) == 0 {
		return nil, policy.Invalid(secUpdate, "no proposal")
	}
	if op := s.effective.rules.Operational; by.kind != Member && op != nil && !op.ExternalProposals {
		return nil, policy.Denied(secMLS, "the room takes no external proposals")
	}
	pending := slices.Clone(s.pending)
	for _, p := range u.Proposals {
		if p.Type == 0 || p.Type == mls.ProposalExternalInit {
			return nil, policy.Invalid(secProposal, "proposal type %d cannot stand alone", p.Type)
		}
		if p.Ref != "" && slices.ContainsFunc(pending, func(q Pending) bool { return q.Proposal.Ref == p.Ref }) {
			return nil, policy.Invalid(secProposal, "the proposal is pending already")
		}
		pending = append(pending, Pending{u.Actor, p})
	}
	all := proposalsOf(pending)
	if err := s.compatible(all); err != nil {
		return nil, err
	}
	gone, err := s.authorise(by, u.Proposals, nil)
	if err != nil {
		return nil, err
	}
	after, err := s.committed.next(all, nil, false)
	if err != nil {
		return nil, err
	}
	if err := fits(s.effective, after, u.Proposals, nil, gone); err != nil {
		return nil, err
	}
	return &State{room: s.room, committed: s.committed, effective: after, pending: pending}, nil
}

// commit begins a new epoch. The commit's own proposals are judged by the effective room; its result is built from the
// committed one, in the order the commit has. Pending proposals that an external commit cannot take are gone with their epoch.
func (s *State) commit(u Update, by party) (*State, error) {
	if err := s.mayCommit(by); err != nil {
		return nil, err
	}
	ordered, own, included, err := s.take(u, by)
	if err != nil {
		return nil, err
	}
	if err := s.compatible(ordered); err != nil {
		return nil, err
	}
	var joiner *Leaf
	if by.kind == Newcomer {
		joiner = &by.leaf
	}
	gone, err := s.authorise(by, own, joiner)
	if err != nil {
		return nil, err
	}
	before := s.effective
	if len(included) < len(s.pending) {
		if before, err = s.committed.next(proposalsOf(included), nil, false); err != nil {
			return nil, err
		}
	}
	after, err := s.committed.next(ordered, joiner, true)
	if err != nil {
		return nil, err
	}
	if err := fits(before, after, own, joiner, gone); err != nil {
		return nil, err
	}
	return &State{room: s.room, committed: after, effective: after}, nil
}

func externalCommits(r *policy.Rules) bool {
	return r.Operational == nil || r.Operational.ExternalCommits
}

func (s *State) mayCommit(by party) error {
	switch {
	case by.kind == Server:
		return policy.Denied(secSenders, "servers do not commit")
	case by.kind == Newcomer && !externalCommits(s.effective.rules):
		return policy.Denied(secMLS, "the room takes no external commits")
	case by.out():
		return policy.Denied(secUpdate, "the committer has been removed or banned")
	case by.kind == Member && s.effective.leaf(by.leaf.Index) == nil:
		return policy.Denied(secUpdate, "the removal of the committer's client is pending")
	}
	return nil
}

// take resolves the references of a commit. It must have all pending proposals (mimi-protocol-06 §7.3) but those that are no
// longer valid: a Remove of a client that has itself proposed to go (mls-extensions-10 §6.3), and the committer's own
// Update (RFC 9420 §12.4). An external commit takes the SelfRemoves and no others.
func (s *State) take(u Update, by party) (ordered, own []Proposal, included []Pending, err error) {
	taken := make(map[mls.ProposalRef]bool)
	for _, p := range u.Proposals {
		if p.Ref == "" {
			own = append(own, p)
			ordered = append(ordered, p)
			continue
		}
		i := slices.IndexFunc(s.pending, func(q Pending) bool { return q.Proposal.Ref == p.Ref })
		if i < 0 || taken[p.Ref] {
			return nil, nil, nil, policy.Invalid(secProposal, "a reference names no pending proposal, or one named before")
		}
		if by.kind == Newcomer && s.pending[i].Proposal.Type != mls.ProposalSelfRemove {
			return nil, nil, nil, policy.Invalid(secProposal, "an external commit takes SelfRemove by reference alone")
		}
		taken[p.Ref] = true
		ordered = append(ordered, s.pending[i].Proposal)
	}
	for _, q := range s.pending {
		if taken[q.Proposal.Ref] {
			included = append(included, q)
		} else if s.needed(q, by) {
			return nil, nil, nil, policy.Invalid("mimi-protocol-06 §7.3", "the commit leaves out a pending proposal")
		}
	}
	return ordered, own, included, nil
}

func (s *State) needed(q Pending, by party) bool {
	switch {
	case by.kind == Newcomer:
		return q.Proposal.Type == mls.ProposalSelfRemove
	case q.Proposal.Type == mls.ProposalUpdate:
		return q.Proposal.Leaf.Index != by.leaf.Index
	case q.Proposal.Type == mls.ProposalRemove:
		return !s.leaving(q.Proposal.Leaf.Index)
	}
	return true
}

// leaving reports whether a client has proposed its own removal.
func (s *State) leaving(i mls.LeafIndex) bool {
	return slices.ContainsFunc(s.pending, func(q Pending) bool {
		return q.Proposal.Type == mls.ProposalSelfRemove && q.Proposal.Leaf.Index == i
	})
}

func proposalsOf(list []Pending) []Proposal {
	out := make([]Proposal, len(list))
	for i := range list {
		out[i] = list[i].Proposal
	}
	return out
}

// compatible checks what all proposals of an epoch must not do together, whoever made them.
func (s *State) compatible(all []Proposal) error {
	type removal struct {
		leaf mls.LeafIndex
		by   mls.ProposalType
	}
	var ledger policy.Ledger
	removed := make(map[removal]bool)
	for i := range all {
		p := &all[i]
		switch p.Type {
		case mls.ProposalReInit:
			if len(all) > 1 {
				return policy.Invalid(secProposal, "a ReInit goes with no other proposal")
			}
		case mls.ProposalRemove, mls.ProposalSelfRemove: // one of each is well: the SelfRemove then prevails
			r := removal{p.Leaf.Index, p.Type}
			if removed[r] {
				return policy.Invalid(secProposal, "a leaf is removed twice")
			}
			removed[r] = true
		case mls.ProposalAppDataUpdate:
			if err := s.enter(&ledger, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter takes an AppDataUpdate down in the ledger of its epoch.
func (s *State) enter(ledger *policy.Ledger, p *Proposal) error {
	if p.Remove {
		if _, present := s.committed.dict.Get(mls.ComponentID(p.Component)); !present {
			return policy.Invalid(secUpdates, "%v has no data to remove", p.Component)
		}
		if err := (Components{}).Remove(mls.ComponentID(p.Component)); err != nil {
			return err
		}
		return ledger.Remove(p.Component)
	}
	if err := ledger.Update(p.Component); err != nil || p.Component != policy.ParticipantList {
		return err
	}
	moves, err := s.moves(p.Data)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if err := ledger.Participant(m.key, m.to); err != nil {
			return err
		}
	}
	return nil
}

// move is one line of a participant-list update.
type move struct {
	key string
	address
	to policy.RoleIndex
}

// moves reads a participant-list update, its indices meaning the committed list.
func (s *State) moves(data []byte) ([]move, error) {
	u, err := ParseListUpdate(data)
	if err != nil {
		return nil, err
	}
	if u.Empty() {
		return nil, policy.Invalid(secList, "an update that changes nothing")
	}
	var list []move
	at := func(i uint32, to policy.RoleIndex) error {
		if uint64(i) >= uint64(len(s.committed.people)) {
			return policy.Invalid(secList, "index %d in a list of %d participants", i, len(s.committed.people))
		}
		p := &s.committed.people[i]
		list = append(list, move{p.key, p.address, to})
		return nil
	}
	for _, c := range u.Changed {
		if c.Role == policy.NoRole { // role 0 means absence: that is a removal's to say
			return nil, policy.Invalid(secList, "role 0 in the participant list")
		}
		if err := at(c.Index, c.Role); err != nil {
			return nil, err
		}
	}
	for _, i := range u.Removed {
		if err := at(i, policy.NoRole); err != nil {
			return nil, err
		}
	}
	for _, p := range u.Added {
		key, a := addressOf(p.User)
		switch {
		case !a.valid:
			return nil, policy.Invalid(secList, "an added participant's URI is not one of MIMI")
		case p.Role == policy.NoRole:
			return nil, policy.Invalid(secList, "role 0 in the participant list")
		case s.committed.person(key) != nil:
			return nil, policy.Invalid(secList, "an added participant is in the list")
		}
		list = append(list, move{key, a, p.Role})
	}
	return list, nil
}

// fits checks the room that an update leads to: list and tree agree, limits hold, a changed policy is valid and fits the people.
// Faults that were there before, in a room made by others, do not count. The users in gone must have no client left.
func fits(before, after *view, own []Proposal, joiner *Leaf, gone []string) error {
	if after.strays > before.strays {
		return policy.Invalid(secUpdate, "a client's user is not, or no longer, a participant")
	}
	for _, key := range gone {
		if p := after.person(key); p != nil && p.clients > 0 {
			return policy.Invalid(secBanning, "a banned user keeps clients")
		}
	}
	if after.roleless() > before.roleless() {
		return policy.Invalid(secList, "a participant has a role that does not exist")
	}
	if err := uniqueClients(after, own, joiner); err != nil {
		return err
	}
	census := after.census()
	if after.rules != before.rules {
		if err := after.rules.Validate(); err != nil {
			return err
		}
		if err := after.rules.CheckLimits(before.rules, census); err != nil {
			return err
		}
	}
	return after.rules.CheckCensus(before.census(), census)
}

// uniqueClients: a client has one leaf; a new one replaces the old, it does not join it ([R]).
func uniqueClients(after *view, own []Proposal, joiner *Leaf) error {
	fresh := make(map[uri.Client]int)
	for _, p := range own {
		if p.Type == mls.ProposalAdd {
			fresh[p.Leaf.Client] = 0
		}
	}
	if joiner != nil {
		fresh[joiner.Client] = 0
	}
	delete(fresh, uri.Client{})
	if len(fresh) == 0 {
		return nil
	}
	for _, list := range [][]Leaf{after.leaves, after.adds} {
		for i := range list {
			if n, ok := fresh[list[i].Client]; ok {
				if n > 0 {
					return policy.Invalid(secUpdate, "a client has two leaves")
				}
				fresh[list[i].Client]++
			}
		}
	}
	return nil
}
