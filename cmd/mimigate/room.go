package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func roomCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "room", Short: "Find chats to bind; list, show, test, make and change rooms"}
	c.AddCommand(roomDiscoverCommand(p), roomListCommand(p), roomShowCommand(p), roomTestCommand(p), roomCreateCommand(p),
		roomPolicyCommand(p), roomBindCommand(p), roomUnbindCommand(p), roomInviteCommand(p), roomRemoveCommand(p), roomBanCommand(p))
	return c
}

func roomDiscoverCommand(p *program) *cobra.Command {
	var wait time.Duration
	var asJSON *bool
	c := &cobra.Command{
		Use: "discover [ACCOUNT…]", Short: "List the chats that the accounts could bind, as lines for the configuration",
		Long: "List the chats that the accounts could bind: where they are, are invited, or what a directory offers. The first column is\n" +
			"what stands under bind. Without the name of an account, all are asked.",
		RunE: func(c *cobra.Command, args []string) error {
			return p.inspect(c.Context(), func(ctx context.Context, cfg *config.Config, i gateway.Inspector) error {
				return discover(ctx, c.OutOrStdout(), c.ErrOrStderr(), cfg, i, args, wait, *asJSON)
			})
		},
	}
	asJSON = jsonFlag(c)
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

func discover(ctx context.Context, out, errs io.Writer, cfg *config.Config, i gateway.Inspector, only []string, wait time.Duration, asJSON bool) error {
	for _, id := range only {
		if !slices.ContainsFunc(cfg.Accounts, func(a config.Account) bool { return a.ID == id }) {
			return &exitError{exitConfig, fmt.Errorf("no account %s in %s; there are: %s", id, cfg.File, accountIDs(cfg))}
		}
	}
	failed := 0
	all := []gateway.Listing{}
	for _, a := range cfg.Accounts {
		if len(only) > 0 && !slices.Contains(only, a.ID) {
			continue
		}
		err := within(ctx, wait, func(ctx context.Context) error {
			list, err := i.Conversations(ctx, a.ID)
			all = append(all, list...)
			return err
		})
		if err != nil {
			fmt.Fprintf(errs, "account %s: %v\n", a.ID, err)
			failed++
		}
	}
	if err := show(out, asJSON, all, printListings); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d accounts could not be asked", failed)
	}
	return nil
}

func printListings(out io.Writer, list []gateway.Listing) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range list {
		fmt.Fprintf(table, "- %s\t%s\n", quoted(l.Chat), about(l))
	}
	return table.Flush()
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

// roomLine is a room in a list.
type roomLine struct {
	gateway.RoomStatus
	Policy  string `json:",omitempty"`
	Managed string `json:",omitempty"` // its place in the configuration
}

func roomListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the rooms with their chats: of the configuration, and where the gateway runs also those made by command",
		Args: arguments(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		lines := configured(cfg)
		err = p.askAt(c.Context(), cfg.Provider.Files, func(ctx context.Context, client *gateway.Client) error {
			s, err := client.Status(ctx)
			for _, r := range s.Rooms {
				if i := slices.IndexFunc(lines, func(l roomLine) bool { return strings.HasSuffix(r.Room, "/r/"+l.Room) }); i >= 0 {
					lines[i].RoomStatus = r
				} else {
					lines = append(lines, roomLine{RoomStatus: r})
				}
			}
			return err
		})
		if err != nil && !errors.Is(err, gateway.ErrNotRunning) {
			return err
		}
		return show(c.OutOrStdout(), *asJSON, lines, func(out io.Writer, lines []roomLine) error { return printRooms(out, cfg, lines) })
	}
	return c
}

// configured returns the rooms of the configuration, as far as that says.
func configured(cfg *config.Config) (lines []roomLine) {
	for _, r := range cfg.Rooms {
		l := roomLine{RoomStatus: gateway.RoomStatus{Room: r.ID, Name: r.Name}, Policy: r.Policy, Managed: r.At.String()}
		for _, b := range r.Bind {
			l.Bindings = append(l.Bindings, gateway.BindingStatus{Chat: b.Chat.String(), Direction: b.Direction})
		}
		lines = append(lines, l)
	}
	return lines
}

func printRooms(out io.Writer, cfg *config.Config, lines []roomLine) error {
	if len(lines) == 0 {
		fmt.Fprintf(out, "No rooms in %s. \"mimigate room discover\" lists the chats that could be bound.\n", cfg.File)
	}
	for _, l := range lines {
		about := "made by command"
		if l.Managed != "" {
			about = fmt.Sprintf("policy %s; managed by %s", l.Policy, l.Managed)
		}
		fmt.Fprintf(out, "%s  %s (%s)\n", l.Room, l.Name, about)
		for _, b := range l.Bindings {
			fmt.Fprintf(out, "  %s  %s\n", b.Chat, b.Direction)
		}
	}
	return nil
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
