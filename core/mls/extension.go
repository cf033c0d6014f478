package mls

import (
	"fmt"
	"slices"

	"mimigate/core/mls/internal/codec"
)

// ExtensionType is the code point of an extension (RFC 9420 §17.3).
type ExtensionType uint16

// Extension types of RFC 9420 §17.3 and draft-ietf-mls-extensions-10 §7.
const (
	ExtApplicationID        ExtensionType = 0x0001
	ExtRatchetTree          ExtensionType = 0x0002
	ExtRequiredCapabilities ExtensionType = 0x0003
	ExtExternalPub          ExtensionType = 0x0004
	ExtExternalSenders      ExtensionType = 0x0005
	ExtAppDataDictionary    ExtensionType = 0x0006
)

// Extension is RFC 9420 §13: a type and its data, opaque here.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// maxListed bounds lists that are searched for each of their values: extensions, capabilities, components.
const maxListed = 1024

// Extensions is a list of extensions in wire order; a type occurs at most once in a valid list.
type Extensions []Extension

// MarshalMLS implements [Marshaler].
func (xs Extensions) MarshalMLS(e *Encoder) {
	start := e.Open()
	for _, x := range xs {
		e.Uint16(uint16(x.Type))
		e.Opaque(x.Data)
	}
	e.Close(start)
}

// UnmarshalMLS implements [Unmarshaler].
func (xs *Extensions) UnmarshalMLS(d *Decoder) {
	*xs = nil
	d.Vector(func(d *Decoder) {
		if len(*xs) == maxListed {
			d.Failf("more than %d extensions", maxListed)
			return
		}
		*xs = append(*xs, Extension{Type: ExtensionType(d.Uint16()), Data: d.Opaque()})
	})
}

// Get returns the data of the extension of type t.
func (xs Extensions) Get(t ExtensionType) ([]byte, bool) {
	for _, x := range xs {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

// With returns a copy of the list in which t has the given data: replaced in place, or appended.
func (xs Extensions) With(t ExtensionType, data []byte) Extensions {
	out := slices.Clone(xs)
	for i := range out {
		if out[i].Type == t {
			out[i].Data = data
			return out
		}
	}
	return append(out, Extension{Type: t, Data: data})
}

// place is an object that has extensions.
type place uint8

const (
	inKeyPackage place = 1 << iota
	inLeafNode
	inGroupContext
	inGroupInfo
)

// places says where an extension type may appear (RFC 9420 §17.3, draft-ietf-mls-extensions-10 §7.1). A type we do not
// know may appear anywhere: it is ignored, or in a GroupContext, refused by whoever does not support it (§13.4).
func (t ExtensionType) places() place {
	switch t {
	case ExtApplicationID:
		return inLeafNode
	case ExtRatchetTree, ExtExternalPub:
		return inGroupInfo
	case ExtRequiredCapabilities, ExtExternalSenders: // implementations repeat them in the GroupInfo, where they mean nothing
		return inGroupContext | inGroupInfo
	}
	return inKeyPackage | inLeafNode | inGroupContext | inGroupInfo
}

// check verifies that no type is listed twice (RFC 9420 §13.4) and none stands where it must not (§17.3).
func (xs Extensions) check(where place) error {
	for i, x := range xs {
		if x.Type.places()&where == 0 {
			return fmt.Errorf("extension %#04x does not belong here (RFC 9420 §17.3)", x.Type)
		}
		for _, y := range xs[:i] {
			if x.Type == y.Type {
				return fmt.Errorf("extension %#04x listed twice (RFC 9420 §13.4)", x.Type)
			}
		}
	}
	return nil
}

// defaultExtension reports the types every client supports and need not list (RFC 9420 §7.2).
func defaultExtension(t ExtensionType) bool { return t >= ExtApplicationID && t <= ExtExternalSenders }

// RequiredCapabilities is the required_capabilities extension (RFC 9420 §11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// MarshalMLS implements [Marshaler].
func (r *RequiredCapabilities) MarshalMLS(e *Encoder) {
	codec.EncodeUint16s(e, r.Extensions)
	codec.EncodeUint16s(e, r.Proposals)
	codec.EncodeUint16s(e, r.Credentials)
}

// UnmarshalMLS implements [Unmarshaler].
func (r *RequiredCapabilities) UnmarshalMLS(d *Decoder) {
	r.Extensions = codec.DecodeUint16s[ExtensionType](d)
	r.Proposals = codec.DecodeUint16s[ProposalType](d)
	r.Credentials = codec.DecodeUint16s[CredentialType](d)
}

// ExternalSender is one entry of the external_senders extension (RFC 9420 §12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// ExternalSenders is the external_senders extension.
type ExternalSenders []ExternalSender

// MarshalMLS implements [Marshaler].
func (s ExternalSenders) MarshalMLS(e *Encoder) {
	e.Vector(func(e *Encoder) {
		for i := range s {
			e.Opaque(s[i].SignatureKey)
			s[i].Credential.MarshalMLS(e)
		}
	})
}

// UnmarshalMLS implements [Unmarshaler].
func (s *ExternalSenders) UnmarshalMLS(d *Decoder) {
	*s = nil
	d.Vector(func(d *Decoder) {
		x := ExternalSender{SignatureKey: d.Opaque()}
		x.Credential.UnmarshalMLS(d)
		*s = append(*s, x)
	})
}
