package mls

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime/metrics"
	"slices"
	"testing"
)

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// bounded runs f on input of n bytes and fails if it allocates out of proportion. The most expensive byte is a blank node of a
// ratchet tree; the constant leaves room for what the fuzzer itself does meanwhile.
func bounded(t *testing.T, n int, f func()) {
	t.Helper()
	before := allocated()
	f()
	if spent := allocated() - before; spent > 8<<20+1024*uint64(n) {
		t.Fatalf("%d bytes of input made it allocate %d", n, spent)
	}
}

// material is a group in full swing: the state that messages are offered to, and every kind of message for seeds. A fuzzer has several
// processes, in which it must be the same: its keys come from a fixed stream, and its epochs begin without the randomness of
// crypto/hpke, that is, without paths.
type material struct {
	*trio
	dave     *JoinSecrets
	stray    *JoinSecrets
	welcome  *Welcome // for dave
	messages [][]byte // good and bad ones, of this epoch and before
	bobs     memory
	hubs     memory
}

func newMaterial(t testing.TB) *material {
	cfg := suspiciousConfig()
	cfg.Random = rand.NewChaCha8([32]byte{9, 4, 2, 0})
	hubKey := must(cfg.Suites.NewSignatureKey(X25519AES128, cfg.random()))(t)
	senders := Extension{ExtExternalSenders, Marshal(ExternalSenders{{hubKey.PublicBytes(), BasicCredential([]byte("hub"))}})}
	w := newTrioOf(t, cfg, nil, CommitOptions{OmitPath: true}, senders, AppDataDictionary{}.With(testAppend, []byte("-")).With(testReplace, []byte("=")).Extension())
	m := &material{trio: w, dave: newMember(t, cfg, X25519AES128, "dave"), stray: newMember(t, cfg, X25519AES128, "stray")}
	add := func(data []byte) { m.messages = append(m.messages, data) }
	late := must(w.carol.Protect(2, []byte("late"), Framing{}))(t)
	settle(t, w.carol, late)
	step := commit(t, w.alice, 0, CommitOptions{Proposals: append(adds(m.dave), Proposal{Type: ProposalPSK, PSK: w.psk("known")}), WelcomeTree: true, OmitPath: true})
	w.deliver(step.Message, w.alice)
	m.welcome = step.Welcome
	add(step.Message)
	add(late.Message)
	self, update := w.send(w.carol, Proposal{Type: ProposalSelfRemove}), w.update(w.carol)
	w.send(w.bob, appData("pending"))
	undone := func(step *Step, err error) {
		t.Helper()
		add(must(step, err)(t).Message)
		if err := w.alice.Discard(step); err != nil {
			t.Fatal(err)
		}
	}
	undone(w.alice.Protect(0, []byte("hello"), Framing{AAD: []byte("aad"), Padding: 5}))
	undone(w.alice.Propose(0, Proposal{Type: ProposalRemove, Remove: 2}, Framing{}, false))
	undone(w.alice.Propose(0, Proposal{Type: ProposalRemove, Remove: 2}, Framing{}, true))
	undone(w.alice.Commit(0, CommitOptions{Proposals: adds(m.stray), WelcomeTree: true, WantGroupInfo: true}))
	undone(w.alice.Commit(0, CommitOptions{Private: true}))
	add((&forgery{by: w.alice, list: []ResolvedProposal{self, update}}).message(t)) // clash
	add((&forgery{by: w.alice, list: []ResolvedProposal{update}}).message(t))
	add(Marshal(must(w.hub.ExternalProposal(0, hubKey, appData("hub"), Framing{}))(t)))
	add(Marshal(must(NewMemberProposal(cfg, w.alice.Context(), m.stray, Framing{}))(t)))
	_, external := w.externalJoin("erin", ExternalOptions{Proposals: []Proposal{appData("z")}})
	add(external.Message)
	for _, x := range []*Message{{WireFormat: WireWelcome, Welcome: m.welcome}, {WireFormat: WireGroupInfo, GroupInfo: must(w.alice.GroupInfo(0, true))(t)},
		{WireFormat: WireKeyPackage, KeyPackage: &m.stray.KeyPackage}} {
		add(Marshal(x))
	}
	m.bobs, m.hubs = stored(w.bob), stored(w.hub)
	return m
}

