package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func peerCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "peer", Short: "Connect with other organisations' providers",
		Long: "Connect with another organisation's provider. Each administrator runs \"mimigate peer invite\" and gives the text that it prints to\n" +
			"the other one, who runs \"mimigate peer accept\" with it. It works whether the gateway runs or not.",
	}
	c.AddCommand(peerInviteCommand(p), peerAcceptCommand(p), peerListCommand(p), peerRemoveCommand(p))
	return c
}

// peering loads the configuration and calls f with its peering.
func (p *program) peering(c *cobra.Command, f func(*gateway.Peering) error) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	return gateway.WithPeering(c.Context(), p.gateway(cfg, nil), f)
}

func peerInviteCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "invite", Short: "Print the text by which another provider accepts this one", Args: arguments(cobra.NoArgs),
		Long: "Print the text by which another provider accepts this one: its domain, where it is reached, and what its certificates descend\n" +
			"from. Nothing in it is secret, and it does not change; but it must reach the other administrator as it is.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.peering(c, func(peers *gateway.Peering) error {
				i, err := peers.Invitation(c.Context())
				if err != nil {
					return err
				}
				fmt.Fprintln(c.OutOrStdout(), i.Text)
				fmt.Fprintf(c.ErrOrStderr(), "\nThis invites to %s at %s.\nFingerprint, for comparing by another way: %s\n", i.Domain, i.URL, i.Fingerprint)
				return nil
			})
		},
	}
}

// invitationMax is the longest text that is read as an invitation, in octets.
const invitationMax = 64 << 10

func peerAcceptCommand(p *program) *cobra.Command {
	var may config.May
	var block bool
	c := &cobra.Command{
		Use: "accept [TEXT]", Short: "Accept another provider by its text, from the command line or standard input",
		Long: "Accept another provider by the text that its administrator sent. Line breaks, blanks and quotes in it do not matter. A provider that\n" +
			"was accepted before is replaced. With --print nothing is accepted, and what stands under peers in the configuration is printed.",
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkMay(may); err != nil {
				return usage(c, err)
			}
			text := strings.Join(args, "\n")
			if len(args) == 0 || text == "-" {
				read, err := io.ReadAll(io.LimitReader(c.InOrStdin(), invitationMax+1))
				if err != nil {
					return err
				}
				text = string(read)
			}
			if block {
				return printPeer(c.OutOrStdout(), text, may)
			}
			return p.peering(c, func(peers *gateway.Peering) error {
				i, err := peers.Accept(c.Context(), text, may)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "Accepted %s at %s.\nFingerprint, for comparing by another way: %s\n", i.Domain, i.URL, i.Fingerprint)
				return nil
			})
		},
	}
	c.Flags().StringVar(&may.Invite, "invite", "ask", "what becomes of their invitations of our people: ask, allow or deny")
	c.Flags().StringVar(&may.Search, "search", "deny", "whether they may search for our people: allow or deny")
	c.Flags().BoolVar(&block, "print", false, "only print the lines for the configuration")
	return c
}

func checkMay(may config.May) error {
	switch may.Invite {
	case "ask", "allow", "deny":
	default:
		return errors.New("--invite is ask, allow or deny")
	}
	if may.Search != "allow" && may.Search != "deny" {
		return errors.New("--search is allow or deny")
	}
	return nil
}

// printPeer prints an invitation as it stands in the configuration.
func printPeer(out io.Writer, text string, may config.May) error {
	i, err := gateway.ReadInvitation(text)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "peers:\n  - id: %s\n    domain: %s\n    url: %s\n", i.Domain, i.Domain, i.URL)
	if i.CA != "" {
		fmt.Fprintf(out, "    ca: |\n      %s\n", strings.ReplaceAll(strings.TrimSpace(i.CA), "\n", "\n      "))
	}
	fmt.Fprintf(out, "    may: {invite: %s, search: %s}\n", may.Invite, may.Search)
	return nil
}

func peerListCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the peers and, where the gateway runs, how they do", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.peering(c, func(peers *gateway.Peering) error {
				list, err := peers.List(c.Context())
				if err != nil {
					return err
				}
				return listPeers(c.OutOrStdout(), list)
			})
		},
	}
}

func listPeers(out io.Writer, list []gateway.PeerStatus) error {
	if len(list) == 0 {
		fmt.Fprintln(out, `No peers. "mimigate peer invite" prints the text for another administrator.`)
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PEER\tSTATE\tINVITATIONS\tMANAGED BY\tURL")
	for _, p := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", p.Domain, peerState(p), p.Invite, p.From, p.URL)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range list {
		if p.Problem != "" {
			fmt.Fprintf(out, "%s: %s\n", p.Domain, p.Problem)
		}
	}
	return nil
}

// peerState says in words how a peer does.
func peerState(p gateway.PeerStatus) string {
	switch {
	case p.Problem != "":
		return "does not work"
	case p.Connected:
		return "connected"
	}
	return "not running"
}

func peerRemoveCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN", Short: "Disconnect a peer that was accepted by command", Args: arguments(cobra.ExactArgs(1)),
		Long: "Disconnect a peer that was accepted by command: it is neither asked nor answered any more. Its people stay in the rooms where they are\n" +
			"until they are removed there.",
		RunE: func(c *cobra.Command, args []string) error {
			return p.peering(c, func(peers *gateway.Peering) error {
				if err := peers.Remove(c.Context(), args[0]); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "Removed %s.\n", args[0])
				return nil
			})
		},
	}
}
