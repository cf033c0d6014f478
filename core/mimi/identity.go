package mimi

import (
	"crypto/x509"
	"errors"
	"fmt"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

// ErrIdentity: a credential does not name a MIMI user.
var ErrIdentity = errors.New("mimi: credential names no user")

// Identify returns the user, and where it says so the client, that a credential names: one user URI and at most one client URI of one
// domain, as subject alternative names of an X.509 certificate (mimi-identity-05), or as the identity of a Basic credential, where a
// client of the two-segment form names its user. Whether the credential is to be believed is not asked here. The error wraps
// ErrIdentity.
func Identify(c *mls.Credential) (uri.User, uri.Client, error) {
	var names []string
	switch c.Type {
	case mls.CredentialBasic:
		names = []string{string(c.Identity)}
	case mls.CredentialX509:
		if len(c.Certificates) == 0 {
			return uri.User{}, uri.Client{}, fmt.Errorf("%w: no certificate", ErrIdentity)
		}
		cert, err := x509.ParseCertificate(c.Certificates[0])
		if err != nil {
			return uri.User{}, uri.Client{}, fmt.Errorf("%w: certificate", ErrIdentity)
		}
		for _, u := range cert.URIs {
			names = append(names, u.String())
		}
	default:
		return uri.User{}, uri.Client{}, fmt.Errorf("%w: type %d", ErrIdentity, c.Type)
	}
	return fromNames(names)
}

func fromNames(names []string) (user uri.User, client uri.Client, err error) {
	for _, n := range names {
		if u, err := uri.ParseUser(n); err == nil {
			if !user.IsZero() {
				return uri.User{}, uri.Client{}, fmt.Errorf("%w: two users", ErrIdentity)
			}
			user = u
		} else if c, err := uri.ParseClient(n); err == nil {
			if !client.IsZero() {
				return uri.User{}, uri.Client{}, fmt.Errorf("%w: two clients", ErrIdentity)
			}
			client = c
		}
	}
	if user.IsZero() {
		var ok bool
		if user, ok = client.User(); !ok {
			return uri.User{}, uri.Client{}, fmt.Errorf("%w: no user URI", ErrIdentity)
		}
	}
	if !client.IsZero() && client.Domain() != user.Domain() {
		return uri.User{}, uri.Client{}, fmt.Errorf("%w: user and client of different domains", ErrIdentity)
	}
	return user, client, nil
}

// Authentication is the authentication service of MLS (RFC 9420 §5.3.1) for rooms of MIMI: whose credential may stand for which user.
type Authentication struct {
	// Certificates verifies an X.509 chain (DER, the client's first) for a signature key, against what is known of its user's provider.
	Certificates func(chain [][]byte, key []byte) error
	// Basic says whether users of a provider may have Basic credentials, which nobody vouches for but the hub they came by. Nil: of none.
	Basic func(uri.Provider) bool
}

// VerifyCredential is for [mls.Config]: the credential names one user, and that user's provider vouches for it, with this signature key, in the
// way we ask of it. The error wraps ErrIdentity.
func (a *Authentication) VerifyCredential(c *mls.Credential, key []byte) error {
	user, _, err := Identify(c)
	if err != nil {
		return err
	}
	if c.Type == mls.CredentialX509 {
		if err := a.Certificates(c.Certificates, key); err != nil {
			return fmt.Errorf("%w: %w", ErrIdentity, err)
		}
		return nil
	}
	if a.Basic == nil || !a.Basic(user.Provider()) {
		return fmt.Errorf("%w that is vouched for: a Basic credential of %s", ErrIdentity, user.Domain())
	}
	return nil
}

// VerifySuccessor is for [mls.Config]: a certificate is renewed for the same user and client. The error wraps ErrIdentity.
func (a *Authentication) VerifySuccessor(old, next *mls.Credential) error {
	user, client, err := Identify(old)
	if err != nil {
		return err
	}
	user2, client2, err := Identify(next)
	if err != nil {
		return err
	}
	if user != user2 || client != client2 {
		return fmt.Errorf("%w that it named before", ErrIdentity)
	}
	return nil
}

// VerifyExternalSender is for [mls.Config]: who may propose from outside names a provider, by its Basic credential (reading: design §8). That
// the hub is among them its rooms' followers see by the key of its answers.
func (a *Authentication) VerifyExternalSender(c *mls.Credential, _ []byte) error {
	if c.Type != mls.CredentialBasic {
		return fmt.Errorf("%w: an external sender of credential type %d", ErrIdentity, c.Type)
	}
	if _, err := uri.ParseProvider(string(c.Identity)); err != nil {
		return fmt.Errorf("%w: an external sender", ErrIdentity)
	}
	return nil
}
