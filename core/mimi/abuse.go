package mimi

import "mimigate/core/mls"

// AbuseReport tells a room's hub of what somebody is said to have done in it (mimi-protocol-06 §5.9).
type AbuseReport struct {
	Reporter   string // reportingUser; may be empty
	Accused    string // allegedAbuserUri
	Reason     uint8  // AbuseType: 0 is the only one that the draft has (reading A31)
	Note       string // for people; may be empty
	Messages   []AbusiveMessage
	Extensions mls.AppDataDictionary
}

// AbusiveMessage is a message, as its receiver opened it, with what proves that the hub took it from its sender.
type AbusiveMessage struct {
	Content  []byte // the application data, or the bare mimi-content in it (reading A32)
	Frank    Frank
	Accepted uint64 // milliseconds since 1970
}

// MarshalMLS implements mls.Marshaler.
func (r *AbuseReport) MarshalMLS(e *mls.Encoder) {
	e.Opaque([]byte(r.Reporter))
	e.Opaque([]byte(r.Accused))
	e.Uint8(r.Reason)
	e.Opaque([]byte(r.Note))
	e.Vector(func(e *mls.Encoder) {
		for i := range r.Messages {
			m := &r.Messages[i]
			e.Opaque(m.Content)
			m.Frank.MarshalMLS(e)
			e.Uint64(m.Accepted)
		}
	})
	r.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *AbuseReport) UnmarshalMLS(d *mls.Decoder) {
	*r = AbuseReport{Reporter: string(d.Opaque()), Accused: string(d.Opaque()), Reason: d.Uint8(), Note: string(d.Opaque())}
	d.Vector(func(d *mls.Decoder) {
		m := AbusiveMessage{Content: d.Opaque()}
		m.Frank.UnmarshalMLS(d)
		m.Accepted = d.Uint64()
		r.Messages = append(r.Messages, m)
	})
	r.Extensions.UnmarshalMLS(d)
}

// Tags returns the franking tags that the message may have had, under the salt in its content: of the bytes as they are, and where
// they may be a bare message of a media type, in either framing of it (reading A32).
func (m *AbusiveMessage) Tags(salt []byte, mediaType string) [][TagSize]byte {
	tags := [][TagSize]byte{FrankingTag(salt, m.Content)}
	for _, name := range []string{mediaType, ""} {
		framed := mls.ApplicationFraming{MediaType: mls.MediaType{Type: name}, Content: m.Content}
		tags = append(tags, FrankingTag(salt, mls.Marshal(&framed)))
	}
	return tags
}
