package gateway

import (
	"crypto/rand"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/mls"
	"mimigate/core/uri"
)

// Drivers are networks by the name that stands in configuration.
type Drivers = map[string]adapter.Driver

// Options are what a gateway is made of.
type Options struct {
	Config *config.Config
	// Drivers are the networks that accounts may be on, by name.
	Drivers Drivers
	Log     *slog.Logger // nil: none
	// Load reads the configuration again; nil: it cannot be reloaded.
	Load func() (*config.Config, error)
	// Version names this build, for the metrics.
	Version string

	batch func(units int, took time.Duration) // see store.Options
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// surroundings returns what a driver is given for an account; its State is still missing.
func (o Options) surroundings(c config.Account, provider uri.Provider) adapter.Account {
	return adapter.Account{
		ID: c.ID, Provider: provider, Language: o.Config.Provider.Language, Config: c.Config,
		Dir: filepath.Join(o.Config.Provider.Files, "accounts", c.ID),
		Log: o.log().With("account", c.ID),
	}
}

// Setup returns what a human must install on the network's side for an account: nothing, where its network needs nothing. An error of
// the driver is told with its place in the file.
func Setup(o Options, c config.Account) (adapter.Setup, error) {
	driver := o.Drivers[c.Network]
	if driver.Setup == nil {
		return adapter.Setup{Say: []string{"Nothing has to be installed for network " + c.Network + "."}}, nil
	}
	todo, err := driver.Setup(o.surroundings(c, o.Config.Provider.Domain))
	if err != nil {
		return adapter.Setup{}, append(slices.Clone(c.Problems), c.Problem(err)) // a secret that could not be read is often why
	}
	return todo, nil
}

// Suites are the MLS cipher suites that a configuration may name, with their numbers (RFC 9420 §17.1).
func Suites() map[string]uint16 {
	all := mls.DefaultSuites()
	names := make(map[string]uint16, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		names[all.Name(id)] = uint16(id)
	}
	return names
}

// localOnly returns a domain for a provider without one, which has no peers: one that never resolves (RFC 6761 §6.4), and that no other
// gateway has, so that two of them in one native conversation know their events apart.
func localOnly() uri.Provider {
	p, err := uri.NewProvider(strings.ToLower(rand.Text()) + ".invalid")
	if err != nil {
		panic("gateway: " + err.Error()) // 26 letters and digits
	}
	return p
}
