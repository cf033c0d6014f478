// Package credential makes and checks the X.509 certificates by which clients are known in MLS groups (mimi-identity-05, design §8): each
// names a user and a client of one provider, belongs to the client's signature key, and comes from the authority of that provider. Those of
// ours say that behind them is a bridge: whoever reads the certificate knows that end-to-end encryption ends at the gateway.
package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mimigate/core/uri"
)

// Errors of Verify and Issue.
var (
	// ErrKey: a public key has no form that we know.
	ErrKey = errors.New("credential: unknown kind of key")
	// ErrForm: a certificate is not that of a client: it names no user or several, is an authority's, or is for another key.
	ErrForm = errors.New("credential: not a client's certificate")
	// ErrUntrusted: it does not come from the authority of its user's provider.
	ErrUntrusted = errors.New("credential: not vouched for by the user's provider")
)

const (
	// Life is for how long a certificate is good.
	Life = 90 * 24 * time.Hour
	// clockSkew is by how much clocks of others may be behind ours.
	clockSkew = 24 * time.Hour
	// maxName is the longest common name, in characters (RFC 5280 appendix A.1, ub-common-name).
	maxName = 64
)

// BridgePolicy is the certificate policy of our clients: the holder of the key is a gateway to another network. It stands under the arc of
// UUIDs (ITU-T X.667), as the project has no number of its own.
const BridgePolicy = "2.25.214693742870160846935112573120938401625"

// Authority signs certificates for a provider.
type Authority interface {
	// Sign returns a certificate (DER) for a public key, by a template.
	Sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error)
}

// Holder is whom a certificate is for.
type Holder struct {
	User   uri.User
	Client uri.Client
	// Name is what people call the user, may be empty; Network is where the user is, empty for the gateway's own participant.
	Name    string
	Network string
}

// Issuer makes the certificates of our clients.
type Issuer struct {
	Authority Authority
	Now       func() time.Time
}

// Issue returns a certificate (DER) for the public half of a signature key, in the form that MLS gives it (RFC 9420 §5.1.1).
func (i *Issuer) Issue(h Holder, publicKey []byte) ([]byte, error) {
	key, err := parseKey(publicKey)
	if err != nil {
		return nil, err
	}
	policy, err := x509.ParseOID(BridgePolicy)
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	names := make([]*url.URL, 2)
	for n, text := range []string{h.Client.String(), h.User.String()} {
		if names[n], err = url.Parse(text); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForm, err)
		}
	}
	now := i.Now()
	return i.Authority.Sign(&x509.Certificate{
		SerialNumber: serial(), Subject: h.subject(), URIs: names, Policies: []x509.OID{policy},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(Life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// subject is what people are shown of a certificate.
func (h *Holder) subject() pkix.Name {
	name := pkix.Name{Organization: []string{h.User.Domain()}, OrganizationalUnit: []string{"gateway"}}
	if h.Network != "" {
		name.OrganizationalUnit = []string{"bridged: " + h.Network}
	}
	if r := []rune(strings.ToValidUTF8(h.Name, "")); len(r) > 0 {
		name.CommonName = string(r[:min(len(r), maxName)])
	}
	return name
}

// Disclosure is what a leaf says of itself beside its certificate, for clients that look there: deterministic CBOR of 1 the network, 2 the address
// of who runs the bridge, 3 that it reads what is said (design §8).
func (h *Holder) Disclosure(operator uri.User) []byte {
	text := func(s string) []byte {
		head := []byte{0x78, byte(len(s))}
		if len(s) < 24 {
			head = []byte{0x60 | byte(len(s))}
		} else if len(s) > 255 {
			head = binary.BigEndian.AppendUint16([]byte{0x79}, uint16(len(s)))
		}
		return append(head, s...)
	}
	return slices.Concat([]byte{0xa3, 1}, text(h.Network), []byte{2}, text(operator.String()), []byte{3, 0xf5})
}

// parseKey reads a signature key in the form that MLS gives it.
func parseKey(public []byte) (crypto.PublicKey, error) {
	switch len(public) {
	case ed25519.PublicKeySize:
		return ed25519.PublicKey(public), nil
	case 65:
		return parseECDSA(elliptic.P256(), public)
	case 97:
		return parseECDSA(elliptic.P384(), public)
	case 133:
		return parseECDSA(elliptic.P521(), public)
	}
	return nil, ErrKey
}

func parseECDSA(curve elliptic.Curve, public []byte) (crypto.PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(curve, public)
	if err != nil {
		return nil, ErrKey
	}
	return key, nil
}

// same reports whether two public keys are the same.
func same(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Roots finds the authorities that may vouch for users of a domain. Nil stands for: we have no way to know. Then a certificate that is in form
// is taken on the word of whoever brought it, the hub of a room or the provider itself; without that nobody could be in a room with people
// of a provider that is not their peer.
type Roots func(domain string) *x509.CertPool

// maxKnown bounds how many certificates a Verifier remembers; each takes some hundred octets.
const maxKnown = 1 << 16

// Verifier checks certificates of clients, ours and others'. It may be used from several goroutines.
type Verifier struct {
	Roots Roots
	Now   func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]verified // certificates with their keys: groups are checked as a whole, again and again
}

// verified is what a certificate was found good by.
type verified struct {
	domain string
	roots  *x509.CertPool
}

// Verify checks that a chain (DER, the client's first) is for a signature key (in the form of MLS, RFC 9420 §5.3), a user and, where it names one, a
// client of the user's domain, and that an authority of that domain vouches for it. A certificate that has run out is taken for a leaf that
// holds it: until the leaf is renewed the group could not be joined otherwise; see [Verifier.Fresh]. The error wraps ErrForm or ErrUntrusted.
func (v *Verifier) Verify(chain [][]byte, publicKey []byte) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: none", ErrForm)
	}
	hash := sha256.New()
	for _, c := range append([][]byte{publicKey}, chain...) {
		hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(c))))
		hash.Write(c)
	}
	id := [sha256.Size]byte(hash.Sum(nil))
	if v.knows(id) {
		return nil
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("%w: malformed", ErrForm)
	}
	if key, err := parseKey(publicKey); err != nil || !same(leaf.PublicKey, key) {
		return fmt.Errorf("%w: for another key", ErrForm)
	}
	domain, err := named(leaf)
	if err != nil {
		return err
	}
	roots := v.Roots(domain)
	if roots == nil {
		return nil
	}
	between := x509.NewCertPool()
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: malformed", ErrForm)
		}
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: within(v.Now(), leaf.NotBefore, leaf.NotAfter),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	v.learn(id, verified{domain, roots})
	return nil
}

