package gateway_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/gateway"
)

var soak = flag.Duration("soak", 0, "how long TestFaults goes on; 0: one of each fault")

const (
	faultRooms = 6
	floodSize  = 400
	// faultPatience is how long what was accepted may take to be delivered, once all works again.
	faultPatience = 2 * time.Minute
)

// TestFaults lets people talk through a gateway in a process of its own while it is killed, also between a message was shown and that was
// recorded, while networks freeze, refuse and lose answers, and while a room is flooded. In the end everything that was said is shown
// once and in order. What the other rooms noticed of a fault is measured.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Run("sqlite", func(t *testing.T) { newFaults(t, "store").all() })
	t.Run("postgres", func(t *testing.T) { newFaults(t, postgres.Schema(t)).all() })
}

// faults is a gateway between two pairs of networks: a and b, which fail, and c and d, which do not.
type faults struct {
	t       *testing.T
	dir     string
	gateway *servers.Process
	chats   map[string]*wirechat
	stop    context.CancelFunc
	talking sync.WaitGroup
	next    atomic.Int64
	p99     map[string]time.Duration // of the rooms of c and d, by what happened meanwhile
	kills   int
}

func newFaults(t *testing.T, store string) *faults {
	f := &faults{t: t, dir: t.TempDir(), chats: map[string]*wirechat{}, p99: map[string]time.Duration{}}
	var config strings.Builder
	fmt.Fprintf(&config, "provider: {domain: gateway.test, store: %q, files: %q}\naccounts:\n", store, filepath.Join(f.dir, "store"))
	sockets, err := os.MkdirTemp("", "wirechat") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	for _, name := range []string{"a", "b", "c", "d"} {
		f.chats[name] = newWirechat(t, filepath.Join(sockets, name))
		fmt.Fprintf(&config, "  - {id: %s, network: wirechat-%s, socket: %q}\n", name, name, f.chats[name].socket)
	}
	fmt.Fprintln(&config, "rooms:")
	for i := range faultRooms {
		fmt.Fprintf(&config, "  - {id: ab%d, bind: [a/r%d, b/r%d]}\n  - {id: cd%d, bind: [c/r%d, d/r%d]}\n", i, i, i, i, i, i)
	}
	writeFile(t, f.dir, "config.yaml", config.String())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f.gateway = servers.Start(t, servers.Command{Name: "mimigate", Path: self, Dir: f.dir,
		Env: []string{serveEnv + "=" + filepath.Join(f.dir, "config.yaml")}, Ready: f.ready})
	return f
}

func (f *faults) ready(ctx context.Context) error {
	c, err := gateway.Dial(ctx, filepath.Join(f.dir, "store"))
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx)
	for _, r := range s.Rooms {
		for _, b := range r.Bindings {
			if !b.Open {
				return fmt.Errorf("%s is not open", b.Chat)
			}
		}
	}
	return err
}

// all lets each fault happen, for as long as is asked for, and counts.
func (f *faults) all() {
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	for _, name := range []string{"a", "b", "c", "d"} {
		f.talking.Go(func() { f.talk(ctx, name) })
	}
	defer f.talking.Wait()
	defer stop()
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < *soak; round++ {
		f.during("nothing", 2*time.Second, func() {})
		f.during("b is frozen", 2*time.Second, func() { f.chats["b"].set(func() { f.chats["b"].frozen = true }) })
		f.chats["b"].set(func() { f.chats["b"].frozen = false })
		f.during("b refuses", 2*time.Second, func() { f.chats["b"].set(func() { f.chats["b"].busy = time.Second }) })
		f.chats["b"].set(func() { f.chats["b"].busy = 0 })
		f.during("one room of a is flooded", 2*time.Second, f.flood)
		f.kill(time.Duration(rand.N(500)) * time.Millisecond)
		f.killAfterSend("b")
		f.kill(time.Duration(rand.N(500)) * time.Millisecond)
		f.killAfterSend("a")
		f.loseAnswer("b")
	}
	stop()
	f.talking.Wait()
	f.check()
}

// talk lets people say something in each room of a network, every now and then.
func (f *faults) talk(ctx context.Context, name string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			f.say(name, fmt.Sprintf("r%d", i%faultRooms), i%3)
		case <-ctx.Done():
			return
		}
	}
}

// other is the network that a network's rooms are bound to.
var other = map[string]string{"a": "b", "b": "a", "c": "d", "d": "c"}

func (f *faults) say(name, room string, person int) {
	text := fmt.Sprintf("%s %s %d", name, room, f.next.Add(1))
	to := f.chats[other[name]]
	to.set(func() { to.watch[text] = time.Now() })
	f.chats[name].say(room, fmt.Sprintf("%s-person-%d", name, person), text)
}

