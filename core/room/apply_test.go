package room

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

const clubhouse = "mimi://a.example/r/clubhouse"

// user returns mimi://<domain>.example/u/<name> for "name@domain".
func user(text string) uri.User {
	name, domain, _ := strings.Cut(text, "@")
	u, err := uri.ParseUser("mimi://" + domain + ".example/u/" + name)
	if err != nil {
		panic(err)
	}
	return u
}

// leaf returns a client of a user: "bob@b/phone".
func leaf(text string) Leaf {
	who, device, _ := strings.Cut(text, "/")
	u := user(who)
	c, err := u.Provider().Client(u.Segments()[0], device)
	if err != nil {
		panic(err)
	}
	return Leaf{User: u, Client: c}
}

// The room of the tests: its leaves by index, and who has which role.
const (
	alice    = iota // owner
	gatewayA        // gateway of a.example
	bob             // member, with a second client
	bob2
	carl // admin
	anna // member, of the gateway's domain
	dora // member
)

var (
	testLeaves = []string{"alice@a/1", "gateway@a/1", "bob@b/1", "bob@b/2", "carl@c/1", "anna@a/1", "dora@d/1"}
	testPeople = []Participant{{user("alice@a").String(), 4}, {user("gateway@a").String(), 6}, {user("bob@b").String(), 2},
		{user("carl@c").String(), 3}, {user("mallory@m").String(), 1}, {"mimi://a.example", 5}, {user("anna@a").String(), 2},
		{user("dora@d").String(), 2}, {user("idle@i").String(), 2}}
)

