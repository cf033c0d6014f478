// Package loopback is the adapter for the network in memory of package chat: for tests, for the demo, and as the template of an
// adapter. It does whatever the contract asks in the plainest way; bridges/README.md says how to start from it.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// Driver returns the driver for accounts on this network.
func Driver(network *chat.Network) adapter.Driver {
	return adapter.Driver{
		Name:   "loopback",
		Config: defaults,
		New:    func(account adapter.Account) (adapter.Adapter, error) { return newAdapter(network, account) },
	}
}

// Adapter is one account on the network.
type Adapter struct {
	network *chat.Network
	account adapter.Account
	config  Config

	mu      sync.Mutex
	conn    *chat.Conn    // nil while not connected
	changed chan struct{} // closed when conn changes
}

// What the adapter can do beside the three methods of every adapter.
var (
	_ adapter.Adapter       = (*Adapter)(nil)
	_ adapter.Confirmer     = (*Adapter)(nil)
	_ adapter.Members       = (*Adapter)(nil)
	_ adapter.Profiles      = (*Adapter)(nil)
	_ adapter.Conversations = (*Adapter)(nil)
)

func newAdapter(network *chat.Network, account adapter.Account) (*Adapter, error) {
	config, ok := account.Config.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration is a %T", account.Config)
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	return &Adapter{network: network, account: account, config: *config, changed: make(chan struct{})}, nil
}

