package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// saboteur is an adapter that is broken in one way: hooks stand in for what it does right.
type saboteur struct {
	*Adapter
	instance int // counts the adapters made

	event   func(s *saboteur, ev adapter.Event) []adapter.Event
	taken   func(err error) error
	run     func(s *saboteur, ctx context.Context, sink adapter.Sink) error
	send    func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error)
	confirm func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error)
	open    func(s *saboteur, ctx context.Context, name string) (adapter.Conversation, error)
	member  func(s *saboteur, ctx context.Context, change adapter.MemberUpdate) error

	mu   sync.Mutex
	held []adapter.Event
}

func (s *saboteur) Run(ctx context.Context, sink adapter.Sink) error {
	if s.run != nil {
		return s.run(s, ctx, sink)
	}
	return s.Adapter.Run(ctx, sabotaged{s, sink})
}

// sabotaged is a sink between the adapter and the suite's.
type sabotaged struct {
	s    *saboteur
	sink adapter.Sink
}

func (x sabotaged) Receive(ctx context.Context, ev adapter.Event) error {
	events := []adapter.Event{ev}
	if x.s.event != nil {
		events = x.s.event(x.s, ev)
	}
	for _, ev := range events {
		err := x.sink.Receive(ctx, ev)
		if x.s.taken != nil {
			err = x.s.taken(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *saboteur) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	if s.send != nil {
		return s.send(s, ctx, out)
	}
	return s.Adapter.Send(ctx, out)
}

func (s *saboteur) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	if s.confirm != nil {
		return s.confirm(s, ctx, out)
	}
	return s.Adapter.Confirm(ctx, out)
}

func (s *saboteur) Open(ctx context.Context, name string) (adapter.Conversation, error) {
	if s.open != nil {
		return s.open(s, ctx, name)
	}
	return s.Adapter.Open(ctx, name)
}

func (s *saboteur) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	if s.member != nil {
		return s.member(s, ctx, change)
	}
	return s.Adapter.SetMember(ctx, change)
}

// The hooks below are made of small changes.

func onEvent(change func(ev *adapter.Event)) func(*saboteur) {
	return func(s *saboteur) {
		s.event = func(_ *saboteur, ev adapter.Event) []adapter.Event { change(&ev); return []adapter.Event{ev} }
	}
}

func onMessage(change func(m *adapter.Message)) func(*saboteur) {
	return onEvent(func(ev *adapter.Event) {
		if m, ok := ev.Body.(adapter.Message); ok {
			change(&m)
			ev.Body = m
		}
	})
}

func drop(when func(adapter.Event) bool) func(*saboteur) {
	return func(s *saboteur) {
		s.event = func(_ *saboteur, ev adapter.Event) []adapter.Event {
			if when(ev) {
				return nil
			}
			return []adapter.Event{ev}
		}
	}
}

func onSend(change func(out *adapter.Outbound)) func(*saboteur) {
	return func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			change(&out)
			return s.Adapter.Send(ctx, out)
		}
	}
}

func onText(p *content.Part, change func(string) string) {
	if single, ok := p.Body.(content.Single); ok {
		single.Content = []byte(change(string(single.Content)))
		p.Body = single
	}
}

func isMembership(change adapter.MemberChange) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Membership)
		return ok && m.Change == change
	}
}

func noAstral(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xFFFF {
			return '?'
		}
		return r
	}, s)
}

func firstBytes(n int) func(string) string {
	return func(s string) string { return s[:min(n, len(s))] }
}

// forgetful loses its position at the second start of what it counts.
func forgetful(s *saboteur) {
	runs := 0
	s.run = func(s *saboteur, ctx context.Context, sink adapter.Sink) error {
		if runs++; runs > 1 || s.instance > 1 {
			if err := s.account.State.Put(ctx, positionKey, []byte("999999")); err != nil {
				return err
			}
		}
		return s.Adapter.Run(ctx, sink)
	}
}

var errVague = errors.New("something went wrong")

