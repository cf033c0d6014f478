// Package order is what admins order about the people of a room, and what people answer who are asked into one: in words, and by
// addresses (design §8). Who may order, the router knows.
package order

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mimigate/core/identity"
	"mimigate/core/router/phrase"
	"mimigate/core/uri"
)

// Elsewhere is what other providers can be asked. All calls but Find are part of the unit in ctx.
type Elsewhere interface {
	// Knows reports whether a provider is a peer of ours.
	Knows(p uri.Provider) bool
	// Find asks a peer for the users that a text finds.
	Find(ctx context.Context, p uri.Provider, text string) ([]Found, error)
	// Request asks a user of a peer whether one of ours may bring them into a room.
	Request(ctx context.Context, s identity.Scope) error
	// Answer tells what one of our people says to such a request.
	Answer(ctx context.Context, s identity.Scope, granted bool) error
	// Waiting returns what one of our people has been asked and has not answered.
	Waiting(ctx context.Context, target uri.User) ([]identity.Permission, error)
}

// Found is somebody whom a peer has found.
type Found struct {
	User uri.User
	Name string // may be empty
}

// Orders carries them out.
type Orders struct {
	Provider  uri.Provider
	Language  string    // of answers, RFC 5646
	Elsewhere Elsewhere // nil: there are no other providers

	// Those of package member.
	EnsureParticipant func(ctx context.Context, room uri.Room, user uri.User, role uint32) error
	SetRole           func(ctx context.Context, room uri.Room, user uri.User, role uint32) error
	Participants      func(ctx context.Context, room uri.Room) (map[uri.User]uint32, error)
}

// Refusal is why an order cannot be carried out: something to tell, and no failure of ours.
type Refusal struct{ Err error }