// intact checks that what was offered left no trace.
func (m *material) intact(t *testing.T) {
	t.Helper()
	if len(m.bob.steps)+len(m.hub.steps) > 0 {
		t.Fatal("a step is left")
	}
	if d := stored(m.bob).differs(m.bobs); d != "" {
		t.Fatalf("bob changed: %s", d)
	}
	if d := stored(m.hub).differs(m.hubs); d != "" {
		t.Fatalf("the hub changed: %s", d)
	}
}

// offer gives a message to bob and to the hub, goes as far as they do, and takes it all back.
func (m *material) offer(t *testing.T, message *Message) {
	t.Helper()
	if step, err := m.bob.Process(message, Arrival{Own: []*JoinSecrets{m.stray}, Welcome: message.Welcome}); err == nil {
		if step.next != nil {
			step = must(m.bob.Merge(step))(t)
		}
		if err := m.bob.Discard(step); err != nil {
			t.Fatal(err)
		}
	}
	if step, err := m.hub.Process(message); err == nil {
		if step.next != nil {
			step = must(m.hub.Merge(step))(t)
		}
		if err := m.hub.Discard(step); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzDecode is about every structure that is read from outside; the first byte of the input chooses. What is accepted is encoded as it
// came.
func FuzzDecode(f *testing.F) {
	m := newMaterial(f)
	seed := func(v Marshaler) {
		data := Marshal(v)
		for i, d := range decoders {
			if Unmarshal(bytes.Clone(data), d()) == nil {
				f.Add(append([]byte{byte(i)}, data...))
			}
		}
	}
	for _, data := range m.messages {
		message := must(ParseMessage(data))(f)
		seed(message)
		p := message.Public
		if p == nil {
			continue
		}
		seed(p)
		seed(&p.Content)
		seed(p.authenticated())
		if p.Content.Proposal != nil {
			seed(p.Content.Proposal)
		}
		if c := p.Content.Commit; c != nil {
			seed(c)
			for i := range c.Proposals {
				seed(&c.Proposals[i])
			}
			if c.Path != nil {
				seed(c.Path)
			}
		}
	}
	leaf := m.bob.state.tree.leaf(1)
	for _, v := range []Marshaler{m.bob.Context(), leaf, leaf.Capabilities, &leaf.Credential, m.bob.Context().Extensions, newTrio(f).bob.state.tree.at(3).parent, m.welcome,
		&groupSecrets{joinerSecret: []byte("j"), pathSecret: []byte("p"), psks: []PreSharedKeyID{*m.psk("x")}},
		&ReInit{GroupID: []byte("g"), Version: 1, CipherSuite: 1}, &RequiredCapabilities{Extensions: []ExtensionType{1}},
		&ApplicationFraming{MediaType: mimiContent, Content: []byte("x")}, MediaTypeList{mimiContent}, SafeAAD{{1, []byte{1}}}, testDictionary(),
		&PartialGroupInfo{Signature: []byte("s")}, &RatchetTreeOption{Representation: TreeFull, Tree: m.bob.RatchetTree()}} {
		seed(v)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		v, body := decoders[int(data[0])%len(decoders)](), data[1:]
		bounded(t, len(body), func() {
			if err := Unmarshal(body, v); err != nil {
				if !errors.Is(err, ErrSyntax) {
					t.Fatalf("%T: %v", v, err)
				}
				return
			}
			if again := Marshal(v); !bytes.Equal(again, body) {
				t.Fatalf("%T: %x decodes, and encodes to %x", v, body, again)
			}
		})
	})
}

// FuzzGroup offers any bytes to a live group, to a hub, to those who join and to storage. The first byte says how: as they are, or signed and
// encrypted by a member whose keys are in the wrong hands, which gets past the first checks.
func FuzzGroup(f *testing.F) {
	m := newMaterial(f)
	offers := []func(*testing.T, []byte){m.fuzzMessage, m.fuzzProposal, m.fuzzCommit, m.fuzzPrivate, m.fuzzWelcome, m.fuzzGroupSecrets,
		m.fuzzGroupInfo, m.fuzzTree, m.fuzzContext, m.fuzzRecords, m.fuzzAppData}
	add := func(offer byte, data []byte) { f.Add(append([]byte{offer}, data...)) }
	for _, data := range m.messages {
		add(0, data)
		if p := must(ParseMessage(data))(f).Public; p != nil && p.Content.Proposal != nil {
			add(1, Marshal(p.Content.Proposal))
		} else if p != nil && p.Content.Commit != nil {
			add(2, Marshal(p.Content.Commit))
		}
	}
	for t := ProposalAdd; t <= ProposalSelfRemove; t++ {
		p := &Proposal{Type: t, PSK: m.psk("known"), ReInit: &ReInit{Version: 1, CipherSuite: 1}, AppDataUpdate: &AppDataUpdate{Component: testAppend, Operation: OpRemove},
			AppEphemeral: &AppEphemeral{Component: testAppend}, Add: &m.stray.KeyPackage, Update: m.bob.state.tree.leaf(2)}
		add(1, Marshal(p))
		add(2, Marshal(&Commit{Proposals: []ProposalOrRef{{Proposal: p}}}))
		add(3, append([]byte{1}, Marshal(p)...))
	}
	add(3, []byte("\x00\x05hello\x00"))
	add(4, Marshal(m.welcome))
	add(5, Marshal(&groupSecrets{joinerSecret: make([]byte, 32), psks: []PreSharedKeyID{*m.psk("known")}}))
	add(6, Marshal(must(m.alice.GroupInfo(0, true))(f)))
	add(7, m.alice.RatchetTree())
	add(7, newTrio(f).alice.RatchetTree()) // with parents
	add(8, Marshal(m.alice.Context()))
	var records Encoder
	for _, r := range m.bob.Snapshot() {
		records.Opaque(r.Key)
		records.Opaque(r.Value)
	}
	add(9, records.Bytes())
	add(10, []byte{1, 1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		m.TB = t
		offer := offers[int(data[0])%len(offers)]
		bounded(t, len(data), func() { offer(t, data[1:]) })
		m.intact(t)
	})
}

func (m *material) fuzzMessage(t *testing.T, data []byte) {
	message, err := ParseMessage(data)
	if err != nil {
		return
	}
	if id := message.GroupID(); id != nil && !bytes.Contains(data, id) {
		t.Fatal("a group ID out of nowhere")
	}
	m.offer(t, message)
	if k := message.KeyPackage; k != nil && VerifyKeyPackage(m.cfg, k) == nil && !bytes.Equal(Marshal(k), Marshal(&m.stray.KeyPackage)) {
		t.Fatal("a key package of nobody's is valid")
	}
	if message.Public != nil { // as something pending, for one who joins
		info := must(m.alice.GroupInfo(0, true))(t)
		_, _, _ = ExternalCommit(m.cfg, info, testTemplate(t, m.cfg, X25519AES128, "erin"), ExternalOptions{Pending: []*Message{message}})
	}
}

func (m *material) fuzzProposal(t *testing.T, data []byte) {
	p := new(Proposal)
	if Unmarshal(data, p) != nil {
		return
	}
	m.offer(t, must(ParseMessage(forgeProposal(t, m.alice, *p)))(t))
	_, _ = m.hub.ExternalProposal(0, m.stray.Signature, *p, Framing{})
	if step, err := m.bob.Commit(1, CommitOptions{Proposals: []Proposal{*p}}); err == nil { // and made by ourselves
		if err := m.bob.Discard(step); err != nil {
			t.Fatal(err)
		}
	}
}

func (m *material) fuzzCommit(t *testing.T, data []byte) {
	c := new(Commit)
	if Unmarshal(data, c) != nil {
		return
	}
	for _, sender := range []Sender{{SenderMember, 0}, {Type: SenderNewMemberCommit}} {
		a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{GroupID: m.alice.GroupID(), Epoch: m.alice.Epoch(),
			Sender: sender, ContentType: ContentCommit, Commit: c}}
		if err := a.sign(m.alice.suite, m.alice.leaves[0].signature, m.alice.state.contextBytes); err != nil {
			t.Fatal(err)
		}
		a.Auth.ConfirmationTag = make([]byte, 32)
		m.offer(t, must(ParseMessage(m.alice.framePublic(a)))(t))
	}
}

