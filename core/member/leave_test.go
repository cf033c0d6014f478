package member_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/room"
	"mimigate/core/uri"
)

// mute makes a hub that does not send back what comes from b.
func mute(b *side, toB, toA *remote) {
	own := make(map[string]bool)
	toA.mu.Lock()
	toA.heard = func(m mimi.Message) { own[string(m.Raw)] = true }
	toA.mu.Unlock()
	toB.mu.Lock()
	defer toB.mu.Unlock()
	toB.filter = func(body []byte) bool {
		toA.mu.Lock()
		defer toA.mu.Unlock()
		list, err := mimi.ParseFanout(body)
		return err == nil && own[string(list[0].Message.Raw)]
	}
}

// A hub need not send back what is ours: what it accepted is delivered here all the same, in its order, once.
func TestNoEcho(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	b.echo = 200 * time.Millisecond
	b.reopen()
	toB, toA := connect(a, b)
	id := a.room("club")
	a.want(id, b.user("gateway"), 6)
	a.want(id, a.user("alice"), 2)
	b.until("its gateway is in", func() bool { return b.sink.told("gateway@b.example 0→6 by -") })
	mute(b, toB, toA)
	for i := range 3 {
		bob := b.user(fmt.Sprint("bob", i))
		b.want(id, bob, 2)
		b.send(id, bob, fmt.Sprint("bob ", i))
		b.until("it", func() bool { return slices.Contains(b.sink.texts(), fmt.Sprint("bob ", i)) })
		a.send(id, a.user("alice"), fmt.Sprint("alice ", i))
		b.until("alice", func() bool { return slices.Contains(b.sink.texts(), fmt.Sprint("alice ", i)) })
	}
	a.until("everything", func() bool { return len(a.sink.texts()) == 6 })
	if x, y := a.sink.texts(), b.sink.texts(); !slices.Equal(x, y) {
		t.Errorf("a has %v, b has %v", x, y)
	}
	b.reopen()
	b.send(id, b.user("bob0"), "after")
	b.until("after", func() bool { return slices.Contains(b.sink.texts(), "after") })
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// Where the gateway has no rights, each of its people leaves by themself; the others learn who left, and go on.
func TestLeaveByThemself(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	id := a.room("club")
	a.want(id, a.user("alice"), 2)
	for _, who := range []string{"bob", "carol"} { // no gateway among them
		a.want(id, b.user(who), 2)
	}
	b.until("they are in", func() bool { return strings.Count(b.sink.all(), "@b.example 0→2") == 2 })
	b.want(id, b.user("dave"), 2)
	refused := "unchanged dave@b.example: nobody from here may do that in this room"
	b.until(refused, func() bool { return b.sink.told(refused) })
	if err := b.members.RemoveParticipant(t.Context(), id, b.user("carol")); err != nil {
		t.Fatal(err)
	}
	left := "carol@b.example 2→0 by carol@b.example"
	for _, s := range []*side{a, b} {
		s.until(left, func() bool { return s.sink.told(left) })
	}
	b.send(id, b.user("bob"), "still here")
	a.untilTexts("still here")
	if err := b.members.RemoveParticipant(t.Context(), id, b.user("bob")); err != nil {
		t.Fatal(err)
	}
	left = "bob@b.example 2→0 by bob@b.example"
	for _, s := range []*side{a, b} {
		s.until(left, func() bool { return s.sink.told(left) })
	}
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// epoch is that of a room of the side's.
func (s *side) epoch(id uri.Room) uint64 {
	s.t.Helper()
	row, err := s.HubRoom(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	var info mls.GroupInfo
	if err := mls.Unmarshal(row.GroupInfo, &info); err != nil {
		s.t.Fatal(err)
	}
	return info.Context.Epoch
}

// What is proposed is committed by the first in line, and by the next where that is away.
func TestCommitsInTurn(t *testing.T) {
	a, b, c := newSide(t, "a.example"), newSide(t, "b.example"), newSide(t, "c.example")
	connect(a, b)
	connect(a, c)
	connect(b, c)
	id := a.room("club")
	a.want(id, b.user("gateway"), 6)
	a.want(id, c.user("carol"), 2)
	a.want(id, c.user("carl"), 2)
	a.want(id, b.user("bob"), 2)
	for _, s := range []*side{b, c} {
		s.until("all are in", func() bool { return strings.Contains(s.sink.all(), "bob@b.example 0→2") })
	}
	before := a.epoch(id)
	if err := c.members.RemoveParticipant(t.Context(), id, c.user("carol")); err != nil {
		t.Fatal(err)
	}
	left := "carol@c.example 2→0 by carol@c.example"
	for _, s := range []*side{a, b, c} {
		s.until(left, func() bool { return s.sink.told(left) })
	}
	if got := a.epoch(id); got != before+1 {
		t.Errorf("%d commits", got-before)
	}
	a.batch = time.Hour // the hub's own gateway is in no hurry
	a.reopen()
	if err := c.members.RemoveParticipant(t.Context(), id, c.user("carl")); err != nil {
		t.Fatal(err)
	}
	left = "carl@c.example 2→0 by carl@c.example"
	for _, s := range []*side{a, b, c} {
		s.until(left, func() bool { return s.sink.told(left) })
	}
}

// Every leaf of ours gets new keys, again and again, while people talk; nobody notices.
func TestRotation(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	id := a.room("club")
	a.want(id, b.user("gateway"), 6)
	for i := range 3 {
		a.want(id, a.user(fmt.Sprint("a", i)), 2)
		a.want(id, b.user(fmt.Sprint("b", i)), 2)
	}
	b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 6 })
	before, epoch, events := a.keys(id), a.epoch(id), a.sink.all()
	for _, s := range []*side{a, b} {
		s.rotate = 400 * time.Millisecond
		s.reopen()
	}
	a.until("new keys", func() bool {
		talk(a, b, id, fmt.Sprint(" in ", a.epoch(id)))
		now := a.keys(id)
		for key := range before {
			if now[key] {
				return false
			}
		}
		return true
	})
	t.Logf("%d epochs", a.epoch(id)-epoch)
	if now := a.sink.all(); now != events {
		t.Errorf("somebody noticed: %s", now)
	}
	for _, s := range []*side{a, b} {
		s.rotate = 0
		s.reopen()
	}
	talk(a, b, id, " at last")
	a.until("rest", func() bool { return a.rests() && b.rests() })
}

// keys are the signature keys of the leaves of a room of the side's.
func (s *side) keys(id uri.Room) map[string]bool {
	s.t.Helper()
	records, err := s.LoadRecords(s.t.Context(), []byte("hub "+id.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := mls.LoadPublicGroup(&mls.Config{Components: room.Components{}}, records)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := make(map[string]bool)
	for _, l := range g.Members() {
		keys[string(l.SignatureKey)] = true
	}
	return keys
}
