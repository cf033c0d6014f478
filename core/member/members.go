package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"mimigate/core/content"
	"mimigate/core/member/keys"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// Errors of the calls of [Members].
var (
	// ErrNoRoom: none of our people is in the room.
	ErrNoRoom = errors.New("member: not in the room")
	// ErrNotParticipant: the sender is not in the room, and was not asked to be.
	ErrNotParticipant = errors.New("member: the sender is not in the room")
	// ErrUser: the address cannot be one of our people's: it is another provider's, or not of one segment.
	ErrUser = keys.ErrUser
)

// Peers finds the hubs of rooms.
type Peers interface {
	// Hub returns a provider as a hub. joins says that it is in this very process: a call joins the caller's unit then.
	Hub(of uri.Provider) (hub mimi.Hub, joins bool, err error)
	// KeyMaterial returns where key packages are asked for by way of a hub.
	KeyMaterial(by uri.Provider) (mimi.KeyMaterial, error)
}

// Founder is the hub of our own rooms.
type Founder interface {
	// Sender returns how it stands in external_senders and as franking_agent of a room with a cipher suite.
	Sender(ctx context.Context, suite mls.CipherSuite) (mls.ExternalSender, error)
	// Create hosts a room that we have made.
	Create(ctx context.Context, room uri.Room, info *mls.GroupInfo, tree []byte) error
}

// Config is what Members need.
type Config struct {
	Provider uri.Provider
	Store    Store
	Peers    Peers
	Founder  Founder
	Consent  keys.Consent // nil: nobody consents
	// Credentials: nil: our people have Basic credentials, which nobody vouches for.
	Credentials keys.Credentials
	MLS         *mls.Config     // its Components are room.Components
	Suite       mls.CipherSuite // of the rooms we make; 0: 0x0001
	// Batch is how long a change of participants waits for others to go with it (design §7), unless a message waits for it.
	Batch time.Duration
	// Patience is how long gateways before us are waited for to commit what was proposed; 0: ten seconds.
	Patience time.Duration
	// Echo is how long a hub may take to send back what it has accepted of ours; 0: a minute. Where others' messages come first,
	// it is clear before that it never will.
	Echo time.Duration
	// Rotate is in what time each of our leaves gets new keys, if a room's policy does not want it sooner; 0: 30 days.
	Rotate time.Duration
	Now    func() time.Time
	Log    *slog.Logger
}

// Members are the MLS clients of this provider's people. Their methods may be called from several goroutines.
type Members struct {
	Config
	gateway uri.User // our participant that looks after the others (design §7)
	sink    Sink
	keys    *keys.Keys
	queues  *mimi.Queues[uri.Room]
	watch   *mimi.Queues[uri.Room] // what should have happened by now
	stop    context.CancelFunc     // of rotation
	stopped sync.WaitGroup

	mu    sync.Mutex
	rooms map[uri.Room]*shared
}

var _ mimi.KeyMaterial = (*Members)(nil)

// KeyMaterial implements [mimi.KeyMaterial] for our own people.
func (m *Members) KeyMaterial(ctx context.Context, from uri.Provider, target uri.User, r *mimi.KeyMaterialRequest) (*mimi.KeyMaterialResponse, error) {
	return m.keys.KeyMaterial(ctx, from, target, r)
}

// New returns the members of a provider. They need Start before anything is sent or opened.
func New(cfg Config) (*Members, error) {
	engine := *cfg.MLS
	if engine.Suites == nil {
		engine.Suites = mls.DefaultSuites()
	}
	cfg.MLS = &engine
	if cfg.Suite == 0 {
		cfg.Suite = mls.X25519AES128
	}
	gateway, err := cfg.Provider.User("gateway")
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	m := &Members{Config: cfg, gateway: gateway, rooms: make(map[uri.Room]*shared)}
	m.keys = &keys.Keys{Provider: cfg.Provider, Store: cfg.Store, Consent: cfg.Consent, Credentials: cfg.Credentials, MLS: cfg.MLS, Now: cfg.Now}
	if m.Patience == 0 {
		m.Patience = 10 * time.Second
	}
	if m.Echo == 0 {
		m.Echo = time.Minute
	}
	if m.Rotate == 0 {
		m.Rotate = 30 * 24 * time.Hour
	}
	m.watch = mimi.NewQueues(m.check)
	m.queues = mimi.NewQueues(func(ctx context.Context, id uri.Room) (bool, error) { return m.step(ctx, id, true) })
	return m, nil
}

