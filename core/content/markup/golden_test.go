package markup

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A golden file is a list of cases:
//
//	=== what it shows
//	--- in
//	the text to read
//	--- markdown
//	what it is as GFM-MIMI, and so on
//
// With -update everything but names and inputs is written anew.

// forms are what every input is written as.
var forms = []struct {
	name  string
	write func(Doc) string
}{
	{"markdown", Doc.Markdown},
	{"html", Doc.HTML},
	{"plain", func(d Doc) string { return d.Text(Plain) }},
	{"styling", func(d Doc) string { return d.Text(Styling) }},
	{"whatsapp", func(d Doc) string { return d.Text(WhatsApp) }},
}

type goldenCase struct {
	name     string
	sections map[string]string
}

func readGolden(t *testing.T, file string) []goldenCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	for _, chunk := range strings.Split("\n"+string(data), "\n=== ")[1:] {
		name, rest, _ := strings.Cut(chunk, "\n")
		c := goldenCase{name, map[string]string{}}
		for _, section := range strings.Split("\n"+rest, "\n--- ")[1:] {
			key, value, _ := strings.Cut(section, "\n")
			c.sections[key] = strings.TrimSuffix(value, "\n")
		}
		cases = append(cases, c)
	}
	return cases
}

func testGolden(t *testing.T, file string, read func(string) Doc) {
	cases := readGolden(t, file)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	var out strings.Builder
	for _, c := range cases {
		doc := read(c.sections["in"])
		fmt.Fprintf(&out, "=== %s\n--- in\n%s\n", c.name, c.sections["in"])
		for _, form := range forms {
			got := form.write(doc)
			fmt.Fprintf(&out, "--- %s\n%s\n", form.name, got)
			if want := c.sections[form.name]; got != want && !*update {
				t.Errorf("%s, %s:\n got %q\nwant %q", c.name, form.name, got, want)
			}
		}
		// What is written as GFM-MIMI reads as the same text again.
		if again := Parse(doc.Markdown()); again.HTML() != doc.HTML() {
			t.Errorf("%s: read again from %q:\n got %s\nwant %s", c.name, doc.Markdown(), again.HTML(), doc.HTML())
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", file), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoldenGFM(t *testing.T)  { testGolden(t, "gfm.txt", Parse) }
func TestGoldenHTML(t *testing.T) { testGolden(t, "html.txt", ParseHTML) }
func TestGoldenStyling(t *testing.T) {
	testGolden(t, "styling.txt", func(s string) Doc { return ParseText(s, Styling) })
}
func TestGoldenWhatsApp(t *testing.T) {
	testGolden(t, "whatsapp.txt", func(s string) Doc { return ParseText(s, WhatsApp) })
}
func TestGoldenPlain(t *testing.T) {
	testGolden(t, "plain.txt", func(s string) Doc { return ParseText(s, Plain) })
}
