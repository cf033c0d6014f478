package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mimigate/core/gateway"
	"mimigate/core/gateway/letters"
)

func queueCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "queue", Short: "List what waits to be shown or was given up; retry or drop it"}
	c.AddCommand(queueListCommand(p),
		p.lettersCommand(&cobra.Command{
			Use: "retry [ID]", Short: "Try now what waits, and once more what was given up",
			Long: "Try now what waits, and once more what was given up: one letter by its id, or all of an account. What was given up can be retried\n" +
				"as long as its policy says (retention.dead); where it was attempted, the network is first asked whether it arrived after all.",
		}, "queued", (*gateway.Client).Retry),
		p.lettersCommand(&cobra.Command{
			Use: "drop [ID]", Short: "Give letters up for good",
			Long: "Give letters up for good: one by its id, or all of an account. Nobody is told.",
		}, "dropped", (*gateway.Client).Drop))
	return c
}

func queueListCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List what waits to be shown or was given up, the oldest first", Args: arguments(cobra.NoArgs)}
	account := c.Flags().String("account", "", "only those of an `account`")
	dead := c.Flags().Bool("dead", false, "only what was given up")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			list, err := client.Queue(ctx, *account, *dead)
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, list, printLetters)
		})
	}
	return c
}

func printLetters(out io.Writer, list []letters.Letter) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "Nothing waits.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tACCOUNT\tCHAT\tWHAT\tSTATE\tFOR\tREASON")
	for _, l := range list {
		chat := l.Title
		if chat == "" {
			chat = l.Chat
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Account, chat, l.What, l.State, since(l.Queued), l.Reason)
	}
	return table.Flush()
}

// lettersCommand is a command that decides on letters: one by its id, or all of an account.
func (p *program) lettersCommand(c *cobra.Command, done string, decide func(*gateway.Client, context.Context, string, string) (int, error)) *cobra.Command {
	c.Args = arguments(cobra.MaximumNArgs(1))
	account := c.Flags().String("account", "", "all of an `account`")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if (len(args) == 0) == (*account == "") {
			return usage(c, fmt.Errorf("want either the id of a letter, or --account"))
		}
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			n, err := decide(client, ctx, strings.Join(args, ""), *account)
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, map[string]int{"Letters": n}, func(out io.Writer, _ map[string]int) error {
				_, err := fmt.Fprintf(out, "%d %s\n", n, done)
				return err
			})
		})
	}
	return c
}

func messageCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "message", Short: "Trace a message"}
	trace := &cobra.Command{
		Use: "trace MESSAGE", Short: "Say where a message came from, and what became of it everywhere", Args: arguments(cobra.ExactArgs(1)),
		Long: "Say where a message came from, when the room's hub took it, and what became of it in each chat. MESSAGE is its id in the log\n" +
			"(message=…), or the id that a network gave it, in the chat it came from or in one it was shown in. What it says is not shown.",
	}
	asJSON := jsonFlag(trace)
	trace.RunE = func(c *cobra.Command, args []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			list, err := client.Trace(ctx, args[0])
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, list, printTraces)
		})
	}
	c.AddCommand(trace)
	return c
}

const traceTime = "2006-01-02 15:04:05.000"

func printTraces(out io.Writer, list []letters.Trace) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range list {
		fmt.Fprintf(out, "%s %s\n  in %s\n  by %s\n", t.Kind, t.Message, t.Room, t.Sender)
		if t.First != "" {
			fmt.Fprintf(out, "  changes %s\n", t.First)
		}
		from := t.From
		if from == "" {
			from = "elsewhere"
		}
		fmt.Fprintf(table, "  %s\ttaken from %s\n", t.Taken.Format(traceTime), from)
		if !t.Accepted.IsZero() {
			fmt.Fprintf(table, "  %s\taccepted by the room's hub\n", t.Accepted.Format(traceTime))
		}
		for _, l := range t.To {
			fmt.Fprintf(table, "  %s\tfor %s/%s: %s after %d attempts %s%s\n", l.Queued.Format(traceTime), l.Account, l.Chat, l.State, l.Attempts,
				strings.Join(l.Native, " "), reason(l.Reason))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if t.Body {
			fmt.Fprintln(out, "  its content is kept until everybody has it")
		}
	}
	return nil
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
