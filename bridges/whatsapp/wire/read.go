//go:build !nowhatsapp

package wire

import (
	"fmt"
	"math"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/thing"
)

// Reader reads messages of people.
type Reader struct {
	// Name is what a person calls themself; "" where it is not known.
	Name func(types.JID) string
	// Voted returns the options of a poll that a vote chose, and false where it cannot be read. See Votes.
	Voted func(poll types.MessageID) ([]thing.Option, bool)
}

var noID content.MessageID

// Read returns what a message says, be it a text, a file, an edit, a deletion, a reaction; nil: nothing that people see. viewOnce:
// the sender wished it to be seen once.
func (r Reader) Read(m *waE2E.Message, viewOnce bool) adapter.Body {
	switch {
	case m == nil:
		return nil
	case m.ReactionMessage != nil:
		to, emoji := m.ReactionMessage.GetKey().GetID(), Clean(m.ReactionMessage.GetText())
		if to == "" {
			return nil
		}
		set := adapter.Reactions{To: adapter.NativeID(to)}
		if emoji != "" {
			set.Emoji = []string{emoji}
		}
		return set
	case m.ProtocolMessage != nil:
		return r.protocol(m.ProtocolMessage)
	case m.PollUpdateMessage != nil:
		return r.vote(m.PollUpdateMessage.GetPollCreationMessageKey().GetID())
	}
	body, ok := r.body(m, viewOnce)
	if !ok {
		return nil
	}
	said := adapter.Message{Content: content.Of(body)}
	if context := contextOf(m); context != nil {
		// A reply to a status or to another chat refers to nothing that is here.
		if remote := context.GetRemoteJID(); remote == "" {
			said.InReplyTo = adapter.NativeID(context.GetStanzaID())
		}
		if seconds := context.GetExpiration(); seconds > 0 {
			said.Content.Expires = content.ExpiresAfter(time.Duration(seconds) * time.Second)
		}
	}
	return said
}

// protocol reads what changes another message or the chat.
func (r Reader) protocol(p *waE2E.ProtocolMessage) adapter.Body {
	target := adapter.NativeID(p.GetKey().GetID())
	switch p.GetType() {
	case waE2E.ProtocolMessage_REVOKE:
		if target == "" {
			return nil
		}
		return adapter.Message{Content: content.Delete(noID), Replaces: target}
	case waE2E.ProtocolMessage_MESSAGE_EDIT:
		body, ok := r.body(p.GetEditedMessage(), false)
		if !ok || target == "" {
			return nil
		}
		return adapter.Message{Content: content.Of(body), Replaces: target}
	case waE2E.ProtocolMessage_EPHEMERAL_SETTING:
		return adapter.Message{Content: content.Text(TimerLine(time.Duration(p.GetEphemeralExpiration()) * time.Second))}
	}
	return nil
}

// vote reads a vote, which refers to its poll.
func (r Reader) vote(poll types.MessageID) adapter.Body {
	if poll == "" {
		return nil
	}
	var body content.Part
	if options, ok := r.Voted(poll); ok {
		part, err := thing.Vote{Options: options}.Part()
		if err != nil {
			return nil
		}
		body = part
	} else {
		body = content.TextPart("🗳 voted in a poll that is not known here")
	}
	return adapter.Message{Content: content.Of(body), InReplyTo: adapter.NativeID(poll)}
}

