package store

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"mimigate/core/hub"
	"mimigate/core/identity"
	"mimigate/core/uri"
)

func TestHubPlace(t *testing.T) { both(t, testHubPlace) }

func testHubPlace(t *testing.T, o Options) {
	ctx := t.Context()
	s := open(t, o)
	room := testRoom(t)
	parent, err := uri.ParseRoom("mimi://chat.example.org/r/b")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, children, fixed int, host bool) {
		t.Helper()
		a, err1 := s.HubChildren(ctx, parent)
		b, err2 := s.HubRoomsOf(ctx, []byte{1})
		c, err3 := s.HubAssetHost(ctx, "files.example.org")
		if err1 != nil || err2 != nil || err3 != nil || len(a) != children || len(b) != fixed || c != host {
			t.Errorf("%s: %v %v %v (%v %v %v)", what, a, b, c, err1, err2, err3)
		}
	}
	check("at first", 0, 0, false)
	if err := s.PutHubPlace(ctx, room, hub.Place{Parent: parent.String(), Membership: []byte{1}, Hosts: []string{"a.example", "files.example.org"}}, time.UnixMilli(1)); err != nil {
		t.Fatal(err)
	}
	check("put", 1, 1, true)
	if err := s.PutHubPlace(ctx, room, hub.Place{Hosts: []string{"a.example"}}, time.UnixMilli(2)); err != nil {
		t.Fatal(err)
	}
	check("changed", 0, 0, false)
	if list, err := s.HubRoomsOf(ctx, nil); err != nil || len(list) != 0 {
		t.Errorf("rooms without a fixed membership: %v, %v", list, err)
	}
	closed(t, s)
}

func TestHubReports(t *testing.T) { both(t, testHubReports) }

