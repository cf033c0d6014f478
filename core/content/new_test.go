package content

import (
	"strings"
	"testing"

	"mimigate/core/content/markup"
)

func TestDoc(t *testing.T) {
	for typ, want := range map[string]string{
		TypeText: "*a* <b>", "text/plain": "*a* <b>", TypeMarkdown: "_a_ <b>", "text/markdown;variant=CommonMark": "_a_ <b>", TypeHTML: "*a*",
	} {
		p := Part{Body: Single{ContentType: typ, Content: []byte("*a* <b>")}}
		if got := p.Doc().Text(markup.Styling); strings.ReplaceAll(got, "\u200b", "") != want {
			t.Errorf("%s: %q, want %q", typ, got, want)
		}
	}
	for _, p := range []Part{{}, {Body: Single{ContentType: "image/png"}}, {Body: External{ContentType: TypeText}}, Album(TextPart("a"), TextPart("b"))} {
		if d := p.Doc(); d != nil {
			t.Errorf("%+v: %+v", p, d)
		}
	}
	if got := string(MarkdownPart("*x* <b>").Body.(Single).Content); got != "_x_ &lt;b>" {
		t.Errorf("HTML sent: %q", got)
	}
	for in, want := range map[string]string{"a\nb": TypeText, "*a*": TypeMarkdown, "a \\*": TypeText} {
		if got := DocPart(markup.Parse(in)).Body.(Single).ContentType; got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestSafeFilename(t *testing.T) {
	for in, want := range map[string]string{
		"photo.jpg": "photo.jpg", "/etc/passwd": "passwd", `C:\x\y.exe`: "y.exe", "../..": "", "..": "", ".": "", "": "", ".bashrc": "bashrc", "a\x00b\nc.txt": "abc.txt",
		"gpj\u202eexe.jpg": "gpjexe.jpg", "a:b?.txt": "ab.txt", "dir/": "", "ö ü.pdf ": "ö ü.pdf", "a\xff.txt": "a\uFFFD.txt", "con.": "con", "\u200bx": "x",
	} {
		if got := SafeFilename(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	long := SafeFilename(strings.Repeat("ä", 300) + ".jpeg")
	if len(long) > 200 || !strings.HasSuffix(long, ".jpeg") || strings.ContainsRune(long, '\uFFFD') {
		t.Errorf("%q", long)
	}
}
