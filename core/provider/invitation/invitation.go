// Package invitation is the short text that two administrators exchange to connect their providers: it says who a provider is, where
// it is reached and what its certificates descend from. There is nothing secret in it, but whoever can change it on its way can
// speak for the provider: its fingerprint is for comparing.
package invitation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"mimigate/core/uri"
)

// Invitation is what the text says.
type Invitation struct {
	Domain uri.Provider
	URL    string // https://host or https://host:port, without a path
	// CA is the certificate that those of the provider descend from; nil: one of those that operating systems trust.
	CA *x509.Certificate
}

// The text is
//
//	mimigate-peer-1: base64 of ( domain | URL | certificate in DER or nothing, each after its length (uvarint) | 4 octets of the SHA-256 of all that )
//
// with line breaks and blanks wherever somebody put them. No character of it is one that a chat turns into formatting.
const (
	prefix  = "mimigate-peer-"
	version = 1
	sumSize = 4
	lineLen = 76
	textMax = 64 << 10
)

// Errors of Parse. Their texts are for the administrator who has pasted the text.
var (
	// ErrNoInvitation: the text is something else.
	ErrNoInvitation = errors.New(`this is no invitation: it begins with "mimigate-peer-1:"; was its beginning cut off?`)
	// ErrVersion: a newer mimigate has made it.
	ErrVersion = errors.New("this invitation was made by a newer mimigate: update this one first")
	// ErrMangled: something is missing or was changed.
	ErrMangled = errors.New("a part of the invitation is missing or was changed on its way: copy the whole text again")
	// ErrContent: it is whole, but what it says cannot be used.
	ErrContent = errors.New("the invitation cannot be used")
)

// String returns the text, on several lines.
func (i Invitation) String() string {
	var ca []byte
	if i.CA != nil {
		ca = i.CA.Raw
	}
	var b []byte
	for _, field := range [][]byte{[]byte(i.Domain.Domain()), []byte(i.URL), ca} {
		b = append(binary.AppendUvarint(b, uint64(len(field))), field...)
	}
	sum := sha256.Sum256(b)
	text := prefix + strconv.Itoa(version) + ":" + base64.RawStdEncoding.EncodeToString(append(b, sum[:sumSize]...))
	var lines strings.Builder
	for len(text) > lineLen {
		lines.WriteString(text[:lineLen] + "\n")
		text = text[lineLen:]
	}
	return lines.String() + text
}

// Fingerprint is what two administrators may compare by another way: the SHA-256 of the authority's certificate, in groups of four.
func (i Invitation) Fingerprint() string {
	if i.CA == nil {
		return "an authority that operating systems trust"
	}
	sum := sha256.Sum256(i.CA.Raw)
	text := hex.EncodeToString(sum[:])
	var groups []string
	for ; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, " ")
}

// Parse reads the text, however it was wrapped or quoted on its way. It fails with one of the errors above.
func Parse(text string) (Invitation, error) {
	if len(text) > textMax {
		return Invitation{}, ErrMangled
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune("\"'`<>*“”„‘’", r) {
			return -1
		}
		return r
	}, text)
	rest, ok := strings.CutPrefix(text, prefix)
	number, rest, ok2 := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(number, 10, 16)
	switch {
	case !ok || !ok2 || err != nil:
		return Invitation{}, ErrNoInvitation
	case n > version:
		return Invitation{}, ErrVersion
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "=."))
	if err != nil || len(b) < sumSize {
		return Invitation{}, ErrMangled
	}
	b, given := b[:len(b)-sumSize], b[len(b)-sumSize:]
	if sum := sha256.Sum256(b); n != version || !bytes.Equal(sum[:sumSize], given) {
		return Invitation{}, ErrMangled
	}
	var fields [3][]byte
	for i := range fields {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return Invitation{}, ErrMangled
		}
		fields[i], b = b[used:used+int(n)], b[used+int(n):]
	}
	if len(b) > 0 {
		return Invitation{}, ErrMangled
	}
	return check(string(fields[0]), string(fields[1]), fields[2])
}

func check(domain, where string, ca []byte) (i Invitation, err error) {
	if i.Domain, err = uri.NewProvider(domain); err != nil {
		return Invitation{}, fmt.Errorf("%w: its domain: %w", ErrContent, err)
	}
	if i.URL, err = CheckURL(where); err != nil {
		return Invitation{}, fmt.Errorf("%w: %w", ErrContent, err)
	}
	if len(ca) == 0 {
		return i, nil
	}
	if i.CA, err = x509.ParseCertificate(ca); err != nil || !i.CA.IsCA {
		return Invitation{}, fmt.Errorf("%w: its certificate is no authority's", ErrContent)
	}
	return i, nil
}

// CheckURL returns a provider's URL as it is used: https, a host, perhaps a port, and nothing else.
func CheckURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("want a URL such as https://mimi.example.org:8443")
	}
	return "https://" + u.Host, nil
}
