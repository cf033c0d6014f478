//go:build !nowhatsapp

package waserver_test

import (
	"strings"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

const (
	aliceNumber = "4915100000001"
	bobNumber   = "4915100000002"
	carolNumber = "4915100000003"
)

// quiet fails the test if a client complained, or asked what the server does not know.
func quiet(t *testing.T, s *waserver.Server, clients ...*waclient.Client) {
	t.Helper()
	for _, c := range clients {
		for _, line := range c.Complaints() {
			// Who sends before it has handled that devices changed is told so, and goes by the new list from then on.
			if !strings.HasPrefix(line, "Server returned different participant list hash") {
				t.Errorf("%s: %s", c.Store.PushName, line)
			}
		}
	}
	for _, u := range s.Unknown() {
		t.Errorf("the server does not know %s", u)
	}
}

func TestDirect(t *testing.T) {
	s := waserver.Start(t)
	alice, bob := s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	id := alice.Text(t, bob.JID(), "hello bob")
	m := waclient.WaitText(t, bob.Client, "hello bob")
	if m.Info.Sender != alice.LID() || m.Info.SenderAlt != alice.JID() || m.Info.PushName != "Alice" || m.Info.ID != id {
		t.Errorf("message of %s, also %s, called %q, id %s", m.Info.Sender, m.Info.SenderAlt, m.Info.PushName, m.Info.ID)
	}
	alice.WaitReceipt(t, id, types.ReceiptTypeDelivered)
	if err := bob.MarkRead(t.Context(), []string{id}, m.Info.Timestamp, m.Info.Chat, m.Info.Sender); err != nil {
		t.Fatal(err)
	}
	alice.WaitReceipt(t, id, types.ReceiptTypeRead)
	if err := bob.SendChatPresence(t.Context(), m.Info.Chat, types.ChatPresenceComposing, ""); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, alice.Client, func(e *events.ChatPresence) bool {
		return e.State == types.ChatPresenceComposing && e.Sender == bob.LID()
	})
	bob.Text(t, m.Info.Chat, "hello alice")
	waclient.WaitText(t, alice.Client, "hello alice")
	quiet(t, s, alice.Client, bob.Client)
}

func TestLinkByQR(t *testing.T) {
	s := waserver.Start(t)
	alice, bob := s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	linked := alice.Link(t)
	if linked.Store.PushName != "Alice" {
		t.Errorf("push name %q", linked.Store.PushName)
	}
	// Both of Alice's devices get what Bob sends, and each what the other sends.
	bob.Text(t, alice.JID(), "to both")
	waclient.WaitText(t, alice.Client, "to both")
	waclient.WaitText(t, linked, "to both")
	linked.Text(t, bob.JID(), "from the linked one")
	waclient.WaitText(t, bob.Client, "from the linked one")
	m := waclient.WaitText(t, alice.Client, "from the linked one")
	if !m.Info.IsFromMe || m.Info.Chat != bob.LID() {
		t.Errorf("own message: %+v", m.Info)
	}
	alice.Text(t, bob.JID(), "from the phone")
	if m := waclient.WaitText(t, linked, "from the phone"); !m.Info.IsFromMe || m.Info.Chat != bob.LID() {
		t.Errorf("own message: %+v", m.Info)
	}
	if a := s.Accepted(aliceNumber); len(a) != 1 || a[0].Type != "text" {
		t.Errorf("accepted %+v", a)
	}
	quiet(t, s, alice.Client, bob.Client, linked)
}

func TestLinkByCode(t *testing.T) {
	s := waserver.Start(t)
	alice := s.Phone(t, aliceNumber, "Alice")
	c := s.Client(t)
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	c.WaitQR(t)
	if _, err := c.PairPhone(t.Context(), aliceNumber, true, whatsmeow.PairClientChrome, "mimigate"); err == nil {
		t.Error("a display name that WhatsApp refuses was taken")
	}
	code, err := c.PairPhone(t.Context(), aliceNumber, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		t.Fatal(err)
	}
	alice.EnterCode(t, code)
	waclient.Wait[*events.PairSuccess](t, c, nil)
	waclient.Wait[*events.Connected](t, c, nil)
	alice.Text(t, alice.JID(), "note to self")
	waclient.WaitText(t, c, "note to self")
	quiet(t, s, alice.Client, c)
}

func TestGroup(t *testing.T) {
	s := waserver.Start(t)
	alice, bob := s.Phone(t, aliceNumber, "Alice"), s.Phone(t, bobNumber, "Bob")
	g := alice.NewGroup(t, "Family", bob)
	id := alice.Text(t, g, "hello all")
	m := waclient.WaitText(t, bob.Client, "hello all")
	if m.Info.Chat != g || m.Info.Sender != alice.LID() || m.Info.SenderAlt != alice.JID() {
		t.Errorf("message: %+v", m.Info)
	}
	alice.WaitReceipt(t, id, types.ReceiptTypeDelivered)
	bob.Text(t, g, "hello you")
	waclient.WaitText(t, alice.Client, "hello you")
	quiet(t, s, alice.Client, bob.Client)
}
