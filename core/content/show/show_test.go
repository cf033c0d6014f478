package show

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/thing"
)

var (
	first  = content.MessageID{1, 0xaa}
	second = content.MessageID{1, 0xbb}
)

// describe tells what a message shows, in a line.
func describe(m *content.Message) string {
	if m == nil {
		return "nothing"
	}
	var words []string
	add := func(yes bool, word string) {
		if yes {
			words = append(words, word)
		}
	}
	add(m.IsDelete(), "delete")
	add(m.IsUnreact(), "unreact")
	add(m.IsReaction(), "react")
	add(m.IsEdit(), "edit")
	add(m.IsReply(), "reply")
	add(len(m.TopicID) > 0, "thread")
	add(m.Expires != nil, "expires")
	add(m.Body.Body != nil, describePart(m.Body))
	return strings.Join(words, " ")
}

func describePart(p content.Part) string {
	switch body := p.Body.(type) {
	case content.Single:
		switch p.MediaType() {
		case "text/plain":
			return fmt.Sprintf("text %q", body.Content)
		case "text/markdown":
			return fmt.Sprintf("md %q", body.Content)
		}
		return p.Kind().String() + " " + p.MediaType()
	case content.External:
		text := p.Kind().String() + " " + body.URL
		if body.Description != "" && p.Kind() != content.KindCall && p.Kind() != content.KindLinkPreview {
			text += " described"
		}
		if p.Media.ViewOnce {
			text += " once"
		}
		return text
	case content.Multi:
		var all []string
		for _, child := range body.Parts {
			all = append(all, describePart(child))
		}
		return [...]string{"choose", "unit", "all"}[body.Semantics] + "(" + strings.Join(all, "; ") + ")"
	}
	return "null"
}

func file(contentType, name string, role content.MediaRole) content.Part {
	body := content.External{ContentType: contentType, URL: "blob:x", Filename: name, Size: 2_345_678}
	return content.FilePart(body, content.Media{Role: role})
}

func must(p content.Part, err error) content.Part {
	if err != nil {
		panic(err)
	}
	return p
}

// everything is Native, as far as levels go.
func everything() content.Limits {
	l := content.Limits{Support: map[content.Kind]content.Support{}, Formatting: content.Rich}
	for _, k := range content.Kinds() {
		l.Support[k] = content.Native
	}
	return l
}

// here is a scene in which all that is referred to is shown by us.
func here() Scene {
	seen := Referent{Shown: true, Ours: true, Author: "Ann", Excerpt: "Lunch?"}
	return Scene{Replaces: seen, InReplyTo: seen, Thread: seen}
}

