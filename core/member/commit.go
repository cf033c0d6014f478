package member

import (
	"context"
	"fmt"
	"slices"

	"mimigate/core/member/form"
	"mimigate/core/member/rights"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// maxChanges is how many changes go into one commit (mimi.md §8 recommends a hundred).
const maxChanges = 100

// nextChange finds what is to be committed: requests, and proposals of others when it is our turn. Where the key packages of
// somebody elsewhere are needed, fetching them comes first.
func (m *Members) nextChange(ctx context.Context, s *shared, requests bool) (job, error) {
	if s.vain == s.group.Epoch()+1 {
		return nil, nil
	}
	if requests {
		due, err := m.Store.RoomRequests(ctx, s.id)
		if err != nil {
			return nil, err
		}
		if len(due) > 0 {
			if next, err := m.nextRequest(ctx, s, m.committers(s), due); err != nil || next != nil {
				return next, err
			}
		}
	}
	if len(s.group.Proposals()) == 0 || m.turn(s) > 0 {
		return nil, nil
	}
	committers := m.committers(s)
	if len(committers) == 0 {
		return nil, nil
	}
	return m.makeCommit(ctx, s, committers[0], nil)
}

// nextRequest finds the next job for what was asked for. One leaf commits all that it may; what nobody from here may do, those it is
// about may be able to do themselves.
func (m *Members) nextRequest(ctx context.Context, s *shared, committers []mls.LeafIndex, due []Request) (job, error) {
	var batch []Request
	var by mls.LeafIndex
	var who uri.User
	for i := range due {
		r := &due[i]
		if len(batch) == 0 {
			leaf, ok := m.whoMay(s, committers, r)
			if !ok {
				if next, err := m.byThemself(ctx, s, r); err != nil || next != nil {
					return next, err
				}
				continue
			}
			by = leaf
			l, _ := s.state.Leaf(by)
			who = l.User
		} else if r.Alone || len(batch) == maxChanges || !m.may(s, who, r) {
			continue
		}
		if missing, user := m.lacksKeys(s, r); missing {
			return m.fetchKeys(s, *r, user), nil
		}
		batch = append(batch, *r)
		if r.Alone {
			break
		}
	}
	if len(batch) == 0 {
		return nil, nil
	}
	return m.makeCommit(ctx, s, by, batch)
}

// byThemself lets one of our people do what nobody else from here may: come in, where the room is open to them or their client was
// there before. Nil without an error: they have done what they can, and others have to commit it.
func (m *Members) byThemself(ctx context.Context, s *shared, r *Request) (job, error) {
	user, err := uri.ParseUser(r.Subject)
	ours := err == nil && user.Provider() == m.Provider
	if ours && m.needsLeaf(s, r, user) {
		_, client, err := m.keys.Credential(user)
		if err != nil {
			return nil, err
		}
		if s.state.MayJoin(room.Actor{Leaf: room.Leaf{User: user, Client: client}}) == nil {
			return m.enter(s.id, s.group.CipherSuite(), user), nil
		}
	}
	if _, in := s.leaves[user]; ours && in && r.Role == uint32(policy.NoRole) && rights.MayLeave(s.state, user) {
		return m.depart(s, r, user)
	}
	return func(context.Context) error { return nil }, m.abandon(ctx, s, r.Subject, nobodyMay)
}

// nobodyMay tells people why a change is not even asked for.
const nobodyMay = "nobody from here may do that in this room"

// lacksKeys reports whether a request is to add a user of another provider whose key packages we do not have yet.
func (m *Members) lacksKeys(s *shared, r *Request) (bool, uri.User) {
	user, err := uri.ParseUser(r.Subject)
	if err != nil || user.Provider() == m.Provider || len(r.KeyPackages) > 0 {
		return false, user
	}
	return m.needsLeaf(s, r, user), user
}

// needsLeaf reports whether a user is to have a client in the group and has none, or, as one of ours, none that we have the keys of.
// A change of role alone brings in nobody.
func (m *Members) needsLeaf(s *shared, r *Request, user uri.User) bool {
	_, in := s.leaves[user]
	in = in || user.Provider() != m.Provider && s.state.Clients(user) > 0
	return r.Role > uint32(policy.BannedRole) && !in && (!r.Exact || s.state.Role(user) == policy.NoRole)
}

// plan is what a commit is to contain.
type plan struct {
	subjects  []string
	people    []room.Participant // who is to be what
	proposals []mls.Proposal
	own       []*mls.JoinSecrets
	leaf      *mls.LeafTemplate // what the committer's leaf is made of from then on; nil: of what it is, with new keys or not
}

func (p *plan) empty() bool { return len(p.people) == 0 && len(p.proposals) == 0 && len(p.own) == 0 }

// makeCommit commits what was asked for: it is staged on disk with all that is needed to merge it (design §5 rule iv), and the job
// is to hand it to the hub. Requests that are fulfilled already, or that cannot be, are taken off.
func (m *Members) makeCommit(ctx context.Context, s *shared, by mls.LeafIndex, due []Request) (job, error) {
	p := new(plan)
	for i := range due {
		if err := m.add(ctx, p, s, &due[i]); err != nil {
			if err := m.abandon(ctx, s, due[i].Subject, err.Error()); err != nil {
				return nil, err
			}
			return func(context.Context) error { return nil }, nil // and look again
		}
		if !slices.Contains(p.subjects, due[i].Subject) {
			if err := m.Store.DropRoomRequest(ctx, s.id, due[i].Subject); err != nil {
				return nil, err
			}
		}
	}
	if u := s.state.Change(p.people...); !u.Empty() {
		p.proposals = append(p.proposals, componentUpdate(policy.ParticipantList, u.Marshal()))
	}
	if p.empty() && len(due) > 0 {
		return func(context.Context) error { return nil }, nil // all were fulfilled already
	}
	return m.commitPlan(ctx, s, by, p)
}

// commitPlan stages a commit on disk; the job is to hand it to the hub.
func (m *Members) commitPlan(ctx context.Context, s *shared, by mls.LeafIndex, p *plan) (job, error) {
	request, step, err := m.stage(s, by, p)
	if err != nil {
		m.Log.Warn("a commit is not possible", "room", s.id, "error", err)
		return func(context.Context) error { return nil }, m.refused(ctx, s, p.subjects, "it is not possible in this room")
	}
	if err := m.keep(ctx, s, step); err != nil {
		return nil, err
	}
	if err := m.Store.SetPendingCommit(ctx, s.id, &Commit{Request: request, Subjects: p.subjects}); err != nil {
		return nil, err
	}
	return m.update(s.id, request)
}

func componentUpdate(c policy.Component, data []byte) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: mls.ComponentID(c), Operation: mls.OpUpdate, Update: data}}
}

