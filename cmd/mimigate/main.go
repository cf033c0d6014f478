// Command mimigate is a gateway that gives people on Matrix, XMPP and other networks a seat in MIMI rooms.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"mimigate/bridges"
)

// The exit codes, which the help of the program tells.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitConfig     = 3
	exitNotRunning = 4
)

func main() { os.Exit(run()) }

// run runs the command line until it is done or interrupted. A second signal ends the process at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	p := &program{drivers: bridges.Drivers()}
	err := rootCommand(p).ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var told *exitError
	code := exitFailed
	if errors.As(err, &told) {
		code = told.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "mimigate: "+text)
	}
	return code
}
