// Package adaptertest is the suite that every adapter passes against its real server (design §9): what a message, an edit, a reply,
// a reaction, a deletion, a member and a failure must become, on whatever network.
//
// A network's test gives a [Network]: its driver, how to make conversations, foreign people who act and read through clients that are
// not ours, and a link that can be broken. What a network cannot do stands in Lacks with the reason, and is reported as skipped;
// what the adapter's Limits say and what Lacks says must agree.
//
//	func TestSuite(t *testing.T) {
//		server := servers.Prosody(t)
//		adaptertest.Run(t, adaptertest.Network{Driver: xmpp.Driver(), …})
//	}
//
// Only tests import this package.
package adaptertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"mimigate/core/adapter"
)

// Network is a network to run the suite on. One server serves the whole run; each case has a conversation and people of its own.
type Network struct {
	// Driver makes the adapters under test.
	Driver adapter.Driver
	// Config returns a new configuration of account 0 or 1, of the type that Driver.Config returns: two accounts (components,
	// application services, logins) of one server, 1 as able as 0. It is called at every start of an adapter; listening
	// addresses must be free by then, and the same for the same account, as the server knows them.
	Config func(t *testing.T, account int) any
	// Conversation makes a native conversation for one case and returns its name as it stands in a binding. Both accounts can
	// open it, and may remove people from it unless KickOut is lacking. An adapter without adapter.Conversations takes the
	// name as the Conversation.
	Conversation func(t *testing.T) string
	// Human lets a person with this display name into a conversation, on a client that is not ours, who may remove others.
	// Two calls make two people, also with the same name. It returns once the person is in.
	Human func(t *testing.T, conversation, name string) Human
	// Link returns what can break the account's connection to the server; it is up. See [Proxy].
	Link func(t *testing.T, account int) Link
	// Missing is the name of a conversation that does not exist and that naming it does not make.
	Missing string
	// Lacks says what this network or this mode cannot do, and why. A case that needs it is skipped with the reason.
	Lacks map[Ability]string

	// HugeBytes is the size of the huge message, in octets, that a person sends and is sent; 0: 50,000.
	HugeBytes int
	// Patience is how long to wait for what must happen; 0: 20 s. A passing run waits as long only where something is held up.
	Patience time.Duration
}

// Human is a person on the network with a client that is not ours, in one conversation. Ids are the client's own and opaque to
// the suite, which never compares them with the adapter's.
type Human interface {
	// Act does one thing and returns the client's id of the native event, if it has one. It returns when the server has taken
	// it. An error that wraps ErrCannot says that this client cannot do or write that; any other fails the case.
	Act(ctx context.Context, act Act) (id string, err error)
	// View returns what the client shows now. A client that learns of things as they happen keeps them for it from the moment
	// the person was let in.
	View(ctx context.Context) (View, error)
}

// ErrCannot is wrapped by Human.Act where the client, not the adapter, is what cannot: it is tolerated for odd input only.
var ErrCannot = errors.New("this client cannot do that")

// Act is something that a person does. It is plain data, so that it may go to a client in another process as JSON.
type Act struct {
	Do Deed `json:"do"`
	// Text to Say, Edit or Reply, or the new display name to Rename to. It may hold anything: control characters, and lone
	// surrogates as the three octets that UTF-8 would give them, if it allowed them.
	Text string `json:"text,omitempty"`
	// To is the message to Edit, Reply, React, Unreact or Delete: an id from Act or View.
	To string `json:"to,omitempty"`
	// Emoji to React with or Unreact.
	Emoji string `json:"emoji,omitempty"`
	// Whom to Kick: a Member.ID.
	Whom string `json:"whom,omitempty"`
}

// Deed is a kind of act.
type Deed string

// The deeds.
const (
	Say     Deed = "say"
	Edit    Deed = "edit"
	Reply   Deed = "reply"
	React   Deed = "react"   // adds one emoji
	Unreact Deed = "unreact" // takes that one back
	Delete  Deed = "delete"  // the person's own message
	Join    Deed = "join"    // again, after Leave
	Leave   Deed = "leave"
	Kick    Deed = "kick"
	Rename  Deed = "rename" // the person's own display name
)