// build returns the room of the tests after change.
func build(t testing.TB, change func(*Contents)) *State {
	t.Helper()
	c := Contents{Participants: slices.Clone(testPeople), Rules: *policy.Default(), Metadata: Metadata{URI: clubhouse, Name: "Clubhouse"},
		Other: mls.AppDataDictionary{{ID: 1, Data: []byte{0}}}}
	if change != nil {
		change(&c)
	}
	var leaves []Leaf
	for i, text := range testLeaves {
		l := leaf(text)
		l.Index = mls.LeafIndex(i)
		leaves = append(leaves, l)
	}
	s, err := New(mustRoom(t, clubhouse), c.Dictionary(), leaves)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func member(i mls.LeafIndex) Actor { return Actor{Leaf: Leaf{Index: i}} }
func newcomer(text string) Actor   { return Actor{Kind: Newcomer, Leaf: leaf(text)} }
func server(domain string) Actor {
	p, err := uri.NewProvider(domain + ".example")
	if err != nil {
		panic(err)
	}
	return Actor{Kind: Server, Provider: p}
}

// Proposals by what they do. A reference is given where a test needs one.
func add(text string) Proposal    { return Proposal{Type: mls.ProposalAdd, Leaf: leaf(text)} }
func rm(i mls.LeafIndex) Proposal { return Proposal{Type: mls.ProposalRemove, Leaf: Leaf{Index: i}} }
func leave(i mls.LeafIndex) Proposal {
	return Proposal{Type: mls.ProposalSelfRemove, Leaf: Leaf{Index: i}}
}
func rekey(i mls.LeafIndex) Proposal {
	l := leaf(testLeaves[i])
	l.Index = i
	return Proposal{Type: mls.ProposalUpdate, Leaf: l}
}
func ref(r string, p Proposal) Proposal { p.Ref = mls.ProposalRef(r); return p }
func pending(r string) Proposal         { return Proposal{Ref: mls.ProposalRef(r)} }
func plain(t mls.ProposalType) Proposal { return Proposal{Type: t} }
func data(id policy.Component, payload []byte) Proposal {
	return Proposal{Type: mls.ProposalAppDataUpdate, Component: id, Data: payload}
}
func drop(id policy.Component) Proposal {
	return Proposal{Type: mls.ProposalAppDataUpdate, Component: id, Remove: true}
}

// roles gives users roles in the test room's list: "bob@b=1 eve@e=2".
func roles(text string) Proposal {
	var want []Participant
	for word := range strings.FieldsSeq(text) {
		who, role, _ := strings.Cut(word, "=")
		u := "mimi://" + strings.TrimPrefix(who, "@") + ".example"
		if !strings.HasPrefix(who, "@") {
			u = user(who).String()
		}
		want = append(want, Participant{u, policy.RoleIndex(role[0] - '0')})
	}
	c := Contents{Participants: testPeople}
	s, err := New(uri.Room{}, c.Dictionary(), nil)
	if err != nil {
		panic(err)
	}
	u := s.Change(want...)
	return data(policy.ParticipantList, u.Marshal())
}

func metadata(change func(*Metadata)) Proposal {
	c := Contents{Metadata: Metadata{URI: clubhouse, Name: "Clubhouse"}}
	change(&c.Metadata)
	return data(policy.RoomMetadata, c.Encode(policy.RoomMetadata))
}

// rules updates one policy component as change has it.
func rules(id policy.Component, change func(*policy.Rules)) Proposal {
	c := Contents{Rules: *policy.Default()}
	change(&c.Rules)
	return data(id, c.Encode(id))
}

func rename(m *Metadata)      { m.Name = "Attic" }
func sameRules(*policy.Rules) {}
func commit(a Actor, p ...Proposal) Update {
	return Update{Actor: a, Commit: true, Proposals: p}
}
func propose(a Actor, p ...Proposal) Update { return Update{Actor: a, Proposals: p} }

// cases are updates of the test room, each with what refuses it; "" means that it is accepted.
var cases = []struct {
	name   string
	change func(*Contents)
	update Update
	want   string
}{
	// Adding, mimi-room-policy-04 §8.1.1.
	{"admin adds a user with clients", nil, commit(member(carl), roles("eve@e=2"), add("eve@e/1"), add("eve@e/2")), ""},
	{"admin adds a user without clients", nil, commit(member(carl), roles("eve@e=2")), ""},
	{"admin adds clients of somebody listed before", nil, commit(member(carl), add("idle@i/1")), ""},
	{"clients without a participant", nil, commit(member(carl), add("eve@e/1")), "canAddParticipant of role 3"},
	{"clients of another than the one added", nil, commit(member(carl), roles("eve@e=2"), add("eva@e/1")), "from role 0 to role 0"},
	{"member adds", nil, commit(member(bob), roles("eve@e=2"), add("eve@e/1")), "role 2 lacks canAddParticipant"},
	{"admin adds an owner", nil, commit(member(carl), roles("eve@e=4")), "from role 0 to role 4"},
	{"owner adds an owner", nil, commit(member(alice), roles("eve@e=4"), add("eve@e/1")), ""},
	{"unknown role", nil, commit(member(alice), roles("eve@e=9")), "role 9 does not exist"},
	{"role 0", nil, commit(member(alice), data(policy.ParticipantList, (&ListUpdate{Added: []Participant{{user("eve@e").String(), 0}}}).Marshal())), "role 0 in the participant list"},
	{"role 0 by a change", nil, commit(member(alice), data(policy.ParticipantList, (&ListUpdate{Changed: []IndexRole{{2, 0}}}).Marshal())), "role 0 in the participant list"},
	{"nobody at all", nil, commit(member(alice), data(policy.ParticipantList, (&ListUpdate{}).Marshal())), "changes nothing"},
	{"somebody listed, otherwise spelt", nil, commit(member(alice), data(policy.ParticipantList,
		(&ListUpdate{Added: []Participant{{"MIMI://B.example/u/%62ob", 2}}}).Marshal())), "is in the list"},
	{"not a URI", nil, commit(member(alice), data(policy.ParticipantList, (&ListUpdate{Added: []Participant{{"bob", 2}}}).Marshal())), "not one of MIMI"},
	{"admin adds a banned user's client", nil, commit(member(carl), add("mallory@m/1")), "from role 1 to role 1"},
	{"the same client twice", nil, commit(member(carl), roles("eve@e=2"), add("eve@e/1"), add("eve@e/1")), "two leaves"},
	{"a client that is in the group", nil, commit(member(bob), add("bob@b/1")), "two leaves"},
	{"member adds its own client", nil, commit(member(bob), add("bob@b/3")), ""},
	{"member adds another's client", nil, commit(member(bob), add("idle@i/1")), "role 2 lacks canAddParticipant"},
	{"a pseudonym", nil, commit(member(carl), data(policy.ParticipantList, (&ListUpdate{Added: []Participant{{"mimi://e.example/p/x", 2}}}).Marshal())), "pseudonyms"},
	{"a pseudonym where allowed", func(c *Contents) { c.Rules.Base.Pseudonyms = true },
		commit(member(carl), data(policy.ParticipantList, (&ListUpdate{Added: []Participant{{"mimi://e.example/p/x", 2}}}).Marshal())), ""},

	// The gateway participant.
	{"gateway adds its people", nil, commit(member(gatewayA), roles("eve@a=2 eva@a=2"), add("eve@a/1"), add("eva@a/1")), ""},
	{"gateway adds another's user", nil, commit(member(gatewayA), roles("eve@e=2"), add("eve@e/1")), "its own domain only"},
	{"gateway adds an admin of its own", nil, commit(member(gatewayA), roles("eve@a=3")), "from role 0 to role 3"},
	{"gateway removes its own", nil, commit(member(gatewayA), roles("anna@a=0"), rm(anna)), ""},
	{"gateway removes another's", nil, commit(member(gatewayA), roles("dora@d=0"), rm(dora)), "its own domain only"},
	{"gateway removes another's client", nil, commit(member(gatewayA), rm(dora)), "its own domain only"},
	{"gateway replaces its person's client", nil, commit(member(gatewayA), rm(anna), add("anna@a/1")), ""},
	{"gateway bans its own", nil, commit(member(gatewayA), roles("anna@a=1"), rm(anna)), ""},
	{"gateway promotes its own", nil, commit(member(gatewayA), roles("anna@a=3")), "canChangeUserRole of role 6"},
	{"gateway renames", nil, commit(member(gatewayA), metadata(rename)), ""},
	{"gateway sets the subject", nil, commit(member(gatewayA), metadata(func(m *Metadata) { m.Subject = "s" })), "lacks canChangeRoomSubject"},
	{"admin invites another's gateway", nil, commit(member(carl), roles("gateway@e=6"), add("gateway@e/1")), ""},
	{"gateway recovers with its people", nil, commit(newcomer("gateway@a/2"), plain(mls.ProposalExternalInit), rm(gatewayA), rm(anna), add("anna@a/1")), ""},

	// Joining.
	{"second device", nil, commit(newcomer("bob@b/3"), plain(mls.ProposalExternalInit)), ""},
	{"device that replaces itself", nil, commit(newcomer("bob@b/1"), plain(mls.ProposalExternalInit), rm(bob)), ""},
	{"device without removing the old", nil, commit(newcomer("bob@b/1"), plain(mls.ProposalExternalInit)), "two leaves"},
	{"banned device", nil, commit(newcomer("mallory@m/1"), plain(mls.ProposalExternalInit)), "role 1 lacks canAddOwnClient"},
	{"closed door", nil, commit(newcomer("eve@e/1"), roles("eve@e=2")), "role 2 lacks canJoinIfPreauthorized"},
	{"open door", openDoor, commit(newcomer("eve@e/1"), roles("eve@e=2")), ""},
	{"open door, no entry in the list", openDoor, commit(newcomer("eve@e/1")), "canAddOwnClient takes a participant"},
	{"open door, an admin's entry", openDoor, commit(newcomer("eve@e/1"), roles("eve@e=3")), "not allowed"},
	{"open door, a friend too", openDoor, commit(newcomer("eve@e/1"), roles("eve@e=2 eva@e=2")), "takes a participant"},
	{"open door, renaming", openDoor, commit(newcomer("eve@e/1"), roles("eve@e=2"), metadata(rename)), "nothing but its own entry"},
	{"open door, kicking", openDoor, commit(newcomer("eve@e/1"), roles("eve@e=2"), rm(dora)), "takes a participant"},
	{"open door for the banned", openDoor, commit(newcomer("mallory@m/1"), roles("mallory@m=2")), "lacks canChangeOwnRole"},
	{"no external commits", func(c *Contents) { openDoor(c); c.Rules.Operational.ExternalCommits = false },
		commit(newcomer("eve@e/1"), roles("eve@e=2")), "no external commits"},
	{"a newcomer that lacks what is mandatory", func(c *Contents) { c.Rules.Operational.Mandatory.CipherSuites = []uint16{7} },
		commit(newcomer("bob@b/3")), "lacks a mandatory capability"},
	{"proposal to be added", nil, propose(newcomer("bob@b/3"), add("bob@b/3")), ""},
	{"proposal to be added, a stranger's", nil, propose(newcomer("eve@e/1"), add("eve@e/1")), "takes a participant"},
	{"proposal to add somebody else", nil, propose(newcomer("bob@b/3"), add("idle@i/1")), "lacks canAddParticipant"},
	{"no external proposals", func(c *Contents) { c.Rules.Operational.ExternalProposals = false },
		propose(newcomer("bob@b/3"), add("bob@b/3")), "no external proposals"},
	{"a code", joinCode, commit(Actor{Kind: Newcomer, Leaf: leaf("eve@e/1"), JoinRole: 2}, roles("eve@e=2")), ""},
	{"another role than the code's", joinCode, commit(Actor{Kind: Newcomer, Leaf: leaf("eve@e/1"), JoinRole: 2}, roles("eve@e=3")), "not allowed"},
	{"a claim", preAuth, commit(Actor{Kind: Newcomer, Leaf: leaf("eve@e/1"), Claims: []policy.Claim{staff}}, roles("eve@e=2")), ""},
	{"no claim", preAuth, commit(newcomer("eve@e/1"), roles("eve@e=2")), "canJoinIfPreauthorized"},

	// Removing, §8.1.2.
	{"admin removes a participant", nil, commit(member(carl), roles("bob@b=0"), rm(bob), rm(bob2)), ""},
	{"admin forgets a client", nil, commit(member(carl), roles("bob@b=0"), rm(bob)), "no longer, a participant"},
	{"admin removes the owner", nil, commit(member(carl), roles("alice@a=0"), rm(alice)), "from role 4 to role 0"},
	{"admin kicks the owner", nil, commit(member(carl), rm(alice)), ""},
	{"member removes", nil, commit(member(bob), roles("dora@d=0"), rm(dora)), "lacks canRemoveParticipant"},
	{"member kicks", nil, commit(member(bob), rm(dora)), "lacks canKick"},
	{"admin kicks one client", nil, commit(member(carl), rm(bob2)), ""},
	{"own client", nil, commit(member(bob), rm(bob2)), ""},
	{"member proposes to leave", nil, propose(member(bob), rm(bob), rm(bob2), roles("bob@b=0")), ""},
	{"member leaves by SelfRemove", nil, propose(member(dora), leave(dora), roles("dora@d=0")), ""},
	{"member leaves a client behind", nil, propose(member(bob), leave(bob), roles("bob@b=0")), "no longer, a participant"},
	{"SelfRemove of another's", nil, propose(member(bob), leave(dora)), "another's leaf"},
	{"SelfRemove of another of its own", nil, propose(member(bob), leave(bob2)), "another's leaf"},
	{"SelfRemove twice", nil, propose(member(bob), leave(bob), leave(bob)), "removed twice"},
	{"SelfRemove beside a Remove", nil, propose(member(bob), rm(bob), leave(bob)), ""},
	{"only the list", nil, propose(member(bob), roles("bob@b=0")), "no longer, a participant"},
	{"last admin leaves", nil, propose(member(carl), leave(carl), roles("carl@c=0")), "role 3 has at least 1 participants"},
	{"last admin's client goes", nil, propose(member(carl), leave(carl)), ""},
	{"last active admin's client goes", func(c *Contents) { c.Rules.Role(3).MinActive = 1 }, propose(member(carl), leave(carl)), "at least 1 active"},
	{"blank leaf", nil, commit(member(carl), rm(70)), "blank"},

	// Roles, §8.1.3.
	{"admin promotes", nil, commit(member(carl), roles("bob@b=3")), ""},
	{"admin demotes the owner", nil, commit(member(carl), roles("alice@a=3")), "from role 4 to role 3"},
	{"member promotes itself", nil, commit(member(bob), roles("bob@b=3")), "lacks canChangeOwnRole"},
	{"admin demotes itself", nil, commit(member(carl), roles("carl@c=2")), "lacks canChangeOwnRole"},
	{"a preauthorised member becomes admin", preAuth, commit(Actor{Leaf: Leaf{Index: bob}, Claims: []policy.Claim{staff, boss}}, roles("bob@b=3")), ""},
	{"a member without the claim", preAuth, commit(Actor{Leaf: Leaf{Index: bob}, Claims: []policy.Claim{staff}}, roles("bob@b=3")), "canChangeOwnRole of role 2"},
	{"admin bans", nil, commit(member(carl), roles("bob@b=1"), rm(bob), rm(bob2)), ""},
	{"admin bans but forgets a client", nil, commit(member(carl), roles("bob@b=1"), rm(bob)), "keeps clients"},
	{"admin bans somebody from outside", nil, commit(member(carl), roles("eve@e=1")), ""},
	{"member bans", nil, commit(member(bob), roles("dora@d=1"), rm(dora)), "lacks canChangeUserRole"},
	{"admin unbans", nil, commit(member(carl), roles("mallory@m=2")), ""},
	{"admin unbans and adds a client", nil, commit(member(carl), roles("mallory@m=2"), add("mallory@m/1")), ""},
	{"admin removes the banned from the list", nil, commit(member(carl), roles("mallory@m=0")), ""},
	{"unbanning alone licenses no clients", func(c *Contents) {
		c.Rules.Role(3).Capabilities = []policy.Capability{policy.CanUnban}
	}, commit(member(carl), roles("mallory@m=2"), add("mallory@m/1")), "role 3 lacks canAddParticipant"},
	{"banning by kick and role change", func(c *Contents) {
		c.Rules.Role(3).Capabilities = []policy.Capability{policy.CanKick, policy.CanChangeUserRole}
	}, commit(member(carl), roles("bob@b=1"), rm(bob), rm(bob2)), ""},
	{"banning by role change alone", func(c *Contents) { c.Rules.Role(3).Capabilities = []policy.Capability{policy.CanChangeUserRole} },
		commit(member(carl), roles("bob@b=1"), rm(bob), rm(bob2)), "lacks canKick"},
	{"two changes of one user", nil, commit(member(carl), roles("bob@b=3"), roles("bob@b=0"), rm(bob), rm(bob2)), "two changes of one user"},

	// Limits.
	{"max_users", func(c *Contents) { c.Rules.Base.MaxUsers = limit(8) }, commit(member(carl), roles("eve@e=2")), "at most 8 users"},
	{"max_users does not count the banned", func(c *Contents) { c.Rules.Base.MaxUsers = limit(9) }, commit(member(carl), roles("eve@e=2")), ""},
	{"max_clients", func(c *Contents) { c.Rules.Base.MaxClients = limit(7) }, commit(member(bob), add("bob@b/3")), "at most 7 clients"},
	{"one client per user", func(c *Contents) { c.Rules.Base.MultiDevice = false }, commit(member(dora), add("dora@d/2")), "one client only"},
	{"one client per user, replaced", func(c *Contents) { c.Rules.Base.MultiDevice = false }, commit(newcomer("dora@d/1"), rm(dora)), ""},
	{"role maximum", func(c *Contents) { c.Rules.Role(3).Max = limit(1) }, commit(member(carl), roles("bob@b=3")), "role 3 has at most 1 participants"},
	{"role maximum, exchanged", func(c *Contents) { c.Rules.Role(3).Max = limit(1) }, commit(member(alice), roles("bob@b=3 carl@c=2")), ""},
	{"active maximum", func(c *Contents) { c.Rules.Role(2).MaxActive = limit(3) }, commit(member(carl), add("idle@i/1")), "role 2 has at most 3 active"},
	{"fixed membership", fixed, commit(member(alice), roles("eve@e=2")), "membership is fixed"},
	{"fixed membership: leaving", fixed, propose(member(dora), leave(dora), roles("dora@d=0")), "membership is fixed"},
	{"fixed membership: own client", fixed, propose(member(dora), leave(dora)), ""},
	{"fixed membership: second device", fixed, commit(newcomer("dora@d/2")), ""},
	{"a client with a forbidden capability", func(c *Contents) { c.Rules.Operational.Forbidden.Credentials = []uint16{1} },
		commit(member(bob), Proposal{Type: mls.ProposalAdd, Leaf: leaf("bob@b/3"), Client: policy.ClientCapabilities{Credentials: []uint16{1}}}), "forbidden capability"},

	// Metadata, §8.2.
	{"admin changes all", nil, commit(member(carl), metadata(func(m *Metadata) {
		*m = Metadata{URI: clubhouse, Name: "n", Avatar: "https://a", Subject: "s", Mood: "m", Descriptions: []Description{{Content: "d"}}}
	})), ""},
	{"member renames", nil, commit(member(bob), metadata(rename)), "role 2 lacks canChangeRoomName"},
	{"the address changes", nil, commit(member(alice), metadata(func(m *Metadata) { m.URI += "2" })), "room_uri changes"},
	{"metadata twice", nil, commit(member(alice), metadata(rename), metadata(rename)), "two updates of room_metadata"},
	{"malformed metadata", nil, commit(member(alice), data(policy.RoomMetadata, []byte{9})), "malformed"},
	{"metadata removed", nil, commit(member(alice), drop(policy.RoomMetadata)), "cannot be removed"},

	// Policy.
	{"owner changes roles", nil, commit(member(alice), rules(policy.RolesList, func(r *policy.Rules) { r.Role(2).Name = "Leute" })), ""},
	{"admin changes roles", nil, commit(member(carl), rules(policy.RolesList, sameRules)), "lacks canChangeRoleDefinitions"},
	{"roles beside participants", nil, commit(member(alice), rules(policy.RolesList, sameRules), roles("eve@e=2")), "in one commit"},
	{"a role that somebody has goes", nil, commit(member(alice), rules(policy.RolesList, func(r *policy.Rules) {
		r.Bots, r.Roles = nil, slices.DeleteFunc(r.Roles, func(r policy.Role) bool { return r.Index == 5 })
	})), "a role that does not exist"},
	{"a maximum below those present", nil, commit(member(alice), rules(policy.RolesList, func(r *policy.Rules) { r.Role(2).Max = limit(3) })), "at most 3 participants"},
	{"preauth", nil, commit(member(alice), rules(policy.PreAuthList, func(r *policy.Rules) { r.PreAuth = []policy.PreAuthEntry{{Target: *r.Role(2)}} })), ""},
	{"preauth by an admin", nil, commit(member(carl), rules(policy.PreAuthList, sameRules)), "lacks canChangePreauthorizedUserList"},
	{"preauth with another role", nil, commit(member(alice), rules(policy.PreAuthList, func(r *policy.Rules) { r.PreAuth = []policy.PreAuthEntry{{Target: policy.Role{Index: 2}}} })), "otherwise than the roles list"},
	{"preauth beside a removal", nil, commit(member(alice), rules(policy.PreAuthList, sameRules), roles("idle@i=0")), ""},
	{"preauth beside an addition", nil, commit(member(alice), rules(policy.PreAuthList, sameRules), roles("eve@e=2")), "in one commit"},
	{"roles out of step with preauth", preAuth, commit(member(alice), rules(policy.RolesList, sameRules)), "otherwise than the roles list"},
	{"base policy", nil, commit(member(alice), rules(policy.BaseRoomPolicy, func(r *policy.Rules) { r.Base.MaxUsers = limit(9) })), ""},
	{"base policy that does not fit", nil, commit(member(alice), rules(policy.BaseRoomPolicy, func(r *policy.Rules) { r.Base.MaxUsers = limit(3) })), "there are 8"},
	{"fixing a room whose roles add", nil, commit(member(alice), rules(policy.BaseRoomPolicy, func(r *policy.Rules) { r.Base.FixedMembership = true })), "in a room of fixed membership"},
	{"base policy by an admin", nil, commit(member(carl), rules(policy.BaseRoomPolicy, sameRules)), "lacks canChangeRoomMembershipStyle"},
	{"operational policy by the owner", nil, commit(member(alice), rules(policy.MLSOperationalPolicy, sameRules)), "lacks canChangeMlsOperationalPolicies"},
	{"operational policy by the hub", nil, propose(server("a"), rules(policy.MLSOperationalPolicy, sameRules)), ""},
	{"operational policy we cannot read", nil, propose(server("a"), data(policy.MLSOperationalPolicy, []byte{9})), "malformed"},
	{"status policy", nil, commit(member(alice), rules(policy.StatusNotificationPolicy, sameRules)), ""},
	{"status policy by an admin", nil, commit(member(carl), rules(policy.StatusNotificationPolicy, sameRules)), "lacks canChangeOtherPolicyAttribute"},
	{"status policy removed", nil, commit(member(alice), drop(policy.StatusNotificationPolicy)), ""},
	{"removed twice", nil, commit(member(alice), drop(policy.StatusNotificationPolicy), drop(policy.StatusNotificationPolicy)), "removed twice"},
	{"removed and updated", nil, commit(member(alice), drop(policy.StatusNotificationPolicy), rules(policy.StatusNotificationPolicy, sameRules)), "updated and removed"},
	{"what is absent is removed", nil, commit(member(alice), drop(policy.AssetPolicy)), "no data to remove"},
	{"an unknown component", nil, commit(member(alice), data(0x0999, nil)), "not known"},
	{"franking agent", nil, commit(member(alice), data(policy.FrankingAgent, []byte{1})), ""},
	{"join link", nil, commit(member(alice), data(policy.JoinLinks, mls.Marshal(&LinksUpdate{Added: []string{"x"}}))), ""},

	// Other proposals.
	{"ReInit", nil, commit(member(alice), plain(mls.ProposalReInit)), ""},
	{"ReInit by an admin", nil, commit(member(carl), plain(mls.ProposalReInit)), "lacks canSendMLSReinitProposal"},
	{"ReInit in company", nil, commit(member(alice), plain(mls.ProposalReInit), add("alice@a/2")), "no other proposal"},
	{"extensions", nil, commit(member(alice), plain(mls.ProposalGroupContextExtensions)), ""},
	{"extensions by a member", nil, commit(member(bob), plain(mls.ProposalGroupContextExtensions)), "lacks"},
	{"PSK", nil, commit(member(bob), plain(mls.ProposalPSK)), ""},
	{"new keys", nil, propose(member(bob), rekey(bob)), ""},
	{"another's new keys", nil, propose(member(bob), rekey(dora)), "another leaf"},
	{"new keys for another user", nil, propose(member(bob), func() Proposal { p := rekey(dora); p.Leaf.Index = bob; return p }()), "another user"},
	{"empty commit", nil, commit(member(bob)), ""},
	{"empty bundle", nil, propose(member(bob)), "no proposal"},
	{"ExternalInit of a member", nil, commit(member(bob), plain(mls.ProposalExternalInit)), "does not belong"},
	{"proposal of no type", nil, propose(member(bob), ref("r", Proposal{})), "cannot stand alone"},
	{"proposal of unknown type", nil, commit(member(bob), plain(99)), "does not belong"},
	{"an unknown reference", nil, commit(member(bob), pending("?")), "names no pending proposal"},

	// Who does not take part.
	{"blank sender", nil, commit(member(77)), "leaf is blank"},
	{"newcomer without a name", nil, commit(Actor{Kind: Newcomer}), "names no user"},
	{"server without a name", nil, propose(Actor{Kind: Server}, rm(bob)), "names no provider"},
	{"servers do not commit", nil, commit(server("a"), rm(bob)), "do not commit"},
	{"hub removes a lost client", nil, propose(server("a"), rm(bob)), ""},
	{"hub, as enforcer, removes a participant", nil, propose(server("a"), roles("dora@d=0"), rm(dora)), ""},
	{"hub, as enforcer, adds", nil, propose(server("a"), roles("eve@e=2")), "role 5 lacks canAddParticipant"},
	{"hub without an entry", func(c *Contents) { c.Participants = slices.Delete(c.Participants, 5, 6) }, propose(server("a"), rm(bob)), ""},
	{"follower removes a lost client of its own", nil, propose(server("b"), rm(bob)), ""},
	{"follower removes another's", nil, propose(server("b"), rm(dora)), "takes a participant"},
	{"follower removes a participant", nil, propose(server("b"), roles("bob@b=0"), rm(bob), rm(bob2)), "takes a participant"},
	{"server sends a PSK", nil, propose(server("a"), plain(mls.ProposalPSK)), "does not belong"},
}

var (
	staff = policy.Claim{CredentialType: 2, ID: "O", Value: "Example"}
	boss  = policy.Claim{CredentialType: 2, ID: "OU", Value: "Boss"}
)

func openDoor(c *Contents) {
	r := c.Rules.Role(policy.NoRole)
	r.Capabilities = []policy.Capability{policy.CanOpenJoin}
	r.Changes = []policy.RoleChange{{From: 0, Targets: []policy.RoleIndex{2}}}
}

func joinCode(c *Contents) {
	r := c.Rules.Role(policy.NoRole)
	r.Capabilities = []policy.Capability{policy.CanUseJoinCode}
	r.Changes = []policy.RoleChange{{From: 0, Targets: []policy.RoleIndex{2, 3}}}
}

func preAuth(c *Contents) {
	for _, i := range []policy.RoleIndex{2, 3} {
		r := c.Rules.Role(i)
		r.Capabilities = append(r.Capabilities, policy.CanJoinIfPreauthorized, policy.CanChangeOwnRole)
	}
	c.Rules.PreAuth = []policy.PreAuthEntry{{Claims: []policy.Claim{staff, boss}, Target: *c.Rules.Role(3)},
		{Claims: []policy.Claim{staff}, Target: *c.Rules.Role(2)}}
}

func fixed(c *Contents) { c.Rules.Base.FixedMembership = true }

// TestApply runs the table. A refused update must leave the state as it was; an accepted one must hold what must always hold.
func TestApply(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			s := build(t, test.change)
			print := fingerprint(s)
			next, err := s.Apply(test.update)
			checkError(t, err, test.want)
			if got := fingerprint(s); got != print {
				t.Errorf("the state changed:\n%s\nbefore\n%s", got, print)
			}
			if err == nil {
				checkSound(t, s, next, test.update)
			}
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("refused: %v; want %q", err, want)
	case err != nil && !errors.Is(err, policy.ErrDenied) && !errors.Is(err, policy.ErrInvalid) && !errors.Is(err, mls.ErrSyntax):
		t.Errorf("%v is of no known kind", err)
	case err != nil && !errors.Is(err, mls.ErrSyntax) && !strings.Contains(err.Error(), "§") && !strings.Contains(err.Error(), "(mimigate"):
		t.Errorf("%v names no section", err)
	}
}

