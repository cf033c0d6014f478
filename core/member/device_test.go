package member_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"mimigate/core/content"
	"mimigate/core/member/form"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// phone is a client of a user that is none of the gateway's.
type phone struct {
	user  uri.User
	key   *mls.SignatureKey
	group *mls.Group
}

// phoneOf lets a second client of one of b's people enter a room of a's by an external commit.
func phoneOf(t *testing.T, a, b *side, id uri.Room, user uri.User) *phone {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg, suite := &mls.Config{Suites: mls.DefaultSuites(), Components: room.Components{}}, mls.X25519AES128
	key, err := cfg.Suites.NewSignatureKey(suite, rand.Reader)
	ok(err)
	client, err := b.provider.Client(user.Segments()[0], "phone")
	ok(err)
	leaf := mls.LeafTemplate{Credential: mls.BasicCredential([]byte(client.String())), Signature: key, Extensions: form.LeafExtensions(nil)}
	req := &mimi.GroupInfoRequest{Suite: suite, SignatureKey: key.PublicBytes(), Credential: leaf.Credential}
	private, err := req.NewKey(cfg.Suites, key)
	ok(err)
	ok(req.Sign(cfg.Suites, key))
	resp, err := a.hub.GroupInfo(t.Context(), b.provider, id, req)
	ok(err)
	if resp.Code != mimi.GroupInfoSuccess {
		t.Fatalf("GroupInfo: %d", resp.Code)
	}
	plain, err := resp.Open(cfg.Suites, private)
	ok(err)
	g, step, err := mls.ExternalCommit(cfg, &plain.GroupInfo, leaf, mls.ExternalOptions{RatchetTree: plain.Tree.Tree,
		Framing: form.HandshakeFraming(&plain.GroupInfo.Context)})
	ok(err)
	msg, err := mimi.ParseMessage(step.Message)
	ok(err)
	answer, err := a.hub.Update(t.Context(), b.provider, id, &mimi.UpdateRequest{Message: msg, GroupInfo: mimi.GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: g.RatchetTree()}})
	ok(err)
	if answer.Code != mimi.UpdateSuccess {
		t.Fatalf("the hub says %d: %s", answer.Code, answer.Description)
	}
	return &phone{user, key, g}
}

// says lets the phone say something.
func (p *phone) says(t *testing.T, a, b *side, id uri.Room, text string) {
	t.Helper()
	m := content.Text(text)
	m.SenderURI, m.RoomURI = p.user.String(), id.String()
	if _, err := rand.Read(m.Salt[:]); err != nil {
		t.Fatal(err)
	}
	encoded, err := content.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	data, err := form.Frame(p.group.Context(), encoded)
	if err != nil {
		t.Fatal(err)
	}
	framing, err := form.Framing(p.group.Context(), new(policy.Rules), encoded, data)
	if err != nil {
		t.Fatal(err)
	}
	step, err := p.group.Protect(p.group.LocalLeaves()[0], data, framing)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := mimi.ParseMessage(step.Message)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.hub.Submit(t.Context(), b.provider, id, &mimi.SubmitMessageRequest{Message: msg, Sender: p.user.String()})
	if err != nil || resp.Code != mimi.SubmitAccepted {
		t.Fatalf("%v, %v", resp, err)
	}
}

// A participant has a second client, which enters by itself: what it says is theirs, nobody sees them come again, and it is left alone when
// the gateway recovers.
func TestSecondDevice(t *testing.T) {
	a, b, id := club(t, nil)
	bob := b.user("b0")
	talk(a, b, id, " before")
	restore := b.backup()
	events := a.sink.all()
	p := phoneOf(t, a, b, id, bob)
	p.says(t, a, b, id, "from the phone")
	for _, s := range []*side{a, b} {
		s.until("it", func() bool {
			s.sink.mu.Lock()
			defer s.sink.mu.Unlock()
			last := s.sink.lines[len(s.sink.lines)-1]
			return last.text == "from the phone" && last.from == bob
		})
	}
	talk(a, b, id, " with it")
	if now := a.sink.all(); now != events {
		t.Errorf("somebody saw it come: %s", now)
	}
	restore(id)
	b.until("gap", func() bool { return b.sink.told("gap") })
	talk(a, b, id, " after")
	b.until("all are back", func() bool { return len(b.lost(id)) == 1 })
	if !a.keys(id)[string(p.key.PublicBytes())] {
		t.Error("the phone is gone")
	}
	// Who is removed goes with all their clients.
	if err := a.members.RemoveParticipant(t.Context(), id, bob); err != nil {
		t.Fatal(err)
	}
	gone := fmt.Sprintf("%s 2→0 by gateway@a.example", name(bob))
	b.until(gone, func() bool { return b.sink.told(gone) })
	if a.keys(id)[string(p.key.PublicBytes())] {
		t.Error("the phone is still there")
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
}
