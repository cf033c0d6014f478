package homeserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// Room returns what is known of a room.
func (s *Server) Room(name id.RoomID) *Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[name]
	if r == nil {
		r = &Room{ID: name, Order: make(Gate, 1), loading: make(Gate, 1), Typing: map[id.UserID]bool{}, members: map[id.UserID]native.Member{}}
		if s.rooms == nil {
			s.rooms = map[id.RoomID]*Room{}
		}
		s.rooms[name] = r
	}
	return r
}

// Gate is a lock that one can stop waiting for.
type Gate chan struct{}

// Lock waits for the lock, or for the end of ctx.
func (g Gate) Lock(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Unlock releases the lock.
func (g Gate) Unlock() { <-g }

// Room is what we know of one room: its state when we came, and what events have said since.
type Room struct {
	ID      id.RoomID
	Order   Gate               // held while an event of the room is reported
	Typing  map[id.UserID]bool // who types; guarded by Order
	loading Gate               // held while the state is fetched

	mu        sync.Mutex
	known     bool      // the state was fetched in this session
	encrypted bool      // once true, true for ever: encryption cannot be switched off (Client-Server API, m.room.encryption)
	checked   time.Time // when the room was last known not to be encrypted
	failed    time.Time // when the state could last not be fetched
	agent     id.UserID // which of our users reads the room and acts in it: the account's own, or in a chat with one of our people theirs
	members   map[id.UserID]native.Member
	fresh     map[id.UserID]native.Member // what events said while the state was being fetched
	about     About
}

// About is what a room is called and so on.
type About struct {
	Name, Topic, Picture string
	MovedTo              id.RoomID
}

// Member returns somebody's place in the room, as far as it is known.
func (r *Room) Member(user id.UserID) native.Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[user]
}

// SetMember takes note of somebody's place.
func (r *Room) SetMember(user id.UserID, m native.Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[user] = m
	if r.fresh != nil {
		r.fresh[user] = m
	}
}

// SetEncrypted takes note that the room is encrypted, for ever.
func (r *Room) SetEncrypted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.encrypted = true
}

// Forget has the state be fetched again before it is needed.
func (r *Room) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = false
}

// Joined returns who is in the room.
func (r *Room) Joined() map[id.UserID]native.Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := maps.Clone(r.members)
	maps.DeleteFunc(out, func(_ id.UserID, m native.Member) bool { return m.Membership != native.Joined })
	return out
}

// AgentOr returns which of our users acts in the room; where that is not known, the account's own.
func (r *Room) AgentOr(self id.UserID) id.UserID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.agent == "" {
		return self
	}
	return r.agent
}

// Agent returns the client of the user who acts for us in a room.
func (s *Server) Agent(r *Room) *mautrix.Client { return s.Person(r.AgentOr(s.Names.Self)).Client }

// KeptAgent returns who of our people is known to be the agent of a room that the account's own user is not in; "": nobody.
func (s *Server) KeptAgent(ctx context.Context, name id.RoomID) (id.UserID, error) {
	kept, err := s.kept(ctx, agentKey(name))
	if err != nil || !s.Names.Ours(id.UserID(kept)) {
		return "", err
	}
	return id.UserID(kept), nil
}

// KeepAgent remembers the agent of a room.
func (s *Server) KeepAgent(ctx context.Context, name id.RoomID, agent id.UserID) error {
	if err := s.State.Put(ctx, agentKey(name), []byte(agent)); err != nil {
		return fmt.Errorf("matrix: state of the account: %w", err)
	}
	return nil
}

// agentKey is the key of the account's state under which the agent of a room is kept where it is not the account's own user.
func agentKey(name id.RoomID) string {
	sum := sha256.Sum256([]byte(name))
	return "agent/" + native.HashText.EncodeToString(sum[:])
}

// Load fetches the state of a room, unless it is known: without it, nothing may be sent there.
func (s *Server) Load(ctx context.Context, r *Room) error {
	if err := r.loading.Lock(ctx); err != nil {
		return adapter.NotDelivered(err)
	}
	defer r.loading.Unlock()
	r.mu.Lock()
	known := r.known
	if !known {
		r.fresh = map[id.UserID]native.Member{}
	}
	r.mu.Unlock()
	if known {
		return nil
	}
	agent := s.Names.Self
	if s.AppService() {
		kept, err := s.KeptAgent(ctx, r.ID)
		if err != nil {
			return err
		}
		if kept != "" {
			agent = kept
		}
	}
	var raw []json.RawMessage
	err := Request(ctx, s.Person(agent).Client, http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.ID, "state"}, nil, nil, &raw)
	if err != nil {
		r.mu.Lock()
		r.failed = time.Now()
		r.mu.Unlock()
		return s.notThere(ctx, r, err)
	}
	s.learn(r, agent, raw)
	if r.Member(agent).Membership != native.Joined { // who has left may still read what was there then
		r.Forget()
		return adapter.Gone(s.absent(r, errors.New("left or removed")))
	}
	return nil
}

