package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/content"
	"mimigate/core/gateway"
)

// wire is a network that is nothing but a TCP connection for each account, to a server of the test that counts them.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	opened   map[string]int // by account
	open     map[string]int
	running  sync.WaitGroup
}

// wireConfig is the configuration of an account on it.
type wireConfig struct {
	Word string `yaml:"word" was:"old_word" doc:"Any."`
}

// wireAdapter holds its connection until its run ends.
type wireAdapter struct {
	account adapter.Account
	address string
}

func newWire(t *testing.T) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, opened: map[string]int{}, open: map[string]int{}}
	w.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); w.running.Wait() })
	return w
}

func (w *wire) serve(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 64)
	n, err := conn.Read(b)
	if err != nil {
		return
	}
	id := string(b[:n])
	w.count(id, 1)
	_, _ = conn.Read(b) // until it is closed
	w.count(id, -1)
}

func (w *wire) count(id string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[id] += by
	w.opened[id] += max(by, 0)
}

func (w *wire) counts() (opened, open map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.opened), maps.Clone(w.open)
}

func (w *wire) driver() adapter.Driver {
	return adapter.Driver{Name: "wire", Config: func() any { return &wireConfig{} },
		New: func(a adapter.Account) (adapter.Adapter, error) {
			return &wireAdapter{a, w.listener.Addr().String()}, nil
		}}
}

func (a *wireAdapter) Run(ctx context.Context, sink adapter.Sink) error {
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(a.account.ID)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := sink.Receive(ctx, adapter.Event{Body: adapter.Status{State: adapter.Connected}}); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); ctx.Err() == nil {
		return err
	}
	return nil
}

func (a *wireAdapter) Send(context.Context, adapter.Outbound) (adapter.Sent, error) {
	return adapter.Sent{}, adapter.NotDelivered(errors.New("nothing is sent"))
}
func (a *wireAdapter) Limits(adapter.Conversation) content.Limits { return content.Limits{} }

// reloading is a gateway whose configuration a test writes anew.
type reloading struct {
	*running
	networks
	wire    *wire
	dir     string
	drivers map[string]adapter.Driver
}

func startReloading(t *testing.T, text string) *reloading {
	n, drivers := newNetworks("left", "right", "third")
	w := newWire(t)
	drivers["wire"] = w.driver()
	r := &reloading{networks: n, wire: w, dir: t.TempDir(), drivers: drivers}
	c := load(t, r.dir, text, drivers)
	g, err := gateway.New(t.Context(), gateway.Options{Config: c, Drivers: drivers, Log: testLog(t), Load: r.load})
	if err != nil {
		t.Fatal(err)
	}
	r.running = run(t, g)
	return r
}

func (r *reloading) load() (*config.Config, error) {
	return config.Load(config.Options{Path: filepath.Join(r.dir, "config.yaml"), Drivers: r.drivers, Suites: gateway.Suites()})
}

func (r *reloading) reload(text string) (gateway.Changes, error) {
	writeFile(r.t, r.dir, "config.yaml", stores(r.t, r.dir, text))
	return r.Reload(r.t.Context())
}

// connections waits until these accounts are connected, each having done so this often.
func (r *reloading) connections(want map[string]int) {
	r.t.Helper()
	eventually(r.t, "connections", func(context.Context) error {
		opened, open := r.wire.counts()
		for id, n := range open {
			if n == 0 {
				delete(opened, id)
			} else if n > 1 {
				return fmt.Errorf("%s has %d connections at once", id, n)
			}
		}
		if !maps.Equal(opened, want) {
			return fmt.Errorf("%v, want %v", opened, want)
		}
		return nil
	})
}

const reloadBefore = `
provider: {domain: north.example, store: store}
accounts:
  - {id: left, network: left}
  - {id: right, network: right}
  - {id: one, network: wire, word: a}
  - {id: two, network: wire, word: a}
  - {id: three, network: wire, word: a}
policies:
  - {id: default, joins: show}
rooms:
  - {id: both, name: Both, bind: [left/room, right/room]}
`

const reloadAfter = `
provider: {domain: north.example, store: store}
accounts: # lines and order differ; three is gone, two differs, four and third are new
  - {id: four, network: wire}
  - {id: one, network: wire, old_word: a}
  - {id: two, network: wire, word: b}
  - {id: right, network: right}
  - {id: third, network: third}
  - {id: left, network: left, unbound: ask}
policies:
  - {id: default, joins: show}
rooms:
  - {id: both, name: Three, bind: [left/room, right/room, third/room]}
  - {id: more, bind: [right/other]}
`

