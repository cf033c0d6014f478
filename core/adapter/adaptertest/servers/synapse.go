package servers

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"text/template"
)

//go:embed synapse.yaml
var synapseYAML string

//go:embed synapse-log.yaml
var synapseLogYAML string

// sharedSecret is what the admin API registers users with.
const sharedSecret = "shared-secret-of-a-test"

// AppService is an application service registration (Matrix Application Service API §4).
type AppService struct {
	ID      string
	URL     string   // where Synapse sends transactions; "": nowhere
	ASToken string   // the service's own
	HSToken string   // the homeserver's
	Sender  string   // local part of the service's own user, which the service must register itself
	Users   []string // exclusive namespaces, regular expressions on whole ids
	Aliases []string
	// Quiet leaves typing, receipts and to-device messages out of the transactions (no push_ephemeral, MSC2409, MSC3202), as
	// homeservers do that lack them.
	Quiet bool
}

// SynapseOptions describe a homeserver.
type SynapseOptions struct {
	Domain        string       // server_name; "" is hs.test
	AppServices   []AppService // registered at start
	Registrations []string     // registration files of others' making, such as `mimigate account setup` writes
}

// Homeserver is a running Synapse: SQLite, no federation, no rate limits, the experimental features that an encrypting
// application service uses, no presence.
type Homeserver struct {
	*Process
	URL    string // http://127.0.0.1:PORT
	Domain string // the part after the colon of its ids
}

// User is a local user of a homeserver.
type User struct {
	ID       string `json:"user_id"` // @local:domain
	Token    string `json:"access_token"`
	Device   string `json:"device_id"`
	Password string `json:"-"`
}

// Synapse starts a homeserver and returns when it answers, which takes some 4 s.
func Synapse(t testing.TB, o SynapseOptions) *Homeserver {
	t.Helper()
	py := need(t, toolSynapse, python)
	if o.Domain == "" {
		o.Domain = "hs.test"
	}
	dir, port := t.TempDir(), Port(t)
	files := o.Registrations
	for _, a := range o.AppServices {
		text, err := json.Marshal(a.registration()) // JSON is YAML
		if err != nil {
			t.Fatalf("servers: %v", err)
		}
		name := filepath.Join(dir, "appservice-"+a.ID+".yaml")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatalf("servers: %v", err)
		}
		files = append(files, name)
	}
	list, err := json.Marshal(append([]string{}, files...))
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	config := filepath.Join(dir, "homeserver.yaml")
	render(t, config, synapseYAML, map[string]any{
		"Domain": o.Domain, "Dir": dir, "Port": port, "Secret": sharedSecret, "AppServices": string(list),
	})
	render(t, filepath.Join(dir, "log.yaml"), synapseLogYAML, nil)
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.WriteFile(filepath.Join(dir, "signing.key"), []byte("ed25519 a_test "+base64.RawStdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatalf("servers: %v", err)
	}
	h := &Homeserver{URL: "http://" + address(port), Domain: o.Domain}
	h.Process = Start(t, Command{
		Name: "synapse", Path: py, Dir: dir,
		Args:  []string{"-m", "synapse.app.homeserver", "-c", config},
		Ready: Get(h.URL + "/_matrix/client/versions"),
	})
	return h
}

// registration is the file's content.
func (a AppService) registration() map[string]any {
	namespace := func(list []string) []map[string]any {
		all := []map[string]any{}
		for _, r := range list {
			all = append(all, map[string]any{"exclusive": true, "regex": r})
		}
		return all
	}
	r := map[string]any{
		"id": a.ID, "url": nil, "as_token": a.ASToken, "hs_token": a.HSToken, "sender_localpart": a.Sender, "rate_limited": false,
		"namespaces": map[string]any{"users": namespace(a.Users), "aliases": namespace(a.Aliases), "rooms": []any{}},
	}
	if a.URL != "" {
		r["url"] = a.URL
	}
	if !a.Quiet {
		r["receive_ephemeral"] = true
		r["de.sorunome.msc2409.push_ephemeral"] = true
		r["org.matrix.msc3202"] = true
		r["io.element.msc4190"] = true
	}
	return r
}

// User registers a user of the homeserver, not an administrator, by the admin API.
func (h *Homeserver) User(t testing.TB, local string) User {
	t.Helper()
	var nonce struct{ Nonce string }
	h.admin(t, http.MethodGet, nil, &nonce)
	u := User{Password: Password(local)}
	mac := hmac.New(sha1.New, []byte(sharedSecret))
	fmt.Fprintf(mac, "%s\x00%s\x00%s\x00notadmin", nonce.Nonce, local, u.Password)
	h.admin(t, http.MethodPost, map[string]any{
		"nonce": nonce.Nonce, "username": local, "password": u.Password, "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &u)
	return u
}

// admin calls the registration of the admin API.
func (h *Homeserver) admin(t testing.TB, method string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+"/_synapse/admin/v1/register", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("servers: synapse: register: %s %v\n%s", resp.Status, err, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("servers: synapse: register: %v", err)
	}
}

// render writes a file from a template.
func render(t testing.TB, name, text string, data any) {
	t.Helper()
	tmpl, err := template.New(filepath.Base(name)).Option("missingkey=error").Parse(text)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, data); err != nil {
		t.Fatalf("servers: %v", err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.Fatalf("servers: %v", err)
	}
}
