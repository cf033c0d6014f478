package mls

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// processCommit verifies a commit and derives the epoch it begins (RFC 9420 §12.4.2). It changes nothing.
func (g *Group) processCommit(a *AuthenticatedContent, with Arrival) (*next, error) {
	if a.Content.Sender.Type == SenderMember && g.leaves[a.Content.Sender.Leaf()] != nil {
		return nil, fmt.Errorf("%w: commit of local leaf %d whose secrets are gone", ErrOwnMessage, a.Content.Sender.Index)
	}
	n, err := g.stageCommit(a)
	if err != nil {
		return nil, err
	}
	if err := g.localChanges(n, with.Own); err != nil {
		return nil, err
	}
	if e := with.Entered; e != nil && bytes.Equal(e.state.confirmation, n.state.confirmation) {
		maps.Copy(n.private.keys, e.private)
		maps.Copy(n.private.changed, e.leaves)
	}
	if g.staying(n) == 0 {
		return n, nil // nobody of ours stays: the new epoch's secrets are not for us
	}
	commitSecret := make([]byte, g.suite.nh)
	if n.path != nil {
		if commitSecret, err = g.decryptPath(n, with); err != nil {
			return nil, err
		}
	}
	initSecret := g.secrets.init
	for _, p := range n.proposals {
		if p.Proposal.Type == ProposalExternalInit {
			if initSecret, err = g.suite.hpke.ExternalInitReceive(g.secrets.external, p.Proposal.KEMOutput); err != nil {
				return nil, err
			}
		}
	}
	psks, err := g.pskInputs(n.proposals)
	if err != nil {
		return nil, err
	}
	n.private.secrets = g.suite.keySchedule(initSecret, commitSecret, g.suite.pskSecret(psks), n.state.contextBytes)
	clear(n.private.secrets.joiner)
	clear(n.private.secrets.welcome)
	tag := g.suite.mac(n.private.secrets.confirm, n.state.context.ConfirmedTranscriptHash)
	if !equalTags(tag, n.state.confirmation) {
		return nil, fmt.Errorf("%w (RFC 9420 §6.1, §12.4.2)", ErrConfirmationTag)
	}
	return n, nil
}

// localChanges works out which leaves are ours after the commit, and their keys as far as known without the path.
func (g *Group) localChanges(n *next, own []*JoinSecrets) error {
	n.private = &nextSecrets{keys: make(map[nodeIndex][]byte), changed: make(map[LeafIndex]*localLeaf)}
	for _, i := range n.removed {
		if g.leaves[i] != nil {
			n.private.changed[i] = nil
			n.private.left = append(n.private.left, i)
		}
	}
	for _, p := range n.proposals {
		if p.Proposal.Type != ProposalUpdate || g.leaves[p.Sender.Leaf()] == nil {
			continue
		}
		k, ok := g.updates[p.Ref]
		if !ok {
			return fmt.Errorf("%w: update of local leaf %d whose key is gone", ErrOwnMessage, p.Sender.Index)
		}
		n.private.keys[k.leaf.node()] = k.private
		n.private.changed[k.leaf] = &localLeaf{signature: k.signature}
	}
	if len(own) == 0 || len(n.added) == 0 {
		return nil
	}
	byKey := make(map[string]*JoinSecrets, len(own))
	for _, j := range own {
		byKey[string(j.KeyPackage.LeafNode.EncryptionKey)] = j
	}
	for _, added := range n.added {
		j := byKey[string(added.KeyPackage.LeafNode.EncryptionKey)]
		if j == nil || !bytes.Equal(j.KeyPackage.Signature, added.KeyPackage.Signature) {
			continue
		}
		n.private.changed[added.Index] = &localLeaf{signature: j.Signature}
		n.private.keys[added.Index.node()] = bytes.Clone(j.LeafKey)
		n.private.joined = append(n.private.joined, added.Index)
	}
	return nil
}

// privateKey returns the private key for a node of the new tree, nil if we have none.
func (g *Group) privateKey(n *next, r nodeRef) []byte {
	if key := n.private.keys[r.index]; key != nil {
		return key
	}
	key := g.private[r.index]
	if key == nil {
		return nil
	}
	old := n.base.tree.at(r.index)
	if old == nil || !bytes.Equal(old.encryptionKey(), r.encryptionKey()) {
		return nil
	}
	return key
}

