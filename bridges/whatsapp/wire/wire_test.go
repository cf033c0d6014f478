//go:build !nowhatsapp

package wire

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/show"
	"mimigate/core/content/thing"
	"mimigate/core/uri"
)

var update = flag.Bool("update", false, "write testdata anew")

var (
	anna  = types.NewJID("100000000000001", types.HiddenUserServer)
	ben   = types.NewJID("4915100000002", types.DefaultUserServer)
	group = types.NewJID("120363000000000001", types.GroupServer)
	names = map[string]string{anna.User: "Anna", ben.User: ""}
)

func name(jid types.JID) string { return names[jid.User] }

func address(id adapter.PersonID) (types.JID, bool) { return Address(id) }

var texts = []string{
	"plain", "*bold* and _italic_ and ~gone~", "`code` and ```more code```", "> a quote\nan answer", "* one\n* two", "1. one\n2. two",
	"hello @100000000000001, how are you?", "@4915100000002 *@100000000000001*", "`@100000000000001`", "@100000000000009 is nobody here",
	"2*3*4 snake_case a~b", "https://example.org/a_b_c", "<b>&amp;</b>", "tab\there", "line\r\nend", "a\x00b\x1bc", "\xff\xfe", "",
}

// TestText shows text both ways: what WhatsApp sends, what it becomes, what that becomes on the way back.
func TestText(t *testing.T) {
	var b strings.Builder
	mentioned := []string{anna.String(), ben.String(), "nonsense", "status@broadcast"}
	for _, text := range texts {
		p := ReadText(text, mentioned, name)
		single := p.Body.(content.Single)
		back, who := WriteText(p, address)
		fmt.Fprintf(&b, "whatsapp  %q\n%-9s %q\nback      %q %v\n\n", text, strings.TrimPrefix(p.MediaType(), "text/"), single.Content, back, who)
		if strings.Contains(string(single.Content), "@"+ben.User) {
			t.Errorf("%q shows an address: %q", text, single.Content)
		}
	}
	golden(t, "testdata/text.txt", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); -update writes it anew. Got:\n%s", file, err, got)
	}
}

func reader() Reader {
	return Reader{Name: name, Voted: func(poll types.MessageID) ([]thing.Option, bool) {
		return []thing.Option{{ID: "2", Text: "noon"}}, poll == "POLL"
	}}
}

func context() *waE2E.ContextInfo {
	return &waE2E.ContextInfo{StanzaID: proto.String("EARLIER"), Participant: proto.String(anna.String()), Expiration: proto.Uint32(86400)}
}

