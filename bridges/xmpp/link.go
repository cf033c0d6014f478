package xmpp

import (
	"context"
	"sync"
	"time"

	"mimigate/core/adapter"
)

// link is the time of one connection: its stream, and all that runs while it lasts.
type link struct {
	a    *Adapter
	s    *stream
	sink adapter.Sink
	ctx  context.Context // ends with the connection or with Run

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// start runs f until the link ends; false if it has ended.
func (l *link) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(f)
	return true
}

// wait ends the link and returns when nothing of it runs any more.
func (l *link) wait() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
}

const (
	offerAgain    = 50 * time.Millisecond // after an event was not taken; doubled each time
	offerAgainMax = 10 * time.Second
)

// receive gives an event to the gateway until it is taken. It fails only when the link ends.
func (l *link) receive(ctx context.Context, ev adapter.Event) error {
	for pause := offerAgain; ; pause = min(2*pause, offerAgainMax) {
		err := l.sink.Receive(ctx, ev)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.a.account.Log.Warn("event not taken, will be offered again", "conversation", ev.Conversation, "err", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lane is the order of one conversation: what is to be reported of it, one thing after the other. It runs only while it has
// something to do.
type lane struct {
	mu    sync.Mutex
	items []func(ctx context.Context, l *link) error // an error means that the link ended
	busy  bool
	// keep: what is left when the link ends goes on with the next; otherwise it comes from the archive.
	keep bool
	// idle is called when there is nothing more to do; may be nil.
	idle func(ctx context.Context)
}

// maxLane is how many things may wait in a lane.
const maxLane = 5000

// push appends something to do; false if too much waits already.
func (ln *lane) push(l *link, item func(ctx context.Context, l *link) error) bool {
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
func (ln *lane) run(l *link) {
	if !ln.busy && len(ln.items) > 0 {
		ln.busy = l.start(func() { ln.work(l) })
	}
}

func (ln *lane) work(l *link) {
	worked := false
	for {
		ln.mu.Lock()
		if len(ln.items) == 0 && worked && ln.idle != nil && l.ctx.Err() == nil {
			ln.mu.Unlock()
			ln.idle(l.ctx)
			worked = false
			continue
		}
		if len(ln.items) == 0 || l.ctx.Err() != nil {
			ln.busy = false
			ln.mu.Unlock()
			return
		}
		item := ln.items[0]
		ln.mu.Unlock()
		if err := item(l.ctx, l); err == nil {
			ln.mu.Lock()
			ln.items[0] = nil
			ln.items = ln.items[1:]
			ln.mu.Unlock()
			worked = true
		}
	}
}

// resume makes the lane ready for a new link.
func (ln *lane) resume(l *link) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if !ln.keep {
		ln.items = nil
	}
	ln.run(l)
}

// empty reports whether there is nothing to do.
func (ln *lane) empty() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return len(ln.items) == 0 && !ln.busy
}

// recent remembers the last size pairs put into it.
type recent struct {
	size  int
	known map[string]string
	order []string
}

func newRecent(size int) *recent { return &recent{size: size, known: map[string]string{}} }

// put remembers a pair; the first value of a key stays.
func (r *recent) put(key, value string) {
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

func (r *recent) get(key string) (string, bool) {
	v, ok := r.known[key]
	return v, ok
}
