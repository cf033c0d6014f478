package matrix

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// What Matrix has beyond the common suite, against a real Synapse.

// play is a room with our account and one person in it.
type play struct {
	*running
	t    *testing.T
	w    *world
	ann  *servers.MatrixClient
	room string
	conv adapter.Conversation
}

func features(t *testing.T, w *world, x *running, ann *servers.MatrixClient) func(name string, f func(*play)) {
	return func(name string, f func(*play)) {
		t.Run(name, func(t *testing.T) {
			p := &play{running: x, t: t, w: w, ann: ann}
			p.room = p.create(servers.MatrixRoom{Name: name, Public: true})
			p.conv = p.open(p.room)
			f(p)
		})
	}
}

func (p *play) create(r servers.MatrixRoom) string {
	p.t.Helper()
	room, err := p.ann.Create(p.t.Context(), r)
	p.ok(err)
	return room
}

func (p *play) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) open(name string) adapter.Conversation {
	p.t.Helper()
	c, err := p.Open(p.t.Context(), name)
	p.ok(err)
	return c
}

var alice, bob = someone("alice", "Alice"), someone("bob", "Bob")

func someone(local, name string) adapter.Author {
	u, err := uri.ParseUser("mimi://elsewhere.example/u/" + local)
	if err != nil {
		panic(err)
	}
	return adapter.Author{User: u, Name: name}
}

func (p *play) out(who adapter.Author, m *content.Message) adapter.Outbound {
	gateway, err := uri.NewProvider("gateway.example")
	p.ok(err)
	return adapter.Outbound{Conversation: p.conv, Marker: adapter.Marker{Gateway: gateway, Key: rand.Text()}, Attempt: 1, Author: who, Content: *m, Time: time.Now()}
}

func (p *play) send(out adapter.Outbound) adapter.Sent {
	p.t.Helper()
	sent, err := p.Send(p.t.Context(), out)
	p.ok(err)
	return sent
}

func (p *play) fails(out adapter.Outbound, want error, say string) {
	p.t.Helper()
	sent, err := p.Send(p.t.Context(), out)
	if !errors.Is(err, want) || !strings.Contains(err.Error(), say) || len(sent.Parts) > 0 {
		p.t.Errorf("Send: %+v, %v; want %v that says %q", sent, err, want, say)
	}
}

// in is hears for this room.
func (p *play) in(what string, match func(adapter.Event) bool) adapter.Event {
	p.t.Helper()
	return p.hears(p.t, what, func(ev adapter.Event) bool { return ev.Conversation == p.conv && match(ev) })
}

// shown waits for an event that Ann's client gets in a room.
func (p *play) shown(what string, match func(servers.MatrixEvent) bool) servers.MatrixEvent {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	ev, err := p.ann.WaitFor(ctx, func(e servers.MatrixEvent) bool { return e.Room == string(p.conv) && match(e) })
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	return ev
}

func (p *play) event(id adapter.NativeID) servers.MatrixEvent {
	p.t.Helper()
	return p.shown(string(id), func(e servers.MatrixEvent) bool { return e.ID == string(id) })
}

func ref(who adapter.Author, sent adapter.Sent) *adapter.Ref {
	return &adapter.Ref{Parts: sent.Parts, Ours: true, Author: who}
}

func body[B adapter.Body](ok func(B) bool) func(adapter.Event) bool {
	return func(ev adapter.Event) bool { b, is := ev.Body.(B); return is && ok(b) }
}

const ghost = "@mimi_u_elsewhere.example_alice:hs.test"

func TestFeatures(t *testing.T) {
	w := newWorld(t, modeAppService)
	ann := servers.Nio(t, w.hs, w.hs.User(t, "ann"))
	x := run(t, w.config(t, 0).(*Config), &adaptertest.State{})
	x.hears(t, "connected", status(adapter.Connected))
	try := features(t, w, x, ann)
	try("formatting and mentions", (*play).formatting)
	try("threads", (*play).threads)
	try("encrypted", (*play).encrypted)
	try("invitation", (*play).invitation)
	try("chat with one of ours", (*play).chat)
	try("files and pictures", (*play).files)
	try("typing and receipts", (*play).typingAndReceipts)
	try("state", (*play).states)
	try("banned and muted", (*play).bannedAndMuted)
	try("removed", (*play).removed)
	try("moved", (*play).moved)
	try("create, list, find, leave", (*play).rooms)
	try("repeated reaction", (*play).repeatedReaction)
	try("long text edited", (*play).longEdit)
	try("deletions of others, history", (*play).othersAndHistory)
	try("nothing there", (*play).nothingThere)
	try("confirm after a restart", (*play).confirmAfterRestart)
}

