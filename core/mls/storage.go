package mls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// storageVersion is the version of the stored form. A group's records name it once, in the header.
const storageVersion = 1

// Stored records of a group, by the first byte of their key:
//
//	H                     version, cipher suite
//	E                     number, confirmation tag and tree depth of the current epoch
//	N node                a node of the current tree that is not blank
//	P position ref        a pending proposal
//	S                     secrets of the current epoch
//	K node                a private key of the current tree
//	L leaf                signature key of a local leaf
//	U ref                 private side of an Update proposal of ours
//	C                     the pending commit of our own
//	X node                what is left of the safe exporter's tree
//	e epoch C             the GroupContext of an epoch
//	e epoch H             depth and secrets for opening messages of an epoch
//	e epoch S node        what is left of its secret tree
//	e epoch R leaf kind   a ratchet
//	e epoch Q leaf kind g key of a skipped generation
//	e epoch O leaf        the leaf node at that epoch, where the next epoch changed it
var (
	keyHeader      = []byte{'H'}
	keyEpoch       = []byte{'E'}
	keySecrets     = []byte{'S'}
	keyPending     = []byte{'C'}
	prefixExporter = []byte{'X'}
)

func indexed(kind byte, i uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kind}, i) }

func nodeKey(i nodeIndex) []byte       { return indexed('N', uint32(i)) }
func privateKeyKey(i nodeIndex) []byte { return indexed('K', uint32(i)) }
func leafKey(i LeafIndex) []byte       { return indexed('L', uint32(i)) }
func exporterKey(i nodeIndex) []byte   { return indexed('X', uint32(i)) }
func updateKey(r ProposalRef) []byte   { return append([]byte{'U'}, r...) }

func proposalKey(r ProposalRef, position int) []byte {
	return append(indexed('P', uint32(position)), r...)
}

func epochPrefix(epoch uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, epoch) }

func contextKey(epoch uint64) []byte { return append(epochPrefix(epoch), 'C') }

func epochHeaderKey(epoch uint64) []byte { return append(epochPrefix(epoch), 'H') }

func secretKey(epoch uint64, i nodeIndex) []byte {
	return binary.BigEndian.AppendUint32(append(epochPrefix(epoch), 'S'), uint32(i))
}

func oldLeafKey(epoch uint64, i nodeIndex) []byte {
	return binary.BigEndian.AppendUint32(append(epochPrefix(epoch), 'O'), uint32(i))
}

func (id ratchetID) key(epoch uint64, kind byte) []byte {
	b := make([]byte, 0, 19)
	b = append(b, 'e')
	b = binary.BigEndian.AppendUint64(b, epoch)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(id.leaf))
	if id.handshake {
		return append(b, 1)
	}
	return append(b, 0)
}

func ratchetKey(epoch uint64, id ratchetID) []byte { return id.key(epoch, 'R') }

func skippedKey(epoch uint64, id ratchetID, generation uint32) []byte {
	return binary.BigEndian.AppendUint32(id.key(epoch, 'Q'), generation)
}

func encodeRatchet(r *ratchet) []byte {
	b := make([]byte, 0, 4+len(r.secret))
	b = binary.BigEndian.AppendUint32(b, r.generation)
	return append(b, r.secret...)
}

func encodeMessageKey(k messageKey) []byte {
	var e Encoder
	e.Opaque(k.key)
	e.Opaque(k.nonce)
	return e.Bytes()
}

func encodeState(st *epochState) []byte {
	e := NewEncoder(128)
	e.Uint64(st.context.Epoch)
	e.Opaque(st.confirmation)
	e.Uint8(uint8(st.tree.depth))
	e.Bool(st.reinit != nil)
	if st.reinit != nil {
		st.reinit.MarshalMLS(e)
	}
	return e.Bytes()
}

func encodeSecrets(s *epochSecrets) []byte {
	e := NewEncoder(512)
	for _, b := range s.stored() {
		e.Opaque(*b)
	}
	return e.Bytes()
}

// stored lists the secrets that outlive the beginning of an epoch.
func (s *epochSecrets) stored() []*[]byte {
	return []*[]byte{&s.senderData, &s.exporter, &s.external, &s.confirm, &s.membership, &s.resumption, &s.authentic, &s.init}
}

