package hub

import (
	"context"
	"errors"
	"slices"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

const secUpdate = "mimi-protocol-06 §5.3"

// Update implements [mimi.Hub]: the engine judges the handshake by RFC 9420, the room's state by its policy, all proposals of a
// commit together. Of two commits that race for an epoch the one whose unit comes first takes it.
func (h *Hub) Update(ctx context.Context, from uri.Provider, id uri.Room, req *mimi.UpdateRequest) (*mimi.UpdateRoomResponse, error) {
	resp := new(mimi.UpdateRoomResponse)
	err := h.answer(ctx, from, id, req, resp, func(ctx context.Context, r *hosted) error {
		var out outgoing
		err := h.Store.Do(ctx, func(ctx context.Context) (err error) { // a part, which a refusal undoes
			out, err = h.update(ctx, from, r, req)
			return err
		})
		if err == nil {
			*resp = mimi.UpdateRoomResponse{Code: mimi.UpdateSuccess, Accepted: r.row.Accepted}
			if err := h.cascade(ctx, r); err != nil {
				return err
			}
			return h.fanout(ctx, r, out.event, out.to) // last, as a follower in this process may go on from there
		}
		why, ok := refused(err)
		if !ok {
			return err
		}
		*resp = mimi.UpdateRoomResponse{Code: mimi.UpdateInvalidProposal, Description: why.Error()}
		switch {
		case errors.Is(why, mls.ErrWrongEpoch):
			resp.Code, resp.Epoch = mimi.UpdateWrongEpoch, r.group.Epoch()
		case errors.Is(why, policy.ErrDenied):
			resp.Code = mimi.UpdateNotAllowed
		}
		h.Log.Info("update refused", "room", id, "from", from.Domain(), "reason", why)
		return nil
	})
	return resp, err
}

// outgoing is an accepted update, until its event is fanned out.
type outgoing struct {
	event Event
	to    map[uri.Provider]Parts
}

func (h *Hub) update(ctx context.Context, from uri.Provider, r *hosted, req *mimi.UpdateRequest) (outgoing, error) {
	switch {
	case req.Message.Public == nil:
		return outgoing{}, notAllowed(secUpdate, "a handshake that is no PublicMessage")
	case req.IsCommit():
		return h.commit(ctx, from, r, req)
	}
	return h.propose(ctx, from, r, append([]mimi.Message{req.Message}, req.More...))
}

// process gives a message to the engine. What the engine does not take is refused.
func (r *hosted) process(m mimi.Message) (*mls.Step, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step, err := r.group.Process(m.Message)
	if err != nil {
		return nil, refuse(err)
	}
	return step, nil
}

// propose accepts a bundle of proposals, all of them or none.
func (h *Hub) propose(ctx context.Context, from uri.Provider, r *hosted, list []mimi.Message) (out outgoing, err error) {
	next := r.memory
	next.row.stamp(h.Now())
	if err := h.stage(ctx, from, r, list, &next); err != nil {
		return out, err
	}
	if err := h.fits(ctx, r.id, next.state); err != nil {
		return out, err
	}
	out.to = r.everybody()
	if err := h.change(ctx, r, next); err != nil {
		return out, err
	}
	out.event = Event{Sequence: r.row.Sequence, Body: mls.Marshal(&mimi.FanoutMessage{
		Timestamp: r.row.Accepted, Message: list[0], More: list[1:]})}
	if err := h.Store.SetHubProposals(ctx, r.id, r.proposals); err != nil {
		return out, err
	}
	return out, h.Store.PutHubRoom(ctx, r.id, &r.row)
}

// stage gives a bundle of proposals to the engine and the room, and adds them to what is pending in next.
func (h *Hub) stage(ctx context.Context, from uri.Provider, r *hosted, list []mimi.Message, next *memory) error {
	next.proposals = slices.Clone(next.proposals)
	var pending []*mls.PendingProposal
	for _, m := range list {
		step, err := r.process(m)
		if err != nil {
			return err
		}
		if err := h.keep(ctx, r, step); err != nil {
			return err
		}
		pending = append(pending, step.Proposal)
		next.proposals = append(next.proposals, ProposalRow{Sequence: next.row.Sequence, Accepted: next.row.Accepted, Message: m.Raw})
	}
	u, err := h.bundle(r.group, pending)
	if err != nil {
		return refuse(err)
	}
	if err := r.comesFrom(from, u.Actor); err != nil {
		return err
	}
	if next.state, err = next.state.Apply(u); err != nil {
		return refuse(err)
	}
	return nil
}

// bundle expresses proposals of one sender in the room's terms.
func (h *Hub) bundle(g *mls.PublicGroup, list []*mls.PendingProposal) (room.Update, error) {
	first := list[0]
	u := room.Update{}
	for _, p := range list {
		if p.Sender != first.Sender || p.Sender.Type == mls.SenderNewMemberProposal && len(list) > 1 {
			return u, policy.Invalid(secUpdate, "proposals of several senders in one request")
		}
		q, err := room.Translate(p.Proposal, p.Ref, p.Sender.Leaf(), identify)
		if err != nil {
			return u, err
		}
		u.Proposals = append(u.Proposals, q)
	}
	var joiner *mls.LeafNode
	if first.Proposal.Type == mls.ProposalAdd {
		joiner = &first.Proposal.Add.LeafNode
	}
	var err error
	u.Actor, err = actor(g, first.Sender, joiner)
	return u, err
}

// actor says who signed a handshake: a leaf, an external sender, or, by the leaf it brings, somebody new.
func actor(g *mls.PublicGroup, s mls.Sender, joiner *mls.LeafNode) (room.Actor, error) {
	switch s.Type {
	case mls.SenderMember:
		return room.Actor{Kind: room.Member, Leaf: room.Leaf{Index: s.Leaf()}}, nil
	case mls.SenderExternal:
		senders, err := externalSenders(g.Context())
		if err != nil || int64(s.Index) >= int64(len(senders)) {
			return room.Actor{}, policy.Invalid(secUpdate, "an external sender that is not listed")
		}
		c := &senders[s.Index].Credential
		p, err := uri.ParseProvider(string(c.Identity))
		return room.Actor{Kind: room.Server, Provider: p, Claims: claimsOf(c)}, err
	}
	if joiner == nil {
		return room.Actor{}, policy.Invalid(secUpdate, "a newcomer without a leaf")
	}
	a := room.Actor{Kind: room.Newcomer, Claims: claimsOf(&joiner.Credential)}
	var err error
	if a.Leaf, err = identify(joiner); err != nil {
		return a, err
	}
	a.Client, err = room.ClientOf(joiner)
	return a, err
}

// comesFrom checks that an update was handed in by the provider of whoever made it: it knows what its users want.
func (r *hosted) comesFrom(from uri.Provider, a room.Actor) error {
	by := a.Provider
	switch a.Kind {
	case room.Member:
		l, ok := r.state.Leaf(a.Leaf.Index)
		if !ok {
			return invalid(secUpdate, "the sender's leaf is blank")
		}
		by = l.User.Provider()
	case room.Newcomer:
		by = a.Leaf.User.Provider()
	}
	if by != from {
		return notAllowed(secUpdate, "made by a user of another provider")
	}
	return nil
}

// commit begins a new epoch.
func (h *Hub) commit(ctx context.Context, from uri.Provider, r *hosted, req *mimi.UpdateRequest) (out outgoing, err error) {
	commit, err := r.process(req.Message)
	if err != nil {
		return out, err
	}
	u, err := commitUpdate(r.group, commit, req)
	if err != nil {
		return out, refuse(err)
	}
	if err := r.comesFrom(from, u.Actor); err != nil {
		return out, err
	}
	code, err := h.guest(ctx, r, &u.Actor)
	if err != nil {
		return out, err
	}
	next := r.memory
	if next.state, err = r.state.Apply(u); err != nil {
		return out, refuse(err)
	}
	if code != "" {
		if err := h.Store.UseHubLink(ctx, r.id, code, u.Actor.Leaf.User); err != nil {
			return out, err
		}
	}
	if err := h.fits(ctx, r.id, next.state); err != nil {
		return out, err
	}
	if next.row.GroupInfo, err = r.groupInfo(commit, req); err != nil {
		return out, err
	}
	if err := h.keepsHub(ctx, commit.Commit.Context); err != nil {
		return out, err
	}
	out.to = r.everybody()
	out.to[from] = PartEvent // somebody who joins by an external commit hears of it like the others
	if err := h.routeWelcome(from, commit, req.Welcome, out.to); err != nil {
		return out, err
	}
	var wishes []room.Participant // of the hub, which an external commit cannot take
	if u.Actor.Kind == room.Newcomer {
		wishes = h.wishes(r)
	}
	tree := commit.Tree()
	next.row.stamp(h.Now())
	next.proposals = nil
	if err := h.merge(ctx, r, commit); err != nil {
		return out, err
	}
	if err := h.change(ctx, r, next); err != nil {
		return out, err
	}
	renewed, err := h.renew(ctx, r, wishes)
	if err != nil {
		return out, err
	}
	out.event = Event{Sequence: r.row.Sequence, Body: mls.Marshal(&mimi.FanoutMessage{Timestamp: r.row.Accepted, Message: req.Message, More: renewed})}
	if req.Welcome != nil {
		out.event.Welcome = mls.Marshal(&mimi.FanoutMessage{Timestamp: r.row.Accepted,
			Message: mimi.NewMessage(&mls.Message{WireFormat: mls.WireWelcome, Welcome: req.Welcome}),
			Tree:    mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: tree}})
	}
	return out, h.Store.PutHubRoom(ctx, r.id, &r.row)
}

