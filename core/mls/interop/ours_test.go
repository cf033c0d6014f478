package interop

import "testing"

// TestOurs plays our engine against both foreign implementations: every scenario in both roles, then a random
// schedule with all of them in one group.
func TestOurs(t *testing.T) {
	Run(t, options(P256AES128, X25519ChaCha20, P521AES256, P384AES256, XWingAES128, XWingAES256), Ours{}, MLSGo{}, startTSMLS(t))
}
