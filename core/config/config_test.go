package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mimigate/core/adapter"
)

// The configurations of networks as their adapters have them, and one with every kind of value.
type (
	matrixConfig struct {
		Mode         string         `yaml:"mode" oneof:"appservice bot" doc:"How."`
		Homeserver   string         `yaml:"homeserver" doc:"Where."`
		Registration adapter.Secret `yaml:"registration" doc:"The registration."`
		Token        adapter.Secret `yaml:"token" doc:"The token."`
	}
	xmppConfig struct {
		Mode     string         `yaml:"mode" doc:"How."`
		Address  string         `yaml:"address" doc:"Where."`
		JID      string         `yaml:"jid" doc:"Who."`
		Password adapter.Secret `yaml:"password" doc:"The password."`
		Idle     time.Duration  `yaml:"idle" doc:"How long."`
	}
	testConfig struct {
		Flag   bool     `yaml:"flag" doc:"A flag." was:"switch"`
		Count  int      `yaml:"count" doc:"A number."`
		Port   uint16   `yaml:"port" doc:"A port."`
		Names  []string `yaml:"names" doc:"Some names."`
		Nested struct {
			Deep string         `yaml:"deep" doc:"A word." was:"depth"`
			Key  adapter.Secret `yaml:"key" doc:"A secret."`
		} `yaml:"nested" doc:"More keys."`
	}
)

const secretValue = "hunter2-never-shown"

func driver[C any](name string, c C) adapter.Driver {
	return adapter.Driver{Name: name, Config: func() any { c := c; return &c }}
}

