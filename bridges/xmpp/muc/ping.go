package muc

import (
	"context"
	"fmt"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/wire"
)

// Tend pings ourselves in a silent room (XEP-0410), and takes out those who have long been silent.
func (r *Room) Tend(l *link.Link, now time.Time) {
	r.mu.Lock()
	var idle []*wire.Node
	for u, o := range r.ours {
		if o.answer == nil && now.Sub(o.spoke) > r.a.OccupantIdle {
			idle = append(idle, o.leaving(r.jid))
			delete(r.ours, u)
		}
	}
	ping := r.me.in && !r.pinging && now.Sub(r.touched) > wire.PingAfter
	r.pinging = r.pinging || ping
	self := r.jid + "/" + r.me.nick
	moved := r.position != r.stored
	r.mu.Unlock()
	if moved {
		l.Start(func() { r.Save(l.Ctx) })
	}
	for _, n := range idle {
		l.Stream.Post(n)
	}
	if ping {
		l.Start(func() { r.selfPing(l, self) })
	}
}

func (r *Room) selfPing(l *link.Link, self string) {
	ctx, cancel := context.WithTimeout(l.Ctx, wire.PingAfter)
	defer cancel()
	_, err := l.Stream.Ask(ctx, l.Stream.Me, self, "get", wire.El(wire.NSPing, "ping"))
	r.mu.Lock()
	r.pinging = false
	if !wire.IsCond(err, "not-acceptable") { // every other error comes from ourselves, or says nothing of the room (XEP-0410 §3.2)
		if err == nil || wire.IsCond(err, "service-unavailable", "feature-not-implemented", "item-not-found") {
			r.touched = time.Now()
		}
		r.mu.Unlock()
		if err != nil && !wire.IsCond(err, "service-unavailable", "feature-not-implemented", "item-not-found") && l.Ctx.Err() == nil {
			r.a.Report(l, r.jid, Problem{fmt.Sprintf("account %s: room %s does not answer: %v", r.a.ID, r.jid, err), ""})
		}
		return
	}
	r.out()
	r.mu.Unlock()
	r.a.Report(l, r.jid, Problem{fmt.Sprintf("account %s: room %s has lost us", r.a.ID, r.jid), ""})
	r.Rejoin(l)
}

// checkPresence looks whether we are still in the room, and goes back if not.
func (r *Room) checkPresence(l *link.Link) {
	r.mu.Lock()
	self, in := r.jid+"/"+r.me.nick, r.me.in && !r.pinging
	r.pinging = r.pinging || in
	r.mu.Unlock()
	if in {
		r.selfPing(l, self)
	}
}
