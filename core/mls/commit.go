package mls

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// next is the epoch that a commit would begin, fully verified as far as public knowledge goes.
type next struct {
	base        *epochState // the epoch it follows
	state       *epochState
	proposals   []ResolvedProposal
	committer   LeafIndex
	external    bool
	added       []AddedLeaf
	removed     []LeafIndex
	updated     []LeafIndex
	path        *UpdatePath
	steps       []pathStep // filtered direct path of the committer in the new tree
	fresh       map[LeafIndex]bool
	pathInfo    []byte // under which path secrets are encrypted: the provisional GroupContext, labelled
	keysAdded   []keyID
	keysRemoved []keyID
	private     *nextSecrets // a Group's side; nil for a PublicGroup
}

func (n *next) summary() *CommitSummary {
	c := &CommitSummary{Committer: n.committer, External: n.external, Proposals: n.proposals, Added: n.added,
		Removed: n.removed, Updated: n.updated, Context: &n.state.context}
	if n.private != nil {
		c.Joined, c.Left = n.private.joined, n.private.left
	}
	return c
}

// step wraps a received commit; nothing is staged.
func (n *next) step(g *PublicGroup, a *AuthenticatedContent) *Step {
	return &Step{Epoch: n.base.context.Epoch, Sender: a.Content.Sender, Leaf: n.base.senderLeaf(a.Content.Sender), AuthenticatedData: a.Content.AuthenticatedData,
		Commit: n.summary(), next: n}
}

// resolve looks up a commit's proposals (RFC 9420 §12.4.2).
func (g *PublicGroup) resolve(c *Commit, committer Sender) ([]ResolvedProposal, error) {
	list := make([]ResolvedProposal, 0, len(c.Proposals))
	seen := make(map[ProposalRef]bool)
	for _, p := range c.Proposals {
		if p.Proposal != nil {
			list = append(list, ResolvedProposal{Proposal: p.Proposal, Sender: committer})
			continue
		}
		if seen[p.Ref] {
			return nil, fmt.Errorf("%w: proposal referred to twice (RFC 9420 §12.2)", ErrProposal)
		}
		seen[p.Ref] = true
		known := g.pendingProposal(p.Ref)
		if known == nil {
			return nil, fmt.Errorf("%w (RFC 9420 §12.4.2)", ErrUnknownProposal)
		}
		list = append(list, ResolvedProposal{Proposal: known.Proposal, Sender: known.Sender, Ref: p.Ref})
	}
	return list, nil
}

// draft is a commit's effect on the tree and context while it is being worked out.
type draft struct {
	*next
	edit    *treeEdit
	context GroupContext // of the new epoch, but for tree hash and transcript
	rules   *leafRules
}

// apply validates a list of proposals and applies it (RFC 9420 §12.2, §12.3).
func (g *PublicGroup) apply(list []ResolvedProposal, committer Sender) (*draft, error) {
	if err := g.checkList(list, committer); err != nil {
		return nil, err
	}
	d := &draft{
		next:    &next{base: g.state, proposals: list, external: committer.Type == SenderNewMemberCommit, fresh: map[LeafIndex]bool{}},
		edit:    g.state.tree.edit(),
		context: g.state.context,
	}
	if !d.external {
		d.committer = committer.Leaf()
	}
	d.context.Epoch++
	if err := g.applyExtensions(d); err != nil {
		return nil, err
	}
	for i := range list {
		if err := g.checkProposal(&list[i], d.rules, list[i].Ref == ""); err != nil {
			return nil, err
		}
	}
	return d, g.applyTree(d)
}

// applyExtensions works out the new epoch's extensions: GroupContextExtensions first, application data last.
func (g *PublicGroup) applyExtensions(d *draft) error {
	for _, p := range d.proposals {
		if p.Proposal.Type == ProposalGroupContextExtensions {
			d.context.Extensions = p.Proposal.Extensions
		}
	}
	xs, err := applyAppData(g.cfg, d.context.Extensions, d.proposals)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProposal, err)
	}
	st := epochState{context: d.context}
	st.context.Extensions = xs
	if err := st.readExtensions(); err != nil {
		return fmt.Errorf("%w: %w (RFC 9420 §12.1.7)", ErrProposal, err)
	}
	d.context.Extensions = xs
	d.rules = &leafRules{suite: g.suite, config: g.cfg, context: &d.context, required: st.required}
	return nil
}

