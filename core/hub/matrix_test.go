package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// errUndo undoes a unit of work, and all that the hub accepted in it.
var errUndo = errors.New("undone")

// tried is whether the hub would accept an update; it is undone.
func (s *stage) tried(from uri.Provider, req *mimi.UpdateRequest) bool {
	s.t.Helper()
	var code mimi.UpdateCode
	err := s.store.Do(s.t.Context(), func(ctx context.Context) error {
		resp, err := s.hub.Update(ctx, from, club, req)
		if err != nil {
			return err
		}
		code = resp.Code
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		s.t.Fatal(err)
	}
	return code == mimi.UpdateSuccess
}

// commits makes a commit of one client, as a request, and drops it.
func (s *stage) commits(g *mls.Group, proposals ...mls.Proposal) *mimi.UpdateRequest {
	s.t.Helper()
	step, err := g.Commit(g.LocalLeaves()[0], mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, NoPending: true, Proposals: proposals})
	if err != nil {
		s.t.Fatal(err)
	}
	req := request(s.t, step)
	if err := g.Settle(g.Drop()); err != nil {
		s.t.Fatal(err)
	}
	return req
}

func component(c policy.Component, data []byte) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: mls.ComponentID(c), Operation: mls.OpUpdate, Update: data}}
}

// The rows of mimi.md §2.6 and of our gateways: from which role to which others the holder of a role may change somebody. They are written
// here anew, and do not come from the policy that is tested.
var mayChange = map[policy.RoleIndex]string{
	policy.MemberRole:   "",
	policy.AdminRole:    "0:1236 1:023 2:013 3:012 6:01",
	policy.OwnerRole:    "0:12346 1:02346 2:01346 3:01246 4:01236 6:01234",
	policy.GatewayRole:  "0:12 1:02 2:01 3:012 4:012 6:0", // of their own domain alone
	policy.EnforcerRole: "0:1 1:0 2:01 3:01 4:01 6:01",
}

func listed(table string, from, to policy.RoleIndex) bool {
	for row := range strings.FieldsSeq(table) {
		if row[0] == byte('0'+from) && strings.ContainsRune(row[2:], rune('0'+to)) {
			return true
		}
	}
	return false
}

var roles = []policy.RoleIndex{policy.NoRole, policy.BannedRole, policy.MemberRole, policy.AdminRole, policy.OwnerRole, policy.GatewayRole}

// crowd is a room in which somebody holds each role, by a client that can act, and somebody more of two domains each can be changed.
func crowd(t *testing.T) (*stage, map[policy.RoleIndex]*mls.Group) {
	t.Helper()
	s := newStage(t)
	g := s.found("ann-a")
	var others []room.Participant
	for _, role := range roles[1:] {
		for _, domain := range []string{"a", "c"} {
			others = append(others, room.Participant{User: user(fmt.Sprintf("t%d-%s", role, domain)), Role: role})
		}
	}
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{s.listUpdate(g, others...)}}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	actors := map[policy.RoleIndex]*mls.Group{policy.OwnerRole: g}
	for _, role := range []policy.RoleIndex{policy.MemberRole, policy.AdminRole, policy.GatewayRole} {
		joined := s.admit(g, fmt.Sprintf("actor%d-a", role), role)
		commit := must(mimi.ParseMessage(s.lastCommit(pa)))
		for _, other := range actors {
			if other != g {
				must(other.Merge(must(other.Process(commit.Message, mls.Arrival{}))))
			}
		}
		actors[role] = joined
	}
	return s, actors
}

