package interop

import (
	"bytes"
	"context"
	"crypto/hpke"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random schedules; 0 for a new one")
	epochsFlag = flag.Int("epochs", 40, "length of the random schedules, in epochs")
	fullFlag   = flag.Bool("full", false, "play every scenario in every suite, the dear ones too")
)

// startTSMLS starts ts-mls for the time of a test.
func startTSMLS(t *testing.T) *TSMLS {
	t.Helper()
	if testing.Short() {
		t.Skip("ts-mls is not started with -short")
	}
	modules, err := FindTSMLS()
	if required := os.Getenv("MIMIGATE_TEST_REQUIRE"); errors.Is(err, os.ErrNotExist) && required != "all" && !slices.Contains(strings.Fields(required), "ts-mls") {
		t.Skipf("ts-mls is not installed (make test installs it): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := StartTSMLS(ctx, modules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// options are those of a test whose brief suites are the given ones.
func options(brief ...Suite) Options {
	o := Options{Epochs: *epochsFlag, Seed: *seedFlag}
	if !*fullFlag {
		o.Brief = brief
	}
	return o
}

// TestPeers proves the harness: the two foreign implementations against each other.
func TestPeers(t *testing.T) {
	Run(t, options(P256AES128, X25519ChaCha20, P521AES256), MLSGo{}, startTSMLS(t))
}

// TestXWing plays the post-quantum suites, which only ts-mls has among the peers, with itself.
func TestXWing(t *testing.T) {
	ts := startTSMLS(t)
	o := options(XWingAES128, XWingAES256)
	o.Suites = []Suite{XWingAES128, XWingAES256}
	Run(t, o, ts, ts)
}

// TestXWingShim compares the X-Wing of tsmls/suites.mjs with crypto/hpke: derivation of key pairs, and a message sealed there opened here.
func TestXWingShim(t *testing.T) {
	ts := startTSMLS(t)
	for _, c := range []struct {
		suite  Suite
		kdf    hpke.KDF
		aead   hpke.AEAD
		length int
	}{{XWingAES128, hpke.HKDFSHA256(), hpke.AES128GCM(), 32}, {XWingAES256, hpke.HKDFSHA384(), hpke.AES256GCM(), 48}} {
		kem := hpke.MLKEM768X25519()
		ikm := bytes.Repeat([]byte{7}, c.length)
		key, err := kem.DeriveKeyPair(ikm)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Private, Public, Enc, Ciphertext []byte }
		err = ts.ask(t.Context(), "hpke", 0, struct {
			Suite     uint16 `json:"suite"`
			Name      string `json:"name"`
			IKM       []byte `json:"ikm"`
			To        []byte `json:"to"`
			Plaintext []byte `json:"plaintext"`
			Info      []byte `json:"info"`
		}{c.suite.Code, c.suite.Name, ikm, key.PublicKey().Bytes(), []byte("hello"), []byte("info")}, &got)
		if err != nil {
			t.Fatal(err)
		}
		private, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Private, private) || !bytes.Equal(got.Public, key.PublicKey().Bytes()) {
			t.Errorf("%s: derived key pairs differ", c.suite.Name)
		}
		to, err := hpke.NewRecipient(got.Enc, key, c.kdf, c.aead, []byte("info"))
		if err != nil {
			t.Fatal(err)
		}
		if plaintext, err := to.Open(nil, got.Ciphertext); err != nil || string(plaintext) != "hello" {
			t.Errorf("%s: opened %q, %v", c.suite.Name, plaintext, err)
		}
	}
}

// TestTSMLSErrors checks that refusals come back as errors, to the request they belong to, and that the process survives them and its
// end does not hang anybody.
func TestTSMLSErrors(t *testing.T) {
	ts := startTSMLS(t)
	c, err := ts.NewClient(t.Context(), X25519AES128, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Join(t.Context(), []byte{0, 1, 0, 3, 9}, nil); err == nil {
		t.Error("joined by a broken Welcome")
	}
	if _, err := ts.NewClient(t.Context(), Suite{Code: 99, Name: "no such suite"}, "anna"); err == nil {
		t.Error("made a client of an unknown suite")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.KeyPackage(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("request with an ended context: %v", err)
	}
	if _, err := c.KeyPackage(t.Context()); err != nil {
		t.Errorf("after errors: %v", err)
	}
	if err := ts.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.KeyPackage(t.Context()); err == nil {
		t.Error("a closed peer answered")
	}
}

// TestDraftProposals plays what only ts-mls has among the peers with itself, so that it is known to work before ours meets it.
func TestDraftProposals(t *testing.T) {
	ts := startTSMLS(t)
	o := options()
	o.Suites = []Suite{X25519AES128}
	Run(t, o, ts, ts)
}
