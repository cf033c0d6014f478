package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Say which version this is", Args: arguments(cobra.NoArgs)}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return show(c.OutOrStdout(), *asJSON, map[string]string{"Version": version()}, func(out io.Writer, v map[string]string) error {
			_, err := fmt.Fprintln(out, v["Version"])
			return err
		})
	}
	return c
}

// release is the version's name; the Makefile sets it (-ldflags -X). Without, it is what the go command knows.
var release string

// version names this build, as the go command has stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "mimigate (built without module information)"
	}
	text := "mimigate " + cmp.Or(release, info.Main.Version)
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	if revision != "" {
		text += ", commit " + revision[:min(12, len(revision))] + modified
	}
	return text + ", " + info.GoVersion
}
