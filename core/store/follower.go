package store

import (
	"context"
	"crypto/sha256"
	"time"

	"mimigate/core/follower"
	"mimigate/core/uri"
)

var _ follower.Store = (*Store)(nil)

// PutInbox implements follower.Inbox.
func (s *Store) PutInbox(ctx context.Context, room uri.Room, body []byte, hash [sha256.Size]byte, at time.Time) (fresh bool, err error) {
	err = s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM follower_seen WHERE made < $1`, at.Add(-keepAnswers).UnixMilli()); err != nil {
			return err
		}
		n, err := s.exec(ctx, `INSERT INTO follower_seen (hash, made) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING`, hash[:], at.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		fresh = true
		_, err = s.exec(ctx, `INSERT INTO follower_inbox (room, number, body)
			VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM follower_inbox WHERE room = $1), $2)`, room.String(), body)
		return err
	})
	return fresh && err == nil, err
}

// InboxRooms implements follower.Inbox.
func (s *Store) InboxRooms(ctx context.Context) ([]uri.Room, error) {
	return s.roomsOf(ctx, `SELECT DISTINCT room FROM follower_inbox`)
}

// roomsOf reads a column of rooms.
func (s *Store) roomsOf(ctx context.Context, query string, args ...any) ([]uri.Room, error) {
	var list []uri.Room
	err := s.query(ctx, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		room, err := uri.ParseRoom(text)
		list = append(list, room)
		return err
	}, query, args...)
	return list, err
}
