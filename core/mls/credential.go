package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrCredential: a credential is malformed, does not match its signature key, or was refused by [Config].VerifyCredential.
var ErrCredential = errors.New("mls: credential not acceptable")

// CredentialType is the code point of a credential type (RFC 9420 §17.5).
type CredentialType uint16

// Credential types.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Credential is RFC 9420 §5.3. Types other than Basic and X.509 are kept as opaque bytes: every type
// defined so far is one vector.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // Basic
	Certificates [][]byte // X.509: DER, leaf first
	Other        []byte   // any other type
}

// BasicCredential returns a Basic credential.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential returns an X.509 credential; chain is DER, leaf first (RFC 9420 §5.3).
func X509Credential(chain ...[]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: chain}
}

// MarshalMLS implements [Marshaler].
func (c *Credential) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(c.Type))
	switch c.Type {
	case CredentialBasic:
		e.Opaque(c.Identity)
	case CredentialX509:
		start := e.Open()
		for _, cert := range c.Certificates {
			e.Opaque(cert)
		}
		e.Close(start)
	default:
		e.Opaque(c.Other)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (c *Credential) UnmarshalMLS(d *Decoder) {
	*c = Credential{Type: CredentialType(d.Uint16())}
	switch c.Type {
	case CredentialBasic:
		c.Identity = d.Opaque()
	case CredentialX509:
		d.Vector(func(d *Decoder) { c.Certificates = append(c.Certificates, d.Opaque()) })
	default:
		c.Other = d.Opaque()
	}
}

// Equal reports whether two credentials are the same.
func (c *Credential) Equal(o *Credential) bool {
	return bytes.Equal(Marshal(c), Marshal(o))
}

// checkKey verifies that an X.509 leaf certificate certifies the signature key (RFC 9420 §5.3).
// A Basic credential says nothing about keys.
func (c *Credential) checkKey(signatureKey []byte) error {
	if c.Type != CredentialX509 {
		return nil
	}
	if len(c.Certificates) == 0 {
		return fmt.Errorf("%w: X.509 credential without certificate (RFC 9420 §5.3)", ErrCredential)
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil {
		return fmt.Errorf("%w: X.509: %v", ErrCredential, err)
	}
	var certified []byte
	switch key := cert.PublicKey.(type) {
	case ed25519.PublicKey:
		certified = key
	case *ecdsa.PublicKey:
		certified, _ = key.Bytes()
	}
	if !bytes.Equal(certified, signatureKey) || len(certified) == 0 {
		return fmt.Errorf("%w: certificate is for another key (RFC 9420 §5.3)", ErrCredential)
	}
	return nil
}
