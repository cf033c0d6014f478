package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/gateway/account"
	"mimigate/core/uri"
)

// What accounts say of chats.
type (
	Listing = account.Listing
	Opened  = account.Opened
)

// Inspector asks accounts: those of the gateway that runs on the store, by its socket, or where none runs, accounts of its own. What
// these report is not taken, so that nothing is lost that was meant for the gateway. Its methods fail with a sentence that says what to do.
type Inspector interface {
	// Connected waits until an account is connected, and says why where it cannot be.
	Connected(ctx context.Context, account string) error
	// Conversations returns the chats that an account could open.
	Conversations(ctx context.Context, account string) ([]Listing, error)
	// Open opens a chat, joining it if that is needed, as a binding does.
	Open(ctx context.Context, chat config.Chat) (Opened, error)
	// Close ends what was begun for the inspection, and waits for it.
	Close() error
}

// Inspect returns how to ask the accounts of a configuration.
func Inspect(ctx context.Context, o Options) (Inspector, error) {
	client, err := Dial(ctx, o.Config.Provider.Files)
	if err == nil {
		return client, nil
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mimigate-inspect-")
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	v := &visit{options: o, dir: dir, provider: o.Config.Provider.Domain, started: map[string]*account.Account{}}
	if v.provider.IsZero() {
		v.provider = localOnly()
	}
	v.ctx, v.stop = context.WithCancel(context.WithoutCancel(ctx))
	return v, nil
}

// visit is an Inspector with accounts of its own, each started when it is first asked.
type visit struct {
	options  Options
	provider uri.Provider
	dir      string
	ctx      context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	started map[string]*account.Account
}

var errVisiting = errors.New("gateway: only looking, no event is taken")

// refusing is a sink that takes nothing but what accounts say of themselves.
type refusing struct{}

// Receive implements adapter.Sink.
func (refusing) Receive(_ context.Context, ev adapter.Event) error {
	switch ev.Body.(type) {
	case adapter.Status, adapter.Typing, adapter.ConversationState, adapter.Profile, adapter.Membership:
		return nil // says how things are; the gateway will be told anew
	}
	return errVisiting
}

// account returns a started account.
func (v *visit) account(id string) (*account.Account, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a := v.started[id]; a != nil {
		return a, nil
	}
	i := slices.IndexFunc(v.options.Config.Accounts, func(c config.Account) bool { return c.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("no account %s in %s", id, v.options.Config.File)
	}
	c := v.options.Config.Accounts[i]
	around := v.options.surroundings(c, v.provider)
	around.Dir, around.State = v.dir, newMemory()
	a := account.New(c, v.options.Drivers[c.Network], around)
	v.started[id] = a
	v.running.Go(func() { a.Launch(v.ctx, refusing{}) })
	return a, nil
}

// Connected implements Inspector.
func (v *visit) Connected(ctx context.Context, id string) error {
	a, err := v.account(id)
	if err != nil {
		return err
	}
	return a.Connected(ctx)
}

// Conversations implements Inspector.
func (v *visit) Conversations(ctx context.Context, id string) ([]Listing, error) {
	a, err := v.account(id)
	if err != nil {
		return nil, err
	}
	return a.Conversations(ctx)
}

// Open implements Inspector.
func (v *visit) Open(ctx context.Context, chat config.Chat) (Opened, error) {
	a, err := v.account(chat.Account)
	if err != nil {
		return Opened{}, err
	}
	return a.Open(ctx, chat)
}

// Close implements Inspector.
func (v *visit) Close() error {
	v.stop()
	v.running.Wait()
	return os.RemoveAll(v.dir)
}

// memory is an adapter.State for a visit: nothing of it remains.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

// Get implements adapter.State.
func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[key]), nil
}

// Put implements adapter.State.
func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == nil {
		delete(m.values, key)
	} else {
		m.values[key] = slices.Clone(value)
	}
	return nil
}
