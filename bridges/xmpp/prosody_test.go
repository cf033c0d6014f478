package xmpp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// Tests of what the common suite does not ask for, against a real Prosody and slixmpp.

const patience = 20 * time.Second

// running is an adapter that runs until the test ends.
type running struct {
	*Adapter
	t    *testing.T
	sink *adaptertest.Recorder
	conv adapter.Conversation
	stop func()
}

func create(t *testing.T, cfg *Config, state adapter.State) *Adapter {
	t.Helper()
	gateway, err := uri.NewProvider("chat.example.org")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a, err := newAdapter(adapter.Account{ID: "home", Provider: gateway, Config: cfg, State: state, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return a.(*Adapter)
}

// run runs an adapter as the gateway does.
func run(t *testing.T, a *Adapter) *running {
	t.Helper()
	x := &running{Adapter: a, t: t, sink: &adaptertest.Recorder{}}

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := a.Run(ctx, x.sink); errors.Is(err, adapter.ErrAccount) {
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	x.stop = func() { cancel(); <-ended }
	t.Cleanup(func() {
		x.stop()
		for _, text := range x.sink.Broken() {
			t.Errorf("contract broken: %s", text)
		}
	})
	return x
}

func (x *running) open(name string) *running {
	x.t.Helper()
	c, err := x.Open(x.ctx(), name)
	if err != nil {
		x.t.Fatal(err)
	}
	x.conv = c
	return x
}

func (x *running) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	x.t.Cleanup(cancel)
	return ctx
}

// hears waits for an event.
func (x *running) hears(what string, ok func(adapter.Event) bool) adapter.Event {
	x.t.Helper()
	ev, err := x.sink.Wait(x.ctx(), ok)
	if err != nil {
		var seen []string
		for _, ev := range x.sink.Events() {
			seen = append(seen, fmt.Sprintf("%s %q by %q %T %+v", ev.Conversation, ev.ID, ev.Sender.IDs, ev.Body, ev.Body))
		}
		x.t.Fatalf("no %s: %v\n%s", what, err, strings.Join(seen, "\n"))
	}
	return ev
}

// text matches a message with that text.
func says(want string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && string(textOf(m.Content)) == want
	}
}

func textOf(m *content.Message) string {
	single, _ := m.Body.Body.(content.Single)
	return string(single.Content)
}

// status matches a status whose reason contains all of these.
func status(state adapter.AccountState, in ...string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.Status)
		return ok && s.State == state && !slices.ContainsFunc(in, func(part string) bool { return !strings.Contains(s.Reason+" / "+s.Do, part) })
	}
}

func person(t *testing.T, id, name string) adapter.Author {
	t.Helper()
	p, err := uri.NewProvider("elsewhere.example")
	if err != nil {
		t.Fatal(err)
	}
	u, err := p.User(id)
	if err != nil {
		t.Fatal(err)
	}
	return adapter.Author{User: u, Name: name}
}

func (x *running) outbound(who adapter.Author, m *content.Message) adapter.Outbound {
	return adapter.Outbound{Conversation: x.conv, Marker: adapter.Marker{Gateway: x.Provider, Key: rand.Text()}, Attempt: 1,
		Author: who, Content: *m, Time: time.Now()}
}

func (x *running) say(who adapter.Author, text string) adapter.Sent {
	x.t.Helper()
	sent, err := x.Send(x.ctx(), x.outbound(who, content.Text(text)))
	if err != nil {
		x.t.Fatalf("Send %q: %v", text, err)
	}
	return sent
}

// component is a running component on a fresh Prosody.
func componentOn(t *testing.T, r *rooms, change func(*Config)) *running {
	t.Helper()
	cfg := newConfig().(*Config)
	cfg.Address, cfg.JID, cfg.Password = r.server.Component, componentJID(0), "component secret"
	if change != nil {
		change(cfg)
	}
	return run(t, create(t, cfg, &adaptertest.State{}))
}

// sees waits for a message that ok accepts.
func (h *human) sees(what string, ok func(servers.Stanza) bool) servers.Stanza {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := h.WaitFor(ctx, func(s servers.Stanza) bool { return s.Kind == "message" && ok(s) })
	if err != nil {
		panic(fmt.Sprintf("%s does not see %s: %v", h.name, what, err))
	}
	return s
}

