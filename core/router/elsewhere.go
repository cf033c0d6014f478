package router

import (
	"context"
	"errors"

	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router/order"
	"mimigate/core/router/phrase"
	"mimigate/core/uri"
)

// What concerns people of other providers: orders about them, and their consent.

func (r *Router) orders() *order.Orders {
	return &order.Orders{Provider: r.Provider, Language: r.Language, Elsewhere: r.Elsewhere,
		EnsureParticipant: r.Members.EnsureParticipant, SetRole: r.Members.SetRole, Participants: r.Members.Participants}
}

// createHere makes a room and binds the admin's conversation to it.
func (r *Router) createHere(ctx context.Context, in *arrival, name string) (string, error) {
	if in.bound {
		return "", order.Refusal{Err: errors.New(ErrBound.Error() + ": " + in.binding.Room.String())}
	}
	if err := r.create(ctx, in, Conversation{Title: identity.Clean(name)}); err != nil {
		return "", err
	}
	return r.say(phrase.Bound, in.binding.Room.String()), nil
}

// leaveHere takes our people out of the room, and unbinds its conversations.
func (r *Router) leaveHere(ctx context.Context, in *arrival) (string, error) {
	if !in.bound {
		return "", order.Refusal{Err: errors.New(r.say(phrase.NotBound))}
	}
	orders := r.orders()
	if err := orders.Leave(ctx, in.binding.Room); err != nil {
		return "", err
	}
	bindings, err := r.Store.Bindings(ctx, in.binding.Room)
	if err != nil {
		return "", err
	}
	for _, b := range bindings {
		if err := r.Unbind(ctx, b.Chat); errors.Is(err, ErrManaged) {
			return "", order.Refusal{Err: err}
		} else if err != nil {
			return "", err
		}
	}
	return r.say(phrase.LeftRoom), nil
}

// find asks a peer in a goroutine of Run, and answers when that has.
func (r *Router) find(ctx context.Context, in *arrival, text string) {
	r.Store.OnCommit(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.start(func(ctx context.Context) {
			wait, cancel := context.WithTimeout(ctx, r.SendTimeout)
			defer cancel()
			answer, err := r.orders().Find(wait, text)
			if err != nil {
				answer = r.say(phrase.Cannot, err.Error())
			}
			if err := r.answer(ctx, in, answer); err != nil {
				r.Log.WarnContext(ctx, "an admin was not answered", "error", err)
			}
		})
	})
}

// decide takes somebody's own answer to whether others may bring them into a room. That is nobody else's business, so everybody may give
// theirs, and an admin the gateway participant's; done is false where the code is no question to them.
func (r *Router) decide(ctx context.Context, in *arrival, code string, granted bool) (done bool, err error) {
	if len(in.Sender.IDs) == 0 || !in.Sender.Verified {
		return false, nil
	}
	person, _, err := r.Identity.ByID(ctx, in.place.Network, in.Sender.IDs[0])
	if err != nil {
		return false, err
	}
	if done, err = r.orders().Decide(ctx, person.User, r.isAdmin(in), code, granted); !done || err != nil {
		return done, err
	}
	said := phrase.YouRefused
	if granted {
		said = phrase.YouAgreed
	}
	return true, r.answer(ctx, in, r.say(said))
}

// Asked shows one of our people that somebody asks for their consent to bring them into a room: in a conversation that they are in, or else to
// the admins. It is part of the unit in ctx.
func (r *Router) Asked(ctx context.Context, s identity.Scope) error {
	name, err := r.convert.NameOf(ctx, s.Room, s.Target)
	if err != nil {
		return err
	}
	text := r.orders().Question(s, name, commandWord)
	attended, err := r.Store.Attended(ctx, uri.Room{}, s.Target)
	if err != nil {
		return err
	}
	if len(attended) == 0 {
		return r.tellAdmins(ctx, text)
	}
	return r.notice(ctx, attended[0].Place, attended[0].Account, uri.Room{}, content.Text(text))
}

// Answered takes what somebody elsewhere says to being brought into a room that we have invited them to: who agrees comes in, and the admins
// hear of it. It is part of the unit in ctx.
func (r *Router) Answered(ctx context.Context, s identity.Scope, granted bool) error {
	text, err := r.orders().Answered(ctx, s, granted)
	if err != nil || text == "" {
		return err
	}
	return r.tellAdmins(ctx, text)
}
