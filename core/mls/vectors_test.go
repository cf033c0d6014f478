package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mimigate/core/mls/internal/codec"
	"mimigate/core/mls/internal/signature"
)

// hexBytes is a byte string in a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(data []byte) error {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil || s == nil {
		*h = nil
		return err
	}
	b, err := hex.DecodeString(*s)
	*h = b
	return err
}

// vectorFile finds an official vector file: beside the checkout in shared/, or in the module cache, in the test
// data of github.com/thomas-vilte/mls-go.
func vectorFile(t *testing.T, name string) []byte {
	t.Helper()
	dirs := []string{filepath.Join("..", "..", "..", "shared", "vectors", "mls")}
	if out, err := exec.Command("go", "env", "GOMODCACHE").Output(); err == nil {
		found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "github.com", "thomas-vilte", "mls-go@v1.6.0", "testdata", "*", "test-vectors"))
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return data
		}
	}
	t.Skipf("official vectors %s are neither in shared/vectors/mls nor in the module cache", name)
	return nil
}

// runVectors runs check for each vector of a file whose suite is supported, and fails if none was.
func runVectors[T any](t *testing.T, name string, suiteOf func(*T) uint16, check func(*testing.T, *suite, *T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		var vectors []T
		if err := json.Unmarshal(vectorFile(t, name+".json"), &vectors); err != nil {
			t.Fatal(err)
		}
		ran := map[uint16]int{}
		for i := range vectors {
			id := uint16(1)
			if suiteOf != nil {
				id = suiteOf(&vectors[i])
			}
			s, err := DefaultSuites().get(CipherSuite(id))
			if err != nil {
				continue // suites 4 and 6 need X448
			}
			ran[id]++
			t.Run(fmt.Sprintf("%d/suite%d", i, id), func(t *testing.T) { check(t, s, &vectors[i]) })
		}
		if len(ran) == 0 {
			t.Fatal("no vector of a supported suite")
		}
		t.Logf("vectors per suite: %v", ran)
	})
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestVectors(t *testing.T) {
	runVectors(t, "tree-math", nil, checkTreeMath)
	runVectors(t, "crypto-basics", func(v *cryptoBasics) uint16 { return v.CipherSuite }, checkCryptoBasics)
	runVectors(t, "deserialization", nil, checkDeserialization)
	runVectors(t, "messages", nil, checkMessages)
	runVectors(t, "key-schedule", func(v *keyScheduleVector) uint16 { return v.CipherSuite }, checkKeySchedule)
	runVectors(t, "psk_secret", func(v *pskVector) uint16 { return v.CipherSuite }, checkPSKSecret)
	runVectors(t, "secret-tree", func(v *secretTreeVector) uint16 { return v.CipherSuite }, checkSecretTree)
	runVectors(t, "transcript-hashes", func(v *transcriptVector) uint16 { return v.CipherSuite }, checkTranscript)
	runVectors(t, "message-protection", func(v *protectionVector) uint16 { return v.CipherSuite }, checkProtection)
	runVectors(t, "tree-operations", func(v *treeOperationsVector) uint16 { return v.CipherSuite }, checkTreeOperations)
	runVectors(t, "tree-validation", func(v *treeValidationVector) uint16 { return v.CipherSuite }, checkTreeValidation)
	runVectors(t, "treekem", func(v *treekemVector) uint16 { return v.CipherSuite }, checkTreeKEM)
	runVectors(t, "welcome", func(v *welcomeVector) uint16 { return v.CipherSuite }, checkWelcome)
	runVectors(t, "passive-client-welcome", func(v *passiveVector) uint16 { return v.CipherSuite }, checkPassive)
	runVectors(t, "passive-client-handling-commit", func(v *passiveVector) uint16 { return v.CipherSuite }, checkPassive)
	runVectors(t, "passive-client-random", func(v *passiveVector) uint16 { return v.CipherSuite }, checkPassive)
}

type treeMathVector struct {
	Leaves                       uint32 `json:"n_leaves"`
	Nodes                        uint32 `json:"n_nodes"`
	Root                         uint32
	Left, Right, Parent, Sibling []*uint32
}

