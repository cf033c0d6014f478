package member_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/follower"
	"mimigate/core/hub"
	"mimigate/core/member"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/provider"
	"mimigate/core/room"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// line is something that a Sink was told.
type line struct {
	room uri.Room
	from uri.User
	text string
	at   time.Time
	turn int64 // in which order the sink was told
}

// sink keeps what members are told, as far as the units that told it were committed.
type sink struct {
	store *store.Store
	now   chan struct{} // gets a token whenever something was committed

	mu      sync.Mutex
	lines   []line   // messages
	events  []string // everything else, in words
	turn    int64
	fail    func(text string) error
	receive func(ctx context.Context, l line) error
}

func newSink() *sink { return &sink{now: make(chan struct{}, 1)} }

func (s *sink) setStore(st *store.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = st
}

func (s *sink) kept(ctx context.Context, f func()) error {
	s.mu.Lock()
	st := s.store
	s.mu.Unlock()
	st.OnCommit(ctx, func() {
		s.mu.Lock()
		f()
		s.mu.Unlock()
		select {
		case s.now <- struct{}{}:
		default:
		}
	})
	return nil
}

func (s *sink) Message(ctx context.Context, id uri.Room, from uri.User, mid content.MessageID, at time.Time, m *content.Message) error {
	text := string(m.Body.Body.(content.Single).Content)
	s.mu.Lock()
	fail, receive := s.fail, s.receive
	s.turn++
	turn := s.turn
	s.mu.Unlock()
	if fail != nil {
		if err := fail(text); err != nil {
			return err
		}
	}
	l := line{id, from, text, at, turn}
	if receive != nil {
		if err := receive(ctx, l); err != nil {
			return err
		}
	}
	return s.kept(ctx, func() {
		s.lines = append(s.lines, l)
		// Units that were committed together report in any order.
		slices.SortFunc(s.lines, func(a, b line) int { return int(a.turn - b.turn) })
	})
}

func name(u uri.User) string {
	if u.IsZero() {
		return "-"
	}
	return u.Segments()[0] + "@" + u.Domain()
}

func (s *sink) Participant(ctx context.Context, _ uri.Room, user, by uri.User, before, after uint32, _ time.Time) error {
	return s.kept(ctx, func() {
		s.events = append(s.events, fmt.Sprintf("%s %d→%d by %s", name(user), before, after, name(by)))
	})
}

func (s *sink) Described(ctx context.Context, _ uri.Room, by uri.User, name_, subject string, _ time.Time) error {
	return s.kept(ctx, func() { s.events = append(s.events, fmt.Sprintf("%q %q by %s", name_, subject, name(by))) })
}

func (s *sink) Refused(ctx context.Context, _ uri.Room, from uri.User, _ content.MessageID, reason string) error {
	return s.kept(ctx, func() { s.events = append(s.events, "refused "+name(from)+": "+reason) })
}

func (s *sink) Unchanged(ctx context.Context, _ uri.Room, user uri.User, reason string) error {
	return s.kept(ctx, func() { s.events = append(s.events, "unchanged "+name(user)+": "+reason) })
}

func (s *sink) Gap(ctx context.Context, _ uri.Room, _ time.Time) error {
	return s.kept(ctx, func() { s.events = append(s.events, "gap") })
}

func (s *sink) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, l := range s.lines {
		list = append(list, l.text)
	}
	return list
}

func (s *sink) told(event string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.events, event)
}

func (s *sink) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.events, "\n")
}

// side is one provider: its store and its roles. It may be closed and opened again on the same store; the sink stays.
type side struct {
	t        testing.TB
	provider uri.Provider
	options  store.Options
	peers    *provider.Peers
	sink     *sink
	consent  bool
	fate     *fate
	dead     atomic.Bool
	batch    time.Duration
	echo     time.Duration
	suite    mls.CipherSuite
	rotate   time.Duration
	restored uri.Room     // whose group is stale when it is opened, as after restoring a backup
	up       sync.RWMutex // held for reading by calls from outside, for writing while it is down

	*store.Store
	hub      *hub.Hub
	follower *follower.Follower
	members  *member.Members
}

func (s *side) Consents(context.Context, uri.User, uri.User, uri.Room) (mimi.UserCode, error) {
	if !s.consent {
		return mimi.UserNoConsent, nil
	}
	return mimi.UserSuccess, nil
}

// newSide starts a provider.
func newSide(t testing.TB, domain string) *side { return mortalSide(t, domain, nil) }

