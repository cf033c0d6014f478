package xmpp

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
)

// fake is a server that says what no Prosody would, to one component at a time.
type fake struct {
	t    *testing.T
	addr string

	mu     sync.Mutex
	conn   net.Conn
	joins  int
	lost   bool // the room has forgotten us, and says so only when asked
	silent bool // the room shows nothing that is said
	ids    int
}

const (
	fakeRoom = "room@muc.example"
	fakeSelf = "gateway@gw.example/mimigate"
)

func newFake(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.serve(conn)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		if f.conn != nil {
			_ = f.conn.Close()
		}
		f.mu.Unlock()
		serving.Wait()
	})
	return f
}

// serve speaks XEP-0114 and is a room.
func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	f.mu.Lock()
	f.conn = conn
	f.mu.Unlock()
	d := xml.NewDecoder(conn)
	for {
		tok, err := d.Token()
		if err != nil {
			return
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local == "stream" {
			f.say("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='gw.example'>")
			continue
		}
		n, err := wire.Read(d, start)
		if err != nil {
			return
		}
		f.answer(n)
	}
}

func (f *fake) say(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.conn.Write([]byte(text))
}

func (f *fake) answer(n *wire.Node) {
	id, from := n.Attr("id"), n.Attr("from")
	result := func(payload string) {
		f.say(fmt.Sprintf("<iq type='result' id='%s' from='%s' to='%s'>%s</iq>", id, n.Attr("to"), from, payload))
	}
	switch {
	case n.Name.Local == "handshake":
		f.say("<handshake/>")
	case n.Child(wire.NSDiscoInfo, "query") != nil:
		// Somebody else answers first, and is not heard.
		f.say(fmt.Sprintf("<iq type='error' id='%s' from='mallory@evil.example' to='%s'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", id, from))
		result("<query xmlns='" + wire.NSDiscoInfo + "'><identity category='conference' name='Fake'/><feature var='" + wire.NSMAM + "'/><feature var='" + wire.NSStanzaID + "'/></query>")
	case n.Child(wire.NSMAM, "query") != nil:
		result("<fin xmlns='" + wire.NSMAM + "' complete='true'/>")
	case n.Child(wire.NSPing, "ping") != nil:
		f.mu.Lock()
		lost := f.lost
		f.mu.Unlock()
		if lost && strings.HasPrefix(n.Attr("to"), fakeRoom) {
			f.say(fmt.Sprintf("<iq type='error' id='%s' from='%s' to='%s'><error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", id, n.Attr("to"), from))
			return
		}
		result("")
	case n.Name.Local == "presence" && n.Attr("type") == "":
		f.mu.Lock()
		f.joins++
		f.lost = false
		f.mu.Unlock()
		f.say(fmt.Sprintf("<presence from='%s' to='%s'><x xmlns='%s'><item affiliation='none' role='participant'/><status code='110'/></x></presence>", n.Attr("to"), from, wire.NSMUCUser))
		f.say(fmt.Sprintf("<message type='groupchat' from='%s' to='%s'><subject/></message>", fakeRoom, from))
	case n.Name.Local == "message" && n.Attr("type") == "groupchat":
		f.echo(n)
	}
}

// echo shows a message to the gateway's own name, as the room does.
func (f *fake) echo(n *wire.Node) {
	f.mu.Lock()
	silent := f.silent
	f.ids++
	sid := f.ids
	f.mu.Unlock()
	if !silent {
		f.say(fmt.Sprintf("<message type='groupchat' id='%s' from='%s/mimigate' to='%s'><body>%s</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='%d'/></message>",
			n.Attr("id"), fakeRoom, fakeSelf, n.Child("", "body").Chars(), fakeRoom, sid))
	}
}

func (f *fake) component() *running {
	cfg := newConfig().(*Config)
	cfg.Address, cfg.JID, cfg.Password = f.addr, "gw.example", "secret"
	return run(f.t, create(f.t, cfg, &adaptertest.State{}))
}

// TestSelfPing: a room that has forgotten us is found out (XEP-0410), and entered again.
func TestSelfPing(t *testing.T) {
	f := newFake(t)
	x := f.component().open(fakeRoom)
	f.mu.Lock()
	f.lost = true
	f.mu.Unlock()
	x.mu.Lock()
	l := x.link
	x.mu.Unlock()
	x.tend(l, time.Now().Add(wire.PingAfter+time.Second))
	x.hears("that the room lost us", status(adapter.Degraded, fakeRoom, "lost us"))
	x.say(adapter.Author{}, "back")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.joins != 2 {
		t.Errorf("joined %d times, want 2", f.joins)
	}
}

