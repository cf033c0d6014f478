// Package config reads the configuration file: it finds it, decodes it strictly, fills in defaults and checks what can be checked
// without a network. All that is wrong is found in one pass and told with file and line.
//
// The structs here, and the Config struct of each adapter, are the configuration: their tags give the names, the documentation and the
// choices, and config.example.yaml is made from them (see [Example]).
//
//	yaml:"name"       the key; every key is optional unless its doc says otherwise
//	doc:"A sentence." for the example file
//	example:"value"   what the example file shows, where the default says little
//	oneof:"a b c"     the only values that are allowed
//	was:"old_name"    an earlier name of the key, which still works, with a warning
//
// Lengths of time are written 90s, 12h, 7d or 1d12h; sizes 500kB, 100MB, 2GiB. A secret is never written itself, only where it is:
// file:/path, env:NAME or systemd:NAME. Files are looked for from the directory of the configuration file.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// Config is a whole configuration, decoded and checked. What stands in lists has ids of its own; native ids are values, never keys.
type Config struct {
	Provider   Provider   `yaml:"provider" doc:"This gateway as a MIMI provider."`
	Admins     Admins     `yaml:"admins" doc:"Only these people may command the gateway from a chat. Nobody is named by default; bindings are then made by this file alone."`
	Accounts   []Account  `yaml:"accounts" doc:"The gateway's own logins, components and application services on the networks."`
	People     []Person   `yaml:"people" doc:"One human who uses several networks: one participant in the rooms, and no doubles."`
	Policies   []Policy   `yaml:"policies" doc:"Rules for rooms. The policy called default is used where a room names none; keys that are left out have the values shown."`
	Rooms      []Room     `yaml:"rooms" doc:"The rooms of this gateway, and the chats that are bound to them."`
	Federation Federation `yaml:"federation" doc:"How other organisations' providers reach this one; needed only where the defaults do not fit."`
	Peers      []Peer     `yaml:"peers" doc:"Other organisations' providers. Without any, and without a domain, this gateway is local only. \"mimigate peer accept\" adds one without this file."`

	// File is the file it was read from.
	File string `yaml:"-"`
	// Warnings are about what works but should be changed.
	Warnings Problems `yaml:"-"`
}

// Provider is this gateway as a MIMI provider.
type Provider struct {
	Domain    uri.Provider `yaml:"domain" example:"chat.example.org" doc:"PERMANENT: the domain is part of every address, and cannot be changed once the store exists. Leave it out for a gateway without peers."`
	Listen    string       `yaml:"listen" doc:"Address for other providers (HTTPS with mutual TLS). It is opened only when there are peers."`
	Store     string       `yaml:"store" doc:"The database: a directory, for SQLite; or postgres://user@host/database, which has no password in it: write env:NAME, file:/path or systemd:NAME to say where one with a password is."`
	Files     string       `yaml:"files" doc:"Directory of all that is no database: the accounts' files, media on their way, the socket of the commands. Default: the store, where that is a directory, else /var/lib/mimigate."`
	MasterKey KeyRef       `yaml:"master_key" example:"file:/var/lib/mimigate.key" doc:"What private columns of the store are sealed with; a file is made at the first start. It is not in backups: keep a copy elsewhere. Default: the name of the directory of files with .key."`
	Monitor   string       `yaml:"monitor" example:"127.0.0.1:9464" doc:"Address for monitoring, over plain HTTP without a password: /metrics (Prometheus), /healthz and /readyz. Default: none; the commands' socket has them too."`
	Language  string       `yaml:"language" doc:"Language of replies and notices, such as de or pt-BR."`
}

// Admins are the people who may command.
type Admins struct {
	People []PersonRef `yaml:"people" example:"[\"matrix:@fuchs:example.org\"]" doc:"Who, as network:id."`
	Tell   Chat        `yaml:"tell" example:"matrix-home/!Adm1n:example.org" doc:"The chat, as account/chat, in which they are told what needs attention."`
}

// Account is one of our accounts on a network. The keys besides these are those of the network's driver.
type Account struct {
	ID      string `yaml:"id" example:"NETWORK-1" doc:"Required, and unique: a name of your own for the account. Do not change it later."`
	Network string `yaml:"network" doc:"Required: the network."`
	Unbound string `yaml:"unbound" oneof:"ignore ask create" doc:"What to do about a chat that is not bound to a room: ignore it, ask the admins, or create a room for it."`

	// Config is what the driver's Config function returned, decoded.
	Config any `yaml:"-"`
	At     Pos `yaml:"-"`
	// Problems are secrets that could not be read: the account cannot be used, all others can.
	Problems Problems `yaml:"-"`

	keys map[string]Pos
}

