// Package router stands between native conversations and rooms. What an adapter reports becomes a message of a room
// (receive.go, steps 2 and 3 of design §4), and what a room's inbox brings is delivered to every conversation bound to the room
// (room.go and deliver.go, steps 10 to 12). It also knows who may command, and what is bound to what.
//
// It touches neither MLS nor the wire: [Members] do that for it. All that must survive is in the [Store], changed within units of
// work: T1 in Receive, T4 in the calls of the members' sink, T5 and T6 around each native request (design §5).
package router

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router/convert"
	"mimigate/core/router/order"
	"mimigate/core/uri"
)

// Members are our people in the rooms; see package member for what the calls promise. All are calls within a unit of work.
type Members interface {
	EnsureParticipant(ctx context.Context, room uri.Room, user uri.User, role uint32) error                // at least in this role
	RemoveParticipant(ctx context.Context, room uri.Room, user uri.User) error                             // also what is so already
	SetRole(ctx context.Context, room uri.Room, user uri.User, role uint32) error                          // of package policy
	Participants(ctx context.Context, room uri.Room) (map[uri.User]uint32, error)                          // and their roles
	Send(ctx context.Context, room uri.Room, from uri.User, m *content.Message) (content.MessageID, error) // brings it back to the sink later, or at once
}

// Rooms makes and describes rooms; see package member.
type Rooms interface {
	CreateRoom(ctx context.Context, room uri.Room, name, subject string) error        // again: no error
	Describe(ctx context.Context, room uri.Room, name, subject string) error          // name and subject
	Description(ctx context.Context, room uri.Room) (name, subject string, err error) // as they are now
}

// Identity knows persons; see package identity.
type Identity interface {
	Resolve(ctx context.Context, network, account string, who adapter.Person) (identity.Person, identity.Change, error) // adds or merges
	ByUser(ctx context.Context, user uri.User) (identity.Person, bool, error)                                           // also by an old address
	ByID(ctx context.Context, network string, id adapter.PersonID) (identity.Person, bool, error)                       // by a native id
	Same(ctx context.Context, a, b uri.User) (bool, error)                                                              // one person
	NameOf(ctx context.Context, user uri.User, present func(uri.User) (bool, error)) (string, error)                    // to show where present tells who is
	SetConsent(ctx context.Context, user uri.User, to identity.Consent) error                                           // see identity.Consent
}

// Accounts finds our accounts.
type Accounts interface {
	// Account returns an account of the configuration, and false where there is none, or it could not be made.
	Account(id string) (Account, bool)
}

// Account is one of our accounts.
type Account struct {
	ID      string
	Network string // the driver's name
	Adapter adapter.Adapter
	Unbound Unbound
}

// shown is the account as package convert needs it.
func (a Account) shown() convert.Account {
	return convert.Account{ID: a.ID, Network: a.Network, Limits: a.Adapter.Limits}
}

// Unbound is what to do about a conversation that no room is bound to.
type Unbound uint8

// What may be done.
const (
	Ignore Unbound = iota
	Ask            // tell the admins once
	Create         // make a room for it
)

// Admin is somebody who may command: nobody else may (design §8).
type Admin = identity.Ref

// Options are what a router works with. All but Admins, Tell, Rules, Log, Now and the times are needed.
type Options struct {
	Provider uri.Provider
	Language string // of replies and notices, RFC 5646
	Admins   []Admin
	Tell     Chat // where admins are told what needs attention; zero: nowhere but in the log
	Rules    Rules

	Store    Store
	Identity Identity
	Members  Members
	Rooms    Rooms
	Accounts Accounts
	// Elsewhere is what other providers can be asked; nil: there are none.
	Elsewhere order.Elsewhere

	Log *slog.Logger     // nil: nowhere
	Now func() time.Time // nil: time.Now
	// Hopeless reports whether Members will never take what they failed to take with this error: the message is then dropped, with a
	// notice where it was said. nil: only errors of the content itself are hopeless, any other makes the adapter offer it again.
	Hopeless func(error) bool
	// SendTimeout bounds a native request; its outcome is then unknown. 0: a minute.
	SendTimeout time.Duration
	// Backoff says how long to wait after the nth failure in a row, from 1. nil: a second, doubled up to five minutes.
	Backoff func(n int) time.Duration
}

