package mls

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The checks of OpenMLS's list (validation.dhall in its organisation; "valn" + set + number), and where they are
// tested. Subtests carry the ids in their names. "—" is followed by why a check is not the engine's, or not testable.
//
//	valn0101–0108  leaf node: credential, signature, capabilities, lifetime, extensions, source   TestNegativeLeafNode, TestNegativeCredentialType (0104)
//	valn0109       update: source, fresh encryption key                                           TestNegativeLeafNode, TestNegativeUpdate
//	valn0110       path: source                                                                   TestNegativeLeafNode
//	valn0111–0112  unique signature and encryption keys                                           TestNegativeUniqueKeys
//	valn0201–0204  key package                                                                    TestNegativeKeyPackage
//	valn0301–0312  proposal list of a member's commit                                             TestNegativeProposalList, TestNegativeUniqueKeys (0306, 0312),
//	                                                                                              TestNegativeUnsupportedProposal (0311)
//	valn0401–0410  external commit                                                                TestNegativeExternalCommit
//	valn0403       any number of PSKs: — nothing to refuse; accepted in TestExternalCommit
//	valn0408       sender type of an external commit: — it is what makes it one; a mismatch is    TestNegativeFraming
//	valn0501–0502  add                                                                            TestNegativeLeafNode, TestNegativeKeyPackage
//	valn0601–0602  update; support of GroupContext extensions is demanded here as well            TestNegativeLeafNode
//	valn0701       remove                                                                         TestNegativeProposal
//	valn0801–0803  PSK                                                                            TestNegativeProposal
//	valn0901       reinit                                                                         TestNegativeProposal
//	valn1001       group_context_extensions                                                       TestNegativeContextExtensions
//	valn1101       ciphertexts of a path                                                          TestNegativeCommit
//	valn1201–1209  commit                                                                         TestNegativeCommit, TestNegativeFraming (1201–1203)
//	valn1301–1304  signature key, tags, padding                                                   TestNegativeFraming
//	valn1305       SenderData is made of members only: — Protect takes a leaf, nothing else
//	valn1306       sender data of a blank leaf                                                    TestNegativeFraming
//	valn1401–1418  Welcome                                                                        TestNegativeWelcome, TestNegativeTree, TestNegativeSuccession (1412–1414)
//	valn1403       group_id unique among the client's groups: — the caller knows its groups
//	valn1501–1506  external proposals                                                             TestNegativeExternalProposal, TestNegativeFraming (1501, 1503)
//	valn1505       external proposals as PrivateMessages: — the sender data of one names a leaf, nobody else
//	valn1601–1603  places of extensions                                                           TestNegativeExtensionPlaces
//
// OpenMLS's older ids (ValSem): 002–011 TestNegativeFraming; 101, 103–112 as valn0111…0304; 102 (init keys of two adds
// differ) — not in RFC 9420, and nothing hangs on it; 200–207 TestNegativeProposalList, TestNegativeCommit; 240–247
// TestNegativeExternalCommit; 300 TestNegativeTree; 400 Config.OldEpochs, TestOldEpochs; 401–403 TestNegativeProposal.

// trio is a group of three single-leaf members, leaves 0 to 2, and a hub.
type trio struct {
	testing.TB
	cfg               *Config
	alice, bob, carol *Group
	hub               *PublicGroup
}

// errMallory is what the authentication service of the tests says to one identity.
var errMallory = errors.New("mallory is not welcome")

func suspiciousConfig() *Config {
	cfg := testConfig()
	refuse := func(c *Credential, _ []byte) error {
		if bytes.HasPrefix(c.Identity, []byte("mallory")) {
			return errMallory
		}
		return nil
	}
	cfg.VerifyCredential, cfg.VerifyExternalSender = refuse, refuse
	cfg.PSK = func(id *PreSharedKeyID) ([]byte, error) {
		if bytes.HasPrefix(id.ID, []byte("known")) {
			return append([]byte("secret of "), id.ID...), nil
		}
		return nil, errors.New("unknown")
	}
	return cfg
}

func newTrio(t testing.TB, xs ...Extension) *trio {
	t.Helper()
	return newTrioOf(t, suspiciousConfig(), nil, CommitOptions{}, xs...)
}

