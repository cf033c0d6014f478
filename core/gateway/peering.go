package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/provider/invitation"
	"mimigate/core/provider/trust"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// Peering connects this gateway with other providers: by the gateway where it runs, otherwise on its store alone.
type Peering struct {
	client *Client   // nil: it does not run
	book   *peerBook // otherwise
}

// Invited is who an invitation is for or from.
type Invited struct {
	Text        string `json:",omitempty"` // the invitation itself
	Domain      string
	URL         string
	Fingerprint string // of its authority, for comparing
	CA          string `json:",omitempty"` // its authority's certificate in PEM form; "": one that operating systems trust
}

// WithPeering calls f with the peering of a configuration: that of the gateway if it runs.
func WithPeering(ctx context.Context, o Options, f func(*Peering) error) (err error) {
	client, err := Dial(ctx, o.Config.Provider.Files)
	if err == nil {
		defer client.Close()
		return f(&Peering{client: client})
	}
	if !errors.Is(err, ErrNotRunning) {
		return err
	}
	s, err := openStore(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := providerOf(ctx, o.Config, s)
	if err != nil {
		return err
	}
	book, err := newPeerBook(ctx, s, p, func() *config.Config { return o.Config }, o.log())
	if err != nil {
		return err
	}
	return f(&Peering{book: book})
}

// peerBook is who our peers are, and what we show them.
type peerBook struct {
	provider    uri.Provider
	config      func() *config.Config
	state       adapter.State
	authority   *trust.Authority
	certificate *trust.Current
}

// Where the store keeps our authority, and the peers that were accepted by command.
const (
	authoritySecret = "authority"
	acceptedKey     = "peers"
)

// newPeerBook reads our authority, which is made at first.
func newPeerBook(ctx context.Context, s *store.Store, p uri.Provider, c func() *config.Config, log *slog.Logger) (*peerBook, error) {
	stored, err := s.HubSecret(ctx, authoritySecret, func() ([]byte, error) {
		a, err := trust.NewAuthority(p.Domain(), time.Now())
		if err != nil {
			return nil, err
		}
		return a.Marshal()
	})
	if err != nil {
		return nil, err
	}
	b := &peerBook{provider: p, config: c, state: s.State(ownState)}
	if b.authority, err = trust.ParseAuthority(p.Domain(), stored); err != nil {
		return nil, err
	}
	b.certificate = trust.Issued(b.authority, time.Now, log)
	if f := c().Federation; f.Certificate != "" {
		b.certificate = trust.Files(f.Certificate, f.Key, time.Now, log)
	}
	return b, nil
}

// url is where others reach us.
func (b *peerBook) url() (string, error) {
	c := b.config()
	if c.Provider.Domain.IsZero() {
		return "", errors.New("without provider.domain this gateway is local only, and nobody can reach it")
	}
	if c.Federation.URL != "" {
		return invitation.CheckURL(c.Federation.URL)
	}
	_, port, err := net.SplitHostPort(c.Provider.Listen)
	if err != nil {
		return "", fmt.Errorf("provider.listen: %w", err)
	}
	if port == "443" {
		return "https://" + b.provider.Domain(), nil
	}
	return "https://" + net.JoinHostPort(b.provider.Domain(), port), nil
}

func (b *peerBook) invitation() (Invited, error) {
	where, err := b.url()
	if err != nil {
		return Invited{}, err
	}
	i := invitation.Invitation{Domain: b.provider, URL: where}
	if b.config().Federation.Certificate == "" {
		i.CA = b.authority.Certificate()
	}
	who := invited(i)
	who.Text = i.String()
	return who, nil
}

func invited(i invitation.Invitation) Invited {
	who := Invited{Domain: i.Domain.Domain(), URL: i.URL, Fingerprint: i.Fingerprint()}
	if i.CA != nil {
		who.CA = string(trust.PEM(i.CA))
	}
	return who
}

// ReadInvitation returns who an invitation is from. The error says what is wrong with the text.
func ReadInvitation(text string) (Invited, error) {
	i, err := invitation.Parse(text)
	if err != nil {
		return Invited{}, err
	}
	return invited(i), nil
}

// accepted is a peer that was accepted by command, as the store keeps it.
type accepted struct {
	Domain uri.Provider
	URL    string
	CA     string `json:",omitempty"`
	Invite string // as in config.May
	Search string
}

func (b *peerBook) accepted(ctx context.Context) (list []accepted, err error) {
	stored, err := b.state.Get(ctx, acceptedKey)
	if err != nil || stored == nil {
		return nil, err
	}
	if err := json.Unmarshal(stored, &list); err != nil {
		return nil, fmt.Errorf("gateway: stored peers: %w", err)
	}
	return list, nil
}

func (b *peerBook) put(ctx context.Context, list []accepted) error {
	stored, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return b.state.Put(ctx, acceptedKey, stored)
}

// all returns the peers of the configuration, and those accepted by command that it does not name.
func (b *peerBook) all(ctx context.Context) ([]config.Peer, error) {
	all := slices.Clone(b.config().Peers)
	stored, err := b.accepted(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range stored {
		if _, managed := b.managed(a.Domain); !managed {
			all = append(all, config.Peer{ID: a.Domain.Domain(), Domain: a.Domain, URL: a.URL, CA: config.Text{Content: a.CA}, May: config.May{Invite: a.Invite, Search: a.Search}})
		}
	}
	return all, nil
}

// managed returns where the configuration names a peer.
func (b *peerBook) managed(domain uri.Provider) (config.Pos, bool) {
	for _, p := range b.config().Peers {
		if p.Domain == domain {
			return p.At, true
		}
	}
	return config.Pos{}, false
}

func (b *peerBook) list(ctx context.Context) ([]PeerStatus, error) {
	all, err := b.all(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]PeerStatus, 0, len(all))
	for _, p := range all {
		s := PeerStatus{Domain: p.Domain.Domain(), URL: p.URL, From: "command", Invite: p.May.Invite}
		if p.At != (config.Pos{}) {
			s.From = p.At.String()
		}
		if len(p.Problems) > 0 {
			s.Problem = p.Problems.Error()
		}
		list = append(list, s)
	}
	return list, nil
}

// accept makes the provider of an invitation a peer; one that is a peer already is replaced.
func (b *peerBook) accept(ctx context.Context, text string, may config.May) (Invited, error) {
	i, err := invitation.Parse(text)
	if err != nil {
		return Invited{}, err
	}
	if b.config().Provider.Domain.IsZero() {
		return Invited{}, errors.New("this gateway is local only: peers need provider.domain")
	}
	if i.Domain == b.provider {
		return Invited{}, errors.New("this is our own invitation: give it to the other administrator, and accept theirs")
	}
	if at, managed := b.managed(i.Domain); managed {
		return Invited{}, fmt.Errorf("the peer %s is managed by %s: change it there", i.Domain.Domain(), at)
	}
	list, err := b.accepted(ctx)
	if err != nil {
		return Invited{}, err
	}
	who := invited(i)
	list = slices.DeleteFunc(list, func(a accepted) bool { return a.Domain == i.Domain })
	return who, b.put(ctx, append(list, accepted{Domain: i.Domain, URL: i.URL, CA: who.CA, Invite: may.Invite, Search: may.Search}))
}

func (b *peerBook) remove(ctx context.Context, domain string) error {
	p, err := uri.NewProvider(domain)
	if err != nil {
		return fmt.Errorf("%q: %w", domain, err)
	}
	if at, managed := b.managed(p); managed {
		return fmt.Errorf("the peer %s is managed by %s: remove it there", domain, at)
	}
	list, err := b.accepted(ctx)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(list), func(a accepted) bool { return a.Domain == p })
	if len(rest) == len(list) {
		return fmt.Errorf("there is no peer %s", domain)
	}
	return b.put(ctx, rest)
}

