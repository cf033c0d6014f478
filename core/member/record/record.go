// Package record is what the members of a provider keep, and the store they keep it in.
package record

import (
	"context"
	"crypto/sha256"
	"time"

	"mimigate/core/content"
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

// Groups keeps the state of MLS groups, and who owns their rooms.
type Groups interface {
	// ApplyDelta changes what is stored under a name by the delta of a step.
	ApplyDelta(ctx context.Context, state []byte, delta []mls.Record) error
	// LoadRecords returns all that is stored under a name.
	LoadRecords(ctx context.Context, state []byte) ([]mls.Record, error)
	// OwnRoom makes this instance the owner of a room, if it is not yet, and returns the fencing number of that.
	OwnRoom(ctx context.Context, room uri.Room) (fence int64, err error)
	// CheckRoom fails where this instance does not own the room by that number any more.
	CheckRoom(ctx context.Context, room uri.Room, fence int64) error
}

// Inbox is what the follower role has put on disk.
type Inbox interface {
	// NextInbox returns the oldest request body in a room's inbox; ok is false where there is none.
	NextInbox(ctx context.Context, room uri.Room) (number int64, body []byte, ok bool, err error)
	// DropInbox takes it off.
	DropInbox(ctx context.Context, room uri.Room, number int64) error
	// PutInbox adds a body, unless one of the same hash (see mimi.InboxHash) has been there within the last 7 days.
	PutInbox(ctx context.Context, room uri.Room, body []byte, hash [sha256.Size]byte, now time.Time) (fresh bool, err error)
}

// Outgoing is a message of ours, from Send until it has come back through the inbox.
type Outgoing struct {
	Number  int64 // its place in the room's order of sending, from 1
	From    uri.User
	ID      content.MessageID
	Content []byte // the encoded message, kept sealed
	// Message is the MLSMessage; empty until the sender has a leaf, and again when the hub found its epoch too old. Then After
	// is the epoch that has to come first.
	Message []byte
	After   uint64
}

// Outbox keeps the messages of ours.
type Outbox interface {
	// PutOutgoing adds a message, or replaces the one of its number.
	PutOutgoing(ctx context.Context, room uri.Room, o *Outgoing) error
	// LastOutgoing returns the greatest number there is, 0 where there is none.
	LastOutgoing(ctx context.Context, room uri.Room) (int64, error)
	// NextOutgoing returns the first message after a number, nil where there is none.
	NextOutgoing(ctx context.Context, room uri.Room, after int64) (*Outgoing, error)
	// OutgoingByHash returns the message whose MLSMessage has the hash, nil where there is none.
	OutgoingByHash(ctx context.Context, room uri.Room, hash [sha256.Size]byte) (*Outgoing, error)
	// DropOutgoing forgets a message.
	DropOutgoing(ctx context.Context, room uri.Room, number int64) error
}

// Request is a change of a room that was asked for and that a commit is to make. There is one for each subject at a time.
type Request struct {
	Number  int64  // in the order of asking; given by the store
	Subject string // the user it is about; empty: the room's metadata
	Role    uint32 // what the user is to be
	Exact   bool   // whatever the user is now; otherwise only if the user is not in the room

	Name, About string   // of the room, where it is about that
	KeyPackages [][]byte // of a user elsewhere, to be added with
	Alone       bool     // it was refused in company
}

// Requests keeps the changes that were asked for, and the commit that is to make some of them.
type Requests interface {
	// PutRoomRequest adds a request, in the place of an older one about the same subject.
	PutRoomRequest(ctx context.Context, room uri.Room, r *Request) error
	// RoomRequests returns a room's requests in the order of asking.
	RoomRequests(ctx context.Context, room uri.Room) ([]Request, error)
	// DropRoomRequest forgets a request.
	DropRoomRequest(ctx context.Context, room uri.Room, subject string) error
	// PendingCommit returns the commit that is on its way, nil where there is none.
	PendingCommit(ctx context.Context, room uri.Room) (*Commit, error)
	// SetPendingCommit replaces it; nil: there is none any more.
	SetPendingCommit(ctx context.Context, room uri.Room, c *Commit) error
}

// Commit is a commit of ours from when it is made until it comes back or is refused. The secrets of its epoch are with the
// group's records; those of an external commit are a group of their own.
type Commit struct {
	Request  []byte   // the encoded UpdateRequest
	Subjects []string // of the requests that it fulfils
	Answered bool     // the hub has accepted it
}

// Known is what is remembered of a message, to judge what refers to it.
type Known struct {
	From     uri.User
	Topic    []byte
	Reaction bool
}

// Messages remembers messages for a year.
type Messages interface {
	// KnownMessage returns what is remembered of a message, nil for an unknown one.
	KnownMessage(ctx context.Context, room uri.Room, id content.MessageID) (*Known, error)
	// PutKnownMessage remembers a message.
	PutKnownMessage(ctx context.Context, room uri.Room, id content.MessageID, k *Known, at time.Time) error
}

// KeyPackages keeps the private side of key packages that were handed out. Each is used once.
type KeyPackages interface {
	// PutKeyPackage keeps encoded join secrets under a KeyPackageRef until they expire.
	PutKeyPackage(ctx context.Context, ref, secrets []byte, expires time.Time) error
	// KeyPackage returns them, nil where there are none.
	KeyPackage(ctx context.Context, ref []byte) ([]byte, error)
	// DropKeyPackage forgets them.
	DropKeyPackage(ctx context.Context, ref []byte) error
}

// Stale marks rooms whose group cannot follow any more, and must be joined anew (design §7).
type Stale interface {
	// IsStale reports whether a room is marked.
	IsStale(ctx context.Context, room uri.Room) (bool, error)
	// SetStale marks a room, or takes the mark away.
	SetStale(ctx context.Context, room uri.Room, stale bool) error
	// UnfinishedRooms returns the rooms that are marked, or have messages, requests or a commit on their way.
	UnfinishedRooms(ctx context.Context) ([]uri.Room, error)
}

// Traffic is all that comes and goes.
type Traffic interface {
	Inbox
	Outbox
	Requests
	Messages
}

// Store is what Members keep their state in.
type Store interface {
	Work
	Groups
	Traffic
	KeyPackages
	Stale
}

// KeyStore is where package keys keeps the private side of key packages.
type KeyStore interface {
	Work
	KeyPackages
}
