package xmpp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

func TestConfig(t *testing.T) {
	component := func() *Config {
		c := newConfig().(*Config)
		c.Address, c.JID, c.Password = "127.0.0.1:5347", "bridge.example.org", "secret"
		return c
	}
	client := func() *Config {
		c := newConfig().(*Config)
		c.Mode, c.JID, c.Password = modeClient, "bot@example.org", "secret"
		return c
	}
	for what, c := range map[string]*Config{"component": component(), "client": client()} {
		if _, err := c.check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, c := range []struct {
		what, key string
		from      func() *Config
		change    func(*Config)
	}{
		{"unknown mode", "mode", component, func(c *Config) { c.Mode = "bot" }},
		{"no JID", "jid", component, func(c *Config) { c.JID = "" }},
		{"person as component", "jid", component, func(c *Config) { c.JID = "a@b.example" }},
		{"domain as client", "jid", client, func(c *Config) { c.JID = "b.example" }},
		{"resource", "jid", client, func(c *Config) { c.JID = "a@b.example/x" }},
		{"no password", "password", component, func(c *Config) { c.Password = "" }},
		{"negative", "occupants", component, func(c *Config) { c.Occupants = -1 }},
		{"no idle time", "occupants", component, func(c *Config) { c.OccupantIdle = 0 }},
		{"no nick", "nick", component, func(c *Config) { c.Nick = "\u200b" }},
		{"no address", "address", component, func(c *Config) { c.Address = "" }},
		{"no port", "address", component, func(c *Config) { c.Address = "127.0.0.1" }},
		{"unencrypted to elsewhere", "address", component, func(c *Config) { c.Address = "xmpp.example.org:5347" }},
		{"plain text to elsewhere", "plaintext", client, func(c *Config) { c.Address, c.Plaintext = "xmpp.example.org:5222", true }},
		{"plain text to anywhere", "plaintext", client, func(c *Config) { c.Plaintext = true }},
		{"no such CA", "ca", client, func(c *Config) { c.CA = "/nonexistent" }},
	} {
		cfg := c.from()
		c.change(cfg)
		_, err := newAdapter(adapter.Account{ID: "x", Config: cfg})
		if e := (*adapter.KeyError)(nil); !errors.As(err, &e) || e.Key != c.key {
			t.Errorf("%s: %v, want an error about %q", c.what, err, c.key)
		} else if strings.Contains(err.Error(), "secret") && c.key != "password" {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	far := component()
	far.Address, far.Plaintext = "prosody:5347", true
	if _, err := far.check(); err != nil {
		t.Errorf("said aloud: %v", err)
	}
}

func TestSetup(t *testing.T) {
	cfg := newConfig().(*Config)
	cfg.Address, cfg.JID, cfg.Password = "127.0.0.1:5347", "bridge.example.org", adapter.Secret(`s"e\cret`)
	out, err := setup(adapter.Account{ID: "home", Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Files) != 1 || !out.Files[0].Secret || !bytes.Contains(out.Files[0].Content, []byte(`component_secret = "s\"e\\cret"`)) ||
		!bytes.Contains(out.Files[0].Content, []byte(`Component "bridge.example.org"`)) {
		t.Errorf("%+v", out.Files)
	}
	if all := strings.Join(out.Say, "\n"); strings.Contains(all, "cret`") || strings.Contains(all, `s\"e`) || !strings.Contains(all, "Prosody") || !strings.Contains(all, "ejabberd") {
		t.Errorf("%s", all)
	}
	cfg.Mode, cfg.JID, cfg.Address = modeClient, "bot@example.org", ""
	if out, err := setup(adapter.Account{ID: "home", Config: cfg}); err != nil || len(out.Files) != 0 || len(out.Say) == 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestLimits(t *testing.T) {
	for mode, want := range map[string]content.Support{modeComponent: content.Native, modeClient: content.Line} {
		cfg := newConfig().(*Config)
		cfg.Mode, cfg.Address, cfg.JID, cfg.Password = mode, "127.0.0.1:5347", "example.org", "x"
		if mode == modeClient {
			cfg.JID = "bot@example.org"
		}
		a := create(t, cfg, nil)
		if l := a.Limits("room@muc.example.org"); l.Of(content.KindReaction) != want || l.Of(content.KindEdit) != content.Native || l.TextBytes == 0 {
			t.Errorf("%s: %+v", mode, l)
		}
	}
}
