package mimi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"mimigate/core/mls"
)

var update = flag.Bool("update", false, "write the golden files anew")

// vector is an entry of testdata/vectors.json.
type vector struct {
	Name      string `json:"name"`
	Structure string `json:"structure"`
	Section   string `json:"section"`
	Holds     string `json:"holds"`
	Hex       string `json:"hex"`
}

// sample is a message that a vector holds. Where it holds something random (HPKE, signatures of fresh keys) each run makes another one,
// and only the vector's own bytes are compared.
type sample struct {
	vector
	value  both
	fresh  both
	random bool
}

const bobURI = "mimi://b.example/u/bob"

func samples(t *testing.T) []sample {
	f := newFixture(t)
	frank := new(Frank)
	if err := Decode(unhex(t, vectorFrank), frank); err != nil {
		t.Fatal(err)
	}
	suites := mls.DefaultSuites()
	keys := &KeyMaterialRequest{Requester: aliceURI, Target: bobURI, Room: roomURI, Suites: []mls.CipherSuite{mls.X25519AES128, mls.P256AES128},
		Required:     mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalSelfRemove}},
		SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte(aliceURI))}
	info := &GroupInfoRequest{Suite: mls.X25519AES128, SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte(aliceURI)),
		PublicKey: bytes.Repeat([]byte{9}, 32), JoiningCode: []byte("code")}
	answer := &GroupInfoResponse{Room: roomURI, Code: GroupInfoSuccess, Suite: mls.X25519AES128,
		Hub: mls.ExternalSender{SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte("mimi://example.com"))}}
	plain := &GroupInfoPlain{GroupInfo: *f.commit.GroupInfo.Full, Tree: f.commit.Tree, Pending: []PendingProposal{{f.bundle.Message, accepted}}}
	for _, err := range []error{keys.Sign(suites, f.key), info.Sign(suites, f.key), answer.Seal(suites, f.recipient.KeyPackage.InitKey, plain, f.key)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	partial := f.commit
	partial.GroupInfo = GroupInfoOption{Partial: f.commit.GroupInfo.Full.Partial()}
	partial.Tree = mls.RatchetTreeOption{Representation: mls.TreeDistributionService}
	grant := &ConsentEntry{Operation: ConsentGrant, Requester: aliceURI, Target: bobURI, Room: roomURI, KeyPackages: []*mls.KeyPackage{&f.recipient.KeyPackage}}
	report := &AbuseReport{Reporter: bobURI, Accused: aliceURI, Note: "spam", Messages: []AbusiveMessage{{[]byte("application data"), *frank, accepted}}}
	return []sample{
		{vector{"key-material-request", "KeyMaterialRequest", "§5.2", "two suites, one required extension and proposal; Ed25519 seed 61×32", ""}, keys, new(KeyMaterialRequest), false},
		{vector{"key-material-response", "KeyMaterialResponse", "§5.2", "partialSuccess: a KeyPackage, an exhausted client, one with nothing compatible", ""},
			&KeyMaterialResponse{Code: UserPartialSuccess, User: bobURI, Clients: []ClientKeyMaterial{
				{Code: ClientSuccess, Client: "mimi://b.example/d/bob/1", KeyPackage: &f.recipient.KeyPackage},
				{Code: ClientExhausted, Client: "mimi://b.example/d/bob/2"},
				{Code: ClientNothingCompatible, Client: "mimi://b.example/d/bob/3", Capabilities: mls.DefaultCapabilities(mls.P256AES128)}}},
			new(KeyMaterialResponse), true},
		{vector{"key-material-no-consent", "KeyMaterialResponse", "§5.2", "noConsentForThisRoom", ""},
			&KeyMaterialResponse{Code: UserNoConsentForThisOne, User: bobURI}, new(KeyMaterialResponse), false},
		{vector{"update-commit-full", "UpdateRequest", "§5.3", "a commit that adds a client: Welcome, full GroupInfo, full tree", ""}, &f.commit, new(UpdateRequest), true},
		{vector{"update-commit-partial", "UpdateRequest", "§5.3", "the same with PartialGroupInfo; the hub keeps the tree", ""}, &partial, new(UpdateRequest), true},
		{vector{"update-proposals", "UpdateRequest", "§5.3", "two Update proposals", ""}, &f.bundle, new(UpdateRequest), true},
		{vector{"update-success", "UpdateRoomResponse", "§5.3", "success", ""}, &UpdateRoomResponse{Accepted: accepted}, new(UpdateRoomResponse), false},
		{vector{"update-wrong-epoch", "UpdateRoomResponse", "§5.3", "wrongEpoch, now 7", ""},
			&UpdateRoomResponse{Code: UpdateWrongEpoch, Description: "wrong epoch", Epoch: 7}, new(UpdateRoomResponse), false},
		{vector{"update-not-allowed", "UpdateRoomResponse", "§5.3", "notAllowed", ""},
			&UpdateRoomResponse{Code: UpdateNotAllowed, Description: "not allowed"}, new(UpdateRoomResponse), false},
		{vector{"update-invalid", "UpdateRoomResponse", "§5.3", "invalidProposal with one reference", ""},
			&UpdateRoomResponse{Code: UpdateInvalidProposal, Invalid: []mls.ProposalRef{mls.ProposalRef(bytes.Repeat([]byte{5}, 32))}}, new(UpdateRoomResponse), false},
		{vector{"submit", "SubmitMessageRequest", "§5.4", "an application message", ""},
			&SubmitMessageRequest{Message: f.private, Sender: aliceURI}, new(SubmitMessageRequest), true},
		{vector{"submit-accepted", "SubmitMessageResponse", "§5.4", "accepted with a frank", ""},
			&SubmitMessageResponse{Accepted: accepted, Frank: frank}, new(SubmitMessageResponse), false},
		{vector{"submit-too-old", "SubmitMessageResponse", "§5.4", "epochTooOld, now 7", ""},
			&SubmitMessageResponse{Code: SubmitEpochTooOld, Epoch: 7}, new(SubmitMessageResponse), false},
		{vector{"franking-agent", "FrankingAgentData", "§5.4.1", "Ed25519 seed 61×32, Basic credential of a hub", ""},
			&FrankingAgent{SignatureKey: f.key.PublicBytes(), Credential: mls.BasicCredential([]byte("mimi://example.com"))}, new(FrankingAgent), false},
		{vector{"fanout-message", "FanoutMessage", "§5.5", "an application message with a frank", ""},
			&FanoutMessage{Timestamp: accepted, Message: f.private, Frank: frank}, new(FanoutMessage), true},
		{vector{"fanout-proposals", "FanoutMessage", "§5.5", "a proposal with moreProposals", ""},
			&FanoutMessage{Timestamp: accepted, Message: f.bundle.Message, More: f.bundle.More}, new(FanoutMessage), true},
		{vector{"fanout-commit", "FanoutMessage", "§5.5", "a commit, no externalProposals", ""},
			&FanoutMessage{Timestamp: accepted, Message: f.commit.Message}, new(FanoutMessage), true},
		{vector{"fanout-welcome", "FanoutMessage", "§5.5", "a Welcome with the full tree", ""},
			&FanoutMessage{Timestamp: accepted, Message: f.welcome, Tree: f.commit.Tree}, new(FanoutMessage), true},
		{vector{"group-info-request", "GroupInfoRequest", "§5.6", "with a joining code; Ed25519 seed 61×32", ""}, info, new(GroupInfoRequest), false},
		{vector{"group-info-response", "GroupInfoResponse", "§5.6", "success", ""}, answer, new(GroupInfoResponse), true},
		{vector{"group-info-plain", "GroupInfoRatchetTreeTBE", "§5.6", "what a response encrypts: full tree, one pending proposal", ""}, plain, new(GroupInfoPlain), true},
		{vector{"consent-request", "ConsentEntry", "§5.7", "request for any room", ""},
			&ConsentEntry{Operation: ConsentRequest, Requester: aliceURI, Target: bobURI}, new(ConsentEntry), false},
		{vector{"consent-cancel", "ConsentEntry", "§5.7", "cancel for one room, with an extension", ""},
			&ConsentEntry{Operation: ConsentCancel, Requester: aliceURI, Target: bobURI, Room: roomURI,
				Extensions: mls.AppDataDictionary{{ID: 0x8000, Data: []byte("x")}}}, new(ConsentEntry), false},
		{vector{"consent-grant", "ConsentEntry", "§5.7", "grant for one room with a KeyPackage", ""}, grant, new(ConsentEntry), true},
		{vector{"identifier-request", "IdentifierRequest", "§5.8", "a claim and a nickname, both to match", ""},
			&IdentifierRequest{Elements: []QueryElement{{SearchOIDCClaim, "given_name", "Alice"}, {SearchNick, "", "alice"}}}, new(IdentifierRequest), false},
		{vector{"identifier-response", "IdentifierResponse", "§5.8", "one user with a claim", ""},
			&IdentifierResponse{Users: []string{aliceURI}, Profiles: []UserProfile{{aliceURI, []ProfileField{{SearchOIDCClaim, "name", "Alice"}}}}},
			new(IdentifierResponse), false},
		{vector{"abuse-report", "AbuseReport", "§5.9", "one message with its frank", ""}, report, new(AbuseReport), false},
	}
}

