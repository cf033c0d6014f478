package policy

// Server says whether an actor is a provider's server, acting through the external_senders extension, and which.
type Server uint8

// The kinds of server.
const (
	NotServer Server = iota
	Follower         // the server of a provider with participants in the room
	Hub              // the server of the room's own provider
)

// Actor is whoever signed a proposal or commit.
type Actor struct {
	Role     RoleIndex // in the participant list; NoRole: not in it
	Domain   string    // of its provider
	Server   Server
	Claims   []Claim   // what its credential proves
	JoinRole RoleIndex // the role named by a valid join code it has shown; NoRole: none
}

// Action is one use of a capability.
type Action struct {
	Use    Capability
	Own    bool      // it is about the actor itself, its clients, or what it sent
	Domain string    // provider of the user it is about
	From   RoleIndex // that user's role now
	To     RoleIndex // and afterwards
}

// Allowed reports whether the rules let an actor act; refusals wrap ErrDenied. What each capability asks for, beyond being listed
// by the actor's role (mimi-room-policy-04 §8):
//
//	canAddParticipant       another user, NoRole → To, with To a target of the role's changes from 0. With From == To ≠ 0 it
//	                        adds clients of somebody listed before, whom the actor could have added: the list change may be
//	                        committed before the clients' Adds (mimi-protocol-06 §5.3)
//	canOpenJoin             listed by role 0, whose changes from 0 name To
//	canUseJoinCode          the same, and the code must name To
//	canJoinIfPreauthorized  listed by role To, to which the actor's claims lead first; nobody's changes are consulted
//	canRemoveParticipant    another user, From → NoRole in the role's changes
//	canRemoveSelf           From → NoRole in the role's changes
//	canKick                 another user's clients; the list stays (From == To)
//	canAddOwnClient, canRemoveOwnClient   the list stays
//	canBan                  From → 1 in the role's changes; an outsider too can be banned
//	canUnBan                1 → another role but 0, in the role's changes
//	canChangeUserRole       another user, From → To in the role's changes, neither being 0
//	canChangeOwnRole        to the role to which the actor's claims lead first
//	all others              nothing
//
// What the numbers allow (minima, maxima) is for [Rules.CheckCensus], what the rest of the commit allows for [Ledger]. Adding,
// joining, leaving and being removed are refused in rooms of fixed membership. A role that lists [OwnDomainOnly] acts upon users
// of the actor's own domain alone. A server needs no role to remove clients: the hub anybody's, a follower those of its own
// users ([R]: lost and deleted clients must not stay; the draft leaves the authorisation of servers open).
func (r *Rules) Allowed(by Actor, a Action) error {
	info, ok := a.Use.Info()
	if !ok {
		return Denied(secCapability, "%v has no meaning here", a.Use)
	}
	if info.Subject == AboutOther && a.Own || info.Subject == AboutSelf && !a.Own {
		return Denied(info.Section, "%v does not extend to this user", a.Use)
	}
	if a.Use == CanKick && (by.Server == Hub || by.Server == Follower && a.Domain == by.Domain) {
		return nil
	}
	role, err := r.acting(by, a, info)
	if err != nil {
		return err
	}
	if info.Subject == AboutOther && role.Holds(OwnDomainOnly) && a.Domain != by.Domain {
		return Denied(secOurs, "%v acts upon users of its own domain only", role)
	}
	if r.Base.FixedMembership && (a.From == NoRole) != (a.To == NoRole) {
		return Denied(secBase, "the room's membership is fixed")
	}
	if a.To != NoRole && r.Role(a.To) == nil {
		return Denied(info.Section, "role %d does not exist", a.To)
	}
	return r.allowedChange(by, role, a, info)
}

