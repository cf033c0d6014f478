package loopback

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
	"mimigate/core/uri"
)

var update = flag.Bool("update", false, "write golden files")

func provider(t *testing.T) uri.Provider {
	t.Helper()
	p, err := uri.NewProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs an adapter on a network with the room "kitchen" and the person Ann, until the test ends.
func start(t *testing.T, config *Config) (*Adapter, *chat.Network, *chat.Client, *adaptertest.Recorder) {
	t.Helper()
	n := chat.New()
	n.Create("kitchen", "Kitchen")
	ann, err := n.Join("kitchen", "ann", "Ann")
	if err != nil {
		t.Fatal(err)
	}
	made, err := Driver(n).New(adapter.Account{ID: "test", Provider: provider(t), Config: config, State: &adaptertest.State{}})
	if err != nil {
		t.Fatal(err)
	}
	a, sink := made.(*Adapter), &adaptertest.Recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, text := range sink.Broken() {
			t.Error(text)
		}
	})
	if _, err := a.Open(t.Context(), "kitchen"); err != nil {
		t.Fatal(err)
	}
	return a, n, ann, sink
}

func alice(t *testing.T) adapter.Author {
	t.Helper()
	u, err := provider(t).User("alice")
	if err != nil {
		t.Fatal(err)
	}
	return adapter.Author{User: u, Name: "Alice"}
}

func outbound(t *testing.T, key string, m *content.Message) adapter.Outbound {
	t.Helper()
	return adapter.Outbound{Conversation: "kitchen", Marker: adapter.Marker{Gateway: provider(t), Key: key}, Attempt: 1,
		Author: alice(t), Content: *m}
}

// wait waits for an event.
func wait(t *testing.T, sink *adaptertest.Recorder, match func(adapter.Event) bool) adapter.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ev, err := sink.Wait(ctx, match)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		config Config
		key    string
	}{
		{Config{Mode: "bot", User: "x"}, ""},
		{*defaults().(*Config), ""},
		{Config{Mode: "both", User: "x"}, "mode"},
		{Config{Mode: "bot", User: "a/b"}, "user"},
		{Config{Mode: "bot"}, "user"},
	} {
		_, err := Driver(chat.New()).New(adapter.Account{Config: &c.config})
		var key *adapter.KeyError
		if errors.As(err, &key) != (c.key != "") || key != nil && key.Key != c.key {
			t.Errorf("%+v: %v, want an error about %q", c.config, err, c.key)
		}
	}
	if _, err := Driver(chat.New()).New(adapter.Account{Config: 7}); err == nil {
		t.Error("a configuration of another type was taken")
	}
}

func TestPassword(t *testing.T) {
	n := chat.New()
	n.Register("gateway", "right")
	a, err := Driver(n).New(adapter.Account{ID: "test", Config: &Config{Mode: modeNames, User: "gateway", Password: "wrong"}, State: &adaptertest.State{}})
	if err != nil {
		t.Fatal(err)
	}
	sink := &adaptertest.Recorder{}
	if err := a.Run(t.Context(), sink); !errors.Is(err, adapter.ErrAccount) {
		t.Errorf("Run: %v", err)
	}
	if ev := sink.Events(); len(ev) != 1 || ev[0].Body.(adapter.Status).State != adapter.Rejected {
		t.Errorf("events: %+v", ev)
	}
}

