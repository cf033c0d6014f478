// Package matrix is the adapter for Matrix, as an application service (Matrix Application Service API: everybody appears under
// their own name, by users in a namespace of ours) or as an ordinary account (the author's name stands in the text).
//
//	receive.go    native event → adapter.Event        transactions.go, sync.go: where they come from
//	send.go       adapter.Outbound → native requests  confirm.go: what became of one
//	convert.go    formatting, both ways               id.go: users and rooms
//	rooms.go      what we know of each room           people.go: our people on the homeserver
//
// End-to-end encrypted rooms are recognised from their state and refused: nothing is sent into them in plain text.
package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

var (
	_ adapter.Adapter       = (*Adapter)(nil)
	_ adapter.Confirmer     = (*Adapter)(nil)
	_ adapter.Media         = (*Adapter)(nil)
	_ adapter.Members       = (*Adapter)(nil)
	_ adapter.Profiles      = (*Adapter)(nil)
	_ adapter.Receipts      = (*Adapter)(nil)
	_ adapter.Finder        = (*Adapter)(nil)
	_ adapter.Creator       = (*Adapter)(nil)
	_ adapter.Conversations = (*Adapter)(nil)
)

// requestTime is how long a request may take that does not wait for news; after it, its outcome is unknown.
const requestTime = 60 * time.Second

// Driver returns the driver of the network "matrix".
func Driver() adapter.Driver {
	return adapter.Driver{Name: "matrix", Config: defaults, New: newAdapter, Setup: setup}
}

// Adapter is one Matrix account.
type Adapter struct {
	account  adapter.Account
	settings *settings
	log      *slog.Logger
	http     *http.Client

	mu      sync.Mutex
	session *session      // while connected
	ready   chan struct{} // closed while connected
	opened  map[id.RoomID]bool
}

func newAdapter(account adapter.Account) (adapter.Adapter, error) {
	c, ok := account.Config.(*Config)
	if !ok {
		return nil, errors.New("matrix: not a configuration of matrix")
	}
	s, err := check(*c, false)
	if err != nil {
		return nil, err
	}
	log := account.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &Adapter{
		account: account, settings: s, log: log, http: &http.Client{Transport: transport},
		ready: make(chan struct{}), opened: map[id.RoomID]bool{},
	}, nil
}

// client makes the client of a user. In mode appservice it speaks for that user with the service's token.
func (a *Adapter) client(user id.UserID, token string) *mautrix.Client {
	return &mautrix.Client{
		HomeserverURL: a.settings.homeserver, UserID: user, AccessToken: token, Client: a.http, UserAgent: "mimigate",
		SetAppServiceUserID: a.settings.Mode == modeAppService && user != "", IgnoreRateLimit: true,
	}
}

// Run implements adapter.Adapter.
func (a *Adapter) Run(ctx context.Context, sink adapter.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newSession(ctx, a, sink)
	defer a.http.CloseIdleConnections()
	s.status(ctx, adapter.Connecting, "", "")
	var err error
	if a.settings.Mode == modeBot {
		err = s.runBot(ctx)
	} else {
		err = s.runAppService(ctx)
	}
	a.disconnect()
	ended := ctx.Err() != nil
	cancel()
	s.close()
	if ended {
		return nil
	}
	if err == nil {
		err = errors.New("matrix: the connection ended")
	}
	return err
}

// connect lets the other methods use a session.
func (a *Adapter) connect(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = s
	close(a.ready)
}

func (a *Adapter) disconnect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session != nil {
		a.session, a.ready = nil, make(chan struct{})
	}
}

// online waits for a session.
func (a *Adapter) online(ctx context.Context) (*session, error) {
	for {
		a.mu.Lock()
		s, ready := a.session, a.ready
		a.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, waited(ctx)
		}
	}
}

