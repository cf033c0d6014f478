package content

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Reasons to refuse a message. All wrap ErrRefused: such a message is logged and discarded (mimi-content-09 §9.1). What must
// be tolerated is no error: an unknown disposition, media type, language or extension, and a reference to a message that
// nobody here knows.
var (
	// ErrRefused: the message is to be discarded.
	ErrRefused = errors.New("message refused")
	// ErrMalformed: it is CBOR, but no mimiContent.
	ErrMalformed = fmt.Errorf("%w: not a mimi-content-09 document", ErrRefused)
	// ErrEncoding: not CBOR, not deterministic (RFC 8949 §4.2.1), or outside the data model of mimi-content-09 §6.
	ErrEncoding = fmt.Errorf("%w: not deterministic CBOR", ErrRefused)
	// ErrBounds: too long, too many or too deeply nested parts, an over-long topic, unknown part semantics, or a message id of
	// an unknown kind.
	ErrBounds = fmt.Errorf("%w: beyond the bounds of mimi-content-09", ErrRefused)
	// ErrTimes: accepted in the future or before its room was created, or expiring more than a year away.
	ErrTimes = fmt.Errorf("%w: impossible time", ErrRefused)
	// ErrSender: its sender or room is not who sent it, or where.
	ErrSender = fmt.Errorf("%w: sender or room do not match", ErrRefused)
)

// ErrSalt is returned by Marshal for a message without a salt.
var ErrSalt = errors.New("message has no salt")

// MaxMessage is the greatest length of an encoded message in octets, our local policy (mimi-content-09 §9.1: "too large").
const MaxMessage = 1 << 20

// The structures of mimi-content-09 §4, as the library sees them.
type (
	wireMessage struct {
		_          struct{} `cbor:",toarray"`
		Salt       []byte
		Replaces   []byte // nil: null
		TopicID    []byte
		Expires    *wireExpiry
		InReplyTo  []byte // nil: null
		Extensions map[any]cbor.RawMessage
		Body       cbor.RawMessage
	}
	wireExpiry struct {
		_        struct{} `cbor:",toarray"`
		Relative bool
		Time     uint32
	}
	wireNull struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
	}
	wireSingle struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
		ContentType string
		Content     []byte
	}
	wireExternal struct {
		_                     struct{} `cbor:",toarray"`
		Disposition           Disposition
		Language              string
		Cardinality           uint8
		ContentType, URL      string
		Expires               uint32
		Size                  uint64
		EncAlg                uint16
		Key, Nonce, AAD       []byte
		HashAlg               uint8
		Hash                  []byte
		Description, Filename string
	}
	wireMulti struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
		Semantics   PartSemantics
		Parts       []cbor.RawMessage
	}
)

// The cardinalities of a NestedPart (mimi-content-09 §4.4).
const (
	nullPart = iota
	singlePart
	externalPart
	multiPart
)

// Marshal encodes m as application/mimi-content. It fails with ErrSalt where the salt is missing, and otherwise with the
// error that Unmarshal would have for the result.
func Marshal(m *Message) ([]byte, error) {
	if m.Salt == (Salt{}) {
		return nil, ErrSalt
	}
	if err := m.checkBounds(); err != nil {
		return nil, err
	}
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d octets", ErrBounds, len(data))
	}
	return data, checkMessage(data)
}

// Unmarshal decodes application/mimi-content. The message encodes to these very octets again, and does not alias them. Errors
// wrap ErrRefused and name no content. What depends on the clock is left to CheckTimes, who sent it to Verify.
func Unmarshal(data []byte) (*Message, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d octets", ErrBounds, len(data))
	}
	if err := checkMessage(data); err != nil {
		return nil, err
	}
	var w wireMessage
	if err := decodeCBOR(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m, err := w.message()
	if err != nil {
		return nil, err
	}
	// The library takes some things for others: an array of numbers for a byte string, a tagged text for a text.
	again, err := m.encode()
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: a field of the wrong type", ErrMalformed)
	}
	return m, nil
}

func (w *wireMessage) message() (*Message, error) {
	m := &Message{TopicID: w.TopicID}
	if copy(m.Salt[:], w.Salt) != len(m.Salt) || len(w.Salt) != len(m.Salt) {
		return nil, fmt.Errorf("%w: salt of %d octets", ErrMalformed, len(w.Salt))
	}
	if len(m.TopicID) == 0 {
		m.TopicID = nil
	}
	if w.Expires != nil {
		m.Expires = &Expiry{Relative: w.Expires.Relative, Seconds: w.Expires.Time}
	}
	var err error
	if m.Replaces, err = reference(w.Replaces); err != nil {
		return nil, err
	}
	if m.InReplyTo, err = reference(w.InReplyTo); err != nil {
		return nil, err
	}
	count := 0
	if m.Body, err = decodePart(w.Body, 1, &count); err != nil {
		return nil, err
	}
	if err = m.setExtensions(w.Extensions); err != nil {
		return nil, err
	}
	return m, m.checkBounds()
}

// reference reads the message id of another message; nil is none.
func reference(b []byte) (MessageID, error) {
	if b == nil {
		return MessageID{}, nil
	}
	if len(b) != len(MessageID{}) {
		return MessageID{}, fmt.Errorf("%w: message id of %d octets", ErrMalformed, len(b))
	}
	if b[0] != hashSHA256 {
		return MessageID{}, fmt.Errorf("%w: message id of an unknown kind", ErrBounds)
	}
	return MessageID(b), nil
}

