package room

import (
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

// touch is all that one actor's proposals do to one user. Changes of list and tree are one action where the policy sees one:
// removing a participant takes its clients along.
type touch struct {
	key    string
	domain string
	own    bool // the user is the actor
	moved  bool // the participant list changes: from → to
	from   policy.RoleIndex
	to     policy.RoleIndex

	adds, removes int
}

// docket collects what an actor's proposals ask for.
type docket struct {
	state   *State
	by      party
	touches []*touch
	gone    []string // users who must have no client afterwards
}

// authorise reports whether an actor may make these proposals, judged by the effective room and as one action. joiner is the
// leaf that an external commit adds. It returns the users who must be left without clients.
func (s *State) authorise(by party, proposals []Proposal, joiner *Leaf) (gone []string, err error) {
	if by.out() {
		return nil, s.onlyLeaves(by, proposals)
	}
	d := &docket{state: s, by: by}
	if joiner != nil {
		if err := d.fileAdd(*joiner, by.client, 0); err != nil {
			return nil, err
		}
	}
	for i := range proposals {
		if err := d.file(&proposals[i]); err != nil {
			return nil, err
		}
	}
	for _, t := range d.touches {
		if err := d.judge(t); err != nil {
			return nil, err
		}
	}
	return d.gone, nil
}

// onlyLeaves: of somebody removed or banned the hub takes removals of its own clients alone.
func (s *State) onlyLeaves(by party, proposals []Proposal) error {
	for i := range proposals {
		p := &proposals[i]
		if p.Type != mls.ProposalRemove && p.Type != mls.ProposalSelfRemove {
			return policy.Denied(secUpdate, "the proposer has been removed or banned")
		}
		l, err := s.removable(by, p)
		if err != nil {
			return err
		}
		if l.User.String() != by.key {
			return policy.Denied(secUpdate, "the proposer has been removed or banned")
		}
	}
	return nil
}

// touch returns the entry for a user.
func (d *docket) touch(key, domain string) *touch {
	i := slices.IndexFunc(d.touches, func(t *touch) bool { return t.key == key })
	if i >= 0 {
		return d.touches[i]
	}
	role := d.state.effective.role(key)
	t := &touch{key: key, domain: domain, from: role, to: role, own: key == d.by.key && d.by.kind != Server}
	d.touches = append(d.touches, t)
	return t
}

// file enters one proposal; those that concern no user are judged at once.
func (d *docket) file(p *Proposal) error {
	switch p.Type {
	case mls.ProposalAdd:
		return d.fileAdd(p.Leaf, p.Client, p.Lifetime)
	case mls.ProposalRemove, mls.ProposalSelfRemove:
		l, err := d.state.removable(d.by, p)
		if err != nil {
			return err
		}
		d.touch(l.User.String(), l.User.Domain()).removes++
		return nil
	case mls.ProposalUpdate:
		return d.fileUpdate(p)
	case mls.ProposalAppDataUpdate:
		return d.fileData(p)
	case mls.ProposalReInit:
		return d.use(policy.CanSendMLSReinitProposal)
	case mls.ProposalGroupContextExtensions:
		return d.state.effective.rules.AllowedExtensions(d.by.Actor)
	case mls.ProposalExternalInit:
		if d.by.kind == Newcomer {
			return nil
		}
	case mls.ProposalPSK, mls.ProposalAppEphemeral:
		if d.by.kind != Server { // reserved capabilities: whoever is in the group may
			return nil
		}
	}
	return policy.Denied(secSenders, "proposal type %d does not belong to this sender", p.Type)
}

func (d *docket) fileAdd(l Leaf, can policy.ClientCapabilities, lifetime uint64) error {
	if l.User.IsZero() {
		return policy.Invalid(secUpdate, "an added client names no user")
	}
	rules := d.state.effective.rules
	if l.User.Pseudonym() && !rules.Base.Pseudonyms {
		return policy.Denied(secBase, "pseudonyms are not allowed")
	}
	if err := rules.Operational.AdmitsClient(can, lifetime); err != nil {
		return err
	}
	d.touch(l.User.String(), l.User.Domain()).adds++
	return nil
}

// fileUpdate: a leaf changes its keys, never its user.
func (d *docket) fileUpdate(p *Proposal) error {
	if d.by.kind != Member || p.Leaf.Index != d.by.leaf.Index || p.Leaf.User != d.by.leaf.User {
		return policy.Invalid(secProposal, "an Update is for another leaf or another user")
	}
	if d.state.effective.leaf(p.Leaf.Index) == nil {
		return policy.Denied(secUpdate, "the removal of the client is pending")
	}
	return nil
}

// fileData enters an AppDataUpdate.
func (d *docket) fileData(p *Proposal) error {
	license, known := p.Component.License()
	switch {
	case !known:
		return policy.Invalid(secUpdates, "%v is not known", p.Component)
	case d.by.kind == Newcomer && d.by.Role == policy.NoRole && p.Component != policy.ParticipantList:
		return policy.Denied(secAdding, "a newcomer changes nothing but its own entry")
	case p.Remove:
		return d.use(license.Needs)
	case p.Component == policy.ParticipantList:
		return d.fileMoves(p.Data)
	case p.Component == policy.RoomMetadata:
		return d.metadata(p.Data)
	}
	return d.use(license.Needs)
}

func (d *docket) fileMoves(data []byte) error {
	moves, err := d.state.moves(data)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if m.pseudonym && !d.state.effective.rules.Base.Pseudonyms && m.to != policy.NoRole {
			return policy.Denied(secBase, "pseudonyms are not allowed")
		}
		t := d.touch(m.key, m.domain)
		t.moved, t.to = true, m.to
	}
	return nil
}

