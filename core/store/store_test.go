package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/mls"
	"mimigate/core/store/database"
	"mimigate/core/store/work"
	"mimigate/core/uri"
)

// server is the PostgreSQL that the tests share.
var server servers.Postgres

// both runs a test on a store of either kind.
func both(t *testing.T, f func(t *testing.T, o Options)) {
	t.Run("sqlite", func(t *testing.T) { f(t, options(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, postgres(t)) })
}

// postgres are the options of a store in a new PostgreSQL schema.
func postgres(t testing.TB) Options {
	o := options(t)
	o.Dir = o.Location
	o.Location = server.Schema(t)
	return o
}

// options are those of a store in a new directory, its key beside it.
func options(t testing.TB) Options {
	dir := t.TempDir()
	return Options{Location: filepath.Join(dir, "store"), Domain: "chat.example.org", KeyFile: filepath.Join(dir, "key")}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-s.work.Closing(): // the test has closed it
		default:
			closed(t, s)
		}
	})
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func reopen(t testing.TB, s *Store, o Options) *Store {
	t.Helper()
	closed(t, s)
	return open(t, o)
}

func put(ctx context.Context, s *Store, key, value string) error {
	return s.State("a").Put(ctx, key, []byte(value))
}

// value reads what put wrote; "" where there is none.
func value(t testing.TB, ctx context.Context, s *Store, key string) string {
	t.Helper()
	v, err := s.State("a").Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func pragma(t *testing.T, s *Store, name string) string {
	t.Helper()
	var v string
	rows, err := s.db.Query("PRAGMA " + name)
	if err == nil {
		err, _ = work.ReadRows(rows, func(scan func(...any) error) error { return scan(&v) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpen(t *testing.T) {
	o := options(t)
	s := open(t, o)
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "foreign_keys": "1", "journal_size_limit": "0"} {
		if got := pragma(t, s, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if rows, err := s.db.Read(t.Context(), "DELETE FROM setting RETURNING 1"); err == nil {
		if err, _ := work.ReadRows(rows, nil); err == nil {
			t.Error("a reader's connection wrote")
		}
	}
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(s.Dir(), database.File), filepath.Join(s.Dir(), database.File+"-wal"), filepath.Join(s.Dir(), database.LockFile), o.KeyFile} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
	s = reopen(t, s, o)
	if got := value(t, t.Context(), s, "k"); got != "v" {
		t.Errorf("after reopening: %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	o := options(t)
	s := open(t, o)
	_, err := Open(t.Context(), o)
	host, _ := os.Hostname()
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("a second instance: %v", err)
	}
	for _, part := range []string{s.Dir(), fmt.Sprintf("pid %d ", os.Getpid()), host} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Errorf("the first instance, after the second was refused: %v", err)
	}
	closed(t, s)

	other := o
	other.Domain = "other.example"
	if _, err := Open(t.Context(), other); !errors.Is(err, ErrDomain) || !strings.Contains(err.Error(), "chat.example.org") || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("another domain: %v", err)
	}
	other = o
	for _, url := range []string{"postgres://user:secret@127.0.0.1:1/db", "postgres://user:secret@127.0.0.1:port/db", "mysql://user:secret@host/db"} {
		other.Location, other.Dir = url, t.TempDir()
		if _, err := Open(t.Context(), other); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	other.Location = filepath.Join(o.Location, database.File, "x")
	if _, err := Open(t.Context(), other); err == nil {
		t.Error("a directory below a file was opened")
	}
	if got := value(t, t.Context(), open(t, o), "k"); got != "v" {
		t.Errorf("after the refusals: %q", got)
	}
}

func TestOpenNoDatabase(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(o.Location, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Location, database.File), bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lock is given back after a failure
		if _, err := Open(t.Context(), o); err == nil || errors.Is(err, ErrLocked) {
			t.Fatal(err)
		}
	}
}

// The path of a store may hold anything.
func TestOpenOddPath(t *testing.T) {
	o := options(t)
	o.Location = filepath.Join(filepath.Dir(o.Location), "a b?c#d%41&ü")
	s := open(t, o)
	if _, err := os.Stat(filepath.Join(o.Location, database.File)); err != nil {
		t.Error(err)
	}
	if err := put(t.Context(), s, "k", "v"); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		const first, second = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
		keys := func(text string) Keys {
			k, err := ParseKeys(text)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		o.KeyFile, o.Keys = "", keys("# one\n\n "+first+"\n")
		s := open(t, o)
		if err := put(t.Context(), s, "k", "v"); err != nil {
			t.Fatal(err)
		}
		closed(t, s)

		wrong := o
		wrong.Keys = keys(second)
		if _, err := Open(t.Context(), wrong); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), strings.Fields(o.Keys.String())[2]) {
			t.Errorf("another key: %v", err)
		}
		wrong.Keys = Keys{}
		if _, err := Open(t.Context(), wrong); !errors.Is(err, ErrKey) {
			t.Errorf("no key: %v", err)
		}
		wrong.KeyFile = filepath.Join(t.TempDir(), "missing")
		if _, err := Open(t.Context(), wrong); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("a missing key file: %v", err)
		}
		if _, err := os.Stat(wrong.KeyFile); !errors.Is(err, os.ErrNotExist) {
			t.Error("a key file was made for an old store")
		}

		// Rotation: the new key above the old one, and then alone.
		o.Keys = keys(second + "\n" + first)
		s = open(t, o)
		o.Keys = keys(second)
		s = reopen(t, s, o)
		if got := value(t, t.Context(), s, "k"); got != "v" {
			t.Errorf("after the rotation: %q", got)
		}
		if text := fmt.Sprintf("%v %+v %#v", o.Keys, o, struct{ K Keys }{o.Keys}); strings.Contains(text, "AQEB") || strings.Contains(text, "1, 1") {
			t.Errorf("a key is shown: %s", text)
		}
	})
}