// Start says to whom what comes is told, and goes on with what was on its way.
func (m *Members) Start(ctx context.Context, sink Sink) error {
	m.sink = sink
	rooms, err := m.Store.UnfinishedRooms(ctx)
	if err != nil {
		return fmt.Errorf("member: %w", err)
	}
	for _, id := range rooms {
		m.queues.Wake(id)
		m.watch.WakeAfter(id, m.Patience)
	}
	rotation, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.stopped.Go(func() { m.rotate(rotation) })
	return nil
}

// Close ends what the members do by themselves, and waits for it.
func (m *Members) Close() {
	if m.stop != nil {
		m.stop()
		m.stopped.Wait()
	}
	m.watch.Close()
	m.queues.Close()
}

// shared is the state of a room in memory: of all our leaves in it (design §6). All but the group is touched only within units.
type shared struct {
	id      uri.Room
	fence   int64
	opening bool       // further up in this very unit its inbox is being opened
	last    int64      // the greatest number of a message of ours
	sent    int64      // up to which number the hub has accepted them; it knows those again that it is given once more
	vain    uint64     // one more than the epoch that we cannot commit in, until another commit ends it; 0: none
	tried   int        // how many of our people the hub did not let back in
	entry   *mls.Group // entered by a commit that is on its way; see enter.go
	// Whether the hub has gone back is to be found out; one more than the epoch in which it had not.
	doubt    bool
	examined uint64
	unechoed []acceptance      // in the order of acceptance
	silent   bool              // the hub does not send back what is ours
	proposed time.Time         // when the first of the pending proposals was heard of
	departed map[string]uint64 // who has proposed to leave: one more than the epoch
	memory

	mu    sync.Mutex // for group: its steps are settled after their unit, when another may have its turn
	group *mls.Group
}

// memory is what is worked out of the group at an epoch.
type memory struct {
	state  *room.State
	leaves map[uri.User]mls.LeafIndex // of our people
	lost   []room.Leaf                // of our people too, but without keys
	stale  bool                       // the group is lost
}

func stateName(id uri.Room) []byte { return []byte("member " + id.String()) }

// identify implements [room.Identify].
func identify(l *mls.LeafNode) (room.Leaf, error) {
	user, client, err := mimi.Identify(&l.Credential)
	return room.Leaf{User: user, Client: client}, err
}

func (m *Members) cached(id uri.Room) *shared {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rooms[id]
}

// forget drops a room from memory; it is loaded again when it is needed.
func (m *Members) forget(s *shared) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rooms[s.id] == s {
		delete(m.rooms, s.id)
	}
}

// room returns a room that our people are in, within a unit. The error wraps ErrNoRoom where they are not.
func (m *Members) room(ctx context.Context, id uri.Room) (*shared, error) {
	if s := m.cached(id); s != nil {
		if err := m.Store.CheckRoom(ctx, id, s.fence); err != nil {
			m.forget(s)
			return nil, err
		}
		return s, nil
	}
	records, err := m.Store.LoadRecords(ctx, stateName(id))
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, ErrNoRoom
	}
	s := &shared{id: id}
	if s.group, err = mls.LoadGroup(m.MLS, records); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	if s.memory, err = m.remember(id, s.group); err != nil {
		return nil, err
	}
	if s.stale, err = m.Store.IsStale(ctx, id); err != nil {
		return nil, err
	}
	if s.entry, err = m.loadEntry(ctx, id); err != nil {
		return nil, err
	}
	if s.last, err = m.Store.LastOutgoing(ctx, id); err != nil {
		return nil, err
	}
	return s, m.adopt(ctx, s)
}

