package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/credentials"
	"github.com/thomas-vilte/mls-go/extensions"
	"github.com/thomas-vilte/mls-go/framing"
	"github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"
	"github.com/thomas-vilte/mls-go/treesync"
)

// Wire formats of an MLSMessage (RFC 9420 §6), which mls-go leaves to its caller for these three.
const (
	wireWelcome    = 3
	wireGroupInfo  = 4
	wireKeyPackage = 5
)

// MLSGo is github.com/thomas-vilte/mls-go v1.6.0, through its low-level group package: its Client offers less and costs more.
type MLSGo struct{}

// Name is "mls-go".
func (MLSGo) Name() string { return "mls-go" }

// Suites are 1, 2, 3 and 5; X448, Ed448 and P-384 are not implemented.
func (MLSGo) Suites() []Suite {
	return []Suite{X25519AES128, P256AES128, X25519ChaCha20, P521AES256}
}

// Limits are the gaps of mls-go v1.6.0.
func (MLSGo) Limits() map[Feature]string {
	return map[Feature]string{
		CommitAAD:         "Group.Commit signs with empty authenticated data",
		SeparateTree:      "JoinFromWelcome takes the tree from the ratchet_tree extension only",
		CustomExtensions:  "key packages advertise one GREASE value, and joining refuses types beyond RFC 9420's",
		OutsideProposals:  "no function authors them",
		ExternalCommitAAD: "ExternalCommit signs with empty authenticated data",
		ExternalCommitPSK: "ExternalCommit takes no proposals",
		LateFromRemoved:   "an old epoch is cached with the tree of the next",
		PaddedHandshakes:  "the parser wants the authentication data to end the content",
		RequireCapability: "the extension is read as versions, suites, extensions, proposals, credentials",
	}
}

// Close does nothing.
func (MLSGo) Close() error { return nil }

// NewClient makes a client with a fresh signature key.
func (MLSGo) NewClient(_ context.Context, suite Suite, identity string) (Client, error) {
	cs := ciphersuite.CipherSuite(suite.Code)
	credential, key, err := credentials.GenerateCredentialWithKeyForCS([]byte(identity), cs)
	if err != nil {
		return nil, fmt.Errorf("mls-go: credential: %w", err)
	}
	return &goClient{suite: cs, credential: credential, key: key, psks: map[string][]byte{}}, nil
}

type goPackage struct {
	public  *keypackages.KeyPackage
	private *keypackages.KeyPackagePrivateKeys
}

type goClient struct {
	suite      ciphersuite.CipherSuite
	credential *credentials.CredentialWithKey
	key        *ciphersuite.SignaturePrivateKey
	packages   []goPackage
	psks       map[string][]byte
	group      *goGroup
}

func (c *goClient) newPackage() (goPackage, error) {
	public, private, err := keypackages.Generate(c.credential, c.suite)
	if err != nil {
		return goPackage{}, fmt.Errorf("mls-go: key package: %w", err)
	}
	made := goPackage{public, private}
	c.packages = append(c.packages, made)
	return made, nil
}

func (c *goClient) KeyPackage(context.Context) ([]byte, error) {
	made, err := c.newPackage()
	if err != nil {
		return nil, err
	}
	return wrapMessage(wireKeyPackage, made.public.Marshal()), nil
}

func (c *goClient) Create(_ context.Context, groupID []byte, exts []Extension) (Group, error) {
	made, err := c.newPackage()
	if err != nil {
		return nil, err
	}
	g, err := group.NewGroup(group.NewGroupID(groupID), c.suite, made.public, made.private, group.WithExtensions(goExtensions(exts)))
	if err != nil {
		return nil, fmt.Errorf("mls-go: create: %w", err)
	}
	return c.entered(g, nil), nil
}

func (c *goClient) Join(_ context.Context, welcome, tree []byte) (Group, error) {
	if tree != nil {
		return nil, fmt.Errorf("mls-go: join with a separate tree: %w", ErrCannot)
	}
	body, err := unwrapMessage(wireWelcome, welcome)
	if err != nil {
		return nil, err
	}
	w, err := group.UnmarshalWelcome(body)
	if err != nil {
		return nil, fmt.Errorf("mls-go: welcome: %w", err)
	}
	for _, p := range c.packages {
		g, err := group.JoinFromWelcome(w, p.public, p.private, c.psks)
		if errors.Is(err, group.ErrWelcomeNoEncryptedSecrets) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mls-go: join: %w", err)
		}
		return c.entered(g, nil), nil
	}
	return nil, errors.New("mls-go: join: the Welcome is for none of our key packages")
}