// applyTree applies Updates, SelfRemoves, Removes and Adds in that order (RFC 9420 §12.3).
func (g *PublicGroup) applyTree(d *draft) error {
	for _, p := range d.proposals {
		if p.Proposal.Type == ProposalUpdate {
			d.edit.update(p.Sender.Leaf(), p.Proposal.Update.compact(&g.intern))
			d.updated = append(d.updated, p.Sender.Leaf())
		}
	}
	for _, p := range d.proposals {
		switch p.Proposal.Type {
		case ProposalSelfRemove:
			d.removed = append(d.removed, p.Sender.Leaf())
		case ProposalRemove:
			d.removed = append(d.removed, p.Proposal.Remove)
		}
	}
	for _, i := range d.removed {
		d.edit.remove(i)
	}
	if d.edit.root.leaves == 0 && !d.external {
		return fmt.Errorf("%w: no member is left (RFC 9420 §12.2)", ErrProposal)
	}
	d.edit.truncate()
	for _, p := range d.proposals {
		if p.Proposal.Type != ProposalAdd {
			continue
		}
		i, err := d.edit.add(p.Proposal.Add.LeafNode.compact(&g.intern))
		if err != nil {
			return err
		}
		d.fresh[i] = true
		d.added = append(d.added, AddedLeaf{Index: i, KeyPackage: p.Proposal.Add})
	}
	return nil
}

// finish hashes the new tree and completes context, transcript inputs and the list of keys. The confirmed
// transcript hash is still the old one: the provisional GroupContext (RFC 9420 §12.4.2).
func (g *PublicGroup) finish(d *draft) (tree, error) {
	t := d.edit.finish(g.suite)
	d.context.TreeHash = t.root.hash
	d.pathInfo = d.context.pathInfo()
	return t, g.account(d, t)
}

// account checks that keys stay unique and credentials supported (RFC 9420 §7.3), looking only at what changed.
func (g *PublicGroup) account(d *draft, t tree) error {
	counts := make(map[keyID]int)
	used := g.state.usage.clone()
	var newLeaves []*LeafNode
	g.state.tree.diff(t, func(_ nodeIndex, old, next *node) {
		if old != nil && !old.blank() {
			counts[encryptionKeyID(old.encryptionKey())]--
			if old.leaf != nil {
				counts[signatureKeyID(old.leaf.SignatureKey)]--
				used.count(old.leaf, -1)
			}
		}
		if next != nil && !next.blank() {
			counts[encryptionKeyID(next.encryptionKey())]++
			if next.leaf != nil {
				counts[signatureKeyID(next.leaf.SignatureKey)]++
				used.count(next.leaf, 1)
				newLeaves = append(newLeaves, next.leaf)
			}
		}
	})
	for id, n := range counts {
		_, had := g.keys[id]
		switch {
		case n > 1 || n > 0 && had:
			return fmt.Errorf("%w: a key would occur twice (RFC 9420 §7.3, §12.4.2)", ErrTree)
		case n > 0:
			d.keysAdded = append(d.keysAdded, id)
		case n < 0:
			d.keysRemoved = append(d.keysRemoved, id)
		}
	}
	maps.DeleteFunc(used.credentials, func(_ CredentialType, n int) bool { return n == 0 })
	d.state = &epochState{usage: used}
	return g.checkNewSupport(d, t, newLeaves)
}

