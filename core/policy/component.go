package policy

import (
	"fmt"
	"slices"
)

// Component is the number of an MLS component that holds a part of the room's state (mls-extensions-10 §7.5,
// mimi-room-policy-04 §10.1). The numbers of the MIMI drafts are suggested values: this is the one place where they stand.
type Component uint16

// The components of a room's GroupContext.
const (
	AppComponents     Component = 0x0001
	SafeAAD           Component = 0x0002
	ContentMediaTypes Component = 0x0003

	FrankAAD                 Component = 0x0020 // in authenticated data only
	FrankingAgent            Component = 0x0021
	ParticipantList          Component = 0x0022
	RoomMetadata             Component = 0x0023
	MLSOperationalPolicy     Component = 0x0024
	RolesList                Component = 0x0025
	PreAuthList              Component = 0x0026
	BaseRoomPolicy           Component = 0x0027
	StatusNotificationPolicy Component = 0x0028
	JoinLinkPolicy           Component = 0x0029
	JoinLinks                Component = 0x002a
	LinkPreviewPolicy        Component = 0x002b
	AssetPolicy              Component = 0x002c
	LoggingPolicy            Component = 0x002d
	ChatHistoryPolicy        Component = 0x002e
	BotPolicy                Component = 0x002f
	MessageExpirationPolicy  Component = 0x0030
)

// License says what an AppDataUpdate of a component takes.
type License struct {
	Component Component
	Name      string
	Needs     Capability // to update or remove it; room_metadata and participant_list have rules of their own
	Required  bool       // a room cannot be without it: removal is invalid
}

// licenses is sorted by number. [R] The reserved canChangeOtherPolicyAttribute guards what no other capability names.
var licenses = [...]License{
	{AppComponents, "app_components", CanChangeOtherPolicyAttribute, false},
	{SafeAAD, "safe_aad", CanChangeOtherPolicyAttribute, false},
	{ContentMediaTypes, "content_media_types", CanChangeOtherPolicyAttribute, false},
	{FrankingAgent, "franking_agent", CanChangeOtherPolicyAttribute, false},
	{ParticipantList, "participant_list", CanAddParticipant, true},
	{RoomMetadata, "room_metadata", CanChangeRoomName, true},
	{MLSOperationalPolicy, "mls_operational_policy", CanChangeMLSOperationalPolicies, false},
	{RolesList, "roles_list", CanChangeRoleDefinitions, true},
	{PreAuthList, "preauth_list", CanChangePreauthorizedUserList, false},
	{BaseRoomPolicy, "base_room_policy", CanChangeRoomMembershipStyle, true},
	{StatusNotificationPolicy, "status_notification_policy", CanChangeOtherPolicyAttribute, false},
	{JoinLinkPolicy, "join_link_policy", CanChangeOtherPolicyAttribute, false},
	{JoinLinks, "join_links", CanChangeOtherPolicyAttribute, false},
	{LinkPreviewPolicy, "link_preview_policy", CanChangeOtherPolicyAttribute, false},
	{AssetPolicy, "asset_policy", CanChangeOtherPolicyAttribute, false},
	{LoggingPolicy, "logging_policy", CanChangeOtherPolicyAttribute, false},
	{ChatHistoryPolicy, "chat_history_policy", CanChangeOtherPolicyAttribute, false},
	{BotPolicy, "bot_policy", CanChangeOtherPolicyAttribute, false},
	{MessageExpirationPolicy, "message_expiration_policy", CanChangeOtherPolicyAttribute, false},
}

// License returns what an update of c takes, or false for a component that a GroupContext of ours cannot hold.
func (c Component) License() (License, bool) {
	i, found := slices.BinarySearchFunc(licenses[:], c, func(l License, c Component) int { return int(l.Component) - int(c) })
	if !found {
		return License{}, false
	}
	return licenses[i], true
}

// String returns the component's name, or its number in hexadecimal.
func (c Component) String() string {
	if l, ok := c.License(); ok {
		return l.Name
	}
	return fmt.Sprintf("component %#04x", uint16(c))
}
