package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestSuites creates, joins, commits and speaks in every cipher suite, the post-quantum ones included, at its own code point
// and at another.
func TestSuites(t *testing.T) {
	live := func(t *testing.T, cfg *Config, id CipherSuite) {
		t.Helper()
		alice, bob := pair(t, cfg, id)
		sameEpoch(t, alice, bob)
		hub := must(NewPublicGroup(cfg, must(alice.GroupInfo(0, true))(t), nil))(t)
		data := commit(t, bob, 1, CommitOptions{}).Message
		receive(t, alice, data)
		settle(t, hub, must(hub.Merge(must(hub.Process(must(ParseMessage(data))(t)))(t)))(t))
		say(t, alice, 0, "hello", bob)
		say(t, bob, 1, "hello yourself", alice)
		carol, step, err := ExternalCommit(cfg, must(bob.GroupInfo(1, true))(t), testTemplate(t, cfg, id, "carol"), ExternalOptions{})
		if err != nil {
			t.Fatal(err)
		}
		receive(t, alice, step.Message)
		bob = must(LoadGroup(cfg, bob.Snapshot()))(t)
		receive(t, bob, step.Message)
		sameEpoch(t, carol, bob)
		say(t, carol, 2, "me too", alice, bob)
	}
	for id := range DefaultSuites() {
		t.Run(fmt.Sprintf("%#04x %s", id, DefaultSuites().Name(id)), func(t *testing.T) {
			t.Parallel()
			live(t, testConfig(), id)
		})
	}
	t.Run("moved", func(t *testing.T) {
		cfg := testConfig()
		cfg.Suites = must(cfg.Suites.Move(MLKEM768X25519AES128, 0x004f))(t)
		live(t, cfg, 0x004f)
		if cfg.Suites.Name(MLKEM768X25519AES128) != "" || cfg.Suites.Name(0x004f) == "" || DefaultSuites().Name(0x004f) != "" {
			t.Error("the suite did not move, or moved everywhere")
		}
		k := newMember(t, cfg, 0x004f, "dave").KeyPackage
		if err := VerifyKeyPackage(testConfig(), &k); !errors.Is(err, ErrCipherSuite) {
			t.Errorf("a stranger verifies a key package of a moved suite: %v", err)
		}
		if _, err := cfg.Suites.Move(0x4444, 0x4445); !errors.Is(err, ErrCipherSuite) {
			t.Errorf("moving what is not there: %v", err)
		}
		if _, err := cfg.Suites.Move(X25519AES128, P256AES128); !errors.Is(err, ErrCipherSuite) {
			t.Errorf("moving onto another: %v", err)
		}
		if same, err := cfg.Suites.Move(X25519AES128, X25519AES128); err != nil || same.Name(X25519AES128) == "" {
			t.Errorf("moving to where it is: %v", err)
		}
	})
}

// TestRotation replaces signature key, credential and capabilities of a leaf, in a commit and by an Update (RFC 9420 §5.3.1, §7.4).
func TestRotation(t *testing.T) {
	w := newTrio(t)
	var asked int
	w.cfg.VerifySuccessor = func(old, next *Credential) error {
		asked++
		if !bytes.HasPrefix(next.Identity, old.Identity) {
			return errors.New("someone else")
		}
		return nil
	}
	template := testTemplate(t, w.cfg, X25519AES128, "alice 2")
	template.Capabilities = DefaultCapabilities(X25519AES128, P256AES128)
	w.deliver(commit(t, w.alice, 0, CommitOptions{Leaf: &template}).Message, w.alice)
	bobs := testTemplate(t, w.cfg, X25519AES128, "bob 2")
	proposed := must(w.bob.ProposeUpdate(1, &bobs, Framing{}, false))(t)
	settle(t, w.bob, proposed)
	w.deliver(proposed.Message, w.bob)
	w.bob = must(LoadGroup(w.cfg, stored(w.bob).records()))(t) // with the new keys waiting
	w.deliver(commit(t, w.carol, 2, CommitOptions{}).Message, w.carol)
	for _, g := range w.groups() {
		a, b := g.Leaf(0), g.Leaf(1)
		if !bytes.Equal(a.SignatureKey, template.Signature.PublicBytes()) || len(a.Capabilities.CipherSuites) != 2 || !bytes.Equal(b.SignatureKey, bobs.Signature.PublicBytes()) {
			t.Error("keys or capabilities did not change")
		}
	}
	w.alice = must(LoadGroup(w.cfg, stored(w.alice).records()))(t)
	w.alive()
	say(t, w.bob, 1, "with the new key", w.alice, w.carol)
	w.deliver(commit(t, w.bob, 1, CommitOptions{}).Message, w.bob)
	if asked == 0 {
		t.Error("nobody asked whether the credential may change")
	}
	mallory := testTemplate(t, w.cfg, X25519AES128, "mallet")
	data := (&forgery{by: w.alice, leaf: func(l *LeafNode) { l.Credential = mallory.Credential }}).message(t)
	w.refused(data, ErrCredential, "someone else", true)
	w.update(w.bob) // an Update that nobody commits is forgotten, key and all
	w.alive()
	if len(w.bob.updates) > 0 {
		t.Error("the key of an Update outlived its epoch")
	}
}

