package gateway_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mimigate/bridges"
	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// benchMessages are said in one iteration, one after the other in each room.
const benchMessages = 500

// BenchmarkGateway measures what a message costs the gateway, with the network in memory that it is tested with, on a store that is on disk
// before it answers (synchronous=FULL). ms-CPU/msg is of the whole process: the loopback networks and their clients too.
func BenchmarkGateway(b *testing.B) {
	for _, c := range []struct {
		name          string
		rooms, fanout int
	}{{"rooms=100", 100, 1}, {"rooms=1", 1, 1}, {"rooms=1,fanout=20", 1, 20}} {
		b.Run(c.name, func(b *testing.B) { benchTalk(b, c.rooms, c.fanout) })
	}
	b.Run("idle", benchIdle)
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchTalk binds rooms of one network to rooms of fanout others, and lets one person in each talk.
func benchTalk(b *testing.B, rooms, fanout int) {
	drivers, dir := map[string]adapter.Driver{}, b.TempDir()
	from, driver := bridges.Loopback()
	drivers["from"] = driver
	var text strings.Builder
	text.WriteString("provider: {domain: bench.test, store: store}\naccounts:\n  - {id: from, network: from}\n")
	to := make([]*bridges.Chat, fanout)
	for i := range to {
		name := fmt.Sprintf("to%d", i)
		to[i], drivers[name] = bridges.Loopback()
		fmt.Fprintf(&text, "  - {id: %s, network: %s}\n", name, name)
	}
	text.WriteString("rooms:\n")
	speakers := make([]*bridges.ChatClient, rooms)
	for r := range rooms {
		room := fmt.Sprintf("r%d", r)
		from.Create(room, room)
		fmt.Fprintf(&text, "  - {id: %s, bind: [from/%s", room, room)
		for i := range to {
			to[i].Create(room, room)
			fmt.Fprintf(&text, ", to%d/%s", i, room)
		}
		text.WriteString("]}\n")
		var err error
		if speakers[r], err = from.Join(room, fmt.Sprintf("p%d", r), fmt.Sprintf("Person %d", r)); err != nil {
			b.Fatal(err)
		}
	}
	benchRun(b, dir, text.String(), drivers)
	talk := func(n int) {
		for i := range n {
			if _, err := speakers[i%rooms].Say(fmt.Sprintf("message %d", i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	seen := make([]int, fanout)
	shown := func(n int) {
		ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
		defer cancel()
		for i, network := range to {
			for count := 0; count < n; {
				ev, err := network.Next(ctx, seen[i])
				if err != nil {
					b.Fatal(err)
				}
				if seen[i] = ev.Seq; ev.Kind == chat.Text {
					count++
				}
			}
		}
	}
	talk(rooms) // everybody is in by then
	shown(rooms)
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		talk(benchMessages)
		shown(benchMessages)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(b.N*benchMessages), "ms-CPU/msg")
	b.ReportMetric(float64(b.N*benchMessages)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(0, "ns/op")
}

// benchRun runs a gateway of this process until the benchmark ends.
func benchRun(b *testing.B, dir, text string, drivers map[string]adapter.Driver) {
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	c, err := config.Load(config.Options{Path: file, Drivers: drivers, Suites: gateway.Suites()})
	if err != nil {
		b.Fatal(err)
	}
	g, err := gateway.New(b.Context(), gateway.Options{Config: c, Drivers: drivers})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; !allOpen(b, g); <-tick.C { // what is said before is not heard
		if b.Context().Err() != nil {
			b.Fatal("the chats are not open")
		}
	}
}

func allOpen(b *testing.B, g *gateway.Gateway) bool {
	s, err := g.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range s.Rooms {
		if len(r.Bindings) == 0 {
			return false // not bound yet
		}
		for _, binding := range r.Bindings {
			if !binding.Open {
				return false
			}
		}
	}
	return len(s.Rooms) > 0
}

// benchIdle measures what a gateway in a process of its own takes that has nothing to do: alone, and for each of a thousand rooms, once
// these exist; and how long it takes until it is ready with them.
func benchIdle(b *testing.B) {
	const rooms = 1000
	resident := func(n int) (kB float64, ready time.Duration) {
		dir := b.TempDir()
		var text strings.Builder
		text.WriteString("provider: {domain: bench.test, store: store}\nrooms:\n")
		for r := range n {
			fmt.Fprintf(&text, "  - {id: r%d}\n", r)
		}
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		p := servers.Start(b, servers.Command{Name: "mimigate", Path: self, Dir: dir, Env: []string{serveEnv + "=" + file}, Ready: func(ctx context.Context) error {
			c, err := gateway.Dial(ctx, filepath.Join(dir, "store"))
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Status(ctx)
			for _, r := range s.Rooms {
				if r.Participants == 0 {
					return fmt.Errorf("%s is not made yet", r.Room)
				}
			}
			return err
		}})
		began := time.Now()
		p.Restart()
		ready = time.Since(began)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		if _, err := fmt.Sscan(rest, &kB); err != nil {
			b.Fatal(err)
		}
		return kB, ready
	}
	alone, _ := resident(0)
	with, ready := resident(rooms)
	b.ReportMetric(alone/1024, "MB-idle")
	b.ReportMetric((with-alone)/rooms, "kB/room")
	b.ReportMetric(ready.Seconds(), "s-ready")
	b.ReportMetric(0, "ns/op")
}
