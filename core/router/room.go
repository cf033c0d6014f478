package router

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router/phrase"
	"mimigate/core/uri"
)

// The methods of this file are package member's Sink: what each room's inbox brings, in the hub's order. Each runs in the unit (T4)
// that takes it off the inbox, and queues what the bound conversations are to be shown.

// Message queues a message for every bound conversation but the one that it was said in.
func (r *Router) Message(ctx context.Context, room uri.Room, from uri.User, id content.MessageID, accepted time.Time, m *content.Message) error {
	row, known, err := r.Store.Message(ctx, id)
	if err != nil || known && !row.Accepted.IsZero() {
		return err
	}
	if !known {
		if row, err = r.row(ctx, room, from, id, m); err != nil {
			return err
		}
		// One of ours that comes back before Members.Send has returned its id.
		if o, ok := ctx.Value(originKey{}).(*origin); ok && o.room == room && o.salt == m.Salt {
			row.Place, row.Origin = o.place, o.origin
		}
	}
	row.Accepted = accepted
	if err := r.Store.PutMessage(ctx, row); err != nil {
		return err
	}
	if !known {
		if err := r.noteReactions(ctx, row, m); err != nil {
			return err
		}
	}
	return r.enqueueMessage(ctx, row, m)
}

func (r *Router) enqueueMessage(ctx context.Context, row Message, m *content.Message) error {
	bindings, err := r.Store.Bindings(ctx, row.Room)
	if err != nil {
		return err
	}
	kept := false
	for _, b := range bindings {
		if b.Direction == In || b.Place == row.Place {
			continue
		}
		if !kept {
			encoded, err := content.Marshal(m)
			if err != nil {
				return err
			}
			if err := r.Store.PutBody(ctx, row.ID, encoded); err != nil {
				return err
			}
			kept = true
		}
		d := Delivery{Place: b.Place, Marker: markerKey(r.Provider, row.ID, b.Place), Account: b.Account, Room: row.Room, Author: row.Sender, Message: row.ID}
		if err := r.enqueue(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// markerKey names a delivery: always the same for one message and conversation, so that a repetition is recognised even by a
// gateway that was restored from a backup.
func markerKey(p uri.Provider, id content.MessageID, to Place) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.String(), id.String(), to.Network, string(to.Conversation)}, "\x00")))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20]))
}

// enqueue adds a delivery, and wakes who makes it once it is committed.
func (r *Router) enqueue(ctx context.Context, d Delivery) error {
	d.Made, d.Due = r.Now(), r.Now()
	if err := r.Store.Enqueue(ctx, d); err != nil {
		return err
	}
	r.Store.OnCommit(ctx, func() { r.wake(d.Place) })
	return nil
}

// enqueueTask queues what is no message.
func (r *Router) enqueueTask(ctx context.Context, b Binding, who uri.User, t Task) error {
	return r.enqueue(ctx, Delivery{Place: b.Place, Marker: newID(), Account: b.Account, Room: b.Room, Author: who, Task: &t})
}

// notice queues a word of the gateway itself.
func (r *Router) notice(ctx context.Context, to Place, account string, room uri.Room, m *content.Message) error {
	return r.Store.Do(ctx, func(ctx context.Context) error {
		rand.Read(m.Salt[:])
		encoded, err := content.Marshal(m)
		if err != nil {
			return err
		}
		id, err := content.ComputeID("", "", encoded)
		if err != nil {
			return err
		}
		if err := r.Store.PutBody(ctx, id, encoded); err != nil {
			return err
		}
		return r.enqueue(ctx, Delivery{Place: to, Marker: markerKey(r.Provider, id, to), Account: account, Room: room, Message: id})
	})
}

// Participant shows who joined the room or left it, and removes a native person who was removed from the room.
func (r *Router) Participant(ctx context.Context, room uri.Room, user, by uri.User, before, after uint32, _ time.Time) error {
	was, is := before > roleBanned, after > roleBanned
	if was == is || isGateway(user) {
		return nil
	}
	attended, err := r.Store.Attended(ctx, room, user)
	if err != nil {
		return err
	}
	here := make(map[Place]bool)
	for _, b := range attended {
		here[b.Place] = true
		if is {
			err = r.Store.SetAttendance(ctx, b.Place, user, Present)
		} else {
			err = r.expel(ctx, b, user, by, after)
		}
		if err != nil {
			return err
		}
	}
	change := adapter.Joined
	switch {
	case is && !r.rules(room).ShowJoins:
		return nil
	case is:
	case after == roleBanned:
		change = adapter.Banned
	case by == user || by.IsZero() || isGateway(by):
		change = adapter.Left
	default:
		change = adapter.Kicked
	}
	bindings, err := r.Store.Bindings(ctx, room)
	if err != nil {
		return err
	}
	for _, b := range bindings {
		if here[b.Place] || b.Direction == In {
			continue
		}
		if err := r.enqueueTask(ctx, b, user, Task{Member: &MemberTask{Change: change, By: by}}); err != nil {
			return err
		}
	}
	return nil
}

