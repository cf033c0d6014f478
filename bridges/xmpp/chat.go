package xmpp

import (
	"context"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// message takes a message that comes from no open room: of a chat of two, or an invitation.
func (a *Adapter) message(l *link, n *node) *node {
	from, to := n.attr("from"), n.attr("to")
	if from == "" || to == "" || a.isOurs(from) || !a.isOurs(to) {
		return nil
	}
	if n.attr("type") == "error" {
		a.settle(direct(bare(from), bare(to)), n.attr("id"), outcome{err: errorOf(n)})
		return nil
	}
	if n.attr("type") == "groupchat" || n.attr("type") == "headline" {
		return nil
	}
	if a.invited(l, n) {
		return nil
	}
	c := direct(bare(from), bare(to))
	who, err := a.personAt(bare(to))
	if err != nil {
		if n.child("", "body") == nil {
			return nil
		}
		return errorReply(n, "cancel", "item-not-found", "There is nobody of this name here.")
	}
	ev, _, ok := place{ref: given}.event(n)
	if !ok {
		return nil
	}
	ev.Conversation, ev.ID, ev.Time = c, given(originOf(n)), time.Now()
	if t := stamp(n.child(nsDelay, "delay").attr("stamp")); !t.IsZero() && t.Before(ev.Time) {
		ev.Time = t
	}
	if ev.ID == given("") {
		ev.ID = made(n, ev.Time)
	}
	ev.Sender = personOf(bare(from))
	if receipt, is := ev.Body.(adapter.Receipt); is {
		a.mu.Lock()
		for _, id := range receipt.IDs {
			a.got.put(string(c)+" "+string(id), "")
		}
		a.mu.Unlock()
	}
	if !a.reportChat(l, c, who, ev, n) {
		return errorReply(n, "wait", "resource-constraint", "Too much waits to be delivered. Please try again later.")
	}
	return nil
}

// reportChat reports an event of a chat of two, after what kind of conversation that is. The sender gets a receipt (XEP-0184) once
// the event was taken: from then on the message is not lost.
func (a *Adapter) reportChat(l *link, c adapter.Conversation, who uri.User, ev adapter.Event, n *node) bool {
	ln := a.lane(c)
	a.mu.Lock()
	known := a.chats[c]
	a.chats[c] = true
	a.mu.Unlock()
	if !known {
		yes, no := true, false
		ln.push(l, func(ctx context.Context, l *link) error {
			state := adapter.Event{Conversation: c, Sender: ev.Sender, Body: adapter.ConversationState{Direct: &yes, Encrypted: &no}}
			if err := l.receive(ctx, state); err != nil || who.IsZero() {
				return err
			}
			return l.receive(ctx, adapter.Event{Conversation: c, Own: true, Body: adapter.Membership{Change: adapter.Joined,
				Person: adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(bare(n.attr("to")))}, Verified: true, User: who}}})
		})
	}
	receipt := (*node)(nil)
	if n.child(nsReceipts, "request") != nil && n.attr("id") != "" {
		receipt = el("", "message", el(nsReceipts, "received").with("id", n.attr("id")), el(nsHints, "store")).
			with("type", "chat").with("id", "receipt-"+n.attr("id")).with("from", n.attr("to")).with("to", n.attr("from"))
	}
	return ln.push(l, func(ctx context.Context, l *link) error {
		if err := l.receive(ctx, ev); err != nil {
			return err
		}
		if receipt != nil {
			l.s.post(receipt)
		}
		return nil
	})
}

// personAt returns whom of our people an address of ours belongs to; zero: the gateway itself.
func (a *Adapter) personAt(j string) (uri.User, error) {
	local, _, found := strings.Cut(j, "@")
	if !a.component || !found || local == gatewayLocal {
		return uri.User{}, nil
	}
	return userOf(local, a.account.Provider)
}

// personOf is somebody whose address we know.
func personOf(j string) adapter.Person {
	name, _, _ := strings.Cut(j, "@")
	return adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(j)}, Name: name, Verified: true}
}

// addressOf returns the full JID that we show somebody by.
func (a *Adapter) addressOf(u uri.User) string {
	if u.IsZero() {
		return a.self + "/" + resource
	}
	return localOf(u, a.account.Provider) + "@" + a.domain + "/" + resource
}

// invited reports an invitation to a room, direct (XEP-0249) or through the room (XEP-0045 §7.8).
func (a *Adapter) invited(l *link, n *node) bool {
	room, by := "", n.attr("from")
	if x := n.child(nsConference, "x"); x != nil {
		room = bare(x.attr("jid"))
	}
	if invite := n.child(nsMUCUser, "x").child("", "invite"); invite != nil {
		room, by = bare(n.attr("from")), invite.attr("from")
	}
	j, err := addrOf(room)
	if room == "" || err != nil || by == "" {
		return false
	}
	room = j.Bare().String()
	id := given(originOf(n))
	if id == given("") {
		id = made(n, time.Now())
	}
	c := adapter.Conversation(room)
	ev := adapter.Event{Conversation: c, ID: id, Sender: personOf(bare(by)), Time: time.Now(), Body: adapter.Invitation{Name: room}}
	a.lane(c).push(l, func(ctx context.Context, l *link) error { return l.receive(ctx, ev) })
	return true
}
