package invitation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

func sample(t testing.TB) Invitation {
	t.Helper()
	p, err := uri.NewProvider("chat.klinik.example")
	if err != nil {
		t.Fatal(err)
	}
	a, err := trust.NewAuthority(p.Domain(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return Invitation{Domain: p, URL: "https://mimi.klinik.example:8443", CA: a.Certificate()}
}

func same(a, b Invitation) bool {
	return a.Domain == b.Domain && a.URL == b.URL && (a.CA == nil) == (b.CA == nil) && (a.CA == nil || a.CA.Equal(b.CA))
}

// TestParse: an invitation survives what mails and chats do to a text.
func TestParse(t *testing.T) {
	own := sample(t)
	public := own
	public.CA = nil
	for _, i := range []Invitation{own, public} {
		text := i.String()
		if len(text) > 1200 {
			t.Errorf("%d characters are not short", len(text))
		}
		for how, text := range map[string]string{
			"as it is":         text,
			"on one line":      strings.ReplaceAll(text, "\n", ""),
			"with blanks":      strings.ReplaceAll(text, "\n", " \r\n\t"),
			"quoted in a mail": "> " + strings.ReplaceAll(text, "\n", "\n> "),
			"in quotes":        "“" + text + "”",
			"as code":          "```\n" + text + "\n```\n",
			"soft breaks":      strings.ReplaceAll(text, "A", "A\u200b"),
			"padded":           text + "==",
		} {
			if got, err := Parse(text); err != nil || !same(got, i) {
				t.Errorf("%s: %v", how, err)
			}
		}
	}
	if a, b := own.Fingerprint(), sample(t).Fingerprint(); a == b || len(a) != 64+15 {
		t.Errorf("fingerprints %q %q", a, b)
	}
}

// TestMangled: whatever happens to a text, it is said, and nothing else is read into it.
func TestMangled(t *testing.T) {
	i := sample(t)
	text := strings.ReplaceAll(i.String(), "\n", "")
	head := strings.Index(text, ":") + 1
	for n := range text {
		var want error = ErrMangled
		if n < head {
			want = ErrNoInvitation
		}
		if _, err := Parse(text[:n]); !errors.Is(err, want) {
			t.Fatalf("cut after %d: %v", n, err)
		}
		changed := []byte(text)
		changed[n] = 'A' + (changed[n]+1)%26
		if got, err := Parse(string(changed)); err == nil && !same(got, i) {
			t.Fatalf("changed at %d: is taken", n)
		}
	}
	for text, want := range map[string]error{
		"":                             ErrNoInvitation,
		"hello":                        ErrNoInvitation,
		"mimigate-peer-9:AAAA":         ErrVersion,
		"mimigate-peer-0:AAAA":         ErrMangled,
		"mimigate-peer-1:":             ErrMangled,
		"mimigate-peer-1:!!!!":         ErrMangled,
		text + text:                    ErrMangled,
		strings.Repeat("x", textMax+1): ErrMangled,
		Invitation{Domain: i.Domain, URL: "http://x.example"}.String():            ErrContent,
		Invitation{Domain: i.Domain, URL: "https://x.example/path"}.String():      ErrContent,
		Invitation{Domain: i.Domain, URL: "https://me:secret@x.example"}.String(): ErrContent,
		Invitation{URL: "https://x.example"}.String():                             ErrContent,
	} {
		if _, err := Parse(text); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f).String())
	f.Add("mimigate-peer-1:AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		i, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(i.String())
		if err != nil || !same(i, again) {
			t.Errorf("%v", err)
		}
	})
}
