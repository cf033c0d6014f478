package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"mimigate/core/mls/internal/codec"
)

// ProtocolVersion is the MLS version; 1 is mls10 (RFC 9420 §17).
type ProtocolVersion uint16

// MLS10 is the only protocol version.
const MLS10 ProtocolVersion = 1

// ErrLeafNode: a leaf node breaks a rule of RFC 9420 §7.3; the text names it.
var ErrLeafNode = errors.New("mls: invalid leaf node")

// Capabilities says what a client supports (RFC 9420 §7.2).
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// MarshalMLS implements [Marshaler].
func (c *Capabilities) MarshalMLS(e *Encoder) {
	codec.EncodeUint16s(e, c.Versions)
	codec.EncodeUint16s(e, c.CipherSuites)
	codec.EncodeUint16s(e, c.Extensions)
	codec.EncodeUint16s(e, c.Proposals)
	codec.EncodeUint16s(e, c.Credentials)
}

// UnmarshalMLS implements [Unmarshaler].
func (c *Capabilities) UnmarshalMLS(d *Decoder) {
	c.Versions = codec.DecodeUint16s[ProtocolVersion](d)
	c.CipherSuites = codec.DecodeUint16s[CipherSuite](d)
	c.Extensions = codec.DecodeUint16s[ExtensionType](d)
	c.Proposals = codec.DecodeUint16s[ProposalType](d)
	c.Credentials = codec.DecodeUint16s[CredentialType](d)
	if n := max(len(c.Versions), len(c.CipherSuites), len(c.Extensions), len(c.Proposals), len(c.Credentials)); n > maxListed {
		d.Failf("capabilities list %d values", n)
	}
}

func (c *Capabilities) supportsExtension(t ExtensionType) bool {
	return defaultExtension(t) || slices.Contains(c.Extensions, t)
}

func (c *Capabilities) supportsProposal(t ProposalType) bool {
	return defaultProposal(t) || slices.Contains(c.Proposals, t)
}

// LeafNodeSource says how a leaf node came to be (RFC 9420 §7.2).
type LeafNodeSource uint8

// Leaf node sources.
const (
	SourceKeyPackage LeafNodeSource = 1
	SourceUpdate     LeafNodeSource = 2
	SourceCommit     LeafNodeSource = 3
)

// Lifetime is a validity period in seconds since the UNIX epoch, both ends included (RFC 9420 §7.2).
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// contains reports whether t lies in the lifetime.
func (l Lifetime) contains(t time.Time) bool {
	now := uint64(max(t.Unix(), 0))
	return l.NotBefore <= now && now <= l.NotAfter
}

// LeafNode is RFC 9420 §7.2. A LeafNode that is part of a tree is never changed.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  *Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // SourceKeyPackage only
	ParentHash    []byte   // SourceCommit only
	Extensions    Extensions
	Signature     []byte
}

func (l *LeafNode) marshalBody(e *Encoder) {
	e.Opaque(l.EncryptionKey)
	e.Opaque(l.SignatureKey)
	l.Credential.MarshalMLS(e)
	l.Capabilities.MarshalMLS(e)
	e.Uint8(uint8(l.Source))
	switch l.Source {
	case SourceKeyPackage:
		e.Uint64(l.Lifetime.NotBefore)
		e.Uint64(l.Lifetime.NotAfter)
	case SourceCommit:
		e.Opaque(l.ParentHash)
	}
	l.Extensions.MarshalMLS(e)
}

// MarshalMLS implements [Marshaler].
func (l *LeafNode) MarshalMLS(e *Encoder) {
	l.marshalBody(e)
	e.Opaque(l.Signature)
}

