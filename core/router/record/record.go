// Package record says what the router keeps, and the store that keeps it.
package record

import (
	"context"
	"slices"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// Store keeps what the router must not forget. Every call given a unit's context is a part of that unit.
type Store interface {
	Units
	Bindings
	Conversations
	Messages
	Events
	Deliveries
}

// Units are units of work; see package store.
type Units interface {
	Do(ctx context.Context, fn func(context.Context) error) error // one unit, or a part of ctx's
	OnCommit(ctx context.Context, f func())                       // once ctx's unit is committed
}

// Bindings are the conversations of rooms.
type Bindings interface {
	// Bindings returns those of a room, or with the zero Room all, in order of account and name.
	Bindings(ctx context.Context, room uri.Room) ([]Binding, error)
	// BindingOf returns that of a conversation.
	BindingOf(ctx context.Context, p Place) (Binding, bool, error)
	// PutBinding adds a binding or changes it.
	PutBinding(ctx context.Context, b Binding) error
	// DeleteBinding removes it.
	DeleteBinding(ctx context.Context, chat Chat) error
	// PutBindRequest keeps a binding that still needs the room's say, for a code.
	PutBindRequest(ctx context.Context, code string, b Binding) error
	// TakeBindRequest removes it and returns it.
	TakeBindRequest(ctx context.Context, code string) (Binding, bool, error)
}

// Conversations are what is known of native conversations and of who is there.
type Conversations interface {
	// Conversation returns what is known of one; the zero value for an unknown one.
	Conversation(ctx context.Context, p Place) (Conversation, error)
	// PutConversation keeps that.
	PutConversation(ctx context.Context, p Place, c Conversation) error
	// Attendance returns whether somebody takes part in a conversation.
	Attendance(ctx context.Context, p Place, user uri.User) (Attendance, error)
	// SetAttendance keeps that.
	SetAttendance(ctx context.Context, p Place, user uri.User, a Attendance) error
	// Attended returns the bound conversations that somebody takes part in, of one room, or with the zero Room of all.
	Attended(ctx context.Context, room uri.Room, user uri.User) ([]Binding, error)
	// PersonIDs returns the native ids that a person has on a network.
	PersonIDs(ctx context.Context, network string, user uri.User) ([]adapter.PersonID, error)
}

// Messages are the ids of messages and, for a while, their bodies.
type Messages interface {
	// Message returns a version of a message.
	Message(ctx context.Context, id content.MessageID) (Message, bool, error)
	// PutMessage adds it, or changes when it was accepted.
	PutMessage(ctx context.Context, m Message) error
	// KnowsOrigin reports whether a message is here, or came here from another place than this one.
	KnowsOrigin(ctx context.Context, origin content.MessageID, from Place) (bool, error)
	// Body returns an encoded message, or nil where it was deleted.
	Body(ctx context.Context, id content.MessageID) ([]byte, error)
	// PutBody keeps one until its deliveries are done.
	PutBody(ctx context.Context, id content.MessageID, encoded []byte) error
	Reactions
}

// Reactions are who reacts to what.
type Reactions interface {
	// Reactions returns those of one person to the first version of a message, oldest first.
	Reactions(ctx context.Context, target content.MessageID, sender uri.User) ([]Reaction, error)
	// PutReaction adds one.
	PutReaction(ctx context.Context, target content.MessageID, sender uri.User, r Reaction) error
	// DeleteReaction removes all that one message of a reaction said.
	DeleteReaction(ctx context.Context, id content.MessageID) error
}

// Events are native events and the messages that they are.
type Events interface {
	// NativeEvent returns what a native event is.
	NativeEvent(ctx context.Context, p Place, id adapter.NativeID) (Event, bool, error)
	// PutNativeEvent keeps that.
	PutNativeEvent(ctx context.Context, p Place, ev Event) error
	// NativeEvents returns the native events in a conversation of all versions of a message, by version, part and piece.
	NativeEvents(ctx context.Context, p Place, first content.MessageID) ([]Event, error)
	// MovePlace makes all that is kept of one conversation belong to another.
	MovePlace(ctx context.Context, from, to Place) error
}

// Deliveries are what each conversation is yet to be shown.
type Deliveries interface {
	// Enqueue adds a delivery at the end of its conversation's queue; one whose marker is known is not added again.
	Enqueue(ctx context.Context, d Delivery) error
	// NextDelivery returns the first of a conversation that is not settled.
	NextDelivery(ctx context.Context, p Place) (Delivery, bool, error)
	// PutDelivery changes one: state, attempt, due, done and reason. One that is settled gives up its task, and the body that no
	// other needs; one that failed keeps the body.
	PutDelivery(ctx context.Context, d Delivery) error
	// DeliveryByMarker returns the one with a marker's key.
	DeliveryByMarker(ctx context.Context, marker string) (Delivery, bool, error)
	// PendingPlaces returns the conversations with deliveries that are not settled.
	PendingPlaces(ctx context.Context) ([]Place, error)
	// CountDeliveries returns how many wait and how many failed for good, for each conversation that has any.
	CountDeliveries(ctx context.Context) (map[Place]Counts, error)
}

// Chat is a conversation by the name that stands in configuration.
type Chat struct {
	Account string
	Name    string // as adapter.Conversations.Open takes it
}

// Direction says which way messages cross a binding.
type Direction uint8

// The directions.
const (
	Both Direction = iota
	In             // from the conversation to the room only
	Out            // from the room to the conversation only
)

var directionNames = [...]string{"both", "in", "out"}

// ParseDirection reads what String writes; it reports false for anything else.
func ParseDirection(s string) (Direction, bool) {
	i := slices.Index(directionNames[:], s)
	return Direction(max(i, 0)), i >= 0
}

// String returns both, in or out.
func (d Direction) String() string {
	if int(d) < len(directionNames) {
		return directionNames[d]
	}
	return directionNames[Both]
}

// Place is a conversation on a network, whichever of our accounts sees it.
type Place struct {
	Network      string
	Conversation adapter.Conversation
}

// unopened begins the conversation of a binding whose name has never been resolved: what is to be shown there waits for that.
const unopened = "unopened:"

// Provisional is where deliveries to a chat wait that was never opened.
func Provisional(network string, chat Chat) Place {
	return Place{network, adapter.Conversation(unopened + chat.Account + "/" + chat.Name)}
}

// Opened reports whether the place is a conversation that the network knows.
func (p Place) Opened() bool {
	return p.Conversation != "" && !strings.HasPrefix(string(p.Conversation), unopened)
}

// Counts of deliveries.
type Counts struct{ Waiting, Failed int }

// Binding is a conversation that belongs to a room.
type Binding struct {
	Chat
	Place     // where Conversation is provisional until it was opened once
	Room      uri.Room
	Direction Direction
	Managed   string // place in the configuration; empty: made by command
}

// Conversation is what is known of a native conversation.
type Conversation struct {
	Title, Topic string
	Direct       bool
	Asked        time.Time // when the admins were told of it, unbound
	Declined     time.Time // when a stranger was last told no
}

// Attendance is whether somebody takes part in a native conversation.
type Attendance uint8

// The kinds of attendance.
const (
	Absent  Attendance = iota
	Present            // and so a participant of its room
	Removed            // still there, but removed from the room
)

// Message is a version of a message.
type Message struct {
	ID, First content.MessageID
	// Origin is the message that it first was, where another gateway passed it on; else zero.
	Origin content.MessageID
	Room   uri.Room
	Sender uri.User
	Kind   MessageKind
	Target content.MessageID // of a reaction: the first version of what it is to
	// Place is where it was said; zero: elsewhere.
	Place    Place
	Made     time.Time
	Accepted time.Time // by the hub; zero: not yet
}

// MessageKind is a kind of message, as far as what refers to it differs.
type MessageKind uint8

// The kinds of message.
const (
	Said     MessageKind = iota + 1 // also an edit
	Reacted                         // a reaction
	Undone                          // a deletion, or a reaction taken back
	Rejected                        // refused by the hub: nobody else has it
)

// Reaction is one emoji of somebody to something.
type Reaction struct {
	Emoji string
	ID    content.MessageID // the message that says so
	Made  time.Time
}

// Event is a native event that was taken or made.
type Event struct {
	adapter.NativePart
	Message content.MessageID // zero: it became none
	Pending bool              // its content is yet to come
	Made    time.Time
}

// Delivery is one thing that a conversation is to be shown.
type Delivery struct {
	Place
	Seq     int64  // its order in the conversation, from 1
	Marker  string // adapter.Marker.Key
	Account string
	Room    uri.Room          // zero: a word of the gateway itself
	Author  uri.User          // zero: the gateway itself
	Message content.MessageID // whose body it is
	Task    *Task             // instead of a message
	State   DeliveryState
	Attempt int
	Due     time.Time
	Done    []adapter.NativePart // that arrived in earlier attempts
	Reason  string               // why it failed, or what was not shown
	Made    time.Time
}

// Task is something to do in a conversation that is no message: exactly one field is set.
type Task struct {
	Member  *MemberTask
	Profile bool // show the author's new name
	State   *adapter.ConversationState
}

// MemberTask is a change of membership to show.
type MemberTask struct {
	Change adapter.MemberChange
	By     uri.User
	Native bool // it concerns a native person of this conversation: the author
}

// DeliveryState is what became of a delivery.
type DeliveryState uint8

// The states. Waiting and Attempted are not settled.
const (
	Waiting   DeliveryState = iota
	Attempted               // T5 without T6: the outcome is unknown
	Sent
	Failed  // given up; the body is kept for a retry by command
	Dropped // given up for good
)

// Merge adds the native parts that arrived now to those that arrived before.
func Merge(before, now []adapter.NativePart) []adapter.NativePart {
	out := slices.Clone(before)
	for _, p := range now {
		if !slices.ContainsFunc(out, func(o adapter.NativePart) bool { return o.Part == p.Part && o.Piece == p.Piece }) {
			out = append(out, p)
		}
	}
	return out
}