// authority is a certificate authority of the tests.
type authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	chain [][]byte // root last
}

func newAuthority(t testing.TB, above *authority) *authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: testTime.Add(-time.Hour),
		NotAfter: testTime.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a := &authority{key: key}
	parent, signer := template, key
	if above != nil {
		parent, signer = above.cert, above.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer))(t)
	a.cert, a.chain = must(x509.ParseCertificate(der))(t), [][]byte{der}
	if above != nil {
		a.chain = append(a.chain, above.chain...)
	}
	return a
}

func (a *authority) certify(t testing.TB, key *SignatureKey, name string) Credential {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour)}
	return X509Credential(append([][]byte{must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))(t)}, a.chain...)...)
}

// TestX509 has members with certificates: the chain goes to the callback, the leaf certificate must be for the key, and what many
// leaves share is in memory once (RFC 9420 §5.3).
func TestX509(t *testing.T) {
	root := newAuthority(t, nil)
	ca := newAuthority(t, root)
	for _, id := range []CipherSuite{X25519AES128, P256AES128, P384AES256} {
		t.Run(fmt.Sprintf("suite%d", id), func(t *testing.T) {
			cfg := testConfig()
			cfg.VerifyCredential = func(c *Credential, _ []byte) error {
				if c.Type != CredentialX509 {
					return errors.New("a certificate, please")
				}
				roots, between := x509.NewCertPool(), x509.NewCertPool()
				roots.AddCert(root.cert)
				leaf, err := x509.ParseCertificate(c.Certificates[0])
				if err != nil {
					return err
				}
				for _, der := range c.Certificates[1:] {
					cert, err := x509.ParseCertificate(der)
					if err != nil {
						return err
					}
					between.AddCert(cert)
				}
				_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: testTime, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				return err
			}
			member := func(name string, by *authority) (*JoinSecrets, error) {
				template := testTemplate(t, cfg, id, name)
				template.Credential = by.certify(t, template.Signature, name)
				return NewKeyPackage(cfg, id, template)
			}
			alice := must(NewGroup(cfg, []byte("x509"), nil, must(member("alice", ca))(t)))(t)
			bob, carol := must(member("bob", ca))(t), must(member("carol", ca))(t)
			step := commit(t, alice, 0, CommitOptions{Proposals: adds(bob, carol), WelcomeTree: true})
			b := join(t, cfg, step.Welcome, nil, bob)
			say(t, b, 1, "certified", alice)
			for _, g := range []*Group{alice, b, must(LoadGroup(cfg, b.Snapshot()))(t)} {
				for i := 1; i < 3; i++ {
					one, two := g.Leaf(1).Credential.Certificates, g.Leaf(2).Credential.Certificates
					if len(one) != 3 || &one[i][0] != &two[i][0] {
						t.Errorf("certificate %d of the chain is not shared", i)
					}
				}
			}
			refused := func(what string, j *JoinSecrets, want error) {
				t.Helper()
				unchanged(t, what, alice, want, "", func() error { _, err := alice.Commit(0, CommitOptions{Proposals: adds(j)}); return err })
			}
			refused("unknown authority", must(member("mallory", newAuthority(t, nil)))(t), ErrCredential)
			template := testTemplate(t, cfg, id, "dave")
			template.Credential = bob.KeyPackage.LeafNode.Credential // a good certificate, of somebody else
			refused("another's certificate", must(NewKeyPackage(cfg, id, template))(t), ErrCredential)
			refused("Basic", newMember(t, cfg, id, "erin"), ErrCredential)
		})
	}
}

