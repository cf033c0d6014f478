package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/mls"
	"mimigate/core/store/archive"
	"mimigate/core/store/database"
	"mimigate/core/store/seal"
)

// furnish puts something of every kind into a store and beside it.
func furnish(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	room := testRoom(t)
	if err := errors.Join(
		put(ctx, s, "k", "a secret"), s.State("a").Put(ctx, "\x00\xff", []byte{}),
		s.ApplyDelta(ctx, []byte("member "+room.String()), []mls.Record{{Key: []byte("x"), Value: []byte("keys of the group")}}),
		s.ApplyDelta(ctx, []byte("hub "+room.String()), []mls.Record{{Key: []byte("x"), Value: []byte("public")}}),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutInbox(ctx, room, []byte("body"), [32]byte{1}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.exec(ctx, `INSERT INTO hub_event (room, sequence, body, welcome) VALUES ($1, 1, $2, NULL)`, room.String(), []byte("event")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.exec(ctx, `INSERT INTO hub_outbox (room, provider, sequence, parts) VALUES ($1, 'b.example', 1, 1)`, room.String()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.Dir(), "accounts", "whatsapp")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "media"), bytes.Repeat([]byte("m"), 1<<19), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// device opens a driver's own database, as it is while the driver uses it: the last rows are in its log only.
func device(t *testing.T, s *Store) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.Dir(), "accounts", "whatsapp", "device.db")+"?_journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, query := range []string{"CREATE TABLE device (name TEXT)", "INSERT INTO device VALUES ('phone')"} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
}

// furnished checks that all of it is there, and the group marked.
func furnished(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	room := testRoom(t)
	if got := value(t, ctx, s, "k"); got != "a secret" {
		t.Errorf("the account's state is %q", got)
	}
	if v, err := s.State("a").Get(ctx, "\x00\xff"); err != nil || v == nil {
		t.Errorf("%q, %v", v, err)
	}
	for state, want := range map[string]string{"member ": "keys of the group", "hub ": "public"} {
		if r, err := s.LoadRecords(ctx, []byte(state+room.String())); err != nil || len(r) != 1 || string(r[0].Value) != want {
			t.Errorf("%v, %v", r, err)
		}
	}
	if _, body, ok, err := s.NextInbox(ctx, room); err != nil || !ok || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	if stale, err := s.IsStale(ctx, room); err != nil || !stale {
		t.Errorf("the group is not marked: %v", err)
	}
	dir := filepath.Join(s.Dir(), "accounts", "whatsapp")
	if b, err := os.ReadFile(filepath.Join(dir, "media")); err != nil || len(b) != 1<<19 {
		t.Errorf("%d octets, %v", len(b), err)
	}
	if _, err := os.Stat(filepath.Join(dir, adapter.RestoredFile)); err != nil {
		t.Errorf("nothing tells that these files are of a backup: %v", err)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "device.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	if err := db.QueryRow("SELECT name FROM device").Scan(&name); err != nil || name != "phone" {
		t.Errorf("the driver's database: %q, %v", name, err)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir(), ".mimigate-*")); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A backup of a store of either kind, taken while it runs, makes a store of either kind what it was.
func TestBackupRestore(t *testing.T) {
	kinds := map[string]func(testing.TB) Options{"sqlite": options, "postgres": postgres}
	for from, source := range kinds {
		for to, target := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				ctx := t.Context()
				o := source(t)
				s := open(t, o)
				furnish(t, s)
				device(t, s)
				var file bytes.Buffer
				if err := s.Backup(ctx, &file); err != nil {
					t.Fatal(err)
				}
				if err := put(ctx, s, "k", "changed since"); err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{"a secret", "keys of the group", "phone", "mimi://", "whatsapp"} {
					if bytes.Contains(file.Bytes(), []byte(secret)) {
						t.Errorf("%q is in the backup", secret)
					}
				}
				into := target(t)
				into.KeyFile = o.KeyFile
				h, err := Restore(ctx, into, bytes.NewReader(file.Bytes()), false)
				if err != nil || h.Domain != o.Domain || len(h.Masters) != 1 {
					t.Fatal(h, err)
				}
				restored := open(t, into)
				furnished(t, restored)
				// Its own copy, of the other kind again, is the same.
				var copied bytes.Buffer
				if err := restored.Backup(ctx, &copied); err != nil {
					t.Fatal(err)
				}
				if err := restored.SetStale(ctx, testRoom(t), false); err != nil {
					t.Fatal(err)
				}
				if stale, err := reopen(t, restored, into).IsStale(ctx, testRoom(t)); err != nil || stale {
					t.Errorf("marked again by another start: %v", err)
				}
				if _, err := Restore(ctx, into, bytes.NewReader(file.Bytes()), true); !errors.Is(err, ErrLocked) {
					t.Errorf("restoring into a store that runs: %v", err)
				}
				closed(t, s)
				if _, err := Restore(ctx, o, bytes.NewReader(copied.Bytes()), false); !errors.Is(err, ErrNotEmpty) {
					t.Errorf("restoring over a store: %v", err)
				}
				if _, err := Restore(ctx, o, bytes.NewReader(copied.Bytes()), true); err != nil {
					t.Fatal(err)
				}
				furnished(t, open(t, o))
			})
		}
	}
}

