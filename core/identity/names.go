package identity

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"mimigate/core/uri"
)

// nameMax is how much of a name is kept, in octets: more than any network shows.
const nameMax = 256

// Clean is a name in one line, without what is not seen or turns the direction of text, and not too long.
func Clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200E || r == 0x200F || r == 0x200B || r == 0xFEFF:
			return -1 // embeddings and marks of direction; spaces without width
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	name = strings.Join(strings.Fields(name), " ")
	if len(name) > nameMax {
		name = strings.TrimSpace(strings.ToValidUTF8(name[:nameMax], ""))
	}
	return name
}

// Fold is a name as it is compared: whoever looks the same in a list of names is taken for the same.
func Fold(name string) string { return strings.ToLower(Clean(name)) }

// NameOf returns the name to show for somebody in a room. It carries the network only where another who is present (as present tells)
// has the same name (design §8). Somebody of another provider is called by the last part of their address.
func (p *Persons) NameOf(ctx context.Context, user uri.User, present func(uri.User) (bool, error)) (string, error) {
	person, ok, err := p.store.PersonByUser(ctx, user)
	if err != nil {
		return "", err
	}
	if !ok {
		segments := user.Segments()
		if len(segments) == 0 {
			return "?", nil
		}
		return Clean(segments[len(segments)-1]), nil
	}
	if person.Name == "" {
		return "?", nil
	}
	all, err := p.store.PersonsByName(ctx, Fold(person.Name))
	if err != nil {
		return "", err
	}
	collides, older := false, 0
	for _, other := range all {
		if other.User == person.User {
			continue
		}
		here, err := present(other.User)
		if err != nil {
			return "", err
		}
		collides = collides || here
		// Who came first keeps the plain suffix, whoever else is there by now: names do not change under people.
		if here && other.Network == person.Network && (other.Made.Before(person.Made) || other.Made.Equal(person.Made) && other.User.String() < person.User.String()) {
			older++
		}
	}
	switch {
	case !collides:
		return person.Name, nil
	case older == 0:
		return fmt.Sprintf("%s (%s)", person.Name, person.Network), nil
	}
	return fmt.Sprintf("%s (%s %d)", person.Name, person.Network, older+1), nil
}
