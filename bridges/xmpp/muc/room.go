package muc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// recentStanzas is how many messages of a room are remembered for what repeats or corrects them.
const recentStanzas = 1000

// Room is a MUC (XEP-0045) that is open. What we know of it is changed by the reading of stanzas only, under mu.
type Room struct {
	a    *Account
	jid  string
	conv adapter.Conversation
	lane *link.Lane
	// acting is held by whoever makes one of our names join, leave or change its nick.
	acting chan struct{}
	saving chan struct{} // held while the position is stored

	mu     sync.Mutex
	name   string
	mam    bool // it keeps an archive
	stamps bool // it gives its messages stanza-ids
	// joined is closed while the gateway's own name is in the room.
	joined  chan struct{}
	settled bool  // what the room says on joining is over
	removed bool  // we were kicked or banned: do not go back by ourselves
	gone    error // why nothing can be sent until somebody acts; nil: it can
	topic   *string
	me      *occupant
	ours    map[uri.User]*occupant
	people  map[string]*person // by nick
	touched time.Time          // when we last heard of being in the room
	pinging bool

	archive  map[string]*page // queries under way, by id
	position position
	stored   position     // as it is in State
	reported *link.Recent // stanza-ids reported on this connection
	stanzas  *link.Recent // "<who> <id they gave>" → stanza-id
	echoes   *link.Recent // ids of our own messages that came back → native id
	strays   *link.Recent // JIDs of ours that were told to leave
}

// occupant is one of our names in a room.
type occupant struct {
	user    uri.User // zero: the gateway itself
	jid     string   // full
	name    string   // as wanted
	nick    string   // as it is, or is being tried
	in      bool
	answer  chan error // while joining or changing the nick
	spoke   time.Time
	refused time.Time // when the room last did not let it in
	role    string
}

// person is somebody else in a room.
type person struct {
	nick        string
	occupant    string // occupant-id (XEP-0421)
	jid         string // bare; where the room shows it
	since       string // when we first saw the nick
	affiliation string
	user        uri.User // zero, unless it is one of our names
	ours        bool
}

// New returns a room that is not joined yet. It reports in that lane.
func New(a *Account, jid string, lane *link.Lane) *Room {
	r := &Room{
		a: a, jid: jid, conv: adapter.Conversation(jid), lane: lane, acting: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		joined: make(chan struct{}), ours: map[uri.User]*occupant{}, people: map[string]*person{}, archive: map[string]*page{},
		reported: link.NewRecent(recentStanzas), stanzas: link.NewRecent(recentStanzas), echoes: link.NewRecent(recentStanzas), strays: link.NewRecent(100),
	}
	r.me = &occupant{name: a.Nick, jid: a.AddressOf(uri.User{})} // Join sets a client's
	return r
}

// act waits for its turn to change who of us is in the room.
func (r *Room) act(ctx context.Context) (done func(), err error) {
	select {
	case r.acting <- struct{}{}:
		return func() { <-r.acting }, nil
	case <-ctx.Done():
		return nil, adapter.NotDelivered(ctx.Err())
	}
}

// push reports something of the room, in order.
func (r *Room) push(l *link.Link, ev adapter.Event) {
	ev.Conversation = r.conv
	r.lane.Push(l, func(ctx context.Context, l *link.Link) error { return l.Receive(ctx, ev) })
}

// Join brings the gateway's own name into the room, having looked whether there is one.
func (r *Room) Join(ctx context.Context, l *link.Link) error {
	done, err := r.act(ctx)
	if err != nil {
		return err
	}
	defer done()
	r.mu.Lock()
	in := r.me.in
	r.mu.Unlock()
	if in {
		return nil
	}
	if err := r.discover(ctx, l); err != nil {
		return r.refusal(err)
	}
	if err := r.loadPosition(ctx); err != nil {
		return adapter.NotDelivered(fmt.Errorf("room %s: %w", r.jid, err))
	}
	r.mu.Lock()
	r.me.jid = l.Stream.Me
	r.mu.Unlock()
	if err := r.enter(ctx, l, r.me, talk.Nicks(r.a.Nick, r.a.Provider.Domain())); err != nil {
		return r.refusal(err)
	}
	return nil
}

