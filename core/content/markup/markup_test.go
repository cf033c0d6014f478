package markup

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestMapLinks(t *testing.T) {
	d := Parse("> - **[@Ann](person:ann)** and [x](https://a.example) ![p](https://a.example/p)")
	got := d.MapLinks(func(n Node) Node {
		if n.IsMention() {
			return Node{Kind: Text, Text: "@491"}
		}
		return n
	})
	if s := got.Text(WhatsApp); s != "> - *@491* and x (https://a.example) p (https://a.example/p)" {
		t.Errorf("%q", s)
	}
	if s := d.Markdown(); !strings.Contains(s, "person:ann") {
		t.Errorf("the original changed: %q", s)
	}
	if same := d.MapLinks(func(n Node) Node { return n }); !reflect.DeepEqual(same, d) {
		t.Errorf("changed by nothing: %+v", same)
	}
	if links := d.Links(); len(links) != 2 || links[0].URL != "person:ann" || !links[0].IsMention() || links[1].IsMention() {
		t.Errorf("links: %+v", links)
	}
}

func TestRewriteLinks(t *testing.T) {
	toPerson := func(target string) string {
		if target == "mimi://a.example/u/ann" {
			return "person:ann%40x"
		}
		return target
	}
	for in, want := range map[string]string{
		"*Hi* [@Ann](mimi://a.example/u/ann)!": "_Hi_ [@Ann](person:ann%40x)!",
		"*Hi* <mimi://a.example/u/ann>":        "_Hi_ [mimi://a.example/u/ann](person:ann%40x)",
		"*as it* is,  [b](https://b.example)":  "*as it* is,  [b](https://b.example)",
		"`[@Ann](mimi://a.example/u/ann)`":     "`[@Ann](mimi://a.example/u/ann)`",
	} {
		if got := RewriteLinks(in, toPerson); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	unsafe := RewriteLinks("[a](https://a.example)", func(string) string { return "javascript:x" })
	if unsafe != "a (javascript:x)" {
		t.Errorf("unsafe target: %q", unsafe)
	}
}

func TestNoHTML(t *testing.T) {
	for in, want := range map[string]string{
		"*a* < b  **c**": "*a* < b  **c**", "a <b>x</b>": "a &lt;b>x&lt;/b>", "`<b>` <https://a.example>": "`<b>` <https://a.example>", "<!-- x -->\n\n*y*": "&lt;!-- x -->\n\n_y_",
		"```\n<script>\n```": "```\n<script>\n```", "<div>\n\n<?php ?> <![CDATA[x]]>": "&lt;div>\n\n&lt;?php ?> &lt;![CDATA[x]]>", "a\r\n\xff": "a\n\uFFFD",
	} {
		if got := NoHTML(in); got != want || NoHTML(got) != got {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestBy(t *testing.T) {
	for in, want := range map[string]string{
		"hello":       "**Ann \\*:** hello",
		"a\n\nb":      "**Ann \\*:** a\n\nb",
		"# head":      "**Ann \\*:**\n\n# head",
		"- x":         "**Ann \\*:**\n\n- x",
		"> q\n\nthen": "**Ann \\*:**\n\n> q\n\nthen",
		"":            "**Ann \\*:**",
	} {
		d := Parse(in)
		if got := d.By("Ann *").Markdown(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again := Parse(in); !reflect.DeepEqual(again, d) {
			t.Errorf("%q: the original changed", in)
		}
	}
	if got := Parse("hello").By("Ann").Text(WhatsApp); got != "*Ann:* hello" {
		t.Errorf("%q", got)
	}
}

func TestIsPlain(t *testing.T) {
	for in, want := range map[string]bool{
		"a\nb\n\nc": true, "": true, "1 < 2 \\*": true, "*a*": false, "# a": false, "- a": false, "a `b`": false, "<https://a.example>": false, "a\n\n---": false,
	} {
		if got := Parse(in).IsPlain(); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestWarning(t *testing.T) {
	for in, want := range map[string]Warning{
		"[the bank](https://evil.example)":                              NoWarning,
		"[https://bank.example](https://bank.example/login)":            NoWarning,
		"[bank.example](https://www.bank.example/)":                     NoWarning,
		"[www.bank.example](https://bank.example/)":                     NoWarning,
		"[https://bank.example](https://evil.example)":                  OtherHost,
		"[bank.example](https://evil.example)":                          OtherHost,
		"[bank.example](https://bank.example.evil.example)":             OtherHost,
		"[https://bank.example@evil.example](https://bank.example)":     OtherHost,
		"[https://bank.example](https://bank.example@evil.example)":     OtherHost,
		"[HTTPS://Bank.example](https://bank.example)":                  NoWarning,
		"[https://bank.example](http://bank.example)":                   Downgraded,
		"[bank.example](http://bank.example)":                           NoWarning,
		"[https://bank.example:8443/x?y#z](https://bank.example:443/)":  NoWarning,
		"[e.g. this](https://a.example)":                                NoWarning,
		"[1.2.3.4](https://a.example)":                                  OtherHost,
		"[a@b.example](mailto:a@b.example)":                             NoWarning,
		"[bank.example](mimi://a.example/u/x)":                          NoWarning,
		"[**bank**.example](https://evil.example)":                      OtherHost,
		"[v1.2](https://a.example)":                                     NoWarning,
		"[https://bank.example](mailto:x@evil.example)":                 OtherHost,
		"[https://bank.example and more words here](https://e.example)": NoWarning,
	} {
		links := Parse(in).Links()
		if len(links) != 1 {
			t.Fatalf("%q: %d links", in, len(links))
		}
		if got := links[0].Warning(); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestUnsafeTargets(t *testing.T) {
	for _, target := range []string{
		"javascript:alert(1)", "JAVASCRIPT:x", " javascript:x", "java\tscript:x", "java\nscript:x", "\x01javascript:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
		"blob:x", "about:blank", "intent:x", "/path", "//host", "#x", "", "https", "https:", ":", "https://a\u202e.example", strings.Repeat("x", maxURL), "https://" + strings.Repeat("x", maxURL),
	} {
		if n := NewLink(target, Node{Kind: Text, Text: "x"}); n.Kind != Text {
			t.Errorf("%q is a link: %+v", target, n)
		}
	}
	if n := NewLink("HTTPS://a.example/ä ö\"<b>", Node{Kind: Text, Text: "x"}); n.URL != "https://a.example/ä%20ö%22%3Cb%3E" {
		t.Errorf("%+v", n)
	}
}

func TestExcerpt(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"**one** two\n\nthree", 100, "one two three"}, {"one two three", 7, "one two…"}, {"one two three", 8, "one two…"}, {"👩🏽‍⚕️👩🏽‍⚕️👩🏽‍⚕️", 2, "👩🏽‍⚕️👩🏽‍⚕️…"}, {"", 5, ""}, {"abc", 3, "abc"},
	} {
		if got := Parse(c.in).Excerpt(c.n); got != c.want {
			t.Errorf("%q, %d: %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestSplitText(t *testing.T) {
	family := "👨‍👩‍👧‍👦" // 25 octets, one character
	for _, c := range []struct {
		name  string
		in    string
		limit int
		want  []string
	}{
		{"short", "abc", 10, []string{"abc"}},
		{"no limit", strings.Repeat("x", 99), 0, []string{strings.Repeat("x", 99)}},
		{"paragraphs", "one one.\n\ntwo two two", 14, []string{"one one.", "two two two"}},
		{"lines", "one one\ntwo two\nthree", 14, []string{"one one", "two two\nthree"}},
		{"sentences", "One one one. Two two two two", 18, []string{"One one one.", "Two two two two"}},
		{"words", "alpha beta gamma delta", 12, []string{"alpha beta", "gamma delta"}},
		{"one word", "aaaaaaaaaaaaaaaaaaaa", 8, []string{"aaaaaaaa", "aaaaaaaa", "aaaa"}},
		{"characters", family + family + family, 60, []string{family + family, family}},
		{"a character longer than the limit", family, 10, []string{"👨‍", "👩‍", "👧‍", "👦"}},
		{"combining marks", strings.Repeat("e\u0301", 4), 7, []string{"e\u0301e\u0301", "e\u0301e\u0301"}},
		{"flags", "🇩🇪🇫🇷🇮🇹", 20, []string{"🇩🇪🇫🇷", "🇮🇹"}},
		{"not UTF-8", "ab\xffcd", 4, []string{"ab", "\uFFFDc", "d"}},
	} {
		got := SplitText(c.in, c.limit)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, in string
		limit    int
		want     []string
	}{
		{"short", "**a**", 10, []string{"**a**"}},
		{"blocks", "one one one\n\ntwo two two", 20, []string{"one one one", "two two two"}},
		{"within bold", "**alpha beta gamma delta**", 20, []string{"**alpha beta gamma**", "**delta**"}},
		{"list", "7. one\n8. two\n9. three\n10. four", 18, []string{"7. one\n8. two", "9. three\n10. four"}},
		{"item", "1. alpha beta gamma\n2. delta", 18, []string{"1. alpha beta", "1. gamma\n2. delta"}},
		{"quote", "> alpha beta\n> gamma delta", 16, []string{"> alpha beta", "> gamma delta"}},
		{"code", "```go\nline one\nline two\n```", 24, []string{"```go\nline one\n```", "```go\nline two\n```"}},
		{"link stays whole", "alpha beta [two words](https://a.example)", 40, []string{"alpha beta", "[two words](https://a.example)"}},
		{"link too long", "[a](https://a.example/" + strings.Repeat("x", 30) + ")", 24, []string{"a", "(https://a.example/xxxxx", strings.Repeat("x", 24), "x)"}},
	} {
		var got []string
		for _, piece := range Parse(c.in).Split(c.limit) {
			got = append(got, piece.Markdown())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestLong and TestHostile: nothing takes long, whatever is read.
func TestLong(t *testing.T) {
	long := strings.Repeat("**bold** text\n", MaxLen/13)
	if d := Parse(long); d.IsPlain() != true || words(d) != words(Doc{{Kind: Paragraph, Children: text(long)}}) {
		t.Error("text longer than MaxLen is not plain")
	}
	if d := ParseHTML(strings.Repeat("<b>x</b><script>y</script>&lt;", MaxLen)); !d.IsPlain() || strings.Contains(d[0].Label(), "y") {
		t.Error("HTML that is too long is not its text")
	}
}

func TestHostile(t *testing.T) {
	n := 40_000
	for name, in := range map[string]string{
		"quotes": strings.Repeat(">", n), "quotes apart": strings.Repeat("> ", n/2), "lists": strings.Repeat("- ", n/2), "deep lists": nest("- x", n),
		"brackets": strings.Repeat("[", n), "links": strings.Repeat("[a](", n/4), "stars": strings.Repeat("*", n), "star words": strings.Repeat("*a ", n/3),
		"strong words": strings.Repeat("**a ", n/4), "mixed": strings.Repeat("*a_ ", n/4), "ticks": ticks(n), "entities": strings.Repeat("&", n), "tildes": strings.Repeat("~a ", n/3),
		"table": "|a|\n|-|\n" + strings.Repeat("|", n), "columns": strings.Repeat("|a", n/8) + "\n" + strings.Repeat("|-", n/8) + "\n" + strings.Repeat("x\n", n/8), "angles": strings.Repeat("<a", n/2), "nested links": strings.Repeat("![", n/2) + strings.Repeat("](a)", n/4),
		"definitions": strings.Repeat("[a]: b\n", n/7), "tabs": strings.Repeat("\t>", n/2), "lines of quotes": strings.Repeat(strings.Repeat(">", 90)+"\n", n/91), "numbers": strings.Repeat("1) ", n/3),
		"zalgo": "a" + strings.Repeat("\u0301", n/2), "dashes": strings.Repeat("-", n), "spoiler": strings.Repeat("a\n", n/2), "closers": strings.Repeat("a** ", n/4), "nested emphasis": strings.Repeat("*a **b ", n/7) + strings.Repeat("c** d*", n/7),
	} {
		start := time.Now()
		d := Parse(in)
		d.HTML()
		d.Split(3500)
		ParseText(in, Styling).Text(Styling)
		ParseText(in, WhatsApp).Markdown()
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		} else if took > 3*time.Second {
			t.Logf("%s: took %v", name, took)
		}
	}
	for name, in := range map[string]string{
		"divs": strings.Repeat("<div>", n/5), "bold": strings.Repeat("<b>", n/3), "quotes": strings.Repeat("<blockquote>", n/12), "lists": strings.Repeat("<ul><li>", n/8),
		"tables": strings.Repeat("<table><tr><td>", n/15), "open tags": strings.Repeat("<a ", n/3), "attributes": "<a" + strings.Repeat(" a=b", n) + ">", "deep text": strings.Repeat("<i>", 400) + strings.Repeat("x<br>", n/6),
	} {
		start := time.Now()
		d := ParseHTML(in)
		d.Markdown()
		d.Split(3500)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("HTML %s: took %v", name, took)
		} else if took > 3*time.Second {
			t.Logf("HTML %s: took %v", name, took)
		}
	}
}

func nest(item string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.Repeat("  ", i) + item + "\n")
	}
	return b.String()
}

func ticks(n int) string {
	var b strings.Builder
	for i := 1; b.Len() < n; i++ {
		b.WriteString(strings.Repeat("`", i) + " ")
	}
	return b.String()
}

// words returns the letters and digits that a text shows.
func words(d Doc) string {
	var b strings.Builder
	for _, n := range d {
		b.WriteString(n.Label())
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, b.String())
}

// check holds for every text that was read, from wherever.
func check(t *testing.T, d Doc) {
	t.Helper()
	checkHTML(t, d.HTML())
	if !utf8.ValidString(d.Markdown()) || !utf8.ValidString(d.Text(Plain)) {
		t.Fatal("not UTF-8")
	}
	md := d.Markdown()
	if got, want := words(Parse(md)), words(d); got != want && len(md) <= MaxLen {
		t.Fatalf("written as %q says\n%q, not\n%q", md, got, want)
	}
	var pieces strings.Builder
	for _, piece := range d.Split(120) {
		if !piece.fits(120) {
			t.Fatalf("a piece is longer than 120: %q", piece.Markdown())
		}
		pieces.WriteString(words(piece))
	}
	// Where formatting is given up, addresses and numbers are said too; nothing is left out.
	if all := pieces.String(); !subsequence(words(d), all) {
		t.Fatalf("split, it says\n%q, not\n%q", all, words(d))
	}
	for _, style := range []Style{Plain, Styling, WhatsApp} {
		d.Text(style)
	}
}

func subsequence(part, whole string) bool {
	rest := []rune(whole)
	for _, r := range part {
		i := slices.Index(rest, r)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return true
}

// checkHTML parses HTML that we wrote: nothing is in it but what Matrix allows, and no link that would run.
func checkHTML(t *testing.T, s string) {
	t.Helper()
	elements := []string{"a", "strong", "em", "del", "code", "pre", "br", "p", "blockquote", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table", "thead", "tbody", "tr", "th", "td"}
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.CommentToken, html.DoctypeToken:
			t.Fatalf("comment or doctype in %q", s)
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if !slices.Contains(elements, token.Data) {
				t.Fatalf("element %s in %q", token.Data, s)
			}
			for _, a := range token.Attr {
				scheme, _, _ := strings.Cut(a.Val, ":")
				ok := a.Key == "href" && token.Data == "a" && slices.Contains(schemes, scheme) || a.Key == "start" && token.Data == "ol" ||
					a.Key == "class" && token.Data == "code" && strings.HasPrefix(a.Val, "language-")
				if !ok {
					t.Fatalf("attribute %s=%q in %q", a.Key, a.Val, s)
				}
			}
		}
	}
}

// seed adds the inputs of the golden files.
func seed(f *testing.F) {
	t := &testing.T{}
	for _, file := range []string{"gfm.txt", "html.txt", "styling.txt", "whatsapp.txt", "plain.txt"} {
		for _, c := range readGolden(t, file) {
			f.Add(c.sections["in"])
		}
	}
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) { check(t, Parse(s)) })
}

func FuzzParseHTML(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) { check(t, ParseHTML(s)) })
}

func FuzzParseText(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) {
		for _, style := range []Style{Plain, Styling, WhatsApp} {
			check(t, ParseText(s, style))
		}
		// Plain text says exactly what it did.
		d := ParseText(s, Plain)
		if again := Parse(d.Markdown()); len(s) < MaxLen/4 && d.Text(Plain) != again.Text(Plain) {
			t.Fatalf("written as %q\n got %q\nwant %q", d.Markdown(), again.Text(Plain), d.Text(Plain))
		}
	})
}

func FuzzSplitText(f *testing.F) {
	f.Add("one two. three\n\nfour 👨‍👩‍👧‍👦 é", 9)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit > 1<<20 {
			return
		}
		var all strings.Builder
		for _, piece := range SplitText(s, limit) {
			if limit > 0 && len(piece) > max(limit, 4) || !utf8.ValidString(piece) {
				t.Fatalf("piece %q", piece)
			}
			all.WriteString(piece)
		}
		blanks := strings.NewReplacer(" ", "", "\n", "")
		if got, want := blanks.Replace(all.String()), blanks.Replace(strings.ToValidUTF8(s, "\uFFFD")); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
