//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/mattn/go-sqlite3"
	signallog "go.mau.fi/libsignal/logger"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waWa6"
	wastore "go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"

	"mimigate/core/adapter"
)

// deviceFile is the device store in the account's directory: the keys of this link, Signal sessions, what was decrypted and not yet
// taken. It is a file of its own, as the library writes it when it likes; backups include it.
const deviceFile = "whatsapp.db"

// device is the device store, open.
type device struct {
	lab       Lab
	log       logger
	container *sqlstore.Container
	store     *wastore.Device // its ID is nil while the account is not linked
	ratchets  *ratchets
}

func openDevice(ctx context.Context, account adapter.Account, lab Lab) (*device, error) {
	quiet()
	if err := os.MkdirAll(account.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("device store: %w", err)
	}
	if err := forgetRestored(ctx, account.Dir); err != nil {
		return nil, fmt.Errorf("device store: %w", redacted(err))
	}
	options := "?_foreign_keys=on&_journal_mode=WAL&_synchronous=FULL&_secure_delete=on&_busy_timeout=10000&_txlock=immediate"
	if lab.Hasty {
		options = "?_foreign_keys=on&_journal_mode=WAL&_synchronous=OFF&_busy_timeout=10000&_txlock=immediate"
	}
	d := &device{lab: lab, log: logger{account.Log}, ratchets: newRatchets()}
	var err error
	db := sql.OpenDB(database("file:" + filepath.Join(account.Dir, deviceFile) + options))
	d.container = sqlstore.NewWithDB(db, "sqlite3", d.log)
	if err = d.container.Upgrade(ctx); err == nil {
		d.store, err = d.container.GetFirstDevice(ctx)
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("device store: %w", redacted(err))
	}
	d.ratchets.guard(d.store)
	return d, nil
}

// database connects to a file of SQLite, without a name for the driver, which would be the process's only one.
type database string

// Connect implements driver.Connector.
func (d database) Connect(context.Context) (driver.Conn, error) { return d.Driver().Open(string(d)) }

// Driver implements driver.Connector.
func (d database) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

func (d *device) close() {
	if err := d.container.Close(); err != nil {
		d.log.Warn("the device store did not close", "error", redacted(err))
	}
}

// client returns a client that leaves reconnecting to Run, and acknowledges what its event handlers have taken.
func (d *device) client() *whatsmeow.Client {
	cli := whatsmeow.NewClient(d.store, d.log)
	cli.EnableAutoReconnect = false
	cli.SynchronousAck = true
	cli.EnableDecryptedEventBuffer = true
	cli.UseRetryMessageStore = true        // a phone that could not decrypt a message gets it again also after a restart
	cli.ManualHistorySyncDownload = true   // no history is fetched
	cli.DisableLoginAutoReconnect = true   // Run makes the first connection of a new link like every other
	cli.GetClientPayload = d.clientPayload // as what the phone lists us
	if d.lab.Transport != nil {
		h := &http.Client{Transport: d.lab.Transport}
		cli.SetPreLoginHTTPClient(h)
		cli.SetWebsocketHTTPClient(h)
		cli.SetMediaHTTPClient(h)
	}
	return cli
}

// clientPayload is the library's, but for the name that the phone shows among its linked devices.
func (d *device) clientPayload() *waWa6.ClientPayload {
	payload := d.store.GetClientPayload()
	if payload.DevicePairingData != nil {
		props := proto.CloneOf(wastore.DeviceProps)
		props.Os = proto.String("mimigate")
		if raw, err := proto.Marshal(props); err == nil {
			payload.DevicePairingData.DeviceProps = raw
		}
	}
	return payload
}

// logger is the library's log in ours: what it calls info is detail to us, its details (whole stanzas) are left out, and so are
// numbers, which may be people's.
type logger struct{ *slog.Logger }

var _ waLog.Logger = logger{}

// Debugf implements waLog.Logger.
func (logger) Debugf(string, ...any) {}

// Infof implements waLog.Logger.
func (l logger) Infof(msg string, args ...any) { l.Debug(redact(fmt.Sprintf(msg, args...))) }

// Warnf implements waLog.Logger.
func (l logger) Warnf(msg string, args ...any) { l.Warn(redact(fmt.Sprintf(msg, args...))) }

// Errorf implements waLog.Logger.
func (l logger) Errorf(msg string, args ...any) { l.Error(redact(fmt.Sprintf(msg, args...))) }

// Sub implements waLog.Logger.
func (l logger) Sub(string) waLog.Logger { return l }

// quiet keeps the Signal library, which has one log for the whole process, from printing to the standard output. What it fails at is an
// error that is logged anyway.
var quiet = sync.OnceFunc(func() {
	var none signallog.Loggable = silence{}
	signallog.Setup(&none)
})

// silence implements the Signal library's log.
type silence struct{}

func (silence) Debug(string, string)   {}
func (silence) Info(string, string)    {}
func (silence) Warning(string, string) {}
func (silence) Error(string, string)   {}
func (silence) Configure(string)       {}

var numbers = regexp.MustCompile(`\d{6,}`)

// redact leaves out long numbers: those of phones, LIDs and groups.
func redact(s string) string { return numbers.ReplaceAllString(s, "…") }

// redactedError is an error whose text has no long numbers.
type redactedError struct{ err error }

func redacted(err error) error {
	if err == nil {
		return nil
	}
	return redactedError{err}
}

func (e redactedError) Error() string { return redact(e.err.Error()) }
func (e redactedError) Unwrap() error { return e.err }
