//go:build !nowhatsapp

package waserver

import (
	"context"
	"sync"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"

	"mimigate/bridges/whatsapp/waserver/link"
	"mimigate/bridges/whatsapp/waserver/stanza"
	"mimigate/bridges/whatsapp/waserver/waclient"
)

// Phone is a person's phone: device 0 of their account, whose identity key signs the devices that it links. It is a
// whatsmeow client that does what apps on phones do for linked devices: it shares the keys of app state with a device that
// is new, keeps the push name in app state, and sends what a device asks for because it could not decrypt it.
type Phone struct {
	*waclient.Client
	server   *Server
	account  *account
	identity *keys.KeyPair

	jobs chan func(context.Context)

	kept sync.Mutex
	seen map[types.MessageID]*events.Message
}

// Client makes a client that is not linked yet: connect it, and have a Phone scan its code. It ends with the test.
func (s *Server) Client(t testing.TB) *waclient.Client {
	t.Helper()
	return waclient.New(t, s.Hook, nil)
}

// Phone makes an account with a phone that is online; name is its push name. Where an account has the number, its owner
// registers anew on another phone: linked devices are unlinked, app state is gone, and others learn of a new identity.
func (s *Server) Phone(t testing.TB, number, name string) *Phone {
	t.Helper()
	p := &Phone{server: s, jobs: make(chan func(context.Context), 64), seen: map[types.MessageID]*events.Message{}}
	var err error
	own := &device{}
	p.Client = waclient.New(t, s.Hook, func(d *store.Device) {
		d.PushName, d.Platform = name, "android"
		p.identity = d.IdentityKey
		s.mu.Lock()
		defer s.mu.Unlock()
		p.account = s.add(number, name)
		own.account, own.noise, own.identity = p.account, d.NoiseKey.Pub[:], d.IdentityKey.Pub[:]
		p.account.register(own)
		id := own.pn()
		d.ID, d.LID = &id, own.lid()
		if d.Account, err = link.Sign(d.IdentityKey, 0, d.IdentityKey.Pub[:], stanza.Now()); err == nil {
			d.Account.DeviceSignature = make([]byte, 64) // a phone's own is never asked for
		}
	})
	ctx := t.Context()
	if err == nil {
		err = p.Store.Save(ctx)
	}
	if err != nil {
		t.Fatalf("waserver: phone: %v", err)
	}
	p.StoreLIDPNMapping(ctx, p.LID(), p.JID())
	p.giveKeys(t, own)
	if err := p.MakeKey(ctx, appStateKey); err != nil {
		t.Fatal(err)
	}
	p.work(t)
	p.AddEventHandler(p.serve)
	p.Login(t)
	if err := p.SendAppState(ctx, appstate.BuildSettingPushName(name)); err != nil {
		t.Fatalf("waserver: phone: push name: %v", err)
	}
	if err := p.SendPresence(ctx, types.PresenceAvailable); err != nil {
		t.Fatalf("waserver: phone: presence: %v", err)
	}
	s.wait(t, "the phone is available", func() bool { return p.account.devices[0].available })
	return p
}

// phoneKeys is how many one-time keys a phone has at first. It hands them to the server directly, which takes less time.
const phoneKeys = 50

func (p *Phone) giveKeys(t testing.TB, own *device) {
	t.Helper()
	k, err := p.Keys(t.Context(), phoneKeys)
	if err != nil {
		t.Fatal(err)
	}
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	own.registration, own.signed, own.oneTime = k.Registration, k.Signed, k.OneTime
}

// appStateKey is the id of the one key of app state that a phone has.
var appStateKey = []byte{0, 0, 0, 0, 0, 1}

// JID is the person by number, LID by LID, Number only the digits.
func (p *Phone) JID() types.JID { return p.account.PN }

// LID is the person's LID.
func (p *Phone) LID() types.JID { return p.account.LID }

// Number is the person's number, digits only.
func (p *Phone) Number() string { return p.account.PN.User }

