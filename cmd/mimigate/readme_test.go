package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each command that the README has in these chapters is run by a session in testdata, as it stands there.
func TestReadmeBackups(t *testing.T) { readmeChapter(t, "Backups, PostgreSQL, keys") }
func TestReadmeRunning(t *testing.T) { readmeChapter(t, "Running it") }

func readmeChapter(t *testing.T, title string) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, found := strings.Cut(string(text), "\n## "+title+"\n")
	if !found {
		t.Fatal("the chapter has another name")
	}
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	var sessions strings.Builder
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		session, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sessions.Write(session)
	}
	commands := 0
	for line := range strings.Lines(chapter) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); !strings.HasPrefix(command, "mimigate ") {
			continue
		}
		commands++
		if !strings.Contains(sessions.String(), "\nexec "+command+"\n") {
			t.Errorf("no session runs %q", command)
		}
	}
	if commands == 0 {
		t.Error("no command was found")
	}
}
