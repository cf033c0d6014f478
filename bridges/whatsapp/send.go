//go:build !nowhatsapp

package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"mimigate/bridges/whatsapp/wire"
	"mimigate/core/adapter"
)

// limited is how long to wait where WhatsApp says that it was too much.
const limited = 5 * time.Minute

// Send (design §4 step 12) implements adapter.Adapter: one native message after the other, each with an id that follows from the delivery's key.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	s, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	w, err := s.writer(ctx, out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	steps, notes, err := w.Plan(out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	sent := adapter.Sent{Notes: notes}
	for _, step := range steps {
		if done, ok := doneBefore(out, step.Part); ok {
			sent.Parts = append(sent.Parts, done)
			continue
		}
		if wait := a.pace.take(time.Now()); wait > 0 {
			return sent, adapter.RetryAfter(wait, fmt.Errorf("account %s sends at most %d messages a minute", a.account.ID, a.pace.perMinute))
		}
		if sent.Time, err = s.send(ctx, w.Chat, step); err != nil {
			return sent, err
		}
		sent.Parts = append(sent.Parts, step.Part)
	}
	return sent, nil
}

func doneBefore(out adapter.Outbound, part adapter.NativePart) (adapter.NativePart, bool) {
	i := slices.IndexFunc(out.Done, func(p adapter.NativePart) bool { return p.Part == part.Part && p.Piece == part.Piece })
	if i < 0 {
		return adapter.NativePart{}, false
	}
	return out.Done[i], true
}

// writer writes for one conversation.
func (s *session) writer(ctx context.Context, out adapter.Outbound) (wire.Writer, error) {
	chat, ok := wire.Chat(out.Conversation, s.addresses()...)
	if !ok {
		return wire.Writer{}, adapter.Gone(errors.New("not a conversation of this account"))
	}
	w := wire.Writer{Chat: chat, Own: s.own(), Limits: s.a.Limits(out.Conversation), Address: s.address(ctx), Timer: s.a.timer(out.Conversation)}
	if !out.Author.IsGateway() && !s.isOwner(out.Author) {
		w.Author = out.Author.Name
	}
	return w, nil
}

// isOwner reports whether an author is the one whose account this is.
func (s *session) isOwner(author adapter.Author) bool {
	return s.a.config.Mode == modePersonal && slices.ContainsFunc(author.Native, func(id adapter.PersonID) bool {
		jid, ok := wire.Address(id)
		return ok && slices.Contains(s.addresses(), jid)
	})
}

