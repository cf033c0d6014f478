package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// JoinOptions is what joining by Welcome needs beside the Welcome.
type JoinOptions struct {
	// Own are the key packages of ours that may be in the Welcome; those that are become local leaves, all at once.
	Own []*JoinSecrets
	// RatchetTree is the encoded ratchet_tree vector where the Welcome's GroupInfo does not carry it.
	RatchetTree []byte
	// Previous is the group that the new one continues by ReInit or branches off (RFC 9420 §11.2, §11.3).
	Previous *Group
}

// JoinWelcome joins a group with every local leaf that the Welcome is for (RFC 9420 §12.4.3.1). The whole of
// [Group.Snapshot] has to be stored, and the key packages used must not be used again.
func JoinWelcome(cfg *Config, w *Welcome, o JoinOptions) (*Group, error) {
	public, err := newPublicGroup(cfg, w.CipherSuite)
	if err != nil {
		return nil, err
	}
	g := &Group{PublicGroup: *public}
	listed := make(map[string]bool, len(w.Secrets))
	for i := range w.Secrets {
		listed[string(w.Secrets[i].NewMember)] = true
	}
	mine := slices.DeleteFunc(slices.Clone(o.Own), func(j *JoinSecrets) bool {
		return j.KeyPackage.CipherSuite != g.suite.id || !listed[string(j.KeyPackage.ref(g.suite))]
	})
	if len(mine) == 0 {
		return nil, fmt.Errorf("%w: for none of our key packages (RFC 9420 §12.4.3.1)", ErrWelcome)
	}
	opened, err := g.suite.openGroupSecrets(w, mine[0])
	if err != nil {
		return nil, err
	}
	psks, err := g.welcomePSKs(opened.psks, o.Previous)
	if err != nil {
		return nil, err
	}
	pskSecret := g.suite.pskSecret(psks)
	info, err := g.suite.openGroupInfo(w, opened.joinerSecret, pskSecret)
	if err != nil {
		return nil, err
	}
	if err := g.load(info, o.RatchetTree); err != nil {
		return nil, err
	}
	if err := checkPrevious(&g.PublicGroup, psks, o.Previous); err != nil {
		return nil, err
	}
	secrets := g.suite.keyScheduleFromJoiner(opened.joinerSecret, pskSecret, g.state.contextBytes)
	tag := g.suite.mac(secrets.confirm, g.state.context.ConfirmedTranscriptHash)
	if !equalTags(tag, g.state.confirmation) {
		return nil, fmt.Errorf("%w (RFC 9420 §12.4.3.1)", ErrConfirmationTag)
	}
	g.begin(secrets)
	return g, g.settleIn(w, info.Signer, mine, opened)
}

