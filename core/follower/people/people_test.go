package people_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/follower/people"
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

var (
	pa   = must(uri.NewProvider("a.example"))
	pb   = must(uri.NewProvider("b.example"))
	ann  = must(uri.ParseUser("mimi://a.example/u/ann"))
	bob  = must(uri.ParseUser("mimi://b.example/u/bob"))
	club = must(uri.ParseRoom("mimi://b.example/r/club"))
)

// stage is a provider with one user, Ann, and what it hears and says.
type stage struct {
	*identity.Permissions
	store    *store.Store
	consents *people.Consents

	mu      sync.Mutex
	asked   []mimi.ConsentScope
	granted []bool
	said    []*mimi.ConsentEntry
	err     error // of the peer
}

func (s *stage) Ask(ctx context.Context, c mimi.ConsentScope) (bool, error) {
	return s.Permissions.Ask(ctx, identity.Scope(c))
}

func (s *stage) Cancel(ctx context.Context, c mimi.ConsentScope) (bool, error) {
	return s.Permissions.Cancel(ctx, identity.Scope(c))
}

func (s *stage) Answer(ctx context.Context, c mimi.ConsentScope, granted bool) error {
	return s.Permissions.Answer(ctx, identity.Scope(c), granted)
}

func (s *stage) Known(_ context.Context, u uri.User) (bool, error) { return u == ann, nil }

func (s *stage) Asked(_ context.Context, c mimi.ConsentScope) error {
	s.asked = append(s.asked, c)
	return nil
}

func (s *stage) Answered(_ context.Context, _ mimi.ConsentScope, granted bool) error {
	s.granted = append(s.granted, granted)
	return nil
}

func (s *stage) Consent(uri.Provider) (mimi.Consent, error) { return s, nil }

func (s *stage) RequestConsent(_ context.Context, _ uri.Provider, e *mimi.ConsentEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || mimi.Final(s.err) {
		s.said = append(s.said, e)
	}
	return s.err
}

func (s *stage) UpdateConsent(ctx context.Context, from uri.Provider, e *mimi.ConsentEntry) error {
	return s.RequestConsent(ctx, from, e)
}

