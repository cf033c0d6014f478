package xmpp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
)

// TestManyMessages: 20 people of ours and people of the room write at the same time; everything arrives once and in order.
func TestManyMessages(t *testing.T) {
	const people, each = 20, 15
	r := newRooms(t, 1)
	x := componentOn(t, r, nil)
	room := r.make(t, r.server.MUC)
	ann := r.human(t, room, "Ann")
	x.open(room)
	began := time.Now()
	var both sync.WaitGroup
	both.Go(func() {
		for i := range people * each {
			if _, err := ann.Act(x.ctx(), adaptertest.Act{Do: adaptertest.Say, Text: fmt.Sprintf("in %04d", i)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	both.Go(func() {
		for i := range people * each {
			who := person(t, fmt.Sprint("p", i%people), fmt.Sprint("Person ", i%people))
			if _, err := x.Send(x.ctx(), x.outbound(who, content.Text(fmt.Sprintf("out %04d", i)))); err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
		}
	})
	both.Wait()
	x.hears("the last of Ann's", says(fmt.Sprintf("in %04d", people*each-1)))
	ann.sees("the last of ours", body(fmt.Sprintf("out %04d", people*each-1)))
	t.Logf("%d messages each way in %v", people*each, time.Since(began).Round(time.Millisecond))
	var in, out []string
	for _, ev := range x.sink.Events() {
		if m, ok := ev.Body.(adapter.Message); ok && strings.HasPrefix(textOf(m.Content), "in ") {
			in = append(in, textOf(m.Content))
		}
	}
	for _, s := range ann.Events() {
		if rest, ok := strings.CutPrefix(s.Body, "out "); ok {
			out = append(out, s.Body)
			var i int
			if _, err := fmt.Sscanf(rest, "%04d", &i); err != nil || s.From != fmt.Sprintf("%s/Person %d", room, i%people) {
				t.Errorf("%q by %q", s.Body, s.From)
			}
		}
	}
	for what, got := range map[string][]string{"in": in, "out": out} {
		if len(got) != people*each || !slices.IsSorted(got) || len(slices.Compact(got)) != people*each {
			t.Errorf("%s: %d messages, sorted=%v", what, len(got), slices.IsSorted(got))
		}
	}
}
