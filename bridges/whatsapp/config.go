//go:build !nowhatsapp

package whatsapp

import (
	"errors"

	"mimigate/core/adapter"
)

// The modes of an account.
const (
	// modePersonal is somebody's own account: what they write on their phone is theirs, and what they write elsewhere needs no name here.
	modePersonal = "personal"
	// modeRelay is an account shared by the people of the rooms: every text names its author.
	modeRelay = "relay"
)

// Config is the configuration of one account.
type Config struct {
	Mode              string `yaml:"mode" doc:"personal: somebody's own account, whose owner needs no name before what they say; relay: a shared account, every text begins with its author's name."`
	AcceptBanRisk     bool   `yaml:"accept_ban_risk" doc:"Must be true: programs like this are against WhatsApp's terms, and accounts that use them are sometimes banned, also those used little."`
	MessagesPerMinute int    `yaml:"messages_per_minute" doc:"How many messages the account sends in a minute at most, so that it does not look like spam; more wait for their turn."`
}

func defaults() any { return &Config{Mode: modePersonal, MessagesPerMinute: 30} }

// check returns the first error, as a *adapter.KeyError.
func (c *Config) check() error {
	switch {
	case c.Mode != modePersonal && c.Mode != modeRelay:
		return &adapter.KeyError{Key: "mode", Err: errors.New("must be personal or relay")}
	case !c.AcceptBanRisk:
		return &adapter.KeyError{Key: "accept_ban_risk", Err: errors.New("must be true: WhatsApp may ban an account that is used by a program, " +
			"for a time or for ever; do not use one that you cannot lose")}
	case c.MessagesPerMinute < 1 || c.MessagesPerMinute > 600:
		return &adapter.KeyError{Key: "messages_per_minute", Err: errors.New("must be between 1 and 600")}
	}
	return nil
}
