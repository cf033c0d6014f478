package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// recorder is an application that remembers what it was asked.
type recorder struct{ calls []string }

func (r *recorder) Update(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	r.calls = append(r.calls, fmt.Sprintf("update %#x %q %q", id, old, updates))
	if id == 0x8009 {
		return nil, nil // no bytes are bytes as well
	}
	return slices.Concat(updates...), nil
}

func (r *recorder) Remove(id ComponentID) error {
	r.calls = append(r.calls, fmt.Sprintf("remove %#x", id))
	return nil
}

func (r *recorder) Ephemeral(id ComponentID, data []byte) error {
	r.calls = append(r.calls, fmt.Sprintf("ephemeral %#x %q", id, data))
	return nil
}

func appUpdate(id ComponentID, update string) Proposal {
	return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Operation: OpUpdate, Update: []byte(update)}}
}

// TestAppDataUpdate: the updates of a commit by component, in commit order, after everything else (mls-extensions-10 §4.7, §4.8).
func TestAppDataUpdate(t *testing.T) {
	r := &recorder{}
	cfg := suspiciousConfig()
	cfg.Components = r
	grease := Extension{ExtRequiredCapabilities, Marshal(&RequiredCapabilities{})}
	w := newTrioOf(t, cfg, nil, CommitOptions{}, grease)
	r.calls = nil
	ephemeral := func(data string) Proposal {
		return Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: 5, Data: []byte(data)}}
	}
	w.send(w.bob, appUpdate(0x8005, "from bob"))
	r.calls = nil
	o := CommitOptions{OmitPath: true, Proposals: []Proposal{appUpdate(0x8007, "a"), ephemeral("1"), appUpdate(0x8005, "b"), appUpdate(0x8007, "c"),
		appUpdate(0x8009, ""), ephemeral("2"), appUpdate(0x8001, "d")}}
	step := commit(t, w.alice, 0, o)
	want := []string{`ephemeral 0x5 "1"`, `ephemeral 0x5 "2"`, `update 0x8005 "" ["from bob" "b"]`, `update 0x8007 "" ["a" "c"]`, `update 0x8009 "" [""]`, `update 0x8001 "" ["d"]`}
	if !slices.Equal(r.calls, want) {
		t.Errorf("the application was asked %q, want %q", r.calls, want)
	}
	if m := must(ParseMessage(step.Message))(t); m.Public.Content.Commit.Path != nil {
		t.Error("application data alone needs no path, but there is one")
	}
	w.deliver(step.Message, w.alice)
	sameEpoch(t, w.alice, w.bob)
	xs := w.bob.state.context.Extensions
	if len(xs) != 2 || xs[0].Type != ExtRequiredCapabilities || xs[1].Type != ExtAppDataDictionary {
		t.Errorf("the dictionary was not added at the end: %v", xs)
	}
	dict := must(w.bob.Context().Dictionary())(t)
	// 0x28 = 40 bytes: 8001 01 'd' | 8005 09 "from bobb" | 8007 02 "ac" | 8009 00
	same(t, "dictionary", Marshal(dict), []byte("\x18\x80\x01\x01d\x80\x05\x09from bobb\x80\x07\x02ac\x80\x09\x00"))
	r.calls = nil
	remove := Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: 0x8005, Operation: OpRemove}}
	w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{appUpdate(0x8007, "new"), remove}}).Message, w.alice)
	if !slices.Contains(r.calls, `update 0x8007 "ac" ["new"]`) || !slices.Contains(r.calls, "remove 0x8005") {
		t.Errorf("the application was asked %q", r.calls)
	}
	same(t, "dictionary", w.carol.state.context.Extensions[1].Data, []byte("\x0d\x80\x01\x01d\x80\x07\x03new\x80\x09\x00"))
	bare := suspiciousConfig() // without an application no component is known
	bare.Components = nil
	g := newGroup(t, bare, X25519AES128, "alone")
	for _, p := range []Proposal{appUpdate(1, ""), ephemeral("x")} {
		unchanged(t, "alone", g, ErrAppData, "unknown component", func() error { _, err := g.Commit(0, CommitOptions{Proposals: []Proposal{p}}); return err })
	}
	withData := newGroup(t, bare, X25519AES128, "alone", AppDataDictionary{}.With(0x8005, []byte{1}).Extension())
	unchanged(t, "alone", withData, ErrAppData, "unknown component", func() error {
		_, err := withData.Commit(0, CommitOptions{Proposals: []Proposal{remove}})
		return err
	})
	w.alive()
}

