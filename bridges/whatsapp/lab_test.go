//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/uri"
)

func TestMain(m *testing.M) {
	quiet() // before waserver signs its first certificate
	os.Exit(m.Run())
}

// patience is how long these tests wait for what must happen.
const patience = 20 * time.Second

// lab is a WhatsApp with accounts of ours: each a phone whose account an adapter is linked to.
type lab struct {
	*waserver.Server
	accounts []*labAccount
	people   atomic.Int64
	mu       sync.Mutex
	names    map[string]string // of people, by the user part of their LID
}

// labAccount is one account: its phone, its directory, and the link between its adapters and the server.
type labAccount struct {
	phone *waserver.Phone
	dir   string
	proxy *adaptertest.Proxy
}

// newLab links n accounts by QR code, through the adapter's own login. Each has been connected once, so that its keys are known.
func newLab(t *testing.T, n int) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("whatsmeow itself has data races, such as a group's members changing while a message is sent; README.md says more")
	}
	l := &lab{Server: waserver.Start(t), names: map[string]string{}}
	for i := range n {
		a := &labAccount{phone: l.Phone(t, fmt.Sprintf("49151999900%d", i), fmt.Sprintf("Owner %d", i)), dir: t.TempDir(), proxy: adaptertest.NewProxy(t, l.Addr())}
		l.accounts = append(l.accounts, a)
		link(t, l.open(t, i, defaults().(*Config), &adaptertest.State{}), a.phone)
		l.run(t, i, defaults().(*Config), &adaptertest.State{}).connected1().stop()
		l.WaitOffline(t, a.phone.Number())
	}
	return l
}

