package policy

import (
	"fmt"
	"slices"
)

// Capability is a number of the MIMI Role Capabilities registry (mimi-room-policy-04 §10.2). 0xF000 and above are private.
type Capability uint16

// The registry. What each one licenses is told at [Rules.Allowed].
const (
	CanAddParticipant      Capability = 0x0000
	CanRemoveParticipant   Capability = 0x0001
	CanAddOwnClient        Capability = 0x0002
	CanRemoveOwnClient     Capability = 0x0003
	CanOpenJoin            Capability = 0x0004
	CanJoinIfPreauthorized Capability = 0x0005
	CanRemoveSelf          Capability = 0x0006
	CanCreateJoinCode      Capability = 0x0007
	CanDeleteJoinCode      Capability = 0x0008
	CanUseJoinCode         Capability = 0x0009
	CanBan                 Capability = 0x000a
	CanUnban               Capability = 0x000b
	CanKick                Capability = 0x000c
	CanKnock               Capability = 0x000d
	CanAcceptKnock         Capability = 0x000e
	CanChangeUserRole      Capability = 0x000f
	CanChangeOwnRole       Capability = 0x0010
	CanCreateSubgroup      Capability = 0x0011

	CanSendMessage         Capability = 0x0100
	CanReceiveMessage      Capability = 0x0101
	CanCopyMessage         Capability = 0x0102
	CanReportAbuse         Capability = 0x0103
	CanReplyToMessage      Capability = 0x0104
	CanReactToMessage      Capability = 0x0105
	CanEditReaction        Capability = 0x0106
	CanDeleteOwnReaction   Capability = 0x0107
	CanDeleteOtherReaction Capability = 0x0108
	CanEditOwnMessage      Capability = 0x0109
	CanDeleteOwnMessage    Capability = 0x010a
	CanDeleteOtherMessage  Capability = 0x010b
	CanStartTopic          Capability = 0x010c
	CanReplyInTopic        Capability = 0x010d
	CanEditOwnTopic        Capability = 0x010e
	CanEditOtherTopic      Capability = 0x010f
	CanSendDirectMessage   Capability = 0x0110
	CanTargetMessage       Capability = 0x0111

	CanUploadImage        Capability = 0x0200
	CanUploadAudio        Capability = 0x0201
	CanUploadVideo        Capability = 0x0202
	CanUploadAttachment   Capability = 0x0203
	CanDownloadImage      Capability = 0x0204
	CanDownloadAudio      Capability = 0x0205
	CanDownloadVideo      Capability = 0x0206
	CanDownloadAttachment Capability = 0x0207
	CanSendLink           Capability = 0x0208
	CanSendLinkPreview    Capability = 0x0209
	CanFollowLink         Capability = 0x020a
	CanCopyLink           Capability = 0x020b

	CanChangeRoomName        Capability = 0x0300
	CanChangeRoomDescription Capability = 0x0301
	CanChangeRoomAvatar      Capability = 0x0302
	CanChangeRoomSubject     Capability = 0x0303
	CanChangeRoomMood        Capability = 0x0304
	CanChangeOwnName         Capability = 0x0380
	CanChangeOwnPresence     Capability = 0x0381
	CanChangeOwnMood         Capability = 0x0382
	CanChangeOwnAvatar       Capability = 0x0383

	CanStartCall        Capability = 0x0400
	CanJoinCall         Capability = 0x0401
	CanSendAudio        Capability = 0x0402
	CanReceiveAudio     Capability = 0x0403
	CanSendVideo        Capability = 0x0404
	CanReceiveVideo     Capability = 0x0405
	CanShareScreen      Capability = 0x0406
	CanViewSharedScreen Capability = 0x0407

	CanCreateRoom                  Capability = 0x0500
	CanDestroyRoom                 Capability = 0x0501
	CanChangeRoomMembershipStyle   Capability = 0x0502
	CanChangeRoleDefinitions       Capability = 0x0503
	CanChangePreauthorizedUserList Capability = 0x0504
	CanChangeOtherPolicyAttribute  Capability = 0x0505

	CanChangeMLSOperationalPolicies Capability = 0x0600
	CanSendMLSReinitProposal        Capability = 0x0601
	CanSendMLSUpdateProposal        Capability = 0x0602
	CanSendMLSPSKProposal           Capability = 0x0603
	CanSendMLSExternalProposal      Capability = 0x0604
	CanSendMLSExternalCommit        Capability = 0x0605

	// OwnDomainOnly is ours: it narrows its role's power over others to users of the holder's own provider (package comment).
	OwnDomainOnly Capability = 0xf001
)

// Enforcer says who can see whether a capability was needed.
type Enforcer uint8

