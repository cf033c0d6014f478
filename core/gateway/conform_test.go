package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/config"
	"mimigate/core/gateway"
	"mimigate/core/identity/credential"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/provider"
	"mimigate/core/provider/invitation"
	"mimigate/core/provider/trust"
	"mimigate/core/room"
	"mimigate/core/uri"
)

const conformSuite = mls.X25519AES128

// need returns a value that tests cannot go on without.
func need[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rival is a provider of the test's own, which sends whatever bytes it wants to: a server that records what it is told, a client, and the MLS
// client of one user.
type rival struct {
	t           *testing.T
	provider    uri.Provider
	authority   *trust.Authority
	certificate *trust.Current
	url         string // of its server
	tested      *tested
	http        *http.Client

	mu     sync.Mutex
	bodies [][]byte
	keys   []*mls.JoinSecrets // handed out

	seen  int // of bodies
	group *mls.Group
}

// tested is the provider under test: a gateway with a chat on a network, and a room.
type tested struct {
	*running
	networks
	provider uri.Provider
	url      string
	room     uri.Room
	roots    *x509.CertPool
}

func newTested(t *testing.T) *tested {
	t.Helper()
	n, drivers := newNetworks("left")
	address := fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
	c := load(t, t.TempDir(), fmt.Sprintf(`
provider: {domain: a.test, store: store, listen: %q}
federation: {url: "https://%s"}
accounts: [{id: left, network: left}]
people: [{handle: ann, is: ["left:ann"]}]
rooms: [{id: club, name: Club, bind: [left/room]}]
`, address, address), drivers)
	s := &tested{networks: n, url: "https://" + address, room: need[uri.Room](t)(uri.ParseRoom("mimi://a.test/r/club")), provider: c.Provider.Domain}
	s.running = start(t, c, drivers)
	s.opened("left/room")
	i := need[gateway.Invited](t)(s.Invitation())
	s.roots = need[*x509.CertPool](t)(trust.Pool(i.CA))
	return s
}

// newRival makes a provider that the tested one has accepted.
func newRival(t *testing.T, s *tested, domain string, may config.May) *rival {
	t.Helper()
	r := &rival{t: t, tested: s, provider: need[uri.Provider](t)(uri.NewProvider(domain))}
	r.authority = need[*trust.Authority](t)(trust.NewAuthority(domain, time.Now()))
	r.certificate = trust.Issued(r.authority, time.Now, slog.New(slog.DiscardHandler))
	l := need[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	r.url = "https://" + l.Addr().String()
	server := need[*provider.Server](t)(provider.NewServer(provider.ServerOptions{Provider: r.provider, URL: r.url, Trust: r, Certificate: r.certificate.Certificate,
		Endpoints: provider.Endpoints{Follower: r, KeyMaterial: r}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.roots, ServerName: s.provider.Domain(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.certificate.Certificate() }}}
	t.Cleanup(transport.CloseIdleConnections)
	r.http = &http.Client{Transport: transport}
	i := invitation.Invitation{Domain: r.provider, URL: r.url, CA: r.authority.Certificate()}
	need[gateway.Invited](t)(s.AcceptPeer(t.Context(), i.String(), may))
	return r
}

// Roots implements provider.Trust.
func (r *rival) Roots(of uri.Provider) (*x509.CertPool, bool) {
	return r.tested.roots, of == r.tested.provider
}

// Notify implements mimi.Follower.
func (r *rival) Notify(_ context.Context, _ uri.Provider, _ uri.Room, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, bytes.Clone(body))
	return nil
}

// KeyMaterial implements mimi.KeyMaterial.
func (r *rival) KeyMaterial(_ context.Context, _ uri.Provider, target uri.User, _ *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	j, err := r.client(target)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, j)
	return &mimi.KeyMaterialResponse{User: target.String(), Clients: []mimi.ClientKeyMaterial{{Client: target.String(), KeyPackage: &j.KeyPackage}}}, nil
}

func (r *rival) user(name string) uri.User { return need[uri.User](r.t)(r.provider.User(name)) }

// vouched returns a signature key with a certificate of the rival's authority.
func (r *rival) vouched(user uri.User) (*mls.SignatureKey, mls.Credential, error) {
	key, err := mls.DefaultSuites().NewSignatureKey(conformSuite, rand.Reader)
	if err != nil {
		return nil, mls.Credential{}, err
	}
	client, err := user.Provider().Client(user.Segments()[0], "test")
	if err != nil {
		return nil, mls.Credential{}, err
	}
	issuer := credential.Issuer{Authority: r.authority, Now: time.Now}
	der, err := issuer.Issue(credential.Holder{User: user, Client: client}, key.PublicBytes())
	return key, mls.X509Credential(der, r.authority.Certificate().Raw), err
}

// client makes the keys of a client of a user.
func (r *rival) client(user uri.User) (*mls.JoinSecrets, error) {
	key, c, err := r.vouched(user)
	if err != nil {
		return nil, err
	}
	return mls.NewKeyPackage(conformEngine(), conformSuite, mls.LeafTemplate{Signature: key, Credential: c, Extensions: conformLeaf()})
}

func conformEngine() *mls.Config {
	return &mls.Config{Components: room.Components{}, Suites: mls.DefaultSuites()}
}

func conformLeaf() mls.Extensions {
	list := mls.ComponentsList{1, 2, 3, 4}
	for c := policy.FrankAAD; c <= policy.MessageExpirationPolicy; c++ {
		list = append(list, mls.ComponentID(c))
	}
	return mls.Extensions{mls.AppDataDictionary{
		{ID: mls.ComponentAppComponents, Data: mls.Marshal(list)},
		{ID: mls.ComponentSafeAAD, Data: mls.Marshal(mls.ComponentsList{0x20})},
		{ID: mls.ComponentContentMediaTypes, Data: mls.Marshal(mls.MediaTypeList{{Type: "application/mimi-content"}})},
	}.Extension()}
}

// request is a request to the tested provider; each part may be wrong.
type request struct {
	method, endpoint, target string
	body                     []byte
	from, host               string
	path                     string // instead of endpoint and target
}

// raw makes a request and returns the status and the answer.
func (r *rival) raw(q request) (int, []byte) {
	r.t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	if q.from == "" {
		q.from = "mimi@" + r.provider.Domain()
	}
	if q.host == "" {
		q.host = r.tested.provider.Domain()
	}
	if q.path == "" {
		q.path = "/" + q.endpoint + "/" + url.QueryEscape(q.target)
	}
	req := need[*http.Request](r.t)(http.NewRequestWithContext(r.t.Context(), q.method, r.tested.url, bytes.NewReader(q.body)))
	req.URL.Opaque, req.Host = q.path, q.host
	req.Header.Set("From", q.from)
	resp := need[*http.Response](r.t)(r.http.Do(req))
	defer resp.Body.Close()
	return resp.StatusCode, need[[]byte](r.t)(io.ReadAll(resp.Body))
}

// ask makes a request to an endpoint, which is answered with 200.
func (r *rival) ask(endpoint, target string, q, a mimi.Codec) {
	r.t.Helper()
	code, body := r.raw(request{endpoint: endpoint, target: target, body: mimi.Encode(q)})
	if code != http.StatusOK {
		r.t.Fatalf("%s: %d %s", endpoint, code, body)
	}
	if err := mimi.Decode(body, a); err != nil {
		r.t.Fatalf("%s: %v", endpoint, err)
	}
}

func (r *rival) update(q *mimi.UpdateRequest) *mimi.UpdateRoomResponse {
	r.t.Helper()
	a := new(mimi.UpdateRoomResponse)
	r.ask("update", r.tested.room.String(), q, a)
	return a
}

func (r *rival) submit(q *mimi.SubmitMessageRequest) *mimi.SubmitMessageResponse {
	r.t.Helper()
	a := new(mimi.SubmitMessageResponse)
	r.ask("submitMessage", r.tested.room.String(), q, a)
	return a
}

// told returns the next event that the rival was told.
func (r *rival) told() []mimi.FanoutMessage {
	r.t.Helper()
	var body []byte
	eventually(r.t, "an event is fanned out", func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.bodies) <= r.seen {
			return fmt.Errorf("%d events", len(r.bodies))
		}
		body = r.bodies[r.seen]
		return nil
	})
	r.seen++
	return need[[]mimi.FanoutMessage](r.t)(mimi.ParseFanout(body))
}

