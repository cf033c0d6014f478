package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mimigate/core/uri"
)

// ids are words of our own: parts of addresses, directories and keys.
var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

const idRule = "an id has 1 to 64 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit"

// CheckID says what is wrong with an id of an account, room, policy or peer; nil: nothing.
func CheckID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%q: %s", id, idRule)
	}
	return nil
}

// languageForm is the shape of a language tag (RFC 5646 §2.1); which languages there are, the notices know.
var languageForm = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$`)

// check checks what a type alone cannot, and fills in defaults that depend on other keys.
func (d *decoder) check(c *Config) {
	d.checkProvider(c)
	d.checkIDs(c)
	if !slices.ContainsFunc(c.Policies, func(p Policy) bool { return p.ID == DefaultPolicy }) {
		p := Policy{}
		p.defaults()
		p.ID, p.At = DefaultPolicy, Pos{File: c.File}
		c.Policies = append(c.Policies, p)
	}
	for i, p := range c.Admins.People {
		if p == (PersonRef{}) {
			continue // told already
		}
		d.checkPerson(p, fmt.Sprintf("admins.people[%d]", i))
	}
	if c.Admins.Tell != (Chat{}) {
		d.checkAccountOf(c, c.Admins.Tell, "admins.tell")
	}
	d.checkPeople(c)
	for i := range c.Policies {
		d.checkPolicy(c, &c.Policies[i], fmt.Sprintf("policies[%d]", i))
	}
	d.checkFederation(&c.Federation)
	d.checkPeers(c)
	d.checkRooms(c)
}

// wrong tells a problem at a key, or at the nearest key around it that is in the file. Where something at or below the key could
// not even be decoded, that was told, and mending it may mend this.
func (d *decoder) wrong(path, format string, args ...any) {
	for bad := range d.bad {
		if rest, ok := strings.CutPrefix(bad, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	at := Pos{File: d.file}
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if found, ok := d.keys[p]; ok {
			at = found
			break
		}
	}
	d.problems = append(d.problems, d.told(at, path, format, args...))
}

func (d *decoder) checkProvider(c *Config) {
	p := &c.Provider
	if _, port, err := net.SplitHostPort(p.Listen); err != nil || !validPort(port) {
		d.wrong("provider.listen", "want host:port, or :port for all addresses of this machine")
	}
	if _, port, err := net.SplitHostPort(p.Monitor); p.Monitor != "" && (err != nil || !validPort(port)) {
		d.wrong("provider.monitor", "want host:port, such as 127.0.0.1:9464")
	}
	if !languageForm.MatchString(p.Language) {
		d.wrong("provider.language", "want a language such as de or pt-BR")
	}
	d.checkStore(p)
}

// checkStore settles where the store, its files and its master key are.
func (d *decoder) checkStore(p *Provider) {
	for _, prefix := range []string{filePrefix, envPrefix, systemdPrefix} {
		if strings.HasPrefix(p.Store, prefix) {
			url, err := d.secret(p.Store)
			if err != nil {
				d.wrong("provider.store", "%v", err)
				return
			}
			p.Store = url
			d.checkServer(p, true)
			return
		}
	}
	switch {
	case p.Store == "":
		d.wrong("provider.store", "want a directory, or postgres://…")
	case strings.Contains(p.Store, "://"):
		d.checkServer(p, false)
	default:
		p.Store = d.path(p.Store)
		if p.Files != "" && d.path(p.Files) != p.Store {
			d.wrong("provider.files", "the files are in the store %s: leave this out, or make it the same", p.Store)
		}
		p.Files = p.Store
		d.checkMasterKey(p)
	}
}

// checkServer settles the rest for a store that is a database on a server. secret: its URL may hold a password.
func (d *decoder) checkServer(p *Provider, secret bool) {
	u, err := url.Parse(p.Store)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		d.wrong("provider.store", "want a directory, or postgres://user@host/database") // and never quote it
		return
	}
	if _, has := u.User.Password(); (has || u.Query().Has("password")) && !secret {
		d.wrong("provider.store", "a password is not written here: write env:NAME, file:/path or systemd:NAME, which says where the whole URL is")
	}
	if p.Files == "" {
		p.Files = defaultFiles
	}
	p.Files = d.path(p.Files)
	d.checkMasterKey(p)
}

func (d *decoder) checkMasterKey(p *Provider) {
	if p.MasterKey == (KeyRef{}) {
		p.MasterKey.File = filepath.Clean(p.Files) + ".key"
	}
	if inside(p.MasterKey.File, p.Files) {
		d.wrong("provider.master_key", "the file is inside %s, so that backups would hold the key: keep it elsewhere", p.Files)
	}
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func inside(file, dir string) bool {
	rel, err := filepath.Rel(dir, file)
	return file != "" && err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// checkIDs checks the ids of all lists that have some.
func (d *decoder) checkIDs(c *Config) {
	for _, list := range []struct {
		name string
		n    int
		id   func(i int) string
	}{
		{"accounts", len(c.Accounts), func(i int) string { return c.Accounts[i].ID }},
		{"policies", len(c.Policies), func(i int) string { return c.Policies[i].ID }},
		{"rooms", len(c.Rooms), func(i int) string { return c.Rooms[i].ID }},
		{"peers", len(c.Peers), func(i int) string { return c.Peers[i].ID }},
	} {
		first := map[string]string{}
		for i := range list.n {
			path, id := fmt.Sprintf("%s[%d]", list.name, i), list.id(i)
			switch before, twice := first[id]; {
			case id == "":
				d.wrong(path, "each of %s needs an id: a name of your own", list.name)
			case CheckID(id) != nil:
				d.wrong(path+".id", "%v", CheckID(id))
			case twice:
				d.wrong(path+".id", "%q is the id of another one, at %s", id, d.keys[before])
			default:
				first[id] = path
			}
		}
	}
}

func (d *decoder) checkPerson(p PersonRef, path string) {
	if _, ok := d.opts.Drivers[p.Network]; !ok {
		d.wrong(path, "unknown network %q%s", p.Network, didYouMean(p.Network, d.networks()))
	}
}

// handleForm is what the last part of a readable address may be; gateway is taken by the gateway itself.
var handleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

const gatewayHandle = "gateway"

func (d *decoder) checkPeople(c *Config) {
	first := map[PersonRef]string{}
	handles := map[string]string{}
	for i, p := range c.People {
		path := fmt.Sprintf("people[%d]", i)
		if before, twice := handles[p.Handle]; p.Handle != "" && twice {
			d.wrong(path+".handle", "another person has this handle, at %s", d.keys[before])
		} else if p.Handle == gatewayHandle || p.Handle != "" && !handleForm.MatchString(p.Handle) {
			d.wrong(path+".handle", "want 1 to 64 of a-z, 0-9 and . _ - (the first no . _ -), and not %q", gatewayHandle)
		}
		handles[p.Handle] = path + ".handle"
		if len(p.Is) == 0 {
			d.wrong(path, "needs \"is\": the ids of the person, as network:id")
		}
		for j, ref := range p.Is {
			path := fmt.Sprintf("%s.is[%d]", path, j)
			if ref == (PersonRef{}) {
				continue // told already
			}
			d.checkPerson(ref, path)
			if before, ok := first[ref]; ok {
				d.wrong(path, "this id is given already, at %s: it is one person", d.keys[before])
				continue
			}
			first[ref] = path
		}
	}
}

func (d *decoder) checkPolicy(c *Config, p *Policy, path string) {
	r := p.Retention
	for _, key := range []struct {
		name   string
		length time.Duration
	}{{"media", r.Media}, {"ids", r.IDs}, {"undelivered", r.Undelivered}} {
		if key.length == 0 {
			d.wrong(path+".retention."+key.name, "must be more than 0")
		}
	}
	if r.IDs < r.Undelivered {
		d.wrong(path+".retention.ids", "%s is shorter than undelivered (%s): what is delivered late could not be recognised",
			formatDuration(r.IDs), formatDuration(r.Undelivered))
	}
	if p.Media.Max == 0 {
		d.wrong(path+".media.max", "must be more than 0")
	}
	if len(p.CipherSuites) == 0 {
		d.wrong(path+".cipher_suites", "must name at least one")
	}
	for i, name := range p.Networks {
		if _, ok := d.opts.Drivers[name]; !ok {
			d.wrong(fmt.Sprintf("%s.networks[%d]", path, i), "unknown network %q%s", name, didYouMean(name, d.networks()))
		}
	}
	for i, id := range p.Peers {
		if known := peerIDs(c); !slices.Contains(known, id) {
			d.wrong(fmt.Sprintf("%s.peers[%d]", path, i), "unknown peer %q%s", id, didYouMean(id, known))
		}
	}
}

func peerIDs(c *Config) []string {
	var ids []string
	for _, p := range c.Peers {
		ids = append(ids, p.ID)
	}
	return ids
}

func (d *decoder) checkFederation(f *Federation) {
	if f.URL != "" && !providerURL(f.URL) {
		d.wrong("federation.url", wantURL)
	}
	if (f.Certificate == "") != (f.Key == "") {
		d.wrong("federation", "certificate and key go together")
	}
	for _, file := range []*string{&f.Certificate, &f.Key} {
		if *file != "" {
			*file = d.path(*file)
		}
	}
}

const wantURL = "want a URL such as https://mimi.example.org:8443"

// providerURL reports whether a text is a URL of a provider: https, a host, perhaps a port, and nothing else.
func providerURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && strings.Trim(u.Path, "/") == ""
}

func (d *decoder) checkPeers(c *Config) {
	if len(c.Peers) > 0 && c.Provider.Domain.IsZero() {
		d.wrong("peers", "peers need provider.domain: the domain that they know this gateway by")
	}
	first := map[uri.Provider]string{}
	for i, p := range c.Peers {
		path := fmt.Sprintf("peers[%d]", i)
		switch before, twice := first[p.Domain]; {
		case p.Domain.IsZero():
			d.wrong(path, "a peer needs its domain")
		case p.Domain == c.Provider.Domain:
			d.wrong(path+".domain", "this is our own domain")
		case twice:
			d.wrong(path+".domain", "another peer has this domain, at %s", d.keys[before])
		}
		if !p.Domain.IsZero() {
			first[p.Domain] = path
		}
		if p.URL != "" && !providerURL(p.URL) {
			d.wrong(path+".url", wantURL)
		}
		if len(p.Problems) == 0 && p.CA != (Text{}) && !certificates(p.CA.Content) {
			d.wrong(path+".ca", "holds no certificate in PEM form")
		}
	}
}

// certificates reports whether a text is one or more certificates in PEM form.
func certificates(text string) bool {
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n > 0
		}
		if _, err := x509.ParseCertificate(block.Bytes); block.Type != "CERTIFICATE" || err != nil {
			return false
		}
		n++
	}
}

// checkAccountOf returns the account of a chat, and tells where there is none.
func (d *decoder) checkAccountOf(c *Config, chat Chat, path string) (Account, bool) {
	var ids []string
	for _, a := range c.Accounts {
		if a.ID == chat.Account {
			return a, true
		}
		ids = append(ids, a.ID)
	}
	if chat == (Chat{}) || d.bad["accounts"] {
		return Account{}, false // told already
	}
	d.wrong(path, "unknown account %q%s", chat.Account, didYouMean(chat.Account, ids))
	return Account{}, false
}

func (d *decoder) checkRooms(c *Config) {
	readBy := map[Chat]string{} // the binding through which a room reads a chat
	for i, r := range c.Rooms {
		path := fmt.Sprintf("rooms[%d]", i)
		var policy *Policy
		var ids []string
		for j := range c.Policies {
			if ids = append(ids, c.Policies[j].ID); c.Policies[j].ID == r.Policy {
				policy = &c.Policies[j]
			}
		}
		if policy == nil {
			d.wrong(path+".policy", "unknown policy %q%s", r.Policy, didYouMean(r.Policy, ids))
			policy = &Policy{}
		}
		here := map[Chat]bool{}
		for j, b := range r.Bind {
			path := fmt.Sprintf("%s.bind[%d]", path, j)
			d.checkBinding(c, policy, b, path)
			if b.Chat == (Chat{}) {
				continue // told already
			}
			if here[b.Chat] {
				d.wrong(path, "%s is bound to this room twice", b.Chat)
			} else if before, ok := readBy[b.Chat]; ok && b.Direction != Out {
				d.wrong(path, "%s is bound already, at %s: the messages of a chat go into one room only; give one of them direction: out",
					b.Chat, d.keys[before])
			}
			here[b.Chat] = true
			if b.Direction != Out {
				readBy[b.Chat] = path
			}
		}
		for j, u := range r.Invite {
			d.checkInvite(c, policy, u, fmt.Sprintf("%s.invite[%d]", path, j))
		}
	}
}

func (d *decoder) checkBinding(c *Config, policy *Policy, b Binding, path string) {
	a, ok := d.checkAccountOf(c, b.Chat, path)
	if ok && policy.Networks != nil && !slices.Contains(policy.Networks, a.Network) {
		d.wrong(path, "the room's policy %s does not allow the network %s, only: %s", policy.ID, a.Network, strings.Join(policy.Networks, ", "))
	}
}

func (d *decoder) checkInvite(c *Config, policy *Policy, u uri.User, path string) {
	if u.Provider() == c.Provider.Domain {
		return
	}
	for _, p := range c.Peers {
		if p.Domain != u.Provider() {
			continue
		}
		if policy.Peers != nil && !slices.Contains(policy.Peers, p.ID) {
			d.wrong(path, "the room's policy %s does not allow the peer %s", policy.ID, p.ID)
		}
		return
	}
	if policy.Peers != nil { // any other peer may have been accepted by command
		d.wrong(path, "the room's policy %s does not allow the domain %s", policy.ID, u.Domain())
	}
}
