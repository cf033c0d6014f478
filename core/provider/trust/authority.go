// Package trust says which certificate speaks for which provider. A provider's own [Authority] issues the certificate that it shows to
// others, as server and as client (mimi-protocol-06 §5: mutual TLS); what others show is held against the authorities that are
// known for their domain, and for no other, see [Verify].
package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	certificateLife = 90 * 24 * time.Hour
	// clocks of peers may be this much behind ours.
	clockSkew = 24 * time.Hour
)

// Authority is the certificate authority of one provider. It can vouch for names of the provider's domain alone: whoever trusts it for
// that domain trusts it for nothing else.
type Authority struct {
	domain      string
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes the authority of a provider's domain.
func NewAuthority(domain string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "mimigate " + domain},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{domain}, PermittedURIDomains: []string{domain},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return newAuthority(domain, der, key)
}

func newAuthority(domain string, der []byte, key crypto.Signer) (*Authority, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return &Authority{domain: domain, certificate: c, key: key}, nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// ErrAuthority: what was stored is no authority.
var ErrAuthority = errors.New("trust: not a stored authority")

// ParseAuthority reads what Marshal wrote, for the same domain. The error wraps ErrAuthority.
func ParseAuthority(domain string, stored []byte) (*Authority, error) {
	var der []byte
	var key crypto.Signer
	for block, rest := pem.Decode(stored); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case pemCertificate:
			der = block.Bytes
		case pemKey:
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%w: its key", ErrAuthority)
			}
			key, _ = k.(crypto.Signer)
		}
	}
	if der == nil || key == nil {
		return nil, ErrAuthority
	}
	a, err := newAuthority(domain, der, key)
	if err != nil {
		return nil, fmt.Errorf("%w: its certificate", ErrAuthority)
	}
	return a, nil
}

// Marshal returns the authority with its private key, to be stored sealed.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return append(PEM(a.certificate), pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key})...), nil
}

// Certificate returns what others verify our certificates with.
func (a *Authority) Certificate() *x509.Certificate { return a.certificate }

// Issue makes a certificate for the provider's domain, for both ends of a connection, with a fresh key. The authority's own
// certificate comes with it.
func (a *Authority) Issue(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	der, err := a.Sign(&x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: a.domain}, DNSNames: []string{a.domain},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key.Public())
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Sign returns a certificate (DER) of the authority for a public key, by a template.
func (a *Authority) Sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	return der, nil
}

// PEM returns a certificate in text form.
func PEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}
