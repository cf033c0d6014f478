package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
)

// nativeEvent is an event as the homeserver gave it. It is read field by field: servers and clients put odd things into events, and
// one odd field must neither cost the event nor hold up those that came with it.
type nativeEvent struct {
	id       id.EventID
	kind     string
	room     id.RoomID
	sender   id.UserID
	stateKey *string
	time     time.Time
	redacts  id.EventID // top level, room versions before 11
	content  fields
	before   *member    // unsigned.prev_content of a membership
	redacted id.EventID // the redaction by which this event has lost its content
}

// fields is a JSON object read leniently: what is not there or of another type is empty.
type fields map[string]json.RawMessage

var errEvent = errors.New("matrix: not an event")

// parseEvent reads an event. It fails only on what is no event at all.
func parseEvent(raw json.RawMessage) (nativeEvent, error) {
	var top fields
	if json.Unmarshal(raw, &top) != nil || top.text("type") == "" {
		return nativeEvent{}, errEvent
	}
	unsigned := top.object("unsigned")
	ev := nativeEvent{
		id: id.EventID(top.text("event_id")), kind: top.text("type"), room: id.RoomID(top.text("room_id")),
		sender: id.UserID(top.text("sender")), redacts: id.EventID(top.text("redacts")), content: top.object("content"),
		redacted: id.EventID(unsigned.object("redacted_because").text("event_id")),
	}
	if key, ok := top["state_key"]; ok {
		var s string
		if json.Unmarshal(key, &s) == nil {
			ev.stateKey = &s
		}
	}
	if ms := top.number("origin_server_ts"); ms > 0 && ms < 1<<50 {
		ev.time = time.UnixMilli(int64(ms))
	}
	if ev.kind == "m.room.member" {
		prev := unsigned.object("prev_content")
		if prev == nil {
			prev = top.object("prev_content")
		}
		if prev != nil {
			m := memberOf(prev)
			ev.before = &m
		}
	}
	return ev, nil
}

// text returns a field of the content.
func (ev nativeEvent) text(field string) string { return ev.content.text(field) }

func (ev nativeEvent) member() member { return memberOf(ev.content) }

// marker returns the marker of an event; none, or what is no marker, is the zero value.
func (ev nativeEvent) marker() adapter.Marker {
	m, err := adapter.ParseMarker(ev.text(markerField))
	if err != nil {
		return adapter.Marker{}
	}
	return m
}

func memberOf(f fields) member {
	return member{Membership: f.text("membership"), Name: f.text("displayname"), Avatar: f.text("avatar_url"),
		Direct: f.flag("is_direct"), Reason: f.text("reason")}
}

func (f fields) text(name string) string {
	var s string
	if json.Unmarshal(f[name], &s) != nil {
		return ""
	}
	return s
}

func (f fields) number(name string) float64 {
	var n float64
	if json.Unmarshal(f[name], &n) != nil {
		return 0
	}
	return n
}

func (f fields) flag(name string) bool {
	return bytes.Equal(bytes.TrimSpace(f[name]), []byte("true"))
}

// object returns an object field; nil: there is none.
func (f fields) object(name string) fields {
	var o fields
	if json.Unmarshal(f[name], &o) != nil {
		return nil
	}
	return o
}

// list returns a list field, each element as it is.
func (f fields) list(name string) []json.RawMessage {
	var l []json.RawMessage
	if json.Unmarshal(f[name], &l) != nil {
		return nil
	}
	return l
}

// texts returns the strings of a list field.
func (f fields) texts(name string) []string {
	var out []string
	for _, raw := range f.list(name) {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}
