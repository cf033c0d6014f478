package matrix

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"mimigate/core/adapter"
)

// The modes of an account.
const (
	modeAppService = "appservice"
	modeBot        = "bot"
)

// The choices for sync.
const (
	syncAuto = "auto"
	syncOn   = "on"
	syncOff  = "off"
)

// Config is the configuration of one Matrix account.
type Config struct {
	Mode         string         `yaml:"mode" doc:"Either appservice (on your own homeserver: everybody appears under their own name) or bot (an ordinary account anywhere: the author's name stands in the text)."`
	Homeserver   string         `yaml:"homeserver" doc:"Address of the homeserver's client API, such as https://matrix.example.org."`
	Registration adapter.Secret `yaml:"registration" doc:"Mode appservice: the registration file that account setup writes and the homeserver uses too, as file:/path."`
	Listen       string         `yaml:"listen" doc:"Mode appservice: host:port on which the homeserver delivers events to us."`
	URL          string         `yaml:"url" doc:"Mode appservice, for account setup only: the address of listen as the homeserver reaches it; empty is http:// and listen."`
	Prefix       string         `yaml:"prefix" doc:"Mode appservice: how the user ids of our people begin, after the @."`
	Sync         string         `yaml:"sync" doc:"Mode appservice: whether to ask the homeserver for deletions, typing and receipts that it does not deliver by itself: on, off, or auto, which finds out."`
	Token        adapter.Secret `yaml:"token" doc:"Mode bot: the account's access token, as env:NAME or file:/path; or give user and password."`
	User         string         `yaml:"user" doc:"Mode bot: the account's user id or its local part, to log in with password."`
	Password     adapter.Secret `yaml:"password" doc:"Mode bot: the account's password, as env:NAME or file:/path."`
}

func defaults() any {
	return &Config{Mode: modeAppService, Listen: "127.0.0.1:29330", Prefix: "mimi_", Sync: syncAuto}
}

// registration is what we need of an application service's registration file (Matrix Application Service API §4.1); the
// rest of what Setup writes is for the homeserver.
type registration struct {
	ID         string     `yaml:"id"`
	URL        string     `yaml:"url"`
	ASToken    string     `yaml:"as_token"`
	HSToken    string     `yaml:"hs_token"`
	Sender     string     `yaml:"sender_localpart"`
	Namespaces namespaces `yaml:"namespaces"`
}

type namespaces struct {
	Users   []namespace `yaml:"users"`
	Aliases []namespace `yaml:"aliases"`
}

type namespace struct {
	Exclusive bool   `yaml:"exclusive"`
	Regex     string `yaml:"regex"`
}

// covers reports whether an id lies in one of the namespaces. Homeservers match from the beginning of the id.
func covers(spaces []namespace, id string) bool {
	for _, n := range spaces {
		if re, err := regexp.Compile("^(?:" + n.Regex + ")"); err == nil && re.MatchString(id) {
			return true
		}
	}
	return false
}

var prefixForm = regexp.MustCompile(`^[a-z0-9._=/+-]{1,30}$`)

// settings is a checked Config.
type settings struct {
	Config
	homeserver *url.URL
	reg        registration // mode appservice only
}

func keyError(key, format string, args ...any) error {
	return &adapter.KeyError{Key: key, Err: fmt.Errorf(format, args...)}
}

// check checks a configuration. With setup, the registration may not be there yet.
func check(c Config, setup bool) (*settings, error) {
	s := &settings{Config: c}
	u, err := url.Parse(strings.TrimSuffix(c.Homeserver, "/"))
	switch {
	case c.Homeserver == "":
		return nil, keyError("homeserver", "missing: the address of the homeserver, such as https://matrix.example.org")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, keyError("homeserver", "must be http:// or https:// and a host, such as https://matrix.example.org")
	}
	s.homeserver = u
	switch c.Mode {
	case modeAppService:
		return s, s.checkAppService(setup)
	case modeBot:
		return s, s.checkBot()
	}
	return nil, keyError("mode", "%q is neither %s nor %s", c.Mode, modeAppService, modeBot)
}

func (s *settings) checkBot() error {
	switch {
	case s.Token != "" && s.Password != "":
		return keyError("password", "give token, or user and password, not both")
	case s.Token == "" && s.Password == "":
		return keyError("token", "missing: the access token of the account, or user and password")
	case s.Password != "" && s.User == "":
		return keyError("user", "missing: whose password it is")
	}
	return nil
}

