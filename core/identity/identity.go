// Package identity knows persons: which native ids are one human, and the one MIMI address that this human has in every room
// (design §8).
//
// A person's address is mimi://<domain>/u/<random stable id>, which tells nothing about them. Native ids of one network are
// merged when the network says that they are one person's (a phone number and a LID); persons of several networks are joined
// only by configuration. The address that is older stays, the other becomes an alias of it: what was said
// under it is still theirs to edit, and replies to it still find them.
package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// ErrNobody: the person has no native id, so nobody can be told from it.
var ErrNobody = errors.New("identity: no native id")

// seenEvery is how exactly the time of the last sign of life is kept: a message need not write it each time.
const seenEvery = time.Hour

// Person is one human, or bot.
type Person struct {
	User uri.User // their address, in every room
	Name string   // empty: not known
	// Network is where the name comes from: what names that collide are told apart by.
	Network string
	// Avatar is a handle of Account; empty: none.
	Avatar   adapter.Blob
	Account  string
	Verified bool // see [adapter.Person]
	Bot      bool
	Consent  Consent
	Made     time.Time
	Seen     time.Time // the last sign of life, to the hour
}

// Ref is a native id with its network.
type Ref struct {
	Network string
	ID      adapter.PersonID
}

// Joined is a human whom configuration knows on several networks.
type Joined struct {
	Name string // shown in rooms; empty: that of the first id
	// Handle makes their address readable: mimi://<domain>/u/<handle>. Empty: a random one. It counts when the person is first
	// seen: addresses are permanent.
	Handle string
	Is     []Ref
}

// Store keeps persons. Every call is a part of the unit of work in ctx.
type Store interface {
	// PersonByID returns the person with a native id.
	PersonByID(ctx context.Context, id Ref) (Person, bool, error)
	// PersonByUser returns the person with an address, also an old one.
	PersonByUser(ctx context.Context, user uri.User) (Person, bool, error)
	// PersonsByName returns those whose name, folded by [Fold], is this one.
	PersonsByName(ctx context.Context, folded string) ([]Person, error)
	// PutPerson adds a person, or changes them.
	PutPerson(ctx context.Context, p Person) error
	// PutPersonID says whose a native id is.
	PutPersonID(ctx context.Context, id Ref, user uri.User) error
	// MergePerson gives the ids and aliases of one person to another, and makes the one's address an alias of the other's.
	MergePerson(ctx context.Context, from, into uri.User) error
}

// Options say whose persons they are.
type Options struct {
	Provider uri.Provider
	Store    Store
	Joined   []Joined
	Now      func() time.Time // nil: time.Now
}

// Persons are all persons that the gateway knows. It may be used from several goroutines.
type Persons struct {
	provider uri.Provider
	store    Store
	joined   atomic.Pointer[map[Ref]*Joined]
	now      func() time.Time
}

// New returns the persons in a store.
func New(o Options) *Persons {
	p := &Persons{provider: o.Provider, store: o.Store, now: o.Now}
	if p.now == nil {
		p.now = time.Now
	}
	p.Join(o.Joined)
	return p
}

// Join takes over whom configuration knows now on several networks. Those who were joined before and are no longer stay one person, as
// their addresses are out in the rooms.
func (p *Persons) Join(all []Joined) {
	joined := make(map[Ref]*Joined)
	for _, j := range all {
		for _, ref := range j.Is {
			joined[ref] = &j
		}
	}
	p.joined.Store(&joined)
}

// Change is what Resolve learned.
type Change struct {
	New     bool
	Renamed bool
	// Merged are addresses that are now aliases of the person's.
	Merged []uri.User
}

// Resolve returns the person that account, on network, reports, who is added if new. Ids that the network vouches to be one person's are
// merged, and so are those that configuration joins. It fails with ErrNobody, or as the store does. It belongs into a unit of work.
func (p *Persons) Resolve(ctx context.Context, network, account string, who adapter.Person) (Person, Change, error) {
	if len(who.IDs) == 0 {
		return Person{}, Change{}, ErrNobody
	}
	refs, joined := p.refs(network, who)
	found, known, err := p.find(ctx, refs)
	if err != nil {
		return Person{}, Change{}, err
	}
	var change Change
	person, before := Person{}, Person{}
	if len(found) == 0 {
		change.New = true
		if person, err = p.create(ctx, joined); err != nil {
			return Person{}, Change{}, err
		}
	} else {
		person, before = found[0], found[0]
	}
	p.update(&person, network, account, who, joined)
	change.Renamed = !change.New && person.Name != before.Name
	if person != before {
		if err := p.store.PutPerson(ctx, person); err != nil {
			return Person{}, Change{}, err
		}
	}
	if who.Verified || joined != nil {
		for _, other := range found[min(1, len(found)):] {
			if err := p.store.MergePerson(ctx, other.User, person.User); err != nil {
				return Person{}, Change{}, err
			}
			change.Merged = append(change.Merged, other.User)
		}
	}
	for _, ref := range refs {
		if known[ref] || ref.Network != network {
			continue
		}
		if err := p.store.PutPersonID(ctx, ref, person.User); err != nil {
			return Person{}, Change{}, err
		}
	}
	return person, change, nil
}

