package room

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

// script draws choices from bytes, so that a fuzzer can steer them; it ends with its bytes.
type script struct {
	bytes []byte
	refs  int
}

func (s *script) pick(n int) int {
	if len(s.bytes) == 0 {
		return 0
	}
	b := s.bytes[0]
	s.bytes = s.bytes[1:]
	return int(b) % n
}

func choose[T any](s *script, list ...T) T { return list[s.pick(len(list))] }

var cast = []string{"alice@a", "gateway@a", "bob@b", "carl@c", "mallory@m", "anna@a", "dora@d", "idle@i", "eve@e", "eva@a", "fay@f"}

func (s *script) actor() Actor {
	switch s.pick(8) {
	case 0:
		a := newcomer(fmt.Sprintf("%s/%d", choose(s, cast...), s.pick(3)))
		a.JoinRole = policy.RoleIndex(s.pick(4))
		a.Claims = [][]policy.Claim{nil, {staff}, {staff, boss}}[s.pick(3)]
		return a
	case 1:
		return server(choose(s, "a", "b", "c"))
	case 2, 3:
		return member(alice)
	case 4, 5:
		return member(carl)
	default:
		return member(mls.LeafIndex(s.pick(10)))
	}
}

// proposals draws what an update proposes; more often than not something that belongs together.
func (s *script) proposals(st *State) []Proposal {
	who := choose(s, cast...)
	u := user(who)
	switch s.pick(9) {
	case 0: // in, with clients
		list := []Proposal{roles2(st, Participant{u.String(), choose[policy.RoleIndex](s, 2, 2, 3, 6, 1, 9)})}
		for i := range s.pick(3) {
			list = append(list, add(fmt.Sprintf("%s/%d", who, i)))
		}
		return list
	case 1, 2: // out, or banned, maybe with all clients
		list := []Proposal{roles2(st, Participant{u.String(), choose[policy.RoleIndex](s, 0, 1)})}
		keep := s.pick(8) == 0
		for l := range st.Leaves() {
			if l.User == u && !keep {
				list = append(list, rm(l.Index))
			}
		}
		return list
	case 3:
		return []Proposal{roles2(st, Participant{u.String(), policy.RoleIndex(s.pick(8))}, Participant{user(choose(s, cast...)).String(), 3})}
	case 4:
		i := mls.LeafIndex(s.pick(10))
		return []Proposal{choose(s, rm(i), leave(i), plain(mls.ProposalPSK), plain(mls.ProposalReInit), plain(mls.ProposalExternalInit))}
	case 5:
		return []Proposal{add(fmt.Sprintf("%s/%d", who, s.pick(4)))}
	case 6:
		return []Proposal{metadata(func(m *Metadata) { m.Name, m.Mood = choose(s, "a", "b"), choose(s, "", "c") })}
	case 7:
		return []Proposal{s.policy(st)}
	default:
		id, n := policy.Component(0x20+s.pick(20)), s.pick(30)
		n = min(n, len(s.bytes))
		p := data(id, s.bytes[:n])
		s.bytes = s.bytes[n:]
		return []Proposal{p}
	}
}

func (s *script) policy(st *State) Proposal {
	c := Contents{Rules: *st.Rules()}
	c.Rules.Roles = slices.Clone(c.Rules.Roles)
	n := limit(uint32(s.pick(12)))
	switch id := choose(s, policy.RolesList, policy.BaseRoomPolicy, policy.PreAuthList, policy.BotPolicy, policy.MLSOperationalPolicy); id {
	case policy.RolesList:
		c.Rules.Roles[s.pick(len(c.Rules.Roles))].Max = choose(s, n, nil)
		return data(id, c.Encode(id))
	case policy.BaseRoomPolicy:
		c.Rules.Base.MaxUsers, c.Rules.Base.MultiDevice = choose(s, n, nil), s.pick(2) == 0
		return data(id, c.Encode(id))
	case policy.PreAuthList:
		c.Rules.PreAuth = []policy.PreAuthEntry{{Claims: []policy.Claim{staff}, Target: c.Rules.Roles[s.pick(len(c.Rules.Roles))]}}
		return data(id, c.Encode(id))
	default:
		return drop(id)
	}
}

