package mimi

import (
	"bytes"
	"testing"

	"mimigate/core/mls"
)

// exact are the messages that a hub passes on as they came (mimi-protocol-06 §5.2), and all others that have one form alone.
func exact(v both) bool {
	switch v.(type) {
	case *UpdateRequest, *UpdateRoomResponse, *SubmitMessageResponse, *GroupInfoResponse: // a Welcome has two forms; of codes unknown not all is read
		return false
	}
	return true
}

// fuzz checks a decoder: no input makes it panic, and what it takes encodes to what it takes again, the same.
func fuzz(f *testing.F, seeds [][]byte, fresh func() both) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := fresh()
		if Decode(data, v) != nil {
			return
		}
		once := mls.Marshal(v)
		if exact(v) && !bytes.Equal(once, data) {
			t.Fatalf("%x is encoded as %x", data, once)
		}
		again := fresh()
		if err := Decode(once, again); err != nil {
			t.Fatalf("encoded again it is refused: %v", err)
		}
		if !bytes.Equal(mls.Marshal(again), once) {
			t.Fatal("encodes differently each time")
		}
	})
}

func FuzzUpdateRequest(f *testing.F) {
	x := newFixture(f)
	fuzz(f, [][]byte{mls.Marshal(&x.commit), mls.Marshal(&x.bundle)}, func() both { return new(UpdateRequest) })
}

func FuzzUpdateRoomResponse(f *testing.F) {
	fuzz(f, [][]byte{unhex(f, "00000000017edd1dcdbb"), unhex(f, "0300020130")}, func() both { return new(UpdateRoomResponse) })
}

func FuzzSubmitMessageRequest(f *testing.F) {
	x := newFixture(f)
	fuzz(f, [][]byte{mls.Marshal(&SubmitMessageRequest{Message: x.private, Sender: aliceURI})}, func() both { return new(SubmitMessageRequest) })
}

func FuzzSubmitMessageResponse(f *testing.F) {
	fuzz(f, [][]byte{unhex(f, "01000000017edd1dcdbb01"+vectorFrank), unhex(f, "01020000000000000007")}, func() both { return new(SubmitMessageResponse) })
}

func FuzzKeyMaterialRequest(f *testing.F) {
	r := &KeyMaterialRequest{Requester: aliceURI, Suites: []mls.CipherSuite{1}, Credential: mls.BasicCredential([]byte(aliceURI))}
	fuzz(f, [][]byte{mls.Marshal(r)}, func() both { return new(KeyMaterialRequest) })
}

func FuzzKeyMaterialResponse(f *testing.F) {
	fuzz(f, [][]byte{unhex(f, "0103166d696d693a2f2f622e6578616d706c652f752f626f621a01186d696d693a2f2f622e6578616d706c652f642f626f622f31")},
		func() both { return new(KeyMaterialResponse) })
}

func FuzzGroupInfoRequest(f *testing.F) {
	fuzz(f, [][]byte{mls.Marshal(&GroupInfoRequest{Suite: 1, Credential: mls.BasicCredential([]byte(aliceURI))})}, func() both { return new(GroupInfoRequest) })
}

func FuzzGroupInfoResponse(f *testing.F) {
	r := &GroupInfoResponse{Room: roomURI, Code: GroupInfoSuccess, Suite: 1, Hub: mls.ExternalSender{Credential: mls.BasicCredential([]byte("x"))}}
	fuzz(f, [][]byte{mls.Marshal(r)}, func() both { return new(GroupInfoResponse) })
}

func FuzzGroupInfoPlain(f *testing.F) {
	x := newFixture(f)
	fuzz(f, [][]byte{mls.Marshal(&GroupInfoPlain{GroupInfo: *x.commit.GroupInfo.Full, Tree: x.commit.Tree, Pending: []PendingProposal{{x.bundle.Message, 1}}})},
		func() both { return new(GroupInfoPlain) })
}

func FuzzConsentEntry(f *testing.F) {
	x := newFixture(f)
	entry := &ConsentEntry{Operation: ConsentGrant, Requester: aliceURI, Target: aliceURI, Room: roomURI,
		KeyPackages: []*mls.KeyPackage{&x.recipient.KeyPackage}, Extensions: mls.AppDataDictionary{{ID: 0x8000, Data: []byte{1}}}}
	fuzz(f, [][]byte{mls.Marshal(entry)}, func() both { return new(ConsentEntry) })
}

func FuzzIdentifierRequest(f *testing.F) {
	r := &IdentifierRequest{Elements: []QueryElement{{SearchOIDCClaim, "name", "Alice"}, {SearchNick, "", "alice"}}}
	fuzz(f, [][]byte{mls.Marshal(r)}, func() both { return new(IdentifierRequest) })
}

func FuzzIdentifierResponse(f *testing.F) {
	r := &IdentifierResponse{Users: []string{aliceURI}, Profiles: []UserProfile{{aliceURI, []ProfileField{{SearchVCardField, "FN", "Alice"}}}}}
	fuzz(f, [][]byte{mls.Marshal(r)}, func() both { return new(IdentifierResponse) })
}

func FuzzAbuseReport(f *testing.F) {
	r := &AbuseReport{Accused: aliceURI, Note: "spam", Messages: []AbusiveMessage{{Content: []byte{0x87}, Accepted: accepted}}}
	fuzz(f, [][]byte{mls.Marshal(r)}, func() both { return new(AbuseReport) })
}

func FuzzFrank(f *testing.F) {
	fuzz(f, [][]byte{unhex(f, vectorFrank)}, func() both { return new(Frank) })
}

func FuzzFrankingAgent(f *testing.F) {
	fuzz(f, [][]byte{mls.Marshal(&FrankingAgent{Credential: mls.BasicCredential([]byte("x"))})}, func() both { return new(FrankingAgent) })
}

func FuzzFanout(f *testing.F) {
	x := newFixture(f)
	for _, m := range []FanoutMessage{{Message: x.private}, {Message: x.bundle.Message, More: x.bundle.More}, {Message: x.commit.Message},
		{Message: x.welcome, Tree: x.commit.Tree}} {
		f.Add(mls.Marshal(&m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := ParseFanout(body)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = append(again, mls.Marshal(&list[i])...)
		}
		if got, err := ParseFanout(again); err != nil || len(got) != len(list) {
			t.Fatalf("encoded again: %d messages, %v", len(got), err)
		}
	})
}
