package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"mimigate/core/gateway"
)

func reloadCommand(p *program) *cobra.Command {
	var store string
	c := &cobra.Command{
		Use: "reload", Short: "Let the running gateway apply its configuration anew",
		Long: "Let the running gateway read its configuration file again and apply what differs. An account, room or peer that was added,\n" +
			"changed or removed touches only itself; a file that is wrong changes nothing. What was made by command stays.",
		Args: arguments(cobra.NoArgs),
	}
	c.Flags().StringVar(&store, "store", "", "the gateway's store `directory`, where the file is too wrong to say so (default: as the file says)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		reload := func(ctx context.Context, client *gateway.Client) error {
			changes, err := client.Reload(ctx)
			if errors.Is(err, gateway.ErrConfig) {
				return &exitError{exitConfig, err}
			}
			if err != nil {
				return err
			}
			return show(c.OutOrStdout(), *asJSON, changes, printChanges)
		}
		if store != "" {
			return p.askAt(c.Context(), store, reload)
		}
		return p.ask(c.Context(), reload)
	}
	return c
}

func printChanges(out io.Writer, d gateway.Changes) error {
	nothing := true
	for _, kind := range []struct {
		name string
		gateway.Difference
	}{{"accounts", d.Accounts}, {"rooms", d.Rooms}, {"peers", d.Peers}} {
		for _, change := range []struct {
			name string
			ids  []string
		}{{"added", kind.Added}, {"changed", kind.Changed}, {"removed", kind.Removed}} {
			if len(change.ids) > 0 {
				fmt.Fprintf(out, "%s %s: %s\n", kind.name, change.name, strings.Join(change.ids, ", "))
				nothing = false
			}
		}
	}
	for _, key := range d.Restart {
		fmt.Fprintf(out, "%s: counts only after a restart\n", key)
	}
	for _, line := range d.Say {
		fmt.Fprintln(out, line)
	}
	if nothing {
		fmt.Fprintln(out, "No account, room or peer differs.")
	}
	return nil
}

// reloadOnHangup reloads the gateway at each SIGHUP until ctx ends; the gateway logs what came of it. The function it returns waits for
// that end.
func reloadOnHangup(ctx context.Context, g *gateway.Gateway) func() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-hangup:
				_, _ = g.Reload(ctx) // logged
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(hangup)
		cancel()
		running.Wait()
	}
}
