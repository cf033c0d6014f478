package mls

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the groups of the leaf node tests ask of their members beyond the default.
const (
	oddExtension  ExtensionType  = 0xf001 // required
	usedExtension ExtensionType  = 0xf002 // in the GroupContext
	oddProposal   ProposalType   = 0xf003 // required
	oddCredential CredentialType = 0xf004 // required
)

func demandingCapabilities() *Capabilities {
	c := DefaultCapabilities(X25519AES128)
	c.Extensions = append(c.Extensions, oddExtension, usedExtension)
	c.Proposals = append(c.Proposals, oddProposal)
	c.Credentials = append(c.Credentials, oddCredential)
	return c
}

func newDemandingTrio(t testing.TB, o CommitOptions) *trio {
	t.Helper()
	cfg := suspiciousConfig()
	cfg.MaxLifetime = 100 * 24 * time.Hour
	required := &RequiredCapabilities{Extensions: []ExtensionType{oddExtension}, Proposals: []ProposalType{oddProposal}, Credentials: []CredentialType{oddCredential}}
	return newTrioOf(t, cfg, demandingCapabilities(), o, Extension{ExtRequiredCapabilities, Marshal(required)}, Extension{usedExtension, []byte{1}},
		AppDataDictionary{}.With(ComponentAppComponents, Marshal(ComponentsList{testAppend})).Extension())
}

// without returns a copy of a list without one value.
func without[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x == v })
}

// edited changes a copy of the leaf's capabilities, which others share.
func edited(f func(*Capabilities)) func(*LeafNode) {
	return func(l *LeafNode) {
		c := *l.Capabilities
		f(&c)
		l.Capabilities = &c
	}
}

func withDictionary(data []byte) func(*LeafNode) {
	return func(l *LeafNode) { l.Extensions = Extensions{{ExtAppDataDictionary, data}} }
}