// TestPendingCommit keeps a commit of our own over a restart: it is merged when it comes back, dropped on refusal, and goes when another
// commit wins.
func TestPendingCommit(t *testing.T) {
	setting := func(t *testing.T) (w *trio, store memory, step *Step) {
		w = newTrio(t)
		store = stored(w.alice)
		step = must(w.alice.Commit(0, CommitOptions{Own: newMembers(t, w.cfg, X25519AES128, "own", 2), Proposals: []Proposal{{Type: ProposalRemove, Remove: 2}}}))(t)
		store.apply(step.Delta)
		settle(t, w.alice, step)
		return w, store, step
	}
	t.Run("merged when it comes back", func(t *testing.T) {
		w, store, step := setting(t)
		if _, err := w.alice.Commit(0, CommitOptions{}); !errors.Is(err, ErrPendingCommit) {
			t.Errorf("a second commit: %v", err)
		}
		say(t, w.alice, 0, "still in the old epoch", w.bob)
		alice := must(LoadGroup(w.cfg, store.records()))(t)
		if alice.Pending() == nil || alice.Pending().Commit.Committer != 0 || len(alice.Pending().Commit.Removed) != 1 {
			t.Fatal("not pending after the restart")
		}
		back := must(alice.Process(must(ParseMessage(step.Message))(t), Arrival{}))(t)
		merged := must(alice.Merge(back))(t)
		store.apply(merged.Delta)
		settle(t, alice, merged)
		receive(t, w.bob, step.Message)
		sameEpoch(t, alice, w.bob)
		if !slices.Equal(merged.Commit.Joined, []LeafIndex{2, 3}) || alice.Pending() != nil {
			t.Errorf("joined %v", merged.Commit.Joined)
		}
		if d := stored(alice).differs(store); d != "" {
			t.Error(d)
		}
		for _, leaf := range alice.LocalLeaves() {
			say(t, alice, leaf, "in the new epoch", w.bob)
		}
	})
	t.Run("merged on acceptance", func(t *testing.T) {
		w, store, step := setting(t)
		alice := must(LoadGroup(w.cfg, store.records()))(t)
		settle(t, alice, must(alice.Merge(alice.Pending()))(t))
		receive(t, w.bob, step.Message)
		sameEpoch(t, alice, w.bob)
		if _, err := alice.Process(must(ParseMessage(step.Message))(t), Arrival{}); !errors.Is(err, ErrWrongEpoch) {
			t.Errorf("its echo: %v", err)
		}
	})
	t.Run("of a tree that shrinks, then grows", func(t *testing.T) {
		w := newTrio(t)
		for _, o := range []CommitOptions{{Proposals: []Proposal{{Type: ProposalRemove, Remove: 2}}}, {Own: newMembers(t, w.cfg, X25519AES128, "own", 5)}} {
			store := stored(w.alice)
			step := must(w.alice.Commit(0, o))(t)
			store.apply(step.Delta)
			w.alice = must(LoadGroup(w.cfg, store.records()))(t)
			merged := must(w.alice.Merge(w.alice.Pending()))(t)
			store.apply(merged.Delta)
			settle(t, w.alice, merged)
			receive(t, w.bob, step.Message)
			sameEpoch(t, w.alice, w.bob)
			if d := stored(w.alice).differs(store); d != "" {
				t.Error(d)
			}
		}
	})
	t.Run("dropped", func(t *testing.T) {
		w, store, _ := setting(t)
		alice := must(LoadGroup(w.cfg, store.records()))(t)
		drop := alice.Drop()
		store.apply(drop.Delta)
		if err := alice.Discard(drop); err != nil || alice.Pending() == nil {
			t.Errorf("discarding the drop: %v", err)
		}
		settle(t, alice, alice.Drop())
		if alice.Pending() != nil || must(LoadGroup(w.cfg, store.records()))(t).Pending() != nil {
			t.Error("still pending")
		}
		if len(alice.Drop().Delta) > 0 {
			t.Error("dropping nothing changes something")
		}
		w.alice = alice
		settle(t, alice, alice.steps[0])
		w.alive()
	})
	t.Run("another wins", func(t *testing.T) {
		w, _, step := setting(t)
		lost := must(ParseMessage(step.Message))(t)
		w.deliver(commit(t, w.bob, 1, CommitOptions{}).Message, w.bob)
		if w.alice.Pending() != nil {
			t.Error("still pending")
		}
		w.alive()
		unchanged(t, "bob", w.bob, ErrWrongEpoch, "", func() error { _, err := w.bob.Process(lost, Arrival{}); return err })
	})
}

// TestStepOrder: steps are settled, discarded and merged in turn, or not at all.
func TestStepOrder(t *testing.T) {
	w := newTrio(t)
	outOfTurn := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrStep) {
			t.Errorf("%s: %v", what, err)
		}
	}
	before := stored(w.alice)
	one := must(w.alice.Protect(0, []byte("1"), Framing{}))(t)
	two := must(w.alice.Protect(0, []byte("2"), Framing{}))(t)
	three := must(w.alice.Protect(0, []byte("3"), Framing{}))(t)
	outOfTurn("another group's step", w.bob.Settle(one))
	outOfTurn("another group's step", w.bob.Discard(one))
	settle(t, w.alice, one)
	outOfTurn("settled twice", w.alice.Settle(one))
	outOfTurn("discarded after settling", w.alice.Discard(one))
	if err := w.alice.Discard(two); err != nil {
		t.Fatal(err)
	}
	outOfTurn("went with the one before", w.alice.Discard(three))
	outOfTurn("settled after discarding", w.alice.Settle(three))
	again := must(w.alice.Protect(0, []byte("2 again"), Framing{}))(t)
	if again.Generation != 1 {
		t.Errorf("generation %d after discarding, want 1", again.Generation)
	}
	settle(t, w.alice, again)
	if stored(w.alice).differs(before) == "" {
		t.Error("nothing changed")
	}
	_, err := w.alice.Merge(again)
	outOfTurn("merging what is no commit", err)
	first, second := must(w.bob.Commit(1, CommitOptions{}))(t), must(w.carol.Commit(2, CommitOptions{}))(t)
	a := must(w.alice.Process(must(ParseMessage(first.Message))(t), Arrival{}))(t)
	b := must(w.alice.Process(must(ParseMessage(second.Message))(t), Arrival{}))(t)
	_, err = w.hub.Merge(a)
	outOfTurn("merging another group's", err)
	outOfTurn("settling a received commit", w.alice.Settle(a))
	merged := must(w.alice.Merge(a))(t)
	_, err = w.alice.Merge(b)
	outOfTurn("merging one of the epoch before", err)
	_, err = w.alice.Merge(a)
	outOfTurn("merging twice", err)
	if err := w.alice.Discard(merged); err != nil { // back in the epoch before, the other one can be taken
		t.Fatal(err)
	}
	settle(t, w.alice, must(w.alice.Merge(b))(t))
	settle(t, w.carol, must(w.carol.Merge(second))(t))
	sameEpoch(t, w.alice, w.carol)
}

