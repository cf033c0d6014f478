// Package strictcbor encodes and decodes the CBOR of mimi-content-09 §6: deterministic (RFC 8949 §4.2.1), of bounded depth, with
// few kinds of map keys. What is not of that form is refused, so that everything decoded can be encoded to the same octets.
//
// The library decodes leniently, and we sign, hash and compare what we decode: its strictest modes are used, and the rules that
// it has no mode for are checked here. The package is pure and part of core/content.
package strictcbor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// ErrEncoding is wrapped by all errors about octets that are not of the form.
var ErrEncoding = errors.New("not deterministic CBOR")

// Marshal encodes in the deterministic form of RFC 8949 §4.2.1.
func Marshal(v any) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(v)
}

// Unmarshal decodes the one item that data is, which Check or CheckTuple has passed. The library takes some things for others: an array
// of numbers for a byte string, a tagged text for a text; Same tells.
func Unmarshal(data []byte, v any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		MaxNestedLevels:   maxItemDepth,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(data, v)
}

// Same reports whether v encodes to data.
func Same(v any, data []byte) bool {
	raw, err := Marshal(v)
	return err == nil && bytes.Equal(raw, data)
}

// Bounds of mimi-content-09 §6.2 and §6.3.
const (
	maxStrictDepth = 4         // levels of maps, arrays and tags, the extensions map being the first
	maxKeyText     = 255       // octets
	maxKeyInt      = 1<<53 - 1 // absolute value
	maxItemDepth   = 32        // of anything else, against stacks of empty arrays
)

// The major types of CBOR (RFC 8949 §3.1).
const (
	majorUint, majorNegative, majorBytes, majorText = 0, 1, 2, 3
	majorArray, majorMap, majorTag, majorSimple     = 4, 5, 6, 7
)

// checker walks over CBOR and refuses what is not well-formed, not deterministic (RFC 8949 §4.2.1) or outside the data model
// of mimi-content-09 §6. Its errors wrap ErrEncoding.
type checker struct {
	data []byte
	pos  int
}

// Check checks that data is one item of the form, with any keys in its maps. Errors wrap ErrEncoding.
func Check(data []byte) error {
	c := checker{data: data}
	if err := c.item(0, false); err != nil {
		return err
	}
	return c.end()
}

// CheckTuple checks that data is an array of n items, of which the one at index is a map that obeys the bounds on keys and depth of
// mimi-content-09 §6.2 and §6.3. Errors wrap ErrEncoding.
func CheckTuple(data []byte, n, index int) error {
	c := checker{data: data}
	major, _, size, err := c.head()
	if err != nil {
		return err
	}
	if major != majorArray || size != uint64(n) {
		return c.bad(fmt.Sprintf("not an array of %d", n))
	}
	for i := range n {
		strict := i == index
		if strict && (c.pos == len(data) || data[c.pos]>>5 != majorMap) {
			return c.bad("not a map")
		}
		if err := c.item(1, strict); err != nil {
			return err
		}
	}
	return c.end()
}

func (c *checker) end() error {
	if c.pos != len(c.data) {
		return c.bad("octets after the end")
	}
	return nil
}

func (c *checker) bad(what string) error {
	return fmt.Errorf("%w: %s at octet %d", ErrEncoding, what, c.pos)
}

// head reads the head of an item: its major type, the five bits of additional information, and its argument.
func (c *checker) head() (major, info byte, arg uint64, err error) {
	if c.pos >= len(c.data) {
		return 0, 0, 0, c.bad("truncated")
	}
	major, info = c.data[c.pos]>>5, c.data[c.pos]&31
	if info < 24 {
		c.pos++
		return major, info, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, 0, c.bad("indefinite length or reserved form")
	}
	size := 1 << (info - 24)
	if len(c.data)-c.pos-1 < size {
		return 0, 0, 0, c.bad("truncated")
	}
	var eight [8]byte
	copy(eight[8-size:], c.data[c.pos+1:])
	arg = binary.BigEndian.Uint64(eight[:])
	least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]
	if major != majorSimple && arg < least {
		return 0, 0, 0, c.bad("number or length not in its shortest form")
	}
	c.pos += 1 + size
	return major, info, arg, nil
}

