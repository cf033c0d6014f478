package store

import (
	"slices"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router"
)

// TestQueue: what failed keeps its body for a retry, until it is dropped; what waits can be dropped too.
func TestQueue(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		id, place := content.MessageID{1, 2, 3}, router.Place{Network: "net", Conversation: "chat"}
		made := time.UnixMilli(1000)
		ok(s.PutBody(ctx, id, []byte("body")))
		for _, marker := range []string{"one", "two"} {
			ok(s.Enqueue(ctx, router.Delivery{Place: place, Marker: marker, Account: "acc", Room: testRoom(t), Message: id, Made: made}))
		}
		get := func(f DeliveryFilter) []router.Delivery {
			t.Helper()
			list, err := s.Deliveries(ctx, f)
			ok(err)
			return list
		}
		body := func() string {
			t.Helper()
			b, err := s.Body(ctx, id)
			ok(err)
			return string(b)
		}
		both := get(DeliveryFilter{Account: "acc", Waiting: true})
		if len(both) != 2 || len(get(DeliveryFilter{Dead: true})) != 0 || len(get(DeliveryFilter{Account: "other"})) != 0 || len(get(DeliveryFilter{Limit: 1})) != 1 {
			t.Fatalf("%+v", both)
		}
		for _, state := range []router.DeliveryState{router.Attempted, router.Waiting} { // the first, in whichever of both states
			tried := both[0]
			tried.State = state
			ok(s.PutDelivery(ctx, tried))
			if d, found, err := s.NextDelivery(ctx, place); err != nil || !found || d.Marker != "one" || d.State != state {
				t.Errorf("%v %+v, %v", found, d, err)
			}
		}
		failed := both[0]
		failed.State, failed.Reason, failed.Attempt = router.Failed, "refused", 3
		ok(s.PutDelivery(ctx, failed))
		if q, err := s.Queues(ctx); err != nil || !slices.Equal(q, []Queue{{"acc", "net", 1, 1, made}}) {
			t.Errorf("%+v, %v", q, err)
		}
		if dead := get(DeliveryFilter{Dead: true, Message: id}); len(dead) != 1 || dead[0].Marker != "one" || len(get(DeliveryFilter{Dead: true, Waiting: true})) != 2 {
			t.Errorf("%+v", dead)
		}

		// What waits is dropped, what failed stays and can be tried again.
		if done, err := s.Drop(ctx, "two", "by command"); err != nil || !done || body() != "body" {
			t.Errorf("%v, %v, %q", done, err, body())
		}
		if done, err := s.Drop(ctx, "two", "by command"); err != nil || done {
			t.Errorf("dropped again: %v, %v", done, err)
		}
		if done, err := s.Retry(ctx, "two"); err != nil || done {
			t.Errorf("retried what was dropped: %v, %v", done, err)
		}
		if done, err := s.Retry(ctx, "one"); err != nil || !done {
			t.Errorf("%v, %v", done, err)
		}
		d, found, err := s.NextDelivery(ctx, place)
		ok(err)
		if !found || d.Marker != "one" || d.State != router.Attempted || d.Attempt != 3 || !d.Due.IsZero() || d.Reason != "" || !d.Made.After(made) {
			t.Errorf("%v %+v", found, d)
		}

		// Once nobody needs the body, it is gone.
		if done, err := s.Drop(ctx, "one", "by command"); err != nil || !done || body() != "" {
			t.Errorf("%v, %v, %q", done, err, body())
		}
		if done, err := s.Drop(ctx, "nothing", "by command"); err != nil || done {
			t.Errorf("%v, %v", done, err)
		}
		ok(s.PutNativeEvent(ctx, place, router.Event{NativePart: adapter.NativePart{ID: "native"}, Message: id}))
		if list, err := s.MessagesOf(ctx, "native"); err != nil || !slices.Equal(list, []content.MessageID{id}) {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// TestBatchObserved: each transaction is told, with the number of its units.
func TestBatchObserved(t *testing.T) {
	o, units := options(t), 0
	o.Batch = func(n int, took time.Duration) {
		units += n
		if took <= 0 {
			t.Error("it took no time")
		}
	}
	s := open(t, o)
	closed(t, s) // the writer has ended: what it told can be read
	before := units
	s = open(t, o)
	if err := put(t.Context(), s, "key", "value"); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	if units <= before {
		t.Errorf("%d units, %d before", units, before)
	}
}
