package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Errors of Verify.
var (
	// ErrNoCertificate: the other side has shown none.
	ErrNoCertificate = errors.New("trust: no certificate shown")
	// ErrName: the certificate is for another domain.
	ErrName = errors.New("trust: the certificate is not for this domain")
	// ErrUntrusted: it does not descend from an authority that is known for the domain, or is out of date.
	ErrUntrusted = errors.New("trust: the certificate cannot be trusted")
)

// Verify checks that the chain which the other side has shown, its own certificate first, speaks for a provider's domain: the domain is a
// DNS subject alternative name (RFC 6125), and the chain ends in roots; nil stands for those of the operating system. The other end of a
// connection may be either a server or a client, and public authorities stop certifying clients: one use is as good as the other.
func Verify(chain []*x509.Certificate, domain string, roots *x509.CertPool, now time.Time) error {
	if len(chain) == 0 {
		return ErrNoCertificate
	}
	if chain[0].VerifyHostname(domain) != nil {
		return fmt.Errorf("%w: %s", ErrName, domain)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: domain, Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}

// Pool returns the certificates of a PEM text as roots; nil for an empty text: those of the operating system. It fails where the text
// holds none.
func Pool(text string) (*x509.CertPool, error) {
	if text == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("trust: no certificate in PEM form")
	}
	return pool, nil
}
