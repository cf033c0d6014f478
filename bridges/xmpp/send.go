package xmpp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Send (design §4 step 12) implements adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	l, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	if ours, theirs, ok := a.ChatOf(out.Conversation); ok {
		return a.sendChat(ctx, l, ours, theirs, out)
	}
	r, err := a.room(ctx, l, string(out.Conversation))
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	return r.Send(ctx, l, out)
}

// Confirm implements adapter.Confirmer: in a room by what the room showed us, or by its archive; in a chat of two by receipts.
func (a *Adapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	if _, _, ok := a.ChatOf(out.Conversation); ok {
		return a.confirmChat(out)
	}
	l, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, errors.New("no connection, so nobody to ask") // not ErrNotDelivered: that would be an answer
	}
	r, err := a.room(ctx, l, string(out.Conversation))
	if err != nil {
		return adapter.Sent{Parts: out.Done}, fmt.Errorf("confirm: %v", err) // likewise
	}
	return r.Confirm(ctx, l, out)
}

// SetMember implements adapter.Members.
func (a *Adapter) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	if _, _, ok := a.ChatOf(change.Conversation); ok {
		return nil // two are two
	}
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	r, err := a.room(ctx, l, string(change.Conversation))
	if err != nil {
		return err
	}
	return r.SetMember(ctx, l, change)
}

// SetProfile implements adapter.Profiles: it changes the nick in the rooms where the person is an occupant.
func (a *Adapter) SetProfile(ctx context.Context, author adapter.Author) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	rooms := maps.Clone(a.open)
	a.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(rooms)) {
		if err := rooms[address].SetName(ctx, l, author); err != nil {
			return fmt.Errorf("room %s: %w", address, err)
		}
	}
	return nil
}

// SendReceipt implements adapter.Receipts with XEP-0333, for those who are there under their own name. That a message of a chat
// of two has been taken, its sender was told already (XEP-0184).
func (a *Adapter) SendReceipt(ctx context.Context, in adapter.Conversation, author adapter.Author, receipt adapter.Receipt) error {
	if receipt.Status != adapter.Read || len(receipt.IDs) == 0 {
		return nil
	}
	id := talk.Native(receipt.IDs[len(receipt.IDs)-1])
	return a.signal(ctx, in, author, wire.El(wire.NSMarkers, "displayed").With("id", id))
}

// SendTyping implements adapter.Receipts with XEP-0085, likewise.
func (a *Adapter) SendTyping(ctx context.Context, in adapter.Conversation, author adapter.Author, typing adapter.Typing) error {
	state := "paused"
	if typing.Active {
		state = "composing"
	}
	return a.signal(ctx, in, author, wire.El(wire.NSStates, state))
}

// signal sends what is no message under an author's own name; where they have none here it says so.
func (a *Adapter) signal(ctx context.Context, c adapter.Conversation, author adapter.Author, payload *wire.Node) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	n := wire.El("", "message", payload, wire.El(wire.NSHints, "no-store"))
	if ours, theirs, ok := a.ChatOf(c); ok {
		if a.Component && wire.Bare(a.AddressOf(author.User)) == ours {
			return l.Stream.Send(ctx, n.With("type", "chat").With("from", ours+"/"+talk.Resource).With("to", theirs))
		}
		return adapter.ErrUnsupported
	}
	a.mu.Lock()
	r := a.open[string(c)]
	a.mu.Unlock()
	if r == nil {
		return adapter.ErrNotFound
	}
	from := r.Own(author.User)
	if from == "" {
		return adapter.ErrUnsupported
	}
	return l.Stream.Send(ctx, n.With("type", "groupchat").With("from", from).With("to", string(c)))
}
