package chat

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files")

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func code(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// TestTranscript plays a conversation and shows it as a transcript and line by line: testdata/transcript.txt.
func TestTranscript(t *testing.T) {
	n := New()
	n.Create("kitchen", "Kitchen")
	id, join := must[string](t), must[*Client](t)
	ann, ben := join(n.Join("kitchen", "ann", "Ann")), join(n.Join("kitchen", "ben", "Ben"))
	first := id(ann.Say("Lunch?"))
	answer := id(ben.Reply(first, "At noom.\nOr at one"))
	id(ben.Edit(answer, "At noon.\nOr at one"))
	id(ann.React(answer, "👍"))
	id(ben.React(answer, "👍"))
	id(ben.Unreact(answer, "👍"))
	oops := id(ben.Write("**oops**"))
	id(ben.Delete(oops))
	ben.Rename("Benjamin")
	id(ben.Say("a long text " + strings.Repeat("which goes on ", 3) + "and ends"))
	join(n.Join("kitchen", "eve", "Eve"))
	if err := ann.Kick("eve", "spam"); err != nil {
		t.Fatal(err)
	}
	if err := ann.Retitle("Dining room"); err != nil {
		t.Fatal(err)
	}
	if err := ben.Leave(); err != nil {
		t.Fatal(err)
	}

	var b strings.Builder
	b.WriteString(n.Transcript("kitchen") + "\n")
	for seq := 0; seq < len(n.log); {
		ev, err := n.Next(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		seq = ev.Seq
		b.WriteString(n.Line(ev) + "\n")
	}
	const path = "testdata/transcript.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || b.String() != string(want) {
		t.Errorf("%v; look at it and run with -update:\n%s", err, b.String())
	}
}

// TestRules: who may do what, and that what is refused changes nothing.
func TestRules(t *testing.T) {
	n := New()
	n.Create("kitchen", "")
	id, join := must[string](t), must[*Client](t)
	ann, ben := join(n.Join("kitchen", "ann", "Ann")), join(n.Join("kitchen", "ben", "Ben"))
	said := id(ann.Say("mine"))
	gone := id(ann.Say("gone"))
	id(ann.Delete(gone))
	id(ann.React(said, "👍"))
	before := n.Transcript("kitchen")
	events := len(n.log)
	second := func(_ string, err error) error { return err }
	for what, c := range map[string]struct {
		err  error
		want Code
	}{
		"edit of another's":     {second(ben.Edit(said, "x")), Forbidden},
		"deletion of another's": {second(ben.Delete(said)), Forbidden},
		"edit of the deleted":   {second(ann.Edit(gone, "x")), NoMessage},
		"reply to nothing":      {second(ann.Reply("none", "x")), NoMessage},
		"reaction to nothing":   {second(ann.React("none", "x")), NoMessage},
		"reaction twice":        {second(ann.React(said, "👍")), Invalid},
		"no reaction":           {second(ben.Unreact(said, "👍")), NoMessage},
		"kick of nobody":        {ann.Kick("eve", ""), NoMember},
	} {
		if code(c.err) != c.want {
			t.Errorf("%s: %v, want %s", what, c.err, c.want)
		}
	}
	if after := n.Transcript("kitchen"); after != before || len(n.log) != events {
		t.Errorf("refused, but changed:\n%s", after)
	}
	if _, err := n.Join("nowhere", "ann", "Ann"); code(err) != NoRoom {
		t.Errorf("join nowhere: %v", err)
	}
	if err := ann.Kick("ben", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Join("kitchen", "ben", "Ben"); code(err) != Forbidden {
		t.Errorf("join after a kick: %v", err)
	}
	if _, err := ben.Say("x"); code(err) != NoMember {
		t.Errorf("speaking after a kick: %v", err)
	}
}

// TestPrograms: what is refused to programs, and that requests are done once.
func TestPrograms(t *testing.T) {
	n := New()
	n.Create("kitchen", "")
	c, err := n.Connect("bot", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Follow(t.Context(), "kitchen"); err != nil {
		t.Fatal(err)
	}
	for want, q := range map[Code]Request{
		Forbidden: {Room: "kitchen", ID: "1", User: "ann", Kind: Text, Text: "x"},
		NoRoom:    {Room: "cellar", ID: "2", User: "bot", Kind: Text, Text: "x"},
		TooLarge:  {Room: "kitchen", ID: "3", User: "bot", Kind: Text, Text: strings.Repeat("x", MaxText+1)},
		Invalid:   {Room: "kitchen", ID: "4", User: "bot", Kind: Text, Text: "a\x00"},
	} {
		if _, err := c.Do(t.Context(), q); code(err) != want {
			t.Errorf("%+.20v: %v, want %s", q, err, want)
		}
	}
	for _, name := range []string{"", "a\nb", strings.Repeat("x", MaxName+1)} {
		q := Request{Room: "kitchen", ID: "5", User: "bot/x", Name: name, Kind: Text, Text: "x"}
		if _, err := c.Do(t.Context(), q); code(err) != Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
	q := Request{Room: "kitchen", ID: "6", User: "bot/x", Name: "X", Kind: Text, Text: "once"}
	first, err := c.Do(t.Context(), q)
	if err != nil || first.ID != "6" {
		t.Fatalf("%+v, %v", first, err)
	}
	if second, err := c.Do(t.Context(), q); err != nil || second != first {
		t.Errorf("%+v, then %+v, %v", first, second, err)
	}
	if got := n.Messages("kitchen"); len(got) != 1 {
		t.Errorf("shown: %+v", got)
	}
	n.Register("safe", "secret")
	if _, err := n.Connect("safe", "guess"); !errors.Is(err, ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
}

// TestLink: what reaches the network under each condition, and what the program learns.
func TestLink(t *testing.T) {
	n := New()
	n.Create("kitchen", "")
	link := n.Link("bot")
	connect := func() *Conn { return must[*Conn](t)(n.Connect("bot", "")) }
	c := connect()
	if err := c.Follow(t.Context(), "kitchen"); err != nil {
		t.Fatal(err)
	}
	say := func(ctx context.Context, c *Conn, text string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Do(ctx, Request{Room: "kitchen", ID: text, User: "bot", Kind: Text, Text: text})
			done <- err
		}()
		return done
	}
	shown := func(want string) {
		t.Helper()
		var got []string
		for _, m := range n.Messages("kitchen") {
			got = append(got, m.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("shown: %q, want %q", got, want)
		}
	}

	link.Set(Slow)
	slow := say(t.Context(), c, "slow")
	select {
	case err := <-slow:
		t.Errorf("answered on a slow link: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	shown("")
	link.Set(Up)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	shown("slow")

	link.Set(Slow)
	ctx, cancel := context.WithCancel(t.Context())
	given := say(ctx, c, "given-up")
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	link.Set(Down)
	if err := <-say(t.Context(), c, "down"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("down: %v", err)
	}
	if _, err := n.Connect("bot", ""); !errors.Is(err, ErrNotConnected) {
		t.Errorf("connect while down: %v", err)
	}
	link.Set(Up)
	shown("slow")

	c = connect()
	link.Set(Deaf)
	deaf := say(t.Context(), c, "deaf")
	if err := n.Wait(t.Context(), func() bool { return len(n.Messages("kitchen")) == 2 }); err != nil {
		t.Fatal(err)
	}
	link.Set(Up)
	if err := <-deaf; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("deaf: %v", err)
	}
	if _, err := c.Next(t.Context(), 0); !errors.Is(err, ErrNotConnected) {
		t.Errorf("next after something was lost: %v", err)
	}
	c = connect()
	found, err := c.Find(t.Context(), "kitchen", []string{"deaf", "down", "given-up"})
	if err != nil || len(found) != 1 || found["deaf"].ID != "deaf" {
		t.Errorf("found %v, %v", found, err)
	}
}
