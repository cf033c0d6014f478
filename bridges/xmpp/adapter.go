// Package xmpp bridges XMPP: as an external component of a server (XEP-0114), where each of our people is an address and an
// occupant of their own, or as an ordinary account, where the author's name stands in the text.
//
// One stream carries everything. Whole stanzas are decoded into nodes in one place (wire.Stream.Serve); they change what we know of
// rooms at once, and what is to be reported goes into the conversation's lane, which reports one thing after the other.
//
//	wire  elements, stanzas, the stream       link  the time of one connection; lanes
//	talk  stanzas ⇄ content, ids, text        muc   rooms: people, our occupants, the archive
package xmpp

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	streamerr "mellium.im/xmpp/stream"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/muc"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

var (
	_ adapter.Adapter       = (*Adapter)(nil)
	_ adapter.Confirmer     = (*Adapter)(nil)
	_ adapter.Members       = (*Adapter)(nil)
	_ adapter.Profiles      = (*Adapter)(nil)
	_ adapter.Receipts      = (*Adapter)(nil)
	_ adapter.Conversations = (*Adapter)(nil)
	_ adapter.Creator       = (*Adapter)(nil)
)

// Driver returns what the table of networks needs.
func Driver() adapter.Driver {
	return adapter.Driver{Name: "xmpp", Config: newConfig, New: newAdapter, Setup: setup}
}

// Adapter is one account: a component, or an ordinary JID.
type Adapter struct {
	talk.Self
	account adapter.Account
	options wire.Options
	rooms   muc.Account // what they share
	waits   link.Waits

	mu    sync.Mutex
	link  *link.Link    // nil while there is no connection
	up    chan struct{} // closed once link is set
	open  map[string]*muc.Room
	lanes map[adapter.Conversation]*link.Lane
	// problems are what does not work now, by what it concerns.
	problems map[string]muc.Problem
	chats    *link.Recent // those that were reported to be chats of two
	got      *link.Recent // ids of our messages that somebody's receipt confirmed (XEP-0184)
}

func newAdapter(account adapter.Account) (adapter.Adapter, error) {
	cfg, ok := account.Config.(*Config)
	if !ok {
		return nil, fmt.Errorf("xmpp: configuration is a %T", account.Config)
	}
	addr, err := cfg.check()
	if err != nil {
		return nil, err
	}
	roots, err := cfg.roots()
	if err != nil {
		return nil, err
	}
	self := talk.Self{Component: cfg.Mode == modeComponent, Domain: addr.Domainpart(), JID: addr.Bare().String(),
		Provider: account.Provider, Secret: cfg.Password.Reveal()}
	if self.Component {
		self.JID = talk.GatewayLocal + "@" + self.Domain
	}
	a := &Adapter{
		Self: self, account: account,
		options: wire.Options{Component: self.Component, Addr: addr, Secret: self.Secret, Address: cfg.Address, Plaintext: cfg.Plaintext,
			Roots: roots, Resource: talk.Resource + "-" + account.ID, Me: self.JID + "/" + talk.Resource},
		up: make(chan struct{}), open: map[string]*muc.Room{}, lanes: map[adapter.Conversation]*link.Lane{},
		problems: map[string]muc.Problem{}, chats: link.NewRecent(10_000), got: link.NewRecent(2000),
	}
	a.rooms = muc.Account{Self: self, ID: account.ID, Nick: cfg.Nick, Occupants: cfg.Occupants, OccupantIdle: cfg.OccupantIdle,
		State: account.State, Log: account.Log, Waits: &a.waits, Report: a.report}
	return a, nil
}

// Limits implements adapter.Adapter. Rooms and chats differ only in who is shown under their own name.
func (a *Adapter) Limits(adapter.Conversation) content.Limits {
	support := map[content.Kind]content.Support{
		content.KindText: content.Native, content.KindFormatted: content.Reduced, content.KindMention: content.Reduced,
		content.KindReply: content.Native, content.KindEdit: content.Native, content.KindDelete: content.Native,
		content.KindReaction: content.Native,
	}
	authors := content.Reduced // in a chat of two, whose chat it is
	if !a.Component {          // one name for all: reactions of several people would overwrite each other
		authors = content.Line
		support[content.KindReaction] = content.Line
	}
	return content.Limits{Support: support, Authors: authors, Formatting: content.Styled, TextBytes: talk.MaxText}
}

