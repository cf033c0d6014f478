//go:build !nowhatsapp

package waserver

import (
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/blob"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// take does what a stanza of the client asks. Its error ends the connection.
func (ss *session) take(n *waBinary.Node) error {
	s := ss.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.ended {
		return nil
	}
	switch do, code := s.rule(FromClient, ss.dev, n); do {
	case Lose:
		return nil
	case Cut:
		ss.cut()
		return errEnded
	case Reject:
		ss.reject(n, code)
	case Hold:
		s.held = append(s.held, heldStanza{ss, func() { ss.handle(n) }})
		s.change()
	case Twice:
		ss.handle(n)
		ss.handle(n)
	case CutAfter:
		ss.handle(n)
		ss.end()
	default:
		ss.handle(n)
	}
	return nil
}

// handle does what a stanza asks. The server is locked.
func (ss *session) handle(n *waBinary.Node) {
	if n.Tag == "iq" {
		ss.request(n)
		return
	}
	if ss.dev == nil {
		return // an unlinked connection acknowledges, and reports its telemetry
	}
	switch n.Tag {
	case "message":
		ss.message(n)
	case "receipt":
		ss.receipt(n)
	case "ack":
		ss.dev.acknowledged(stanza.String(n, "class"), stanza.String(n, "id"), stanza.JID(n, "to"), stanza.JID(n, "participant"))
	case "presence":
		ss.presence(n)
	case "chatstate":
		ss.chatState(n)
	case "ib": // telemetry
	default:
		ss.server.unknown = append(ss.server.unknown, n.Tag)
	}
}

// request answers an <iq>. The server is locked.
func (ss *session) request(n *waBinary.Node) {
	switch stanza.String(n, "type") {
	case "result", "error":
		ss.confirmed(n)
		return
	}
	xmlns := stanza.String(n, "xmlns")
	if ss.dev == nil {
		if xmlns == "md" && stanza.Has(n, "link_code_companion_reg") {
			ss.linkByCode(n)
		} else if xmlns == "w:p" {
			ss.result(n)
		} else {
			ss.refuse(n, 401)
		}
		return
	}
	switch xmlns {
	case "encrypt":
		ss.encrypt(n)
	case "usync":
		ss.usync(n)
	case "passive":
		ss.result(n)
		if stanza.Has(n, "active") {
			ss.activate()
		}
	case "md":
		ss.companion(n)
	case "w:g2":
		ss.group(n)
	case "w:m":
		ss.result(n, waBinary.Node{Tag: "media_conn", Attrs: waBinary.Attrs{"auth": blob.Auth, "ttl": 3600, "auth_ttl": 3600, "max_buckets": 12},
			Content: []waBinary.Node{{Tag: "host", Attrs: waBinary.Attrs{"hostname": blob.Host}}}})
	case "w:profile:picture":
		ss.picture(n)
	case "w:sync:app:state":
		ss.appState(n)
	case "privacy":
		ss.privacy(n)
	case "blocklist":
		ss.blocklist(n)
	case "status":
		ss.refuse(n, 404) // whatsmeow then takes the default: all contacts
	case "w:p", "urn:xmpp:whatsapp:dirty", "urn:xmpp:whatsapp:push", "disappearing_mode", "tos":
		ss.result(n)
	default:
		tag := ""
		if c := n.GetChildren(); len(c) > 0 {
			tag = c[0].Tag
		}
		ss.server.unknown = append(ss.server.unknown, xmlns+"/"+tag)
		ss.refuse(n, 501)
	}
}

// result answers a request.
func (ss *session) result(n *waBinary.Node, content ...waBinary.Node) {
	answer := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": from(n), "type": "result", "id": n.Attrs["id"]}}
	if len(content) > 0 {
		answer.Content = content
	}
	ss.send(answer)
}

// refuse answers a request with an error.
func (ss *session) refuse(n *waBinary.Node, code int) {
	ss.send(waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": from(n), "type": "error", "id": n.Attrs["id"]}, Content: []waBinary.Node{stanza.Error(code)}})
}

// from is who answers a request: whom it was sent to.
func from(n *waBinary.Node) types.JID {
	if to := stanza.JID(n, "to"); !to.IsEmpty() {
		return to
	}
	return types.ServerJID
}

// ack answers a message or a receipt.
func (ss *session) ack(n *waBinary.Node, extra waBinary.Attrs) {
	attrs := waBinary.Attrs{"class": n.Tag, "id": n.Attrs["id"], "from": stanza.JID(n, "to"), "t": stanza.Now()}
	for _, k := range []string{"participant", "type"} {
		if v, ok := n.Attrs[k]; ok && n.Tag == "receipt" {
			attrs[k] = v
		}
	}
	for k, v := range extra {
		attrs[k] = v
	}
	ss.send(waBinary.Node{Tag: "ack", Attrs: attrs})
}

// reject answers whatever can be answered with an error.
func (ss *session) reject(n *waBinary.Node, code int) {
	if n.Tag == "iq" {
		ss.refuse(n, code)
	} else {
		ss.ack(n, waBinary.Attrs{"error": code})
	}
}