// fuzzPrivate is a PrivateMessage with any plaintext; its first byte is the content type.
func (m *material) fuzzPrivate(t *testing.T, data []byte) {
	if len(data) == 0 {
		return
	}
	f := &privateForgery{plain: append([]byte{}, data[1:]...), content: FramedContent{GroupID: m.alice.GroupID(), Epoch: m.alice.Epoch(), ContentType: ContentType(1 + data[0]%3)}}
	m.offer(t, must(ParseMessage(f.message(t, m.alice)))(t))
}

func (m *material) fuzzWelcome(t *testing.T, data []byte) {
	w := new(Welcome)
	if Unmarshal(data, w) != nil {
		return
	}
	g, err := JoinWelcome(m.cfg, w, JoinOptions{Own: []*JoinSecrets{m.dave, m.stray}, Previous: m.bob})
	if err == nil && !bytes.Equal(g.EpochAuthenticator(), m.bob.EpochAuthenticator()) {
		t.Fatal("joined by a Welcome that nobody sent")
	}
}

func (m *material) fuzzGroupSecrets(t *testing.T, data []byte) {
	g := new(groupSecrets)
	if Unmarshal(data, g) != nil {
		return
	}
	f := m.welcomeTo(t, m.dave, m.alice.RatchetTree())
	f.group = func(s *groupSecrets) { *s = *g }
	w, _ := f.message(t)
	_, _ = JoinWelcome(m.cfg, w, JoinOptions{Own: []*JoinSecrets{m.dave}, Previous: m.bob})
}

