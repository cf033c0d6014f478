package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"mimigate/core/mls/internal/codec"
	"mimigate/core/mls/internal/kem"
	"mimigate/core/mls/internal/signature"
)

// CipherSuite is the code point of a cipher suite (RFC 9420 §17.1).
type CipherSuite uint16

// The cipher suites of RFC 9420 §17.1 that the Go standard library can do; suites 4 and 6 need X448.
const (
	X25519AES128 CipherSuite = 0x0001 // MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
	P256AES128   CipherSuite = 0x0002 // MLS_128_DHKEMP256_AES128GCM_SHA256_P256
	X25519ChaCha CipherSuite = 0x0003 // MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
	P521AES256   CipherSuite = 0x0005 // MLS_256_DHKEMP521_AES256GCM_SHA512_P521
	P384AES256   CipherSuite = 0x0007 // MLS_256_DHKEMP384_AES256GCM_SHA384_P384
)

// The post-quantum suites of draft-ietf-mls-pq-ciphersuites-05. IANA has assigned nothing yet and
// implementations disagree, so these are defaults from the private range that [Suites.Move] changes.
const (
	MLKEM768X25519AES128 CipherSuite = 0xf101 // TBD1
	MLKEM768X25519AES256 CipherSuite = 0xf102 // TBD2
	MLKEM768P256AES128   CipherSuite = 0xf103 // TBD3
	MLKEM768P256AES256   CipherSuite = 0xf104 // TBD4
	MLKEM1024P384AES256  CipherSuite = 0xf105 // TBD5
	MLKEM768AES256Ed     CipherSuite = 0xf106 // TBD6
	MLKEM768AES256P256   CipherSuite = 0xf107 // TBD7
	MLKEM1024AES256P384  CipherSuite = 0xf108 // TBD8
)

// Errors of the cryptographic layer. Their text never holds a key or a secret.
var (
	// ErrCipherSuite: the cipher suite is not one this engine (or its configuration) knows.
	ErrCipherSuite = errors.New("mls: unsupported cipher suite")
	// ErrSignature: a signature does not verify, or its key is malformed.
	ErrSignature = errors.New("mls: invalid signature")
	// ErrDecrypt: an HPKE or AEAD ciphertext does not open.
	ErrDecrypt = kem.ErrDecrypt
	// ErrKey: a public or private key has no valid encoding.
	ErrKey = signature.ErrKey
)

// suite is what a cipher suite consists of (RFC 9420 §5.1).
type suite struct {
	id      CipherSuite
	name    string
	hpke    kem.Scheme
	newAEAD func(key []byte) (cipher.AEAD, error)
	hash    func() hash.Hash
	sig     signature.Scheme
	nh      int        // KDF.Nh = Hash.length, bytes
	nk      int        // AEAD.Nk, bytes
	buffers *sync.Pool // of *[]byte, see signContent
}

const nn = 12 // AEAD.Nn of every AEAD of RFC 9420, bytes

// Suites is the table of known cipher suites by code point.
type Suites map[CipherSuite]*suite

