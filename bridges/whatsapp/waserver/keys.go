//go:build !nowhatsapp

package waserver

import (
	"strconv"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waVnameCert"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver/stanza"
)

// few is when a client is told that its one-time keys run out (whatsmeow: MinPreKeyCount).
const few = 5

// encrypt keeps and gives out Signal keys. The server is locked.
func (ss *session) encrypt(n *waBinary.Node) {
	d := ss.dev
	switch {
	case stanza.Has(n, "key"):
		asked := stanza.Child(n, "key")
		var list []waBinary.Node
		for _, u := range asked.GetChildren() {
			j := stanza.JID(&u, "jid")
			list = append(list, waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": j}, Content: ss.server.device(j).bundle()})
		}
		ss.result(n, waBinary.Node{Tag: "list", Content: list})
	case stanza.Has(n, "count"):
		// Who has none at all makes 812 at once, which would take most of a test's time; who has some, 50.
		ss.result(n, waBinary.Node{Tag: "count", Attrs: waBinary.Attrs{"value": max(len(d.oneTime), 1)}})
	case stanza.Has(n, "skey"):
		list := stanza.Child(n, "list")
		d.oneTime = append(d.oneTime, list.GetChildren()...)
		d.signed, d.identity, d.registration = stanza.Child(n, "skey"), stanza.Data(stanza.Child(n, "identity")), stanza.Data(stanza.Child(n, "registration"))
		ss.result(n)
		ss.server.change()
	default:
		ss.refuse(n, 400)
	}
}

// bundle takes one of a device's one-time keys, with what belongs to it. The server is locked.
func (d *device) bundle() []waBinary.Node {
	if d == nil || d.signed.Tag == "" {
		return []waBinary.Node{stanza.Error(404)}
	}
	keys := []waBinary.Node{
		{Tag: "registration", Content: d.registration},
		{Tag: "type", Content: []byte{5}},
		{Tag: "identity", Content: d.identity},
		d.signed,
	}
	if len(d.oneTime) > 0 {
		keys = append(keys, d.oneTime[0])
		d.oneTime = d.oneTime[1:]
	}
	if len(d.oneTime) == few-1 {
		d.notify(types.ServerJID, "encrypt", nil, waBinary.Node{Tag: "count", Attrs: waBinary.Attrs{"value": len(d.oneTime)}})
	}
	return keys
}

// usync answers questions about people: their devices, numbers and LIDs, and profiles. The server is locked.
func (ss *session) usync(n *waBinary.Node) {
	asked := stanza.Child(n, "usync")
	query, list := stanza.Child(&asked, "query"), stanza.Child(&asked, "list")
	var users []waBinary.Node
	for _, u := range list.GetChildren() {
		if stanza.Has(&u, "contact") {
			users = append(users, ss.contact(string(stanza.Data(stanza.Child(&u, "contact")))))
			continue
		}
		j := stanza.JID(&u, "jid")
		a := ss.server.find(j)
		if a == nil {
			continue
		}
		a.watchers[ss.dev.account] = true
		var facts []waBinary.Node
		for _, q := range query.GetChildren() {
			if fact := a.fact(q.Tag, j.Server); fact.Tag != "" {
				facts = append(facts, fact)
			}
		}
		users = append(users, waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": j}, Content: facts})
	}
	ss.result(n, waBinary.Node{Tag: "usync", Attrs: waBinary.Attrs{"sid": asked.Attrs["sid"]}, Content: []waBinary.Node{{Tag: "list", Content: users}}})
}

// contact says whether a number, "+4915…@c.us", is on WhatsApp.
func (ss *session) contact(query string) waBinary.Node {
	number := strings.TrimPrefix(strings.TrimSuffix(query, "@"+types.LegacyUserServer), "+")
	attrs, kind := waBinary.Attrs{"jid": types.NewJID(number, types.DefaultUserServer)}, "out"
	var facts []waBinary.Node
	if a := ss.server.users[number]; a != nil && a.PN.User == number {
		attrs, kind = waBinary.Attrs{"jid": a.LID, "pn_jid": a.PN}, "in"
		if fact := a.fact("business", ""); fact.Tag != "" {
			facts = append(facts, fact)
		}
	}
	facts = append(facts, waBinary.Node{Tag: "contact", Attrs: waBinary.Attrs{"type": kind}, Content: []byte(query)})
	return waBinary.Node{Tag: "user", Attrs: attrs, Content: facts}
}

// fact is one thing to know of an account; it has no tag where there is nothing to know.
func (a *account) fact(what, server string) waBinary.Node {
	switch what {
	case "devices":
		var list []waBinary.Node
		for _, d := range a.devices {
			list = append(list, waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"id": int(d.id), "key-index": int(d.id)}})
		}
		return waBinary.Node{Tag: "devices", Content: []waBinary.Node{{Tag: "device-list", Attrs: waBinary.Attrs{"hash": stanza.ListHash(a.deviceJIDs(server))}, Content: list}}}
	case "lid":
		return waBinary.Node{Tag: "lid", Attrs: waBinary.Attrs{"val": a.LID}}
	case "status":
		return waBinary.Node{Tag: "status", Attrs: waBinary.Attrs{"t": stanza.Now()}, Content: []byte(a.status)}
	case "picture":
		if a.picture.id != "" {
			return waBinary.Node{Tag: "picture", Attrs: waBinary.Attrs{"id": a.picture.id}}
		}
	case "business":
		if a.business != "" {
			return waBinary.Node{Tag: "business", Content: []waBinary.Node{a.verifiedName()}}
		}
	}
	return waBinary.Node{}
}

