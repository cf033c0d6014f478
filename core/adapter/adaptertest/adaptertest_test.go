package adaptertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// echoServer answers each line with itself, and tells of each that arrives.
func echoServer(t *testing.T) (addr string, arrived <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 16)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				for s := bufio.NewScanner(c); s.Scan(); {
					lines <- s.Text()
					fmt.Fprintln(c, s.Text())
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String(), lines
}

func TestProxy(t *testing.T) {
	target, arrived := echoServer(t)
	p := NewProxy(t, target)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	say := func(c net.Conn, line string) {
		t.Helper()
		if _, err := fmt.Fprintln(c, line); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(c net.Conn) string {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(line)
	}

	c := dial()
	say(c, "up")
	if got := hear(c); got != "up" || <-arrived != "up" {
		t.Errorf("up: %q", got)
	}
	p.Set(Slow)
	say(c, "slow")
	select {
	case got := <-arrived:
		t.Errorf("%q arrived on a slow link", got)
	case <-time.After(50 * time.Millisecond):
	}
	p.Set(Up)
	if got := hear(c); got != "slow" || <-arrived != "slow" {
		t.Errorf("slow: %q", got)
	}
	p.Set(Slow)
	say(c, "lost")
	p.Set(Down)
	if got := hear(c); got == "lost" {
		t.Errorf("down after slow: %q", got)
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		c.Close()
		t.Error("connected while down")
	}
	p.Set(Up)

	c = dial()
	p.Set(Deaf)
	say(c, "deaf")
	if got := <-arrived; got != "deaf" {
		t.Errorf("%q arrived, want deaf", got)
	}
	// The answer comes through the proxy after it arrived: what is lost is seen by the reset only.
	WaitFor(t, 10*time.Second, "the answer is lost", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for each := range p.pipes {
			if each.lost {
				return nil
			}
		}
		return errors.New("not yet")
	})
	p.Set(Up)
	if got := hear(c); got == "deaf" {
		t.Errorf("heard %q", got)
	}
	if c := dial(); true {
		say(c, "again")
		if got := hear(c); got != "again" {
			t.Errorf("after all: %q", got)
		}
	}
}

func event(id adapter.NativeID, text string) adapter.Event {
	return adapter.Event{Conversation: "c", ID: id, Sender: adapter.Person{IDs: []adapter.PersonID{"p"}},
		Body: adapter.Message{Content: content.Text(text)}}
}

