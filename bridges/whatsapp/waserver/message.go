//go:build !nowhatsapp

package waserver

import (
	"maps"
	"slices"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/group"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// message takes a message, routes it to devices, and acknowledges it. The server is locked.
func (ss *session) message(n *waBinary.Node) {
	s, to := ss.server, stanza.JID(n, "to")
	code := 0
	var devices []types.JID // what the client should have encrypted for
	switch to.Server {
	case types.GroupServer:
		g := s.groups[to.User]
		if code = g.MaySend(&ss.dev.account.Person); code == 0 {
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
		ID: stanza.String(n, "id"), From: ss.dev.pn(), To: to, Type: stanza.String(n, "type"), Edit: stanza.String(n, "edit"),
	})
	extra := waBinary.Attrs{}
	if len(devices) > 0 && !isRetry(n) {
		extra["phash"] = stanza.ListHash(devices)
	}
	ss.ack(n, extra)
	s.change()
}

// isRetry says whether a message is for one device: one that could not decrypt it, or that of a peer message.
func isRetry(n *waBinary.Node) bool { return stanza.Has(n, "enc") && !stanza.Has(n, "participants") }

// onward is a message as it goes on to a device, but for the ciphertexts. The sender is named by LID.
func (ss *session) onward(n *waBinary.Node) waBinary.Node {
	me := ss.dev.account
	attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": stanza.Now(), "notify": me.Name, "addressing_mode": "lid"}
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
	base := ss.onward(n)
	done := map[*device]bool{ss.dev: true} // in a chat with oneself whatsmeow encrypts twice for each device
	deliver := func(j types.JID, ciphertexts []waBinary.Node) {
		d := s.device(j)
		if d == nil || done[d] || d.account != a && d.account != me || a.blocked[me] && d.account == a {
			return
		}
		done[d] = true
		attrs := waBinary.Attrs{"from": ss.dev.lid()}
		if d.account != me {
			me.Known(attrs, "sender_pn")
		} else if a != me {
			attrs["recipient"] = a.LID
			a.Known(attrs, "peer_recipient_pn")
		}
		if old := me.oldFashioned(attrs); old != nil {
			attrs = old
		}
		d.deliver(with(base, attrs, ciphertexts))
	}
	if isRetry(n) {
		deliver(stanza.JID(n, "to"), n.GetChildrenByTag("enc"))
		return nil
	}
	for _, p := range participants(n) {
		deliver(stanza.JID(&p, "jid"), p.GetChildrenByTag("enc"))
	}
	if a == me {
		return nil // whatsmeow then lists its devices twice
	}
	return slices.Concat(a.deviceJIDs(types.HiddenUserServer), me.deviceJIDs(types.HiddenUserServer))
}

func participants(n *waBinary.Node) []waBinary.Node {
	p := stanza.Child(n, "participants")
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
func (ss *session) groupMessage(n *waBinary.Node, g *group.Group) []types.JID {
	s := ss.server
	base := ss.onward(n)
	sender := named(g, ss.dev)
	attrs := waBinary.Attrs{"from": g.JID, "participant": sender, "addressing_mode": g.Mode()}
	g.Other(&ss.dev.account.Person, attrs, "participant")
	if isRetry(n) && !stanza.Has(n, "participants") && !stanza.JID(n, "participant").IsEmpty() {
		if d := s.device(stanza.JID(n, "participant")); d != nil && g.Member(&d.account.Person) != nil {
			d.deliver(with(base, attrs, n.GetChildrenByTag("enc")))
		}
		return nil
	}
	each := map[*device][]waBinary.Node{}
	for _, p := range participants(n) {
		if d := s.device(stanza.JID(&p, "jid")); d != nil {
			each[d] = p.GetChildrenByTag("enc")
		}
	}
	var devices []types.JID
	for _, d := range s.devicesOf(g.Members) {
		devices = append(devices, named(g, d))
		if d != ss.dev && !d.account.blocked[ss.dev.account] {
			d.deliver(with(base, attrs, slices.Concat(each[d], n.GetChildrenByTag("enc"))))
		}
	}
	return devices
}

// statusMessage routes a status update to those it is encrypted for. The server is locked.
func (ss *session) statusMessage(n *waBinary.Node) {
	base := ss.onward(n)
	attrs := waBinary.Attrs{"from": stanza.JID(n, "to"), "participant": ss.dev.lid()}
	ss.dev.account.Known(attrs, "participant_pn")
	for _, p := range participants(n) {
		if d := ss.server.device(stanza.JID(&p, "jid")); d != nil && d != ss.dev {
			d.deliver(with(base, attrs, slices.Concat(p.GetChildrenByTag("enc"), n.GetChildrenByTag("enc"))))
		}
	}
}

// receipt routes a receipt, and takes the one of delivery for the acknowledgement that it is. The server is locked.
func (ss *session) receipt(n *waBinary.Node) {
	s, to, kind, participant := ss.server, stanza.JID(n, "to"), stanza.String(n, "type"), stanza.JID(n, "participant")
	if delivery(kind) {
		ss.dev.acknowledged("message", stanza.String(n, "id"), to, participant)
	}
	ss.ack(n, nil)
	attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": stanza.Now()}
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
		more := waBinary.Attrs{"from": to, "participant": named(g, ss.dev), "addressing_mode": g.Mode()}
		g.Other(&ss.dev.account.Person, more, "participant")
		if kind == "retry" {
			forward(s.device(participant), more)
		} else if a := s.find(participant); a != nil {
			for _, d := range a.devices {
				forward(d, more)
			}
		}
	case kind == "retry":
		more := waBinary.Attrs{"from": ss.dev.lid()}
		if r := stanza.JID(n, "recipient"); !r.IsEmpty() {
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
	if r := stanza.JID(n, "recipient"); !r.IsEmpty() {
		more["recipient"] = r
	}
	if a != me {
		me.Known(more, "sender_pn")
	} else if kind == "peer_msg" || kind == "hist_sync" {
		forward(ss.server.device(me.LID), more)
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
		attrs := waBinary.Attrs{"id": n.Attrs["id"], "t": stanza.Now(), "type": "read-self"}
		if g := ss.server.groups[chat.User]; chat.Server == types.GroupServer && g != nil {
			attrs["from"], attrs["participant"], attrs["recipient"] = chat, named(g, ss.dev), participant
		} else {
			attrs["from"], attrs["recipient"] = ss.dev.lid(), chat
		}
		d.deliver(waBinary.Node{Tag: "receipt", Attrs: attrs, Content: n.Content})
	}
}

// presence notes that a person is there or away, under which name, or who wants to know it. The server is locked.
func (ss *session) presence(n *waBinary.Node) {
	d := ss.dev
	switch kind := stanza.String(n, "type"); kind {
	case "subscribe":
		if a := ss.server.find(stanza.JID(n, "to")); a != nil {
			a.online[d] = stanza.JID(n, "to")
			a.tell(d)
		}
	case "available", "unavailable":
		if name := stanza.String(n, "name"); name != "" {
			d.account.Name = name
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
	s, to, me := ss.server, stanza.JID(n, "to"), ss.dev.account
	attrs, accounts := waBinary.Attrs{"from": me.LID}, []*account{s.find(to)}
	if g := s.groups[to.User]; to.Server == types.GroupServer {
		if g == nil || g.Member(&me.Person) == nil {
			return
		}
		attrs, accounts = waBinary.Attrs{"from": to, "participant": named(g, ss.dev).ToNonAD(), "addressing_mode": g.Mode()}, nil
		for _, m := range g.Members {
			accounts = append(accounts, s.find(m.PN))
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
