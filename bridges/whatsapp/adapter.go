//go:build !nowhatsapp

// Package whatsapp is the adapter for WhatsApp: the gateway is linked to an account like a browser, on the library whatsmeow.
//
//	adapter.go  the account        session.go        one connection and its end      device.go  keys, the library's log
//	receive.go  messages in        conversations.go  groups and chats                people.go  who is who
//	send.go     messages out       login.go          linking, by QR or pairing code  wire/      messages ⇄ content
//
// WhatsApp is told that it delivered a message only after Sink.Receive has returned nil, and what the library has decrypted stays
// in the device store until then (SynchronousAck, EnableDecryptedEventBuffer), so a crash at any moment loses nothing.
package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// Driver returns the driver of WhatsApp.
func Driver() adapter.Driver { return DriverIn(Lab{}) }

// Lab is what a test has in place of the live service.
type Lab struct {
	// Transport takes every request, also that of the websocket; nil: the internet.
	Transport http.RoundTripper
	// Hasty leaves out what makes the device store safe from a loss of power, which costs seconds per account.
	Hasty bool
}

// DriverIn returns the driver for a test's own server.
func DriverIn(lab Lab) adapter.Driver {
	return adapter.Driver{Name: "whatsapp", Config: defaults, New: func(account adapter.Account) (adapter.Adapter, error) { return newAdapter(lab, account) }}
}

// Adapter is one account.
type Adapter struct {
	lab     Lab
	account adapter.Account
	config  Config
	pace    pace
	device  chan struct{} // holds one while the device store is in use: by Run, or to link the account

	mu      sync.Mutex
	session *session      // nil while not connected
	up      chan struct{} // closed once session is set
	open    []adapter.Conversation
	timers  map[adapter.Conversation]uint32 // seconds until messages disappear
	arrived recent                          // ids of our messages that WhatsApp or somebody's phone has confirmed
	polls   polls
	linking *linking
}

// What the adapter can do beside the three methods of every adapter.
var (
	_ adapter.Adapter       = (*Adapter)(nil)
	_ adapter.Confirmer     = (*Adapter)(nil)
	_ adapter.Members       = (*Adapter)(nil)
	_ adapter.Receipts      = (*Adapter)(nil)
	_ adapter.Login         = (*Adapter)(nil)
	_ adapter.Conversations = (*Adapter)(nil)
)

func newAdapter(lab Lab, account adapter.Account) (*Adapter, error) {
	config, ok := account.Config.(*Config)
	if !ok {
		return nil, fmt.Errorf("whatsapp: configuration is a %T", account.Config)
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	return &Adapter{
		lab: lab, account: account, config: *config, pace: pace{perMinute: config.MessagesPerMinute}, device: make(chan struct{}, 1),
		up: make(chan struct{}), timers: map[adapter.Conversation]uint32{}, polls: polls{state: account.State},
	}, nil
}

// What WhatsApp's own clients allow.
const (
	editWithin   = 15 * time.Minute
	deleteWithin = 48 * time.Hour
)

// Limits implements adapter.Adapter: the same everywhere. Reactions are lines of text, as one account has one reaction on a message,
// whoever of our people reacts; files are lines until package router moves them.
func (a *Adapter) Limits(adapter.Conversation) content.Limits {
	return content.Limits{
		Support: map[content.Kind]content.Support{
			content.KindText:      content.Native,
			content.KindFormatted: content.Reduced,
			content.KindMention:   content.Native,
			content.KindReply:     content.Native,
			content.KindEdit:      content.Native,
			content.KindDelete:    content.Native,
			content.KindLocation:  content.Native,
			content.KindContact:   content.Native,
			content.KindPoll:      content.Native,
		},
		Authors:      content.Line,
		Formatting:   content.Styled,
		TextBytes:    wire.MaxText,
		PollOptions:  wire.MaxOptions,
		Reactions:    1,
		EditWithin:   editWithin,
		DeleteWithin: deleteWithin,
	}
}

// Run implements adapter.Adapter.
func (a *Adapter) Run(ctx context.Context, sink adapter.Sink) error {
	select {
	case a.device <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-a.device }()
	a.tell(ctx, sink, adapter.Status{State: adapter.Connecting})
	err := a.connect(ctx, sink)
	if ctx.Err() != nil {
		return nil
	}
	var end *ending
	if !errors.As(err, &end) {
		return err
	}
	a.tell(ctx, sink, end.status)
	if end.status.Until.IsZero() {
		return err
	}
	select { // a ban that ends by itself: to try before would make it worse
	case <-time.After(time.Until(end.status.Until)):
		return errors.New("the ban should be over")
	case <-ctx.Done():
		return nil
	}
}

// connect opens the device store and runs a session.
func (a *Adapter) connect(ctx context.Context, sink adapter.Sink) error {
	d, err := openDevice(ctx, a.account, a.lab)
	if err != nil {
		return err
	}
	defer d.close()
	if d.store.ID == nil {
		return a.loggedOut("it is not linked to a phone")
	}
	s := &session{a: a, cli: d.client(), ratchets: d.ratchets, sink: sink, sending: make(chan struct{}, 1)}
	return s.run(ctx)
}

// tell reports a status. It is not recorded, so nobody cares whether it was taken.
func (a *Adapter) tell(ctx context.Context, sink adapter.Sink, status adapter.Status) {
	_ = sink.Receive(ctx, adapter.Event{Body: status})
}

// setSession makes known that there is a connection, or none any more.
func (a *Adapter) setSession(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == nil && a.session != nil {
		a.up = make(chan struct{})
	}
	if s != nil && a.session == nil {
		close(a.up)
	}
	a.session = s
}

// online waits for a connection as long as ctx allows. The error wraps adapter.ErrNotDelivered.
func (a *Adapter) online(ctx context.Context) (*session, error) {
	for {
		a.mu.Lock()
		s, up := a.session, a.up
		a.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, adapter.NotDelivered(fmt.Errorf("account %s is not connected to WhatsApp: %w", a.account.ID, ctx.Err()))
		}
	}
}

// opened notes a conversation to describe again after each reconnect; or not, with false.
func (a *Adapter) opened(c adapter.Conversation, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = slices.DeleteFunc(a.open, func(o adapter.Conversation) bool { return o == c })
	if is {
		a.open = append(a.open, c)
	}
}

// timer returns after how many seconds the messages of a conversation disappear.
func (a *Adapter) timer(c adapter.Conversation) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.timers[c]
}

func (a *Adapter) setTimer(c adapter.Conversation, seconds uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timers[c] = seconds
}

// confirmed notes that messages have arrived.
func (a *Adapter) confirmed(ids ...types.MessageID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		a.arrived.put(id)
	}
}

func (a *Adapter) hasArrived(id types.MessageID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.arrived.has(id)
}
