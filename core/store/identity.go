package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/identity"
	"mimigate/core/uri"
)

var _ identity.Store = (*Store)(nil)

const personColumns = `address, name, network, account, avatar, verified, bot, consent, made, seen`

// personRow reads a person from a row of personColumns.
func personRow(scan func(...any) error) (identity.Person, error) {
	var p identity.Person
	var address, avatar string
	var made, seen int64
	if err := scan(&address, &p.Name, &p.Network, &p.Account, &avatar, &p.Verified, &p.Bot, &p.Consent, &made, &seen); err != nil {
		return p, err
	}
	user, err := uri.ParseUser(address)
	if err != nil {
		return p, fmt.Errorf("store: person: %w", err)
	}
	p.User, p.Avatar, p.Made, p.Seen = user, adapter.Blob(avatar), time.UnixMilli(made), time.UnixMilli(seen)
	return p, nil
}

func (s *Store) persons(ctx context.Context, query string, args ...any) ([]identity.Person, error) {
	var list []identity.Person
	err := s.query(ctx, func(scan func(...any) error) error {
		p, err := personRow(scan)
		list = append(list, p)
		return err
	}, query, args...)
	return list, err
}

func (s *Store) person(ctx context.Context, query string, args ...any) (identity.Person, bool, error) {
	list, err := s.persons(ctx, query, args...)
	if err != nil || len(list) == 0 {
		return identity.Person{}, false, err
	}
	return list[0], true, nil
}

// PersonByID implements identity.Store.
func (s *Store) PersonByID(ctx context.Context, id identity.Ref) (identity.Person, bool, error) {
	return s.person(ctx, `SELECT `+personColumns+` FROM person WHERE address = (SELECT address FROM person_id WHERE network = $1 AND id = $2)`,
		id.Network, string(id.ID))
}

// PersonByUser implements identity.Store.
func (s *Store) PersonByUser(ctx context.Context, user uri.User) (identity.Person, bool, error) {
	return s.person(ctx, `SELECT `+personColumns+` FROM person WHERE address = COALESCE((SELECT address FROM person_alias WHERE alias = $1), $1)`,
		user.String())
}

// PersonsByName implements identity.Store.
func (s *Store) PersonsByName(ctx context.Context, folded string) ([]identity.Person, error) {
	return s.persons(ctx, `SELECT `+personColumns+` FROM person WHERE folded = $1`, folded)
}

// PersonsFound implements identity.Listing.
func (s *Store) PersonsFound(ctx context.Context, part string, consent identity.Consent, limit int) ([]identity.Person, error) {
	escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part)
	return s.persons(ctx, `SELECT `+personColumns+` FROM person WHERE consent = $1 AND folded LIKE $2 ESCAPE '\' ORDER BY folded, address LIMIT $3`,
		int64(consent), "%"+escaped+"%", limit)
}

// PutPerson implements identity.Store.
func (s *Store) PutPerson(ctx context.Context, p identity.Person) error {
	_, err := s.exec(ctx, `INSERT INTO person (address, name, folded, network, account, avatar, verified, bot, consent, made, seen)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (address) DO UPDATE SET name = excluded.name, folded = excluded.folded, network = excluded.network,
			account = excluded.account, avatar = excluded.avatar, verified = excluded.verified, bot = excluded.bot,
			consent = excluded.consent, seen = excluded.seen`,
		p.User.String(), p.Name, identity.Fold(p.Name), p.Network, p.Account, string(p.Avatar), truth(p.Verified), truth(p.Bot), int64(p.Consent),
		p.Made.UnixMilli(), p.Seen.UnixMilli())
	return err
}

// PutPersonID implements identity.Store.
func (s *Store) PutPersonID(ctx context.Context, id identity.Ref, user uri.User) error {
	_, err := s.exec(ctx, `INSERT INTO person_id (network, id, address) VALUES ($1, $2, $3)
		ON CONFLICT (network, id) DO UPDATE SET address = excluded.address`, id.Network, string(id.ID), user.String())
	return err
}

// MergePerson implements identity.Store.
func (s *Store) MergePerson(ctx context.Context, from, into uri.User) error {
	return s.Do(ctx, func(ctx context.Context) error {
		old, now := from.String(), into.String()
		for _, query := range []string{
			`UPDATE person_id SET address = $2 WHERE address = $1`,
			`UPDATE person_alias SET address = $2 WHERE address = $1`,
			`INSERT INTO person_alias (alias, address) VALUES ($1, $2)`,
			`UPDATE person SET consent = (SELECT MAX(consent) FROM person WHERE address IN ($1, $2)) WHERE address = $2`,
			`INSERT INTO attendance (network, conversation, address, removed)
				SELECT network, conversation, $2, removed FROM attendance WHERE address = $1
				ON CONFLICT (network, conversation, address) DO NOTHING`,
			`DELETE FROM attendance WHERE address = $1 AND $2 <> ''`,
			`DELETE FROM person WHERE address = $1 AND $2 <> ''`,
		} {
			if _, err := s.exec(ctx, query, old, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// PersonIDs returns the native ids that a person has on a network.
func (s *Store) PersonIDs(ctx context.Context, network string, user uri.User) ([]adapter.PersonID, error) {
	var list []adapter.PersonID
	err := s.query(ctx, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		list = append(list, adapter.PersonID(id))
		return err
	}, `SELECT id FROM person_id WHERE network = $1 AND address = $2 ORDER BY id`, network, user.String())
	return list, err
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
