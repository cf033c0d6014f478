package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/member"
	"mimigate/core/mls"
	"mimigate/core/router"
	"mimigate/core/store/reseal"
	"mimigate/core/store/seal"
	"mimigate/core/uri"
)

// Every private column is known: those that the migrations call sealed.
func TestSealedColumns(t *testing.T) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	table := regexp.MustCompile(`^CREATE TABLE (\w+)`)
	column := regexp.MustCompile(`^\t(\w+) +BYTEA.*-- sealed`)
	for _, name := range names {
		text, err := fs.ReadFile(migrationFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		in := ""
		for line := range strings.Lines(string(text)) {
			if m := table.FindStringSubmatch(line); m != nil {
				in = m[1]
			}
			if m := column.FindStringSubmatch(line); m != nil {
				want[in+" "+m[1]] = true
			}
		}
	}
	for _, c := range reseal.Columns() {
		if !want[c.Table+" "+c.Name] {
			t.Errorf("%s.%s is not said to be sealed", c.Table, c.Name)
		}
		delete(want, c.Table+" "+c.Name)
	}
	if len(want) != 0 {
		t.Errorf("not known: %v", want)
	}
}

// privates puts a value into each private column, and more than one step's worth into one.
func privates(t *testing.T, s *Store) {
	t.Helper()
	ctx, room := t.Context(), testRoom(t)
	user, err := uri.ParseUser("mimi://chat.example.org/u/a")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Do(ctx, func(ctx context.Context) error {
		for i := range reseal.Max + 50 {
			if err := put(ctx, s, fmt.Sprint("key", i), fmt.Sprint("value", i)); err != nil {
				return err
			}
		}
		return nil
	}))
	must(s.State("a").Put(ctx, "", []byte{}))
	must(s.ApplyDelta(ctx, []byte("g"), []mls.Record{{Key: []byte("\x00\xff"), Value: []byte("record")}, {Key: []byte{}, Value: []byte{}}}))
	must(s.PutBody(ctx, content.MessageID{1}, []byte("body")))
	must(s.Enqueue(ctx, router.Delivery{Place: router.Place{Network: "n", Conversation: "c"}, Marker: "m", Account: "a", Task: &router.Task{}}))
	must(s.Enqueue(ctx, router.Delivery{Place: router.Place{Network: "n", Conversation: "c"}, Marker: "no task", Account: "a"}))
	_, err = s.HubSecret(ctx, "x", func() ([]byte, error) { return []byte("secret"), nil })
	must(err)
	must(s.PutOutgoing(ctx, room, &member.Outgoing{Number: 7, From: user, Content: []byte("outgoing")}))
	must(s.PutKeyPackage(ctx, []byte("ref"), []byte("package"), time.Now().Add(24*time.Hour)))
}