// checkNewSupport verifies that new leaves support the credential types in use and that everyone supports a type
// that is new, and after a change of what the group requires, everyone supports that (RFC 9420 §7.3, §12.1.7).
func (g *PublicGroup) checkNewSupport(d *draft, t tree, newLeaves []*LeafNode) error {
	used := d.state.usage.credentials
	for c := range used {
		if g.state.usage.credentials[c] == 0 {
			if err := checkCredentialSupport(t, used); err != nil {
				return err
			}
			break
		}
	}
	for _, l := range newLeaves {
		for c := range used {
			if !slices.Contains(l.Capabilities.Credentials, c) {
				return fmt.Errorf("%w: no support for credential type %d, which is in use (RFC 9420 §7.3)", ErrLeafNode, c)
			}
		}
	}
	changed := slices.ContainsFunc(d.proposals, func(p ResolvedProposal) bool {
		return p.Proposal.Type == ProposalGroupContextExtensions ||
			p.Proposal.Type == ProposalAppDataUpdate && p.Proposal.AppDataUpdate.Component == ComponentAppComponents
	})
	_, had := g.state.context.Extensions.Get(ExtAppDataDictionary)
	_, has := d.context.Extensions.Get(ExtAppDataDictionary)
	if !changed && had == has {
		return nil
	}
	return t.each(func(i LeafIndex, l *LeafNode) error {
		if err := d.rules.checkSupport(l); err != nil {
			return fmt.Errorf("leaf %d: %w", i, err)
		}
		return nil
	})
}

// stageCommit validates an authenticated commit and works out the epoch it begins (RFC 9420 §12.4.2).
func (g *PublicGroup) stageCommit(a *AuthenticatedContent) (*next, error) {
	commit := a.Content.Commit
	list, err := g.resolve(commit, a.Content.Sender)
	if err != nil {
		return nil, err
	}
	d, err := g.apply(list, a.Content.Sender)
	if err != nil {
		return nil, err
	}
	if commit.Path == nil && (pathRequired(list) || d.external) {
		return nil, fmt.Errorf("%w: path missing (RFC 9420 §12.4)", ErrCommit)
	}
	if commit.Path != nil {
		if err := g.applyPath(d, commit.Path); err != nil {
			return nil, err
		}
	}
	t, err := g.finish(d)
	if err != nil {
		return nil, err
	}
	if commit.Path != nil {
		if err := g.checkPathSizes(d, t); err != nil {
			return nil, err
		}
	}
	return d.next, g.complete(d, t, a)
}

// complete sets what follows from the commit itself: transcript hashes, confirmation tag, caches.
func (g *PublicGroup) complete(d *draft, t tree, a *AuthenticatedContent) error {
	d.context.ConfirmedTranscriptHash = g.suite.confirmedTranscriptHash(g.state.interim, a)
	if len(a.Auth.ConfirmationTag) != g.suite.nh {
		return fmt.Errorf("%w: %d bytes (RFC 9420 §6.1)", ErrConfirmationTag, len(a.Auth.ConfirmationTag))
	}
	if err := g.seal(d, t); err != nil {
		return err
	}
	d.state.confirm(g.suite, bytes.Clone(a.Auth.ConfirmationTag))
	return nil
}

// seal makes the draft's epoch state final, but for the confirmation tag.
func (g *PublicGroup) seal(d *draft, t tree) error {
	st, err := newEpochState(&d.context, t)
	if err != nil {
		return err
	}
	st.usage = d.state.usage
	if len(d.proposals) == 1 && d.proposals[0].Proposal.Type == ProposalReInit {
		st.reinit = d.proposals[0].Proposal.ReInit
	}
	d.state = st
	return nil
}

