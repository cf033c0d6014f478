package phrase

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

var verb = regexp.MustCompile(`%(\[\d+\])?[a-z]`)

// TestComplete: every phrase has a German text with the same verbs, and no text is left over.
func TestComplete(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "phrase.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		english, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		text, ok := german[Phrase(english)]
		if !ok {
			t.Errorf("no German for %q", english)
		}
		if have, want := verb.FindAllString(text, -1), verb.FindAllString(english, -1); !slices.Equal(have, want) {
			t.Errorf("%q has the verbs %v, want %v", text, have, want)
		}
		return true
	})
	if found != len(german) || found == 0 {
		t.Errorf("%d phrases, %d translations", found, len(german))
	}
}

func TestSay(t *testing.T) {
	for language, want := range map[string]string{"de-AT": "Abhilfe: ja", "de": "Abhilfe: ja", "en": "Do: ja", "fr": "Do: ja", "": "Do: ja"} {
		if got := Say(language, Do, "ja"); got != want {
			t.Errorf("%s: %q", language, got)
		}
	}
}
