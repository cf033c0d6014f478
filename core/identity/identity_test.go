package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/identity"
	"mimigate/core/store"
	"mimigate/core/uri"
)

func provider(t *testing.T) uri.Provider {
	t.Helper()
	p, err := uri.NewProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, joined ...identity.Joined) (*identity.Persons, *store.Store) {
	t.Helper()
	keys, err := store.ParseKeys("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Location: t.TempDir(), Domain: "a.example", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	clock := time.UnixMilli(1_800_000_000_000)
	return identity.New(identity.Options{Provider: provider(t), Store: s, Joined: joined, Now: func() time.Time {
		clock = clock.Add(time.Second)
		return clock
	}}), s
}

func who(name string, ids ...adapter.PersonID) adapter.Person {
	return adapter.Person{IDs: ids, Name: name, Verified: true}
}

func resolve(t *testing.T, p *identity.Persons, network string, w adapter.Person) (identity.Person, identity.Change) {
	t.Helper()
	person, change, err := p.Resolve(t.Context(), network, network+"-1", w)
	if err != nil {
		t.Fatal(err)
	}
	return person, change
}

func TestResolve(t *testing.T) {
	p, _ := open(t)
	first, change := resolve(t, p, "whatsapp", who("Ann", "+49170"))
	if !change.New || first.Name != "Ann" || strings.Contains(first.User.String(), "170") || strings.Contains(strings.ToLower(first.User.String()), "ann") {
		t.Errorf("%+v %+v: the address tells who it is", first, change)
	}
	same, change := resolve(t, p, "whatsapp", who("Ann", "+49170"))
	if same.User != first.User || change.New || change.Renamed {
		t.Errorf("%+v %+v", same, change)
	}
	renamed, change := resolve(t, p, "whatsapp", who("Anna\u202e", "+49170"))
	if renamed.User != first.User || !change.Renamed || renamed.Name != "Anna" {
		t.Errorf("%+v %+v", renamed, change)
	}
	other, _ := resolve(t, p, "matrix", who("Ann", "+49170"))
	if other.User == first.User {
		t.Error("the same id on another network is somebody else")
	}
	if _, _, err := p.Resolve(t.Context(), "matrix", "m", adapter.Person{Name: "x"}); !errors.Is(err, identity.ErrNobody) {
		t.Error(err)
	}
}

// Two ids that turn out to be one person's: the older address stays, the other is an alias.
func TestMerge(t *testing.T) {
	p, _ := open(t)
	phone, _ := resolve(t, p, "whatsapp", who("Ann", "+49170"))
	lid, _ := resolve(t, p, "whatsapp", who("Ann", "lid:7"))
	both := who("Ann", "lid:7", "+49170")
	both.Verified = false
	if _, change := resolve(t, p, "whatsapp", both); len(change.Merged) != 0 {
		t.Error("merged on nobody's word")
	}
	both.Verified = true
	one, change := resolve(t, p, "whatsapp", both)
	if one.User != phone.User || len(change.Merged) != 1 || change.Merged[0] != lid.User {
		t.Fatalf("%+v %+v", one, change)
	}
	for _, old := range []uri.User{phone.User, lid.User} {
		if got, ok, err := p.ByUser(t.Context(), old); !ok || err != nil || got.User != phone.User {
			t.Errorf("%v: %+v %v %v", old, got, ok, err)
		}
	}
	if same, err := p.Same(t.Context(), phone.User, lid.User); !same || err != nil {
		t.Error("an alias is not the same", err)
	}
	if got, ok, err := p.ByID(t.Context(), "whatsapp", "lid:7"); !ok || err != nil || got.User != phone.User {
		t.Errorf("%+v %v %v", got, ok, err)
	}
}

// Persons of several networks are joined by configuration only.
func TestJoined(t *testing.T) {
	p, _ := open(t, identity.Joined{Name: "Oma Inge", Handle: "inge", Is: []identity.Ref{{Network: "whatsapp", ID: "+49"}, {Network: "matrix", ID: "@inge"}}})
	a, _ := resolve(t, p, "matrix", who("Inge M.", "@inge"))
	b, change := resolve(t, p, "whatsapp", who("Inge", "+49"))
	if a.User != b.User || b.Name != "Oma Inge" || change.Renamed || a.User.String() != "mimi://a.example/u/inge" {
		t.Errorf("%+v %+v %+v", a, b, change)
	}
}

func TestNameOf(t *testing.T) {
	p, _ := open(t)
	here := map[uri.User]bool{}
	present := func(u uri.User) (bool, error) { return here[u], nil }
	name := func(u uri.User, want string) {
		t.Helper()
		if got, err := p.NameOf(t.Context(), u, present); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	a, _ := resolve(t, p, "matrix", who("Ann", "@ann"))
	b, _ := resolve(t, p, "xmpp", who("ANN", "ann@x"))
	c, _ := resolve(t, p, "xmpp", who("Ann", "ann@y"))
	here[a.User] = true
	name(a.User, "Ann")
	here[b.User], here[c.User] = true, true
	name(a.User, "Ann (matrix)")
	name(b.User, "ANN (xmpp)")
	name(c.User, "Ann (xmpp 2)")
	zoe, err := uri.ParseUser("mimi://z.example/u/zoe%20z")
	if err != nil {
		t.Fatal(err)
	}
	name(zoe, "zoe z")
}

func TestConsent(t *testing.T) {
	p, _ := open(t)
	a, _ := resolve(t, p, "matrix", who("Ann", "@ann"))
	ctx := context.Background()
	for _, step := range []struct {
		to identity.Consent
		ok bool
	}{{identity.Noticed, true}, {identity.Unknown, false}, {identity.OptedOut, true}, {identity.Noticed, false}, {identity.Consented, true}, {identity.Consented, true}} {
		if err := p.SetConsent(ctx, a.User, step.to); (err == nil) != step.ok || err != nil && !errors.Is(err, identity.ErrConsent) {
			t.Errorf("%v: %v", step.to, err)
		}
	}
	for _, c := range []struct {
		rule  identity.Rule
		state identity.Consent
		allow bool
		tell  bool
	}{
		{identity.Rule{}, identity.Unknown, true, false},
		{identity.Rule{}, identity.OptedOut, false, false},
		{identity.Rule{Notice: true}, identity.Unknown, true, true},
		{identity.Rule{Notice: true}, identity.Noticed, true, false},
		{identity.Rule{Require: true}, identity.Noticed, false, false},
		{identity.Rule{Require: true}, identity.Consented, true, false},
	} {
		if c.rule.Allows(c.state) != c.allow || c.rule.Tell(c.state) != c.tell {
			t.Errorf("%+v %v: %v %v", c.rule, c.state, c.rule.Allows(c.state), c.rule.Tell(c.state))
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("Ann\u202e \n x")
	f.Fuzz(func(t *testing.T, s string) {
		c := identity.Clean(s)
		if identity.Clean(c) != c || strings.ContainsAny(c, "\n\r\t\u202e") || len(c) > 256 {
			t.Errorf("%q became %q", s, c)
		}
	})
}
