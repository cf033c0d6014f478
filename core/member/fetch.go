package member

import (
	"context"

	"mimigate/core/member/form"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

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
	return m.keys.Secrets(ctx, refs)
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
	leaf, err := m.keys.Leaf(ctx, m.gateway, suite, 0)
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