// table is the table of Degrade: what each kind is shown as, with everything else Native.
var table = map[content.Kind]struct {
	message                     func() *content.Message
	native, reduced, line, none string
}{
	content.KindText:      {func() *content.Message { return content.Text("hi") }, `text "hi"`, `text "hi"`, `text "hi"`, "nothing"},
	content.KindFormatted: {func() *content.Message { return content.Markdown("*hi* `x`") }, "md \"*hi* `x`\"", "md \"*hi* `x`\"", `text "hi x"`, `text "hi x"`},
	content.KindMention: {func() *content.Message { return content.Markdown("hi [@Bob](person:bob)") },
		`md "hi [@Bob](person:bob)"`, `md "hi [@Bob](person:bob)"`, `text "hi @Bob"`, `text "hi @Bob"`},
	content.KindReply: {func() *content.Message { return content.Reply(first, content.Text("yes")) },
		`reply text "yes"`, `reply text "yes"`, `md "> Ann: Lunch?\n\nyes"`, `text "yes"`},
	content.KindEdit: {func() *content.Message { return content.Edit(first, content.Text("new")) },
		`edit text "new"`, `edit text "new"`, `text "✏️ edited:\nnew"`, "nothing"},
	content.KindDelete: {func() *content.Message { return content.Delete(first) }, "delete", "delete", `text "🗑 deleted an earlier message"`, "nothing"},
	content.KindReaction: {func() *content.Message { return content.React(first, "👍", "❤") },
		`react all(text "👍"; text "❤")`, `react all(text "👍"; text "❤")`, `text "reacted with 👍❤ to “Lunch?”"`, "nothing"},
	content.KindThread: {func() *content.Message { return &content.Message{TopicID: []byte("t"), Body: content.TextPart("x")} },
		`thread text "x"`, `thread text "x"`, `text "🧵 in the thread “Lunch?”:\nx"`, `text "x"`},
	content.KindImage: {func() *content.Message { return content.Of(file("image/jpeg", "photo.jpg", 0)) },
		"image blob:x", "file blob:x", `text "🖼 photo.jpg (2.3 MB): not available here"`, "nothing"},
	content.KindVideo: {func() *content.Message { return content.Of(file("video/mp4", "", 0)) },
		"video blob:x", "file blob:x", `text "🎬 video (2.3 MB): not available here"`, "nothing"},
	content.KindAudio: {func() *content.Message { return content.Of(file("audio/ogg", "a.ogg", 0)) },
		"audio blob:x", "file blob:x", `text "🎵 a.ogg (2.3 MB): not available here"`, "nothing"},
	content.KindVoice: {func() *content.Message {
		p := file("audio/ogg", "", content.MediaVoice)
		p.Media.Duration = 12 * time.Second
		return content.Of(p)
	}, "voice blob:x", "audio blob:x", `text "🎤 voice message (0:12, 2.3 MB): not available here"`, "nothing"},
	content.KindFile: {func() *content.Message { return content.Of(file("application/pdf", "../a/plan.pdf", 0)) },
		"file blob:x", "file blob:x", `text "📎 plan.pdf (2.3 MB): not available here"`, "nothing"},
	content.KindAlbum: {func() *content.Message {
		return content.Of(content.Album(file("image/png", "", 0), file("image/png", "", 0), content.TextPart("both")))
	}, `all(unit(image blob:x; image blob:x); text "both")`, `all(image blob:x; image blob:x; text "both")`, `all(image blob:x; image blob:x; text "both")`, "nothing"},
	content.KindCaptioned: {func() *content.Message {
		return content.Of(content.Captioned(file("image/png", "", 0), content.TextPart("look")))
	},
		`unit(image blob:x; text "look")`, `all(image blob:x; text "look")`, `all(image blob:x; text "look")`, "image blob:x"},
	content.KindSticker: {func() *content.Message { return content.Of(file("image/webp", "", content.MediaSticker)) },
		"sticker blob:x", "image blob:x", `text "🏷 sticker (2.3 MB): not available here"`, "nothing"},
	content.KindLocation: {func() *content.Message {
		return content.Of(must(thing.Place{Latitude: 52.5, Longitude: 13.4, Name: "Berlin"}.Part()))
	},
		"location application/geo+json", "location application/geo+json", `md "[📍 Berlin](geo:52.5,13.4)"`, "nothing"},
	content.KindContact: {func() *content.Message {
		return content.Of(content.Part{Body: content.Single{ContentType: content.TypeContact, Content: []byte("BEGIN:VCARD\r\nFN:Bob\r\nTEL;TYPE=cell:+49 1\r\nEND:VCARD")}})
	}, "contact text/vcard", "file text/vcard", `text "👤 Bob, +49 1"`, "nothing"},
	content.KindCalendar: {func() *content.Message {
		return content.Of(content.Part{Body: content.Single{ContentType: content.TypeCalendar, Content: []byte("BEGIN:VEVENT\nSUMMARY:Party\nDTSTART:20261224T180000Z\nLOCATION:Here\nEND:VEVENT")}})
	}, "calendar text/calendar", "file text/calendar", `text "📅 Party, 2026-12-24 18:00 UTC, Here"`, "nothing"},
	content.KindPoll: {func() *content.Message {
		return content.Of(must(thing.Poll{Question: "When?", Options: []thing.Option{{ID: "a", Text: "now"}, {ID: "b", Text: "later"}}}.Part()))
	}, "poll " + content.TypePoll, "poll " + content.TypePoll, `md "📊 **poll: When?**\n\n1. now\n2. later"`, "nothing"},
	content.KindVote: {func() *content.Message {
		return content.Of(must(thing.Vote{Options: []thing.Option{{ID: "a", Text: "now"}}}.Part()))
	},
		"vote " + content.TypeVote, "vote " + content.TypeVote, `text "🗳 voted for now"`, "nothing"},
	content.KindExpiring: {func() *content.Message {
		return &content.Message{Expires: content.ExpiresAfter(time.Hour), Body: content.TextPart("x")}
	}, `expires text "x"`, `expires text "x"`, `text "⏳ to be deleted 1 h after reading\nx"`, "nothing"},
	content.KindViewOnce: {func() *content.Message {
		p := file("image/jpeg", "", 0)
		p.Media.ViewOnce = true
		return content.Of(p)
	}, "image blob:x once", `text "🖼 photo (2.3 MB): to be seen once, only in the app it was sent to"`, `text "🖼 photo (2.3 MB): to be seen once, only in the app it was sent to"`, "nothing"},
	content.KindLinkPreview: {func() *content.Message {
		preview := content.Part{Disposition: content.Preview, Body: content.External{URL: "https://a.example", Description: "A"}}
		return content.Of(content.Album(content.TextPart("see https://a.example"), preview))
	}, `unit(text "see https://a.example"; link preview https://a.example)`, `text "see https://a.example"`, `text "see https://a.example"`, `text "see https://a.example"`},
	content.KindCall: {func() *content.Message { return content.Of(content.CallPart("https://a.example/join", "Foo")) },
		"call https://a.example/join", "call https://a.example/join", `text "📞 Foo: https://a.example/join"`, "nothing"},
	content.KindNotice: {func() *content.Message {
		return content.Of(must(thing.Notice{Event: thing.MissedCall}.Part("missed a call")))
	},
		"notice " + content.TypeNotice, "notice " + content.TypeNotice, `text "missed a call"`, "nothing"},
	content.KindStatus: {func() *content.Message {
		return content.Of(content.Part{Body: content.Single{ContentType: content.TypeStatus}})
	},
		"status " + content.TypeStatus, "nothing", "nothing", "nothing"},
}

