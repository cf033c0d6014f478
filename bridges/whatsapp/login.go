//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/core/adapter"
)

// The ways to link an account.
const (
	methodQR    = "qr"    // the phone scans a code
	methodPhone = "phone" // a code is typed on the phone
)

const (
	// linkingTime is how long linking may take; WhatsApp ends its side after some 160 s.
	linkingTime = 3 * time.Minute
	// codeTime is how long codes are good, the first one longer.
	codeTime, firstCodeTime = 20 * time.Second, time.Minute
	// reconnectTime is how long WhatsApp may take after linking to ask for the first real connection.
	reconnectTime = 20 * time.Second
	// clientName is what the phone shows while a code is typed; WhatsApp accepts the names of browsers only.
	clientName = "Chrome (Linux)"

	linksKey = "links"
	day      = 24 * time.Hour
)

// linkPauses is how long to wait after the last of so many links in a day: accounts that are linked again and again were banned.
var linkPauses = []time.Duration{0, time.Minute, 15 * time.Minute, 2 * time.Hour}

const (
	riskText = "This links mimigate to a WhatsApp account like a browser. WhatsApp does not allow that, and has banned accounts for it, " +
		"for a time or for ever, also some that were used little. Do not link an account that you cannot lose."
	thirdText = " This account was linked %d times within a day. Linking again and again is what WhatsApp takes for abuse: " +
		"if it keeps being unlinked, find out why first."
)

// stage is what a login waits for.
type stage uint8

const (
	confirming stage = iota
	numbering        // the phone number
	scanning         // the phone
)

// linking is a login on its way. It ends by itself after linkingTime.
type linking struct {
	method string
	stage  stage
	device *device
	cli    *whatsmeow.Client
	events chan any
	codes  []string
	until  time.Time // when the code that is shown ends
	asked  bool      // WhatsApp has asked to connect anew, as it does after linking
	timer  *time.Timer
	once   sync.Once
	free   func() // gives the device store back
}

// LoginStart implements adapter.Login.
func (a *Adapter) LoginStart(ctx context.Context, method string) (adapter.LoginStep, error) {
	if method == "" {
		method = methodQR
	}
	if method != methodQR && method != methodPhone {
		return adapter.LoginStep{}, adapter.Refused(fmt.Errorf("an account is linked by %s or %s", methodQR, methodPhone))
	}
	links, err := a.links(ctx)
	if err != nil {
		return adapter.LoginStep{}, err
	}
	if wait := linkPause(links, time.Now()); wait > 0 {
		return adapter.LoginStep{}, adapter.RetryAfter(wait, fmt.Errorf("the account was linked %d times within a day; try again in %v", len(links), wait.Round(time.Second)))
	}
	say := riskText
	if len(links) >= 2 {
		say += fmt.Sprintf(thirdText, len(links))
	}
	a.setLinking(&linking{method: method, free: func() {}})
	return adapter.LoginStep{Say: say, Ask: "Type yes to link the account"}, nil
}

// setLinking makes l the login on its way, and ends any other.
func (a *Adapter) setLinking(l *linking) {
	a.mu.Lock()
	old := a.linking
	a.linking = l
	a.mu.Unlock()
	if old != nil && old != l {
		old.close()
	}
}

func (l *linking) close() {
	l.once.Do(func() {
		if l.timer != nil {
			l.timer.Stop()
		}
		if l.cli != nil {
			l.cli.Disconnect()
		}
		if l.device != nil {
			l.device.close()
		}
		l.free()
	})
}

// LoginNext implements adapter.Login.
func (a *Adapter) LoginNext(ctx context.Context, answer string) (adapter.LoginStep, error) {
	a.mu.Lock()
	l := a.linking
	a.mu.Unlock()
	if l == nil {
		return adapter.LoginStep{}, adapter.Refused(errors.New("no login has begun"))
	}
	step, err := a.next(ctx, l, strings.TrimSpace(answer))
	if err != nil && ctx.Err() == nil || step.Done {
		a.setLinking(nil)
	}
	return step, err
}

func (a *Adapter) next(ctx context.Context, l *linking, answer string) (adapter.LoginStep, error) {
	switch l.stage {
	case confirming:
		if !strings.EqualFold(answer, "yes") {
			return adapter.LoginStep{}, adapter.Refused(errors.New("not confirmed"))
		}
		if l.method == methodPhone {
			l.stage = numbering
			return adapter.LoginStep{Ask: "The account's phone number, with country code (+49…)", Hide: true}, nil
		}
		if err := a.beginLinking(ctx, l); err != nil {
			return adapter.LoginStep{}, err
		}
		return l.nextCode()
	case numbering:
		if err := a.beginLinking(ctx, l); err != nil {
			return adapter.LoginStep{}, err
		}
		code, err := l.cli.PairPhone(ctx, answer, true, whatsmeow.PairClientChrome, clientName)
		if errors.Is(err, whatsmeow.ErrPhoneNumberTooShort) || errors.Is(err, whatsmeow.ErrPhoneNumberIsNotInternational) {
			return adapter.LoginStep{}, adapter.Refused(err)
		}
		if err != nil {
			return adapter.LoginStep{}, fmt.Errorf("WhatsApp: %w", redacted(err))
		}
		l.codes, l.until = nil, time.Now().Add(linkingTime)
		return adapter.LoginStep{Say: "On the phone: WhatsApp, Linked devices, Link a device, Link with phone number instead. Type this code.",
			Code: code, Until: l.until}, nil
	}
	return a.awaitPhone(ctx, l)
}

