//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"mimigate/bridges/whatsapp/waserver"
	"mimigate/bridges/whatsapp/waserver/waclient"
	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
	"mimigate/core/content/thing"
)

// running is an adapter that runs, run again as the gateway does, until stop.
type running struct {
	*Adapter
	t     *testing.T
	sink  *adaptertest.Recorder
	state *adaptertest.State
	errs  chan error // what Run returned while its context had not ended
	stop  func()
}

// run runs an adapter of an account.
func (l *lab) run(t *testing.T, i int, config *Config, state *adaptertest.State) *running {
	t.Helper()
	r := &running{Adapter: l.open(t, i, config, state), t: t, sink: &adaptertest.Recorder{}, state: state, errs: make(chan error, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := r.Run(ctx, r.sink)
			if ctx.Err() != nil {
				return
			}
			r.errs <- err
			if errors.Is(err, adapter.ErrAccount) {
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(func() {
		r.stop()
		for _, broken := range r.sink.Broken() {
			t.Errorf("contract: %s", broken)
		}
	})
	return r
}

// personal runs account 0 in mode personal, with a group that it and Ann are in.
func personal(t *testing.T) (*lab, *running, *person, adapter.Conversation) {
	t.Helper()
	l := newLab(t, 1)
	r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
	group := l.accounts[0].phone.NewGroup(t, "Family")
	ann := l.join(t, group, "Ann")
	return l, r, ann, r.opened1(group.String())
}

// connected1 waits for the connection: until then, nobody can write to a device that is new.
func (r *running) connected1() *running {
	r.t.Helper()
	r.hears("connection", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.Status)
		return ok && s.State == adapter.Connected
	})
	return r
}

func (r *running) opened1(name string) adapter.Conversation {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	c, err := r.Open(ctx, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// hears waits for an event that ok accepts.
func (r *running) hears(what string, ok func(adapter.Event) bool) adapter.Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	ev, err := r.sink.Wait(ctx, ok)
	if err != nil {
		var got []string
		for _, ev := range r.sink.Events() {
			got = append(got, fmt.Sprintf("%T %s %s", ev.Body, ev.ID, text(ev)))
		}
		r.t.Fatalf("no %s: %v; got\n%s", what, err, strings.Join(got, "\n"))
	}
	return ev
}

// text is the text of a message that is one text, or the last form of alternatives.
func text(ev adapter.Event) string {
	m, ok := ev.Body.(adapter.Message)
	if !ok || m.Content == nil {
		return ""
	}
	var last string
	for _, p := range m.Content.Body.Walk() {
		if single, ok := p.Body.(content.Single); ok && p.IsText() {
			last = string(single.Content)
		}
	}
	return last
}

func says(want string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool { return text(ev) == want }
}

// texts are the texts of all messages, without those that are only pending.
func (r *running) texts(match string) []string {
	var out []string
	for _, ev := range r.sink.Events() {
		if m, ok := ev.Body.(adapter.Message); ok && !m.Pending && strings.Contains(text(ev), match) {
			out = append(out, text(ev))
		}
	}
	return out
}

// say sends a text, and returns what Send did.
func (r *running) say(c adapter.Conversation, key, text string, author adapter.Author) (adapter.Sent, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.Send(ctx, adapter.Outbound{Conversation: c, Marker: adapter.Marker{Gateway: r.account.Provider, Key: key}, Attempt: 1, Author: author,
		Content: *content.Text(text), Time: time.Now()})
}

func (r *running) author(name string, native ...adapter.PersonID) adapter.Author {
	u, err := r.account.Provider.User("someone")
	if err != nil {
		r.t.Fatal(err)
	}
	return adapter.Author{User: u, Name: name, Native: native}
}

// TestPersonal: what the owner writes on the phone is theirs, and what they write elsewhere bears no name.
func TestPersonal(t *testing.T) {
	l, r, ann, c := personal(t)
	owner := l.accounts[0].phone
	group, _ := types.ParseJID(string(c))
	owner.Text(t, group, "from my phone")
	ev := r.hears("the owner's own words", says("from my phone"))
	if !ev.Own || !ev.Marker.IsZero() || !slices.Contains(ev.Sender.IDs, wire.PersonID(owner.LID())) || ev.Sender.Bot {
		t.Errorf("reported as %+v", ev)
	}
	if _, err := r.say(c, "K1", "from elsewhere", r.author("Owner", wire.PersonID(owner.LID()))); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, ann.phone.Client, "from elsewhere")
	if _, err := r.say(c, "K2", "me too", r.author("Somebody")); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, ann.phone.Client, "*Somebody:* me too")
	r.stop()
	relay := l.run(t, 0, &Config{Mode: modeRelay}, r.state)
	if _, err := relay.say(relay.opened1(string(c)), "K3", "in mode relay", r.author("Owner", wire.PersonID(owner.LID()))); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, ann.phone.Client, "*Owner:* in mode relay")
}

