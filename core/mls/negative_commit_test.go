package mls

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestNegativeCommit is RFC 9420 §12.4.2, §7.5, §7.6 and §7.9: commits whose proposals are fine.
func TestNegativeCommit(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	remove := values(Proposal{Type: ProposalRemove, Remove: 2})
	noPath := func(list []ResolvedProposal) *forgery { return &forgery{by: w.alice, list: list, noPath: true} }
	key := func(k int, key func() []byte) *forgery {
		return &forgery{by: w.alice, keys: func(keys [][]byte) { keys[k] = key() }}
	}
	nodeKey := func(i nodeIndex) func() []byte {
		return func() []byte { return w.alice.state.tree.at(i).encryptionKey() }
	}
	for _, c := range []struct {
		name string
		f    func() *forgery
		want error
		text string
		hub  bool // a hub sees it as well
	}{
		{"valn1205 unknown PSK", func() *forgery {
			return &forgery{by: w.alice, list: values(Proposal{Type: ProposalPSK, PSK: w.psk("lost")})}
		}, ErrPSK, "unknown", false},
		{"valn1205 resumption PSK of an epoch to come", func() *forgery {
			id := &PreSharedKeyID{Type: PSKResumption, Usage: UsageApplication, GroupID: w.alice.GroupID(), Epoch: 1 << 40, Nonce: w.psk("").Nonce}
			return &forgery{by: w.alice, list: values(Proposal{Type: ProposalPSK, PSK: id})}
		}, ErrPSK, "unknown", false},
		{"valn1206 ValSem201 no path: empty", func() *forgery { return noPath(nil) }, ErrCommit, "path missing", true},
		{"valn1206 ValSem201 no path: remove", func() *forgery { return noPath(remove) }, ErrCommit, "path missing", true},
		{"valn1206 ValSem201 no path: update", func() *forgery { return noPath([]ResolvedProposal{w.update(w.carol)}) }, ErrCommit, "path missing", true},
		{"valn1206 no path: context extensions", func() *forgery {
			return noPath(values(Proposal{Type: ProposalGroupContextExtensions, Extensions: w.alice.state.context.Extensions}))
		}, ErrCommit, "path missing", true},
		{"valn1206 ext §6.3 no path: self_remove", func() *forgery {
			return noPath([]ResolvedProposal{w.send(w.carol, Proposal{Type: ProposalSelfRemove})})
		}, ErrCommit, "path missing", true},
		{"valn1206 no path: one of several", func() *forgery { return noPath(append(values(appData("x")), remove...)) }, ErrCommit, "path missing", true},
		{"ValSem202 path too short", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) { p.Nodes = p.Nodes[:1] }}
		}, ErrCommit, "path of 1 nodes, want 2", true},
		{"ValSem202 path too long", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) { p.Nodes = append(p.Nodes, p.Nodes[0]) }}
		}, ErrCommit, "path of 3 nodes, want 2", true},
		{"ValSem202 path without nodes", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) { p.Nodes = nil }}
		}, ErrCommit, "path of 0 nodes, want 2", true},
		{"valn1101 too few ciphertexts", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) { p.Nodes[1].EncryptedPathSecret = nil }}
		}, ErrCommit, "0 ciphertexts at path node 1, want 1", true},
		{"valn1101 too many ciphertexts", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) {
				p.Nodes[0].EncryptedPathSecret = append(p.Nodes[0].EncryptedPathSecret, p.Nodes[0].EncryptedPathSecret[0])
			}}
		}, ErrCommit, "2 ciphertexts at path node 0, want 1", true},
		{"valn1101 a ciphertext for a leaf just added", func() *forgery {
			return &forgery{by: w.alice, list: values(adds(newMember(t, w.cfg, X25519AES128, "dave"))...), path: func(p *UpdatePath) {
				p.Nodes[1].EncryptedPathSecret = append(p.Nodes[1].EncryptedPathSecret, p.Nodes[1].EncryptedPathSecret[0])
			}}
		}, ErrCommit, "2 ciphertexts at path node 1, want 1", true},
		{"valn1208 leaf keeps its encryption key", func() *forgery {
			return &forgery{by: w.alice, leaf: func(l *LeafNode) { l.EncryptionKey = nodeKey(0)() }}
		}, ErrCommit, "a key that the tree has", true},
		{"valn1209 ValSem206 leaf takes bob's key", func() *forgery {
			return &forgery{by: w.alice, leaf: func(l *LeafNode) { l.EncryptionKey = nodeKey(2)() }}
		}, ErrCommit, "a key that the tree has", true},
		{"valn1209 leaf takes the root's key", func() *forgery {
			return &forgery{by: w.alice, leaf: func(l *LeafNode) { l.EncryptionKey = nodeKey(3)() }}
		}, ErrCommit, "a key that the tree has", true},
		{"valn1209 ValSem207 node takes bob's key", func() *forgery { return key(0, nodeKey(2)) }, ErrCommit, "a key that the tree has", true},
		{"valn1209 node keeps its key", func() *forgery { return key(0, nodeKey(1)) }, ErrCommit, "a key that the tree has", true},
		{"valn1209 node takes the leaf's old key", func() *forgery { return key(1, nodeKey(0)) }, ErrCommit, "a key that the tree has", true},
		{"valn1209 one key for two nodes", func() *forgery {
			return &forgery{by: w.alice, keys: func(keys [][]byte) { keys[1] = keys[0] }}
		}, ErrTree, "occur twice", true},
		{"valn1209 one key for leaf and node", func() *forgery {
			var leaf []byte
			return &forgery{by: w.alice, leaf: func(l *LeafNode) { leaf = l.EncryptionKey }, keys: func(keys [][]byte) { keys[1] = leaf }}
		}, ErrTree, "occur twice", true},
		{"valn1209 node takes the key of an added leaf", func() *forgery {
			dave := newMember(t, w.cfg, X25519AES128, "dave")
			return &forgery{by: w.alice, list: values(adds(dave)...), keys: func(keys [][]byte) { keys[1] = dave.KeyPackage.LeafNode.EncryptionKey }}
		}, ErrTree, "occur twice", true},
		{"§7.6 node key malformed", func() *forgery { return key(1, func() []byte { return []byte("short") }) }, ErrKey, "HPKE public key", true},
		{"§7.9 parent hash", func() *forgery {
			return &forgery{by: w.alice, leaf: func(l *LeafNode) { l.ParentHash = bytes.Repeat([]byte{9}, 32) }}
		}, ErrCommit, "wrong parent hash", true},
		{"ValSem203 path secret does not decrypt", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) {
				p.Nodes[0].EncryptedPathSecret[0].Ciphertext = flip(p.Nodes[0].EncryptedPathSecret[0].Ciphertext)
			}}
		}, ErrDecrypt, "path secret", false},
		{"ValSem203 KEM output does not decrypt", func() *forgery {
			return &forgery{by: w.alice, path: func(p *UpdatePath) { p.Nodes[0].EncryptedPathSecret[0].KEMOutput = []byte("short") }}
		}, ErrDecrypt, "kem_output", false},
		{"ValSem204 path secret of another key", func() *forgery {
			return &forgery{by: w.alice, secrets: func(s [][]byte) { s[0] = bytes.Repeat([]byte{1}, 32) }}
		}, ErrCommit, "does not yield the key of path node 0", false},
		{"ValSem204 path secret too short", func() *forgery {
			return &forgery{by: w.alice, secrets: func(s [][]byte) { s[0] = s[0][:31] }}
		}, ErrCommit, "path secret of 31 bytes", false},
		{"ValSem204 node key that no path secret yields", func() *forgery {
			_, other, _ := w.alice.suite.hpke.NewKeyPair(w.cfg.random())
			return key(1, func() []byte { return other })
		}, ErrCommit, "does not yield the key of path node 1", false},
		{"ValSem205 confirmation tag", func() *forgery {
			return &forgery{by: w.alice, auth: func(a *FramedContentAuthData) { a.ConfirmationTag = flip(a.ConfirmationTag) }}
		}, ErrConfirmationTag, "", false},
		{"ValSem009 confirmation tag too short", func() *forgery {
			return &forgery{by: w.alice, auth: func(a *FramedContentAuthData) { a.ConfirmationTag = a.ConfirmationTag[1:] }}
		}, ErrConfirmationTag, "31 bytes", true},
		{"ValSem009 no confirmation tag", func() *forgery {
			return &forgery{by: w.alice, auth: func(a *FramedContentAuthData) { a.ConfirmationTag = nil }}
		}, ErrConfirmationTag, "0 bytes", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			w.refused(c.f().message(t), c.want, c.text, c.hub)
		})
	}
}

