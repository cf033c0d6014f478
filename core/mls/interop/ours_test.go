package interop

import (
	"flag"
	"testing"
)

var ourEpochs = flag.Int("ours.epochs", 200, "length of TestOurs' random schedules in suite 1; a tenth of it in the others unless -full is set")

// TestOurs plays our engine against both foreign implementations: every scenario in both roles, then a random
// schedule with all of them in one group. make interop plays the long schedules in every suite.
func TestOurs(t *testing.T) {
	o := options(P256AES128, X25519ChaCha20, P521AES256, P384AES256, XWingAES128, XWingAES256)
	o.Epochs = *ourEpochs
	Run(t, o, Ours{}, MLSGo{}, startTSMLS(t))
}