// during measures how long the rooms that are not concerned take meanwhile.
func (f *faults) during(what string, d time.Duration, begin func()) {
	for _, name := range []string{"c", "d"} {
		f.chats[name].set(func() { f.chats[name].latency = nil })
	}
	begin()
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
	var all []time.Duration
	for _, name := range []string{"c", "d"} {
		f.chats[name].set(func() { all = append(all, f.chats[name].latency...) })
	}
	if len(all) == 0 {
		f.t.Errorf("while %s, nothing was shown in rooms that are not concerned", what)
		return
	}
	slices.Sort(all)
	f.p99[what] = max(f.p99[what], all[len(all)*99/100])
}

func (f *faults) flood() {
	for range floodSize {
		f.say("a", "r0", 0)
	}
}

// kill kills the gateway after a while, and starts it again.
func (f *faults) kill(after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	<-timer.C
	f.restart()
}

func (f *faults) restart() {
	f.gateway.Kill()
	f.kills++
	f.gateway.Restart()
}

// killAfterSend kills the gateway when a message was shown on a network, and before it can be recorded.
func (f *faults) killAfterSend(name string) {
	shown := f.loseOne(name)
	f.waitFor("something to be shown", shown)
	f.restart()
}

// loseAnswer lets the answer to one message be lost, while the gateway goes on.
func (f *faults) loseAnswer(name string) {
	f.waitFor("something to be shown", f.loseOne(name))
	f.chats[name].set(func() { f.chats[name].frozen = true })
	f.restart() // and finds it frozen, so that it cannot ask yet
	f.chats[name].set(func() { f.chats[name].frozen = false })
}

// loseOne lets the next answer of a network be lost, and returns what is closed then.
func (f *faults) loseOne(name string) <-chan struct{} {
	lost := make(chan struct{})
	var once sync.Once
	w := f.chats[name]
	w.set(func() {
		w.answers = func() bool {
			answer := true
			once.Do(func() { answer = false; close(lost) })
			return answer
		}
	})
	return lost
}

func (f *faults) waitFor(what string, done <-chan struct{}) {
	f.t.Helper()
	select {
	case <-done:
	case <-time.After(faultPatience):
		f.t.Fatalf("waited in vain for %s", what)
	}
}

// check waits until all is shown, and counts.
func (f *faults) check() {
	said, accepted, lost, repeated, disordered := 0, 0, 0, 0, 0
	for _, name := range []string{"a", "b", "c", "d"} {
		from, to := f.chats[name], f.chats[other[name]]
		ctx, cancel := context.WithTimeout(context.Background(), faultPatience)
		to.wait(ctx, func() bool { return len(to.watch) == 0 })
		cancel()
		from.set(func() { accepted += from.taken })
		want, got := byRoom(from.said), byRoom(to.shown)
		for room, list := range want {
			said += len(list)
			l, r, d := compareWords(list, got[room])
			lost, repeated, disordered = lost+l, repeated+r, disordered+d
		}
	}
	f.t.Logf("%d messages said, %d of them known to be accepted, %d delivered, %d kills: %d lost, %d repeated, %d out of order",
		said, accepted, said-lost, f.kills, lost, repeated, disordered)
	for what, p99 := range f.p99 {
		f.t.Logf("rooms that are not concerned, p99 while %s: %v", what, p99.Round(time.Millisecond))
	}
	if lost+repeated+disordered > 0 || said == 0 {
		f.t.Errorf("lost %d, repeated %d, out of order %d", lost, repeated, disordered)
	}
	for what, p99 := range f.p99 {
		if limit := 20*f.p99["nothing"] + 500*time.Millisecond; p99 > limit {
			f.t.Errorf("rooms that are not concerned, p99 while %s: %v, want at most %v", what, p99, limit)
		}
	}
}

func byRoom(list []wireEvent) map[string][]string {
	rooms := map[string][]string{}
	for _, ev := range list {
		rooms[ev.Room] = append(rooms[ev.Room], ev.Text)
	}
	return rooms
}

// compareWords returns how many of the words were not shown, shown again, and shown after what was said later.
func compareWords(said, shown []string) (lost, repeated, disordered int) {
	place := map[string]int{}
	for i, text := range said {
		place[text] = i
	}
	seen, last := map[string]bool{}, -1
	for _, text := range shown {
		i, known := place[text]
		switch {
		case !known: // a notice of the gateway
		case seen[text]:
			repeated++
		case i < last:
			disordered++
		default:
			last = i
		}
		seen[text] = true
	}
	for _, text := range said {
		if !seen[text] {
			lost++
		}
	}
	return lost, repeated, disordered
}

// TestCompareWords: what TestFaults counts with can tell.
func TestCompareWords(t *testing.T) {
	for _, c := range []struct{ said, shown, want string }{
		{"abcd", "abcd", "0 0 0"}, {"abcd", "acd", "1 0 0"}, {"abcd", "abbcd", "0 1 0"}, {"abcd", "acbd", "0 0 1"}, {"abcd", "xabcd", "0 0 0"}, {"ab", "", "2 0 0"},
	} {
		l, r, d := compareWords(strings.Split(c.said, ""), strings.Split(c.shown, ""))
		if got := fmt.Sprint(l, r, d); got != c.want {
			t.Errorf("%s shown as %s: %s, want %s", c.said, c.shown, got, c.want)
		}
	}
}
