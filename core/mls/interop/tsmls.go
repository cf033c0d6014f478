package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// TSMLSDirVariable names the environment variable that holds the node_modules directory in which ts-mls lies.
const TSMLSDirVariable = "MIMIGATE_TSMLS_DIR"

// FindTSMLS returns the node_modules directory that holds ts-mls: MIMIGATE_TSMLS_DIR, else .cache/tsmls/node_modules of the nearest
// directory above that has one, where make setup puts it (versions: .ci/tsmls).
func FindTSMLS() (string, error) {
	if dir := os.Getenv(TSMLSDirVariable); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("ts-mls: %w", err)
	}
	for {
		modules := filepath.Join(dir, ".cache", "tsmls", "node_modules")
		if _, err := os.Stat(filepath.Join(modules, "ts-mls")); err == nil {
			return modules, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("ts-mls: no .cache/tsmls/node_modules with ts-mls above the working directory and %s is not set: %w", TSMLSDirVariable, os.ErrNotExist)
		}
		dir = parent
	}
}

// TSMLS is ts-mls 2.0.0-rc.10 in a node process of its own, spoken to in JSON lines. Many clients live in one process.
type TSMLS struct {
	command *exec.Cmd
	cancel  context.CancelFunc
	stdin   io.WriteCloser
	stderr  tail
	done    chan struct{} // closed when the process has ended and been waited for

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan json.RawMessage
	err     error // why the process is gone
}

// StartTSMLS starts the peer and returns when it is ready. modules is what FindTSMLS returns.
func StartTSMLS(ctx context.Context, modules string) (*TSMLS, error) {
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "tsmls", "peer.mjs")
	life, cancel := context.WithCancel(context.Background())
	p := &TSMLS{
		command: exec.CommandContext(life, "node", script, modules),
		cancel:  cancel,
		done:    make(chan struct{}),
		waiting: map[uint64]chan json.RawMessage{},
	}
	p.command.Stderr = &p.stderr
	var err error
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		cancel()
		return nil, fmt.Errorf("ts-mls: %w", err)
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ts-mls: %w", err)
	}
	ready := p.expect(0)
	if err := p.command.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("ts-mls: %w", err)
	}
	go p.read(stdout)
	select {
	case _, ok := <-ready:
		if !ok {
			return nil, errors.Join(fmt.Errorf("ts-mls: not ready: %s", &p.stderr), p.Close())
		}
		return p, nil
	case <-ctx.Done():
		cancel()
		<-p.done
		return nil, fmt.Errorf("ts-mls: not ready: %w", ctx.Err())
	}
}

func (p *TSMLS) expect(id uint64) chan json.RawMessage {
	answer := make(chan json.RawMessage, 1)
	p.waiting[id] = answer
	return answer
}

// read hands each answer to whoever waits for its id, until the process ends; then it fails all who still wait.
func (p *TSMLS) read(stdout io.Reader) {
	defer close(p.done)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var head struct{ ID uint64 }
		if err := json.Unmarshal(line, &head); err != nil {
			break
		}
		p.mu.Lock()
		answer := p.waiting[head.ID]
		delete(p.waiting, head.ID)
		p.mu.Unlock()
		if answer != nil {
			answer <- line
		}
	}
	p.cancel()
	err := p.command.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = fmt.Errorf("ts-mls: the process has ended (%v): %s", err, &p.stderr)
	for id, answer := range p.waiting {
		delete(p.waiting, id)
		close(answer)
	}
}

// Close ends the process and waits for it; five seconds after its input is closed it is killed.
func (p *TSMLS) Close() error {
	err := p.stdin.Close()
	kill := time.AfterFunc(5*time.Second, p.cancel)
	defer kill.Stop()
	<-p.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// ask sends one request and decodes the answer into out, unless out is nil.
func (p *TSMLS) ask(ctx context.Context, op string, client uint64, arguments, out any) error {
	id, answer, err := p.send(op, client, arguments)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
		return fmt.Errorf("ts-mls: %s: %w", op, ctx.Err())
	case raw, ok := <-answer:
		if !ok {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.err
		}
		var failed struct{ Error, Where string }
		if err := json.Unmarshal(raw, &failed); err != nil {
			return fmt.Errorf("ts-mls: %s: %w", op, err)
		}
		if strings.HasPrefix(failed.Error, "Error: cannot: ") {
			return fmt.Errorf("ts-mls: %s: %s: %w", op, failed.Error, ErrCannot)
		}
		if failed.Error != "" {
			return fmt.Errorf("ts-mls: %s: %s (%s)", op, failed.Error, failed.Where)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(raw, out)
	}
}

// send writes a request: the fields of arguments beside id, op and client.
func (p *TSMLS) send(op string, client uint64, arguments any) (uint64, chan json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, nil, p.err
	}
	p.next++
	head, err := json.Marshal(struct {
		ID     uint64 `json:"id"`
		Op     string `json:"op"`
		Client uint64 `json:"client"`
	}{p.next, op, client})
	if err != nil {
		return 0, nil, fmt.Errorf("ts-mls: %s: %w", op, err)
	}
	if arguments != nil {
		body, err := json.Marshal(arguments)
		if err != nil {
			return 0, nil, fmt.Errorf("ts-mls: %s: %w", op, err)
		}
		if len(body) > 2 {
			head = append(append(head[:len(head)-1], ','), body[1:]...)
		}
	}
	answer := p.expect(p.next)
	if _, err := p.stdin.Write(append(head, '\n')); err != nil {
		delete(p.waiting, p.next)
		return 0, nil, fmt.Errorf("ts-mls: %s: %w", op, err)
	}
	return p.next, answer, nil
}

// tail keeps the last 4 KiB of what a process wrote to standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - 4096; over > 0 {
		t.text = t.text[over:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
