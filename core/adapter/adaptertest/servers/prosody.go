package servers

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed prosody.cfg.lua
var prosodyLua string

// Component is an external component (XEP-0114) that the server accepts.
type Component struct {
	JID    string
	Secret string
}

// ProsodyOptions describe an XMPP server.
type ProsodyOptions struct {
	Domain     string // of its users; "" is xmpp.test
	Components []Component
	Users      []string // local parts; the password of each is Password(local)
}

// XMPPServer is a running Prosody without TLS and without rate limits: message archive, carbons, stream management,
// PEP, vCards, persistent group chats and HTTP upload.
type XMPPServer struct {
	*Process
	Domain    string
	Client    string // host:port for clients
	Component string // host:port for components, where there are any
	MUC       string // domain of the group chat service with an archive (XEP-0313)
	PlainMUC  string // domain of the group chat service without one
	Upload    string // domain of the HTTP upload service (XEP-0363)
	config    string
}

// Prosody starts an XMPP server and returns when it accepts clients and components, which takes less than 1 s.
func Prosody(t testing.TB, o ProsodyOptions) *XMPPServer {
	t.Helper()
	path := need(t, toolProsody, prosody)
	if o.Domain == "" {
		o.Domain = "xmpp.test"
	}
	dir := t.TempDir()
	client, component, http := Port(t), Port(t), Port(t)
	s := &XMPPServer{
		Domain: o.Domain, Client: address(client), Component: address(component),
		MUC: "muc." + o.Domain, PlainMUC: "plain." + o.Domain, Upload: "upload." + o.Domain,
		config: filepath.Join(dir, "prosody.cfg.lua"),
	}
	render(t, s.config, prosodyLua, map[string]any{
		"Domain": o.Domain, "Dir": dir, "Client": client, "Component": component, "HTTP": http, "Components": o.Components,
	})
	for _, u := range o.Users {
		s.User(t, u)
	}
	s.Process = Start(t, Command{
		Name: "prosody", Path: path, Dir: dir, Args: []string{"--config", s.config, "-F"},
		Ready: func(ctx context.Context) error {
			listening := []string{address(http), s.Client}
			if len(o.Components) > 0 { // else the port is closed
				listening = append(listening, s.Component)
			}
			for _, addr := range listening {
				if err := Dial(addr)(ctx); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return s
}

// Password is the password of a user with that local part, on either server.
func Password(local string) string { return "password of " + local }

// User adds a user and returns their bare JID. It works before the server runs and while it does.
func (s *XMPPServer) User(t testing.TB, local string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "prosodyctl", "--config", s.config, "register", local, s.Domain, Password(local)).CombinedOutput()
	if err != nil {
		t.Fatalf("servers: prosodyctl register %s: %v\n%s", local, err, out)
	}
	return fmt.Sprintf("%s@%s", local, s.Domain)
}