// TestDirect: a chat of two is found by number or reported when somebody writes, with the same id, and no number stands in it.
func TestDirect(t *testing.T) {
	l := newLab(t, 1)
	r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
	bea := l.Phone(t, "4366999", "Bea")
	bea.Text(t, l.accounts[0].phone.JID(), "hello you")
	ev := r.hears("Bea's words", says("hello you"))
	if got := r.opened1("+4366999"); got != ev.Conversation || strings.Contains(string(got), "4366999") {
		t.Errorf("opened as %q, reported as %q", got, ev.Conversation)
	}
	if ev.Sender.Name != "Bea" || len(ev.Sender.IDs) != 2 || ev.Sender.IDs[0] != wire.PersonID(bea.LID()) {
		t.Errorf("Bea is %+v", ev.Sender)
	}
	if _, err := r.say(ev.Conversation, "K", "and you", adapter.Author{}); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, bea.Client, "and you")
	if _, err := r.Open(t.Context(), "+99 999 9999999"); !errors.Is(err, adapter.ErrNotFound) {
		t.Errorf("a number that nobody has: %v", err)
	}
}

// TestLateLID: somebody whose LID is learned late is one person (peers.md §2, 17), and the chat is one.
func TestLateLID(t *testing.T) {
	l := newLab(t, 1)
	r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
	old := l.Phone(t, "4366111", "Old")
	l.ByNumber("4366111", true)
	old.Text(t, l.accounts[0].phone.JID(), "by number")
	first := r.hears("the first words", says("by number"))
	l.ByNumber("4366111", false)
	old.Text(t, l.accounts[0].phone.JID(), "by LID")
	second := r.hears("the second words", says("by LID"))
	if first.Conversation != second.Conversation || !slices.ContainsFunc(first.Sender.IDs, func(id adapter.PersonID) bool { return slices.Contains(second.Sender.IDs, id) }) {
		t.Errorf("%q by %q, then %q by %q", first.Conversation, first.Sender.IDs, second.Conversation, second.Sender.IDs)
	}
	l.HideNumber("4366222", true)
	shy := l.Phone(t, "4366222", "Shy")
	l.HideNumber("4366222", true)
	shy.Text(t, l.accounts[0].phone.JID(), "without a number")
	if ev := r.hears("the shy one", says("without a number")); ev.Sender.IDs[0] != wire.PersonID(shy.LID()) {
		t.Errorf("the shy one is %q", ev.Sender.IDs)
	}
}

