package xmpp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/adapter/adaptertest"
	"mimigate/core/adapter/adaptertest/servers"
)

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// secureServer is a Prosody that demands TLS; it returns its address and the file of its certificate.
func secureServer(t *testing.T) (addr, cert string) {
	t.Helper()
	path, err := exec.LookPath("prosody")
	if err != nil || testing.Short() {
		t.Skip("needs prosody, and no -short")
	}
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "xmpp.test"}, DNSNames: []string{"xmpp.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert = filepath.Join(dir, "cert.pem")
	port := servers.Port(t)
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	config := filepath.Join(dir, "prosody.cfg.lua")
	for file, text := range map[string]string{
		cert:                          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		filepath.Join(dir, "key.pem"): string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		config: strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port)).Replace(`
pidfile = "DIR/prosody.pid"
data_path = "DIR/data"
run_as_root = true
interfaces = { "127.0.0.1" }
c2s_ports = { PORT }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping" }
modules_disabled = { "s2s" }
c2s_require_encryption = true
authentication = "internal_hashed"
ssl = { certificate = "DIR/cert.pem", key = "DIR/key.pem" }
log = { { levels = { min = "info" }, to = "console" } }
VirtualHost "xmpp.test"
Component "muc.xmpp.test" "muc"
  restrict_room_creation = false
`)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("prosodyctl", "--config", config, "register", "bot", "xmpp.test", "pass word").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	servers.Start(t, servers.Command{Name: "prosody", Path: path, Dir: dir, Args: []string{"--config", config, "-F"}, Ready: servers.Dial(addr)})
	return addr, cert
}

// TestTLS: a client logs in on a server whose certificate it trusts, and shows its password to no other.
func TestTLS(t *testing.T) {
	addr, cert := secureServer(t)
	config := func(ca string) *Config {
		cfg := newConfig().(*Config)
		cfg.Mode, cfg.Address, cfg.JID, cfg.Password, cfg.CA = modeClient, addr, "bot@xmpp.test", "pass word", ca
		return cfg
	}
	x := run(t, create(t, config(cert), &adaptertest.State{}))
	x.hears("the connection", status(adapter.Connected))
	if _, err := x.Open(x.ctx(), "nowhere@muc.xmpp.test"); !errors.Is(err, adapter.ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
	if c, err := x.Open(x.ctx(), "somebody@xmpp.test"); err != nil || c != "bot@xmpp.test somebody@xmpp.test" {
		t.Errorf("Open of a person: %q, %v", c, err)
	}
	for what, cfg := range map[string]*Config{"certificate": config(""), "TLS": config(cert)} {
		cfg.Plaintext = what == "TLS"
		ctx, cancel := contextFor(patience)
		err := create(t, cfg, &adaptertest.State{}).Run(ctx, &adaptertest.Recorder{})
		cancel()
		var network net.Error
		if err == nil || errors.As(err, &network) && network.Timeout() || strings.Contains(err.Error(), "pass word") {
			t.Errorf("%s: %v", what, err)
		}
		if what == "certificate" && !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
}
