// Package codec encodes and decodes the TLS presentation language as RFC 9420 §2.1 profiles it: strictly, in one pass,
// with minimal lengths. Package mls re-exports it under the same names.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrSyntax marks input that is not a valid encoding: truncated, trailing
// bytes, a non-minimal or oversized length, an impossible enum value
// (RFC 9420 §2.1). Errors wrap it; nothing has been changed when it occurs.
var ErrSyntax = errors.New("mls: malformed encoding")

// MaxVector is the largest length, in bytes, of any variable-size vector that a
// [Decoder] accepts and an [Encoder] writes. RFC 9420 §2.1.2 allows 2^30-1;
// 64 MiB holds the ratchet tree of more than 100,000 members.
const MaxVector = 64 << 20

// Marshaler is a structure with an encoding in the TLS presentation language
// as profiled by RFC 9420 §2.1.
type Marshaler interface {
	// MarshalMLS appends the encoding to e.
	MarshalMLS(e *Encoder)
}

// Unmarshaler is the decoding side of [Marshaler].
type Unmarshaler interface {
	// UnmarshalMLS reads the structure from d; failures stay in d.
	UnmarshalMLS(d *Decoder)
}

// Marshal returns the encoding of v.
func Marshal(v Marshaler) []byte {
	var e Encoder
	v.MarshalMLS(&e)
	return e.buf
}

// Unmarshal decodes data, all of it, into v. The error wraps [ErrSyntax].
// Byte slices in v may alias data.
func Unmarshal(data []byte, v Unmarshaler) error {
	d := NewDecoder(data)
	v.UnmarshalMLS(d)
	return d.Finish()
}

// Encoder appends values to a growing buffer. The zero value is ready for use.
type Encoder struct {
	buf []byte
}

// NewEncoder returns an Encoder whose buffer starts with the given capacity in bytes.
func NewEncoder(capacity int) *Encoder {
	return &Encoder{buf: make([]byte, 0, capacity)}
}

// Bytes returns what has been encoded so far; it aliases the buffer.
func (e *Encoder) Bytes() []byte { return e.buf }

// Len returns the number of bytes encoded so far.
func (e *Encoder) Len() int { return len(e.buf) }

// Raw appends b without a length (opaque x[N]).
func (e *Encoder) Raw(b []byte) { e.buf = append(e.buf, b...) }

// Uint8 appends one byte.
func (e *Encoder) Uint8(v uint8) { e.buf = append(e.buf, v) }

// Uint16 appends a uint16, big endian.
func (e *Encoder) Uint16(v uint16) { e.buf = binary.BigEndian.AppendUint16(e.buf, v) }

// Uint32 appends a uint32, big endian.
func (e *Encoder) Uint32(v uint32) { e.buf = binary.BigEndian.AppendUint32(e.buf, v) }

// Uint64 appends a uint64, big endian.
func (e *Encoder) Uint64(v uint64) { e.buf = binary.BigEndian.AppendUint64(e.buf, v) }

// Bool appends 0 or 1 in one byte; it is also the presence byte of optional<T>.
func (e *Encoder) Bool(v bool) {
	if v {
		e.Uint8(1)
	} else {
		e.Uint8(0)
	}
}

// Length appends the length of a vector of n bytes, which the caller appends next.
func (e *Encoder) Length(n int) { e.buf = AppendVarint(e.buf, n) }

// Opaque appends b with its length (opaque x<V>, RFC 9420 §2.1.2).
func (e *Encoder) Opaque(b []byte) {
	e.buf = AppendVarint(e.buf, len(b))
	e.buf = append(e.buf, b...)
}

// Vector appends what body encodes, preceded by its length in bytes (T x<V>).
func (e *Encoder) Vector(body func(*Encoder)) {
	start := e.Open()
	body(e)
	e.Close(start)
}

// Open begins a vector whose length is not known yet and returns what [Encoder.Close] takes to end it.
func (e *Encoder) Open() int {
	e.buf = append(e.buf, 0)
	return len(e.buf)
}

// Close ends a vector begun by [Encoder.Open].
func (e *Encoder) Close(start int) {
	n := len(e.buf) - start
	size := VarintSize(n)
	if size > 1 { // make room for the longer length
		e.buf = append(e.buf, make([]byte, size-1)...)
		copy(e.buf[start+size-1:], e.buf[start:start+n])
	}
	AppendVarint(e.buf[:start-1], n)
}

// Uint16s appends a vector of uint16 values.
func (e *Encoder) Uint16s(vs []uint16) { EncodeUint16s(e, vs) }

// Uint32s appends a vector of uint32 values.
func (e *Encoder) Uint32s(vs []uint32) {
	e.buf = AppendVarint(e.buf, 4*len(vs))
	for _, v := range vs {
		e.Uint32(v)
	}
}

// VarintSize is the number of bytes of the length n.
func VarintSize(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	default:
		return 4
	}
}

