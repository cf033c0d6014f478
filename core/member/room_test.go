package member_test

import (
	"testing"
)

func TestOneProvider(t *testing.T) {
	a := newSide(t, "a.example")
	id := a.room("club")
	alice, bob := a.user("alice"), a.user("bob")
	a.ensure(id, alice)
	a.ensure(id, bob)
	a.send(id, alice, "one")
	a.send(id, bob, "two")
	a.untilTexts("one", "two")
	a.reopen()
	a.send(id, bob, "three")
	a.send(id, alice, "four")
	a.untilTexts("one", "two", "three", "four")
	if !a.sink.told("alice@a.example 0→2 by gateway@a.example") {
		t.Error(a.sink.all())
	}
}

func TestTwoProviders(t *testing.T) {
	a, b := newSide(t, "a.example"), newSide(t, "b.example")
	connect(a, b)
	id := a.room("club")
	alice, bob := a.user("alice"), b.user("bob")
	a.ensure(id, alice)
	a.ensure(id, b.user("gateway"))
	a.ensure(id, bob)
	a.send(id, alice, "one")
	b.until("bob is in", func() bool { return b.sink.told("bob@b.example 0→2 by -") })
	b.send(id, bob, "two")
	a.untilTexts("one", "two")
	a.send(id, alice, "three")
	a.untilTexts("one", "two", "three")
}
