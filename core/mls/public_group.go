package mls

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// epochState is the public side of one epoch. It never changes once it is current.
type epochState struct {
	context      GroupContext
	contextBytes []byte // serialised context: every signature covers it
	tree         tree
	confirmation []byte // confirmation_tag
	interim      []byte // interim_transcript_hash
	required     *RequiredCapabilities
	senders      ExternalSenders
	safeAAD      bool
	usage        usage
	reinit       *ReInit // set when this epoch was begun by a ReInit commit
}

// usage counts leaves by what the others have to know of them.
type usage struct {
	credentials map[CredentialType]int // how many use each type
	lacking     map[ProposalType]int   // how many do not support a type that is no default
}

func newUsage() usage {
	return usage{credentials: make(map[CredentialType]int), lacking: make(map[ProposalType]int)}
}

func (u usage) clone() usage {
	return usage{credentials: maps.Clone(u.credentials), lacking: maps.Clone(u.lacking)}
}

// count adds a leaf by times.
func (u usage) count(l *LeafNode, by int) {
	u.credentials[l.Credential.Type] += by
	for t := ProposalAppDataUpdate; t <= ProposalSelfRemove; t++ {
		if !l.Capabilities.supportsProposal(t) {
			u.lacking[t] += by
		}
	}
}

// newEpochState copies the context, so that it aliases no message, and reads out of it what is cached.
func newEpochState(ctx *GroupContext, t tree) (*epochState, error) {
	st := &epochState{contextBytes: ctx.encode(), tree: t}
	st.context.UnmarshalMLS(NewDecoder(st.contextBytes)) // what was encoded decodes again
	return st, st.readExtensions()
}

// senderLeaf is the leaf node of a sender that is a member, else nil.
func (st *epochState) senderLeaf(s Sender) *LeafNode {
	if s.Type != SenderMember {
		return nil
	}
	return st.tree.leaf(s.Leaf())
}

// confirm sets the confirmation tag and with it the interim transcript hash (RFC 9420 §8.2).
func (st *epochState) confirm(s *suite, tag []byte) {
	st.confirmation = tag
	st.interim = s.interimTranscriptHash(st.context.ConfirmedTranscriptHash, tag)
}

func (st *epochState) readExtensions() (err error) {
	if st.required, err = st.context.required(); err != nil {
		return fmt.Errorf("required_capabilities: %w", err)
	}
	if st.senders, err = st.context.externalSenders(); err != nil {
		return fmt.Errorf("external_senders: %w", err)
	}
	dict, err := st.context.Dictionary()
	if err != nil {
		return err
	}
	for _, id := range []ComponentID{ComponentAppComponents, ComponentSafeAAD} {
		if _, err := dict.components(id); err != nil {
			return fmt.Errorf("component %#04x: %w", id, err)
		}
	}
	_, st.safeAAD = dict.Get(ComponentSafeAAD)
	return nil
}

// ResolvedProposal is a proposal of a commit with its sender; Ref is empty for one sent by value.
type ResolvedProposal struct {
	Proposal *Proposal
	Sender   Sender
	Ref      ProposalRef
}

// PendingProposal is a proposal received and validated, waiting for a commit.
type PendingProposal struct {
	Ref               ProposalRef
	Proposal          *Proposal
	Sender            Sender
	AuthenticatedData []byte
	content           []byte // the AuthenticatedContent, for storage
}

type keyID [16]byte

// PublicGroup follows a group from its handshake messages without any secret: what a hub needs. It
// verifies everything but membership and confirmation tags. Its methods must not be called concurrently.
type PublicGroup struct {
	cfg       *Config
	suite     *suite
	state     *epochState
	proposals []*PendingProposal // of the current epoch, in order of arrival
	keys      map[keyID]struct{} // every signature and encryption key in the tree (RFC 9420 §7.3 uniqueness)
	intern    interner
	steps     []*Step // staged, not settled yet
}