// leafDefects are the ways in which a leaf node is invalid by itself or for the group (RFC 9420 §7.2, §7.3, §13.4, §17.3,
// mls-extensions-10 §4.6, §4.7, §5).
var leafDefects = []struct {
	name string
	want error
	text string
	do   func(*LeafNode)
	only string // positions, all if empty
}{
	{"valn0101 §5.3.1 credential refused", ErrCredential, "mallory is not welcome", func(l *LeafNode) { l.Credential = BasicCredential([]byte("mallory")) }, ""},
	{"valn0101 §5.3 certificate of another key", ErrCredential, "", func(l *LeafNode) { l.Credential = X509Credential([]byte("not DER")) }, ""},
	{"valn0101 §5.3 no certificate", ErrCredential, "without certificate", func(l *LeafNode) { l.Credential = X509Credential() }, ""},
	{"valn0103 §11.1 required extension", ErrLeafNode, "required extension 0xf001", edited(func(c *Capabilities) { c.Extensions = without(c.Extensions, oddExtension) }), ""},
	{"valn0103 §11.1 required proposal", ErrLeafNode, "required proposal 0xf003", edited(func(c *Capabilities) { c.Proposals = without(c.Proposals, oddProposal) }), ""},
	{"valn0103 §11.1 required credential", ErrLeafNode, "required credential", edited(func(c *Capabilities) { c.Credentials = without(c.Credentials, oddCredential) }), ""},
	{"valn0104 §7.2 own credential type", ErrLeafNode, "own credential type", edited(func(c *Capabilities) { c.Credentials = without(c.Credentials, CredentialBasic) }), ""},
	{"valn0105 valn0106 §7.3 expired", ErrLeafNode, "lifetime does not include now", func(l *LeafNode) { l.Lifetime.NotAfter = uint64(testTime.Unix()) - 1 }, "add"},
	{"valn0105 valn0106 §7.3 not yet valid", ErrLeafNode, "lifetime does not include now", func(l *LeafNode) { l.Lifetime.NotBefore = uint64(testTime.Unix()) + 1 }, "add"},
	{"§7.2 lifetime too long", ErrLeafNode, "lifetime of more than", func(l *LeafNode) { l.Lifetime.NotAfter += 100 * 24 * 3600 }, "add"},
	{"§7.2 lifetime of all time", ErrLeafNode, "lifetime of more than", func(l *LeafNode) { l.Lifetime = Lifetime{0, 1<<64 - 1} }, "add"},
	{"§7.3 lifetime ends before it begins", ErrLeafNode, "lifetime", func(l *LeafNode) { l.Lifetime = Lifetime{20, 10} }, "add tree"},
	{"valn0107 §7.3 extension not listed", ErrLeafNode, "own extension 0xf00a", func(l *LeafNode) { l.Extensions = append(slices.Clone(l.Extensions), Extension{0xf00a, nil}) }, ""},
	{"valn0108 §7.3 source update in a key package", ErrLeafNode, "source 2, want 1", func(l *LeafNode) { l.Source = SourceUpdate }, "add"},
	{"valn0108 §7.3 source commit in a key package", ErrLeafNode, "source 3, want 1", func(l *LeafNode) { l.Source = SourceCommit }, "add"},
	{"valn0109 §7.3 source key_package in an update", ErrLeafNode, "source 1, want 2", func(l *LeafNode) { l.Source = SourceKeyPackage }, "update"},
	{"valn0109 §7.3 source commit in an update", ErrLeafNode, "source 3, want 2", func(l *LeafNode) { l.Source = SourceCommit }, "update"},
	{"valn0110 valn1207 §7.3 source key_package in a path", ErrLeafNode, "source 1, want 3", func(l *LeafNode) { l.Source = SourceKeyPackage }, "path"},
	{"valn0110 valn1207 §7.3 source update in a path", ErrLeafNode, "source 2, want 3", func(l *LeafNode) { l.Source = SourceUpdate }, "path"},
	{"valn0502 valn0602 valn1415 §13.4 extension of the group", ErrLeafNode, "GroupContext extension 0xf002", edited(func(c *Capabilities) { c.Extensions = without(c.Extensions, usedExtension) }), ""},
	{"§7.2 version", ErrLeafNode, "protocol version", edited(func(c *Capabilities) { c.Versions = []ProtocolVersion{2} }), ""},
	{"§7.2 cipher suite", ErrLeafNode, "cipher suite", edited(func(c *Capabilities) { c.CipherSuites = []CipherSuite{P256AES128} }), ""},
	{"§13.4 extension twice", ErrLeafNode, "listed twice", func(l *LeafNode) { l.Extensions = append(slices.Clone(l.Extensions), l.Extensions[0]) }, ""},
	{"§10 encryption key malformed", ErrKey, "HPKE public key", func(l *LeafNode) { l.EncryptionKey = []byte("short") }, ""},
	{"§10 signature key malformed", ErrKey, "Ed25519 public key", func(l *LeafNode) { l.SignatureKey = []byte("short") }, ""},
	{"ext §4.6 dictionary out of order", ErrLeafNode, "out of order", withDictionary([]byte{6, 0, 2, 0, 0, 1, 0}), ""},
	{"ext §4.6 component twice", ErrLeafNode, "out of order", withDictionary([]byte{6, 0, 1, 0, 0, 1, 0}), ""},
	{"ext §5 app_components malformed", ErrLeafNode, "need 1 bytes", withDictionary([]byte{3, 0, 1, 0}), ""},
	{"ext §5 safe_aad malformed", ErrLeafNode, "component 0x0002", withDictionary(append([]byte{11, 0, 1, 3, 2, 0x80, 1}, 0, 2, 2, 9, 9)), ""},
	{"ext §5 required component", ErrLeafNode, "required component 0x8001", withDictionary([]byte{4, 0, 1, 1, 0}), ""},
}

