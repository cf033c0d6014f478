package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func configCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check the configuration, print an example, or export what was made by command"}
	c.AddCommand(configCheckCommand(p), configExampleCommand(p), configExportCommand(p))
	return c
}

func configExampleCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "example", Short: "Print a configuration with every key explained",
		Long: "Print a configuration file with every key explained and commented out, and whole examples at its end.\n\n" +
			"  mimigate config example > config.yaml",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(config.Example(p.drivers))
			return err
		},
	}
}

func configExportCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "export", Short: "Print the rooms and bindings that were made by command, as lines for the configuration",
		Long: "Print the rooms and bindings that were made by command (mimigate room, or in a chat), as they would stand in the configuration.\n" +
			"They live in the store and need not stand in the file; a reload never deletes them.",
		Args: arguments(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			text, err := client.Export(ctx)
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, text, func(out io.Writer, text string) error {
				_, err := io.WriteString(out, text)
				return err
			})
		})
	}
	return c
}

func configCheckCommand(p *program) *cobra.Command {
	var online bool
	var wait time.Duration
	c := &cobra.Command{
		Use: "check", Short: "Check the configuration, and with --online the accounts and chats it names",
		Long: "Check the configuration: all that is wrong is told, with file and line. With --online every account is connected and\n" +
			"every bound chat opened (that is, joined); nothing is written there. Where the gateway runs, it is asked to do so.",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			wrong := offline(out, cfg)
			if online {
				if wrong, err = p.checkOnline(c.Context(), out, cfg, wait); err != nil {
					return err
				}
			}
			if wrong > 0 {
				return &exitError{exitConfig, fmt.Errorf("%d of the above must be corrected; the rest works", wrong)}
			}
			fmt.Fprintf(out, "%s is in order: %d accounts, %d rooms\n", cfg.File, len(cfg.Accounts), len(cfg.Rooms))
			return nil
		},
	}
	c.Flags().BoolVar(&online, "online", false, "also connect the accounts and open the chats")
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long each account and chat is waited for")
	return c
}

// offline tells what Load leaves to tell, and returns how much of it must be corrected.
func offline(out io.Writer, cfg *config.Config) (wrong int) {
	for _, w := range cfg.Warnings {
		fmt.Fprintln(out, w)
	}
	for _, a := range cfg.Accounts {
		for _, problem := range a.Problems {
			fmt.Fprintln(out, problem)
			wrong++
		}
	}
	for _, peer := range cfg.Peers {
		for _, problem := range peer.Problems {
			fmt.Fprintln(out, problem)
			wrong++
		}
	}
	return wrong
}

func (p *program) checkOnline(ctx context.Context, out io.Writer, cfg *config.Config, wait time.Duration) (wrong int, err error) {
	i, err := gateway.Inspect(ctx, p.gateway(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	works := map[string]bool{}
	for _, a := range cfg.Accounts {
		err := within(ctx, wait, func(ctx context.Context) error { return i.Connected(ctx, a.ID) })
		if works[a.ID] = err == nil; err != nil {
			fmt.Fprintf(out, "%s: account %s: %v\n", a.At, a.ID, err)
			wrong++
			continue
		}
		fmt.Fprintf(out, "account %s: connected\n", a.ID)
	}
	for _, r := range cfg.Rooms {
		for _, b := range r.Bind {
			if !works[b.Chat.Account] {
				continue // told
			}
			if err := within(ctx, wait, func(ctx context.Context) error { return open(ctx, out, i, b.Chat) }); err != nil {
				fmt.Fprintf(out, "%s: room %s: chat %s: %v\n", b.At, r.ID, b.Chat, err)
				wrong++
			}
		}
	}
	return wrong, ctx.Err()
}

// open opens a chat and says what it can do.
func open(ctx context.Context, out io.Writer, i gateway.Inspector, chat config.Chat) error {
	o, err := i.Open(ctx, chat)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "chat %s: open; %s%s\n", o.Chat, names[o.Names], lacks(o.Lacks))
	return nil
}

// names says in words how our people appear in a chat.
var names = map[string]string{
	"native": "everybody under their own name", "reduced": "the recent speakers under their own names, the others in the text",
	"line": "the author's name stands in the text",
}

func lacks(kinds []string) string {
	text := ""
	for i, k := range kinds {
		if text += ", "; i == 0 {
			text = "; as a line of text: "
		}
		text += k
	}
	return text
}

// within calls f with a bound on its time.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("nothing within %v", d))
	defer cancel()
	return f(ctx)
}
