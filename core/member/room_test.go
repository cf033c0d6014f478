package member_test

import (
	"fmt"
	"strings"
	"testing"

	"mimigate/core/mls"
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

// Rooms work in every kind of cipher suite, post-quantum ones included: adds, removals, messages, recovery.
func TestSuites(t *testing.T) {
	for _, suite := range []mls.CipherSuite{mls.P256AES128, mls.X25519ChaCha, mls.MLKEM768X25519AES128, mls.MLKEM768AES256P256} {
		t.Run(mls.DefaultSuites().Name(suite), func(t *testing.T) {
			a, b := newSide(t, "a.example"), newSide(t, "b.example")
			a.suite = suite
			a.reopen()
			connect(a, b)
			id := a.room("club")
			a.want(id, b.user("gateway"), 6)
			for i := range 3 {
				a.want(id, a.user(fmt.Sprint("a", i)), 2)
				a.want(id, b.user(fmt.Sprint("b", i)), 2)
			}
			b.until("all are in", func() bool { return strings.Count(b.sink.all(), "0→2") == 6 })
			restore := b.backup()
			talk(a, b, id, " one")
			restore(id)
			b.until("gap", func() bool { return b.sink.told("gap") })
			talk(a, b, id, " two")
			a.until("rest", func() bool { return a.rests() && b.rests() })
		})
	}
}
