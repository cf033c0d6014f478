package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// Recorder is a sink that records what it is given and holds it to the contract. The zero value is ready.
type Recorder struct {
	mu      sync.Mutex
	taken   []adapter.Event
	refused []adapter.Event
	refuse  func(adapter.Event) error
	broken  []string
	busy    map[adapter.Conversation]bool
	stopped bool
	changed chan struct{} // closed at the next change
}

var _ adapter.Sink = (*Recorder)(nil)

// Receive takes the event, or refuses it as Refuse said.
func (r *Recorder) Receive(ctx context.Context, ev adapter.Event) error {
	leave := r.enter(ev)
	defer leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.wake()
	if r.refuse != nil {
		if err := r.refuse(ev); err != nil {
			r.refused = append(r.refused, ev)
			return err
		}
	}
	r.taken = append(r.taken, ev)
	return nil
}

// enter notes what breaks the contract: a malformed event, events of one conversation at the same time, or after the end of Run.
func (r *Recorder) enter(ev adapter.Event) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range Violations(ev) {
		r.broken = append(r.broken, fmt.Sprintf("%s: %T %q", text, ev.Body, ev.ID))
	}
	if r.stopped {
		r.broken = append(r.broken, fmt.Sprintf("%T reported after Run returned", ev.Body))
	}
	if r.busy == nil {
		r.busy = map[adapter.Conversation]bool{}
	}
	if ev.Conversation != "" && r.busy[ev.Conversation] {
		r.broken = append(r.broken, "two events of one conversation at the same time")
	}
	r.busy[ev.Conversation] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, ev.Conversation)
	}
}

// wake tells those who wait; r.mu is held.
func (r *Recorder) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Refuse makes Receive return what decide returns: an error for an event that is not to be taken. nil takes everything again.
func (r *Recorder) Refuse(decide func(adapter.Event) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = decide
}

// Events returns what was taken so far, in order.
func (r *Recorder) Events() []adapter.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// Refused returns what was refused so far, in order.
func (r *Recorder) Refused() []adapter.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

// Broken returns how the adapter broke the contract, in words.
func (r *Recorder) Broken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.broken)
}

// Wait waits for a taken event that match wants and returns the first, or an error when ctx ends.
func (r *Recorder) Wait(ctx context.Context, match func(adapter.Event) bool) (adapter.Event, error) {
	for {
		r.mu.Lock()
		if i := slices.IndexFunc(r.taken, match); i >= 0 {
			defer r.mu.Unlock()
			return r.taken[i], nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed, n := r.changed, len(r.taken)
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return adapter.Event{}, fmt.Errorf("not among %d events: %w", n, ctx.Err())
		}
	}
}

// stop says that Run has returned, start that it was called.
func (r *Recorder) stop()  { r.mu.Lock(); r.stopped = true; r.mu.Unlock() }
func (r *Recorder) start() { r.mu.Lock(); r.stopped = false; r.mu.Unlock() }

// Violations says in words how an event breaks the contract of package adapter; nil: it does not.
func Violations(ev adapter.Event) []string {
	var out []string
	add := func(bad bool, text string) {
		if bad {
			out = append(out, text)
		}
	}
	needsID := false
	switch body := ev.Body.(type) {
	case nil:
		add(true, "no body")
	case adapter.Message:
		needsID = true
		out = append(out, messageViolations(body)...)
	case adapter.Reactions:
		needsID = true
		add(body.To == "", "reactions to nothing")
	case adapter.Invitation, adapter.Command:
		needsID = true
	case adapter.Membership:
		add(body.Change == 0, "membership without a change")
		add(len(body.Person.IDs) == 0, "membership of nobody")
	case adapter.Profile:
		add(len(body.Person.IDs) == 0, "profile of nobody")
	case adapter.Receipt:
		add(len(body.IDs) == 0 || body.Status == 0, "empty receipt")
	case adapter.Status:
		add(body.State == 0, "status without a state")
	}
	if needsID {
		add(ev.ID == "", "no id")
		add(ev.Conversation == "", "no conversation")
		add(len(ev.Sender.IDs) == 0, "no sender")
	}
	add(!utf8.ValidString(ev.Sender.Name), "sender's name is not UTF-8")
	return out
}

func messageViolations(m adapter.Message) []string {
	if m.Content == nil {
		return []string{"message without content"}
	}
	var out []string
	if !m.Content.Replaces.IsZero() || !m.Content.InReplyTo.IsZero() {
		out = append(out, "an adapter gave a MIMI message id")
	}
	if m.Content.Salt != (content.Salt{}) || m.Content.SenderURI != "" || m.Content.RoomURI != "" {
		out = append(out, "an adapter gave salt, sender or room")
	}
	for _, p := range m.Content.Body.Walk() {
		if single, ok := p.Body.(content.Single); ok && p.IsText() && !utf8.Valid(single.Content) {
			out = append(out, "text is not UTF-8")
		}
	}
	if m.Content.Body.IsNull() && m.Replaces == "" {
		out = append(out, "a deletion of nothing")
	}
	return out
}

// State is an adapter.State in memory. The zero value is ready.
type State struct {
	mu     sync.Mutex
	values map[string][]byte
}

var _ adapter.State = (*State)(nil)

// ErrState is returned for a key or value beyond what adapter.State allows.
var ErrState = errors.New("key or value of the account's state too long")

// Get returns a copy of the value of a key, or nil.
func (s *State) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values[key]), nil
}

// Put sets or, with nil, removes a key.
func (s *State) Put(ctx context.Context, key string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key == "" || len(key) > 255 || len(value) > 1<<20 {
		return ErrState
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	if value == nil {
		delete(s.values, key)
		return nil
	}
	s.values[key] = slices.Clone(value)
	return nil
}

// Copy returns a State with the same values: as a backup, or to start again from an earlier position.
func (s *State) Copy() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &State{values: make(map[string][]byte, len(s.values))}
	for k, v := range s.values {
		out.values[k] = slices.Clone(v)
	}
	return out
}

// WaitFor asks done again and again until it returns nil, and fails the test with what and its last error when patience ends.
func WaitFor(t *testing.T, patience time.Duration, what string, done func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	pause := 5 * time.Millisecond
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond) // a client in another process is not to be busy with answering
		case <-deadline.C:
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		}
	}
}
