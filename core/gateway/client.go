package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/gateway/letters"
)

const (
	// socketFile is where the gateway listens, in the store's directory, for the other subcommands of the same user: HTTP with JSON.
	socketFile = "mimigate.sock"
	answerMax  = 16 << 20 // octets
)

// ErrNotRunning: no gateway runs on the store.
var ErrNotRunning = errors.New("mimigate does not run on this store")

// Client asks the gateway that runs on a store. It implements Inspector.
type Client struct{ http *http.Client }

var _ Inspector = (*Client)(nil)

// Dial connects to the gateway that runs on the store in a directory. The error wraps ErrNotRunning where none does.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, socketFile)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx, "", "")
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w (%s); start it with \"mimigate serve\"", ErrNotRunning, dir)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the gateway on %s runs as another user: do this as that user", dir)
	case err != nil:
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Status returns how the gateway does.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/status", nil, &s)
}

// Connected implements Inspector. An account that waits for somebody to act is tried again at once.
func (c *Client) Connected(ctx context.Context, account string) error {
	return c.ask(ctx, http.MethodPost, "/connected", url.Values{"account": {account}}, nil)
}

// Conversations implements Inspector.
func (c *Client) Conversations(ctx context.Context, account string) (list []Listing, err error) {
	return list, c.ask(ctx, http.MethodGet, "/conversations", url.Values{"account": {account}}, &list)
}

// Open implements Inspector.
func (c *Client) Open(ctx context.Context, chat config.Chat) (o Opened, err error) {
	return o, c.ask(ctx, http.MethodPost, "/open", url.Values{"account": {chat.Account}, "chat": {chat.ID}}, &o)
}

// Reload lets the gateway apply its configuration anew; see Gateway.Reload.
func (c *Client) Reload(ctx context.Context) (d Changes, err error) {
	return d, c.ask(ctx, http.MethodPost, "/reload", nil, &d)
}

// Export returns what was made by command; see Gateway.Export.
func (c *Client) Export(ctx context.Context) (text string, err error) {
	return text, c.ask(ctx, http.MethodGet, "/export", nil, &text)
}

// Room returns what is known of a room; see Gateway.Room.
func (c *Client) Room(ctx context.Context, name string) (d RoomDetail, err error) {
	return d, c.ask(ctx, http.MethodGet, "/room", url.Values{"room": {name}}, &d)
}

// CreateRoom makes a room and returns its address; see Gateway.CreateRoom.
func (c *Client) CreateRoom(ctx context.Context, id, name, policy string) (address string, err error) {
	return address, c.ask(ctx, http.MethodPost, "/room", url.Values{"room": {id}, "name": {name}, "policy": {policy}}, &address)
}

// SetPolicy gives a room another policy; see Gateway.SetPolicy.
func (c *Client) SetPolicy(ctx context.Context, room, policy string) error {
	return c.ask(ctx, http.MethodPost, "/policy", url.Values{"room": {room}, "policy": {policy}}, nil)
}

// Bind binds a chat to a room; see Gateway.Bind.
func (c *Client) Bind(ctx context.Context, room, chat, direction string) error {
	return c.ask(ctx, http.MethodPost, "/bind", url.Values{"room": {room}, "chat": {chat}, "direction": {direction}}, nil)
}

// Unbind ends a binding; see Gateway.Unbind.
func (c *Client) Unbind(ctx context.Context, chat string) error {
	return c.ask(ctx, http.MethodPost, "/unbind", url.Values{"chat": {chat}}, nil)
}

// Invite makes somebody a participant of a room; see Gateway.Invite.
func (c *Client) Invite(ctx context.Context, room, user string) error {
	return c.ask(ctx, http.MethodPost, "/invite", url.Values{"room": {room}, "user": {user}}, nil)
}

// Remove removes somebody from a room; see Gateway.Remove.
func (c *Client) Remove(ctx context.Context, room, user string) error {
	return c.ask(ctx, http.MethodPost, "/remove", url.Values{"room": {room}, "user": {user}}, nil)
}

// Queue returns what waits or was given up; see letters.Letters.
func (c *Client) Queue(ctx context.Context, account string, dead bool) (list []letters.Letter, err error) {
	q := url.Values{"account": {account}}
	if dead {
		q.Set("dead", "")
	}
	return list, c.ask(ctx, http.MethodGet, "/queue", q, &list)
}

// Retry tries letters now; see letters.Letters.
func (c *Client) Retry(ctx context.Context, id, account string) (n int, err error) {
	return n, c.ask(ctx, http.MethodPost, "/retry", url.Values{"id": {id}, "account": {account}}, &n)
}

// Drop gives letters up for good; see letters.Letters.
func (c *Client) Drop(ctx context.Context, id, account string) (n int, err error) {
	return n, c.ask(ctx, http.MethodPost, "/drop", url.Values{"id": {id}, "account": {account}}, &n)
}

// Trace returns what is known of a message; see letters.Letters.
func (c *Client) Trace(ctx context.Context, message string) (list []letters.Trace, err error) {
	return list, c.ask(ctx, http.MethodGet, "/trace", url.Values{"message": {message}}, &list)
}

// Login links an account, or unlinks it; see account.Login.
func (c *Client) Login(ctx context.Context, account, do, text string) (step adapter.LoginStep, err error) {
	return step, c.ask(ctx, http.MethodPost, "/login", url.Values{"account": {account}, "do": {do}, "text": {text}}, &step)
}

// Close implements Inspector.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) ask(ctx context.Context, method, path string, q url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://mimigate"+path+"?"+q.Encode(), nil)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w%s", ErrConfig, strings.TrimPrefix(string(trimLine(body)), ErrConfig.Error()))
	case resp.StatusCode != http.StatusOK:
		return errors.New(string(trimLine(body)))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	return nil
}

// trimLine takes off the line's end that http.Error adds.
func trimLine(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}
