package matterbridge

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestImport: a configuration with what can and what cannot be carried.
func TestImport(t *testing.T) {
	text, err := os.ReadFile("testdata/matterbridge.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Import(text)
	if err != nil {
		t.Fatal(err)
	}
	all := got.Config + "---\n" + strings.Join(got.Not, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/imported.txt", []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/imported.txt")
	if err != nil {
		t.Fatal(err)
	}
	if all != string(want) {
		t.Errorf("got:\n%s", all)
	}
	if len(got.Secrets) != 2 || got.Secrets["xmpp-jabber.password"] != "hunter2\n" || got.Secrets["matrix-home.token"] != "syt_abc\n" {
		t.Errorf("%d secrets", len(got.Secrets))
	}
	for _, secret := range got.Secrets {
		if strings.Contains(all, strings.TrimSpace(secret)) {
			t.Error("a secret stands in the configuration or the list")
		}
	}
}

// FuzzImport: whatever the text, it is read or refused.
func FuzzImport(f *testing.F) {
	text, err := os.ReadFile("testdata/matterbridge.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("[matrix]\nhome = 3\n[[gateway]]\nname=1")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Import([]byte(text))
		if err == nil && got.Config == "" {
			t.Error("neither a configuration nor an error")
		}
	})
}
