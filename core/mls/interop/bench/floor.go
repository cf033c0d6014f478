package main

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"strings"
)

// floor does the cryptography that RFC 9420 prescribes for an operation, over the same number of bytes, and
// nothing else: no parsing, no trees, no checks.
type floor struct {
	kem    hpke.KEM
	sign   func(message []byte) []byte
	verify func(message, signature []byte) bool
}

// newFloor builds the primitives of suite 1 (X25519, Ed25519) or 2 (P-256); both have AES-128-GCM and SHA-256.
func newFloor(p256 bool) (*floor, error) {
	if !p256 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		return &floor{
			kem:    hpke.DHKEM(ecdh.X25519()),
			sign:   func(m []byte) []byte { return ed25519.Sign(private, m) },
			verify: func(m, s []byte) bool { return ed25519.Verify(public, m, s) },
		}, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return &floor{
		kem: hpke.DHKEM(ecdh.P256()),
		sign: func(m []byte) []byte {
			digest := sha256.Sum256(m)
			s, err := private.Sign(nil, digest[:], crypto.SHA256)
			must(err)
			return s
		},
		verify: func(m, s []byte) bool {
			digest := sha256.Sum256(m)
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public) // a leaf holds bytes
			must(err)
			return ecdsa.VerifyASN1(key, digest[:], s)
		},
	}, nil
}

func must(err error) {
	if err != nil {
		panic(err) // the floor works on its own keys: nothing can fail
	}
}

func expand(secret []byte, label string, n int) []byte {
	b, err := hkdf.Expand(sha256.New, secret, "\x00\x20\x10MLS 1.0 "+label+"\x00", n)
	must(err)
	return b
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	must(err)
	a, err := cipher.NewGCM(block)
	must(err)
	return a
}

// send is the floor of protecting a message: one signature, five expansions, two AEAD seals.
func (f *floor) send(tbs, content int) func() {
	secret, message, plain := make([]byte, 32), make([]byte, tbs), make([]byte, content)
	return func() {
		f.sign(message)
		key, nonce := expand(secret, "key", 16), expand(secret, "nonce", 12)
		expand(secret, "secret", 32)
		gcm(key).Seal(nil, nonce, plain, message[:40])
		key, nonce = expand(secret, "key", 16), expand(secret, "nonce", 12)
		gcm(key).Seal(nil, nonce, plain[:12], message[:40])
	}
}

// receive is the floor of opening one: five expansions, two AEAD opens, one verification.
func (f *floor) receive(tbs, content int) func() {
	secret, message := make([]byte, 32), make([]byte, tbs)
	signature := f.sign(message)
	sealed := gcm(expand(secret, "key", 16)).Seal(nil, expand(secret, "nonce", 12), make([]byte, content), nil)
	sender := gcm(expand(secret, "key", 16)).Seal(nil, expand(secret, "nonce", 12), make([]byte, 12), nil)
	return func() {
		for _, ct := range [][]byte{sender, sealed} {
			if _, err := gcm(expand(secret, "key", 16)).Open(nil, expand(secret, "nonce", 12), ct, nil); err != nil {
				panic(err)
			}
		}
		expand(secret, "secret", 32)
		if !f.verify(message, signature) {
			panic("verify")
		}
	}
}

// tree hashes what a path of the given length changes: a tree hash and a parent hash for each node, and the leaf.
func treeHashes(levels, leaf int) {
	sha256.Sum256(make([]byte, leaf+6))
	for range levels {
		sha256.Sum256(make([]byte, 138))
		sha256.Sum256(make([]byte, 100))
	}
}

// schedule is one turn of the key schedule with its tags and transcript hashes.
func schedule(context, commit int) {
	secret := make([]byte, 32)
	extract := func() []byte {
		b, err := hkdf.Extract(sha256.New, secret, secret)
		must(err)
		return b
	}
	ctx := strings.Repeat("c", context)
	expandWith := func(s []byte) []byte {
		b, err := hkdf.Expand(sha256.New, s, ctx, 32)
		must(err)
		return b
	}
	joiner := expandWith(extract())
	member := extract()
	epoch := expandWith(member)
	for _, label := range []string{"welcome", "sender data", "encryption", "exporter", "external", "confirm", "membership", "resumption", "authentication", "init", "application_export"} {
		expand(epoch, label, 32)
	}
	sha256.Sum256(make([]byte, commit))
	sha256.Sum256(make([]byte, 64))
	m := hmac.New(sha256.New, joiner)
	m.Write(secret)
	m.Sum(nil)
}