func encodeEpochHeader(m *messageKeys) []byte {
	e := NewEncoder(128)
	e.Uint8(uint8(m.secrets.depth))
	e.Bool(m.safeAAD)
	e.Opaque(m.senderData)
	e.Opaque(m.resumption)
	return e.Bytes()
}

func encodeUpdate(k newLeafKey) []byte {
	var e Encoder
	e.Uint32(uint32(k.leaf))
	e.Opaque(k.private)
	e.Opaque(k.signature.Bytes())
	return e.Bytes()
}

// oldLeafRecord encodes a leaf position of a past epoch; nil is a blank one.
func oldLeafRecord(l *LeafNode) []byte {
	var e Encoder
	e.Bool(l != nil)
	if l != nil {
		l.MarshalMLS(&e)
	}
	return e.Bytes()
}

// Snapshot returns everything that has to be stored of a group followed from here on.
func (g *PublicGroup) Snapshot() []Record {
	step := &Step{}
	var e Encoder
	e.Uint8(storageVersion)
	e.Uint16(uint16(g.suite.id))
	step.put(keyHeader, e.Bytes())
	step.put(keyEpoch, encodeState(g.state))
	step.put(contextKey(g.Epoch()), g.state.contextBytes)
	tree{}.diff(g.state.tree, func(i nodeIndex, _, n *node) {
		if n != nil && !n.blank() {
			var e Encoder
			n.marshal(&e)
			step.put(nodeKey(i), e.Bytes())
		}
	})
	for i, p := range g.proposals {
		step.put(proposalKey(p.Ref, i), p.content)
	}
	return step.Delta
}

// Snapshot returns everything that has to be stored of a group that was just created or joined, or that moves to
// another store. It holds every secret of the group.
func (g *Group) Snapshot() []Record {
	step := &Step{Delta: g.PublicGroup.Snapshot()}
	step.put(keySecrets, encodeSecrets(g.secrets))
	for i, key := range g.private {
		step.put(privateKeyKey(i), key)
	}
	for i, l := range g.leaves {
		step.put(leafKey(i), l.signature.Bytes())
	}
	for ref, k := range g.updates {
		step.put(updateKey(ref), encodeUpdate(k))
	}
	for i, secret := range g.exporter.nodes {
		step.put(exporterKey(i), secret)
	}
	if g.pending != nil {
		step.put(keyPending, g.encodePending())
	}
	newer := g.keys.tree
	g.keys.snapshot(step)
	for _, m := range slices.Backward(g.past) {
		m.snapshot(step)
		m.tree.diff(newer, func(i nodeIndex, old, next *node) { m.keepLeaf(i, old, next, step) })
		newer = m.tree
	}
	return step.Delta
}

// keepLeaf records a leaf position that the next epoch changed.
func (m *messageKeys) keepLeaf(i nodeIndex, old, next *node, step *Step) {
	if i.level() > 0 {
		return
	}
	var was, is *LeafNode
	if old != nil {
		was = old.leaf
	}
	if next != nil {
		is = next.leaf
	}
	if was != is {
		step.put(oldLeafKey(m.epoch, i), oldLeafRecord(was))
	}
}

func (m *messageKeys) snapshot(step *Step) {
	step.put(contextKey(m.epoch), m.context)
	step.put(epochHeaderKey(m.epoch), encodeEpochHeader(m))
	for i, secret := range m.secrets.nodes {
		step.put(secretKey(m.epoch, i), secret)
	}
	for id, r := range m.ratchets {
		step.put(ratchetKey(m.epoch, id), encodeRatchet(r))
		for _, k := range r.skipped {
			step.put(skippedKey(m.epoch, id, k.generation), encodeMessageKey(k))
		}
	}
}