// TestRefusals: what the network says no with becomes the error that the contract has for it.
func TestRefusals(t *testing.T) {
	a, n, _, _ := start(t, &Config{Mode: modeNames, User: "gateway"})
	for _, c := range []struct {
		refusal chat.Refusal
		is      error
		not     []error
	}{
		{chat.Refusal{Code: chat.Busy, After: time.Minute}, adapter.ErrNotDelivered, []error{adapter.ErrRefused, adapter.ErrGone}},
		{chat.Refusal{Code: chat.Forbidden}, adapter.ErrRefused, []error{adapter.ErrGone}},
		{chat.Refusal{Code: chat.NoMember}, adapter.ErrGone, []error{adapter.ErrRefused}},
	} {
		n.Link("gateway").Refuse(&c.refusal)
		sent, err := a.Send(t.Context(), outbound(t, "k1", content.Text("hello")))
		if !errors.Is(err, c.is) || slices.ContainsFunc(c.not, func(not error) bool { return errors.Is(err, not) }) || len(sent.Parts) > 0 {
			t.Errorf("%v: %+v, %v", c.refusal.Code, sent, err)
		}
		if d, _ := adapter.RetryDelay(err); d != c.refusal.After {
			t.Errorf("%v: retry after %v", c.refusal.Code, d)
		}
	}
	n.Link("gateway").Refuse(nil)
	for name, m := range map[string]*content.Message{
		"a file":          content.Of(content.FilePart(content.External{ContentType: "image/png", URL: "blob:x"}, content.Media{})),
		"nothing":         content.Text(" "),
		"an unknown edit": content.Edit(content.MessageID{1}, content.Text("x")),
		"a deletion":      content.Delete(content.MessageID{1}),
		"a reaction":      content.React(content.MessageID{1}, "x"),
	} {
		if _, err := a.Send(t.Context(), outbound(t, "k2", m)); !errors.Is(err, adapter.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := outbound(t, "k3", content.Text("x"))
	missing.Conversation = "nowhere"
	if _, err := a.Send(t.Context(), missing); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("room that does not exist: %v", err)
	}
	if got := n.Messages("kitchen"); len(got) != 0 {
		t.Errorf("shown: %+v", got)
	}
}

// TestRepeat: events that the network reports again have the ids that they had, and are offered again.
func TestRepeat(t *testing.T) {
	_, n, ann, sink := start(t, &Config{Mode: modeNames, User: "gateway"})
	for i := range 3 {
		if _, err := ann.Say(fmt.Sprint("text ", i)); err != nil {
			t.Fatal(err)
		}
	}
	said := func(want string) func(adapter.Event) bool {
		return func(ev adapter.Event) bool {
			m, ok := ev.Body.(adapter.Message)
			return ok && plainText(m) == want
		}
	}
	wait(t, sink, said("text 2"))
	n.Link("gateway").Repeat(2)
	if _, err := ann.Say("last"); err != nil {
		t.Fatal(err)
	}
	wait(t, sink, said("last"))
	times := map[adapter.NativeID]int{}
	for _, ev := range sink.Events() {
		if m, ok := ev.Body.(adapter.Message); ok {
			times[ev.ID+" "+adapter.NativeID(plainText(m))]++
		}
	}
	if len(times) != 4 {
		t.Errorf("ids and texts: %v", times)
	}
	for id, n := range times {
		if want := 1; strings.HasSuffix(string(id), "text 1") || strings.HasSuffix(string(id), "text 2") {
			want = 2
			if n != want {
				t.Errorf("%s: reported %d times, want %d", id, n, want)
			}
		} else if n != want {
			t.Errorf("%s: reported %d times, want %d", id, n, want)
		}
	}
}

func TestConversations(t *testing.T) {
	a, n, ann, sink := start(t, &Config{Mode: modeNames, User: "gateway"})
	name := wait(t, sink, func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.ConversationState); return ok })
	if s := name.Body.(adapter.ConversationState); s.Name == nil || *s.Name != "Kitchen" {
		t.Errorf("state: %+v", s)
	}
	wait(t, sink, func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Membership)
		return ok && m.Change == adapter.Joined && m.Person.Name == "Ann"
	})
	n.Create("cellar", "Cellar")
	list, err := a.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "cellar" || list[0].Joined || list[1].Members != 2 || !list[1].Joined {
		t.Errorf("List: %+v, %v", list, err)
	}
	title := "Kitchen and bath"
	if err := a.SetState(t.Context(), "kitchen", adapter.ConversationState{Name: &title}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(n.Transcript("kitchen"), "── Kitchen and bath ──") {
		t.Error(n.Transcript("kitchen"))
	}
	if err := ann.Invite("gateway"); err != nil {
		t.Fatal(err)
	}
	// The account follows the kitchen, so an invitation there is seen; a stranger's room would do as well.
	ev := wait(t, sink, func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Invitation); return ok })
	if ev.Sender.Name != "Ann" || ev.ID == "" || ev.Body.(adapter.Invitation).Name != title {
		t.Errorf("invitation: %+v", ev)
	}
	if _, err := a.Send(t.Context(), outbound(t, "k", content.Text("I stay"))); err != nil {
		t.Fatal(err)
	}
	if err := a.Leave(t.Context(), "kitchen"); err != nil {
		t.Fatal(err)
	}
	if m := n.Members("kitchen"); len(m) != 1 || m[0].Name != "Ann" {
		t.Errorf("members after Leave: %v", m)
	}
}

// TestRemoved: the account itself is removed. The conversation is gone, and says so.
func TestRemoved(t *testing.T) {
	a, _, ann, sink := start(t, &Config{Mode: modeBot, User: "gateway"})
	if err := ann.Kick("gateway", "enough"); err != nil {
		t.Fatal(err)
	}
	wait(t, sink, func(ev adapter.Event) bool {
		s, ok := ev.Body.(adapter.ConversationState)
		return ok && s.Gone != nil
	})
	if _, err := a.Send(t.Context(), outbound(t, "k", content.Text("hello?"))); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("Send: %v", err)
	}
	if _, err := a.Open(t.Context(), "kitchen"); !errors.Is(err, adapter.ErrGone) {
		t.Errorf("Open: %v", err)
	}
}

