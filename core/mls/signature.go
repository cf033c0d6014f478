package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"io"
)

// SignatureKey is the private signature key of a leaf or of an external sender (RFC 9420 §5.1.1).
type SignatureKey struct {
	scheme signatureScheme
	signer crypto.Signer
	public []byte // in the encoding of RFC 9420 §5.1.1
	secret []byte // seed (Ed25519) or scalar (ECDSA)
}

// NewSignatureKey makes a fresh signature key for the suite from random. The error wraps [ErrCipherSuite]
// or reports the random source.
func (t Suites) NewSignatureKey(id CipherSuite, random io.Reader) (*SignatureKey, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	for {
		secret, err := randomBytes(random, s.sig.secretSize())
		if err != nil {
			return nil, err
		}
		if c, ok := s.sig.(ecdsaScheme); ok {
			secret[0] &= c.mask
		}
		if key, err := s.sig.parse(secret); err == nil { // an ECDSA scalar may be out of range: draw again
			return key, nil
		}
	}
}

// ParseSignatureKey reads what [SignatureKey.Bytes] returned; the error wraps [ErrKey].
func (t Suites) ParseSignatureKey(id CipherSuite, secret []byte) (*SignatureKey, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	return s.sig.parse(secret)
}

// Bytes returns the private key: an Ed25519 seed or an ECDSA scalar. It is a secret.
func (k *SignatureKey) Bytes() []byte { return append([]byte(nil), k.secret...) }

// PublicBytes returns the public key as MLS encodes it: 32 bytes for Ed25519, an uncompressed point for ECDSA.
func (k *SignatureKey) PublicBytes() []byte { return k.public }

// Public implements [crypto.Signer], so that certificates can be made for the key.
func (k *SignatureKey) Public() crypto.PublicKey { return k.signer.Public() }

// Sign implements [crypto.Signer].
func (k *SignatureKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(random, digest, opts)
}

// signatureScheme is the signature half of a cipher suite.
type signatureScheme interface {
	secretSize() int
	parse(secret []byte) (*SignatureKey, error)
	checkPublic(public []byte) error
	sign(key crypto.Signer, message []byte) ([]byte, error)
	verify(public, message, signature []byte) bool
}

type ed25519Scheme struct{}

func (ed25519Scheme) secretSize() int { return ed25519.SeedSize }

func (s ed25519Scheme) parse(secret []byte) (*SignatureKey, error) {
	if len(secret) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: Ed25519 seed", ErrKey)
	}
	key := ed25519.NewKeyFromSeed(secret)
	return &SignatureKey{scheme: s, signer: key, public: key[32:], secret: key[:32]}, nil
}

func (ed25519Scheme) checkPublic(public []byte) error {
	if len(public) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: Ed25519 public key of %d bytes", ErrKey, len(public))
	}
	return nil
}

func (ed25519Scheme) sign(key crypto.Signer, message []byte) ([]byte, error) {
	return key.Sign(nil, message, crypto.Hash(0))
}

func (ed25519Scheme) verify(public, message, signature []byte) bool {
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, signature)
}

// ecdsaScheme is ECDSA with the hash of the curve's size, signatures in DER (RFC 9420 §5.1.1).
type ecdsaScheme struct {
	name string
	size int  // of a scalar, bytes
	mask byte // of the first byte of a scalar
	hash crypto.Hash
}

var (
	ecdsaP256 = ecdsaScheme{name: "P-256", size: 32, mask: 0xff, hash: crypto.SHA256}
	ecdsaP384 = ecdsaScheme{name: "P-384", size: 48, mask: 0xff, hash: crypto.SHA384}
	ecdsaP521 = ecdsaScheme{name: "P-521", size: 66, mask: 0x01, hash: crypto.SHA512}
)

func (s ecdsaScheme) curve() elliptic.Curve {
	switch s.size {
	case 32:
		return elliptic.P256()
	case 48:
		return elliptic.P384()
	default:
		return elliptic.P521()
	}
}

func (s ecdsaScheme) digest(message []byte) []byte {
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

func (s ecdsaScheme) secretSize() int { return s.size }

func (s ecdsaScheme) parse(secret []byte) (*SignatureKey, error) {
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
	return &SignatureKey{scheme: s, signer: key, public: public, secret: append([]byte(nil), secret...)}, nil
}

func (s ecdsaScheme) checkPublic(public []byte) error {
	if _, err := ecdsa.ParseUncompressedPublicKey(s.curve(), public); err != nil {
		return fmt.Errorf("%w: ECDSA %s public key of %d bytes", ErrKey, s.name, len(public))
	}
	return nil
}

func (s ecdsaScheme) sign(key crypto.Signer, message []byte) ([]byte, error) {
	// Without a random source crypto/ecdsa signs deterministically (RFC 6979).
	return key.Sign(nil, s.digest(message), s.hash)
}

func (s ecdsaScheme) verify(public, message, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(s.curve(), public)
	return err == nil && ecdsa.VerifyASN1(key, s.digest(message), signature)
}
