package identity

import (
	"context"

	"mimigate/core/uri"
)

// Listing lists persons; it is in the unit of ctx.
type Listing interface {
	// PersonsFound returns those with this consent whose folded name has a part, at most limit of them, by name.
	PersonsFound(ctx context.Context, part string, consent Consent, limit int) ([]Person, error)
}

// Directory knows who lets themself be found by people elsewhere (mimi-protocol-06 §5.8): who has consented that what is theirs leaves their
// network. Nobody else is listed by anything, not even by a handle that configuration gave them.
type Directory struct {
	Persons *Persons
	Listing Listing
}

// Handle returns the readable handle of somebody, empty where their address is random.
func (d *Directory) Handle(user uri.User) string {
	s := user.Segments()
	if len(s) != 1 {
		return ""
	}
	for _, j := range *d.Persons.joined.Load() {
		if j.Handle == s[0] {
			return s[0]
		}
	}
	return ""
}

// ByHandle returns the person with a readable handle.
func (d *Directory) ByHandle(ctx context.Context, handle string) (Person, bool, error) {
	user, err := d.Persons.provider.User(handle)
	if err != nil || d.Handle(user) == "" {
		return Person{}, false, nil
	}
	p, ok, err := d.Persons.ByUser(ctx, user)
	if err != nil || !ok || p.Consent != Consented {
		return Person{}, false, err
	}
	return p, true, nil
}

// ByName returns persons whose name has a part, whatever its case, at most limit of them.
func (d *Directory) ByName(ctx context.Context, part string, limit int) ([]Person, error) {
	return d.Listing.PersonsFound(ctx, Fold(part), Consented, limit)
}