// within is the time to judge a certificate at: now, or while it was good.
func within(now, from, to time.Time) time.Time {
	switch {
	case now.Before(from):
		return from
	case now.After(to):
		return to
	}
	return now
}

// Fresh reports whether a certificate (DER) is good now, as that of a key package must be which somebody is about to be added by.
func (v *Verifier) Fresh(certificate []byte) error {
	c, err := x509.ParseCertificate(certificate)
	if err != nil {
		return fmt.Errorf("%w: malformed", ErrForm)
	}
	if now := v.Now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("%w: out of date", ErrUntrusted)
	}
	return nil
}

// named returns the domain of the user that a certificate is for: exactly one user, at most one client, of one domain (mimi-identity-05).
func named(c *x509.Certificate) (string, error) {
	if c.IsCA {
		return "", fmt.Errorf("%w: an authority's", ErrForm)
	}
	var user uri.User
	clients := 0
	domain := ""
	for _, u := range c.URIs {
		of := ""
		if n, err := uri.ParseUser(u.String()); err == nil {
			if !user.IsZero() {
				return "", fmt.Errorf("%w: two users", ErrForm)
			}
			user, of = n, n.Domain()
		} else if n, err := uri.ParseClient(u.String()); err == nil {
			clients++
			of = n.Domain()
		} else {
			continue
		}
		if domain != "" && of != domain {
			return "", fmt.Errorf("%w: two domains", ErrForm)
		}
		domain = of
	}
	if user.IsZero() || clients > 1 {
		return "", fmt.Errorf("%w: not one user and one client", ErrForm)
	}
	return domain, nil
}

// knows reports whether a certificate was found good by the authorities that are still the user's provider's.
func (v *Verifier) knows(id [sha256.Size]byte) bool {
	v.mu.Lock()
	by, ok := v.known[id]
	v.mu.Unlock()
	return ok && v.Roots(by.domain) == by.roots
}

func (v *Verifier) learn(id [sha256.Size]byte, by verified) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) >= maxKnown {
		v.known = make(map[[sha256.Size]byte]verified)
	}
	v.known[id] = by
}
