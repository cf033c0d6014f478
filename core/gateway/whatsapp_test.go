//go:build !nowhatsapp

package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges"
	"mimigate/bridges/whatsapp"
	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/gateway"
)

// family is a WhatsApp on loopback with a group of Owner, whose account is ours, and Wanda.
type family struct {
	*waserver.Server
	owner, wanda *waserver.Phone
	group        types.JID
	driver       adapter.Driver
}

func newFamily(t *testing.T) *family {
	t.Helper()
	if testing.Short() {
		t.Skip("whatsmeow itself has data races")
	}
	s := waserver.Start(t)
	f := &family{Server: s, owner: s.Phone(t, "4915100000001", "Owner"), wanda: s.Phone(t, "4915100000002", "Wanda")}
	f.driver = whatsapp.DriverIn(whatsapp.Lab{Transport: s.HTTPClient().Transport, Hasty: true})
	f.group = f.owner.NewGroup(t, "Family", f.wanda)
	return f
}

// account is the configuration of the account, and chat what stands in a binding.
func (f *family) account() string {
	return "  - {id: wa, network: whatsapp, mode: relay, accept_ban_risk: true, messages_per_minute: 600}\n"
}

func (f *family) chat() string { return "wa/" + f.group.String() }

// link links the account of a gateway that runs, as `mimigate account login` does.
func (f *family) link(t *testing.T, g *running, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var client *gateway.Client
	eventually(t, "the gateway can be asked", func(ctx context.Context) (err error) {
		client, err = gateway.Dial(ctx, dir)
		return err
	})
	defer func() { _ = client.Close() }() // of a connection to this process
	for _, each := range [][2]string{{"start", "qr"}, {"answer", "yes"}, {"answer", ""}} {
		step, err := client.Login(ctx, "wa", each[0], each[1])
		if err != nil {
			t.Fatal(err)
		}
		if step.QR != "" {
			f.owner.Scan(t, step.QR)
		}
	}
	if err := client.Connected(ctx, "wa"); err != nil {
		t.Fatal(err)
	}
	g.opened(f.chat())
}

// TestWhatsApp lets a WhatsApp group and a loopback room meet: what each kind of content becomes on the other side, also after a restart,
// and what the ban of the account leaves alone.
func TestWhatsApp(t *testing.T) {
	f := newFamily(t)
	n, drivers := newNetworks("left", "right")
	drivers["whatsapp"] = f.driver
	dir := t.TempDir()
	c := load(t, dir, `
provider: {domain: north.example, store: store}
accounts:
  - {id: left, network: left}
  - {id: right, network: right}
`+f.account()+`rooms:
  - {id: both, name: Both, bind: [left/room, right/room, "`+f.chat()+`"]}
`, drivers)
	ann := n.join(t, "left", "Ann")
	g := start(t, c, drivers)
	f.link(t, g, c.Provider.Files)
	ok := must(t)

	hello := ok(ann.Say("Hello"))
	shown := waclient.WaitText(t, f.wanda.Client, "*Ann:* Hello")
	f.wanda.Send(t, f.group, &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("Hi *Ann*"), ContextInfo: &waE2E.ContextInfo{
		StanzaID: proto.String(shown.Info.ID), Participant: proto.String(f.owner.LID().String()), QuotedMessage: &waE2E.Message{Conversation: proto.String("Hello")}}}})
	answer := n.sees(t, "left", "Wanda", "Hi **Ann**")
	if answer.To != hello {
		t.Errorf("Wanda's answer is to %q, want %q", answer.To, hello)
	}
	if m := n.sees(t, "right", "Wanda", "Hi **Ann**"); m.To == "" {
		t.Error("on the other network it answers nothing")
	}
	f.wanda.Send(t, f.group, f.wanda.BuildReaction(f.group, f.owner.LID(), shown.Info.ID, "👍"))
	n.wait(t, "left", "Wanda's reaction", func(all []bridges.ChatMessage) bool {
		for _, m := range all {
			if m.ID == hello && len(m.Reactions) == 1 && m.Reactions[0].Name == "Wanda" {
				return true
			}
		}
		return false
	})
	ok(ann.Reply(answer.ID, "And how are you?"))
	reply := waclient.WaitText(t, f.wanda.Client, "*Ann:* And how are you?")
	if reply.Message.GetExtendedTextMessage().GetContextInfo().GetParticipant() != f.wanda.LID().String() {
		t.Errorf("the reply is %v", reply.Message)
	}
	ok(ann.React(answer.ID, "❤️")) // one account cannot react for everybody
	waclient.Wait(t, f.wanda.Client, func(m *events.Message) bool {
		return strings.HasPrefix(waclient.Text(m), "*Ann:*") && strings.Contains(waclient.Text(m), "❤️")
	})
	said := f.wanda.Text(t, f.group, "typo")
	n.sees(t, "left", "Wanda", "typo")

	g.end()
	f.wanda.Send(t, f.group, f.wanda.BuildEdit(f.group, said, &waE2E.Message{Conversation: proto.String("no typo")}))
	g = start(t, c, drivers)
	n.sees(t, "left", "Wanda", "no typo")
	ok(ann.Edit(hello, "Hello!"))
	waclient.Wait(t, f.wanda.Client, func(m *events.Message) bool {
		p := m.Message.GetProtocolMessage()
		return p.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT && p.GetKey().GetID() == shown.Info.ID && p.GetEditedMessage().GetConversation() == "*Ann:* Hello!"
	})
	ok(ann.Delete(hello))
	waclient.Wait(t, f.wanda.Client, func(m *events.Message) bool {
		p := m.Message.GetProtocolMessage()
		return p != nil && p.GetType() == waE2E.ProtocolMessage_REVOKE && p.GetKey().GetID() == shown.Info.ID
	})

	f.Refuse(f.owner.Number(), waserver.Outdated())
	eventually(t, "the account says that it is outdated", func(ctx context.Context) error {
		s, err := g.Status(ctx)
		if err != nil {
			return err
		}
		for _, a := range s.Accounts {
			if a.ID == "wa" && (a.State != "outdated" || a.Do == "") {
				return fmt.Errorf("%+v", a)
			}
		}
		return nil
	})
	ok(ann.Say("Without WhatsApp"))
	n.sees(t, "right", "Ann", "Without WhatsApp")
}

