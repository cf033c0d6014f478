package mls

import (
	"bytes"
	"errors"
	"testing"
)

// threeOf is alice alone with bob and carol in a group, each a state of their own.
func threeOf(t *testing.T, cfg *Config) (alice, bob, carol *Group) {
	alice = newGroup(t, cfg, X25519AES128, "alice")
	b, c := newMember(t, cfg, X25519AES128, "bob"), newMember(t, cfg, X25519AES128, "carol")
	step := commit(t, alice, 0, CommitOptions{Proposals: adds(b, c), WelcomeTree: true})
	return alice, join(t, cfg, step.Welcome, nil, b), join(t, cfg, step.Welcome, nil, c)
}

// TestLateMessageNamesItsSender: a message that comes after its sender's place was given to somebody else is still
// the sender's, also where that somebody is ours.
func TestLateMessageNamesItsSender(t *testing.T) {
	for name, ours := range map[string]bool{"theirs": false, "ours": true} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			alice, bob, carol := threeOf(t, cfg)
			late := must(carol.Protect(2, []byte("late"), Framing{}))(t)
			commit1 := commit(t, alice, 0, CommitOptions{Proposals: []Proposal{{Type: ProposalRemove, Remove: 2}}})
			receive(t, bob, commit1.Message)
			dave := newMember(t, cfg, X25519AES128, "dave")
			added := commit(t, alice, 0, CommitOptions{Proposals: adds(dave)})
			var with Arrival
			if ours {
				with = Arrival{Own: []*JoinSecrets{dave}, Welcome: added.Welcome}
			}
			receive(t, bob, added.Message, with)
			got := receive(t, bob, late.Message)
			if string(got.Application) != "late" || string(got.Leaf.Credential.Identity) != "carol" {
				t.Errorf("opened %q of %q", got.Application, got.Leaf.Credential.Identity)
			}
			if string(bob.Leaf(2).Credential.Identity) != "dave" {
				t.Error("leaf 2 is not dave's: the test shows nothing")
			}
		})
	}
}

// TestOwnKeysAreCopied: key packages given to a group stay the caller's, whatever the group erases.
func TestOwnKeysAreCopied(t *testing.T) {
	cfg := testConfig()
	g := newGroup(t, cfg, X25519AES128, "gateway")
	own := newMember(t, cfg, X25519AES128, "person")
	before := bytes.Clone(own.LeafKey)
	commit(t, g, 0, CommitOptions{Own: []*JoinSecrets{own}})
	commit(t, g, 1, CommitOptions{}) // replaces the person's leaf key
	if !bytes.Equal(own.LeafKey, before) {
		t.Error("settling erased a key of the caller's")
	}
}

// TestRequiredBesideNewCredential: a commit that brings a new credential type is still held to what it requires.
func TestRequiredBesideNewCredential(t *testing.T) {
	cfg := testConfig()
	alice, bob, _ := threeOf(t, cfg)
	template := testTemplate(t, cfg, X25519AES128, "x")
	template.Credential = Credential{Type: 0xf00d, Other: []byte("x")}
	template.Capabilities = DefaultCapabilities(X25519AES128)
	template.Capabilities.Credentials = append(template.Capabilities.Credentials, 0xf00d)
	template.Capabilities.Extensions = append(template.Capabilities.Extensions, 0xf055)
	j := must(NewKeyPackage(cfg, X25519AES128, template))(t)
	required := RequiredCapabilities{Extensions: []ExtensionType{0xf055}}
	proposals := append(adds(j), Proposal{Type: ProposalGroupContextExtensions,
		Extensions: Extensions{{Type: ExtRequiredCapabilities, Data: Marshal(&required)}}})
	if _, err := alice.Commit(0, CommitOptions{Proposals: proposals}); !errors.Is(err, ErrLeafNode) {
		t.Errorf("a commit that nobody can follow: %v", err)
	}
	if bob.Epoch() != 1 {
		t.Fatal("nothing was to happen")
	}
}

// TestBounds: lists that are searched, waiting proposals and sparse trees have bounds.
func TestBounds(t *testing.T) {
	var many Encoder
	many.Vector(func(e *Encoder) {
		for i := range maxListed + 1 {
			e.Uint16(uint16(i))
			e.Opaque(nil)
		}
	})
	if err := Unmarshal(many.Bytes(), new(Extensions)); !errors.Is(err, ErrSyntax) {
		t.Errorf("%d extensions: %v", maxListed+1, err)
	}
	blanks := make([]byte, 2<<maxDepth+1)
	var tree Encoder
	tree.Opaque(blanks)
	if _, err := parseTree(DefaultSuites()[X25519AES128], tree.Bytes(), new(interner)); !errors.Is(err, ErrSyntax) {
		t.Errorf("a tree of 2^%d blank nodes: %v", maxDepth+1, err)
	}
	g := newGroup(t, testConfig(), X25519AES128, "alice", AppDataDictionary{}.With(testAppend, []byte("-")).Extension())
	g.proposals = make([]*PendingProposal, maxProposals)
	for i := range g.proposals {
		g.proposals[i] = &PendingProposal{}
	}
	p := Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: testAppend, Operation: OpUpdate, Update: []byte("x")}}
	if _, err := g.Propose(0, p, Framing{}, false); !errors.Is(err, ErrProposal) {
		t.Errorf("one more pending proposal: %v", err)
	}
}

// TestLoadRefusesShortSecrets: what storage has damaged is not used.
func TestLoadRefusesShortSecrets(t *testing.T) {
	cfg := testConfig()
	alice, _ := pair(t, cfg, X25519AES128)
	say(t, alice, 0, "so that there is a ratchet")
	for key, value := range stored(alice) {
		if key[0] != 'S' && !(key[0] == 'e' && key[9] == 'R') {
			continue
		}
		damaged := stored(alice)
		damaged[key] = value[:4]
		if _, err := LoadGroup(cfg, damaged.records()); !errors.Is(err, ErrStorage) {
			t.Errorf("record %c cut short: %v", key[0], err)
		}
	}
}
