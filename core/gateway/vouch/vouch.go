// Package vouch joins what issues and checks certificates of clients with those that need them: the members, whose leaves carry them, and the MLS
// engine, which asks of every leaf whether its credential is to be believed.
package vouch

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"mimigate/core/identity"
	"mimigate/core/identity/credential"
	"mimigate/core/member/keys"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

// Options are what a Voucher needs. Both functions are asked anew each time, and not before the first client is to be vouched for.
type Options struct {
	Provider  uri.Provider
	Persons   *identity.Persons
	Authority func() *trust.Authority // ours
	// Peer returns which authorities vouch for the users of another provider, nil where that is not known, and whether they may do without.
	Peer func(of uri.Provider) (roots *x509.CertPool, basic bool)
	Now  func() time.Time
}

// Voucher vouches for our clients and checks who vouches for others. It may be used from several goroutines.
type Voucher struct {
	Options
	issuer   credential.Issuer
	verifier credential.Verifier
	own      func() *x509.CertPool
}

var _ keys.Credentials = (*Voucher)(nil)

// New returns a voucher.
func New(o Options) *Voucher {
	v := &Voucher{Options: o}
	v.issuer = credential.Issuer{Authority: v, Now: o.Now}
	v.verifier = credential.Verifier{Roots: v.roots, Now: o.Now}
	v.own = sync.OnceValue(func() *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AddCert(o.Authority().Certificate())
		return pool
	})
	return v
}

// Engine makes an MLS engine ask the voucher.
func (v *Voucher) Engine(c *mls.Config) {
	a := &mimi.Authentication{Certificates: v.verifier.Verify, Basic: func(p uri.Provider) bool {
		_, basic := v.Peer(p)
		return basic && p != v.Provider
	}}
	c.VerifyCredential, c.VerifySuccessor, c.VerifyExternalSender = a.VerifyCredential, a.VerifySuccessor, a.VerifyExternalSender
}

// Sign implements credential.Authority.
func (v *Voucher) Sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	return v.Authority().Sign(template, public)
}

func (v *Voucher) roots(domain string) *x509.CertPool {
	p, err := uri.NewProvider(domain)
	switch {
	case err != nil:
		return x509.NewCertPool() // nobody vouches for it
	case p == v.Provider:
		return v.own()
	}
	roots, _ := v.Peer(p)
	return roots
}

// gatewayName is the user by which the gateway itself takes part in rooms.
const gatewayName = "gateway"

// Credential implements keys.Credentials: a certificate that shows the person's name and network, and that this is a bridge (design §8).
func (v *Voucher) Credential(ctx context.Context, user uri.User, client uri.Client, publicKey []byte) (mls.Credential, []byte, error) {
	operator, err := v.Provider.User(gatewayName)
	if err != nil {
		return mls.Credential{}, nil, fmt.Errorf("vouch: %w", err)
	}
	h := credential.Holder{User: user, Client: client}
	if user != operator {
		p, _, err := v.Persons.ByUser(ctx, user)
		if err != nil {
			return mls.Credential{}, nil, fmt.Errorf("vouch: %w", err)
		}
		h.Name, h.Network = p.Name, p.Network
	}
	der, err := v.issuer.Issue(h, publicKey)
	if err != nil {
		return mls.Credential{}, nil, err
	}
	return mls.X509Credential(der), h.Disclosure(operator), nil
}

// Fresh implements keys.Credentials.
func (v *Voucher) Fresh(c *mls.Credential) error {
	if c.Type != mls.CredentialX509 || len(c.Certificates) == 0 {
		return nil
	}
	return v.verifier.Fresh(c.Certificates[0])
}
