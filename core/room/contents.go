package room

import (
	"mimigate/core/mls"
	"mimigate/core/policy"
)

// Contents is what the components of a room's dictionary hold.
type Contents struct {
	Participants []Participant
	Metadata     Metadata
	Rules        policy.Rules
	Other        mls.AppDataDictionary // what is not the room's business, as it stands: app_components, franking_agent, …
}

// Participant is an entry of the participant list (mimi-protocol-06 §7.5).
type Participant struct {
	User string // URI as it stands in the list: a user, a pseudonym, or a provider (a server with a role)
	Role policy.RoleIndex
}

// Metadata is the room_metadata (mimi-protocol-06 §7.6): what a room shows of itself. Texts are UTF-8 without NUL.
type Metadata struct {
	URI          string // of the room
	Name         string
	Descriptions []Description
	Avatar       string // https URI of an image, or empty
	Subject      string
	Mood         string
}

// Description is the draft's RichDescription.
type Description struct {
	MediaType string // empty: text/plain;charset=utf-8
	Language  string // language tag, or empty
	Content   string
}

// always are the components that Dictionary writes whatever the rules hold.
var always = []policy.Component{policy.ParticipantList, policy.RoomMetadata, policy.RolesList, policy.PreAuthList, policy.BaseRoomPolicy}

// Dictionary returns the contents in their encoded form, as a new room's GroupContext needs them.
func (c *Contents) Dictionary() mls.AppDataDictionary {
	dict := c.Other
	for _, id := range append(c.Rules.Components(), always...) {
		dict = dict.With(mls.ComponentID(id), c.Encode(id))
	}
	return dict
}

// Encode returns the data of one component, or nil where the package does not know it. A component that is absent from the
// rules is encoded as its zero value.
func (c *Contents) Encode(id policy.Component) []byte {
	f, ok := formats(id)
	if !ok {
		return nil
	}
	var e mls.Encoder
	f.encode(&e, c)
	return e.Bytes()
}

// Decode reads the data of one component into c; other parts of c stay as they are, and all of it where data is malformed. The
// error wraps mls.ErrSyntax or, for a component that the package does not know, policy.ErrInvalid.
func (c *Contents) Decode(id policy.Component, data []byte) error {
	f, ok := formats(id)
	if !ok {
		return policy.Invalid(secUpdates, "%v has no format here", id)
	}
	next := *c
	d := mls.NewDecoder(data)
	f.decode(d, &next)
	if err := d.Finish(); err != nil {
		return wrap(id, err)
	}
	*c = next
	return nil
}
