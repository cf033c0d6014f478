// Bench prints what implementations of MLS cost in processor time, one table per suite and GroupContext. make bench-mls runs it.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"mimigate/core/mls/interop"
)

// A participant of a room is about this many bytes of the GroupContext.
const participantBytes = 58

func main() {
	members := flag.Int("members", 1000, "members of the measured group")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *members); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, members int) error {
	implementations := []interop.Implementation{interop.MLSGo{}}
	// Extension type 1 stands in for the participant list: any other would be refused by mls-go.
	list := interop.Extension{Type: 1, Data: bytes.Repeat([]byte{'p'}, participantBytes*members)}
	for _, suite := range []interop.Suite{interop.X25519AES128, interop.P256AES128} {
		for _, extensions := range [][]interop.Extension{nil, {list}} {
			fmt.Fprintf(out, "\n%s, %d members with a state each, %d bytes of extensions in the GroupContext\n", suite.Name, members, size(extensions))
			table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(table, "\tadd all\tjoin\tcommit\tprocess\twarm commit\tsend\treceive\tcommit B\tWelcome B\tstate B\t")
			for _, implementation := range implementations {
				f, err := interop.Measure(ctx, implementation, suite, members, extensions...)
				if err != nil {
					return err
				}
				fmt.Fprintf(table, "%s\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t%d\t%d\t%d\t\n", implementation.Name(), short(f.AddAll), short(f.Join), short(f.Commit),
					short(f.ProcessCommit), short(f.WarmCommit), short(f.Send), short(f.Receive), f.CommitBytes, f.WelcomeBytes, f.StateBytes)
			}
			if err := table.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func size(extensions []interop.Extension) (n int) {
	for _, e := range extensions {
		n += len(e.Data)
	}
	return n
}

// short rounds to three digits or so.
func short(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
