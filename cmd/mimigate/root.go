package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

// program is what all subcommands share.
type program struct {
	drivers gateway.Drivers
	config  string // --config
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

const longHelp = `mimigate gives people on Matrix, XMPP and other networks a seat in MIMI rooms, end-to-end encrypted with MLS (RFC 9420).

Begin with "mimigate demo", which needs nothing; then "mimigate quickstart", or "mimigate config example > config.yaml" and "mimigate account
setup"; "mimigate config check --online"; and "mimigate serve". Shells complete its commands: see "mimigate completion --help".

Exit codes: 0 done, 1 failed, 2 wrong use of the command line, 3 the configuration is wrong, 4 the gateway does not run.`

func rootCommand(p *program) *cobra.Command {
	root := &cobra.Command{
		Use: "mimigate", Short: "A gateway between Matrix, XMPP and other networks, and MIMI rooms", Long: longHelp,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help-command"})
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.PersistentFlags().StringVarP(&p.config, "config", "c", "", "configuration `file` (default: $MIMIGATE_CONFIG, ./config.yaml, /etc/mimigate/config.yaml)")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
	root.AddCommand(
		quickstartCommand(p),
		importCommand(),
		demoCommand(),
		serveCommand(p),
		statusCommand(p),
		reloadCommand(p),
		configCommand(p),
		accountCommand(p),
		roomCommand(p),
		peerCommand(p),
		consentCommand(p),
		reportsCommand(p),
		messageCommand(p),
		queueCommand(p),
		backupCommand(p),
		restoreCommand(p),
		keysCommand(p),
		versionCommand(),
	)
	for _, c := range append(root.Commands(), root) {
		group(c)
	}
	return root
}

// group gives a command that has only subcommands an error for all others.
func group(c *cobra.Command) {
	if !c.HasSubCommands() {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		err := fmt.Errorf("unknown command %q", args[0])
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("unknown command %q: did you mean %q?", args[0], near[0])
		}
		return usage(c, err)
	}
	c.Args = cobra.ArbitraryArgs
	c.SuggestionsMinimumDistance = 2
}

// usage returns an error about the use of a command.
func usage(c *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
}

// arguments makes cobra's complaints about arguments ours.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(c, err)
		}
		return nil
	}
}

// load reads the configuration. An error tells all that is wrong.
func (p *program) load() (*config.Config, error) {
	c, err := config.Load(config.Options{Path: p.config, Drivers: p.drivers, Suites: gateway.Suites()})
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return nil, &exitError{exitConfig, fmt.Errorf("the configuration is wrong:\n%w", problems)}
	case err != nil:
		return nil, &exitError{exitConfig, err}
	}
	return c, nil
}

// gateway returns the options of the gateway of a configuration.
func (p *program) gateway(c *config.Config, log *slog.Logger) gateway.Options {
	return gateway.Options{Config: c, Drivers: p.drivers, Log: log, Load: p.load}
}

// ask loads the configuration and calls f with how to ask the gateway that runs on its store.
func (p *program) ask(ctx context.Context, f func(ctx context.Context, client *gateway.Client) error) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	return p.askAt(ctx, cfg.Provider.Files, f)
}

// askAt calls f with how to ask the gateway that runs on a store.
func (p *program) askAt(ctx context.Context, store string, f func(ctx context.Context, client *gateway.Client) error) error {
	client, err := gateway.Dial(ctx, store)
	if errors.Is(err, gateway.ErrNotRunning) {
		return &exitError{exitNotRunning, err}
	}
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, client), client.Close())
}

// show writes an answer: as JSON where that is asked for, and otherwise as text says.
func show[T any](out io.Writer, asJSON bool, v T, text func(io.Writer, T) error) error {
	if !asJSON {
		return text(out, v)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command) *bool { return c.Flags().Bool("json", false, "as JSON, for programs") }

// since returns how long ago something was, in words.
func since(t time.Time) string {
	d := time.Since(t)
	if d > time.Minute {
		d = d.Round(time.Minute)
	} else {
		d = d.Round(time.Second)
	}
	return d.String()
}
