package mls

import (
	"fmt"
	"slices"
)

// CommitOptions says what a commit of ours contains.
type CommitOptions struct {
	// Proposals are committed by value, after the pending ones.
	Proposals []Proposal
	// Own are key packages of ours; each is committed as an Add, and its leaf becomes local.
	Own []*JoinSecrets
	// NoPending leaves the pending proposals out. They are lost with the epoch.
	NoPending bool
	// OmitPath leaves the path out where RFC 9420 §12.4 allows it.
	OmitPath bool
	// Leaf replaces credential, signature key, capabilities and extensions of the committer's leaf; nil keeps them.
	Leaf *LeafTemplate
	// Private sends the commit as a PrivateMessage.
	Private bool
	Framing Framing
	// WantGroupInfo makes a GroupInfo of the new epoch with external_pub; GroupInfoTree puts the tree into it.
	WantGroupInfo bool
	GroupInfoTree bool
	// WelcomeTree puts the ratchet tree into the Welcome's GroupInfo.
	WelcomeTree bool
	// OmitOwnWelcome leaves Own out of the Welcome: their leaves join here and now.
	OmitOwnWelcome bool
}

// Commit makes a commit of a local leaf (RFC 9420 §12.4.1). The step is staged: the commit is pending, and what
// storage needs to merge it after a restart is in the delta. Nothing else changes until the commit, coming
// back through Process, or Pending is given to Merge. One commit can be pending at a time.
func (g *Group) Commit(leaf LeafIndex, o CommitOptions) (*Step, error) {
	l, err := g.local(leaf)
	if err != nil {
		return nil, err
	}
	if g.pending != nil {
		return nil, ErrPendingCommit
	}
	if g.state.reinit != nil {
		return nil, ErrReInit
	}
	sender := Sender{Type: SenderMember, Index: uint32(leaf)}
	pending := g.choosePending(sender, &o)
	step, err := g.commit(l, sender, &o, pending)
	if err == nil || len(pending) == 0 {
		return step, err
	}
	// Each pending proposal was valid when it came, but they need not be so together; none may keep us from committing.
	fit := g.fitting(sender, pending)
	if len(fit) == len(pending) {
		return nil, err
	}
	return g.commit(l, sender, &o, fit)
}

func (g *Group) commit(l *localLeaf, sender Sender, o *CommitOptions, pending []ResolvedProposal) (*Step, error) {
	commit, list := assembleCommit(sender, o, pending)
	d, err := g.apply(list, sender)
	if err != nil {
		return nil, err
	}
	step := &Step{Epoch: g.Epoch(), Sender: sender}
	b := &committing{group: g, draft: d, options: o, commit: commit, sender: sender, signature: l.signature, initSecret: g.secrets.init, step: step}
	if err := b.run(); err != nil {
		step.rollback()
		return nil, err
	}
	g.pending = &pendingCommit{hash: g.suite.sum(step.Message), next: d.next}
	step.undo = append(step.undo, func() { g.pending = nil })
	step.put(keyPending, g.encodePending())
	step.next, step.Commit = d.next, d.summary()
	return g.stage(step), nil
}

// byValue lists the proposals that a commit contains by value.
func (o *CommitOptions) byValue(sender Sender) []ResolvedProposal {
	list := make([]ResolvedProposal, 0, len(o.Proposals)+len(o.Own))
	for i := range o.Proposals {
		list = append(list, ResolvedProposal{Proposal: &o.Proposals[i], Sender: sender})
	}
	for _, j := range o.Own {
		list = append(list, ResolvedProposal{Proposal: &Proposal{Type: ProposalAdd, Add: &j.KeyPackage}, Sender: sender})
	}
	return list
}