// body is the content of a message; false: there is nothing that people see.
func (r Reader) body(m *waE2E.Message, viewOnce bool) (content.Part, bool) {
	if m == nil {
		return content.Part{}, false
	}
	if file, ok := fileOf(m); ok {
		return r.filePart(file, viewOnce), true
	}
	text := func(s string) (content.Part, bool) { return content.TextPart(s), true }
	switch {
	case m.Conversation != nil:
		return ReadText(m.GetConversation(), nil, r.Name), true
	case m.ExtendedTextMessage != nil:
		return ReadText(m.ExtendedTextMessage.GetText(), mentionsOf(m), r.Name), true
	case m.LocationMessage != nil:
		l := m.LocationMessage
		return place(l.GetDegreesLatitude(), l.GetDegreesLongitude(), joined(", ", l.GetName(), joined(", ", l.GetAddress(), l.GetComment())))
	case m.LiveLocationMessage != nil: // where they are at this moment; it is not followed
		l := m.LiveLocationMessage
		return place(l.GetDegreesLatitude(), l.GetDegreesLongitude(), joined(": ", "live location", l.GetCaption()))
	case m.ContactMessage != nil:
		return contact(m.ContactMessage), true
	case m.ContactsArrayMessage != nil:
		return contacts(m.ContactsArrayMessage)
	case m.GroupInviteMessage != nil: // without its code, which would let anybody in
		return text(joined(": ", "✉️ invitation to the group “"+Clean(m.GroupInviteMessage.GetGroupName())+"”", Clean(m.GroupInviteMessage.GetCaption())))
	case m.EventMessage != nil:
		return text(eventLine(m.EventMessage))
	case m.Call != nil, m.BcallMessage != nil:
		return missedCall()
	case m.ScheduledCallCreationMessage != nil:
		return text("📞 " + Clean(m.ScheduledCallCreationMessage.GetTitle()))
	}
	if poll := pollOf(m); poll != nil {
		return pollPart(poll)
	}
	if silent(m) {
		return content.Part{}, false
	}
	return text("[a message of a kind that is shown in WhatsApp only]")
}

func joined(sep, a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// silent reports whether a message holds only what people do not see: keys, settings, the announcement of an album's pictures.
func silent(m *waE2E.Message) bool {
	rest := proto.Clone(m).(*waE2E.Message)
	rest.SenderKeyDistributionMessage = nil
	rest.FastRatchetKeySenderKeyDistributionMessage = nil
	rest.MessageContextInfo = nil
	rest.AlbumMessage = nil
	rest.KeepInChatMessage = nil
	rest.PinInChatMessage = nil
	rest.StickerSyncRmrMessage = nil
	rest.EncReactionMessage = nil
	rest.Chat = nil
	rest.PlaceholderMessage = nil
	rest.MessageHistoryNotice = nil
	rest.MessageHistoryBundle = nil
	rest.GroupRootKeyShare = nil
	rest.RootSecretDistributeMessage = nil
	return proto.Size(rest) == 0
}

func place(latitude, longitude float64, name string) (content.Part, bool) {
	part, err := thing.Place{Latitude: latitude, Longitude: longitude, Name: Clean(name)}.Part()
	if err != nil {
		return content.TextPart(joined(": ", "📍", Clean(name))), true
	}
	return part, true
}

// contact is somebody's card.
func contact(c *waE2E.ContactMessage) content.Part {
	card := []byte(strings.ToValidUTF8(c.GetVcard(), "\uFFFD"))
	line := thing.ContactLine(card)
	if line == "" {
		line = Clean(c.GetDisplayName())
	}
	if len(card) == 0 {
		return content.TextPart("👤 " + line)
	}
	return content.Alternatives(
		content.Part{Disposition: content.Attachment, Body: content.Single{ContentType: content.TypeContact, Content: card}},
		content.TextPart("👤 "+line))
}

// maxContacts is how many cards of one message are passed on.
const maxContacts = 50

func contacts(all *waE2E.ContactsArrayMessage) (content.Part, bool) {
	var parts []content.Part
	for _, c := range all.GetContacts()[:min(len(all.GetContacts()), maxContacts)] {
		parts = append(parts, contact(c))
	}
	switch len(parts) {
	case 0:
		return content.TextPart("👤 " + Clean(all.GetDisplayName())), true
	case 1:
		return parts[0], true
	}
	return content.Album(parts...), true
}

func eventLine(e *waE2E.EventMessage) string {
	line := "📅 " + Clean(e.GetName())
	if e.GetIsCanceled() {
		line += " (cancelled)"
	}
	if t := e.GetStartTime(); t > 0 && t < math.MaxInt32*10 {
		line += ", " + time.Unix(t, 0).UTC().Format("2006-01-02 15:04 UTC")
	}
	return joined("\n", joined(", ", line, Clean(e.GetLocation().GetName())), Clean(e.GetDescription()))
}

func missedCall() (content.Part, bool) {
	part, err := thing.Notice{Event: thing.MissedCall}.Part("📞 call on WhatsApp")
	return part, err == nil
}

// TimerLine says that messages of a chat now disappear after a time, or no longer.
func TimerLine(after time.Duration) string {
	if after <= 0 {
		return "⏱ messages no longer disappear here"
	}
	if days := after / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("⏱ messages now disappear here after %d d", days)
	}
	return fmt.Sprintf("⏱ messages now disappear here after %v", after)
}