func checkTreeMath(t *testing.T, _ *suite, v *treeMathVector) {
	depth := 0
	for 1<<depth < int(v.Leaves) {
		depth++
	}
	if got := nodeAt(0, depth); uint32(got) != v.Root {
		t.Errorf("root %d, want %d", got, v.Root)
	}
	if 2<<depth-1 != v.Nodes {
		t.Errorf("%d nodes, want %d", 2<<depth-1, v.Nodes)
	}
	relation := func(what string, i int, got nodeIndex, want *uint32) {
		if want != nil && uint32(got) != *want {
			t.Errorf("%s of %d = %d, want %d", what, i, got, *want)
		}
	}
	for i := range int(v.Nodes) {
		n := nodeIndex(i)
		level, first := n.level(), n.first()
		if nodeAt(first, level) != n {
			t.Fatalf("node %d is at level %d, first leaf %d", i, level, first)
		}
		if (v.Left[i] == nil) != (level == 0) || (v.Parent[i] == nil) != (level == depth) {
			t.Errorf("node %d: level %d of %d does not fit its relations", i, level, depth)
		}
		if level > 0 {
			relation("left", i, nodeAt(first, level-1), v.Left[i])
			relation("right", i, nodeAt(first+1<<(level-1), level-1), v.Right[i])
		}
		if level < depth {
			relation("parent", i, nodeAt(first>>(level+1)<<(level+1), level+1), v.Parent[i])
			relation("sibling", i, nodeAt(first^1<<level, level), v.Sibling[i])
		}
	}
}

type cryptoBasics struct {
	CipherSuite uint16 `json:"cipher_suite"`
	RefHash     struct {
		Label      string
		Out, Value hexBytes
	} `json:"ref_hash"`
	Expand struct {
		Secret, Context, Out hexBytes
		Label                string
		Length               int
	} `json:"expand_with_label"`
	Derive struct {
		Label       string
		Out, Secret hexBytes
	} `json:"derive_secret"`
	DeriveTree struct {
		Label       string
		Generation  uint32
		Length      int
		Out, Secret hexBytes
	} `json:"derive_tree_secret"`
	Sign struct {
		Priv, Pub, Content, Signature hexBytes
		Label                         string
	} `json:"sign_with_label"`
	Encrypt struct {
		Priv, Pub, Context, Plaintext, Ciphertext hexBytes
		KEMOutput                                 hexBytes `json:"kem_output"`
		Label                                     string
	} `json:"encrypt_with_label"`
}

