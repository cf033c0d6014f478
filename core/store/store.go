// Package store keeps what must survive: one SQLite database in a directory, opened by one instance at a time.
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
// # What stands where
//
// Each consumer's tables and methods are in a file of its name; consumers declare the few methods they need as an interface of
// their own. Private columns (key material, message bodies, adapter state) are sealed, see seal.go. The schema is in migrations/.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Errors that a caller decides by.
var (
	// ErrClosed: the store is closing or closed; nothing of the unit was done.
	ErrClosed = errors.New("store: closed")
	// ErrLocked: another instance has the store open. The text around it names that instance.
	ErrLocked = errors.New("store: in use by another mimigate")
	// ErrNewer: a newer version of mimigate has migrated the store.
	ErrNewer = errors.New("store: made by a newer mimigate")
	// ErrDomain: the store belongs to another provider domain; the domain is part of every address and permanent (design §10).
	ErrDomain = errors.New("store: belongs to another domain")
	// ErrKey: no master key at hand opens the store's sealed columns, or a sealed value was altered.
	ErrKey = errors.New("store: sealed under another key")
	// ErrFenced: the room has another owner now, or this instance never claimed it.
	ErrFenced = errors.New("store: room has another owner")
)

// Options say which store to open and how.
type Options struct {
	// Location is the store's directory, made with mode 0700 if it does not exist. The database is mimigate.db in it.
	Location string
	// Domain is our provider domain. The first Open records it, later ones fail with ErrDomain where it differs.
	Domain string
	// KeyFile is the file of master keys. Where it does not exist and the store is new, it is made with mode 0600. See [ParseKeys].
	KeyFile string
	// Keys are the master keys themselves, used where KeyFile is empty.
	Keys Keys
	// Log takes warnings; nil: none.
	Log *slog.Logger
}

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	dir      string
	dialect  dialect
	log      *slog.Logger
	lock     *os.File
	instance string // names this opening of the store as the owner of rooms
	sealer   *sealer

	writer  *sql.DB
	readers *sql.DB

	queue   chan *unit    // unbuffered: who has sent has the turn
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed by the writer

	// The rest is touched only by who has the turn, or by the writer between turns.
	conn   *sql.Conn
	open   bool  // a transaction has begun
	broken error // the transaction is lost: nothing in it can be committed
	dirty  bool  // committed since the last checkpoint
}

// Open opens the store at o.Location, making it if need be, and migrates it forward. It fails with ErrLocked, ErrNewer,
// ErrDomain, ErrKey, or what the file system says.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if strings.Contains(o.Location, "://") {
		return nil, fmt.Errorf("store: %s: this version keeps its store in SQLite: give a directory", scheme(o.Location))
	}
	dir, err := filepath.Abs(o.Location)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, dialect: sqlite, log: o.Log, lock: lock, instance: rand.Text(),
		queue: make(chan *unit), closing: make(chan struct{}), stopped: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeFiles())
		}
	}()
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("store: %s: %w", dir, err)
	}
	if err := migrate(ctx, s.conn, s.dialect, migrations()); err != nil {
		return nil, fmt.Errorf("store: %s: %w", dir, err)
	}
	go s.write()
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func scheme(location string) string {
	name, _, _ := strings.Cut(location, "://")
	return name
}

// prepare settles, once the writer runs, whose store this is and what it is sealed with.
func (s *Store) prepare(ctx context.Context, o Options) error {
	return s.Do(ctx, func(ctx context.Context) error {
		if err := s.bindDomain(ctx, o.Domain); err != nil {
			return err
		}
		var err error
		s.sealer, err = s.openSealer(ctx, o, time.Now())
		return err
	})
}

// bindDomain records the provider's domain in a new store and compares it in an old one.
func (s *Store) bindDomain(ctx context.Context, domain string) error {
	var had string
	found, err := s.get(ctx, []any{&had}, `SELECT value FROM setting WHERE name = 'domain'`)
	switch {
	case err != nil:
		return err
	case !found:
		_, err := s.exec(ctx, `INSERT INTO setting (name, value) VALUES ('domain', $1)`, domain)
		return err
	case had != domain:
		return fmt.Errorf("%w: %s was made for %q, and the configuration says %q; the domain is part of every address: change it back, or begin a new store",
			ErrDomain, s.dir, had, domain)
	}
	return nil
}

// Dir returns the store's directory, an absolute path, below which the gateway may keep files of its own.
func (s *Store) Dir() string { return s.dir }

// Close lets the units that have begun end and commit, refuses all others with ErrClosed, and closes the store. It waits until
// everything is closed. It is called once.
func (s *Store) Close() error {
	return errors.Join(s.stop(), s.closeFiles())
}

// stop ends the writer and waits for it.
func (s *Store) stop() error {
	close(s.closing)
	<-s.stopped
	return s.checkpoint()
}

func (s *Store) closeFiles() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	for _, db := range []*sql.DB{s.readers, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
