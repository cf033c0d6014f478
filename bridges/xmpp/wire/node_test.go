package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
)

func decode(text string) (*Node, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return nil, errors.New("no element")
	}
	return Read(d, start)
}

func write(t testing.TB, n *Node) string {
	t.Helper()
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	for r := n.Reader(); ; {
		tok, err := r.Token()
		if err == io.EOF {
			break
		}
		if err := e.EncodeToken(tok); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNode(t *testing.T) {
	n, err := decode(`<message xmlns="jabber:client" from="a" xml:lang="de"><body>one<b/>two</body><x xmlns="y" id="1"/><x xmlns="y" id="2"/></message>`)
	if err != nil {
		t.Fatal(err)
	}
	if n.Attr("from") != "a" || n.Attr("lang") != "" || n.Child("", "body").Chars() != "onetwo" || len(n.Children("y", "x")) != 2 || n.Child("y", "").Attr("id") != "1" {
		t.Errorf("%+v", n)
	}
	var none *Node
	if none.Attr("x") != "" || none.Chars() != "" || none.Child("", "x").Child("", "y") != nil {
		t.Error("nothing has something")
	}
	made := El("", "message", El("y", "x", El("", "z").Put("a<\x00&"))).With("to", "b\x01").With("id", "").Add(nil)
	made.Set("to", "c")
	made.Set("from", "d")
	if got, want := write(t, made), `<message to="c" from="d"><x xmlns="y"><z>a&lt;&amp;</z></x></message>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBounds(t *testing.T) {
	for what, text := range map[string]string{
		"deep": strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1),
		"wide": "<a>" + strings.Repeat("<b/>", maxNodes+1) + "</a>",
	} {
		if _, err := decode(text); !errors.Is(err, errOdd) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, text := range []string{"<a>", "<a><b></a>", "<a>\x00</a>"} {
		if _, err := decode(text); err == nil {
			t.Errorf("%q is an element", text)
		}
	}
	if got := Text("a\x00\x1f\ufffe\uffff\r\nb\rc\td\u0085𝕳\ufffd"); got != "a\nb\nc\td\u0085𝕳\ufffd" {
		t.Errorf("%q", got)
	}
}

func TestErrors(t *testing.T) {
	n, err := decode(`<message xmlns="jabber:component:accept" type="error" from="r@m"><error type="auth"><forbidden xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>` +
		`<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">Visitors must not speak</text></error></message>`)
	if err != nil {
		t.Fatal(err)
	}
	e := ErrorOf(n)
	if e.Kind != "auth" || e.Cond != "forbidden" || e.Error() != "forbidden (Visitors must not speak)" {
		t.Errorf("%+v", e)
	}
	if err := fmt.Errorf("wrapped: %w", e); !IsCond(err, "gone", "forbidden") || IsCond(err, "gone") || IsCond(io.EOF, "forbidden") {
		t.Error("conditions")
	}
	if e := ErrorOf(El("", "iq")); e.Cond != "undefined-condition" {
		t.Errorf("%+v", e)
	}
	reply := ErrorReply(El("", "iq").With("from", "a").With("to", "b").With("id", "1"), "cancel", "not-allowed", "no")
	if got := write(t, reply); got != `<iq type="error" id="1" to="a" from="b"><error type="cancel"><not-allowed xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"></not-allowed>`+
		`<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">no</text></error></iq>` {
		t.Error(got)
	}
	if _, err := ParseJID("a@"); !errors.Is(err, adapter.ErrNotFound) {
		t.Errorf("ParseJID: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for j, want := range map[string][3]string{
		"a@b.example/c/d@e": {"a@b.example", "c/d@e", "b.example"}, "b.example": {"b.example", "", "b.example"}, "": {},
	} {
		if got := [3]string{Bare(j), Resource(j), Domain(j)}; got != want {
			t.Errorf("%q: %q", j, got)
		}
	}
	if !Time("2026-11-22T01:02:03Z").Equal(time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)) || !Time("nonsense").IsZero() {
		t.Error("Time")
	}
	if Number("12") != 12 || Number("-1") != -1 || Number("x") != -1 {
		t.Error("Number")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`<message xmlns="jabber:client"><body>x</body></message>`)
	f.Add(`<a xmlns:b="c" b:d="e"><b:f/></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := decode(text)
		if err != nil {
			return
		}
		again, err := decode(write(t, n))
		if err != nil && strings.Contains(err.Error(), "invalid XML name") {
			return // <a:0/> is read, <0 xmlns="a"/> is not; we write our own names only
		}
		if err != nil {
			t.Fatalf("written as %s: %v", write(t, n), err)
		}
		if write(t, n) != write(t, again) {
			t.Fatalf("%s, then %s", write(t, n), write(t, again))
		}
		_, _ = ParseJID(n.Attr("from"))
		_ = ErrorOf(n).Error()
	})
}
