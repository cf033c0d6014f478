// Package chat is a chat service in memory: rooms, people with clients, and accounts for programs with links that can be broken. Package
// loopback is the adapter for it, as package matrix is the adapter for what a homeserver does. Tests and the demo act in it as
// people do:
//
//	n := chat.New()
//	n.Create("kitchen", "Kitchen")
//	ann, err := n.Join("kitchen", "ann", "Ann")
//	id, err := ann.Say("Lunch?")
//	fmt.Print(n.Transcript("kitchen"))
//
// It knows nothing of MIMI. Everything in it may be used from several goroutines.
package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// What programs may send. People's clients may send anything.
const (
	MaxText = 4000 // octets of a text
	MaxName = 64   // characters of a display name
)

// Network is a chat service.
type Network struct {
	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	log      []Event
	rooms    map[string]*room
	names    map[string]string // display names by user id
	accounts map[string]*account
	made     int // ids and times made
	start    time.Time
}

type room struct {
	id, title string
	members   []string // user ids, in the order in which they joined
	messages  []*Message
	byID      map[string]*Message
	seen      map[string]Receipt // events that programs have chosen the id of
	removed   map[string]bool    // users who were kicked, and may not come back by themselves
}

// New returns a network without rooms.
func New() *Network {
	return &Network{changed: make(chan struct{}), rooms: map[string]*room{}, names: map[string]string{},
		accounts: map[string]*account{}, start: time.Now()}
}

// Kind is what happened.
type Kind string

// The kinds of events.
const (
	Text    Kind = "text"
	Edit    Kind = "edit"
	Delete  Kind = "delete"
	React   Kind = "react"
	Unreact Kind = "unreact"
	Join    Kind = "join"
	Leave   Kind = "leave"
	Kick    Kind = "kick"
	Rename  Kind = "rename" // of a person, once in each room that they are in
	Retitle Kind = "retitle"
	Invite  Kind = "invite"
)

// Event is something that happened. Seq is its place among all events of the network, from 1.
type Event struct {
	Seq  int
	Room string
	ID   string // unique in the network
	At   time.Time
	Kind Kind
	User string // who did it
	Name string // their display name at that time
	// Text of a Text or Edit, the new title of a Retitle, the title of the room of an Invite, or the reason of a Kick.
	Text   string
	Markup bool // Text is marked up: Markdown, with <@user> for mentions
	// To is the message that is edited, deleted or reacted to, or that a Text answers.
	To    string
	Emoji string
	// Undoes is the id of the reaction that an Unreact takes back.
	Undoes string
	// Whom was removed, or invited; the display name.
	Whom, WhomName string
	// Tag is whatever a program has written to its event.
	Tag string

	only string // the one account that learns of it; "" for all
}

// Message is a text as it is now.
type Message struct {
	ID, User, Name string
	Text           string
	Markup         bool
	Edited         bool
	Deleted        bool
	To             string // the message that it answers
	Tag            string
	At             time.Time
	Reactions      []Reaction
}

// Reaction is one emoji of one person.
type Reaction struct{ ID, User, Name, Emoji string }

// Member is somebody in a room.
type Member struct{ User, Name string }

// Code is why the network refuses something.
type Code string

// The codes of a Refusal.
const (
	NoRoom    Code = "no such room"
	NoMember  Code = "not a member"
	NoMessage Code = "no such message"
	Forbidden Code = "forbidden"
	TooLarge  Code = "too large"
	Invalid   Code = "invalid text"
	Busy      Code = "too many requests"
)

// Refusal is an answer of the network that says no.
type Refusal struct {
	Code  Code
	After time.Duration // of Busy: when to come back
}

// Error returns the code.
func (r *Refusal) Error() string { return string(r.Code) }

func refuse(code Code) error { return &Refusal{Code: code} }

// Create makes a room, or gives it a new title.
func (n *Network) Create(id, title string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.rooms[id]; r != nil {
		r.title = title
		return
	}
	n.rooms[id] = &room{id: id, title: title, byID: map[string]*Message{}, seen: map[string]Receipt{}, removed: map[string]bool{}}
}

// Messages returns what is in a room, oldest first.
func (n *Network) Messages(roomID string) []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Message
	if r := n.rooms[roomID]; r != nil {
		for _, m := range r.messages {
			c := *m
			c.Reactions = slices.Clone(m.Reactions)
			out = append(out, c)
		}
	}
	return out
}

// Members returns who is in a room, in the order in which they joined.
func (n *Network) Members(roomID string) []Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Member
	if r := n.rooms[roomID]; r != nil {
		for _, user := range r.members {
			out = append(out, Member{user, n.names[user]})
		}
	}
	return out
}