func checkCryptoBasics(t *testing.T, s *suite, v *cryptoBasics) {
	same(t, "RefHash", s.refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
	same(t, "ExpandWithLabel", s.expand(v.Expand.Secret, v.Expand.Label, v.Expand.Context, v.Expand.Length), v.Expand.Out)
	same(t, "DeriveSecret", s.derive(v.Derive.Secret, v.Derive.Label), v.Derive.Out)
	same(t, "DeriveTreeSecret", s.deriveTree(v.DeriveTree.Secret, v.DeriveTree.Label, v.DeriveTree.Generation, v.DeriveTree.Length), v.DeriveTree.Out)
	if err := s.verify(v.Sign.Pub, v.Sign.Label, v.Sign.Signature, v.Sign.Content); err != nil {
		t.Error(err)
	}
	key := vectorKey(t, s, v.Sign.Priv)
	signature := must(s.sign(key, v.Sign.Label, v.Sign.Content))(t)
	if err := s.verify(v.Sign.Pub, v.Sign.Label, signature, v.Sign.Content); err != nil {
		t.Error(err)
	}
	ct := HPKECiphertext{KEMOutput: v.Encrypt.KEMOutput, Ciphertext: v.Encrypt.Ciphertext}
	info := labelledContext(v.Encrypt.Label, v.Encrypt.Context)
	same(t, "DecryptWithLabel", must(s.hpke.Open(v.Encrypt.Priv, info, ct))(t), v.Encrypt.Plaintext)
	ct = must(s.hpke.Seal(v.Encrypt.Pub, info, v.Encrypt.Plaintext))(t)
	same(t, "EncryptWithLabel", must(s.hpke.Open(v.Encrypt.Priv, info, ct))(t), v.Encrypt.Plaintext)
}

// vectorKey reads a signature key of a vector, in which ECDSA scalars may lack leading zeros.
func vectorKey(t *testing.T, s *suite, secret []byte) *SignatureKey {
	t.Helper()
	return must(s.sig.Parse(padded(secret, s.sig.Size())))(t)
}

func padded(secret []byte, size int) []byte {
	if pad := size - len(secret); pad > 0 {
		return append(make([]byte, pad), secret...)
	}
	return secret
}

// vectorHPKEKey is the same for HPKE keys, of which only the DH KEMs over NIST curves are affected.
func vectorHPKEKey(s *suite, secret []byte) []byte {
	if e, ok := s.sig.(signature.ECDSA); ok {
		return padded(secret, e.Size())
	}
	return secret
}

type deserializationVector struct {
	Header hexBytes `json:"vlbytes_header"`
	Length int
}

func checkDeserialization(t *testing.T, _ *suite, v *deserializationVector) {
	d := NewDecoder(v.Header)
	n := d.Varint()
	if v.Length > MaxVector {
		if !errors.Is(d.Err(), ErrSyntax) {
			t.Errorf("length %d accepted", v.Length)
		}
		return
	}
	if err := d.Finish(); err != nil || n != v.Length {
		t.Errorf("length %d, %v; want %d", n, err, v.Length)
	}
	same(t, "header", codec.AppendVarint(nil, v.Length), v.Header)
}

func checkMessages(t *testing.T, s *suite, v *map[string]hexBytes) {
	kinds := map[string]interface {
		Marshaler
		Unmarshaler
	}{
		"mls_welcome": new(Message), "mls_group_info": new(Message), "mls_key_package": new(Message), "ratchet_tree": new(optionalNodes),
		"group_secrets": new(groupSecrets), "add_proposal": new(KeyPackage), "update_proposal": new(LeafNode),
		"remove_proposal": &proposalBody{p: Proposal{Type: ProposalRemove}}, "pre_shared_key_proposal": new(PreSharedKeyID),
		"re_init_proposal": new(ReInit), "external_init_proposal": &proposalBody{p: Proposal{Type: ProposalExternalInit}},
		"group_context_extensions_proposal": new(Extensions), "commit": new(Commit), "public_message_application": new(Message),
		"public_message_proposal": new(Message), "public_message_commit": new(Message), "private_message": new(Message),
	}
	if len(*v) != len(kinds) {
		t.Fatalf("%d kinds, want %d", len(*v), len(kinds))
	}
	for name, m := range kinds {
		if err := Unmarshal((*v)[name], m); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		same(t, name, Marshal(m), (*v)[name])
	}
}

// optionalNodes is a ratchet_tree as it is on the wire.
type optionalNodes []node

func (o *optionalNodes) UnmarshalMLS(d *Decoder) {
	d.Vector(func(d *Decoder) {
		l, p := unmarshalNode(d, nodeIndex(len(*o)))
		*o = append(*o, node{leaf: l, parent: p})
	})
}

func (o *optionalNodes) MarshalMLS(e *Encoder) {
	e.Vector(func(e *Encoder) {
		for i := range *o {
			(*o)[i].marshal(e)
		}
	})
}

// proposalBody is a proposal without its type.
type proposalBody struct{ p Proposal }

func (b *proposalBody) UnmarshalMLS(d *Decoder) {
	var e Encoder
	e.Uint16(uint16(b.p.Type))
	e.Raw(d.Raw(len(d.Remaining())))
	inner := NewDecoder(e.Bytes())
	b.p.UnmarshalMLS(inner)
	if err := inner.Finish(); err != nil {
		d.Failf("%v", err)
	}
}

func (b *proposalBody) MarshalMLS(e *Encoder) { e.Raw(Marshal(&b.p)[2:]) }

type keyScheduleVector struct {
	CipherSuite uint16   `json:"cipher_suite"`
	GroupID     hexBytes `json:"group_id"`
	InitSecret  hexBytes `json:"initial_init_secret"`
	Epochs      []struct {
		TreeHash                hexBytes `json:"tree_hash"`
		CommitSecret            hexBytes `json:"commit_secret"`
		PSKSecret               hexBytes `json:"psk_secret"`
		ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
		GroupContext            hexBytes `json:"group_context"`
		Joiner                  hexBytes `json:"joiner_secret"`
		Welcome                 hexBytes `json:"welcome_secret"`
		Init                    hexBytes `json:"init_secret"`
		SenderData              hexBytes `json:"sender_data_secret"`
		Encryption              hexBytes `json:"encryption_secret"`
		Exporter                hexBytes `json:"exporter_secret"`
		Authenticator           hexBytes `json:"epoch_authenticator"`
		External                hexBytes `json:"external_secret"`
		Confirm                 hexBytes `json:"confirmation_key"`
		Membership              hexBytes `json:"membership_key"`
		Resumption              hexBytes `json:"resumption_psk"`
		ExternalPub             hexBytes `json:"external_pub"`
		Exported                struct {
			Label           string
			Context, Secret hexBytes
			Length          int
		} `json:"exporter"`
	}
}

func checkKeySchedule(t *testing.T, s *suite, v *keyScheduleVector) {
	init := []byte(v.InitSecret)
	for i, e := range v.Epochs {
		ctx := GroupContext{Version: MLS10, CipherSuite: s.id, GroupID: v.GroupID, Epoch: uint64(i), TreeHash: e.TreeHash,
			ConfirmedTranscriptHash: e.ConfirmedTranscriptHash}
		same(t, "group_context", Marshal(&ctx), e.GroupContext)
		k := s.keySchedule(init, e.CommitSecret, e.PSKSecret, e.GroupContext)
		for _, c := range []struct {
			what      string
			got, want []byte
		}{
			{"joiner_secret", k.joiner, e.Joiner}, {"welcome_secret", k.welcome, e.Welcome}, {"init_secret", k.init, e.Init},
			{"sender_data_secret", k.senderData, e.SenderData}, {"encryption_secret", k.encryption, e.Encryption},
			{"exporter_secret", k.exporter, e.Exporter}, {"epoch_authenticator", k.authentic, e.Authenticator},
			{"external_secret", k.external, e.External}, {"confirmation_key", k.confirm, e.Confirm},
			{"membership_key", k.membership, e.Membership}, {"resumption_psk", k.resumption, e.Resumption},
			{"exporter", s.export(k.exporter, e.Exported.Label, e.Exported.Context, e.Exported.Length), e.Exported.Secret},
		} {
			same(t, c.what, c.got, c.want)
		}
		_, pub, err := s.hpke.KeyPair(k.external)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "external_pub", pub, e.ExternalPub)
		init = k.init
	}
}