func mortalSide(t testing.TB, domain string, f *fate) *side {
	t.Helper()
	p, err := uri.NewProvider(domain)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &side{t: t, provider: p, peers: provider.NewPeers(p), sink: newSink(), consent: true, batch: 20 * time.Millisecond, fate: f,
		options: store.Options{Location: filepath.Join(dir, "store"), Domain: domain, KeyFile: filepath.Join(dir, "key")}}
	s.open()
	t.Cleanup(func() {
		s.up.Lock() // for good: calls from outside are refused
		s.close()
	})
	return s
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (s *side) open() {
	s.t.Helper()
	ctx := s.t.Context()
	var err error
	if s.Store, err = store.Open(ctx, s.options); err != nil {
		s.t.Fatal(err)
	}
	s.sink.setStore(s.Store)
	if !s.restored.IsZero() {
		if err := s.SetStale(ctx, s.restored, true); err != nil {
			s.t.Fatal(err)
		}
		s.restored = uri.Room{}
	}
	log := slog.New(slog.NewTextHandler(testLog{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn})).With("provider", s.provider.Domain())
	engine := &mls.Config{Components: room.Components{}}
	s.members, err = member.New(member.Config{Provider: s.provider, Store: s, Peers: s.peers, Founder: founder{s}, Consent: s,
		MLS: engine, Batch: s.batch, Patience: 200 * time.Millisecond, Echo: s.echo, Suite: s.suite, Rotate: s.rotate, Now: time.Now, Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	s.hub = hub.New(hub.Config{Provider: s.provider, Store: s, Peers: s.peers, KeyPeers: s.peers, KeyMaterial: s.members,
		MLS: engine, Now: time.Now, Log: log})
	s.follower = follower.New(follower.Config{Store: s, Opener: s.members, Now: time.Now, Log: log})
	s.peers.Add(s.provider, provider.Endpoints{Hub: s.hub, Follower: s.follower, KeyMaterial: s.hub})
	if err := errors.Join(s.members.Start(ctx, s.sink), s.follower.Start(ctx), s.hub.Start(ctx)); err != nil {
		s.t.Fatal(err)
	}
}

// founder is the hub of a side, which is made after its members.
type founder struct{ s *side }

func (f founder) Sender(ctx context.Context, suite mls.CipherSuite) (mls.ExternalSender, error) {
	return f.s.hub.Sender(ctx, suite)
}

func (f founder) Create(ctx context.Context, id uri.Room, info *mls.GroupInfo, tree []byte) error {
	return f.s.hub.Create(ctx, id, info, tree)
}

func (s *side) close() {
	if s.Store == nil {
		return
	}
	s.hub.Close()
	s.members.Close()
	s.follower.Close()
	if err := s.Store.Close(); err != nil {
		s.t.Error(err)
	}
	s.Store = nil
}

func (s *side) reopen() {
	s.t.Helper()
	s.up.Lock()
	defer s.up.Unlock()
	s.close()
	s.dead.Store(false)
	s.open()
}

func (s *side) user(name string) uri.User {
	s.t.Helper()
	u, err := s.provider.User(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// room creates a room.
func (s *side) room(name string) uri.Room {
	s.t.Helper()
	id, err := s.provider.Room(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.members.CreateRoom(s.t.Context(), id, name, ""); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *side) ensure(id uri.Room, u uri.User) {
	s.t.Helper()
	if err := s.members.EnsureParticipant(s.t.Context(), id, u, 2); err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) send(id uri.Room, from uri.User, text string) content.MessageID {
	s.t.Helper()
	mid, err := s.members.Send(s.t.Context(), id, from, content.Text(text))
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return mid
}

// until waits for something to become true.
func (s *side) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-s.sink.now:
		case <-poll.C:
		case <-deadline.C:
			texts := s.sink.texts()
			s.t.Fatalf("%s: %s did not come; told %d messages, the last: %v\n%s", s.provider.Domain(), what, len(texts), texts[max(0, len(texts)-10):], s.sink.all())
		}
	}
}

func (s *side) untilTexts(want ...string) {
	s.t.Helper()
	s.until(strings.Join(want, " "), func() bool { return len(s.sink.texts()) >= len(want) })
	if got := s.sink.texts(); !slices.Equal(got, want) {
		s.t.Fatalf("%s: got %v, want %v", s.provider.Domain(), got, want)
	}
}

// rests reports whether nothing is on its way.
func (s *side) rests() bool {
	s.t.Helper()
	ctx := s.t.Context()
	unfinished, err1 := s.UnfinishedRooms(ctx)
	inboxes, err2 := s.InboxRooms(ctx)
	routes, err3 := s.HubRoutes(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		s.t.Fatal(err)
	}
	return len(unfinished)+len(inboxes)+len(routes) == 0
}

// remote is a provider as another one reaches it: outside of any unit, and through a network that may fail.
type remote struct {
	side *side
	mu   sync.Mutex
	// lose says what becomes of a call: 0 nothing, 1 it is lost, 2 its answer is lost, 3 it is lost but said to have arrived.
	lose   func(what string) int
	late   func(call func()) // lets copies of calls come late
	copies sync.WaitGroup
	heard  func(mimi.Message)     // hears what is sent to the hub
	filter func(body []byte) bool // which bodies of notify are taken, but not handed on
}

var errNetwork = errors.New("network")

func (r *remote) call(what string, f func() error) error {
	r.mu.Lock()
	lose := r.lose
	r.mu.Unlock()
	fate := 0
	if lose != nil {
		fate = lose(what)
	}
	if fate == 1 {
		return mimi.RetryAfter(time.Millisecond, errNetwork)
	}
	if fate == 3 {
		return nil
	}
	if !r.side.up.TryRLock() {
		return mimi.RetryAfter(time.Millisecond, errNetwork)
	}
	defer r.side.up.RUnlock()
	err := f()
	if err != nil && !mimi.Final(err) {
		return mimi.RetryAfter(time.Millisecond, err)
	}
	if fate == 2 {
		return mimi.RetryAfter(time.Millisecond, errNetwork)
	}
	return err
}

func (r *remote) hear(m mimi.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard != nil {
		r.heard(m)
	}
}

// The copies are what a network would make: nothing is shared between providers.
func recode[T any, P interface {
	*T
	mls.Marshaler
	mls.Unmarshaler
}](t testing.TB, v P) P {
	t.Helper()
	out := P(new(T))
	if err := mimi.Decode(slices.Clone(mls.Marshal(v)), out); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	return out
}

func (r *remote) Update(ctx context.Context, from uri.Provider, id uri.Room, req *mimi.UpdateRequest) (resp *mimi.UpdateRoomResponse, err error) {
	r.hear(req.Message)
	r.again(func() { _, _ = r.side.hub.Update(context.WithoutCancel(ctx), from, id, recode(r.side.t, req)) })
	err = r.call("update", func() (err error) {
		if resp, err = r.side.hub.Update(ctx, from, id, recode(r.side.t, req)); err == nil {
			resp = recode(r.side.t, resp)
		}
		return err
	})
	return resp, err
}

func (r *remote) Submit(ctx context.Context, from uri.Provider, id uri.Room, req *mimi.SubmitMessageRequest) (resp *mimi.SubmitMessageResponse, err error) {
	r.hear(req.Message)
	r.again(func() { _, _ = r.side.hub.Submit(context.WithoutCancel(ctx), from, id, recode(r.side.t, req)) })
	err = r.call("submit", func() (err error) {
		if resp, err = r.side.hub.Submit(ctx, from, id, recode(r.side.t, req)); err == nil {
			resp = recode(r.side.t, resp)
		}
		return err
	})
	return resp, err
}

func (r *remote) GroupInfo(ctx context.Context, from uri.Provider, id uri.Room, req *mimi.GroupInfoRequest) (resp *mimi.GroupInfoResponse, err error) {
	err = r.call("groupInfo", func() (err error) {
		if resp, err = r.side.hub.GroupInfo(ctx, from, id, recode(r.side.t, req)); err == nil {
			resp = recode(r.side.t, resp)
		}
		return err
	})
	return resp, err
}

func (r *remote) Notify(ctx context.Context, from uri.Provider, id uri.Room, body []byte) error {
	r.mu.Lock()
	filter := r.filter
	r.mu.Unlock()
	if filter != nil && filter(body) {
		return nil
	}
	r.again(func() { _ = r.side.follower.Notify(context.WithoutCancel(ctx), from, id, slices.Clone(body)) })
	return r.call("notify", func() error { return r.side.follower.Notify(ctx, from, id, slices.Clone(body)) })
}

func (r *remote) KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, req *mimi.KeyMaterialRequest) (resp *mimi.KeyMaterialResponse, err error) {
	err = r.call("keyMaterial", func() (err error) {
		if resp, err = r.side.hub.KeyMaterial(ctx, from, target, recode(r.side.t, req)); err == nil {
			resp = recode(r.side.t, resp)
		}
		return err
	})
	return resp, err
}

// connect makes two providers known to each other, and returns what lies between: to b, and to a.
func connect(a, b *side) (toB, toA *remote) {
	toB, toA = &remote{side: b}, &remote{side: a}
	a.peers.Add(b.provider, provider.Endpoints{Hub: toB, Follower: toB, KeyMaterial: toB})
	b.peers.Add(a.provider, provider.Endpoints{Hub: toA, Follower: toA, KeyMaterial: toA})
	return toB, toA
}