func body(want string) func(servers.Stanza) bool {
	return func(s servers.Stanza) bool { return s.Body == want }
}

// TestNames: taken nicks are made different visibly, and above the limit the author's name stands in the text.
func TestNames(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, func(c *Config) { c.Occupants = 2 })
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Anna")
	x.open(room)

	sent := x.say(person(t, "anna", "Anna"), "I am another Anna")
	if s := ann.sees("our Anna", body("I am another Anna")); s.From != room+"/Anna (elsewhere.example)" {
		t.Errorf("shown as %q", s.From)
	}
	if len(sent.Notes) != 1 || !strings.Contains(sent.Notes[0], "Anna (elsewhere.example)") {
		t.Errorf("notes %q", sent.Notes)
	}
	x.say(person(t, "ben", "Ben"), "I am Ben")
	sent = x.say(person(t, "cleo", "Cleo"), "> quoted\nI am Cleo")
	if s := ann.sees("Cleo", body("Cleo:\n> quoted\nI am Cleo")); s.From != room+"/mimigate" {
		t.Errorf("shown by %q", s.From)
	}
	if len(sent.Notes) != 1 || !strings.Contains(sent.Notes[0], "2 names in use") {
		t.Errorf("notes %q", sent.Notes)
	}
	// What Cleo said through the gateway's name she changes through it, also once she has a place of her own.
	ref := &adapter.Ref{Parts: sent.Parts, Ours: true}
	if err := x.SetMember(x.ctx(), adapter.MemberUpdate{Conversation: x.conv, Change: adapter.Left, Author: person(t, "ben", "Ben")}); err != nil {
		t.Fatal(err)
	}
	x.say(person(t, "cleo", "Cleo"), "now under my own name")
	if s := ann.sees("Cleo's own name", body("now under my own name")); s.From != room+"/Cleo" {
		t.Errorf("shown by %q", s.From)
	}
	edit := x.outbound(person(t, "cleo", "Cleo"), content.Edit(content.MessageID{}, content.Text("I was Cleo")))
	edit.Content.Replaces, edit.Replaces = content.MessageID{1}, ref
	if _, err := x.Send(x.ctx(), edit); err != nil {
		t.Fatal(err)
	}
	if s := ann.sees("the edit", func(s servers.Stanza) bool { return s.Replace != "" }); s.From != room+"/mimigate" || s.Body != "Cleo: I was Cleo" {
		t.Errorf("edit by %q: %q", s.From, s.Body)
	}
}

// TestAnonymous: a room where we are nobody shows occupant-ids only, and people are told apart over renames and returns.
func TestAnonymous(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	x.open(room)
	if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: "first"}); err != nil {
		t.Fatal(err)
	}
	first := x.hears("first", says("first")).Sender
	if len(first.IDs) != 1 || !strings.HasPrefix(string(first.IDs[0]), room+" o:") || !first.Verified {
		t.Errorf("Ann is %+v", first)
	}
	for _, act := range []adaptertest.Act{{Do: adaptertest.Leave}, {Do: adaptertest.Join}, {Do: adaptertest.Rename, Text: "Anna"}, {Do: adaptertest.Say, Text: "*second*"}} {
		if _, err := ann.Act(x.ctx(), act); err != nil {
			t.Fatal(err)
		}
	}
	if second := x.hears("second", says("**second**")).Sender; second.IDs[0] != first.IDs[0] || second.Name != "Anna" {
		t.Errorf("Ann was %+v, is %+v", first, second)
	}
}

// TestPlainRoom: without archive or stanza-ids, messages have their senders' ids, and outcomes cannot be known.
func TestPlainRoom(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	room := r.make(t, r.server.PlainMUC)
	ann := r.human(t, room, "Ann")
	x.open(room)
	x.hears("the warning", status(adapter.Degraded, room, "keeps no archive"))
	id, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: "tpyo"})
	if err != nil {
		t.Fatal(err)
	}
	first := x.hears("the text", says("tpyo"))
	if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Edit, To: id, Text: "typo"}); err != nil {
		t.Fatal(err)
	}
	if m := x.hears("the edit", says("typo")).Body.(adapter.Message); m.Replaces != first.ID {
		t.Errorf("edit replaces %q, not %q", m.Replaces, first.ID)
	}
	x.say(person(t, "ben", "Ben"), "hello")
	ann.sees("Ben", body("hello"))
	if _, err := x.Confirm(x.ctx(), x.outbound(person(t, "ben", "Ben"), content.Text("never sent"))); !errors.Is(err, adapter.ErrUnknown) {
		t.Errorf("Confirm: %v", err)
	}
}

