// Package backup writes what a database and the files beside it hold to an archive, and makes another database hold it.
package backup

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/store/archive"
	"mimigate/core/store/database"
	"mimigate/core/store/seal"
)

// temporary begins the names of our own directories in the store's, of which no backup has anything.
const temporary = ".mimigate-"

// Write writes one state of a database, whose schema the steps make, and the files below its directory to w, sealed under a key of its own, which is
// sealed under master. Others may write meanwhile.
func Write(ctx context.Context, db *database.Database, steps []database.Migration, master seal.Master, w io.Writer) error {
	key := seal.NewDataKey()
	cipher, err := sealing(key)
	if err != nil {
		return err
	}
	return db.Snapshot(ctx, func(read reading) error {
		h := archive.Header{Made: time.Now().UnixMilli(), Key: master.Seal(key, keyPlace())}
		if err := describe(read, &h); err != nil {
			return err
		}
		if h.Schema > len(steps) {
			return fmt.Errorf("%w: its schema has version %d, this one knows %d", database.ErrNewer, h.Schema, len(steps))
		}
		if !slices.Contains(h.Masters, master.ID) {
			h.Masters = append(h.Masters, master.ID)
		}
		out := archive.NewWriter(w, h, cipher)
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
}

func keyPlace() []byte { return seal.Place("backup") }

// framePlace is the place of a frame's payload.
func framePlace(kind byte, n uint64) []byte {
	return seal.Place("backup", []byte{kind}, binary.BigEndian.AppendUint64(nil, n))
}

func sealing(key []byte) (archive.Cipher, error) {
	s, err := (*seal.Sealer)(nil).With(1, key)
	return func(kind byte, n uint64, payload []byte) ([]byte, error) {
		return s.Seal(framePlace(kind, n), payload), nil
	}, err
}

// opening returns what opens the frames of a backup with one of the master keys.
func opening(h archive.Header, keys seal.Keys) (archive.Cipher, error) {
	for _, id := range h.Masters {
		m, ok := keys.ByID(id)
		if !ok {
			continue
		}
		key, err := m.Open(h.Key, keyPlace())
		if err != nil {
			continue
		}
		s, err := (*seal.Sealer)(nil).With(1, key)
		return func(kind byte, n uint64, payload []byte) ([]byte, error) { return s.Open(framePlace(kind, n), payload) }, err
	}
	return nil, fmt.Errorf("%w: it is sealed under master key %s, and these are given: %v", seal.ErrKey, strings.Join(h.Masters, " and "), keys)
}

type reading = func(query string, args ...any) (*sql.Rows, error)

// describe fills in the header of a backup.
func describe(read reading, h *archive.Header) error {
	each := func(query string, f func(scan func(...any) error) error) error {
		rows, err := read(query)
		if err != nil {
			return err
		}
		return rowsOf(rows, f)
	}
	return errors.Join(
		each(`SELECT COALESCE(MAX(version), 0) FROM schema_version`, func(scan func(...any) error) error { return scan(&h.Schema) }),
		each(`SELECT value FROM setting WHERE name = 'domain'`, func(scan func(...any) error) error { return scan(&h.Domain) }),
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
	return rowsOf(rows, func(scan func(...any) error) error {
		if err := scan(into...); err != nil {
			return err
		}
		return out.Row(values)
	})
}

// rowsOf calls each for every row.
func rowsOf(rows *sql.Rows, each func(scan func(...any) error) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
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
		case !d.Type().IsRegular(), name == database.LockFile, name == database.File, d.Name() == adapter.RestoredFile, isJournal(path):
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
	err = archive.Read(r, archive.Contents{Header: func(found archive.Header) (archive.Cipher, error) { h = found; return nil, nil }})
	return h, err
}

// ErrNotEmpty: there is something in the store already, which a backup would replace.
var ErrNotEmpty = errors.New("the store is not empty")

// restore is one restoring.
type restore struct {
	db     *database.Database
	steps  []database.Migration
	keys   seal.Keys
	tables []string // that a backup of its schema may have
	insert string   // into the table that is being read
	files  string   // the directory of the files until they are moved into place
}

// Restore makes a database hold what a backup holds, which Check has found to be whole, in one transaction. Of the files it
// makes a directory beside the database, whose name it leaves in the table setting under Restored: PlaceFiles moves them into place. A
// database that holds something fails with ErrNotEmpty, and is replaced as a whole where force is given.
func Restore(ctx context.Context, db *database.Database, steps []database.Migration, keys seal.Keys, h archive.Header, backup io.Reader, force bool) error {
	r := &restore{db: db, steps: steps, keys: keys, tables: database.Tables(steps[:h.Schema])}
	return r.run(ctx, backup, h, force)
}

// Restored is the name of the setting that a restore leaves.
const Restored = "restored"

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
		return fmt.Errorf("%w: what is there was made by a newer one", database.ErrNewer)
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
		Header: func(h archive.Header) (archive.Cipher, error) { return opening(h, r.keys) },
		Table:  r.table,
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
	_, err := r.db.Exec(`INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, Restored, filepath.Base(r.files))
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
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), adapter.RestoredFile), nil, 0o600); err != nil {
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

// PlaceFiles moves the files that Restore has left in the directory of that name in dir to where they belong, in the place of what has the
// same name there. It may be done again after it was interrupted.
func PlaceFiles(dir, name string) error {
	from := filepath.Join(dir, filepath.Base(name))
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(dir, e.Name())
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what backups and restores that were interrupted have left in a directory. Nobody may be at one.
func Sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, temporary+"*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}
