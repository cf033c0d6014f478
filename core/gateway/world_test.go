package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mimigate/core/adapter/adaptertest/servers"
	"mimigate/core/gateway"
)

// world is a Synapse, a Prosody, and a gateway in a process of its own that binds a room of each to a MIMI room.
type world struct {
	t         *testing.T
	synapse   *servers.Homeserver
	prosody   *servers.XMPPServer
	gateway   *servers.Process
	dir       string
	host      *servers.MatrixClient // made the Matrix rooms
	owner     *servers.XMPPClient   // made the MUCs
	room, muc string                // that are bound to each other
	config    string                // text of the configuration
}

const (
	componentJID    = "bridge.xmpp.test"
	componentSecret = "component secret"
	serviceUser     = "mimibot"
)

// newWorld starts the servers and makes a room on each.
func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	port := servers.Port(t)
	service := servers.AppService{ID: "mimigate", URL: fmt.Sprintf("http://127.0.0.1:%d", port), ASToken: "as-token", HSToken: "hs-token",
		Sender: serviceUser, Users: []string{"@mimi_.*", "@" + serviceUser + ":.*"}}
	w.synapse = servers.Synapse(t, servers.SynapseOptions{AppServices: []servers.AppService{service}})
	w.prosody = servers.Prosody(t, servers.ProsodyOptions{Components: []servers.Component{{JID: componentJID, Secret: componentSecret}}, Users: []string{"owner"}})
	w.write("registration.yaml", map[string]any{"id": service.ID, "as_token": service.ASToken, "hs_token": service.HSToken, "sender_localpart": serviceUser,
		"namespaces": map[string]any{"users": []any{map[string]any{"exclusive": true, "regex": "@mimi_.*"}}}})
	w.write("secret", componentSecret)
	w.host = servers.Nio(t, w.synapse, w.synapse.User(t, "host"))
	w.owner = servers.Slix(t, w.prosody, "owner")
	w.room, w.muc = w.newRoom("first"), w.newMUC("first")
	w.config = fmt.Sprintf(`
provider: {domain: gateway.test, store: store}
accounts:
  - {id: matrix-home, network: matrix, homeserver: %q, registration: "file:registration.yaml", listen: "127.0.0.1:%d"}
  - {id: xmpp-home, network: xmpp, address: %q, jid: %s, password: "file:secret"}
rooms:
  - {id: first, name: First, bind: ["matrix-home/%s", "xmpp-home/%s"]}
`, w.synapse.URL, port, w.prosody.Component, componentJID, w.room, w.muc)
	w.write("config.yaml", w.config)
	return w
}