// Error returns what is to be told.
func (r Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error itself.
func (r Refusal) Unwrap() error { return r.Err }

// The roles that are given by name (package policy), and that of another gateway, which looks after its own people.
var roles = map[string]uint32{"member": 2, "admin": 3, "owner": 4}

const (
	noRole      = 0
	bannedRole  = 1
	memberRole  = 2
	gatewayRole = 6
)

func (o *Orders) say(p phrase.Phrase, args ...any) string { return phrase.Say(o.Language, p, args...) }

func (o *Orders) refuse(p phrase.Phrase, args ...any) error {
	return Refusal{errors.New(o.say(p, args...))}
}

// Obey carries out an order about the people of a room, zero for a conversation that has none, and returns what to answer; ok is
// false where the words are no such order.
func (o *Orders) Obey(ctx context.Context, room uri.Room, words []string) (answer string, ok bool, err error) {
	line := ""
	if len(words) > 0 {
		line = fmt.Sprint(words[0], " ", len(words)-1)
	}
	var do func() (string, error)
	switch line {
	case "people 0":
		do = func() (string, error) { return o.people(ctx, room) }
	case "invite 1", "invite 2":
		do = func() (string, error) { return o.invite(ctx, room, words[1:]) }
	case "kick 1", "ban 1", "unban 1", "role 2":
		do = func() (string, error) { return o.change(ctx, room, words) }
	default:
		return "", false, nil
	}
	if room.IsZero() {
		return "", true, o.refuse(phrase.NotBound)
	}
	answer, err = do()
	return answer, true, err
}

// people lists who is in a room.
func (o *Orders) people(ctx context.Context, room uri.Room) (string, error) {
	all, err := o.Participants(ctx, room)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, user := range slices.SortedFunc(maps.Keys(all), func(a, b uri.User) int { return strings.Compare(a.String(), b.String()) }) {
		lines = append(lines, fmt.Sprintf("%v: %s", user, roleName(all[user])))
	}
	if len(lines) == 0 {
		return o.say(phrase.Nothing), nil
	}
	return strings.Join(lines, "\n"), nil
}

func roleName(role uint32) string {
	for name, r := range roles {
		if r == role {
			return name
		}
	}
	switch role {
	case bannedRole:
		return "banned"
	case gatewayRole:
		return "gateway"
	}
	return fmt.Sprint("role ", role)
}

// user reads an address. One of another provider has to be of a peer's.
func (o *Orders) user(text string) (uri.User, error) {
	u, err := uri.ParseUser(text)
	if err != nil {
		return u, o.refuse(phrase.NoAddress, text)
	}
	if u.Provider() != o.Provider && (o.Elsewhere == nil || !o.Elsewhere.Knows(u.Provider())) {
		return u, o.refuse(phrase.NoPeer, u.Domain())
	}
	return u, nil
}

func (o *Orders) role(text string) (uint32, error) {
	role, ok := roles[text]
	if !ok {
		return 0, o.refuse(phrase.NoRole, text, strings.Join(slices.Sorted(maps.Keys(roles)), ", "))
	}
	return role, nil
}

// gateway is the participant by which a provider's gateway looks after its people (design §7).
func gateway(p uri.Provider) (uri.User, error) { return p.User("gateway") }

// usualRole is that of a member, or of another gateway.
func usualRole(user uri.User) uint32 {
	if g, err := gateway(user.Provider()); err == nil && user == g {
		return gatewayRole
	}
	return memberRole
}

// invite brings somebody in. Who is asked first by their own provider, and has not agreed yet, comes once they have: see Answered.
func (o *Orders) invite(ctx context.Context, room uri.Room, words []string) (string, error) {
	user, err := o.user(words[0])
	if err != nil {
		return "", err
	}
	role := usualRole(user)
	if len(words) > 1 {
		if role, err = o.role(words[1]); err != nil {
			return "", err
		}
	}
	if user.Provider() != o.Provider {
		us, err := gateway(o.Provider)
		if err != nil {
			return "", err
		}
		if err := o.Elsewhere.Request(ctx, identity.Scope{Requester: us, Target: user, Room: room}); err != nil {
			return "", err
		}
	}
	if err := o.EnsureParticipant(ctx, room, user, role); err != nil {
		return "", err
	}
	return o.say(phrase.Invited, user.String()), nil
}

// change removes, bans or unbans somebody who is in the room, or gives them a role.
func (o *Orders) change(ctx context.Context, room uri.Room, words []string) (string, error) {
	user, err := uri.ParseUser(words[1])
	if err != nil {
		return "", o.refuse(phrase.NoAddress, words[1])
	}
	all, err := o.Participants(ctx, room)
	if err != nil {
		return "", err
	}
	now := all[user]
	to := uint32(noRole)
	switch words[0] {
	case "ban":
		to = bannedRole
	case "role":
		if to, err = o.role(words[2]); err != nil {
			return "", err
		}
	}
	if now == noRole && words[0] != "ban" || (now == bannedRole) != (words[0] == "unban") {
		return "", o.refuse(phrase.NotThere, user.String())
	}
	if err := o.SetRole(ctx, room, user, to); err != nil {
		return "", err
	}
	return o.say(phrase.Ordered), nil
}

// Leave takes all our people out of a room of another provider.
func (o *Orders) Leave(ctx context.Context, room uri.Room) error {
	if room.Provider() == o.Provider {
		return o.refuse(phrase.OurRoom)
	}
	all, err := o.Participants(ctx, room)
	if err != nil {
		return err
	}
	us, err := gateway(o.Provider)
	if err != nil {
		return err
	}
	leave := slices.DeleteFunc(slices.Collect(maps.Keys(all)), func(u uri.User) bool { return u.Provider() != o.Provider || u == us })
	if all[us] > bannedRole {
		leave = append(leave, us) // last: it can take the others along
	}
	for _, u := range leave {
		if err := o.SetRole(ctx, room, u, noRole); err != nil {
			return err
		}
	}
	return nil
}

// Find asks a peer for users by text@domain, and returns what to answer. It is no part of a unit.
func (o *Orders) Find(ctx context.Context, words string) (string, error) {
	at := strings.LastIndexByte(words, '@')
	p, err := uri.NewProvider(words[at+1:])
	if at < 1 || err != nil {
		return "", o.refuse(phrase.NoAddress, words)
	}
	if o.Elsewhere == nil || !o.Elsewhere.Knows(p) {
		return "", o.refuse(phrase.NoPeer, p.Domain())
	}
	found, err := o.Elsewhere.Find(ctx, p, words[:at])
	if err != nil {
		return "", Refusal{err}
	}
	var lines []string
	for _, f := range found {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%v %s", f.User, identity.Clean(f.Name))))
	}
	if len(lines) == 0 {
		return o.say(phrase.NobodyFound), nil
	}
	return strings.Join(lines, "\n"), nil
}

// code names a request for consent: the same always, and short enough to be written by hand.
func code(s identity.Scope) string {
	sum := sha256.Sum256([]byte(s.Requester.String() + "\n" + s.Target.String() + "\n" + s.Room.String()))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// Question is what somebody of ours, called name, is told who is asked for their consent; word begins a command.
func (o *Orders) Question(s identity.Scope, name, word string) string {
	room := s.Room.String()
	if s.Room.IsZero() {
		room = o.say(phrase.AnyRoom)
	}
	return o.say(phrase.AskedIn, name, s.Requester.String(), room, word, code(s))
}

// Decide takes the answer to a question, by its code: of the one of our people who was asked, target, zero for somebody unknown, or of an admin to
// what the gateway participant was asked. ok is false where it is the code of no such question.
func (o *Orders) Decide(ctx context.Context, target uri.User, admin bool, text string, granted bool) (ok bool, err error) {
	us, err := gateway(o.Provider)
	if err != nil || o.Elsewhere == nil {
		return false, err
	}
	for _, user := range []uri.User{target, us} {
		if user.IsZero() || user == us && !admin {
			continue
		}
		waiting, err := o.Elsewhere.Waiting(ctx, user)
		if err != nil {
			return false, err
		}
		for _, p := range waiting {
			if code(p.Scope) == text {
				return true, o.Elsewhere.Answer(ctx, p.Scope, granted)
			}
		}
	}
	return false, nil
}

// Answered goes on after somebody elsewhere has agreed to be brought into a room, or not, and returns what to tell of it; empty: it is
// nothing that we have asked.
func (o *Orders) Answered(ctx context.Context, s identity.Scope, granted bool) (string, error) {
	us, err := gateway(o.Provider)
	if err != nil || s.Requester != us || s.Room.IsZero() {
		return "", err
	}
	if !granted {
		return o.say(phrase.Declines, s.Target.String(), s.Room.String()), nil
	}
	all, err := o.Participants(ctx, s.Room)
	if err != nil || all[s.Target] != noRole {
		return "", err
	}
	return o.say(phrase.Agrees, s.Target.String(), s.Room.String()), o.EnsureParticipant(ctx, s.Room, s.Target, usualRole(s.Target))
}
