package homeserver

import (
	"context"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// Person is one of our users on the homeserver: the account's own or, of an application service, one for each of the room's people
// from elsewhere.
type Person struct {
	ID     id.UserID
	Client *mautrix.Client
	busy   Gate // held while the user is registered or its profile changed

	registered   bool // guarded by busy, like what follows
	known        bool // name and avatar are what the homeserver has
	name, avatar string
}

// Person returns one of our users.
func (s *Server) Person(user id.UserID) *Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.people[user]
	if p == nil {
		p = &Person{ID: user, Client: s.Client(user), busy: make(Gate, 1)}
		if s.people == nil {
			s.people = map[id.UserID]*Person{}
		}
		s.people[user] = p
	}
	return p
}

// userKey is the key of the account's state that says whom a hashed user id stands for.
func userKey(user id.UserID) string { return "user/" + user.Localpart() }

// UserOf returns which of the room's people one of our user ids stands for; zero: nobody we know.
func (s *Server) UserOf(ctx context.Context, user id.UserID) uri.User {
	if u, ok := s.Names.User(user); ok || !s.Names.IsHashed(user) {
		return u
	}
	kept, err := s.kept(ctx, userKey(user))
	if err != nil {
		s.Log.Warn("whom a user id stands for is not known", "error", err)
	}
	u, err := uri.ParseUser(kept)
	if err != nil {
		return uri.User{}
	}
	return u
}

// Speaker returns who is to speak for an author in a room: registered, with their name and picture, and in the room.
func (s *Server) Speaker(ctx context.Context, r *Room, author adapter.Author) (*Person, error) {
	if author.IsGateway() || !s.AppService() {
		return s.Person(r.AgentOr(s.Names.Self)), nil
	}
	p, err := s.Present(ctx, author)
	if err != nil {
		return nil, err
	}
	return p, s.Join(ctx, r, p)
}

// Present makes one of our people exist on the homeserver, with name and picture.
func (s *Server) Present(ctx context.Context, author adapter.Author) (*Person, error) {
	p := s.Person(s.Names.Of(author.User))
	if err := p.busy.Lock(ctx); err != nil {
		return nil, adapter.NotDelivered(err)
	}
	defer p.busy.Unlock()
	if err := s.register(ctx, p, author.User); err != nil {
		return nil, certain(s.Check(ctx, err))
	}
	return p, certain(s.Check(ctx, s.dress(ctx, p, author)))
}

// register makes the user, which may exist already (Application Service API §server admin style permissions).
func (s *Server) register(ctx context.Context, p *Person, who uri.User) error {
	if p.registered {
		return nil
	}
	if s.Names.IsHashed(p.ID) {
		if err := s.State.Put(ctx, userKey(p.ID), []byte(who.String())); err != nil {
			return fmt.Errorf("matrix: state of the account: %w", err)
		}
	}
	body := map[string]any{"type": "m.login.application_service", "username": p.ID.Localpart(), "inhibit_login": true}
	err := Request(ctx, s.Client(""), http.MethodPost, mautrix.ClientURLPath{"v3", "register"}, nil, body, nil)
	if err != nil && Code(err) != "M_USER_IN_USE" {
		return Failed("registering "+string(p.ID), err)
	}
	p.registered = true
	return nil
}

// dress gives the user the author's name and picture where they differ.
func (s *Server) dress(ctx context.Context, p *Person, author adapter.Author) error {
	name, avatar := native.DisplayName(author.Name), string(author.Avatar)
	if !p.known {
		var has struct {
			Name   string `json:"displayname"`
			Avatar string `json:"avatar_url"`
		}
		err := Request(ctx, p.Client, http.MethodGet, mautrix.ClientURLPath{"v3", "profile", p.ID}, nil, nil, &has)
		if err != nil && Code(err) != "M_NOT_FOUND" {
			return Failed("reading the profile of "+string(p.ID), err)
		}
		p.known, p.name, p.avatar = true, has.Name, has.Avatar
	}
	set := func(field, value string, has *string) error {
		if *has == value {
			return nil
		}
		path := mautrix.ClientURLPath{"v3", "profile", p.ID, field}
		if err := Request(ctx, p.Client, http.MethodPut, path, nil, map[string]string{field: value}, nil); err != nil {
			return Failed("setting "+field+" of "+string(p.ID), err)
		}
		*has = value
		return nil
	}
	if err := set("displayname", name, &p.name); err != nil {
		return err
	}
	return set("avatar_url", avatar, &p.avatar)
}

