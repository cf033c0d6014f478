package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func roomCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "room", Short: "Find chats to bind, list rooms, and test them"}
	c.AddCommand(roomDiscoverCommand(p), roomListCommand(p), roomTestCommand(p))
	return c
}

func roomDiscoverCommand(p *program) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use: "discover [ACCOUNT…]", Short: "List the chats that the accounts could bind, as lines for the configuration",
		Long: "List the chats that the accounts could bind: where they are, are invited, or what a directory offers. The first column is\n" +
			"what stands under bind. Without the name of an account, all are asked.",
		RunE: func(c *cobra.Command, args []string) error {
			return p.inspect(c.Context(), func(ctx context.Context, cfg *config.Config, i gateway.Inspector) error {
				return discover(ctx, c.OutOrStdout(), c.ErrOrStderr(), cfg, i, args, wait)
			})
		},
	}
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long each account is waited for")
	return c
}

// inspect loads the configuration and calls f with how to ask its accounts.
func (p *program) inspect(ctx context.Context, f func(context.Context, *config.Config, gateway.Inspector) error) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	i, err := gateway.Inspect(ctx, p.gateway(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, cfg, i), i.Close())
}

func discover(ctx context.Context, out, errs io.Writer, cfg *config.Config, i gateway.Inspector, only []string, wait time.Duration) error {
	for _, id := range only {
		if !slices.ContainsFunc(cfg.Accounts, func(a config.Account) bool { return a.ID == id }) {
			return &exitError{exitConfig, fmt.Errorf("no account %s in %s; there are: %s", id, cfg.File, accountIDs(cfg))}
		}
	}
	failed := 0
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range cfg.Accounts {
		if len(only) > 0 && !slices.Contains(only, a.ID) {
			continue
		}
		err := within(ctx, wait, func(ctx context.Context) error {
			list, err := i.Conversations(ctx, a.ID)
			for _, l := range list {
				fmt.Fprintf(table, "- %s\t%s\n", quoted(l.Chat), about(l))
			}
			return err
		})
		if err != nil {
			fmt.Fprintf(errs, "account %s: %v\n", a.ID, err)
			failed++
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d accounts could not be asked", failed)
	}
	return nil
}

// quoted returns a chat as it stands in YAML: # and other characters need quotes.
func quoted(chat string) string { return fmt.Sprintf("%q", chat) }

// about describes a chat in a comment of YAML.
func about(l gateway.Listing) string {
	text := "# " + l.Title
	if l.Title == "" {
		text = "#"
	}
	if l.Members > 0 {
		text += fmt.Sprintf(" (%d members)", l.Members)
	}
	for _, word := range []struct {
		is   bool
		text string
	}{{l.Direct, "direct"}, {l.Encrypted, "encrypted"}, {!l.Joined, "not joined"}} {
		if word.is {
			text += ", " + word.text
		}
	}
	return text
}

func roomListCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the rooms of the configuration with their chats", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.load()
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			if len(cfg.Rooms) == 0 {
				fmt.Fprintf(out, "No rooms in %s. \"mimigate room discover\" lists the chats that could be bound.\n", cfg.File)
			}
			for _, r := range cfg.Rooms {
				fmt.Fprintf(out, "%s  %s (policy %s; managed by %s)\n", r.ID, r.Name, r.Policy, r.At)
				for _, b := range r.Bind {
					fmt.Fprintf(out, "  %s  %s\n", b.Chat, b.Direction)
				}
			}
			return nil
		},
	}
}

func roomTestCommand(p *program) *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use: "test ROOM", Short: "Open every chat of a room, and say what each can do",
		Long: "Open every chat that is bound to a room (that is, join it), and say what each can do. Nothing is written there.",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.inspect(c.Context(), func(ctx context.Context, cfg *config.Config, i gateway.Inspector) error {
				return testRoom(ctx, c.OutOrStdout(), cfg, i, args[0], wait)
			})
		},
	}
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long each chat is waited for")
	return c
}

func testRoom(ctx context.Context, out io.Writer, cfg *config.Config, i gateway.Inspector, id string, wait time.Duration) error {
	n := slices.IndexFunc(cfg.Rooms, func(r config.Room) bool { return r.ID == id })
	if n < 0 {
		return &exitError{exitConfig, fmt.Errorf("no room %s in %s; \"mimigate room list\" shows them", id, cfg.File)}
	}
	failed := 0
	for _, b := range cfg.Rooms[n].Bind {
		if err := within(ctx, wait, func(ctx context.Context) error { return open(ctx, out, i, b.Chat) }); err != nil {
			fmt.Fprintf(out, "%s: room %s: chat %s: %v\n", b.At, id, b.Chat, err)
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("room %s: %d of %d chats cannot be used", id, failed, len(cfg.Rooms[n].Bind))
	}
	fmt.Fprintf(out, "room %s: all %d chats can be used\n", id, len(cfg.Rooms[n].Bind))
	return nil
}