// Next returns the first event after seq that everybody may see, and waits for it until ctx ends.
func (n *Network) Next(ctx context.Context, seq int) (Event, error) {
	for {
		n.mu.Lock()
		for _, ev := range n.log[min(max(seq, 0), len(n.log)):] {
			if ev.only == "" {
				n.mu.Unlock()
				return ev, nil
			}
		}
		changed := n.changed
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Wait waits until done, which it calls after each change, returns true, or until ctx ends.
func (n *Network) Wait(ctx context.Context, done func() bool) error {
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake tells those who wait; n.mu is held.
func (n *Network) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// record gives an event its place, and an id and a time if it has none; n.mu is held.
func (n *Network) record(ev Event) Event {
	n.made++
	ev.Seq = len(n.log) + 1
	if ev.ID == "" {
		ev.ID = fmt.Sprintf("e%d", n.made)
	}
	ev.At = n.start.Add(time.Duration(n.made) * time.Millisecond)
	if ev.Name == "" {
		ev.Name = n.names[ev.User]
	}
	if ev.Whom != "" && ev.WhomName == "" {
		ev.WhomName = n.names[ev.Whom]
	}
	n.log = append(n.log, ev)
	n.wake()
	return ev
}

// apply checks an event, changes the room by it and records it; n.mu is held.
func (n *Network) apply(ev Event) (Event, error) {
	r := n.rooms[ev.Room]
	if r == nil {
		return Event{}, refuse(NoRoom)
	}
	if !slices.Contains(r.members, ev.User) && ev.Kind != Join {
		return Event{}, refuse(NoMember)
	}
	var err error
	switch ev.Kind {
	case Text:
		return n.applyText(r, ev)
	case React:
		return n.applyReact(r, ev)
	case Edit, Delete:
		err = r.change(ev)
	case Unreact:
		ev.Undoes, ev.To, ev.Emoji, err = r.unreact(ev)
	case Join:
		err = r.join(ev.User)
	case Leave:
		r.leave(ev.User)
	case Kick:
		if !slices.Contains(r.members, ev.Whom) {
			return Event{}, refuse(NoMember)
		}
		r.leave(ev.Whom)
		r.removed[ev.Whom] = true
	case Retitle:
		r.title = ev.Text
	case Invite:
	default:
		err = refuse(Invalid)
	}
	if err != nil {
		return Event{}, err
	}
	return n.record(ev), nil
}

func (n *Network) applyText(r *room, ev Event) (Event, error) {
	if ev.To != "" && r.byID[ev.To] == nil {
		return Event{}, refuse(NoMessage)
	}
	ev = n.record(ev)
	m := &Message{ID: ev.ID, User: ev.User, Name: ev.Name, Text: ev.Text, Markup: ev.Markup, To: ev.To, Tag: ev.Tag, At: ev.At}
	r.messages = append(r.messages, m)
	r.byID[ev.ID] = m
	return ev, nil
}

func (n *Network) applyReact(r *room, ev Event) (Event, error) {
	m := r.byID[ev.To]
	if m == nil || m.Deleted {
		return Event{}, refuse(NoMessage)
	}
	if ev.Emoji == "" || slices.ContainsFunc(m.Reactions, func(x Reaction) bool { return x.User == ev.User && x.Emoji == ev.Emoji }) {
		return Event{}, refuse(Invalid)
	}
	ev = n.record(ev)
	m.Reactions = append(m.Reactions, Reaction{ev.ID, ev.User, ev.Name, ev.Emoji})
	return ev, nil
}

// change edits or deletes the author's own message.
func (r *room) change(ev Event) error {
	m := r.byID[ev.To]
	if m == nil || m.Deleted {
		return refuse(NoMessage)
	}
	if m.User != ev.User {
		return refuse(Forbidden)
	}
	if ev.Kind == Delete {
		m.Deleted, m.Text, m.Reactions = true, "", nil
		return nil
	}
	m.Text, m.Markup, m.Edited = ev.Text, ev.Markup, true
	return nil
}

// unreact takes a reaction back, given by its own id or by message and emoji.
func (r *room) unreact(ev Event) (undoes, to, emoji string, err error) {
	for _, m := range r.messages {
		for i, x := range m.Reactions {
			if x.User == ev.User && (x.ID == ev.Undoes || m.ID == ev.To && x.Emoji == ev.Emoji) {
				m.Reactions = slices.Delete(m.Reactions, i, i+1)
				return x.ID, m.ID, x.Emoji, nil
			}
		}
	}
	return "", "", "", refuse(NoMessage)
}

func (r *room) join(user string) error {
	if r.removed[user] {
		return refuse(Forbidden)
	}
	r.members = append(r.members, user)
	return nil
}

func (r *room) leave(user string) {
	r.members = slices.DeleteFunc(r.members, func(u string) bool { return u == user })
}

// rename gives a user a display name, and says so in each room that they are in; n.mu is held.
func (n *Network) rename(user, name string) {
	if n.names[user] == name {
		return
	}
	n.names[user] = name
	for _, id := range n.roomIDs() {
		if slices.Contains(n.rooms[id].members, user) {
			n.record(Event{Room: id, Kind: Rename, User: user, Name: name})
		}
	}
}

// roomIDs returns the ids of all rooms in order; n.mu is held.
func (n *Network) roomIDs() []string {
	var ids []string
	for id := range n.rooms {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// validText says whether a program may send s.
func validText(s string) error {
	if len(s) > MaxText {
		return refuse(TooLarge)
	}
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		return refuse(Invalid)
	}
	return nil
}

func validName(s string) error {
	if s == "" || utf8.RuneCountInString(s) > MaxName || strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
		return refuse(Invalid)
	}
	return nil
}
