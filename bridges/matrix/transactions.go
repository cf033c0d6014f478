package matrix

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// maxTransaction is the most octets of a transaction that we read. Synapse puts at most 100 events of at most 64 KiB into one.
const maxTransaction = 64 << 20

// transaction is what a homeserver delivers (Application Service API, PUT /_matrix/app/v1/transactions/{txnId}).
type transaction struct {
	Events    []json.RawMessage `json:"events"`
	Ephemeral []json.RawMessage `json:"ephemeral"`
	Unstable  []json.RawMessage `json:"de.sorunome.msc2409.ephemeral"`
}

// runAppService receives by transactions, and by /sync what the homeserver does not deliver, until ctx ends or it cannot go on.
func (s *session) runAppService(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.settings.Listen)
	if err != nil {
		s.status(ctx, adapter.Degraded, "cannot listen on "+s.settings.Listen, "set listen to an address that is free")
		return fmt.Errorf("matrix: listen: %w", err)
	}
	defer listener.Close()
	if err := s.identify(ctx); err != nil {
		return err
	}
	s.connect(s)
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: homeserver.RequestTime, IdleTimeout: 5 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("matrix: listen: %w", err))
		}
	})
	defer func() {
		cancel()
		s.shut(server)
		parts.Wait()
	}()
	if s.probe(ctx) {
		parts.Go(func() {
			if err := s.syncLoop(ctx); err != nil {
				s.fail(err)
			}
		})
	}
	s.reopen(ctx)
	parts.Go(func() { s.pingLoop(ctx) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.fatal:
		return err
	}
}

// shut ends the listener: what is being taken is taken, for a while.
func (s *session) shut(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// identify registers the account's own user, if that is needed, and learns who we are.
func (s *session) identify(ctx context.Context) error {
	c := s.hs.Client("")
	body := map[string]any{"type": "m.login.application_service", "username": s.settings.reg.Sender, "inhibit_login": true}
	err := homeserver.Request(ctx, c, http.MethodPost, mautrix.ClientURLPath{"v3", "register"}, nil, body, nil)
	if err == nil || homeserver.Code(err) == "M_USER_IN_USE" {
		var me struct {
			User id.UserID `json:"user_id"`
		}
		if err = homeserver.Request(ctx, c, http.MethodGet, mautrix.ClientURLPath{"v3", "account", "whoami"}, nil, nil, &me); err == nil {
			return s.iAm(ctx, me.User)
		}
	}
	switch homeserver.Code(err) {
	case "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_FORBIDDEN", "M_EXCLUSIVE":
		return s.rejected(ctx, err, "the homeserver does not know the registration of this account",
			"install the registration file on the homeserver and restart it; mimigate account setup "+s.account.ID+" writes it")
	}
	s.status(ctx, adapter.Connecting, "the homeserver "+s.settings.homeserver.Host+" cannot be reached", "")
	return fmt.Errorf("matrix: %w", homeserver.Plain(err))
}

// iAm takes note of our own user id and the names that go with it.
func (s *session) iAm(ctx context.Context, me id.UserID) error {
	_, server, err := me.Parse()
	if err != nil || server == "" {
		return fmt.Errorf("matrix: the homeserver calls us %q, which is no user id", me)
	}
	s.hs.Names.Server, s.hs.Names.Self = server, me
	if s.settings.Mode == modeAppService {
		example := id.NewUserID(s.settings.Prefix+"u_example.org_a", server)
		if !covers(s.settings.reg.Namespaces.Users, string(example)) {
			return s.rejected(ctx, errors.New("namespaces"), "the registration does not cover users such as "+string(example),
				"make prefix and the registration agree, or run account setup again and install its file on the homeserver")
		}
	}
	return nil
}

// handler serves the homeserver (Application Service API).
func (s *session) handler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"/_matrix/app/v1", ""} { // without: homeservers before v1
		mux.HandleFunc("PUT "+prefix+"/transactions/{txn}", s.transaction)
		mux.HandleFunc("GET "+prefix+"/users/{user}", notOurs)
		mux.HandleFunc("GET "+prefix+"/rooms/{alias}", notOurs)
	}
	mux.HandleFunc("POST /_matrix/app/v1/ping", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "", "") })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, "M_UNRECOGNIZED", "not an application service request")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			token = r.URL.Query().Get("access_token") // before v1.4
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte(s.settings.reg.HSToken)) != 1 {
			s.log.Warn("a request with a wrong hs_token was refused")
			answer(w, http.StatusForbidden, "M_FORBIDDEN", "wrong hs_token")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// notOurs answers queries for users and rooms: who is not registered yet does not exist.
func notOurs(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, "M_NOT_FOUND", "no such user or room")
}

