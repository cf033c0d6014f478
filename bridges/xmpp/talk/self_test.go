package talk

import (
	"strings"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

func us(t testing.TB) Self {
	t.Helper()
	p, err := uri.NewProvider("chat.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return Self{Component: true, Domain: "bridge.example.org", JID: "gateway@bridge.example.org", Provider: p, Secret: "secret"}
}

func user(t testing.TB, s string) uri.User {
	t.Helper()
	u, err := uri.ParseUser(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestAddresses: the addresses that we show our people by, and back.
func TestAddresses(t *testing.T) {
	self := us(t)
	for address, want := range map[string]string{
		"anna@bridge.example.org/mimigate":                          "mimi://chat.example.org/u/anna",
		`ben\40other.example@bridge.example.org/mimigate`:           "mimi://other.example/u/ben",
		"%41nna@bridge.example.org/mimigate":                        "mimi://chat.example.org/u/Anna",
		`chat.example.org\2fp\2f%5am9v@bridge.example.org/mimigate`: "mimi://chat.example.org/p/Zm9v",
		`other.example\2fu\2fa\2fb@bridge.example.org/mimigate`:     "mimi://other.example/u/a/b",
		"%c3%a4%25%20%2f@bridge.example.org/mimigate":               "mimi://chat.example.org/u/%C3%A4%25%20%2F",
	} {
		u := user(t, want)
		if got := self.AddressOf(u); got != address {
			t.Errorf("AddressOf(%s) = %q, want %q", want, got, address)
		}
		if got, err := self.PersonAt(strings.TrimSuffix(address, "/mimigate")); err != nil || got != u {
			t.Errorf("PersonAt(%q) = %v, %v", address, got, err)
		}
	}
	if got := self.AddressOf(uri.User{}); got != "gateway@bridge.example.org/mimigate" {
		t.Errorf("the gateway is %q", got)
	}
	for _, nobody := range []string{`a\40b\40c@bridge.example.org`, `a\2fx\2fb@bridge.example.org`, "..@bridge.example.org", `x\40-@bridge.example.org`} {
		if got, err := self.PersonAt(nobody); err == nil {
			t.Errorf("PersonAt(%q) = %v", nobody, got)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	self := us(f)
	f.Add("anna", "chat.example.org")
	f.Add("Ä%/\\@ b", "other.example")
	f.Fuzz(func(t *testing.T, name, domain string) {
		p, err := uri.NewProvider(domain)
		if err != nil {
			return
		}
		u, err := p.User(name)
		if err != nil {
			return
		}
		address := self.AddressOf(u)
		local, _, _ := strings.Cut(address, "@")
		if strings.ToLower(local) != local || strings.ContainsAny(local, " \"&'/:<>@") {
			t.Fatalf("%v has the local part %q", u, local)
		}
		if got, err := self.PersonAt(address[:strings.LastIndexByte(address, '/')]); err != nil || got != u {
			if u.String() != "mimi://chat.example.org/u/gateway" {
				t.Fatalf("%v is %q, which is %v, %v", u, address, got, err)
			}
		}
	})
}

// TestOwnIDs: we know our own messages by their ids, and nobody else's.
func TestOwnIDs(t *testing.T) {
	self, other := us(t), us(t)
	other.JID = "gateway@other.example.org"
	c := adapter.Conversation("room@muc.example.org")
	for _, viaGateway := range []bool{false, true} {
		id := self.OwnID(c, "KEY", 1, 2, viaGateway)
		if own, g := self.IsOwnID(c, id); !own || g != viaGateway {
			t.Errorf("%q: %v, %v", id, own, g)
		}
		if id != self.OwnID(c, "KEY", 1, 2, viaGateway) || id == self.OwnID(c, "KEY", 1, 3, viaGateway) || id == self.OwnID(c, "KEY", 1, 2, !viaGateway) {
			t.Errorf("%q is not made of key, part, piece and name", id)
		}
		for _, bad := range []string{id + "0", "x" + id, "", "-", "KEY-1-2"} {
			if own, _ := self.IsOwnID(c, bad); own {
				t.Errorf("%q is taken for ours", bad)
			}
		}
		if own, _ := self.IsOwnID("elsewhere@muc.example.org", id); own {
			t.Error("ours in another room")
		}
		if own, _ := other.IsOwnID(c, id); own {
			t.Error("of another account with the same secret")
		}
	}
}

func TestConversations(t *testing.T) {
	self := us(t)
	c := Direct("anna@bridge.example.org", "ben@xmpp.example")
	if c != Direct("ben@xmpp.example", "anna@bridge.example.org") {
		t.Error("a chat has two names")
	}
	if ours, theirs, ok := self.ChatOf(c); !ok || ours != "anna@bridge.example.org" || theirs != "ben@xmpp.example" {
		t.Error(ours, theirs, ok)
	}
	for _, none := range []adapter.Conversation{"", "room@muc.example.org", "a@x.example b@y.example"} {
		if _, _, ok := self.ChatOf(none); ok {
			t.Errorf("%q is taken for a chat of ours", none)
		}
	}
}

func TestNicks(t *testing.T) {
	for name, want := range map[string]string{
		"Anna":                          "Anna (b.example)",
		"  Anna \t B. ":                 "Anna B. (b.example)",
		"":                              "? (b.example)",
		"\u202eannA\u202c\x00":          "annA (b.example)",
		"👩‍🚀 Zoë":                       "👩🚀 Zoë (b.example)",
		strings.Repeat("ä", 300):        strings.Repeat("ä", maxNick) + " (b.example)",
		"a\xffb":                        "ab (b.example)",
		"line\nends\r\nand\u2028others": "line ends and others (b.example)",
	} {
		if got := Nicks(name, "b.example"); got[1] != want || got[0]+" (b.example)" != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	if got := Nicks("👩‍🚀 Zoë", "b.example"); got[len(got)-2] != "Zoë" {
		t.Errorf("no plain nick for old servers: %q", got)
	}
}

func TestIDs(t *testing.T) {
	if s, ok := StampOf(Stamped("x y")); !ok || s != "x y" {
		t.Error(s, ok)
	}
	if s, ok := GivenOf(Given("x y")); !ok || s != "x y" {
		t.Error(s, ok)
	}
	if _, ok := GivenOf(Stamped("x")); ok || Native(Given("a")) != "a" || Native(Stamped("b")) != "b" {
		t.Error("kinds of ids are mixed up")
	}
	long := strings.Repeat("x", 10_000)
	if id := Given(long); len(id) > 200 || id != Given(long) || id == Given(long+"y") {
		t.Errorf("a long id becomes %q", id)
	}
	if j, ok := RealJID("a@b.example"); !ok || j != "a@b.example" {
		t.Error(j, ok)
	}
	for _, id := range []adapter.PersonID{OccupantPerson("room@muc", "id@x"), NickPerson("room@muc", "1", "nick")} {
		if j, ok := RealJID(id); ok {
			t.Errorf("%q is taken for the JID %q", id, j)
		}
	}
}
