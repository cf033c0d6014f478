package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version())
			return err
		},
	}
}

// version names this build, as the go command has stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "mimigate (built without module information)"
	}
	text := "mimigate " + info.Main.Version
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