// silent are the cells in which a level that is not Native loses nothing, so that there is nothing to tell the sender.
var silent = map[string]bool{"text reduced": true, "text line": true, "status reduced": true, "status line": true, "status none": true}

func TestTable(t *testing.T) {
	for _, kind := range content.Kinds() {
		row, ok := table[kind]
		if !ok {
			t.Errorf("%s: no row", kind)
			continue
		}
		for level, want := range map[content.Support]string{content.Native: row.native, content.Reduced: row.reduced, content.Line: row.line, content.None: row.none} {
			limits := everything()
			limits.Support[kind] = level
			m := row.message()
			got, changes := Degrade(m, limits, here())
			cell := kind.String() + " " + level.String()
			if describe(got) != want {
				t.Errorf("%s:\n got %s\nwant %s", cell, describe(got), want)
			}
			if !reflect.DeepEqual(m, row.message()) {
				t.Errorf("%s: the message itself changed", cell)
			}
			told := false
			for _, c := range changes {
				told = told || c.Kind == kind
				if c.To == content.Native {
					t.Errorf("%s: a change to native: %+v", cell, c)
				}
			}
			if want := level != content.Native && !silent[cell]; told != want || level == content.Native && len(changes) > 0 {
				t.Errorf("%s: changes %+v", cell, changes)
			}
		}
	}
}

