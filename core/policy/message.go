package policy

// Message is what the policy asks about an instant message (mimi-room-policy-04 §8.3, §8.4). All but CanSendMessage lies inside
// the encryption: senders check it before they send, receivers before they believe.
type Message struct {
	Reaction bool // disposition "reaction"
	Reply    bool // answers another message
	Replaces bool // changes a message sent before
	Deleted  bool // and leaves nothing of it
	Own      bool // the sender of this one sent the message it replaces

	Topic        bool // carries a topic
	TopicChanged bool // with Replaces: a topic other than it had

	Links    bool
	Previews bool
	Assets   []AssetKind // uploaded with it
}

// Needs returns the capabilities that sending the message takes. Changing somebody else's words is what no capability allows:
// that alone is an error, wrapping ErrDenied.
func (m Message) Needs() ([]Capability, error) {
	needs := []Capability{CanSendMessage}
	switch {
	case m.Replaces && m.Deleted:
		needs = append(needs, m.deletion())
		return needs, nil // nothing is left that could need more
	case m.Replaces && !m.Own && !m.TopicChanged:
		return nil, Denied(secMessage, "nobody may edit another's message")
	case m.Replaces && m.Reaction:
		needs = append(needs, CanEditReaction)
	case m.Replaces && m.Own:
		needs = append(needs, CanEditOwnMessage)
	case m.Reaction:
		needs = append(needs, CanReactToMessage)
	case m.Reply && !m.Replaces:
		needs = append(needs, m.answer())
	case m.Topic && !m.Replaces:
		needs = append(needs, CanStartTopic)
	}
	if m.Replaces && m.TopicChanged {
		if m.Own {
			needs = append(needs, CanEditOwnTopic)
		} else {
			needs = append(needs, CanEditOtherTopic)
		}
	}
	if m.Previews {
		needs = append(needs, CanSendLinkPreview)
	} else if m.Links {
		needs = append(needs, CanSendLink)
	}
	for _, kind := range m.Assets {
		needs = append(needs, kind.Upload())
	}
	return needs, nil
}

func (m Message) deletion() Capability {
	switch {
	case m.Reaction && m.Own:
		return CanDeleteOwnReaction
	case m.Reaction:
		return CanDeleteOtherReaction
	case m.Own:
		return CanDeleteOwnMessage
	default:
		return CanDeleteOtherMessage
	}
}

func (m Message) answer() Capability {
	if m.Topic {
		return CanReplyInTopic
	}
	return CanReplyToMessage
}

// AllowedMessage reports whether a participant of the given role may send a message; refusals wrap ErrDenied.
func (r *Rules) AllowedMessage(role RoleIndex, m Message) error {
	needs, err := m.Needs()
	if err != nil {
		return err
	}
	for _, c := range needs {
		if role == NoRole || !r.Holds(role, c) {
			info, _ := c.Info()
			return Denied(info.Section, "role %d lacks %v", role, c)
		}
	}
	return nil
}
