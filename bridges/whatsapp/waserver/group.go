//go:build !nowhatsapp

package waserver

import (
	"slices"
	"strconv"
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// group is a group. All of it is guarded by the server's mutex.
type group struct {
	jid                 types.JID
	creator             *account
	created             int64
	subject             string
	subjectBy           *account
	subjectAt           int64
	description         string
	descriptionID       string
	descriptionBy       *account
	descriptionAt       int64
	announce, locked    bool
	adminsAdd, approval bool
	timer               int // seconds; 0: messages stay
	byNumber            bool
	members             []*member
	code                string // of the invite link
	picture             picture
	version             int
}

type member struct {
	account *account
	rank    string // "", "admin", "superadmin"
}

// maxSubject is the longest subject of a group in characters; more is not acceptable (406).
const maxSubject = 100

func (g *group) member(a *account) *member {
	if g == nil {
		return nil
	}
	for _, m := range g.members {
		if m.account == a {
			return m
		}
	}
	return nil
}

// maySend is 0, or the error for a message of who may not send.
func (g *group) maySend(a *account) int {
	m := g.member(a)
	switch {
	case g == nil:
		return 404
	case m == nil, g.announce && m.rank == "":
		return 403
	}
	return 0
}

// mode is how members are addressed.
func (g *group) mode() string {
	if g.byNumber {
		return "pn"
	}
	return "lid"
}

// named is a device as the group names it.
func (g *group) named(d *device) types.JID {
	if g.byNumber {
		return d.pn()
	}
	return d.lid()
}

// of is an account as the group names it.
func (g *group) of(a *account) types.JID {
	if g.byNumber {
		return a.pn
	}
	return a.lid
}

// other adds an account's other name: key_pn where members go by LID and the number is not hidden, else key_lid.
func (g *group) other(a *account, attrs waBinary.Attrs, key string) {
	if g.byNumber {
		attrs[key+"_lid"] = a.lid
	} else {
		a.known(attrs, key+"_pn")
	}
}

// participant describes a member.
func (g *group) participant(m *member) waBinary.Node {
	attrs := waBinary.Attrs{"jid": g.of(m.account)}
	if g.byNumber {
		attrs["lid"] = m.account.lid
	} else {
		m.account.known(attrs, "phone_number")
	}
	if m.rank != "" {
		attrs["type"] = m.rank
	}
	return waBinary.Node{Tag: "participant", Attrs: attrs}
}

// node describes the group.
func (g *group) node() waBinary.Node {
	attrs := waBinary.Attrs{
		"id": g.jid.User, "jid": g.jid, "creator": g.of(g.creator), "creation": g.created,
		"subject": g.subject, "s_t": g.subjectAt, "s_o": g.of(g.subjectBy), "addressing_mode": g.mode(), "size": len(g.members),
		"p_v_id": strconv.Itoa(g.version), "a_v_id": strconv.Itoa(g.version),
	}
	var content []waBinary.Node
	for _, m := range g.members {
		content = append(content, g.participant(m))
	}
	if g.description != "" {
		content = append(content, waBinary.Node{Tag: "description", Attrs: waBinary.Attrs{
			"id": g.descriptionID, "t": g.descriptionAt, "participant": g.of(g.descriptionBy),
		}, Content: []waBinary.Node{{Tag: "body", Content: []byte(g.description)}}})
	}
	mode := "all_member_add"
	if g.adminsAdd {
		mode = "admin_add"
	}
	content = append(content, waBinary.Node{Tag: "member_add_mode", Content: []byte(mode)})
	for tag, set := range map[string]bool{"announcement": g.announce, "locked": g.locked, "membership_approval_mode": g.approval} {
		if set {
			content = append(content, waBinary.Node{Tag: tag})
		}
	}
	if g.timer > 0 {
		content = append(content, waBinary.Node{Tag: "ephemeral", Attrs: waBinary.Attrs{"expiration": g.timer}})
	}
	return waBinary.Node{Tag: "group", Attrs: attrs, Content: content}
}

// tell notifies members of a change that somebody made; the device that asked for it is told as well.
func (g *group) tell(members []*member, by *device, change waBinary.Node) {
	for _, m := range members {
		for _, d := range m.account.devices {
			attrs := waBinary.Attrs{"participant": g.of(by.account), "addressing_mode": g.mode(), "notify": by.account.name}
			g.other(by.account, attrs, "participant")
			d.notify(g.jid, "w:gp2", attrs, change)
		}
	}
}

// OldFashioned says whether a group addresses its members by number, as groups did before there were LIDs.
func (s *Server) OldFashioned(t testing.TB, j types.JID, old bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.groups[j.User]; g != nil {
		g.byNumber = old
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
		for _, m := range g.members {
			list = append(list, m.account.pn.User)
		}
	}
	return list
}

// group answers a request about groups. The server is locked.
func (ss *session) group(n *waBinary.Node) {
	s, me := ss.server, ss.dev.account
	if len(n.GetChildren()) == 0 {
		ss.refuse(n, 400)
		return
	}
	c := n.GetChildren()[0]
	if to := jid(n, "to"); to.User != "" {
		g := s.groups[to.User]
		switch {
		case g == nil:
			ss.refuse(n, 404)
		case g.member(me) == nil:
			ss.refuse(n, 403)
		default:
			ss.groupChange(n, &c, g, g.member(me))
		}
		return
	}
	switch c.Tag {
	case "create":
		ss.groupCreate(n, &c)
	case "participating":
		var list []waBinary.Node
		for _, g := range s.groups {
			if g.member(me) != nil {
				list = append(list, g.node())
			}
		}
		ss.result(n, waBinary.Node{Tag: "groups", Content: list})
	case "invite":
		ss.groupInvite(n, str(&c, "code"))
	case "leave":
		asked := child(&c, "group")
		g := s.groups[jid(&asked, "id").User]
		m := g.member(me)
		if m == nil {
			ss.refuse(n, 404)
			return
		}
		ss.result(n, waBinary.Node{Tag: "leave", Content: []waBinary.Node{asked}})
		g.remove(ss.dev, []*member{m})
	default:
		ss.refuse(n, 501)
	}
}

func (ss *session) groupCreate(n, c *waBinary.Node) {
	s, me := ss.server, ss.dev.account
	subject := str(c, "subject")
	if len([]rune(subject)) > maxSubject {
		ss.refuse(n, 406)
		return
	}
	id := s.next()
	g := &group{
		jid: types.NewJID("1203630000"+leftPad(id), types.GroupServer), creator: me, created: now(), code: "Invite" + leftPad(id),
		subject: subject, subjectBy: me, subjectAt: now(), members: []*member{{me, "superadmin"}},
		announce: has(c, "announcement"), locked: has(c, "locked"), adminsAdd: string(data(child(c, "member_add_mode"))) == "admin_add",
	}
	timer := child(c, "ephemeral")
	g.timer, _ = strconv.Atoi(str(&timer, "expiration"))
	for _, p := range c.GetChildrenByTag("participant") {
		if a := s.find(jid(&p, "jid")); a != nil && g.member(a) == nil {
			g.members = append(g.members, &member{account: a})
		}
	}
	s.groups[g.jid.User] = g
	ss.result(n, g.node())
	g.tell(g.members, ss.dev, waBinary.Node{Tag: "create", Attrs: waBinary.Attrs{"type": "new"}, Content: []waBinary.Node{g.node()}})
}

func leftPad(s string) string { return ("00000000" + s)[len(s):] }

// groupInvite tells what an invite link leads to, or joins by it.
func (ss *session) groupInvite(n *waBinary.Node, code string) {
	for _, g := range ss.server.groups {
		if g.code != code {
			continue
		}
		if str(n, "type") == "set" && g.member(ss.dev.account) == nil {
			m := &member{account: ss.dev.account}
			g.members = append(g.members, m)
			g.tell(g.members, ss.dev, waBinary.Node{Tag: "add", Attrs: waBinary.Attrs{"reason": "invite"}, Content: []waBinary.Node{g.participant(m)}})
		}
		ss.result(n, g.node())
		return
	}
	ss.refuse(n, 406)
}

// remove takes members out and tells them and those who stay.
func (g *group) remove(by *device, gone []*member) {
	before := slices.Clone(g.members)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return slices.Contains(gone, m) })
	g.tell(before, by, g.changed("remove", gone))
}

