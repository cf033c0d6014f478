package interop

import (
	"context"
)

// Name is "ts-mls".
func (*TSMLS) Name() string { return "ts-mls" }

// Suites are those of RFC 9420 that crypto/hpke has too, and X-Wing through the shim in tsmls/suites.mjs.
func (*TSMLS) Suites() []Suite {
	return []Suite{X25519AES128, P256AES128, X25519ChaCha20, P521AES256, P384AES256, XWingAES128, XWingAES256}
}

// Limits are the gaps of ts-mls 2.0.0-rc.10 that tsmls/mends.mjs does not fill.
func (*TSMLS) Limits() map[Feature]string {
	return map[Feature]string{
		ClearExtensions: "a GroupContextExtensions proposal with an empty list is treated as none",
	}
}

// message is the answer or argument that consists of one MLSMessage.
type message struct {
	Message []byte `json:"message"`
}

// NewClient makes a client with a fresh signature key.
func (p *TSMLS) NewClient(ctx context.Context, suite Suite, identity string) (Client, error) {
	var made struct{ Client uint64 }
	err := p.ask(ctx, "client", 0, struct {
		Suite    uint16 `json:"suite"`
		Name     string `json:"name"`
		Identity string `json:"identity"`
	}{suite.Code, suite.Name, identity}, &made)
	if err != nil {
		return nil, err
	}
	return &tsClient{peer: p, id: made.Client}, nil
}

type tsClient struct {
	peer *TSMLS
	id   uint64
}

var _ Outsider = (*tsClient)(nil)

func (c *tsClient) ask(ctx context.Context, op string, arguments, out any) error {
	return c.peer.ask(ctx, op, c.id, arguments, out)
}

// one asks for something whose answer is one message.
func (c *tsClient) one(ctx context.Context, op string, arguments any) ([]byte, error) {
	var out message
	err := c.ask(ctx, op, arguments, &out)
	return out.Message, err
}

func (c *tsClient) KeyPackage(ctx context.Context) ([]byte, error) {
	return c.one(ctx, "keyPackage", nil)
}

func (c *tsClient) Create(ctx context.Context, groupID []byte, extensions []Extension) (Group, error) {
	err := c.ask(ctx, "create", struct {
		Group      []byte      `json:"group"`
		Extensions []Extension `json:"extensions"`
	}{groupID, extensions}, nil)
	return &tsGroup{c}, err
}

func (c *tsClient) Join(ctx context.Context, welcome, tree []byte) (Group, error) {
	err := c.ask(ctx, "join", struct {
		Welcome []byte `json:"welcome"`
		Tree    []byte `json:"tree,omitempty"`
	}{welcome, tree}, nil)
	return &tsGroup{c}, err
}

func (c *tsClient) JoinExternal(ctx context.Context, join ExternalJoin) (Group, []byte, error) {
	var out struct{ Commit []byte }
	err := c.ask(ctx, "joinExternal", struct {
		Info      []byte     `json:"info"`
		Tree      []byte     `json:"tree,omitempty"`
		Resync    bool       `json:"resync"`
		AAD       []byte     `json:"aad"`
		Proposals []Proposal `json:"proposals,omitempty"`
		Pending   [][]byte   `json:"pending,omitempty"`
	}(join), &out)
	return &tsGroup{c}, out.Commit, err
}

func (c *tsClient) AddPSK(ctx context.Context, id, secret []byte) error {
	return c.ask(ctx, "addPSK", struct {
		PSK    []byte `json:"psk"`
		Secret []byte `json:"secret"`
	}{id, secret}, nil)
}

func (c *tsClient) Close() error {
	return c.ask(context.Background(), "close", nil, nil)
}

func (c *tsClient) ExternalSender(ctx context.Context) ([]byte, error) {
	return c.one(ctx, "externalSender", nil)
}

func (c *tsClient) ProposeExternal(ctx context.Context, info GroupInfo, proposal Proposal, aad []byte) ([]byte, error) {
	return c.one(ctx, "proposeExternal", struct {
		Info     []byte   `json:"info"`
		Proposal Proposal `json:"proposal"`
		AAD      []byte   `json:"aad"`
	}{info.Message, proposal, aad})
}

func (c *tsClient) ProposeJoin(ctx context.Context, info GroupInfo, aad []byte) ([]byte, error) {
	return c.one(ctx, "proposeJoin", struct {
		Info []byte `json:"info"`
		AAD  []byte `json:"aad"`
	}{info.Message, aad})
}

type tsGroup struct{ client *tsClient }

func (g *tsGroup) State(ctx context.Context) (State, error) {
	var out State
	err := g.client.ask(ctx, "state", nil, &out)
	return out, err
}

func (g *tsGroup) Export(ctx context.Context, label string, exportContext []byte, length int) ([]byte, error) {
	var out struct{ Secret []byte }
	err := g.client.ask(ctx, "export", struct {
		Label   string `json:"label"`
		Context []byte `json:"context"`
		Length  int    `json:"length"`
	}{label, exportContext, length}, &out)
	return out.Secret, err
}

func (g *tsGroup) GroupInfo(ctx context.Context, embedTree bool) (GroupInfo, error) {
	var out GroupInfo
	err := g.client.ask(ctx, "groupInfo", struct {
		EmbedTree bool `json:"embedTree"`
	}{embedTree}, &out)
	return out, err
}

func (g *tsGroup) Commit(ctx context.Context, commit Commit) (Committed, error) {
	var out Committed
	err := g.client.ask(ctx, "commit", commit, &out)
	return out, err
}

func (g *tsGroup) Propose(ctx context.Context, proposal Proposal, framing Framing) ([]byte, error) {
	return g.client.one(ctx, "propose", struct {
		Framing
		Proposal Proposal `json:"proposal"`
	}{framing, proposal})
}

func (g *tsGroup) Protect(ctx context.Context, plaintext, aad []byte) ([]byte, error) {
	return g.client.one(ctx, "protect", struct {
		Plaintext []byte `json:"plaintext"`
		AAD       []byte `json:"aad"`
	}{plaintext, aad})
}

func (g *tsGroup) Process(ctx context.Context, m []byte) (Received, error) {
	var out Received
	err := g.client.ask(ctx, "process", message{m}, &out)
	return out, err
}
