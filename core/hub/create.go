package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// ErrExists: there is such a room already.
var ErrExists = errors.New("hub: the room exists")

// Create begins to host a room of our domain that one of our members has made: info is signed by it, tree the encoded ratchet tree. The
// room must be in order, and have us as an external sender. It fails with ErrExists, or as the room is not in order.
func (h *Hub) Create(ctx context.Context, id uri.Room, info *mls.GroupInfo, tree []byte) error {
	if id.Provider() != h.Provider {
		return fmt.Errorf("%w: a room of another provider", mimi.ErrForbidden)
	}
	return h.Store.Do(ctx, func(ctx context.Context) error {
		if row, err := h.Store.HubRoom(ctx, id); err != nil || row != nil {
			return errors.Join(err, fmt.Errorf("%w: %s", ErrExists, id))
		}
		g, err := mls.NewPublicGroup(h.MLS, info, tree)
		if err != nil {
			return fmt.Errorf("hub: %w", err)
		}
		state, err := stateOf(id, g)
		if err == nil {
			err = state.Check()
		}
		if err == nil {
			err = h.keepsHub(ctx, g.Context())
		}
		if err == nil {
			err = h.fits(ctx, id, state)
		}
		if err != nil {
			return fmt.Errorf("hub: room %s: %w", id, err)
		}
		r := &hosted{id: id, group: g, memory: memory{row: Row{GroupInfo: mls.Marshal(info)}, state: state, providers: providersOf(state)}}
		r.row.stamp(h.Now())
		r.place = placeOf(state, r.providers)
		if err := h.Store.PutHubPlace(ctx, id, r.place, h.Now()); err != nil {
			return err
		}
		if err := h.Store.ApplyDelta(ctx, stateName(id), g.Snapshot()); err != nil {
			return err
		}
		if err := h.Store.PutHubRoom(ctx, id, &r.row); err != nil {
			return err
		}
		return h.adopt(ctx, r)
	})
}

// GroupInfo implements [mimi.Hub] (mimi-protocol-06 §5.6). Whether a room exists is told only to those who may join it.
func (h *Hub) GroupInfo(ctx context.Context, from uri.Provider, id uri.Room, req *mimi.GroupInfoRequest) (*mimi.GroupInfoResponse, error) {
	resp := &mimi.GroupInfoResponse{Room: id.String(), Code: mimi.GroupInfoNotAuthorized, Suite: req.Suite}
	user, client, err := mimi.Identify(&req.Credential)
	if err != nil || user.Provider() != from || req.Verify(h.MLS.Suites) != nil || h.believes(&req.Credential, req.SignatureKey) != nil {
		return resp, nil
	}
	newcomer := room.Actor{Kind: room.Newcomer, Leaf: room.Leaf{User: user, Client: client}, Claims: claimsOf(&req.Credential)}
	err = h.Store.Do(ctx, func(ctx context.Context) error {
		r, err := h.room(ctx, id)
		if errors.Is(err, mimi.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if newcomer.JoinRole, err = h.joinRole(ctx, r, string(req.JoiningCode), user); err != nil || r.state.MayJoin(newcomer) != nil {
			return err
		}
		if fresh, err := h.once(ctx, id, req); err != nil || !fresh {
			return err
		}
		if newcomer.JoinRole != policy.NoRole { // whom the code lets in when they come (mimi-protocol-06 §5.6)
			if err := h.Store.PutHubGuest(ctx, id, user, string(req.JoiningCode)); err != nil {
				return err
			}
		}
		return h.disclose(ctx, r, req, resp)
	})
	return resp, err
}

// believes asks the authentication service whether a credential may go with a key (RFC 9420 §5.3.1).
func (h *Hub) believes(c *mls.Credential, key []byte) error {
	if h.MLS.VerifyCredential == nil {
		return nil
	}
	return h.MLS.VerifyCredential(c, key)
}

// once reports whether the key that an answer is to be encrypted to is new. The signature of a request covers neither room nor time: who
// has seen one could ask again later, and for other rooms (reading A24).
func (h *Hub) once(ctx context.Context, id uri.Room, req *mimi.GroupInfoRequest) (bool, error) {
	key := sha256.Sum256(append([]byte("groupInfoPublicKey\x00"), req.PublicKey...))
	before, err := h.Store.HubAnswer(ctx, key)
	if err != nil || before != nil {
		return false, err
	}
	return true, h.Store.PutHubAnswer(ctx, key, []byte(id.String()), h.Now())
}

func (h *Hub) disclose(ctx context.Context, r *hosted, req *mimi.GroupInfoRequest, resp *mimi.GroupInfoResponse) error {
	plain := &mimi.GroupInfoPlain{Tree: mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: r.group.RatchetTree()}}
	if err := mls.Unmarshal(r.row.GroupInfo, &plain.GroupInfo); err != nil {
		return fmt.Errorf("hub: stored GroupInfo: %w", err)
	}
	for _, p := range r.proposals {
		m, err := mimi.ParseMessage(p.Message)
		if err != nil {
			return fmt.Errorf("hub: stored proposal: %w", err)
		}
		plain.Pending = append(plain.Pending, mimi.PendingProposal{Proposal: m, Accepted: p.Accepted})
	}
	key, credential, err := h.signer(ctx, r.group.CipherSuite())
	if err != nil {
		return err
	}
	if req.Suite != r.group.CipherSuite() { // the signature is by the room's hub_sender, so in its scheme
		return nil
	}
	resp.Code = mimi.GroupInfoSuccess
	resp.Hub = mls.ExternalSender{SignatureKey: key.PublicBytes(), Credential: credential}
	if err := resp.Seal(h.MLS.Suites, req.PublicKey, plain, key); err != nil {
		*resp = mimi.GroupInfoResponse{Room: r.id.String(), Code: mimi.GroupInfoNotAuthorized}
	}
	return nil
}
