package mls

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// codable is a structure with both directions of the codec.
type codable interface {
	Marshaler
	Unmarshaler
}

var mimiContent = MediaType{Type: "application/mimi-content"}

// TestExtensionBytes holds the encodings of draft-ietf-mls-extensions-10 and draft-mahy-mls-ratchet-tree-options-03 against bytes that were
// written by hand from the drafts' structs: numbers big endian, every <V> preceded by its length in bytes (one byte below 64,
// 0x4000 + length in two below 16384).
func TestExtensionBytes(t *testing.T) {
	tag := bytes.Repeat([]byte{0xcc}, 32)
	content := bytes.Repeat([]byte{0x11}, 193) // 0x40c1: two bytes of length
	name := hex.EncodeToString([]byte("application/mimi-content"))
	participants := "08000000020000000104000000011d186d696d693a2f2f642e6578616d706c652f752f6469616e6100000003"
	policy := "00000001000000010006002500" + "26002c" // any 16 bytes
	for _, c := range []struct {
		name  string
		value codable
		bytes string
	}{
		{"SafeAAD with one item", &SafeAAD{{0x0020, tag}}, "23" + "0020" + "20" + hex.EncodeToString(tag)},
		{"SafeAAD with two items", &SafeAAD{{1, nil}, {0x8001, []byte{9}}}, "07" + "000100" + "80010109"},
		{"SafeAAD without items", &SafeAAD{}, "00"},
		{"MediaTypeList of one", &MediaTypeList{mimiContent}, "1a" + "18" + name + "00"},
		{"MediaTypeList with parameters", &MediaTypeList{mimiContent, {Type: "text/plain", Parameters: []Parameter{{"charset", "utf-8"}}},
			{Type: "text/markdown", Parameters: []Parameter{{"variant", "GFM-MIMI"}}}},
			"4054" + "18" + name + "00" + "0a746578742f706c61696e" + "0e" + "0763686172736574" + "057574662d38" +
				"0d746578742f6d61726b646f776e" + "11" + "0776617269616e74" + "0847464d2d4d494d49"},
		{"ApplicationFraming", &ApplicationFraming{MediaType: mimiContent, Content: content}, "18" + name + "00" + "40c1" + hex.EncodeToString(content)},
		{"ApplicationFraming of the first type", &ApplicationFraming{Content: content}, "00" + "00" + "40c1" + hex.EncodeToString(content)},
		{"ComponentsList", &ComponentsList{1, 2, 3, 0x21, 0x22, 0x23, 0x25, 0x26, 0x27}, "12000100020003002100220023002500260027"},
		{"ComponentsList without components", &ComponentsList{}, "00"},
		{"AppDataUpdate update", &AppDataUpdate{Component: 0x0022, Operation: OpUpdate, Update: unhex(t, participants)}, "0022" + "01" + "2c" + participants},
		{"AppDataUpdate remove", &AppDataUpdate{Component: 0x0030, Operation: OpRemove}, "0030" + "02"},
		{"Proposal app_data_update", &Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: 0x0022, Operation: OpUpdate, Update: unhex(t, participants)}},
			"0008" + "0022" + "01" + "2c" + participants},
		{"Proposal app_data_update remove", &Proposal{Type: ProposalAppDataUpdate, AppDataUpdate: &AppDataUpdate{Component: 0x0030, Operation: OpRemove}}, "0008003002"},
		{"Proposal app_ephemeral", &Proposal{Type: ProposalAppEphemeral, AppEphemeral: &AppEphemeral{Component: 0x0005, Data: []byte{1, 2, 3}}}, "0009" + "0005" + "03010203"},
		{"Proposal self_remove", &Proposal{Type: ProposalSelfRemove}, "000a"},
		{"ProposalOrRef self_remove by value", &ProposalOrRef{Proposal: &Proposal{Type: ProposalSelfRemove}}, "01" + "000a"},
		{"ProposalOrRef by reference", &ProposalOrRef{Ref: "\x01\x02"}, "02" + "020102"},
		{"AppDataDictionary", &AppDataDictionary{{0x0027, unhex(t, policy)}}, "13" + "0027" + "10" + policy},
		{"AppDataDictionary in a list of extensions", &Extensions{AppDataDictionary{{0x0027, unhex(t, policy)}}.Extension()}, "17" + "0006" + "14" + "13" + "0027" + "10" + policy},
		{"AppDataDictionary of a last resort", &Extensions{AppDataDictionary{{ComponentLastResortKeyPackage, nil}}.Extension()}, "07" + "0006" + "04" + "03" + "0004" + "00"},
		{"PreSharedKeyID application", &PreSharedKeyID{Type: PSKApplication, Component: 0x8001, ID: []byte("k"), Nonce: []byte{1, 2}}, "03" + "8001" + "016b" + "020102"},
		{"PreSharedKeyID external", &PreSharedKeyID{Type: PSKExternal, ID: []byte("k"), Nonce: []byte{1, 2}}, "01" + "016b" + "020102"},
		{"PreSharedKeyID resumption", &PreSharedKeyID{Type: PSKResumption, Usage: UsageBranch, GroupID: []byte("g"), Epoch: 258, Nonce: []byte{}}, "02" + "03" + "0167" + "0000000000000102" + "00"},
		{"RequiredCapabilities", &RequiredCapabilities{Extensions: []ExtensionType{6}, Proposals: []ProposalType{8, 10}, Credentials: []CredentialType{}}, "020006" + "040008000a" + "00"},
		{"ExternalSenders", &ExternalSenders{{SignatureKey: []byte{7}, Credential: BasicCredential([]byte("hub"))}}, "08" + "0107" + "0001" + "03687562"},
		{"Credential of an unknown type", &Credential{Type: 0xf00d, Other: []byte{5}}, "f00d" + "0105"},
		{"Credential X.509", &Credential{Type: CredentialX509, Certificates: [][]byte{{1}, {2, 3}}}, "0002" + "05" + "0101" + "020203"},
		{"RatchetTreeOption of the delivery service", &RatchetTreeOption{Representation: TreeDistributionService}, "04"},
		{"RatchetTreeOption out of band", &RatchetTreeOption{Representation: TreeOutOfBand, Signature: []byte{9}}, "03" + "0109"},
		{"RatchetTreeOption by address", &RatchetTreeOption{Representation: TreeHTTPSURI, URL: []byte("u"), Signature: []byte{9}}, "02" + "0175" + "0109"},
		{"RatchetTreeOption in full", &RatchetTreeOption{Representation: TreeFull, Tree: []byte{2, 0, 0}}, "01" + "020000"},
		{"PartialGroupInfo", &PartialGroupInfo{Presence: TreeRemoved, Extensions: Extensions{{ExtExternalPub, []byte{1, 7}}}, Signature: []byte{9}}, "02" + "05" + "0004" + "020107" + "0109"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := hex.EncodeToString(Marshal(c.value)); got != c.bytes {
				t.Errorf("encodes to\n%s, want\n%s", got, c.bytes)
			}
			back := fresh(c.value)
			if err := Unmarshal(unhex(t, c.bytes), back); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(Marshal(back)); got != c.bytes {
				t.Errorf("decodes to what encodes to %s", got)
			}
		})
	}
	same(t, "ComponentOperationLabel", []byte(ComponentLabel(0x8001, "test")), unhex(t, "0d"+hex.EncodeToString([]byte("MLS Component"))+"8001"+"0474657374"))
	same(t, "nothing in a SafeAAD", Marshal(&FramedContent{ContentType: ContentApplication, Sender: Sender{Type: SenderNewMemberCommit}, AuthenticatedData: Marshal(SafeAAD{})}),
		unhex(t, "00"+"0000000000000000"+"04"+"0100"+"01"+"00"))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	return must(hex.DecodeString(s))(t)
}