func (p *play) formatting() {
	p.send(p.out(alice, content.Text("I am here")))
	_, err := p.ann.SendHTML(p.t.Context(), p.room, "Alice, bold", `<a href="https://matrix.to/#/`+ghost+`">Alice</a>, <b>bold</b> <a href="https://matrix.to/#/@ann:hs.test">me</a>`)
	p.ok(err)
	ev := p.in("formatted text", func(ev adapter.Event) bool { return strings.Contains(textOf(ev), "bold") })
	if want := "[@Alice](mimi://elsewhere.example/u/alice), **bold** [@me](person:@ann:hs.test)"; textOf(ev) != want {
		p.t.Errorf("read %q, want %q", textOf(ev), want)
	}
	sent := p.send(p.out(bob, content.Markdown("**Hi** [@Ann](person:@ann%3Ahs.test) and [@Alice](mimi://elsewhere.example/u/alice), [@Eve](mimi://elsewhere.example/u/eve)")))
	e := p.event(sent.Parts[0].ID)
	want := `<strong>Hi</strong> <a href="https://matrix.to/#/@ann:hs.test">@Ann</a> and <a href="https://matrix.to/#/` + ghost + `">@Alice</a>, @Eve`
	mentions, _ := json.Marshal(e.Content["m.mentions"])
	if e.Content["formatted_body"] != want || e.Body() != "Hi @Ann and @Alice, @Eve" || string(mentions) != `{"user_ids":["@ann:hs.test","`+ghost+`"]}` {
		p.t.Errorf("shown %v", e.Content)
	}
}

func (p *play) threads() {
	root, err := p.ann.Send(p.t.Context(), p.room, "root")
	p.ok(err)
	in, err := p.ann.SendEvent(p.t.Context(), p.room, "m.room.message", map[string]any{"msgtype": "m.text", "body": "in it",
		"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": map[string]any{"event_id": root}}})
	p.ok(err)
	p.in("a message in a thread", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && ev.ID == adapter.NativeID(in) && m.Thread == adapter.NativeID(root) && m.InReplyTo == ""
	})
	out := p.out(alice, content.Text("mine"))
	out.Thread = &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(root)}}}
	if kind, to := p.event(p.send(out).Parts[0].ID).Relates(); kind != "m.thread" || to != root {
		p.t.Errorf("shown as %s to %s", kind, to)
	}
}

// encrypted: nothing is ever sent in plain text into an encrypted room, whenever it became one.
func (p *play) encrypted() {
	p.send(p.out(alice, content.Text("before")))
	_, err := p.ann.PutState(p.t.Context(), p.room, "m.room.encryption", "", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	p.ok(err)
	on := body(func(s adapter.ConversationState) bool { return s.Encrypted != nil && *s.Encrypted })
	p.in("encryption", on)
	p.fails(p.out(alice, content.Text("secret")), adapter.ErrGone, p.room)

	other := p.create(servers.MatrixRoom{Public: true, Encrypted: true})
	p.conv = p.open(other)
	p.in("encryption from the beginning", on)
	p.fails(p.out(bob, content.Text("secret")), adapter.ErrGone, other)
	p.hears(p.t, "degraded", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.Status)
		return ok && s.State == adapter.Degraded && strings.Contains(s.Reason, other)
	})
	_, err = p.ann.SendEvent(p.t.Context(), other, "m.room.encrypted", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})
	p.ok(err)
	p.in("what cannot be read", body(func(m adapter.Message) bool { return m.Pending }))
	for _, room := range []string{p.room, other} {
		events, err := p.ann.Messages(p.t.Context(), room, 100)
		p.ok(err)
		for _, e := range events {
			if strings.Contains(e.Body(), "secret") {
				p.t.Errorf("%s has %q in plain text", room, e.Body())
			}
		}
	}
}