// acting returns the role whose capabilities count, if it lists the one used: the actor's own, role 0 for those who come in
// by an open door or a code, the role aimed at for the preauthorised.
func (r *Rules) acting(by Actor, a Action, info Info) (*Role, error) {
	index := by.Role
	switch a.Use {
	case CanJoinIfPreauthorized:
		index = a.To
	case CanOpenJoin, CanUseJoinCode:
	default:
		if index == NoRole {
			// Servers act with the role for which they are preauthorised (mimi-room-policy-04 §4).
			if by.Server != NotServer {
				index, _ = r.PreAuthorized(by.Claims)
			}
			if index == NoRole {
				return nil, Denied(info.Section, "%v takes a participant", a.Use)
			}
		}
	}
	role := r.Role(index)
	if role == nil {
		return nil, Denied(info.Section, "role %d does not exist", index)
	}
	if !role.Holds(a.Use) && !r.standsIn(role, a.Use) {
		return nil, Denied(info.Section, "%v lacks %v", role, a.Use)
	}
	return role, nil
}

// standsIn: in a room where nobody has the reserved canChangeOtherPolicyAttribute, who may change the membership style may
// also change the attributes that no capability of its own covers [R].
func (r *Rules) standsIn(role *Role, c Capability) bool {
	return c == CanChangeOtherPolicyAttribute && role.Holds(CanChangeRoomMembershipStyle) && !r.somebodyHolds(c)
}

// allowedChange checks what the action does to the role of the user it is about.
func (r *Rules) allowedChange(by Actor, role *Role, a Action, info Info) error {
	from, to := a.From, a.To
	ok := true
	switch a.Use {
	case CanAddParticipant:
		ok = to != NoRole && (from == NoRole || from == to && r.Role(to).MayBeActive()) && role.MayChange(NoRole, to)
	case CanOpenJoin:
		ok = by.Role == NoRole && from == NoRole && to != NoRole && role.MayChange(NoRole, to)
	case CanUseJoinCode:
		// The draft wants "a valid target role"; we take it from role 0's changes, as its examples do [R].
		ok = by.Role == NoRole && from == NoRole && to != NoRole && to == by.JoinRole && role.MayChange(NoRole, to)
	case CanJoinIfPreauthorized:
		ok = by.Role == NoRole && from == NoRole && to != NoRole && r.leadsTo(by, to)
	case CanRemoveParticipant:
		ok = from != NoRole && to == NoRole && role.MayChange(from, NoRole)
	case CanRemoveSelf:
		ok = from == by.Role && to == NoRole && role.MayChange(from, NoRole)
	case CanAddOwnClient:
		ok = from == by.Role && from == to && role.MayBeActive()
	case CanRemoveOwnClient:
		ok = from == by.Role && from == to
	case CanKick:
		ok = from != NoRole && from == to
	case CanBan:
		ok = from != BannedRole && to == BannedRole && r.hasBannedRole() && role.MayChange(from, to)
	case CanUnban:
		ok = from == BannedRole && to != BannedRole && to != NoRole && r.hasBannedRole() && role.MayChange(from, to)
	case CanChangeUserRole:
		ok = from != NoRole && to != NoRole && role.MayChange(from, to)
	case CanChangeOwnRole:
		ok = from != NoRole && to != NoRole && from == by.Role && r.leadsTo(by, to)
	}
	if !ok {
		return Denied(info.Section, "%v of %v does not reach from role %d to role %d", a.Use, role, from, to)
	}
	return nil
}

func (r *Rules) leadsTo(by Actor, to RoleIndex) bool {
	first, ok := r.PreAuthorized(by.Claims)
	return ok && first == to
}

// AllowedJoin reports whether somebody who is not in the list may put itself there with role to, by whichever of the three
// ways is open: a code, an open door, or preauthorisation. The refusal is that of the last.
func (r *Rules) AllowedJoin(by Actor, to RoleIndex) error {
	var err error
	for _, way := range []Capability{CanUseJoinCode, CanOpenJoin, CanJoinIfPreauthorized} {
		err = r.Allowed(by, Action{Use: way, Own: true, Domain: by.Domain, From: by.Role, To: to})
		if err == nil {
			return nil
		}
	}
	return err
}

// AllowedExtensions reports whether an actor may change the GroupContext's extensions outside the components (a
// GroupContextExtensions proposal). No capability names it; we ask for canChangeMlsOperationalPolicies or
// canChangeOtherPolicyAttribute [R].
func (r *Rules) AllowedExtensions(by Actor) error {
	if r.Allowed(by, Action{Use: CanChangeMLSOperationalPolicies}) == nil {
		return nil
	}
	return r.Allowed(by, Action{Use: CanChangeOtherPolicyAttribute})
}
