package matrix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
)

// synching answers /sync with a script: each answer once, in order, and then nothing new.
type synching struct {
	mu      sync.Mutex
	answers []string
	since   []string
	wake    chan struct{}
}

func (s *synching) serve(r *http.Request) (int, any) {
	s.mu.Lock()
	s.since = append(s.since, r.URL.Query().Get("since"))
	if len(s.answers) > 0 {
		next := s.answers[0]
		s.answers = s.answers[1:]
		s.mu.Unlock()
		return 200, json.RawMessage(next)
	}
	s.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-s.wake:
	}
	return 200, json.RawMessage(`{"next_batch":"end"}`)
}

func timeline(next, room, fields string, events ...string) string {
	return fmt.Sprintf(`{"next_batch":%q,"rooms":{"join":{%q:{"timeline":{"events":[%s]%s}}}}}`, next, room, strings.Join(events, ","), fields)
}

// TestSecondReceiveMode: a homeserver that knows no pings delivers no redactions: they come by /sync, what comes both ways once.
func TestSecondReceiveMode(t *testing.T) {
	f := newFakeHS(t)
	f.on("POST v1/appservice/mimibot/ping", func(*http.Request) (int, any) { return errorAnswer(404, "M_UNRECOGNIZED") })
	c := appService(t, f)
	script := &synching{wake: make(chan struct{}), answers: []string{
		timeline("s1", "!r:hs.test", "", message("$old", "", "said before we came")),
		timeline("s2", "!r:hs.test", "", message("$1", "", "hello"),
			`{"type":"m.room.redaction","event_id":"$x","sender":"@ann:hs.test","redacts":"$1","content":{}}`),
		`{"next_batch":"s3","rooms":{"join":{"!r:hs.test":{"ephemeral":{"events":[{"type":"m.typing","content":{"user_ids":["@ann:hs.test","@mimi_u_a.example_b:hs.test"]}},` +
			`{"type":"m.receipt","content":{"$1":{"m.read":{"@ann:hs.test":{"ts":5},"@mimibot:hs.test":{}}}}}]}}}}}`,
	}}
	f.on("GET v3/sync", script.serve)
	state := &adaptertest.State{}
	x := run(t, c, state)
	x.hears(t, "the deletion", func(ev adapter.Event) bool { m, ok := ev.Body.(adapter.Message); return ok && m.Replaces == "$1" })
	x.hears(t, "typing", func(ev adapter.Event) bool { ty, ok := ev.Body.(adapter.Typing); return ok && ty.Active })
	receipt := x.hears(t, "the receipt", func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Receipt); return ok })
	if r := receipt.Body.(adapter.Receipt); r.IDs[0] != "$1" || r.Status != adapter.Read || receipt.Sender.IDs[0] != "@ann:hs.test" {
		t.Errorf("%+v", receipt)
	}
	if got := push(t, c, "1", message("$1", "!r:hs.test", "hello"), message("$2", "!r:hs.test", "again")); got != 200 {
		t.Errorf("transaction: %d", got)
	}
	x.hears(t, "the second message", says("again"))
	if n := x.heard(says("hello")); n != 1 {
		t.Errorf("the message that came both ways was reported %d times", n)
	}
	if n := x.heard(says("said before we came")); n != 0 {
		t.Error("what was said before was reported")
	}
	position := func(want string) {
		adaptertest.WaitFor(t, patience, "the position "+want, func() error {
			script.mu.Lock()
			defer script.mu.Unlock()
			if last := script.since[len(script.since)-1]; last != want {
				return fmt.Errorf("last since %q of %q", last, script.since)
			}
			return nil
		})
	}
	position("s3")
	x.stop()
	script.mu.Lock()
	script.since = []string{""}
	script.mu.Unlock()
	y := run(t, c, state)
	y.hears(t, "connected", status(adapter.Connected))
	position("s3")
}

// TestSyncByItself: a homeserver that knows pings is not asked by /sync, unless the configuration says so.
func TestSyncByItself(t *testing.T) {
	for mode, want := range map[string]bool{syncAuto: false, syncOn: true, syncOff: false} {
		f := newFakeHS(t)
		script := &synching{wake: make(chan struct{})}
		f.on("GET v3/sync", script.serve)
		c := appService(t, f)
		c.Sync = mode
		x := run(t, c, &adaptertest.State{})
		x.hears(t, "connected", status(adapter.Connected))
		if want {
			adaptertest.WaitFor(t, patience, "a sync", func() error {
				if f.count("GET v3/sync") == 0 {
					return fmt.Errorf("none")
				}
				return nil
			})
		}
		x.stop()
		if got := f.count("GET v3/sync") > 0; got != want {
			t.Errorf("sync: %s: asked %v", mode, got)
		}
	}
}