// NewPublicGroup starts following a group at the epoch of a GroupInfo. ratchetTree is the encoded
// ratchet_tree vector, or nil if the GroupInfo carries it. Everything is verified but the confirmation tag.
func NewPublicGroup(cfg *Config, info *GroupInfo, ratchetTree []byte) (*PublicGroup, error) {
	g, err := newPublicGroup(cfg, info.Context.CipherSuite)
	if err != nil {
		return nil, err
	}
	if err := g.load(info, ratchetTree); err != nil {
		return nil, err
	}
	return g, nil
}

func newPublicGroup(cfg *Config, id CipherSuite) (*PublicGroup, error) {
	if cfg == nil {
		cfg = new(Config)
	}
	s, err := cfg.suites().get(id)
	if err != nil {
		return nil, err
	}
	return &PublicGroup{cfg: cfg, suite: s, keys: make(map[keyID]struct{})}, nil
}

// load verifies a GroupInfo with its tree and makes it the current epoch (RFC 9420 §12.4.3.1).
func (g *PublicGroup) load(info *GroupInfo, ratchetTree []byte) error {
	if info.Context.Version != MLS10 || info.Context.CipherSuite != g.suite.id {
		return fmt.Errorf("%w: version or cipher suite (RFC 9420 §12.4.3.1)", ErrGroupInfo)
	}
	if err := errors.Join(info.Extensions.check(inGroupInfo), info.Context.Extensions.check(inGroupContext)); err != nil {
		return fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	if carried, ok := info.Extensions.Get(ExtRatchetTree); ok {
		ratchetTree = carried
	}
	if ratchetTree == nil {
		return fmt.Errorf("%w: no ratchet tree (RFC 9420 §12.4.3.1)", ErrGroupInfo)
	}
	t, err := parseTree(g.suite, ratchetTree, &g.intern)
	if err != nil {
		return err
	}
	signer := t.leaf(info.Signer)
	if signer == nil {
		return fmt.Errorf("%w: signer %d is a blank leaf (RFC 9420 §12.4.3.1)", ErrGroupInfo, info.Signer)
	}
	if err := info.verify(g.suite, signer.SignatureKey); err != nil {
		return err
	}
	if !bytes.Equal(t.root.hash, info.Context.TreeHash) {
		return fmt.Errorf("%w: tree hash differs (RFC 9420 §12.4.3.1)", ErrTree)
	}
	st, err := newEpochState(&info.Context, t)
	if err != nil {
		return err
	}
	st.confirm(g.suite, bytes.Clone(info.ConfirmationTag))
	if err := g.checkTree(st); err != nil {
		return err
	}
	g.state = st
	return nil
}

// checkTree validates a whole tree received from outside (RFC 9420 §12.4.3.1, §7.3, §7.9) and fills keys.
func (g *PublicGroup) checkTree(st *epochState) error {
	rules := &leafRules{suite: g.suite, config: g.cfg, context: &st.context, required: st.required}
	st.usage = newUsage()
	if err := st.tree.checkParentHashes(g.suite); err != nil {
		return err
	}
	if err := g.checkSenders(st.senders); err != nil {
		return fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	err := st.tree.each(func(i LeafIndex, l *LeafNode) error {
		if err := rules.check(l, 0, false); err != nil {
			return fmt.Errorf("leaf %d: %w", i, err)
		}
		if err := l.verifySignature(g.suite, st.context.GroupID, i); err != nil {
			return fmt.Errorf("leaf %d: %w", i, err)
		}
		st.usage.count(l, 1)
		return nil
	})
	if err != nil {
		return err
	}
	if err := checkCredentialSupport(st.tree, st.usage.credentials); err != nil {
		return err
	}
	return g.indexKeys(st.tree)
}

// checkSenders validates the keys and credentials of external senders (RFC 9420 §5.3.1).
func (g *PublicGroup) checkSenders(senders ExternalSenders) error {
	for i := range senders {
		s := &senders[i]
		if err := g.suite.sig.CheckPublic(s.SignatureKey); err != nil {
			return fmt.Errorf("external sender %d: %w", i, err)
		}
		if err := g.cfg.verifyExternalSender(&s.Credential, s.SignatureKey); err != nil {
			return fmt.Errorf("external sender %d: %w", i, err)
		}
	}
	return nil
}

// indexKeys fills keys from a tree and reports a key that occurs twice (RFC 9420 §7.3).
func (g *PublicGroup) indexKeys(t tree) (err error) {
	put := func(id keyID) {
		if _, taken := g.keys[id]; taken {
			err = fmt.Errorf("%w: a key occurs twice (RFC 9420 §7.3)", ErrTree)
		}
		g.keys[id] = struct{}{}
	}
	tree{}.diff(t, func(_ nodeIndex, _, n *node) {
		if n == nil || n.blank() {
			return
		}
		put(encryptionKeyID(n.encryptionKey()))
		if n.leaf != nil {
			put(signatureKeyID(n.leaf.SignatureKey))
		}
	})
	return err
}

func encryptionKeyID(key []byte) keyID { return hashKey('e', key) }

func signatureKeyID(key []byte) keyID { return hashKey('s', key) }

func hashKey(kind byte, key []byte) keyID {
	var scratch [1400]byte
	sum := sha256.Sum256(append(append(scratch[:0], kind), key...))
	return keyID(sum[:16])
}

// checkCredentialSupport verifies that every member supports every credential type in use (RFC 9420 §7.3).
func checkCredentialSupport(t tree, used map[CredentialType]int) error {
	return t.each(func(i LeafIndex, l *LeafNode) error {
		for c := range used {
			if !slices.Contains(l.Capabilities.Credentials, c) {
				return fmt.Errorf("%w: leaf %d does not support credential type %d, which is in use (RFC 9420 §7.3)", ErrLeafNode, i, c)
			}
		}
		return nil
	})
}

// GroupID returns the group's identifier.
func (g *PublicGroup) GroupID() []byte { return g.state.context.GroupID }

// Epoch returns the current epoch.
func (g *PublicGroup) Epoch() uint64 { return g.state.context.Epoch }

// CipherSuite returns the group's cipher suite.
func (g *PublicGroup) CipherSuite() CipherSuite { return g.suite.id }

// Context returns the current GroupContext; it must not be changed.
func (g *PublicGroup) Context() *GroupContext { return &g.state.context }

// Members iterates over the leaves that are not blank, in order. Leaf nodes must not be changed.
func (g *PublicGroup) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		_ = g.state.tree.each(func(i LeafIndex, l *LeafNode) error {
			if !yield(i, l) {
				return errStop
			}
			return nil
		})
	}
}