type pskVector struct {
	CipherSuite uint16 `json:"cipher_suite"`
	PSKs        []struct {
		ID    hexBytes `json:"psk_id"`
		PSK   hexBytes
		Nonce hexBytes `json:"psk_nonce"`
	}
	Secret hexBytes `json:"psk_secret"`
}

func checkPSKSecret(t *testing.T, s *suite, v *pskVector) {
	var in []pskInput
	for _, p := range v.PSKs {
		in = append(in, pskInput{PreSharedKeyID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce}, p.PSK})
	}
	same(t, "psk_secret", s.pskSecret(in), v.Secret)
}

type secretTreeVector struct {
	CipherSuite      uint16   `json:"cipher_suite"`
	EncryptionSecret hexBytes `json:"encryption_secret"`
	SenderData       struct {
		Secret     hexBytes `json:"sender_data_secret"`
		Ciphertext hexBytes
		Key, Nonce hexBytes
	} `json:"sender_data"`
	Leaves [][]struct {
		Generation       uint32
		ApplicationKey   hexBytes `json:"application_key"`
		ApplicationNonce hexBytes `json:"application_nonce"`
		HandshakeKey     hexBytes `json:"handshake_key"`
		HandshakeNonce   hexBytes `json:"handshake_nonce"`
	}
}

func depthOf(leaves int) (depth int) {
	for 1<<depth < leaves {
		depth++
	}
	return depth
}