func (c *goClient) JoinExternal(_ context.Context, join ExternalJoin) (Group, []byte, error) {
	if len(join.AAD) > 0 || len(join.PSKs) > 0 {
		return nil, nil, fmt.Errorf("mls-go: external commit with AAD or PSK: %w", ErrCannot)
	}
	body, err := unwrapMessage(wireGroupInfo, join.Info)
	if err != nil {
		return nil, nil, err
	}
	info, err := group.UnmarshalGroupInfo(body)
	if err != nil {
		return nil, nil, fmt.Errorf("mls-go: group info: %w", err)
	}
	tree, err := c.treeOf(info, join.Tree)
	if err != nil {
		return nil, nil, err
	}
	info.RatchetTree = tree
	var prior *group.LeafNodeIndex
	if join.Resync {
		if prior, err = c.formerLeaf(tree); err != nil {
			return nil, nil, err
		}
	}
	g, staged, err := group.ExternalCommit(info, c.suite, c.key, c.key.PublicKey(), prior, c.credential.Credential)
	if err != nil {
		return nil, nil, fmt.Errorf("mls-go: external commit: %w", err)
	}
	ac := staged.AuthenticatedContent()
	message := framing.NewMLSMessagePublic(&framing.PublicMessage{Content: ac.Content, Auth: ac.Auth})
	return c.entered(g, ac.Auth.ConfirmationTag), message.Marshal(), nil
}

// treeOf finds the ratchet tree in the GroupInfo or, failing that, in the bytes that came with it.
func (c *goClient) treeOf(info *group.Info, separate []byte) (*treesync.RatchetTree, error) {
	for _, e := range info.Extensions {
		if e.Type == extensions.ExtensionTypeRatchetTree {
			separate = e.Data
		}
	}
	tree, err := treesync.UnmarshalTreeFromExtension(separate, c.suite)
	if err != nil {
		return nil, fmt.Errorf("mls-go: ratchet tree: %w", err)
	}
	return tree.ExpandToPowerOf2(), nil
}

func (c *goClient) formerLeaf(tree *treesync.RatchetTree) (*group.LeafNodeIndex, error) {
	own := c.key.PublicKey().AsSlice()
	for i := range tree.NumLeaves {
		leaf := tree.GetLeaf(treesync.LeafIndex(i))
		if leaf != nil && leaf.LeafData != nil && bytes.Equal(leaf.LeafData.SigKeyBytes(), own) {
			index := group.LeafNodeIndex(i)
			return &index, nil
		}
	}
	return nil, errors.New("mls-go: resync: no leaf has our signature key")
}

func (c *goClient) AddPSK(_ context.Context, id, secret []byte) error {
	c.psks[string(id)] = bytes.Clone(secret)
	if c.group != nil {
		c.group.g.LoadPsk(id, bytes.Clone(secret))
	}
	return nil
}

func (c *goClient) Close() error { return nil }

// entered makes g the client's group. tag is the confirmation tag of an epoch entered by our own external commit, which mls-go forgets.
func (c *goClient) entered(g *group.Group, tag []byte) *goGroup {
	for id, secret := range c.psks {
		g.LoadPsk([]byte(id), bytes.Clone(secret))
	}
	c.group = &goGroup{client: c, g: g, tag: tag}
	return c.group
}

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

func goExtensions(in []Extension) []group.Extension {
	out := make([]group.Extension, len(in))
	for i, e := range in {
		out[i] = group.Extension{Type: extensions.ExtensionType(e.Type), Data: e.Data}
	}
	return out
}

// wrapMessage puts the head of an MLSMessage of version mls10 before body.
func wrapMessage(wireFormat byte, body []byte) []byte {
	return append([]byte{0, 1, 0, wireFormat}, body...)
}

// unwrapMessage takes the head of an MLSMessage off, if it is the expected one.
func unwrapMessage(wireFormat byte, message []byte) ([]byte, error) {
	if len(message) < 4 || !bytes.Equal(message[:4], []byte{0, 1, 0, wireFormat}) {
		return nil, fmt.Errorf("interop: not an MLSMessage of wire format %d", wireFormat)
	}
	return message[4:], nil
}