// TestOldEpochs: messages of eight past epochs can be opened, the ninth is gone; or as many as configured.
func TestOldEpochs(t *testing.T) {
	for _, keep := range []int{0, 2} {
		w := newTrio(t)
		w.cfg.OldEpochs = keep
		want := 8
		if keep > 0 {
			want = keep
		}
		type sent struct {
			epoch uint64
			data  []byte
		}
		var late []sent
		for range want + 3 {
			step := must(w.carol.Protect(2, fmt.Appendf(nil, "epoch %d", w.carol.Epoch()), Framing{}))(t)
			settle(t, w.carol, step)
			late = append(late, sent{w.carol.Epoch(), step.Message})
			store := stored(w.bob)
			data := commit(t, w.alice, 0, CommitOptions{}).Message
			merged := must(w.bob.Merge(must(w.bob.Process(must(ParseMessage(data))(t), Arrival{}))(t)))(t)
			store.apply(merged.Delta)
			settle(t, w.bob, merged)
			receive(t, w.carol, data)
			if d := stored(w.bob).differs(store); d != "" {
				t.Fatal(d)
			}
		}
		bob := must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
		for _, g := range []*Group{w.bob, bob} {
			for _, s := range late {
				m := must(ParseMessage(s.data))(t)
				if age := g.Epoch() - s.epoch; age > uint64(want) {
					unchanged(t, "bob", g, ErrWrongEpoch, "", func() error { _, err := g.Process(m, Arrival{}); return err })
					continue
				}
				step := must(g.Process(m, Arrival{}))(t)
				settle(t, g, step)
				if string(step.Application) != fmt.Sprintf("epoch %d", s.epoch) || step.Epoch != s.epoch {
					t.Errorf("opened %q of epoch %d", step.Application, step.Epoch)
				}
				unchanged(t, "bob", g, ErrReplay, "", func() error { _, err := g.Process(m, Arrival{}); return err })
			}
		}
		for key := range stored(w.bob) {
			if key[0] == 'e' && bytes.Compare([]byte(key[1:9]), epochPrefix(w.bob.Epoch() - uint64(want))[1:]) < 0 {
				t.Fatalf("a record of a forgotten epoch: %x", key)
			}
		}
	}
}

// TestSkipWindow: messages may come out of order within bounds (RFC 9420 §15.3).
func TestSkipWindow(t *testing.T) {
	w := newTrio(t)
	var messages []*Message
	for i := range 1102 {
		step := must(w.alice.Protect(0, fmt.Appendf(nil, "%d", i), Framing{}))(t)
		settle(t, w.alice, step)
		messages = append(messages, must(ParseMessage(step.Message))(t))
	}
	open := func(i int, want error) {
		t.Helper()
		if want != nil {
			_, err := w.bob.Process(messages[i], Arrival{})
			if !errors.Is(err, want) {
				t.Fatalf("message %d: %v", i, err)
			}
			return
		}
		step := must(w.bob.Process(messages[i], Arrival{}))(t)
		settle(t, w.bob, step)
		if string(step.Application) != fmt.Sprint(i) {
			t.Fatalf("message %d reads %q", i, step.Application)
		}
	}
	open(1001, ErrReplay) // more than 1,000 ahead
	open(1000, nil)
	open(1000, ErrReplay)
	for _, i := range []int{0, 500, 743} {
		open(i, ErrReplay) // only the last 256 keys of those skipped are kept
	}
	open(744, nil)
	open(999, nil)
	w.bob = must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
	open(744, ErrReplay)
	open(999, ErrReplay)
	open(800, nil)
	open(1101, nil) // skips a hundred more: the oldest of the others make room
	open(745, ErrReplay)
	open(1001, nil)
	if kept := len(w.bob.keys.ratchets[ratchetID{0, false}].skipped); kept > 256 {
		t.Errorf("%d keys kept", kept)
	}
	records := 0
	for key := range stored(w.bob) {
		if key[0] == 'e' && key[9] == 'Q' {
			records++
		}
	}
	if kept := len(w.bob.keys.ratchets[ratchetID{0, false}].skipped); records != kept {
		t.Errorf("%d records of %d kept keys", records, kept)
	}
	w.cfg.MaxSkip, w.cfg.MaxSkipped = 2, 1
	w.alive()
	var few []*Message
	for range 6 {
		step := must(w.alice.Protect(0, []byte("x"), Framing{}))(t)
		settle(t, w.alice, step)
		few = append(few, must(ParseMessage(step.Message))(t))
	}
	messages = few
	if _, err := w.bob.Process(few[3], Arrival{}); !errors.Is(err, ErrReplay) {
		t.Errorf("three ahead: %v", err)
	}
	settle(t, w.bob, must(w.bob.Process(few[2], Arrival{}))(t))
	if _, err := w.bob.Process(few[0], Arrival{}); !errors.Is(err, ErrReplay) {
		t.Errorf("the older of two skipped: %v", err)
	}
	settle(t, w.bob, must(w.bob.Process(few[1], Arrival{}))(t))
}

