package hub_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"mimigate/core/hub"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/store"
	"mimigate/core/uri"
)

const suite = mls.X25519AES128

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	pa   = must(uri.NewProvider("a.example"))
	pb   = must(uri.NewProvider("b.example"))
	pc   = must(uri.NewProvider("c.example"))
	club = must(uri.ParseRoom("mimi://a.example/r/club"))
)

// follower records what it is told, or fails.
type follower struct {
	mu     sync.Mutex
	bodies [][]byte
	err    error
}

func (f *follower) Notify(_ context.Context, from uri.Provider, id uri.Room, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if from != pa || id != club {
		return errors.New("from another hub, or of another room")
	}
	f.bodies = append(f.bodies, slices.Clone(body))
	return nil
}

func (f *follower) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *follower) told(t *testing.T) []mimi.FanoutMessage {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []mimi.FanoutMessage
	for _, b := range f.bodies {
		got, err := mimi.ParseFanout(b)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, got...)
	}
	return list
}

// stage is a hub with two followers, and a room with a client of each.
type stage struct {
	t         *testing.T
	options   store.Options
	store     *store.Store
	hub       *hub.Hub
	followers map[uri.Provider]*follower
	now       time.Time
	groups    map[string]*mls.Group
}

func (s *stage) Follower(of uri.Provider) (mimi.Follower, bool, error) {
	f := s.followers[of]
	if f == nil {
		return nil, false, errors.New("no such peer")
	}
	return f, of == pa, nil
}

func (s *stage) KeyMaterial(uri.Provider) (mimi.KeyMaterial, error) {
	return nil, errors.New("not asked for")
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{t: t, options: store.Options{Location: filepath.Join(dir, "s"), Domain: "a.example", KeyFile: filepath.Join(dir, "k")},
		followers: map[uri.Provider]*follower{pa: {}, pb: {}, pc: {}}, now: time.Now().Truncate(time.Millisecond), groups: make(map[string]*mls.Group)}
	s.open()
	t.Cleanup(s.close)
	return s
}

func engine() *mls.Config {
	return &mls.Config{Components: room.Components{}, Suites: mls.DefaultSuites()}
}

func (s *stage) open() {
	s.t.Helper()
	var err error
	if s.store, err = store.Open(s.t.Context(), s.options); err != nil {
		s.t.Fatal(err)
	}
	s.hub = hub.New(hub.Config{Provider: pa, Store: s.store, Peers: s, KeyPeers: s, MLS: engine(), Now: func() time.Time { return s.now },
		Log: slog.New(slog.DiscardHandler)})
	if err := s.hub.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) close() {
	s.hub.Close()
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) reopen() {
	s.t.Helper()
	s.close()
	s.open()
}

func user(name string) string { return "mimi://" + name[len(name)-1:] + ".example/u/" + name }