// TestForged: what claims to come from the room's archive, its stamps, or our own past is looked at twice.
func TestForged(t *testing.T) {
	f := newFake(t)
	x := f.component().open(fakeRoom)
	sent := x.say(adapter.Author{}, "hello")
	if sent.Parts[0].ID != talk.Stamped("1") {
		t.Fatalf("sent as %q", sent.Parts[0].ID)
	}
	message := func(from, id, inside string) {
		f.say(fmt.Sprintf("<message type='groupchat' id='%s' from='%s' to='%s'>%s</message>", id, from, fakeSelf, inside))
	}
	// A stanza-id of somebody else's is none; that of an own message belongs to nobody else's.
	message(fakeRoom+"/Mallory", "m1", "<body>forged stamp</body><stanza-id xmlns='urn:xmpp:sid:0' by='mallory@evil.example' id='1'/>")
	// An id like ours, but without our code.
	message(fakeRoom+"/Mallory", "KEY-0-0-0123456789abcdef0123", "<body>forged id</body><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='3'/>")
	// An archive that nobody asked, and one that is not the room's.
	for _, from := range []string{fakeRoom, "mallory@evil.example"} {
		f.say(fmt.Sprintf("<message from='%s' to='%s'><result xmlns='urn:xmpp:mam:2' id='9' queryid='q'><forwarded xmlns='urn:xmpp:forward:0'>"+
			"<message xmlns='jabber:client' type='groupchat' from='%s/Ann'><body>forged archive</body></message></forwarded></result></message>", from, fakeSelf, fakeRoom))
	}
	// A correction of Ann's message by Mallory is a message of his own.
	message(fakeRoom+"/Ann", "a1", "<body>mine</body><occupant-id xmlns='urn:xmpp:occupant-id:0' id='ann'/><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='4'/>")
	message(fakeRoom+"/Mallory", "m2", "<body>not yours</body><replace xmlns='urn:xmpp:message-correct:0' id='a1'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='mal'/><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='5'/>")
	message(fakeRoom+"/Ann", "a2", "<body>still mine</body><replace xmlns='urn:xmpp:message-correct:0' id='a1'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='ann'/><stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='6'/>")

	if ev := x.hears("the forged stamp", says("forged stamp")); ev.ID != talk.Given("m1") || ev.Own {
		t.Errorf("%+v", ev)
	}
	if ev := x.hears("the forged id", says("forged id")); ev.Own {
		t.Errorf("%+v", ev)
	}
	if m := x.hears("Mallory's correction", says("not yours")).Body.(adapter.Message); m.Replaces != "" {
		t.Errorf("Mallory has edited %q", m.Replaces)
	}
	if m := x.hears("Ann's correction", says("still mine")).Body.(adapter.Message); m.Replaces != talk.Stamped("4") {
		t.Errorf("Ann has edited %q", m.Replaces)
	}
	for _, ev := range x.sink.Events() {
		if says("forged archive")(ev) {
			t.Error("an archive that nobody asked was believed")
		}
	}
}

// TestOddStanzas: a stanza that is too much is passed over, and one that is far too much ends the connection, not the program.
func TestOddStanzas(t *testing.T) {
	f := newFake(t)
	x := f.component().open(fakeRoom)
	f.say("<message type='groupchat' from='" + fakeRoom + "/Ann' to='" + fakeSelf + "'>" + strings.Repeat("<a>", 200) + strings.Repeat("</a>", 200) + "<body>deep</body></message>")
	f.say("<message type='groupchat' id='1' from='" + fakeRoom + "/Ann' to='" + fakeSelf + "'><body>after it</body></message>")
	x.hears("what comes after it", says("after it"))
	f.say("<message type='groupchat' from='" + fakeRoom + "/Ann' to='" + fakeSelf + "'><body>" + strings.Repeat("x", 9<<20) + "</body></message>")
	x.hears("the end of the connection", status(adapter.Connecting, "8 MiB"))
	x.say(adapter.Author{}, "we go on")
}

// TestNoEcho: what the room does not show has an unknown outcome as soon as the caller gives up.
func TestNoEcho(t *testing.T) {
	f := newFake(t)
	x := f.component().open(fakeRoom)
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	out := x.outbound(adapter.Author{}, content.Text("x"))
	ctx, cancel := contextFor(200 * time.Millisecond)
	defer cancel()
	if _, err := x.Send(ctx, out); err == nil || errors.Is(err, adapter.ErrNotDelivered) {
		t.Errorf("Send: %v", err)
	}
	if _, err := x.Confirm(x.ctx(), out); !errors.Is(err, adapter.ErrNotDelivered) {
		t.Errorf("Confirm: %v", err)
	}
}
