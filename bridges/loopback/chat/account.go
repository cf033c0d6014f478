package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Errors of a connection. After ErrNotConnected nothing has reached the network; after ErrNoAnswer, as after the end of a context,
// nobody knows.
var (
	ErrNotConnected = errors.New("not connected")
	ErrNoAnswer     = errors.New("connection lost before the answer")
	ErrPassword     = errors.New("wrong account or password")
)

// account is a program's login. It is a user, and owns all users whose id begins with its own and a slash.
type account struct {
	name, password string
	condition      Condition
	refuse         error // for every request that writes
	rewind         int   // events to report again
	since          map[string]int
	conns          map[*Conn]bool
}

// Condition is a condition of the link between an account and the network.
type Condition uint8

// The conditions.
const (
	Up   Condition = iota
	Slow           // requests are held up until the link is Up; Down loses them
	Deaf           // requests arrive; answers and events are lost
	Down           // no connection, and none can be made
)

// Register sets the password of an account. An account that is not registered has none, and may connect.
func (n *Network) Register(name, password string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.account(name).password = password
}

// account returns an account, made at first use; n.mu is held.
func (n *Network) account(name string) *account {
	a := n.accounts[name]
	if a == nil {
		a = &account{name: name, since: map[string]int{}, conns: map[*Conn]bool{}}
		n.accounts[name] = a
	}
	return a
}

// Link is what can go wrong between an account and the network.
type Link struct {
	n    *Network
	name string
}

// Link returns the link of an account.
func (n *Network) Link(account string) *Link { return &Link{n, account} }

// Set changes the condition, also of connections that exist. Down ends them; the end of Deaf ends those that lost something.
func (l *Link) Set(c Condition) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	a := l.n.account(l.name)
	a.condition = c
	for conn := range a.conns {
		if c == Down || c != Deaf && conn.lost {
			conn.end()
		}
	}
	l.n.wake()
}

// Refuse lets the network answer every further request to write with err, e.g. a *Refusal; nil ends that.
func (l *Link) Refuse(err error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.account(l.name).refuse = err
}

// Repeat lets the network report the last count events again, as after a crash of its own.
func (l *Link) Repeat(count int) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.account(l.name).rewind += count
	l.n.wake()
}

// Conn is a connection of an account: the network's API for programs.
type Conn struct {
	n     *Network
	a     *account
	lost  bool // something for it was thrown away
	ended bool
}

// Connect logs in: ErrPassword, or ErrNotConnected.
func (n *Network) Connect(name, password string) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.account(name)
	if a.condition == Down {
		return nil, ErrNotConnected
	}
	if a.password != password {
		return nil, ErrPassword
	}
	c := &Conn{n: n, a: a}
	a.conns[c] = true
	if n.names[name] == "" {
		n.names[name] = name
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.end()
	c.n.wake()
}

func (c *Conn) end() {
	c.ended = true
	delete(c.a.conns, c)
}