// Problem returns an error of the driver about this account as a problem with its place in the file, which is that of the key
// where the error wraps a *adapter.KeyError.
func (a Account) Problem(err error) Problem {
	var key *adapter.KeyError
	if !errors.As(err, &key) {
		return Problem{At: a.At, Text: fmt.Sprintf("account %s: %v", a.ID, err)}
	}
	at := a.At
	// A key that is missing in the file is told at its nearest parent.
	for name := key.Key; name != ""; {
		if p, ok := a.keys[name]; ok {
			at = p
			break
		}
		i := strings.LastIndexByte(name, '.')
		name = name[:max(i, 0)]
	}
	return Problem{At: at, Text: fmt.Sprintf("account %s: %s: %v", a.ID, key.Key, key.Err)}
}

// Person is one human with ids on several networks.
type Person struct {
	Name string `yaml:"name" example:"Oma Inge" doc:"The name shown in rooms; without it, that of the first id."`
	// Handle is empty for a random address.
	Handle string      `yaml:"handle" example:"inge" doc:"Makes their MIMI address readable, as mimi://chat.example.org/u/inge. It counts when the person is first seen, as addresses are permanent. Default: random letters, which tell nothing about them."`
	Is     []PersonRef `yaml:"is" example:"[\"matrix:@inge:example.org\", \"xmpp:inge@example.org\"]" doc:"Required: the ids, as network:id."`
	At     Pos         `yaml:"-"`
}

// Policy is a set of rules for rooms.
type Policy struct {
	ID           string        `yaml:"id" example:"default" doc:"Required, and unique."`
	Retention    Retention     `yaml:"retention" doc:"How long things are kept."`
	Media        MediaLimits   `yaml:"media" doc:"Files, pictures and other attachments."`
	Joins        string        `yaml:"joins" oneof:"quiet show" doc:"Whether the chats are told who joins and leaves elsewhere."`
	History      History       `yaml:"history" doc:"How far back messages are fetched when a chat is bound: none, or a length of time."`
	CipherSuites []CipherSuite `yaml:"cipher_suites" doc:"MLS cipher suites by number or name, the best first; a room takes the first that all its members support."`
	Networks     []string      `yaml:"networks" example:"[matrix, xmpp]" doc:"The only networks that may be bound to a room of this policy, even by an admin. Default: all."`
	Peers        []string      `yaml:"peers" example:"[klinik]" doc:"The only peers that may take part in a room of this policy. Default: all."`
	Notice       Text          `yaml:"notice" example:"file:/etc/mimigate/notice.txt" doc:"A text, or file:/path of one, that is told once to each new person."`
	At           Pos           `yaml:"-"`
}

// Retention says how long things are kept.
type Retention struct {
	Body        Keep          `yaml:"body" doc:"Bodies of messages: delivered (deleted as soon as everybody has them), or a length of time."`
	Media       time.Duration `yaml:"media" doc:"Files."`
	IDs         time.Duration `yaml:"ids" doc:"Ids of messages: as long, replies, edits and deletions find theirs."`
	Undelivered time.Duration `yaml:"undelivered" doc:"Messages that cannot be delivered; then the sender is told."`
	Dead        time.Duration `yaml:"dead" doc:"Messages that were not delivered, after that: as long, \"mimigate queue retry\" can send them after all."`
}

// MediaLimits say which files are let through.
type MediaLimits struct {
	Max  Size   `yaml:"max" doc:"The largest file."`
	Over string `yaml:"over" oneof:"link refuse" doc:"What becomes of a larger one: a link, or a refusal. The sender is told the limit."`
}

// Room is a room that we are to be the hub of.
type Room struct {
	ID     string     `yaml:"id" example:"family" doc:"Required, and unique: part of the room's address. Do not change it later."`
	Name   string     `yaml:"name" example:"Familie Fuchs" doc:"The name that people see; without it, the id."`
	Policy string     `yaml:"policy" doc:"The id of its policy."`
	Bind   []Binding  `yaml:"bind" example:"[\"matrix-home/#familie:example.org\"]" doc:"The chats that are bound to it, as account/chat; for one direction only as {chat: account/chat, direction: in}, where only the people of the chat write, or direction: out, where they only read. \"mimigate room discover\" prints these lines."`
	Invite []uri.User `yaml:"invite" example:"[\"mimi://chat.klinik.example/u/dienst\"]" doc:"People of peers to invite, by their MIMI addresses."`
	At     Pos        `yaml:"-"`
}

