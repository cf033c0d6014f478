// Package people answers other providers about our users, and asks them about theirs: who lets whom bring them into rooms
// (mimi-protocol-06 §5.7, §8), and who is there to be found (§5.8). It knows users by their addresses alone; who they are, package
// identity knows.
package people

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// Work runs units of work that travel in the context (design §5).
type Work interface {
	// Do runs fn as a unit, or within ctx's unit as a part of it that may fail by itself.
	Do(ctx context.Context, fn func(context.Context) error) error
	// OnCommit calls f once ctx's unit is committed.
	OnCommit(ctx context.Context, f func())
}

// Outbox keeps entries for other providers until they have taken them.
type Outbox interface {
	// PutConsentEntry appends an entry to those for a provider.
	PutConsentEntry(ctx context.Context, to uri.Provider, entry []byte) error
	// NextConsentEntry returns the oldest entry for a provider; ok is false where there is none.
	NextConsentEntry(ctx context.Context, to uri.Provider) (number int64, entry []byte, ok bool, err error)
	// DropConsentEntry takes it off.
	DropConsentEntry(ctx context.Context, to uri.Provider, number int64) error
	// ConsentEntriesTo returns the providers for whom entries wait.
	ConsentEntriesTo(ctx context.Context) ([]uri.Provider, error)
}

// Store is what Consents keeps its state in.
type Store interface {
	Work
	Outbox
}

// Permissions knows what was asked and answered; it is in the unit of ctx.
type Permissions interface {
	// Ask records a question, and reports whether the target is to be told of it.
	Ask(ctx context.Context, s mimi.ConsentScope) (fresh bool, err error)
	// Cancel takes a question back, and reports whether one waited.
	Cancel(ctx context.Context, s mimi.ConsentScope) (bool, error)
	// Answer records what the target has said.
	Answer(ctx context.Context, s mimi.ConsentScope, granted bool) error
}

// Audience hears what concerns our users. It is called within the unit that records it.
type Audience interface {
	// Known reports whether a user of ours exists.
	Known(ctx context.Context, user uri.User) (bool, error)
	// Asked: one of our users is asked for their consent.
	Asked(ctx context.Context, s mimi.ConsentScope) error
	// Answered: one of our users has been given somebody's consent, or refused it, asked or not.
	Answered(ctx context.Context, s mimi.ConsentScope, granted bool) error
}

// Peers finds other providers.
type Peers interface {
	Consent(of uri.Provider) (mimi.Consent, error)
}

// ConsentConfig is what Consents needs.
type ConsentConfig struct {
	Provider    uri.Provider
	Store       Store
	Peers       Peers
	Permissions Permissions
	Audience    Audience
	Log         *slog.Logger
}

// Consents is both ends of consent between providers: [mimi.Consent] for what others send, and an outbox for what our users say. It may be used
// from several goroutines.
type Consents struct {
	ConsentConfig
	outbox *mimi.Queues[uri.Provider]
}

var _ mimi.Consent = (*Consents)(nil)

// NewConsents returns consents, which send nothing that waits from before until Start.
func NewConsents(cfg ConsentConfig) *Consents {
	c := &Consents{ConsentConfig: cfg}
	c.outbox = mimi.NewQueues(c.send)
	return c
}

// Start begins to send what waits.
func (c *Consents) Start(ctx context.Context) error {
	all, err := c.Store.ConsentEntriesTo(ctx)
	if err != nil {
		return fmt.Errorf("people: %w", err)
	}
	for _, p := range all {
		c.outbox.Wake(p)
	}
	return nil
}

// Close ends what is being sent, and waits for it.
func (c *Consents) Close() { c.outbox.Close() }

// RequestConsent implements [mimi.Consent]. Whether there is such a user is not told: the answer is always that the entry was received
// (mimi-protocol-06 §5.7).
func (c *Consents) RequestConsent(ctx context.Context, from uri.Provider, e *mimi.ConsentEntry) error {
	s, err := e.Scope()
	switch {
	case err != nil:
		return err
	case e.Operation != mimi.ConsentRequest && e.Operation != mimi.ConsentCancel:
		return fmt.Errorf("%w: operation %d is not a requester's", mimi.ErrBadRequest, e.Operation)
	case s.Requester.Provider() != from:
		return fmt.Errorf("%w: the requester is not a user of the provider", mimi.ErrForbidden)
	case s.Target.Provider() != c.Provider:
		return fmt.Errorf("%w: the target is not one of our users", mimi.ErrForbidden)
	}
	return c.Store.Do(ctx, func(ctx context.Context) error {
		if known, err := c.Audience.Known(ctx, s.Target); err != nil || !known {
			return err
		}
		if e.Operation == mimi.ConsentCancel {
			_, err := c.Permissions.Cancel(ctx, s)
			return err
		}
		if fresh, err := c.Permissions.Ask(ctx, s); err != nil || !fresh {
			return err
		}
		return c.Audience.Asked(ctx, s)
	})
}

