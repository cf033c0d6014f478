package native

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var ours = Names{Prefix: "mimi_", Server: "hs.test", Self: "@bot:hs.test"}

func user(t testing.TB, s string) uri.User {
	t.Helper()
	u, err := uri.ParseUser(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func reader() Reader {
	return Reader{Names: ours, Name: func(u id.UserID) string { return "Name of " + u.Localpart() },
		User: func(u id.UserID) uri.User { who, _ := ours.User(u); return who }}
}

// TestGoldenReceive reads testdata/receive.txt: "=== name", the event's type and content as JSON on the next line, and what it becomes.
func TestGoldenReceive(t *testing.T) {
	golden(t, "receive.txt", func(in string) string {
		kind, body, _ := strings.Cut(in, " ")
		raw := fmt.Sprintf(`{"type":%q,"event_id":"$new","room_id":"!r:hs.test","sender":"@ann:hs.test","content":%s}`, kind, body)
		ev, err := Parse(json.RawMessage(raw))
		if err != nil {
			return err.Error()
		}
		m, ok := reader().Message(ev)
		if !ok {
			return "nothing"
		}
		return describe(m)
	})
}

func golden(t *testing.T, name string, f func(in string) string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cases := strings.Split("\n"+string(data), "\n=== ")[1:]
	for _, c := range cases {
		lines := strings.SplitN(strings.TrimRight(c, "\n"), "\n", 3)
		if len(lines) < 2 {
			t.Fatalf("%s: case without input: %q", name, c)
		}
		got, want := f(lines[1]), ""
		if len(lines) == 3 {
			want = lines[2]
		}
		if got != want && !*update {
			t.Errorf("%s\n got %s\nwant %s", lines[0], got, want)
		}
		fmt.Fprintf(&out, "=== %s\n%s\n%s\n\n", lines[0], lines[1], got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
}

func describe(m adapter.Message) string {
	var b strings.Builder
	for _, one := range []struct {
		name string
		id   adapter.NativeID
	}{{"replaces", m.Replaces}, {"in reply to", m.InReplyTo}, {"thread", m.Thread}} {
		if one.id != "" {
			fmt.Fprintf(&b, "%s %s\n", one.name, one.id)
		}
	}
	if m.Pending {
		b.WriteString("pending\n")
	}
	for i, p := range m.Content.Body.Walk() {
		fmt.Fprintf(&b, "%d %v", i, p.Kind())
		switch body := p.Body.(type) {
		case content.Single:
			fmt.Fprintf(&b, " %s %q", p.MediaType(), body.Content)
		case content.External:
			blob, _ := adapter.ParseBlob(body.URL)
			fmt.Fprintf(&b, " %s %s name %q size %d", p.MediaType(), blob, body.Filename, body.Size)
			if !p.Media.IsZero() {
				fmt.Fprintf(&b, " %+v", p.Media)
			}
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n")
}

// outbound are the messages of testdata/send.txt.
func outbound(t *testing.T) []struct {
	name string
	w    Writer
	body content.Part
} {
	alice := user(t, "mimi://a.example/u/alice")
	app := Writer{Mentioned: func(u uri.User) id.UserID {
		if u == alice {
			return ours.Of(u)
		}
		return ""
	}}
	bot := Writer{Author: "Alice & <Co>", Mentioned: func(uri.User) id.UserID { return "" }}
	photo := content.FilePart(content.External{ContentType: "image/png", URL: adapter.Blob("mxc://hs.test/abc").URL(), Size: 5, Filename: "a.png"},
		content.Media{Width: 4, Height: 3})
	voice := content.FilePart(content.External{ContentType: "audio/ogg", URL: adapter.Blob("mxc://hs.test/v").URL()},
		content.Media{Role: content.MediaVoice, Duration: 1500 * time.Millisecond})
	sticker := content.FilePart(content.External{ContentType: "image/webp", URL: adapter.Blob("mxc://hs.test/s").URL(), Description: "a fox"},
		content.Media{Role: content.MediaSticker})
	place := content.Part{Disposition: content.Render, Body: content.Single{ContentType: content.TypeLocation,
		Content: []byte(`{"type":"Feature","geometry":{"type":"Point","coordinates":[13.4,52.5]}}`)}}
	mention := "**Hello** [@Ann](person:@ann%3Ahs.test), [@Alice](mimi://a.example/u/alice), [@Eve](mimi://e.example/u/eve) " +
		"[site](https://a.example/?a=1&b=2) `x<y` <b>no html</b>\n\n- one\n- two"
	return []struct {
		name string
		w    Writer
		body content.Part
	}{
		{"plain", app, content.TextPart("*as it is* <b>&amp;\r\nnext\x00 line")},
		{"formatted, with mentions", app, content.MarkdownPart(mention)},
		{"markdown without formatting", app, content.MarkdownPart(`just \*text\*`)},
		{"not a user", app, content.MarkdownPart("[@odd](person:nobody)")},
		{"a notice", Writer{Notice: true, Mentioned: app.Mentioned}, content.TextPart("hello")},
		{"plain, author in the text", bot, content.TextPart("two\nlines")},
		{"formatted, author in the text", bot, content.MarkdownPart(mention)},
		{"picture", app, photo},
		{"picture, author in the text", bot, photo},
		{"picture with caption", app, content.Captioned(photo, content.MarkdownPart("*look*"))},
		{"voice", app, voice},
		{"sticker", app, sticker},
		{"sticker, author in the text", bot, sticker},
		{"album", app, content.Album(photo, content.TextPart("and"), voice)},
		{"place", app, content.Alternatives(place, content.TextPart("geo:52.5,13.4"))},
		{"place, author in the text", bot, place},
		{"unknown, or text", app, content.Alternatives(content.Part{Body: content.Single{ContentType: "application/x-odd"}}, content.TextPart("in words"))},
		{"unknown alone", app, content.Part{Body: content.Single{ContentType: "text/vcard", Content: []byte("BEGIN:VCARD")}}},
		{"a file that is elsewhere", app, content.FilePart(content.External{ContentType: "image/png", URL: "https://a.example/x.png", Filename: "x.png"}, content.Media{})},
		{"call", app, content.CallPart("https://meet.example/x", "Weekly")},
		{"nested", app, content.Album(content.Captioned(photo, content.TextPart("first")), content.Alternatives(place, content.TextPart("words")), content.TextPart("last"))},
		{"nothing", app, content.Part{}},
	}
}

func TestGoldenSend(t *testing.T) {
	all := outbound(t)
	if *update {
		var b strings.Builder
		for i, c := range all {
			fmt.Fprintf(&b, "=== %s\n%d\n\n", c.name, i)
		}
		if err := os.WriteFile(filepath.Join("testdata", "send.txt"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	golden(t, "send.txt", func(in string) string {
		var i int
		if _, err := fmt.Sscan(in, &i); err != nil || i >= len(all) {
			return "no such message"
		}
		seen++
		var lines []string
		for _, o := range all[i].w.Body(all[i].body) {
			var text bytes.Buffer
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			if err := e.Encode(o.Content); err != nil {
				return err.Error()
			}
			lines = append(lines, fmt.Sprintf("%d.%d %s %s", o.Part, o.Piece, o.Kind, strings.TrimSpace(text.String())))
		}
		return strings.Join(lines, "\n")
	})
	if seen != len(all) {
		t.Errorf("%d of %d messages are in send.txt: run with -update", seen, len(all))
	}
}
