package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway/maintain"
)

func keysCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Look after the keys that the store's private columns are sealed with"}
	c.AddCommand(keysRotateCommand(p), keysListCommand(p))
	return c
}

func keysListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "Print the ids of the master keys that the configuration gives",
		Long: "Print the ids of the master keys that the configuration gives, the current one's first. A backup says which it needs\n" +
			"(mimigate restore --check). The ids tell nothing of the keys.",
		Args: arguments(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		ids, err := maintain.Keys(p.gateway(cfg, logger(c.ErrOrStderr(), slog.LevelWarn)))
		if err != nil {
			return err
		}
		return show(c.OutOrStdout(), *asJSON, ids, func(out io.Writer, ids []string) error {
			for i, id := range ids {
				what := "of the past"
				if i == 0 {
					what = "current"
				}
				fmt.Fprintf(out, "%s  %s\n", id, what)
			}
			return nil
		})
	}
	return c
}

func keysRotateCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Replace the store's keys, while the gateway runs or not",
		Long: "Make a new master key at the head of the key file, and seal everything in the store anew under new keys. Where the master key\n" +
			"comes from the environment or from systemd, put a new one before it first, a line of its own (openssl rand -base64 32), and\n" +
			"start the gateway again. If it is interrupted, everything works, and the same command goes on where it was.\n\n" +
			"Backups of before need the old key: it is moved to a file beside the key file whose name ends in .old.",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			so := newProgress(c.ErrOrStderr(), "values sealed anew")
			n, err := maintain.RotateKeys(c.Context(), p.gateway(cfg, logger(c.ErrOrStderr(), slog.LevelWarn)), so.tell)
			so.end()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the keys are new; %d values were sealed anew\n%s\n", n, afterRotation(cfg.Provider.MasterKey))
			return err
		},
	}
}

// afterRotation says what is left to do.
func afterRotation(key config.KeyRef) string {
	if key.File == "" {
		return "all lines but the first of the master keys may go; keep them as long as backups of before"
	}
	return fmt.Sprintf("keep a copy of %s elsewhere; keep %s.old as long as backups of before, and then delete it", key.File, key.File)
}
