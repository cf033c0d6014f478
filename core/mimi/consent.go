package mimi

import (
	"fmt"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

// ConsentOperation says what a ConsentEntry does.
type ConsentOperation uint8

// The operations of mimi-protocol-06 §5.7: the first two are the requester's, the others the target's.
const (
	ConsentCancel  ConsentOperation = 0
	ConsentRequest ConsentOperation = 1
	ConsentGrant   ConsentOperation = 2
	ConsentRevoke  ConsentOperation = 3
)

// ConsentEntry is the body of requestConsent and updateConsent (mimi-protocol-06 §5.7): Requester wants, or may, fetch the key
// packages of Target, for one room or for any.
type ConsentEntry struct {
	Operation   ConsentOperation
	Requester   string
	Target      string
	Room        string            // empty: any
	KeyPackages []*mls.KeyPackage // Grant: of the target's clients; may be empty
	Extensions  mls.AppDataDictionary
}

// MarshalMLS implements mls.Marshaler. The key packages come before the extensions (reading A27).
func (c *ConsentEntry) MarshalMLS(e *mls.Encoder) {
	e.Uint8(uint8(c.Operation))
	e.Opaque([]byte(c.Requester))
	e.Opaque([]byte(c.Target))
	e.Bool(c.Room != "")
	if c.Room != "" {
		e.Opaque([]byte(c.Room))
	}
	if c.Operation == ConsentGrant {
		e.Vector(func(e *mls.Encoder) {
			for _, k := range c.KeyPackages {
				k.MarshalMLS(e)
			}
		})
	}
	c.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler. An operation that the draft does not know is an error: what follows it is not known.
func (c *ConsentEntry) UnmarshalMLS(d *mls.Decoder) {
	*c = ConsentEntry{Operation: ConsentOperation(d.Uint8()), Requester: string(d.Opaque()), Target: string(d.Opaque())}
	if c.Operation > ConsentRevoke {
		d.Failf("consent operation %d", c.Operation)
	}
	if d.Bool() {
		if c.Room = string(d.Opaque()); c.Room == "" {
			d.Failf("consent for a room without address")
		}
	}
	if c.Operation == ConsentGrant {
		d.Vector(func(d *mls.Decoder) {
			k := new(mls.KeyPackage)
			k.UnmarshalMLS(d)
			c.KeyPackages = append(c.KeyPackages, k)
		})
	}
	c.Extensions.UnmarshalMLS(d)
}

// ConsentScope is whom and what a consent is about: Requester may bring Target into Room, or where that is zero into any room.
type ConsentScope struct {
	Requester uri.User
	Target    uri.User
	Room      uri.Room
}

// Scope returns what an entry is about. The error wraps ErrBadRequest.
func (c *ConsentEntry) Scope() (s ConsentScope, err error) {
	if s.Requester, err = uri.ParseUser(c.Requester); err != nil {
		return s, badRequest(fmt.Errorf("requester: %w", err))
	}
	if s.Target, err = uri.ParseUser(c.Target); err != nil {
		return s, badRequest(fmt.Errorf("target: %w", err))
	}
	if c.Room != "" {
		if s.Room, err = uri.ParseRoom(c.Room); err != nil {
			return s, badRequest(fmt.Errorf("room: %w", err))
		}
	}
	return s, nil
}

// NewConsentEntry returns the entry for an operation. Key packages go with a grant alone.
func NewConsentEntry(op ConsentOperation, s ConsentScope, keyPackages ...*mls.KeyPackage) *ConsentEntry {
	c := &ConsentEntry{Operation: op, Requester: s.Requester.String(), Target: s.Target.String(), KeyPackages: keyPackages}
	if s.Room != (uri.Room{}) {
		c.Room = s.Room.String()
	}
	return c
}