// The directions of a binding.
const (
	Both = "both" // messages cross both ways
	In   = "in"   // only from the chat to the room
	Out  = "out"  // only from the room to the chat
)

// Binding is a chat bound to a room.
type Binding struct {
	Chat      Chat   `yaml:"chat" doc:"Required: account/chat."`
	Direction string `yaml:"direction" oneof:"both in out" doc:"in, out or both."`
	At        Pos    `yaml:"-"`
}

// Federation says how other providers reach this one.
type Federation struct {
	URL         string `yaml:"url" example:"https://mimi.example.org:8443" doc:"Where they reach this gateway. Default: https, provider.domain, and the port of provider.listen."`
	Certificate string `yaml:"certificate" example:"/etc/mimigate/tls/chain.pem" doc:"A file with a certificate for provider.domain (PEM, with its chain), for both ends of a connection; read again when it changes. Default: the gateway is its own authority, and peers learn its certificate by the invitation."`
	Key         string `yaml:"key" example:"/etc/mimigate/tls/key.pem" doc:"The file with the key of the certificate."`
}

// Peer is another organisation's provider.
type Peer struct {
	ID     string       `yaml:"id" example:"klinik" doc:"Required, and unique: a name of your own for it."`
	Domain uri.Provider `yaml:"domain" example:"chat.klinik.example" doc:"Required: its provider domain."`
	URL    string       `yaml:"url" example:"https://mimi.klinik.example:8443" doc:"Where it is reached. Default: https and its domain."`
	CA     Text         `yaml:"ca" example:"file:/etc/mimigate/peers/klinik.pem" doc:"The certificates (PEM) that its own must descend from. Default: those of the operating system."`
	May    May          `yaml:"may" doc:"What its people may do here."`
	// Credentials is what vouches for its people in rooms.
	Credentials string `yaml:"credentials" oneof:"certificate basic" doc:"What vouches for its people in rooms: certificates of its own, or, with a provider that knows none, only the hub by which they come (basic)."`
	At          Pos    `yaml:"-"`
	// Problems are files that could not be read: the peer cannot be used, all others can.
	Problems Problems `yaml:"-"`
}

// May says what the people of a peer may do.
type May struct {
	Invite   string `yaml:"invite" oneof:"ask allow deny" doc:"Invite our people into rooms: each is asked first, or joins at once, or never hears of it."`
	Search   string `yaml:"search" oneof:"deny allow" doc:"Find our people by their names and handles."`
	MaxMedia Size   `yaml:"max_media" doc:"The largest file taken from it; 0: what the room's policy says."`
}

// defaultFiles is the directory of the store where nothing else is said.
const defaultFiles = "/var/lib/mimigate"

func (c *Config) defaults() {
	c.Provider = Provider{Listen: ":8443", Store: defaultFiles, Language: "en"}
}

func (a *Account) defaults() { a.Unbound = "ignore" }

func (p *Policy) defaults() {
	const day = 24 * time.Hour
	*p = Policy{
		Retention:    Retention{Media: day, IDs: 365 * day, Undelivered: 7 * day, Dead: 7 * day},
		Media:        MediaLimits{Max: 100e6, Over: "link"},
		Joins:        "quiet",
		CipherSuites: []CipherSuite{1},
	}
}

func (r *Room) defaults()    { r.Policy = DefaultPolicy }
func (b *Binding) defaults() { b.Direction = Both }
func (p *Peer) defaults()    { p.May, p.Credentials = May{Invite: "ask", Search: "deny"}, "certificate" }

// IDsKept is how long it is known which message is which on the networks: as long as the policy that wants it the longest.
func (c *Config) IDsKept() (longest time.Duration) {
	for _, p := range c.Policies {
		longest = max(longest, p.Retention.IDs)
	}
	return longest
}

// DefaultPolicy is the id of the policy of rooms that name none. It is in Config.Policies even if it is not in the file.
const DefaultPolicy = "default"

// Pos is a place in a file of configuration; what stands there is managed by the file and read-only elsewhere.
type Pos struct {
	File string // or the name of an environment variable
	Line int    // from 1; 0: the whole file
}

// String returns "config.yaml:41", or only the file.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Problem is something wrong with the configuration. Its text names the key, says what to do, and holds no secrets.
type Problem struct {
	At   Pos
	Text string
}

// String returns "config.yaml:41: text".
func (p Problem) String() string { return p.At.String() + ": " + p.Text }

// Problems are all that is wrong, in the order of the file. As an error they are one problem on each line.
type Problems []Problem

// Error implements error.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line))
	})
}
