package router_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/router"
)

// pair is a room with a chat on each of two networks.
func pair(t *testing.T) *world {
	w := newWorld(t)
	w.net("red", "kitchen")
	w.net("blue", "kitchen")
	w.account("r", "red")
	w.account("b", "blue")
	w.bind("family", router.Rules{}, "r/kitchen", "b/kitchen")
	return w
}

// Everything that people do crosses both ways, under their names, and hits its message, also after a restart and where the hub is
// this very process.
func TestConversation(t *testing.T) {
	for _, nested := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("nested=%v restart=%v", nested, restart), func(t *testing.T) {
				w := pair(t)
				w.nested = nested
				w.start()
				w.ready()
				again := func() {
					if restart {
						w.quiet()
						w.stop()
						w.start()
					}
				}
				ann, bob := w.person("red", "kitchen", "ann"), w.person("blue", "kitchen", "bob")
				do := must(t)
				lunch := w.say(ann, "Lunch?")
				there := w.arrives("blue", "kitchen", "Lunch?")
				if there.Name != "Ann" {
					t.Errorf("under the name %q", there.Name)
				}
				again()
				do(bob.Reply(there.ID, "At noon."))
				if got := w.arrives("red", "kitchen", "At noon."); got.To != lunch || got.Name != "Bob" {
					t.Errorf("a reply to %q by %q, want %q", got.To, got.Name, lunch)
				}
				again()
				do(bob.React(there.ID, "👍"))
				reactions := func(n int) {
					w.until(fmt.Sprint(n, " reactions"), func() bool {
						all := w.find("red", "kitchen", "Lunch?")
						return len(all) == 1 && len(all[0].Reactions) == n
					})
				}
				reactions(1)
				again()
				do(bob.Unreact(there.ID, "👍"))
				reactions(0)
				again()
				do(ann.Edit(lunch, "Dinner?"))
				if got := w.arrives("blue", "kitchen", "Dinner?"); got.ID != there.ID || !got.Edited {
					t.Errorf("the edit became %+v", got)
				}
				again()
				do(ann.Delete(lunch))
				w.until("the deletion", func() bool { return len(w.find("blue", "kitchen", "Dinner?")) == 0 })
				w.quiet()
				if got := len(w.nets["blue"].Messages("kitchen")); got != 2 {
					t.Errorf("%d messages in blue", got)
				}
				if got := len(w.nets["red"].Messages("kitchen")); got != 2 {
					t.Errorf("%d messages in red", got)
				}
			})
		}
	}
}