// C16: the whole table of who may make whom what, by commits that the hub judges.
func TestRoleChanges(t *testing.T) {
	s, actors := crowd(t)
	tried, allowed := 0, 0
	for actor, g := range actors {
		for _, from := range roles {
			for _, to := range roles {
				for _, domain := range []string{"a", "c"} {
					if from == to {
						continue
					}
					want := listed(mayChange[actor], from, to) && (actor != policy.GatewayRole || domain == "a")
					u := s.listUpdate(g, room.Participant{User: user(fmt.Sprintf("t%d-%s", from, domain)), Role: to})
					if got := s.tried(pa, s.commits(g, u)); got != want {
						t.Errorf("role %d makes somebody of %s.example %d who is %d: %v, want %v", actor, domain, to, from, got, want)
					}
					tried++
					if want {
						allowed++
					}
				}
			}
		}
	}
	if tried != 4*30*2 || allowed == 0 {
		t.Errorf("%d tried, %d allowed", tried, allowed)
	}
	for _, from := range roles { // the hub itself, which proposes that people leave or are banned
		for _, to := range []policy.RoleIndex{policy.NoRole, policy.BannedRole} {
			u := parseUser(t, fmt.Sprintf("t%d-c", from))
			if from == to {
				continue
			}
			var denied error
			err := s.store.Do(t.Context(), func(ctx context.Context) error {
				denied = s.hub.Expel(ctx, club, u, to)
				return errUndo
			})
			if want := listed(mayChange[policy.EnforcerRole], from, to); !errors.Is(err, errUndo) || (denied == nil) != want || denied != nil && !errors.Is(denied, policy.ErrDenied) {
				t.Errorf("the hub makes somebody %d who is %d: %v, want %v", to, from, denied, want)
			}
		}
	}
}