// encodePending serialises the pending commit with all that Merge needs.
func (g *Group) encodePending() []byte {
	n := g.pending.next
	e := NewEncoder(4096 + len(n.state.contextBytes))
	e.Opaque(g.pending.hash)
	e.Uint64(n.base.context.Epoch)
	e.Uint32(uint32(n.committer))
	e.Bool(n.external)
	e.Opaque(encodeState(n.state))
	e.Opaque(n.state.contextBytes)
	e.Vector(func(e *Encoder) {
		n.base.tree.diff(n.state.tree, func(i nodeIndex, _, next *node) {
			e.Uint32(uint32(i))
			if next == nil {
				next = new(node)
			}
			next.marshal(e)
		})
	})
	e.Vector(func(e *Encoder) {
		for _, p := range n.proposals {
			p.Proposal.MarshalMLS(e)
			p.Sender.MarshalMLS(e)
			e.Opaque([]byte(p.Ref))
		}
	})
	marshalUnmerged(e, indices(n.added))
	marshalUnmerged(e, n.removed)
	marshalUnmerged(e, n.updated)
	marshalUnmerged(e, n.private.joined)
	marshalUnmerged(e, n.private.left)
	e.Vector(func(e *Encoder) {
		for _, i := range slices.Sorted(maps.Keys(n.private.keys)) {
			e.Uint32(uint32(i))
			e.Opaque(n.private.keys[i])
		}
	})
	e.Vector(func(e *Encoder) {
		for _, i := range slices.Sorted(maps.Keys(n.private.changed)) {
			e.Uint32(uint32(i))
			if l := n.private.changed[i]; l != nil {
				e.Opaque(l.signature.Bytes())
			} else {
				e.Opaque(nil)
			}
		}
	})
	e.Opaque(encodeSecrets(n.private.secrets))
	e.Opaque(n.private.secrets.encryption)
	e.Opaque(n.private.secrets.appExport)
	return e.Bytes()
}

func indices(added []AddedLeaf) []LeafIndex {
	out := make([]LeafIndex, len(added))
	for i, a := range added {
		out[i] = a.Index
	}
	return out
}

func decodeIndices(d *Decoder) []LeafIndex {
	var out []LeafIndex
	for _, v := range d.Uint32s() {
		out = append(out, LeafIndex(v))
	}
	return out
}

// loader reads a group back from its records.
type loader struct {
	cfg     *Config
	suite   *suite
	records map[string][]byte
}

func storageError(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrStorage, what, err)
}

func newLoader(cfg *Config, records []Record) (*loader, error) {
	if cfg == nil {
		cfg = new(Config)
	}
	l := &loader{cfg: cfg, records: make(map[string][]byte, len(records))}
	for _, r := range records {
		if len(r.Key) == 0 {
			return nil, fmt.Errorf("%w: record without key", ErrStorage)
		}
		l.records[string(r.Key)] = r.Value
	}
	d := NewDecoder(l.records[string(keyHeader)])
	version, id := d.Uint8(), d.Uint16()
	if err := d.Finish(); err != nil {
		return nil, storageError("header", err)
	}
	if version != storageVersion {
		return nil, fmt.Errorf("%w: version %d", ErrStorage, version)
	}
	var err error
	l.suite, err = cfg.suites().get(CipherSuite(id))
	return l, err
}

// LoadPublicGroup restores a followed group from its records, in any order.
func LoadPublicGroup(cfg *Config, records []Record) (*PublicGroup, error) {
	l, err := newLoader(cfg, records)
	if err != nil {
		return nil, err
	}
	return l.public()
}

func (l *loader) public() (*PublicGroup, error) {
	g := &PublicGroup{cfg: l.cfg, suite: l.suite, keys: make(map[keyID]struct{})}
	nodes := make(map[nodeIndex]*node)
	for key, value := range l.records {
		if key[0] != 'N' || len(key) != 5 {
			continue
		}
		i := nodeIndex(binary.BigEndian.Uint32([]byte(key[1:])))
		n, err := g.decodeNode(NewDecoder(value), i)
		if err != nil {
			return nil, storageError("node", err)
		}
		nodes[i] = n
	}
	st, err := decodeState(l.suite, l.records[string(keyEpoch)], l.context, func(depth int) (tree, error) {
		if depth != smallestDepth(nodes) {
			return tree{}, fmt.Errorf("%w: nodes do not make a tree of depth %d", ErrStorage, depth)
		}
		e := &treeEdit{mark: new(ownMark), tree: tree{depth: depth}}
		e.root = assemble(func(i nodeIndex) *node { return nodes[i] }, 0, depth)
		return e.finish(l.suite), nil
	})
	if err != nil {
		return nil, err
	}
	g.state = st
	st.usage = newUsage()
	for _, leaf := range g.Members() {
		st.usage.count(leaf, 1)
	}
	if err := g.indexKeys(st.tree); err != nil {
		return nil, storageError("tree", err)
	}
	return g, l.proposals(g)
}

