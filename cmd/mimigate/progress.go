package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows on a terminal how far a long work has come; elsewhere it shows nothing.
type progress struct {
	out  io.Writer // nil: nowhere
	unit string
	last time.Time
	most int64
}

// newProgress returns the progress of a work that counts in these units.
func newProgress(out io.Writer, unit string) *progress {
	p := &progress{unit: unit}
	if f, ok := out.(*os.File); ok && terminal(f) {
		p.out = out
	}
	return p
}

// tell shows how much is done, ten times a second at most.
func (p *progress) tell(n int64) {
	if p.most = max(p.most, n); p.out == nil || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.out, "\r%d %s", p.most, p.unit)
}

// end clears what was shown.
func (p *progress) end() {
	if p.out != nil && !p.last.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