// C16: every other capability that a hub can see, for the holder of each role.
func TestCapabilities(t *testing.T) {
	s, actors := crowd(t)
	rules := s.state(actors[policy.OwnerRole]).Rules()
	encode := func(c policy.Component, change func(*room.Contents)) []byte {
		contents := room.Contents{Rules: *rules, Metadata: room.Metadata{URI: club.String()}}
		contents.Rules.Base.Components = slices.Clone(rules.Base.Components)
		contents.Rules.Roles = slices.Clone(rules.Roles)
		change(&contents)
		return contents.Encode(c)
	}
	metadata := func(change func(*room.Metadata)) mls.Proposal {
		return component(policy.RoomMetadata, encode(policy.RoomMetadata, func(c *room.Contents) { change(&c.Metadata) }))
	}
	join := client(t, "new-a")
	kicked := func(*mls.Group) mls.Proposal { return mls.Proposal{Type: mls.ProposalRemove, Remove: 1} } // the member's client
	for name, test := range map[string]struct {
		may     []policy.RoleIndex
		propose func(*mls.Group) mls.Proposal
	}{
		"0300 name": {[]policy.RoleIndex{3, 4, 6}, func(*mls.Group) mls.Proposal { return metadata(func(m *room.Metadata) { m.Name = "x" }) }},
		"0301 description": {[]policy.RoleIndex{3, 4}, func(*mls.Group) mls.Proposal {
			return metadata(func(m *room.Metadata) { m.Descriptions = []room.Description{{Content: "x"}} })
		}},
		"0302 avatar": {[]policy.RoleIndex{3, 4}, func(*mls.Group) mls.Proposal {
			return metadata(func(m *room.Metadata) { m.Avatar = "https://a.example/x" })
		}},
		"0303 subject": {[]policy.RoleIndex{3, 4}, func(*mls.Group) mls.Proposal { return metadata(func(m *room.Metadata) { m.Subject = "x" }) }},
		"0304 mood":    {[]policy.RoleIndex{3, 4}, func(*mls.Group) mls.Proposal { return metadata(func(m *room.Metadata) { m.Mood = "x" }) }},
		"0502 base policy": {[]policy.RoleIndex{4}, func(*mls.Group) mls.Proposal {
			return component(policy.BaseRoomPolicy, encode(policy.BaseRoomPolicy, func(c *room.Contents) { c.Rules.Base.Discoverable = true }))
		}},
		"0503 roles": {[]policy.RoleIndex{4}, func(*mls.Group) mls.Proposal {
			return component(policy.RolesList, encode(policy.RolesList, func(c *room.Contents) { c.Rules.Roles[2].Description = "x" }))
		}},
		"0504 preauthorised": {[]policy.RoleIndex{4}, func(*mls.Group) mls.Proposal {
			return component(policy.PreAuthList, encode(policy.PreAuthList, func(c *room.Contents) {
				c.Rules.PreAuth = []policy.PreAuthEntry{{Claims: []policy.Claim{{CredentialType: 1, Value: "x"}}, Target: *rules.Role(policy.MemberRole)}}
			}))
		}},
		"0505 other attributes": {[]policy.RoleIndex{4}, func(*mls.Group) mls.Proposal {
			return component(policy.StatusNotificationPolicy, encode(policy.StatusNotificationPolicy, func(c *room.Contents) {
				c.Rules.Status = &policy.StatusNotifications{Delivery: policy.Forbidden, Read: policy.Forbidden}
			}))
		}},
		"0600 operational policy": {nil, func(*mls.Group) mls.Proposal {
			return component(policy.MLSOperationalPolicy, encode(policy.MLSOperationalPolicy, func(c *room.Contents) {
				o := *rules.Operational
				o.Messages.EpochTolerance++
				c.Rules.Operational = &o
			}))
		}},
		"0601 ReInit": {[]policy.RoleIndex{4}, func(*mls.Group) mls.Proposal {
			return mls.Proposal{Type: mls.ProposalReInit, ReInit: &mls.ReInit{GroupID: []byte("next"), Version: mls.MLS10, CipherSuite: suite}}
		}},
		"000c kick":            {[]policy.RoleIndex{3, 4, 6}, kicked},
		"an unknown component": {nil, func(*mls.Group) mls.Proposal { return component(0x9999, []byte("x")) }},
		"another address":      {nil, func(*mls.Group) mls.Proposal { return metadata(func(m *room.Metadata) { m.URI += "x" }) }},
	} {
		for role, g := range actors {
			p := test.propose(g)
			if name == "an unknown component" {
				continue // no client of ours can make it: the engine's tests do
			}
			if name == "000c kick" && role == policy.MemberRole {
				continue // it is their own client
			}
			if got, want := s.tried(pa, s.commits(g, p)), slices.Contains(test.may, role); got != want {
				t.Errorf("%s, role %d: %v, want %v", name, role, got, want)
			}
		}
	}
	for role, g := range actors {
		me := parseUser(t, fmt.Sprintf("actor%d-a", role))
		if role == policy.OwnerRole {
			me = parseUser(t, "ann-a")
		}
		// 0100: all of these may speak.
		if resp := s.submit(pa, &mimi.SubmitMessageRequest{Message: s.message(g, "ann-a", nil).Message, Sender: me.String()}); resp.Code != mimi.SubmitAccepted {
			t.Errorf("0100, role %d: %+v", role, resp)
		}
		// 0002: another client of one's own; somebody else's takes 0000.
		own := client(t, strings.TrimPrefix(me.String(), "mimi://a.example/u/"))
		if !s.tried(pa, s.commits(g, mls.Proposal{Type: mls.ProposalAdd, Add: &own.KeyPackage})) {
			t.Errorf("0002, role %d", role)
		}
		if s.tried(pa, s.commits(g, mls.Proposal{Type: mls.ProposalAdd, Add: &join.KeyPackage})) {
			t.Errorf("role %d adds a client of nobody", role)
		}
		// 0010: nobody makes themself anything.
		for _, to := range roles[1:] {
			if to != role && s.tried(pa, s.commits(g, s.listUpdate(g, room.Participant{User: me.String(), Role: to}))) {
				t.Errorf("0010, role %d makes themself %d", role, to)
			}
		}
		// 0006: everybody may leave, by proposals that another commits.
		if got := s.leaves(g, me); !got {
			t.Errorf("0006, role %d", role)
		}
	}
}

// leaves tries a bundle by which somebody leaves the room.
func (s *stage) leaves(g *mls.Group, me uri.User) bool {
	s.t.Helper()
	leaf := g.LocalLeaves()[0]
	one := must(g.Propose(leaf, mls.Proposal{Type: mls.ProposalSelfRemove}, noAAD, false))
	two := must(g.Propose(leaf, s.listUpdate(g, room.Participant{User: me.String(), Role: policy.NoRole}), noAAD, false))
	for _, step := range []*mls.Step{two, one} {
		if err := g.Discard(step); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.tried(pa, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(one.Message)), More: []mimi.Message{must(mimi.ParseMessage(two.Message))}})
}

