package policy

import (
	"fmt"
	"slices"
)

// RoleIndex names a role within one room. Indices need not be contiguous.
type RoleIndex uint32

const (
	// NoRole is the role of whoever is not, or no longer, in the participant list (mimi-room-policy-04 §3).
	NoRole RoleIndex = 0
	// BannedRole is the role that canBan gives; it must be named "banned" (mimi-room-policy-04 §8.1.3).
	BannedRole RoleIndex = 1
)

const bannedName = "banned"

// Role is a set of capabilities with limits on how many participants may have it (mimi-room-policy-04 §3).
type Role struct {
	Index        RoleIndex
	Name         string // for people, UTF-8
	Description  string // for people, UTF-8; may be empty
	Capabilities []Capability
	Min          uint32       // least number of participants; 0: no minimum
	Max          *uint32      // greatest number of participants; nil: no maximum
	MinActive    uint32       // the same for participants that have a client in the group
	MaxActive    *uint32      // 0: nobody with this role may have a client in the group
	Changes      []RoleChange // which changes of other participants' roles the holder may make
}

// RoleChange lists the roles to which the holder may move a participant whose role is From. Going from [NoRole] is adding,
// going to it is removing.
type RoleChange struct {
	From    RoleIndex
	Targets []RoleIndex
}

// Holds reports whether the role lists c.
func (r *Role) Holds(c Capability) bool { return slices.Contains(r.Capabilities, c) }

// MayChange reports whether authorized_role_changes has from → to.
func (r *Role) MayChange(from, to RoleIndex) bool {
	return slices.ContainsFunc(r.Changes, func(c RoleChange) bool { return c.From == from && slices.Contains(c.Targets, to) })
}

// MayBeActive reports whether participants of this role may have clients in the group at all.
func (r *Role) MayBeActive() bool { return r.MaxActive == nil || *r.MaxActive > 0 }

// Equal reports whether the two definitions are the same, element by element.
func (r *Role) Equal(other *Role) bool {
	return r.Index == other.Index && r.Name == other.Name && r.Description == other.Description &&
		slices.Equal(r.Capabilities, other.Capabilities) && r.Min == other.Min && equalLimit(r.Max, other.Max) &&
		r.MinActive == other.MinActive && equalLimit(r.MaxActive, other.MaxActive) &&
		slices.EqualFunc(r.Changes, other.Changes, func(a, b RoleChange) bool {
			return a.From == b.From && slices.Equal(a.Targets, b.Targets)
		})
}

// String names the role for a log; role names are not about persons.
func (r *Role) String() string { return fmt.Sprintf("role %d", r.Index) }

func equalLimit(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }

// Role returns the definition of a role, or nil where the room has none of that index.
func (r *Rules) Role(i RoleIndex) *Role {
	for k := range r.Roles {
		if r.Roles[k].Index == i {
			return &r.Roles[k]
		}
	}
	return nil
}

// Holds reports whether the role exists and lists c. It is the whole of the answer for capabilities without further conditions,
// such as CanSendMessage.
func (r *Rules) Holds(i RoleIndex, c Capability) bool {
	role := r.Role(i)
	return role != nil && role.Holds(c)
}

// somebodyHolds reports whether any role of a participant lists c.
func (r *Rules) somebodyHolds(c Capability) bool {
	return slices.ContainsFunc(r.Roles, func(role Role) bool { return role.Index != NoRole && role.Holds(c) })
}

// canBan reports whether the room has the banned role exactly as canBan and canUnBan require it.
func (r *Rules) hasBannedRole() bool {
	role := r.Role(BannedRole)
	return role != nil && role.Name == bannedName
}

// validateRoles checks the roles among themselves.
func (r *Rules) validateRoles() error {
	if r.Role(NoRole) == nil {
		return Invalid(secRoles, "no role 0")
	}
	seen := make(map[RoleIndex]bool, len(r.Roles))
	for i := range r.Roles {
		role := &r.Roles[i]
		if seen[role.Index] {
			return Invalid(secRoles, "%v is defined twice", role)
		}
		seen[role.Index] = true
	}
	for i := range r.Roles {
		if err := r.validateRole(&r.Roles[i], seen); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rules) validateRole(role *Role, known map[RoleIndex]bool) error {
	if role.Max != nil && *role.Max < role.Min || role.MaxActive != nil && *role.MaxActive < role.MinActive {
		return Invalid(secRoles, "%v has a maximum below its minimum", role)
	}
	for _, change := range role.Changes {
		for _, i := range append(slices.Clone(change.Targets), change.From) {
			if !known[i] {
				return Invalid(secRoles, "%v may change to or from role %d, which does not exist", role, i)
			}
		}
	}
	if role.Index != NoRole && role.Holds(CanOpenJoin) {
		return Invalid(secAdding, "%v has canOpenJoin, which belongs to role 0 alone", role)
	}
	if (role.Holds(CanBan) || role.Holds(CanUnban)) && !r.hasBannedRole() {
		return Invalid(secRoleChange, "%v may ban, but role 1 is not the role named banned", role)
	}
	if r.Base.FixedMembership && role.Index != NoRole && role.Index != BannedRole && role.Holds(CanAddParticipant) {
		return Invalid(secBase, "%v has canAddParticipant in a room of fixed membership", role)
	}
	return nil
}
