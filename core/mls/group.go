package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// Group is the shared state of every local leaf of a group: what [PublicGroup] knows, the epoch's secrets,
// the union of the private node keys of all local leaves, and one set of message ratchets. Its methods must not
// be called concurrently.
type Group struct {
	PublicGroup
	secrets  *epochSecrets
	keys     *messageKeys               // of the current epoch
	past     []*messageKeys             // oldest first
	private  map[nodeIndex][]byte       // HPKE private keys of the current tree
	leaves   map[LeafIndex]*localLeaf   // the leaves that are ours
	updates  map[ProposalRef]newLeafKey // of our Update proposals in this epoch
	pending  *pendingCommit
	exporter secretNodes // of the safe exporter
	previous *Group      // while the first commit of a successor is made: where its resumption PSK is
}

// localLeaf is a leaf of ours: its index is its key in Group.leaves, its ratchets are with all the others.
type localLeaf struct {
	signature *SignatureKey
}

// newLeafKey is the private side of an Update that waits for its commit.
type newLeafKey struct {
	leaf      LeafIndex
	private   []byte
	signature *SignatureKey
}

// pendingCommit is a commit of our own that has not been accepted yet.
type pendingCommit struct {
	hash []byte // of the MLSMessage
	next *next
}

// nextSecrets is a Group's side of the next epoch.
type nextSecrets struct {
	secrets *epochSecrets
	keys    map[nodeIndex][]byte     // private keys that the commit brings
	changed map[LeafIndex]*localLeaf // leaves that become ours or get a new key; nil: no longer ours
	joined  []LeafIndex
	left    []LeafIndex
	used    *ratchetUse // of a commit that came as a PrivateMessage
}

type ratchetUse struct {
	id         ratchetID
	generation uint32
}

// NewGroup creates a group whose only member is a local leaf with the given key package secrets (RFC 9420 §11).
// The whole of [Group.Snapshot] has to be stored.
func NewGroup(cfg *Config, groupID []byte, extensions Extensions, creator *JoinSecrets) (*Group, error) {
	public, err := newPublicGroup(cfg, creator.KeyPackage.CipherSuite)
	if err != nil {
		return nil, err
	}
	g := &Group{PublicGroup: *public}
	edit := tree{}.edit()
	if _, err := edit.add(creator.KeyPackage.LeafNode.compact(&g.intern)); err != nil {
		return nil, err
	}
	if err := extensions.check(inGroupContext); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	t := edit.finish(g.suite)
	ctx := GroupContext{Version: MLS10, CipherSuite: g.suite.id, GroupID: groupID, TreeHash: t.root.hash,
		ConfirmedTranscriptHash: []byte{}, Extensions: extensions}
	epochSecret, err := randomBytes(g.cfg.random(), g.suite.nh)
	if err != nil {
		return nil, err
	}
	secrets := g.suite.epochSecrets(epochSecret, nil, nil)
	st, err := newEpochState(&ctx, t)
	if err != nil {
		return nil, err
	}
	st.confirm(g.suite, g.suite.mac(secrets.confirm, nil))
	if err := g.checkTree(st); err != nil {
		return nil, err
	}
	g.state = st
	g.begin(secrets)
	g.leaves[0] = &localLeaf{signature: creator.Signature}
	g.private[0] = bytes.Clone(creator.LeafKey)
	return g, nil
}

// begin sets the private side of a group at its first epoch here.
func (g *Group) begin(secrets *epochSecrets) {
	g.secrets = secrets
	g.keys = newMessageKeys(g.suite, g.state, secrets)
	g.exporter = newSecretNodes(g.suite, secrets.appExport, 16)
	secrets.encryption, secrets.appExport, secrets.joiner, secrets.welcome = nil, nil, nil, nil
	g.private = make(map[nodeIndex][]byte)
	g.leaves = make(map[LeafIndex]*localLeaf)
	g.updates = make(map[ProposalRef]newLeafKey)
}

