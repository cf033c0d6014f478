package config

import (
	"reflect"
	"slices"
)

// Difference is what of a list is new, otherwise, or gone, by its ids.
type Difference struct {
	Added, Changed, Removed []string `json:",omitempty"`
}

// IsZero reports whether nothing differs.
func (d Difference) IsZero() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// Touches reports whether a thing was added or changed.
func (d Difference) Touches(id string) bool {
	return slices.Contains(d.Added, id) || slices.Contains(d.Changed, id)
}

// Compare returns how a configuration differs from the one before, wherever things stand in it.
func Compare(before, after *Config) (accounts, rooms, peers Difference) {
	return compare(before.Accounts, after.Accounts, func(a Account) string { return a.ID }, Account.Same),
		compare(before.Rooms, after.Rooms, func(r Room) string { return r.ID }, Room.Same),
		compare(before.Peers, after.Peers, func(p Peer) string { return p.ID }, Peer.Same)
}

func compare[T any](before, after []T, id func(T) string, same func(a, b T) bool) (d Difference) {
	for _, b := range before {
		if !slices.ContainsFunc(after, func(a T) bool { return id(a) == id(b) }) {
			d.Removed = append(d.Removed, id(b))
		}
	}
	for _, a := range after {
		switch i := slices.IndexFunc(before, func(b T) bool { return id(a) == id(b) }); {
		case i < 0:
			d.Added = append(d.Added, id(a))
		case !same(before[i], a):
			d.Changed = append(d.Changed, id(a))
		}
	}
	return d
}

// Same reports whether two accounts have the same configuration, wherever it stands, so that an adapter of the one is as good for the
// other. What is to be done about chats that are not bound is not the adapter's business.
func (a Account) Same(b Account) bool {
	return a.ID == b.ID && a.Network == b.Network && reflect.DeepEqual(a.Config, b.Config) &&
		slices.EqualFunc(a.Problems, b.Problems, func(x, y Problem) bool { return x.Text == y.Text })
}

// Same reports whether two rooms have the same name, policy, bindings and invitations, wherever these stand.
func (r Room) Same(b Room) bool {
	return r.ID == b.ID && r.Name == b.Name && r.Policy == b.Policy && slices.Equal(r.Invite, b.Invite) &&
		slices.EqualFunc(r.Bind, b.Bind, func(x, y Binding) bool { return x.Chat == y.Chat && x.Direction == y.Direction })
}

// Same reports whether two peers have the same configuration, wherever it stands.
func (p Peer) Same(b Peer) bool {
	p.At, b.At, p.Problems, b.Problems = Pos{}, Pos{}, nil, nil
	return reflect.DeepEqual(p, b)
}
