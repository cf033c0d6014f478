package mls

import (
	"errors"
	"testing"
)

// welcoming makes a Welcome to a group whose tree, context and GroupInfo may be anything, correctly signed and tagged. The
// newcomer's leaf is dave's, leaf 3.
type welcoming struct {
	*trio
	dave  *JoinSecrets
	nodes optionalNodes // of the tree, to be changed at will; parseTree must still take it, unless tree is set
	tree  func([]byte) []byte
	ctx   func(*GroupContext)
	info  func(*GroupInfo)            // before it is signed
	after func(*GroupInfo)            // after that
	group func(*groupSecrets)         // before it is encrypted
	sent  func(*Welcome)              // the result
	join  func(*Config, *JoinOptions) // how dave joins
	psk   []byte                      // secret of the PSKs in group; nil: what alice knows
}

// welcome prepares one for a group as it is, with dave added and no other change.
func (w *trio) welcome(t testing.TB, template func(*LeafTemplate)) *welcoming {
	t.Helper()
	lt := testTemplate(t, w.cfg, X25519AES128, "dave")
	if template != nil {
		template(&lt)
	}
	dave := must(NewKeyPackage(w.cfg, X25519AES128, lt))(t)
	e := w.alice.state.tree.edit()
	if i := must(e.add(&dave.KeyPackage.LeafNode))(t); i != 3 {
		t.Fatalf("dave is leaf %d", i)
	}
	return w.welcomeTo(t, dave, e.finish(w.alice.suite).marshal())
}

// welcomeTo prepares one for a given tree.
func (w *trio) welcomeTo(t testing.TB, dave *JoinSecrets, tree []byte) *welcoming {
	f := &welcoming{trio: w, dave: dave}
	if err := Unmarshal(tree, &f.nodes); err != nil {
		t.Fatal(err)
	}
	return f
}

// own copies a leaf node so that it may be changed.
func (f *welcoming) own(l *LeafNode) *LeafNode { c := *l; return &c }

// message makes the Welcome and the GroupInfo in it.
func (f *welcoming) message(t testing.TB) (*Welcome, *GroupInfo) {
	t.Helper()
	g, s := f.alice, f.alice.suite
	encoded := Marshal(&f.nodes)
	if f.tree != nil {
		encoded = f.tree(encoded)
	}
	ctx := cloneContext(&g.state.context)
	if tr, err := parseTree(s, encoded, new(interner)); err == nil {
		ctx.TreeHash = tr.root.hash
	}
	ctx.Epoch++
	ctx.ConfirmedTranscriptHash = s.sum([]byte("transcript"))
	if f.ctx != nil {
		f.ctx(&ctx)
	}
	inner := &groupSecrets{joinerSecret: must(randomBytes(f.cfg.random(), s.nh))(t)}
	if f.group != nil {
		f.group(inner)
	}
	var psks []pskInput
	for _, id := range inner.psks {
		psks = append(psks, pskInput{id, f.secretOf(&id)})
	}
	secrets := s.keyScheduleFromJoiner(inner.joinerSecret, s.pskSecret(psks), Marshal(&ctx))
	info := &GroupInfo{Context: ctx, Extensions: Extensions{{ExtRatchetTree, encoded}}, ConfirmationTag: s.mac(secrets.confirm, ctx.ConfirmedTranscriptHash)}
	if f.info != nil {
		f.info(info)
	}
	if err := info.sign(s, g.leaves[0].signature); err != nil {
		t.Fatal(err)
	}
	if f.after != nil {
		f.after(info)
	}
	welcome := must(s.newWelcome(info, &epochSecrets{joiner: inner.joinerSecret, welcome: secrets.welcome}, []AddedLeaf{{Index: 3, KeyPackage: &f.dave.KeyPackage}},
		inner.psks, func(LeafIndex) []byte { return inner.pathSecret }))(t)
	if f.sent != nil {
		f.sent(welcome)
	}
	return welcome, info
}

// secretOf is the secret of a PSK where alice knows it.
func (f *welcoming) secretOf(id *PreSharedKeyID) []byte {
	if f.psk != nil {
		return f.psk
	}
	if secret, err := f.alice.findPSK(id); err == nil {
		return secret
	}
	return []byte("not known to dave")
}

