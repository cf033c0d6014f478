package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// allowedByDefault is all that the default policy allows, written down by hand from mimi-room-policy-04 §8 and the table of
// roles: for each role "whom capability [from>to…]". Whom: own, peer (another user of the same provider), other (another user
// of any provider), room (it is about nobody). What is not listed is refused.
var allowedByDefault = map[RoleIndex]string{
	NoRole:     ``,
	BannedRole: ``,
	MemberRole: everybody + `
		own canAddOwnClient 2>2
		own canRemoveOwnClient 2>2
		own canRemoveSelf 2>0`,
	AdminRole: everybody + moderator + `
		own canAddOwnClient 3>3
		own canRemoveOwnClient 3>3
		own canRemoveSelf 3>0
		other canAddParticipant 0>1 0>2 0>3 0>6 2>2 3>3 6>6
		other canRemoveParticipant 1>0 2>0 3>0 6>0
		other canBan 2>1 3>1 6>1 0>1
		other canUnBan 1>2 1>3
		other canKick 1>1 2>2 3>3 4>4 5>5 6>6
		other canChangeUserRole 1>2 1>3 2>1 2>3 3>1 3>2 6>1`,
	OwnerRole: everybody + moderator + `
		room canDestroyRoom canChangeRoomMembershipStyle canChangeRoleDefinitions canChangePreauthorizedUserList
		room canChangeOtherPolicyAttribute canSendMLSReinitProposal
		own canAddOwnClient 4>4
		own canRemoveOwnClient 4>4
		own canRemoveSelf 4>0
		other canAddParticipant 0>1 0>2 0>3 0>4 0>6 2>2 3>3 4>4 6>6
		other canRemoveParticipant 1>0 2>0 3>0 4>0 6>0
		other canBan 0>1 2>1 3>1 4>1 6>1
		other canUnBan 1>2 1>3 1>4 1>6
		other canKick 1>1 2>2 3>3 4>4 5>5 6>6
		other canChangeUserRole 1>2 1>3 1>4 1>6 2>1 2>3 2>4 2>6 3>1 3>2 3>4 3>6 4>1 4>2 4>3 4>6 6>1 6>2 6>3 6>4`,
	EnforcerRole: `
		room canDestroyRoom canChangeRoleDefinitions canChangePreauthorizedUserList canChangeMlsOperationalPolicies
		room canSendMLSReinitProposal
		other canRemoveParticipant 1>0 2>0 3>0 4>0 6>0
		other canBan 0>1 2>1 3>1 4>1 6>1
		other canChangeUserRole 2>1 3>1 4>1 6>1`,
	GatewayRole: everybody + `
		room canChangeRoomName ownDomainOnly
		own canAddOwnClient 6>6
		own canRemoveOwnClient 6>6
		own canRemoveSelf 6>0
		peer canAddParticipant 0>1 0>2 2>2
		peer canRemoveParticipant 1>0 2>0 3>0 4>0 6>0
		peer canBan 0>1 2>1 3>1 4>1
		peer canUnBan 1>2
		peer canKick 1>1 2>2 3>3 4>4 5>5 6>6
		peer canChangeUserRole 1>2 2>1 3>1 3>2 4>1 4>2`,
	9: ``, // no such role
}

const everybody = `
		room canSendMessage canReceiveMessage canCopyMessage canReportAbuse canReplyToMessage canReactToMessage
		room canStartTopic canReplyInTopic
		room canUploadImage canUploadAudio canUploadVideo canUploadAttachment
		room canDownloadImage canDownloadAudio canDownloadVideo canDownloadAttachment
		room canSendLink canSendLinkPreview canFollowLink canCopyLink
		own canEditReaction *
		own canDeleteOwnReaction *
		own canEditOwnMessage *
		own canDeleteOwnMessage *`

const moderator = `
		own canEditOwnTopic *
		other canDeleteOtherReaction *
		other canDeleteOtherMessage *
		other canEditOtherTopic *
		room canChangeRoomName canChangeRoomDescription canChangeRoomAvatar canChangeRoomSubject canChangeRoomMood`

