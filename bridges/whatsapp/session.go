//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/core/adapter"
)

const (
	// loginTime is how long a connection may take until it is of use; the first one of a link uploads 812 keys.
	loginTime = 2 * time.Minute
	// deadAfter is how many unanswered pings mean that the connection is dead.
	deadAfter = 3
)

// session is one connection. Events come from several goroutines of the library; one after the other is reported.
type session struct {
	a    *Adapter
	cli  *whatsmeow.Client
	sink adapter.Sink

	self     self
	ratchets *ratchets
	sending  chan struct{} // holds one while a message is sent

	ctx    context.Context
	end    context.CancelCauseFunc // ends the session, with the reason
	usable chan struct{}           // closed once messages can be sent

	order sync.Mutex // held while an event is reported

	mu      sync.Mutex
	closed  bool           // no event handler may begin any more
	running sync.WaitGroup // event handlers, and what they started
}

// ending is the end of a session that somebody should know of. It wraps adapter.ErrAccount where nothing can be done but by a human.
type ending struct {
	status adapter.Status
	err    error
}

func (e *ending) Error() string { return e.err.Error() }
func (e *ending) Unwrap() error { return e.err }

// ended is an ending after which somebody must act.
func (a *Adapter) ended(state adapter.AccountState, reason, do string) *ending {
	reason = fmt.Sprintf("WhatsApp account %s: %s", a.account.ID, reason)
	return &ending{adapter.Status{State: state, Reason: reason, Do: do}, fmt.Errorf("%w: %s", adapter.ErrAccount, reason)}
}

func (a *Adapter) loggedOut(reason string) *ending {
	return a.ended(adapter.LoggedOut, reason, "mimigate account login "+a.account.ID)
}

// run runs until ctx or the connection ends; then nothing of it runs any more.
func (s *session) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.ctx, s.end, s.usable = ctx, end, make(chan struct{})
	s.learn()
	s.called(s.cli.Store.PushName)
	// The library's own context ends last: it is closed in an orderly way before that.
	conn, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	s.cli.BackgroundEventCtx = conn
	s.cli.AddEventHandlerWithSuccessStatus(s.handle)
	dialing := context.AfterFunc(ctx, hangUp)
	err := s.cli.ConnectContext(conn)
	dialing()
	if err == nil {
		login := time.NewTimer(loginTime)
		defer login.Stop()
		select {
		case <-login.C:
			end(errors.New("WhatsApp did not let us in in time"))
		case <-s.usable:
		case <-ctx.Done():
		}
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	s.a.setSession(nil)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	end(err)
	s.cli.Disconnect()
	s.running.Wait()
	var known *ending
	if errors.As(err, &known) {
		return known
	}
	return fmt.Errorf("WhatsApp: %w", redacted(err))
}

// begin lets something run that the end of the session waits for; false: it has ended.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// handle (design §4 step 1) takes an event of the library. False: it was not taken, and is not to be acknowledged.
func (s *session) handle(raw any) bool {
	if !s.begin() {
		return false
	}
	defer s.running.Done()
	switch ev := raw.(type) {
	case *events.Message:
		return s.message(ev)
	case *events.UndecryptableMessage:
		return s.undecryptable(ev)
	case *events.Receipt:
		return s.receipt(ev)
	case *events.ChatPresence:
		return s.typing(ev)
	case *events.GroupInfo:
		return s.groupChange(ev)
	case *events.JoinedGroup:
		return s.joinedGroup(ev)
	case *events.PushName:
		return s.renamed(ev.JID, ev.JIDAlt, ev.NewPushName)
	case *events.BusinessName:
		return s.renamed(ev.JID, ev.JID, ev.NewBusinessName)
	case *events.PushNameSetting:
		s.called(ev.Action.GetName())
	case *events.Connected:
		s.learn()
		s.connected()
	default:
		if err := s.a.endOf(raw); err != nil {
			s.end(err)
		}
	}
	return true
}

// connected makes the connection known, and describes what is open again.
func (s *session) connected() {
	s.a.setSession(s)
	s.report(adapter.Event{Body: adapter.Status{State: adapter.Connected}})
	s.a.mu.Lock()
	open := append([]adapter.Conversation(nil), s.a.open...)
	s.a.mu.Unlock()
	select {
	case <-s.usable: // a second Connected of one session
		return
	default:
		close(s.usable)
	}
	if len(open) == 0 || !s.begin() {
		return
	}
	go func() { // ends with the session, which waits for it
		defer s.running.Done()
		for _, c := range open {
			if err := s.describe(s.ctx, c); err != nil && s.ctx.Err() == nil {
				s.a.account.Log.Warn("a conversation could not be described", "error", redacted(err))
			}
		}
	}()
}

// report passes events on, one after the other. False: one was not taken; then the session ends, so that WhatsApp offers it again.
func (s *session) report(all ...adapter.Event) bool {
	s.order.Lock()
	defer s.order.Unlock()
	for _, ev := range all {
		if s.ctx.Err() != nil {
			return false
		}
		if err := s.sink.Receive(s.ctx, ev); err != nil {
			s.end(fmt.Errorf("an event was not taken: %w", err))
			return false
		}
	}
	return true
}

var errLost = errors.New("the connection was lost")

// endOf says what an event of the library means for the account; nil: it goes on.
func (a *Adapter) endOf(raw any) error {
	switch ev := raw.(type) {
	case *events.Disconnected:
		return errLost
	case *events.KeepAliveTimeout:
		if ev.ErrorCount >= deadAfter {
			return errors.New("WhatsApp does not answer any more")
		}
	case *events.LoggedOut:
		switch ev.Reason {
		case events.ConnectFailureUnknownLogout: // "banned" in WhatsApp's own code
			return a.ended(adapter.Blocked, "it was banned, or WhatsApp has ended the link for another reason",
				"look at what WhatsApp on the phone says; if the account works there: mimigate account login "+a.account.ID)
		case events.ConnectFailureMainDeviceGone:
			return a.loggedOut("the phone's own account was logged out or locked")
		}
		return a.loggedOut("it was unlinked, on the phone or by WhatsApp")
	case *events.ClientOutdated:
		return a.ended(adapter.Outdated, "WhatsApp refuses this version of mimigate as too old (405)",
			"install a newer mimigate, then: mimigate account setup --test "+a.account.ID)
	case *events.TemporaryBan:
		end := a.ended(adapter.Blocked, "it is banned for a time: "+ev.Code.String(), "send less, and nothing to people who do not know the account")
		if ev.Expire > 0 {
			end.status.Until = time.Now().Add(ev.Expire)
		}
		return end
	case *events.StreamReplaced:
		return a.ended(adapter.Rejected, "another program has connected with the same keys",
			"stop the other one (a copy of this store?), then: mimigate account setup --test "+a.account.ID)
	case *events.ManualLoginReconnect:
		return errors.New("WhatsApp asks to connect anew")
	case *events.ConnectFailure:
		return fmt.Errorf("WhatsApp refuses the connection: %s", ev.Reason)
	case *events.StreamError:
		return fmt.Errorf("WhatsApp has ended the connection: code %q", ev.Code)
	}
	return nil
}
