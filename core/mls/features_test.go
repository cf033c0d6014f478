package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// externalJoin has a newcomer join a trio and everybody take its commit.
func (w *trio) externalJoin(name string, o ExternalOptions) (*Group, *Step) {
	w.Helper()
	info := must(w.alice.GroupInfo(0, o.RatchetTree == nil))(w)
	g, step, err := ExternalCommit(w.cfg, info, testTemplate(w, w.cfg, X25519AES128, name), o)
	if err != nil {
		w.Fatal(err)
	}
	return g, step
}

// TestExternalCommit joins by external commit with everything that may be in one (RFC 9420 §12.4.3.2).
func TestExternalCommit(t *testing.T) {
	together := func(t *testing.T, w *trio, g *Group, others ...*Group) {
		t.Helper()
		for _, o := range others {
			sameEpoch(t, g, o)
		}
		leaf := g.LocalLeaves()[0]
		say(t, g, leaf, "I am in", others...)
		say(t, others[0], others[0].LocalLeaves()[0], "hello", append(slices.Clone(others[1:]), g)...)
		if !bytes.Equal(w.hub.RatchetTree(), g.RatchetTree()) || !bytes.Equal(w.hub.state.contextBytes, g.state.contextBytes) {
			t.Error("the hub has another view")
		}
		reloaded := must(LoadGroup(w.cfg, g.Snapshot()))(t)
		data := commit(t, reloaded, leaf, CommitOptions{}).Message // and it can commit, after a reload too
		for _, o := range others {
			receive(t, o, data)
		}
		sameEpoch(t, reloaded, others[0])
	}
	t.Run("join", func(t *testing.T) {
		w := newTrio(t)
		g, step := w.externalJoin("dave", ExternalOptions{RatchetTree: w.alice.RatchetTree(), Framing: Framing{AAD: []byte("aad")}})
		if !step.Commit.External || step.Commit.Committer != 3 || string(step.AuthenticatedData) != "aad" || step.GroupInfo == nil {
			t.Errorf("step: %+v", step)
		}
		w.deliver(step.Message, nil)
		together(t, w, g, w.alice, w.bob, w.carol)
	})
	t.Run("with the GroupInfo of the one before", func(t *testing.T) {
		w := newTrio(t)
		g, step := w.externalJoin("dave", ExternalOptions{GroupInfoTree: true})
		w.deliver(step.Message, nil)
		h, second, err := ExternalCommit(w.cfg, step.GroupInfo, testTemplate(t, w.cfg, X25519AES128, "erin"), ExternalOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.deliver(second.Message, nil)
		receive(t, g, second.Message)
		together(t, w, h, g, w.alice, w.bob, w.carol)
	})
	t.Run("resync", func(t *testing.T) {
		w := newTrio(t)
		old := LeafIndex(2)
		g, step := w.externalJoin("carol", ExternalOptions{Remove: &old})
		if !slices.Equal(step.Commit.Removed, []LeafIndex{2}) || !g.IsLocal(2) {
			t.Errorf("removed %v, local %v", step.Commit.Removed, g.LocalLeaves())
		}
		gone := receive(t, w.carol, step.Message)
		if !slices.Equal(gone.Commit.Left, []LeafIndex{2}) {
			t.Errorf("carol's old state left %v", gone.Commit.Left)
		}
		w.carol = g
		w.deliver(step.Message, g)
		together(t, w, g, w.alice, w.bob)
	})
	t.Run("PSKs", func(t *testing.T) {
		w := newTrio(t)
		resumption := must(w.carol.ResumptionPSK(1))(t)
		w.cfg.PSK = func(id *PreSharedKeyID) ([]byte, error) {
			if id.Type == PSKResumption {
				return resumption, nil // carol kept it
			}
			return []byte("secret"), nil
		}
		psks := []Proposal{{Type: ProposalPSK, PSK: w.psk("one")}, {Type: ProposalPSK, PSK: w.psk("two")}, {Type: ProposalPSK, PSK: &PreSharedKeyID{
			Type: PSKResumption, Usage: UsageApplication, GroupID: w.alice.GroupID(), Epoch: 1, Nonce: w.psk("").Nonce}}}
		g, step := w.externalJoin("dave", ExternalOptions{Proposals: psks})
		w.deliver(step.Message, nil)
		together(t, w, g, w.alice, w.bob, w.carol)
	})
	t.Run("application data", func(t *testing.T) {
		w := newTrio(t)
		ephemeral := Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: testAppend, Data: []byte("x")}}
		g, step := w.externalJoin("dave", ExternalOptions{Proposals: []Proposal{appData("a"), ephemeral, appData("b")}})
		w.deliver(step.Message, nil)
		if data, _ := must(g.Context().Dictionary())(t).Get(testAppend); string(data) != "ab" {
			t.Errorf("component is %q", data)
		}
		together(t, w, g, w.alice, w.bob, w.carol)
	})
	t.Run("self_removes", func(t *testing.T) {
		w := newTrio(t)
		var pending []*Message
		for _, leaving := range []*Group{w.bob, w.carol} {
			step := must(leaving.Propose(leaving.LocalLeaves()[0], Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t)
			settle(t, leaving, step)
			w.deliver(step.Message, leaving)
			pending = append(pending, must(ParseMessage(step.Message))(t))
		}
		other := w.send(w.alice, appData("not for the joiner"))
		pending = append(pending, &Message{WireFormat: WirePublicMessage, Public: &PublicMessage{Content: FramedContent{ContentType: ContentProposal, Proposal: other.Proposal}}})
		g, step := w.externalJoin("dave", ExternalOptions{Pending: pending})
		if !slices.Equal(step.Commit.Removed, []LeafIndex{1, 2}) {
			t.Errorf("removed %v", step.Commit.Removed)
		}
		w.deliver(step.Message, nil)
		if len(w.bob.leaves)+len(w.carol.leaves) > 0 || len(g.proposals) > 0 || g.MemberCount() != 2 {
			t.Error("not left")
		}
		together(t, w, g, w.alice)
	})
	t.Run("the last member leaves", func(t *testing.T) { // nobody but the hub can take this commit
		cfg := suspiciousConfig()
		alice := newGroup(t, cfg, X25519AES128, "alice")
		info := must(alice.GroupInfo(0, true))(t)
		hub := must(NewPublicGroup(cfg, info, nil))(t)
		leaving := must(alice.Propose(0, Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t)
		m := must(ParseMessage(leaving.Message))(t)
		settle(t, hub, must(hub.Process(m))(t))
		g, step, err := ExternalCommit(cfg, info, testTemplate(t, cfg, X25519AES128, "bob"), ExternalOptions{Pending: []*Message{m}})
		if err != nil {
			t.Fatal(err)
		}
		settle(t, hub, must(hub.Merge(must(hub.Process(must(ParseMessage(step.Message))(t)))(t)))(t))
		if hub.MemberCount() != 1 || !bytes.Equal(hub.RatchetTree(), g.RatchetTree()) {
			t.Error("the hub has another view")
		}
		receive(t, alice, step.Message)
	})
	t.Run("recovery with our people", func(t *testing.T) {
		cfg := suspiciousConfig()
		cfg.AllowExternalAdds = true
		w := newTrioOf(t, cfg, nil, CommitOptions{})
		own := newMembers(t, cfg, X25519AES128, "ours", 5)
		friend := newMember(t, cfg, X25519AES128, "friend")
		g, step := w.externalJoin("gateway", ExternalOptions{Own: own, OmitOwnWelcome: true, WelcomeTree: true, Proposals: adds(friend)})
		w.deliver(step.Message, nil)
		if len(g.leaves) != 6 || len(step.Welcome.Secrets) != 1 {
			t.Errorf("%d local leaves, Welcome for %d", len(g.leaves), len(step.Welcome.Secrets))
		}
		f := join(t, cfg, step.Welcome, nil, friend)
		for _, leaf := range g.LocalLeaves() {
			say(t, g, leaf, fmt.Sprintf("leaf %d", leaf), w.alice, w.bob, w.carol, f)
		}
		together(t, w, g, w.alice, w.bob, w.carol, f)
		strict := suspiciousConfig()
		hub := must(NewPublicGroup(strict, must(w.alice.GroupInfo(0, true))(t), nil))(t)
		_, step = w.externalJoin("another", ExternalOptions{Own: newMembers(t, cfg, X25519AES128, "theirs", 1)})
		unchanged(t, "strict hub", hub, ErrProposal, "type 0x0001 in an external commit", func() error {
			_, err := hub.Process(must(ParseMessage(step.Message))(t))
			return err
		})
	})
	t.Run("a further leaf of ours", func(t *testing.T) {
		w := newTrio(t)
		own := newMembers(t, w.cfg, X25519AES128, "ours", 3)
		step := commit(t, w.alice, 0, CommitOptions{Own: own, OmitOwnWelcome: true})
		w.deliver(step.Message, w.alice)
		second, step := w.externalJoin("second", ExternalOptions{})
		entered := second.LocalLeaves()[0]
		w.deliver(step.Message, w.alice)
		received := must(w.alice.Process(must(ParseMessage(step.Message))(t), Arrival{Entered: second}))(t)
		settle(t, w.alice, must(w.alice.Merge(received))(t))
		if !w.alice.IsLocal(entered) || len(w.alice.LocalLeaves()) != 5 {
			t.Fatalf("local leaves %v, entered %d", w.alice.LocalLeaves(), entered)
		}
		say(t, w.alice, entered, "from the second", w.bob, w.carol)
		w.alice = must(LoadGroup(w.cfg, w.alice.Snapshot()))(t)
		// Its keys are all there: a commit of somebody else's is opened also where only the new leaf can.
		step = commit(t, w.bob, 1, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 0}}})
		w.deliver(step.Message, w.bob)
		say(t, w.alice, entered, "still", w.bob, w.carol)
	})
}

