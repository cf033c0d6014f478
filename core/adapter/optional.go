package adapter

import (
	"context"
	"io"
	"time"
)

// The optional interfaces: ten, and no more (design §9). The rules on order, repetition and errors are those of Adapter.Send
// unless said otherwise.

// Confirmer finds out what became of an attempt whose outcome is unknown.
type Confirmer interface {
	// Confirm looks on the network for the native events of out.Marker.Key. It returns what it found; an error that wraps
	// ErrNotDelivered if the network was asked and certainly nothing more arrived than Sent lists; one that wraps ErrUnknown if
	// it offers no way to know; any other error (not connected, say) if it should be asked again.
	Confirm(ctx context.Context, out Outbound) (Sent, error)
}

// Media moves files. Neither side holds a file in memory, nor in plain text on disk.
type Media interface {
	// Download writes the plaintext of a file that this account reported to w, the octets of r; encryption of the
	// network's own is undone and checked. ErrNotFound: it is gone for good. A file longer than r.Max is cut off with
	// an error that wraps ErrRefused.
	Download(ctx context.Context, blob Blob, r Range, w io.Writer) error
	// Upload brings a file to the network, encrypted as the conversation needs it, and returns the handle to send it with.
	// It may be repeated from the start. ErrRefused: too large, or of a type the network refuses.
	Upload(ctx context.Context, file Upload, r io.Reader) (Blob, error)
}

// Range is which part of a file to download.
type Range struct {
	Offset int64 // octets to leave out at the start
	Max    int64 // octets to write at most; 0: no bound
}

// Upload describes a file to upload. Name and type are safe to pass on: already cleaned by the gateway.
type Upload struct {
	Conversation Conversation // empty for an avatar
	Avatar       bool
	Size         int64 // octets; −1: not known
	ContentType  string
	Filename     string
}

// Members carries changes of a room's participants to the network.
type Members interface {
	// SetMember makes a change that happened in the room: it shows one of our people join or leave, or kicks or bans a native
	// person where the account may. What is so already is no error. ErrRefused: it may not; the gateway then warns visibly.
	// ErrUnsupported: there is no such thing here, as where our people have no names of their own.
	SetMember(ctx context.Context, change MemberUpdate) error
}

// MemberUpdate is a change of a room's participants.
type MemberUpdate struct {
	Conversation Conversation
	Change       MemberChange
	// Author is whom it concerns; with Native set it is a person of this network.
	Author Author
	// By is who did it, and Reason what they said; both may be empty.
	By     Author
	Reason string
}

// Profiles shows names and pictures of our people on the network.
type Profiles interface {
	// SetProfile makes the name we show for author.User look as author says. It is called on changes only: what Send needs
	// is in Outbound.Author.
	SetProfile(ctx context.Context, author Author) error
}

// Receipts carries receipts and typing to the network. Failures are not tried again.
type Receipts interface {
	// SendReceipt shows that author has got or read messages.
	SendReceipt(ctx context.Context, in Conversation, author Author, receipt Receipt) error
	// SendTyping shows that author is typing, or no longer. It expires after 30 s unless repeated.
	SendTyping(ctx context.Context, in Conversation, author Author, typing Typing) error
}

// History fetches what was said before.
type History interface {
	// History returns a page of earlier events, oldest first, with History set. It does not pass them to the sink.
	History(ctx context.Context, q HistoryQuery) (HistoryPage, error)
}

// HistoryQuery asks for events of a conversation.
type HistoryQuery struct {
	Conversation Conversation
	Since, Until time.Time // zero: no bound
	Cursor       string    // of the page before; empty: the first
	Max          int       // events a page may hold
}

// HistoryPage is a page of history.
type HistoryPage struct {
	Events []Event
	Next   string // cursor of the next page; empty: this was the last
}

// Login links an account by steps that a human takes part in, and unlinks it. The gateway asks for one step after the other.
type Login interface {
	// LoginStart begins: method is "" for the usual way, or one that the network knows ("qr", "phone").
	LoginStart(ctx context.Context, method string) (LoginStep, error)
	// LoginNext goes on: it answers what the step before asked, or with "" waits until that step is over (a code was scanned or
	// has expired). ErrRefused: the login failed for good.
	LoginNext(ctx context.Context, answer string) (LoginStep, error)
	// Logout unlinks the account on the network.
	Logout(ctx context.Context) error
}

// LoginStep is what to show or to ask next.
type LoginStep struct {
	Say   string // a sentence for the human
	QR    string // the text of a QR code to show; empty: none
	Code  string // a code to type on the phone; empty: none
	Ask   string // what to ask the human for; empty: nothing
	Hide  bool   // the answer is a secret
	Until time.Time
	Done  bool // the account is linked
}

// Finder finds people of the network, for those who may ask.
type Finder interface {
	// Find returns the people that an address of the network names, such as a user id or a phone number; never a listing.
	Find(ctx context.Context, address string) ([]Person, error)
}

// Creator makes native conversations.
type Creator interface {
	// Create makes a room, or a direct chat with the one person invited. Key makes it repeatable: the same Key, the same conversation.
	Create(ctx context.Context, c NewConversation) (Conversation, error)
}

// NewConversation describes a conversation to create.
type NewConversation struct {
	Key         string // as Marker.Key
	Name, Topic string
	Direct      bool
	Invite      []PersonID
	As          Author // which of our people is the other side of a direct chat; zero: the account
}

// Conversations opens and describes the conversations of an account. An adapter without it takes any Conversation as it is and
// hears of all that its account is in.
type Conversations interface {
	// Open resolves the name that stands in a binding (an alias, a JID, an id), joins it if that is needed, and from then on reports
	// its events, beginning with its ConversationState and who is there. It waits for the connection. It may be repeated; what was opened is
	// opened again by Run after each reconnect, but not after a restart of the program: then the gateway opens its bindings anew.
	// ErrNotFound, ErrGone: as they say.
	Open(ctx context.Context, name string) (Conversation, error)
	// Leave ends that: our people and the account leave, as far as the network has such a thing.
	Leave(ctx context.Context, c Conversation) error
	// List returns what the account could open: where it is, or is invited, or what a directory offers.
	List(ctx context.Context) ([]Listed, error)
	// SetState gives the native conversation the room's name, topic or picture (uploaded as Avatar). ErrRefused: the account may not.
	SetState(ctx context.Context, c Conversation, state ConversationState) error
}

// Listed is a conversation in a list.
type Listed struct {
	Name         string // as Open takes it
	Conversation Conversation
	Title        string // for people; may be empty
	Members      int    // 0: not known
	Direct       bool
	Joined       bool
	Encrypted    bool
}
