package loopback

import (
	"context"
	"fmt"
	"strconv"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// positionKey is where State keeps how far the events were taken.
const positionKey = "position"

// receive (design §4 step 1) reports events until ctx or the connection ends. Each is acknowledged (the position moves on) after the sink has taken it; what it does
// not take ends Run, and the next Run begins with it.
func (a *Adapter) receive(ctx context.Context, conn *chat.Conn, sink adapter.Sink) error {
	position, err := a.position(ctx)
	if err != nil {
		return err
	}
	for {
		native, err := conn.Next(ctx, position)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for _, ev := range a.events(native) {
			if err := sink.Receive(ctx, ev); err != nil {
				return fmt.Errorf("an event was not taken: %w", err)
			}
		}
		position = native.Seq
		if err := a.account.State.Put(ctx, positionKey, []byte(strconv.Itoa(position))); err != nil {
			return fmt.Errorf("position: %w", err)
		}
	}
}

func (a *Adapter) position(ctx context.Context) (int, error) {
	text, err := a.account.State.Get(ctx, positionKey)
	if err != nil {
		return 0, fmt.Errorf("position: %w", err)
	}
	if text == nil {
		return 0, nil
	}
	position, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, fmt.Errorf("position: %w", err)
	}
	return position, nil
}

// status reports the account's state. It is not recorded, so nobody cares whether it was taken.
func (a *Adapter) status(ctx context.Context, sink adapter.Sink, state adapter.AccountState, reason, do string) {
	_ = sink.Receive(ctx, adapter.Event{Body: adapter.Status{State: state, Reason: reason, Do: do}})
}

// events says what a native event means to the gateway: mostly one event, sometimes none.
func (a *Adapter) events(native chat.Event) []adapter.Event {
	sender, own := a.ours(native.User)
	ev := adapter.Event{
		Conversation: conversation(native.Room),
		ID:           adapter.NativeID(native.ID),
		Sender:       a.person(native.User, native.Name),
		Time:         native.At,
		Own:          own,
	}
	ev.Marker, _ = adapter.ParseMarker(native.Tag) // a tag of anybody else's is no marker
	if body := a.message(native); body != nil {
		ev.Body = *body
		return []adapter.Event{ev}
	}
	switch native.Kind {
	case chat.Join:
		ev.Body = adapter.Membership{Change: adapter.Joined, Person: ev.Sender}
	case chat.Leave:
		ev.Body = adapter.Membership{Change: adapter.Left, Person: ev.Sender}
	case chat.Kick:
		return a.kick(ev, native)
	case chat.Rename:
		if !sender.IsZero() {
			return nil // we know how we call our own people
		}
		ev.Conversation, ev.Body = "", adapter.Profile{Person: ev.Sender}
	case chat.Retitle:
		ev.Body = adapter.ConversationState{Name: &native.Text}
	case chat.Invite:
		ev.Body = adapter.Invitation{Name: native.Text}
	default:
		return nil
	}
	return []adapter.Event{ev}
}

// kick reports that somebody was removed; if that was the account itself, the conversation is gone.
func (a *Adapter) kick(ev adapter.Event, native chat.Event) []adapter.Event {
	ev.Body = adapter.Membership{Change: adapter.Kicked, Person: a.person(native.Whom, native.WhomName), Reason: native.Text}
	if native.Whom != a.config.User {
		return []adapter.Event{ev}
	}
	why := "the account was removed"
	return []adapter.Event{ev, {Conversation: ev.Conversation, Time: ev.Time, Body: adapter.ConversationState{Gone: &why}}}
}

// message returns what was said, edited, deleted or reacted; nil if it was something else.
func (a *Adapter) message(native chat.Event) *adapter.Message {
	none := content.MessageID{}
	to := adapter.NativeID(native.To)
	switch native.Kind {
	case chat.Text:
		return &adapter.Message{Content: a.toContent(native.Text, native.Markup), InReplyTo: to}
	case chat.Edit:
		return &adapter.Message{Content: a.toContent(native.Text, native.Markup), Replaces: to}
	case chat.Delete:
		return &adapter.Message{Content: content.Delete(none), Replaces: to}
	case chat.React:
		return &adapter.Message{Content: content.React(none, native.Emoji), InReplyTo: to}
	case chat.Unreact:
		return &adapter.Message{Content: content.Unreact(none, none), Replaces: adapter.NativeID(native.Undoes), InReplyTo: to}
	}
	return nil
}