func (g *PublicGroup) decodeNode(d *Decoder, i nodeIndex) (*node, error) {
	leaf, parent := unmarshalNode(d, i)
	if err := d.Finish(); err != nil {
		return nil, err
	}
	n := new(node)
	if leaf != nil {
		n.leaf, n.leaves = leaf.compact(&g.intern), 1
	}
	if parent != nil {
		n.parent = parent.clone()
	}
	return n, nil
}

// smallestDepth is the depth of the smallest tree with these leaves; -1 when there are none.
func smallestDepth(nodes map[nodeIndex]*node) int {
	depth := -1
	for i, n := range nodes {
		if n.leaf != nil {
			depth = max(depth, bits.Len32(uint32(i.first())))
		}
	}
	return depth
}

// context returns the stored GroupContext of an epoch.
func (l *loader) context(epoch uint64) []byte { return l.records[string(contextKey(epoch))] }

// decodeState reads an epoch's public state; build makes the tree, whose hash must be the stored one.
func decodeState(s *suite, data []byte, context func(epoch uint64) []byte, build func(depth int) (tree, error)) (*epochState, error) {
	d := NewDecoder(data)
	epoch, confirmation, depth := d.Uint64(), d.Opaque(), int(d.Uint8())
	var reinit *ReInit
	if d.Bool() {
		reinit = new(ReInit)
		reinit.UnmarshalMLS(d)
	}
	if depth > maxDepth {
		d.Failf("tree depth %d", depth)
	}
	if err := d.Finish(); err != nil {
		return nil, storageError("epoch", err)
	}
	var ctx GroupContext
	if err := Unmarshal(context(epoch), &ctx); err != nil {
		return nil, storageError("context", err)
	}
	if ctx.Epoch != epoch {
		return nil, fmt.Errorf("%w: context of another epoch", ErrStorage)
	}
	t, err := build(depth)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(t.root.hash, ctx.TreeHash) {
		return nil, fmt.Errorf("%w: tree and context differ", ErrStorage)
	}
	st, err := newEpochState(&ctx, t)
	if err != nil {
		return nil, storageError("context", err)
	}
	st.confirm(s, bytes.Clone(confirmation))
	st.reinit = reinit
	return st, nil
}

func (l *loader) proposals(g *PublicGroup) error {
	var keys []string
	for key := range l.records {
		if key[0] == 'P' && len(key) > 5 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys) // by position
	for _, key := range keys {
		a := new(AuthenticatedContent)
		content := bytes.Clone(l.records[key])
		if err := Unmarshal(content, a); err != nil || a.Content.Proposal == nil {
			return fmt.Errorf("%w: proposal", ErrStorage)
		}
		g.proposals = append(g.proposals, &PendingProposal{Ref: ProposalRef(key[5:]), Proposal: a.Content.Proposal,
			Sender: a.Content.Sender, AuthenticatedData: a.Content.AuthenticatedData, content: content})
	}
	return nil
}