// TestDictionary is the AppDataDictionary as a value.
func TestDictionary(t *testing.T) {
	d := AppDataDictionary{}.With(5, []byte("five")).With(1, []byte("one")).With(0xffff, []byte{}).With(3, []byte("three"))
	if !slices.IsSortedFunc(d, func(a, b ComponentData) int { return int(a.ID) - int(b.ID) }) || len(d) != 4 {
		t.Errorf("not sorted: %v", d)
	}
	other := d.With(3, []byte("drei")).With(1, nil).With(2, nil)
	if v, ok := other.Get(3); !ok || string(v) != "drei" {
		t.Errorf("3 is %q", v)
	}
	if _, ok := other.Get(1); ok || len(other) != 3 {
		t.Error("1 was not removed")
	}
	if v, _ := d.Get(3); string(v) != "three" {
		t.Error("the original changed")
	}
	if v, ok := d.Get(0xffff); !ok || v == nil {
		t.Error("empty data is data")
	}
	xs := Extensions{{1, []byte("a")}, {2, []byte("b")}}
	ys := xs.With(1, []byte("c")).With(3, []byte("d"))
	if string(xs[0].Data) != "a" || string(ys[0].Data) != "c" || ys[2].Type != 3 {
		t.Error("Extensions.With")
	}
}

