package policy

import "slices"

// Rules is the whole policy of a room: the contents of components 0x0024 to 0x0030. A nil pointer stands for a component
// that the room does not have. Rules are shared between states: never change one that a room uses, make another.
type Rules struct {
	Roles   []Role         // roles_list
	PreAuth []PreAuthEntry // preauth_list
	Base    Base           // base_room_policy

	Operational *Operational         // mls_operational_policy
	Status      *StatusNotifications // status_notification_policy
	JoinLink    *JoinLinkRules       // join_link_policy
	JoinLinks   []string             // join_links: the links in force, by index
	LinkPreview *LinkPreviews        // link_preview_policy
	Assets      *Assets              // asset_policy
	Logging     *Logging             // logging_policy
	History     *History             // chat_history_policy
	Bots        []Bot                // bot_policy; nil: absent, empty: no bot is allowed
	Expiration  *Expiration          // message_expiration_policy
}

// Base is the base_room_policy (mimi-room-policy-04 §5).
type Base struct {
	FixedMembership bool    // nobody may be added or removed, or leave
	ParentDependent bool    // participants are a strict subset of the parent's
	ParentRoom      string  // URI; empty where ParentDependent is false
	MultiDevice     bool    // a user may have several clients in the group
	MaxClients      *uint32 // greatest number of clients in the group
	MaxUsers        *uint32 // greatest number of participants that are not banned
	Pseudonyms      bool    // credentials may name pseudonyms (/p/)
	Persistent      bool    // the policy outlives the last client
	Discoverable    bool    // the room may be found by searching
	Components      []Component
}

// Components returns the policy components that the rules hold, by number: what base_room_policy lists as relevant, itself aside.
func (r *Rules) Components() []Component {
	present := map[Component]bool{
		MLSOperationalPolicy:     r.Operational != nil,
		RolesList:                true,
		PreAuthList:              true,
		StatusNotificationPolicy: r.Status != nil,
		JoinLinkPolicy:           r.JoinLink != nil,
		JoinLinks:                r.JoinLinks != nil,
		LinkPreviewPolicy:        r.LinkPreview != nil,
		AssetPolicy:              r.Assets != nil,
		LoggingPolicy:            r.Logging != nil,
		ChatHistoryPolicy:        r.History != nil,
		BotPolicy:                r.Bots != nil,
		MessageExpirationPolicy:  r.Expiration != nil,
	}
	var list []Component
	for c, ok := range present {
		if ok {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}

// Validate reports the first rule that the policy as a whole breaks, wrapping ErrInvalid. Whether the people now in the room
// fit it is for [Rules.CheckCensus].
func (r *Rules) Validate() error {
	checks := []func() error{
		r.validateRoles, r.validatePreAuth, r.validateBase, r.Operational.validate, r.LinkPreview.validate, r.Assets.validate,
		r.Logging.validate, r.validateHistory, r.validateBots, r.Expiration.validate, r.validateJoinLinks,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rules) validateBase() error {
	if r.Base.ParentDependent != (r.Base.ParentRoom != "") {
		return Invalid(secBase, "parent_room must be set exactly where parent_dependent is")
	}
	return nil
}

func (r *Rules) validateJoinLinks() error {
	// "If the on_request field is true, a maximum of one joining link will be persisted".
	if r.JoinLink != nil && r.JoinLink.OnRequest && len(r.JoinLinks) > 1 {
		return Invalid(secJoinLink, "on_request allows one join link, there are %d", len(r.JoinLinks))
	}
	return nil
}
