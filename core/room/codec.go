package room

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

// format is how one component is written into a dictionary and read from it.
type format struct {
	encode func(*mls.Encoder, *Contents)
	decode func(*mls.Decoder, *Contents)
}

// formats returns the format of a component whose contents this package knows.
func formats(id policy.Component) (format, bool) {
	switch id {
	case policy.ParticipantList:
		return format{func(e *mls.Encoder, c *Contents) { encodeParticipants(e, c.Participants) },
			func(d *mls.Decoder, c *Contents) { c.Participants = decodeParticipants(d) }}, true
	case policy.RoomMetadata:
		return format{func(e *mls.Encoder, c *Contents) { encodeMetadata(e, &c.Metadata) },
			func(d *mls.Decoder, c *Contents) { c.Metadata = decodeMetadata(d) }}, true
	case policy.MLSOperationalPolicy:
		return pointer(encodeOperational, decodeOperational, func(c *Contents) **policy.Operational { return &c.Rules.Operational }), true
	case policy.RolesList:
		return format{func(e *mls.Encoder, c *Contents) { encodeVector(e, c.Rules.Roles, encodeRole) },
			func(d *mls.Decoder, c *Contents) { c.Rules.Roles = decodeVector(d, decodeRole) }}, true
	case policy.PreAuthList:
		return format{func(e *mls.Encoder, c *Contents) { encodeVector(e, c.Rules.PreAuth, encodePreAuth) },
			func(d *mls.Decoder, c *Contents) { c.Rules.PreAuth = decodeVector(d, decodePreAuth) }}, true
	case policy.BaseRoomPolicy:
		return format{func(e *mls.Encoder, c *Contents) { encodeBase(e, &c.Rules.Base) },
			func(d *mls.Decoder, c *Contents) { c.Rules.Base = decodeBase(d) }}, true
	case policy.StatusNotificationPolicy:
		return pointer(encodeStatus, decodeStatus, func(c *Contents) **policy.StatusNotifications { return &c.Rules.Status }), true
	case policy.JoinLinkPolicy:
		return pointer(encodeJoinLink, decodeJoinLink, func(c *Contents) **policy.JoinLinkRules { return &c.Rules.JoinLink }), true
	case policy.JoinLinks:
		return format{func(e *mls.Encoder, c *Contents) { encodeTexts(e, c.Rules.JoinLinks) },
			func(d *mls.Decoder, c *Contents) { c.Rules.JoinLinks = present(decodeTexts(d)) }}, true
	case policy.LinkPreviewPolicy:
		return pointer(encodeLinkPreview, decodeLinkPreview, func(c *Contents) **policy.LinkPreviews { return &c.Rules.LinkPreview }), true
	case policy.AssetPolicy:
		return pointer(encodeAssets, decodeAssets, func(c *Contents) **policy.Assets { return &c.Rules.Assets }), true
	case policy.LoggingPolicy:
		return pointer(encodeLogging, decodeLogging, func(c *Contents) **policy.Logging { return &c.Rules.Logging }), true
	case policy.ChatHistoryPolicy:
		return pointer(encodeHistory, decodeHistory, func(c *Contents) **policy.History { return &c.Rules.History }), true
	case policy.BotPolicy:
		return format{func(e *mls.Encoder, c *Contents) { encodeVector(e, c.Rules.Bots, encodeBot) },
			func(d *mls.Decoder, c *Contents) { c.Rules.Bots = present(decodeVector(d, decodeBot)) }}, true
	case policy.MessageExpirationPolicy:
		return pointer(encodeExpiration, decodeExpiration, func(c *Contents) **policy.Expiration { return &c.Rules.Expiration }), true
	}
	return format{}, false
}

// pointer is the format of a component that the rules hold by a pointer; nil is written as the zero value.
func pointer[T any](encode func(*mls.Encoder, *T), decode func(*mls.Decoder) T, field func(*Contents) **T) format {
	return format{
		func(e *mls.Encoder, c *Contents) {
			v := *field(c)
			if v == nil {
				v = new(T)
			}
			encode(e, v)
		},
		func(d *mls.Decoder, c *Contents) { v := decode(d); *field(c) = &v },
	}
}

// present makes an empty list differ from an absent component.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func wrap(id policy.Component, err error) error { return fmt.Errorf("%v: %w", id, err) }

func encodeVector[T any](e *mls.Encoder, list []T, element func(*mls.Encoder, *T)) {
	e.Vector(func(e *mls.Encoder) {
		for i := range list {
			element(e, &list[i])
		}
	})
}

func decodeVector[T any](d *mls.Decoder, element func(*mls.Decoder) T) []T {
	var list []T
	d.Vector(func(d *mls.Decoder) { list = append(list, element(d)) })
	return list
}

func encodeText(e *mls.Encoder, s *string) { e.Opaque([]byte(*s)) }
func decodeText(d *mls.Decoder) string     { return string(d.Opaque()) }

