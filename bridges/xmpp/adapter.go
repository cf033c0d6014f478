// Package xmpp bridges XMPP: as an external component of a server (XEP-0114), where each of our people is an address and an
// occupant of their own, or as an ordinary account, where the author's name stands in the text.
//
// One stream carries everything. Whole stanzas are decoded into nodes (xml.go), in one place; they change what we know of rooms
// at once, and what is to be reported goes into the conversation's lane (link.go), which reports one thing after the other.
package xmpp

import (
	"context"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
	streamerr "mellium.im/xmpp/stream"

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
	account   adapter.Account
	cfg       *Config
	addr      jid.JID
	roots     *x509.CertPool // nil: the system's
	component bool
	domain    string // of the component, or of the client's server
	self      string // bare JID of the gateway itself

	mu    sync.Mutex
	link  *link         // nil while there is no connection
	up    chan struct{} // closed once link is set
	rooms map[string]*room
	lanes map[adapter.Conversation]*lane
	// problems are what does not work now, by what it concerns.
	problems map[string]problem
	chats    map[adapter.Conversation]bool // that were reported to be direct
	waits    map[string]chan outcome       // for what becomes of a message: "<conversation> <id>"
	got      *recent                       // ids of our messages that somebody's receipt confirmed (XEP-0184)
}

type problem struct{ reason, do string }

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
	a := &Adapter{
		account: account, cfg: cfg, addr: addr, roots: roots, component: cfg.Mode == modeComponent,
		domain: addr.Domainpart(), self: addr.Bare().String(),
		up: make(chan struct{}), rooms: map[string]*room{}, lanes: map[adapter.Conversation]*lane{},
		problems: map[string]problem{}, chats: map[adapter.Conversation]bool{}, waits: map[string]chan outcome{},
		got: newRecent(2000),
	}
	if a.component {
		a.self = gatewayLocal + "@" + a.domain
	}
	return a, nil
}

// Limits implements adapter.Adapter. Rooms and chats differ only in who is shown under their own name.
func (a *Adapter) Limits(c adapter.Conversation) content.Limits {
	support := map[content.Kind]content.Support{
		content.KindText: content.Native, content.KindFormatted: content.Reduced, content.KindMention: content.Reduced,
		content.KindReply: content.Native, content.KindEdit: content.Native, content.KindDelete: content.Native,
		content.KindReaction: content.Native,
	}
	authors := content.Native
	switch {
	case !a.component: // one name for all: reactions of several people would overwrite each other
		authors = content.Line
		support[content.KindReaction] = content.Line
	case !strings.Contains(string(c), " "):
		authors = content.Reduced
	}
	return content.Limits{Support: support, Authors: authors, Formatting: content.Styled, TextBytes: maxText}
}

const (
	// maxText is the longest text of one message. Servers take stanzas of 256 or 512 KiB, clients choke on less.
	maxText = 20_000

	tick      = 5 * time.Second
	pingAfter = 45 * time.Second // of silence: XEP-0199, and in rooms XEP-0410
)

// Run implements adapter.Adapter.
func (a *Adapter) Run(ctx context.Context, sink adapter.Sink) error {
	a.tell(ctx, sink, adapter.Status{State: adapter.Connecting})
	s, err := a.dial(ctx)
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
	what := fmt.Sprintf("XMPP account %s (%s)", a.account.ID, a.addr)
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
	case !a.component && err != nil && (strings.Contains(err.Error(), "not-authorized") || strings.Contains(err.Error(), "credentials")):
		return rejected("the server refuses the password", "correct the password of the account in the configuration")
	case !a.component && err != nil && strings.Contains(err.Error(), "no matching SASL mechanisms"):
		return rejected("the server offers no way to log in that we may use", "use an address with TLS; without it only SCRAM is used")
	}
	err = fmt.Errorf("%s: %w", what, err)
	return adapter.Status{State: adapter.Connecting, Reason: err.Error()}, err
}