// refused has dave refuse the Welcome, and public groups the GroupInfo unless they cannot see what is wrong.
func (f *welcoming) refused(t testing.TB, want error, text string, public bool) {
	t.Helper()
	w, info := f.message(t)
	options := JoinOptions{Own: []*JoinSecrets{f.dave}}
	cfg := *f.cfg
	if f.join != nil {
		f.join(&cfg, &options)
	}
	if _, err := JoinWelcome(&cfg, w, options); err == nil {
		t.Errorf("JoinWelcome: no error, want %q and %q", want, text)
	} else {
		wrong(t, "JoinWelcome", err, want, text)
	}
	if !public {
		return
	}
	if _, err := NewPublicGroup(f.cfg, info, nil); err == nil {
		t.Errorf("NewPublicGroup: no error, want %q and %q", want, text)
	} else {
		wrong(t, "NewPublicGroup", err, want, text)
	}
	template := testTemplate(t, f.cfg, X25519AES128, "erin")
	if _, _, err := ExternalCommit(f.cfg, info, template, ExternalOptions{}); err == nil || !errors.Is(err, want) {
		t.Errorf("ExternalCommit: %v, want %q", err, want)
	}
}

// TestNegativeTree is RFC 9420 §12.4.3.1, §12.4.3.3, §7.1, §7.8 and §7.9: trees that a joiner must not accept, whoever signed
// their hash. Leaf 3 is dave's, unmerged at the root; node 5 is blank.
func TestNegativeTree(t *testing.T) {
	w := newTrio(t)
	resign := func(f *welcoming, i LeafIndex, g *Group) {
		if err := f.nodes[2*i].leaf.sign(g.suite, g.leaves[i].signature, g.GroupID(), i); err != nil {
			t.Fatal(err)
		}
	}
	parent := func(f *welcoming, i int) *ParentNode {
		p := f.nodes[i].parent.clone()
		f.nodes[i].parent = p
		return p
	}
	for _, c := range []struct {
		name string
		do   func(f *welcoming)
		want error
		text string
	}{
		{"valn1405 tree hash", func(f *welcoming) { f.ctx = func(c *GroupContext) { c.TreeHash = flip(c.TreeHash) } }, ErrTree, "tree hash differs"},
		{"valn1406 parent hash of a node", func(f *welcoming) { p := parent(f, 1); p.ParentHash = flip(p.ParentHash) }, ErrTree, "not parent-hash valid"},
		{"valn1406 parent hash of a leaf", func(f *welcoming) {
			l := f.own(f.nodes[0].leaf)
			f.nodes[0].leaf, l.ParentHash = l, flip(l.ParentHash)
			resign(f, 0, w.alice)
		}, ErrTree, "not parent-hash valid"},
		{"valn1406 key of a node", func(f *welcoming) { _, parent(f, 1).EncryptionKey, _ = w.alice.suite.hpke.NewKeyPair(f.cfg.random()) }, ErrTree, "not parent-hash valid"},
		{"valn1406 sibling subtree", func(f *welcoming) { f.nodes[4].leaf, f.nodes[4].parent = nil, nil }, ErrTree, "not parent-hash valid"},
		{"valn1406 node nobody vouches for", func(f *welcoming) {
			_, key, _ := w.alice.suite.hpke.NewKeyPair(f.cfg.random())
			f.nodes[5].parent = &ParentNode{EncryptionKey: key, ParentHash: []byte{}, UnmergedLeaves: []LeafIndex{3}}
		}, ErrTree, "not parent-hash valid"},
		{"valn1408 unmerged leaf is blank", func(f *welcoming) { f.nodes[4].leaf = nil; parent(f, 3).UnmergedLeaves = []LeafIndex{2, 3} }, ErrTree, "unmerged leaf 2 is not a leaf below node 3"},
		{"valn1408 unmerged leaf outside the tree", func(f *welcoming) { parent(f, 3).UnmergedLeaves = []LeafIndex{3, 4} }, ErrTree, "unmerged leaf 4 is not"},
		{"valn1408 unmerged leaf whose node index overflows", func(f *welcoming) { parent(f, 3).UnmergedLeaves = []LeafIndex{3, 1<<31 | 3} }, ErrTree, "is not a leaf below node 3"},
		{"valn1409 unmerged above, not below", func(f *welcoming) { parent(f, 3).UnmergedLeaves = []LeafIndex{1, 3} }, ErrTree, "unmerged at node 3 but not below"},
		{"valn1406 unmerged leaf forgotten", func(f *welcoming) { parent(f, 3).UnmergedLeaves = nil }, ErrTree, "not parent-hash valid"},
		{"valn1416 unmerged leaves out of order", func(f *welcoming) { parent(f, 3).UnmergedLeaves = []LeafIndex{3, 1} }, ErrSyntax, "increasing order"},
		{"valn1416 unmerged leaf twice", func(f *welcoming) { parent(f, 3).UnmergedLeaves = []LeafIndex{3, 3} }, ErrSyntax, "increasing order"},
		{"valn1418 ValSem300 blank at the end", func(f *welcoming) { f.nodes = append(f.nodes, node{}) }, ErrTree, "does not end with a leaf"},
		{"§12.4.3.3 no nodes", func(f *welcoming) { f.nodes = nil }, ErrTree, "tree is empty"},
		{"§12.4.3.3 leaf in a parent's place", func(f *welcoming) { f.nodes[5].leaf = f.nodes[4].leaf }, ErrSyntax, "node type 1 at index 5"},
		{"§12.4.3.3 parent in a leaf's place", func(f *welcoming) { f.nodes[4].leaf, f.nodes[4].parent = nil, f.nodes[3].parent }, ErrSyntax, "node type 2 at index 4"},
		{"§12.4.3.3 ends with a parent", func(f *welcoming) { f.nodes = f.nodes[:2] }, ErrTree, "does not end with a leaf"},
		{"§12.4.3.3 bytes after the tree", func(f *welcoming) { f.tree = func(b []byte) []byte { return append(b, 0) } }, ErrSyntax, "trailing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := w.welcome(t, nil)
			c.do(f)
			f.refused(t, c.want, c.text, true)
		})
	}
	blank := newTrioOf(t, suspiciousConfig(), nil, CommitOptions{OmitPath: true})
	for _, c := range []struct {
		name string
		do   func(l, carols *LeafNode)
	}{
		{"valn0112 valn1407 encryption key twice", func(l, carols *LeafNode) { l.EncryptionKey = carols.EncryptionKey }},
		{"valn0111 valn1407 signature key twice", func(l, carols *LeafNode) { l.SignatureKey = carols.SignatureKey }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := blank.welcome(t, nil)
			f.nodes[2].leaf = f.own(f.nodes[2].leaf)
			c.do(f.nodes[2].leaf, f.nodes[4].leaf)
			signer := blank.bob.leaves[1].signature
			if c.name[:8] == "valn0111" {
				signer = blank.carol.leaves[2].signature
			}
			if err := f.nodes[2].leaf.sign(blank.bob.suite, signer, nil, 1); err != nil {
				t.Fatal(err)
			}
			f.refused(t, ErrTree, "a key occurs twice", true)
		})
	}
	vouched := func(n *ParentNode) *welcoming { // alice's leaf vouches for node 1 alone
		f := blank.welcome(t, nil)
		s := blank.alice.suite
		n.ParentHash = []byte{}
		l := f.own(f.nodes[0].leaf)
		l.Source, l.Lifetime, l.ParentHash = SourceCommit, Lifetime{}, parentHash(s, n, leafHash(s, 1, f.nodes[2].leaf))
		f.nodes[0].leaf, f.nodes[1].parent = l, n
		if err := l.sign(s, blank.alice.leaves[0].signature, blank.alice.GroupID(), 0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Run("valn1410 a parent's key twice", func(t *testing.T) {
		vouched(&ParentNode{EncryptionKey: blank.carol.state.tree.leaf(2).EncryptionKey}).refused(t, ErrTree, "a key occurs twice", true)
	})
	t.Run("valn1408 unmerged leaf is elsewhere", func(t *testing.T) {
		_, key, _ := blank.alice.suite.hpke.NewKeyPair(blank.cfg.random())
		vouched(&ParentNode{EncryptionKey: key, UnmergedLeaves: []LeafIndex{3}}).refused(t, ErrTree, "unmerged leaf 3 is not a leaf below node 1", true)
		fine := vouched(&ParentNode{EncryptionKey: key}) // without it all is well
		wl, _ := fine.message(t)
		must(JoinWelcome(blank.cfg, wl, JoinOptions{Own: []*JoinSecrets{fine.dave}}))(t)
	})
	t.Run("valn0104 valn1407 credential type a member does not support", func(t *testing.T) {
		cfg := suspiciousConfig()
		f := newTrioOf(t, cfg, nil, CommitOptions{OmitPath: true}).welcome(t, nil)
		l := f.own(f.nodes[2].leaf)
		f.nodes[2].leaf = l
		l.Credential = Credential{Type: 9, Other: []byte("new")}
		edited(func(c *Capabilities) { c.Credentials = append(c.Credentials[:2:2], 9) })(l)
		if err := l.sign(f.bob.suite, f.bob.leaves[1].signature, nil, 1); err != nil {
			t.Fatal(err)
		}
		f.refused(t, ErrLeafNode, "does not support credential type 9", true)
	})
}

// TestNegativeCredentialType is RFC 9420 §7.3 for those in a group (valn0104): a type that somebody does not support.
func TestNegativeCredentialType(t *testing.T) {
	template := func(w *trio, name string) LeafTemplate {
		lt := testTemplate(t, w.cfg, X25519AES128, name)
		lt.Capabilities = DefaultCapabilities(X25519AES128)
		return lt
	}
	w := newTrio(t)
	exotic := template(w, "dave")
	exotic.Credential = Credential{Type: 9, Other: []byte("dave")}
	exotic.Capabilities.Credentials = append(exotic.Capabilities.Credentials, 9)
	plain := template(w, "erin")
	plain.Capabilities.Credentials = []CredentialType{CredentialX509}
	plain.Credential = X509Credential([]byte("x"))
	j := must(NewKeyPackage(w.cfg, X25519AES128, exotic))(t)
	w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrLeafNode, "does not support credential type 9", true)
	w.declined(CommitOptions{Proposals: adds(j)}, ErrLeafNode, "does not support credential type 9")
	narrow := template(w, "frank")
	narrow.Capabilities.Credentials = []CredentialType{9}
	narrow.Credential = Credential{Type: 9, Other: []byte("frank")}
	wide := *DefaultCapabilities(X25519AES128)
	wide.Credentials = append(wide.Credentials, 9)
	w = newTrioOf(t, suspiciousConfig(), &wide, CommitOptions{})
	j = must(NewKeyPackage(w.cfg, X25519AES128, narrow))(t)
	w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrLeafNode, "support", true) // no support for Basic, in use
	j = must(NewKeyPackage(w.cfg, X25519AES128, exotic))(t)
	w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: adds(j)}).Message, w.alice) // everybody supports type 9
	plain.Capabilities.Credentials, plain.Credential = []CredentialType{CredentialBasic}, BasicCredential([]byte("erin"))
	j = must(NewKeyPackage(w.cfg, X25519AES128, plain))(t)
	w.refused((&forgery{by: w.alice, list: values(adds(j)...)}).message(t), ErrLeafNode, "no support for credential type 9, which is in use", true)
}