// fresh is a new value of the same type.
func fresh(v codable) codable {
	for _, d := range decoders {
		if n := d(); fmt.Sprintf("%T", n) == fmt.Sprintf("%T", v) {
			return n
		}
	}
	panic(fmt.Sprintf("no decoder for %T", v))
}

// decoders make one of each structure that is read from outside.
var decoders = []func() codable{
	func() codable { return new(Message) }, func() codable { return new(PublicMessage) }, func() codable { return new(PrivateMessage) },
	func() codable { return new(Welcome) }, func() codable { return new(GroupInfo) }, func() codable { return new(KeyPackage) },
	func() codable { return new(LeafNode) }, func() codable { return new(ParentNode) }, func() codable { return new(optionalNodes) },
	func() codable { return new(FramedContent) }, func() codable { return new(AuthenticatedContent) }, func() codable { return new(Commit) },
	func() codable { return new(Proposal) }, func() codable { return new(ProposalOrRef) }, func() codable { return new(UpdatePath) },
	func() codable { return new(PreSharedKeyID) }, func() codable { return new(ReInit) }, func() codable { return new(GroupContext) },
	func() codable { return new(groupSecrets) }, func() codable { return new(HPKECiphertext) }, func() codable { return new(Credential) },
	func() codable { return new(Capabilities) }, func() codable { return new(Extensions) }, func() codable { return new(RequiredCapabilities) },
	func() codable { return new(ExternalSenders) }, func() codable { return new(Sender) }, func() codable { return new(AppDataDictionary) },
	func() codable { return new(ComponentsList) }, func() codable { return new(AppDataUpdate) }, func() codable { return new(AppEphemeral) },
	func() codable { return new(SafeAAD) }, func() codable { return new(MediaType) }, func() codable { return new(MediaTypeList) },
	func() codable { return new(ApplicationFraming) }, func() codable { return new(RatchetTreeOption) }, func() codable { return new(PartialGroupInfo) },
}

