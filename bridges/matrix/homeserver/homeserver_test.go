package homeserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/uri"
)

// fake is a homeserver that answers what a test says and remembers what it was asked.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string][]string // "METHOD path" → answers in turn, the last one for ever: "status body"
	asked   []string
}

func newFake(t *testing.T, answers map[string][]string) *fake {
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/_matrix/client/")
		f.asked = append(f.asked, r.Method+" "+path+" as "+r.URL.Query().Get("user_id"))
		list := f.answers[r.Method+" "+path]
		if len(list) == 0 {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errcode":"M_NOT_FOUND","error":"no answer for it"}`)
			return
		}
		if len(list) > 1 {
			f.answers[r.Method+" "+path] = list[1:]
		}
		var status int
		_, err := fmt.Sscan(list[0], &status)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		fmt.Fprint(w, list[0][4:])
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fake) server(t *testing.T) *Server {
	u, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{URL: u, HTTP: f.Client(), Token: "t", Names: native.Names{Prefix: "mimi_", Server: "hs.test", Self: "@bot:hs.test"},
		State: &adaptertest.State{}, Broken: func(context.Context, error) {}}
}

func author(t *testing.T, name string) adapter.Author {
	u, err := uri.ParseUser("mimi://a.example/u/" + strings.ToLower(name))
	if err != nil {
		t.Fatal(err)
	}
	return adapter.Author{User: u, Name: name}
}

// TestFailed: what each answer says about what was asked for.
func TestFailed(t *testing.T) {
	for _, c := range []struct {
		answer string
		is     []error
		isNot  []error
		after  time.Duration
	}{
		{`429 {"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":1500}`, []error{adapter.ErrNotDelivered}, []error{adapter.ErrRefused}, 1500 * time.Millisecond},
		{`429 {"errcode":"M_LIMIT_EXCEEDED"}`, []error{adapter.ErrNotDelivered}, nil, 7 * time.Second},
		{`429 <html>`, []error{adapter.ErrNotDelivered}, []error{adapter.ErrRefused}, 7 * time.Second},
		{`403 {"errcode":"M_FORBIDDEN","error":"no"}`, []error{adapter.ErrRefused, adapter.ErrNotDelivered}, []error{adapter.ErrGone}, 0},
		{`413 {"errcode":"M_TOO_LARGE"}`, []error{adapter.ErrRefused}, nil, 0},
		{`413 nginx`, []error{adapter.ErrRefused}, nil, 0},
		{`400 {"errcode":"M_UNKNOWN","error":"odd"}`, []error{adapter.ErrRefused}, nil, 0},
		{`404 {"errcode":"M_NOT_FOUND"}`, []error{adapter.ErrGone}, []error{adapter.ErrRefused}, 0},
		{`401 {"errcode":"M_UNKNOWN_TOKEN"}`, []error{adapter.ErrAccount, adapter.ErrNotDelivered}, []error{adapter.ErrRefused}, 0},
		{`400 {"errcode":"M_EXCLUSIVE"}`, []error{adapter.ErrAccount, adapter.ErrNotDelivered}, nil, 0},
		{`404 <html>`, []error{adapter.ErrNotDelivered}, []error{adapter.ErrRefused, adapter.ErrGone}, 0},
		{`500 {"errcode":"M_UNKNOWN"}`, nil, []error{adapter.ErrNotDelivered}, 0},
		{`502 bad gateway`, nil, []error{adapter.ErrNotDelivered}, 0},
		{`504 {}`, nil, []error{adapter.ErrNotDelivered}, 0},
		{`200 not json`, nil, []error{adapter.ErrNotDelivered}, 0},
	} {
		f := newFake(t, map[string][]string{"PUT x": {c.answer}})
		s := f.server(t)
		var got map[string]any
		err := Failed("trying", Put(t.Context(), s.Client(""), []any{"x"}, nil, map[string]any{}, &got))
		if err == nil {
			t.Errorf("%s: no error", c.answer)
			continue
		}
		for _, target := range c.is {
			if !errors.Is(err, target) {
				t.Errorf("%s: %v is not %v", c.answer, err, target)
			}
		}
		for _, target := range append(c.isNot, errors.ErrUnsupported) {
			if errors.Is(err, target) {
				t.Errorf("%s: %v is %v", c.answer, err, target)
			}
		}
		if after, _ := adapter.RetryDelay(err); after != c.after {
			t.Errorf("%s: again after %v", c.answer, after)
		}
		if strings.Contains(err.Error(), f.URL) {
			t.Errorf("the error has the address: %v", err)
		}
		if n := len(f.requests()); n != 1 {
			t.Errorf("%s: asked %d times", c.answer, n)
		}
	}
	f := newFake(t, nil)
	s := f.server(t)
	f.Close()
	if err := Failed("trying", Put(t.Context(), s.Client(""), []any{"x"}, nil, map[string]any{}, nil)); !errors.Is(err, adapter.ErrNotDelivered) {
		t.Errorf("no connection: %v", err)
	}
	if Failed("trying", nil) != nil {
		t.Error("an error of nothing")
	}
}

