package router

import "mimigate/core/router/record"

// What the router keeps: see package record.
type (
	Store         = record.Store
	Chat          = record.Chat
	Direction     = record.Direction
	Place         = record.Place
	Binding       = record.Binding
	Conversation  = record.Conversation
	Attendance    = record.Attendance
	Message       = record.Message
	MessageKind   = record.MessageKind
	Reaction      = record.Reaction
	Event         = record.Event
	Delivery      = record.Delivery
	DeliveryState = record.DeliveryState
	Task          = record.Task
	MemberTask    = record.MemberTask
	Counts        = record.Counts
	Status        = record.Status
	AccountStatus = record.AccountStatus
	BindingStatus = record.BindingStatus
	Room          = record.Room
	Rules         = record.Rules
	Bind          = record.Bind
)

// The values of these types.
const (
	Both      = record.Both
	In        = record.In
	Out       = record.Out
	Absent    = record.Absent
	Present   = record.Present
	Removed   = record.Removed
	Said      = record.Said
	Reacted   = record.Reacted
	Undone    = record.Undone
	Rejected  = record.Rejected
	Waiting   = record.Waiting
	Attempted = record.Attempted
	Sent      = record.Sent
	Failed    = record.Failed
	Dropped   = record.Dropped
)
