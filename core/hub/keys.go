package hub

import (
	"context"
	"crypto/rand"
	"fmt"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

// signer returns the key with which the hub signs proposals and franks in groups of a cipher suite, and the credential that names
// its provider.
func (h *Hub) signer(ctx context.Context, suite mls.CipherSuite) (*mls.SignatureKey, mls.Credential, error) {
	secret, err := h.Store.HubSecret(ctx, fmt.Sprintf("sign %04x", uint16(suite)), func() ([]byte, error) {
		key, err := h.MLS.Suites.NewSignatureKey(suite, rand.Reader)
		if err != nil {
			return nil, err
		}
		return key.Bytes(), nil
	})
	if err != nil {
		return nil, mls.Credential{}, err
	}
	key, err := h.MLS.Suites.ParseSignatureKey(suite, secret)
	return key, mls.BasicCredential([]byte(h.Provider.String())), err
}

func (h *Hub) hubKey(ctx context.Context) (*mimi.HubKey, error) {
	secret, err := h.Store.HubSecret(ctx, "frank", func() ([]byte, error) {
		key := make([]byte, len(mimi.HubKey{}))
		_, err := rand.Read(key)
		return key, err
	})
	if err != nil {
		return nil, err
	}
	if len(secret) != len(mimi.HubKey{}) {
		return nil, fmt.Errorf("hub: franking key of %d octets", len(secret))
	}
	return (*mimi.HubKey)(secret), nil
}

// Sender returns how the hub stands in external_senders, and as franking_agent, of a room with this cipher suite.
func (h *Hub) Sender(ctx context.Context, suite mls.CipherSuite) (mls.ExternalSender, error) {
	key, credential, err := h.signer(ctx, suite)
	if err != nil {
		return mls.ExternalSender{}, err
	}
	return mls.ExternalSender{SignatureKey: key.PublicBytes(), Credential: credential}, nil
}

// KeyMaterial implements [mimi.KeyMaterial]: it serves the keys of our own users, and passes a request for those of others, made in
// the context of a room of ours by a provider that takes part in it, on to their provider, unchanged both ways (mimi-protocol-06 §5.2).
func (h *Hub) KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	if u, err := uri.ParseUser(r.Target); err != nil || u != target {
		return nil, fmt.Errorf("%w: the target of the path is not that of the request", mimi.ErrBadRequest)
	}
	if target.Provider() == h.Provider {
		return h.Config.KeyMaterial.KeyMaterial(ctx, from, target, r)
	}
	room, err := uri.ParseRoom(r.Room)
	if err != nil || room.Provider() != h.Provider {
		return nil, fmt.Errorf("%w: for no room of ours", mimi.ErrForbidden)
	}
	err = h.Store.Do(ctx, func(ctx context.Context) error {
		hosted, err := h.room(ctx, room)
		if err == nil && !hosted.takesPart(from) {
			return fmt.Errorf("%w: takes no part in the room", mimi.ErrForbidden)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	peer, err := h.KeyPeers.KeyMaterial(target.Provider())
	if err != nil {
		return nil, err
	}
	return peer.KeyMaterial(ctx, h.Provider, target, r)
}