// TestConsumedSecrets looks for secrets that have been used: they are gone from memory and from storage (RFC 9420 §9.2).
func TestConsumedSecrets(t *testing.T) {
	w := newTrio(t)
	store := stored(w.bob)
	root := w.bob.keys.secrets.nodes[nodeAt(0, 2)]
	init, private := w.bob.secrets.init, w.bob.private[3]
	// What a message of alice, generation 1, consumes.
	s := w.bob.suite
	left := s.expand(root, "tree", []byte("left"), s.nh)
	leaf := s.expand(left, "tree", []byte("left"), s.nh)
	first := s.expand(leaf, "application", nil, s.nh)
	second := s.deriveTree(first, "secret", 0, s.nh)
	consumed := map[string][]byte{"root": bytes.Clone(root), "left": left, "leaf": leaf, "ratchet 0": first, "ratchet 1": second,
		"key 1": s.deriveTree(second, "key", 1, s.nk), "nonce 1": s.deriveTree(second, "nonce", 1, nn)}
	unconsumed := map[string][]byte{"key 0": s.deriveTree(first, "key", 0, s.nk), "right": s.expand(root, "tree", []byte("right"), s.nh),
		"ratchet 2": s.deriveTree(second, "secret", 1, s.nh), "handshake": s.expand(leaf, "handshake", nil, s.nh)}
	held := func(secret []byte) (in []string) {
		for _, m := range []memory{store, stored(w.bob)} {
			for key, value := range m {
				if bytes.Contains(value, secret) {
					in = append(in, fmt.Sprintf("%c %x", key[0], key))
				}
			}
		}
		return in
	}
	settle(t, w.alice, must(w.alice.Protect(0, []byte("generation 0"), Framing{}))(t))
	said := must(w.alice.Protect(0, []byte("generation 1"), Framing{}))(t)
	settle(t, w.alice, said)
	step := must(w.bob.Process(must(ParseMessage(said.Message))(t), Arrival{}))(t)
	store.apply(step.Delta)
	settle(t, w.bob, step)
	for name, secret := range consumed {
		if in := held(secret); len(in) > 0 {
			t.Errorf("consumed secret %q is still in %v", name, in)
		}
	}
	for name, secret := range unconsumed {
		if len(held(secret)) != 2 {
			t.Errorf("unconsumed secret %q is lost", name)
		}
	}
	erased := func(name string, secret []byte) {
		t.Helper()
		if len(secret) == 0 || !bytes.Equal(secret, make([]byte, len(secret))) {
			t.Errorf("%s is still in memory", name)
		}
	}
	erased("encryption secret", root)
	key := bytes.Clone(private)
	oldInit := bytes.Clone(init)
	data := commit(t, w.alice, 0, CommitOptions{}).Message
	merged := must(w.bob.Merge(must(w.bob.Process(must(ParseMessage(data))(t), Arrival{}))(t)))(t)
	store.apply(merged.Delta)
	settle(t, w.bob, merged)
	erased("init secret", init)
	erased("private key of a replaced node", private)
	for name, secret := range map[string][]byte{"init secret": oldInit, "private key": key} {
		if in := held(secret); len(in) > 0 {
			t.Errorf("%s is still in %v", name, in)
		}
	}
	// The sender's own keys go with the message as well.
	sender := bytes.Clone(w.bob.keys.secrets.nodes[nodeAt(0, 2)])
	out := must(w.bob.Protect(1, []byte("x"), Framing{}))(t)
	store.apply(out.Delta)
	settle(t, w.bob, out)
	if in := held(sender); len(in) > 0 {
		t.Errorf("the encryption secret is still in %v", in)
	}
}

