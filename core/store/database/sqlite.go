package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// File is the name of the SQLite database in its directory. Its log lies beside it, with "-wal" and "-shm" added to the name.
const File = "mimigate.db"

// settings are those of every connection: a journal that lets readers go on while the writer writes; commits that survive
// a loss of power; deleted secrets overwritten, in the log too as soon as it starts over; and prepared statements kept.
const settings = "_journal_mode=WAL&_synchronous=FULL&_secure_delete=on&_foreign_keys=on&_busy_timeout=5000&_stmt_cache_size=200"

// lite is SQLite.
type lite struct {
	db    *sql.DB
	dirty bool // committed since the log was emptied
}

func (d *Database) openSQLite() (err error) {
	path := filepath.Join(d.dir, File)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable by others
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings
	if d.writer, err = sql.Open("sqlite3", dsn); err != nil {
		return err
	}
	e := &lite{db: d.writer}
	d.engine = engine{connect: e.connect, statement: e.statement, begin: e.begin, commit: e.commit, idle: e.idle, classify: e.classify, snapshot: "BEGIN"}
	if d.readers, err = sql.Open("sqlite3", dsn+"&_query_only=on"); err != nil {
		return err
	}
	d.readers.SetMaxOpenConns(readerConns)
	d.readers.SetMaxIdleConns(readerConns)
	return nil
}

func (e *lite) connect(ctx context.Context, old *sql.Conn) (*sql.Conn, error) {
	if old != nil {
		return old, nil
	}
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var mode string
	err = conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	if err == nil && mode != "wal" {
		err = fmt.Errorf("no write-ahead log on this file system (journal_mode=%s)", mode)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "PRAGMA journal_size_limit = 0")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// statement: SQLite numbers parameters with a question mark; no statement of ours has a dollar sign in another place.
func (*lite) statement(query string, args []any) (string, []any) {
	return strings.ReplaceAll(query, "$", "?"), args
}

func (*lite) begin(conn *sql.Conn) (owner string, err error) {
	if _, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		return "", err
	}
	return owner, conn.QueryRowContext(context.Background(), "SELECT owner FROM store_owner").Scan(&owner)
}

func (e *lite) commit(_ context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(context.Background(), "COMMIT")
	e.dirty = e.dirty || err == nil
	return err
}

// idle moves the write-ahead log into the database and cuts it to nothing. Where a reader is in the way, it is left for the next
// time.
func (e *lite) idle(conn *sql.Conn) error {
	if !e.dirty {
		return nil
	}
	ctx := context.Background()
	// Waiting for a reader here would hold up the units.
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	var busy, frames, moved int
	err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	e.dirty = err != nil || busy != 0
	_, restore := conn.ExecContext(ctx, "PRAGMA busy_timeout = 5000")
	return errors.Join(err, restore)
}

func (*lite) classify(err error) error {
	var told sqlite3.Error
	if !errors.As(err, &told) {
		return nil
	}
	switch told.Code {
	case sqlite3.ErrFull:
		return ErrFull
	case sqlite3.ErrReadonly, sqlite3.ErrPerm:
		return ErrReadOnly
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return ErrBusy
	case sqlite3.ErrIoErr, sqlite3.ErrCantOpen:
		switch told.SystemErrno {
		case syscall.ENOSPC, syscall.EDQUOT:
			return ErrFull
		case syscall.EROFS:
			return ErrReadOnly
		}
	}
	return nil
}

// sqliteMagic is what every SQLite file begins with (SQLite file format §1.3).
const sqliteMagic = "SQLite format 3\x00"

// IsSQLite reports whether a file is a SQLite database.
func IsSQLite(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(sqliteMagic))
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return string(head[:n]) == sqliteMagic, nil
}

// CopySQLite writes one state of a SQLite database that others may be using to a file that is not there yet.
func CopySQLite(ctx context.Context, from, to string) (err error) {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: from}).EscapedPath()+"?_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return err
}
