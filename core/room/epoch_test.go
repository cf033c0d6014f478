package room

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

// apply applies updates one after the other, all of which must be accepted.
func apply(t testing.TB, s *State, updates ...Update) *State {
	t.Helper()
	for i, u := range updates {
		next, err := s.Apply(u)
		if err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		checkSound(t, s, next, u)
		s = next
	}
	return s
}

// refused checks that an update is refused with this text.
func refused(t *testing.T, s *State, u Update, want string) {
	t.Helper()
	_, err := s.Apply(u)
	checkError(t, err, want)
}

// TestLeave is the flow of mimi-protocol-06 §3.5: who proposes to leave is out at once, and a commit must take it along.
func TestLeave(t *testing.T) {
	s := build(t, nil)
	b := user("bob@b")
	s = apply(t, s, propose(member(bob), ref("1", rm(bob)), ref("2", rm(bob2)), ref("3", roles("bob@b=0"))))
	if s.Role(b) != policy.NoRole || s.MaySend(b) == nil || s.Clients(b) != 0 {
		t.Error("who has left may still send")
	}
	if s.Committed().Role(b) != policy.MemberRole {
		t.Error("the committed list changed before a commit")
	}
	refused(t, s, propose(member(bob), roles("eve@e=2")), "removed or banned")
	refused(t, s, propose(member(bob), rekey(bob)), "removed or banned")
	refused(t, s, propose(member(bob2), rm(dora)), "removed or banned")
	refused(t, s, commit(member(bob2)), "removed or banned")
	refused(t, s, commit(newcomer("bob@b/3")), "takes a participant")
	refused(t, s, commit(member(carl)), "leaves out a pending proposal")
	refused(t, s, commit(member(carl), pending("1"), pending("3")), "leaves out a pending proposal")
	refused(t, s, commit(member(carl), pending("1"), pending("2"), pending("3"), pending("3")), "named before")
	refused(t, s, commit(member(carl), pending("1"), pending("2"), pending("3"), roles("bob@b=3")), "two changes of one user")
	refused(t, s, propose(member(carl), ref("1", rm(dora))), "pending already")

	// Its SelfRemove is still taken, and makes the pending Remove void.
	s = apply(t, s, propose(member(bob), ref("4", leave(bob))))
	refused(t, s, commit(member(carl), pending("2"), pending("3")), "leaves out a pending proposal")
	s = apply(t, s, commit(member(carl), pending("4"), pending("2"), pending("3")))
	if _, ok := s.Leaf(bob); ok || s.Committed().Role(b) != policy.NoRole {
		t.Error("bob is still there")
	}
	// The next to be added takes the leftmost blank leaf.
	s = apply(t, s, commit(member(carl), roles2(s, Participant{user("eve@e").String(), 2}), add("eve@e/1"), add("dora@d/2"), add("dora@d/3")))
	for i, want := range map[mls.LeafIndex]string{bob: "eve@e/1", bob2: "dora@d/2", 7: "dora@d/3"} {
		if l, _ := s.Leaf(i); l.Client != leaf(want).Client {
			t.Errorf("leaf %d is %v, want %s", i, l.Client, want)
		}
	}
}

// roles2 changes the list of s rather than the test room's first.
func roles2(s *State, want ...Participant) Proposal {
	u := s.Change(want...)
	return data(policy.ParticipantList, u.Marshal())
}

