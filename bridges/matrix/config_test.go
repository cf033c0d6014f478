package matrix

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

func account(t *testing.T, c any) adapter.Account {
	t.Helper()
	gateway, err := uri.NewProvider("gateway.example")
	if err != nil {
		t.Fatal(err)
	}
	return adapter.Account{ID: "home", Provider: gateway, Config: c}
}

const goodRegistration = `{id: mimi, as_token: a, hs_token: h, sender_localpart: mimibot, namespaces: {users: [{regex: "@mimi_.*", exclusive: true}]}}`

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		key    string
	}{
		"good":                    {func(*Config) {}, ""},
		"no homeserver":           {func(c *Config) { c.Homeserver = "" }, "homeserver"},
		"no scheme":               {func(c *Config) { c.Homeserver = "matrix.example.org" }, "homeserver"},
		"a query":                 {func(c *Config) { c.Homeserver += "/?a=b" }, "homeserver"},
		"a password in it":        {func(c *Config) { c.Homeserver = "https://a:b@matrix.example.org" }, "homeserver"},
		"unknown mode":            {func(c *Config) { c.Mode = "relay" }, "mode"},
		"no registration":         {func(c *Config) { c.Registration = "" }, "registration"},
		"registration is no YAML": {func(c *Config) { c.Registration = "\tx: [" }, "registration"},
		"registration is a list":  {func(c *Config) { c.Registration = "[]" }, "registration"},
		"registration without id": {func(c *Config) { c.Registration = "{as_token: a, hs_token: b, sender_localpart: c}" }, "registration"},
		"registration, bad pattern": {func(c *Config) {
			c.Registration = adapter.Secret(strings.Replace(goodRegistration, "@mimi_.*", "@[", 1))
		}, "registration"},
		"listen":            {func(c *Config) { c.Listen = "8008" }, "listen"},
		"prefix":            {func(c *Config) { c.Prefix = "Mimi" }, "prefix"},
		"prefix of the bot": {func(c *Config) { c.Prefix = "mimi" }, "prefix"},
		"sync":              {func(c *Config) { c.Sync = "yes" }, "sync"},
		"bot":               {func(c *Config) { *c = Config{Mode: modeBot, Homeserver: c.Homeserver, Token: "t"} }, ""},
		"bot without token": {func(c *Config) { *c = Config{Mode: modeBot, Homeserver: c.Homeserver} }, "token"},
		"bot without user":  {func(c *Config) { *c = Config{Mode: modeBot, Homeserver: c.Homeserver, Password: "p"} }, "user"},
		"bot with both": {func(c *Config) {
			*c = Config{Mode: modeBot, Homeserver: c.Homeserver, User: "u", Password: "p", Token: "t"}
		}, "password"},
	} {
		config := defaults().(*Config)
		config.Homeserver, config.Registration = "https://matrix.example.org", goodRegistration
		c.change(config)
		_, err := Driver().New(account(t, config))
		var key *adapter.KeyError
		switch {
		case c.key == "" && err != nil, c.key != "" && (!errors.As(err, &key) || key.Key != c.key):
			t.Errorf("%s: %v, want an error about %q", name, err, c.key)
		case err != nil && strings.Contains(err.Error(), "hs_token: h"):
			t.Errorf("%s: the error shows the registration", name)
		}
	}
	if _, err := Driver().New(account(t, struct{}{})); err == nil {
		t.Error("another network's configuration was taken")
	}
}

// TestSetup: the file that is written is one that New accepts, and writing it again does not change its tokens.
func TestSetup(t *testing.T) {
	config := defaults().(*Config)
	config.Homeserver, config.URL = "https://matrix.example.org", "http://gateway:29330"
	first, err := Driver().Setup(account(t, config))
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Files) != 1 || !first.Files[0].Secret || len(first.Say) == 0 || !strings.Contains(strings.Join(first.Say, " "), first.Files[0].Path) {
		t.Fatalf("%+v", first)
	}
	config.Registration = adapter.Secret(first.Files[0].Content)
	a, err := Driver().New(account(t, config))
	if err != nil {
		t.Fatalf("%v\n%s", err, first.Files[0].Content)
	}
	reg := a.(*Adapter).settings.reg
	if reg.URL != config.URL || len(reg.ASToken) != 64 || len(reg.HSToken) != 64 || reg.ASToken == reg.HSToken || reg.Sender != "mimibot" {
		t.Errorf("registration of %q at %q", reg.Sender, reg.URL)
	}
	for name, want := range map[string]bool{"@mimi_u_a.example_b:hs.test": true, "@mimibot:hs.test": true, "@mimic:hs.test": false, "@ann:hs.test": false} {
		if covers(reg.Namespaces.Users, name) != want {
			t.Errorf("covers %s: %v", name, !want)
		}
	}
	if !covers(reg.Namespaces.Aliases, "#mimi_k1:hs.test") || covers(reg.Namespaces.Aliases, "#fox:hs.test") {
		t.Error("aliases")
	}
	second, err := Driver().Setup(account(t, config))
	if err != nil || !slices.Equal(second.Files[0].Content, first.Files[0].Content) {
		t.Errorf("another file the second time: %v\n%s", err, second.Files[0].Content)
	}
	config.Registration, config.Prefix = "", "m"
	other, err := Driver().Setup(account(t, config))
	if err != nil {
		t.Fatal(err)
	}
	config.Registration = adapter.Secret(other.Files[0].Content)
	if _, err := Driver().New(account(t, config)); err != nil {
		t.Errorf("a short prefix: %v", err)
	}
	if got, err := Driver().Setup(account(t, &Config{Mode: modeBot, Homeserver: config.Homeserver, Token: "t"})); err != nil || len(got.Files) > 0 {
		t.Errorf("mode bot: %+v, %v", got, err)
	}
}
