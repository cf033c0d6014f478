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
	"mimigate/core/content"
	"mimigate/core/uri"
)

// Listing is a chat that an account could bind.
type Listing struct {
	Chat      string // account/chat, as in a binding
	Title     string `json:",omitempty"`
	Members   int    `json:",omitempty"` // 0: not known
	Direct    bool   `json:",omitempty"`
	Joined    bool   `json:",omitempty"`
	Encrypted bool   `json:",omitempty"`
}

// Opened says what a chat can do for a room.
type Opened struct {
	Chat         string // as it was asked for
	Conversation string // as the network names it
	// Names says how our people appear there: "native" under their own names, "reduced" some of them, "line" in the text.
	Names string
	// Lacks are the kinds of content that the chat shows as a line of text, or not at all.
	Lacks []string `json:",omitempty"`
}

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
	v := &visit{options: o, dir: dir, provider: o.Config.Provider.Domain, started: map[string]*account{}}
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
	started map[string]*account
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
func (v *visit) account(id string) (*account, error) {
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
	a := newAccount(c, v.options.Drivers[c.Network], around)
	v.started[id] = a
	v.running.Go(func() { a.run(v.ctx, refusing{}) })
	return a, nil
}

// Connected implements Inspector.
func (v *visit) Connected(ctx context.Context, id string) error {
	a, err := v.account(id)
	if err != nil {
		return err
	}
	return a.connected(ctx)
}

// Conversations implements Inspector.
func (v *visit) Conversations(ctx context.Context, id string) ([]Listing, error) {
	a, err := v.account(id)
	if err != nil {
		return nil, err
	}
	return a.conversations(ctx)
}

// Open implements Inspector.
func (v *visit) Open(ctx context.Context, chat config.Chat) (Opened, error) {
	a, err := v.account(chat.Account)
	if err != nil {
		return Opened{}, err
	}
	return a.open(ctx, chat)
}

// Close implements Inspector.
func (v *visit) Close() error {
	v.stop()
	v.running.Wait()
	return os.RemoveAll(v.dir)
}

// conversations lists what the account could open.
func (a *account) conversations(ctx context.Context) (_ []Listing, err error) {
	if err := a.connected(ctx); err != nil {
		return nil, err
	}
	defer contain(&err, a.log)
	opener, ok := a.adapter.(adapter.Conversations)
	if !ok {
		return nil, fmt.Errorf("the network %s has no list of chats", a.config.Network)
	}
	listed, err := opener.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Listing, 0, len(listed))
	for _, l := range listed {
		list = append(list, Listing{Chat: config.Chat{Account: a.config.ID, ID: l.Name}.String(), Title: l.Title, Members: l.Members,
			Direct: l.Direct, Joined: l.Joined, Encrypted: l.Encrypted})
	}
	return list, nil
}

// open opens a chat and says what it can do.
func (a *account) open(ctx context.Context, chat config.Chat) (_ Opened, err error) {
	if err := a.connected(ctx); err != nil {
		return Opened{}, err
	}
	defer contain(&err, a.log)
	c := adapter.Conversation(chat.ID)
	if opener, ok := a.adapter.(adapter.Conversations); ok {
		if c, err = opener.Open(ctx, chat.ID); err != nil {
			return Opened{}, err
		}
	}
	limits := a.adapter.Limits(c)
	o := Opened{Chat: chat.String(), Conversation: string(c), Names: limits.Authors.String()}
	for _, k := range []content.Kind{content.KindReply, content.KindEdit, content.KindDelete, content.KindReaction, content.KindImage, content.KindFile} {
		if s := limits.Of(k); s == content.Line || s == content.None {
			o.Lacks = append(o.Lacks, k.String())
		}
	}
	return o, nil
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
