package policy

import "slices"

// Claim is something that a credential proves. The strings hold bytes.
type Claim struct {
	CredentialType uint16 // RFC 9420 §5.3: 1 basic, 2 x509
	ID             string // X.509 OID (DER), JWT claim name, or CWT key (CBOR)
	Value          string
}

// PreAuthEntry gives a role to whoever can show all its claims. No claims: to anybody.
type PreAuthEntry struct {
	Claims []Claim
	Target Role // a whole definition, as the draft has it; it must equal the one in the roles list
}

// PreAuthorized returns the role that the claims open: the target of the first entry all of whose claims are among them
// (mimi-room-policy-04 §4). It applies to those who join by themselves or act from outside, and to changes of one's own role.
func (r *Rules) PreAuthorized(claims []Claim) (RoleIndex, bool) {
	for i := range r.PreAuth {
		e := &r.PreAuth[i]
		if !slices.ContainsFunc(e.Claims, func(c Claim) bool { return !slices.Contains(claims, c) }) {
			return e.Target.Index, true
		}
	}
	return NoRole, false
}

// validatePreAuth checks that each entry leads to a role of the room, defined as the roles list defines it: two
// definitions of one role would leave open which of them holds ([R]; the draft embeds the definition and is silent).
func (r *Rules) validatePreAuth() error {
	for i := range r.PreAuth {
		target := &r.PreAuth[i].Target
		if target.Index == NoRole {
			return Invalid(secPreAuth, "entry %d leads to role 0", i)
		}
		role := r.Role(target.Index)
		if role == nil {
			return Invalid(secPreAuth, "entry %d leads to role %d, which does not exist", i, target.Index)
		}
		if !role.Equal(target) {
			return Invalid(secPreAuth, "entry %d defines role %d otherwise than the roles list", i, target.Index)
		}
	}
	return nil
}
