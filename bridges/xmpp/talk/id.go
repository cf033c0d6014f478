package talk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Messages. In a room that stamps them, a message's id is its stanza-id (XEP-0359) there; elsewhere it is the id that its sender
// gave it.
const (
	stampedID = "s:"
	senderID  = "i:"
)

// maxForeignID is the longest id that we take as it is; a longer one becomes its hash and cannot be referred to natively.
const maxForeignID = 512

// Stamped is the id of a message that a room has stamped.
func Stamped(id string) adapter.NativeID { return adapter.NativeID(stampedID + short(id)) }

// Given is the id of any other message.
func Given(id string) adapter.NativeID { return adapter.NativeID(senderID + short(id)) }

func short(id string) string {
	if len(id) <= maxForeignID && utf8.ValidString(id) {
		return id
	}
	h := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(h[:])
}

// StampOf returns the stanza-id in a message's id; false if it has none.
func StampOf(id adapter.NativeID) (string, bool) { return strings.CutPrefix(string(id), stampedID) }

// GivenOf returns the sender's own id in a message's id; false if it is a stanza-id.
func GivenOf(id adapter.NativeID) (string, bool) { return strings.CutPrefix(string(id), senderID) }

// Native returns an id as stanzas refer to it.
func Native(id adapter.NativeID) string {
	if sid, ok := StampOf(id); ok {
		return sid
	}
	own, _ := GivenOf(id)
	return own
}

// OriginOf returns the id that a message's sender gave it.
func OriginOf(n *wire.Node) string {
	if id := n.Child(wire.NSStanzaID, "origin-id").Attr("id"); id != "" {
		return id
	}
	return n.Attr("id")
}

// Made makes an id for a message that has none, of what it is.
func Made(n *wire.Node, t time.Time) adapter.NativeID {
	h := sha256.Sum256([]byte(n.Attr("from") + "\x00" + n.Child("", "body").Chars() + "\x00" + t.Format(time.RFC3339Nano)))
	return Given("made:" + hex.EncodeToString(h[:16]))
}

// Persons: a bare JID where the room shows it, else "<room> o:<occupant-id>" (XEP-0421), else "<room> n:<since when> <nick>".

// OccupantPerson is who has an occupant-id in a room.
func OccupantPerson(room, id string) adapter.PersonID {
	return adapter.PersonID(room + " o:" + short(id))
}

// NickPerson is who has borne a nick in a room since a time.
func NickPerson(room, since, nick string) adapter.PersonID {
	return adapter.PersonID(room + " n:" + since + " " + short(nick))
}

// RealJID returns the bare JID that a person's id is, if it is one.
func RealJID(id adapter.PersonID) (string, bool) {
	return string(id), !strings.Contains(string(id), " ") && strings.Contains(string(id), "@")
}

// AnyJID returns the first of the ids that is a bare JID, or "".
func AnyJID(ids []adapter.PersonID) string {
	for _, id := range ids {
		if j, ok := RealJID(id); ok {
			return j
		}
	}
	return ""
}

// Nicks.

// maxNick is the longest nick that we take, in characters.
const maxNick = 64

// CleanNick makes a name fit for a nick: no controls, bidirectional overrides or joiners, which resourceprep refuses or drops
// (RFC 3920 B), and not too long. It may come out empty.
func CleanNick(name string) string {
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
	return CleanNick(strings.Map(func(r rune) rune {
		if r < 0x2000 && (unicode.IsPrint(r) || r == ' ') {
			return r
		}
		if r < 0xFFFF && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return -1
	}, name))
}

// Nicks are the names to try for somebody, in order: their own; where that is taken, with where they come from.
func Nicks(name, domain string) []string {
	name = CleanNick(name)
	if name == "" {
		name = "?"
	}
	out := []string{name, fmt.Sprintf("%s (%s)", name, domain), fmt.Sprintf("%s (%s, 2)", name, domain)}
	if plain := plainNick(name); plain != name && plain != "" {
		out = append(out, plain, fmt.Sprintf("%s (%s)", plain, domain))
	}
	return out
}
