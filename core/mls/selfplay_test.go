package mls

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
)

var selfplayEpochs = flag.Int("selfplay.epochs", 40, "epochs of one TestSelfPlay schedule")

// world is one group seen three ways at once: by a Group that shares the state of many local leaves, by one
// single-leaf Group for each of those leaves (its shadow), and by single-leaf Groups of foreign members; and by a
// hub, without secrets. After each epoch all must agree, and the shared state must hold exactly the union of
// what the shadows hold.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	cfg     *Config
	suite   CipherSuite
	shared  *Group
	store   memory
	shadows map[LeafIndex]*Group
	foreign map[LeafIndex]*Group
	hub     *PublicGroup
	hubKept memory
	late    [][]byte // messages held back, oldest first
	names   int
	counts  map[string]int
}

func newWorld(t *testing.T, seed uint64, id CipherSuite) *world {
	cryptotest.SetGlobalRandom(t, seed)
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), cfg: testConfig(), suite: id, shadows: map[LeafIndex]*Group{},
		foreign: map[LeafIndex]*Group{}, counts: map[string]int{}}
	dict := AppDataDictionary{}.With(testAppend, []byte("-"))
	creator := newMember(t, w.cfg, id, "gateway")
	w.shared = must(NewGroup(w.cfg, []byte("world"), Extensions{dict.Extension()}, creator))(t)
	w.store = stored(w.shared)
	shadow := must(LoadGroup(w.cfg, w.store.records()))(t)
	w.shadows[0] = shadow
	w.hub = must(NewPublicGroup(w.cfg, must(w.shared.GroupInfo(0, true))(t), nil))(t)
	w.hubKept = stored(w.hub)
	return w
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func (w *world) name() string { w.names++; return fmt.Sprintf("m%d", w.names) }

func pick[K comparable, V any](w *world, m map[K]V, less func(a, b K) int) (K, V) {
	keys := slices.SortedFunc(maps.Keys(m), less)
	k := keys[w.rng.IntN(len(keys))]
	return k, m[k]
}

func byIndex(a, b LeafIndex) int { return int(a) - int(b) }

// settle stores a step of the shared group, as the gateway would.
func (w *world) settle(s *Step) {
	w.t.Helper()
	w.store.apply(s.Delta)
	settle(w.t, w.shared, s)
}

// reload sometimes replaces the shared group by what storage gives back.
func (w *world) reload() {
	if !w.chance(15) {
		return
	}
	w.counts["reload"]++
	w.shared = must(LoadGroup(w.cfg, w.store.records()))(w.t)
	w.hub = must(LoadPublicGroup(w.cfg, w.hubKept.records()))(w.t)
	w.checkStore()
}

func (w *world) checkStore() {
	w.t.Helper()
	if d := stored(w.shared).differs(w.store); d != "" {
		w.t.Fatalf("epoch %d: stored by deltas: %s", w.shared.Epoch(), d)
	}
	if d := stored(w.hub).differs(w.hubKept); d != "" {
		w.t.Fatalf("epoch %d: hub stored by deltas: %s", w.shared.Epoch(), d)
	}
}

// twice runs an operation on the shared group; sometimes it is discarded first and must leave no trace.
func (w *world) twice(op func() *Step) *Step {
	w.t.Helper()
	if w.chance(30) {
		w.counts["discard"]++
		before := stored(w.shared)
		if step := op(); step != nil {
			if w.chance(50) && len(w.shared.leaves) > 0 { // a tail built on it goes as well
				leaf := w.shared.LocalLeaves()[0]
				must(w.shared.Protect(leaf, []byte("tail"), Framing{}))(w.t)
			}
			if err := w.shared.Discard(step); err != nil {
				w.t.Fatal(err)
			}
		}
		if d := stored(w.shared).differs(before); d != "" {
			w.t.Fatalf("discarded step left a trace: %s", d)
		}
	}
	return op()
}

// deliverProposal gives a proposal to everyone but its maker.
func (w *world) deliverProposal(data []byte, maker LeafIndex) {
	w.t.Helper()
	m := must(ParseMessage(data))(w.t)
	for i, g := range w.singles() {
		if i != maker {
			settle(w.t, g, must(g.Process(m, Arrival{}))(w.t))
		}
	}
	if m.WireFormat == WirePublicMessage {
		step := must(w.hub.Process(m))(w.t)
		w.hubKept.apply(step.Delta)
		settle(w.t, w.hub, step)
	}
	if !w.shared.IsLocal(maker) {
		w.settle(w.twice(func() *Step { return must(w.shared.Process(m, Arrival{}))(w.t) }))
	}
}

// singles iterates over all single-leaf groups by leaf.
func (w *world) singles() map[LeafIndex]*Group {
	out := maps.Clone(w.shadows)
	maps.Copy(out, w.foreign)
	return out
}

