package content

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	idA = MessageID{1, 0xaa}
	idB = MessageID{1, 0xbb}
)

// TestWhatAMessageIs covers the shapes of mimi-content-09 §5 and its example files.
func TestWhatAMessageIs(t *testing.T) {
	image := FilePart(External{ContentType: "image/png", URL: "https://a.example/1"}, Media{})
	file := func(contentType string, media Media) *Message {
		return Of(FilePart(External{ContentType: contentType}, media))
	}
	vendor := Part{Body: Single{ContentType: "application/vnd.examplevendor-fancy-im-message"}}
	poll := Part{Body: Single{ContentType: TypePoll}}
	for _, c := range []struct {
		name string
		m    *Message
		is   string
		want []Kind
	}{
		{"text", Text("x"), "", []Kind{KindText}},
		{"formatted", Markdown("*x*"), "", []Kind{KindFormatted}},
		{"reply", Reply(idA, Text("x")), "reply", []Kind{KindText, KindReply}},
		{"edit", Edit(idA, Text("x")), "edit", []Kind{KindText, KindEdit}},
		{"edit of a reply", Edit(idB, Reply(idA, Text("x"))), "reply edit", []Kind{KindText, KindReply, KindEdit}},
		{"delete", Delete(idA), "delete", []Kind{KindDelete}},
		{"delete of a reply", Reply(idB, Delete(idA)), "delete", []Kind{KindDelete}},
		{"reaction", React(idA, "❤"), "reaction", []Kind{KindReaction}},
		{"changed reaction", Edit(idB, React(idA, "👍")), "reaction", []Kind{KindReaction}},
		{"unlike", Unreact(idB, idA), "unreact", []Kind{KindReaction}},
		{"nothing", &Message{}, "", nil},
		{"thread", &Message{TopicID: []byte("t"), Body: TextPart("x")}, "", []Kind{KindText, KindThread}},
		{"expiring", &Message{Expires: ExpiresAfter(time.Minute), Body: TextPart("x")}, "", []Kind{KindText, KindExpiring}},
		{"image", Of(image), "", []Kind{KindImage}},
		{"image, odd case", file("IMAGE/PNG ; a=b", Media{}), "", []Kind{KindImage}},
		{"image as attachment", Of(Part{Disposition: Attachment, Body: External{ContentType: "image/png"}}), "", []Kind{KindImage}},
		{"image as file", file("image/png", Media{Role: MediaFile}), "", []Kind{KindFile}},
		{"voice", file("audio/ogg", Media{Role: MediaVoice}), "", []Kind{KindVoice}},
		{"audio", file("audio/ogg", Media{}), "", []Kind{KindAudio}},
		{"video", file("video/mp4", Media{Role: MediaLoop}), "", []Kind{KindVideo}},
		{"sticker", file("image/webp", Media{Role: MediaSticker}), "", []Kind{KindSticker}},
		{"view once", file("image/jpeg", Media{ViewOnce: true}), "", []Kind{KindImage, KindViewOnce}},
		{"text file", file("text/plain", Media{}), "", []Kind{KindFile}},
		{"unknown", file("application/zip", Media{}), "", []Kind{KindFile}},
		{"caption", Of(Captioned(image, TextPart("x"))), "", []Kind{KindCaptioned}},
		{"album", Of(Album(image, image, TextPart("x"))), "", []Kind{KindAlbum}},
		{"album of one", Of(Album(image)), "", []Kind{KindImage}},
		{"preview", Of(Album(TextPart("x"), Part{Disposition: Preview, Body: External{}})), "", []Kind{KindLinkPreview}},
		{"poll", Of(Alternatives(poll, TextPart("1. x"))), "", []Kind{KindPoll}},
		{"multipart-1", Of(Alternatives(MarkdownPart("# x"), vendor)), "", []Kind{KindFormatted}},
		{"only a vendor's", Of(vendor), "", []Kind{KindFile}},
		{"contact", Of(Part{Body: Single{ContentType: TypeContact}}), "", []Kind{KindContact}},
		{"call", Of(CallPart("https://a.example/join", "Foo")), "", []Kind{KindCall}},
	} {
		var is []string
		for _, p := range []struct {
			name string
			yes  bool
		}{
			{"reply", c.m.IsReply()}, {"edit", c.m.IsEdit()}, {"delete", c.m.IsDelete()},
			{"reaction", c.m.IsReaction()}, {"unreact", c.m.IsUnreact()},
		} {
			if p.yes {
				is = append(is, p.name)
			}
		}
		if got := strings.Join(is, " "); got != c.is {
			t.Errorf("%s: is %q, want %q", c.name, got, c.is)
		}
		if got := c.m.Kinds(); !slices.Equal(got, c.want) {
			t.Errorf("%s: kinds %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReactions(t *testing.T) {
	several := React(idA, "❤", "🥳")
	if multi, ok := several.Body.Body.(Multi); !ok || multi.Semantics != ProcessAll || several.Body.Disposition != Reaction {
		t.Errorf("several reactions: %+v", several.Body)
	}
	for want, m := range map[string]*Message{"❤ 🥳": several, "👍": React(idA, "👍"), "": Text("👍")} {
		if got := strings.Join(m.Reactions(), " "); got != want {
			t.Errorf("Reactions() = %q, want %q", got, want)
		}
	}
}

// TestWalk numbers the parts as multipart-3 of the example files does.
func TestWalk(t *testing.T) {
	leaf := func(s string) Part { return Part{Language: s, Body: Single{}} }
	m := func(s string, parts ...Part) Part { return Part{Language: s, Body: Multi{Parts: parts}} }
	body := m("0", m("1", m("2", leaf("3"), leaf("4")), leaf("5")), m("6", m("7", leaf("8"), leaf("9")), leaf("10")))
	n := 0
	for i, p := range body.Walk() {
		if want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}[i]; i != n || p.Language != want {
			t.Errorf("part %d is %q", i, p.Language)
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d parts", n)
	}
	for i := range body.Walk() {
		if i == 4 {
			break
		}
	}
}

func TestMessageID(t *testing.T) {
	s := idA.String()
	if got, err := ParseMessageID(s); err != nil || got != idA || len(s) != 64 {
		t.Errorf("%q: %v, %v", s, got, err)
	}
	for _, bad := range []string{"", "01", "02" + s[2:], s[:62] + "zz", s + "00"} {
		if got, err := ParseMessageID(bad); !errors.Is(err, ErrMessageID) || !got.IsZero() {
			t.Errorf("ParseMessageID(%q) = %v, %v", bad, got, err)
		}
	}
	id := idB
	if err := id.UnmarshalText([]byte("x")); err == nil || id != idB {
		t.Errorf("bad text: %v, id now %v", err, id)
	}
	if err := id.UnmarshalText(nil); err != nil || !id.IsZero() || id.String() != "" {
		t.Errorf("empty text: %v, id %q", err, id)
	}
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		got  *Expiry
		want Expiry
	}{
		{ExpiresAfter(1500 * time.Millisecond), Expiry{Relative: true, Seconds: 2}},
		{ExpiresAfter(-time.Second), Expiry{Relative: true}},
		{ExpiresAfter(1 << 62), Expiry{Relative: true, Seconds: 365 * 86400}},
		{ExpiresAt(time.Unix(1644390004, 0)), Expiry{Seconds: 1644390004}},
		{ExpiresAt(time.Unix(-1, 0)), Expiry{}},
		{ExpiresAt(time.Unix(1<<40, 0)), Expiry{Seconds: 1<<32 - 1}},
	} {
		if *c.got != c.want {
			t.Errorf("got %+v, want %+v", *c.got, c.want)
		}
	}
}

func TestNewPartsAreUTF8(t *testing.T) {
	for _, p := range []Part{TextPart("a\xffb"), MarkdownPart("a\xffb")} {
		if got := string(p.Body.(Single).Content); got != "a\uFFFDb" {
			t.Errorf("%q", got)
		}
	}
}

func TestSenderAndRoom(t *testing.T) {
	m := &Message{SenderURI: "mimi://A.example/u/b", RoomURI: "mimi://a.example/u/b"}
	if u, err := m.Sender(); err != nil || u.String() != "mimi://a.example/u/b" {
		t.Errorf("Sender: %v, %v", u, err)
	}
	if _, err := m.Room(); err == nil {
		t.Error("a user's URI was taken for a room's")
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if k.String() == "" || seen[k.String()] {
			t.Errorf("kind %d is named %q", k, k)
		}
		seen[k.String()] = true
	}
	if (Limits{}).Of(KindPoll) != Line || Line.String() != "line" || None.String() != "none" {
		t.Error("the level of an undeclared kind must be line")
	}
	if got := Kind(200).String() + Support(9).String(); got != "kind 200support 9" {
		t.Errorf("unknown: %q", got)
	}
	if KindStatus.String() != "status" || KindCaptioned.String() != "caption" || KindCall.String() != "call" {
		t.Error("names out of step with the constants")
	}
}
