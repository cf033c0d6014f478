package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router"
	"mimigate/core/uri"
)

// killer ends the process, as far as the store can tell, at the nth step: before its commit or after it. From then on nothing is
// stored and nothing is read.
type killer struct {
	router.Store
	mu    sync.Mutex
	steps int  // until the end
	after bool // the last step is committed, but whoever waits for it never hears of that
	dead  bool
}

type inUnit struct{}

// step runs one unit, or the death in it.
func (k *killer) step(ctx context.Context, f func(context.Context) error) error {
	if ctx.Value(inUnit{}) != nil {
		return f(ctx)
	}
	k.mu.Lock()
	if k.dead {
		k.mu.Unlock()
		return errDead
	}
	k.steps--
	last := k.steps == 0
	k.dead = last
	k.mu.Unlock()
	ctx = context.WithValue(ctx, inUnit{}, true)
	if !last {
		return f(ctx)
	}
	if k.after {
		_ = f(ctx)
		return errDead
	}
	return k.Store.Do(ctx, func(ctx context.Context) error {
		_ = f(ctx)
		return errDead
	})
}

func (k *killer) Do(ctx context.Context, f func(context.Context) error) error {
	return k.step(ctx, func(ctx context.Context) error { return k.Store.Do(ctx, f) })
}

func (k *killer) PutDelivery(ctx context.Context, d router.Delivery) error {
	return k.step(ctx, func(ctx context.Context) error { return k.Store.PutDelivery(ctx, d) })
}

func (k *killer) NextDelivery(ctx context.Context, p router.Place) (router.Delivery, bool, error) {
	k.mu.Lock()
	dead := k.dead
	k.mu.Unlock()
	if dead {
		return router.Delivery{}, false, errDead
	}
	return k.Store.NextDelivery(ctx, p)
}

func (k *killer) isDead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// Killed in or after each unit of T1, T4, T5 and T6, the gateway loses nothing and repeats nothing.
func TestKilledAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		deaths := 0
		for step := 1; ; step++ {
			died := false
			t.Run(fmt.Sprintf("after=%v step=%d", after, step), func(t *testing.T) { died = killedAt(t, step, after) })
			if t.Failed() {
				return
			}
			if !died {
				break
			}
			deaths++
		}
		if deaths < 12 {
			t.Errorf("only %d deaths: what is it that was tested?", deaths)
		}
	}
}

func killedAt(t *testing.T, step int, after bool) bool {
	w := pair(t)
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	w.say(ann, "zero")
	zero := w.arrives("blue", "kitchen", "zero")
	w.quiet()
	w.stop()

	k := &killer{steps: step, after: after}
	w.wrap = func(s router.Store) router.Store { k.Store = s; return k }
	first := w.say(ann, "one")
	w.start()
	bob := w.person("blue", "kitchen", "bob")
	do := must(t)
	do(bob.Reply(zero.ID, "two"))
	do(ann.Edit(first, "one, edited"))
	w.until("the end of one kind or the other", func() bool {
		return k.isDead() || len(w.find("blue", "kitchen", "one, edited")) == 1 && len(w.find("red", "kitchen", "two")) == 1 && w.settled()
	})
	died := k.isDead()
	w.stop()
	w.wrap = nil
	w.start()
	w.until("everything after the restart", func() bool {
		return len(w.find("blue", "kitchen", "one, edited")) == 1 && len(w.find("red", "kitchen", "two")) == 1 && w.settled()
	})
	w.say(ann, "three")
	w.arrives("blue", "kitchen", "three")
	w.quiet()
	if got := w.texts("blue", "kitchen"); len(got) != 4 {
		t.Errorf("blue: %q", got)
	}
	if got := w.texts("red", "kitchen"); len(got) != 4 {
		t.Errorf("red: %q", got)
	}
	if got := w.find("red", "kitchen", "two"); len(got) != 1 || w.find("red", "kitchen", "zero")[0].ID != got[0].To {
		t.Errorf("the reply hits another message: %+v", got)
	}
	status, err := w.router.Status(t.Context())
	if err != nil || status.Repeated != 0 {
		t.Errorf("%d repeated, %v", status.Repeated, err)
	}
	return died
}