// TestExternalSenders has a hub propose everything it may, and newcomers themselves (RFC 9420 §12.1.8; ext §7.2).
func TestExternalSenders(t *testing.T) {
	cfg := suspiciousConfig()
	hubKey := must(cfg.Suites.NewSignatureKey(X25519AES128, cfg.random()))(t)
	senders := Extension{ExtExternalSenders, Marshal(ExternalSenders{{hubKey.PublicBytes(), BasicCredential([]byte("hub"))}})}
	w := newTrio(t, senders, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	propose := func(p Proposal) *Step {
		t.Helper()
		m := must(w.hub.ExternalProposal(0, hubKey, p, Framing{AAD: []byte("hub says")}))(t)
		data := Marshal(m)
		w.deliver(data, nil)
		step := must(w.hub.Process(m))(t) // again: known
		if step.Proposal.Sender.Type != SenderExternal || string(step.AuthenticatedData) != "hub says" {
			t.Errorf("sender %v", step.Proposal.Sender)
		}
		settle(t, w.hub, step)
		return step
	}
	dave := newMember(t, cfg, X25519AES128, "dave")
	propose(adds(dave)[0])
	propose(Proposal{Type: ProposalRemove, Remove: 2})
	propose(Proposal{Type: ProposalPSK, PSK: w.psk("known")})
	propose(appData("+"))
	propose(Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: testAppend, Data: []byte("x")}})
	xs := slices.Clone(w.alice.state.context.Extensions)
	xs = append(xs, Extension{ExtRequiredCapabilities, Marshal(&RequiredCapabilities{})})
	propose(Proposal{Type: ProposalGroupContextExtensions, Extensions: xs})
	erin := newMember(t, cfg, X25519AES128, "erin")
	m := must(NewMemberProposal(cfg, w.alice.Context(), erin, Framing{}))(t)
	w.deliver(Marshal(m), nil)
	if len(w.alice.Proposals()) != 7 || len(w.hub.Proposals()) != 7 {
		t.Fatalf("%d proposals", len(w.alice.Proposals()))
	}
	alice := must(LoadGroup(cfg, stored(w.alice).records()))(t) // they survive a reload
	step := commit(t, alice, 0, CommitOptions{WelcomeTree: true})
	receive(t, w.bob, step.Message)
	receive(t, w.carol, step.Message)
	sameEpoch(t, alice, w.bob)
	if len(step.Commit.Proposals) != 7 || len(step.Commit.Added) != 2 || len(step.Commit.Removed) != 1 {
		t.Errorf("committed %d, added %d, removed %d", len(step.Commit.Proposals), len(step.Commit.Added), len(step.Commit.Removed))
	}
	together := join(t, cfg, step.Welcome, nil, dave, erin)
	sameEpoch(t, together, alice)
	if data, _ := must(alice.Context().Dictionary())(t).Get(testAppend); string(data) != "-+" {
		t.Errorf("component is %q", data)
	}
	if _, ok := alice.Context().Extensions.Get(ExtRequiredCapabilities); !ok {
		t.Error("the context extensions were not replaced")
	}
	reinit := Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: P256AES128}}
	receive(t, w.bob, Marshal(must(w.bob.ExternalProposal(0, hubKey, reinit, Framing{}))(t)))
	if commit(t, w.bob, 1, CommitOptions{}); w.bob.ReInit() == nil {
		t.Error("not reinitialised")
	}
}

