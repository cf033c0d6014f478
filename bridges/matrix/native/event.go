// Package native is Matrix as JSON: events, the names of our users, and the content of messages, both ways. It is pure.
package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
)

// Event is an event as the homeserver gave it. It is read field by field: servers and clients put odd things into events, and
// one odd field must neither cost the event nor hold up those that came with it.
type Event struct {
	ID       id.EventID
	Kind     string // event type
	Room     id.RoomID
	Sender   id.UserID
	StateKey *string
	Time     time.Time
	Redacts  id.EventID // top level, room versions before 11
	Content  Fields
	Before   *Member    // unsigned.prev_content of a membership
	Redacted id.EventID // the redaction by which this event has lost its content
}

// Fields is a JSON object read leniently: what is not there or of another type is empty.
type Fields map[string]json.RawMessage

// ErrEvent is returned by Parse.
var ErrEvent = errors.New("matrix: not an event")

// Parse reads an event. It fails only on what is no event at all.
func Parse(raw json.RawMessage) (Event, error) {
	var top Fields
	if json.Unmarshal(raw, &top) != nil || top.Text("type") == "" {
		return Event{}, ErrEvent
	}
	unsigned := top.Object("unsigned")
	ev := Event{
		ID: id.EventID(top.Text("event_id")), Kind: top.Text("type"), Room: id.RoomID(top.Text("room_id")),
		Sender: id.UserID(top.Text("sender")), Redacts: id.EventID(top.Text("redacts")), Content: top.Object("content"),
		Redacted: id.EventID(unsigned.Object("redacted_because").Text("event_id")),
	}
	if key, ok := top["state_key"]; ok {
		var s string
		if json.Unmarshal(key, &s) == nil {
			ev.StateKey = &s
		}
	}
	if ms := top.Number("origin_server_ts"); ms > 0 && ms < 1<<50 {
		ev.Time = time.UnixMilli(int64(ms))
	}
	if ev.Kind == "m.room.member" {
		prev := unsigned.Object("prev_content")
		if prev == nil {
			prev = top.Object("prev_content")
		}
		if prev != nil {
			m := MemberOf(prev)
			ev.Before = &m
		}
	}
	return ev, nil
}

// Text returns a field of the content.
func (ev Event) Text(field string) string { return ev.Content.Text(field) }

// Member returns the content of a membership.
func (ev Event) Member() Member { return MemberOf(ev.Content) }

// Marker returns the marker of an event; none, or what is no marker, is the zero value.
func (ev Event) Marker() adapter.Marker {
	m, err := adapter.ParseMarker(ev.Text(MarkerField))
	if err != nil {
		return adapter.Marker{}
	}
	return m
}

// MemberOf reads a membership, or a profile.
func MemberOf(f Fields) Member {
	return Member{Membership: f.Text("membership"), Name: f.Text("displayname"), Avatar: f.Text("avatar_url"),
		Direct: f.Flag("is_direct"), Reason: f.Text("reason")}
}

// Text returns a string field.
func (f Fields) Text(name string) string {
	var s string
	if json.Unmarshal(f[name], &s) != nil {
		return ""
	}
	return s
}

// Number returns a number field.
func (f Fields) Number(name string) float64 {
	var n float64
	if json.Unmarshal(f[name], &n) != nil {
		return 0
	}
	return n
}

// Flag reports whether a field is true.
func (f Fields) Flag(name string) bool {
	return bytes.Equal(bytes.TrimSpace(f[name]), []byte("true"))
}

// Object returns an object field; nil: there is none.
func (f Fields) Object(name string) Fields {
	var o Fields
	if json.Unmarshal(f[name], &o) != nil {
		return nil
	}
	return o
}

// List returns a list field, each element as it is.
func (f Fields) List(name string) []json.RawMessage {
	var l []json.RawMessage
	if json.Unmarshal(f[name], &l) != nil {
		return nil
	}
	return l
}

// Texts returns the strings of a list field.
func (f Fields) Texts(name string) []string {
	var out []string
	for _, raw := range f.List(name) {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// Member is somebody's place in a room, and their profile there.
type Member struct {
	Membership string // join, invite, leave, ban, knock, or empty: not known
	Name       string // as they wrote it
	Avatar     string // an mxc URI, or what claims to be one
	Direct     bool   // invited to a direct chat
	Reason     string
}

// The memberships (Client-Server API, m.room.member).
const (
	Joined  = "join"
	Invited = "invite"
	Left    = "leave"
	Banned  = "ban"
)

// Fields of our own in the content of events.
const (
	MarkerField = "mimigate.marker" // adapter.Marker
	PartField   = "mimigate.part"   // [part, piece] of adapter.NativePart
)