// Reopen goes back to a room that had thrown us out, now that somebody wants it.
func (r *Room) Reopen(ctx context.Context, l *link.Link) error {
	r.mu.Lock()
	r.removed = false
	in := r.me.in
	r.mu.Unlock()
	if in {
		return nil
	}
	if err := r.Join(ctx, l); err != nil {
		return err
	}
	return nil
}

// discover learns what the room can do (XEP-0045 §6.4).
func (r *Room) discover(ctx context.Context, l *link.Link) error {
	answer, err := l.Stream.Ask(ctx, l.Stream.Me, r.jid, "get", wire.El(wire.NSDiscoInfo, "query"))
	if err != nil {
		return err
	}
	query := answer.Child(wire.NSDiscoInfo, "query")
	muc := false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mam, r.stamps = false, false
	for _, f := range query.Children("", "feature") {
		switch f.Attr("var") {
		case wire.NSMUC:
			muc = true
		case wire.NSMAM:
			r.mam = true
		case wire.NSStanzaID:
			r.stamps = true
		}
	}
	for _, identity := range query.Children("", "identity") {
		if identity.Attr("category") == "conference" {
			muc = true
			r.name = identity.Attr("name")
		}
	}
	// An archive whose ids the messages themselves do not show is none to us: the same message would have two ids.
	r.mam = r.mam && r.stamps
	r.stamps = r.mam
	if !muc {
		return fmt.Errorf("%w: it is no room", adapter.ErrNotFound)
	}
	return nil
}

// joinWithin is how long a room may take to let one of us in.
const joinWithin = 30 * time.Second

// enter makes one of our names join under the first of the nicks that the room takes, or change its nick to it. r.acting is held.
func (r *Room) enter(ctx context.Context, l *link.Link, o *occupant, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	var last error
	for _, nick := range names {
		err := r.tryNick(ctx, l, o, nick)
		if err == nil || !wire.IsCond(err, "conflict", "jid-malformed", "not-acceptable") {
			return err
		}
		last = err
	}
	return last
}

func (r *Room) tryNick(ctx context.Context, l *link.Link, o *occupant, nick string) error {
	answer := make(chan error, 1)
	r.mu.Lock()
	before := o.nick
	o.answer = answer
	if !o.in {
		o.nick = nick
	}
	r.mu.Unlock()
	err := l.Stream.Send(ctx, wire.El("", "presence", wire.El(wire.NSMUC, "x", wire.El("", "history").With("maxstanzas", "0"))).
		With("from", o.jid).With("to", r.jid+"/"+nick).With("id", "join"))
	if err == nil {
		select {
		case err = <-answer:
		case <-l.Stream.Ended():
			err = wire.ErrEnded
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.answer = nil
	if err != nil && !o.in {
		o.nick = before
		if p := r.people[nick]; p != nil && p.user == o.user && p.ours { // somebody else was faster
			p.user, p.ours = uri.User{}, r.a.Component && wire.Domain(p.jid) == r.a.Domain
		}
	}
	return err
}

// leave takes one of our names out of the room.
func (r *Room) leave(ctx context.Context, l *link.Link, o *occupant) error {
	r.mu.Lock()
	gone := o.leaving(r.jid)
	delete(r.ours, o.user)
	r.mu.Unlock()
	return l.Stream.Send(ctx, gone)
}

// leaving is the presence that takes an occupant out of a room; it is out from now on.
func (o *occupant) leaving(room string) *wire.Node {
	o.in = false
	return wire.El("", "presence").With("type", "unavailable").With("from", o.jid).With("to", room+"/"+o.nick)
}

// Ready waits until the gateway's own name is in the room.
func (r *Room) Ready(ctx context.Context, l *link.Link) error {
	r.mu.Lock()
	joined, gone := r.joined, r.gone
	r.mu.Unlock()
	if gone != nil {
		return adapter.Gone(gone)
	}
	select {
	case <-joined:
		return nil
	default:
	}
	select {
	case <-joined:
		return nil
	case <-l.Stream.Ended():
		return adapter.NotDelivered(wire.ErrEnded)
	case <-ctx.Done():
		return adapter.NotDelivered(fmt.Errorf("not in room %s: %w", r.jid, ctx.Err()))
	}
}

// Rejoin brings us back after a new connection, or after the room was gone for a while.
func (r *Room) Rejoin(l *link.Link) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		r.mu.Lock()
		removed := r.removed
		r.mu.Unlock()
		if removed {
			return
		}
		err := r.Join(l.Ctx, l)
		if err == nil || l.Ctx.Err() != nil {
			return
		}
		r.a.Report(l, r.jid, Problem{fmt.Sprintf("account %s: %v", r.a.ID, err), advice(err)})
		select {
		case <-time.After(pause):
		case <-l.Ctx.Done():
			return
		}
	}
}