// newTrioOf makes a trio whose leaves have the given capabilities; o says how bob and carol are added.
func newTrioOf(t testing.TB, cfg *Config, caps *Capabilities, o CommitOptions, xs ...Extension) *trio {
	t.Helper()
	member := func(name string) *JoinSecrets {
		template := testTemplate(t, cfg, X25519AES128, name)
		template.Capabilities = caps
		return must(NewKeyPackage(cfg, X25519AES128, template))(t)
	}
	w := &trio{TB: t, cfg: cfg}
	w.alice = must(NewGroup(cfg, []byte("trio"), xs, member("alice")))(t)
	b, c := member("bob"), member("carol")
	o.Proposals, o.WelcomeTree = adds(b, c), true
	step := commit(t, w.alice, 0, o)
	w.bob, w.carol = join(t, cfg, step.Welcome, nil, b), join(t, cfg, step.Welcome, nil, c)
	w.hub = must(NewPublicGroup(cfg, must(w.alice.GroupInfo(0, true))(t), nil))(t)
	return w
}

func (w *trio) groups() []*Group { return []*Group{w.alice, w.bob, w.carol} }

// deliver has everyone but its maker take a good message, commits included.
func (w *trio) deliver(data []byte, maker *Group) {
	w.Helper()
	for _, g := range w.groups() {
		if g != maker {
			receive(w, g, data)
		}
	}
	m := must(ParseMessage(data))(w)
	if m.WireFormat != WirePublicMessage {
		return
	}
	step := must(w.hub.Process(m))(w)
	if step.next != nil {
		step = must(w.hub.Merge(step))(w)
	}
	settle(w, w.hub, step)
}

// send makes a good proposal of a member and delivers it.
func (w *trio) send(by *Group, p Proposal) ResolvedProposal {
	w.Helper()
	step := must(by.Propose(by.LocalLeaves()[0], p, Framing{}, false))(w)
	settle(w, by, step)
	w.deliver(step.Message, by)
	return ResolvedProposal{Proposal: step.Proposal.Proposal, Sender: step.Proposal.Sender, Ref: step.Proposal.Ref}
}

// update makes a good Update of a member and delivers it.
func (w *trio) update(by *Group) ResolvedProposal {
	w.Helper()
	step := must(by.ProposeUpdate(by.LocalLeaves()[0], nil, Framing{}, false))(w)
	settle(w, by, step)
	w.deliver(step.Message, by)
	return ResolvedProposal{Proposal: step.Proposal.Proposal, Sender: step.Proposal.Sender, Ref: step.Proposal.Ref}
}

// wrong checks an error: its sentinel, and by a piece of its text that it is for the right reason.
func wrong(t testing.TB, who string, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: error %q, want %q and %q", who, err, want, text)
	}
}

// unchanged runs f, which is to fail, and checks that the group is as it was.
func unchanged(t testing.TB, who string, g interface{ Snapshot() []Record }, want error, text string, f func() error) {
	t.Helper()
	before := stored(g)
	err := f()
	if err == nil {
		t.Fatalf("%s: no error, want %q and %q", who, want, text)
	}
	wrong(t, who, err, want, text)
	if d := stored(g).differs(before); d != "" {
		t.Errorf("%s: changed: %s", who, d)
	}
	switch g := g.(type) {
	case *Group:
		if len(g.steps) > 0 {
			t.Errorf("%s: a step is staged", who)
		}
	case *PublicGroup:
		if len(g.steps) > 0 {
			t.Errorf("%s: a step is staged", who)
		}
	}
}

// refused gives a bad message to bob, and to the hub unless it cannot see what is wrong. Both must refuse it, be as they
// were, and take part in what follows.
func (w *trio) refused(data []byte, want error, text string, hub bool) {
	w.Helper()
	m, err := ParseMessage(data)
	if err != nil {
		w.Fatalf("not even a message: %v", err)
	}
	unchanged(w, "bob", w.bob, want, text, func() error {
		_, err := w.bob.Process(m, Arrival{})
		return err
	})
	if hub {
		unchanged(w, "hub", w.hub, want, text, func() error {
			_, err := w.hub.Process(m)
			return err
		})
	}
	w.alive()
}