// LoadGroup restores a group from its records, in any order. The error wraps [ErrStorage] when they are damaged.
func LoadGroup(cfg *Config, records []Record) (*Group, error) {
	l, err := newLoader(cfg, records)
	if err != nil {
		return nil, err
	}
	public, err := l.public()
	if err != nil {
		return nil, err
	}
	g := &Group{PublicGroup: *public, private: make(map[nodeIndex][]byte), leaves: make(map[LeafIndex]*localLeaf),
		updates: make(map[ProposalRef]newLeafKey)}
	if g.secrets, err = decodeSecrets(l.records[string(keySecrets)], l.suite.nh); err != nil {
		return nil, err
	}
	g.exporter = secretNodes{suite: g.suite, depth: 16, nodes: make(map[nodeIndex][]byte)}
	epochs := make(map[uint64]*messageKeys)
	for key, value := range l.records {
		if err := l.private(g, epochs, []byte(key), value); err != nil {
			return nil, err
		}
	}
	if err := l.epochs(g, epochs); err != nil {
		return nil, err
	}
	if err := checkLocal(g.state.tree, g.leaves); err != nil {
		return nil, err
	}
	if data, ok := l.records[string(keyPending)]; ok {
		if g.pending, err = l.pending(g, data); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func decodeSecrets(data []byte, nh int) (*epochSecrets, error) {
	s := new(epochSecrets)
	d := NewDecoder(data)
	for _, b := range s.stored() {
		if *b = bytes.Clone(d.Opaque()); len(*b) != nh {
			d.Failf("secret of %d bytes", len(*b))
		}
	}
	if err := d.Finish(); err != nil {
		return nil, storageError("secrets", err)
	}
	return s, nil
}

// private reads one record of a Group's own.
func (l *loader) private(g *Group, epochs map[uint64]*messageKeys, key, value []byte) error {
	switch {
	case key[0] == 'K' && len(key) == 5:
		g.private[nodeIndex(binary.BigEndian.Uint32(key[1:]))] = bytes.Clone(value)
	case key[0] == 'X' && len(key) == 5:
		g.exporter.nodes[nodeIndex(binary.BigEndian.Uint32(key[1:]))] = bytes.Clone(value)
	case key[0] == 'L' && len(key) == 5:
		signature, err := l.suite.sig.Parse(value)
		if err != nil {
			return storageError("local leaf", err)
		}
		g.leaves[LeafIndex(binary.BigEndian.Uint32(key[1:]))] = &localLeaf{signature: signature}
	case key[0] == 'U':
		d := NewDecoder(value)
		k := newLeafKey{leaf: LeafIndex(d.Uint32()), private: bytes.Clone(d.Opaque())}
		secret := d.Opaque()
		if err := d.Finish(); err != nil {
			return storageError("update", err)
		}
		var err error
		if k.signature, err = l.suite.sig.Parse(secret); err != nil {
			return storageError("update", err)
		}
		g.updates[ProposalRef(key[1:])] = k
	case key[0] == 'e' && len(key) >= 10:
		return l.epochRecord(epochs, key, value)
	}
	return nil
}

// epochRecord reads one record of an epoch's message keys.
func (l *loader) epochRecord(epochs map[uint64]*messageKeys, key, value []byte) error {
	epoch := binary.BigEndian.Uint64(key[1:])
	m := epochs[epoch]
	if m == nil {
		m = &messageKeys{epoch: epoch, ratchets: make(map[ratchetID]*ratchet),
			secrets: secretNodes{suite: l.suite, nodes: make(map[nodeIndex][]byte)}}
		epochs[epoch] = m
	}
	kind, rest := key[9], NewDecoder(key[10:])
	d := NewDecoder(value)
	switch kind {
	case 'C':
		m.context = bytes.Clone(d.Raw(len(value)))
	case 'H':
		if m.secrets.depth = int(d.Uint8()); m.secrets.depth > maxDepth {
			d.Failf("tree depth %d", m.secrets.depth)
		}
		m.safeAAD = d.Bool()
		m.senderData = bytes.Clone(d.Opaque())
		m.resumption = bytes.Clone(d.Opaque())
	case 'S':
		m.secrets.nodes[nodeIndex(rest.Uint32())] = bytes.Clone(d.Raw(len(value)))
	case 'R':
		r := m.loaded(ratchetID{LeafIndex(rest.Uint32()), rest.Bool()})
		r.generation = d.Uint32()
		r.secret = bytes.Clone(d.Raw(len(d.Remaining())))
	case 'Q':
		r := m.loaded(ratchetID{LeafIndex(rest.Uint32()), rest.Bool()})
		r.skipped = append(r.skipped, messageKey{generation: rest.Uint32(), key: bytes.Clone(d.Opaque()), nonce: bytes.Clone(d.Opaque())})
	case 'O':
		return nil // read by oldTree, newest epoch first
	}
	if err := d.Finish(); err != nil {
		return storageError("epoch keys", err)
	}
	if err := rest.Finish(); err != nil {
		return storageError("epoch keys", err)
	}
	return nil
}

func (m *messageKeys) loaded(id ratchetID) *ratchet {
	if m.ratchets[id] == nil {
		m.ratchets[id] = new(ratchet)
	}
	return m.ratchets[id]
}

// epochs puts the epochs' message keys in order and rebuilds the past trees, newest first.
func (l *loader) epochs(g *Group, epochs map[uint64]*messageKeys) error {
	for _, m := range epochs {
		if m.context == nil || m.senderData == nil {
			return fmt.Errorf("%w: epoch %d has no header", ErrStorage, m.epoch)
		}
		for _, r := range m.ratchets {
			if len(r.secret) != l.suite.nh {
				return fmt.Errorf("%w: ratchet of epoch %d", ErrStorage, m.epoch)
			}
			slices.SortFunc(r.skipped, func(a, b messageKey) int { return int(int64(a.generation) - int64(b.generation)) })
		}
		g.past = append(g.past, m)
	}
	slices.SortFunc(g.past, func(a, b *messageKeys) int { return int(int64(a.epoch) - int64(b.epoch)) })
	if len(g.past) == 0 || g.past[len(g.past)-1].epoch != g.Epoch() {
		return fmt.Errorf("%w: no keys of the current epoch", ErrStorage)
	}
	g.keys, g.past = g.past[len(g.past)-1], g.past[:len(g.past)-1]
	g.keys.tree = g.state.tree
	newer := g.state.tree
	for _, m := range slices.Backward(g.past) {
		t, err := l.oldTree(g, newer, m)
		if err != nil {
			return err
		}
		m.tree, newer = t, t
	}
	return nil
}

// oldTree rebuilds the leaves of a past epoch from the epoch after it. Only its leaves are right: nothing else of a
// past tree is used.
func (l *loader) oldTree(g *Group, newer tree, m *messageKeys) (tree, error) {
	e := newer.edit()
	prefix := string(append(epochPrefix(m.epoch), 'O'))
	for key, value := range l.records {
		if len(key) != len(prefix)+4 || key[:len(prefix)] != prefix {
			continue
		}
		i := nodeIndex(binary.BigEndian.Uint32([]byte(key[len(prefix):])))
		d := NewDecoder(value)
		var leaf *LeafNode
		if d.Bool() {
			leaf = new(LeafNode)
			leaf.UnmarshalMLS(d)
		}
		if err := d.Finish(); err != nil || i.level() > 0 || uint64(i.first()) >= 1<<max(e.depth, m.secrets.depth) {
			return tree{}, fmt.Errorf("%w: old leaf", ErrStorage)
		}
		if leaf != nil {
			leaf = leaf.compact(&g.intern)
		}
		for uint32(i.first()) >= e.size() {
			e.root = &node{left: e.root, right: e.blankSubtree(e.depth), owner: e.mark}
			e.depth++
		}
		count := uint32(0)
		if leaf != nil {
			count = 1
		}
		e.descend(i.first(), func(*node) {}, func(n *node) { n.leaf, n.leaves = leaf, count })
	}
	return e.tree, nil
}

// pending reads the pending commit back.
func (l *loader) pending(g *Group, data []byte) (*pendingCommit, error) {
	d := NewDecoder(bytes.Clone(data))
	p := &pendingCommit{hash: d.Opaque()}
	epoch := d.Uint64()
	n := &next{base: g.state, committer: LeafIndex(d.Uint32()), external: d.Bool()}
	p.next = n
	state, context := d.Opaque(), d.Opaque()
	changes := make(map[nodeIndex]*node)
	d.Vector(func(d *Decoder) {
		i := nodeIndex(d.Uint32())
		leaf, parent := unmarshalNode(d, i)
		changes[i] = &node{leaf: leaf, parent: parent}
	})
	d.Vector(func(d *Decoder) {
		r := ResolvedProposal{Proposal: new(Proposal)}
		r.Proposal.UnmarshalMLS(d)
		r.Sender.UnmarshalMLS(d)
		r.Ref = ProposalRef(d.Opaque())
		n.proposals = append(n.proposals, r)
	})
	added := decodeIndices(d)
	n.removed, n.updated = decodeIndices(d), decodeIndices(d)
	n.private = &nextSecrets{keys: make(map[nodeIndex][]byte), changed: make(map[LeafIndex]*localLeaf)}
	n.private.joined, n.private.left = decodeIndices(d), decodeIndices(d)
	d.Vector(func(d *Decoder) { n.private.keys[nodeIndex(d.Uint32())] = d.Opaque() })
	var bad error
	d.Vector(func(d *Decoder) {
		i, secret := LeafIndex(d.Uint32()), d.Opaque()
		if len(secret) == 0 {
			n.private.changed[i] = nil
			return
		}
		signature, err := l.suite.sig.Parse(secret)
		bad = errors.Join(bad, err)
		n.private.changed[i] = &localLeaf{signature: signature}
	})
	secrets, encryption, appExport := d.Opaque(), d.Opaque(), d.Opaque()
	if err := d.Finish(); err != nil || bad != nil || epoch != g.Epoch() {
		return nil, fmt.Errorf("%w: pending commit", ErrStorage)
	}
	var err error
	if n.private.secrets, err = decodeSecrets(secrets, l.suite.nh); err != nil {
		return nil, err
	}
	n.private.secrets.encryption, n.private.secrets.appExport = encryption, appExport
	n.state, err = decodeState(l.suite, state, func(uint64) []byte { return context }, func(depth int) (tree, error) { return g.changedTree(changes, depth) })
	if err != nil {
		return nil, err
	}
	if err := checkLocal(n.state.tree, n.private.changed); err != nil {
		return nil, err
	}
	for _, r := range n.proposals {
		if r.Proposal.Type == ProposalAdd && len(added) > 0 {
			n.added = append(n.added, AddedLeaf{Index: added[0], KeyPackage: r.Proposal.Add})
			added = added[1:]
		}
	}
	return p, g.restoreAccount(n)
}

// changedTree applies stored node changes to the current tree.
func (g *Group) changedTree(changes map[nodeIndex]*node, depth int) (tree, error) {
	e := g.state.tree.edit()
	if grown := uint64(e.size()) + uint64(len(changes)); 1<<depth > 2*grown {
		return tree{}, fmt.Errorf("%w: pending commit with a tree of depth %d", ErrStorage, depth)
	}
	for e.depth < depth {
		e.root = &node{left: e.root, right: e.blankSubtree(e.depth), owner: e.mark}
		e.depth++
	}
	for i, n := range changes {
		if uint32(i.first()) >= e.size() || i.level() > e.depth {
			continue
		}
		if n.leaf != nil {
			n.leaf = n.leaf.compact(&g.intern)
		}
		e.set(i, n.leaf, n.parent)
	}
	for e.depth > depth {
		e.root = e.root.left
		e.depth--
	}
	e.recount(e.root, e.depth)
	return e.finish(g.suite), nil
}

// checkLocal verifies that local leaves are in the tree with their keys.
func checkLocal(t tree, leaves map[LeafIndex]*localLeaf) error {
	for i, l := range leaves {
		if l == nil {
			continue
		}
		if leaf := t.leaf(i); leaf == nil || !bytes.Equal(leaf.SignatureKey, l.signature.PublicBytes()) {
			return fmt.Errorf("%w: local leaf %d is not in the tree", ErrStorage, i)
		}
	}
	return nil
}

// recount counts the leaves below each node of this edit.
func (e *treeEdit) recount(n *node, level int) {
	if n.owner != e.mark {
		return
	}
	n.leaves = 0
	if level == 0 {
		if n.leaf != nil {
			n.leaves = 1
		}
		return
	}
	e.recount(n.left, level-1)
	e.recount(n.right, level-1)
	n.leaves = n.left.leaves + n.right.leaves
}

// restoreAccount recomputes what account found when the commit was made.
func (g *Group) restoreAccount(n *next) error {
	d := &draft{next: &next{base: g.state, proposals: n.proposals}, context: n.state.context}
	required, err := d.context.required()
	if err != nil {
		return storageError("pending commit", err)
	}
	d.rules = &leafRules{suite: g.suite, config: g.cfg, context: &d.context, required: required}
	if err := g.account(d, n.state.tree); err != nil {
		return storageError("pending commit", err)
	}
	n.keysAdded, n.keysRemoved = d.keysAdded, d.keysRemoved
	n.state.usage = d.state.usage
	return nil
}