var errStop = fmt.Errorf("mls: stop")

// MemberCount returns the number of leaves that are not blank.
func (g *PublicGroup) MemberCount() int { return g.state.tree.members() }

// Leaf returns the leaf node at index i, nil if blank. It must not be changed.
func (g *PublicGroup) Leaf(i LeafIndex) *LeafNode { return g.state.tree.leaf(i) }

// RatchetTree returns the current tree as an encoded ratchet_tree vector (RFC 9420 §12.4.3.3).
func (g *PublicGroup) RatchetTree() []byte { return g.state.tree.marshal() }

// Proposals returns the proposals waiting for a commit, in order of arrival.
func (g *PublicGroup) Proposals() []*PendingProposal { return slices.Clone(g.proposals) }

// ReInit returns the ReInit proposal that closed the group, or nil (RFC 9420 §11.2).
func (g *PublicGroup) ReInit() *ReInit { return g.state.reinit }

func (g *PublicGroup) pendingProposal(ref ProposalRef) *PendingProposal {
	for _, p := range g.proposals {
		if p.Ref == ref {
			return p
		}
	}
	return nil
}

// checkFrame verifies group and epoch of a handshake message (RFC 9420 §6, §12.4.2).
func (g *PublicGroup) checkFrame(c *FramedContent) error {
	if !bytes.Equal(c.GroupID, g.state.context.GroupID) {
		return ErrWrongGroup
	}
	if c.Epoch != g.state.context.Epoch {
		return fmt.Errorf("%w: handshake of epoch %d, group is at %d (RFC 9420 §12.4.2)", ErrWrongEpoch, c.Epoch, g.state.context.Epoch)
	}
	if g.state.reinit != nil {
		return ErrReInit
	}
	return g.cfg.checkAAD(g.state.safeAAD, c.AuthenticatedData)
}

