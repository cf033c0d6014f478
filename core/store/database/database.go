// Package database opens the SQL database of a store, SQLite in a directory or PostgreSQL, for one writer and some readers, and hides
// what differs between them. Statements are written for both alike; [Database.Begin], [Database.Commit] and what lies between them
// are the writer's, one goroutine at a time.
//
// # One instance at a time
//
// A lock keeps a second instance out: of the directory by the operating system, of a PostgreSQL database by an advisory lock
// that lives as long as the writer's connection. Besides, each opening writes its name into the table store_owner, and each
// transaction reads it there first, with the row locked until its end. So an instance whose lock was lost, by whatever
// accident, and whose place another has taken, commits nothing any more ([ErrLost]).
package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Errors that a caller decides by. All that a Database returns wraps the one that fits, if one does.
var (
	// ErrLocked: another instance has the database or the directory. The text around it names that instance.
	ErrLocked = errors.New("in use by another mimigate")
	// ErrLost: another instance has taken this one's place. Nothing can be committed until the store is opened anew.
	ErrLost = errors.New("another mimigate has taken over")
	// ErrNewer: a newer version of mimigate has migrated the schema.
	ErrNewer = errors.New("made by a newer mimigate")
	// ErrFull: the disk, a quota or a limit of the database is reached. Make room; it goes on by itself then.
	ErrFull = errors.New("no room left for the database: make room, and it goes on by itself")
	// ErrReadOnly: the database can be read, not written: a file system mounted read-only, a standby.
	ErrReadOnly = errors.New("the database cannot be written: make it writable, and it goes on by itself")
	// ErrBusy: somebody else holds a lock in the database, or it did not answer in time.
	ErrBusy = errors.New("the database is held by somebody else: end what holds it, and it goes on by itself")
	// ErrUnavailable: there is no connection to the database server, or the server is not ready.
	ErrUnavailable = errors.New("the database server cannot be reached")
)

const (
	readerConns = 4
	// patience is how long one attempt to connect may take, and how long somebody else's lock is waited for.
	patience = 5 * time.Second
	// again is how long after a failed attempt to connect the next one is made.
	again = time.Second
)

// Options say which database to open.
type Options struct {
	// Location is a directory, made with mode 0700 if it does not exist, for SQLite; or a postgres:// URL.
	Location string
	// Dir is the directory of the lock where the database is PostgreSQL. For SQLite it is Location.
	Dir string
	// Unsure is called when the server has not said whether the last transaction was committed, and Commit begins to ask; nil: nobody.
	Unsure func(error)
}

// engine is where one database differs from another.
type engine struct {
	// connect returns the writer's connection with the database's lock: the old one where it still works, nil at first. It fails with
	// ErrLocked where another connection has the lock.
	connect func(ctx context.Context, old *sql.Conn) (*sql.Conn, error)
	// statement turns $1, $2, … into the database's own parameters, and arguments into what its columns hold.
	statement func(query string, args []any) (string, []any)
	// begin opens a transaction that may write, and returns the owner.
	begin func(conn *sql.Conn) (owner string, err error)
	// commit commits. nil is certain, and so is an error.
	commit func(ctx context.Context, conn *sql.Conn) error
	// idle cleans up.
	idle func(conn *sql.Conn) error
	// classify returns the error of this package that fits, nil where none does.
	classify func(err error) error
	snapshot string // opens a transaction that reads one state
}

// Database is an open database. Read, Snapshot, Classify and Interrupt are for any goroutine; all else is the writer's.
type Database struct {
	engine  engine
	lock    *os.File
	dir     string
	owner   string // names this opening
	readers *sql.DB
	writer  *sql.DB   // has one connection,
	conn    *sql.Conn // this
	failed  error     // of the last attempt to connect, made at
	tried   time.Time
	lost    error
	ctx     context.Context // ends with Interrupt
	stop    context.CancelFunc
}

// IsURL reports whether a location is that of a database server, and no directory.
func IsURL(location string) bool { return strings.Contains(location, "://") }

// Open opens a database, makes it if need be, and takes its locks. The schema is left to Migrate. It fails with ErrLocked,
// ErrReadOnly, ErrUnavailable or what the file system says; no error quotes a password.
func Open(ctx context.Context, o Options) (_ *Database, err error) {
	if !IsURL(o.Location) {
		o.Dir = o.Location
	}
	d := &Database{owner: rand.Text()}
	if d.dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	if d.lock, err = lockDir(d.dir); err != nil {
		return nil, err
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(d.classify(err), d.Close())
		}
	}()
	if IsURL(o.Location) {
		err = d.openPostgres(o.Location, o.Unsure)
	} else {
		err = d.openSQLite()
	}
	if err != nil {
		return nil, err
	}
	if d.conn, err = d.engine.connect(ctx, nil); err != nil {
		return nil, err
	}
	return d, d.claim(ctx)
}

