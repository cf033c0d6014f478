package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router"
	"mimigate/core/uri"
)

func (w *world) someoneSays(net, room string, words ...string) {
	w.t.Helper()
	w.until(fmt.Sprintf("words %q in %s/%s", words, net, room), func() bool {
		return slices.ContainsFunc(w.texts(net, room), func(s string) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(s, word) })
		})
	})
}

// A stranger who invites the account, or types commands, gets a polite no, in the language of configuration, once; and nothing happens.
func TestStranger(t *testing.T) {
	w := pair(t)
	w.net("red", "hall")
	w.options = func(o *router.Options) { o.Language = "de-AT"; o.Admins = []router.Admin{{Network: "red", ID: "root"}} }
	w.start()
	w.ready()
	eve := w.person("red", "kitchen", "eve")
	for range 3 {
		w.say(eve, "!mimigate unbind")
	}
	w.someoneSays("red", "kitchen", "Verwaltern")
	hall := w.person("red", "hall", "eve")
	if err := hall.Invite("r"); err != nil {
		t.Fatal(err)
	}
	w.say(eve, "hello")
	w.arrives("blue", "kitchen", "hello")
	w.quiet()
	if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("blue: %q", got)
	}
	if got := w.texts("red", "kitchen"); len(got) != 5 {
		t.Errorf("a no is said once: %q", got)
	}
	if s, err := w.router.Status(t.Context()); err != nil || len(s.Bindings) != 2 {
		t.Errorf("%d bindings, %v", len(s.Bindings), err)
	}
	if slices.ContainsFunc(w.nets["red"].Members("hall"), func(m chat.Member) bool { return m.User == "r" }) {
		t.Error("the account came")
	}
	// Whoever only calls themself like an admin is none.
	fake, err := w.nets["red"].Join("kitchen", "notroot", "root")
	if err != nil {
		t.Fatal(err)
	}
	w.say(fake, "!mimigate status")
	w.say(fake, "over")
	w.arrives("blue", "kitchen", "over")
	w.quiet()
	if got := w.texts("red", "kitchen"); len(got) != 7 {
		t.Errorf("%q", got)
	}
}

// An admin binds a chat: the chat's say, and then the room's. What the file manages is changed in the file only.
func TestBindByCommand(t *testing.T) {
	w := pair(t)
	w.net("blue", "hall")
	w.options = func(o *router.Options) {
		o.Admins = []router.Admin{{Network: "red", ID: "root"}, {Network: "blue", ID: "root"}}
	}
	w.start()
	w.ready()
	hall := w.person("blue", "hall", "root")
	if err := hall.Invite("b"); err != nil {
		t.Fatal(err)
	}
	w.until("the account comes", func() bool {
		return slices.ContainsFunc(w.nets["blue"].Members("hall"), func(m chat.Member) bool { return m.User == "b" })
	})
	w.say(hall, "!mimigate bind family")
	w.someoneSays("blue", "hall", "!mimigate accept")
	var code string
	for _, text := range w.texts("blue", "hall") {
		if _, after, ok := strings.Cut(text, "accept "); ok {
			code = after
		}
	}
	kitchen := w.person("red", "kitchen", "root")
	w.say(kitchen, "!mimigate accept wrong")
	w.someoneSays("red", "kitchen", "no such request")
	w.say(kitchen, "!mimigate accept "+code)
	w.someoneSays("red", "kitchen", "now belongs to this room")
	w.someoneSays("blue", "hall", "now belongs to the room")
	w.say(kitchen, "welcome")
	w.arrives("blue", "hall", "welcome")
	w.say(kitchen, "!mimigate unbind")
	w.someoneSays("red", "kitchen", "managed by the configuration: config.yaml:1")
	w.quiet()
	w.stop()
	w.start() // what was bound by command survives
	w.say(kitchen, "again")
	w.arrives("blue", "hall", "again")
	w.say(hall, "!mimigate unbind")
	w.someoneSays("blue", "hall", "no longer belongs")
	w.say(kitchen, "without you")
	w.arrives("blue", "kitchen", "without you")
	w.say(kitchen, "!mimigate rooms")
	w.someoneSays("red", "kitchen", "b/kitchen, both (config.yaml:2)")
	w.say(kitchen, "!mimigate status")
	w.someoneSays("red", "kitchen", "r (red): connected")
	w.quiet()
	if got := w.find("blue", "hall", "without you"); len(got) != 0 {
		t.Error("unbound, and yet it is written to")
	}
	err := w.router.Bind(t.Context(), router.Binding{Chat: router.Chat{Account: "b", Name: "x"}, Place: router.Place{Network: "blue", Conversation: "kitchen"}, Room: w.room("other")})
	if !errors.Is(err, router.ErrBound) {
		t.Errorf("a second binding: %v", err)
	}
}

