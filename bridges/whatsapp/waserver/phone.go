//go:build !nowhatsapp

package waserver

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver/waclient"
)

// Phone is a person's phone: device 0 of their account, whose identity key signs the devices that it links. It is a
// whatsmeow client that does what apps on phones do for linked devices: it shares the keys of app state with a device that
// is new, keeps the push name in app state, and sends what a device asks for because it could not decrypt it.
type Phone struct {
	*waclient.Client
	server   *Server
	number   string
	account  *account
	identity *keys.KeyPair

	peer sync.Mutex // one message to a linked device at a time
	jobs chan func(context.Context)

	kept sync.Mutex
	seen map[types.MessageID]*events.Message
}

// Client makes a client that is not linked yet: connect it, and have a Phone scan its code. It ends with the test.
func (s *Server) Client(t testing.TB) *waclient.Client {
	t.Helper()
	return waclient.New(t, s.Hook, nil)
}

// Phone makes an account, or takes the one that has the number, with a phone that is online. name is its push name.
func (s *Server) Phone(t testing.TB, number, name string) *Phone {
	t.Helper()
	p := &Phone{server: s, number: number, jobs: make(chan func(context.Context), 64), seen: map[types.MessageID]*events.Message{}}
	own := &device{}
	p.Client = waclient.New(t, s.Hook, func(d *store.Device) {
		d.PushName, d.Platform = name, "android"
		p.identity = d.IdentityKey
		s.mu.Lock()
		defer s.mu.Unlock()
		p.account = s.add(number, name)
		own.account, own.noise, own.identity = p.account, d.NoiseKey.Pub[:], d.IdentityKey.Pub[:]
		p.account.devices = slices.Concat([]*device{own}, slices.DeleteFunc(p.account.devices, func(d *device) bool { return d.id == 0 }))
		id := own.pn()
		d.ID, d.LID = &id, own.lid()
		d.Account = p.sign(0, d.IdentityKey.Pub[:])
		d.Account.DeviceSignature = make([]byte, 64) // a phone signs itself with nothing
	})
	ctx := t.Context()
	if err := p.Store.Save(ctx); err != nil {
		t.Fatalf("waserver: phone: %v", err)
	}
	p.StoreLIDPNMapping(ctx, p.LID(), p.JID())
	p.giveKeys(t, own)
	fp, err := proto.Marshal(fingerprint())
	if err != nil {
		t.Fatalf("waserver: phone: %v", err)
	}
	key := store.AppStateSyncKey{Data: random(32), Fingerprint: fp, Timestamp: time.Now().UnixMilli()}
	if err := p.Store.AppStateKeys.PutAppStateSyncKey(ctx, appStateKey, key); err != nil {
		t.Fatalf("waserver: phone: %v", err)
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

// phoneKeys is how many one-time keys a phone has at first. It hands them to the server directly: the 812 that whatsmeow
// makes for a new device take most of a test's time.
const phoneKeys = 50

func (p *Phone) giveKeys(t testing.TB, own *device) {
	t.Helper()
	ctx := t.Context()
	list, err := p.Store.PreKeys.GetOrGenPreKeys(ctx, phoneKeys)
	if err != nil {
		t.Fatalf("waserver: phone: keys: %v", err)
	}
	if err := p.Store.PreKeys.MarkPreKeysAsUploaded(ctx, list[len(list)-1].KeyID); err != nil {
		t.Fatalf("waserver: phone: keys: %v", err)
	}
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	own.registration = binary.BigEndian.AppendUint32(nil, p.Store.RegistrationID)
	own.signed = keyNode("skey", p.Store.SignedPreKey)
	own.signed.Content = append(own.signed.GetChildren(), waBinary.Node{Tag: "signature", Content: p.Store.SignedPreKey.Signature[:]})
	for _, k := range list {
		own.oneTime = append(own.oneTime, keyNode("key", k))
	}
}

func keyNode(tag string, k *keys.PreKey) waBinary.Node {
	return waBinary.Node{Tag: tag, Content: []waBinary.Node{
		{Tag: "id", Content: binary.BigEndian.AppendUint32(nil, k.KeyID)[1:]}, {Tag: "value", Content: k.Pub[:]},
	}}
}

// appStateKey is the id of the one key of app state that a phone has.
var appStateKey = []byte{0, 0, 0, 0, 0, 1}

// fingerprint says which devices know that key; nobody reads it.
func fingerprint() *waE2E.AppStateSyncKeyFingerprint {
	return &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(1), CurrentIndex: proto.Uint32(0), DeviceIndexes: []uint32{0}}
}

// JID is the person by number, LID by LID, Number only the digits.
func (p *Phone) JID() types.JID { return p.account.pn }

// LID is the person's LID.
func (p *Phone) LID() types.JID { return p.account.lid }

// Number is the person's number, digits only.
func (p *Phone) Number() string { return p.number }

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

// sign makes the identity of a device of this account: signed by the phone, not yet by the device.
func (p *Phone) sign(id uint16, identity []byte) *waAdv.ADVSignedDeviceIdentity {
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: proto.Uint32(uint32(id)), Timestamp: proto.Uint64(uint64(now())), KeyIndex: proto.Uint32(uint32(id)),
	})
	if err != nil {
		panic(err) // three numbers
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*p.identity.Priv), slices.Concat(whatsmeow.AdvAccountSignaturePrefix, details, identity))
	return &waAdv.ADVSignedDeviceIdentity{Details: details, AccountSignatureKey: p.identity.Pub[:], AccountSignature: signature[:]}
}

