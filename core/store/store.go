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
)

// Errors that a caller decides by.
var (
	// ErrClosed: the store is closing or closed; nothing of the unit was done.
	ErrClosed = errors.New("store: closed")
	// ErrDomain: the store belongs to another provider domain; the domain is part of every address and permanent (design §10).
	ErrDomain = errors.New("store: belongs to another domain")
	// ErrFenced: the room has another owner now, or this instance never claimed it.
	ErrFenced = errors.New("store: room has another owner")
)

// Errors of the database and of its keys, see package database and package seal.
var (
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
	log    *slog.Logger
	sealer atomic.Pointer[seal.Sealer]
	health atomic.Pointer[error]

	observe func(units int, took time.Duration) // nil: nobody

	queue   chan *unit    // unbuffered: who has sent has the turn
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed by the writer

	// The rest is touched only by who has the turn, or by the writer between turns.
	open   bool  // a transaction has begun
	broken error // the transaction is lost: nothing in it can be committed
}

// Open opens the store at o.Location, making it if need be, and migrates it forward. It fails with ErrLocked, ErrNewer,
// ErrDomain, ErrKey, or what the file system or the server says.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	s := newStore(o.Log)
	db, err := database.Open(ctx, database.Options{Location: o.Location, Dir: o.Dir, Unsure: s.note})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.db = db
	s.observe = o.Batch
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
	go s.write()
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func newStore(log *slog.Logger) *Store {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{log: log, queue: make(chan *unit), closing: make(chan struct{}), stopped: make(chan struct{})}
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

// Health returns what is wrong with the database: an error that wraps ErrFull, ErrReadOnly, ErrBusy, ErrUnavailable or ErrLost and says what to
// do, or nil. All but ErrLost end by themselves, within seconds of when the reason for them does.
func (s *Store) Health() error {
	if err := s.health.Load(); err != nil {
		return *err
	}
	return nil
}

// note keeps what a failure says about the database.
func (s *Store) note(err error) {
	for _, known := range []error{ErrLost, ErrFull, ErrReadOnly, ErrBusy, ErrUnavailable} {
		if errors.Is(err, known) {
			if s.health.Swap(&err) == nil {
				s.log.Error("store: the database does not take what is to be stored", "error", err)
			}
			return
		}
	}
}

// well keeps that the database has taken something.
func (s *Store) well() {
	if s.health.Swap(nil) != nil {
		s.log.Info("store: the database takes what is to be stored again")
	}
}

// Close lets the units that have begun end and commit, refuses all others with ErrClosed, and closes the store. It waits until
// everything is closed. It is called once.
func (s *Store) Close() error {
	return errors.Join(s.stop(), s.db.Close())
}

// stop ends the writer and waits for it.
func (s *Store) stop() error {
	close(s.closing)
	s.db.Interrupt()
	<-s.stopped
	return s.db.Idle()
}