// alive has alice commit and speak.
func (w *trio) alive() {
	w.Helper()
	step := commit(w, w.alice, 0, CommitOptions{NoPending: true})
	w.deliver(step.Message, w.alice)
	sameEpoch(w, w.alice, w.bob)
	sameEpoch(w, w.alice, w.carol)
	say(w, w.alice, 0, "all is well", w.bob, w.carol)
}

// declined checks that alice does not make such a commit herself, and is as she was.
func (w *trio) declined(o CommitOptions, want error, text string) {
	w.Helper()
	unchanged(w, "alice", w.alice, want, text, func() error {
		_, err := w.alice.Commit(0, o)
		return err
	})
}

// forgery makes a commit that is correctly signed, encrypted and tagged, but not checked: the keys of an honest member, whose
// group stays as it is, with whatever the hooks do. Without any it is a good commit.
type forgery struct {
	by     *Group
	list   []ResolvedProposal // without a Ref by value; a zero Sender is the committer
	noPath bool

	leaf       func(*LeafNode)   // of the path, before it is signed
	signedLeaf func(*LeafNode)   // of the path, after that
	keys       func([][]byte)    // public keys of the path, bottom up
	secrets    func([][]byte)    // path secrets, after their keys are derived
	path       func(*UpdatePath) // before the commit is signed
	content    func(*FramedContent)
	signer     *SignatureKey // of the commit, instead of the right one
	auth       func(*FramedContentAuthData)
	tag        func([]byte) []byte // membership tag

	joiner *LeafTemplate // makes it an external commit
	init   []byte        // its init secret
}

func (f *forgery) sender() Sender {
	if f.joiner != nil {
		return Sender{Type: SenderNewMemberCommit}
	}
	return Sender{Type: SenderMember, Index: uint32(f.by.LocalLeaves()[0])}
}

// draft applies the proposals that can be applied, in the order of RFC 9420 §12.3.
func (f *forgery) draft() *draft {
	g := f.by
	d := &draft{next: &next{base: g.state, external: f.joiner != nil, fresh: map[LeafIndex]bool{}},
		edit: g.state.tree.edit(), context: g.state.context}
	d.context.Epoch++
	for _, p := range f.list {
		if p.Sender == (Sender{}) {
			p.Sender = f.sender()
		}
		d.proposals = append(d.proposals, p)
	}
	if f.joiner == nil {
		d.committer = g.LocalLeaves()[0]
	}
	for _, p := range d.proposals {
		if p.Proposal.Type == ProposalGroupContextExtensions {
			d.context.Extensions = p.Proposal.Extensions
		}
	}
	if xs, err := applyAppData(g.cfg, d.context.Extensions, d.proposals); err == nil {
		d.context.Extensions = xs
	}
	gone := map[LeafIndex]bool{}
	for _, p := range d.proposals {
		switch i := p.removes(); {
		case p.Proposal.Type == ProposalUpdate:
			d.edit.update(p.Sender.Leaf(), p.Proposal.Update)
		case g.state.tree.leaf(i) != nil && !gone[i] && (d.external || i != d.committer):
			gone[i] = true
			d.edit.remove(i)
		}
	}
	d.edit.truncate()
	for _, p := range d.proposals {
		if p.Proposal.Type == ProposalAdd {
			if i, err := d.edit.add(&p.Proposal.Add.LeafNode); err == nil {
				d.fresh[i] = true
			}
		}
	}
	return d
}

