//go:build !race && !nowhatsapp

package waserver_test

// race says that races are looked for.
const race = false