// TestRefusals: every room that does not let us in or speak is named, with what to do.
func TestRefusals(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	self := talk.GatewayLocal + "@" + componentJID(0)
	members := r.make(t, r.server.MUC)
	moderated := r.make(t, r.server.MUC)
	banned := r.make(t, r.server.MUC)
	locked := r.make(t, r.server.MUC)
	ctx := x.ctx()
	for room, fields := range map[string]map[string]any{members: {"muc#roomconfig_membersonly": true},
		moderated: {"muc#roomconfig_moderatedroom": true}, locked: {"muc#roomconfig_passwordprotectedroom": true, "muc#roomconfig_roomsecret": "x"}} {
		if err := r.owner.Configure(ctx, room, fields); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.owner.SetAffiliation(ctx, banned, self, "outcast", "go away"); err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]string{"nowhere@" + r.server.MUC: "no such room", members: "members only", banned: "banned", locked: "password"} {
		if _, err := x.Open(ctx, room); !errors.Is(err, adapter.ErrGone) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), room) {
			t.Errorf("Open %s: %v; want %q", room, err, want)
		}
		x.conv = adapter.Conversation(room)
		if _, err := x.Send(ctx, x.outbound(person(t, "a", "A"), content.Text("x"))); !errors.Is(err, adapter.ErrGone) {
			t.Errorf("Send to %s: %v", room, err)
		}
	}
	if _, err := x.Open(ctx, "not an address @"); !errors.Is(err, adapter.ErrNotFound) {
		t.Errorf("Open of nonsense: %v", err)
	}
	x.open(moderated)
	x.hears("the warning", status(adapter.Degraded, moderated, "may not speak", "voice"))
	if _, err := x.Send(ctx, x.outbound(person(t, "a", "A"), content.Text("x"))); !errors.Is(err, adapter.ErrGone) || !strings.Contains(err.Error(), "may not speak") {
		t.Errorf("Send without voice: %v", err)
	}
	// With voice for the gateway only, it speaks for those who have none.
	if err := r.owner.SetAffiliation(ctx, moderated, self, "member", ""); err != nil {
		t.Fatal(err)
	}
	x.hears("that all is well", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.Status)
		return ok && s.State == adapter.Connected && !strings.Contains(s.Reason, moderated)
	})
	if sent := x.say(person(t, "a", "A"), "at last"); len(sent.Notes) == 0 {
		t.Error("nobody is told that the author stands in the text")
	}
}

// TestWrongSecret: no account without the right secret, and no endless attempts.
func TestWrongSecret(t *testing.T) {
	r := newRooms(t, 1)
	for what, change := range map[string]func(*Config){
		"secret": func(c *Config) { c.Password = "wrong" },
		"domain": func(c *Config) { c.JID = "other.xmpp.test" },
		"client": func(c *Config) {
			c.Mode, c.Address, c.JID, c.Plaintext = modeClient, r.server.Client, "bot0@xmpp.test", true
		},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := newConfig().(*Config)
			cfg.Address, cfg.JID, cfg.Password = r.server.Component, componentJID(0), "component secret"
			change(cfg)
			a := create(t, cfg, &adaptertest.State{})
			sink := &adaptertest.Recorder{}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := a.Run(ctx, sink); !errors.Is(err, adapter.ErrAccount) || strings.Contains(err.Error(), cfg.Password.Reveal()) {
				t.Errorf("Run: %v", err)
			}
			events := sink.Events()
			if last := events[len(events)-1]; !status(adapter.Rejected, "home")(last) || last.Body.(adapter.Status).Do == "" {
				t.Errorf("last event %+v", last)
			}
		})
	}
}

