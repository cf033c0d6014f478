package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"mimigate/core/uri"
)

// Limits are what a Server bears from one peer. The drafts set none.
type Limits struct {
	// Rate is how many requests a second a peer may make for long, Burst how many at once.
	Rate, Burst float64
	// Memory is how many octets of large bodies are held at a time, for one peer.
	Memory int64
}

// DefaultLimits bear a busy room, and a Welcome with the tree of 5,000 clients.
var DefaultLimits = Limits{Rate: 500, Burst: 5000, Memory: 256 << 20}

// The largest bodies, in octets: of what grows with a room, of a message, and of everything else.
const (
	roomMax    = 64 << 20
	messageMax = 1 << 20
	consentMax = 4 << 20 // with key packages
	otherMax   = 64 << 10
	// smallBody is what does not count against Limits.Memory.
	smallBody = 1 << 20
)

// slowest is how many octets a second a body must at least come with, after the first bodyTime.
const (
	slowest  = 64 << 10
	bodyTime = 30 * time.Second
)

// bucket is what a peer may still ask at once; it fills again with time (token bucket).
type bucket struct {
	level float64
	at    time.Time
	held  int64 // octets of large bodies
}

// meter holds peers to the limits.
type meter struct {
	Limits
	now func() time.Time

	mu  sync.Mutex
	all map[uri.Provider]*bucket
}

func newMeter(l Limits, now func() time.Time) *meter {
	return &meter{Limits: l, now: now, all: make(map[uri.Provider]*bucket)}
}

// of returns a peer's bucket; the lock is held.
func (m *meter) of(peer uri.Provider) *bucket {
	b := m.all[peer]
	if b == nil {
		b = &bucket{level: m.Burst, at: m.now()}
		m.all[peer] = b
	}
	return b
}

// take counts a request of a peer. It returns how long the peer has to wait instead; 0: not at all.
func (m *meter) take(peer uri.Provider, cost float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, now := m.of(peer), m.now()
	b.level = min(m.Burst, b.level+m.Rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.level >= cost {
		b.level -= cost
		return 0
	}
	return time.Duration((cost - b.level) / m.Rate * float64(time.Second))
}

// hold asks for memory for a body; false: it is all taken.
func (m *meter) hold(peer uri.Provider, octets int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.of(peer)
	if b.held+octets > m.Memory {
		return false
	}
	b.held += octets
	return true
}

func (m *meter) release(peer uri.Provider, octets int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(peer).held -= octets
}

// body reads the body of a peer's request, which has at most limit octets. What a small one needs is always there; more is asked for
// as it comes, and given back by done.
func (m *meter) body(w http.ResponseWriter, r *http.Request, peer uri.Provider, limit int64) (body []byte, done func(), err error) {
	done = func() {}
	if r.ContentLength > limit {
		return nil, done, tooLarge(limit)
	}
	patience := bodyTime + time.Duration(max(r.ContentLength, smallBody)/slowest)*time.Second
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, done, err
	}
	held := int64(0)
	done = func() { m.release(peer, held) }
	for step := int64(smallBody); ; step = int64(len(body)) {
		want := min(step, limit+1-int64(len(body)))
		if len(body) > 0 {
			if !m.hold(peer, want) {
				return nil, done, status(http.StatusServiceUnavailable, memoryWait, errors.New("too many large bodies at a time"))
			}
			held += want
		}
		n := len(body)
		part, err := io.ReadAll(io.LimitReader(r.Body, want))
		body = append(body, part...)
		switch {
		case err != nil:
			return nil, done, status(http.StatusBadRequest, 0, fmt.Errorf("the body does not come: %w", err))
		case int64(len(body)) > limit:
			return nil, done, tooLarge(limit)
		case int64(len(body)-n) < want:
			return body, done, nil
		}
	}
}

// memoryWait is when a peer may try again whose bodies fill the memory.
const memoryWait = 5 * time.Second

func tooLarge(limit int64) error {
	return status(http.StatusRequestEntityTooLarge, 0, fmt.Errorf("a body of more than %d octets", limit))
}

// answerTime is how long an endpoint may take, after the body has come.
const answerTime = 2 * time.Minute

func withinAnswerTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTime)
}
