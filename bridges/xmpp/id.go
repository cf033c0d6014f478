package xmpp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"mellium.im/xmpp/jid"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// Conversations. A room is its bare JID. A chat of two is both bare JIDs in order with a space between, so that two accounts that
// talk to each other name it the same way; a JID has no space.

// gatewayLocal is the local part of the gateway itself on a component, and of mimi://…/u/gateway.
const gatewayLocal = "gateway"

// resource of our names on a component.
const resource = "mimigate"

// bare returns a JID without its resource.
func bare(j string) string {
	b, _, _ := strings.Cut(j, "/")
	return b
}

// nickOf returns a JID's resource: in a room, the nick.
func nickOf(j string) string {
	_, r, _ := strings.Cut(j, "/")
	return r
}

// domainOf returns a JID's domain.
func domainOf(j string) string {
	b := bare(j)
	return b[strings.LastIndexByte(b, '@')+1:]
}

// direct names the chat of two.
func direct(a, b string) adapter.Conversation {
	if b < a {
		a, b = b, a
	}
	return adapter.Conversation(a + " " + b)
}

// chatOf returns our side and theirs of a chat of two; false for a room or somebody else's chat.
func (a *Adapter) chatOf(c adapter.Conversation) (ours, theirs string, ok bool) {
	one, two, ok := strings.Cut(string(c), " ")
	switch {
	case !ok:
		return "", "", false
	case a.isOurs(one):
		return one, two, true
	case a.isOurs(two):
		return two, one, true
	}
	return "", "", false
}

// isOurs reports whether a JID is that of the account or of one of our names.
func (a *Adapter) isOurs(j string) bool {
	if a.component {
		return domainOf(j) == a.domain
	}
	return bare(j) == a.self
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
		return jid.Escape.String(name)
	}
	return jid.Escape.String(encodeLocal(strings.TrimPrefix(u.String(), "mimi://"), ""))
}

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
	name := jid.Unescape.String(local)
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

// Messages. In a room that stamps them, a message's id is its stanza-id (XEP-0359) there; elsewhere it is the id that its sender
// gave it.
const (
	stampedID = "s:"
	senderID  = "i:"
)

// maxForeignID is the longest id that we take as it is; a longer one becomes its hash and cannot be referred to natively.
const maxForeignID = 512

func stamped(id string) adapter.NativeID { return adapter.NativeID(stampedID + short(id)) }

func given(id string) adapter.NativeID { return adapter.NativeID(senderID + short(id)) }

func short(id string) string {
	if len(id) <= maxForeignID && utf8.ValidString(id) {
		return id
	}
	h := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(h[:])
}

// stampOf returns the stanza-id in a message's id; false if it has none.
func stampOf(id adapter.NativeID) (string, bool) { return strings.CutPrefix(string(id), stampedID) }

// givenOf returns the sender's own id in a message's id; false if it is a stanza-id.
func givenOf(id adapter.NativeID) (string, bool) { return strings.CutPrefix(string(id), senderID) }

// Our own messages bear an id made from the marker's key, the part and piece, who speaks, and a code that only we can make: so an
// echo is known as one from the archive, even after we were killed and know nothing of it. "…-g-…" was spoken by the gateway's name.

// ownID returns the id of a piece of a delivery.
func (a *Adapter) ownID(c adapter.Conversation, key string, part, piece int, viaGateway bool) string {
	id := fmt.Sprintf("%s-%d-%d", key, part, piece)
	if viaGateway {
		id += "-g"
	}
	return id + "-" + a.code(c, id)
}

// isOwnID reports whether we made the id for this conversation, and whether the gateway's name spoke.
func (a *Adapter) isOwnID(c adapter.Conversation, id string) (own, viaGateway bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 || !hmac.Equal([]byte(id[i+1:]), []byte(a.code(c, id[:i]))) {
		return false, false
	}
	return true, strings.HasSuffix(id[:i], "-g")
}

func (a *Adapter) code(c adapter.Conversation, id string) string {
	mac := hmac.New(sha256.New, []byte(a.cfg.Password.Reveal()))
	mac.Write([]byte("mimigate message id\x00" + a.addr.String() + "\x00" + string(c) + "\x00" + id))
	return hex.EncodeToString(mac.Sum(nil)[:10])
}

// Persons: a bare JID where the room shows it, else "<room> o:<occupant-id>" (XEP-0421), else "<room> n:<since when> <nick>".

func occupantPerson(room, id string) adapter.PersonID {
	return adapter.PersonID(room + " o:" + short(id))
}

func nickPerson(room, since, nick string) adapter.PersonID {
	return adapter.PersonID(room + " n:" + since + " " + short(nick))
}

// realJID returns the bare JID that a person's id is, if it is one.
func realJID(id adapter.PersonID) (string, bool) {
	return string(id), !strings.Contains(string(id), " ") && strings.Contains(string(id), "@")
}

// Nicks.

// maxNick is the longest nick that we take, in characters.
const maxNick = 64

// cleanNick makes a name fit for a nick: no controls, bidirectional overrides or joiners, which resourceprep refuses or drops
// (RFC 3920 B), and not too long. It may come out empty.
func cleanNick(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.Is(unicode.C, r), r == utf8.RuneError, unicode.Is(unicode.Variation_Selector, r):
			return -1
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > maxNick {
		name = string(runes[:maxNick])
	}
	return strings.Join(strings.Fields(name), " ")
}

// plainNick is a nick for servers that know characters of Unicode 3.2 only (RFC 3454): letters, digits and punctuation of old.
func plainNick(name string) string {
	return cleanNick(strings.Map(func(r rune) rune {
		if r < 0x2000 && (unicode.IsPrint(r) || r == ' ') {
			return r
		}
		if r < 0xFFFF && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return -1
	}, name))
}

// nicks are the names to try for somebody, in order: their own; where that is taken, with where they come from.
func nicks(name, domain string) []string {
	name = cleanNick(name)
	if name == "" {
		name = "?"
	}
	out := []string{name, fmt.Sprintf("%s (%s)", name, domain), fmt.Sprintf("%s (%s, 2)", name, domain)}
	if plain := plainNick(name); plain != name && plain != "" {
		out = append(out, plain, fmt.Sprintf("%s (%s)", plain, domain))
	}
	return out
}