func TestThousandMessages(t *testing.T) {
	const senders, each = 20, 50
	w := pair(t)
	w.start()
	w.ready()
	for side, net := range []string{"red", "blue"} {
		var people []*chat.Client
		for i := range senders {
			people = append(people, w.person(net, "kitchen", fmt.Sprintf("p%d-%d", side, i)))
		}
		var want []string
		for i := range senders * each {
			text := fmt.Sprintf("%s %d", net, i)
			w.say(people[i%senders], text)
			want = append(want, text)
		}
		other := []string{"blue", "red"}[side]
		w.arrives(other, "kitchen", want[len(want)-1])
		w.quiet()
		var got []string
		for _, m := range w.nets[other].Messages("kitchen") {
			if !strings.HasPrefix(m.Text, net+" ") {
				continue
			}
			got = append(got, m.Text)
			var n int
			if _, err := fmt.Sscanf(m.Text, net+" %d", &n); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("P%d-%d", side, n%senders); m.Name != want {
				t.Errorf("%q under the name %q, want %q", m.Text, m.Name, want)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d messages came, or in another order", len(got))
		}
	}
}

// Two chats of one network in a room: each message is once in each, and nothing comes back.
func TestTwoBindingsOfOneNetwork(t *testing.T) {
	w := newWorld(t)
	w.net("red", "kitchen", "hall")
	w.account("r", "red")
	w.bind("family", router.Rules{}, "r/kitchen", "r/hall")
	w.start()
	w.ready()
	ann, bob := w.person("red", "kitchen", "ann"), w.person("red", "hall", "bob")
	for i := range 5 {
		w.say(ann, fmt.Sprint("ann ", i))
		w.arrives("red", "hall", fmt.Sprint("ann ", i))
		w.say(bob, fmt.Sprint("bob ", i))
		w.arrives("red", "kitchen", fmt.Sprint("bob ", i))
	}
	w.quiet()
	for _, room := range []string{"kitchen", "hall"} {
		if got := len(w.texts("red", room)); got != 10 {
			t.Errorf("%d messages in %s: %q", got, room, w.texts("red", room))
		}
	}
}

// Two gateways with one native room in common, and even with two: nothing goes round and round.
func TestTwoGateways(t *testing.T) {
	for _, rooms := range []int{1, 2} {
		t.Run(fmt.Sprint(rooms, " in common"), func(t *testing.T) {
			a, b := newWorld(t), newWorld(t)
			b.domain = "b.example"
			shared := a.net("red", "kitchen", "hall")
			b.nets["red"] = shared
			a.net("blue", "kitchen")
			b.net("green", "kitchen")
			a.account("ga", "red")
			b.account("gb", "red")
			a.account("la", "blue")
			b.account("lb", "green")
			bind := []string{"ga/kitchen", "la/kitchen"}
			bindB := []string{"gb/kitchen", "lb/kitchen"}
			if rooms == 2 {
				bind, bindB = append(bind, "ga/hall"), append(bindB, "gb/hall")
			}
			a.bind("one", router.Rules{}, bind...)
			b.bind("two", router.Rules{}, bindB...)
			a.start()
			b.start()
			a.ready()
			b.ready()
			ann := a.person("red", "kitchen", "ann")
			a.say(ann, "hello")
			a.arrives("blue", "kitchen", "hello")
			b.arrives("green", "kitchen", "hello")
			far := a.person("blue", "kitchen", "far")
			a.say(far, "from afar")
			a.arrives("red", "kitchen", "from afar")
			b.arrives("green", "kitchen", "from afar") // over the native room
			a.quiet()
			b.quiet()
			a.quiet()
			limit := map[int]int{1: 1, 2: 3}[rooms]
			for _, text := range []string{"hello", "from afar"} {
				for _, at := range []struct {
					w   *world
					net string
				}{{a, "red"}, {a, "blue"}, {b, "green"}} {
					if got := len(at.w.find(at.net, "kitchen", text)); got > limit {
						t.Errorf("%q is %d times in %s", text, got, at.net)
					}
				}
			}
		})
	}
}

func TestOneWay(t *testing.T) {
	w := newWorld(t)
	w.net("red", "kitchen")
	w.net("blue", "kitchen")
	w.net("green", "kitchen")
	w.account("r", "red")
	w.account("b", "blue")
	w.account("g", "green")
	w.bind("warning", router.Rules{}, "r/kitchen in", "b/kitchen out", "g/kitchen")
	w.start()
	w.ready()
	source, reader, both := w.person("red", "kitchen", "src"), w.person("blue", "kitchen", "rea"), w.person("green", "kitchen", "bot")
	w.say(reader, "can you hear me")
	w.say(both, "reply")
	w.say(source, "fire")
	w.arrives("blue", "kitchen", "fire")
	w.arrives("green", "kitchen", "fire")
	w.arrives("blue", "kitchen", "reply")
	w.quiet()
	if got := w.texts("red", "kitchen"); !slices.Equal(got, []string{"fire"}) {
		t.Errorf("what only writes was written to: %q", got)
	}
	if got := w.find("green", "kitchen", "can you hear me"); len(got) != 0 {
		t.Error("what only reads was read from")
	}
	for u := range w.members.roles[w.room("warning")] {
		if strings.Contains(u.String(), "rea") {
			t.Errorf("a reader is a participant: %v", u)
		}
	}
	if n := len(w.members.roles[w.room("warning")]); n != 2 {
		t.Errorf("%d participants", n)
	}
}