// TestPendingThatClash: proposals that were fine one by one but not together do not keep anyone from committing.
func TestPendingThatClash(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).With(testReplace, []byte("=")).Extension())
	twin := forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "twin"), func(l *LeafNode) { l.EncryptionKey = w.carol.state.tree.leaf(2).EncryptionKey }, nil)
	dave := newMember(t, w.cfg, X25519AES128, "dave")
	w.send(w.bob, adds(twin)[0])
	w.send(w.bob, adds(dave)[0])
	w.send(w.bob, Proposal{Type: ProposalPSK, PSK: w.psk("lost")})
	w.send(w.carol, Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: 0x9999, Operation: OpUpdate}})
	w.send(w.carol, Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: testReplace, Operation: OpUpdate, Update: []byte("1")}})
	w.send(w.carol, Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: testReplace, Operation: OpUpdate, Update: []byte("2")}})
	w.send(w.carol, Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{{0xf00f, nil}}})
	w.update(w.bob)
	latest := w.update(w.bob)
	reinit := w.send(w.bob, Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("g"), Version: MLS10, CipherSuite: 1}})
	step := commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{appData("+")}})
	w.deliver(step.Message, w.alice)
	sameEpoch(t, w.alice, w.bob)
	refs := map[ProposalRef]bool{}
	for _, p := range step.Commit.Proposals {
		refs[p.Ref] = true
	}
	if !refs[latest.Ref] || refs[reinit.Ref] || len(step.Commit.Added) != 1 || step.Commit.Added[0].KeyPackage.LeafNode.Credential.Equal(&twin.KeyPackage.LeafNode.Credential) {
		t.Errorf("committed %v", step.Commit.Proposals)
	}
	dict := must(w.bob.Context().Dictionary())(t)
	if a, _ := dict.Get(testAppend); string(a) != "-+" {
		t.Errorf("component is %q", a)
	}
	if r, _ := dict.Get(testReplace); string(r) != "1" {
		t.Errorf("component is %q", r)
	}
	// By value wins over pending.
	w.update(w.carol)
	xs := w.alice.Context().Extensions
	w.send(w.carol, Proposal{Type: ProposalGroupContextExtensions, Extensions: xs})
	w.send(w.carol, Proposal{Type: ProposalRemove, Remove: 1})
	w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 2}, {Type: ProposalRemove, Remove: 1},
		{Type: ProposalGroupContextExtensions, Extensions: append(slices.Clone(xs), Extension{ExtRequiredCapabilities, Marshal(&RequiredCapabilities{})})}}}).Message, w.alice)
	if _, ok := w.alice.Context().Extensions.Get(ExtRequiredCapabilities); !ok || w.alice.MemberCount() != 2 {
		t.Errorf("%d members, extensions %v", w.alice.MemberCount(), w.alice.Context().Extensions)
	}
}