// senderKey returns the signature key that must have signed a handshake message (RFC 9420 §6.1).
func (g *PublicGroup) senderKey(c *FramedContent) ([]byte, error) {
	switch c.Sender.Type {
	case SenderMember:
		if l := g.state.tree.leaf(c.Sender.Leaf()); l != nil {
			return l.SignatureKey, nil
		}
		return nil, fmt.Errorf("%w: sender leaf %d is blank (RFC 9420 §6.1)", ErrNotMember, c.Sender.Index)
	case SenderExternal:
		if uint64(c.Sender.Index) < uint64(len(g.state.senders)) {
			return g.state.senders[c.Sender.Index].SignatureKey, nil
		}
		return nil, fmt.Errorf("%w: external sender %d is not listed (RFC 9420 §12.1.8.1)", ErrProposal, c.Sender.Index)
	case SenderNewMemberProposal:
		if c.Proposal != nil && c.Proposal.Type == ProposalAdd {
			return c.Proposal.Add.LeafNode.SignatureKey, nil
		}
		return nil, fmt.Errorf("%w: a new member may propose only its own Add (RFC 9420 §12.1.8)", ErrProposal)
	default:
		if c.Commit != nil && c.Commit.Path != nil {
			return c.Commit.Path.LeafNode.SignatureKey, nil
		}
		return nil, fmt.Errorf("%w: external commit without path (RFC 9420 §12.4.3.2)", ErrCommit)
	}
}

// authenticate verifies frame, sender and signature of a handshake message.
func (g *PublicGroup) authenticate(a *AuthenticatedContent) error {
	if err := g.checkFrame(&a.Content); err != nil {
		return err
	}
	switch a.Content.ContentType {
	case ContentCommit:
		if t := a.Content.Sender.Type; t != SenderMember && t != SenderNewMemberCommit {
			return fmt.Errorf("%w: sender type %d (RFC 9420 §6)", ErrCommit, t)
		}
	case ContentProposal:
		if a.Content.Sender.Type == SenderNewMemberCommit {
			return fmt.Errorf("%w: sender type new_member_commit (RFC 9420 §6)", ErrProposal)
		}
	default:
		return fmt.Errorf("%w: application data outside a PrivateMessage (RFC 9420 §6)", ErrSyntax)
	}
	if a.WireFormat != WirePublicMessage && a.Content.Sender.Type != SenderMember {
		return fmt.Errorf("%w: only a PublicMessage can come from outside the group (RFC 9420 §6)", ErrCommit)
	}
	key, err := g.senderKey(&a.Content)
	if err != nil {
		return err
	}
	return a.verify(g.suite, key, g.state.contextBytes)
}

// receiveProposal validates a proposal sent on its own.
func (g *PublicGroup) receiveProposal(a *AuthenticatedContent) (*PendingProposal, error) {
	p := &PendingProposal{Ref: a.proposalRef(g.suite), Sender: a.Content.Sender, Proposal: a.Content.Proposal,
		AuthenticatedData: a.Content.AuthenticatedData, content: Marshal(a)}
	if a.WireFormat != WirePublicMessage && p.Proposal.Type == ProposalSelfRemove {
		return nil, fmt.Errorf("%w: SelfRemove must be a PublicMessage (mls-extensions-10 §6.3)", ErrProposal)
	}
	r := ResolvedProposal{Proposal: p.Proposal, Sender: p.Sender, Ref: p.Ref}
	return p, g.checkProposal(&r, g.rules(), true)
}

