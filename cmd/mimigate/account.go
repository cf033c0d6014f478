package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mimigate/core/config"
	"mimigate/core/gateway"
)

func accountCommand(p *program) *cobra.Command {
	c := &cobra.Command{Use: "account", Short: "List accounts, set one up on its network's server, or link one to a phone"}
	c.AddCommand(accountListCommand(p), accountSetupCommand(p), accountLoginCommand(p), accountLogoutCommand(p))
	return c
}

// accountLine is an account in a list.
type accountLine struct {
	gateway.AccountStatus
	Unbound  string
	Problems []string `json:",omitempty"` // of its configuration
}

func accountListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the accounts of the configuration, and how they do if the gateway runs", Args: arguments(cobra.NoArgs),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := p.load()
		if err != nil {
			return err
		}
		var s gateway.Status
		err = p.askAt(c.Context(), cfg.Provider.Files, func(ctx context.Context, client *gateway.Client) (err error) {
			s, err = client.Status(ctx)
			return err
		})
		if err != nil && !errors.Is(err, gateway.ErrNotRunning) {
			return err
		}
		return show(c.OutOrStdout(), *asJSON, accountLines(cfg, s.Accounts), listAccounts)
	}
	return c
}

func accountLines(cfg *config.Config, states []gateway.AccountStatus) (lines []accountLine) {
	for _, a := range cfg.Accounts {
		l := accountLine{AccountStatus: gateway.AccountStatus{ID: a.ID, Network: a.Network, State: "not running"}, Unbound: a.Unbound}
		if i := slices.IndexFunc(states, func(s gateway.AccountStatus) bool { return s.ID == a.ID }); i >= 0 {
			l.AccountStatus = states[i]
		} else if len(a.Problems) > 0 {
			l.State = "cannot be used"
		}
		for _, problem := range a.Problems {
			l.Problems = append(l.Problems, problem.String())
		}
		lines = append(lines, l)
	}
	return lines
}

func listAccounts(out io.Writer, lines []accountLine) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ACCOUNT\tNETWORK\tSTATE\tUNBOUND CHATS")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", l.ID, l.Network, l.State, l.Unbound)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range lines {
		for _, problem := range l.Problems {
			fmt.Fprintln(out, problem)
		}
		sayState(out, l.AccountStatus)
	}
	return nil
}

// sayState tells what is wrong with an account.
func sayState(out io.Writer, s gateway.AccountStatus) {
	if s.Reason != "" {
		fmt.Fprintf(out, "%s: %s\n", s.ID, s.Reason)
	}
	if s.Do != "" {
		fmt.Fprintf(out, "%s: to do: %s\n", s.ID, s.Do)
	}
}

func accountSetupCommand(p *program) *cobra.Command {
	s := setup{program: p}
	c := &cobra.Command{
		Use: "setup ACCOUNT", Short: "Write what has to be installed on the network's server, say how, and test it",
		Long: "Write what has to be installed on the network's server for an account (a Matrix registration file, a block for the XMPP\n" +
			"server's configuration), and say where it belongs. Then, on a terminal once you press Enter, or with --test at once,\n" +
			"the account is connected, and the server asked to reach us.",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			s.in, s.out = c.InOrStdin(), c.OutOrStdout()
			return s.run(c.Context(), args[0])
		},
	}
	c.Flags().StringVar(&s.dir, "dir", "", "`directory` to write to (default: that of the configuration)")
	c.Flags().BoolVar(&s.force, "force", false, "write over files that are there and differ")
	c.Flags().BoolVar(&s.test, "test", false, "write nothing, only test the connection")
	c.Flags().DurationVar(&s.wait, "wait", 30*time.Second, "how long the test waits for a connection")
	return c
}

// setup is one call of `account setup`.
type setup struct {
	*program
	dir         string
	force, test bool
	wait        time.Duration
	in          io.Reader
	out         io.Writer
}

func (s *setup) run(ctx context.Context, id string) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Accounts, func(a config.Account) bool { return a.ID == id })
	if i < 0 {
		return &exitError{exitConfig, fmt.Errorf("no account %s in %s; there are: %s", id, cfg.File, accountIDs(cfg))}
	}
	if s.test {
		return s.connect(ctx, cfg, id)
	}
	if err := s.install(cfg, cfg.Accounts[i]); err != nil {
		return err
	}
	if !terminal(s.in) {
		fmt.Fprintf(s.out, "\nWhen that is done, test it: mimigate account setup --test %s\n", id)
		return nil
	}
	fmt.Fprint(s.out, "\nWhen that is done, press Enter to test it (Ctrl-C: not now). ")
	if _, err := bufio.NewReader(s.in).ReadString('\n'); err != nil {
		return nil
	}
	if cfg, err = s.load(); err != nil { // it may name the new file now
		return err
	}
	return s.connect(ctx, cfg, id)
}

// install writes the files and says the steps.
func (s *setup) install(cfg *config.Config, a config.Account) error {
	todo, err := gateway.Setup(s.gateway(cfg, slog.New(slog.DiscardHandler)), a)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	if s.dir == "" {
		s.dir = filepath.Dir(cfg.File)
	}
	for _, f := range todo.Files {
		if err := s.write(f.Path, f.Content, f.Secret); err != nil {
			return err
		}
	}
	for n, step := range todo.Say {
		fmt.Fprintf(s.out, "\n%d. %s\n", n+1, step)
	}
	return nil
}

func (s *setup) write(name string, content []byte, secret bool) error {
	path := filepath.Join(s.dir, name)
	if filepath.IsAbs(name) {
		path = name
	}
	before, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(before, content):
		fmt.Fprintf(s.out, "%s is there already, and right.\n", path)
		return nil
	case err == nil && !s.force:
		return fmt.Errorf("%s is there and differs: if the server uses it, name it in the configuration, so that its tokens are kept; "+
			"--force writes over it", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	mode := os.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s written.\n", path)
	return os.Chmod(path, mode) // an older file keeps its mode otherwise
}

// connect tests an account.
func (s *setup) connect(ctx context.Context, cfg *config.Config, id string) (err error) {
	i, err := gateway.Inspect(ctx, s.gateway(cfg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	if err := within(ctx, s.wait, func(ctx context.Context) error { return i.Connected(ctx, id) }); err != nil {
		return fmt.Errorf("account %s: %w", id, err)
	}
	fmt.Fprintf(s.out, "account %s: connected\n", id)
	return nil
}

func accountIDs(cfg *config.Config) string {
	text := ""
	for i, a := range cfg.Accounts {
		if i > 0 {
			text += ", "
		}
		text += a.ID
	}
	if text == "" {
		return "none"
	}
	return text
}

// terminal reports whether somebody sits at the other end.
func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
