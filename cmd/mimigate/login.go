package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"mimigate/core/gateway"
)

func accountLoginCommand(p *program) *cobra.Command {
	l := login{}
	var phone bool
	c := &cobra.Command{
		Use: "login ACCOUNT", Short: "Link an account to a phone: by a QR code here, or by a code to type there", Args: arguments(cobra.ExactArgs(1)),
		Long: "Link an account to a phone, on the gateway that runs. A QR code is shown here, to be scanned by the phone; with --phone a code,\n" +
			"to be typed there. The risk is told first, and has to be confirmed.",
		RunE: func(c *cobra.Command, args []string) error {
			method := "qr"
			if phone {
				method = "phone"
			}
			l.in, l.out = bufio.NewReader(c.InOrStdin()), c.OutOrStdout()
			return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error { return l.run(ctx, client, args[0], method) })
		},
	}
	c.Flags().BoolVar(&phone, "phone", false, "by a code to type on the phone, for the account of a phone number")
	c.Flags().BoolVar(&l.text, "text", false, "print a QR code's text and not the code, for another program to show")
	return c
}

func accountLogoutCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "logout ACCOUNT", Short: "Unlink an account from its phone", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.ask(c.Context(), func(ctx context.Context, client *gateway.Client) error {
				_, err := client.Login(ctx, args[0], "logout", "")
				return err
			})
		},
	}
}

// login is one call of `account login`.
type login struct {
	in   *bufio.Reader
	out  io.Writer
	text bool
}

// run shows each step of the login, and answers it, until the account is linked and connected.
func (l *login) run(ctx context.Context, client *gateway.Client, account, method string) error {
	step, err := client.Login(ctx, account, "start", method)
	for err == nil && !step.Done {
		if step.Say != "" {
			fmt.Fprintln(l.out, step.Say)
		}
		answer := ""
		switch {
		case step.QR != "" && l.text:
			fmt.Fprintln(l.out, step.QR)
		case step.QR != "":
			if err := showCode(l.out, step.QR); err != nil {
				return err
			}
		case step.Code != "":
			fmt.Fprintf(l.out, "\n    %s\n\n", step.Code)
		}
		if step.Ask != "" {
			fmt.Fprintf(l.out, "%s: ", step.Ask)
			if answer, err = l.in.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		step, err = client.Login(ctx, account, "answer", strings.TrimSpace(answer))
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(l.out, step.Say)
	if err := within(ctx, time.Minute, func(ctx context.Context) error { return client.Connected(ctx, account) }); err != nil {
		return fmt.Errorf("account %s: %w", account, err)
	}
	fmt.Fprintf(l.out, "account %s: connected\n", account)
	return nil
}

// quiet is how many light modules must surround a QR code (ISO/IEC 18004).
const quiet = 4

// showCode draws a QR code with half blocks, light on dark whatever the terminal's colours are.
func showCode(out io.Writer, text string) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return fmt.Errorf("the QR code: %w", err)
	}
	light := func(x, y int) bool { return !code.Black(x, y) } // outside of the code it is light
	for y := -quiet; y < code.Size+quiet; y += 2 {
		line := "\x1b[40;97m"
		for x := -quiet; x < code.Size+quiet; x++ {
			switch {
			case light(x, y) && light(x, y+1):
				line += "█"
			case light(x, y):
				line += "▀"
			case light(x, y+1):
				line += "▄"
			default:
				line += " "
			}
		}
		if _, err := fmt.Fprintln(out, line+"\x1b[0m"); err != nil {
			return err
		}
	}
	return nil
}