// What is not bound is ignored, or the admins are asked, or a room is made.
func TestUnbound(t *testing.T) {
	for _, mode := range []router.Unbound{router.Ignore, router.Ask, router.Create} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			w := pair(t)
			w.net("red", "hall", "attic")
			w.accounts["r"].unbound = mode
			w.options = func(o *router.Options) { o.Tell = router.Chat{Account: "r", Name: "attic"} }
			w.start()
			w.ready()
			conn, err := w.nets["red"].Connect("r", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Follow(t.Context(), "hall"); err != nil {
				t.Fatal(err)
			}
			hall := w.person("red", "hall", "ann")
			w.say(hall, "anybody?")
			w.say(hall, "hello?")
			kitchen := w.person("red", "kitchen", "ann")
			w.say(kitchen, "after")
			w.arrives("blue", "kitchen", "after")
			if mode == router.Ask {
				w.someoneSays("red", "attic", "HALL", "r/hall", "!mimigate bind ROOM")
			}
			w.quiet()
			s, err := w.router.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if mode == router.Create {
				want = 3
			}
			if len(s.Bindings) != want {
				t.Errorf("%d bindings", len(s.Bindings))
			}
			if got := len(w.texts("red", "attic")); mode == router.Ask && got != 1 || mode != router.Ask && got != 0 {
				t.Errorf("the admins are told %d times", got)
			}
			if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"after"}) {
				t.Errorf("%q", got)
			}
		})
	}
}

func (w *world) user(net, id string) uri.User {
	w.t.Helper()
	ids := identity.New(identity.Options{Provider: w.provider(), Store: w.store})
	var user uri.User
	w.until("person "+id, func() bool {
		p, ok, err := ids.ByID(w.t.Context(), net, adapter.PersonID(id))
		user = p.User
		return ok && err == nil
	})
	return user
}

// Joins, leaves and kicks, both ways.
func TestMembership(t *testing.T) {
	w := pair(t)
	w.rooms[0].Rules.ShowJoins = true
	w.start()
	w.ready()
	room := w.room("family")
	ann, bob := w.person("red", "kitchen", "ann"), w.person("blue", "kitchen", "bob")
	present := func(net, name string) bool {
		return slices.ContainsFunc(w.nets[net].Members("kitchen"), func(m chat.Member) bool { return m.Name == name })
	}
	w.until("ann is shown in blue before she speaks", func() bool { return present("blue", "Ann") })
	a, b := w.user("red", "ann"), w.user("blue", "bob")
	w.until("both are participants", func() bool { return w.members.role(room, a) == 2 && w.members.role(room, b) == 2 })
	if err := ann.Leave(); err != nil {
		t.Fatal(err)
	}
	w.until("ann left", func() bool { return w.members.role(room, a) == 0 && !present("blue", "Ann") })
	// Somebody in the room removes bob: he is removed from his chat too.
	admin, err := uri.ParseUser("mimi://z.example/u/zoe")
	if err != nil {
		t.Fatal(err)
	}
	w.until("bob is shown in red", func() bool { return present("red", "Bob") })
	if err := w.members.setRole(t.Context(), room, b, admin, 0); err != nil {
		t.Fatal(err)
	}
	w.until("bob is kicked", func() bool { return !present("blue", "Bob") && !present("red", "Bob") })
	w.quiet()
	// A moderator in red removes our name for carl of blue: carl leaves the room, and blue.
	carl := w.person("blue", "kitchen", "carl")
	w.say(carl, "hi")
	w.arrives("red", "kitchen", "hi")
	c := w.user("blue", "carl")
	mod := w.person("red", "kitchen", "mod")
	i := slices.IndexFunc(w.nets["red"].Members("kitchen"), func(m chat.Member) bool { return m.Name == "Carl" })
	if err := mod.Kick(w.nets["red"].Members("kitchen")[i].User, "noise"); err != nil {
		t.Fatal(err)
	}
	w.until("carl is out", func() bool { return w.members.role(room, c) == 0 && !present("blue", "Carl") })
	_ = bob
}