// settled reports whether nothing waits, without failing where the store is dead.
func (w *world) settled() bool {
	status, err := w.router.Status(w.t.Context())
	if err != nil {
		return false
	}
	for _, b := range status.Bindings {
		if b.Waiting > 0 {
			return false
		}
	}
	return w.members.idle()
}

// A request whose answer is lost is looked up before anything is sent again.
func TestUnknownOutcome(t *testing.T) {
	w := pair(t)
	w.options = func(o *router.Options) { o.SendTimeout = 50 * time.Millisecond }
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	link := w.nets["blue"].Link("b")
	link.Set(chat.Deaf)
	w.say(ann, "did it arrive?")
	w.arrives("blue", "kitchen", "did it arrive?") // but nobody tells us
	w.say(ann, "and this?")
	w.until("a second attempt at least to ask", func() bool {
		ev, err := w.router.Status(t.Context())
		return err == nil && ev.Bindings[0].Waiting >= 1
	})
	link.Set(chat.Up)
	w.arrives("blue", "kitchen", "and this?")
	w.quiet()
	if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"did it arrive?", "and this?"}) {
		t.Errorf("got %q", got)
	}
	if s, err := w.router.Status(t.Context()); err != nil || s.Repeated != 0 {
		t.Errorf("%d repeated, %v", s.Repeated, err)
	}
}

// blind hides that the adapter can confirm, and loses the answer to the first Send.
type blind struct {
	adapter.Adapter
	mu   sync.Mutex
	lost int
}

func (b *blind) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	sent, err := b.Adapter.Send(ctx, out)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost++; b.lost == 1 {
		return adapter.Sent{}, errors.New("the answer was lost")
	}
	return sent, err
}

// Where the network cannot say what became of a message, it is sent again, and that is counted.
func TestRepeatIsCounted(t *testing.T) {
	w := pair(t)
	w.accounts["b"].wrap = func(a adapter.Adapter) adapter.Adapter { return &blind{Adapter: a} }
	w.start()
	ann := w.person("red", "kitchen", "ann")
	w.until("open", func() bool {
		s, err := w.router.Status(t.Context())
		return err == nil && s.Bindings[0].Opened() && s.Bindings[1].Opened()
	})
	// Without adapter.Conversations the account is let in by somebody else.
	conn, err := w.nets["blue"].Connect("b", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Follow(t.Context(), "kitchen"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	w.say(ann, "twice?")
	w.arrives("blue", "kitchen", "twice?")
	w.quiet()
	if s, err := w.router.Status(t.Context()); err != nil || s.Repeated != 1 {
		t.Errorf("%d repeated, %v", s.Repeated, err)
	}
}

// A network that does not answer holds up its own conversations only, and gets everything in order when it is back.
func TestFrozen(t *testing.T) {
	w := pair(t)
	w.net("green", "kitchen")
	w.account("g", "green")
	w.rooms = nil
	w.bind("family", router.Rules{}, "r/kitchen", "b/kitchen", "g/kitchen")
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	link := w.nets["blue"].Link("b")
	link.Set(chat.Slow)
	var want []string
	begin := time.Now()
	for i := range 50 {
		want = append(want, fmt.Sprint("m", i))
		w.say(ann, want[i])
	}
	w.arrives("green", "kitchen", "m49")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("green waited %v for blue", took)
	}
	if got := w.texts("blue", "kitchen"); len(got) > 1 {
		t.Errorf("frozen, and yet it got %q", got)
	}
	link.Set(chat.Up)
	w.arrives("blue", "kitchen", "m49")
	w.quiet()
	for _, net := range []string{"green", "blue"} {
		if got := w.texts(net, "kitchen"); !slices.Equal(got, want) {
			t.Errorf("%s got %q", net, got)
		}
	}
}

// A network that asks for patience is given it; one that refuses for good is not asked again, and the sender is told.
func TestBusyAndRefused(t *testing.T) {
	w := pair(t)
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	link := w.nets["blue"].Link("b")
	link.Refuse(&chat.Refusal{Code: chat.Busy, After: 30 * time.Millisecond})
	w.say(ann, "patience")
	w.until("it waits", func() bool {
		s, err := w.router.Status(t.Context())
		return err == nil && s.Bindings[0].Waiting == 1
	})
	if got := w.texts("blue", "kitchen"); len(got) != 0 {
		t.Fatalf("got %q", got)
	}
	link.Refuse(nil)
	w.arrives("blue", "kitchen", "patience")
	w.quiet()
	link.Refuse(&chat.Refusal{Code: chat.Forbidden})
	w.say(ann, "forbidden words")
	w.until("the sender is told", func() bool {
		return slices.ContainsFunc(w.texts("red", "kitchen"), func(s string) bool {
			return strings.Contains(s, "Ann") && strings.Contains(s, "not delivered") && strings.Contains(s, "KITCHEN")
		})
	})
	link.Refuse(nil)
	w.say(ann, "after")
	w.arrives("blue", "kitchen", "after")
	w.quiet()
	if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"patience", "after"}) {
		t.Errorf("got %q", got)
	}
}

