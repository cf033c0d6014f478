package hub

import (
	"context"
	"crypto/sha256"
	"time"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

// Work runs units of work that travel in the context (design §5).
type Work interface {
	// Do runs fn as a unit, or within ctx's unit as a part of it that may fail by itself.
	Do(ctx context.Context, fn func(context.Context) error) error
	// OnCommit calls f once ctx's unit is committed.
	OnCommit(ctx context.Context, f func())
	// OnRollback calls f if ctx's unit, or the part of it that it was called in, is undone.
	OnRollback(ctx context.Context, f func())
}

// Groups keeps the state of MLS groups.
type Groups interface {
	// ApplyDelta changes what is stored under a name by the delta of a step.
	ApplyDelta(ctx context.Context, state []byte, delta []mls.Record) error
	// LoadRecords returns all that is stored under a name.
	LoadRecords(ctx context.Context, state []byte) ([]mls.Record, error)
}

// Row is what is stored of a room beside its group and its pending proposals.
type Row struct {
	Sequence  uint64 // of the last event that was accepted
	Accepted  uint64 // its timestamp, in milliseconds since 1970
	GroupInfo []byte // of the current epoch, without a ratchet tree: for external commits
}

// Place is where a room stands among the others, and where its files are.
type Place struct {
	Parent     string   // URI of the room that it depends on (mimi-room-policy-04 §5); empty: none
	Membership []byte   // of a room of fixed membership: the digest of its participants
	Hosts      []string // at which its participants' providers keep files (§6.4), in lower case, sorted
	Links      []string // by which people join it (§6.2)
}

// Link is a room's join link.
type Link struct {
	Made  time.Time // when it came into the room
	Guest string    // URI of the user who came by it last; empty: nobody yet
}

// Links keeps who comes by which join link.
type Links interface {
	// HubLink returns a link of a room; ok is false where it has none such.
	HubLink(ctx context.Context, room uri.Room, link string) (l Link, ok bool, err error)
	// UseHubLink says that a user has come by a link.
	UseHubLink(ctx context.Context, room uri.Room, link string, by uri.User) error
	// PutHubGuest says that a user has shown a link, the last one counts.
	PutHubGuest(ctx context.Context, room uri.Room, user uri.User, link string) error
	// HubGuest returns the link that a user has shown and not used; empty: none.
	HubGuest(ctx context.Context, room uri.Room, user uri.User) (link string, err error)
}

// ProposalRow is a pending proposal. Proposals accepted together have one sequence number.
type ProposalRow struct {
	Sequence uint64
	Accepted uint64 // milliseconds since 1970
	Message  []byte // the MLSMessage
}

// Rooms keeps the rooms.
type Rooms interface {
	// OwnRoom makes this instance the owner of a room, if it is not yet, and returns the fencing number of that.
	OwnRoom(ctx context.Context, room uri.Room) (fence int64, err error)
	// CheckRoom fails where this instance does not own the room by that number any more.
	CheckRoom(ctx context.Context, room uri.Room, fence int64) error
	// HubRoom returns a room, nil where there is none.
	HubRoom(ctx context.Context, room uri.Room) (*Row, error)
	// PutHubRoom adds or replaces a room.
	PutHubRoom(ctx context.Context, room uri.Room, row *Row) error
	// HubProposals returns a room's pending proposals in the order in which they were accepted.
	HubProposals(ctx context.Context, room uri.Room) ([]ProposalRow, error)
	// SetHubProposals replaces them.
	SetHubProposals(ctx context.Context, room uri.Room, list []ProposalRow) error
}

// Places keeps the rooms and where they stand.
type Places interface {
	Rooms
	Links
	// PutHubPlace replaces a room's place. Links that are new in it are made at that time.
	PutHubPlace(ctx context.Context, room uri.Room, p Place, at time.Time) error
	// HubChildren returns the rooms that depend on a room.
	HubChildren(ctx context.Context, parent uri.Room) ([]uri.Room, error)
	// HubRoomsOf returns the rooms of fixed membership with this digest.
	HubRoomsOf(ctx context.Context, membership []byte) ([]uri.Room, error)
	// HubAssetHost reports whether any room has files at a host.
	HubAssetHost(ctx context.Context, host string) (bool, error)
}

// Answers keeps the answers to requests, for at least seven days (design §5 rule v).
type Answers interface {
	// HubAnswer returns the answer to a request, nil where it was not made before.
	HubAnswer(ctx context.Context, request [sha256.Size]byte) ([]byte, error)
	// PutHubAnswer keeps the answer to a request.
	PutHubAnswer(ctx context.Context, request [sha256.Size]byte, answer []byte, at time.Time) error
}

// Route is the way of one room's events to one provider: one ordered outbox.
type Route struct {
	Room uri.Room
	To   uri.Provider
}

// Parts says which parts of an event a provider is told.
type Parts uint8

// The parts of an event; they are told in this order.
const (
	PartEvent   Parts = 1 << iota // the message, proposal or commit
	PartWelcome                   // the Welcome that came with it
)

// Event is an accepted event, to be fanned out; both parts are encoded FanoutMessages.
type Event struct {
	Sequence uint64
	Body     []byte
	Welcome  []byte
}

// Outbox keeps events until every provider has them.
type Outbox interface {
	// PutHubEvent adds an event and a row for each provider that is to be told.
	PutHubEvent(ctx context.Context, room uri.Room, e Event, to map[uri.Provider]Parts) error
	// NextHubEvent returns the oldest event that a provider has not been told, and which parts of it; ok is false where there is none.
	NextHubEvent(ctx context.Context, r Route) (e Event, parts Parts, ok bool, err error)
	// HubEventTold takes an event off a provider's outbox, and forgets it after the last.
	HubEventTold(ctx context.Context, r Route, sequence uint64) error
	// HubRoutes returns the outboxes that are not empty.
	HubRoutes(ctx context.Context) ([]Route, error)
}

// Vault keeps what is sealed: the hub's own keys, and reports of abuse for the administrators.
type Vault interface {
	// HubSecret returns the secret of a name; the first time it is made by fresh and kept.
	HubSecret(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error)
	// PutHubReport adds a report.
	PutHubReport(ctx context.Context, r *Report) error
	// HubReports returns the newest reports, at most limit, the newest first.
	HubReports(ctx context.Context, limit int) ([]Report, error)
}

// Store is what a Hub keeps its state in.
type Store interface {
	Work
	Groups
	Places
	Answers
	Outbox
	Vault
}