// send sends one native message, and waits until WhatsApp has taken it.
func (s *session) send(ctx context.Context, chat types.JID, step wire.Step) (time.Time, error) {
	if !s.begin() {
		return time.Time{}, adapter.NotDelivered(errLost)
	}
	defer s.running.Done()
	id := types.MessageID(step.Part.ID)
	if err := s.a.polls.put(ctx, id, wire.Options(step.Message)); err != nil {
		return time.Time{}, adapter.NotDelivered(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	select { // the library sends one message after the other too
	case s.sending <- struct{}{}:
		defer func() { <-s.sending }()
	case <-ctx.Done():
		return time.Time{}, adapter.NotDelivered(ctx.Err())
	}
	free, err := s.ratchets.take(ctx)
	if err != nil {
		return time.Time{}, adapter.NotDelivered(err)
	}
	defer free()
	resp, err := s.cli.SendMessage(context.WithValue(ctx, encryptedKey{}, free), chat, step.Message, whatsmeow.SendRequestExtra{ID: id})
	if err != nil {
		return time.Time{}, fmt.Errorf("WhatsApp: %w", sendFailure(err))
	}
	s.a.confirmed(id)
	return resp.Timestamp, nil
}

var nackCode = regexp.MustCompile(`\d+$`)

// sendFailure says what an error of SendMessage means. What happens before the message is encrypted is certain; what happens while its
// acknowledgement is awaited is not.
func sendFailure(err error) error {
	var iq *whatsmeow.IQError
	var broken *whatsmeow.DisconnectedError
	plain := redacted(err)
	switch {
	case errors.Is(err, whatsmeow.ErrServerReturnedError):
		code, _ := strconv.Atoi(nackCode.FindString(err.Error()))
		return nack(code, plain)
	case errors.Is(err, whatsmeow.ErrGroupNotFound), errors.Is(err, whatsmeow.ErrNotInGroup):
		return adapter.Gone(plain)
	case errors.Is(err, whatsmeow.ErrNotConnected), errors.Is(err, whatsmeow.ErrNotLoggedIn), errors.Is(err, whatsmeow.ErrIQTimedOut):
		return adapter.NotDelivered(plain)
	case errors.As(err, &iq):
		if iq.Code == 429 {
			return adapter.RetryAfter(limited, plain)
		}
		return adapter.NotDelivered(plain)
	case errors.As(err, &broken) && broken.Action != "message send":
		return adapter.NotDelivered(plain)
	}
	return plain
}

// nack says what the code of a negative acknowledgement means: WhatsApp has certainly not passed the message on.
func nack(code int, err error) error {
	switch code {
	case 401, 403, 404, 405, 406, 410: // not a member, not allowed to write here, no such chat
		return adapter.Gone(err)
	case 420, 429, 463, 500, 503: // too much, too fast; 463: not to people who do not know the account, for now
		return adapter.RetryAfter(limited, err)
	}
	return adapter.Refused(err)
}

// Confirm implements adapter.Confirmer, as far as that can be: WhatsApp cannot be asked for a message, but acknowledgements and receipts
// may have come late. Where they have not, the same message with the same id may be sent again, which people's clients show once.
func (a *Adapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	s, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, errors.New("not connected to WhatsApp") // not ErrNotDelivered: that would be an answer
	}
	w, err := s.writer(ctx, out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	steps, notes, err := w.Plan(out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	sent := adapter.Sent{Notes: notes}
	for _, step := range steps {
		if done, ok := doneBefore(out, step.Part); ok {
			sent.Parts = append(sent.Parts, done)
		} else if a.hasArrived(types.MessageID(step.Part.ID)) {
			sent.Parts = append(sent.Parts, step.Part)
		}
	}
	if len(sent.Parts) < len(steps) {
		return sent, fmt.Errorf("%w: nobody has confirmed %d of %d messages; sent again under the same id they are shown once",
			adapter.ErrUnknown, len(steps)-len(sent.Parts), len(steps))
	}
	return sent, nil
}

// SendReceipt implements adapter.Receipts: what the owner has read elsewhere is read, in chats of two.
func (a *Adapter) SendReceipt(ctx context.Context, in adapter.Conversation, author adapter.Author, receipt adapter.Receipt) error {
	if receipt.Status != adapter.Read || len(receipt.IDs) == 0 {
		return nil
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	chat, ok := wire.Chat(in, s.addresses()...)
	if !ok || wire.IsGroup(in) || !s.isOwner(author) {
		return adapter.ErrUnsupported
	}
	var ids []types.MessageID
	for _, id := range receipt.IDs {
		ids = append(ids, types.MessageID(id))
	}
	return redacted(s.cli.MarkRead(ctx, ids, time.Now(), chat, types.JID{}))
}

// SendTyping implements adapter.Receipts: the account types while any of our people does.
func (a *Adapter) SendTyping(ctx context.Context, in adapter.Conversation, _ adapter.Author, typing adapter.Typing) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	chat, ok := wire.Chat(in, s.addresses()...)
	if !ok {
		return adapter.ErrNotFound
	}
	state := types.ChatPresencePaused
	if typing.Active {
		state = types.ChatPresenceComposing
	}
	return redacted(s.cli.SendChatPresence(ctx, chat, state, types.ChatPresenceMediaText))
}

// pace holds the number of messages back: as many at once as a minute allows, then as fast as they are earned again.
type pace struct {
	perMinute int

	mu   sync.Mutex
	used float64 // of perMinute
	at   time.Time
}

// take takes one message's share and returns 0, or how long to wait for it.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() {
		p.used = max(0, p.used-now.Sub(p.at).Minutes()*float64(p.perMinute))
	}
	p.at = now
	if p.used+1 > float64(p.perMinute) {
		return time.Duration((p.used+1-float64(p.perMinute))/float64(p.perMinute)*float64(time.Minute)).Round(time.Millisecond) + time.Millisecond
	}
	p.used++
	return 0
}
