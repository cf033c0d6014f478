package room

import (
	"slices"

	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

// ListUpdate is the draft's ParticipantListUpdate (mimi-protocol-06 §7.5). Indices are positions in the list of the epoch's
// GroupContext, for every update of one commit ([R]; the draft does not say). First roles change, then entries go, then
// new ones are appended.
type ListUpdate struct {
	Changed []IndexRole
	Removed []uint32
	Added   []Participant
}

// IndexRole gives the participant at Index another role.
type IndexRole struct {
	Index uint32
	Role  policy.RoleIndex
}

// Empty reports whether the update does nothing.
func (u *ListUpdate) Empty() bool { return len(u.Changed)+len(u.Removed)+len(u.Added) == 0 }

// Marshal returns the payload of an AppDataUpdate of participant_list.
func (u *ListUpdate) Marshal() []byte { return mls.Marshal(u) }

// ParseListUpdate reads the payload of an AppDataUpdate of participant_list. The error wraps mls.ErrSyntax.
func ParseListUpdate(data []byte) (ListUpdate, error) {
	var u ListUpdate
	if err := mls.Unmarshal(data, &u); err != nil {
		return ListUpdate{}, wrap(policy.ParticipantList, err)
	}
	return u, nil
}

// MarshalMLS implements mls.Marshaler.
func (u *ListUpdate) MarshalMLS(e *mls.Encoder) {
	encodeVector(e, u.Changed, func(e *mls.Encoder, c *IndexRole) {
		e.Uint32(c.Index)
		e.Uint32(uint32(c.Role))
	})
	e.Uint32s(u.Removed)
	encodeVector(e, u.Added, encodeParticipant)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (u *ListUpdate) UnmarshalMLS(d *mls.Decoder) {
	u.Changed = decodeVector(d, func(d *mls.Decoder) IndexRole { return IndexRole{d.Uint32(), policy.RoleIndex(d.Uint32())} })
	u.Removed = d.Uint32s()
	u.Added = decodeParticipants(d)
}

// splice applies the updates of one commit to a list of any kind of entry. It fails, with a policy.ErrInvalid, where an index
// lies outside the list or is named twice.
func splice[T any](old []T, updates []ListUpdate, change func(*T, policy.RoleIndex), add func(Participant) T) ([]T, error) {
	list := slices.Clone(old)
	touched := make(map[uint32]bool) // true: goes
	touch := func(i uint32, goes bool) error {
		if uint64(i) >= uint64(len(old)) {
			return policy.Invalid(secList, "index %d in a list of %d participants", i, len(old))
		}
		if _, twice := touched[i]; twice {
			return policy.Invalid(secList, "participant %d is changed twice", i)
		}
		touched[i] = goes
		return nil
	}
	removed := false
	for _, u := range updates {
		for _, c := range u.Changed {
			if err := touch(c.Index, false); err != nil {
				return nil, err
			}
			change(&list[c.Index], c.Role)
		}
		for _, i := range u.Removed {
			if err := touch(i, true); err != nil {
				return nil, err
			}
			removed = true
		}
	}
	if removed {
		kept := list[:0]
		for i := range list {
			if !touched[uint32(i)] {
				kept = append(kept, list[i])
			}
		}
		list = kept
	}
	for _, u := range updates {
		for _, p := range u.Added {
			list = append(list, add(p))
		}
	}
	return list, nil
}

// spliceParticipants is splice for plain lists; adding somebody who is in the list is an error too.
func spliceParticipants(old []Participant, updates []ListUpdate) ([]Participant, error) {
	list, err := splice(old, updates, func(p *Participant, r policy.RoleIndex) { p.Role = r }, func(p Participant) Participant { return p })
	if err != nil {
		return nil, err
	}
	added := make(map[string]bool)
	for _, u := range updates {
		for _, p := range u.Added {
			key, _ := addressOf(p.User)
			if added[key] {
				return nil, policy.Invalid(secList, "a participant is added twice")
			}
			added[key] = true
		}
	}
	if len(added) == 0 {
		return list, nil
	}
	for _, p := range old {
		if added[p.User] { // as good as always in normal form; State.Apply compares normal forms
			return nil, policy.Invalid(secList, "a participant is added who is in the list")
		}
	}
	return list, nil
}

// address is what a participant's URI says.
type address struct {
	domain    string
	pseudonym bool
	valid     bool
}

// addressOf returns the normal form of a participant's URI, by which users are compared, and what it says. A text that is no
// such URI is its own normal form and belongs to no domain.
func addressOf(text string) (string, address) {
	if u, err := uri.ParseUser(text); err == nil {
		return u.String(), address{u.Domain(), u.Pseudonym(), true}
	}
	if p, err := uri.ParseProvider(text); err == nil {
		return p.String(), address{p.Domain(), false, true}
	}
	return text, address{}
}

// LinksUpdate is the draft's JoinLinksUpdate (mimi-room-policy-04 §6.2); indices as for [ListUpdate].
type LinksUpdate struct {
	Removed []uint32
	Added   []string
}

// MarshalMLS implements mls.Marshaler.
func (u *LinksUpdate) MarshalMLS(e *mls.Encoder) {
	e.Uint32s(u.Removed)
	encodeTexts(e, u.Added)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (u *LinksUpdate) UnmarshalMLS(d *mls.Decoder) {
	u.Removed = d.Uint32s()
	u.Added = decodeTexts(d)
}

// spliceLinks applies the updates of one commit to the list of join links.
func spliceLinks(old []string, updates []LinksUpdate) ([]string, error) {
	gone := make(map[uint32]bool)
	for _, u := range updates {
		for _, i := range u.Removed {
			if uint64(i) >= uint64(len(old)) || gone[i] {
				return nil, policy.Invalid(secJoinLink, "join link %d is removed twice or does not exist", i)
			}
			gone[i] = true
		}
	}
	list := []string{}
	for i, link := range old {
		if !gone[uint32(i)] {
			list = append(list, link)
		}
	}
	for _, u := range updates {
		list = append(list, u.Added...)
	}
	return list, nil
}