func (p *play) invitation() {
	room := p.create(servers.MatrixRoom{Invite: []string{"@mimibot:hs.test"}})
	p.conv = adapter.Conversation(room)
	ev := p.in("the invitation", body(func(i adapter.Invitation) bool { return i.Name == room }))
	if ev.Sender.IDs[0] != "@ann:hs.test" || ev.Own || ev.ID == "" {
		p.t.Errorf("%+v", ev)
	}
	if members, err := p.ann.Members(p.t.Context(), room); err != nil || len(members) != 1 {
		p.t.Errorf("an invitation alone changes nothing: %v, %v", members, err)
	}
	p.conv = p.open(room)
	p.in("who is there", body(func(m adapter.Membership) bool {
		return m.Change == adapter.Joined && m.Person.IDs[0] == "@ann:hs.test"
	}))
	power := func(invite int) {
		_, err := p.ann.PutState(p.t.Context(), room, "m.room.power_levels", "", map[string]any{"invite": invite})
		p.ok(err)
	}
	power(50)
	p.fails(p.out(alice, content.Text("too early")), adapter.ErrGone, "@mimibot:hs.test may not invite people to the room "+room)
	power(0)
	p.event(p.send(p.out(alice, content.Text("in time"))).Parts[0].ID)
}

// chat is a direct chat with one of our people, in which the account itself is not.
func (p *play) chat() {
	p.ok(p.SetProfile(p.t.Context(), alice))
	room := p.create(servers.MatrixRoom{Invite: []string{ghost}})
	p.conv = adapter.Conversation(room)
	ev := p.in("the invitation", body(func(i adapter.Invitation) bool { return i.Name == room }))
	if ev.Sender.IDs[0] != "@ann:hs.test" {
		p.t.Errorf("%+v", ev)
	}
	p.conv = p.open(room)
	p.in("a direct chat", body(func(s adapter.ConversationState) bool { return s.Direct != nil && *s.Direct }))
	_, err := p.ann.Send(p.t.Context(), room, "hello Alice")
	p.ok(err)
	p.in("Ann's text", says("hello Alice"))
	if e := p.event(p.send(p.out(alice, content.Text("hello Ann"))).Parts[0].ID); e.Sender != ghost {
		p.t.Errorf("sent by %s", e.Sender)
	}
}

func (p *play) files() {
	ctx, data := p.t.Context(), []byte("\x89PNG\r\n not really")
	blob, err := p.Upload(ctx, adapter.Upload{Avatar: true, Size: int64(len(data)), ContentType: "image/png", Filename: "a.png"}, bytes.NewReader(data))
	p.ok(err)
	pictured := alice
	pictured.Avatar = blob
	p.send(p.out(pictured, content.Text("with a picture")))
	members, err := p.ann.Members(ctx, p.room)
	p.ok(err)
	if !slices.Contains(members, servers.MatrixMember{ID: ghost, Name: "Alice", Avatar: string(blob)}) {
		p.t.Errorf("members are %v", members)
	}
	url, err := p.ann.Upload(ctx, data, "image/png", "b.png")
	p.ok(err)
	_, err = p.ann.SendEvent(ctx, p.room, "m.room.message", map[string]any{"msgtype": "m.image", "body": "b.png", "url": url, "info": map[string]any{"mimetype": "image/png", "size": len(data)}})
	p.ok(err)
	ev := p.in("Ann's picture", body(func(m adapter.Message) bool { return m.Content.Body.Kind() == content.KindImage }))
	file := ev.Body.(adapter.Message).Content.Body.Body.(content.External)
	got, ok := adapter.ParseBlob(file.URL)
	var out bytes.Buffer
	if err := p.Download(ctx, got, adapter.Range{}, &out); !ok || err != nil || !bytes.Equal(out.Bytes(), data) {
		p.t.Errorf("downloaded %q, %v", &out, err)
	}
	if err := p.Download(ctx, got, adapter.Range{Max: 3}, &out); !errors.Is(err, adapter.ErrRefused) {
		p.t.Errorf("more than was asked for: %v", err)
	}
	if err := p.Download(ctx, "mxc://hs.test/nothing", adapter.Range{}, &out); !errors.Is(err, adapter.ErrNotFound) {
		p.t.Errorf("a file that is gone: %v", err)
	}
	sent := p.send(p.out(bob, content.Of(content.FilePart(content.External{ContentType: "image/png", URL: blob.URL(), Filename: "a.png"}, content.Media{}))))
	shown, _ := p.event(sent.Parts[0].ID).Content["url"].(string)
	if data2, kind, err := p.ann.Download(ctx, shown); err != nil || !bytes.Equal(data2, data) || kind != "image/png" {
		p.t.Errorf("Ann downloads %q, %q, %v", data2, kind, err)
	}
}

