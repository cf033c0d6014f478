// Package made looks after the rooms and bindings that were made by command: they live in the store, and a reload of the configuration never
// deletes them (design §10).
package made

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mimigate/core/adapter"
	"mimigate/core/config"
	"mimigate/core/member"
	"mimigate/core/router"
	"mimigate/core/router/record"
	"mimigate/core/uri"
)

// key is where the gateway's own state keeps which rooms were made by command, and their policies.
const key = "rooms"

// room is what is kept of a room that was made by command. Its name, participants and bindings are where those of all rooms are.
type room struct {
	Room   uri.Room
	Policy string
}

// Options are what the rooms are made with.
type Options struct {
	Provider uri.Provider
	State    adapter.State // the gateway's own
	Members  *member.Members
	Router   *router.Router
	Config   func() *config.Config // as it is applied now
	// Rules returns what the router is told of a policy.
	Rules func(policy string) router.Rules
	// Configure tells the router the rules of all rooms anew, with Add, while no reload does.
	Configure func(ctx context.Context, change func(context.Context) error) error
}

// Rooms are the rooms and bindings that were made by command. Its methods may be called from several goroutines.
type Rooms struct{ options Options }

// New returns the rooms that were made by command.
func New(o Options) *Rooms { return &Rooms{o} }

func (r *Rooms) list(ctx context.Context) (all []room, err error) {
	b, err := r.options.State.Get(ctx, key)
	if err != nil || b == nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("rooms made by command: %w", err)
	}
	return all, nil
}

// put adds a room, or changes its policy, and tells the router its rules.
func (r *Rooms) put(ctx context.Context, m room) error {
	return r.options.Configure(ctx, func(ctx context.Context) error {
		all, err := r.list(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(all, func(other room) bool { return other.Room == m.Room }); i >= 0 {
			all[i] = m
		} else {
			all = append(all, m)
		}
		b, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("rooms made by command: %w", err)
		}
		return r.options.State.Put(ctx, key, b)
	})
}

// Add adds the rules of rooms that were made by command to those of the configuration. Where that names such a room by now, it counts.
func (r *Rooms) Add(ctx context.Context, rooms []router.Room) ([]router.Room, error) {
	all, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !slices.ContainsFunc(rooms, func(r router.Room) bool { return r.Room == m.Room }) {
			rooms = append(rooms, router.Room{Room: m.Room, Rules: r.options.Rules(m.Policy)})
		}
	}
	return rooms, nil
}

// Policy returns the policy of a room, and for one of the configuration its place there.
func (r *Rooms) Policy(ctx context.Context, id uri.Room) (policy, managed string, err error) {
	if c, ok := r.managed(id); ok {
		return c.Policy, c.At.String(), nil
	}
	all, err := r.list(ctx)
	if i := slices.IndexFunc(all, func(m room) bool { return m.Room == id }); i >= 0 {
		return all[i].Policy, "", nil
	}
	return config.DefaultPolicy, "", err
}

// Find returns the address of a room: of ours by its id, of any by its address itself.
func (r *Rooms) Find(name string) (uri.Room, error) {
	if id, err := uri.ParseRoom(name); err == nil {
		return id, nil
	}
	id, err := r.options.Provider.Room(name)
	if err != nil {
		return uri.Room{}, fmt.Errorf("%q is neither the id nor the address of a room", name)
	}
	return id, nil
}

// managed returns the room of the configuration that has an address.
func (r *Rooms) managed(id uri.Room) (config.Room, bool) {
	for _, c := range r.options.Config().Rooms {
		if own, err := r.options.Provider.Room(c.ID); err == nil && own == id {
			return c, true
		}
	}
	return config.Room{}, false
}

// unmanaged fails with router.ErrManaged where configuration names the room, and knows the policy.
func (r *Rooms) unmanaged(id uri.Room, policy string) error {
	if c, ok := r.managed(id); ok {
		return fmt.Errorf("room %s: %w: %s; change it there", c.ID, router.ErrManaged, c.At)
	}
	if !slices.ContainsFunc(r.options.Config().Policies, func(p config.Policy) bool { return p.ID == policy }) {
		return fmt.Errorf("no policy %s in %s", policy, r.options.Config().File)
	}
	return nil
}

// CreateRoom makes a room of ours. It fails with router.ErrManaged where configuration names one of this id, and where there is one already.
func (r *Rooms) CreateRoom(ctx context.Context, word, name, policy string) (uri.Room, error) {
	if err := config.CheckID(word); err != nil {
		return uri.Room{}, err
	}
	if policy == "" {
		policy = config.DefaultPolicy
	}
	if name == "" {
		name = word
	}
	id, err := r.options.Provider.Room(word)
	if err != nil {
		return uri.Room{}, err
	}
	if err := r.unmanaged(id, policy); err != nil {
		return uri.Room{}, err
	}
	switch _, _, err := r.options.Members.Description(ctx, id); {
	case err == nil:
		return uri.Room{}, fmt.Errorf("there is a room %s already", id)
	case !errors.Is(err, member.ErrNoRoom):
		return uri.Room{}, err
	}
	if err := r.options.Members.CreateRoom(ctx, id, name, ""); err != nil {
		return uri.Room{}, err
	}
	return id, r.put(ctx, room{id, policy})
}

// SetPolicy gives a room that was made by command another policy of the configuration. It fails with router.ErrManaged for a room of the
// configuration.
func (r *Rooms) SetPolicy(ctx context.Context, name, policy string) error {
	id, err := r.Find(name)
	if err != nil {
		return err
	}
	if err := r.unmanaged(id, policy); err != nil {
		return err
	}
	if err := r.Known(ctx, id); err != nil {
		return err
	}
	return r.put(ctx, room{id, policy})
}

// Known fails where our provider does not take part in a id.
func (r *Rooms) Known(ctx context.Context, id uri.Room) error {
	_, _, err := r.options.Members.Description(ctx, id)
	if errors.Is(err, member.ErrNoRoom) {
		return fmt.Errorf("no room %s; \"mimigate room list\" shows them", id)
	}
	return err
}

// Bind binds a chat (account/chat) to a room by its id or address, also to one of another provider that our gateway was invited to.
// direction is one of package config's; "": both. Whoever calls it answers for the say of both sides.
func (r *Rooms) Bind(ctx context.Context, name, chatName, direction string) error {
	id, err := r.Find(name)
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
	if id.Provider() == r.options.Provider { // a room elsewhere may yet invite us
		if err := r.Known(ctx, id); err != nil {
			return err
		}
	}
	return r.options.Router.Bind(ctx, router.Binding{Chat: router.Chat{Account: c.Account, Name: c.ID}, Room: id, Direction: way})
}

// Unbind ends a binding that was made by command. It fails with router.ErrManaged for one of the configuration.
func (r *Rooms) Unbind(ctx context.Context, chatName string) error {
	var c config.Chat
	if err := c.UnmarshalText([]byte(chatName)); err != nil {
		return err
	}
	return r.options.Router.Unbind(ctx, router.Chat{Account: c.Account, Name: c.ID})
}
