package gateway

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

// account is one configured account: its adapter, which is run again whenever it ends, and what is known of how it does. Nothing
// that happens in it stops another account.
type account struct {
	config  config.Account
	adapter adapter.Adapter // nil: it cannot be used, and status says why
	log     *slog.Logger
	again   chan struct{} // holds one: run at once, somebody has acted

	stop func()        // ends its run; nil: it was not launched
	done chan struct{} // closed when nothing of it runs any more

	mu      sync.Mutex
	status  adapter.Status
	since   time.Time
	changed chan struct{} // closed and replaced when status changes
}

// newAccount makes the adapter of a configured account. An account that cannot be used is one too; its status says what is wrong, and in
// which line.
func newAccount(c config.Account, driver adapter.Driver, around adapter.Account) *account {
	a := &account{config: c, log: around.Log, again: make(chan struct{}, 1), since: time.Now(), changed: make(chan struct{}),
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

// launch runs the account in a goroutine of its own, until ctx ends or it is landed.
func (a *account) launch(ctx context.Context, sink adapter.Sink) {
	ctx, a.stop = context.WithCancel(ctx)
	a.done = make(chan struct{})
	go func() {
		defer close(a.done)
		a.run(ctx, sink)
	}()
}

// land ends the account's run, and waits for it.
func (a *account) land() {
	if a.stop != nil {
		a.stop()
		<-a.done
	}
}

// unbound is what is to be done about chats that are not bound, which changes without the adapter.
func (a *account) unbound() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Unbound
}

func (a *account) setUnbound(word string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config.Unbound = word
}

// run runs the adapter until ctx ends. It returns when nothing of the adapter runs any more.
func (a *account) run(ctx context.Context, sink adapter.Sink) {
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

func (a *account) runOnce(ctx context.Context, sink adapter.Sink) (err error) {
	defer contain(&err, a.log)
	return a.adapter.Run(ctx, sink)
}

// wait waits until the adapter is to be run again, and reports false when ctx has ended.
func (a *account) wait(ctx context.Context, err error, pause time.Duration) bool {
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
func (a *account) ended(err error, pause time.Duration) {
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
func (a *account) note(s adapter.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == s {
		return
	}
	a.status, a.since = s, time.Now()
	close(a.changed)
	a.changed = make(chan struct{})
}

// now returns the account's status, and what is closed when it changes.
func (a *account) now() (adapter.Status, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status, a.changed
}

// retry lets an account that waits run at once.
func (a *account) retry() {
	if s, _ := a.now(); a.adapter == nil || s.State == adapter.Connected || s.State == adapter.Degraded {
		return
	}
	a.note(adapter.Status{State: adapter.Connecting})
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// connected waits until the account is connected, or has failed to: the error says why, and what to do.
func (a *account) connected(ctx context.Context) error {
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
	account *account
	next    adapter.Sink
}

// Receive implements adapter.Sink.
func (w watched) Receive(ctx context.Context, ev adapter.Event) (err error) {
	defer contain(&err, w.account.log)
	if s, ok := ev.Body.(adapter.Status); ok {
		w.account.note(s)
	}
	return w.next.Receive(ctx, ev)
}
