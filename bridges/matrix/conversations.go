package matrix

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// Open implements adapter.Conversations: a room by id, alias or matrix.to link.
func (a *Adapter) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	s, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	room, via, ok := native.RoomName(name)
	if !ok {
		return "", fmt.Errorf("matrix: %q is no room: give an id such as !abc:example.org, or an alias such as #fox:example.org: %w", name, adapter.ErrNotFound)
	}
	opened, err := s.enterRoom(ctx, room, via)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	before := a.opened[opened]
	a.opened[opened] = true
	a.mu.Unlock()
	if err := s.show(ctx, s.hs.Room(opened)); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !before {
			delete(a.opened, opened)
		}
		return "", err
	}
	return adapter.Conversation(opened), nil
}

// enterRoom joins a room as the account's own user, or else as the one of our people who was invited to it.
func (s *session) enterRoom(ctx context.Context, name string, via []string) (id.RoomID, error) {
	opened, err := s.joinAs(ctx, s.hs.Bot(), name, via)
	if err == nil {
		return opened, nil
	}
	if s.settings.Mode == modeAppService && strings.HasPrefix(name, "!") {
		if agent, stateErr := s.hs.KeptAgent(ctx, id.RoomID(name)); stateErr == nil && agent != "" {
			if opened, err := s.joinAs(ctx, s.hs.Person(agent).Client, name, via); err == nil {
				return opened, nil
			}
		}
	}
	said := s.hs.Check(ctx, homeserver.Failed("joining "+name, err))
	switch code := homeserver.Code(err); {
	case code == "M_FORBIDDEN":
		return "", adapter.Gone(fmt.Errorf("%s may not join the room %s: invite it there: %w", s.hs.Names.Self, name, said))
	case code != "" && (homeserver.Status(err) == http.StatusNotFound || homeserver.Status(err) == http.StatusBadRequest):
		return "", fmt.Errorf("matrix: there is no room %s, or no server that knows it: %w", name, errors.Join(adapter.ErrNotFound, said))
	}
	return "", said
}

func (s *session) joinAs(ctx context.Context, c *mautrix.Client, name string, via []string) (id.RoomID, error) {
	address, err := url.Parse(c.BuildClientURL("v3", "join", name))
	if err != nil {
		return "", fmt.Errorf("matrix: %w", err)
	}
	q := address.Query()
	for _, server := range via {
		q.Add("server_name", server) // before v1.12
		q.Add("via", server)
	}
	address.RawQuery = q.Encode()
	var got struct {
		Room id.RoomID `json:"room_id"`
	}
	_, err = c.MakeFullRequest(ctx, mautrix.FullRequest{Method: http.MethodPost, URL: address.String(), RequestJSON: map[string]any{},
		ResponseJSON: &got, MaxAttempts: 1})
	return got.Room, err
}

// show fetches a room's state and reports it: first what it is, then who is there.
func (s *session) show(ctx context.Context, r *homeserver.Room) error {
	if err := r.Order.Lock(ctx); err != nil {
		return err
	}
	defer r.Order.Unlock()
	r.Forget()
	if err := s.hs.Load(ctx, r); err != nil {
		return err
	}
	state, encrypted := s.stateOf(r)
	ev := adapter.Event{Conversation: adapter.Conversation(r.ID), Body: state}
	if err := s.report(ctx, ev); err != nil {
		return err
	}
	s.setEncrypted(ctx, r.ID, encrypted)
	members := r.Joined()
	for _, user := range slices.Sorted(maps.Keys(members)) {
		if s.hs.Names.Ours(user) {
			continue
		}
		person := s.memberPerson(ctx, user, members[user])
		ev := adapter.Event{Conversation: adapter.Conversation(r.ID), Sender: person, Body: adapter.Membership{Change: adapter.Joined, Person: person}}
		if err := s.report(ctx, ev); err != nil {
			return err
		}
	}
	return nil
}

// stateOf is what is known of a room.
func (s *session) stateOf(r *homeserver.Room) (adapter.ConversationState, bool) {
	about, encrypted, direct := r.State(s.hs.Names.Self)
	name, topic, picture := native.Clean(about.Name), native.Clean(about.Topic), native.Blob(about.Picture)
	state := adapter.ConversationState{Name: &name, Topic: &topic, Picture: &picture, Direct: &direct, Encrypted: &encrypted}
	if about.MovedTo != "" {
		gone, moved := "the room was replaced by another", adapter.Conversation(about.MovedTo)
		state.Gone, state.MovedTo = &gone, &moved
	}
	return state, encrypted
}

// reopen reports anew what was opened, at the beginning of a run. A room that cannot be read harms no other.
func (s *session) reopen(ctx context.Context) {
	s.Adapter.mu.Lock()
	opened := slices.Sorted(maps.Keys(s.opened))
	s.Adapter.mu.Unlock()
	for _, name := range opened {
		if err := s.show(ctx, s.hs.Room(name)); err != nil {
			s.log.Warn("a room cannot be opened again", "room", name, "error", err)
		}
	}
}

// Leave implements adapter.Conversations.
func (a *Adapter) Leave(ctx context.Context, c adapter.Conversation) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	r := s.hs.Room(id.RoomID(c))
	a.mu.Lock()
	delete(a.opened, r.ID)
	a.mu.Unlock()
	s.setEncrypted(ctx, r.ID, false)
	if err := s.hs.Load(ctx, r); err != nil {
		if errors.Is(err, adapter.ErrGone) {
			return nil // we are not there
		}
		return err
	}
	var errs []error
	agent := r.AgentOr(s.hs.Names.Self)
	for user := range r.Joined() {
		if s.hs.Names.Ours(user) && user != agent {
			errs = append(errs, s.hs.Leave(ctx, r, s.hs.Person(user), ""))
		}
	}
	errs = append(errs, s.hs.Leave(ctx, r, s.hs.Person(agent), ""))
	r.Forget()
	return errors.Join(errs...)
}

