package mls

import "fmt"

// Propose makes a proposal of a local leaf (RFC 9420 §12.1). It is kept for the next commit like one received; the
// step is staged. Updates are made by [Group.ProposeUpdate].
func (g *Group) Propose(leaf LeafIndex, p Proposal, f Framing, private bool) (*Step, error) {
	if p.Type == ProposalUpdate {
		return nil, badProposal("RFC 9420 §12.1.2", "updates are made by ProposeUpdate")
	}
	if p.Type == ProposalSelfRemove && private {
		return nil, badProposal("mls-extensions-10 §6.3", "SelfRemove must be a PublicMessage")
	}
	return g.propose(leaf, &p, f, private)
}

// ProposeUpdate proposes new keys for a local leaf (RFC 9420 §12.1.2). t replaces credential, signature key,
// capabilities and extensions; nil keeps them. The new private key is part of the delta.
func (g *Group) ProposeUpdate(leaf LeafIndex, t *LeafTemplate, f Framing, private bool) (*Step, error) {
	l, err := g.local(leaf)
	if err != nil {
		return nil, err
	}
	key, public, err := g.suite.hpke.NewKeyPair(g.cfg.random())
	if err != nil {
		return nil, err
	}
	node := *g.state.tree.leaf(leaf)
	node.EncryptionKey, node.Source, node.Lifetime, node.ParentHash = public, SourceUpdate, Lifetime{}, nil
	signature := l.signature
	if t != nil {
		node.Credential, node.Extensions, node.Capabilities = t.Credential, t.Extensions, orCapabilities(t.Capabilities, g.suite.id)
		if t.Signature != nil {
			signature = t.Signature
			node.SignatureKey = signature.PublicBytes()
		}
	}
	if err := node.sign(g.suite, signature, g.GroupID(), leaf); err != nil {
		return nil, err
	}
	step, err := g.propose(leaf, &Proposal{Type: ProposalUpdate, Update: &node}, f, private)
	if err != nil {
		return nil, err
	}
	ref := step.Proposal.Ref
	g.updates[ref] = newLeafKey{leaf: leaf, private: key, signature: signature}
	step.put(updateKey(ref), encodeUpdate(g.updates[ref]))
	step.undo = append(step.undo, func() { delete(g.updates, ref) })
	return step, nil
}

func (g *Group) propose(leaf LeafIndex, p *Proposal, f Framing, private bool) (*Step, error) {
	l, err := g.local(leaf)
	if err != nil {
		return nil, err
	}
	if g.state.reinit != nil {
		return nil, ErrReInit
	}
	aad, err := f.authenticatedData(g.state.safeAAD)
	if err != nil {
		return nil, err
	}
	wire := WirePublicMessage
	if private {
		wire = WirePrivateMessage
	}
	a := &AuthenticatedContent{WireFormat: wire, Content: FramedContent{
		GroupID: g.GroupID(), Epoch: g.Epoch(), Sender: Sender{Type: SenderMember, Index: uint32(leaf)},
		AuthenticatedData: aad, ContentType: ContentProposal, Proposal: p}}
	if err := a.sign(g.suite, l.signature, g.state.contextBytes); err != nil {
		return nil, err
	}
	step, err := g.stageProposal(a)
	if err != nil {
		return nil, err
	}
	if !private {
		step.Message = g.framePublic(a)
		return step, nil
	}
	if step.Message, err = g.sealPrivate(a, f.Padding, step); err != nil {
		if undo := g.Discard(step); undo != nil {
			return nil, undo
		}
		return nil, err
	}
	return step, nil
}

// ExternalProposal makes a proposal by the external sender at index of external_senders (RFC 9420 §12.1.8), for
// instance the hub. It must be given to Process here too.
func (g *PublicGroup) ExternalProposal(index uint32, key *SignatureKey, p Proposal, f Framing) (*Message, error) {
	aad, err := f.authenticatedData(g.state.safeAAD)
	if err != nil {
		return nil, err
	}
	a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
		GroupID: g.GroupID(), Epoch: g.Epoch(), Sender: Sender{Type: SenderExternal, Index: index},
		AuthenticatedData: aad, ContentType: ContentProposal, Proposal: &p}}
	r := ResolvedProposal{Proposal: &p, Sender: a.Content.Sender}
	if err := g.checkProposal(&r, g.rules(), true); err != nil {
		return nil, err
	}
	if err := a.sign(g.suite, key, g.state.contextBytes); err != nil {
		return nil, err
	}
	return publicMessage(a), nil
}

// NewMemberProposal makes the proposal of a client outside the group to be added to it (RFC 9420 §12.1.8). context
// is the group's current GroupContext, from a GroupInfo.
func NewMemberProposal(cfg *Config, context *GroupContext, joiner *JoinSecrets, f Framing) (*Message, error) {
	s, err := cfg.suites().get(context.CipherSuite)
	if err != nil {
		return nil, err
	}
	st := epochState{context: *context}
	if err := st.readExtensions(); err != nil {
		return nil, err
	}
	aad, err := f.authenticatedData(st.safeAAD)
	if err != nil {
		return nil, err
	}
	a := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
		GroupID: context.GroupID, Epoch: context.Epoch, Sender: Sender{Type: SenderNewMemberProposal}, AuthenticatedData: aad,
		ContentType: ContentProposal, Proposal: &Proposal{Type: ProposalAdd, Add: &joiner.KeyPackage}}}
	if err := a.sign(s, joiner.Signature, nil); err != nil {
		return nil, fmt.Errorf("mls: new member proposal: %w", err)
	}
	return publicMessage(a), nil
}

func publicMessage(a *AuthenticatedContent) *Message {
	return &Message{WireFormat: WirePublicMessage, Public: &PublicMessage{Content: a.Content, Auth: a.Auth}}
}