const (
	plainRoom     = `200 [{"type":"m.room.name","state_key":"","content":{"name":"N"}},{"type":"m.room.member","state_key":"@bot:hs.test","content":{"membership":"join"}},7]`
	encryptedRoom = `200 [{"type":"m.room.member","state_key":"@bot:hs.test","content":{"membership":"join"}},{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]`
)

// TestEncrypted: nothing may be sent into a room that is encrypted, or of which that is not known.
func TestEncrypted(t *testing.T) {
	f := newFake(t, map[string][]string{
		"GET v3/rooms/!plain/state": {plainRoom}, "GET v3/rooms/!secret/state": {encryptedRoom},
		"GET v3/rooms/!later/state": {plainRoom}, "GET v3/rooms/!later/state/m.room.encryption": {`404 {"errcode":"M_NOT_FOUND"}`, `200 {"algorithm":"x"}`},
		"GET v3/rooms/!gone/state": {`403 {"errcode":"M_FORBIDDEN","error":"not there"}`},
		"GET v3/rooms/!odd/state":  {`502 {}`, plainRoom},
		"GET v3/rooms/!left/state": {`200 [{"type":"m.room.member","state_key":"@bot:hs.test","content":{"membership":"leave"}}]`},
	})
	s := f.server(t)
	check := func(room adapter.Conversation, want error) {
		t.Helper()
		_, err := s.Sendable(t.Context(), room)
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", room, err, want)
		}
	}
	check("!plain", nil)
	check("!plain", nil)
	check("!secret", adapter.ErrGone)
	check("!gone", adapter.ErrGone)
	check("!left", adapter.ErrGone)
	check("!odd", adapter.ErrNotDelivered)
	check("!odd", nil)
	s.Room("!plain").SetEncrypted()
	s.Room("!plain").Forget()
	check("!plain", adapter.ErrGone) // even though the state that is fetched now does not say so

	check("!later", nil)
	stale := func() {
		r := s.Room("!later")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checked = time.Now().Add(-2 * checkEvery)
	}
	stale()
	check("!later", nil)
	stale()
	check("!later", adapter.ErrGone)
	check("!later", adapter.ErrGone)
}