// listMax is how many rooms of the homeserver's directory List names.
const listMax = 200

// List implements adapter.Conversations: the rooms the account is in, and those of its homeserver's directory.
func (a *Adapter) List(ctx context.Context) ([]adapter.Listed, error) {
	s, err := a.online(ctx)
	if err != nil {
		return nil, err
	}
	var mine struct {
		Rooms []id.RoomID `json:"joined_rooms"`
	}
	if err := homeserver.Request(ctx, s.hs.Bot(), http.MethodGet, mautrix.ClientURLPath{"v3", "joined_rooms"}, nil, nil, &mine); err != nil {
		return nil, s.hs.Check(ctx, homeserver.Failed("listing rooms", err))
	}
	slices.Sort(mine.Rooms)
	var out []adapter.Listed
	known := map[id.RoomID]bool{}
	for _, name := range mine.Rooms {
		known[name] = true
		out = append(out, s.listed(ctx, s.hs.Room(name)))
	}
	var public struct {
		Chunk []struct {
			Room    id.RoomID `json:"room_id"`
			Alias   string    `json:"canonical_alias"`
			Name    string    `json:"name"`
			Members int       `json:"num_joined_members"`
		}
	}
	query := map[string]string{"limit": fmt.Sprint(listMax)}
	if err := homeserver.Request(ctx, s.hs.Bot(), http.MethodGet, mautrix.ClientURLPath{"v3", "publicRooms"}, query, nil, &public); err != nil {
		s.log.Debug("the directory of rooms cannot be read", "error", homeserver.Plain(err))
		return out, nil
	}
	for _, p := range public.Chunk {
		if known[p.Room] {
			continue
		}
		name := p.Alias
		if name == "" {
			name = string(p.Room)
		}
		out = append(out, adapter.Listed{Name: name, Conversation: adapter.Conversation(p.Room), Title: native.Clean(p.Name), Members: p.Members})
	}
	return out, nil
}

func (s *session) listed(ctx context.Context, r *homeserver.Room) adapter.Listed {
	l := adapter.Listed{Name: string(r.ID), Conversation: adapter.Conversation(r.ID), Joined: true}
	if err := s.hs.Load(ctx, r); err != nil {
		s.log.Debug("a room's state cannot be read", "room", r.ID, "error", err)
		return l
	}
	state, encrypted := s.stateOf(r)
	l.Title, l.Direct, l.Encrypted = *state.Name, *state.Direct, encrypted
	l.Members = len(r.Joined())
	return l
}

// SetState implements adapter.Conversations.
func (a *Adapter) SetState(ctx context.Context, c adapter.Conversation, state adapter.ConversationState) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	r := s.hs.Room(id.RoomID(c))
	if err := s.hs.Load(ctx, r); err != nil {
		return err
	}
	set := func(kind, field, value string) error {
		path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "state", kind, ""}
		return s.hs.Check(ctx, homeserver.Failed("setting "+kind+" of "+string(r.ID), homeserver.Put(ctx, s.hs.Agent(r), path, nil, map[string]string{field: value}, nil)))
	}
	if state.Name != nil {
		if err := set("m.room.name", "name", *state.Name); err != nil {
			return err
		}
	}
	if state.Topic != nil {
		if err := set("m.room.topic", "topic", *state.Topic); err != nil {
			return err
		}
	}
	if state.Picture != nil {
		return set("m.room.avatar", "url", string(*state.Picture))
	}
	return nil
}

// Create implements adapter.Creator. The room has an alias made of the key, by which a repetition finds it.
func (a *Adapter) Create(ctx context.Context, c adapter.NewConversation) (adapter.Conversation, error) {
	s, err := a.online(ctx)
	if err != nil {
		return "", err
	}
	maker := s.hs.Person(s.hs.Names.Self)
	if a.settings.Mode == modeAppService && !c.As.IsGateway() {
		if maker, err = s.hs.Present(ctx, c.As); err != nil {
			return "", err
		}
	}
	local := s.settings.Prefix + "k" + c.Key
	body := map[string]any{
		"preset": "private_chat", "room_alias_name": local, "name": c.Name, "topic": c.Topic, "invite": c.Invite,
		"is_direct": c.Direct, "visibility": "private",
	}
	if c.Direct {
		body["preset"] = "trusted_private_chat"
	}
	for field, value := range map[string]string{"name": c.Name, "topic": c.Topic} {
		if value == "" {
			delete(body, field)
		}
	}
	if len(c.Invite) == 0 {
		delete(body, "invite")
	}
	var got struct {
		Room id.RoomID `json:"room_id"`
	}
	err = homeserver.Request(ctx, maker.Client, http.MethodPost, mautrix.ClientURLPath{"v3", "createRoom"}, nil, body, &got)
	if homeserver.Code(err) == "M_ROOM_IN_USE" {
		alias := "#" + local + ":" + s.hs.Names.Server
		err = homeserver.Request(ctx, maker.Client, http.MethodGet, mautrix.ClientURLPath{"v3", "directory", "room", alias}, nil, nil, &got)
	}
	if err != nil {
		return "", s.hs.Check(ctx, homeserver.Failed("creating a room", err))
	}
	if maker.ID != s.hs.Names.Self {
		if err := s.hs.KeepAgent(ctx, got.Room, maker.ID); err != nil {
			return "", err
		}
	}
	return adapter.Conversation(got.Room), nil
}
