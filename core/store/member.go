package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"mimigate/core/content"
	"mimigate/core/member"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

var _ member.Store = (*Store)(nil)

// keepKnown is how long edits and deletions of a message are judged by who sent it (design §10: ids are kept 365 days).
const keepKnown = 365 * 24 * time.Hour

// NextInbox implements member.Inbox.
func (s *Store) NextInbox(ctx context.Context, room uri.Room) (number int64, body []byte, ok bool, err error) {
	ok, err = s.get(ctx, []any{&number, &body}, `SELECT number, body FROM follower_inbox WHERE room = $1 ORDER BY number LIMIT 1`, room.String())
	return number, body, ok, err
}

// DropInbox implements member.Inbox.
func (s *Store) DropInbox(ctx context.Context, room uri.Room, number int64) error {
	_, err := s.exec(ctx, `DELETE FROM follower_inbox WHERE room = $1 AND number = $2`, room.String(), number)
	return err
}

func outgoingPlace(room uri.Room, number int64) []byte {
	return place("member_outgoing", []byte(room.String()), binary.BigEndian.AppendUint64(nil, uint64(number)))
}

// PutOutgoing implements member.Outbox.
func (s *Store) PutOutgoing(ctx context.Context, room uri.Room, o *member.Outgoing) error {
	var message, hash []byte
	if len(o.Message) > 0 {
		sum := sha256.Sum256(o.Message)
		message, hash = o.Message, sum[:]
	}
	_, err := s.exec(ctx, `INSERT INTO member_outgoing (room, number, sender, id, content, message, hash, after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (room, number) DO UPDATE SET message = excluded.message, hash = excluded.hash, after = excluded.after`,
		room.String(), o.Number, o.From.String(), o.ID[:], s.seal(outgoingPlace(room, o.Number), o.Content), message, hash, int64(o.After))
	return err
}

// LastOutgoing implements member.Outbox.
func (s *Store) LastOutgoing(ctx context.Context, room uri.Room) (int64, error) {
	var number int64
	_, err := s.get(ctx, []any{&number}, `SELECT COALESCE(MAX(number), 0) FROM member_outgoing WHERE room = $1`, room.String())
	return number, err
}

// outgoing reads a row of member_outgoing, nil where there is none.
func (s *Store) outgoing(ctx context.Context, room uri.Room, where string, args ...any) (*member.Outgoing, error) {
	o := new(member.Outgoing)
	var sender string
	var id, sealed []byte
	found, err := s.get(ctx, []any{&o.Number, &sender, &id, &sealed, &o.Message, &o.After},
		`SELECT number, sender, id, content, message, after FROM member_outgoing WHERE room = $1 AND `+where,
		append([]any{room.String()}, args...)...)
	if err != nil || !found {
		return nil, err
	}
	if o.From, err = uri.ParseUser(sender); err != nil || len(id) != len(o.ID) {
		return nil, fmt.Errorf("store: outgoing message: %w", err)
	}
	o.ID = content.MessageID(id)
	o.Content, err = s.unseal(outgoingPlace(room, o.Number), sealed)
	return o, err
}

// NextOutgoing implements member.Outbox.
func (s *Store) NextOutgoing(ctx context.Context, room uri.Room, after int64) (*member.Outgoing, error) {
	return s.outgoing(ctx, room, `number > $2 ORDER BY number LIMIT 1`, after)
}

// OutgoingByHash implements member.Outbox.
func (s *Store) OutgoingByHash(ctx context.Context, room uri.Room, hash [sha256.Size]byte) (*member.Outgoing, error) {
	return s.outgoing(ctx, room, `hash = $2`, hash[:])
}

// DropOutgoing implements member.Outbox.
func (s *Store) DropOutgoing(ctx context.Context, room uri.Room, number int64) error {
	_, err := s.exec(ctx, `DELETE FROM member_outgoing WHERE room = $1 AND number = $2`, room.String(), number)
	return err
}

// PutRoomRequest implements member.Requests.
func (s *Store) PutRoomRequest(ctx context.Context, room uri.Room, r *member.Request) error {
	var packages mls.Encoder
	for _, kp := range r.KeyPackages {
		packages.Opaque(kp)
	}
	_, err := s.exec(ctx, `INSERT INTO member_request (room, subject, number, role, exact, name, about, key_packages, alone)
		VALUES ($1, $2, (SELECT COALESCE(MAX(number), 0) + 1 FROM member_request WHERE room = $1), $3, $4, $5, $6, $7, $8)
		ON CONFLICT (room, subject) DO UPDATE SET role = excluded.role, exact = excluded.exact, name = excluded.name,
			about = excluded.about, key_packages = excluded.key_packages, alone = excluded.alone`,
		room.String(), r.Subject, int64(r.Role), truth(r.Exact), r.Name, r.About, some(packages.Bytes()), truth(r.Alone))
	return err
}

// RoomRequests implements member.Requests.
func (s *Store) RoomRequests(ctx context.Context, room uri.Room) ([]member.Request, error) {
	var list []member.Request
	err := s.query(ctx, func(scan func(...any) error) error {
		var r member.Request
		var packages []byte
		if err := scan(&r.Subject, &r.Number, &r.Role, &r.Exact, &r.Name, &r.About, &packages, &r.Alone); err != nil {
			return err
		}
		d := mls.NewDecoder(packages)
		for d.More() {
			r.KeyPackages = append(r.KeyPackages, d.Opaque())
		}
		list = append(list, r)
		return d.Finish()
	}, `SELECT subject, number, role, exact, name, about, key_packages, alone FROM member_request WHERE room = $1 ORDER BY number`, room.String())
	return list, err
}

