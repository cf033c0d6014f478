package record

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// AccountStatus is the state of one account.
type AccountStatus struct {
	Account, Network string
	State            adapter.AccountState
	Reason, Do       string // why, and what to do about it; empty: nothing to say
	Until            time.Time
	Since            time.Time
}

// BindingStatus is the state of one binding.
type BindingStatus struct {
	Binding
	Title   string
	Problem string // why it does not work; empty: it does
	Counts         // of deliveries to it
}

// Status is what `mimigate status` shows of the router.
type Status struct {
	Accounts []AccountStatus // that have reported anything, by id
	Bindings []BindingStatus
	// Repeated is how often something was sent again since the start although nobody could say whether it had arrived.
	Repeated int64
}

// Text shows the state in lines; nothing is said where there is none.
func (s *Status) Text(nothing string) string {
	var lines []string
	for _, a := range s.Accounts {
		lines = append(lines, fmt.Sprintf("%s (%s): %v %s %s", a.Account, a.Network, a.State, a.Reason, a.Do))
	}
	for _, b := range s.Bindings {
		lines = append(lines, fmt.Sprintf("%s/%s: %d waiting, %d failed %s", b.Account, b.Name, b.Waiting, b.Failed, b.Problem))
	}
	return listing(lines, nothing)
}

// BindingsText lists bindings in lines; nothing is said where there are none.
func BindingsText(all []Binding, nothing string) string {
	var lines []string
	for _, b := range all {
		managed := ""
		if b.Managed != "" {
			managed = " (" + b.Managed + ")"
		}
		lines = append(lines, fmt.Sprintf("%v: %s/%s, %v%s", b.Room, b.Account, b.Name, b.Direction, managed))
	}
	slices.Sort(lines)
	return listing(lines, nothing)
}

func listing(lines []string, nothing string) string {
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	if len(lines) == 0 {
		return nothing
	}
	return strings.Join(lines, "\n")
}

// Room is what configuration says of a room: what is bound to it, and the part of its policy that the router applies.
type Room struct {
	Room  uri.Room
	Rules Rules
	Bind  []Bind
}

// Rules are what a room's policy says to the router. Rooms that configuration does not name have Options.Rules.
type Rules struct {
	ShowJoins bool   // the conversations are told who joins and leaves elsewhere
	Notice    string // told once to each new person; empty: nothing
	Consent   bool   // nothing of a person is passed on before they have said yes
	// Undelivered is how long a message may wait to be delivered; then the sender is told. 0: a week.
	Undelivered time.Duration
	// Networks are the only ones that may be bound; empty: all.
	Networks []string
}

// Bind is a binding as configuration has it.
type Bind struct {
	Chat
	Direction Direction
	At        string // its place, such as config.yaml:41: it is read-only elsewhere
}