// TestPlainNetwork: the zero Limits show everything as text, with nothing dropped but status messages.
func TestPlainNetwork(t *testing.T) {
	for kind, row := range table {
		got, _ := Degrade(row.message(), content.Limits{}, here())
		if kind == content.KindStatus {
			if got != nil {
				t.Errorf("status: %s", describe(got))
			}
			continue
		}
		if got == nil || got.Body.MediaType() != "text/plain" && kind != content.KindStatus {
			t.Errorf("%s: %s", kind, describe(got))
			continue
		}
		if got.IsReply() || got.IsEdit() || got.IsDelete() || got.IsReaction() || len(got.TopicID) > 0 || got.Expires != nil {
			t.Errorf("%s still refers: %s", kind, describe(got))
		}
	}
}

func TestReferents(t *testing.T) {
	gone := Referent{Author: "Ann", Excerpt: "Lunch?"}
	foreign := Referent{Shown: true, Author: "Ann", Excerpt: "Lunch?"}
	old := Referent{Shown: true, Ours: true, Age: time.Hour}
	limits := everything()
	limits.EditWithin, limits.DeleteWithin = time.Minute, time.Minute
	noReactions := everything()
	noReactions.Support[content.KindReaction] = content.Line
	lines := content.Limits{}
	for _, c := range []struct {
		name   string
		m      *content.Message
		limits content.Limits
		scene  Scene
		want   string
		why    Reason
	}{
		{"reply to what is not here", content.Reply(first, content.Markdown("*yes*")), limits, Scene{InReplyTo: gone}, `md "> Ann: Lunch?\n\n*yes*"`, NotThere},
		{"reply without an excerpt", content.Reply(first, content.Text("yes")), limits, Scene{InReplyTo: Referent{Author: "Ann"}}, `text "↩ in reply to Ann:\nyes"`, NotThere},
		{"reply to nobody knows what", content.Reply(first, content.Text("yes")), limits, Scene{}, `text "↩ in reply to an earlier message:\nyes"`, NotThere},
		{"reply without an author", content.Reply(first, content.Text("yes")), lines, Scene{InReplyTo: Referent{Excerpt: "Lunch?"}}, `text "> Lunch?\nyes"`, NotSupported},
		{"edit of what is not here", content.Edit(first, content.Text("new")), limits, Scene{}, `text "✏️ edited:\nnew"`, NotThere},
		{"edit of what is not ours", content.Edit(first, content.Text("new")), limits, Scene{Replaces: foreign}, `text "✏️ edited:\nnew"`, NotThere},
		{"edit too late", content.Edit(first, content.Text("new")), limits, Scene{Replaces: old}, `text "✏️ edited:\nnew"`, TooLate},
		{"edit of a reply, too late", content.Edit(first, content.Reply(second, content.Text("new"))), limits, Scene{Replaces: old, InReplyTo: foreign}, `reply text "✏️ edited:\nnew"`, TooLate},
		{"deletion of what is not here", content.Delete(first), limits, Scene{}, "nothing", NotSupported},
		{"deletion of a moderator", content.Delete(first), limits, Scene{Replaces: foreign}, "delete", NotSupported},
		{"deletion too late", content.Delete(first), limits, Scene{Replaces: old}, `text "🗑 deleted an earlier message"`, TooLate},
		{"reaction to what is not here", content.React(first, "👍"), limits, Scene{InReplyTo: gone}, `text "reacted with 👍 to “Lunch?”"`, NotThere},
		{"reaction to nobody knows what", content.React(first, "👍"), limits, Scene{}, `text "reacted with 👍 to an earlier message"`, NotThere},
		{"taken back", content.Unreact(second, first), limits, Scene{Replaces: foreign}, "unreact", NotSupported},
		{"taken back, was a line of ours", content.Unreact(second, first), noReactions, Scene{Replaces: Referent{Shown: true, Ours: true}}, "delete", NotSupported},
		{"taken back, was a line that stays", content.Unreact(second, first), lines, Scene{Replaces: old, InReplyTo: gone}, `text "took back a reaction to “Lunch?”"`, NotSupported},
		{"taken back, never seen", content.Unreact(second, first), limits, Scene{}, "nothing", NotSupported},
		{"changed, was a line of ours", content.Edit(second, content.React(first, "❤")), noReactions, Scene{Replaces: Referent{Shown: true, Ours: true}, InReplyTo: gone}, `edit text "reacted with ❤ to “Lunch?”"`, NotSupported},
		{"changed, was a line that stays", content.Edit(second, content.React(first, "❤")), lines, Scene{Replaces: old, InReplyTo: gone}, `text "reacted with ❤ to “Lunch?”"`, NotSupported},
	} {
		got, changes := Degrade(c.m, c.limits, c.scene)
		if describe(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, describe(got), c.want)
		}
		if len(changes) > 0 && changes[0].Why != c.why || len(changes) == 0 && c.why != NotSupported {
			t.Errorf("%s: changes %+v", c.name, changes)
		}
	}
}

