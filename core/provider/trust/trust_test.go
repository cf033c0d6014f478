package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, domain string) *Authority {
	t.Helper()
	a, err := NewAuthority(domain, noon)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shown is the chain that a provider shows.
func shown(t *testing.T, a *Authority, at time.Time) []*x509.Certificate {
	t.Helper()
	c, err := a.Issue(at)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range c.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, x)
	}
	return chain
}

func pool(c ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range c {
		p.AddCert(c)
	}
	return p
}

func TestVerify(t *testing.T) {
	a, b := authority(t, "a.example"), authority(t, "b.example")
	both := pool(a.Certificate(), b.Certificate())
	for _, c := range []struct {
		name   string
		chain  []*x509.Certificate
		domain string
		roots  *x509.CertPool
		at     time.Time
		want   error
	}{
		{"its own", shown(t, a, noon), "a.example", pool(a.Certificate()), noon, nil},
		{"of a stored authority", shown(t, stored(t, a), noon), "a.example", pool(a.Certificate()), noon, nil},
		{"none", nil, "a.example", both, noon, ErrNoCertificate},
		{"another domain", shown(t, b, noon), "a.example", both, noon, ErrName},
		{"another authority", shown(t, a, noon), "a.example", pool(b.Certificate()), noon, ErrUntrusted},
		{"the operating system's", shown(t, a, noon), "a.example", nil, noon, ErrUntrusted},
		{"too late", shown(t, a, noon), "a.example", both, noon.Add(100 * 24 * time.Hour), ErrUntrusted},
		{"too early", shown(t, a, noon), "a.example", both, noon.Add(-48 * time.Hour), ErrUntrusted},
		{"outside of the authority's domain", []*x509.Certificate{foreign(t, b, "a.example"), b.Certificate()}, "a.example", both, noon, ErrUntrusted},
	} {
		if err := Verify(c.chain, c.domain, c.roots, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func stored(t *testing.T, a *Authority) *Authority {
	t.Helper()
	text, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseAuthority("a.example", text)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// foreign is a certificate that an authority makes for a domain which is not its own.
func foreign(t *testing.T, a *Authority, domain string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Sign(&x509.Certificate{SerialNumber: serial(), DNSNames: []string{domain}, NotBefore: noon, NotAfter: noon.Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUsers: the authority vouches for MIMI addresses of its domain, and for no others.
func TestUsers(t *testing.T) {
	a := authority(t, "a.example")
	for host, want := range map[string]bool{"a.example": true, "b.example": false} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := a.Sign(&x509.Certificate{SerialNumber: serial(), NotBefore: noon, NotAfter: noon.Add(time.Hour),
			URIs: []*url.URL{{Scheme: "mimi", Host: host, Path: "/u/ann"}}}, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Verify(x509.VerifyOptions{Roots: pool(a.Certificate()), CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestParseAuthority(t *testing.T) {
	text, err := authority(t, "a.example").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, key := pem.Decode(text)
	broken := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: []byte("no key")})
	for name, text := range map[string][]byte{"empty": nil, "no key": text[:len(text)-len(key)], "no certificate": key, "broken": append(broken, text...)} {
		if _, err := ParseAuthority("a.example", text); !errors.Is(err, ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPool(t *testing.T) {
	if p, err := Pool(""); p != nil || err != nil {
		t.Errorf("empty: %v %v", p, err)
	}
	if _, err := Pool("text"); err == nil {
		t.Error("a text without a certificate is taken")
	}
	a := authority(t, "a.example")
	p, err := Pool(string(PEM(a.Certificate())))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(shown(t, a, noon), "a.example", p, noon); err != nil {
		t.Error(err)
	}
}

// TestIssued: our certificate is renewed before it ends, and not earlier.
func TestIssued(t *testing.T) {
	now := noon
	c := Issued(authority(t, "a.example"), func() time.Time { return now }, slog.New(slog.DiscardHandler))
	first, err := c.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	now = noon.Add(certificateLife / 2)
	if again, err := c.Certificate(); err != nil || again != first {
		t.Errorf("renewed too early: %v", err)
	}
	now = noon.Add(certificateLife - renewBefore + time.Hour)
	second, err := c.Certificate()
	if err != nil || second == first || second.Leaf.NotAfter.Sub(now) < certificateLife-time.Second {
		t.Errorf("not renewed: %v", err)
	}
}

// TestFiles: a certificate that is written anew is taken, a broken one is not.
func TestFiles(t *testing.T) {
	dir, now := t.TempDir(), noon
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	a := authority(t, "a.example")
	c := Files(chain, key, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if _, err := c.Certificate(); err == nil {
		t.Fatal("files that are not there are taken")
	}
	write := func(at time.Time) {
		pair, err := a.Issue(at)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{chain: {Type: pemCertificate, Bytes: pair.Certificate[0]}, key: {Type: pemKey, Bytes: der}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	serialNow := func() string {
		t.Helper()
		got, err := c.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.String()
	}
	write(noon)
	first := serialNow()
	now = now.Add(time.Hour)
	write(now)
	second := serialNow()
	if first == second {
		t.Error("the new certificate is not shown")
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if serialNow() != second {
		t.Error("broken files replace the certificate")
	}
}
