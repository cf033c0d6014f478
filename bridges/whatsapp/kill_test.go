//go:build !nowhatsapp

package whatsapp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// What the child of TestKill finds in its environment.
const (
	childAddr  = "MIMIGATE_WHATSAPP_CHILD" // the server's address; empty: this process is no child
	childDir   = "MIMIGATE_WHATSAPP_DIR"
	childGroup = "MIMIGATE_WHATSAPP_GROUP"
	childRoot  = "MIMIGATE_WHATSAPP_ROOT"
)

// killTexts is how many messages go each way in TestKill.
const killTexts = 40

// TestKill kills the adapter's process with messages in flight both ways: at chosen moments (after the Signal decrypt and before the
// event is recorded, after it is recorded and before WhatsApp knows, after a message was sent and before that is recorded), and whenever.
// Nothing is lost, and nothing is twice (peers.md §2, 1 and 6).
func TestKill(t *testing.T) {
	l := newLab(t, 1)
	owner := l.accounts[0].phone
	group := owner.NewGroup(t, "Family")
	ann := l.join(t, group, "Ann")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := func() *exec.Cmd {
		c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKillChild$", "-test.timeout=60s")
		c.Env = append(os.Environ(), childAddr+"="+l.Addr(), childDir+"="+l.accounts[0].dir, childGroup+"="+group.String(),
			childRoot+"="+fmt.Sprintf("%x", waserver.Root()))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var want []string
	for i := range killTexts {
		want = append(want, fmt.Sprintf("in %d", i))
		ann.phone.Text(t, group, want[i])
	}
	deaths := 0
	for c := child(); ; c = child() {
		if deaths%3 == 2 { // this one dies whenever
			time.AfterFunc(time.Duration(100+50*deaths)*time.Millisecond, func() { _ = c.Process.Kill() })
		}
		err := c.Wait()
		if err == nil {
			break // it says that it is done
		}
		deaths++
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatalf("the child failed, after %d deaths: %v", deaths, err)
		}
	}
	if deaths < 5 {
		t.Errorf("the child died %d times, so little was proved", deaths)
	}
	got := recorded(t, l.accounts[0].dir, "received")
	if !slices.Equal(got, want) {
		t.Errorf("after %d deaths, %d of %d messages in their order:\n%q", deaths, len(got), len(want), got)
	}
	var sent []string
	for i := range killTexts {
		sent = append(sent, fmt.Sprintf("out %d", i))
	}
	adaptertest.WaitFor(t, patience, "Ann sees everything once", func() error {
		v, err := ann.View(t.Context())
		if err != nil {
			return err
		}
		var shown []string
		for _, m := range v.Messages {
			if strings.HasPrefix(m.Text, "out ") {
				shown = append(shown, m.Text)
			}
		}
		// Where keys cross, as on the first messages of two devices, Ann's phone asks for a message again, which then comes later.
		if !slices.Equal(slices.Sorted(slices.Values(shown)), slices.Sorted(slices.Values(sent))) {
			return fmt.Errorf("%d of %d: %q", len(shown), len(sent), shown)
		}
		return nil
	})
	t.Logf("%d deaths", deaths)
}

// recorded returns the texts in a file of lines "id text", each id once.
func recorded(t *testing.T, dir, name string) []string {
	t.Helper()
	var out []string
	known := map[string]bool{}
	for _, line := range lines(filepath.Join(dir, name)) {
		id, text, _ := strings.Cut(line, " ")
		if !known[id] {
			out = append(out, text)
		}
		known[id] = true
	}
	return out
}

func lines(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		out = append(out, scan.Text())
	}
	return out
}

// gateway is what the child has in place of the gateway: files with what it took and what it sent.
type gateway struct {
	t   *testing.T
	dir string
}

// TestKillChild is the process that TestKill kills.
func TestKillChild(t *testing.T) {
	addr := os.Getenv(childAddr)
	if addr == "" {
		t.Skip("the child of TestKill")
	}
	root, raw := [32]byte{}, []byte{}
	if _, err := fmt.Sscanf(os.Getenv(childRoot), "%x", &raw); err != nil || copy(root[:], raw) != 32 {
		t.Fatal("no root key")
	}
	whatsmeow.WACertPubKey = root
	g := &gateway{t, os.Getenv(childDir)}
	provider, err := uri.NewProvider("gateway.example")
	if err != nil {
		t.Fatal(err)
	}
	made, err := DriverIn(Lab{Transport: waserver.HTTPClient(addr).Transport, Hasty: true}).New(adapter.Account{ID: "child", Provider: provider, Language: "en",
		Config: &Config{Mode: modeRelay, AcceptBanRisk: true, MessagesPerMinute: 600}, Dir: g.dir, State: &adaptertest.State{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = made.Run(ctx, g)
		}
	}()
	g.send(ctx, made, adapter.Conversation(os.Getenv(childGroup)))
	adaptertest.WaitFor(t, patience, "everything is received", func() error {
		if n := len(recorded(t, g.dir, "received")); n < killTexts {
			return fmt.Errorf("%d of %d", n, killTexts)
		}
		return nil
	})
	cancel()
	<-ended
}

// Receive implements adapter.Sink.
func (g *gateway) Receive(ctx context.Context, ev adapter.Event) error {
	said := text(ev)
	if !strings.HasPrefix(said, "in ") {
		return nil
	}
	g.dieAt("in 7", said, "decrypted")
	g.dieAt("in 20", said, "decrypted")
	g.write("received", string(ev.ID)+" "+said)
	g.dieAt("in 13", said, "taken")
	g.dieAt("in 31", said, "taken")
	return nil
}

// send sends what is not sent yet, as the gateway does after a restart.
func (g *gateway) send(ctx context.Context, a adapter.Adapter, c adapter.Conversation) {
	for i := len(lines(filepath.Join(g.dir, "sent"))); i < killTexts; i++ {
		said := fmt.Sprintf("out %d", i)
		out := adapter.Outbound{Conversation: c, Marker: adapter.Marker{Key: fmt.Sprintf("KEY%d", i)}, Attempt: 1, Content: *content.Text(said), Time: time.Now()}
		for {
			if _, err := a.Send(ctx, out); err == nil {
				break
			} else if ctx.Err() != nil {
				g.t.Fatal(err)
			}
		}
		g.dieAt("out 5", said, "sent")
		g.dieAt("out 25", said, "sent")
		g.write("sent", said)
	}
}

// dieAt kills this process the first time that a text has come to a point.
func (g *gateway) dieAt(when, said, point string) {
	mark := filepath.Join(g.dir, "died "+when+" "+point)
	if _, err := os.Stat(mark); said != when || err == nil {
		return
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		g.t.Fatal(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// write appends a line.
func (g *gateway) write(name, line string) {
	f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		g.t.Fatal(err)
	}
}
