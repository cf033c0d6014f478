//go:build !nowhatsapp

package waserver

import (
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/group"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// ExpireMedia forgets all media: who downloads it gets 410, and who asks the sender's phone for it anew is told that it is
// not there.
func (s *Server) ExpireMedia() {
	s.media.Expire()
}

// mediaRetry answers who asks for expired media: no phone here has it any more. The server is locked.
func (ss *session) mediaRetry(n *waBinary.Node) {
	ss.dev.deliver(waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{
		"from": ss.dev.account.PN, "type": "mediaretry", "id": n.Attrs["id"], "t": stanza.Now(),
	}, Content: []waBinary.Node{stanza.Child(n, "rmr"), {Tag: "error", Attrs: waBinary.Attrs{"code": 2}}}})
}

// picture is a person's or a group's; the zero value is none.
type picture struct {
	id, path string
}

// picture gets or sets a picture. The server is locked.
func (ss *session) picture(n *waBinary.Node) {
	s, target := ss.server, stanza.JID(n, "target")
	p, tell := &ss.dev.account.picture, ss.dev.account.tellPicture
	if g := s.groups[target.User]; target.Server == types.GroupServer {
		if g.Member(&ss.dev.account.Person) == nil {
			ss.refuse(n, 401)
			return
		}
		p, tell = s.groupPicture(g.JID), func(change waBinary.Node) { ss.tellPicture(g, change) }
	} else if a := s.find(target); a != nil {
		p = &a.picture
	} else if !target.IsEmpty() {
		ss.refuse(n, 404)
		return
	}
	asked := stanza.Child(n, "picture")
	switch {
	case stanza.String(n, "type") == "set" && !target.IsEmpty() && target.Server != types.GroupServer && s.find(target) != ss.dev.account:
		ss.refuse(n, 403)
	case stanza.String(n, "type") == "set" && asked.Tag == "":
		*p = picture{}
		ss.result(n)
		tell(waBinary.Node{Tag: "delete", Attrs: waBinary.Attrs{}})
	case stanza.String(n, "type") == "set":
		if len(stanza.Data(asked)) == 0 {
			ss.refuse(n, 406)
			return
		}
		*p = picture{path: s.media.Put(stanza.Data(asked)), id: s.next()}
		ss.result(n, waBinary.Node{Tag: "picture", Attrs: waBinary.Attrs{"id": p.id}})
		tell(waBinary.Node{Tag: "set", Attrs: waBinary.Attrs{"id": p.id}})
	case p.id == "":
		ss.refuse(n, 404)
	case stanza.String(&asked, "id") == p.id:
		ss.result(n) // not changed
	default:
		ss.result(n, waBinary.Node{Tag: "picture", Attrs: waBinary.Attrs{
			"id": p.id, "type": stanza.String(&asked, "type"), "url": "https://pps.whatsapp.net" + p.path, "direct_path": p.path,
		}})
	}
}

// tellPicture tells those who know a person that their picture changed.
func (a *account) tellPicture(change waBinary.Node) {
	change.Attrs["jid"] = a.LID
	for _, w := range a.server.accounts {
		if !a.watchers[w] {
			continue
		}
		for _, d := range w.devices {
			d.notify(a.LID, "picture", nil, change)
		}
	}
}

// groupPicture is where a group's picture is kept.
func (s *Server) groupPicture(j types.JID) *picture {
	if s.pictures[j.User] == nil {
		s.pictures[j.User] = new(picture)
	}
	return s.pictures[j.User]
}

// tellPicture tells the members of a group that its picture changed.
func (ss *session) tellPicture(g *group.Group, change waBinary.Node) {
	change.Attrs["jid"], change.Attrs["author"] = g.JID, g.Of(&ss.dev.account.Person)
	for _, d := range ss.server.devicesOf(g.Members) {
		d.notify(g.JID, "picture", nil, change)
	}
}
