package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Command says how to start a process, and how to know that it is ready.
type Command struct {
	Name  string                      // in messages, and of its log file
	Path  string                      // the program
	Args  []string                    // without the program
	Dir   string                      // working directory; "" is the test's
	Env   []string                    // KEY=value, added to the test's environment
	Ready func(context.Context) error // polled until it returns nil; nil: ready at once
}

// Process is a running command. Its methods fail the test when something goes wrong: they are for the test's own
// goroutine, one at a time. When the test ends the process is killed, and if the test failed the end of its output is
// shown.
type Process struct {
	t       testing.TB
	command Command
	log     string // the file its output goes to
	running *exec.Cmd
	exited  chan struct{} // closed when running has been waited for
}

// Start starts a process and returns when it is ready.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	p := &Process{t: t, command: c, log: filepath.Join(t.TempDir(), c.Name+".log")}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of %s's output:\n%s", c.Name, tail(p.Log(), 4000))
		}
	})
	if err := p.start(); err != nil {
		t.Fatalf("servers: %s: %v\n%s", c.Name, err, tail(p.Log(), 4000))
	}
	return p
}

// start starts the process and waits until it is ready. An error leaves it stopped.
func (p *Process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.command.Path, p.command.Args...)
	cmd.Dir, cmd.Env = p.command.Dir, append(os.Environ(), p.command.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running, p.exited = cmd, make(chan struct{})
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("not ready in time"))
	defer cancel()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	go func() { // ends with the process, which Kill waits for
		gone(fmt.Errorf("ended: %w", exitError(cmd.Wait())))
		close(p.exited)
	}()
	if p.command.Ready == nil {
		return nil
	}
	if err := Poll(ctx, p.command.Ready); err != nil {
		p.Kill()
		return err
	}
	return nil
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// PID is the process's id.
func (p *Process) PID() int { return p.running.Process.Pid }

// Exited is closed when the process has ended, whoever ended it.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Log returns all that the process has written to its standard output and error, over all its starts.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text)
}

// Stop asks the process to end (SIGTERM) and waits until it has. A frozen one goes on first.
func (p *Process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.Kill()
		p.t.Fatalf("servers: %s did not end in time after SIGTERM", p.command.Name)
	}
}

// Kill ends the process at once (SIGKILL), frozen or not, and waits until it is gone. One that has ended stays ended.
func (p *Process) Kill() {
	if p.running == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// Freeze stops the process where it stands (SIGSTOP): its connections stay open and nothing answers.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Continue lets a frozen process go on (SIGCONT).
func (p *Process) Continue() { p.signal(syscall.SIGCONT) }

// Restart stops the process if it runs, starts it again with the same arguments, data and ports, and returns when it is
// ready.
func (p *Process) Restart() {
	p.t.Helper()
	p.Stop()
	if err := p.start(); err != nil {
		p.t.Fatalf("servers: %s again: %v\n%s", p.command.Name, err, tail(p.Log(), 4000))
	}
}

func (p *Process) signal(s syscall.Signal) {
	if err := p.running.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("servers: %s: %v: %v", p.command.Name, s, err)
	}
}

// tail is the end of a text, from the beginning of a line.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	return text[strings.IndexByte(text, '\n')+1:]
}