// answer writes {} or an error.
func answer(w http.ResponseWriter, status int, code, text string) {
	body := map[string]string{}
	if code != "" {
		body["errcode"], body["error"] = code, text
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the homeserver has gone: it will ask again
}

// transaction takes a transaction. It answers 200 only when the gateway has taken every event (unit T1, design §5), so that a
// homeserver repeats what was not.
func (s *session) transaction(w http.ResponseWriter, r *http.Request) {
	var txn transaction
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTransaction)).Decode(&txn); err != nil {
		answer(w, http.StatusBadRequest, "M_NOT_JSON", "not a transaction")
		return
	}
	if err := s.takeAll(r.Context(), txn.Events); err != nil {
		s.log.Warn("a transaction was not taken", "events", len(txn.Events), "error", err)
		s.nudge()
		answer(w, http.StatusServiceUnavailable, "M_UNKNOWN", "not taken, ask again")
		return
	}
	extra := txn.Ephemeral
	if len(extra) == 0 {
		extra = txn.Unstable
	}
	for _, raw := range extra {
		s.ephemeral(r.Context(), raw, "")
	}
	answer(w, http.StatusOK, "", "")
}

// atOnce is how many rooms' events of one transaction are taken at the same time.
const atOnce = 32

// takeAll takes events: those of a room in order, those of different rooms at the same time.
func (s *session) takeAll(ctx context.Context, events []json.RawMessage) error {
	byRoom := map[id.RoomID][]json.RawMessage{}
	var order []id.RoomID
	for _, raw := range events {
		ev, _ := native.Parse(raw) // take says what is wrong with it
		if byRoom[ev.Room] == nil {
			order = append(order, ev.Room)
		}
		byRoom[ev.Room] = append(byRoom[ev.Room], raw)
	}
	return inParallel(order, func(r id.RoomID) error {
		for _, raw := range byRoom[r] {
			if err := s.take(ctx, raw, ""); err != nil {
				return fmt.Errorf("room %s: %w", r, err)
			}
		}
		return nil
	})
}

// inParallel calls f for all, several at a time, waits for them, and returns all errors.
func inParallel[T any](all []T, f func(T) error) error {
	errs := make([]error, len(all))
	places := make(homeserver.Gate, atOnce)
	var running sync.WaitGroup
	for i, one := range all {
		places <- struct{}{}
		running.Go(func() {
			defer places.Unlock()
			errs[i] = f(one)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// probe asks the homeserver to ping us. It says whether /sync is needed, and reports the account's state.
func (s *session) probe(ctx context.Context) (sync bool) {
	err := s.ping(ctx)
	s.pinged(ctx, err)
	if s.settings.Sync == syncAuto {
		// A homeserver that has not heard of pings is one that does not deliver redactions either (testing.md §1).
		return homeserver.Code(err) == "M_UNRECOGNIZED" || homeserver.Status(err) == http.StatusNotFound
	}
	return s.settings.Sync == syncOn
}

// ping asks the homeserver to ping us; to Synapse this is also the word that we are back, and may be sent what has piled up.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	path := mautrix.ClientURLPath{"v1", "appservice", s.settings.reg.ID, "ping"}
	return homeserver.Request(ctx, s.hs.Client(""), http.MethodPost, path, nil, map[string]any{}, nil)
}

// pinged reports the account's state after a ping.
func (s *session) pinged(ctx context.Context, err error) {
	code := homeserver.Code(err)
	switch {
	case err == nil, code == "M_UNRECOGNIZED", homeserver.Status(err) == http.StatusNotFound:
		s.status(ctx, adapter.Connected, "", "")
	case code == "M_UNKNOWN_TOKEN", code == "M_MISSING_TOKEN":
		_ = s.hs.Check(ctx, homeserver.Failed("ping", err))
	case code == "M_CONNECTION_FAILED", code == "M_CONNECTION_TIMEOUT", code == "M_BAD_STATUS", code == "M_URL_NOT_SET":
		s.status(ctx, adapter.Degraded, "the homeserver cannot deliver events to us: "+homeserver.Plain(err).Error(),
			"make the registration's url an address at which the homeserver reaches "+s.settings.Listen+", and its hs_token ours")
	case ctx.Err() == nil:
		s.status(ctx, adapter.Connecting, "the homeserver "+s.settings.homeserver.Host+" cannot be reached", "")
	}
}

// The pauses between pings: soon after something was not taken, rarely else.
const (
	pingSoon  = 500 * time.Millisecond
	pingEvery = 30 * time.Second
)

// nudge has the next ping come soon.
func (s *session) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default:
	}
}

// pingLoop watches the connection, both ways.
func (s *session) pingLoop(ctx context.Context) {
	pause := pingEvery
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.nudged:
			timer.Stop()
			pause = pingSoon
			continue
		case <-timer.C:
		}
		pause = min(2*pause, pingEvery)
		err := s.ping(ctx)
		s.pinged(ctx, err)
		if homeserver.NeverArrived(err) {
			pause = min(pause, 4*pingSoon)
		}
	}
}
