package identity_test

import (
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/identity"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// C27: who did not consent is found by nothing.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	provider, err := uri.NewProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	persons := identity.New(identity.Options{Provider: provider, Store: s, Joined: []identity.Joined{
		{Handle: "inge", Is: []identity.Ref{{Network: "xmpp", ID: "inge"}}}, {Handle: "zach", Is: []identity.Ref{{Network: "xmpp", ID: "zach"}}}}})
	d := &identity.Directory{Persons: persons, Listing: s}
	add := func(id adapter.PersonID, name string, to identity.Consent) identity.Person {
		p, _, err := persons.Resolve(t.Context(), "xmpp", "a", adapter.Person{IDs: []adapter.PersonID{id}, Name: name, Verified: true})
		if err == nil && to != identity.Unknown {
			err = persons.SetConsent(t.Context(), p.User, to)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	inge := add("inge", "Oma Inge", identity.Consented)
	add("zach", "Zach Ingelheim", identity.Noticed)
	add("kim", "Kim Ingels", identity.OptedOut)
	percent := add("pct", `100%_\ Ingo`, identity.Consented)
	if p, ok, err := d.ByHandle(t.Context(), "inge"); err != nil || !ok || p.User != inge.User {
		t.Errorf("%v, %v, %v", p, ok, err)
	}
	for _, handle := range []string{"zach", "nobody", "", "a/b", percent.User.Segments()[0]} {
		if p, ok, err := d.ByHandle(t.Context(), handle); err != nil || ok {
			t.Errorf("%q: %v, %v", handle, p, err)
		}
	}
	for part, want := range map[string]int{"ING": 2, "inge": 1, "oma i": 1, `%_\`: 1, "%": 1, "zach": 0, "kim": 0, "x": 0} {
		if list, err := d.ByName(t.Context(), part, 10); err != nil || len(list) != want {
			t.Errorf("%q: %d, %v", part, len(list), err)
		}
	}
	if list, err := d.ByName(t.Context(), "ing", 1); err != nil || len(list) != 1 {
		t.Errorf("limit: %v, %v", list, err)
	}
	if d.Handle(inge.User) != "inge" || d.Handle(percent.User) != "" {
		t.Error("handles")
	}
}