// assembleCommit makes the commit of pending proposals and those by value.
func assembleCommit(sender Sender, o *CommitOptions, pending []ResolvedProposal) (*Commit, []ResolvedProposal) {
	list := append(slices.Clip(pending), o.byValue(sender)...)
	// A GroupContextExtensions must not follow an AppDataUpdate (draft-ietf-mls-extensions-10 §4.7).
	slices.SortStableFunc(list, func(a, b ResolvedProposal) int { return listRank(a) - listRank(b) })
	c := &Commit{}
	for _, p := range list {
		if p.Ref != "" {
			c.Proposals = append(c.Proposals, ProposalOrRef{Ref: p.Ref})
		} else {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: p.Proposal})
		}
	}
	return c, list
}

func listRank(p ResolvedProposal) int {
	if p.Proposal.Type == ProposalGroupContextExtensions {
		return 0
	}
	return 1
}

// choosePending keeps every pending proposal that may stand beside the others and those by value, which win: the first of a
// kind, but removals before updates, and of a leaf's updates the latest (RFC 9420 §12.2).
func (g *Group) choosePending(sender Sender, o *CommitOptions) []ResolvedProposal {
	if o.NoPending || len(g.proposals) == 0 {
		return nil
	}
	r := newListRules(sender, g.cfg)
	values := o.byValue(sender)
	for i := range values {
		_ = r.take(&values[i]) // what is wrong with these, apply will say
	}
	r.dataSeen = false // assembleCommit sorts
	var out []ResolvedProposal
	for _, p := range byRank(g.proposals) {
		rp := ResolvedProposal{Proposal: p.Proposal, Sender: p.Sender, Ref: p.Ref}
		switch {
		case p.Proposal.Type == ProposalReInit && len(g.proposals)+len(values) > 1: // a ReInit must be alone; it waits
		case p.Proposal.Type == ProposalGroupContextExtensions && r.counts[ProposalGroupContextExtensions] > 0:
		case r.take(&rp) == nil:
			out = append(out, rp)
		}
	}
	return out
}

// byRank sorts pending proposals by who wins where only one can.
func byRank(pending []*PendingProposal) []*PendingProposal {
	rank := func(p *PendingProposal) int {
		switch p.Proposal.Type {
		case ProposalGroupContextExtensions:
			return 0
		case ProposalSelfRemove:
			return 1
		case ProposalRemove:
			return 2
		case ProposalUpdate:
			return 3
		default:
			return 4
		}
	}
	out := slices.Clone(pending)
	slices.SortStableFunc(out, func(a, b *PendingProposal) int { return rank(a) - rank(b) })
	isUpdate := func(p *PendingProposal) bool { return p.Proposal.Type == ProposalUpdate }
	if first := slices.IndexFunc(out, isUpdate); first >= 0 {
		end := first
		for end < len(out) && isUpdate(out[end]) {
			end++
		}
		slices.Reverse(out[first:end])
	}
	return out
}

// fitting keeps the pending proposals that make a valid commit together, looking for those that do not by halves.
func (g *Group) fitting(sender Sender, pending []ResolvedProposal) []ResolvedProposal {
	return g.fit(sender, nil, pending)
}

func (g *Group) fit(sender Sender, fit, pending []ResolvedProposal) []ResolvedProposal {
	if len(pending) == 0 {
		return fit
	}
	if list := slices.Concat(fit, pending); g.try(sender, list) == nil {
		return list
	}
	if len(pending) == 1 {
		return fit
	}
	half := len(pending) / 2
	return g.fit(sender, g.fit(sender, fit, pending[:half]), pending[half:])
}

// try works out whether a list of proposals can be committed; it changes nothing.
func (g *Group) try(sender Sender, list []ResolvedProposal) error {
	d, err := g.apply(list, sender)
	if err != nil {
		return err
	}
	if err := g.localChanges(d.next, nil); err != nil {
		return err
	}
	if _, err := g.pskInputs(list); err != nil {
		return err
	}
	return g.account(d, d.edit.tree)
}