// decryptPath opens one path secret, the lowest that any local leaf can, derives those above and returns the
// commit secret (RFC 9420 §7.4 to §7.6). The node keys go into n.private.keys.
func (g *Group) decryptPath(n *next, with Arrival) ([]byte, error) {
	k, secret, err := g.lowestPathSecret(n, with)
	if err != nil {
		return nil, err
	}
	return g.suite.climb(n, k, secret)
}

// climb derives key pairs from path secret k upwards, compares them with the public ones and returns the
// commit secret.
func (s *suite) climb(n *next, k int, secret []byte) ([]byte, error) {
	for ; k < len(n.steps); k++ {
		nodeSecret := s.derive(secret, "node")
		private, public, err := s.hpke.KeyPair(nodeSecret)
		clear(nodeSecret)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(public, n.path.Nodes[k].EncryptionKey) {
			return nil, fmt.Errorf("%w: path secret does not yield the key of path node %d (RFC 9420 §7.5)", ErrCommit, k)
		}
		n.private.keys[n.steps[k].index] = private
		above := s.derive(secret, "path")
		clear(secret)
		secret = above
	}
	return secret, nil
}

// lowestPathSecret finds the lowest step of the path whose secret we can learn, from the commit or from the
// Welcome of leaves that join by it.
func (g *Group) lowestPathSecret(n *next, with Arrival) (int, []byte, error) {
	lowestJoin, joiner := len(n.steps), LeafIndex(0)
	for _, i := range n.private.joined {
		for k, step := range n.steps {
			if k < lowestJoin && step.index == commonAncestor(i, n.committer) {
				lowestJoin, joiner = k, i
			}
		}
	}
	var refs []nodeRef
	for k, step := range n.steps {
		if k > lowestJoin { // at that one, an older leaf of ours may still spare us the Welcome
			break
		}
		refs = n.recipients(refs[:0], n.state.tree, step)
		for j, r := range refs {
			key := g.privateKey(n, r)
			if key == nil {
				continue
			}
			secret, err := g.suite.hpke.Open(key, n.pathInfo, n.path.Nodes[k].EncryptedPathSecret[j])
			if err != nil {
				return 0, nil, fmt.Errorf("path secret: %w", err)
			}
			if len(secret) != g.suite.nh {
				return 0, nil, fmt.Errorf("%w: path secret of %d bytes", ErrCommit, len(secret))
			}
			return k, secret, nil
		}
	}
	if lowestJoin == len(n.steps) {
		return 0, nil, fmt.Errorf("%w: no local leaf can decrypt the path", ErrNotMember)
	}
	if with.Welcome == nil {
		return 0, nil, ErrNeedWelcome
	}
	for _, j := range with.Own {
		if bytes.Equal(j.KeyPackage.LeafNode.EncryptionKey, n.state.tree.leaf(joiner).EncryptionKey) {
			secrets, err := g.suite.openGroupSecrets(with.Welcome, j)
			if err != nil {
				return 0, nil, err
			}
			if secrets.pathSecret == nil {
				return 0, nil, fmt.Errorf("%w: no path secret (RFC 9420 §12.4.3.1)", ErrWelcome)
			}
			return lowestJoin, secrets.pathSecret, nil
		}
	}
	return 0, nil, ErrNeedWelcome
}

// pskInputs collects the secrets of PSK proposals, in order (RFC 9420 §8.4).
func (g *Group) pskInputs(list []ResolvedProposal) ([]pskInput, error) {
	var out []pskInput
	for _, p := range list {
		if p.Proposal.Type != ProposalPSK {
			continue
		}
		secret, err := g.findPSK(p.Proposal.PSK)
		if err != nil {
			return nil, err
		}
		out = append(out, pskInput{*p.Proposal.PSK, secret})
	}
	return out, nil
}