// session is one run of an account: who we are, where events go, and what we know, which is learned anew in each.
type session struct {
	*Adapter
	ctx   context.Context // of the run
	sink  adapter.Sink
	names names
	bot   *mautrix.Client // the account's own user

	rooms  rooms
	people people
	seen   seen
	fatal  chan error    // what ends the run; holds one
	nudged chan struct{} // the next ping is to come soon; holds one

	mu      sync.Mutex
	over    bool           // nothing may be reported any more
	running sync.WaitGroup // what still reports or runs beside Run

	statusMu sync.Mutex
	said     adapter.Status
}

func newSession(ctx context.Context, a *Adapter, sink adapter.Sink) *session {
	return &session{
		Adapter: a, ctx: ctx, sink: sink, fatal: make(chan error, 1), nudged: make(chan struct{}, 1),
		rooms: rooms{all: map[id.RoomID]*room{}}, people: people{all: map[id.UserID]*person{}}, seen: newSeen(seenSize),
	}
}

// close ends the reporting and waits for what still runs.
func (s *session) close() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.running.Wait()
}

// enter counts something that runs beside Run, until running.Done; false: Run is about to return.
func (s *session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.running.Add(1)
	}
	return !s.over
}

// errOver is for what can no longer be reported.
var errOver = errors.New("matrix: the connection has ended")

// report passes an event to the gateway. Its room's order is held by the caller.
func (s *session) report(ctx context.Context, ev adapter.Event) error {
	if !s.enter() {
		return errOver
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.sink.Receive(ctx, ev)
}

// fail ends the run.
func (s *session) fail(err error) {
	select {
	case s.fatal <- err:
	default:
	}
}

// status reports the account's state, unless it is what was last reported.
func (s *session) status(ctx context.Context, state adapter.AccountState, reason, do string) {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	now := adapter.Status{State: state, Reason: reason, Do: do}
	if s.said == now {
		return
	}
	if err := s.report(ctx, adapter.Event{Time: time.Now(), Body: now}); err != nil {
		s.log.Debug("status not taken", "state", state.String(), "error", err)
		return
	}
	s.said = now
}

// rejected reports that the account does not work until somebody acts, and returns the error for Run.
func (s *session) rejected(ctx context.Context, err error, reason, do string) error {
	s.status(ctx, adapter.Rejected, reason, do)
	return fmt.Errorf("matrix: %s: %w: %w", reason, adapter.ErrAccount, plainError(err))
}

// check ends the run if err says that the account no longer works, and returns err.
func (s *session) check(ctx context.Context, err error) error {
	if isAccount(err) {
		do := "put a valid token into the account's configuration"
		if s.settings.Mode == modeAppService {
			do = "run account setup and install the registration on the homeserver"
		}
		s.status(context.WithoutCancel(ctx), adapter.Rejected, "the homeserver no longer accepts the account's token", do)
		s.fail(err)
	}
	return err
}

// The most that a text may have: an event has at most 65,536 octets (Client-Server API, size limits), in which a text stands twice,
// plain and as HTML, and in an edit four times; what is cut then is what repeats it (see fit).
const textBytes = 16_000

// Limits implements adapter.Adapter.
func (a *Adapter) Limits(adapter.Conversation) content.Limits {
	l := content.Limits{
		Support: map[content.Kind]content.Support{
			content.KindText: content.Native, content.KindFormatted: content.Native, content.KindMention: content.Native,
			content.KindReply: content.Native, content.KindEdit: content.Native, content.KindDelete: content.Native,
			content.KindReaction: content.Native, content.KindThread: content.Native,
			content.KindImage: content.Native, content.KindVideo: content.Native, content.KindAudio: content.Native,
			content.KindVoice: content.Native, content.KindFile: content.Native, content.KindSticker: content.Native,
			content.KindCaptioned: content.Native, content.KindAlbum: content.Reduced, content.KindLocation: content.Native,
			content.KindNotice: content.Reduced, content.KindLinkPreview: content.Reduced, content.KindStatus: content.None,
		},
		Authors: content.Native, Formatting: content.Rich, TextBytes: textBytes, CaptionBytes: textBytes,
	}
	if a.settings.Mode == modeBot {
		// One account has one of each emoji on a message, whoever of our people it would be for.
		l.Support[content.KindReaction] = content.Line
		l.Authors = content.Line
	}
	return l
}
