package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"mimigate/core/gateway"
)

func serveCommand(p *program) *cobra.Command {
	var level slog.Level
	var asJSON *bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the gateway",
		Long: "Run the gateway until it is interrupted (SIGINT, SIGTERM). SIGHUP lets it read its configuration again, as \"mimigate reload\" does.\nAn account, room or chat that does not work is told in the log and by\n" +
			"\"mimigate status\"; everything else runs. Only one gateway runs on a store.",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), w)
			}
			log := logger(c.ErrOrStderr(), level)
			if *asJSON {
				log = slog.New(slog.NewJSONHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			}
			g, err := gateway.New(c.Context(), p.gateway(cfg, log))
			if err != nil {
				return err
			}
			defer reloadOnHangup(c.Context(), g)()
			return g.Run(c.Context())
		},
	}
	asJSON = c.Flags().Bool("log-json", false, "log as JSON, one object on each line; \"message\" is the same on all lines about one message")
	c.Flags().TextVar(&level, "log", slog.LevelInfo, "how much is logged, to standard error: DEBUG, INFO, WARN or ERROR")
	return c
}

func logger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}