// TestSafeExporter is draft-ietf-mls-extensions-10 §4.4: one secret per component and epoch, the same for all, gone once taken.
func TestSafeExporter(t *testing.T) {
	w := newTrio(t)
	take := func(g *Group, id ComponentID) []byte {
		t.Helper()
		step := must(g.SafeExport(id))(t)
		settle(t, g, step)
		return step.Application
	}
	for _, id := range []ComponentID{0, 1, testAppend, 0xffff} {
		secret := take(w.alice, id)
		if len(secret) != 32 || !bytes.Equal(secret, take(w.bob, id)) {
			t.Errorf("component %#04x: %x", id, secret)
		}
		unchanged(t, "alice", w.alice, ErrReplay, "has exported", func() error { _, err := w.alice.SafeExport(id); return err })
		for key, value := range stored(w.alice) {
			if bytes.Contains(value, secret) {
				t.Errorf("the secret is still stored under %x", key)
			}
		}
	}
	if _, ok := stored(w.alice)[string(exporterKey(nodeAt(0, 16)))]; ok {
		t.Error("the root is still stored")
	}
	store := stored(w.bob)
	step := must(w.bob.SafeExport(7))(t)
	discarded := bytes.Clone(step.Application)
	if err := w.bob.Discard(step); err != nil {
		t.Fatal(err)
	}
	if d := stored(w.bob).differs(store); d != "" {
		t.Error(d)
	}
	bob := must(LoadGroup(w.cfg, store.records()))(t)
	if !bytes.Equal(take(bob, 7), discarded) || !bytes.Equal(take(w.alice, 7), discarded) {
		t.Error("another secret after a discard and a reload")
	}
	if _, err := bob.SafeExport(testAppend); !errors.Is(err, ErrReplay) {
		t.Errorf("exported twice with a reload between: %v", err)
	}
	old := take(w.carol, testReplace)
	w.alive()
	next := take(w.carol, testReplace)
	if bytes.Equal(next, old) || !bytes.Equal(next, take(w.alice, testReplace)) {
		t.Error("the next epoch's secret")
	}
}

// failing is a source of randomness that fails after n reads.
type failing struct{ n int }

var errDry = errors.New("out of randomness")

func (f *failing) Read(b []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errDry
	}
	return rand.Read(b)
}

// TestRandomFailure: when the source of randomness fails, whatever was being made leaves no trace.
func TestRandomFailure(t *testing.T) {
	w := newTrio(t, AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	own := newMembers(t, w.cfg, X25519AES128, "own", 2)
	template := testTemplate(t, w.cfg, X25519AES128, "dave")
	info := must(w.alice.GroupInfo(0, true))(t)
	for _, c := range []struct {
		name string
		op   func(g *Group, cfg *Config) error
	}{
		{"protect", func(g *Group, _ *Config) error { _, err := g.Protect(0, []byte("x"), Framing{}); return err }},
		{"private proposal", func(g *Group, _ *Config) error { _, err := g.Propose(0, appData("x"), Framing{}, true); return err }},
		{"update", func(g *Group, _ *Config) error { _, err := g.ProposeUpdate(0, nil, Framing{}, true); return err }},
		{"commit", func(g *Group, _ *Config) error {
			_, err := g.Commit(0, CommitOptions{Own: own, WantGroupInfo: true})
			return err
		}},
		{"private commit", func(g *Group, _ *Config) error { _, err := g.Commit(0, CommitOptions{Private: true}); return err }},
		{"successor", func(g *Group, _ *Config) error {
			_, _, err := g.Successor(UsageBranch, []byte("b"), nil, own[0], CommitOptions{})
			return err
		}},
		{"group", func(_ *Group, cfg *Config) error { _, err := NewGroup(cfg, []byte("g"), nil, own[0]); return err }},
		{"key package", func(_ *Group, cfg *Config) error { _, err := NewKeyPackage(cfg, X25519AES128, template); return err }},
		{"external commit", func(_ *Group, cfg *Config) error {
			_, _, err := ExternalCommit(cfg, info, template, ExternalOptions{})
			return err
		}},
		{"signature key", func(_ *Group, cfg *Config) error {
			_, err := cfg.Suites.NewSignatureKey(P521AES256, cfg.Random)
			return err
		}},
		{"grease", func(_ *Group, cfg *Config) error { _, err := GREASE(cfg.Random); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 0; ; n++ {
				if n > 20 {
					t.Fatal("fails for ever")
				}
				cfg := *w.cfg
				cfg.Random = &failing{n}
				g := must(LoadGroup(&cfg, stored(w.alice).records()))(t)
				before := stored(g)
				err := c.op(g, &cfg)
				if err == nil {
					if n == 0 {
						t.Fatal("needs no randomness")
					}
					return
				}
				if !errors.Is(err, errDry) {
					t.Fatalf("after %d reads: %v", n, err)
				}
				if d := stored(g).differs(before); d != "" || len(g.steps) > 0 || g.pending != nil {
					t.Fatalf("after %d reads: a trace: %s", n, d)
				}
				cfg.Random = nil // and the group goes on
				settle(t, g, must(g.Commit(0, CommitOptions{}))(t))
			}
		})
	}
	var _ io.Reader = (*failing)(nil)
}

// TestLastLeafLeaves: when our last leaf is removed nothing of the group is left to store, and nothing can be done with it.
func TestLastLeafLeaves(t *testing.T) {
	w := newTrio(t)
	store := stored(w.bob)
	data := commit(t, w.alice, 0, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 1}}}).Message
	received := must(w.bob.Process(must(ParseMessage(data))(t), Arrival{}))(t)
	merged := must(w.bob.Merge(received))(t)
	if !slices.Equal(merged.Commit.Left, []LeafIndex{1}) {
		t.Errorf("left %v", merged.Commit.Left)
	}
	if err := w.bob.Discard(merged); err != nil {
		t.Fatal(err)
	}
	if d := stored(w.bob).differs(store); d != "" {
		t.Fatal(d)
	}
	merged = must(w.bob.Merge(received))(t)
	store.apply(merged.Delta)
	settle(t, w.bob, merged)
	if len(store) > 0 || len(w.bob.LocalLeaves()) > 0 {
		t.Errorf("%d records left", len(store))
	}
	if _, err := LoadGroup(w.cfg, store.records()); !errors.Is(err, ErrStorage) {
		t.Errorf("loading nothing: %v", err)
	}
	said := must(w.alice.Protect(0, []byte("without bob"), Framing{}))(t)
	settle(t, w.alice, said)
	next := commit(t, w.alice, 0, CommitOptions{}).Message
	_, protect := w.bob.Protect(1, []byte("x"), Framing{})
	_, commit := w.bob.Commit(1, CommitOptions{})
	_, open := w.bob.Process(must(ParseMessage(said.Message))(t), Arrival{})
	_, process := w.bob.Process(must(ParseMessage(next))(t), Arrival{})
	_, info := w.bob.GroupInfo(1, true)
	_, export := w.bob.SafeExport(1)
	for i, err := range []error{protect, commit, open, process, info, export} {
		if err == nil {
			t.Errorf("operation %d works in a group we have left", i)
		}
	}
}