// TestPSK mixes all types of pre-shared keys into one epoch, for members and for those who join (RFC 9420 §8.4; ext §4.5).
func TestPSK(t *testing.T) {
	w := newTrio(t)
	w.alive()
	w.cfg.PSK = func(id *PreSharedKeyID) ([]byte, error) {
		switch id.Type {
		case PSKExternal:
			return append([]byte("external "), id.ID...), nil
		case PSKApplication:
			return fmt.Appendf(nil, "application %d %s", id.Component, id.ID), nil
		case PSKResumption: // the newcomer got it out of band
			return w.alice.ResumptionPSK(id.Epoch)
		}
		return nil, errors.New("unknown")
	}
	nonce := w.psk("").Nonce
	ids := []*PreSharedKeyID{
		{Type: PSKExternal, ID: []byte("a"), Nonce: nonce},
		{Type: PSKApplication, Component: testAppend, ID: []byte("a"), Nonce: nonce},
		{Type: PSKApplication, Component: testReplace, ID: []byte("a"), Nonce: nonce},
		{Type: PSKResumption, Usage: UsageApplication, GroupID: w.alice.GroupID(), Epoch: 1, Nonce: nonce},
		{Type: PSKResumption, Usage: UsageApplication, GroupID: w.alice.GroupID(), Epoch: 2, Nonce: nonce},
	}
	w.send(w.bob, Proposal{Type: ProposalPSK, PSK: ids[0]})
	o := CommitOptions{WelcomeTree: true, OmitPath: true}
	for _, id := range ids[1:] {
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalPSK, PSK: id})
	}
	dave := newMember(t, w.cfg, X25519AES128, "dave")
	o.Proposals = append(o.Proposals, adds(dave)...)
	twin := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
	step := commit(t, w.alice, 0, o)
	w.deliver(step.Message, w.alice)
	sameEpoch(t, w.alice, w.bob)
	sameEpoch(t, w.alice, join(t, w.cfg, step.Welcome, nil, dave))
	other := *w.cfg // who knows another secret ends up elsewhere, and notices
	other.PSK = func(*PreSharedKeyID) ([]byte, error) { return []byte("wrong"), nil }
	twin.cfg = &other
	unchanged(t, "twin", twin, ErrConfirmationTag, "", func() error { _, err := twin.Process(must(ParseMessage(step.Message))(t), Arrival{}); return err })
	if _, err := JoinWelcome(&other, step.Welcome, JoinOptions{Own: []*JoinSecrets{dave}}); !errors.Is(err, ErrDecrypt) {
		t.Errorf("joined with another PSK: %v", err)
	}
	for epoch, want := range map[uint64]error{3: nil, 1: nil, 4: ErrPSK} {
		if _, err := w.bob.ResumptionPSK(epoch); !errors.Is(err, want) {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
}

// TestReInit closes a group and opens its successor, in other suites (RFC 9420 §11.2).
func TestReInit(t *testing.T) {
	for _, id := range []CipherSuite{X25519AES128, P256AES128, MLKEM768X25519AES128} {
		t.Run(fmt.Sprintf("suite%#04x", id), func(t *testing.T) {
			w := newTrio(t)
			said := must(w.carol.Protect(2, []byte("before"), Framing{}))(t)
			settle(t, w.carol, said)
			dict := AppDataDictionary{}.With(testAppend, []byte("new"))
			w.send(w.bob, Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: id, Extensions: Extensions{dict.Extension()}}})
			w.deliver(commit(t, w.alice, 0, CommitOptions{OmitPath: true}).Message, w.alice)
			sameEpoch(t, w.alice, w.bob)
			closed(t, w)
			receive(t, w.bob, said.Message) // what was said before can still be read
			w.bob = must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
			closed(t, w)

			kps := []*JoinSecrets{newMember(t, w.cfg, id, "alice"), newMember(t, w.cfg, id, "bob"), newMember(t, w.cfg, id, "carol")}
			if _, _, err := w.bob.Successor(UsageReInit, nil, nil, newMember(t, w.cfg, X25519ChaCha, "bob"), CommitOptions{}); !errors.Is(err, ErrReInit) {
				t.Errorf("successor of another suite: %v", err)
			}
			bob, step, err := w.bob.Successor(UsageReInit, nil, nil, kps[1], CommitOptions{Proposals: adds(kps[0], kps[2]), WelcomeTree: true})
			if err != nil {
				t.Fatal(err)
			}
			settle(t, bob, must(bob.Merge(step))(t))
			if string(bob.GroupID()) != "next" || bob.Epoch() != 1 || bob.CipherSuite() != id {
				t.Errorf("successor %q, epoch %d, suite %#04x", bob.GroupID(), bob.Epoch(), bob.CipherSuite())
			}
			for i, old := range []*Group{w.alice, w.carol} {
				g := must(JoinWelcome(w.cfg, step.Welcome, JoinOptions{Own: []*JoinSecrets{kps[2*i]}, Previous: old}))(t)
				sameEpoch(t, g, bob)
				say(t, bob, 0, "welcome back", g)
			}
			if _, err := JoinWelcome(w.cfg, step.Welcome, JoinOptions{Own: []*JoinSecrets{kps[0]}}); !errors.Is(err, ErrPSK) {
				t.Errorf("joined without the old group: %v", err)
			}
		})
	}
}

