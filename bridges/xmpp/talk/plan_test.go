package talk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// TestPlan shows messages as stanzas and compares with the golden files of testdata/out.
func TestPlan(t *testing.T) {
	self := us(t)
	room := adapter.Conversation("room@muc.example")
	anna := adapter.Author{User: user(t, "mimi://elsewhere.example/u/anna"), Name: "Anna"}
	own, other := Voice{}, Voice{Gateway: true, Prefix: PrefixOf(anna)}
	to := References{To: "s1", Author: "room@muc.example/Ann"}
	ref := &adapter.Ref{Parts: []adapter.NativePart{{ID: Stamped("s1")}}, Author: adapter.Author{Name: "Ann"}, Excerpt: "Lunch?\nOr not?"}
	mine := &adapter.Ref{Parts: []adapter.NativePart{{ID: Stamped("s1")}, {Piece: 1, ID: Stamped("s2")}}, Ours: true}
	changes := References{Replaces: []string{"m1", "m2"}, Retract: []string{"s1", "s2"}}
	names := References{Names: func(id adapter.PersonID) string {
		return map[adapter.PersonID]string{"ann@b.example": "Ann"}[id]
	}}
	file := content.FilePart(content.External{ContentType: "image/png", URL: "https://files.example/a.png"}, content.Media{})
	id := content.MessageID{1}
	for _, c := range []struct {
		name string
		v    Voice
		refs References
		out  adapter.Outbound
	}{
		{"text", own, References{}, adapter.Outbound{Content: *content.Text("Lunch?")}},
		{"text_by_gateway", other, References{}, adapter.Outbound{Content: *content.Text("Lunch?")}},
		{"quote_by_gateway", other, References{}, adapter.Outbound{Content: *content.Markdown("> Lunch?\n\nYes")}},
		{"marks_in_plain_text", own, References{}, adapter.Outbound{Content: *content.Text("2 *3* 4")}},
		{"formatted", own, References{}, adapter.Outbound{Content: *content.Markdown("# Plan\n\n**bold** _it_ ~~gone~~ `code` [link](https://a.example/)\n\n1. one\n2. two\n\n```\nx := 1\n```")}},
		{"mention", own, names, adapter.Outbound{Content: *content.Markdown("[@Ann B.](" + adapter.PersonID("ann@b.example").URL() + ") and [@Ben](mimi://a.example/u/ben)")}},
		{"controls", own, References{}, adapter.Outbound{Content: *content.Text("a\x00b\x1b\ufffe\r\nc <&>")}},
		{"reply", own, to, adapter.Outbound{Content: *content.Reply(id, content.Text("Yes *")), InReplyTo: ref}},
		{"reply_by_gateway", other, to, adapter.Outbound{Content: *content.Reply(id, content.Text("Yes")), InReplyTo: ref}},
		{"edit", own, changes, adapter.Outbound{Content: *content.Edit(id, content.Of(content.Album(content.TextPart("one"), content.TextPart("two")))), Replaces: mine}},
		{"edit_shorter", own, changes, adapter.Outbound{Content: *content.Edit(id, content.Text("one")), Replaces: mine}},
		{"edit_longer", own, changes, adapter.Outbound{Content: *content.Edit(id, content.Of(content.Album(content.TextPart("one"), content.TextPart("two"), content.TextPart("three")))), Replaces: mine}},
		{"edit_unknown", own, References{Replaces: []string{""}, Retract: []string{"s1"}}, adapter.Outbound{Content: *content.Edit(id, content.Text("new")), Replaces: mine}},
		{"delete", own, changes, adapter.Outbound{Content: *content.Delete(id), Replaces: mine}},
		{"delete_theirs", own, changes, adapter.Outbound{Content: *content.Delete(id), Replaces: ref}},
		{"delete_unknown", own, References{}, adapter.Outbound{Content: *content.Delete(id)}},
		{"react", own, to, adapter.Outbound{Content: *content.React(id, "👍"), InReplyTo: ref, Reactions: []string{"🎉", "👍"}}},
		{"react_by_gateway", other, to, adapter.Outbound{Content: *content.React(id, "👍"), InReplyTo: ref, Reactions: []string{"🎉", "👍"}}},
		{"unreact", own, to, adapter.Outbound{Content: *content.Unreact(id, id), InReplyTo: ref}},
		{"unreact_by_gateway", other, References{To: "s1", Retract: []string{"s9"}, Speaker: GatewayName}, adapter.Outbound{Content: *content.Unreact(id, id), InReplyTo: ref, Replaces: &adapter.Ref{Ours: true}}},
		{"react_to_nothing", own, References{}, adapter.Outbound{Content: *content.React(id, "👍"), Reactions: []string{"👍"}}},
		{"file", own, References{}, adapter.Outbound{Content: *content.Of(content.Captioned(file, content.TextPart("a picture")))}},
		{"file_by_gateway", other, References{}, adapter.Outbound{Content: *content.Of(file)}},
		{"file_handle", own, References{}, adapter.Outbound{Content: *content.Of(content.FilePart(content.External{ContentType: "image/png", URL: adapter.Blob("x").URL(), Filename: "a.png"}, content.Media{}))}},
		{"alternatives", own, References{}, adapter.Outbound{Content: *content.Of(content.Alternatives(content.Part{Body: content.Single{ContentType: content.TypePoll}}, content.MarkdownPart("**Lunch?**"), content.TextPart("Lunch?")))}},
		{"unknown_kind", own, References{}, adapter.Outbound{Content: *content.Of(content.Part{Disposition: content.Render, Body: content.Single{ContentType: "application/x-thing", Content: []byte("12345")}})}},
		{"nothing", own, References{}, adapter.Outbound{Content: *content.Text(" \x00\n")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.out.Author, c.out.Conversation = anna, room
			c.out.Marker = adapter.Marker{Gateway: self.Provider, Key: "KEY", Origin: content.MessageID{1, 2}}
			var b strings.Builder
			steps, notes, err := Plan(c.out, c.v, c.refs)
			for _, s := range steps {
				fmt.Fprintf(&b, "<!-- %d.%d -->\n%s\n", s.Part.Part, s.Part.Piece, marshal(t, Stanza(c.out, s, "ID", "groupchat")))
			}
			for _, n := range notes {
				fmt.Fprintf(&b, "<!-- %s -->\n", n)
			}
			if err != nil {
				fmt.Fprintf(&b, "<!-- refused=%v: %v -->\n", errors.Is(err, adapter.ErrRefused), err)
			}
			golden(t, filepath.Join("testdata", "out", c.name+".xml"), b.String())
		})
	}
	if *update {
		return
	}
	files, err := os.ReadDir("testdata/out")
	if err != nil || len(files) != 27 {
		t.Errorf("%d golden files, %v", len(files), err)
	}
}

// TestLongText: a long text becomes several stanzas of the greatest length, also with the author's name before it.
func TestLongText(t *testing.T) {
	out := adapter.Outbound{Content: *content.Text(strings.Repeat("many words and ", 5000))}
	steps, _, err := Plan(out, Voice{Prefix: "Anna: "}, References{})
	if err != nil || len(steps) < 4 {
		t.Fatalf("%d steps, %v", len(steps), err)
	}
	for i, s := range steps {
		text := s.Content[0].Text
		if len(text) > MaxText || !strings.HasPrefix(text, "Anna: ") || s.Part.Piece != i || s.Part.Part != 0 {
			t.Errorf("piece %d of %+v: %d octets", i, s.Part, len(text))
		}
	}
	again, err := Steps(out, false)
	if err != nil || len(again) != len(steps) {
		t.Errorf("Confirm looks for %d stanzas, %d are sent; %v", len(again), len(steps), err)
	}
}
