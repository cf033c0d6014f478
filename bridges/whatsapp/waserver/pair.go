//go:build !nowhatsapp

package waserver

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// offered is how many QR references an unlinked client gets; whatsmeow shows the first for 60 seconds, the others for 20.
const offered = 6

// offer gives an unlinked client the references of its QR codes. The server is locked.
func (ss *session) offer() {
	s := ss.server
	var refs []waBinary.Node
	for range offered {
		ref := "2@" + base64.RawURLEncoding.EncodeToString(random(16))
		s.refs[ref] = ss
		refs = append(refs, waBinary.Node{Tag: "ref", Content: []byte(ref)})
	}
	ss.push(&waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": "pair-" + s.next(), "xmlns": "md"},
		Content: []waBinary.Node{{Tag: "pair-device", Content: refs}}})
	s.change()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// claimed is an unlinked client that a phone is about to link: what the phone knows of it, and what it must sign.
type claimed struct {
	session  *session
	device   *device
	identity []byte // the client's public identity key, 32 octets
	secret   []byte // what proves to the client that the phone saw its code
}

// claim makes the device that an unlinked client will be. The server is locked.
func (s *Server) claim(a *account, ref string, identity, secret []byte) (*claimed, error) {
	ss := s.refs[ref]
	if ss == nil || ss.ended {
		return nil, errors.New("waserver: that code is not, or no more, offered")
	}
	d := &device{account: a, id: a.nextID, noise: ss.conn.Client, identity: identity, registration: ss.conn.Payload.GetDevicePairingData().GetERegid()}
	a.nextID++
	return &claimed{session: ss, device: d, identity: identity, secret: secret}, nil
}

// succeed tells the client that it is linked, with the identity that the phone signed for it. The server is locked.
func (c *claimed) succeed(signed []byte) {
	ss := c.session
	ss.linked = c.device
	content := []waBinary.Node{
		{Tag: "device-identity", Content: signed},
		{Tag: "device", Attrs: waBinary.Attrs{"jid": c.device.pn(), "lid": c.device.lid()}},
		{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
	}
	if name := c.device.account.business; name != "" {
		content = append(content, waBinary.Node{Tag: "biz", Attrs: waBinary.Attrs{"name": name}})
	}
	ss.push(&waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": "pair-" + ss.server.next(), "t": now()},
		Content: []waBinary.Node{{Tag: "pair-success", Content: content}}})
}

// confirmed takes the client's answer to a request of the server. The server is locked.
func (ss *session) confirmed(n *waBinary.Node) {
	if !has(n, "pair-device-sign", "device-identity") || ss.linked == nil {
		return
	}
	d, s := ss.linked, ss.server
	ss.linked = nil
	for ref, x := range s.refs {
		if x == ss {
			delete(s.refs, ref)
		}
	}
	d.account.devices = append(d.account.devices, d)
	d.account.devicesChanged("add", d)
	ss.push(streamError("515", "")) // it reconnects, as itself
	s.change()
}

// companion answers what a linked device asks about links. The server is locked.
func (ss *session) companion(n *waBinary.Node) {
	remove, ok := n.GetOptionalChildByTag("remove-companion-device")
	if !ok {
		ss.refuse(n, 501)
		return
	}
	d := ss.server.device(jid(&remove, "jid"))
	if d == nil || d.account != ss.dev.account || d.id == 0 {
		ss.refuse(n, 404)
		return
	}
	ss.result(n)
	if d == ss.dev {
		d.session = nil // it has asked for it, and goes by itself
	}
	ss.server.unlink(d)
}

// devicesChanged tells an account's own devices, and those who know its list, that a device came ("add") or went
// ("remove"). The server is locked.
func (a *account) devicesChanged(kind string, changed *device) {
	var numbers, lids []types.JID
	var list []waBinary.Node
	for _, d := range a.devices {
		numbers, lids = append(numbers, d.pn()), append(lids, d.lid())
		list = append(list, waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"jid": d.pn(), "key-index": int(d.id)}})
	}
	for _, d := range a.devices {
		if d != changed {
			d.notify(a.pn, "account_sync", nil, waBinary.Node{Tag: "devices", Attrs: waBinary.Attrs{"dhash": listHash(numbers)}, Content: list})
		}
	}
	for _, w := range a.server.accounts {
		if !a.watchers[w] || w == a {
			continue
		}
		for _, d := range w.devices {
			// By LID, as whatsmeow asks for the lists it sends to.
			d.notify(a.lid, "devices", nil, waBinary.Node{Tag: kind, Attrs: waBinary.Attrs{"device_hash": listHash(lids)}, Content: []waBinary.Node{
				{Tag: "device", Attrs: waBinary.Attrs{"jid": changed.lid(), "key-index": int(changed.id)}},
			}})
		}
	}
}

