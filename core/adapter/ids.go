package adapter

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// Conversation is the opaque id of a native room or chat. Two accounts of a network name the same conversation the same way, so
// that it is seen to be one; an id of a 1:1 chat therefore names both sides where the network's own does not.
type Conversation string

// NativeID is the opaque id of a native event, such as a message, that is unique and stable within its conversation and the same
// whichever account reports it. Edits, replies and so on refer to events by it.
type NativeID string

// PersonID is the opaque id of a person on the network, unique and stable within the network: a Matrix user id, a bare JID,
// a MUC with its occupant-id.
type PersonID string

// Blob is the handle of a file on the network: whatever the adapter needs to fetch it or to send it on, e.g. an mxc URI, or a URL
// with its keys. Handles are durable, at most 4,096 octets, and mean something to the account that made them only.
//
// In a message, a file on this network is a content.External whose URL is the Blob's URL.
type Blob string

const (
	blobScheme   = "blob:"
	personScheme = "person:"
)

// URL returns the handle as a URL for content.External.
func (b Blob) URL() string { return blobScheme + url.PathEscape(string(b)) }

// ParseBlob returns the handle in a URL made by [Blob.URL], and false for any other URL.
func ParseBlob(s string) (Blob, bool) {
	raw, ok := fromURL(blobScheme, s)
	return Blob(raw), ok
}

// URL returns the person as a target of a link in text: a mention. Adapters write [@Name](person:…) and read it: for people of
// their own network the router turns it to and from the MIMI URI. A mention of anybody else reaches an adapter as a link to
// a mimi: URI; if that is one of our people (see Author.User) whom the adapter shows natively, it may become a native mention.
func (p PersonID) URL() string { return personScheme + url.PathEscape(string(p)) }

// ParsePerson returns the person in a URL made by [PersonID.URL], and false for any other URL.
func ParsePerson(s string) (PersonID, bool) {
	raw, ok := fromURL(personScheme, s)
	return PersonID(raw), ok
}

func fromURL(scheme, s string) (string, bool) {
	escaped, ok := strings.CutPrefix(s, scheme)
	if !ok || escaped == "" {
		return "", false
	}
	raw, err := url.PathUnescape(escaped)
	return raw, err == nil
}

// Marker marks a native event as made by a gateway: it guards against echoes and loops, also between two gateways in one native
// room, and lets Confirmer find what was sent.
type Marker struct {
	Gateway uri.Provider // who made the native event
	// Key names the delivery: the same for every attempt, different for every message and conversation. 1–64 characters of
	// [0-9a-zA-Z]: fit for transaction ids, stanza ids and the like.
	Key string
	// Origin is the MIMI message that the content first was, kept by every gateway that passes it on.
	Origin content.MessageID
}

// IsZero reports whether there is no marker.
func (m Marker) IsZero() bool { return m == Marker{} }

const markerPrefix = "mimigate1"

// ErrMarker is wrapped by ParseMarker.
var ErrMarker = errors.New("not a marker of mimigate")

// String returns the marker as text for the native event: "mimigate1 chat.example.org <key> <origin>", or "" for none.
func (m Marker) String() string {
	if m.IsZero() {
		return ""
	}
	return strings.Join([]string{markerPrefix, m.Gateway.Domain(), m.Key, m.Origin.String()}, " ")
}

// ParseMarker reads what String wrote. A marker is a claim of whoever wrote the event: the router believes one that names our own
// gateway only on an event that is Own.
func ParseMarker(s string) (Marker, error) {
	fields := strings.Split(s, " ")
	if len(fields) != 4 || fields[0] != markerPrefix {
		return Marker{}, ErrMarker
	}
	gateway, err := uri.NewProvider(fields[1])
	if err != nil {
		return Marker{}, fmt.Errorf("%w: %w", ErrMarker, err)
	}
	if !validKey(fields[2]) {
		return Marker{}, fmt.Errorf("%w: key", ErrMarker)
	}
	m := Marker{Gateway: gateway, Key: fields[2]}
	if err := m.Origin.UnmarshalText([]byte(fields[3])); err != nil {
		return Marker{}, fmt.Errorf("%w: %w", ErrMarker, err)
	}
	return m, nil
}

func validKey(key string) bool {
	if key == "" || len(key) > 64 {
		return false
	}
	for _, c := range key {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
