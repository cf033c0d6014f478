package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"mimigate/core/mls"
)

// Ours is our own engine, each client a [mls.Group] with one local leaf.
type Ours struct{}

// Name implements [Implementation].
func (Ours) Name() string { return "mimigate" }

// Suites implements [Implementation].
func (Ours) Suites() []Suite {
	return []Suite{X25519AES128, P256AES128, X25519ChaCha20, P521AES256, P384AES256, XWingAES128, XWingAES256}
}

// Limits implements [Implementation]: there are none.
func (Ours) Limits() map[Feature]string { return nil }

// Close implements [Implementation].
func (Ours) Close() error { return nil }

// replaceComponents is the application of the harness: an update replaces a component's data.
type replaceComponents struct{}

func (replaceComponents) Update(_ mls.ComponentID, _ []byte, updates [][]byte) ([]byte, error) {
	return updates[len(updates)-1], nil
}

func (replaceComponents) Remove(mls.ComponentID) error            { return nil }
func (replaceComponents) Ephemeral(mls.ComponentID, []byte) error { return nil }

// NewClient implements [Implementation].
func (Ours) NewClient(_ context.Context, suite Suite, identity string) (Client, error) {
	c := &ourClient{suite: mls.CipherSuite(suite.Code), psks: make(map[string][]byte), packages: make(map[string]*mls.JoinSecrets)}
	c.cfg = &mls.Config{Suites: mls.DefaultSuites(), Components: replaceComponents{}, PSK: c.psk}
	key, err := c.cfg.Suites.NewSignatureKey(c.suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	c.template = mls.LeafTemplate{Credential: mls.BasicCredential([]byte(identity)), Signature: key}
	return c, nil
}

type ourClient struct {
	suite    mls.CipherSuite
	cfg      *mls.Config
	template mls.LeafTemplate
	packages map[string]*mls.JoinSecrets // by key package signature

	mu   sync.Mutex
	psks map[string][]byte
}

func (c *ourClient) psk(id *mls.PreSharedKeyID) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if secret, ok := c.psks[string(id.ID)]; ok && id.Type == mls.PSKExternal {
		return secret, nil
	}
	return nil, errors.New("unknown")
}

func (c *ourClient) AddPSK(_ context.Context, id, secret []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.psks[string(id)] = bytes.Clone(secret)
	return nil
}

func (c *ourClient) Close() error { return nil }

func (c *ourClient) KeyPackage(context.Context) ([]byte, error) {
	j, err := mls.NewKeyPackage(c.cfg, c.suite, c.template)
	if err != nil {
		return nil, err
	}
	c.packages[string(j.KeyPackage.Signature)] = j
	return mls.Marshal(&mls.Message{WireFormat: mls.WireKeyPackage, KeyPackage: &j.KeyPackage}), nil
}

func (c *ourClient) own() (all []*mls.JoinSecrets) {
	for _, j := range c.packages {
		all = append(all, j)
	}
	return all
}

func ourExtensions(xs []Extension) (out mls.Extensions) {
	for _, x := range xs {
		out = append(out, mls.Extension{Type: mls.ExtensionType(x.Type), Data: x.Data})
	}
	return out
}

func (c *ourClient) Create(_ context.Context, groupID []byte, extensions []Extension) (Group, error) {
	j, err := mls.NewKeyPackage(c.cfg, c.suite, c.template)
	if err != nil {
		return nil, err
	}
	g, err := mls.NewGroup(c.cfg, groupID, ourExtensions(extensions), j)
	if err != nil {
		return nil, err
	}
	return &ourGroup{client: c, g: g}, nil
}

func parse(data []byte, want mls.WireFormat) (*mls.Message, error) {
	m, err := mls.ParseMessage(data)
	if err == nil && m.WireFormat != want {
		err = fmt.Errorf("wire format %d, want %d", m.WireFormat, want)
	}
	return m, err
}

func (c *ourClient) Join(_ context.Context, welcome, tree []byte) (Group, error) {
	m, err := parse(welcome, mls.WireWelcome)
	if err != nil {
		return nil, err
	}
	g, err := mls.JoinWelcome(c.cfg, m.Welcome, mls.JoinOptions{Own: c.own(), RatchetTree: tree})
	if err != nil {
		return nil, err
	}
	return &ourGroup{client: c, g: g}, nil
}