// forbidden is an adapter that may not remove anybody.
type forbidden struct{ full }

type full interface {
	adapter.Adapter
	adapter.Confirmer
	adapter.Conversations
	adapter.Profiles
}

func (f forbidden) SetMember(context.Context, adapter.MemberUpdate) error {
	return adapter.Refused(errors.New("may not"))
}

// Where we may not remove somebody natively, everybody is warned, and what they write is not passed on.
func TestStillThere(t *testing.T) {
	w := pair(t)
	w.accounts["b"].wrap = func(a adapter.Adapter) adapter.Adapter { return forbidden{a.(full)} }
	w.start()
	w.ready()
	bob, dan := w.person("blue", "kitchen", "bob"), w.person("blue", "kitchen", "dan")
	w.say(bob, "hi")
	w.arrives("red", "kitchen", "hi")
	b := w.user("blue", "bob")
	admin, err := uri.ParseUser("mimi://z.example/u/zoe")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.members.setRole(t.Context(), w.room("family"), b, admin, 1); err != nil {
		t.Fatal(err)
	}
	w.someoneSays("blue", "kitchen", "Bob was removed", "still read")
	w.say(bob, "I am still here")
	w.say(dan, "he is")
	w.arrives("red", "kitchen", "he is")
	w.quiet()
	if got := w.find("red", "kitchen", "I am still here"); len(got) != 0 {
		t.Error("what a banned person wrote was passed on")
	}
}

// Names: changes are shown, and the network is added only where two have the same name.
func TestNames(t *testing.T) {
	w := pair(t)
	w.net("green", "kitchen")
	w.account("g", "green")
	w.rooms = nil
	w.bind("family", router.Rules{}, "r/kitchen", "b/kitchen", "g/kitchen")
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	w.say(ann, "one")
	if got := w.arrives("blue", "kitchen", "one"); got.Name != "Ann" {
		t.Errorf("name %q", got.Name)
	}
	ann.Rename("Annabel")
	w.until("the new name in blue", func() bool {
		return slices.ContainsFunc(w.nets["blue"].Members("kitchen"), func(m chat.Member) bool { return m.Name == "Annabel" })
	})
	other, err := w.nets["blue"].Join("kitchen", "ann2", "annabel")
	if err != nil {
		t.Fatal(err)
	}
	w.say(other, "two")
	if got := w.arrives("green", "kitchen", "two"); got.Name != "annabel (blue)" {
		t.Errorf("name %q", got.Name)
	}
	w.say(ann, "three")
	if got := w.arrives("green", "kitchen", "three"); got.Name != "Annabel (red)" {
		t.Errorf("name %q", got.Name)
	}
}