// committing is a commit in the making, by a member or by an external joiner.
type committing struct {
	group      *Group
	draft      *draft
	options    *CommitOptions
	commit     *Commit
	sender     Sender
	signature  *SignatureKey
	initSecret []byte
	step       *Step

	pathSecrets [][]byte // of the filtered direct path, bottom up
	nextKey     *SignatureKey
	leafPrivate []byte
}

// run builds path, commit, key schedule, Welcome and GroupInfo (RFC 9420 §12.4.1).
func (b *committing) run() error {
	g, d := b.group, b.draft
	if err := g.localChanges(d.next, b.options.Own); err != nil {
		return err
	}
	b.nextKey = b.signature
	withPath := pathRequired(d.proposals) || d.external || !b.options.OmitPath
	commitSecret := make([]byte, g.suite.nh)
	var err error
	if withPath {
		if commitSecret, err = b.makePath(); err != nil {
			return err
		}
	}
	t, err := g.finish(d)
	if err != nil {
		return err
	}
	if withPath {
		if err := b.encryptPath(t); err != nil {
			return err
		}
		b.commit.Path = d.path
	}
	return b.conclude(t, commitSecret)
}

// conclude signs the commit, runs the key schedule and frames what has to be sent.
func (b *committing) conclude(t tree, commitSecret []byte) error {
	g, d := b.group, b.draft
	a, err := b.sign()
	if err != nil {
		return err
	}
	d.context.ConfirmedTranscriptHash = g.suite.confirmedTranscriptHash(g.state.interim, a)
	psks, err := g.pskInputs(d.proposals)
	if err != nil {
		return err
	}
	pskSecret := g.suite.pskSecret(psks)
	if err := g.seal(d, t); err != nil {
		return err
	}
	secrets := g.suite.keySchedule(b.initSecret, commitSecret, pskSecret, d.state.contextBytes)
	d.private.secrets = secrets
	a.Auth.ConfirmationTag = g.suite.mac(secrets.confirm, d.context.ConfirmedTranscriptHash)
	d.state.confirm(g.suite, a.Auth.ConfirmationTag)
	if err := b.frame(a); err != nil {
		return err
	}
	return b.announce(psks)
}

// makePath generates the committer's new leaf and path keys and puts them into the tree (RFC 9420 §7.4, §7.5).
func (b *committing) makePath() (commitSecret []byte, err error) {
	g, d := b.group, b.draft
	leaf, err := b.newLeaf()
	if err != nil {
		return nil, err
	}
	if d.external {
		if d.committer, err = d.edit.add(leaf); err != nil {
			return nil, err
		}
		if err := g.checkResync(d, leaf); err != nil {
			return nil, err
		}
	} else {
		d.edit.setLeaf(d.committer, leaf)
	}
	d.private.changed[d.committer] = &localLeaf{signature: b.nextKey}
	d.private.keys[d.committer.node()] = b.leafPrivate
	d.steps = d.edit.filteredPath(d.committer)
	d.path = &UpdatePath{Nodes: make([]UpdatePathNode, len(d.steps))}
	secret, err := randomBytes(g.cfg.random(), g.suite.nh)
	if err != nil {
		return nil, err
	}
	keys := make([][]byte, len(d.steps))
	for k, step := range d.steps {
		b.pathSecrets = append(b.pathSecrets, secret)
		nodeSecret := g.suite.derive(secret, "node")
		private, public, err := g.suite.hpke.KeyPair(nodeSecret)
		clear(nodeSecret)
		if err != nil {
			return nil, err
		}
		keys[k] = public
		d.path.Nodes[k].EncryptionKey = public
		d.private.keys[step.index] = private
		secret = g.suite.derive(secret, "path")
	}
	leaf.ParentHash = d.edit.mergePath(g.suite, d.committer, d.steps, keys)
	if err := leaf.sign(g.suite, b.nextKey, g.state.context.GroupID, d.committer); err != nil {
		return nil, err
	}
	if err := d.rules.check(leaf, SourceCommit, true); err != nil {
		return nil, fmt.Errorf("own leaf: %w", err)
	}
	d.path.LeafNode = *leaf
	return secret, nil
}

