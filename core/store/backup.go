package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mimigate/core/store/archive"
	"mimigate/core/store/backup"
	"mimigate/core/store/database"
	"mimigate/core/store/seal"
)

// Backup writes one state of the open store, and the files below its directory, to w; units go on meanwhile. All of it is sealed under the
// master key, which is not in it. See package archive for the form.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return write(ctx, s.options, s.db, w)
}

// Backup is [Store.Backup] for a store that nobody has open.
func Backup(ctx context.Context, o Options, w io.Writer) (err error) {
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return write(ctx, o, db, w)
}

func write(ctx context.Context, o Options, db *database.Database, w io.Writer) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	keys, err := o.masters(false)
	if err != nil {
		return err
	}
	master, _ := keys.Current()
	if err := backup.Write(ctx, db, steps, master, w); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

// ErrNotEmpty: there is something in the store already, which a backup would replace.
var ErrNotEmpty = backup.ErrNotEmpty

// Restore makes a store that nobody has open hold what a backup holds, of a store of either kind. The backup is read twice, and nothing
// is written before it was found to be whole; then all of the database is written in one transaction. The next Open does what is left:
// it moves the files into place and marks every group as stale. A store that holds something fails with ErrNotEmpty, and is
// replaced as a whole where force is given. The backup's domain and master keys must be those of o: it fails with ErrDomain
// and with ErrKey, which names the key that is missing.
func Restore(ctx context.Context, o Options, from io.ReadSeeker, force bool) (h archive.Header, err error) {
	if h, err = backup.Check(from); err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	steps, err := migrations()
	if err != nil {
		return h, err
	}
	keys, err := fits(o, h, len(steps))
	if err != nil {
		return h, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir})
	if err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := backup.Restore(ctx, db, steps, keys, h, from, force); err != nil {
		return h, fmt.Errorf("store: restore: %w", err)
	}
	return h, nil
}

// fits says why a backup cannot be used with these options, or returns the keys that it can be read with.
func fits(o Options, h archive.Header, schema int) (seal.Keys, error) {
	if h.Schema > schema || h.Schema < 1 {
		return seal.Keys{}, fmt.Errorf("%w: the backup's schema has version %d, this one knows %d; install the newer one", ErrNewer, h.Schema, schema)
	}
	if h.Domain != o.Domain {
		return seal.Keys{}, fmt.Errorf("%w: the backup is of %q, and the configuration says %q", ErrDomain, h.Domain, o.Domain)
	}
	keys, err := o.masters(false)
	if err != nil {
		return seal.Keys{}, fmt.Errorf("%w; the backup is sealed under master key %s", err, strings.Join(h.Masters, " and "))
	}
	for _, id := range h.Masters {
		if _, ok := keys.ByID(id); !ok {
			return seal.Keys{}, fmt.Errorf("%w: the backup is sealed under master key %s, and these are given: %v; add the copy of that key to them", ErrKey, id, keys)
		}
	}
	return keys, nil
}

// finishRestore does, in the first unit after a restore, what is left of it: the files take the place of those that are there, and every group
// is marked as stale, since others may have gone on since the backup, and its keys may have been used (design §7). What a restore that
// failed has left is removed.
func (s *Store) finishRestore(ctx context.Context) error {
	name, restored, err := s.setting(ctx, backup.Restored)
	if err != nil {
		return err
	}
	if restored {
		if err := backup.PlaceFiles(s.Dir(), name); err != nil {
			return fmt.Errorf("store: restored files: %w", err)
		}
		if err := s.markStale(ctx); err != nil {
			return err
		}
		if err := s.setSetting(ctx, backup.Restored, ""); err != nil {
			return err
		}
	}
	if err := backup.Sweep(s.Dir()); err != nil {
		s.log.Warn("store: what is left of a backup or restore could not be removed", "error", err)
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