// C13: from the moment of acceptance the hub takes nothing from who was banned, but the removal of their own clients; and tells them nothing.
func TestBanned(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	b := s.admit(g, "bob-b", policy.MemberRole)
	safe := mls.Framing{SafeAAD: mls.SafeAAD{}}
	ban := must(g.Propose(0, s.listUpdate(g, room.Participant{User: user("bob-b"), Role: policy.BannedRole}), safe, false))
	remove := must(g.Propose(0, mls.Proposal{Type: mls.ProposalRemove, Remove: 1}, safe, false))
	if resp := s.update(pa, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(ban.Message)), More: []mimi.Message{must(mimi.ParseMessage(remove.Message))}}); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	s.until("the proposals", func() bool { return len(s.followers[pb].told(t)) == 2 })
	if resp := s.submit(pb, s.message(b, "bob-b", nil)); resp.Code != mimi.SubmitNotAllowed {
		t.Errorf("speaks: %+v", resp)
	}
	for _, m := range []*mls.Step{ban, remove} {
		must(b.Process(must(mimi.ParseMessage(m.Message)).Message, mls.Arrival{}))
	}
	if s.tried(pb, s.commits(b)) {
		t.Error("commits")
	}
	refused := must(b.ProposeUpdate(1, nil, safe, false))
	if s.tried(pb, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(refused.Message))}) {
		t.Error("proposes an Update")
	}
	other := must(b.Propose(1, mls.Proposal{Type: mls.ProposalRemove, Remove: 0}, safe, false))
	if s.tried(pb, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(other.Message))}) {
		t.Error("proposes to remove somebody else")
	}
	self := must(b.Propose(1, mls.Proposal{Type: mls.ProposalSelfRemove}, safe, false))
	if !s.tried(pb, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(self.Message))}) {
		t.Error("may not even leave")
	}
	if resp, _, _ := s.info(pb, "bob-b", nil); resp.Code != mimi.GroupInfoNotAuthorized {
		t.Error("is told how to come back")
	}
	s.submit(pa, s.message(g, "ann-a", nil))
	s.until("the message", func() bool { told := s.followers[pa].told(t); return told[len(told)-1].Message.Private != nil })
	if n := len(s.followers[pb].told(t)); n != 2 {
		t.Errorf("was told %d events", n)
	}
}

// C11: an external commit that leaves a SelfRemove out is refused (mls-extensions-10 §6.3).
func TestExternalCommitTakesSelfRemoves(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	s.admit(g, "bob-b", policy.MemberRole)
	c := s.admit(g, "cat-c", policy.MemberRole)
	leaf := c.LocalLeaves()[0]
	self := must(c.Propose(leaf, mls.Proposal{Type: mls.ProposalSelfRemove}, noAAD, false))
	list := must(c.Propose(leaf, s.listUpdate(c, room.Participant{User: user("cat-c"), Role: policy.NoRole}), noAAD, false))
	if resp := s.update(pc, &mimi.UpdateRequest{Message: must(mimi.ParseMessage(self.Message)), More: []mimi.Message{must(mimi.ParseMessage(list.Message))}}); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	_, plain, key := s.info(pb, "bob-b", nil)
	without := *plain
	without.Pending = nil
	if _, req := s.enter("bob-b", &without, key); s.tried(pb, req) {
		t.Error("the SelfRemove was left out")
	}
	_, req := s.enter("bob-b", plain, key)
	resp := s.update(pb, req)
	if resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	// Her client is gone with it; that she leaves the list, which it could not take, the hub now proposes itself.
	raw := s.lastCommit(pa)
	told := s.followers[pa].told(t)
	last := told[len(told)-1]
	if last.Timestamp != resp.Accepted || len(last.More) != 1 {
		t.Fatalf("%d proposals go with the commit", len(last.More))
	}
	for _, m := range []mls.Message{*must(mimi.ParseMessage(self.Message)).Message, *must(mimi.ParseMessage(list.Message)).Message} {
		must(g.Process(&m, mls.Arrival{}))
	}
	must(g.Merge(must(g.Process(must(mimi.ParseMessage(raw)).Message, mls.Arrival{}))))
	must(g.Process(last.More[0].Message, mls.Arrival{}))
	s.reopen() // it is on disk
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	if role := s.state(g).Role(parseUser(t, "cat-c")); role != policy.NoRole {
		t.Errorf("she is still %d", role)
	}
}

