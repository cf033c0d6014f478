package gateway

import (
	"context"
	"errors"
	"fmt"

	"mimigate/core/config"
	"mimigate/core/gateway/consents"
	"mimigate/core/gateway/made"
	"mimigate/core/identity"
	"mimigate/core/member"
	"mimigate/core/mls"
	"mimigate/core/policy"
	"mimigate/core/router"
	"mimigate/core/uri"
)

var (
	unbound    = map[string]router.Unbound{"ignore": router.Ignore, "ask": router.Ask, "create": router.Create}
	directions = map[string]router.Direction{config.Both: router.Both, config.In: router.In, config.Out: router.Out}
)

// routerOptions returns what the configuration says to the router.
func (g *Gateway) routerOptions() router.Options {
	c := g.config.Load()
	return router.Options{
		Provider: g.provider, Language: c.Provider.Language, Admins: admins(c), Tell: chat(c.Admins.Tell), Rules: rules(policyOf(c, config.DefaultPolicy)),
		Store: g.metrics.Store(g.store, g.log), Identity: g.persons, Members: g.members, Rooms: g.members, Accounts: g, Log: g.log,
		Elsewhere: consents.Elsewhere{Desk: g.consents, Identifiers: g.peers.Identifiers}, Hopeless: hopeless,
	}
}

// admins returns who may command.
func admins(c *config.Config) []router.Admin {
	var all []router.Admin
	for _, p := range c.Admins.People {
		all = append(all, identity.Ref{Network: p.Network, ID: p.ID})
	}
	return all
}

// rooms returns the rooms that have rules of their own as the router knows them: those of the configuration, and those made by command.
func (g *Gateway) rooms(ctx context.Context) ([]router.Room, error) {
	var all []router.Room
	for _, c := range g.config.Load().Rooms {
		id, err := g.provider.Room(c.ID)
		if err != nil {
			return nil, fmt.Errorf("%s: room %s: %w", c.At, c.ID, err)
		}
		r := router.Room{Room: id, Rules: rules(policyOf(g.config.Load(), c.Policy))}
		for _, b := range c.Bind {
			r.Bind = append(r.Bind, router.Bind{Chat: chat(b.Chat), Direction: directions[b.Direction], At: b.At.String()})
		}
		all = append(all, r)
	}
	return g.made.Add(ctx, all)
}

// madeRooms returns the rooms that are made by command.
func (g *Gateway) madeRooms() *made.Rooms {
	return made.New(made.Options{
		Provider: g.provider, State: g.store.State(ownState), Members: g.members, Router: g.router, Config: g.config.Load,
		Rules: func(policy string) router.Rules { return rules(policyOf(g.config.Load(), policy)) },
		Configure: func(ctx context.Context, change func(context.Context) error) error {
			g.reloading.Lock()
			defer g.reloading.Unlock()
			if err := change(ctx); err != nil {
				return err
			}
			rooms, err := g.rooms(ctx)
			if err != nil {
				return err
			}
			return g.router.Configure(ctx, rooms)
		},
	})
}

// hopeless reports whether members will never take a message that they failed to take so: its sender may not say it, or is not in the room.
// Anything else may pass: a room that we are not in may be one that we are about to be brought into.
func hopeless(err error) bool {
	return errors.Is(err, policy.ErrDenied) || errors.Is(err, member.ErrNotParticipant) || errors.Is(err, member.ErrUser)
}

func chat(c config.Chat) router.Chat { return router.Chat{Account: c.Account, Name: c.ID} }

// policyOf returns a policy by its id; package config has checked that it is there.
func policyOf(c *config.Config, id string) config.Policy {
	for _, p := range c.Policies {
		if p.ID == id {
			return p
		}
	}
	return config.Policy{}
}

func rules(p config.Policy) router.Rules {
	return router.Rules{ShowJoins: p.Joins == "show", Notice: p.Notice.Content, Undelivered: p.Retention.Undelivered, Networks: p.Networks}
}

// joined returns the people of the configuration.
func joined(c *config.Config) []identity.Joined {
	var all []identity.Joined
	for _, p := range c.People {
		j := identity.Joined{Name: p.Name, Handle: p.Handle}
		for _, ref := range p.Is {
			j.Is = append(j.Is, identity.Ref{Network: ref.Network, ID: ref.ID})
		}
		all = append(all, j)
	}
	return all
}

// firstSuite is the cipher suite of the rooms that we make.
func firstSuite(c *config.Config) mls.CipherSuite {
	if p := policyOf(c, config.DefaultPolicy); len(p.CipherSuites) > 0 {
		return mls.CipherSuite(p.CipherSuites[0])
	}
	return mls.X25519AES128
}

// arrange makes rooms what configuration says: those that are new are made, with our gateway participant in them, and those that are called
// otherwise renamed. A room that fails is told by its status; the others go on.
func (g *Gateway) arrange(ctx context.Context, rooms []config.Room) {
	for _, c := range rooms {
		g.setProblem(c.ID, "")
		id, err := g.provider.Room(c.ID)
		if err == nil {
			err = g.arrangeRoom(ctx, id, c)
		}
		if err != nil {
			g.log.Error("a room does not work", "room", c.ID, "at", c.At.String(), "error", err)
			g.setProblem(c.ID, fmt.Sprintf("%s: %v", c.At, err))
		}
	}
}

func (g *Gateway) arrangeRoom(ctx context.Context, id uri.Room, c config.Room) error {
	wanted := c.Name
	if wanted == "" {
		wanted = c.ID
	}
	name, subject, err := g.members.Description(ctx, id)
	switch {
	case errors.Is(err, member.ErrNoRoom):
		err = g.members.CreateRoom(ctx, id, wanted, "")
	case err == nil && name != wanted:
		err = g.members.Describe(ctx, id, wanted, subject)
	}
	if err != nil {
		return err
	}
	for _, user := range c.Invite {
		if err := g.invite(ctx, id, user); err != nil {
			return fmt.Errorf("inviting somebody of %s: %w", user.Domain(), err)
		}
	}
	return nil
}

// invite asks somebody of a peer into a room. Who is in it already stays as they are. The participant by which another gateway looks
// after its people gets the role for that (design §7).
func (g *Gateway) invite(ctx context.Context, id uri.Room, user uri.User) error {
	if _, _, err := g.peers.Hub(user.Provider()); err != nil {
		return err
	}
	role := policy.MemberRole
	if gateway, err := user.Provider().User(gatewayName); err == nil && user == gateway {
		role = policy.GatewayRole
	}
	if in, err := g.members.Participants(ctx, id); err != nil {
		return err
	} else if _, already := in[user]; !already {
		if err := g.consents.Invite(ctx, user, id); err != nil {
			return err
		}
	}
	return g.members.EnsureParticipant(ctx, id, user, uint32(role))
}

// gatewayName is the user by which a gateway of ours takes part in rooms: mimi://<domain>/u/gateway.
const gatewayName = "gateway"
