package work

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// batchMax is how many units share a transaction at most, so that the first of a flood need not wait for its end.
	batchMax = 256
	// idleAfter is how long the writer waits for more work before it empties the write-ahead log, in which deleted secrets
	// would otherwise stay.
	idleAfter = time.Second
)

var (
	// ErrOver: the unit has ended.
	ErrOver = errors.New("store: the unit of work in this context has ended")
	// ErrReading: the rows of a query are not read yet.
	ErrReading = errors.New("store: another statement while the rows of a query are read")
)

// unit is one unit of work. But for over, only the holder of the turn touches it.
type unit struct {
	store      *Work
	turn       chan struct{} // closed by the caller when its turn ends
	done       chan error    // what became of the transaction; buffered, sent to only where kept
	over       atomic.Bool
	kept       bool  // ran without an error
	failed     error // a statement failed: nothing more runs until the savepoint before it is rolled back to
	reading    bool  // rows of a query are open
	onCommit   []func()
	onRollback []func()
}

// unitKey finds the unit of one store in a context: several stores live in one process.
type unitKey struct{ store *Work }

func (w *Work) unit(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{w}).(*unit)
	return u
}

// Do runs fn as one unit of work, in this goroutine, with a context that carries the unit. Where fn returns nil, Do returns nil
// after the commit; otherwise everything fn did in the store is undone and Do returns fn's error. Where the commit itself
// fails, nothing was done, and Do returns why; the unit may be run again (rule vi). Do fails with ErrClosed, and with the
// context's error where ctx ends before the unit's turn.
//
// Within a unit of this store, Do runs fn as a part of that unit: if fn fails, only what fn did is undone, and the rest
// may still be committed.
//
// An error of any statement fails the part that it is in, even if fn drops the error, on every database alike. fn must not use its
// context after it has returned, nor in other goroutines at the same time. Do not call Do while holding a lock that a unit takes.
func (w *Work) Do(ctx context.Context, fn func(context.Context) error) error {
	if u := w.unit(ctx); u != nil {
		return u.part(ctx, fn)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	u := &unit{store: w, turn: make(chan struct{}), done: make(chan error, 1)}
	select {
	case w.queue <- u:
	case <-ctx.Done():
		return fmt.Errorf("store: waiting for a turn: %w", ctx.Err())
	case <-w.closing:
		return ErrClosed
	}
	if err := u.run(ctx, fn); err != nil {
		return err
	}
	if err := <-u.done; err != nil {
		return err
	}
	for _, f := range u.onCommit {
		f()
	}
	return nil
}

// OnCommit calls f after ctx's unit has been committed, in the goroutine of the outermost Do and before that returns. If the unit, or
// the part of it that OnCommit was called in, is undone, f is not called. Without a unit there is nothing to wait for:
// f is called at once.
func (w *Work) OnCommit(ctx context.Context, f func()) {
	if u := w.unit(ctx); u != nil {
		u.onCommit = append(u.onCommit, f)
		return
	}
	f()
}

// OnRollback calls f if ctx's unit, or the part of it that OnRollback was called in, is undone. What was registered last is called
// first, and all are called before any later unit has its turn, so that a later unit never builds on memory that
// the disk does not hold (rule ii). f must be quick, must not use the store, and must take no lock that is held around Do.
// Without a unit, f is never called.
func (w *Work) OnRollback(ctx context.Context, f func()) {
	if u := w.unit(ctx); u != nil {
		u.onRollback = append(u.onRollback, f)
	}
}

// run is the unit's turn. It returns nil where the unit is kept, and then the outcome comes through done.
func (u *unit) run(ctx context.Context, fn func(context.Context) error) error {
	defer func() {
		u.over.Store(true)
		close(u.turn)
	}()
	if err := u.store.begin(); err != nil {
		return err
	}
	err := u.part(context.WithValue(ctx, unitKey{u.store}, u), fn)
	u.kept = err == nil
	return err
}

// part runs fn behind a savepoint, which is rolled back to if fn fails, panics or ends its goroutine.
func (u *unit) part(ctx context.Context, fn func(context.Context) error) error {
	if _, err := u.exec(ctx, "SAVEPOINT part"); err != nil {
		return err
	}
	commits, rollbacks := len(u.onCommit), len(u.onRollback)
	kept := false
	defer func() {
		if !kept {
			u.undo(commits, rollbacks)
		}
	}()
	err := fn(ctx)
	if err == nil {
		err = u.failed
	}
	if err == nil {
		// Not u.exec: it would refuse after ctx has ended, and fn has done its work.
		_, err = u.store.db.Exec("RELEASE part")
	}
	kept = err == nil
	return err
}

// undo rolls back to the innermost savepoint, and memory with it.
func (u *unit) undo(commits, rollbacks int) {
	if _, err := u.store.db.Exec("ROLLBACK TO part; RELEASE part"); err != nil {
		// After some errors (disk full, I/O) SQLite has rolled back the whole transaction by itself.
		u.store.broken = errors.Join(u.failed, err)
	}
	u.failed, u.reading = nil, false
	u.onCommit = u.onCommit[:commits]
	u.rollback(rollbacks)
}

// rollback calls the hooks registered since the first n, last first.
func (u *unit) rollback(n int) {
	for i := len(u.onRollback) - 1; i >= n; i-- {
		u.onRollback[i]()
	}
	u.onRollback = u.onRollback[:n]
}

// write is the writer: it gives turns until the store closes.
func (w *Work) write() {
	defer close(w.stopped)
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case u := <-w.queue:
			w.batch(u)
			idle.Reset(idleAfter)
		case <-idle.C:
			if err := w.db.Idle(); err != nil {
				w.log.Warn("store: the write-ahead log could not be emptied", "error", err)
			}
			if w.Health() != nil {
				w.try()
				idle.Reset(idleAfter)
			}
		case <-w.closing:
			return
		}
	}
}