func (h *Hub) merge(ctx context.Context, r *hosted, commit *mls.Step) error {
	r.mu.Lock()
	step, err := r.group.Merge(commit)
	r.mu.Unlock()
	if err != nil {
		return refuse(err)
	}
	return h.keep(ctx, r, step)
}

// commitUpdate expresses a commit in the room's terms.
func commitUpdate(g *mls.PublicGroup, step *mls.Step, req *mimi.UpdateRequest) (room.Update, error) {
	u := room.Update{Commit: true}
	for _, p := range step.Commit.Proposals {
		if p.Ref != "" {
			u.Proposals = append(u.Proposals, room.Proposal{Ref: p.Ref})
			continue
		}
		q, err := room.Translate(p.Proposal, "", p.Sender.Leaf(), identify)
		if err != nil {
			return u, err
		}
		u.Proposals = append(u.Proposals, q)
	}
	var joiner *mls.LeafNode
	if path := req.Message.Public.Content.Commit.Path; path != nil {
		joiner = &path.LeafNode
	}
	var err error
	u.Actor, err = actor(g, step.Sender, joiner)
	return u, err
}

// groupInfo returns the GroupInfo of the epoch that a commit begins. Its signature is also how the hub knows that the committer
// vouches for the confirmation tag, which it cannot check.
func (r *hosted) groupInfo(commit *mls.Step, req *mimi.UpdateRequest) ([]byte, error) {
	info := req.GroupInfo.Full
	var err error
	switch {
	case info == nil:
		info, err = r.group.Rebuild(commit, req.GroupInfo.Partial)
	default:
		err = r.group.CheckGroupInfo(commit, info)
	}
	if err != nil {
		return nil, refuse(err)
	}
	if _, has := info.Extensions.Get(mls.ExtRatchetTree); has {
		return nil, invalid(secUpdate, "the GroupInfo carries the ratchet tree")
	}
	return mls.Marshal(info), nil
}

