package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

// dialect is where one database differs from another. Everything else is written for all of them.
type dialect struct {
	begin   string                    // opens a transaction that may write
	rewrite func(query string) string // turns $1, $2, … into the database's own parameters
}

// sqlite numbers parameters with a question mark; no statement of ours has a dollar sign in another place.
var sqlite = dialect{
	begin:   "BEGIN IMMEDIATE",
	rewrite: func(query string) string { return strings.ReplaceAll(query, "$", "?") },
}

const (
	databaseFile = "mimigate.db"
	readerConns  = 4
)

// settings are those of every connection: a journal that lets readers go on while the writer writes; commits that survive
// a loss of power; deleted secrets overwritten, in the log too as soon as it starts over; and prepared statements kept.
const settings = "_journal_mode=WAL&_synchronous=FULL&_secure_delete=on&_foreign_keys=on&_busy_timeout=5000&_stmt_cache_size=200"

// connect opens the database file with one connection for the writer and some for readers.
func (s *Store) connect(ctx context.Context) error {
	path := filepath.Join(s.dir, databaseFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable by others
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings
	if s.writer, err = sql.Open("sqlite3", dsn); err != nil {
		return err
	}
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return err
	}
	var mode string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("no write-ahead log on this file system (journal_mode=%s)", mode)
	}
	if _, err := s.control("PRAGMA journal_size_limit = 0"); err != nil {
		return err
	}
	if s.readers, err = sql.Open("sqlite3", dsn+"&_query_only=on"); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(readerConns)
	s.readers.SetMaxIdleConns(readerConns)
	return nil
}

// checkpoint moves the write-ahead log into the database and cuts it to nothing. Where a reader is in the way, it is left for
// the next time.
func (s *Store) checkpoint() error {
	if !s.dirty {
		return nil
	}
	// Waiting for a reader here would hold up the units.
	if _, err := s.control("PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	var busy, frames, moved int
	err := s.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	s.dirty = err != nil || busy != 0
	_, restore := s.control("PRAGMA busy_timeout = 5000")
	return errors.Join(err, restore)
}
