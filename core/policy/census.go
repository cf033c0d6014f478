package policy

import "math"

// Census counts a room's people, for the limits that the policy sets on them.
type Census struct {
	Users   int                 // participants that are not banned
	Clients int                 // leaves
	Extra   int                 // clients beyond the first of each user
	Roles   map[RoleIndex]Tally // for each role that somebody has
}

// Tally counts the participants of one role.
type Tally struct {
	All    uint32
	Active uint32 // those with at least one client
}

// CheckCensus reports the first limit that a change of people breaks. A limit counts only against a change for the worse:
// what was beyond it before may stay, so that a room out of bounds can be mended step by step. Refusals wrap ErrDenied.
func (r *Rules) CheckCensus(before, after *Census) error {
	switch b := &r.Base; {
	case over(b.MaxUsers, after.Users) && after.Users > before.Users:
		return Denied(secBase, "at most %d users", *b.MaxUsers)
	case over(b.MaxClients, after.Clients) && after.Clients > before.Clients:
		return Denied(secBase, "at most %d clients", *b.MaxClients)
	case !b.MultiDevice && after.Extra > before.Extra:
		return Denied(secBase, "a user may have one client only")
	}
	for i := range r.Roles {
		role := &r.Roles[i]
		old := before.Roles[role.Index]
		if err := role.checkTally(old, old, after.Roles[role.Index]); err != nil {
			return err
		}
	}
	return nil
}

// CheckLimits reports the first limit of r that is not a limit of old too and that the people now in the room break: a new
// policy must fit those it finds. Refusals wrap ErrDenied.
func (r *Rules) CheckLimits(old *Rules, now *Census) error {
	switch b, o := &r.Base, &old.Base; {
	case over(b.MaxUsers, now.Users) && !equalLimit(b.MaxUsers, o.MaxUsers):
		return Denied(secBase, "at most %d users, there are %d", *b.MaxUsers, now.Users)
	case over(b.MaxClients, now.Clients) && !equalLimit(b.MaxClients, o.MaxClients):
		return Denied(secBase, "at most %d clients, there are %d", *b.MaxClients, now.Clients)
	case !b.MultiDevice && o.MultiDevice && now.Extra > 0:
		return Denied(secBase, "a user may have one client only")
	}
	for i := range r.Roles {
		role := &r.Roles[i]
		if was := old.Role(role.Index); was != nil && was.Min == role.Min && was.MinActive == role.MinActive &&
			equalLimit(was.Max, role.Max) && equalLimit(was.MaxActive, role.MaxActive) {
			continue
		}
		all := Tally{All: math.MaxUint32, Active: math.MaxUint32}
		if err := role.checkTally(all, Tally{}, now.Roles[role.Index]); err != nil {
			return err
		}
	}
	return nil
}

// checkTally refuses what falls below a minimum coming from least, or rises above a maximum coming from most. Role 0 has no
// participants, so its limits say nothing.
func (r *Role) checkTally(least, most, now Tally) error {
	switch {
	case r.Index == NoRole:
		return nil
	case now.All < r.Min && now.All < least.All:
		return Denied(secRoles, "%v has at least %d participants", r, r.Min)
	case now.Active < r.MinActive && now.Active < least.Active:
		return Denied(secRoles, "%v has at least %d active participants", r, r.MinActive)
	case r.Max != nil && now.All > *r.Max && now.All > most.All:
		return Denied(secRoles, "%v has at most %d participants", r, *r.Max)
	case r.MaxActive != nil && now.Active > *r.MaxActive && now.Active > most.Active:
		return Denied(secRoles, "%v has at most %d active participants", r, *r.MaxActive)
	}
	return nil
}

func over(limit *uint32, n int) bool { return limit != nil && uint64(n) > uint64(*limit) }
