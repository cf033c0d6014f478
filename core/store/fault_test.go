package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/store/database"
)

// soon waits until f returns nil.
func soon(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := servers.Poll(ctx, func(context.Context) error { return f() }); err != nil {
		t.Fatal(err)
	}
}

// another are the options of an instance elsewhere on the same database: of another directory, where the database is no directory.
func another(t *testing.T, o Options) Options {
	if database.IsURL(o.Location) {
		o.Dir = t.TempDir()
	}
	return o
}

// An instance that has lost its lock, and whose place another has taken, commits nothing.
func TestTakenOver(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		s := open(t, o)
		if err := put(ctx, s, "k", "first"); err != nil {
			t.Fatal(err)
		}
		// It holds its lock no more, and does not know.
		if database.IsURL(o.Location) {
			if _, err := s.exec(ctx, `SELECT pg_advisory_unlock_all()`); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(filepath.Join(s.Dir(), database.LockFile)); err != nil {
			t.Fatal(err)
		}
		if err := put(ctx, s, "k", "still first"); err != nil {
			t.Errorf("nobody has taken over: %v", err)
		}
		next := open(t, another(t, o))
		if err := put(ctx, s, "k", "too late"); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
			t.Errorf("the first instance: %v", err)
		}
		if err := s.Health(); !errors.Is(err, ErrLost) {
			t.Errorf("health of the first: %v", err)
		}
		<-s.Lost()
		if got := value(t, ctx, next, "k"); got != "still first" || next.Health() != nil {
			t.Errorf("the second reads %q; %v", got, next.Health())
		}
		if err := put(ctx, next, "k", "second"); err != nil {
			t.Error(err)
		}
	})
}

// terminate ends the session that holds a store's lock, and the lock with it.
func terminate(t *testing.T) {
	t.Helper()
	if out := server.SQL(t, `SELECT COUNT(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted`); strings.TrimSpace(out) == "0" {
		t.Fatal("nobody holds the lock")
	}
}

// The connection with the lock ends: within a unit that one fails, nothing else is lost, and another connection is made. Where another
// instance was quicker, this one is out.
func TestLockConnectionEnds(t *testing.T) {
	o := postgres(t)
	ctx := t.Context()
	s := open(t, o)
	undone := false
	err := s.Do(ctx, func(unit context.Context) error {
		s.OnRollback(unit, func() { undone = true })
		if err := put(unit, s, "k", "lost"); err != nil {
			t.Fatal(err)
		}
		terminate(t)
		return put(unit, s, "l", "lost")
	})
	if !errors.Is(err, ErrUnavailable) || !undone {
		t.Errorf("the unit: %v, undone: %v", err, undone)
	}
	soon(t, func() error { return put(ctx, s, "k", "kept") })
	if a, b := value(t, ctx, s, "k"), value(t, ctx, s, "l"); a != "kept" || b != "" || s.Health() != nil {
		t.Errorf("%q, %q, %v", a, b, s.Health())
	}
	if _, err := Open(ctx, another(t, o)); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock was not taken again: %v", err)
	}
	terminate(t)
	next := open(t, another(t, o))
	soon(t, func() error {
		if err := put(ctx, s, "k", "too late"); !errors.Is(err, ErrLost) {
			return fmt.Errorf("want ErrLost, got %w", err)
		}
		return nil
	})
	if got := value(t, ctx, next, "k"); got != "kept" {
		t.Errorf("the next instance reads %q", got)
	}
}

// The server is killed under load, and comes back: what was told committed is there, what was told failed is not.
func TestServerKilled(t *testing.T) {
	o := postgres(t)
	ctx, stop := context.WithCancel(t.Context())
	s := open(t, o)
	var mu sync.Mutex
	told, refused := map[string]bool{}, map[string]bool{}
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("w-%d-%d", worker, i)
				err := crashUnit(ctx, s, name, i%7 == 3)
				mu.Lock()
				if err == nil {
					told[name] = true
				} else {
					refused[name] = true
				}
				mu.Unlock()
				if err != nil && !errors.Is(err, errTest) {
					<-time.After(10 * time.Millisecond) // not a flood of refusals
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(told) }
	for range 3 {
		before := count()
		soon(t, func() error {
			if n := count(); n < before+50 {
				return fmt.Errorf("only %d units after %d: %w", n, before, s.Health())
			}
			return nil
		})
		server.Kill(t)
		soon(t, func() error {
			if err := s.Health(); !errors.Is(err, ErrUnavailable) {
				return fmt.Errorf("health: %w", err)
			}
			return nil
		})
		server.Start(t)
	}
	before := count()
	soon(t, func() error {
		if n := count(); n < before+50 {
			return fmt.Errorf("only %d units after %d", n, before)
		}
		return nil
	})
	stop()
	workers.Wait()
	closed(t, s)
	checkCrashed(t, o, told)
	s = open(t, o)
	for name := range refused {
		if got := crashValue(t, s, name); got != "" {
			t.Errorf("%s was told to have failed, and is there", name)
		}
	}
	t.Logf("%d units told committed, %d failed", len(told), len(refused))
}

