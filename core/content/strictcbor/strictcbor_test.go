package strictcbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// TestFloats compares what is taken for the shortest form with what the library writes, for all floats of 16 bits and around them.
func TestFloats(t *testing.T) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	check := func(f float64) {
		shortest, err := mode.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(shortest); err != nil {
			t.Fatalf("%v: %x refused: %v", f, shortest, err)
		}
		for _, form := range [][]byte{
			append([]byte{0xfa}, bits32(float32(f))...), append([]byte{0xfb}, bits64(f)...),
		} {
			exact := len(form) == 9 || float64(float32(f)) == f
			if exact && len(form) > len(shortest) && Check(form) == nil {
				t.Fatalf("%v: %x passed, though %x is shorter", f, form, shortest)
			}
		}
	}
	for exponent := -30; exponent <= 20; exponent++ {
		for fraction := range 1 << 11 {
			f := math.Ldexp(1+float64(fraction)/(1<<11), exponent)
			check(f)
			check(-f)
			check(math.Nextafter(f, 0))
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat32, math.MaxFloat64, math.SmallestNonzeroFloat32} {
		check(f)
	}
}

func bits32(f float32) []byte {
	b := math.Float32bits(f)
	return []byte{byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b)}
}

func bits64(f float64) []byte {
	b := math.Float64bits(f)
	return append(bits32(math.Float32frombits(uint32(b>>32))), byte(b>>24), byte(b>>16), byte(b>>8), byte(b))
}

// TestCheck: outside of the strict map any keys are allowed, in the order of their octets.
func TestCheck(t *testing.T) {
	for in, ok := range map[string]bool{
		"a2f400f500": true, "a2f500f400": false, "a1f9000000": true, "a0": true, "": false, "00": true, "0000": false, "1818": true, "1817": false, "f6": true, "f818": false, "f820": true, "fc": false,
		"ff": false, "5f4100ff": false, "9fff": false, "a2616100190100f6": false, "a219010000616100": true, "c0c0c0c000": true, "d81f00": true, "d81700": false, "1b00000000ffffffff": false, "1b0000000100000000": true,
		"3bffffffffffffffff": true, "c349100000000000000000": true, "c349001000000000000000": false, "8180": true, "81": false, "9b7fffffffffffffff": false, "bb7fffffffffffffff": false, "7b7fffffffffffffff": false, "5bffffffffffffffff": false,
	} {
		data, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(in, err)
		}
		if err := Check(data); (err == nil) != ok || err != nil && !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", in, err)
		}
	}
	if deep := bytes.Repeat([]byte{0x81}, 100_000); Check(append(deep, 0)) == nil {
		t.Error("100,000 levels passed")
	}
}

// distinct reports whether the keys of every map are also distinct as they are written: two NaNs are not, nor are two times of a second.
func distinct(mode cbor.EncMode, v any) bool {
	switch v := v.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !distinct(mode, e) })
	case cbor.Tag:
		return distinct(mode, v.Content)
	case map[any]any:
		seen := map[string]bool{}
		for k, e := range v {
			text, err := mode.Marshal(k)
			if err != nil || seen[string(text)] || !distinct(mode, k) || !distinct(mode, e) {
				return false
			}
			seen[string(text)] = true
		}
	}
	return true
}

// FuzzCheck: what passes is well-formed for the library too, and what the library writes passes.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"a219010000616100", "f97e00", "c249010000000000000000", "a2f97e0001f97e0002", "83010203", "fb3ff199999999999a"} {
		data, _ := hex.DecodeString(s)
		f.Add(data)
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Check(data) == nil {
			if err := cbor.Wellformed(data); err != nil {
				t.Fatalf("%x passed: %v", data, err)
			}
		}
		var v any
		if cbor.Unmarshal(data, &v) != nil {
			return
		}
		if again, err := mode.Marshal(v); err == nil && distinct(mode, v) && Check(again) != nil {
			t.Fatalf("%x from the library: %v", again, Check(again))
		}
	})
}