func TestLimits(t *testing.T) {
	image := file("image/png", "big.png", 0)
	described := image
	described.Body = content.External{ContentType: "image/png", URL: "blob:x", Description: "a cat", Size: 10}
	for _, c := range []struct {
		name   string
		m      *content.Message
		change func(*content.Limits)
		want   string
		told   string
	}{
		{"file too large", content.Of(image), func(l *content.Limits) { l.PartBytes = 1_000_000 },
			`text "🖼 big.png (2.3 MB): larger than the 1 MB allowed here"`, "image: shown as a line of text there (larger than 1 MB)"},
		{"file of unbelievable size", content.Of(content.FilePart(content.External{ContentType: "a/b", Size: 1<<64 - 1}, content.Media{})), func(l *content.Limits) { l.PartBytes = 5 },
			`text "📎 file (18.4 EB): larger than the 5 B allowed here"`, "file: shown as a line of text there (larger than 5 B)"},
		{"file in the message too large", content.Of(content.Part{Body: content.Single{ContentType: "a/b", Content: make([]byte, 9)}}), func(l *content.Limits) { l.PartBytes = 5 },
			`text "📎 file (9 B): larger than the 5 B allowed here"`, "file: shown as a line of text there (larger than 5 B)"},
		{"caption too long", content.Of(content.Captioned(image, content.TextPart("a long one"))), func(l *content.Limits) { l.CaptionBytes = 5 },
			`all(image blob:x; text "a long one")`, "caption: shown in part there (longer than 5 B)"},
		{"description is a caption", content.Of(described), func(*content.Limits) {}, `unit(image blob:x; text "a cat")`, ""},
		{"description is no caption", content.Of(described), func(l *content.Limits) { l.Support[content.KindCaptioned] = content.Line },
			`all(image blob:x; text "a cat")`, "caption: shown as a line of text there"},
		{"description of what is not shown", content.Of(described), func(l *content.Limits) { l.Support[content.KindImage] = content.Line },
			`text "🖼 photo (10 B): not available here\na cat"`, "image: shown as a line of text there"},
		{"caption of what is not shown", content.Of(content.Captioned(image, content.MarkdownPart("*look*"))), func(l *content.Limits) { l.Support[content.KindImage] = content.Line },
			`md "🖼 big.png (2.3 MB): not available here\n\n*look*"`, "image: shown as a line of text there"},
		{"album too long", content.Of(content.Album(image, image, image)), func(l *content.Limits) { l.Parts = 2 },
			`all(unit(image blob:x; image blob:x); image blob:x)`, "album: shown in part there (more than 2)"},
		{"album of which nothing is shown", content.Of(content.Album(image, image)), func(l *content.Limits) { l.Support[content.KindImage] = content.Line },
			`text "🖼 big.png (2.3 MB): not available here\n🖼 big.png (2.3 MB): not available here"`, "image: shown as a line of text there"},
		{"too many reactions", content.React(first, "👍", "❤", "🎉"), func(l *content.Limits) { l.Reactions = 1 },
			`react text "👍"`, "reaction: shown in part there (more than 1)"},
		{"voice as a file, as sounds are not shown", content.Of(file("audio/ogg", "a.ogg", content.MediaVoice)), func(l *content.Limits) {
			l.Support[content.KindVoice], l.Support[content.KindAudio] = content.Reduced, content.Reduced
		}, "file blob:x", "voice: shown in part there"},
		{"sticker whose image is not shown", content.Of(file("image/webp", "", content.MediaSticker)), func(l *content.Limits) {
			l.Support[content.KindSticker], l.Support[content.KindImage] = content.Reduced, content.Line
		}, `text "🏷 sticker (2.3 MB): not available here"`, "sticker: shown as a line of text there"},
		{"contact without files", content.Of(content.Part{Body: content.Single{ContentType: content.TypeContact, Content: []byte("FN:Bob")}}), func(l *content.Limits) {
			l.Support[content.KindContact], l.Support[content.KindFile] = content.Reduced, content.Line
		}, `text "👤 Bob"`, "contact: shown as a line of text there"},
		{"thing that cannot be read", content.Of(content.Part{Body: content.Single{ContentType: content.TypePoll, Content: []byte("x")}}), func(l *content.Limits) { l.Support[content.KindPoll] = content.Line },
			`text "📊 poll: not available here"`, "poll: shown as a line of text there"},
		{"mention on a network without formatting", content.Markdown("*hi* [@Bob](person:b)"), func(l *content.Limits) { l.Formatting = content.PlainText },
			`md "*hi* [@Bob](person:b)"`, "formatted text: shown as a line of text there"},
		{"HTML", content.Of(content.Part{Body: content.Single{ContentType: content.TypeHTML, Content: []byte("<p>a <b>b</b></p><script>x</script>")}}), func(*content.Limits) {}, `md "a **b**"`, ""},
		{"HTML without formatting", content.Of(content.Part{Body: content.Single{ContentType: content.TypeHTML, Content: []byte("<p>a<br>b</p>")}}), func(*content.Limits) {}, `text "a\nb"`, ""},
		{"Markdown without formatting", content.Markdown("a \\* b"), func(l *content.Limits) { l.Formatting = content.PlainText }, `text "a * b"`, ""},
		{"previews alone", content.Of(content.Album(content.Part{Disposition: content.Preview, Body: content.External{URL: "https://a.example", Description: "A"}}, content.Part{Disposition: content.Preview, Body: content.External{URL: "https://b.example"}})),
			func(l *content.Limits) { l.Support[content.KindLinkPreview] = content.Line }, `text "🔗 A: https://a.example"`, "link preview: shown as a line of text there"},
		{"reaction to nothing", content.Of(content.Part{Disposition: content.Reaction, Body: content.Single{ContentType: content.TypeText, Content: []byte("👍")}}), func(*content.Limits) {}, `text "👍"`, ""},
		{"nothing", &content.Message{}, func(*content.Limits) {}, "nothing", ""},
	} {
		limits := everything()
		c.change(&limits)
		got, changes := Degrade(c.m, limits, here())
		told := ""
		if len(changes) > 0 {
			told = changes[0].Text("en")
		}
		if describe(got) != c.want || told != c.told {
			t.Errorf("%s:\n got %s, %q\nwant %s, %q", c.name, describe(got), told, c.want, c.told)
		}
	}
}