// tick is how often what time asks for is looked after.
const tick = 5 * time.Second

// Run implements adapter.Adapter.
func (a *Adapter) Run(ctx context.Context, sink adapter.Sink) error {
	a.tell(ctx, sink, adapter.Status{State: adapter.Connecting})
	s, err := wire.Dial(ctx, a.options)
	if err == nil {
		err = a.runLink(ctx, s, sink)
	}
	if ctx.Err() != nil {
		return nil
	}
	status, err := a.failure(err)
	a.tell(ctx, sink, status)
	return err
}

// tell reports a status outside of a link. It is not recorded, so its failure does not matter.
func (a *Adapter) tell(ctx context.Context, sink adapter.Sink, s adapter.Status) {
	_ = sink.Receive(ctx, adapter.Event{Body: s})
}

// failure says what the end of a connection means.
func (a *Adapter) failure(err error) (adapter.Status, error) {
	what := fmt.Sprintf("XMPP account %s (%s)", a.account.ID, a.options.Addr)
	rejected := func(reason, do string) (adapter.Status, error) {
		return adapter.Status{State: adapter.Rejected, Reason: what + ": " + reason, Do: do}, fmt.Errorf("%w: %s: %w", adapter.ErrAccount, what, err)
	}
	var condition streamerr.Error
	switch {
	case errors.As(err, &condition) && condition.Err == "not-authorized":
		return rejected("the server refuses the secret", "make password the same as component_secret in the server's configuration: mimigate account setup "+a.account.ID)
	case errors.As(err, &condition) && condition.Err == "host-unknown":
		return rejected("the server has no such component", "add the block that `mimigate account setup "+a.account.ID+"` prints, and restart the server")
	case errors.As(err, &condition) && condition.Err == "conflict":
		err = fmt.Errorf("another connection uses this account: %w", err)
	case errors.Is(err, wire.ErrAuth):
		return rejected("the server refuses the password, or offers no way to log in that is safe without TLS", "correct the password of the account in the configuration")
	case a.options.Plaintext && !a.Component && err != nil && strings.Contains(err.Error(), "features advertised out of order"):
		return rejected("the server demands TLS", "remove plaintext from the account's configuration")
	}
	err = fmt.Errorf("%s: %w", what, err)
	return adapter.Status{State: adapter.Connecting, Reason: err.Error()}, err
}

// runLink runs until the connection or ctx ends; then nothing of it runs any more.
func (a *Adapter) runLink(ctx context.Context, s *wire.Stream, sink adapter.Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &link.Link{Stream: s, Sink: sink, Ctx: ctx, Log: a.account.Log}
	var serving sync.WaitGroup
	serving.Go(func() {
		err := s.Serve(func(n *wire.Node) *wire.Node { return a.handle(l, n) }, func(start *xml.StartElement) bool { return a.skip(l, start) })
		cancel(err)
	})
	a.begin(l)
	every := time.NewTicker(tick)
	defer every.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-every.C:
			a.tend(l, now)
		}
	}
	a.end(l)
	s.Close()
	serving.Wait()
	l.Wait()
	return context.Cause(ctx)
}

// begin makes a new connection known, and takes up what was open.
func (a *Adapter) begin(l *link.Link) {
	if !a.Component {
		l.Stream.Post(wire.El("", "presence").With("id", "online"))
	}
	a.mu.Lock()
	a.link = l
	close(a.up)
	clear(a.problems)
	rooms := slices.Collect(maps.Values(a.open))
	lanes := slices.Collect(maps.Values(a.lanes))
	a.mu.Unlock()
	for _, ln := range lanes {
		ln.Resume(l)
	}
	a.report(l, "", muc.Problem{})
	for _, r := range rooms {
		l.Start(func() { r.Rejoin(l) })
	}
}

// end makes the end of a connection known, and leaves the rooms politely if the connection still works.
func (a *Adapter) end(l *link.Link) {
	a.mu.Lock()
	a.link = nil
	a.up = make(chan struct{})
	rooms := slices.Collect(maps.Values(a.open))
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, r := range rooms {
		for _, leave := range r.Lost() {
			if l.Stream.Send(ctx, leave) != nil {
				break
			}
		}
		r.Save(ctx)
	}
}