// Polls.

func pollOf(m *waE2E.Message) *waE2E.PollCreationMessage {
	for _, p := range []*waE2E.PollCreationMessage{m.GetPollCreationMessage(), m.GetPollCreationMessageV2(), m.GetPollCreationMessageV3(),
		m.GetPollCreationMessageV5(), m.GetPollCreationMessageV6()} {
		if p != nil {
			return p
		}
	}
	if inner := m.GetPollCreationMessageV4().GetMessage(); inner != nil && inner.GetPollCreationMessageV4() == nil {
		return pollOf(inner)
	}
	return nil
}

// Options returns the options of the poll that a message is, or none.
func Options(m *waE2E.Message) []string {
	var out []string
	for _, o := range pollOf(m).GetOptions() {
		out = append(out, o.GetOptionName())
	}
	return out
}

func pollPart(p *waE2E.PollCreationMessage) (content.Part, bool) {
	poll := thing.Poll{Question: Clean(p.GetName()), Max: uint16(min(p.GetSelectableOptionsCount(), math.MaxUint16))}
	for i, o := range p.GetOptions() {
		poll.Options = append(poll.Options, thing.Option{ID: fmt.Sprint(i + 1), Text: Clean(o.GetOptionName())})
	}
	if poll.Max == 0 { // WhatsApp: as many as one likes
		poll.Max = uint16(min(len(poll.Options), math.MaxUint16))
	}
	part, err := poll.Part()
	if err != nil {
		return content.TextPart("📊 " + poll.Question), true
	}
	return part, true
}

// What refers to others.

// contextOf returns the context of a message of whatever kind.
func contextOf(m *waE2E.Message) *waE2E.ContextInfo {
	switch {
	case m.ExtendedTextMessage != nil:
		return m.ExtendedTextMessage.ContextInfo
	case m.ImageMessage != nil:
		return m.ImageMessage.ContextInfo
	case m.VideoMessage != nil:
		return m.VideoMessage.ContextInfo
	case m.PtvMessage != nil:
		return m.PtvMessage.ContextInfo
	case m.AudioMessage != nil:
		return m.AudioMessage.ContextInfo
	case m.DocumentMessage != nil:
		return m.DocumentMessage.ContextInfo
	case m.StickerMessage != nil:
		return m.StickerMessage.ContextInfo
	case m.LocationMessage != nil:
		return m.LocationMessage.ContextInfo
	case m.LiveLocationMessage != nil:
		return m.LiveLocationMessage.ContextInfo
	case m.ContactMessage != nil:
		return m.ContactMessage.ContextInfo
	case m.ContactsArrayMessage != nil:
		return m.ContactsArrayMessage.ContextInfo
	}
	return pollOf(m).GetContextInfo()
}

func mentionsOf(m *waE2E.Message) []string { return contextOf(m).GetMentionedJID() }

// Timer returns after how long the messages of a chat disappear, in seconds, as a message says; false where it does not say.
func Timer(m *waE2E.Message) (uint32, bool) {
	if p := m.GetProtocolMessage(); p.GetType() == waE2E.ProtocolMessage_EPHEMERAL_SETTING && p != nil {
		return p.GetEphemeralExpiration(), true
	}
	if m == nil || m.ProtocolMessage != nil || m.ReactionMessage != nil {
		return 0, false
	}
	if context := contextOf(m); context != nil {
		return context.GetExpiration(), true
	}
	return 0, false
}