// DropRoomRequest implements member.Requests.
func (s *Store) DropRoomRequest(ctx context.Context, room uri.Room, subject string) error {
	_, err := s.exec(ctx, `DELETE FROM member_request WHERE room = $1 AND subject = $2`, room.String(), subject)
	return err
}

// PendingCommit implements member.Requests.
func (s *Store) PendingCommit(ctx context.Context, room uri.Room) (*member.Commit, error) {
	c := new(member.Commit)
	var subjects string
	found, err := s.get(ctx, []any{&c.Request, &subjects, &c.Answered}, `SELECT request, subjects, answered FROM member_commit WHERE room = $1`, room.String())
	if err != nil || !found {
		return nil, err
	}
	c.Subjects = strings.Split(subjects, "\n")[:strings.Count(subjects, "\n")]
	return c, nil
}

// SetPendingCommit implements member.Requests. Each subject, of which one may be empty, ends with a line break.
func (s *Store) SetPendingCommit(ctx context.Context, room uri.Room, c *member.Commit) error {
	if c == nil {
		_, err := s.exec(ctx, `DELETE FROM member_commit WHERE room = $1`, room.String())
		return err
	}
	var subjects strings.Builder
	for _, subject := range c.Subjects {
		subjects.WriteString(subject + "\n")
	}
	_, err := s.exec(ctx, `INSERT INTO member_commit (room, request, subjects, answered) VALUES ($1, $2, $3, $4)
		ON CONFLICT (room) DO UPDATE SET request = excluded.request, subjects = excluded.subjects, answered = excluded.answered`,
		room.String(), c.Request, subjects.String(), truth(c.Answered))
	return err
}

// KnownMessage implements member.Messages.
func (s *Store) KnownMessage(ctx context.Context, room uri.Room, id content.MessageID) (*member.Known, error) {
	k := new(member.Known)
	var sender string
	found, err := s.get(ctx, []any{&sender, &k.Topic, &k.Reaction}, `SELECT sender, topic, reaction FROM member_message WHERE room = $1 AND id = $2`,
		room.String(), id[:])
	if err != nil || !found {
		return nil, err
	}
	if k.From, err = uri.ParseUser(sender); err != nil {
		return nil, fmt.Errorf("store: known message: %w", err)
	}
	return k, nil
}

// PutKnownMessage implements member.Messages.
func (s *Store) PutKnownMessage(ctx context.Context, room uri.Room, id content.MessageID, k *member.Known, at time.Time) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM member_message WHERE accepted < $1`, at.Add(-keepKnown).UnixMilli()); err != nil {
			return err
		}
		_, err := s.exec(ctx, `INSERT INTO member_message (room, id, sender, topic, reaction, accepted) VALUES ($1, $2, $3, $4, $5, $6)`,
			room.String(), id[:], k.From.String(), some(k.Topic), truth(k.Reaction), at.UnixMilli())
		return err
	})
}

func keyPackagePlace(ref []byte) []byte { return place("member_key_package", ref) }

// PutKeyPackage implements member.KeyPackages.
func (s *Store) PutKeyPackage(ctx context.Context, ref, secrets []byte, expires time.Time) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM member_key_package WHERE expires < $1`, time.Now().UnixMilli()); err != nil {
			return err
		}
		_, err := s.exec(ctx, `INSERT INTO member_key_package (ref, secrets, expires) VALUES ($1, $2, $3)`,
			ref, s.seal(keyPackagePlace(ref), secrets), expires.UnixMilli())
		return err
	})
}

// KeyPackage implements member.KeyPackages.
func (s *Store) KeyPackage(ctx context.Context, ref []byte) ([]byte, error) {
	var sealed []byte
	found, err := s.get(ctx, []any{&sealed}, `SELECT secrets FROM member_key_package WHERE ref = $1`, ref)
	if err != nil || !found {
		return nil, err
	}
	return s.unseal(keyPackagePlace(ref), sealed)
}

// DropKeyPackage implements member.KeyPackages.
func (s *Store) DropKeyPackage(ctx context.Context, ref []byte) error {
	_, err := s.exec(ctx, `DELETE FROM member_key_package WHERE ref = $1`, ref)
	return err
}

// IsStale implements member.Stale.
func (s *Store) IsStale(ctx context.Context, room uri.Room) (bool, error) {
	var one int64
	return s.get(ctx, []any{&one}, `SELECT 1 FROM member_stale WHERE room = $1`, room.String())
}

// SetStale implements member.Stale.
func (s *Store) SetStale(ctx context.Context, room uri.Room, stale bool) error {
	query := `DELETE FROM member_stale WHERE room = $1`
	if stale {
		query = `INSERT INTO member_stale (room) VALUES ($1) ON CONFLICT (room) DO NOTHING`
	}
	_, err := s.exec(ctx, query, room.String())
	return err
}

// UnfinishedRooms implements member.Stale.
func (s *Store) UnfinishedRooms(ctx context.Context) ([]uri.Room, error) {
	return s.roomsOf(ctx, `SELECT room FROM member_outgoing UNION SELECT room FROM member_request
		UNION SELECT room FROM member_commit UNION SELECT room FROM member_stale`)
}
