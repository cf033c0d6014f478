// Package work runs units of work on a database: the writer, which gives each its turn and commits many at once, and the statements of a
// unit. See package store for what a unit is.
package work

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mimigate/core/store/database"
)

// ErrClosed: the store is closing or closed; nothing of the unit was done.
var ErrClosed = errors.New("store: closed")

// slowAfter is how long a transaction may take before Health tells.
const slowAfter = 3 * time.Second

// Work is the work on one database. Its methods may be called from several goroutines.
type Work struct {
	db      *database.Database
	log     *slog.Logger
	health  atomic.Pointer[error]
	busy    atomic.Int64                        // Unix nanoseconds at which the open transaction began, 0 for none
	lost    chan struct{}                       // closed when another instance has taken over,
	once    sync.Once                           // here
	observe func(units int, took time.Duration) // nil: nobody

	queue   chan *unit    // unbuffered: who has sent has the turn
	closing chan struct{} // closed by Stop
	stopped chan struct{} // closed by the writer

	// The rest is touched only by who has the turn, or by the writer between turns.
	open   bool  // a transaction has begun
	broken error // the transaction is lost: nothing in it can be committed
}

// New returns work that waits for Start. observe hears of each transaction, how many units it had and how long it took; nil: nobody.
func New(log *slog.Logger, observe func(units int, took time.Duration)) *Work {
	return &Work{log: log, observe: observe, lost: make(chan struct{}), queue: make(chan *unit), closing: make(chan struct{}), stopped: make(chan struct{})}
}

// Start begins to give turns. It is called once, and ended by Stop.
func (w *Work) Start(db *database.Database) {
	w.db = db
	go w.write() // ends by Stop
}

// Closing is closed when Stop was called.
func (w *Work) Closing() <-chan struct{} { return w.closing }

// Stop lets the units that have begun end and commit, refuses all others with ErrClosed, and waits for the writer. The database stays
// open. It is called once.
func (w *Work) Stop() error {
	close(w.closing)
	w.db.Interrupt()
	<-w.stopped
	return w.db.Idle()
}

// Health returns what is wrong with the database: an error that wraps one of those of package database, and says what to
// do, or nil. All but database.ErrLost end by themselves, within seconds of when the reason for them does.
func (w *Work) Health() error {
	if err := w.health.Load(); err != nil {
		return *err
	}
	if began := w.busy.Load(); began != 0 {
		if d := time.Since(time.Unix(0, began)); d > slowAfter {
			return fmt.Errorf("store: %w (no answer for %v)", database.ErrBusy, d.Round(time.Second))
		}
	}
	return nil
}

// Lost is closed when another instance has taken over: nothing will be committed here any more.
func (w *Work) Lost() <-chan struct{} { return w.lost }

// Note keeps what a failure says about the database.
func (w *Work) Note(err error) {
	if errors.Is(err, database.ErrLost) {
		w.once.Do(func() { close(w.lost) })
	}
	for _, known := range []error{database.ErrLost, database.ErrFull, database.ErrReadOnly, database.ErrBusy, database.ErrUnavailable} {
		if errors.Is(err, known) {
			if w.health.Swap(&err) == nil {
				w.log.Error("store: the database does not take what is to be stored", "error", err)
			}
			return
		}
	}
}

// well keeps that the database has taken something.
func (w *Work) well() {
	if w.health.Swap(nil) != nil {
		w.log.Info("store: the database takes what is to be stored again")
	}
}
