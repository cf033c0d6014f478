package router

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mimigate/core/adapter"
	"mimigate/core/router/phrase"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// Configure takes over the rooms of the configuration: their rules and bindings. What an earlier configuration bound and this one does
// not is unbound; what was bound by command stays. It changes nothing on the networks; what is newly bound is opened if the
// router runs. A binding that cannot be is reported in the error, all others are made.
func (r *Router) Configure(ctx context.Context, rooms []Room) error {
	known := make(map[uri.Room]Room, len(rooms))
	var want []Binding
	var problems []error
	for _, room := range rooms {
		known[room.Room] = room
		for _, b := range room.Bind {
			account, ok := r.Accounts.Account(b.Account)
			if !ok {
				problems = append(problems, fmt.Errorf("%s: no account %s", b.At, b.Account))
				continue
			}
			if n := room.Rules.Networks; len(n) > 0 && !slices.Contains(n, account.Network) {
				problems = append(problems, fmt.Errorf("%s: %s/%s: %w", b.At, b.Account, b.Name, ErrPolicy))
				continue
			}
			want = append(want, Binding{Chat: b.Chat, Place: record.Provisional(account.Network, b.Chat), Room: room.Room, Direction: b.Direction, Managed: b.At})
		}
	}
	r.mu.Lock()
	r.rooms = known
	r.mu.Unlock()
	var have []Binding
	err := r.Store.Do(ctx, func(ctx context.Context) (err error) {
		if have, err = r.Store.Bindings(ctx, uri.Room{}); err != nil {
			return err
		}
		return r.replaceManaged(ctx, have, want)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range want {
		if !slices.ContainsFunc(have, func(h Binding) bool { return h.Chat == b.Chat }) {
			r.reopen(b)
		}
	}
	return errors.Join(problems...)
}

// replaceManaged makes the bindings that configuration manages those in want.
func (r *Router) replaceManaged(ctx context.Context, have, want []Binding) error {
	for _, b := range have {
		if b.Managed == "" || slices.ContainsFunc(want, func(w Binding) bool { return w.Chat == b.Chat }) {
			continue
		}
		if err := r.dropBinding(ctx, b.Chat); err != nil {
			return err
		}
	}
	for _, w := range want {
		// What the name stood for last time lets events be taken before it has been opened anew.
		if i := slices.IndexFunc(have, func(b Binding) bool { return b.Chat == w.Chat }); i >= 0 {
			w.Place = have[i].Place
		}
		if err := r.Store.PutBinding(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Bind binds a conversation of an account to a room. Whoever calls it answers for both sides' say: the room's and the conversation's. It
// fails with ErrBound, ErrPolicy, or where there is no such account.
func (r *Router) Bind(ctx context.Context, b Binding) error {
	account, ok := r.Accounts.Account(b.Account)
	if !ok {
		return fmt.Errorf("account %s: %w", b.Account, adapter.ErrNotFound)
	}
	b.Network = account.Network
	if b.Conversation == "" {
		b.Place = record.Provisional(b.Network, b.Chat)
	}
	if n := r.rules(b.Room).Networks; len(n) > 0 && !slices.Contains(n, b.Network) {
		return fmt.Errorf("%w: %s", ErrPolicy, b.Network)
	}
	err := r.Store.Do(ctx, func(ctx context.Context) error {
		all, err := r.Store.Bindings(ctx, uri.Room{})
		if err != nil {
			return err
		}
		for _, other := range all {
			if other.Chat == b.Chat || other.Place == b.Place {
				return fmt.Errorf("%s/%s: %w: to %v", b.Account, b.Name, ErrBound, other.Room)
			}
		}
		return r.Store.PutBinding(ctx, b)
	})
	if err != nil {
		return err
	}
	// Within a unit of the caller's the binding is not there for others before the commit.
	r.Store.OnCommit(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reopen(b)
	})
	return nil
}

// Unbind ends a binding that was made by command. It fails with ErrManaged, or with adapter.ErrNotFound.
func (r *Router) Unbind(ctx context.Context, chat Chat) error {
	return r.Store.Do(ctx, func(ctx context.Context) error {
		all, err := r.Store.Bindings(ctx, uri.Room{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(b Binding) bool { return b.Chat == chat })
		if i < 0 {
			return fmt.Errorf("%s/%s: %w", chat.Account, chat.Name, adapter.ErrNotFound)
		}
		if all[i].Managed != "" {
			return fmt.Errorf("%s/%s: %w: %s", chat.Account, chat.Name, ErrManaged, all[i].Managed)
		}
		return r.dropBinding(ctx, chat)
	})
}

// dropBinding ends a binding, and what was trying to open it.
func (r *Router) dropBinding(ctx context.Context, chat Chat) error {
	r.Store.OnCommit(ctx, func() {
		r.setProblem(chat, "")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.opening[chat]++
	})
	return r.Store.DeleteBinding(ctx, chat)
}

// Reopen opens the bound conversations of an account, whose adapter is another now, or with "" all; each in a goroutine of Run: one that
// cannot be opened stops no other.
func (r *Router) Reopen(ctx context.Context, account string) error {
	all, err := r.Store.Bindings(ctx, uri.Room{})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range append(all, Binding{Chat: r.Tell}) {
		if account == "" || b.Account == account {
			r.reopen(b)
		}
	}
	return nil
}

// reopen opens one conversation, in a goroutine of Run, and ends what was trying to. r.mu is held.
func (r *Router) reopen(b Binding) {
	if b.Chat == (Chat{}) {
		return
	}
	r.opening[b.Chat]++
	turn := r.opening[b.Chat]
	r.start(func(ctx context.Context) { r.open(ctx, b, turn) })
}

// open opens one conversation, and tries again until it could, or ctx or its turn ends.
func (r *Router) open(ctx context.Context, b Binding, turn int) {
	for n := 1; ctx.Err() == nil && r.opens(b.Chat, turn); n++ {
		err := r.openOnce(ctx, b)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			r.setProblem(b.Chat, "")
			return
		}
		// While not connected, the account's own status says enough.
		waiting := errors.Is(err, adapter.ErrNotDelivered) && !errors.Is(err, adapter.ErrGone) && !errors.Is(err, adapter.ErrRefused)
		if r.setProblem(b.Chat, err.Error()) && !waiting {
			r.Log.WarnContext(ctx, "a chat cannot be opened", "account", b.Account, "chat", b.Name, "room", b.Room.String(), "at", b.Managed, "error", err)
			if err := r.tellAdmins(ctx, r.say(phrase.CannotOpen, b.Account+"/"+b.Name, err.Error())); err != nil {
				r.Log.WarnContext(ctx, "admins not told", "error", err)
			}
		}
		pause(ctx, r.Backoff(n), nil)
	}
}

func (r *Router) opens(chat Chat, turn int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opening[chat] == turn
}

func (r *Router) openOnce(ctx context.Context, b Binding) error {
	account, ok := r.Accounts.Account(b.Account)
	if !ok {
		return fmt.Errorf("account %s: %w", b.Account, adapter.ErrNotFound)
	}
	opener, opens := account.Adapter.(adapter.Conversations)
	wait, cancel := context.WithTimeout(ctx, r.SendTimeout)
	defer cancel()
	c := adapter.Conversation(b.Name)
	if opens {
		var err error
		if c, err = opener.Open(wait, b.Name); err != nil {
			return err
		}
	}
	p := Place{Network: account.Network, Conversation: c}
	if b.Room.IsZero() { // where the admins are told
		r.mu.Lock()
		if b.Chat == r.Tell {
			r.tell = p
		}
		r.mu.Unlock()
		err := r.Store.MovePlace(ctx, record.Provisional(account.Network, b.Chat), p)
		r.wake(p)
		return err
	}
	var known bool
	err := r.Store.Do(ctx, func(ctx context.Context) (err error) {
		known, err = r.opened(ctx, b.Chat, p)
		return err
	})
	if err != nil {
		return err
	}
	if opens && !known { // what it is and who is there was told of a conversation that was not bound yet
		if _, err := opener.Open(wait, b.Name); err != nil {
			return err
		}
	}
	r.wake(p)
	return nil
}

// opened records which conversation a binding's name stands for; known says that this is nothing new.
func (r *Router) opened(ctx context.Context, chat Chat, p Place) (known bool, err error) {
	all, err := r.Store.Bindings(ctx, uri.Room{})
	if err != nil {
		return false, err
	}
	for _, b := range all {
		if b.Chat != chat && b.Place == p {
			return false, fmt.Errorf("%w: by account %s to %v; a chat belongs to one room, through one account", ErrBound, b.Account, b.Room)
		}
	}
	i := slices.IndexFunc(all, func(b Binding) bool { return b.Chat == chat })
	if i < 0 || all[i].Place == p {
		return true, nil // unbound meanwhile, or nothing new
	}
	return false, r.Store.MovePlace(ctx, all[i].Place, p)
}
