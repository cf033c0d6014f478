package mls

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// secretNodes is what is left of a tree of secrets: a leaf's secret can be taken once, and taking it erases every
// secret it could be derived from (RFC 9420 §9.2). It serves the secret tree (§9) and the safe exporter.
type secretNodes struct {
	suite *suite
	nodes map[nodeIndex][]byte
	depth int
}

func newSecretNodes(s *suite, root []byte, depth int) secretNodes {
	return secretNodes{suite: s, depth: depth, nodes: map[nodeIndex][]byte{nodeAt(0, depth): root}}
}

// take removes and returns the secret of a leaf; nil if it was taken before. key names a node's record.
func (t *secretNodes) take(i LeafIndex, key func(nodeIndex) []byte, step *Step) []byte {
	level := 0
	for ; level <= t.depth; level++ {
		if t.nodes[nodeAt(i>>level<<level, level)] != nil {
			break
		}
	}
	if level > t.depth {
		return nil
	}
	at := nodeAt(i>>level<<level, level)
	secret := t.nodes[at]
	t.change(at, nil, key, step)
	step.forget = append(step.forget, secret)
	for ; level > 0; level-- {
		half := LeafIndex(1) << (level - 1)
		first := i >> level << level
		left := t.suite.expand(secret, "tree", []byte("left"), t.suite.nh)
		right := t.suite.expand(secret, "tree", []byte("right"), t.suite.nh)
		if i&half == 0 {
			t.change(nodeAt(first+half, level-1), right, key, step)
			secret = left
		} else {
			t.change(nodeAt(first, level-1), left, key, step)
			secret = right
		}
		step.forget = append(step.forget, secret)
	}
	return secret
}

func (t *secretNodes) change(i nodeIndex, secret []byte, key func(nodeIndex) []byte, step *Step) {
	old := t.nodes[i]
	restore := func(v []byte) {
		if v == nil {
			delete(t.nodes, i)
		} else {
			t.nodes[i] = v
		}
	}
	restore(secret)
	step.put(key(i), secret)
	step.undo = append(step.undo, func() { restore(old) })
}

// ratchetID names one of the two ratchets of a leaf (RFC 9420 §9.1).
type ratchetID struct {
	leaf      LeafIndex
	handshake bool
}

// ratchet is a leaf's hash ratchet. A ratchet never changes; moving on makes a new one.
type ratchet struct {
	generation uint32 // of the next message
	secret     []byte
	skipped    []messageKey // sorted by generation; of messages that have not arrived
}

// messageKey is key and nonce of one message.
type messageKey struct {
	generation uint32
	key, nonce []byte
}

// messageKeys opens and protects the PrivateMessages of one epoch. The current epoch has one, and so have the past
// epochs that are still kept.
type messageKeys struct {
	epoch      uint64
	context    []byte // serialised GroupContext
	tree       tree   // for the senders' signature keys
	safeAAD    bool
	senderData []byte // sender_data_secret
	resumption []byte // resumption_psk
	secrets    secretNodes
	ratchets   map[ratchetID]*ratchet
}

func newMessageKeys(s *suite, st *epochState, secrets *epochSecrets) *messageKeys {
	return &messageKeys{
		epoch: st.context.Epoch, context: st.contextBytes, tree: st.tree, safeAAD: st.safeAAD,
		senderData: secrets.senderData, resumption: secrets.resumption,
		secrets:  newSecretNodes(s, secrets.encryption, st.tree.depth),
		ratchets: make(map[ratchetID]*ratchet),
	}
}

// all lists every secret that is left, to be erased with the epoch.
func (m *messageKeys) all() [][]byte {
	out := slices.AppendSeq([][]byte{m.senderData, m.resumption}, maps.Values(m.secrets.nodes))
	for _, r := range m.ratchets {
		out = append(out, r.secret)
		for _, k := range r.skipped {
			out = append(out, k.key, k.nonce)
		}
	}
	return out
}

// ratchet returns a leaf's ratchet, deriving both of the leaf's from the secret tree on first use.
func (m *messageKeys) ratchet(id ratchetID, step *Step) (*ratchet, error) {
	if r := m.ratchets[id]; r != nil {
		return r, nil
	}
	secret := m.secrets.take(id.leaf, func(i nodeIndex) []byte { return secretKey(m.epoch, i) }, step)
	if secret == nil {
		return nil, fmt.Errorf("%w: no secret for leaf %d", ErrReplay, id.leaf)
	}
	s := m.secrets.suite
	m.replace(ratchetID{id.leaf, true}, &ratchet{secret: s.expand(secret, "handshake", nil, s.nh)}, step)
	m.replace(ratchetID{id.leaf, false}, &ratchet{secret: s.expand(secret, "application", nil, s.nh)}, step)
	return m.ratchets[id], nil
}

