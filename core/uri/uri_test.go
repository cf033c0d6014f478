package uri

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseNormalises(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"mimi://example.com/u/alice", "mimi://example.com/u/alice"},
		{"MIMI://Example.COM/u/Alice", "mimi://example.com/u/Alice"},
		{"mimi://example.com/u/%61lice%2d%7E", "mimi://example.com/u/alice-~"},
		{"mimi://example.com/%75/a", "mimi://example.com/u/a"},
		{"mimi://example.com/u/a%2fb%c3%a4", "mimi://example.com/u/a%2Fb%C3%A4"},
		{"mimi://example.com/u/a@b:c;d", "mimi://example.com/u/a@b:c;d"},
		{"mimi://xn--bcher-kva.example/p/Zm9v", "mimi://xn--bcher-kva.example/p/Zm9v"},
		{"mimi://localhost/u/a/b", "mimi://localhost/u/a/b"},
	} {
		u, err := ParseUser(c.in)
		if err != nil || u.String() != c.want {
			t.Errorf("ParseUser(%q) = %q, %v; want %q", c.in, u, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", ErrScheme},
		{"mimi:", ErrScheme},
		{"https://example.com/u/a", ErrScheme},
		{"mimi:///u/a", ErrHost},
		{"mimi://example.com:443/u/a", ErrHost},
		{"mimi://bob@example.com/u/a", ErrHost},
		{"mimi://exa_mple.com/u/a", ErrHost},
		{"mimi://example.com./u/a", ErrHost},
		{"mimi://-a.com/u/a", ErrHost},
		{"mimi://127.0.0.1/u/a", ErrHost},
		{"mimi://[::1]/u/a", ErrHost},
		{"mimi://\u212aelvin.com/u/a", ErrHost},
		{"mimi://" + strings.Repeat("a", 64) + ".com/u/a", ErrHost},
		{"mimi://example.com?x/u/a", ErrHost},
		{"mimi://example.com", ErrKind},
		{"mimi://example.com/", ErrKind},
		{"mimi://example.com/r/a", ErrKind},
		{"mimi://example.com/U/a", ErrKind},
		{"mimi://example.com/users/a", ErrKind},
		{"mimi://example.com/u", ErrPath},
		{"mimi://example.com/u/", ErrPath},
		{"mimi://example.com/u/a/", ErrPath},
		{"mimi://example.com/u//a", ErrPath},
		{"mimi://example.com/u/..", ErrPath},
		{"mimi://example.com/u/%2e%2E", ErrPath},
		{"mimi://example.com/u/a?b", ErrPath},
		{"mimi://example.com/u/a#b", ErrPath},
		{"mimi://example.com/u/a b", ErrPath},
		{"mimi://example.com/u/ä", ErrPath},
		{"mimi://example.com/u/a%2", ErrPath},
		{"mimi://example.com/u/a%zz", ErrPath},
		{"mimi://example.com/u/a%0a", ErrPath},
		{"mimi://example.com/u/" + strings.Repeat("a", MaxLen), ErrTooLong},
	} {
		if u, err := ParseUser(c.in); !errors.Is(err, c.want) || !u.IsZero() {
			t.Errorf("ParseUser(%.60q) = %q, %v; want %v", c.in, u, err, c.want)
		}
	}
}

func TestKinds(t *testing.T) {
	parsers := map[string]func(string) (string, error){
		"u": func(s string) (string, error) { v, err := ParseUser(s); return v.String(), err },
		"p": func(s string) (string, error) { v, err := ParseUser(s); return v.String(), err },
		"d": func(s string) (string, error) { v, err := ParseClient(s); return v.String(), err },
		"r": func(s string) (string, error) { v, err := ParseRoom(s); return v.String(), err },
		"g": func(s string) (string, error) { v, err := ParseGroup(s); return v.String(), err },
		"":  func(s string) (string, error) { v, err := ParseProvider(s); return v.String(), err },
	}
	same := func(a, b string) bool { return a == b || a+b == "up" || a+b == "pu" }
	for letter, parse := range parsers {
		for other := range parsers {
			s := "mimi://a.example"
			if other != "" {
				s += "/" + other + "/x"
			}
			got, err := parse(s)
			if same(letter, other) && (err != nil || got != s) {
				t.Errorf("parser %q: %q: %q, %v", letter, s, got, err)
			}
			if !same(letter, other) && !errors.Is(err, ErrKind) {
				t.Errorf("parser %q: %q: %v, want ErrKind", letter, s, err)
			}
		}
	}
	if p, err := ParseProvider("mimi://A.example/"); err != nil || p.String() != "mimi://a.example" {
		t.Errorf("provider with a slash: %q, %v", p, err)
	}
}

func TestBuild(t *testing.T) {
	p, err := NewProvider("Chat.Example.org")
	if err != nil || p.Domain() != "chat.example.org" {
		t.Fatalf("NewProvider: %q, %v", p, err)
	}
	u, err := p.User("@fox:example.org/ä")
	if err != nil || u.String() != "mimi://chat.example.org/u/%40fox%3Aexample.org%2F%C3%A4" {
		t.Errorf("User: %q, %v", u, err)
	}
	if got := u.Segments(); !slices.Equal(got, []string{"@fox:example.org/ä"}) {
		t.Errorf("Segments: %q", got)
	}
	if u.Provider() != p || u.Pseudonym() {
		t.Errorf("Provider %q, pseudonym %v", u.Provider(), u.Pseudonym())
	}
	c, err := p.Client("alice", "phone")
	if err != nil || c.String() != "mimi://chat.example.org/d/alice/phone" {
		t.Errorf("Client: %q, %v", c, err)
	}
	if owner, ok := c.User(); !ok || owner.String() != "mimi://chat.example.org/u/alice" {
		t.Errorf("Client.User: %q, %v", owner, ok)
	}
	opaque, err := ParseClient("mimi://a.example/d/3b52249d")
	if owner, ok := opaque.User(); err != nil || ok {
		t.Errorf("opaque client: %q, %v, %v", owner, ok, err)
	}
	if r, err := p.Room("team"); err != nil || r.String() != "mimi://chat.example.org/r/team" {
		t.Errorf("Room: %q, %v", r, err)
	}
	if g, err := p.Group("team"); err != nil || g.String() != "mimi://chat.example.org/g/team" {
		t.Errorf("Group: %q, %v", g, err)
	}
	for _, bad := range [][]string{nil, {""}, {".."}, {"a\n"}} {
		if u, err := p.User(bad...); !errors.Is(err, ErrPath) {
			t.Errorf("User(%q) = %q, %v", bad, u, err)
		}
	}
	if _, err := p.User(strings.Repeat("ä", MaxLen/4)); !errors.Is(err, ErrTooLong) {
		t.Errorf("long segment: %v", err)
	}
	if _, err := (Provider{}).User("a"); !errors.Is(err, ErrHost) {
		t.Errorf("user of no provider: %v", err)
	}
	if _, err := NewProvider("a.example/u/b"); !errors.Is(err, ErrKind) {
		t.Errorf("provider with a path: %v", err)
	}
}

func TestText(t *testing.T) {
	type record struct {
		User User
		Room Room
	}
	in := record{}
	if err := json.Unmarshal([]byte(`{"User":"mimi://A.example/u/b","Room":""}`), &in); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(in)
	if err != nil || string(out) != `{"User":"mimi://a.example/u/b","Room":""}` {
		t.Fatalf("%s, %v", out, err)
	}
	before := in
	if err := json.Unmarshal([]byte(`{"User":"mimi://a.example/r/b"}`), &in); !errors.Is(err, ErrKind) || in != before {
		t.Errorf("bad text: %v, value now %v", err, in)
	}
}

func TestErrorsDoNotQuote(t *testing.T) {
	for _, s := range []string{"mimi://sec ret.example/u/a", "mimi://a.example/u/sec ret", "mimi://a.example/r/secret", "secret"} {
		if _, err := ParseUser(s); err == nil || strings.Contains(err.Error(), "ret") {
			t.Errorf("ParseUser(%q): %v", s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"mimi://a.example/u/b", "MIMI://A/p/%7e%2F", "mimi://a.example", "mimi://a/d/b/c", "mimi://a/u/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parse(s)
		if err != nil {
			return
		}
		again, err := parse(a.String())
		if err != nil || again != a {
			t.Fatalf("%q: normal form %q parses to %q, %v", s, a, again, err)
		}
		if len(a.text) > len(s) {
			t.Fatalf("%q grew to %q", s, a)
		}
		u, err := ParseUser(s)
		if err != nil {
			return
		}
		if u.Pseudonym() {
			return
		}
		if built, err := u.Provider().User(u.Segments()...); err == nil {
			if !slices.Equal(built.Segments(), u.Segments()) {
				t.Fatalf("%q: rebuilt as %q", u, built)
			}
		} else if !errors.Is(err, ErrTooLong) {
			t.Fatalf("%q: rebuild: %v", u, err)
		}
	})
}
