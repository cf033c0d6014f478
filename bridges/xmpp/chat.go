package xmpp

import (
	"context"
	"fmt"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// message takes a message that comes from no open room: of a chat of two, or an invitation.
func (a *Adapter) message(l *link.Link, n *wire.Node) *wire.Node {
	from, to := n.Attr("from"), n.Attr("to")
	if from == "" || to == "" || a.IsOurs(from) || !a.IsOurs(to) {
		return nil
	}
	if n.Attr("type") == "error" {
		a.waits.Settle(talk.Direct(wire.Bare(from), wire.Bare(to)), n.Attr("id"), link.Outcome{Err: wire.ErrorOf(n)})
		return nil
	}
	if n.Attr("type") == "groupchat" || n.Attr("type") == "headline" {
		return nil
	}
	if a.invited(l, n) {
		return nil
	}
	c := talk.Direct(wire.Bare(from), wire.Bare(to))
	who, err := a.PersonAt(wire.Bare(to))
	if err != nil {
		if n.Child("", "body") == nil {
			return nil
		}
		return wire.ErrorReply(n, "cancel", "item-not-found", "There is nobody of this name here.")
	}
	ev, _, ok := talk.Place{Ref: talk.Given}.Event(n)
	if !ok {
		return nil
	}
	ev.Conversation, ev.ID, ev.Time = c, talk.Given(talk.OriginOf(n)), time.Now()
	if t := wire.Time(n.Child(wire.NSDelay, "delay").Attr("stamp")); !t.IsZero() && t.Before(ev.Time) {
		ev.Time = t
	}
	if ev.ID == talk.Given("") {
		ev.ID = talk.Made(n, ev.Time)
	}
	ev.Sender = talk.PersonOf(wire.Bare(from))
	if receipt, is := ev.Body.(adapter.Receipt); is {
		a.mu.Lock()
		for _, id := range receipt.IDs {
			a.got.Put(string(c)+" "+string(id), "")
		}
		a.mu.Unlock()
	}
	if !a.reportChat(l, c, who, ev, n) {
		return wire.ErrorReply(n, "wait", "talk.Resource-constraint", "Too much waits to be delivered. Please try again later.")
	}
	return nil
}

// reportChat reports an event of a chat of two, after what kind of conversation that is. The sender gets a receipt (XEP-0184) once
// the event was taken: from then on the message is not lost.
func (a *Adapter) reportChat(l *link.Link, c adapter.Conversation, who uri.User, ev adapter.Event, n *wire.Node) bool {
	a.mu.Lock()
	_, known := a.chats.Get(string(c))
	a.chats.Put(string(c), "")
	a.mu.Unlock()
	if !known {
		yes, no := true, false
		a.push(l, c, func(ctx context.Context, l *link.Link) error {
			state := adapter.Event{Conversation: c, Sender: ev.Sender, Body: adapter.ConversationState{Direct: &yes, Encrypted: &no}}
			if err := l.Receive(ctx, state); err != nil || who.IsZero() {
				return err
			}
			return l.Receive(ctx, adapter.Event{Conversation: c, Own: true, Body: adapter.Membership{Change: adapter.Joined,
				Person: adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(wire.Bare(n.Attr("to")))}, Verified: true, User: who}}})
		})
	}
	receipt := (*wire.Node)(nil)
	if n.Child(wire.NSReceipts, "request") != nil && n.Attr("id") != "" {
		receipt = wire.El("", "message", wire.El(wire.NSReceipts, "received").With("id", n.Attr("id")), wire.El(wire.NSHints, "store")).
			With("type", "chat").With("id", "receipt-"+n.Attr("id")).With("from", n.Attr("to")).With("to", n.Attr("from"))
	}
	return a.push(l, c, func(ctx context.Context, l *link.Link) error {
		if err := l.Receive(ctx, ev); err != nil {
			return err
		}
		if receipt != nil {
			l.Stream.Post(receipt)
		}
		return nil
	})
}

