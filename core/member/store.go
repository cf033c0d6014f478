package member

import "mimigate/core/member/record"

// What the members keep: see package record.
type (
	Store    = record.Store
	Outgoing = record.Outgoing
	Request  = record.Request
	Commit   = record.Commit
	Known    = record.Known
)
