package gateway

import (
	"context"
	"os"
	"slices"
	"time"

	"mimigate/core/config"
	"mimigate/core/gateway/account"
	"mimigate/core/policy"
	"mimigate/core/router"
	"mimigate/core/uri"
)

// Status is how a gateway does, at one moment.
type Status struct {
	Provider string // its domain; "": local only
	PID      int
	Since    time.Time
	Accounts []AccountStatus
	Rooms    []RoomStatus
	Store    string `json:",omitempty"` // what is wrong with it
	// Repeated is how often since the start a message was shown again, as its network could not say whether it had arrived.
	Repeated int64 `json:",omitempty"`
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
	Failed    int    `json:",omitempty"` // messages that could not be
}

// Status returns how the gateway does.
func (g *Gateway) Status(ctx context.Context) (Status, error) {
	s := Status{PID: os.Getpid(), Since: g.began}
	if !g.config.Load().Provider.Domain.IsZero() {
		s.Provider = g.provider.Domain()
	}
	if err := g.store.Health(); err != nil {
		s.Store = err.Error()
	}
	for _, a := range g.allAccounts() {
		s.Accounts = append(s.Accounts, statusOf(a))
	}
	routed, err := g.router.Status(ctx)
	if err != nil {
		return Status{}, err
	}
	s.Repeated = routed.Repeated
	for _, c := range g.config.Load().Rooms {
		id, err := g.provider.Room(c.ID)
		if err != nil {
			continue // the room's problem tells
		}
		r := g.roomStatus(ctx, id, routed)
		r.Problem = g.problem(c.ID)
		for _, b := range c.Bind {
			if _, usable := g.Account(b.Chat.Account); !usable { // the router does not know it then
				r.Bindings = append(r.Bindings, BindingStatus{Chat: b.Chat.String(), Direction: b.Direction, Problem: "its account cannot be used"})
			}
		}
		s.Rooms = append(s.Rooms, r)
	}
	return s, g.addUnconfigured(ctx, &s, routed)
}

// addUnconfigured adds the rooms that are bound though the configuration does not name them.
func (g *Gateway) addUnconfigured(ctx context.Context, s *Status, routed router.Status) error {
	listed := map[string]bool{}
	for _, r := range s.Rooms {
		listed[r.Room] = true
	}
	for _, b := range routed.Bindings {
		if id := b.Room; !listed[id.String()] {
			listed[id.String()] = true
			s.Rooms = append(s.Rooms, g.roomStatus(ctx, id, routed))
		}
	}
	return ctx.Err()
}

// roomStatus returns how a room does, as far as it can be told.
func (g *Gateway) roomStatus(ctx context.Context, id uri.Room, routed router.Status) RoomStatus {
	r := RoomStatus{Room: id.String()}
	name, _, err := g.members.Description(ctx, id)
	if err != nil {
		r.Problem = err.Error()
	}
	r.Name = name
	if all, err := g.members.Participants(ctx, id); err == nil {
		for _, role := range all {
			if role > uint32(policy.BannedRole) {
				r.Participants++
			}
		}
	}
	for _, b := range routed.Bindings {
		if b.Room != id {
			continue
		}
		chat := BindingStatus{Chat: config.Chat{Account: b.Account, ID: b.Name}.String(), Direction: b.Direction.String(),
			Problem: b.Problem, Waiting: b.Waiting, Failed: b.Failed}
		if a, err := g.account(b.Account); err != nil {
			chat.Problem = err.Error()
		} else if s := a.Now(); !s.Works() {
			chat.Problem = "its account is " + s.State.String()
		}
		chat.Open = b.Opened() && chat.Problem == ""
		r.Bindings = append(r.Bindings, chat)
	}
	return r
}

func (g *Gateway) allAccounts() []*account.Account {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.accounts)
}

func (g *Gateway) setProblem(room, problem string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problems[room] = problem
}

func (g *Gateway) problem(room string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problems[room]
}

// statusOf returns how an account does.
func statusOf(a *account.Account) AccountStatus {
	s := a.Now()
	return AccountStatus{ID: a.ID(), Network: a.Network(), State: s.State.String(), Since: s.Since, Reason: s.Reason, Do: s.Do}
}
