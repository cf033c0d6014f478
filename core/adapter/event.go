package adapter

import (
	"time"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// Event is something that happened on the network.
type Event struct {
	// Conversation is where; empty for what concerns the whole account (Status, a Profile).
	Conversation Conversation
	// ID is the network's id of the event. With Conversation it is what the gateway recognises a repetition by, so Message,
	// Reactions, Invitation and Command must have one; where the network gives none, the adapter makes one from what identifies
	// the event. It may be empty for what only says how things now are, so that a repetition does no harm: Membership,
	// Profile, ConversationState, Receipt, Typing, Status.
	ID NativeID
	// Sender is who did it, as the network vouches; for a membership change by a moderator, the moderator.
	Sender Person
	// Time is the network's time of the event; zero: not known, i.e. now.
	Time time.Time
	// Own: the event was made by this account or by one of our names, whether by this program (an echo, recognised by its
	// marker or native id) or by a human with the same login on another device (mode personal).
	Own bool
	// Marker is that of the native event, if it bears one.
	Marker Marker
	// History: it happened before now and was fetched (History); it is shown with its time, if at all.
	History bool

	Body Body
}

// Body is what happened: exactly one of Message, Reactions, Membership, Profile, Receipt, Typing, ConversationState, Invitation, Command,
// Status.
type Body interface{ event() }

// Message is something said, edited, deleted or reacted. Whom it refers to is given by native id, any version of it; the
// ids in Content are zero and the router fills them in. Text mentions people by links to [PersonID.URL].
type Message struct {
	// Content as the functions of package content make it. Of an edit it is the whole new content; of a deletion
	// content.Delete, also where what is deleted may turn out to be a reaction.
	Content *content.Message
	// Parts are the native ids of the parts, if the network shows one message as several events; empty: ID is the only one.
	Parts []NativePart
	// Replaces is what is edited or deleted; InReplyTo what is answered or reacted to; Thread the root of the thread, or the
	// network's own name of it. Empty: none.
	Replaces, InReplyTo, Thread NativeID
	// Pending: the content is not there yet (it cannot be decrypted): Content is a line that says so. The real content follows
	// with the same ID, and replaces it.
	Pending bool
}

// Reactions is all that the sender now reacts to a message with, from networks that send whole sets (XEP-0444): the router
// finds what was added and removed. Emoji is empty when all were taken back.
type Reactions struct {
	To    NativeID
	Emoji []string
}

// Membership is a change of who takes part in the native conversation: never mere presence (design §7).
type Membership struct {
	Change MemberChange
	Person Person // who joins, leaves or is removed; Event.Sender is who did it
	Reason string // as written by whoever did it; may be empty
}

// MemberChange is a kind of change of membership.
type MemberChange uint8

// The changes of membership.
const (
	Joined MemberChange = iota + 1 // also: is found to be there, when the conversation is opened
	Left                           // by themself
	Kicked                         // may come back
	Banned                         // may not
	Unbanned
	Invited
)

// Profile says that Event.Sender is now called and looks as Person says; IDs lists all their native ids, old ones too, so that
// two persons found to be one are joined.
type Profile struct{ Person Person }

// Receipt says how far Event.Sender has come with messages.
type Receipt struct {
	IDs    []NativeID
	UpTo   bool // also everything before them
	Status ReceiptStatus
}

// ReceiptStatus is what a receipt says.
type ReceiptStatus uint8

// The statuses, in the order that they can only rise.
const (
	Delivered ReceiptStatus = iota + 1
	Read
)

// Typing says that Event.Sender started or stopped typing. It is never recorded.
type Typing struct{ Active bool }

// ConversationState is what is now known of a native conversation. Nil fields have not changed or are not known.
type ConversationState struct {
	Name, Topic *string
	Picture     *Blob
	// Direct: a chat of the account, or one of our names, with one person.
	Direct *bool
	// Encrypted: nothing may be sent there in plain text. Adapters find out before the first Send, and refuse what they cannot encrypt.
	Encrypted *bool
	// Gone says that the conversation can no longer be reached, and why: "tombstoned", "we were banned".
	Gone *string
	// MovedTo is the conversation that takes its place; ids and bindings follow.
	MovedTo *Conversation
}

// Invitation says that Event.Sender invites the account, or one of our names, to the conversation. The adapter does nothing about
// it: the gateway opens the conversation, or sends a polite no, or nothing.
type Invitation struct{ Name string }

// Command is a request to the gateway itself by native means that are no message, such as XEP-0050. Commands written as
// messages are Messages: the router finds them, the same way on all networks.
type Command struct {
	Text    string // the words after the command's name, as one would type them
	Private bool   // only the sender sees the answer
}

// Status is the state of the account. Its text reaches the admins in their own messenger.
type Status struct {
	State AccountState
	// Reason in a sentence, without secrets, and what to do about it: "mimigate account login family". Empty: nothing to say.
	Reason, Do string
	Until      time.Time // when it will change by itself (a temporary ban, a rate limit); zero: not known
}

// AccountState is the state of an account on its network.
type AccountState uint8

// The states of an account.
const (
	Connecting AccountState = iota + 1
	Connected
	Degraded  // works in part: Reason says which part does not
	LoggedOut // needs Login
	Outdated  // the network refuses this version of the program
	Blocked   // banned, for a time (Until) or for good
	Rejected  // wrong credentials or configuration
)

var accountStates = [...]string{"unknown", "connecting", "connected", "degraded", "logged out", "outdated", "blocked", "rejected"}

// String returns the state in words, e.g. "logged out".
func (s AccountState) String() string {
	if int(s) < len(accountStates) {
		return accountStates[s]
	}
	return accountStates[0]
}

func (Message) event()           {}
func (Reactions) event()         {}
func (Membership) event()        {}
func (Profile) event()           {}
func (Receipt) event()           {}
func (Typing) event()            {}
func (ConversationState) event() {}
func (Invitation) event()        {}
func (Command) event()           {}
func (Status) event()            {}

// Person is one human (or bot) as the network knows them.
type Person struct {
	// IDs are the native ids known to be this person's, the most stable first: a phone number's JID and a LID, say. Persons with
	// an id in common are one. Empty: nobody in particular, e.g. the server.
	IDs []PersonID
	// Name is what the person calls themself: never from an address book. Empty: not known.
	Name string
	// Avatar is the picture they chose; empty: none or not known.
	Avatar Blob
	// Verified: the network vouches that the ids always are this person's. Not so for a nick in a MUC without occupant ids: such
	// a person must not edit or delete what an earlier bearer of the nick wrote.
	Verified bool
	Bot      bool
	// User is set where the person is one of our names, made by the adapter for Author.User: whom of our people it shows. So a
	// native kick of one of our names is known to be that participant's. A mention of one is a link to User in text.
	User uri.User
}
