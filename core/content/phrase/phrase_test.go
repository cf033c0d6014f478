package phrase_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/content/phrase"
)

// all are the constants of the package and the names of kinds.
func all(t *testing.T) []phrase.Phrase {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "phrase.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []phrase.Phrase
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				text, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, phrase.Phrase(text))
			}
		}
	}
	if len(out) < 20 {
		t.Fatalf("%d phrases found", len(out))
	}
	for _, k := range content.Kinds() {
		out = append(out, phrase.Phrase(k.String()))
	}
	return out
}

// TestTranslated: every phrase has a translation with as many verbs, and nothing else is translated.
func TestTranslated(t *testing.T) {
	same := []phrase.Phrase{"%s: %s", "sticker", "video", "thread", "text", "album"} // the same word in German, but for its capital
	for _, p := range all(t) {
		german := p.In("de-AT")
		if german == string(p) && !slices.Contains(same, p) {
			t.Errorf("%q has no German", p)
		}
		if strings.Count(german, "%s") != strings.Count(string(p), "%s") {
			t.Errorf("%q: %q has other verbs", p, german)
		}
		if english := p.In("fr"); english != string(p) {
			t.Errorf("%q in an unknown language: %q", p, english)
		}
	}
}

func TestIn(t *testing.T) {
	if got := phrase.Reacted.In("de", "👍", "Essen?"); got != "reagierte mit 👍 auf „Essen?“" {
		t.Error(got)
	}
	if got := phrase.NotHere.In("", "100%s"); got != "100%s: not available here" {
		t.Error(got)
	}
}

func TestNumbers(t *testing.T) {
	for octets, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 2_345_678: "2.3 MB", 999_949: "999.9 kB", 999_950: "1 MB", 5_000_000_000: "5 GB", 1<<64 - 1: "18.4 EB"} {
		if got := phrase.Size("en", octets); got != want {
			t.Errorf("%d: %q, want %q", octets, got, want)
		}
	}
	if got := phrase.Size("de", 2_345_678); got != "2,3 MB" {
		t.Error(got)
	}
	for d, want := range map[time.Duration]string{0: "0:00", 7400 * time.Millisecond: "0:07", 75 * time.Second: "1:15", 3723 * time.Second: "1:02:03"} {
		if got := phrase.Length(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{30 * time.Second: "30 s", time.Minute: "1 min", 90 * time.Second: "90 s", 2 * time.Hour: "2 h", 7 * 24 * time.Hour: "7 d", 25 * time.Hour: "25 h"} {
		if got := phrase.Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