// View is what a client shows of a conversation.
type View struct {
	// Messages, oldest first, as they are now: an edited one once, with its newest text.
	Messages []Seen `json:"messages"`
	// Members are those who are in the conversation now, the person too.
	Members []Member `json:"members"`
}

// Seen is one message as a client shows it.
type Seen struct {
	ID string `json:"id"`
	// Sender is the Member.ID of the author, also after they have left, and Name the name shown with the message.
	Sender string `json:"sender"`
	Name   string `json:"name"`
	Text   string `json:"text"`
	Edited bool   `json:"edited,omitempty"`
	// Deleted: still shown, as deleted. A client may as well leave out what is deleted.
	Deleted bool `json:"deleted,omitempty"`
	// ReplyTo is the Seen.ID of the message answered; empty: none. A quote for clients that know no replies is not in Text.
	ReplyTo   string     `json:"reply_to,omitempty"`
	Reactions []Reaction `json:"reactions,omitempty"`
}

// Reaction is one emoji of one person on a message; Sender is as in Seen.
type Reaction struct {
	Emoji  string `json:"emoji"`
	Sender string `json:"sender"`
	Name   string `json:"name"`
}

// Member is somebody in a conversation as a client shows them.
type Member struct {
	ID   string `json:"id"` // to kick them by
	Name string `json:"name"`
}

// Link is the connection between an account and its network.
type Link interface {
	// Set changes how the network is reached, at once, also for connections that exist.
	Set(Condition)
}

// Condition is a condition of a Link.
type Condition uint8

// The conditions.
const (
	Up   Condition = iota
	Slow           // what the account sends is held up, and arrives once the link is Up again; Down after Slow loses it
	Deaf           // what the account sends arrives, but all that the server answers or sends on this connection is lost
	Down           // no connection, and none can be made
)

// Ability is something that a network, a mode or a client may lack.
type Ability string

// The abilities. In: people to gateway. Out: gateway to people. What has a content.Kind is lacking exactly if the adapter's
// Limits say less than Reduced for it (Out).
const (
	EditIn      Ability = "edits by people"
	EditOut     Ability = "edits by us"
	ReplyIn     Ability = "replies by people"
	ReplyOut    Ability = "replies by us"
	ReactionIn  Ability = "reactions by people"
	ReactionOut Ability = "reactions by us"
	DeleteIn    Ability = "deletions by people"
	DeleteOut   Ability = "deletions by us"

	OwnNames  Ability = "our people under their own names"  // exactly if Limits.Authors is Line
	Namesakes Ability = "two members of one name"           // people are told apart by more than their name
	Markers   Ability = "markers on native events"          // an event comes back with the marker it was sent with
	Known     Ability = "repeated sends known"              // sending the same twice shows it once, without Confirm
	Confirms  Ability = "confirmation of unknown outcomes"  // adapter.Confirmer
	Again     Ability = "offering again what was not taken" // by the server or from its archive
	CatchUp   Ability = "catching up"                       // with what was said while we were away
	Links     Ability = "a link that can be broken"

	RenameIn  Ability = "name changes by people"
	RenameOut Ability = "name changes of our people" // adapter.Profiles
	JoinIn    Ability = "people joining"
	LeaveIn   Ability = "people leaving"
	KickIn    Ability = "people removed by people"
	KickOurs  Ability = "our people removed by people"
	MemberOut Ability = "our people joining and leaving" // adapter.Members
	KickOut   Ability = "people removed by us"           // adapter.Members

	TwoAccounts Ability = "two accounts in one conversation"          // also needed for another gateway's messages
	Missing     Ability = "conversations that cannot be made by name" // Network.Missing
)

func (n Network) patience() time.Duration {
	if n.Patience > 0 {
		return n.Patience
	}
	return 20 * time.Second
}

func (n Network) hugeBytes() int {
	if n.HugeBytes > 0 {
		return n.HugeBytes
	}
	return 50_000
}
