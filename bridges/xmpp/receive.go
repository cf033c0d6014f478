package xmpp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/url"
	"path"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// message takes a message from the room or one of its occupants.
func (r *room) message(l *link, n *node) *node {
	if result := n.child(nsMAM, "result"); result != nil && n.attr("from") == r.jid {
		r.result(n, result)
		return nil
	}
	switch n.attr("type") {
	case "error":
		r.failed(n)
	case "groupchat":
		if n.attr("to") == l.s.me {
			r.groupchat(l, n)
		}
	default:
		if n.attr("from") == r.jid {
			if item := n.child(nsMUCUser, "x").child("", "item"); item != nil {
				r.mu.Lock()
				r.affiliation(l, item)
				r.mu.Unlock()
			}
			return nil
		}
		if n.child("", "body") != nil { // a private message (XEP-0045 §7.5); service-unavailable would have the room throw us out
			return errorReply(n, "cancel", "not-allowed", "Private messages do not pass this gateway. Write to the room, or to the person's own address.")
		}
	}
	return nil
}

// failed takes what the server or the room says of a message that it did not take.
func (r *room) failed(n *node) {
	err := errorOf(n)
	if err.cond == "not-acceptable" { // we are not in the room (any more)
		r.mu.Lock()
		if o := r.occupantOf(n.attr("to")); o != nil {
			o.in = o == r.me && o.in
		}
		r.mu.Unlock()
	}
	r.a.settle(r.conv, n.attr("id"), outcome{err: err})
}

