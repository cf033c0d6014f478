//go:build !nowhatsapp

// Package group is WhatsApp groups as their server keeps them: who is in, what the group is called, who may do what; and
// what each change tells the members. It does no I/O and is for one goroutine at a time.
package group

import (
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/waserver/stanza"
)

// Person is somebody by both names. Two persons are the same where their pointers are.
type Person struct {
	PN, LID types.JID
	Name    string // push name
	Hidden  bool   // the number is told to nobody
}

// Known adds the number, where it is not hidden.
func (p *Person) Known(attrs waBinary.Attrs, key string) {
	if !p.Hidden {
		attrs[key] = p.PN
	}
}

// Member is somebody in a group.
type Member struct {
	*Person
	Rank string // "", "admin", "superadmin"
}

// Group is a group.
type Group struct {
	JID types.JID
	// ByNumber says that members are addressed by number, as in the groups of old.
	ByNumber bool
	// Members are who is in, who joined first first.
	Members []*Member
	// Code is that of the invite link.
	Code string

	creator             *Person
	created             int64
	subject             string
	subjectBy           *Person
	subjectAt           int64
	description         string
	descriptionID       string
	descriptionBy       *Person
	descriptionAt       int64
	announce, locked    bool
	adminsAdd, approval bool
	timer               int // seconds; 0: messages stay
	version             int
}

// Outcome is what a request comes to.
type Outcome struct {
	// Code is that of an error, or 0.
	Code int
	// Answer is the content of the result.
	Answer []waBinary.Node
	// Notices are what members are told, in order.
	Notices []Notice
}

// Notice is a notification for some members, by somebody.
type Notice struct {
	To    []*Member
	Attrs waBinary.Attrs
	Node  waBinary.Node
}

// Context is what a request needs to know of the world.
type Context struct {
	By   *Person
	Find func(types.JID) *Person // nil for nobody
	Next func() string           // a number never given before
}

// maxSubject is the longest subject of a group in characters; more is not acceptable (406).
const maxSubject = 100

// Create makes a group as a <create> asks.
func Create(c Context, request *waBinary.Node) (*Group, Outcome) {
	subject := stanza.String(request, "subject")
	if len([]rune(subject)) > maxSubject {
		return nil, Outcome{Code: 406}
	}
	now, number := stanza.Now(), pad(c.Next())
	g := &Group{
		JID: types.NewJID("1203630000"+number, types.GroupServer), Code: "Invite" + number, creator: c.By, created: now,
		subject: subject, subjectBy: c.By, subjectAt: now, Members: []*Member{{c.By, "superadmin"}},
		announce: stanza.Has(request, "announcement"), locked: stanza.Has(request, "locked"),
		adminsAdd: string(stanza.Data(stanza.Child(request, "member_add_mode"))) == "admin_add",
	}
	timer := stanza.Child(request, "ephemeral")
	g.timer = stanza.Int(&timer, "expiration")
	for _, p := range request.GetChildrenByTag("participant") {
		if who := c.Find(stanza.JID(&p, "jid")); who != nil && g.Member(who) == nil {
			g.Members = append(g.Members, &Member{Person: who})
		}
	}
	return g, Outcome{Answer: []waBinary.Node{g.Node()}, Notices: g.tell(c.By, g.Members, g.introduction("type", "new"))}
}

func pad(s string) string { return ("00000000" + s)[len(s):] }

// introduction is what tells somebody of a group that is new to them.
func (g *Group) introduction(key, why string) waBinary.Node {
	return waBinary.Node{Tag: "create", Attrs: waBinary.Attrs{key: why}, Content: []waBinary.Node{g.Node()}}
}

// Member returns who is in, or nil; a nil group has nobody in it.
func (g *Group) Member(p *Person) *Member {
	if g != nil && p != nil {
		for _, m := range g.Members {
			if m.Person == p {
				return m
			}
		}
	}
	return nil
}

// MaySend is 0, or the error for a message of who may not send.
func (g *Group) MaySend(p *Person) int {
	m := g.Member(p)
	switch {
	case g == nil:
		return 404
	case m == nil, g.announce && m.Rank == "":
		return 403
	}
	return 0
}

// Mode is how members are addressed: "lid" or "pn".
func (g *Group) Mode() string {
	if g.ByNumber {
		return "pn"
	}
	return "lid"
}

