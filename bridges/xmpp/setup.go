package xmpp

import (
	"fmt"
	"strings"

	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
)

// setup is what the server's administrator has to install for a component; a client's account is made by the user.
func setup(account adapter.Account) (adapter.Setup, error) {
	cfg := account.Config.(*Config)
	addr, err := cfg.check()
	if err != nil {
		return adapter.Setup{}, err
	}
	if cfg.Mode == modeClient {
		return adapter.Setup{Say: []string{
			fmt.Sprintf("Make the account %s on its server, with the password that the configuration refers to.", addr),
			"Invite it to the rooms that are to be bound. In a moderated room it needs voice.",
		}}, nil
	}
	block := fmt.Sprintf("Component %s\n    component_secret = %s\n", luaString(addr.String()), luaString(cfg.Password.Reveal()))
	path := account.ID + ".prosody.cfg.lua"
	return adapter.Setup{
		Files: []adapter.File{{Path: path, Content: []byte(block), Secret: true}},
		Say: []string{
			fmt.Sprintf("Prosody: append the file %s to /etc/prosody/prosody.cfg.lua, and restart Prosody. It reads:\n\n"+
				"Component %s\n    component_secret = \"(the secret)\"\n", path, luaString(addr.String())),
			fmt.Sprintf("ejabberd: add to the listen section of ejabberd.yml, and restart it:\n\n  -\n    port: 5347\n    ip: \"127.0.0.1\"\n"+
				"    module: ejabberd_service\n    hosts:\n      %q:\n        password: \"(the secret)\"\n", addr.String()),
			fmt.Sprintf("So that people on other servers reach it, %s needs a DNS entry like that of the server itself.", addr),
			"In rooms that are to be bound, let the archive (XEP-0313, muc_mam) be on, and in moderated rooms give voice to " +
				talk.GatewayLocal + "@" + addr.String() + " and to our people.",
		},
	}, nil
}

// luaString quotes a string for Prosody's configuration.
func luaString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(s) + `"`
}