// TestNegativeFraming is RFC 9420 §6: who sent what, in which epoch of which group.
func TestNegativeFraming(t *testing.T) {
	w := newTrio(t)
	content := func(f func(*FramedContent)) []byte { return (&forgery{by: w.alice, content: f}).message(t) }
	sender := func(s Sender) []byte { return content(func(c *FramedContent) { c.Sender = s }) }
	bobsTwin := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
	for _, c := range []struct {
		name string
		data func() []byte
		want error
		text string
		hub  bool
	}{
		{"ValSem002 group", func() []byte { return content(func(c *FramedContent) { c.GroupID = []byte("duo") }) }, ErrWrongGroup, "", true},
		{"valn1201 ValSem003 epoch passed", func() []byte { return content(func(c *FramedContent) { c.Epoch-- }) }, ErrWrongEpoch, "", true},
		{"valn1201 ValSem003 epoch to come", func() []byte { return content(func(c *FramedContent) { c.Epoch++ }) }, ErrWrongEpoch, "", true},
		{"ValSem003 proposal of another epoch", func() []byte {
			return forgeProposal(t, w.alice, adds(newMember(t, w.cfg, X25519AES128, "dave"))[0], func(a *AuthenticatedContent) { a.Content.Epoch-- })
		}, ErrWrongEpoch, "", true},
		{"ValSem004 blank leaf", func() []byte { return sender(Sender{SenderMember, 3}) }, ErrNotMember, "leaf 3 is blank", true},
		{"ValSem004 leaf outside the tree", func() []byte { return sender(Sender{SenderMember, 1 << 31}) }, ErrNotMember, "is blank", true},
		{"ValSem005 application data", func() []byte {
			return content(func(c *FramedContent) { c.ContentType, c.Application = ContentApplication, []byte("hi") })
		}, ErrSyntax, "outside a PrivateMessage", true},
		{"valn1202 valn1302 ValSem008 membership tag", func() []byte { return (&forgery{by: w.alice, tag: flip}).message(t) }, ErrMembershipTag, "", false},
		{"valn1202 valn1302 ValSem007 no membership tag", func() []byte {
			return (&forgery{by: w.alice, tag: func([]byte) []byte { return nil }}).message(t)
		}, ErrMembershipTag, "", false},
		{"valn1203 valn1302 ValSem010 signature", func() []byte {
			return (&forgery{by: w.alice, auth: func(a *FramedContentAuthData) { a.Signature = flip(a.Signature) }}).message(t)
		}, ErrSignature, "FramedContentTBS", true},
		{"valn1301 signature of another member", func() []byte { return (&forgery{by: w.alice, signer: w.carol.leaves[2].signature}).message(t) }, ErrSignature, "FramedContentTBS", true},
		{"valn1301 in another's name", func() []byte { return sender(Sender{SenderMember, 2}) }, ErrSignature, "FramedContentTBS", true},
		{"valn1301 in bob's name", func() []byte { return sender(Sender{SenderMember, 1}) }, ErrSignature, "FramedContentTBS", true},
		{"valn1501 commit of an external sender", func() []byte { return sender(Sender{SenderExternal, 0}) }, ErrCommit, "sender type 2", true},
		{"valn1503 commit of a newcomer with a proposal", func() []byte { return sender(Sender{Type: SenderNewMemberProposal}) }, ErrCommit, "sender type 3", true},
		{"valn0408 member's commit as an external one", func() []byte { return sender(Sender{Type: SenderNewMemberCommit}) }, ErrProposal, "external commit with 0 external_init", true},
	} {
		t.Run("public "+c.name, func(t *testing.T) {
			w.TB = t
			w.refused(c.data(), c.want, c.text, c.hub)
		})
	}
	t.Run("public commit of a local leaf whose secrets are gone", func(t *testing.T) {
		w := newTrio(t)
		twin := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
		data := commit(t, twin, 1, CommitOptions{}).Message
		unchanged(t, "bob", w.bob, ErrOwnMessage, "secrets are gone", func() error { _, err := w.bob.Process(must(ParseMessage(data))(t), Arrival{}); return err })
	})
	t.Run("update of a local leaf whose key is gone", func(t *testing.T) {
		w := newTrio(t)
		twin := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
		w.deliver(must(twin.ProposeUpdate(1, nil, Framing{}, false))(t).Message, nil)
		data := commit(t, w.alice, 0, CommitOptions{}).Message
		unchanged(t, "bob", w.bob, ErrOwnMessage, "key is gone", func() error { _, err := w.bob.Process(must(ParseMessage(data))(t), Arrival{}); return err })
	})
	t.Run("private of a local leaf", func(t *testing.T) {
		w := newTrio(t)
		twin := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
		data := must(twin.Protect(1, []byte("me?"), Framing{}))(t).Message
		unchanged(t, "bob", w.bob, ErrOwnMessage, "leaf 1 generation 0", func() error { _, err := w.bob.Process(must(ParseMessage(data))(t), Arrival{}); return err })
	})
	if bobsTwin.Epoch() != 1 {
		t.Error("the twin moved")
	}
	privateFraming(t, w)
	for _, m := range []*Message{{WireFormat: WireKeyPackage, KeyPackage: &newMember(t, w.cfg, X25519AES128, "x").KeyPackage}, {WireFormat: WireGroupInfo, GroupInfo: must(w.alice.GroupInfo(0, false))(t)}} {
		unchanged(t, "bob", w.bob, ErrSyntax, "", func() error { _, err := w.bob.Process(m, Arrival{}); return err })
		unchanged(t, "hub", w.hub, ErrSyntax, "", func() error { _, err := w.hub.Process(m); return err })
	}
}

