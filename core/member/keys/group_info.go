package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

// ErrNotLetIn: the hub gives no GroupInfo to this user, or there is no such room.
var ErrNotLetIn = errors.New("member: the room does not let them in")

// GroupInfo asks a room's hub for what an external commit needs, as the owner of a leaf-to-be, and checks that the answer is the
// hub's and of this room (mimi-protocol-06 §5.6).
func (k *Keys) GroupInfo(ctx context.Context, hub mimi.Hub, id uri.Room, suite mls.CipherSuite, leaf mls.LeafTemplate) (*mimi.GroupInfoPlain, error) {
	req := &mimi.GroupInfoRequest{Suite: suite, SignatureKey: leaf.Signature.PublicBytes(), Credential: leaf.Credential}
	private, err := req.NewKey(k.MLS.Suites, leaf.Signature)
	if err == nil {
		err = req.Sign(k.MLS.Suites, leaf.Signature)
	}
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	resp, err := hub.GroupInfo(ctx, k.Provider, id, req)
	switch {
	case mimi.Final(err), err == nil && resp.Code != mimi.GroupInfoSuccess:
		return nil, ErrNotLetIn
	case err != nil:
		return nil, err
	}
	plain, err := resp.Open(k.MLS.Suites, private)
	if err != nil || resp.Room != id.String() {
		return nil, fmt.Errorf("member: the hub's GroupInfo: %w", errors.Join(err, ErrNotLetIn))
	}
	var senders mls.ExternalSenders
	data, _ := plain.GroupInfo.Context.Extensions.Get(mls.ExtExternalSenders)
	if err := mls.Unmarshal(data, &senders); err != nil || !slices.ContainsFunc(senders, func(s mls.ExternalSender) bool {
		return bytes.Equal(s.SignatureKey, resp.Hub.SignatureKey) && s.Credential.Equal(&resp.Hub.Credential)
	}) {
		return nil, fmt.Errorf("%w: signed by nobody of the room's hub", ErrNotLetIn)
	}
	return plain, nil
}