// add enters a request into the plan; one that is fulfilled already is left out. An error says why it can never be fulfilled.
func (m *Members) add(ctx context.Context, p *plan, s *shared, r *Request) error {
	if r.Subject == "" {
		return m.addDescription(p, s, r)
	}
	user, err := uri.ParseUser(r.Subject)
	if err != nil {
		return err
	}
	now := s.state.Role(user)
	want := policy.RoleIndex(r.Role)
	if !r.Exact && now == policy.BannedRole {
		return fmt.Errorf("banned from the room")
	}
	if !r.Exact && now != policy.NoRole {
		want = now
	}
	changes := want != now
	if changes {
		p.people = append(p.people, participant(user, uint32(want)))
	}
	switch {
	case want <= policy.BannedRole:
		for l := range s.state.Leaves() {
			if l.User == user {
				p.proposals = append(p.proposals, mls.Proposal{Type: mls.ProposalRemove, Remove: l.Index})
				changes = true
			}
		}
	case !m.needsLeaf(s, r, user):
	case user.Provider() == m.Provider:
		secrets, err := m.keys.New(ctx, user, s.group.CipherSuite(), 0)
		if err != nil {
			return err
		}
		for _, l := range s.lost {
			if l.User == user {
				p.proposals = append(p.proposals, mls.Proposal{Type: mls.ProposalRemove, Remove: l.Index})
			}
		}
		p.own = append(p.own, secrets)
		changes = true
	default:
		for _, data := range r.KeyPackages {
			kp := new(mls.KeyPackage)
			if err := mls.Unmarshal(data, kp); err != nil {
				return err
			}
			p.proposals = append(p.proposals, mls.Proposal{Type: mls.ProposalAdd, Add: kp})
			changes = true
		}
	}
	if changes {
		p.subjects = append(p.subjects, r.Subject)
	}
	return nil
}

func (m *Members) addDescription(p *plan, s *shared, r *Request) error {
	c := room.Contents{Metadata: s.state.Metadata()}
	if c.Metadata.Name == r.Name && c.Metadata.Subject == r.About {
		return nil
	}
	c.Metadata.Name, c.Metadata.Subject = r.Name, r.About
	p.proposals = append(p.proposals, componentUpdate(policy.RoomMetadata, c.Encode(policy.RoomMetadata)))
	p.subjects = append(p.subjects, r.Subject)
	return nil
}

// stage makes the commit and the request that carries it. Our own hub needs no Welcome for our leaves, works the GroupInfo out and
// keeps the tree; of another we do not know.
func (m *Members) stage(s *shared, by mls.LeafIndex, p *plan) ([]byte, *mls.Step, error) {
	ours := m.joins(s.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Where leaves of ours come in, new path keys would be known to nobody but whom they are encrypted for anyway, and in a tree of
	// new leaves there is no node that many of them share: each would cost an encryption (RFC 9420 §12.4 asks for none).
	step, err := s.group.Commit(by, mls.CommitOptions{Proposals: p.proposals, Own: p.own, OmitPath: len(p.own) > 0, Leaf: p.leaf,
		WantGroupInfo: true, OmitOwnWelcome: ours, Framing: form.HandshakeFraming(s.group.Context())})
	if err != nil {
		return nil, nil, err
	}
	return mls.Marshal(updateRequest(step, nil, ours)), step, nil
}

// updateRequest carries a commit; tree is that of an external one.
func updateRequest(step *mls.Step, tree []byte, ours bool) *mimi.UpdateRequest {
	if tree == nil {
		tree = step.Tree()
	}
	msg, err := mimi.ParseMessage(step.Message)
	if err != nil {
		panic("member: the engine's own commit: " + err.Error())
	}
	req := &mimi.UpdateRequest{Message: msg, Welcome: step.Welcome, GroupInfo: mimi.GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: tree}}
	if ours {
		req.GroupInfo = mimi.GroupInfoOption{Partial: step.GroupInfo.Partial()}
		req.Tree = mls.RatchetTreeOption{Representation: mls.TreeDistributionService}
	}
	return req
}
