package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"mimigate/core/config"
	"mimigate/core/provider"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

// federation connects the gateway with other providers: it serves them once there is one, and asks them. Who they are, the peer book
// knows.
type federation struct {
	*peerBook
	peers   *provider.Peers
	observe func(provider.Request)
	log     *slog.Logger

	mu      sync.Mutex
	known   map[uri.Provider]*peer
	answer  *provider.Endpoints // nil: the gateway does not run yet
	server  *provider.Server    // nil: there is no peer, or not yet an address
	problem string              // why it is not served
	serving sync.WaitGroup
	retry   *time.Timer // when the address was not to be had
}

// peer is another provider that we are connected with.
type peer struct {
	config.Peer
	roots  *x509.CertPool
	client *provider.Client
}

// listenAgain is when an address is asked for again that was not to be had.
const listenAgain = 5 * time.Second

var _ provider.Trust = (*federation)(nil)

// Roots implements provider.Trust.
func (f *federation) Roots(of uri.Provider) (*x509.CertPool, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.known[of]
	if p == nil {
		return nil, false
	}
	return p.roots, true
}

// may returns what the people of a provider may do here; false: it is no peer.
func (f *federation) may(of uri.Provider) (config.May, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.known[of]
	if p == nil {
		return config.May{}, false
	}
	return p.May, true
}

// vouching returns which authorities vouch for the users of a provider, and whether they may do without; see package vouch.
func (f *federation) vouching(of uri.Provider) (roots *x509.CertPool, basic bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.known[of]
	if p == nil {
		return nil, false
	}
	return p.roots, p.Credentials == "basic"
}

// adopt makes the peers those of the configuration and those accepted by command. A peer that stays the same keeps its connections.
// What is wrong with one keeps no other from being used.
func (f *federation) adopt(ctx context.Context) error {
	all, err := f.all(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := maps.Clone(f.known)
	for _, c := range all {
		if before := f.known[c.Domain]; before != nil && before.Same(c) {
			delete(gone, c.Domain)
			continue
		}
		p, err := f.newPeer(c)
		if err != nil {
			f.log.Error("a peer cannot be used", "peer", c.Domain.Domain(), "at", c.At.String(), "error", err)
			continue
		}
		if before := f.known[c.Domain]; before != nil {
			before.client.Close()
			delete(gone, c.Domain)
		}
		f.known[c.Domain] = p
		f.peers.Add(c.Domain, p.client.Endpoints())
	}
	for domain, p := range gone {
		f.peers.Remove(domain)
		p.client.Close()
		delete(f.known, domain)
	}
	return nil
}

func (f *federation) newPeer(c config.Peer) (*peer, error) {
	if len(c.Problems) > 0 {
		return nil, c.Problems
	}
	roots, err := trust.Pool(c.CA.Content)
	if err != nil {
		return nil, err
	}
	p := &peer{Peer: c, roots: roots}
	p.client = provider.NewClient(provider.ClientOptions{Self: f.provider, Peer: c.Domain, URL: c.URL, Roots: roots,
		Certificate: f.certificate.Certificate, Now: time.Now})
	return p, nil
}

// open lets peers be answered from now on.
func (f *federation) open(e provider.Endpoints) error {
	f.mu.Lock()
	f.answer = &e
	f.mu.Unlock()
	return f.serve()
}

// serve begins to serve the peers, if there are any, and it does not yet: nothing is open to others before (design §10). An address that
// is not to be had now is asked for again.
func (f *federation) serve() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) == 0 || f.server != nil || f.answer == nil {
		return nil
	}
	where, err := f.url()
	if err != nil {
		return err
	}
	if _, err := f.certificate.Certificate(); err != nil {
		return f.later(err)
	}
	l, err := net.Listen("tcp", f.config().Provider.Listen)
	if err != nil {
		return f.later(err)
	}
	f.server, err = provider.NewServer(provider.ServerOptions{Provider: f.provider, Endpoints: *f.answer, URL: where, Trust: f,
		Certificate: f.certificate.Certificate, Observe: f.observe, Now: time.Now, Log: f.log})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	f.problem = ""
	server := f.server
	f.serving.Go(func() {
		if err := server.Serve(l); err != nil {
			f.log.Error("other providers are not served any more", "error", err)
		}
	})
	f.log.Info("other providers are served", "listen", l.Addr().String(), "url", where)
	return nil
}

// opened reports whether the gateway runs.
func (f *federation) opened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answer != nil
}

