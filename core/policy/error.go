package policy

import (
	"errors"
	"fmt"
)

// The two ways to be refused. Every error of this package wraps exactly one of them.
var (
	// ErrDenied: well formed, but this actor may not do it. A hub answers notAllowed (mimi-protocol-06 §5.3).
	ErrDenied = errors.New("not allowed")
	// ErrInvalid: nobody may do it, or not in this company. A hub answers invalidProposal.
	ErrInvalid = errors.New("invalid")
)

// Error is a refusal: which rule, and where it is written. It never names a person.
type Error struct {
	Kind    error  // ErrDenied or ErrInvalid
	Rule    string // the rule that was broken, for a log
	Section string // where the rule stands, such as "mimi-room-policy-04 §8.1.1"
}

// Error returns "not allowed: <rule> (<section>)".
func (e *Error) Error() string { return fmt.Sprintf("%v: %s (%s)", e.Kind, e.Rule, e.Section) }

// Unwrap returns ErrDenied or ErrInvalid.
func (e *Error) Unwrap() error { return e.Kind }

// Denied returns an [Error] of kind ErrDenied; format and args make its Rule.
func Denied(section, format string, args ...any) error {
	return &Error{Kind: ErrDenied, Rule: fmt.Sprintf(format, args...), Section: section}
}

// Invalid returns an [Error] of kind ErrInvalid; format and args make its Rule.
func Invalid(section, format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Rule: fmt.Sprintf(format, args...), Section: section}
}

// Where the rules stand.
const (
	secRoles       = "mimi-room-policy-04 §3"
	secPreAuth     = "mimi-room-policy-04 §4"
	secBase        = "mimi-room-policy-04 §5"
	secJoinLink    = "mimi-room-policy-04 §6.2"
	secLinkPreview = "mimi-room-policy-04 §6.3"
	secAssets      = "mimi-room-policy-04 §6.4"
	secLogging     = "mimi-room-policy-04 §6.5"
	secHistory     = "mimi-room-policy-04 §6.6"
	secBots        = "mimi-room-policy-04 §6.7"
	secExpiration  = "mimi-room-policy-04 §6.8"
	secOperational = "mimi-room-policy-04 §7"
	secCapability  = "mimi-room-policy-04 §8"
	secAdding      = "mimi-room-policy-04 §8.1.1"
	secRemoving    = "mimi-room-policy-04 §8.1.2"
	secRoleChange  = "mimi-room-policy-04 §8.1.3"
	secMetadata    = "mimi-room-policy-04 §8.2"
	secMessage     = "mimi-room-policy-04 §8.3"
	secAsset       = "mimi-room-policy-04 §8.4"
	secMedia       = "mimi-room-policy-04 §8.5"
	secDisruptive  = "mimi-room-policy-04 §8.6"
	secReserved    = "mimi-room-policy-04 §8.7"
	secUpdates     = "mls-extensions-10 §4.7"
	secList        = "mimi-protocol-06 §7.5"
	secRoomData    = "mimi-protocol-06 §7.6"
	secOurs        = "mimigate core/policy"
)