// TestAddressBook: what somebody is called in the owner's address book is never told.
func TestAddressBook(t *testing.T) {
	l, r, ann, c := personal(t)
	s, err := r.online(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, jid := range []types.JID{ann.phone.LID(), ann.phone.JID()} {
		if err := s.cli.Store.Contacts.PutContactName(t.Context(), jid, "Anna the Annoying", "Anna"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ann.Act(t.Context(), adaptertest.Act{Do: adaptertest.Say, Text: "my name is Ann"}); err != nil {
		t.Fatal(err)
	}
	r.hears("Ann", says("my name is Ann"))
	r.opened1(string(c))
	for _, ev := range r.sink.Events() {
		if all := fmt.Sprintf("%+v", ev); strings.Contains(all, "Annoying") {
			t.Errorf("the address book leaks: %s", all)
		}
	}
	l.SetBusiness("4366333", "Acme")
}

// TestContent: polls with votes, places, contacts, mentions, a timer; both ways, on people's own clients.
func TestContent(t *testing.T) {
	l, r, ann, c := personal(t)
	group := ann.group
	poll := ann.phone.BuildPollCreation("When?", []string{"ten", "noon"}, 1)
	id := ann.phone.Send(t, group, poll)
	ev := r.hears("the poll", func(ev adapter.Event) bool { return string(ev.ID) == id })
	got, err := thing.Unmarshal[thing.Poll](ev.Body.(adapter.Message).Content.Body.Find(content.TypePoll))
	if err != nil || got.Question != "When?" || len(got.Options) != 2 {
		t.Errorf("the poll is %+v, %v", got, err)
	}
	vote, err := ann.phone.BuildPollVote(t.Context(), &types.MessageInfo{ID: id, MessageSource: types.MessageSource{Chat: group, Sender: ann.phone.LID(), IsFromMe: true, IsGroup: true}}, []string{"noon"})
	if err != nil {
		t.Fatal(err)
	}
	ann.phone.Send(t, group, vote)
	ev = r.hears("the vote", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && string(m.InReplyTo) == id
	})
	if voted, err := thing.Unmarshal[thing.Vote](ev.Body.(adapter.Message).Content.Body.Find(content.TypeVote)); err != nil || len(voted.Options) != 1 || voted.Options[0].Text != "noon" {
		t.Errorf("the vote is %+v, %v", voted, err)
	}

	r.pollByUs(c, ann)

	mentioned := ann.phone.Send(t, group, &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("ask @" + l.accounts[0].phone.LID().User),
		ContextInfo: &waE2E.ContextInfo{MentionedJID: []string{l.accounts[0].phone.LID().String()}}}})
	ev = r.hears("the mention", func(ev adapter.Event) bool { return string(ev.ID) == mentioned })
	if want := wire.PersonID(l.accounts[0].phone.LID()).URL(); !strings.Contains(text(ev), want) {
		t.Errorf("the mention is %q", text(ev))
	}
	out := adapter.Outbound{Conversation: c, Marker: adapter.Marker{Gateway: r.account.Provider, Key: "MENTION"}, Attempt: 1, Author: r.author("Bob"), Time: time.Now(),
		Content: *content.Markdown("hello [@Ann](" + wire.PersonID(ann.phone.JID()).URL() + "), **now**")}
	if _, err := r.Send(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	m := waclient.WaitText(t, ann.phone.Client, "*Bob:* hello @"+ann.phone.LID().User+", *now*")
	if list := m.Message.GetExtendedTextMessage().GetContextInfo().GetMentionedJID(); !reflect.DeepEqual(list, []string{ann.phone.LID().String()}) {
		t.Errorf("mentioned are %q", list)
	}

	if err := ann.phone.SetDisappearingTimer(t.Context(), group, whatsmeow.DisappearingTimer7Days, time.Now()); err != nil {
		t.Fatal(err)
	}
	r.hears("the timer", says("⏱ messages now disappear here after 7 d"))
	if _, err := r.say(c, "TIMED", "this will vanish", adapter.Author{}); err != nil {
		t.Fatal(err)
	}
	if m := waclient.WaitText(t, ann.phone.Client, "this will vanish"); m.Message.GetExtendedTextMessage().GetContextInfo().GetExpiration() != 7*86400 {
		t.Errorf("sent without the chat's timer: %v", m.Message)
	}
	if err := ann.phone.SetGroupName(t.Context(), group, "Family 2"); err != nil {
		t.Fatal(err)
	}
	r.hears("the new name", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Name != nil && *s.Name == "Family 2"
	})
}

