package account

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"mimigate/core/adapter"
)

// errLogin: a human is asked one thing at a time.
var errLogin = errors.New("somebody else is linking this account just now")

// Reconnect is Retry and Connected.
func (a *Account) Reconnect(ctx context.Context) error {
	a.Retry()
	return a.Connected(ctx)
}

// What Login can do.
const (
	Start  = "start"  // begin to link the account; text is the method, or ""
	Answer = "answer" // go on: text is what was asked for, or "" to wait
	Logout = "logout" // unlink it
)

// Login is a request about linking an account to its network: what to do, and the text to it. See adapter.Login.
func Login(ctx context.Context, a *Account, q url.Values) (any, error) {
	return a.login(ctx, q.Get("do"), q.Get("text"))
}

// login does one step. Once the account is linked it is run at once.
func (a *Account) login(ctx context.Context, do, text string) (step adapter.LoginStep, err error) {
	l, ok := a.adapter.(adapter.Login)
	if status, _ := a.now(); a.adapter == nil {
		return step, statusError(status)
	}
	if !ok {
		return step, fmt.Errorf("account %s: accounts of network %s have no login; the configuration says how they connect", a.config.ID, a.config.Network)
	}
	if !a.linking.TryLock() {
		return step, errLogin
	}
	defer a.linking.Unlock()
	defer contain(&err, a.log)
	switch do {
	case Start:
		step, err = l.LoginStart(ctx, text)
	case Answer:
		step, err = l.LoginNext(ctx, text)
	case Logout:
		err = l.Logout(ctx)
	default:
		err = fmt.Errorf("account: nothing like %q can be done about a login", do)
	}
	if err == nil && step.Done {
		a.Retry()
	}
	return step, err
}