func crashValue(t *testing.T, s *Store, name string) string {
	t.Helper()
	v, err := s.State("crash").Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// Reads go on after the server was away, on new connections and without an error.
func TestReadAfterRestart(t *testing.T) {
	s := open(t, postgres(t))
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := value(t, t.Context(), s, "k"); got != "v" {
			t.Errorf("it reads %q", got)
		}
		server.Kill(t)
		if _, err := s.State("a").Get(t.Context(), "k"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("while the server is away: %v", err)
		}
		server.Start(t)
	}
	soon(t, func() error { return put(t.Context(), s, "k", "w") })
	if got := value(t, t.Context(), s, "k"); got != "w" {
		t.Errorf("it reads %q", got)
	}
}

// cutter stands between a store and its server, and cuts the connection at the next COMMIT: before the server has it, or before the
// client has the answer.
type cutter struct {
	net.Listener
	socket  string
	before  atomic.Bool
	after   atomic.Bool
	running sync.WaitGroup
}

func newCutter(t *testing.T, url string) (*cutter, string) {
	dir, _, _ := strings.Cut(url[strings.Index(url, "host=")+5:], "&")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, socket: filepath.Join(dir, ".s.PGSQL.5432")}
	c.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.running.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); c.running.Wait() })
	address := l.Addr().(*net.TCPAddr)
	return c, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&%s", address.Port, url[strings.Index(url, "search_path="):])
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	up, err := net.Dial("unix", c.socket)
	if err != nil {
		return
	}
	defer up.Close()
	c.running.Go(func() {
		_, _ = io.Copy(client, up)
		client.Close()
	})
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		commit := strings.Contains(string(buf[:n]), "COMMIT\x00")
		if commit && c.before.Swap(false) {
			return
		}
		if commit && c.after.Swap(false) {
			client.Close()
			_, _ = up.Write(buf[:n])
			if err := up.(*net.UnixConn).CloseWrite(); err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, up) // until the server has done it, and ends
			return
		}
		if _, err := up.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A COMMIT that is not answered is asked about: who is told it failed can rely on it, and who is told it did not, too.