func (p *play) typingAndReceipts() {
	ctx := p.t.Context()
	sent := p.send(p.out(alice, content.Text("read me")))
	id := sent.Parts[0].ID
	p.event(id)
	p.ok(p.ann.Typing(ctx, p.room, true))
	p.in("Ann types", body(func(ty adapter.Typing) bool { return ty.Active }))
	p.ok(p.ann.Typing(ctx, p.room, false))
	p.in("Ann stops", body(func(ty adapter.Typing) bool { return !ty.Active }))
	p.ok(p.ann.Read(ctx, p.room, string(id)))
	p.in("Ann has read", body(func(r adapter.Receipt) bool { return r.Status == adapter.Read && r.IDs[0] == id && r.UpTo }))
	question, err := p.ann.Send(ctx, p.room, "and you?")
	p.ok(err)
	p.in("Ann's text", says("and you?"))
	p.ok(p.SendReceipt(ctx, p.conv, alice, adapter.Receipt{IDs: []adapter.NativeID{adapter.NativeID(question)}, Status: adapter.Read, UpTo: true}))
	p.shown("our receipt", func(e servers.MatrixEvent) bool {
		text, _ := json.Marshal(e.Content)
		return e.Type == "m.receipt" && strings.Contains(string(text), ghost) && strings.Contains(string(text), question)
	})
	p.ok(p.SendTyping(ctx, p.conv, alice, adapter.Typing{Active: true}))
	p.shown("our typing", func(e servers.MatrixEvent) bool {
		return e.Type == "m.typing" && strings.Contains(fmt.Sprint(e.Content), ghost)
	})
	p.ok(p.SendTyping(ctx, p.conv, alice, adapter.Typing{}))
	p.ok(p.SendTyping(ctx, p.conv, someone("absent", "Absent"), adapter.Typing{Active: true}))
}

func (p *play) states() {
	ctx := p.t.Context()
	_, err := p.ann.PutState(ctx, p.room, "m.room.topic", "", map[string]any{"topic": "all about foxes"})
	p.ok(err)
	p.in("the topic", body(func(s adapter.ConversationState) bool {
		return s.Topic != nil && *s.Topic == "all about foxes" && s.Name == nil
	}))
	name := "Foxes"
	if err := p.SetState(ctx, p.conv, adapter.ConversationState{Name: &name}); !errors.Is(err, adapter.ErrRefused) {
		p.t.Errorf("SetState without the power: %v", err)
	}
	p.power(map[string]int{"@mimibot:hs.test": 60}, 0)
	p.ok(p.SetState(ctx, p.conv, adapter.ConversationState{Name: &name}))
	p.shown("the name", func(e servers.MatrixEvent) bool { return e.Type == "m.room.name" && e.Content["name"] == name })
	p.in("our own change", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && ev.Own && s.Name != nil && *s.Name == name
	})
}

func (p *play) power(users map[string]int, speak int) {
	p.t.Helper()
	_, err := p.ann.PutState(p.t.Context(), p.room, "m.room.power_levels", "", map[string]any{"users": users, "events_default": speak, "events": map[string]any{"m.room.name": 50}})
	p.ok(err)
}

func (p *play) bannedAndMuted() {
	p.send(p.out(alice, content.Text("I was here")))
	p.ok(p.ann.Ban(p.t.Context(), p.room, ghost, "enough"))
	p.in("the ban", body(func(m adapter.Membership) bool {
		return m.Change == adapter.Banned && m.Person.User == alice.User && m.Reason == "enough"
	}))
	p.fails(p.out(alice, content.Text("no more")), adapter.ErrRefused, "")
	p.event(p.send(p.out(bob, content.Text("but I may"))).Parts[0].ID)
	p.power(map[string]int{}, 50)
	p.fails(p.out(bob, content.Text("not any more")), adapter.ErrGone, "may not write in the room "+p.room)
	p.power(map[string]int{"@mimi_u_elsewhere.example_bob:hs.test": 50}, 50)
	p.event(p.send(p.out(bob, content.Text("again"))).Parts[0].ID)
}

