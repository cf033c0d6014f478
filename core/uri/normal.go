package uri

import (
	"fmt"
	"strings"
)

// normalHost lower-cases a DNS name and checks it: labels of 1–63 letters, digits and inner hyphens (A-labels for
// internationalised names), at most 253 octets, no trailing dot. A last label of digits is an IP address, never a provider.
func normalHost(host string) (string, error) {
	if host == "" || len(host) > 253 {
		return "", ErrHost
	}
	host = lowerASCII(host)
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", ErrHost
		}
		for i := range len(label) {
			if c := label[i]; !isLower(c) && !isDigit(c) && c != '-' {
				return "", ErrHost
			}
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", fmt.Errorf("%w: an IP address", ErrHost)
	}
	return host, nil
}

// normalSegment checks one path segment (RFC 3986 §3.3: 1*pchar) and decodes what need not be encoded.
func normalSegment(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' {
			if !isUnreserved(c) && strings.IndexByte("!$&'()*+,;=:@", c) < 0 {
				return "", fmt.Errorf("%w: character not allowed", ErrPath)
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return "", fmt.Errorf("%w: broken percent-encoding", ErrPath)
		}
		octet := hexOctet(s[i+1], s[i+2])
		i += 2
		switch {
		case octet < 0x20 || octet == 0x7f:
			return "", fmt.Errorf("%w: control character", ErrPath)
		case isUnreserved(octet):
			b.WriteByte(octet)
		default:
			fmt.Fprintf(&b, "%%%02X", octet)
		}
	}
	switch b.String() {
	case "", ".", "..":
		return "", fmt.Errorf("%w: empty or dot segment", ErrPath)
	}
	return b.String(), nil
}

// encode percent-encodes everything that is not unreserved, so that a segment keeps its meaning whatever it holds.
func encode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if isUnreserved(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// decode undoes the percent-encoding of a segment that normalSegment has passed.
func decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			b.WriteByte(hexOctet(s[i+1], s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// lowerASCII leaves everything but A–Z alone: strings.ToLower would map the Kelvin sign to k.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// isUnreserved follows RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return isLower(c|0x20) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func hexOctet(hi, lo byte) byte { return hexDigit(hi)<<4 | hexDigit(lo) }

func hexDigit(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}
