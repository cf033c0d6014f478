package xmpp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"mimigate/core/adapter"
)

// Open implements adapter.Conversations. A room is named by its JID (also as xmpp:room@muc.example.org?join), a chat of two by the
// other's JID, or by what the conversation is called.
func (a *Adapter) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	if _, _, ok := a.chatOf(adapter.Conversation(name)); ok {
		return adapter.Conversation(name), nil
	}
	l, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	plain, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(name), "xmpp:"), "?")
	j, err := addrOf(plain)
	if err != nil {
		return "", err
	}
	if j.Localpart() == "" {
		return "", fmt.Errorf("%w: %s is a server, not a room", adapter.ErrNotFound, j)
	}
	address := j.Bare().String()
	r, err := a.open(ctx, l, address)
	if err == nil {
		err = r.reopen(ctx, l)
	}
	if err == nil {
		return r.conv, nil
	}
	if answer, ok := asStanzaError(err); (ok || errors.Is(err, adapter.ErrNotFound)) && !a.hasRooms(ctx, l, j.Domain()) &&
		(answer == nil || answer.cond == "service-unavailable" || answer.cond == "item-not-found" || answer.cond == "subscription-required") {
		return direct(a.self, address), nil
	}
	return "", err
}

// hasRooms reports whether a domain is a service of rooms, and not of people.
func (a *Adapter) hasRooms(ctx context.Context, l *link, domain jid.JID) bool {
	answer, err := l.s.ask(ctx, l.s.me, domain.String(), "get", el(nsDiscoInfo, "query"))
	if err != nil {
		return true // no telling: it stays what it was asked for
	}
	for _, identity := range answer.child(nsDiscoInfo, "query").children("", "identity") {
		if identity.attr("category") == "conference" {
			return true
		}
	}
	return false
}

// open returns a room that is open, opening it if need be.
func (a *Adapter) open(ctx context.Context, l *link, address string) (*room, error) {
	a.mu.Lock()
	r := a.rooms[address]
	a.mu.Unlock()
	if r != nil {
		return r, nil
	}
	if _, err := jid.Parse(address); err != nil {
		return nil, adapter.Gone(fmt.Errorf("%w: %q is no room", adapter.ErrNotFound, address))
	}
	r = newRoom(a, address)
	a.mu.Lock()
	if other := a.rooms[address]; other != nil {
		r = other
	}
	a.rooms[address] = r
	a.mu.Unlock()
	if err := r.join(ctx, l); err != nil {
		a.mu.Lock()
		delete(a.rooms, address)
		a.mu.Unlock()
		return nil, err
	}
	return r, nil
}

// reopen goes back to a room that had thrown us out, now that somebody wants it.
func (r *room) reopen(ctx context.Context, l *link) error {
	r.mu.Lock()
	r.removed = false
	in := r.me.in
	r.mu.Unlock()
	if in {
		return nil
	}
	if err := r.join(ctx, l); err != nil {
		return err
	}
	return nil
}

// Leave implements adapter.Conversations.
func (a *Adapter) Leave(ctx context.Context, c adapter.Conversation) error {
	a.mu.Lock()
	r := a.rooms[string(c)]
	delete(a.rooms, string(c))
	delete(a.lanes, c)
	l := a.link
	a.mu.Unlock()
	if r == nil {
		return nil
	}
	if l != nil {
		for _, n := range r.lost(l.s.me) {
			if err := l.s.send(ctx, n); err != nil {
				return err
			}
		}
		a.report(l, r.jid, problem{})
	}
	return a.account.State.Put(ctx, r.stateKey("mam"), nil)
}

// maxListed bounds a list.
const maxListed = 1000

// List implements adapter.Conversations: the rooms that are open, and those that the services of our own server make public.
func (a *Adapter) List(ctx context.Context) ([]adapter.Listed, error) {
	l, err := a.online(ctx)
	if err != nil {
		return nil, err
	}
	var out []adapter.Listed
	listed := map[string]bool{}
	a.mu.Lock()
	for address, r := range a.rooms {
		r.mu.Lock()
		out = append(out, adapter.Listed{Name: address, Conversation: r.conv, Title: r.name, Members: len(r.people), Joined: r.me.in})
		r.mu.Unlock()
		listed[address] = true
	}
	a.mu.Unlock()
	host := a.domain
	if _, parent, ok := strings.Cut(host, "."); ok && a.component { // the server's domain, as a rule
		host = parent
	}
	services, err := a.items(ctx, l, host)
	if err != nil {
		return out, nil // a server that lists nothing
	}
	for _, service := range services {
		domain, err := jid.Parse(service.attr("jid"))
		if err != nil || domain.Localpart() != "" || !a.hasRooms(ctx, l, domain) {
			continue
		}
		rooms, err := a.items(ctx, l, domain.String())
		if err != nil {
			continue
		}
		for _, room := range rooms {
			if address := bare(room.attr("jid")); address != "" && !listed[address] && len(out) < maxListed {
				listed[address] = true
				out = append(out, adapter.Listed{Name: address, Conversation: adapter.Conversation(address), Title: room.attr("name")})
			}
		}
	}
	return out, nil
}

func (a *Adapter) items(ctx context.Context, l *link, of string) ([]*node, error) {
	answer, err := l.s.ask(ctx, l.s.me, of, "get", el(nsDiscoItems, "query"))
	if err != nil {
		return nil, err
	}
	return answer.child(nsDiscoItems, "query").children("", "item"), nil
}

// SetState implements adapter.Conversations: the subject, which most rooms let anybody with voice change, and the name, which takes
// an owner (XEP-0045 §8.1, §10.2). A picture is not set.
func (a *Adapter) SetState(ctx context.Context, c adapter.Conversation, state adapter.ConversationState) error {
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	r, err := a.open(ctx, l, string(c))
	if err != nil {
		return err
	}
	if err := r.ready(ctx, l); err != nil {
		return err
	}
	if state.Topic != nil && !r.hasTopic(*state.Topic) {
		topic := *state.Topic
		err = l.s.send(ctx, el("", "message", el("", "subject").put(topic)).with("type", "groupchat").with("from", l.s.me).with("to", r.jid))
		if err != nil {
			return err
		}
	}
	if state.Name == nil {
		return nil
	}
	_, err = l.s.ask(ctx, l.s.me, r.jid, "set", el("http://jabber.org/protocol/muc#owner", "query",
		submitForm("http://jabber.org/protocol/muc#roomconfig", "muc#roomconfig_roomname", *state.Name)))
	if _, ok := asStanzaError(err); ok {
		return adapter.Refused(fmt.Errorf("room %s: %w", r.jid, err))
	}
	return err
}

// hasTopic reports whether the room has this topic already, and notes that it will: our own change is no news.
func (r *room) hasTopic(topic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.topic != nil && *r.topic == topic {
		return true
	}
	r.topic = &topic
	return false
}

// Create implements adapter.Creator for chats of two, which need no making. Rooms are made by people, in the service that they
// choose.
func (a *Adapter) Create(_ context.Context, c adapter.NewConversation) (adapter.Conversation, error) {
	if !c.Direct || len(c.Invite) != 1 {
		return "", adapter.Refused(fmt.Errorf("%w: make the room with an XMPP client and bind it", adapter.ErrUnsupported))
	}
	theirs, ok := realJID(c.Invite[0])
	if !ok {
		return "", adapter.Refused(fmt.Errorf("%w: the room does not show this person's address", adapter.ErrUnsupported))
	}
	ours := a.self
	if a.component {
		ours = bare(a.addressOf(c.As.User))
	}
	return direct(ours, theirs), nil
}