// closed checks that nothing more can be done in a group that was reinitialised.
func closed(t *testing.T, w *trio) {
	t.Helper()
	_, protect := w.bob.Protect(1, []byte("x"), Framing{})
	_, commit := w.bob.Commit(1, CommitOptions{})
	_, propose := w.bob.Propose(1, appData("x"), Framing{}, false)
	_, update := w.bob.ProposeUpdate(1, nil, Framing{}, false)
	twin := must(LoadGroup(w.cfg, stored(w.alice).records()))(t)
	twin.state.reinit = nil
	data := must(twin.Commit(0, CommitOptions{}))(t).Message
	_, process := w.bob.Process(must(ParseMessage(data))(t), Arrival{})
	_, follow := w.hub.Process(must(ParseMessage(data))(t))
	for i, err := range []error{protect, commit, propose, update, process, follow} {
		if !errors.Is(err, ErrReInit) {
			t.Errorf("operation %d in a closed group: %v", i, err)
		}
	}
	if w.bob.ReInit() == nil || w.hub.ReInit() == nil {
		t.Error("ReInit is not known")
	}
}

// TestBranch makes a subgroup (RFC 9420 §11.3), also with a credential that only the application knows to be the same member's.
func TestBranch(t *testing.T) {
	w := newTrio(t)
	a, b := newMember(t, w.cfg, X25519AES128, "alice"), newMember(t, w.cfg, X25519AES128, "bob")
	alice, step, err := w.alice.Successor(UsageBranch, []byte("branch"), nil, a, CommitOptions{Proposals: adds(b), WelcomeTree: true})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, alice, must(alice.Merge(step))(t))
	bob := must(JoinWelcome(w.cfg, step.Welcome, JoinOptions{Own: []*JoinSecrets{b}, Previous: w.bob}))(t)
	sameEpoch(t, alice, bob)
	w.alive() // the old group lives on

	b = newMember(t, w.cfg, X25519AES128, "bob at work")
	_, step, err = w.alice.Successor(UsageBranch, []byte("branch"), nil, a, CommitOptions{Proposals: adds(b), WelcomeTree: true})
	if err != nil {
		t.Fatal(err)
	}
	o := JoinOptions{Own: []*JoinSecrets{b}, Previous: w.bob}
	if _, err := JoinWelcome(w.cfg, step.Welcome, o); !errors.Is(err, ErrWelcome) {
		t.Errorf("joined with a stranger: %v", err)
	}
	cfg := *w.cfg
	cfg.VerifySuccessor = func(old, next *Credential) error {
		if bytes.HasPrefix(next.Identity, old.Identity) {
			return nil
		}
		return errors.New("someone else")
	}
	must(JoinWelcome(&cfg, step.Welcome, o))(t)
}