func testHubReports(t *testing.T, o Options) {
	ctx := t.Context()
	s := open(t, o)
	from, err := uri.NewProvider("b.example")
	if err != nil {
		t.Fatal(err)
	}
	secret := "what was said, seen nowhere on disk"
	for i, note := range []string{"first", "second", "third"} {
		r := &hub.Report{Room: testRoom(t), From: from, Accused: "mimi://b.example/u/b", Reason: uint8(i), Note: note, At: time.UnixMilli(int64(i)),
			Messages: []hub.Reported{{Content: []byte(secret), Accepted: 7, Proven: i == 1}}}
		if err := s.PutHubReport(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.HubReports(ctx, 2)
	if err != nil || len(list) != 2 || list[0].Note != "third" || list[1].Note != "second" || !list[1].Messages[0].Proven || list[0].Messages[0].Proven ||
		list[1].Reason != 1 || list[1].From != from || !list[1].At.Equal(time.UnixMilli(1)) || !slices.Equal(list[1].Messages[0].Content, []byte(secret)) ||
		bytes.Contains([]byte(list[0].Note), []byte("first")) {
		t.Errorf("%+v, %v", list, err)
	}
	if file := onDisk(t, s, secret); file != "" {
		t.Errorf("a reported message stands in %s", file)
	}
	closed(t, s)
}

func TestHubLinks(t *testing.T) { both(t, testHubLinks) }

func testHubLinks(t *testing.T, o Options) {
	ctx := t.Context()
	s := open(t, o)
	room := testRoom(t)
	bob, err := uri.ParseUser("mimi://b.example/u/bob")
	if err != nil {
		t.Fatal(err)
	}
	put := func(at int64, links ...string) {
		t.Helper()
		if err := s.PutHubPlace(ctx, room, hub.Place{Links: links}, time.UnixMilli(at)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(link string, made int64, guest string) {
		t.Helper()
		l, ok, err := s.HubLink(ctx, room, link)
		if err != nil || ok != (made > 0) || ok && (l.Made.UnixMilli() != made || l.Guest != guest) {
			t.Errorf("%s: %+v, %v, %v", link, l, ok, err)
		}
	}
	put(1, "x", "y")
	put(2, "y", "z")
	check("x", 0, "")
	check("y", 1, "")
	check("z", 2, "")
	for _, link := range []string{"y", "z"} {
		if err := s.PutHubGuest(ctx, room, bob, link); err != nil {
			t.Fatal(err)
		}
	}
	if link, err := s.HubGuest(ctx, room, bob); err != nil || link != "z" {
		t.Errorf("%q, %v", link, err)
	}
	if err := s.UseHubLink(ctx, room, "z", bob); err != nil {
		t.Fatal(err)
	}
	check("z", 2, bob.String())
	if link, err := s.HubGuest(ctx, room, bob); err != nil || link != "" {
		t.Errorf("%q, %v", link, err)
	}
	if err := s.PutHubGuest(ctx, room, bob, "y"); err != nil {
		t.Fatal(err)
	}
	put(3)
	check("y", 0, "")
	if link, err := s.HubGuest(ctx, room, bob); err != nil || link != "" {
		t.Errorf("of a link that is gone: %q, %v", link, err)
	}
	closed(t, s)
}

func TestConsentRows(t *testing.T) { both(t, testConsentRows) }

func testConsentRows(t *testing.T, o Options) {
	ctx := t.Context()
	s := open(t, o)
	user := func(text string) uri.User {
		u, err := uri.ParseUser(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	ann, bob := user("mimi://chat.example.org/u/ann"), user("mimi://b.example/u/bob")
	anywhere := identity.Scope{Requester: bob, Target: ann}
	one := identity.Scope{Requester: bob, Target: ann, Room: testRoom(t)}
	for i, p := range []identity.Permission{{Scope: anywhere, State: identity.Asked}, {Scope: one, State: identity.Granted}, {Scope: one, State: identity.Asked}} {
		p.At = time.UnixMilli(int64(i))
		if err := s.PutPermission(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string]func() ([]identity.Permission, error){
		"between": func() ([]identity.Permission, error) { return s.PermissionsBetween(ctx, bob, ann) },
		"asked":   func() ([]identity.Permission, error) { return s.PermissionsAsked(ctx, ann) },
		"all":     func() ([]identity.Permission, error) { return s.PermissionsAsked(ctx, uri.User{}) },
	} {
		if list, err := got(); err != nil || len(list) != 2 || list[0].Scope != anywhere || list[1].Scope != one || list[1].State != identity.Asked || list[1].At.UnixMilli() != 2 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	if err := s.DropPermission(ctx, anywhere); err != nil {
		t.Fatal(err)
	}
	if list, err := s.PermissionsBetween(ctx, bob, ann); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for _, entry := range []string{"one", "two"} {
		if err := s.PutConsentEntry(ctx, bob.Provider(), []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := s.ConsentEntriesTo(ctx); err != nil || len(to) != 1 || to[0] != bob.Provider() {
		t.Errorf("%v, %v", to, err)
	}
	for _, want := range []string{"one", "two", ""} {
		n, entry, ok, err := s.NextConsentEntry(ctx, bob.Provider())
		if err != nil || ok != (want != "") || string(entry) != want {
			t.Errorf("%q, %v, %v", entry, ok, err)
		}
		if err := s.DropConsentEntry(ctx, bob.Provider(), n); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"Oma Inge", "100%_\\", "Kim"} {
		p := identity.Person{User: user("mimi://chat.example.org/u/p" + string(rune('0'+i))), Name: name, Consent: identity.Consented}
		if i == 2 {
			p.Consent = identity.Noticed
		}
		if err := s.PutPerson(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	for part, want := range map[string]int{"inge": 1, "%": 1, "_": 1, "\\": 1, "": 2, "kim": 0} {
		if list, err := s.PersonsFound(ctx, part, identity.Consented, 10); err != nil || len(list) != want {
			t.Errorf("%q: %v, %v", part, list, err)
		}
	}
	if list, err := s.PersonsFound(ctx, "", identity.Consented, 1); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	closed(t, s)
}
