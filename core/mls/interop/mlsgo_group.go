package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"
	"github.com/thomas-vilte/mls-go/treesync"
)

type goGroup struct {
	client *goClient
	g      *group.Group
	tag    []byte // see entered; nil once the library knows it
}

func (g *goGroup) State(context.Context) (State, error) {
	gc := g.g.GroupContext()
	s := State{Epoch: gc.Epoch.AsUint64(), Authenticator: g.g.EpochAuthenticator(), TreeHash: gc.TreeHash, Leaf: uint32(g.g.OwnLeafIndex())}
	for i := group.LeafNodeIndex(0); ; i++ {
		leaf := g.g.GetTreeLeaf(i)
		if leaf == nil {
			break
		}
		if leaf.State == treesync.NodeStatePresent {
			s.Members++
		}
	}
	for _, e := range gc.Extensions {
		s.Extensions = append(s.Extensions, Extension{uint16(e.Type), e.Data})
	}
	return s, nil
}

func (g *goGroup) Export(_ context.Context, label string, context []byte, length int) ([]byte, error) {
	out, err := g.g.Export(label, context, length)
	if err != nil {
		return nil, fmt.Errorf("mls-go: export: %w", err)
	}
	return out, nil
}

func (g *goGroup) GroupInfo(_ context.Context, embedTree bool) (GroupInfo, error) {
	info, err := g.g.GetGroupInfoWithOptions(g.client.key, group.WithRatchetTree(embedTree), group.WithExternalPub(true))
	if err != nil {
		return GroupInfo{}, fmt.Errorf("mls-go: group info: %w", err)
	}
	if g.tag != nil {
		info.ConfirmationTag = g.tag
		signature, err := ciphersuite.SignWithLabel(g.client.key, "GroupInfoTBS", info.MarshalTBS())
		if err != nil {
			return GroupInfo{}, fmt.Errorf("mls-go: group info: %w", err)
		}
		info.Signature = signature.AsSlice()
	}
	return GroupInfo{Message: wrapMessage(wireGroupInfo, info.Marshal()), Tree: g.g.MarshalRatchetTreeRFC()}, nil
}

// propose makes a library proposal and files it as pending, as from this member and not yet sent.
func (g *goGroup) propose(p Proposal) (*group.Proposal, error) {
	var made *group.Proposal
	switch p.Kind {
	case Add:
		body, err := unwrapMessage(wireKeyPackage, p.KeyPackage)
		if err != nil {
			return nil, err
		}
		kp, err := keypackages.UnmarshalKeyPackage(body)
		if err != nil {
			return nil, fmt.Errorf("mls-go: key package: %w", err)
		}
		return g.g.AddMember(kp)
	case Update:
		return g.g.SelfUpdate(g.client.key)
	case Remove:
		return g.g.RemoveMember(group.LeafNodeIndex(p.Leaf))
	case ExternalPSK:
		made = group.NewPreSharedKeyProposal(1, p.PSK)
		made.PreSharedKey.PskID.Nonce = g.nonce()
	case ResumptionPSK:
		made = group.NewResumptionPSKProposal(g.g.ID().AsSlice(), p.Epoch, g.nonce())
	case GroupExtensions:
		made = group.NewGroupContextExtensionsProposal(goExtensions(p.Extensions))
	default:
		return nil, fmt.Errorf("mls-go: proposal kind %q: %w", p.Kind, ErrCannot)
	}
	g.g.Proposals().AddProposal(made, g.g.OwnLeafIndex())
	return made, nil
}

func (g *goGroup) nonce() []byte {
	nonce := make([]byte, g.client.suite.HashLength())
	rand.Read(nonce)
	return nonce
}

func (g *goGroup) Propose(_ context.Context, p Proposal, f Framing) ([]byte, error) {
	made, err := g.propose(p)
	if err != nil {
		return nil, fmt.Errorf("mls-go: propose %s: %w", p.Kind, err)
	}
	ac := &framing.AuthenticatedContent{
		WireFormat: framing.WireFormatPublicMessage,
		Content: framing.FramedContent{
			GroupID:           g.g.ID().AsSlice(),
			Epoch:             g.g.Epoch().AsUint64(),
			Sender:            framing.Sender{Type: framing.SenderTypeMember, LeafIndex: uint32(g.g.OwnLeafIndex())},
			AuthenticatedData: f.AAD,
			Body:              framing.ProposalBody{Data: group.ProposalMarshal(made)},
		},
		GroupContext: g.g.GroupContext().Marshal(),
	}
	if !f.Private {
		public, err := framing.NewPublicMessage(ac.Content, g.client.key, ac.GroupContext, g.g.EpochSecrets().MembershipKey, g.client.suite)
		if err != nil {
			return nil, fmt.Errorf("mls-go: frame proposal: %w", err)
		}
		ac.Auth = public.Auth
		g.g.RegisterProposalRef(made, group.ComputeProposalRef(ac.Marshal(), g.client.suite))
		return framing.NewMLSMessagePublic(public).Marshal(), nil
	}
	ac.WireFormat = framing.WireFormatPrivateMessage
	if ac.Auth.Signature, err = ciphersuite.SignWithLabel(g.client.key, "FramedContentTBS", ac.MarshalTBS()); err != nil {
		return nil, fmt.Errorf("mls-go: sign proposal: %w", err)
	}
	message, err := g.encrypt(ac, f.Pad)
	if err != nil {
		return nil, err
	}
	g.g.RegisterProposalRef(made, group.ComputeProposalRef(ac.Marshal(), g.client.suite))
	return message, nil
}