// newLeaf is the committer's next leaf node, without parent hash and signature.
func (b *committing) newLeaf() (*LeafNode, error) {
	g := b.group
	private, public, err := g.suite.hpke.NewKeyPair(g.cfg.random())
	if err != nil {
		return nil, err
	}
	b.leafPrivate = private
	leaf := new(LeafNode)
	if old := g.state.tree.leaf(b.draft.committer); old != nil && !b.draft.external {
		*leaf = *old
	}
	leaf.EncryptionKey, leaf.Source, leaf.Lifetime = public, SourceCommit, Lifetime{}
	if t := b.options.Leaf; t != nil {
		leaf.Credential, leaf.Extensions = t.Credential, t.Extensions
		leaf.Capabilities = g.intern.capabilities(orCapabilities(t.Capabilities, g.suite.id))
		if t.Signature != nil {
			b.nextKey = t.Signature
			leaf.SignatureKey = t.Signature.PublicBytes()
		}
		if old := g.state.tree.leaf(b.draft.committer); old != nil && !b.draft.external {
			return leaf, g.cfg.verifySuccessor(old, leaf)
		}
	}
	return leaf, nil
}

func orCapabilities(c *Capabilities, id CipherSuite) *Capabilities {
	if c != nil {
		return c
	}
	return DefaultCapabilities(id)
}

// encryptPath encrypts each path secret to the resolution of its copath node (RFC 9420 §7.6).
func (b *committing) encryptPath(t tree) error {
	d := b.draft
	var refs []nodeRef
	for k, step := range d.steps {
		refs = d.recipients(refs[:0], t, step)
		cts := make([]HPKECiphertext, len(refs))
		for j, r := range refs {
			ct, err := b.group.suite.hpke.Seal(r.encryptionKey(), d.pathInfo, b.pathSecrets[k])
			if err != nil {
				return err
			}
			cts[j] = ct
		}
		d.path.Nodes[k].EncryptedPathSecret = cts
	}
	return nil
}

// sign frames and signs the commit; the confirmation tag follows later.
func (b *committing) sign() (*AuthenticatedContent, error) {
	g := b.group
	aad, err := b.options.Framing.authenticatedData(g.state.safeAAD)
	if err != nil {
		return nil, err
	}
	wire := WirePublicMessage
	if b.options.Private {
		wire = WirePrivateMessage
	}
	a := &AuthenticatedContent{WireFormat: wire, Content: FramedContent{
		GroupID: g.state.context.GroupID, Epoch: g.state.context.Epoch, Sender: b.sender, AuthenticatedData: aad,
		ContentType: ContentCommit, Commit: b.commit}}
	key := b.signature
	if b.draft.external {
		key = b.nextKey
	}
	return a, a.sign(g.suite, key, g.state.contextBytes)
}

// frame turns the authenticated commit into the message to send.
func (b *committing) frame(a *AuthenticatedContent) (err error) {
	b.step.AuthenticatedData = a.Content.AuthenticatedData
	if b.options.Private {
		b.step.Message, err = b.group.sealPrivate(a, b.options.Framing.Padding, b.step)
		return err
	}
	b.step.Message = b.group.framePublic(a)
	return nil
}

// framePublic makes a PublicMessage, with its membership tag where the sender is a member.
func (g *Group) framePublic(a *AuthenticatedContent) []byte {
	m := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if a.Content.Sender.Type == SenderMember {
		m.MembershipTag = a.membershipTag(g.suite, g.secrets.membership, g.state.contextBytes)
	}
	return Marshal(&Message{WireFormat: WirePublicMessage, Public: m})
}

