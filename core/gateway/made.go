package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mimigate/core/config"
	"mimigate/core/member"
	"mimigate/core/policy"
	"mimigate/core/router"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// madeRooms is where the gateway keeps which rooms were made by command, and their policies.
const madeRooms = "rooms"

// made is what is kept of a room that was made by command. Its name, participants and bindings are where those of all rooms are.
type made struct {
	Room   uri.Room
	Policy string
}

// ErrManaged: it stands in the configuration file, and is changed there. The text says where.
var ErrManaged = router.ErrManaged

func (g *Gateway) made(ctx context.Context) (all []made, err error) {
	b, err := g.store.State(ownState).Get(ctx, madeRooms)
	if err != nil || b == nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("gateway: rooms made by command: %w", err)
	}
	return all, nil
}

// putMade adds a room, or changes its policy, and tells the router its rules.
func (g *Gateway) putMade(ctx context.Context, m made) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	all, err := g.made(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(other made) bool { return other.Room == m.Room }); i >= 0 {
		all[i] = m
	} else {
		all = append(all, m)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("gateway: rooms made by command: %w", err)
	}
	if err := g.store.State(ownState).Put(ctx, madeRooms, b); err != nil {
		return err
	}
	rooms, err := g.rooms(ctx)
	if err != nil {
		return err
	}
	return g.router.Configure(ctx, rooms)
}

// addMade adds the rules of rooms that were made by command. Where configuration names such a room by now, configuration counts.
func (g *Gateway) addMade(ctx context.Context, rooms []router.Room) ([]router.Room, error) {
	all, err := g.made(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !slices.ContainsFunc(rooms, func(r router.Room) bool { return r.Room == m.Room }) {
			rooms = append(rooms, router.Room{Room: m.Room, Rules: rules(policyOf(g.config.Load(), m.Policy))})
		}
	}
	return rooms, nil
}

// room returns the address of a room: of ours by its id, of any by its address itself.
func (g *Gateway) room(name string) (uri.Room, error) {
	if id, err := uri.ParseRoom(name); err == nil {
		return id, nil
	}
	id, err := g.provider.Room(name)
	if err != nil {
		return uri.Room{}, fmt.Errorf("%q is neither the id nor the address of a room", name)
	}
	return id, nil
}

// managed returns the room of the configuration that has an address.
func (g *Gateway) managed(id uri.Room) (config.Room, bool) {
	for _, c := range g.config.Load().Rooms {
		if own, err := g.provider.Room(c.ID); err == nil && own == id {
			return c, true
		}
	}
	return config.Room{}, false
}

// unmanaged fails with ErrManaged where configuration names the room, and knows the policy.
func (g *Gateway) unmanaged(id uri.Room, policy string) error {
	if c, ok := g.managed(id); ok {
		return fmt.Errorf("room %s: %w: %s; change it there", c.ID, ErrManaged, c.At)
	}
	if policyOf(g.config.Load(), policy).ID == "" {
		return fmt.Errorf("no policy %s in %s", policy, g.config.Load().File)
	}
	return nil
}

// CreateRoom makes a room of ours. It fails with ErrManaged where configuration names one of this id, and where there is one already.
func (g *Gateway) CreateRoom(ctx context.Context, id, name, policy string) (uri.Room, error) {
	if err := config.CheckID(id); err != nil {
		return uri.Room{}, err
	}
	if policy == "" {
		policy = config.DefaultPolicy
	}
	if name == "" {
		name = id
	}
	room, err := g.provider.Room(id)
	if err != nil {
		return uri.Room{}, err
	}
	if err := g.unmanaged(room, policy); err != nil {
		return uri.Room{}, err
	}
	switch _, _, err := g.members.Description(ctx, room); {
	case err == nil:
		return uri.Room{}, fmt.Errorf("there is a room %s already", room)
	case !errors.Is(err, member.ErrNoRoom):
		return uri.Room{}, err
	}
	if err := g.members.CreateRoom(ctx, room, name, ""); err != nil {
		return uri.Room{}, err
	}
	return room, g.putMade(ctx, made{room, policy})
}

// SetPolicy gives a room that was made by command another policy of the configuration. It fails with ErrManaged for a room of the
// configuration.
func (g *Gateway) SetPolicy(ctx context.Context, name, policy string) error {
	room, err := g.room(name)
	if err != nil {
		return err
	}
	if err := g.unmanaged(room, policy); err != nil {
		return err
	}
	if err := g.known(ctx, room); err != nil {
		return err
	}
	return g.putMade(ctx, made{room, policy})
}

// known fails where our provider does not take part in a room.
func (g *Gateway) known(ctx context.Context, room uri.Room) error {
	_, _, err := g.members.Description(ctx, room)
	if errors.Is(err, member.ErrNoRoom) {
		return fmt.Errorf("no room %s; \"mimigate room list\" shows them", room)
	}
	return err
}

// Bind binds a chat (account/chat) to a room by its id or address, also to one of another provider that our gateway was invited to.
// direction is one of package config's; "": both. Whoever calls it answers for the say of both sides.
func (g *Gateway) Bind(ctx context.Context, name, chatName, direction string) error {
	room, err := g.room(name)
	if err != nil {
		return err
	}
	var c config.Chat
	if err := c.UnmarshalText([]byte(chatName)); err != nil {
		return err
	}
	way, ok := record.ParseDirection(direction)
	if !ok && direction != "" {
		return fmt.Errorf("%q is none of: both, in, out", direction)
	}
	if room.Provider() == g.provider { // a room elsewhere may yet invite us
		if err := g.known(ctx, room); err != nil {
			return err
		}
	}
	return g.router.Bind(ctx, router.Binding{Chat: chat(c), Room: room, Direction: way})
}

// Unbind ends a binding that was made by command. It fails with ErrManaged for one of the configuration.
func (g *Gateway) Unbind(ctx context.Context, chatName string) error {
	var c config.Chat
	if err := c.UnmarshalText([]byte(chatName)); err != nil {
		return err
	}
	return g.router.Unbind(ctx, chat(c))
}

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
	room, err := g.room(name)
	if err != nil {
		return uri.Room{}, uri.User{}, err
	}
	who, err := uri.ParseUser(user)
	if err != nil {
		return uri.Room{}, uri.User{}, fmt.Errorf("%q is no MIMI address of a person, such as mimi://chat.example.org/u/inge", user)
	}
	return room, who, g.known(ctx, room)
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
	id, err := g.room(name)
	if err != nil {
		return RoomDetail{}, err
	}
	if err := g.known(ctx, id); err != nil {
		return RoomDetail{}, err
	}
	routed, err := g.router.Status(ctx)
	if err != nil {
		return RoomDetail{}, err
	}
	d := RoomDetail{RoomStatus: g.roomStatus(ctx, id, routed), Policy: config.DefaultPolicy}
	if _, d.Subject, err = g.members.Description(ctx, id); err != nil {
		return RoomDetail{}, err
	}
	if c, ok := g.managed(id); ok {
		d.Managed, d.Policy = c.At.String(), c.Policy
	} else if all, err := g.made(ctx); err != nil {
		return RoomDetail{}, err
	} else if i := slices.IndexFunc(all, func(m made) bool { return m.Room == id }); i >= 0 {
		d.Policy = all[i].Policy
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