// write writes a file: a string as it is, all else as JSON, which is YAML.
func (w *world) write(name string, content any) {
	w.t.Helper()
	text, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// newRoom makes a public Matrix room in which our service may do what a moderator may.
func (w *world) newRoom(name string) string {
	w.t.Helper()
	room, err := w.host.Create(w.t.Context(), servers.MatrixRoom{Name: name, Public: true})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.host.PutState(w.t.Context(), room, "m.room.power_levels", "", map[string]any{
		"users": map[string]int{"@" + serviceUser + ":hs.test": 90}})
	if err != nil {
		w.t.Fatal(err)
	}
	return room
}

// newMUC makes a MUC with an archive of which our component is an admin.
func (w *world) newMUC(name string) string {
	w.t.Helper()
	muc, ctx := name+"@"+w.prosody.MUC, w.t.Context()
	if err := w.owner.Join(ctx, muc, "the owner", 0); err != nil {
		w.t.Fatal(err)
	}
	if err := w.owner.SetAffiliation(ctx, muc, "gateway@"+componentJID, "admin", ""); err != nil {
		w.t.Fatal(err)
	}
	if err := w.owner.Leave(ctx, muc); err != nil {
		w.t.Fatal(err)
	}
	return muc
}

// start starts the gateway, and returns when everything is connected and open.
func (w *world) start() {
	w.t.Helper()
	w.serve(w.ready)
}

// serve starts the gateway, and returns when it is ready.
func (w *world) serve(ready func(context.Context) error) {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	w.gateway = servers.Start(w.t, servers.Command{Name: "mimigate", Path: self, Dir: w.dir,
		Env: []string{serveEnv + "=" + filepath.Join(w.dir, "config.yaml")}, Ready: ready})
}

// status asks the gateway how it does.
func (w *world) status(ctx context.Context) (s gateway.Status, err error) {
	c, err := gateway.Dial(ctx, filepath.Join(w.dir, "store"))
	if err != nil {
		return s, err
	}
	s, err = c.Status(ctx)
	return s, errors.Join(err, c.Close())
}

// ready says what of the gateway does not work yet.
func (w *world) ready(ctx context.Context) error {
	s, err := w.status(ctx)
	if err != nil {
		return err
	}
	for _, a := range s.Accounts {
		if a.State != "connected" {
			return fmt.Errorf("account %s: %s: %s", a.ID, a.State, a.Reason)
		}
	}
	for _, r := range s.Rooms {
		for _, b := range r.Bindings {
			if !b.Open {
				return fmt.Errorf("%s: not open: %s", b.Chat, b.Problem)
			}
		}
	}
	return nil
}

// matrix lets a person with a client into the Matrix room.
func (w *world) matrix(local, name string) *servers.MatrixClient {
	w.t.Helper()
	c := servers.Nio(w.t, w.synapse, w.synapse.User(w.t, local))
	if err := c.SetName(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Join(w.t.Context(), w.room); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// xmpp lets a person with a client into the MUC.
func (w *world) xmpp(local, nick string) *servers.XMPPClient {
	w.t.Helper()
	w.prosody.User(w.t, local)
	c := servers.Slix(w.t, w.prosody, local)
	if err := c.Join(w.t.Context(), w.muc, nick, 0); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// seesStanza waits for what matches in the MUC, by a nick.
func (w *world) seesStanza(c *servers.XMPPClient, what, nick string, match func(servers.Stanza) bool) servers.Stanza {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	s, err := c.WaitFor(ctx, func(s servers.Stanza) bool { return s.From == w.muc+"/"+nick && match(s) })
	if err != nil {
		w.t.Fatalf("XMPP: no %s by %s: %v", what, nick, err)
	}
	return s
}

// seesEvent waits for what matches in the Matrix room, by somebody who is called so there now.
func (w *world) seesEvent(c *servers.MatrixClient, what, name string, match func(servers.MatrixEvent) bool) servers.MatrixEvent {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	e, err := c.WaitFor(ctx, func(e servers.MatrixEvent) bool { return e.Room == w.room && match(e) })
	if err != nil {
		w.t.Fatalf("Matrix: no %s by %s: %v", what, name, err)
	}
	members, err := c.Members(ctx, w.room)
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.ContainsFunc(members, func(m servers.MatrixMember) bool { return m.ID == e.Sender && m.Name == name }) {
		w.t.Errorf("Matrix: %s is by %s, want one called %s of %v", what, e.Sender, name, members)
	}
	return e
}

func groupBody(body string) func(servers.Stanza) bool {
	return func(s servers.Stanza) bool { return s.Kind == "message" && s.Type == "groupchat" && s.Body == body }
}

func matrixBody(body string) func(servers.MatrixEvent) bool {
	return func(e servers.MatrixEvent) bool { return e.Type == "m.room.message" && e.Body() == body }
}

// group sends something to the MUC and returns it as the room shows it to its sender.
func (w *world) group(c *servers.XMPPClient, m servers.XMPPMessage) servers.Stanza {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	m.To, m.Group = w.muc, true
	id, err := c.Send(ctx, m)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := c.WaitFor(ctx, func(s servers.Stanza) bool {
		return s.Kind == "message" && s.ID == id && strings.HasPrefix(s.From, w.muc+"/")
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}
