//go:build !nowhatsapp

package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/show"
	"mimigate/core/content/thing"
)

// What WhatsApp's own clients allow.
const (
	MaxText    = 65_536 // octets of a text; clients count characters
	MaxOptions = 12     // of a poll
)

// Writer makes messages for one chat.
type Writer struct {
	Chat types.JID // where they go
	Own  types.JID // the account's address as the chat uses it
	// Author stands before what is said; "": nobody, the account speaks for itself.
	Author string
	Limits content.Limits
	// Address finds the address of a person as the chat uses it.
	Address func(adapter.PersonID) (types.JID, bool)
	// Timer is after how many seconds the chat's messages disappear; 0: they stay.
	Timer uint32
}

// Step is one native message of those that show a message, and the part of it that it shows.
type Step struct {
	Part    adapter.NativePart // with its id
	Message *waE2E.Message
}

// errNoRef is the reason for refusing what changes a message that is not here; Degrade has turned it into text before that.
var errNoRef = errors.New("what it refers to was never shown here")

// Plan says which native messages show a message: always the same for the same Outbound, so that a repetition is known by its ids. The
// error wraps adapter.ErrRefused.
func (w Writer) Plan(out adapter.Outbound) (steps []Step, notes []string, err error) {
	m := &out.Content
	switch {
	case m.IsDelete():
		steps, err = w.revokes(out.Replaces)
	case m.IsReaction(), m.IsUnreact():
		err = adapter.Refused(errors.New("reactions of several people under one name, which Limits do not offer"))
	case m.IsEdit():
		steps, notes, err = w.edits(out)
	default:
		steps, err = w.says(out)
	}
	if err == nil && len(steps) == 0 {
		err = adapter.Refused(errors.New("nothing to show"))
	}
	for i := range steps {
		s := &steps[i]
		s.Part.ID = adapter.NativeID(MessageID(out.Marker.Key, s.Part.Part, s.Part.Piece))
		Mark(s.Message, out.Marker)
	}
	return steps, notes, err
}

// key refers to a message of the chat.
func (w Writer) key(id adapter.NativeID, author types.JID) *waCommon.MessageKey {
	own := author.IsEmpty() || author.User == w.Own.User
	key := &waCommon.MessageKey{RemoteJID: proto.String(w.Chat.String()), FromMe: proto.Bool(own), ID: proto.String(string(id))}
	if !own && w.Chat.Server == types.GroupServer {
		key.Participant = proto.String(author.ToNonAD().String())
	}
	return key
}

// author returns who wrote an earlier message as the chat knows them: the account itself where it is ours.
func (w Writer) author(ref *adapter.Ref) types.JID {
	if ref.Ours {
		return w.Own
	}
	for _, id := range ref.Author.Native {
		if jid, ok := w.Address(id); ok {
			return jid
		}
	}
	if w.Chat.Server != types.GroupServer {
		return w.Chat
	}
	return types.JID{}
}

// revokes takes all native messages of an earlier message back. Those of others only an admin of the group can.
func (w Writer) revokes(ref *adapter.Ref) ([]Step, error) {
	if ref == nil || len(ref.Parts) == 0 {
		return nil, adapter.Refused(errNoRef)
	}
	author := w.author(ref)
	if author.IsEmpty() {
		return nil, adapter.Refused(errors.New("who wrote it is not known"))
	}
	var steps []Step
	for i, p := range ref.Parts {
		steps = append(steps, Step{adapter.NativePart{Piece: i}, revoke(w.key(p.ID, author))})
	}
	return steps, nil
}

func revoke(key *waCommon.MessageKey) *waE2E.Message {
	return &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: key}}
}

// edits gives the native messages of a message their new texts. An edit makes no new messages: what does not fit is cut off, with
// a note, and those that it does not need any more are taken back.
func (w Writer) edits(out adapter.Outbound) (steps []Step, notes []string, err error) {
	ref := out.Replaces
	if ref == nil || len(ref.Parts) == 0 {
		return nil, nil, adapter.Refused(errNoRef)
	}
	if author := w.author(ref); author.User != w.Own.User {
		return nil, nil, adapter.Refused(errors.New("only who wrote a message can edit it"))
	}
	fresh, err := w.pieces(out)
	if err != nil {
		return nil, nil, err
	}
	for i, old := range ref.Parts {
		part, key := adapter.NativePart{Piece: i}, w.key(old.ID, w.Own)
		if i >= len(fresh) {
			steps = append(steps, Step{part, revoke(key)})
			continue
		}
		steps = append(steps, Step{part, &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{
			ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: key, EditedMessage: fresh[i].Message,
				TimestampMS: proto.Int64(out.Time.UnixMilli())}}}}})
	}
	if len(fresh) > len(steps) {
		notes = append(notes, "the edited message was cut to the length of the first version")
	}
	return steps, notes, nil
}

// says is a new message. The first piece is the answer, if it is one.
func (w Writer) says(out adapter.Outbound) ([]Step, error) {
	steps, err := w.pieces(out)
	if err != nil || len(steps) == 0 || out.InReplyTo == nil || len(out.InReplyTo.Parts) == 0 {
		return steps, err
	}
	context := contextFor(steps[0].Message)
	if context == nil {
		return steps, nil
	}
	context.StanzaID = proto.String(string(out.InReplyTo.Parts[0].ID))
	if author := w.author(out.InReplyTo); !author.IsEmpty() {
		context.Participant = proto.String(author.ToNonAD().String())
	}
	quoted := Clean(out.InReplyTo.Excerpt)
	if quoted == "" {
		quoted = "…" // clients show no quote without a text
	}
	context.QuotedMessage = &waE2E.Message{Conversation: proto.String(quoted)}
	return steps, nil
}

