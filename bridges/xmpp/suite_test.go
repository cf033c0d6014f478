package xmpp

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
)

// lacks is what no room of XMPP has.
var lacks = map[adaptertest.Ability]string{
	adaptertest.Namesakes: "a nick belongs to one occupant of a room at a time",
	adaptertest.LeaveIn:   "to go out of a room is mere presence; membership ends by affiliation or removal",
}

// TestSuiteComponent runs the suite as an external component of a real Prosody, against slixmpp.
func TestSuiteComponent(t *testing.T) {
	n := network(t, func(s *servers.XMPPServer, link *adaptertest.Proxy, i int) *Config {
		cfg := newConfig().(*Config)
		cfg.Address, cfg.JID, cfg.Password = link.Addr(), componentJID(i), "component secret"
		return cfg
	})
	n.Lacks = lacks
	adaptertest.Run(t, n)
}

// TestSuiteClient runs it as an ordinary account.
func TestSuiteClient(t *testing.T) {
	n := network(t, func(s *servers.XMPPServer, link *adaptertest.Proxy, i int) *Config {
		cfg := newConfig().(*Config)
		cfg.Mode, cfg.Plaintext = modeClient, true
		cfg.Address, cfg.JID, cfg.Password = link.Addr(), botLocal(i)+"@"+s.Domain, adapter.Secret(servers.Password(botLocal(i)))
		cfg.Nick = fmt.Sprintf("gateway %d", i)
		return cfg
	})
	one := "mode client has one name for all our people"
	n.Lacks = map[adaptertest.Ability]string{adaptertest.OwnNames: one, adaptertest.ReactionOut: one, adaptertest.KickOurs: one,
		adaptertest.MemberOut: one, adaptertest.RenameOut: one}
	for a, why := range lacks {
		n.Lacks[a] = why
	}
	adaptertest.Run(t, n)
}

func componentJID(i int) string { return fmt.Sprintf("gw%d.xmpp.test", i) }
func botLocal(i int) string     { return fmt.Sprintf("bot%d", i) }

// rooms makes rooms and people on a real Prosody.
type rooms struct {
	server *servers.XMPPServer
	owner  *servers.XMPPClient

	mu     sync.Mutex
	count  int
	people map[string]int // in each room, so far
}

func (r *rooms) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	return r.count
}

