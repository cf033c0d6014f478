package work

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Statements are written for PostgreSQL and SQLite alike: parameters are $1, $2, …; "INSERT … ON CONFLICT" and RETURNING are
// known to both. Columns are BIGINT (also for times, in Unix milliseconds, and for truth values, 0 or 1), TEXT or BYTEA.
// An argument that is a nil []byte is NULL.

// Exec runs a statement and returns how many rows it changed: in ctx's unit, or else in one of its own.
func (w *Work) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if u := w.unit(ctx); u != nil {
		return u.exec(ctx, query, args...)
	}
	var n int64
	err := w.Do(ctx, func(ctx context.Context) error {
		var err error
		n, err = w.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// Query calls each for every row of a query: in ctx's unit, or else on what was committed last. each must not use the store.
func (w *Work) Query(ctx context.Context, each func(scan func(dest ...any) error) error, query string, args ...any) error {
	u := w.unit(ctx)
	if u == nil {
		rows, err := w.db.Read(ctx, query, args...)
		if err != nil {
			return w.readError(err)
		}
		readErr, eachErr := ReadRows(rows, each)
		if readErr != nil {
			return w.readError(readErr)
		}
		return eachErr
	}
	if err := u.ready(ctx); err != nil {
		return err
	}
	rows, err := w.db.Query(query, args...)
	if err != nil {
		return u.fail(err)
	}
	u.reading = true
	readErr, eachErr := ReadRows(rows, each)
	u.reading = false
	if readErr != nil {
		return u.fail(readErr)
	}
	return eachErr
}

// ReadRows reads rows to their end, and tells errors of the database from those of each.
func ReadRows(rows *sql.Rows, each func(scan func(dest ...any) error) error) (readErr, eachErr error) {
	defer func() { readErr = errors.Join(readErr, rows.Close()) }()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return nil, err
		}
	}
	return rows.Err(), nil
}

// Get reads the first row of a query into dest, and reports whether there is one.
func (w *Work) Get(ctx context.Context, dest []any, query string, args ...any) (bool, error) {
	found := false
	err := w.Query(ctx, func(scan func(dest ...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	}, query, args...)
	return found, err
}

func (w *Work) readError(err error) error {
	select {
	case <-w.closing:
		return ErrClosed
	default:
		return fmt.Errorf("store: %w", w.db.Classify(err))
	}
}

// ready says why the unit cannot run a statement now.
func (u *unit) ready(ctx context.Context) error {
	switch {
	case u.over.Load():
		return ErrOver
	case u.store.broken != nil:
		return u.store.broken // any more would run outside the lost transaction
	case u.failed != nil:
		return u.failed
	case u.reading:
		return u.fail(ErrReading)
	case ctx.Err() != nil:
		return u.fail(ctx.Err())
	}
	return nil
}

// fail records an error of a statement: the unit, or the part of it, cannot be kept.
func (u *unit) fail(err error) error {
	u.failed = fmt.Errorf("store: %w", u.store.db.Classify(err))
	u.store.Note(u.failed)
	return u.failed
}

func (u *unit) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := u.ready(ctx); err != nil {
		return 0, err
	}
	res, err := u.store.db.Exec(query, args...)
	if err != nil {
		return 0, u.fail(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, u.fail(err)
	}
	return n, nil
}