// runLink runs until the connection or ctx ends; then nothing of it runs any more.
func (a *Adapter) runLink(ctx context.Context, s *stream, sink adapter.Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &link{a: a, s: s, sink: sink, ctx: ctx}
	var serving sync.WaitGroup
	serving.Go(func() {
		err := s.serve(func(n *node) *node { return a.handle(l, n) }, func(start *xml.StartElement) bool { return a.skip(l, start) })
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
	s.close()
	serving.Wait()
	l.wait()
	return context.Cause(ctx)
}

// begin makes a new connection known, and takes up what was open.
func (a *Adapter) begin(l *link) {
	if !a.component {
		l.s.post(el("", "presence").with("id", "online"))
	}
	a.mu.Lock()
	a.link = l
	close(a.up)
	clear(a.problems)
	rooms := slices.Collect(maps.Values(a.rooms))
	lanes := slices.Collect(maps.Values(a.lanes))
	a.mu.Unlock()
	for _, ln := range lanes {
		ln.resume(l)
	}
	a.report(l, "", problem{})
	for _, r := range rooms {
		l.start(func() { r.rejoin(l) })
	}
}

// end makes the end of a connection known, and leaves the rooms politely if the connection still works.
func (a *Adapter) end(l *link) {
	a.mu.Lock()
	a.link = nil
	a.up = make(chan struct{})
	rooms := slices.Collect(maps.Values(a.rooms))
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, r := range rooms {
		for _, leave := range r.lost(l.s.me) {
			if l.s.send(ctx, leave) != nil {
				break
			}
		}
	}
}

// tend does what time asks for.
func (a *Adapter) tend(l *link, now time.Time) {
	l.s.alive(now)
	a.mu.Lock()
	rooms := slices.Collect(maps.Values(a.rooms))
	for c, ln := range a.lanes {
		if ln.keep && ln.empty() {
			delete(a.lanes, c)
		}
	}
	a.mu.Unlock()
	for _, r := range rooms {
		r.tend(l, now)
	}
}

// online waits for a connection. The error wraps adapter.ErrNotDelivered.
func (a *Adapter) online(ctx context.Context) (*link, error) {
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

// lane returns the lane of a conversation.
func (a *Adapter) lane(c adapter.Conversation) *lane {
	a.mu.Lock()
	defer a.mu.Unlock()
	ln := a.lanes[c]
	if ln == nil {
		ln = &lane{keep: strings.Contains(string(c), " ")}
		a.lanes[c] = ln
	}
	return ln
}

// report notes a problem of a room, or that it is over, and tells the state of the account.
func (a *Adapter) report(l *link, about string, p problem) {
	a.mu.Lock()
	before, had := a.problems[about]
	if about != "" && (p == before && had || p == problem{} && !had) {
		a.mu.Unlock()
		return
	}
	if (p == problem{}) {
		delete(a.problems, about)
	} else {
		a.problems[about] = p
	}
	status := adapter.Status{State: adapter.Connected}
	for _, room := range slices.Sorted(maps.Keys(a.problems)) {
		status.State = adapter.Degraded
		p := a.problems[room]
		status.Reason = join("; ", status.Reason, p.reason)
		status.Do = join("; ", status.Do, p.do)
	}
	a.mu.Unlock()
	a.lane("").push(l, func(ctx context.Context, l *link) error {
		_ = l.sink.Receive(ctx, adapter.Event{Body: status})
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
func (a *Adapter) skip(l *link, start *xml.StartElement) bool {
	if start.Name.Local != "message" || !a.component {
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
	if kind != "groupchat" || to == l.s.me {
		return false
	}
	a.mu.Lock()
	r := a.rooms[bare(from)]
	a.mu.Unlock()
	if r != nil && r.stray(to) { // left there by an earlier run of this program
		l.s.post(el("", "presence").with("type", "unavailable").with("from", to).with("to", from))
	}
	return true
}

// handle takes a stanza and returns its answer, if it has one. It must not wait: everything else waits for it.
func (a *Adapter) handle(l *link, n *node) *node {
	if n.attr("from") == "" { // our own account (RFC 6120 §8.1.2.1)
		n.set("from", a.self)
	}
	a.mu.Lock()
	r := a.rooms[bare(n.attr("from"))]
	a.mu.Unlock()
	switch n.name.Local {
	case "iq":
		return a.serveIQ(l, n)
	case "presence":
		if r != nil {
			r.presence(l, n)
			return nil
		}
		return a.subscription(n)
	case "message":
		if r != nil {
			return r.message(l, n)
		}
		return a.message(l, n)
	}
	return nil
}
