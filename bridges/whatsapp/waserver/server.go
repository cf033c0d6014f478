//go:build !nowhatsapp

package waserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"

	"mimigate/bridges/whatsapp/waserver/blob"
	"mimigate/bridges/whatsapp/waserver/collections"
	"mimigate/bridges/whatsapp/waserver/group"
	"mimigate/bridges/whatsapp/waserver/noise"
)

// rootKey is the private key of the root certificate of every waserver: whatsmeow keeps the root's public key in a
// variable of the process, so that servers of one process, and of the processes a test starts, have to share it.
func rootKey() *keys.KeyPair {
	return keys.NewKeyPairFromPrivateKey(sha256.Sum256([]byte("mimigate waserver root")))
}

// Root is the public key to assign to whatsmeow.WACertPubKey in a process that Start did not run in.
func Root() [32]byte { return *rootKey().Pub }

// trust makes this process trust waservers. It is done once, before any client of a waserver connects.
var trust = sync.OnceFunc(func() { whatsmeow.WACertPubKey = Root() })

// Server is a WhatsApp server. Its methods are for any goroutine.
type Server struct {
	http     *http.Server
	addr     string
	identity *noise.Identity
	ctx      context.Context // ends with the server
	end      context.CancelFunc
	running  sync.WaitGroup // connections
	media    blob.Store

	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, with each change a test may wait for
	down     bool
	version  store.WAVersionContainer
	accounts []*account
	users    map[string]*account // by the user part of number and LID
	refused  map[string]Failure  // by number
	sessions map[*session]bool
	refs     map[string]*session // unlinked connections by their QR references
	codes    map[string]*codeLink
	groups   map[string]*group.Group
	pictures map[string]*picture // of groups
	rules    []*script
	held     []heldStanza
	accepted []Accepted
	unknown  []string
	sequence int
}

// account is a person's account: a number, a LID, and devices.
type account struct {
	group.Person
	server   *Server
	business string // verified name, "" for who is no business
	status   string
	byNumber bool // its messages name its number and not its LID
	devices  []*device
	nextID   uint16
	watchers map[*account]bool // who asked for its devices
	blocked  map[*account]bool
	picture  picture
	state    collections.State
	online   map[*device]types.JID
	lastSeen time.Time
}

// device is one client of an account; the phone is number 0.
type device struct {
	account      *account
	id           uint16
	noise        []byte // static public key of the transport
	registration []byte
	identity     []byte
	signed       waBinary.Node
	oneTime      []waBinary.Node
	session      *session
	available    bool
	queue        []waBinary.Node // sent or not, not yet acknowledged
}

func (d *device) pn() types.JID {
	return types.JID{User: d.account.PN.User, Device: d.id, Server: types.DefaultUserServer}
}

func (d *device) lid() types.JID {
	return types.JID{User: d.account.LID.User, Device: d.id, Server: types.HiddenUserServer}
}

// Start starts a server on a free port of loopback. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	trust()
	identity, err := noise.NewIdentity(rootKey(), time.Now())
	if err != nil {
		t.Fatalf("waserver: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("waserver: %v", err)
	}
	s := newServer()
	s.identity, s.addr = identity, listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("/ws/chat", s.serveSocket)
	mux.HandleFunc("GET /{$}", s.servePage)
	s.media.Handle(mux)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() { _ = s.http.Serve(listener) }) // ends with ErrServerClosed
	t.Cleanup(func() {
		s.end()
		_ = s.http.Close()
		s.running.Wait()
	})
	return s
}

// newServer is a server that nobody can reach yet.
func newServer() *Server {
	s := &Server{
		changed: make(chan struct{}), version: store.WAVersionContainer{2, 3000, 0},
		users: map[string]*account{}, refused: map[string]Failure{}, sessions: map[*session]bool{},
		refs: map[string]*session{}, codes: map[string]*codeLink{}, groups: map[string]*group.Group{},
		pictures: map[string]*picture{},
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Addr is the server's address, host:port on loopback.
func (s *Server) Addr() string { return s.addr }

// Hook points an unpatched client to the server by whatsmeow's own hooks: before login, after it, and for media.
func (s *Server) Hook(client *whatsmeow.Client) {
	h := s.HTTPClient()
	client.SetPreLoginHTTPClient(h)
	client.SetWebsocketHTTPClient(h)
	client.SetMediaHTTPClient(h)
}

// HTTPClient is a client to whom every host is this server: web.whatsapp.com, mmg.whatsapp.net, pps.whatsapp.net. A
// profile picture's URL is fetched with it, and whatsmeow.GetLatestVersion takes it.
func (s *Server) HTTPClient() *http.Client { return HTTPClient(s.addr) }

// HTTPClient is Server.HTTPClient for a process that only knows the server's address.
func HTTPClient(addr string) *http.Client { return &http.Client{Transport: loopback(addr)} }

// loopback sends every request to one address, without TLS.
type loopback string

// RoundTrip implements http.RoundTripper.
func (l loopback) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", string(l)
	return http.DefaultTransport.RoundTrip(r)
}

// servePage is what whatsmeow.GetLatestVersion reads.
func (s *Server) servePage(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(w, `<script>{"client_revision":%d,"tier":"sb"}</script>`, s.version[2])
}

// RequireVersion refuses, from now on, clients older than version as outdated (405); it is the version that
// whatsmeow.GetLatestVersion finds.
func (s *Server) RequireVersion(version store.WAVersionContainer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

// Down refuses connections and cuts those there are, until Up.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	for ss := range s.sessions {
		ss.cut()
	}
}

