package mimi

import (
	"fmt"

	"mimigate/core/mls"
)

// Protocol says which protocol encrypts a room.
type Protocol uint8

// MLS10 is the only protocol there is: MLS 1.0.
const MLS10 Protocol = 1

func encodeProtocol(e *mls.Encoder) { e.Uint8(uint8(MLS10)) }

func decodeProtocol(d *mls.Decoder) {
	if p := Protocol(d.Uint8()); p != MLS10 {
		d.Failf("protocol %d", p)
	}
}

// Message is an MLSMessage with the bytes it came in, which are what is hashed and passed on.
type Message struct {
	*mls.Message
	Raw []byte
}

// ParseMessage reads an MLSMessage. The error wraps [mls.ErrSyntax].
func ParseMessage(raw []byte) (Message, error) {
	m, err := mls.ParseMessage(raw)
	return Message{m, raw}, err
}

// NewMessage encodes an MLSMessage.
func NewMessage(m *mls.Message) Message { return Message{m, mls.Marshal(m)} }

// MarshalMLS implements mls.Marshaler.
func (m Message) MarshalMLS(e *mls.Encoder) { e.Raw(m.Raw) }

// UnmarshalMLS implements mls.Unmarshaler.
func (m *Message) UnmarshalMLS(d *mls.Decoder) {
	rest := d.Remaining()
	m.Message = new(mls.Message)
	m.Message.UnmarshalMLS(d)
	if d.Err() == nil {
		m.Raw = rest[:len(rest)-len(d.Remaining())]
	}
}

// content returns what a message to a group holds, 0 for other messages.
func (m *Message) content() mls.ContentType {
	switch {
	case m.Message == nil:
		return 0
	case m.Public != nil:
		return m.Public.Content.ContentType
	case m.Private != nil:
		return m.Private.ContentType
	}
	return 0
}

func encodeMessages(e *mls.Encoder, list []Message) {
	e.Vector(func(e *mls.Encoder) {
		for _, m := range list {
			m.MarshalMLS(e)
		}
	})
}

func decodeMessages(d *mls.Decoder) (list []Message) {
	d.Vector(func(d *mls.Decoder) {
		var m Message
		m.UnmarshalMLS(d)
		list = append(list, m)
	})
	return list
}

// decodeHandshakes reads a list of handshakes of one kind that are PublicMessages.
func decodeHandshakes(d *mls.Decoder, t mls.ContentType) []Message {
	list := decodeMessages(d)
	for i := range list {
		if d.Err() == nil && (list[i].Public == nil || list[i].content() != t) {
			d.Failf("a list of handshakes holds something else")
		}
	}
	return list
}

// Codec is a request or a response of an endpoint.
type Codec interface {
	mls.Marshaler
	mls.Unmarshaler
}

// Encode returns the body of a request or response.
func Encode(v mls.Marshaler) []byte { return mls.Marshal(v) }

// badRequest marks an error of a decoder.
func badRequest(err error) error { return fmt.Errorf("%w: %w", ErrBadRequest, err) }

// Decode reads a request or response that ends with data. The error wraps ErrBadRequest and [mls.ErrSyntax].
func Decode(data []byte, v mls.Unmarshaler) error {
	if err := mls.Unmarshal(data, v); err != nil {
		return badRequest(err)
	}
	return nil
}
