// Package talk turns what people say into stanzas and back: the ids of messages and persons, the text, and what refers to what. It
// sends and remembers nothing.
package talk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// Self is an account's own addresses.
type Self struct {
	Component bool
	Domain    string // of the component, or of the client's server
	JID       string // bare, of the gateway itself
	Provider  uri.Provider
	Secret    string // the key of our own messages' ids
}

// Conversations. A room is its bare JID. A chat of two is both bare JIDs in order with a space between, so that two accounts that
// talk to each other name it the same way; a JID has no space.

// GatewayLocal is the local part of the gateway itself on a component, and of mimi://…/u/gateway.
const GatewayLocal = "gateway"

// Resource of our names on a component.
const Resource = "mimigate"

// ChatOf returns our side and theirs of a chat of two; false for a room or somebody else's chat.
func (a *Self) ChatOf(c adapter.Conversation) (ours, theirs string, ok bool) {
	one, two, ok := strings.Cut(string(c), " ")
	switch {
	case !ok:
		return "", "", false
	case a.IsOurs(one):
		return one, two, true
	case a.IsOurs(two):
		return two, one, true
	}
	return "", "", false
}

// IsOurs reports whether a JID is that of the account or of one of our names.
func (a *Self) IsOurs(j string) bool {
	if a.Component {
		return wire.Domain(j) == a.Domain
	}
	return wire.Bare(j) == a.JID
}

// Direct names the chat of two.
func Direct(a, b string) adapter.Conversation {
	if b < a {
		a, b = b, a
	}
	return adapter.Conversation(a + " " + b)
}

// AddressOf returns the full JID that we show somebody by.
func (a *Self) AddressOf(u uri.User) string {
	if u.IsZero() {
		return a.JID + "/" + Resource
	}
	return localOf(u, a.Provider) + "@" + a.Domain + "/" + Resource
}

// PersonAt returns whom of our people an address of ours belongs to; zero: the gateway itself.
func (a *Self) PersonAt(j string) (uri.User, error) {
	local, _, found := strings.Cut(j, "@")
	if !a.Component || !found || local == GatewayLocal {
		return uri.User{}, nil
	}
	return userOf(local, a.Provider)
}

// PersonOf is somebody whose address we know.
func PersonOf(j string) adapter.Person {
	name, _, _ := strings.Cut(j, "@")
	return adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(j)}, Name: name, Verified: true}
}

// The local part of one of our people is the name in their MIMI URI, for those of other providers with their domain:
//
//	mimi://chat.example.org/u/anna (ours)  anna@bridge.example.org
//	mimi://other.example/u/ben             ben\40other.example@bridge.example.org (XEP-0106)
//	anything else                          the URI without its scheme, likewise
//
// Local parts are all lower case, so what is not is percent-encoded; % itself too.

// localOf returns the local part for one of our people.
func localOf(u uri.User, us uri.Provider) string {
	if s := u.Segments(); len(s) == 1 && !u.Pseudonym() {
		name := encodeLocal(s[0], "/")
		if u.Provider() != us {
			name += "@" + u.Domain()
		}
		return escapes.Replace(name)
	}
	return escapes.Replace(encodeLocal(strings.TrimPrefix(u.String(), "mimi://"), ""))
}

// escapes and unescapes are XEP-0106 §4. (The library's own unescaping runs out of its bounds.)
var (
	escapes   = strings.NewReplacer(" ", `\20`, `"`, `\22`, "&", `\26`, "'", `\27`, "/", `\2f`, ":", `\3a`, "<", `\3c`, ">", `\3e`, "@", `\40`, `\`, `\5c`)
	unescapes = strings.NewReplacer(`\20`, " ", `\22`, `"`, `\26`, "&", `\27`, "'", `\2f`, "/", `\2F`, "/", `\3a`, ":", `\3A`, ":", `\3c`, "<", `\3C`, "<",
		`\3e`, ">", `\3E`, ">", `\40`, "@", `\5c`, `\`, `\5C`, `\`)
)

// encodeLocal percent-encodes what a local part does not keep apart, and the characters of also.
func encodeLocal(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7F || 'A' <= c && c <= 'Z' || strings.IndexByte(`%@\\`+also, c) >= 0 {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// userOf returns whom of our people a local part names.
func userOf(local string, us uri.Provider) (uri.User, error) {
	name := unescapes.Replace(local)
	if strings.Contains(name, "/") {
		return uri.ParseUser("mimi://" + decodeLocal(name))
	}
	name, domain, foreign := strings.Cut(name, "@")
	if foreign {
		p, err := uri.NewProvider(domain)
		if err != nil {
			return uri.User{}, err
		}
		us = p
	}
	return us.User(decodeLocal(name))
}

func decodeLocal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Our own messages bear an id made from the marker's key, the part and piece, who speaks, and a code that only we can make: so an
// echo is known as one from the archive, even after we were killed and know nothing of it. "…-g-…" was spoken by the gateway's name.

// OwnID returns the id of a piece of a delivery.
func (a *Self) OwnID(c adapter.Conversation, key string, part, piece int, viaGateway bool) string {
	id := fmt.Sprintf("%s-%d-%d", key, part, piece)
	if viaGateway {
		id += "-g"
	}
	return id + "-" + a.code(c, id)
}

// IsOwnID reports whether we made the id for this conversation, and whether the gateway's name spoke.
func (a *Self) IsOwnID(c adapter.Conversation, id string) (own, viaGateway bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 || !hmac.Equal([]byte(id[i+1:]), []byte(a.code(c, id[:i]))) {
		return false, false
	}
	return true, strings.HasSuffix(id[:i], "-g")
}

func (a *Self) code(c adapter.Conversation, id string) string {
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte("mimigate message id\x00" + a.JID + "\x00" + string(c) + "\x00" + id))
	return hex.EncodeToString(mac.Sum(nil)[:10])
}
