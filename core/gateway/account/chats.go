package account

import (
	"context"
	"fmt"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/content"
)

// Listing is a chat that an account could bind.
type Listing struct {
	Chat      string // account/chat, as in a binding
	Title     string `json:",omitempty"`
	Members   int    `json:",omitempty"` // 0: not known
	Direct    bool   `json:",omitempty"`
	Joined    bool   `json:",omitempty"`
	Encrypted bool   `json:",omitempty"`
}

// Opened says what a chat can do for a room.
type Opened struct {
	Chat         string // as it was asked for
	Conversation string // as the network names it
	// Names says how our people appear there: "native" under their own names, "reduced" some of them, "line" in the text.
	Names string
	// Lacks are the kinds of content that the chat shows as a line of text, or not at all.
	Lacks []string `json:",omitempty"`
}

// Conversations lists what the account could open.
func (a *Account) Conversations(ctx context.Context) (_ []Listing, err error) {
	if err := a.Connected(ctx); err != nil {
		return nil, err
	}
	defer contain(&err, a.log)
	opener, ok := a.adapter.(adapter.Conversations)
	if !ok {
		return nil, fmt.Errorf("the network %s has no list of chats", a.config.Network)
	}
	listed, err := opener.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Listing, 0, len(listed))
	for _, l := range listed {
		list = append(list, Listing{Chat: config.Chat{Account: a.config.ID, ID: l.Name}.String(), Title: l.Title, Members: l.Members,
			Direct: l.Direct, Joined: l.Joined, Encrypted: l.Encrypted})
	}
	return list, nil
}

// Open opens a chat and says what it can do.
func (a *Account) Open(ctx context.Context, chat config.Chat) (_ Opened, err error) {
	if err := a.Connected(ctx); err != nil {
		return Opened{}, err
	}
	defer contain(&err, a.log)
	c := adapter.Conversation(chat.ID)
	if opener, ok := a.adapter.(adapter.Conversations); ok {
		if c, err = opener.Open(ctx, chat.ID); err != nil {
			return Opened{}, err
		}
	}
	limits := a.adapter.Limits(c)
	o := Opened{Chat: chat.String(), Conversation: string(c), Names: limits.Authors.String()}
	for _, k := range []content.Kind{content.KindReply, content.KindEdit, content.KindDelete, content.KindReaction, content.KindImage, content.KindFile} {
		if s := limits.Of(k); s == content.Line || s == content.None {
			o.Lacks = append(o.Lacks, k.String())
		}
	}
	return o, nil
}
