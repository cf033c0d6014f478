package xmpp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mimigate/core/adapter"
)

// presence takes a presence of the room: what goes to the gateway's own name tells of everybody, what goes to our other names
// of themselves only.
func (r *room) presence(l *link, n *node) {
	to, nick := n.attr("to"), nickOf(n.attr("from"))
	x := n.child(nsMUCUser, "x")
	status := codes(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.occupantOf(to)
	if n.attr("type") == "error" {
		if o != nil && o.answer != nil {
			o.reply(errorOf(n))
		}
		return
	}
	if x == nil || o == nil || nick == "" {
		return
	}
	available := n.attr("type") == ""
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
func (r *room) here(l *link, o *occupant, nick string, x *node) {
	first, before := !o.in, o.role
	o.in, o.nick, o.role = true, nick, x.child("", "item").attr("role")
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
		var p problem
		if o.role == "visitor" {
			p = problem{fmt.Sprintf("account %s: room %s: %v", r.a.account.ID, r.jid, errNoVoice), advice(errNoVoice)}
		} else if !r.mam {
			p = problem{fmt.Sprintf("account %s: room %s keeps no archive (XEP-0313): what is said there while we are away is lost", r.a.account.ID, r.jid),
				"turn the room's archive on"}
		}
		l.start(func() { r.a.report(l, r.jid, p) })
	}
}

// opened reports the room as we find it, and what we missed; r.mu is held. Whatever is said from now on comes after that.
func (r *room) opened(l *link) {
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
		r.lane.push(l, r.catchUp)
	}
}

// away: one of our names is no longer in the room, though it did not leave; r.mu is held.
func (r *room) away(l *link, o *occupant, x *node, status map[string]bool) {
	if !o.in {
		if o.answer != nil {
			o.reply(errors.New("out again at once"))
		}
		return
	}
	o.in = false
	item := x.child("", "item")
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
		Person: adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(bare(o.jid))}, Name: o.nick, Verified: true, User: o.user},
		Reason: item.child("", "reason").chars()}})
}

// lostRoom: the gateway's own name was put out of the room, or the room is no more; r.mu is held.
func (r *room) lostRoom(l *link, x *node, change adapter.MemberChange, item *node) {
	why := quoteReason(item.child("", "reason").chars())
	var state adapter.ConversationState
	switch destroyed := x.child("", "destroy"); {
	case destroyed != nil:
		why = "the room was destroyed" + quoteReason(destroyed.child("", "reason").chars())
		if to := destroyed.attr("jid"); to != "" {
			moved := adapter.Conversation(bare(to))
			state.MovedTo = &moved
		}
	case change == adapter.Banned:
		why = "we were banned" + why
	case change == adapter.Kicked:
		why = "we were removed" + why
	default: // a restart of the room's server, say
		l.start(func() { r.rejoin(l) })
		return
	}
	r.removed, r.gone = true, fmt.Errorf("room %s: %s", r.jid, why)
	state.Gone = &why
	r.push(l, adapter.Event{Body: state})
	p := problem{fmt.Sprintf("account %s: %v", r.a.account.ID, r.gone), "let the gateway in again, and open the room again"}
	l.start(func() { r.a.report(l, r.jid, p) })
}

// removal says what the status codes of a presence mean, and who did it; 0: nobody was removed. r.mu is held.
func (r *room) removal(item *node, status map[string]bool) (adapter.MemberChange, adapter.Person) {
	var change adapter.MemberChange
	switch {
	case status["333"]: // an error on the way
		return 0, adapter.Person{}
	case status["301"]:
		change = adapter.Banned
	case status["307"], status["321"], status["322"]:
		change = adapter.Kicked
	}
	actor := item.child("", "actor")
	if p := r.people[actor.attr("nick")]; p != nil {
		return change, p.person(r.jid)
	}
	if j := actor.attr("jid"); j != "" {
		return change, adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(bare(j))}, Verified: true}
	}
	return change, adapter.Person{}
}

// seen: somebody is in the room, or their affiliation has changed; r.mu is held.
func (r *room) seen(l *link, nick string, n, x *node) {
	item := x.child("", "item")
	p := r.people[nick]
	if p == nil {
		p = &person{nick: nick, since: nowString()}
		r.people[nick] = p
		if o := r.byNick(nick); o != nil && (o.in || o.answer != nil) {
			p.user, p.ours = o.user, true
		}
	}
	wasMember := p.member()
	p.affiliation = item.attr("affiliation")
	if id := n.child(nsOccupantID, "occupant-id").attr("id"); id != "" {
		p.occupant = id
	}
	if j := item.attr("jid"); j != "" {
		p.jid = bare(j)
		p.ours = p.ours || r.a.component && domainOf(j) == r.a.domain
	}
	if r.me.in && p.member() && !wasMember && !p.ours {
		r.push(l, adapter.Event{Sender: p.person(r.jid), Body: adapter.Membership{Change: adapter.Joined, Person: p.person(r.jid)}})
	}
}

// unseen: somebody is no longer in the room, or has another nick; r.mu is held.
func (r *room) unseen(l *link, nick string, x *node, status map[string]bool) {
	p := r.people[nick]
	delete(r.people, nick)
	if p == nil {
		return
	}
	item := x.child("", "item")
	if renamed := item.attr("nick"); status["303"] && renamed != "" {
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
		Reason: strings.TrimSpace(item.child("", "reason").chars())}})
}

// rename gives somebody their new nick; r.mu is held.
func (r *room) rename(l *link, p *person, nick string) {
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
func (r *room) affiliation(l *link, item *node) {
	j := bare(item.attr("jid"))
	if j == "" || r.a.isOurs(j) {
		return
	}
	who := adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(j)}, Name: item.attr("nick"), Verified: true}
	var change adapter.MemberChange
	switch item.attr("affiliation") {
	case "outcast":
		change = adapter.Banned
	case "none":
		change = adapter.Left
	default: // members who are not here are reported when they come or speak: of them we know the address only
		return
	}
	r.push(l, adapter.Event{Body: adapter.Membership{Change: change, Person: who, Reason: item.child("", "reason").chars()}})
}

// renamed brings one of our names to the nick that is wanted now.
func (r *room) renamed(ctx context.Context, l *link, o *occupant, name string) error {
	if o.name == name {
		return nil
	}
	err := r.enter(ctx, l, o, nicks(name, o.user.Domain()))
	if err == nil {
		r.mu.Lock()
		o.name = name
		r.mu.Unlock()
	}
	return err
}
