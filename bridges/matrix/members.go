package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
)

// errBot is for what only an application service can show.
var errBot = fmt.Errorf("matrix: mode bot shows our people by name only: %w", adapter.ErrUnsupported)

// SetMember implements adapter.Members. In mode bot, only native people can be changed.
func (a *Adapter) SetMember(ctx context.Context, change adapter.MemberUpdate) error {
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	r := s.rooms.get(id.RoomID(change.Conversation))
	if err := s.load(ctx, r); err != nil {
		return err
	}
	reason := change.Reason
	if reason == "" && change.By.Name != "" {
		reason = "by " + change.By.Name
	}
	if len(change.Author.Native) > 0 {
		for _, native := range change.Author.Native {
			if err := s.moderate(ctx, r, change.Change, id.UserID(native), reason); err != nil {
				return err
			}
		}
		return nil
	}
	if a.settings.Mode == modeBot || change.Author.IsGateway() {
		return errBot
	}
	if change.Change == adapter.Joined || change.Change == adapter.Invited || change.Change == adapter.Unbanned {
		_, err := s.speaker(ctx, r, change.Author)
		return err
	}
	return s.leave(ctx, r, s.person(s.names.of(change.Author.User)), reason)
}

// moderate does to a native person what was done in the room.
func (s *session) moderate(ctx context.Context, r *room, change adapter.MemberChange, who id.UserID, reason string) error {
	var verb string
	switch is := r.member(who).Membership; change {
	case adapter.Kicked, adapter.Left:
		verb = "kick"
		if is == left || is == "" {
			return nil
		}
	case adapter.Banned:
		verb = "ban"
		if is == banned {
			return nil
		}
	case adapter.Unbanned:
		verb = "unban"
		if is != banned {
			return nil
		}
	case adapter.Invited, adapter.Joined:
		verb = "invite"
		if is == joined || is == invited {
			return nil
		}
	default:
		return adapter.Refused(fmt.Errorf("matrix: unknown change of membership %d", change))
	}
	body := map[string]any{"user_id": who}
	if reason != "" {
		body["reason"] = reason
	}
	err := request(ctx, s.agent(r), http.MethodPost, mautrix.ClientURLPath{"v3", "rooms", r.id, verb}, nil, body, nil)
	return s.check(ctx, failed(verb+" in "+string(r.id)+" by "+string(r.agentOr(s.names.self)), err))
}

// leave has one of our people leave a room; who is not there has left.
func (s *session) leave(ctx context.Context, r *room, p *person, reason string) error {
	is := r.member(p.id).Membership
	if is != joined && is != invited {
		return nil
	}
	body := map[string]any{}
	if reason != "" {
		body["reason"] = reason
	}
	err := request(ctx, p.client, http.MethodPost, mautrix.ClientURLPath{"v3", "rooms", r.id, "leave"}, nil, body, nil)
	if err != nil {
		return s.check(ctx, failed("leaving "+string(r.id)+" as "+string(p.id), err))
	}
	r.setMember(p.id, member{Membership: left, Name: p.name, Avatar: p.avatar})
	return nil
}

// SetProfile implements adapter.Profiles.
func (a *Adapter) SetProfile(ctx context.Context, author adapter.Author) error {
	if a.settings.Mode == modeBot || author.IsGateway() {
		return errBot
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	_, err = s.present(ctx, author)
	return err
}

// here returns one of our people who is in a room, for what is not worth bringing them there.
func (s *session) here(in adapter.Conversation, author adapter.Author) (*room, *person, bool) {
	r := s.rooms.get(id.RoomID(in))
	p := s.person(s.names.of(author.User))
	return r, p, r.member(p.id).Membership == joined
}

// SendReceipt implements adapter.Receipts: read receipts of our people. Matrix knows no others.
func (a *Adapter) SendReceipt(ctx context.Context, in adapter.Conversation, author adapter.Author, receipt adapter.Receipt) error {
	if a.settings.Mode == modeBot {
		return errBot
	}
	if receipt.Status != adapter.Read || len(receipt.IDs) == 0 {
		return nil
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	r, p, ok := s.here(in, author)
	if !ok {
		return nil
	}
	last := receipt.IDs[len(receipt.IDs)-1]
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "receipt", "m.read", last}
	return failed("a receipt", request(ctx, p.client, http.MethodPost, path, nil, map[string]any{}, nil))
}

// typingTime is how long the homeserver shows typing that is not repeated (adapter.Receipts), in milliseconds.
const typingTime = 30_000

// SendTyping implements adapter.Receipts.
func (a *Adapter) SendTyping(ctx context.Context, in adapter.Conversation, author adapter.Author, typing adapter.Typing) error {
	if a.settings.Mode == modeBot {
		return errBot
	}
	s, err := a.online(ctx)
	if err != nil {
		return err
	}
	r, p, ok := s.here(in, author)
	if !ok {
		return nil
	}
	body := map[string]any{"typing": typing.Active}
	if typing.Active {
		body["timeout"] = typingTime
	}
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "typing", p.id}
	return failed("typing", request(ctx, p.client, http.MethodPut, path, nil, body, nil))
}

// Find implements adapter.Finder: the person of a user id such as @fox:example.org, also as a matrix.to link.
func (a *Adapter) Find(ctx context.Context, address string) ([]adapter.Person, error) {
	s, err := a.online(ctx)
	if err != nil {
		return nil, err
	}
	if link, err := id.ParseMatrixURIOrMatrixToURL(address); err == nil && link.UserID() != "" {
		address = string(link.UserID())
	}
	user := id.UserID(address)
	if _, _, err := user.ParseAndValidateRelaxed(); err != nil {
		return nil, fmt.Errorf("matrix: not a user id such as @fox:example.org: %w", adapter.ErrNotFound)
	}
	var profile fields
	err = request(ctx, s.bot, http.MethodGet, mautrix.ClientURLPath{"v3", "profile", user}, nil, nil, &profile)
	switch errcode(err) {
	case "M_NOT_FOUND", "M_FORBIDDEN":
		return nil, fmt.Errorf("matrix: %s: %w", user, errors.Join(adapter.ErrNotFound, plainError(err)))
	}
	if err != nil {
		return nil, failed("looking up a profile", err)
	}
	return []adapter.Person{s.nativeMember(ctx, user, memberOf(profile))}, nil
}