// TestSafeAAD: in a group with the safe_aad component every authenticated_data is a SafeAAD (mls-extensions-10 §4.9).
func TestSafeAAD(t *testing.T) {
	cfg := suspiciousConfig()
	hubKey := must(cfg.Suites.NewSignatureKey(X25519AES128, cfg.random()))(t)
	dict := AppDataDictionary{}.With(ComponentSafeAAD, Marshal(ComponentsList{0x0020})).With(testAppend, []byte("-"))
	w := newTrioOf(t, cfg, nil, CommitOptions{}, Extension{ExtExternalSenders, Marshal(ExternalSenders{{hubKey.PublicBytes(), BasicCredential([]byte("hub"))}})}, dict.Extension())
	tagged := Framing{SafeAAD: SafeAAD{{0x0020, bytes.Repeat([]byte{0xcc}, 32)}}}
	// 24 = 36 bytes of SafeAAD: 23 = 35 bytes of items: component 0020, 20 = 32 bytes
	encoded := append([]byte{0x24, 0x23, 0x00, 0x20, 0x20}, tagged.SafeAAD[0].Data...)

	said := must(w.alice.Protect(0, []byte("x"), tagged))(t)
	settle(t, w.alice, said)
	if !bytes.Contains(said.Message, encoded) {
		t.Error("authenticated_data is not encoded as by hand")
	}
	got := receive(t, w.bob, said.Message)
	if aad := must(ParseSafeAAD(got.AuthenticatedData, true))(t); len(aad) != 1 || aad[0].Component != 0x0020 {
		t.Errorf("received %v", aad)
	}
	empty := must(w.alice.Protect(0, []byte("x"), Framing{}))(t) // without items it is there nevertheless
	settle(t, w.alice, empty)
	if m := must(ParseMessage(empty.Message))(t); !bytes.Equal(m.Private.AuthenticatedData, []byte{0}) {
		t.Errorf("authenticated_data %x, want 00", m.Private.AuthenticatedData)
	}
	receive(t, w.bob, empty.Message)

	proposal := must(w.alice.Propose(0, appData("x"), tagged, false))(t)
	settle(t, w.alice, proposal)
	w.deliver(proposal.Message, w.alice)
	w.deliver(Marshal(must(w.hub.ExternalProposal(0, hubKey, appData("y"), tagged))(t)), nil)
	w.deliver(Marshal(must(NewMemberProposal(cfg, w.alice.Context(), newMember(t, cfg, X25519AES128, "dave"), tagged))(t)), nil)
	w.deliver(commit(t, w.alice, 0, CommitOptions{Framing: tagged}).Message, w.alice)
	_, external, err := ExternalCommit(cfg, must(w.alice.GroupInfo(0, true))(t), testTemplate(t, cfg, X25519AES128, "erin"), ExternalOptions{Framing: tagged})
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(external.Message, nil)
	w.deliver(commit(t, w.bob, 1, CommitOptions{Framing: tagged, Private: true}).Message, w.bob)
	w.hub = must(NewPublicGroup(cfg, must(w.alice.GroupInfo(0, true))(t), nil))(t)

	raw := Framing{AAD: []byte("raw")}
	notMade := func(what string, op func() error) {
		t.Helper()
		unchanged(t, what, w.alice, ErrSafeAAD, "", op)
	}
	notMade("protect", func() error { _, err := w.alice.Protect(0, nil, raw); return err })
	notMade("propose", func() error { _, err := w.alice.Propose(0, appData("x"), raw, false); return err })
	notMade("commit", func() error { _, err := w.alice.Commit(0, CommitOptions{Framing: raw}); return err })
	notMade("items out of order", func() error {
		_, err := w.alice.Protect(0, nil, Framing{SafeAAD: SafeAAD{{2, nil}, {1, nil}}})
		return err
	})
	if _, err := NewMemberProposal(cfg, w.alice.Context(), newMember(t, cfg, X25519AES128, "x"), raw); !errors.Is(err, ErrSafeAAD) {
		t.Errorf("new member proposal: %v", err)
	}
	for name, aad := range map[string][]byte{"none": {}, "raw": []byte("raw"), "out of order": unhex(t, "06000200000100"), "cut short": {5, 0}} {
		f := &forgery{by: w.alice, content: func(c *FramedContent) { c.AuthenticatedData = aad }}
		t.Run("received "+name, func(t *testing.T) {
			w.TB = t
			w.refused(f.message(t), ErrSafeAAD, "", true)
			w.refused(forgeProposal(t, w.alice, appData("x"), func(a *AuthenticatedContent) { a.Content.AuthenticatedData = aad }), ErrSafeAAD, "", true)
			p := &privateForgery{sign: true, content: FramedContent{GroupID: w.alice.GroupID(), Epoch: w.alice.Epoch(), Sender: Sender{Type: SenderMember},
				ContentType: ContentApplication, AuthenticatedData: aad}}
			w.refused(p.message(t, w.alice), ErrSafeAAD, "", false)
		})
	}
	tail := (&forgery{by: w.alice, content: func(c *FramedContent) { c.AuthenticatedData = []byte{0, 1, 2} }}).message(t)
	must(w.bob.Process(must(ParseMessage(tail))(t), Arrival{}))(t) // ignored, unless strict
	w.TB, cfg.StrictSafeAAD = t, true
	w.refused(tail, ErrSafeAAD, "trailing", true)
	cfg.StrictSafeAAD = false

	// What the component demands holds from the epoch after the one that brings it, and goes with it.
	w = newTrioOf(t, cfg, nil, CommitOptions{})
	late := must(w.carol.Protect(2, []byte("late"), raw))(t)
	settle(t, w.carol, late)
	unchanged(t, "alice", w.alice, ErrSafeAAD, "", func() error { _, err := w.alice.Protect(0, nil, tagged); return err })
	w.deliver(commit(t, w.alice, 0, CommitOptions{Framing: raw, Proposals: []Proposal{appUpdate(ComponentSafeAAD, "\x00")}}).Message, w.alice)
	unchanged(t, "alice", w.alice, ErrSafeAAD, "", func() error { _, err := w.alice.Protect(0, nil, raw); return err })
	w.bob = must(LoadGroup(cfg, stored(w.bob).records()))(t)
	receive(t, w.bob, late.Message) // of an epoch without it
	said = must(w.alice.Protect(0, []byte("x"), Framing{}))(t)
	settle(t, w.alice, said)
	remove := Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: ComponentSafeAAD, Operation: OpRemove}}
	w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{remove}}).Message, w.alice)
	if got := receive(t, w.bob, said.Message); !bytes.Equal(got.AuthenticatedData, []byte{0}) {
		t.Errorf("late message with %x", got.AuthenticatedData)
	}
	w.deliver(commit(t, w.alice, 0, CommitOptions{Framing: raw}).Message, w.alice)
}

