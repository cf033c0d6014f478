//go:build nowhatsapp

package bridges

import "mimigate/core/adapter"

// optional returns the networks that a build tag leaves out: none in this binary.
func optional() map[string]adapter.Driver { return nil }