func (m *material) fuzzGroupInfo(t *testing.T, data []byte) {
	info := new(GroupInfo)
	if Unmarshal(data, info) != nil {
		return
	}
	for range 2 { // as it is, then signed by alice
		_, _ = NewPublicGroup(m.cfg, info, m.alice.RatchetTree())
		_, _, _ = ExternalCommit(m.cfg, info, testTemplate(t, m.cfg, X25519AES128, "erin"), ExternalOptions{RatchetTree: m.alice.RatchetTree()})
		info.Signer = 0
		if err := info.sign(m.alice.suite, m.alice.leaves[0].signature); err != nil {
			t.Fatal(err)
		}
	}
}

// fuzzTree is a tree whose hash a member has signed.
func (m *material) fuzzTree(t *testing.T, data []byte) {
	tr, err := parseTree(m.alice.suite, data, new(interner))
	if err != nil {
		return
	}
	if !bytes.Equal(tr.marshal(), data) {
		t.Fatalf("tree %x encodes to %x", data, tr.marshal())
	}
	info := must(m.alice.GroupInfo(0, false))(t)
	info.Context.TreeHash = tr.root.hash
	if err := info.sign(m.alice.suite, m.alice.leaves[0].signature); err != nil {
		t.Fatal(err)
	}
	_, _ = NewPublicGroup(m.cfg, info, data)
}

func (m *material) fuzzContext(t *testing.T, data []byte) {
	ctx := new(GroupContext)
	if Unmarshal(data, ctx) != nil {
		return
	}
	_, _ = ctx.Dictionary()
	_, _ = ctx.ContentMediaTypes()
	info := must(m.alice.GroupInfo(0, true))(t)
	info.Context = *ctx
	if err := info.sign(m.alice.suite, m.alice.leaves[0].signature); err != nil {
		t.Fatal(err)
	}
	_, _ = NewPublicGroup(m.cfg, info, nil)
	_, _ = NewMemberProposal(m.cfg, ctx, m.stray, Framing{})
	_, _ = NewGroup(m.cfg, ctx.GroupID, ctx.Extensions, m.stray)
}

// fuzzRecords is what storage might give back.
func (m *material) fuzzRecords(t *testing.T, data []byte) {
	var records []Record
	d := NewDecoder(data)
	for d.More() {
		if r := (Record{Key: d.Opaque(), Value: d.Opaque()}); d.Err() == nil {
			records = append(records, r)
		}
	}
	if g, err := LoadGroup(m.cfg, records); err == nil {
		for _, leaf := range g.LocalLeaves()[:min(1, len(g.LocalLeaves()))] {
			_, _ = g.Protect(leaf, []byte("x"), Framing{})
			_, _ = g.Commit(leaf, CommitOptions{})
		}
		if p := g.Pending(); p != nil {
			_, _ = g.Merge(p)
		}
		for _, data := range m.messages[:4] {
			_, _ = g.Process(must(ParseMessage(data))(t), Arrival{})
		}
		g.Snapshot()
	}
	_, _ = LoadPublicGroup(m.cfg, records)
	_, _ = UnmarshalJoinSecrets(m.cfg.Suites, data)
}