// metadata asks for one capability for each field that changes (mimi-room-policy-04 §8.2). The room's address never does.
func (d *docket) metadata(data []byte) error {
	var c Contents
	if err := c.Decode(policy.RoomMetadata, data); err != nil {
		return err
	}
	old, now := d.state.effective.metadata, c.Metadata
	if now.URI != old.URI {
		return policy.Invalid(secMetadata, "room_uri changes")
	}
	for _, f := range []struct {
		changed bool
		needs   policy.Capability
	}{
		{now.Name != old.Name, policy.CanChangeRoomName},
		{!slices.Equal(now.Descriptions, old.Descriptions), policy.CanChangeRoomDescription},
		{now.Avatar != old.Avatar, policy.CanChangeRoomAvatar},
		{now.Subject != old.Subject, policy.CanChangeRoomSubject},
		{now.Mood != old.Mood, policy.CanChangeRoomMood},
	} {
		if f.changed {
			if err := d.use(f.needs); err != nil {
				return err
			}
		}
	}
	return nil
}

// use asks for a capability that concerns no user.
func (d *docket) use(c policy.Capability) error {
	return d.state.effective.rules.Allowed(d.by.Actor, policy.Action{Use: c})
}

// judge turns what happens to one user into actions and asks the policy about each.
func (d *docket) judge(t *touch) error {
	rules := d.state.effective.rules
	if t.own && t.moved && t.from == policy.NoRole {
		if d.by.kind != Newcomer {
			return policy.Denied(secAdding, "only a newcomer puts itself into the list")
		}
		return rules.AllowedJoin(d.by.Actor, t.to)
	}
	addsAllowed, removesAllowed := false, false
	if t.moved {
		action := d.action(t)
		if err := d.ask(t, action, t.from, t.to); err != nil {
			return err
		}
		addsAllowed = t.from == policy.NoRole
		removesAllowed = t.to == policy.NoRole || action == policy.CanBan
		if action == policy.CanBan {
			d.gone = append(d.gone, t.key)
		}
	}
	if t.removes > 0 && !removesAllowed {
		if err := d.judgeRemoves(t); err != nil {
			return err
		}
	}
	if t.adds > 0 && !addsAllowed {
		use := policy.CanAddParticipant
		if t.own {
			use = policy.CanAddOwnClient
		}
		return d.ask(t, use, t.to, t.to)
	}
	return nil
}

// action returns the capability that a change of the participant list uses: the narrowest that the actor's role lists.
func (d *docket) action(t *touch) policy.Capability {
	rules, role := d.state.effective.rules, d.by.Role
	if role == policy.NoRole && d.by.Server != policy.NotServer {
		role, _ = rules.PreAuthorized(d.by.Claims)
	}
	switch {
	case t.own && t.to == policy.NoRole:
		return policy.CanRemoveSelf
	case t.own:
		return policy.CanChangeOwnRole
	case t.to == policy.NoRole:
		return policy.CanRemoveParticipant
	case t.to == policy.BannedRole && rules.Holds(role, policy.CanBan):
		return policy.CanBan
	case t.from == policy.NoRole:
		return policy.CanAddParticipant
	case t.from == policy.BannedRole && rules.Holds(role, policy.CanUnban):
		return policy.CanUnban
	}
	return policy.CanChangeUserRole
}

// judgeRemoves: clients go while their user stays in the list. A newcomer that replaces its own client needs no leave beyond
// that to join; the client of somebody who is not in the list at all is anybody's to clear away.
func (d *docket) judgeRemoves(t *touch) error {
	role := d.state.effective.role(t.key)
	switch {
	case t.own && d.by.kind == Newcomer && t.adds > 0:
		return nil
	case role == policy.NoRole && d.by.Role != policy.NoRole:
		return nil
	case t.own:
		return d.ask(t, policy.CanRemoveOwnClient, t.to, t.to)
	}
	return d.ask(t, policy.CanKick, role, role)
}

func (d *docket) ask(t *touch, use policy.Capability, from, to policy.RoleIndex) error {
	by := d.by.Actor
	if t.own && from == to { // what follows a change of the own role is done in the new one
		by.Role = to
	}
	return d.state.effective.rules.Allowed(by, policy.Action{Use: use, Own: t.own, Domain: t.domain, From: from, To: to})
}

// removable returns the leaf that a Remove or SelfRemove is about. It may be gone from the effective room: a SelfRemove takes
// the place of a pending Remove (mls-extensions-10 §6.3).
func (s *State) removable(by party, p *Proposal) (*Leaf, error) {
	l := s.committed.leaf(p.Leaf.Index)
	if l == nil {
		return nil, policy.Invalid(secProposal, "the leaf to be removed is blank")
	}
	if p.Type == mls.ProposalSelfRemove && (by.kind != Member || by.leaf.Index != p.Leaf.Index) {
		return nil, policy.Invalid("mls-extensions-10 §6.3", "a SelfRemove is for another's leaf")
	}
	return l, nil
}
