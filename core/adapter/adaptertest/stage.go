package adaptertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// Domains of the two gateways that the suite plays.
const (
	ourDomain   = "gateway.example"
	otherDomain = "other.example"
)

// stage is one case: a fresh conversation, its people, and the accounts that were started.
type stage struct {
	*testing.T
	net  Network
	name string // of the conversation, as in a binding
}

// session is one running adapter of a stage, run as the gateway does.
type session struct {
	adapter.Adapter
	s       *stage
	account int
	gateway uri.Provider
	conv    adapter.Conversation
	sink    *Recorder
	state   *State

	cancel context.CancelFunc
	ended  chan struct{}
}

// actor is a Human whose failures fail the case.
type actor struct {
	s     *stage
	human Human
	name  string
}

// begin starts account 0 with an empty state and opens the conversation.
func (s *stage) begin() *session {
	s.Helper()
	return s.start(0, ourDomain, &State{})
}

// start runs an account and opens the conversation. It is stopped at the end of the case at the latest.
func (s *stage) start(account int, domain string, state *State) *session {
	s.Helper()
	x := s.create(account, domain, state)
	x.run()
	x.conv = x.open()
	return x
}

// create makes an adapter and does not run it.
func (s *stage) create(account int, domain string, state *State) *session {
	s.Helper()
	gateway, err := uri.NewProvider(domain)
	if err != nil {
		s.Fatal(err)
	}
	id := fmt.Sprintf("account-%d", account)
	log := slog.New(slog.NewTextHandler(s.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("account", id)
	a, err := s.net.Driver.New(adapter.Account{ID: id, Provider: gateway, Language: "en", Config: s.net.Config(s.T, account),
		Dir: s.TempDir(), State: state, Log: log})
	if err != nil {
		s.Fatalf("New: %v", err)
	}
	return &session{Adapter: a, s: s, account: account, gateway: gateway, sink: &Recorder{}, state: state}
}

// run calls Run, again and again with a short pause as the gateway does, until stop.
func (x *session) run() {
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel, x.ended = cancel, make(chan struct{})
	go func() {
		defer close(x.ended)
		for ctx.Err() == nil {
			x.sink.start()
			err := x.Run(ctx, x.sink)
			x.sink.stop()
			switch {
			case ctx.Err() != nil && err != nil:
				x.s.Errorf("Run returned %v when its context ended, want nil", err)
			case ctx.Err() == nil && err == nil:
				x.s.Errorf("Run returned nil though its context had not ended")
			case errors.Is(err, adapter.ErrAccount):
				x.s.Errorf("Run: %v", err)
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	x.s.Cleanup(x.stop)
}

// stop ends Run, waits for it, and reports what broke the contract. It may be repeated.
func (x *session) stop() {
	x.s.Helper()
	x.cancel()
	select {
	case <-x.ended:
	case <-time.After(x.s.net.patience()):
		x.s.Fatalf("Run did not return within %v of the end of its context", x.s.net.patience())
	}
	for _, text := range x.sink.Broken() {
		x.s.Errorf("contract broken: %s", text)
	}
}

// open opens the conversation and returns what the adapter calls it.
func (x *session) open() adapter.Conversation {
	x.s.Helper()
	opener, ok := x.Adapter.(adapter.Conversations)
	if !ok {
		return adapter.Conversation(x.s.name)
	}
	ctx, cancel := x.s.patient()
	defer cancel()
	c, err := opener.Open(ctx, x.s.name)
	if err != nil || c == "" {
		x.s.Fatalf("Open: %q, %v", c, err)
	}
	return c
}

func (s *stage) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.net.patience())
}

func (s *stage) human(name string) *actor {
	s.Helper()
	return &actor{s: s, human: s.net.Human(s.T, s.name, name), name: name}
}

// needs skips the case if the network lacks one of the abilities.
func (s *stage) needs(abilities ...Ability) {
	s.Helper()
	for _, a := range abilities {
		if why, lacks := s.net.Lacks[a]; lacks {
			s.Skipf("lacks %s: %s", a, why)
		}
	}
}

func (s *stage) has(a Ability) bool {
	_, lacks := s.net.Lacks[a]
	return !lacks
}

// supports checks that the adapter's Limits say the same of a kind as Lacks, and skips the case if both say no.
func (x *session) supports(kind content.Kind, a Ability) {
	x.s.Helper()
	level := x.Limits(x.conv).Of(kind)
	can := level == content.Native || level == content.Reduced
	if can != x.s.has(a) {
		x.s.Fatalf("Limits say %v of %v, but the network's test lacks %v: %q", level, kind, !x.s.has(a), x.s.net.Lacks[a])
	}
	x.s.needs(a)
}

func (a *actor) do(act Act) string {
	a.s.Helper()
	id, err := a.try(act)
	if err != nil {
		a.s.Fatalf("%s (%s) could not %s: %v", a.name, "foreign client", act.Do, err)
	}
	return id
}

func (a *actor) try(act Act) (string, error) {
	ctx, cancel := a.s.patient()
	defer cancel()
	return a.human.Act(ctx, act)
}

func (a *actor) say(text string) string { a.s.Helper(); return a.do(Act{Do: Say, Text: text}) }

func (a *actor) view() (View, error) {
	ctx, cancel := a.s.patient()
	defer cancel()
	return a.human.View(ctx)
}

// sees waits until the person's client shows a message that ok accepts, and returns it.
func (a *actor) sees(what string, ok func(Seen) bool) Seen {
	a.s.Helper()
	var found Seen
	WaitFor(a.s.T, a.s.net.patience(), a.name+" sees "+what, func() error {
		v, err := a.view()
		if err != nil {
			return err
		}
		for _, m := range v.Messages {
			if ok(m) {
				found = m
				return nil
			}
		}
		return fmt.Errorf("shown are %s", brief(v.Messages))
	})
	return found
}

// count returns how many messages the person's client shows that ok accepts.
func (a *actor) count(ok func(Seen) bool) int {
	a.s.Helper()
	v, err := a.view()
	if err != nil {
		a.s.Fatalf("view: %v", err)
	}
	n := 0
	for _, m := range v.Messages {
		if ok(m) {
			n++
		}
	}
	return n
}

// once waits until the person sees what ok accepts, lets a later message of ours pass, and fails if there is then more than one.
func (a *actor) once(x *session, what string, ok func(Seen) bool) Seen {
	a.s.Helper()
	seen := a.sees(what, ok)
	a.after(x)
	if n := a.count(ok); n != 1 {
		a.s.Errorf("%s: %d times", what, n)
	}
	return seen
}

// after sends one more message and waits until the person sees it: what was sent before has arrived by then, if it ever does.
func (a *actor) after(x *session) {
	a.s.Helper()
	end := "that was all " + rand.Text()
	x.deliver(x.say(alice, end))
	a.sees("the last message", func(m Seen) bool { return strings.Contains(m.Text, end) })
}

// barrier has a person say one more thing and waits for the event: what happened before has been reported by then.
func (x *session) barrier(a *actor) {
	x.s.Helper()
	end := "that was all " + rand.Text()
	a.say(end)
	x.hears("the last message", text(end))
}

// hears waits for an event of the conversation that ok accepts.
func (x *session) hears(what string, ok func(adapter.Event) bool) adapter.Event {
	x.s.Helper()
	ctx, cancel := x.s.patient()
	defer cancel()
	ev, err := x.sink.Wait(ctx, func(ev adapter.Event) bool { return ev.Conversation == x.conv && ok(ev) })
	if err != nil {
		x.s.Fatalf("no event %q: %v; got %s", what, err, briefEvents(x.sink.Events()))
	}
	return ev
}

// heard returns the events so far that ok accepts.
func (x *session) heard(ok func(adapter.Event) bool) []adapter.Event {
	var out []adapter.Event
	for _, ev := range x.sink.Events() {
		if ev.Conversation == x.conv && ok(ev) {
			out = append(out, ev)
		}
	}
	return out
}

// deliver sends as the gateway does: what certainly failed is sent again, what is unknown is asked for first.
func (x *session) deliver(out adapter.Outbound) adapter.Sent {
	x.s.Helper()
	ctx, cancel := x.s.patient()
	defer cancel()
	for {
		sent, err := x.Send(ctx, out)
		if err != nil && !errors.Is(err, adapter.ErrNotDelivered) {
			sent, err = x.confirm(ctx, out, err)
		}
		if err == nil {
			x.checkSent(out, sent)
			return sent
		}
		if ctx.Err() != nil || errors.Is(err, adapter.ErrRefused) || errors.Is(err, adapter.ErrGone) {
			x.s.Fatalf("Send, attempt %d: %v", out.Attempt, err)
		}
		out.Attempt++
		out.Done = sent.Parts
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// confirm asks what became of an attempt until there is an answer.
func (x *session) confirm(ctx context.Context, out adapter.Outbound, cause error) (adapter.Sent, error) {
	c, ok := x.Adapter.(adapter.Confirmer)
	if !ok {
		return adapter.Sent{}, adapter.Gone(fmt.Errorf("unknown outcome, and no Confirmer: %w", cause))
	}
	for {
		sent, err := c.Confirm(ctx, out)
		if err == nil || errors.Is(err, adapter.ErrNotDelivered) || ctx.Err() != nil {
			return sent, err
		}
		if errors.Is(err, adapter.ErrUnknown) {
			return sent, adapter.NotDelivered(err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (x *session) checkSent(out adapter.Outbound, sent adapter.Sent) {
	x.s.Helper()
	if len(sent.Parts) == 0 {
		x.s.Errorf("Sent without parts")
	}
	seen := map[adapter.NativePart]bool{}
	for _, p := range sent.Parts {
		if p.ID == "" {
			x.s.Errorf("Sent with a part without an id: %+v", p)
		}
		p.ID = ""
		if seen[p] {
			x.s.Errorf("Sent with part %d piece %d twice", p.Part, p.Piece)
		}
		seen[p] = true
	}
	for _, done := range out.Done {
		if !seen[adapter.NativePart{Part: done.Part, Piece: done.Piece}] {
			x.s.Errorf("Sent leaves out part %d, which was done before", done.Part)
		}
	}
}

// People of the room who are not of this network.
var (
	alice = author("alice", "Alice Ångström")
	bob   = author("bob", "Bob")
)

func author(id, name string) adapter.Author {
	p, err := uri.NewProvider("elsewhere.example")
	if err != nil {
		panic(err)
	}
	u, err := p.User(id)
	if err != nil {
		panic(err)
	}
	return adapter.Author{User: u, Name: name}
}

// say is an outbound text of somebody.
func (x *session) say(who adapter.Author, text string) adapter.Outbound {
	return x.outbound(who, content.Text(text))
}

func (x *session) outbound(who adapter.Author, m *content.Message) adapter.Outbound {
	id := newID()
	return adapter.Outbound{
		Conversation: x.conv,
		Marker:       adapter.Marker{Gateway: x.gateway, Key: rand.Text(), Origin: id},
		Attempt:      1, Author: who, Content: *m, ID: id, Time: time.Now(),
	}
}

func newID() content.MessageID {
	var id content.MessageID
	_, _ = rand.Read(id[:]) // never fails
	id[0] = 1
	return id
}

// ours refers to a message that we sent.
func ours(out adapter.Outbound, sent adapter.Sent) *adapter.Ref {
	return &adapter.Ref{Parts: sent.Parts, Ours: true, Author: out.Author, Excerpt: excerpt(out.Content.Body), Time: out.Time}
}

// theirs refers to a message that a person of the network wrote.
func theirs(ev adapter.Event) *adapter.Ref {
	m := ev.Body.(adapter.Message)
	parts := m.Parts
	if len(parts) == 0 {
		parts = []adapter.NativePart{{ID: ev.ID}}
	}
	who := author("native", "Native")
	who.Name, who.Native = ev.Sender.Name, ev.Sender.IDs
	return &adapter.Ref{Parts: parts, Author: who, Excerpt: excerpt(m.Content.Body), Time: ev.Time}
}