// natives are messages of every kind that people send.
var natives = map[string]*waE2E.Message{
	"01 text":          {Conversation: proto.String("hello")},
	"02 reply":         {ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("yes"), ContextInfo: context()}},
	"03 status reply":  {ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("nice"), ContextInfo: &waE2E.ContextInfo{StanzaID: proto.String("S"), RemoteJID: proto.String("status@broadcast")}}},
	"04 edit":          {ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: &waCommon.MessageKey{ID: proto.String("X")}, EditedMessage: &waE2E.Message{Conversation: proto.String("better")}}},
	"05 revoke":        {ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: &waCommon.MessageKey{ID: proto.String("X")}}},
	"06 reaction":      {ReactionMessage: &waE2E.ReactionMessage{Key: &waCommon.MessageKey{ID: proto.String("X")}, Text: proto.String("🎉")}},
	"07 unreact":       {ReactionMessage: &waE2E.ReactionMessage{Key: &waCommon.MessageKey{ID: proto.String("X")}, Text: proto.String("")}},
	"08 image":         {ImageMessage: &waE2E.ImageMessage{Mimetype: proto.String("image/jpeg"), Caption: proto.String("the *lake*"), FileLength: proto.Uint64(230_000), Width: proto.Uint32(640), DirectPath: proto.String("/v/1"), ContextInfo: context()}},
	"09 voice":         {AudioMessage: &waE2E.AudioMessage{Mimetype: proto.String("audio/ogg; codecs=opus"), PTT: proto.Bool(true), Seconds: proto.Uint32(7)}},
	"10 video note":    {PtvMessage: &waE2E.VideoMessage{Mimetype: proto.String("video/mp4"), Seconds: proto.Uint32(3)}},
	"11 gif":           {VideoMessage: &waE2E.VideoMessage{GifPlayback: proto.Bool(true)}},
	"12 document":      {DocumentMessage: &waE2E.DocumentMessage{FileName: proto.String("../../plan.pdf"), Mimetype: proto.String("application/pdf"), FileLength: proto.Uint64(12)}},
	"13 sticker":       {StickerMessage: &waE2E.StickerMessage{Mimetype: proto.String("image/webp")}},
	"14 location":      {LocationMessage: &waE2E.LocationMessage{DegreesLatitude: proto.Float64(48.2), DegreesLongitude: proto.Float64(16.37), Name: proto.String("Café")}},
	"15 nowhere":       {LocationMessage: &waE2E.LocationMessage{DegreesLatitude: proto.Float64(4800), Name: proto.String("Mars")}},
	"16 live location": {LiveLocationMessage: &waE2E.LiveLocationMessage{DegreesLatitude: proto.Float64(1), DegreesLongitude: proto.Float64(2), Caption: proto.String("on my way")}},
	"17 contact":       {ContactMessage: &waE2E.ContactMessage{DisplayName: proto.String("Carla"), Vcard: proto.String("BEGIN:VCARD\nVERSION:3.0\nFN:Carla\nTEL:+43 1\nEND:VCARD")}},
	"18 contacts":      {ContactsArrayMessage: &waE2E.ContactsArrayMessage{Contacts: []*waE2E.ContactMessage{{DisplayName: proto.String("A")}, {DisplayName: proto.String("B")}}}},
	"19 poll":          {PollCreationMessageV3: &waE2E.PollCreationMessage{Name: proto.String("When?"), SelectableOptionsCount: proto.Uint32(1), Options: []*waE2E.PollCreationMessage_Option{{OptionName: proto.String("ten")}, {OptionName: proto.String("noon")}}}},
	"20 vote":          {PollUpdateMessage: &waE2E.PollUpdateMessage{PollCreationMessageKey: &waCommon.MessageKey{ID: proto.String("POLL")}}},
	"21 unknown vote":  {PollUpdateMessage: &waE2E.PollUpdateMessage{PollCreationMessageKey: &waCommon.MessageKey{ID: proto.String("OTHER")}}},
	"22 event":         {EventMessage: &waE2E.EventMessage{Name: proto.String("Picnic"), StartTime: proto.Int64(1_800_000_000), Description: proto.String("bring cake")}},
	"23 invitation":    {GroupInviteMessage: &waE2E.GroupInviteMessage{GroupName: proto.String("Choir"), InviteCode: proto.String("SECRET")}},
	"24 timer":         {ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_EPHEMERAL_SETTING.Enum(), EphemeralExpiration: proto.Uint32(7 * 86400)}},
	"25 keys only":     {SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{GroupID: proto.String("g")}},
	"26 unknown":       {OrderMessage: &waE2E.OrderMessage{OrderTitle: proto.String("2 pizzas")}},
	"27 empty":         {},
	"28 call":          {Call: &waE2E.Call{CallKey: []byte{1}}},
	"29 album":         {AlbumMessage: &waE2E.AlbumMessage{ExpectedImageCount: proto.Uint32(3)}},
}

