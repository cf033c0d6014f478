package talk

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

var update = flag.Bool("update", false, "write the golden files")

// decode reads one element.
func decode(text []byte) (*wire.Node, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		if start, ok := tok.(xml.StartElement); ok {
			return wire.Read(d, start)
		}
	}
}

// place is a room in which Ann and our Ben are.
func place(t testing.TB) Place {
	ben := user(t, "mimi://elsewhere.example/u/ben")
	return Place{Ref: Stamped, Nicks: func() map[string]string {
		return map[string]string{"Ann": OccupantPerson("room@muc.example", "ann").URL(), "Ben": ben.String()}
	}}
}

// TestEvents converts the stanzas of testdata/in, one file each, and compares with the golden files beside them.
func TestEvents(t *testing.T) {
	files, err := filepath.Glob("testdata/in/*.xml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d stanzas, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n, err := decode(text)
			if err != nil {
				t.Fatal(err)
			}
			ev, corrects, ok := place(t).Event(n)
			golden(t, strings.TrimSuffix(file, ".xml")+".txt", describe(ev, corrects, ok))
		})
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// describe is an event in words.
func describe(ev adapter.Event, corrects string, ok bool) string {
	if !ok {
		return "nothing\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%T\n", ev.Body)
	if !ev.Marker.IsZero() {
		fmt.Fprintf(&b, "marker %s\n", ev.Marker)
	}
	if corrects != "" {
		fmt.Fprintf(&b, "corrects %s\n", corrects)
	}
	m, is := ev.Body.(adapter.Message)
	if !is {
		fmt.Fprintf(&b, "%+v\n", ev.Body)
		return b.String()
	}
	fmt.Fprintf(&b, "replaces %q, answers %q, deletes %v\n", m.Replaces, m.InReplyTo, m.Content.Body.IsNull())
	for i, p := range m.Content.Body.Walk() {
		switch body := p.Body.(type) {
		case content.Single:
			fmt.Fprintf(&b, "%d %s %q\n", i, body.ContentType, body.Content)
		case content.External:
			text, _ := json.Marshal(body)
			fmt.Fprintf(&b, "%d %s\n", i, text)
		case content.Multi:
			fmt.Fprintf(&b, "%d multi %d\n", i, body.Semantics)
		}
	}
	return b.String()
}

// FuzzEvent feeds whatever decodes to the conversion, and what comes out of it to the suite's rules.
func FuzzEvent(f *testing.F) {
	files, err := filepath.Glob("testdata/in/*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	p := place(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := decode(text)
		if err != nil {
			return
		}
		ev, _, ok := p.Event(n)
		if ok != (ev.Body != nil) {
			t.Fatalf("%v, but %+v", ok, ev)
		}
		if m, is := ev.Body.(adapter.Message); is && (m.Content == nil || m.Content.Body.IsNull() && m.Replaces == "") {
			t.Fatalf("%+v", m)
		}
		if id := Made(n, time.Time{}); id == Given("") {
			t.Fatal("no id")
		}
		again, err := decode(marshal(t, n))
		if err != nil && strings.Contains(err.Error(), "invalid XML name") {
			return // <a:0/> is read, <0 xmlns="a"/> is not; we write our own names only
		}
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%s", err, marshal(t, n))
		}
		_, _, ok2 := p.Event(again)
		if ok != ok2 {
			t.Fatalf("%v, and after writing and reading %v", ok, ok2)
		}
	})
}

// marshal writes an element as the stream does.
func marshal(t testing.TB, n *wire.Node) []byte {
	t.Helper()
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	r := n.Reader()
	for {
		tok, err := r.Token()
		if tok == nil {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := e.EncodeToken(tok); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
