package member

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"mimigate/core/member/form"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

// device is the second segment of our clients' addresses: each of our people has one client, this gateway.
const device = "mimigate"

// keyPackageLife is how long a key package that was handed out can be used.
const keyPackageLife = 30 * 24 * time.Hour

// credential names the client of one of our people, and nobody vouches for it; the error wraps ErrUser.
func (m *Members) credential(user uri.User) (mls.Credential, uri.Client, error) {
	if user.Provider() != m.Provider || len(user.Segments()) != 1 {
		return mls.Credential{}, uri.Client{}, ErrUser
	}
	client, err := m.Provider.Client(user.Segments()[0], device)
	return mls.BasicCredential([]byte(client.String())), client, err
}

// leafOf is what a new leaf of one of our people is made of, with a signature key of its own.
func (m *Members) leafOf(ctx context.Context, user uri.User, suite mls.CipherSuite, life time.Duration) (mls.LeafTemplate, error) {
	credential, client, err := m.credential(user)
	if err != nil {
		return mls.LeafTemplate{}, err
	}
	key, err := m.MLS.Suites.NewSignatureKey(suite, rand.Reader)
	if err != nil {
		return mls.LeafTemplate{}, fmt.Errorf("member: %w", err)
	}
	var disclosure []byte
	if m.Credentials != nil {
		if credential, disclosure, err = m.Credentials.Credential(ctx, user, client, key.PublicBytes()); err != nil {
			return mls.LeafTemplate{}, fmt.Errorf("member: %w", err)
		}
	}
	return mls.LeafTemplate{Credential: credential, Signature: key, Extensions: form.LeafExtensions(disclosure), Lifetime: life}, nil
}

// newKeyPackage makes a leaf-to-be for one of our people, with keys of its own.
func (m *Members) newKeyPackage(ctx context.Context, user uri.User, suite mls.CipherSuite, life time.Duration) (*mls.JoinSecrets, error) {
	leaf, err := m.leafOf(ctx, user, suite, life)
	if err != nil {
		return nil, err
	}
	secrets, err := mls.NewKeyPackage(m.MLS, suite, leaf)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return secrets, nil
}

// KeyMaterial implements [mimi.KeyMaterial] for our own people (mimi-protocol-06 §5.2). Each key package is made for the request and
// kept until it is used, once. Who has not consented is not told apart from who does not exist.
func (m *Members) KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	resp := &mimi.KeyMaterialResponse{Code: mimi.UserNoConsent, User: r.Target}
	requester, room, err := requestOf(from, r)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(m.MLS.Suites); err != nil {
		return nil, fmt.Errorf("%w: %w", mimi.ErrForbidden, err)
	}
	if believe := m.MLS.VerifyCredential; believe != nil {
		if err := believe(&r.Credential, r.SignatureKey); err != nil {
			return nil, fmt.Errorf("%w: %w", mimi.ErrForbidden, err)
		}
	}
	if m.Consent == nil {
		return resp, nil
	}
	err = m.Store.Do(ctx, func(ctx context.Context) error {
		resp.Code, err = m.Consent.Consents(ctx, target, requester, room)
		if err != nil || resp.Code != mimi.UserSuccess {
			return err
		}
		i := slices.IndexFunc(r.Suites, func(s mls.CipherSuite) bool { _, known := m.MLS.Suites[s]; return known })
		if i < 0 {
			resp.Code = mimi.UserNoCompatible
			return nil
		}
		return m.handOut(ctx, target, r, r.Suites[i], resp)
	})
	return resp, err
}

// requestOf checks who asks: a request comes from the requester's provider, or by way of the hub of the room it is for, and its
// credential is the requester's.
func requestOf(from uri.Provider, r *mimi.KeyMaterialRequest) (requester uri.User, room uri.Room, err error) {
	if requester, err = uri.ParseUser(r.Requester); err != nil {
		return requester, room, fmt.Errorf("%w: requester: %w", mimi.ErrBadRequest, err)
	}
	if r.Room != "" {
		if room, err = uri.ParseRoom(r.Room); err != nil {
			return requester, room, fmt.Errorf("%w: room: %w", mimi.ErrBadRequest, err)
		}
	}
	if from != requester.Provider() && from != room.Provider() {
		return requester, room, fmt.Errorf("%w: the provider is neither the requester's nor the room's hub", mimi.ErrForbidden)
	}
	if user, _, err := mimi.Identify(&r.Credential); err != nil || user != requester {
		return requester, room, fmt.Errorf("%w: the credential is not the requester's", mimi.ErrForbidden)
	}
	return requester, room, nil
}

func (m *Members) handOut(ctx context.Context, target uri.User, r *mimi.KeyMaterialRequest, suite mls.CipherSuite, resp *mimi.KeyMaterialResponse) error {
	_, client, err := m.credential(target)
	if err != nil {
		resp.Code = mimi.UserUnknown
		return nil
	}
	secrets, err := m.newKeyPackage(ctx, target, suite, keyPackageLife)
	if err != nil {
		return err
	}
	if can := secrets.KeyPackage.LeafNode.Capabilities; !has(can, &r.Required) {
		resp.Code = mimi.UserNoCompatible
		resp.Clients = []mimi.ClientKeyMaterial{{Code: mimi.ClientNothingCompatible, Client: client.String(), Capabilities: can}}
		return nil
	}
	ref, err := secrets.KeyPackage.Ref(m.MLS.Suites)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	resp.Code = mimi.UserSuccess
	resp.Clients = []mimi.ClientKeyMaterial{{Code: mimi.ClientSuccess, Client: client.String(), KeyPackage: &secrets.KeyPackage}}
	return m.Store.PutKeyPackage(ctx, ref, mls.Marshal(secrets), m.Now().Add(keyPackageLife))
}