func (p *play) removed() {
	p.ok(p.ann.Kick(p.t.Context(), p.room, "@mimibot:hs.test", "no bots"))
	p.in("the end", body(func(s adapter.ConversationState) bool {
		return s.Gone != nil && strings.Contains(*s.Gone, "@ann:hs.test")
	}))
	p.fails(p.out(adapter.Author{}, content.Text("hello?")), adapter.ErrGone, "@mimibot:hs.test is not in the room "+p.room)
	p.conv = p.open(p.room)
	p.send(p.out(adapter.Author{}, content.Text("back again")))
}

func (p *play) moved() {
	other := p.create(servers.MatrixRoom{Public: true})
	_, err := p.ann.PutState(p.t.Context(), p.room, "m.room.tombstone", "", map[string]any{"body": "moved", "replacement_room": other})
	p.ok(err)
	p.in("the move", body(func(s adapter.ConversationState) bool {
		return s.Gone != nil && s.MovedTo != nil && string(*s.MovedTo) == other
	}))
}

func (p *play) rooms() {
	ctx := p.t.Context()
	key := rand.Text()
	made := adapter.NewConversation{Key: strings.ToLower(key), Name: "Made by us", Invite: []adapter.PersonID{"@ann:hs.test"}}
	first, err := p.Create(ctx, made)
	p.ok(err)
	second, err := p.Create(ctx, made)
	if err != nil || first != second {
		p.t.Errorf("created %q, then %q, %v", first, second, err)
	}
	direct, err := p.Create(ctx, adapter.NewConversation{Key: strings.ToLower(rand.Text()), Direct: true, Invite: []adapter.PersonID{"@ann:hs.test"}, As: alice})
	p.ok(err)
	p.conv = p.open(string(direct))
	if _, err := p.ann.Join(ctx, string(direct)); err != nil {
		p.t.Fatal(err)
	}
	if e := p.event(p.send(p.out(alice, content.Text("just us"))).Parts[0].ID); e.Sender != ghost {
		p.t.Errorf("sent by %s", e.Sender)
	}
	list, err := p.List(ctx)
	p.ok(err)
	i := slices.IndexFunc(list, func(l adapter.Listed) bool { return l.Conversation == first })
	if i < 0 || list[i].Title != "Made by us" || !list[i].Joined || list[i].Members != 1 {
		p.t.Errorf("listed as %+v", list)
	}
	found, err := p.Find(ctx, "https://matrix.to/#/@ann:hs.test")
	if err != nil || len(found) != 1 || found[0].IDs[0] != "@ann:hs.test" || found[0].Name != "ann" {
		p.t.Errorf("found %+v, %v", found, err)
	}
	for _, who := range []string{"@nobody:hs.test", "ann", "", "@x"} {
		if got, err := p.Find(ctx, who); !errors.Is(err, adapter.ErrNotFound) {
			p.t.Errorf("found %q: %+v, %v", who, got, err)
		}
	}
	p.conv = adapter.Conversation(p.room)
	p.send(p.out(alice, content.Text("bye")))
	for range 2 {
		p.ok(p.Leave(ctx, p.conv))
	}
	if members, err := p.ann.Members(ctx, p.room); err != nil || len(members) != 1 {
		p.t.Errorf("left: %v, %v", members, err)
	}
}

// repeatedReaction: the homeserver refuses what is there already, and that is where it is.
func (p *play) repeatedReaction() {
	id, err := p.ann.Send(p.t.Context(), p.room, "news")
	p.ok(err)
	react := func() adapter.Sent {
		out := p.out(alice, content.React(content.MessageID{1}, "👍"))
		out.InReplyTo = &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}
		return p.send(out)
	}
	first, second := react(), react()
	if !slices.Equal(first.Parts, second.Parts) {
		p.t.Errorf("%+v, then %+v", first, second)
	}
	change := p.out(alice, content.Edit(content.MessageID{1, 2}, content.React(content.MessageID{1}, "🎉")))
	change.InReplyTo = &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}
	change.Replaces = ref(alice, first)
	p.event(p.send(change).Parts[0].ID)
	p.shown("the taking back", func(e servers.MatrixEvent) bool {
		kind, to := e.Relates()
		return kind == "redacts" && to == string(first.Parts[0].ID)
	})
}