func (s *settings) checkAppService(setup bool) error {
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		return keyError("listen", "must be host:port, such as 127.0.0.1:29330")
	}
	if !prefixForm.MatchString(s.Prefix) {
		return keyError("prefix", "must be 1 to 30 characters of a-z, 0-9 and ._=/+-")
	}
	switch s.Sync {
	case syncAuto, syncOn, syncOff:
	default:
		return keyError("sync", "%q is none of %s, %s, %s", s.Sync, syncAuto, syncOn, syncOff)
	}
	if s.Registration == "" {
		if setup {
			return nil
		}
		return keyError("registration", "missing: run account setup, which writes the file, and name it here")
	}
	if err := yaml.Unmarshal([]byte(s.Registration.Reveal()), &s.reg); err != nil {
		return keyError("registration", "is not the YAML of a registration")
	}
	if setup {
		return nil
	}
	return s.checkRegistration()
}

func (s *settings) checkRegistration() error {
	for _, field := range []struct{ key, value string }{
		{"id", s.reg.ID}, {"as_token", s.reg.ASToken}, {"hs_token", s.reg.HSToken}, {"sender_localpart", s.reg.Sender}} {
		if field.value == "" {
			return keyError("registration", "the file lacks %s: run account setup", field.key)
		}
	}
	for _, n := range append(s.reg.Namespaces.Users, s.reg.Namespaces.Aliases...) {
		if _, err := regexp.Compile(n.Regex); err != nil {
			return keyError("registration", "the namespace %q is not a regular expression", n.Regex)
		}
	}
	if strings.HasPrefix(s.reg.Sender, s.Prefix) {
		return keyError("prefix", "%q also begins the name of our own user, %q: one of them must differ", s.Prefix, s.reg.Sender)
	}
	return nil
}

// setup makes the registration file and says where it belongs. A registration that is there already keeps its tokens.
func setup(account adapter.Account) (adapter.Setup, error) {
	c, ok := account.Config.(*Config)
	if !ok {
		return adapter.Setup{}, errors.New("matrix: not a configuration of matrix")
	}
	s, err := check(*c, true)
	if err != nil {
		return adapter.Setup{}, err
	}
	if s.Mode == modeBot {
		return adapter.Setup{Say: []string{
			"Nothing is to be installed for mode bot: create an ordinary account, and invite it to the rooms."}}, nil
	}
	file, err := yaml.Marshal(registrationFile(s, account.ID))
	if err != nil {
		return adapter.Setup{}, fmt.Errorf("matrix: registration: %w", err)
	}
	name := "matrix-registration-" + account.ID + ".yaml"
	return adapter.Setup{
		Files: []adapter.File{{Path: name, Content: file, Secret: true}},
		Say: []string{
			"Copy the file " + name + " to the homeserver, where only the homeserver can read it.",
			"Synapse: add to homeserver.yaml, then restart Synapse:\n\napp_service_config_files:\n  - /path/to/" + name,
			"Other homeservers register application services by a command in their admin room, or a list in their configuration; the file is the same.",
			"In our configuration, account " + account.ID + ": registration: file:/path/to/" + name,
			"Then invite the bot to the rooms that are not public, and let it invite people there (Element: moderator).",
		},
	}, nil
}

// registrationFile is the whole registration, with the unstable names of what homeservers know before it is in the specification.
func registrationFile(s *settings, account string) map[string]any {
	r := s.reg
	fill := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	address := s.URL
	fill(&address, "http://"+s.Listen)
	fill(&r.ID, "mimigate-"+account)
	fill(&r.ASToken, token())
	fill(&r.HSToken, token())
	fill(&r.Sender, strings.TrimRight(s.Prefix, "_.-=/+")+"bot")
	if strings.HasPrefix(r.Sender, s.Prefix) {
		r.Sender = "gateway." + r.Sender
	}
	prefix := regexp.QuoteMeta(s.Prefix)
	return map[string]any{
		"id": r.ID, "url": address, "as_token": r.ASToken, "hs_token": r.HSToken, "sender_localpart": r.Sender,
		"rate_limited": false,
		"namespaces": map[string]any{
			"users": []namespace{
				{Exclusive: true, Regex: "@" + prefix + ".*"},
				{Exclusive: true, Regex: "@" + regexp.QuoteMeta(r.Sender) + ":.*"},
			},
			"aliases": []namespace{{Exclusive: true, Regex: "#" + prefix + ".*"}},
			"rooms":   []namespace{},
		},
		"receive_ephemeral":                  true, // MSC2409, and below its unstable name
		"de.sorunome.msc2409.push_ephemeral": true,
	}
}

// token returns 256 random bits in hexadecimal.
func token() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