func checkSecretTree(t *testing.T, s *suite, v *secretTreeVector) {
	m := &messageKeys{senderData: v.SenderData.Secret, ratchets: map[ratchetID]*ratchet{},
		secrets: newSecretNodes(s, v.EncryptionSecret, depthOf(len(v.Leaves)))}
	_, nonce, err := m.senderDataAEAD(v.SenderData.Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sender data nonce", nonce, v.SenderData.Nonce)
	sample := v.SenderData.Ciphertext[:min(len(v.SenderData.Ciphertext), s.nh)]
	same(t, "sender data key", s.expand(m.senderData, "key", sample, s.nk), v.SenderData.Key)
	cfg := &Config{MaxSkip: 100}
	for i, leaf := range v.Leaves {
		for _, g := range leaf {
			step := &Step{}
			k := must(m.at(ratchetID{LeafIndex(i), false}, g.Generation, cfg, step))(t)
			same(t, "application key", k.key, g.ApplicationKey)
			same(t, "application nonce", k.nonce, g.ApplicationNonce)
			k = must(m.at(ratchetID{LeafIndex(i), true}, g.Generation, cfg, step))(t)
			same(t, "handshake key", k.key, g.HandshakeKey)
			same(t, "handshake nonce", k.nonce, g.HandshakeNonce)
		}
	}
	if len(m.secrets.nodes) != 0 && len(v.Leaves) == 1<<m.secrets.depth {
		t.Errorf("%d secrets left in a tree whose leaves are all taken", len(m.secrets.nodes))
	}
}

type transcriptVector struct {
	CipherSuite     uint16   `json:"cipher_suite"`
	ConfirmationKey hexBytes `json:"confirmation_key"`
	Content         hexBytes `json:"authenticated_content"`
	InterimBefore   hexBytes `json:"interim_transcript_hash_before"`
	ConfirmedAfter  hexBytes `json:"confirmed_transcript_hash_after"`
	InterimAfter    hexBytes `json:"interim_transcript_hash_after"`
}

func checkTranscript(t *testing.T, s *suite, v *transcriptVector) {
	a := new(AuthenticatedContent)
	if err := Unmarshal(v.Content, a); err != nil {
		t.Fatal(err)
	}
	confirmed := s.confirmedTranscriptHash(v.InterimBefore, a)
	same(t, "confirmed_transcript_hash", confirmed, v.ConfirmedAfter)
	same(t, "interim_transcript_hash", s.interimTranscriptHash(confirmed, a.Auth.ConfirmationTag), v.InterimAfter)
	same(t, "confirmation_tag", s.mac(v.ConfirmationKey, confirmed), a.Auth.ConfirmationTag)
}

type protectionVector struct {
	CipherSuite             uint16   `json:"cipher_suite"`
	GroupID                 hexBytes `json:"group_id"`
	Epoch                   uint64
	TreeHash                hexBytes `json:"tree_hash"`
	ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
	SignaturePriv           hexBytes `json:"signature_priv"`
	SignaturePub            hexBytes `json:"signature_pub"`
	EncryptionSecret        hexBytes `json:"encryption_secret"`
	SenderDataSecret        hexBytes `json:"sender_data_secret"`
	MembershipKey           hexBytes `json:"membership_key"`
	Proposal                hexBytes
	ProposalPriv            hexBytes `json:"proposal_priv"`
	ProposalPub             hexBytes `json:"proposal_pub"`
	Commit                  hexBytes
	CommitPriv              hexBytes `json:"commit_priv"`
	CommitPub               hexBytes `json:"commit_pub"`
	Application             hexBytes
	ApplicationPriv         hexBytes `json:"application_priv"`
}

// group is a group of two leaves, of which local are ours, at the vector's epoch.
func (v *protectionVector) group(t *testing.T, s *suite, local ...LeafIndex) *Group {
	ctx := GroupContext{Version: MLS10, CipherSuite: s.id, GroupID: v.GroupID, Epoch: v.Epoch, TreeHash: v.TreeHash,
		ConfirmedTranscriptHash: v.ConfirmedTranscriptHash}
	e := tree{}.edit()
	for range 2 {
		must(e.add(&LeafNode{SignatureKey: v.SignaturePub, Capabilities: &Capabilities{}}))(t)
	}
	st := &epochState{context: ctx, contextBytes: Marshal(&ctx), tree: e.finish(s)}
	g := &Group{PublicGroup: PublicGroup{cfg: &Config{}, suite: s, state: st}}
	g.begin(&epochSecrets{senderData: v.SenderDataSecret, encryption: v.EncryptionSecret, membership: v.MembershipKey, appExport: make([]byte, s.nh)})
	for _, i := range local {
		g.leaves[i] = &localLeaf{signature: vectorKey(t, s, v.SignaturePriv)}
	}
	return g
}

func checkProtection(t *testing.T, s *suite, v *protectionVector) {
	body := func(a *AuthenticatedContent) []byte {
		var e Encoder
		a.Content.marshalBody(&e)
		return e.Bytes()
	}
	open := func(what string, data, want []byte) {
		m := must(ParseMessage(data))(t)
		g := v.group(t, s)
		a := must(g.open(g.keys, m.Private, &Step{}))(t)
		if a.Content.ContentType == ContentApplication {
			same(t, what, a.Content.Application, want)
			return
		}
		same(t, what, body(a), want)
	}
	open("application_priv", v.ApplicationPriv, v.Application)
	open("proposal_priv", v.ProposalPriv, v.Proposal)
	open("commit_priv", v.CommitPriv, v.Commit)
	public := func(what string, data, want []byte) {
		m := must(ParseMessage(data))(t)
		g := v.group(t, s)
		a := m.Public.authenticated()
		if err := a.verify(s, v.SignaturePub, g.state.contextBytes); err != nil {
			t.Error(err)
		}
		same(t, what+" tag", a.membershipTag(s, v.MembershipKey, g.state.contextBytes), m.Public.MembershipTag)
		same(t, what, body(a), want)
	}
	public("proposal_pub", v.ProposalPub, v.Proposal)
	public("commit_pub", v.CommitPub, v.Commit)

	sender := v.group(t, s, 1)
	step := must(sender.Protect(1, v.Application, Framing{AAD: []byte("aad"), Padding: 17}))(t)
	open("own message", step.Message, v.Application)
}

type treeOperationsVector struct {
	CipherSuite    uint16 `json:"cipher_suite"`
	Proposal       hexBytes
	ProposalSender LeafIndex `json:"proposal_sender"`
	TreeBefore     hexBytes  `json:"tree_before"`
	TreeHashBefore hexBytes  `json:"tree_hash_before"`
	TreeAfter      hexBytes  `json:"tree_after"`
	TreeHashAfter  hexBytes  `json:"tree_hash_after"`
}

func checkTreeOperations(t *testing.T, s *suite, v *treeOperationsVector) {
	before := must(parseTree(s, v.TreeBefore, new(interner)))(t)
	same(t, "tree hash before", before.root.hash, v.TreeHashBefore)
	p := new(Proposal)
	if err := Unmarshal(v.Proposal, p); err != nil {
		t.Fatal(err)
	}
	e := before.edit()
	switch p.Type {
	case ProposalAdd:
		must(e.add(&p.Add.LeafNode))(t)
	case ProposalUpdate:
		e.update(v.ProposalSender, p.Update)
	case ProposalRemove:
		e.remove(p.Remove)
		e.truncate()
	}
	after := e.finish(s)
	same(t, "tree hash after", after.root.hash, v.TreeHashAfter)
	same(t, "tree after", after.marshal(), v.TreeAfter)
	same(t, "tree before, unchanged", before.marshal(), v.TreeBefore)
}

type treeValidationVector struct {
	CipherSuite uint16 `json:"cipher_suite"`
	Tree        hexBytes
	GroupID     hexBytes   `json:"group_id"`
	TreeHashes  []hexBytes `json:"tree_hashes"`
	Resolutions [][]uint32
}

func checkTreeValidation(t *testing.T, s *suite, v *treeValidationVector) {
	tr := must(parseTree(s, v.Tree, new(interner)))(t)
	for i := range v.Resolutions {
		n := nodeIndex(i)
		at := tr.at(n)
		same(t, fmt.Sprintf("hash of node %d", i), at.hash, v.TreeHashes[i])
		var got []uint32
		for _, r := range tr.resolution(nil, at, n.first(), n.level()) {
			got = append(got, uint32(r.index))
		}
		if !slices.Equal(got, v.Resolutions[i]) {
			t.Errorf("resolution of node %d = %v, want %v", i, got, v.Resolutions[i])
		}
	}
	if err := tr.checkParentHashes(s); err != nil {
		t.Error(err)
	}
	for i, l := range (&PublicGroup{state: &epochState{tree: tr}}).Members() {
		if err := l.verifySignature(s, v.GroupID, i); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	same(t, "tree", tr.marshal(), v.Tree)
}

type treekemVector struct {
	CipherSuite             uint16 `json:"cipher_suite"`
	Epoch                   uint64
	GroupID                 hexBytes `json:"group_id"`
	ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
	RatchetTree             hexBytes `json:"ratchet_tree"`
	LeavesPrivate           []struct {
		Index          LeafIndex
		EncryptionPriv hexBytes `json:"encryption_priv"`
		SignaturePriv  hexBytes `json:"signature_priv"`
		PathSecrets    []struct {
			Node       nodeIndex
			PathSecret hexBytes `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	UpdatePaths []struct {
		Sender        LeafIndex
		UpdatePath    hexBytes   `json:"update_path"`
		PathSecrets   []hexBytes `json:"path_secrets"`
		CommitSecret  hexBytes   `json:"commit_secret"`
		TreeHashAfter hexBytes   `json:"tree_hash_after"`
	} `json:"update_paths"`
}

// group is the vector's group as its leaf number which sees it.
func (v *treekemVector) group(t *testing.T, s *suite, which int) *Group {
	tr := must(parseTree(s, v.RatchetTree, new(interner)))(t)
	ctx := GroupContext{Version: MLS10, CipherSuite: s.id, GroupID: v.GroupID, Epoch: v.Epoch, TreeHash: tr.root.hash,
		ConfirmedTranscriptHash: v.ConfirmedTranscriptHash}
	g := &Group{PublicGroup: PublicGroup{cfg: &Config{}, suite: s, keys: map[keyID]struct{}{}}}
	g.state = must(newEpochState(&ctx, tr))(t)
	g.state.confirm(s, make([]byte, s.nh))
	g.state.usage = newUsage()
	g.state.usage.credentials[CredentialBasic] = tr.members()
	if err := errors.Join(tr.checkParentHashes(s), g.indexKeys(tr)); err != nil {
		t.Fatal(err)
	}
	g.begin(&epochSecrets{encryption: make([]byte, s.nh), appExport: make([]byte, s.nh)})
	p := v.LeavesPrivate[which]
	g.leaves[p.Index] = &localLeaf{signature: vectorKey(t, s, p.SignaturePriv)}
	g.private[p.Index.node()] = vectorHPKEKey(s, p.EncryptionPriv)
	for _, ps := range p.PathSecrets {
		private, public, err := s.hpke.KeyPair(s.derive(ps.PathSecret, "node"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "node key", public, tr.at(ps.Node).encryptionKey())
		g.private[ps.Node] = private
	}
	return g
}

// bend allows for two things in which these vectors are no group's life: the epoch does not advance, and leaves do
// not list suite 7 among their capabilities.
func (v *treekemVector) bend(d *draft, g *Group) {
	d.context.Epoch--
	listed := *g.suite
	listed.id = g.state.tree.leaf(v.LeavesPrivate[0].Index).Capabilities.CipherSuites[0]
	d.rules.suite = &listed
}

// receive applies an update path and decrypts it; the secret found is returned before it is used up.
func (v *treekemVector) receive(t *testing.T, g *Group, sender LeafIndex, path *UpdatePath) (n *next, pathSecret, commitSecret, treeHash []byte) {
	d := must(g.apply(nil, Sender{Type: SenderMember, Index: uint32(sender)}))(t)
	v.bend(d, g)
	if err := g.applyPath(d, path); err != nil {
		t.Fatal(err)
	}
	tr := must(g.finish(d))(t)
	d.state.tree = tr
	if err := g.checkPathSizes(d, tr); err != nil {
		t.Fatal(err)
	}
	if err := g.localChanges(d.next, nil); err != nil {
		t.Fatal(err)
	}
	k, secret, err := g.lowestPathSecret(d.next, Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	pathSecret = bytes.Clone(secret)
	return d.next, pathSecret, must(g.suite.climb(d.next, k, secret))(t), tr.root.hash
}

func checkTreeKEM(t *testing.T, s *suite, v *treekemVector) {
	for _, up := range v.UpdatePaths {
		for which, p := range v.LeavesPrivate {
			if p.Index == up.Sender {
				continue
			}
			path := new(UpdatePath)
			if err := Unmarshal(up.UpdatePath, path); err != nil {
				t.Fatal(err)
			}
			_, pathSecret, commitSecret, treeHash := v.receive(t, v.group(t, s, which), up.Sender, path)
			same(t, "path secret", pathSecret, up.PathSecrets[p.Index])
			same(t, "commit secret", commitSecret, up.CommitSecret)
			same(t, "tree hash", treeHash, up.TreeHashAfter)
		}
	}
	for which, p := range v.LeavesPrivate[:min(2, len(v.LeavesPrivate))] {
		g := v.group(t, s, which)
		sender := Sender{Type: SenderMember, Index: uint32(p.Index)}
		d := must(g.apply(nil, sender))(t)
		v.bend(d, g)
		b := &committing{group: g, draft: d, options: &CommitOptions{}, sender: sender, signature: g.leaves[p.Index].signature}
		b.nextKey = b.signature
		if err := g.localChanges(d.next, nil); err != nil {
			t.Fatal(err)
		}
		commitSecret := must(b.makePath())(t)
		if err := b.encryptPath(must(g.finish(d))(t)); err != nil {
			t.Fatal(err)
		}
		path := new(UpdatePath)
		if err := Unmarshal(Marshal(d.path), path); err != nil {
			t.Fatal(err)
		}
		for other := range v.LeavesPrivate {
			if other != which {
				_, _, got, _ := v.receive(t, v.group(t, s, other), p.Index, path)
				same(t, "own commit secret", got, commitSecret)
			}
		}
	}
}

type welcomeVector struct {
	CipherSuite uint16   `json:"cipher_suite"`
	InitPriv    hexBytes `json:"init_priv"`
	SignerPub   hexBytes `json:"signer_pub"`
	KeyPackage  hexBytes `json:"key_package"`
	Welcome     hexBytes
}

func checkWelcome(t *testing.T, s *suite, v *welcomeVector) {
	j := &JoinSecrets{KeyPackage: *must(ParseMessage(v.KeyPackage))(t).KeyPackage, InitKey: v.InitPriv}
	w := must(ParseMessage(v.Welcome))(t).Welcome
	secrets := must(s.openGroupSecrets(w, j))(t)
	psk := s.pskSecret(nil)
	info := must(s.openGroupInfo(w, secrets.joinerSecret, psk))(t)
	if err := info.verify(s, v.SignerPub); err != nil {
		t.Error(err)
	}
	k := s.keyScheduleFromJoiner(secrets.joinerSecret, psk, Marshal(&info.Context))
	same(t, "confirmation tag", s.mac(k.confirm, info.Context.ConfirmedTranscriptHash), info.ConfirmationTag)
}

type passiveVector struct {
	CipherSuite  uint16 `json:"cipher_suite"`
	ExternalPSKs []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes
	} `json:"external_psks"`
	KeyPackage           hexBytes `json:"key_package"`
	SignaturePriv        hexBytes `json:"signature_priv"`
	EncryptionPriv       hexBytes `json:"encryption_priv"`
	InitPriv             hexBytes `json:"init_priv"`
	Welcome              hexBytes
	RatchetTree          hexBytes `json:"ratchet_tree"`
	InitialAuthenticator hexBytes `json:"initial_epoch_authenticator"`
	Epochs               []struct {
		Proposals     []hexBytes
		Commit        hexBytes
		Authenticator hexBytes `json:"epoch_authenticator"`
	}
}

func checkPassive(t *testing.T, s *suite, v *passiveVector) {
	cfg := &Config{PSK: func(id *PreSharedKeyID) ([]byte, error) {
		for _, p := range v.ExternalPSKs {
			if bytes.Equal(p.ID, id.ID) {
				return p.PSK, nil
			}
		}
		return nil, errors.New("unknown")
	}}
	j := &JoinSecrets{KeyPackage: *must(ParseMessage(v.KeyPackage))(t).KeyPackage, InitKey: vectorHPKEKey(s, v.InitPriv), LeafKey: vectorHPKEKey(s, v.EncryptionPriv),
		Signature: vectorKey(t, s, v.SignaturePriv)}
	g, err := JoinWelcome(cfg, must(ParseMessage(v.Welcome))(t).Welcome, JoinOptions{Own: []*JoinSecrets{j}, RatchetTree: v.RatchetTree})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "initial epoch authenticator", g.EpochAuthenticator(), v.InitialAuthenticator)
	for i, e := range v.Epochs {
		for _, p := range e.Proposals {
			settle(t, g, must(g.Process(must(ParseMessage(p))(t), Arrival{}))(t))
		}
		step := must(g.Process(must(ParseMessage(e.Commit))(t), Arrival{}))(t)
		settle(t, g, must(g.Merge(step))(t))
		same(t, fmt.Sprintf("epoch authenticator %d", i), g.EpochAuthenticator(), e.Authenticator)
		if t.Failed() {
			return
		}
	}
}

func settle(t testing.TB, g interface{ Settle(*Step) error }, s *Step) {
	t.Helper()
	if err := g.Settle(s); err != nil {
		t.Fatal(err)
	}
}