// Invitation returns the text for another administrator.
func (p *Peering) Invitation(ctx context.Context) (i Invited, err error) {
	if p.client == nil {
		return p.book.invitation()
	}
	return i, p.client.ask(ctx, http.MethodGet, "/invitation", nil, &i)
}

// Accept makes the provider of such a text a peer, or one anew, and says who it is.
func (p *Peering) Accept(ctx context.Context, text string, may config.May) (i Invited, err error) {
	if p.client == nil {
		return p.book.accept(ctx, text, may)
	}
	return i, p.client.ask(ctx, http.MethodPost, "/peer", url.Values{"text": {text}, "invite": {may.Invite}, "search": {may.Search}}, &i)
}

// List returns all peers and, where the gateway runs, how they do.
func (p *Peering) List(ctx context.Context) (list []PeerStatus, err error) {
	if p.client == nil {
		return p.book.list(ctx)
	}
	return list, p.client.ask(ctx, http.MethodGet, "/peers", nil, &list)
}

// Remove ends what Accept began.
func (p *Peering) Remove(ctx context.Context, domain string) error {
	if p.client == nil {
		return p.book.remove(ctx, domain)
	}
	return p.client.ask(ctx, http.MethodPost, "/peer/remove", url.Values{"domain": {domain}}, nil)
}

// peeringRequests are what the socket answers about peers.
func (g *Gateway) peeringRequests() map[string]request {
	return map[string]request{
		"GET /invitation": func(context.Context, url.Values) (any, error) { return g.Invitation() },
		"GET /peers":      func(ctx context.Context, _ url.Values) (any, error) { return g.Peers(ctx) },
		"POST /peer": func(ctx context.Context, q url.Values) (any, error) {
			return g.AcceptPeer(ctx, q.Get("text"), config.May{Invite: q.Get("invite"), Search: q.Get("search")})
		},
		"POST /peer/remove": func(ctx context.Context, q url.Values) (any, error) { return nil, g.RemovePeer(ctx, q.Get("domain")) },
	}
}