// What the hub refuses is told where it was said; what waits too long is given up, and told too.
func TestRefusedByHubAndExpired(t *testing.T) {
	for _, nested := range []bool{false, true} {
		w := pair(t)
		w.nested = nested
		w.members.refuse = func(_ uri.User, m *content.Message) string {
			if single, ok := m.Body.Body.(content.Single); ok && string(single.Content) == "bad" {
				return "the room is closed"
			}
			return ""
		}
		w.rooms[0].Rules.Undelivered = 300 * time.Millisecond
		w.start()
		w.ready()
		ann := w.person("red", "kitchen", "ann")
		w.say(ann, "bad")
		told := func(words ...string) {
			w.until(fmt.Sprint(words), func() bool {
				return slices.ContainsFunc(w.texts("red", "kitchen"), func(s string) bool {
					return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(s, word) })
				})
			})
		}
		told("Ann", "not passed on", "the room is closed")
		w.nets["blue"].Link("b").Refuse(&chat.Refusal{Code: chat.Busy})
		w.say(ann, "too late")
		told("Ann", "not delivered", "in time")
		w.nets["blue"].Link("b").Refuse(nil)
		w.quiet()
		if got := w.texts("blue", "kitchen"); len(got) != 0 {
			t.Errorf("got %q", got)
		}
	}
}

// The network reports events again, as after a crash of its own: nobody sees anything twice.
func TestRepeatedEvents(t *testing.T) {
	w := pair(t)
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	id := w.say(ann, "once")
	w.arrives("blue", "kitchen", "once")
	must(t)(ann.React(id, "👍"))
	w.quiet()
	w.nets["red"].Link("r").Repeat(5)
	w.nets["blue"].Link("b").Repeat(5)
	w.say(ann, "last")
	w.arrives("blue", "kitchen", "last")
	w.quiet()
	if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"once", "last"}) {
		t.Errorf("blue: %q", got)
	}
	if got := w.texts("red", "kitchen"); !slices.Equal(got, []string{"once", "last"}) {
		t.Errorf("red: %q", got)
	}
	if m := w.find("blue", "kitchen", "once")[0]; len(m.Reactions) != 1 {
		t.Errorf("%d reactions", len(m.Reactions))
	}
}

// A room that does not exist is one problem of one binding: what is said meanwhile waits for it.
func TestMissingChat(t *testing.T) {
	w := newWorld(t)
	w.net("red", "kitchen")
	w.net("blue")
	w.net("green", "kitchen")
	w.account("r", "red")
	w.account("b", "blue")
	w.account("g", "green")
	w.bind("family", router.Rules{}, "r/kitchen", "b/kitchen", "g/kitchen")
	w.start()
	ann := w.person("red", "kitchen", "ann")
	w.until("the problem is told", func() bool {
		s, err := w.router.Status(t.Context())
		return err == nil && strings.Contains(s.Bindings[0].Problem, "no such room") && s.Bindings[2].Opened()
	})
	w.say(ann, "early")
	w.arrives("green", "kitchen", "early")
	w.net("blue", "kitchen")
	w.arrives("blue", "kitchen", "early")
	w.quiet()
	if s, err := w.router.Status(t.Context()); err != nil || s.Bindings[0].Problem != "" {
		t.Errorf("still %q, %v", s.Bindings[0].Problem, err)
	}
}
