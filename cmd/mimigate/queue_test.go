package main

import (
	"strings"
	"testing"
	"time"

	"mimigate/core/gateway/letters"
)

// TestPrintTraces: each step and destination of a message is a line.
func TestPrintTraces(t *testing.T) {
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	var out strings.Builder
	err := printTraces(&out, []letters.Trace{{Message: "ab12", First: "cd34", Kind: "message", Room: "mimi://a.example/r/x", Sender: "mimi://a.example/u/y",
		From: "matrix !r:example.org", Taken: at, Accepted: at.Add(time.Millisecond), Body: true, To: []letters.Letter{
			{Account: "xmpp", Chat: "x@rooms", State: "sent", Attempts: 1, Queued: at.Add(2 * time.Millisecond), Native: []string{"n1", "n2"}},
			{Account: "wa", Chat: "g", State: "failed", Attempts: 3, Queued: at.Add(2 * time.Millisecond), Reason: "too large"}}}})
	want := `message ab12
  in mimi://a.example/r/x
  by mimi://a.example/u/y
  changes cd34
  2026-11-22 04:00:00.000  taken from matrix !r:example.org
  2026-11-22 04:00:00.001  accepted by the room's hub
  2026-11-22 04:00:00.002  for xmpp/x@rooms: sent after 1 attempts n1 n2
  2026-11-22 04:00:00.002  for wa/g: failed after 3 attempts  (too large)
  its content is kept until everybody has it
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, &out)
	}
}