func externalSenders(c *mls.GroupContext) (mls.ExternalSenders, error) {
	var list mls.ExternalSenders
	data, ok := c.Extensions.Get(mls.ExtExternalSenders)
	if !ok {
		return nil, nil
	}
	return list, mls.Unmarshal(data, &list)
}

// keepsHub: the hub is an external sender in every epoch (mimi-protocol-06 §7).
func (h *Hub) keepsHub(ctx context.Context, c *mls.GroupContext) error {
	us, err := h.Sender(ctx, c.CipherSuite)
	if err != nil {
		return err
	}
	_, err = senderIndex(c, us)
	return err
}

// routeWelcome finds by the KeyPackageRefs of a Welcome which providers it is for (mimi-protocol-06 §5.2, §5.5): those of the users
// whose key packages the commit adds. Only leaves of the committer's own provider may be added without one, as it has
// no need of it.
func (h *Hub) routeWelcome(from uri.Provider, commit *mls.Step, w *mls.Welcome, to map[uri.Provider]Parts) error {
	added := make(map[string]uri.Provider)
	for _, a := range commit.Commit.Added {
		ref, err := a.KeyPackage.Ref(h.MLS.Suites)
		if err != nil {
			return refuse(err)
		}
		l, err := identify(&a.KeyPackage.LeafNode)
		if err != nil {
			return refuse(err)
		}
		added[string(ref)] = l.User.Provider()
	}
	if w != nil {
		for _, s := range w.Secrets {
			p, ok := added[string(s.NewMember)]
			if !ok {
				return invalid(secUpdate, "the Welcome is for a key package that is not added")
			}
			to[p] |= PartWelcome
			delete(added, string(s.NewMember))
		}
	}
	for _, p := range added {
		if p != from {
			return invalid(secUpdate, "a client is added without a Welcome")
		}
	}
	return nil
}