// TestNegativeWelcome is RFC 9420 §12.4.3.1 and §11.2, §11.3.
func TestNegativeWelcome(t *testing.T) {
	w := newTrio(t)
	psk := func(change func(*PreSharedKeyID)) func(*welcoming) {
		return func(f *welcoming) {
			id := w.psk("known")
			change(id)
			f.group = func(g *groupSecrets) { g.psks = []PreSharedKeyID{*id} }
		}
	}
	info := func(change func(*GroupInfo)) func(*welcoming) { return func(f *welcoming) { f.info = change } }
	context := func(change func(*GroupContext)) func(*welcoming) { return func(f *welcoming) { f.ctx = change } }
	for _, c := range []struct {
		name string
		do   func(f *welcoming)
		want error
		text string
		hub  bool // visible in the GroupInfo
	}{
		{"valn1401 unknown PSK", psk(func(id *PreSharedKeyID) { id.ID = []byte("lost") }), ErrPSK, "unknown", false},
		{"valn1401 PSK nonce", psk(func(id *PreSharedKeyID) { id.Nonce = id.Nonce[1:] }), ErrPSK, "nonce of 31 bytes", false},
		{"valn1402 signature", func(f *welcoming) { f.after = func(i *GroupInfo) { i.Signature = flip(i.Signature) } }, ErrSignature, "GroupInfoTBS", true},
		{"valn1402 signed by another", info(func(i *GroupInfo) { i.Signer = 1 }), ErrSignature, "GroupInfoTBS", true},
		{"valn1402 signer is blank", func(f *welcoming) { f.nodes[4].leaf = nil; f.info = func(i *GroupInfo) { i.Signer = 2 } }, ErrGroupInfo, "signer 2 is a blank leaf", true},
		{"valn1402 signer is outside the tree", info(func(i *GroupInfo) { i.Signer = 4 }), ErrGroupInfo, "signer 4 is a blank leaf", true},
		{"valn1402 signer whose node index overflows", info(func(i *GroupInfo) { i.Signer = 1 << 31 }), ErrGroupInfo, "is a blank leaf", true},
		{"valn1404 cipher suite of the Welcome", func(f *welcoming) { f.sent = func(w *Welcome) { w.CipherSuite = X25519ChaCha } }, ErrWelcome, "none of our key packages", false},
		{"valn1404 cipher suite unknown", func(f *welcoming) { f.sent = func(w *Welcome) { w.CipherSuite = 0x4444 } }, ErrCipherSuite, "0x4444", false},
		{"valn1404 version of the context", context(func(c *GroupContext) { c.Version = 2 }), ErrGroupInfo, "version or cipher suite", true},
		{"valn1411 confirmation tag", info(func(i *GroupInfo) { i.ConfirmationTag = flip(i.ConfirmationTag) }), ErrConfirmationTag, "", false},
		{"valn1415 extension of the context", context(func(c *GroupContext) { c.Extensions = Extensions{{0xf00f, nil}} }), ErrLeafNode, "GroupContext extension 0xf00f", true},
		{"valn1417 leaf is not in the tree", func(f *welcoming) {
			f.nodes = f.nodes[:5]
			p := f.nodes[3].parent.clone()
			p.UnmergedLeaves = nil
			f.nodes[3].parent = p
		}, ErrWelcome, "0 of 1 leaves in the tree", false},
		{"valn1417 leaf is another", func(f *welcoming) {
			l := f.own(f.nodes[6].leaf)
			f.nodes[6].leaf = l
			l.Lifetime.NotAfter--
			if err := l.sign(w.alice.suite, f.dave.Signature, nil, 0); err != nil {
				t.Fatal(err)
			}
		}, ErrWelcome, "is not that of the key package", false},
		{"§12.4.3.1 no tree", info(func(i *GroupInfo) { i.Extensions = nil }), ErrGroupInfo, "no ratchet tree", true},
		{"§13.4 extension twice", info(func(i *GroupInfo) { i.Extensions = append(i.Extensions, i.Extensions[0]) }), ErrGroupInfo, "listed twice", true},
		{"§13.4 extension of the context twice", context(func(c *GroupContext) {
			c.Extensions = Extensions{{ExtAppDataDictionary, []byte{0}}, {ExtAppDataDictionary, []byte{0}}}
		}), ErrGroupInfo, "listed twice", true},
		{"§11.1 required_capabilities malformed", context(func(c *GroupContext) { c.Extensions = Extensions{{ExtRequiredCapabilities, []byte{1}}} }), ErrSyntax, "required_capabilities", true},
		{"§5.3.1 external sender refused", context(func(c *GroupContext) {
			c.Extensions = Extensions{{ExtExternalSenders, Marshal(ExternalSenders{{w.bob.leaves[1].signature.PublicBytes(), BasicCredential([]byte("mallory"))}})}}
		}), ErrCredential, "external sender 0", true},
		{"ext §4.6 dictionary malformed", context(func(c *GroupContext) { c.Extensions = Extensions{{ExtAppDataDictionary, []byte{6, 0, 2, 0, 0, 1, 0}}} }), ErrSyntax, "out of order", true},
		{"ext §5 app_components malformed", context(func(c *GroupContext) { c.Extensions = Extensions{{ExtAppDataDictionary, []byte{4, 0, 1, 1, 7}}} }), ErrSyntax, "component 0x0001", true},
		{"§12.4.3.1 joiner secret", func(f *welcoming) { f.group = func(g *groupSecrets) { g.joinerSecret = g.joinerSecret[:5] } }, nil, "", false}, // any length makes a key
		{"§12.4.3.1 path secret of another key", func(f *welcoming) { f.group = func(g *groupSecrets) { g.pathSecret = make([]byte, 32) } }, ErrCommit, "does not yield the key", false},
		{"§12.4.3.1 path secret too short", func(f *welcoming) { f.group = func(g *groupSecrets) { g.pathSecret = make([]byte, 31) } }, ErrWelcome, "path secret does not fit", false},
		{"§12.4.3.1 path secret empty", func(f *welcoming) { f.group = func(g *groupSecrets) { g.pathSecret = []byte{} } }, ErrWelcome, "path secret does not fit", false},
		{"§12.4.3.1 not for us", func(f *welcoming) {
			f.sent = func(w *Welcome) { w.Secrets[0].NewMember = flip(w.Secrets[0].NewMember) }
		}, ErrWelcome, "none of our key packages", false},
		{"§12.4.3.1 for nobody", func(f *welcoming) { f.sent = func(w *Welcome) { w.Secrets = nil } }, ErrWelcome, "none of our key packages", false},
		{"§12.4.3.1 secrets do not decrypt", func(f *welcoming) {
			f.sent = func(w *Welcome) {
				w.Secrets[0].EncryptedGroupSecrets.Ciphertext = flip(w.Secrets[0].EncryptedGroupSecrets.Ciphertext)
			}
		}, ErrDecrypt, "group secrets", false},
		{"§12.4.3.1 GroupInfo of another Welcome", func(f *welcoming) { f.sent = func(w *Welcome) { w.EncryptedGroupInfo = flip(w.EncryptedGroupInfo) } }, ErrDecrypt, "group secrets", false},
		{"§12.4.3.1 signed by the new member", func(f *welcoming) {
			f.after = func(i *GroupInfo) {
				i.Signer = 3
				if err := i.sign(w.alice.suite, f.dave.Signature); err != nil {
					t.Fatal(err)
				}
			}
		}, ErrWelcome, "signed by the new member itself", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := w.welcome(t, nil)
			c.do(f)
			if c.want == nil {
				wl, _ := f.message(t)
				must(JoinWelcome(f.cfg, wl, JoinOptions{Own: []*JoinSecrets{f.dave}}))(t)
				return
			}
			f.refused(t, c.want, c.text, c.hub)
		})
	}
	t.Run("the good one", func(t *testing.T) {
		f := w.welcome(t, nil)
		psk(func(*PreSharedKeyID) {})(f)
		wl, gi := f.message(t)
		g := must(JoinWelcome(f.cfg, wl, JoinOptions{Own: []*JoinSecrets{f.dave}}))(t)
		hub := must(NewPublicGroup(f.cfg, gi, nil))(t)
		if g.MemberCount() != 4 || hub.MemberCount() != 4 || !g.IsLocal(3) {
			t.Error("dave is not in")
		}
	})
}

