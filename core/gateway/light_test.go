package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mimigate/core/adapter/adaptertest/servers"
)

// TestFirstLight lets people on a real Synapse and a real Prosody meet, with clients that are not ours: every kind of content both
// ways, and again after a restart of the gateway.
func TestFirstLight(t *testing.T) {
	w := newWorld(t)
	w.start()
	alice, bob := w.matrix("alice", "Alice"), w.xmpp("bob", "Bob")
	ok, ctx := must(t), t.Context()

	// Text.
	hello := ok(alice.Send(ctx, w.room, "Hello from Matrix"))
	seen := w.seesStanza(bob, "text", "Alice", groupBody("Hello from Matrix"))
	said := w.group(bob, servers.XMPPMessage{Body: "Hello from XMPP"})
	shown := w.seesEvent(alice, "text", "Bob", matrixBody("Hello from XMPP"))

	// Formatted text.
	ok(alice.SendHTML(ctx, w.room, "so **very** good", "so <strong>very</strong> good"))
	w.seesStanza(bob, "formatted text", "Alice", groupBody("so *very* good"))
	w.group(bob, servers.XMPPMessage{Body: "a *bold* word"})
	w.seesEvent(alice, "formatted text", "Bob", func(e servers.MatrixEvent) bool {
		html, _ := e.Content["formatted_body"].(string)
		return strings.Contains(html, "<strong>bold</strong>")
	})

	// Replies.
	w.group(bob, servers.XMPPMessage{Body: "a reply from XMPP", ReplyID: seen.StanzaID, ReplyTo: seen.From, Quote: seen.Body})
	w.seesEvent(alice, "reply", "Bob", func(e servers.MatrixEvent) bool {
		kind, to := e.Relates()
		return e.Body() == "a reply from XMPP" && kind == "m.in_reply_to" && to == hello
	})
	ok(alice.Reply(ctx, w.room, shown.ID, "a reply from Matrix"))
	w.seesStanza(bob, "reply", "Alice", func(s servers.Stanza) bool {
		return strings.HasSuffix(s.Body, "a reply from Matrix") && s.ReplyID == said.StanzaID
	})
	w.afterwards(alice, bob, hello, shown, seen, said)

	// The same messages are still known after a restart.
	hello = ok(alice.Send(ctx, w.room, "Hello again from Matrix"))
	seen = w.seesStanza(bob, "text", "Alice", groupBody("Hello again from Matrix"))
	said = w.group(bob, servers.XMPPMessage{Body: "Hello again from XMPP"})
	shown = w.seesEvent(alice, "text", "Bob", matrixBody("Hello again from XMPP"))
	w.gateway.Restart()
	w.afterwards(alice, bob, hello, shown, seen, said)

	w.comings(alice, bob)
	w.once(alice, bob)
}

// afterwards lets both react to, edit and delete what was said before: hello by alice, seen in XMPP; said by bob, shown in Matrix.
func (w *world) afterwards(alice *servers.MatrixClient, bob *servers.XMPPClient, hello string, shown servers.MatrixEvent, seen, said servers.Stanza) {
	w.t.Helper()
	ok, ctx := must(w.t), w.t.Context()
	w.group(bob, servers.XMPPMessage{ReactionsTo: seen.StanzaID, Reactions: []string{"👍"}})
	w.seesEvent(alice, "reaction", "Bob", func(e servers.MatrixEvent) bool {
		kind, to := e.Relates()
		return e.Type == "m.reaction" && kind == "m.annotation" && to == hello
	})
	ok(alice.React(ctx, w.room, shown.ID, "❤️"))
	w.seesStanza(bob, "reaction", "Alice", func(s servers.Stanza) bool {
		return s.ReactionsTo == said.StanzaID && len(s.Reactions) == 1
	})
	ok(alice.Edit(ctx, w.room, hello, "edited in Matrix"))
	w.seesStanza(bob, "edit", "Alice", func(s servers.Stanza) bool { return s.Body == "edited in Matrix" && s.Replace == seen.ID })
	w.group(bob, servers.XMPPMessage{Body: "edited in XMPP", Replace: said.ID})
	w.seesEvent(alice, "edit", "Bob", func(e servers.MatrixEvent) bool {
		kind, to := e.Relates()
		inner, _ := e.Content["m.new_content"].(map[string]any)
		return kind == "m.replace" && to == shown.ID && inner["body"] == "edited in XMPP"
	})
	ok(alice.Redact(ctx, w.room, hello, ""))
	w.seesStanza(bob, "deletion", "Alice", func(s servers.Stanza) bool { return s.Retract == seen.StanzaID })
	w.group(bob, servers.XMPPMessage{Retract: said.StanzaID})
	w.seesEvent(alice, "deletion", "Bob", func(e servers.MatrixEvent) bool {
		kind, to := e.Relates()
		return e.Type == "m.room.redaction" && kind == "redacts" && to == shown.ID
	})
}