// Mentions of people become addresses in the room, and native mentions where the person is.
func TestMentions(t *testing.T) {
	w := newWorld(t)
	w.net("red", "kitchen", "hall")
	w.net("blue", "kitchen")
	w.account("r", "red")
	w.account("b", "blue")
	w.bind("family", router.Rules{}, "r/kitchen", "r/hall", "b/kitchen")
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	w.person("red", "hall", "bob")
	w.user("red", "bob")
	must(t)(ann.Write("ask <@bob> and <@nobody>"))
	w.until("the mention", func() bool {
		return slices.ContainsFunc(w.texts("red", "hall"), func(s string) bool {
			return strings.Contains(s, "<@bob>") && !strings.Contains(s, "<@nobody>") && strings.Contains(s, "nobody")
		})
	})
	w.someoneSays("blue", "kitchen", "ask <@b/mimi://a.example/u/")
}

// A person who says no is not passed on; a room may tell each new person first.
func TestConsent(t *testing.T) {
	w := pair(t)
	w.rooms[0].Rules.Notice = "Your words go to other networks."
	w.start()
	w.ready()
	ann := w.person("red", "kitchen", "ann")
	w.say(ann, "one")
	w.arrives("blue", "kitchen", "one")
	w.someoneSays("red", "kitchen", "other networks")
	w.say(ann, "!mimigate optout")
	w.someoneSays("red", "kitchen", "no longer passed on")
	w.until("she is out", func() bool { return w.members.role(w.room("family"), w.user("red", "ann")) == 0 })
	w.say(ann, "secret")
	w.say(ann, "!mimigate optin")
	w.someoneSays("red", "kitchen", "passed on again")
	w.say(ann, "two")
	w.arrives("blue", "kitchen", "two")
	w.quiet()
	if got := w.texts("blue", "kitchen"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%q", got)
	}
	if n := len(w.find("red", "kitchen", "Your words go to other networks.")); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// People of other providers: what they say, do and change arrives, and their edits hit.
func TestElsewhere(t *testing.T) {
	w := pair(t)
	w.start()
	w.ready()
	room := w.room("family")
	zoe, err := uri.ParseUser("mimi://z.example/u/zoe")
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *content.Message) content.MessageID {
		t.Helper()
		m.Salt[0]++
		m.SenderURI, m.RoomURI = zoe.String(), room.String()
		encoded, err := content.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		id, err := content.ComputeID(m.SenderURI, m.RoomURI, encoded)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a known message id is dropped
			w.members.elsewhere(func(ctx context.Context, sink *router.Router) error {
				return sink.Message(ctx, room, zoe, id, time.Now(), m)
			})
		}
		return id
	}
	id := send(content.Text("servus"))
	if got := w.arrives("red", "kitchen", "servus"); got.Name != "zoe" {
		t.Errorf("name %q", got.Name)
	}
	w.arrives("blue", "kitchen", "servus")
	send(content.Edit(id, content.Text("servus!")))
	w.until("the edit", func() bool {
		return len(w.find("red", "kitchen", "servus!")) == 1 && w.find("red", "kitchen", "servus!")[0].Edited
	})
	send(content.React(id, "👍"))
	w.until("the reaction", func() bool { return len(w.find("red", "kitchen", "servus!")[0].Reactions) == 1 })
	w.members.elsewhere(func(ctx context.Context, sink *router.Router) error {
		return sink.Described(ctx, room, zoe, "New name", "", time.Now())
	})
	w.until("the new name", func() bool { return strings.Contains(w.nets["blue"].Transcript("kitchen"), "New name") })
	if err := w.person("red", "kitchen", "ann").Retitle("Newer"); err != nil {
		t.Fatal(err)
	}
	w.until("the newer name", func() bool {
		name, _, _ := w.members.Description(t.Context(), room)
		return strings.Contains(w.nets["blue"].Transcript("kitchen"), "Newer") && name == "Newer"
	})
	w.quiet()
	if got := len(w.texts("blue", "kitchen")); got != 1 {
		t.Errorf("%q", w.texts("blue", "kitchen"))
	}
}
