// Package provider connects this provider with others. [Peers] is the one place that knows whether a provider is this very process
// or a remote one (design §4 steps 4 and 8): to hub and member they are all the same interfaces.
package provider

import (
	"errors"
	"fmt"
	"sync"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// ErrNoPeer: nothing is known of how to reach a provider.
var ErrNoPeer = errors.New("provider: no connection to this provider is configured")

// Endpoints are what a provider offers to others.
type Endpoints struct {
	Hub         mimi.Hub
	Follower    mimi.Follower
	KeyMaterial mimi.KeyMaterial
	Consent     mimi.Consent
	Identifiers mimi.Identifiers
	Abuse       mimi.Abuse
	Assets      mimi.Assets
}

// Peers finds providers' endpoints by their domain. Its methods may be called from several goroutines.
type Peers struct {
	self uri.Provider

	mu    sync.RWMutex
	known map[uri.Provider]Endpoints
}

// NewPeers returns the peers of a provider; it knows none, not even itself, until they are added.
func NewPeers(self uri.Provider) *Peers {
	return &Peers{self: self, known: make(map[uri.Provider]Endpoints)}
}

// Add makes a provider known, or known anew: this one itself, whose calls then join the caller's unit of work (design §5 rule vii),
// or another one by its client.
func (p *Peers) Add(peer uri.Provider, e Endpoints) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[peer] = e
}

// Remove makes a provider unknown.
func (p *Peers) Remove(peer uri.Provider) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, peer)
}

func (p *Peers) endpoints(peer uri.Provider) (Endpoints, bool, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	e, ok := p.known[peer]
	if !ok {
		return Endpoints{}, false, fmt.Errorf("%w: %s", ErrNoPeer, peer.Domain())
	}
	return e, peer == p.self, nil
}

// Hub returns a provider as the hub of its rooms (design §4 step 4). joins says that it is in this process, so that a call with the context of a
// unit of work becomes a part of the unit; a remote one must be called outside of any. The error wraps ErrNoPeer.
func (p *Peers) Hub(of uri.Provider) (hub mimi.Hub, joins bool, err error) {
	e, joins, err := p.endpoints(of)
	return e.Hub, joins, err
}

// Follower returns a provider as a follower (design §4 step 8); joins and err as for Hub.
func (p *Peers) Follower(of uri.Provider) (follower mimi.Follower, joins bool, err error) {
	e, joins, err := p.endpoints(of)
	return e.Follower, joins, err
}

// KeyMaterial returns where key packages are asked for by way of a provider; it is called outside of units. The error wraps ErrNoPeer.
func (p *Peers) KeyMaterial(by uri.Provider) (mimi.KeyMaterial, error) {
	e, _, err := p.endpoints(by)
	return e.KeyMaterial, err
}

// Consent returns a provider as who keeps the consent of its users; it is called outside of units. The error wraps ErrNoPeer.
func (p *Peers) Consent(of uri.Provider) (mimi.Consent, error) {
	e, _, err := p.endpoints(of)
	return e.Consent, err
}

// Identifiers returns where a provider's users are searched for; it is called outside of units. The error wraps ErrNoPeer.
func (p *Peers) Identifiers(of uri.Provider) (mimi.Identifiers, error) {
	e, _, err := p.endpoints(of)
	return e.Identifiers, err
}

// Abuse returns where abuse in rooms of a provider is reported; it is called outside of units. The error wraps ErrNoPeer.
func (p *Peers) Abuse(at uri.Provider) (mimi.Abuse, error) {
	e, _, err := p.endpoints(at)
	return e.Abuse, err
}

// Assets returns a provider as who fetches files for others; it is called outside of units. The error wraps ErrNoPeer.
func (p *Peers) Assets(by uri.Provider) (mimi.Assets, error) {
	e, _, err := p.endpoints(by)
	return e.Assets, err
}
