package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// whoami asks the homeserver whose token it is.
func whoami(ctx context.Context, h *Homeserver, u User) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/_matrix/client/v3/account/whoami", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+u.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// deadline is the test's context with a limit.
func deadline(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestSynapse(t *testing.T) {
	h := Synapse(t, SynapseOptions{Domain: "one.test", AppServices: []AppService{{
		ID: "gateway", ASToken: "as-token", HSToken: "hs-token", Sender: "gateway", Users: []string{"@mimi_.*:one\\.test"},
	}}})
	alice := h.User(t, "alice")
	if alice.ID != "@alice:one.test" {
		t.Errorf("registered as %q", alice.ID)
	}
	if err := whoami(t.Context(), h, alice); err != nil {
		t.Errorf("alice's token: %v", err)
	}
	if err := whoami(t.Context(), h, User{Token: "as-token"}); err != nil {
		t.Errorf("the application service's token: %v", err)
	}
	if err := whoami(t.Context(), h, User{Token: "hs-token"}); err == nil {
		t.Error("any token is taken")
	}
	h.Freeze()
	if err := whoami(deadline(t, 300*time.Millisecond), h, alice); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("frozen, it answers %v", err)
	}
	h.Continue()
	if err := whoami(deadline(t, patience), h, alice); err != nil {
		t.Errorf("after it went on: %v", err)
	}
	pid := h.PID()
	h.Freeze()
	h.Restart()
	if h.PID() == pid {
		t.Error("the same process after Restart")
	}
	if err := whoami(t.Context(), h, alice); err != nil {
		t.Errorf("alice's token after a restart: %v", err)
	}
	h.Kill()
	if err := whoami(t.Context(), h, alice); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("killed, it answers %v", err)
	}
}

func TestProsody(t *testing.T) {
	s := Prosody(t, ProsodyOptions{Users: []string{"alice"}, Components: []Component{{JID: "gw.xmpp.test", Secret: "secret"}}})
	if bob := s.User(t, "bob"); bob != "bob@xmpp.test" {
		t.Errorf("registered as %q", bob)
	}
	s.Kill()
	if err := Dial(s.Client)(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("killed, its port says %v", err)
	}
	s.Restart()
	if err := Dial(s.Component)(t.Context()); err != nil {
		t.Errorf("component port after a restart: %v", err)
	}
}

// A process that never is ready, or ends at once, is told from one that is slow.
func TestStartFails(t *testing.T) {
	p := &Process{t: t, log: t.TempDir() + "/log", command: Command{Name: "false", Path: "false", Ready: func(context.Context) error { return errors.New("not yet") }}}
	if err := p.start(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v, want that it ended", err)
	}
}

// fake is a test that notes how it would have ended.
type fake struct {
	testing.TB
	skipped, failed string
}

func (f *fake) Helper() {}
func (f *fake) Skipf(format string, args ...any) {
	f.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (f *fake) Fatalf(format string, args ...any) {
	f.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestNeed(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short everything skips")
	}
	for _, c := range []struct {
		require       string
		skips, failed bool
	}{{"", true, false}, {"synapse clients", true, false}, {"clients prosody", false, true}, {"all", false, true}} {
		t.Setenv("MIMIGATE_TEST_REQUIRE", c.require)
		f := &fake{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			need(f, toolProsody, func() (string, error) { return "", os.ErrNotExist })
		}()
		<-done
		if (f.skipped != "") != c.skips || (f.failed != "") != c.failed || !strings.Contains(f.skipped+f.failed, "prosody") {
			t.Errorf("require %q: skipped %q, failed %q", c.require, f.skipped, f.failed)
		}
	}
}

// The test runs itself in a process of its own, which starts a child and is then killed.
func TestDieWithParent(t *testing.T) {
	if os.Getenv("ORPHAN") != "" {
		p := Start(t, Command{Name: "sleep", Path: "sleep", Args: []string{"600"}})
		fmt.Printf("\norphan %d\n", p.PID())
		<-p.Exited()
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills the children of a killed process")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDieWithParent$")
	cmd.Env = append(os.Environ(), "ORPHAN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		fmt.Sscanf(lines.Text(), "orphan %d", &pid)
	}
	if pid == 0 {
		t.Fatalf("no child was started: %v", cmd.Wait())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the killed process ended well")
	}
	if err := Poll(deadline(t, patience), func(context.Context) error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return errors.New("still running")
	}); err != nil {
		t.Errorf("the child %d: %v", pid, err)
	}
}