func TestKeyFileWarns(t *testing.T) {
	o := options(t)
	closed(t, open(t, o))
	if err := os.Chmod(o.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	open(t, o)
	if !strings.Contains(log.String(), o.KeyFile) {
		t.Errorf("log: %s", log.String())
	}
}

// A data key is used for a while and then followed by another; both open.
func TestDataKeyAges(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		if err := put(t.Context(), s, "old", "1"); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s, o)
		if s.sealer.Load().Current() != 1 {
			t.Errorf("data key %d after reopening at once, want 1", s.sealer.Load().Current())
		}
		err := s.openSealer(t.Context(), o, time.Now().Add(keyLife+time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.sealer.Load().Current(); got != 2 {
			t.Errorf("data key %d after its life, want 2", got)
		}
		if err := put(t.Context(), s, "new", "2"); err != nil {
			t.Fatal(err)
		}
		if a, b := value(t, t.Context(), s, "old"), value(t, t.Context(), s, "new"); a != "1" || b != "2" {
			t.Errorf("%q and %q", a, b)
		}
	})
}

func TestSealed(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		const secret = "a body nobody else may read"
		if err := errors.Join(put(ctx, s, "k", secret), put(ctx, s, "l", "other"),
			s.ApplyDelta(ctx, []byte("g"), []mls.Record{{Key: []byte("x"), Value: []byte(secret)}})); err != nil {
			t.Fatal(err)
		}
		if where := onDisk(t, s, secret); where != "" {
			t.Errorf("in the clear in %s", where)
		}
		// A value in another's place does not open, nor a changed one, nor one of an unknown form.
		var good, other []byte
		for key, into := range map[string]*[]byte{"k": &good, "l": &other} {
			if _, err := s.get(ctx, []any{into}, `SELECT value FROM account_state WHERE key = $1`, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		for _, change := range [][]byte{other, append(bytes.Clone(good), 'x'), {}, []byte("short"), {1, 0xff, 0xff, 0xff, 0xff, 0}} {
			if n, err := s.exec(ctx, `UPDATE account_state SET value = $1 WHERE key = $2`, change, []byte("k")); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if v, err := s.State("a").Get(ctx, "k"); !errors.Is(err, ErrKey) || v != nil {
				t.Errorf("%x: %q, %v", change, v, err)
			}
		}
		if _, err := s.exec(ctx, `UPDATE mls_record SET key = $1`, []byte("y")); err != nil {
			t.Fatal(err)
		}
		if r, err := s.LoadRecords(ctx, []byte("g")); !errors.Is(err, ErrKey) {
			t.Errorf("a moved record: %v, %v", r, err)
		}
	})
}

