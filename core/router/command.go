package router

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router/order"
	"mimigate/core/router/phrase"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// commandWord begins a message to the gateway itself; such a message is not passed on.
const commandWord = "!mimigate"

// declineEvery is how often a conversation is told no at most: two programs that answer each other would never end.
const declineEvery = time.Hour

// newID is a name that nobody can guess: 26 characters of a–z and 2–7.
func newID() string { return strings.ToLower(rand.Text()) }

// commandText returns the words of a command, if a message is one.
func commandText(m *content.Message) (string, bool) {
	if m == nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(plainText(m)), commandWord)
	if !ok || rest != "" && !strings.HasPrefix(rest, " ") {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// isAdmin reports whether configuration says that the sender may command, and the network vouches that it is them.
func (r *Router) isAdmin(in *arrival) bool {
	r.mu.Lock()
	admins := r.Admins
	r.mu.Unlock()
	return in.Sender.Verified && in.Marker.IsZero() && !in.History && slices.ContainsFunc(admins, func(a Admin) bool {
		return a.Network == in.place.Network && slices.Contains(in.Sender.IDs, a.ID)
	})
}

// command does what an admin says. Anybody else gets a polite no, and nothing happens.
func (r *Router) command(ctx context.Context, in *arrival, text string) error {
	if in.Sender.Bot || !in.Marker.IsZero() || in.History {
		return nil
	}
	words := strings.Fields(text)
	if len(words) == 2 && (words[0] == "accept" || words[0] == "refuse") {
		if done, err := r.decide(ctx, in, words[1], words[0] == "accept"); done || err != nil {
			return err
		}
	}
	if len(words) == 1 && (words[0] == "optout" || words[0] == "optin") {
		return r.opt(ctx, in, words[0] == "optin")
	}
	if !r.isAdmin(in) {
		return r.decline(ctx, in)
	}
	// What the admin tried is undone where it fails; that it failed is told.
	var answer string
	err := r.Store.Do(ctx, func(ctx context.Context) error {
		var err error
		answer, err = r.obey(ctx, in, words)
		return err
	})
	if told := (order.Refusal{}); errors.As(err, &told) {
		answer = r.say(phrase.Cannot, told.Error())
	} else if err != nil {
		return err
	}
	return r.answer(ctx, in, answer)
}

func (r *Router) obey(ctx context.Context, in *arrival, words []string) (string, error) {
	name := ""
	if len(words) > 0 {
		name = words[0]
	}
	switch {
	case name == "status" && len(words) == 1:
		status, err := r.Status(ctx)
		return status.Text(r.say(phrase.Nothing)), err
	case name == "rooms" && len(words) == 1:
		all, err := r.Store.Bindings(ctx, uri.Room{})
		return record.BindingsText(all, r.say(phrase.Nothing)), err
	case name == "bind" && (len(words) == 2 || len(words) == 3):
		return r.askBind(ctx, in, words[1:])
	case name == "accept" && len(words) == 2:
		return r.accept(ctx, in, words[1])
	case name == "unbind" && len(words) == 1:
		return r.unbindHere(ctx, in)
	case name == "create" && len(words) > 1:
		return r.createHere(ctx, in, strings.Join(words[1:], " "))
	case name == "leave" && len(words) == 1:
		return r.leaveHere(ctx, in)
	case name == "find" && len(words) > 1:
		r.find(ctx, in, strings.Join(words[1:], " "))
		return "", nil
	}
	orders := r.orders()
	if answer, ok, err := orders.Obey(ctx, in.binding.Room, words); ok || err != nil {
		return answer, err
	}
	return r.say(phrase.Help, commandWord), nil
}

func (r *Router) answer(ctx context.Context, in *arrival, text string) error {
	if text == "" {
		return nil
	}
	return r.notice(ctx, in.place, in.account.ID, uri.Room{}, content.Text(text))
}

// decline says no, politely, and not often.
func (r *Router) decline(ctx context.Context, in *arrival) error {
	known, err := r.Store.Conversation(ctx, in.place)
	if err != nil || in.Sender.Bot || r.Now().Sub(known.Declined).Abs() < declineEvery {
		return err
	}
	known.Declined = r.Now()
	if err := r.Store.PutConversation(ctx, in.place, known); err != nil {
		return err
	}
	return r.answer(ctx, in, r.say(phrase.Declined))
}

// opt takes a person's own word on whether theirs are passed on. That is nobody else's business, so everybody may say it.
func (r *Router) opt(ctx context.Context, in *arrival, yes bool) error {
	if !in.bound || len(in.Sender.IDs) == 0 {
		return r.decline(ctx, in)
	}
	person, _, err := r.Identity.Resolve(ctx, in.place.Network, in.account.ID, in.Sender)
	if err != nil {
		return err
	}
	if yes {
		if err := r.Identity.SetConsent(ctx, person.User, identity.Consented); err != nil {
			return err
		}
		return r.answer(ctx, in, r.say(phrase.OptedIn))
	}
	if err := r.Identity.SetConsent(ctx, person.User, identity.OptedOut); err != nil {
		return err
	}
	attended, err := r.Store.Attended(ctx, uri.Room{}, person.User)
	if err != nil {
		return err
	}
	for _, b := range attended {
		if err := r.Store.SetAttendance(ctx, b.Place, person.User, Absent); err != nil {
			return err
		}
		if _, err := r.taken(ctx, in, person, r.Members.RemoveParticipant(ctx, b.Room, person.User)); err != nil {
			return err
		}
	}
	return r.answer(ctx, in, r.say(phrase.OptedOut, commandWord))
}

// askBind is the conversation's say: the admin is in it. The room's say comes from a conversation that is in the room; a room without
// any has nobody to ask.
func (r *Router) askBind(ctx context.Context, in *arrival, words []string) (string, error) {
	room, err := r.roomNamed(words[0])
	if err != nil {
		return "", order.Refusal{Err: err}
	}
	b := Binding{Chat: Chat{Account: in.account.ID, Name: string(in.Conversation)}, Place: in.place, Room: room}
	if len(words) == 2 {
		var ok bool
		if b.Direction, ok = record.ParseDirection(words[1]); !ok {
			return "", order.Refusal{Err: fmt.Errorf("%q: in, out, both", words[1])}
		}
	}
	if in.bound {
		return "", order.Refusal{Err: fmt.Errorf("%w: %v", ErrBound, in.binding.Room)}
	}
	there, err := r.Store.Bindings(ctx, room)
	if err != nil {
		return "", err
	}
	if len(there) == 0 {
		if err := r.bindNow(ctx, b); err != nil {
			return "", err
		}
		return r.say(phrase.Bound, room.String()), nil
	}
	code := newID()[:8]
	if err := r.Store.PutBindRequest(ctx, code, b); err != nil {
		return "", err
	}
	return r.say(phrase.NeedsRoom, room.String(), commandWord, code), nil
}

// bindNow is Bind, where what cannot be is told and no failure of ours.
func (r *Router) bindNow(ctx context.Context, b Binding) error {
	err := r.Bind(ctx, b)
	if errors.Is(err, ErrBound) || errors.Is(err, ErrPolicy) || errors.Is(err, adapter.ErrNotFound) {
		return order.Refusal{Err: err}
	}
	return err
}

// roomNamed reads the id of one of our rooms, or the address of any.
func (r *Router) roomNamed(name string) (uri.Room, error) {
	if strings.HasPrefix(name, "mimi:") {
		return uri.ParseRoom(name)
	}
	return r.Provider.Room(name)
}

// accept is the room's say.
func (r *Router) accept(ctx context.Context, in *arrival, code string) (string, error) {
	b, ok, err := r.Store.TakeBindRequest(ctx, code)
	if err != nil {
		return "", err
	}
	if !ok || !in.bound || in.binding.Room != b.Room {
		return "", order.Refusal{Err: errors.New(r.say(phrase.NoCode))}
	}
	account, ok := r.Accounts.Account(b.Account)
	if !ok {
		return "", order.Refusal{Err: adapter.ErrNotFound}
	}
	b.Network = account.Network
	if err := r.bindNow(ctx, b); err != nil {
		return "", err
	}
	if err := r.notice(ctx, b.Place, b.Account, uri.Room{}, content.Text(r.say(phrase.Bound, b.Room.String()))); err != nil {
		return "", err
	}
	return r.say(phrase.Accepted, b.Account+"/"+b.Name), nil
}

func (r *Router) unbindHere(ctx context.Context, in *arrival) (string, error) {
	if !in.bound {
		return "", order.Refusal{Err: errors.New(r.say(phrase.NotBound))}
	}
	if err := r.Unbind(ctx, in.binding.Chat); errors.Is(err, ErrManaged) {
		return "", order.Refusal{Err: err}
	} else if err != nil {
		return "", err
	}
	return r.say(phrase.UnboundNow), nil
}