// TestChat: two talk through one of our names' own address; the sender gets a receipt only once the message was taken.
func TestChat(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	r.server.User(t, "ann")
	ann := &human{XMPPClient: servers.Slix(t, r.server, "ann"), name: "ann"}
	anna := person(t, "anna", "Anna")
	x.hears("the connection", status(adapter.Connected))
	address := `anna\40elsewhere.example@` + componentJID(0)
	refused := make(chan struct{}, 100)
	refuse := true
	x.sink.Refuse(func(ev adapter.Event) error {
		if refuse && says("hi Anna")(ev) {
			refused <- struct{}{}
			return errors.New("the store is full")
		}
		return nil
	})
	hi, err := ann.Send(x.ctx(), servers.XMPPMessage{To: address, Body: "hi Anna", Receipt: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-refused:
		case <-x.ctx().Done():
			t.Fatalf("the message never came; Ann got %+v", ann.Events())
		}
	}
	if i := slices.IndexFunc(ann.Events(), func(s servers.Stanza) bool { return s.Receipt == hi }); i >= 0 {
		t.Error("a receipt before the message was taken")
	}
	x.sink.Refuse(nil)
	ev := x.hears("the text", says("hi Anna"))
	ann.sees("the receipt", func(s servers.Stanza) bool { return s.Receipt == hi })
	joined := x.hears("whose chat it is", func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Membership); return ok })
	if m := joined.Body.(adapter.Membership); m.Person.User != anna.User || joined.Conversation != ev.Conversation {
		t.Errorf("the chat of %+v", m)
	}
	if len(ev.Sender.IDs) != 1 || ev.Sender.IDs[0] != adapter.PersonID(ann.JID) || ev.ID != talk.Given(hi) {
		t.Errorf("reported as %+v", ev)
	}

	x.conv = ev.Conversation
	sent := x.say(anna, "hello ann")
	s := ann.sees("the answer", body("hello ann"))
	if !strings.HasPrefix(s.From, address) {
		t.Errorf("answered from %q", s.From)
	}
	x.say(person(t, "ben", "Ben"), "so do I")
	ann.sees("somebody else", body("Ben: so do I"))
	if _, err := ann.Send(x.ctx(), servers.XMPPMessage{To: address, ReactionsTo: s.ID, Reactions: []string{"👍"}}); err != nil {
		t.Fatal(err)
	}
	x.hears("the reaction", func(ev adapter.Event) bool {
		re, ok := ev.Body.(adapter.Reactions)
		return ok && re.To == sent.Parts[0].ID && slices.Equal(re.Emoji, []string{"👍"})
	})
	if _, err := ann.Send(x.ctx(), servers.XMPPMessage{To: address, State: "composing"}); err != nil {
		t.Fatal(err)
	}
	x.hears("typing", func(ev adapter.Event) bool { b, ok := ev.Body.(adapter.Typing); return ok && b.Active })
	if err := x.SendTyping(x.ctx(), x.conv, anna, adapter.Typing{Active: true}); err != nil {
		t.Error(err)
	}
	ann.sees("typing", func(s servers.Stanza) bool { return s.State == "composing" })
	if err := x.SendReceipt(x.ctx(), x.conv, anna, adapter.Receipt{IDs: []adapter.NativeID{ev.ID}, Status: adapter.Read}); err != nil {
		t.Error(err)
	}
	ann.sees("the marker", func(s servers.Stanza) bool { return s.Marker == "displayed" && s.MarkerID == hi })

	// Nobody there: the server says so, and nothing is lost silently.
	nobody, err := x.Create(x.ctx(), adapter.NewConversation{Direct: true, Invite: []adapter.PersonID{"nobody@xmpp.test"}, As: anna})
	if err != nil {
		t.Fatal(err)
	}
	x.conv = nobody
	if _, err := x.Send(x.ctx(), x.outbound(anna, content.Text("anybody?"))); !errors.Is(err, adapter.ErrNotDelivered) {
		t.Errorf("to nobody: %v", err)
	}
}