// TestWhatsAppWorld lets a WhatsApp group, a room on a real Synapse and a MUC on a real Prosody meet.
func TestWhatsAppWorld(t *testing.T) {
	f := newFamily(t)
	w := newWorld(t)
	drivers := bridges.Drivers()
	drivers["whatsapp"] = f.driver
	text := strings.Replace(w.config, "rooms:\n", f.account()+"rooms:\n", 1)
	text = strings.Replace(text, fmt.Sprintf(`"xmpp-home/%s"]`, w.muc), fmt.Sprintf(`"xmpp-home/%s", %q]`, w.muc, f.chat()), 1)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "file:registration.yaml", "file:"+w.dir+"/registration.yaml"), "file:secret", "file:"+w.dir+"/secret")
	c := load(t, w.dir, text, drivers)
	g := start(t, c, drivers)
	f.link(t, g, c.Provider.Files)
	g.opened("matrix-home/"+w.room, "xmpp-home/"+w.muc)
	alice, bob := w.matrix("alice", "Alice"), w.xmpp("bob", "Bob")
	ok, ctx := must(t), t.Context()

	ok(alice.Send(ctx, w.room, "Hello from Matrix"))
	waclient.WaitText(t, f.wanda.Client, "*Alice:* Hello from Matrix")
	w.group(bob, servers.XMPPMessage{Body: "Hello from XMPP"})
	waclient.WaitText(t, f.wanda.Client, "*Bob:* Hello from XMPP")
	f.wanda.Text(t, f.group, "Hello from WhatsApp")
	w.seesStanza(bob, "text", "Wanda", groupBody("Hello from WhatsApp"))
	w.seesEvent(alice, "text", "Wanda", matrixBody("Hello from WhatsApp"))
	f.wanda.Send(t, f.group, &waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: proto.Float64(48.2), DegreesLongitude: proto.Float64(16.37)}})
	w.seesEvent(alice, "place", "Wanda", func(e servers.MatrixEvent) bool { return strings.Contains(fmt.Sprint(e.Content), "geo:48.2,16.37") })
	w.seesStanza(bob, "place", "Wanda", func(s servers.Stanza) bool { return strings.Contains(s.Body, "geo:48.2,16.37") })
	f.wanda.Send(t, f.group, &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Mimetype: proto.String("image/jpeg"), FileLength: proto.Uint64(230_000),
		DirectPath: proto.String("/v/1"), MediaKey: make([]byte, 32), FileSHA256: make([]byte, 32), FileEncSHA256: make([]byte, 32), Caption: proto.String("the lake")}})
	w.seesStanza(bob, "picture", "Wanda", func(s servers.Stanza) bool {
		return strings.Contains(s.Body, "photo") || strings.Contains(s.Body, "the lake")
	})
}