// applyPath validates an update path and merges it into the tree (RFC 9420 §7.5, §12.4.2).
func (g *PublicGroup) applyPath(d *draft, path *UpdatePath) error {
	d.path = path
	if err := g.checkPathKeys(d.edit.tree, path); err != nil {
		return err
	}
	leaf := path.LeafNode.compact(&g.intern)
	if d.external {
		i, err := d.edit.add(leaf)
		if err != nil {
			return err
		}
		d.committer = i
		if err := g.checkResync(d, leaf); err != nil {
			return err
		}
	} else {
		old := g.state.tree.leaf(d.committer)
		if err := g.cfg.verifySuccessor(old, leaf); err != nil {
			return err
		}
		d.edit.setLeaf(d.committer, leaf)
	}
	if err := d.rules.check(leaf, SourceCommit, true); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if err := leaf.verifySignature(g.suite, g.state.context.GroupID, d.committer); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	d.steps = d.edit.filteredPath(d.committer)
	if len(d.steps) != len(path.Nodes) {
		return fmt.Errorf("%w: path of %d nodes, want %d (RFC 9420 §12.4.2)", ErrCommit, len(path.Nodes), len(d.steps))
	}
	keys := make([][]byte, len(d.steps))
	for k := range path.Nodes {
		if err := g.suite.hpke.CheckPublicKey(path.Nodes[k].EncryptionKey); err != nil {
			return fmt.Errorf("path: %w", err)
		}
		keys[k] = bytes.Clone(path.Nodes[k].EncryptionKey)
	}
	if !bytes.Equal(d.edit.mergePath(g.suite, d.committer, d.steps, keys), leaf.ParentHash) {
		return fmt.Errorf("%w: wrong parent hash (RFC 9420 §7.9, §12.4.2)", ErrCommit)
	}
	return nil
}

// checkPathKeys verifies that no public key of a path is one of the tree that it is to be merged into, not even the one
// it replaces (RFC 9420 §12.4.2). That the new tree has no key twice is account's to say.
func (g *PublicGroup) checkPathKeys(t tree, path *UpdatePath) error {
	check := func(key []byte) error {
		if _, had := g.keys[encryptionKeyID(key)]; had && t.holds(key) {
			return fmt.Errorf("%w: path brings a key that the tree has (RFC 9420 §12.4.2)", ErrCommit)
		}
		return nil
	}
	if err := check(path.LeafNode.EncryptionKey); err != nil {
		return err
	}
	for i := range path.Nodes {
		if err := check(path.Nodes[i].EncryptionKey); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether a node of the tree has the public key. It looks at every node: call it on suspicion only.
func (t tree) holds(key []byte) (found bool) {
	tree{}.diff(t, func(_ nodeIndex, _, n *node) {
		found = found || n != nil && bytes.Equal(n.encryptionKey(), key)
	})
	return found
}

// checkResync verifies that an external commit's Remove is of the joiner's own old leaf (RFC 9420 §12.2).
func (g *PublicGroup) checkResync(d *draft, leaf *LeafNode) error {
	for _, p := range d.proposals {
		if p.Proposal.Type != ProposalRemove {
			continue
		}
		old := g.state.tree.leaf(p.Proposal.Remove)
		if bytes.Equal(old.EncryptionKey, leaf.EncryptionKey) {
			return fmt.Errorf("%w: external commit keeps the encryption key of the leaf it replaces (RFC 9420 §12.2)", ErrCommit)
		}
		if err := g.cfg.verifySuccessor(old, leaf); err != nil {
			return fmt.Errorf("%w: external commit removes another member: %w", ErrProposal, err)
		}
	}
	return nil
}

// checkPathSizes verifies that every path node carries one ciphertext for each node of its copath's resolution but
// the leaves just added (RFC 9420 §7.6, §12.4.2).
func (g *PublicGroup) checkPathSizes(d *draft, t tree) error {
	var refs []nodeRef
	for k, step := range d.steps {
		refs = d.recipients(refs[:0], t, step)
		if have := len(d.path.Nodes[k].EncryptedPathSecret); have != len(refs) {
			return fmt.Errorf("%w: %d ciphertexts at path node %d, want %d (RFC 9420 §7.6)", ErrCommit, have, k, len(refs))
		}
	}
	return nil
}

// recipients is the resolution of a step's copath node without the leaves this commit adds (RFC 9420 §7.5).
func (n *next) recipients(refs []nodeRef, t tree, step pathStep) []nodeRef {
	refs = t.resolution(refs, step.copath, step.copathFirst, step.copathLevel)
	if len(n.fresh) == 0 {
		return refs
	}
	return slices.DeleteFunc(refs, func(r nodeRef) bool {
		return r.leaf != nil && n.fresh[LeafIndex(r.index/2)]
	})
}