// longEdit: a text of several events becomes a short one, and the events that are no more go.
func (p *play) longEdit() {
	first := p.send(p.out(alice, content.Text(strings.Repeat("a long story ", 3000))))
	if len(first.Parts) != 3 {
		p.t.Fatalf("%d events", len(first.Parts))
	}
	edit := p.out(alice, content.Edit(content.MessageID{1}, content.Text("a short story")))
	edit.Replaces = ref(alice, first)
	sent := p.send(edit)
	if kind, to := p.event(sent.Parts[0].ID).Relates(); len(sent.Parts) != 1 || kind != "m.replace" || to != string(first.Parts[0].ID) {
		p.t.Errorf("%+v: %s of %s", sent, kind, to)
	}
	for _, gone := range first.Parts[1:] {
		p.shown("a redaction", func(e servers.MatrixEvent) bool {
			kind, to := e.Relates()
			return kind == "redacts" && to == string(gone.ID)
		})
	}
	if got, err := p.Confirm(p.t.Context(), edit); err != nil || !slices.Equal(got.Parts, sent.Parts) {
		p.t.Errorf("Confirm: %+v, %v", got, err)
	}
}

func (p *play) othersAndHistory() {
	id, err := p.ann.Send(p.t.Context(), p.room, "to be moderated")
	p.ok(err)
	del := p.out(alice, content.Delete(content.MessageID{1}))
	del.Replaces = &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}
	p.fails(del, adapter.ErrRefused, "deleting")
	p.power(map[string]int{"@mimibot:hs.test": 60}, 0)
	p.send(del)
	p.shown("the deletion", func(e servers.MatrixEvent) bool { kind, to := e.Relates(); return kind == "redacts" && to == id })

	edit := p.out(alice, content.Edit(content.MessageID{1}, content.Text("rather this")))
	edit.Replaces = del.Replaces
	sent := p.send(edit)
	if kind, to := p.event(sent.Parts[0].ID).Relates(); kind != "m.in_reply_to" || to != id || len(sent.Notes) == 0 {
		p.t.Errorf("an edit of what is not ours: %s of %s, %+v", kind, to, sent)
	}
	old := p.out(alice, content.Text("long ago"))
	old.History, old.Time = true, time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if e := p.event(p.send(old).Parts[0].ID); e.Time != old.Time.UnixMilli() {
		p.t.Errorf("shown with the time %v", time.UnixMilli(e.Time))
	}
}

func (p *play) nothingThere() {
	for name, want := range map[string]error{"!nothing": adapter.ErrNotFound, "#nothing:hs.test": adapter.ErrNotFound, "fox": adapter.ErrNotFound} {
		if c, err := p.Open(p.t.Context(), name); !errors.Is(err, want) && !errors.Is(err, adapter.ErrGone) || !strings.Contains(fmt.Sprint(err), name) {
			p.t.Errorf("Open(%s): %q, %v", name, c, err)
		}
	}
	closed := p.create(servers.MatrixRoom{})
	if _, err := p.Open(p.t.Context(), closed); !errors.Is(err, adapter.ErrGone) || !strings.Contains(err.Error(), "invite it there") {
		p.t.Errorf("Open of a room that is not ours: %v", err)
	}
	p.conv = "!nothing:hs.test"
	p.fails(p.out(alice, content.Text("x")), adapter.ErrGone, "!nothing:hs.test")
}

