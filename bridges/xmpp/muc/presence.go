package muc

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Presence takes a presence of the room: what goes to the gateway's own name tells of everybody, what goes to our other names
// of themselves only.
func (r *Room) Presence(l *link.Link, n *wire.Node) {
	to, nick := n.Attr("to"), wire.Resource(n.Attr("from"))
	x := n.Child(wire.NSMUCUser, "x")
	status := codes(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.occupantOf(to)
	if n.Attr("type") == "error" {
		if o != nil && o.answer != nil {
			o.reply(wire.ErrorOf(n))
		}
		return
	}
	if x == nil || o == nil || nick == "" {
		return
	}
	available := n.Attr("type") == ""
	if o == r.me {
		if available {
			r.seen(l, nick, n, x)
		} else {
			r.unseen(l, nick, x, status)
		}
	}
	switch {
	case status["110"] && available:
		r.here(l, o, nick, x)
	case status["110"] && !status["303"]:
		r.away(l, o, x, status)
	}
}

// reply answers whoever waits for the occupant to join.
func (o *occupant) reply(err error) {
	select {
	case o.answer <- err:
	default:
	}
}

// here: one of our names is in the room, perhaps under another nick than we asked for; r.mu is held.
func (r *Room) here(l *link.Link, o *occupant, nick string, x *wire.Node) {
	first, before := !o.in, o.role
	o.in, o.nick, o.role = true, nick, x.Child("", "item").Attr("role")
	if o.answer != nil {
		o.reply(nil)
	}
	if p := r.people[nick]; p != nil {
		p.user, p.ours = o.user, true
	}
	if o != r.me {
		return
	}
	r.touched = time.Now()
	if first {
		r.gone, r.removed = nil, false
		r.opened(l)
	}
	if first || before != o.role {
		var p Problem
		if o.role == "visitor" {
			p = Problem{fmt.Sprintf("account %s: room %s: %v", r.a.ID, r.jid, errNoVoice), advice(errNoVoice)}
		} else if !r.mam {
			p = Problem{fmt.Sprintf("account %s: room %s keeps no archive (XEP-0313): what is said there while we are away is lost", r.a.ID, r.jid),
				"turn the room's archive on"}
		}
		l.Start(func() { r.a.Report(l, r.jid, p) })
	}
}

// opened reports the room as we find it, and what we missed; r.mu is held. Whatever is said from now on comes after that.
func (r *Room) opened(l *link.Link) {
	close(r.joined)
	no := false
	name, topic := r.name, r.topic
	r.push(l, adapter.Event{Body: adapter.ConversationState{Name: &name, Topic: topic, Direct: &no, Encrypted: &no}})
	for _, p := range r.people {
		if p.member() && !p.ours {
			r.push(l, adapter.Event{Sender: p.person(r.jid), Body: adapter.Membership{Change: adapter.Joined, Person: p.person(r.jid)}})
		}
	}
	if r.mam {
		r.lane.Push(l, r.catchUp)
	}
}

// away: one of our names is no longer in the room, though it did not leave; r.mu is held.
func (r *Room) away(l *link.Link, o *occupant, x *wire.Node, status map[string]bool) {
	if !o.in {
		if o.answer != nil {
			o.reply(errors.New("out again at once"))
		}
		return
	}
	o.in = false
	item := x.Child("", "item")
	change, sender := r.removal(item, status)
	if o == r.me {
		r.out()
		r.lostRoom(l, x, change, item)
		return
	}
	if change == 0 {
		return // the server lost it; it comes back when it speaks
	}
	o.refused = time.Now()
	r.push(l, adapter.Event{Sender: sender, Body: adapter.Membership{Change: change,
		Person: adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(wire.Bare(o.jid))}, Name: o.nick, Verified: true, User: o.user},
		Reason: item.Child("", "reason").Chars()}})
}

// lostRoom: the gateway's own name was put out of the room, or the room is no more; r.mu is held.
func (r *Room) lostRoom(l *link.Link, x *wire.Node, change adapter.MemberChange, item *wire.Node) {
	why := quoteReason(item.Child("", "reason").Chars())
	var state adapter.ConversationState
	switch destroyed := x.Child("", "destroy"); {
	case destroyed != nil:
		why = "the room was destroyed" + quoteReason(destroyed.Child("", "reason").Chars())
		if to := destroyed.Attr("jid"); to != "" {
			moved := adapter.Conversation(wire.Bare(to))
			state.MovedTo = &moved
		}
	case change == adapter.Banned:
		why = "we were banned" + why
	case change == adapter.Kicked:
		why = "we were removed" + why
	default: // a restart of the room's server, say
		l.Start(func() { r.Rejoin(l) })
		return
	}
	r.removed, r.gone = true, fmt.Errorf("room %s: %s", r.jid, why)
	state.Gone = &why
	r.push(l, adapter.Event{Body: state})
	p := Problem{fmt.Sprintf("account %s: %v", r.a.ID, r.gone), "let the gateway in again, and open the room again"}
	l.Start(func() { r.a.Report(l, r.jid, p) })
}