// work starts what does the phone's errands, which ends before the client does.
func (p *Phone) work(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case job := <-p.jobs:
				job(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// Scan is the person holding their phone to a QR code: it links the client that shows it. The device's JID is returned.
func (p *Phone) Scan(t testing.TB, text string) types.JID {
	t.Helper()
	code, err := link.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	j, err := p.link(code)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// link signs and links the client of a code.
func (p *Phone) link(code link.Code) (types.JID, error) {
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	ss, d, err := s.claim(p.account, code)
	if err != nil {
		return types.EmptyJID, err
	}
	identity, err := link.Sign(p.identity, d.id, code.Identity, stanza.Now())
	if err != nil {
		return types.EmptyJID, err
	}
	sealed, err := link.Seal(identity, code.Secret)
	if err != nil {
		return types.EmptyJID, err
	}
	ss.succeed(d, sealed)
	p.jobs <- func(ctx context.Context) { p.welcome(ctx, d) }
	return d.pn(), nil
}

// NewGroup makes a group with others and waits until their phones know it.
func (p *Phone) NewGroup(t testing.TB, subject string, others ...*Phone) types.JID {
	t.Helper()
	var list []types.JID
	for _, o := range others {
		list = append(list, o.JID())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g, err := p.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: subject, Participants: list})
	if err != nil {
		t.Fatalf("waserver: create group: %v", err)
	}
	for _, o := range others {
		waclient.Wait(t, o.Client, func(e *events.JoinedGroup) bool { return e.JID == g.JID })
	}
	return g.JID
}

// EnterCode is the person typing a pairing code into their phone: it links the client that shows it. It waits until a
// client asks for this number.
func (p *Phone) EnterCode(t testing.TB, code string) types.JID {
	t.Helper()
	s := p.server
	var asked *codeLink
	s.wait(t, "a client asks for a pairing code", func() bool { asked = s.codes[p.Number()]; return asked != nil })
	exchange, err := link.Begin(p.identity, code, asked.wrapped)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	asked.session.push(&waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "link_code_companion_reg", "id": s.next(), "t": stanza.Now()},
		Content: []waBinary.Node{{Tag: "link_code_companion_reg", Attrs: waBinary.Attrs{"stage": "primary_hello"}, Content: []waBinary.Node{
			{Tag: "link_code_pairing_ref", Content: asked.ref},
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: exchange.Hello},
			{Tag: "primary_identity_pub", Content: p.identity.Pub[:]},
		}}}})
	s.mu.Unlock()
	s.wait(t, "the client finishes", func() bool { return asked.bundle != nil })
	finished, err := exchange.Finish(asked.bundle)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	for ref, ss := range s.refs {
		if ss == asked.session {
			finished.Ref = ref
		}
	}
	delete(s.codes, p.Number())
	s.mu.Unlock()
	j, err := p.link(finished)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Link makes another client and links it to the phone by QR code. It is logged in, and has all app state.
func (p *Phone) Link(t testing.TB) *waclient.Client {
	t.Helper()
	c := p.server.Client(t)
	if err := c.Connect(); err != nil {
		t.Fatalf("waserver: connect: %v", err)
	}
	p.Scan(t, c.WaitQR(t))
	waclient.Wait[*events.PairSuccess](t, c, nil)
	waclient.Wait[*events.Connected](t, c, nil)
	for _, name := range appstate.AllPatchNames {
		waclient.Wait(t, c, func(e *events.AppStateSyncComplete) bool { return e.Name == name })
	}
	return c
}

// Unlink is the person removing a linked device on their phone.
func (p *Phone) Unlink(t testing.TB, j types.JID) {
	t.Helper()
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	d := p.server.device(j)
	if d == nil || d.account != p.account || d.id == 0 {
		t.Fatalf("waserver: %s is not linked to this phone", j)
	}
	p.server.unlink(d)
}

// welcome gives a new device, once it has given out its keys, the key of app state.
func (p *Phone) welcome(ctx context.Context, d *device) {
	if !p.server.until(ctx, func() bool { return d.signed.Tag != "" }) {
		return
	}
	p.told(p.ShareKey(ctx, d.lid(), appStateKey))
}

// told complains of what went wrong while the phone did something by itself.
func (p *Phone) told(err error) {
	if err != nil {
		p.Complain("phone: %v", err)
	}
}

// serve keeps what the phone has received, and answers its linked devices.
func (p *Phone) serve(event any) {
	m, ok := event.(*events.Message)
	if !ok {
		return
	}
	asked := m.Message.GetProtocolMessage().GetPeerDataOperationRequestMessage()
	if asked == nil {
		p.kept.Lock()
		p.seen[m.Info.ID] = m
		p.kept.Unlock()
		return
	}
	if !m.Info.IsFromMe || asked.GetPeerDataOperationRequestType() != waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND {
		return
	}
	for _, r := range asked.GetPlaceholderMessageResendRequest() {
		p.kept.Lock()
		found := p.seen[r.GetMessageKey().GetID()]
		p.kept.Unlock()
		if found == nil {
			continue
		}
		p.jobs <- func(ctx context.Context) { p.told(p.Resend(ctx, m.Info, found, r.GetMessageKey())) }
	}
}

// ShareHistory sends a linked device history, as a phone does after linking: all that it has, whatever is wanted.
func (p *Phone) ShareHistory(t testing.TB, j types.JID, history *waHistorySync.HistorySync) {
	t.Helper()
	lid := p.LID()
	lid.Device = j.Device
	if err := p.SendHistory(t.Context(), lid, history); err != nil {
		t.Fatal(err)
	}
}
