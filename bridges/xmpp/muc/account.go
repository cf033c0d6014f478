// Package muc is the rooms of an account (XEP-0045): who is in them, which of our people show themselves there under their own
// name, what is said, and the archive by which nothing is lost and nothing said twice.
package muc

import (
	"log/slog"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
)

// Account is what the rooms of an account share.
type Account struct {
	talk.Self
	ID           string
	Nick         string        // the gateway's own
	Occupants    int           // how many of our people a room shows under their own name
	OccupantIdle time.Duration // after which they leave
	State        adapter.State
	Log          *slog.Logger
	Waits        *link.Waits
	// Report tells that something about a room does not work; with a zero Problem, that it does again. It does not wait.
	Report func(l *link.Link, room string, p Problem)
}

// Problem is what does not work, and what to do about it; both are for admins.
type Problem struct{ Reason, Do string }
