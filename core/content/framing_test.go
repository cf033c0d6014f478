package content

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
)

// TestFraming: the octets of ApplicationFraming around original.cbor, as core/mls writes them too.
func TestFraming(t *testing.T) {
	original := example(t, "original")
	for _, c := range []struct{ typ, prefix string }{
		{TypeMessage, "18" + hex.EncodeToString([]byte(TypeMessage)) + "0040c1"},
		{"", "000040c1"},
		{TypeText, "0a" + hex.EncodeToString([]byte("text/plain")) + "0e07" + hex.EncodeToString([]byte("charset")) + "05" + hex.EncodeToString([]byte("utf-8")) + "40c1"},
	} {
		data, err := Framed{Type: c.typ, Content: original}.Marshal()
		if err != nil || hex.EncodeToString(data) != c.prefix+hex.EncodeToString(original) {
			t.Fatalf("%q: %x, %v", c.typ, data, err)
		}
		got, err := UnmarshalFramed(data, TypeMessage)
		want := c.typ
		if want == "" {
			want = TypeMessage
		}
		if err != nil || got.Type != want || !bytes.Equal(got.Content, original) {
			t.Errorf("%q: %+v, %v", c.typ, got, err)
		}
	}
	// The franking tags of our own vectors: HMAC under the salt, over the bare message and both framings.
	m, err := Unmarshal(original)
	if err != nil {
		t.Fatal(err)
	}
	explicit, _ := Framed{Type: TypeMessage, Content: original}.Marshal()
	implied, _ := Framed{Content: original}.Marshal()
	for want, data := range map[string][]byte{
		"a9a69f1d2fe6f37984190c093ecb8a10d647093db735fb7ba926bfdccff4c2bf": original,
		"cac50818a758d500a44109d35073e0ce59d35c81f68eaf911c5b930d014034d0": explicit,
		"728037c40a60ea96a1d2b15c43fca2415728e15f9f9a8114c52660c287688813": implied,
	} {
		h := hmac.New(sha256.New, m.Salt[:])
		h.Write(data)
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("franking tag %s, want %s", got, want)
		}
	}
	long := Framed{Type: TypeMessage, Content: make([]byte, 1<<14)}
	data, err := long.Marshal()
	if got, err2 := UnmarshalFramed(data, ""); err != nil || err2 != nil || len(got.Content) != 1<<14 {
		t.Errorf("long: %v, %v", err, err2)
	}
	for name, bad := range map[string]string{
		"nothing": "", "truncated": "02", "no content": "0000", "trailing": "00000000", "long length": "400000" + "00",
		"four octets for a short length": "80000000" + "0000", "reserved length": "c0", "quote in the type": "01220000",
		"parameter cut off": "00" + "0102" + "00", "parameter without a value": "016102" + "0161" + "00", "control character": "010a0000",
	} {
		data, _ := hex.DecodeString(bad)
		if got, err := UnmarshalFramed(data, TypeMessage); !errors.Is(err, ErrFraming) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := (Framed{Type: "a/b;=c"}).Marshal(); !errors.Is(err, ErrFraming) {
		t.Errorf("parameter without a name: %v", err)
	}
	for _, c := range []struct {
		have, want string
		is         bool
	}{
		{"Application/MIMI-content", TypeMessage, true}, {TypeMessage + "; v=2", TypeMessage, true}, {TypeMarkdown, "text/markdown", true},
		{"text/markdown", TypeMarkdown, false}, {"text/markdown; Variant=GFM-MIMI", TypeMarkdown, true}, {TypeStatus, TypeMessage, false}, {";", ";", false},
	} {
		if got := (Framed{Type: c.have}).Is(c.want); got != c.is {
			t.Errorf("%q is %q: %v", c.have, c.want, got)
		}
	}
}

func FuzzUnmarshalFramed(f *testing.F) {
	for _, typ := range []string{"", TypeMessage, TypeText, TypeMarkdown} {
		data, err := Framed{Type: typ, Content: []byte("x")}.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := UnmarshalFramed(data, "")
		if err != nil || got.Type == "" {
			return
		}
		again, err := got.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v\n got %x\nwant %x", err, again, data)
		}
	})
}
