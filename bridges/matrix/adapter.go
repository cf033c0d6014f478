// Package matrix is the adapter for Matrix, as an application service (Matrix Application Service API: everybody appears under
// their own name, by users in a namespace of ours) or as an ordinary account (the author's name stands in the text).
//
//	receive.go    native event → adapter.Event        transactions.go, sync.go: where they come from
//	send.go       adapter.Outbound → native requests  confirm.go: what became of one
//	native/       events, names and content as JSON, both ways
//	homeserver/   requests, our users there, and what is known of each room
//
// End-to-end encrypted rooms are recognised from their state and refused: nothing is sent into them in plain text.
package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
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
			return nil, adapter.NotDelivered(fmt.Errorf("matrix: not connected: %w", context.Cause(ctx)))
		}
	}
}

// session is one run of an account: who we are, where events go, and what we know, which is learned anew in each.
type session struct {
	*Adapter
	ctx  context.Context // of the run
	sink adapter.Sink
	hs   *homeserver.Server

	seen   seen
	fatal  chan error    // what ends the run; holds one
	nudged chan struct{} // the next ping is to come soon; holds one

	mu      sync.Mutex
	over    bool           // nothing may be reported any more
	running sync.WaitGroup // what still reports or runs beside Run

	statusMu  sync.Mutex
	said      adapter.Status
	encrypted map[id.RoomID]bool // opened rooms that nothing can be sent to
}

func newSession(ctx context.Context, a *Adapter, sink adapter.Sink) *session {
	s := &session{Adapter: a, ctx: ctx, sink: sink, fatal: make(chan error, 1), nudged: make(chan struct{}, 1), seen: newSeen(seenSize), encrypted: map[id.RoomID]bool{}}
	s.hs = &homeserver.Server{URL: a.settings.homeserver, HTTP: a.http, State: a.account.State, Log: a.log, Broken: s.broken}
	if a.settings.Mode == modeAppService {
		s.hs.Names.Prefix, s.hs.Token = a.settings.Prefix, a.settings.reg.ASToken
	}
	return s
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
	if state == adapter.Connected && len(s.encrypted) > 0 {
		rooms := slices.Sorted(maps.Keys(s.encrypted))
		now = adapter.Status{State: adapter.Degraded, Reason: homeserver.Encrypted(rooms...), Do: "use rooms without encryption, or wait for a version that can do it"}
	}
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
	return fmt.Errorf("matrix: %s: %w: %w", reason, adapter.ErrAccount, homeserver.Plain(err))
}

// setEncrypted takes note of whether an opened room is encrypted, which is part of the account's state.
func (s *session) setEncrypted(ctx context.Context, room id.RoomID, is bool) {
	s.Adapter.mu.Lock()
	is = is && s.opened[room]
	s.Adapter.mu.Unlock()
	s.statusMu.Lock()
	changed := s.encrypted[room] != is
	if is {
		s.encrypted[room] = true
	} else {
		delete(s.encrypted, room)
	}
	state := s.said.State
	s.statusMu.Unlock()
	if changed && (state == adapter.Connected || state == adapter.Degraded) {
		s.status(ctx, adapter.Connected, "", "")
	}
}

// broken ends the run because the account no longer works.
func (s *session) broken(ctx context.Context, err error) {
	do := "put a valid token into the account's configuration"
	if s.settings.Mode == modeAppService {
		do = "run account setup and install the registration on the homeserver"
	}
	s.status(context.WithoutCancel(ctx), adapter.Rejected, "the homeserver no longer accepts the account's token", do)
	s.fail(err)
}

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
		Authors: content.Native, Formatting: content.Rich, TextBytes: native.TextBytes, CaptionBytes: native.TextBytes,
	}
	if a.settings.Mode == modeBot {
		// One account has one of each emoji on a message, whoever of our people it would be for.
		l.Support[content.KindReaction] = content.Line
		l.Authors = content.Line
	}
	return l
}

// Download implements adapter.Media.
func (a *Adapter) Download(ctx context.Context, blob adapter.Blob, r adapter.Range, w io.Writer) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	return s.hs.Download(ctx, blob, r, w)
}

// Upload implements adapter.Media.
func (a *Adapter) Upload(ctx context.Context, file adapter.Upload, r io.Reader) (adapter.Blob, error) {
	s, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	return s.hs.Upload(ctx, file, r)
}