// privateForgery is a PrivateMessage of alice with arbitrary insides.
type privateForgery struct {
	content    FramedContent
	sign       bool
	padding    []byte
	plain      []byte // instead of content, signature and padding
	leaf       uint32
	generation uint32                // how far ahead
	outer      func(*PrivateMessage) // after encryption
}

func (f *privateForgery) message(t testing.TB, g *Group) []byte {
	t.Helper()
	s, m := g.suite, g.keys
	var plain Encoder
	if plain.Raw(f.plain); f.plain == nil {
		a := &AuthenticatedContent{WireFormat: WirePrivateMessage, Content: f.content}
		if err := a.sign(s, g.leaves[0].signature, g.state.contextBytes); err != nil {
			t.Fatal(err)
		}
		if !f.sign {
			a.Auth.Signature = flip(a.Auth.Signature)
		}
		a.Content.marshalBody(&plain)
		a.Auth.marshal(&plain, a.Content.ContentType)
		plain.Raw(f.padding)
	}
	step := &Step{}
	id := ratchetID{0, f.content.ContentType != ContentApplication}
	r := must(m.ratchet(id, step))(t)
	k, _ := r.advance(s)
	k.key, k.nonce = bytes.Clone(k.key), bytes.Clone(k.nonce)
	step.rollback()
	aead := must(s.newAEAD(k.key))(t)
	p := &PrivateMessage{GroupID: f.content.GroupID, Epoch: f.content.Epoch, ContentType: f.content.ContentType, AuthenticatedData: f.content.AuthenticatedData}
	var e Encoder
	e.Opaque(p.GroupID)
	e.Uint64(p.Epoch)
	e.Uint8(uint8(p.ContentType))
	short := len(e.Bytes())
	e.Opaque(p.AuthenticatedData)
	p.Ciphertext = aead.Seal(nil, k.nonce, plain.Bytes(), e.Bytes())
	sender := binary.BigEndian.AppendUint32(nil, f.leaf)
	sender = binary.BigEndian.AppendUint32(sender, r.generation+f.generation)
	sender = append(sender, 0, 0, 0, 0)
	sample := p.Ciphertext[:min(len(p.Ciphertext), s.nh)]
	senderAEAD := must(s.newAEAD(s.expand(m.senderData, "key", sample, s.nk)))(t)
	p.EncryptedSenderData = senderAEAD.Seal(nil, s.expand(m.senderData, "nonce", sample, nn), sender, e.Bytes()[:short])
	if f.outer != nil {
		f.outer(p)
	}
	return Marshal(&Message{WireFormat: WirePrivateMessage, Private: p})
}

