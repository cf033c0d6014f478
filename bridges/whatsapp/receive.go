//go:build !nowhatsapp

package whatsapp

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/phrase"
	"mimigate/core/content/thing"
)

// lookTime bounds what is asked of WhatsApp while a message waits to be reported.
const lookTime = 10 * time.Second

// event is what all events about a message have. False: it is of no chat that we pass on (a status, a channel).
func (s *session) event(info types.MessageSource) (adapter.Event, bool) {
	ctx, cancel := context.WithTimeout(s.ctx, lookTime)
	defer cancel()
	ev := adapter.Event{Own: info.IsFromMe}
	switch chat := info.Chat; chat.Server {
	case types.GroupServer:
		ev.Conversation = wire.Group(chat)
	case types.DefaultUserServer, types.HiddenUserServer, types.HostedServer, types.HostedLIDServer:
		alt := info.SenderAlt
		if info.IsFromMe {
			alt = info.RecipientAlt
		}
		ev.Conversation = wire.Direct(s.own(), s.lid(ctx, chat, alt))
	case types.BroadcastServer: // to a list of people, of whom we are one: it is shown in the chat with its sender
		if chat == types.StatusBroadcastJID || info.IsFromMe {
			return ev, false
		}
		ev.Conversation = wire.Direct(s.own(), s.lid(ctx, info.Sender, info.SenderAlt))
	default:
		return ev, false
	}
	ev.Sender = s.person(ctx, info.Sender, info.SenderAlt, "")
	return ev, len(ev.Sender.IDs) > 0
}

// message reports what somebody wrote.
func (s *session) message(msg *events.Message) bool {
	ev, ok := s.event(msg.Info.MessageSource)
	if !ok || msg.Info.Category == "peer" {
		return true
	}
	if name := wire.Clean(msg.Info.PushName); name != "" && name != "-" && !ev.Own {
		ev.Sender.Name = name
	}
	ev.ID, ev.Time, ev.Marker = adapter.NativeID(msg.Info.ID), msg.Info.Timestamp, wire.MarkerOf(msg.RawMessage)
	if seconds, ok := wire.Timer(msg.Message); ok {
		s.a.setTimer(ev.Conversation, seconds)
	}
	if err := s.a.polls.put(s.ctx, msg.Info.ID, wire.Options(msg.Message)); err != nil {
		s.end(fmt.Errorf("a poll could not be kept: %w", err))
		return false
	}
	s.decrypt(msg)
	ev.Body = s.reader(msg).Read(msg.Message, msg.IsViewOnce)
	if ev.Body == nil {
		return true
	}
	return s.report(append(s.state(ev, msg.Info.IsGroup), ev)...)
}

// state says first that a chat is one of two people, which WhatsApp has no event for.
func (s *session) state(ev adapter.Event, group bool) []adapter.Event {
	if group {
		return nil
	}
	yes := true
	return []adapter.Event{{Conversation: ev.Conversation, Sender: ev.Sender, Body: adapter.ConversationState{Direct: &yes, Encrypted: &yes}}}
}

// decrypt undoes the second encryption of reactions in announcement groups, and of edits in the newer form.
func (s *session) decrypt(msg *events.Message) {
	if msg.Message.GetEncReactionMessage() != nil {
		reaction, err := s.cli.DecryptReaction(s.ctx, msg)
		if err != nil {
			s.a.account.Log.Warn("a reaction could not be decrypted", "error", redacted(err))
			return
		}
		msg.Message.ReactionMessage = reaction
	}
	secret := msg.Message.GetSecretEncryptedMessage()
	if secret.GetSecretEncType() != waE2E.SecretEncryptedMessage_MESSAGE_EDIT {
		return
	}
	edit, err := s.cli.DecryptSecretEncryptedMessage(s.ctx, msg)
	if err != nil {
		s.a.account.Log.Warn("an edit could not be decrypted", "error", redacted(err))
		return
	}
	if inner := edit.GetEditedMessage().GetMessage(); inner != nil {
		edit = inner
	}
	if edit.ProtocolMessage == nil {
		edit = &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(),
			Key: secret.GetTargetMessageKey(), EditedMessage: edit}}
	}
	msg.Message = edit
}

// reader reads a message.
func (s *session) reader(msg *events.Message) wire.Reader {
	return wire.Reader{
		Name: func(jid types.JID) string { return s.name(s.ctx, jid, s.other(s.ctx, jid)) },
		Voted: func(poll types.MessageID) ([]thing.Option, bool) {
			options := s.a.polls.options(s.ctx, poll)
			vote, err := s.cli.DecryptPollVote(s.ctx, msg)
			if err != nil || options == nil {
				return nil, false
			}
			var chosen []thing.Option
			for i, hash := range whatsmeow.HashPollOptions(options) {
				for _, selected := range vote.GetSelectedOptions() {
					if bytes.Equal(hash, selected) {
						chosen = append(chosen, thing.Option{ID: fmt.Sprint(i + 1), Text: wire.Clean(options[i])})
					}
				}
			}
			return chosen, true
		},
	}
}

// undecryptable announces a message that could not be decrypted. The library has asked its sender's phone, and ours, for another
// copy, which comes with the same id and takes the place of the announcement.
func (s *session) undecryptable(msg *events.UndecryptableMessage) bool {
	ev, ok := s.event(msg.Info.MessageSource)
	if !ok || msg.DecryptFailMode == events.DecryptFailHide || msg.Info.Category == "peer" {
		return true
	}
	if name := wire.Clean(msg.Info.PushName); name != "" && !ev.Own {
		ev.Sender.Name = name
	}
	ev.ID, ev.Time = adapter.NativeID(msg.Info.ID), msg.Info.Timestamp
	if msg.UnavailableType == events.UnavailableTypeViewOnce { // and no copy will ever come
		ev.Body = adapter.Message{Content: content.Text(phrase.SeenOnce.In(s.a.account.Language, "👁 "+phrase.File.In(s.a.account.Language)))}
	} else {
		ev.Body = adapter.Message{Pending: true, Content: content.Text("[a message that could not be decrypted yet; its sender's phone was asked to send it again]")}
	}
	return s.report(append(s.state(ev, msg.Info.IsGroup), ev)...)
}

// receipt reports how far somebody has come with our messages. It also proves that they have arrived.
func (s *session) receipt(r *events.Receipt) bool {
	status := adapter.Delivered
	switch r.Type {
	case types.ReceiptTypeDelivered, types.ReceiptTypeInactive:
	case types.ReceiptTypeRead, types.ReceiptTypePlayed:
		status = adapter.Read
	default: // of our own other devices, or a request for another copy, which the library answers
		return true
	}
	if r.IsFromMe {
		return true
	}
	s.a.confirmed(r.MessageIDs...)
	ev, ok := s.event(r.MessageSource)
	if !ok || len(r.MessageIDs) == 0 {
		return true
	}
	body := adapter.Receipt{Status: status}
	for _, id := range r.MessageIDs {
		body.IDs = append(body.IDs, adapter.NativeID(id))
	}
	ev.Time, ev.Body = r.Timestamp, body
	return s.report(ev)
}

// typing reports that somebody types, or no longer.
func (s *session) typing(p *events.ChatPresence) bool {
	ev, ok := s.event(p.MessageSource)
	if !ok || ev.Own {
		return true
	}
	ev.Body = adapter.Typing{Active: p.State == types.ChatPresenceComposing}
	return s.report(ev)
}
