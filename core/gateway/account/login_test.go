package account

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/config"
)

// linkable is an adapter that is linked by saying yes.
type linkable struct {
	adapter.Adapter
	begun   chan struct{} // where it is not nil, a step waits for it
	entered chan struct{}
}

func (l *linkable) LoginStart(_ context.Context, method string) (adapter.LoginStep, error) {
	if l.begun != nil {
		close(l.entered)
		<-l.begun
	}
	return adapter.LoginStep{Ask: method + "?"}, nil
}

func (l *linkable) LoginNext(_ context.Context, answer string) (adapter.LoginStep, error) {
	if answer != "yes" {
		return adapter.LoginStep{}, adapter.Refused(errors.New("not confirmed"))
	}
	return adapter.LoginStep{Done: true}, nil
}

func (l *linkable) Logout(context.Context) error { panic("a mistake") }

func testAccount(a adapter.Adapter) *Account {
	return &Account{config: config.Account{ID: "family", Network: "test"}, adapter: a, log: slog.New(slog.DiscardHandler), again: make(chan struct{}, 1),
		changed: make(chan struct{}), status: adapter.Status{State: adapter.LoggedOut}}
}

func TestLogin(t *testing.T) {
	a := testAccount(&linkable{})
	ask := func(do, text string) (adapter.LoginStep, error) {
		step, err := Login(t.Context(), a, url.Values{"do": {do}, "text": {text}})
		return step.(adapter.LoginStep), err
	}
	if step, err := ask(Start, "qr"); err != nil || step.Ask != "qr?" {
		t.Errorf("%+v, %v", step, err)
	}
	if _, err := ask(Answer, "no"); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if len(a.again) > 0 {
		t.Error("run before it is linked")
	}
	if step, err := ask(Answer, "yes"); err != nil || !step.Done || len(a.again) != 1 {
		t.Errorf("%+v, %v, run again: %d", step, err, len(a.again))
	}
	if _, err := ask(Logout, ""); err == nil || !strings.Contains(err.Error(), "mistake") {
		t.Errorf("a panic: %v", err)
	}
	if _, err := ask("dance", ""); err == nil {
		t.Error("it dances")
	}
	a = testAccount(struct{ adapter.Adapter }{})
	if _, err := ask(Start, ""); err == nil || !strings.Contains(err.Error(), "no login") {
		t.Errorf("a network without a login: %v", err)
	}
	a = testAccount(nil)
	a.status = adapter.Status{State: adapter.Rejected, Reason: "config.yaml:3: wrong"}
	if _, err := ask(Start, ""); err == nil || !strings.Contains(err.Error(), "config.yaml:3") {
		t.Errorf("an account that cannot be used: %v", err)
	}
}

// TestLoginOne: a human is asked one thing at a time.
func TestLoginOne(t *testing.T) {
	l := &linkable{begun: make(chan struct{}), entered: make(chan struct{})}
	a := testAccount(l)
	done := make(chan error, 1)
	go func() {
		_, err := a.login(t.Context(), Start, "")
		done <- err
	}()
	<-l.entered
	if _, err := a.login(t.Context(), Answer, "yes"); !errors.Is(err, errLogin) {
		t.Errorf("at the same time: %v", err)
	}
	close(l.begun)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
