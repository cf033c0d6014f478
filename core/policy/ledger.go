package policy

// Ledger takes down what the proposals of one commit change, its own and those pending, and refuses what they must not do
// together; refusals wrap ErrInvalid. The zero value is an empty ledger.
type Ledger struct {
	users   map[string]bool // touched by a change of the participant list
	grown   bool            // somebody was added or has another role
	updates map[Component]int
	removed map[Component]bool
}

// Participant takes down that a user (a URI in its normal form) goes from one role to another, [NoRole] being outside the list.
// A user may be touched once only (mimi-protocol-06 §7.5); the list may not change beside the roles, nor, but for removals,
// beside the preauthorised (mimi-room-policy-04 §3, §4).
func (l *Ledger) Participant(user string, to RoleIndex) error {
	if l.users[user] {
		return Invalid(secList, "two changes of one user in the participant list")
	}
	if l.users == nil {
		l.users = make(map[string]bool)
	}
	l.users[user] = true
	l.grown = l.grown || to != NoRole
	return l.check()
}

// Update takes down an update of a component; room_metadata takes one only (mimi-protocol-06 §7.6).
func (l *Ledger) Update(c Component) error {
	if l.updates == nil {
		l.updates = make(map[Component]int)
	}
	l.updates[c]++
	if c == RoomMetadata && l.updates[c] > 1 {
		return Invalid(secRoomData, "two updates of room_metadata")
	}
	if l.removed[c] {
		return Invalid(secUpdates, "%v is updated and removed", c)
	}
	return l.check()
}

// Remove takes down the removal of a component, which excludes any other change of it (mls-extensions-10 §4.7).
func (l *Ledger) Remove(c Component) error {
	switch {
	case l.removed[c]:
		return Invalid(secUpdates, "%v is removed twice", c)
	case l.updates[c] > 0:
		return Invalid(secUpdates, "%v is updated and removed", c)
	}
	if l.removed == nil {
		l.removed = make(map[Component]bool)
	}
	l.removed[c] = true
	return l.check()
}

// check holds the rules that concern several components.
func (l *Ledger) check() error {
	changed := func(c Component) bool { return l.updates[c] > 0 || l.removed[c] }
	switch {
	case changed(RolesList) && len(l.users) > 0:
		return Invalid(secRoles, "roles and participants change in one commit")
	case changed(PreAuthList) && l.grown:
		return Invalid(secPreAuth, "the preauthorised and participants (by more than removals) change in one commit")
	}
	return nil
}