// TestMalformed lists encodings that must not be accepted: reserved and unknown values, wrong order, lengths that are not minimal or
// do not fit, bytes left over (RFC 9420 §2.1).
func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name  string
		into  codable
		bytes string
	}{
		{"length in two bytes that fits one", new(ComponentsList), "4002" + "0001"},
		{"length in four bytes that fits two", new(ComponentsList), "80000002" + "0001"},
		{"length in eight bytes", new(ComponentsList), "c000000000000002" + "0001"},
		{"length over what is there", new(ComponentsList), "04" + "0001"},
		{"length over the bound", new(ComponentsList), "84000001"},
		{"odd length", new(ComponentsList), "03000100"},
		{"nothing", new(ComponentsList), ""},
		{"bytes left over", new(ComponentsList), "02000100"},
		{"AppDataUpdate operation 0", new(AppDataUpdate), "0022" + "00" + "00"},
		{"AppDataUpdate operation 3", new(AppDataUpdate), "0022" + "03" + "00"},
		{"AppDataUpdate remove with an update", new(AppDataUpdate), "0022" + "02" + "00"},
		{"AppDataUpdate with component of four bytes", new(AppDataUpdate), "00000022" + "01" + "00"},
		{"self_remove with a body", new(Proposal), "000a" + "00"},
		{"proposal type 0", new(Proposal), "0000"},
		{"proposal type not assigned", new(Proposal), "000b"},
		{"proposal type of GREASE", new(Proposal), "0a0a"},
		{"proposal of mls-rs's self_remove", new(Proposal), "f003"},
		{"ProposalOrRef 0", new(ProposalOrRef), "00" + "000a"},
		{"ProposalOrRef 3", new(ProposalOrRef), "03" + "020102"},
		{"dictionary out of order", new(AppDataDictionary), "06" + "000200" + "000100"},
		{"dictionary with a component twice", new(AppDataDictionary), "06" + "000100" + "000100"},
		{"SafeAAD out of order", new(SafeAAD), "06" + "000200" + "000100"},
		{"SafeAAD with a component twice", new(SafeAAD), "06" + "000100" + "000100"},
		{"empty MediaTypeList", new(MediaTypeList), "00"},
		{"PSK type 0", new(PreSharedKeyID), "00" + "00" + "00"},
		{"PSK type 4", new(PreSharedKeyID), "04" + "00" + "00"},
		{"resumption usage 0", new(PreSharedKeyID), "02" + "00" + "00" + "0000000000000000" + "00"},
		{"resumption usage 4", new(PreSharedKeyID), "02" + "04" + "00" + "0000000000000000" + "00"},
		{"RatchetTreeOption 0", new(RatchetTreeOption), "00"},
		{"RatchetTreeOption 5", new(RatchetTreeOption), "05"},
		{"RatchetTreeOption in full, cut short", new(RatchetTreeOption), "01" + "03" + "0000"},
		{"PartialGroupInfo presence 4", new(PartialGroupInfo), "04" + "00" + "00"},
		{"sender type 0", new(Sender), "00"},
		{"sender type 5", new(Sender), "05"},
		{"optional<T> presence 2", new(Commit), "00" + "02"},
		{"content type 0", new(FramedContent), "00" + "0000000000000000" + "04" + "00" + "00" + "00"},
		{"content type 4", new(FramedContent), "00" + "0000000000000000" + "04" + "00" + "04" + "00"},
		{"private content type 0", new(PrivateMessage), "00" + "0000000000000000" + "00" + "00" + "00" + "00"},
		{"leaf node source 0", new(LeafNode), "00" + "00" + "000100" + "0000000000" + "00" + "00" + "00"},
		{"leaf node source 4", new(LeafNode), "00" + "00" + "000100" + "0000000000" + "04" + "00" + "00"},
		{"unmerged leaves out of order", new(ParentNode), "00" + "00" + "08" + "00000002" + "00000001"},
		{"message of version 2", new(Message), "0002" + "0005"},
		{"message of version 0", new(Message), "0000" + "0005"},
		{"wire format 0", new(Message), "0001" + "0000"},
		{"wire format 6", new(Message), "0001" + "0006"},
		{"empty extension list entry", new(Extensions), "03" + "000600" + "00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Unmarshal(unhex(t, c.bytes), c.into); !errors.Is(err, ErrSyntax) {
				t.Errorf("error %v, want ErrSyntax", err)
			}
		})
	}
}

