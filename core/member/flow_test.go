package member_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/member"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// A thousand messages of twenty senders, ten on each side, arrive on both sides, once, in one order that keeps each sender's, though the
// network loses calls and answers, and the follower is started anew in the middle.
func TestThousand(t *testing.T) {
	const each, senders = 50, 10
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	toB, toA := connect(a, b)
	id := a.room("club")
	a.want(id, b.user("gateway"), 6)
	people := make(map[*side][]uri.User)
	for _, s := range []*side{a, b} {
		for i := range senders {
			u := s.user(fmt.Sprintf("u%d", i))
			people[s] = append(people[s], u)
			a.want(id, u, 2)
		}
	}
	b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 2*senders })

	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(1, 2))
	lose := func(string) int {
		mu.Lock()
		defer mu.Unlock()
		if n := dice.IntN(20); n < 3 {
			return n
		}
		return 0
	}
	for _, r := range []*remote{toA, toB} {
		r.mu.Lock()
		r.lose = lose
		r.mu.Unlock()
	}
	talk := func(s *side, from, to int) {
		var all sync.WaitGroup
		for _, u := range people[s] {
			all.Go(func() {
				for i := from; i < to; i++ {
					if _, err := s.members.Send(t.Context(), id, u, content.Text(fmt.Sprintf("%s %d", name(u), i))); err != nil {
						t.Errorf("%s %d: %v", name(u), i, err)
					}
				}
			})
		}
		all.Wait()
	}
	var sides sync.WaitGroup
	sides.Go(func() { talk(a, 0, each) })
	sides.Go(func() {
		talk(b, 0, each/2)
		b.reopen()
		talk(b, each/2, each)
	})
	sides.Wait()
	for _, s := range []*side{a, b} {
		s.until("everything", func() bool { return len(s.sink.texts()) >= 2*senders*each })
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
	order := a.sink.texts()
	if !slices.Equal(order, b.sink.texts()) {
		t.Error("the sides have different orders")
	}
	next := make(map[string]int)
	for _, text := range order {
		var who string
		var n int
		if _, err := fmt.Sscan(text, &who, &n); err != nil || n != next[who] {
			t.Fatalf("%q, want number %d (%v)", text, next[who], err)
		}
		next[who]++
	}
	if len(next) != 2*senders {
		t.Errorf("%d senders", len(next))
	}
	last := a.sink.lines[0].at
	for _, l := range a.sink.lines[1:] {
		if !l.at.After(last) {
			t.Fatalf("%v after %v", l.at, last)
		}
		last = l.at
	}
}

