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
