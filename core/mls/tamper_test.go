package mls

import (
	"bytes"
	"errors"
	"iter"
	"testing"
)

// tampered yields copies of data that differ from it in one bit, one for each byte, then copies that are too short or too
// long. at is where, -1 for the latter.
func tampered(data []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for i := range data {
			c := bytes.Clone(data)
			c[i] ^= 1 << (i % 8)
			if !yield(i, c) {
				return
			}
		}
		for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
			if !yield(-1, data[:n:n]) {
				return
			}
		}
		yield(-1, append(bytes.Clone(data), 0))
	}
}

// tamperMessage flips a bit in every byte of a message: nobody may take it, or change because of it. Whatever field a byte
// belongs to is signed, encrypted or under a tag. hubSees says for which bytes a hub, which cannot check tags, must notice.
func tamperMessage(t *testing.T, w *trio, data []byte, hubSees func(i int) bool) {
	t.Helper()
	before, hubBefore := stored(w.bob), stored(w.hub)
	for i, bad := range tampered(data) {
		m, err := ParseMessage(bad)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("byte %d: %v", i, err)
			}
			continue
		}
		if _, err := w.bob.Process(m, Arrival{}); err == nil {
			t.Fatalf("byte %d: bob takes it", i)
		}
		if hubSees != nil {
			if _, err := w.hub.Process(m); (err == nil) == hubSees(i) {
				t.Fatalf("byte %d: hub says %v", i, err)
			} else if err == nil && len(w.hub.steps) > 0 { // a proposal with a bad membership tag
				if err := w.hub.Discard(w.hub.steps[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if i%16 == 0 {
			if d := stored(w.bob).differs(before); d != "" {
				t.Fatalf("byte %d: bob changed: %s", i, d)
			}
		}
	}
	if d := stored(w.bob).differs(before); d != "" {
		t.Fatalf("bob changed: %s", d)
	}
	if d := stored(w.hub).differs(hubBefore); d != "" {
		t.Fatalf("the hub changed: %s", d)
	}
}

// tags says of a PublicMessage's byte whether it is outside the contents of the confirmation tag and the membership tag, which end
// the message, 32 bytes each.
func outsideTags(data []byte, confirmation, membership bool) func(int) bool {
	n := len(data)
	return func(i int) bool {
		switch {
		case membership && i >= n-32:
			return false
		case confirmation && membership:
			return i < n-65 || i >= n-33
		case confirmation:
			return i < n-32
		}
		return true
	}
}

// TestTamper changes every byte of every kind of message.
func TestTamper(t *testing.T) {
	private := func(i int) bool { return true }
	for _, c := range []struct {
		name string
		make func(t *testing.T, w *trio) []byte
		sees func(data []byte) func(int) bool
	}{
		{"public proposal", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Propose(0, Proposal{Type: ProposalRemove, Remove: 2}, Framing{AAD: []byte("aad")}, false))(t).Message
		}, func(data []byte) func(int) bool { return outsideTags(data, false, true) }},
		{"public add", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Propose(0, adds(newMember(t, w.cfg, X25519AES128, "dave"))[0], Framing{}, false))(t).Message
		}, func(data []byte) func(int) bool { return outsideTags(data, false, true) }},
		{"public commit", func(t *testing.T, w *trio) []byte {
			w.send(w.carol, appData("x"))
			return must(w.alice.Commit(0, CommitOptions{Proposals: []Proposal{appData("y")}, Framing: Framing{AAD: []byte("aad")}}))(t).Message
		}, func(data []byte) func(int) bool { return outsideTags(data, true, true) }},
		{"public commit without path", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Commit(0, CommitOptions{Proposals: adds(newMember(t, w.cfg, X25519AES128, "dave")), OmitPath: true}))(t).Message
		}, func(data []byte) func(int) bool { return outsideTags(data, true, true) }},
		{"external commit", func(t *testing.T, w *trio) []byte {
			info := must(w.alice.GroupInfo(0, true))(t)
			_, step, err := ExternalCommit(w.cfg, info, testTemplate(t, w.cfg, X25519AES128, "dave"), ExternalOptions{Proposals: []Proposal{appData("z")}})
			if err != nil {
				t.Fatal(err)
			}
			return step.Message
		}, nil}, // the hub cannot see that kem_output was changed on the way to the joiner, but the signature covers it: see below
		{"private application", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Protect(0, []byte("hello"), Framing{AAD: []byte("aad"), Padding: 10}))(t).Message
		}, func([]byte) func(int) bool { return private }},
		{"private proposal", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Propose(0, Proposal{Type: ProposalRemove, Remove: 2}, Framing{AAD: []byte("aad")}, true))(t).Message
		}, func([]byte) func(int) bool { return private }},
		{"private commit", func(t *testing.T, w *trio) []byte {
			return must(w.alice.Commit(0, CommitOptions{Private: true, Framing: Framing{Padding: 3}}))(t).Message
		}, func([]byte) func(int) bool { return private }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
			data := c.make(t, w)
			sees := outsideTags(data, true, false)
			if c.sees != nil {
				sees = c.sees(data)
			}
			tamperMessage(t, w, data, sees)
			must(w.bob.Process(must(ParseMessage(data))(t), Arrival{}))(t) // and the message itself is good
		})
	}
}

