package member_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mimigate/core/content"
	"mimigate/core/hub"
	"mimigate/core/uri"
)

var errKilled = errors.New("killed")

// fate says at which point a process dies: before or after the commit of a unit of work, or of a part of one. The sides of a test
// share it; whoever comes to the point first is killed.
type fate struct {
	left atomic.Int64
	died atomic.Pointer[side]
}

// point is one place where a process may die.
func (f *fate) point(s *side) {
	if f != nil && f.left.Add(-1) == 0 {
		f.died.Store(s)
		s.dead.Store(true)
	}
}

// raise starts the process again that died.
func (f *fate) raise() {
	if f == nil {
		return
	}
	if s := f.died.Load(); s != nil && s.dead.Load() {
		s.reopen()
	}
}

// Do runs a unit in a process that may be killed: what was not committed then never will be, and nobody hears of what was.
func (s *side) Do(ctx context.Context, fn func(context.Context) error) error {
	if s.dead.Load() {
		return errKilled
	}
	err := s.Store.Do(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		s.fate.point(s)
		if s.dead.Load() {
			return errKilled
		}
		return err
	})
	if err == nil {
		s.fate.point(s)
	}
	if s.dead.Load() {
		return errKilled
	}
	return err
}

// HubEventTold is the only writing that hub, follower and members do outside of a unit of theirs.
func (s *side) HubEventTold(ctx context.Context, r hub.Route, sequence uint64) error {
	return s.Do(ctx, func(ctx context.Context) error { return s.Store.HubEventTold(ctx, r, sequence) })
}

// say is what a network does with an event: it offers it until it is taken, and the gateway knows it again by its id.
func (s *side) say(id uri.Room, from uri.User, text string) {
	s.t.Helper()
	ctx := s.t.Context()
	for {
		err := s.Do(ctx, func(ctx context.Context) error {
			state := s.State("test")
			if seen, err := state.Get(ctx, text); err != nil || seen != nil {
				return err
			}
			if _, err := s.members.Send(ctx, id, from, content.Text(text)); err != nil {
				return err
			}
			return state.Put(ctx, text, []byte{1})
		})
		if err == nil {
			return
		}
		if !errors.Is(err, errKilled) {
			s.t.Fatalf("%s: %v", text, err)
		}
		s.reopen()
	}
}

// want asks for a participant, as often as it takes.
func (s *side) want(id uri.Room, u uri.User, role uint32) {
	s.t.Helper()
	for {
		err := s.members.EnsureParticipant(s.t.Context(), id, u, role)
		if err == nil {
			return
		}
		if !errors.Is(err, errKilled) {
			s.t.Fatal(err)
		}
		s.reopen()
	}
}

// Whenever one of two providers is killed, after it was started again everything that was said arrives on both, once, and in one order.
func TestKilledAnywhere(t *testing.T) {
	t.Run("one", func(t *testing.T) { killEverywhere(t, true) })
	t.Run("two", func(t *testing.T) { killEverywhere(t, false) })
}

func killEverywhere(t *testing.T, alone bool) {
	const together = 12
	step := int64(1)
	if testing.Short() {
		step = 7
	}
	var beyond atomic.Bool // the conversation has no such point
	for point := int64(1); !beyond.Load() && !t.Failed(); {
		t.Run("", func(t *testing.T) {
			for range together {
				at := point
				point += step
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					t.Parallel()
					if !killAt(t, at, alone) {
						beyond.Store(true)
					}
				})
			}
		})
		if beyond.Load() {
			t.Logf("fewer than %d points", point)
		}
	}
}

// killAt lets a conversation happen in which a process dies at the given point, and reports whether that was ever reached.
// Alone, a provider has all of the people, and T1 to T4 are one transaction.
func killAt(t *testing.T, point int64, alone bool) bool {
	f := new(fate)
	a := mortalSide(t, "a.example", f)
	b := a
	if !alone {
		b = mortalSide(t, "b.example", f)
		connect(a, b)
		a.want(a.room("club"), b.user("gateway"), 6)
	} else {
		a.room("club")
	}
	id, err := a.provider.Room("club")
	if err != nil {
		t.Fatal(err)
	}
	alice, bob, carol := a.user("alice"), b.user("bob"), b.user("carol")
	a.want(id, bob, 2)
	a.want(id, alice, 2)
	b.until("bob is in", func() bool { return strings.Contains(b.sink.all(), name(bob)+" 0→2") })

	f.left.Store(point)
	a.say(id, alice, "one")
	b.say(id, bob, "two")
	b.want(id, carol, 2)
	b.say(id, carol, "three")
	a.say(id, alice, "four")

	want := []string{"four", "one", "three", "two"}
	arrived := func(s *side) func() bool {
		return func() bool {
			f.raise()
			return len(s.sink.texts()) >= len(want)
		}
	}
	a.until("everything", arrived(a))
	b.until("everything", arrived(b))
	order := a.sink.texts()
	if !slices.Equal(order, b.sink.texts()) {
		t.Errorf("a has %v, b has %v", order, b.sink.texts())
	}
	if slices.Index(order, "one") > slices.Index(order, "four") || slices.Index(order, "two") > slices.Index(order, "three") {
		t.Errorf("out of order: %v", order)
	}
	sorted := slices.Sorted(slices.Values(order))
	if !slices.Equal(sorted, want) {
		t.Errorf("got %v", order)
	}
	a.until("rest", func() bool { f.raise(); return a.rests() && b.rests() })
	return f.died.Load() != nil
}