// client makes the keys of a client; the last letter of its name is its provider's.
func client(t *testing.T, name string) *mls.JoinSecrets {
	t.Helper()
	key, err := mls.DefaultSuites().NewSignatureKey(suite, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dict := mls.AppDataDictionary{
		{ID: mls.ComponentAppComponents, Data: mls.Marshal(mls.ComponentsList{1, 2, 3, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x2f})},
		{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{0x20})},
	}
	j, err := mls.NewKeyPackage(engine(), suite, mls.LeafTemplate{Signature: key, Credential: mls.BasicCredential([]byte(user(name))),
		Extensions: mls.Extensions{dict.Extension()}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// found makes the room, with its owner.
func (s *stage) found(owner string) *mls.Group {
	s.t.Helper()
	sender, err := s.hub.Sender(s.t.Context(), suite)
	if err != nil {
		s.t.Fatal(err)
	}
	rules := policy.Default()
	rules.Role(policy.AdminRole).Min = 0
	rules.Bots = nil
	rules.Base.Components = rules.Components()
	c := room.Contents{Rules: *rules, Metadata: room.Metadata{URI: club.String()},
		Participants: []room.Participant{{User: user(owner), Role: policy.OwnerRole}, {User: pa.String(), Role: policy.EnforcerRole}},
		Other: mls.AppDataDictionary{
			{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{0x20})},
			{ID: mls.ComponentID(policy.FrankingAgent), Data: mls.Marshal(&mimi.FrankingAgent{SignatureKey: sender.SignatureKey, Credential: sender.Credential})},
		}}
	g, err := mls.NewGroup(engine(), []byte("mimi://a.example/g/club"), mls.Extensions{
		{Type: mls.ExtExternalSenders, Data: mls.Marshal(mls.ExternalSenders{sender})}, c.Dictionary().Extension()}, client(s.t, owner))
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := g.GroupInfo(0, false)
	if err == nil {
		err = s.hub.Create(s.t.Context(), club, info, g.RatchetTree())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.groups[owner] = g
	return g
}

// state is the room as a group has it.
func (s *stage) state(g *mls.Group) *room.State {
	s.t.Helper()
	dict, err := g.Context().Dictionary()
	if err != nil {
		s.t.Fatal(err)
	}
	var leaves []room.Leaf
	for i, node := range g.Members() {
		u, c, err := mimi.Identify(&node.Credential)
		if err != nil {
			s.t.Fatal(err)
		}
		leaves = append(leaves, room.Leaf{Index: i, User: u, Client: c})
	}
	state, err := room.New(club, dict, leaves)
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

func (s *stage) listUpdate(g *mls.Group, people ...room.Participant) mls.Proposal {
	u := s.state(g).Change(people...)
	return mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mls.ComponentID(policy.ParticipantList), Operation: mls.OpUpdate, Update: u.Marshal()}}
}

// addition is a commit that adds somebody, as a request.
func (s *stage) addition(g *mls.Group, name string, role policy.RoleIndex) (*mimi.UpdateRequest, *mls.Step, *mls.JoinSecrets) {
	s.t.Helper()
	j := client(s.t, name)
	step, err := g.Commit(0, mls.CommitOptions{Framing: mls.Framing{SafeAAD: mls.SafeAAD{}}, WantGroupInfo: true, Proposals: []mls.Proposal{
		s.listUpdate(g, room.Participant{User: user(name), Role: role}), {Type: mls.ProposalAdd, Add: &j.KeyPackage}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return request(s.t, step), step, j
}

func request(t *testing.T, step *mls.Step) *mimi.UpdateRequest {
	t.Helper()
	m, err := mimi.ParseMessage(step.Message)
	if err != nil {
		t.Fatal(err)
	}
	return &mimi.UpdateRequest{Message: m, Welcome: step.Welcome, GroupInfo: mimi.GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeDistributionService}}
}

func (s *stage) update(from uri.Provider, req *mimi.UpdateRequest) *mimi.UpdateRoomResponse {
	s.t.Helper()
	resp, err := s.hub.Update(s.t.Context(), from, club, req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// admit brings somebody in.
func (s *stage) admit(g *mls.Group, name string, role policy.RoleIndex) *mls.Group {
	s.t.Helper()
	req, step, j := s.addition(g, name, role)
	if resp := s.update(pa, req); resp.Code != mimi.UpdateSuccess {
		s.t.Fatalf("%+v", resp)
	}
	tree := step.Tree()
	if _, err := g.Merge(step); err != nil {
		s.t.Fatal(err)
	}
	joined, err := mls.JoinWelcome(engine(), req.Welcome, mls.JoinOptions{Own: []*mls.JoinSecrets{j}, RatchetTree: tree})
	if err != nil {
		s.t.Fatal(err)
	}
	s.groups[name] = joined
	return joined
}

func (s *stage) message(g *mls.Group, name string, tag []byte) *mimi.SubmitMessageRequest {
	s.t.Helper()
	aad := mls.SafeAAD{}
	if tag != nil {
		aad = mls.SafeAAD{{Component: mls.ComponentID(policy.FrankAAD), Data: tag}}
	}
	step, err := g.Protect(g.LocalLeaves()[0], []byte("hello"), mls.Framing{SafeAAD: aad})
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := mimi.ParseMessage(step.Message)
	if err != nil {
		s.t.Fatal(err)
	}
	return &mimi.SubmitMessageRequest{Message: m, Sender: user(name)}
}

func (s *stage) submit(from uri.Provider, req *mimi.SubmitMessageRequest) *mimi.SubmitMessageResponse {
	s.t.Helper()
	resp, err := s.hub.Submit(s.t.Context(), from, club, req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			s.t.Fatalf("%s did not come", what)
		}
	}
}

func TestSubmit(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	tag := bytes.Repeat([]byte{7}, 32)
	req := s.message(b, "bob-b", tag)
	first := s.submit(pb, req)
	if first.Code != mimi.SubmitAccepted || first.Frank == nil {
		t.Fatalf("%+v", first)
	}
	sender := must(s.hub.Sender(t.Context(), suite))
	c := &mimi.FrankingContext{Sender: user("bob-b"), Room: club.String(), Accepted: first.Accepted}
	if err := first.Frank.Verify(mls.DefaultSuites(), suite, sender.SignatureKey, c); err != nil {
		t.Error(err)
	}
	second := s.submit(pb, s.message(b, "bob-b", nil))
	if second.Frank != nil || second.Accepted <= first.Accepted { // the clock stands still
		t.Errorf("%+v after %+v", second, first)
	}
	// The same request has the same answer, also after a restart, and is told once.
	s.reopen()
	if again := s.submit(pb, req); !bytes.Equal(mls.Marshal(again), mls.Marshal(first)) {
		t.Errorf("%+v, want %+v", again, first)
	}
	for _, p := range []uri.Provider{pa, pb} {
		s.until("messages", func() bool { return len(s.followers[p].told(t)) >= 3 })
		told := s.followers[p].told(t)
		last := told[len(told)-2:]
		if last[0].Timestamp != first.Accepted || last[0].Frank == nil || last[1].Timestamp != second.Accepted || last[1].Frank != nil {
			t.Errorf("%s: %+v", p, last)
		}
		for _, f := range told[:len(told)-2] {
			if f.Message.Private != nil {
				t.Errorf("%s was told more than twice", p)
			}
		}
	}
}

func TestSubmitRefused(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	good := func() *mimi.SubmitMessageRequest { return s.message(b, "bob-b", nil) }
	other := good()
	other.Message.Private.GroupID = []byte("other")
	other.Message = mimi.NewMessage(other.Message.Message)
	future := good()
	future.Message.Private.Epoch = 99
	future.Message = mimi.NewMessage(future.Message.Message)
	stranger := good()
	stranger.Sender = user("eve-b")
	garbage := good()
	garbage.Sender = "bob"
	plain := good()
	plain.Message.Private.AuthenticatedData = []byte{5}
	plain.Message = mimi.NewMessage(plain.Message.Message)
	for name, test := range map[string]struct {
		from uri.Provider
		req  *mimi.SubmitMessageRequest
	}{
		"from another provider": {pc, good()}, "another group": {pb, other}, "an epoch to come": {pb, future},
		"not a participant": {pb, stranger}, "no user": {pb, garbage}, "no SafeAAD": {pb, plain},
	} {
		if resp := s.submit(test.from, test.req); resp.Code != mimi.SubmitNotAllowed {
			t.Errorf("%s: %+v", name, resp)
		}
	}
	if _, err := s.hub.Submit(t.Context(), pb, must(uri.ParseRoom("mimi://a.example/r/none")), good()); !errors.Is(err, mimi.ErrNotFound) {
		t.Errorf("no such room: %v", err)
	}
	// Beyond the tolerance of eight epochs.
	old := good()
	older := good()
	for i := range 9 {
		if i == 8 && s.submit(pb, old).Code != mimi.SubmitAccepted {
			t.Error("eight epochs late is not taken")
		}
		step := must(g.Commit(0, mls.CommitOptions{Framing: mls.Framing{SafeAAD: mls.SafeAAD{}}, WantGroupInfo: true}))
		if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
			t.Fatalf("%+v", resp)
		}
		must(g.Merge(step))
	}
	if resp := s.submit(pb, older); resp.Code != mimi.SubmitEpochTooOld || resp.Epoch != g.Epoch() {
		t.Errorf("%+v", resp)
	}
}

func TestUpdate(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	req, step, _ := s.addition(g, "cat-c", policy.MemberRole)
	first := s.update(pa, req)
	if first.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", first)
	}
	// A commit that was made for the same epoch comes too late; a repeated one is known again, after a restart too.
	s.reopen()
	late := must(s.groups["bob-b"].Commit(1, mls.CommitOptions{Framing: mls.Framing{SafeAAD: mls.SafeAAD{}}, WantGroupInfo: true}))
	if resp := s.update(pb, request(t, late)); resp.Code != mimi.UpdateWrongEpoch || resp.Epoch != g.Epoch()+1 {
		t.Errorf("%+v", resp)
	}
	if again := s.update(pa, req); !bytes.Equal(mls.Marshal(again), mls.Marshal(first)) {
		t.Errorf("%+v, want %+v", again, first)
	}
	must(g.Merge(step))
	for p, want := range map[uri.Provider][]mls.WireFormat{
		pa: {mls.WirePublicMessage, mls.WirePublicMessage}, // its own echoes
		pb: {mls.WireWelcome, mls.WirePublicMessage},       // brought in by the first
		pc: {mls.WireWelcome},                              // by the second
	} {
		s.until("events", func() bool { return len(s.followers[p].told(t)) >= len(want) })
		var got []mls.WireFormat
		for _, f := range s.followers[p].told(t) {
			got = append(got, f.Message.WireFormat)
			if f.Message.Welcome != nil && f.Tree.Representation != mls.TreeFull {
				t.Errorf("%s: a Welcome without the tree", p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", p, got, want)
		}
	}
}

func TestUpdateRefused(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	safe := mls.Framing{SafeAAD: mls.SafeAAD{}}
	drop := func(g *mls.Group) {
		if err := g.Settle(g.Drop()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string, from uri.Provider, req *mimi.UpdateRequest, want mimi.UpdateCode) {
		t.Helper()
		if resp := s.update(from, req); resp.Code != want || resp.Description == "" {
			t.Errorf("%s: %+v, want %d", name, resp, want)
		}
	}
	req, _, _ := s.addition(g, "cat-c", policy.MemberRole)
	check("from another provider", pb, req, mimi.UpdateNotAllowed)
	noWelcome := *req
	noWelcome.Welcome = nil
	check("a client added without a Welcome", pa, &noWelcome, mimi.UpdateInvalidProposal)
	foreign := *req
	w := *req.Welcome
	w.Secrets = append(slices.Clone(w.Secrets), mls.EncryptedGroupSecrets{NewMember: []byte("nobody"), EncryptedGroupSecrets: w.Secrets[0].EncryptedGroupSecrets})
	foreign.Welcome = &w
	check("a Welcome for somebody else", pa, &foreign, mimi.UpdateInvalidProposal)
	wrongInfo := *req
	info := *req.GroupInfo.Full
	info.ConfirmationTag = bytes.Repeat([]byte{1}, 32)
	wrongInfo.GroupInfo.Full = &info
	check("a GroupInfo of another epoch", pa, &wrongInfo, mimi.UpdateInvalidProposal)
	drop(g)

	step := must(g.Commit(0, mls.CommitOptions{Framing: safe, Private: true, WantGroupInfo: true}))
	check("a commit that the hub cannot read", pa, request(t, step), mimi.UpdateNotAllowed)
	drop(g)

	step = must(b.Commit(1, mls.CommitOptions{Framing: safe, WantGroupInfo: true, Proposals: []mls.Proposal{{Type: mls.ProposalRemove, Remove: 0}}}))
	check("a member removes the owner", pb, request(t, step), mimi.UpdateNotAllowed)
	drop(b)

	step = must(g.Commit(0, mls.CommitOptions{Framing: safe, WantGroupInfo: true, Proposals: []mls.Proposal{
		s.listUpdate(g, room.Participant{User: user("bob-b"), Role: policy.NoRole})}}))
	check("bob leaves the list and keeps his client", pa, request(t, step), mimi.UpdateInvalidProposal)
	drop(g)

	noHub := mls.Extensions{{Type: mls.ExtExternalSenders, Data: mls.Marshal(mls.ExternalSenders{})}}
	dict, _ := g.Context().Extensions.Get(mls.ExtAppDataDictionary)
	noHub = append(noHub, mls.Extension{Type: mls.ExtAppDataDictionary, Data: dict})
	step = must(g.Commit(0, mls.CommitOptions{Framing: safe, WantGroupInfo: true, Proposals: []mls.Proposal{
		{Type: mls.ProposalGroupContextExtensions, Extensions: noHub}}}))
	if resp := s.update(pa, request(t, step)); resp.Code == mimi.UpdateSuccess {
		t.Error("the hub was thrown out")
	}
	drop(g)
	if epoch := g.Epoch(); epoch != 1 {
		t.Fatalf("epoch %d", epoch)
	}
	// Nothing of that has changed anything.
	s.admit(g, "dan-c", policy.MemberRole)
}

func TestProposals(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	safe := mls.Framing{SafeAAD: mls.SafeAAD{}}
	leave := must(b.Propose(1, mls.Proposal{Type: mls.ProposalSelfRemove}, safe, false))
	list := must(b.Propose(1, s.listUpdate(b, room.Participant{User: user("bob-b"), Role: policy.NoRole}), safe, false))
	req := &mimi.UpdateRequest{Message: must(mimi.ParseMessage(leave.Message)), More: []mimi.Message{must(mimi.ParseMessage(list.Message))}}
	if resp := s.update(pb, req); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	s.reopen()
	// He counts as gone at once; a commit must take what is pending, all of it.
	if resp := s.submit(pb, s.message(b, "bob-b", nil)); resp.Code != mimi.SubmitNotAllowed {
		t.Errorf("%+v", resp)
	}
	step := must(g.Commit(0, mls.CommitOptions{Framing: safe, WantGroupInfo: true}))
	if resp := s.update(pa, request(t, step)); resp.Code == mimi.UpdateSuccess {
		t.Error("a commit that leaves out what is pending was taken")
	}
	must(0, g.Settle(g.Drop()))
	for _, m := range []mimi.Message{req.Message, req.More[0]} {
		must(g.Process(m.Message, mls.Arrival{}))
	}
	step = must(g.Commit(0, mls.CommitOptions{Framing: safe, WantGroupInfo: true}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Errorf("%+v", resp)
	}
	// His provider hears of the commit that removes him (mimi-protocol-06 §5.5), and of nothing after it.
	must(g.Merge(step))
	s.submit(pa, s.message(g, "ann-a", nil))
	s.until("the message", func() bool { told := s.followers[pa].told(t); return told[len(told)-1].Message.Private != nil })
	s.until("the commit", func() bool { return len(s.followers[pb].told(t)) == 3 })
}

func TestFanoutWaits(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	s.until("Welcome", func() bool { return len(s.followers[pb].told(t)) == 1 })
	s.followers[pb].set(mimi.RetryAfter(time.Millisecond, errors.New("down")))
	s.submit(pa, s.message(g, "ann-a", nil))
	s.submit(pa, s.message(g, "ann-a", nil))
	s.until("the other follower", func() bool { return len(s.followers[pa].told(t)) == 3 })
	s.reopen() // it stands in the outbox
	s.followers[pb].set(nil)
	s.until("both", func() bool { return len(s.followers[pb].told(t)) == 3 })
	told := s.followers[pb].told(t)
	if told[1].Timestamp >= told[2].Timestamp {
		t.Error("out of order")
	}
	// What a follower refuses for good does not hold up the rest.
	s.followers[pb].set(mimi.ErrForbidden)
	s.submit(pa, s.message(g, "ann-a", nil))
	s.until("an empty outbox", func() bool { return len(must(s.store.HubRoutes(t.Context()))) == 0 })
	s.followers[pb].set(nil)
	s.submit(pa, s.message(g, "ann-a", nil))
	s.until("the next", func() bool { return len(s.followers[pb].told(t)) == 4 })
}

func TestGroupInfoAndExternalCommit(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	recipient := client(t, "any-b") // for its key pair
	private, public := recipient.InitKey, recipient.KeyPackage.InitKey
	ask := func(from uri.Provider, name string) *mimi.GroupInfoResponse {
		j := client(t, name)
		req := &mimi.GroupInfoRequest{Suite: suite, SignatureKey: j.Signature.PublicBytes(), Credential: mls.BasicCredential([]byte(user(name))), PublicKey: public}
		if err := req.Sign(mls.DefaultSuites(), j.Signature); err != nil {
			t.Fatal(err)
		}
		return must(s.hub.GroupInfo(t.Context(), from, club, req))
	}
	if resp := ask(pc, "eve-c"); resp.Code != mimi.GroupInfoNotAuthorized {
		t.Errorf("a stranger: %+v", resp)
	}
	if resp := ask(pc, "bob-b"); resp.Code != mimi.GroupInfoNotAuthorized {
		t.Errorf("from another provider: %+v", resp)
	}
	resp := ask(pb, "bob-b")
	plain, err := resp.Open(mls.DefaultSuites(), private)
	if err != nil {
		t.Fatal(err)
	}
	j := client(t, "bob-b")
	old := mls.LeafIndex(1)
	_, step, err := mls.ExternalCommit(engine(), &plain.GroupInfo, mls.LeafTemplate{Signature: j.Signature,
		Credential: mls.BasicCredential([]byte(user("bob-b"))), Extensions: j.KeyPackage.LeafNode.Extensions},
		mls.ExternalOptions{RatchetTree: plain.Tree.Tree, Remove: &old, Framing: mls.Framing{SafeAAD: mls.SafeAAD{}}})
	if err != nil {
		t.Fatal(err)
	}
	if resp := s.update(pb, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Errorf("%+v", resp)
	}
}

func TestCreateRefused(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	info := must(g.GroupInfo(0, false))
	if err := s.hub.Create(t.Context(), club, info, g.RatchetTree()); !errors.Is(err, hub.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if err := s.hub.Create(t.Context(), must(uri.ParseRoom("mimi://b.example/r/x")), info, g.RatchetTree()); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("of another domain: %v", err)
	}
	if err := s.hub.Create(t.Context(), must(uri.ParseRoom("mimi://a.example/r/x")), info, g.RatchetTree()); !errors.Is(err, policy.ErrInvalid) {
		t.Errorf("with the metadata of another room: %v", err)
	}
}
