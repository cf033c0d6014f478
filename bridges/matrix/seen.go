package matrix

import (
	"sync"

	"maunium.net/go/mautrix/id"
)

// seenSize is how many event ids are remembered: what comes by both transactions and /sync, or in a repeated transaction, comes
// soon. What is older the router recognises.
const seenSize = 8192

// seen remembers the last events that the gateway has taken.
type seen struct {
	mu   *sync.Mutex
	has  map[id.EventID]bool
	ring []id.EventID
	next int
}

func newSeen(size int) seen {
	return seen{mu: &sync.Mutex{}, has: make(map[id.EventID]bool, size), ring: make([]id.EventID, size)}
}

func (s *seen) contains(event id.EventID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has[event]
}

func (s *seen) add(event id.EventID) {
	if event == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has[event] {
		return
	}
	delete(s.has, s.ring[s.next])
	s.has[event], s.ring[s.next] = true, event
	s.next = (s.next + 1) % len(s.ring)
}