func (g *Group) findPSK(id *PreSharedKeyID) ([]byte, error) {
	if m := g.keysOf(id.Epoch); id.Type == PSKResumption && bytes.Equal(id.GroupID, g.GroupID()) && m != nil {
		return m.resumption, nil
	}
	if id.Type == PSKResumption && g.previous != nil && bytes.Equal(id.GroupID, g.previous.GroupID()) {
		return g.previous.ResumptionPSK(id.Epoch)
	}
	return g.cfg.findPSK(id)
}

func (c *Config) findPSK(id *PreSharedKeyID) ([]byte, error) {
	if c.PSK == nil {
		return nil, fmt.Errorf("%w: unknown (no source configured)", ErrPSK)
	}
	secret, err := c.PSK(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPSK, err)
	}
	return secret, nil
}

// Merge makes a commit's next epoch current: a received commit's step, or the step of our own. The result is a
// step of its own: its delta must be stored, and discarding it returns to the epoch before. When no local leaf
// stays, the group remembers only that; nothing can be done with it any more but to delete its records.
func (g *Group) Merge(commit *Step) (*Step, error) {
	n := commit.next
	if n == nil || n.base != g.state || n.private == nil {
		return nil, fmt.Errorf("%w: commit of epoch %d, group is at %d", ErrStep, commit.Epoch, g.Epoch())
	}
	step := &Step{Epoch: n.state.context.Epoch, Sender: commit.Sender, Commit: n.summary()}
	if n.private.used != nil {
		if _, err := g.keys.at(n.private.used.id, n.private.used.generation, g.cfg, step); err != nil {
			step.rollback()
			return nil, err
		}
	}
	base := g.state
	g.merge(n, step)
	g.dropPending(step)
	if g.staying(n) == 0 {
		g.end(step)
		return g.stage(step), nil
	}
	g.mergeSecrets(n, step)
	g.mergeKeys(base, n, step)
	g.mergeLeaves(n, step)
	return g.stage(step), nil
}

// end forgets everything private: the last local leaf has left.
func (g *Group) end(step *Step) {
	old := *g
	step.Delta = []Record{{Key: []byte{}, Prefix: true}}
	g.secrets, g.past, g.exporter = new(epochSecrets), nil, secretNodes{}
	g.private, g.leaves = make(map[nodeIndex][]byte), make(map[LeafIndex]*localLeaf)
	g.keys, g.updates = &messageKeys{epoch: g.Epoch()}, make(map[ProposalRef]newLeafKey)
	for _, b := range old.secrets.stored() {
		step.forget = append(step.forget, *b)
	}
	step.forget = slices.AppendSeq(step.forget, maps.Values(old.private))
	step.forget = slices.AppendSeq(step.forget, maps.Values(old.exporter.nodes))
	step.undo = append(step.undo, func() {
		g.secrets, g.private, g.leaves, g.past, g.keys = old.secrets, old.private, old.leaves, old.past, old.keys
		g.exporter, g.updates = old.exporter, old.updates
	})
}

// mergeSecrets moves the message keys of the epoch that ends among the past ones and begins the new epoch's.
func (g *Group) mergeSecrets(n *next, step *Step) {
	oldSecrets, oldKeys, oldPast, oldExporter, oldUpdates := g.secrets, g.keys, g.past, g.exporter, g.updates
	s := *n.private.secrets
	g.secrets = &s
	g.keys = newMessageKeys(g.suite, g.state, &s)
	g.exporter = newSecretNodes(g.suite, s.appExport, 16)
	s.encryption, s.appExport, s.joiner, s.welcome = nil, nil, nil, nil
	for ref := range g.updates {
		step.delete(updateKey(ref))
	}
	g.updates = make(map[ProposalRef]newLeafKey)
	g.past = append(append(make([]*messageKeys, 0, len(oldPast)+1), oldPast...), oldKeys)
	for len(g.past) > g.cfg.oldEpochs() {
		step.deletePrefix(epochPrefix(g.past[0].epoch))
		step.forget = append(step.forget, g.past[0].all()...)
		g.past = g.past[1:]
	}
	step.forget = slices.AppendSeq(step.forget, maps.Values(oldExporter.nodes))
	for _, k := range oldUpdates {
		if kept := n.private.keys[k.leaf.node()]; !bytes.Equal(kept, k.private) {
			step.forget = append(step.forget, k.private)
		}
	}
	oldKeys.tree.diff(g.state.tree, func(i nodeIndex, old, next *node) { // late messages need the leaf that sent them
		oldKeys.keepLeaf(i, old, next, step)
	})
	step.put(keySecrets, encodeSecrets(g.secrets))
	step.put(epochHeaderKey(g.keys.epoch), encodeEpochHeader(g.keys))
	root := nodeAt(0, g.keys.secrets.depth)
	step.put(secretKey(g.keys.epoch, root), g.keys.secrets.nodes[root])
	step.deletePrefix(prefixExporter)
	step.put(exporterKey(nodeAt(0, 16)), g.exporter.nodes[nodeAt(0, 16)])
	step.forget = append(step.forget, oldSecrets.init, oldSecrets.external, oldSecrets.confirm, oldSecrets.membership, oldSecrets.exporter)
	step.undo = append(step.undo, func() {
		g.secrets, g.keys, g.past, g.exporter, g.updates = oldSecrets, oldKeys, oldPast, oldExporter, oldUpdates
	})
}

