package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrFraming is wrapped by what UnmarshalFramed refuses.
var ErrFraming = errors.New("not an ApplicationFraming")

// Framed is application data in a group whose GroupContext has content_media_types: ApplicationFraming
// (mls-extensions-10 §6.3). Without that component application data is a bare encoded Message.
type Framed struct {
	// Type is the media type with its parameters, in the form "text/plain;charset=utf-8". Empty, in Marshal only: the
	// first of the group's list.
	Type    string
	Content []byte
}

// Marshal encodes f. It fails with ErrFraming where the type has an empty parameter name or the content is longer than 2^30−1
// octets.
func (f Framed) Marshal() ([]byte, error) {
	name, parameters, err := splitType(f.Type)
	if err != nil {
		return nil, err
	}
	var list []byte
	for _, p := range parameters {
		list = appendVector(appendVector(list, []byte(p.name)), []byte(p.value))
	}
	if len(f.Content) >= 1<<30 {
		return nil, fmt.Errorf("%w: too long", ErrFraming)
	}
	out := make([]byte, 0, len(name)+len(list)+len(f.Content)+12)
	out = appendVector(out, []byte(name))
	out = appendVector(out, list)
	return appendVector(out, f.Content), nil
}

// UnmarshalFramed decodes application data; first is the first media type of the group's list, which an empty type stands for.
// Its parameters are then ignored, as there should be none. Content aliases data.
func UnmarshalFramed(data []byte, first string) (Framed, error) {
	name, rest, err := cutVector(data)
	if err != nil {
		return Framed{}, err
	}
	list, rest, err := cutVector(rest)
	if err != nil {
		return Framed{}, err
	}
	inner, rest, err := cutVector(rest)
	if err != nil {
		return Framed{}, err
	}
	if len(rest) > 0 {
		return Framed{}, fmt.Errorf("%w: octets after the end", ErrFraming)
	}
	whole, err := joinType(name, list)
	if err != nil {
		return Framed{}, err
	}
	if len(name) == 0 {
		whole = first
	}
	return Framed{Type: whole, Content: inner}, nil
}

// Is reports whether f is of a media type: the same type in any case, and every parameter of contentType with the same value.
func (f Framed) Is(contentType string) bool {
	have, values, err1 := splitType(f.Type)
	want, wanted, err2 := splitType(contentType)
	if err1 != nil || err2 != nil || !strings.EqualFold(have, want) {
		return false
	}
	for _, w := range wanted {
		found := false
		for _, v := range values {
			found = found || strings.EqualFold(v.name, w.name) && v.value == w.value
		}
		if !found {
			return false
		}
	}
	return true
}

type parameter struct{ name, value string }

// splitType takes "text/plain;charset=utf-8" apart.
func splitType(s string) (string, []parameter, error) {
	name, rest, more := strings.Cut(s, ";")
	var list []parameter
	for more {
		var field string
		field, rest, more = strings.Cut(rest, ";")
		key, value, _ := strings.Cut(field, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if key == "" {
			return "", nil, fmt.Errorf("%w: parameter without a name", ErrFraming)
		}
		list = append(list, parameter{key, value})
	}
	return strings.TrimSpace(name), list, nil
}

// joinType puts a media type and its encoded parameters together.
func joinType(name, list []byte) (string, error) {
	var b strings.Builder
	b.Write(name)
	plain := isTypeText(name)
	for len(list) > 0 {
		key, rest, err := cutVector(list)
		if err != nil {
			return "", err
		}
		value, rest, err := cutVector(rest)
		if err != nil {
			return "", err
		}
		b.WriteString(";" + string(key) + "=" + string(value))
		plain = plain && len(key) > 0 && isTypeText(key) && isTypeText(value)
		list = rest
	}
	if !plain {
		return "", fmt.Errorf("%w: media type", ErrFraming)
	}
	return b.String(), nil
}

// isTypeText reports whether b may be in a media type without quotes: visible ASCII but for ; = and ".
func isTypeText(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' || c == ';' || c == '=' || c == '"' {
			return false
		}
	}
	return true
}

// appendVector appends an opaque<V> (RFC 9420 §2.1.2); b is shorter than 2^30 octets.
func appendVector(to, b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		to = append(to, byte(n))
	case n < 1<<14:
		to = binary.BigEndian.AppendUint16(to, uint16(n)|1<<14)
	default:
		to = binary.BigEndian.AppendUint32(to, uint32(n)|1<<31)
	}
	return append(to, b...)
}

// cutVector splits an opaque<V> off data; a length that is not in its shortest form is refused.
func cutVector(data []byte) (b, rest []byte, err error) {
	bad := func(what string) ([]byte, []byte, error) { return nil, nil, fmt.Errorf("%w: %s", ErrFraming, what) }
	if len(data) == 0 {
		return bad("truncated")
	}
	size := 1 << (data[0] >> 6)
	if size > 4 || len(data) < size {
		return bad("length")
	}
	n := int(data[0] & 0x3f)
	for _, c := range data[1:size] {
		n = n<<8 | int(c)
	}
	if size == 2 && n < 1<<6 || size == 4 && n < 1<<14 || n > len(data)-size {
		return bad("length")
	}
	return data[size : size+n], data[size+n:], nil
}
