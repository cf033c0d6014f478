package markup

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// schemes are those that links may have. Whatever a client would run or load by itself is not among them.
var schemes = []string{
	"http", "https", "ftp", "mailto", "tel", "sms", "geo", "xmpp", "sip", "sips", "matrix", "magnet", "mimi", "person",
}

// NewLink returns a link, or where the target is not one to follow (javascript:, a relative reference) the text and the
// target as text: nothing is hidden and nothing is run. Without a text the target is the text.
func NewLink(target string, children ...Node) Node {
	children = unlink(children)
	shown := strings.TrimSpace(Node{Kind: Paragraph, Children: children}.Label())
	clean, ok := cleanURL(target)
	switch {
	case ok && shown == "":
		return Node{Kind: Link, URL: clean, Children: text(clean)}
	case ok:
		return Node{Kind: Link, URL: clean, Children: children}
	case strings.HasPrefix(target, "cid:") || target == "": // another part of the message, shown by itself
		return Node{Kind: Text, Text: shown}
	case shown == "" || shown == target:
		return Node{Kind: Text, Text: target}
	}
	return Node{Kind: Text, Text: shown + " (" + target + ")"}
}

// newImage is NewLink for a picture; where the target is none to follow, only the alternative text stays.
func newImage(target string, alt ...Node) Node {
	if _, ok := cleanURL(target); !ok { // it is no address that anybody could open
		return Node{Kind: Text, Text: Node{Kind: Paragraph, Children: alt}.Label()}
	}
	n := NewLink(target, alt...)
	n.Kind = Image
	return n
}

// unlink takes links out of the text of a link.
func unlink(nodes []Node) []Node {
	var out []Node
	for _, n := range nodes {
		if n.Kind == Link || n.Kind == Image {
			out = append(out, unlink(n.Children)...)
			continue
		}
		if n.Children != nil {
			n.Children = unlink(n.Children)
		}
		out = append(out, n)
	}
	return merge(out)
}

// cleanURL returns an absolute URL of a permitted scheme, with what cannot be in one percent-encoded.
func cleanURL(s string) (string, bool) {
	s = strings.TrimSpace(s)
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || len(s) > maxURL || !slices.Contains(schemes, strings.ToLower(scheme)) {
		return "", false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar || isBidi(r) }) {
		return "", false
	}
	return strings.ToLower(scheme) + ":" + urlEscapes.Replace(rest), true
}

var urlEscapes = strings.NewReplacer(" ", "%20", "<", "%3C", ">", "%3E", "`", "%60", `"`, "%22", `\`, "%5C", "\u00a0", "%C2%A0")

// isBidi reports whether r turns the direction of text, with which a link's text can be made to look like another target.
func isBidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// Warning is what may mislead people about a link (mimi-content-09 §9.5).
type Warning uint8

// The warnings.
const (
	NoWarning  Warning = iota
	OtherHost          // the text reads like an address, but of another host than the target's
	Downgraded         // the text says https, the target is http
)

// Warning compares the text of a link, where that reads like an address, with its target. The text of a mention is a hint
// only, so there is none about it.
func (n Node) Warning() Warning {
	if n.Kind != Link || n.IsMention() {
		return NoWarning
	}
	shown := strings.TrimSpace(n.Label())
	shownHost, secure := hostIn(shown)
	if shownHost == "" {
		return NoWarning
	}
	u, err := url.Parse(n.URL)
	if err != nil || !strings.EqualFold(strings.TrimPrefix(u.Hostname(), "www."), shownHost) {
		return OtherHost
	}
	if secure && u.Scheme == "http" {
		return Downgraded
	}
	return NoWarning
}

// hostIn finds the host in a text that reads like an address, with or without a scheme; "" if it does not.
func hostIn(s string) (host string, secure bool) {
	lower := strings.ToLower(s)
	secure = strings.HasPrefix(lower, "https://")
	named := secure || strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "www.")
	if _, rest, ok := strings.Cut(lower, "://"); ok {
		lower = rest
	}
	host, _, _ = strings.Cut(lower, "/")
	host, _, _ = strings.Cut(host, "?")
	host, _, _ = strings.Cut(host, "#")
	if i := strings.LastIndexByte(host, '@'); i >= 0 && named {
		host = host[i+1:]
	}
	host, _, _ = strings.Cut(host, ":")
	host = strings.TrimPrefix(strings.TrimSuffix(host, "."), "www.")
	if strings.ContainsFunc(host, unicode.IsSpace) || strings.Contains(host, "@") || !named && !looksLikeHost(host) {
		return "", false
	}
	return host, secure
}

// looksLikeHost takes names such as a.example and IP addresses, not words with a dot such as "e.g." or "photo.jpg, see".
func looksLikeHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	i := strings.LastIndexByte(s, '.')
	if i <= 0 || len(s)-i-1 < 2 {
		return false
	}
	for _, r := range s {
		if !isWord(r) && r != '.' && r != '-' {
			return false
		}
	}
	for _, r := range s[i+1:] {
		if !unicode.IsLetter(r) {
			return false
		}
	}
	return true
}