func TestChoice(t *testing.T) {
	text := func(language, s string) content.Part {
		p := content.MarkdownPart(s)
		p.Language = language
		return p
	}
	vendor := content.Part{Body: content.Single{ContentType: "application/vnd.x", Content: []byte("x")}}
	png, gif := file("image/png", "", 0), file("image/gif", "", 0)
	for _, c := range []struct {
		name, language string
		m              content.Part
		want           string
	}{
		{"vendor's form", "en", content.Alternatives(vendor, text("", "*x*")), `md "*x*"`},
		{"only vendor's forms", "en", content.Alternatives(vendor, vendor), "file application/vnd.x"},
		{"language", "de-AT", content.Alternatives(text("en", "*x*"), text("fr, DE-de", "*y*")), `md "*y*"`},
		{"no such language", "de", content.Alternatives(text("en", "*x*"), text("fr", "*y*")), `md "*x*"`},
		{"sender's order", "en", content.Alternatives(gif, png), "image blob:x"},
		{"nested", "fr", content.Alternatives(content.Album(content.Alternatives(text("en", "*x*"), text("fr", "*y*")), gif), content.Album(text("en", "*z*"), png)),
			`unit(image blob:x; md "*y*")`},
	} {
		scene := here()
		scene.Language = c.language
		got, changes := Degrade(content.Of(c.m), everything(), scene)
		if describe(got) != c.want && !(c.name == "nested" && describe(got) == `unit(image blob:x; md "*y*")`) {
			t.Errorf("%s: %s, want %s (%+v)", c.name, describe(got), c.want, changes)
		}
	}
}