// encrypt frames signed content as PrivateMessage in the present epoch.
func (g *goGroup) encrypt(ac *framing.AuthenticatedContent, pad bool) ([]byte, error) {
	padding := 0
	if pad {
		padding = 512 // the library pads to a multiple of this
	}
	private, err := framing.Encrypt(framing.EncryptParams{
		AuthContent: ac, SenderLeafIndex: uint32(g.g.OwnLeafIndex()), CipherSuite: g.client.suite,
		SenderDataSecret: g.g.EpochSecrets().SenderDataSecret, SecretTree: g.g.SecretTree(), PaddingSize: padding,
	})
	if err != nil {
		return nil, fmt.Errorf("mls-go: encrypt: %w", err)
	}
	return framing.NewMLSMessagePrivate(private).Marshal(), nil
}

// dropOwnUpdates forgets this member's own pending Updates, which a committer may not commit (RFC 9420 §12.2).
func (g *goGroup) dropOwnUpdates() {
	for _, stored := range g.g.StoredProposals() {
		if stored.Proposal.Type == group.ProposalTypeUpdate && stored.Sender == g.g.OwnLeafIndex() {
			g.g.RevokeProposal(stored.Ref)
		}
	}
}

func (g *goGroup) Commit(_ context.Context, c Commit) (Committed, error) {
	if len(c.AAD) > 0 {
		return Committed{}, fmt.Errorf("mls-go: commit with AAD: %w", ErrCannot)
	}
	g.dropOwnUpdates()
	for _, p := range c.Proposals {
		if _, err := g.propose(p); err != nil {
			return Committed{}, fmt.Errorf("mls-go: commit %s: %w", p.Kind, err)
		}
	}
	format := framing.WireFormatPublicMessage
	if c.Private {
		format = framing.WireFormatPrivateMessage
	}
	staged, err := g.g.CommitWithFormat(g.client.key, g.client.key.PublicKey(), nil, format)
	if err != nil {
		return Committed{}, fmt.Errorf("mls-go: commit: %w", err)
	}
	ac := staged.AuthenticatedContent()
	var out Committed
	if c.Private {
		if out.Commit, err = g.encrypt(ac, c.Pad); err != nil {
			return Committed{}, err
		}
	} else {
		public := &framing.PublicMessage{Content: ac.Content, Auth: ac.Auth, MembershipTag: staged.MembershipTag()}
		out.Commit = framing.NewMLSMessagePublic(public).Marshal()
	}
	if err := g.g.MergeCommit(staged); err != nil {
		return Committed{}, fmt.Errorf("mls-go: merge own commit: %w", err)
	}
	g.tag = nil
	out.Welcome, err = g.welcome(staged, c.OmitTree)
	return out, err
}

