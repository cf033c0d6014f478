// Package bridges lists the networks that this binary speaks.
package bridges

import "mimigate/core/adapter"

// Drivers returns the table of networks: name, as in configuration, to driver. A new network is one line here.
func Drivers() map[string]adapter.Driver {
	return map[string]adapter.Driver{}
}