// UnmarshalMLS implements [Unmarshaler].
func (l *LeafNode) UnmarshalMLS(d *Decoder) {
	*l = LeafNode{EncryptionKey: d.Opaque(), SignatureKey: d.Opaque(), Capabilities: new(Capabilities)}
	l.Credential.UnmarshalMLS(d)
	l.Capabilities.UnmarshalMLS(d)
	l.Source = LeafNodeSource(d.Uint8())
	switch l.Source {
	case SourceKeyPackage:
		l.Lifetime = Lifetime{NotBefore: d.Uint64(), NotAfter: d.Uint64()}
	case SourceUpdate:
	case SourceCommit:
		l.ParentHash = d.Opaque()
	default:
		d.Failf("leaf node source %d", l.Source)
	}
	l.Extensions.UnmarshalMLS(d)
	l.Signature = d.Opaque()
}

// tbs is LeafNodeTBS (RFC 9420 §7.2); groupID and index count for Update and Commit leaves only.
func (l *LeafNode) tbs(groupID []byte, index LeafIndex) []byte {
	e := NewEncoder(512)
	l.marshalBody(e)
	if l.Source != SourceKeyPackage {
		e.Opaque(groupID)
		e.Uint32(uint32(index))
	}
	return e.Bytes()
}

func (l *LeafNode) sign(s *suite, key *SignatureKey, groupID []byte, index LeafIndex) (err error) {
	l.Signature, err = s.sign(key, "LeafNodeTBS", l.tbs(groupID, index))
	return err
}

func (l *LeafNode) verifySignature(s *suite, groupID []byte, index LeafIndex) error {
	return s.verify(l.SignatureKey, "LeafNodeTBS", l.Signature, l.tbs(groupID, index))
}

// interner keeps one copy of what many leaves have in common: capabilities, extension data and
// intermediate certificates. It forgets everything when it has grown past its bound.
type interner struct {
	caps  map[string]*Capabilities
	bytes map[string][]byte
}

const internLargest = 4096 // bytes of a value; what is larger is nobody else's

const internBound = 4096 // entries; more than a real group has of distinct shared values

func (in *interner) capabilities(c *Capabilities) *Capabilities {
	key := string(Marshal(c))
	if len(key) > internLargest {
		return c
	}
	if known := in.caps[key]; known != nil {
		return known
	}
	if in.caps == nil || len(in.caps) > internBound {
		in.caps = make(map[string]*Capabilities)
	}
	in.caps[key] = c
	return c
}

func (in *interner) shared(b []byte) []byte {
	if len(b) > internLargest {
		return bytes.Clone(b)
	}
	if known, ok := in.bytes[string(b)]; ok {
		return known
	}
	if in.bytes == nil || len(in.bytes) > internBound {
		in.bytes = make(map[string][]byte)
	}
	b = bytes.Clone(b)
	in.bytes[string(b)] = b
	return b
}

// compact returns a copy of the leaf node that does not alias the message it came from and shares what it
// can with other leaves.
func (l *LeafNode) compact(in *interner) *LeafNode {
	c := *l
	own := [][]byte{l.EncryptionKey, l.SignatureKey, l.Credential.Identity, l.Credential.Other, l.ParentHash, l.Signature}
	if l.Credential.Type == CredentialX509 && len(l.Credential.Certificates) > 0 {
		own = append(own, l.Credential.Certificates[0])
	}
	n := 0
	for _, b := range own {
		n += len(b)
	}
	buf := make([]byte, 0, n)
	for i, b := range own {
		start := len(buf)
		buf = append(buf, b...)
		own[i] = buf[start:len(buf):len(buf)]
	}
	c.EncryptionKey, c.SignatureKey, c.Credential.Identity, c.Credential.Other = own[0], own[1], own[2], own[3]
	c.ParentHash, c.Signature = own[4], own[5]
	if len(own) > 6 {
		c.Credential.Certificates = make([][]byte, len(l.Credential.Certificates))
		c.Credential.Certificates[0] = own[6]
		for i, cert := range l.Credential.Certificates[1:] {
			c.Credential.Certificates[i+1] = in.shared(cert)
		}
	}
	c.Capabilities = in.capabilities(l.Capabilities)
	c.Extensions = make(Extensions, len(l.Extensions))
	for i, x := range l.Extensions {
		c.Extensions[i] = Extension{Type: x.Type, Data: in.shared(x.Data)}
	}
	return &c
}