// settleIn finds our leaves in the tree and the path secret that yields all the node keys we are to know.
func (g *Group) settleIn(w *Welcome, signer LeafIndex, mine []*JoinSecrets, opened *groupSecrets) error {
	byKey := make(map[string]*JoinSecrets, len(mine))
	for _, j := range mine {
		byKey[string(j.KeyPackage.LeafNode.EncryptionKey)] = j
	}
	lowest, lowestLevel := (*JoinSecrets)(nil), maxDepth+1
	err := g.state.tree.each(func(i LeafIndex, l *LeafNode) error {
		j := byKey[string(l.EncryptionKey)]
		if j == nil {
			return nil
		}
		if !bytes.Equal(Marshal(l), Marshal(&j.KeyPackage.LeafNode)) {
			return fmt.Errorf("%w: leaf %d is not that of the key package (RFC 9420 §12.4.3.1)", ErrWelcome, i)
		}
		g.leaves[i] = &localLeaf{signature: j.Signature}
		g.private[i.node()] = bytes.Clone(j.LeafKey)
		if i == signer {
			return fmt.Errorf("%w: signed by the new member itself", ErrWelcome)
		}
		if level := commonAncestor(i, signer).level(); level < lowestLevel {
			lowest, lowestLevel = j, level
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(g.leaves) != len(mine) {
		return fmt.Errorf("%w: %d of %d leaves in the tree (RFC 9420 §12.4.3.1)", ErrWelcome, len(g.leaves), len(mine))
	}
	if lowest != mine[0] {
		if opened, err = g.suite.openGroupSecrets(w, lowest); err != nil {
			return err
		}
	}
	if opened.pathSecret == nil {
		return nil
	}
	return g.adoptPath(signer, lowestLevel, opened.pathSecret)
}

// adoptPath derives the node keys above the common ancestor of ours and the committer (RFC 9420 §12.4.3.1).
func (g *Group) adoptPath(signer LeafIndex, level int, secret []byte) error {
	n := &next{steps: g.state.tree.filteredPath(signer), path: &UpdatePath{}, private: &nextSecrets{keys: g.private}}
	first := -1
	for k, step := range n.steps {
		n.path.Nodes = append(n.path.Nodes, UpdatePathNode{EncryptionKey: g.state.tree.at(step.index).encryptionKey()})
		if step.index.level() == level {
			first = k
		}
	}
	if first < 0 || len(secret) != g.suite.nh {
		return fmt.Errorf("%w: path secret does not fit the tree (RFC 9420 §12.4.3.1)", ErrWelcome)
	}
	_, err := g.suite.climb(n, first, secret)
	return err
}

func (s *suite) findSecrets(w *Welcome, j *JoinSecrets) *EncryptedGroupSecrets {
	if j.KeyPackage.CipherSuite != s.id {
		return nil
	}
	ref := j.KeyPackage.ref(s)
	for i := range w.Secrets {
		if bytes.Equal(w.Secrets[i].NewMember, ref) {
			return &w.Secrets[i]
		}
	}
	return nil
}

// openGroupSecrets decrypts one key package's entry of a Welcome.
func (s *suite) openGroupSecrets(w *Welcome, j *JoinSecrets) (*groupSecrets, error) {
	entry := s.findSecrets(w, j)
	if entry == nil {
		return nil, fmt.Errorf("%w: not for this key package", ErrWelcome)
	}
	plain, err := s.hpke.Open(j.InitKey, labelledContext("Welcome", w.EncryptedGroupInfo), entry.EncryptedGroupSecrets)
	if err != nil {
		return nil, fmt.Errorf("group secrets: %w", err)
	}
	secrets := new(groupSecrets)
	if err := Unmarshal(plain, secrets); err != nil {
		return nil, fmt.Errorf("group secrets: %w", err)
	}
	return secrets, nil
}

// openGroupInfo decrypts a Welcome's GroupInfo.
func (s *suite) openGroupInfo(w *Welcome, joiner, pskSecret []byte) (*GroupInfo, error) {
	key, nonce := s.welcomeKey(s.derive(s.extract(joiner, pskSecret), "welcome"))
	aead, err := s.newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("mls: welcome key: %w", err)
	}
	plain, err := aead.Open(nil, nonce, w.EncryptedGroupInfo, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: GroupInfo of the Welcome", ErrDecrypt)
	}
	info := new(GroupInfo)
	return info, Unmarshal(plain, info)
}

// welcomePSKs looks up the pre-shared keys of a Welcome. At most one may be a resumption PSK of usage reinit or
// branch (RFC 9420 §12.4.3.1).
func (g *Group) welcomePSKs(ids []PreSharedKeyID, previous *Group) ([]pskInput, error) {
	var out []pskInput
	links := 0
	for _, id := range ids {
		if len(id.Nonce) != g.suite.nh {
			return nil, fmt.Errorf("%w: nonce of %d bytes (RFC 9420 §8.4)", ErrPSK, len(id.Nonce))
		}
		var secret []byte
		var err error
		if id.Type == PSKResumption && id.Usage != UsageApplication {
			links++
		}
		if id.Type == PSKResumption && previous != nil && bytes.Equal(id.GroupID, previous.GroupID()) {
			secret, err = previous.ResumptionPSK(id.Epoch)
		} else {
			secret, err = g.cfg.findPSK(&id)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, pskInput{id, secret})
	}
	if links > 1 {
		return nil, fmt.Errorf("%w: more than one PSK of usage reinit or branch (RFC 9420 §12.4.3.1)", ErrPSK)
	}
	return out, nil
}

// checkPrevious verifies that a group begun by ReInit or branch fits the group before it (RFC 9420 §11.2, §11.3).
func checkPrevious(g *PublicGroup, psks []pskInput, previous *Group) error {
	for i := range psks {
		id := &psks[i].id
		if id.Type != PSKResumption || id.Usage == UsageApplication {
			continue
		}
		if previous == nil || !bytes.Equal(id.GroupID, previous.GroupID()) {
			return fmt.Errorf("%w: continues a group we were not given (RFC 9420 §11)", ErrWelcome)
		}
		if g.Epoch() != 1 {
			return fmt.Errorf("%w: epoch %d of a new group (RFC 9420 §11)", ErrWelcome, g.Epoch())
		}
		if id.Usage == UsageReInit && id.Epoch != previous.Epoch() {
			return fmt.Errorf("%w: PSK of epoch %d, not of the last one (RFC 9420 §11.2)", ErrWelcome, id.Epoch)
		}
		if id.Usage == UsageBranch {
			return checkBranch(g, previous)
		}
		r := previous.ReInit()
		if r == nil || !bytes.Equal(r.GroupID, g.GroupID()) || r.CipherSuite != g.suite.id || r.Version != g.state.context.Version ||
			!bytes.Equal(Marshal(r.Extensions), Marshal(g.state.context.Extensions)) {
			return fmt.Errorf("%w: differs from the ReInit proposal (RFC 9420 §11.2)", ErrWelcome)
		}
		return checkMembers(&previous.PublicGroup, g, g.cfg.sameMember)
	}
	return nil
}

// checkBranch verifies that every member of a branch is a member of the group it branches off (RFC 9420 §11.3).
func checkBranch(g *PublicGroup, previous *Group) error {
	if previous.suite.id != g.suite.id {
		return fmt.Errorf("%w: branch with another cipher suite (RFC 9420 §11.3)", ErrWelcome)
	}
	return checkMembers(g, &previous.PublicGroup, func(branched, old *Credential) bool { return g.cfg.sameMember(old, branched) })
}

// checkMembers verifies that every member of one group is a member of another (RFC 9420 §11.3, §12.4.3.1).
func checkMembers(part, whole *PublicGroup, same func(part, whole *Credential) bool) error {
	known := make(map[string]bool)
	for _, l := range whole.Members() {
		known[string(Marshal(&l.Credential))] = true
	}
	for i, l := range part.Members() {
		found := known[string(Marshal(&l.Credential))]
		for _, m := range whole.Members() {
			if found {
				break
			}
			found = same(&l.Credential, &m.Credential)
		}
		if !found {
			return fmt.Errorf("%w: leaf %d of one group is not a member of the other (RFC 9420 §12.4.3.1)", ErrWelcome, i)
		}
	}
	return nil
}

// Successor creates the group that follows this one after a ReInit commit (usage [UsageReInit]), or a branch of it
// ([UsageBranch]), and commits the members to it (RFC 9420 §11.2, §11.3). For a ReInit id and extensions come
// from the proposal. Nothing of this group changes; the returned step is the new group's pending commit.
func (g *Group) Successor(usage ResumptionUsage, groupID []byte, extensions Extensions, creator *JoinSecrets, o CommitOptions) (*Group, *Step, error) {
	if r := g.state.reinit; usage == UsageReInit {
		if r == nil || creator.KeyPackage.CipherSuite != r.CipherSuite {
			return nil, nil, fmt.Errorf("%w: no ReInit to this cipher suite", ErrReInit)
		}
		groupID, extensions = r.GroupID, r.Extensions
	}
	successor, err := NewGroup(g.cfg, groupID, extensions, creator)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := randomBytes(g.cfg.random(), successor.suite.nh)
	if err != nil {
		return nil, nil, err
	}
	o.Proposals = append(slices.Clone(o.Proposals), Proposal{Type: ProposalPSK, PSK: &PreSharedKeyID{
		Type: PSKResumption, Usage: usage, GroupID: g.GroupID(), Epoch: g.Epoch(), Nonce: nonce}})
	successor.previous = g
	defer func() { successor.previous = nil }()
	step, err := successor.Commit(0, o)
	return successor, step, err
}

// ExternalOptions says what an external commit contains beside the joiner.
type ExternalOptions struct {
	RatchetTree []byte     // where the GroupInfo does not carry it
	Remove      *LeafIndex // the joiner's own old leaf, to be replaced (RFC 9420 §12.2 calls it resync)
	// Pending are proposals delivered with the GroupInfo; the SelfRemoves among them are committed.
	Pending   []*Message
	Proposals []Proposal // by value: pre-shared keys and application data
	// Own are further leaves of ours to add in the same commit; needs [Config].AllowExternalAdds.
	Own     []*JoinSecrets
	Framing Framing
	// GroupInfoTree, WelcomeTree and OmitOwnWelcome are as in [CommitOptions]; a GroupInfo is always made.
	GroupInfoTree, WelcomeTree, OmitOwnWelcome bool
}

// ExternalCommit joins a group by an external commit (RFC 9420 §12.4.3.2). The returned group is already in the new
// epoch: keep it, and store its Snapshot, when the commit was accepted; drop it when not. The step carries the
// commit, Welcome and GroupInfo and is not staged.
func ExternalCommit(cfg *Config, info *GroupInfo, leaf LeafTemplate, o ExternalOptions) (*Group, *Step, error) {
	public, err := NewPublicGroup(cfg, info, o.RatchetTree)
	if err != nil {
		return nil, nil, err
	}
	g := &Group{PublicGroup: *public}
	externalPub, err := info.externalPub()
	if err != nil {
		return nil, nil, err
	}
	for _, m := range o.Pending {
		if p := m.Public; p == nil || p.Content.Proposal == nil || p.Content.Proposal.Type != ProposalSelfRemove {
			continue
		}
		if _, err := g.PublicGroup.Process(m); err != nil {
			return nil, nil, fmt.Errorf("pending self_remove: %w", err)
		}
	}
	kemOutput, initSecret, err := g.suite.hpke.ExternalInit(externalPub)
	if err != nil {
		return nil, nil, err
	}
	co := CommitOptions{Leaf: &leaf, Framing: o.Framing, Own: o.Own, WantGroupInfo: true, GroupInfoTree: o.GroupInfoTree,
		WelcomeTree: o.WelcomeTree, OmitOwnWelcome: o.OmitOwnWelcome,
		Proposals: []Proposal{{Type: ProposalExternalInit, KEMOutput: kemOutput}}}
	if o.Remove != nil {
		co.Proposals = append(co.Proposals, Proposal{Type: ProposalRemove, Remove: *o.Remove})
	}
	co.Proposals = append(co.Proposals, o.Proposals...)
	sender := Sender{Type: SenderNewMemberCommit}
	commit, list := assembleCommit(sender, &co, g.choosePending(sender, &co))
	d, err := g.apply(list, sender)
	if err != nil {
		return nil, nil, err
	}
	step := &Step{Epoch: g.Epoch(), Sender: sender}
	b := &committing{group: g, draft: d, options: &co, commit: commit, sender: sender, signature: leaf.Signature, initSecret: initSecret, step: step}
	if err := b.run(); err != nil {
		return nil, nil, err
	}
	step.Commit = d.summary()
	g.enter(d.next)
	return g, step, nil
}

// enter makes the group begin at the epoch of its own external commit.
func (g *Group) enter(n *next) {
	g.merge(n, &Step{})
	g.steps = nil
	g.begin(n.private.secrets)
	for i, l := range n.private.changed {
		g.setLeaf(i, l)
	}
	for i, key := range n.private.keys {
		g.private[i] = key
	}
}