// TestReload: what differs is applied, and nothing else is touched: the connections of the other accounts stay.
func TestReload(t *testing.T) {
	r := startReloading(t, reloadBefore)
	r.opened("left/room", "right/room")
	r.connections(map[string]int{"one": 1, "two": 1, "three": 1})
	ann, bob := r.join(t, "left", "Ann"), r.join(t, "right", "Bob")
	ok := must(t)
	ok(ann.Say("before"))
	r.sees(t, "right", "Ann", "before")
	address, err := r.CreateRoom(t.Context(), "made", "By command", "")
	if err != nil {
		t.Fatal(err)
	}
	r.networks["left"].Create("apart", "Apart")
	if err := r.Bind(t.Context(), "made", "left/apart", "in"); err != nil {
		t.Fatal(err)
	}
	since := r.since("left", "right", "one")

	got, err := r.reload(reloadAfter)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Changes{Accounts: gateway.Difference{Added: []string{"four", "third"}, Changed: []string{"two"}, Removed: []string{"three"}},
		Rooms: gateway.Difference{Added: []string{"more"}, Changed: []string{"both"}}}
	if len(got.Say) != 1 || !strings.Contains(got.Say[0], "config.yaml:5: accounts.old_word: this key is now called word") {
		t.Errorf("said: %q", got.Say)
	}
	if got.Say = nil; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.connections(map[string]int{"one": 1, "two": 2, "four": 1})
	r.opened("left/room", "right/room", "third/room", "left/apart")
	ok(bob.Say("after"))
	r.sees(t, "left", "Bob", "after")
	r.sees(t, "third", "Bob", "after")
	if now := r.since("left", "right", "one"); !slices.Equal(now, since) {
		t.Errorf("the states changed at %v, before at %v", now, since)
	}
	eventually(t, "the new name", func(ctx context.Context) error {
		d, err := r.Room(ctx, "both")
		if err == nil && (d.Name != "Three" || !strings.HasSuffix(d.Managed, "config.yaml:13")) {
			err = fmt.Errorf("%+v", d)
		}
		return err
	})
	if d, err := r.Room(t.Context(), address.String()); err != nil || d.Managed != "" || len(d.Bindings) != 1 || !d.Bindings[0].Open {
		t.Errorf("the room made by command: %+v, %v", d, err)
	}

	if got, err := r.reload(reloadAfter); err != nil || !got.Accounts.IsZero() || !got.Rooms.IsZero() || !got.Peers.IsZero() {
		t.Errorf("the same again: %+v, %v", got, err)
	}
	r.connections(map[string]int{"one": 1, "two": 2, "four": 1})
}

// since returns when the states of accounts began.
func (r *reloading) since(ids ...string) []string {
	s, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, a := range s.Accounts {
		if slices.Contains(ids, a.ID) {
			all = append(all, a.ID+" "+a.Since.String())
		}
	}
	slices.Sort(all)
	return all
}

// TestReloadRemoves: a room that is gone from the configuration is no longer bound; what was made by command stays, also where its
// account is gone.
func TestReloadRemoves(t *testing.T) {
	r := startReloading(t, reloadBefore)
	r.opened("left/room", "right/room")
	ann := r.join(t, "left", "Ann")
	if _, err := r.CreateRoom(t.Context(), "made", "By command", "default"); err != nil {
		t.Fatal(err)
	}
	r.networks["right"].Create("apart", "Apart")
	if err := r.Bind(t.Context(), "made", "right/apart", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload("provider: {domain: north.example, store: store}\naccounts:\n  - {id: left, network: left}\n"); err != nil {
		t.Fatal(err)
	}
	must(t)(ann.Say("to nobody"))
	s, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Accounts) != 1 || len(s.Rooms) != 1 || s.Rooms[0].Name != "By command" || len(s.Rooms[0].Bindings) != 1 || s.Rooms[0].Bindings[0].Problem == "" {
		t.Errorf("%+v", s)
	}
	text, err := r.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload(reloadBefore); err != nil {
		t.Fatal(err)
	}
	r.opened("left/room", "right/room", "right/apart")
	must(t)(ann.Say("to all again"))
	r.sees(t, "right", "Ann", "to all again")
	if slices.ContainsFunc(r.Messages("right"), func(text string) bool { return text == "to nobody" }) {
		t.Error("what was said in an unbound chat was passed on")
	}

	// What is exported is what it says: as a configuration, it is the same room.
	body, _ := strings.CutPrefix(text, "rooms:\n")
	c := load(t, t.TempDir(), reloadBefore+body, r.drivers)
	if last := c.Rooms[len(c.Rooms)-1]; last.ID != "made" || last.Name != "By command" || last.Bind[0].Chat.String() != "right/apart" {
		t.Errorf("%s is %+v", text, last)
	}
}