// TestNegativeLeafNode puts every defect into an Add, an Update, a path and a tree.
func TestNegativeLeafNode(t *testing.T) {
	positions := []struct {
		name string
		try  func(t testing.TB, w *trio, defect func(*LeafNode), want error, text string)
	}{
		{"add", defectInAdd}, {"update", defectInUpdate}, {"path", defectInPath}, {"tree", defectInTree},
	}
	for _, p := range positions {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			w := newDemandingTrio(t, CommitOptions{OmitPath: p.name == "tree"})
			for _, d := range leafDefects {
				if d.only == "" || strings.Contains(d.only, p.name) {
					t.Run(d.name, func(t *testing.T) {
						w.TB = t
						p.try(t, w, d.do, d.want, d.text)
					})
				}
			}
			t.Run("valn0102 signature", func(t *testing.T) {
				w.TB = t
				badLeafSignature(t, w, p.name)
			})
		})
	}
}

// newcomer is a template for the groups of these tests.
func (w *trio) newcomer(name string) LeafTemplate {
	template := testTemplate(w, w.cfg, X25519AES128, name)
	template.Capabilities = demandingCapabilities()
	return template
}

func defectInAdd(t testing.TB, w *trio, defect func(*LeafNode), want error, text string) {
	j := forgeKeyPackage(t, w.cfg, w.newcomer("dave"), defect, nil)
	w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), want, text, true)
	w.refused(forgeProposal(t, w.alice, adds(j)[0]), want, text, true)
	w.declined(CommitOptions{Proposals: adds(j), NoPending: true}, want, text)
	unchanged(t, "alice", w.alice, want, text, func() error {
		_, err := w.alice.Propose(0, adds(j)[0], Framing{}, false)
		return err
	})
}

// carolsUpdate is a good leaf for an Update of carol, not yet signed.
func (w *trio) carolsUpdate() *LeafNode {
	l := *w.carol.state.tree.leaf(2)
	_, l.EncryptionKey, _ = w.carol.suite.hpke.NewKeyPair(w.cfg.random())
	l.Source, l.Lifetime, l.ParentHash = SourceUpdate, Lifetime{}, nil
	return &l
}

func (w *trio) signAsCarol(l *LeafNode) Proposal {
	w.Helper()
	if err := l.sign(w.carol.suite, w.carol.leaves[2].signature, w.carol.GroupID(), 2); err != nil {
		w.Fatal(err)
	}
	return Proposal{Type: ProposalUpdate, Update: l}
}

func defectInUpdate(t testing.TB, w *trio, defect func(*LeafNode), want error, text string) {
	l := w.carolsUpdate()
	defect(l)
	w.refused(forgeProposal(t, w.carol, w.signAsCarol(l)), want, text, true)
}

func defectInPath(t testing.TB, w *trio, defect func(*LeafNode), want error, text string) {
	loose := *w.cfg // the identity changes in one of the defects; what is tested is that it is refused, not that it changes
	loose.VerifySuccessor = func(_, _ *Credential) error { return nil }
	for _, g := range []*PublicGroup{&w.bob.PublicGroup, w.hub} {
		g.cfg = &loose
		defer func() { g.cfg = w.cfg }()
	}
	w.refused((&forgery{by: w.alice, leaf: defect}).message(t), want, text, true)
}

// defectInTree has a newcomer meet the defect in bob's leaf of the tree it joins; parents are blank, so that only bob's
// signature depends on it.
func defectInTree(t testing.TB, w *trio, defect func(*LeafNode), want error, text string) {
	f := w.welcome(t, func(template *LeafTemplate) { template.Capabilities = demandingCapabilities() })
	f.nodes[2].leaf = f.own(f.nodes[2].leaf)
	defect(f.nodes[2].leaf)
	if err := f.nodes[2].leaf.sign(w.bob.suite, w.bob.leaves[1].signature, w.bob.GroupID(), 1); err != nil {
		t.Fatal(err)
	}
	f.refused(t, want, text, true)
}

