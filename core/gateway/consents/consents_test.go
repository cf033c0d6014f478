package consents_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/gateway/consents"
	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/store"
	"mimigate/core/uri"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type noPeers struct{}

func (noPeers) Consent(uri.Provider) (mimi.Consent, error) { return nil, errors.New("not reached") }

// C6: without consent no keys; consent for one room opens no other; whoever should have been asked is asked.
func TestConsents(t *testing.T) {
	dir := t.TempDir()
	s := must(store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"}))
	here := must(uri.NewProvider("a.example"))
	persons := identity.New(identity.Options{Provider: here, Store: s, Joined: []identity.Joined{{Handle: "ann", Is: []identity.Ref{{Network: "x", ID: "ann"}}}}})
	may := map[string]consents.May{"asks.example": {Invite: "ask", Search: "allow"}, "may.example": {Invite: "allow"}, "not.example": {Invite: "deny"}}
	granted := make(chan uri.Provider, 1)
	d := consents.New(consents.Options{Granted: func(_ context.Context, of uri.Provider) { granted <- of }, Provider: here, Store: s, Persons: persons, Peers: noPeers{}, Log: slog.New(slog.DiscardHandler),
		May: func(p uri.Provider) (consents.May, bool) { m, ok := may[p.Domain()]; return m, ok }})
	defer func() {
		d.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	ann, _, err := persons.Resolve(t.Context(), "x", "a", adapter.Person{IDs: []adapter.PersonID{"ann"}, Name: "Ann", Verified: true})
	if err != nil {
		t.Fatal(err)
	}
	user := func(text string) uri.User { return must(uri.ParseUser(text)) }
	bob, club, attic := user("mimi://asks.example/u/bob"), must(uri.ParseRoom("mimi://asks.example/r/club")), must(uri.ParseRoom("mimi://asks.example/r/attic"))
	check := func(what string, target, requester uri.User, room uri.Room, want mimi.UserCode) {
		t.Helper()
		if got, err := d.Consents(t.Context(), target, requester, room); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", what, got, err, want)
		}
	}
	waiting := func(n int) []consents.Question {
		t.Helper()
		list, err := d.Waiting(t.Context())
		if err != nil || len(list) != n {
			t.Fatalf("%v, %v; want %d", list, err, n)
		}
		return list
	}
	check("our own", ann.User, user("mimi://a.example/u/other"), club, mimi.UserSuccess)
	check("a stranger", ann.User, user("mimi://else.example/u/eve"), club, mimi.UserNoConsent)
	check("who may not", ann.User, user("mimi://not.example/u/eve"), club, mimi.UserNoConsent)
	check("who need not ask", ann.User, user("mimi://may.example/u/kim"), club, mimi.UserSuccess)
	check("nobody", user("mimi://a.example/u/nobody"), bob, club, mimi.UserNoConsent)
	waiting(0)
	check("who has to ask", ann.User, bob, club, mimi.UserNoConsent)
	check("again", ann.User, bob, club, mimi.UserNoConsent)
	if q := waiting(1)[0]; q.Requester != bob || q.Target != ann.User || q.Name != "Ann" || q.Room != club.String() {
		t.Errorf("%+v", q)
	}
	scope := mimi.ConsentScope{Requester: bob, Target: ann.User, Room: club}
	if err := d.Between.Answer(t.Context(), scope, true); err != nil {
		t.Fatal(err)
	}
	waiting(0)
	check("the answer was yes", ann.User, bob, club, mimi.UserSuccess)
	check("asks for another room", ann.User, bob, attic, mimi.UserNoConsent)
	check("has asked for another room", ann.User, bob, attic, mimi.UserNoConsentForThisOne)
	if err := d.Between.Answer(t.Context(), mimi.ConsentScope{Requester: bob, Target: ann.User}, false); err != nil {
		t.Fatal(err)
	}
	check("the answer was no, to all", ann.User, bob, club, mimi.UserNoConsent)
	if err := d.Between.Answer(t.Context(), mimi.ConsentScope{Requester: user("mimi://may.example/u/kim"), Target: ann.User}, false); err != nil {
		t.Fatal(err)
	}
	check("no is no, whatever the provider may", ann.User, user("mimi://may.example/u/kim"), club, mimi.UserNoConsent)
	check("the gateway itself", user("mimi://a.example/u/gateway"), user("mimi://may.example/u/gateway"), club, mimi.UserSuccess)
	if err := persons.SetConsent(t.Context(), ann.User, identity.OptedOut); err != nil {
		t.Fatal(err)
	}
	check("who has opted out", ann.User, user("mimi://may.example/u/lee"), club, mimi.UserNoConsent)
	check("for our own too", ann.User, user("mimi://a.example/u/other"), club, mimi.UserNoConsent)

	// Whom we want in a room is asked once; once they agree we hear of it.
	for range 2 {
		if err := d.Invite(t.Context(), bob, must(uri.ParseRoom("mimi://a.example/r/ours"))); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := s.ConsentEntriesTo(t.Context()); err != nil || len(to) != 1 || to[0] != bob.Provider() {
		t.Errorf("%v, %v", to, err)
	}
	number, first, ok, err := s.NextConsentEntry(t.Context(), bob.Provider())
	if err != nil || !ok {
		t.Fatal(err)
	}
	entries := 0
	for ; ok && err == nil; number, _, ok, err = s.NextConsentEntry(t.Context(), bob.Provider()) {
		entries++
		if err := s.DropConsentEntry(t.Context(), bob.Provider(), number); err != nil {
			t.Fatal(err)
		}
	}
	asked := new(mimi.ConsentEntry)
	if err := mimi.Decode(first, asked); err != nil || entries != 2 { // Ann's grant of before, and one request
		t.Errorf("%d entries, %v", entries, err)
	}
	waiting(0) // what we ask is no question to us
	grant := mimi.NewConsentEntry(mimi.ConsentGrant, mimi.ConsentScope{Requester: user("mimi://a.example/u/gateway"), Target: bob})
	if err := d.Between.UpdateConsent(t.Context(), bob.Provider(), grant); err != nil {
		t.Fatal(err)
	}
	select {
	case of := <-granted:
		if of != bob.Provider() {
			t.Errorf("of %v", of)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told that they agree")
	}

	// A request of a peer that need not ask is granted at once; of one that may not nothing comes; whoever said no is left alone.
	for from, want := range map[string]int{"may.example": 1, "not.example": 0, "else.example": 0} {
		p := must(uri.NewProvider(from))
		request := mimi.NewConsentEntry(mimi.ConsentRequest, mimi.ConsentScope{Requester: must(p.User("zoe")), Target: ann.User})
		refused := mimi.NewConsentEntry(mimi.ConsentRequest, mimi.ConsentScope{Requester: must(p.User("kim")), Target: ann.User})
		if err := errors.Join(d.Between.RequestConsent(t.Context(), p, request), d.Between.RequestConsent(t.Context(), p, refused)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			number, data, ok, err := s.NextConsentEntry(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			e := new(mimi.ConsentEntry)
			if err := mimi.Decode(data, e); err != nil || from == "may.example" && (e.Operation != mimi.ConsentGrant || e.Requester != request.Requester) {
				t.Errorf("%s: %+v, %v", from, e, err)
			}
			n++
			if err := s.DropConsentEntry(t.Context(), p, number); err != nil {
				t.Fatal(err)
			}
		}
		if n != want {
			t.Errorf("%s: %d entries, want %d", from, n, want)
		}
	}
	waiting(0)

	// C27: who has opted out is not found; who has agreed is, by those who may search.
	search := func(from string) mimi.IdentifierCode {
		resp, err := d.Search.Identify(t.Context(), must(uri.NewProvider(from)), &mimi.IdentifierRequest{Elements: []mimi.QueryElement{{Type: mimi.SearchNick, Value: "ann"}}})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Code
	}
	if code := search("asks.example"); code != mimi.IdentifierNotFound {
		t.Errorf("opted out: %d", code)
	}
	if err := persons.SetConsent(t.Context(), ann.User, identity.Consented); err != nil {
		t.Fatal(err)
	}
	if code := search("asks.example"); code != mimi.IdentifierSuccess {
		t.Errorf("consented: %d", code)
	}
	for _, from := range []string{"may.example", "else.example"} {
		if code := search(from); code != mimi.IdentifierForbidden {
			t.Errorf("%s: %d", from, code)
		}
	}
}
