package interop

import (
	"bytes"
	"context"
	"testing"
)

// TestMLSGoAlone plays the harness without any other process, so that go test -short and the race detector see it.
func TestMLSGoAlone(t *testing.T) {
	Run(t, Options{Suites: []Suite{X25519AES128, P256AES128, P521AES256}, Brief: []Suite{P256AES128, P521AES256}, Epochs: 30, Seed: *seedFlag}, MLSGo{}, MLSGo{})
}

// faulty is mls-go with one fault in each group.
type faulty struct {
	MLSGo
	fault func(Group) Group
}

func (f faulty) NewClient(ctx context.Context, suite Suite, identity string) (Client, error) {
	c, err := f.MLSGo.NewClient(ctx, suite, identity)
	return faultyClient{c, f.fault}, err
}

type faultyClient struct {
	Client
	fault func(Group) Group
}

func (c faultyClient) Join(ctx context.Context, welcome, tree []byte) (Group, error) {
	g, err := c.Client.Join(ctx, welcome, tree)
	return c.fault(g), err
}

type wrongExporter struct{ Group }

func (g wrongExporter) Export(ctx context.Context, label string, exportContext []byte, length int) ([]byte, error) {
	return g.Group.Export(ctx, label+"!", exportContext, length)
}

type wrongState struct {
	Group
	change func(*State)
}

func (g wrongState) State(ctx context.Context) (State, error) {
	s, err := g.Group.State(ctx)
	g.change(&s)
	return s, err
}

type wrongReceived struct {
	Group
	change func(*Received)
}

func (g wrongReceived) Process(ctx context.Context, message []byte) (Received, error) {
	r, err := g.Group.Process(ctx, message)
	g.change(&r)
	return r, err
}

// acceptsReplays answers a message it has seen as it did the first time.
type acceptsReplays struct {
	Group
	seen map[string]Received
}

func (g acceptsReplays) Process(ctx context.Context, message []byte) (Received, error) {
	if r, again := g.seen[string(message)]; again {
		return r, nil
	}
	r, err := g.Group.Process(ctx, message)
	g.seen[string(message)] = r
	return r, err
}

// TestHarnessNotices checks that the scenarios fail when a peer is wrong.
func TestHarnessNotices(t *testing.T) {
	state := func(change func(*State)) func(Group) Group {
		return func(g Group) Group { return wrongState{g, change} }
	}
	received := func(change func(*Received)) func(Group) Group {
		return func(g Group) Group { return wrongReceived{g, change} }
	}
	for name, fault := range map[string]func(Group) Group{
		"exporter":      func(g Group) Group { return wrongExporter{g} },
		"authenticator": state(func(s *State) { s.Authenticator = bytes.ToUpper(append(s.Authenticator, 'x')) }),
		"tree hash":     state(func(s *State) { s.TreeHash[0] ^= 1 }),
		"epoch":         state(func(s *State) { s.Epoch++ }),
		"leaf":          state(func(s *State) { s.Leaf = 0 }),
		"members":       state(func(s *State) { s.Members++ }),
		"extensions":    state(func(s *State) { s.Extensions = append(s.Extensions, Extension{Type: 9}) }),
		"plaintext":     received(func(r *Received) { r.Plaintext = append(r.Plaintext, 0) }),
		"aad":           received(func(r *Received) { r.AAD = nil }),
		"sender":        received(func(r *Received) { r.Sender++ }),
		"removed":       received(func(r *Received) { r.Removed = false }),
		"replay":        func(g Group) Group { return acceptsReplays{g, map[string]Received{}} },
	} {
		t.Run(name, func(t *testing.T) {
			noticed := false
			for _, sc := range scenarios() {
				if sc.name != "join commit message" && sc.name != "add update remove" && sc.name != "messages out of order" {
					continue
				}
				if err := sc.play(t.Context(), newStage(X25519AES128, name), MLSGo{}, faulty{fault: fault}); err != nil {
					t.Logf("%s: %v", sc.name, err)
					noticed = true
				}
			}
			if !noticed {
				t.Error("no scenario noticed")
			}
		})
	}
}
