// Package quickstart makes a working configuration of a few answers.
package quickstart

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Answers are what is asked. All may be empty.
type Answers struct {
	Domain string   // of the provider; "": local only
	Matrix string   // address of the own homeserver, or a bot's homeserver with Bot
	XMPP   string   // "ADDRESS DOMAIN" of a component: "127.0.0.1:5347 bridge.example.org"
	Admin  string   // network:id
	Bind   []string // account/chat, for the first room; the accounts are matrix and xmpp
	Room   string   // its name
}

// File is a file to write.
type File struct {
	Name    string // relative to the configuration's directory
	Content []byte
	Secret  bool // for its owner only
}

// The names of the files, and of what is bound.
const (
	ConfigFile   = "config.yaml"
	xmppSecret   = "xmpp.secret"
	registration = "matrix-registration-matrix.yaml"
	firstRoom    = "first"
)

//go:embed mimigate.service
var service []byte

//go:embed compose.yaml
var compose []byte

// Service returns a hardened systemd unit.
func Service() File { return File{Name: "mimigate.service", Content: service} }

// Compose returns a compose file.
func Compose() File { return File{Name: "compose.yaml", Content: compose} }

type provider struct {
	Domain    string `yaml:"domain,omitempty"`
	Store     string `yaml:"store"`
	MasterKey string `yaml:"master_key,omitempty"`
}

type admins struct {
	People []string `yaml:"people,flow"`
}

type account struct {
	ID           string `yaml:"id"`
	Network      string `yaml:"network"`
	Homeserver   string `yaml:"homeserver,omitempty"`
	Registration string `yaml:"registration,omitempty"`
	Address      string `yaml:"address,omitempty"`
	JID          string `yaml:"jid,omitempty"`
	Password     string `yaml:"password,omitempty"`
}

type room struct {
	ID   string   `yaml:"id"`
	Name string   `yaml:"name,omitempty"`
	Bind []string `yaml:"bind,omitempty"`
}

// Where the service that Service describes may write.
const (
	serviceStore = "/var/lib/mimigate"
	serviceKey   = "file:/var/lib/mimigate-key/master"
)

// Files returns the configuration and the secrets that it refers to and that are ours to make. The store is beside the configuration, or
// where a service keeps it.
func (a Answers) Files(service bool) ([]File, error) {
	body := struct {
		Provider provider  `yaml:"provider"`
		Admins   *admins   `yaml:"admins,omitempty"`
		Accounts []account `yaml:"accounts,omitempty"`
		Rooms    []room    `yaml:"rooms,omitempty"`
	}{Provider: provider{a.Domain, "store", ""}}
	if service {
		body.Provider.Store, body.Provider.MasterKey = serviceStore, serviceKey
	}
	var files []File
	if a.Admin != "" {
		body.Admins = &admins{[]string{a.Admin}}
	}
	if a.Matrix != "" {
		body.Accounts = append(body.Accounts, account{ID: "matrix", Network: "matrix", Homeserver: a.Matrix, Registration: "file:" + registration})
	}
	if a.XMPP != "" {
		words := strings.Fields(a.XMPP)
		if len(words) != 2 {
			return nil, fmt.Errorf("%q: want the address of the server and the domain of the component, such as: 127.0.0.1:5347 bridge.example.org", a.XMPP)
		}
		body.Accounts = append(body.Accounts, account{ID: "xmpp", Network: "xmpp", Address: words[0], JID: words[1], Password: "file:" + xmppSecret})
		files = append(files, File{xmppSecret, []byte(rand.Text() + rand.Text() + "\n"), true})
	}
	if len(a.Bind) > 0 || a.Room != "" {
		body.Rooms = []room{{firstRoom, a.Room, a.Bind}}
	}
	var out bytes.Buffer
	fmt.Fprintln(&out, "# Made by \"mimigate quickstart\". \"mimigate config example\" explains every key.")
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(body); err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	return append(files, File{Name: ConfigFile, Content: out.Bytes()}), nil
}