const (
	// ByHub: the hub sees it in handshakes or in the envelope of a message.
	ByHub Enforcer = iota
	// ByHubPartly: the hub sees some uses and clients must check the others.
	ByHubPartly
	// ByClients: it lies inside the encryption; the receiving clients enforce it.
	ByClients
	// ByNobody: the number is reserved and stands for no operation yet.
	ByNobody
)

// Subject says whom an action is about.
type Subject uint8

const (
	// AboutRoom: the room, or a message regardless of whose it is.
	AboutRoom Subject = iota
	// AboutSelf: the actor, its clients, or what it sent.
	AboutSelf
	// AboutOther: somebody else.
	AboutOther
)

// Info is a row of the registry.
type Info struct {
	Number   Capability
	Name     string
	Enforcer Enforcer
	Subject  Subject
	Section  string // where it is defined
}

// registry is sorted by number.
var registry = [...]Info{
	{CanAddParticipant, "canAddParticipant", ByHub, AboutOther, secAdding},
	{CanRemoveParticipant, "canRemoveParticipant", ByHub, AboutOther, secRemoving},
	{CanAddOwnClient, "canAddOwnClient", ByHub, AboutSelf, secAdding},
	{CanRemoveOwnClient, "canRemoveOwnClient", ByHub, AboutSelf, secRemoving},
	{CanOpenJoin, "canOpenJoin", ByHub, AboutSelf, secAdding},
	{CanJoinIfPreauthorized, "canJoinIfPreauthorized", ByHub, AboutSelf, secAdding},
	{CanRemoveSelf, "canRemoveSelf", ByHub, AboutSelf, secRemoving},
	{CanCreateJoinCode, "canCreateJoinCode", ByNobody, AboutRoom, secReserved},
	{CanDeleteJoinCode, "canDeleteJoinCode", ByNobody, AboutRoom, secReserved},
	{CanUseJoinCode, "canUseJoinCode", ByHub, AboutSelf, secAdding},
	{CanBan, "canBan", ByHub, AboutOther, secRoleChange},
	{CanUnban, "canUnBan", ByHub, AboutOther, secRoleChange},
	{CanKick, "canKick", ByHub, AboutOther, secRemoving},
	{CanKnock, "canKnock", ByNobody, AboutRoom, secReserved},
	{CanAcceptKnock, "canAcceptKnock", ByNobody, AboutRoom, secReserved},
	{CanChangeUserRole, "canChangeUserRole", ByHub, AboutOther, secRoleChange},
	{CanChangeOwnRole, "canChangeOwnRole", ByHub, AboutSelf, secRoleChange},
	{CanCreateSubgroup, "canCreateSubgroup", ByNobody, AboutRoom, secReserved},
	{CanSendMessage, "canSendMessage", ByHub, AboutRoom, secMessage},
	{CanReceiveMessage, "canReceiveMessage", ByHubPartly, AboutRoom, secMessage},
	{CanCopyMessage, "canCopyMessage", ByClients, AboutRoom, secMessage},
	{CanReportAbuse, "canReportAbuse", ByHubPartly, AboutRoom, secMessage},
	{CanReplyToMessage, "canReplyToMessage", ByClients, AboutRoom, secMessage},
	{CanReactToMessage, "canReactToMessage", ByClients, AboutRoom, secMessage},
	{CanEditReaction, "canEditReaction", ByClients, AboutSelf, secMessage},
	{CanDeleteOwnReaction, "canDeleteOwnReaction", ByClients, AboutSelf, secMessage},
	{CanDeleteOtherReaction, "canDeleteOtherReaction", ByClients, AboutOther, secMessage},
	{CanEditOwnMessage, "canEditOwnMessage", ByClients, AboutSelf, secMessage},
	{CanDeleteOwnMessage, "canDeleteOwnMessage", ByClients, AboutSelf, secMessage},
	{CanDeleteOtherMessage, "canDeleteOtherMessage", ByClients, AboutOther, secMessage},
	{CanStartTopic, "canStartTopic", ByClients, AboutRoom, secMessage},
	{CanReplyInTopic, "canReplyInTopic", ByClients, AboutRoom, secMessage},
	{CanEditOwnTopic, "canEditOwnTopic", ByClients, AboutSelf, secMessage},
	{CanEditOtherTopic, "canEditOtherTopic", ByClients, AboutOther, secMessage},
	{CanSendDirectMessage, "canSendDirectMessage", ByNobody, AboutRoom, secReserved},
	{CanTargetMessage, "canTargetMessage", ByNobody, AboutRoom, secReserved},
	{CanUploadImage, "canUploadImage", ByClients, AboutRoom, secAsset},
	{CanUploadAudio, "canUploadAudio", ByClients, AboutRoom, secAsset},
	{CanUploadVideo, "canUploadVideo", ByClients, AboutRoom, secAsset},
	{CanUploadAttachment, "canUploadAttachment", ByClients, AboutRoom, secAsset},
	{CanDownloadImage, "canDownloadImage", ByClients, AboutRoom, secAsset},
	{CanDownloadAudio, "canDownloadAudio", ByClients, AboutRoom, secAsset},
	{CanDownloadVideo, "canDownloadVideo", ByClients, AboutRoom, secAsset},
	{CanDownloadAttachment, "canDownloadAttachment", ByClients, AboutRoom, secAsset},
	{CanSendLink, "canSendLink", ByClients, AboutRoom, secMessage},
	{CanSendLinkPreview, "canSendLinkPreview", ByClients, AboutRoom, secMessage},
	{CanFollowLink, "canFollowLink", ByClients, AboutRoom, secMessage},
	{CanCopyLink, "canCopyLink", ByClients, AboutRoom, secMessage},
	{CanChangeRoomName, "canChangeRoomName", ByHub, AboutRoom, secMetadata},
	{CanChangeRoomDescription, "canChangeRoomDescription", ByHub, AboutRoom, secMetadata},
	{CanChangeRoomAvatar, "canChangeRoomAvatar", ByHub, AboutRoom, secMetadata},
	{CanChangeRoomSubject, "canChangeRoomSubject", ByHub, AboutRoom, secMetadata},
	{CanChangeRoomMood, "canChangeRoomMood", ByHub, AboutRoom, secMetadata},
	{CanChangeOwnName, "canChangeOwnName", ByNobody, AboutSelf, secReserved},
	{CanChangeOwnPresence, "canChangeOwnPresence", ByNobody, AboutSelf, secReserved},
	{CanChangeOwnMood, "canChangeOwnMood", ByNobody, AboutSelf, secReserved},
	{CanChangeOwnAvatar, "canChangeOwnAvatar", ByNobody, AboutSelf, secReserved},
	{CanStartCall, "canStartCall", ByClients, AboutRoom, secMedia},
	{CanJoinCall, "canJoinCall", ByClients, AboutRoom, secMedia},
	{CanSendAudio, "canSendAudio", ByClients, AboutRoom, secMedia},
	{CanReceiveAudio, "canReceiveAudio", ByClients, AboutRoom, secMedia},
	{CanSendVideo, "canSendVideo", ByClients, AboutRoom, secMedia},
	{CanReceiveVideo, "canReceiveVideo", ByClients, AboutRoom, secMedia},
	{CanShareScreen, "canShareScreen", ByClients, AboutRoom, secMedia},
	{CanViewSharedScreen, "canViewSharedScreen", ByClients, AboutRoom, secMedia},
	{CanCreateRoom, "canCreateRoom", ByNobody, AboutRoom, secReserved},
	{CanDestroyRoom, "canDestroyRoom", ByHub, AboutRoom, secDisruptive},
	{CanChangeRoomMembershipStyle, "canChangeRoomMembershipStyle", ByHub, AboutRoom, secDisruptive},
	{CanChangeRoleDefinitions, "canChangeRoleDefinitions", ByHub, AboutRoom, secDisruptive},
	{CanChangePreauthorizedUserList, "canChangePreauthorizedUserList", ByHub, AboutRoom, secDisruptive},
	{CanChangeOtherPolicyAttribute, "canChangeOtherPolicyAttribute", ByHub, AboutRoom, secReserved},
	{CanChangeMLSOperationalPolicies, "canChangeMlsOperationalPolicies", ByHub, AboutRoom, secReserved},
	{CanSendMLSReinitProposal, "canSendMLSReinitProposal", ByHub, AboutRoom, secDisruptive},
	{CanSendMLSUpdateProposal, "canSendMLSUpdateProposal", ByNobody, AboutRoom, secReserved},
	{CanSendMLSPSKProposal, "canSendMLSPSKProposal", ByNobody, AboutRoom, secReserved},
	{CanSendMLSExternalProposal, "canSendMLSExternalProposal", ByNobody, AboutRoom, secReserved},
	{CanSendMLSExternalCommit, "canSendMLSExternalCommit", ByNobody, AboutRoom, secReserved},
	{OwnDomainOnly, "ownDomainOnly", ByHub, AboutRoom, secOurs},
}

// Capabilities returns every capability that has a name, by number.
func Capabilities() []Info { return slices.Clone(registry[:]) }

// Info returns the registry's row, or false for a number without one.
func (c Capability) Info() (Info, bool) {
	i, found := slices.BinarySearchFunc(registry[:], c, func(row Info, c Capability) int { return int(row.Number) - int(c) })
	if !found {
		return Info{}, false
	}
	return registry[i], true
}

// String returns the name in the registry, or the number in hexadecimal.
func (c Capability) String() string {
	if info, ok := c.Info(); ok {
		return info.Name
	}
	return fmt.Sprintf("capability %#04x", uint16(c))
}
