// Package convert turns what a room's inbox brings into what an adapter takes, and what only one network understands into what
// everybody does. It reads the store and changes nothing.
package convert

import (
	"context"
	"errors"
	"fmt"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/show"
	"mimigate/core/identity"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// Identity knows persons; see package identity.
type Identity interface {
	ByUser(ctx context.Context, user uri.User) (identity.Person, bool, error)                        // also by an old address
	ByID(ctx context.Context, network string, id adapter.PersonID) (identity.Person, bool, error)    // by a native id
	NameOf(ctx context.Context, user uri.User, present func(uri.User) (bool, error)) (string, error) // to show where present tells who is
}

// Account is which of our accounts something is for.
type Account struct {
	ID, Network string
	Limits      func(adapter.Conversation) content.Limits
}

// Converter converts for one provider.
type Converter struct {
	Provider uri.Provider
	Language string // of what it says itself
	Store    record.Store
	Identity Identity
}

// excerptMax is how many characters of a message are quoted, as adapter.Ref has it.
const excerptMax = 200

// ErrNoBody: the body of a message was deleted before its delivery.
var ErrNoBody = errors.New("router: the body is gone")

// Outbound is a delivery as its adapter takes it: degraded to what the conversation can show. It is nil where nothing is to be shown. notes
// say what is shown less of.
func (c *Converter) Outbound(ctx context.Context, account Account, d record.Delivery) (*adapter.Outbound, []string, error) {
	encoded, err := c.Store.Body(ctx, d.Message)
	if err != nil {
		return nil, nil, err
	}
	if encoded == nil {
		return nil, nil, ErrNoBody
	}
	m, err := content.Unmarshal(encoded)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoBody, err)
	}
	out := &adapter.Outbound{Conversation: d.Conversation, Marker: adapter.Marker{Gateway: c.Provider, Key: d.Marker}, Time: d.Made, Done: d.Done, Attempt: d.Attempt}
	if !d.Room.IsZero() {
		row, _, err := c.Store.Message(ctx, d.Message)
		if err != nil {
			return nil, nil, err
		}
		out.ID, out.Time, out.Marker.Origin = d.Message, row.Accepted, d.Message
		if !row.Origin.IsZero() {
			out.Marker.Origin = row.Origin
		}
	}
	if out.Author, err = c.Author(ctx, account, d.Room, d.Author); err != nil {
		return nil, nil, err
	}
	if m.Body, err = c.bodyOut(ctx, d.Network, m.Body); err != nil {
		return nil, nil, err
	}
	scene, err := c.refer(ctx, account, d, m, out)
	if err != nil {
		return nil, nil, err
	}
	shown, changes := show.Degrade(m, account.Limits(d.Conversation), scene)
	var notes []string
	for _, change := range changes {
		notes = append(notes, fmt.Sprintf("%v: %v", change.Kind, change.To))
	}
	if shown == nil {
		return nil, notes, nil
	}
	out.Content = *shown
	return out, notes, nil
}

// refer fills in what a message refers to in this conversation, and returns the same as Degrade needs it.
func (c *Converter) refer(ctx context.Context, account Account, d record.Delivery, m *content.Message, out *adapter.Outbound) (show.Scene, error) {
	scene := show.Scene{Language: c.Language}
	for _, part := range []struct {
		id    content.MessageID
		ref   **adapter.Ref
		scene *show.Referent
	}{
		{m.Replaces, &out.Replaces, &scene.Replaces},
		{m.InReplyTo, &out.InReplyTo, &scene.InReplyTo},
		{topicOf(m), &out.Thread, &scene.Thread},
	} {
		if part.id.IsZero() {
			continue
		}
		ref, err := c.ref(ctx, account, d, part.id)
		if err != nil {
			return scene, err
		}
		*part.ref = ref
		*part.scene = show.Referent{Shown: len(ref.Parts) > 0, Ours: ref.Ours, Author: ref.Author.Name, Excerpt: ref.Excerpt}
		if !ref.Time.IsZero() && !out.Time.IsZero() {
			part.scene.Age = max(0, out.Time.Sub(ref.Time))
		}
	}
	if out.InReplyTo == nil || m.Body.Disposition != content.Reaction {
		return scene, nil
	}
	target, err := c.First(ctx, m.InReplyTo)
	if err != nil {
		return scene, err
	}
	all, err := c.Store.Reactions(ctx, target, d.Author)
	for _, reaction := range all {
		out.Reactions = append(out.Reactions, reaction.Emoji)
	}
	return scene, err
}

