package xmpp

import (
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/muc"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/uri"
)

// FuzzStanzas gives an account with an open room whatever stanzas decode, one after the other: nothing of it may break us.
func FuzzStanzas(f *testing.F) {
	files, err := filepath.Glob("talk/testdata/in/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal(len(files), err)
	}
	const to = " to='gateway@gw.example/mimigate'"
	const self = "<presence from='room@muc.example/mimigate'" + to + "><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/><status code='110'/></x></presence>"
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(self + string(text))
	}
	for _, text := range []string{
		"<presence type='unavailable' from='room@muc.example/mimigate'" + to + "><x xmlns='http://jabber.org/protocol/muc#user'><item><actor nick='Ann'/><reason>no</reason></item><status code='110'/><status code='307'/></x></presence>",
		"<presence from='room@muc.example/Ann'" + to + "><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' jid='ann@b.example/x'/></x></presence>",
		"<presence type='unavailable' from='room@muc.example/Ann'" + to + "><x xmlns='http://jabber.org/protocol/muc#user'><item nick='Anna'/><status code='303'/></x></presence>",
		"<presence type='error' from='room@muc.example/Ann'" + to + "><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
		"<presence type='subscribe' from='ann@b.example' to='anna@gw.example'/>",
		"<message type='error' id='x' from='room@muc.example'" + to + "><error/></message>",
		"<message from='room@muc.example'" + to + "><result xmlns='urn:xmpp:mam:2' id='1' queryid='q'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='room@muc.example/Ann'><body>x</body></message></forwarded></result></message>",
		"<message type='groupchat' from='room@muc.example/Ann'" + to + "><subject>x</subject></message>",
		"<message from='room@muc.example'" + to + "><x xmlns='http://jabber.org/protocol/muc#user'><item jid='a@b' affiliation='outcast'/></x></message>",
		"<message from='ann@b.example/x' to='gateway@gw.example'><x xmlns='jabber:x:conference' jid='r@muc.example'/></message>",
		"<message from='ann@b.example/x' to='anna\\40x.example@gw.example' type='chat' id='1'><body>hi</body><request xmlns='urn:xmpp:receipts'/></message>",
		"<iq type='get' id='1' from='ann@b.example/x' to='gw.example'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>",
		"<iq type='set' id='1' from='ann@b.example/x' to='gateway@gw.example'><command xmlns='http://jabber.org/protocol/commands' node='mimigate'><x xmlns='jabber:x:data'><field var='words'><value>help</value></field></x></command></iq>",
		"<iq type='result' id='1' from='room@muc.example'" + to + "/>",
	} {
		f.Add(self + text)
	}
	gateway, err := uri.NewProvider("chat.example.org")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := newConfig().(*Config)
		cfg.Address, cfg.JID, cfg.Password = "127.0.0.1:1", "gw.example", "secret"
		made, err := newAdapter(adapter.Account{ID: "x", Provider: gateway, Config: cfg, State: &adaptertest.State{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		a := made.(*Adapter)
		const room = "room@muc.example"
		a.open[room] = muc.New(&a.rooms, room, a.lane(room))
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing is asked of a server, or reported
		l := &link.Link{Stream: &wire.Stream{Me: "gateway@gw.example/mimigate"}, Sink: &adaptertest.Recorder{}, Ctx: ctx, Log: a.account.Log}
		defer l.Wait()
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			tok, err := d.Token()
			if err != nil {
				return
			}
			start, ok := tok.(xml.StartElement)
			if !ok {
				continue
			}
			n, err := wire.Read(d, start)
			if err != nil {
				return
			}
			from := n.Attr("from")
			if reply := a.handle(l, n); reply != nil {
				if reply.Attr("to") != from && from != "" {
					t.Fatalf("%s answered to %q", text, reply.Attr("to"))
				}
				for r := reply.Reader(); ; {
					if _, err := r.Token(); err == io.EOF {
						break
					}
				}
			}
		}
	})
}
