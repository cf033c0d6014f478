package interop

import (
	"bytes"
	"context"
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
		CommitAAD:          "Group.Commit signs with empty authenticated data",
		SeparateTree:       "JoinFromWelcome takes the tree from the ratchet_tree extension only",
		CustomExtensions:   "key packages advertise one GREASE value, and joining refuses types beyond RFC 9420's",
		OutsideProposals:   "no function authors them",
		ExternalCommitAAD:  "ExternalCommit signs with empty authenticated data",
		ExternalCommitMore: "ExternalCommit takes no proposals",
		DraftProposals:     "proposal types are a closed set, others cannot even be framed",
		LateFromRemoved:    "an old epoch is cached with the tree of the next",
		PaddedHandshakes:   "the parser wants the authentication data to end the content",
		RequireCapability:  "the extension is read as versions, suites, extensions, proposals, credentials",
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
	if len(join.AAD) > 0 || len(join.Proposals) > 0 || len(join.Pending) > 0 {
		return nil, nil, fmt.Errorf("mls-go: external commit with AAD or proposals: %w", ErrCannot)
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
