package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mimigate/core/store/archive"
	"mimigate/core/store/database"
)

// temporary begins the names of our own directories in the store's, of which no backup has anything.
const temporary = ".mimigate-"

// Backup writes one state of the open store, and the files below its directory, to w; units go on meanwhile. Private columns stay
// sealed under the master keys, which are not in it. See package archive for the form.
func (s *Store) Backup(ctx context.Context, w io.Writer) error { return backup(ctx, s.db, w) }

// Backup is [Store.Backup] for a store that nobody has open. It needs no key.
func Backup(ctx context.Context, o Options, w io.Writer) (err error) {
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return backup(ctx, db, w)
}

func backup(ctx context.Context, db *database.Database, w io.Writer) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	err = db.Snapshot(ctx, func(read reading) error {
		h := archive.Header{Made: time.Now().UnixMilli()}
		if err := describe(read, &h); err != nil {
			return err
		}
		if h.Schema > len(steps) {
			return fmt.Errorf("%w: its schema has version %d, this one knows %d", ErrNewer, h.Schema, len(steps))
		}
		out := archive.NewWriter(w, h)
		for _, table := range database.Tables(steps[:h.Schema]) {
			if err := dumpTable(read, table, out); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		if err := dumpFiles(ctx, db.Dir(), out); err != nil {
			return err
		}
		return out.Close()
	})
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

type reading = func(query string, args ...any) (*sql.Rows, error)

// describe fills in the header of a backup.
func describe(read reading, h *archive.Header) error {
	each := func(query string, f func(scan func(...any) error) error) error {
		rows, err := read(query)
		if err != nil {
			return err
		}
		readErr, eachErr := readRows(rows, f)
		return errors.Join(readErr, eachErr)
	}
	return errors.Join(
		each(`SELECT COALESCE(MAX(version), 0) FROM schema_version`, func(scan func(...any) error) error { return scan(&h.Schema) }),
		each(`SELECT value FROM setting WHERE name = '`+settingDomain+`'`, func(scan func(...any) error) error { return scan(&h.Domain) }),
		each(`SELECT DISTINCT master FROM data_key ORDER BY master`, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			h.Masters = append(h.Masters, id)
			return err
		}))
}

func dumpTable(read reading, table string, out *archive.Writer) error {
	rows, err := read(`SELECT * FROM ` + table)
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if err != nil {
		return errors.Join(err, rows.Close())
	}
	out.Table(archive.Table{Name: table, Columns: columns})
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	readErr, eachErr := readRows(rows, func(scan func(...any) error) error {
		if err := scan(into...); err != nil {
			return err
		}
		return out.Row(values)
	})
	return errors.Join(readErr, eachErr)
}

// dumpFiles adds the files below the store's directory: those of the accounts. Not the database itself, nor sockets, nor the lock.
func dumpFiles(ctx context.Context, dir string, out *archive.Writer) (err error) {
	scratch, err := os.MkdirTemp(dir, temporary+"backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was there a moment ago
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && strings.HasPrefix(name, temporary):
			return fs.SkipDir
		case !d.Type().IsRegular(), name == database.LockFile, name == database.File, isJournal(path):
			return nil
		}
		if err := dumpFile(ctx, path, filepath.ToSlash(name), scratch, out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
		return ctx.Err()
	})
}

// isJournal reports whether a file belongs to a SQLite database beside it, whose copy has all that is in it.
func isJournal(path string) bool {
	for _, end := range []string{"-wal", "-shm", "-journal"} {
		if of, ok := strings.CutSuffix(path, end); ok {
			is, err := database.IsSQLite(of)
			return err == nil && is
		}
	}
	return false
}

func dumpFile(ctx context.Context, path, name, scratch string, out *archive.Writer) error {
	is, err := database.IsSQLite(path)
	if err != nil {
		return err
	}
	if is { // a driver's own, which it may be writing
		path2 := filepath.Join(scratch, "copy")
		if err := database.CopySQLite(ctx, path, path2); err != nil {
			return err
		}
		defer os.Remove(path2)
		path = path2
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return out.File(name, f)
}

// Check reads a backup to its end and returns what it says of itself. It fails with the errors of package archive.
func Check(r io.Reader) (h archive.Header, err error) {
	err = archive.Read(r, archive.Contents{Header: func(found archive.Header) error { h = found; return nil }})
	if err != nil {
		err = fmt.Errorf("store: %w", err)
	}
	return h, err
}

// ErrNotEmpty: there is something in the store already, which a backup would replace.
var ErrNotEmpty = errors.New("store: it is not empty")

// Restore makes a store that nobody has open hold what a backup holds, of a store of either kind. The backup is read twice, and nothing
// is written before it was found to be whole; then all of the database is written in one transaction. The next Open does what is left:
// it moves the files into place and marks every group as stale. A store that holds something fails with ErrNotEmpty, and is
// replaced as a whole where force is given. The backup's domain and master keys must be those of o: it fails with ErrDomain
// and with ErrKey, which names the key that is missing.
func Restore(ctx context.Context, o Options, backup io.ReadSeeker, force bool) (h archive.Header, err error) {
	if h, err = Check(backup); err != nil {
		return h, err
	}
	steps, err := migrations()
	if err != nil {
		return h, err
	}
	if err := fits(o, h, len(steps)); err != nil {
		return h, err
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir})
	if err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	r := &restore{db: db, steps: steps, tables: database.Tables(steps[:h.Schema])}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := r.run(ctx, backup, h, force); err != nil {
		return h, fmt.Errorf("store: restore: %w", err)
	}
	return h, nil
}

