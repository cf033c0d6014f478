package bridges_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mimigate/bridges"
	"mimigate/core/config"
)

var update = flag.Bool("update", false, "write config.example.yaml anew")

const exampleFile = "../config.example.yaml"

// config.example.yaml is what the program prints for its own networks; -update writes it anew.
func TestExampleFile(t *testing.T) {
	needsAll(t)
	want := config.Example(bridges.Drivers())
	if *update {
		if err := os.WriteFile(exampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(exampleFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what Example returns (%v): go test ./bridges -update", exampleFile, err)
	}
}

// needsAll skips where a build tag has left a network out: the file shows all of them.
func needsAll(t *testing.T) {
	t.Helper()
	if _, all := bridges.Drivers()["whatsapp"]; !all {
		t.Skip("built without WhatsApp")
	}
}

// What the file shows also passes the check: each whole example, and every key of this binary's networks.
func TestExampleFileLoads(t *testing.T) {
	needsAll(t)
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile("../core/config/testdata/peer.pem")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n## Example")
	if len(blocks) < 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	blocks[0] = regexp.MustCompile(`(?m)^( *)#([^ #])`).ReplaceAllString(blocks[0], "$1$2")
	for i, block := range blocks {
		if i > 0 {
			block = "#" + strings.ReplaceAll(block, "\n#", "\n")
		}
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{
			Path: path, Drivers: bridges.Drivers(), Suites: map[string]uint16{"1": 1},
			ReadFile: func(string) ([]byte, error) { return pem, nil },
			Getenv:   func(string) (string, bool) { return "/run", true },
		})
		for line := range strings.Lines(errorText(err)) {
			if i > 0 || !strings.Contains(line, `unknown account "matrix-home"`) {
				t.Error(line)
			}
		}
		if err == nil && len(c.Rooms) == 0 {
			t.Errorf("block %d sets nothing", i)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