// absent says that we are not in a room.
func (s *Server) absent(r *Room, why error) error {
	return fmt.Errorf("matrix: %s is not in the room %s, or it does not exist: invite %s: %w", s.Names.Self, r.ID, s.Names.Self, why)
}

// How long what happens in a room may wait for the names of the people there, and how soon after a failure they are asked for again.
const (
	meetTime  = 20 * time.Second
	meetAgain = 30 * time.Second
)

// Meet learns who is in a room, for the names of those who say something there. Without them, user ids must do.
func (s *Server) Meet(ctx context.Context, r *Room) {
	r.mu.Lock()
	skip := r.known || time.Since(r.failed) < meetAgain
	r.mu.Unlock()
	if skip {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	if err := s.Load(ctx, r); err != nil {
		s.Log.Debug("a room's state cannot be read", "room", r.ID, "error", err)
	}
}

// notThere explains why a room cannot be read. Reading shows nothing to anybody, so it is certain that nothing was shown.
func (s *Server) notThere(ctx context.Context, r *Room, err error) error {
	err = s.Check(ctx, Failed("reading the room "+string(r.ID), err))
	switch {
	case errors.Is(err, adapter.ErrRefused), errors.Is(err, adapter.ErrGone):
		return adapter.Gone(s.absent(r, err))
	case errors.Is(err, adapter.ErrNotDelivered):
		return err
	}
	return adapter.NotDelivered(err)
}

// learn takes over a room's state as the homeserver gave it.
func (s *Server) learn(r *Room, agent id.UserID, raw []json.RawMessage) {
	members, encrypted, now := map[id.UserID]native.Member{}, false, About{}
	for _, one := range raw {
		ev, err := native.Parse(one)
		if err != nil || ev.StateKey == nil {
			continue
		}
		switch ev.Kind {
		case "m.room.member":
			members[id.UserID(*ev.StateKey)] = ev.Member()
		case "m.room.encryption":
			encrypted = true
		default:
			now.apply(ev)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(members, r.fresh)
	r.members, r.fresh, r.agent, r.about = members, nil, agent, now
	r.encrypted = r.encrypted || encrypted
	r.known, r.checked = true, time.Now()
}

// apply takes over what a state event says of the room as a whole.
func (a *About) apply(ev native.Event) {
	if ev.StateKey == nil || *ev.StateKey != "" {
		return
	}
	switch ev.Kind {
	case "m.room.name":
		a.Name = ev.Text("name")
	case "m.room.topic":
		a.Topic = ev.Text("topic")
	case "m.room.avatar":
		a.Picture = ev.Text("url")
	case "m.room.tombstone":
		a.MovedTo = id.RoomID(ev.Text("replacement_room"))
	}
}

// checkEvery is how long what we know of a room's encryption is trusted, should the homeserver be late in telling us.
const checkEvery = time.Minute

// Sendable returns the room of a conversation when something may be sent there: its state is known, it is not encrypted.
func (s *Server) Sendable(ctx context.Context, c adapter.Conversation) (*Room, error) {
	r := s.Room(id.RoomID(c))
	if err := s.Load(ctx, r); err != nil {
		return nil, err
	}
	r.mu.Lock()
	encrypted, fresh := r.encrypted, time.Since(r.checked) < checkEvery
	r.mu.Unlock()
	if !encrypted && !fresh {
		var err error
		if encrypted, err = s.askEncrypted(ctx, r); err != nil {
			return nil, err
		}
	}
	if encrypted {
		return nil, adapter.Gone(fmt.Errorf("matrix: nothing is sent to a room that is %s", Encrypted(r.ID)))
	}
	return r, nil
}

// namedRooms is how many rooms a text names at most.
const namedRooms = 5

// Encrypted says that rooms are encrypted, and what that means.
func Encrypted(rooms ...id.RoomID) string {
	names := make([]string, 0, namedRooms+1)
	for i, name := range rooms {
		if i == namedRooms {
			names = append(names, fmt.Sprintf("and %d more", len(rooms)-i))
			break
		}
		names = append(names, string(name))
	}
	return "end-to-end encrypted, which this account cannot do yet: " + strings.Join(names, ", ")
}

// askEncrypted asks the homeserver whether a room is encrypted by now.
func (s *Server) askEncrypted(ctx context.Context, r *Room) (bool, error) {
	err := Request(ctx, s.Agent(r), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.ID, "state", "m.room.encryption"}, nil, nil, nil)
	switch {
	case err == nil:
		r.SetEncrypted()
		return true, nil
	case Code(err) == "M_NOT_FOUND":
		r.mu.Lock()
		r.checked = time.Now()
		r.mu.Unlock()
		return false, nil
	}
	return false, s.notThere(ctx, r, err)
}

// Apply takes over what a state event says of the room as a whole.
func (r *Room) Apply(ev native.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.about.apply(ev)
}

// State returns what the room is called and so on, whether it is encrypted, and whether it is a direct chat with us or with the
// one of our people who is its agent.
func (r *Room) State(self id.UserID) (about About, encrypted, direct bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.about, r.encrypted, r.agent != self || r.members[r.agent].Direct
}