// claim makes this opening the owner. Whoever was it before commits nothing from then on.
func (d *Database) claim(ctx context.Context) error {
	if _, err := d.conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS store_owner (one BIGINT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, holder TEXT NOT NULL)`); err != nil {
		return err
	}
	query, args := d.engine.statement(`INSERT INTO store_owner (one, owner, holder) VALUES (1, $1, $2)
		ON CONFLICT (one) DO UPDATE SET owner = excluded.owner, holder = excluded.holder`, []any{d.owner, self()})
	_, err := d.conn.ExecContext(ctx, query, args...)
	return err
}

// Dir returns the directory that belongs to the database: an absolute path.
func (d *Database) Dir() string { return d.dir }

// Owner returns the name of this opening.
func (d *Database) Owner() string { return d.owner }

// Begin opens a transaction of the writer. Where the connection was lost it makes another. It fails with ErrLost where another
// instance has taken over.
func (d *Database) Begin() error {
	if d.lost != nil {
		return d.lost
	}
	if err := d.reconnect(); err != nil {
		return d.classify(err)
	}
	owner, err := d.engine.begin(d.conn)
	if err == nil && owner != d.owner {
		d.lost = fmt.Errorf("%w: it is %s; stop one of the two, and start this one again", ErrLost, d.holder())
		err = d.lost
	}
	if err != nil {
		d.Rollback() // whatever state the connection was in, the next transaction finds a clean one
		return d.classify(err)
	}
	return nil
}

func (d *Database) reconnect() error {
	if d.failed != nil && time.Since(d.tried) < again {
		return d.failed
	}
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	defer cancel()
	conn, err := d.engine.connect(ctx, d.conn)
	if errors.Is(err, ErrLocked) {
		d.lost = fmt.Errorf("%w: %w", ErrLost, err)
		err = d.lost
	}
	if d.failed, d.tried = err, time.Now(); err != nil {
		return err
	}
	d.conn = conn
	return nil
}

func (d *Database) holder() string {
	var text string
	if err := d.conn.QueryRowContext(d.ctx, `SELECT holder FROM store_owner`).Scan(&text); err != nil || text == "" {
		return nameless
	}
	return text
}

// Commit ends the transaction, and returns only once it is certain what became of it: nil, and it is on disk; or an error, and nothing
// of it is. Where the connection to a server is lost in the middle, it waits until the server can be asked, or Interrupt is called.
func (d *Database) Commit() error {
	err := d.engine.commit(d.ctx, d.conn)
	if err != nil {
		d.Rollback()
	}
	return d.classify(err)
}

// Rollback undoes the transaction, if there is one.
func (d *Database) Rollback() {
	_, _ = d.conn.ExecContext(context.Background(), "ROLLBACK") // it fails where the database has done so by itself, which is as good
}

// Exec runs a statement of the writer that no context may interrupt: SQLite rolls back the whole transaction when a statement in it is
// interrupted, and that is other people's work too.
func (d *Database) Exec(query string, args ...any) (sql.Result, error) {
	query, args = d.engine.statement(query, args)
	r, err := d.conn.ExecContext(context.Background(), query, args...)
	return r, d.classify(err)
}

// Query is Exec for a statement that returns rows.
func (d *Database) Query(query string, args ...any) (*sql.Rows, error) {
	query, args = d.engine.statement(query, args)
	rows, err := d.conn.QueryContext(context.Background(), query, args...)
	return rows, d.classify(err)
}

// Read reads what was committed last.
func (d *Database) Read(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args = d.engine.statement(query, args)
	rows, err := d.readers.QueryContext(ctx, query, args...)
	return rows, d.classify(err)
}

// Snapshot calls f with a function that reads, whatever is committed meanwhile, one state of the database.
func (d *Database) Snapshot(ctx context.Context, f func(read func(query string, args ...any) (*sql.Rows, error)) error) (err error) {
	conn, err := d.readers.Conn(ctx)
	if err != nil {
		return d.classify(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, d.engine.snapshot); err != nil {
		return d.classify(err)
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") }() // nothing was written
	return f(func(query string, args ...any) (*sql.Rows, error) {
		query, args = d.engine.statement(query, args)
		rows, err := conn.QueryContext(ctx, query, args...)
		return rows, d.classify(err)
	})
}

// Idle cleans up while nobody waits. No transaction is open.
func (d *Database) Idle() error {
	if d.lost != nil || d.failed != nil {
		return nil
	}
	return d.classify(d.engine.idle(d.conn))
}

// Interrupt ends a Commit that waits for a server to come back; the store is closing.
func (d *Database) Interrupt() { d.stop() }

// Close closes the database and gives the locks back.
func (d *Database) Close() error {
	d.stop()
	var errs []error
	if d.conn != nil {
		if err := d.conn.Close(); !errors.Is(err, sql.ErrConnDone) { // as a lost one is
			errs = append(errs, err)
		}
	}
	for _, db := range []*sql.DB{d.readers, d.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

// classify puts the error of this package that fits before an error of the database.
func (d *Database) classify(err error) error {
	if err == nil || d.engine.classify == nil {
		return err
	}
	for _, known := range []error{ErrLocked, ErrLost, ErrFull, ErrReadOnly, ErrBusy, ErrUnavailable, context.Canceled} {
		if errors.Is(err, known) {
			return err
		}
	}
	if kind := d.engine.classify(err); kind != nil {
		return fmt.Errorf("%w (%w)", kind, err)
	}
	return err
}

// Classify returns err with the error of this package that fits, such as for what the rows of a query end with.
func (d *Database) Classify(err error) error { return d.classify(err) }
