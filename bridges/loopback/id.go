package loopback

import (
	"strings"
	"unicode"

	"mimigate/bridges/loopback/chat"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// Rooms, messages and users have ids of their own in the network, which are ours as they are.

func conversation(room string) adapter.Conversation { return adapter.Conversation(room) }
func room(c adapter.Conversation) string            { return string(c) }
func user(p adapter.PersonID) string                { return string(p) }

// speaker returns the user id and display name under which the author of a message speaks.
func (a *Adapter) speaker(author adapter.Author) (id, name string) {
	if author.IsGateway() || a.config.Mode == modeBot {
		return a.config.User, ""
	}
	return a.config.User + "/" + author.User.String(), displayName(author.Name)
}

// ours returns which of our people a user id stands for, and whether it is ours at all: also the account's own is.
func (a *Adapter) ours(user string) (uri.User, bool) {
	if user == a.config.User {
		return uri.User{}, true
	}
	rest, ok := strings.CutPrefix(user, a.config.User+"/")
	if !ok {
		return uri.User{}, false
	}
	u, err := uri.ParseUser(rest)
	return u, err == nil
}

// person is somebody as the network knows them.
func (a *Adapter) person(user, name string) adapter.Person {
	if user == "" {
		return adapter.Person{}
	}
	u, ours := a.ours(user)
	return adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(user)}, Name: name, Verified: true, User: u, Bot: ours && u.IsZero()}
}

// displayName turns any name into one that the network takes: no control characters, in one line, not too long, not empty.
func displayName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	name = strings.Join(strings.Fields(name), " ")
	if runes := []rune(name); len(runes) > chat.MaxName {
		name = strings.TrimSpace(string(runes[:chat.MaxName-1])) + "…"
	}
	if name == "" {
		return "?"
	}
	return name
}