// TestRead shows what each kind of message becomes: kinds, references, and the line that a network without all of it shows.
func TestRead(t *testing.T) {
	var b strings.Builder
	for _, what := range sortedKeys(natives) {
		fmt.Fprintf(&b, "%-17s %s\n", what, described1(reader().Read(natives[what], false)))
	}
	fmt.Fprintf(&b, "%-17s %s\n", "30 view once", described1(reader().Read(natives["08 image"], true)))
	got := b.String()
	if strings.Contains(got, "SECRET") {
		t.Error("the code of an invitation is passed on")
	}
	golden(t, "testdata/read.txt", got)
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

func described1(body adapter.Body) string {
	switch m := body.(type) {
	case nil:
		return "nothing"
	case adapter.Reactions:
		return fmt.Sprintf("reactions to %s: %q", m.To, m.Emoji)
	case adapter.Message:
		line := "nothing to show"
		if shown, _ := show.Degrade(m.Content, content.Limits{}, show.Scene{Language: "en"}); shown != nil && !shown.Body.IsNull() {
			var texts []string
			for _, p := range shown.Body.Walk() {
				if single, ok := p.Body.(content.Single); ok {
					texts = append(texts, string(single.Content))
				}
			}
			line = fmt.Sprintf("%q", texts)
		}
		return fmt.Sprintf("%v to=%q replaces=%q %s", m.Content.Kinds(), m.InReplyTo, m.Replaces, line)
	}
	return fmt.Sprintf("%T", body)
}

func writer(author string) Writer {
	return Writer{Chat: group, Own: types.NewJID("900", types.HiddenUserServer), Author: author, Address: address, Limits: content.Limits{
		Support: map[content.Kind]content.Support{content.KindLocation: content.Native, content.KindContact: content.Native, content.KindPoll: content.Native}}}
}

func outbound(m *content.Message) adapter.Outbound {
	p, _ := uri.NewProvider("gateway.example")
	return adapter.Outbound{Marker: adapter.Marker{Gateway: p, Key: "KEY"}, Content: *m, Time: time.Unix(1_800_000_000, 0)}
}

// TestWriteAndRead: what we send reads as what it was, with the marker and the ids that are always the same.
func TestWriteAndRead(t *testing.T) {
	place, _ := thing.Place{Latitude: 48.2, Longitude: 16.37, Name: "Café"}.Part()
	poll, _ := thing.Poll{Question: "When?", Options: []thing.Option{{ID: "1", Text: "ten"}, {ID: "2", Text: "noon"}}}.Part()
	for what, m := range map[string]*content.Message{
		"text": content.Text("hello"), "formatted": content.Markdown("**hello** _you_"), "place": content.Of(place), "poll": content.Of(poll),
		"mention": content.Markdown("[@Anna](" + PersonID(anna).URL() + ") hello"),
	} {
		steps, _, err := writer("").Plan(outbound(m))
		again, _, _ := writer("").Plan(outbound(m))
		if err != nil || len(steps) != 1 || !reflect.DeepEqual(steps[0].Part, again[0].Part) || !proto.Equal(steps[0].Message, again[0].Message) {
			t.Fatalf("%s: %v, %v, then %v", what, err, steps, again)
		}
		raw, err := proto.Marshal(steps[0].Message)
		if err != nil {
			t.Fatal(err)
		}
		var got waE2E.Message
		if err := proto.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if marker := MarkerOf(&got); marker != outbound(m).Marker {
			t.Errorf("%s: marker %v", what, marker)
		}
		read, ok := reader().Read(&got, false).(adapter.Message)
		if !ok || !reflect.DeepEqual(read.Content.Kinds(), m.Kinds()) {
			t.Errorf("%s: %v is read as %v", what, m.Kinds(), read.Content)
		}
		signed, _, err := writer("Bob *the* Builder").Plan(outbound(m))
		if err != nil || !strings.Contains(signed[0].Message.String(), "Bob the Builder") {
			t.Errorf("%s: without its author: %v, %v", what, signed, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	native := &adapter.Ref{Parts: []adapter.NativePart{{ID: "X"}}, Author: adapter.Author{Native: []adapter.PersonID{PersonID(anna)}}}
	for what, m := range map[string]func() adapter.Outbound{
		"reaction":         func() adapter.Outbound { return outbound(content.React(content.MessageID{1}, "👍")) },
		"empty":            func() adapter.Outbound { return outbound(content.Text(" \x00 ")) },
		"deletion of none": func() adapter.Outbound { o := outbound(content.Delete(content.MessageID{1})); return o },
		"edit of theirs": func() adapter.Outbound {
			o := outbound(content.Edit(content.MessageID{1}, content.Text("x")))
			o.Replaces = native
			return o
		},
		"a file": func() adapter.Outbound {
			return outbound(content.Of(content.FilePart(content.External{ContentType: "image/png", URL: "https://x"}, content.Media{})))
		},
	} {
		if steps, _, err := writer("").Plan(m()); err == nil {
			t.Errorf("%s: %v", what, steps)
		}
	}
	o := outbound(content.Delete(content.MessageID{1}))
	o.Replaces = native
	steps, _, err := writer("").Plan(o)
	if err != nil || steps[0].Message.GetProtocolMessage().GetKey().GetParticipant() != anna.String() || steps[0].Message.GetProtocolMessage().GetKey().GetFromMe() {
		t.Errorf("deletion by an admin: %v, %v", steps, err)
	}
}

func TestConversation(t *testing.T) {
	own := types.NewJID("900", types.HiddenUserServer)
	c := Direct(own, anna)
	if c != Direct(anna, own) || IsGroup(c) || !IsGroup(Group(group)) {
		t.Errorf("%q, %q", c, Group(group))
	}
	for _, test := range []struct {
		c    adapter.Conversation
		own  types.JID
		want types.JID
		ok   bool
	}{{c, own, anna, true}, {c, anna, own, true}, {c, ben, types.JID{}, false}, {Group(group), own, group, true}, {"nonsense", own, types.JID{}, false}} {
		if got, ok := Chat(test.c, types.JID{}, test.own); got != test.want || ok != test.ok {
			t.Errorf("%q for %v: %v, %v", test.c, test.own, got, ok)
		}
	}
	if best, ok := Best([]adapter.PersonID{PersonID(ben), "x", PersonID(anna)}); best != anna || !ok {
		t.Errorf("best address %v", best)
	}
}

// FuzzRead: whatever people's clients put into a message, it is read without harm, and what comes out can be sent on.
func FuzzRead(f *testing.F) {
	for _, m := range natives {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m waE2E.Message
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		MarkerOf(&m)
		Timer(&m)
		said, ok := reader().Read(&m, false).(adapter.Message)
		if !ok {
			return
		}
		said.Content.Salt = content.Salt{1}
		if _, err := content.Marshal(said.Content); err != nil && len(raw) < 4096 {
			t.Errorf("%v: %v", said.Content, err)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add(string(File{Kind: "k", Path: "/v", Key: make([]byte, 32), Hash: make([]byte, 32), Cipher: make([]byte, 32), Size: 3}.Blob()))
	f.Add("{}")
	f.Fuzz(func(t *testing.T, s string) {
		file, err := ParseFile(adapter.Blob(s))
		if err != nil {
			return
		}
		if again, err := ParseFile(file.Blob()); err != nil || !reflect.DeepEqual(again, file) {
			t.Errorf("%v, %v", again, err)
		}
	})
}
