package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/mimi"
	"mimigate/core/router"
	"mimigate/core/uri"
)

func newMetrics(s State, err error) *Metrics {
	return New("test", func(context.Context) (State, error) { return s, err })
}

// read returns the lines that the metrics answer, without comments.
func read(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func want(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	have := strings.Split(read(t, m), "\n")
	for _, l := range lines {
		if !slices.Contains(have, l) {
			t.Errorf("no line %s", l)
		}
	}
}

type answering struct{ err error }

func (a answering) Receive(context.Context, adapter.Event) error { return a.err }

// TestSink: what is taken and what is not; what is not recorded is not counted.
func TestSink(t *testing.T) {
	m := newMetrics(State{}, nil)
	for _, c := range []struct {
		body adapter.Body
		err  error
	}{{adapter.Message{}, nil}, {adapter.Message{}, nil}, {adapter.Reactions{}, errors.New("full")}, {adapter.Typing{}, nil}, {adapter.Status{}, nil}} {
		if err := m.Sink("home", "net", answering{c.err}).Receive(t.Context(), adapter.Event{Body: c.body}); !errors.Is(err, c.err) {
			t.Errorf("got %v", err)
		}
	}
	want(t, m, `mimigate_messages_accepted_total{account="home",network="net"} 2`, `mimigate_messages_refused_total{account="home",network="net"} 1`,
		`mimigate_receive_seconds_count{network="net"} 2`)
}

// unit is a router's store that commits, or does not.
type unit struct {
	router.Store
	lost bool
	err  error
}

func (u unit) PutDelivery(context.Context, router.Delivery) error { return u.err }
func (u unit) OnCommit(_ context.Context, f func()) {
	if !u.lost {
		f()
	}
}

// TestStore: deliveries are counted once they are committed, by what became of them.
func TestStore(t *testing.T) {
	m := newMetrics(State{}, nil)
	p, err := uri.NewProvider("chat.example.org")
	if err != nil {
		t.Fatal(err)
	}
	room, err := p.Room("family")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	put := func(u unit, d router.Delivery) {
		d.Account, d.Network, d.Made = "home", "net", time.Now().Add(-time.Second)
		if err := m.Store(u, logger).PutDelivery(t.Context(), d); !errors.Is(err, u.err) {
			t.Errorf("got %v", err)
		}
	}
	said := router.Delivery{Room: room, Message: content.MessageID{1}, State: router.Sent}
	put(unit{}, said)
	put(unit{lost: true}, said)
	put(unit{err: errors.New("full")}, said)
	said.State = router.Attempted
	put(unit{}, said)
	said.State, said.Reason = router.Sent, "[a reaction as text]"
	put(unit{}, said)
	said.State = router.Failed
	for _, reason := range []string{adapter.Refused(errors.New("too large")).Error(), adapter.Gone(errors.New("kicked")).Error(), "es konnte nicht"} {
		said.Reason = reason
		put(unit{}, said)
	}
	put(unit{}, router.Delivery{State: router.Sent})                                   // a word of our own
	put(unit{}, router.Delivery{Room: room, State: router.Sent, Task: &router.Task{}}) // no message
	want(t, m, `mimigate_messages_delivered_total{account="home",network="net"} 1`, `mimigate_messages_degraded_total{account="home",network="net"} 1`,
		`mimigate_messages_failed_total{account="home",network="net",reason="refused"} 1`,
		`mimigate_messages_failed_total{account="home",network="net",reason="unavailable"} 1`,
		`mimigate_messages_failed_total{account="home",network="net",reason="expired"} 1`,
		`mimigate_delivery_seconds_count{network="net"} 2`)
	if n := strings.Count(log.String(), "message="+said.Message.String()); n != 2 {
		t.Errorf("%d lines of the message in the log:\n%s", n, &log)
	}
	if got := Reason(adapter.ErrUnsupported.Error() + ": no pictures"); got != "unsupported" {
		t.Errorf("got %s", got)
	}
}

// fixed is a hub that always answers the same.
type fixed struct {
	mimi.Hub
	update mimi.UpdateCode
	submit mimi.SubmitCode
	err    error
}

func (f fixed) Update(context.Context, uri.Provider, uri.Room, *mimi.UpdateRequest) (*mimi.UpdateRoomResponse, error) {
	return &mimi.UpdateRoomResponse{Code: f.update}, f.err
}

func (f fixed) Submit(context.Context, uri.Provider, uri.Room, *mimi.SubmitMessageRequest) (*mimi.SubmitMessageResponse, error) {
	return &mimi.SubmitMessageResponse{Code: f.submit}, f.err
}

// TestHub: what our hub answers.
func TestHub(t *testing.T) {
	m := newMetrics(State{}, nil)
	ask := func(f fixed, u unit) {
		h := m.Hub(f, u)
		if _, err := h.Update(t.Context(), uri.Provider{}, uri.Room{}, nil); !errors.Is(err, f.err) {
			t.Errorf("got %v", err)
		}
		if _, err := h.Submit(t.Context(), uri.Provider{}, uri.Room{}, nil); !errors.Is(err, f.err) {
			t.Errorf("got %v", err)
		}
	}
	ask(fixed{update: mimi.UpdateSuccess, submit: mimi.SubmitAccepted}, unit{})
	ask(fixed{update: mimi.UpdateSuccess, submit: mimi.SubmitAccepted}, unit{lost: true})
	ask(fixed{update: mimi.UpdateWrongEpoch, submit: mimi.SubmitEpochTooOld}, unit{})
	ask(fixed{update: mimi.UpdateNotAllowed, submit: mimi.SubmitNotAllowed}, unit{})
	ask(fixed{err: fmt.Errorf("%w: no", mimi.ErrForbidden)}, unit{})
	ask(fixed{err: errors.New("the store is full")}, unit{})
	for _, what := range []string{"updates", "messages"} {
		for outcome, n := range map[string]int{"accepted": 1, "conflict": 1, "refused": 2} {
			want(t, m, fmt.Sprintf("mimigate_hub_%s_total{outcome=%q} %d", what, outcome, n))
		}
	}
	want(t, m, `mimigate_hub_seconds_count{request="update"} 4`)
}

// TestState: the state of the gateway, and what else is told.
func TestState(t *testing.T) {
	m := newMetrics(State{Accounts: []Account{{"home", "net", "connected", true}, {"away", "net", "logged out", false}},
		Queues: []Queue{{"home", "net", 3, 2, time.Minute}}, Rooms: 7, Repeated: 5}, nil)
	m.Batch(3, time.Millisecond)
	m.Request("peer.example", "notify", 201, time.Millisecond)
	want(t, m, `mimigate_account_up{account="home",network="net"} 1`, `mimigate_account_up{account="away",network="net"} 0`,
		`mimigate_account_state{account="away",network="net",state="logged out"} 1`, `mimigate_queue_messages{account="home",network="net"} 3`,
		`mimigate_queue_oldest_seconds{account="home",network="net"} 60`, `mimigate_dead_letters{account="home",network="net"} 2`, "mimigate_rooms 7",
		"mimigate_messages_repeated_total 5", `mimigate_build_info{version="test"} 1`, "mimigate_store_batch_units_sum 3",
		`mimigate_peer_requests_total{endpoint="notify",peer="peer.example",status="201"} 1`)

	// A state that cannot be read hides nothing else.
	broken := newMetrics(State{}, errors.New("the store is away"))
	broken.Batch(1, time.Millisecond)
	want(t, broken, "mimigate_store_batch_units_sum 1")
	if strings.Contains(read(t, broken), "mimigate_rooms") {
		t.Error("a state was told that is not known")
	}
}

// TestPackaging: dashboard and alert rules name only metrics that exist, and all that matter.
func TestPackaging(t *testing.T) {
	m := newMetrics(State{}, nil)
	descs := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descs)
	close(descs)
	known := map[string]bool{}
	names := regexp.MustCompile(`fqName: "(mimigate_\w+)"`)
	for d := range descs {
		if found := names.FindStringSubmatch(d.String()); found != nil {
			known[found[1]] = true
		}
	}
	used := map[string]bool{}
	for _, file := range []string{"../../../packaging/prometheus/alerts.yaml", "../../../packaging/grafana/mimigate.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bmimigate_\w+`).FindAllString(string(text), -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !known[base] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
			used[base] = true
		}
	}
	for name := range known {
		if !used[name] && name != "mimigate_account_state" {
			t.Errorf("neither dashboard nor alerts show %s", name)
		}
	}
	if len(known) < 20 {
		t.Errorf("only %d metrics found", len(known))
	}
}
