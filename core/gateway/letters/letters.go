// Package letters shows what became of messages, and what is on its way: it traces one message through the gateway, and lets people decide
// on what waits or was given up.
package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/content"
	"mimigate/core/router"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// Letter is one message on its way to one chat: a delivery, as commands show it.
type Letter struct {
	ID       string // by which it is retried or dropped
	Message  string `json:",omitempty"`
	Room     string `json:",omitempty"`
	Account  string
	Chat     string // as the network names it
	Title    string `json:",omitempty"`
	What     string // message, notice, or change
	State    string // waiting, attempted, sent, failed or dropped
	Attempts int
	Queued   time.Time
	Due      time.Time `json:",omitzero"` // not tried before
	Reason   string    `json:",omitempty"`
	Native   []string  `json:",omitempty"` // its ids there, once it is shown
}

// Options are what letters are read from and decided on with.
type Options struct {
	Store  *store.Store
	Router *router.Router
	// Policy returns the policy of a room; see made.Rooms.
	Policy func(ctx context.Context, room uri.Room) (policy, managed string, err error)
	// Retention returns how long things are kept under a policy.
	Retention func(policy string) config.Retention
}

// Letters are those of one gateway. Its methods may be called from several goroutines.
type Letters struct{ Options }

// New returns the letters of a gateway.
func New(o Options) *Letters { return &Letters{o} }

var deliveryStates = map[router.DeliveryState]string{
	router.Waiting: "waiting", router.Attempted: "attempted", router.Sent: "sent", router.Failed: "failed", router.Dropped: "dropped",
}

func (l *Letters) letter(ctx context.Context, d router.Delivery) (Letter, error) {
	known, err := l.Store.Conversation(ctx, d.Place)
	if err != nil {
		return Letter{}, err
	}
	one := Letter{ID: d.Marker, Account: d.Account, Chat: string(d.Conversation), Title: known.Title, What: "message", State: deliveryStates[d.State],
		Attempts: d.Attempt, Queued: d.Made, Due: d.Due, Reason: d.Reason}
	if !d.Room.IsZero() {
		one.Room = d.Room.String()
	}
	switch {
	case d.Task != nil || d.Message.IsZero():
		one.What = "change"
	case d.Room.IsZero():
		one.What = "notice"
	default:
		one.Message = d.Message.String()
	}
	return one, nil
}

// queueMax is how many letters are shown at most.
const queueMax = 1000

// Queue returns what waits or was given up: of one account, or with "" of all; only what was given up, if asked for. The oldest comes
// first, and a thousand at most.
func (l *Letters) Queue(ctx context.Context, account string, dead bool) ([]Letter, error) {
	all, err := l.Store.Deliveries(ctx, store.DeliveryFilter{Account: account, Waiting: !dead, Dead: true, Limit: queueMax})
	if err != nil {
		return nil, err
	}
	letters := make([]Letter, 0, len(all))
	for _, d := range all {
		one, err := l.letter(ctx, d)
		if err != nil {
			return nil, err
		}
		letters = append(letters, one)
	}
	return letters, nil
}

// meant returns the deliveries that a command means: one by its id, or all of an account.
func (l *Letters) meant(ctx context.Context, id, account string) ([]router.Delivery, error) {
	f := store.DeliveryFilter{Marker: id, Account: account, Waiting: true, Dead: true}
	if id == "" && account == "" {
		return nil, errors.New("say which: the id of a letter, or an account")
	}
	all, err := l.Store.Deliveries(ctx, f)
	if err == nil && len(all) == 0 {
		err = errors.New(`nothing like that waits or was given up; "mimigate queue list" shows what does`)
	}
	return all, err
}

// Retry tries now what waits, and once more what was given up: one letter by its id, or all of an account. It returns how many.
func (l *Letters) Retry(ctx context.Context, id, account string) (n int, err error) {
	all, err := l.meant(ctx, id, account)
	if err != nil {
		return 0, err
	}
	var places []router.Place
	for _, d := range all {
		if d.State == router.Failed {
			ok, err := l.Store.Retry(ctx, d.Marker)
			if err != nil {
				return n, err
			}
			if !ok {
				continue
			}
		}
		n++
		if !slices.Contains(places, d.Place) {
			places = append(places, d.Place)
		}
	}
	for _, p := range places {
		l.Router.Hurry(p)
	}
	if n == 0 {
		return 0, errors.New("its content is no longer there")
	}
	return n, nil
}

