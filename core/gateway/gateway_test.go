package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/bridges"
	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/gateway"
	"mimigate/core/store"
)

// patience is how long tests wait for what takes a moment.
const patience = 30 * time.Second

// load writes a configuration to a directory and loads it.
func load(t *testing.T, dir, text string, drivers map[string]adapter.Driver) *config.Config {
	t.Helper()
	file := writeFile(t, dir, "config.yaml", stores(t, dir, text))
	c, err := config.Load(config.Options{Path: file, Drivers: drivers, Suites: gateway.Suites()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// running is a gateway in this process.
type running struct {
	*gateway.Gateway
	t    *testing.T
	dir  string // of its files, where a test asks it as commands do
	stop context.CancelFunc
	done chan error
}

// start runs a gateway until the test ends or end is called.
func start(t *testing.T, c *config.Config, drivers map[string]adapter.Driver) *running {
	t.Helper()
	g, err := gateway.New(t.Context(), gateway.Options{Config: c, Drivers: drivers, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, g)
}

func run(t *testing.T, g *gateway.Gateway) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Gateway: g, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- g.Run(ctx) }()
	t.Cleanup(r.end)
	return r
}

// end ends the gateway and waits until nothing of it runs.
func (r *running) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		r.t.Error("Run did not end in time")
	}
}

// opened waits until these chats are open: what is said there before is not heard by networks without history.
func (r *running) opened(chats ...string) {
	r.t.Helper()
	eventually(r.t, "open chats", func(ctx context.Context) error {
		s, err := r.Status(ctx)
		if err != nil {
			return err
		}
		missing := slices.Clone(chats)
		for _, room := range s.Rooms {
			for _, b := range room.Bindings {
				missing = slices.DeleteFunc(missing, func(chat string) bool { return chat == b.Chat && b.Open })
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("not open: %v", missing)
		}
		return nil
	})
}

// testLog shows the log of a test that fails.
func testLog(t *testing.T) *slog.Logger {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}),
		slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// eventually waits until done returns nil.
func eventually(t *testing.T, what string, done func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := error(nil); ; {
		err := done(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil || last == nil {
			last = err // what it says after ctx has ended, says only that
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, last)
		}
	}
}

// networks are loopback networks by name, each with a room of the name "room", and their drivers.
type networks map[string]*bridges.Chat

func newNetworks(names ...string) (networks, map[string]adapter.Driver) {
	n, drivers := networks{}, map[string]adapter.Driver{}
	for _, name := range names {
		n[name], drivers[name] = bridges.Loopback()
		n[name].Create("room", "Room of "+name)
	}
	return n, drivers
}

func (n networks) join(t *testing.T, network, name string) *bridges.ChatClient {
	t.Helper()
	c, err := n[network].Join("room", strings.ToLower(name), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whatever the test was about: nothing that was said is in a log
		for _, m := range n[network].Messages("room") {
			if len(m.Text) >= minSecret {
				logged.lacks(t, m.Text)
			}
		}
	})
	return c
}

// wait waits until a network shows something.
func (n networks) wait(t *testing.T, network, what string, done func([]bridges.ChatMessage) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n[network].Wait(ctx, func() bool { return done(n[network].Messages("room")) }); err != nil {
		t.Fatalf("%s does not show %s:\n%s", network, what, n[network].Transcript("room"))
	}
}

// sees waits for a message of a name and text, and returns it.
func (n networks) sees(t *testing.T, network, name, text string) (found bridges.ChatMessage) {
	t.Helper()
	n.wait(t, network, name+": "+text, func(all []bridges.ChatMessage) bool {
		i := slices.IndexFunc(all, func(m bridges.ChatMessage) bool { return m.Name == name && m.Text == text && !m.Deleted })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// members waits until exactly these names are in the room of a network.
func (n networks) members(t *testing.T, network string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	slices.Sort(want)
	var got []string
	err := n[network].Wait(ctx, func() bool {
		got = nil
		for _, m := range n[network].Members("room") {
			if m.User != "gateway" {
				got = append(got, m.Name)
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
	if err != nil {
		t.Fatalf("%s: %v are in the room, want %v", network, got, want)
	}
}

const twoNetworks = `
provider: {domain: north.example, store: store}
accounts:
  - {id: left, network: left}
  - {id: right, network: right}
policies:
  - {id: default, joins: show}
rooms:
  - id: both
    name: Both
    bind: [left/room, right/room]
`

// must returns the id of what was done.
func must(t *testing.T) func(id string, err error) string {
	return func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
}

// TestConversation lets two networks meet in a room: each kind of content both ways, also after a restart.
func TestConversation(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	c := load(t, t.TempDir(), twoNetworks, drivers)
	ann, bob := n.join(t, "left", "Ann"), n.join(t, "right", "Bob")
	g := start(t, c, drivers)
	n.members(t, "left", "Ann", "Bob")
	n.members(t, "right", "Ann", "Bob")
	ok := must(t)

	hello := ok(ann.Say("Hello"))
	there := n.sees(t, "right", "Ann", "Hello")
	answer := ok(bob.Reply(there.ID, "Hi Ann"))
	if m := n.sees(t, "left", "Bob", "Hi Ann"); m.To != hello {
		t.Errorf("the answer is to %q, want %q", m.To, hello)
	}
	ok(ann.Write("**bold** move"))
	n.sees(t, "right", "Ann", "**bold** move")
	ok(bob.React(there.ID, "👍"))
	reacted := func(all []bridges.ChatMessage) bool {
		return slices.ContainsFunc(all, func(m bridges.ChatMessage) bool {
			return m.ID == hello && len(m.Reactions) == 1 && m.Reactions[0].Name == "Bob" && m.Reactions[0].Emoji == "👍"
		})
	}
	n.wait(t, "left", "Bob's reaction", reacted)
	ok(bob.Unreact(there.ID, "👍"))
	n.wait(t, "left", "no reaction", func(all []bridges.ChatMessage) bool { return !reacted(all) })

	g.end()
	ok(ann.Edit(hello, "Hello!")) // while the gateway is away
	g = start(t, c, drivers)
	if m := n.sees(t, "right", "Ann", "Hello!"); m.ID != there.ID || !m.Edited {
		t.Errorf("the edit is another message: %+v", m)
	}
	ok(bob.Delete(answer))
	n.wait(t, "left", "the deletion", func(all []bridges.ChatMessage) bool {
		return !slices.ContainsFunc(all, func(m bridges.ChatMessage) bool { return m.Text == "Hi Ann" && !m.Deleted })
	})

	cem := n.join(t, "left", "Cem")
	n.members(t, "right", "Ann", "Bob", "Cem")
	cem.Rename("Cem K.")
	n.members(t, "right", "Ann", "Bob", "Cem K.")
	if err := cem.Leave(); err != nil {
		t.Fatal(err)
	}
	n.members(t, "right", "Ann", "Bob")

	s, err := g.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Rooms) != 1 || s.Rooms[0].Participants != 3 || s.Rooms[0].Problem != "" || len(s.Rooms[0].Bindings) != 2 || s.Repeated != 0 {
		t.Errorf("status: %+v", s)
	}
}

// TestSecondInstance: another gateway on the same store is refused, and told whose it is.
func TestSecondInstance(t *testing.T) {
	_, drivers := newNetworks("left", "right")
	c := load(t, t.TempDir(), twoNetworks, drivers)
	start(t, c, drivers)
	_, err := gateway.New(t.Context(), gateway.Options{Config: c, Drivers: drivers})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "pid ") {
		t.Errorf("got %v", err)
	}
}
