package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mimigate/bridges"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/config"
	"mimigate/core/gateway"
)

// says waits until somebody says something with these words in the room of a network, and returns the first such text.
func (n networks) says(t *testing.T, network, words string) (text string) {
	t.Helper()
	n.wait(t, network, words, func(all []bridges.ChatMessage) bool {
		i := slices.IndexFunc(all, func(m bridges.ChatMessage) bool {
			return strings.Contains(m.Text, words) && !strings.HasPrefix(m.Text, "!")
		})
		if i >= 0 {
			text = all[i].Text
		}
		return i >= 0
	})
	return text
}

// peered makes the configurations of two providers that have accepted each other, each with a network; users of each are asked before the other
// brings them into rooms. No chat is bound to any room.
func peered(t *testing.T, drivers map[string]adapter.Driver, networks ...string) []*config.Config {
	t.Helper()
	var all []*config.Config
	for _, network := range networks {
		address := fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
		all = append(all, load(t, t.TempDir(), fmt.Sprintf(`
provider: {domain: %[1]s.test, store: store, listen: %[2]q}
federation: {url: "https://%[2]s"}
accounts:
  - {id: chat, network: %[1]s}
admins: {people: ["%[1]s:root"], tell: chat/room}
people:
  - {handle: dora, is: ["%[1]s:dora"]}
`, network, address), drivers))
	}
	peering := func(c *config.Config, f func(p *gateway.Peering) error) {
		if err := gateway.WithPeering(t.Context(), gateway.Options{Config: c, Drivers: drivers}, f); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range all {
		var text string
		peering(c, func(p *gateway.Peering) error {
			invitation, err := p.Invitation(t.Context())
			text = invitation.Text
			return err
		})
		peering(all[1-i], func(p *gateway.Peering) error {
			_, err := p.Accept(t.Context(), text, config.May{Invite: "ask", Search: "allow"})
			return err
		})
	}
	return all
}

// TestOrdersInChat lets two organisations share a room by what is written in their chats alone, over mutual TLS: somebody is found, asked,
// and comes; a whole chat follows, and leaves again.
func TestOrdersInChat(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	all := peered(t, drivers, "left", "right")
	for _, c := range all {
		start(t, c, drivers)
	}
	ok := must(t)
	left, right, dora := n.join(t, "left", "Root"), n.join(t, "right", "Root"), n.join(t, "right", "Dora")
	for _, c := range []*bridges.ChatClient{left, right} {
		if err := c.Invite("gateway"); err != nil {
			t.Fatal(err)
		}
	}
	for _, network := range []string{"left", "right"} {
		n.wait(t, network, "the gateway", func([]bridges.ChatMessage) bool {
			for _, m := range n[network].Members("room") {
				if m.User == "gateway" {
					return true
				}
			}
			return false
		})
	}
	ok(left.Say("!mimigate create Club"))
	club := n.says(t, "left", "now belongs to the room")
	club = club[strings.Index(club, "mimi://") : len(club)-1]
	ok(right.Say("!mimigate create Own"))
	n.says(t, "right", "now belongs to the room")
	ok(dora.Say("!mimigate optin")) // nobody is found who has not agreed
	n.says(t, "right", "passed on again")

	// One person: found, asked, and in.
	eventuallySaid(t, n, left, "find Dora@right.test", "left", "mimi://right.test/u/dora Dora")
	ok(left.Say("!mimigate invite mimi://right.test/u/dora"))
	question := n.says(t, "right", "may bring you into "+club)
	ok(dora.Say("!mimigate accept " + question[strings.LastIndex(question, " ")+1:]))
	n.says(t, "right", "You agreed.")
	n.says(t, "left", "mimi://right.test/u/dora has agreed")
	eventuallySaid(t, n, left, "people", "left", "mimi://right.test/u/dora: member")
	ok(left.Say("!mimigate role mimi://right.test/u/dora admin"))
	eventuallySaid(t, n, left, "people", "left", "mimi://right.test/u/dora: admin")
	ok(left.Say("!mimigate kick mimi://right.test/u/dora"))

	// The whole chat: its gateway is asked too, which is its admin's to answer.
	ok(left.Say("!mimigate invite mimi://right.test/u/gateway"))
	n.wait(t, "right", "another question", func(all []bridges.ChatMessage) bool {
		i := slices.IndexFunc(all, func(m bridges.ChatMessage) bool {
			return strings.Contains(m.Text, "may bring you into "+club) && m.Text != question
		})
		if i >= 0 {
			question = all[i].Text
		}
		return i >= 0
	})
	ok(right.Say("!mimigate accept " + question[strings.LastIndex(question, " ")+1:]))
	n.says(t, "left", "mimi://right.test/u/gateway has agreed")
	eventuallySaid(t, n, left, "people", "left", "mimi://right.test/u/gateway: gateway")
	ok(right.Say("!mimigate unbind"))
	n.says(t, "right", "no longer belongs")
	ok(right.Say("!mimigate bind " + club))
	n.says(t, "right", "now belongs to the room "+club)
	ok(dora.Say("Hello from the right"))
	n.sees(t, "left", "dora", "Hello from the right")
	ok(left.Say("Hello from the left"))
	n.says(t, "right", "Hello from the left")

	ok(right.Say("!mimigate leave"))
	n.says(t, "right", "leave the room")
	n.members(t, "left", "Root")
}

// eventuallySaid gives an order again and again until its answer has these words.
func eventuallySaid(t *testing.T, n networks, by *bridges.ChatClient, order, network, words string) {
	t.Helper()
	eventually(t, order+": "+words, func(context.Context) error {
		before := len(n[network].Messages("room"))
		if _, err := by.Say("!mimigate " + order); err != nil {
			return err
		}
		var answer string
		n.wait(t, network, "an answer", func(all []bridges.ChatMessage) bool {
			i := slices.IndexFunc(all[before:], func(m bridges.ChatMessage) bool { return !strings.HasPrefix(m.Text, "!") })
			if i >= 0 {
				answer = all[before+i].Text
			}
			return i >= 0
		})
		if !strings.Contains(answer, words) {
			return errors.New(answer)
		}
		return nil
	})
}
