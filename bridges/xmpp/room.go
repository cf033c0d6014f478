package xmpp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// room is a MUC (XEP-0045) that is open. What we know of it is changed by the reading of stanzas only, under mu.
type room struct {
	a    *Adapter
	jid  string
	conv adapter.Conversation
	lane *lane
	// acting is held by whoever makes one of our names join, leave or change its nick.
	acting chan struct{}

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
	stored   position // as it is in State
	reported *recent  // stanza-ids reported on this connection
	stanzas  *recent  // "<who> <id they gave>" → stanza-id
	echoes   *recent  // ids of our own messages that came back → native id
	strays   *recent  // JIDs of ours that were told to leave
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

func newRoom(a *Adapter, jid string) *room {
	r := &room{
		a: a, jid: jid, conv: adapter.Conversation(jid), acting: make(chan struct{}, 1),
		joined: make(chan struct{}), ours: map[uri.User]*occupant{}, people: map[string]*person{}, archive: map[string]*page{},
		reported: newRecent(2000), stanzas: newRecent(1000), echoes: newRecent(1000), strays: newRecent(100),
	}
	r.me = &occupant{name: a.cfg.Nick}
	r.lane = a.lane(r.conv)
	r.lane.idle = r.savePosition
	return r
}

// act waits for its turn to change who of us is in the room.
func (r *room) act(ctx context.Context) (done func(), err error) {
	select {
	case r.acting <- struct{}{}:
		return func() { <-r.acting }, nil
	case <-ctx.Done():
		return nil, adapter.NotDelivered(ctx.Err())
	}
}

// push reports something of the room, in order.
func (r *room) push(l *link, ev adapter.Event) {
	ev.Conversation = r.conv
	r.lane.push(l, func(ctx context.Context, l *link) error { return l.receive(ctx, ev) })
}

// join brings the gateway's own name into the room, having looked whether there is one.
func (r *room) join(ctx context.Context, l *link) error {
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
	r.me.jid = l.s.me
	r.mu.Unlock()
	if err := r.enter(ctx, l, r.me, nicks(r.a.cfg.Nick, r.a.account.Provider.Domain())); err != nil {
		return r.refusal(err)
	}
	return nil
}

// discover learns what the room can do (XEP-0045 §6.4).
func (r *room) discover(ctx context.Context, l *link) error {
	answer, err := l.s.ask(ctx, l.s.me, r.jid, "get", el(nsDiscoInfo, "query"))
	if err != nil {
		return err
	}
	query := answer.child(nsDiscoInfo, "query")
	muc := false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mam, r.stamps = false, false
	for _, f := range query.children("", "feature") {
		switch f.attr("var") {
		case nsMUC:
			muc = true
		case nsMAM:
			r.mam = true
		case nsStanzaID:
			r.stamps = true
		}
	}
	for _, identity := range query.children("", "identity") {
		if identity.attr("category") == "conference" {
			muc = true
			r.name = identity.attr("name")
		}
	}
	r.stamps = r.stamps && r.mam
	if !muc {
		return fmt.Errorf("%w: it is no room", adapter.ErrNotFound)
	}
	return nil
}

// joinWithin is how long a room may take to let one of us in.
const joinWithin = 30 * time.Second

// enter makes one of our names join under the first of the nicks that the room takes, or change its nick to it. r.acting is held.
func (r *room) enter(ctx context.Context, l *link, o *occupant, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	var last error
	for _, nick := range names {
		err := r.tryNick(ctx, l, o, nick)
		if err == nil || !isCond(err, "conflict", "jid-malformed", "not-acceptable") {
			return err
		}
		last = err
	}
	return last
}

func (r *room) tryNick(ctx context.Context, l *link, o *occupant, nick string) error {
	answer := make(chan error, 1)
	r.mu.Lock()
	before := o.nick
	o.answer = answer
	if !o.in {
		o.nick = nick
	}
	r.mu.Unlock()
	err := l.s.send(ctx, el("", "presence", el(nsMUC, "x", el("", "history").with("maxstanzas", "0"))).
		with("from", o.jid).with("to", r.jid+"/"+nick).with("id", "join"))
	if err == nil {
		select {
		case err = <-answer:
		case <-l.s.ended:
			err = errStreamEnded
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.answer = nil
	if err != nil && !o.in {
		o.nick = before
	}
	return err
}

// leave takes one of our names out of the room.
func (r *room) leave(ctx context.Context, l *link, o *occupant) error {
	r.mu.Lock()
	gone := o.leaving(r.jid)
	delete(r.ours, o.user)
	r.mu.Unlock()
	return l.s.send(ctx, gone)
}

// leaving is the presence that takes an occupant out of a room; it is out from now on.
func (o *occupant) leaving(room string) *node {
	o.in = false
	return el("", "presence").with("type", "unavailable").with("from", o.jid).with("to", room+"/"+o.nick)
}

// ready waits until the gateway's own name is in the room.
func (r *room) ready(ctx context.Context, l *link) error {
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
	case <-l.s.ended:
		return adapter.NotDelivered(errStreamEnded)
	case <-ctx.Done():
		return adapter.NotDelivered(fmt.Errorf("not in room %s: %w", r.jid, ctx.Err()))
	}
}

// rejoin brings us back after a new connection, or after the room was gone for a while.
func (r *room) rejoin(l *link) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		r.mu.Lock()
		removed := r.removed
		r.mu.Unlock()
		if removed {
			return
		}
		err := r.join(l.ctx, l)
		if err == nil || l.ctx.Err() != nil {
			return
		}
		r.a.report(l, r.jid, problem{fmt.Sprintf("account %s: %v", r.a.account.ID, err), advice(err)})
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return
		}
	}
}

