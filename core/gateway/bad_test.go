package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

const withMistakes = `
provider: {domain: north.example, store: store}
accounts:
  - {id: left, network: left}
  - {id: right, network: right}
  - {id: locked, network: right, user: locked, password: "file:wrong"}
  - {id: wrong, network: right, mode: other}
  - {id: unread, network: right, password: "file:missing"}
rooms:
  - id: both
    name: Both
    bind: [left/room, right/room]
  - id: lost
    bind: [left/nowhere, locked/other, wrong/room, unread/room]
`

// TestMistakes: a room that does not exist, a wrong password, and accounts that cannot be used are each told, by their line and what to do;
// everything else runs.
func TestMistakes(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	n["right"].Register("locked", "secret")
	dir := t.TempDir()
	writeFile(t, dir, "wrong", "not the secret")
	g := start(t, load(t, dir, withMistakes, drivers), drivers)
	g.opened("left/room", "right/room")
	ann := n.join(t, "left", "Ann")
	must(t)(ann.Say("Hello"))
	n.sees(t, "right", "Ann", "Hello")
	for _, want := range []struct{ account, state, says string }{
		{"left", "connected", ""},
		{"locked", "rejected", "password"},
		{"wrong", "rejected", "config.yaml:7: mode: must be names or bot"},
		{"unread", "rejected", "config.yaml:8: "},
	} {
		eventually(t, want.account, func(ctx context.Context) error {
			s, err := g.Status(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(s.Accounts, func(a gateway.AccountStatus) bool { return a.ID == want.account })
			if a := s.Accounts[i]; a.State != want.state || !strings.Contains(a.Reason, want.says) || want.says != "" && a.Do == "" {
				return fmt.Errorf("got %+v, want %+v", a, want)
			}
			return nil
		})
	}
	eventually(t, "the chats", func(ctx context.Context) error {
		s, err := g.Status(ctx)
		if err != nil {
			return err
		}
		for _, r := range s.Rooms {
			for _, b := range r.Bindings {
				if working := r.Name == "Both"; b.Open != working || (b.Problem == "") != working {
					return fmt.Errorf("%s: %+v", r.Name, b)
				}
			}
		}
		if len(s.Rooms) != 2 || len(s.Rooms[1].Bindings) != 4 {
			return fmt.Errorf("got %+v", s.Rooms)
		}
		return nil
	})
}

// TestPasswordMended: an account that was rejected is tried again once somebody says that they have acted.
func TestPasswordMended(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	n["right"].Register("locked", "secret")
	dir := t.TempDir()
	writeFile(t, dir, "wrong", "not the secret")
	c := load(t, dir, withMistakes, drivers)
	start(t, c, drivers)
	var client *gateway.Client
	eventually(t, "the socket", func(ctx context.Context) (err error) {
		client, err = gateway.Dial(ctx, c.Provider.Files)
		return err
	})
	defer client.Close()
	if err := client.Connected(t.Context(), "locked"); err == nil || !strings.Contains(err.Error(), "password") {
		t.Fatalf("got %v", err)
	}
	n["right"].Register("locked", "not the secret")
	if err := client.Connected(t.Context(), "locked"); err != nil {
		t.Error(err)
	}
	if _, err := client.Open(t.Context(), config.Chat{Account: "locked", ID: "nowhere"}); err == nil || !strings.Contains(err.Error(), "no such room") {
		t.Errorf("got %v", err)
	}
	if err := client.Connected(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), "no account nobody") {
		t.Errorf("got %v", err)
	}
}

const oneOfTwo = `
provider: {domain: %[1]s.example, store: store}
accounts:
  - {id: own, network: %[1]s}
  - {id: shared, network: shared, user: gateway-%[1]s}
rooms:
  - id: both
    bind: [own/room, shared/room]
`

// TestTwoGateways: two gateways that do not know of each other, in one native room: what one shows there the other passes on, once, and
// nothing comes back.
func TestTwoGateways(t *testing.T) {
	n, drivers := newNetworks("left", "right", "shared")
	for _, side := range []string{"left", "right"} {
		start(t, load(t, t.TempDir(), fmt.Sprintf(oneOfTwo, side), drivers), drivers).opened("own/room", "shared/room")
	}
	ann, bob, cem := n.join(t, "left", "Ann"), n.join(t, "right", "Bob"), n.join(t, "shared", "Cem")
	ok := must(t)
	ok(cem.Say("from the middle"))
	n.sees(t, "left", "Cem", "from the middle")
	n.sees(t, "right", "Cem", "from the middle")
	ok(ann.Say("from the left"))
	n.sees(t, "right", "Ann", "from the left")
	ok(bob.Say("from the right")) // what comes back of the messages before would come before it
	n.sees(t, "left", "Bob", "from the right")
	for name := range n {
		var texts []string
		for _, m := range n[name].Messages("room") {
			texts = append(texts, m.Text)
		}
		slices.Sort(texts)
		if want := []string{"from the left", "from the middle", "from the right"}; !slices.Equal(texts, want) {
			t.Errorf("%s shows %q", name, texts)
		}
	}
}
