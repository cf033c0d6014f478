package bridges

import (
	"bytes"
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme compiles the adapter in README.md: a template that does not compile is worse than none.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "```go\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !ok || !closed {
		t.Fatal("README.md has no code block")
	}
	if formatted, err := format.Source([]byte(block)); err != nil || !bytes.Equal(formatted, []byte(block)) {
		t.Errorf("the block is not formatted: %v", err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "webhook.go")
	if err := os.WriteFile(source, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "webhook", "webhook.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "./webhook").CombinedOutput(); err != nil {
		t.Errorf("the block does not compile: %v\n%s", err, out)
	}
}
