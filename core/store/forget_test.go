package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router"
)

// TestForget: what is old and done with is forgotten, in any number; what is new, or still waits, stays.
func TestForget(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		s, ctx := open(t, o), t.Context()
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		place := router.Place{Network: "net", Conversation: "chat"}
		room := testRoom(t)
		user, err := room.Provider().User("ann")
		ok(err)
		put := func(n int, made time.Time, state router.DeliveryState) {
			t.Helper()
			id := content.MessageID{1, byte(n), byte(n >> 8)}
			marker := fmt.Sprint("m", n)
			ok(s.PutMessage(ctx, router.Message{ID: id, First: id, Room: room, Sender: user, Made: made}))
			ok(s.Enqueue(ctx, router.Delivery{Place: place, Marker: marker, Account: "acc", Room: room, Message: id, Made: made}))
			d, _, err := s.DeliveryByMarker(ctx, marker)
			ok(err)
			d.State = state
			ok(s.PutDelivery(ctx, d))
			ok(s.PutNativeEvent(ctx, place, router.Event{NativePart: adapter.NativePart{ID: adapter.NativeID(marker)}, Message: id, Made: made}))
		}
		old, now := time.UnixMilli(1000), time.Now()
		const many = forgetAtOnce + 7
		ok(s.Do(ctx, func(ctx context.Context) error {
			for n := range many {
				id := content.MessageID{2, byte(n), byte(n >> 8)}
				if err := s.PutMessage(ctx, router.Message{ID: id, First: id, Room: room, Sender: user, Made: old}); err != nil {
					return err
				}
			}
			return nil
		}))
		put(1, old, router.Sent)
		put(2, old, router.Waiting)
		put(3, now, router.Sent)
		put(4, old, router.Failed)
		rows, err := s.Forget(ctx, now.Add(-time.Hour))
		ok(err)
		if want := many + 2 + 3; rows != want { // one's message and delivery, and three native events
			t.Errorf("%d rows, want %d", rows, want)
		}
		for n, stays := range map[int]bool{1: false, 2: true, 3: true, 4: true} {
			_, d, err := s.DeliveryByMarker(ctx, fmt.Sprint("m", n))
			ok(err)
			_, m, err := s.Message(ctx, content.MessageID{1, byte(n)})
			ok(err)
			if d != stays || m != stays {
				t.Errorf("%d: delivery %v, message %v, want %v", n, d, m, stays)
			}
		}
		if _, known, err := s.NativeEvent(ctx, place, "m3"); err != nil || !known {
			t.Errorf("the new event: %v, %v", known, err)
		}
		if rows, err := s.Forget(ctx, now.Add(-time.Hour)); err != nil || rows != 0 {
			t.Errorf("again: %d, %v", rows, err)
		}
	})
}