// sabotages breaks the adapter once for each case of the suite, which must notice.
var sabotages = map[string]func(*saboteur){
	"text from people": onEvent(func(ev *adapter.Event) { ev.Sender.Name = "" }),
	"text to people": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			if sent, err := s.Adapter.Send(ctx, out); err != nil {
				return sent, err
			}
			out.Marker.Key += "again"
			return s.Adapter.Send(ctx, out)
		}
	},
	"own names": onSend(func(out *adapter.Outbound) { out.Author.Name = "Somebody" }),
	"namesakes": onEvent(func(ev *adapter.Event) { ev.Own = ev.Own || strings.Contains(ev.Sender.Name, "Alice") }),
	"the gateway speaks": onSend(func(out *adapter.Outbound) {
		if out.Author.IsGateway() {
			onText(&out.Content.Body, func(s string) string { return "Gateway: " + s })
		}
	}),
	"order": func(s *saboteur) {
		s.event = func(s *saboteur, ev adapter.Event) []adapter.Event {
			s.mu.Lock()
			defer s.mu.Unlock()
			m, ok := ev.Body.(adapter.Message)
			if ok && strings.HasPrefix(plainText(m), "in 3.") {
				s.held = append(s.held, ev)
				return nil
			}
			events := []adapter.Event{ev}
			if ok && strings.HasPrefix(plainText(m), "in 4.") {
				events, s.held = append(events, s.held...), nil
			}
			return events
		}
	},
	"odd unicode from people": onMessage(func(m *adapter.Message) { onText(&m.Content.Body, noAstral) }),
	"odd unicode to people":   onSend(func(out *adapter.Outbound) { onText(&out.Content.Body, noAstral) }),
	"huge from people":        onMessage(func(m *adapter.Message) { onText(&m.Content.Body, firstBytes(4096)) }),
	"huge to people":          onSend(func(out *adapter.Outbound) { onText(&out.Content.Body, firstBytes(4096)) }),
	"several parts": onSend(func(out *adapter.Outbound) {
		if multi, ok := out.Content.Body.Body.(content.Multi); ok {
			out.Content.Body = multi.Parts[0]
		}
	}),
	"parts done before": onSend(func(out *adapter.Outbound) { out.Done = nil }),

	"edit by people":     onMessage(func(m *adapter.Message) { m.Replaces = "" }),
	"edit by us":         onSend(func(out *adapter.Outbound) { out.Content.Replaces, out.Replaces = content.MessageID{}, nil }),
	"reply by people":    onMessage(func(m *adapter.Message) { m.InReplyTo = "" }),
	"reply by us":        onSend(func(out *adapter.Outbound) { out.InReplyTo = nil }),
	"reaction by people": onMessage(func(m *adapter.Message) { m.InReplyTo += "x" }),
	"reaction by us": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			if out.Content.IsUnreact() {
				return adapter.Sent{Parts: []adapter.NativePart{{ID: "none"}}}, nil
			}
			return s.Adapter.Send(ctx, out)
		}
	},
	"delete by people": drop(func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && m.Content.Body.IsNull()
	}),
	"delete by us": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			if out.Replaces != nil {
				return adapter.Sent{Parts: []adapter.NativePart{{ID: "none"}}}, nil
			}
			return s.Adapter.Send(ctx, out)
		}
	},

	"echo":          onEvent(func(ev *adapter.Event) { ev.Own = false }),
	"repeated send": onSend(func(out *adapter.Outbound) { out.Marker.Key += fmt.Sprint(out.Attempt) }),
	"not taken":     func(s *saboteur) { s.taken = func(error) error { return nil } },
	"taken but not acknowledged": func(s *saboteur) {
		s.event = func(s *saboteur, ev adapter.Event) []adapter.Event {
			ev.ID += adapter.NativeID(fmt.Sprint("/", s.instance))
			return []adapter.Event{ev}
		}
	},
	"reconnect": func(s *saboteur) {
		runs := 0
		s.run = func(s *saboteur, ctx context.Context, sink adapter.Sink) error {
			if runs++; runs > 1 {
				<-ctx.Done()
				return nil
			}
			return s.Adapter.Run(ctx, sink)
		}
	},
	"reconnect and catch up": forgetful,
	"slow send": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			go func() { _, _ = s.Adapter.Send(context.WithoutCancel(ctx), out) }()
			return adapter.Sent{Parts: []adapter.NativePart{{ID: "sure"}}}, nil
		}
	},
	"certain failure": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			sent, err := s.Adapter.Send(ctx, out)
			if err != nil {
				err = errVague
			}
			return sent, err
		}
	},
	"unknown outcome, arrived": func(s *saboteur) {
		s.confirm = func(*saboteur, context.Context, adapter.Outbound) (adapter.Sent, error) {
			return adapter.Sent{}, adapter.NotDelivered(errVague)
		}
	},
	"unknown outcome, lost": func(s *saboteur) {
		s.confirm = func(*saboteur, context.Context, adapter.Outbound) (adapter.Sent, error) {
			return adapter.Sent{Parts: []adapter.NativePart{{ID: "found"}}}, nil
		}
	},
	"no such conversation": func(s *saboteur) {
		s.open = func(s *saboteur, ctx context.Context, name string) (adapter.Conversation, error) {
			c, err := s.Adapter.Open(ctx, name)
			if errors.Is(err, adapter.ErrNotFound) {
				return conversation(name), nil
			}
			return c, err
		}
	},
	"not connected": func(s *saboteur) {
		s.send = func(s *saboteur, ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
			if sent, err := s.Adapter.Send(ctx, out); err == nil {
				return sent, nil
			}
			return adapter.Sent{}, errVague
		}
	},

	"two accounts": func(s *saboteur) {
		s.event = func(s *saboteur, ev adapter.Event) []adapter.Event {
			ev.ID += adapter.NativeID("/" + s.account.ID)
			return []adapter.Event{ev}
		}
	},
	"another gateway":  onEvent(func(ev *adapter.Event) { ev.Marker = adapter.Marker{} }),
	"rename by people": drop(func(ev adapter.Event) bool { _, ok := ev.Body.(adapter.Profile); return ok }),
	"rename of ours": onSend(func(out *adapter.Outbound) {
		if out.Author.Name == "Alicia" {
			out.Author.Name = "Alice Ångström"
		}
	}),
	"join by people":  drop(isMembership(adapter.Joined)),
	"leave by people": drop(isMembership(adapter.Left)),
	"kick by people": onEvent(func(ev *adapter.Event) {
		if m, ok := ev.Body.(adapter.Membership); ok && m.Change == adapter.Kicked {
			m.Change = adapter.Left
			ev.Body = m
		}
	}),
	"ours kicked by people": onEvent(func(ev *adapter.Event) {
		if m, ok := ev.Body.(adapter.Membership); ok {
			m.Person.User = uri.User{}
			ev.Body = m
		}
	}),
	"ours join and leave": func(s *saboteur) {
		s.member = func(s *saboteur, ctx context.Context, change adapter.MemberUpdate) error {
			if change.Change == adapter.Left {
				return nil
			}
			return s.Adapter.SetMember(ctx, change)
		}
	},
	"kick by us": func(s *saboteur) {
		s.member = func(*saboteur, context.Context, adapter.MemberUpdate) error { return nil }
	},
	"restart": func(s *saboteur) {
		s.event = func(s *saboteur, ev adapter.Event) []adapter.Event {
			if m, ok := ev.Body.(adapter.Message); ok && s.instance > 1 {
				m.Replaces, m.InReplyTo = "", ""
				ev.Body = m
			}
			return []adapter.Event{ev}
		}
	},
	"restart and catch up": forgetful,
}

