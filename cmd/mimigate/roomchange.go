package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func roomShowCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "show ROOM", Short: "Show a room: participants, chats, policy, and where it is managed", Args: arguments(cobra.ExactArgs(1)),
		Long: "Show a room: who takes part, what is bound, its policy, and where it is managed. ROOM is the id of one of our rooms, or the\n" +
			"MIMI address of any.",
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			d, err := client.Room(ctx, args[0])
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, d, printRoom)
		})
	}
	return c
}

func printRoom(out io.Writer, d gateway.RoomDetail) error {
	managed := d.Managed
	if managed == "" {
		managed = "not in the configuration"
	}
	fmt.Fprintf(out, "%s  %s (policy %s; %s)\n", d.Room, d.Name, d.Policy, managed)
	if d.Subject != "" {
		fmt.Fprintf(out, "  %s\n", d.Subject)
	}
	if d.Problem != "" {
		fmt.Fprintf(out, "  %s\n", d.Problem)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, b := range d.Bindings {
		fmt.Fprintf(table, "  chat %s\t%s\t%s\n", b.Chat, b.Direction, chatState(b))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, u := range d.Participants {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", u.User, u.Role, u.Name)
	}
	return table.Flush()
}

// changeCommand is a command that asks the gateway for one change and says what was done.
func (p *program) changeCommand(c *cobra.Command, args int, change func(context.Context, *gateway.Client, []string) (string, error)) *cobra.Command {
	c.Args = arguments(cobra.ExactArgs(args))
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
			done, err := change(ctx, client, args)
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, map[string]string{"Done": done}, func(out io.Writer, _ map[string]string) error {
				_, err := fmt.Fprintln(out, done)
				return err
			})
		})
	}
	return c
}

func roomCreateCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "create ID", Short: "Make a room that lives in the store, not in the configuration",
		Long: "Make a room that lives in the store, not in the configuration: a reload never deletes it, and \"mimigate config export\" prints it.\n" +
			"The id is part of the room's address, and permanent.",
	}
	name := c.Flags().String("name", "", "the `name` that people see (default: the id)")
	policy := c.Flags().String("policy", config.DefaultPolicy, "the `id` of its policy")
	return p.changeCommand(c, 1, func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
		address, err := client.CreateRoom(ctx, args[0], *name, *policy)
		return "room " + address, err
	})
}

func roomPolicyCommand(p *program) *cobra.Command {
	return p.changeCommand(&cobra.Command{Use: "policy ROOM POLICY", Short: "Give a room that was made by command another policy of the configuration"}, 2,
		func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
			return fmt.Sprintf("room %s: policy %s", args[0], args[1]), client.SetPolicy(ctx, args[0], args[1])
		})
}

func roomBindCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "bind ROOM ACCOUNT/CHAT", Short: "Bind a chat to a room",
		Long: "Bind a chat to a room: what is said in the one is then said in the other. Whoever runs this command answers for the consent of\n" +
			"both. \"mimigate room discover\" lists the chats. ROOM may also be the address of a room of another provider.",
	}
	direction := c.Flags().String("direction", config.Both, "in (only from the chat to the room), out, or both")
	return p.changeCommand(c, 2, func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
		return fmt.Sprintf("room %s: %s is bound (%s)", args[0], args[1], *direction), client.Bind(ctx, args[0], args[1], *direction)
	})
}

func roomUnbindCommand(p *program) *cobra.Command {
	return p.changeCommand(&cobra.Command{Use: "unbind ACCOUNT/CHAT", Short: "End a binding that was made by command"}, 1,
		func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
			return args[0] + " is no longer bound", client.Unbind(ctx, args[0])
		})
}

func roomInviteCommand(p *program) *cobra.Command {
	return p.changeCommand(&cobra.Command{
		Use: "invite ROOM USER", Short: "Bring somebody into a room, by their MIMI address",
		Long: "Bring somebody into a room, by their MIMI address, such as mimi://chat.example.org/u/inge. mimi://DOMAIN/u/gateway is another\n" +
			"mimigate itself, which then looks after its own people.",
	}, 2, func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
		return fmt.Sprintf("room %s: %s is invited", args[0], args[1]), client.Invite(ctx, args[0], args[1])
	})
}

func roomRemoveCommand(p *program) *cobra.Command {
	return p.changeCommand(&cobra.Command{Use: "remove ROOM USER", Short: "Remove somebody from a room, by their MIMI address"}, 2,
		func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
			return fmt.Sprintf("room %s: %s is removed", args[0], args[1]), client.Remove(ctx, args[0], args[1])
		})
}

func roomBanCommand(p *program) *cobra.Command {
	return p.changeCommand(&cobra.Command{
		Use: "ban ROOM USER", Short: "Ban somebody from a room of this provider, by their MIMI address",
		Long: "Ban somebody from a room of this provider, by their MIMI address: they are removed with all they have in it, and do not come back.",
	}, 2, func(ctx context.Context, client *gateway.Client, args []string) (string, error) {
		return fmt.Sprintf("room %s: %s is banned", args[0], args[1]), client.Ban(ctx, args[0], args[1])
	})
}