// confirmAfterRestart: Synapse forgets transaction ids when it is restarted. Everything that was sent is found all the same, and what
// was not is known not to be there.
func (p *play) confirmAfterRestart() {
	ctx := p.t.Context()
	id, err := p.ann.Send(ctx, p.room, "of before")
	p.ok(err)
	theirs := &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}
	first := p.out(alice, content.Of(content.Album(content.TextPart("one"), content.TextPart("two"))))
	edit := p.out(alice, content.Edit(content.MessageID{1}, content.Text("three")))
	react := p.out(bob, content.React(content.MessageID{1}, "🎉"))
	react.InReplyTo = theirs
	gone := p.out(bob, content.Text("soon gone"))
	del := p.out(bob, content.Delete(content.MessageID{2}))
	gateway := p.out(adapter.Author{}, content.Text("the gateway"))
	var outs []adapter.Outbound
	var sents []adapter.Sent
	send := func(out adapter.Outbound) adapter.Sent {
		sent := p.send(out)
		outs, sents = append(outs, out), append(sents, sent)
		return sent
	}
	edit.Replaces = ref(alice, adapter.Sent{Parts: []adapter.NativePart{send(first).Parts[0]}})
	edit.Replaces.Parts[0].Part = 0
	send(edit)
	send(react)
	del.Replaces = ref(bob, p.send(gone))
	send(del)
	send(gateway)
	p.w.hs.Restart()
	for i, out := range outs {
		sent, err := p.Confirm(ctx, out)
		if err != nil || !slices.Equal(sent.Parts, sents[i].Parts) {
			p.t.Errorf("%d: sent %+v, found %+v, %v", i, sents[i].Parts, sent.Parts, err)
		}
	}
	never := p.out(alice, content.Text("never sent"))
	if sent, err := p.Confirm(ctx, never); !errors.Is(err, adapter.ErrNotDelivered) || len(sent.Parts) > 0 {
		p.t.Errorf("never sent, but %+v, %v", sent, err)
	}
	half := first
	half.Content = *content.Of(content.Album(content.TextPart("one"), content.TextPart("two"), content.TextPart("three")))
	if sent, err := p.Confirm(ctx, half); !errors.Is(err, adapter.ErrNotDelivered) || len(sent.Parts) != 2 {
		p.t.Errorf("two of three sent, but %+v, %v", sent, err)
	}
	notGone := del
	notGone.Replaces = ref(alice, adapter.Sent{Parts: sents[4].Parts})
	if sent, err := p.Confirm(ctx, notGone); !errors.Is(err, adapter.ErrNotDelivered) {
		p.t.Errorf("not deleted, but %+v, %v", sent, err)
	}
	p.send(p.out(bob, content.Text("after")))
	_, err = p.ann.Send(ctx, p.room, "still heard")
	p.ok(err)
	p.in("Ann, after the restart", says("still heard"))
}

// TestSetupWorks: Synapse takes the file that account setup writes, and the account works both ways.
func TestSetupWorks(t *testing.T) {
	c := defaults().(*Config)
	c.Homeserver, c.Listen = "http://127.0.0.1:1", fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
	files, err := Driver().Setup(account(t, c))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), files.Files[0].Path)
	if err := os.WriteFile(name, files.Files[0].Content, 0o600); err != nil {
		t.Fatal(err)
	}
	hs := servers.Synapse(t, servers.SynapseOptions{Registrations: []string{name}})
	c.Homeserver, c.Registration = hs.URL, adapter.Secret(files.Files[0].Content)
	x := run(t, c, &adaptertest.State{})
	x.hears(t, "connected", status(adapter.Connected))
	p := &play{running: x, t: t, ann: servers.Nio(t, hs, hs.User(t, "ann"))}
	p.room = p.create(servers.MatrixRoom{Alias: "den", Public: true})
	p.conv = p.open("#den:hs.test")
	p.event(p.send(p.out(alice, content.Text("it works"))).Parts[0].ID)
	_, err = p.ann.Send(t.Context(), p.room, "both ways")
	p.ok(err)
	p.in("Ann's text", says("both ways"))
	p.ok(p.ann.Typing(t.Context(), p.room, true))
	p.in("Ann types", body(func(ty adapter.Typing) bool { return ty.Active }))
}

// TestUnreachable: a homeserver that cannot reach us is reported with what to do, and again when it can.
func TestUnreachable(t *testing.T) {
	w := newWorld(t, modeAppService)
	c := w.config(t, 0).(*Config)
	c.Listen = fmt.Sprintf("127.0.0.1:%d", servers.Port(t)) // not what the registration says
	x := run(t, c, &adaptertest.State{})
	ev := x.hears(t, "degraded", status(adapter.Degraded))
	if s := ev.Body.(adapter.Status); !strings.Contains(s.Reason, "cannot deliver") || !strings.Contains(s.Do, c.Listen) {
		t.Errorf("%+v", s)
	}
}