// has reports whether a client has all that is required of it; what RFC 9420 §7.2 calls default every client has.
func has(can *mls.Capabilities, want *mls.RequiredCapabilities) bool {
	const lastDefaultExtension, lastDefaultProposal = mls.ExtExternalSenders, mls.ProposalGroupContextExtensions
	return !slices.ContainsFunc(want.Extensions, func(t mls.ExtensionType) bool {
		return t > lastDefaultExtension && !slices.Contains(can.Extensions, t)
	}) && !slices.ContainsFunc(want.Proposals, func(t mls.ProposalType) bool {
		return t > lastDefaultProposal && !slices.Contains(can.Proposals, t)
	}) && !slices.ContainsFunc(want.Credentials, func(t mls.CredentialType) bool { return !slices.Contains(can.Credentials, t) })
}

// secretsOf returns the private sides of those key packages that are ours.
func (m *Members) secretsOf(ctx context.Context, refs [][]byte) ([]*mls.JoinSecrets, error) {
	var list []*mls.JoinSecrets
	for _, ref := range refs {
		data, err := m.Store.KeyPackage(ctx, ref)
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		secrets, err := mls.UnmarshalJoinSecrets(m.MLS.Suites, data)
		if err != nil {
			return nil, fmt.Errorf("member: stored key package: %w", err)
		}
		list = append(list, secrets)
	}
	return list, nil
}

// ownSecrets returns the private sides of the key packages of ours that a commit adds, by value or by a proposal that waits.
func (m *Members) ownSecrets(ctx context.Context, s *shared, msg *mls.Message) ([]*mls.JoinSecrets, error) {
	if msg.Public == nil || msg.Public.Content.Commit == nil {
		return nil, nil
	}
	var adds []*mls.Proposal
	for _, p := range msg.Public.Content.Commit.Proposals {
		if p.Proposal != nil {
			adds = append(adds, p.Proposal)
		}
	}
	for _, p := range s.group.Proposals() {
		adds = append(adds, p.Proposal)
	}
	var refs [][]byte
	for _, p := range adds {
		if p.Type != mls.ProposalAdd {
			continue
		}
		if user, _, err := mimi.Identify(&p.Add.LeafNode.Credential); err != nil || user.Provider() != m.Provider {
			continue
		}
		if ref, err := p.Add.Ref(m.MLS.Suites); err == nil {
			refs = append(refs, ref)
		}
	}
	return m.secretsOf(ctx, refs)
}

// usedUp forgets key packages that were used.
func (m *Members) usedUp(ctx context.Context, list []*mls.JoinSecrets) error {
	for _, secrets := range list {
		ref, err := secrets.KeyPackage.Ref(m.MLS.Suites)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if err := m.Store.DropKeyPackage(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// fetchKeys is the job of asking, by way of the room's hub, for the key packages of a user elsewhere who is to be added.
func (m *Members) fetchKeys(s *shared, r Request, user uri.User) job {
	id, suite := s.id, s.group.CipherSuite()
	return func(ctx context.Context) error {
		req, err := m.keyRequest(ctx, id, suite, user)
		if err != nil {
			return err
		}
		by, err := m.Peers.KeyMaterial(id.Provider())
		if err != nil {
			return err
		}
		resp, err := by.KeyMaterial(ctx, m.Provider, user, req)
		if mimi.Final(err) {
			resp, err = &mimi.KeyMaterialResponse{Code: mimi.UserUnknown}, nil
		}
		if err != nil {
			return err
		}
		return m.Store.Do(ctx, func(ctx context.Context) error { return m.fetched(ctx, id, r, user, resp) })
	}
}

func (m *Members) keyRequest(ctx context.Context, id uri.Room, suite mls.CipherSuite, target uri.User) (*mimi.KeyMaterialRequest, error) {
	leaf, err := m.leafOf(ctx, m.gateway, suite, 0)
	if err != nil {
		return nil, err
	}
	req := &mimi.KeyMaterialRequest{Requester: m.gateway.String(), Target: target.String(), Room: id.String(),
		Suites: []mls.CipherSuite{suite}, Required: form.RequiredCapabilities(), SignatureKey: leaf.Signature.PublicBytes(), Credential: leaf.Credential}
	return req, req.Sign(m.MLS.Suites, leaf.Signature)
}

// fetched keeps the key packages with the request, if they are good and the user's own.
func (m *Members) fetched(ctx context.Context, id uri.Room, r Request, user uri.User, resp *mimi.KeyMaterialResponse) error {
	s, err := m.room(ctx, id)
	if err != nil {
		return err
	}
	for _, c := range resp.Clients {
		if c.Code != mimi.ClientSuccess || mls.VerifyKeyPackage(m.MLS, c.KeyPackage) != nil {
			continue
		}
		if owner, _, err := mimi.Identify(&c.KeyPackage.LeafNode.Credential); err != nil || owner != user {
			continue
		}
		if m.Credentials != nil && m.Credentials.Fresh(&c.KeyPackage.LeafNode.Credential) != nil {
			continue
		}
		r.KeyPackages = append(r.KeyPackages, mls.Marshal(c.KeyPackage))
	}
	if len(r.KeyPackages) == 0 {
		return m.abandon(ctx, s, r.Subject, unavailable(resp.Code))
	}
	return m.Store.PutRoomRequest(ctx, id, &r)
}

// unavailable says for people why a user cannot be added.
func unavailable(code mimi.UserCode) string {
	switch code {
	case mimi.UserNoConsent, mimi.UserNoConsentForThisOne:
		return "they have not agreed to be brought into this room"
	case mimi.UserUnknown, mimi.UserDeleted:
		return "there is nobody of that address"
	}
	return "none of their clients can join this room"
}