// TestEffective: an accepted proposal counts at once; indices mean the committed list all the same.
func TestEffective(t *testing.T) {
	s := build(t, nil)
	refused(t, s, propose(member(bob), metadata(rename)), "lacks canChangeRoomName")
	s = apply(t, s, propose(member(carl), ref("p", roles("bob@b=3"))))
	s = apply(t, s, propose(member(bob), ref("m", metadata(rename))))
	if s.Metadata().Name != "Attic" || s.Committed().Metadata().Name != "Clubhouse" {
		t.Errorf("effective name %q", s.Metadata().Name)
	}
	refused(t, s, propose(member(carl), metadata(rename)), "two updates of room_metadata")
	refused(t, s, propose(member(carl), roles("bob@b=1")), "two changes of one user")
	refused(t, s, propose(member(alice), rules(policy.RolesList, sameRules)), "in one commit")
	refused(t, s, propose(member(alice), plain(mls.ProposalReInit)), "no other proposal")
	refused(t, s, propose(member(carl), roles("eve@e=2"), rm(alice), rm(alice)), "removed twice")

	// Two accepted updates of the list both mean the committed one; the commit's order decides the order of additions.
	s = apply(t, s, propose(member(carl), ref("e", roles("eve@e=2 dora@d=3"))), propose(member(alice), ref("f", roles("idle@i=0 fay@f=2"))))
	refused(t, s, propose(member(carl), roles("eve@e=3")), "two changes of one user")
	s = apply(t, s, commit(member(anna), pending("f"), pending("m"), pending("e"), pending("p")))
	got := s.Participants()
	if n := len(got); got[n-2].User != user("fay@f").String() || got[n-1].User != user("eve@e").String() {
		t.Errorf("the list ends with %v", got[n-2:])
	}
	if s.Role(user("bob@b")) != 3 || s.Role(user("dora@d")) != 3 || s.Role(user("idle@i")) != 0 {
		t.Errorf("roles %v", got)
	}

	// The last admin but one may go, the last not, although no commit came between.
	s = apply(t, s, propose(member(carl), leave(carl), roles2(s, Participant{user("carl@c").String(), 0})),
		propose(member(dora), leave(dora), roles2(s, Participant{user("dora@d").String(), 0})))
	refused(t, s, propose(member(bob), rm(bob), rm(bob2), roles2(s, Participant{user("bob@b").String(), 0})), "at least 1 participants")
}

// TestBanPending: a ban holds from its acceptance on, also against a commit that ends the epoch without it.
func TestBanPending(t *testing.T) {
	s := build(t, openDoor)
	s = apply(t, s, propose(member(carl), ref("b", roles("bob@b=1")), ref("r", rm(bob)), ref("s", rm(bob2))),
		propose(member(dora), ref("d", leave(dora))))
	refused(t, s, commit(newcomer("bob@b/3"), pending("d")), "role 1 lacks canAddOwnClient")
	refused(t, s, commit(member(dora), pending("b"), pending("r"), pending("s")), "client is pending")
	// An external commit takes the SelfRemove and nothing else by reference.
	refused(t, s, commit(newcomer("eve@e/1"), roles("eve@e=2")), "leaves out a pending proposal")
	refused(t, s, commit(newcomer("eve@e/1"), roles("eve@e=2"), pending("d"), pending("r")), "SelfRemove by reference alone")
	s = apply(t, s, commit(newcomer("eve@e/1"), roles("eve@e=2"), pending("d")))
	if l, _ := s.Leaf(dora); l.Client != leaf("eve@e/1").Client {
		t.Errorf("the newcomer is at another leaf than the one left: %v", l)
	}
	if s.Role(user("bob@b")) != 2 {
		t.Error("a proposal outlived its epoch")
	}
}

// TestReInitPending: nothing may be accepted beside a ReInit.
func TestReInitPending(t *testing.T) {
	s := apply(t, build(t, nil), propose(member(alice), ref("r", plain(mls.ProposalReInit))))
	refused(t, s, propose(member(bob), rekey(bob)), "no other proposal")
	refused(t, s, commit(member(bob), pending("r"), add("bob@b/3")), "no other proposal")
	apply(t, s, commit(member(bob), pending("r")))
}

// TestOwnUpdateStaysOut: a committer leaves out its own Update and takes everybody else's.
func TestOwnUpdateStaysOut(t *testing.T) {
	s := apply(t, build(t, nil), propose(member(bob), ref("b", rekey(bob))), propose(member(dora), ref("d", rekey(dora))))
	refused(t, s, commit(member(bob)), "leaves out")
	apply(t, s, commit(member(bob), pending("d")))
}

