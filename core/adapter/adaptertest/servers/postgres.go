package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const toolPostgres = "postgresql"

// Postgres is a PostgreSQL server for the tests of one binary, which share it: starting one takes 2 s. Its zero value is ready;
// TestMain of the package has it in a variable and calls Close at the end. It listens on a socket in a directory of its own only.
type Postgres struct {
	mu      sync.Mutex
	bin     string
	dir     string
	as      *syscall.Credential // whom it runs as: never root
	running *exec.Cmd
	schemas int
	durable bool
}

// Schema returns the URL of a new empty schema, which is dropped when the test ends. The server is started where it does not run yet.
func (p *Postgres) Schema(t testing.TB) string {
	t.Helper()
	bin := need(t, toolPostgres, postgresBin)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		if err := errors.Join(p.create(bin), p.start()); err != nil {
			t.Fatalf("servers: postgresql: %v\n%s", err, p.said())
		}
	}
	p.schemas++
	name := fmt.Sprintf("test%d", p.schemas)
	p.mu.Unlock()
	defer p.mu.Lock()
	p.SQL(t, "CREATE SCHEMA "+name)
	t.Cleanup(func() { p.SQL(t, "DROP SCHEMA "+name+" CASCADE") })
	return p.URL() + "&search_path=" + name
}

// URL is that of the whole database, as its superuser.
func (p *Postgres) URL() string { return "postgres://postgres@/postgres?host=" + p.dir }

// SQL runs a statement as the server's superuser, on a connection of its own, and returns what it prints, in psql's bare form.
func (p *Postgres) SQL(t testing.TB, statement string) string {
	t.Helper()
	out, err := p.command(context.Background(), "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", p.dir, "-U", "postgres", "-d", "postgres", "-c", statement).CombinedOutput()
	if err != nil {
		t.Fatalf("servers: postgresql: %s: %v\n%s", statement, err, out)
	}
	return string(out)
}

// Kill ends the server at once; what it had promised is still there when it starts again, at the latest when the test ends.
func (p *Postgres) Kill(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { p.Start(t) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.stop(syscall.SIGQUIT); err != nil { // an immediate shutdown, from which it recovers as after a loss of power
		t.Fatalf("servers: postgresql: %v", err)
	}
}

// Start starts the server again, unless it runs.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return
	}
	if err := p.start(); err != nil {
		t.Fatalf("servers: postgresql: %v\n%s", err, p.said())
	}
}

// Durable makes the server write to the disk what it says it has written, or not, as tests that measure need it.
func (p *Postgres) Durable(t testing.TB, on bool) {
	t.Helper()
	p.Kill(t)
	p.durable = on
	p.Start(t)
}

// Close ends the server and removes its files.
func (p *Postgres) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == "" {
		return nil
	}
	return errors.Join(p.stop(syscall.SIGQUIT), os.RemoveAll(p.dir))
}

// postgresBin finds the directory of PostgreSQL's programs; Debian keeps those of the server off the path.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		return "", errors.New("no initdb in /usr/lib/postgresql nor on the path")
	}
	return filepath.Dir(slices.Max(found)), nil
}

// create makes the server's directory.
func (p *Postgres) create(bin string) error {
	p.bin = bin
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return err
	}
	p.dir = dir
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		p.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
			return err
		}
	}
	out, err := p.command(context.Background(), "initdb", "-D", filepath.Join(dir, "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, dieWithParent()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Credential = p.as
	return cmd
}

func (p *Postgres) start() error {
	settings := map[string]string{"listen_addresses": "", "unix_socket_directories": p.dir, "shared_buffers": "16MB", "max_connections": "60", "autovacuum": "off"}
	if !p.durable {
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	args := []string{"-D", filepath.Join(p.dir, "data")}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running = cmd
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Poll(ctx, func(ctx context.Context) error {
		out, err := p.command(ctx, "pg_isready", "-h", p.dir, "-U", "postgres").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func (p *Postgres) stop(s syscall.Signal) error {
	if p.running == nil {
		return nil
	}
	cmd := p.running
	p.running = nil
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }) // if it fails, it has ended
	defer late.Stop()
	_ = cmd.Wait() // it says that it was killed
	return nil
}

func (p *Postgres) said() string {
	if p.dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(text), 4000)
}