// codeLink is a client that shows a pairing code, which a person types into their phone.
type codeLink struct {
	session *session
	ref     []byte
	wrapped []byte // the client's ephemeral key under the code: salt 32, IV 16, ciphertext 32
	bundle  []byte // the client's keys under the shared secret: salt 32, nonce 12, ciphertext
}

// display is the form of a name that WhatsApp takes for a client that asks for a pairing code: "Chrome (Linux)".
var display = regexp.MustCompile(`^[A-Z][A-Za-z ]+ \([A-Z][A-Za-z ]+\)$`)

// linkByCode takes the two steps of a client that links by pairing code. The server is locked.
func (ss *session) linkByCode(n *waBinary.Node) {
	s, reg := ss.server, child(n, "link_code_companion_reg")
	number := jid(&reg, "jid").User
	switch str(&reg, "stage") {
	case "companion_hello":
		wrapped := data(child(&reg, "link_code_pairing_wrapped_companion_ephemeral_pub"))
		if s.users[number] == nil || len(wrapped) != 80 || !display.Match(data(child(&reg, "companion_platform_display"))) {
			ss.refuse(n, 400)
			return
		}
		link := &codeLink{session: ss, wrapped: wrapped, ref: []byte("code-" + s.next())}
		s.codes[number] = link
		ss.result(n, waBinary.Node{Tag: "link_code_companion_reg", Attrs: waBinary.Attrs{"stage": "companion_hello"},
			Content: []waBinary.Node{{Tag: "link_code_pairing_ref", Content: link.ref}}})
	case "companion_finish":
		link := s.codes[number]
		if link == nil || link.session != ss || !slices.Equal(data(child(&reg, "link_code_pairing_ref")), link.ref) {
			ss.refuse(n, 404)
			return
		}
		link.bundle = data(child(&reg, "link_code_pairing_wrapped_key_bundle"))
		ss.result(n)
	default:
		ss.refuse(n, 400)
	}
	s.change()
}

// wrap turns the 32 octets of a key into what only who knows the code can turn back, or back (it is its own inverse).
func wrap(code string, salt, iv, key []byte) ([]byte, error) {
	k, err := pbkdf2.Key(sha256.New, code, salt, 2<<16, 32)
	if err != nil {
		return nil, fmt.Errorf("waserver: key of the code: %w", err)
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("waserver: key of the code: %w", err)
	}
	out := make([]byte, len(key))
	cipher.NewCTR(block, iv).XORKeyStream(out, key)
	return out, nil
}

// agree is X25519.
func agree(private, public []byte) ([]byte, error) {
	priv, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("waserver: private key: %w", err)
	}
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("waserver: public key: %w", err)
	}
	return priv.ECDH(pub)
}

// unwrapBundle opens a client's keys: its identity key, and the secret that the link is proved with.
func unwrapBundle(bundle, shared, phonePrivate, phonePublic []byte) (identity, secret []byte, err error) {
	if len(bundle) < 44 {
		return nil, nil, errors.New("waserver: the key bundle is too short")
	}
	key, err := hkdf.Key(sha256.New, shared, bundle[:32], "link_code_pairing_key_bundle_encryption_key", 32)
	if err != nil {
		return nil, nil, fmt.Errorf("waserver: key of the bundle: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("waserver: key of the bundle: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("waserver: key of the bundle: %w", err)
	}
	plain, err := aead.Open(nil, bundle[32:44], bundle[44:], nil)
	if err != nil || len(plain) != 96 || !slices.Equal(plain[32:64], phonePublic) {
		return nil, nil, errors.New("waserver: the key bundle does not open: another code, or another phone")
	}
	identity = plain[:32]
	between, err := agree(phonePrivate, identity)
	if err != nil {
		return nil, nil, err
	}
	secret, err = hkdf.Key(sha256.New, slices.Concat(shared, between, plain[64:]), nil, "adv_secret", 32)
	return identity, secret, err
}