// LocalLeaves returns the indices of the leaves that are ours, in order.
func (g *Group) LocalLeaves() []LeafIndex {
	out := make([]LeafIndex, 0, len(g.leaves))
	for i := range g.leaves {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// IsLocal reports whether the leaf is one of ours.
func (g *Group) IsLocal(i LeafIndex) bool { return g.leaves[i] != nil }

func (g *Group) local(i LeafIndex) (*localLeaf, error) {
	if l := g.leaves[i]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%w: leaf %d is not local", ErrNotMember, i)
}

// present says that a local leaf is left; without one there are no secrets.
func (g *Group) present() error {
	if len(g.leaves) > 0 {
		return nil
	}
	return fmt.Errorf("%w: the last local leaf has left", ErrNotMember)
}

// EpochAuthenticator returns the epoch_authenticator (RFC 9420 §8.7), Nh bytes.
func (g *Group) EpochAuthenticator() []byte { return bytes.Clone(g.secrets.authentic) }

// Export derives a secret of length bytes for the application (RFC 9420 §8.5).
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if err := g.present(); err != nil {
		return nil, err
	}
	if length <= 0 || length > 255*g.suite.nh {
		return nil, fmt.Errorf("mls: exported secret of %d bytes", length)
	}
	return g.suite.export(g.secrets.exporter, label, context, length), nil
}

// SafeExport takes the epoch's secret of a component (draft-ietf-mls-extensions-10 §4.4), Nh bytes, in
// Step.Application. It can be taken once an epoch; after that the error wraps [ErrReplay].
func (g *Group) SafeExport(id ComponentID) (*Step, error) {
	if err := g.present(); err != nil {
		return nil, err
	}
	step := &Step{Epoch: g.Epoch()}
	secret := g.exporter.take(LeafIndex(id), exporterKey, step)
	if secret == nil {
		return nil, fmt.Errorf("%w: component %#04x has exported in this epoch", ErrReplay, id)
	}
	step.Application = bytes.Clone(secret)
	return g.stage(step), nil
}

// ResumptionPSK returns the resumption PSK of the current or a kept past epoch (RFC 9420 §8.6). The error wraps [ErrPSK].
func (g *Group) ResumptionPSK(epoch uint64) ([]byte, error) {
	if m := g.keysOf(epoch); m != nil {
		return bytes.Clone(m.resumption), nil
	}
	return nil, fmt.Errorf("%w: no resumption PSK of epoch %d", ErrPSK, epoch)
}

// Protect encrypts application data as a PrivateMessage of a local leaf (RFC 9420 §6.3, §15). The step is staged: the
// leaf's next generation is part of its delta, so store it before the message leaves.
func (g *Group) Protect(leaf LeafIndex, data []byte, f Framing) (*Step, error) {
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
	a := &AuthenticatedContent{WireFormat: WirePrivateMessage, Content: FramedContent{
		GroupID: g.state.context.GroupID, Epoch: g.state.context.Epoch, Sender: Sender{Type: SenderMember, Index: uint32(leaf)},
		AuthenticatedData: aad, ContentType: ContentApplication, Application: data}}
	if err := a.sign(g.suite, l.signature, g.state.contextBytes); err != nil {
		return nil, err
	}
	step := &Step{Epoch: a.Content.Epoch, Sender: a.Content.Sender, AuthenticatedData: aad, Application: data}
	if step.Message, err = g.sealPrivate(a, f.Padding, step); err != nil {
		step.rollback()
		return nil, err
	}
	return g.stage(step), nil
}

// sealPrivate encrypts signed content with a fresh reuse guard.
func (g *Group) sealPrivate(a *AuthenticatedContent, padding int, step *Step) ([]byte, error) {
	var guard [4]byte
	random, err := randomBytes(g.cfg.random(), len(guard))
	if err != nil {
		return nil, err
	}
	copy(guard[:], random)
	if padding < 0 || padding > MaxVector/2 {
		return nil, fmt.Errorf("mls: padding of %d bytes", padding)
	}
	return g.keys.seal(a, padding, guard, step)
}

// Arrival is what may accompany a message given to [Group.Process].
type Arrival struct {
	// Own are key packages of ours: an Add of one makes its leaf local.
	Own []*JoinSecrets
	// Welcome that came with a commit; needed when a remote commit adds leaves of ours below path nodes that
	// none of our older leaves can decrypt.
	Welcome *Welcome
	// Entered is what [ExternalCommit] returned with this very commit: its leaf joins those of ours that are in the group.
	Entered *Group
}

// Process opens or validates a message from the group. Application messages and proposals are staged; the step
// of a commit changes nothing until it is given to Merge. On error the group is exactly as it was.
func (g *Group) Process(m *Message, with Arrival) (*Step, error) {
	if err := g.present(); err != nil {
		return nil, err
	}
	switch m.WireFormat {
	case WirePublicMessage:
		return g.processPublic(m, with)
	case WirePrivateMessage:
		return g.processPrivate(m, with)
	default:
		return nil, fmt.Errorf("%w: wire format %d is not a message to a group", ErrSyntax, m.WireFormat)
	}
}

func (g *Group) processPublic(m *Message, with Arrival) (*Step, error) {
	a := m.Public.authenticated()
	if err := g.checkFrame(&a.Content); err != nil {
		return nil, err
	}
	if step := g.echo(m, a.Content.ContentType); step != nil {
		return step, nil
	}
	if a.Content.Sender.Type == SenderMember {
		tag := a.membershipTag(g.suite, g.secrets.membership, g.state.contextBytes)
		if !equalTags(tag, m.Public.MembershipTag) {
			return nil, fmt.Errorf("%w (RFC 9420 §6.2)", ErrMembershipTag)
		}
	}
	if err := g.authenticate(a); err != nil {
		return nil, err
	}
	return g.processHandshake(a, with)
}

func (g *Group) processHandshake(a *AuthenticatedContent, with Arrival) (*Step, error) {
	if a.Content.ContentType == ContentProposal {
		return g.stageProposal(a)
	}
	n, err := g.processCommit(a, with)
	if err != nil {
		return nil, err
	}
	return n.step(&g.PublicGroup, a), nil
}

// echo recognises the pending commit of our own.
func (g *Group) echo(m *Message, t ContentType) *Step {
	if t != ContentCommit || g.pending == nil || !bytes.Equal(g.suite.sum(Marshal(m)), g.pending.hash) {
		return nil
	}
	return g.Pending()
}

func (g *Group) processPrivate(m *Message, with Arrival) (*Step, error) {
	p := m.Private
	if !bytes.Equal(p.GroupID, g.state.context.GroupID) {
		return nil, ErrWrongGroup
	}
	if step := g.echo(m, p.ContentType); step != nil {
		return step, nil
	}
	keys := g.keysOf(p.Epoch)
	if keys == nil || p.ContentType != ContentApplication && keys != g.keys {
		return nil, fmt.Errorf("%w: message of epoch %d, group is at %d", ErrWrongEpoch, p.Epoch, g.Epoch())
	}
	step := &Step{Epoch: p.Epoch, AuthenticatedData: p.AuthenticatedData}
	a, err := g.open(keys, p, step)
	if err != nil {
		step.rollback()
		return nil, err
	}
	if p.ContentType == ContentApplication {
		step.Application = a.Content.Application
		return g.stage(step), nil
	}
	result, err := g.privateHandshake(a, step, with)
	if err != nil {
		step.rollback()
		return nil, err
	}
	return result, nil
}

// privateHandshake processes a handshake that came encrypted. A proposal's step takes over the consumed key; a
// commit's key is put back and consumed again by Merge.
func (g *Group) privateHandshake(a *AuthenticatedContent, step *Step, with Arrival) (*Step, error) {
	if err := g.authenticate(a); err != nil {
		return nil, err
	}
	result, err := g.processHandshake(a, with)
	if err != nil {
		return nil, err
	}
	if a.Content.ContentType == ContentProposal {
		result.Delta = append(step.Delta, result.Delta...)
		result.undo = append(step.undo, result.undo...)
		result.forget = append(result.forget, step.forget...)
		return result, nil
	}
	step.rollback()
	result.next.private.used = &ratchetUse{ratchetID{a.Content.Sender.Leaf(), true}, step.Generation}
	return result, nil
}

func (g *Group) keysOf(epoch uint64) *messageKeys {
	if g.keys != nil && epoch == g.keys.epoch {
		return g.keys
	}
	for _, m := range g.past {
		if m.epoch == epoch {
			return m
		}
	}
	return nil
}
