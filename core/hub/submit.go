package hub

import (
	"bytes"
	"context"
	"errors"
	"maps"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

const secSubmit = "mimi-protocol-06 §5.4"

// Submit implements [mimi.Hub] (design §4 step 5). The order of checks is that of mimi-protocol-06 §5.4; a repeated request is answered before any.
func (h *Hub) Submit(ctx context.Context, from uri.Provider, room uri.Room, req *mimi.SubmitMessageRequest) (*mimi.SubmitMessageResponse, error) {
	resp := new(mimi.SubmitMessageResponse)
	err := h.answer(ctx, from, room, req, resp, func(ctx context.Context, r *hosted) error {
		err := h.submit(ctx, from, r, req, resp)
		why, ok := refused(err)
		if !ok {
			return err
		}
		*resp = mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}
		if errors.Is(why, mls.ErrWrongEpoch) {
			*resp = mimi.SubmitMessageResponse{Code: mimi.SubmitEpochTooOld, Epoch: r.group.Epoch()}
		}
		h.Log.Info("message refused", "room", room, "from", from.Domain(), "reason", why)
		return nil
	})
	return resp, err
}

func (h *Hub) submit(ctx context.Context, from uri.Provider, r *hosted, req *mimi.SubmitMessageRequest, resp *mimi.SubmitMessageResponse) error {
	sender, err := r.maySubmit(from, req)
	if err != nil {
		return err
	}
	next := r.memory
	next.row.stamp(h.Now())
	frank, err := h.frank(ctx, r, req, sender, next.row.Accepted)
	if err != nil {
		return err
	}
	if err := h.change(ctx, r, next); err != nil {
		return err
	}
	if err := h.Store.PutHubRoom(ctx, r.id, &r.row); err != nil {
		return err
	}
	*resp = mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Accepted: r.row.Accepted, Frank: frank}
	to := make(map[uri.Provider]Parts)
	for p, receives := range r.providers {
		if receives {
			to[p] = PartEvent
		}
	}
	body := mls.Marshal(&mimi.FanoutMessage{Timestamp: r.row.Accepted, Message: req.Message, Frank: frank})
	return h.fanout(ctx, r, Event{Sequence: r.row.Sequence, Body: body}, to)
}

// maySubmit checks what a hub can of an application message, and returns who sends it.
func (r *hosted) maySubmit(from uri.Provider, req *mimi.SubmitMessageRequest) (uri.User, error) {
	m := req.Message.Private
	if m == nil || m.ContentType != mls.ContentApplication || !bytes.Equal(m.GroupID, r.group.GroupID()) {
		return uri.User{}, invalid(secSubmit, "not an application message for the room's group")
	}
	sender, err := uri.ParseUser(req.Sender)
	if err != nil || sender.Provider() != from {
		return uri.User{}, notAllowed(secSubmit, "the sender is not a user of the provider")
	}
	if err := r.state.MaySend(sender); err != nil {
		return uri.User{}, refuse(err)
	}
	epoch := r.group.Epoch()
	switch {
	case m.Epoch > epoch:
		return uri.User{}, invalid(secSubmit, "of an epoch to come")
	case epoch-m.Epoch > tolerance(r.state.Rules()):
		return uri.User{}, refuse(mls.ErrWrongEpoch)
	}
	dict, err := r.group.Context().Dictionary()
	if err != nil {
		return uri.User{}, err
	}
	if _, safe := dict.Get(mls.ComponentSafeAAD); safe {
		if _, err := mls.ParseSafeAAD(m.AuthenticatedData, false); err != nil {
			return uri.User{}, refuse(err)
		}
	}
	return sender, nil
}

// tolerance is how many epochs an application message may be late; 8 where the room does not say (design §7).
func tolerance(rules *policy.Rules) uint64 {
	if rules.Operational == nil {
		return 8
	}
	return uint64(rules.Operational.Messages.EpochTolerance)
}

// frank marks a message that carries a franking tag, in a room whose franking agent we are (mimi-protocol-06 §5.4.1); nil for others.
func (h *Hub) frank(ctx context.Context, r *hosted, req *mimi.SubmitMessageRequest, sender uri.User, accepted uint64) (*mimi.Frank, error) {
	suite := r.group.CipherSuite()
	dict, err := r.group.Context().Dictionary()
	if err != nil {
		return nil, err
	}
	data, ok := dict.Get(mls.ComponentID(policy.FrankingAgent))
	if !ok {
		return nil, nil
	}
	tag, ok := frankingTag(req.Message.Private.AuthenticatedData)
	if !ok {
		return nil, nil
	}
	key, credential, err := h.signer(ctx, suite)
	if err != nil {
		return nil, err
	}
	agent := mls.Marshal(&mimi.FrankingAgent{SignatureKey: key.PublicBytes(), Credential: credential})
	if !bytes.Equal(agent, data) {
		return nil, nil
	}
	hubKey, err := h.hubKey(ctx)
	if err != nil {
		return nil, err
	}
	return hubKey.Frank(h.MLS.Suites, suite, key, tag, &mimi.FrankingContext{Sender: req.Sender, Room: r.id.String(), Accepted: accepted})
}

func frankingTag(aad []byte) (tag [mimi.TagSize]byte, ok bool) {
	items, err := mls.ParseSafeAAD(aad, false)
	if err != nil {
		return tag, false
	}
	for _, item := range items {
		if item.Component == mls.ComponentID(policy.FrankAAD) && len(item.Data) == len(tag) {
			return [mimi.TagSize]byte(item.Data), true
		}
	}
	return tag, false
}

// everybody returns the providers that hear of handshakes.
func (r *hosted) everybody() map[uri.Provider]Parts {
	to := make(map[uri.Provider]Parts)
	for p := range maps.Keys(r.providers) {
		to[p] = PartEvent
	}
	return to
}