// Of is a person as the group names them.
func (g *Group) Of(p *Person) types.JID {
	if g.ByNumber {
		return p.PN
	}
	return p.LID
}

// Other adds a person's other name: key_pn where members go by LID and the number is not hidden, else key_lid.
func (g *Group) Other(p *Person, attrs waBinary.Attrs, key string) {
	if g.ByNumber {
		attrs[key+"_lid"] = p.LID
	} else {
		p.Known(attrs, key+"_pn")
	}
}

// participant describes a member.
func (g *Group) participant(m *Member) waBinary.Node {
	attrs := waBinary.Attrs{"jid": g.Of(m.Person)}
	if g.ByNumber {
		attrs["lid"] = m.LID
	} else {
		m.Known(attrs, "phone_number")
	}
	if m.Rank != "" {
		attrs["type"] = m.Rank
	}
	return waBinary.Node{Tag: "participant", Attrs: attrs}
}

// Node describes the group.
func (g *Group) Node() waBinary.Node {
	version := strconv.Itoa(g.version)
	attrs := waBinary.Attrs{
		"id": g.JID.User, "jid": g.JID, "creator": g.Of(g.creator), "creation": g.created,
		"subject": g.subject, "s_t": g.subjectAt, "s_o": g.Of(g.subjectBy), "addressing_mode": g.Mode(), "size": len(g.Members),
		"p_v_id": version, "a_v_id": version,
	}
	var content []waBinary.Node
	for _, m := range g.Members {
		content = append(content, g.participant(m))
	}
	if g.description != "" {
		content = append(content, waBinary.Node{Tag: "description", Attrs: waBinary.Attrs{
			"id": g.descriptionID, "t": g.descriptionAt, "participant": g.Of(g.descriptionBy),
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

// tell makes the notices of a change; who asked for it is told as well.
func (g *Group) tell(by *Person, to []*Member, change waBinary.Node) []Notice {
	attrs := waBinary.Attrs{"participant": g.Of(by), "addressing_mode": g.Mode(), "notify": by.Name}
	g.Other(by, attrs, "participant")
	return []Notice{{To: slices.Clone(to), Attrs: attrs, Node: change}}
}

// Join lets somebody in who has the code of the invite link, or tells them only what they would join.
func (g *Group) Join(c Context, join bool) Outcome {
	var o Outcome
	if join && g.Member(c.By) == nil {
		m := &Member{Person: c.By}
		g.Members = append(g.Members, m)
		change := g.changed("add", []*Member{m})
		change.Attrs["reason"] = "invite"
		o.Notices = g.tell(c.By, g.Members, change)
	}
	o.Answer = []waBinary.Node{g.Node()}
	return o
}

// Leave lets somebody out.
func (g *Group) Leave(c Context) Outcome {
	m := g.Member(c.By)
	if m == nil {
		return Outcome{Code: 404}
	}
	return Outcome{
		Answer:  []waBinary.Node{{Tag: "leave", Content: []waBinary.Node{{Tag: "group", Attrs: waBinary.Attrs{"id": g.JID}}}}},
		Notices: g.remove(c.By, []*Member{m}),
	}
}

// remove takes members out and tells them and those who stay.
func (g *Group) remove(by *Person, gone []*Member) []Notice {
	before := slices.Clone(g.Members)
	g.Members = slices.DeleteFunc(g.Members, func(m *Member) bool { return slices.Contains(gone, m) })
	return g.tell(by, before, g.changed("remove", gone))
}

// changed describes a change of members.
func (g *Group) changed(tag string, members []*Member) waBinary.Node {
	before := strconv.Itoa(g.version)
	g.version++
	var list []waBinary.Node
	for _, m := range members {
		list = append(list, g.participant(m))
	}
	return waBinary.Node{Tag: tag, Attrs: waBinary.Attrs{"prev_v_id": before, "v_id": strconv.Itoa(g.version)}, Content: list}
}

// Ask does what a request to the group asks; set says that it is one for a change.
func (g *Group) Ask(c Context, set bool, request *waBinary.Node) Outcome {
	me := g.Member(c.By)
	if me == nil {
		return Outcome{Code: 403}
	}
	admin := me.Rank != ""
	switch request.Tag {
	case "query":
		return Outcome{Answer: []waBinary.Node{g.Node()}}
	case "invite":
		if !admin {
			return Outcome{Code: 401}
		}
		if set {
			g.Code = "Invite" + pad(c.Next())
		}
		return Outcome{Answer: []waBinary.Node{{Tag: "invite", Attrs: waBinary.Attrs{"code": g.Code}}}}
	case "add", "remove", "promote", "demote":
		if !admin && (request.Tag != "add" || g.adminsAdd) {
			return Outcome{Code: 401}
		}
		return g.askMembers(c, request)
	}
	if g.locked && !admin {
		return Outcome{Code: 401}
	}
	return g.askSetting(c.By, request)
}

// askMembers adds, removes, promotes and demotes.
func (g *Group) askMembers(c Context, request *waBinary.Node) Outcome {
	var answer []waBinary.Node
	var affected []*Member
	for _, p := range request.GetChildrenByTag("participant") {
		who := c.Find(stanza.JID(&p, "jid"))
		m := g.Member(who)
		code := 0
		switch {
		case who == nil, m == nil && request.Tag != "add":
			code = 404
		case m != nil && request.Tag == "add":
			code = 409
		case m == nil:
			m = &Member{Person: who}
			g.Members = append(g.Members, m)
		case request.Tag == "promote":
			m.Rank = "admin"
		case request.Tag == "demote":
			m.Rank = ""
		}
		if code != 0 {
			answer = append(answer, waBinary.Node{Tag: "participant", Attrs: waBinary.Attrs{"jid": stanza.JID(&p, "jid"), "error": code}})
			continue
		}
		affected = append(affected, m)
		answer = append(answer, g.participant(m))
	}
	o := Outcome{Answer: []waBinary.Node{{Tag: request.Tag, Content: answer}}}
	switch {
	case len(affected) == 0:
	case request.Tag == "remove":
		o.Notices = g.remove(c.By, affected)
	case request.Tag == "add":
		stayed := slices.DeleteFunc(slices.Clone(g.Members), func(m *Member) bool { return slices.Contains(affected, m) })
		o.Notices = append(g.tell(c.By, stayed, g.changed("add", affected)), g.tell(c.By, affected, g.introduction("reason", "invite"))...)
	default:
		o.Notices = g.tell(c.By, g.Members, g.changed(request.Tag, affected))
	}
	return o
}

// timers are the times after which messages of a group may disappear, in seconds: a day, 7 days, 90 days.
var timers = []int{86400, 604800, 7776000}

// askSetting changes what a group is called, and how it is run.
func (g *Group) askSetting(by *Person, request *waBinary.Node) Outcome {
	told := waBinary.Node{Tag: request.Tag, Attrs: waBinary.Attrs{}}
	switch request.Tag {
	case "subject":
		subject := string(stanza.Data(*request))
		if len([]rune(subject)) > maxSubject {
			return Outcome{Code: 406}
		}
		g.subject, g.subjectBy, g.subjectAt = subject, by, stanza.Now()
		told.Attrs = waBinary.Attrs{"subject": g.subject, "s_t": g.subjectAt, "s_o": g.Of(by)}
	case "description":
		g.description, g.descriptionID = string(stanza.Data(stanza.Child(request, "body"))), stanza.String(request, "id")
		g.descriptionBy, g.descriptionAt = by, stanza.Now()
		told.Attrs, told.Content = waBinary.Attrs{"id": g.descriptionID}, request.Content
		if !stanza.Has(request, "body") {
			told.Content = []waBinary.Node{{Tag: "delete"}}
		}
	case "ephemeral", "not_ephemeral":
		seconds := stanza.Int(request, "expiration")
		if request.Tag == "ephemeral" && !slices.Contains(timers, seconds) {
			return Outcome{Code: 400}
		}
		g.timer, told.Attrs = seconds, request.Attrs
	case "announcement", "not_announcement":
		g.announce = request.Tag == "announcement"
		g.version++
		told.Attrs = waBinary.Attrs{"v_id": strconv.Itoa(g.version)}
	case "locked", "unlocked":
		g.locked = request.Tag == "locked"
	case "member_add_mode":
		g.adminsAdd = string(stanza.Data(*request)) == "admin_add"
		told.Content = stanza.Data(*request)
	case "membership_approval_mode":
		state := stanza.Child(request, "group_join")
		g.approval = stanza.String(&state, "state") == "on"
		told.Content = request.Content
	default:
		return Outcome{Code: 501}
	}
	return Outcome{Notices: g.tell(by, g.Members, told)}
}
