// Package signature holds the signature schemes of MLS cipher suites (RFC 9420 §5.1.1) on the standard library.
package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
)

// Key is the private signature key of a leaf or of an external sender (RFC 9420 §5.1.1).
type Key struct {
	Scheme Scheme // which one it is for
	signer crypto.Signer
	public []byte // in the encoding of RFC 9420 §5.1.1
	secret []byte // seed (Ed25519) or scalar (ECDSA)
}

// Bytes returns the private key: an Ed25519 seed or an ECDSA scalar. It is a secret.
func (k *Key) Bytes() []byte { return append([]byte(nil), k.secret...) }

// PublicBytes returns the public key as MLS encodes it: 32 bytes for Ed25519, an uncompressed point for ECDSA.
func (k *Key) PublicBytes() []byte { return k.public }

// Public implements [crypto.Signer], so that certificates can be made for the key.
func (k *Key) Public() crypto.PublicKey { return k.signer.Public() }

// Sign implements [crypto.Signer].
func (k *Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(random, digest, opts)
}

// ErrKey: a public or private key has no valid encoding.
var ErrKey = errors.New("mls: malformed key")

// Scheme is the signature half of a cipher suite. Schemes are comparable.
type Scheme interface {
	// Size is the length of a private key in bytes.
	Size() int
	// Generate makes a fresh key from random.
	Generate(random io.Reader) (*Key, error)
	// Parse reads what Key.Bytes returned; the error wraps ErrKey.
	Parse(secret []byte) (*Key, error)
	// CheckPublic reports a malformed public key; the error wraps ErrKey.
	CheckPublic(public []byte) error
	// Sign signs a message with a key of this scheme.
	Sign(key *Key, message []byte) ([]byte, error)
	// Verify reports whether a signature is valid; a malformed key makes it invalid.
	Verify(public, message, signature []byte) bool
}

// Ed25519 is the scheme of suites 1 and 3.
type Ed25519 struct{}

// Size implements [Scheme].
func (Ed25519) Size() int { return ed25519.SeedSize }

// Generate implements [Scheme].
func (s Ed25519) Generate(random io.Reader) (*Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("mls: random source: %w", err)
	}
	return s.Parse(seed)
}

// Parse implements [Scheme].
func (s Ed25519) Parse(secret []byte) (*Key, error) {
	if len(secret) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: Ed25519 seed", ErrKey)
	}
	key := ed25519.NewKeyFromSeed(secret)
	return &Key{Scheme: s, signer: key, public: key[32:], secret: key[:32]}, nil
}

// CheckPublic implements [Scheme].
func (Ed25519) CheckPublic(public []byte) error {
	if len(public) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: Ed25519 public key of %d bytes", ErrKey, len(public))
	}
	return nil
}

// Sign implements [Scheme].
func (Ed25519) Sign(key *Key, message []byte) ([]byte, error) {
	return key.signer.Sign(nil, message, crypto.Hash(0))
}

// Verify implements [Scheme].
func (Ed25519) Verify(public, message, signature []byte) bool {
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, signature)
}

// ECDSA is ECDSA with the hash of the curve's size, signatures in DER (RFC 9420 §5.1.1).
type ECDSA struct {
	name string
	size int  // of a scalar, bytes
	mask byte // of the first byte of a scalar
	hash crypto.Hash
}

// The curves of suites 2, 7 and 5.
var (
	ECDSAP256 = ECDSA{name: "P-256", size: 32, mask: 0xff, hash: crypto.SHA256}
	ECDSAP384 = ECDSA{name: "P-384", size: 48, mask: 0xff, hash: crypto.SHA384}
	ECDSAP521 = ECDSA{name: "P-521", size: 66, mask: 0x01, hash: crypto.SHA512}
)

func (s ECDSA) curve() elliptic.Curve {
	switch s.size {
	case 32:
		return elliptic.P256()
	case 48:
		return elliptic.P384()
	default:
		return elliptic.P521()
	}
}

func (s ECDSA) digest(message []byte) []byte {
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// Size implements [Scheme].
func (s ECDSA) Size() int { return s.size }

// Generate implements [Scheme]. A scalar out of range is drawn again.
func (s ECDSA) Generate(random io.Reader) (*Key, error) {
	scalar := make([]byte, s.size)
	for {
		if _, err := io.ReadFull(random, scalar); err != nil {
			return nil, fmt.Errorf("mls: random source: %w", err)
		}
		scalar[0] &= s.mask
		if key, err := s.Parse(scalar); err == nil {
			return key, nil
		}
	}
}

// Parse implements [Scheme].
func (s ECDSA) Parse(secret []byte) (*Key, error) {
	if len(secret) != s.size {
		return nil, fmt.Errorf("%w: ECDSA %s scalar", ErrKey, s.name)
	}
	key, err := ecdsa.ParseRawPrivateKey(s.curve(), secret)
	if err != nil {
		return nil, fmt.Errorf("%w: ECDSA %s scalar", ErrKey, s.name)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: ECDSA %s", ErrKey, s.name)
	}
	return &Key{Scheme: s, signer: key, public: public, secret: append([]byte(nil), secret...)}, nil
}

// CheckPublic implements [Scheme].
func (s ECDSA) CheckPublic(public []byte) error {
	if _, err := ecdsa.ParseUncompressedPublicKey(s.curve(), public); err != nil {
		return fmt.Errorf("%w: ECDSA %s public key of %d bytes", ErrKey, s.name, len(public))
	}
	return nil
}

// Sign implements [Scheme].
func (s ECDSA) Sign(key *Key, message []byte) ([]byte, error) {
	// Without a random source crypto/ecdsa signs deterministically (RFC 6979).
	return key.signer.Sign(nil, s.digest(message), s.hash)
}

// Verify implements [Scheme].
func (s ECDSA) Verify(public, message, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve(), public)
	return err == nil && ecdsa.VerifyASN1(key, s.digest(message), signature)
}