// moves are the capabilities for which the roles before and after matter.
var moves = []Capability{CanAddParticipant, CanRemoveParticipant, CanAddOwnClient, CanRemoveOwnClient, CanOpenJoin,
	CanJoinIfPreauthorized, CanRemoveSelf, CanUseJoinCode, CanBan, CanUnban, CanKick, CanChangeUserRole, CanChangeOwnRole}

// expected turns the lines into the set of "whom capability from>to" that are allowed; "*" stands for any roles.
func expected(t *testing.T, lines string) map[string]bool {
	t.Helper()
	set := make(map[string]bool)
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "room" {
			for _, name := range words[1:] {
				for _, whom := range []string{"own", "peer", "foreign"} {
					set[whom+" "+name+" *"] = true
				}
			}
			continue
		}
		whoms := map[string][]string{"own": {"own"}, "peer": {"peer"}, "other": {"peer", "foreign"}}[words[0]]
		if len(whoms) == 0 || len(words) < 3 {
			t.Fatalf("bad line %q", line)
		}
		for _, whom := range whoms {
			for _, move := range words[2:] {
				set[whom+" "+words[1]+" "+move] = true
			}
		}
	}
	return set
}

// TestMatrix compares Allowed with the table for every capability of the registry and some unknown ones, every role, every
// relation to the other user, and every role of that user before (0: outsider, 1: banned) and after.
func TestMatrix(t *testing.T) {
	rules := Default()
	capabilities := []Capability{0x0012, 0x0606, 0xf000, 0xffff}
	for _, info := range Capabilities() {
		capabilities = append(capabilities, info.Number)
	}
	indices := []RoleIndex{0, 1, 2, 3, 4, 5, 6, 9}
	asked, allowed := 0, 0
	for actor, lines := range allowedByDefault {
		want := expected(t, lines)
		seen := make(map[string]bool)
		for _, c := range capabilities {
			for _, whom := range []string{"own", "peer", "foreign"} {
				for _, from := range indices {
					for _, to := range indices {
						if whom == "own" && from != actor {
							continue
						}
						key := fmt.Sprintf("%s %v %d>%d", whom, c, from, to)
						if !slices.Contains(moves, c) {
							if from != actor || to != actor {
								continue
							}
							key = fmt.Sprintf("%s %v *", whom, c)
						}
						a := Action{Use: c, Own: whom == "own", Domain: "a.example", From: from, To: to}
						if whom == "foreign" {
							a.Domain = "b.example"
						}
						err := rules.Allowed(Actor{Role: actor, Domain: "a.example"}, a)
						asked++
						if (err == nil) != want[key] {
							t.Errorf("role %d, %s: got %v, want allowed=%v", actor, key, err, want[key])
						}
						if err == nil {
							allowed++
						} else if !errors.Is(err, ErrDenied) {
							t.Errorf("role %d, %s: %v is not ErrDenied", actor, key, err)
						}
						seen[key] = true
					}
				}
			}
		}
		for key := range want {
			if !seen[key] {
				t.Errorf("role %d: the table's %q was never asked", actor, key)
			}
		}
	}
	t.Logf("%d questions, %d allowed", asked, allowed)
}

// TestDirectMessageMatrix: in a conversation of two nobody comes, leaves, or changes the other's role, whatever is asked.
func TestDirectMessageMatrix(t *testing.T) {
	rules := DirectMessage()
	if err := rules.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range moves {
		for from := range RoleIndex(5) {
			for to := range RoleIndex(5) {
				for _, own := range []bool{true, false} {
					err := rules.Allowed(Actor{Role: AdminRole, Domain: "a.example"}, Action{Use: c, Own: own, From: from, To: to})
					want := own && from == AdminRole && to == AdminRole && (c == CanAddOwnClient || c == CanRemoveOwnClient)
					if (err == nil) != want {
						t.Errorf("%v own=%v %d>%d: %v", c, own, from, to, err)
					}
				}
			}
		}
	}
	if !rules.Holds(AdminRole, CanSendMessage) || rules.Holds(AdminRole, CanAddParticipant) {
		t.Error("an admin of a direct message must be able to write and unable to invite")
	}
}