// What is not whole, or not for this store, is refused before anything is written.
func TestRestoreRefuses(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		source := options(t)
		s := open(t, source)
		furnish(t, s)
		var whole bytes.Buffer
		if err := s.Backup(ctx, &whole); err != nil {
			t.Fatal(err)
		}
		o.KeyFile = source.KeyFile
		altered := bytes.Clone(whole.Bytes())
		altered[len(altered)/2] ^= 1
		other := o
		other.Domain = "other.example"
		lost := o
		lost.KeyFile = options(t).KeyFile
		var newer, odd bytes.Buffer
		h, cipher := forged(t, o)
		h.Schema = 1000
		if err := archive.NewWriter(&newer, h, cipher).Close(); err != nil {
			t.Fatal(err)
		}
		h.Schema = 1
		w := archive.NewWriter(&odd, h, cipher)
		w.Table(archive.Table{Name: "setting (name, value) VALUES ('x', 'y'); --", Columns: []string{"name"}})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			file []byte
			o    Options
			want error
			says string
		}{
			"cut off":           {whole.Bytes()[:whole.Len()-1], o, archive.ErrDamaged, ""},
			"altered":           {altered, o, archive.ErrDamaged, ""},
			"nothing":           {nil, o, archive.ErrFormat, ""},
			"of another domain": {whole.Bytes(), other, ErrDomain, "other.example"},
			"without its key":   {whole.Bytes(), lost, ErrKey, "master key"},
			"of a newer one":    {newer.Bytes(), o, ErrNewer, "1000"},
			"with odd tables":   {odd.Bytes(), o, archive.ErrDamaged, "unknown table"},
		} {
			if _, err := Restore(ctx, c.o, bytes.NewReader(c.file), true); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if d := bare(t, o); !empty(t, d) {
			t.Error("something was written")
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "accounts")); o.Dir != "" && !errors.Is(err, fs.ErrNotExist) {
			t.Error("files were written")
		}
	})
}

// forged is what an archive is made with that only those with the master key of o can make.
func forged(t *testing.T, o Options) (archive.Header, archive.Cipher) {
	t.Helper()
	keys, _, err := seal.ReadFile(o.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	master, _ := keys.Current()
	key := seal.NewDataKey()
	s, err := (*seal.Sealer)(nil).With(1, key)
	if err != nil {
		t.Fatal(err)
	}
	return archive.Header{Domain: o.Domain, Masters: []string{master.ID}, Key: master.Seal(key, seal.Place("backup"))},
		func(kind byte, n uint64, payload []byte) ([]byte, error) {
			return s.Seal(seal.Place("backup", []byte{kind}, binary.BigEndian.AppendUint64(nil, n)), payload), nil
		}
}

func empty(t *testing.T, d *database.Database) bool {
	v, err := d.Version()
	if err != nil {
		t.Fatal(err)
	}
	return v == 0
}

// A restore that does not come to its end leaves what was there, be it nothing or a store that was to be replaced.
func TestRestoreInterrupted(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		furnish(t, s)
		device(t, s)
		var file bytes.Buffer
		if err := s.Backup(t.Context(), &file); err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), s, "k", "newer"); err != nil {
			t.Fatal(err)
		}
		closed(t, s)
		ctx, stop := context.WithCancel(t.Context())
		second := &interrupted{Reader: bytes.NewReader(file.Bytes()), stop: stop}
		if _, err := Restore(ctx, o, second, true); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s = open(t, o)
		if got := value(t, t.Context(), s, "k"); got != "newer" {
			t.Errorf("it is %q", got)
		}
		if left, err := filepath.Glob(filepath.Join(s.Dir(), ".mimigate-*")); err != nil || len(left) != 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	})
}

