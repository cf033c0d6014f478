package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mimigate/bridges"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// site is one of several organisations: a provider in a process of its own, with a MUC where somebody of it sits.
type site struct {
	t       *testing.T
	domain  string
	dir     string
	muc     string
	nick    string
	person  *servers.XMPPClient
	gateway *servers.Process
}

// clubRoom is hosted by the first site.
const clubRoom = "mimi://a.test/r/club"

// newSites makes the organisations, each with a MUC of its own on one XMPP server; their gateways do not run yet. All others are invited
// into the first one's room.
func newSites(t *testing.T, names ...string) []*site {
	t.Helper()
	o := servers.ProsodyOptions{Users: []string{"owner"}}
	for _, n := range names {
		o.Components = append(o.Components, servers.Component{JID: n + ".bridge.test", Secret: "secret of " + n})
		o.Users = append(o.Users, n)
	}
	prosody := servers.Prosody(t, o)
	owner := servers.Slix(t, prosody, "owner")
	var sites []*site
	for _, n := range names {
		s := &site{t: t, domain: n + ".test", dir: t.TempDir(), muc: n + "@" + prosody.MUC, nick: "person-of-" + n}
		w := &world{t: t, dir: s.dir, prosody: prosody, owner: owner}
		w.newMUC(n)
		if err := owner.Join(t.Context(), s.muc, "the owner", 0); err != nil {
			t.Fatal(err)
		}
		if err := owner.SetAffiliation(t.Context(), s.muc, "gateway@"+n+".bridge.test", "admin", ""); err != nil {
			t.Fatal(err)
		}
		if err := owner.Leave(t.Context(), s.muc); err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
		text := fmt.Sprintf(`
provider: {domain: %s, store: store, listen: %q}
federation: {url: "https://%s"}
accounts:
  - {id: xmpp, network: xmpp, address: %q, jid: %s.bridge.test, password: "file:secret"}
people:
  - {handle: %s, is: ["xmpp:%s@%s"]}
`, s.domain, address, address, prosody.Component, n, s.nick, n, prosody.Domain)
		if len(sites) == 0 {
			text += fmt.Sprintf("rooms:\n  - id: club\n    bind: [\"xmpp/%s\"]\n    invite: [%s]\n", s.muc, invited(names[1:]))
		}
		w.write("secret", "secret of "+n)
		w.write("config.yaml", text)
		s.person = servers.Slix(t, prosody, n)
		if err := s.person.Join(t.Context(), s.muc, s.nick, 0); err != nil {
			t.Fatal(err)
		}
		sites = append(sites, s)
	}
	return sites
}

// invited are the gateways of the other sites.
func invited(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf("%q", "mimi://"+n+".test/u/gateway"))
	}
	return strings.Join(all, ", ")
}

