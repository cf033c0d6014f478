package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"mimigate/cmd/mimigate/demo"
)

func demoCommand() *cobra.Command {
	var script, log bool
	c := &cobra.Command{
		Use: "demo", Short: "Show a conversation between three networks and two providers, all in this process",
		Long: "Show how people meet: two providers run in this process, with three chat networks in memory. A short conversation crosses\n" +
			"them; then it is your turn. Nothing is needed, nothing is kept, and nothing leaves this\n" +
			"machine: the providers speak over loopback, with mutual TLS.",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			level := slog.Level(100) // nothing
			if log {
				level = slog.LevelDebug
			}
			d, err := demo.New(c.Context(), c.OutOrStdout(), logger(c.ErrOrStderr(), level))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			if err := d.Conversation(c.Context()); err != nil || script {
				return err
			}
			return d.Prompt(c.Context(), c.InOrStdin())
		},
	}
	c.Flags().BoolVar(&script, "script", false, "only the conversation, then end")
	c.Flags().BoolVar(&log, "log", false, "what the gateways log, to standard error")
	return c
}
