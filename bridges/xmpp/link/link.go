// Package link is the time of one connection, and the order in which things are reported in it: one lane for each conversation.
package link

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Link is the time of one connection: its wire.Stream, and all that runs while it lasts.
type Link struct {
	Stream *wire.Stream
	Sink   adapter.Sink
	Ctx    context.Context // ends with the connection or with Run
	Log    *slog.Logger

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// Start runs f until the link ends; false if it has ended.
func (l *Link) Start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(f)
	return true
}

// Wait ends the link and returns when nothing of it runs any more.
func (l *Link) Wait() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
}

const (
	offerAgain    = 50 * time.Millisecond // after an event was not taken; doubled each time
	offerAgainMax = 10 * time.Second
)

// Receive gives an event to the gateway until it is taken; typing, which soon means nothing any more, once. It fails only when the
// link ends.
func (l *Link) Receive(ctx context.Context, ev adapter.Event) error {
	for pause := offerAgain; ; pause = min(2*pause, offerAgainMax) {
		err := l.Sink.Receive(ctx, ev)
		if err == nil {
			return nil
		}
		if _, typing := ev.Body.(adapter.Typing); typing || ctx.Err() != nil {
			return ctx.Err()
		}
		l.Log.Warn("event not taken, will be offered again", "conversation", ev.Conversation, "err", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lane is the order of one conversation: what is to be reported of it, one thing after the other. It runs only while it has
// something to do.
type Lane struct {
	mu    sync.Mutex
	items []func(ctx context.Context, l *Link) error // an error means that the link ended
	busy  bool
	// Keep: what is left when the link ends goes on with the next; otherwise it comes from the archive.
	Keep bool
}

// maxLane is how many things may wait in a lane.
const maxLane = 5000

// Push appends something to do; false if too much waits already.
func (ln *Lane) Push(l *Link, item func(ctx context.Context, l *Link) error) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if len(ln.items) >= maxLane {
		return false
	}
	ln.items = append(ln.items, item)
	ln.run(l)
	return true
}

// run starts the work, if there is some and nobody is at it; ln.mu is held.
func (ln *Lane) run(l *Link) {
	if !ln.busy && len(ln.items) > 0 {
		ln.busy = l.Start(func() { ln.work(l) })
	}
}

func (ln *Lane) work(l *Link) {
	for {
		ln.mu.Lock()
		if len(ln.items) == 0 || l.Ctx.Err() != nil {
			ln.busy = false
			ln.mu.Unlock()
			return
		}
		item := ln.items[0]
		ln.mu.Unlock()
		if err := item(l.Ctx, l); err == nil {
			ln.mu.Lock()
			ln.items[0] = nil
			ln.items = ln.items[1:]
			ln.mu.Unlock()
		}
	}
}

// Resume makes the lane ready for a new link.
func (ln *Lane) Resume(l *Link) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if !ln.Keep {
		ln.items = nil
	}
	ln.run(l)
}

// Empty reports whether there is nothing to do.
func (ln *Lane) Empty() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return len(ln.items) == 0 && !ln.busy
}

// Recent remembers the last size pairs put into it.
type Recent struct {
	size  int
	known map[string]string
	order []string
}

// NewRecent returns a memory of size pairs. It is not for use by several goroutines at once.
func NewRecent(size int) *Recent { return &Recent{size: size, known: map[string]string{}} }

// Put remembers a pair; the first value of a key stays.
func (r *Recent) Put(key, value string) {
	if _, ok := r.known[key]; ok {
		return
	}
	if len(r.order) >= r.size {
		delete(r.known, r.order[0])
		r.order = r.order[1:]
	}
	r.known[key] = value
	r.order = append(r.order, key)
}

// Get returns the value of a key.
func (r *Recent) Get(key string) (string, bool) {
	v, ok := r.known[key]
	return v, ok
}