// pollByUs: people can vote in a poll of ours, also after a restart.
func (r *running) pollByUs(c adapter.Conversation, ann *person) {
	part, err := thing.Poll{Question: "Where?", Options: []thing.Option{{ID: "a", Text: "here"}, {ID: "b", Text: "there"}}}.Part()
	if err != nil {
		r.t.Fatal(err)
	}
	sent, err := r.Send(r.t.Context(), adapter.Outbound{Conversation: c, Marker: adapter.Marker{Gateway: r.account.Provider, Key: "POLL"}, Attempt: 1,
		Author: r.author("Bob"), Content: *content.Of(part), Time: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	got := waclient.Wait(r.t, ann.phone.Client, func(m *events.Message) bool { return m.Message.GetPollCreationMessageV3() != nil })
	if name := got.Message.GetPollCreationMessageV3().GetName(); name != "Bob: Where?" {
		r.t.Errorf("the poll is called %q", name)
	}
	vote, err := ann.phone.BuildPollVote(r.t.Context(), &got.Info, []string{"there"})
	if err != nil {
		r.t.Fatal(err)
	}
	ann.phone.Send(r.t, ann.group, vote)
	ev := r.hears("the vote in ours", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && m.InReplyTo == sent.Parts[0].ID
	})
	if text(ev) != "🗳 voted for there" {
		r.t.Errorf("the vote is %q", text(ev))
	}
}

// TestUndecryptable: what cannot be decrypted is announced once, and replaced by the copy that is asked for (peers.md §2, 27).
func TestUndecryptable(t *testing.T) {
	l, r, ann, _ := personal(t)
	warm := ann.phone.Text(t, ann.group, "readable")
	r.hears("the first", says("readable"))
	remove := l.Script(waserver.Rule{Number: l.accounts[0].phone.Number(), Way: waserver.ToClient, Match: waserver.Message, Times: 1, Do: waserver.Spoil})
	defer remove()
	id := ann.phone.Text(t, ann.group, "spoiled on the way")
	ev := r.hears("the copy", says("spoiled on the way"))
	if string(ev.ID) != id || id == warm {
		t.Errorf("the copy has id %q, want %q", ev.ID, id)
	}
	pending := 0
	for _, ev := range r.sink.Events() {
		if m, ok := ev.Body.(adapter.Message); ok && m.Pending {
			pending++
			if string(ev.ID) != id {
				t.Errorf("announced with id %q, want %q", ev.ID, id)
			}
		}
	}
	if pending != 1 {
		t.Errorf("announced %d times", pending)
	}
	ann.phone.Text(t, ann.group, "the end")
	r.hears("the end", says("the end"))
	ids := map[adapter.NativeID]bool{}
	for _, ev := range r.sink.Events() {
		if text(ev) == "spoiled on the way" {
			ids[ev.ID] = true
		}
	}
	if len(ids) != 1 {
		t.Errorf("the copy came as %v", ids)
	}
}

// TestRetryByPeople: somebody's client that could not decrypt what we sent gets it again, also from a connection made since, which
// no longer has it in memory.
func TestRetryByPeople(t *testing.T) {
	l, r, ann, c := personal(t)
	tablet := ann.phone.Link(t)
	if _, err := r.say(c, "K1", "first", adapter.Author{}); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, tablet, "first")
	asks := func(n *waBinary.Node) bool { return n.Tag == "receipt" && n.Attrs["type"] == "retry" }
	defer l.Script(waserver.Rule{Number: ann.phone.Number(), Way: waserver.ToClient, Match: waserver.Message, Times: 1, Do: waserver.Spoil})()
	defer l.Script(waserver.Rule{Number: l.accounts[0].phone.Number(), Way: waserver.ToClient, Match: asks, Times: 1, Do: waserver.Cut})()
	if _, err := r.say(c, "K2", "second", adapter.Author{}); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, tablet, "second")
	select {
	case <-r.errs:
	default:
		t.Error("the connection was not cut, so nothing was proved")
	}
}

// TestViewOnce: a picture to be seen once is announced and not copied.
func TestViewOnce(t *testing.T) {
	_, r, ann, _ := personal(t)
	ann.phone.Send(t, ann.group, &waE2E.Message{ViewOnceMessageV2: &waE2E.FutureProofMessage{Message: &waE2E.Message{
		ImageMessage: &waE2E.ImageMessage{Mimetype: proto.String("image/jpeg"), DirectPath: proto.String("/v/secret"), ViewOnce: proto.Bool(true)}}}})
	ev := r.hears("the picture", func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && m.Content.Body.Media.ViewOnce
	})
	if all := fmt.Sprintf("%+v", ev); strings.Contains(all, "secret") {
		t.Errorf("its address is passed on: %s", all)
	}
}

// TestStatusAndChannels: what is for nobody in particular is not reported.
func TestStatusAndChannels(t *testing.T) {
	_, r, ann, _ := personal(t)
	ann.phone.Send(t, types.StatusBroadcastJID, &waE2E.Message{Conversation: proto.String("my status")})
	ann.phone.Text(t, ann.group, "to the group")
	r.hears("the text", says("to the group"))
	if got := r.texts("my status"); len(got) > 0 {
		t.Errorf("a status is reported: %q", got)
	}
}