// changed describes a change of members.
func (g *group) changed(tag string, members []*member) waBinary.Node {
	before := strconv.Itoa(g.version)
	g.version++
	var list []waBinary.Node
	for _, m := range members {
		list = append(list, g.participant(m))
	}
	return waBinary.Node{Tag: tag, Attrs: waBinary.Attrs{"prev_v_id": before, "v_id": strconv.Itoa(g.version)}, Content: list}
}

// groupChange answers a member's request about their group.
func (ss *session) groupChange(n, c *waBinary.Node, g *group, me *member) {
	admin := me.rank != ""
	switch c.Tag {
	case "query":
		ss.result(n, g.node())
	case "invite":
		if !admin {
			ss.refuse(n, 401)
			return
		}
		if str(n, "type") == "set" {
			g.code = "Invite" + leftPad(ss.server.next())
		}
		ss.result(n, waBinary.Node{Tag: "invite", Attrs: waBinary.Attrs{"code": g.code}})
	case "add", "remove", "promote", "demote":
		if !admin && (c.Tag != "add" || g.adminsAdd) {
			ss.refuse(n, 401)
			return
		}
		ss.groupMembers(n, c, g)
	default:
		if g.locked && !admin {
			ss.refuse(n, 401)
			return
		}
		ss.groupSetting(n, c, g)
	}
}