func privateFraming(t *testing.T, w *trio) {
	said := func() FramedContent {
		return FramedContent{GroupID: w.alice.GroupID(), Epoch: w.alice.Epoch(), Sender: Sender{Type: SenderMember}, ContentType: ContentApplication, Application: []byte("hello")}
	}
	proposed := func(p Proposal) FramedContent {
		c := said()
		c.ContentType, c.Application, c.Proposal = ContentProposal, nil, &p
		return c
	}
	w.TB = t
	fine := must(ParseMessage((&privateForgery{content: said(), sign: true, padding: make([]byte, 40)}).message(t, w.alice)))(t)
	step := must(w.bob.Process(fine, Arrival{}))(t)
	if string(step.Application) != "hello" {
		t.Fatalf("the good forgery reads %q", step.Application)
	}
	if err := w.bob.Discard(step); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    func() *privateForgery
		want error
		text string
	}{
		{"valn1303 ValSem011 padding", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, padding: []byte{0, 0, 1, 0}}
		}, ErrSyntax, "padding is not zero"},
		{"valn1304 ValSem010 signature", func() *privateForgery { return &privateForgery{content: said()} }, ErrSignature, "FramedContentTBS"},
		{"valn1306 ValSem004 blank leaf", func() *privateForgery { return &privateForgery{content: said(), sign: true, leaf: 3} }, ErrNotMember, "sender leaf 3 is blank"},
		{"valn1306 leaf outside the tree", func() *privateForgery { return &privateForgery{content: said(), sign: true, leaf: 1<<32 - 1} }, ErrNotMember, "is blank"},
		{"valn1301 in carol's name", func() *privateForgery { return &privateForgery{content: said(), sign: true, leaf: 2} }, ErrDecrypt, "message content"},
		{"§9.1 another generation", func() *privateForgery { return &privateForgery{content: said(), sign: true, generation: 1} }, ErrDecrypt, "message content"},
		{"§15.3 generation far ahead", func() *privateForgery { return &privateForgery{content: said(), sign: true, generation: 1001} }, ErrReplay, "generation 1002"},
		{"§15.3 the last generation", func() *privateForgery { return &privateForgery{content: said(), sign: true, generation: 1<<32 - 2} }, ErrReplay, "generation"},
		{"ValSem006 ciphertext", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.Ciphertext = flip(p.Ciphertext) }}
		}, ErrDecrypt, ""},
		{"ValSem006 ciphertext empty", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.Ciphertext = nil }}
		}, ErrDecrypt, "sender data"},
		{"ValSem006 sender data too short", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.EncryptedSenderData = p.EncryptedSenderData[:3] }}
		}, ErrDecrypt, "sender data"},
		{"ValSem002 group", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.GroupID = []byte("duo") }}
		}, ErrWrongGroup, ""},
		{"ValSem003 epoch to come", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.Epoch++ }}
		}, ErrWrongEpoch, ""},
		{"§6.3.1 another content type", func() *privateForgery {
			return &privateForgery{content: said(), sign: true, outer: func(p *PrivateMessage) { p.ContentType = ContentProposal }}
		}, ErrDecrypt, "sender data"},
		{"ext §6.3 self_remove", func() *privateForgery {
			return &privateForgery{content: proposed(Proposal{Type: ProposalSelfRemove}), sign: true}
		}, ErrProposal, "must be a PublicMessage"},
		{"§12.1.3 bad proposal", func() *privateForgery {
			return &privateForgery{content: proposed(Proposal{Type: ProposalRemove, Remove: 3}), sign: true}
		}, ErrProposal, "blank leaf 3"},
		{"§12.1 a proposal's signature", func() *privateForgery { return &privateForgery{content: proposed(appData("x"))} }, ErrSignature, "FramedContentTBS"},
		{"§12.4 bad commit", func() *privateForgery {
			c := said()
			c.ContentType, c.Application, c.Commit = ContentCommit, nil, &Commit{}
			return &privateForgery{content: c, sign: true}
		}, ErrCommit, "path missing"},
	} {
		t.Run("private "+c.name, func(t *testing.T) {
			w.TB = t
			w.refused(c.f().message(t, w.alice), c.want, c.text, false)
		})
	}
	t.Run("private handshake of an epoch passed", func(t *testing.T) {
		w := newTrio(t)
		late := must(w.carol.Propose(2, Proposal{Type: ProposalRemove, Remove: 0}, Framing{}, true))(t)
		settle(t, w.carol, late)
		w.alive()
		w.refused(late.Message, ErrWrongEpoch, "", false)
	})
	t.Run("private to a hub", func(t *testing.T) {
		unchanged(t, "hub", w.hub, ErrSyntax, "not a PublicMessage", func() error { _, err := w.hub.Process(fine); return err })
	})
	unchanged(t, "alice", w.alice, ErrProposal, "must be a PublicMessage", func() error { // ext §6.3
		_, err := w.alice.Propose(0, Proposal{Type: ProposalSelfRemove}, Framing{}, true)
		return err
	})
}