// TestJoinMany joins with many leaves by one Welcome: all of them are in, and everything a single leaf would know is known.
func TestJoinMany(t *testing.T) {
	w := newTrio(t)
	ours := newMembers(t, w.cfg, X25519AES128, "ours", 7)
	stranger := newMember(t, w.cfg, X25519AES128, "stranger")
	step := commit(t, w.alice, 0, CommitOptions{Proposals: adds(append(slices.Clone(ours), stranger)...)})
	w.deliver(step.Message, w.alice)
	unused := newMember(t, w.cfg, X25519AES128, "unused")
	reversed := slices.Clone(ours) // the one whose path secret yields most is last
	slices.Reverse(reversed)
	g := join(t, w.cfg, step.Welcome, w.alice.RatchetTree(), append([]*JoinSecrets{unused}, reversed...)...)
	sameEpoch(t, g, w.bob)
	if !slices.Equal(g.LocalLeaves(), []LeafIndex{3, 4, 5, 6, 7, 8, 9}) {
		t.Fatalf("local leaves %v", g.LocalLeaves())
	}
	for i, j := range ours {
		single := join(t, w.cfg, step.Welcome, w.alice.RatchetTree(), j)
		for n, key := range single.private {
			if !bytes.Equal(g.private[n], key) {
				t.Errorf("leaf %d knows the key of node %d, the group does not", i+3, n)
			}
		}
		say(t, g, LeafIndex(i+3), fmt.Sprintf("I am %d", i), w.alice, w.bob)
	}
	data := commit(t, g, 6, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 4}}}).Message
	w.deliver(data, nil)
	sameEpoch(t, g, w.carol)
	w.alive()
}

