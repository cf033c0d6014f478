package servers

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// must returns a value without its error, which fails the test.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNio(t *testing.T) {
	ctx := deadline(t, patience)
	h := Synapse(t, SynapseOptions{})
	var alice, bob *MatrixClient
	alice, bob = Nio(t, h, h.User(t, "alice")), Nio(t, h, h.User(t, "bob"))
	str, event := must[string](t), must[MatrixEvent](t)
	ok(t, alice.SetName(ctx, "Alice A."))
	room := str(alice.Create(ctx, MatrixRoom{Name: "Lage", Alias: "lage", Invite: []string{bob.User.ID}}))
	event(bob.WaitFor(ctx, func(e MatrixEvent) bool { return e.Invite && e.Room == room && e.Sender == alice.User.ID }))
	if got := str(bob.Join(ctx, "#lage:hs.test")); got != room {
		t.Errorf("joined %s by alias, want %s", got, room)
	}
	message := str(alice.Send(ctx, room, "hello bob"))
	got := event(bob.WaitFor(ctx, func(e MatrixEvent) bool { return e.Body() == "hello bob" }))
	if got.ID != message || got.Sender != alice.User.ID || got.Room != room || got.Time == 0 {
		t.Errorf("got %+v, want message %s", got, message)
	}
	relates := func(kind, to string) {
		t.Helper()
		event(alice.WaitFor(ctx, func(e MatrixEvent) bool {
			k, id := e.Relates()
			return e.Sender == bob.User.ID && k == kind && id == to
		}))
	}
	str(bob.Reply(ctx, room, message, "hello alice"))
	relates("m.in_reply_to", message)
	mine := str(bob.Send(ctx, room, "typo"))
	str(bob.Edit(ctx, room, mine, "right"))
	relates("m.replace", mine)
	str(bob.React(ctx, room, message, "👍"))
	relates("m.annotation", message)
	str(bob.Redact(ctx, room, mine, "wrong room"))
	relates("redacts", mine)
	ok(t, bob.Typing(ctx, room, true))
	event(alice.WaitFor(ctx, func(e MatrixEvent) bool { return e.Type == "m.typing" }))
	ok(t, bob.Read(ctx, room, message))
	event(alice.WaitFor(ctx, func(e MatrixEvent) bool { return e.Type == "m.receipt" }))
	url := str(alice.Upload(ctx, []byte("a picture"), "image/png", "a.png"))
	data, kind, err := bob.Download(ctx, url)
	if err != nil || string(data) != "a picture" || kind != "image/png" {
		t.Errorf("downloaded %q %q, %v", data, kind, err)
	}
	ok(t, bob.SetAvatar(ctx, url))
	event(alice.WaitFor(ctx, func(e MatrixEvent) bool { return e.Sender == bob.User.ID && e.Content["avatar_url"] == url }))
	members := must[[]MatrixMember](t)(alice.Members(ctx, room))
	if !slices.ContainsFunc(members, func(m MatrixMember) bool { return m.Name == "Alice A." }) || !slices.ContainsFunc(members, func(m MatrixMember) bool { return m.Avatar == url }) {
		t.Errorf("members: %+v", members)
	}

	h.Restart()
	str(alice.Send(ctx, room, "after the restart"))
	event(bob.WaitFor(ctx, func(e MatrixEvent) bool { return e.Body() == "after the restart" }))
	ok(t, alice.Kick(ctx, room, bob.User.ID, "bye"))
	event(bob.WaitFor(ctx, func(e MatrixEvent) bool {
		return e.Type == "m.room.member" && e.StateKey != nil && *e.StateKey == bob.User.ID && e.Content["membership"] == "leave"
	}))
	if _, err := bob.Send(ctx, room, "still here?"); err == nil || !strings.Contains(err.Error(), "M_FORBIDDEN") {
		t.Errorf("sending after a kick: %v", err)
	}
	last := must[[]MatrixEvent](t)(alice.Messages(ctx, room, 2))
	if len(last) != 2 || last[0].Body() != "after the restart" || last[1].Type != "m.room.member" {
		t.Errorf("the room's last events: %+v", last)
	}
}