func (s *stage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// heard waits until the peer has been told so many entries.
func (s *stage) heard(t *testing.T, n int) []*mimi.ConsentEntry {
	t.Helper()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		s.mu.Lock()
		said := slices.Clone(s.said)
		s.mu.Unlock()
		if len(said) >= n {
			return said
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%d entries, want %d", len(said), n)
		}
	}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{store: st, Permissions: &identity.Permissions{Store: st, Now: time.Now}}
	s.open(t)
	t.Cleanup(func() {
		s.consents.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stage) open(t *testing.T) {
	t.Helper()
	s.consents = people.NewConsents(people.ConsentConfig{Provider: pa, Store: s.store, Peers: s, Permissions: s, Audience: s, Log: slog.New(slog.DiscardHandler)})
	if err := s.consents.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// C26: what is received is told to nobody; each side speaks for its own users; a cancellation without a request is well.
func TestRequestConsent(t *testing.T) {
	s := newStage(t)
	scope := mimi.ConsentScope{Requester: bob, Target: ann, Room: club}
	send := func(op mimi.ConsentOperation, c mimi.ConsentScope) error {
		return s.consents.RequestConsent(t.Context(), pb, mimi.NewConsentEntry(op, c))
	}
	for range 2 {
		if err := errors.Join(send(mimi.ConsentCancel, scope), send(mimi.ConsentRequest, scope), send(mimi.ConsentRequest, scope)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.asked) != 2 || s.asked[0] != scope { // once more after it was cancelled
		t.Errorf("asked %v", s.asked)
	}
	unknown := scope
	unknown.Target = must(uri.ParseUser("mimi://a.example/u/nobody"))
	if err := send(mimi.ConsentRequest, unknown); err != nil || len(s.asked) != 2 {
		t.Errorf("whether there is somebody is told: %v, %v", err, s.asked)
	}
	if list, err := s.Waiting(t.Context(), unknown.Target); err != nil || len(list) != 0 {
		t.Errorf("kept for nobody: %v, %v", list, err)
	}
	for name, test := range map[string]struct {
		from uri.Provider
		e    *mimi.ConsentEntry
		want error
	}{
		"for a user of another provider": {pa, mimi.NewConsentEntry(mimi.ConsentRequest, scope), mimi.ErrForbidden},
		"of a user elsewhere":            {pb, mimi.NewConsentEntry(mimi.ConsentRequest, mimi.ConsentScope{Requester: bob, Target: bob}), mimi.ErrForbidden},
		"a grant":                        {pb, mimi.NewConsentEntry(mimi.ConsentGrant, scope), mimi.ErrBadRequest},
		"of nobody":                      {pb, &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: "bob", Target: ann.String()}, mimi.ErrBadRequest},
		"to nobody":                      {pb, &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob.String(), Target: "ann"}, mimi.ErrBadRequest},
		"for no room":                    {pb, &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob.String(), Target: ann.String(), Room: "club"}, mimi.ErrBadRequest},
	} {
		if err := s.consents.RequestConsent(t.Context(), test.from, test.e); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.asked) != 2 {
		t.Error("a refused request was heard")
	}
	// Ann agrees: Bob's provider is told, and of her refusal it is not.
	if err := errors.Join(s.consents.Answer(t.Context(), scope, false), s.consents.Answer(t.Context(), scope, true)); err != nil {
		t.Fatal(err)
	}
	said := s.heard(t, 1)
	if len(said) != 1 || said[0].Operation != mimi.ConsentGrant || said[0].Room != club.String() || said[0].Target != ann.String() {
		t.Errorf("%+v", said)
	}
	if v, err := s.Judge(t.Context(), identity.Scope(scope)); err != nil || v != identity.Agreed {
		t.Errorf("%v, %v", v, err)
	}
}

func TestUpdateConsent(t *testing.T) {
	s := newStage(t)
	scope := mimi.ConsentScope{Requester: ann, Target: bob}
	send := func(from uri.Provider, op mimi.ConsentOperation, c mimi.ConsentScope) error {
		return s.consents.UpdateConsent(t.Context(), from, mimi.NewConsentEntry(op, c))
	}
	// Unsolicited ones are well.
	if err := errors.Join(send(pb, mimi.ConsentGrant, scope), send(pb, mimi.ConsentRevoke, scope)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.granted, []bool{true, false}) {
		t.Errorf("%v", s.granted)
	}
	if v, err := s.Judge(t.Context(), identity.Scope(scope)); err != nil || v != identity.Refused {
		t.Errorf("%v, %v", v, err)
	}
	unknown := scope
	unknown.Requester = must(uri.ParseUser("mimi://a.example/u/nobody"))
	if err := send(pb, mimi.ConsentGrant, unknown); err != nil || len(s.granted) != 2 {
		t.Errorf("to nobody: %v", err)
	}
	for name, err := range map[string]error{
		"for a user of another provider": send(pa, mimi.ConsentGrant, scope),
		"to a user elsewhere":            send(pb, mimi.ConsentGrant, mimi.ConsentScope{Requester: bob, Target: bob}),
	} {
		if !errors.Is(err, mimi.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := send(pb, mimi.ConsentRequest, scope); !errors.Is(err, mimi.ErrBadRequest) {
		t.Errorf("a request: %v", err)
	}
}

// What our users say gets there, in order, whatever the other side does meanwhile.
func TestConsentOutbox(t *testing.T) {
	s := newStage(t)
	scope := mimi.ConsentScope{Requester: ann, Target: bob}
	s.fail(mimi.RetryAfter(time.Millisecond, errors.New("down")))
	if err := errors.Join(s.consents.Request(t.Context(), scope), s.consents.Cancel(t.Context(), scope)); err != nil {
		t.Fatal(err)
	}
	s.consents.Close()
	s.fail(nil)
	s.open(t)
	if said := s.heard(t, 2); said[0].Operation != mimi.ConsentRequest || said[1].Operation != mimi.ConsentCancel {
		t.Errorf("%+v", said)
	}
	s.fail(mimi.ErrNotFound) // they may say that there is nobody
	if err := s.consents.Request(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	s.heard(t, 3)
	s.fail(nil)
	if err := s.consents.Request(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	s.heard(t, 4)
	if err := s.consents.Request(t.Context(), mimi.ConsentScope{Requester: bob, Target: ann}); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("in another's name: %v", err)
	}
}

// directory lists some users.
type directory []people.Profile

func (d directory) ByHandle(_ context.Context, handle string) (people.Profile, bool, error) {
	for _, p := range d {
		if p.Handle == handle && handle != "" {
			return p, true, nil
		}
	}
	return people.Profile{}, false, nil
}

func (d directory) ByName(_ context.Context, part string, limit int) (list []people.Profile, err error) {
	for _, p := range d {
		if strings.Contains(strings.ToLower(p.Name), strings.ToLower(part)) && len(list) < limit {
			list = append(list, p)
		}
	}
	return list, nil
}

// C27: all elements must hold; who may not ask, and what is not searched, are told apart; names are not to be listed.
func TestIdentify(t *testing.T) {
	d := directory{{User: ann, Handle: "ann", Name: "Ann Alder"}, {User: must(uri.ParseUser("mimi://a.example/u/x1")), Name: "Annika Beech"}}
	for i := range 25 {
		d = append(d, people.Profile{User: must(uri.ParseUser(fmt.Sprintf("mimi://a.example/u/m%d", i))), Name: "Many"})
	}
	ids := &people.Identifiers{Provider: pa, Directory: d, May: func(p uri.Provider) bool { return p == pb }}
	type q = mimi.QueryElement
	for name, test := range map[string]struct {
		query []q
		code  mimi.IdentifierCode
		found []string
	}{
		"handle":             {[]q{{Type: mimi.SearchHandle, Value: "im:ann@a.example"}}, 0, []string{ann.String()}},
		"MIMI address":       {[]q{{Type: mimi.SearchHandle, Value: ann.String()}}, 0, []string{ann.String()}},
		"handle elsewhere":   {[]q{{Type: mimi.SearchHandle, Value: "im:ann@b.example"}}, mimi.IdentifierNotFound, nil},
		"no handle":          {[]q{{Type: mimi.SearchHandle, Value: "ann"}}, mimi.IdentifierNotFound, nil},
		"nick":               {[]q{{Type: mimi.SearchNick, Value: "ann"}}, 0, []string{ann.String()}},
		"username claim":     {[]q{{Type: mimi.SearchOIDCClaim, Name: "preferred_username", Value: "ann"}}, 0, []string{ann.String()}},
		"name claim":         {[]q{{Type: mimi.SearchOIDCClaim, Name: "name", Value: "Ann Alder"}}, 0, []string{ann.String()}},
		"name, other case":   {[]q{{Type: mimi.SearchVCardField, Name: "FN", Value: "ann alder"}}, mimi.IdentifierNotFound, nil},
		"part of a name":     {[]q{{Type: mimi.SearchPartialName, Value: "ANN"}}, 0, []string{ann.String(), "mimi://a.example/u/x1"}},
		"whole profile":      {[]q{{Type: mimi.SearchWholeProfile, Value: "beech"}}, 0, []string{"mimi://a.example/u/x1"}},
		"both":               {[]q{{Type: mimi.SearchPartialName, Value: "ann"}, {Type: mimi.SearchNick, Value: "ann"}}, 0, []string{ann.String()}},
		"not both":           {[]q{{Type: mimi.SearchPartialName, Value: "beech"}, {Type: mimi.SearchNick, Value: "ann"}}, mimi.IdentifierNotFound, nil},
		"too short":          {[]q{{Type: mimi.SearchPartialName, Value: "an"}}, mimi.IdentifierAmbiguous, nil},
		"empty":              {[]q{{Type: mimi.SearchNick}}, mimi.IdentifierAmbiguous, nil},
		"too many":           {[]q{{Type: mimi.SearchPartialName, Value: "many"}}, mimi.IdentifierAmbiguous, nil},
		"e-mail":             {[]q{{Type: mimi.SearchEmail, Value: "ann@a.example"}}, mimi.IdentifierUnsupported, nil},
		"phone":              {[]q{{Type: mimi.SearchPhone, Value: "+4912345"}}, mimi.IdentifierUnsupported, nil},
		"another claim":      {[]q{{Type: mimi.SearchOIDCClaim, Name: "birthdate", Value: "2000"}}, mimi.IdentifierUnsupported, nil},
		"of an unknown type": {[]q{{Type: 99, Value: "ann"}}, mimi.IdentifierUnsupported, nil},
	} {
		resp, err := ids.Identify(t.Context(), pb, &mimi.IdentifierRequest{Elements: test.query})
		if err != nil || resp.Code != test.code || !slices.Equal(resp.Users, test.found) || len(resp.Profiles) != len(test.found) {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
	resp, err := ids.Identify(t.Context(), pa, &mimi.IdentifierRequest{Elements: []q{{Type: mimi.SearchNick, Value: "ann"}}})
	if err != nil || resp.Code != mimi.IdentifierForbidden || len(resp.Users) != 0 {
		t.Errorf("who may not: %+v, %v", resp, err)
	}
	for name, elements := range map[string][]q{"none": nil, "too many": make([]q, 17), "too long": {{Type: mimi.SearchNick, Value: strings.Repeat("x", 257)}}} {
		if _, err := ids.Identify(t.Context(), pb, &mimi.IdentifierRequest{Elements: elements}); !errors.Is(err, mimi.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