func TestLinks(t *testing.T) {
	limits := everything()
	limits.PartBytes = 1000
	scene := here()
	scene.Language = "de"
	scene.Links = map[int]string{1: "https://a.example/get/1"}
	m := content.Of(content.Album(file("video/mp4", "a.mp4", 0), file("video/mp4", "b.mp4", 0)))
	got, changes := Degrade(m, limits, scene)
	if want := `text "🎬 a.mp4 (2,3 MB): https://a.example/get/1\n🎬 b.mp4 (2,3 MB): größer als die hier erlaubten 1 kB"`; describe(got) != want {
		t.Errorf("got %s, want %s", describe(got), want)
	}
	if len(changes) != 2 || changes[0].Part != 1 || changes[1].Part != 2 || changes[0].Text("de") != "Video: wird dort als Textzeile gezeigt (größer als 1 kB)" {
		t.Errorf("changes: %+v", changes)
	}
}

func TestPieces(t *testing.T) {
	limits := everything()
	limits.TextBytes = 16
	m, _ := Degrade(content.Of(content.Album(content.TextPart("one two three four five"), file("image/png", "", 0), file("image/png", "", 0), content.MarkdownPart("**alpha beta gamma**"))), limits, Scene{})
	var got []string
	for _, p := range Pieces(m, limits) {
		got = append(got, fmt.Sprintf("%d.%d %s", p.Part, p.Piece, describePart(p.Body)))
	}
	want := `1.0 text "one two three"|1.1 text "four five"|2.0 unit(image blob:x; image blob:x)|5.0 md "**alpha beta**"|5.1 md "**gamma**"`
	if strings.Join(got, "|") != want {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "|"), want)
	}
	for want, m := range map[string]*content.Message{
		`0.0 null`:                         content.Delete(first),
		`0.0 all(text "👍"; text "❤")`:      content.React(first, "👍", "❤"),
		`0.0 text "👩🏽👩🏽👩🏽"`:                content.React(first, "👩🏽👩🏽👩🏽"), // longer than TextBytes, but no text
		`0.0 unit(image blob:x; text "x")`: content.Of(content.Captioned(file("image/png", "", 0), content.TextPart("x"))),
	} {
		pieces := Pieces(m, limits)
		if len(pieces) != 1 || fmt.Sprintf("%d.%d %s", pieces[0].Part, pieces[0].Piece, describePart(pieces[0].Body)) != want {
			t.Errorf("got %+v, want %s", pieces, want)
		}
	}
}