// TestNegativeSuccession is what a joiner checks of a group that continues another (RFC 9420 §11.2, §11.3, §12.4.3.1; valn1401,
// valn1412 to valn1414). The old group is the trio; the new one has dave as well, unless erased.
func TestNegativeSuccession(t *testing.T) {
	w := newTrio(t)
	linked := func(usages ...ResumptionUsage) *welcoming {
		f := w.welcome(t, nil)
		f.group = func(g *groupSecrets) {
			for i, usage := range usages {
				g.psks = append(g.psks, PreSharedKeyID{Type: PSKResumption, Usage: usage, GroupID: w.alice.GroupID(), Epoch: w.alice.Epoch(), Nonce: append(w.psk("").Nonce[1:], byte(i))})
			}
		}
		f.ctx = func(c *GroupContext) { c.Epoch = 1 }
		f.join = func(_ *Config, o *JoinOptions) { o.Previous = w.bob }
		return f
	}
	reinit := func(change func(*ReInit)) {
		r := &ReInit{GroupID: w.alice.GroupID(), Version: MLS10, CipherSuite: X25519AES128, Extensions: w.alice.state.context.Extensions}
		change(r)
		w.bob.state.reinit = r
	}
	defer func() { w.bob.state.reinit = nil }()
	t.Run("valn1401 two links", func(t *testing.T) {
		linked(UsageReInit, UsageBranch).refused(t, ErrPSK, "more than one PSK of usage reinit or branch", false)
		linked(UsageBranch, UsageBranch).refused(t, ErrPSK, "more than one PSK of usage reinit or branch", false)
	})
	t.Run("valn1401 previous group not at hand", func(t *testing.T) {
		f := linked(UsageBranch)
		f.join = nil
		f.refused(t, ErrPSK, "unknown", false)
		f = linked(UsageBranch) // the secret may be, the group is not
		f.join = func(c *Config, _ *JoinOptions) {
			c.PSK = func(id *PreSharedKeyID) ([]byte, error) { return w.alice.ResumptionPSK(id.Epoch) }
		}
		f.refused(t, ErrWelcome, "a group we were not given", false)
	})
	t.Run("valn1412 epoch", func(t *testing.T) {
		for _, u := range []ResumptionUsage{UsageReInit, UsageBranch} {
			f := linked(u)
			f.ctx = func(c *GroupContext) { c.Epoch = 2 }
			f.refused(t, ErrWelcome, "epoch 2 of a new group", false)
		}
	})
	t.Run("valn1413 no reinit", func(t *testing.T) { linked(UsageReInit).refused(t, ErrWelcome, "differs from the ReInit", false) })
	for name, change := range map[string]func(*ReInit){
		"group":      func(r *ReInit) { r.GroupID = []byte("other") },
		"version":    func(r *ReInit) { r.Version = 2 },
		"suite":      func(r *ReInit) { r.CipherSuite = P256AES128 },
		"extensions": func(r *ReInit) { r.Extensions = Extensions{{0xf00f, nil}} },
	} {
		t.Run("valn1413 reinit to another "+name, func(t *testing.T) {
			reinit(change)
			linked(UsageReInit).refused(t, ErrWelcome, "differs from the ReInit", false)
		})
	}
	t.Run("valn1413 a member is left behind", func(t *testing.T) {
		reinit(func(*ReInit) {})
		g := linked(UsageReInit) // with carol all is well
		wl, _ := g.message(t)
		must(JoinWelcome(w.cfg, wl, JoinOptions{Own: []*JoinSecrets{g.dave}, Previous: w.bob}))(t)
		blank := newTrioOf(t, w.cfg, nil, CommitOptions{OmitPath: true})
		f := blank.welcome(t, nil)
		f.nodes[4].leaf = nil // carol
		f.group, f.ctx = linked(UsageReInit).group, func(c *GroupContext) { c.Epoch = 1 }
		f.psk, f.join = w.bob.keys.resumption, linked(UsageReInit).join
		w.bob.state.reinit.GroupID = blank.alice.GroupID()
		f.refused(t, ErrWelcome, "leaf 2 of one group is not a member of the other", false)
	})
	t.Run("valn1414 somebody new", func(t *testing.T) {
		linked(UsageBranch).refused(t, ErrWelcome, "leaf 3 of one group is not a member of the other", false)
	})
	t.Run("valn1414 cipher suite", func(t *testing.T) {
		other := newGroup(t, w.cfg, X25519ChaCha, "alice")
		other.state.context.GroupID = w.alice.GroupID()
		f := linked(UsageBranch)
		f.group = func(g *groupSecrets) {
			g.psks = []PreSharedKeyID{{Type: PSKResumption, Usage: UsageBranch, GroupID: w.alice.GroupID(), Epoch: 0, Nonce: w.psk("").Nonce}}
		}
		f.psk = other.keys.resumption
		f.join = func(_ *Config, o *JoinOptions) { o.Previous = other }
		f.refused(t, ErrWelcome, "branch with another cipher suite", false)
	})
}

