package identity_test

import (
	"testing"
	"time"

	"mimigate/core/identity"
	"mimigate/core/store"
	"mimigate/core/uri"
)

func TestPermissions(t *testing.T) {
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
	now := time.UnixMilli(1790000000000)
	p := &identity.Permissions{Store: s, Now: func() time.Time { now = now.Add(time.Second); return now }}
	user := func(text string) uri.User {
		u, err := uri.ParseUser(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	room := func(name string) uri.Room {
		r, err := uri.ParseRoom("mimi://b.example/r/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ann, bob := user("mimi://a.example/u/ann"), user("mimi://b.example/u/bob")
	scope := func(r uri.Room) identity.Scope { return identity.Scope{Requester: bob, Target: ann, Room: r} }
	anywhere, club, attic := scope(uri.Room{}), scope(room("club")), scope(room("attic"))
	judged := func(what string, s identity.Scope, want identity.Verdict) {
		t.Helper()
		if got, err := p.Judge(t.Context(), s); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := func(what string, s identity.Scope, want bool) {
		t.Helper()
		if got, err := p.Ask(t.Context(), s); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	judged("never asked", club, identity.NotAgreed)
	asked("first", club, true)
	asked("again", club, false)
	judged("asked is not agreed", club, identity.NotAgreed)
	if ok, err := p.Cancel(t.Context(), attic); err != nil || ok {
		t.Errorf("a question that was not asked is cancelled: %v, %v", ok, err)
	}
	if ok, err := p.Cancel(t.Context(), anywhere); err != nil || ok {
		t.Errorf("a question of another scope is cancelled: %v, %v", ok, err)
	}
	if ok, err := p.Cancel(t.Context(), club); err != nil || !ok {
		t.Errorf("cancelled: %v, %v", ok, err)
	}
	asked("once more", club, true)
	asked("for another room", attic, true)
	if list, err := p.Waiting(t.Context(), ann); err != nil || len(list) != 2 || list[0].Scope != club || list[1].Scope != attic {
		t.Errorf("%v, %v", list, err)
	}
	done(p.Answer(t.Context(), club, true))
	judged("for this room", club, identity.Agreed)
	judged("for another", attic, identity.AgreedElsewhere)
	judged("for none in particular", anywhere, identity.AgreedElsewhere)
	judged("the other way round", identity.Scope{Requester: ann, Target: bob, Room: club.Room}, identity.NotAgreed)
	if ok, err := p.Cancel(t.Context(), club); err != nil || ok {
		t.Errorf("an answer is cancelled: %v, %v", ok, err)
	}
	asked("what was answered", club, false)
	done(p.Answer(t.Context(), club, false))
	judged("taken back", club, identity.Refused)
	done(p.Answer(t.Context(), anywhere, true)) // answers the question about the attic too
	judged("for any", attic, identity.Agreed)
	judged("but not for that one", club, identity.Refused)
	if list, err := p.Waiting(t.Context(), ann); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	done(p.Answer(t.Context(), attic, true))
	done(p.Answer(t.Context(), anywhere, false)) // ends all
	judged("nowhere", attic, identity.Refused)
	judged("nowhere at all", anywhere, identity.Refused)
	asked("of somebody who wants none of it", attic, false)
	done(p.Answer(t.Context(), club, true))
	judged("again", club, identity.Agreed)

	for i := range 150 { // a stranger asks without end
		_, err := p.Ask(t.Context(), identity.Scope{Requester: user("mimi://c.example/u/eve"), Target: ann, Room: room(string(rune('a'+i%26)) + string(rune('a'+i/26)))})
		done(err)
	}
	if list, err := p.Waiting(t.Context(), ann); err != nil || len(list) != 100 {
		t.Errorf("%d questions wait, %v", len(list), err)
	}
}
