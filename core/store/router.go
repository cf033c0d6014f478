package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router"
	"mimigate/core/uri"
)

var _ router.Store = (*Store)(nil)

// requestLife is how long a binding may wait for the room's say.
const requestLife = 24 * time.Hour

// millis is a time as it is stored: 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// idBytes is a message id as it is stored: NULL for none.
func idBytes(id content.MessageID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func idOf(b []byte) content.MessageID {
	var id content.MessageID
	copy(id[:], b)
	return id
}

const bindingColumns = `b.account, b.name, b.network, b.conversation, b.room, b.direction, b.managed`

func (s *Store) bindings(ctx context.Context, query string, args ...any) ([]router.Binding, error) {
	var list []router.Binding
	err := s.query(ctx, func(scan func(...any) error) error {
		var b router.Binding
		var room string
		if err := scan(&b.Account, &b.Name, &b.Network, &b.Conversation, &room, &b.Direction, &b.Managed); err != nil {
			return err
		}
		var err error
		b.Room, err = uri.ParseRoom(room)
		list = append(list, b)
		return err
	}, query, args...)
	return list, err
}

// Bindings implements router.Bindings.
func (s *Store) Bindings(ctx context.Context, room uri.Room) ([]router.Binding, error) {
	return s.bindings(ctx, `SELECT `+bindingColumns+` FROM binding b WHERE $1 = '' OR b.room = $1 ORDER BY b.account, b.name`, room.String())
}

// BindingOf implements router.Bindings.
func (s *Store) BindingOf(ctx context.Context, p router.Place) (router.Binding, bool, error) {
	list, err := s.bindings(ctx, `SELECT `+bindingColumns+` FROM binding b WHERE b.network = $1 AND b.conversation = $2`, p.Network, string(p.Conversation))
	if err != nil || len(list) == 0 {
		return router.Binding{}, false, err
	}
	return list[0], true, nil
}

// PutBinding implements router.Bindings.
func (s *Store) PutBinding(ctx context.Context, b router.Binding) error {
	_, err := s.exec(ctx, `INSERT INTO binding (account, name, network, conversation, room, direction, managed) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (account, name) DO UPDATE SET network = excluded.network, conversation = excluded.conversation, room = excluded.room,
			direction = excluded.direction, managed = excluded.managed`,
		b.Account, b.Name, b.Network, string(b.Conversation), b.Room.String(), int64(b.Direction), b.Managed)
	return err
}

// DeleteBinding implements router.Bindings.
func (s *Store) DeleteBinding(ctx context.Context, chat router.Chat) error {
	_, err := s.exec(ctx, `DELETE FROM binding WHERE account = $1 AND name = $2`, chat.Account, chat.Name)
	return err
}

// PutBindRequest implements router.Bindings. Requests nobody answered for a day are forgotten.
func (s *Store) PutBindRequest(ctx context.Context, code string, b router.Binding) error {
	return s.Do(ctx, func(ctx context.Context) error {
		now := time.Now()
		if _, err := s.exec(ctx, `DELETE FROM binding_request WHERE made < $1`, now.Add(-requestLife).UnixMilli()); err != nil {
			return err
		}
		_, err := s.exec(ctx, `INSERT INTO binding_request (code, account, conversation, room, direction, made) VALUES ($1, $2, $3, $4, $5, $6)`,
			code, b.Account, string(b.Conversation), b.Room.String(), int64(b.Direction), now.UnixMilli())
		return err
	})
}

// TakeBindRequest implements router.Bindings.
func (s *Store) TakeBindRequest(ctx context.Context, code string) (router.Binding, bool, error) {
	var b router.Binding
	var room string
	found := false
	err := s.Do(ctx, func(ctx context.Context) error {
		var err error
		found, err = s.get(ctx, []any{&b.Account, &b.Conversation, &room, &b.Direction},
			`SELECT account, conversation, room, direction FROM binding_request WHERE code = $1 AND made >= $2`, code, time.Now().Add(-requestLife).UnixMilli())
		if err != nil || !found {
			return err
		}
		b.Name = string(b.Conversation)
		if b.Room, err = uri.ParseRoom(room); err != nil {
			return err
		}
		_, err = s.exec(ctx, `DELETE FROM binding_request WHERE code = $1`, code)
		return err
	})
	return b, found, err
}

// Conversation implements router.Conversations.
func (s *Store) Conversation(ctx context.Context, p router.Place) (router.Conversation, error) {
	var c router.Conversation
	var asked, declined int64
	found, err := s.get(ctx, []any{&c.Title, &c.Topic, &c.Direct, &asked, &declined},
		`SELECT title, topic, direct, asked, declined FROM conversation WHERE network = $1 AND conversation = $2`, p.Network, string(p.Conversation))
	if err != nil || !found {
		return router.Conversation{}, err
	}
	c.Asked, c.Declined = moment(asked), moment(declined)
	return c, nil
}

// PutConversation implements router.Conversations.
func (s *Store) PutConversation(ctx context.Context, p router.Place, c router.Conversation) error {
	_, err := s.exec(ctx, `INSERT INTO conversation (network, conversation, title, topic, direct, asked, declined) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (network, conversation) DO UPDATE SET title = excluded.title, topic = excluded.topic, direct = excluded.direct,
			asked = excluded.asked, declined = excluded.declined`,
		p.Network, string(p.Conversation), c.Title, c.Topic, truth(c.Direct), millis(c.Asked), millis(c.Declined))
	return err
}

// Attendance implements router.Conversations.
func (s *Store) Attendance(ctx context.Context, p router.Place, user uri.User) (router.Attendance, error) {
	var removed bool
	found, err := s.get(ctx, []any{&removed}, `SELECT removed FROM attendance WHERE network = $1 AND conversation = $2 AND address = $3`,
		p.Network, string(p.Conversation), user.String())
	switch {
	case err != nil || !found:
		return router.Absent, err
	case removed:
		return router.Removed, nil
	}
	return router.Present, nil
}

// SetAttendance implements router.Conversations.
func (s *Store) SetAttendance(ctx context.Context, p router.Place, user uri.User, a router.Attendance) error {
	if a == router.Absent {
		_, err := s.exec(ctx, `DELETE FROM attendance WHERE network = $1 AND conversation = $2 AND address = $3`, p.Network, string(p.Conversation), user.String())
		return err
	}
	_, err := s.exec(ctx, `INSERT INTO attendance (network, conversation, address, removed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (network, conversation, address) DO UPDATE SET removed = excluded.removed`,
		p.Network, string(p.Conversation), user.String(), truth(a == router.Removed))
	return err
}

// Attended implements router.Conversations.
func (s *Store) Attended(ctx context.Context, room uri.Room, user uri.User) ([]router.Binding, error) {
	return s.bindings(ctx, `SELECT `+bindingColumns+` FROM binding b JOIN attendance a ON a.network = b.network AND a.conversation = b.conversation
		WHERE a.address = $2 AND ($1 = '' OR b.room = $1) ORDER BY b.account, b.name`, room.String(), user.String())
}

const messageColumns = `id, original, origin, room, sender, kind, target, network, conversation, made, accepted`

// Message implements router.Messages.
func (s *Store) Message(ctx context.Context, id content.MessageID) (router.Message, bool, error) {
	var m router.Message
	var own, first, origin, target []byte
	var room, sender string
	var made, accepted int64
	found, err := s.get(ctx, []any{&own, &first, &origin, &room, &sender, &m.Kind, &target, &m.Place.Network, &m.Place.Conversation, &made, &accepted},
		`SELECT `+messageColumns+` FROM message WHERE id = $1`, id[:])
	if err != nil || !found {
		return router.Message{}, false, err
	}
	m.ID, m.First, m.Origin, m.Target = idOf(own), idOf(first), idOf(origin), idOf(target)
	m.Made, m.Accepted = moment(made), moment(accepted)
	if m.Room, err = uri.ParseRoom(room); err != nil {
		return router.Message{}, false, err
	}
	m.Sender, err = uri.ParseUser(sender)
	return m, err == nil, err
}

// PutMessage implements router.Messages.
func (s *Store) PutMessage(ctx context.Context, m router.Message) error {
	_, err := s.exec(ctx, `INSERT INTO message (`+messageColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET kind = excluded.kind,
			accepted = CASE WHEN excluded.accepted > message.accepted THEN excluded.accepted ELSE message.accepted END`,
		m.ID[:], m.First[:], idBytes(m.Origin), m.Room.String(), m.Sender.String(), int64(m.Kind), idBytes(m.Target),
		m.Place.Network, string(m.Place.Conversation), millis(m.Made), millis(m.Accepted))
	return err
}

// KnowsOrigin implements router.Messages.
func (s *Store) KnowsOrigin(ctx context.Context, origin content.MessageID, from router.Place) (bool, error) {
	var one int
	return s.get(ctx, []any{&one}, `SELECT 1 FROM message WHERE id = $1 OR origin = $1 AND NOT (network = $2 AND conversation = $3)`,
		origin[:], from.Network, string(from.Conversation))
}

// Body implements router.Messages.
func (s *Store) Body(ctx context.Context, id content.MessageID) ([]byte, error) {
	var sealed []byte
	found, err := s.get(ctx, []any{&sealed}, `SELECT value FROM body WHERE id = $1`, id[:])
	if err != nil || !found {
		return nil, err
	}
	return s.unseal(place("body", id[:]), sealed)
}

// PutBody implements router.Messages.
func (s *Store) PutBody(ctx context.Context, id content.MessageID, encoded []byte) error {
	_, err := s.exec(ctx, `INSERT INTO body (id, value) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id[:], s.seal(place("body", id[:]), encoded))
	return err
}

// Reactions implements router.Reactions.
func (s *Store) Reactions(ctx context.Context, target content.MessageID, sender uri.User) ([]router.Reaction, error) {
	var list []router.Reaction
	err := s.query(ctx, func(scan func(...any) error) error {
		var r router.Reaction
		var id []byte
		var made int64
		err := scan(&r.Emoji, &id, &made)
		r.ID, r.Made = idOf(id), moment(made)
		list = append(list, r)
		return err
	}, `SELECT emoji, id, made FROM reaction WHERE target = $1 AND sender = $2 ORDER BY made, emoji`, target[:], sender.String())
	return list, err
}

// PutReaction implements router.Reactions.
func (s *Store) PutReaction(ctx context.Context, target content.MessageID, sender uri.User, r router.Reaction) error {
	_, err := s.exec(ctx, `INSERT INTO reaction (target, sender, emoji, id, made) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (target, sender, emoji) DO UPDATE SET id = excluded.id`, target[:], sender.String(), r.Emoji, r.ID[:], millis(r.Made))
	return err
}

// DeleteReaction implements router.Reactions.
func (s *Store) DeleteReaction(ctx context.Context, id content.MessageID) error {
	_, err := s.exec(ctx, `DELETE FROM reaction WHERE id = $1`, id[:])
	return err
}

const eventColumns = `e.id, e.message, e.part, e.piece, e.pending, e.made`

func (s *Store) events(ctx context.Context, query string, args ...any) ([]router.Event, error) {
	var list []router.Event
	err := s.query(ctx, func(scan func(...any) error) error {
		var ev router.Event
		var message []byte
		var made int64
		err := scan(&ev.ID, &message, &ev.Part, &ev.Piece, &ev.Pending, &made)
		ev.Message, ev.Made = idOf(message), moment(made)
		list = append(list, ev)
		return err
	}, query, args...)
	return list, err
}

// NativeEvent implements router.Events.
func (s *Store) NativeEvent(ctx context.Context, p router.Place, id adapter.NativeID) (router.Event, bool, error) {
	list, err := s.events(ctx, `SELECT `+eventColumns+` FROM native_event e WHERE e.network = $1 AND e.conversation = $2 AND e.id = $3`,
		p.Network, string(p.Conversation), string(id))
	if err != nil || len(list) == 0 {
		return router.Event{}, false, err
	}
	return list[0], true, nil
}

// PutNativeEvent implements router.Events. What an event was first known as, it stays: an edit may be reported under the id of what it edits.
func (s *Store) PutNativeEvent(ctx context.Context, p router.Place, ev router.Event) error {
	_, err := s.exec(ctx, `INSERT INTO native_event (network, conversation, id, message, part, piece, pending, made) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (network, conversation, id) DO UPDATE SET message = excluded.message, part = excluded.part, piece = excluded.piece, pending = excluded.pending
		WHERE native_event.message IS NULL OR native_event.message = excluded.message`,
		p.Network, string(p.Conversation), string(ev.ID), idBytes(ev.Message), ev.Part, ev.Piece, truth(ev.Pending), millis(ev.Made))
	return err
}

// NativeEvents implements router.Events.
func (s *Store) NativeEvents(ctx context.Context, p router.Place, first content.MessageID) ([]router.Event, error) {
	return s.events(ctx, `SELECT `+eventColumns+` FROM native_event e JOIN message m ON m.id = e.message
		WHERE m.original = $3 AND e.network = $1 AND e.conversation = $2 ORDER BY m.accepted, m.made, e.part, e.piece, e.id`,
		p.Network, string(p.Conversation), first[:])
}

// MovePlace implements router.Events. What the other conversation has of its own already stays before what is moved to it.
func (s *Store) MovePlace(ctx context.Context, from, to router.Place) error {
	if from == to {
		return nil
	}
	return s.Do(ctx, func(ctx context.Context) error {
		for _, query := range []string{
			`UPDATE delivery SET seq = -seq WHERE network = $1 AND conversation = $2 AND $3 <> '' AND $4 <> ''`,
			`UPDATE delivery SET network = $3, conversation = $4,
				seq = -seq + COALESCE((SELECT MAX(o.seq) FROM delivery o WHERE o.network = $3 AND o.conversation = $4), 0)
				WHERE network = $1 AND conversation = $2`,
			`UPDATE binding SET network = $3, conversation = $4 WHERE network = $1 AND conversation = $2`,
			`UPDATE message SET network = $3, conversation = $4 WHERE network = $1 AND conversation = $2`,
			moveRows("native_event", "id, message, part, piece, pending, made"),
			moveRows("attendance", "address, removed"),
			moveRows("conversation", "title, topic, direct, asked, declined"),
		} {
			if _, err := s.exec(ctx, query, from.Network, string(from.Conversation), to.Network, string(to.Conversation)); err != nil {
				return err
			}
		}
		for _, table := range []string{"native_event", "attendance", "conversation"} {
			if _, err := s.exec(ctx, `DELETE FROM `+table+` WHERE network = $1 AND conversation = $2`, from.Network, string(from.Conversation)); err != nil {
				return err
			}
		}
		return nil
	})
}

// moveRows copies rows to another place, but for those that are there already.
func moveRows(table, columns string) string {
	key := "network, conversation"
	if first, _, _ := strings.Cut(columns, ","); table != "conversation" {
		key += ", " + first
	}
	return `INSERT INTO ` + table + ` (network, conversation, ` + columns + `) SELECT $3, $4, ` + columns + ` FROM ` + table +
		` WHERE network = $1 AND conversation = $2 ON CONFLICT (` + key + `) DO NOTHING`
}

const deliveryColumns = `network, conversation, seq, marker, account, room, author, message, task, state, attempt, due, done, reason, made`

func (s *Store) delivery(ctx context.Context, query string, args ...any) (router.Delivery, bool, error) {
	var d router.Delivery
	var room, author string
	var message, task, done []byte
	var due, made int64
	found, err := s.get(ctx, []any{&d.Network, &d.Conversation, &d.Seq, &d.Marker, &d.Account, &room, &author, &message, &task,
		&d.State, &d.Attempt, &due, &done, &d.Reason, &made}, query, args...)
	if err != nil || !found {
		return router.Delivery{}, false, err
	}
	d.Message, d.Due, d.Made = idOf(message), moment(due), moment(made)
	if err := d.Room.UnmarshalText([]byte(room)); err != nil {
		return router.Delivery{}, false, fmt.Errorf("store: delivery: %w", err)
	}
	if err := d.Author.UnmarshalText([]byte(author)); err != nil {
		return router.Delivery{}, false, fmt.Errorf("store: delivery: %w", err)
	}
	if done != nil {
		if err := json.Unmarshal(done, &d.Done); err != nil {
			return router.Delivery{}, false, fmt.Errorf("store: delivery: %w", err)
		}
	}
	if task != nil {
		plain, err := s.unseal(place("delivery", []byte(d.Marker)), task)
		if err != nil {
			return router.Delivery{}, false, err
		}
		d.Task = new(router.Task)
		if err := json.Unmarshal(plain, d.Task); err != nil {
			return router.Delivery{}, false, fmt.Errorf("store: delivery: %w", err)
		}
	}
	return d, true, nil
}

// Enqueue implements router.Deliveries.
func (s *Store) Enqueue(ctx context.Context, d router.Delivery) error {
	var task []byte
	if d.Task != nil {
		plain, err := json.Marshal(d.Task)
		if err != nil {
			return fmt.Errorf("store: delivery: %w", err)
		}
		task = s.seal(place("delivery", []byte(d.Marker)), plain)
	}
	_, err := s.exec(ctx, `INSERT INTO delivery (`+deliveryColumns+`)
		SELECT $1, $2, COALESCE(MAX(seq), 0) + 1, $3, $4, $5, $6, $7, $8, 0, 0, $9, NULL, '', $10 FROM delivery WHERE network = $1 AND conversation = $2
		ON CONFLICT (marker) DO NOTHING`,
		d.Network, string(d.Conversation), d.Marker, d.Account, d.Room.String(), d.Author.String(), bytes.Clone(d.Message[:]), task, millis(d.Due), millis(d.Made))
	return err
}

// NextDelivery implements router.Deliveries.
func (s *Store) NextDelivery(ctx context.Context, p router.Place) (router.Delivery, bool, error) {
	// Each state by itself, so that the index leads to its first: a range of states would read all that was ever sent.
	return s.delivery(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE network = $1 AND conversation = $2 AND seq = (SELECT MIN(first) FROM (
			SELECT MIN(seq) AS first FROM delivery WHERE state = $3 AND network = $1 AND conversation = $2
			UNION ALL SELECT MIN(seq) FROM delivery WHERE state = $4 AND network = $1 AND conversation = $2) AS heads)`,
		p.Network, string(p.Conversation), int64(router.Waiting), int64(router.Attempted))
}

// DeliveryByMarker implements router.Deliveries.
func (s *Store) DeliveryByMarker(ctx context.Context, marker string) (router.Delivery, bool, error) {
	return s.delivery(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE marker = $1`, marker)
}

// PutDelivery implements router.Deliveries.
func (s *Store) PutDelivery(ctx context.Context, d router.Delivery) error {
	var done []byte
	if len(d.Done) > 0 {
		var err error
		if done, err = json.Marshal(d.Done); err != nil {
			return fmt.Errorf("store: delivery: %w", err)
		}
	}
	return s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `UPDATE delivery SET state = $2, attempt = $3, due = $4, done = $5, reason = $6,
			task = CASE WHEN CAST($2 AS BIGINT) > $7 THEN NULL ELSE task END WHERE marker = $1`,
			d.Marker, int64(d.State), d.Attempt, millis(d.Due), done, d.Reason, int64(router.Attempted)); err != nil {
			return err
		}
		if d.State <= router.Attempted || d.Task != nil {
			return nil
		}
		_, err := s.exec(ctx, `DELETE FROM body WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = $1 AND (state <= $2 OR state = $3))`,
			bytes.Clone(d.Message[:]), int64(router.Attempted), int64(router.Failed))
		return err
	})
}