// TestGREASE: values that nobody knows are ignored wherever RFC 9420 §13.5 and mls-extensions-10 §5.1 allow them.
func TestGREASE(t *testing.T) {
	seen := map[uint16]bool{}
	for i := range 256 {
		v := must(GREASE(bytes.NewReader([]byte{byte(i)})))(t)
		if v&0x0f0f != 0x0a0a || v>>12 != v>>4&0xf || v > 0x7a7a {
			t.Fatalf("%#04x is no GREASE value", v)
		}
		seen[v] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d different values", len(seen))
	}
	cfg := testConfig()
	odd := uint16(0x3a3a)
	template := func(name string) LeafTemplate {
		lt := testTemplate(t, cfg, X25519AES128, name)
		c := DefaultCapabilities(X25519AES128)
		c.Versions = append(c.Versions, ProtocolVersion(odd))
		c.CipherSuites = append([]CipherSuite{CipherSuite(odd)}, c.CipherSuites...)
		c.Extensions, c.Proposals, c.Credentials = append(c.Extensions, ExtensionType(odd)), append(c.Proposals, ProposalType(odd)), append(c.Credentials, CredentialType(odd))
		dict := AppDataDictionary{}.With(ComponentAppComponents, Marshal(ComponentsList{1, 2, 3, testAppend, testReplace, ComponentID(odd)})).
			With(ComponentSafeAAD, Marshal(ComponentsList{ComponentID(odd)})).With(ComponentID(odd), []byte("whatever"))
		lt.Capabilities, lt.Extensions = c, Extensions{{ExtensionType(odd), []byte("grease")}, dict.Extension()}
		lt.KeyPackageExtensions = Extensions{{ExtensionType(0x4a4a), []byte("more")}, AppDataDictionary{}.With(ComponentID(odd), []byte("kp")).Extension()}
		return lt
	}
	alice := must(NewGroup(cfg, []byte("grease"), Extensions{AppDataDictionary{}.With(ComponentAppComponents, Marshal(ComponentsList{testAppend})).Extension()},
		must(NewKeyPackage(cfg, X25519AES128, template("alice")))(t)))(t)
	bob := must(NewKeyPackage(cfg, X25519AES128, template("bob")))(t)
	step := commit(t, alice, 0, CommitOptions{Proposals: adds(bob), WelcomeTree: true})
	b := join(t, cfg, step.Welcome, nil, bob)
	sameEpoch(t, alice, b)
	info := must(b.GroupInfo(1, true))(t)
	info.Extensions = append(info.Extensions, Extension{ExtensionType(odd), []byte("gi")}, AppDataDictionary{}.With(ComponentID(odd), nil).Extension())
	if err := info.sign(b.suite, b.leaves[1].signature); err != nil {
		t.Fatal(err)
	}
	_, external, err := ExternalCommit(cfg, info, template("carol"), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, alice, external.Message)
	receive(t, b, external.Message)
	sameEpoch(t, alice, b)
	must(NewPublicGroup(cfg, info, nil))(t)
	// In a GroupContext they are not allowed: nobody supports them.
	plain := newMember(t, cfg, X25519AES128, "dave")
	if _, err := NewGroup(cfg, []byte("g"), Extensions{{ExtensionType(odd), nil}}, plain); !errors.Is(err, ErrLeafNode) {
		t.Errorf("GREASE in a GroupContext: %v", err)
	}
}

