package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"mimigate/core/hub"
	"mimigate/core/uri"
)

var _ hub.Store = (*Store)(nil)

// keepAnswers is how long requests are known again: answers of the hub, and bodies of requests to the follower (design §5 rule v).
const keepAnswers = 8 * 24 * time.Hour

// OwnRoom makes this instance the owner of a room, unless it is already, and returns the fencing number of its ownership: hub and
// member of one process share it.
func (s *Store) OwnRoom(ctx context.Context, room uri.Room) (fence int64, err error) {
	err = s.Do(ctx, func(ctx context.Context) error {
		var owner string
		found, err := s.get(ctx, []any{&owner, &fence}, `SELECT owner, fence FROM room_owner WHERE room = $1`, room.String())
		if err != nil || found && owner == s.db.Owner() {
			return err
		}
		fence, err = s.ClaimRoom(ctx, room)
		return err
	})
	return fence, err
}

// HubRoom implements hub.Rooms.
func (s *Store) HubRoom(ctx context.Context, room uri.Room) (*hub.Row, error) {
	row := new(hub.Row)
	found, err := s.get(ctx, []any{&row.Sequence, &row.Accepted, &row.GroupInfo},
		`SELECT sequence, accepted, group_info FROM hub_room WHERE room = $1`, room.String())
	if err != nil || !found {
		return nil, err
	}
	return row, nil
}

// PutHubRoom implements hub.Rooms.
func (s *Store) PutHubRoom(ctx context.Context, room uri.Room, row *hub.Row) error {
	_, err := s.exec(ctx, `INSERT INTO hub_room (room, sequence, accepted, group_info) VALUES ($1, $2, $3, $4)
		ON CONFLICT (room) DO UPDATE SET sequence = excluded.sequence, accepted = excluded.accepted, group_info = excluded.group_info`,
		room.String(), int64(row.Sequence), int64(row.Accepted), some(row.GroupInfo))
	return err
}

// HubProposals implements hub.Rooms.
func (s *Store) HubProposals(ctx context.Context, room uri.Room) ([]hub.ProposalRow, error) {
	var list []hub.ProposalRow
	err := s.query(ctx, func(scan func(...any) error) error {
		var p hub.ProposalRow
		err := scan(&p.Sequence, &p.Accepted, &p.Message)
		list = append(list, p)
		return err
	}, `SELECT sequence, accepted, message FROM hub_proposal WHERE room = $1 ORDER BY position`, room.String())
	return list, err
}

// SetHubProposals implements hub.Rooms.
func (s *Store) SetHubProposals(ctx context.Context, room uri.Room, list []hub.ProposalRow) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM hub_proposal WHERE room = $1`, room.String()); err != nil {
			return err
		}
		for i, p := range list {
			if _, err := s.exec(ctx, `INSERT INTO hub_proposal (room, position, sequence, accepted, message) VALUES ($1, $2, $3, $4, $5)`,
				room.String(), i, int64(p.Sequence), int64(p.Accepted), p.Message); err != nil {
				return err
			}
		}
		return nil
	})
}

// HubAnswer implements hub.Answers.
func (s *Store) HubAnswer(ctx context.Context, request [sha256.Size]byte) ([]byte, error) {
	var answer []byte
	_, err := s.get(ctx, []any{&answer}, `SELECT answer FROM hub_answer WHERE request = $1`, request[:])
	return answer, err
}

// PutHubAnswer implements hub.Answers.
func (s *Store) PutHubAnswer(ctx context.Context, request [sha256.Size]byte, answer []byte, at time.Time) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM hub_answer WHERE made < $1`, at.Add(-keepAnswers).UnixMilli()); err != nil {
			return err
		}
		_, err := s.exec(ctx, `INSERT INTO hub_answer (request, answer, made) VALUES ($1, $2, $3)`, request[:], answer, at.UnixMilli())
		return err
	})
}

// PutHubEvent implements hub.Outbox.
func (s *Store) PutHubEvent(ctx context.Context, room uri.Room, e hub.Event, to map[uri.Provider]hub.Parts) error {
	if len(to) == 0 {
		return nil
	}
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `INSERT INTO hub_event (room, sequence, body, welcome) VALUES ($1, $2, $3, $4)`,
			room.String(), int64(e.Sequence), e.Body, e.Welcome); err != nil {
			return err
		}
		for p, parts := range to {
			if _, err := s.exec(ctx, `INSERT INTO hub_outbox (room, provider, sequence, parts) VALUES ($1, $2, $3, $4)`,
				room.String(), p.String(), int64(e.Sequence), int64(parts)); err != nil {
				return err
			}
		}
		return nil
	})
}

// NextHubEvent implements hub.Outbox.
func (s *Store) NextHubEvent(ctx context.Context, r hub.Route) (e hub.Event, parts hub.Parts, ok bool, err error) {
	ok, err = s.get(ctx, []any{&e.Sequence, &parts, &e.Body, &e.Welcome}, `SELECT e.sequence, o.parts, e.body, e.welcome
		FROM hub_outbox o JOIN hub_event e ON e.room = o.room AND e.sequence = o.sequence
		WHERE o.room = $1 AND o.provider = $2 ORDER BY o.sequence LIMIT 1`, r.Room.String(), r.To.String())
	return e, parts, ok, err
}

// HubEventTold implements hub.Outbox.
func (s *Store) HubEventTold(ctx context.Context, r hub.Route, sequence uint64) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM hub_outbox WHERE room = $1 AND provider = $2 AND sequence = $3`,
			r.Room.String(), r.To.String(), int64(sequence)); err != nil {
			return err
		}
		_, err := s.exec(ctx, `DELETE FROM hub_event WHERE room = $1 AND sequence = $2
			AND NOT EXISTS (SELECT 1 FROM hub_outbox o WHERE o.room = hub_event.room AND o.sequence = hub_event.sequence)`,
			r.Room.String(), int64(sequence))
		return err
	})
}

// Routes implements hub.Outbox.
func (s *Store) HubRoutes(ctx context.Context) ([]hub.Route, error) {
	var list []hub.Route
	err := s.query(ctx, func(scan func(...any) error) error {
		var room, provider string
		if err := scan(&room, &provider); err != nil {
			return err
		}
		r, err1 := uri.ParseRoom(room)
		p, err2 := uri.ParseProvider(provider)
		list = append(list, hub.Route{Room: r, To: p})
		return errors.Join(err1, err2)
	}, `SELECT DISTINCT room, provider FROM hub_outbox`)
	return list, err
}

// HubSecret implements hub.Vault.
func (s *Store) HubSecret(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	at := place("hub_secret", []byte(name))
	var value []byte
	err := s.Do(ctx, func(ctx context.Context) error {
		var sealed []byte
		found, err := s.get(ctx, []any{&sealed}, `SELECT value FROM hub_secret WHERE name = $1`, name)
		if err != nil {
			return err
		}
		if found {
			value, err = s.unseal(at, sealed)
			return err
		}
		if value, err = fresh(); err != nil {
			return fmt.Errorf("store: secret of the hub: %w", err)
		}
		_, err = s.exec(ctx, `INSERT INTO hub_secret (name, value) VALUES ($1, $2)`, name, s.seal(at, value))
		return err
	})
	return value, err
}
