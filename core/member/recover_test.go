package member_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/room"
	"mimigate/core/uri"
)

var every = flag.Int64("every", 23, "at which points of a recovery a provider is killed: 1 for each")

// backup copies a provider's store, and restore puts the copy in the place of what has become of it since.
func (s *side) backup() (restore func(id uri.Room)) {
	s.t.Helper()
	s.up.Lock()
	defer s.up.Unlock()
	s.close()
	dir := s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(s.options.Location))); err != nil {
		s.t.Fatal(err)
	}
	s.open()
	return func(id uri.Room) {
		s.t.Helper()
		s.up.Lock()
		defer s.up.Unlock()
		s.close()
		to := filepath.Dir(s.options.Location)
		if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(dir))); err != nil {
			s.t.Fatal(err)
		}
		s.restored = id
		s.dead.Store(false)
		s.open()
	}
}

// club is a room of a's with three people of each side in it.
func club(t *testing.T, f *fate) (a, b *side, id uri.Room) {
	t.Helper()
	a, b = mortalSide(t, "a.example", f), mortalSide(t, "b.example", f)
	connect(a, b)
	id = a.room("club")
	a.want(id, b.user("gateway"), 6)
	for i := range 3 {
		a.want(id, a.user(fmt.Sprint("a", i)), 2)
		a.want(id, b.user(fmt.Sprint("b", i)), 2)
	}
	b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 6 })
	return a, b, id
}

// talk lets everybody say something, and waits until both sides have heard it, in one order.
func talk(a, b *side, id uri.Room, what string) {
	a.t.Helper()
	atA, atB := len(a.sink.texts()), len(b.sink.texts())
	for i := range 3 {
		a.say(id, a.user(fmt.Sprint("a", i)), fmt.Sprint("a", i, what))
		b.say(id, b.user(fmt.Sprint("b", i)), fmt.Sprint("b", i, what))
	}
	for _, s := range []*side{a, b} {
		s.until(what, func() bool {
			s.fate.raise()
			n := 0
			for _, text := range s.sink.texts() {
				if strings.HasSuffix(text, what) {
					n++
				}
			}
			return n == 6
		})
	}
	if x, y := a.sink.texts()[atA:], b.sink.texts()[atB:]; !slices.Equal(x, y) {
		a.t.Errorf("%s: a has %v, b has %v", what, x, y)
	}
}

// A follower restored from an older copy of its store goes on: its people enter anew, and hear of the gap.
func TestRestoredFollower(t *testing.T) {
	a, b, id := club(t, nil)
	talk(a, b, id, " one")
	restore := b.backup()
	for i := range 5 {
		talk(a, b, id, fmt.Sprint(" two", i))
	}
	a.want(id, a.user("a3"), 2) // an epoch
	b.until("a3", func() bool { return strings.Contains(b.sink.all(), "a3@a.example 0→2") })
	talk(a, b, id, " three")
	restore(id)
	b.until("gap", func() bool { return b.sink.told("gap") })
	if n := strings.Count(b.sink.all(), "a3@a.example 0→2 by -"); n != 1 {
		t.Errorf("what changed meanwhile was told %d times", n)
	}
	talk(a, b, id, " four")
	talk(a, b, id, " five")
	a.until("rest", func() bool { return a.rests() && b.rests() })
	if a.sink.told("gap") {
		t.Error("a heard of a gap")
	}
}

// Whom nobody of ours may bring back enters by themself: an admin beside the gateway participant, and everybody where that is not there.
func TestEnterOneByOne(t *testing.T) {
	for _, gateway := range []bool{true, false} {
		t.Run(fmt.Sprint(gateway), func(t *testing.T) {
			a, b := newSide(t, "a.example"), newSide(t, "b.example")
			connect(a, b)
			id := a.room("club")
			if gateway {
				a.want(id, b.user("gateway"), 6)
			}
			for i := range 3 {
				a.want(id, a.user(fmt.Sprint("a", i)), 2)
				a.want(id, b.user(fmt.Sprint("b", i)), 2)
			}
			b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 6 })
			if err := a.members.SetRole(t.Context(), id, b.user("b1"), 3); err != nil {
				t.Fatal(err)
			}
			b.until("an admin", func() bool { return strings.Contains(b.sink.all(), "b1@b.example 2→3") })
			restore := b.backup()
			talk(a, b, id, " one")
			restore(id)
			b.until("gap", func() bool { return b.sink.told("gap") })
			talk(a, b, id, " two")
			b.until("all are back", func() bool { return len(b.lost(id)) == 0 })
			b.reopen()
			talk(a, b, id, " three")
			if people, err := a.members.Participants(t.Context(), id); err != nil || people[b.user("b1")] != 3 || people[b.user("b0")] != 2 {
				t.Errorf("%v, %v", people, err)
			}
			a.until("rest", func() bool { return a.rests() && b.rests() })
		})
	}
}

