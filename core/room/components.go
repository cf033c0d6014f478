package room

import (
	"mimigate/core/mls"
	"mimigate/core/policy"
)

// Where the rules stand.
const (
	secUpdates  = "mls-extensions-10 §4.7"
	secList     = "mimi-protocol-06 §7.5"
	secMetadata = "mimi-protocol-06 §7.6"
	secUpdate   = "mimi-protocol-06 §5.3"
	secSenders  = "mimi-protocol-06 §7.4"
	secState    = "mimi-protocol-06 §7.1"
	secProposal = "RFC 9420 §12.2"
	secBase     = "mimi-room-policy-04 §5"
	secJoinLink = "mimi-room-policy-04 §6.2"
	secAdding   = "mimi-room-policy-04 §8.1.1"
	secRemoving = "mimi-room-policy-04 §8.1.2"
	secBanning  = "mimi-room-policy-04 §8.1.3"
	secMLS      = "mimi-room-policy-04 §7"
)

// Components says what AppDataUpdate proposals do to the bytes of a room's components: the mls.Components of every group of
// ours. It judges form only; who may make an update is for [State.Apply].
type Components struct{}

var _ mls.Components = Components{}

// Update returns the data of a component after the updates of one commit. participant_list and join_links are changed
// piecewise, all others replaced by the last update. Malformed data is refused (wrapping mls.ErrSyntax) in those components without
// which the room cannot be understood; in the others it stands, since what one of them holds is no reason to lose the group.
func (Components) Update(id mls.ComponentID, old []byte, updates [][]byte) ([]byte, error) {
	c := policy.Component(id)
	if _, known := c.License(); !known {
		return nil, policy.Invalid(secUpdates, "%v is not known", c)
	}
	if len(updates) == 0 {
		return old, nil
	}
	switch c {
	case policy.ParticipantList:
		return updateList(old, updates)
	case policy.JoinLinks:
		return updateLinks(old, updates)
	case policy.RoomMetadata:
		if len(updates) > 1 {
			return nil, policy.Invalid(secMetadata, "two updates of room_metadata")
		}
		fallthrough
	case policy.RolesList, policy.PreAuthList, policy.BaseRoomPolicy:
		for _, u := range updates {
			var scratch Contents
			if err := scratch.Decode(c, u); err != nil {
				return nil, err
			}
		}
	}
	return updates[len(updates)-1], nil
}

// Remove refuses the removal of components that a room cannot be without, and of unknown ones.
func (Components) Remove(id mls.ComponentID) error {
	l, known := policy.Component(id).License()
	if !known || l.Required {
		return policy.Invalid(secUpdates, "%v cannot be removed", policy.Component(id))
	}
	return nil
}

// Ephemeral accepts AppAck (mls-extensions-10 §6.1), which rooms ignore, and refuses what it does not know.
func (Components) Ephemeral(id mls.ComponentID, _ []byte) error {
	if id != mls.ComponentAppAck {
		return policy.Invalid("mls-extensions-10 §4.8", "%v is not known", policy.Component(id))
	}
	return nil
}

func updateList(old []byte, updates [][]byte) ([]byte, error) {
	var c Contents
	if old != nil {
		if err := c.Decode(policy.ParticipantList, old); err != nil {
			return nil, err
		}
	}
	parsed := make([]ListUpdate, len(updates))
	for i, data := range updates {
		var err error
		if parsed[i], err = ParseListUpdate(data); err != nil {
			return nil, err
		}
	}
	list, err := spliceParticipants(c.Participants, parsed)
	if err != nil {
		return nil, err
	}
	c.Participants = list
	return c.Encode(policy.ParticipantList), nil
}

func updateLinks(old []byte, updates [][]byte) ([]byte, error) {
	var c Contents
	if old != nil {
		if err := c.Decode(policy.JoinLinks, old); err != nil {
			return nil, err
		}
	}
	parsed := make([]LinksUpdate, len(updates))
	for i, data := range updates {
		if err := mls.Unmarshal(data, &parsed[i]); err != nil {
			return nil, wrap(policy.JoinLinks, err)
		}
	}
	list, err := spliceLinks(c.Rules.JoinLinks, parsed)
	if err != nil {
		return nil, err
	}
	c.Rules.JoinLinks = list
	return c.Encode(policy.JoinLinks), nil
}
