package xmpp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmpp/jid"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/muc"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
)

// Open implements adapter.Conversations. A room is named by its JID (also as xmpp:room@muc.example.org?join), a chat of two by the
// other's JID, or by what the conversation is called.
func (a *Adapter) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	if _, _, ok := a.ChatOf(adapter.Conversation(name)); ok {
		return adapter.Conversation(name), nil
	}
	l, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	plain, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(name), "xmpp:"), "?")
	j, err := wire.ParseJID(plain)
	if err != nil {
		return "", err
	}
	if j.Localpart() == "" {
		return "", fmt.Errorf("%w: %s is a server, not a room", adapter.ErrNotFound, j)
	}
	address := j.Bare().String()
	r, err := a.room(ctx, l, address)
	if err == nil {
		err = r.Reopen(ctx, l)
	}
	if err == nil {
		return adapter.Conversation(address), nil
	}
	// People's servers answer for them that there is nothing, or nothing to tell.
	if _, answered := wire.AsError(err); !answered && !errors.Is(err, adapter.ErrNotFound) ||
		answered && !wire.IsCond(err, "service-unavailable", "item-not-found", "subscription-required") {
		return "", err
	}
	if a.hasRooms(ctx, l, j.Domain()) {
		return "", err
	}
	return talk.Direct(a.JID, address), nil
}

// hasRooms reports whether a domain is a service of rooms, and not of people.
func (a *Adapter) hasRooms(ctx context.Context, l *link.Link, domain jid.JID) bool {
	answer, err := l.Stream.Ask(ctx, l.Stream.Me, domain.String(), "get", wire.El(wire.NSDiscoInfo, "query"))
	if err != nil {
		return true // no telling: it stays what it was asked for
	}
	for _, identity := range answer.Child(wire.NSDiscoInfo, "query").Children("", "identity") {
		if identity.Attr("category") == "conference" {
			return true
		}
	}
	return false
}

// room returns a room that is open, opening it if need be.
func (a *Adapter) room(ctx context.Context, l *link.Link, address string) (*muc.Room, error) {
	a.mu.Lock()
	r := a.open[address]
	a.mu.Unlock()
	if r != nil {
		return r, nil
	}
	if _, err := jid.Parse(address); err != nil {
		return nil, adapter.Gone(fmt.Errorf("%w: %q is no room", adapter.ErrNotFound, address))
	}
	a.mu.Lock()
	if r = a.open[address]; r == nil {
		r = muc.New(&a.rooms, address, a.lane(adapter.Conversation(address)))
		a.open[address] = r
	}
	a.mu.Unlock()
	if err := r.Join(ctx, l); err != nil {
		a.mu.Lock()
		delete(a.open, address)
		a.mu.Unlock()
		return nil, err
	}
	return r, nil
}

// Leave implements adapter.Conversations.
func (a *Adapter) Leave(ctx context.Context, c adapter.Conversation) error {
	a.mu.Lock()
	r := a.open[string(c)]
	delete(a.open, string(c))
	delete(a.lanes, c)
	l := a.link
	a.mu.Unlock()
	if r == nil {
		return nil
	}
	if l != nil {
		for _, n := range r.Lost() {
			if err := l.Stream.Send(ctx, n); err != nil {
				return err
			}
		}
		a.report(l, string(c), muc.Problem{})
	}
	return r.Forget(ctx)
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
	for address, r := range a.open {
		out = append(out, r.Listed())
		listed[address] = true
	}
	a.mu.Unlock()
	host := a.Domain
	if _, parent, ok := strings.Cut(host, "."); ok && a.Component { // the server's domain, as a rule
		host = parent
	}
	for _, service := range a.items(ctx, l, host) {
		domain, err := jid.Parse(service.Attr("jid"))
		if err != nil || domain.Localpart() != "" || !a.hasRooms(ctx, l, domain) {
			continue
		}
		for _, room := range a.items(ctx, l, domain.String()) {
			address := wire.Bare(room.Attr("jid"))
			if address != "" && !listed[address] && len(out) < maxListed {
				listed[address] = true
				out = append(out, adapter.Listed{Name: address, Conversation: adapter.Conversation(address), Title: room.Attr("name")})
			}
		}
	}
	return out, nil
}

// items returns what an address lists (XEP-0030 §4); nothing, where it does not.
func (a *Adapter) items(ctx context.Context, l *link.Link, of string) []*wire.Node {
	answer, err := l.Stream.Ask(ctx, l.Stream.Me, of, "get", wire.El(wire.NSDiscoItems, "query"))
	if err != nil {
		return nil
	}
	return answer.Child(wire.NSDiscoItems, "query").Children("", "item")
}

// SetState implements adapter.Conversations.
func (a *Adapter) SetState(ctx context.Context, c adapter.Conversation, state adapter.ConversationState) error {
	if _, _, ok := a.ChatOf(c); ok {
		return adapter.Refused(fmt.Errorf("%w: a chat of two has no name", adapter.ErrUnsupported))
	}
	l, err := a.online(ctx)
	if err != nil {
		return err
	}
	r, err := a.room(ctx, l, string(c))
	if err != nil {
		return err
	}
	return r.SetState(ctx, l, state)
}

// Create implements adapter.Creator for chats of two, which need no making. Rooms are made by people, in the service that they
// choose.
func (a *Adapter) Create(_ context.Context, c adapter.NewConversation) (adapter.Conversation, error) {
	if !c.Direct || len(c.Invite) != 1 {
		return "", adapter.Refused(fmt.Errorf("%w: make the room with an XMPP client and bind it", adapter.ErrUnsupported))
	}
	theirs, ok := talk.RealJID(c.Invite[0])
	if !ok {
		return "", adapter.Refused(fmt.Errorf("%w: the room does not show this person's address", adapter.ErrUnsupported))
	}
	ours := a.JID
	if a.Component {
		ours = wire.Bare(a.AddressOf(c.As.User))
	}
	return talk.Direct(ours, theirs), nil
}
