package policy

import "slices"

// Operational is the mls_operational_policy (mimi-room-policy-04 §7). The draft gives no unit for its times but the delays;
// we take seconds, as RFC 9420 does for lifetimes.
type Operational struct {
	Mandatory, Default, Forbidden ClientCapabilities
	HandshakeFormats              []uint16 // wire formats of handshakes (RFC 9420 §6): 1 is PublicMessage
	ExternalProposals             bool     // proposals from outside the group are allowed
	ExternalCommits               bool     // clients may join by external commit
	Pending                       PendingProposals
	LeafUpdate                    TimeRange // how often a leaf's keys change
	Messages                      AppMessages
	MaxKeyPackageLifetime         uint64
	MaxCredentialLifetime         uint64
	ResumptionPSKLifetime         uint64
	SenderKeyLifetime             TimeRange // unused nonces and keys of a sender
	MaxSenderKeys                 uint32
	BufferTime                    TimeRange // for messages that came too early
	MaxBuffered                   uint32
}

// ClientCapabilities is the draft's ExtendedCapabilities: what a client can do, or must, or must not.
type ClientCapabilities struct {
	Versions, CipherSuites, Extensions, Proposals, Credentials, WireFormats []uint16
	Components, SafeAAD                                                     []Component
	MediaTypes                                                              []MediaType
	ContentTypes                                                            []uint8
}

// PendingProposals says when a client commits the proposals of others.
type PendingProposals struct {
	Strategy               PendingStrategy
	MinDelayMS, MaxDelayMS uint64 // milliseconds; zero unless Strategy is RandomDelay
}

// PendingStrategy is the choice within [PendingProposals].
type PendingStrategy uint8

// The values on the wire.
const (
	UnspecifiedStrategy PendingStrategy = 0
	ImmediateCommit     PendingStrategy = 1
	RandomDelay         PendingStrategy = 2
)

// AppMessages is the draft's AppMessagePolicy.
type AppMessages struct {
	EpochTolerance uint8  // how many epochs back an application message may be
	PadToSize      uint16 // bytes; 0: no padding
	MaxSkipAhead   uint32 // generations that a ratchet is moved for one message
}

// TimeRange is the draft's MinDefaultMaxTime.
type TimeRange struct{ Min, Default, Max uint64 }

func (p *Operational) validate() error {
	if p == nil {
		return nil
	}
	for _, t := range []TimeRange{p.LeafUpdate, p.SenderKeyLifetime, p.BufferTime} {
		if t.Min > t.Default || t.Default > t.Max {
			return Invalid(secOperational, "a default time lies outside its bounds")
		}
	}
	if p.Pending.MinDelayMS > p.Pending.MaxDelayMS {
		return Invalid(secOperational, "the shortest delay is over the longest")
	}
	if p.Mandatory.meets(p.Forbidden) {
		return Invalid(secOperational, "something is both mandatory and forbidden")
	}
	return nil
}

// AdmitsHandshake reports whether handshakes may have the given wire format; without a list, or a policy, any that MIMI allows.
func (p *Operational) AdmitsHandshake(wireFormat uint16) bool {
	return p == nil || len(p.HandshakeFormats) == 0 || slices.Contains(p.HandshakeFormats, wireFormat)
}

// AdmitsClient reports whether a client with these capabilities and a KeyPackage good for so many seconds may be added. A nil
// policy admits everybody. The error wraps ErrDenied.
func (p *Operational) AdmitsClient(c ClientCapabilities, lifetime uint64) error {
	switch {
	case p == nil:
		return nil
	case !c.covers(p.Mandatory):
		return Denied(secOperational, "the client lacks a mandatory capability")
	case c.meets(p.Forbidden):
		return Denied(secOperational, "the client has a forbidden capability")
	case p.MaxKeyPackageLifetime > 0 && lifetime > p.MaxKeyPackageLifetime:
		return Denied(secOperational, "the KeyPackage is good for %d s, at most %d are allowed", lifetime, p.MaxKeyPackageLifetime)
	}
	return nil
}

// covers reports whether c has all that want lists.
func (c *ClientCapabilities) covers(want ClientCapabilities) bool {
	return subset(want.Versions, c.Versions) && subset(want.CipherSuites, c.CipherSuites) && subset(want.Extensions, c.Extensions) &&
		subset(want.Proposals, c.Proposals) && subset(want.Credentials, c.Credentials) && subset(want.WireFormats, c.WireFormats) &&
		subset(want.Components, c.Components) && subset(want.SafeAAD, c.SafeAAD) && subset(want.ContentTypes, c.ContentTypes) &&
		!slices.ContainsFunc(want.MediaTypes, func(w MediaType) bool { return !slices.ContainsFunc(c.MediaTypes, w.covers) })
}

// meets reports whether c has anything that other lists.
func (c *ClientCapabilities) meets(other ClientCapabilities) bool {
	return overlap(other.Versions, c.Versions) || overlap(other.CipherSuites, c.CipherSuites) || overlap(other.Extensions, c.Extensions) ||
		overlap(other.Proposals, c.Proposals) || overlap(other.Credentials, c.Credentials) || overlap(other.WireFormats, c.WireFormats) ||
		overlap(other.Components, c.Components) || overlap(other.SafeAAD, c.SafeAAD) || overlap(other.ContentTypes, c.ContentTypes) ||
		slices.ContainsFunc(other.MediaTypes, func(o MediaType) bool { return slices.ContainsFunc(c.MediaTypes, o.covers) })
}

func subset[T comparable](part, whole []T) bool {
	return !slices.ContainsFunc(part, func(v T) bool { return !slices.Contains(whole, v) })
}

func overlap[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(v T) bool { return slices.Contains(b, v) })
}
