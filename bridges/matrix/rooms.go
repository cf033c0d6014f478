package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
)

// rooms is what a session knows of each room.
type rooms struct {
	mu  sync.Mutex
	all map[id.RoomID]*room
}

func (rs *rooms) get(name id.RoomID) *room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.all[name]
	if r == nil {
		r = &room{id: name, order: make(gate, 1), loading: make(gate, 1), members: map[id.UserID]member{}, typing: map[id.UserID]bool{}}
		rs.all[name] = r
	}
	return r
}

// gate is a lock that one can stop waiting for.
type gate chan struct{}

func (g gate) lock(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) unlock() { <-g }

// room is what we know of one room: its state when we came, and what events have said since.
type room struct {
	id      id.RoomID
	order   gate               // held while an event of the room is reported
	loading gate               // held while the state is fetched
	typing  map[id.UserID]bool // guarded by order

	mu        sync.Mutex
	known     bool // the state was fetched in this session
	encrypted bool // once true, true for ever: encryption cannot be switched off (Client-Server API, m.room.encryption)
	checked   time.Time
	agent     id.UserID // which of our users reads the room and acts in it: the account's own, or in a chat with one of our people theirs
	members   map[id.UserID]member
	fresh     map[id.UserID]member // what events said while the state was being fetched
	about     about
}

type about struct {
	name, topic, picture string
	movedTo              id.RoomID
	direct               bool
}

// member is somebody's place in a room.
type member struct {
	Membership string `json:"membership"` // join, invite, leave, ban, knock, or empty: not known
	Name       string `json:"displayname"`
	Avatar     string `json:"avatar_url"`
	Direct     bool   `json:"is_direct"`
	Reason     string `json:"reason"`
}

const (
	joined  = "join"
	invited = "invite"
	left    = "leave"
	banned  = "ban"
)

func (r *room) member(user id.UserID) member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[user]
}

func (r *room) setMember(user id.UserID, m member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[user] = m
	if r.fresh != nil {
		r.fresh[user] = m
	}
}

func (r *room) setEncrypted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.encrypted = true
}

func (r *room) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = false
}

// joined returns who is in the room.
func (r *room) joined() map[id.UserID]member {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := maps.Clone(r.members)
	maps.DeleteFunc(out, func(_ id.UserID, m member) bool { return m.Membership != joined })
	return out
}

func (r *room) agentOr(self id.UserID) id.UserID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.agent == "" {
		return self
	}
	return r.agent
}

// agent returns the client of the user who acts for us in a room.
func (s *session) agent(r *room) *mautrix.Client { return s.clientOf(r.agentOr(s.names.self)) }

// agentKey is the key of the account's state under which the agent of a room is kept where it is not the account's own user.
func agentKey(name id.RoomID) string {
	sum := sha256.Sum256([]byte(name))
	return "agent/" + hashText.EncodeToString(sum[:])
}

// load fetches the state of a room, unless it is known: without it, nothing may be sent there.
func (s *session) load(ctx context.Context, r *room) error {
	if err := r.loading.lock(ctx); err != nil {
		return adapter.NotDelivered(err)
	}
	defer r.loading.unlock()
	r.mu.Lock()
	known := r.known
	if !known {
		r.fresh = map[id.UserID]member{}
	}
	r.mu.Unlock()
	if known {
		return nil
	}
	agent := s.names.self
	if s.settings.Mode == modeAppService {
		kept, err := s.account.State.Get(ctx, agentKey(r.id))
		if err != nil {
			return adapter.NotDelivered(fmt.Errorf("matrix: state of the account: %w", err))
		}
		if len(kept) > 0 && s.names.ours(id.UserID(kept)) {
			agent = id.UserID(kept)
		}
	}
	var raw []json.RawMessage
	err := request(ctx, s.clientOf(agent), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.id, "state"}, nil, nil, &raw)
	if err != nil {
		return s.notThere(ctx, r, err)
	}
	s.learn(r, agent, raw)
	return nil
}

// notThere explains why a room cannot be read. Reading shows nothing to anybody, so it is certain that nothing was shown.
func (s *session) notThere(ctx context.Context, r *room, err error) error {
	err = s.check(ctx, failed("reading the room "+string(r.id), err))
	switch {
	case errors.Is(err, adapter.ErrRefused), errors.Is(err, adapter.ErrGone):
		return adapter.Gone(fmt.Errorf("%s is not in the room %s, or it does not exist: invite %s: %w", s.names.self, r.id, s.names.self, err))
	case errors.Is(err, adapter.ErrNotDelivered):
		return err
	}
	return adapter.NotDelivered(err)
}

// learn takes over a room's state as the homeserver gave it.
func (s *session) learn(r *room, agent id.UserID, raw []json.RawMessage) {
	members, encrypted, now := map[id.UserID]member{}, false, about{}
	for _, one := range raw {
		ev, err := parseEvent(one)
		if err != nil || ev.stateKey == nil {
			continue
		}
		switch ev.kind {
		case "m.room.member":
			members[id.UserID(*ev.stateKey)] = ev.member()
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
func (a *about) apply(ev nativeEvent) {
	if ev.stateKey == nil || *ev.stateKey != "" {
		return
	}
	switch ev.kind {
	case "m.room.name":
		a.name = ev.text("name")
	case "m.room.topic":
		a.topic = ev.text("topic")
	case "m.room.avatar":
		a.picture = ev.text("url")
	case "m.room.tombstone":
		a.movedTo = id.RoomID(ev.text("replacement_room"))
	}
}

// checkEvery is how long what we know of a room's encryption is trusted, should the homeserver be late in telling us.
const checkEvery = time.Minute

// sendable returns the room of a conversation when something may be sent there: its state is known, it is not encrypted.
func (s *session) sendable(ctx context.Context, c adapter.Conversation) (*room, error) {
	r := s.rooms.get(id.RoomID(c))
	if err := s.load(ctx, r); err != nil {
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
		return nil, adapter.Gone(fmt.Errorf("%s: nothing is sent there", encryptedRoom(r.id)))
	}
	return r, nil
}

func encryptedRoom(name id.RoomID) string {
	return fmt.Sprintf("matrix: the room %s is end-to-end encrypted, which this account cannot do yet", name)
}

// askEncrypted asks the homeserver whether a room is encrypted by now.
func (s *session) askEncrypted(ctx context.Context, r *room) (bool, error) {
	err := request(ctx, s.agent(r), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.id, "state", "m.room.encryption"}, nil, nil, nil)
	switch {
	case err == nil:
		r.setEncrypted()
		return true, nil
	case errcode(err) == "M_NOT_FOUND":
		r.mu.Lock()
		r.checked = time.Now()
		r.mu.Unlock()
		return false, nil
	}
	return false, s.notThere(ctx, r, err)
}
