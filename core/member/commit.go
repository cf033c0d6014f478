package member

import (
	"context"
	"fmt"
	"slices"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// maxChanges is how many changes go into one commit (mimi.md §8 recommends a hundred).
const maxChanges = 100

// nextChange finds what is to be committed: requests, and proposals of others in a room of ours. Where the key packages of
// somebody elsewhere are needed, fetching them comes first.
func (m *Members) nextChange(ctx context.Context, s *shared, requests bool) (job, error) {
	if s.vain == s.group.Epoch()+1 {
		return nil, nil
	}
	var due []Request
	if requests {
		var err error
		if due, err = m.Store.RoomRequests(ctx, s.id); err != nil {
			return nil, err
		}
	}
	for i := range due {
		if missing, user := m.lacksKeys(s, &due[i]); missing {
			return m.fetchKeys(s, due[i], user), nil
		}
	}
	switch {
	case len(due) > 0 && due[0].Alone:
		due = due[:1]
	case len(due) > 0:
		due = slices.DeleteFunc(due, func(r Request) bool { return r.Alone })
		due = due[:min(len(due), maxChanges)]
	}
	if len(due) == 0 && (len(s.group.Proposals()) == 0 || !m.joins(s.id)) {
		return nil, nil
	}
	return m.makeCommit(ctx, s, due)
}

// lacksKeys reports whether a request is to add a user of another provider whose key packages we do not have yet.
func (m *Members) lacksKeys(s *shared, r *Request) (bool, uri.User) {
	user, err := uri.ParseUser(r.Subject)
	if err != nil || user.Provider() == m.Provider || len(r.KeyPackages) > 0 {
		return false, user
	}
	return needsLeaf(s, r, user), user
}

// needsLeaf reports whether a user is to have a client in the group and has none. A change of role alone brings in nobody.
func needsLeaf(s *shared, r *Request, user uri.User) bool {
	return r.Role > uint32(policy.BannedRole) && s.state.Clients(user) == 0 && (!r.Exact || s.state.Role(user) == policy.NoRole)
}

// plan is what a commit is to contain.
type plan struct {
	subjects  []string
	people    []room.Participant // who is to be what
	proposals []mls.Proposal
	own       []*mls.JoinSecrets
}

func (p *plan) empty() bool { return len(p.people) == 0 && len(p.proposals) == 0 && len(p.own) == 0 }

// makeCommit commits what was asked for: it is staged on disk with all that is needed to merge it (design §5 rule iv), and the job
// is to hand it to the hub. Requests that are fulfilled already, or that cannot be, are taken off.
func (m *Members) makeCommit(ctx context.Context, s *shared, due []Request) (job, error) {
	p := new(plan)
	for i := range due {
		if err := m.add(p, s, &due[i]); err != nil {
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
	if p.empty() && (len(s.group.Proposals()) == 0 || !m.joins(s.id)) {
		return nil, nil
	}
	request, step, err := m.stage(s, p)
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
func (m *Members) add(p *plan, s *shared, r *Request) error {
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
	case !needsLeaf(s, r, user):
	case user.Provider() == m.Provider:
		secrets, err := m.newKeyPackage(user, s.group.CipherSuite(), 0)
		if err != nil {
			return err
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
func (m *Members) stage(s *shared, p *plan) ([]byte, *mls.Step, error) {
	ours := m.joins(s.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Where leaves of ours come in, new path keys would be known to nobody but whom they are encrypted for anyway, and in a tree of
	// new leaves there is no node that many of them share: each would cost an encryption (RFC 9420 §12.4 asks for none).
	step, err := s.group.Commit(m.committer(s), mls.CommitOptions{Proposals: p.proposals, Own: p.own, OmitPath: len(p.own) > 0,
		WantGroupInfo: true, OmitOwnWelcome: ours, Framing: handshakeFraming(s.group)})
	if err != nil {
		return nil, nil, err
	}
	return mls.Marshal(updateRequest(step, ours)), step, nil
}

// handshakeFraming is the authenticated data of a handshake: empty in the form that the group wants.
func handshakeFraming(g *mls.Group) mls.Framing {
	dict, err := g.Context().Dictionary()
	if _, safe := dict.Get(mls.ComponentSafeAAD); err == nil && safe {
		return mls.Framing{SafeAAD: mls.SafeAAD{}}
	}
	return mls.Framing{}
}

func updateRequest(step *mls.Step, ours bool) *mimi.UpdateRequest {
	msg, err := mimi.ParseMessage(step.Message)
	if err != nil {
		panic("member: the engine's own commit: " + err.Error())
	}
	req := &mimi.UpdateRequest{Message: msg, Welcome: step.Welcome, GroupInfo: mimi.GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: step.Tree()}}
	if ours {
		req.GroupInfo = mimi.GroupInfoOption{Partial: step.GroupInfo.Partial()}
		req.Tree = mls.RatchetTreeOption{Representation: mls.TreeDistributionService}
	}
	return req
}

// committer is the leaf that commits for our people: the gateway participant's, or the first we have.
func (m *Members) committer(s *shared) mls.LeafIndex {
	if i, ok := s.leaves[m.gateway]; ok {
		return i
	}
	return s.group.LocalLeaves()[0]
}