// PendingPlaces implements router.Deliveries.
func (s *Store) PendingPlaces(ctx context.Context) ([]router.Place, error) {
	var list []router.Place
	err := s.query(ctx, func(scan func(...any) error) error {
		var p router.Place
		err := scan(&p.Network, &p.Conversation)
		list = append(list, p)
		return err
	}, `SELECT DISTINCT network, conversation FROM delivery WHERE state <= $1`, int64(router.Attempted))
	return list, err
}

// CountDeliveries implements router.Deliveries.
func (s *Store) CountDeliveries(ctx context.Context) (map[router.Place]router.Counts, error) {
	all := make(map[router.Place]router.Counts)
	err := s.query(ctx, func(scan func(...any) error) error {
		var p router.Place
		var c router.Counts
		if err := scan(&p.Network, &p.Conversation, &c.Waiting, &c.Failed); err != nil {
			return err
		}
		all[p] = c
		return nil
	}, `SELECT network, conversation, SUM(CASE WHEN state <= $1 THEN 1 ELSE 0 END), SUM(CASE WHEN state = $2 THEN 1 ELSE 0 END)
		FROM delivery WHERE state <> $3 GROUP BY network, conversation`, int64(router.Attempted), int64(router.Failed), int64(router.Sent))
	return all, err
}
