package xmpp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mimigate/core/adapter"
)

// SetMember implements adapter.Members. Of our people only some are occupants: whoever joins becomes one while there is room for
// twice as many, so that those who speak find a place.
func (a *Adapter) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	if _, _, ok := a.chatOf(change.Conversation); ok {
		return nil // two are two
	}
	r, err := a.open(ctx, l, string(change.Conversation))
	if err != nil {
		return err
	}
	if err := r.ready(ctx, l); err != nil {
		return err
	}
	if len(change.Author.Native) > 0 {
		return r.setNative(ctx, l, change)
	}
	switch change.Change {
	case adapter.Joined:
		r.mu.Lock()
		place := 2*len(r.ours) < a.cfg.Occupants
		r.mu.Unlock()
		if place && a.component {
			_, _, err = r.bring(ctx, l, change.Author)
		}
	case adapter.Left, adapter.Kicked, adapter.Banned:
		var done func()
		if done, err = r.act(ctx); err != nil {
			return err
		}
		defer done()
		r.mu.Lock()
		o := r.ours[change.Author.User]
		r.mu.Unlock()
		if o != nil {
			err = r.leave(ctx, l, o)
		}
	}
	return err
}

// setNative removes a native person, or lets them come back: XEP-0045 §8.2, §9.1.
func (r *room) setNative(ctx context.Context, l *link, change adapter.MemberUpdate) error {
	item := el("", "item")
	switch change.Change {
	case adapter.Kicked:
		item.with("role", "none")
	case adapter.Banned:
		item.with("affiliation", "outcast")
	case adapter.Unbanned:
		item.with("affiliation", "none")
	default:
		return nil
	}
	who := r.nickFor(change.Author)
	switch jid := anyJID(change.Author.Native); {
	case change.Change != adapter.Kicked && jid != "":
		item.with("jid", jid)
	case who != "":
		item.with("nick", who)
	case change.Change == adapter.Kicked:
		return nil // not there
	default:
		return adapter.Refused(fmt.Errorf("%w: room %s does not show who that is", adapter.ErrUnsupported, r.jid))
	}
	if change.Reason != "" {
		item.add(el("", "reason").put(change.Reason))
	}
	_, err := l.s.ask(ctx, l.s.me, r.jid, "set", el(nsMUCAdmin, "query", item))
	if answer, ok := asStanzaError(err); ok && answer.cond != "item-not-found" {
		return adapter.Refused(fmt.Errorf("room %s: %w", r.jid, err))
	}
	if _, ok := asStanzaError(err); ok {
		return nil
	}
	return err
}

func anyJID(ids []adapter.PersonID) string {
	for _, id := range ids {
		if j, ok := realJID(id); ok {
			return j
		}
	}
	return ""
}

func asStanzaError(err error) (*stanzaError, bool) {
	var e *stanzaError
	ok := errors.As(err, &e)
	return e, ok
}

// SetProfile implements adapter.Profiles: it changes the nick in the rooms where the person is an occupant.
func (a *Adapter) SetProfile(ctx context.Context, author adapter.Author) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	rooms := slices.Collect(maps.Values(a.rooms))
	a.mu.Unlock()
	for _, r := range rooms {
		if err := r.setName(ctx, l, author); err != nil {
			return fmt.Errorf("room %s: %w", r.jid, err)
		}
	}
	return nil
}

func (r *room) setName(ctx context.Context, l *link, author adapter.Author) error {
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

// SendReceipt implements adapter.Receipts with XEP-0333, for those who are there under their own name. That a message of a chat
// of two has been taken, its sender was told already (XEP-0184).
func (a *Adapter) SendReceipt(ctx context.Context, in adapter.Conversation, author adapter.Author, receipt adapter.Receipt) error {
	if receipt.Status != adapter.Read || len(receipt.IDs) == 0 {
		return nil
	}
	id := native(receipt.IDs[len(receipt.IDs)-1])
	return a.signal(ctx, in, author, el(nsMarkers, "displayed").with("id", id))
}

// SendTyping implements adapter.Receipts with XEP-0085, likewise.
func (a *Adapter) SendTyping(ctx context.Context, in adapter.Conversation, author adapter.Author, typing adapter.Typing) error {
	state := "paused"
	if typing.Active {
		state = "composing"
	}
	return a.signal(ctx, in, author, el(nsStates, state))
}

// signal sends what is no message under an author's own name; where they have none here it says so.
func (a *Adapter) signal(ctx context.Context, c adapter.Conversation, author adapter.Author, payload *node) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	n := el("", "message", payload, el(nsHints, "no-store"))
	if ours, theirs, ok := a.chatOf(c); ok {
		if a.component && bare(a.addressOf(author.User)) == ours {
			return l.s.send(ctx, n.with("type", "chat").with("from", ours+"/"+resource).with("to", theirs))
		}
		return adapter.ErrUnsupported
	}
	a.mu.Lock()
	r := a.rooms[string(c)]
	a.mu.Unlock()
	if r == nil {
		return adapter.ErrNotFound
	}
	r.mu.Lock()
	o := r.ours[author.User]
	from := ""
	if o != nil && o.in {
		from = o.jid
	}
	r.mu.Unlock()
	if from == "" {
		return adapter.ErrUnsupported
	}
	return l.s.send(ctx, n.with("type", "groupchat").with("from", from).with("to", r.jid))
}