// TestRemoteAdd has a remote commit add leaves of ours, with and without the need for its Welcome.
func TestRemoteAdd(t *testing.T) {
	cfg := testConfig()
	remote := newGroup(t, cfg, X25519AES128, "remote")
	others := newMembers(t, cfg, X25519AES128, "other", 1)
	ours := newMembers(t, cfg, X25519AES128, "ours", 4)
	step := commit(t, remote, 0, CommitOptions{Proposals: adds(others[0], ours[0]), WelcomeTree: true})
	g := join(t, cfg, step.Welcome, nil, ours[0]) // leaf 2
	add := func(o CommitOptions, j *JoinSecrets) (*Message, *Welcome) {
		o.Proposals = append(o.Proposals, adds(j)...)
		step := commit(t, remote, 0, o)
		return must(ParseMessage(step.Message))(t), step.Welcome
	}
	take := func(m *Message, with Arrival, joined LeafIndex) {
		t.Helper()
		merged := must(g.Merge(must(g.Process(m, with))(t)))(t)
		if !slices.Equal(merged.Commit.Joined, []LeafIndex{joined}) {
			t.Errorf("joined %v", merged.Commit.Joined)
		}
		settle(t, g, merged)
		sameEpoch(t, g, remote)
		say(t, g, joined, "here", remote)
	}
	// Leaf 3 is beside leaf 2: whatever it learns, leaf 2 learns as well.
	m, _ := add(CommitOptions{}, ours[1])
	take(m, Arrival{Own: ours}, 3)
	// Leaf 1 is beside the committer: only its Welcome has the secret of the node above them.
	m, welcome := add(CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 1}}}, ours[2])
	for _, c := range []struct {
		with Arrival
		want error
	}{
		{Arrival{Own: ours}, ErrNeedWelcome},
		{Arrival{Own: ours, Welcome: &Welcome{CipherSuite: X25519AES128}}, ErrWelcome},
		{Arrival{Own: ours, Welcome: step.Welcome}, ErrWelcome},
	} {
		unchanged(t, "ours", g, c.want, "", func() error { _, err := g.Process(m, c.with); return err })
	}
	bad := *welcome
	bad.Secrets = slices.Clone(welcome.Secrets)
	bad.Secrets[0].EncryptedGroupSecrets.Ciphertext = flip(bad.Secrets[0].EncryptedGroupSecrets.Ciphertext)
	unchanged(t, "ours", g, ErrDecrypt, "group secrets", func() error { _, err := g.Process(m, Arrival{Own: ours, Welcome: &bad}); return err })
	bare := must(g.suite.newWelcome(&GroupInfo{}, &epochSecrets{joiner: []byte("x"), welcome: make([]byte, 32)}, []AddedLeaf{{KeyPackage: &ours[2].KeyPackage}}, nil,
		func(LeafIndex) []byte { return nil }))(t)
	unchanged(t, "ours", g, ErrWelcome, "no path secret", func() error { _, err := g.Process(m, Arrival{Own: ours, Welcome: bare}); return err })
	take(m, Arrival{Own: ours, Welcome: welcome}, 1)
	// Without a path there is no secret to learn.
	m, _ = add(CommitOptions{OmitPath: true}, ours[3])
	take(m, Arrival{Own: ours}, 4)
	// Who is not told which leaves are ours treats them as anybody's.
	stray := newMember(t, cfg, X25519AES128, "stray")
	m, _ = add(CommitOptions{}, stray)
	merged := must(g.Merge(must(g.Process(m, Arrival{Own: newMembers(t, cfg, X25519AES128, "x", 1)}))(t)))(t)
	settle(t, g, merged)
	if len(merged.Commit.Joined) > 0 || g.IsLocal(5) {
		t.Error("a stranger's leaf became ours")
	}
}