// Messages returns the texts in the room of a network.
func (n networks) Messages(network string) (texts []string) {
	for _, m := range n[network].Messages("room") {
		texts = append(texts, m.Text)
	}
	return texts
}

// TestReloadWrong: a configuration that is wrong changes nothing and says why; so does another domain. What needs a restart is told.
func TestReloadWrong(t *testing.T) {
	r := startReloading(t, reloadBefore)
	r.connections(map[string]int{"one": 1, "two": 1, "three": 1})
	for text, says := range map[string]string{
		strings.ReplaceAll(reloadAfter, "rooms:", "roms:"):                `config.yaml:12: unknown key "roms"; did you mean rooms?`,
		strings.ReplaceAll(reloadAfter, "third/room", "fourth/room"):      `unknown account "fourth"`,
		strings.ReplaceAll(reloadAfter, "north.example", "south.example"): "provider.domain is part of every address",
		"\tno: yaml": "no YAML",
	} {
		_, err := r.reload(text)
		if !errors.Is(err, gateway.ErrConfig) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	if d, err := r.reload(strings.ReplaceAll(reloadBefore, "store: store", "store: other, language: de")); err != nil ||
		!slices.Equal(d.Restart, []string{"provider.store", "provider.master_key", "provider.language"}) {
		t.Errorf("%+v, %v", d, err)
	}
	r.connections(map[string]int{"one": 1, "two": 1, "three": 1})
	if s, err := r.Status(t.Context()); err != nil || len(s.Accounts) != 5 || len(s.Rooms) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestMadeRooms: what commands may do to rooms, and what they may not.
func TestMadeRooms(t *testing.T) {
	r := startReloading(t, reloadBefore+"  - {id: second}\n")
	ctx := t.Context()
	if _, err := r.CreateRoom(ctx, "made", "", ""); err != nil {
		t.Fatal(err)
	}
	refused := func(err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	_, err := r.CreateRoom(ctx, "made", "", "")
	refused(err, "already")
	_, err = r.CreateRoom(ctx, "both", "", "")
	refused(err, "managed by the configuration: ")
	_, err = r.CreateRoom(ctx, "other", "", "strict")
	refused(err, "no policy strict")
	_, err = r.CreateRoom(ctx, "no spaces", "", "")
	refused(err, "an id has")
	refused(r.SetPolicy(ctx, "both", "default"), "managed by the configuration: ")
	refused(r.SetPolicy(ctx, "nowhere", "default"), "no room")
	refused(r.Bind(ctx, "nowhere", "left/room", ""), "no room")
	refused(r.Bind(ctx, "made", "left/room", ""), "already bound")
	refused(r.Bind(ctx, "made", "left", ""), "want account/chat")
	refused(r.Bind(ctx, "made", "left/apart", "up"), `"up" is none of`)
	refused(r.Unbind(ctx, "left/room"), "managed by the configuration")
	refused(r.Unbind(ctx, "left/nowhere"), "not found")
	refused(r.Invite(ctx, "made", "somebody"), "no MIMI address")
	refused(r.Invite(ctx, "made", "mimi://south.example/u/dev"), "no connection")
	_, err = r.Room(ctx, "nowhere")
	refused(err, "no room")
	if err := r.SetPolicy(ctx, "made", "default"); err != nil {
		t.Error(err)
	}
	if err := r.Invite(ctx, "made", "mimi://north.example/u/inge"); err != nil {
		t.Error(err)
	}
	eventually(t, "Inge", func(ctx context.Context) error {
		d, err := r.Room(ctx, "made")
		if err == nil && len(d.Participants) != 2 {
			err = fmt.Errorf("%+v", d.Participants)
		}
		return err
	})
	if err := r.Remove(ctx, "made", "mimi://north.example/u/inge"); err != nil {
		t.Error(err)
	}
	eventually(t, "nobody else", func(ctx context.Context) error {
		d, err := r.Room(ctx, "made")
		if err == nil && (len(d.Participants) != 1 || d.Participants[0].Role != "gateway" && d.Participants[0].Role != "owner") {
			err = fmt.Errorf("%+v", d.Participants)
		}
		return err
	})
}