func plainText(m adapter.Message) string {
	if single, ok := m.Content.Body.Body.(content.Single); ok {
		return string(single.Content)
	}
	return ""
}

const sabotageEnv = "MIMIGATE_TEST_SABOTAGE"

// TestSabotaged is what TestSuiteNotices runs as a process of its own: one case of the suite on a broken adapter.
func TestSabotaged(t *testing.T) {
	breaks, ok := sabotages[os.Getenv(sabotageEnv)]
	if !ok {
		t.Skip("runs only under TestSuiteNotices")
	}
	n := testNetwork(modeNames, nil)
	n.Patience = time.Second
	create := n.Driver.New
	var instances atomic.Int64
	n.Driver.New = func(account adapter.Account) (adapter.Adapter, error) {
		a, err := create(account)
		if err != nil {
			return nil, err
		}
		s := &saboteur{Adapter: a.(*Adapter), instance: int(instances.Add(1))}
		breaks(s)
		return s, nil
	}
	adaptertest.Run(t, n)
}

// TestSuiteNotices breaks the adapter once for each case and expects that case to fail: a suite that cannot fail says nothing.
func TestSuiteNotices(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each case")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cases := suiteCases(t, self)
	for name := range sabotages {
		if !strings.Contains(cases, "TestSuiteNames/"+strings.ReplaceAll(name, " ", "_")+" ") {
			t.Errorf("no case %q, or it does not pass", name)
		}
	}
	if n := strings.Count(cases, "--- PASS: TestSuiteNames/"); n != len(sabotages) {
		t.Errorf("%d cases, %d sabotages", n, len(sabotages))
	}
	for name := range sabotages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.timeout=2m", "-test.run", "^TestSabotaged$/^"+strings.ReplaceAll(name, " ", "_")+"$")
			cmd.Env = append(os.Environ(), sabotageEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSabotaged/"+strings.ReplaceAll(name, " ", "_")) ||
				strings.Contains(string(out), "panic:") {
				t.Errorf("the suite did not notice: %v\n%s", err, out)
			}
		})
	}
}

// suiteCases returns what the whole adapter passes.
func suiteCases(t *testing.T, self string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), self, "-test.run", "^TestSuiteNames$", "-test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
