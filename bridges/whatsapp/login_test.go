//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
)

// newAccount adds an account that is not linked.
func (l *lab) newAccount(t *testing.T) int {
	t.Helper()
	i := len(l.accounts)
	number := "49151888800" + string(rune('0'+i))
	l.accounts = append(l.accounts, &labAccount{phone: l.Phone(t, number, "New"), dir: t.TempDir(), proxy: adaptertest.NewProxy(t, l.Addr())})
	return i
}

// TestLogin: linking by QR code is what newLab does; this is the rest.
func TestLoginByCode(t *testing.T) {
	l := newLab(t, 0)
	i := l.newAccount(t)
	a := l.open(t, i, defaults().(*Config), &adaptertest.State{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.LoginNext(ctx, "yes"); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("without a beginning: %v", err)
	}
	if _, err := a.LoginStart(ctx, "telepathy"); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("by a way that is none: %v", err)
	}
	step, err := a.LoginStart(ctx, methodPhone)
	if err != nil || step.Ask == "" || !strings.Contains(step.Say, "banned") {
		t.Fatalf("the risk is not shown: %+v, %v", step, err)
	}
	if _, err := a.LoginNext(ctx, "no"); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("not confirmed: %v", err)
	}
	if _, err := a.LoginNext(ctx, "yes"); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("the login that was refused goes on: %v", err)
	}
	for _, number := range []string{"0151 8888", "12"} {
		a.begin(t, methodPhone)
		if _, err := a.LoginNext(ctx, number); !errors.Is(err, adapter.ErrRefused) {
			t.Errorf("number %q: %v", number, err)
		}
	}
	if step = a.begin(t, methodPhone); !step.Hide || step.Ask == "" {
		t.Fatalf("step %+v", step)
	}
	step, err = a.LoginNext(ctx, "+"+l.accounts[i].phone.Number())
	if err != nil || len(strings.ReplaceAll(step.Code, "-", "")) != 8 {
		t.Fatalf("step %+v, %v", step, err)
	}
	l.accounts[i].phone.EnterCode(t, step.Code)
	if step, err = a.LoginNext(ctx, ""); err != nil || !step.Done {
		t.Fatalf("step %+v, %v", step, err)
	}
	if _, err := a.LoginNext(ctx, ""); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("after the end: %v", err)
	}
	l.run(t, i, defaults().(*Config), &adaptertest.State{}).connected1()
}

// begin confirms the risk and returns the step after that.
func (a *Adapter) begin(t *testing.T, method string) adapter.LoginStep {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.LoginStart(ctx, method); err != nil {
		t.Fatal(err)
	}
	step, err := a.LoginNext(ctx, " Yes ")
	if err != nil {
		t.Fatal(err)
	}
	return step
}

