package content

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"mimigate/core/content/strictcbor"
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

// The structures of mimi-content-09 §4.1, as the library sees them.
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
	return data, checkEncoding(data)
}

// Unmarshal decodes application/mimi-content. The message encodes to these very octets again, and does not alias them. Errors
// wrap ErrRefused and name no content. What depends on the clock is left to CheckTimes, who sent it to Verify.
func Unmarshal(data []byte) (*Message, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("%w: %d octets", ErrBounds, len(data))
	}
	if err := checkEncoding(data); err != nil {
		return nil, err
	}
	var w wireMessage
	if err := strictcbor.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m, err := w.message()
	if err != nil {
		return nil, err
	}
	again, err := m.encode()
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: a field of the wrong type", ErrMalformed)
	}
	return m, nil
}

// checkEncoding checks all that can be without knowing the fields: a mimiContent is an array of seven, the sixth its extensions.
func checkEncoding(data []byte) error {
	if err := strictcbor.CheckTuple(data, 7, 5); err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return nil
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
	if err := strictcbor.Unmarshal(data, &fields); err != nil {
		return Part{}, fmt.Errorf("%w: body part: %w", ErrMalformed, err)
	}
	var p Part
	cardinality := -1
	err := decodeFields(fields[:min(3, len(fields))], &p.Disposition, &p.Language, &cardinality)
	if err != nil {
		return Part{}, err
	}
	switch rest := fields[3:]; cardinality {
	case nullPart:
		return p, decodeFields(rest)
	case singlePart:
		var b Single
		err = decodeFields(rest, &b.ContentType, &b.Content)
		p.Body = b
	case externalPart:
		var b External
		err = decodeFields(rest, &b.ContentType, &b.URL, &b.Expires, &b.Size, &b.EncAlg, &b.Key, &b.Nonce, &b.AAD,
			&b.HashAlg, &b.Hash, &b.Description, &b.Filename)
		p.Body = b
	case multiPart:
		var b Multi
		var parts []cbor.RawMessage
		err = decodeFields(rest, &b.Semantics, &parts)
		for i := 0; err == nil && i < len(parts); i++ {
			var child Part
			child, err = decodePart(parts[i], level+1, count)
			b.Parts = append(b.Parts, child)
		}
		p.Body = b
	default:
		err = fmt.Errorf("%w: unknown cardinality", ErrMalformed)
	}
	return p, err
}

// decodeFields decodes one field into each of to.
func decodeFields(fields []cbor.RawMessage, to ...any) error {
	if len(fields) != len(to) {
		return fmt.Errorf("%w: body part with too few or too many fields", ErrMalformed)
	}
	for i, field := range fields {
		if err := strictcbor.Unmarshal(field, to[i]); err != nil {
			return fmt.Errorf("%w: body part: %w", ErrMalformed, err)
		}
	}
	return nil
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
	return strictcbor.Marshal(w)
}

func encodePart(p Part) (cbor.RawMessage, error) {
	switch b := p.Body.(type) {
	case nil:
		return strictcbor.Marshal([]any{p.Disposition, p.Language, nullPart})
	case Single:
		return strictcbor.Marshal([]any{p.Disposition, p.Language, singlePart, b.ContentType, octets(b.Content)})
	case External:
		return strictcbor.Marshal([]any{p.Disposition, p.Language, externalPart, b.ContentType, b.URL, b.Expires, b.Size, b.EncAlg,
			octets(b.Key), octets(b.Nonce), octets(b.AAD), b.HashAlg, octets(b.Hash), b.Description, b.Filename})
	case Multi:
		parts := make([]cbor.RawMessage, len(b.Parts))
		for i, child := range b.Parts {
			var err error
			if parts[i], err = encodePart(child); err != nil {
				return nil, err
			}
		}
		return strictcbor.Marshal([]any{p.Disposition, p.Language, multiPart, b.Semantics, parts})
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
