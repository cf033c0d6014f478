// Package follower takes what hubs fan out (design §4 step 9): from a room's hub only, each request once, into the room's inbox, in
// order. It opens nothing; whoever has the MLS state does that.
package follower

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// Work runs units of work that travel in the context (design §5).
type Work interface {
	// Do runs fn as a unit, or within ctx's unit as a part of it that may fail by itself.
	Do(ctx context.Context, fn func(context.Context) error) error
	// OnCommit calls f once ctx's unit is committed.
	OnCommit(ctx context.Context, f func())
}

// Inbox keeps what has come, until it is opened.
type Inbox interface {
	// PutInbox appends the body of a request to a room's inbox. It reports false, and does nothing, for a body that was put there
	// within the last seven days.
	PutInbox(ctx context.Context, room uri.Room, body []byte, hash [sha256.Size]byte, at time.Time) (bool, error)
	// InboxRooms returns the rooms whose inbox is not empty.
	InboxRooms(ctx context.Context) ([]uri.Room, error)
}

// Opener opens all that stands in a room's inbox, within ctx's unit (T4).
type Opener interface {
	Open(ctx context.Context, room uri.Room) error
}

// Store is what a Follower keeps its state in.
type Store interface {
	Work
	Inbox
}

// Config is what a Follower needs.
type Config struct {
	Store  Store
	Opener Opener
	Now    func() time.Time
	Log    *slog.Logger
}

// Follower is the follower role of this provider: [mimi.Follower]. Its methods may be called from several goroutines.
type Follower struct {
	Config
	queues *mimi.Queues[uri.Room]
}

var _ mimi.Follower = (*Follower)(nil)

// New returns a follower. It opens nothing that stands in an inbox from before until Start.
func New(cfg Config) *Follower {
	f := &Follower{Config: cfg}
	f.queues = mimi.NewQueues(f.open)
	return f
}

// Start begins to open what stands in the inboxes.
func (f *Follower) Start(ctx context.Context) error {
	rooms, err := f.Store.InboxRooms(ctx)
	if err != nil {
		return fmt.Errorf("follower: %w", err)
	}
	for _, r := range rooms {
		f.queues.Wake(r)
	}
	return nil
}

// Close ends what the follower does by itself, and waits for it.
func (f *Follower) Close() { f.queues.Close() }

// Notify implements [mimi.Follower] (mimi-protocol-06 §5.5). The room's hub is the provider of the room's domain; a body that is not
// understood to its end is refused as a whole. What it put on disk (T3) it also tries to open at once, as a part of the unit that
// may fail by itself: then the inbox is tried again later.
func (f *Follower) Notify(ctx context.Context, from uri.Provider, room uri.Room, body []byte) error {
	if from != room.Provider() {
		return fmt.Errorf("%w: %s is not the hub of the room", mimi.ErrForbidden, from.Domain())
	}
	if _, err := mimi.ParseFanout(body); err != nil {
		return err
	}
	return f.Store.Do(ctx, func(ctx context.Context) error {
		fresh, err := f.Store.PutInbox(ctx, room, body, mimi.InboxHash(room, body), f.Now())
		if err != nil || !fresh {
			return err
		}
		if err := f.Store.Do(ctx, func(ctx context.Context) error { return f.Opener.Open(ctx, room) }); err != nil {
			f.Log.Warn("a room's inbox could not be opened, trying again", "room", room, "error", err)
			f.Store.OnCommit(ctx, func() { f.queues.Wake(room) })
		}
		return nil
	})
}

// open is the work of a room's queue: what could not be opened when it came.
func (f *Follower) open(ctx context.Context, room uri.Room) (more bool, err error) {
	err = f.Store.Do(ctx, func(ctx context.Context) error { return f.Opener.Open(ctx, room) })
	if err != nil {
		f.Log.Warn("a room's inbox could not be opened, trying again", "room", room, "error", err)
	}
	return false, err
}
