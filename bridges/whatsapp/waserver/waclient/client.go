//go:build !nowhatsapp

// Package waclient is the whatsmeow clients of tests: each keeps the events it gets, for the test to wait for, and what it
// complains about in its log.
package waclient

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"
)

// Client is a whatsmeow client of a test. It keeps all its events for those who wait for them.
type Client struct {
	*whatsmeow.Client
	log     *logger
	sending sync.Mutex

	mu      sync.Mutex
	events  []any
	changed chan struct{}
}

// New makes a client, which ends with the test. hook points it to its server; prepare, which may be nil, is given the device
// before the client has it, and its store.
func New(t testing.TB, hook func(*whatsmeow.Client), prepare func(*store.Device)) *Client {
	t.Helper()
	c := &Client{log: &logger{}, changed: make(chan struct{})}
	dsn := "file:" + filepath.Join(t.TempDir(), "client.db") + "?_foreign_keys=on&_sync=0&_journal=MEMORY&_busy_timeout=10000&_txlock=immediate"
	container := sqlstore.NewWithDB(sql.OpenDB(database(dsn)), "sqlite3", c.log)
	if err := container.Upgrade(t.Context()); err != nil {
		t.Fatalf("waclient: store: %v", err)
	}
	device := container.NewDevice()
	if prepare != nil {
		prepare(device)
	}
	c.Client = whatsmeow.NewClient(device, c.log)
	c.EnableDecryptedEventBuffer = true   // what comes again is known again, as apps know it
	c.EmitAppStateEventsOnFullSync = true // whatsmeow takes a collection's first version for one
	hook(c.Client)
	c.AddEventHandler(c.took)
	t.Cleanup(func() {
		c.Disconnect()
		if t.Failed() {
			for _, line := range c.Complaints() {
				t.Logf("%s: %s", device.PushName, line)
			}
		}
		_ = container.Close() // whatsmeow's own goroutines may still be at it, and then complain to nobody
	})
	return c
}

// database is a SQLite database by its data source name. It implements driver.Connector.
type database string

// Connect implements driver.Connector.
func (d database) Connect(context.Context) (driver.Conn, error) { return d.Driver().Open(string(d)) }

// Driver implements driver.Connector.
func (d database) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

// took keeps an event.
func (c *Client) took(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, event)
	close(c.changed)
	c.changed = make(chan struct{})
}

// Complaints returns what the client logged as a warning or an error.
func (c *Client) Complaints() []string {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return slices.Clone(c.log.lines)
}

// Complain adds to what the client complained about.
func (c *Client) Complain(format string, args ...any) { c.log.Errorf(format, args...) }

// Login connects a client that is linked, and waits until it is logged in.
func (c *Client) Login(t testing.TB) {
	t.Helper()
	if err := c.Connect(); err != nil {
		t.Fatalf("waclient: connect: %v", err)
	}
	Wait[*events.Connected](t, c, nil)
}

// patience is how long a test waits for something that should happen at once.
const patience = 30 * time.Second

// Wait waits for an event of type E that ok accepts (nil: any), and takes it out of those kept: of events that came before,
// the first is found too.
func Wait[E any](t testing.TB, c *Client, ok func(E) bool) E {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		changed := c.changed
		for i, event := range c.events {
			if e, is := event.(E); is && (ok == nil || ok(e)) {
				c.events = slices.Delete(c.events, i, i+1)
				c.mu.Unlock()
				return e
			}
		}
		c.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waclient: waited %v in vain for a %T; what came: %s", patience, *new(E), c.kinds())
		}
	}
}

// kinds names the kept events.
func (c *Client) kinds() string {
	var list []string
	for _, e := range Kept[any](c) {
		if m, ok := e.(*events.Message); ok {
			e = fmt.Sprintf("message %q", Text(m))
		} else {
			e = fmt.Sprintf("%T", e)
		}
		list = append(list, e.(string))
	}
	return strings.Join(list, ", ")
}

// Kept returns the events of type E that nobody has waited for, oldest first.
func Kept[E any](c *Client) []E {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []E
	for _, event := range c.events {
		if e, ok := event.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// WaitText waits for a message with this text.
func WaitText(t testing.TB, c *Client, text string) *events.Message {
	t.Helper()
	return Wait(t, c, func(m *events.Message) bool { return Text(m) == text })
}

// Text is the text of a message, formatted or not, or its caption; "" for one that has none.
func Text(m *events.Message) string {
	for _, s := range []string{
		m.Message.GetConversation(), m.Message.GetExtendedTextMessage().GetText(), m.Message.GetImageMessage().GetCaption(),
		m.Message.GetVideoMessage().GetCaption(), m.Message.GetDocumentMessage().GetCaption(),
	} {
		if s != "" {
			return s
		}
	}
	return ""
}

// Send sends a message to a person or a group and returns its id.
func (c *Client) Send(t testing.TB, to types.JID, message *waE2E.Message) types.MessageID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := c.SendMessage(ctx, to, message)
	if err != nil {
		t.Fatalf("waclient: send to %s: %v", to, err)
	}
	return r.ID
}

// Text sends a text and returns its id.
func (c *Client) Text(t testing.TB, to types.JID, text string) types.MessageID {
	t.Helper()
	return c.Send(t, to, &waE2E.Message{Conversation: proto.String(text)})
}

// WaitReceipt waits for a receipt of a kind about a message.
func (c *Client) WaitReceipt(t testing.TB, id types.MessageID, kind types.ReceiptType) *events.Receipt {
	t.Helper()
	return Wait(t, c, func(r *events.Receipt) bool { return r.Type == kind && slices.Contains(r.MessageIDs, id) })
}

// WaitQR waits for the QR codes of a client that is not linked, and returns the first.
func (c *Client) WaitQR(t testing.TB) string {
	t.Helper()
	codes := Wait[*events.QR](t, c, nil).Codes
	if len(codes) == 0 {
		t.Fatal("waclient: no QR code was offered")
	}
	return codes[0]
}

// logger keeps warnings and errors; it implements waLog.Logger.
type logger struct {
	mu    sync.Mutex
	lines []string
}

func (l *logger) add(format string, args []any) {
	for _, a := range args {
		if err, ok := a.(error); ok && errors.Is(err, context.Canceled) {
			return // the test is over
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// Warnf implements waLog.Logger.
func (l *logger) Warnf(format string, args ...any) { l.add(format, args) }

// Errorf implements waLog.Logger.
func (l *logger) Errorf(format string, args ...any) { l.add(format, args) }

// Infof implements waLog.Logger.
func (l *logger) Infof(string, ...any) {}

// Debugf implements waLog.Logger.
func (l *logger) Debugf(string, ...any) {}

// Sub implements waLog.Logger.
func (l *logger) Sub(string) waLog.Logger { return l }
