package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// OldestPostgres is the oldest major version of PostgreSQL that serves: pg_xact_status, INSERT … ON CONFLICT and the rest are in it.
const OldestPostgres = 13

// sessions are settings of every connection, where the URL does not say otherwise: commits that survive a loss of power, and a
// connection whose other end is gone given up within a minute, on the server too, which then gives the lock back.
var sessions = map[string]string{
	"application_name": "mimigate", "client_min_messages": "warning", "synchronous_commit": "on",
	"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
}

// released is how long the server may take to see that an instance that was killed is gone.
const released = 2 * time.Second

// theLock is the advisory lock of a store: one for each schema of a database.
const theLock = `hashtextextended('mimigate ' || current_schema(), 0)`

// post is PostgreSQL.
type post struct {
	db      *sql.DB // of the writer
	readers *sql.DB
	owner   string
	xid     string // of the transaction
	unsure  func(error)
}

func (d *Database) openPostgres(location string, unsure func(error)) error {
	config, err := pgx.ParseConfig(location)
	if err != nil {
		return fmt.Errorf("not the URL of a PostgreSQL database: %w", err) // pgx takes passwords out
	}
	config.ConnectTimeout = patience
	config.DialFunc = dialer().DialContext
	for name, value := range sessions {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
	d.writer = stdlib.OpenDB(*config)
	reading := config.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	d.readers = stdlib.OpenDB(*reading)
	d.readers.SetMaxOpenConns(readerConns)
	d.readers.SetMaxIdleConns(readerConns)
	e := &post{db: d.writer, readers: d.readers, owner: d.owner, unsure: unsure}
	d.engine = engine{connect: e.connect, statement: e.statement, begin: e.begin, commit: e.commit, idle: e.idle, classify: e.classify,
		snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	return nil
}

// dialer makes connections whose other end is given up within a minute when it is gone without a word.
func dialer() *net.Dialer {
	return &net.Dialer{Timeout: patience,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 3}, Control: giveUp}
}

// raw gives the driver's connection to f; it fails where there is none any more.
func raw(conn *sql.Conn, f func(*pgx.Conn) error) error {
	return conn.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok || c.Conn().IsClosed() {
			return fmt.Errorf("%w: the connection is closed", ErrUnavailable)
		}
		return f(c.Conn())
	})
}

func (e *post) connect(ctx context.Context, old *sql.Conn) (*sql.Conn, error) {
	if old != nil {
		if raw(old, func(*pgx.Conn) error { return nil }) == nil {
			return old, nil
		}
		_ = old.Close() // it is lost
	}
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	err = e.take(ctx, conn)
	for end := time.Now().Add(released); old == nil && errors.Is(err, ErrLocked) && time.Now().Before(end); err = e.take(ctx, conn) {
		select {
		case <-time.After(released / 20):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), conn.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// take takes the lock, which the server gives back when the connection ends.
func (e *post) take(ctx context.Context, conn *sql.Conn) error {
	var version int
	if err := conn.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return err
	}
	if version/10000 < OldestPostgres {
		return fmt.Errorf("this is PostgreSQL %d; %d or newer is needed", version/10000, OldestPostgres)
	}
	var taken sql.NullBool
	if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(`+theLock+`)`).Scan(&taken); err != nil {
		return err
	}
	if !taken.Valid {
		return errors.New("the schema of its search_path does not exist: create it, or leave search_path out")
	}
	if taken.Bool {
		return nil
	}
	var owner, holder string
	if err := conn.QueryRowContext(ctx, `SELECT owner, holder FROM store_owner`).Scan(&owner, &holder); err != nil {
		holder = nameless // it is just being made
	}
	if owner == e.owner {
		return fmt.Errorf("%w: the server has not noticed yet that the former connection has ended", ErrUnavailable)
	}
	return fmt.Errorf("%w: the database is held by %s; stop that one, or give this one a database of its own", ErrLocked, holder)
}

// statement: TEXT of PostgreSQL holds neither invalid UTF-8 nor NUL, and what has them comes from outside.
func (*post) statement(query string, args []any) (string, []any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return query, args
}

func (e *post) begin(conn *sql.Conn) (owner string, err error) {
	if _, err := conn.ExecContext(context.Background(), "BEGIN"); err != nil {
		return "", err
	}
	return owner, conn.QueryRowContext(context.Background(), "SELECT owner, pg_current_xact_id()::text FROM store_owner FOR UPDATE").Scan(&owner, &e.xid)
}

func (e *post) commit(ctx context.Context, conn *sql.Conn) error {
	// The COMMIT of a transaction that has failed is a rollback, and no error.
	if err := raw(conn, func(c *pgx.Conn) error {
		if status := c.PgConn().TxStatus(); status != 'T' {
			return fmt.Errorf("the transaction is in state %q", status)
		}
		return nil
	}); err != nil {
		return err
	}
	_, err := conn.ExecContext(context.Background(), "COMMIT")
	if err == nil {
		return nil
	}
	var told *pgconn.PgError
	if errors.As(err, &told) && !strings.HasPrefix(told.Code, "57P") {
		return err // the server says that it did not
	}
	if e.unsure != nil {
		e.unsure(fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	committed, askErr := e.outcome(ctx)
	if committed {
		return nil
	}
	return errors.Join(err, askErr)
}

// outcome asks, on another connection, what became of a transaction whose COMMIT was not answered.
func (e *post) outcome(ctx context.Context) (committed bool, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := e.ask(ctx)
		var told *pgconn.PgError
		switch {
		case err == nil && status != "in progress":
			return status == "committed", nil
		case errors.As(err, &told) && told.Code == "22023": // a transaction number that the server has not come to
			return false, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, errors.New("closed before the server could say whether the last transaction was committed")
		}
	}
}

func (e *post) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var status sql.NullString
	err := e.readers.QueryRowContext(ctx, `SELECT pg_xact_status($1::text::xid8)`, e.xid).Scan(&status)
	return status.String, err
}

// idle has nothing to do: the server cleans up by itself.
func (*post) idle(*sql.Conn) error { return nil }

func (*post) classify(err error) error {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return classOf(told.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, sql.ErrConnDone), pgconn.SafeToRetry(err), pgconn.Timeout(err),
		strings.HasSuffix(err.Error(), "unexpected EOF"), strings.HasSuffix(err.Error(), "conn closed"), strings.Contains(err.Error(), "bad connection"):
		return ErrUnavailable
	}
	return nil
}

// classOf tells what an SQLSTATE means (PostgreSQL documentation, appendix A).
func classOf(code string) error {
	switch code {
	case "53100", "53200", "53400": // disk_full, out_of_memory, configuration_limit_exceeded
		return ErrFull
	case "25006": // read_only_sql_transaction
		return ErrReadOnly
	case "55P03", "57014", "40001", "40P01": // lock_not_available, query_canceled, serialization_failure, deadlock_detected
		return ErrBusy
	case "53300", "57P01", "57P02", "57P03", "57P05": // too_many_connections, shutdowns, cannot_connect_now, idle_session_timeout
		return ErrUnavailable
	}
	if strings.HasPrefix(code, "08") { // connection exceptions
		return ErrUnavailable
	}
	return nil
}