// lost are the leaves of a side's people that it has no keys of.
func (s *side) lost(id uri.Room) (list []mls.LeafIndex) {
	s.t.Helper()
	records, err := s.LoadRecords(s.t.Context(), []byte("member "+id.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := mls.LoadGroup(&mls.Config{Components: room.Components{}}, records)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, l := range g.Members() {
		if strings.Contains(string(l.Credential.Identity), s.provider.Domain()) && !g.IsLocal(i) {
			list = append(list, i)
		}
	}
	return list
}

// A hub that is restored has forgotten epochs: the others find out, and everybody enters what it has now.
func TestRestoredHub(t *testing.T) {
	a, b, id := club(t, nil)
	talk(a, b, id, " one")
	restore := a.backup()
	talk(a, b, id, " two")
	for i := range 3 {
		a.want(id, a.user(fmt.Sprint("late", i)), 2)
		a.say(id, a.user(fmt.Sprint("late", i)), fmt.Sprint("late", i))
	}
	b.until("the late", func() bool { return strings.Count(b.sink.all(), "late") >= 3 && len(b.sink.texts()) == 15 })
	restore(id)
	a.until("gap", func() bool { return a.sink.told("gap") })
	b.until("gap", func() bool { return b.sink.told("gap") })
	talk(a, b, id, " three")
	talk(a, b, id, " four")
	if people, err := b.members.Participants(t.Context(), id); err != nil || len(people) != 8 {
		t.Errorf("%d people, %v", len(people), err)
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// A provider alone with its room is restored.
func TestRestoredAlone(t *testing.T) {
	a := newSide(t, "a.example")
	id := a.room("club")
	a.want(id, a.user("alice"), 2)
	a.want(id, a.user("bob"), 2)
	a.send(id, a.user("alice"), "one")
	a.untilTexts("one")
	restore := a.backup()
	a.send(id, a.user("alice"), "two")
	a.untilTexts("one", "two")
	restore(id)
	a.send(id, a.user("bob"), "three") // before it is in again
	a.untilTexts("one", "two", "three")
	a.send(id, a.user("alice"), "four")
	a.untilTexts("one", "two", "three", "four")
	if !a.sink.told("gap") {
		t.Error("no gap was told")
	}
	a.until("rest", a.rests)
}

// What never arrives although it is said to have leaves a gap, and nothing more.
func TestGapInInbox(t *testing.T) {
	for _, what := range []string{"commit", "commit and messages"} {
		t.Run(what, func(t *testing.T) {
			a, b := newSide(t, "a.example"), newSide(t, "b.example")
			toB, _ := connect(a, b)
			id := a.room("club")
			a.want(id, b.user("gateway"), 6)
			for i := range 3 {
				a.want(id, a.user(fmt.Sprint("a", i)), 2)
				a.want(id, b.user(fmt.Sprint("b", i)), 2)
			}
			b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 6 })
			swallow := func(fate int) {
				toB.mu.Lock()
				defer toB.mu.Unlock()
				toB.lose = func(call string) int {
					if call == "notify" {
						return fate
					}
					return 0
				}
			}
			swallow(3)
			a.want(id, a.user("new"), 2)
			a.until("new is in", func() bool { return strings.Contains(a.sink.all(), "new@a.example 0→2") })
			if what != "commit" {
				a.say(id, a.user("new"), "unheard")
			}
			a.until("swallowed", a.rests)
			swallow(0)
			a.say(id, a.user("a0"), "after")
			b.until("gap", func() bool { return b.sink.told("gap") })
			talk(a, b, id, " on")
			a.until("rest", func() bool { return a.rests() && b.rests() })
		})
	}
}

// Wherever a provider is killed while it recovers, after another start it has.
func TestRecoveryKilledAnywhere(t *testing.T) {
	for _, who := range []string{"follower", "hub"} {
		t.Run(who, func(t *testing.T) {
			step := *every
			if testing.Short() {
				step = 31
			}
			for point := int64(1); !t.Failed(); point += step {
				f := new(fate)
				a, b, id := club(t, f)
				talk(a, b, id, " one")
				s := b
				if who == "hub" {
					s = a
				}
				restore := s.backup()
				a.want(id, a.user("late"), 2)
				b.until("late", func() bool { return strings.Contains(b.sink.all(), "late@a.example 0→2") })
				f.left.Store(point)
				restore(id)
				s.until("gap", func() bool { f.raise(); return s.sink.told("gap") })
				if who == "hub" { // what is said before its followers have found out is in their gap too
					b.until("gap", func() bool { f.raise(); return b.sink.told("gap") })
				}
				talk(a, b, id, " two")
				a.until("rest", func() bool { f.raise(); return a.rests() && b.rests() })
				if f.died.Load() == nil {
					t.Logf("fewer than %d points", point)
					return
				}
			}
		})
	}
}