// TestFixedMembership: the same capabilities that work in an open room do not in a fixed one.
func TestFixedMembership(t *testing.T) {
	open, fixed := Default(), Default()
	fixed.Base.FixedMembership = true
	for _, test := range []struct {
		name  string
		by    Actor
		a     Action
		fixed bool
	}{
		{"add", Actor{Role: OwnerRole}, Action{Use: CanAddParticipant, From: 0, To: 2}, false},
		{"add a client", Actor{Role: OwnerRole}, Action{Use: CanAddParticipant, From: 2, To: 2}, true},
		{"remove", Actor{Role: OwnerRole}, Action{Use: CanRemoveParticipant, From: 2, To: 0}, false},
		{"leave", Actor{Role: MemberRole}, Action{Use: CanRemoveSelf, Own: true, From: 2, To: 0}, false},
		{"ban an outsider", Actor{Role: OwnerRole}, Action{Use: CanBan, From: 0, To: 1}, false},
		{"change a role", Actor{Role: OwnerRole}, Action{Use: CanChangeUserRole, From: 2, To: 3}, true},
		{"add own client", Actor{Role: MemberRole}, Action{Use: CanAddOwnClient, Own: true, From: 2, To: 2}, true},
		{"remove own client", Actor{Role: MemberRole}, Action{Use: CanRemoveOwnClient, Own: true, From: 2, To: 2}, true},
	} {
		if err := open.Allowed(test.by, test.a); err != nil {
			t.Errorf("%s in an open room: %v", test.name, err)
		}
		if err := fixed.Allowed(test.by, test.a); (err == nil) != test.fixed {
			t.Errorf("%s in a fixed room: %v", test.name, err)
		}
	}
}

