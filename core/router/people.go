package router

import (
	"context"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router/phrase"
	"mimigate/core/uri"
)

// membership takes in who joins a native conversation, leaves it or is removed (design §7: membership, not presence).
func (r *Router) membership(ctx context.Context, in *arrival, m adapter.Membership) error {
	if !in.bound {
		return nil
	}
	if !m.Person.User.IsZero() {
		return r.ourNameChanged(ctx, in, m)
	}
	if m.Person.Bot || len(m.Person.IDs) == 0 {
		return nil
	}
	switch m.Change {
	case adapter.Joined:
		person, _, err := r.Identity.Resolve(ctx, in.place.Network, in.account.ID, m.Person)
		if err != nil {
			return err
		}
		if in.binding.Direction == Out { // they only read
			return r.Store.SetAttendance(ctx, in.place, person.User, Present)
		}
		_, err = r.admit(ctx, in, person)
		return err
	case adapter.Left, adapter.Kicked, adapter.Banned:
		person, ok, err := r.Identity.ByID(ctx, in.place.Network, m.Person.IDs[0])
		if err != nil || !ok {
			return err
		}
		return r.left(ctx, in, person)
	}
	return nil
}

// left takes somebody who left the native conversation out of its room, unless they are in another conversation of the room.
func (r *Router) left(ctx context.Context, in *arrival, person identity.Person) error {
	before, err := r.Store.Attendance(ctx, in.place, person.User)
	if err != nil || before == Absent {
		return err
	}
	if err := r.Store.SetAttendance(ctx, in.place, person.User, Absent); err != nil || before == Removed {
		return err
	}
	elsewhere, err := r.Store.Attended(ctx, in.binding.Room, person.User)
	if err != nil || len(elsewhere) > 0 {
		return err
	}
	_, err = r.taken(ctx, in, person, r.Members.RemoveParticipant(ctx, in.binding.Room, person.User))
	return err
}

// ourNameChanged is what follows when somebody on the network removes one of the names that we show there: whom it shows is removed from
// the room.
func (r *Router) ourNameChanged(ctx context.Context, in *arrival, m adapter.Membership) error {
	if in.Own || in.binding.Direction == Out {
		return nil
	}
	var err error
	switch m.Change {
	case adapter.Kicked:
		err = r.Members.RemoveParticipant(ctx, in.binding.Room, m.Person.User)
	case adapter.Banned:
		err = r.Members.SetRole(ctx, in.binding.Room, m.Person.User, roleBanned)
	default:
		return nil
	}
	_, err = r.taken(ctx, in, identity.Person{Name: m.Person.Name}, err)
	return err
}

// profile takes in a new name or picture.
func (r *Router) profile(ctx context.Context, in *arrival, p adapter.Profile) error {
	if len(p.Person.IDs) == 0 || !p.Person.User.IsZero() {
		return nil
	}
	_, known, err := r.Identity.ByID(ctx, in.place.Network, p.Person.IDs[0])
	for _, id := range p.Person.IDs[1:] {
		if known || err != nil {
			break
		}
		_, known, err = r.Identity.ByID(ctx, in.place.Network, id)
	}
	if err != nil || !known {
		return err // nobody who has to do with any room
	}
	person, change, err := r.Identity.Resolve(ctx, in.place.Network, in.account.ID, p.Person)
	if err != nil || !change.Renamed {
		return err
	}
	return r.renamed(ctx, person, in.place)
}

