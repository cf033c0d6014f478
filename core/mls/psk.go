package mls

import (
	"errors"
	"fmt"
)

// PSKType says what kind of key a pre-shared key is (RFC 9420 §8.4; draft-ietf-mls-extensions-10 §4.5 for application).
type PSKType uint8

// PSK types.
const (
	PSKExternal    PSKType = 1
	PSKResumption  PSKType = 2
	PSKApplication PSKType = 3
)

// ResumptionUsage says why a resumption PSK is injected (RFC 9420 §8.4).
type ResumptionUsage uint8

// Resumption PSK usages.
const (
	UsageApplication ResumptionUsage = 1
	UsageReInit      ResumptionUsage = 2
	UsageBranch      ResumptionUsage = 3
)

// ErrPSK: a pre-shared key is not known, or its use breaks a rule of RFC 9420 §8.4.
var ErrPSK = errors.New("mls: pre-shared key")

// PreSharedKeyID is RFC 9420 §8.4.
type PreSharedKeyID struct {
	Type      PSKType
	Component ComponentID // PSKApplication
	ID        []byte      // PSKExternal and PSKApplication
	Usage     ResumptionUsage
	GroupID   []byte // PSKResumption
	Epoch     uint64 // PSKResumption
	Nonce     []byte // KDF.Nh bytes
}

// MarshalMLS implements [Marshaler].
func (p *PreSharedKeyID) MarshalMLS(e *Encoder) {
	e.Uint8(uint8(p.Type))
	switch p.Type {
	case PSKExternal:
		e.Opaque(p.ID)
	case PSKResumption:
		e.Uint8(uint8(p.Usage))
		e.Opaque(p.GroupID)
		e.Uint64(p.Epoch)
	case PSKApplication:
		e.Uint16(uint16(p.Component))
		e.Opaque(p.ID)
	}
	e.Opaque(p.Nonce)
}

// UnmarshalMLS implements [Unmarshaler].
func (p *PreSharedKeyID) UnmarshalMLS(d *Decoder) {
	*p = PreSharedKeyID{Type: PSKType(d.Uint8())}
	switch p.Type {
	case PSKExternal:
		p.ID = d.Opaque()
	case PSKResumption:
		if p.Usage = ResumptionUsage(d.Uint8()); p.Usage < UsageApplication || p.Usage > UsageBranch {
			d.Failf("resumption PSK usage %d", p.Usage)
		}
		p.GroupID = d.Opaque()
		p.Epoch = d.Uint64()
	case PSKApplication:
		p.Component = ComponentID(d.Uint16())
		p.ID = d.Opaque()
	default:
		d.Failf("PSK type %d", p.Type)
	}
	p.Nonce = d.Opaque()
}

// check validates a PSK proposal's identifier (RFC 9420 §12.2, §8.4): the nonce has the right length and a
// resumption PSK of usage reinit or branch may stand only in a group's first commit (RFC 9420 §11.2, §11.3).
func (p *PreSharedKeyID) check(s *suite, epoch uint64) error {
	if len(p.Nonce) != s.nh {
		return fmt.Errorf("%w: nonce of %d bytes, want %d (RFC 9420 §8.4)", ErrPSK, len(p.Nonce), s.nh)
	}
	if p.Type == PSKResumption && p.Usage != UsageApplication && epoch > 0 {
		return fmt.Errorf("%w: resumption PSK of usage %d in a commit (RFC 9420 §12.1.4)", ErrPSK, p.Usage)
	}
	return nil
}

// pskInput is one key of the PSK chain.
type pskInput struct {
	id     PreSharedKeyID
	secret []byte
}

// pskSecret chains pre-shared keys (RFC 9420 §8.4).
func (s *suite) pskSecret(keys []pskInput) []byte {
	zero := make([]byte, s.nh)
	secret := zero
	for i := range keys {
		extracted := s.extract(zero, keys[i].secret)
		var e Encoder
		keys[i].id.MarshalMLS(&e)
		e.Uint16(uint16(i))
		e.Uint16(uint16(len(keys)))
		input := s.expand(extracted, "derived psk", e.Bytes(), s.nh)
		secret = s.extract(input, secret)
	}
	return secret
}