// tend does what time asks for.
func (a *Adapter) tend(l *link.Link, now time.Time) {
	l.Stream.Alive(now)
	a.mu.Lock()
	rooms := slices.Collect(maps.Values(a.open))
	for c, ln := range a.lanes {
		if a.open[string(c)] == nil && ln.Empty() {
			delete(a.lanes, c)
		}
	}
	a.mu.Unlock()
	for _, r := range rooms {
		r.Tend(l, now)
	}
}

// online waits for a connection. The error wraps adapter.ErrNotDelivered.
func (a *Adapter) online(ctx context.Context) (*link.Link, error) {
	for {
		a.mu.Lock()
		l, up := a.link, a.up
		a.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, adapter.NotDelivered(fmt.Errorf("account %s has no connection: %w", a.account.ID, ctx.Err()))
		}
	}
}

// push puts something into the lane of a conversation; false if too much waits there already.
func (a *Adapter) push(l *link.Link, c adapter.Conversation, item func(ctx context.Context, l *link.Link) error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lane(c).Push(l, item)
}

// lane returns the lane of a conversation; a.mu is held.
func (a *Adapter) lane(c adapter.Conversation) *link.Lane {
	ln := a.lanes[c]
	if ln == nil {
		ln = &link.Lane{Keep: strings.Contains(string(c), " ")}
		a.lanes[c] = ln
	}
	return ln
}

// report notes a problem of a room, or that it is over, and tells the state of the account.
func (a *Adapter) report(l *link.Link, about string, p muc.Problem) {
	a.mu.Lock()
	before, had := a.problems[about]
	if about != "" && (p == before && had || p == muc.Problem{} && !had) {
		a.mu.Unlock()
		return
	}
	if (p == muc.Problem{}) {
		delete(a.problems, about)
	} else {
		a.problems[about] = p
	}
	status := adapter.Status{State: adapter.Connected}
	for _, room := range slices.Sorted(maps.Keys(a.problems)) {
		status.State = adapter.Degraded
		p := a.problems[room]
		status.Reason = join("; ", status.Reason, p.Reason)
		status.Do = join("; ", status.Do, p.Do)
	}
	a.mu.Unlock()
	a.push(l, "", func(ctx context.Context, l *link.Link) error {
		_ = l.Sink.Receive(ctx, adapter.Event{Body: status})
		return nil
	})
}

func join(sep, a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// skip reports whether a stanza need not be looked at: the copies of a room's messages that go to our other occupants.
func (a *Adapter) skip(l *link.Link, start *xml.StartElement) bool {
	if start.Name.Local != "message" || !a.Component {
		return false
	}
	var to, from, kind string
	for _, attr := range start.Attr {
		switch attr.Name.Local {
		case "to":
			to = attr.Value
		case "from":
			from = attr.Value
		case "type":
			kind = attr.Value
		}
	}
	if kind != "groupchat" || to == l.Stream.Me {
		return false
	}
	a.mu.Lock()
	r := a.open[wire.Bare(from)]
	a.mu.Unlock()
	if r != nil && r.Stray(to) { // left there by an earlier run of this program
		l.Stream.Post(wire.El("", "presence").With("type", "unavailable").With("from", to).With("to", from))
	}
	return true
}

// handle (design §4 step 1) takes a stanza and returns its answer, if it has one. It must not wait: everything else waits for it.
func (a *Adapter) handle(l *link.Link, n *wire.Node) *wire.Node {
	if n.Attr("from") == "" { // our own account (RFC 6120 §8.1.2.1)
		n.Set("from", a.JID)
	}
	a.mu.Lock()
	r := a.open[wire.Bare(n.Attr("from"))]
	a.mu.Unlock()
	switch n.Name.Local {
	case "iq":
		return a.serveIQ(l, n)
	case "presence":
		if r != nil {
			r.Presence(l, n)
			return nil
		}
		return a.subscription(n)
	case "message":
		if r != nil {
			return r.Message(l, n)
		}
		return a.message(l, n)
	}
	return nil
}