// onDisk returns the file of the store that holds a text, or "".
func onDisk(t *testing.T, s *Store, text string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			return f
		}
	}
	return ""
}

// What is deleted is gone from the files once the writer has been idle for a while: from the pages, and from the log.
func TestDeletedIsGone(t *testing.T) {
	s := open(t, options(t))
	const secret = "not sealed, for this test, and deleted"
	if _, err := s.exec(t.Context(), `INSERT INTO setting (name, value) VALUES ('x', $1)`, secret); err != nil {
		t.Fatal(err)
	}
	if onDisk(t, s, secret) == "" {
		t.Fatal("the test does not see what is written")
	}
	if _, err := s.exec(t.Context(), `DELETE FROM setting WHERE name = 'x'`); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); onDisk(t, s, secret) != ""; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still in %s", onDisk(t, s, secret))
		}
	}
}

func TestAccountState(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		a, b := s.State("a"), s.State("b")
		for _, key := range []string{"", "k", "\x00\xff", strings.Repeat("k", 255)} {
			if v, err := a.Get(ctx, key); err != nil || v != nil {
				t.Fatalf("%q before: %q, %v", key, v, err)
			}
			for _, v := range [][]byte{{}, []byte("1"), bytes.Repeat([]byte("2"), 1<<20)} {
				if err := a.Put(ctx, key, v); err != nil {
					t.Fatal(err)
				}
				if got, err := a.Get(ctx, key); err != nil || got == nil || !bytes.Equal(got, v) {
					t.Fatalf("%q: %d octets, %v", key, len(got), err)
				}
			}
			if v, err := b.Get(ctx, key); err != nil || v != nil {
				t.Fatalf("%q of another account: %q, %v", key, v, err)
			}
			if err := a.Put(ctx, key, nil); err != nil {
				t.Fatal(err)
			}
			if v, err := a.Get(ctx, key); err != nil || v != nil {
				t.Fatalf("%q after: %q, %v", key, v, err)
			}
		}
		if a.Put(ctx, strings.Repeat("k", 256), []byte{1}) == nil || a.Put(ctx, "k", make([]byte, 1<<20+1)) == nil {
			t.Error("too long a key or value was taken")
		}
	})
}