func TestCheck(t *testing.T) {
	if err := build(t, nil).Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Contents){
		"policy":          func(c *Contents) { c.Rules.Roles = c.Rules.Roles[1:] },
		"unknown role":    func(c *Contents) { c.Participants[2].Role = 9 },
		"twice":           func(c *Contents) { c.Participants = append(c.Participants, c.Participants[0]) },
		"not a URI":       func(c *Contents) { c.Participants = append(c.Participants, Participant{"bob", 2}) },
		"stray client":    func(c *Contents) { c.Participants = slices.Delete(c.Participants, 2, 3) },
		"another address": func(c *Contents) { c.Metadata.URI = "mimi://a.example/r/other" },
		"too many":        func(c *Contents) { c.Rules.Base.MaxUsers = limit(3) },
		"active banned":   func(c *Contents) { c.Participants[2].Role = 1 },
	} {
		if build(t, spoil).Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	broken := build(t, nil)
	s, err := New(broken.Room(), broken.Dictionary().With(mls.ComponentID(policy.BotPolicy), []byte{9}), nil)
	if err != nil || !errors.Is(s.Check(), mls.ErrSyntax) || !slices.Equal(s.Unreadable(), []policy.Component{policy.BotPolicy}) {
		t.Errorf("unreadable %v, %v, %v", s.Unreadable(), s.Check(), err)
	}
	if _, err := New(broken.Room(), broken.Dictionary().With(mls.ComponentID(policy.ParticipantList), []byte{9}), nil); !errors.Is(err, mls.ErrSyntax) {
		t.Errorf("an unreadable participant list: %v", err)
	}
}

// TestForeignRoom: a room that lacks components or breaks our rules can be followed, and mended.
func TestForeignRoom(t *testing.T) {
	s, err := New(mustRoom(t, clubhouse), nil, []Leaf{leaf("bob@b/1")})
	if err != nil || s.MaySend(user("bob@b")) == nil {
		t.Errorf("empty dictionary: %v", err)
	}
	// A stray client and an inactive owner's role stay out of the way of unrelated updates.
	odd := build(t, func(c *Contents) { c.Participants[2].User = "mimi://x.example/u/other" })
	odd = apply2(t, odd, commit(member(carl), metadata(rename)))
	refused(t, odd, commit(member(carl), add("bob@b/9")), "from role 0 to role 0")
	apply2(t, odd, commit(member(carl), rm(bob), rm(bob2)))
	// Broken components keep to themselves, and may be replaced.
	base := build(t, nil)
	broken, err := New(base.Room(), base.Dictionary().With(mls.ComponentID(policy.RoomMetadata), []byte{9}).
		With(mls.ComponentID(policy.StatusNotificationPolicy), []byte{9}), slices.Collect(base.Leaves()))
	if err != nil || len(broken.Unreadable()) != 2 {
		t.Fatalf("%v, unreadable %v", err, broken.Unreadable())
	}
	broken = apply2(t, broken, commit(member(carl), roles("eve@e=2")), commit(member(alice), rules(policy.StatusNotificationPolicy, sameRules)))
	if !slices.Equal(broken.Unreadable(), []policy.Component{policy.RoomMetadata}) {
		t.Errorf("unreadable %v", broken.Unreadable())
	}
}

// apply2 is apply for rooms that are not sound.
func apply2(t *testing.T, s *State, updates ...Update) *State {
	t.Helper()
	for i, u := range updates {
		var err error
		if s, err = s.Apply(u); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
	}
	return s
}

