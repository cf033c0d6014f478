package credential_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/core/identity/credential"
	"mimigate/core/provider/trust"
	"mimigate/core/uri"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at() time.Time { return now }

func authority(t testing.TB, domain string) *trust.Authority {
	t.Helper()
	a, err := trust.NewAuthority(domain, now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func holder(t testing.TB, domain string) credential.Holder {
	t.Helper()
	p, err := uri.NewProvider(domain)
	if err != nil {
		t.Fatal(err)
	}
	user, err1 := p.User("abc")
	client, err2 := p.Client("abc", "mimigate")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return credential.Holder{User: user, Client: client, Name: strings.Repeat("Änne ", 20), Network: "xmpp"}
}

func public(t testing.TB) []byte {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// roots knows the authorities of some domains.
func roots(all map[string]*trust.Authority) credential.Roots {
	pools := map[*trust.Authority]*x509.CertPool{}
	return func(domain string) *x509.CertPool {
		a := all[domain]
		if a != nil && pools[a] == nil {
			pools[a] = x509.NewCertPool()
			pools[a].AddCert(a.Certificate())
		}
		return pools[a]
	}
}

// C42: who holds the certificate, that it is a bridge, and which provider vouches for both.
func TestIssue(t *testing.T) {
	ca := authority(t, "a.example")
	issuer := &credential.Issuer{Authority: ca, Now: at}
	v := &credential.Verifier{Roots: roots(map[string]*trust.Authority{"a.example": ca}), Now: at}
	keys := map[string][]byte{"Ed25519": public(t)}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if keys[name], err = key.PublicKey.Bytes(); err != nil {
			t.Fatal(err)
		}
	}
	h := holder(t, "a.example")
	for name, key := range keys {
		der, err := issuer.Issue(h, key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := errors.Join(v.Verify([][]byte{der}, key), v.Fresh(der), v.Verify([][]byte{der}, key)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.URIs) != 2 || c.URIs[0].String() != h.Client.String() || c.URIs[1].String() != h.User.String() || c.IsCA ||
			c.Subject.Organization[0] != "a.example" || c.Subject.OrganizationalUnit[0] != "bridged: xmpp" || len([]rune(c.Subject.CommonName)) != 64 ||
			!slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || c.KeyUsage != x509.KeyUsageDigitalSignature ||
			len(c.Policies) != 1 || c.Policies[0].String() != credential.BridgePolicy || c.NotAfter.Sub(now) != credential.Life {
			t.Errorf("%s: %+v", name, c)
		}
		if name == "Ed25519" && len(der) > 720 {
			t.Errorf("%d octets: each leaf of each room carries it", len(der))
		}
	}
	der, err := issuer.Issue(h, keys["Ed25519"])
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"another's": public(t), "of another kind": keys["P-256"], "none": nil} {
		if err := v.Verify([][]byte{der}, key); !errors.Is(err, credential.ErrForm) {
			t.Errorf("with the key %s: %v", name, err)
		}
	}
	if got := hex.EncodeToString(h.Disclosure(h.User)); got != "a301"+"64786d7070"+"02"+"76"+hex.EncodeToString([]byte("mimi://a.example/u/abc"))+"03f5" {
		t.Errorf("disclosed: %s", got)
	}
	if _, err := issuer.Issue(h, []byte{1, 2, 3}); !errors.Is(err, credential.ErrKey) {
		t.Errorf("no key: %v", err)
	}
	if _, err := issuer.Issue(h, append([]byte{4}, make([]byte, 64)...)); !errors.Is(err, credential.ErrKey) {
		t.Errorf("not on the curve: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	ca, other := authority(t, "a.example"), authority(t, "b.example")
	all := map[string]*trust.Authority{"a.example": ca, "b.example": other}
	v := &credential.Verifier{Roots: roots(all), Now: at}
	key := public(t)
	issue := func(a *trust.Authority, domain string) []byte {
		der, err := (&credential.Issuer{Authority: a, Now: at}).Issue(holder(t, domain), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	sign := func(change func(*x509.Certificate)) []byte {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			URIs: []*url.URL{{Scheme: "mimi", Host: "a.example", Path: "/u/x"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			BasicConstraintsValid: true}
		change(c)
		der, err := ca.Sign(c, ed25519.PublicKey(key))
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	mimi := func(host, path string) *url.URL { return &url.URL{Scheme: "mimi", Host: host, Path: path} }
	if err := v.Verify([][]byte{sign(func(*x509.Certificate) {})}, key); err != nil {
		t.Errorf("a user alone: %v", err)
	}
	for name, test := range map[string]struct {
		chain [][]byte
		want  error
	}{
		"nothing":                       {nil, credential.ErrForm},
		"garbage":                       {[][]byte{{1}}, credential.ErrForm},
		"garbage behind it":             {[][]byte{issue(ca, "a.example"), {1}}, credential.ErrForm},
		"by another provider's":         {[][]byte{issue(other, "a.example")}, credential.ErrUntrusted},
		"for another provider's user":   {[][]byte{issue(ca, "b.example")}, credential.ErrUntrusted},
		"of a provider that is unknown": {[][]byte{issue(authority(t, "c.example"), "c.example")}, nil}, // on the hub's word
		"an authority":                  {[][]byte{ca.Certificate().Raw}, credential.ErrForm},
		"for servers":                   {[][]byte{sign(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, credential.ErrUntrusted},
		"no user":                       {[][]byte{sign(func(c *x509.Certificate) { c.URIs = []*url.URL{mimi("a.example", "/d/x/1")} })}, credential.ErrForm},
		"two users":                     {[][]byte{sign(func(c *x509.Certificate) { c.URIs = append(c.URIs, mimi("a.example", "/u/y")) })}, credential.ErrForm},
		"two clients": {[][]byte{sign(func(c *x509.Certificate) {
			c.URIs = append(c.URIs, mimi("a.example", "/d/x/1"), mimi("a.example", "/d/x/2"))
		})}, credential.ErrForm},
		"a client of another's provider": {[][]byte{sign(func(c *x509.Certificate) { c.URIs = append(c.URIs, mimi("b.example", "/d/x/1")) })}, credential.ErrForm},
	} {
		if err := v.Verify(test.chain, key); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What has run out stands for the leaf that holds it, and brings nobody in; what was good is so no more by another authority.
	der := issue(ca, "a.example")
	late := &credential.Verifier{Roots: roots(all), Now: func() time.Time { return now.Add(credential.Life + time.Hour) }}
	if err := late.Verify([][]byte{der}, key); err != nil || late.Fresh(der) == nil {
		t.Errorf("out of date: %v", err)
	}
	all["a.example"] = other
	if err := late.Verify([][]byte{der}, key); !errors.Is(err, credential.ErrUntrusted) {
		t.Errorf("of an authority of before: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	ca := authority(f, "a.example")
	key := public(f)
	der, err := (&credential.Issuer{Authority: ca, Now: at}).Issue(holder(f, "a.example"), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der, []byte(nil))
	f.Add(der, ca.Certificate().Raw)
	all := roots(map[string]*trust.Authority{"a.example": ca})
	f.Fuzz(func(t *testing.T, leaf, next []byte) {
		v := &credential.Verifier{Roots: all, Now: at}
		err := v.Verify([][]byte{leaf, next}, key)
		if err == nil && v.Verify([][]byte{leaf, next}, key) != nil {
			t.Error("good once, and not again")
		}
		if err != nil && !errors.Is(err, credential.ErrForm) && !errors.Is(err, credential.ErrUntrusted) {
			t.Errorf("another error: %v", err)
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	issuer := &credential.Issuer{Authority: authority(b, "a.example"), Now: at}
	h, key := holder(b, "a.example"), public(b)
	for b.Loop() {
		if _, err := issuer.Issue(h, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	ca := authority(b, "a.example")
	key := public(b)
	der, err := (&credential.Issuer{Authority: ca, Now: at}).Issue(holder(b, "a.example"), key)
	if err != nil {
		b.Fatal(err)
	}
	all := roots(map[string]*trust.Authority{"a.example": ca})
	for b.Loop() {
		v := &credential.Verifier{Roots: all, Now: at}
		if err := v.Verify([][]byte{der}, key); err != nil {
			b.Fatal(err)
		}
	}
}
