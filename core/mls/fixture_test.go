package mls

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// Components of the tests: one that appends and one that replaces.
const (
	testAppend  ComponentID = 0x8001
	testReplace ComponentID = 0x8002
)

// testComponents is the application of the tests.
type testComponents struct{}

func (testComponents) Update(id ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	switch id {
	case testAppend:
		return slices.Concat(append([][]byte{old}, updates...)...), nil
	case testReplace, ComponentAppComponents, ComponentSafeAAD, ComponentContentMediaTypes:
		if len(updates) != 1 || bytes.Equal(updates[0], []byte("bad")) {
			return nil, errors.New("one good value, please")
		}
		return updates[0], nil
	}
	return nil, errNoComponents
}

func (testComponents) Remove(id ComponentID) error {
	if id == testAppend {
		return errors.New("cannot be removed")
	}
	return nil
}

func (testComponents) Ephemeral(id ComponentID, data []byte) error {
	if id != testAppend || len(data) == 0 {
		return errors.New("not for us")
	}
	return nil
}

var testTime = time.Unix(1_800_000_000, 0)

func testConfig() *Config {
	return &Config{Components: testComponents{}, Suites: DefaultSuites(), Now: func() time.Time { return testTime }}
}

// testDictionary is a leaf's dictionary that names every component of the tests.
func testDictionary() Extensions {
	dict := AppDataDictionary{}.With(ComponentAppComponents, Marshal(ComponentsList{1, 2, 3, testAppend, testReplace})).
		With(ComponentSafeAAD, Marshal(ComponentsList{}))
	return Extensions{dict.Extension()}
}

func testTemplate(t testing.TB, cfg *Config, id CipherSuite, name string) LeafTemplate {
	t.Helper()
	key := must(cfg.suites().NewSignatureKey(id, cfg.random()))(t)
	return LeafTemplate{Credential: BasicCredential([]byte(name)), Signature: key, Extensions: testDictionary()}
}

func newMember(t testing.TB, cfg *Config, id CipherSuite, name string) *JoinSecrets {
	t.Helper()
	return must(NewKeyPackage(cfg, id, testTemplate(t, cfg, id, name)))(t)
}

func newMembers(t testing.TB, cfg *Config, id CipherSuite, prefix string, n int) []*JoinSecrets {
	t.Helper()
	out := make([]*JoinSecrets, n)
	for i := range out {
		out[i] = newMember(t, cfg, id, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}

// newGroup is a group whose only member is ours.
func newGroup(t testing.TB, cfg *Config, id CipherSuite, name string, xs ...Extension) *Group {
	t.Helper()
	return must(NewGroup(cfg, []byte("group"), xs, newMember(t, cfg, id, name)))(t)
}

// adds are Add proposals for key packages.
func adds(members ...*JoinSecrets) []Proposal {
	out := make([]Proposal, len(members))
	for i, m := range members {
		out[i] = Proposal{Type: ProposalAdd, Add: &m.KeyPackage}
	}
	return out
}

// commit makes a commit of leaf and merges it.
func commit(t testing.TB, g *Group, leaf LeafIndex, o CommitOptions) *Step {
	t.Helper()
	step := must(g.Commit(leaf, o))(t)
	settle(t, g, must(g.Merge(step))(t))
	return step
}

// receive processes a message and merges it if it is a commit.
func receive(t testing.TB, g *Group, data []byte, with ...Arrival) *Step {
	t.Helper()
	var a Arrival
	if len(with) > 0 {
		a = with[0]
	}
	step := must(g.Process(must(ParseMessage(data))(t), a))(t)
	if step.next == nil {
		settle(t, g, step)
		return step
	}
	settle(t, g, must(g.Merge(step))(t))
	return step
}

func join(t testing.TB, cfg *Config, w *Welcome, tree []byte, own ...*JoinSecrets) *Group {
	t.Helper()
	return must(JoinWelcome(cfg, w, JoinOptions{Own: own, RatchetTree: tree}))(t)
}

// pair is a group of two single-leaf members.
func pair(t testing.TB, cfg *Config, id CipherSuite, xs ...Extension) (alice, bob *Group) {
	t.Helper()
	alice = newGroup(t, cfg, id, "alice", xs...)
	b := newMember(t, cfg, id, "bob")
	step := commit(t, alice, 0, CommitOptions{Proposals: adds(b), WelcomeTree: true})
	return alice, join(t, cfg, step.Welcome, nil, b)
}

// sameEpoch compares everything members of one epoch must agree on.
func sameEpoch(t testing.TB, a, b *Group) {
	t.Helper()
	if a.Epoch() != b.Epoch() || !bytes.Equal(a.EpochAuthenticator(), b.EpochAuthenticator()) {
		t.Fatalf("epochs %d and %d differ", a.Epoch(), b.Epoch())
	}
	if !bytes.Equal(a.state.contextBytes, b.state.contextBytes) || !bytes.Equal(a.RatchetTree(), b.RatchetTree()) {
		t.Fatal("context or tree differ")
	}
	x := must(a.Export("test", []byte("context"), 32))(t)
	if !bytes.Equal(x, must(b.Export("test", []byte("context"), 32))(t)) {
		t.Fatal("exported secrets differ")
	}
}

// say sends a message from leaf and has everyone else open it.
func say(t testing.TB, from *Group, leaf LeafIndex, text string, to ...*Group) {
	t.Helper()
	step := must(from.Protect(leaf, []byte(text), Framing{}))(t)
	settle(t, from, step)
	for _, g := range to {
		got := receive(t, g, step.Message)
		if string(got.Application) != text || got.Sender.Leaf() != leaf {
			t.Fatalf("opened %q of leaf %d", got.Application, got.Sender.Index)
		}
	}
}

// memory is a store of records.
type memory map[string][]byte

func (m memory) apply(delta []Record) {
	for _, r := range delta {
		switch {
		case r.Prefix:
			maps.DeleteFunc(m, func(k string, _ []byte) bool { return bytes.HasPrefix([]byte(k), r.Key) })
		case r.Value == nil:
			delete(m, string(r.Key))
		default:
			m[string(r.Key)] = bytes.Clone(r.Value)
		}
	}
}

func (m memory) records() []Record {
	out := make([]Record, 0, len(m))
	for k, v := range m {
		out = append(out, Record{Key: []byte(k), Value: v})
	}
	return out
}

// differs describes the first difference between two stores.
func (m memory) differs(o memory) string {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if v, ok := o[k]; !ok {
			return fmt.Sprintf("%c %x is missing", k[0], k)
		} else if !bytes.Equal(v, m[k]) {
			return fmt.Sprintf("%c %x differs", k[0], k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if _, ok := m[k]; !ok {
			return fmt.Sprintf("%c %x is too many", k[0], k)
		}
	}
	return ""
}

func stored(g interface{ Snapshot() []Record }) memory {
	m := memory{}
	m.apply(g.Snapshot())
	return m
}

// cloneContext copies a context so that a test may change it.
func cloneContext(c *GroupContext) (out GroupContext) {
	out.UnmarshalMLS(NewDecoder(Marshal(c)))
	return out
}
