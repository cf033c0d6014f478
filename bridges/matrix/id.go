package matrix

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// names is the space of user ids that are ours: the account's own, and in mode appservice those that begin with prefix on the
// same server, one for each of the room's people from elsewhere.
//
// A MIMI address mimi://domain/u/a/b becomes @<prefix>u_domain_a_b:server, each octet of a segment outside [a-z0-9.-] as =xx,
// so that it can be read back. Addresses too long for a user id (255 octets) become @<prefix>h_<hash>:server, and what they
// stand for is kept in the account's state.
type names struct {
	prefix string // empty in mode bot: nobody but self
	server string
	self   id.UserID
}

const (
	maxUserID = 255 // octets (Matrix appendices, user identifiers)
	hashed    = "h_"
)

var hashText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// of returns the user id of one of our people; of nobody, and where they have none, the account's own.
func (n names) of(user uri.User) id.UserID {
	if user.IsZero() || n.prefix == "" {
		return n.self
	}
	kind := "u"
	if user.Pseudonym() {
		kind = "p"
	}
	local := n.prefix + kind + "_" + user.Domain()
	for _, segment := range user.Segments() {
		local += "_" + escape(segment)
	}
	if len(local)+len(n.server)+2 > maxUserID {
		sum := sha256.Sum256([]byte(user.String()))
		local = n.prefix + hashed + hashText.EncodeToString(sum[:])
	}
	return id.NewUserID(local, n.server)
}

// isHashed reports whether a user id of ours does not tell whom it stands for.
func (n names) isHashed(user id.UserID) bool {
	local, ok := n.local(user)
	return ok && strings.HasPrefix(local, hashed)
}

// user returns whom one of our user ids stands for, if the id tells.
func (n names) user(user id.UserID) (uri.User, bool) {
	local, ok := n.local(user)
	if !ok {
		return uri.User{}, false
	}
	parts := strings.Split(local, "_")
	if len(parts) < 3 || parts[0] != "u" && parts[0] != "p" {
		return uri.User{}, false
	}
	segments := parts[2:]
	for i, s := range segments {
		if segments[i], ok = unescape(s); !ok {
			return uri.User{}, false
		}
	}
	provider, err := uri.NewProvider(parts[1])
	if err != nil {
		return uri.User{}, false
	}
	u, err := provider.User(segments...)
	if err == nil && parts[0] == "p" {
		u, err = uri.ParseUser(strings.Replace(u.String(), "/u/", "/p/", 1))
	}
	return u, err == nil
}

// local returns what follows the prefix in one of our user ids.
func (n names) local(user id.UserID) (string, bool) {
	if n.prefix == "" {
		return "", false
	}
	local, ok := strings.CutPrefix(string(user), "@"+n.prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(local, ":"+n.server)
}

// ours reports whether a user id is the account's own or one of our people's.
func (n names) ours(user id.UserID) bool {
	_, ghost := n.local(user)
	return ghost || user == n.self
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			b.WriteByte(c)
		default:
			b.WriteString("=" + hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		octet, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(octet[0])
		i += 2
	}
	return b.String(), true
}

// roomOf reads what may stand in a binding: a room id, an alias, or a matrix.to link or matrix: URI of one of them.
func roomOf(name string) (room string, via []string, ok bool) {
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "https://matrix.to/") || strings.HasPrefix(name, "matrix:") {
		link, err := id.ParseMatrixURIOrMatrixToURL(name)
		if err != nil {
			return "", nil, false
		}
		if name = link.PrimaryIdentifier(); name == "" {
			return "", nil, false
		}
		via = link.Via
	}
	if len(name) < 2 || name[0] != '!' && (name[0] != '#' || !strings.Contains(name, ":")) || strings.ContainsAny(name, " /?\n") {
		return "", nil, false
	}
	if _, server, found := strings.Cut(name, ":"); found && len(via) == 0 {
		via = []string{server}
	}
	return name, via, true
}

// personLink is the target of a mention of a native person.
func personLink(user id.UserID) string { return adapter.PersonID(user).URL() }