func membershipTag(tbm int) {
	m := hmac.New(sha256.New, make([]byte, 32))
	m.Write(make([]byte, tbm))
	m.Sum(nil)
}

// process is the floor of a commit processed for every local leaf: two verifications, one HPKE open, a key pair a level.
func (f *floor) process(levels, context, commit, leaf int) func() {
	private, err := f.kem.GenerateKey()
	must(err)
	secretBytes, err := private.Bytes()
	must(err)
	info := make([]byte, context+32)
	ct, err := hpke.Seal(private.PublicKey(), hpke.HKDFSHA256(), hpke.AES128GCM(), info, make([]byte, 32))
	must(err)
	tbs, leafTBS := make([]byte, commit+context), make([]byte, leaf)
	signature, leafSignature := f.sign(tbs), f.sign(leafTBS)
	return func() {
		membershipTag(commit + context + 64)
		if !f.verify(tbs, signature) || !f.verify(leafTBS, leafSignature) {
			panic("verify")
		}
		sk, err := f.kem.NewPrivateKey(secretBytes)
		must(err)
		secret, err := hpke.Open(sk, hpke.HKDFSHA256(), hpke.AES128GCM(), info, ct)
		must(err)
		f.path(levels, secret)
		treeHashes(levels, leaf)
		schedule(context, commit)
	}
}

// path derives a key pair and the next path secret for each level.
func (f *floor) path(levels int, secret []byte) {
	for range levels {
		k, err := f.kem.DeriveKeyPair(expand(secret, "node", 32))
		must(err)
		k.PublicKey().Bytes()
		secret = expand(secret, "path", 32)
	}
}

// commit is the floor of a commit with a path: seals as many HPKE ciphertexts as given, two signatures.
func (f *floor) commit(levels, seals, context, commit, leaf int) func() {
	private, err := f.kem.GenerateKey()
	must(err)
	public := private.PublicKey().Bytes()
	info := make([]byte, context+32)
	tbs, leafTBS := make([]byte, commit+context), make([]byte, leaf)
	return func() {
		_, err := f.kem.DeriveKeyPair(make([]byte, 32)) // the leaf's
		must(err)
		f.path(levels, make([]byte, 32))
		f.seals(seals, public, info, 32)
		f.sign(tbs)
		f.sign(leafTBS)
		treeHashes(levels, leaf)
		schedule(context, commit)
		membershipTag(commit + context + 64)
	}
}

func (f *floor) seals(n int, public, info []byte, size int) {
	plain := make([]byte, size)
	for range n {
		pk, err := f.kem.NewPublicKey(public)
		must(err)
		_, err = hpke.Seal(pk, hpke.HKDFSHA256(), hpke.AES128GCM(), info, plain)
		must(err)
	}
}

// addAll is the floor of adding n members in one commit: two verifications and a seal for each, the new tree's
// hashes, and the Welcome.
func (f *floor) addAll(n, context, commit, leaf, keyPackage, groupInfo int) func() {
	one := f.commit(depth(n+1), 0, context, commit, leaf) // path secrets are not sealed to leaves that the commit adds
	private, err := f.kem.GenerateKey()
	must(err)
	public := private.PublicKey().Bytes()
	leafTBS, packageTBS, info := make([]byte, leaf), make([]byte, keyPackage), make([]byte, groupInfo)
	leafSignature, packageSignature := f.sign(leafTBS), f.sign(packageTBS)
	welcome := make([]byte, groupInfo+32)
	return func() {
		for range n {
			if !f.verify(leafTBS, leafSignature) || !f.verify(packageTBS, packageSignature) {
				panic("verify")
			}
			sha256.Sum256(make([]byte, leaf+6)) // tree hashes of leaf and parent
			sha256.Sum256(make([]byte, 70))
			sha256.Sum256(make([]byte, keyPackage)) // KeyPackageRef
		}
		one()
		f.sign(info)
		f.seals(n, public, welcome, 70)
	}
}