// TestNegativeGroupInfo is what an external joiner finds missing (RFC 9420 §12.4.3.2).
func TestNegativeGroupInfo(t *testing.T) {
	w := newTrio(t)
	for _, c := range []struct {
		name string
		do   func(*GroupInfo)
		want error
		text string
	}{
		{"no external_pub", func(i *GroupInfo) { i.Extensions = i.Extensions[1:] }, ErrGroupInfo, "no external_pub"},
		{"external_pub malformed", func(i *GroupInfo) { i.Extensions[0].Data = i.Extensions[0].Data[1:] }, ErrSyntax, ""},
		{"external_pub is no key", func(i *GroupInfo) { i.Extensions[0].Data = []byte{1, 1} }, ErrKey, "external_pub"},
		{"cipher suite", func(i *GroupInfo) { i.Context.CipherSuite = 0x4444 }, ErrCipherSuite, "0x4444"},
		{"epoch", nil, ErrSignature, "GroupInfoTBS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := must(w.alice.GroupInfo(0, true))(t)
			if c.do != nil {
				c.do(info)
				if err := info.sign(w.alice.suite, w.alice.leaves[0].signature); err != nil {
					t.Fatal(err)
				}
			} else {
				info.Context.Epoch++
			}
			_, _, err := ExternalCommit(w.cfg, info, testTemplate(t, w.cfg, X25519AES128, "dave"), ExternalOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			wrong(t, "ExternalCommit", err, c.want, c.text)
		})
	}
}
