package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mimigate/core/gateway"
)

func statusCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Say how the running gateway does: accounts, rooms, chats and what waits",
		Args: arguments(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			s, err := client.Status(ctx)
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, s, printStatus)
		})
	}
	return c
}

func printStatus(out io.Writer, s gateway.Status) error {
	provider := s.Provider
	if provider == "" {
		provider = "local only"
	}
	fmt.Fprintf(out, "%s, process %d, running for %s\n", provider, s.PID, since(s.Since))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range s.Accounts {
		fmt.Fprintf(table, "account %s\t%s\t%s for %s\n", a.ID, a.Network, a.State, since(a.Since))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, a := range s.Accounts {
		sayState(out, a)
	}
	for _, r := range s.Rooms {
		fmt.Fprintf(out, "\nroom %s  %s: %d participants\n", r.Room, r.Name, r.Participants)
		if r.Problem != "" {
			fmt.Fprintf(out, "  %s\n", r.Problem)
		}
		for _, b := range r.Bindings {
			fmt.Fprintf(table, "  %s\t%s\t%s\n", b.Chat, b.Direction, chatState(b))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// chatState says in words how a chat does.
func chatState(b gateway.BindingStatus) string {
	text := "open"
	switch {
	case b.Problem != "":
		text = b.Problem
	case !b.Open:
		text = "being opened"
	}
	if b.Waiting > 0 {
		text += fmt.Sprintf("; %d messages wait", b.Waiting)
	}
	return text
}
