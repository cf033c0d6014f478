package muc

import (
	"context"
	"fmt"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// SetMember makes a change of the room's participants visible. Of our people only some are occupants: whoever joins becomes one
// while there is room for twice as many, so that those who speak find a place.
func (r *Room) SetMember(ctx context.Context, l *link.Link, change adapter.MemberUpdate) error {
	if err := r.Ready(ctx, l); err != nil {
		return err
	}
	if len(change.Author.Native) > 0 {
		return r.setNative(ctx, l, change)
	}
	switch change.Change {
	case adapter.Joined:
		r.mu.Lock()
		place := 2*len(r.ours) < r.a.Occupants
		r.mu.Unlock()
		if !place || !r.a.Component {
			return nil
		}
		_, _, err := r.bring(ctx, l, change.Author)
		return err
	case adapter.Left, adapter.Kicked, adapter.Banned:
		done, err := r.act(ctx)
		if err != nil {
			return err
		}
		defer done()
		r.mu.Lock()
		o := r.ours[change.Author.User]
		r.mu.Unlock()
		if o != nil {
			return r.leave(ctx, l, o)
		}
	}
	return nil
}

// Own returns the full JID under which one of our people is in the room now; "" if they are not.
func (r *Room) Own(u uri.User) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.ours[u]; o != nil && o.in {
		return o.jid
	}
	return ""
}

// setNative removes a native person, or lets them come back: XEP-0045 §8.2, §9.1.
func (r *Room) setNative(ctx context.Context, l *link.Link, change adapter.MemberUpdate) error {
	item := wire.El("", "item")
	switch change.Change {
	case adapter.Kicked:
		item.With("role", "none")
	case adapter.Banned:
		item.With("affiliation", "outcast")
	case adapter.Unbanned:
		item.With("affiliation", "none")
	default:
		return nil
	}
	who := r.nickFor(change.Author)
	switch jid := talk.AnyJID(change.Author.Native); {
	case change.Change != adapter.Kicked && jid != "":
		item.With("jid", jid)
	case who != "":
		item.With("nick", who)
	case change.Change == adapter.Kicked:
		return nil // not there
	default:
		return adapter.Refused(fmt.Errorf("%w: room %s does not show who that is", adapter.ErrUnsupported, r.jid))
	}
	if change.Reason != "" {
		item.Add(wire.El("", "reason").Put(change.Reason))
	}
	_, err := l.Stream.Ask(ctx, l.Stream.Me, r.jid, "set", wire.El(wire.NSMUCAdmin, "query", item))
	if answer, ok := wire.AsError(err); ok && answer.Cond != "item-not-found" {
		return adapter.Refused(fmt.Errorf("room %s: %w", r.jid, err))
	}
	if _, ok := wire.AsError(err); ok {
		return nil
	}
	return err
}

// SetName changes the nick of one of our people, if they are in the room.
func (r *Room) SetName(ctx context.Context, l *link.Link, author adapter.Author) error {
	done, err := r.act(ctx)
	if err != nil {
		return err
	}
	defer done()
	r.mu.Lock()
	o := r.ours[author.User]
	in := o != nil && o.in
	r.mu.Unlock()
	if !in {
		return nil
	}
	return r.renamed(ctx, l, o, author.Name)
}

// hasTopic reports whether the room has this topic already, and notes that it will: our own change is no news.
func (r *Room) hasTopic(topic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.topic != nil && *r.topic == topic {
		return true
	}
	r.topic = &topic
	return false
}

// SetState changes the subject, which most rooms let anybody with voice change, and the name, which takes an owner (XEP-0045 §8.1,
// §10.2). A picture is not set.
func (r *Room) SetState(ctx context.Context, l *link.Link, state adapter.ConversationState) error {
	if err := r.Ready(ctx, l); err != nil {
		return err
	}
	if state.Topic != nil && !r.hasTopic(*state.Topic) {
		subject := wire.El("", "message", wire.El("", "subject").Put(*state.Topic))
		if err := l.Stream.Send(ctx, subject.With("type", "groupchat").With("from", l.Stream.Me).With("to", r.jid)); err != nil {
			return err
		}
	}
	if state.Name == nil {
		return nil
	}
	_, err := l.Stream.Ask(ctx, l.Stream.Me, r.jid, "set", wire.El("http://jabber.org/protocol/muc#owner", "query",
		wire.Form("http://jabber.org/protocol/muc#roomconfig", "muc#roomconfig_roomname", *state.Name)))
	if _, ok := wire.AsError(err); ok {
		return adapter.Refused(fmt.Errorf("room %s: %w", r.jid, err))
	}
	return err
}

// Listed describes the room for a list.
func (r *Room) Listed() adapter.Listed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return adapter.Listed{Name: r.jid, Conversation: r.conv, Title: r.name, Members: len(r.people), Joined: r.me.in}
}

// Forget removes what is stored about the room.
func (r *Room) Forget(ctx context.Context) error { return r.a.State.Put(ctx, r.stateKey("mam"), nil) }