// place is like room; one that our people are not in has no group, as if it were lost.
func (m *Members) place(ctx context.Context, id uri.Room) (*shared, error) {
	s, err := m.room(ctx, id)
	if errors.Is(err, ErrNoRoom) {
		return &shared{id: id, memory: memory{stale: true}}, nil
	}
	return s, err
}

// adopt makes this instance the room's owner and keeps the room in memory, for as long as the unit is not undone.
func (m *Members) adopt(ctx context.Context, s *shared) error {
	var err error
	if s.fence, err = m.Store.OwnRoom(ctx, s.id); err != nil {
		return err
	}
	m.mu.Lock()
	m.rooms[s.id] = s
	m.mu.Unlock()
	m.Store.OnRollback(ctx, func() { m.forget(s) })
	return nil
}

// roomState is the state of a room at the beginning of a group's epoch.
func roomState(id uri.Room, g *mls.PublicGroup) (*room.State, error) {
	dict, err := g.Context().Dictionary()
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	var leaves []room.Leaf
	for i, node := range g.Members() {
		l, err := identify(node)
		if err != nil {
			return nil, fmt.Errorf("member: %w", err)
		}
		l.Index = i
		leaves = append(leaves, l)
	}
	state, err := room.New(id, dict, leaves)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return state, nil
}

// remember works out what the members need to know of a group's epoch.
func (m *Members) remember(id uri.Room, g *mls.Group) (memory, error) {
	out := memory{leaves: make(map[uri.User]mls.LeafIndex)}
	var err error
	if out.state, err = roomState(id, &g.PublicGroup); err != nil {
		return memory{}, err
	}
	for l := range out.state.Leaves() {
		switch {
		case g.IsLocal(l.Index):
			out.leaves[l.User] = l.Index
		case l.User.Provider() == m.Provider: // another client of theirs is not ours to look after
			if _, client, err := m.keys.Credential(l.User); err == nil && l.Client == client {
				out.lost = append(out.lost, l)
			}
		}
	}
	return out, nil
}

// change replaces what is in memory of a room, and brings it back if the unit is undone.
func (m *Members) change(ctx context.Context, s *shared, next memory) {
	before := s.memory
	s.memory = next
	m.Store.OnRollback(ctx, func() { s.memory = before })
}

// keep stores a staged step in the unit; it is settled with the unit or discarded with it (design §5 rule ii).
func (m *Members) keep(ctx context.Context, s *shared, step *mls.Step) error {
	m.Store.OnRollback(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.group.Discard(step); err != nil {
			m.forget(s) // what is on disk is right
		}
	})
	m.Store.OnCommit(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Units that were committed together may report in any order, and to settle a step settles those before it.
		_ = s.group.Settle(step)
	})
	return m.Store.ApplyDelta(ctx, stateName(s.id), step.Delta)
}

// joins reports whether the room's hub is in this very process.
func (m *Members) joins(id uri.Room) bool {
	_, joins, err := m.Peers.Hub(id.Provider())
	return err == nil && joins
}

// advance goes on with what is on its way in a room: within the unit where the hub is in this process (design §5 rule vii), as a
// part that may fail by itself, and after the unit otherwise.
func (m *Members) advance(ctx context.Context, id uri.Room) {
	wake := func() { m.queues.Wake(id) }
	if !m.joins(id) {
		m.Store.OnCommit(ctx, wake)
		return
	}
	err := m.Store.Do(ctx, func(ctx context.Context) error {
		for {
			if more, err := m.step(ctx, id, false); err != nil || !more {
				return err
			}
		}
	})
	if err != nil {
		m.Log.Warn("a room's hub could not be asked, trying again", "room", id, "error", err)
		m.Store.OnCommit(ctx, wake)
	}
}

