package adapter

import (
	"time"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// Outbound is a message to show in a conversation.
type Outbound struct {
	Conversation Conversation
	// Marker is to be written into the native event. Its Key names this delivery, and native ids are derived from it.
	Marker Marker
	// Attempt counts from 1. Above 1, the one before certainly failed, or its outcome stayed unknown even to Confirmer.
	Attempt int
	// Author is who wrote it. Its zero value is the gateway itself: answers to commands, notices.
	Author Author
	// Content is degraded to the conversation's Limits. Edits, deletions, reactions and replies are in it as ever; the ids it
	// refers to are MIMI's, and what they are here is in Replaces, InReplyTo and Thread. Its files are blob handles of this
	// account, made by Media.Upload. Text mentions people of this network by links to [PersonID.URL].
	Content content.Message
	// ID of the message, for those that keep a cross-reference; zero for what is no message of a room.
	ID content.MessageID
	// Time the room accepted the message.
	Time time.Time
	// History: show it as of Time, without alerting anybody, if the network can; else it says so in its text already.
	History bool
	// Replaces, InReplyTo and Thread say what Content refers to in this conversation; nil: nothing. A Ref without Parts was
	// never shown here, and Degrade has already turned what refers to it into text.
	Replaces, InReplyTo, Thread *Ref
	// Reactions are all emoji that Author has on InReplyTo once Content is shown, oldest first, for networks that send whole sets
	// or know only one; set for a reaction or the taking back of one.
	Reactions []string
	// Done are parts that arrived in an earlier attempt and must not be sent again.
	Done []NativePart
}

// Author is one of the people of the room, as the adapter is to show them.
type Author struct {
	// User is their MIMI URI: the stable key of the name the adapter makes for them on the network.
	User uri.User
	// Name to show, already made to differ from others' where names collide; never empty, except for the gateway itself.
	Name string
	// Avatar, uploaded to this network; empty: none.
	Avatar Blob
	// Native are their ids where they are a person of this very network (but not of this conversation, or it came from a
	// second binding); empty otherwise.
	Native []PersonID
	Bot    bool
}

// IsGateway reports whether it is the gateway itself that speaks: the adapter shows its own account, and no name in the text.
func (a Author) IsGateway() bool { return a.User.IsZero() }

// Ref is an earlier message as this conversation knows it.
type Ref struct {
	// Parts are its native ids here, in order, of the first version (an edit has ids of its own, see Versions).
	Parts []NativePart
	// Versions are the native ids of its later versions, oldest first.
	Versions []NativeID
	// Ours: we sent it, so we may edit it natively; otherwise somebody wrote it here.
	Ours bool
	// Author as far as known, and for a native one their ids, which networks want for quotes.
	Author Author
	// Excerpt is the beginning of its text for networks whose quotes carry it, plain, at most 200 characters; may be empty,
	// as bodies are not kept for long.
	Excerpt string
	Time    time.Time
}

// Sent is what became of a message.
type Sent struct {
	// Parts are all native events that now show the message, those in Outbound.Done included.
	Parts []NativePart
	// Time is the network's time of it; zero: not known.
	Time time.Time
	// Notes say what this conversation shows less of than Limits promised ("author named in the text: 50 names in use"); they may
	// reach the sender. Empty: nothing.
	Notes []string
}

// NativePart is one native event of a message of several: text that was split has several of the same Part.
type NativePart struct {
	// Part is the index of the content's part (depth first, the body is 0) that the event shows or begins with.
	Part int
	// Piece counts the events of one part from 0.
	Piece int
	ID    NativeID
}
