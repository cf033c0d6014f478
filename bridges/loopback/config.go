package loopback

import (
	"errors"
	"strings"

	"mimigate/core/adapter"
)

// The modes of an account.
const (
	// modeNames shows each of our people as a user of their own.
	modeNames = "names"
	// modeBot speaks as one user, with the author's name in the text.
	modeBot = "bot"
)

// Config is the configuration of an account.
type Config struct {
	Mode     string         `yaml:"mode" doc:"names: everybody under their own name; bot: one name for all, the author's stands in the text."`
	User     string         `yaml:"user" doc:"The account's name on the network."`
	Password adapter.Secret `yaml:"password" doc:"Its password; empty if it has none."`
}

func defaults() any { return &Config{Mode: modeNames, User: "gateway"} }

// check returns the first error, as a *adapter.KeyError.
func (c *Config) check() error {
	switch {
	case c.Mode != modeNames && c.Mode != modeBot:
		return &adapter.KeyError{Key: "mode", Err: errors.New("must be names or bot")}
	case c.User == "" || strings.ContainsAny(c.User, "/<> \n"):
		return &adapter.KeyError{Key: "user", Err: errors.New("must be a name without spaces, slashes and angle brackets")}
	}
	return nil
}