// settling is how long a login waits for a run that has just begun and is about to find that the account is not linked.
const settling = 2 * time.Second

// beginLinking connects without an account, which makes WhatsApp offer codes.
func (a *Adapter) beginLinking(ctx context.Context, l *linking) error {
	select {
	case a.device <- struct{}{}:
		l.free = func() { <-a.device }
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settling):
		return adapter.Refused(errors.New("the account is connected, or is being linked already"))
	}
	var err error
	if l.device, err = openDevice(ctx, a.account, a.lab); err != nil {
		return err
	}
	if l.device.store.ID != nil {
		return adapter.Refused(errors.New("the account is linked already"))
	}
	l.stage, l.events = scanning, make(chan any, 64)
	l.cli = l.device.client()
	l.cli.AddEventHandler(func(ev any) {
		select {
		case l.events <- ev:
		default: // nobody asks any more
		}
	})
	l.timer = time.AfterFunc(linkingTime, l.close)
	if err := l.cli.ConnectContext(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("WhatsApp: %w", redacted(err))
	}
	for {
		ev, err := l.event(ctx, time.Now().Add(30*time.Second))
		if err != nil {
			return err
		}
		if qr, ok := ev.(*events.QR); ok {
			l.codes = slices.Clone(qr.Codes)
			return nil
		}
		if err := a.endOf(ev); err != nil {
			return err
		}
	}
}

var errNotInTime = errors.New("not in time")

// event waits for an event of the library.
func (l *linking) event(ctx context.Context, until time.Time) (any, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case ev := <-l.events:
		return ev, nil
	case <-timer.C:
		return nil, errNotInTime
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// nextCode shows the next code to scan.
func (l *linking) nextCode() (adapter.LoginStep, error) {
	if len(l.codes) == 0 {
		return adapter.LoginStep{}, adapter.Refused(errors.New("nobody used the code in time"))
	}
	l.until = time.Now().Add(codeTime)
	if len(l.codes) == 6 {
		l.until = time.Now().Add(firstCodeTime)
	}
	code := l.codes[0]
	l.codes = l.codes[1:]
	return adapter.LoginStep{Say: "On the phone: WhatsApp, Linked devices, Link a device. Scan this code.", QR: code, Until: l.until}, nil
}

// awaitPhone waits until the phone has linked us, or the code has ended.
func (a *Adapter) awaitPhone(ctx context.Context, l *linking) (adapter.LoginStep, error) {
	for {
		ev, err := l.event(ctx, l.until)
		if errors.Is(err, errNotInTime) {
			return l.nextCode()
		}
		if err != nil {
			return adapter.LoginStep{}, err
		}
		switch ev := ev.(type) {
		case *events.PairSuccess:
			return a.linked(ctx, l)
		case *events.ManualLoginReconnect: // may come before the library tells that it is linked
			l.asked = true
			continue
		case *events.PairError:
			return adapter.LoginStep{}, adapter.Refused(fmt.Errorf("WhatsApp: %w", redacted(ev.Error)))
		case *events.QRScannedWithoutMultidevice:
			return adapter.LoginStep{}, adapter.Refused(errors.New("the phone's WhatsApp is too old to link devices"))
		}
		if err := a.endOf(ev); err != nil {
			return adapter.LoginStep{}, adapter.Refused(err)
		}
	}
}

// linked waits until WhatsApp asks to connect as the account, which Run will, and gives the device store back for that.
func (a *Adapter) linked(ctx context.Context, l *linking) (adapter.LoginStep, error) {
	until := time.Now().Add(reconnectTime)
	for !l.asked {
		ev, err := l.event(ctx, until)
		if err != nil && !errors.Is(err, errNotInTime) {
			return adapter.LoginStep{}, err
		}
		l.asked = err != nil || a.endOf(ev) != nil
	}
	l.close()
	links, err := a.links(ctx)
	if err != nil {
		return adapter.LoginStep{}, err
	}
	raw, err := json.Marshal(append(links, time.Now().UTC()))
	if err != nil {
		return adapter.LoginStep{}, err
	}
	if err := a.account.State.Put(ctx, linksKey, raw); err != nil {
		return adapter.LoginStep{}, err
	}
	return adapter.LoginStep{Say: "The account is linked.", Done: true}, nil
}

// links are the times within the last day at which the account was linked, oldest first.
func (a *Adapter) links(ctx context.Context) ([]time.Time, error) {
	raw, err := a.account.State.Get(ctx, linksKey)
	if err != nil || raw == nil {
		return nil, err
	}
	var all []time.Time
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("earlier links: %w", err)
	}
	return slices.DeleteFunc(all, func(t time.Time) bool { return time.Since(t) > day }), nil
}

// linkPause is how long to wait before the next link.
func linkPause(links []time.Time, now time.Time) time.Duration {
	if len(links) == 0 {
		return 0
	}
	pause := linkPauses[min(len(links), len(linkPauses)-1)]
	return max(0, links[len(links)-1].Add(pause).Sub(now))
}

// Logout implements adapter.Login: it unlinks the account, and forgets its keys.
func (a *Adapter) Logout(ctx context.Context) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	if err := s.cli.Logout(ctx); err != nil {
		return fmt.Errorf("WhatsApp: %w", redacted(err))
	}
	s.end(a.loggedOut("it was unlinked by mimigate"))
	return nil
}