// TestTamperKeyPackage: a key package, and with it a leaf node, is signed byte by byte.
func TestTamperKeyPackage(t *testing.T) {
	cfg := testConfig()
	k := newMember(t, cfg, X25519AES128, "dave").KeyPackage
	data := Marshal(&k)
	for i, bad := range tampered(data) {
		var k KeyPackage
		if Unmarshal(bad, &k) == nil && VerifyKeyPackage(cfg, &k) == nil {
			t.Fatalf("byte %d changed, still valid", i)
		}
	}
	if err := VerifyKeyPackage(cfg, &k); err != nil {
		t.Error(err)
	}
}

// TestTamperJoin changes every byte of a Welcome, of a GroupInfo and of a ratchet tree that came separately.
func TestTamperJoin(t *testing.T) {
	w := newTrio(t)
	dave := newMember(t, w.cfg, X25519AES128, "dave")
	own := JoinOptions{Own: []*JoinSecrets{dave}}
	step := commit(t, w.alice, 0, CommitOptions{Proposals: adds(dave)})
	tr := w.alice.RatchetTree()
	t.Run("Welcome", func(t *testing.T) {
		t.Parallel()
		o := own
		o.RatchetTree = tr
		data := Marshal(step.Welcome)
		for i, bad := range tampered(data) {
			var wl Welcome
			if Unmarshal(bad, &wl) == nil {
				if _, err := JoinWelcome(w.cfg, &wl, o); err == nil {
					t.Fatalf("byte %d changed, dave joins", i)
				}
			}
		}
		must(JoinWelcome(w.cfg, step.Welcome, o))(t)
	})
	t.Run("tree", func(t *testing.T) {
		t.Parallel()
		info := must(w.alice.GroupInfo(0, false))(t)
		for i, bad := range tampered(tr) {
			o := own
			o.RatchetTree = bad
			if i%4 == 0 || i < 0 { // the Welcome takes the same way; it is only slower
				if _, err := JoinWelcome(w.cfg, step.Welcome, o); err == nil {
					t.Fatalf("byte %d of the tree changed, dave joins", i)
				}
			}
			if _, err := NewPublicGroup(w.cfg, info, bad); err == nil {
				t.Fatalf("byte %d of the tree changed, the hub follows", i)
			}
		}
		must(NewPublicGroup(w.cfg, info, tr))(t)
	})
	t.Run("GroupInfo", func(t *testing.T) {
		t.Parallel()
		data := Marshal(must(w.alice.GroupInfo(0, true))(t))
		for i, bad := range tampered(data) {
			var info GroupInfo
			if Unmarshal(bad, &info) != nil {
				continue
			}
			if _, err := NewPublicGroup(w.cfg, &info, nil); err == nil {
				t.Fatalf("byte %d changed, the hub follows", i)
			}
			if i%16 == 0 || i < 0 {
				if _, _, err := ExternalCommit(w.cfg, &info, testTemplate(t, w.cfg, X25519AES128, "erin"), ExternalOptions{}); err == nil {
					t.Fatalf("byte %d changed, erin joins", i)
				}
			}
		}
	})
}

