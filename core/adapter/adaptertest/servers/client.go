package servers

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

//go:embed lines.py
var linesPy string

// client is a foreign client in a process of its own. It takes one request a line, {"id": 1, "do": "name", "with": {…}}, and
// writes one line for each answer, {"id": 1, "result": …} or {"id": 1, "error": "…"}, and for each thing that happened to
// it, {"event": …}, which it keeps in order. Its methods are for any goroutine.
type client[E any] struct {
	name  string
	stdin io.WriteCloser
	log   string        // the file its standard error goes to
	done  chan struct{} // closed when the process has ended

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	events  []E
	changed chan struct{} // closed, and replaced, with each event
	ended   error         // set before done is closed
}

// answer is what a client says to one request.
type answer struct {
	Result json.RawMessage
	Error  string
}

// script starts a client from the text of its script, and returns when it has said that it is ready: its answer 0.
func script[E any](t testing.TB, name, text string, args ...string) *client[E] {
	t.Helper()
	py := need(t, toolClients, python)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer log.Close()
	ready := make(chan answer, 1)
	c := &client[E]{name: name, log: log.Name(), done: make(chan struct{}), waiting: map[int]chan answer{0: ready}, changed: make(chan struct{})}
	cmd := exec.Command(py, append([]string{"-c", text}, args...)...)
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = dir, log, dieWithParent()
	cmd.WaitDelay = time.Second
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatalf("servers: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("servers: %s: %v", name, err)
	}
	go func() { // ends when the client does; the clean-up waits for it
		readErr := c.read(stdout)
		c.mu.Lock()
		c.ended = fmt.Errorf("servers: %s ended: %w", name, errors.Join(readErr, exitError(cmd.Wait())))
		c.mu.Unlock()
		close(c.done)
	}()
	t.Cleanup(func() {
		c.stdin.Close() // asks it to end
		select {
		case <-c.done:
		case <-time.After(2 * time.Second):
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("servers: %s: %v", name, err)
			}
			<-c.done
		}
		if t.Failed() {
			t.Logf("the end of %s's output:\n%s", name, c.said())
		}
	})
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("not ready in time"))
	defer cancel()
	if err := c.wait(ctx, "start", ready, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// said is the end of what the client wrote to its standard error.
func (c *client[E]) said() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return tail(string(text), 4000)
}

// read takes the client's lines until it ends.
func (c *client[E]) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var line struct {
			ID    int
			Event *E
			answer
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		c.mu.Lock()
		if line.Event != nil {
			c.events = append(c.events, *line.Event)
			close(c.changed)
			c.changed = make(chan struct{})
		} else if w := c.waiting[line.ID]; w != nil {
			delete(c.waiting, line.ID)
			w <- line.answer
		}
		c.mu.Unlock()
	}
}

// do asks the client to do one thing and decodes its answer into out, which may be nil.
func (c *client[E]) do(ctx context.Context, what string, with map[string]any, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no answer in time"))
	defer cancel()
	w := make(chan answer, 1)
	if err := c.write(what, with, w); err != nil {
		return err
	}
	return c.wait(ctx, what, w, out)
}

// wait decodes the answer that comes on w into out, which may be nil.
func (c *client[E]) wait(ctx context.Context, what string, w <-chan answer, out any) error {
	select {
	case a := <-w:
		if a.Error != "" {
			return fmt.Errorf("servers: %s: %s: %s", c.name, what, a.Error)
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(a.Result, out); err != nil {
			return fmt.Errorf("servers: %s: %s: %s: %w", c.name, what, a.Result, err)
		}
		return nil
	case <-c.done:
		return fmt.Errorf("%w\n%s", c.ended, c.said())
	case <-ctx.Done():
		return fmt.Errorf("servers: %s: %s: %w", c.name, what, context.Cause(ctx))
	}
}

// write sends one request, whose answer goes to w.
func (c *client[E]) write(what string, with map[string]any, w chan answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	line, err := json.Marshal(map[string]any{"id": c.next, "do": what, "with": with})
	if err != nil {
		return fmt.Errorf("servers: %s: %s: %w", c.name, what, err)
	}
	c.waiting[c.next] = w
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		delete(c.waiting, c.next)
		return fmt.Errorf("servers: %s: %s: %w", c.name, what, err)
	}
	return nil
}

// Events returns all that has happened to the client so far, in its order.
func (c *client[E]) Events() []E {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[:len(c.events):len(c.events)]
}

// WaitFor returns the first event that matches, whether it has happened already or happens before ctx ends. The error
// names the events there were.
func (c *client[E]) WaitFor(ctx context.Context, match func(E) bool) (E, error) {
	seen := 0
	for {
		c.mu.Lock()
		events, changed := c.events, c.changed
		c.mu.Unlock()
		for _, e := range events[seen:] {
			if match(e) {
				return e, nil
			}
		}
		seen = len(events)
		var none E
		select {
		case <-changed:
		case <-c.done:
			return none, fmt.Errorf("%w\n%s", c.ended, c.said())
		case <-ctx.Done():
			last, err := json.Marshal(events[max(0, seen-10):])
			if err != nil {
				return none, err
			}
			return none, fmt.Errorf("servers: %s: no such event among %d: %w; the last of them: %s", c.name, seen, context.Cause(ctx), last)
		}
	}
}
