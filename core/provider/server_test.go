package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

func domain(t testing.TB, name string) uri.Provider {
	t.Helper()
	p, err := uri.NewProvider(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func roomOf(t testing.TB, address string) uri.Room {
	t.Helper()
	r, err := uri.ParseRoom(address)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// party is a provider with its certificates.
type party struct {
	provider    uri.Provider
	authority   *trust.Authority
	certificate *trust.Current
}

func newParty(t testing.TB, name string) *party {
	t.Helper()
	p := &party{provider: domain(t, name)}
	var err error
	if p.authority, err = trust.NewAuthority(name, time.Now()); err != nil {
		t.Fatal(err)
	}
	p.certificate = trust.Issued(p.authority, time.Now, slog.New(slog.DiscardHandler))
	return p
}

func (p *party) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.authority.Certificate())
	return pool
}

// trusted is a Trust of a fixed list.
type trusted map[uri.Provider]*x509.CertPool

func (t trusted) Roots(p uri.Provider) (*x509.CertPool, bool) {
	pool, ok := t[p]
	return pool, ok
}

// fake answers as its functions say, and remembers who asked.
type fake struct {
	mu     sync.Mutex
	from   []uri.Provider
	rooms  []uri.Room
	bodies [][]byte
	err    error
	asset  *mimi.Asset
	url    string
}

func (f *fake) note(from uri.Provider, room uri.Room, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.rooms, f.bodies = append(f.from, from), append(f.rooms, room), append(f.bodies, bytes.Clone(body))
	return f.err
}

func (f *fake) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.from)
}

func (f *fake) Update(_ context.Context, from uri.Provider, room uri.Room, r *mimi.UpdateRequest) (*mimi.UpdateRoomResponse, error) {
	return &mimi.UpdateRoomResponse{Code: mimi.UpdateWrongEpoch, Description: "wrong epoch", Epoch: 7}, f.note(from, room, mimi.Encode(r))
}

func (f *fake) Submit(_ context.Context, from uri.Provider, room uri.Room, r *mimi.SubmitMessageRequest) (*mimi.SubmitMessageResponse, error) {
	return &mimi.SubmitMessageResponse{Accepted: 42}, f.note(from, room, mimi.Encode(r))
}

func (f *fake) GroupInfo(_ context.Context, from uri.Provider, room uri.Room, r *mimi.GroupInfoRequest) (*mimi.GroupInfoResponse, error) {
	return &mimi.GroupInfoResponse{Room: room.String(), Code: mimi.GroupInfoNotAuthorized}, f.note(from, room, mimi.Encode(r))
}

func (f *fake) Notify(_ context.Context, from uri.Provider, room uri.Room, body []byte) error {
	if len(body) == 0 {
		return mimi.ErrBadRequest
	}
	return f.note(from, room, body)
}

func (f *fake) KeyMaterial(_ context.Context, from uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	return &mimi.KeyMaterialResponse{Code: mimi.UserNoConsent, User: target.String()}, f.note(from, uri.Room{}, mimi.Encode(r))
}

func (f *fake) RequestConsent(_ context.Context, from uri.Provider, e *mimi.ConsentEntry) error {
	return f.note(from, uri.Room{}, mimi.Encode(e))
}

func (f *fake) UpdateConsent(_ context.Context, from uri.Provider, e *mimi.ConsentEntry) error {
	return f.note(from, uri.Room{}, mimi.Encode(e))
}

func (f *fake) Identify(_ context.Context, from uri.Provider, r *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	return &mimi.IdentifierResponse{Code: mimi.IdentifierNotFound}, f.note(from, uri.Room{}, mimi.Encode(r))
}

func (f *fake) ReportAbuse(_ context.Context, from uri.Provider, room uri.Room, r *mimi.AbuseReport) error {
	return f.note(from, room, mimi.Encode(r))
}

