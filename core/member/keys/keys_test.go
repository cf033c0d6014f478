package keys_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"mimigate/core/member/keys"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/store"
	"mimigate/core/uri"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	here  = must(uri.NewProvider("a.example"))
	there = must(uri.NewProvider("b.example"))
	other = must(uri.NewProvider("c.example"))
	ann   = must(uri.ParseUser("mimi://a.example/u/ann"))
	club  = must(uri.ParseRoom("mimi://c.example/r/club"))
)

const bob = "mimi://b.example/u/bob"

// consents says the same to all.
type consents struct {
	mu   sync.Mutex
	code mimi.UserCode
	err  error
}

func (c *consents) Consents(context.Context, uri.User, uri.User, uri.Room) (mimi.UserCode, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.err
}

func newKeys(t *testing.T) (*keys.Keys, *consents) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &consents{}
	return &keys.Keys{Provider: here, Store: s, Consent: c, MLS: &mls.Config{Suites: mls.DefaultSuites()}, Now: time.Now}, c
}

// request is one of Bob's, signed.
func request(t *testing.T, change func(*mimi.KeyMaterialRequest)) *mimi.KeyMaterialRequest {
	t.Helper()
	key := must(mls.DefaultSuites().NewSignatureKey(mls.X25519AES128, rand.Reader))
	r := &mimi.KeyMaterialRequest{Requester: bob, Target: ann.String(), Room: club.String(), Suites: []mls.CipherSuite{mls.X25519AES128},
		SignatureKey: key.PublicBytes(), Credential: mls.BasicCredential([]byte(bob))}
	if change != nil {
		change(r)
	}
	if err := r.Sign(mls.DefaultSuites(), key); err != nil && !errors.Is(err, mls.ErrCipherSuite) {
		t.Fatal(err)
	}
	return r
}