// comings lets people join, change their names and leave, on both sides.
func (w *world) comings(alice *servers.MatrixClient, bob *servers.XMPPClient) {
	w.t.Helper()
	ok, ctx := must(w.t), w.t.Context()
	before := w.participants()
	carol := w.matrix("carol", "Carol")
	w.participantsBecome("Carol joined", before+1)
	ok(carol.Send(ctx, w.room, "Carol is here"))
	w.seesStanza(bob, "text", "Carol", groupBody("Carol is here"))
	if err := carol.SetName(ctx, "Carol the Great"); err != nil {
		w.t.Fatal(err)
	}
	w.seesStanza(bob, "new name", "Carol the Great", func(s servers.Stanza) bool { return s.Kind == "presence" && s.Type == "" })
	if err := carol.Leave(ctx, w.room); err != nil {
		w.t.Fatal(err)
	}
	w.seesStanza(bob, "leaving", "Carol the Great", func(s servers.Stanza) bool { return s.Kind == "presence" && s.Type == "unavailable" })
	w.participantsBecome("Carol left", before)

	dave := w.xmpp("dave", "Dave")
	w.group(dave, servers.XMPPMessage{Body: "Dave is here"})
	w.seesEvent(alice, "text", "Dave", matrixBody("Dave is here"))
	w.participantsBecome("Dave spoke", before+1)
	if err := dave.SetNick(ctx, w.muc, "Dave II"); err != nil {
		w.t.Fatal(err)
	}
	w.memberNamed(alice, "Dave II", true)
	if err := w.owner.Join(ctx, w.muc, "the owner", 0); err != nil {
		w.t.Fatal(err)
	}
	if err := w.owner.Kick(ctx, w.muc, "Dave II", "enough"); err != nil {
		w.t.Fatal(err)
	}
	w.memberNamed(alice, "Dave II", false)
}

// participants returns how many participants the room has.
func (w *world) participants() int {
	w.t.Helper()
	s, err := w.status(w.t.Context())
	if err != nil || len(s.Rooms) == 0 {
		w.t.Fatalf("status: %v", err)
	}
	return s.Rooms[0].Participants
}

func (w *world) participantsBecome(when string, want int) {
	w.t.Helper()
	eventually(w.t, when, func(ctx context.Context) error {
		if n := w.participants(); n != want {
			return fmt.Errorf("%d participants, want %d", n, want)
		}
		return nil
	})
}

// memberNamed waits until somebody of a name is, or is not, in the Matrix room.
func (w *world) memberNamed(c *servers.MatrixClient, name string, want bool) {
	w.t.Helper()
	eventually(w.t, name, func(ctx context.Context) error {
		all, err := c.Members(ctx, w.room)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(m servers.MatrixMember) bool { return m.Name == name }) != want {
			return fmt.Errorf("in the room: %v, want that to be %v: %v", !want, want, all)
		}
		return nil
	})
}

// once checks that nothing was shown twice, on either side.
func (w *world) once(alice *servers.MatrixClient, bob *servers.XMPPClient) {
	w.t.Helper()
	count := map[string]int{}
	for _, s := range bob.Events() {
		if s.Kind == "message" && s.Body != "" && s.Delay == "" && s.Retract == "" {
			count["XMPP: "+s.From+": "+s.Body]++
		}
	}
	for _, e := range alice.Events() {
		if e.Type == "m.room.message" {
			count["Matrix: "+e.Sender+": "+e.Body()]++
		}
	}
	for what, n := range count {
		if n > 1 && !strings.Contains(what, "edited in") { // said twice by the test itself
			w.t.Errorf("%d times %s", n, what)
		}
	}
}