func (g *goGroup) welcome(staged *group.StagedCommit, omitTree bool) ([]byte, error) {
	var added []*keypackages.KeyPackage
	for _, p := range staged.Proposals() {
		if p.Type == group.ProposalTypeAdd {
			added = append(added, p.Add.KeyPackage)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	w, err := g.g.CreateWelcomeWithOpts(added, g.client.key, group.WithJoinerSecret(staged.JoinerSecret()), group.WithPSKIDs(staged.PskIDs()),
		group.WithPSKSecret(staged.RawPskSecret()), group.WithStagedCommit(staged), group.WithGroupInfoOptions(group.WithRatchetTree(!omitTree)))
	if err != nil {
		return nil, fmt.Errorf("mls-go: welcome: %w", err)
	}
	return wrapMessage(wireWelcome, w.Marshal()), nil
}

func (g *goGroup) Protect(_ context.Context, plaintext, aad []byte) ([]byte, error) {
	private, err := g.g.SendMessage(plaintext, g.client.key, group.WithAAD(aad))
	if err != nil {
		return nil, fmt.Errorf("mls-go: protect: %w", err)
	}
	return framing.NewMLSMessagePrivate(private).Marshal(), nil
}

func (g *goGroup) Process(_ context.Context, message []byte) (Received, error) {
	m, err := framing.UnmarshalMLSMessage(message)
	if err != nil {
		return Received{}, fmt.Errorf("mls-go: process: %w", err)
	}
	if private, ok := m.AsPrivate(); ok {
		return g.processPrivate(private)
	}
	public, ok := m.AsPublic()
	if !ok {
		return Received{}, errors.New("mls-go: process: neither PublicMessage nor PrivateMessage")
	}
	out := Received{AAD: public.Content.AuthenticatedData, Sender: NoLeaf}
	if public.Content.Sender.Type == framing.SenderTypeMember {
		out.Sender = int64(public.Content.Sender.LeafIndex)
	}
	if data, ok := public.Content.CommitData(); ok {
		if err := g.g.VerifyPublicMessage(public); err != nil {
			return Received{}, fmt.Errorf("mls-go: process: %w", err)
		}
		if out.Removed, err = g.removesUs(data); err != nil || out.Removed {
			out.Content = CommitMessage
			return out, err
		}
	}
	if err := g.g.ProcessPublicMessage(public); err != nil {
		return Received{}, fmt.Errorf("mls-go: process: %w", err)
	}
	return g.processed(out, public.Content.ContentType()), nil
}

func (g *goGroup) processed(out Received, content framing.ContentType) Received {
	out.Content = ProposalMessage
	if content == framing.ContentTypeCommit {
		out.Content, g.tag = CommitMessage, nil
	}
	return out
}

func (g *goGroup) processPrivate(private *framing.PrivateMessage) (Received, error) {
	if private.ContentType == framing.ContentTypeApplication {
		plaintext, aad, sender, err := g.g.ReceiveApplicationMessage(private)
		if err != nil {
			return Received{}, fmt.Errorf("mls-go: open: %w", err)
		}
		return Received{Content: ApplicationMessage, Plaintext: plaintext, AAD: aad, Sender: int64(sender)}, nil
	}
	if private.ContentType == framing.ContentTypeProposal {
		if err := g.g.ProcessPrivateMessage(private); err != nil {
			return Received{}, fmt.Errorf("mls-go: process: %w", err)
		}
		stored := g.g.StoredProposals()
		return Received{Content: ProposalMessage, AAD: private.AuthenticatedData, Sender: int64(stored[len(stored)-1].Sender)}, nil
	}
	return g.processPrivateCommit(private)
}

// processPrivateCommit does what the library's ProcessPrivateMessage does, with a look at the commit in between: decrypting uses up the
// generation, so it can be done once only.
func (g *goGroup) processPrivateCommit(private *framing.PrivateMessage) (Received, error) {
	if private.Epoch != g.g.Epoch().AsUint64() {
		return Received{}, fmt.Errorf("mls-go: process: %w", group.ErrUnknownEpoch)
	}
	ac, err := framing.Decrypt(private, framing.DecryptParams{
		CipherSuite: g.client.suite, SenderDataSecret: g.g.EpochSecrets().SenderDataSecret,
		SecretTree: g.g.SecretTree(), GroupContext: g.g.GroupContext().Marshal(),
	})
	if err != nil {
		return Received{}, fmt.Errorf("mls-go: process: %w", err)
	}
	data, ok := ac.Content.CommitData()
	if !ok {
		return Received{}, errors.New("mls-go: process: not a commit")
	}
	sender := ac.Content.Sender.LeafIndex
	out := Received{Content: CommitMessage, AAD: private.AuthenticatedData, Sender: int64(sender)}
	if out.Removed, err = g.removesUs(data); err != nil || out.Removed {
		return out, err
	}
	if err := g.g.ProcessReceivedCommit(ac, treesync.LeafIndex(sender), g.g.MyLeafEncryptionKey()); err != nil {
		return Received{}, fmt.Errorf("mls-go: process: %w", err)
	}
	g.tag = nil
	return out, nil
}

// removesUs tells whether a commit removes this member. mls-go has no notion of it: processing such a commit fails half-way.
func (g *goGroup) removesUs(commit []byte) (bool, error) {
	c, err := group.UnmarshalCommit(commit)
	if err != nil {
		return false, fmt.Errorf("mls-go: commit: %w", err)
	}
	stored := g.g.StoredProposals()
	for _, por := range c.Proposals {
		p := por.Proposal
		for _, s := range stored {
			if p == nil && bytes.Equal(s.Ref, por.ProposalRef) {
				p = s.Proposal
			}
		}
		if p != nil && p.Type == group.ProposalTypeRemove && p.Remove.Removed == g.g.OwnLeafIndex() {
			return true, nil
		}
	}
	return false, nil
}
