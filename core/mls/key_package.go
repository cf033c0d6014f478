package mls

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// ErrKeyPackage: a key package breaks a rule of RFC 9420 §10.1; the text names it.
var ErrKeyPackage = errors.New("mls: invalid key package")

// KeyPackage is RFC 9420 §10.
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte
	LeafNode    LeafNode
	Extensions  Extensions
	Signature   []byte
}

func (k *KeyPackage) marshalBody(e *Encoder) {
	e.Uint16(uint16(k.Version))
	e.Uint16(uint16(k.CipherSuite))
	e.Opaque(k.InitKey)
	k.LeafNode.MarshalMLS(e)
	k.Extensions.MarshalMLS(e)
}

// MarshalMLS implements [Marshaler].
func (k *KeyPackage) MarshalMLS(e *Encoder) {
	k.marshalBody(e)
	e.Opaque(k.Signature)
}

// UnmarshalMLS implements [Unmarshaler].
func (k *KeyPackage) UnmarshalMLS(d *Decoder) {
	*k = KeyPackage{Version: ProtocolVersion(d.Uint16()), CipherSuite: CipherSuite(d.Uint16()), InitKey: d.Opaque()}
	k.LeafNode.UnmarshalMLS(d)
	k.Extensions.UnmarshalMLS(d)
	k.Signature = d.Opaque()
}

func (k *KeyPackage) tbs() []byte {
	e := NewEncoder(1024)
	k.marshalBody(e)
	return e.Bytes()
}

func (k *KeyPackage) ref(s *suite) []byte {
	return s.refHash("MLS 1.0 KeyPackage Reference", Marshal(k))
}

// Ref returns the KeyPackageRef (RFC 9420 §5.2); the error wraps [ErrCipherSuite].
func (k *KeyPackage) Ref(t Suites) ([]byte, error) {
	s, err := t.get(k.CipherSuite)
	if err != nil {
		return nil, err
	}
	return k.ref(s), nil
}

// LastResort reports whether the key package may be used more than once (draft-ietf-mls-extensions-10,
// component last_resort_key_package).
func (k *KeyPackage) LastResort() bool {
	dict, err := dictionaryOf(k.Extensions)
	if err != nil {
		return false
	}
	data, ok := dict.Get(ComponentLastResortKeyPackage)
	return ok && len(data) == 0
}

// check validates a key package (RFC 9420 §10.1).
func (k *KeyPackage) check(r *leafRules) error {
	if k.Version != MLS10 {
		return fmt.Errorf("%w: protocol version %d (RFC 9420 §10.1)", ErrKeyPackage, k.Version)
	}
	if k.CipherSuite != r.suite.id {
		return fmt.Errorf("%w: cipher suite %#04x, want %#04x (RFC 9420 §10.1)", ErrKeyPackage, k.CipherSuite, r.suite.id)
	}
	if bytes.Equal(k.InitKey, k.LeafNode.EncryptionKey) {
		return fmt.Errorf("%w: init_key equals encryption_key (RFC 9420 §10.1)", ErrKeyPackage)
	}
	if err := r.suite.hpke.CheckPublicKey(k.InitKey); err != nil {
		return err
	}
	if err := k.Extensions.check(inKeyPackage); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyPackage, err)
	}
	if _, err := dictionaryOf(k.Extensions); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyPackage, err)
	}
	if err := r.check(&k.LeafNode, SourceKeyPackage, true); err != nil {
		return err
	}
	if err := k.LeafNode.verifySignature(r.suite, nil, 0); err != nil {
		return err
	}
	return r.suite.verify(k.LeafNode.SignatureKey, "KeyPackageTBS", k.Signature, k.tbs())
}

// VerifyKeyPackage validates a key package outside any group (RFC 9420 §10.1), lifetime included.
func VerifyKeyPackage(cfg *Config, k *KeyPackage) error {
	s, err := cfg.suites().get(k.CipherSuite)
	if err != nil {
		return err
	}
	return k.check(&leafRules{suite: s, config: cfg})
}

// JoinSecrets holds the private keys of a key package: what a leaf needs to join. It is a secret; its
// encoding is for storage under seal.
type JoinSecrets struct {
	KeyPackage KeyPackage
	InitKey    []byte        // private half of KeyPackage.InitKey
	LeafKey    []byte        // private half of the leaf's encryption_key
	Signature  *SignatureKey // private half of the leaf's signature_key
}

