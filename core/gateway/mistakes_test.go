package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mimigate/core/gateway"
)

// TestMistakesOnServers: a wrong token on Synapse, a wrong secret on Prosody and rooms that do not exist there are each told by their
// account or room, with what to do; the room of both servers beside them works.
func TestMistakesOnServers(t *testing.T) {
	w := newWorld(t)
	w.write("wrong", "not the secret")
	accounts := fmt.Sprintf(`  - {id: wrong-token, network: matrix, mode: bot, homeserver: %q, token: "file:wrong"}
  - {id: wrong-secret, network: xmpp, address: %q, jid: %s, password: "file:wrong"}
rooms:`, w.synapse.URL, w.prosody.Component, componentJID)
	w.config = strings.Replace(w.config, "rooms:", accounts, 1) + fmt.Sprintf(`  - id: lost
    bind: ["matrix-home/#nowhere:hs.test", "xmpp-home/nowhere@other.xmpp.test", "wrong-token/%s", "wrong-secret/%s"]
`, w.room, w.muc)
	w.write("config.yaml", w.config)
	w.serve(func(ctx context.Context) error { _, err := w.status(ctx); return err })

	alice, bob := w.matrix("alice", "Alice"), w.xmpp("bob", "Bob")
	ok, ctx := must(t), t.Context()
	w.becomes("the rooms", func(s gateway.Status) error {
		for _, b := range s.Rooms[0].Bindings {
			if !b.Open {
				return fmt.Errorf("%s: not open: %s", b.Chat, b.Problem)
			}
		}
		for _, b := range s.Rooms[1].Bindings {
			if b.Open || b.Problem == "" {
				return fmt.Errorf("%s: open %v, problem %q", b.Chat, b.Open, b.Problem)
			}
		}
		return nil
	})
	for account, says := range map[string]string{"wrong-token": "token", "wrong-secret": "secret"} {
		w.becomes(account, func(s gateway.Status) error {
			i := slices.IndexFunc(s.Accounts, func(a gateway.AccountStatus) bool { return a.ID == account })
			if a := s.Accounts[i]; a.State != "rejected" || a.Do == "" || !strings.Contains(a.Reason+a.Do, says) || strings.Contains(a.Reason+a.Do, "not the secret") {
				return fmt.Errorf("%+v", a)
			}
			return nil
		})
	}
	ok(alice.Send(ctx, w.room, "all is well"))
	w.seesStanza(bob, "text", "Alice", groupBody("all is well"))
}

// becomes waits for a status.
func (w *world) becomes(what string, check func(gateway.Status) error) {
	w.t.Helper()
	eventually(w.t, what, func(ctx context.Context) error {
		s, err := w.status(ctx)
		if err != nil {
			return err
		}
		return check(s)
	})
}