// TestNegativeExternalCommit is RFC 9420 §12.2 and §12.4.3.2 with what draft-ietf-mls-extensions-10 adds (valn0401 to valn0410;
// ValSem240 to 247).
func TestNegativeExternalCommit(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	with := func(name string, ps ...Proposal) *forgery {
		f := w.external(name)
		f.list = append(f.list, values(ps...)...)
		return f
	}
	remove := func(i LeafIndex) Proposal { return Proposal{Type: ProposalRemove, Remove: i} }
	for _, c := range []struct {
		name string
		f    func() *forgery
		want error
		text string
		hub  bool
	}{
		{"valn0401 ValSem240 no external_init", func() *forgery {
			f := w.external("dave")
			f.list = nil
			return f
		}, ErrProposal, "with 0 external_init", true},
		{"valn0401 ValSem241 two external_inits", func() *forgery {
			f := w.external("dave")
			f.list = append(f.list, f.list[0])
			return f
		}, ErrProposal, "with 2 external_init", true},
		{"valn0402 two removes", func() *forgery { return with("carol", remove(2), remove(1)) }, ErrProposal, "more than one remove", true},
		{"valn0402 ValSem243 remove of another", func() *forgery { return with("dave", remove(2)) }, ErrCredential, "removes another member", true},
		{"valn0402 remove of nobody", func() *forgery { return with("carol", remove(3)) }, ErrProposal, "blank leaf 3", true},
		{"valn0402 resync keeps the encryption key", func() *forgery {
			f := with("carol", remove(2))
			f.leaf = func(l *LeafNode) { l.EncryptionKey = w.alice.state.tree.leaf(2).EncryptionKey }
			return f
		}, ErrCommit, "keeps the encryption key", true},
		{"valn0404 ValSem242 update", func() *forgery { return with("dave", w.signAsCarol(w.carolsUpdate())) }, ErrProposal, "type 0x0002 in an external commit", true},
		{"valn0404 ValSem242 add", func() *forgery { return with("dave", adds(newMember(t, w.cfg, X25519AES128, "erin"))...) }, ErrProposal, "type 0x0001 in an external commit", true},
		{"valn0404 ValSem242 context extensions", func() *forgery { return with("dave", Proposal{Type: ProposalGroupContextExtensions}) }, ErrProposal, "type 0x0007 in an external commit", true},
		{"valn0404 ValSem242 reinit", func() *forgery {
			return with("dave", Proposal{Type: ProposalReInit, ReInit: &ReInit{Version: MLS10, CipherSuite: 1}})
		}, ErrProposal, "type 0x0005 in an external commit", true},
		{"valn0404 ext §6.3 self_remove by value", func() *forgery { return with("dave", Proposal{Type: ProposalSelfRemove}) }, ErrProposal, "self_remove by value", true},
		{"valn0405 ValSem245 no path", func() *forgery {
			f := w.external("dave")
			f.noPath = true
			return f
		}, ErrCommit, "external commit without path", true},
		{"valn0406 ValSem244 add by reference", func() *forgery {
			f := w.external("dave")
			f.list = append(f.list, w.send(w.bob, adds(newMember(t, w.cfg, X25519AES128, "erin"))[0]))
			return f
		}, ErrProposal, "refers to a proposal of type 0x0001", true},
		{"valn0406 ValSem244 remove by reference", func() *forgery {
			f := w.external("dave")
			f.list = append(f.list, w.send(w.bob, remove(2)))
			return f
		}, ErrProposal, "refers to a proposal of type 0x0003", true},
		{"valn0406 ValSem244 app data by reference", func() *forgery {
			f := w.external("dave")
			f.list = append(f.list, w.send(w.bob, appData("x")))
			return f
		}, ErrProposal, "refers to a proposal of type 0x0008", true},
		{"valn0407 ValSem246 signature of a member", func() *forgery {
			f := w.external("dave")
			f.signer = w.alice.leaves[0].signature
			return f
		}, ErrSignature, "FramedContentTBS", true},
		{"valn0409 another init secret", func() *forgery {
			f := w.external("dave")
			f.init = bytes.Repeat([]byte{3}, 32)
			return f
		}, ErrConfirmationTag, "", false},
		{"valn0409 init secret of the group", func() *forgery {
			f := w.external("dave")
			f.init = w.alice.secrets.init
			return f
		}, ErrConfirmationTag, "", false},
		{"valn0409 malformed kem_output", func() *forgery {
			f := w.external("dave")
			f.list[0].Proposal.KEMOutput = []byte("short")
			return f
		}, ErrDecrypt, "external init", false},
		{"valn0803 PSK nonce", func() *forgery {
			id := w.psk("known")
			id.Nonce = nil
			return with("dave", Proposal{Type: ProposalPSK, PSK: id})
		}, ErrPSK, "nonce of 0 bytes", true},
		{"ext §4.7 update the application refuses", func() *forgery {
			p := appData("x")
			p.AppDataUpdate.Component = 0x9999
			return with("dave", p)
		}, ErrAppData, "unknown component", true},
		{"valn0110 source of the leaf", func() *forgery {
			f := w.external("dave")
			f.leaf = func(l *LeafNode) { l.Source = SourceUpdate }
			return f
		}, ErrLeafNode, "source 2, want 3", true},
		{"valn0101 credential", func() *forgery { return w.external("mallory") }, ErrCredential, "mallory", true},
		{"valn0102 signature of the leaf", func() *forgery {
			f := w.external("dave")
			f.signedLeaf = func(l *LeafNode) { l.Signature = flip(l.Signature) }
			return f
		}, ErrSignature, "LeafNodeTBS", true},
		{"valn0107 extension not listed", func() *forgery {
			f := w.external("dave")
			f.leaf = func(l *LeafNode) { l.Extensions = append(l.Extensions, Extension{0xf00a, nil}) }
			return f
		}, ErrLeafNode, "own extension", true},
		{"valn0111 signature key of bob", func() *forgery {
			f := w.external("dave")
			f.joiner.Signature = w.bob.leaves[1].signature
			return f
		}, ErrTree, "occur twice", true},
		{"valn0112 encryption key of bob", func() *forgery {
			f := w.external("dave")
			f.leaf = func(l *LeafNode) { l.EncryptionKey = w.alice.state.tree.leaf(1).EncryptionKey }
			return f
		}, ErrCommit, "a key that the tree has", true},
		{"§7.9 parent hash", func() *forgery {
			f := w.external("dave")
			f.leaf = func(l *LeafNode) { l.ParentHash = []byte{} }
			return f
		}, ErrCommit, "wrong parent hash", true},
		{"valn1101 ciphertexts", func() *forgery {
			f := w.external("dave")
			f.path = func(p *UpdatePath) { p.Nodes[0].EncryptedPathSecret = nil }
			return f
		}, ErrCommit, "0 ciphertexts", true},
		{"ValSem205 confirmation tag", func() *forgery {
			f := w.external("dave")
			f.auth = func(a *FramedContentAuthData) { a.ConfirmationTag = flip(a.ConfirmationTag) }
			return f
		}, ErrConfirmationTag, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.TB = t
			w.refused(c.f().message(t), c.want, c.text, c.hub)
		})
	}
	t.Run("made", func(t *testing.T) {
		info := must(w.alice.GroupInfo(0, true))(t)
		declined := func(name string, o ExternalOptions, want error, text string) {
			t.Helper()
			if _, _, err := ExternalCommit(w.cfg, info, testTemplate(t, w.cfg, X25519AES128, name), o); err == nil {
				t.Errorf("%s: made", text)
			} else {
				wrong(t, "ExternalCommit", err, want, text)
			}
		}
		bob, nobody := LeafIndex(1), LeafIndex(3)
		declined("dave", ExternalOptions{Proposals: adds(newMember(t, w.cfg, X25519AES128, "own"))}, ErrProposal, "type 0x0001 in an external commit")
		declined("dave", ExternalOptions{Proposals: []Proposal{{Type: ProposalGroupContextExtensions}}}, ErrProposal, "type 0x0007")
		declined("dave", ExternalOptions{Remove: &nobody}, ErrProposal, "blank leaf 3")
		declined("mallory", ExternalOptions{}, ErrCredential, "mallory")
		declined("dave", ExternalOptions{Framing: Framing{SafeAAD: SafeAAD{}}}, ErrSafeAAD, "")
		declined("dave", ExternalOptions{Remove: &bob}, ErrCredential, "removes another member")
		late := must(w.carol.Propose(2, Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t)
		bad := must(ParseMessage(late.Message))(t)
		bad.Public.Auth.Signature = flip(bad.Public.Auth.Signature)
		declined("dave", ExternalOptions{Pending: []*Message{bad}}, ErrSignature, "pending self_remove")
		if err := w.carol.Discard(late); err != nil {
			t.Fatal(err)
		}
	})
}
