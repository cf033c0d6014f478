//go:build !nowhatsapp

package waserver_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

func text(s string) *waE2E.Message { return &waE2E.Message{Conversation: proto.String(s)} }

// accepted is how often a message was taken from Alice's linked devices.
func accepted(s *waserver.Server, id string) int {
	n := 0
	for _, a := range s.Accepted(aliceNumber) {
		if a.ID == id {
			n++
		}
	}
	return n
}

func TestHoldAcks(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.WaitQuiet(t, aliceNumber)
	remove := s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Ack, Do: waserver.Hold})
	type result struct {
		id  string
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := linked.SendMessage(t.Context(), bob.JID(), text("held"))
		done <- result{r.ID, err}
	}()
	waclient.WaitText(t, bob.Client, "held") // it was accepted
	s.WaitHeld(t, 1)
	select {
	case r := <-done:
		t.Fatalf("the client knows that it was accepted: %+v", r)
	default:
	}
	remove()
	s.Release()
	if r := <-done; r.err != nil || accepted(s, r.id) != 1 {
		t.Errorf("%+v, accepted %d times", r, accepted(s, r.id))
	}
	_ = alice
}

// The connection is lost before, or after, an acknowledgement; a client that sends again does so under the same id.
func TestCut(t *testing.T) {
	for name, do := range map[string]waserver.Do{"before": waserver.Cut, "after": waserver.CutAfter} {
		t.Run(name, func(t *testing.T) {
			s, _, linked, bob := start(t)
			s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Ack, Skip: 1, Times: 1, Do: do})
			linked.Text(t, bob.JID(), "first")
			id := linked.Text(t, bob.JID(), "second")
			waclient.Wait[*events.Disconnected](t, linked, nil)
			waclient.WaitText(t, bob.Client, "second")
			waclient.Wait[*events.Connected](t, linked, nil)
			want := 1
			if do == waserver.Cut {
				want = 2 // whatsmeow sends the same stanza again after it has reconnected
			}
			if n := accepted(s, id); n != want {
				t.Errorf("accepted %d times, want %d", n, want)
			}
			linked.Text(t, bob.JID(), "third")
			waclient.WaitText(t, bob.Client, "third")
			for _, m := range waclient.Kept[*events.Message](bob.Client) {
				if waclient.Text(m) == "second" {
					t.Error("Bob saw the message twice")
				}
			}
		})
	}
}

func TestLost(t *testing.T) {
	s, _, linked, bob := start(t)
	s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.FromClient, Match: waserver.Message, Times: 1, Do: waserver.Lose})
	_, err := linked.SendMessage(t.Context(), bob.JID(), text("lost"), whatsmeow.SendRequestExtra{ID: "LOST", Timeout: 200 * time.Millisecond})
	if !errors.Is(err, whatsmeow.ErrMessageTimedOut) || accepted(s, "LOST") != 0 {
		t.Errorf("error %v, accepted %d times", err, accepted(s, "LOST"))
	}
	if _, err := linked.SendMessage(t.Context(), bob.JID(), text("lost"), whatsmeow.SendRequestExtra{ID: "LOST"}); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, bob.Client, "lost")
}

func TestReject(t *testing.T) {
	s, _, linked, bob := start(t)
	remove := s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.FromClient, Match: waserver.Message, Skip: 1, Do: waserver.Reject, Code: 429})
	linked.Text(t, bob.JID(), "in the limit")
	if _, err := linked.SendMessage(t.Context(), bob.JID(), text("over it")); !errors.Is(err, whatsmeow.ErrServerReturnedError) {
		t.Errorf("error %v", err)
	}
	remove()
	remove = s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.FromClient, Match: waserver.Request("w:g2"), Do: waserver.Reject, Code: 429})
	if _, err := linked.GetJoinedGroups(t.Context()); !errors.Is(err, whatsmeow.ErrIQRateOverLimit) {
		t.Errorf("error %v", err)
	}
	remove()
	if _, err := linked.GetJoinedGroups(t.Context()); err != nil {
		t.Error(err)
	}
}

// A message delivered twice is shown once by a client that keeps what it has decrypted; the server does deliver it twice.
func TestTwice(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.WaitQuiet(t, aliceNumber)
	s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Message, Times: 1, Do: waserver.Twice})
	bob.Text(t, alice.JID(), "double")
	bob.Text(t, alice.JID(), "after it")
	waclient.WaitText(t, linked, "after it")
	waclient.WaitText(t, linked, "double")
	for _, m := range waclient.Kept[*events.Message](linked) {
		if waclient.Text(m) == "double" {
			t.Error("it came twice")
		}
	}
}

