//go:build !nowhatsapp

package waserver

import (
	"encoding/base64"
	"errors"
	"regexp"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/collections"
	"mimigate/bridges/whatsapp/waserver/link"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// offered is how many QR references an unlinked client gets; whatsmeow shows the first for 60 seconds, the others for 20.
const offered = 6

// offer gives an unlinked client the references of its QR codes. The server is locked.
func (ss *session) offer() {
	s := ss.server
	var refs []waBinary.Node
	for range offered {
		ref := "2@" + base64.RawURLEncoding.EncodeToString(link.Random(16))
		s.refs[ref] = ss
		refs = append(refs, waBinary.Node{Tag: "ref", Content: []byte(ref)})
	}
	ss.push(&waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": "pair-" + s.next(), "xmlns": "md"},
		Content: []waBinary.Node{{Tag: "pair-device", Content: refs}}})
	s.change()
}

// claim finds the unlinked client of a code, and makes the device that it will be. The server is locked.
func (s *Server) claim(a *account, code link.Code) (*session, *device, error) {
	ss := s.refs[code.Ref]
	if ss == nil || ss.ended {
		return nil, nil, errors.New("waserver: that code is not, or no more, offered")
	}
	d := &device{account: a, id: a.nextID, noise: ss.conn.Client, identity: code.Identity, registration: ss.conn.Payload.GetDevicePairingData().GetERegid()}
	a.nextID++
	return ss, d, nil
}

// succeed tells an unlinked client which device it is, with the identity that the phone signed for it. The server is
// locked.
func (ss *session) succeed(d *device, identity []byte) {
	ss.linked = d
	content := []waBinary.Node{
		{Tag: "device-identity", Content: identity},
		{Tag: "device", Attrs: waBinary.Attrs{"jid": d.pn(), "lid": d.lid()}},
		{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
	}
	if name := d.account.business; name != "" {
		content = append(content, waBinary.Node{Tag: "biz", Attrs: waBinary.Attrs{"name": name}})
	}
	ss.push(&waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": "pair-" + ss.server.next(), "t": stanza.Now()},
		Content: []waBinary.Node{{Tag: "pair-success", Content: content}}})
}

// confirmed takes the client's answer to a request of the server. The server is locked.
func (ss *session) confirmed(n *waBinary.Node) {
	if !stanza.Has(n, "pair-device-sign", "device-identity") || ss.linked == nil {
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
	d := ss.server.device(stanza.JID(&remove, "jid"))
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
			d.notify(a.PN, "account_sync", nil, waBinary.Node{Tag: "devices", Attrs: waBinary.Attrs{"dhash": stanza.ListHash(numbers)}, Content: list})
		}
	}
	for _, w := range a.server.accounts {
		if !a.watchers[w] || w == a {
			continue
		}
		for _, d := range w.devices {
			// By LID, as whatsmeow asks for the lists it sends to.
			d.notify(a.LID, "devices", nil, waBinary.Node{Tag: kind, Attrs: waBinary.Attrs{"device_hash": stanza.ListHash(lids)}, Content: []waBinary.Node{
				{Tag: "device", Attrs: waBinary.Attrs{"jid": changed.lid(), "key-index": int(changed.id)}},
			}})
		}
	}
}

// register makes a phone the account's, in place of another with all that was linked to it. The server is locked.
func (a *account) register(phone *device) {
	anew := len(a.devices) > 0
	for _, d := range slices.Clone(a.devices) {
		a.server.unlink(d)
	}
	a.devices, a.state = []*device{phone}, collections.State{}
	if !anew {
		return
	}
	a.devicesChanged("add", phone)
	for _, w := range a.server.accounts {
		if a.watchers[w] && w != a {
			for _, d := range w.devices {
				d.notify(a.LID, "encrypt", nil, waBinary.Node{Tag: "identity"})
			}
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
	s, reg := ss.server, stanza.Child(n, "link_code_companion_reg")
	number := stanza.JID(&reg, "jid").User
	switch stanza.String(&reg, "stage") {
	case "companion_hello":
		wrapped := stanza.Data(stanza.Child(&reg, "link_code_pairing_wrapped_companion_ephemeral_pub"))
		if s.users[number] == nil || len(wrapped) != 80 || !display.Match(stanza.Data(stanza.Child(&reg, "companion_platform_display"))) {
			ss.refuse(n, 400)
			return
		}
		started := &codeLink{session: ss, wrapped: wrapped, ref: []byte("code-" + s.next())}
		s.codes[number] = started
		ss.result(n, waBinary.Node{Tag: "link_code_companion_reg", Attrs: waBinary.Attrs{"stage": "companion_hello"},
			Content: []waBinary.Node{{Tag: "link_code_pairing_ref", Content: started.ref}}})
	case "companion_finish":
		started := s.codes[number]
		if started == nil || started.session != ss || !slices.Equal(stanza.Data(stanza.Child(&reg, "link_code_pairing_ref")), started.ref) {
			ss.refuse(n, 404)
			return
		}
		started.bundle = stanza.Data(stanza.Child(&reg, "link_code_pairing_wrapped_key_bundle"))
		ss.result(n)
	default:
		ss.refuse(n, 400)
	}
	s.change()
}