// make makes a room in which these addresses are admins, and returns its JID. Its owner is not in it.
func (r *rooms) make(t *testing.T, service string, admins ...string) string {
	t.Helper()
	ctx := t.Context()
	room := fmt.Sprintf("room%d@%s", r.next(), service)
	if err := r.owner.Join(ctx, room, "the owner", 0); err != nil {
		t.Fatal(err)
	}
	for _, j := range admins {
		if err := r.owner.SetAffiliation(ctx, room, j, "admin", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.owner.Leave(ctx, room); err != nil {
		t.Fatal(err)
	}
	return room
}

// human lets a person in: the first of a room as its admin, who may remove the others.
func (r *rooms) human(t *testing.T, room, name string) *human {
	t.Helper()
	local := fmt.Sprintf("person%d", r.next())
	r.mu.Lock()
	r.people[room]++
	affiliation := map[bool]string{true: "admin", false: "member"}[r.people[room] == 1]
	r.mu.Unlock()
	jid := r.server.User(t, local)
	if err := r.owner.SetAffiliation(t.Context(), room, jid, affiliation, ""); err != nil {
		t.Fatal(err)
	}
	h := &human{XMPPClient: servers.Slix(t, r.server, local), room: room, name: name}
	if err := h.Join(t.Context(), room, name, 0); err != nil {
		t.Fatal(err)
	}
	return h
}

func newRooms(t *testing.T, components int) *rooms {
	t.Helper()
	o := servers.ProsodyOptions{Users: []string{"owner", botLocal(0), botLocal(1)}}
	for i := range components {
		o.Components = append(o.Components, servers.Component{JID: componentJID(i), Secret: "component secret"})
	}
	s := servers.Prosody(t, o)
	return &rooms{server: s, owner: servers.Slix(t, s, "owner"), people: map[string]int{}}
}

func network(t *testing.T, config func(s *servers.XMPPServer, link *adaptertest.Proxy, i int) *Config) adaptertest.Network {
	r := newRooms(t, 2)
	probe := config(r.server, adaptertest.NewProxy(t, r.server.Client), 0)
	target, self := r.server.Client, func(i int) string { return botLocal(i) + "@" + r.server.Domain }
	if probe.Mode == modeComponent {
		target, self = r.server.Component, func(i int) string { return talk.GatewayLocal + "@" + componentJID(i) }
	}
	links := []*adaptertest.Proxy{adaptertest.NewProxy(t, target), adaptertest.NewProxy(t, target)}
	return adaptertest.Network{
		Driver: Driver(),
		Config: func(_ *testing.T, i int) any { return config(r.server, links[i], i) },
		Conversation: func(t *testing.T) string {
			return r.make(t, r.server.MUC, self(0), self(1))
		},
		Human:   func(t *testing.T, room, name string) adaptertest.Human { return r.human(t, room, name) },
		Link:    func(_ *testing.T, i int) adaptertest.Link { return links[i] },
		Missing: "nowhere@" + r.server.MUC,
	}
}

// human is a person with slixmpp in a room. Message ids are those that their senders gave them.
type human struct {
	*servers.XMPPClient
	room, name string
}

// Act does what clients do, and returns when the room has shown it.
func (h *human) Act(ctx context.Context, act adaptertest.Act) (string, error) {
	m := servers.XMPPMessage{To: h.room, Group: true}
	switch act.Do {
	case adaptertest.Say:
		m.Body = act.Text
	case adaptertest.Edit:
		m.Body, m.Replace = act.Text, act.To
	case adaptertest.Reply:
		to := h.stanza(act.To)
		m.Body, m.ReplyID, m.ReplyTo, m.Quote = act.Text, to.StanzaID, to.From, to.Body
	case adaptertest.React:
		m.ReactionsTo, m.Reactions = h.stanza(act.To).StanzaID, []string{act.Emoji}
	case adaptertest.Unreact:
		m.ReactionsTo = h.stanza(act.To).StanzaID
	case adaptertest.Delete:
		m.Retract = h.stanza(act.To).StanzaID
	case adaptertest.Join:
		return "", h.Join(ctx, h.room, h.name, 0)
	case adaptertest.Leave:
		return "", h.Leave(ctx, h.room)
	case adaptertest.Kick:
		return "", h.Kick(ctx, h.room, act.Whom, "enough")
	case adaptertest.Rename:
		return "", h.SetNick(ctx, h.room, act.Text)
	}
	if !utf8.ValidString(m.Body) || strings.ContainsFunc(m.Body, func(r rune) bool { return wire.Text(string(r)) != string(r) && r != '\r' }) {
		return "", fmt.Errorf("%w: XML cannot carry it", adaptertest.ErrCannot)
	}
	id, err := h.Send(ctx, m)
	if err != nil {
		return "", err
	}
	_, err = h.WaitFor(ctx, func(s servers.Stanza) bool { return s.ID == id && s.Kind == "message" && wire.Bare(s.From) == h.room })
	return id, err
}

// stanza returns the message with that id as the room showed it.
func (h *human) stanza(id string) servers.Stanza {
	for _, s := range h.Events() {
		if s.Kind == "message" && s.ID == id {
			return s
		}
	}
	return servers.Stanza{}
}

// View shows messages as clients that know the extensions do.
func (h *human) View(context.Context) (adaptertest.View, error) {
	var v adaptertest.View
	stanzaIDs := map[string]int{}
	for _, s := range h.Events() {
		nick := wire.Resource(s.From)
		if wire.Bare(s.From) != h.room || s.Error != "" || nick == "" {
			continue
		}
		if s.Kind == "presence" {
			v.Members = slices.DeleteFunc(v.Members, func(m adaptertest.Member) bool { return m.ID == nick })
			if s.Type == "" {
				v.Members = append(v.Members, adaptertest.Member{ID: nick, Name: nick})
			}
			continue
		}
		if s.Kind != "message" || s.Type != "groupchat" {
			continue
		}
		by := func(i int) bool { return v.Messages[i].Sender == nick }
		switch at, known := stanzaIDs[s.Retract+s.ReactionsTo]; {
		case s.Retract != "":
			if known && by(at) {
				v.Messages[at].Deleted = true
			}
		case s.ReactionsTo != "":
			if known {
				m := &v.Messages[at]
				m.Reactions = slices.DeleteFunc(m.Reactions, func(r adaptertest.Reaction) bool { return r.Sender == nick })
				for _, e := range s.Reactions {
					m.Reactions = append(m.Reactions, adaptertest.Reaction{Emoji: e, Sender: nick, Name: nick})
				}
			}
		case s.Replace != "":
			if i := slices.IndexFunc(v.Messages, func(m adaptertest.Seen) bool { return m.ID == s.Replace }); i >= 0 && by(i) {
				v.Messages[i].Text, v.Messages[i].Edited = text(s), true
			}
		case s.Body != "":
			m := adaptertest.Seen{ID: s.ID, Sender: nick, Name: nick, Text: text(s)}
			if i, ok := stanzaIDs[s.ReplyID]; ok && s.ReplyID != "" {
				m.ReplyTo = v.Messages[i].ID
			}
			stanzaIDs[s.StanzaID] = len(v.Messages)
			v.Messages = append(v.Messages, m)
		}
	}
	return v, nil
}

// text is a body without the quote for clients that know no replies (XEP-0461).
func text(s servers.Stanza) string {
	var m struct {
		Fallback []struct {
			For  string `xml:"for,attr"`
			Body struct {
				Start string `xml:"start,attr"`
				End   string `xml:"end,attr"`
			} `xml:"body"`
		} `xml:"urn:xmpp:fallback:0 fallback"`
	}
	if err := xml.Unmarshal([]byte(s.XML), &m); err != nil {
		return s.Body
	}
	body := []rune(s.Body)
	for _, f := range m.Fallback {
		from, err1 := strconv.Atoi(f.Body.Start)
		to, err2 := strconv.Atoi(f.Body.End)
		if f.For == wire.NSReply && err1 == nil && err2 == nil && from <= to && to <= len(body) {
			return string(body[:from]) + string(body[to:])
		}
	}
	return s.Body
}