// TestLoginOnce: an account that is linked, or is being linked, is not linked again; and codes come to an end.
func TestLoginOnce(t *testing.T) {
	l := newLab(t, 1)
	state := &adaptertest.State{}
	a := l.open(t, 0, defaults().(*Config), state)
	if _, err := a.LoginStart(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.LoginNext(t.Context(), "yes"); !errors.Is(err, adapter.ErrRefused) || !strings.Contains(err.Error(), "linked already") {
		t.Errorf("linked twice: %v", err)
	}
	r := l.run(t, 0, defaults().(*Config), state).connected1()
	if _, err := r.LoginStart(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LoginNext(t.Context(), "yes"); !errors.Is(err, adapter.ErrRefused) || !strings.Contains(err.Error(), "connected") {
		t.Errorf("linked while connected: %v", err)
	}

	fresh := l.open(t, l.newAccount(t), defaults().(*Config), &adaptertest.State{})
	if step := fresh.begin(t, ""); step.QR == "" || time.Until(step.Until) < 30*time.Second {
		t.Errorf("first step %+v", step)
	}
	for range 5 { // each of the other codes
		fresh.linking.until = time.Now()
		if step, err := fresh.LoginNext(t.Context(), ""); err != nil || step.QR == "" {
			t.Fatalf("the next code: %+v, %v", step, err)
		}
	}
	fresh.linking.until = time.Now()
	if _, err := fresh.LoginNext(t.Context(), ""); !errors.Is(err, adapter.ErrRefused) {
		t.Errorf("after the last code: %v", err)
	}
	fresh.begin(t, "") // the device store is free again
	again := fresh.begin(t, "")
	l.accounts[1].phone.Scan(t, again.QR)
	if step, err := fresh.LoginNext(t.Context(), ""); err != nil || !step.Done {
		t.Errorf("after all that: %+v, %v", step, err)
	}
}

// TestLoginBacksOff: linking again and again is slowed down, and warned of before the third time in a day (peers.md §2, 14).
func TestLoginBacksOff(t *testing.T) {
	l := newLab(t, 0)
	i := l.newAccount(t)
	state := &adaptertest.State{}
	a := l.open(t, i, defaults().(*Config), state)
	remember := func(ages ...time.Duration) {
		var links []time.Time
		for _, age := range ages {
			links = append(links, time.Now().Add(-age))
		}
		raw, err := json.Marshal(links)
		if err != nil {
			t.Fatal(err)
		}
		if err := state.Put(t.Context(), linksKey, raw); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		what  string
		ages  []time.Duration
		waits bool
		warns bool
	}{
		{"the first", nil, false, false},
		{"just linked", []time.Duration{time.Second}, true, false},
		{"linked an hour ago", []time.Duration{time.Hour}, false, false},
		{"twice, lately", []time.Duration{time.Hour, 5 * time.Minute}, true, false},
		{"twice today", []time.Duration{5 * time.Hour, time.Hour}, false, true},
		{"three times today", []time.Duration{5 * time.Hour, 4 * time.Hour, time.Hour}, true, false},
		{"three times, long ago", []time.Duration{50 * time.Hour, 40 * time.Hour, 30 * time.Hour}, false, false},
	} {
		remember(test.ages...)
		step, err := a.LoginStart(t.Context(), "")
		if _, waits := adapter.RetryDelay(err); waits != test.waits {
			t.Errorf("%s: %v", test.what, err)
		}
		if warns := strings.Contains(step.Say, "within a day"); warns != test.warns {
			t.Errorf("%s: %q", test.what, step.Say)
		}
	}
	remember()
	link(t, a, l.accounts[i].phone)
	if _, err := a.LoginStart(t.Context(), ""); err == nil {
		t.Error("a link is not remembered")
	}
}

// TestLogout: the account is unlinked on WhatsApp, and says what to do.
func TestLogout(t *testing.T) {
	l := newLab(t, 1)
	r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
	if err := r.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	ev := r.status(adapter.LoggedOut)
	if ev.Do != "mimigate account login account-0" {
		t.Errorf("to do: %q", ev.Do)
	}
	if devices := l.Devices(l.accounts[0].phone.Number()); len(devices) > 0 {
		t.Errorf("still linked: %v", devices)
	}
	r.stop()
	again := l.run(t, 0, defaults().(*Config), r.state)
	again.status(adapter.LoggedOut)
	again.state = &adaptertest.State{}
	link(t, l.open(t, 0, defaults().(*Config), &adaptertest.State{}), l.accounts[0].phone)
}

// status waits for a status.
func (r *running) status(state adapter.AccountState) adapter.Status {
	r.t.Helper()
	ev := r.hears(state.String(), func(ev adapter.Event) bool { s, ok := ev.Body.(adapter.Status); return ok && s.State == state })
	return ev.Body.(adapter.Status)
}

// TestConfig: an account is refused without the acceptance of the risk, and mistakes are told by their key.
func TestConfig(t *testing.T) {
	for key, config := range map[string]*Config{
		"accept_ban_risk":     {Mode: modePersonal, MessagesPerMinute: 30},
		"mode":                {Mode: "both", AcceptBanRisk: true, MessagesPerMinute: 30},
		"messages_per_minute": {Mode: modeRelay, AcceptBanRisk: true},
		"":                    {Mode: modeRelay, AcceptBanRisk: true, MessagesPerMinute: 1},
	} {
		_, err := Driver().New(adapter.Account{ID: "a", Config: config, State: &adaptertest.State{}})
		var wrong *adapter.KeyError
		if errors.As(err, &wrong) != (key != "") || key != "" && wrong.Key != key {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestStates: what WhatsApp does to one account is told, with what to do, and leaves another account as it was.
func TestStates(t *testing.T) {
	for what, test := range map[string]struct {
		do    func(*lab, string)
		state adapter.AccountState
		says  string // in what to do
		until bool
	}{
		"logged out":       {func(l *lab, n string) { l.LogOut(n) }, adapter.LoggedOut, "account login account-0", false},
		"outdated":         {func(l *lab, n string) { l.Refuse(n, waserver.Outdated()) }, adapter.Outdated, "newer mimigate", false},
		"banned for good":  {func(l *lab, n string) { l.Refuse(n, waserver.Failure{Reason: 406}) }, adapter.Blocked, "phone", false},
		"phone logged out": {func(l *lab, n string) { l.Refuse(n, waserver.Failure{Reason: 403}) }, adapter.LoggedOut, "account login", false},
		"banned for now":   {func(l *lab, n string) { l.Refuse(n, waserver.Banned(101, time.Second)) }, adapter.Blocked, "send less", true},
		"replaced":         {func(l *lab, n string) { l.Replace(n) }, adapter.Rejected, "stop the other one", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 2)
			r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
			other := l.run(t, 1, defaults().(*Config), &adaptertest.State{}).connected1()
			number := l.accounts[0].phone.Number()
			test.do(l, number)
			status := r.status(test.state)
			if !strings.Contains(status.Do, test.says) || !strings.Contains(status.Reason, "account-0") || status.Until.IsZero() == test.until {
				t.Errorf("told is %+v", status)
			}
			err := <-r.errs
			for !errors.Is(err, adapter.ErrAccount) && !test.until { // the connection may end before the reason is known
				err = <-r.errs
			}
			ann := l.Phone(t, "436609", "Ann")
			ann.Text(t, l.accounts[1].phone.JID(), "are you there?")
			other.hears("the other account's message", says("are you there?"))
			if test.until { // it goes on by itself
				l.Admit(number)
				ann.Text(t, l.accounts[0].phone.JID(), "and you?")
				r.hears("the message after the ban", says("and you?"))
			}
		})
	}
}