func TestCommitNotAnswered(t *testing.T) {
	o := postgres(t)
	cut, url := newCutter(t, o.Location)
	o.Location = url
	s := open(t, o)
	ctx := t.Context()
	cut.before.Store(true)
	if err := put(ctx, s, "before", "1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("cut before the server had it: %v", err)
	}
	soon(t, func() error { return put(ctx, s, "between", "1") })
	cut.after.Store(true)
	if err := put(ctx, s, "after", "1"); err != nil {
		t.Errorf("cut after the server had it: %v", err)
	}
	soon(t, func() error { return put(ctx, s, "last", "1") })
	for key, want := range map[string]string{"before": "", "between": "1", "after": "1", "last": "1"} {
		if got := value(t, ctx, s, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// What a database cannot take is told by its kind, nothing of it is kept, and when it can again, that is seen without a further unit.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name  string
		fresh func(testing.TB) Options
		want  error
		ill   func(*testing.T, *Store) (mend func())
	}{
		{"full", options, ErrFull, func(t *testing.T, s *Store) func() {
			pragma(t, s, "max_page_count = 1")
			return func() { pragma(t, s, "max_page_count = 1000000") }
		}},
		{"disk full", tmpfs, ErrFull, func(t *testing.T, s *Store) func() {
			fill := filepath.Join(filepath.Dir(s.Dir()), "fill")
			f, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Write(make([]byte, 1<<22))
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(fill); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"read-only", options, ErrReadOnly, func(t *testing.T, s *Store) func() {
			if _, err := s.db.Exec("PRAGMA query_only = on"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if _, err := s.db.Exec("PRAGMA query_only = off"); err != nil {
					t.Error(err)
				}
			}
		}},
		{"busy", options, ErrBusy, func(t *testing.T, s *Store) func() {
			if _, err := s.db.Exec("PRAGMA busy_timeout = 10"); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.Dir(), database.File)+"?_txlock=immediate")
			if err != nil {
				t.Fatal(err)
			}
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(tx.Rollback(), db.Close()); err != nil {
					t.Error(err)
				}
			}
		}},
		{"postgres read-only", postgres, ErrReadOnly, func(t *testing.T, s *Store) func() {
			if _, err := s.db.Exec(`SET default_transaction_read_only = on`); err != nil {
				t.Fatal(err)
			}
			return func() { terminate(t) }
		}},
		{"postgres busy", postgres, ErrBusy, func(t *testing.T, s *Store) func() {
			if _, err := s.db.Exec(`SET statement_timeout = 1`); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("pgx", server.URL())
			if err != nil {
				t.Fatal(err)
			}
			tx, err := db.Begin()
			if err == nil {
				_, err = tx.Exec(fmt.Sprintf(`SELECT 1 FROM %s.store_owner FOR UPDATE`, schemaOf(t, s)))
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(tx.Rollback(), db.Close()); err != nil {
					t.Error(err)
				}
				terminate(t) // for the time limit
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.fresh(t))
			ctx := t.Context()
			if err := put(ctx, s, "small", "1"); err != nil {
				t.Fatal(err)
			}
			big := strings.Repeat("x", 1<<17)
			mend := c.ill(t, s)
			err := s.Do(ctx, func(unit context.Context) error {
				return errors.Join(put(unit, s, "small", "2"), put(unit, s, "big", big))
			})
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err := s.Health(); !errors.Is(err, c.want) {
				t.Errorf("health: %v, want %v", err, c.want)
			}
			if a, b := value(t, ctx, s, "small"), value(t, ctx, s, "big"); a != "1" || b != "" {
				t.Errorf("%q and %d octets were kept", a, len(b))
			}
			mend()
			soon(t, s.Health)
			if err := put(ctx, s, "big", big); err != nil || value(t, ctx, s, "big") != big {
				t.Errorf("when it is well again: %v", err)
			}
		})
	}
}

// A database that does not answer is told of while it does not; what waits for it is done when it does.
func TestSlow(t *testing.T) {
	s := open(t, postgres(t))
	db, err := sql.Open("pgx", server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err == nil {
		_, err = tx.Exec(fmt.Sprintf(`SELECT 1 FROM %s.store_owner FOR UPDATE`, schemaOf(t, s)))
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- put(t.Context(), s, "k", "v") }()
	soon(t, func() error {
		if err := s.Health(); !errors.Is(err, ErrBusy) {
			return fmt.Errorf("health: %w", err)
		}
		return nil
	})
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || s.Health() != nil || value(t, t.Context(), s, "k") != "v" {
		t.Errorf("when it answers again: %v, %v", err, s.Health())
	}
}

func schemaOf(t *testing.T, s *Store) string {
	t.Helper()
	var name string
	if _, err := s.get(t.Context(), []any{&name}, `SELECT current_schema()`); err != nil {
		t.Fatal(err)
	}
	return name
}

// tmpfs are the options of a store on a small disk of its own.
func tmpfs(t testing.TB) Options {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return Options{Location: filepath.Join(dir, "store"), Domain: "chat.example.org", KeyFile: filepath.Join(t.TempDir(), "key")}
}

// Text comes from outside and may hold what PostgreSQL's TEXT does not.
func TestOddText(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		for _, name := range []string{"a\x00b", "\xff\xfe", "ü\u2028🦊", "'; DROP TABLE setting; --"} {
			if err := s.setSetting(t.Context(), name, name); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			got, found, err := s.setting(t.Context(), name)
			if err != nil || !found || got != name && !strings.Contains(got, "\uFFFD") {
				t.Errorf("%q: %q, %v, %v", name, got, found, err)
			}
		}
	})
}
