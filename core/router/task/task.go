// Package task does in a conversation what is no message: joins, leaves and kicks, names and pictures of people, titles.
package task

import (
	"context"

	"mimigate/core/adapter"
	"mimigate/core/router/convert"
	"mimigate/core/router/record"
)

// Doer does tasks of deliveries.
type Doer struct {
	Store   record.Store
	Convert *convert.Converter
}

// Do does the task of a delivery by way of an account's adapter, which fails like its methods do.
func (t Doer) Do(ctx context.Context, by adapter.Adapter, account convert.Account, d record.Delivery) error {
	author, err := t.Convert.Author(ctx, account, d.Room, d.Author)
	if err != nil {
		return adapter.NotDelivered(err)
	}
	switch {
	case d.Task.Member != nil:
		return t.member(ctx, by, account, d, author)
	case d.Task.Profile:
		if profiles, ok := by.(adapter.Profiles); ok {
			return profiles.SetProfile(ctx, author)
		}
	case d.Task.State != nil:
		return t.state(ctx, by, d)
	}
	return nil
}

func (t Doer) member(ctx context.Context, by adapter.Adapter, account convert.Account, d record.Delivery, author adapter.Author) error {
	members, ok := by.(adapter.Members)
	if !ok {
		return adapter.ErrUnsupported
	}
	whose, err := t.Convert.Author(ctx, account, d.Room, d.Task.Member.By)
	if err != nil {
		return adapter.NotDelivered(err)
	}
	if !d.Task.Member.Native {
		author.Native = nil
	}
	return members.SetMember(ctx, adapter.MemberUpdate{Conversation: d.Conversation, Change: d.Task.Member.Change, Author: author, By: whose})
}

// state gives a conversation its title, and remembers it, so that hearing of it is no news.
func (t Doer) state(ctx context.Context, by adapter.Adapter, d record.Delivery) error {
	conversations, ok := by.(adapter.Conversations)
	if !ok {
		return adapter.ErrUnsupported
	}
	err := t.Store.Do(ctx, func(ctx context.Context) error {
		known, err := t.Store.Conversation(ctx, d.Place)
		if err != nil || d.Task.State.Name == nil {
			return err
		}
		known.Title = *d.Task.State.Name
		return t.Store.PutConversation(ctx, d.Place, known)
	})
	if err != nil {
		return adapter.NotDelivered(err)
	}
	return conversations.SetState(ctx, d.Conversation, *d.Task.State)
}
