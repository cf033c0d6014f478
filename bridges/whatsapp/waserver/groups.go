//go:build !nowhatsapp

package waserver

import (
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/group"
	"mimigate/bridges/whatsapp/waserver/stanza"
)

// OldFashioned says whether a group addresses its members by number, as groups did before there were LIDs.
func (s *Server) OldFashioned(t testing.TB, j types.JID, old bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[j.User]; g != nil {
		g.ByNumber = old
		return
	}
	t.Fatalf("waserver: no group %s", j)
}

// Members returns the numbers of a group's members, who have joined first first; nil where there is no such group.
func (s *Server) Members(j types.JID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	if g := s.groups[j.User]; g != nil {
		for _, m := range g.Members {
			list = append(list, m.PN.User)
		}
	}
	return list
}

// named is a device as a group names it.
func named(g *group.Group, d *device) types.JID {
	if g.ByNumber {
		return d.pn()
	}
	return d.lid()
}

// devicesOf are the devices of members. The server is locked.
func (s *Server) devicesOf(members []*group.Member) []*device {
	var list []*device
	for _, m := range members {
		list = append(list, s.find(m.PN).devices...)
	}
	return list
}

// group answers a request about groups. The server is locked.
func (ss *session) group(n *waBinary.Node) {
	s, me := ss.server, &ss.dev.account.Person
	if len(n.GetChildren()) == 0 {
		ss.refuse(n, 400)
		return
	}
	asked := n.GetChildren()[0]
	set := stanza.String(n, "type") == "set"
	with := group.Context{By: me, Next: s.next, Find: func(j types.JID) *group.Person {
		if a := s.find(j); a != nil {
			return &a.Person
		}
		return nil
	}}
	o := group.Outcome{Code: 404}
	g := s.groups[stanza.JID(n, "to").User]
	switch {
	case stanza.JID(n, "to").User != "":
		if g != nil {
			o = g.Ask(with, set, &asked)
		}
	case asked.Tag == "create":
		if g, o = group.Create(with, &asked); o.Code == 0 {
			s.groups[g.JID.User] = g
		}
	case asked.Tag == "participating":
		var list []waBinary.Node
		for _, g := range s.groups {
			if g.Member(me) != nil {
				list = append(list, g.Node())
			}
		}
		o = group.Outcome{Answer: []waBinary.Node{{Tag: "groups", Content: list}}}
	case asked.Tag == "invite":
		o.Code = 406
		for _, g = range s.groups {
			if g.Code == stanza.String(&asked, "code") {
				o = g.Join(with, set)
				break
			}
		}
	case asked.Tag == "leave":
		which := stanza.Child(&asked, "group")
		if g = s.groups[stanza.JID(&which, "id").User]; g != nil {
			o = g.Leave(with)
		}
	default:
		o.Code = 501
	}
	ss.settle(n, g, o)
}

// settle answers a request about a group, and tells whom it concerns.
func (ss *session) settle(n *waBinary.Node, g *group.Group, o group.Outcome) {
	if o.Code != 0 {
		ss.refuse(n, o.Code)
		return
	}
	ss.result(n, o.Answer...)
	for _, notice := range o.Notices {
		for _, d := range ss.server.devicesOf(notice.To) {
			d.notify(g.JID, "w:gp2", notice.Attrs, notice.Node)
		}
	}
}