// LeafTemplate says what a new leaf node or key package carries.
type LeafTemplate struct {
	Credential   Credential
	Signature    *SignatureKey
	Capabilities *Capabilities // see [DefaultCapabilities]
	Extensions   Extensions    // of the leaf node
	// KeyPackageExtensions go into the key package, not the leaf.
	KeyPackageExtensions Extensions
	// Lifetime of the key package from now on; zero means 90 days. An hour is allowed for clocks that run ahead.
	Lifetime time.Duration
}

// DefaultCapabilities returns what this engine supports, with the suites of t in preference order given:
// version mls10, extension app_data_dictionary, proposals app_data_update, app_ephemeral and self_remove,
// credentials Basic and X.509.
func DefaultCapabilities(ids ...CipherSuite) *Capabilities {
	return &Capabilities{
		Versions:     []ProtocolVersion{MLS10},
		CipherSuites: ids,
		Extensions:   []ExtensionType{ExtAppDataDictionary},
		Proposals:    []ProposalType{ProposalAppDataUpdate, ProposalAppEphemeral, ProposalSelfRemove},
		Credentials:  []CredentialType{CredentialBasic, CredentialX509},
	}
}

// NewKeyPackage makes a key package and its private keys (RFC 9420 §10).
func NewKeyPackage(cfg *Config, id CipherSuite, t LeafTemplate) (*JoinSecrets, error) {
	s, err := cfg.suites().get(id)
	if err != nil {
		return nil, err
	}
	initKey, initPub, err := s.hpke.NewKeyPair(cfg.random())
	if err != nil {
		return nil, err
	}
	leafKey, leaf, err := newLeaf(cfg, s, t)
	if err != nil {
		return nil, err
	}
	k := KeyPackage{Version: MLS10, CipherSuite: id, InitKey: initPub, LeafNode: *leaf, Extensions: t.KeyPackageExtensions}
	if k.Signature, err = s.sign(t.Signature, "KeyPackageTBS", k.tbs()); err != nil {
		return nil, err
	}
	return &JoinSecrets{KeyPackage: k, InitKey: initKey, LeafKey: leafKey, Signature: t.Signature}, nil
}

// newLeaf makes a signed leaf node of source key_package.
func newLeaf(cfg *Config, s *suite, t LeafTemplate) (private []byte, leaf *LeafNode, err error) {
	private, public, err := s.hpke.NewKeyPair(cfg.random())
	if err != nil {
		return nil, nil, err
	}
	if t.Signature == nil {
		return nil, nil, fmt.Errorf("%w: no signature key", ErrKey)
	}
	lifetime := t.Lifetime
	if lifetime <= 0 {
		lifetime = 90 * 24 * time.Hour
	}
	caps := t.Capabilities
	if caps == nil {
		caps = DefaultCapabilities(s.id)
	}
	now := cfg.now()
	leaf = &LeafNode{
		EncryptionKey: public, SignatureKey: t.Signature.PublicBytes(), Credential: t.Credential, Capabilities: caps,
		Source: SourceKeyPackage, Extensions: t.Extensions,
		Lifetime: Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(lifetime).Unix())},
	}
	if err := leaf.sign(s, t.Signature, nil, 0); err != nil {
		return nil, nil, err
	}
	return private, leaf, nil
}

// MarshalMLS implements [Marshaler]; the result is a secret.
func (j *JoinSecrets) MarshalMLS(e *Encoder) {
	e.Uint8(storageVersion)
	j.KeyPackage.MarshalMLS(e)
	e.Opaque(j.InitKey)
	e.Opaque(j.LeafKey)
	e.Opaque(j.Signature.Bytes())
}

// UnmarshalJoinSecrets reads what [JoinSecrets] encoded; the error wraps [ErrSyntax], [ErrCipherSuite] or [ErrKey].
func UnmarshalJoinSecrets(t Suites, data []byte) (*JoinSecrets, error) {
	d := NewDecoder(bytes.Clone(data)) // what is decoded aliases it
	if v := d.Uint8(); v != storageVersion {
		d.Failf("join secrets of version %d", v)
	}
	j := new(JoinSecrets)
	j.KeyPackage.UnmarshalMLS(d)
	j.InitKey = d.Opaque()
	j.LeafKey = d.Opaque()
	secret := d.Opaque()
	if err := d.Finish(); err != nil {
		return nil, err
	}
	var err error
	j.Signature, err = t.ParseSignatureKey(j.KeyPackage.CipherSuite, secret)
	return j, err
}