// replace puts a ratchet in place of the old one and records the change.
func (m *messageKeys) replace(id ratchetID, r *ratchet, step *Step) {
	old := m.ratchets[id]
	m.ratchets[id] = r
	step.put(ratchetKey(m.epoch, id), encodeRatchet(r))
	step.undo = append(step.undo, func() {
		if old == nil {
			delete(m.ratchets, id)
		} else {
			m.ratchets[id] = old
		}
	})
}

// advance derives the message key of the ratchet's generation and the ratchet after it (RFC 9420 §9.1).
func (r *ratchet) advance(s *suite) (messageKey, *ratchet) {
	k := messageKey{generation: r.generation,
		key:   s.deriveTree(r.secret, "key", r.generation, s.nk),
		nonce: s.deriveTree(r.secret, "nonce", r.generation, nn)}
	return k, &ratchet{generation: r.generation + 1, secret: s.deriveTree(r.secret, "secret", r.generation, s.nh), skipped: r.skipped}
}

// next takes the key for the next message that leaf sends.
func (m *messageKeys) next(id ratchetID, step *Step) (messageKey, error) {
	r, err := m.ratchet(id, step)
	if err != nil {
		return messageKey{}, err
	}
	if r.generation == 1<<32-1 {
		return messageKey{}, fmt.Errorf("%w: ratchet of leaf %d is used up", ErrReplay, id.leaf)
	}
	k, after := r.advance(m.secrets.suite)
	m.replace(id, after, step)
	step.forget = append(step.forget, r.secret, k.key, k.nonce)
	return k, nil
}

// at takes the key of a given generation: the next one, one ahead (keeping the keys in between), or one kept.
func (m *messageKeys) at(id ratchetID, generation uint32, cfg *Config, step *Step) (messageKey, error) {
	r, err := m.ratchet(id, step)
	if err != nil {
		return messageKey{}, err
	}
	if generation < r.generation {
		return m.kept(id, r, generation, step)
	}
	if generation-r.generation > cfg.maxSkip() || generation == 1<<32-1 {
		return messageKey{}, fmt.Errorf("%w: generation %d, ratchet of leaf %d is at %d", ErrReplay, generation, id.leaf, r.generation)
	}
	skipped, after := r.skipped, r
	if generation > r.generation {
		skipped = slices.Clone(skipped)
	}
	for after.generation < generation {
		step.forget = append(step.forget, after.secret)
		if generation-after.generation <= uint32(cfg.maxSkipped()) {
			k, ahead := after.advance(m.secrets.suite)
			skipped, after = append(skipped, k), ahead
		} else { // too far back to be kept
			after = &ratchet{generation: after.generation + 1, secret: m.secrets.suite.deriveTree(after.secret, "secret", after.generation, m.secrets.suite.nh)}
		}
	}
	k, last := after.advance(m.secrets.suite)
	last.skipped = skipped
	step.forget = append(step.forget, after.secret, k.key, k.nonce)
	if len(skipped) > len(r.skipped) {
		m.keepSkipped(id, last, len(r.skipped), cfg.maxSkipped(), step)
	}
	m.replace(id, last, step)
	return k, nil
}

// keepSkipped records new skipped keys, from index first on, and drops the oldest over the bound.
func (m *messageKeys) keepSkipped(id ratchetID, r *ratchet, first, bound int, step *Step) {
	drop := max(0, len(r.skipped)-bound)
	for i, k := range r.skipped {
		switch {
		case i < drop && i < first:
			step.delete(skippedKey(m.epoch, id, k.generation))
			step.forget = append(step.forget, k.key, k.nonce)
		case i >= drop && i >= first:
			step.put(skippedKey(m.epoch, id, k.generation), encodeMessageKey(k))
		}
	}
	r.skipped = r.skipped[drop:]
}

// kept takes the key of a skipped generation.
func (m *messageKeys) kept(id ratchetID, r *ratchet, generation uint32, step *Step) (messageKey, error) {
	i := sort.Search(len(r.skipped), func(i int) bool { return r.skipped[i].generation >= generation })
	if i == len(r.skipped) || r.skipped[i].generation != generation {
		return messageKey{}, fmt.Errorf("%w: generation %d of leaf %d", ErrReplay, generation, id.leaf)
	}
	k := r.skipped[i]
	rest := append(append(make([]messageKey, 0, len(r.skipped)-1), r.skipped[:i]...), r.skipped[i+1:]...)
	old := r
	m.ratchets[id] = &ratchet{generation: r.generation, secret: r.secret, skipped: rest}
	step.delete(skippedKey(m.epoch, id, generation))
	step.undo = append(step.undo, func() { m.ratchets[id] = old })
	step.forget = append(step.forget, k.key, k.nonce)
	return k, nil
}
