package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/content"
)

// scripted is an adapter whose runs end as a script says; after its end they last until ctx ends.
type scripted struct {
	mu     sync.Mutex
	script []func(ctx context.Context, sink adapter.Sink) error
	began  []time.Time
}

func (s *scripted) Run(ctx context.Context, sink adapter.Sink) error {
	s.mu.Lock()
	s.began = append(s.began, time.Now())
	var run func(context.Context, adapter.Sink) error
	if len(s.script) > 0 {
		run, s.script = s.script[0], s.script[1:]
	}
	s.mu.Unlock()
	if run != nil {
		return run(ctx, sink)
	}
	if err := sink.Receive(ctx, adapter.Event{Body: adapter.Status{State: adapter.Connected}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (s *scripted) runs() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

func (s *scripted) Send(context.Context, adapter.Outbound) (adapter.Sent, error) {
	return adapter.Sent{}, adapter.ErrNotDelivered
}
func (s *scripted) Limits(adapter.Conversation) content.Limits { return content.Limits{} }

// account makes an account of the adapter, and runs it until the test ends.
func (s *scripted) account(t *testing.T, sink adapter.Sink) *Account {
	driver := adapter.Driver{Name: "scripted", New: func(adapter.Account) (adapter.Adapter, error) { return s, nil }}
	a := New(config.Account{ID: "one", Network: "scripted"}, driver, adapter.Account{ID: "one", Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.run(ctx, sink) })
	t.Cleanup(func() { stop(); running.Wait() })
	return a
}

func fails(err error) func(context.Context, adapter.Sink) error {
	return func(context.Context, adapter.Sink) error { return err }
}

// TestRunAgain: an adapter that ends, with or without an error or by a mistake, is run again, after growing pauses.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{script: []func(context.Context, adapter.Sink) error{
			fails(errors.New("refused")), fails(nil),
			func(context.Context, adapter.Sink) error { panic("a mistake") },
		}}
		a := s.account(t, taking{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := a.Connected(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := s.runs()
		if len(began) != 4 {
			t.Fatalf("%d runs, want 4", len(began))
		}
		for i, least := range []time.Duration{750 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second} {
			if pause := began[i+1].Sub(began[i]); pause < least || pause > 2*least {
				t.Errorf("pause %d is %v, want %v to %v", i+1, pause, least, 2*least)
			}
		}
	})
}

// TestNeedsAttention: after ErrAccount an account waits until somebody has acted.
func TestNeedsAttention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{script: []func(context.Context, adapter.Sink) error{
			fails(fmt.Errorf("%w: wrong password", adapter.ErrAccount)),
		}}
		a := s.account(t, taking{})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(s.runs()); n != 1 {
			t.Fatalf("%d runs, want 1", n)
		}
		if err := a.Connected(t.Context()); err == nil || !strings.Contains(err.Error(), "wrong password") {
			t.Errorf("got %v", err)
		}
		a.Retry()
		if err := a.Connected(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// taking is a sink that takes everything.
type taking struct{}

func (taking) Receive(context.Context, adapter.Event) error { return nil }

// failing is a sink with a mistake in it.
type failing struct{}

func (failing) Receive(context.Context, adapter.Event) error { panic("a mistake behind the sink") }

// TestMistakeBehindSink: a mistake in what takes the events is an error to the adapter, and its status is noted all the same.
func TestMistakeBehindSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 1)
		s := &scripted{script: []func(context.Context, adapter.Sink) error{func(ctx context.Context, sink adapter.Sink) error {
			told <- sink.Receive(ctx, adapter.Event{Body: adapter.Status{State: adapter.Connected}})
			<-ctx.Done()
			return nil
		}}}
		a := s.account(t, failing{})
		if err := <-told; err == nil || !strings.Contains(err.Error(), "a mistake behind the sink") {
			t.Errorf("got %v", err)
		}
		if err := a.Connected(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestUnusable: an account that cannot be made says where the mistake stands, and does not run.
func TestUnusable(t *testing.T) {
	driver := adapter.Driver{New: func(adapter.Account) (adapter.Adapter, error) {
		return (*scripted)(nil), &adapter.KeyError{Key: "mode", Err: errors.New("must be names or bot")}
	}}
	c := config.Account{ID: "one", At: config.Pos{File: "config.yaml", Line: 7}}
	a := New(c, driver, adapter.Account{Log: slog.New(slog.DiscardHandler)})
	a.run(t.Context(), taking{})
	if err := a.Connected(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "config.yaml:7: mode: must be names or bot") {
		t.Errorf("got %v", err)
	}
}