// removal says what the status codes of a presence mean, and who did it; 0: nobody was removed. r.mu is held.
func (r *Room) removal(item *wire.Node, status map[string]bool) (adapter.MemberChange, adapter.Person) {
	var change adapter.MemberChange
	switch {
	case status["333"]: // an error on the way
		return 0, adapter.Person{}
	case status["301"]:
		change = adapter.Banned
	case status["307"], status["321"], status["322"]:
		change = adapter.Kicked
	}
	actor := item.Child("", "actor")
	if p := r.people[actor.Attr("nick")]; p != nil {
		return change, p.person(r.jid)
	}
	if j := actor.Attr("jid"); j != "" {
		return change, adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(wire.Bare(j))}, Verified: true}
	}
	return change, adapter.Person{}
}

// seen: somebody is in the room, or their affiliation has changed; r.mu is held.
func (r *Room) seen(l *link.Link, nick string, n, x *wire.Node) {
	item := x.Child("", "item")
	p := r.people[nick]
	if p == nil {
		p = &person{nick: nick, since: nowString()}
		r.people[nick] = p
		if o := r.byNick(nick); o != nil && (o.in || o.answer != nil) {
			p.user, p.ours = o.user, true
		}
	}
	wasMember := p.member()
	p.affiliation = item.Attr("affiliation")
	if id := n.Child(wire.NSOccupantID, "occupant-id").Attr("id"); id != "" {
		p.occupant = id
	}
	if j := item.Attr("jid"); j != "" {
		p.jid = wire.Bare(j)
		p.ours = p.ours || r.a.Component && wire.Domain(j) == r.a.Domain
	}
	if r.me.in && p.member() && !wasMember && !p.ours {
		r.push(l, adapter.Event{Sender: p.person(r.jid), Body: adapter.Membership{Change: adapter.Joined, Person: p.person(r.jid)}})
	}
}

// unseen: somebody is no longer in the room, or has another nick; r.mu is held.
func (r *Room) unseen(l *link.Link, nick string, x *wire.Node, status map[string]bool) {
	p := r.people[nick]
	delete(r.people, nick)
	if p == nil {
		return
	}
	item := x.Child("", "item")
	if renamed := item.Attr("nick"); status["303"] && renamed != "" {
		r.rename(l, p, renamed)
		return
	}
	if p.ours { // away, of the occupant's own presence, tells
		return
	}
	change, sender := r.removal(item, status)
	if change == 0 {
		return // mere presence
	}
	r.push(l, adapter.Event{Sender: sender, Body: adapter.Membership{Change: change, Person: p.person(r.jid),
		Reason: strings.TrimSpace(item.Child("", "reason").Chars())}})
}

// rename gives somebody their new nick; r.mu is held.
func (r *Room) rename(l *link.Link, p *person, nick string) {
	before := p.person(r.jid)
	p.nick = nick
	r.people[nick] = p
	if p.ours {
		for _, o := range r.ours {
			if o.user == p.user {
				o.nick = nick
			}
		}
		if p.user.IsZero() {
			r.me.nick = nick
		}
		return
	}
	after := p.person(r.jid)
	if !after.Verified { // the nick is all that we know them by: it is the same person under two
		after.IDs = append(after.IDs, before.IDs...)
	}
	r.push(l, adapter.Event{Sender: after, Body: adapter.Profile{Person: after}})
}

// affiliation takes what a room says of somebody who is not there: XEP-0045 §9.
func (r *Room) affiliation(l *link.Link, item *wire.Node) {
	j := wire.Bare(item.Attr("jid"))
	if j == "" || r.a.IsOurs(j) {
		return
	}
	who := adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(j)}, Name: item.Attr("nick"), Verified: true}
	var change adapter.MemberChange
	switch item.Attr("affiliation") {
	case "outcast":
		change = adapter.Banned
	case "none":
		change = adapter.Left
	default: // members who are not here are reported when they come or speak: of them we know the address only
		return
	}
	r.push(l, adapter.Event{Body: adapter.Membership{Change: change, Person: who, Reason: item.Child("", "reason").Chars()}})
}

// codes returns the status codes of XEP-0045 §15.6 in a stanza.
func codes(x *wire.Node) map[string]bool {
	out := map[string]bool{}
	for _, s := range x.Children("", "status") {
		out[s.Attr("code")] = true
	}
	return out
}

func quoteReason(reason string) string {
	if reason = strings.TrimSpace(reason); reason == "" {
		return ""
	}
	return fmt.Sprintf(": %.200s", reason)
}
