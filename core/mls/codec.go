package mls

import "mimigate/core/mls/internal/codec"

// The codec of the TLS presentation language (RFC 9420 §2.1), for the structures here and in the protocols around MLS.
type (
	// Encoder appends values to a growing buffer. The zero value is ready for use.
	Encoder = codec.Encoder
	// Decoder reads values in one pass; its first failure sticks.
	Decoder = codec.Decoder
	// Marshaler is a structure with an encoding.
	Marshaler = codec.Marshaler
	// Unmarshaler is a structure that can be decoded.
	Unmarshaler = codec.Unmarshaler
)

// MaxVector is the largest length, in bytes, of a variable-size vector that is accepted or written: 64 MiB.
const MaxVector = codec.MaxVector

// ErrSyntax marks input that is not a valid encoding (RFC 9420 §2.1). Nothing has been changed when it occurs.
var ErrSyntax = codec.ErrSyntax

// NewEncoder returns an Encoder whose buffer starts with the given capacity in bytes.
func NewEncoder(capacity int) *Encoder { return codec.NewEncoder(capacity) }

// NewDecoder returns a Decoder over data.
func NewDecoder(data []byte) *Decoder { return codec.NewDecoder(data) }

// Marshal returns the encoding of v.
func Marshal(v Marshaler) []byte { return codec.Marshal(v) }

// Unmarshal decodes data, all of it, into v, which may then alias data. The error wraps [ErrSyntax].
func Unmarshal(data []byte, v Unmarshaler) error { return codec.Unmarshal(data, v) }
