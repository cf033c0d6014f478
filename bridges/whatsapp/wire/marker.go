//go:build !nowhatsapp

package wire

import (
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"mimigate/core/adapter"
)

// markerField is where a marker stands: a field of MessageContextInfo that no client knows, and that protobuf lets them skip. It is
// inside the end-to-end encryption, so that WhatsApp's servers do not see it.
const markerField protowire.Number = 77_261

// maxMarker bounds the markers that are read, in octets.
const maxMarker = 1024

// Mark writes a marker into a message.
func Mark(m *waE2E.Message, marker adapter.Marker) {
	if marker.IsZero() {
		return
	}
	if m.MessageContextInfo == nil {
		m.MessageContextInfo = &waE2E.MessageContextInfo{}
	}
	raw := protowire.AppendTag(nil, markerField, protowire.BytesType)
	m.MessageContextInfo.ProtoReflect().SetUnknown(protowire.AppendString(raw, marker.String()))
}

// MarkerOf returns the marker of a message as it was sent (raw: with all its wrappers), or none.
func MarkerOf(raw *waE2E.Message) adapter.Marker {
	for _, m := range []*waE2E.Message{raw, raw.GetDeviceSentMessage().GetMessage()} {
		if m == nil || m.MessageContextInfo == nil {
			continue
		}
		if marker, err := adapter.ParseMarker(unknownText(m.MessageContextInfo)); err == nil {
			return marker
		}
	}
	return adapter.Marker{}
}

// unknownText returns the first value of markerField.
func unknownText(m proto.Message) string {
	raw := m.ProtoReflect().GetUnknown()
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return ""
		}
		raw = raw[n:]
		if number == markerField && kind == protowire.BytesType {
			text, n := protowire.ConsumeString(raw)
			if n < 0 || len(text) > maxMarker {
				return ""
			}
			return text
		}
		if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
			return ""
		}
		raw = raw[n:]
	}
	return ""
}