// Errors that a caller decides by.
var (
	// ErrManaged: the binding stands in the configuration file, and can be changed only there. The text says where.
	ErrManaged = errors.New("managed by the configuration")
	// ErrBound: the conversation is bound already. The text says to what.
	ErrBound = errors.New("already bound")
	// ErrPolicy: the room's policy does not allow it.
	ErrPolicy = errors.New("not allowed by the room's policy")
)

// Router is the router of a provider. Its methods may be called from several goroutines.
type Router struct {
	Options
	rooms map[uri.Room]Room // from the configuration; replaced as a whole, under mu

	convert convert.Converter

	mu       sync.Mutex
	run      *running // nil: not running
	lines    map[Place]*line
	accounts map[string]*AccountStatus
	problems map[Chat]string // why a binding cannot be opened
	opening  map[Chat]int    // how often its opening was begun: only the last goes on
	tell     Place           // where Tell was found to be
	repeated int64
}

// undelivered is how long a message may wait where no policy says.
const undelivered = 7 * 24 * time.Hour

// New returns a router. It does nothing by itself before Run.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = time.Minute
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.Rules.Undelivered == 0 {
		o.Rules.Undelivered = undelivered
	}
	return &Router{Options: o, convert: convert.Converter{Provider: o.Provider, Language: o.Language, Store: o.Store, Identity: o.Identity},
		rooms: make(map[uri.Room]Room), lines: make(map[Place]*line),
		accounts: make(map[string]*AccountStatus), problems: make(map[Chat]string), opening: make(map[Chat]int)}
}

// backoff is a second, doubled with each failure, up to five minutes.
func backoff(n int) time.Duration {
	return min(time.Second<<min(n-1, 20), 5*time.Minute)
}

// running is what belongs to one Run.
type running struct {
	ctx context.Context
	all sync.WaitGroup
}

// start runs f in a goroutine of the running Run; where nothing runs, f does not either. r.mu is held.
func (r *Router) start(f func(ctx context.Context)) {
	if run := r.run; run != nil && run.ctx.Err() == nil {
		run.all.Go(func() { f(run.ctx) })
	}
}

// Run opens the bound conversations and delivers what there is to deliver, until ctx ends. It then returns nil, with nothing of it still
// running. The adapters run on their own: their Run is the gateway's business. Run is called after [Router.Configure], and
// again after its end if need be.
func (r *Router) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := &running{ctx: ctx}
	r.mu.Lock()
	r.run = run
	r.mu.Unlock()
	err := r.begin(ctx)
	if err == nil {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		err = nil
	}
	cancel()
	r.mu.Lock()
	r.run = nil
	r.mu.Unlock()
	run.all.Wait()
	return err
}

// begin goes on with what there is.
func (r *Router) begin(ctx context.Context) error {
	places, err := r.Store.PendingPlaces(ctx)
	if err != nil {
		return err
	}
	for _, p := range places {
		r.wake(p)
	}
	return r.Reopen(ctx, "")
}

// Sink returns where the adapter of an account reports its events.
func (r *Router) Sink(account string) adapter.Sink { return sink{r, account} }

type sink struct {
	router  *Router
	account string
}

// Receive implements adapter.Sink: unit T1.
func (s sink) Receive(ctx context.Context, ev adapter.Event) error {
	return s.router.receive(ctx, s.account, ev)
}

// Adopt takes over, also while the router runs, who may command, where they are told what needs them, and the rules of rooms that
// configuration does not name.
func (r *Router) Adopt(admins []Admin, tell Chat, rules Rules) {
	if rules.Undelivered == 0 {
		rules.Undelivered = undelivered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	moved := tell != r.Tell
	if r.Admins, r.Tell, r.Rules = admins, tell, rules; moved {
		r.tell = Place{}
		r.reopen(Binding{Chat: tell})
	}
}

// rules are those of a room.
func (r *Router) rules(room uri.Room) Rules {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.rooms[room]; ok {
		if c.Rules.Undelivered == 0 {
			c.Rules.Undelivered = r.Rules.Undelivered
		}
		return c.Rules
	}
	return r.Options.Rules
}