func testOptions() Options {
	return Options{
		Drivers: map[string]adapter.Driver{
			"matrix": driver("matrix", matrixConfig{Mode: "appservice"}),
			"xmpp":   driver("xmpp", xmppConfig{Mode: "component", Idle: time.Hour}),
			"test":   driver("test", testConfig{Count: 7}),
		},
		Suites: map[string]uint16{"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": 1, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": 2, "PQ": 0xf101},
		ReadFile: func(name string) ([]byte, error) {
			switch {
			case strings.HasSuffix(name, ".pem"):
				return []byte(certificate), nil
			case strings.Contains(name, "missing"):
				return nil, fs.ErrNotExist
			case strings.Contains(name, "forbidden"):
				return nil, fs.ErrPermission
			case strings.Contains(name, "huge"):
				return make([]byte, referencedMax+1), nil
			case strings.Contains(name, "empty"):
				return []byte("\n"), nil
			}
			return []byte(secretValue + "\r\n"), nil
		},
		Getenv: func(name string) (string, bool) {
			switch name {
			case "UNSET", credentialsDir:
				return "", false
			}
			return secretValue, true
		},
	}
}

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse("config.yaml", []byte(text), nil, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const whole = `
provider:
  domain: Chat.Example.ORG
  listen: "127.0.0.1:8443"
  store: data
  master_key: env:KEYS
  language: pt-BR
admins:
  people: ["matrix:@fuchs:example.org"]
  tell: matrix-home/!Adm1n/x:example.org
accounts:
  - id: matrix-home
    network: matrix
    homeserver: https://matrix.example.org
    registration: file:reg.yaml
  - id: xmpp-home
    network: xmpp
    address: 127.0.0.1:5347
    jid: bridge.example.org
    password: file:/etc/mimigate/xmpp.secret
    idle: 1d12h
    unbound: ask
  - id: t
    network: test
    flag: true
    count: -3
    port: 65535
    names: [a, "b"]
    nested: {deep: word, key: env:X}
people:
  - name: Oma Inge
    is: ["xmpp:+491701234567", "matrix:@inge:example.org"]
policies:
  - id: office
    retention: {body: 2d, media: 1h, ids: 90d, undelivered: 24h}
    media: {max: 2GB, over: refuse}
    joins: show
    history: 7d
    cipher_suites: [PQ, 1]
    networks: [matrix, xmpp]
    peers: []
    notice: file:/etc/mimigate/datenschutz.txt
  - id: open
    peers: [klinik]
rooms:
  - id: family
    bind:
      - matrix-home/#familie:example.org
      - {chat: xmpp-home/familie@rooms.example.org/nick, direction: out}
  - id: lage
    name: Lage
    policy: open
    invite: ["mimi://chat.klinik.example/u/dienst"]
peers:
  - id: klinik
    domain: chat.klinik.example
    ca: file:klinik.pem
    may: {invite: deny, max_media: 500MB}
`

func TestWhole(t *testing.T) {
	c := parsed(t, whole)
	got := fmt.Sprintf("%s|%s|%s|%s|%d|%s|%v|%+v", c.Provider.Domain, c.Provider.Listen, c.Provider.Store, c.Provider.MasterKey.File,
		len(c.Provider.MasterKey.Keys.Reveal()), c.Provider.Language, c.Admins.People, c.Admins.Tell)
	want := fmt.Sprintf("mimi://chat.example.org|127.0.0.1:8443|data||%d|pt-BR|[matrix:@fuchs:example.org]|matrix-home/!Adm1n/x:example.org", len(secretValue))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	m, x, tc := c.Accounts[0].Config.(*matrixConfig), c.Accounts[1].Config.(*xmppConfig), c.Accounts[2].Config.(*testConfig)
	if m.Mode != "appservice" || m.Registration.Reveal() != secretValue || x.Idle != 36*time.Hour || x.Password.Reveal() != secretValue {
		t.Errorf("%+v, %+v", m, x)
	}
	if !tc.Flag || tc.Count != -3 || tc.Port != 65535 || !slices.Equal(tc.Names, []string{"a", "b"}) || tc.Nested.Deep != "word" || tc.Nested.Key.Reveal() != secretValue {
		t.Errorf("%+v", tc)
	}
	if c.Accounts[0].Unbound != "ignore" || c.Accounts[1].Unbound != "ask" {
		t.Error("unbound")
	}
	if is := c.People[0].Is; len(is) != 2 || is[0] != (PersonRef{"xmpp", "+491701234567"}) {
		t.Errorf("%+v", is)
	}
	office, open, def := c.Policies[0], c.Policies[1], c.Policies[2]
	if office.Retention != (Retention{Keep(2 * day), time.Hour, 90 * day, day, 7 * day}) || office.Media != (MediaLimits{2e9, "refuse"}) || office.Joins != "show" ||
		office.History != History(7*day) || !slices.Equal(office.CipherSuites, []CipherSuite{0xf101, 1}) || office.Peers == nil || len(office.Peers) != 0 ||
		office.Notice.Content != secretValue+"\r\n" || office.Notice.File != "/etc/mimigate/datenschutz.txt" {
		t.Errorf("%+v", office)
	}
	// Design §10: no history, bodies deleted once delivered, ids kept for 365 days.
	if def.ID != DefaultPolicy || def.History != 0 || def.Retention.Body != 0 || def.Retention.IDs != 365*day || def.Peers != nil || def.Networks != nil {
		t.Errorf("%+v", def)
	}
	open.ID, open.At, open.Peers = def.ID, def.At, nil
	if fmt.Sprintf("%+v", open) != fmt.Sprintf("%+v", def) {
		t.Errorf("a policy without keys: %+v\nthe default: %+v", open, def)
	}
	r := c.Rooms[0]
	if r.Policy != DefaultPolicy || r.Bind[0].Direction != Both || r.Bind[0].Chat != (Chat{"matrix-home", "#familie:example.org"}) ||
		r.Bind[1].Direction != Out || r.Bind[1].Chat.ID != "familie@rooms.example.org/nick" {
		t.Errorf("%+v", r)
	}
	if p := c.Peers[0]; p.Domain.Domain() != "chat.klinik.example" || p.CA.Content != certificate || p.May != (May{"deny", "deny", 500e6}) {
		t.Errorf("%+v", p)
	}
	for at, want := range map[string]Pos{"config.yaml:12": c.Accounts[0].At, "config.yaml:46": r.At, "config.yaml:48": r.Bind[0].At, "config.yaml:49": r.Bind[1].At,
		"config.yaml:55": c.Peers[0].At, "config.yaml": def.At, "config.yaml:31": c.People[0].At} {
		if want.String() != at {
			t.Errorf("at %s, want %s", want, at)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %v %+v", c, c, c, m, tc); strings.Contains(strings.ReplaceAll(text, fmt.Sprintf("%#v", office.Notice), ""), "KEYS") ||
		strings.Contains(fmt.Sprintf("%v %+v %#v", c.Provider, m, tc), secretValue) {
		t.Error("a secret is shown")
	}
}

func TestNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "provider:\nrooms:\n", "{}", "null"} {
		c := parsed(t, text)
		p := c.Provider
		if !p.Domain.IsZero() || p.Store != "/var/lib/mimigate" || p.MasterKey.File != "/var/lib/mimigate.key" || p.Listen != ":8443" || p.Language != "en" ||
			len(c.Policies) != 1 || len(c.Rooms) != 0 || len(c.Admins.People) != 0 {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// What is wrong is told with its line, all at once and each thing once.
func TestProblems(t *testing.T) {
	const account = "accounts: [{id: m, network: matrix, homeserver: h}]\n"
	for _, c := range []struct{ text, want string }{
		// unknown keys and values
		{"porvider:\n  domain: a.example", `1: unknown key "porvider"; did you mean provider?`},
		{"provider:\n  Master-Key: env:X", `2: provider: unknown key "Master-Key"; did you mean master_key?`},
		{"provider:\n  zzzzzz: 1", `2: provider: unknown key "zzzzzz"; there are: domain, listen, store, files, master_key, monitor, language`},
		{"accounts:\n- id: m\n  network: matrix\n  homserver: h", `4: accounts: unknown key "homserver"; did you mean homeserver?`},
		{"accounts:\n- id: m\n  network: matrxi\n  homserver: h", `3: accounts.network: unknown network "matrxi"; did you mean matrix?`},
		{"accounts:\n- id: m\n  homeserver: h", `2: accounts: an account needs its network: one of matrix, test, xmpp`},
		{"accounts:\n- id: m\n  network: matrix\n  mode: apservice", `4: accounts.mode: "apservice" is none of: appservice, bot`},
		{"accounts:\n- id: t\n  network: test\n  nested: {dep: x}", `4: accounts.nested: unknown key "dep"; did you mean deep?`},
		{account + "rooms:\n- id: a\n  bind: [{chat: m/x, direction: inn}]", `4: rooms.bind.direction: "inn" is none of: both, in, out`},
		{"? [a]\n: b", `1: a key must be a word`},
		// types
		{"provider: x", `1: provider: want keys with values, each on a line of its own: key: value`},
		{"provider: [x]", `1: provider: want keys with values, each on a line of its own: key: value`},
		{"rooms: x", `1: rooms: want a list: lines that begin with a dash, or [a, b]`},
		{"- a\n- b", `1: want keys with values, each on a line of its own: key: value`},
		{"provider: {store: [a]}", `1: provider.store: want a single value`},
		{"provider: {store: !secret a}", `1: provider.store: want a single value`},
		{"provider: {store: !!binary aGk=}", `1: provider.store: want a single value`},
		{"rooms:\n-\n", `2: rooms: an item without a value`},
		{"accounts:\n- x\n", `2: accounts: want keys with values, each on a line of its own: key: value`},
		{"accounts:\n- {id: t, network: test, flag: 1, count: a, port: 65536, names: b, nested: c}",
			"2: accounts.flag: want true or false\n2: accounts.count: want a whole number\n2: accounts.port: want a whole number from 0 to 65535\n" +
				"2: accounts.names: want a list: lines that begin with a dash, or [a, b]\n2: accounts.nested: want keys with values, each on a line of its own: key: value"},
		{"accounts:\n- {id: x, network: xmpp, idle: 3 weeks}", `2: accounts.idle: want a length of time such as 90s, 12h or 7d`},
		{"policies:\n- id: p\n  media: {max: big}", `3: policies.media.max: want a size such as 500kB, 100MB or 2GB`},
		{"policies:\n- id: p\n  history: all", `3: policies.history: want none, or a length of time such as 12h or 7d`},
		{"policies:\n- id: p\n  retention: {body: 0s}", `3: policies.retention.body: want delivered, or a length of time such as 12h or 7d`},
		{"policies:\n- id: p\n  cipher_suites: [1, 4]", `3: policies.cipher_suites: this version does not know the cipher suite 4; it knows: MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, MLS_128_DHKEMP256_AES128GCM_SHA256_P256, PQ`},
		{"policies:\n- id: p\n  cipher_suites: [PK]", `3: policies.cipher_suites: unknown cipher suite; did you mean PQ?`},
		{"provider: {domain: example.org/x}", `1: provider.domain: want a domain, such as chat.example.org`},
		{"provider: {domain: 127.0.0.1}", `1: provider.domain: want a domain, such as chat.example.org`},
		{account + "admins: {people: [fuchs], tell: m}", "2: admins.people: want network:id, such as matrix:@inge:example.org\n2: admins.tell: want account/chat, such as matrix-home/#familie:example.org"},
		// YAML
		{"provider:\n  domain: a.example\n domain: b", `2: no YAML: did not find expected key`},
		{"a: [", `1: no YAML: did not find expected node content`},
		{"provider: &x {}\nrooms: *x", "1: provider: anchors (&) and aliases (*) are not supported: write it out\n2: rooms: anchors (&) and aliases (*) are not supported: write it out"},
		{"provider: {}\n---\nrooms: []", `2: a second document begins here: remove the line of dashes`},
		{"provider: {language: de}\nprovider: {}", `2: provider: given twice, first at config.yaml:1`},
		{"provider: {language: de, language: fr}", `1: provider.language: given twice, first at config.yaml:1`},
		// meaning
		{"provider: {listen: 8443}", `1: provider.listen: want host:port, or :port for all addresses of this machine`},
		{"provider: {listen: ':0'}", `1: provider.listen: want host:port, or :port for all addresses of this machine`},
		{"provider: {language: english!}", `1: provider.language: want a language such as de or pt-BR`},
		{"provider: {store: /s, master_key: file:/s/key}", `1: provider.master_key: the file is inside /s, so that backups would hold the key: keep it elsewhere`},
		{"provider: {store: 'postgres://u:secret@h/d'}", `1: provider.store: a password is not written here: write env:NAME, file:/path or systemd:NAME, which says where the whole URL is`},
		{"provider: {store: 'postgres://u@h/d?password=secret'}", `1: provider.store: a password is not written here: write env:NAME, file:/path or systemd:NAME, which says where the whole URL is`},
		{"provider: {store: 'mysql://h/d'}", `1: provider.store: want a directory, or postgres://user@host/database`},
		{"provider: {store: 'env:UNSET'}", `1: provider.store: the environment variable UNSET is not set`},
		{"provider: {store: 'env:WRONG'}", `1: provider.store: want a directory, or postgres://user@host/database`},
		{"provider: {store: /s, files: /f}", `1: provider.files: the files are in the store /s: leave this out, or make it the same`},
		{"provider: {store: 'postgres://h/d', files: /f, master_key: file:/f/key}", `1: provider.master_key: the file is inside /f, so that backups would hold the key: keep it elsewhere`},
		{"provider: {store: ''}", `1: provider.store: want a directory, or postgres://…`},
		{"rooms:\n- name: x", `2: rooms: each of rooms needs an id: a name of your own`},
		{"rooms:\n- id: x\n- id: y\n- id: x", `4: rooms.id: "x" is the id of another one, at config.yaml:2`},
		{"rooms:\n- id: A b", `2: rooms.id: "A b": an id has 1 to 64 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit`},
		{"rooms:\n- id: ../x", `2: rooms.id: "../x": an id has 1 to 64 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit`},
		{account + "rooms:\n- id: a\n  bind:\n  - n/x", `5: rooms.bind: unknown account "n"; did you mean m?`},
		{account + "rooms:\n- id: a\n  bind:\n  - m/x\n  - m/x", `6: rooms.bind: m/x is bound to this room twice`},
		{account + "rooms:\n- id: a\n  bind: [m/x]\n- id: b\n  bind: [m/x]", `6: rooms.bind: m/x is bound already, at config.yaml:4: the messages of a chat go into one room only; give one of them direction: out`},
		{account + "rooms:\n- id: a\n  bind: [{direction: in}]", `4: rooms.bind: a binding needs its chat: account/chat`},
		{account + "rooms:\n- id: a\n  policy: p", `4: rooms.policy: unknown policy "p"; there are: default`},
		{account + "policies: [{id: p, networks: [xmpp]}]\nrooms:\n- id: a\n  policy: p\n  bind: [m/x]", `6: rooms.bind: the room's policy p does not allow the network matrix, only: xmpp`},
		{"policies: [{id: p, networks: [irc]}]", `1: policies.networks: unknown network "irc"; there are: matrix, test, xmpp`},
		{"policies: [{id: p, peers: [x]}]", `1: policies.peers: unknown peer "x"; there is none`},
		{"policies: [{id: p, retention: {ids: 1d}}]", `1: policies.retention.ids: 1d is shorter than undelivered (7d): what is delivered late could not be recognised`},
		{"policies: [{id: p, retention: {media: 0s}, media: {max: 0}, cipher_suites: []}]", "1: policies.retention.media: must be more than 0\n1: policies.media.max: must be more than 0\n1: policies.cipher_suites: must name at least one"},
		{"people:\n- name: a\n  is: ['matrix:@a:b', 'irc:c']\n- name: b\n  is: ['matrix:@a:b']\n- name: c", "3: people.is: unknown network \"irc\"; there are: matrix, test, xmpp\n5: people.is: this id is given already, at config.yaml:3: it is one person\n6: people: needs \"is\": the ids of the person, as network:id"},
		{"people:\n- {name: a, handle: Ann, is: ['matrix:@a:b']}\n- {name: b, handle: gateway, is: ['matrix:@b:b']}\n- {name: c, handle: c, is: ['matrix:@c:b']}\n- {name: d, handle: c, is: ['matrix:@d:b']}",
			"2: people.handle: want 1 to 64 of a-z, 0-9 and . _ - (the first no . _ -), and not \"gateway\"\n3: people.handle: want 1 to 64 of a-z, 0-9 and . _ - (the first no . _ -), and not \"gateway\"\n5: people.handle: another person has this handle, at config.yaml:4"},
		{"admins: {people: ['martix:@a:b'], tell: m/x}", "1: admins.people: unknown network \"martix\"; did you mean matrix?\n1: admins.tell: unknown account \"m\"; there is none"},
		{"peers: [{id: p, domain: a.example}]", `1: peers: peers need provider.domain: the domain that they know this gateway by`},
		{"provider: {domain: a.example}\npeers:\n- {id: p, domain: a.example}\n- {id: q}\n- {id: r, domain: b.example}\n- {id: s, domain: B.example, ca: file:x}",
			"3: peers.domain: this is our own domain\n4: peers: a peer needs its domain\n6: peers.domain: another peer has this domain, at config.yaml:5\n6: peers.ca: holds no certificate in PEM form"},
		{"federation: {url: 'http://x.example'}", "1: federation.url: want a URL such as https://mimi.example.org:8443"},
		{"federation: {key: /k.pem}", "1: federation: certificate and key go together"},
		{"provider: {domain: a.example}\npeers: [{id: b, domain: b.example, url: 'https://b.example/x'}]", "2: peers.url: want a URL such as https://mimi.example.org:8443"},
		{"provider: {domain: a.example}\npolicies: [{id: p, peers: []}]\nrooms:\n- id: x\n  policy: p\n  invite: ['mimi://b.example/u/x']", "6: rooms.invite: the room's policy p does not allow the domain b.example"},
		{"provider: {domain: a.example}\nrooms:\n- id: x\n  invite: ['mimi://a.example/u/x', 'mimi://b.example/u/x', 'https://x']", "4: rooms.invite: not a mimi:// URI"},
		{"provider: {domain: a.example}\npeers: [{id: p, domain: b.example}]\npolicies: [{id: x, peers: []}]\nrooms: [{id: r, policy: x, invite: ['mimi://b.example/u/x']}]", `4: rooms.invite: the room's policy x does not allow the peer p`},
		// one cause, one problem
		{"provider: {domain: a.example}\npeers:\n- {id: p, domian: b.example}", `3: peers: unknown key "domian"; did you mean domain?`},
		{"accounts:\n- id: m\n  network: matrxi\nrooms:\n- id: a\n  bind: [m/x]", `3: accounts.network: unknown network "matrxi"; did you mean matrix?`},
		{"accounts: x\nrooms:\n- id: a\n  bind: [m/x]", `1: accounts: want a list: lines that begin with a dash, or [a, b]`},
		{account + "rooms:\n- id: a\n  bind: [m, m]", "4: rooms.bind: want account/chat, such as matrix-home/#familie:example.org\n4: rooms.bind: want account/chat, such as matrix-home/#familie:example.org"},
	} {
		_, err := parse("config.yaml", []byte(c.text), nil, testOptions())
		var got Problems
		if !errors.As(err, &got) {
			t.Errorf("%s\nwas taken, or failed otherwise: %v", c.text, err)
			continue
		}
		want := strings.Split(c.want, "\n")
		have := strings.Split(err.Error(), "\n")
		for i := range want {
			want[i] = "config.yaml:" + want[i]
		}
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(have, want) {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", c.text, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A database's URL may be kept elsewhere, as there may be a password in it; everything else then has a place of its own.
func TestStoreElsewhere(t *testing.T) {
	o := testOptions()
	o.Getenv = func(string) (string, bool) { return "postgres://u:secret@h/d", true }
	c, err := parse("/etc/mimigate/config.yaml", []byte("provider: {store: 'env:STORE'}"), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Provider; p.Store != "postgres://u:secret@h/d" || p.Files != "/var/lib/mimigate" || p.MasterKey.File != "/var/lib/mimigate.key" {
		t.Errorf("%+v", p)
	}
	c = parsed(t, "provider: {store: 'postgres://u@h/d', files: /f}")
	if p := c.Provider; p.Store != "postgres://u@h/d" || p.Files != "/f" || p.MasterKey.File != "/f.key" {
		t.Errorf("%+v", p)
	}
}

func TestProblemsAreInOrder(t *testing.T) {
	_, err := parse("config.yaml", []byte("rooms:\n- id: a\n  policy: none\naccounts:\n- id: x\n  network: matrix\n  mod: x\nprovider:\n  langauge: de\n"), nil, testOptions())
	var got Problems
	if !errors.As(err, &got) || len(got) != 3 || got[0].At.Line != 3 || got[1].At.Line != 7 || got[2].At.Line != 9 {
		t.Errorf("%v", err)
	}
}

// A secret stands elsewhere. Where nothing is there, its account cannot be used, and the others can.
func TestSecrets(t *testing.T) {
	for _, c := range []struct{ ref, wrong, unusable string }{
		{"file:/x", "", ""}, {"file:x", "", ""}, {"env:X", "", ""},
		{secretValue, errNoReference.Error(), ""},
		{"'file:'", "want file: and a path", ""},
		{"'env:'", "want env: and the name of an environment variable", ""},
		{"'env:A B'", "want env: and the name of an environment variable", ""},
		{"systemd:a/b", "want systemd: and the name of a credential", ""},
		{"systemd:..", "want systemd: and the name of a credential", ""},
		{"[file:/x]", "want a single value", ""},
		{"file:missing", "", "there is no file /etc/m/missing"},
		{"file:forbidden", "", "this user may not read the file /etc/m/forbidden"},
		{"file:/huge", "", "the file /huge has more than 1048576 octets"},
		{"file:/empty", "", "file:/empty is empty"},
		{"env:UNSET", "", "the environment variable UNSET is not set"},
		{"systemd:key", "", "systemd gave no credentials to this process: add LoadCredential=key:/path to its unit"},
	} {
		text := "accounts:\n- id: m\n  network: matrix\n  token: " + c.ref + "\n- id: n\n  network: matrix\n"
		cfg, err := parse("/etc/m/config.yaml", []byte(text), nil, testOptions())
		if c.wrong != "" {
			if err == nil || err.Error() != "/etc/m/config.yaml:4: accounts.token: "+c.wrong || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", c.ref, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.ref, err)
			continue
		}
		m, n := cfg.Accounts[0], cfg.Accounts[1]
		if len(n.Problems) != 0 {
			t.Errorf("%s: the other account has %v", c.ref, n.Problems)
		}
		if c.unusable == "" {
			if got := m.Config.(*matrixConfig).Token.Reveal(); got != secretValue || len(m.Problems) != 0 {
				t.Errorf("%s: %d octets, %v", c.ref, len(got), m.Problems)
			}
			continue
		}
		if got := m.Problems.Error(); got != "/etc/m/config.yaml:4: accounts.token: "+c.unusable || m.Config.(*matrixConfig).Token != "" {
			t.Errorf("%s: %s", c.ref, got)
		}
	}
	// What everything needs is a problem of everything.
	for _, text := range []string{"provider: {master_key: env:UNSET}", "policies: [{id: p, notice: file:missing}]"} {
		if _, err := parse("config.yaml", []byte(text), nil, testOptions()); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	c, err := parse("config.yaml", []byte("provider: {domain: a.example}\npeers: [{id: p, domain: b.example, ca: file:missing}]"), nil, testOptions())
	if err != nil || len(c.Peers[0].Problems) != 1 {
		t.Errorf("a peer's missing file: %v, %+v", err, c)
	}
}

func TestCredential(t *testing.T) {
	o := testOptions()
	o.Getenv = func(name string) (string, bool) { return "/run/credentials/x", name == credentialsDir }
	o.ReadFile = func(name string) ([]byte, error) { return []byte("from " + name), nil }
	c, err := parse("config.yaml", []byte("accounts: [{id: m, network: matrix, token: systemd:token}]"), nil, o)
	if err != nil || c.Accounts[0].Config.(*matrixConfig).Token.Reveal() != "from /run/credentials/x/token" {
		t.Errorf("%v, %+v", err, c)
	}
}

func TestDeprecatedKeys(t *testing.T) {
	c := parsed(t, "accounts:\n- id: t\n  network: test\n  switch: true\n  nested:\n    depth: word\n")
	if tc := c.Accounts[0].Config.(*testConfig); !tc.Flag || tc.Nested.Deep != "word" {
		t.Errorf("%+v", tc)
	}
	want := "config.yaml:4: accounts.switch: this key is now called flag: rename it\nconfig.yaml:6: accounts.nested.depth: this key is now called deep: rename it"
	if got := c.Warnings.Error(); got != want {
		t.Error(got)
	}
	_, err := parse("config.yaml", []byte("accounts:\n- id: t\n  network: test\n  switch: true\n  flag: false\n"), nil, testOptions())
	if err == nil || err.Error() != "config.yaml:5: accounts.flag: given twice, first at config.yaml:4" {
		t.Errorf("both names: %v", err)
	}
}

// A driver's own error about a key is told at the key's line.
func TestAccountProblem(t *testing.T) {
	a := parsed(t, "accounts:\n- id: t\n  network: test\n  nested:\n    deep: x\n").Accounts[0]
	cause := errors.New("cause")
	for _, c := range []struct {
		err  error
		want string
	}{
		{cause, "config.yaml:2: account t: cause"},
		{fmt.Errorf("test: %w", &adapter.KeyError{Key: "nested.deep", Err: cause}), "config.yaml:5: account t: nested.deep: cause"},
		{&adapter.KeyError{Key: "nested.key", Err: cause}, "config.yaml:4: account t: nested.key: cause"},
		{&adapter.KeyError{Key: "count", Err: cause}, "config.yaml:2: account t: count: cause"},
	} {
		if got := a.Problem(c.err).String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	home, work := filepath.Join(dir, "home"), filepath.Join(dir, "work")
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("MIMIGATE_CONFIG", "")
	write := func(name, language string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("provider: {language: "+language+"}\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	load := func(path, want string) {
		t.Helper()
		o := testOptions()
		o.Path = path
		c, err := Load(o)
		if err != nil || c.Provider.Language != want {
			t.Errorf("%v, %+v; want the language %s", err, c, want)
		}
	}
	write(filepath.Join(work, "readme.txt"), "zz")
	t.Chdir(work)
	if _, err := Load(testOptions()); !errors.Is(err, ErrNoFile) || !strings.Contains(err.Error(), home) {
		t.Errorf("no file: %v", err)
	}
	write(filepath.Join(home, "mimigate", "config.yaml"), "aa")
	load("", "aa")
	write(filepath.Join(work, "config.yaml"), "bb")
	load("", "bb")
	write(filepath.Join(dir, "other.yml"), "cc")
	load("../other.yml", "cc")
	t.Setenv("MIMIGATE_CONFIG", filepath.Join(dir, "other.yml"))
	load("", "cc")
	load("config.yaml", "bb")
	t.Setenv("MIMIGATE_PROVIDER_LANGUAGE", "dd")
	load("", "dd")
	t.Setenv("MIMIGATE_CONFIG", filepath.Join(dir, "none.yaml"))
	if _, err := Load(testOptions()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	t.Setenv("MIMIGATE_CONFIG", "")
	if err := os.WriteFile("config.yaml", []byte("a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(testOptions()); err == nil || !strings.Contains(err.Error(), "config.yaml:1: no YAML") {
		t.Errorf("a file that is no YAML: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"MIMIGATE_PROVIDER_DOMAIN": "a.example", "MIMIGATE_PROVIDER_MASTER_KEY": "file:/k",
		"MIMIGATE_ADMINS_TELL": "m/x", "MIMIGATE_PROVIDER_STORE": "", "MIMIGATE_ROOMS": "x", "MIMIGATE_OTHER": "y"} {
		t.Setenv(name, value)
	}
	env := environment()
	if fmt.Sprint(env) != "map[admins.tell:m/x provider.domain:a.example provider.master_key:file:/k]" {
		t.Errorf("%v", env)
	}
	const account = "accounts: [{id: m, network: matrix}]\n"
	for _, text := range []string{account, account + "provider:\n", account + "provider: {domain: b.example}\nadmins: {tell: n/y}"} {
		c, err := parse("config.yaml", []byte(text), env, testOptions())
		if err != nil || c.Provider.Domain.Domain() != "a.example" || c.Admins.Tell.Account != "m" || c.Provider.MasterKey.File != "/k" {
			t.Errorf("%s: %v, %+v", text, err, c)
		}
	}
	env["provider.domain"], env["provider.listen"] = "no domain", "null"
	_, err := parse("config.yaml", []byte(account), env, testOptions())
	if want := "MIMIGATE_PROVIDER_DOMAIN: provider.domain: want a domain, such as chat.example.org\n" +
		"MIMIGATE_PROVIDER_LISTEN: provider.listen: want host:port, or :port for all addresses of this machine"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if _, err := parse("config.yaml", []byte("provider: [x]"), env, testOptions()); err == nil {
		t.Error("the environment hid a problem of the file")
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := parse("config.yaml", []byte(strings.Repeat("#", fileMax+1)), nil, testOptions()); err == nil {
		t.Error("no error")
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "0B": 0, "1B": 1, "500kB": 500e3, "500 KB": 500e3, "100MB": 100e6, "2GB": 2e9, "2GiB": 2 << 30, "1KiB": 1024, "8388607TiB": math.MaxInt64 - (1<<40 - 1)} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "1", "MB", "-1MB", "+1MB", "1.5MB", "1 MB ", "1XB", "8388608TiB", "99999999999999999999B", "0x10B"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q was taken", text)
		}
	}
	for text, want := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "1d": day, "365d": 365 * day, "1d12h": 36 * time.Hour, "0d5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "106751d": 106751 * day} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "d", "-1d", "-1h", "1d-1h", "1d+1h", "+1d", "1.5d", "1h1d", "1d1d", "106752d", "106751d24h", "1w", "3 weeks"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("length %q was taken as %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", day: "1d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m", time.Second: "1s", 10 * time.Minute: "10m", 20 * time.Hour: "20h"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, s := range []string{"1d12h", "90s", "100MB", "2GiB", "0", "none", "delivered", "a/b", "a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDuration(text); err == nil {
			if again, err := parseDuration(formatDuration(d)); err != nil || again != d || d < 0 {
				t.Fatalf("%q is %v, and that is %v, %v", text, d, again, err)
			}
		}
		var s, s2 Size
		if s.UnmarshalText([]byte(text)) == nil && (s2.UnmarshalText([]byte(s.String())) != nil || s2 != s || s < 0) {
			t.Fatalf("%q is %d, and that is %d", text, s, s2)
		}
		var c, c2 Chat
		if c.UnmarshalText([]byte(text)) == nil && (c.String() != text || c2.UnmarshalText([]byte(c.String())) != nil || c2 != c) {
			t.Fatalf("%q: %+v", text, c)
		}
		var p PersonRef
		if p.UnmarshalText([]byte(text)) == nil && p.String() != text {
			t.Fatalf("%q: %+v", text, p)
		}
	})
}

// Whatever is in the file: no panic, either a configuration or problems with their places, and no secret is told.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	for _, name := range exampleNames {
		text, err := exampleFiles.ReadFile("examples/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, s := range []string{"", "a: &a [*a]", "<<: {}", "? ? a", "accounts: [{network: test, nested: {key: file:}}]", "provider: {master_key: " + secretValue + "}", "\xff", "- - -", "!!map {}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("config.yaml", []byte(text), map[string]string{"provider.language": "de"}, testOptions())
		var problems Problems
		if (c == nil) == (err == nil) || err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("%v, %v", c, err)
		}
		for _, p := range problems {
			if p.At.Line < 0 || p.At.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029")+2 || p.Text == "" {
				t.Fatalf("%v", p)
			}
		}
		if !strings.Contains(text, secretValue) && strings.Contains(fmt.Sprint(err), secretValue) {
			t.Fatalf("a secret is told: %v", err)
		}
		if err == nil && (len(c.Policies) == 0 || c.Provider.Language != "de") {
			t.Fatalf("%+v", c)
		}
	})
}