// Participants returns who is in a room and in which role, the banned included. It fails with ErrNoRoom.
func (m *Members) Participants(ctx context.Context, id uri.Room) (map[uri.User]uint32, error) {
	all := make(map[uri.User]uint32)
	err := m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.room(ctx, id)
		if err != nil {
			return err
		}
		for _, p := range s.state.Participants() {
			if u, err := uri.ParseUser(p.User); err == nil { // a provider is no user
				all[u] = uint32(p.Role)
			}
		}
		return nil
	})
	return all, err
}

// Description returns a room's name and subject. It fails with ErrNoRoom.
func (m *Members) Description(ctx context.Context, id uri.Room) (name, subject string, err error) {
	err = m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.room(ctx, id)
		if err == nil {
			name, subject = s.state.Metadata().Name, s.state.Metadata().Subject
		}
		return err
	})
	return name, subject, err
}

// EnsureParticipant asks that a user be in a room: one of our people, or somebody elsewhere, who is then invited. Who is in the
// room already keeps their role. The outcome is told to the Sink. It fails with ErrNoRoom and ErrUser.
func (m *Members) EnsureParticipant(ctx context.Context, id uri.Room, user uri.User, role uint32) error {
	return m.request(ctx, id, &Request{Subject: user.String(), Role: role}, user)
}

// RemoveParticipant asks that a user be in a room no more. Otherwise like EnsureParticipant.
func (m *Members) RemoveParticipant(ctx context.Context, id uri.Room, user uri.User) error {
	return m.SetRole(ctx, id, user, uint32(policy.NoRole))
}

// SetRole asks that a user have exactly a role in a room; 1 bans them. Otherwise like EnsureParticipant.
func (m *Members) SetRole(ctx context.Context, id uri.Room, user uri.User, role uint32) error {
	return m.request(ctx, id, &Request{Subject: user.String(), Role: role, Exact: true}, user)
}

// Describe asks that a room have a name and a subject. It fails with ErrNoRoom.
func (m *Members) Describe(ctx context.Context, id uri.Room, name, subject string) error {
	return m.request(ctx, id, &Request{Name: name, About: subject}, m.gateway)
}

func (m *Members) request(ctx context.Context, id uri.Room, r *Request, user uri.User) error {
	if user.Provider() == m.Provider && len(user.Segments()) != 1 {
		return ErrUser
	}
	return m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.room(ctx, id)
		if err != nil {
			return err
		}
		c, err := m.Store.PendingCommit(ctx, id)
		if err != nil {
			return err
		}
		if c == nil && m.isFulfilled(s, r) { // and an older wish to the contrary is void
			return m.Store.DropRoomRequest(ctx, id, r.Subject)
		}
		if err := m.Store.PutRoomRequest(ctx, id, r); err != nil {
			return err
		}
		m.Store.OnCommit(ctx, func() { m.queues.WakeAfter(id, m.soon()) })
		return nil
	})
}

// Send hands a message of one of our people to a room: T1. Its id is settled here, whatever has to be done until it can be
// protected; a message without a salt gets one. It fails with ErrNoRoom, with ErrNotParticipant for a sender who is not in the
// room nor asked to be by EnsureParticipant, with a policy.ErrDenied where the sender's role does not permit the message, and
// with a content.ErrRefused where it cannot be encoded. m is not changed.
func (m *Members) Send(ctx context.Context, id uri.Room, from uri.User, msg *content.Message) (content.MessageID, error) {
	var mid content.MessageID
	err := m.Store.Do(ctx, func(ctx context.Context) error {
		s, err := m.room(ctx, id)
		if err != nil {
			return err
		}
		o, err := m.compose(ctx, s, from, msg)
		if err != nil {
			return err
		}
		mid = o.ID
		if err := m.Store.PutOutgoing(ctx, id, o); err != nil {
			return err
		}
		m.advance(ctx, id)
		return nil
	})
	return mid, err
}