// A message that could not be decrypted is asked for again, and the sender encrypts it anew: in a chat, in a group.
func TestRetry(t *testing.T) {
	s, alice, linked, bob := start(t)
	g := alice.NewGroup(t, "Family", bob)
	bob.Text(t, g, "hello")
	waclient.WaitText(t, linked, "hello")
	for _, to := range []string{"chat", "group"} {
		t.Run(to, func(t *testing.T) {
			s.WaitQuiet(t, aliceNumber)
			chat := alice.JID()
			if to == "group" {
				chat = g
			}
			s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Message, Times: 1, Do: waserver.Spoil})
			id := bob.Text(t, chat, "again, "+to)
			waclient.Wait(t, linked, func(e *events.UndecryptableMessage) bool { return e.Info.ID == id })
			m := waclient.WaitText(t, linked, "again, "+to)
			if m.Info.ID != id || m.RetryCount != 1 {
				t.Errorf("id %s, retry %d; want %s, 1", m.Info.ID, m.RetryCount, id)
			}
			waclient.WaitText(t, alice.Client, "again, "+to)
		})
	}
}

// What no retry brings, the phone has: a device that asks it gets the message from there.
func TestResend(t *testing.T) {
	s, alice, linked, bob := start(t)
	bob.Text(t, alice.JID(), "hello")
	waclient.WaitText(t, linked, "hello")
	s.WaitQuiet(t, aliceNumber)
	fromBob := func(n *node) bool { return waserver.Message(n) && n.Attrs["category"] == nil }
	s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: fromBob, Do: waserver.Spoil})
	id := bob.Text(t, alice.JID(), "from the phone")
	e := waclient.Wait(t, linked, func(e *events.UndecryptableMessage) bool { return e.Info.ID == id })
	waclient.WaitText(t, alice.Client, "from the phone")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := linked.SendPeerMessage(ctx, linked.BuildUnavailableMessageRequest(e.Info.Chat, e.Info.Sender, id)); err != nil {
		t.Fatal(err)
	}
	m := waclient.WaitText(t, linked, "from the phone")
	if m.UnavailableRequestID == "" || m.Info.ID != id {
		t.Errorf("%+v", m.Info)
	}
}

// What a client sends can be lost with its connection, before or after it is taken, held, and taken twice.
func TestFromClient(t *testing.T) {
	for name, c := range map[string]struct {
		do    waserver.Do
		taken int
	}{"cut": {waserver.Cut, 1}, "cut after": {waserver.CutAfter, 2}, "twice": {waserver.Twice, 2}, "hold": {waserver.Hold, 1}} {
		t.Run(name, func(t *testing.T) {
			s, _, linked, bob := start(t)
			linked.Text(t, bob.JID(), "first")
			// An acknowledgement may still be on its way when the connection ends: here it never is.
			rule := waserver.Rule{Number: aliceNumber, Way: waserver.FromClient, Match: waserver.Message, Times: 1, Do: c.do}
			if c.do == waserver.CutAfter {
				s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Ack, Times: 1, Do: waserver.Lose})
			}
			s.Script(rule)
			done := make(chan error, 1)
			go func() {
				_, err := linked.SendMessage(t.Context(), bob.JID(), text(name), whatsmeow.SendRequestExtra{ID: "ID"})
				done <- err
			}()
			if c.do == waserver.Hold {
				s.WaitHeld(t, 1)
				if n := accepted(s, "ID"); n != 0 {
					t.Errorf("accepted %d times while held", n)
				}
				s.Release()
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			waclient.WaitText(t, bob.Client, name)
			if n := accepted(s, "ID"); n != c.taken {
				t.Errorf("accepted %d times, want %d", n, c.taken)
			}
		})
	}
}

// A message to be viewed once does not come to linked devices; that there is one does.
func TestWithhold(t *testing.T) {
	s, alice, linked, bob := start(t)
	s.WaitQuiet(t, aliceNumber)
	s.Script(waserver.Rule{Number: aliceNumber, Way: waserver.ToClient, Match: waserver.Message, Times: 1, Do: waserver.Withhold})
	id := bob.Text(t, alice.JID(), "look once")
	e := waclient.Wait(t, linked, func(e *events.UndecryptableMessage) bool { return e.Info.ID == id })
	if !e.IsUnavailable || e.UnavailableType != events.UnavailableTypeViewOnce {
		t.Errorf("%+v", e)
	}
	waclient.WaitText(t, alice.Client, "look once")
}

// What the server does not know is refused and remembered.
func TestUnknown(t *testing.T) {
	s, _, linked, _ := start(t)
	if _, err := linked.GetBotListV2(t.Context()); err == nil {
		t.Error("the server knows bots")
	}
	if u := s.Unknown(); len(u) != 1 || u[0] != "bot/bot" {
		t.Errorf("unknown %v", u)
	}
}