// batch runs one transaction: the unit u, which has its turn, and those that wait after it.
func (w *Work) batch(u *unit) {
	began := time.Now()
	var kept []*unit
	for n := 1; u != nil; n++ {
		<-u.turn
		if u.kept {
			kept = append(kept, u)
		}
		if u = nil; n < batchMax && w.broken == nil {
			u = w.next()
		}
	}
	err := w.end(len(kept) > 0)
	if w.observe != nil && err == nil && len(kept) > 0 {
		w.observe(len(kept), time.Since(began))
	}
	if err != nil {
		for i := len(kept) - 1; i >= 0; i-- {
			kept[i].rollback(0)
		}
	}
	for _, u := range kept {
		u.done <- err
	}
}

// next returns the next waiting unit, whose turn it then is, or nil. It lets callers run that were just told of the commit before,
// as they often have more.
func (w *Work) next() *unit {
	for range 2 {
		select {
		case u := <-w.queue:
			return u
		default:
			runtime.Gosched()
		}
	}
	return nil
}

// begin opens the batch's transaction, if it is not open.
func (w *Work) begin() error {
	if w.open {
		return nil
	}
	w.busy.Store(time.Now().UnixNano())
	if err := w.db.Begin(); err != nil {
		w.busy.Store(0)
		err = fmt.Errorf("store: begin: %w", err)
		w.Note(err)
		return err
	}
	w.open = true
	return nil
}

// end commits the batch's transaction, or rolls it back where it is lost or empty.
func (w *Work) end(keep bool) error {
	if !w.open {
		return nil
	}
	defer w.busy.Store(0)
	err := w.broken
	w.open, w.broken = false, nil
	if err != nil || !keep {
		w.db.Rollback()
	} else if err = w.db.Commit(); err == nil {
		w.well()
	}
	if err != nil {
		err = fmt.Errorf("store: not committed: %w", err)
		w.Note(err)
	}
	return err
}

// try writes a little, to see whether a database that failed is well again: who asks Health need not wait for the next unit.
func (w *Work) try() {
	if w.begin() != nil {
		return
	}
	_, err := w.db.Exec(`UPDATE store_owner SET holder = holder`)
	w.broken = err
	_ = w.end(true) // noted
}