// TestReceipts: who has got and read our messages is reported, and what the owner has read elsewhere is read here.
func TestReceipts(t *testing.T) {
	l := newLab(t, 1)
	r := l.run(t, 0, defaults().(*Config), &adaptertest.State{}).connected1()
	bea := l.Phone(t, "4366999", "Bea")
	c := r.opened1("+4366999")
	sent, err := r.say(c, "K", "read this", adapter.Author{})
	if err != nil {
		t.Fatal(err)
	}
	m := waclient.WaitText(t, bea.Client, "read this")
	if err := bea.MarkRead(t.Context(), []string{m.Info.ID}, time.Now(), m.Info.Chat, types.EmptyJID); err != nil {
		t.Fatal(err)
	}
	for _, status := range []adapter.ReceiptStatus{adapter.Delivered, adapter.Read} {
		r.hears("a receipt", func(ev adapter.Event) bool {
			receipt, ok := ev.Body.(adapter.Receipt)
			return ok && receipt.Status == status && slices.Contains(receipt.IDs, sent.Parts[0].ID) && ev.Conversation == c
		})
	}
	id := bea.Text(t, l.accounts[0].phone.JID(), "and this")
	ev := r.hears("Bea's words", says("and this"))
	owner := r.author("Owner", wire.PersonID(l.accounts[0].phone.LID()))
	if err := r.SendReceipt(t.Context(), c, owner, adapter.Receipt{IDs: []adapter.NativeID{ev.ID}, Status: adapter.Read}); err != nil {
		t.Fatal(err)
	}
	bea.WaitReceipt(t, id, types.ReceiptTypeRead)
	if err := r.SendReceipt(t.Context(), c, r.author("Somebody"), adapter.Receipt{IDs: []adapter.NativeID{ev.ID}, Status: adapter.Read}); !errors.Is(err, adapter.ErrUnsupported) {
		t.Errorf("somebody else's reading: %v", err)
	}
	if err := r.SendTyping(t.Context(), c, r.author("Somebody"), adapter.Typing{Active: true}); err != nil {
		t.Fatal(err)
	}
	waclient.Wait(t, bea.Client, func(p *events.ChatPresence) bool { return p.State == types.ChatPresenceComposing })
}

// TestRemoved: an account that is removed from a group says that the conversation is gone, and sends nothing there.
func TestRemoved(t *testing.T) {
	l, r, ann, c := personal(t)
	if _, err := ann.phone.UpdateGroupParticipants(t.Context(), ann.group, []types.JID{l.accounts[0].phone.LID()}, whatsmeow.ParticipantChangeRemove); err != nil {
		t.Fatal(err)
	}
	r.hears("the removal", func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Gone != nil && ev.Conversation == c
	})
	if _, err := r.say(c, "K", "anybody?", adapter.Author{}); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("Send: %v", err)
	}
	if _, err := r.Open(t.Context(), string(c)); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("Open: %v", err)
	}
}

// TestLog: no phone number of anybody comes into the log, nor into an error.
func TestLog(t *testing.T) {
	if got := redact("Failed to decrypt from 4915112345678:12@s.whatsapp.net in 120363000000000001@g.us: code 404"); got != "Failed to decrypt from …:12@s.whatsapp.net in …@g.us: code 404" {
		t.Error(got)
	}
	if err := redacted(fmt.Errorf("no LID found for %s from server: %w", "4915112345678@s.whatsapp.net", context.Canceled)); strings.Contains(err.Error(), "4915") || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestPace: more messages than allowed wait, and none is lost.
func TestPace(t *testing.T) {
	p := pace{perMinute: 3}
	now := time.Now()
	for range 3 {
		if wait := p.take(now); wait > 0 {
			t.Fatalf("the first three wait %v", wait)
		}
	}
	wait := p.take(now)
	if wait < 19*time.Second || wait > 21*time.Second {
		t.Errorf("the fourth waits %v", wait)
	}
	if again := p.take(now.Add(wait)); again != 0 {
		t.Errorf("then it waits %v", again)
	}
	l, r, ann, c := personal(t)
	remove := l.Script(waserver.Rule{Number: l.accounts[0].phone.Number(), Way: waserver.FromClient, Match: waserver.Message, Times: 1, Do: waserver.Reject, Code: 429})
	defer remove()
	_, err := r.say(c, "K", "too fast", adapter.Author{})
	if delay, ok := adapter.RetryDelay(err); !ok || delay < time.Minute || !errors.Is(err, adapter.ErrNotDelivered) {
		t.Errorf("WhatsApp said 429: %v", err)
	}
	if _, err := r.say(c, "K", "too fast", adapter.Author{}); err != nil {
		t.Fatal(err)
	}
	waclient.WaitText(t, ann.phone.Client, "too fast")
}
