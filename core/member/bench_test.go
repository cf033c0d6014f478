package member_test

import (
	"fmt"
	"testing"

	"mimigate/core/content"
)

// BenchmarkSend is one message from Send to the Sink: T1 to T4 in one transaction.
func BenchmarkSend(b *testing.B) {
	for _, people := range []int{2, 200} {
		b.Run(fmt.Sprint(people), func(b *testing.B) {
			s := newSide(b, "a.example")
			id := s.room("club")
			for i := range people {
				s.ensure(id, s.user(fmt.Sprint("u", i)))
			}
			u := s.user("u0")
			s.send(id, s.user(fmt.Sprint("u", people-1)), "all are in")
			s.until("first", func() bool { return len(s.sink.texts()) == 1 })
			for b.Loop() {
				if _, err := s.members.Send(b.Context(), id, u, content.Text("hello")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
