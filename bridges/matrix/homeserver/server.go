// Package homeserver is what the adapter asks of a homeserver: requests and what their failures mean, our own users there, and what
// is known of each room.
package homeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// RequestTime is how long a request may take that does not wait for news; after it, its outcome is unknown.
const RequestTime = 60 * time.Second

// longest is how long any request may take, /sync with its waiting too.
const longest = 100 * time.Second

// maxAnswer bounds the answers of homeservers: the state of a room with 100,000 members has some 60 MB.
const maxAnswer = 256 << 20

// Server is a homeserver during one run of an account. The exported fields are set before it is used.
type Server struct {
	URL   *url.URL
	HTTP  *http.Client
	Token string       // the application service's, or the account's own
	Names native.Names // in mode bot without a Prefix
	State adapter.State
	Log   *slog.Logger
	// Broken is told of errors that wrap adapter.ErrAccount.
	Broken func(context.Context, error)

	mu     sync.Mutex
	rooms  map[id.RoomID]*Room
	people map[id.UserID]*Person
}

// AppService reports whether the account is an application service, which speaks for users of its own.
func (s *Server) AppService() bool { return s.Names.Prefix != "" }

// Client makes the client of a user. An application service speaks for that user with its own token; for nobody ("") it is itself.
func (s *Server) Client(user id.UserID) *mautrix.Client {
	return &mautrix.Client{
		HomeserverURL: s.URL, UserID: user, AccessToken: s.Token, Client: s.HTTP, UserAgent: "mimigate",
		SetAppServiceUserID: s.AppService() && user != "", IgnoreRateLimit: true,
	}
}

// Bot returns the client of the account's own user.
func (s *Server) Bot() *mautrix.Client { return s.Person(s.Names.Self).Client }

// Request makes one request of the client-server API as a user and decodes the answer into out, which may be nil. in is the body of
// a request that has one.
func Request(ctx context.Context, c *mautrix.Client, method string, path mautrix.ClientURLPath, query map[string]string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	address := c.BuildURLWithQuery(path, query)
	var answer json.RawMessage
	_, err := c.MakeFullRequest(ctx, mautrix.FullRequest{Method: method, URL: address, RequestJSON: in, ResponseJSON: &answer,
		SensitiveContent: true, MaxAttempts: 1, ResponseSizeLimit: maxAnswer})
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// Put makes a request that has an effect. Its outcome is unknown if it takes too long.
func Put(ctx context.Context, c *mautrix.Client, path mautrix.ClientURLPath, query map[string]string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTime)
	defer cancel()
	return Request(ctx, c, http.MethodPut, path, query, in, out)
}

// Check tells Broken of an error that says that the account no longer works, and returns err.
func (s *Server) Check(ctx context.Context, err error) error {
	if errors.Is(err, adapter.ErrAccount) {
		s.Broken(ctx, err)
	}
	return err
}

// certain makes an error of a step before the message itself one that says so: the message was certainly not shown.
func certain(err error) error {
	if err == nil || errors.Is(err, adapter.ErrNotDelivered) {
		return err
	}
	return adapter.NotDelivered(err)
}

// kept returns what the account's state holds under a key.
func (s *Server) kept(ctx context.Context, key string) (string, error) {
	value, err := s.State.Get(ctx, key)
	if err != nil {
		return "", adapter.NotDelivered(fmt.Errorf("matrix: state of the account: %w", err))
	}
	return string(value), nil
}