func encodeTexts(e *mls.Encoder, list []string)  { encodeVector(e, list, encodeText) }
func decodeTexts(d *mls.Decoder) []string        { return decodeVector(d, decodeText) }
func encodeOption(e *mls.Encoder, v *uint32)     { encodeOptional(e, v, func(n *uint32) { e.Uint32(*n) }) }
func decodeOption(d *mls.Decoder) *uint32        { return decodeOptional(d, (*mls.Decoder).Uint32) }
func encodeUint8s(e *mls.Encoder, list []uint8)  { e.Opaque(list) }
func decodeUint8s(d *mls.Decoder) []uint8        { return append([]uint8(nil), d.Opaque()...) }
func encodeRoleIndex(e *mls.Encoder, r *roleIdx) { e.Uint32(uint32(*r)) }
func decodeRoleIndex(d *mls.Decoder) roleIdx     { return roleIdx(d.Uint32()) }

type roleIdx = policy.RoleIndex

// optional<T> (RFC 9420 §2.1.1).
func encodeOptional[T any](e *mls.Encoder, v *T, encode func(*T)) {
	e.Bool(v != nil)
	if v != nil {
		encode(v)
	}
}

func decodeOptional[T any](d *mls.Decoder, decode func(*mls.Decoder) T) *T {
	if !d.Bool() {
		return nil
	}
	v := decode(d)
	return &v
}

func encodeUint16s[T ~uint16](e *mls.Encoder, list []T) {
	encodeVector(e, list, func(e *mls.Encoder, v *T) { e.Uint16(uint16(*v)) })
}

func decodeUint16s[T ~uint16](d *mls.Decoder) []T {
	return decodeVector(d, func(d *mls.Decoder) T { return T(d.Uint16()) })
}

// decodeEnum reads a one-byte enumeration whose values are 0 to last. Others make the component, and it alone, undecodable.
func decodeEnum[T ~uint8](d *mls.Decoder, last T) T {
	v := T(d.Uint8())
	if v > last {
		d.Failf("enumeration value %d", v)
	}
	return v
}

func decodeOptionality(d *mls.Decoder) policy.Optionality { return decodeEnum(d, policy.Forbidden) }

// encodeLoneURI and decodeLoneURI: one URI or none where the syntax is a vector of them. It is written with both
// prefixes; on reading, a URI with one prefix passes too (mimi-room-policy-04 §5: prose and syntax differ).
func encodeLoneURI(e *mls.Encoder, s string) {
	e.Vector(func(e *mls.Encoder) {
		if s != "" {
			e.Opaque([]byte(s))
		}
	})
}

func decodeLoneURI(d *mls.Decoder) string {
	body := d.Opaque()
	inner := mls.NewDecoder(body)
	if s := inner.Opaque(); inner.Finish() == nil {
		return string(s)
	}
	return string(body)
}

// encodeParticipants writes the participant list (mimi-protocol-06 §7.5).
func encodeParticipants(e *mls.Encoder, list []Participant) { encodeVector(e, list, encodeParticipant) }

func encodeParticipant(e *mls.Encoder, p *Participant) {
	encodeText(e, &p.User)
	e.Uint32(uint32(p.Role))
}

// decodeParticipants reads a list of maybe thousands; their URIs share one string.
func decodeParticipants(d *mls.Decoder) []Participant {
	body := d.Opaque()
	text := string(body)
	inner := mls.NewDecoder(body)
	var list []Participant
	for inner.More() {
		user := inner.Opaque()
		end := len(text) - len(inner.Remaining())
		role := inner.Uint32()
		if inner.Err() != nil {
			d.Failf("participant %d: %v", len(list), inner.Err())
			return nil
		}
		list = append(list, Participant{text[end-len(user) : end], policy.RoleIndex(role)})
	}
	return list
}

// encodeMetadata writes the room_metadata (mimi-protocol-06 §7.6).
func encodeMetadata(e *mls.Encoder, m *Metadata) {
	encodeText(e, &m.URI)
	encodeText(e, &m.Name)
	encodeVector(e, m.Descriptions, func(e *mls.Encoder, d *Description) {
		encodeText(e, &d.MediaType)
		encodeText(e, &d.Language)
		encodeText(e, &d.Content)
	})
	encodeText(e, &m.Avatar)
	encodeText(e, &m.Subject)
	encodeText(e, &m.Mood)
}

func decodeMetadata(d *mls.Decoder) Metadata {
	return Metadata{
		URI:  decodeText(d),
		Name: decodeUTF8(d),
		Descriptions: decodeVector(d, func(d *mls.Decoder) Description {
			return Description{MediaType: decodeText(d), Language: decodeText(d), Content: decodeText(d)}
		}),
		Avatar:  decodeText(d),
		Subject: decodeUTF8(d),
		Mood:    decodeUTF8(d),
	}
}

// decodeUTF8 reads the draft's UTF8String: "a sequence of valid UTF8 without nulls".
func decodeUTF8(d *mls.Decoder) string {
	s := decodeText(d)
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		d.Failf("text is not UTF-8 without NUL")
	}
	return s
}