// interrupted ends a context when it is read the second time.
type interrupted struct {
	*bytes.Reader
	stop context.CancelFunc
}

func (i *interrupted) Seek(offset int64, whence int) (int64, error) {
	i.stop()
	return i.Reader.Seek(offset, whence)
}

// A backup that is taken among many units has each of them whole or not at all.
func TestBackupAmongUnits(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s := open(t, o)
		ctx, stop := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for worker := range 4 {
			workers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if err := crashUnit(ctx, s, fmt.Sprintf("b-%d-%d", worker, i), i%7 == 3); err != nil && !errors.Is(err, errTest) && ctx.Err() == nil {
						t.Error(err)
						return
					}
				}
			})
		}
		soon(t, func() error {
			if s.unitsSeen(t) < 50 {
				return errors.New("no units yet")
			}
			return nil
		})
		var file bytes.Buffer
		err := s.Backup(t.Context(), &file)
		stop()
		workers.Wait()
		if err != nil {
			t.Fatal(err)
		}
		into := options(t)
		into.KeyFile = o.KeyFile
		if _, err := Restore(t.Context(), into, bytes.NewReader(file.Bytes()), false); err != nil {
			t.Fatal(err)
		}
		checkCrashed(t, into, map[string]bool{"b-0-0": true})
	})
}

// A large store is backed up and restored without ever being in memory.
func TestBackupMemory(t *testing.T) {
	o := options(t)
	s := open(t, o)
	const rows, size = 4000, 16 << 10
	big := strings.Repeat("x", size)
	for from := 0; from < rows; from += 500 {
		if err := s.Do(t.Context(), func(ctx context.Context) error {
			for i := range 500 {
				if err := put(ctx, s, fmt.Sprint("row", from+i), big); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "backup")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	watch := func() {
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	}
	if err := s.Backup(t.Context(), watched{f, watch}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	into := options(t)
	into.KeyFile = o.KeyFile
	if _, err := Restore(t.Context(), into, watched{f, watch}, false); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() < rows*size {
		t.Fatal(info, err)
	}
	if got := most - min(before, most); got > rows*size/4 {
		t.Errorf("%d octets of memory for a backup of %d", got, info.Size())
	}
	t.Logf("a backup of %d octets took at most %d of memory", info.Size(), most-min(before, most))
	restored := open(t, into)
	if got := value(t, t.Context(), restored, fmt.Sprint("row", rows-1)); got != big {
		t.Errorf("%d octets of the last row", len(got))
	}
}

// watched calls a function now and then while a file is read or written.
type watched struct {
	*os.File
	look func()
}

func (w watched) Write(b []byte) (int, error) { w.look(); return w.File.Write(b) }
func (w watched) Read(b []byte) (int, error)  { w.look(); return w.File.Read(b) }

func (s *Store) unitsSeen(t *testing.T) (n int) {
	if _, err := s.get(t.Context(), []any{&n}, `SELECT COUNT(*) FROM account_state`); err != nil {
		t.Fatal(err)
	}
	return n
}

// A store that no version since has opened is backed up as it is, and restored into what it then becomes.
func TestBackupOfEachVersion(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		for from := 1; from <= len(steps(t)); from++ {
			old := options(t)
			d, err := database.Open(t.Context(), database.Options{Location: old.Location})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Migrate(steps(t)[:from]); err != nil {
				t.Fatal(err)
			}
			rows, err := fs.ReadFile(testdata, fmt.Sprintf("testdata/%03d.sql", from))
			if err == nil {
				_, err = d.Exec(string(rows))
			}
			if err == nil {
				_, err = d.Exec(`DELETE FROM data_key; INSERT INTO setting (name, value) VALUES ('domain', 'chat.example.org') ON CONFLICT (name) DO NOTHING`) // its master key is nobody's
			}
			if err := errors.Join(err, d.Close()); err != nil {
				t.Fatal(err)
			}
			closed(t, open(t, o)) // has its key
			var file bytes.Buffer
			if err := Backup(t.Context(), Options{Location: old.Location, KeyFile: o.KeyFile}, &file); err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(t.Context(), o, bytes.NewReader(file.Bytes()), true); err != nil {
				t.Fatal(from, err)
			}
			s := open(t, o)
			var n int
			if _, err := s.get(t.Context(), []any{&n}, `SELECT COUNT(*) FROM account_state WHERE account = 'from version 1'`); err != nil || n != 1 {
				t.Errorf("from version %d: the row of version 1 is lost: %d, %v", from, n, err)
			}
			closed(t, s)
		}
	})
}
