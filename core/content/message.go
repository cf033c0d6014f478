// Package content is the canonical message: what people say, in the form of mimi-content-09, which every network's messages
// become on the way in and every network's messages are made from on the way out.
//
// A [Message] is plain data. Who it answers, what it edits or deletes, that it is a reaction: all of that is data in it
// (replaces, inReplyTo, null part, disposition), so that one path serves all (mimi-content-09 §4, §5).
//
// Below it are the packages that are part of it: strictcbor (the encoding), markup (formatted text), thing (polls, places,
// contacts), phrase (what the gateway says in its own words), show (what a conversation shows of a message: Degrade) and status (delivered
// and read).
//
// The package is pure. Of ours it imports only core/uri and strictcbor and markup.
package content

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"mimigate/core/uri"
)

// Message is a mimiContent (mimi-content-09 §4).
type Message struct {
	// Salt is 16 random octets that make the message id unguessable and key the franking tag. Adapters leave it zero;
	// whoever encodes the message first sets it, once, so that a repetition has the same id.
	Salt Salt
	// Replaces is the id of the *first* version of the message that this one edits or deletes; zero: none.
	Replaces MessageID
	// TopicID names a thread, opaque, at most MaxTopicID octets; empty: none. An edit repeats that of its original.
	TopicID []byte
	// Expires says when to forget the message; nil: never.
	Expires *Expiry
	// InReplyTo is the id of the exact version that this one answers or reacts to; zero: none.
	InReplyTo MessageID

	// SenderURI (extension 1) and RoomURI (extension 2) are exactly as written by the sender, not normalised: the message id
	// hashes them as they are. Compare by Sender and Room. Adapters leave them empty.
	SenderURI, RoomURI string
	// SentAt (extension 3, senderTimestamp) is the sender's clock, a hint: order and time are the hub's. Zero: absent.
	SentAt time.Time
	// External (extension 4, externalMessageId) is the id that the message has in the network it came from; nil: absent.
	External *ExternalID
	// Unknown holds, byte-exact and in wire order, the extensions that have no field here, and those known ones whose value
	// is not the one encoding that the field would give back: so a message re-encodes to the bytes it was decoded from.
	Unknown []Extension

	// Body is the content. Its zero value is a null part.
	Body Part
}

// Salt is the salt of a message: 16 octets (mimi-content-09 §4.1).
type Salt [16]byte

// MessageID names a message: 01 and 31 octets of a SHA-256 (mimi-content-09 §3.3). The zero value is "no message".
type MessageID [32]byte

// ErrMessageID is wrapped by ParseMessageID.
var ErrMessageID = errors.New("not a MIMI message id")

// ParseMessageID reads the 64 hexadecimal digits that String writes; the first octet must be 01.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	if len(s) != 2*len(id) {
		return MessageID{}, fmt.Errorf("%w: want %d hexadecimal digits", ErrMessageID, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id[0] != 1 {
		return MessageID{}, fmt.Errorf("%w: not hexadecimal, or not starting with 01", ErrMessageID)
	}
	return id, nil
}

// String returns 64 hexadecimal digits, or "" for no message.
func (id MessageID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// IsZero reports whether there is no message id.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// MarshalText implements encoding.TextMarshaler; no message is the empty text.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *MessageID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = MessageID{}
		return nil
	}
	parsed, err := ParseMessageID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// Expiry is when a message is to be forgotten (mimi-content-09 §4.1).
type Expiry struct {
	Relative bool   // true: Seconds after it was read; false: Seconds is UNIX time
	Seconds  uint32 // at most a year away, or receivers discard the message
}

// ExpiresAfter is an expiry d after reading, rounded up to whole seconds, within 0 and a year.
func ExpiresAfter(d time.Duration) *Expiry {
	d = min(max(d, 0), MaxExpiry)
	return &Expiry{Relative: true, Seconds: uint32((d + time.Second - 1) / time.Second)}
}

