package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/bridges/loopback"
	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router"
	"mimigate/core/store"
	"mimigate/core/uri"
)

const masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// deadline is how long a test waits for what must happen.
const deadline = 90 * time.Second

// world is a gateway's router with loopback networks around it.
type world struct {
	t        *testing.T
	dir      string
	domain   string
	nets     map[string]*chat.Network
	accounts map[string]*account
	rooms    []router.Room
	options  func(*router.Options)
	joined   []identity.Joined
	nested   bool // the members bring messages back before Send returns

	members *members
	store   *store.Store
	wrap    func(router.Store) router.Store
	router  *router.Router
	stop    func()
}

type account struct {
	id, network, mode string
	net               *chat.Network
	unbound           router.Unbound
	wrap              func(adapter.Adapter) adapter.Adapter
	made              adapter.Adapter
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), domain: "a.example", nets: map[string]*chat.Network{}, accounts: map[string]*account{}}
	w.members = newMembers(w)
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
	})
	return w
}

// net returns the network of a name, with a room in it.
func (w *world) net(name string, rooms ...string) *chat.Network {
	n := w.nets[name]
	if n == nil {
		n = chat.New()
		w.nets[name] = n
	}
	for _, r := range rooms {
		n.Create(r, strings.ToUpper(r))
	}
	return n
}

func (w *world) account(id, network string) *account {
	a := &account{id: id, network: network, net: w.net(network), mode: "names"}
	w.accounts[id] = a
	return a
}