// fingerprint shows all that a state holds.
func fingerprint(s *State) string {
	return fmt.Sprintf("%v %v %v %v %v %x %d pending", s.Participants(), s.Metadata(), slices.Collect(s.Leaves()), s.effective.leaves, s.effective.adds,
		sha256.Sum256(mls.Marshal(s.Dictionary())), len(s.Pending()))
}

// checkSound checks what holds after every accepted update: each client's user is a participant, no banned one has a client, the
// dictionary is what the MLS engine makes of the same proposals, and a state read from dictionary and leaves is the same.
func checkSound(t testing.TB, before, after *State, u Update) {
	t.Helper()
	v := after.effective
	if v.strays > 0 {
		t.Error("a client without a participant")
	}
	for _, p := range v.people {
		if p.Role == policy.BannedRole && p.clients > 0 || v.rules.Role(p.Role) == nil {
			t.Errorf("participant %+v", p)
		}
	}
	if !u.Commit {
		if !reflect.DeepEqual(before.Dictionary(), after.Dictionary()) || len(after.Pending()) != len(before.Pending())+len(u.Proposals) {
			t.Error("a bundle changed the committed room, or is not pending")
		}
		return
	}
	if len(after.Pending()) > 0 || after.committed != after.effective {
		t.Error("something is pending after a commit")
	}
	if want := engineDictionary(t, before, u); !reflect.DeepEqual(after.Dictionary(), want) {
		t.Errorf("dictionary\n%x\nthe engine has\n%x", after.Dictionary(), want)
	}
	again, err := New(after.Room(), after.Dictionary(), slices.Collect(after.Leaves()))
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint(again) != fingerprint(after) {
		t.Errorf("read again\n%s\nwant\n%s", fingerprint(again), fingerprint(after))
	}
	if !reflect.DeepEqual(again.Rules(), after.Rules()) {
		t.Error("read again, the rules differ")
	}
}

// engineDictionary applies a commit to the dictionary as the MLS engine does, knowing bytes only.
func engineDictionary(t testing.TB, s *State, u Update) mls.AppDataDictionary {
	t.Helper()
	updates := make(map[mls.ComponentID][][]byte)
	dict := s.Dictionary()
	for _, p := range u.Proposals {
		if p.Ref != "" {
			for _, q := range s.Pending() {
				if q.Proposal.Ref == p.Ref {
					p = q.Proposal
				}
			}
		}
		if p.Type == mls.ProposalAppDataUpdate && p.Remove {
			dict = dict.With(mls.ComponentID(p.Component), nil)
		} else if p.Type == mls.ProposalAppDataUpdate {
			updates[mls.ComponentID(p.Component)] = append(updates[mls.ComponentID(p.Component)], p.Data)
		}
	}
	for id, list := range updates {
		old, _ := s.Dictionary().Get(id)
		data, err := Components{}.Update(id, old, list)
		if err != nil {
			t.Fatalf("the engine refuses what was accepted: %v", err)
		}
		dict = dict.With(id, data)
	}
	return dict
}
