package content

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"mimigate/core/content/strictcbor"
)

// extensions returns the extensions map (mimi-content-09 §4.3).
func (m *Message) extensions() (map[any]cbor.RawMessage, error) {
	values := map[any]any{}
	if m.SenderURI != "" {
		values[int64(ExtensionSenderURI)] = m.SenderURI
	}
	if m.RoomURI != "" {
		values[int64(ExtensionRoomURI)] = m.RoomURI
	}
	if t := timestamp(m.SentAt); t != nil {
		values[int64(ExtensionSenderTimestamp)] = t
	}
	if m.External != nil {
		values[int64(ExtensionExternalMessageID)] = m.External.wire()
	}
	if media := m.media(); len(media) > 0 {
		values[ExtensionMedia] = media
	}
	out := make(map[any]cbor.RawMessage, len(values)+len(m.Unknown))
	for key, value := range values {
		raw, err := strictcbor.Marshal(value)
		if err != nil {
			return nil, err
		}
		out[key] = raw
	}
	for _, e := range m.Unknown {
		key := e.Key.wire()
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%w: extension twice", ErrMalformed)
		}
		if err := strictcbor.Check(e.Value); err != nil {
			return nil, fmt.Errorf("%w: extension: %w", ErrEncoding, err)
		}
		out[key] = e.Value
	}
	return out, nil
}

// setExtensions reads the extensions map into m, whose body is already there.
func (m *Message) setExtensions(raw map[any]cbor.RawMessage) error {
	for key, value := range raw {
		known, err := m.setExtension(key, value)
		if err != nil {
			return err
		}
		if !known {
			m.Unknown = append(m.Unknown, Extension{Key: extensionKey(key), Value: bytes.Clone(value)})
		}
	}
	slices.SortFunc(m.Unknown, func(a, b Extension) int { return a.Key.compare(b.Key) })
	return nil
}

// setExtension reports whether the extension has a field, and its value is what the field gives back.
func (m *Message) setExtension(key any, value []byte) (known bool, err error) {
	switch key {
	case uint64(ExtensionSenderURI):
		return true, extensionText(value, &m.SenderURI)
	case uint64(ExtensionRoomURI):
		return true, extensionText(value, &m.RoomURI)
	case uint64(ExtensionSenderTimestamp):
		var w map[int64]uint64
		if strictcbor.Unmarshal(value, &w) != nil {
			return false, nil
		}
		t := moment(w)
		if known = strictcbor.Same(timestamp(t), value); known {
			m.SentAt = t
		}
	case uint64(ExtensionExternalMessageID):
		if id, ok := externalID(value); ok && strictcbor.Same(id.wire(), value) {
			m.External, known = &id, true
		}
	case ExtensionMedia:
		var w map[int]wireMedia
		if strictcbor.Unmarshal(value, &w) != nil || len(w) == 0 || !strictcbor.Same(w, value) {
			return false, nil
		}
		known = m.setMedia(w)
	}
	return known, nil
}

func extensionText(value []byte, to *string) error {
	if err := strictcbor.Unmarshal(value, to); err != nil || *to == "" {
		return fmt.Errorf("%w: sender or room is no text", ErrMalformed)
	}
	return nil
}

func extensionKey(key any) ExtensionKey {
	switch k := key.(type) {
	case uint64:
		return ExtensionKey{Number: int64(k)} // checker lets no more than 2^53−1 pass
	case int64:
		return ExtensionKey{Number: k}
	case string:
		return ExtensionKey{Text: k}
	}
	return ExtensionKey{} // checker lets no other key pass
}

func (k ExtensionKey) wire() any {
	if k.Text != "" {
		return k.Text
	}
	return k.Number
}

