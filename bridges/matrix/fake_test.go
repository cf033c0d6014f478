package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/content"
)

const patience = 20 * time.Second

// fakeHS is a homeserver that does what a real one cannot be made to do.
type fakeHS struct {
	*httptest.Server
	mu     sync.Mutex
	routes map[string]func(r *http.Request) (int, any) // "METHOD path", the path without /_matrix/client/
	asked  []string
}

func newFakeHS(t *testing.T) *fakeHS {
	f := &fakeHS{}
	ok := func(*http.Request) (int, any) { return 200, map[string]any{} }
	f.routes = map[string]func(*http.Request) (int, any){
		"POST v3/register":                func(*http.Request) (int, any) { return errorAnswer(400, "M_USER_IN_USE") },
		"GET v3/account/whoami":           func(*http.Request) (int, any) { return 200, map[string]string{"user_id": "@mimibot:hs.test"} },
		"POST v1/appservice/mimibot/ping": ok,
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/_matrix/client/")
		f.mu.Lock()
		f.asked = append(f.asked, key)
		route := f.routes[key]
		f.mu.Unlock()
		status, body := errorAnswer(404, "M_UNRECOGNIZED")
		if route != nil {
			status, body = route(r)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func errorAnswer(status int, code string) (int, any) {
	return status, map[string]string{"errcode": code, "error": "fake"}
}

func (f *fakeHS) on(key string, answer func(*http.Request) (int, any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[key] = answer
}

func (f *fakeHS) count(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.asked {
		if a == key {
			n++
		}
	}
	return n
}

// running is an adapter that runs until the end of the test.
type running struct {
	*Adapter
	sink  *adaptertest.Recorder
	state *adaptertest.State
	ended func() error // waits for the end of Run
	stop  func() error // ends it
}

func run(t *testing.T, c *Config, state *adaptertest.State) *running {
	t.Helper()
	return runInto(t, c, state, func(r *adaptertest.Recorder) adapter.Sink { return r })
}

// runInto is run with a sink of the test's own before the recorder.
func runInto(t *testing.T, c *Config, state *adaptertest.State, sink func(*adaptertest.Recorder) adapter.Sink) *running {
	t.Helper()
	acc := account(t, c)
	acc.State = state
	a, err := Driver().New(acc)
	if err != nil {
		t.Fatal(err)
	}
	x := &running{Adapter: a.(*Adapter), sink: &adaptertest.Recorder{}, state: state}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx, sink(x.sink)) }()
	x.ended = sync.OnceValue(func() error { return <-done })
	x.stop = func() error {
		cancel()
		return x.ended()
	}
	t.Cleanup(func() {
		if err := x.stop(); err != nil && !errors.Is(err, adapter.ErrAccount) {
			t.Errorf("Run: %v", err)
		}
		for _, b := range x.sink.Broken() {
			t.Errorf("contract broken: %s", b)
		}
	})
	return x
}

func (x *running) hears(t *testing.T, what string, match func(adapter.Event) bool) adapter.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ev, err := x.sink.Wait(ctx, match)
	if err != nil {
		t.Fatalf("%s: %v: %+v", what, err, x.sink.Events())
	}
	return ev
}

func status(state adapter.AccountState) func(adapter.Event) bool {
	return func(ev adapter.Event) bool { s, ok := ev.Body.(adapter.Status); return ok && s.State == state }
}

func textOf(ev adapter.Event) string {
	m, ok := ev.Body.(adapter.Message)
	if !ok {
		return ""
	}
	single, _ := m.Content.Body.Body.(content.Single)
	return string(single.Content)
}

func says(text string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool { return textOf(ev) == text }
}

func (x *running) heard(match func(adapter.Event) bool) int {
	return len(slices.DeleteFunc(x.sink.Events(), func(ev adapter.Event) bool { return !match(ev) }))
}

func appService(t *testing.T, f *fakeHS) *Config {
	c := defaults().(*Config)
	c.Homeserver, c.Listen = f.URL, fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
	c.Registration = `{id: mimibot, as_token: a, hs_token: h, sender_localpart: mimibot, namespaces: {users: [{regex: "@mimi_.*"}]}}`
	return c
}

// push delivers a transaction and returns the status.
func push(t *testing.T, c *Config, id string, events ...string) int {
	t.Helper()
	return ask(t, "PUT", "http://"+c.Listen+"/_matrix/app/v1/transactions/"+id, "h", `{"events":[`+strings.Join(events, ",")+`]}`)
}

func ask(t *testing.T, method, url, token, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func message(id, room, text string) string {
	return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"room_id":%q,"sender":"@ann:hs.test","content":{"msgtype":"m.text","body":%q}}`, id, room, text)
}

func TestTransactions(t *testing.T) {
	f := newFakeHS(t)
	c := appService(t, f)
	x := run(t, c, &adaptertest.State{})
	x.hears(t, "connected", status(adapter.Connected))
	base := "http://" + c.Listen

	for _, q := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"PUT", "/_matrix/app/v1/transactions/1", "wrong", `{"events":[]}`, 403},
		{"PUT", "/_matrix/app/v1/transactions/1", "", `{"events":[]}`, 403},
		{"PUT", "/_matrix/app/v1/transactions/1", "h", `{`, 400},
		{"PUT", "/_matrix/app/v1/transactions/1", "h", `{"events":7}`, 400},
		{"PUT", "/transactions/1?access_token=h", "", `{"events":[]}`, 200},
		{"GET", "/_matrix/app/v1/users/@mimi_u_a.example_b:hs.test", "h", "", 404},
		{"GET", "/_matrix/app/v1/rooms/%23mimi_x:hs.test", "h", "", 404},
		{"POST", "/_matrix/app/v1/ping", "h", `{}`, 200},
		{"GET", "/else", "h", "", 404},
	} {
		if got := ask(t, q.method, base+q.path, q.token, q.body); got != q.want {
			t.Errorf("%s %s: %d, want %d", q.method, q.path, got, q.want)
		}
	}
	odd := []string{`7`, `"x"`, `{}`, `{"type":"m.room.message"}`, `{"type":"m.room.message","room_id":"!r:hs.test","sender":"@ann:hs.test","content":"x"}`,
		`{"type":"m.room.member","event_id":"$m","room_id":"!r:hs.test","sender":"@ann:hs.test","state_key":7,"content":{"membership":{}}}`}
	if got := push(t, c, "2", append(odd, message("$1", "!r:hs.test", "good"))...); got != 200 {
		t.Errorf("with odd events beside a good one: %d", got)
	}
	if x.heard(says("good")) != 1 {
		t.Errorf("the good one was not taken: %+v", x.sink.Events())
	}
}

// TestNotTaken: 200 only when every event was taken; what was taken is not offered again, and the homeserver is nudged.
func TestNotTaken(t *testing.T) {
	f := newFakeHS(t)
	c := appService(t, f)
	x := run(t, c, &adaptertest.State{})
	x.hears(t, "connected", status(adapter.Connected))
	full := true
	var mu sync.Mutex
	x.sink.Refuse(func(ev adapter.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if full && textOf(ev) == "two" {
			return errors.New("full")
		}
		return nil
	})
	txn := []string{message("$1", "!a:hs.test", "one"), message("$2", "!a:hs.test", "two"), message("$3", "!a:hs.test", "three"), message("$4", "!b:hs.test", "four")}
	pings := f.count("POST v1/appservice/mimibot/ping")
	if got := push(t, c, "1", txn...); got != 503 {
		t.Errorf("not all was taken, but %d", got)
	}
	if x.heard(says("three")) != 0 || x.heard(says("four")) != 1 {
		t.Errorf("after a refusal in one room: %+v", x.sink.Events())
	}
	adaptertest.WaitFor(t, patience, "a ping", func() error {
		if f.count("POST v1/appservice/mimibot/ping") == pings {
			return errors.New("none yet")
		}
		return nil
	})
	mu.Lock()
	full = false
	mu.Unlock()
	for range 2 {
		if got := push(t, c, "1", txn...); got != 200 {
			t.Errorf("all can be taken, but %d", got)
		}
	}
	for _, text := range []string{"one", "two", "three", "four"} {
		if n := x.heard(says(text)); n != 1 {
			t.Errorf("%s was reported %d times", text, n)
		}
	}
}

// TestSlowRoom: a room whose events are not taken holds up no other.
func TestSlowRoom(t *testing.T) {
	f := newFakeHS(t)
	c := appService(t, f)
	free := make(chan struct{})
	x := runInto(t, c, &adaptertest.State{}, func(r *adaptertest.Recorder) adapter.Sink { return &slowSink{Recorder: r, free: free} })
	x.hears(t, "connected", status(adapter.Connected))
	answer := make(chan int, 1)
	go func() {
		answer <- push(t, c, "1", message("$1", "!slow:hs.test", "slow"), message("$2", "!b:hs.test", "quick"))
	}()
	x.hears(t, "the quick room", says("quick"))
	select {
	case got := <-answer:
		t.Errorf("%d before all was taken", got)
	default:
	}
	if got := push(t, c, "2", message("$3", "!c:hs.test", "third")); got != 200 {
		t.Errorf("another transaction: %d", got)
	}
	close(free)
	if got := <-answer; got != 200 {
		t.Errorf("%d", got)
	}
}

type slowSink struct {
	*adaptertest.Recorder
	free chan struct{}
}

func (s *slowSink) Receive(ctx context.Context, ev adapter.Event) error {
	if ev.Conversation == "!slow:hs.test" {
		<-s.free
	}
	return s.Recorder.Receive(ctx, ev)
}

// TestRejected: what is wrong with an account is said in words, with what to do, and the gateway does not try for ever.
func TestRejected(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(*fakeHS, *Config)
		say    string
	}{
		"unknown token": {func(f *fakeHS, _ *Config) {
			f.on("POST v3/register", func(*http.Request) (int, any) { return errorAnswer(401, "M_UNKNOWN_TOKEN") })
		}, "does not know the registration"},
		"other prefix": {func(_ *fakeHS, c *Config) { c.Prefix = "xmpp_" }, "does not cover users such as @xmpp_"},
		"bot": {func(f *fakeHS, c *Config) {
			*c = Config{Mode: modeBot, Homeserver: f.URL, Token: "old"}
			f.on("GET v3/account/whoami", func(*http.Request) (int, any) { return errorAnswer(401, "M_UNKNOWN_TOKEN") })
		}, "does not accept the account's token"},
		"bot, password": {func(f *fakeHS, c *Config) {
			*c = Config{Mode: modeBot, Homeserver: f.URL, User: "bot", Password: "wrong"}
			f.on("POST v3/login", func(*http.Request) (int, any) { return errorAnswer(403, "M_FORBIDDEN") })
		}, "does not accept user and password"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHS(t)
			config := appService(t, f)
			c.break_(f, config)
			x := run(t, config, &adaptertest.State{})
			ev := x.hears(t, "rejected", status(adapter.Rejected))
			s := ev.Body.(adapter.Status)
			if !strings.Contains(s.Reason, c.say) || s.Do == "" {
				t.Errorf("%+v", s)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := x.Send(ctx, adapter.Outbound{Conversation: "!r", Marker: adapter.Marker{Key: "k"}}); !errors.Is(err, adapter.ErrNotDelivered) {
				t.Errorf("Send: %v", err)
			}
		})
	}
}

// TestTokenRevoked: an account that stops working while it runs is reported, once, and Run ends.
func TestTokenRevoked(t *testing.T) {
	f := newFakeHS(t)
	x := run(t, appService(t, f), &adaptertest.State{})
	x.hears(t, "connected", status(adapter.Connected))
	f.on("GET v3/rooms/!r:hs.test/state", func(*http.Request) (int, any) { return errorAnswer(401, "M_UNKNOWN_TOKEN") })
	if _, err := x.Send(t.Context(), adapter.Outbound{Conversation: "!r:hs.test", Marker: adapter.Marker{Key: "k"}}); !errors.Is(err, adapter.ErrNotDelivered) || errors.Is(err, adapter.ErrRefused) {
		t.Errorf("Send: %v", err)
	}
	x.hears(t, "rejected", status(adapter.Rejected))
	if err := x.ended(); !errors.Is(err, adapter.ErrAccount) {
		t.Errorf("Run: %v", err)
	}
}