// message makes the commit.
func (f *forgery) message(t testing.TB) []byte {
	t.Helper()
	g, s, d := f.by, f.by.suite, f.draft()
	c := &Commit{}
	for _, p := range d.proposals {
		if p.Ref != "" {
			c.Proposals = append(c.Proposals, ProposalOrRef{Ref: p.Ref})
		} else {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: p.Proposal})
		}
	}
	commitSecret, key := make([]byte, s.nh), g.leaves[d.committer]
	var tr tree
	if f.noPath {
		tr = d.edit.finish(s)
		d.context.TreeHash = tr.root.hash
	} else {
		commitSecret, tr = f.makePath(t, d)
		c.Path = d.path
	}
	a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{GroupID: g.GroupID(), Epoch: g.Epoch(),
		Sender: f.sender(), ContentType: ContentCommit, Commit: c}}
	if f.content != nil {
		f.content(&a.Content)
	}
	signer := f.signer
	switch {
	case signer != nil:
	case f.joiner != nil:
		signer = f.joiner.Signature
	default:
		signer = key.signature
	}
	if err := a.sign(s, signer, g.state.contextBytes); err != nil {
		t.Fatal(err)
	}
	d.context.ConfirmedTranscriptHash = s.confirmedTranscriptHash(g.state.interim, a)
	psks, err := g.pskInputs(d.proposals)
	if err != nil {
		psks = nil
	}
	init := g.secrets.init
	if f.init != nil {
		init = f.init
	}
	secrets := s.keySchedule(init, commitSecret, s.pskSecret(psks), Marshal(&d.context))
	a.Auth.ConfirmationTag = s.mac(secrets.confirm, d.context.ConfirmedTranscriptHash)
	if f.auth != nil {
		f.auth(&a.Auth)
	}
	m := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if a.Content.Sender.Type == SenderMember {
		m.MembershipTag = a.membershipTag(s, g.secrets.membership, g.state.contextBytes)
	}
	if f.tag != nil {
		m.MembershipTag = f.tag(m.MembershipTag)
	}
	return Marshal(&Message{WireFormat: WirePublicMessage, Public: m})
}

// makePath is RFC 9420 §7.4 to §7.6 with hooks.
func (f *forgery) makePath(t testing.TB, d *draft) (commitSecret []byte, tr tree) {
	g, s := f.by, f.by.suite
	_, public, err := s.hpke.NewKeyPair(g.cfg.random())
	if err != nil {
		t.Fatal(err)
	}
	leaf, signer := new(LeafNode), (*SignatureKey)(nil)
	if f.joiner != nil {
		*leaf = LeafNode{Credential: f.joiner.Credential, SignatureKey: f.joiner.Signature.PublicBytes(),
			Capabilities: orCapabilities(f.joiner.Capabilities, s.id), Extensions: f.joiner.Extensions}
		signer = f.joiner.Signature
		d.committer = must(d.edit.add(leaf))(t)
	} else {
		*leaf = *g.state.tree.leaf(d.committer)
		signer = g.leaves[d.committer].signature
		d.edit.setLeaf(d.committer, leaf)
	}
	leaf.EncryptionKey, leaf.Source, leaf.Lifetime = public, SourceCommit, Lifetime{}
	if f.leaf != nil {
		f.leaf(leaf)
	}
	d.steps = d.edit.filteredPath(d.committer)
	d.path = &UpdatePath{Nodes: make([]UpdatePathNode, len(d.steps))}
	secret := must(randomBytes(g.cfg.random(), s.nh))(t)
	var secrets, keys [][]byte
	for range d.steps {
		secrets = append(secrets, secret)
		_, public, err := s.hpke.KeyPair(s.derive(secret, "node"))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, public)
		secret = s.derive(secret, "path")
	}
	if f.keys != nil {
		f.keys(keys)
	}
	parentHash := d.edit.mergePath(s, d.committer, d.steps, keys)
	if leaf.ParentHash == nil || f.joiner == nil && bytes.Equal(leaf.ParentHash, g.state.tree.leaf(d.committer).ParentHash) {
		leaf.ParentHash = parentHash // unless a hook has put another there
	}
	if err := leaf.sign(s, signer, g.GroupID(), d.committer); err != nil {
		t.Fatal(err)
	}
	if f.signedLeaf != nil {
		f.signedLeaf(leaf)
	}
	tr = d.edit.finish(s)
	d.context.TreeHash = tr.root.hash
	d.pathInfo = d.context.pathInfo()
	if f.secrets != nil {
		f.secrets(secrets)
	}
	for k, step := range d.steps {
		n := &d.path.Nodes[k]
		n.EncryptionKey = keys[k]
		for _, r := range d.recipients(nil, tr, step) {
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, must(s.hpke.Seal(r.encryptionKey(), d.pathInfo, secrets[k]))(t))
		}
	}
	d.path.LeafNode = *leaf
	if f.path != nil {
		f.path(d.path)
	}
	return secret, tr
}

