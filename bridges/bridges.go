// Package bridges lists the networks that this binary speaks.
package bridges

import (
	"maps"

	"mimigate/bridges/loopback"
	"mimigate/bridges/loopback/chat"
	"mimigate/bridges/matrix"
	"mimigate/bridges/xmpp"
	"mimigate/core/adapter"
)

// Drivers returns the table of networks: name, as in configuration, to driver. A new network is one line here.
func Drivers() map[string]adapter.Driver {
	drivers := map[string]adapter.Driver{
		"loopback": loopback.Driver(chat.New()),
		"matrix":   matrix.Driver(),
		"xmpp":     xmpp.Driver(),
	}
	maps.Copy(drivers, optional())
	return drivers
}

// Loopback returns a network in memory to act in (the demo, tests), and the driver for accounts on it, to take the place of the
// one in the table.
func Loopback() (*chat.Network, adapter.Driver) {
	network := chat.New()
	return network, loopback.Driver(network)
}

// What acts in a loopback network need not import it: a network, a person's client in a room, and what is seen there.
type (
	Chat        = chat.Network
	ChatClient  = chat.Client
	ChatMessage = chat.Message
	ChatEvent   = chat.Event
)