// announce makes the Welcome and the GroupInfo of the new epoch (RFC 9420 §12.4.3).
func (b *committing) announce(psks []pskInput) error {
	g, d := b.group, b.draft
	recipients := d.added
	if b.options.OmitOwnWelcome {
		recipients = slices.DeleteFunc(slices.Clone(d.added), func(a AddedLeaf) bool { return d.private.changed[a.Index] != nil })
	}
	secrets := d.private.secrets
	defer func() {
		clear(secrets.joiner)
		clear(secrets.welcome)
		secrets.joiner, secrets.welcome = nil, nil
	}()
	if b.options.WantGroupInfo {
		info, err := g.suite.groupInfo(d.state, secrets, d.committer, b.nextKey, b.options.GroupInfoTree)
		if err != nil {
			return err
		}
		b.step.GroupInfo = info
	}
	if len(recipients) == 0 {
		return nil
	}
	info := b.step.GroupInfo
	if info == nil || b.options.GroupInfoTree != b.options.WelcomeTree {
		var err error
		if info, err = g.suite.groupInfo(d.state, secrets, d.committer, b.nextKey, b.options.WelcomeTree); err != nil {
			return err
		}
	}
	ids := make([]PreSharedKeyID, len(psks))
	for i := range psks {
		ids[i] = psks[i].id
	}
	w, err := g.suite.newWelcome(info, secrets, recipients, ids, b.pathSecretFor)
	b.step.Welcome = w
	return err
}

// pathSecretFor returns the path secret of the common ancestor of committer and new leaf, nil without a path.
func (b *committing) pathSecretFor(i LeafIndex) []byte {
	ancestor := commonAncestor(i, b.draft.committer)
	for k, step := range b.draft.steps {
		if step.index == ancestor {
			return b.pathSecrets[k]
		}
	}
	return nil
}

// newWelcome encrypts GroupInfo and group secrets for new members (RFC 9420 §12.4.3.1).
func (s *suite) newWelcome(info *GroupInfo, secrets *epochSecrets, added []AddedLeaf, psks []PreSharedKeyID, pathSecret func(LeafIndex) []byte) (*Welcome, error) {
	key, nonce := s.welcomeKey(secrets.welcome)
	aead, err := s.newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("mls: welcome key: %w", err)
	}
	w := &Welcome{CipherSuite: s.id, EncryptedGroupInfo: aead.Seal(nil, nonce, Marshal(info), nil)}
	sealInfo := labelledContext("Welcome", w.EncryptedGroupInfo)
	for _, a := range added {
		plain := Marshal(&groupSecrets{joinerSecret: secrets.joiner, pathSecret: pathSecret(a.Index), psks: psks})
		ct, err := s.hpke.Seal(a.KeyPackage.InitKey, sealInfo, plain)
		clear(plain)
		if err != nil {
			return nil, err
		}
		w.Secrets = append(w.Secrets, EncryptedGroupSecrets{NewMember: a.KeyPackage.ref(s), EncryptedGroupSecrets: ct})
	}
	return w, nil
}

// groupInfo makes and signs a GroupInfo with external_pub (RFC 9420 §12.4.3).
func (s *suite) groupInfo(st *epochState, secrets *epochSecrets, signer LeafIndex, key *SignatureKey, withTree bool) (*GroupInfo, error) {
	_, public, err := s.hpke.KeyPair(secrets.external)
	if err != nil {
		return nil, err
	}
	var e Encoder
	e.Opaque(public)
	info := &GroupInfo{Context: st.context, ConfirmationTag: st.confirmation, Signer: signer,
		Extensions: Extensions{{Type: ExtExternalPub, Data: e.Bytes()}}}
	if withTree {
		info.Extensions = append(info.Extensions, Extension{Type: ExtRatchetTree, Data: st.tree.marshal()})
	}
	return info, info.sign(s, key)
}

// GroupInfo makes a GroupInfo of the current epoch with external_pub, signed by a local leaf (RFC 9420 §12.4.3).
func (g *Group) GroupInfo(signer LeafIndex, withTree bool) (*GroupInfo, error) {
	l, err := g.local(signer)
	if err != nil {
		return nil, err
	}
	return g.suite.groupInfo(g.state, g.secrets, signer, l.signature, withTree)
}