// forgeProposal makes a correctly signed and tagged proposal without checking it.
func forgeProposal(t testing.TB, by *Group, p Proposal, hooks ...func(*AuthenticatedContent)) []byte {
	t.Helper()
	leaf := by.LocalLeaves()[0]
	a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{GroupID: by.GroupID(), Epoch: by.Epoch(),
		Sender: Sender{Type: SenderMember, Index: uint32(leaf)}, ContentType: ContentProposal, Proposal: &p}}
	for _, h := range hooks {
		h(a)
	}
	if err := a.sign(by.suite, by.leaves[leaf].signature, by.state.contextBytes); err != nil {
		t.Fatal(err)
	}
	return by.framePublic(a)
}

// forgeKeyPackage makes a key package whose leaf node and outside the hooks may change before each is signed.
func forgeKeyPackage(t testing.TB, cfg *Config, template LeafTemplate, leaf func(*LeafNode), outer func(*KeyPackage)) *JoinSecrets {
	t.Helper()
	j := must(NewKeyPackage(cfg, X25519AES128, template))(t)
	s := must(cfg.suites().get(X25519AES128))(t)
	k := &j.KeyPackage
	if leaf != nil {
		leaf(&k.LeafNode)
		if err := k.LeafNode.sign(s, template.Signature, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	if outer != nil {
		outer(k)
	}
	k.Signature = must(s.sign(template.Signature, "KeyPackageTBS", k.tbs()))(t)
	return j
}

// TestForgeryIsGood: what the negative tests forge is accepted when no hook spoils it, so that a refusal is due to the hook.
func TestForgeryIsGood(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	good := func(f *forgery) {
		t.Helper()
		m := must(ParseMessage(f.message(t)))(t)
		must(w.bob.Process(m, Arrival{}))(t)
		must(w.hub.Process(m))(t)
		w.alive()
	}
	good(&forgery{by: w.alice})
	good(&forgery{by: w.alice, list: values(adds(newMembers(t, w.cfg, X25519AES128, "dave", 3)...)...)})
	good(&forgery{by: w.alice, list: values(adds(newMember(t, w.cfg, X25519AES128, "erin"))...), noPath: true})
	good(&forgery{by: w.alice, list: values(Proposal{Type: ProposalRemove, Remove: 2})})
	good(&forgery{by: w.alice, list: []ResolvedProposal{w.update(w.carol), w.send(w.carol, appData("x"))}})
	good(&forgery{by: w.alice, list: values(Proposal{Type: ProposalGroupContextExtensions, Extensions: w.alice.state.context.Extensions}, appData("y"))})
	f := w.external("frank")
	f.list = append(f.list, values(Proposal{Type: ProposalPSK, PSK: w.psk("known")})...)
	good(f)
	m := must(ParseMessage(forgeProposal(t, w.alice, appData("z"))))(t)
	if err := w.bob.Discard(must(w.bob.Process(m, Arrival{}))(t)); err != nil {
		t.Fatal(err)
	}
	w.alive()
}

// values are proposals by value.
func values(ps ...Proposal) []ResolvedProposal {
	var out []ResolvedProposal
	for _, p := range ps {
		out = append(out, ResolvedProposal{Proposal: &p})
	}
	return out
}

// proposals is the opposite of values; only what is by value counts.
func proposals(list []ResolvedProposal) []Proposal {
	var out []Proposal
	for _, p := range list {
		if p.Ref == "" {
			out = append(out, *p.Proposal)
		}
	}
	return out
}

func appData(update string) Proposal {
	return Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: testAppend, Operation: OpUpdate, Update: []byte(update)}}
}

func (w *trio) psk(id string) *PreSharedKeyID {
	return &PreSharedKeyID{Type: PSKExternal, ID: []byte(id), Nonce: bytes.Repeat([]byte{7}, w.alice.suite.nh)}
}

// external is a good external commit of a newcomer.
func (w *trio) external(name string) *forgery {
	w.Helper()
	info := must(w.alice.GroupInfo(0, false))(w)
	kem, init, err := w.alice.suite.hpke.ExternalInit(must(info.externalPub())(w))
	if err != nil {
		w.Fatal(err)
	}
	template := testTemplate(w, w.cfg, X25519AES128, name)
	return &forgery{by: w.alice, joiner: &template, init: init, list: values(Proposal{Type: ProposalExternalInit, KEMOutput: kem})}
}

// flip returns a copy with one bit changed in the middle.
func flip(b []byte) []byte {
	c := slices.Clone(b)
	if len(c) == 0 {
		return []byte{1}
	}
	c[len(c)/2] ^= 1
	return c
}