func botConfig(f *fakeHS) *Config { return &Config{Mode: modeBot, Homeserver: f.URL, Token: "t"} }

// TestGap: what a limited timeline leaves out is fetched, oldest first, and what was said before we joined is left out.
func TestGap(t *testing.T) {
	const join = `{"type":"m.room.member","event_id":"$join","sender":"@mimibot:hs.test","state_key":"@mimibot:hs.test","content":{"membership":"join"}}`
	f := newFakeHS(t)
	script := &synching{wake: make(chan struct{}), answers: []string{
		`{"next_batch":"s1"}`,
		timeline("s2", "!gap:hs.test", `,"limited":true,"prev_batch":"p1"`, message("$5", "", "five")),
		timeline("s3", "!new:hs.test", `,"limited":true,"prev_batch":"n1"`, message("$b", "", "before"), join, message("$c", "", "after")),
		timeline("s4", "!late:hs.test", `,"limited":true,"prev_batch":"l1"`, message("$z", "", "last")),
	}}
	f.on("GET v3/sync", script.serve)
	pages := map[string]string{
		"p1": `{"chunk":[` + message("$4", "", "four") + `,` + message("$3", "", "three") + `],"end":"p2"}`,
		"p2": `{"chunk":[` + message("$2", "", "two") + `],"end":"p3"}`, "p3": `{"chunk":[]}`,
		"l1": `{"chunk":[` + message("$y", "", "then") + `,` + join + `,` + message("$x", "", "too early") + `],"end":"l2"}`,
	}
	messages := func(r *http.Request) (int, any) {
		q := r.URL.Query()
		if q.Get("dir") != "b" || q.Get("to") == "" || pages[q.Get("from")] == "" {
			t.Errorf("asked for %v", q)
		}
		return 200, json.RawMessage(pages[q.Get("from")])
	}
	f.on("GET v3/rooms/!gap:hs.test/messages", messages)
	f.on("GET v3/rooms/!late:hs.test/messages", messages)
	x := run(t, botConfig(f), &adaptertest.State{})
	x.hears(t, "the last", says("last"))
	var got []string
	for _, ev := range x.sink.Events() {
		if text := textOf(ev); text != "" {
			got = append(got, text)
		}
	}
	if want := "two three four five after then last"; strings.Join(got, " ") != want {
		t.Errorf("reported %q, want %q", got, want)
	}
}

// TestInvited: an invitation of the account is reported with who invites.
func TestInvited(t *testing.T) {
	f := newFakeHS(t)
	script := &synching{wake: make(chan struct{}), answers: []string{
		`{"next_batch":"s1","rooms":{"invite":{"!i:hs.test":{"invite_state":{"events":[{"type":"m.room.name","state_key":"","sender":"@ann:hs.test","content":{"name":"x"}},` +
			`{"type":"m.room.member","sender":"@ann:hs.test","state_key":"@mimibot:hs.test","content":{"membership":"invite"}}]}}}}}`}}
	f.on("GET v3/sync", script.serve)
	x := run(t, botConfig(f), &adaptertest.State{})
	ev := x.hears(t, "the invitation", func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Invitation); return ok })
	if ev.Body.(adapter.Invitation).Name != "!i:hs.test" || ev.Conversation != "!i:hs.test" || ev.Sender.IDs[0] != "@ann:hs.test" || ev.Own || ev.ID == "" {
		t.Errorf("%+v", ev)
	}
}

// TestPassword: a login is kept, and made anew only when its token no longer works.
func TestPassword(t *testing.T) {
	f := newFakeHS(t)
	script := &synching{wake: make(chan struct{})}
	f.on("GET v3/sync", script.serve)
	f.on("POST v3/login", func(*http.Request) (int, any) {
		return 200, map[string]string{"access_token": fmt.Sprintf("token%d", f.count("POST v3/login"))}
	})
	good := "Bearer token1"
	f.on("GET v3/account/whoami", func(r *http.Request) (int, any) {
		if r.Header.Get("Authorization") != good {
			return errorAnswer(401, "M_UNKNOWN_TOKEN")
		}
		return 200, map[string]string{"user_id": "@mimibot:hs.test"}
	})
	state := &adaptertest.State{}
	for i, want := range []int{1, 1, 2} {
		if i == 2 {
			good = "Bearer token2"
		}
		x := run(t, &Config{Mode: modeBot, Homeserver: f.URL, User: "mimibot", Password: "p"}, state)
		x.hears(t, "connected", status(adapter.Connected))
		x.stop()
		if got := f.count("POST v3/login"); got != want {
			t.Errorf("run %d: %d logins, want %d", i, got, want)
		}
	}
}