// play applies random updates to the test room. It checks that a refusal changes nothing, that what is accepted is sound, and that
// a state rebuilt from dictionary, leaves and pending updates is the same. It returns how many updates were accepted and refused.
func play(t testing.TB, input []byte) (accepted, refusals int) {
	s := &script{bytes: input}
	setups := []func(*Contents){nil, openDoor, joinCode, preAuth}
	st := build(t, setups[s.pick(len(setups))])
	var bundles []Update // since the last commit
	for len(s.bytes) > 0 {
		u := Update{Actor: s.actor(), Commit: s.pick(3) == 0}
		if u.Commit && u.Actor.Kind == Newcomer {
			u.Proposals = append(u.Proposals, plain(mls.ProposalExternalInit))
		}
		for range 1 + s.pick(2) {
			u.Proposals = append(u.Proposals, s.proposals(st)...)
		}
		for i := range u.Proposals {
			if !u.Commit {
				s.refs++
				u.Proposals[i].Ref = mls.ProposalRef(fmt.Sprint(s.refs))
			}
		}
		if u.Commit && s.pick(10) > 0 {
			for _, p := range st.Pending() {
				if u.Actor.Kind != Newcomer || p.Proposal.Type == mls.ProposalSelfRemove {
					u.Proposals = append(u.Proposals, Proposal{Ref: p.Proposal.Ref})
				}
			}
		}
		print := fingerprint(st)
		next, err := st.Apply(u)
		if fingerprint(st) != print {
			t.Fatalf("%+v changed the state it was applied to", u)
		}
		if err != nil {
			refusals++
			if !errors.Is(err, policy.ErrDenied) && !errors.Is(err, policy.ErrInvalid) && !errors.Is(err, mls.ErrSyntax) {
				t.Fatalf("%v is of no known kind", err)
			}
			continue
		}
		accepted++
		checkSound(t, st, next, u)
		if bundles = append(bundles, u); u.Commit {
			bundles = nil
		}
		st = next
		checkReplay(t, st, bundles)
	}
	return accepted, refusals
}

// checkReplay rebuilds a state as a hub does after a restart.
func checkReplay(t testing.TB, st *State, bundles []Update) {
	t.Helper()
	again, err := New(st.Room(), st.Dictionary(), slices.Collect(st.Leaves()))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range bundles {
		if again, err = again.Apply(u); err != nil {
			t.Fatalf("refused after a restart: %v", err)
		}
	}
	if fingerprint(again) != fingerprint(st) || !reflect.DeepEqual(again.Rules(), st.Rules()) {
		t.Fatalf("after a restart\n%s\nwant\n%s", fingerprint(again), fingerprint(st))
	}
}

// TestRandomSchedules plays long random games.
func TestRandomSchedules(t *testing.T) {
	accepted, refusals := 0, 0
	for seed := range uint64(60) {
		source := rand.NewChaCha8([32]byte{byte(seed), 7})
		input := make([]byte, 1500)
		if _, err := source.Read(input); err != nil {
			t.Fatal(err)
		}
		a, r := play(t, input)
		accepted, refusals = accepted+a, refusals+r
	}
	t.Logf("%d accepted, %d refused", accepted, refusals)
	if accepted < 500 || refusals < 500 {
		t.Errorf("%d accepted and %d refused: one side is hardly tested", accepted, refusals)
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("a few choices that somebody makes"))
	f.Add(bytes.Repeat([]byte{2, 3, 0, 1}, 40))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 400 {
			return
		}
		play(t, input)
	})
}

// FuzzComponent: whatever decodes, encodes again to what decodes to the same.
func FuzzComponent(f *testing.F) {
	c := full()
	for _, id := range everyComponent() {
		f.Add(uint16(id), c.Encode(id))
	}
	f.Fuzz(func(t *testing.T, id uint16, input []byte) {
		var first, second Contents
		if err := first.Decode(policy.Component(id), input); err != nil {
			if !reflect.DeepEqual(first, Contents{}) {
				t.Fatal("a failure left something behind")
			}
			return
		}
		data := first.Encode(policy.Component(id))
		if err := second.Decode(policy.Component(id), data); err != nil {
			t.Fatalf("%x became %x: %v", input, data, err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v became %+v", first, second)
		}
		// Only a lone URI has two forms.
		if c := policy.Component(id); c != policy.BaseRoomPolicy && c != policy.LinkPreviewPolicy && !bytes.Equal(data, input) {
			t.Fatalf("%x became %x", input, data)
		}
		_ = first.Rules.Validate()
	})
}

// FuzzComponentsUpdate: what the engine asks with bytes from outside.
func FuzzComponentsUpdate(f *testing.F) {
	c := full()
	f.Add(uint16(0x22), c.Encode(policy.ParticipantList), []byte{0, 4, 0, 0, 0, 1, 0})
	f.Add(uint16(0x2a), c.Encode(policy.JoinLinks), []byte{4, 0, 0, 0, 1, 2, 1, 'x'})
	f.Fuzz(func(t *testing.T, id uint16, old, update []byte) {
		data, err := Components{}.Update(mls.ComponentID(id), old, [][]byte{update})
		var check Contents
		if err == nil && (id == 0x22 || id == 0x2a) && check.Decode(policy.Component(id), data) != nil {
			t.Fatalf("%x is malformed", data)
		}
	})
}

// FuzzNew: any dictionary gives a state, or an error, and the state answers.
func FuzzNew(f *testing.F) {
	c := full()
	f.Add(mls.Marshal(c.Dictionary()))
	room := mustRoom(f, clubhouse)
	f.Fuzz(func(t *testing.T, input []byte) {
		var dict mls.AppDataDictionary
		if mls.Unmarshal(input, &dict) != nil {
			return
		}
		s, err := New(room, dict, []Leaf{leaf("alice@a/1")})
		if err != nil {
			return
		}
		_ = s.Check()
		_ = s.MaySend(user("alice@a"))
		_ = s.MayJoin(newcomer("bob@b/1"))
		_, _ = s.Apply(commit(member(0), roles("eve@e=2"), metadata(rename)))
	})
}