// compare orders keys as on the wire: positive numbers, then negative ones away from zero, then texts by length.
func (k ExtensionKey) compare(other ExtensionKey) int {
	rank := func(k ExtensionKey) (class int, size int64) {
		switch {
		case k.Text != "":
			return 2, int64(len(k.Text))
		case k.Number < 0:
			return 1, -k.Number
		}
		return 0, k.Number
	}
	c1, s1 := rank(k)
	c2, s2 := rank(other)
	return cmp.Or(cmp.Compare(c1, c2), cmp.Compare(s1, s2), cmp.Compare(k.Text, other.Text))
}

// timestamp is t as a senderTimestamp (more-extensions-00 §2), with the coarsest fraction that loses nothing. It is nil for
// no time, and for one before 1970, which the format cannot say.
func timestamp(t time.Time) map[int64]uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return nil
	}
	w := map[int64]uint64{1: uint64(t.Unix())}
	switch n := uint64(t.Nanosecond()); {
	case n == 0:
	case n%1e6 == 0:
		w[-3] = n / 1e6
	case n%1e3 == 0:
		w[-6] = n / 1e3
	default:
		w[-9] = n
	}
	return w
}

func moment(w map[int64]uint64) time.Time {
	seconds := w[1]
	if seconds > 1<<40 { // tens of thousands of years: no clock, and time.Unix would overflow
		return time.Time{}
	}
	return time.Unix(int64(seconds), int64(w[-3]%1e3*1e6+w[-6]%1e6*1e3+w[-9]%1e9)).UTC()
}

type wireExternalID struct {
	_     struct{} `cbor:",toarray"`
	ID    []byte
	Scope any
}

const tagURI = 32

// wire is the id as an ExtMessageId: the scope is a number, a text (a domain), or a tagged text (a URI).
func (e *ExternalID) wire() wireExternalID {
	w := wireExternalID{ID: octets(e.ID), Scope: e.Scope}
	switch {
	case e.Scope == "":
		w.Scope = e.PEN
	case strings.Contains(e.Scope, ":"):
		w.Scope = cbor.Tag{Number: tagURI, Content: e.Scope}
	}
	return w
}

func externalID(value []byte) (ExternalID, bool) {
	var w wireExternalID
	if strictcbor.Unmarshal(value, &w) != nil {
		return ExternalID{}, false
	}
	id := ExternalID{ID: w.ID}
	switch scope := w.Scope.(type) {
	case uint64:
		id.PEN = scope
	case string:
		id.Scope = scope
	case cbor.Tag:
		id.Scope, _ = scope.Content.(string)
	}
	return id, id.Scope != "" || id.PEN != 0
}

// wireMedia is a value of the map in ExtensionMedia.
type wireMedia struct {
	Role     MediaRole `cbor:"1,keyasint,omitempty"`
	Width    uint32    `cbor:"2,keyasint,omitempty"`
	Height   uint32    `cbor:"3,keyasint,omitempty"`
	Millis   uint32    `cbor:"4,keyasint,omitempty"`
	ViewOnce bool      `cbor:"5,keyasint,omitempty"`
}

func (m *Message) media() map[int]wireMedia {
	out := map[int]wireMedia{}
	for i, p := range m.Body.Walk() {
		w := wireMedia{p.Media.Role, p.Media.Width, p.Media.Height, uint32(max(p.Media.Duration.Milliseconds(), 0)), p.Media.ViewOnce}
		if w != (wireMedia{}) {
			out[i] = w
		}
	}
	return out
}

// setMedia gives the parts their Media, or changes nothing and reports false where one says nothing or has no part.
func (m *Message) setMedia(media map[int]wireMedia) bool {
	parts := 0
	for range m.Body.Walk() {
		parts++
	}
	for i, w := range media {
		if i < 0 || i >= parts || w == (wireMedia{}) {
			return false
		}
	}
	index := 0
	var set func(p *Part)
	set = func(p *Part) {
		w := media[index]
		p.Media = Media{w.Role, w.Width, w.Height, time.Duration(w.Millis) * time.Millisecond, w.ViewOnce}
		index++
		if multi, ok := p.Body.(Multi); ok {
			for i := range multi.Parts {
				set(&multi.Parts[i])
			}
		}
	}
	set(&m.Body)
	return true
}