// groupchat takes what was said in the room.
func (r *room) groupchat(l *link, n *node) {
	nick := nickOf(n.attr("from"))
	subject := n.child("", "subject")
	r.mu.Lock()
	r.touched = time.Now()
	if !r.settled {
		if subject != nil && n.child("", "body") == nil {
			r.settled = true
		} else if n.child(nsDelay, "delay") != nil { // history, which we did not ask for
			r.mu.Unlock()
			return
		}
	}
	if subject != nil && n.child("", "body") == nil && n.child("", "thread") == nil {
		r.subject(l, nick, subject.chars())
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if nick == "" && codes(n.child(nsMUCUser, "x"))["104"] { // its configuration changed
		l.start(func() { r.reconfigured(l) })
		return
	}
	id := r.stampOn(n)
	item, ok := r.convert(n, id, time.Now())
	if !ok {
		if id == "" {
			return
		}
		item = func(context.Context, *link) error { r.taken(id, time.Now()); return nil }
	}
	if !r.lane.push(l, item) {
		// Nothing more of this connection is taken before the archive has been read again.
		r.a.account.Log.Warn("too much waits in a room: reconnecting to read its archive later", "room", r.jid)
		l.s.close()
	}
}

// subject reports a change of the topic; r.mu is held.
func (r *room) subject(l *link, nick, topic string) {
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

func (r *room) reconfigured(l *link) {
	if r.discover(l.ctx, l) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := r.name
	r.push(l, adapter.Event{Body: adapter.ConversationState{Name: &name}})
}

// stampOn returns the stanza-id that this room, and nobody else, gave a message (XEP-0359 §5).
func (r *room) stampOn(n *node) string {
	for _, id := range n.children(nsStanzaID, "stanza-id") {
		if id.attr("by") == r.jid {
			return id.attr("id")
		}
	}
	return ""
}

// originOf returns the id that a message's sender gave it.
func originOf(n *node) string {
	if id := n.child(nsStanzaID, "origin-id").attr("id"); id != "" {
		return id
	}
	return n.attr("id")
}

// convert makes of a message in the room, live or from the archive, what is to be done in its lane; false: nothing.
func (r *room) convert(n *node, sid string, t time.Time) (func(ctx context.Context, l *link) error, bool) {
	id := given(originOf(n))
	if sid != "" {
		id = stamped(sid)
	}
	nick := nickOf(n.attr("from"))
	if own, _ := r.a.isOwnID(r.conv, originOf(n)); own && nick != "" {
		r.mu.Lock()
		r.echoes.put(originOf(n), string(id))
		r.echoes.put(string(id), originOf(n))
		r.mu.Unlock()
		r.a.settle(r.conv, originOf(n), outcome{id: id, time: t})
		return nil, false
	}
	who, ours := r.sender(n, nick)
	if sid != "" {
		r.mu.Lock()
		r.stanzas.put(who.key()+" "+n.attr("id"), sid)
		r.mu.Unlock()
	}
	if nick == "" && n.child("", "body") != nil {
		return nil, false // the room itself speaks of its own affairs
	}
	ev, corrects, ok := place{r.ref, r.mentionable}.event(n)
	if !ok {
		return nil, false
	}
	ev.Conversation, ev.ID, ev.Time, ev.Own = r.conv, id, t, ours
	if ev.ID == given("") {
		ev.ID = made(n, t)
	}
	if ev.Sender.IDs == nil && who != nil {
		ev.Sender = who.person(r.jid)
	}
	return func(ctx context.Context, l *link) error {
		r.mu.Lock()
		_, known := r.reported.get(sid)
		r.mu.Unlock()
		if known && sid != "" {
			return nil
		}
		ev := ev
		if corrects != "" {
			ev.Body = r.correction(ctx, l, ev.Body.(adapter.Message), who, corrects, sid)
		}
		if err := l.receive(ctx, ev); err != nil {
			return err
		}
		if sid != "" {
			r.taken(sid, t)
		}
		return nil
	}, true
}

// sender returns who wrote a message in the room, and whether that was one of our names.
func (r *room) sender(n *node, nick string) (*person, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if nick == "" { // the room; of a moderation the moderator
		if by := moderation(n).attr("by"); by != "" {
			nick = nickOf(by)
		}
	}
	p := &person{nick: nick, occupant: n.child(nsOccupantID, "occupant-id").attr("id"), since: "?"}
	if j := n.child(nsMUCUser, "x").child("", "item").attr("jid"); j != "" {
		p.jid = bare(j)
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

// made makes an id for a message that has none, of what it is.
func made(n *node, t time.Time) adapter.NativeID {
	h := sha256.Sum256([]byte(n.attr("from") + "\x00" + n.child("", "body").chars() + "\x00" + t.Format(time.RFC3339Nano)))
	return given("made:" + hex.EncodeToString(h[:16]))
}

// correction finds what an edit replaces: XEP-0308 names it by the id that its sender gave it, and only the sender may.
func (r *room) correction(ctx context.Context, l *link, m adapter.Message, who *person, id, sid string) adapter.Message {
	m.Replaces = given(id)
	r.mu.Lock()
	if !r.stamps {
		r.mu.Unlock()
		return m
	}
	first, ok := r.stanzas.get(who.key() + " " + id)
	r.mu.Unlock()
	if !ok {
		found, known, err := r.find(ctx, l, func(a archived) bool {
			if a.id == sid || a.stanza.attr("id") != id {
				return false
			}
			author, _ := r.sender(a.stanza, nickOf(a.stanza.attr("from")))
			return author.key() == who.key()
		})
		if err != nil {
			r.a.account.Log.Warn("what a correction replaces was not found", "room", r.jid, "err", err)
		}
		first, ok = found.id, known
	}
	if !ok { // nobody knows the first version: the new one is what there is
		m.Replaces = ""
		return m
	}
	m.Replaces = stamped(first)
	return m
}

// ref implements place.ref: clients refer to what is said in a room by its stanza-id.
func (r *room) ref(id string) adapter.NativeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stamps {
		return stamped(id)
	}
	return given(id)
}

// event converts a message of any kind. corrects is what an edit replaces, as its sender named it.
func (p place) event(n *node) (ev adapter.Event, corrects string, ok bool) {
	if m := n.child(nsMarker, "marker"); m != nil {
		ev.Marker, _ = adapter.ParseMarker(m.text) // a marker that is none is no marker
	}
	if id := retracted(n); id != "" {
		ev.Body = adapter.Message{Content: content.Delete(content.MessageID{}), Replaces: p.ref(id)}
		return ev, "", true
	}
	if set := n.child(nsReactions, "reactions"); set != nil && set.attr("id") != "" {
		ev.Body = adapter.Reactions{To: p.ref(set.attr("id")), Emoji: emoji(set)}
		return ev, "", true
	}
	if body := receiptOf(n, p.ref); body != nil {
		ev.Body = body
		return ev, "", true
	}
	m, ok := p.said(n)
	if !ok {
		state := typingOf(n)
		ev.Body = state
		return ev, "", state != nil
	}
	msg := adapter.Message{Content: m}
	if reply := n.child(nsReply, "reply").attr("id"); reply != "" {
		msg.InReplyTo = p.ref(reply)
	}
	if id := n.child(nsCorrect, "replace").attr("id"); id != "" {
		msg.InReplyTo = "" // what an edit answers is what its first version answers
		corrects = id
		msg.Replaces = given(id)
	}
	ev.Body = msg
	return ev, corrects, true
}

// maxReactions bounds the emoji of a reaction, and each of them.
const (
	maxReactions  = 32
	maxEmojiBytes = 128
)

func emoji(set *node) []string {
	out := []string{}
	for _, k := range set.children("", "reaction") {
		if e := strings.TrimSpace(strings.ToValidUTF8(k.text, "")); e != "" && len(e) <= maxEmojiBytes && len(out) < maxReactions {
			out = append(out, e)
		}
	}
	return out
}

// moderation returns the element that says that a moderator retracted a message, in either version of XEP-0425; or nil.
func moderation(n *node) *node {
	if m := n.child(nsRetract, "retract").child(nsModerate, "moderated"); m != nil {
		return m
	}
	return n.child(nsFasten, "apply-to").child(nsModerate0, "moderated")
}

// retracted returns the id of the message that a stanza takes back, in either version of XEP-0424 and XEP-0425. A room's word is
// needed where a moderator does.
func retracted(n *node) string {
	apply := n.child(nsFasten, "apply-to")
	if moderation(n) != nil && nickOf(n.attr("from")) != "" {
		return ""
	}
	if id := n.child(nsRetract, "retract").attr("id"); id != "" {
		return id
	}
	if apply.child(nsRetract0, "retract") != nil || apply.child(nsModerate0, "moderated").child(nsRetract0, "retract") != nil {
		return apply.attr("id")
	}
	return ""
}

// receiptOf converts receipts (XEP-0184) and markers (XEP-0333); nil: it is none.
func receiptOf(n *node, ref func(string) adapter.NativeID) adapter.Body {
	if id := n.child(nsReceipts, "received").attr("id"); id != "" {
		return adapter.Receipt{IDs: []adapter.NativeID{ref(id)}, Status: adapter.Delivered}
	}
	for _, kind := range []string{"displayed", "acknowledged"} {
		if id := n.child(nsMarkers, kind).attr("id"); id != "" {
			return adapter.Receipt{IDs: []adapter.NativeID{ref(id)}, UpTo: true, Status: adapter.Read}
		}
	}
	return nil
}

// typingOf converts a chat state (XEP-0085); nil: it is none.
func typingOf(n *node) adapter.Body {
	state := n.child(nsStates, "")
	if state == nil {
		return nil
	}
	return adapter.Typing{Active: state.name.Local == "composing"}
}

// said converts what a message says; false: nothing.
func (p place) said(n *node) (*content.Message, bool) {
	if e := n.child(nsEncryption, "encryption"); e != nil {
		name := e.attr("name")
		if name == "" {
			name = "unknown"
		}
		return content.Text("[a message encrypted with " + strings.ToValidUTF8(name, "") + ", which this gateway cannot read]"), true
	}
	body, ok := bodyOf(n)
	file, link := attached(n)
	switch {
	case link != "" && (!ok || strings.TrimSpace(body) == link || strings.TrimSpace(body) == ""):
		return content.Of(file), true
	case link != "":
		return content.Of(content.Captioned(file, p.textPart(n, body))), true
	case !ok || body == "":
		return nil, false
	}
	return content.Of(p.textPart(n, body)), true
}

// attached converts a file's address (XEP-0066).
func attached(n *node) (content.Part, string) {
	x := n.child(nsOOB, "x")
	link := strings.TrimSpace(x.child("", "url").chars())
	u, err := url.Parse(link)
	if link == "" || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(link) > 4096 {
		return content.Part{}, ""
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		name = ""
	}
	kind, _, _ := strings.Cut(mime.TypeByExtension(strings.ToLower(path.Ext(name))), ";")
	if kind == "" {
		kind = "application/octet-stream"
	}
	return content.FilePart(content.External{ContentType: kind, URL: u.String(), Filename: strings.ToValidUTF8(name, ""),
		Description: strings.ToValidUTF8(x.child("", "desc").chars(), "")}, content.Media{}), u.String()
}

// bodyOf returns the text of a message without what stands there only for clients that do not know what we do (XEP-0428).
func bodyOf(n *node) (string, bool) {
	body := n.child("", "body")
	if body == nil {
		return "", false
	}
	text := strings.ToValidUTF8(body.text, "\uFFFD")
	cut := map[int]bool{} // runes to leave out
	length := len([]rune(text))
	for _, f := range append(n.children(nsFallback, "fallback"), n.children(nsFallback0, "fallback")...) {
		switch f.attr("for") {
		case nsReply, nsReactions, nsRetract, nsOOB:
		default:
			continue
		}
		part := f.child("", "body")
		from, to := 0, length
		if part != nil && part.attr("start") != "" {
			from, to = number(part.attr("start")), number(part.attr("end"))
		} else if f.attr("for") == nsReply {
			continue // a reply's words are never all of them fallback
		}
		if from < 0 || to > length || from > to {
			continue
		}
		for i := from; i < to; i++ {
			cut[i] = true
		}
	}
	if len(cut) == 0 {
		return text, true
	}
	var b strings.Builder
	i := 0
	for _, c := range text {
		if !cut[i] {
			b.WriteRune(c)
		}
		i++
	}
	return b.String(), true
}
