// Package gateway wires the other packages to one provider and runs it: the store, the accounts on the networks, the router, the MLS
// members, and the roles of hub and follower. [Inspect] and [Dial] are for the other subcommands, which ask the gateway that runs.
package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/follower"
	"mimigate/core/gateway/account"
	"mimigate/core/gateway/consents"
	"mimigate/core/gateway/letters"
	"mimigate/core/gateway/made"
	"mimigate/core/gateway/metrics"
	"mimigate/core/gateway/vouch"
	"mimigate/core/hub"
	"mimigate/core/identity"
	"mimigate/core/member"
	"mimigate/core/mls"
	"mimigate/core/provider"
	"mimigate/core/provider/trust"
	"mimigate/core/room"
	"mimigate/core/router"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// gatherChanges is how long changes of participants wait for others to go into the same commit (design §7).
const gatherChanges = 500 * time.Millisecond

// Gateway is one provider: hub of its own rooms, follower in those of others, and what stands between rooms and networks.
type Gateway struct {
	options  Options
	config   atomic.Pointer[config.Config] // as it is applied now; see Reload
	log      *slog.Logger
	began    time.Time
	provider uri.Provider

	store    *store.Store
	persons  *identity.Persons
	peers    *provider.Peers
	hub      *hub.Hub
	members  *member.Members
	follower *follower.Follower
	router   *router.Router
	made     *made.Rooms
	letters  *letters.Letters
	metrics  *metrics.Metrics

	consents   *consents.Desk
	federation *federation

	reloading sync.Mutex // one Reload at a time

	mu       sync.Mutex
	run      context.Context    // of Run; nil: not running
	accounts []*account.Account // in the order of the configuration
	problems map[string]string  // of rooms, by their id in the configuration
}

// New opens the store and makes a gateway, which does nothing before Run. What is wrong with an account is told by its status, and
// keeps no other from working. It fails where the store cannot be opened; the errors of package store say why, store.ErrLocked
// where another instance has it. Run must be called: it closes the store.
func New(ctx context.Context, o Options) (_ *Gateway, err error) {
	g := &Gateway{options: o, log: o.log(), began: time.Now(), problems: map[string]string{}}
	g.config.Store(o.Config)
	g.metrics = metrics.New(o.Version, g.measure)
	o.batch = g.metrics.Batch
	if g.store, err = openStore(ctx, o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.store.Close())
		}
	}()
	if g.provider, err = providerOf(ctx, o.Config, g.store); err != nil {
		return nil, err
	}
	if err := g.wire(); err != nil {
		return nil, err
	}
	if err := g.connect(ctx); err != nil {
		return nil, err
	}
	for _, c := range o.Config.Accounts {
		g.accounts = append(g.accounts, g.newAccount(c))
	}
	return g, nil
}

func (g *Gateway) newAccount(c config.Account) *account.Account {
	around := g.options.surroundings(c, g.provider)
	around.State = g.store.State(c.ID)
	return account.New(c, g.options.Drivers[c.Network], around)
}

func openStore(ctx context.Context, o Options) (*store.Store, error) {
	options, err := o.StoreOptions()
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, options)
}

const (
	ownState = "" // what the gateway itself keeps like an account; no account has this id
	ownName  = "provider"
)

// providerOf returns the configured provider, or for a gateway without a domain the one that its store was given at first.
func providerOf(ctx context.Context, c *config.Config, s *store.Store) (uri.Provider, error) {
	if !c.Provider.Domain.IsZero() {
		return c.Provider.Domain, nil
	}
	state := s.State(ownState)
	name, err := state.Get(ctx, ownName)
	if err != nil {
		return uri.Provider{}, err
	}
	if name != nil {
		return uri.ParseProvider(string(name))
	}
	p := localOnly()
	return p, state.Put(ctx, ownName, []byte(p.String()))
}

