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
}

// welcome prepares one for a group as it is, with dave added and no other change.
func (w *trio) welcome(t testing.TB, template func(*LeafTemplate)) *welcoming {
	t.Helper()
	lt := testTemplate(t, w.cfg, X25519AES128, "dave")
	if template != nil {
		template(&lt)
	}
	f := &welcoming{trio: w, dave: must(NewKeyPackage(w.cfg, X25519AES128, lt))(t)}
	e := w.alice.state.tree.edit()
	if i := must(e.add(&f.dave.KeyPackage.LeafNode))(t); i != 3 {
		t.Fatalf("dave is leaf %d", i)
	}
	if err := Unmarshal(e.finish(w.alice.suite).marshal(), &f.nodes); err != nil {
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