// TestServers: what the hub's and followers' servers may do without a role, and with one they are preauthorised for.
func TestServers(t *testing.T) {
	rules := Default()
	kick := Action{Use: CanKick, Domain: "b.example", From: 2, To: 2}
	remove := Action{Use: CanRemoveParticipant, Domain: "b.example", From: 2, To: 0}
	claim := Claim{CredentialType: 1, ID: "uri", Value: "mimi://hub.example"}
	for _, test := range []struct {
		name string
		by   Actor
		a    Action
		want bool
	}{
		{"hub removes a lost client", Actor{Server: Hub, Domain: "hub.example"}, kick, true},
		{"follower removes a client of its own", Actor{Server: Follower, Domain: "b.example"}, kick, true},
		{"follower removes another's client", Actor{Server: Follower, Domain: "c.example"}, kick, false},
		{"a stranger removes a client", Actor{Domain: "b.example"}, kick, false},
		{"hub without a role removes a participant", Actor{Server: Hub, Domain: "hub.example"}, remove, false},
		{"hub as enforcer", Actor{Server: Hub, Role: EnforcerRole}, remove, true},
		{"hub with a claim, none asked", Actor{Server: Hub, Claims: []Claim{claim}}, remove, false},
	} {
		if err := rules.Allowed(test.by, test.a); (err == nil) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	rules.PreAuth = []PreAuthEntry{{Claims: []Claim{claim}, Target: *rules.Role(EnforcerRole)}}
	if err := rules.Allowed(Actor{Server: Hub, Claims: []Claim{claim}}, remove); err != nil {
		t.Errorf("preauthorised hub: %v", err)
	}
	if err := rules.Allowed(Actor{Claims: []Claim{claim}}, remove); err == nil {
		t.Error("a preauthorised client acted without joining")
	}
}

// TestJoin: the three ways in, each with its conditions.
func TestJoin(t *testing.T) {
	staff := Claim{CredentialType: 2, ID: "\x06\x03\x55\x04\x0a", Value: "A Example"}
	boss := Claim{CredentialType: 2, ID: "\x06\x03\x55\x04\x0c", Value: "boss"}
	open := Default()
	open.Role(NoRole).Capabilities = []Capability{CanOpenJoin}
	open.Role(NoRole).Changes = changes("0:2")
	code := Default()
	code.Role(NoRole).Capabilities = []Capability{CanUseJoinCode}
	code.Role(NoRole).Changes = changes("0:23")
	pre := Default()
	pre.Role(MemberRole).Capabilities = with(pre.Role(MemberRole).Capabilities, CanJoinIfPreauthorized, CanChangeOwnRole)
	pre.Role(AdminRole).Capabilities = with(pre.Role(AdminRole).Capabilities, CanJoinIfPreauthorized, CanChangeOwnRole)
	pre.PreAuth = []PreAuthEntry{
		{Claims: []Claim{staff, boss}, Target: *pre.Role(AdminRole)},
		{Claims: []Claim{staff}, Target: *pre.Role(MemberRole)},
	}
	for _, r := range []*Rules{open, code, pre} {
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		rules *Rules
		by    Actor
		to    RoleIndex
		want  bool
	}{
		{"closed room", Default(), Actor{}, 2, false},
		{"open", open, Actor{}, 2, true},
		{"open, as admin", open, Actor{}, 3, false},
		{"open, as nobody", open, Actor{}, 0, false},
		{"open, banned", open, Actor{Role: BannedRole}, 2, false},
		{"open, already in", open, Actor{Role: MemberRole}, 2, false},
		{"no code", code, Actor{}, 2, false},
		{"code", code, Actor{JoinRole: 2}, 2, true},
		{"code for a member, as admin", code, Actor{JoinRole: 2}, 3, false},
		{"code for a role that codes cannot give", code, Actor{JoinRole: 4}, 4, false},
		{"no claims", pre, Actor{}, 2, false},
		{"staff", pre, Actor{Claims: []Claim{staff}}, 2, true},
		{"staff, as admin", pre, Actor{Claims: []Claim{staff}}, 3, false},
		{"boss alone", pre, Actor{Claims: []Claim{boss}}, 3, false},
		{"boss", pre, Actor{Claims: []Claim{boss, staff}}, 3, true},
		{"boss as member: the first match counts", pre, Actor{Claims: []Claim{boss, staff}}, 2, false},
		{"banned staff", pre, Actor{Role: BannedRole, Claims: []Claim{staff}}, 2, false},
	} {
		if err := test.rules.AllowedJoin(test.by, test.to); (err == nil) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	own := func(role, to RoleIndex, claims ...Claim) error {
		return pre.Allowed(Actor{Role: role, Claims: claims}, Action{Use: CanChangeOwnRole, Own: true, From: role, To: to})
	}
	if err := own(2, 3, staff, boss); err != nil {
		t.Errorf("own change to the preauthorised role: %v", err)
	}
	if own(2, 3, staff) == nil || own(2, 4, staff, boss) == nil || own(4, 3, staff, boss) == nil {
		t.Error("own change to a role that is not the first match, or without the capability")
	}
	anybody := Default()
	anybody.Role(MemberRole).Capabilities = with(anybody.Role(MemberRole).Capabilities, CanJoinIfPreauthorized)
	anybody.PreAuth = []PreAuthEntry{{Target: *anybody.Role(MemberRole)}}
	if err := anybody.AllowedJoin(Actor{}, 2); err != nil {
		t.Errorf("an empty claimset matches anyone: %v", err)
	}
}

// TestOtherAttributes: canChangeOtherPolicyAttribute is stood in for only where nobody has it.
func TestOtherAttributes(t *testing.T) {
	rules := Default()
	owner, admin, enforcer := Actor{Role: OwnerRole}, Actor{Role: AdminRole}, Actor{Role: EnforcerRole}
	if rules.AllowedExtensions(owner) != nil || rules.AllowedExtensions(enforcer) != nil || rules.AllowedExtensions(admin) == nil {
		t.Error("extensions: owner and enforcer may change them, admins not")
	}
	use := Action{Use: CanChangeOtherPolicyAttribute}
	role := rules.Role(OwnerRole)
	role.Capabilities = slices.DeleteFunc(role.Capabilities, func(c Capability) bool { return c == CanChangeOtherPolicyAttribute })
	if err := rules.Allowed(owner, use); err != nil {
		t.Errorf("nobody has it, canChangeRoomMembershipStyle stands in: %v", err)
	}
	rules.Role(AdminRole).Capabilities = with(rules.Role(AdminRole).Capabilities, CanChangeOtherPolicyAttribute)
	if rules.Allowed(owner, use) == nil || rules.Allowed(admin, use) != nil {
		t.Error("admins have it, so canChangeRoomMembershipStyle does not stand in")
	}
}
