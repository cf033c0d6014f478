package loopback

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter/adaptertest"
)

// TestSuiteNames runs the suite with everybody under their own name.
func TestSuiteNames(t *testing.T) { adaptertest.Run(t, testNetwork(modeNames, nil)) }

// TestSuiteBot runs it with one name for all.
func TestSuiteBot(t *testing.T) {
	one := "mode bot has one name for all our people"
	adaptertest.Run(t, testNetwork(modeBot, map[adaptertest.Ability]string{
		adaptertest.OwnNames: one, adaptertest.ReactionOut: one, adaptertest.KickOurs: one, adaptertest.MemberOut: one,
	}))
}

// testNetwork is a fresh network of package chat for the suite.
func testNetwork(mode string, lacks map[adaptertest.Ability]string) adaptertest.Network {
	network := chat.New()
	var count atomic.Int64
	account := func(i int) string { return fmt.Sprintf("gateway%d", i) }
	return adaptertest.Network{
		Driver: Driver(network),
		Config: func(_ *testing.T, i int) any { return &Config{Mode: mode, User: account(i)} },
		Conversation: func(*testing.T) string {
			id := fmt.Sprintf("room%d", count.Add(1))
			network.Create(id, "A room")
			return id
		},
		Human: func(t *testing.T, conversation, name string) adaptertest.Human {
			h := &human{network: network, room: conversation, name: name, user: fmt.Sprintf("user%d", count.Add(1))}
			if _, err := h.Act(t.Context(), adaptertest.Act{Do: adaptertest.Join}); err != nil {
				t.Fatal(err)
			}
			return h
		},
		Link:    func(_ *testing.T, i int) adaptertest.Link { return link{network.Link(account(i))} },
		Missing: "nowhere",
		Lacks:   lacks,
	}
}

// link is a chat.Link for the suite.
type link struct{ *chat.Link }

func (l link) Set(c adaptertest.Condition) {
	l.Link.Set(map[adaptertest.Condition]chat.Condition{adaptertest.Up: chat.Up, adaptertest.Slow: chat.Slow,
		adaptertest.Deaf: chat.Deaf, adaptertest.Down: chat.Down}[c])
}

// human is a person for the suite.
type human struct {
	network          *chat.Network
	room, user, name string
	client           *chat.Client
}

func (h *human) Act(_ context.Context, act adaptertest.Act) (id string, err error) {
	switch act.Do {
	case adaptertest.Say:
		return h.client.Say(act.Text)
	case adaptertest.Edit:
		return h.client.Edit(act.To, act.Text)
	case adaptertest.Reply:
		return h.client.Reply(act.To, act.Text)
	case adaptertest.React:
		return h.client.React(act.To, act.Emoji)
	case adaptertest.Unreact:
		return h.client.Unreact(act.To, act.Emoji)
	case adaptertest.Delete:
		return h.client.Delete(act.To)
	case adaptertest.Join:
		h.client, err = h.network.Join(h.room, h.user, h.name)
		return "", err
	case adaptertest.Leave:
		return "", h.client.Leave()
	case adaptertest.Kick:
		return "", h.client.Kick(act.Whom, "enough")
	case adaptertest.Rename:
		h.client.Rename(act.Text)
		return "", nil
	}
	return "", fmt.Errorf("%w: %s", adaptertest.ErrCannot, act.Do)
}

func (h *human) View(context.Context) (adaptertest.View, error) {
	var v adaptertest.View
	for _, m := range h.network.Messages(h.room) {
		seen := adaptertest.Seen{ID: m.ID, Sender: m.User, Name: m.Name, Text: m.Text, Edited: m.Edited, Deleted: m.Deleted, ReplyTo: m.To}
		for _, r := range m.Reactions {
			seen.Reactions = append(seen.Reactions, adaptertest.Reaction{Emoji: r.Emoji, Sender: r.User, Name: r.Name})
		}
		v.Messages = append(v.Messages, seen)
	}
	for _, m := range h.network.Members(h.room) {
		v.Members = append(v.Members, adaptertest.Member{ID: m.User, Name: m.Name})
	}
	return v, nil
}