// TestInvitationsAndCommands: they are reported, and nothing else is done about them.
func TestInvitationsAndCommands(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	x.hears("the connection", status(adapter.Connected))
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	self := talk.GatewayLocal + "@" + componentJID(0)
	if _, err := ann.Send(x.ctx(), servers.XMPPMessage{To: self, Extra: "<x xmlns='jabber:x:conference' jid='" + room + "'/>"}); err != nil {
		t.Fatal(err)
	}
	invited := func(by string) func(adapter.Event) bool {
		return func(ev adapter.Event) bool {
			i, ok := ev.Body.(adapter.Invitation)
			return ok && i.Name == room && string(ev.Sender.IDs[0]) == by
		}
	}
	direct := x.hears("the direct invitation", invited(ann.JID))
	if err := ann.Raw(x.ctx(), "<message to='"+room+"'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='"+self+"'/></x></message>"); err != nil {
		t.Fatal(err)
	}
	mediated := x.hears("the mediated invitation", invited(room+" n:invites Ann"))
	if mediated.ID == direct.ID || mediated.Sender.Verified || mediated.Sender.Name != "Ann" {
		t.Errorf("%+v", mediated)
	}

	answer, err := ann.IQ(x.ctx(), self, "set", "<command xmlns='http://jabber.org/protocol/commands' node='mimigate' action='execute'/>")
	if err != nil || !strings.Contains(answer, "executing") {
		t.Fatalf("%s, %v", answer, err)
	}
	answer, err = ann.IQ(x.ctx(), self, "set", "<command xmlns='http://jabber.org/protocol/commands' node='mimigate' sessionid='1' action='complete'>"+
		"<x xmlns='jabber:x:data' type='submit'><field var='words'><value>room list</value></field></x></command>")
	if err != nil || !strings.Contains(answer, "completed") {
		t.Fatalf("%s, %v", answer, err)
	}
	ev := x.hears("the command", func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Command); return ok })
	if c := ev.Body.(adapter.Command); c.Text != "room list" || !c.Private || ev.Sender.IDs[0] != adapter.PersonID(ann.JID) {
		t.Errorf("%+v", ev)
	}
	x.conv = ev.Conversation
	x.say(adapter.Author{}, "there are none")
	if s := ann.sees("the answer", body("there are none")); !strings.HasPrefix(s.From, self) {
		t.Errorf("answered from %q", s.From)
	}
	if answer, err := ann.IQ(x.ctx(), self, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>"); err != nil || !strings.Contains(answer, "gateway") {
		t.Errorf("disco: %s, %v", answer, err)
	}
}

// TestRoomEvents: subject, files, moderation of the gateway itself, and the end of a room.
func TestRoomEvents(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	x.open(room)
	if err := ann.SetSubject(x.ctx(), room, "Lunch"); err != nil {
		t.Fatal(err)
	}
	x.hears("the subject", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Topic != nil && *s.Topic == "Lunch"
	})
	url := "https://files.example/a/b.png"
	if _, err := ann.Send(x.ctx(), servers.XMPPMessage{To: room, Group: true, Body: url, Extra: "<x xmlns='jabber:x:oob'><url>" + url + "</url></x>"}); err != nil {
		t.Fatal(err)
	}
	x.hears("the file", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		if !ok {
			return false
		}
		f, ok := m.Content.Body.Body.(content.External)
		return ok && f.URL == url && f.ContentType == "image/png" && f.Filename == "b.png"
	})
	x.say(person(t, "ben", "Ben"), "hello")
	if err := ann.SetAffiliation(x.ctx(), room, talk.GatewayLocal+"@"+componentJID(0), "outcast", "no bots"); err != nil {
		t.Fatal(err)
	}
	x.hears("the end", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Gone != nil && strings.Contains(*s.Gone, "banned") && strings.Contains(*s.Gone, "no bots")
	})
	x.hears("the status", status(adapter.Degraded, room, "banned"))
	if _, err := x.Send(x.ctx(), x.outbound(person(t, "ben", "Ben"), content.Text("x"))); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("Send after the ban: %v", err)
	}
	if err := ann.SetAffiliation(x.ctx(), room, talk.GatewayLocal+"@"+componentJID(0), "none", ""); err != nil {
		t.Fatal(err)
	}
	x.open(room)
	x.say(person(t, "ben", "Ben"), "back again")
	ann.sees("Ben", body("back again"))
	if err := r.owner.Destroy(x.ctx(), room, "enough"); err != nil {
		t.Fatal(err)
	}
	x.hears("the room's end", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Gone != nil && strings.Contains(*s.Gone, "destroyed")
	})
}