// AppendVarint appends a length to b in its shortest form (RFC 9420 §2.1.2). A length over 2^30-1 cannot
// be written; no input that this package accepts can lead to one.
func AppendVarint(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(b, 1<<14|uint16(n))
	case n < 1<<30:
		return binary.BigEndian.AppendUint32(b, 2<<30|uint32(n))
	default:
		panic("mls: vector longer than 2^30-1 bytes")
	}
}

// Decoder reads values from a buffer in one pass. The first failure sticks: later reads return zero
// values and More returns false, so callers check once, at the end. Slices it returns alias the input.
type Decoder struct {
	buf []byte
	err error
}

// NewDecoder returns a Decoder over data.
func NewDecoder(data []byte) *Decoder { return &Decoder{buf: data} }

// Err returns the first failure, or nil.
func (d *Decoder) Err() error { return d.err }

// Finish returns the first failure; bytes left over are one.
func (d *Decoder) Finish() error {
	if d.err == nil && len(d.buf) > 0 {
		d.Failf("%d trailing bytes", len(d.buf))
	}
	return d.err
}

// Failf records a failure, if none has been recorded yet. The error wraps [ErrSyntax].
func (d *Decoder) Failf(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
	}
	d.buf = nil
}

// More reports whether bytes remain and nothing has failed.
func (d *Decoder) More() bool { return d.err == nil && len(d.buf) > 0 }

// Remaining returns the bytes not read yet.
func (d *Decoder) Remaining() []byte { return d.buf }

// Raw reads n bytes (opaque x[N]).
func (d *Decoder) Raw(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.buf) {
		d.Failf("need %d bytes, have %d", n, len(d.buf))
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

// Uint8 reads one byte.
func (d *Decoder) Uint8() uint8 {
	if b := d.Raw(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads a uint16, big endian.
func (d *Decoder) Uint16() uint16 {
	if b := d.Raw(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads a uint32, big endian.
func (d *Decoder) Uint32() uint32 {
	if b := d.Raw(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads a uint64, big endian.
func (d *Decoder) Uint64() uint64 {
	if b := d.Raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Bool reads one byte that must be 0 or 1; also the presence byte of optional<T> (RFC 9420 §2.1.1).
func (d *Decoder) Bool() bool {
	v := d.Uint8()
	if v > 1 {
		d.Failf("presence byte %d", v)
	}
	return v == 1
}

// Opaque reads a byte vector (opaque x<V>). It is never nil unless reading failed.
func (d *Decoder) Opaque() []byte {
	n := d.Varint()
	return d.Raw(n)
}

// Vector reads a length and calls element until that many bytes are used up (T x<V>). An element
// that consumes nothing is a failure.
func (d *Decoder) Vector(element func(*Decoder)) {
	body := d.Opaque()
	if d.err != nil {
		return
	}
	rest := d.buf
	d.buf = body
	for len(d.buf) > 0 && d.err == nil {
		before := len(d.buf)
		element(d)
		if d.err == nil && len(d.buf) == before {
			d.Failf("empty vector element")
		}
	}
	if d.err == nil {
		d.buf = rest
	}
}

// Uint16s reads a vector of uint16 values.
func (d *Decoder) Uint16s() []uint16 { return DecodeUint16s[uint16](d) }

// Uint32s reads a vector of uint32 values.
func (d *Decoder) Uint32s() []uint32 {
	body := d.Opaque()
	if len(body)%4 != 0 {
		d.Failf("vector of uint32 with %d bytes", len(body))
		return nil
	}
	vs := make([]uint32, len(body)/4)
	for i := range vs {
		vs[i] = binary.BigEndian.Uint32(body[4*i:])
	}
	return vs
}

// Varint reads a length, which must be in its shortest form (RFC 9420 §2.1.2).
func (d *Decoder) Varint() int {
	first := d.Uint8()
	n := int(first & 0x3f)
	switch first >> 6 {
	case 1:
		n = n<<8 | int(d.Uint8())
	case 2:
		n = n<<24 | int(d.Uint8())<<16 | int(d.Uint16())
	case 3:
		d.Failf("length prefix %#02x", first)
	}
	if d.err != nil {
		return 0
	}
	if VarintSize(n) != 1<<(first>>6) {
		d.Failf("length %d not in its shortest form", n)
		return 0
	}
	if n > MaxVector {
		d.Failf("length %d over %d", n, MaxVector)
		return 0
	}
	return n
}

// EncodeUint16s appends a vector of 16-bit values.
func EncodeUint16s[T ~uint16](e *Encoder, vs []T) {
	e.buf = AppendVarint(e.buf, 2*len(vs))
	for _, v := range vs {
		e.Uint16(uint16(v))
	}
}

// DecodeUint16s reads a vector of 16-bit values.
func DecodeUint16s[T ~uint16](d *Decoder) []T {
	body := d.Opaque()
	if len(body)%2 != 0 {
		d.Failf("vector of 16-bit values with %d bytes", len(body))
		return nil
	}
	vs := make([]T, len(body)/2)
	for i := range vs {
		vs[i] = T(body[2*i])<<8 | T(body[2*i+1])
	}
	return vs
}
