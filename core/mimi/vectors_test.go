package mimi

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"mimigate/core/mls"
)

const (
	aliceURI = "mimi://example.com/u/alice-smith"
	roomURI  = "mimi://example.com/r/engineering_team"
	accepted = 1644387225019
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// both is a message of the protocol.
type both interface {
	mls.Marshaler
	mls.Unmarshaler
}

// Vectors computed apart from this code (spec/mimi.md appendix A): they hold our readings of the draft.
const (
	vectorTag   = "cac50818a758d500a44109d35073e0ce59d35c81f68eaf911c5b930d014034d0"
	vectorFrank = "be7478355d4b9b8077360e58123a7a8eecfa72c78abe5707aa64be06d9986bc2" + "0001" + "4040" +
		"c8381eee5af76073a31f5742c2902e95136401dcb77a00cae00b6199011322bff9a57d6561ac2b01023a893daeeaf37eb0930ff02be3c8f55384b7ca4490cc00"
	vectorContext = "206d696d693a2f2f6578616d706c652e636f6d2f752f616c6963652d736d697468256d696d693a2f2f6578616d706c652e636f6d2f722f656e67696e" +
		"656572696e675f7465616d0000017edd1dcdbb"
)

func TestVectors(t *testing.T) {
	frank := new(Frank)
	if err := Decode(unhex(t, vectorFrank), frank); err != nil {
		t.Fatal(err)
	}
	bob, aliceOfA := "mimi://b.example/u/bob", "mimi://a.example/u/alice"
	for _, test := range []struct {
		name string
		v    both
		want string
		into both
	}{
		{"frank", frank, vectorFrank, new(Frank)},
		{"context", &frankingContext{FrankingContext{aliceURI, roomURI, accepted}}, vectorContext, new(frankingContext)},
		{"franking agent", &FrankingAgent{SignatureKey: unhex(t, "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7"),
			Credential: mls.BasicCredential([]byte("mimi://example.com"))},
			"2029acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd70001126d696d693a2f2f6578616d706c652e636f6d", new(FrankingAgent)},
		{"submit accepted", &SubmitMessageResponse{Accepted: accepted}, "01000000017edd1dcdbb00", new(SubmitMessageResponse)},
		{"submit franked", &SubmitMessageResponse{Accepted: accepted, Frank: frank}, "01000000017edd1dcdbb01" + vectorFrank, new(SubmitMessageResponse)},
		{"submit not allowed", &SubmitMessageResponse{Code: SubmitNotAllowed}, "0101", new(SubmitMessageResponse)},
		{"submit too old", &SubmitMessageResponse{Code: SubmitEpochTooOld, Epoch: 7}, "01020000000000000007", new(SubmitMessageResponse)},
		{"update success", &UpdateRoomResponse{Accepted: accepted}, "00000000017edd1dcdbb", new(UpdateRoomResponse)},
		{"update wrong epoch", &UpdateRoomResponse{Code: UpdateWrongEpoch, Description: "wrong epoch", Epoch: 7},
			"010b77726f6e672065706f63680000000000000007", new(UpdateRoomResponse)},
		{"update not allowed", &UpdateRoomResponse{Code: UpdateNotAllowed, Description: "not allowed"},
			"020b6e6f7420616c6c6f776564", new(UpdateRoomResponse)},
		{"no consent", &KeyMaterialResponse{Code: UserNoConsent, User: bob}, "0105166d696d693a2f2f622e6578616d706c652f752f626f6200", new(KeyMaterialResponse)},
		{"exhausted", &KeyMaterialResponse{Code: UserNoCompatible, User: bob, Clients: []ClientKeyMaterial{
			{Code: ClientExhausted, Client: "mimi://b.example/d/bob/1"}}},
			"0103166d696d693a2f2f622e6578616d706c652f752f626f621a01186d696d693a2f2f622e6578616d706c652f642f626f622f31", new(KeyMaterialResponse)},
		{"consent request", &ConsentEntry{Operation: ConsentRequest, Requester: aliceOfA, Target: bob},
			"01186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f620000", new(ConsentEntry)},
		{"consent grant", &ConsentEntry{Operation: ConsentGrant, Requester: aliceOfA, Target: bob, Room: "mimi://a.example/r/clubhouse"},
			"02186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f62011c6d696d693a2f2f612e" +
				"6578616d706c652f722f636c7562686f7573650000", new(ConsentEntry)},
		{"consent revoke", &ConsentEntry{Operation: ConsentRevoke, Requester: aliceOfA, Target: bob},
			"03186d696d693a2f2f612e6578616d706c652f752f616c696365166d696d693a2f2f622e6578616d706c652f752f626f620000", new(ConsentEntry)},
		{"query handle", &IdentifierRequest{Elements: []QueryElement{{Type: SearchHandle, Value: "im:alice.smith@a.example"}}},
			"1a0118696d3a616c6963652e736d69746840612e6578616d706c6500", new(IdentifierRequest)},
		{"query claim", &IdentifierRequest{Elements: []QueryElement{{SearchOIDCClaim, "given_name", "Alice"}}},
			"12070a676976656e5f6e616d6505416c69636500", new(IdentifierRequest)},
		{"found", &IdentifierResponse{Users: []string{aliceOfA}, Profiles: []UserProfile{{aliceOfA, []ProfileField{{SearchOIDCClaim, "given_name", "Alice"}}}}},
			"0019186d696d693a2f2f612e6578616d706c652f752f616c6963652c186d696d693a2f2f612e6578616d706c652f752f616c69636512070a67697665" +
				"6e5f6e616d6505416c69636500", new(IdentifierResponse)},
		{"not found", &IdentifierResponse{Code: IdentifierNotFound}, "01000000", new(IdentifierResponse)},
		{"group info not authorized", &GroupInfoResponse{Room: roomURI, Code: GroupInfoNotAuthorized},
			"01256d696d693a2f2f6578616d706c652e636f6d2f722f656e67696e656572696e675f7465616d02", new(GroupInfoResponse)},
	} {
		if got := hex.EncodeToString(mls.Marshal(test.v)); got != test.want {
			t.Errorf("%s: got  %s\nwant %s", test.name, got, test.want)
		}
		if err := Decode(unhex(t, test.want), test.into); err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if got := hex.EncodeToString(mls.Marshal(test.into)); got != test.want {
			t.Errorf("%s: decoded and encoded again: %s", test.name, got)
		}
		if err := Decode(append(unhex(t, test.want), 0), test.into); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: an octet too many: %v", test.name, err)
		}
	}
}