// errNoVoice: in a moderated room only those with voice may speak.
var errNoVoice = errors.New("we are visitors there and may not speak")

// refusal says what a room's refusal means.
func (r *room) refusal(err error) error {
	text := ""
	switch {
	case isCond(err, "item-not-found"):
		return adapter.Gone(fmt.Errorf("%w: room %s: there is no such room", adapter.ErrNotFound, r.jid))
	case errors.Is(err, adapter.ErrNotFound):
		return adapter.Gone(fmt.Errorf("room %s: %w", r.jid, err))
	case isCond(err, "gone"):
		text = "the room was destroyed"
	case isCond(err, "registration-required"):
		text = "the room is for its members only"
	case isCond(err, "forbidden"):
		text = "we are banned from the room"
	case isCond(err, "not-authorized"):
		text = "the room asks for a password, which is not supported"
	case isCond(err, "conflict", "jid-malformed", "not-acceptable"):
		text = "the room takes none of our nicks"
	case isCond(err, "not-allowed"):
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
	case isCond(err, "registration-required"):
		return "make the gateway's address a member of the room"
	case isCond(err, "forbidden"):
		return "lift the ban of the gateway's address in the room"
	case isCond(err, "not-authorized"):
		return "make the room members-only in place of the password"
	case isCond(err, "conflict", "jid-malformed", "not-acceptable"):
		return "choose another nick in the account's configuration"
	case errors.Is(err, errNoVoice):
		return "give the gateway's address voice in the room (make it a member)"
	}
	return ""
}

// lost forgets the connection, and returns how we leave while it still lasts. The occupants are remembered: a server may keep
// them, and those who speak again come back under the nick that they had.
func (r *room) lost(me string) []*node {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*node
	for _, o := range r.ours {
		if o.in {
			out = append(out, o.leaving(r.jid))
		}
	}
	if r.me.in {
		out = append(out, r.me.leaving(r.jid))
		r.joined = make(chan struct{})
	}
	r.settled, r.pinging = false, false
	r.people, r.archive, r.reported = map[string]*person{}, map[string]*page{}, newRecent(r.reported.size)
	return out
}

// tend pings ourselves in a silent room (XEP-0410), and takes out those who have long been silent.
func (r *room) tend(l *link, now time.Time) {
	r.mu.Lock()
	var idle []*node
	for u, o := range r.ours {
		if o.answer == nil && now.Sub(o.spoke) > r.a.cfg.OccupantIdle {
			idle = append(idle, o.leaving(r.jid))
			delete(r.ours, u)
		}
	}
	ping := r.me.in && !r.pinging && now.Sub(r.touched) > pingAfter
	r.pinging = r.pinging || ping
	self := r.jid + "/" + r.me.nick
	r.mu.Unlock()
	for _, n := range idle {
		l.s.post(n)
	}
	if ping {
		l.start(func() { r.selfPing(l, self) })
	}
}