// proposeOne makes one proposal by a random member.
func (w *world) proposeOne(touched map[LeafIndex]bool) {
	t := w.t
	leaf, single := pick(w, w.singles(), byIndex)
	if touched[leaf] {
		return
	}
	make := func(g *Group) *Step {
		switch kind := w.rng.IntN(4); kind {
		case 0:
			touched[leaf] = true
			w.counts["update"]++
			return must(g.ProposeUpdate(leaf, nil, Framing{}, false))(t)
		case 1:
			if len(touched) > 0 || w.shared.MemberCount() < 4 || w.shared.IsLocal(leaf) && len(w.shared.leaves) < 2 {
				return nil
			}
			touched[leaf] = true
			w.counts["self_remove"]++
			return must(g.Propose(leaf, Proposal{Type: ProposalSelfRemove}, Framing{}, false))(t)
		default:
			w.counts["app_data"]++
			p := Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: testAppend, Operation: OpUpdate, Update: []byte{byte(w.rng.Uint32())}}}
			return must(g.Propose(leaf, p, Framing{}, false))(t)
		}
	}
	if !w.shared.IsLocal(leaf) {
		if step := make(single); step != nil {
			settle(t, single, step)
			w.deliverProposal(step.Message, leaf)
		}
		return
	}
	step := make(w.shared)
	if step == nil {
		return
	}
	w.settle(step)
	receive(t, single, step.Message) // the shadow did not make it, and learns the key by hand
	if k, ok := w.shared.updates[step.Proposal.Ref]; ok {
		single.updates[step.Proposal.Ref] = k
	}
	w.deliverProposal(step.Message, leaf)
}

// epoch runs one epoch: some proposals, then a commit by someone.
func (w *world) epoch() {
	touched := map[LeafIndex]bool{}
	for _, p := range w.shared.Proposals() {
		if p.Proposal.Type == ProposalUpdate || p.Proposal.Type == ProposalSelfRemove {
			touched[p.Sender.Leaf()] = true // no commit came since
		}
	}
	for range w.rng.IntN(3) {
		w.proposeOne(touched)
	}
	w.reload()
	if len(w.foreign) > 0 && len(touched) == 0 && w.chance(20) {
		w.externalJoin()
	} else {
		w.commit(touched)
	}
	w.reload()
	w.check()
	w.messages()
}

// plan chooses what a commit by value does.
func (w *world) plan(committer LeafIndex, touched map[LeafIndex]bool) (o CommitOptions, ours, theirs []*JoinSecrets) {
	for range w.rng.IntN(5) {
		j := newMember(w.t, w.cfg, w.suite, w.name())
		if w.chance(60) {
			ours = append(ours, j)
		} else {
			theirs = append(theirs, j)
		}
	}
	o.Proposals = adds(theirs...)
	staying := 0 // leaves of ours; one has to stay
	for leaf := range w.shadows {
		if !touched[leaf] {
			staying++
		}
	}
	for range w.rng.IntN(4) {
		leaf, _ := pick(w, w.singles(), byIndex)
		if leaf == committer || touched[leaf] || w.shadows[leaf] != nil && staying < 2 {
			continue
		}
		touched[leaf] = true
		if w.shadows[leaf] != nil {
			staying--
		}
		w.counts["remove"]++
		o.Proposals = append(o.Proposals, Proposal{Type: ProposalRemove, Remove: leaf})
	}
	o.Private = w.chance(20)
	o.OmitPath = w.chance(20)
	o.WantGroupInfo = true
	return o, ours, theirs
}

func (w *world) commit(touched map[LeafIndex]bool) {
	t := w.t
	committer, single := pick(w, w.singles(), byIndex)
	for _, p := range w.shared.Proposals() {
		if p.Proposal.Type == ProposalSelfRemove && p.Sender.Leaf() == committer {
			return // it is leaving; somebody else must commit
		}
	}
	o, ours, theirs := w.plan(committer, touched)
	var step *Step
	if w.shared.IsLocal(committer) {
		w.counts["own commit"]++
		o.Own = ours
		step = w.twice(func() *Step { return must(w.shared.Commit(committer, o))(t) })
		w.settle(step)
		w.reload() // a pending commit survives a restart
	} else {
		w.counts["foreign commit"]++
		o.Proposals = append(o.Proposals, adds(ours...)...)
		step = must(single.Commit(committer, o))(t)
		settle(t, single, step)
	}
	w.spread(step, committer, ours, theirs, o.Private)
}