// peering gives f the peering of the site, whether its gateway runs or not.
func (s *site) peering(f func(*gateway.Peering) error) {
	s.t.Helper()
	c, err := config.Load(config.Options{Path: filepath.Join(s.dir, "config.yaml"), Drivers: bridges.Drivers(), Suites: gateway.Suites()})
	if err == nil {
		err = gateway.WithPeering(s.t.Context(), gateway.Options{Config: c, Drivers: bridges.Drivers()}, f)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// accept lets a site accept another one, and the other way round.
func (s *site) accept(other *site) {
	s.t.Helper()
	for _, side := range [][2]*site{{s, other}, {other, s}} {
		var text string
		side[0].peering(func(p *gateway.Peering) error {
			i, err := p.Invitation(s.t.Context())
			text = i.Text
			return err
		})
		side[1].peering(func(p *gateway.Peering) error {
			_, err := p.Accept(s.t.Context(), text, config.May{Invite: "allow", Search: "deny"})
			return err
		})
	}
}

// start runs the site's gateway.
func (s *site) start() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = servers.Start(s.t, servers.Command{Name: s.domain, Path: self, Dir: s.dir,
		Env: []string{serveEnv + "=" + filepath.Join(s.dir, "config.yaml")}, Ready: (&world{dir: s.dir}).ready})
}

// bind binds the site's MUC to the club, once its gateway is in it.
func (s *site) bind() {
	s.t.Helper()
	eventually(s.t, s.domain+" binds", func(ctx context.Context) error {
		c, err := gateway.Dial(ctx, filepath.Join(s.dir, "store"))
		if err != nil {
			return err
		}
		return errors.Join(c.Bind(ctx, clubRoom, "xmpp/"+s.muc, config.Both), c.Close())
	})
	eventually(s.t, s.domain+" is in the room", func(ctx context.Context) error {
		status, err := (&world{dir: s.dir}).status(ctx)
		if err != nil {
			return err
		}
		for _, r := range status.Rooms {
			if r.Room == clubRoom && r.Problem == "" && len(r.Bindings) == 1 && r.Bindings[0].Open {
				return nil
			}
		}
		return fmt.Errorf("%+v", status.Rooms)
	})
}

// says lets the site's person say something, and returns it as the MUC shows it.
func (s *site) says(m servers.XMPPMessage) servers.Stanza {
	s.t.Helper()
	return (&world{t: s.t, muc: s.muc}).group(s.person, m)
}

// sees waits until the site's MUC shows something by the person of another.
func (s *site) sees(by *site, what string, match func(servers.Stanza) bool) servers.Stanza {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	got, err := s.person.WaitFor(ctx, func(x servers.Stanza) bool { return x.From == s.muc+"/"+by.nick && match(x) })
	if err != nil {
		s.t.Fatalf("%s does not see %s of %s: %v\n%s", s.domain, what, by.domain, err, s.transcript())
	}
	return got
}

// transcript is what the site's MUC has shown.
func (s *site) transcript() string {
	var lines []string
	for _, x := range s.person.Events() {
		if x.Kind == "message" && x.Body != "" {
			lines = append(lines, x.From+": "+x.Body)
		}
	}
	return strings.Join(lines, "\n")
}

// TestProviders lets people of two organisations meet, and then of three, each with a gateway in a process of its own: over real mutual
// TLS, while each of the gateways is killed and restarted.
func TestProviders(t *testing.T) {
	sites := newSites(t, "a", "b", "c")
	a, b, c := sites[0], sites[1], sites[2]
	a.accept(b)
	a.start()
	b.start()
	b.bind()

	// Two.
	hello := a.says(servers.XMPPMessage{Body: "Hello from a"})
	seen := b.sees(a, "a message", groupBody("Hello from a"))
	b.says(servers.XMPPMessage{Body: "Hello from b"})
	a.sees(b, "a message", groupBody("Hello from b"))
	a.says(servers.XMPPMessage{Body: "Hello all", Replace: hello.ID})
	b.sees(a, "an edit", func(x servers.Stanza) bool { return x.Body == "Hello all" && x.Replace == seen.ID })
	b.says(servers.XMPPMessage{ReactionsTo: seen.StanzaID, Reactions: []string{"👍"}})
	a.sees(b, "a reaction", func(x servers.Stanza) bool {
		return x.ReactionsTo == hello.StanzaID && slices.Equal(x.Reactions, []string{"👍"})
	})

	// Three: the third is accepted and invited while the others run.
	c.start()
	a.accept(c)
	c.bind()
	for _, from := range sites {
		from.says(servers.XMPPMessage{Body: "Three with " + from.domain})
		for _, to := range sites {
			if to != from {
				to.sees(from, "a message", groupBody("Three with "+from.domain))
			}
		}
	}

	// Each in turn is killed while the others talk.
	for _, down := range sites {
		down.gateway.Kill()
		for _, from := range sites {
			for i := range 5 {
				from.says(servers.XMPPMessage{Body: fmt.Sprintf("%d of %s without %s", i, from.domain, down.domain)})
			}
		}
		down.gateway.Restart()
		for _, from := range sites {
			for _, to := range sites {
				for i := 0; i < 5 && to != from; i++ {
					to.sees(from, "a message", groupBody(fmt.Sprintf("%d of %s without %s", i, from.domain, down.domain)))
				}
			}
		}
	}

	// Who leaves is seen to leave.
	if err := c.person.Leave(t.Context(), c.muc); err != nil {
		t.Fatal(err)
	}
	a.sees(c, "leaving", func(x servers.Stanza) bool { return x.Kind == "presence" && x.Type == "unavailable" })
	for _, s := range sites[:2] {
		s.checkOnce(sites)
	}
}

// checkOnce checks that everything was shown once, and that of each person in its order.
func (s *site) checkOnce(sites []*site) {
	s.t.Helper()
	count, last := map[string]int{}, map[string]string{}
	for _, x := range s.person.Events() {
		if x.Kind != "message" || x.Type != "groupchat" || !strings.Contains(x.Body, " of ") || x.Delay != "" {
			continue
		}
		count[x.From+": "+x.Body]++
		number, group, _ := strings.Cut(x.Body, " of ")
		if before := last[group]; before >= number {
			s.t.Errorf("%s: %s after %s of %s", s.domain, number, before, group)
		}
		last[group] = number
	}
	for what, n := range count {
		if n != 1 {
			s.t.Errorf("%s: %d times %s", s.domain, n, what)
		}
	}
	if want := len(sites) * len(sites) * 5; len(count) != want {
		s.t.Errorf("%s: %d messages, want %d:\n%s", s.domain, len(count), want, s.transcript())
	}
}