// isGateway reports whether it is the participant by which a gateway, ours or another, looks after its people: no network sees it
// (design §7).
func isGateway(user uri.User) bool {
	gateway, err := user.Provider().User("gateway")
	return err == nil && user == gateway
}

// expel removes somebody who was removed from the room from the native conversation too.
func (r *Router) expel(ctx context.Context, b Binding, user, by uri.User, after uint32) error {
	if err := r.Store.SetAttendance(ctx, b.Place, user, Removed); err != nil {
		return err
	}
	change := adapter.Kicked
	if after == roleBanned {
		change = adapter.Banned
	}
	return r.enqueueTask(ctx, b, user, Task{Member: &MemberTask{Change: change, By: by, Native: true}})
}

// Described gives the bound conversations the name that somebody elsewhere gave the room. What our own conversations are called was shown
// when it was heard.
func (r *Router) Described(ctx context.Context, room uri.Room, by uri.User, name, _ string, _ time.Time) error {
	if name == "" || by.IsZero() || by.Domain() == r.Provider.Domain() {
		return nil
	}
	return r.showTitle(ctx, room, Place{}, name)
}

// Refused tells the sender that their message will not appear.
func (r *Router) Refused(ctx context.Context, room uri.Room, from uri.User, id content.MessageID, reason string) error {
	row, known, err := r.Store.Message(ctx, id)
	if err != nil {
		return err
	}
	if !known {
		o, ok := ctx.Value(originKey{}).(*origin)
		if !ok || o.room != room {
			return nil
		}
		o.refused = reason
		row.Place = o.place
	} else {
		row.Kind = Rejected
		if err := r.Store.PutMessage(ctx, row); err != nil {
			return err
		}
		if err := r.Store.DeleteReaction(ctx, row.ID); err != nil {
			return err
		}
	}
	return r.tellSender(ctx, row.Place, room, from, phrase.Refused, reason)
}

// Gap says in each conversation of a room, in one line, that something is missing.
func (r *Router) Gap(ctx context.Context, room uri.Room, _ time.Time) error {
	bindings, err := r.Store.Bindings(ctx, room)
	if err != nil {
		return err
	}
	for _, b := range bindings {
		if b.Direction != In {
			err = errors.Join(err, r.notice(ctx, b.Place, b.Account, uri.Room{}, content.Text(r.say(phrase.Gap))))
		}
	}
	return err
}

// tellSender says in the conversation that a message came from what became of it; the name comes first among the words.
func (r *Router) tellSender(ctx context.Context, at Place, room uri.Room, from uri.User, p phrase.Phrase, words ...any) error {
	b, ok, err := r.Store.BindingOf(ctx, at)
	if err != nil || !ok {
		return err
	}
	name, err := r.convert.NameOf(ctx, room, from)
	if err != nil {
		return err
	}
	return r.notice(ctx, at, b.Account, uri.Room{}, content.Text(r.say(p, append([]any{name}, words...)...)))
}

// Unchanged tells those concerned that a change was refused for good.
func (r *Router) Unchanged(ctx context.Context, room uri.Room, user uri.User, reason string) error {
	r.Log.WarnContext(ctx, "the hub refused a change", "room", room.String(), "reason", reason)
	if user.IsZero() {
		return nil
	}
	attended, err := r.Store.Attended(ctx, room, user)
	if err != nil {
		return err
	}
	if len(attended) == 0 { // somebody elsewhere, whom an admin has invited
		return r.tellAdmins(ctx, r.say(phrase.Unchanged, user.String(), reason))
	}
	for _, b := range attended {
		if err := r.tellSender(ctx, b.Place, room, user, phrase.Unchanged, reason); err != nil {
			return err
		}
	}
	return nil
}