func TestRecords(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		g := []byte("group")
		state := func(group []byte) string {
			list, err := s.LoadRecords(ctx, group)
			if err != nil {
				t.Fatal(err)
			}
			var text []string
			for _, r := range list {
				text = append(text, fmt.Sprintf("%q=%s", r.Key, r.Value))
			}
			return strings.Join(text, " ")
		}
		put := func(key, value string) mls.Record { return mls.Record{Key: []byte(key), Value: []byte(value)} }
		del := func(key string) mls.Record { return mls.Record{Key: []byte(key)} }
		cut := func(prefix string) mls.Record { return mls.Record{Key: []byte(prefix), Prefix: true} }
		type delta = []mls.Record
		for _, c := range []struct {
			delta delta
			want  string
		}{
			{delta{put("a", "1"), put("ab", "2"), put("b", "3"), put("\xff", "4"), put("\xff\xff", "5"), put("", "6"), put("a\xff", "7"), put("a\xff\xff1", "8")},
				`""=6 "a"=1 "ab"=2 "a\xff"=7 "a\xff\xff1"=8 "b"=3 "\xff"=4 "\xff\xff"=5`},
			{delta{del("a"), del("nothing"), {}}, `"ab"=2 "a\xff"=7 "a\xff\xff1"=8 "b"=3 "\xff"=4 "\xff\xff"=5`},
			{delta{cut("a\xff")}, `"ab"=2 "b"=3 "\xff"=4 "\xff\xff"=5`},
			{delta{cut("\xff")}, `"ab"=2 "b"=3`},
			{delta{cut("a"), put("ab", "new"), put("c", "1"), del("c")}, `"ab"=new "b"=3`}, // in order
			{delta{put("ab", "newer"), put("c", "")}, `"ab"=newer "b"=3 "c"=`},
			{delta{{Prefix: true}}, ``},
		} {
			if err := s.ApplyDelta(ctx, g, c.delta); err != nil {
				t.Fatal(err)
			}
			if got := state(g); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		}
		if err := errors.Join(s.ApplyDelta(ctx, g, delta{put("k", "v")}), s.ApplyDelta(ctx, []byte("group2"), delta{put("k", "w"), put("empty", "")}),
			s.ApplyDelta(ctx, nil, delta{put("k", "x")}), s.ApplyDelta(ctx, g, delta{{Prefix: true}})); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s, o)
		if a, b, c := state(g), state([]byte("group2")), state([]byte{}); a != "" || b != `"empty"= "k"=w` || c != `"k"=x` {
			t.Errorf("groups mixed up: %s; %s; %s", a, b, c)
		}
		// The engine tells an empty value from none.
		if list, err := s.LoadRecords(ctx, []byte("group2")); err != nil || list[0].Value == nil {
			t.Errorf("%v, %v", list, err)
		}
	})
}

func TestRoomOwner(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx := t.Context()
		var rooms [2]uri.Room
		for i, name := range []string{"mimi://chat.example.org/r/a", "mimi://chat.example.org/r/b"} {
			var err error
			if rooms[i], err = uri.ParseRoom(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CheckRoom(ctx, rooms[0], 0); !errors.Is(err, ErrFenced) {
			t.Errorf("a room nobody claimed: %v", err)
		}
		first, err := s.ClaimRoom(ctx, rooms[0])
		if err != nil || s.CheckRoom(ctx, rooms[0], first) != nil {
			t.Fatal(first, err)
		}
		second, err := s.ClaimRoom(ctx, rooms[0])
		if err != nil || second <= first || s.CheckRoom(ctx, rooms[0], second) != nil {
			t.Fatal(second, err)
		}
		if err := s.CheckRoom(ctx, rooms[0], first); !errors.Is(err, ErrFenced) {
			t.Errorf("the old number: %v", err)
		}
		if err := s.CheckRoom(ctx, rooms[1], second); !errors.Is(err, ErrFenced) {
			t.Errorf("another room: %v", err)
		}
		s = reopen(t, s, o)
		if err := s.CheckRoom(ctx, rooms[0], second); !errors.Is(err, ErrFenced) {
			t.Errorf("another instance with the number of the one before: %v", err)
		}
		if third, err := s.ClaimRoom(ctx, rooms[0]); err != nil || third <= second {
			t.Errorf("the next owner: %d, %v", third, err)
		}
	})
}

// The lock also holds against another process, and ends with it.
func TestLockOfAnotherProcess(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		child := startChild(t, o, "hold")
		if got := child.line(t); got != "ready" {
			t.Fatal(got)
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d ", child.cmd.Process.Pid)) {
			t.Errorf("while the child holds it: %v", err)
		}
		child.kill(t)
		open(t, o)
	})
}

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		childMain(what)
		return
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
