package adapter

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSplitText(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  []string
	}{
		{"", 10, []string{""}},
		{"short", 0, []string{"short"}},
		{"short", 5, []string{"short"}},
		{"one two three", 8, []string{"one two", "three"}},
		{"one two\nthree four", 12, []string{"one two", "three four"}},
		{"first part.\n\nsecond\npart", 20, []string{"first part.", "second\npart"}},
		{"a\n\nbcd efg hij", 10, []string{"a\n\nbcd", "efg hij"}},
		{"abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"ääää", 5, []string{"ää", "ää"}},
		{"xe\u0301\u0301y", 4, []string{"x", "e\u0301", "\u0301y"}},
		{"ab👨‍👩‍👧c", 19, []string{"ab", "👨‍👩‍👧c"}},
		{"🇦🇹🇦🇹", 12, []string{"🇦🇹", "🇦🇹"}},
		{"     ", 1, []string{""}},
	} {
		if got := SplitText(c.text, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("SplitText(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func FuzzSplitText(f *testing.F) {
	f.Add("one two\n\nthree", 6)
	f.Add("👨‍👩‍👧‍👦e\u0301🇦🇹", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		s = strings.ToValidUTF8(s, "\uFFFD")
		strip := func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) {
					return -1
				}
				return r
			}, s)
		}
		pieces := SplitText(s, limit)
		if got := strip(strings.Join(pieces, "")); got != strip(s) {
			t.Fatalf("%q split to %q", s, pieces)
		}
		for _, p := range pieces {
			if limit > 0 && len(p) > max(limit, utf8.UTFMax) || !utf8.ValidString(p) || p == "" && len(pieces) > 1 {
				t.Fatalf("piece %q of %q, limit %d", p, s, limit)
			}
		}
	})
}