// Run connects and reports events until ctx ends or the connection does. See adapter.Adapter.
func (a *Adapter) Run(ctx context.Context, sink adapter.Sink) error {
	conn, err := a.network.Connect(a.config.User, a.config.Password.Reveal())
	if errors.Is(err, chat.ErrPassword) {
		a.status(ctx, sink, adapter.Rejected, "the network refuses the password", "correct user and password of account "+a.account.ID)
		return fmt.Errorf("%w: %w", adapter.ErrAccount, err)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	a.setConn(conn)
	defer a.setConn(nil)
	a.status(ctx, sink, adapter.Connected, "", "")
	if err := a.receive(ctx, conn, sink); ctx.Err() == nil {
		a.status(ctx, sink, adapter.Connecting, "the connection was lost", "")
		return err
	}
	return nil
}

// Limits says what the network can show: the same everywhere. See adapter.Adapter.
func (a *Adapter) Limits(adapter.Conversation) content.Limits {
	limits := content.Limits{
		Support: map[content.Kind]content.Support{
			content.KindText:      content.Native,
			content.KindFormatted: content.Native,
			content.KindMention:   content.Native,
			content.KindReply:     content.Native,
			content.KindEdit:      content.Native,
			content.KindDelete:    content.Native,
			content.KindReaction:  content.Native,
		},
		Authors:    content.Native,
		Formatting: content.Rich,
		TextBytes:  chat.MaxText,
	}
	if a.config.Mode == modeBot { // one user has each emoji once, whoever of our people reacts
		limits.Authors = content.Line
		limits.Support[content.KindReaction] = content.Line
	}
	return limits
}

// setConn makes known that there is a connection, or none any more.
func (a *Adapter) setConn(conn *chat.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = conn
	close(a.changed)
	a.changed = make(chan struct{})
}

// connected returns the connection, and waits for it as long as ctx allows.
func (a *Adapter) connected(ctx context.Context) (*chat.Conn, error) {
	for {
		a.mu.Lock()
		conn, changed := a.conn, a.changed
		a.mu.Unlock()
		if conn != nil {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, adapter.NotDelivered(fmt.Errorf("not connected: %w", ctx.Err()))
		}
	}
}

// failure says what an error of the network means.
func failure(err error) error {
	var refusal *chat.Refusal
	switch {
	case err == nil:
		return nil
	case errors.Is(err, chat.ErrNotConnected):
		return adapter.NotDelivered(err)
	case !errors.As(err, &refusal):
		return err // the answer was lost, or ctx ended: the outcome is unknown
	}
	switch refusal.Code {
	case chat.NoRoom, chat.NoMember:
		return adapter.Gone(err)
	case chat.Busy:
		return adapter.RetryAfter(refusal.After, err)
	}
	return adapter.Refused(err)
}

// Open lets the account into a room. See adapter.Conversations.
func (a *Adapter) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	conn, err := a.connected(ctx)
	if err != nil {
		return "", err
	}
	err = conn.Follow(ctx, name)
	if refusal := (*chat.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == chat.NoRoom {
		return "", fmt.Errorf("%w: %w", adapter.ErrNotFound, err)
	} else if errors.As(err, &refusal) {
		return "", adapter.Gone(err)
	}
	if err != nil {
		return "", fmt.Errorf("open: %w", failure(err))
	}
	return conversation(name), nil
}

// Leave leaves the room, with all our people. See adapter.Conversations.
func (a *Adapter) Leave(ctx context.Context, c adapter.Conversation) error {
	conn, err := a.connected(ctx)
	if err != nil {
		return err
	}
	return failure(conn.Unfollow(ctx, room(c)))
}

// List returns all rooms of the network. See adapter.Conversations.
func (a *Adapter) List(ctx context.Context) ([]adapter.Listed, error) {
	conn, err := a.connected(ctx)
	if err != nil {
		return nil, err
	}
	rooms, err := conn.List(ctx)
	if err != nil {
		return nil, failure(err)
	}
	var out []adapter.Listed
	for _, r := range rooms {
		out = append(out, adapter.Listed{Name: r.ID, Conversation: conversation(r.ID), Title: r.Title, Members: r.Members, Joined: r.Joined})
	}
	return out, nil
}

// SetState gives the room a title; it has no topic and no picture. See adapter.Conversations.
func (a *Adapter) SetState(ctx context.Context, c adapter.Conversation, state adapter.ConversationState) error {
	if state.Name == nil {
		return nil
	}
	return a.request(ctx, chat.Request{Room: room(c), Kind: chat.Retitle, User: a.config.User, Text: *state.Name})
}

// SetMember shows one of our people join or leave, or removes somebody. See adapter.Members.
func (a *Adapter) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	q := chat.Request{Room: room(change.Conversation), User: a.config.User}
	if len(change.Author.Native) > 0 {
		if change.Change != adapter.Kicked && change.Change != adapter.Banned {
			return fmt.Errorf("%w: only they themselves can do that", adapter.ErrUnsupported)
		}
		q.Kind, q.Whom, q.Text = chat.Kick, user(change.Author.Native[0]), change.Reason
		return a.request(ctx, q)
	}
	if a.config.Mode == modeBot {
		return fmt.Errorf("%w: our people have no names of their own in mode bot", adapter.ErrUnsupported)
	}
	q.User, q.Name = a.speaker(change.Author)
	switch change.Change {
	case adapter.Joined:
		q.Kind = chat.Join
	case adapter.Left, adapter.Kicked, adapter.Banned:
		q.Kind = chat.Leave
	default:
		return nil // nothing to show
	}
	err := a.request(ctx, q)
	if q.Kind == chat.Leave && errors.Is(err, adapter.ErrGone) {
		return nil // they were not there
	}
	return err
}

// SetProfile gives one of our people a name. See adapter.Profiles.
func (a *Adapter) SetProfile(ctx context.Context, author adapter.Author) error {
	if a.config.Mode == modeBot || author.IsGateway() {
		return nil // the name stands in the text
	}
	conn, err := a.connected(ctx)
	if err != nil {
		return err
	}
	id, name := a.speaker(author)
	return failure(conn.Rename(ctx, id, name))
}

// request asks for one thing whose answer does not matter beyond yes or no.
func (a *Adapter) request(ctx context.Context, q chat.Request) error {
	conn, err := a.connected(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Do(ctx, q)
	return failure(err)
}
