// Package uri holds the addresses of MIMI: providers, users, clients, rooms and MLS groups.
//
// A MIMI URI is mimi://<provider domain>/<letter>/<segment>[/<segment>…] (mimi-protocol-06 §4, mimi-identity-05):
//
//	mimi://example.com                  Provider
//	mimi://example.com/u/alice          User
//	mimi://example.com/p/Zm9v           User, a pseudonym
//	mimi://example.com/d/alice/phone    Client
//	mimi://example.com/r/team           Room
//	mimi://example.com/g/team           Group
//
// Every value is held in its normal form: scheme and host in lower case, percent-encoded unreserved characters decoded,
// other percent-encodings in upper case (RFC 3986 §6.2.2). Two values of one type are therefore the same address exactly
// if == says so, and they may be keys of maps. The zero value of each type is "no address".
//
// The package is pure: it does no I/O and imports nothing of ours.
package uri

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLen is the greatest length of a MIMI URI in octets, before and after normalisation. No draft sets one; the message id
// hashes a 16-bit length (mimi-content-09 §3.3), and 1,024 leaves room for everything seen.
const MaxLen = 1024

// Reasons for refusing an address. Errors of this package wrap one of them, and never quote the address: it may name a person.
var (
	// ErrTooLong: more than MaxLen octets.
	ErrTooLong = errors.New("MIMI URI longer than 1024 octets")
	// ErrScheme: not mimi://.
	ErrScheme = errors.New("not a mimi:// URI")
	// ErrHost: the authority is not a plain DNS name (user info, ports and IP addresses are refused).
	ErrHost = errors.New("MIMI URI without a valid provider domain")
	// ErrKind: a valid MIMI URI, but of another kind than was asked for.
	ErrKind = errors.New("MIMI URI of another kind")
	// ErrPath: an empty or dot segment, a query, a fragment, or a character that RFC 3986 does not allow in a path.
	ErrPath = errors.New("MIMI URI with an invalid path")
)

const scheme = "mimi://"

// address is the normal form of a MIMI URI; the exported types embed it, one for each kind.
type address struct{ text string }

// String returns the URI in its normal form, or "" for the zero value.
func (a address) String() string { return a.text }

// IsZero reports whether there is no address.
func (a address) IsZero() bool { return a.text == "" }

// Domain returns the provider's domain in lower case, or "" for the zero value.
func (a address) Domain() string {
	host, _, _ := strings.Cut(strings.TrimPrefix(a.text, scheme), "/")
	return host
}

// Provider returns the provider whose address this is, or lies under.
func (a address) Provider() Provider {
	if a.IsZero() {
		return Provider{}
	}
	return Provider{address{scheme + a.Domain()}}
}

// Segments returns the percent-decoded path segments after the kind's letter; nil for a provider. A decoded segment may hold
// any octet above 0x1f except 0x7f, also a slash.
func (a address) Segments() []string {
	parts := strings.Split(strings.TrimPrefix(a.text, scheme), "/")
	if len(parts) < 3 {
		return nil
	}
	out := parts[2:]
	for i, s := range out {
		out[i] = decode(s)
	}
	return out
}

// MarshalText implements encoding.TextMarshaler; the zero value is the empty text.
func (a address) MarshalText() ([]byte, error) { return []byte(a.text), nil }

// letter returns the kind: 0 for a provider, otherwise the one letter after the host.
func (a address) letter() byte {
	_, path, ok := strings.Cut(strings.TrimPrefix(a.text, scheme), "/")
	if !ok {
		return 0
	}
	return path[0]
}

// parse returns the normal form of s, whatever its kind.
func parse(s string) (address, error) {
	if len(s) > MaxLen {
		return address{}, ErrTooLong
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return address{}, ErrScheme
	}
	host, path, hasPath := strings.Cut(s[len(scheme):], "/")
	host, err := normalHost(host)
	if err != nil {
		return address{}, err
	}
	if !hasPath || path == "" { // RFC 3986 §6.2.3: an empty path and "/" are the same
		return address{scheme + host}, nil
	}
	segments := strings.Split(path, "/")
	if len(segments) < 2 {
		return address{}, fmt.Errorf("%w: nothing after the kind", ErrPath)
	}
	for i, segment := range segments {
		if segments[i], err = normalSegment(segment); err != nil {
			return address{}, err
		}
	}
	if len(segments[0]) != 1 {
		return address{}, fmt.Errorf("%w: unknown kind", ErrKind)
	}
	return address{scheme + host + "/" + strings.Join(segments, "/")}, nil
}

// parseKind is parse for an address whose letter is one of letters.
func parseKind(s, letters string) (address, error) {
	a, err := parse(s)
	if err != nil {
		return address{}, err
	}
	if l := a.letter(); l == 0 || strings.IndexByte(letters, l) < 0 {
		return address{}, fmt.Errorf("%w: want /%s/", ErrKind, strings.Join(strings.Split(letters, ""), "/ or /"))
	}
	return a, nil
}

// build joins a provider, a kind and unencoded segments.
func build(p Provider, letter string, segments []string) (address, error) {
	if p.IsZero() {
		return address{}, ErrHost
	}
	if len(segments) == 0 {
		return address{}, fmt.Errorf("%w: nothing after the kind", ErrPath)
	}
	var b strings.Builder
	b.WriteString(p.text + "/" + letter)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(encode(s))
	}
	return parseKind(b.String(), letter)
}