// privatesThere checks that each of them can be read.
func privatesThere(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	for i := range reseal.Max + 50 {
		if got := value(t, ctx, s, fmt.Sprint("key", i)); got != fmt.Sprint("value", i) {
			t.Fatalf("value %d is %q", i, got)
		}
	}
	records, err := s.LoadRecords(ctx, []byte("g"))
	if err != nil || len(records) != 2 || string(records[1].Value) != "record" {
		t.Errorf("%v, %v", records, err)
	}
	body, err1 := s.Body(ctx, content.MessageID{1})
	d, found, err2 := s.DeliveryByMarker(ctx, "m")
	secret, err3 := s.HubSecret(ctx, "x", nil)
	o, err4 := s.NextOutgoing(ctx, testRoom(t), 0)
	kp, err5 := s.KeyPackage(ctx, []byte("ref"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	if string(body) != "body" || !found || d.Task == nil || string(secret) != "secret" || string(o.Content) != "outgoing" || string(kp) != "package" {
		t.Errorf("%q, %v, %q, %v, %q", body, d, secret, o, kp)
	}
}

func masterIDs(t *testing.T, file string) string {
	t.Helper()
	keys, _, err := seal.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(keys.String(), "master keys ")
}

// rotated checks that nothing is sealed under the old keys, and that the new one alone is enough.
func rotated(t *testing.T, s *Store, o Options, old string) {
	t.Helper()
	privatesThere(t, s)
	now := masterIDs(t, o.KeyFile)
	if strings.Contains(now, old) || strings.Contains(now, " ") || !strings.Contains(masterIDs(t, o.KeyFile+".old"), old) {
		t.Errorf("master keys are %s, the old one was %s, kept are %s", now, old, masterIDs(t, o.KeyFile+".old"))
	}
	keys, err := s.dataKeys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].master != now {
		t.Errorf("%d data keys, %v", len(keys), err)
	}
	header := s.sealer.Load().Header()
	for _, c := range reseal.Columns() {
		if err := s.query(t.Context(), func(scan func(...any) error) error {
			var v []byte
			err := scan(&v)
			if v != nil && !bytes.HasPrefix(v, header) {
				t.Errorf("%s.%s is sealed under an old key", c.Table, c.Name)
			}
			return err
		}, `SELECT `+c.Name+` FROM `+c.Table); err != nil {
			t.Fatal(err)
		}
	}
	if _, found, err := s.setting(t.Context(), settingRotation); found || err != nil {
		t.Errorf("it is not over: %v", err)
	}
}

func TestRotate(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		privates(t, s)
		old := masterIDs(t, o.KeyFile)
		oldFile, err := os.ReadFile(o.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		var before bytes.Buffer
		if err := s.Backup(t.Context(), &before); err != nil {
			t.Fatal(err)
		}
		// Others go on meanwhile.
		ctx, stop := context.WithCancel(t.Context())
		var other sync.WaitGroup
		other.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := put(ctx, s, fmt.Sprint("other", i%20), "x"); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
		most := 0
		err = s.Rotate(t.Context(), func(n int) error { most = max(most, n); return nil })
		stop()
		other.Wait()
		if err != nil || most < reseal.Max+50+7 {
			t.Fatalf("%v after %d values", err, most)
		}
		rotated(t, s, o, old)
		s = reopen(t, s, o)
		rotated(t, s, o, old)
		closed(t, s)

		// The old key opens nothing any more, but the backup of before.
		alone := o
		alone.KeyFile = o.KeyFile + ".alone"
		if err := os.WriteFile(alone.KeyFile, oldFile, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), alone); !errors.Is(err, ErrKey) {
			t.Errorf("with the old key: %v", err)
		}
		if _, err := Restore(t.Context(), o, bytes.NewReader(before.Bytes()), true); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), old) {
			t.Errorf("an old backup with the new key: %v", err)
		}
		if _, err := Restore(t.Context(), alone, bytes.NewReader(before.Bytes()), true); err != nil {
			t.Fatal(err)
		}
		privatesThere(t, open(t, alone))
	})
}

// Keys that do not come from a file are given with the new one first.
func TestRotateGivenKeys(t *testing.T) {
	o := options(t)
	first, err := seal.Keys{}.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	o.KeyFile, o.Keys = "", first
	s := open(t, o)
	privates(t, s)
	if o.Keys, err = first.Fresh(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, o)
	if err := s.Rotate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	o.Keys = o.Keys.Only()
	privatesThere(t, reopen(t, s, o))
}

// Killed after any step, the store is whole, and goes on when it is told again.
func TestRotateKilled(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		privates(t, s)
		closed(t, s)
		for step, done := 1, false; !done; step++ {
			old := masterIDs(t, o.KeyFile)
			c := startChild(t, o, fmt.Sprint("rotate ", step))
			for c.out.Scan() {
				done = c.out.Text() == "done"
			}
			_ = c.cmd.Wait() // "signal: killed"
			s := open(t, o)
			privatesThere(t, s)
			if err := s.Rotate(t.Context(), nil); err != nil {
				t.Fatalf("after a kill at step %d: %v", step, err)
			}
			rotated(t, s, o, strings.Fields(old)[0])
			closed(t, s)
			if done {
				t.Logf("killed at each of %d steps", step-1)
			}
			if step > 100 {
				t.Fatal("it has no end")
			}
		}
	})
}

// rotateUntil rotates the keys, and kills this process at a step.
func rotateUntil(s *Store, step int) {
	err := s.Rotate(context.Background(), func(int) error {
		if step--; step == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("done")
}