// UpdateConsent implements [mimi.Consent]. The key packages of a grant are left alone: they did not come by way of a room's hub, which could
// therefore not tell whose a Welcome is (§5.2), and are asked for when somebody is added.
func (c *Consents) UpdateConsent(ctx context.Context, from uri.Provider, e *mimi.ConsentEntry) error {
	s, err := e.Scope()
	switch {
	case err != nil:
		return err
	case e.Operation != mimi.ConsentGrant && e.Operation != mimi.ConsentRevoke:
		return fmt.Errorf("%w: operation %d is not a target's", mimi.ErrBadRequest, e.Operation)
	case s.Target.Provider() != from:
		return fmt.Errorf("%w: the target is not a user of the provider", mimi.ErrForbidden)
	case s.Requester.Provider() != c.Provider:
		return fmt.Errorf("%w: the requester is not one of our users", mimi.ErrForbidden)
	}
	granted := e.Operation == mimi.ConsentGrant
	return c.Store.Do(ctx, func(ctx context.Context) error {
		if known, err := c.Audience.Known(ctx, s.Requester); err != nil || !known {
			return err
		}
		if err := c.Permissions.Answer(ctx, s, granted); err != nil {
			return err
		}
		return c.Audience.Answered(ctx, s, granted)
	})
}

// Request asks for somebody's consent, for one of our users; it is sent when their provider can be reached. The error wraps mimi.ErrForbidden
// where the requester is none of ours.
func (c *Consents) Request(ctx context.Context, s mimi.ConsentScope) error {
	return c.say(ctx, s.Requester, s.Target.Provider(), mimi.NewConsentEntry(mimi.ConsentRequest, s))
}

// Cancel takes a request back.
func (c *Consents) Cancel(ctx context.Context, s mimi.ConsentScope) error {
	return c.say(ctx, s.Requester, s.Target.Provider(), mimi.NewConsentEntry(mimi.ConsentCancel, s))
}

// Answer records that one of our users lets somebody bring them into rooms, or does not. A grant is told to the requester's provider; a
// refusal is not, as nobody need know of it (mimi-protocol-06 §5.7, §8).
func (c *Consents) Answer(ctx context.Context, s mimi.ConsentScope, granted bool) error {
	return c.Store.Do(ctx, func(ctx context.Context) error {
		if err := c.Permissions.Answer(ctx, s, granted); err != nil || !granted {
			return err
		}
		return c.Agree(ctx, s)
	})
}

// Agree tells somebody's provider that one of our users lets them, and records nothing: for those who need not be asked.
func (c *Consents) Agree(ctx context.Context, s mimi.ConsentScope) error {
	return c.say(ctx, s.Target, s.Requester.Provider(), mimi.NewConsentEntry(mimi.ConsentGrant, s))
}

// say puts an entry of one of our users on the outbox.
func (c *Consents) say(ctx context.Context, by uri.User, to uri.Provider, e *mimi.ConsentEntry) error {
	if by.Provider() != c.Provider {
		return fmt.Errorf("%w: not one of our users", mimi.ErrForbidden)
	}
	return c.Store.Do(ctx, func(ctx context.Context) error {
		if err := c.Store.PutConsentEntry(ctx, to, mimi.Encode(e)); err != nil {
			return err
		}
		c.Store.OnCommit(ctx, func() { c.outbox.Wake(to) })
		return nil
	})
}

// send is the work of a provider's outbox: to hand it the oldest entry.
func (c *Consents) send(ctx context.Context, to uri.Provider) (more bool, err error) {
	number, data, ok, err := c.Store.NextConsentEntry(ctx, to)
	if err != nil || !ok {
		return false, err
	}
	e := new(mimi.ConsentEntry)
	if err := mimi.Decode(data, e); err != nil {
		return false, fmt.Errorf("people: stored entry: %w", err)
	}
	peer, err := c.Peers.Consent(to)
	if err == nil {
		switch e.Operation {
		case mimi.ConsentRequest, mimi.ConsentCancel:
			err = peer.RequestConsent(ctx, c.Provider, e)
		default:
			err = peer.UpdateConsent(ctx, c.Provider, e)
		}
	}
	if err != nil && !mimi.Final(err) {
		c.Log.Warn("consent could not be told", "to", to.Domain(), "error", err)
		return false, err
	}
	if err != nil && !errors.Is(err, mimi.ErrNotFound) { // a provider may say that there is no such user
		c.Log.Warn("consent was refused", "to", to.Domain(), "error", err)
	}
	return true, c.Store.DropConsentEntry(ctx, to, number)
}