// enter lets the rival's gateway participant be invited, and joins with its Welcome.
func (r *rival) enter() {
	r.t.Helper()
	if err := r.tested.Invite(r.t.Context(), "club", r.user("gateway").String()); err != nil {
		r.t.Fatal(err)
	}
	for r.group == nil {
		for _, f := range r.told() {
			if f.Message.Welcome != nil {
				r.group = need[*mls.Group](r.t)(mls.JoinWelcome(conformEngine(), f.Message.Welcome, mls.JoinOptions{Own: r.keys, RatchetTree: f.Tree.Tree}))
			}
		}
	}
}

// follow takes what the rival was told until now.
func (r *rival) follow() {
	r.t.Helper()
	for {
		r.mu.Lock()
		more := len(r.bodies) > r.seen
		r.mu.Unlock()
		if !more {
			return
		}
		for _, f := range r.told() {
			r.take(f)
		}
	}
}

// take processes one event; nil for what is of another epoch, or the rival's own message.
func (r *rival) take(f mimi.FanoutMessage) *mls.Step {
	r.t.Helper()
	if f.Message.Public == nil && f.Message.Private == nil || f.Message.Public != nil && f.Message.Public.Content.Epoch != r.group.Epoch() {
		return nil
	}
	step, err := r.group.Process(f.Message.Message, mls.Arrival{})
	if err != nil && f.Message.Private != nil {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if step.Commit != nil {
		need[*mls.Step](r.t)(r.group.Merge(step))
	}
	return step
}

// commit makes a commit of the rival, staged in its group.
func (r *rival) commit(o mls.CommitOptions) (*mimi.UpdateRequest, *mls.Step) {
	r.t.Helper()
	o.Framing, o.WantGroupInfo = mls.Framing{SafeAAD: mls.SafeAAD{}}, true
	step := need[*mls.Step](r.t)(r.group.Commit(r.group.LocalLeaves()[0], o))
	m := need[mimi.Message](r.t)(mimi.ParseMessage(step.Message))
	return &mimi.UpdateRequest{Message: m, Welcome: step.Welcome, GroupInfo: mimi.GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeDistributionService}}, step
}