func (f *fake) Download(_ context.Context, from uri.Provider, r *mimi.AssetRequest) (*mimi.Asset, error) {
	f.url = r.URL
	return f.asset, f.note(from, uri.Room{}, []byte(r.Header.Get("Cookie")+r.Header.Get("Range")))
}

func (f *fake) endpoints() Endpoints {
	return Endpoints{Hub: f, Follower: f, KeyMaterial: f, Consent: f, Identifiers: f, Abuse: f, Assets: f}
}

// served is a server on loopback.
type served struct {
	*Server
	*fake
	url string
}

// serve starts a server of a provider whose peers are others.
func serve(t testing.TB, p *party, limits Limits, others ...*party) *served {
	t.Helper()
	peers := make(trusted)
	for _, o := range others {
		peers[o.provider] = o.roots()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{fake: new(fake), url: "https://" + l.Addr().String()}
	s.Server, err = NewServer(ServerOptions{Provider: p.provider, Endpoints: s.fake.endpoints(), URL: s.url, Trust: peers,
		Certificate: p.certificate.Certificate, Limits: limits, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (p *party) client(t testing.TB, of *party, s *served) *Client {
	t.Helper()
	c := NewClient(ClientOptions{Self: p.provider, Peer: of.provider, URL: s.url, Roots: of.roots(), Certificate: p.certificate.Certificate, Now: time.Now})
	t.Cleanup(c.Close)
	return c
}

// TestEndpoints: each endpoint over real mutual TLS, from a client to what answers and back.
func TestEndpoints(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	c, ctx := b.client(t, a, s), t.Context()
	room := roomOf(t, "mimi://a.example/r/club%2Fhouse")
	user, err := a.provider.User("ann")
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("messages")
	for name, f := range map[string]func() error{
		"notify": func() error { return c.Notify(ctx, a.provider, room, body) },
		"requestConsent": func() error {
			return c.RequestConsent(ctx, a.provider, &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: "mimi://b.example/u/bob", Target: user.String()})
		},
		"updateConsent": func() error {
			return c.UpdateConsent(ctx, a.provider, &mimi.ConsentEntry{Operation: mimi.ConsentRevoke, Requester: "mimi://a.example/u/ann", Target: "mimi://b.example/u/bob"})
		},
		"identifierQuery": func() error {
			r, err := c.Identify(ctx, a.provider, &mimi.IdentifierRequest{Elements: []mimi.QueryElement{{Type: mimi.SearchNick, Value: "ann"}}})
			if err == nil && r.Code != mimi.IdentifierNotFound {
				t.Errorf("identifierQuery: %+v", r)
			}
			return err
		},
		"reportAbuse": func() error {
			return c.ReportAbuse(ctx, a.provider, room, &mimi.AbuseReport{Accused: "mimi://b.example/u/bob"})
		},
	} {
		before := s.asked()
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.asked() != before+1 {
			t.Errorf("%s: was asked %d times", name, s.asked()-before)
		}
		if got := s.from[len(s.from)-1]; got != b.provider {
			t.Errorf("%s: from %v", name, got)
		}
		if got := s.rooms[len(s.rooms)-1]; got != room && got != (uri.Room{}) {
			t.Errorf("%s: room %v", name, got)
		}
	}
	if err := c.Check(ctx); err != nil {
		t.Errorf("Check: %v", err)
	}
	if n := s.Counts()[Count{b.provider, http.StatusCreated}]; n != 4 {
		t.Errorf("%d answers 201 counted, want 4", n)
	}
}

// TestDownload: a file comes through as it is, without what tells of the client.
func TestDownload(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	file := strings.Repeat("0123456789", 500_000)
	s.asset = &mimi.Asset{Status: http.StatusPartialContent, Header: http.Header{"Etag": {`"x"`}, "Set-Cookie": {"c=1"}}, Body: io.NopCloser(strings.NewReader(file))}
	where := "https://media.c.example/f?a=1&b=%20"
	got, err := b.client(t, a, s).Download(t.Context(), a.provider, &mimi.AssetRequest{URL: where,
		Header: http.Header{"Range": {"bytes=0-"}, "Cookie": {"c=1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil || string(text) != file {
		t.Errorf("%d octets, %v", len(text), err)
	}
	if s.fake.url != where || string(s.bodies[0]) != "bytes=0-" {
		t.Errorf("asked for %s with %s", s.fake.url, s.bodies[0])
	}
	if got.Status != http.StatusPartialContent || got.Header.Get("Etag") != `"x"` || got.Header.Get("Set-Cookie") != "" {
		t.Errorf("%d %v", got.Status, got.Header)
	}
}

// raw makes a request whose parts can all be wrong.
type raw struct {
	method, path, host, from string
	body                     []byte
	show                     *party // whose certificate is shown; nil: none
}

func (q raw) do(t *testing.T, s *served, of *party) *http.Response {
	t.Helper()
	config := &tls.Config{RootCAs: of.roots(), ServerName: of.provider.Domain()}
	if q.show != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return q.show.certificate.Certificate() }
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), q.method, s.url, bytes.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = q.path
	r.Host = q.host
	if q.from != "" {
		r.Header.Set("From", q.from)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestCaller: who may ask, and how it has to be asked.
func TestCaller(t *testing.T) {
	a, b, stranger, liar := newParty(t, "a.example"), newParty(t, "b.example"), newParty(t, "c.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	path := "/notify/mimi%3A%2F%2Fb.example%2Fr%2Fclub"
	good := raw{http.MethodPost, path, "a.example", "mimi@b.example", []byte("x"), b}
	with := func(change func(*raw)) raw {
		q := good
		change(&q)
		return q
	}
	for name, c := range map[string]struct {
		q    raw
		want int
	}{
		"as it should be":           {good, 201},
		"Host with a port":          {with(func(q *raw) { q.host = "A.example:8443" }), 201},
		"raw address":               {with(func(q *raw) { q.path = "/notify/mimi://b.example/r/club" }), 201},
		"address without scheme":    {with(func(q *raw) { q.path = "/notify/b.example/r/club" }), 201},
		"half-encoded address":      {with(func(q *raw) { q.path = "/notify/mimi:%2F%2Fb.example%2Fr%2Fclub" }), 201},
		"no certificate":            {with(func(q *raw) { q.show = nil }), 401},
		"a stranger":                {with(func(q *raw) { q.show, q.from = stranger, "mimi@c.example" }), 401},
		"another authority":         {with(func(q *raw) { q.show = liar }), 401},
		"for another":               {with(func(q *raw) { q.show = stranger }), 403},
		"no From":                   {with(func(q *raw) { q.from = "" }), 400},
		"From with a name":          {with(func(q *raw) { q.from = "B <mimi@b.example>" }), 400},
		"From of somebody else":     {with(func(q *raw) { q.from = "bob@b.example" }), 400},
		"another Host":              {with(func(q *raw) { q.host = "x.example" }), 421},
		"GET":                       {with(func(q *raw) { q.method = http.MethodGet }), 405},
		"no such endpoint":          {with(func(q *raw) { q.path = "/notice/x" }), 404},
		"no room":                   {with(func(q *raw) { q.path = "/notify/mimi%3A%2F%2Fb.example%2Fu%2Fbob" }), 400},
		"nothing in the path":       {with(func(q *raw) { q.path = "/notify" }), 400},
		"a body that means nothing": {with(func(q *raw) { q.path = "/update/mimi%3A%2F%2Fa.example%2Fr%2Fclub" }), 400},
		"another one's users":       {with(func(q *raw) { q.path = "/identifierQuery/c.example" }), 404},
		"directory":                 {raw{method: http.MethodGet, path: DirectoryPath, host: "a.example"}, 200},
		"directory of another":      {raw{method: http.MethodGet, path: DirectoryPath, host: "b.example"}, 421},
		"POST of the directory":     {raw{method: http.MethodPost, path: DirectoryPath, host: "a.example"}, 405},
	} {
		before := s.asked()
		if got := c.q.do(t, s, a).StatusCode; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if passed := s.asked() > before; passed != (c.want == 201) {
			t.Errorf("%s: passed on: %v", name, passed)
		}
	}
}

// TestErrors: what an endpoint says reaches who asked, by way of the HTTP status.
func TestErrors(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	c, room := b.client(t, a, s), roomOf(t, "mimi://a.example/r/club")
	for _, want := range []error{mimi.ErrBadRequest, mimi.ErrForbidden, mimi.ErrNotFound} {
		before := s.asked()
		s.err = want
		if err := c.Notify(t.Context(), a.provider, room, []byte("x")); !errors.Is(err, want) || !mimi.Final(err) {
			t.Errorf("%v became %v", want, err)
		}
		if s.asked() != before+1 {
			t.Errorf("%v: asked again", want)
		}
	}
	s.err = errors.New("the disk is full")
	before := s.asked()
	err := c.Notify(t.Context(), a.provider, room, []byte("x"))
	if !errors.Is(err, ErrUnreachable) || mimi.Final(err) || strings.Contains(err.Error(), "disk") {
		t.Errorf("a failure became %v", err)
	}
	if n := s.asked() - before; n != attempts {
		t.Errorf("asked %d times, want %d", n, attempts)
	}
	s.err = mimi.RetryAfter(time.Minute, errors.New("later"))
	if after, ok := mimi.RetryTime(c.Notify(t.Context(), a.provider, room, []byte("x"))); !ok || after != time.Minute {
		t.Errorf("again after %v %v", after, ok)
	}
}

// TestUnknown: a peer that does not know us yet is asked again, as it may come to know us.
func TestUnknown(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{})
	err := b.client(t, a, s).Notify(t.Context(), a.provider, roomOf(t, "mimi://b.example/r/club"), []byte("x"))
	if !errors.Is(err, ErrNotAccepted) || mimi.Final(err) {
		t.Errorf("got %v", err)
	}
	if err := b.client(t, a, s).Check(t.Context()); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("Check: %v", err)
	}
	impostor := newParty(t, "a.example")
	c := NewClient(ClientOptions{Self: b.provider, Peer: a.provider, URL: s.url, Roots: impostor.roots(), Certificate: b.certificate.Certificate, Now: time.Now})
	if err := c.Check(t.Context()); !errors.Is(err, ErrUnreachable) || s.asked() != 0 {
		t.Errorf("a server with another authority: %v", err)
	}
}

// TestLimits: too many requests, and too much in one.
func TestLimits(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	path, host, from := "/notify/mimi%3A%2F%2Fb.example%2Fr%2Fclub", "a.example", "mimi@b.example"
	s := serve(t, a, Limits{Rate: 0.001, Burst: 3, Memory: 3 << 20}, b)
	for i, want := range []int{201, 201, 201, 429} {
		resp := raw{http.MethodPost, path, host, from, []byte("x"), b}.do(t, s, a)
		if resp.StatusCode != want || (resp.Header.Get("Retry-After") != "") != (want == 429) {
			t.Errorf("request %d: %d, Retry-After %s", i, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	s = serve(t, a, Limits{Rate: 1000, Burst: 1000, Memory: 3 << 20}, b)
	for octets, want := range map[int]int{smallBody: 201, smallBody + 1: 201, 3 << 20: 201, 9 << 20: 503} {
		resp := raw{http.MethodPost, path, host, from, make([]byte, octets), b}.do(t, s, a)
		if resp.StatusCode != want || (resp.Header.Get("Retry-After") != "") != (want == 503) {
			t.Errorf("%d octets: %d, Retry-After %s", octets, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	if held := s.meter.of(b.provider).held; held != 0 {
		t.Errorf("%d octets are still held", held)
	}
	submit := "/submitMessage/mimi%3A%2F%2Fa.example%2Fr%2Fclub"
	if got := (raw{http.MethodPost, submit, host, from, make([]byte, messageMax+1), b}).do(t, s, a).StatusCode; got != 413 {
		t.Errorf("a message of more than %d octets: %d", messageMax, got)
	}
}

// TestLargeBody: a Welcome with the tree of a large room comes through, whole.
func TestLargeBody(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	body := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	if err := b.client(t, a, s).Notify(t.Context(), a.provider, roomOf(t, "mimi://b.example/r/club"), body); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.bodies[0], body) {
		t.Errorf("%d octets of %d", len(s.bodies[0]), len(body))
	}
	if err := b.client(t, a, s).Notify(t.Context(), a.provider, roomOf(t, "mimi://b.example/r/club"), make([]byte, roomMax+1)); !errors.Is(err, mimi.ErrBadRequest) {
		t.Errorf("more than the limit: %v", err)
	}
}

// TestMovedEndpoint: a directory that is old is read again where an endpoint is not there any more.
func TestMovedEndpoint(t *testing.T) {
	a, b := newParty(t, "a.example"), newParty(t, "b.example")
	s := serve(t, a, Limits{}, b)
	c := b.client(t, a, s)
	now := time.Now()
	c.Now = func() time.Time { return now }
	c.directory, c.read = NewDirectory(s.url+"/old"), now.Add(-30*time.Minute)
	if err := c.Notify(t.Context(), a.provider, roomOf(t, "mimi://b.example/r/club"), []byte("x")); err != nil {
		t.Error(err)
	}
}

func FuzzServe(f *testing.F) {
	a, b := newParty(f, "a.example"), newParty(f, "b.example")
	pair, err := b.certificate.Certificate()
	if err != nil {
		f.Fatal(err)
	}
	fakes := new(fake)
	fakes.asset = &mimi.Asset{Status: 200, Body: io.NopCloser(strings.NewReader(""))}
	s, err := NewServer(ServerOptions{Provider: a.provider, Endpoints: fakes.endpoints(), URL: "https://a.example", Trust: trusted{b.provider: b.roots()},
		Certificate: a.certificate.Certificate, Limits: Limits{Rate: 1e9, Burst: 1e9, Memory: 1 << 30}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	room := "mimi%3A%2F%2Fa.example%2Fr%2Fclub"
	f.Add("POST", "/update/"+room, "mimi@b.example", []byte{0, 1, 0, 1})
	f.Add("POST", "/keyMaterial/mimi%3A%2F%2Fa.example%2Fu%2Fann", "mimi@b.example", []byte{1, 0, 0, 0})
	f.Add("POST", "/submitMessage/"+room, "mimi@b.example", []byte{1, 0, 1, 0, 2})
	f.Add("POST", "/groupInfo/"+room, "mimi@b.example", []byte{1, 0, 1, 0})
	f.Add("POST", "/notify/"+room, "mimi@b.example", []byte{0})
	f.Add("POST", "/requestConsent/a.example", "mimi@b.example", []byte{1, 0, 0, 0, 0})
	f.Add("POST", "/updateConsent/a.example", "mimi@b.example", []byte{2, 0, 0, 0, 0, 0})
	f.Add("POST", "/identifierQuery/a.example", "mimi@b.example", []byte{0, 0})
	f.Add("POST", "/reportAbuse/"+room, "mimi@b.example", []byte{0, 0, 0, 0, 0, 0})
	f.Add("GET", "/proxyDownload/https%3A%2F%2Fx.example%2F", "mimi@b.example", []byte{})
	f.Add("GET", DirectoryPath, "", []byte{})
	f.Fuzz(func(t *testing.T, method, path, from string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil || method == "" {
			t.Skip("not what an HTTP server could read")
		}
		r := &http.Request{Method: method, URL: u, Host: "a.example", Header: http.Header{"From": {from}}, Body: io.NopCloser(bytes.NewReader(body)),
			ContentLength: int64(len(body)), TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if from != "mimi@b.example" && w.Code/100 == 2 && u.Path != DirectoryPath && !strings.Contains(from, "b.example") {
			t.Errorf("%s may %s", from, path)
		}
	})
}