// spread has everyone process a commit and lets new members in.
func (w *world) spread(step *Step, committer LeafIndex, ours, theirs []*JoinSecrets, private bool) {
	t := w.t
	m := must(ParseMessage(step.Message))(t)
	with := Arrival{Own: ours, Welcome: step.Welcome}
	var pendingKeys *next
	if w.shared.pending != nil {
		pendingKeys = w.shared.pending.next
	}
	for i, g := range w.singles() {
		if i == committer && w.shadows[i] != nil {
			w.shadowCommit(g, m, pendingKeys)
			continue
		}
		merged := must(g.Merge(must(g.Process(m, Arrival{}))(t)))(t)
		settle(t, g, merged)
		if len(merged.Commit.Left) > 0 {
			delete(w.shadows, i)
			delete(w.foreign, i)
		}
	}
	w.settle(w.twice(func() *Step { return must(w.shared.Merge(must(w.shared.Process(m, with))(t)))(t) }))
	if !private {
		received := must(w.hub.Process(m))(t)
		merged := must(w.hub.Merge(received))(t)
		w.hubKept.apply(merged.Delta)
		settle(t, w.hub, merged)
	} else { // a hub cannot follow a PrivateMessage; it starts again
		w.hub = must(NewPublicGroup(w.cfg, step.GroupInfo, w.shared.RatchetTree()))(t)
		w.hubKept = stored(w.hub)
	}
	tree := w.shared.RatchetTree()
	for _, added := range step.Commit.Added {
		for _, j := range ours {
			if bytes.Equal(j.KeyPackage.Signature, added.KeyPackage.Signature) {
				w.shadows[added.Index] = join(t, w.cfg, step.Welcome, tree, j)
			}
		}
		for _, j := range theirs {
			if bytes.Equal(j.KeyPackage.Signature, added.KeyPackage.Signature) {
				w.foreign[added.Index] = join(t, w.cfg, step.Welcome, tree, j)
			}
		}
	}
}

// shadowCommit gives a shadow the epoch that the shared group began for its leaf. It checks the commit like any
// other member but for the path, whose secrets only the committer has: they are copied.
func (w *world) shadowCommit(g *Group, m *Message, made *next) {
	t := w.t
	var a *AuthenticatedContent
	if m.WireFormat == WirePublicMessage {
		a = m.Public.authenticated()
	} else {
		leaf := g.leaves
		g.leaves = nil
		step := &Step{}
		a = must(g.open(g.keys, m.Private, step))(t)
		step.rollback()
		g.leaves = leaf
	}
	n := must(g.stageCommit(a))(t)
	if err := g.localChanges(n, nil); err != nil {
		t.Fatal(err)
	}
	for i, key := range made.private.keys {
		if i == n.committer.node() || slices.ContainsFunc(n.steps, func(s pathStep) bool { return s.index == i }) {
			n.private.keys[i] = key
		}
	}
	if l := made.private.changed[n.committer]; l != nil {
		n.private.changed[n.committer] = l
	}
	n.private.secrets = must(decodeSecrets(encodeSecrets(made.private.secrets), g.suite.nh))(t)
	n.private.secrets.encryption = bytes.Clone(made.private.secrets.encryption)
	n.private.secrets.appExport = bytes.Clone(made.private.secrets.appExport)
	settle(t, g, must(g.Merge(n.step(&g.PublicGroup, a)))(t))
}

