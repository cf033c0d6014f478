// Package keys holds the keys of our people's clients: it makes leaves and key packages, hands these out to whom our people have
// consented to, and keeps their private side until they are used, once.
package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"mimigate/core/member/form"
	"mimigate/core/member/record"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

// ErrUser: the address cannot be one of our people's: it is another provider's, or not of one segment.
var ErrUser = errors.New("member: not one of our people")

// Consent says whether one of our people lets somebody bring them into a room, as the answer to a request for key packages has it: by
// mimi.UserSuccess, or else by why not.
type Consent interface {
	Consents(ctx context.Context, target, requester uri.User, room uri.Room) (mimi.UserCode, error)
}

// Credentials vouches for the clients of our people.
type Credentials interface {
	// Credential returns the credential of a client with a signature key, and what its leaf discloses (form.Disclosure); ctx may carry a unit.
	Credential(ctx context.Context, user uri.User, client uri.Client, publicKey []byte) (c mls.Credential, disclosure []byte, err error)
	// Fresh fails for a credential that has run out, with which nobody is to be brought in.
	Fresh(c *mls.Credential) error
}

// Keys are those of a provider's people.
type Keys struct {
	Provider uri.Provider
	Store    record.KeyStore
	Consent  Consent // nil: nobody consents
	// Credentials: nil: our people have Basic credentials, which nobody vouches for.
	Credentials Credentials
	MLS         *mls.Config // with Suites
	Now         func() time.Time
}

// device is the second segment of our clients' addresses: each of our people has one client, this gateway.
const device = "mimigate"

// keyPackageLife is how long a key package that was handed out can be used.
const keyPackageLife = 30 * 24 * time.Hour

// Credential names the client of one of our people, and nobody vouches for it; the error wraps ErrUser.
func (k *Keys) Credential(user uri.User) (mls.Credential, uri.Client, error) {
	if user.Provider() != k.Provider || len(user.Segments()) != 1 {
		return mls.Credential{}, uri.Client{}, ErrUser
	}
	client, err := k.Provider.Client(user.Segments()[0], device)
	return mls.BasicCredential([]byte(client.String())), client, err
}

// Leaf is what a new leaf of one of our people is made of, with a signature key of its own.
func (k *Keys) Leaf(ctx context.Context, user uri.User, suite mls.CipherSuite, life time.Duration) (mls.LeafTemplate, error) {
	credential, client, err := k.Credential(user)
	if err != nil {
		return mls.LeafTemplate{}, err
	}
	key, err := k.MLS.Suites.NewSignatureKey(suite, rand.Reader)
	if err != nil {
		return mls.LeafTemplate{}, fmt.Errorf("member: %w", err)
	}
	var disclosure []byte
	if k.Credentials != nil {
		if credential, disclosure, err = k.Credentials.Credential(ctx, user, client, key.PublicBytes()); err != nil {
			return mls.LeafTemplate{}, fmt.Errorf("member: %w", err)
		}
	}
	return mls.LeafTemplate{Credential: credential, Signature: key, Extensions: form.LeafExtensions(disclosure), Lifetime: life}, nil
}

// New makes a leaf-to-be for one of our people, with keys of its own.
func (k *Keys) New(ctx context.Context, user uri.User, suite mls.CipherSuite, life time.Duration) (*mls.JoinSecrets, error) {
	leaf, err := k.Leaf(ctx, user, suite, life)
	if err != nil {
		return nil, err
	}
	secrets, err := mls.NewKeyPackage(k.MLS, suite, leaf)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return secrets, nil
}

// KeyMaterial implements [mimi.KeyMaterial] for our own people (mimi-protocol-06 §5.2). Each key package is made for the request and
// kept until it is used, once. Who has not consented is not told apart from who does not exist.
func (k *Keys) KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	resp := &mimi.KeyMaterialResponse{Code: mimi.UserNoConsent, User: r.Target}
	requester, room, err := requestOf(from, r)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(k.MLS.Suites); err != nil {
		return nil, fmt.Errorf("%w: %w", mimi.ErrForbidden, err)
	}
	if believe := k.MLS.VerifyCredential; believe != nil {
		if err := believe(&r.Credential, r.SignatureKey); err != nil {
			return nil, fmt.Errorf("%w: %w", mimi.ErrForbidden, err)
		}
	}
	if k.Consent == nil {
		return resp, nil
	}
	err = k.Store.Do(ctx, func(ctx context.Context) error {
		resp.Code, err = k.Consent.Consents(ctx, target, requester, room)
		if err != nil || resp.Code != mimi.UserSuccess {
			return err
		}
		i := slices.IndexFunc(r.Suites, func(s mls.CipherSuite) bool { _, known := k.MLS.Suites[s]; return known })
		if i < 0 {
			resp.Code = mimi.UserNoCompatible
			return nil
		}
		return k.handOut(ctx, target, r, r.Suites[i], resp)
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

func (k *Keys) handOut(ctx context.Context, target uri.User, r *mimi.KeyMaterialRequest, suite mls.CipherSuite, resp *mimi.KeyMaterialResponse) error {
	_, client, err := k.Credential(target)
	if err != nil {
		resp.Code = mimi.UserUnknown
		return nil
	}
	secrets, err := k.New(ctx, target, suite, keyPackageLife)
	if err != nil {
		return err
	}
	if can := secrets.KeyPackage.LeafNode.Capabilities; !has(can, &r.Required) {
		resp.Code = mimi.UserNoCompatible
		resp.Clients = []mimi.ClientKeyMaterial{{Code: mimi.ClientNothingCompatible, Client: client.String(), Capabilities: can}}
		return nil
	}
	ref, err := secrets.KeyPackage.Ref(k.MLS.Suites)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	resp.Code = mimi.UserSuccess
	resp.Clients = []mimi.ClientKeyMaterial{{Code: mimi.ClientSuccess, Client: client.String(), KeyPackage: &secrets.KeyPackage}}
	return k.Store.PutKeyPackage(ctx, ref, mls.Marshal(secrets), k.Now().Add(keyPackageLife))
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

// Secrets returns the private sides of those key packages that are ours.
func (k *Keys) Secrets(ctx context.Context, refs [][]byte) ([]*mls.JoinSecrets, error) {
	var list []*mls.JoinSecrets
	for _, ref := range refs {
		data, err := k.Store.KeyPackage(ctx, ref)
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		secrets, err := mls.UnmarshalJoinSecrets(k.MLS.Suites, data)
		if err != nil {
			return nil, fmt.Errorf("member: stored key package: %w", err)
		}
		list = append(list, secrets)
	}
	return list, nil
}

// Used forgets key packages that were used.
func (k *Keys) Used(ctx context.Context, list []*mls.JoinSecrets) error {
	for _, secrets := range list {
		ref, err := secrets.KeyPackage.Ref(k.MLS.Suites)
		if err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if err := k.Store.DropKeyPackage(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}