func TestQuestions(t *testing.T) {
	s := build(t, nil)
	for who, want := range map[string]string{"bob@b": "", "gateway@a": "", "idle@i": "no client", "mallory@m": "no client", "eve@e": "not a participant"} {
		checkError(t, s.MaySend(user(who)), want)
	}
	mute := build(t, func(c *Contents) { c.Rules.Role(2).Capabilities = nil })
	checkError(t, mute.MaySend(user("bob@b")), "lacks canSendMessage")
	if !s.Allows(user("bob@b"), policy.CanReceiveMessage) || s.Allows(user("mallory@m"), policy.CanReceiveMessage) || s.Allows(user("eve@e"), policy.CanReceiveMessage) {
		t.Error("Allows")
	}
	for who, want := range map[string]string{"bob@b/9": "", "mallory@m/1": "lacks canAddOwnClient", "eve@e/1": "canJoinIfPreauthorized"} {
		checkError(t, s.MayJoin(newcomer(who)), want)
	}
	checkError(t, build(t, openDoor).MayJoin(newcomer("eve@e/1")), "")
	checkError(t, build(t, openDoor).MayJoin(Actor{}), "names no user")
	checkError(t, build(t, func(c *Contents) { c.Rules.Operational.ExternalCommits = false }).MayJoin(newcomer("bob@b/9")), "no external commits")
	if n := s.Clients(user("bob@b")); n != 2 || s.Clients(user("eve@e")) != 0 {
		t.Errorf("bob has %d clients", n)
	}
	if u := s.Change(Participant{user("bob@b").String(), 2}, Participant{user("eve@e").String(), 0}); !u.Empty() {
		t.Errorf("nothing to change, got %+v", u)
	}
	if u := s.Change(Participant{"MIMI://b.example/u/bob", 3}); !reflect.DeepEqual(u, ListUpdate{Changed: []IndexRole{{2, 3}}}) {
		t.Errorf("change %+v", u)
	}
}

func TestParent(t *testing.T) {
	parent := build(t, nil)
	child := func(people ...Participant) *State {
		c := Contents{Participants: people, Rules: *policy.Default(), Metadata: Metadata{URI: "mimi://a.example/r/attic"}}
		c.Rules.Base.ParentDependent, c.Rules.Base.ParentRoom = true, clubhouse
		s, err := New(mustRoom(t, "mimi://a.example/r/attic"), c.Dictionary(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	b, m, e := Participant{user("bob@b").String(), 2}, Participant{user("mallory@m").String(), 2}, Participant{user("eve@e").String(), 2}
	checkError(t, child(b).CheckParent(parent), "")
	checkError(t, child(b, e).CheckParent(parent), "not a strict subset")
	checkError(t, child(testPeople...).CheckParent(parent), "not a strict subset")
	checkError(t, child(b).CheckParent(child(b)), "not the parent room")
	if got := child(b, m, e).Outside(parent); !slices.Equal(got, []Participant{m, e}) {
		t.Errorf("outside: %v", got)
	}
	left := apply(t, parent, propose(member(bob), rm(bob), rm(bob2), roles("bob@b=0")))
	if got := child(b).Outside(left); !slices.Equal(got, []Participant{b}) {
		t.Errorf("who leaves the parent leaves its rooms: %v", got)
	}
	if child(b, e).Membership() != child(e, b).Membership() || child(b).Membership() == child(e).Membership() {
		t.Error("Membership is a set's")
	}
}

// TestDirectMessage: a conversation of two from its making to its end.
func TestDirectMessage(t *testing.T) {
	a, b := leaf("anna@a/1"), leaf("bob@b/1")
	b.Index = 1
	c := Contents{Participants: []Participant{{a.User.String(), policy.AdminRole}, {b.User.String(), policy.AdminRole}},
		Rules: *policy.DirectMessage(), Metadata: Metadata{URI: clubhouse}}
	s, err := New(mustRoom(t, clubhouse), c.Dictionary(), []Leaf{a, b})
	if err != nil || s.Check() != nil {
		t.Fatal(err, s.Check())
	}
	change := func(p ...Participant) Proposal { return roles2(s, p...) }
	refused(t, s, commit(member(0), change(Participant{user("eve@e").String(), 3})), "lacks canAddParticipant")
	refused(t, s, propose(member(1), leave(1), change(Participant{b.User.String(), 0})), "lacks canRemoveSelf")
	s = apply(t, s, commit(newcomer("bob@b/2")), propose(member(1), ref("x", leave(1))), commit(member(0), pending("x")))
	if s.Clients(b.User) != 1 || s.Role(b.User) != policy.AdminRole {
		t.Error("bob's second device took over")
	}
}
