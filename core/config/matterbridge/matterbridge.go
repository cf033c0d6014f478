// Package matterbridge reads a configuration of matterbridge and says the same for mimigate, as far as it can be said.
package matterbridge

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// Imported is a configuration of mimigate, made of one of matterbridge.
type Imported struct {
	// Config is the text of the configuration file.
	Config string
	// Secrets are the files that it refers to, by their names relative to it, for their owner only.
	Secrets map[string]string
	// Not is what could not be carried over, and what is to be done, each a sentence.
	Not []string
}

// file is what we read of a matterbridge.toml; networks are tables of tables beside these.
type file struct {
	Gateway []gateway `toml:"gateway"`
	Same    []same    `toml:"samechannelgateway"`
}

type gateway struct {
	Name    string `toml:"name"`
	Enable  bool   `toml:"enable"`
	In      []end  `toml:"in"`
	Out     []end  `toml:"out"`
	InOut   []end  `toml:"inout"`
	Tengo   any    `toml:"tengo"`
	Options any    `toml:"options"`
}

type end struct {
	Account string         `toml:"account"`
	Channel string         `toml:"channel"`
	Options map[string]any `toml:"options"`
}

type same struct {
	Name     string   `toml:"name"`
	Enable   bool     `toml:"enable"`
	Accounts []string `toml:"accounts"`
	Channels []string `toml:"channels"`
}

type account struct {
	ID         string `yaml:"id"`
	Network    string `yaml:"network"`
	Mode       string `yaml:"mode,omitempty"`
	Homeserver string `yaml:"homeserver,omitempty"`
	Token      string `yaml:"token,omitempty"`
	User       string `yaml:"user,omitempty"`
	Address    string `yaml:"address,omitempty"`
	JID        string `yaml:"jid,omitempty"`
	Password   string `yaml:"password,omitempty"`
	Nick       string `yaml:"nick,omitempty"`
	muc        string // where rooms are that name no service
}

type binding struct {
	Chat      string `yaml:"chat"`
	Direction string `yaml:"direction"`
}

type room struct {
	ID   string    `yaml:"id"`
	Name string    `yaml:"name"`
	Bind []binding `yaml:"bind"`
}

// reading is one import.
type reading struct {
	accounts map[string]*account // by matterbridge's name: "xmpp.home"
	rooms    []room
	secrets  map[string]string
	not      []string
}

// Import reads the text of a matterbridge.toml. It fails where that is no TOML; all else that is wrong or cannot be said is in the result.
func Import(text []byte) (Imported, error) {
	var f file
	var tables map[string]any
	if err := toml.Unmarshal(text, &f); err != nil {
		return Imported{}, fmt.Errorf("matterbridge: %w", err)
	}
	if err := toml.Unmarshal(text, &tables); err != nil {
		return Imported{}, fmt.Errorf("matterbridge: %w", err)
	}
	r := &reading{accounts: map[string]*account{}, secrets: map[string]string{}}
	for _, network := range slices.Sorted(maps.Keys(tables)) {
		r.network(network, tables[network])
	}
	for _, g := range f.Gateway {
		r.gateway(g)
	}
	for _, s := range f.Same {
		r.same(s)
	}
	config, err := r.config()
	return Imported{Config: config, Secrets: r.secrets, Not: r.not}, err
}

func (r *reading) cannot(format string, args ...any) {
	r.not = append(r.not, fmt.Sprintf(format, args...))
}

// network reads the accounts of a network.
func (r *reading) network(network string, v any) {
	switch network {
	case "gateway", "samechannelgateway":
		return
	case "general":
		if general, ok := v.(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(general)) {
				r.cannot("general.%s: names and media are shown in mimigate's own way", key)
			}
		}
		return
	case "tengo":
		r.cannot("tengo: scripts are not carried over")
		return
	}
	all, ok := v.(map[string]any)
	if !ok {
		r.cannot("%s: not understood", network)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		keys, ok := all[name].(map[string]any)
		if !ok {
			r.cannot("%s.%s: not understood", network, name)
			continue
		}
		r.account(network, name, lower(keys))
	}
}

// lower returns keys as matterbridge takes them: whatever their case.
func lower(keys map[string]any) map[string]any {
	out := make(map[string]any, len(keys))
	for k, v := range keys {
		out[strings.ToLower(k)] = v
	}
	return out
}

func word(keys map[string]any, name string) string {
	s, _ := keys[name].(string)
	return s
}

// account reads one account.
func (r *reading) account(network, name string, keys map[string]any) {
	a := &account{ID: id(network + "-" + name), Network: network}
	used := []string{"nick", "password", "token", "login", "mxid", "server", "jid", "muc"}
	switch network {
	case "matrix":
		a.Mode, a.Homeserver, a.User = "bot", word(keys, "server"), word(keys, "login")
		if a.User == "" {
			a.User = word(keys, "mxid")
		}
		if token := word(keys, "token"); token != "" {
			a.Token, a.User = r.secret(a.ID, "token", token), ""
		}
	case "xmpp":
		a.Mode, a.Address, a.JID, a.Nick, a.muc = "client", word(keys, "server"), word(keys, "jid"), word(keys, "nick"), word(keys, "muc")
	case "whatsapp":
		r.cannot(`%s.%s: WhatsApp needs a new login, and your word that you know the risk: add an account of network whatsapp with `+
			`accept_ban_risk: true, then "mimigate account login"`, network, name)
		return
	default:
		r.cannot("%s.%s: mimigate does not speak %s", network, name, network)
		return
	}
	if password := word(keys, "password"); password != "" && a.Token == "" {
		a.Password = r.secret(a.ID, "password", password)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(used, key) && key != "remotenickformat" {
			r.cannot("%s.%s.%s: there is no such setting", network, name, key)
		}
	}
	r.accounts[network+"."+name] = a
}

