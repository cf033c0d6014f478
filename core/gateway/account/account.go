// Package account runs one configured account: its adapter is run again whenever it ends, and its mistakes are contained. Nothing that
// happens in one account stops another.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
)

const (
	// The pauses between two runs of an adapter double from the first to the longest. A run that lasted settledAfter was a good one:
	// after it, they begin anew.
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	settledAfter = time.Minute
)

// Account is one configured account: its adapter, and what is known of how it does.
type Account struct {
	config  config.Account
	adapter adapter.Adapter // nil: it cannot be used, and status says why
	log     *slog.Logger
	again   chan struct{} // holds one: run at once, somebody has acted

	stop func()        // ends its run; nil: it was not launched
	done chan struct{} // closed when nothing of it runs any more

	mu      sync.Mutex
	status  adapter.Status
	since   time.Time            // when the status' state began
	heard   adapter.AccountState // the last that the adapter reported itself
	changed chan struct{}        // closed and replaced when status changes

	linking sync.Mutex // held while a step of a login is done
}

// New makes the adapter of a configured account. An account that cannot be used is one too; its status says what is wrong, and in
// which line.
func New(c config.Account, driver adapter.Driver, around adapter.Account) *Account {
	a := &Account{config: c, log: around.Log, again: make(chan struct{}, 1), since: time.Now(), changed: make(chan struct{}),
		status: adapter.Status{State: adapter.Connecting}}
	err := unusable(c)
	if err == nil {
		a.adapter, err = makeAdapter(driver, around)
	}
	if err != nil {
		a.status = adapter.Status{State: adapter.Rejected, Reason: place(c, err), Do: "correct the configuration, and restart mimigate"}
		a.log.Error("account cannot be used", "error", a.status.Reason)
	}
	return a
}

// unusable returns what package config has found.
func unusable(c config.Account) error {
	if len(c.Problems) == 0 {
		return nil
	}
	return c.Problems
}

// place returns an error about an account with its place in the file.
func place(c config.Account, err error) string {
	if p := (config.Problems)(nil); errors.As(err, &p) {
		return p.Error()
	}
	problem := c.Problem(err)
	problem.Text = strings.TrimPrefix(problem.Text, "account "+c.ID+": ") // who shows a status names the account
	return problem.String()
}

func makeAdapter(driver adapter.Driver, around adapter.Account) (a adapter.Adapter, err error) {
	defer contain(&err, around.Log)
	made, err := driver.New(around)
	if err != nil {
		return nil, err // whatever made is: a nil pointer in an interface is none
	}
	return made, nil
}

// contain turns a panic into an error: a mistake in one adapter must not stop the others. What it had in hand may be in disorder, so the
// adapter's connection is made anew.
func contain(err *error, log *slog.Logger) {
	if p := recover(); p != nil {
		log.Error("a mistake in the program", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = fmt.Errorf("a mistake in the program: %v", p)
	}
}

// Launch runs the account in a goroutine of its own, until ctx ends or it is landed.
func (a *Account) Launch(ctx context.Context, sink adapter.Sink) {
	ctx, a.stop = context.WithCancel(ctx)
	a.done = make(chan struct{})
	go func() {
		defer close(a.done)
		a.run(ctx, sink)
	}()
}

// Land ends the account's run, and waits for it.
func (a *Account) Land() {
	if a.stop != nil {
		a.stop()
		<-a.done
	}
}

// Unbound is what is to be done about chats that are not bound, which changes without the adapter.
func (a *Account) Unbound() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Unbound
}

// SetUnbound changes that.
func (a *Account) SetUnbound(word string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config.Unbound = word
}

// ID is the account's id in the configuration.
func (a *Account) ID() string { return a.config.ID }

// Network is the name of its network.
func (a *Account) Network() string { return a.config.Network }

// Adapter is its adapter; nil: the account cannot be used, and its state says why.
func (a *Account) Adapter() adapter.Adapter { return a.adapter }

// Launched reports whether Launch was called.
func (a *Account) Launched() bool { return a.done != nil }

