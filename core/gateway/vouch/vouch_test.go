package vouch_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/gateway/vouch"
	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/provider/trust"
	"mimigate/core/store"
	"mimigate/core/uri"
)

func provider(t *testing.T, domain string) uri.Provider {
	t.Helper()
	p, err := uri.NewProvider(domain)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is two gateways that are each other's peers, as far as vouching goes.
type world struct {
	persons *identity.Persons
	here    *vouch.Voucher
	there   *vouch.Voucher
	basic   bool
	known   bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{known: true}
	a, b := provider(t, "a.example"), provider(t, "b.example")
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Location: dir + "/s", Domain: "a.example", KeyFile: dir + "/k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w.persons = identity.New(identity.Options{Provider: a, Store: s})
	one, err1 := trust.NewAuthority("a.example", time.Now())
	two, err2 := trust.NewAuthority("b.example", time.Now())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(one.Certificate())
	w.here = vouch.New(vouch.Options{Provider: a, Persons: w.persons, Now: time.Now, Authority: func() *trust.Authority { return one },
		Peer: func(uri.Provider) (*x509.CertPool, bool) { return nil, true }})
	w.there = vouch.New(vouch.Options{Provider: b, Now: time.Now, Authority: func() *trust.Authority { return two },
		Peer: func(uri.Provider) (*x509.CertPool, bool) {
			if !w.known {
				return nil, w.basic
			}
			return pool, w.basic
		}})
	return w
}

// C42: a peer sees who it is, of which network, and believes it by our authority; a Basic credential it believes where it was told to.
func TestVoucher(t *testing.T) {
	w := newWorld(t)
	person, _, err := w.persons.Resolve(t.Context(), "xmpp", "acc", adapter.Person{IDs: []adapter.PersonID{"inge@example.org"}, Name: "Oma Inge", Verified: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := provider(t, "a.example").Client(person.User.Segments()[0], "mimigate")
	if err != nil {
		t.Fatal(err)
	}
	key, err := mls.DefaultSuites().NewSignatureKey(mls.X25519AES128, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, disclosed, err := w.here.Credential(t.Context(), person.User, client, key.PublicBytes())
	if err != nil || len(disclosed) == 0 {
		t.Fatal(err)
	}
	var here, there mls.Config
	w.here.Engine(&here)
	w.there.Engine(&there)
	if err := errors.Join(here.VerifyCredential(&c, key.PublicBytes()), there.VerifyCredential(&c, key.PublicBytes()), w.there.Fresh(&c)); err != nil {
		t.Error(err)
	}
	if user, named, err := mimi.Identify(&c); err != nil || user != person.User || named != client {
		t.Errorf("%v, %v, %v", user, named, err)
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil || cert.Subject.CommonName != "Oma Inge" || cert.Subject.OrganizationalUnit[0] != "bridged: xmpp" {
		t.Errorf("%v, %v", cert.Subject, err)
	}
	other, err := mls.DefaultSuites().NewSignatureKey(mls.X25519AES128, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.VerifyCredential(&c, other.PublicBytes()); !errors.Is(err, mimi.ErrIdentity) {
		t.Errorf("with another's key: %v", err)
	}
	forged, _, err := w.there.Credential(t.Context(), mustUser(t, "mimi://b.example/u/gateway"), mustClient(t, "mimi://a.example/d/gateway/mimigate"), key.PublicBytes())
	if err == nil && there.VerifyCredential(&forged, key.PublicBytes()) == nil {
		t.Error("a client of another's provider")
	}
	basic := mls.BasicCredential([]byte(client.String()))
	for _, allowed := range []bool{false, true} {
		w.basic = allowed
		if err := there.VerifyCredential(&basic, key.PublicBytes()); (err == nil) != allowed {
			t.Errorf("Basic, allowed %v: %v", allowed, err)
		}
	}
	if err := here.VerifyCredential(&basic, key.PublicBytes()); !errors.Is(err, mimi.ErrIdentity) {
		t.Errorf("Basic for one of our own: %v", err)
	}
	w.known = false // a third provider, whose hub's word we take
	if err := there.VerifyCredential(&c, key.PublicBytes()); err != nil {
		t.Errorf("of a provider that we do not know: %v", err)
	}
	if err := here.VerifySuccessor(&basic, &c); err != nil {
		t.Errorf("a certificate for who had none: %v", err)
	}
}

func mustUser(t *testing.T, text string) uri.User {
	t.Helper()
	u, err := uri.ParseUser(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustClient(t *testing.T, text string) uri.Client {
	t.Helper()
	c, err := uri.ParseClient(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEvidence(t *testing.T) {
	m := content.Text("hello")
	m.Salt, m.SenderURI, m.RoomURI = content.Salt{1, 2, 3}, "mimi://a.example/u/a", "mimi://a.example/r/r"
	bare, err := content.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := content.Framed{Type: content.TypeMessage, Content: bare}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{bare, framed} {
		got, err := vouch.Evidence(data)
		if err != nil || got.Sender != m.SenderURI || got.Room != m.RoomURI || [16]byte(got.Salt) != m.Salt || got.MediaType != content.TypeMessage {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, data := range [][]byte{nil, {0x87}, framed[:9], []byte("hello")} {
		if _, err := vouch.Evidence(data); err == nil {
			t.Errorf("%x: no error", data)
		}
	}
}