func (w *world) provider() uri.Provider {
	p, err := uri.NewProvider(w.domain)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) room(id string) uri.Room {
	r, err := w.provider().Room(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// bind binds chats, "account/chat" or "account/chat in", to a room by configuration.
func (w *world) bind(id string, rules router.Rules, chats ...string) {
	room := router.Room{Room: w.room(id), Rules: rules}
	for i, c := range chats {
		name, direction, _ := strings.Cut(c, " ")
		acc, conv, _ := strings.Cut(name, "/")
		b := router.Bind{Chat: router.Chat{Account: acc, Name: conv}, At: fmt.Sprintf("config.yaml:%d", i+1)}
		switch direction {
		case "in":
			b.Direction = router.In
		case "out":
			b.Direction = router.Out
		}
		room.Bind = append(room.Bind, b)
	}
	w.rooms = append(w.rooms, room)
}

// Account implements router.Accounts.
func (w *world) Account(id string) (router.Account, bool) {
	a, ok := w.accounts[id]
	if !ok || a.made == nil {
		return router.Account{}, false
	}
	return router.Account{ID: a.id, Network: a.network, Adapter: a.made, Unbound: a.unbound}, true
}

// start runs everything, as after a start of the process.
func (w *world) start() {
	t := w.t
	t.Helper()
	keys, err := store.ParseKeys(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	w.store, err = store.Open(t.Context(), store.Options{Location: filepath.Join(w.dir, "store"), Domain: w.domain, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	var s router.Store = w.store
	if w.wrap != nil {
		s = w.wrap(s)
	}
	o := router.Options{
		Provider: w.provider(), Language: "en", Store: s, Members: w.members, Rooms: w.members, Accounts: w,
		Identity: identity.New(identity.Options{Provider: w.provider(), Store: w.store, Joined: w.joined}),
		Backoff:  func(n int) time.Duration { return min(time.Duration(n)*5*time.Millisecond, 50*time.Millisecond) },
	}
	if w.options != nil {
		w.options(&o)
	}
	w.router = router.New(o)
	w.members.begin(s)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, a := range w.accounts {
		driver := loopback.Driver(a.net)
		config := driver.Config().(*loopback.Config)
		config.User, config.Mode = a.id, a.mode
		made, err := driver.New(adapter.Account{ID: a.id, Provider: w.provider(), Language: "en", Config: config, State: w.store.State(a.id)})
		if err != nil {
			t.Fatal(err)
		}
		if a.wrap != nil {
			made = a.wrap(made)
		}
		a.made = made
	}
	for _, a := range w.accounts {
		sink := w.router.Sink(a.id)
		all.Go(func() {
			for ctx.Err() == nil {
				_ = a.made.Run(ctx, sink)
				pause(ctx)
			}
		})
	}
	if err := w.router.Configure(ctx, w.rooms); err != nil && !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	all.Go(func() {
		if err := w.router.Run(ctx); err != nil && !errors.Is(err, errDead) {
			t.Error(err)
		}
	})
	all.Go(func() { w.members.pump(ctx) })
	w.stop = func() {
		w.stop = nil
		cancel()
		all.Wait()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func pause(ctx context.Context) {
	timer := time.NewTimer(2 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// until waits for a condition.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), deadline)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			var all strings.Builder
			for name, n := range w.nets {
				for _, r := range []string{"kitchen", "hall", "attic"} {
					fmt.Fprintf(&all, "%s/%s:\n%s\n", name, r, n.Transcript(r))
				}
			}
			w.t.Fatalf("waited in vain for: %s\n%s", what, all.String())
		}
		pause(ctx)
	}
}

// ready waits until the chats are open: the accounts follow them.
func (w *world) ready() {
	w.t.Helper()
	w.until("all bindings open", func() bool {
		status, err := w.router.Status(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, b := range status.Bindings {
			if !b.Opened() || b.Title == "" {
				return false
			}
		}
		return true
	})
}

// quiet waits until nothing is on its way any more: a marker message of its own has crossed from each chat after everything else.
func (w *world) quiet() {
	w.t.Helper()
	w.until("nothing on its way", func() bool {
		status, err := w.router.Status(w.t.Context())
		if err != nil {
			return false
		}
		waiting := 0
		for _, b := range status.Bindings {
			waiting += b.Waiting
		}
		return waiting == 0 && w.members.idle()
	})
}

func (w *world) person(net, room, user string) *chat.Client {
	w.t.Helper()
	c, err := w.nets[net].Join(room, user, strings.ToUpper(user[:1])+user[1:])
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) say(c *chat.Client, text string) string {
	w.t.Helper()
	id, err := c.Say(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// find returns the messages with a text, as they are now.
func (w *world) find(net, room, text string) []chat.Message {
	var out []chat.Message
	for _, m := range w.nets[net].Messages(room) {
		if m.Text == text && !m.Deleted {
			out = append(out, m)
		}
	}
	return out
}

func (w *world) arrives(net, room, text string) chat.Message {
	w.t.Helper()
	w.until(fmt.Sprintf("%q in %s/%s", text, net, room), func() bool { return len(w.find(net, room, text)) > 0 })
	return w.find(net, room, text)[0]
}

func (w *world) texts(net, room string) []string {
	var out []string
	for _, m := range w.nets[net].Messages(room) {
		out = append(out, m.Text)
	}
	return out
}

// must fails the test on an error of a client.
func must(t *testing.T) func(string, error) string {
	return func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
}

// members is a fake of package member, with the hub in it: it numbers what is sent and brings it back, to all that share the hub.
type members struct {
	w *world

	mu     sync.Mutex
	store  router.Store
	sink   *router.Router
	inbox  []func(context.Context) error
	roles  map[uri.Room]map[uri.User]uint32
	names  map[uri.Room]string
	refuse func(from uri.User, m *content.Message) string
	fail   error
	wake   chan struct{}
}

func newMembers(w *world) *members {
	return &members{w: w, roles: map[uri.Room]map[uri.User]uint32{}, names: map[uri.Room]string{}, wake: make(chan struct{}, 1)}
}

func (m *members) begin(s router.Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store, m.sink = s, m.w.router
}

// pump is the room's inbox: one unit (T4) after the other, each again until it is taken.
func (m *members) pump(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		if len(m.inbox) == 0 {
			m.mu.Unlock()
			select {
			case <-m.wake:
			case <-ctx.Done():
			}
			continue
		}
		next := m.inbox[0]
		m.mu.Unlock()
		err := m.store.Do(ctx, func(ctx context.Context) error {
			if err := next(ctx); err != nil {
				return err
			}
			m.store.OnCommit(ctx, func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.inbox = m.inbox[1:]
			})
			return nil
		})
		if err != nil {
			pause(ctx)
		}
	}
}

func (m *members) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.inbox) == 0
}

// later puts something in the inbox when the unit of ctx is committed.
func (m *members) later(ctx context.Context, f func(context.Context) error) {
	m.store.OnCommit(ctx, func() {
		m.mu.Lock()
		m.inbox = append(m.inbox, f)
		m.mu.Unlock()
		select {
		case m.wake <- struct{}{}:
		default:
		}
	})
}

// elsewhere is somebody of another provider who does something in a room.
func (m *members) elsewhere(f func(ctx context.Context, sink *router.Router) error) {
	m.later(m.w.t.Context(), func(ctx context.Context) error { return f(ctx, m.sink) })
}

func (m *members) setRole(ctx context.Context, room uri.Room, user, by uri.User, role uint32) error {
	m.mu.Lock()
	if m.roles[room] == nil {
		m.roles[room] = map[uri.User]uint32{}
	}
	before, fail := m.roles[room][user], m.fail
	if fail == nil {
		m.roles[room][user] = role
	}
	m.mu.Unlock()
	if before == role || fail != nil {
		return fail
	}
	m.w.store.OnRollback(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.roles[room][user] = before
	})
	m.later(ctx, func(ctx context.Context) error {
		return m.sink.Participant(ctx, room, user, by, before, role, time.Now())
	})
	return nil
}

func (m *members) gateway() uri.User {
	u, _ := m.w.provider().User("gateway")
	return u
}

func (m *members) EnsureParticipant(ctx context.Context, room uri.Room, user uri.User, role uint32) error {
	if m.role(room, user) >= role {
		return nil
	}
	return m.setRole(ctx, room, user, m.gateway(), role)
}

func (m *members) RemoveParticipant(ctx context.Context, room uri.Room, user uri.User) error {
	return m.setRole(ctx, room, user, m.gateway(), 0)
}

func (m *members) SetRole(ctx context.Context, room uri.Room, user uri.User, role uint32) error {
	return m.setRole(ctx, room, user, m.gateway(), role)
}

func (m *members) Participants(_ context.Context, room uri.Room) (map[uri.User]uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[uri.User]uint32{}
	for u, r := range m.roles[room] {
		if r > 0 {
			out[u] = r
		}
	}
	return out, nil
}

func (m *members) role(room uri.Room, user uri.User) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.roles[room][user]
}

func (m *members) Send(ctx context.Context, room uri.Room, from uri.User, msg *content.Message) (content.MessageID, error) {
	m.mu.Lock()
	fail, refuse := m.fail, m.refuse
	m.mu.Unlock()
	if fail != nil {
		return content.MessageID{}, fail
	}
	if m.role(room, from) < 2 {
		return content.MessageID{}, errors.New("the sender is not in the room")
	}
	c := *msg
	c.SenderURI, c.RoomURI = from.String(), room.String()
	encoded, err := content.Marshal(&c)
	if err != nil {
		return content.MessageID{}, err
	}
	id, err := content.ComputeID(c.SenderURI, c.RoomURI, encoded)
	if err != nil {
		return content.MessageID{}, err
	}
	bring := func(ctx context.Context) error {
		if refuse != nil {
			if reason := refuse(from, &c); reason != "" {
				return m.sink.Refused(ctx, room, from, id, reason)
			}
		}
		return m.sink.Message(ctx, room, from, id, time.Now(), &c)
	}
	if m.w.nested {
		return id, bring(ctx)
	}
	m.later(ctx, bring)
	return id, nil
}

func (m *members) CreateRoom(_ context.Context, room uri.Room, name, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[room] = name
	return nil
}

func (m *members) Describe(_ context.Context, room uri.Room, name, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[room] = name
	return nil
}

func (m *members) Description(_ context.Context, room uri.Room) (name, subject string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[room], "", nil
}

var errDead = errors.New("killed")
