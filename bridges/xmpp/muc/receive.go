package muc

import (
	"context"
	"strings"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Message takes a message from the room or one of its occupants.
func (r *Room) Message(l *link.Link, n *wire.Node) *wire.Node {
	if result := n.Child(wire.NSMAM, "result"); result != nil && n.Attr("from") == r.jid {
		r.result(n, result)
		return nil
	}
	switch n.Attr("type") {
	case "error":
		r.failed(n)
	case "groupchat":
		if n.Attr("to") == l.Stream.Me {
			r.groupchat(l, n)
		}
	default:
		if n.Attr("from") == r.jid {
			if item := n.Child(wire.NSMUCUser, "x").Child("", "item"); item != nil {
				r.mu.Lock()
				r.affiliation(l, item)
				r.mu.Unlock()
			}
			return nil
		}
		if n.Child("", "body") != nil { // a private message (XEP-0045 §7.5); service-unavailable would have the room throw us out
			return wire.ErrorReply(n, "cancel", "not-allowed", "Private messages do not pass this gateway. Write to the room, or to the person's own address.")
		}
	}
	return nil
}

// failed takes what the server or the room says of a message that it did not take.
func (r *Room) failed(n *wire.Node) {
	err := wire.ErrorOf(n)
	if err.Cond == "not-acceptable" { // we are not in the room (any more)
		r.mu.Lock()
		if o := r.occupantOf(n.Attr("to")); o != nil {
			o.in = o == r.me && o.in
		}
		r.mu.Unlock()
	}
	r.a.Waits.Settle(r.conv, n.Attr("id"), link.Outcome{Err: err})
}

// groupchat takes what was said in the room.
func (r *Room) groupchat(l *link.Link, n *wire.Node) {
	nick := wire.Resource(n.Attr("from"))
	subject := n.Child("", "subject")
	r.mu.Lock()
	r.touched = time.Now()
	if !r.settled {
		if subject != nil && n.Child("", "body") == nil {
			r.settled = true
		} else if n.Child(wire.NSDelay, "delay") != nil { // history, which we did not ask for
			r.mu.Unlock()
			return
		} else {
			r.settled = true
		}
	}
	if subject != nil && n.Child("", "body") == nil && n.Child("", "thread") == nil {
		r.subject(l, nick, subject.Chars())
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if nick == "" && codes(n.Child(wire.NSMUCUser, "x"))["104"] { // its configuration changed
		l.Start(func() { r.reconfigured(l) })
		return
	}
	id := r.stampOn(n)
	item, ok := r.convert(n, id, time.Now())
	if !ok {
		if id == "" {
			return
		}
		item = func(context.Context, *link.Link) error { r.taken(id, time.Now()); return nil }
	}
	if !r.lane.Push(l, item) {
		// Nothing more of this connection is taken before the archive has been read again.
		r.a.Log.Warn("too much waits in a room: reconnecting to read its archive later", "room", r.jid)
		l.Stream.Close()
	}
}

// subject reports a change of the topic; r.mu is held.
func (r *Room) subject(l *link.Link, nick, topic string) {
	topic = strings.ToValidUTF8(topic, "\uFFFD")
	if r.topic != nil && *r.topic == topic {
		return
	}
	r.topic = &topic
	ev := adapter.Event{Body: adapter.ConversationState{Topic: &topic}}
	if p := r.people[nick]; p != nil {
		ev.Sender, ev.Own = p.person(r.jid), p.ours
	}
	r.push(l, ev)
}

func (r *Room) reconfigured(l *link.Link) {
	if r.discover(l.Ctx, l) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := r.name
	r.push(l, adapter.Event{Body: adapter.ConversationState{Name: &name}})
}

// stampOn returns the stanza-id that this room, and nobody else, gave a message (XEP-0359 §5).
func (r *Room) stampOn(n *wire.Node) string {
	for _, id := range n.Children(wire.NSStanzaID, "stanza-id") {
		if id.Attr("by") == r.jid {
			return id.Attr("id")
		}
	}
	return ""
}

// convert makes of a message in the room, live or from the archive, what is to be done in its lane; false: nothing.
func (r *Room) convert(n *wire.Node, sid string, t time.Time) (func(ctx context.Context, l *link.Link) error, bool) {
	id := talk.Given(talk.OriginOf(n))
	if sid != "" {
		id = talk.Stamped(sid)
	}
	nick := wire.Resource(n.Attr("from"))
	if own, _ := r.a.IsOwnID(r.conv, talk.OriginOf(n)); own && nick != "" {
		r.mu.Lock()
		r.echoes.Put(talk.OriginOf(n), string(id))
		r.echoes.Put(string(id), talk.OriginOf(n))
		r.mu.Unlock()
		r.a.Waits.Settle(r.conv, talk.OriginOf(n), link.Outcome{ID: id, Time: t})
		return nil, false
	}
	who, ours := r.sender(n, nick)
	if sid != "" {
		r.mu.Lock()
		r.stanzas.Put(who.key()+" "+n.Attr("id"), sid)
		r.mu.Unlock()
	}
	if nick == "" && n.Child("", "body") != nil {
		return nil, false // the room itself speaks of its own affairs
	}
	ev, corrects, ok := talk.Place{Ref: r.ref, Nicks: r.mentionable}.Event(n)
	if !ok {
		return nil, false
	}
	ev.Conversation, ev.ID, ev.Time, ev.Own = r.conv, id, t, ours
	if ev.ID == talk.Given("") {
		ev.ID = talk.Made(n, t)
	}
	if ev.Sender.IDs == nil && who != nil {
		ev.Sender = who.person(r.jid)
	}
	return func(ctx context.Context, l *link.Link) error {
		r.mu.Lock()
		_, known := r.reported.Get(sid)
		r.mu.Unlock()
		if known && sid != "" {
			return nil
		}
		ev := ev
		if corrects != "" {
			ev.Body = r.correction(ctx, l, ev.Body.(adapter.Message), who, corrects, sid)
		}
		if err := l.Receive(ctx, ev); err != nil {
			return err
		}
		if sid != "" {
			r.taken(sid, t)
		}
		return nil
	}, true
}

// sender returns who wrote a message in the room, and whether that was one of our names.
func (r *Room) sender(n *wire.Node, nick string) (*person, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if nick == "" { // the room; of a moderation the moderator
		if by := talk.Moderation(n).Attr("by"); by != "" {
			nick = wire.Resource(by)
		}
	}
	p := &person{nick: nick, occupant: n.Child(wire.NSOccupantID, "occupant-id").Attr("id"), since: "?"}
	if j := n.Child(wire.NSMUCUser, "x").Child("", "item").Attr("jid"); j != "" {
		p.jid = wire.Bare(j)
	}
	if here := r.people[nick]; here != nil && (p.occupant == "" || p.occupant == here.occupant) {
		copied := *here
		if copied.jid == "" {
			copied.jid = p.jid
		}
		return &copied, here.ours
	}
	return p, false
}

// correction finds what an edit replaces: XEP-0308 names it by the id that its sender gave it, and only the sender may.
func (r *Room) correction(ctx context.Context, l *link.Link, m adapter.Message, who *person, id, sid string) adapter.Message {
	m.Replaces = talk.Given(id)
	r.mu.Lock()
	if !r.stamps {
		r.mu.Unlock()
		return m
	}
	first, ok := r.stanzas.Get(who.key() + " " + id)
	r.mu.Unlock()
	if !ok {
		found, known, err := r.find(ctx, l, func(a archived) bool {
			if a.id == sid || a.stanza.Attr("id") != id {
				return false
			}
			author, _ := r.sender(a.stanza, wire.Resource(a.stanza.Attr("from")))
			return author.key() == who.key()
		})
		if err != nil {
			r.a.Log.Warn("what a correction replaces was not found", "room", r.jid, "err", err)
		}
		first, ok = found.id, known
	}
	if !ok { // nobody knows the first version: the new one is what there is
		m.Replaces = ""
		return m
	}
	m.Replaces = talk.Stamped(first)
	return m
}

// ref implements place.ref: clients refer to what is said in a room by its stanza-id.
func (r *Room) ref(id string) adapter.NativeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stamps {
		return talk.Stamped(id)
	}
	return talk.Given(id)
}
