package router_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/identity"
	"mimigate/core/router"
	"mimigate/core/router/order"
	"mimigate/core/uri"
)

// peers is what other providers are in the tests: b.example.
type peers struct {
	mu       sync.Mutex
	asked    []identity.Scope
	waiting  []identity.Permission
	answered map[identity.Scope]bool
}

func (p *peers) Knows(q uri.Provider) bool { return q.Domain() == "b.example" }

func (p *peers) Find(_ context.Context, q uri.Provider, text string) ([]order.Found, error) {
	if text != "zoe" {
		return nil, nil
	}
	u, err := q.User("zoe")
	return []order.Found{{User: u, Name: "Zoe\nZebra"}}, err
}

func (p *peers) Request(_ context.Context, s identity.Scope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, s)
	return nil
}

func (p *peers) Answer(_ context.Context, s identity.Scope, granted bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[s] = granted
	p.waiting = slices.DeleteFunc(p.waiting, func(w identity.Permission) bool { return w.Scope == s })
	return nil
}

func (p *peers) Waiting(_ context.Context, target uri.User) ([]identity.Permission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.waiting), func(w identity.Permission) bool { return w.Target != target }), nil
}

func (w *world) address(address string) uri.User {
	w.t.Helper()
	u, err := uri.ParseUser(address)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// An admin brings people of other providers in, gives them roles, and takes them out again; a stranger does not.
func TestOrders(t *testing.T) {
	w := pair(t)
	p := &peers{answered: make(map[identity.Scope]bool)}
	w.options = func(o *router.Options) {
		o.Admins = []router.Admin{{Network: "red", ID: "root"}}
		o.Elsewhere = p
	}
	w.start()
	w.ready()
	root, family := w.person("red", "kitchen", "root"), w.room("family")
	zoe, gateway := w.address("mimi://b.example/u/zoe"), w.address("mimi://b.example/u/gateway")
	role := func(what string, u uri.User, want uint32) {
		t.Helper()
		w.until(what, func() bool { return w.members.role(family, u) == want })
	}
	stranger := w.person("blue", "kitchen", "bob")
	w.say(stranger, "!mimigate invite "+zoe.String())
	w.someoneSays("blue", "kitchen", "administrators only")
	for _, step := range []struct{ order, answer string }{
		{"find zoe@b.example", "mimi://b.example/u/zoe Zoe Zebra"},
		{"find yan@b.example", "Nobody was found"},
		{"find zoe@c.example", "no connection to c.example"},
		{"invite zoe", "is no address"},
		{"invite mimi://c.example/u/zoe", "no connection to c.example"},
		{"invite " + zoe.String() + " king", "no role “king”"},
		{"kick " + zoe.String(), "not in the room in that way"},
		{"invite " + zoe.String(), "is being brought in"},
	} {
		w.say(root, "!mimigate "+step.order)
		w.someoneSays("red", "kitchen", step.answer)
	}
	role("invited", zoe, 2)
	p.mu.Lock()
	if len(p.asked) != 1 || p.asked[0].Target != zoe || p.asked[0].Room != family || p.asked[0].Requester.String() != "mimi://a.example/u/gateway" {
		t.Errorf("asked %v", p.asked)
	}
	p.mu.Unlock()
	w.say(root, "!mimigate invite "+gateway.String())
	role("the gateway of the other side", gateway, 6)
	w.say(root, "!mimigate role "+zoe.String()+" admin")
	role("an admin", zoe, 3)
	w.say(root, "!mimigate people")
	w.someoneSays("red", "kitchen", "mimi://b.example/u/zoe: admin")
	w.say(root, "!mimigate ban "+zoe.String())
	role("banned", zoe, 1)
	w.say(root, "!mimigate unban "+zoe.String())
	role("unbanned", zoe, 0)
	w.say(root, "!mimigate leave")
	w.someoneSays("red", "kitchen", "the room is of this gateway")
	w.quiet()
	for _, text := range w.texts("blue", "kitchen") {
		if strings.Contains(text, "mimi://") && !strings.Contains(text, "!mimigate") {
			t.Errorf("an answer went elsewhere: %q", text)
		}
	}
}

// An admin makes a room for a chat, and takes everybody out of a room of another provider.
func TestCreateAndLeave(t *testing.T) {
	w := pair(t)
	w.net("red", "hall")
	w.options = func(o *router.Options) { o.Admins = []router.Admin{{Network: "red", ID: "root"}} }
	theirs, err := uri.ParseRoom("mimi://b.example/r/theirs")
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.ready()
	hall := w.person("red", "hall", "root")
	if err := hall.Invite("r"); err != nil {
		t.Fatal(err)
	}
	w.until("the account comes", func() bool {
		return slices.ContainsFunc(w.nets["red"].Members("hall"), func(m chat.Member) bool { return m.User == "r" })
	})
	w.say(hall, "!mimigate bind "+theirs.String())
	w.someoneSays("red", "hall", "now belongs to the room "+theirs.String())
	w.say(hall, "hello over there")
	ours := func() int {
		n := 0
		all, err := w.members.Participants(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		for u := range all {
			if u.Domain() == "a.example" {
				n++
			}
		}
		return n
	}
	w.until("somebody of ours is in", func() bool { return ours() > 0 })
	w.say(hall, "!mimigate leave")
	w.someoneSays("red", "hall", "leave the room")
	w.until("nobody of ours is in", func() bool { return ours() == 0 })
	w.say(hall, "!mimigate create Tools and more")
	w.someoneSays("red", "hall", "now belongs to the room mimi://a.example/r/")
	w.say(hall, "!mimigate people")
	w.someoneSays("red", "hall", ": member")
	w.quiet()
}

// Somebody of ours is asked for their consent, and nobody but them answers.
func TestConsentAsked(t *testing.T) {
	w := pair(t)
	p := &peers{answered: make(map[identity.Scope]bool)}
	w.options = func(o *router.Options) { o.Elsewhere = p }
	w.start()
	w.ready()
	ann, bob := w.person("red", "kitchen", "ann"), w.person("blue", "kitchen", "bob")
	w.say(ann, "hi")
	w.arrives("blue", "kitchen", "hi")
	w.say(bob, "hi too")
	w.arrives("red", "kitchen", "hi too")
	person, known, err := w.router.Identity.ByID(t.Context(), "red", "ann")
	if err != nil || !known {
		t.Fatal(known, err)
	}
	s := identity.Scope{Requester: w.address("mimi://b.example/u/zoe"), Target: person.User}
	p.mu.Lock()
	p.waiting = []identity.Permission{{Scope: s, State: identity.Asked}}
	p.mu.Unlock()
	if err := w.store.Do(t.Context(), func(ctx context.Context) error { return w.router.Asked(ctx, s) }); err != nil {
		t.Fatal(err)
	}
	w.someoneSays("red", "kitchen", "Ann: mimi://b.example/u/zoe asks whether they may bring you into any room.")
	var code string
	for _, text := range w.texts("red", "kitchen") {
		if _, after, ok := strings.Cut(text, "refuse "); ok {
			code = after
		}
	}
	w.say(bob, "!mimigate accept "+code)
	w.someoneSays("blue", "kitchen", "administrators only")
	w.say(ann, "!mimigate accept "+code)
	w.someoneSays("red", "kitchen", "You agreed.")
	w.quiet()
	p.mu.Lock()
	defer p.mu.Unlock()
	if granted, ok := p.answered[s]; !ok || !granted {
		t.Errorf("answered %v", p.answered)
	}
}

// Who agrees to come into a room that we have invited them to, comes in; for any other they do not.
func TestAnswered(t *testing.T) {
	w := pair(t)
	w.options = func(o *router.Options) {
		o.Elsewhere = &peers{}
		o.Tell = router.Chat{Account: "r", Name: "kitchen"}
	}
	w.start()
	w.ready()
	zoe, yan := w.address("mimi://b.example/u/zoe"), w.address("mimi://b.example/u/yan")
	us, family := w.address("mimi://a.example/u/gateway"), w.room("family")
	answer := func(s identity.Scope, granted bool) {
		t.Helper()
		if err := w.store.Do(t.Context(), func(ctx context.Context) error { return w.router.Answered(ctx, s, granted) }); err != nil {
			t.Fatal(err)
		}
	}
	answer(identity.Scope{Requester: us, Target: zoe, Room: family}, true)
	w.someoneSays("red", "kitchen", "zoe has agreed")
	w.until("zoe is in", func() bool { return w.members.role(family, zoe) == 2 })
	answer(identity.Scope{Requester: us, Target: yan}, true)
	answer(identity.Scope{Requester: us, Target: yan, Room: family}, false)
	w.someoneSays("red", "kitchen", "yan does not want")
	if w.members.role(family, yan) != 0 {
		t.Error("yan is in")
	}
	w.quiet()
}