// DefaultSuites returns a new table: RFC 9420 suites 1, 2, 3, 5 and 7, and TBD1 to TBD8 of
// draft-ietf-mls-pq-ciphersuites at the code points above.
func DefaultSuites() Suites {
	x25519, p256 := hpke.DHKEM(ecdh.X25519()), hpke.DHKEM(ecdh.P256())
	p384, p521 := hpke.DHKEM(ecdh.P384()), hpke.DHKEM(ecdh.P521())
	all := []*suite{
		aes128(X25519AES128, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", x25519, 32, signature.Ed25519{}),
		aes128(P256AES128, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256", p256, 65, signature.ECDSAP256),
		chacha(X25519ChaCha, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", x25519, 32, signature.Ed25519{}),
		aes256(P521AES256, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521", p521, 133, signature.ECDSAP521, sha512.New, hpke.HKDFSHA512()),
		sha384(P384AES256, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384", p384, 97, signature.ECDSAP384),
		aes128(MLKEM768X25519AES128, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519", hpke.MLKEM768X25519(), 1120, signature.Ed25519{}),
		sha384(MLKEM768X25519AES256, "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519", hpke.MLKEM768X25519(), 1120, signature.Ed25519{}),
		aes128(MLKEM768P256AES128, "MLS_128_MLKEM768P256_AES128GCM_SHA256_P256", hpke.MLKEM768P256(), 1153, signature.ECDSAP256),
		sha384(MLKEM768P256AES256, "MLS_128_MLKEM768P256_AES256GCM_SHA384_P256", hpke.MLKEM768P256(), 1153, signature.ECDSAP256),
		sha384(MLKEM1024P384AES256, "MLS_192_MLKEM1024P384_AES256GCM_SHA384_P384", hpke.MLKEM1024P384(), 1665, signature.ECDSAP384),
		sha384(MLKEM768AES256Ed, "MLS_128_MLKEM768_AES256GCM_SHA384_Ed25519", hpke.MLKEM768(), 1088, signature.Ed25519{}),
		sha384(MLKEM768AES256P256, "MLS_128_MLKEM768_AES256GCM_SHA384_P256", hpke.MLKEM768(), 1088, signature.ECDSAP256),
		sha384(MLKEM1024AES256P384, "MLS_192_MLKEM1024_AES256GCM_SHA384_P384", hpke.MLKEM1024(), 1568, signature.ECDSAP384),
	}
	t := make(Suites, len(all))
	for _, s := range all {
		s.buffers = new(sync.Pool)
		t[s.id] = s
	}
	return t
}

func aes128(id CipherSuite, name string, k hpke.KEM, enc int, sig signature.Scheme) *suite {
	return &suite{id: id, name: name, hpke: kem.Scheme{KEM: k, KDF: hpke.HKDFSHA256(), AEAD: hpke.AES128GCM(), EncSize: enc, Size: 32},
		newAEAD: newGCM, hash: sha256.New, sig: sig, nh: 32, nk: 16}
}

func chacha(id CipherSuite, name string, k hpke.KEM, enc int, sig signature.Scheme) *suite {
	return &suite{id: id, name: name, hpke: kem.Scheme{KEM: k, KDF: hpke.HKDFSHA256(), AEAD: hpke.ChaCha20Poly1305(), EncSize: enc, Size: 32},
		newAEAD: chacha20poly1305.New, hash: sha256.New, sig: sig, nh: 32, nk: 32}
}

func aes256(id CipherSuite, name string, k hpke.KEM, enc int, sig signature.Scheme, h func() hash.Hash, kdf hpke.KDF) *suite {
	return &suite{id: id, name: name, hpke: kem.Scheme{KEM: k, KDF: kdf, AEAD: hpke.AES256GCM(), EncSize: enc, Size: h().Size()},
		newAEAD: newGCM, hash: h, sig: sig, nh: h().Size(), nk: 32}
}

func sha384(id CipherSuite, name string, k hpke.KEM, enc int, sig signature.Scheme) *suite {
	return aes256(id, name, k, enc, sig, sha512.New384, hpke.HKDFSHA384())
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Move returns a copy of the table in which the suite at code point from is at code point to instead.
// The error wraps [ErrCipherSuite] when from is unknown or to is taken.
func (t Suites) Move(from, to CipherSuite) (Suites, error) {
	s, ok := t[from]
	if !ok {
		return nil, fmt.Errorf("%w: %#04x", ErrCipherSuite, from)
	}
	if _, taken := t[to]; taken && from != to {
		return nil, fmt.Errorf("%w: code point %#04x is taken", ErrCipherSuite, to)
	}
	moved := *s
	moved.id = to
	t = maps.Clone(t)
	delete(t, from)
	t[to] = &moved
	return t, nil
}

// Name returns the suite's registered name, or "" if the table does not have it.
func (t Suites) Name(id CipherSuite) string {
	if s := t[id]; s != nil {
		return s.name
	}
	return ""
}

func (t Suites) get(id CipherSuite) (*suite, error) {
	if s := t[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %#04x", ErrCipherSuite, id)
}

// labelled appends the length-prefixed "MLS 1.0 " + label.
func labelled(b []byte, label string) []byte {
	b = codec.AppendVarint(b, len("MLS 1.0 ")+len(label))
	b = append(b, "MLS 1.0 "...)
	return append(b, label...)
}

// labelledContext is EncryptContext: label<V>, context<V> (RFC 9420 §5.1.3).
func labelledContext(label string, context []byte) []byte {
	b := make([]byte, 0, 8+8+len(label)+len(context))
	b = labelled(b, label)
	b = codec.AppendVarint(b, len(context))
	return append(b, context...)
}

// expand is ExpandWithLabel (RFC 9420 §8).
func (s *suite) expand(secret []byte, label string, context []byte, length int) []byte {
	var scratch [64]byte
	b := append(scratch[:0], byte(length>>8), byte(length))
	b = labelled(b, label)
	b = codec.AppendVarint(b, len(context))
	var info strings.Builder // a context can be large: it is copied once
	info.Grow(len(b) + len(context))
	info.Write(b)
	info.Write(context)
	out, err := hkdf.Expand(s.hash, secret, info.String(), length)
	if err != nil { // only for a length over 255*Nh
		panic("mls: hkdf: " + err.Error())
	}
	return out
}

// derive is DeriveSecret (RFC 9420 §8).
func (s *suite) derive(secret []byte, label string) []byte {
	return s.expand(secret, label, nil, s.nh)
}

// deriveTree is DeriveTreeSecret (RFC 9420 §9).
func (s *suite) deriveTree(secret []byte, label string, generation uint32, length int) []byte {
	ctx := [4]byte{byte(generation >> 24), byte(generation >> 16), byte(generation >> 8), byte(generation)}
	return s.expand(secret, label, ctx[:], length)
}

// extract is KDF.Extract.
func (s *suite) extract(salt, ikm []byte) []byte {
	out, err := hkdf.Extract(s.hash, ikm, salt)
	if err != nil { // never for the hashes above
		panic("mls: hkdf: " + err.Error())
	}
	return out
}

func (s *suite) sum(data []byte) []byte {
	h := s.hash()
	h.Write(data)
	return h.Sum(nil)
}

func (s *suite) mac(key []byte, data ...[]byte) []byte {
	m := hmac.New(s.hash, key)
	for _, d := range data {
		m.Write(d)
	}
	return m.Sum(nil)
}

// refHash is RefHash (RFC 9420 §5.2).
func (s *suite) refHash(label string, value []byte) []byte {
	b := make([]byte, 0, 8+len(label)+len(value))
	b = codec.AppendVarint(b, len(label))
	b = append(b, label...)
	b = codec.AppendVarint(b, len(value))
	return s.sum(append(b, value...))
}

// signContent lays out SignContent (RFC 9420 §5.1.2) in a buffer that goes back to the pool: it holds a whole
// GroupContext, and there is one for every message.
func (s *suite) signContent(label string, content [][]byte) *[]byte {
	n := 0
	for _, part := range content {
		n += len(part)
	}
	buf, _ := s.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	b := slices.Grow((*buf)[:0], n+len(label)+16)
	b = codec.AppendVarint(labelled(b, label), n)
	for _, part := range content {
		b = append(b, part...)
	}
	*buf = b
	return buf
}

// sign is SignWithLabel (RFC 9420 §5.1.2) over the concatenation of content.
func (s *suite) sign(key *SignatureKey, label string, content ...[]byte) ([]byte, error) {
	if key == nil || key.Scheme != s.sig {
		return nil, fmt.Errorf("%w: signature key of another scheme", ErrKey)
	}
	message := s.signContent(label, content)
	defer s.buffers.Put(message)
	return s.sig.Sign(key, *message)
}

// verify is VerifyWithLabel over the concatenation of content; the error wraps [ErrSignature].
func (s *suite) verify(public []byte, label string, signature []byte, content ...[]byte) error {
	message := s.signContent(label, content)
	defer s.buffers.Put(message)
	if !s.sig.Verify(public, *message, signature) {
		return fmt.Errorf("%w: %s", ErrSignature, label)
	}
	return nil
}

// SignWithLabel signs content under label as RFC 9420 §5.1.2 does, for protocols around MLS (MIMI franking, consent).
func (t Suites) SignWithLabel(id CipherSuite, key *SignatureKey, label string, content []byte) ([]byte, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	return s.sign(key, label, content)
}

// VerifyWithLabel verifies what [Suites.SignWithLabel] made; the error wraps [ErrSignature].
func (t Suites) VerifyWithLabel(id CipherSuite, public []byte, label string, content, signature []byte) error {
	s, err := t.get(id)
	if err != nil {
		return err
	}
	return s.verify(public, label, signature, content)
}

// EncryptWithLabel is RFC 9420 §5.1.3, for protocols around MLS (the groupInfo response of MIMI).
func (t Suites) EncryptWithLabel(id CipherSuite, public []byte, label string, context, plaintext []byte) (HPKECiphertext, error) {
	s, err := t.get(id)
	if err != nil {
		return HPKECiphertext{}, err
	}
	return s.hpke.Seal(public, labelledContext(label, context), plaintext)
}

// DecryptWithLabel is RFC 9420 §5.1.3; private is an encoded HPKE private key. The error wraps [ErrDecrypt].
func (t Suites) DecryptWithLabel(id CipherSuite, private []byte, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	return s.hpke.Open(private, labelledContext(label, context), ct)
}

func randomBytes(random io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("mls: random source: %w", err)
	}
	return b, nil
}

func equalTags(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// HPKECiphertext is RFC 9420 §5.1.3: kem_output and ciphertext.
type HPKECiphertext = kem.Ciphertext

// SignatureKey is the private signature key of a leaf or of an external sender (RFC 9420 §5.1.1). It implements crypto.Signer.
type SignatureKey = signature.Key

// NewSignatureKey makes a fresh signature key for the suite from random. The error wraps [ErrCipherSuite]
// or reports the random source.
func (t Suites) NewSignatureKey(id CipherSuite, random io.Reader) (*SignatureKey, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	return s.sig.Generate(random)
}

// ParseSignatureKey reads what [SignatureKey.Bytes] returned; the error wraps [ErrKey].
func (t Suites) ParseSignatureKey(id CipherSuite, secret []byte) (*SignatureKey, error) {
	s, err := t.get(id)
	if err != nil {
		return nil, err
	}
	return s.sig.Parse(secret)
}