// leafRules is what a leaf node is held against (RFC 9420 §7.3).
type leafRules struct {
	suite    *suite
	config   *Config
	context  *GroupContext // nil for a key package outside any group
	required *RequiredCapabilities
}

// check validates everything about a leaf node but its signature and its relation to other leaves
// (RFC 9420 §7.3). fresh says that the lifetime counts: the leaf is being added now.
func (r *leafRules) check(l *LeafNode, source LeafNodeSource, fresh bool) error {
	fail := func(section, format string, args ...any) error {
		return fmt.Errorf("%w: %s (RFC 9420 %s)", ErrLeafNode, fmt.Sprintf(format, args...), section)
	}
	if l.Source != source && source != 0 {
		return fail("§7.3", "source %d, want %d", l.Source, source)
	}
	if l.Source == SourceKeyPackage && fresh && !l.Lifetime.contains(r.config.now()) {
		return fail("§7.3", "lifetime does not include now")
	}
	if l.Source == SourceKeyPackage && l.Lifetime.NotAfter < l.Lifetime.NotBefore {
		return fail("§7.3", "lifetime ends before it begins")
	}
	if longest := uint64(r.config.MaxLifetime / time.Second); l.Source == SourceKeyPackage && fresh && longest > 0 && l.Lifetime.NotAfter-l.Lifetime.NotBefore > longest {
		return fail("§7.2", "lifetime of more than %d s", longest)
	}
	if err := l.Extensions.check(inLeafNode); err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	caps := l.Capabilities
	if !slices.Contains(caps.Versions, MLS10) {
		return fail("§7.2", "capabilities lack protocol version mls10")
	}
	if !slices.Contains(caps.CipherSuites, r.suite.id) {
		return fail("§7.2", "capabilities lack cipher suite %#04x", r.suite.id)
	}
	if !slices.Contains(caps.Credentials, l.Credential.Type) {
		return fail("§7.3", "capabilities lack the leaf's own credential type %d", l.Credential.Type)
	}
	for _, x := range l.Extensions {
		if !caps.supportsExtension(x.Type) {
			return fail("§7.3", "capabilities lack the leaf's own extension %#04x", x.Type)
		}
	}
	if err := r.suite.hpke.CheckPublicKey(l.EncryptionKey); err != nil {
		return err
	}
	if err := r.suite.sig.CheckPublic(l.SignatureKey); err != nil {
		return err
	}
	if err := r.checkSupport(l); err != nil {
		return err
	}
	if err := checkLeafDictionary(l); err != nil {
		return err
	}
	return r.config.verifyCredential(&l.Credential, l.SignatureKey)
}

// checkSupport verifies that the leaf can live in the group: it supports the group's extensions, its
// required capabilities and its required components.
func (r *leafRules) checkSupport(l *LeafNode) error {
	if r.context == nil {
		return nil
	}
	caps := l.Capabilities
	for _, x := range r.context.Extensions {
		if !caps.supportsExtension(x.Type) {
			return fmt.Errorf("%w: no support for GroupContext extension %#04x (RFC 9420 §7.3, §13.4)", ErrLeafNode, x.Type)
		}
	}
	if r.required != nil {
		for _, t := range r.required.Extensions {
			if !caps.supportsExtension(t) {
				return fmt.Errorf("%w: no support for required extension %#04x (RFC 9420 §11.1)", ErrLeafNode, t)
			}
		}
		for _, t := range r.required.Proposals {
			if !caps.supportsProposal(t) {
				return fmt.Errorf("%w: no support for required proposal %#04x (RFC 9420 §11.1)", ErrLeafNode, t)
			}
		}
		for _, t := range r.required.Credentials {
			if !slices.Contains(caps.Credentials, t) {
				return fmt.Errorf("%w: no support for required credential %d (RFC 9420 §11.1)", ErrLeafNode, t)
			}
		}
	}
	return r.context.checkComponents(l)
}