// TestDamagedRecords: whatever one record is replaced by, LoadGroup gives an error or a group that can be used, and does not panic.
func TestDamagedRecords(t *testing.T) {
	w := newTrio(t)
	settle(t, w.bob, must(w.bob.ProposeUpdate(1, nil, Framing{}, false))(t))
	w.bob = must(LoadGroup(w.cfg, stored(w.bob).records()))(t)
	said := must(w.alice.Protect(0, []byte("skipped"), Framing{}))(t)
	second := must(w.alice.Protect(0, []byte("taken"), Framing{}))(t)
	settle(t, w.alice, second)
	receive(t, w.bob, second.Message)
	receive(t, w.bob, commit(t, w.alice, 0, CommitOptions{NoPending: true}).Message)
	settle(t, w.bob, must(w.bob.Commit(1, CommitOptions{Own: newMembers(t, w.cfg, X25519AES128, "own", 1)}))(t))
	whole := stored(w.bob)
	kinds := map[byte]int{}
	try := func(key string, m memory) {
		g, err := LoadGroup(w.cfg, m.records())
		if err == nil { // damage that only shows in use
			g.Protect(1, []byte("x"), Framing{})
			g.Process(must(ParseMessage(said.Message))(t), Arrival{})
			g.Snapshot()
			if p := g.Pending(); p != nil {
				g.Merge(p)
			}
		}
		LoadPublicGroup(w.cfg, m.records())
		kinds[key[0]]++
	}
	for key, value := range whole {
		for _, damaged := range [][]byte{nil, {}, {0}, value[:len(value)/2], flip(value), append(bytes.Clone(value), 0), bytes.Repeat([]byte{0xff}, len(value))} {
			m := memory{}
			for k, v := range whole {
				m[k] = v
			}
			if damaged == nil {
				delete(m, key)
			} else {
				m[key] = damaged
			}
			try(key, m)
		}
	}
	for _, key := range []string{"", "N", "e", "N\xff\xff\xff\xff", "N\x00\x00\x00\xfe", "L\xff\xff\xff\xff", "L\x00\x00\x00\x07", "K\xff\xff\xff\xff", "Pabcd", "P\x00\x00\x00\x00x", "X\xff\xff\xff\xff", "U"} {
		m := memory{key: []byte{1}}
		for k, v := range whole {
			m[k] = v
		}
		try(key+" ", m)
	}
	for _, kind := range []byte("HENSKLCXe") {
		if kinds[kind] == 0 {
			t.Errorf("no record of kind %c was damaged", kind)
		}
	}
	for key, value := range whole {
		if key[0] == 'L' {
			m := memory{}
			for k, v := range whole {
				m[k] = v
			}
			m[key] = flip(value) // another signature key than the tree's
			if _, err := LoadGroup(w.cfg, m.records()); !errors.Is(err, ErrStorage) {
				t.Errorf("another signature key: %v", err)
			}
		}
	}
	for _, gone := range []string{"H", "E", "S", string(epochHeaderKey(w.bob.Epoch()))} {
		m := memory{}
		for k, v := range whole {
			if k != gone {
				m[k] = v
			}
		}
		if _, err := LoadGroup(w.cfg, m.records()); !errors.Is(err, ErrStorage) {
			t.Errorf("without record %q: %v", gone, err)
		}
	}
}