// Join brings one of our people into a room, by invitation of the agent where it must be.
func (s *Server) Join(ctx context.Context, r *Room, p *Person) error {
	if r.Member(p.ID).Membership == native.Joined {
		return nil
	}
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "join"}
	err := Request(ctx, p.Client, http.MethodPost, path, nil, map[string]any{}, nil)
	if Code(err) == "M_FORBIDDEN" {
		if err = s.inviteOurs(ctx, r, p); err != nil {
			return err
		}
		err = Request(ctx, p.Client, http.MethodPost, path, nil, map[string]any{}, nil)
	}
	if err != nil {
		return certain(s.Check(ctx, Failed("joining "+string(r.ID)+" as "+string(p.ID), err)))
	}
	r.SetMember(p.ID, native.Member{Membership: native.Joined, Name: p.name, Avatar: p.avatar})
	return nil
}

func (s *Server) inviteOurs(ctx context.Context, r *Room, p *Person) error {
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "invite"}
	err := Request(ctx, s.Agent(r), http.MethodPost, path, nil, map[string]any{"user_id": p.ID}, nil)
	if Code(err) != "M_FORBIDDEN" {
		return certain(s.Check(ctx, Failed("inviting to "+string(r.ID), err)))
	}
	said := Failed("inviting "+string(p.ID)+" to "+string(r.ID), err)
	if r.Member(p.ID).Membership == native.Banned {
		return said // refused: only this one, and for good
	}
	if r.Member(p.ID).Membership == native.Invited {
		return nil
	}
	return adapter.Gone(fmt.Errorf("%s may not invite people to the room %s: let it, or make the room public: %w", r.AgentOr(s.Names.Self), r.ID, said))
}

// Moderate does to a native person what was done in the room.
func (s *Server) Moderate(ctx context.Context, r *Room, change adapter.MemberChange, who id.UserID, reason string) error {
	var verb string
	switch is := r.Member(who).Membership; change {
	case adapter.Kicked:
		verb = "kick"
		if is == native.Left || is == "" {
			return nil
		}
	case adapter.Banned:
		verb = "ban"
		if is == native.Banned {
			return nil
		}
	case adapter.Unbanned:
		verb = "unban"
		if is != native.Banned {
			return nil
		}
	case adapter.Invited:
		verb = "invite"
		if is == native.Joined || is == native.Invited {
			return nil
		}
	default:
		return adapter.Refused(fmt.Errorf("matrix: unknown change of membership %d", change))
	}
	body := map[string]any{"user_id": who}
	if reason != "" {
		body["reason"] = reason
	}
	err := Request(ctx, s.Agent(r), http.MethodPost, mautrix.ClientURLPath{"v3", "rooms", r.ID, verb}, nil, body, nil)
	return s.Check(ctx, Failed(verb+" in "+string(r.ID)+" by "+string(r.AgentOr(s.Names.Self)), err))
}

// Leave has one of our people leave a room; who is not there has left.
func (s *Server) Leave(ctx context.Context, r *Room, p *Person, reason string) error {
	is := r.Member(p.ID).Membership
	if is != native.Joined && is != native.Invited {
		return nil
	}
	body := map[string]any{}
	if reason != "" {
		body["reason"] = reason
	}
	err := Request(ctx, p.Client, http.MethodPost, mautrix.ClientURLPath{"v3", "rooms", r.ID, "leave"}, nil, body, nil)
	if err != nil {
		return s.Check(ctx, Failed("leaving "+string(r.ID)+" as "+string(p.ID), err))
	}
	r.SetMember(p.ID, native.Member{Membership: native.Left, Name: p.name, Avatar: p.avatar})
	return nil
}
