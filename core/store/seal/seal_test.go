package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "\n# only\n", "hunter2", "AAAA", strings.Repeat("A", 44), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nhunter2"} {
		if k, err := Parse(text); !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "hunter2") || len(k.list) != 0 {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# one\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Parse(text)
		if (err == nil) != (len(k.list) > 0) || err != nil && !errors.Is(err, ErrKey) {
			t.Fatalf("%v, %v", k, err)
		}
	})
}

// Whatever stands in a sealed column, only what was sealed for its place opens.
func FuzzOpen(f *testing.F) {
	s, err := (*Sealer)(nil).With(1, NewDataKey())
	if err != nil {
		f.Fatal(err)
	}
	here := Place("test", []byte("a"))
	good := s.Seal(here, []byte("value"))
	f.Add(good)
	f.Add(s.Seal(Place("test", []byte("b")), []byte("value")))
	f.Add([]byte{version, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		v, err := s.Open(here, sealed)
		if err == nil != bytes.Equal(sealed, good) || err != nil && !errors.Is(err, ErrKey) || err == nil && string(v) != "value" {
			t.Fatalf("%q: %v", v, err)
		}
	})
}
