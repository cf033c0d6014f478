package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mimigate/core/config/matterbridge"
	"mimigate/core/config/quickstart"
	"mimigate/core/gateway"
)

func quickstartCommand(p *program) *cobra.Command {
	q := starting{program: p}
	c := &cobra.Command{
		Use: "quickstart", Short: "Write a working configuration, its secrets and keys, from five answers",
		Long: "Write a working configuration, its secrets and keys, from five answers: given as flags, or asked for on a terminal. Nothing that is\n" +
			"there is written over. What then has to be installed on the servers is said, and \"mimigate serve\" runs it.",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			q.in, q.out = c.InOrStdin(), c.OutOrStdout()
			q.asked = c.Flags().NFlag() == 0 && terminal(q.in)
			return q.run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&q.dir, "dir", ".", "`directory` for all that is written")
	f.StringVar(&q.Domain, "domain", "", "`domain` of this provider, permanent (default: none, local only)")
	f.StringVar(&q.Matrix, "matrix", "", "`address` of your Matrix homeserver, such as https://matrix.example.org")
	f.StringVar(&q.XMPP, "xmpp", "", "`address and domain` of a component of your XMPP server, such as \"127.0.0.1:5347 bridge.example.org\"")
	f.StringVar(&q.Admin, "admin", "", "`who` may command, as network:id, such as matrix:@fuchs:example.org")
	f.StringSliceVar(&q.Bind, "bind", nil, "`chats` to bind to the first room, as account/chat, the accounts being matrix and xmpp")
	f.StringVar(&q.Room, "room", "", "`name` of the first room")
	f.BoolVar(&q.systemd, "systemd", false, "also write a systemd unit")
	f.BoolVar(&q.compose, "compose", false, "also write a compose file")
	return c
}

// starting is one call of quickstart.
type starting struct {
	*program
	quickstart.Answers
	dir              string
	systemd, compose bool
	asked            bool
	in               io.Reader
	out              io.Writer
}

func (q *starting) run(ctx context.Context) error {
	if q.asked {
		if err := q.ask5(); err != nil {
			return err
		}
	}
	files, err := q.Files(q.systemd)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if q.systemd {
		files = append(files, quickstart.Service())
	}
	if q.compose {
		files = append(files, quickstart.Compose())
	}
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := create(q.out, filepath.Join(q.dir, f.Name), f.Content, f.Secret); err != nil {
			return err
		}
	}
	q.config = filepath.Join(q.dir, quickstart.ConfigFile)
	return q.prepare(ctx)
}

// ask5 asks the questions.
func (q *starting) ask5() error {
	lines := bufio.NewScanner(q.in)
	for _, question := range []struct {
		text string
		to   *string
	}{
		{"1. The domain of this provider, part of every address and permanent (empty: none, local only)", &q.Domain},
		{"2. The address of your Matrix homeserver, such as https://matrix.example.org (empty: none)", &q.Matrix},
		{"3. Address and domain of a component of your XMPP server, such as 127.0.0.1:5347 bridge.example.org (empty: none)", &q.XMPP},
		{"4. Who may command, such as matrix:@fuchs:example.org (empty: nobody)", &q.Admin},
		{"5. Chats to bind to a first room, such as matrix/#familie:example.org xmpp/familie@rooms.example.org (empty: none yet)", nil},
	} {
		fmt.Fprintln(q.out, question.text)
		fmt.Fprint(q.out, "> ")
		if !lines.Scan() {
			return errors.Join(errors.New("no answer, nothing was written"), lines.Err())
		}
		if question.to == nil {
			q.Bind = strings.Fields(lines.Text())
			continue
		}
		*question.to = strings.TrimSpace(lines.Text())
	}
	return nil
}

// create writes a file that is not there yet.
func create(out io.Writer, path string, content []byte, secret bool) error {
	mode := os.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and is left as it is; choose another --dir", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s written.\n", path)
	return err
}

// prepare makes what the networks' servers need, the store, its key and the provider's authority, and says what is next.
func (q *starting) prepare(ctx context.Context) error {
	cfg, err := q.load()
	if err != nil {
		return err
	}
	for _, a := range cfg.Accounts {
		fmt.Fprintf(q.out, "\nAccount %s:\n", a.ID)
		s := setup{program: q.program, out: q.out}
		if err := s.install(cfg, a); err != nil {
			return err
		}
	}
	if cfg, err = q.load(); err != nil { // the files are there now
		return err
	}
	if q.systemd {
		fmt.Fprintf(q.out, "\nCopy what was written to /etc/mimigate, and mimigate.service to /etc/systemd/system; the unit says how. "+
			"The service makes its store and keys: keep a copy of %s elsewhere.\n", cfg.Provider.MasterKey.File)
		return nil
	}
	// Opening the store makes it, its key, and the provider's authority.
	err = gateway.WithPeering(ctx, q.gateway(cfg, slog.New(slog.DiscardHandler)), func(*gateway.Peering) error { return nil })
	if err != nil {
		return err
	}
	fmt.Fprintf(q.out, "\nThe store is %s, sealed under the key in %s: keep a copy of the key elsewhere.\n", cfg.Provider.Files, cfg.Provider.MasterKey.File)
	if !cfg.Provider.Domain.IsZero() {
		fmt.Fprintf(q.out, "Another provider connects with you by the text that this prints: mimigate peer invite -c %s\n", q.config)
	}
	fmt.Fprintf(q.out, "\nNext:\n  mimigate config check --online -c %[1]s\n  mimigate room discover -c %[1]s\n  mimigate serve -c %[1]s\n", q.config)
	return nil
}

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "import FILE", Short: "Carry a matterbridge.toml over, and list what cannot be",
		Long: "Make a configuration of a matterbridge.toml: accounts on Matrix and XMPP (as bots), gateways as rooms. Secrets go into files of\n" +
			"their own. What cannot be carried over is listed. Nothing that is there is written over.",
		Args: arguments(cobra.ExactArgs(1)),
	}
	dir := c.Flags().String("dir", ".", "`directory` for what is written")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		got, err := matterbridge.Import(text)
		if err != nil {
			return &exitError{exitConfig, err}
		}
		told := c.OutOrStdout()
		if *asJSON {
			told = io.Discard
		}
		if err := create(told, filepath.Join(*dir, quickstart.ConfigFile), []byte(got.Config), false); err != nil {
			return err
		}
		for name, secret := range got.Secrets {
			if err := create(told, filepath.Join(*dir, name), []byte(secret), true); err != nil {
				return err
			}
		}
		return show(c.OutOrStdout(), *asJSON, map[string][]string{"Not": got.Not}, func(out io.Writer, _ map[string][]string) error {
			for _, line := range got.Not {
				fmt.Fprintf(out, "not carried over: %s\n", line)
			}
			fmt.Fprintf(out, "Next: mimigate config check -c %s\n", filepath.Join(*dir, quickstart.ConfigFile))
			return nil
		})
	}
	return c
}