// Drop gives letters up for good: one by its id, or all of an account. Nobody is told. It returns how many.
func (l *Letters) Drop(ctx context.Context, id, account string) (n int, err error) {
	all, err := l.meant(ctx, id, account)
	if err != nil {
		return 0, err
	}
	for _, d := range all {
		ok, err := l.Store.Drop(ctx, d.Marker, "dropped by command")
		if err != nil {
			return n, err
		}
		if ok {
			n++
			l.Router.Hurry(d.Place) // what stood behind it
		}
	}
	return n, nil
}

// Tidy gives dead letters up for good that nobody has asked for in time.
func (l *Letters) Tidy(ctx context.Context) error {
	all, err := l.Store.Deliveries(ctx, store.DeliveryFilter{Dead: true})
	if err != nil {
		return err
	}
	for _, d := range all {
		name := config.DefaultPolicy
		if !d.Room.IsZero() {
			if name, _, err = l.Policy(ctx, d.Room); err != nil {
				return err
			}
		}
		keep := l.Retention(name)
		if time.Since(d.Made) <= keep.Undelivered+keep.Dead {
			continue
		}
		if _, err := l.Store.Drop(ctx, d.Marker, d.Reason); err != nil {
			return err
		}
	}
	return nil
}

// Trace is what is known of one version of a message: where it came from, and what became of it everywhere. Times are zero where the
// step was not taken, or not here.
type Trace struct {
	Message  string
	First    string `json:",omitempty"` // the version it replaces, if it is an edit or a deletion
	Kind     string // message, reaction, deletion or refused
	Room     string
	Sender   string    // their MIMI address
	From     string    `json:",omitempty"` // account's network and chat, where it was said here
	Taken    time.Time // from there, or from the hub
	Accepted time.Time `json:",omitzero"` // by the room's hub
	Body     bool      // it is still kept
	To       []Letter
}

var messageKinds = map[router.MessageKind]string{router.Said: "message", router.Reacted: "reaction", router.Undone: "deletion", router.Rejected: "refused"}

// Trace returns what is known of a message, by its id or the id that a network gave it. Several messages may have the same native id.
func (l *Letters) Trace(ctx context.Context, name string) ([]Trace, error) {
	var ids []content.MessageID
	if id, err := content.ParseMessageID(name); err == nil {
		ids = append(ids, id)
	} else if ids, err = l.Store.MessagesOf(ctx, adapter.NativeID(name)); err != nil {
		return nil, err
	}
	var all []Trace
	for _, id := range ids {
		t, ok, err := l.traceOf(ctx, id)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no such message is known here: its id is in the log, or it is the id that a network gave it")
	}
	return all, nil
}

func (l *Letters) traceOf(ctx context.Context, id content.MessageID) (t Trace, found bool, err error) {
	m, ok, err := l.Store.Message(ctx, id)
	if err != nil || !ok {
		return t, false, err
	}
	t = Trace{Message: id.String(), Kind: messageKinds[m.Kind], Room: m.Room.String(), Sender: m.Sender.String(), Taken: m.Made, Accepted: m.Accepted}
	if m.First != m.ID {
		t.First = m.First.String()
	}
	if m.Place != (router.Place{}) {
		t.From = fmt.Sprintf("%s %s", m.Place.Network, m.Place.Conversation)
	}
	body, err := l.Store.Body(ctx, id)
	if err != nil {
		return t, false, err
	}
	t.Body = body != nil
	deliveries, err := l.Store.Deliveries(ctx, store.DeliveryFilter{Message: id})
	if err != nil {
		return t, false, err
	}
	for _, d := range deliveries {
		one, err := l.letter(ctx, d)
		if err != nil {
			return t, false, err
		}
		events, err := l.Store.NativeEvents(ctx, d.Place, m.First)
		if err != nil {
			return t, false, err
		}
		for _, ev := range events {
			if ev.Message == id {
				one.Native = append(one.Native, string(ev.ID))
			}
		}
		t.To = append(t.To, one)
	}
	return t, true, nil
}