// secret keeps a secret in a file of its own and returns the reference to it.
func (r *reading) secret(account, kind, value string) string {
	name := account + "." + kind
	r.secrets[name] = value + "\n"
	return "file:" + name
}

var noID = regexp.MustCompile(`[^a-z0-9._-]+`)

// id makes an id of a name.
func id(name string) string {
	s := strings.Trim(noID.ReplaceAllString(strings.ToLower(name), "-"), ".-_")
	if s == "" {
		return "unnamed"
	}
	return s[:min(len(s), 64)]
}

// gateway reads one gateway, which is a room here.
func (r *reading) gateway(g gateway) {
	if !g.Enable {
		r.cannot("gateway %s: is not enabled, and left out", g.Name)
		return
	}
	if g.Tengo != nil || g.Options != nil {
		r.cannot("gateway %s: scripts and options are not carried over", g.Name)
	}
	one := room{ID: r.unused(id(g.Name)), Name: g.Name}
	for _, list := range []struct {
		direction string
		ends      []end
	}{{"both", g.InOut}, {"in", g.In}, {"out", g.Out}} {
		for _, e := range list.ends {
			r.bind(&one, g.Name, list.direction, e)
		}
	}
	r.add(one)
}

// same reads channels of one name on several networks: a room each.
func (r *reading) same(s same) {
	if !s.Enable {
		r.cannot("samechannelgateway %s: is not enabled, and left out", s.Name)
		return
	}
	for _, channel := range s.Channels {
		one := room{ID: r.unused(id(s.Name + "-" + channel)), Name: channel}
		for _, a := range s.Accounts {
			r.bind(&one, s.Name, "both", end{Account: a, Channel: channel})
		}
		r.add(one)
	}
}

func (r *reading) unused(id string) string {
	for n, wanted := 2, id; slices.ContainsFunc(r.rooms, func(o room) bool { return o.ID == id }); n++ {
		id = fmt.Sprintf("%s-%d", wanted, n)
	}
	return id
}

func (r *reading) add(one room) {
	if len(one.Bind) == 0 {
		r.cannot("gateway %s: none of its channels can be bound, so it is left out", one.Name)
		return
	}
	r.rooms = append(r.rooms, one)
}

func (r *reading) bind(one *room, gateway, direction string, e end) {
	a := r.accounts[e.Account]
	if a == nil {
		r.cannot("gateway %s: %s %s: its account is not carried over", gateway, e.Account, e.Channel)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(e.Options)) {
		r.cannot("gateway %s: %s %s: option %s is not carried over", gateway, e.Account, e.Channel, key)
	}
	channel := e.Channel
	if a.Network == "xmpp" && !strings.Contains(channel, "@") && a.muc != "" {
		channel += "@" + a.muc
	}
	chat := a.ID + "/" + channel
	direction = r.readOnce(chat, gateway, direction)
	i := slices.IndexFunc(one.Bind, func(b binding) bool { return b.Chat == chat })
	if i < 0 {
		one.Bind = append(one.Bind, binding{chat, direction})
	} else if one.Bind[i].Direction != direction {
		one.Bind[i].Direction = "both" // in and out
	}
}

// readOnce returns the direction of a binding: out where another room reads the chat, as the messages of a chat go into one room only.
func (r *reading) readOnce(chat, gateway, direction string) string {
	for _, other := range r.rooms {
		for _, b := range other.Bind {
			if b.Chat == chat && b.Direction != "out" && direction != "out" {
				r.cannot("gateway %s: %s is read by the gateway %s already, and a chat's messages go into one room only: it is bound with direction out; choose one",
					gateway, chat, other.Name)
				return "out"
			}
		}
	}
	return direction
}

// config writes the configuration.
func (r *reading) config() (string, error) {
	var out bytes.Buffer
	fmt.Fprintln(&out, "# Made by \"mimigate import\" of a matterbridge.toml. See \"mimigate config example\" for all that can be set.")
	list := make([]*account, 0, len(r.accounts))
	for _, name := range slices.Sorted(maps.Keys(r.accounts)) {
		list = append(list, r.accounts[name])
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	body := struct {
		Provider map[string]string `yaml:"provider"`
		Accounts []*account        `yaml:"accounts"`
		Rooms    []room            `yaml:"rooms"`
	}{map[string]string{"store": "store"}, list, r.rooms}
	if err := enc.Encode(body); err != nil {
		return "", fmt.Errorf("matterbridge: %w", err)
	}
	return out.String(), nil
}