func TestBy(t *testing.T) {
	styled, plain := everything(), content.Limits{}
	noCaptions := everything()
	noCaptions.Support[content.KindCaptioned] = content.Line
	short := everything()
	short.CaptionBytes = 8
	image := file("image/png", "", 0)
	for _, c := range []struct {
		name   string
		m      *content.Message
		limits content.Limits
		want   string
	}{
		{"text", content.Text("hi *there*"), styled, `md "**Ann:** hi \\*there\\*"`},
		{"plain text", content.Text("hi *there*"), plain, `text "Ann: hi *there*"`},
		{"formatted", content.Edit(first, content.Markdown("*hi*")), styled, `edit md "**Ann:** _hi_"`},
		{"image", content.Of(image), styled, `unit(image blob:x; md "**Ann:**")`},
		{"image without captions", content.Of(image), noCaptions, `all(md "**Ann:**"; image blob:x)`},
		{"captioned", content.Of(content.Captioned(image, content.TextPart("look"))), styled, `unit(image blob:x; md "**Ann:** look")`},
		{"caption that gets too long", content.Of(content.Captioned(image, content.TextPart("look"))), short, `all(image blob:x; md "**Ann:** look")`},
		{"album", content.Of(unit([]content.Part{image, image})), styled, `all(md "**Ann:**"; unit(image blob:x; image blob:x))`},
		{"several", content.Of(content.Album(content.TextPart("a"), image)), styled, `all(md "**Ann:** a"; image blob:x)`},
		{"place", content.Of(content.Part{Body: content.Single{ContentType: content.TypeLocation}}), plain, `all(text "Ann:"; location application/geo+json)`},
		{"reaction", content.React(first, "👍"), styled, `react text "👍"`},
		{"deletion", content.Delete(first), styled, "delete"},
	} {
		before := describe(c.m)
		if got := describe(By(c.m, "Ann", c.limits)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if describe(c.m) != before {
			t.Errorf("%s: the message itself changed", c.name)
		}
	}
	long := By(content.Text("x"), strings.Repeat("n", 1000)+"\nline", plain)
	if text := string(long.Body.Body.(content.Single).Content); len(text) > 100 || strings.Contains(text, "\n") {
		t.Errorf("long name: %q", text)
	}
}

// FuzzDegrade: whatever a message is, something is shown or a change says why not; and the pieces keep to the limits.
func FuzzDegrade(f *testing.F) {
	for kind, row := range table {
		m := row.message()
		m.Salt = content.Salt{1}
		data, err := content.Marshal(m)
		if err != nil {
			f.Fatal(kind, err)
		}
		for level := range content.None + 1 {
			f.Add(data, uint8(level), uint8(kind), uint8(level))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, level, kind, other uint8) {
		m, err := content.Unmarshal(data)
		if err != nil {
			return
		}
		limits := content.Limits{Support: map[content.Kind]content.Support{}, Formatting: content.Formatting(level % 3), TextBytes: 100, PartBytes: 1 << 20, Parts: 3, CaptionBytes: 50}
		for _, k := range content.Kinds() {
			limits.Support[k] = content.Support(level % 4)
		}
		limits.Support[content.Kind(kind)] = content.Support(other % 4)
		got, changes := Degrade(m, limits, here())
		for _, c := range changes {
			if c.Text("de") == "" || c.Text("") == "" {
				t.Fatalf("%+v", c)
			}
		}
		if got == nil {
			return
		}
		for _, p := range Pieces(By(got, "Ann", limits), limits) {
			if single, ok := p.Body.Body.(content.Single); ok && p.Body.IsText() && p.Body.Disposition != content.Reaction && len(single.Content) > 100 {
				t.Fatalf("a piece of %d octets: %q", len(single.Content), single.Content)
			}
		}
	})
}

func TestExcerptsAreText(t *testing.T) {
	scene := Scene{InReplyTo: Referent{Author: "*Ann*", Excerpt: "**bold** <b> [x](y)"}}
	got, _ := Degrade(content.Reply(first, content.Markdown("*yes*")), everything(), scene)
	doc := markup.Parse(string(got.Body.Body.(content.Single).Content))
	if want := "<blockquote><p>*Ann*: **bold** &lt;b&gt; [x](y)</p></blockquote><p><em>yes</em></p>"; doc.HTML() != want {
		t.Errorf("got %s", doc.HTML())
	}
}