// wire makes the parts and tells each of those that it needs.
func (g *Gateway) wire() error {
	engine := &mls.Config{Suites: mls.DefaultSuites(), Components: room.Components{}}
	g.persons = identity.New(identity.Options{Provider: g.provider, Store: g.store, Joined: joined(g.config.Load())})
	voucher := vouch.New(vouch.Options{Provider: g.provider, Persons: g.persons, Now: time.Now,
		Authority: func() *trust.Authority { return g.federation.authority },
		Peer:      func(of uri.Provider) (*x509.CertPool, bool) { return g.federation.vouching(of) }})
	voucher.Engine(engine)
	g.peers = provider.NewPeers(g.provider)
	g.consents = g.newConsents()
	members, err := member.New(member.Config{
		Provider: g.provider, Store: g.store, Peers: g.peers, Consent: g.consents, Credentials: voucher, MLS: engine,
		Suite: firstSuite(g.config.Load()), Batch: gatherChanges, Now: time.Now, Log: g.log,
	})
	if err != nil {
		return err
	}
	g.members = members
	g.hub = hub.New(hub.Config{Provider: g.provider, Store: g.store, Peers: g.peers, KeyPeers: g.peers, KeyMaterial: members,
		Evidence: vouch.Evidence, Assets: hub.PublicTransport(), MLS: engine, Now: time.Now, Log: g.log})
	members.Founder = g.hub // each needs the other
	g.follower = follower.New(follower.Config{Store: g.store, Opener: members, Now: time.Now, Log: g.log})
	g.peers.Add(g.provider, g.endpoints())
	g.router = router.New(g.routerOptions())
	g.made = g.madeRooms()
	g.letters = letters.New(letters.Options{Store: g.store, Router: g.router, Policy: g.made.Policy,
		Retention: func(policy string) config.Retention { return policyOf(g.config.Load(), policy).Retention }})
	return nil
}

func (g *Gateway) endpoints() provider.Endpoints {
	return provider.Endpoints{Hub: g.metrics.Hub(g.hub, g.store), Follower: g.follower, KeyMaterial: g.hub, Abuse: g.hub, Assets: g.hub,
		Consent: g.consents.Between, Identifiers: g.consents.Search}
}

// Run runs the gateway until ctx ends. It returns when nothing of it runs any more and the store is closed: with nil, or with why it could
// not begin.
func (g *Gateway) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, g.store.Close()) }()
	if err := g.federation.adopt(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	c, err := g.listen(g.store.Dir())
	if err != nil {
		return err
	}
	defer c.close()
	m, err := g.monitor()
	if err != nil {
		return err
	}
	defer m.close()
	defer g.members.Close()
	defer g.follower.Close()
	defer g.hub.Close()
	defer g.consents.Close()
	defer g.federation.close()
	if err := g.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer g.landAll()
	g.launchAll(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { g.watch(ctx) })
	watching.Go(func() {
		select {
		case <-g.store.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	g.log.Info("mimigate runs", "provider", g.provider.Domain(), "accounts", len(g.config.Load().Accounts), "rooms", len(g.config.Load().Rooms), "pid", os.Getpid())
	err = g.router.Run(ctx)
	cancel() // where the router has ended by itself
	g.landAll()
	g.log.Info("mimigate ends")
	if lost := g.store.Health(); errors.Is(lost, store.ErrLost) {
		err = errors.Join(err, lost)
	}
	return err
}

// launchAll runs the accounts, each in a goroutine of its own, until ctx ends or they are landed.
func (g *Gateway) launchAll(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.run = ctx
	for _, a := range g.accounts {
		a.Launch(ctx, g.sink(a))
	}
}

// sink is where an account reports.
func (g *Gateway) sink(a *account.Account) adapter.Sink {
	return g.metrics.Sink(a.ID(), a.Network(), g.router.Sink(a.ID()))
}

// landAll waits until no account runs any more; Run's context has ended.
func (g *Gateway) landAll() {
	g.reloading.Lock() // none is launched meanwhile
	defer g.reloading.Unlock()
	g.mu.Lock()
	g.run = nil
	all := g.accounts
	g.mu.Unlock()
	for _, a := range all {
		a.Land()
	}
}

// start begins what the roles do by themselves, and makes the rooms what configuration says.
func (g *Gateway) start(ctx context.Context) error {
	if err := g.members.Start(ctx, g.router); err != nil {
		return err
	}
	if err := g.follower.Start(ctx); err != nil {
		return err
	}
	if err := g.hub.Start(ctx); err != nil {
		return err
	}
	if err := g.consents.Start(ctx); err != nil {
		return err
	}
	if err := g.federation.open(g.endpoints()); err != nil {
		return err
	}
	rooms, err := g.rooms(ctx)
	if err != nil {
		return err
	}
	g.arrange(ctx, g.config.Load().Rooms)
	// A chat that cannot be bound is told by the status; all others are bound.
	if err := g.router.Configure(ctx, rooms); err != nil {
		g.log.Error("not everything is bound", "error", err)
	}
	return ctx.Err()
}

// account returns an account by its id.
func (g *Gateway) account(id string) (*account.Account, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.accounts {
		if a.ID() == id {
			return a, nil
		}
	}
	return nil, fmt.Errorf("the gateway has no account %s", id)
}

// Account implements router.Accounts.
func (g *Gateway) Account(id string) (router.Account, bool) {
	a, err := g.account(id)
	if err != nil || a.Adapter() == nil {
		return router.Account{}, false
	}
	return router.Account{ID: id, Network: a.Network(), Adapter: a.Adapter(), Unbound: unbound[a.Unbound()]}, true
}

var _ router.Accounts = (*Gateway)(nil)
