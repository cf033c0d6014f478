// Package store keeps what must survive: one database, SQLite in a directory or PostgreSQL, opened by one instance at a time.
//
// # Units of work
//
// [Store.Do] runs a function as one unit of work (design §5): all that it writes is committed together, or nothing is. The unit
// travels in the context. A method of the store that is given the unit's context reads and writes within the unit; given any other
// context it is a unit of its own, and reads see what was committed last. Do within a unit joins it (rule vii): such a part may
// fail and be undone by itself, but what it wrote is only committed with the whole.
//
// One goroutine, the writer, owns the only connection that writes. It gives waiting units their turns one after the other, each
// behind a savepoint in one transaction, commits when nobody waits any more, and then tells them all. So many callers share
// one fsync, and a caller that has been told nil knows that its unit is on disk (synchronous=FULL). A unit runs in its caller's
// goroutine; it must be short, do no I/O of its own, and never wait for another unit.
//
// A unit that fails, because the disk is full or the server is away, has done nothing, and its caller has not been told otherwise: what
// it was about is still where it came from, and the next unit finds the store as it was. [Store.Health] says what is wrong meanwhile.
//
// # What stands where
//
// Each consumer's tables and methods are in a file of its name; consumers declare the few methods they need as an interface of
// their own. Private columns (key material, message bodies, adapter state) are sealed, see seal.go. The schema is in migrations/.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"mimigate/core/store/database"
	"mimigate/core/store/seal"
	"mimigate/core/store/work"
)

// Errors that a caller decides by.
var (
	// ErrDomain: the store belongs to another provider domain; the domain is part of every address and permanent (design §10).
	ErrDomain = errors.New("store: belongs to another domain")
	// ErrFenced: the room has another owner now, or this instance never claimed it.
	ErrFenced = errors.New("store: room has another owner")
)

// Errors of the work, the database and its keys: see packages work, database and seal.
var (
	ErrClosed      = work.ErrClosed
	ErrLocked      = database.ErrLocked
	ErrLost        = database.ErrLost
	ErrNewer       = database.ErrNewer
	ErrFull        = database.ErrFull
	ErrReadOnly    = database.ErrReadOnly
	ErrBusy        = database.ErrBusy
	ErrUnavailable = database.ErrUnavailable
	ErrKey         = seal.ErrKey
)

// Options say which store to open and how.
type Options struct {
	// Location is the store's directory, made with mode 0700 if it does not exist, with the database mimigate.db in it; or the URL of a
	// PostgreSQL database, postgres://….
	Location string
	// Dir is the directory of what is beside the database, where that is PostgreSQL. Otherwise it is Location.
	Dir string
	// Domain is our provider domain. The first Open records it, later ones fail with ErrDomain where it differs.
	Domain string
	// KeyFile is the file of master keys. Where it does not exist and the store is new, it is made with mode 0600. See [seal.Parse].
	KeyFile string
	// Keys are the master keys themselves, used where KeyFile is empty.
	Keys seal.Keys
	// Log takes warnings; nil: none.
	Log *slog.Logger
	// Batch hears of each transaction: how many units it had, and how long it took; nil: nobody.
	Batch func(units int, took time.Duration)
}

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	db     *database.Database
	work   *work.Work
	log    *slog.Logger
	sealer atomic.Pointer[seal.Sealer]

	options Options // where the keys come from
}

// Open opens the store at o.Location, making it if need be, and migrates it forward. It fails with ErrLocked, ErrNewer,
// ErrDomain, ErrKey, or what the file system or the server says.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{log: o.logger(), options: o}
	s.work = work.New(s.log, o.Batch)
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir, Unsure: s.work.Note})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.db = db
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	steps, err := migrations()
	if err == nil {
		err = db.Migrate(steps)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", db.Dir(), err)
	}
	s.work.Start(db)
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.work.Stop())
	}
	return s, nil
}

func (o Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// prepare settles, once the writer runs, whose store this is and what it is sealed with.
func (s *Store) prepare(ctx context.Context, o Options) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if err := s.bindDomain(ctx, o.Domain); err != nil {
			return err
		}
		if err := s.openSealer(ctx, o, time.Now()); err != nil {
			return err
		}
		return s.finishRestore(ctx)
	})
}

// bindDomain records the provider's domain in a new store and compares it in an old one.
func (s *Store) bindDomain(ctx context.Context, domain string) error {
	had, found, err := s.setting(ctx, settingDomain)
	switch {
	case err != nil:
		return err
	case !found:
		return s.setSetting(ctx, settingDomain, domain)
	case had != domain:
		return fmt.Errorf("%w: %s was made for %q, and the configuration says %q; the domain is part of every address: change it back, or begin a new store",
			ErrDomain, s.db.Dir(), had, domain)
	}
	return nil
}

// Names of facts about the store itself.
const (
	settingDomain = "domain"
)

func (s *Store) setting(ctx context.Context, name string) (value string, found bool, err error) {
	found, err = s.get(ctx, []any{&value}, `SELECT value FROM setting WHERE name = $1`, name)
	return value, found, err
}

// setSetting records a fact; an empty one is none.
func (s *Store) setSetting(ctx context.Context, name, value string) error {
	if value == "" {
		_, err := s.exec(ctx, `DELETE FROM setting WHERE name = $1`, name)
		return err
	}
	_, err := s.exec(ctx, `INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// Dir returns the store's directory, an absolute path, below which the gateway may keep files of its own.
func (s *Store) Dir() string { return s.db.Dir() }

// Close lets the units that have begun end and commit, refuses all others with ErrClosed, and closes the store. It waits until
// everything is closed. It is called once.
func (s *Store) Close() error {
	return errors.Join(s.work.Stop(), s.db.Close())
}

// Do runs fn as one unit of work; see [work.Work.Do].
func (s *Store) Do(ctx context.Context, fn func(context.Context) error) error {
	return s.work.Do(ctx, fn)
}

// OnCommit calls f once ctx's unit is committed; see [work.Work.OnCommit].
func (s *Store) OnCommit(ctx context.Context, f func()) { s.work.OnCommit(ctx, f) }

// OnRollback calls f if ctx's unit is undone; see [work.Work.OnRollback].
func (s *Store) OnRollback(ctx context.Context, f func()) { s.work.OnRollback(ctx, f) }

// Health returns what is wrong with the database, nil where nothing is; see [work.Work.Health].
func (s *Store) Health() error { return s.work.Health() }

// Lost is closed when another instance has taken over the store: nothing will be committed here any more, and Health returns ErrLost.
func (s *Store) Lost() <-chan struct{} { return s.work.Lost() }

// exec runs a statement and returns how many rows it changed: in ctx's unit, or else in one of its own.
func (s *Store) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return s.work.Exec(ctx, query, args...)
}

// query calls each for every row of a query: in ctx's unit, or else on what was committed last. each must not use the store.
func (s *Store) query(ctx context.Context, each func(scan func(dest ...any) error) error, query string, args ...any) error {
	return s.work.Query(ctx, each, query, args...)
}

// get reads the first row of a query into dest, and reports whether there is one.
func (s *Store) get(ctx context.Context, dest []any, query string, args ...any) (bool, error) {
	return s.work.Get(ctx, dest, query, args...)
}