// ExpiresAt is an expiry at a moment, within what 32 bits of UNIX seconds hold.
func ExpiresAt(t time.Time) *Expiry {
	return &Expiry{Seconds: uint32(min(max(t.Unix(), 0), math.MaxUint32))}
}

// ExternalID is the id of a message in a foreign network (draft-mahy-mimi-content-more-extensions-00 §3).
type ExternalID struct {
	ID    []byte
	Scope string // where ID is unique: a domain, or a URI. Empty: see PEN
	PEN   uint64 // private enterprise number, if Scope is empty
}

// Extension is an entry of the extensions map that has no field in Message.
type Extension struct {
	Key   ExtensionKey
	Value []byte // one well-formed CBOR item, as received
}

// ExtensionKey is an integer, |Number| ≤ 2^53−1, or a text of 1–255 octets. Negative numbers and texts are private use.
type ExtensionKey struct {
	Number int64
	Text   string // if not empty, the key is this text
}

// Extensions that have a field in Message. Numbers 1 and 2: mimi-content-09 §4.3; 3 and 4: more-extensions-00.
const (
	ExtensionSenderURI         = 1
	ExtensionRoomURI           = 2
	ExtensionSenderTimestamp   = 3
	ExtensionExternalMessageID = 4
	// ExtensionMedia is our private text key for the Media of parts: a map from part index (depth first, the body is 0) to
	// what Media says. Receivers that do not know it lose nothing but the hint.
	ExtensionMedia = "mimigate.media"
)

// Bounds of mimi-content-09 §9.1: a receiver discards a message beyond them.
const (
	MaxTopicID = 4096                 // octets
	MaxParts   = 1024                 // parts of all levels, multiparts included
	MaxDepth   = 4                    // levels of parts, the body being the first
	MaxExpiry  = 365 * 24 * time.Hour // from the time the hub accepted it
)

// Sender returns the user of extension 1. It fails where the extension is absent or not a user's URI.
func (m *Message) Sender() (uri.User, error) { return uri.ParseUser(m.SenderURI) }

// Room returns the room of extension 2. It fails where the extension is absent or not a room's URI.
func (m *Message) Room() (uri.Room, error) { return uri.ParseRoom(m.RoomURI) }

// IsDelete reports whether m deletes the message that it replaces. Deleting a reaction is taking it back: see IsUnreact.
func (m *Message) IsDelete() bool {
	return m.Body.IsNull() && !m.Replaces.IsZero() && m.Body.Disposition != Reaction
}

// IsUnreact reports whether m takes back the reaction that it replaces.
func (m *Message) IsUnreact() bool {
	return m.Body.IsNull() && !m.Replaces.IsZero() && m.Body.Disposition == Reaction
}

// IsReaction reports whether m reacts to another message, newly or by changing an earlier reaction (then Replaces is set).
func (m *Message) IsReaction() bool {
	return !m.Body.IsNull() && m.Body.Disposition == Reaction && !m.InReplyTo.IsZero()
}

// IsEdit reports whether m gives a message, that is no reaction, new content.
func (m *Message) IsEdit() bool {
	return !m.Body.IsNull() && m.Body.Disposition != Reaction && !m.Replaces.IsZero()
}

// IsReply reports whether m answers another message; a reaction does not.
func (m *Message) IsReply() bool {
	return !m.Body.IsNull() && m.Body.Disposition != Reaction && !m.InReplyTo.IsZero()
}

// Reactions returns the emoji of a reaction, in order: one for a single part, several for a processAll multipart
// (mimi-content-09 §5.3). Parts that are not text are left out; they need the receiver's own treatment.
func (m *Message) Reactions() []string {
	if m.Body.Disposition != Reaction {
		return nil
	}
	var out []string
	for _, p := range m.Body.Walk() {
		if single, ok := p.Body.(Single); ok && p.IsText() {
			out = append(out, string(single.Content))
		}
	}
	return out
}
