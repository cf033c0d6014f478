package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mimigate/core/policy"
	"mimigate/core/router"
	"mimigate/core/uri"
)

// ErrManaged: it stands in the configuration file, and is changed there. The text says where.
var ErrManaged = router.ErrManaged

// Invite makes somebody a participant of a room, by their MIMI address.
func (g *Gateway) Invite(ctx context.Context, name, user string) error {
	room, who, err := g.roomAndUser(ctx, name, user)
	if err != nil {
		return err
	}
	return g.invite(ctx, room, who)
}

// Remove removes somebody from a room, by their MIMI address.
func (g *Gateway) Remove(ctx context.Context, name, user string) error {
	room, who, err := g.roomAndUser(ctx, name, user)
	if err != nil {
		return err
	}
	return g.members.RemoveParticipant(ctx, room, who)
}

func (g *Gateway) roomAndUser(ctx context.Context, name, user string) (uri.Room, uri.User, error) {
	room, err := g.made.Find(name)
	if err != nil {
		return uri.Room{}, uri.User{}, err
	}
	who, err := uri.ParseUser(user)
	if err != nil {
		return uri.Room{}, uri.User{}, fmt.Errorf("%q is no MIMI address of a person, such as mimi://chat.example.org/u/inge", user)
	}
	return room, who, g.made.Known(ctx, room)
}

// Participant is somebody in a room.
type Participant struct {
	User string // their MIMI address
	Name string `json:",omitempty"` // as we would show it; empty: not known here
	Role string
}

// RoomDetail is what is known of one room.
type RoomDetail struct {
	RoomStatus
	Managed      string `json:",omitempty"` // its place in the configuration; empty: made by command, or of another provider
	Policy       string
	Subject      string `json:",omitempty"`
	Participants []Participant
}

// Room returns what is known of a room, by its id or address.
func (g *Gateway) Room(ctx context.Context, name string) (RoomDetail, error) {
	id, err := g.made.Find(name)
	if err != nil {
		return RoomDetail{}, err
	}
	if err := g.made.Known(ctx, id); err != nil {
		return RoomDetail{}, err
	}
	routed, err := g.router.Status(ctx)
	if err != nil {
		return RoomDetail{}, err
	}
	d := RoomDetail{RoomStatus: g.roomStatus(ctx, id, routed)}
	if _, d.Subject, err = g.members.Description(ctx, id); err != nil {
		return RoomDetail{}, err
	}
	if d.Policy, d.Managed, err = g.made.Policy(ctx, id); err != nil {
		return RoomDetail{}, err
	}
	roles, err := g.members.Participants(ctx, id)
	if err != nil {
		return RoomDetail{}, err
	}
	for user, role := range roles {
		p := Participant{User: user.String(), Role: roleName(role)}
		if person, ok, err := g.persons.ByUser(ctx, user); err != nil {
			return RoomDetail{}, err
		} else if ok {
			p.Name = person.Name
		}
		d.Participants = append(d.Participants, p)
	}
	slices.SortFunc(d.Participants, func(a, b Participant) int { return strings.Compare(a.User, b.User) })
	return d, nil
}

// roleName names a role of the rooms that we make; those of others may have others.
func roleName(index uint32) string {
	if r := policy.Default().Role(policy.RoleIndex(index)); r != nil {
		return r.Name
	}
	return fmt.Sprintf("role %d", index)
}

// CreateRoom makes a room of ours by command; see made.Rooms.
func (g *Gateway) CreateRoom(ctx context.Context, id, name, policy string) (uri.Room, error) {
	return g.made.CreateRoom(ctx, id, name, policy)
}

// SetPolicy gives a room that was made by command another policy; see made.Rooms.
func (g *Gateway) SetPolicy(ctx context.Context, room, policy string) error {
	return g.made.SetPolicy(ctx, room, policy)
}

// Bind binds a chat (account/chat) to a room by command; see made.Rooms.
func (g *Gateway) Bind(ctx context.Context, room, chat, direction string) error {
	return g.made.Bind(ctx, room, chat, direction)
}

// Unbind ends such a binding; see made.Rooms.
func (g *Gateway) Unbind(ctx context.Context, chat string) error { return g.made.Unbind(ctx, chat) }

// Export returns what was made by command, as lines for the configuration file; see made.Rooms.
func (g *Gateway) Export(ctx context.Context) (string, error) { return g.made.Export(ctx) }
