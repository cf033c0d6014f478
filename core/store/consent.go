package store

import (
	"context"
	"errors"
	"time"

	"mimigate/core/follower/people"
	"mimigate/core/identity"
	"mimigate/core/uri"
)

var (
	_ identity.PermissionStore = (*Store)(nil)
	_ people.Store             = (*Store)(nil)
)

// address is a room's address in a column, where the zero room is empty.
func address(room uri.Room) string {
	if room == (uri.Room{}) {
		return ""
	}
	return room.String()
}

// PutPermission implements identity.PermissionStore.
func (s *Store) PutPermission(ctx context.Context, p identity.Permission) error {
	_, err := s.exec(ctx, `INSERT INTO consent (requester, target, room, state, made) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (requester, target, room) DO UPDATE SET state = excluded.state, made = excluded.made`,
		p.Requester.String(), p.Target.String(), address(p.Room), int64(p.State), p.At.UnixMilli())
	return err
}

// DropPermission implements identity.PermissionStore.
func (s *Store) DropPermission(ctx context.Context, about identity.Scope) error {
	_, err := s.exec(ctx, `DELETE FROM consent WHERE requester = $1 AND target = $2 AND room = $3`,
		about.Requester.String(), about.Target.String(), address(about.Room))
	return err
}

// PermissionsBetween implements identity.PermissionStore.
func (s *Store) PermissionsBetween(ctx context.Context, requester, target uri.User) ([]identity.Permission, error) {
	return s.permissions(ctx, `requester = $1 AND target = $2`, requester.String(), target.String())
}

// PermissionsAsked implements identity.PermissionStore.
func (s *Store) PermissionsAsked(ctx context.Context, target uri.User) ([]identity.Permission, error) {
	if target.IsZero() {
		return s.permissions(ctx, `state = $1`, int64(identity.Asked))
	}
	return s.permissions(ctx, `target = $1 AND state = $2`, target.String(), int64(identity.Asked))
}

func (s *Store) permissions(ctx context.Context, where string, args ...any) ([]identity.Permission, error) {
	var list []identity.Permission
	err := s.query(ctx, func(scan func(...any) error) error {
		var p identity.Permission
		var requester, target, room string
		var made int64
		if err := scan(&requester, &target, &room, &p.State, &made); err != nil {
			return err
		}
		var err1, err2, err3 error
		p.Requester, err1 = uri.ParseUser(requester)
		p.Target, err2 = uri.ParseUser(target)
		if room != "" {
			p.Room, err3 = uri.ParseRoom(room)
		}
		p.At = time.UnixMilli(made)
		list = append(list, p)
		return errors.Join(err1, err2, err3)
	}, `SELECT requester, target, room, state, made FROM consent WHERE `+where+` ORDER BY made, requester, room`, args...)
	return list, err
}

// PutConsentEntry implements people.Outbox.
func (s *Store) PutConsentEntry(ctx context.Context, to uri.Provider, entry []byte) error {
	_, err := s.exec(ctx, `INSERT INTO consent_outbox (provider, number, entry)
		VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM consent_outbox WHERE provider = $1), $2)`, to.String(), entry)
	return err
}

// NextConsentEntry implements people.Outbox.
func (s *Store) NextConsentEntry(ctx context.Context, to uri.Provider) (number int64, entry []byte, ok bool, err error) {
	ok, err = s.get(ctx, []any{&number, &entry}, `SELECT number, entry FROM consent_outbox WHERE provider = $1 ORDER BY number LIMIT 1`, to.String())
	return number, entry, ok, err
}

// DropConsentEntry implements people.Outbox.
func (s *Store) DropConsentEntry(ctx context.Context, to uri.Provider, number int64) error {
	_, err := s.exec(ctx, `DELETE FROM consent_outbox WHERE provider = $1 AND number = $2`, to.String(), number)
	return err
}

// ConsentEntriesTo implements people.Outbox.
func (s *Store) ConsentEntriesTo(ctx context.Context) ([]uri.Provider, error) {
	var list []uri.Provider
	err := s.query(ctx, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		p, err := uri.ParseProvider(text)
		list = append(list, p)
		return err
	}, `SELECT DISTINCT provider FROM consent_outbox`)
	return list, err
}