// groupMembers adds, removes, promotes and demotes.
func (ss *session) groupMembers(n, c *waBinary.Node, g *group) {
	var answer []waBinary.Node
	var affected []*member
	for _, p := range c.GetChildrenByTag("participant") {
		a := ss.server.find(jid(&p, "jid"))
		m := g.member(a)
		code := 0
		switch {
		case a == nil, m == nil && c.Tag != "add":
			code = 404
		case m != nil && c.Tag == "add":
			code = 409
		case m == nil:
			m = &member{account: a}
			g.members = append(g.members, m)
		case c.Tag == "promote":
			m.rank = "admin"
		case c.Tag == "demote":
			m.rank = ""
		}
		if code != 0 {
			answer = append(answer, waBinary.Node{Tag: "participant", Attrs: waBinary.Attrs{"jid": jid(&p, "jid"), "error": code}})
			continue
		}
		affected = append(affected, m)
		answer = append(answer, g.participant(m))
	}
	ss.result(n, waBinary.Node{Tag: c.Tag, Content: answer})
	switch {
	case len(affected) == 0:
	case c.Tag == "remove":
		g.remove(ss.dev, affected)
	default:
		change := g.changed(c.Tag, affected)
		if c.Tag != "add" {
			g.tell(g.members, ss.dev, change)
			return
		}
		stayed := slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return slices.Contains(affected, m) })
		g.tell(stayed, ss.dev, change)
		g.tell(affected, ss.dev, waBinary.Node{Tag: "create", Attrs: waBinary.Attrs{"reason": "invite"}, Content: []waBinary.Node{g.node()}})
	}
}

// timers are the times after which messages of a group may disappear, in seconds: a day, 7 days, 90 days.
var timers = []int{86400, 604800, 7776000}

// groupSetting changes what a group is called, and how it is run.
func (ss *session) groupSetting(n, c *waBinary.Node, g *group) {
	me := ss.dev.account
	told := waBinary.Node{Tag: c.Tag, Attrs: waBinary.Attrs{}}
	switch c.Tag {
	case "subject":
		if len([]rune(string(data(*c)))) > maxSubject {
			ss.refuse(n, 406)
			return
		}
		g.subject, g.subjectBy, g.subjectAt = string(data(*c)), me, now()
		told.Attrs = waBinary.Attrs{"subject": g.subject, "s_t": g.subjectAt, "s_o": g.of(me)}
	case "description":
		g.description, g.descriptionID = string(data(child(c, "body"))), str(c, "id")
		g.descriptionBy, g.descriptionAt = me, now()
		told.Attrs = waBinary.Attrs{"id": g.descriptionID}
		told.Content = c.Content
		if !has(c, "body") {
			told.Content = []waBinary.Node{{Tag: "delete"}}
		}
	case "ephemeral", "not_ephemeral":
		seconds, _ := strconv.Atoi(str(c, "expiration"))
		if c.Tag == "ephemeral" && !slices.Contains(timers, seconds) {
			ss.refuse(n, 400)
			return
		}
		g.timer = seconds
		told.Attrs = c.Attrs
	case "announcement", "not_announcement":
		g.announce = c.Tag == "announcement"
		g.version++
		told.Attrs = waBinary.Attrs{"v_id": strconv.Itoa(g.version)}
	case "locked", "unlocked":
		g.locked = c.Tag == "locked"
	case "member_add_mode":
		g.adminsAdd = string(data(*c)) == "admin_add"
		told.Content = data(*c)
	case "membership_approval_mode":
		state := child(c, "group_join")
		g.approval = str(&state, "state") == "on"
		told.Content = c.Content
	default:
		ss.refuse(n, 501)
		return
	}
	ss.result(n)
	g.tell(g.members, ss.dev, told)
}
