package native

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"maunium.net/go/mautrix/id"

	"mimigate/core/uri"
)

// Names is the space of user ids that are ours: the account's own, and in mode appservice those that begin with Prefix on the
// same server, one for each of the room's people from elsewhere.
//
// A MIMI address mimi://domain/u/a/b becomes @<prefix>u_domain_a_b:server, each octet of its normal form outside [a-z0-9.-] as =xx,
// so that it can be read back exactly. Addresses too long for a user id (255 octets) become @<prefix>h_<hash>:server, and what they
// stand for is kept in the account's state.
type Names struct {
	Prefix string // empty in mode bot: nobody but Self
	Server string
	Self   id.UserID
}

const (
	maxUserID = 255 // octets (Matrix appendices, user identifiers)
	hashed    = "h_"
	scheme    = "mimi://"
)

// HashText writes hashes in what user ids may have.
var HashText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Of returns the user id of one of our people; of nobody, and where they have none, the account's own.
func (n Names) Of(user uri.User) id.UserID {
	if user.IsZero() || n.Prefix == "" {
		return n.Self
	}
	local := n.Prefix
	for i, part := range strings.Split(strings.TrimPrefix(user.String(), scheme), "/") {
		switch i {
		case 0: // the domain stands behind the kind
		case 1:
			local += part + "_" + user.Domain()
		default:
			local += "_" + escape(part)
		}
	}
	if len(local)+len(n.Server)+2 > maxUserID {
		sum := sha256.Sum256([]byte(user.String()))
		local = n.Prefix + hashed + HashText.EncodeToString(sum[:])
	}
	return id.NewUserID(local, n.Server)
}

// IsHashed reports whether a user id of ours does not tell whom it stands for.
func (n Names) IsHashed(user id.UserID) bool {
	local, ok := n.local(user)
	return ok && strings.HasPrefix(local, hashed)
}

// User returns whom one of our user ids stands for, if the id tells.
func (n Names) User(user id.UserID) (uri.User, bool) {
	local, ok := n.local(user)
	if !ok {
		return uri.User{}, false
	}
	parts := strings.Split(local, "_")
	if len(parts) < 3 || parts[0] != "u" && parts[0] != "p" {
		return uri.User{}, false
	}
	address := scheme + parts[1] + "/" + parts[0]
	for _, part := range parts[2:] {
		text, ok := unescape(part)
		if !ok {
			return uri.User{}, false
		}
		address += "/" + text
	}
	u, err := uri.ParseUser(address)
	return u, err == nil && n.Of(u) == user
}

// local returns what follows the prefix in one of our user ids.
func (n Names) local(user id.UserID) (string, bool) {
	if n.Prefix == "" {
		return "", false
	}
	local, ok := strings.CutPrefix(string(user), "@"+n.Prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(local, ":"+n.Server)
}

// Ours reports whether a user id is the account's own or one of our people's.
func (n Names) Ours(user id.UserID) bool {
	_, ghost := n.local(user)
	return ghost || user == n.Self
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

// RoomName reads what may stand in a binding: a room id, an alias, or a matrix.to link or matrix: URI of one of them.
func RoomName(name string) (room string, via []string, ok bool) {
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