// contextFor returns the context of a message that pieces made, to write to.
func contextFor(m *waE2E.Message) *waE2E.ContextInfo {
	if m.Conversation != nil { // which has none
		m.ExtendedTextMessage = &waE2E.ExtendedTextMessage{Text: m.Conversation, ContextInfo: &waE2E.ContextInfo{}}
		m.Conversation = nil
	}
	switch {
	case m.ExtendedTextMessage != nil:
		return made(&m.ExtendedTextMessage.ContextInfo)
	case m.LocationMessage != nil:
		return made(&m.LocationMessage.ContextInfo)
	case m.ContactMessage != nil:
		return made(&m.ContactMessage.ContextInfo)
	case m.PollCreationMessageV3 != nil:
		return made(&m.PollCreationMessageV3.ContextInfo)
	}
	return nil
}

func made(context **waE2E.ContextInfo) *waE2E.ContextInfo {
	if *context == nil {
		*context = &waE2E.ContextInfo{}
	}
	return *context
}

// pieces are the native messages of a message's body, without what they refer to.
func (w Writer) pieces(out adapter.Outbound) ([]Step, error) {
	limits := w.Limits
	limits.TextBytes = MaxText - len(signed(w.Author, "")) - 8 // the marks around the name
	var steps []Step
	for _, p := range show.Pieces(&out.Content, limits) {
		m, err := w.piece(p.Body, out.Marker.Key)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		if w.Timer > 0 {
			if context := contextFor(m); context != nil {
				context.Expiration = proto.Uint32(w.Timer)
			}
		}
		steps = append(steps, Step{adapter.NativePart{Part: p.Part, Piece: p.Piece}, m})
	}
	return steps, nil
}

// piece is one native message; nil where there is nothing to show.
func (w Writer) piece(p content.Part, key string) (*waE2E.Message, error) {
	if multi, ok := p.Body.(content.Multi); ok && multi.Semantics == content.ChooseOne && len(multi.Parts) > 0 {
		p = choose(multi.Parts)
	}
	if p.IsNull() {
		return nil, nil
	}
	single, ok := p.Body.(content.Single)
	if !ok {
		return nil, adapter.Refused(fmt.Errorf("a part of type %q, which Limits do not offer", p.MediaType()))
	}
	switch p.Kind() {
	case content.KindLocation:
		if place, err := thing.UnmarshalPlace(single.Content); err == nil {
			return w.place(place), nil
		}
	case content.KindContact:
		return w.contact(single.Content), nil
	case content.KindPoll:
		if poll, err := thing.Unmarshal[thing.Poll](single.Content); err == nil {
			return w.poll(poll, key), nil
		}
	}
	if !p.IsText() {
		return nil, adapter.Refused(fmt.Errorf("a part of type %q, which Limits do not offer", p.MediaType()))
	}
	text, mentioned := WriteText(p, w.Address)
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	text = signed(w.Author, text)
	if len(mentioned) == 0 {
		return &waE2E.Message{Conversation: proto.String(text)}, nil
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String(text),
		ContextInfo: &waE2E.ContextInfo{MentionedJID: mentioned}}}, nil
}

// choose returns the best form that WhatsApp has of several: of what was degraded there is one left.
func choose(parts []content.Part) content.Part {
	for _, p := range parts {
		switch p.Kind() {
		case content.KindText, content.KindFormatted, content.KindLocation, content.KindContact, content.KindPoll:
			return p
		}
	}
	return parts[0]
}

func (w Writer) place(p thing.Place) *waE2E.Message {
	return &waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: &p.Latitude, DegreesLongitude: &p.Longitude,
		Name: proto.String(w.titled(p.Name))}}
}

// titled is a title with the author's name before it, without marks, which titles do not have.
func (w Writer) titled(title string) string {
	name := strings.TrimSpace(strings.Trim(signed(w.Author, ""), "*"))
	return strings.TrimSpace(joined(" ", name, Clean(title)))
}

func (w Writer) contact(card []byte) *waE2E.Message {
	name := thing.Fields(card, "FN")["FN"]
	return &waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: proto.String(w.titled(name)), Vcard: proto.String(string(card))}}
}

func (w Writer) poll(p thing.Poll, key string) *waE2E.Message {
	poll := &waE2E.PollCreationMessage{Name: proto.String(w.titled(p.Question)), SelectableOptionsCount: proto.Uint32(uint32(max(p.Max, 1)))}
	for _, o := range p.Options {
		poll.Options = append(poll.Options, &waE2E.PollCreationMessage_Option{OptionName: proto.String(Clean(o.Text))})
	}
	// Votes are encrypted to this secret. It is the same at every attempt, and nobody outside the chat knows the key that it is made of.
	secret := sha256.Sum256([]byte("mimigate poll\x00" + key))
	return &waE2E.Message{PollCreationMessageV3: poll, MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: secret[:]}}
}
