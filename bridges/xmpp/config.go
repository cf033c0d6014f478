package xmpp

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"mellium.im/xmpp/jid"

	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
)

// Config is one account: an external component of a server, or an ordinary JID anywhere.
type Config struct {
	Mode         string         `yaml:"mode" doc:"component: an external component of your server, everybody under their own name; client: an ordinary JID on any server, the author's name stands in the text."`
	Address      string         `yaml:"address" doc:"host:port of the server. A component needs it (127.0.0.1:5347); a client finds its server by the JID if this is empty."`
	JID          string         `yaml:"jid" doc:"The component's domain (bridge.example.org), or the account's address (bot@example.org)."`
	Password     adapter.Secret `yaml:"password" doc:"The component's secret, or the account's password: file:/path, env:NAME or systemd:NAME."`
	Nick         string         `yaml:"nick" doc:"Name of the gateway itself in rooms."`
	Occupants    int            `yaml:"occupants" doc:"How many of our people a room shows under their own name at a time (component); the others speak through the gateway's name. Each costs the room a copy of every message."`
	OccupantIdle time.Duration  `yaml:"occupant_idle" doc:"How long somebody shown under their own name may be silent before they leave the room again."`
	Plaintext    bool           `yaml:"plaintext" doc:"Allow a connection without encryption: for a component whose server is not on this machine, or for a client on loopback."`
	CA           string         `yaml:"ca" doc:"File with the certificates (PEM) to trust instead of the system's (client)."`
}

const (
	modeComponent = "component"
	modeClient    = "client"
)

func newConfig() any {
	return &Config{Mode: modeComponent, Nick: "mimigate", Occupants: 50, OccupantIdle: time.Hour}
}

func keyError(key, format string, args ...any) error {
	return &adapter.KeyError{Key: key, Err: fmt.Errorf(format, args...)}
}

// check returns the account's address in normal form: a domain for a component, a bare JID for a client.
func (c *Config) check() (jid.JID, error) {
	if c.Mode != modeComponent && c.Mode != modeClient {
		return jid.JID{}, keyError("mode", "%q is neither %q nor %q", c.Mode, modeComponent, modeClient)
	}
	addr, err := jid.Parse(c.JID)
	if err != nil {
		return jid.JID{}, &adapter.KeyError{Key: "jid", Err: err}
	}
	switch component := c.Mode == modeComponent; {
	case component && (addr.Localpart() != "" || addr.Resourcepart() != ""):
		return jid.JID{}, keyError("jid", "a component is a domain, such as bridge.example.org")
	case !component && (addr.Localpart() == "" || addr.Resourcepart() != ""):
		return jid.JID{}, keyError("jid", "a client is name@domain")
	}
	if c.Password.Reveal() == "" {
		return jid.JID{}, keyError("password", "missing")
	}
	if c.Occupants < 0 || c.OccupantIdle <= 0 {
		return jid.JID{}, keyError("occupants", "occupants and occupant_idle must not be negative, nor occupant_idle 0")
	}
	if talk.CleanNick(c.Nick) == "" {
		return jid.JID{}, keyError("nick", "has no character that a name in a room can have")
	}
	return addr, c.checkAddress()
}

func (c *Config) checkAddress() error {
	if c.Address == "" {
		switch {
		case c.Mode == modeComponent:
			return keyError("address", "a component needs host:port of its server, such as 127.0.0.1:5347")
		case c.Plaintext:
			return keyError("plaintext", "only with an address on loopback")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return &adapter.KeyError{Key: "address", Err: err}
	}
	switch local := loopback(host); {
	case c.Mode == modeComponent && !local && !c.Plaintext:
		return keyError("address", "%s is not on this machine, and component connections (XEP-0114) are not encrypted: "+
			"use loopback or a tunnel, or say plaintext: true", host)
	case c.Mode == modeClient && !local && c.Plaintext:
		return keyError("plaintext", "%s is not a loopback address: remove plaintext, or connect to one", host)
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// roots are the certificates to trust; nil: the system's.
func (c *Config) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, &adapter.KeyError{Key: "ca", Err: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &adapter.KeyError{Key: "ca", Err: errors.New("holds no certificate")}
	}
	return pool, nil
}
