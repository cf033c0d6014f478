// Package hub is the hub role of this provider: for the rooms of its domain it decides what may happen, in which order, and tells all
// providers that take part (design §4 steps 5 to 7). It follows each group from outside, by its public state: it sees no
// plaintext and holds no secret of a member.
//
// Everything happens in units of work (design §5, T2). The memory of a room is touched only by whoever has the store's turn; what a
// unit changed in it is undone with the unit.
package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// Peers finds the providers to tell. joins says that the follower is in this very process: its part then joins the unit.
type Peers interface {
	Follower(of uri.Provider) (f mimi.Follower, joins bool, err error)
}

// KeyPeers finds where the key packages of a provider's users are asked for.
type KeyPeers interface {
	KeyMaterial(by uri.Provider) (mimi.KeyMaterial, error)
}

// Config is what a Hub needs.
type Config struct {
	Provider uri.Provider
	Store    Store
	Peers    Peers
	KeyPeers KeyPeers
	// KeyMaterial serves the key packages of our own users.
	KeyMaterial mimi.KeyMaterial
	// Evidence reads a reported message; nil: no report's messages are checked.
	Evidence Evidence
	// Assets fetches files for peers; nil: none are fetched.
	Assets http.RoundTripper
	// MLS is how groups are followed; its Components are room.Components.
	MLS *mls.Config
	Now func() time.Time
	Log *slog.Logger
}

// Hub is the hub role of a provider: [mimi.Hub], [mimi.Abuse], [mimi.Assets] and, for the keys of its users and those of others by way of
// it, [mimi.KeyMaterial].
// Its methods may be called from several goroutines.
type Hub struct {
	Config
	outbox *mimi.Queues[Route]

	mu    sync.Mutex
	rooms map[uri.Room]*hosted
}

var (
	_ mimi.Hub         = (*Hub)(nil)
	_ mimi.KeyMaterial = (*Hub)(nil)
	_ mimi.Abuse       = (*Hub)(nil)
	_ mimi.Assets      = (*Hub)(nil)
)

// New returns a hub. It tells nobody what stands in the outboxes from before until Start.
func New(cfg Config) *Hub {
	engine := *cfg.MLS
	if engine.Suites == nil {
		engine.Suites = mls.DefaultSuites()
	}
	cfg.MLS = &engine
	h := &Hub{Config: cfg, rooms: make(map[uri.Room]*hosted)}
	h.outbox = mimi.NewQueues(h.tell)
	return h
}

// Start begins to tell what stands in the outboxes.
func (h *Hub) Start(ctx context.Context) error {
	routes, err := h.Store.HubRoutes(ctx)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, r := range routes {
		h.outbox.Wake(r)
	}
	return nil
}

// Close ends what the hub does by itself, and waits for it.
func (h *Hub) Close() { h.outbox.Close() }

// answer gives a repeated request its first answer, whatever has happened since (design §5 rule v); to any other, decide makes
// it. Refusals are answers too: what was refused once must not be taken when a late copy of it comes.
func (h *Hub) answer(ctx context.Context, from uri.Provider, room uri.Room, request mls.Marshaler, resp mimi.Codec, decide func(context.Context, *hosted) error) error {
	hash := sha256.New()
	for _, part := range []string{from.String(), room.String(), fmt.Sprintf("%T", request)} {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	hash.Write(mls.Marshal(request))
	key := [sha256.Size]byte(hash.Sum(nil))
	return h.Store.Do(ctx, func(ctx context.Context) error {
		before, err := h.Store.HubAnswer(ctx, key)
		if err != nil {
			return err
		}
		if before != nil {
			return mls.Unmarshal(before, resp)
		}
		r, err := h.room(ctx, room)
		if err != nil {
			return err
		}
		if err := decide(ctx, r); err != nil {
			return err
		}
		if !r.takesPart(from) {
			return nil // it is refused the next time too, and strangers cannot fill the store
		}
		return h.Store.PutHubAnswer(ctx, key, mls.Marshal(resp), h.Now())
	})
}

// refusal is why a request is refused, for good.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(err error) error { return refusal{err} }

// notAllowed is a refusal for lack of a right.
func notAllowed(section, format string, args ...any) error {
	return refusal{policy.Denied(section, format, args...)}
}

func invalid(section, format string, args ...any) error {
	return refusal{policy.Invalid(section, format, args...)}
}

// refused returns the reason where err is a refusal; any other error is ours.
func refused(err error) (error, bool) {
	var r refusal
	if errors.As(err, &r) {
		return r.error, true
	}
	return nil, false
}