func badLeafSignature(t testing.TB, w *trio, position string) {
	spoil := func(l *LeafNode) { l.Signature = flip(l.Signature) }
	switch position {
	case "add":
		j := forgeKeyPackage(t, w.cfg, w.newcomer("dave"), nil, func(k *KeyPackage) { spoil(&k.LeafNode) })
		w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrSignature, "LeafNodeTBS", true)
	case "update":
		p := w.signAsCarol(w.carolsUpdate())
		spoil(p.Update)
		w.refused(forgeProposal(t, w.carol, p), ErrSignature, "LeafNodeTBS", true)
		p = w.signAsCarol(w.carolsUpdate())
		if err := p.Update.sign(w.carol.suite, w.carol.leaves[2].signature, []byte("elsewhere"), 2); err != nil {
			t.Fatal(err)
		}
		w.refused(forgeProposal(t, w.carol, p), ErrSignature, "LeafNodeTBS", true) // of another group
		if err := p.Update.sign(w.carol.suite, w.carol.leaves[2].signature, w.carol.GroupID(), 1); err != nil {
			t.Fatal(err)
		}
		w.refused(forgeProposal(t, w.carol, p), ErrSignature, "LeafNodeTBS", true) // for another leaf
	case "path":
		w.refused((&forgery{by: w.alice, signedLeaf: spoil}).message(t), ErrSignature, "LeafNodeTBS", true)
	case "tree":
		f := w.welcome(t, func(template *LeafTemplate) { template.Capabilities = demandingCapabilities() })
		f.nodes[2].leaf = f.own(f.nodes[2].leaf)
		spoil(f.nodes[2].leaf)
		f.refused(t, ErrSignature, "LeafNodeTBS", true)
	}
}

// TestNegativeUpdate is what of an Update depends on the leaf it replaces (RFC 9420 §7.3, §5.3.1).
func TestNegativeUpdate(t *testing.T) {
	w := newTrio(t)
	l := w.carolsUpdate()
	l.EncryptionKey = w.carol.state.tree.leaf(2).EncryptionKey
	w.refused(forgeProposal(t, w.carol, w.signAsCarol(l)), ErrProposal, "update keeps the encryption key", true) // valn0109
	l = w.carolsUpdate()
	l.Credential = BasicCredential([]byte("bob"))
	w.refused(forgeProposal(t, w.carol, w.signAsCarol(l)), ErrCredential, "replaced by another", true) // §5.3.1
	unchanged(t, "alice", w.alice, ErrProposal, "ProposeUpdate", func() error {
		_, err := w.alice.Propose(0, Proposal{Type: ProposalUpdate, Update: l}, Framing{}, false)
		return err
	})
	w.refused((&forgery{by: w.alice, leaf: func(l *LeafNode) { l.Credential = BasicCredential([]byte("bob")) }}).message(t), ErrCredential, "replaced by another", true)
}