func TestNioEncrypted(t *testing.T) {
	ctx := deadline(t, patience)
	h := Synapse(t, SynapseOptions{})
	alice, bob := NioEncrypted(t, h, h.User(t, "alice")), NioEncrypted(t, h, h.User(t, "bob"))
	room := must[string](t)(alice.Create(ctx, MatrixRoom{Invite: []string{bob.User.ID}, Encrypted: true}))
	must[string](t)(bob.Join(ctx, room))
	joined := func(e MatrixEvent) bool { return e.Sender == bob.User.ID && e.Content["membership"] == "join" }
	must[MatrixEvent](t)(alice.WaitFor(ctx, joined))
	must[string](t)(alice.Send(ctx, room, "secret"))
	if e := must[MatrixEvent](t)(bob.WaitFor(ctx, func(e MatrixEvent) bool { return e.Body() == "secret" })); !e.Decrypted {
		t.Error("it came in plain text")
	}
}

func TestSlix(t *testing.T) {
	ctx := deadline(t, patience)
	s := Prosody(t, ProsodyOptions{Users: []string{"alice", "bob"}})
	alice, bob := Slix(t, s, "alice"), Slix(t, s, "bob")
	str, stanza := must[string](t), must[Stanza](t)
	room := "lage@" + s.MUC
	ok(t, alice.Join(ctx, room, "Alice", 0))
	ok(t, bob.Join(ctx, room, "Bob", 0))
	send := func(c *XMPPClient, m XMPPMessage) string {
		t.Helper()
		m.To, m.Group = room, true
		return str(c.Send(ctx, m))
	}
	// hear returns what the other one sees of what was sent under that id.
	hear := func(c *XMPPClient, id string) Stanza {
		t.Helper()
		return stanza(c.WaitFor(ctx, func(m Stanza) bool { return m.ID == id && m.Kind == "message" }))
	}
	hello := hear(bob, send(alice, XMPPMessage{Body: "hello <bob> & all"}))
	if hello.Body != "hello <bob> & all" || hello.From != room+"/Alice" || hello.StanzaIDBy != room || hello.StanzaID == "" || hello.OccupantID == "" {
		t.Errorf("got %+v", hello)
	}
	reply := hear(alice, send(bob, XMPPMessage{Body: "hello alice", ReplyID: hello.StanzaID, ReplyTo: hello.From, Quote: hello.Body}))
	if reply.ReplyID != hello.StanzaID || reply.ReplyTo != hello.From || !strings.HasPrefix(reply.Body, "> hello <bob>") || !strings.HasSuffix(reply.Body, "\nhello alice") {
		t.Errorf("reply: %+v", reply)
	}
	if edit := hear(bob, send(alice, XMPPMessage{Body: "hello all", Replace: hello.ID})); edit.Replace != hello.ID || edit.Body != "hello all" {
		t.Errorf("correction: %+v", edit)
	}
	reaction := hear(alice, send(bob, XMPPMessage{ReactionsTo: hello.StanzaID, Reactions: []string{"👍", "🎉"}}))
	if slices.Sort(reaction.Reactions); reaction.ReactionsTo != hello.StanzaID || !slices.Equal(reaction.Reactions, []string{"🎉", "👍"}) {
		t.Errorf("reactions: %+v", reaction)
	}
	if r := hear(bob, send(alice, XMPPMessage{Retract: hello.StanzaID})); r.Retract != hello.StanzaID {
		t.Errorf("retraction: %+v", r)
	}
	if o := hear(bob, send(alice, XMPPMessage{Body: "x", Extra: "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>"})); o.OriginID != "o1" {
		t.Errorf("origin id: %+v", o)
	}
	archive := must[[]Stanza](t)(bob.Archive(ctx, room, 2))
	if len(archive) != 2 || archive[1].OriginID != "o1" || archive[1].ArchiveID == "" || archive[1].Delay == "" || archive[0].Retract != hello.StanzaID {
		t.Errorf("archive: %+v", archive)
	}

	private := str(alice.Send(ctx, XMPPMessage{To: bob.JID, Body: "only you", Receipt: true}))
	if m := hear(bob, private); m.Type != "chat" || m.Body != "only you" {
		t.Errorf("private message: %+v", m)
	}
	stanza(alice.WaitFor(ctx, func(m Stanza) bool { return m.Receipt == private }))

	url := str(alice.Upload(ctx, s.Upload, "a.txt", "text/plain", []byte("a file")))
	ok(t, Get(url)(ctx))
	if answer := str(bob.IQ(ctx, room, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")); !strings.Contains(answer, "urn:xmpp:mam:2") {
		t.Errorf("the room's features: %s", answer)
	}
	plain := "plain@" + s.PlainMUC
	ok(t, bob.Join(ctx, plain, "Bob", 0))
	if answer := str(bob.IQ(ctx, plain, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")); strings.Contains(answer, "urn:xmpp:mam:2") {
		t.Errorf("the plain room has an archive: %s", answer)
	}
	ok(t, alice.SetNick(ctx, room, "Alicia"))
	stanza(bob.WaitFor(ctx, func(p Stanza) bool { return slices.Contains(p.Status, 303) && p.NewNick == "Alicia" }))
	ok(t, alice.Configure(ctx, room, map[string]any{"muc#roomconfig_roomname": "Lage"}))
	ok(t, alice.Kick(ctx, room, "Bob", "bye"))
	if p := stanza(bob.WaitFor(ctx, func(p Stanza) bool { return slices.Contains(p.Status, 307) })); p.Reason != "bye" {
		t.Errorf("kick: %+v", p)
	}

	s.Restart()
	for _, c := range []*XMPPClient{alice, bob} {
		stanza(c.WaitFor(ctx, func(m Stanza) bool { return m.Kind == "disconnected" }))
		ok(t, c.Connect(ctx))
	}
	ok(t, alice.Join(ctx, room, "Alice", 0))
	ok(t, bob.Join(ctx, room, "Bob", 50))
	if h := stanza(bob.WaitFor(ctx, func(m Stanza) bool { return m.OriginID == "o1" && m.Delay != "" })); h.StanzaID == "" {
		t.Errorf("history after the restart: %+v", h)
	}
	hear(bob, send(alice, XMPPMessage{Body: "after the restart"}))
	ok(t, bob.Leave(ctx, room))
	stanza(alice.WaitFor(ctx, func(p Stanza) bool { return p.Kind == "presence" && p.Type == "unavailable" && p.From == room+"/Bob" }))
	ok(t, alice.SetAffiliation(ctx, room, bob.JID, "outcast", "out"))
	if err := bob.Join(ctx, room, "Bob", 0); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("a banned user who joins: %v", err)
	}
}

// Many senders at once: nothing is lost between a client and its test, and order is kept.
func TestManyMessages(t *testing.T) {
	const each = 100
	ctx := deadline(t, patience)
	s := Prosody(t, ProsodyOptions{Users: []string{"alice", "bob", "carol"}})
	room := "many@" + s.MUC
	clients := map[string]*XMPPClient{}
	for _, u := range []string{"alice", "bob", "carol"} {
		clients[u] = Slix(t, s, u)
		ok(t, clients[u].Join(ctx, room, u, 0))
	}
	var senders sync.WaitGroup
	for _, u := range []string{"alice", "bob"} {
		senders.Go(func() {
			for i := range each {
				if _, err := clients[u].Send(ctx, XMPPMessage{To: room, Group: true, Body: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	next := map[string]int{}
	must[Stanza](t)(clients["carol"].WaitFor(ctx, func(m Stanza) bool {
		if m.Kind == "message" && m.Body != "" {
			if m.Body != fmt.Sprint(next[m.From]) {
				t.Errorf("%s: got %s, want %d", m.From, m.Body, next[m.From])
			}
			next[m.From]++
		}
		return next[room+"/alice"] == each && next[room+"/bob"] == each
	}))
}

// A script that fails says why, and does not leave a caller waiting.
func TestClientEnds(t *testing.T) {
	c := script[Stanza](t, "broken", "import sys\nprint('{\"id\":0}', flush=True)\nsys.stdin.readline()\nsys.exit('out of luck')\n")
	if err := c.do(t.Context(), "anything", nil, nil); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("got %v", err)
	}
	if _, err := c.WaitFor(t.Context(), func(Stanza) bool { return true }); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("got %v", err)
	}
	if err := c.do(t.Context(), "more", nil, nil); err == nil {
		t.Error("a request to a client that is gone succeeds")
	}
}