// C16: open doors and preauthorised people, by external commits: whoever comes in puts themself into the list.
func TestNewcomers(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	enter := func(name string, role policy.RoleIndex) bool {
		_, plain, key := s.info(pb, name, nil)
		if plain == nil {
			return false
		}
		j := client(t, name)
		leaf := mls.LeafTemplate{Credential: j.KeyPackage.LeafNode.Credential, Signature: key, Extensions: j.KeyPackage.LeafNode.Extensions}
		_, step, err := mls.ExternalCommit(engine(), &plain.GroupInfo, leaf, mls.ExternalOptions{RatchetTree: plain.Tree.Tree, Framing: noAAD,
			Proposals: []mls.Proposal{s.listUpdate(g, room.Participant{User: user(name), Role: role})}})
		if err != nil {
			t.Fatal(err)
		}
		return s.tried(pb, request(t, step))
	}
	if enter("bob-b", policy.MemberRole) {
		t.Error("into a closed room")
	}
	rules := *s.state(g).Rules()
	rules.Roles = slices.Clone(rules.Roles)
	rules.Role(policy.AdminRole).Capabilities = append(slices.Clone(rules.Role(policy.AdminRole).Capabilities), policy.CanJoinIfPreauthorized)
	slices.Sort(rules.Role(policy.AdminRole).Capabilities)
	rules.Role(policy.NoRole).Capabilities = []policy.Capability{policy.CanOpenJoin}
	rules.Role(policy.NoRole).Changes = []policy.RoleChange{{From: policy.NoRole, Targets: []policy.RoleIndex{policy.MemberRole}}}
	rules.PreAuth = []policy.PreAuthEntry{{Claims: []policy.Claim{{CredentialType: 1, Value: user("kim-b")}}, Target: *rules.Role(policy.AdminRole)}}
	c := room.Contents{Rules: rules}
	step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{
		component(policy.RolesList, c.Encode(policy.RolesList)), component(policy.PreAuthList, c.Encode(policy.PreAuthList))}}))
	if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	must(g.Merge(step))
	for _, test := range []struct {
		name string
		role policy.RoleIndex
		want bool
	}{{"bob-b", policy.MemberRole, true}, {"bob-b", policy.AdminRole, false}, {"kim-b", policy.AdminRole, true}, {"kim-b", policy.OwnerRole, false}} {
		if got := enter(test.name, test.role); got != test.want {
			t.Errorf("%s as %d: %v", test.name, test.role, got)
		}
	}
}

