//go:build !nowhatsapp

package bridges

import (
	"mimigate/bridges/whatsapp"
	"mimigate/core/adapter"
)

// optional returns the networks that a build tag leaves out: WhatsApp, whose library needs one under the GPL-3.0.
func optional() map[string]adapter.Driver {
	return map[string]adapter.Driver{"whatsapp": whatsapp.Driver()}
}