// refs are the native ids that are the person's, and what configuration says of them.
func (p *Persons) refs(network string, who adapter.Person) ([]Ref, *Joined) {
	var refs []Ref
	var joined *Joined
	for _, id := range who.IDs {
		ref := Ref{network, id}
		refs = append(refs, ref)
		if j := (*p.joined.Load())[ref]; j != nil && joined == nil {
			joined = j
		}
	}
	if joined != nil {
		for _, ref := range joined.Is {
			if !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	return refs, joined
}

// find returns the persons with these ids, the oldest first, and which ids are known.
func (p *Persons) find(ctx context.Context, refs []Ref) ([]Person, map[Ref]bool, error) {
	var found []Person
	known := make(map[Ref]bool)
	for _, ref := range refs {
		person, ok, err := p.store.PersonByID(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		known[ref] = ok
		if ok && !slices.ContainsFunc(found, func(f Person) bool { return f.User == person.User }) {
			found = append(found, person)
		}
	}
	slices.SortStableFunc(found, func(a, b Person) int { return a.Made.Compare(b.Made) })
	return found, known, nil
}

// create makes a person with an address that nobody has had.
func (p *Persons) create(ctx context.Context, joined *Joined) (Person, error) {
	if joined != nil && joined.Handle != "" {
		user, err := p.provider.User(joined.Handle)
		if err != nil {
			return Person{}, fmt.Errorf("identity: handle: %w", err)
		}
		if _, taken, err := p.store.PersonByUser(ctx, user); err != nil || !taken {
			return Person{User: user, Made: p.time()}, err
		}
	}
	var random [15]byte // 120 bits: no two are the same, and none can be guessed
	rand.Read(random[:])
	user, err := p.provider.User(strings.ToLower(base32.StdEncoding.EncodeToString(random[:])))
	if err != nil {
		return Person{}, fmt.Errorf("identity: %w", err)
	}
	return Person{User: user, Made: p.time()}, nil
}

func (p *Persons) time() time.Time { return p.now().Truncate(time.Millisecond) }

// update takes over what the network says of a person.
func (p *Persons) update(person *Person, network, account string, who adapter.Person, joined *Joined) {
	if now := p.time(); now.Sub(person.Seen).Abs() >= seenEvery {
		person.Seen = now
	}
	person.Bot = who.Bot
	person.Verified = person.Verified || who.Verified
	// Of a human on several networks one network gives name and picture, or they would change with each message.
	if joined != nil && joined.Is[0].Network != network && person.Name != "" && person.Network == joined.Is[0].Network {
		return
	}
	if person.Network == "" || who.Name != "" {
		person.Network = network
	}
	if who.Name != "" {
		person.Name = Clean(who.Name)
	}
	if joined != nil && joined.Name != "" {
		person.Name = joined.Name
	}
	if who.Avatar != "" {
		person.Avatar, person.Account = who.Avatar, account
	}
}

// ByUser returns the person with an address, also an old one. Nobody is known of other providers.
func (p *Persons) ByUser(ctx context.Context, user uri.User) (Person, bool, error) {
	return p.store.PersonByUser(ctx, user)
}

// ByID returns the person with a native id, if it was seen.
func (p *Persons) ByID(ctx context.Context, network string, id adapter.PersonID) (Person, bool, error) {
	return p.store.PersonByID(ctx, Ref{network, id})
}

// Same reports whether two addresses are one person's.
func (p *Persons) Same(ctx context.Context, a, b uri.User) (bool, error) {
	if a == b {
		return true, nil
	}
	first, ok, err := p.store.PersonByUser(ctx, a)
	if err != nil || !ok {
		return false, err
	}
	second, ok, err := p.store.PersonByUser(ctx, b)
	return ok && first.User == second.User, err
}

// SetConsent records what a person said, or that they were told; see [Consent.May]. It fails with ErrConsent where that cannot follow.
func (p *Persons) SetConsent(ctx context.Context, user uri.User, to Consent) error {
	person, ok, err := p.store.PersonByUser(ctx, user)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("identity: %w", adapter.ErrNotFound)
	}
	if person.Consent == to {
		return nil
	}
	if !person.Consent.May(to) {
		return fmt.Errorf("%w: %v after %v", ErrConsent, to, person.Consent)
	}
	person.Consent = to
	return p.store.PutPerson(ctx, person)
}