func (g *PublicGroup) rules() *leafRules {
	return &leafRules{suite: g.suite, config: g.cfg, context: &g.state.context, required: g.state.required}
}

// Process validates a PublicMessage. A proposal is kept for the commit that refers to it and staged; a commit's
// step changes nothing until it is given to Merge.
func (g *PublicGroup) Process(m *Message) (*Step, error) {
	if m.WireFormat != WirePublicMessage {
		return nil, fmt.Errorf("%w: not a PublicMessage", ErrSyntax)
	}
	a := m.Public.authenticated()
	if err := g.authenticate(a); err != nil {
		return nil, err
	}
	if a.Content.ContentType == ContentProposal {
		return g.stageProposal(a)
	}
	next, err := g.stageCommit(a)
	if err != nil {
		return nil, err
	}
	return next.step(g, a), nil
}

// maxProposals bounds the proposals that wait for a commit.
const maxProposals = 1024

// stageProposal validates and keeps a proposal.
func (g *PublicGroup) stageProposal(a *AuthenticatedContent) (*Step, error) {
	p, err := g.receiveProposal(a)
	if err != nil {
		return nil, err
	}
	step := &Step{Epoch: g.Epoch(), Sender: p.Sender, Leaf: g.state.senderLeaf(p.Sender), AuthenticatedData: p.AuthenticatedData, Proposal: p}
	if g.pendingProposal(p.Ref) != nil {
		return g.stage(step), nil // known already: nothing to keep
	}
	old := g.proposals
	if len(old) == maxProposals {
		return nil, fmt.Errorf("%w: %d are pending already", ErrProposal, len(old))
	}
	g.proposals = append(slices.Clip(old), p)
	step.put(proposalKey(p.Ref, len(old)), p.content)
	step.undo = append(step.undo, func() { g.proposals = old })
	return g.stage(step), nil
}

// Merge makes a commit's next epoch current. The result is a step of its own: its delta must be stored,
// and discarding it returns to the epoch before.
func (g *PublicGroup) Merge(commit *Step) (*Step, error) {
	n := commit.next
	if n == nil || n.base != g.state {
		return nil, fmt.Errorf("%w: commit of epoch %d, group is at %d", ErrStep, commit.Epoch, g.Epoch())
	}
	step := &Step{Epoch: n.state.context.Epoch, Sender: commit.Sender, Commit: commit.Commit}
	step.deletePrefix(epochPrefix(g.Epoch()))
	g.merge(n, step)
	return g.stage(step), nil
}

// merge switches to the next epoch and records how to store and how to undo it.
func (g *PublicGroup) merge(n *next, step *Step) {
	oldState, oldProposals := g.state, g.proposals
	for _, id := range n.keysRemoved {
		delete(g.keys, id)
	}
	for _, id := range n.keysAdded {
		g.keys[id] = struct{}{}
	}
	for i, p := range g.proposals {
		step.delete(proposalKey(p.Ref, i))
	}
	g.state, g.proposals = n.state, nil
	step.put(keyEpoch, encodeState(n.state))
	step.put(contextKey(n.state.context.Epoch), n.state.contextBytes)
	oldState.tree.diff(n.state.tree, func(i nodeIndex, _, next *node) {
		if next == nil || next.blank() {
			step.delete(nodeKey(i))
			return
		}
		var e Encoder
		next.marshal(&e)
		step.put(nodeKey(i), e.Bytes())
	})
	step.undo = append(step.undo, func() {
		for _, id := range n.keysAdded {
			delete(g.keys, id)
		}
		for _, id := range n.keysRemoved {
			g.keys[id] = struct{}{}
		}
		g.state, g.proposals = oldState, oldProposals
	})
}
