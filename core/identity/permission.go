package identity

import (
	"context"
	"slices"
	"time"

	"mimigate/core/uri"
)

// PermissionState is what became of one user's wish to bring another into rooms (mimi-protocol-06 §8).
type PermissionState uint8

// The states. Nothing kept stands for: never asked.
const (
	Asked   PermissionState = 1 + iota // and not answered
	Granted                            // the target has agreed, asked or not
	Revoked                            // the target has refused, asked or not
)

// Scope is the draft's ConsentScope: Requester may bring Target into Room, or where that is zero into any.
type Scope struct {
	Requester uri.User
	Target    uri.User
	Room      uri.Room
}

// Permission is what is known for a scope.
type Permission struct {
	Scope
	State PermissionState
	At    time.Time
}

// PermissionStore keeps permissions. Every call is a part of the unit of work in ctx.
type PermissionStore interface {
	// PutPermission adds a permission, or replaces that of its scope.
	PutPermission(ctx context.Context, p Permission) error
	// DropPermission forgets that of a scope.
	DropPermission(ctx context.Context, s Scope) error
	// PermissionsBetween returns all, for any room and for each, of a requester for a target.
	PermissionsBetween(ctx context.Context, requester, target uri.User) ([]Permission, error)
	// PermissionsAsked returns what a target (zero: anybody) has been asked and has not answered, the oldest first.
	PermissionsAsked(ctx context.Context, target uri.User) ([]Permission, error)
}

// Permissions knows who may bring whom into which rooms: others our people, and our people others, as far as they have told us. It
// may be used from several goroutines.
type Permissions struct {
	Store PermissionStore
	Now   func() time.Time
}

// maxAsked bounds how many questions wait for one person: more are forgotten, as a stranger could ask without end.
const maxAsked = 100

func (p *Permissions) state(ctx context.Context, s Scope) (PermissionState, error) {
	all, err := p.Store.PermissionsBetween(ctx, s.Requester, s.Target)
	if i := slices.IndexFunc(all, func(q Permission) bool { return q.Scope == s }); i >= 0 {
		return all[i].State, err
	}
	return 0, err
}

// Ask records a question. It reports whether the target is to be told: a question that waits already, or that was answered for its scope or
// for any room, is not asked again.
func (p *Permissions) Ask(ctx context.Context, s Scope) (fresh bool, err error) {
	all, err := p.Store.PermissionsBetween(ctx, s.Requester, s.Target)
	if err != nil || slices.ContainsFunc(all, func(q Permission) bool { return q.Scope == s || q.Room == (uri.Room{}) }) {
		return false, err
	}
	if waiting, err := p.Store.PermissionsAsked(ctx, s.Target); err != nil || len(waiting) >= maxAsked {
		return false, err
	}
	return true, p.Store.PutPermission(ctx, Permission{s, Asked, p.Now()})
}

// Cancel takes a question of exactly this scope back. It reports whether one waited.
func (p *Permissions) Cancel(ctx context.Context, s Scope) (bool, error) {
	state, err := p.state(ctx, s)
	if err != nil || state != Asked {
		return false, err
	}
	return true, p.Store.DropPermission(ctx, s)
}

// Answer records that the target has agreed, or has refused or agrees no more. For any room it also answers the questions for each, and
// ends what was granted for each.
func (p *Permissions) Answer(ctx context.Context, s Scope, granted bool) error {
	state := Revoked
	if granted {
		state = Granted
	}
	all, err := p.Store.PermissionsBetween(ctx, s.Requester, s.Target)
	if err != nil {
		return err
	}
	for _, q := range all {
		covered := s.Room == (uri.Room{}) && q.Room != s.Room
		if covered && (q.State == Asked || q.State == Granted) {
			if err := p.Store.DropPermission(ctx, q.Scope); err != nil {
				return err
			}
		}
	}
	return p.Store.PutPermission(ctx, Permission{s, state, p.Now()})
}

// Waiting returns what a target (zero: anybody) has been asked and has not answered, the oldest first.
func (p *Permissions) Waiting(ctx context.Context, target uri.User) ([]Permission, error) {
	return p.Store.PermissionsAsked(ctx, target)
}

// Verdict is whether somebody may bring somebody into a room.
type Verdict uint8

// The verdicts.
const (
	NotAgreed       Verdict = iota // nothing was agreed
	Agreed                         // for this room, or any
	AgreedElsewhere                // for another room
	Refused
)

// Judge says whether requester may bring target into a room; the zero room stands for no room in particular. What was said of the room itself
// counts before what was said of any.
func (p *Permissions) Judge(ctx context.Context, s Scope) (Verdict, error) {
	all, err := p.Store.PermissionsBetween(ctx, s.Requester, s.Target)
	if err != nil {
		return NotAgreed, err
	}
	var here, anywhere PermissionState
	elsewhere := false
	for _, q := range all {
		switch q.Room {
		case s.Room:
			here = q.State
		case uri.Room{}:
			anywhere = q.State
		default:
			elsewhere = elsewhere || q.State == Granted
		}
	}
	if here != Granted && here != Revoked {
		here = anywhere
	}
	switch {
	case here == Granted:
		return Agreed, nil
	case here == Revoked:
		return Refused, nil
	case elsewhere:
		return AgreedElsewhere, nil
	}
	return NotAgreed, nil
}