func TestRecorder(t *testing.T) {
	r := &Recorder{}
	full := errors.New("full")
	r.Refuse(func(ev adapter.Event) error {
		if ev.ID == "2" {
			return full
		}
		return nil
	})
	for id, want := range map[adapter.NativeID]error{"1": nil, "2": full} {
		if err := r.Receive(t.Context(), event(id, "x")); err != want {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	if len(r.Events()) != 1 || len(r.Refused()) != 1 {
		t.Errorf("taken %v, refused %v", r.Events(), r.Refused())
	}
	r.Refuse(nil)
	done := make(chan error, 1)
	go func() {
		_, err := r.Wait(t.Context(), func(ev adapter.Event) bool { return ev.ID == "2" })
		done <- err
	}()
	if err := r.Receive(t.Context(), event("2", "x")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Wait(ctx, func(adapter.Event) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for nothing: %v", err)
	}
	if err := r.Receive(ctx, event("3", "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive with an ended context: %v", err)
	}
	if b := r.Broken(); len(b) > 0 {
		t.Errorf("broken: %v", b)
	}
	r.stop()
	_ = r.Receive(t.Context(), event("4", "x"))
	if b := r.Broken(); len(b) != 1 || !strings.Contains(b[0], "after Run") {
		t.Errorf("broken: %v", b)
	}
}

// TestRecorderOverlap: two events of one conversation at the same time break the contract, of two do not.
func TestRecorderOverlap(t *testing.T) {
	for conversation, want := range map[adapter.Conversation]int{"c": 1, "other": 0} {
		r := &Recorder{}
		r.Refuse(func(ev adapter.Event) error {
			if ev.ID != "outer" {
				return nil
			}
			r.mu.Unlock() // let the inner one in, as if the adapter had reported it from another goroutine
			defer r.mu.Lock()
			inner := event("inner", "x")
			inner.Conversation = conversation
			return r.Receive(context.Background(), inner)
		})
		if err := r.Receive(t.Context(), event("outer", "x")); err != nil {
			t.Fatal(err)
		}
		if b := r.Broken(); len(b) != want {
			t.Errorf("%s: %v", conversation, b)
		}
	}
}

func TestViolations(t *testing.T) {
	good := event("1", "x")
	if v := Violations(good); len(v) > 0 {
		t.Errorf("%v", v)
	}
	for want, breaks := range map[string]func(ev *adapter.Event){
		"no id":                       func(ev *adapter.Event) { ev.ID = "" },
		"no conversation":             func(ev *adapter.Event) { ev.Conversation = "" },
		"no sender":                   func(ev *adapter.Event) { ev.Sender.IDs = nil },
		"no body":                     func(ev *adapter.Event) { ev.Body = nil },
		"message without content":     func(ev *adapter.Event) { ev.Body = adapter.Message{} },
		"sender's name is not UTF-8":  func(ev *adapter.Event) { ev.Sender.Name = "\xff" },
		"reactions to nothing":        func(ev *adapter.Event) { ev.Body = adapter.Reactions{} },
		"membership of nobody":        func(ev *adapter.Event) { ev.Body = adapter.Membership{Change: adapter.Joined} },
		"membership without a change": func(ev *adapter.Event) { ev.Body = adapter.Membership{Person: ev.Sender} },
		"profile of nobody":           func(ev *adapter.Event) { ev.Body = adapter.Profile{} },
		"empty receipt":               func(ev *adapter.Event) { ev.Body = adapter.Receipt{} },
		"status without a state":      func(ev *adapter.Event) { ev.Body = adapter.Status{} },
		"a deletion of nothing":       func(ev *adapter.Event) { ev.Body = adapter.Message{Content: &content.Message{}} },
		"an adapter gave a MIMI message id": func(ev *adapter.Event) {
			ev.Body = adapter.Message{Content: content.Reply(content.MessageID{1}, content.Text("x"))}
		},
		"an adapter gave salt, sender or room": func(ev *adapter.Event) {
			ev.Body = adapter.Message{Content: &content.Message{Salt: content.Salt{1}, Body: content.TextPart("x")}}
		},
		"text is not UTF-8": func(ev *adapter.Event) {
			ev.Body = adapter.Message{Content: content.Of(content.Part{Body: content.Single{ContentType: content.TypeText, Content: []byte("\xff")}})}
		},
	} {
		ev := good
		breaks(&ev)
		if v := Violations(ev); !slices.Equal(v, []string{want}) {
			t.Errorf("want %q, got %q", want, v)
		}
	}
}

func TestState(t *testing.T) {
	ctx := t.Context()
	s := &State{}
	value := []byte("one")
	if err := s.Put(ctx, "key", value); err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	earlier := s.Copy()
	for _, put := range [][]byte{[]byte("two"), nil} {
		if err := s.Put(ctx, "key", put); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(ctx, "key"); err != nil || string(got) != string(put) || put == nil && got != nil {
			t.Errorf("%q, %v, want %q", got, err, put)
		}
	}
	if got, err := earlier.Get(ctx, "key"); err != nil || string(got) != "one" {
		t.Errorf("the copy has %q, %v", got, err)
	}
	for key, value := range map[string][]byte{"": nil, strings.Repeat("k", 256): nil, "k": make([]byte, 1<<20+1)} {
		if err := s.Put(ctx, key, value); !errors.Is(err, ErrState) {
			t.Errorf("key of %d, value of %d octets: %v", len(key), len(value), err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Put(ended, "key", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after the end: %v", err)
	}
	if _, err := s.Get(ended, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get after the end: %v", err)
	}
}

func TestTexts(t *testing.T) {
	for in, want := range map[string]string{
		"a\x00b\x1b\uFFFDc\uFFFE": "abc", " a\r\nb\t c ": "a b c", "e\u0301 \u202ex👩‍🚀": "e\u0301 \u202ex👩‍🚀", "a\xed\xa0\x80b": "ab",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
	two := content.Of(content.Alternatives(content.MarkdownPart(`**a** \*b\*`), content.TextPart("a *b*")))
	if got := textOf(two.Body); got != "a *b*" {
		t.Errorf("the text of alternatives is %q", got)
	}
	if got := textOf(content.MarkdownPart(`1\. \<b\> \\ \n`)); got != `1. <b> \ \n` {
		t.Errorf("Markdown without its escapes is %q", got)
	}
	if ev := event("1", "x"); !text("x")(ev) || text("y")(ev) {
		t.Error("text matches wrongly")
	}
	if got := len(word.FindAllString(words(1000), -1)); got != 112 {
		t.Errorf("%d words", got)
	}
	for _, s := range oddTexts {
		if plain(s) == "" {
			t.Errorf("nothing to compare in %q", s)
		}
	}
}
