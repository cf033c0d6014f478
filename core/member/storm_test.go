package member_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/member"
	"mimigate/core/uri"
)

var (
	storm     = flag.Duration("storm", 2*time.Second, "how long TestStorm lasts")
	stormSeed = flag.Uint64("stormseed", 0, "of TestStorm's dice; 0: of the time")
)

// dice may be thrown by several goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (d *dice) throw(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// A hub and two followers over a network that drops calls, loses answers, delays and repeats, and whose calls overtake each other;
// people come, go and are removed, and providers are killed at random points. In the end all agree on the epoch, on who is in the room,
// and on what was said in which order; nothing is lost, and nothing there twice.
func TestStorm(t *testing.T) {
	seed := *stormSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-stormseed %d", seed)
	d := &dice{rng: rand.New(rand.NewPCG(seed, 1))}
	f := new(fate)
	sides := []*side{mortalSide(t, "a.example", f), mortalSide(t, "b.example", f), mortalSide(t, "c.example", f)}
	var wires []*remote
	for i, s := range sides {
		for _, o := range sides[i+1:] {
			x, y := connect(s, o)
			wires = append(wires, x, y)
		}
	}
	a := sides[0]
	id := a.room("storm")
	for _, s := range sides {
		if s != a {
			a.want(id, s.user("gateway"), 6)
		}
		a.want(id, s.user("u0"), 2)
	}
	for _, s := range sides {
		s.until("all are in", func() bool { return strings.Count(s.sink.all(), "0→2") == 3 })
	}
	for _, w := range wires {
		w.storm(d)
	}
	var said sync.Map
	var all sync.WaitGroup
	end := time.Now().Add(*storm)
	for _, s := range sides {
		all.Go(func() { s.live(id, d, end, &said) })
	}
	kills := 0
	all.Go(func() { // at most one is down at a time
		for time.Now().Before(end) {
			f.left.Store(int64(20 + d.throw(400)))
			for f.left.Load() > 0 && time.Now().Before(end) {
				<-time.After(5 * time.Millisecond)
			}
			<-time.After(time.Duration(d.throw(60)) * time.Millisecond)
			if s := f.died.Load(); s != nil && s.dead.Load() {
				kills++
			}
			f.raise()
		}
		f.left.Store(0)
		f.raise()
	})
	all.Wait()
	for _, w := range wires {
		w.calm()
	}
	t.Logf("%d killed", kills)
	agree(t, sides, id, &said)
}

// storm makes a wire bad: a call in ten is lost, the answer of another, some are delayed, and copies of some come late, after others.
func (r *remote) storm(d *dice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = func(string) int {
		if d.throw(4) == 0 {
			<-time.After(time.Duration(d.throw(10)) * time.Millisecond)
		}
		if n := d.throw(10); n < 3 {
			return n
		}
		return 0
	}
	r.late = func(call func()) {
		if d.throw(5) != 0 {
			return
		}
		wait := time.Duration(d.throw(100)) * time.Millisecond
		r.copies.Go(func() {
			<-time.After(wait)
			if r.side.up.TryRLock() {
				defer r.side.up.RUnlock()
				call()
			}
		})
	}
}

// calm makes it good again, and waits for what is late.
func (r *remote) calm() {
	r.mu.Lock()
	r.lose, r.late = nil, nil
	r.mu.Unlock()
	r.copies.Wait()
}

// again lets a copy of a call come late.
func (r *remote) again(call func()) {
	r.mu.Lock()
	late := r.late
	r.mu.Unlock()
	if late != nil {
		late(call)
	}
}

// live lets a side's people talk, come and go, until an end.
func (s *side) live(id uri.Room, d *dice, end time.Time, said *sync.Map) {
	n := 0
	for time.Now().Before(end) {
		u := s.user(fmt.Sprint("u", d.throw(4)))
		switch d.throw(8) {
		case 0:
			s.ask(func() error {
				return s.members.RemoveParticipant(s.t.Context(), id, s.user(fmt.Sprint("u", 1+d.throw(3))))
			})
		case 1, 2:
			s.ask(func() error { return s.members.EnsureParticipant(s.t.Context(), id, u, 2) })
		default:
			n++
			text := fmt.Sprintf("%s %d", s.provider.Domain(), n)
			s.ask(func() error {
				err := s.Do(s.t.Context(), func(ctx context.Context) error {
					state := s.State("test")
					if seen, err := state.Get(ctx, text); err != nil || seen != nil {
						return err
					}
					if _, err := s.members.Send(ctx, id, s.user("u0"), content.Text(text)); err != nil {
						return err
					}
					return state.Put(ctx, text, []byte{1})
				})
				if err == nil {
					said.Store(text, true)
				}
				return err
			})
		}
		<-time.After(time.Duration(d.throw(20)) * time.Millisecond)
	}
}

// ask repeats a call while its process is down.
func (s *side) ask(call func() error) {
	for {
		s.up.RLock()
		err := call()
		s.up.RUnlock()
		switch {
		case err == nil, errors.Is(err, member.ErrNotParticipant), errors.Is(err, member.ErrNoRoom):
			return
		case !s.dead.Load() && !errors.Is(err, errKilled):
			s.t.Errorf("%s: %v", s.provider.Domain(), err)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// agree waits until all is quiet, and compares.
func agree(t *testing.T, sides []*side, id uri.Room, said *sync.Map) {
	t.Helper()
	want := 0
	said.Range(func(any, any) bool { want++; return true })
	for _, s := range sides {
		s.until("everything", func() bool { return len(s.sink.texts()) >= want })
	}
	sides[0].until("rest", func() bool {
		return !slices.ContainsFunc(sides, func(s *side) bool { return !s.rests() })
	})
	first := sides[0].sink.texts()
	counts := make(map[string]int)
	for _, text := range first {
		counts[text]++
	}
	said.Range(func(text, _ any) bool {
		if counts[text.(string)] != 1 {
			t.Errorf("%q is there %d times", text, counts[text.(string)])
		}
		return true
	})
	people, err := sides[0].members.Participants(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sides[1:] {
		if got := s.sink.texts(); !slices.Equal(got, first) {
			t.Errorf("%s has another order: %v, want %v", s.provider.Domain(), got, first)
		}
		if got, err := s.members.Participants(t.Context(), id); err != nil || len(got) != len(people) {
			t.Errorf("%s knows %d people, want %d (%v)", s.provider.Domain(), len(got), len(people), err)
		}
	}
	for _, s := range sides {
		if s.sink.told("gap") {
			t.Errorf("%s had a gap", s.provider.Domain())
		}
		// The epoch's own secrets say that all have the same one: each can open what the others say.
		s.send(id, s.user("u0"), "at last "+s.provider.Domain())
	}
	for _, s := range sides {
		s.until("the last words", func() bool { return len(s.sink.texts()) >= want+len(sides) })
	}
	t.Logf("%d messages, epoch %d", want, sides[0].epoch(id))
}