// C4: each key package is given once, to however many ask at a time; it is good now, and what it was made with opens it, once.
func TestSingleUse(t *testing.T) {
	k, _ := newKeys(t)
	const asking = 24
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	var refs [][]byte
	for range asking {
		r := request(t, nil)
		all.Go(func() {
			resp, err := k.KeyMaterial(t.Context(), other, ann, r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || resp.Code != mimi.UserSuccess || len(resp.Clients) != 1 || resp.Clients[0].Code != mimi.ClientSuccess || resp.Clients[0].Client != "mimi://a.example/d/ann/mimigate" {
				t.Errorf("%+v, %v", resp, err)
				return
			}
			p := resp.Clients[0].KeyPackage
			if err := mls.VerifyKeyPackage(k.MLS, p); err != nil {
				t.Error(err)
			}
			if p.LastResort() {
				t.Error("one that could be used again")
			}
			ref := must(p.Ref(mls.DefaultSuites()))
			if seen[string(ref)] || seen[string(p.InitKey)] || seen[string(p.LeafNode.EncryptionKey)] || seen[string(p.LeafNode.SignatureKey)] {
				t.Error("given twice")
			}
			for _, b := range [][]byte{ref, p.InitKey, p.LeafNode.EncryptionKey, p.LeafNode.SignatureKey} {
				seen[string(b)] = true
			}
			refs = append(refs, ref)
		})
	}
	all.Wait()
	secrets, err := k.Secrets(t.Context(), refs)
	if err != nil || len(secrets) != asking {
		t.Fatalf("%d private sides, %v", len(secrets), err)
	}
	if err := k.Used(t.Context(), secrets[:1]); err != nil {
		t.Fatal(err)
	}
	if left, err := k.Secrets(t.Context(), refs); err != nil || len(left) != asking-1 {
		t.Errorf("%d left, %v", len(left), err)
	}
}

// C5, C6, C7: who may ask, and what they are told otherwise.
func TestKeyMaterial(t *testing.T) {
	k, c := newKeys(t)
	for name, test := range map[string]struct {
		from uri.Provider
		r    *mimi.KeyMaterialRequest
		want error
	}{
		"by the room's hub":             {other, request(t, nil), nil},
		"by the requester's provider":   {there, request(t, nil), nil},
		"for no room":                   {there, request(t, func(r *mimi.KeyMaterialRequest) { r.Room = "" }), nil},
		"for no room, by somebody else": {other, request(t, func(r *mimi.KeyMaterialRequest) { r.Room = "" }), mimi.ErrForbidden},
		"by another provider":           {must(uri.NewProvider("d.example")), request(t, nil), mimi.ErrForbidden},
		"another's credential":          {other, request(t, func(r *mimi.KeyMaterialRequest) { r.Credential = mls.BasicCredential([]byte("mimi://b.example/u/eve")) }), mimi.ErrForbidden},
		"no credential":                 {other, request(t, func(r *mimi.KeyMaterialRequest) { r.Credential = mls.BasicCredential([]byte("bob")) }), mimi.ErrForbidden},
		"a requester that is no user":   {other, request(t, func(r *mimi.KeyMaterialRequest) { r.Requester = "bob" }), mimi.ErrBadRequest},
		"a room that is none":           {other, request(t, func(r *mimi.KeyMaterialRequest) { r.Room = "club" }), mimi.ErrBadRequest},
	} {
		resp, err := k.KeyMaterial(t.Context(), test.from, ann, test.r)
		if !errors.Is(err, test.want) || test.want == nil && resp.Code != mimi.UserSuccess {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
	}
	forged := request(t, nil)
	forged.Target = "mimi://a.example/u/ann2"
	if _, err := k.KeyMaterial(t.Context(), other, ann, forged); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("signed for somebody else: %v", err)
	}
	for _, code := range []mimi.UserCode{mimi.UserNoConsent, mimi.UserNoConsentForThisOne} {
		c.code = code
		if resp, err := k.KeyMaterial(t.Context(), other, ann, request(t, nil)); err != nil || resp.Code != code || len(resp.Clients) != 0 || resp.User != ann.String() {
			t.Errorf("%d: %+v, %v", code, resp, err)
		}
	}
	c.code = mimi.UserSuccess
	if resp, err := k.KeyMaterial(t.Context(), other, must(uri.ParseUser("mimi://c.example/u/x")), request(t, nil)); err != nil || resp.Code != mimi.UserUnknown {
		t.Errorf("somebody of another provider: %+v, %v", resp, err)
	}
	c.err = errors.New("no answer")
	if _, err := k.KeyMaterial(t.Context(), other, ann, request(t, nil)); !errors.Is(err, c.err) {
		t.Errorf("%v", err)
	}
	c.err = nil
	// What is asked for is what is given, or it is said what could be.
	if resp, err := k.KeyMaterial(t.Context(), other, ann, request(t, func(r *mimi.KeyMaterialRequest) {
		r.Required = mls.RequiredCapabilities{Extensions: []mls.ExtensionType{mls.ExtRequiredCapabilities, mls.ExtAppDataDictionary},
			Proposals: []mls.ProposalType{mls.ProposalAdd, mls.ProposalSelfRemove}, Credentials: []mls.CredentialType{mls.CredentialX509}}
	})); err != nil || resp.Code != mimi.UserSuccess {
		t.Errorf("what we have: %+v, %v", resp, err)
	}
	for name, want := range map[string]mls.RequiredCapabilities{
		"extension": {Extensions: []mls.ExtensionType{0x7777}}, "proposal": {Proposals: []mls.ProposalType{0x7777}}, "credential": {Credentials: []mls.CredentialType{0x7777}},
	} {
		resp, err := k.KeyMaterial(t.Context(), other, ann, request(t, func(r *mimi.KeyMaterialRequest) { r.Required = want }))
		if err != nil || resp.Code != mimi.UserNoCompatible || len(resp.Clients) != 1 || resp.Clients[0].Code != mimi.ClientNothingCompatible || resp.Clients[0].Capabilities == nil {
			t.Errorf("%s: %+v, %v", name, resp, err)
		}
		if err := mimi.Decode(mimi.Encode(resp), new(mimi.KeyMaterialResponse)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := request(t, nil)
	unknown.Suites = append([]mls.CipherSuite{0x7777}, unknown.Suites...)
	if _, err := k.KeyMaterial(t.Context(), other, ann, unknown); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("suites that were not signed: %v", err)
	}
	// A suite that we do not know is passed over, and the next one taken.
	key := must(mls.DefaultSuites().NewSignatureKey(mls.X25519AES128, rand.Reader))
	suites := mls.DefaultSuites()
	r := request(t, nil)
	r.SignatureKey, r.Suites = key.PublicBytes(), []mls.CipherSuite{mls.X25519ChaCha, mls.X25519AES128}
	if err := r.Sign(suites, key); err != nil {
		t.Fatal(err)
	}
	k.MLS = &mls.Config{Suites: mls.Suites{mls.X25519AES128: suites[mls.X25519AES128]}}
	resp, err := k.KeyMaterial(t.Context(), other, ann, r)
	if err != nil || resp.Code != mimi.UserSuccess || resp.Clients[0].KeyPackage.CipherSuite != mls.X25519AES128 {
		t.Errorf("the second suite: %+v, %v", resp, err)
	}
	// Nobody is believed whom the authentication service does not believe, and what vouches for our own goes with their leaf.
	k.MLS = &mls.Config{Suites: suites, VerifyCredential: func(*mls.Credential, []byte) error { return errors.New("not believed") }}
	if _, err := k.KeyMaterial(t.Context(), other, ann, request(t, nil)); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("not believed: %v", err)
	}
	k.MLS, k.Credentials = &mls.Config{Suites: suites}, vouched{}
	resp, err = k.KeyMaterial(t.Context(), other, ann, request(t, nil))
	if err != nil || resp.Code != mimi.UserSuccess || !bytes.Equal(resp.Clients[0].KeyPackage.LeafNode.Credential.Identity, []byte("vouched for mimi://a.example/u/ann")) {
		t.Errorf("%+v, %v", resp, err)
	}
	dict, err := resp.Clients[0].KeyPackage.LeafNode.Dictionary()
	if data, ok := dict.Get(0x8b01); err != nil || !ok || string(data) != "a bridge" {
		t.Errorf("what the leaf discloses: %q, %v", data, err)
	}
	k.Consent = nil
	if resp, err := k.KeyMaterial(t.Context(), other, ann, request(t, nil)); err != nil || resp.Code != mimi.UserNoConsent {
		t.Errorf("nobody consents: %+v, %v", resp, err)
	}
}

// vouched vouches for everybody.
type vouched struct{}

func (vouched) Credential(_ context.Context, user uri.User, _ uri.Client, _ []byte) (mls.Credential, []byte, error) {
	return mls.BasicCredential([]byte("vouched for " + user.String())), []byte("a bridge"), nil
}

func (vouched) Fresh(*mls.Credential) error { return nil }
