package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
)

// world is a Synapse with two accounts of ours, and people on matrix-nio.
type world struct {
	t       *testing.T
	hs      *servers.Homeserver
	mode    string
	listen  [2]string
	proxies [2]*adaptertest.Proxy
	bots    [2]servers.User // mode bot
	host    *servers.MatrixClient

	mu     sync.Mutex
	count  int
	free   []*servers.MatrixClient
	powers map[string]map[string]int // room → user → power level
}

var senders = [2]string{"mimibot", "otherbot"}
var prefixes = [2]string{"mimi_", "other_"}

func newWorld(t *testing.T, mode string) *world {
	w := &world{t: t, mode: mode, powers: map[string]map[string]int{}}
	var services []servers.AppService
	for i := range 2 {
		port := servers.Port(t)
		w.listen[i] = fmt.Sprintf("127.0.0.1:%d", port)
		services = append(services, servers.AppService{
			ID: senders[i], URL: "http://" + w.listen[i], ASToken: "as-token-" + senders[i], HSToken: "hs-token-" + senders[i], Sender: senders[i],
			Users: []string{"@" + prefixes[i] + ".*"}, Aliases: []string{"#" + prefixes[i] + ".*"},
		})
	}
	if mode == modeBot {
		services = nil
	}
	w.hs = servers.Synapse(t, servers.SynapseOptions{AppServices: services})
	u, err := url.Parse(w.hs.URL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.proxies[i] = adaptertest.NewProxy(t, u.Host)
		if mode == modeBot {
			w.bots[i] = w.hs.User(t, senders[i])
		}
	}
	w.host = servers.Nio(t, w.hs, w.hs.User(t, "host"))
	return w
}

func (w *world) registration(i int) adapter.Secret {
	text, err := json.Marshal(map[string]any{
		"id": senders[i], "as_token": "as-token-" + senders[i], "hs_token": "hs-token-" + senders[i], "sender_localpart": senders[i],
		"namespaces": map[string]any{"users": []any{map[string]any{"exclusive": true, "regex": "@" + prefixes[i] + ".*"}}},
	})
	if err != nil {
		panic(err)
	}
	return adapter.Secret(text)
}

func (w *world) config(_ *testing.T, i int) any {
	c := defaults().(*Config)
	c.Mode, c.Homeserver = w.mode, "http://"+w.proxies[i].Addr()
	if w.mode == modeBot {
		c.Token = adapter.Secret(w.bots[i].Token)
		return c
	}
	c.Registration, c.Listen, c.Prefix = w.registration(i), w.listen[i], prefixes[i]
	return c
}

// conversation makes a public room in which the accounts may remove everybody.
func (w *world) conversation(t *testing.T) string {
	room, err := w.host.Create(t.Context(), servers.MatrixRoom{Name: t.Name(), Public: true})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.powers[room] = map[string]int{"@" + senders[0] + ":hs.test": 95, "@" + senders[1] + ":hs.test": 95}
	w.empower(t, room)
	return room
}

func (w *world) empower(t *testing.T, room string) {
	if _, err := w.host.PutState(t.Context(), room, "m.room.power_levels", "", map[string]any{
		"users": w.powers[room], "kick": 40, "ban": 40, "redact": 40, "events": map[string]any{"m.room.name": 40}}); err != nil {
		t.Fatal(err)
	}
}

// human lets a person in who may remove those who come later, and ours. Clients are used again when a case is over.
func (w *world) human(t *testing.T, room, name string) adaptertest.Human {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c *servers.MatrixClient
	if n := len(w.free); n > 0 {
		c, w.free = w.free[n-1], w.free[:n-1]
	} else {
		w.count++
		c = servers.Nio(w.t, w.hs, w.hs.User(t, fmt.Sprintf("person%d", w.count)))
	}
	if err := c.SetName(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Join(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	w.powers[room][c.User.ID] = 80 - len(w.powers[room])
	w.empower(t, room)
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		_ = c.Leave(context.Background(), room) // may have left already
		w.free = append(w.free, c)
	})
	return &nioHuman{MatrixClient: c, room: room}
}

// nioHuman is a person on matrix-nio.
type nioHuman struct {
	*servers.MatrixClient
	room string
}