func (c *ourClient) JoinExternal(_ context.Context, join ExternalJoin) (Group, []byte, error) {
	m, err := parse(join.Info, mls.WireGroupInfo)
	if err != nil {
		return nil, nil, err
	}
	o := mls.ExternalOptions{RatchetTree: join.Tree}
	public, err := mls.NewPublicGroup(c.cfg, m.GroupInfo, join.Tree)
	if err != nil {
		return nil, nil, err
	}
	if join.Resync {
		for i, leaf := range public.Members() {
			if bytes.Equal(leaf.SignatureKey, c.template.Signature.PublicBytes()) {
				o.Remove = &i
			}
		}
	}
	if o.Proposals, err = c.proposals(join.Proposals); err != nil {
		return nil, nil, err
	}
	for _, data := range join.Pending {
		pending, err := parse(data, mls.WirePublicMessage)
		if err != nil {
			return nil, nil, err
		}
		o.Pending = append(o.Pending, pending)
	}
	o.Framing.AAD = join.AAD
	g, step, err := mls.ExternalCommit(c.cfg, m.GroupInfo, c.template, o)
	if err != nil {
		return nil, nil, err
	}
	return &ourGroup{client: c, g: g}, step.Message, nil
}

// ExternalSender implements [Outsider].
func (c *ourClient) ExternalSender(context.Context) ([]byte, error) {
	var e mls.Encoder
	e.Opaque(c.template.Signature.PublicBytes())
	c.template.Credential.MarshalMLS(&e)
	return e.Bytes(), nil
}

// ProposeExternal implements [Outsider].
func (c *ourClient) ProposeExternal(_ context.Context, info GroupInfo, proposal Proposal, aad []byte) ([]byte, error) {
	m, err := parse(info.Message, mls.WireGroupInfo)
	if err != nil {
		return nil, err
	}
	public, err := mls.NewPublicGroup(c.cfg, m.GroupInfo, info.Tree)
	if err != nil {
		return nil, err
	}
	var senders mls.ExternalSenders
	data, _ := public.Context().Extensions.Get(mls.ExtExternalSenders)
	if err := mls.Unmarshal(data, &senders); err != nil {
		return nil, err
	}
	ps, err := c.proposals([]Proposal{proposal})
	if err != nil {
		return nil, err
	}
	for i, s := range senders {
		if bytes.Equal(s.SignatureKey, c.template.Signature.PublicBytes()) {
			out, err := public.ExternalProposal(uint32(i), c.template.Signature, ps[0], mls.Framing{AAD: aad})
			if err != nil {
				return nil, err
			}
			return mls.Marshal(out), nil
		}
	}
	return nil, errors.New("not an external sender of this group")
}

// ProposeJoin implements [Outsider].
func (c *ourClient) ProposeJoin(_ context.Context, info GroupInfo, aad []byte) ([]byte, error) {
	m, err := parse(info.Message, mls.WireGroupInfo)
	if err != nil {
		return nil, err
	}
	j, err := mls.NewKeyPackage(c.cfg, c.suite, c.template)
	if err != nil {
		return nil, err
	}
	c.packages[string(j.KeyPackage.Signature)] = j
	out, err := mls.NewMemberProposal(c.cfg, &m.GroupInfo.Context, j, mls.Framing{AAD: aad})
	if err != nil {
		return nil, err
	}
	return mls.Marshal(out), nil
}

// proposals translates proposals other than Update.
func (c *ourClient) proposals(in []Proposal) (out []mls.Proposal, err error) {
	for _, p := range in {
		var q mls.Proposal
		switch p.Kind {
		case Add:
			m, err := parse(p.KeyPackage, mls.WireKeyPackage)
			if err != nil {
				return nil, err
			}
			q = mls.Proposal{Type: mls.ProposalAdd, Add: m.KeyPackage}
		case Remove:
			q = mls.Proposal{Type: mls.ProposalRemove, Remove: mls.LeafIndex(p.Leaf)}
		case GroupExtensions:
			q = mls.Proposal{Type: mls.ProposalGroupContextExtensions, Extensions: ourExtensions(p.Extensions)}
		case AppDataUpdate:
			q = mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
				Component: mls.ComponentID(p.Component), Operation: mls.OpUpdate, Update: p.Data}}
		case AppDataRemove:
			q = mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
				Component: mls.ComponentID(p.Component), Operation: mls.OpRemove}}
		case AppEphemeral:
			q = mls.Proposal{Type: mls.ProposalAppEphemeral, AppEphemeral: &mls.AppEphemeral{Component: mls.ComponentID(p.Component), Data: p.Data}}
		case SelfRemove:
			q = mls.Proposal{Type: mls.ProposalSelfRemove}
		case ExternalPSK, ResumptionPSK:
			nonce := make([]byte, c.hashSize())
			if _, err := rand.Read(nonce); err != nil {
				return nil, err
			}
			q = mls.Proposal{Type: mls.ProposalPSK, PSK: &mls.PreSharedKeyID{Type: mls.PSKExternal, ID: p.PSK, Nonce: nonce}}
			if p.Kind == ResumptionPSK {
				q.PSK.Type, q.PSK.Usage, q.PSK.Epoch = mls.PSKResumption, mls.UsageApplication, p.Epoch
			}
		default:
			return nil, fmt.Errorf("%w: proposal %s", ErrCannot, p.Kind)
		}
		out = append(out, q)
	}
	return out, nil
}