func (w *world) externalJoin() {
	t := w.t
	w.counts["external commit"]++
	_, sponsor := pick(w, w.foreign, byIndex)
	info := must(sponsor.GroupInfo(sponsor.LocalLeaves()[0], true))(t)
	g, step, err := ExternalCommit(w.cfg, info, testTemplate(t, w.cfg, w.suite, w.name()), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.spread(step, 1<<31, nil, nil, false)
	w.foreign[g.LocalLeaves()[0]] = g
}

// check compares all views of the epoch.
func (w *world) check() {
	t := w.t
	t.Helper()
	for i, g := range w.singles() {
		if w.shared.Epoch() != g.Epoch() {
			t.Fatalf("leaf %d is at epoch %d", i, g.Epoch())
		}
		if !bytes.Equal(w.shared.RatchetTree(), g.RatchetTree()) {
			t.Fatalf("leaf %d has another tree; %v", i, w.counts)
		}
		if !bytes.Equal(w.shared.EpochAuthenticator(), g.EpochAuthenticator()) {
			t.Fatalf("leaf %d has another authenticator; shadow %v; %v", i, w.shadows[i] != nil, w.counts)
		}
		sameEpoch(t, w.shared, g)
		if w.shared.IsLocal(i) != (w.shadows[i] != nil) {
			t.Fatalf("leaf %d: local %v", i, w.shared.IsLocal(i))
		}
	}
	if len(w.shared.leaves) != len(w.shadows) {
		t.Fatalf("%d local leaves, want %d", len(w.shared.leaves), len(w.shadows))
	}
	union := map[nodeIndex][]byte{}
	for _, g := range w.shadows {
		for i, key := range g.private {
			if union[i] != nil && !bytes.Equal(union[i], key) {
				t.Fatalf("shadows hold different keys for node %d", i)
			}
			union[i] = key
		}
	}
	for i, key := range union {
		if !bytes.Equal(w.shared.private[i], key) {
			t.Fatalf("epoch %d: node %d: the shared state lacks a shadow's key", w.shared.Epoch(), i)
		}
	}
	for i := range w.shared.private {
		if union[i] == nil {
			t.Fatalf("epoch %d: node %d: the shared state holds a key that no shadow has", w.shared.Epoch(), i)
		}
	}
	if !bytes.Equal(w.hub.RatchetTree(), w.shared.RatchetTree()) || !bytes.Equal(w.hub.state.contextBytes, w.shared.state.contextBytes) {
		t.Fatal("the hub's view differs")
	}
	w.checkStore()
}

// messages sends some messages, out of order and late.
func (w *world) messages() {
	t := w.t
	var batch [][]byte
	for range w.rng.IntN(6) {
		leaf, single := pick(w, w.singles(), byIndex)
		text := []byte(fmt.Sprintf("%d in epoch %d", leaf, w.shared.Epoch()))
		var step *Step
		if w.shared.IsLocal(leaf) {
			step = w.twice(func() *Step {
				return must(w.shared.Protect(leaf, text, Framing{AAD: []byte("aad"), Padding: w.rng.IntN(64)}))(t)
			})
			w.settle(step)
		} else {
			step = must(single.Protect(leaf, text, Framing{AAD: []byte("aad")}))(t)
			settle(t, single, step)
		}
		batch = append(batch, step.Message)
	}
	w.rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	for _, data := range batch {
		if w.chance(25) {
			w.late = append(w.late, data)
			continue
		}
		w.deliver(data)
	}
	for len(w.late) > 0 && w.chance(60) {
		w.counts["late"]++
		w.deliver(w.late[0])
		w.late = w.late[1:]
	}
}

// deliver has everyone open a message, once; a second time is refused.
func (w *world) deliver(data []byte) {
	t := w.t
	m := must(ParseMessage(data))(t)
	if w.shared.Epoch()-m.Private.Epoch > 8 {
		return
	}
	var text []byte
	for i, g := range w.singles() {
		step, err := g.Process(m, Arrival{})
		switch {
		case errors.Is(err, ErrOwnMessage), errors.Is(err, ErrWrongEpoch) && g.keysOf(m.Private.Epoch) == nil: // sent by itself, or before it joined
			continue
		case errors.Is(err, ErrReplay) && w.shadows[i] == nil && g.keysOf(m.Private.Epoch) != nil && g.keysOf(m.Private.Epoch).tree.leaf(i) == nil:
			continue
		case err != nil:
			t.Fatalf("leaf %d: %v", i, err)
		}
		settle(t, g, step)
		if text != nil && !bytes.Equal(text, step.Application) {
			t.Fatal("members read different texts")
		}
		text = step.Application
	}
	shared, err := w.shared.Process(m, Arrival{})
	switch {
	case errors.Is(err, ErrOwnMessage), errors.Is(err, ErrReplay):
		w.counts["own echo"]++
		return // sent by a local leaf, which may have left since
	case err != nil:
		t.Fatal(err)
	}
	if err := w.shared.Discard(shared); err != nil {
		t.Fatal(err)
	}
	shared = w.twice(func() *Step { return must(w.shared.Process(m, Arrival{}))(t) })
	w.settle(shared)
	if text != nil && !bytes.Equal(shared.Application, text) {
		t.Fatal("the shared group reads another text")
	}
	if _, err := w.shared.Process(m, Arrival{}); !errors.Is(err, ErrReplay) {
		t.Fatalf("a second opening gives %v", err)
	}
	w.counts["message"]++
}

// TestSelfPlay is the proof of the sharing.
func TestSelfPlay(t *testing.T) {
	for seed, id := range []CipherSuite{X25519AES128, P256AES128, X25519AES128, X25519ChaCha} {
		t.Run(fmt.Sprintf("seed%d/suite%d", seed, id), func(t *testing.T) {
			w := newWorld(t, uint64(seed), id)
			for range *selfplayEpochs {
				w.epoch()
			}
			t.Logf("epoch %d, %d members, %d local: %v", w.shared.Epoch(), w.shared.MemberCount(), len(w.shared.leaves), w.counts)
			for _, must := range []string{"own commit", "foreign commit", "external commit", "remove", "update", "self_remove", "message", "late", "reload", "discard"} {
				if w.counts[must] == 0 {
					t.Errorf("the schedule had no %s", must)
				}
			}
		})
	}
}