// deviceJIDs is an account's device list, by LID or by number.
func (a *account) deviceJIDs(server string) []types.JID {
	var list []types.JID
	for _, d := range a.devices {
		if server == types.HiddenUserServer {
			list = append(list, d.lid())
		} else {
			list = append(list, d.pn())
		}
	}
	return list
}

// verifiedName is the certificate of a business's name; nobody checks its signature.
func (a *account) verifiedName() waBinary.Node {
	details, err := proto.Marshal(&waVnameCert.VerifiedNameCertificate_Details{VerifiedName: &a.business})
	if err != nil {
		return waBinary.Node{}
	}
	cert, err := proto.Marshal(&waVnameCert.VerifiedNameCertificate{Details: details})
	if err != nil {
		return waBinary.Node{}
	}
	return waBinary.Node{Tag: "verified_name", Attrs: waBinary.Attrs{
		"v": "2", "verified_level": "unknown", "host_storage": 1, "actual_actors": 1, "privacy_mode_ts": stanza.Now(),
	}, Content: cert}
}

// privacy answers for privacy settings, all at "all", and passes on the tokens that people issue for each other. The
// server is locked.
func (ss *session) privacy(n *waBinary.Node) {
	tokens := stanza.Child(n, "tokens")
	for _, t := range tokens.GetChildren() {
		a := ss.server.find(stanza.JID(&t, "jid"))
		if a == nil {
			continue
		}
		me := ss.dev.account
		for _, d := range a.devices {
			d.notify(me.sender(), "privacy_token", waBinary.Attrs{"sender_lid": me.LID}, waBinary.Node{Tag: "tokens", Content: []waBinary.Node{{
				Tag: "token", Attrs: waBinary.Attrs{"type": "trusted_contact", "t": t.Attrs["t"]}, Content: []byte("token " + strconv.Itoa(ss.server.sequence)),
			}}})
		}
	}
	if stanza.String(n, "type") == "set" {
		ss.result(n)
		return
	}
	var list []waBinary.Node
	for _, name := range []string{"readreceipts", "groupadd", "last", "status", "profile", "online", "calladd"} {
		list = append(list, waBinary.Node{Tag: "category", Attrs: waBinary.Attrs{"name": name, "value": "all"}})
	}
	ss.result(n, waBinary.Node{Tag: "privacy", Content: list})
}

// sender is how an account's tokens and numbers are told apart: by number, or by LID where that is hidden.
func (a *account) sender() types.JID {
	if a.Hidden {
		return a.LID
	}
	return a.PN
}

// blocklist keeps whom an account wants to hear nothing of. The server is locked.
func (ss *session) blocklist(n *waBinary.Node) {
	me := ss.dev.account
	item := stanza.Child(n, "item")
	if a := ss.server.find(stanza.JID(&item, "jid")); a != nil {
		me.blocked[a] = stanza.String(&item, "action") == "block"
	}
	var list []waBinary.Node
	for _, a := range ss.server.accounts {
		if me.blocked[a] {
			list = append(list, waBinary.Node{Tag: "item", Attrs: waBinary.Attrs{"jid": a.LID}})
		}
	}
	ss.result(n, waBinary.Node{Tag: "list", Attrs: waBinary.Attrs{"dhash": strconv.Itoa(len(list))}, Content: list})
}

// appState keeps and gives out app state. The server is locked.
func (ss *session) appState(n *waBinary.Node) {
	a := ss.dev.account
	sync := stanza.Child(n, "sync")
	var answers []waBinary.Node
	for _, c := range sync.GetChildrenByTag("collection") {
		answer, grown := a.state.Sync(&c)
		answers = append(answers, answer)
		for _, d := range a.devices {
			if grown > 0 && d != ss.dev {
				d.notify(a.PN, "server_sync", nil, waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": stanza.String(&c, "name"), "version": grown}})
			}
		}
	}
	ss.result(n, waBinary.Node{Tag: "sync", Content: answers})
}