// TestSelfRemove lets members leave (mls-extensions-10 §6.3).
func TestSelfRemove(t *testing.T) {
	w := newTrio(t)
	for _, leaving := range []*Group{w.bob, w.carol} {
		w.send(leaving, Proposal{Type: ProposalSelfRemove})
	}
	step := commit(t, w.alice, 0, CommitOptions{OmitPath: true})
	if m := must(ParseMessage(step.Message))(t); m.Public.Content.Commit.Path == nil {
		t.Error("a self_remove needs a path, but there is none")
	}
	for _, g := range []*Group{w.bob, w.carol} {
		if got := receive(t, g, step.Message); len(got.Commit.Left) != 1 || len(g.leaves) > 0 {
			t.Errorf("left %v", got.Commit.Left)
		}
	}
	if w.alice.MemberCount() != 1 {
		t.Errorf("%d members", w.alice.MemberCount())
	}
	settle(t, w.alice, must(w.alice.Protect(0, []byte("alone"), Framing{}))(t))
	// Some of our leaves leave, others stay.
	cfg := testConfig()
	g := newGroup(t, cfg, X25519AES128, "gateway")
	friend := newMember(t, cfg, X25519AES128, "friend")
	welcome := commit(t, g, 0, CommitOptions{Own: newMembers(t, cfg, X25519AES128, "own", 3), Proposals: adds(friend), WelcomeTree: true}).Welcome
	f := join(t, cfg, welcome, nil, friend)
	leaves := map[LeafIndex]bool{}
	for _, leaf := range g.LocalLeaves()[1:3] {
		step := must(g.Propose(leaf, Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t)
		settle(t, g, step)
		receive(t, f, step.Message)
		leaves[leaf] = true
	}
	friendLeaf := f.LocalLeaves()[0]
	merged := receive(t, g, commit(t, f, friendLeaf, CommitOptions{}).Message)
	sameEpoch(t, g, f)
	if len(merged.Commit.Left) != 2 || len(g.LocalLeaves()) != 2 {
		t.Errorf("left %v, local %v", merged.Commit.Left, g.LocalLeaves())
	}
	for leaf := range leaves {
		if _, err := g.Protect(leaf, nil, Framing{}); !errors.Is(err, ErrNotMember) {
			t.Errorf("leaf %d still speaks: %v", leaf, err)
		}
	}
	// Our own commit takes our own leaves out as well, but not the committer.
	for _, leaf := range g.LocalLeaves() {
		settle(t, g, must(g.Propose(leaf, Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t))
	}
	if step := commit(t, g, 0, CommitOptions{}); len(step.Commit.Removed) != 1 || !slices.Equal(g.LocalLeaves(), []LeafIndex{0}) {
		t.Errorf("removed %v, local %v", step.Commit.Removed, g.LocalLeaves())
	}
}

// TestContentMediaTypes is mls-extensions-10 §6.2: what application_data looks like, and who can read it.
func TestContentMediaTypes(t *testing.T) {
	list := MediaTypeList{mimiContent, {Type: "text/plain", Parameters: []Parameter{{"charset", "utf-8"}, {"format", "flowed"}}}}
	g := newGroup(t, testConfig(), X25519AES128, "alice", AppDataDictionary{}.With(ComponentContentMediaTypes, Marshal(list)).Extension())
	got := must(g.Context().ContentMediaTypes())(t)
	if len(got) != 2 || !got[0].Matches(&list[0]) || !got[1].Matches(&list[1]) || got[0].Matches(&list[1]) {
		t.Errorf("media types %v", got)
	}
	for _, c := range []struct {
		a, b MediaType
		want bool
	}{
		{MediaType{Type: "Text/Plain"}, MediaType{Type: "text/plain"}, true},
		{MediaType{Type: "text/plain"}, MediaType{Type: "text/html"}, false},
		{MediaType{Type: "t/p", Parameters: []Parameter{{"a", "1"}, {"B", "2"}}}, MediaType{Type: "t/p", Parameters: []Parameter{{"b", "2"}, {"A", "1"}}}, true},
		{MediaType{Type: "t/p", Parameters: []Parameter{{"a", "1"}}}, MediaType{Type: "t/p", Parameters: []Parameter{{"a", "x"}}}, false},
		{MediaType{Type: "t/p", Parameters: []Parameter{{"a", "1"}}}, MediaType{Type: "t/p"}, false},
	} {
		if c.a.Matches(&c.b) != c.want || c.b.Matches(&c.a) != c.want {
			t.Errorf("%v and %v: want %v", c.a, c.b, c.want)
		}
	}
	if l := must(newGroup(t, testConfig(), X25519AES128, "bob").Context().ContentMediaTypes())(t); l != nil {
		t.Errorf("a group without the component has %v", l)
	}
	g.state.context.Extensions = Extensions{AppDataDictionary{}.With(ComponentContentMediaTypes, []byte{0}).Extension()}
	if _, err := g.Context().ContentMediaTypes(); !errors.Is(err, ErrSyntax) {
		t.Errorf("an empty list: %v", err)
	}
	framed := ApplicationFraming{MediaType: list[1], Content: []byte("hello")}
	var back ApplicationFraming
	if err := Unmarshal(Marshal(&framed), &back); err != nil || !back.MediaType.Matches(&list[1]) || string(back.Content) != "hello" {
		t.Errorf("%v, %v", back, err)
	}
}

// TestLabels: a component's signatures and ciphertexts are bound to it and to what they are for (mls-extensions-10 §4.1 to §4.3).
func TestLabels(t *testing.T) {
	cfg := testConfig()
	key := must(cfg.Suites.NewSignatureKey(X25519AES128, cfg.random()))(t)
	label := ComponentLabel(testAppend, "test")
	signature := must(cfg.Suites.SignWithLabel(X25519AES128, key, label, []byte("content")))(t)
	if err := cfg.Suites.VerifyWithLabel(X25519AES128, key.PublicBytes(), label, []byte("content"), signature); err != nil {
		t.Error(err)
	}
	private, public, err := cfg.Suites[X25519AES128].hpke.NewKeyPair(cfg.random())
	if err != nil {
		t.Fatal(err)
	}
	sealed := must(cfg.Suites.EncryptWithLabel(X25519AES128, public, label, []byte("context"), []byte("text")))(t)
	if text := must(cfg.Suites.DecryptWithLabel(X25519AES128, private, label, []byte("context"), sealed))(t); string(text) != "text" {
		t.Errorf("decrypted %q", text)
	}
	for _, other := range []string{"test", ComponentLabel(testReplace, "test"), ComponentLabel(testAppend, "tesT"), ""} {
		if err := cfg.Suites.VerifyWithLabel(X25519AES128, key.PublicBytes(), other, []byte("content"), signature); !errors.Is(err, ErrSignature) {
			t.Errorf("verifies under label %q: %v", other, err)
		}
		if _, err := cfg.Suites.DecryptWithLabel(X25519AES128, private, other, []byte("context"), sealed); !errors.Is(err, ErrDecrypt) {
			t.Errorf("decrypts under label %q: %v", other, err)
		}
	}
	if _, err := cfg.Suites.DecryptWithLabel(X25519AES128, private, label, []byte("else"), sealed); !errors.Is(err, ErrDecrypt) {
		t.Errorf("decrypts in another context: %v", err)
	}
	for i, err := range []error{
		second(cfg.Suites.SignWithLabel(0x4444, key, label, nil)), cfg.Suites.VerifyWithLabel(0x4444, nil, label, nil, nil),
		second(cfg.Suites.EncryptWithLabel(0x4444, public, label, nil, nil)), second(cfg.Suites.DecryptWithLabel(0x4444, private, label, nil, sealed)),
		second(cfg.Suites.NewSignatureKey(0x4444, cfg.random())), second(cfg.Suites.ParseSignatureKey(0x4444, nil)),
	} {
		if !errors.Is(err, ErrCipherSuite) {
			t.Errorf("unknown suite, function %d: %v", i, err)
		}
	}
	for i, err := range []error{
		second(cfg.Suites.SignWithLabel(P256AES128, key, label, nil)), second(cfg.Suites.EncryptWithLabel(X25519AES128, []byte("short"), label, nil, nil)),
		second(cfg.Suites.DecryptWithLabel(X25519AES128, []byte("short"), label, nil, sealed)), second(cfg.Suites.ParseSignatureKey(X25519AES128, []byte("short"))),
		second(cfg.Suites.ParseSignatureKey(P256AES128, make([]byte, 32))),
	} {
		if !errors.Is(err, ErrKey) {
			t.Errorf("bad key, function %d: %v", i, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
