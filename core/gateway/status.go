package gateway

import "time"

// Status is how a gateway does, at one moment.
type Status struct {
	Provider string // its domain; "": local only
	PID      int
	Since    time.Time
	Accounts []AccountStatus
	Rooms    []RoomStatus
}

// AccountStatus is how an account does.
type AccountStatus struct {
	ID, Network string
	State       string    // "connected", "rejected", …
	Since       time.Time // since when
	Reason      string    `json:",omitempty"`
	Do          string    `json:",omitempty"` // what somebody has to do about it
}

// RoomStatus is how a room does.
type RoomStatus struct {
	Room         string // its address
	Name         string
	Participants int
	Problem      string `json:",omitempty"` // why it does not work
	Bindings     []BindingStatus
}

// BindingStatus is how a chat does that is bound to a room.
type BindingStatus struct {
	Chat      string // account/chat
	Direction string
	Open      bool
	Problem   string `json:",omitempty"` // why it is not open
	Waiting   int    // messages that are still to be shown there
}

// status returns how the account does.
func (a *account) statusNow() AccountStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return AccountStatus{ID: a.config.ID, Network: a.config.Network, State: a.status.State.String(), Since: a.since,
		Reason: a.status.Reason, Do: a.status.Do}
}