// decodePart decodes a NestedPart at a level, of which the body is 1, and counts it.
func decodePart(data []byte, level int, count *int) (Part, error) {
	if *count++; *count > MaxParts || level > MaxDepth {
		return Part{}, fmt.Errorf("%w: more than %d parts or %d levels", ErrBounds, MaxParts, MaxDepth)
	}
	var fields []cbor.RawMessage
	var cardinality uint64
	err := decodeCBOR(data, &fields)
	if err == nil && len(fields) >= 3 {
		err = decodeCBOR(fields[2], &cardinality)
	}
	if err != nil || len(fields) < 3 {
		return Part{}, fmt.Errorf("%w: body part", ErrMalformed)
	}
	switch cardinality {
	case nullPart:
		var w wireNull
		err = decodeCBOR(data, &w)
		return Part{Disposition: w.Disposition, Language: w.Language}, malformed(err)
	case singlePart:
		var w wireSingle
		err = decodeCBOR(data, &w)
		return Part{Disposition: w.Disposition, Language: w.Language,
			Body: Single{ContentType: w.ContentType, Content: w.Content}}, malformed(err)
	case externalPart:
		var w wireExternal
		err = decodeCBOR(data, &w)
		return Part{Disposition: w.Disposition, Language: w.Language, Body: w.external()}, malformed(err)
	case multiPart:
		return decodeMulti(data, level, count)
	}
	return Part{}, fmt.Errorf("%w: unknown cardinality", ErrMalformed)
}

func decodeMulti(data []byte, level int, count *int) (Part, error) {
	var w wireMulti
	if err := decodeCBOR(data, &w); err != nil {
		return Part{}, malformed(err)
	}
	m := Multi{Semantics: w.Semantics}
	for _, raw := range w.Parts {
		child, err := decodePart(raw, level+1, count)
		if err != nil {
			return Part{}, err
		}
		m.Parts = append(m.Parts, child)
	}
	return Part{Disposition: w.Disposition, Language: w.Language, Body: m}, nil
}

func malformed(err error) error {
	if err != nil {
		return fmt.Errorf("%w: body part: %w", ErrMalformed, err)
	}
	return nil
}

func (w *wireExternal) external() External {
	return External{
		ContentType: w.ContentType, URL: w.URL, Expires: w.Expires, Size: w.Size,
		EncAlg: w.EncAlg, Key: w.Key, Nonce: w.Nonce, AAD: w.AAD,
		HashAlg: w.HashAlg, Hash: w.Hash, Description: w.Description, Filename: w.Filename,
	}
}

// encode is Marshal without its checks.
func (m *Message) encode() ([]byte, error) {
	w := wireMessage{Salt: m.Salt[:], TopicID: octets(m.TopicID)}
	if !m.Replaces.IsZero() {
		w.Replaces = m.Replaces[:]
	}
	if !m.InReplyTo.IsZero() {
		w.InReplyTo = m.InReplyTo[:]
	}
	if m.Expires != nil {
		w.Expires = &wireExpiry{Relative: m.Expires.Relative, Time: m.Expires.Seconds}
	}
	var err error
	if w.Extensions, err = m.extensions(); err != nil {
		return nil, err
	}
	if w.Body, err = encodePart(m.Body); err != nil {
		return nil, err
	}
	return encodeCBOR(w)
}

func encodePart(p Part) (cbor.RawMessage, error) {
	switch b := p.Body.(type) {
	case nil:
		return encodeCBOR(wireNull{Disposition: p.Disposition, Language: p.Language})
	case Single:
		return encodeCBOR(wireSingle{Disposition: p.Disposition, Language: p.Language, Cardinality: singlePart,
			ContentType: b.ContentType, Content: octets(b.Content)})
	case External:
		return encodeCBOR(wireExternal{Disposition: p.Disposition, Language: p.Language, Cardinality: externalPart,
			ContentType: b.ContentType, URL: b.URL, Expires: b.Expires, Size: b.Size,
			EncAlg: b.EncAlg, Key: octets(b.Key), Nonce: octets(b.Nonce), AAD: octets(b.AAD),
			HashAlg: b.HashAlg, Hash: octets(b.Hash), Description: b.Description, Filename: b.Filename})
	case Multi:
		w := wireMulti{Disposition: p.Disposition, Language: p.Language, Cardinality: multiPart, Semantics: b.Semantics}
		for _, child := range b.Parts {
			raw, err := encodePart(child)
			if err != nil {
				return nil, err
			}
			w.Parts = append(w.Parts, raw)
		}
		return encodeCBOR(w)
	}
	return nil, fmt.Errorf("%w: body part of an unknown kind", ErrMalformed)
}

// octets makes nil an empty byte string, which the library would otherwise write as null.
func octets(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// checkBounds applies the bounds of mimi-content-09 §9.1 that need no clock.
func (m *Message) checkBounds() error {
	if len(m.TopicID) > MaxTopicID {
		return fmt.Errorf("%w: topic of %d octets", ErrBounds, len(m.TopicID))
	}
	for _, id := range []MessageID{m.Replaces, m.InReplyTo} {
		if !id.IsZero() && id[0] != hashSHA256 {
			return fmt.Errorf("%w: message id of an unknown kind", ErrBounds)
		}
	}
	count := 0
	return m.Body.checkBounds(1, &count)
}

func (p Part) checkBounds(level int, count *int) error {
	if *count++; *count > MaxParts || level > MaxDepth {
		return fmt.Errorf("%w: more than %d parts or %d levels", ErrBounds, MaxParts, MaxDepth)
	}
	multi, ok := p.Body.(Multi)
	if !ok {
		return nil
	}
	if multi.Semantics > ProcessAll {
		return fmt.Errorf("%w: unknown part semantics", ErrBounds)
	}
	if len(multi.Parts) < 2 {
		return fmt.Errorf("%w: multipart of fewer than two", ErrMalformed)
	}
	for _, child := range multi.Parts {
		if err := child.checkBounds(level+1, count); err != nil {
			return err
		}
	}
	return nil
}