// TestKilled: a new process after kill -9 finds its occupants still there, knows its own messages in the archive, and loses and
// repeats nothing.
func TestKilled(t *testing.T) {
	r := newRooms(t, 1)
	link := adaptertest.NewProxy(t, r.server.Component)
	state := &adaptertest.State{}
	cfg := func() *Config {
		c := newConfig().(*Config)
		c.Address, c.JID, c.Password = link.Addr(), componentJID(0), "component secret"
		return c
	}
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	x := run(t, create(t, cfg(), state)).open(room)
	x.say(person(t, "ben", "Ben"), "said before")
	x.say(person(t, "cleo", "Cleo"), "I shall not speak again")
	if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: "barrier"}); err != nil {
		t.Fatal(err)
	}
	x.hears("the barrier", says("barrier"))
	earlier := state.Copy()
	x.say(person(t, "ben", "Ben"), "nobody wrote this down")
	link.Set(adaptertest.Down) // a process that is killed leaves no room
	x.stop()
	if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: "while you were dead"}); err != nil {
		t.Fatal(err)
	}
	link.Set(adaptertest.Up)

	y := run(t, create(t, cfg(), earlier)).open(room)
	y.hears("what was missed", says("while you were dead"))
	y.say(person(t, "ben", "Ben"), "still Ben")
	if s := ann.sees("Ben", body("still Ben")); s.From != room+"/Ben" {
		t.Errorf("Ben is now %q", s.From)
	}
	for _, ev := range y.sink.Events() {
		m, ok := ev.Body.(adapter.Message)
		switch {
		case !ok || says("while you were dead")(ev):
		case !says("barrier")(ev): // ours
			t.Errorf("reported: %q", textOf(m.Content))
		case ev.ID != x.hears("the barrier", says("barrier")).ID:
			t.Errorf("the barrier comes again as %q", ev.ID)
		}
	}
	// Cleo's occupant is nobody's: it leaves once the room sends it something.
	adaptertest.WaitFor(t, patience, "Cleo's occupant is gone", func() error {
		v, err := ann.View(context.Background())
		if err == nil && slices.ContainsFunc(v.Members, func(m adaptertest.Member) bool { return m.Name == "Cleo" }) {
			err = fmt.Errorf("members %v", v.Members)
		}
		return err
	})
}

// TestServerRestart: Prosody restarts and freezes in the middle; nothing is lost or repeated, and a frozen server holds nobody up.
func TestServerRestart(t *testing.T) {
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	x.open(room)
	ben := person(t, "ben", "Ben")
	x.say(ben, "before")
	r.server.Freeze()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	out := x.outbound(ben, content.Text("into the ice"))
	began := time.Now()
	_, err := x.Send(ctx, out)
	cancel()
	if err == nil || errors.Is(err, adapter.ErrNotDelivered) || time.Since(began) > 3*time.Second {
		t.Errorf("Send to a frozen server: %v after %v", err, time.Since(began))
	}
	r.server.Continue()
	if _, err := x.Confirm(x.ctx(), out); err != nil {
		t.Errorf("Confirm: %v", err)
	}
	r.server.Restart()
	if _, err := ann.WaitFor(x.ctx(), func(s servers.Stanza) bool { return s.Kind == "disconnected" }); err != nil {
		t.Fatal(err)
	}
	if err := ann.Connect(x.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := ann.Join(x.ctx(), room, "Ann", 0); err != nil {
		t.Fatal(err)
	}
	x.say(ben, "after")
	ann.sees("Ben", body("after"))
	if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: "and I"}); err != nil {
		t.Fatal(err)
	}
	x.hears("Ann", says("and I"))
	if n := len(slices.DeleteFunc(ann.Events(), func(s servers.Stanza) bool { return s.Body != "into the ice" || s.Delay != "" })); n != 1 {
		t.Errorf("what was sent into the ice was shown %d times", n)
	}
}
