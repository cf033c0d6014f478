package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// wirechat is a chat network in the test's process, which a gateway in a process of its own reaches by a socket: it outlives the gateway's
// kills, and can be frozen, slow down, refuse, and lose answers. A program asks for events after a number, which it thereby has taken.
type wirechat struct {
	server *http.Server
	socket string

	mu      sync.Mutex
	wake    chan struct{} // closed when something is said or a fault ends
	said    []wireEvent   // by people
	taken   int           // the number up to which the gateway has taken them
	shown   []wireEvent   // by the gateway
	byKey   map[string]string
	frozen  bool
	busy    time.Duration // what is sent is refused for now, with this Retry-After; 0: not
	answers func() bool   // called once something was shown: false: the answer is lost
	watch   map[string]time.Time
	latency []time.Duration // of what is shown of the words in watch
}

type wireEvent struct {
	Seq            int
	Room, ID       string
	User, Text, At string
	Key            string `json:",omitempty"`
}

func newWirechat(t *testing.T, socket string) *wirechat {
	w := &wirechat{socket: socket, wake: make(chan struct{}), byKey: map[string]string{}, watch: map[string]time.Time{}}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", w.events)
	mux.HandleFunc("POST /send", w.send)
	mux.HandleFunc("GET /find", w.find)
	w.server = &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = w.server.Serve(l) }()
	t.Cleanup(func() { w.set(func() { w.frozen = false }); _ = w.server.Close(); <-done })
	return w
}

// set changes something, and wakes who waits.
func (w *wirechat) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.wake)
	w.wake = make(chan struct{})
}

// wait waits until done, called with the lock held; false: ctx ended.
func (w *wirechat) wait(ctx context.Context, done func() bool) bool {
	for {
		w.mu.Lock()
		ok, wake := done(), w.wake
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
}

// say lets somebody say something.
func (w *wirechat) say(room, user, text string) {
	w.set(func() {
		n := len(w.said) + 1
		w.said = append(w.said, wireEvent{Seq: n, Room: room, ID: fmt.Sprintf("%s-%d", room, n), User: user, Text: text})
	})
}

func (w *wirechat) thawed() bool { return !w.frozen }

func (w *wirechat) events(out http.ResponseWriter, r *http.Request) {
	after, _ := strconv.Atoi(r.FormValue("after")) // our own adapter asks
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if !w.wait(ctx, func() bool { return !w.frozen && len(w.said) > after }) && r.Context().Err() != nil {
		return
	}
	w.mu.Lock()
	w.taken = max(w.taken, after)
	list := w.said[min(after, len(w.said)):]
	list = list[:min(len(list), 50)]
	w.mu.Unlock()
	_ = json.NewEncoder(out).Encode(list)
}

func (w *wirechat) send(out http.ResponseWriter, r *http.Request) {
	var ev wireEvent
	if json.NewDecoder(r.Body).Decode(&ev) != nil || !w.wait(r.Context(), w.thawed) {
		return
	}
	w.mu.Lock()
	if w.busy > 0 {
		out.Header().Set("Retry-After", strconv.Itoa(int(w.busy/time.Second)))
		out.WriteHeader(http.StatusTooManyRequests)
		w.mu.Unlock()
		return
	}
	ev.Seq = len(w.shown) + 1
	ev.ID = fmt.Sprintf("%s+%d", ev.Room, ev.Seq)
	w.shown = append(w.shown, ev) // also one with a known key: that is what the test counts
	w.byKey[ev.Key] = ev.ID
	if began, ok := w.watch[ev.Text]; ok {
		w.latency = append(w.latency, time.Since(began))
		delete(w.watch, ev.Text)
	}
	answers := w.answers
	w.mu.Unlock()
	w.set(func() {})
	if answers != nil && !answers() {
		<-r.Context().Done()
		return
	}
	fmt.Fprint(out, ev.ID)
}

func (w *wirechat) find(out http.ResponseWriter, r *http.Request) {
	if !w.wait(r.Context(), w.thawed) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprint(out, w.byKey[r.FormValue("key")])
}

// wirechatDriver is the adapter's side, in the gateway's process.
func wirechatDriver() adapter.Driver {
	return adapter.Driver{Name: "wirechat", Config: func() any { return &wirechatConfig{} }, New: func(a adapter.Account) (adapter.Adapter, error) {
		socket := a.Config.(*wirechatConfig).Socket
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
		return &wirechatAdapter{a, &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 100}}}, nil
	}}
}

type wirechatConfig struct {
	Socket string `yaml:"socket" doc:"Where the network is."`
}

type wirechatAdapter struct {
	account adapter.Account
	http    *http.Client
}

var _ adapter.Confirmer = (*wirechatAdapter)(nil)

func (a *wirechatAdapter) Limits(adapter.Conversation) content.Limits {
	return content.Limits{Support: map[content.Kind]content.Support{content.KindText: content.Native}, Authors: content.Native, TextBytes: 1 << 16}
}

func (a *wirechatAdapter) ask(ctx context.Context, method, path string, body io.Reader) (string, *http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://network"+path, body)
	if err != nil {
		return "", nil, err
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp, err
}

// Run asks for events; the number of the last that was taken is kept in the same way as every adapter does.
func (a *wirechatAdapter) Run(ctx context.Context, sink adapter.Sink) error {
	stored, err := a.account.State.Get(ctx, "after")
	if err != nil {
		return err
	}
	after, _ := strconv.Atoi(string(stored)) // "" is 0
	_ = sink.Receive(ctx, adapter.Event{Body: adapter.Status{State: adapter.Connected}})
	for ctx.Err() == nil {
		text, _, err := a.ask(ctx, http.MethodGet, "/events?after="+strconv.Itoa(after), nil)
		if err != nil {
			return err
		}
		var list []wireEvent
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return err
		}
		for _, ev := range list {
			err := sink.Receive(ctx, adapter.Event{Conversation: adapter.Conversation(ev.Room), ID: adapter.NativeID(ev.ID),
				Sender: adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(ev.User)}, Name: ev.User, Verified: true},
				Body:   adapter.Message{Content: content.Text(ev.Text)}})
			if err != nil {
				return err
			}
			after = ev.Seq
		}
		if len(list) > 0 {
			if err := a.account.State.Put(ctx, "after", []byte(strconv.Itoa(after))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *wirechatAdapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	single, ok := out.Content.Body.Body.(content.Single)
	if !ok {
		return adapter.Sent{}, adapter.Refused(errors.New("no text"))
	}
	body, err := json.Marshal(wireEvent{Room: string(out.Conversation), User: out.Author.Name, Text: string(single.Content), Key: out.Marker.Key})
	if err != nil {
		return adapter.Sent{}, err
	}
	id, resp, err := a.ask(ctx, http.MethodPost, "/send", bytes.NewReader(body))
	if err != nil {
		return adapter.Sent{}, err // unknown
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0: our own pause
		return adapter.Sent{}, adapter.RetryAfter(time.Duration(seconds)*time.Second, errors.New("too many requests"))
	}
	return adapter.Sent{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}, nil
}

func (a *wirechatAdapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	id, _, err := a.ask(ctx, http.MethodGet, "/find?key="+url.QueryEscape(out.Marker.Key), nil)
	switch {
	case err != nil:
		return adapter.Sent{}, fmt.Errorf("nobody to ask: %w", err)
	case id == "":
		return adapter.Sent{}, adapter.NotDelivered(errors.New("not there"))
	}
	return adapter.Sent{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}, nil
}