// later tries to serve again in a while; the lock is held.
func (f *federation) later(err error) error {
	if f.problem == "" {
		f.log.Error("other providers cannot be served, trying again", "error", err)
	}
	f.problem = err.Error()
	f.retry = time.AfterFunc(listenAgain, func() {
		if err := f.serve(); err != nil {
			f.log.Error("other providers cannot be served", "error", err)
		}
	})
	return nil
}

// close ends all connections with other providers, and waits for their requests.
func (f *federation) close() {
	f.mu.Lock()
	if f.retry != nil {
		f.retry.Stop()
	}
	server := f.server
	f.known = map[uri.Provider]*peer{} // a retry that is under way finds nobody to serve
	f.mu.Unlock()
	if server != nil {
		server.Close()
	}
	f.serving.Wait()
}

// PeerStatus is how another provider does.
type PeerStatus struct {
	Domain string
	URL    string `json:",omitempty"`
	From   string // "config.yaml:41", or "command"
	Invite string // ask, allow or deny
	// Connected: it has just answered, and knows us. Otherwise Problem says why not, where the gateway runs.
	Connected bool   `json:",omitempty"`
	Problem   string `json:",omitempty"`
	Refused   int64  `json:",omitempty"` // requests of it since the start
}

// status returns how the peers do, each asked now.
func (f *federation) status(ctx context.Context) ([]PeerStatus, error) {
	list, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	known, server := maps.Clone(f.known), f.server
	f.mu.Unlock()
	refused := map[string]int64{}
	if server != nil {
		for c, n := range server.Counts() {
			if c.Status >= 400 {
				refused[c.Peer.Domain()] += n
			}
		}
	}
	var asking sync.WaitGroup
	for i := range list {
		s := &list[i]
		s.Refused = refused[s.Domain]
		domain, err := uri.NewProvider(s.Domain)
		p := known[domain]
		if err != nil || p == nil {
			continue
		}
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			err := p.client.Check(ctx)
			if s.Connected = err == nil; err != nil {
				s.Problem = problemOf(err)
			}
		})
	}
	asking.Wait()
	return list, nil
}

// checkTime is how long a peer is waited for.
const checkTime = 5 * time.Second

// problemOf says what an administrator can do.
func problemOf(err error) string {
	if errors.Is(err, provider.ErrNotAccepted) {
		return `it has not accepted us: give its administrator the text of "mimigate peer invite"`
	}
	return err.Error()
}

// connect makes the federation of the gateway.
func (g *Gateway) connect(ctx context.Context) error {
	book, err := newPeerBook(ctx, g.store, g.provider, g.config.Load, g.log)
	if err != nil {
		return err
	}
	g.federation = &federation{peerBook: book, peers: g.peers, observe: g.countRequest, log: g.log, known: map[uri.Provider]*peer{}}
	return nil
}

// countRequest counts a request of another provider; one that was not recognised has no name.
func (g *Gateway) countRequest(r provider.Request) {
	name := ""
	if !r.Peer.IsZero() {
		name = r.Peer.Domain()
	}
	g.metrics.Request(name, string(r.Endpoint), r.Status, r.Took)
}

// federate makes the peers what they are now, and serves them.
func (g *Gateway) federate(ctx context.Context) error {
	if err := g.federation.adopt(ctx); err != nil {
		return err
	}
	return g.federation.serve()
}

// Invitation returns the text for another administrator.
func (g *Gateway) Invitation() (Invited, error) { return g.federation.invitation() }

// Peers returns how the peers do, each asked now.
func (g *Gateway) Peers(ctx context.Context) ([]PeerStatus, error) { return g.federation.status(ctx) }

// AcceptPeer makes the provider of an invitation a peer. It is connected at once, and people of it who wait to be invited are.
func (g *Gateway) AcceptPeer(ctx context.Context, text string, may config.May) (Invited, error) {
	who, err := g.federation.accept(ctx, text, may)
	if err != nil {
		return Invited{}, err
	}
	g.log.Info("a peer was accepted", "peer", who.Domain)
	if err := g.federate(ctx); err != nil {
		return who, err
	}
	if g.federation.opened() {
		g.arrange(ctx, g.roomsInviting(who.Domain))
	}
	return who, nil
}

// roomsInviting returns the rooms of the configuration that invite people of a domain.
func (g *Gateway) roomsInviting(domain string) (list []config.Room) {
	for _, r := range g.config.Load().Rooms {
		for _, u := range r.Invite {
			if u.Domain() == domain {
				list = append(list, r)
				break
			}
		}
	}
	return list
}

// RemovePeer ends what AcceptPeer began.
func (g *Gateway) RemovePeer(ctx context.Context, domain string) error {
	if err := g.federation.remove(ctx, domain); err != nil {
		return err
	}
	g.log.Info("a peer was removed", "peer", domain)
	return g.federate(ctx)
}
