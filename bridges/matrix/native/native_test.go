package native

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

func TestNames(t *testing.T) {
	for address, want := range map[string]id.UserID{
		"mimi://a.example/u/alice":           "@mimi_u_a.example_alice:hs.test",
		"mimi://a.example/p/Zm9v":            "@mimi_p_a.example_=5am9v:hs.test",
		"mimi://a.example/u/alice/phone":     "@mimi_u_a.example_alice_phone:hs.test",
		"mimi://a.example/u/a_b/%20c%C3%BC=": "@mimi_u_a.example_a=5fb_=2520c=25=433=25=42=43=3d:hs.test",
	} {
		u := user(t, address)
		if got := ours.Of(u); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
		if back, ok := ours.User(want); !ok || back != u {
			t.Errorf("%s is %s, want %s", want, back, u)
		}
		if _, _, err := want.ParseAndValidateStrict(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	long := user(t, "mimi://a.example/u/"+strings.Repeat("%C3%84", 40))
	hashed := ours.Of(long)
	if !ours.IsHashed(hashed) || !ours.Ours(hashed) || len(hashed) > 255 || ours.Of(long) != hashed {
		t.Errorf("%d octets: %s", len(hashed), hashed)
	}
	if _, ok := ours.User(hashed); ok {
		t.Error("a hash was read back")
	}
	if _, _, err := hashed.ParseAndValidateStrict(); err != nil {
		t.Error(err)
	}
	for _, other := range []id.UserID{"@ann:hs.test", "@mimi_u_a.example_alice:other.test", "@mimi:hs.test", "", "@", "mimi_u_a.example_alice:hs.test"} {
		if _, ok := ours.User(other); ok || ours.Ours(other) {
			t.Errorf("%s is taken for ours", other)
		}
	}
	for _, odd := range []id.UserID{"@mimi_u_a.example:hs.test", "@mimi_x_a.example_b:hs.test", "@mimi_u_a.example_=zz:hs.test", "@mimi_u_a.example_=4:hs.test",
		"@mimi_u_a..example_b:hs.test", "@mimi_u_a.example_=00:hs.test", "@mimi_u_a.example_:hs.test"} {
		if u, ok := ours.User(odd); ok {
			t.Errorf("%s is read as %s", odd, u)
		}
	}
	bot := Names{Server: "hs.test", Self: "@bot:hs.test"}
	if bot.Of(long) != bot.Self || bot.Ours("@mimi_u_a.example_alice:hs.test") || !bot.Ours("@bot:hs.test") {
		t.Error("an account that has no other names")
	}
}

func FuzzNames(f *testing.F) {
	f.Add("mimi://a.example/u/alice")
	f.Add("mimi://a.example/p/%20_=/x")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := uri.ParseUser(s)
		if err != nil {
			if who, ok := ours.User(id.UserID(s)); ok && ours.Of(who) != id.UserID(s) {
				t.Errorf("%q is %s, which is %q", s, who, ours.Of(who))
			}
			return
		}
		name := ours.Of(u)
		if back, ok := ours.User(name); ok != !ours.IsHashed(name) || ok && back != u {
			t.Errorf("%s became %s and came back as %s, %v", u, name, back, ok)
		}
		if len(name) > 255 {
			t.Errorf("%d octets", len(name))
		}
	})
}