// errNoVoice: in a moderated room only those with voice may speak.
var errNoVoice = errors.New("we are visitors there and may not speak")

// refusal says what a room's refusal means.
func (r *Room) refusal(err error) error {
	text := ""
	switch {
	case wire.IsCond(err, "item-not-found"):
		return adapter.Gone(fmt.Errorf("%w: room %s: there is no such room", adapter.ErrNotFound, r.jid))
	case errors.Is(err, adapter.ErrNotFound):
		return adapter.Gone(fmt.Errorf("room %s: %w", r.jid, err))
	case wire.IsCond(err, "gone"):
		text = "the room was destroyed"
	case wire.IsCond(err, "registration-required"):
		text = "the room is for its members only"
	case wire.IsCond(err, "forbidden"):
		text = "we are banned from the room"
	case wire.IsCond(err, "not-authorized"):
		text = "the room asks for a password, which is not supported"
	case wire.IsCond(err, "conflict", "jid-malformed", "not-acceptable"):
		text = "the room takes none of our nicks"
	case wire.IsCond(err, "not-allowed"):
		text = "the server does not let us in"
	default:
		return adapter.NotDelivered(fmt.Errorf("room %s: %w", r.jid, err))
	}
	return adapter.Gone(fmt.Errorf("room %s: %s: %w", r.jid, text, err))
}

// advice says what to do about a refusal.
func advice(err error) string {
	switch {
	case errors.Is(err, adapter.ErrNotFound):
		return "make the room, or correct its name in the binding"
	case wire.IsCond(err, "registration-required"):
		return "make the gateway's address a member of the room"
	case wire.IsCond(err, "forbidden"):
		return "lift the ban of the gateway's address in the room"
	case wire.IsCond(err, "not-authorized"):
		return "make the room members-only in place of the password"
	case wire.IsCond(err, "conflict", "jid-malformed", "not-acceptable"):
		return "choose another nick in the account's configuration"
	case errors.Is(err, errNoVoice):
		return "give the gateway's address voice in the room (make it a member)"
	}
	return ""
}

// Lost forgets the connection, and returns how we leave while it still lasts. The occupants are remembered: a server may keep
// them, and those who speak again come back under the nick that they had.
func (r *Room) Lost() []*wire.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*wire.Node
	for _, o := range r.ours {
		if o.in {
			out = append(out, o.leaving(r.jid))
		}
	}
	if r.me.in {
		out = append(out, r.me.leaving(r.jid))
	}
	r.out()
	r.pinging = false
	r.archive, r.reported = map[string]*page{}, link.NewRecent(recentStanzas)
	return out
}

// out notes that none of us is in the room any more; r.mu is held.
func (r *Room) out() {
	select {
	case <-r.joined:
		r.joined = make(chan struct{})
	default: // as it was
	}
	r.me.in, r.settled = false, false
	for _, o := range r.ours {
		o.in = false
	}
	r.people = map[string]*person{}
}

// stateKey is a key of State for a room.
func (r *Room) stateKey(what string) string {
	key := what + "/" + r.jid
	if len(key) > 200 {
		h := sha256.Sum256([]byte(r.jid))
		key = what + "/sha256:" + hex.EncodeToString(h[:])
	}
	return key
}
