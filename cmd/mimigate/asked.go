package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/gateway"
)

func consentCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "consent", Short: "Answer who of other organisations may bring our people into rooms",
		Long: "Answer who of other organisations may bring our people into rooms. Of a peer that may invite with \"ask\", each wish waits here until it\n" +
			"is answered; an answer can be changed at any time, and be given before anybody asks.",
	}
	c.AddCommand(consentListCommand(p), consentAnswerCommand(p, "allow", "Allow somebody to bring one of our people into a room, or into any", true),
		consentAnswerCommand(p, "refuse", "Refuse that, or end it", false))
	return c
}

func consentListCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the wishes that wait for an answer", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
				list, err := client.Consents(ctx)
				if err != nil {
					return err
				}
				if len(list) == 0 {
					fmt.Fprintln(c.OutOrStdout(), "Nobody waits for an answer.")
					return nil
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "WHO ASKS\tFOR\tNAME\tROOM\tSINCE")
				for _, q := range list {
					room := q.Room
					if room == "" {
						room = "any"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", q.Requester, q.Target, q.Name, room, q.At.UTC().Format(time.RFC3339))
				}
				return w.Flush()
			})
		},
	}
}

func consentAnswerCommand(p *program, name, short string, granted bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " WHO FOR [ROOM]", Short: short, Args: arguments(cobra.RangeArgs(2, 3)),
		Long: short + ". WHO asks, FOR is our user: MIMI addresses, as \"mimigate consent list\" shows them. Without ROOM the answer is for every room.",
		RunE: func(c *cobra.Command, args []string) error {
			room := ""
			if len(args) == 3 {
				room = args[2]
			}
			return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
				return client.AnswerConsent(ctx, args[0], args[1], room, granted)
			})
		},
	}
}

func reportsCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "reports", Short: "List the reports of abuse in rooms of this provider", Args: arguments(cobra.NoArgs),
		Long: "List the reports of abuse in rooms of this provider, the newest first. A message is proven where this provider's own mark shows that the\n" +
			"accused sent it to the room at that time; what it says is not printed.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
				list, err := client.Reports(ctx)
				if err != nil {
					return err
				}
				if len(list) == 0 {
					fmt.Fprintln(c.OutOrStdout(), "No reports.")
					return nil
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "WHEN\tROOM\tACCUSED\tBY\tMESSAGES\tPROVEN\tNOTE")
				for _, r := range list {
					by, proven := r.Reporter, 0
					if by == "" {
						by = r.From.String()
					}
					for _, m := range r.Messages {
						if m.Proven {
							proven++
						}
					}
					fmt.Fprintf(w, "%s\t%s\t%q\t%q\t%d\t%d\t%q\n", r.At.UTC().Format(time.RFC3339), r.Room, r.Accused, by, len(r.Messages), proven, r.Note)
				}
				return w.Flush()
			})
		},
	}
}