func (h *nioHuman) Act(ctx context.Context, act adaptertest.Act) (string, error) {
	if strings.Contains(act.Text, "\xed\xa0\x80") {
		return "", fmt.Errorf("%w: write lone surrogates", adaptertest.ErrCannot)
	}
	switch act.Do {
	case adaptertest.Say:
		id, err := h.Send(ctx, h.room, act.Text)
		if err != nil && strings.ContainsAny(act.Text, "\x00") {
			return "", fmt.Errorf("%w: %w", adaptertest.ErrCannot, err)
		}
		return id, err
	case adaptertest.Edit:
		return h.Edit(ctx, h.room, act.To, act.Text)
	case adaptertest.Reply:
		return h.Reply(ctx, h.room, act.To, act.Text)
	case adaptertest.React:
		return h.React(ctx, h.room, act.To, act.Emoji)
	case adaptertest.Unreact:
		return h.unreact(ctx, act)
	case adaptertest.Delete:
		return h.Redact(ctx, h.room, act.To, "")
	case adaptertest.Join:
		_, err := h.Join(ctx, h.room)
		return "", err
	case adaptertest.Leave:
		return "", h.Leave(ctx, h.room)
	case adaptertest.Kick:
		return "", h.Kick(ctx, h.room, act.Whom, "enough")
	case adaptertest.Rename:
		return "", h.SetName(ctx, act.Text)
	}
	return "", fmt.Errorf("unknown deed %q", act.Do)
}

func (h *nioHuman) unreact(ctx context.Context, act adaptertest.Act) (string, error) {
	events, err := h.Messages(ctx, h.room, 500)
	if err != nil {
		return "", err
	}
	for _, e := range events {
		kind, to := e.Relates()
		relation, _ := e.Content["m.relates_to"].(map[string]any)
		if kind == "m.annotation" && to == act.To && e.Sender == h.User.ID && relation["key"] == act.Emoji {
			return h.Redact(ctx, h.room, e.ID, "")
		}
	}
	return "", fmt.Errorf("no reaction %q to take back", act.Emoji)
}

// View is what a client makes of the room's events: edits and reactions joined with their messages, what is redacted left out.
func (h *nioHuman) View(ctx context.Context) (adaptertest.View, error) {
	var v adaptertest.View
	events, err := h.Messages(ctx, h.room, 500)
	if err != nil {
		return v, err
	}
	members, err := h.Members(ctx, h.room)
	if err != nil {
		return v, err
	}
	names := map[string]string{}
	for _, e := range events {
		if e.Type == "m.room.member" && e.StateKey != nil {
			if name, ok := e.Content["displayname"].(string); ok {
				names[*e.StateKey] = name
			}
		}
	}
	for _, m := range members {
		names[m.ID] = m.Name
		v.Members = append(v.Members, adaptertest.Member{ID: m.ID, Name: m.Name})
	}
	index := map[string]int{}
	for _, e := range events {
		relation, _ := e.Content["m.relates_to"].(map[string]any)
		kind, to := e.Relates()
		at, known := index[to]
		switch {
		case e.Type == "m.reaction" && kind == "m.annotation" && known:
			key, _ := relation["key"].(string)
			v.Messages[at].Reactions = append(v.Messages[at].Reactions, adaptertest.Reaction{Emoji: key, Sender: e.Sender, Name: names[e.Sender]})
		case e.Type != "m.room.message" || e.Body() == "":
		case kind == "m.replace":
			inner, _ := e.Content["m.new_content"].(map[string]any)
			if known && v.Messages[at].Sender == e.Sender {
				v.Messages[at].Text, _ = inner["body"].(string)
				v.Messages[at].Edited = true
			}
		default:
			reply := ""
			if kind == "m.in_reply_to" {
				reply = to
			}
			index[e.ID] = len(v.Messages)
			v.Messages = append(v.Messages, adaptertest.Seen{ID: e.ID, Sender: e.Sender, Name: names[e.Sender], Text: e.Body(), ReplyTo: reply})
		}
	}
	return v, nil
}

func (w *world) network(lacks map[adaptertest.Ability]string) adaptertest.Network {
	return adaptertest.Network{
		Driver: Driver(), Config: w.config, Conversation: w.conversation, Human: w.human, Missing: "#nobody-made-this:hs.test",
		Link:  func(_ *testing.T, account int) adaptertest.Link { return w.proxies[account] },
		Lacks: lacks,
	}
}

func TestAppService(t *testing.T) {
	w := newWorld(t, modeAppService)
	adaptertest.Run(t, w.network(nil))
}

const inText = "one account for all of our people: their names stand in the text"

func TestBot(t *testing.T) {
	w := newWorld(t, modeBot)
	adaptertest.Run(t, w.network(map[adaptertest.Ability]string{
		adaptertest.OwnNames: inText, adaptertest.RenameOut: inText, adaptertest.MemberOut: inText, adaptertest.KickOurs: inText,
		adaptertest.ReactionOut: "the account has one reaction of a kind, whosever it is",
	}))
}