// TestEditOfPieces: a long message of several native events is edited to a shorter and to a longer one.
func TestEditOfPieces(t *testing.T) {
	a, n, _, _ := start(t, &Config{Mode: modeNames, User: "gateway"})
	long := strings.Repeat("word ", 3*chat.MaxText/2/5)
	first := outbound(t, "first", content.Text(long))
	sent, err := a.Send(t.Context(), first)
	if err != nil || len(sent.Parts) != 2 {
		t.Fatalf("%+v, %v", sent, err)
	}
	for i, c := range []struct {
		text  string
		notes int
		shown []string
	}{
		{"short", 0, []string{"short", "…"}},
		{strings.Repeat("more ", 2*chat.MaxText/5+100), 1, nil},
	} {
		edit := outbound(t, fmt.Sprint("edit", i), content.Edit(content.MessageID{1}, content.Text(c.text)))
		edit.Replaces = &adapter.Ref{Parts: sent.Parts, Ours: true}
		got, err := a.Send(t.Context(), edit)
		if err != nil || len(got.Notes) != c.notes {
			t.Errorf("%+v, %v", got, err)
		}
		messages := n.Messages("kitchen")
		if len(messages) != 2 || c.shown != nil && (messages[0].Text != c.shown[0] || messages[1].Text != c.shown[1]) {
			t.Errorf("edit %d: %.200s", i, fmt.Sprint(messages))
		}
		if c.notes > 0 && !strings.HasSuffix(messages[1].Text, " …") {
			t.Errorf("cut without a sign: %.40q", messages[1].Text[len(messages[1].Text)-20:])
		}
	}
}

// TestChangedReaction: a reaction that replaces another leaves one.
func TestChangedReaction(t *testing.T) {
	a, n, ann, _ := start(t, &Config{Mode: modeNames, User: "gateway"})
	id, err := ann.Say("news")
	if err != nil {
		t.Fatal(err)
	}
	about := &adapter.Ref{Parts: []adapter.NativePart{{ID: adapter.NativeID(id)}}}
	out := outbound(t, "r1", content.React(content.MessageID{1}, "👍"))
	out.InReplyTo = about
	sent, err := a.Send(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	out = outbound(t, "r2", content.Edit(content.MessageID{2}, content.React(content.MessageID{1}, "👎", "🤷")))
	out.InReplyTo, out.Replaces = about, &adapter.Ref{Parts: sent.Parts, Ours: true}
	if _, err := a.Send(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, r := range n.Messages("kitchen")[0].Reactions {
		left = append(left, r.Emoji)
	}
	if !slices.Equal(left, []string{"👎", "🤷"}) {
		t.Errorf("reactions: %v", left)
	}
}

// TestConvert shows the table of conversions, both ways: testdata/convert.txt.
func TestConvert(t *testing.T) {
	var b strings.Builder
	for _, mode := range []string{modeNames, modeBot} {
		a := &Adapter{config: Config{Mode: mode, User: "gateway"}}
		fmt.Fprintf(&b, "mode %s\n\nfrom the network\n", mode)
		for _, c := range []nativeText{{"*as it is* <@ann>", false}, {"**bold** <@ann> and <@gateway/mimi://a.example/u/alice>", true},
			{"<@a[b]c> <@>", true}, {"bad \xff octets", false}} {
			p := a.toContent(c.text, c.markup).Body
			fmt.Fprintf(&b, "  %-60q %-5v → %s %q\n", c.text, c.markup, p.MediaType(), p.Body.(content.Single).Content)
		}
		fmt.Fprintf(&b, "\nto the network\n")
		for _, p := range []content.Part{content.TextPart("*as it is*"), content.TextPart("a\x00b\r\nc\td"),
			content.MarkdownPart("**bold** [@Ann](person:ann)"), content.MarkdownPart("[@Alice \\[x\\]](mimi://a.example/u/alice)"),
			content.MarkdownPart("[@odd](person:a%20b)"), content.MarkdownPart("[site](https://a.example)"),
			content.Of(content.CallPart("https://a.example", "call")).Body} {
			got, err := a.toNative(p)
			from := ""
			if single, ok := p.Body.(content.Single); ok {
				from = string(single.Content)
			}
			fmt.Fprintf(&b, "  %-60q → %q %v %v\n", from, got.text, got.markup, err)
		}
		b.WriteString("\n")
	}
	golden(t, "testdata/convert.txt", b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at it and run with -update:\n%s", path, got)
	}
}

// FuzzConvert: whatever is written on one side can be shown on the other.
func FuzzConvert(f *testing.F) {
	f.Add("**bold** <@ann> [@A](person:a%20b) [x](mimi://a.example/u/b) \x00\xff", true)
	f.Fuzz(func(t *testing.T, text string, markup bool) {
		a := &Adapter{config: Config{Mode: modeNames, User: "gateway"}}
		native, err := a.toNative(a.toContent(text, markup).Body)
		if err != nil || native.markup != markup {
			t.Fatalf("%q came back as %+v, %v", text, native, err)
		}
		if name := displayName(text); name == "" || strings.ContainsAny(name, "\n\x00") || len([]rune(name)) > chat.MaxName {
			t.Fatalf("name %q", name)
		}
	})
}