// TestRequiredCapabilities lets a group demand what its members have (RFC 9420 §11.1).
func TestRequiredCapabilities(t *testing.T) {
	w := newDemandingTrio(t, CommitOptions{})
	j := must(NewKeyPackage(w.cfg, X25519AES128, w.newcomer("dave")))(t)
	step := commit(t, w.alice, 0, CommitOptions{Proposals: adds(j), WelcomeTree: true})
	w.deliver(step.Message, w.alice)
	sameEpoch(t, join(t, w.cfg, step.Welcome, nil, j), w.bob)
	template := w.newcomer("erin")
	info := must(w.alice.GroupInfo(0, true))(t)
	_, external, err := ExternalCommit(w.cfg, info, template, ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(external.Message, nil)
	template = testTemplate(t, w.cfg, X25519AES128, "frank") // does not have it
	if _, _, err := ExternalCommit(w.cfg, must(w.alice.GroupInfo(0, true))(t), template, ExternalOptions{}); !errors.Is(err, ErrLeafNode) {
		t.Errorf("joined without what is required: %v", err)
	}
	if _, err := NewGroup(w.cfg, []byte("g"), w.alice.state.context.Extensions, newMember(t, w.cfg, X25519AES128, "frank")); !errors.Is(err, ErrLeafNode) {
		t.Errorf("created without what is required: %v", err)
	}
	w.alive()
}

// TestLastResort: a key package marked as last resort can be used again (mls-extensions-10 §6.4).
func TestLastResort(t *testing.T) {
	cfg := testConfig()
	template := testTemplate(t, cfg, X25519AES128, "bob")
	template.KeyPackageExtensions = Extensions{AppDataDictionary{}.With(ComponentLastResortKeyPackage, []byte{}).Extension()}
	bob := must(NewKeyPackage(cfg, X25519AES128, template))(t)
	if !bob.KeyPackage.LastResort() {
		t.Error("not a last resort")
	}
	for i, xs := range []Extensions{nil, {{ExtAppDataDictionary, []byte{1}}}, {AppDataDictionary{}.With(ComponentLastResortKeyPackage, []byte{1}).Extension()}, {AppDataDictionary{}.With(5, []byte{}).Extension()}} {
		k := bob.KeyPackage
		if k.Extensions = xs; k.LastResort() {
			t.Errorf("list %d is a last resort", i)
		}
	}
	for range 2 {
		alice := newGroup(t, cfg, X25519AES128, "alice")
		step := commit(t, alice, 0, CommitOptions{Proposals: adds(bob), WelcomeTree: true})
		stored := must(UnmarshalJoinSecrets(cfg.Suites, Marshal(bob)))(t)
		sameEpoch(t, join(t, cfg, step.Welcome, nil, stored), alice)
	}
	for _, damaged := range [][]byte{nil, {2}, Marshal(bob)[:40], append(Marshal(bob), 0)} {
		if _, err := UnmarshalJoinSecrets(cfg.Suites, damaged); !errors.Is(err, ErrSyntax) {
			t.Errorf("damaged join secrets: %v", err)
		}
	}
}

// TestSafeExportedSecret derives a component's secret a second time, in plain HKDF, from the draft's text: the leaf of a tree with 2^16
// leaves over application_export_secret (mls-extensions-10 §4.4, RFC 9420 §9).
func TestSafeExportedSecret(t *testing.T) {
	g := newGroup(t, testConfig(), X25519AES128, "alice")
	secret := g.exporter.nodes[nodeAt(0, 16)]
	const id = 0x8001
	expand := func(secret []byte, context string) []byte {
		label := "MLS 1.0 tree" // uint16 length, label<V>, context<V>
		info := "\x00\x20" + string(rune(len(label))) + label + string(rune(len(context))) + context
		return must(hkdf.Expand(sha256.New, secret, info, 32))(t)
	}
	want := bytes.Clone(secret)
	for bit := 15; bit >= 0; bit-- {
		if id>>bit&1 == 1 {
			want = expand(want, "right")
		} else {
			want = expand(want, "left")
		}
	}
	same(t, "SafeExportSecret", must(g.SafeExport(id))(t).Application, want)
}

// TestPartialGroupInfo is draft-mahy-mls-ratchet-tree-options-03 §3: a hub completes the partial GroupInfo that comes with a commit.
func TestPartialGroupInfo(t *testing.T) {
	w := newTrio(t)
	step := commit(t, w.alice, 0, CommitOptions{WantGroupInfo: true})
	m := must(ParseMessage(step.Message))(t)
	received := must(w.hub.Process(m))(t)
	partial := new(PartialGroupInfo)
	if err := Unmarshal(Marshal(step.GroupInfo.Partial()), partial); err != nil {
		t.Fatal(err)
	}
	info := must(w.hub.Rebuild(received, partial))(t)
	if !bytes.Equal(Marshal(info), Marshal(step.GroupInfo)) {
		t.Error("rebuilt another GroupInfo")
	}
	tree := received.Tree()
	for _, c := range []struct {
		name string
		do   func(p *PartialGroupInfo)
		want error
		text string
	}{
		{"present", func(p *PartialGroupInfo) { p.Presence = TreePresent }, ErrGroupInfo, "unknown place"},
		{"added", func(p *PartialGroupInfo) { p.Presence = TreeAdded }, ErrGroupInfo, "unknown place"},
		{"signature", func(p *PartialGroupInfo) { p.Signature = flip(p.Signature) }, ErrSignature, "GroupInfoTBS"},
		{"extension more", func(p *PartialGroupInfo) { p.Extensions = append(slices.Clone(p.Extensions), Extension{0x0a0a, nil}) }, ErrSignature, "GroupInfoTBS"},
		{"extension twice", func(p *PartialGroupInfo) { p.Extensions = append(slices.Clone(p.Extensions), p.Extensions[0]) }, ErrGroupInfo, "listed twice"},
		{"no external_pub", func(p *PartialGroupInfo) { p.Extensions = nil }, ErrGroupInfo, "external_pub"},
	} {
		p := *partial
		c.do(&p)
		unchanged(t, c.name, w.hub, c.want, c.text, func() error { _, err := w.hub.Rebuild(received, &p); return err })
	}
	full := *step.GroupInfo
	full.Signer = 1
	unchanged(t, "signer", w.hub, ErrGroupInfo, "not by the committer", func() error { return w.hub.CheckGroupInfo(received, &full) })
	full = *step.GroupInfo
	full.Context.Epoch++
	unchanged(t, "epoch", w.hub, ErrGroupInfo, "of another epoch", func() error { return w.hub.CheckGroupInfo(received, &full) })
	unchanged(t, "no commit", w.hub, ErrStep, "", func() error { _, err := w.hub.Rebuild(&Step{}, partial); return err })
	settle(t, w.hub, must(w.hub.Merge(received))(t))
	w.hub = must(NewPublicGroup(w.cfg, info, tree))(t)
	receive(t, w.bob, step.Message)
	receive(t, w.carol, step.Message)
	w.alive()
	if strings.Contains(fmt.Sprint((&Step{}).Tree()), "1") {
		t.Error("a step that is no commit has a tree")
	}
}