// State is how an account does.
type State struct {
	adapter.Status
	Since time.Time            // when it began to be in that state
	Heard adapter.AccountState // the last that the adapter reported itself
}

// Works reports whether the account is connected, if only in part.
func (s State) Works() bool {
	return s.State == adapter.Connected || s.State == adapter.Degraded
}

// Now returns how the account does.
func (a *Account) Now() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return State{a.status, a.since, a.heard}
}

// run runs the adapter until ctx ends. It returns when nothing of the adapter runs any more.
func (a *Account) run(ctx context.Context, sink adapter.Sink) {
	if a.adapter == nil {
		return
	}
	for failures := 0; ctx.Err() == nil; failures++ {
		began := time.Now()
		err := a.runOnce(ctx, watched{a, sink})
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= settledAfter {
			failures = 0
		}
		pause := min(firstPause<<min(failures, 20), longestPause)
		pause = pause*3/4 + rand.N(pause/2)
		a.ended(err, pause)
		if !a.wait(ctx, err, pause) {
			return
		}
	}
}

func (a *Account) runOnce(ctx context.Context, sink adapter.Sink) (err error) {
	defer contain(&err, a.log)
	return a.adapter.Run(ctx, sink)
}

// wait waits until the adapter is to be run again, and reports false when ctx has ended.
func (a *Account) wait(ctx context.Context, err error, pause time.Duration) bool {
	var later <-chan time.Time // never, where somebody must act first
	if !errors.Is(err, adapter.ErrAccount) {
		t := time.NewTimer(pause)
		defer t.Stop()
		later = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-a.again:
	case <-later:
	}
	return true
}

// ended notes that a run has ended.
func (a *Account) ended(err error, pause time.Duration) {
	if err == nil {
		err = errors.New("the connection was closed")
	}
	now := adapter.Status{State: adapter.Connecting, Reason: err.Error()}
	if errors.Is(err, adapter.ErrAccount) {
		a.log.Error("account needs attention", "error", err)
		// What the adapter has reported says more, where it has reported.
		if said, _ := a.now(); said.State >= adapter.LoggedOut {
			return
		}
		now.State = adapter.Rejected
	} else {
		a.log.Warn("account not connected", "error", err, "again_in", pause.Round(time.Second))
	}
	a.note(now)
}

// note takes a status.
func (a *Account) note(s adapter.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == s {
		return
	}
	if a.status.State != s.State {
		a.since = time.Now()
	}
	a.status = s
	close(a.changed)
	a.changed = make(chan struct{})
}

// now returns the account's status, and what is closed when it changes.
func (a *Account) now() (adapter.Status, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status, a.changed
}

// Retry lets an account that waits run at once.
func (a *Account) Retry() {
	if s, _ := a.now(); a.adapter == nil || s.State == adapter.Connected || s.State == adapter.Degraded {
		return
	}
	a.note(adapter.Status{State: adapter.Connecting})
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// Connected waits until the account is connected, or has failed to: the error says why, and what to do.
func (a *Account) Connected(ctx context.Context) error {
	for {
		s, changed := a.now()
		switch {
		case s.State == adapter.Connected || s.State == adapter.Degraded:
			return nil
		case s.State != adapter.Connecting || s.Reason != "":
			return statusError(s)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no connection in time: %w", context.Cause(ctx))
		}
	}
}

// statusError returns a status as an error.
func statusError(s adapter.Status) error {
	text := s.Reason
	if text == "" {
		text = s.State.String()
	}
	if s.Do != "" {
		text += "; to do: " + s.Do
	}
	return errors.New(text)
}

// watched is a sink that notes what an account's adapter says of itself, and keeps mistakes behind the next sink from the adapter.
type watched struct {
	account *Account
	next    adapter.Sink
}

// Receive implements adapter.Sink.
func (w watched) Receive(ctx context.Context, ev adapter.Event) (err error) {
	defer contain(&err, w.account.log)
	if s, ok := ev.Body.(adapter.Status); ok {
		w.account.note(s)
		w.account.mu.Lock()
		w.account.heard = s.State
		w.account.mu.Unlock()
	}
	return w.next.Receive(ctx, ev)
}
