//go:build !nowhatsapp

package link_test

import (
	"bytes"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow/util/keys"

	"mimigate/bridges/whatsapp/waserver/link"
)

// The agreement with a client that knows the code is proved by whatsmeow (waserver: TestLinkByCode); here it is refused.
func TestExchangeRefuses(t *testing.T) {
	phone := keys.NewKeyPair()
	if _, err := link.Begin(phone, "ABCD-EFGH", make([]byte, 79)); err == nil {
		t.Error("a wrapped key of 79 octets was taken")
	}
	e, err := link.Begin(phone, "ABCD-EFGH", bytes.Repeat([]byte{7}, 80))
	if err != nil || len(e.Hello) != 80 {
		t.Fatalf("%d octets, %v", len(e.Hello), err)
	}
	for _, size := range []int{0, 43, 44, 156} {
		if _, err := e.Finish(make([]byte, size)); err == nil {
			t.Errorf("a bundle of %d octets that nobody sealed was opened", size)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := strings.Repeat("A", 43) + "="
	f.Add("https://wa.me/settings/linked_devices#2@ref," + key + "," + key + "," + key + ",1")
	f.Add("#,,,,")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		code, err := link.Parse(text)
		if err == nil && (len(code.Identity) != 32 || len(code.Secret) == 0) {
			t.Errorf("%q: %+v", text, code)
		}
	})
}