// C25, C16: a join link lets in whom it is shown by, for as long and as many as the room's policy has it.
func TestJoinLinks(t *testing.T) {
	s := newStage(t)
	g := s.found("ann-a")
	set := func(multiuser bool, expiration uint32, links ...string) {
		t.Helper()
		rules := *s.state(g).Rules()
		rules.Roles = slices.Clone(rules.Roles)
		rules.Role(policy.NoRole).Capabilities = []policy.Capability{policy.CanUseJoinCode}
		rules.Role(policy.NoRole).Changes = []policy.RoleChange{{From: policy.NoRole, Targets: []policy.RoleIndex{policy.MemberRole, policy.AdminRole}}}
		rules.JoinLink = &policy.JoinLinkRules{MultiUser: multiuser, Expiration: expiration}
		c := room.Contents{Rules: rules}
		update := room.LinksUpdate{Added: links}
		for i := range rules.JoinLinks {
			update.Removed = append(update.Removed, uint32(i))
		}
		step := must(g.Commit(0, mls.CommitOptions{Framing: noAAD, WantGroupInfo: true, Proposals: []mls.Proposal{
			component(policy.RolesList, c.Encode(policy.RolesList)), component(policy.JoinLinkPolicy, c.Encode(policy.JoinLinkPolicy)),
			component(policy.JoinLinks, mls.Marshal(&update))}}))
		if resp := s.update(pa, request(t, step)); resp.Code != mimi.UpdateSuccess {
			t.Fatalf("%+v", resp)
		}
		must(g.Merge(step))
	}
	ask := func(name, code string) (*mimi.GroupInfoPlain, *mls.SignatureKey) {
		key := client(t, name).Signature
		req := &mimi.GroupInfoRequest{Suite: suite, SignatureKey: key.PublicBytes(), Credential: mls.BasicCredential([]byte(user(name))), JoiningCode: []byte(code)}
		private := must(req.NewKey(mls.DefaultSuites(), key))
		if err := req.Sign(mls.DefaultSuites(), key); err != nil {
			t.Fatal(err)
		}
		resp := must(s.hub.GroupInfo(t.Context(), pb, club, req))
		if resp.Code != mimi.GroupInfoSuccess {
			return nil, nil
		}
		return must(resp.Open(mls.DefaultSuites(), private)), key
	}
	enters := func(name string, role policy.RoleIndex, plain *mimi.GroupInfoPlain, key *mls.SignatureKey) *mimi.UpdateRequest {
		j := client(t, name)
		leaf := mls.LeafTemplate{Credential: j.KeyPackage.LeafNode.Credential, Signature: key, Extensions: j.KeyPackage.LeafNode.Extensions}
		_, step, err := mls.ExternalCommit(engine(), &plain.GroupInfo, leaf, mls.ExternalOptions{RatchetTree: plain.Tree.Tree, Framing: noAAD,
			Proposals: []mls.Proposal{s.listUpdate(g, room.Participant{User: user(name), Role: role})}})
		if err != nil {
			t.Fatal(err)
		}
		return request(t, step)
	}
	set(false, 60, "secret", "other")
	for _, code := range []string{"", "secre", "secret\x00", "Secret"} {
		if plain, _ := ask("bob-b", code); plain != nil {
			t.Errorf("%q opens the room", code)
		}
	}
	plain, key := ask("bob-b", "secret")
	if plain == nil {
		t.Fatal("the code does not open the room")
	}
	s.reopen()
	if s.tried(pb, enters("eve-b", policy.MemberRole, plain, key)) {
		t.Error("somebody else came by what Bob was told")
	}
	if s.tried(pb, enters("bob-b", policy.AdminRole, plain, key)) {
		t.Error("as an admin")
	}
	s.now = s.now.Add(61 * time.Second)
	if s.tried(pb, enters("bob-b", policy.MemberRole, plain, key)) {
		t.Error("too late")
	}
	if again, _ := ask("kim-b", "other"); again != nil {
		t.Error("a link that has run out")
	}
	s.now = s.now.Add(-61 * time.Second)
	if resp := s.update(pb, enters("bob-b", policy.MemberRole, plain, key)); resp.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", resp)
	}
	if again, _ := ask("kim-b", "secret"); again != nil {
		t.Error("a link for one was used by two")
	}
	must(g.Merge(must(g.Process(must(mimi.ParseMessage(s.lastCommit(pa))).Message, mls.Arrival{}))))
	set(true, 0, "secret") // the links are new, and for all
	s.now = s.now.Add(1000 * time.Hour)
	for _, name := range []string{"kim-b", "lee-b"} {
		plain, key := ask(name, "secret")
		if plain == nil || !s.tried(pb, enters(name, policy.MemberRole, plain, key)) {
			t.Errorf("%s cannot come", name)
		}
	}
	set(true, 0)
	if plain, _ := ask("kim-b", "secret"); plain != nil {
		t.Error("a link that was taken back")
	}
}