// open makes an adapter of an account.
func (l *lab) open(t *testing.T, i int, config *Config, state adapter.State) *Adapter {
	t.Helper()
	config.AcceptBanRisk = true
	config.MessagesPerMinute = 600
	provider, err := uri.NewProvider("gateway.example")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("account", i)
	a, err := l.driver(i).New(adapter.Account{ID: fmt.Sprintf("account-%d", i), Provider: provider, Language: "en", Config: config, State: state, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return a.(*Adapter)
}

// driver makes adapters of an account, which keep their keys where the account was linked.
func (l *lab) driver(i int) adapter.Driver {
	a := l.accounts[i]
	driver := DriverIn(Lab{Transport: waserver.HTTPClient(a.proxy.Addr()).Transport, Hasty: true})
	made := driver.New
	driver.New = func(account adapter.Account) (adapter.Adapter, error) {
		account.Dir = a.dir
		return made(account)
	}
	return driver
}

// link links an adapter to a phone by QR code.
func link(t *testing.T, a *Adapter, phone *waserver.Phone) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.LoginStart(ctx, ""); err != nil {
		t.Fatal(err)
	}
	step, err := a.LoginNext(ctx, "yes")
	if err != nil || step.QR == "" {
		t.Fatalf("login: %+v, %v", step, err)
	}
	phone.Scan(t, step.QR)
	if step, err = a.LoginNext(ctx, ""); err != nil || !step.Done {
		t.Fatalf("login after the scan: %+v, %v", step, err)
	}
}

// person is somebody on WhatsApp with an app on a phone, who has joined a group. It is what apps show: messages once by their ids, edited
// and deleted by those who may, one reaction of each person.
type person struct {
	l     *lab
	t     *testing.T
	phone *waserver.Phone
	name  string
	group types.JID
	code  string // of the invite link

	mu   sync.Mutex
	seen []*adaptertest.Seen
}

// join lets a person with a name into a group, as an admin.
func (l *lab) join(t *testing.T, group types.JID, name string) *person {
	t.Helper()
	p := &person{l: l, t: t, name: name, group: group, phone: l.Phone(t, fmt.Sprintf("436601%06d", l.people.Add(1)), name)}
	l.mu.Lock()
	l.names[p.phone.LID().User] = name
	l.mu.Unlock()
	p.phone.AddEventHandler(p.took)
	owner := l.accounts[0].phone
	link, err := owner.GetGroupInviteLink(t.Context(), group, false)
	if err != nil {
		t.Fatal(err)
	}
	p.code = link
	if _, err := p.Act(t.Context(), adaptertest.Act{Do: adaptertest.Join}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.UpdateGroupParticipants(t.Context(), group, []types.JID{p.phone.LID()}, whatsmeow.ParticipantChangePromote); err != nil {
		t.Fatal(err)
	}
	return p
}

func (l *lab) nameOf(jid types.JID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.names[jid.User]
}

// took takes an event of the person's phone.
func (p *person) took(raw any) {
	ev, ok := raw.(*events.Message)
	if !ok || ev.Info.Chat != p.group {
		return
	}
	p.show(ev.Info.ID, ev.Info.Sender.ToNonAD(), ev.Info.PushName, ev.Message)
}

// show shows a message.
func (p *person) show(id string, sender types.JID, name string, m *waE2E.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shown := p.l.nameOf(sender); shown != "" {
		name = shown
	}
	find := func(id string) *adaptertest.Seen {
		i := slices.IndexFunc(p.seen, func(s *adaptertest.Seen) bool { return s.ID == id })
		if i < 0 {
			return nil
		}
		return p.seen[i]
	}
	if inner := m.GetEditedMessage().GetMessage(); inner != nil {
		m = inner
	}
	switch protocol := m.GetProtocolMessage(); {
	case protocol.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT && protocol != nil:
		if s := find(protocol.GetKey().GetID()); s != nil && s.Sender == sender.String() {
			s.Edited, s.Text = true, textOf(protocol.GetEditedMessage())
		}
		return
	case protocol != nil && protocol.Type != nil && protocol.GetType() == waE2E.ProtocolMessage_REVOKE:
		if s := find(protocol.GetKey().GetID()); s != nil { // by its author or an admin, which all are here
			s.Deleted, s.Text = true, ""
		}
		return
	case m.GetReactionMessage() != nil:
		if s := find(m.GetReactionMessage().GetKey().GetID()); s != nil {
			s.Reactions = slices.DeleteFunc(s.Reactions, func(r adaptertest.Reaction) bool { return r.Sender == sender.String() })
			if emoji := m.GetReactionMessage().GetText(); emoji != "" {
				s.Reactions = append(s.Reactions, adaptertest.Reaction{Emoji: emoji, Sender: sender.String(), Name: name})
			}
		}
		return
	}
	if find(id) != nil || textOf(m) == "" {
		return
	}
	p.seen = append(p.seen, &adaptertest.Seen{ID: id, Sender: sender.String(), Name: name, Text: textOf(m), ReplyTo: m.GetExtendedTextMessage().GetContextInfo().GetStanzaID()})
}

func textOf(m *waE2E.Message) string {
	if m.GetLocationMessage() != nil {
		return "📍 " + m.GetLocationMessage().GetName()
	}
	return m.GetConversation() + m.GetExtendedTextMessage().GetText()
}

// Act implements adaptertest.Human.
func (p *person) Act(ctx context.Context, act adaptertest.Act) (string, error) {
	me := p.phone.LID()
	send := func(m *waE2E.Message) (string, error) {
		r, err := p.phone.SendMessage(ctx, p.group, m)
		if err != nil && strings.Contains(err.Error(), "UTF-8") {
			return "", fmt.Errorf("%w: %w", adaptertest.ErrCannot, err)
		}
		if err == nil {
			p.show(r.ID, me, p.name, m)
		}
		return r.ID, err
	}
	author := func() types.JID {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, s := range p.seen {
			if s.ID == act.To {
				jid, _ := types.ParseJID(s.Sender)
				return jid
			}
		}
		return me
	}
	switch act.Do {
	case adaptertest.Say:
		return send(&waE2E.Message{Conversation: proto.String(act.Text)})
	case adaptertest.Edit:
		return send(p.phone.BuildEdit(p.group, act.To, &waE2E.Message{Conversation: proto.String(act.Text)}))
	case adaptertest.Reply:
		return send(&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String(act.Text), ContextInfo: &waE2E.ContextInfo{
			StanzaID: proto.String(act.To), Participant: proto.String(author().String()), QuotedMessage: &waE2E.Message{Conversation: proto.String("…")}}}})
	case adaptertest.React:
		return send(p.phone.BuildReaction(p.group, author(), act.To, act.Emoji))
	case adaptertest.Unreact:
		return send(p.phone.BuildReaction(p.group, author(), act.To, ""))
	case adaptertest.Delete:
		return send(p.phone.BuildRevoke(p.group, types.EmptyJID, act.To))
	case adaptertest.Join:
		_, err := p.phone.JoinGroupWithLink(ctx, p.code)
		return "", err
	case adaptertest.Leave:
		return "", p.phone.LeaveGroup(ctx, p.group)
	case adaptertest.Kick:
		whom, err := types.ParseJID(act.Whom)
		if err == nil {
			_, err = p.phone.UpdateGroupParticipants(ctx, p.group, []types.JID{whom}, whatsmeow.ParticipantChangeRemove)
		}
		return "", err
	}
	return "", fmt.Errorf("%w: %s", adaptertest.ErrCannot, act.Do)
}

// View implements adaptertest.Human.
func (p *person) View(ctx context.Context) (adaptertest.View, error) {
	var v adaptertest.View
	info, err := p.phone.GetGroupInfo(ctx, p.group)
	if err != nil && !errors.Is(err, whatsmeow.ErrNotInGroup) {
		return v, err
	}
	if info != nil {
		for _, m := range info.Participants {
			v.Members = append(v.Members, adaptertest.Member{ID: m.JID.String(), Name: p.l.nameOf(m.JID)})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		one := *s
		one.Reactions = slices.Clone(s.Reactions)
		v.Messages = append(v.Messages, one)
	}
	return v, nil
}