func TestRoomName(t *testing.T) {
	for in, want := range map[string]string{
		"!abc:example.org": "!abc:example.org example.org",
		"!zxp3PU2JG3ErB3QM0zgX5fxFpKOiEJ2WbxsYU6JLWf8":       "!zxp3PU2JG3ErB3QM0zgX5fxFpKOiEJ2WbxsYU6JLWf8 ", // room version 12
		" #fox:example.org ":                                 "#fox:example.org example.org",
		"https://matrix.to/#/#fox:example.org":               "#fox:example.org example.org",
		"https://matrix.to/#/!abc:example.org?via=a.b&via=c": "!abc:example.org a.b,c",
		"matrix:r/fox:example.org":                           "#fox:example.org example.org",
		"#fox":                                               "", "fox": "", "": "", "@fox:example.org": "", "!": "", "#a b:example.org": "", "https://matrix.to/#/": "", "matrix:x": "", "!a/b:c": "",
	} {
		name, via, ok := RoomName(in)
		if got := name + " " + strings.Join(via, ","); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestGeo(t *testing.T) {
	for in, want := range map[string]bool{"geo:1,2": true, "geo:-90,180,5;u=1": true, "geo:91,0": false, "geo:1": false, "1,2": false, "geo:NaN,1": false, "geo:1,2,3,4": false} {
		if lat, lon, ok := parseGeo(in); ok != want || ok && (math.IsNaN(lat) || math.IsNaN(lon)) {
			t.Errorf("%s: %v %v %v", in, lat, lon, ok)
		}
	}
}

func TestDisplayName(t *testing.T) {
	for in, want := range map[string]string{" Ann ": "Ann", "a\x00b\nc": "abc", "\xff": "\uFFFD", strings.Repeat("ä", 200): strings.Repeat("ä", 125) + "…"} {
		if got := DisplayName(in); got != want || len(got) > 255 {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func TestBlob(t *testing.T) {
	for in, want := range map[string]bool{"mxc://hs.test/abc": true, "mxc://hs.test/": false, "mxc://": false, "https://a/b": false, "": false, "mxc://a/" + strings.Repeat("x", 2000): false} {
		if got := Blob(in); (got != "") != want {
			t.Errorf("%q is %q", in, got)
		}
	}
}

// TestFits: whatever a text of the greatest length holds, the event and its edit stay below what homeservers take.
func TestFits(t *testing.T) {
	marker := adapter.Marker{Key: strings.Repeat("k", 64)}
	for name, unit := range map[string]string{"letters": "word ", "quotes": `"`, "lines": "\n", "ampersands": "&", "emoji": "👍", "bold": "**b** ", "links": "[a](https://a.example/b) "} {
		for _, author := range []string{"", strings.Repeat("N", 250)} {
			w := Writer{Author: author, Mentioned: func(uri.User) id.UserID { return "" }}
			text := strings.Repeat(unit, 3*TextBytes/len(unit))
			for _, part := range []content.Part{content.TextPart(text), content.MarkdownPart(text)} {
				events := w.Body(part)
				if len(events) < 2 && unit != "\n" {
					t.Errorf("%s: %d events", name, len(events))
				}
				for _, o := range events {
					edit := Out{Part: o.Part, Piece: o.Piece, Kind: o.Kind, Content: Replacement(o.Content, "$"+adapter.NativeID(strings.Repeat("x", 43)))}
					o.Mark(marker)
					edit.Mark(marker)
					for _, c := range []map[string]any{o.Content, edit.Content} {
						if n := jsonSize(c); n == 0 || n > maxContent {
							t.Errorf("%s: %d octets", name, n)
						}
					}
					if body, _ := o.Content["body"].(string); len(body) > TextBytes+10 {
						t.Errorf("%s: a text of %d octets", name, len(body))
					}
				}
			}
		}
	}
}

func TestReplacement(t *testing.T) {
	inner := map[string]any{"msgtype": "m.text", "body": "b", "formatted_body": "<b>b</b>", "m.mentions": map[string]any{"user_ids": []string{"@a:b"}}}
	c := Replacement(inner, "$first")
	got, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"body":"* b","formatted_body":"* \u003cb\u003eb\u003c/b\u003e","m.mentions":{},"m.new_content":{"body":"b","formatted_body":"\u003cb\u003eb\u003c/b\u003e",` +
		`"m.mentions":{"user_ids":["@a:b"]},"msgtype":"m.text"},"m.relates_to":{"event_id":"$first","rel_type":"m.replace"},"msgtype":"m.text"}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestRelate(t *testing.T) {
	ref := func(s adapter.NativeID) *adapter.Ref { return &adapter.Ref{Parts: []adapter.NativePart{{ID: s}}} }
	for _, c := range []struct {
		out  adapter.Outbound
		want string
	}{
		{adapter.Outbound{}, `{}`},
		{adapter.Outbound{InReplyTo: &adapter.Ref{}}, `{}`},
		{adapter.Outbound{InReplyTo: ref("$q")}, `{"m.relates_to":{"m.in_reply_to":{"event_id":"$q"}}}`},
		{adapter.Outbound{Thread: ref("$t")}, `{"m.relates_to":{"event_id":"$t","is_falling_back":true,"m.in_reply_to":{"event_id":"$t"},"rel_type":"m.thread"}}`},
		{adapter.Outbound{Thread: ref("$t"), InReplyTo: ref("$q")}, `{"m.relates_to":{"event_id":"$t","m.in_reply_to":{"event_id":"$q"},"rel_type":"m.thread"}}`},
	} {
		got := map[string]any{}
		Relate(got, c.out)
		if b, err := json.Marshal(got); err != nil || string(b) != c.want {
			t.Errorf("got %s, want %s", b, c.want)
		}
	}
}

// FuzzEvent: whatever a homeserver or a client puts into an event, it is read or left out, and what comes of it is UTF-8.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"m.room.message","sender":"@a:b","event_id":"$x","content":{"msgtype":"m.text","body":"x"},"origin_server_ts":1}`,
		`{"type":"m.room.member","state_key":"@a:b","content":{"membership":"join"},"unsigned":{"prev_content":{"membership":"leave"}}}`,
		`{"type":"m.room.message","content":{"msgtype":"m.image","url":"mxc://a/b","info":{"w":1e99,"duration":-1}},"origin_server_ts":1e400}`,
		`{"type":"m.reaction","content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$a","key":"\ud800"}}}`,
		`{"type":7}`, `[]`, `{"type":"m.room.message","content":{"msgtype":"m.location","geo_uri":"geo:1,2"}}`,
		`{"type":"m.room.message","content":{"msgtype":"m.text","format":"org.matrix.custom.html","formatted_body":"<a href='https://matrix.to/#/@a:b'>x</a>"}}`,
		`{"type":"m.poll.start","content":{"m.poll":{"question":{"m.text":[{"body":"q"}]},"answers":[1,{}]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := Parse(raw)
		if err != nil {
			return
		}
		ev.Marker()
		ev.Member()
		m, ok := reader().Message(ev)
		if !ok {
			return
		}
		for _, p := range m.Content.Body.Walk() {
			if single, is := p.Body.(content.Single); is && p.IsText() && !utf8.Valid(single.Content) {
				t.Errorf("%q is not UTF-8", single.Content)
			}
		}
		w := Writer{Author: "A", Mentioned: func(uri.User) id.UserID { return "" }}
		for _, o := range w.Body(m.Content.Body) {
			o.Mark(adapter.Marker{Key: "k"})
			if n := jsonSize(o.Content); n == 0 || n > maxContent {
				t.Errorf("%d octets", n)
			}
		}
	})
}