// fuzzAppData commits updates and removals that the input spells out, two bytes each: component and operation.
func (m *material) fuzzAppData(t *testing.T, data []byte) {
	var list []ResolvedProposal
	for pair := range slices.Chunk(data, 2) {
		id, op := testAppend+ComponentID(pair[0]%4), AppDataUpdateOperation(1+pair[len(pair)-1]%2)
		list = append(list, values(Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: id, Operation: op, Update: pair}})...)
	}
	if len(list) < 200 {
		m.offer(t, must(ParseMessage((&forgery{by: m.alice, list: list}).message(t)))(t))
	}
}

// FuzzSuites gives any bytes to what parses keys, ciphertexts and signatures; the first two choose suite and function.
func FuzzSuites(f *testing.F) {
	suites := DefaultSuites()
	ids := make([]CipherSuite, 0, len(suites))
	for id := range suites {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	privates, signers := make(map[CipherSuite][]byte), make(map[CipherSuite]*SignatureKey)
	for i, id := range ids {
		random := bytes.NewReader(bytes.Repeat([]byte{byte(i + 1), 2, 3, 5, 7, 11}, 100))
		private, public, err := suites[id].hpke.NewKeyPair(random)
		if err != nil {
			f.Fatal(err)
		}
		key := must(suites.NewSignatureKey(id, random))(f)
		privates[id], signers[id] = private, key
		signature := must(suites.SignWithLabel(id, key, "fuzz", nil))(f)
		sealed := must(suites.EncryptWithLabel(id, public, "fuzz", nil, []byte("x")))(f)
		for op, data := range [][]byte{key.PublicBytes(), key.Bytes(), signature, public, private, sealed.KEMOutput, Marshal(&sealed)} {
			f.Add(append([]byte{byte(i), byte(op)}, data...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		id, body := ids[int(data[0])%len(ids)], data[2:]
		s := must(suites.get(id))(t)
		switch data[1] % 7 {
		case 0:
			if suites.VerifyWithLabel(id, body, "fuzz", []byte("content"), bytes.Repeat([]byte{1}, 64)) == nil {
				t.Fatal("a constant is a signature")
			}
			if s.sig.CheckPublic(body) == nil && len(body) != len(signers[id].PublicBytes()) {
				t.Fatalf("public key of %d bytes", len(body))
			}
		case 1:
			key, err := suites.ParseSignatureKey(id, body)
			if err != nil {
				return
			}
			if !bytes.Equal(key.Bytes(), body) {
				t.Fatal("the key is another")
			}
			signature := must(suites.SignWithLabel(id, key, "fuzz", body))(t)
			if err := suites.VerifyWithLabel(id, key.PublicBytes(), "fuzz", body, signature); err != nil {
				t.Fatal(err)
			}
		case 2:
			if suites.VerifyWithLabel(id, signers[id].PublicBytes(), "other", body, body) == nil {
				t.Fatal("anything is a signature")
			}
		case 3:
			sealed, err := suites.EncryptWithLabel(id, body, "fuzz", nil, []byte("x"))
			if err == nil && len(sealed.KEMOutput) != s.hpke.EncSize {
				t.Fatalf("KEM output of %d bytes", len(sealed.KEMOutput))
			}
			_, _, _ = s.hpke.ExternalInit(body)
		case 4:
			_, _ = suites.DecryptWithLabel(id, body, "fuzz", nil, HPKECiphertext{KEMOutput: make([]byte, s.hpke.EncSize), Ciphertext: []byte("x")})
		case 5:
			_, _ = s.hpke.ExternalInitReceive(privates[id], body)
		default:
			var ct HPKECiphertext
			if Unmarshal(body, &ct) == nil {
				_, _ = suites.DecryptWithLabel(id, privates[id], "fuzz", nil, ct)
			}
		}
	})
}