// TestLimits are the ends of ranges that nothing else comes to.
func TestLimits(t *testing.T) {
	w := newTrio(t)
	unchanged(t, "alice", w.alice, ErrNotMember, "leaf 1 is not local", func() error { _, err := w.alice.Protect(1, nil, Framing{}); return err })
	for _, padding := range []int{-1, MaxVector} {
		if _, err := w.alice.Protect(0, nil, Framing{Padding: padding}); err == nil {
			t.Errorf("padding of %d bytes", padding)
		}
	}
	for _, length := range []int{-1, 0, 255*32 + 1} {
		if _, err := w.alice.Export("x", nil, length); err == nil {
			t.Errorf("an exported secret of %d bytes", length)
		}
	}
	if long := must(w.alice.Export("x", nil, 255*32))(t); len(long) != 255*32 {
		t.Errorf("%d bytes", len(long))
	}
	id := ratchetID{0, false}
	settle(t, w.alice, must(w.alice.Protect(0, []byte("x"), Framing{}))(t))
	r := *w.alice.keys.ratchets[id]
	r.generation = 1<<32 - 2
	w.alice.keys.ratchets[id] = &r
	last := must(w.alice.Protect(0, []byte("the last one"), Framing{}))(t)
	settle(t, w.alice, last)
	if last.Generation != 1<<32-2 {
		t.Errorf("generation %d", last.Generation)
	}
	unchanged(t, "alice", w.alice, ErrReplay, "used up", func() error { _, err := w.alice.Protect(0, nil, Framing{}); return err })
	w.alive()
	big := w.alice.state.tree.edit() // 2^24 leaves are the end
	big.depth, big.root = maxDepth, &node{leaves: 1 << maxDepth}
	if _, err := big.add(w.alice.state.tree.leaf(0)); !errors.Is(err, ErrTree) {
		t.Errorf("a leaf too many: %v", err)
	}
}

// TestAccessors reads what messages and groups say of themselves.
func TestAccessors(t *testing.T) {
	w := newTrio(t)
	proposal := must(ParseMessage(must(w.alice.Propose(0, appData("x"), Framing{}, false))(t).Message))(t)
	said := must(ParseMessage(must(w.alice.Protect(0, nil, Framing{}))(t).Message))(t)
	info := &Message{WireFormat: WireGroupInfo, GroupInfo: must(w.alice.GroupInfo(0, false))(t)}
	for _, m := range []*Message{proposal, said, info} {
		if m.Epoch() != 1 || string(m.GroupID()) != "trio" {
			t.Errorf("epoch %d of %q", m.Epoch(), m.GroupID())
		}
	}
	k := newMember(t, w.cfg, X25519AES128, "dave").KeyPackage
	if m := (&Message{WireFormat: WireKeyPackage, KeyPackage: &k}); m.Epoch() != 0 || m.GroupID() != nil {
		t.Error("a key package is of no group")
	}
	ref := must(k.Ref(w.cfg.Suites))(t)
	step := commit(t, w.alice, 0, CommitOptions{NoPending: true, Proposals: []Proposal{{Type: ProposalAdd, Add: &k}}})
	if !bytes.Equal(step.Welcome.Secrets[0].NewMember, ref) {
		t.Error("the Welcome is for another reference")
	}
	k.CipherSuite = 0x4444
	if _, err := k.Ref(w.cfg.Suites); !errors.Is(err, ErrCipherSuite) {
		t.Error(err)
	}
	a := must(ParseMessage(step.Message))(t).Public.Auth
	if !bytes.Equal(w.alice.state.confirmation, a.ConfirmationTag) || w.alice.CipherSuite() != X25519AES128 {
		t.Error("confirmation tag or suite")
	}
	indices := []LeafIndex{}
	for i, l := range w.alice.Members() {
		if l != w.alice.Leaf(i) {
			t.Error("another leaf")
		}
		if indices = append(indices, i); len(indices) == 2 {
			break
		}
	}
	if !slices.Equal(indices, []LeafIndex{0, 1}) {
		t.Errorf("members %v", indices)
	}
}