// Scan is the person holding their phone to a QR code: it links the client that shows it. The device's JID is returned.
func (p *Phone) Scan(t testing.TB, code string) types.JID {
	t.Helper()
	_, rest, _ := strings.Cut(code, "#")
	parts := strings.Split(rest, ",")
	if len(parts) != 5 {
		t.Fatalf("waserver: a QR code of %d parts, not 5", len(parts))
	}
	identity, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(identity) != 32 {
		t.Fatal("waserver: the QR code's identity key is none")
	}
	secret, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil {
		t.Fatal("waserver: the QR code's secret is none")
	}
	j, err := p.link(parts[0], identity, secret)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// link signs and links the client that was offered a reference.
func (p *Phone) link(ref string, identity, secret []byte) (types.JID, error) {
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.claim(p.account, ref, identity, secret)
	if err != nil {
		return types.EmptyJID, err
	}
	signed, err := proto.Marshal(p.sign(c.device.id, identity))
	if err != nil {
		return types.EmptyJID, fmt.Errorf("waserver: identity: %w", err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(signed)
	sealed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	if err != nil {
		return types.EmptyJID, fmt.Errorf("waserver: identity: %w", err)
	}
	c.succeed(sealed)
	p.jobs <- func(ctx context.Context) { p.welcome(ctx, c.device) }
	return c.device.pn(), nil
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
	code = strings.ReplaceAll(code, "-", "")
	var link *codeLink
	s.wait(t, "a client asks for a pairing code", func() bool { link = s.codes[p.number]; return link != nil })
	theirs, err := wrap(code, link.wrapped[:32], link.wrapped[32:48], link.wrapped[48:])
	if err != nil {
		t.Fatal(err)
	}
	ephemeral := keys.NewKeyPair()
	salt, iv := random(32), random(16)
	ours, err := wrap(code, salt, iv, ephemeral.Pub[:])
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	link.session.push(&waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "link_code_companion_reg", "id": s.next(), "t": now()},
		Content: []waBinary.Node{{Tag: "link_code_companion_reg", Attrs: waBinary.Attrs{"stage": "primary_hello"}, Content: []waBinary.Node{
			{Tag: "link_code_pairing_ref", Content: link.ref},
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: slices.Concat(salt, iv, ours)},
			{Tag: "primary_identity_pub", Content: p.identity.Pub[:]},
		}}}})
	s.mu.Unlock()
	s.wait(t, "the client finishes", func() bool { return link.bundle != nil })
	shared, err := agree(ephemeral.Priv[:], theirs)
	if err != nil {
		t.Fatal(err)
	}
	identity, secret, err := unwrapBundle(link.bundle, shared, p.identity.Priv[:], p.identity.Pub[:])
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	ref := ""
	for r, ss := range s.refs {
		if ss == link.session {
			ref = r
		}
	}
	delete(s.codes, p.number)
	s.mu.Unlock()
	j, err := p.link(ref, identity, secret)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Link makes another client and links it to the phone by QR code. It is logged in, and knows the push name.
func (p *Phone) Link(t testing.TB) *waclient.Client {
	t.Helper()
	c := p.server.Client(t)
	if err := c.Connect(); err != nil {
		t.Fatalf("waserver: connect: %v", err)
	}
	p.Scan(t, c.WaitQR(t))
	waclient.Wait[*events.PairSuccess](t, c, nil)
	waclient.Wait[*events.Connected](t, c, nil)
	waclient.Wait(t, c, func(e *events.AppStateSyncComplete) bool { return e.Name == appstate.WAPatchCriticalBlock })
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
	key, err := p.Store.AppStateKeys.GetAppStateSyncKey(ctx, appStateKey)
	if err != nil || key == nil {
		p.Complain("phone: app state key: %v", err)
		return
	}
	p.SendPeer(ctx, d.lid(), &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: []*waE2E.AppStateSyncKey{{
			KeyID: &waE2E.AppStateSyncKeyId{KeyID: appStateKey},
			KeyData: &waE2E.AppStateSyncKeyData{
				KeyData: key.Data, Timestamp: &key.Timestamp, Fingerprint: fingerprint(),
			},
		}}},
	}})
}