// Up ends Down.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
}

// Accepted is a message that the server took from a client, whatever became of its acknowledgement.
type Accepted struct {
	ID   types.MessageID
	From types.JID // the sending device, by number
	To   types.JID // the chat as the client addressed it
	Type string    // text, media, reaction, poll, …
	Edit string    // types.EditAttribute, "" for a new message
}

// Accepted returns all messages that linked devices of a number have sent, oldest first, not those of its phone.
func (s *Server) Accepted(number string) []Accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.accepted), func(a Accepted) bool { return a.From.User != number || a.From.Device == 0 })
}

// Unknown returns what clients asked that the server does not know, as "xmlns/tag": a test that ends with any has found a
// part of whatsmeow that waserver lacks.
func (s *Server) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unknown)
}

// Devices returns the linked devices of a number, without its phone.
func (s *Server) Devices(number string) []types.JID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []types.JID
	for _, d := range s.linked(number) {
		list = append(list, d.pn())
	}
	return list
}

// linked returns the linked devices of a number. The server is locked.
func (s *Server) linked(number string) []*device {
	a := s.users[number]
	if a == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.devices), func(d *device) bool { return d.id == 0 })
}

// Waiting is how many stanzas the linked devices of a number have not acknowledged yet.
func (s *Server) Waiting(number string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, d := range s.linked(number) {
		n += len(d.queue)
	}
	return n
}

// WaitOnline waits until the linked devices of a number, at least one, are logged in and active.
func (s *Server) WaitOnline(t testing.TB, number string) {
	t.Helper()
	s.wait(t, "linked devices of the number are active", func() bool {
		list := s.linked(number)
		return len(list) > 0 && !slices.ContainsFunc(list, func(d *device) bool { return d.session == nil || !d.session.active })
	})
}

// WaitOffline waits until no linked device of a number is connected.
func (s *Server) WaitOffline(t testing.TB, number string) {
	t.Helper()
	s.wait(t, "linked devices of the number are gone", func() bool {
		return !slices.ContainsFunc(s.linked(number), func(d *device) bool { return d.session != nil })
	})
}

// WaitQuiet waits until the linked devices of a number have acknowledged everything.
func (s *Server) WaitQuiet(t testing.TB, number string) {
	t.Helper()
	s.wait(t, "linked devices of the number have acknowledged everything", func() bool {
		return !slices.ContainsFunc(s.linked(number), func(d *device) bool { return len(d.queue) > 0 })
	})
}

// patience is how long a test waits for something that should happen at once.
const patience = 30 * time.Second

// wait waits until a condition holds, which is asked with the server locked.
func (s *Server) wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !s.until(ctx, holds) {
		t.Fatalf("waserver: waited %v in vain until %s", patience, what)
	}
}

// until waits until a condition holds, which is asked with the server locked; false when the context ended first.
func (s *Server) until(ctx context.Context, holds func() bool) bool {
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// change tells those who wait. The server is locked.
func (s *Server) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// next is a number that was not used before. The server is locked.
func (s *Server) next() string {
	s.sequence++
	return strconv.Itoa(s.sequence)
}

// add adds an account, or returns the one that has the number. The server is locked.
func (s *Server) add(number, name string) *account {
	if a := s.users[number]; a != nil {
		return a
	}
	a := &account{
		Person: group.Person{
			PN: types.NewJID(number, types.DefaultUserServer), Name: name,
			LID: types.NewJID(strconv.Itoa(100000000000001+len(s.accounts)), types.HiddenUserServer),
		},
		server: s, nextID: 1,
		watchers: map[*account]bool{}, blocked: map[*account]bool{}, state: collections.State{}, online: map[*device]types.JID{},
	}
	s.accounts = append(s.accounts, a)
	s.users[a.PN.User], s.users[a.LID.User] = a, a
	return a
}

// find returns the account of a person's JID, by number or LID, or nil. The server is locked.
func (s *Server) find(j types.JID) *account {
	switch j.Server {
	case types.DefaultUserServer, types.HiddenUserServer, types.LegacyUserServer:
		return s.users[j.User]
	}
	return nil
}

// device returns the device of a JID, or nil. The server is locked.
func (s *Server) device(j types.JID) *device {
	if a := s.find(j); a != nil {
		for _, d := range a.devices {
			if d.id == j.Device {
				return d
			}
		}
	}
	return nil
}

// HideNumber says whether others learn the number behind a person's LID from messages and groups.
func (s *Server) HideNumber(number string, hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[number]; a != nil {
		a.Hidden = hidden
	}
}

// SetBusiness gives an account the verified name of a business, which its messages and its profile then carry.
func (s *Server) SetBusiness(number, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[number]; a != nil {
		a.business = name
	}
}