// TestSpeaker: a user is registered, dressed and brought into the room, once each, invited where it must be.
func TestSpeaker(t *testing.T) {
	const user = "@mimi_u_a.example_alice:hs.test"
	f := newFake(t, map[string][]string{
		"GET v3/rooms/!r/state":                        {plainRoom},
		"POST v3/register":                             {`400 {"errcode":"M_USER_IN_USE"}`},
		"GET v3/profile/" + user:                       {`200 {"displayname":"Old"}`},
		"PUT v3/profile/" + user + "/displayname":      {`200 {}`},
		"PUT v3/profile/" + user + "/avatar_url":       {`200 {}`},
		"POST v3/rooms/!r/join":                        {`403 {"errcode":"M_FORBIDDEN"}`, `200 {}`},
		"POST v3/rooms/!r/invite":                      {`200 {}`},
		"POST v3/rooms/!closed/join":                   {`403 {"errcode":"M_FORBIDDEN"}`},
		"POST v3/rooms/!closed/invite":                 {`403 {"errcode":"M_FORBIDDEN","error":"no power"}`},
		"GET v3/rooms/!closed/state":                   {plainRoom},
		"GET v3/rooms/!banned/state":                   {`200 [{"type":"m.room.member","state_key":"@bot:hs.test","content":{"membership":"join"}},{"type":"m.room.member","state_key":"` + user + `","content":{"membership":"ban"}}]`},
		"POST v3/rooms/!banned/join":                   {`403 {"errcode":"M_FORBIDDEN"}`},
		"POST v3/rooms/!banned/invite":                 {`403 {"errcode":"M_FORBIDDEN"}`},
		"GET v3/profile/@mimi_u_a.example_bob:hs.test": {`429 {"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":10}`},
	})
	s := f.server(t)
	alice := author(t, "Alice")
	alice.Avatar = "mxc://hs.test/a"
	speak := func(room adapter.Conversation, who adapter.Author) (*Person, error) {
		r, err := s.Sendable(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		return s.Speaker(t.Context(), r, who)
	}
	for range 2 {
		if p, err := speak("!r", alice); err != nil || p.ID != user {
			t.Fatalf("%v, %v", p, err)
		}
	}
	want := []string{"GET v3/rooms/!r/state as @bot:hs.test", "POST v3/register as ", "GET v3/profile/" + user + " as " + user,
		"PUT v3/profile/" + user + "/displayname as " + user, "PUT v3/profile/" + user + "/avatar_url as " + user,
		"POST v3/rooms/!r/join as " + user, "POST v3/rooms/!r/invite as @bot:hs.test", "POST v3/rooms/!r/join as " + user}
	if got := f.requests(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	if _, err := speak("!closed", alice); !errors.Is(err, adapter.ErrGone) || !strings.Contains(err.Error(), "@bot:hs.test may not invite") {
		t.Errorf("a closed room: %v", err)
	}
	if _, err := speak("!banned", alice); !errors.Is(err, adapter.ErrRefused) || errors.Is(err, adapter.ErrGone) {
		t.Errorf("banned: %v", err)
	}
	if _, err := speak("!r", author(t, "Bob")); !errors.Is(err, adapter.ErrNotDelivered) || errors.Is(err, adapter.ErrRefused) {
		t.Errorf("a rate limit on the way: %v", err)
	} else if d, _ := adapter.RetryDelay(err); d != 10*time.Millisecond {
		t.Errorf("again after %v", d)
	}
	if p, err := speak("!r", adapter.Author{}); err != nil || p.ID != "@bot:hs.test" {
		t.Errorf("the gateway: %v, %v", p, err)
	}
}

// TestFreshMembers: what events say while the state is being fetched is newer than it.
func TestFreshMembers(t *testing.T) {
	s := &Server{Names: native.Names{Self: "@bot:hs.test"}}
	r := s.Room("!r")
	r.fresh = map[id.UserID]native.Member{}
	r.SetMember("@ann:hs.test", native.Member{Membership: native.Left})
	s.learn(r, "@bot:hs.test", []json.RawMessage{
		[]byte(`{"type":"m.room.member","state_key":"@ann:hs.test","content":{"membership":"join","displayname":"Ann"}}`),
		[]byte(`{"type":"m.room.member","state_key":"@ben:hs.test","content":{"membership":"join","displayname":"Ben"}}`)})
	if got := r.Joined(); len(got) != 1 || got["@ben:hs.test"].Name != "Ben" {
		t.Errorf("in the room: %v", got)
	}
}

func TestHashedUsers(t *testing.T) {
	f := newFake(t, map[string][]string{"POST v3/register": {`200 {}`}})
	s := f.server(t)
	u, err := uri.ParseUser("mimi://a.example/u/" + strings.Repeat("long", 80))
	if err != nil {
		t.Fatal(err)
	}
	who := s.Names.Of(u)
	if got := s.UserOf(t.Context(), who); !got.IsZero() {
		t.Errorf("known before: %s", got)
	}
	if _, err := s.Present(t.Context(), adapter.Author{User: u, Name: "L"}); err == nil {
		t.Error("no profile, but no error")
	}
	if got := s.UserOf(t.Context(), who); got != u {
		t.Errorf("%s stands for %q", who, got)
	}
}

func TestCopyRange(t *testing.T) {
	for _, c := range []struct {
		r    adapter.Range
		want string
		err  error
	}{
		{adapter.Range{}, "0123456789", nil}, {adapter.Range{Offset: 4}, "456789", nil}, {adapter.Range{Max: 10}, "0123456789", nil},
		{adapter.Range{Max: 9}, "012345678", adapter.ErrRefused}, {adapter.Range{Offset: 8, Max: 5}, "89", nil}, {adapter.Range{Offset: 50}, "", nil},
	} {
		var b bytes.Buffer
		err := copyRange(&b, strings.NewReader("0123456789"), c.r)
		if b.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%+v: %q, %v", c.r, &b, err)
		}
	}
}

func TestEncryptedNames(t *testing.T) {
	if got := Encrypted("!a"); !strings.HasSuffix(got, ": !a") {
		t.Error(got)
	}
	if got := Encrypted("!a", "!b", "!c", "!d", "!e", "!f", "!g"); !strings.HasSuffix(got, ": !a, !b, !c, !d, !e, and 2 more") {
		t.Error(got)
	}
}