// hashSize is KDF.Nh of the client's suite, bytes.
func (c *ourClient) hashSize() int {
	switch c.suite {
	case mls.X25519AES128, mls.P256AES128, mls.X25519ChaCha, mls.MLKEM768X25519AES128:
		return 32
	case mls.P521AES256:
		return 64
	}
	return 48
}

// ourGroup keeps every step it makes: the harness has no storage.
type ourGroup struct {
	client *ourClient
	g      *mls.Group
}

func (g *ourGroup) leaf() mls.LeafIndex {
	if local := g.g.LocalLeaves(); len(local) > 0 {
		return local[0]
	}
	return 0
}

func (g *ourGroup) State(context.Context) (State, error) {
	c := g.g.Context()
	s := State{Epoch: c.Epoch, Authenticator: g.g.EpochAuthenticator(), TreeHash: c.TreeHash, Leaf: uint32(g.leaf()), Members: g.g.MemberCount()}
	for _, x := range c.Extensions {
		s.Extensions = append(s.Extensions, Extension{uint16(x.Type), x.Data})
	}
	return s, nil
}

func (g *ourGroup) Export(_ context.Context, label string, context []byte, length int) ([]byte, error) {
	return g.g.Export(label, context, length)
}

func (g *ourGroup) GroupInfo(_ context.Context, embedTree bool) (GroupInfo, error) {
	info, err := g.g.GroupInfo(g.leaf(), embedTree)
	if err != nil {
		return GroupInfo{}, err
	}
	return GroupInfo{Message: mls.Marshal(&mls.Message{WireFormat: mls.WireGroupInfo, GroupInfo: info}), Tree: g.g.RatchetTree()}, nil
}

// proposals also names this group in resumption PSKs.
func (g *ourGroup) proposals(in []Proposal) ([]mls.Proposal, error) {
	out, err := g.client.proposals(in)
	for i := range out {
		if p := out[i].PSK; p != nil && p.Type == mls.PSKResumption {
			p.GroupID = g.g.GroupID()
		}
	}
	return out, err
}

func (g *ourGroup) Commit(_ context.Context, c Commit) (Committed, error) {
	proposals, err := g.proposals(c.Proposals)
	if err != nil {
		return Committed{}, err
	}
	o := mls.CommitOptions{Proposals: proposals, Private: c.Private, Framing: ourFraming(c.Framing), WelcomeTree: !c.OmitTree}
	made, err := g.g.Commit(g.leaf(), o)
	if err != nil {
		return Committed{}, err
	}
	out := Committed{Commit: made.Message}
	if made.Welcome != nil {
		out.Welcome = mls.Marshal(&mls.Message{WireFormat: mls.WireWelcome, Welcome: made.Welcome})
	}
	merged, err := g.g.Merge(made)
	if err != nil {
		return Committed{}, err
	}
	return out, g.g.Settle(merged)
}

func ourFraming(f Framing) mls.Framing {
	out := mls.Framing{AAD: f.AAD}
	if f.Pad {
		out.Padding = 100
	}
	return out
}

func (g *ourGroup) Propose(_ context.Context, p Proposal, f Framing) ([]byte, error) {
	var step *mls.Step
	var err error
	if p.Kind == Update {
		step, err = g.g.ProposeUpdate(g.leaf(), nil, ourFraming(f), f.Private)
	} else {
		var ps []mls.Proposal
		if ps, err = g.proposals([]Proposal{p}); err != nil {
			return nil, err
		}
		step, err = g.g.Propose(g.leaf(), ps[0], ourFraming(f), f.Private)
	}
	if err != nil {
		return nil, err
	}
	return step.Message, g.g.Settle(step)
}

func (g *ourGroup) Protect(_ context.Context, plaintext, aad []byte) ([]byte, error) {
	step, err := g.g.Protect(g.leaf(), plaintext, mls.Framing{AAD: aad})
	if err != nil {
		return nil, err
	}
	return step.Message, g.g.Settle(step)
}

func (g *ourGroup) Process(_ context.Context, message []byte) (Received, error) {
	m, err := mls.ParseMessage(message)
	if err != nil {
		return Received{}, err
	}
	step, err := g.g.Process(m, mls.Arrival{})
	if err != nil {
		return Received{}, err
	}
	r := Received{AAD: step.AuthenticatedData, Sender: NoLeaf}
	if step.Sender.Type == mls.SenderMember {
		r.Sender = int64(step.Sender.Index)
	}
	switch {
	case step.Proposal != nil:
		r.Content = ProposalMessage
	case step.Commit == nil:
		r.Content, r.Plaintext = ApplicationMessage, step.Application
	default:
		r.Content = CommitMessage
		if step, err = g.g.Merge(step); err != nil {
			return Received{}, err
		}
		r.Removed = len(g.g.LocalLeaves()) == 0
	}
	return r, g.g.Settle(step)
}
