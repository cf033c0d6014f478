// Package kem is the HPKE half of an MLS cipher suite (RFC 9420 §5.1.3, §8.3) on crypto/hpke.
package kem

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"mimigate/core/mls/internal/codec"
	"mimigate/core/mls/internal/signature"
)

// ErrDecrypt: a ciphertext does not open.
var ErrDecrypt = errors.New("mls: cannot decrypt")

// ErrKey: a public or private key has no valid encoding.
var ErrKey = signature.ErrKey

// Scheme is an HPKE configuration. Private keys are kept encoded and parsed on use: parsed hybrid keys are large.
type Scheme struct {
	KEM     hpke.KEM
	KDF     hpke.KDF
	AEAD    hpke.AEAD
	EncSize int // length of a kem_output, bytes
	Size    int // length of secrets, KDF.Nh, bytes
}

// Ciphertext is RFC 9420 §5.1.3.
type Ciphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

// MarshalMLS implements [codec.Marshaler].
func (c *Ciphertext) MarshalMLS(e *codec.Encoder) {
	e.Opaque(c.KEMOutput)
	e.Opaque(c.Ciphertext)
}

// UnmarshalMLS implements [codec.Unmarshaler].
func (c *Ciphertext) UnmarshalMLS(d *codec.Decoder) {
	c.KEMOutput = d.Opaque()
	c.Ciphertext = d.Opaque()
}

// Seal is EncryptWithLabel (RFC 9420 §5.1.3); info is EncryptContext.
func (s *Scheme) Seal(public, info, plaintext []byte) (Ciphertext, error) {
	pk, err := s.KEM.NewPublicKey(public)
	if err != nil {
		return Ciphertext{}, fmt.Errorf("%w: HPKE public key of %d bytes", ErrKey, len(public))
	}
	ct, err := hpke.Seal(pk, s.KDF, s.AEAD, info, plaintext)
	if err != nil {
		return Ciphertext{}, fmt.Errorf("mls: HPKE seal: %w", err)
	}
	return Ciphertext{KEMOutput: ct[:s.EncSize:s.EncSize], Ciphertext: ct[s.EncSize:]}, nil
}

// Open is DecryptWithLabel.
func (s *Scheme) Open(private, info []byte, ct Ciphertext) ([]byte, error) {
	sk, err := s.KEM.NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: HPKE private key", ErrKey)
	}
	if len(ct.KEMOutput) != s.EncSize {
		return nil, fmt.Errorf("%w: kem_output of %d bytes", ErrDecrypt, len(ct.KEMOutput))
	}
	both := append(ct.KEMOutput[:s.EncSize:s.EncSize], ct.Ciphertext...)
	pt, err := hpke.Open(sk, s.KDF, s.AEAD, info, both)
	if err != nil {
		return nil, fmt.Errorf("%w: HPKE", ErrDecrypt)
	}
	return pt, nil
}

// KeyPair is KEM.DeriveKeyPair (RFC 9180 §4): serialised private and public key.
func (s *Scheme) KeyPair(ikm []byte) (private, public []byte, err error) {
	sk, err := s.KEM.DeriveKeyPair(ikm)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: derive key pair", ErrKey)
	}
	private, err = sk.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: derive key pair", ErrKey)
	}
	return private, sk.PublicKey().Bytes(), nil
}

// NewKeyPair makes a fresh HPKE key pair from random.
func (s *Scheme) NewKeyPair(random io.Reader) (private, public []byte, err error) {
	ikm := make([]byte, s.Size)
	defer clear(ikm)
	if _, err := io.ReadFull(random, ikm); err != nil {
		return nil, nil, fmt.Errorf("mls: random source: %w", err)
	}
	return s.KeyPair(ikm)
}

// CheckPublicKey reports a malformed HPKE public key.
func (s *Scheme) CheckPublicKey(public []byte) error {
	if _, err := s.KEM.NewPublicKey(public); err != nil {
		return fmt.Errorf("%w: HPKE public key of %d bytes", ErrKey, len(public))
	}
	return nil
}

// ExternalInit is the sender's half of RFC 9420 §8.3: kem_output and init secret.
func (s *Scheme) ExternalInit(externalPub []byte) (kemOutput, initSecret []byte, err error) {
	pk, err := s.KEM.NewPublicKey(externalPub)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: external_pub", ErrKey)
	}
	enc, sender, err := hpke.NewSender(pk, s.KDF, s.AEAD, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external init: %w", err)
	}
	secret, err := sender.Export("MLS 1.0 external init secret", s.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external init: %w", err)
	}
	return enc, secret, nil
}

// ExternalInitReceive is the members' half of RFC 9420 §8.3.
func (s *Scheme) ExternalInitReceive(externalSecret, kemOutput []byte) ([]byte, error) {
	sk, err := s.KEM.DeriveKeyPair(externalSecret)
	if err != nil {
		return nil, fmt.Errorf("%w: external key", ErrKey)
	}
	r, err := hpke.NewRecipient(kemOutput, sk, s.KDF, s.AEAD, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: external init", ErrDecrypt)
	}
	secret, err := r.Export("MLS 1.0 external init secret", s.Size)
	if err != nil {
		return nil, fmt.Errorf("%w: external init", ErrDecrypt)
	}
	return secret, nil
}