// fits says why a backup cannot be used with these options.
func fits(o Options, h archive.Header, schema int) error {
	if h.Schema > schema || h.Schema < 1 {
		return fmt.Errorf("%w: the backup's schema has version %d, this one knows %d; install the newer one", ErrNewer, h.Schema, schema)
	}
	if h.Domain != o.Domain {
		return fmt.Errorf("%w: the backup is of %q, and the configuration says %q", ErrDomain, h.Domain, o.Domain)
	}
	keys, err := newStore(o.Log).masters(o, false)
	if err != nil {
		return fmt.Errorf("%w; the backup is sealed under master key %s", err, strings.Join(h.Masters, " and "))
	}
	for _, id := range h.Masters {
		if _, ok := keys.ByID(id); !ok {
			return fmt.Errorf("%w: the backup is sealed under master key %s, and these are given: %v; add the copy of that key to them", ErrKey, id, keys)
		}
	}
	return nil
}

// restore is one restoring.
type restore struct {
	db     *database.Database
	steps  []database.Migration
	tables []string // that a backup of its schema may have
	insert string   // into the table that is being read
	files  string   // the directory of the files until they are moved into place
}

func (r *restore) run(ctx context.Context, backup io.Reader, h archive.Header, force bool) (err error) {
	at, err := r.db.Version()
	if err != nil {
		return err
	}
	if at > 0 && !force {
		return fmt.Errorf("%w: %s; --force replaces all that is in it", ErrNotEmpty, r.db.Dir())
	}
	if r.files, err = os.MkdirTemp(r.db.Dir(), temporary+"restore-"); err != nil {
		return err
	}
	if err := r.db.Begin(); err != nil {
		return errors.Join(err, os.RemoveAll(r.files))
	}
	if err = r.fill(ctx, backup, h, at); err == nil {
		err = r.db.Commit()
	} else {
		r.db.Rollback()
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(r.files))
	}
	return nil
}

// fill writes everything within one transaction.
func (r *restore) fill(ctx context.Context, backup io.Reader, h archive.Header, at int) error {
	if at > len(r.steps) {
		return fmt.Errorf("%w: what is there was made by a newer one", ErrNewer)
	}
	for _, table := range slices.Backward(database.Tables(r.steps[:at])) {
		if _, err := r.db.Exec(`DROP TABLE ` + table); err != nil {
			return err
		}
	}
	if _, err := r.db.Exec(`DELETE FROM schema_version`); err != nil {
		return err
	}
	for _, m := range r.steps[:h.Schema] {
		if err := r.db.Apply(m); err != nil {
			return err
		}
	}
	if err := archive.Read(backup, archive.Contents{
		Table: r.table,
		Row: func(row []any) error {
			if _, err := r.db.Exec(r.insert, row...); err != nil {
				return err
			}
			return ctx.Err()
		},
		File: r.file,
	}); err != nil {
		return err
	}
	if err := syncTree(r.files); err != nil {
		return err
	}
	_, err := r.db.Exec(`INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, settingRestored, filepath.Base(r.files))
	return err
}

func (r *restore) table(t archive.Table) error {
	known := func(name string) bool { return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == "" }
	if !slices.Contains(r.tables, t.Name) || !known(strings.Join(t.Columns, "")) {
		return fmt.Errorf("%w: unknown table %q", archive.ErrDamaged, t.Name)
	}
	places := make([]string, len(t.Columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	r.insert = `INSERT INTO ` + t.Name + ` (` + strings.Join(t.Columns, ", ") + `) VALUES (` + strings.Join(places, ", ") + `)`
	return nil
}

func (r *restore) file(name string) (io.WriteCloser, error) {
	path := filepath.Join(r.files, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// syncTree puts all below a directory on disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// finishRestore does, in the first unit after a restore, what is left of it: the files take the place of those that are there, and every group
// is marked as stale, since others may have gone on since the backup, and its keys may have been used (design §7). What a restore that
// failed has left is removed.
func (s *Store) finishRestore(ctx context.Context) error {
	name, restored, err := s.setting(ctx, settingRestored)
	if err != nil {
		return err
	}
	if restored {
		if err := s.placeFiles(filepath.Join(s.Dir(), filepath.Base(name))); err != nil {
			return fmt.Errorf("store: restored files: %w", err)
		}
		if err := s.markStale(ctx); err != nil {
			return err
		}
		if err := s.setSetting(ctx, settingRestored, ""); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), temporary+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		s.log.Warn("store: what is left of a backup or restore could not be removed", "error", err)
	}
	return nil
}

// placeFiles moves what is in a directory into the store's, in the place of what has the same name there. It may be done again after
// it was interrupted.
func (s *Store) placeFiles(from string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(s.Dir(), e.Name())
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}

// memberStates begins the names of the states that package member keeps, before the room's address.
const memberStates = "member "

// markStale marks the group of every room in which we have members.
func (s *Store) markStale(ctx context.Context) error {
	var states [][]byte
	err := s.query(ctx, func(scan func(...any) error) error {
		var state []byte
		err := scan(&state)
		states = append(states, state)
		return err
	}, `SELECT DISTINCT state FROM mls_record`)
	if err != nil {
		return err
	}
	for _, state := range states {
		room, ok := strings.CutPrefix(string(state), memberStates)
		if !ok {
			continue
		}
		if _, err := s.exec(ctx, `INSERT INTO member_stale (room) VALUES ($1) ON CONFLICT (room) DO NOTHING`, room); err != nil {
			return err
		}
	}
	return nil
}
