package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// people are our users on the homeserver: the account's own and, in mode appservice, one for each of the room's people from
// elsewhere.
type people struct {
	mu  sync.Mutex
	all map[id.UserID]*person
}

// person is one of our users. busy is held while it is registered or its profile changed.
type person struct {
	id     id.UserID
	client *mautrix.Client
	busy   gate

	registered   bool // guarded by busy, like what follows
	known        bool // name and avatar are what the homeserver has
	name, avatar string
}

func (s *session) person(user id.UserID) *person {
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	p := s.people.all[user]
	if p == nil {
		p = &person{id: user, client: s.bot, busy: make(gate, 1)}
		if user != s.names.self {
			p.client = s.client(user, s.settings.reg.ASToken)
		}
		s.people.all[user] = p
	}
	return p
}

func (s *session) clientOf(user id.UserID) *mautrix.Client { return s.person(user).client }

// userKey is the key of the account's state that says whom a hashed user id stands for.
func userKey(user id.UserID) string { return "user/" + user.Localpart() }

// userOf returns which of the room's people one of our user ids stands for; zero: nobody we know.
func (s *session) userOf(ctx context.Context, user id.UserID) uri.User {
	if u, ok := s.names.user(user); ok || !s.names.isHashed(user) {
		return u
	}
	kept, err := s.account.State.Get(ctx, userKey(user))
	if err != nil {
		s.log.Warn("state of the account", "error", err)
		return uri.User{}
	}
	u, err := uri.ParseUser(string(kept))
	if err != nil {
		return uri.User{}
	}
	return u
}

// speaker returns who is to speak for an author in a room: registered, with their name and picture, and in the room.
func (s *session) speaker(ctx context.Context, r *room, author adapter.Author) (*person, error) {
	if author.IsGateway() || s.settings.Mode == modeBot {
		return s.person(r.agentOr(s.names.self)), nil
	}
	p, err := s.present(ctx, author)
	if err != nil {
		return nil, err
	}
	return p, s.join(ctx, r, p)
}

// present makes one of our people exist on the homeserver, with name and picture.
func (s *session) present(ctx context.Context, author adapter.Author) (*person, error) {
	p := s.person(s.names.of(author.User))
	if err := p.busy.lock(ctx); err != nil {
		return nil, adapter.NotDelivered(err)
	}
	defer p.busy.unlock()
	if err := s.register(ctx, p, author.User); err != nil {
		return nil, certain(s.check(ctx, err))
	}
	return p, certain(s.check(ctx, s.dress(ctx, p, author)))
}

// certain makes an error of a step before the message itself one that says so: the message was certainly not shown.
func certain(err error) error {
	if err == nil || errors.Is(err, adapter.ErrNotDelivered) {
		return err
	}
	return adapter.NotDelivered(err)
}

// register makes the user, which may exist already (Application Service API §server admin style permissions).
func (s *session) register(ctx context.Context, p *person, who uri.User) error {
	if p.registered {
		return nil
	}
	if s.names.isHashed(p.id) {
		if err := s.account.State.Put(ctx, userKey(p.id), []byte(who.String())); err != nil {
			return fmt.Errorf("matrix: state of the account: %w", err)
		}
	}
	body := map[string]any{"type": "m.login.application_service", "username": p.id.Localpart(), "inhibit_login": true}
	err := request(ctx, s.client("", s.settings.reg.ASToken), http.MethodPost, mautrix.ClientURLPath{"v3", "register"}, nil, body, nil)
	if err != nil && errcode(err) != "M_USER_IN_USE" {
		return failed("registering "+string(p.id), err)
	}
	p.registered = true
	return nil
}

// dress gives the user the author's name and picture where they differ.
func (s *session) dress(ctx context.Context, p *person, author adapter.Author) error {
	name, avatar := displayName(author.Name), string(author.Avatar)
	if !p.known {
		var has struct {
			Name   string `json:"displayname"`
			Avatar string `json:"avatar_url"`
		}
		err := request(ctx, p.client, http.MethodGet, mautrix.ClientURLPath{"v3", "profile", p.id}, nil, nil, &has)
		if err != nil && errcode(err) != "M_NOT_FOUND" {
			return failed("reading the profile of "+string(p.id), err)
		}
		p.known, p.name, p.avatar = true, has.Name, has.Avatar
	}
	set := func(field, value string, has *string) error {
		if *has == value {
			return nil
		}
		path := mautrix.ClientURLPath{"v3", "profile", p.id, field}
		if err := request(ctx, p.client, http.MethodPut, path, nil, map[string]string{field: value}, nil); err != nil {
			return failed("setting "+field+" of "+string(p.id), err)
		}
		*has = value
		return nil
	}
	if err := set("displayname", name, &p.name); err != nil {
		return err
	}
	return set("avatar_url", avatar, &p.avatar)
}

// maxName is the most octets of a display name that Synapse takes (256), less a little.
const maxName = 250

// displayName is a name as homeservers take it: without control characters, and not too long.
func displayName(name string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD")))
	if len(name) > maxName {
		cut := maxName
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + "…"
	}
	return name
}

// join brings one of our people into a room, by invitation of the agent where it must be.
func (s *session) join(ctx context.Context, r *room, p *person) error {
	if r.member(p.id).Membership == joined {
		return nil
	}
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "join"}
	err := request(ctx, p.client, http.MethodPost, path, nil, map[string]any{}, nil)
	if errcode(err) == "M_FORBIDDEN" {
		if err = s.inviteOurs(ctx, r, p); err != nil {
			return err
		}
		err = request(ctx, p.client, http.MethodPost, path, nil, map[string]any{}, nil)
	}
	if err != nil {
		return certain(s.check(ctx, failed("joining "+string(r.id)+" as "+string(p.id), err)))
	}
	r.setMember(p.id, member{Membership: joined, Name: p.name, Avatar: p.avatar})
	return nil
}

func (s *session) inviteOurs(ctx context.Context, r *room, p *person) error {
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "invite"}
	err := request(ctx, s.agent(r), http.MethodPost, path, nil, map[string]any{"user_id": p.id}, nil)
	if errcode(err) != "M_FORBIDDEN" {
		return certain(s.check(ctx, failed("inviting to "+string(r.id), err)))
	}
	said := failed("inviting "+string(p.id)+" to "+string(r.id), err)
	if r.member(p.id).Membership == banned {
		return said // refused: only this one, and for good
	}
	if r.member(p.id).Membership == invited {
		return nil
	}
	return adapter.Gone(fmt.Errorf("%s may not invite people to the room %s: let it, or make the room public: %w", r.agentOr(s.names.self), r.id, said))
}