// item checks one item at a level of nesting; strict says that it is the map of CheckTuple, or in it.
func (c *checker) item(level int, strict bool) error {
	major, info, arg, err := c.head()
	if err != nil {
		return err
	}
	if major >= majorArray && major <= majorTag && (level > maxItemDepth || strict && level > maxStrictDepth) {
		return c.bad("nested too deeply")
	}
	switch major {
	case majorBytes, majorText:
		_, err := c.text(major, arg)
		return err
	case majorArray:
		for range arg { // ends at the latest when data does
			if err := c.item(level+1, strict); err != nil {
				return err
			}
		}
	case majorMap:
		return c.entries(level, arg, strict)
	case majorTag:
		return c.tag(level, arg, strict)
	case majorSimple:
		return c.simple(info, arg)
	}
	return nil
}

// text passes over the octets of a byte or text string.
func (c *checker) text(major byte, n uint64) ([]byte, error) {
	if n > uint64(len(c.data)-c.pos) {
		return nil, c.bad("truncated")
	}
	s := c.data[c.pos : c.pos+int(n)]
	if major == majorText && !utf8.Valid(s) {
		return nil, c.bad("text that is not UTF-8")
	}
	c.pos += int(n)
	return s, nil
}

// entries checks the n entries of a map: keys in strictly ascending order of their octets, so none twice.
func (c *checker) entries(level int, n uint64, strict bool) error {
	var last []byte
	for range n {
		from := c.pos
		major, _, arg, err := c.head()
		if err != nil {
			return err
		}
		c.pos = from
		if strict {
			if err := c.key(level, major, arg); err != nil {
				return err
			}
		}
		if err := c.item(level+1, strict); err != nil {
			return err
		}
		key := c.data[from:c.pos]
		if bytes.Compare(key, last) <= 0 {
			return c.bad("map key twice or out of order")
		}
		last = key
		if err := c.item(level+1, strict); err != nil {
			return err
		}
	}
	return nil
}

// key applies mimi-content-09 §6.2 to the key of a map at a level of the extensions.
func (c *checker) key(level int, major byte, arg uint64) error {
	switch {
	case major == majorUint && arg <= maxKeyInt:
	case major == majorNegative && arg < maxKeyInt: // the number is −1−arg
	case major == majorText && (level > 1 || arg >= 1 && arg <= maxKeyText):
	case major == majorBytes && level > 1:
	default:
		return c.bad("map key that is not allowed")
	}
	return nil
}

func (c *checker) tag(level int, tag uint64, strict bool) error {
	if c.pos < len(c.data) && (tag == 2 || tag == 3) { // a bignum must not fit an integer (RFC 8949 §3.4.3)
		from := c.pos
		major, _, n, err := c.head()
		if err != nil {
			return err
		}
		if major == majorBytes && (n <= 8 || c.pos < len(c.data) && c.data[c.pos] == 0) {
			return c.bad("bignum not in its shortest form")
		}
		c.pos = from
	}
	return c.item(level+1, strict)
}

// simple checks floats, and the simple values of two octets.
func (c *checker) simple(info byte, arg uint64) error {
	ok := true
	switch info {
	case 24:
		ok = arg >= 32
	case 25: // the one NaN is the quiet one of two octets
		ok = arg&0x7c00 != 0x7c00 || arg&0x3ff == 0 || arg == 0x7e00
	case 26:
		f := math.Float32frombits(uint32(arg))
		ok = f == f && !fitsHalf(f)
	case 27:
		f := math.Float64frombits(arg)
		ok = f == f && float64(float32(f)) != f
	}
	if !ok {
		return c.bad("simple value or float not in its shortest form")
	}
	return nil
}

// fitsHalf reports whether a float, which is no NaN, can be written in 16 bits (IEEE 754 binary16) without loss.
func fitsHalf(f float32) bool {
	bits := math.Float32bits(f)
	exponent, fraction := int(bits>>23&0xff)-127, bits&(1<<23-1)
	switch {
	case exponent == 128: // infinite
		return true
	case exponent >= -14 && exponent <= 15:
		return fraction&(1<<13-1) == 0
	case exponent >= -24 && exponent < -14: // subnormal in 16 bits
		return (fraction|1<<23)&(1<<(-1-exponent)-1) == 0
	}
	return f == 0
}