// mergeKeys replaces the private keys of the nodes that changed.
func (g *Group) mergeKeys(base *epochState, n *next, step *Step) {
	type change struct {
		i   nodeIndex
		old []byte
	}
	var changes []change
	set := func(i nodeIndex, key []byte) {
		old := g.private[i]
		if old == nil && key == nil {
			return
		}
		changes = append(changes, change{i, old})
		step.put(privateKeyKey(i), key)
		if key == nil {
			delete(g.private, i)
		} else {
			g.private[i] = key
		}
		if old != nil {
			step.forget = append(step.forget, old)
		}
	}
	base.tree.diff(n.state.tree, func(i nodeIndex, old, next *node) {
		if next != nil && old != nil && bytes.Equal(old.encryptionKey(), next.encryptionKey()) {
			return // only its unmerged leaves changed
		}
		set(i, n.private.keys[i])
	})
	step.undo = append(step.undo, func() {
		for j := len(changes) - 1; j >= 0; j-- {
			if c := changes[j]; c.old == nil {
				delete(g.private, c.i)
			} else {
				g.private[c.i] = c.old
			}
		}
	})
}

// mergeLeaves changes the set of local leaves.
func (g *Group) mergeLeaves(n *next, step *Step) {
	old := make(map[LeafIndex]*localLeaf, len(n.private.changed))
	for i, l := range n.private.changed {
		old[i] = g.leaves[i]
		g.setLeaf(i, l)
		if l == nil {
			step.delete(leafKey(i))
		} else {
			step.put(leafKey(i), l.signature.Bytes())
		}
	}
	step.undo = append(step.undo, func() {
		for i, l := range old {
			g.setLeaf(i, l)
		}
	})
}

func (g *Group) setLeaf(i LeafIndex, l *localLeaf) {
	if l == nil {
		delete(g.leaves, i)
	} else {
		g.leaves[i] = l
	}
}

// staying is the number of leaves that are ours after a commit.
func (g *Group) staying(n *next) int {
	count := len(g.leaves)
	for i, l := range n.private.changed {
		switch had := g.leaves[i] != nil; {
		case had && l == nil:
			count--
		case !had && l != nil:
			count++
		}
	}
	return count
}

// Pending returns the step of the commit of our own that waits to be accepted, nil if there is none. Its messages
// are not kept: the caller stored them with the commit.
func (g *Group) Pending() *Step {
	if g.pending == nil {
		return nil
	}
	n := g.pending.next
	return &Step{Epoch: n.base.context.Epoch, Sender: Sender{Type: SenderMember, Index: uint32(n.committer)}, Commit: n.summary(), next: n}
}

// Drop forgets the pending commit of our own, after a definite refusal. The step is staged.
func (g *Group) Drop() *Step {
	step := &Step{Epoch: g.Epoch()}
	g.dropPending(step)
	return g.stage(step)
}

func (g *Group) dropPending(step *Step) {
	old := g.pending
	if old == nil {
		return
	}
	g.pending = nil
	step.delete(keyPending)
	step.undo = append(step.undo, func() { g.pending = old })
}
