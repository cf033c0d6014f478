package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/mls"
	"mimigate/core/store/database"
)

// childEnv makes the test binary a process of its own that works on the store that is described by the other.
const (
	childEnv   = "STORE_TEST_CHILD"
	childStore = "STORE_TEST_STORE"
)

type child struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startChild(t *testing.T, o Options, what string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what, childStore+"="+strings.Join([]string{o.Location, o.Dir, o.KeyFile}, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, bufio.NewScanner(out)}
}

// line returns the child's next line.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("the child ended: %v", c.out.Err())
	}
	return c.out.Text()
}

// kill ends the child with SIGKILL. What it has written and nobody has read is lost.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // "signal: killed"
}

// childMain is the child: it holds the store, or writes to it and says what it was told is committed, until it is killed.
func childMain(what string) {
	ctx := context.Background()
	where := strings.Split(os.Getenv(childStore), "\n")
	o := Options{Location: where[0], Dir: where[1], Domain: "chat.example.org", KeyFile: where[2]}
	s, err := Open(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if what == "hold" {
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	}
	if step, ok := strings.CutPrefix(what, "rotate "); ok {
		n, err := strconv.Atoi(step)
		if err != nil {
			panic(err)
		}
		rotateUntil(s, n)
		return
	}
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				if err := crashUnit(ctx, s, fmt.Sprintf("%s-%d-%d", what, worker, i), i%7 == 3); err == nil {
					fmt.Printf("%s-%d-%d\n", what, worker, i) // one write: never half a line in the pipe
				} else if !errors.Is(err, errTest) {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// crashUnit writes three rows in two tables, and fails where it is told to.
func crashUnit(ctx context.Context, s *Store, name string, fail bool) error {
	return s.Do(ctx, func(unit context.Context) error {
		if err := errors.Join(s.State("crash").Put(unit, name, []byte(name)),
			s.ApplyDelta(unit, []byte("crash"), []mls.Record{{Key: []byte(name), Value: []byte(name)}}),
			s.State("crash").Put(unit, "last", []byte(name))); err != nil {
			return err
		}
		if fail {
			return errTest
		}
		return nil
	})
}

// Whatever a caller was told is committed is there after a SIGKILL in the middle of other commits, nothing is there by half, and
// nothing of what failed.
func TestKilled(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		told := make(map[string]bool)
		for round := range 5 {
			c := startChild(t, o, fmt.Sprint("round", round))
			var mu sync.Mutex // of told, which the reader fills while the clock runs
			reading := make(chan struct{})
			go func() {
				defer close(reading)
				for c.out.Scan() {
					mu.Lock()
					told[c.out.Text()] = true
					mu.Unlock()
				}
			}()
			tick := time.NewTicker(time.Millisecond)
			for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
				mu.Lock()
				n := len(told)
				mu.Unlock()
				if n >= 100*(round+1) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("only %d units were committed", n)
				}
			}
			tick.Stop()
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-reading // all that was told, before Wait closes the pipe
			_ = c.cmd.Wait()
			checkCrashed(t, o, told)
		}
		t.Logf("%d units were told committed in 5 lives", len(told))
	})
}

func checkCrashed(t *testing.T, o Options, told map[string]bool) {
	t.Helper()
	s := open(t, o)
	defer closed(t, s)
	ctx := t.Context()
	if !database.IsURL(o.Location) {
		if got := pragma(t, s, "integrity_check"); got != "ok" {
			t.Fatal(got)
		}
	}
	records, err := s.LoadRecords(ctx, []byte("crash"))
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, r := range records {
		name := string(r.Key)
		there[name] = true
		var i int
		if _, err := fmt.Sscanf(name[strings.LastIndex(name, "-")+1:], "%d", &i); err != nil || i%7 == 3 {
			t.Errorf("%s is there, and failed (%v)", name, err)
		}
		if v, err := s.State("crash").Get(ctx, name); err != nil || string(v) != name || string(r.Value) != name {
			t.Errorf("%s is there by half: %q, %q, %v", name, r.Value, v, err)
		}
	}
	for name := range told {
		if !there[name] {
			t.Errorf("%s was told committed and is lost", name)
		}
	}
	var rows int
	if _, err := s.get(ctx, []any{&rows}, `SELECT COUNT(*) FROM account_state WHERE account = 'crash' AND key <> $1`, []byte("last")); err != nil || rows != len(records) {
		t.Errorf("%d rows in one table, %d in the other (%v)", rows, len(records), err)
	}
}
