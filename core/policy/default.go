package policy

import (
	"slices"
	"strings"
)

// The roles of the rooms we create. 0 to 4 are those that other implementations use as well.
const (
	MemberRole   RoleIndex = 2
	AdminRole    RoleIndex = 3
	OwnerRole    RoleIndex = 4
	EnforcerRole RoleIndex = 5 // the hub's server, acting through external_senders
	GatewayRole  RoleIndex = 6 // a provider's gateway participant
)

// Default returns the policy of an ordinary room: members talk, admins moderate and invite, the owner changes the rules, the
// hub enforces, and each provider's gateway participant looks after the people of its own domain (package comment). A
// gateway adds its people as members and may demote or remove them, but promotes nobody: otherwise any provider in the
// room could make itself an admin of it. Admins and owners bring gateways in. The gateway that creates the room is listed by
// whoever builds the first participant list, as owner or as gateway.
//
// The caller fills in what depends on its domain: Assets, and the homepage of the gateway's entry in Bots.
func Default() *Rules {
	member := []Capability{
		CanAddOwnClient, CanRemoveOwnClient, CanRemoveSelf,
		CanSendMessage, CanReceiveMessage, CanCopyMessage, CanReportAbuse, CanReplyToMessage, CanReactToMessage, CanEditReaction,
		CanDeleteOwnReaction, CanEditOwnMessage, CanDeleteOwnMessage, CanStartTopic, CanReplyInTopic,
		CanUploadImage, CanUploadAudio, CanUploadVideo, CanUploadAttachment,
		CanDownloadImage, CanDownloadAudio, CanDownloadVideo, CanDownloadAttachment,
		CanSendLink, CanSendLinkPreview, CanFollowLink, CanCopyLink,
	}
	admin := with(member, CanAddParticipant, CanRemoveParticipant, CanBan, CanUnban, CanKick, CanChangeUserRole,
		CanDeleteOtherReaction, CanDeleteOtherMessage, CanEditOwnTopic, CanEditOtherTopic,
		CanChangeRoomName, CanChangeRoomDescription, CanChangeRoomAvatar, CanChangeRoomSubject, CanChangeRoomMood)
	owner := with(admin, CanDestroyRoom, CanChangeRoomMembershipStyle, CanChangeRoleDefinitions, CanChangePreauthorizedUserList,
		CanChangeOtherPolicyAttribute, CanSendMLSReinitProposal)
	enforcer := with(nil, CanRemoveParticipant, CanBan, CanUnban, CanChangeUserRole, CanDestroyRoom, CanChangeRoleDefinitions,
		CanChangePreauthorizedUserList, CanChangeMLSOperationalPolicies, CanSendMLSReinitProposal)
	gateway := with(member, CanAddParticipant, CanRemoveParticipant, CanBan, CanUnban, CanKick, CanChangeUserRole, CanChangeRoomName,
		OwnDomainOnly)

	r := &Rules{
		Roles: []Role{
			{Index: NoRole, Name: "no_role", MaxActive: limit(0)},
			{Index: BannedRole, Name: bannedName, MaxActive: limit(0)},
			{Index: MemberRole, Name: "member", Capabilities: member, Changes: changes("0:2 2:0")},
			{Index: AdminRole, Name: "admin", Capabilities: admin, Min: 1, Changes: changes("0:1236 1:023 2:013 3:012 6:01")},
			{Index: OwnerRole, Name: "owner", Capabilities: owner,
				Changes: changes("0:12346 1:02346 2:01346 3:01246 4:01236 6:01234")},
			{Index: EnforcerRole, Name: "policy_enforcer", Capabilities: enforcer, Max: limit(2), MaxActive: limit(0),
				Changes: changes("0:1 1:0 2:01 3:01 4:01 6:01")},
			{Index: GatewayRole, Name: "gateway", Capabilities: gateway, Changes: changes("0:12 1:02 2:01 3:012 4:012 6:0")},
		},
		Base:        Base{MultiDevice: true, Persistent: true},
		Operational: defaultOperational(),
		Status:      &StatusNotifications{Delivery: Optional, Read: Optional},
		Bots: []Bot{{Name: "gateway", Description: "Carries messages between this room and other networks.",
			Role: GatewayRole}},
	}
	r.Base.Components = r.Components()
	return r
}

// DirectMessage returns the policy of a conversation of two: both are admins, nobody can come in, and a user who wants no
// more of it removes its clients (mimi-room-policy-04 §5). There is at most one such room for a set of participants.
func DirectMessage() *Rules {
	r := Default()
	member := r.Role(MemberRole).Capabilities
	admin := slices.DeleteFunc(with(member, CanEditOwnTopic, CanChangeRoomName, CanChangeRoomDescription, CanChangeRoomAvatar,
		CanChangeRoomSubject, CanChangeRoomMood), func(c Capability) bool { return c == CanRemoveSelf })
	r.Roles = []Role{
		{Index: NoRole, Name: "no_role", MaxActive: limit(0)},
		{Index: BannedRole, Name: bannedName, MaxActive: limit(0)},
		{Index: AdminRole, Name: "admin", Capabilities: admin, Max: limit(2)},
	}
	r.Bots = nil
	r.Base.FixedMembership = true
	r.Base.MaxUsers = limit(2)
	r.Base.Components = r.Components()
	return r
}

// defaultOperational tells other providers what our hub and clients do: application messages of the last 8 epochs are taken
// (a commit may overtake many messages on its way through a bridge), handshakes are PublicMessages so that hubs can judge them.
func defaultOperational() *Operational {
	const day = 24 * 60 * 60
	return &Operational{
		HandshakeFormats:      []uint16{1},
		ExternalProposals:     true,
		ExternalCommits:       true,
		Pending:               PendingProposals{Strategy: UnspecifiedStrategy},
		LeafUpdate:            TimeRange{Min: day, Default: 30 * day, Max: 90 * day},
		Messages:              AppMessages{EpochTolerance: 8, MaxSkipAhead: 1000},
		MaxKeyPackageLifetime: 400 * day,
		MaxCredentialLifetime: 400 * day,
		ResumptionPSKLifetime: 30 * day,
		SenderKeyLifetime:     TimeRange{Min: 0, Default: day, Max: 7 * day},
		MaxSenderKeys:         1000,
		BufferTime:            TimeRange{Min: 0, Default: 60, Max: day},
		MaxBuffered:           1000,
	}
}

// with returns the sorted union.
func with(base []Capability, more ...Capability) []Capability {
	all := append(slices.Clone(base), more...)
	slices.Sort(all)
	return slices.Compact(all)
}

func limit(n uint32) *uint32 { return &n }

// changes reads "0:12 2:0": from role 0 to 1 or 2, from 2 to 0.
func changes(text string) []RoleChange {
	var list []RoleChange
	for entry := range strings.FieldsSeq(text) {
		c := RoleChange{From: RoleIndex(entry[0] - '0')}
		for _, d := range entry[2:] {
			c.Targets = append(c.Targets, RoleIndex(d-'0'))
		}
		list = append(list, c)
	}
	return list
}