// Next returns the first event after seq in the rooms that the account follows, and waits for it.
func (c *Conn) Next(ctx context.Context, seq int) (Event, error) {
	for {
		c.n.mu.Lock()
		if c.ended {
			c.n.mu.Unlock()
			return Event{}, ErrNotConnected
		}
		from := max(seq-c.a.rewind, 0)
		for _, ev := range c.n.log[min(from, len(c.n.log)):] {
			if !c.a.sees(ev) {
				continue
			}
			if c.a.condition == Deaf {
				c.lost = true
				break
			}
			c.a.rewind = 0
			c.n.mu.Unlock()
			return ev, nil
		}
		changed := c.n.changed
		c.n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func (a *account) sees(ev Event) bool {
	if ev.only != "" {
		return ev.only == a.name
	}
	since, ok := a.since[ev.Room]
	return ok && ev.Seq > since
}

// Request is what a program asks the network to do. User is the account's name, or one of its own users, who is given Name and let
// into the room as needed. The program may choose the ID of the event: a request with the same ID is done once.
type Request struct {
	Room, ID, User, Name string
	Kind                 Kind
	Text                 string
	Markup               bool
	To, Emoji, Undoes    string
	Whom                 string
	Tag                  string
}

// Receipt is the network's answer to a request.
type Receipt struct {
	ID string
	At time.Time
}

// Do does what is asked. A *Refusal says that it was not done, ErrNotConnected that it was not even asked; after any other error nobody knows.
func (c *Conn) Do(ctx context.Context, q Request) (Receipt, error) {
	return exchange(ctx, c, func() (Receipt, error) {
		if c.a.refuse != nil {
			return Receipt{}, c.a.refuse
		}
		return c.do(q)
	})
}

// exchange does one request under the conditions of the link, and holds n.mu for it.
func exchange[T any](ctx context.Context, c *Conn, do func() (T, error)) (T, error) {
	var none T
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.ended {
		return none, ErrNotConnected
	}
	for c.a.condition == Slow {
		if err := c.wait(ctx); err != nil {
			return none, err
		}
	}
	out, err := do()
	for c.lost = c.lost || c.a.condition == Deaf; c.lost; {
		if err := c.wait(ctx); err != nil {
			return none, err
		}
	}
	return out, err
}

// wait waits for a change: n.mu is held before and after it.
func (c *Conn) wait(ctx context.Context) error {
	changed := c.n.changed
	c.n.mu.Unlock()
	defer c.n.mu.Lock()
	select {
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.ended {
		return ErrNoAnswer
	}
	return nil
}

// do does a request; n.mu is held.
func (c *Conn) do(q Request) (Receipt, error) {
	r := c.n.rooms[q.Room]
	if r == nil {
		return Receipt{}, refuse(NoRoom)
	}
	if done, ok := r.seen[q.ID]; ok {
		return done, nil
	}
	if q.User != c.a.name && !strings.HasPrefix(q.User, c.a.name+"/") {
		return Receipt{}, refuse(Forbidden)
	}
	if q.Kind == Text || q.Kind == Edit {
		if err := validText(q.Text); err != nil {
			return Receipt{}, err
		}
	}
	if err := c.admit(r, q); err != nil {
		return Receipt{}, err
	}
	if q.Kind == Join && slices.Contains(r.members, q.User) {
		return Receipt{}, nil
	}
	ev, err := c.n.apply(Event{Room: q.Room, ID: q.ID, Kind: q.Kind, User: q.User, Text: q.Text, Markup: q.Markup, To: q.To,
		Emoji: q.Emoji, Undoes: q.Undoes, Whom: q.Whom, Tag: q.Tag})
	if err != nil {
		return Receipt{}, err
	}
	done := Receipt{ev.ID, ev.At}
	if q.ID != "" {
		r.seen[q.ID] = done
	}
	return done, nil
}

// admit gives one of the account's users the name of the request and lets them into the room; n.mu is held.
func (c *Conn) admit(r *room, q Request) error {
	if q.User == c.a.name || q.Kind == Leave {
		return nil
	}
	if err := c.named(q.User, q.Name); err != nil {
		return err
	}
	if slices.Contains(r.members, q.User) || q.Kind == Join {
		return nil
	}
	_, err := c.n.apply(Event{Room: r.id, Kind: Join, User: q.User})
	return err
}

func (c *Conn) named(user, name string) error {
	if err := validName(name); err != nil {
		return err
	}
	c.n.rename(user, name)
	return nil
}

// Rename gives one of the account's own users a display name.
func (c *Conn) Rename(ctx context.Context, user, name string) error {
	_, err := exchange(ctx, c, func() (struct{}, error) { return struct{}{}, c.named(user, name) })
	return err
}

// Find returns the receipts of those requests that the network has done.
func (c *Conn) Find(ctx context.Context, roomID string, ids []string) (map[string]Receipt, error) {
	return exchange(ctx, c, func() (map[string]Receipt, error) {
		r := c.n.rooms[roomID]
		if r == nil {
			return nil, refuse(NoRoom)
		}
		found := map[string]Receipt{}
		for _, id := range ids {
			if done, ok := r.seen[id]; ok {
				found[id] = done
			}
		}
		return found, nil
	})
}

// Follow lets the account into a room, and reports what happens there from now on, beginning with its title and members.
func (c *Conn) Follow(ctx context.Context, roomID string) error {
	_, err := exchange(ctx, c, func() (struct{}, error) {
		r := c.n.rooms[roomID]
		if r == nil {
			return struct{}{}, refuse(NoRoom)
		}
		if !slices.Contains(r.members, c.a.name) {
			if _, err := c.n.apply(Event{Room: roomID, Kind: Join, User: c.a.name}); err != nil {
				return struct{}{}, err
			}
		}
		if _, ok := c.a.since[roomID]; !ok {
			c.a.since[roomID] = len(c.n.log)
		}
		c.n.record(Event{Room: roomID, Kind: Retitle, Text: r.title, only: c.a.name})
		for _, user := range r.members {
			c.n.record(Event{Room: roomID, Kind: Join, User: user, only: c.a.name})
		}
		return struct{}{}, nil
	})
	return err
}

// Unfollow ends that: the account and its users leave the room.
func (c *Conn) Unfollow(ctx context.Context, roomID string) error {
	_, err := exchange(ctx, c, func() (struct{}, error) {
		r := c.n.rooms[roomID]
		if r == nil {
			return struct{}{}, refuse(NoRoom)
		}
		delete(c.a.since, roomID)
		for _, user := range slices.Clone(r.members) {
			if user == c.a.name || strings.HasPrefix(user, c.a.name+"/") {
				r.leave(user)
				c.n.record(Event{Room: roomID, Kind: Leave, User: user})
			}
		}
		return struct{}{}, nil
	})
	return err
}

// Listing is a room in a list.
type Listing struct {
	ID, Title string
	Members   int
	Joined    bool
}

// List returns all rooms.
func (c *Conn) List(ctx context.Context) ([]Listing, error) {
	return exchange(ctx, c, func() ([]Listing, error) {
		var out []Listing
		for _, id := range c.n.roomIDs() {
			r := c.n.rooms[id]
			out = append(out, Listing{id, r.title, len(r.members), slices.Contains(r.members, c.a.name)})
		}
		return out, nil
	})
}