// TestGolden holds testdata/vectors.json, which other implementations can test against: each vector decodes, encodes to itself, is cut nowhere,
// and where nothing in it is random is what this code makes.
func TestGolden(t *testing.T) {
	name := filepath.Join("testdata", "vectors.json")
	all := samples(t)
	if *update {
		var list []vector
		for _, s := range all {
			s.Hex = hex.EncodeToString(mls.Marshal(s.value))
			list = append(list, s.vector)
		}
		data, err := json.MarshalIndent(list, "", "  ")
		if err == nil {
			err = os.WriteFile(name, append(data, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(all) {
		t.Fatalf("%d vectors, want %d: run with -update", len(list), len(all))
	}
	for i, v := range list {
		s, raw := all[i], unhex(t, v.Hex)
		if v.Name != s.Name || v.Structure != s.Structure || v.Section != s.Section || v.Holds != s.Holds {
			t.Errorf("vector %d is %s, want %s: run with -update", i, v.Name, s.Name)
		}
		if err := Decode(raw, s.fresh); err != nil || !bytes.Equal(mls.Marshal(s.fresh), raw) {
			t.Errorf("%s: decoded and encoded again it differs: %v", v.Name, err)
		}
		if !s.random && !bytes.Equal(mls.Marshal(s.value), raw) {
			t.Errorf("%s: got %x, want %s", v.Name, mls.Marshal(s.value), v.Hex)
		}
		if Decode(raw[:len(raw)-1], s.fresh) == nil && v.Name != "fanout-commit" || Decode(append(raw, 0), s.fresh) == nil {
			t.Errorf("%s: taken with an octet less or more", v.Name)
		}
	}
}