// accepted sends a commit that is accepted, and merges it.
func (r *rival) accepted(o mls.CommitOptions) *mimi.UpdateRoomResponse {
	r.t.Helper()
	q, step := r.commit(o)
	a := r.update(q)
	if a.Code != mimi.UpdateSuccess {
		r.t.Fatalf("%+v", a)
	}
	need[*mls.Step](r.t)(r.group.Merge(step))
	return a
}

// drop gives up the commit that was made.
func (r *rival) drop() { r.group.Drop() }

// listUpdate is a proposal that gives somebody a role.
func (r *rival) listUpdate(people ...room.Participant) mls.Proposal {
	r.t.Helper()
	dict := need[mls.AppDataDictionary](r.t)(r.group.Context().Dictionary())
	var leaves []room.Leaf
	for i, node := range r.group.Members() {
		u, c, err := mimi.Identify(&node.Credential)
		if err != nil {
			r.t.Fatal(err)
		}
		leaves = append(leaves, room.Leaf{Index: i, User: u, Client: c})
	}
	u := need[*room.State](r.t)(room.New(r.tested.room, dict, leaves)).Change(people...)
	return mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mls.ComponentID(policy.ParticipantList), Operation: mls.OpUpdate, Update: u.Marshal()}}
}

// message protects application data as the rival's participant; a nil tag is none.
func (r *rival) message(tag []byte) *mimi.SubmitMessageRequest {
	r.t.Helper()
	aad := mls.SafeAAD{}
	if tag != nil {
		aad = mls.SafeAAD{{Component: mls.ComponentID(policy.FrankAAD), Data: tag}}
	}
	step := need[*mls.Step](r.t)(r.group.Protect(r.group.LocalLeaves()[0], []byte("data"), mls.Framing{SafeAAD: aad}))
	return &mimi.SubmitMessageRequest{Message: need[mimi.Message](r.t)(mimi.ParseMessage(step.Message)), Sender: r.user("gateway").String()}
}

// keyRequest asks for the keys of a user, signed.
func (r *rival) keyRequest(target, inRoom string) (*mimi.KeyMaterialRequest, *mls.SignatureKey) {
	r.t.Helper()
	key, c, err := r.vouched(r.user("gateway"))
	q := &mimi.KeyMaterialRequest{Requester: r.user("gateway").String(), Target: target, Room: inRoom, Suites: []mls.CipherSuite{conformSuite},
		SignatureKey: key.PublicBytes(), Credential: c}
	if err = errors.Join(err, q.Sign(mls.DefaultSuites(), key)); err != nil {
		r.t.Fatal(err)
	}
	return q, key
}

func (r *rival) keyMaterial(q *mimi.KeyMaterialRequest) *mimi.KeyMaterialResponse {
	r.t.Helper()
	a := new(mimi.KeyMaterialResponse)
	r.ask("keyMaterial", q.Target, q, a)
	return a
}

// groupInfo asks for what an external commit needs.
func (r *rival) groupInfo(user uri.User, in string) (*mimi.GroupInfoResponse, *mimi.GroupInfoRequest) {
	r.t.Helper()
	key, c, err := r.vouched(user)
	public := bytes.Repeat([]byte{9}, 32)
	q := &mimi.GroupInfoRequest{Suite: conformSuite, SignatureKey: key.PublicBytes(), Credential: c, PublicKey: public}
	if err = errors.Join(err, q.Sign(mls.DefaultSuites(), key)); err != nil {
		r.t.Fatal(err)
	}
	a := new(mimi.GroupInfoResponse)
	r.ask("groupInfo", in, q, a)
	return a, q
}