// SendPeer sends one of the person's own devices a message that is for no chat. What goes wrong is logged.
func (p *Phone) SendPeer(ctx context.Context, to types.JID, message *waE2E.Message) {
	if err := p.sendPeer(ctx, to, message); err != nil {
		p.Complain("phone: message to own device: %v", err)
	}
}

func (p *Phone) sendPeer(ctx context.Context, to types.JID, message *waE2E.Message) error {
	p.peer.Lock()
	defer p.peer.Unlock()
	//lint:ignore SA1019 whatsmeow is for linked devices: only inside it is what a phone does for them
	inside := p.DangerousInternals()
	plain, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	known, err := p.Store.ContainsSession(ctx, to.SignalAddress())
	if err != nil {
		return err
	}
	content := []waBinary.Node{{Tag: "meta", Attrs: waBinary.Attrs{"appdata": "default"}}}
	var ask []types.JID
	if !known {
		ask = []types.JID{to}
	}
	enc, first, err := inside.EncryptMessageForDevice(ctx, plain, to, inside.FetchPreKeysNoError(ctx, ask)[to], nil, nil)
	if err != nil {
		return err
	}
	content = append(content, *enc)
	if first {
		content = append(content, inside.MakeDeviceIdentityNode())
	}
	return inside.SendNode(ctx, waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{
		"to": to, "id": p.GenerateMessageID(), "type": "peer_msg", "category": "peer",
	}, Content: content})
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
		p.jobs <- func(ctx context.Context) { p.resend(ctx, m.Info, found, r.GetMessageKey()) }
	}
}

// resend sends a device a message that it could not decrypt, as the phone has it.
func (p *Phone) resend(ctx context.Context, request types.MessageInfo, found *events.Message, key *waCommon.MessageKey) {
	info := &waWeb.WebMessageInfo{
		Key: key, Message: found.RawMessage, MessageTimestamp: proto.Uint64(uint64(found.Info.Timestamp.Unix())), PushName: &found.Info.PushName,
	}
	if found.Info.IsGroup {
		info.Participant = proto.String(found.Info.Sender.ToNonAD().String())
	}
	raw, err := proto.Marshal(info)
	if err != nil {
		p.Complain("phone: resend: %v", err)
		return
	}
	p.SendPeer(ctx, request.Sender, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE.Enum(),
		PeerDataOperationRequestResponseMessage: &waE2E.PeerDataOperationRequestResponseMessage{
			PeerDataOperationRequestType: waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND.Enum(),
			StanzaID:                     &request.ID,
			PeerDataOperationResult: []*waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult{{
				PlaceholderMessageResendResponse: &waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult_PlaceholderMessageResendResponse{
					WebMessageInfoBytes: raw,
				},
			}},
		},
	}})
}

// ShareHistory sends a linked device history, as a phone does after linking: all that it has, whatever is wanted.
func (p *Phone) ShareHistory(t testing.TB, j types.JID, history *waHistorySync.HistorySync) {
	t.Helper()
	raw, err := proto.Marshal(history)
	if err != nil {
		t.Fatalf("waserver: history: %v", err)
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		t.Fatalf("waserver: history: %v", err)
	}
	if err := z.Close(); err != nil {
		t.Fatalf("waserver: history: %v", err)
	}
	lid := p.LID()
	lid.Device = j.Device
	err = p.sendPeer(t.Context(), lid, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(),
		HistorySyncNotification: &waE2E.HistorySyncNotification{
			SyncType: waE2E.HistorySyncType(history.GetSyncType()).Enum(), InitialHistBootstrapInlinePayload: b.Bytes(),
		},
	}})
	if err != nil {
		t.Fatalf("waserver: history: %v", err)
	}
}
