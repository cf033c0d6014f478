package mimi

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// The time between attempts doubles from the first to the longest; none of the drafts sets one.
const (
	firstRetry   = time.Second
	longestRetry = 15 * time.Minute
)

// Queues does work that is kept in order for each of many keys: what is to be sent to one provider for one room, what is to be
// opened in one room. A key with work has one goroutine; a key without has none. What the work is stands on disk: a queue
// is told by Wake only that there is some.
type Queues[K comparable] struct {
	work func(ctx context.Context, key K) (more bool, err error)
	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex
	active map[K]*queue
}

// queue is the state of a key that has a goroutine.
type queue struct {
	again bool          // woken since the goroutine last asked for work
	hurry chan struct{} // closed to end the delay before its first work
}

// NewQueues returns queues whose keys' work is done by work, one piece with each call; more says whether there is any left. After an
// error the same key is tried again, with growing pauses or when the error (see [RetryAfter]) says.
func NewQueues[K comparable](work func(ctx context.Context, key K) (more bool, err error)) *Queues[K] {
	q := &Queues[K]{work: work, active: make(map[K]*queue)}
	q.ctx, q.stop = context.WithCancel(context.Background())
	return q
}

// Wake says that there is work for a key.
func (q *Queues[K]) Wake(key K) { q.WakeAfter(key, 0) }

// WakeAfter says that there is work for a key, which may wait for more to come, for at most so long.
func (q *Queues[K]) WakeAfter(key K, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() != nil {
		return // closed: the work stands on disk
	}
	if run := q.active[key]; run != nil {
		run.again = true
		if delay == 0 && run.hurry != nil {
			close(run.hurry)
			run.hurry = nil
		}
		return
	}
	run := &queue{}
	hurry := make(chan struct{})
	if delay > 0 {
		run.hurry = hurry
	} else {
		close(hurry)
	}
	q.active[key] = run
	q.all.Go(func() { q.run(key, run, hurry, delay) })
}

func (q *Queues[K]) run(key K, run *queue, hurry <-chan struct{}, delay time.Duration) {
	q.pause(delay, hurry)
	q.mu.Lock()
	run.hurry = nil
	q.mu.Unlock()
	for failures := 0; q.ctx.Err() == nil; {
		more, err := q.work(q.ctx, key)
		switch {
		case err != nil:
			q.pause(backoff(failures, err), nil)
			failures++
		case more:
			failures = 0
		case q.done(key, run):
			return
		}
	}
	q.mu.Lock()
	delete(q.active, key)
	q.mu.Unlock()
}

// done ends a queue, unless it was woken meanwhile.
func (q *Queues[K]) done(key K, run *queue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if run.again {
		run.again = false
		return false
	}
	delete(q.active, key)
	return true
}

// backoff is the pause after so many failures before this one, a little different for each queue, so that they do not all
// come back at once.
func backoff(failures int, err error) time.Duration {
	if after, ok := RetryTime(err); ok {
		return after
	}
	d := min(firstRetry<<min(failures, 20), longestRetry)
	return d*3/4 + rand.N(d/2)
}

func (q *Queues[K]) pause(d time.Duration, hurry <-chan struct{}) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hurry:
	case <-q.ctx.Done():
	}
}

// Close ends all work, by its context, and waits for it.
func (q *Queues[K]) Close() {
	q.mu.Lock()
	q.stop() // under the lock: no goroutine is begun after it
	q.mu.Unlock()
	q.all.Wait()
}