// topicOf is the message that a thread hangs from, where its topic is one of our making.
func topicOf(m *content.Message) content.MessageID {
	var id content.MessageID
	if len(m.TopicID) == len(id) && m.TopicID[0] == 1 {
		copy(id[:], m.TopicID)
	}
	return id
}

// ref is an earlier message, of any version, as the conversation of a delivery knows it.
func (c *Converter) ref(ctx context.Context, account Account, d record.Delivery, id content.MessageID) (*adapter.Ref, error) {
	first, err := c.First(ctx, id)
	if err != nil {
		return nil, err
	}
	ref := &adapter.Ref{}
	row, ok, err := c.Store.Message(ctx, first)
	if err != nil || !ok {
		return ref, err
	}
	ref.Ours, ref.Time = row.Place != d.Place, row.Accepted
	if ref.Author, err = c.Author(ctx, account, d.Room, row.Sender); err != nil {
		return nil, err
	}
	events, err := c.Store.NativeEvents(ctx, d.Place, first)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		if ev.Message == first {
			ref.Parts = append(ref.Parts, ev.NativePart)
		} else {
			ref.Versions = append(ref.Versions, ev.ID)
		}
	}
	encoded, err := c.Store.Body(ctx, first)
	if err != nil || encoded == nil {
		return ref, err
	}
	if m, err := content.Unmarshal(encoded); err == nil {
		ref.Excerpt = excerpt(m)
	}
	return ref, nil
}

// excerpt is the beginning of the text of a message.
func excerpt(m *content.Message) string {
	for _, p := range m.Body.Walk() {
		single, ok := p.Body.(content.Single)
		if !ok || !p.IsText() {
			continue
		}
		text := string(single.Content)
		if p.MediaType() == "text/markdown" {
			text = markup.Parse(text).Text(markup.Plain)
		}
		return markup.Excerpt(text, excerptMax)
	}
	return ""
}

// Author is somebody as an account is to show them.
func (c *Converter) Author(ctx context.Context, account Account, room uri.Room, user uri.User) (adapter.Author, error) {
	if user.IsZero() {
		return adapter.Author{}, nil
	}
	name, err := c.NameOf(ctx, room, user)
	if err != nil {
		return adapter.Author{}, err
	}
	author := adapter.Author{User: user, Name: name}
	person, ok, err := c.Identity.ByUser(ctx, user)
	if err != nil || !ok {
		return author, err
	}
	author.User, author.Bot = person.User, person.Bot
	if person.Account == account.ID {
		author.Avatar = person.Avatar
	}
	author.Native, err = c.Store.PersonIDs(ctx, account.Network, person.User)
	return author, err
}

// NameOf is the name of somebody in a room: those who are in its conversations have theirs told apart.
func (c *Converter) NameOf(ctx context.Context, room uri.Room, user uri.User) (string, error) {
	return c.Identity.NameOf(ctx, user, func(other uri.User) (bool, error) {
		at, err := c.Store.Attended(ctx, room, other)
		return len(at) > 0, err
	})
}

// First is the id of the first version of a message.
func (c *Converter) First(ctx context.Context, id content.MessageID) (content.MessageID, error) {
	m, ok, err := c.Store.Message(ctx, id)
	if err != nil || !ok {
		return id, err
	}
	return m.First, nil
}