// TestNegativeUniqueKeys: no key twice in a tree (RFC 9420 §7.3, §12.4.2; valn0111, valn0112, valn0306, valn0312, valn1209,
// valn1410; ValSem101, 103, 110, 206, 207).
func TestNegativeUniqueKeys(t *testing.T) {
	w := newTrio(t)
	bob := w.bob.state.tree.leaf(1)
	cases := []struct {
		name   string
		list   func() []ResolvedProposal
		noPath bool
	}{
		{"valn0111 valn0306 add with bob's signature key", func() []ResolvedProposal {
			template := testTemplate(t, w.cfg, X25519AES128, "twin")
			template.Signature = w.bob.leaves[1].signature
			return values(adds(must(NewKeyPackage(w.cfg, X25519AES128, template))(t))...)
		}, false},
		{"valn0112 add with bob's encryption key", func() []ResolvedProposal {
			return values(adds(forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "twin"), func(l *LeafNode) { l.EncryptionKey = bob.EncryptionKey }, nil))...)
		}, false},
		{"valn0112 add with a parent's encryption key", func() []ResolvedProposal {
			return values(adds(forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "twin"), func(l *LeafNode) { l.EncryptionKey = w.bob.state.tree.at(3).encryptionKey() }, nil))...)
		}, true},
		{"valn0112 two adds with one encryption key", func() []ResolvedProposal {
			j := newMember(t, w.cfg, X25519AES128, "one")
			twin := forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "two"), func(l *LeafNode) { l.EncryptionKey = j.KeyPackage.LeafNode.EncryptionKey }, nil)
			return values(adds(j, twin)...)
		}, false},
		{"valn0111 update to bob's signature key", func() []ResolvedProposal {
			l := w.carolsUpdate()
			l.SignatureKey = bob.SignatureKey
			if err := l.sign(w.bob.suite, w.bob.leaves[1].signature, w.bob.GroupID(), 2); err != nil {
				t.Fatal(err)
			}
			return []ResolvedProposal{w.sendForged(Proposal{Type: ProposalUpdate, Update: l})}
		}, false},
		{"valn0112 update to bob's encryption key", func() []ResolvedProposal {
			l := w.carolsUpdate()
			l.EncryptionKey = bob.EncryptionKey
			return []ResolvedProposal{w.sendForged(w.signAsCarol(l))}
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			w.refused((&forgery{by: w.alice, list: c.list(), noPath: c.noPath}).message(t), ErrTree, "occur twice", true)
			if p := proposals(c.list()); p != nil {
				w.declined(CommitOptions{Proposals: p, OmitPath: c.noPath, NoPending: true}, ErrTree, "occur twice")
			}
		})
	}
	t.Run("replaced in the same commit", func(t *testing.T) { // RFC 9420 §12.2: unless the list removes the matching client
		w.TB = t
		template := testTemplate(t, w.cfg, X25519AES128, "carol")
		template.Signature = w.carol.leaves[2].signature
		again := must(NewKeyPackage(w.cfg, X25519AES128, template))(t)
		must(w.bob.Process(must(ParseMessage((&forgery{by: w.alice, list: values(append(adds(again), Proposal{Type: ProposalRemove, Remove: 2})...)}).message(t)))(t), Arrival{}))(t)
	})
}

// sendForged delivers carol's forged proposal, which is valid by itself.
func (w *trio) sendForged(p Proposal) ResolvedProposal {
	w.Helper()
	data := forgeProposal(w, w.carol, p)
	w.deliver(data, nil)
	a := must(ParseMessage(data))(w).Public.authenticated()
	return ResolvedProposal{Proposal: a.Content.Proposal, Sender: a.Content.Sender, Ref: a.proposalRef(w.carol.suite)}
}

// TestNegativeKeyPackage is RFC 9420 §10.1 (and §12.1.1, valn0501).
func TestNegativeKeyPackage(t *testing.T) {
	w := newTrio(t)
	for _, c := range []struct {
		name string
		want error
		text string
		do   func(*KeyPackage)
	}{
		{"valn0201 version", ErrKeyPackage, "protocol version 2", func(k *KeyPackage) { k.Version = 2 }},
		{"valn0201 cipher suite", ErrKeyPackage, "cipher suite", func(k *KeyPackage) { k.CipherSuite = X25519ChaCha }},
		{"valn0204 init key is the encryption key", ErrKeyPackage, "init_key equals", func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey }},
		{"§10 init key malformed", ErrKey, "HPKE public key of 31", func(k *KeyPackage) { k.InitKey = k.InitKey[1:] }},
		{"§13.4 extension twice", ErrKeyPackage, "listed twice", func(k *KeyPackage) { k.Extensions = Extensions{{0x0a0a, nil}, {0x0a0a, nil}} }},
		{"ext §4.6 dictionary malformed", ErrKeyPackage, "app_data_dictionary", func(k *KeyPackage) { k.Extensions = Extensions{{ExtAppDataDictionary, []byte{1}}} }},
		{"valn0202 leaf node", ErrLeafNode, "", func(k *KeyPackage) { k.LeafNode.Lifetime.NotAfter = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			j := forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "dave"), nil, c.do)
			w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), c.want, c.text, true)
			w.refused(forgeProposal(t, w.alice, adds(j)[0]), c.want, c.text, true)
			w.declined(CommitOptions{Proposals: adds(j)}, c.want, c.text)
			if c.name != "valn0201 cipher suite" { // alone, a key package of suite 3 is fine but for its leaf node
				wrong(t, "VerifyKeyPackage", VerifyKeyPackage(w.cfg, &j.KeyPackage), c.want, c.text)
			}
		})
	}
	t.Run("valn0203 signature", func(t *testing.T) {
		w.TB = t
		j := newMember(t, w.cfg, X25519AES128, "dave")
		j.KeyPackage.Signature = flip(j.KeyPackage.Signature)
		w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrSignature, "KeyPackageTBS", true)
		wrong(t, "VerifyKeyPackage", VerifyKeyPackage(w.cfg, &j.KeyPackage), ErrSignature, "KeyPackageTBS")
	})
	t.Run("unknown suite", func(t *testing.T) {
		j := newMember(t, w.cfg, X25519AES128, "dave")
		j.KeyPackage.CipherSuite = 0x4444
		wrong(t, "VerifyKeyPackage", VerifyKeyPackage(w.cfg, &j.KeyPackage), ErrCipherSuite, "0x4444")
	})
}