// renamed shows a person's new name wherever they are shown under a name of ours: not where they are themselves.
func (r *Router) renamed(ctx context.Context, person identity.Person, from Place) error {
	attended, err := r.Store.Attended(ctx, uri.Room{}, person.User)
	if err != nil {
		return err
	}
	done := map[Place]bool{from: true}
	for _, b := range attended {
		done[b.Place] = true
	}
	for _, at := range attended {
		bindings, err := r.Store.Bindings(ctx, at.Room)
		if err != nil {
			return err
		}
		for _, b := range bindings {
			if done[b.Place] || b.Direction == In {
				continue
			}
			done[b.Place] = true
			if err := r.enqueueTask(ctx, b, person.User, Task{Profile: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// state takes in what is known of a conversation. A new title goes to the room and its other conversations; the first that is heard
// of one is no change.
func (r *Router) state(ctx context.Context, in *arrival, s adapter.ConversationState) error {
	if s.MovedTo != nil && in.bound {
		r.Store.OnCommit(ctx, func() { r.wake(Place{Network: in.place.Network, Conversation: *s.MovedTo}) })
		return r.Store.MovePlace(ctx, in.place, Place{Network: in.place.Network, Conversation: *s.MovedTo})
	}
	if s.Gone != nil && in.bound {
		r.Store.OnCommit(ctx, func() { r.setProblem(in.binding.Chat, *s.Gone) })
		if err := r.tellAdmins(ctx, r.say(phrase.CannotOpen, in.binding.Account+"/"+in.binding.Name, *s.Gone)); err != nil {
			return err
		}
	}
	if !in.bound && in.account.Unbound == Ignore && s.Direct == nil {
		return nil
	}
	known, err := r.Store.Conversation(ctx, in.place)
	if err != nil {
		return err
	}
	before := known
	if s.Name != nil {
		known.Title = identity.Clean(*s.Name)
	}
	if s.Topic != nil {
		known.Topic = identity.Clean(*s.Topic)
	}
	if s.Direct != nil {
		known.Direct = *s.Direct
	}
	if known == before {
		return nil
	}
	if err := r.Store.PutConversation(ctx, in.place, known); err != nil {
		return err
	}
	if !in.bound || in.Own || in.binding.Direction == Out || before.Title == "" || before.Title == known.Title {
		return nil
	}
	return r.retitled(ctx, in, known)
}

// retitled gives the room and its other conversations the title that somebody gave this one.
func (r *Router) retitled(ctx context.Context, in *arrival, c Conversation) error {
	_, subject, err := r.Rooms.Description(ctx, in.binding.Room)
	if err == nil {
		err = r.Rooms.Describe(ctx, in.binding.Room, c.Title, subject)
	}
	if ok, err := r.taken(ctx, in, identity.Person{Name: c.Title}, err); !ok || err != nil {
		return err
	}
	return r.showTitle(ctx, in.binding.Room, in.place, c.Title)
}

// showTitle gives the conversations of a room a title, all but one.
func (r *Router) showTitle(ctx context.Context, room uri.Room, but Place, title string) error {
	bindings, err := r.Store.Bindings(ctx, room)
	if err != nil {
		return err
	}
	for _, b := range bindings {
		if b.Place == but || b.Direction == In {
			continue
		}
		known, err := r.Store.Conversation(ctx, b.Place)
		if err != nil {
			return err
		}
		if known.Title == title {
			continue
		}
		if err := r.enqueueTask(ctx, b, uri.User{}, Task{State: &adapter.ConversationState{Name: &title}}); err != nil {
			return err
		}
	}
	return nil
}

// invitation answers an invitation of the account. An admin's, and those to what is bound, are followed; everybody else gets a polite
// no, and nothing happens (design §8).
func (r *Router) invitation(ctx context.Context, in *arrival) error {
	switch {
	case in.bound:
		r.Store.OnCommit(ctx, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reopen(in.binding)
		})
		return nil
	case r.isAdmin(in), in.account.Unbound == Create:
		r.Store.OnCommit(ctx, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.start(func(ctx context.Context) { r.enter(ctx, in.account, in.Conversation) })
		})
		return nil
	case in.account.Unbound == Ask:
		return r.ask(ctx, in)
	}
	return r.decline(ctx, in)
}

// enter opens a conversation that is not bound (yet), once.
func (r *Router) enter(ctx context.Context, account Account, c adapter.Conversation) {
	opener, ok := account.Adapter.(adapter.Conversations)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.SendTimeout)
	defer cancel()
	if _, err := opener.Open(ctx, string(c)); err != nil {
		r.Log.WarnContext(ctx, "an invitation could not be followed", "account", account.ID, "error", err)
	}
}

// ask tells the admins, once, of a conversation that is not bound.
func (r *Router) ask(ctx context.Context, in *arrival) error {
	known, err := r.Store.Conversation(ctx, in.place)
	if err != nil || !known.Asked.IsZero() {
		return err
	}
	known.Asked = r.Now()
	if err := r.Store.PutConversation(ctx, in.place, known); err != nil {
		return err
	}
	return r.tellAdmins(ctx, r.say(phrase.Unbound, known.Title, in.account.ID, string(in.Conversation), commandWord))
}

// unbound does with what happens in an unbound conversation what the account's configuration says. in is bound afterwards where a room was made.
func (r *Router) unbound(ctx context.Context, in *arrival) error {
	known, err := r.Store.Conversation(ctx, in.place)
	if err != nil {
		return err
	}
	switch {
	case known.Direct && r.isAdmin(in):
		if m, ok := in.Body.(adapter.Message); ok && m.Content.Body.IsText() && m.Replaces == "" {
			return r.command(ctx, in, plainText(m.Content))
		}
		return nil
	case in.account.Unbound == Ask:
		return r.ask(ctx, in)
	case in.account.Unbound == Create && !in.Sender.Bot:
		return r.create(ctx, in, known)
	case known.Direct:
		return r.decline(ctx, in)
	}
	return errForget
}

// create makes a room for a conversation.
func (r *Router) create(ctx context.Context, in *arrival, known Conversation) error {
	room, err := r.Provider.Room(newID())
	if err != nil {
		return err
	}
	if err := r.Rooms.CreateRoom(ctx, room, known.Title, known.Topic); err != nil {
		return err
	}
	b := Binding{Chat: Chat{Account: in.account.ID, Name: string(in.Conversation)}, Place: in.place, Room: room}
	if err := r.Bind(ctx, b); err != nil {
		return err
	}
	in.binding, in.bound = b, true
	return nil
}

// plainText is the text of a message whose body is text.
func plainText(m *content.Message) string {
	if single, ok := m.Body.Body.(content.Single); ok && m.Body.IsText() {
		return string(single.Content)
	}
	return ""
}
