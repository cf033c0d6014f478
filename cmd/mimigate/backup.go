package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"mimigate/core/gateway/maintain"
)

func backupCommand(p *program) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the store and the accounts' files, while the gateway runs or not",
		Long: "Write one state of the store, and the accounts' files, to FILE, and check it. The gateway may run, and goes on.\n" +
			"All of it is sealed under the master key, which is NOT in the backup: keep a copy of the key elsewhere.",
		Args: arguments(cobra.ExactArgs(1)),
	}
	c.Flags().BoolVar(&force, "force", false, "replace FILE if it is there")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		so := newProgress(c.ErrOrStderr(), "octets written")
		b, err := maintain.Save(c.Context(), p.gateway(cfg, logger(c.ErrOrStderr(), slog.LevelWarn)), args[0], force, so.tell)
		so.end()
		if err != nil {
			return err
		}
		return show(c.OutOrStdout(), *asJSON, b, printBackup)
	}
	return c
}

func restoreCommand(p *program) *cobra.Command {
	var force, check bool
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make the store hold what a backup holds",
		Long: "Make the store of the configuration, SQLite or PostgreSQL, hold what the backup in FILE holds, of a store of either kind. The\n" +
			"gateway must not run. A backup that is damaged, of another domain or of another master key changes nothing. When the gateway\n" +
			"then starts, it joins every room anew before it sends anything, as others may have gone on since the backup.",
		Args: arguments(cobra.ExactArgs(1)),
	}
	c.Flags().BoolVar(&force, "force", false, "replace all that the store holds now")
	c.Flags().BoolVar(&check, "check", false, "only read the backup, and say whether it is whole and what it is")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if check {
			b, err := maintain.Look(args[0])
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, b, printBackup)
		}
		cfg, err := p.load()
		if err != nil {
			return err
		}
		so := newProgress(c.ErrOrStderr(), "octets read")
		b, err := maintain.Restore(c.Context(), p.gateway(cfg, logger(c.ErrOrStderr(), slog.LevelWarn)), args[0], force, so.tell)
		so.end()
		if err != nil {
			return err
		}
		return show(c.OutOrStdout(), *asJSON, b, func(out io.Writer, b maintain.Backup) error {
			_, err := fmt.Fprintf(out, "restored from %s, made %s; start the gateway now\n", b.File, b.Made.Format("2006-01-02 15:04:05 MST"))
			return err
		})
	}
	return c
}

func printBackup(out io.Writer, b maintain.Backup) error {
	of := b.Domain
	if of == "" {
		of = "a gateway without a domain"
	}
	_, err := fmt.Fprintf(out, "%s: whole; %d octets, of %s, made %s\nit can be read only with master key %s, which is not in it\n",
		b.File, b.Size, of, b.Made.Format("2006-01-02 15:04:05 MST"), strings.Join(b.Masters, " and "))
	return err
}
