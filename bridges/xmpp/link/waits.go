package link

import (
	"sync"
	"time"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Outcome is what became of a message that was sent: the id that it got, or why it was not taken.
type Outcome struct {
	ID   adapter.NativeID
	Time time.Time
	Err  *wire.StanzaError
}

// Waits are those who wait for what becomes of a message. The zero value is ready.
type Waits struct {
	mu      sync.Mutex
	waiting map[string]chan Outcome // "<conversation> <id>"
}

// Await registers a message that is about to be sent.
func (w *Waits) Await(c adapter.Conversation, id string) (became <-chan Outcome, forget func()) {
	key, ch := string(c)+" "+id, make(chan Outcome, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]chan Outcome{}
	}
	w.waiting[key] = ch
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, key)
	}
}

// Settle tells whoever waits what became of a message.
func (w *Waits) Settle(c adapter.Conversation, id string, o Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.waiting[string(c)+" "+id] <- o: // of nobody: a nil channel
	default:
	}
}