// invited reports an invitation to a room, direct (XEP-0249) or through the room (XEP-0045 §7.8).
func (a *Adapter) invited(l *link.Link, n *wire.Node) bool {
	room, by := "", talk.PersonOf(wire.Bare(n.Attr("from")))
	if x := n.Child(wire.NSConference, "x"); x != nil {
		room = wire.Bare(x.Attr("jid"))
	}
	if invite := n.Child(wire.NSMUCUser, "x").Child("", "invite"); invite != nil {
		// Who that is only the room says, and anybody can be a room: never somebody whom we know otherwise.
		room = wire.Bare(n.Attr("from"))
		name := wire.Resource(invite.Attr("from"))
		if wire.Bare(invite.Attr("from")) != room {
			name = wire.Bare(invite.Attr("from"))
		}
		by = adapter.Person{IDs: []adapter.PersonID{talk.NickPerson(room, "invites", name)}, Name: name}
	}
	j, err := wire.ParseJID(room)
	if room == "" || err != nil {
		return false
	}
	room = j.Bare().String()
	id := talk.Given(talk.OriginOf(n))
	if id == talk.Given("") {
		id = talk.Made(n, time.Now())
	}
	c := adapter.Conversation(room)
	ev := adapter.Event{Conversation: c, ID: id, Sender: by, Time: time.Now(), Body: adapter.Invitation{Name: room}}
	a.push(l, c, func(ctx context.Context, l *link.Link) error { return l.Receive(ctx, ev) })
	return true
}

// sendChat shows a message in a chat of two. It is sent when our server has passed it on: a ping after it comes back.
func (a *Adapter) sendChat(ctx context.Context, l *link.Link, ours, theirs string, out adapter.Outbound) (adapter.Sent, error) {
	v := talk.Voice{JID: ours + "/" + talk.Resource, Prefix: talk.PrefixOf(out.Author)}
	if !a.Component {
		v.JID = l.Stream.Me
	} else if wire.Bare(a.AddressOf(out.Author.User)) == ours {
		v.Prefix = ""
	}
	steps, notes, err := talk.Plan(out, v, a.chatReferences(out, ours, theirs))
	sent := adapter.Sent{Notes: notes}
	if err != nil {
		sent.Parts = out.Done
		return sent, err
	}
	for _, s := range steps {
		if done, ok := talk.DoneBefore(out, s.Part); ok {
			sent.Parts = append(sent.Parts, done)
			continue
		}
		id := a.OwnID(out.Conversation, out.Marker.Key, s.Part.Part, s.Part.Piece, false)
		if err := a.sayTo(ctx, l, out, s, v.JID, theirs, id); err != nil {
			return sent, err
		}
		s.Part.ID = talk.Given(id)
		sent.Parts = append(sent.Parts, s.Part)
	}
	return sent, nil
}

// sayTo sends one stanza of a chat of two.
func (a *Adapter) sayTo(ctx context.Context, l *link.Link, out adapter.Outbound, s talk.Step, from, to, id string) error {
	became, forget := a.waits.Await(out.Conversation, id)
	defer forget()
	n := talk.Stanza(out, s, id, "chat").With("from", from).With("to", to).
		Add(wire.El(wire.NSReceipts, "request"), wire.El(wire.NSMarkers, "markable"))
	if err := l.Stream.Send(ctx, n); err != nil {
		return err
	}
	err := l.Stream.Sync(ctx)
	select {
	case o := <-became:
		return talk.Failure(fmt.Errorf("%s: %w", to, o.Err), o.Err)
	default:
	}
	if err != nil {
		return fmt.Errorf("no sign that the server has taken the message: %w", err)
	}
	return nil
}

func (a *Adapter) chatReferences(out adapter.Outbound, ours, theirs string) talk.References {
	var refs talk.References
	if out.Replaces != nil {
		for _, p := range out.Replaces.Parts {
			refs.Replaces = append(refs.Replaces, talk.Native(p.ID))
		}
		refs.Retract = refs.Replaces
	}
	if ref := out.InReplyTo; ref != nil && len(ref.Parts) > 0 {
		refs.To, refs.Author = talk.Native(ref.Parts[0].ID), theirs
		if ref.Ours {
			refs.Author = ours
		}
	}
	return refs
}

// confirmChat knows only what a receipt told.
func (a *Adapter) confirmChat(out adapter.Outbound) (adapter.Sent, error) {
	steps, err := talk.Steps(out, a.Component)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	var sent adapter.Sent
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range steps {
		id := talk.Given(a.OwnID(out.Conversation, out.Marker.Key, s.Part.Part, s.Part.Piece, false))
		if done, ok := talk.DoneBefore(out, s.Part); ok {
			sent.Parts = append(sent.Parts, done)
		} else if _, ok := a.got.Get(string(out.Conversation) + " " + string(id)); ok {
			s.Part.ID = id
			sent.Parts = append(sent.Parts, s.Part)
		}
	}
	if len(sent.Parts) == len(steps) {
		return sent, nil
	}
	return sent, fmt.Errorf("%w: no receipt has come, and a chat of two has no archive that we may read", adapter.ErrUnknown)
}