// Two gateways bring in their people at the same time: their commits race for the same epochs, and all come in.
func TestRacingCommits(t *testing.T) {
	const each = 20
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	id := a.room("club")
	a.want(id, b.user("gateway"), 6)
	b.until("its gateway is in", func() bool { return b.sink.told("gateway@b.example 0→6 by -") })
	var sides sync.WaitGroup
	for _, s := range []*side{a, b} {
		sides.Go(func() {
			for i := range each {
				u := s.user(fmt.Sprintf("u%d", i))
				if err := s.members.EnsureParticipant(t.Context(), id, u, 2); err != nil {
					t.Error(err)
				}
				if _, err := s.members.Send(t.Context(), id, u, content.Text(name(u))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sides.Wait()
	for _, s := range []*side{a, b} {
		s.until("everything", func() bool { return len(s.sink.texts()) >= 2*each })
		people, err := s.members.Participants(t.Context(), id)
		if err != nil || len(people) != 2*each+2 {
			t.Errorf("%d people, %v", len(people), err)
		}
	}
	if !slices.Equal(a.sink.texts(), b.sink.texts()) {
		t.Error("the sides have different orders")
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// What the room does not allow is refused, told, and changes nothing; what was asked for beside it is done.
func TestRefusedCommit(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	id := a.room("club")
	alice, bob := a.user("alice"), b.user("bob")
	a.want(id, alice, 2)
	a.want(id, b.user("gateway"), 6)
	a.want(id, bob, 2)
	b.until("its people are in", func() bool { return strings.Contains(b.sink.all(), "bob@b.example 0→2") })

	if err := b.members.RemoveParticipant(t.Context(), id, alice); err != nil { // not of its domain
		t.Fatal(err)
	}
	if err := b.members.SetRole(t.Context(), id, bob, 4); err != nil { // a gateway promotes nobody
		t.Fatal(err)
	}
	b.want(id, b.user("carol"), 2)
	b.send(id, b.user("carol"), "hello")
	b.untilTexts("hello")
	a.untilTexts("hello")
	for _, event := range []string{
		"unchanged alice@a.example: nobody from here may do that in this room",
		"unchanged bob@b.example: nobody from here may do that in this room",
	} {
		b.until(event, func() bool { return b.sink.told(event) })
	}
	people, err := a.members.Participants(t.Context(), id)
	if err != nil || people[alice] != 2 || people[bob] != 2 || people[b.user("carol")] != 2 {
		t.Errorf("%v, %v", people, err)
	}
}

// Nobody is brought into a room who has not consented, and the asker hears of it.
func TestNoConsent(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	b.consent = false
	id := a.room("club")
	a.want(id, b.user("bob"), 2)
	event := "unchanged bob@b.example: they have not agreed to be brought into this room"
	a.until(event, func() bool { return a.sink.told(event) })
	a.until("rest", a.rests)
}

func TestMembership(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	ctx := t.Context()
	id := a.room("club")
	alice, bob := a.user("alice"), b.user("bob")
	a.want(id, alice, 2)
	a.want(id, bob, 2)
	b.until("bob is in", func() bool { return strings.Contains(b.sink.all(), "bob@b.example 0→2") })
	if err := a.members.Describe(ctx, id, "Club", "chess"); err != nil {
		t.Fatal(err)
	}
	b.until("name", func() bool { return b.sink.told(`"Club" "chess" by gateway@a.example`) })
	if got, subject, err := b.members.Description(ctx, id); err != nil || got != "Club" || subject != "chess" {
		t.Errorf("%q %q %v", got, subject, err)
	}
	if err := a.members.SetRole(ctx, id, bob, 3); err != nil {
		t.Fatal(err)
	}
	b.until("admin", func() bool { return b.sink.told("bob@b.example 2→3 by gateway@a.example") })

	// Banned, bob has no leaf, and his provider, with nobody left, is out of the room.
	if err := a.members.SetRole(ctx, id, bob, 1); err != nil {
		t.Fatal(err)
	}
	b.until("ban", func() bool { return b.sink.told("bob@b.example 3→1 by gateway@a.example") })
	if _, err := b.members.Send(ctx, id, bob, content.Text("x")); !errors.Is(err, member.ErrNoRoom) {
		t.Errorf("banned: %v", err)
	}
	a.want(id, bob, 2)
	a.until("still banned", func() bool { return a.sink.told("unchanged bob@b.example: banned from the room") })

	// Unbanned and brought in again, by a Welcome.
	if err := a.members.SetRole(ctx, id, bob, 2); err != nil {
		t.Fatal(err)
	}
	a.until("back", func() bool { return a.sink.told("bob@b.example 1→2 by gateway@a.example") })
	a.want(id, bob, 2)
	b.until("back in", func() bool { return strings.Count(b.sink.all(), "bob@b.example 0→2 by -") == 2 })
	b.send(id, bob, "again")
	a.untilTexts("again")

	// Who never came in cannot speak.
	if _, err := a.members.Send(ctx, id, a.user("eve"), content.Text("x")); !errors.Is(err, member.ErrNotParticipant) {
		t.Errorf("stranger: %v", err)
	}
	if err := a.members.RemoveParticipant(ctx, id, alice); err != nil {
		t.Fatal(err)
	}
	b.until("alice left", func() bool { return b.sink.told("alice@a.example 2→0 by gateway@a.example") })
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// Edits and deletions of others' messages, and of one's own without the right, are neither sent nor believed.
func TestPermissions(t *testing.T) {
	a := newSide(t, "a.example")
	ctx := t.Context()
	id := a.room("club")
	alice, bob := a.user("alice"), a.user("bob")
	a.want(id, alice, 2)
	a.want(id, bob, 2)
	mid := a.send(id, alice, "one")
	a.untilTexts("one")
	a.want(id, a.user("carl"), 2)
	// Who has no leaf yet is judged when his turn comes, who has one at once.
	switch _, err := a.members.Send(ctx, id, a.user("carl"), content.Edit(mid, content.Text("two"))); {
	case err == nil:
		told := "refused carl@a.example: their role in the room does not permit it"
		a.until(told, func() bool { return a.sink.told(told) })
	case !errors.Is(err, policy.ErrDenied):
		t.Fatal(err)
	}
	if _, err := a.members.Send(ctx, id, bob, content.Edit(mid, content.Text("two"))); !errors.Is(err, policy.ErrDenied) {
		t.Errorf("edit of another's message: %v", err)
	}
	if _, err := a.members.Send(ctx, id, alice, content.Edit(mid, content.Text("three"))); err != nil {
		t.Fatal(err)
	}
	a.untilTexts("one", "three")
}

// What fails while it is opened is opened again, before all that comes after it, and the failure undoes nothing else.
func TestSinkFails(t *testing.T) {
	a := newSide(t, "a.example")
	id := a.room("club")
	alice := a.user("alice")
	a.want(id, alice, 2)
	a.send(id, alice, "one")
	failures := 0
	a.sink.mu.Lock()
	a.sink.fail = func(text string) error {
		if text == "two" && failures < 2 {
			failures++
			return errors.New("not now")
		}
		return nil
	}
	a.sink.mu.Unlock()
	a.send(id, alice, "two")
	a.send(id, alice, "three")
	a.untilTexts("one", "two", "three")
}

// A Sink may send, in the room it hears of and in others, from within what it is told.
func TestSinkSends(t *testing.T) {
	a := newSide(t, "a.example")
	one, two := a.room("one"), a.room("two")
	alice, bot := a.user("alice"), a.user("bot")
	for _, id := range []uri.Room{one, two} {
		a.want(id, alice, 2)
		a.want(id, bot, 2)
		a.send(id, bot, "here")
	}
	a.sink.mu.Lock()
	a.sink.receive = func(ctx context.Context, l line) error {
		if l.from != alice {
			return nil
		}
		for _, id := range []uri.Room{one, two} {
			if _, err := a.members.Send(ctx, id, bot, content.Text("echo "+l.text)); err != nil {
				return err
			}
		}
		return nil
	}
	a.sink.mu.Unlock()
	a.send(one, alice, "hi")
	a.until("echoes", func() bool { return len(a.sink.texts()) >= 5 })
	got := a.sink.texts()
	if slices.Sort(got[2:]); !slices.Equal(got, []string{"here", "here", "echo hi", "echo hi", "hi"}) {
		t.Errorf("%v", got)
	}
	a.until("rest", a.rests)
}

// A message whose epoch the hub finds too old is protected anew, with the same id: it arrives, once.
func TestEpochTooOld(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	toB, toA := connect(a, b)
	id := a.room("club")
	bob := b.user("bob")
	a.want(id, bob, 2)
	b.until("bob is in", func() bool { return strings.Contains(b.sink.all(), "bob@b.example 0→2") })
	block := func(r *remote, what string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lose = func(call string) int {
			if call == what {
				return 1
			}
			return 0
		}
	}
	block(toB, "notify")
	block(toA, "submit")
	mid := b.send(id, bob, "late")
	for i := range 10 {
		u := a.user(fmt.Sprint("u", i))
		a.ensure(id, u)
		a.send(id, u, fmt.Sprint(i)) // an epoch each
	}
	a.until("ten epochs", func() bool { return len(a.sink.texts()) == 10 })
	block(toA, "nothing")
	block(toB, "nothing")
	for _, s := range []*side{a, b} {
		s.until("late", func() bool { return len(s.sink.texts()) == 11 })
		if got := s.sink.texts()[10]; got != "late" {
			t.Errorf("%s: %q is the last", s.provider.Domain(), got)
		}
	}
	if k, err := a.KnownMessage(t.Context(), id, mid); err != nil || k == nil {
		t.Errorf("it has another id: %v", err)
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// Who loses the room hears what will not be said there any more.
func TestLostRoom(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	_, toA := connect(a, b)
	id := a.room("club")
	bob := b.user("bob")
	a.want(id, bob, 2)
	b.until("bob is in", func() bool { return strings.Contains(b.sink.all(), "bob@b.example 0→2") })
	toA.mu.Lock()
	toA.lose = func(string) int { return 1 }
	toA.mu.Unlock()
	b.send(id, bob, "never")
	b.want(id, b.user("carol"), 2)
	if err := a.members.RemoveParticipant(t.Context(), id, bob); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"bob@b.example 2→0 by gateway@a.example", "refused bob@b.example: the sender is not in the room",
		"unchanged carol@b.example: nobody from here is in the room any more"} {
		b.until(event, func() bool { return b.sink.told(event) })
	}
	b.until("rest", b.rests)
}

// What is wished for already costs nothing, and the last wish counts.
func TestWishes(t *testing.T) {
	a := newSide(t, "a.example")
	a.batch = time.Second
	a.reopen()
	ctx := t.Context()
	id := a.room("club")
	alice := a.user("alice")
	a.want(id, alice, 2)
	a.send(id, alice, "in")
	a.untilTexts("in")
	for range 3 {
		a.want(id, alice, 2)
	}
	if !a.rests() {
		t.Error("nothing was to be done")
	}
	if err := a.members.RemoveParticipant(ctx, id, alice); err != nil {
		t.Fatal(err)
	}
	a.want(id, alice, 2)
	a.until("rest", a.rests)
	if strings.Contains(a.sink.all(), "2→0") {
		t.Errorf("removed: %s", a.sink.all())
	}
}
