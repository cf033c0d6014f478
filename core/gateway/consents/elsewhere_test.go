package consents_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/gateway/consents"
	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// index is a peer's answers to queries, by what is searched for.
type index map[mimi.SearchType]*mimi.IdentifierResponse

func (i index) Identify(_ context.Context, _ uri.Provider, r *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	if resp := i[r.Elements[0].Type]; resp != nil {
		return resp, nil
	}
	return &mimi.IdentifierResponse{Code: mimi.IdentifierForbidden}, nil
}

// What the router asks of peers reaches them, what they ask reaches the router, within the unit that records it.
func TestElsewhere(t *testing.T) {
	dir := t.TempDir()
	s := must(store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"}))
	here, there := must(uri.NewProvider("a.example")), must(uri.NewProvider("b.example"))
	persons := identity.New(identity.Options{Provider: here, Store: s})
	var told []identity.Scope
	d := consents.New(consents.Options{Provider: here, Store: s, Persons: persons, Peers: noPeers{}, Log: slog.New(slog.DiscardHandler),
		Granted: func(context.Context, uri.Provider) {},
		Asked: func(ctx context.Context, q identity.Scope) error {
			told = append(told, q)
			if len(told) == 1 {
				return errors.New("not now")
			}
			return nil
		},
		May: func(p uri.Provider) (consents.May, bool) { return consents.May{Invite: "ask"}, p == there }})
	defer func() {
		d.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	answers := index{}
	e := consents.Elsewhere{Desk: d, Identifiers: func(uri.Provider) (mimi.Identifiers, error) { return answers, nil }}
	if !e.Knows(there) || e.Knows(must(uri.NewProvider("c.example"))) {
		t.Error("knows whom it does not, or not whom it does")
	}
	if _, err := e.Find(t.Context(), there, "zoe"); err == nil {
		t.Error("a peer that forbids every search has found somebody")
	}
	zoe := "mimi://b.example/u/zoe"
	answers[mimi.SearchNick] = &mimi.IdentifierResponse{Users: []string{zoe, "mimi://c.example/u/zoe", "no address"},
		Profiles: []mimi.UserProfile{{User: zoe, Fields: []mimi.ProfileField{{Name: "name", Value: "Zoe"}}}}}
	answers[mimi.SearchPartialName] = &mimi.IdentifierResponse{Users: []string{zoe}}
	found, err := e.Find(t.Context(), there, "zoe")
	if err != nil || len(found) != 1 || found[0].User.String() != zoe || found[0].Name != "Zoe" {
		t.Errorf("found %v, %v", found, err)
	}

	ann, _, err := persons.Resolve(t.Context(), "x", "a", adapter.Person{IDs: []adapter.PersonID{"ann"}, Name: "Ann", Verified: true})
	if err != nil {
		t.Fatal(err)
	}
	q := mimi.ConsentScope{Requester: must(uri.ParseUser(zoe)), Target: ann.User}
	request := mimi.NewConsentEntry(mimi.ConsentRequest, q)
	if err := d.Between.RequestConsent(t.Context(), there, request); err == nil {
		t.Error("recorded although the person was not told")
	}
	if err := d.Between.RequestConsent(t.Context(), there, request); err != nil || len(told) != 2 {
		t.Errorf("told %v, %v", told, err)
	}
	waiting, err := e.Waiting(t.Context(), ann.User)
	if err != nil || len(waiting) != 1 || waiting[0].Scope != identity.Scope(q) {
		t.Fatalf("waiting %v, %v", waiting, err)
	}
	if err := e.Answer(t.Context(), waiting[0].Scope, true); err != nil {
		t.Fatal(err)
	}
	if code, err := d.Consents(t.Context(), ann.User, q.Requester, uri.Room{}); err != nil || code != mimi.UserSuccess {
		t.Errorf("after a yes: %d, %v", code, err)
	}
}
