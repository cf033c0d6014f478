package store

import (
	"context"
	"fmt"

	"mimigate/core/uri"
)

// ClaimRoom makes this instance the owner of a room, whoever was it before, and returns the fencing number of its ownership,
// from 1. The instance that was the owner finds its number refused from then on.
func (s *Store) ClaimRoom(ctx context.Context, room uri.Room) (fence int64, err error) {
	err = s.Do(ctx, func(ctx context.Context) error {
		_, err := s.get(ctx, []any{&fence}, `INSERT INTO room_owner (room, owner, fence) VALUES ($1, $2, 1)
			ON CONFLICT (room) DO UPDATE SET owner = excluded.owner, fence = room_owner.fence + 1 RETURNING fence`,
			room.String(), s.db.Owner())
		return err
	})
	return fence, err
}

// CheckRoom fails with ErrFenced where this instance no longer owns the room by the fencing number that ClaimRoom returned.
// T1–T4 call it in their unit (design §5), so that nothing is committed for a room by two instances.
func (s *Store) CheckRoom(ctx context.Context, room uri.Room, fence int64) error {
	var owner string
	var now int64
	found, err := s.get(ctx, []any{&owner, &now}, `SELECT owner, fence FROM room_owner WHERE room = $1`, room.String())
	if err != nil {
		return err
	}
	if !found || owner != s.db.Owner() || now != fence {
		return fmt.Errorf("%w: number %d, now %d", ErrFenced, fence, now)
	}
	return nil
}