// TestTamperNodes changes the key, the parent hash and the unmerged leaves of every node of a larger tree, with the tree hash made to
// fit by a signer who is a member: parent hashes and leaf signatures must notice.
func TestTamperNodes(t *testing.T) {
	w := newTrio(t)
	more := newMembers(t, w.cfg, X25519AES128, "m", 6)
	w.deliver(commit(t, w.alice, 0, CommitOptions{Proposals: adds(more...)}).Message, w.alice)
	w.deliver(commit(t, w.carol, 2, CommitOptions{}).Message, w.carol)
	w.deliver(commit(t, w.bob, 1, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 5}}}).Message, w.bob)
	info := must(w.alice.GroupInfo(0, true))(t)
	var nodes optionalNodes
	encoded := w.alice.RatchetTree()
	if err := Unmarshal(encoded, &nodes); err != nil {
		t.Fatal(err)
	}
	resigned := func() (*PublicGroup, error) {
		i := *info
		i.Extensions = i.Extensions.With(ExtRatchetTree, Marshal(&nodes))
		if tr, err := parseTree(w.alice.suite, Marshal(&nodes), new(interner)); err == nil {
			i.Context.TreeHash = tr.root.hash
		}
		if err := i.sign(w.alice.suite, w.alice.leaves[0].signature); err != nil {
			t.Fatal(err)
		}
		return NewPublicGroup(w.cfg, &i, nil)
	}
	must(resigned())(t)
	_, key, _ := w.alice.suite.hpke.NewKeyPair(w.cfg.random())
	try := func(i int, what string, change func(n *node)) {
		old := nodes[i]
		n := old
		if n.leaf != nil {
			l := *n.leaf
			n.leaf = &l
		}
		if n.parent != nil {
			n.parent = n.parent.clone()
		}
		change(&n)
		nodes[i] = n
		if _, err := resigned(); err == nil {
			t.Errorf("node %d: %s changed, accepted", i, what)
		}
		nodes[i] = old
	}
	parents := 0
	for i := range nodes {
		switch n := nodes[i]; {
		case n.leaf != nil:
			try(i, "encryption key", func(n *node) { n.leaf.EncryptionKey = key })
			try(i, "signature key", func(n *node) { n.leaf.SignatureKey = key })
			try(i, "credential", func(n *node) { n.leaf.Credential = BasicCredential([]byte("else")) })
			try(i, "extensions", func(n *node) { n.leaf.Extensions = nil })
			try(i, "lifetime", func(n *node) { n.leaf.Lifetime.NotAfter++; n.leaf.ParentHash = flip(n.leaf.ParentHash) })
			if i > 0 && i < len(nodes)-1 {
				try(i, "leaf", func(n *node) { n.leaf = nil })
			}
		case n.parent != nil:
			parents++
			try(i, "encryption key", func(n *node) { n.parent.EncryptionKey = key })
			try(i, "parent hash", func(n *node) { n.parent.ParentHash = flip(n.parent.ParentHash) })
			try(i, "unmerged leaves", func(n *node) { n.parent.UnmergedLeaves = append(n.parent.UnmergedLeaves, LeafIndex(i)+1) })
		default:
			if i%2 == 1 {
				try(i, "blank", func(n *node) { n.parent = &ParentNode{EncryptionKey: key, ParentHash: []byte{}} })
			}
		}
	}
	if parents < 3 {
		t.Errorf("only %d parents", parents)
	}
}
