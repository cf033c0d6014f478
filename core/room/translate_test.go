package room

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/policy"
)

func TestTranslate(t *testing.T) {
	eve := leaf("eve@e/1")
	dict := mls.AppDataDictionary{
		{ID: mls.ComponentAppComponents, Data: []byte{4, 0, 0x22, 0, 0x25}},
		{ID: mls.ComponentSafeAAD, Data: []byte{2, 0, 0x20}},
		{ID: mls.ComponentContentMediaTypes, Data: append(append([]byte{12, 10}, "text/plain"...), 0)},
	}
	node := mls.LeafNode{
		Credential: mls.Credential{Type: mls.CredentialBasic, Identity: []byte("eve")},
		Capabilities: &mls.Capabilities{Versions: []mls.ProtocolVersion{1}, CipherSuites: []mls.CipherSuite{1, 2},
			Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8}, Credentials: []mls.CredentialType{1}},
		Lifetime:   mls.Lifetime{NotBefore: 100, NotAfter: 160},
		Extensions: mls.Extensions{dict.Extension()},
	}
	can := policy.ClientCapabilities{Versions: []uint16{1}, CipherSuites: []uint16{1, 2}, Extensions: []uint16{6}, Proposals: []uint16{8},
		Credentials: []uint16{1}, Components: []policy.Component{policy.ParticipantList, policy.RolesList},
		SafeAAD: []policy.Component{policy.FrankAAD}, MediaTypes: []policy.MediaType{{Type: "text/plain"}}}
	who := func(l *mls.LeafNode) (Leaf, error) {
		if string(l.Credential.Identity) != "eve" {
			return Leaf{}, errors.New("unknown")
		}
		return eve, nil
	}
	at := func(i mls.LeafIndex) Leaf { return Leaf{Index: i} }
	moved := eve
	moved.Index = 3
	for _, test := range []struct {
		p    mls.Proposal
		want Proposal
	}{
		{mls.Proposal{Type: mls.ProposalAdd, Add: &mls.KeyPackage{LeafNode: node}}, Proposal{Leaf: eve, Client: can, Lifetime: 60}},
		{mls.Proposal{Type: mls.ProposalUpdate, Update: &node}, Proposal{Leaf: moved}},
		{mls.Proposal{Type: mls.ProposalRemove, Remove: 7}, Proposal{Leaf: at(7)}},
		{mls.Proposal{Type: mls.ProposalSelfRemove}, Proposal{Leaf: at(3)}},
		{mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: 0x22, Operation: mls.OpUpdate, Update: []byte{1}}},
			Proposal{Component: policy.ParticipantList, Data: []byte{1}}},
		{mls.Proposal{Type: mls.ProposalAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{Component: 0x2f, Operation: mls.OpRemove}},
			Proposal{Component: policy.BotPolicy, Remove: true}},
		{mls.Proposal{Type: mls.ProposalAppEphemeral, AppEphemeral: &mls.AppEphemeral{Component: 5}}, Proposal{Component: 5}},
		{mls.Proposal{Type: mls.ProposalReInit}, Proposal{}},
	} {
		test.want.Ref, test.want.Type = "r", test.p.Type
		if got, err := Translate(&test.p, "r", 3, who); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("type %d: %+v, %v\nwant %+v", test.p.Type, got, err, test.want)
		}
	}
	bad := node
	bad.Credential.Identity = nil
	if _, err := Translate(&mls.Proposal{Type: mls.ProposalAdd, Add: &mls.KeyPackage{LeafNode: bad}}, "", 0, who); err == nil {
		t.Error("a leaf that nobody knows")
	}
	if _, err := Translate(&mls.Proposal{Type: mls.ProposalUpdate, Update: &bad}, "", 0, who); err == nil {
		t.Error("a leaf that nobody knows")
	}
	for i := range dict {
		bad := node
		bad.Extensions = mls.Extensions{dict.With(dict[i].ID, []byte{9}).Extension()}
		if _, err := Translate(&mls.Proposal{Type: mls.ProposalAdd, Add: &mls.KeyPackage{LeafNode: bad}}, "", 0, who); !errors.Is(err, mls.ErrSyntax) {
			t.Errorf("malformed component %d: %v", dict[i].ID, err)
		}
	}
}

// BenchmarkApply measures a commit that adds one user, and the check of one message, in rooms of n participants.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		c := Contents{Rules: *policy.Default(), Metadata: Metadata{URI: clubhouse}}
		var leaves []Leaf
		for i := range n {
			l := leaf(fmt.Sprintf("u%d@a/1", i))
			l.Index = mls.LeafIndex(i)
			leaves = append(leaves, l)
			c.Participants = append(c.Participants, Participant{l.User.String(), 3})
		}
		s, err := New(mustRoom(b, clubhouse), c.Dictionary(), leaves)
		if err != nil {
			b.Fatal(err)
		}
		u := commit(member(0), roles2(s, Participant{user("eve@e").String(), 2}), add("eve@e/1"))
		b.Run(fmt.Sprintf("commit/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Apply(u); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("message/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.MaySend(leaves[n/2].User); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("new/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := New(s.Room(), s.Dictionary(), leaves); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
