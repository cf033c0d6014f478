//go:build !nowhatsapp

package waserver

import (
	"maps"
	"slices"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// message takes a message, routes it to devices, and acknowledges it. The server is locked.
func (ss *session) message(n *waBinary.Node) {
	s, to := ss.server, jid(n, "to")
	code := 0
	var devices []types.JID // what the client should have encrypted for
	switch to.Server {
	case types.GroupServer:
		g := s.groups[to.User]
		if code = g.maySend(ss.dev.account); code == 0 {
			devices = ss.groupMessage(n, g)
		}
	case types.BroadcastServer:
		ss.statusMessage(n)
	default:
		if a := s.find(to); a == nil {
			code = 404
		} else {
			devices = ss.directMessage(n, a)
		}
	}
	if code != 0 {
		ss.ack(n, waBinary.Attrs{"error": code})
		return
	}
	s.accepted = append(s.accepted, Accepted{
		ID: str(n, "id"), From: ss.dev.pn(), To: to, Type: str(n, "type"), Edit: str(n, "edit"),
	})
	extra := waBinary.Attrs{}
	if len(devices) > 0 && !isRetry(n) {
		extra["phash"] = listHash(devices)
	}
	ss.ack(n, extra)
	s.change()
}

// isRetry says whether a message is for one device: one that could not decrypt it, or that of a peer message.
func isRetry(n *waBinary.Node) bool { return has(n, "enc") && !has(n, "participants") }

// stanza is a message as it goes on to a device, but for the ciphertexts. The sender is named by LID.
func (ss *session) stanza(n *waBinary.Node) waBinary.Node {
	me := ss.dev.account
	attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": now(), "notify": me.name, "addressing_mode": "lid"}
	for _, k := range []string{"type", "edit", "category"} {
		if v, ok := n.Attrs[k]; ok {
			attrs[k] = v
		}
	}
	var content []waBinary.Node
	for _, c := range n.GetChildren() {
		switch c.Tag {
		case "device-identity", "meta", "biz":
			content = append(content, c)
		}
	}
	if me.business != "" {
		content = append(content, me.verifiedName())
	}
	return waBinary.Node{Tag: "message", Attrs: attrs, Content: content}
}

// with is a stanza with more attributes, and ciphertexts before its content.
func with(n waBinary.Node, attrs waBinary.Attrs, ciphertexts []waBinary.Node) waBinary.Node {
	all := maps.Clone(n.Attrs)
	maps.Copy(all, attrs)
	return waBinary.Node{Tag: n.Tag, Attrs: all, Content: slices.Concat(ciphertexts, n.GetChildren())}
}

// directMessage routes a message to one person, and to the sender's own other devices. The server is locked.
func (ss *session) directMessage(n *waBinary.Node, a *account) []types.JID {
	s, me := ss.server, ss.dev.account
	base := ss.stanza(n)
	done := map[*device]bool{ss.dev: true} // in a chat with oneself whatsmeow encrypts twice for each device
	deliver := func(j types.JID, ciphertexts []waBinary.Node) {
		d := s.device(j)
		if d == nil || done[d] || d.account != a && d.account != me || a.blocked[me] && d.account == a {
			return
		}
		done[d] = true
		attrs := waBinary.Attrs{"from": ss.dev.lid()}
		if d.account != me {
			me.known(attrs, "sender_pn")
		} else if a != me {
			attrs["recipient"] = a.lid
			a.known(attrs, "peer_recipient_pn")
		}
		if old := me.oldFashioned(attrs); old != nil {
			attrs = old
		}
		d.deliver(with(base, attrs, ciphertexts))
	}
	if isRetry(n) {
		deliver(jid(n, "to"), n.GetChildrenByTag("enc"))
		return nil
	}
	for _, p := range participants(n) {
		deliver(jid(&p, "jid"), p.GetChildrenByTag("enc"))
	}
	if a == me {
		return nil // whatsmeow then lists its devices twice
	}
	return slices.Concat(a.deviceJIDs(types.HiddenUserServer), me.deviceJIDs(types.HiddenUserServer))
}

func participants(n *waBinary.Node) []waBinary.Node {
	p := child(n, "participants")
	return p.GetChildren()
}

// ByNumber says whether a person's messages to others name their number and not their LID, as those of old clients do: who
// has not learned the LID elsewhere learns it late.
func (s *Server) ByNumber(number string, old bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[number]; a != nil {
		a.byNumber = old
	}
}

// oldFashioned turns the attributes of a message into those of one that names only the number; nil for who is not so.
func (a *account) oldFashioned(attrs waBinary.Attrs) waBinary.Attrs {
	if !a.byNumber {
		return nil
	}
	old := waBinary.Attrs{"addressing_mode": "pn"}
	for k, v := range attrs {
		if j, ok := v.(types.JID); ok && k != "sender_pn" {
			if d := a.server.device(j); d != nil && d.account == a {
				v = d.pn()
			}
			old[k] = v
		}
	}
	return old
}

// groupMessage routes a message to the members of a group. The server is locked.
func (ss *session) groupMessage(n *waBinary.Node, g *group) []types.JID {
	s := ss.server
	base := ss.stanza(n)
	sender := g.named(ss.dev)
	attrs := waBinary.Attrs{"from": g.jid, "participant": sender, "addressing_mode": g.mode()}
	g.other(ss.dev.account, attrs, "participant")
	if isRetry(n) && !has(n, "participants") && !jid(n, "participant").IsEmpty() {
		if d := s.device(jid(n, "participant")); d != nil && g.member(d.account) != nil {
			d.deliver(with(base, attrs, n.GetChildrenByTag("enc")))
		}
		return nil
	}
	each := map[*device][]waBinary.Node{}
	for _, p := range participants(n) {
		if d := s.device(jid(&p, "jid")); d != nil {
			each[d] = p.GetChildrenByTag("enc")
		}
	}
	var devices []types.JID
	for _, m := range g.members {
		for _, d := range m.account.devices {
			devices = append(devices, g.named(d))
			if d != ss.dev && !m.account.blocked[ss.dev.account] {
				d.deliver(with(base, attrs, slices.Concat(each[d], n.GetChildrenByTag("enc"))))
			}
		}
	}
	return devices
}

// statusMessage routes a status update to those it is encrypted for. The server is locked.
func (ss *session) statusMessage(n *waBinary.Node) {
	base := ss.stanza(n)
	attrs := waBinary.Attrs{"from": jid(n, "to"), "participant": ss.dev.lid()}
	ss.dev.account.known(attrs, "participant_pn")
	for _, p := range participants(n) {
		if d := ss.server.device(jid(&p, "jid")); d != nil && d != ss.dev {
			d.deliver(with(base, attrs, slices.Concat(p.GetChildrenByTag("enc"), n.GetChildrenByTag("enc"))))
		}
	}
}

// receipt routes a receipt, and takes the one of delivery for the acknowledgement that it is. The server is locked.
func (ss *session) receipt(n *waBinary.Node) {
	s, to, kind, participant := ss.server, jid(n, "to"), str(n, "type"), jid(n, "participant")
	if delivery(kind) {
		ss.dev.acknowledged("message", str(n, "id"), to, participant)
	}
	ss.ack(n, nil)
	attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": now()}
	if kind != "" {
		attrs["type"] = kind
	}
	forward := func(d *device, more waBinary.Attrs) {
		if d != nil && d != ss.dev {
			d.deliver(with(waBinary.Node{Tag: "receipt", Attrs: attrs}, more, n.GetChildren()))
		}
	}
	g := s.groups[to.User]
	switch {
	case kind == "server-error":
		ss.mediaRetry(n)
	case to.Server == types.GroupServer && g != nil:
		more := waBinary.Attrs{"from": to, "participant": g.named(ss.dev), "addressing_mode": g.mode()}
		g.other(ss.dev.account, more, "participant")
		if kind == "retry" {
			forward(s.device(participant), more)
		} else if a := s.find(participant); a != nil {
			for _, d := range a.devices {
				forward(d, more)
			}
		}
	case kind == "retry":
		more := waBinary.Attrs{"from": ss.dev.lid()}
		if r := jid(n, "recipient"); !r.IsEmpty() {
			more["recipient"] = r
		}
		forward(s.device(to), more)
	default:
		ss.directReceipt(n, kind, to, forward)
	}
	if kind == "read" {
		ss.readSelf(n, to, participant)
	}
}

// directReceipt routes a receipt of a 1:1 chat, or one about a message of the own account.
func (ss *session) directReceipt(n *waBinary.Node, kind string, to types.JID, forward func(*device, waBinary.Attrs)) {
	a, me := ss.server.find(to), ss.dev.account
	if a == nil {
		return
	}
	more := waBinary.Attrs{"from": ss.dev.lid()}
	if r := jid(n, "recipient"); !r.IsEmpty() {
		more["recipient"] = r
	}
	if a != me {
		me.known(more, "sender_pn")
	} else if kind == "peer_msg" || kind == "hist_sync" {
		forward(ss.server.device(me.lid), more)
		return
	}
	for _, d := range a.devices {
		forward(d, more)
	}
}

// readSelf tells the other devices of who has read something that it is read.
func (ss *session) readSelf(n *waBinary.Node, chat, participant types.JID) {
	for _, d := range ss.dev.account.devices {
		if d == ss.dev {
			continue
		}
		attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": now(), "type": "read-self"}
		if g := ss.server.groups[chat.User]; chat.Server == types.GroupServer && g != nil {
			attrs["from"], attrs["participant"], attrs["recipient"] = chat, g.named(ss.dev), participant
		} else {
			attrs["from"], attrs["recipient"] = ss.dev.lid(), chat
		}
		d.deliver(waBinary.Node{Tag: "receipt", Attrs: attrs, Content: n.Content})
	}
}

// presence notes that a person is there or away, under which name, or who wants to know it. The server is locked.
func (ss *session) presence(n *waBinary.Node) {
	d := ss.dev
	switch kind := str(n, "type"); kind {
	case "subscribe":
		if a := ss.server.find(jid(n, "to")); a != nil {
			a.online[d] = jid(n, "to")
			a.tell(d)
		}
	case "available", "unavailable":
		if name := str(n, "name"); name != "" {
			d.account.name = name
		}
		d.setAvailable(kind == "available")
	}
}

// setAvailable says whether a device is used right now. The server is locked.
func (d *device) setAvailable(available bool) {
	a := d.account
	if d.available == available {
		return
	}
	d.available = available
	if !available {
		a.lastSeen = time.Now()
	}
	for w := range a.online {
		a.tell(w)
	}
	a.server.change()
}

// tell sends an account's presence to a device that asked for it, if that is available itself.
func (a *account) tell(d *device) {
	if d.session == nil || !d.available {
		return
	}
	attrs := waBinary.Attrs{"from": a.online[d]}
	if !slices.ContainsFunc(a.devices, func(d *device) bool { return d.available }) {
		attrs["type"] = "unavailable"
		if !a.lastSeen.IsZero() {
			attrs["last"] = a.lastSeen.Unix()
		}
	}
	d.session.send(waBinary.Node{Tag: "presence", Attrs: attrs})
}

// chatState passes on that somebody types, to devices that are available right now. The server is locked.
func (ss *session) chatState(n *waBinary.Node) {
	s, to, me := ss.server, jid(n, "to"), ss.dev.account
	attrs, accounts := waBinary.Attrs{"from": me.lid}, []*account{s.find(to)}
	if g := s.groups[to.User]; to.Server == types.GroupServer {
		if g == nil || g.member(me) == nil {
			return
		}
		attrs, accounts = waBinary.Attrs{"from": to, "participant": g.named(ss.dev).ToNonAD(), "addressing_mode": g.mode()}, nil
		for _, m := range g.members {
			accounts = append(accounts, m.account)
		}
	}
	for _, a := range accounts {
		if a == nil || a == me {
			continue
		}
		for _, d := range a.devices {
			if d.session != nil && d.available {
				d.session.send(waBinary.Node{Tag: "chatstate", Attrs: attrs, Content: n.Content})
			}
		}
	}
}