// TestOwnWelcome: members added locally need no Welcome, and the others get one that does not name them.
func TestOwnWelcome(t *testing.T) {
	cfg := testConfig()
	g := newGroup(t, cfg, X25519AES128, "gateway")
	own, friend := newMembers(t, cfg, X25519AES128, "own", 3), newMember(t, cfg, X25519AES128, "friend")
	step := commit(t, g, 0, CommitOptions{Own: own, OmitOwnWelcome: true})
	if step.Welcome != nil || len(g.LocalLeaves()) != 4 {
		t.Errorf("Welcome %v, leaves %v", step.Welcome, g.LocalLeaves())
	}
	own = newMembers(t, cfg, X25519AES128, "more", 2)
	step = commit(t, g, 2, CommitOptions{Own: own, Proposals: adds(friend), OmitOwnWelcome: true, WelcomeTree: true, WantGroupInfo: true})
	if len(step.Welcome.Secrets) != 1 || len(g.LocalLeaves()) != 6 || !slices.Equal(step.Commit.Joined, []LeafIndex{5, 6}) {
		t.Errorf("Welcome for %d, leaves %v, joined %v", len(step.Welcome.Secrets), g.LocalLeaves(), step.Commit.Joined)
	}
	if _, ok := step.GroupInfo.Extensions.Get(ExtRatchetTree); ok {
		t.Error("the GroupInfo carries the tree though only the Welcome was to")
	}
	f := join(t, cfg, step.Welcome, nil, friend)
	sameEpoch(t, f, g)
	for _, leaf := range g.LocalLeaves() {
		say(t, g, leaf, "hi", f)
	}
	say(t, f, 4, "hi all", g)
}

// TestPrivateHandshake sends proposals and commits as PrivateMessages.
func TestPrivateHandshake(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	for range 2 {
		p := must(w.bob.Propose(1, appData("b"), Framing{AAD: []byte("aad"), Padding: 100}, true))(t)
		settle(t, w.bob, p)
		u := must(w.carol.ProposeUpdate(2, nil, Framing{}, true))(t)
		settle(t, w.carol, u)
		for _, g := range []*Group{w.alice, w.carol} {
			got := receive(t, g, p.Message)
			if got.Proposal.Sender.Leaf() != 1 || string(got.AuthenticatedData) != "aad" {
				t.Errorf("proposal %+v", got.Proposal)
			}
		}
		unchanged(t, "bob", w.bob, ErrOwnMessage, "", func() error { // an echo
			_, err := w.bob.Process(must(ParseMessage(p.Message))(t), Arrival{})
			return err
		})
		for _, g := range []*Group{w.alice, w.bob} {
			receive(t, g, u.Message)
		}
		step := commit(t, w.alice, 0, CommitOptions{Private: true, Framing: Framing{Padding: 7}})
		if len(step.Commit.Proposals) != 2 {
			t.Fatalf("%d proposals", len(step.Commit.Proposals))
		}
		m := must(ParseMessage(step.Message))(t)
		must(w.bob.Process(m, Arrival{}))(t) // processed twice, merged once
		w.deliver(step.Message, w.alice)
		sameEpoch(t, w.alice, w.bob)
		sameEpoch(t, w.alice, w.carol)
	}
	data, _ := must(w.bob.Context().Dictionary())(t).Get(testAppend)
	if string(data) != "-bb" {
		t.Errorf("component is %q", data)
	}
}