// frankingContext can be decoded too, for the table above.
type frankingContext struct{ FrankingContext }

func (c *frankingContext) UnmarshalMLS(d *mls.Decoder) {
	c.Sender, c.Room, c.Accepted = string(d.Opaque()), string(d.Opaque()), d.Uint64()
}

// The franking chain, from the official example message to the signature (spec/mimi.md §7.4 and appendix A).
func TestFranking(t *testing.T) {
	suites := mls.DefaultSuites()
	original, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "mimi-content", "original.cbor"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the official examples of mimi-content are not here")
	} else if err != nil {
		t.Fatal(err)
	}
	salt := original[2:18]
	if tag := FrankingTag(salt, original); hex.EncodeToString(tag[:]) != "a9a69f1d2fe6f37984190c093ecb8a10d647093db735fb7ba926bfdccff4c2bf" {
		t.Errorf("tag of the bare message: %x", tag)
	}
	framing := &mls.ApplicationFraming{MediaType: mls.MediaType{Type: "application/mimi-content"}, Content: original}
	tag := FrankingTag(salt, mls.Marshal(framing))
	if hex.EncodeToString(tag[:]) != vectorTag {
		t.Errorf("tag: %x", tag)
	}
	var key HubKey
	seed := make([]byte, ed25519.SeedSize)
	for i := range key {
		key[i] = byte(i)
		seed[i] = byte(0x20 + i)
	}
	signer, err := suites.ParseSignatureKey(mls.X25519AES128, seed)
	if err != nil {
		t.Fatal(err)
	}
	c := &FrankingContext{Sender: aliceURI, Room: roomURI, Accepted: accepted}
	frank, err := key.Frank(suites, mls.X25519AES128, signer, tag, c)
	if err != nil || hex.EncodeToString(mls.Marshal(frank)) != vectorFrank {
		t.Errorf("%x, %v", mls.Marshal(frank), err)
	}
	if err := frank.Verify(suites, mls.X25519AES128, signer.PublicBytes(), c); err != nil || !key.Holds(frank, tag, c) {
		t.Errorf("does not hold: %v", err)
	}
	for _, other := range []*FrankingContext{{bobOf(aliceURI), roomURI, accepted}, {aliceURI, roomURI + "x", accepted}, {aliceURI, roomURI, accepted + 1}} {
		if err := frank.Verify(suites, mls.X25519AES128, signer.PublicBytes(), other); !errors.Is(err, ErrFrank) || key.Holds(frank, tag, other) {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := frank.Verify(suites, mls.X25519ChaCha, signer.PublicBytes(), c); !errors.Is(err, ErrFrank) {
		t.Errorf("another suite: %v", err)
	}
	tag[0] ^= 1
	if key.Holds(frank, tag, c) {
		t.Error("holds for another message")
	}
}

func bobOf(string) string { return "mimi://example.com/u/bob" }

// fixture is a group with a member, and what it sends.
type fixture struct {
	key       *mls.SignatureKey
	recipient *mls.JoinSecrets
	commit    UpdateRequest
	bundle    UpdateRequest
	private   Message
	welcome   Message
	tree      []byte
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	cfg := new(mls.Config)
	member := func(name string) *mls.JoinSecrets {
		key, err := mls.DefaultSuites().ParseSignatureKey(mls.X25519AES128, bytes.Repeat([]byte(name[:1]), 32))
		if err != nil {
			t.Fatal(err)
		}
		s, err := mls.NewKeyPackage(cfg, mls.X25519AES128, mls.LeafTemplate{Credential: mls.BasicCredential([]byte(name)), Signature: key})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	alice, bob := member("alice"), member("bob")
	f := &fixture{key: alice.Signature, recipient: bob}
	g, err := mls.NewGroup(cfg, []byte("g"), nil, alice)
	if err != nil {
		t.Fatal(err)
	}
	f.bundle.Message = f.propose(t, g)
	f.bundle.More = []Message{f.propose(t, g)}
	step, err := g.Protect(0, []byte("hello"), mls.Framing{})
	if err != nil {
		t.Fatal(err)
	}
	f.private = parse(t, step.Message)
	step, err = g.Commit(0, mls.CommitOptions{NoPending: true, Own: []*mls.JoinSecrets{bob}, WantGroupInfo: true})
	if err != nil {
		t.Fatal(err)
	}
	f.tree = step.Tree()
	f.commit = UpdateRequest{Message: parse(t, step.Message), Welcome: step.Welcome, GroupInfo: GroupInfoOption{Full: step.GroupInfo},
		Tree: mls.RatchetTreeOption{Representation: mls.TreeFull, Tree: f.tree}}
	f.welcome = NewMessage(&mls.Message{WireFormat: mls.WireWelcome, Welcome: step.Welcome})
	return f
}

func (f *fixture) propose(t testing.TB, g *mls.Group) Message {
	t.Helper()
	step, err := g.ProposeUpdate(0, nil, mls.Framing{}, false)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, step.Message)
}

func parse(t testing.TB, raw []byte) Message {
	t.Helper()
	m, err := ParseMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUpdateRequest(t *testing.T) {
	f := newFixture(t)
	partial := f.commit
	partial.GroupInfo = GroupInfoOption{Partial: f.commit.GroupInfo.Full.Partial()}
	partial.Tree = mls.RatchetTreeOption{Representation: mls.TreeDistributionService}
	partial.Welcome = nil
	for _, r := range []*UpdateRequest{&f.commit, &partial, &f.bundle} {
		data := mls.Marshal(r)
		got := new(UpdateRequest)
		if err := Decode(data, got); err != nil || !bytes.Equal(mls.Marshal(got), data) || got.IsCommit() != r.IsCommit() {
			t.Errorf("%v", err)
		}
		for n := range len(data) {
			if err := Decode(data[:n], got); !errors.Is(err, ErrBadRequest) {
				t.Fatalf("cut to %d of %d octets: %v", n, len(data), err)
			}
		}
	}
	// A Welcome may come as an MLSMessage (reading A12): four octets more, after message and presence octet.
	data := mls.Marshal(&f.commit)
	at := len(f.commit.Message.Raw) + 1
	wrapped := bytes.Join([][]byte{data[:at], {0, 1, 0, 3}, data[at:]}, nil)
	got := new(UpdateRequest)
	if err := Decode(wrapped, got); err != nil || !bytes.Equal(mls.Marshal(got), data) {
		t.Errorf("wrapped Welcome: %v", err)
	}
	for name, m := range map[string]Message{"an application message": f.private, "a Welcome": f.welcome} {
		if err := Decode(append(bytes.Clone(m.Raw), 0, 0, 0), new(UpdateRequest)); !errors.Is(err, mls.ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Decode(mls.Marshal(&SubmitMessageRequest{Message: f.commit.Message}), new(SubmitMessageRequest)); !errors.Is(err, mls.ErrSyntax) {
		t.Errorf("a commit submitted: %v", err)
	}
}

func TestFanout(t *testing.T) {
	f := newFixture(t)
	frank := &Frank{Suite: 1, Signature: []byte{1}}
	list := []FanoutMessage{
		{Timestamp: 1, Message: f.bundle.Message, More: f.bundle.More},
		{Timestamp: 2, Message: f.private},
		{Timestamp: 3, Message: f.private, Frank: frank},
		{Timestamp: 4, Message: f.commit.Message},
		{Timestamp: 5, Message: f.welcome, Tree: f.commit.Tree},
	}
	var body []byte
	for i := range list {
		body = append(body, mls.Marshal(&list[i])...)
	}
	got, err := ParseFanout(body)
	if err != nil || len(got) != len(list) {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for i := range got {
		if !bytes.Equal(mls.Marshal(&got[i]), mls.Marshal(&list[i])) || !bytes.Equal(got[i].Message.Raw, list[i].Message.Raw) {
			t.Errorf("message %d differs", i)
		}
	}
	if !bytes.Equal(got[4].Tree.Tree, f.tree) || got[2].Frank == nil || got[1].Frank != nil {
		t.Error("what goes with a message is lost")
	}
	// Peers of the time of draft -03 put nothing after a commit (reading A20).
	bare := mls.Marshal(&list[3])
	if got, err := ParseFanout(bare[:len(bare)-1]); err != nil || len(got) != 1 {
		t.Errorf("a bare commit: %v", err)
	}
	for _, bad := range [][]byte{nil, body[:len(body)-1], append(bytes.Clone(body), 0)} {
		if got, err := ParseFanout(bad); !errors.Is(err, ErrBadRequest) || got != nil {
			t.Errorf("%d octets: %v", len(bad), err)
		}
	}
}

func TestKeyMaterialRequest(t *testing.T) {
	suites := mls.DefaultSuites()
	f := newFixture(t)
	r := &KeyMaterialRequest{Requester: aliceURI, Target: "mimi://b.example/u/bob", Room: roomURI,
		Suites: []mls.CipherSuite{mls.X25519AES128, 0x7777}, SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte(aliceURI)),
		Required: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{6}}}
	if err := r.Sign(suites, f.key); err != nil {
		t.Fatal(err)
	}
	got := new(KeyMaterialRequest)
	if err := Decode(mls.Marshal(r), got); err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(suites); err != nil {
		t.Error(err)
	}
	got.Suites = []mls.CipherSuite{0x7777}
	if err := got.Verify(suites); !errors.Is(err, mls.ErrCipherSuite) {
		t.Errorf("unknown suite: %v", err)
	}
	got.Suites, got.Target = r.Suites, "mimi://b.example/u/eve"
	if err := got.Verify(suites); !errors.Is(err, mls.ErrSignature) {
		t.Errorf("altered: %v", err)
	}
	got.Suites = nil
	if err := Decode(mls.Marshal(got), got); !errors.Is(err, ErrBadRequest) {
		t.Errorf("no suite: %v", err)
	}
	listed := &KeyMaterialResponse{Code: UserNoConsent, User: aliceURI, Clients: []ClientKeyMaterial{{Code: ClientExhausted}}}
	if err := Decode(mls.Marshal(listed), new(KeyMaterialResponse)); !errors.Is(err, ErrBadRequest) {
		t.Errorf("clients beside a refusal: %v", err)
	}
}

func TestGroupInfo(t *testing.T) {
	suites := mls.DefaultSuites()
	f := newFixture(t)
	fresh := &GroupInfoRequest{Suite: mls.X25519AES128}
	private, err := fresh.NewKey(suites, f.key)
	if err != nil {
		t.Fatal(err)
	}
	public := fresh.PublicKey
	if other, err := fresh.NewKey(suites, f.key); err != nil || bytes.Equal(other, private) || bytes.Equal(fresh.PublicKey, public) {
		t.Errorf("the same key twice: %v", err)
	}
	for _, code := range []string{"", "join me"} {
		r := &GroupInfoRequest{Suite: mls.X25519AES128, SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte(aliceURI)),
			PublicKey: public, JoiningCode: []byte(code)}
		if err := r.Sign(suites, f.key); err != nil {
			t.Fatal(err)
		}
		got := new(GroupInfoRequest)
		if err := Decode(mls.Marshal(r), got); err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(suites); err != nil {
			t.Errorf("code %q: %v", code, err)
		}
		// The other form of the draft's TBS (reading A23).
		var err error
		if got.Signature, err = suites.SignWithLabel(r.Suite, f.key, labelGroupInfoRequest, r.tbs(false)); err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(suites); err != nil {
			t.Errorf("code %q, other form: %v", code, err)
		}
		got.JoiningCode = []byte("other")
		if err := got.Verify(suites); !errors.Is(err, mls.ErrSignature) {
			t.Errorf("altered: %v", err)
		}
	}
	resp := &GroupInfoResponse{Room: roomURI, Code: GroupInfoSuccess, Suite: mls.X25519AES128,
		Hub: mls.ExternalSender{SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte("mimi://example.com"))}}
	plain := &GroupInfoPlain{GroupInfo: *f.commit.GroupInfo.Full, Tree: f.commit.Tree, Pending: []PendingProposal{{f.bundle.Message, 5}}}
	if err := resp.Seal(suites, public, plain, f.key); err != nil {
		t.Fatal(err)
	}
	got := new(GroupInfoResponse)
	if err := Decode(mls.Marshal(resp), got); err != nil {
		t.Fatal(err)
	}
	opened, err := got.Open(suites, private)
	if err != nil || !bytes.Equal(mls.Marshal(opened), mls.Marshal(plain)) {
		t.Errorf("%v", err)
	}
	got.Room += "x"
	if _, err := got.Open(suites, private); !errors.Is(err, mls.ErrSignature) {
		t.Errorf("another room: %v", err)
	}
}

func TestIdentify(t *testing.T) {
	for identity, want := range map[string]string{
		"mimi://a.example/u/alice":       "mimi://a.example/u/alice",
		"mimi://a.example/d/alice/phone": "mimi://a.example/u/alice",
		"mimi://a.example/d/opaque":      "",
		"mimi://a.example/r/room":        "",
		"alice":                          "",
	} {
		c := mls.BasicCredential([]byte(identity))
		user, _, err := Identify(&c)
		if user.String() != want || (want == "") != errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v, %v", identity, user, err)
		}
	}
	for _, names := range [][]string{
		{"mimi://a.example/u/a", "mimi://a.example/u/b"},
		{"mimi://a.example/d/a/1", "mimi://a.example/d/a/2"},
		{"mimi://a.example/u/a", "mimi://b.example/d/a/1"},
	} {
		if _, _, err := fromNames(names); !errors.Is(err, ErrIdentity) {
			t.Errorf("%v: %v", names, err)
		}
	}
	for _, c := range []mls.Credential{{Type: mls.CredentialX509}, mls.X509Credential([]byte{1}), {Type: 77}} {
		if _, _, err := Identify(&c); !errors.Is(err, ErrIdentity) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// What of spec/mimi.md appendix A belongs to MLS's extensions, in the form that MIMI uses them.
func TestExtensionVectors(t *testing.T) {
	gfm := mls.MediaType{Type: "text/markdown", Parameters: []mls.Parameter{{Name: "variant", Value: "GFM-MIMI"}}}
	plain := mls.MediaType{Type: "text/plain", Parameters: []mls.Parameter{{Name: "charset", Value: "utf-8"}}}
	message := mls.MediaType{Type: "application/mimi-content"}
	dictionary := mls.AppDataDictionary{{ID: 0x0027, Data: unhex(t, "00000001000000010006"+"00250026002c")}}
	for name, test := range map[string]struct {
		v    mls.Marshaler
		want string
	}{
		"SafeAAD":                 {mls.SafeAAD{{Component: 0x20, Data: unhex(t, vectorTag)}}, "23002020" + vectorTag},
		"SafeAAD, empty":          {mls.SafeAAD{}, "00"},
		"media types of a group":  {mls.MediaTypeList{message}, "1a186170706c69636174696f6e2f6d696d692d636f6e74656e7400"},
		"media types of a leaf":   {mls.MediaTypeList{message, plain, gfm}, "4054186170706c69636174696f6e2f6d696d692d636f6e74656e74000a746578742f706c61696e0e0763686172736574057574662d380d746578742f6d61726b646f776e110776617269616e740847464d2d4d494d49"},
		"app_components":          {mls.ComponentsList{1, 2, 3, 0x22, 0x21, 0x23, 0x25, 0x26, 0x27}, "12000100020003002200210023002500260027"},
		"extension of dictionary": {mls.Extensions{dictionary.Extension()}, "17" + "0006141300271000000001000000010006" + "00250026002c"},
	} {
		if got := hex.EncodeToString(mls.Marshal(test.v)); got != test.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, test.want)
		}
	}
	if got := hex.EncodeToString([]byte(mls.ComponentLabel(0x8001, "test"))); got != "0d4d4c5320436f6d706f6e656e7480010474657374" {
		t.Errorf("ComponentOperationLabel: %s", got)
	}
}