func (r *room) selfPing(l *link, self string) {
	ctx, cancel := context.WithTimeout(l.ctx, pingAfter)
	defer cancel()
	_, err := l.s.ask(ctx, l.s.me, self, "get", el(nsPing, "ping"))
	r.mu.Lock()
	r.pinging = false
	if !isCond(err, "not-acceptable") { // every other error comes from ourselves, or says nothing of the room (XEP-0410 §3.2)
		if err == nil || isCond(err, "service-unavailable", "feature-not-implemented", "item-not-found") {
			r.touched = time.Now()
		}
		r.mu.Unlock()
		if err != nil && !isCond(err, "service-unavailable", "feature-not-implemented", "item-not-found") && l.ctx.Err() == nil {
			r.a.report(l, r.jid, problem{fmt.Sprintf("account %s: room %s does not answer: %v", r.a.account.ID, r.jid, err), ""})
		}
		return
	}
	r.out()
	r.mu.Unlock()
	r.a.report(l, r.jid, problem{fmt.Sprintf("account %s: room %s has lost us", r.a.account.ID, r.jid), ""})
	r.rejoin(l)
}

// out notes that none of us is in the room any more; r.mu is held.
func (r *room) out() {
	if r.me.in {
		r.joined = make(chan struct{})
	}
	r.me.in, r.settled = false, false
	for _, o := range r.ours {
		o.in = false
	}
	r.people = map[string]*person{}
}

// stray reports whether a JID of ours gets copies of the room's messages though it is no occupant that we know of, and was not
// yet told to leave.
func (r *room) stray(to string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.ours {
		if o.jid == to {
			return false
		}
	}
	if _, told := r.strays.get(to); told || !r.me.in {
		return false
	}
	r.strays.put(to, "")
	return true
}

// occupantOf returns whom of ours a full JID belongs to, or nil; r.mu is held.
func (r *room) occupantOf(j string) *occupant {
	if r.me.jid == j {
		return r.me
	}
	for _, o := range r.ours {
		if o.jid == j {
			return o
		}
	}
	return nil
}

// byNick returns whom of ours a nick belongs to, or nil; r.mu is held.
func (r *room) byNick(nick string) *occupant {
	if r.me.nick == nick {
		return r.me
	}
	for _, o := range r.ours {
		if o.nick == nick {
			return o
		}
	}
	return nil
}

// person is how the gateway knows somebody in the room.
func (p *person) person(room string) adapter.Person {
	out := adapter.Person{Name: p.nick, User: p.user, Verified: p.jid != "" || p.occupant != ""}
	if p.jid != "" {
		out.IDs = append(out.IDs, adapter.PersonID(p.jid))
	}
	if p.occupant != "" {
		out.IDs = append(out.IDs, occupantPerson(room, p.occupant))
	}
	if len(out.IDs) == 0 {
		out.IDs = []adapter.PersonID{nickPerson(room, p.since, p.nick)}
	}
	return out
}

// key tells a person from others of the room, as far as the room tells.
func (p *person) key() string {
	switch {
	case p.occupant != "":
		return "o:" + p.occupant
	case p.jid != "":
		return "j:" + p.jid
	}
	return "n:" + p.since + p.nick
}

// member reports whether the room lists the person, be they there or not.
func (p *person) member() bool {
	return p.affiliation == "member" || p.affiliation == "admin" || p.affiliation == "owner"
}

func nowString() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

// stateKey is a key of State for a room.
func (r *room) stateKey(what string) string {
	key := what + "/" + r.jid
	if len(key) > 200 {
		h := sha256.Sum256([]byte(r.jid))
		key = what + "/sha256:" + hex.EncodeToString(h[:])
	}
	return key
}

// codes returns the status codes of XEP-0045 §15.6 in a stanza.
func codes(x *node) map[string]bool {
	out := map[string]bool{}
	for _, s := range x.children("", "status") {
		out[s.attr("code")] = true
	}
	return out
}

func quoteReason(reason string) string {
	if reason = strings.TrimSpace(reason); reason == "" {
		return ""
	}
	return fmt.Sprintf(": %.200s", reason)
}
