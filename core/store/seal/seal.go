package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
)

const (
	version = 1
	// HeaderLen is the length of what stands before the ciphertext and says under which key it is, in octets.
	HeaderLen = 1 + 4
	nonceLen  = 12
	tagLen    = 16
)

// Sealer seals under the newest of its data keys, and opens under all. It does not change.
type Sealer struct {
	current uint32
	keys    map[uint32]cipher.AEAD
}

// With returns a sealer with one more data key, of 32 octets, under which it seals.
func (s *Sealer) With(id uint32, key []byte) (*Sealer, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	out := &Sealer{id, map[uint32]cipher.AEAD{}}
	if s != nil {
		maps.Copy(out.keys, s.keys)
	}
	out.keys[id] = aead
	return out, nil
}

// NewDataKey returns a random data key.
func NewDataKey() []byte {
	raw := make([]byte, masterLen)
	rand.Read(raw)
	return raw
}

// Current returns the id of the data key that values are sealed under, 0 where there is none.
func (s *Sealer) Current() uint32 {
	if s == nil {
		return 0
	}
	return s.current
}

// Header returns what every value begins with that is sealed under the current data key.
func (s *Sealer) Header() []byte {
	return binary.BigEndian.AppendUint32([]byte{version}, s.current)
}

// Seal seals a value for its place.
func (s *Sealer) Seal(place, value []byte) []byte {
	out := make([]byte, 0, HeaderLen+nonceLen+len(value)+tagLen)
	return s.keys[s.current].Seal(append(out, s.Header()...), nil, value, place)
}

// Open opens what Seal made for the same place; the value is never nil. It fails with ErrKey.
func (s *Sealer) Open(place, sealed []byte) ([]byte, error) {
	if len(sealed) < HeaderLen || sealed[0] != version {
		return nil, fmt.Errorf("%w: unknown form in %s", ErrKey, table(place))
	}
	aead, ok := s.keys[binary.BigEndian.Uint32(sealed[1:])]
	if !ok {
		return nil, fmt.Errorf("%w: unknown data key in %s", ErrKey, table(place))
	}
	value, err := aead.Open([]byte{}, nil, sealed[HeaderLen:], place)
	if err != nil {
		return nil, fmt.Errorf("%w: a value in %s was altered", ErrKey, table(place))
	}
	return value, nil
}

// Place names a column's value: the table and the row's key. Each part is preceded by its length, so no two places are the same.
func Place(table string, key ...[]byte) []byte {
	b := append([]byte(table), 0)
	for _, k := range key {
		b = binary.BigEndian.AppendUint32(b, uint32(len(k)))
		b = append(b, k...)
	}
	return b
}

func table(place []byte) string {
	name, _, _ := bytes.Cut(place, []byte{0})
	return string(name)
}