// TestNegativeExtensionPlaces is RFC 9420 §17.3 (valn1601 to valn1603): extensions in objects they are not for.
func TestNegativeExtensionPlaces(t *testing.T) {
	w := newTrio(t)
	for _, x := range []ExtensionType{ExtRatchetTree, ExtRequiredCapabilities, ExtExternalPub, ExtExternalSenders} {
		j := forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "dave"), func(l *LeafNode) { l.Extensions = Extensions{{x, nil}} }, nil)
		w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrLeafNode, "does not belong here", true) // valn1601
	}
	for _, x := range []ExtensionType{ExtApplicationID, ExtRatchetTree, ExtRequiredCapabilities, ExtExternalPub, ExtExternalSenders} {
		j := forgeKeyPackage(t, w.cfg, testTemplate(t, w.cfg, X25519AES128, "dave"), nil, func(k *KeyPackage) { k.Extensions = Extensions{{x, nil}} })
		w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrKeyPackage, "does not belong here", true)
	}
	for _, x := range []ExtensionType{ExtApplicationID, ExtRatchetTree, ExtExternalPub} {
		p := Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{{x, nil}}}
		w.refused((&forgery{by: w.alice, list: values(p)}).message(t), ErrProposal, "does not belong here", true) // valn1603
		if _, err := NewGroup(w.cfg, []byte("g"), p.Extensions, newMember(t, w.cfg, X25519AES128, "x")); err == nil {
			t.Errorf("NewGroup accepts extension %d", x)
		}
	}
	// Of valn1602, required_capabilities and external_senders are not refused: mls-go repeats them in every GroupInfo.
	for _, x := range []ExtensionType{ExtApplicationID} {
		f := w.welcome(t, nil)
		f.info = func(i *GroupInfo) { i.Extensions = append(i.Extensions, Extension{x, nil}) }
		f.refused(t, ErrGroupInfo, "does not belong here", true) // valn1602
	}
	// application_id belongs into leaf nodes, and what nobody knows is ignored.
	template := testTemplate(t, w.cfg, X25519AES128, "dave")
	template.Extensions = append(template.Extensions, Extension{ExtApplicationID, []byte("device")}, Extension{0x1a1a, nil})
	template.Capabilities = DefaultCapabilities(X25519AES128)
	template.Capabilities.Extensions = append(template.Capabilities.Extensions, 0x1a1a)
	template.KeyPackageExtensions = Extensions{{0x2a2a, bytes.Repeat([]byte{1}, 100)}}
	step := commit(t, w.alice, 0, CommitOptions{Proposals: adds(must(NewKeyPackage(w.cfg, X25519AES128, template))(t))})
	w.deliver(step.Message, w.alice)
}
