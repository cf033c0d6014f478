package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
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
	r := s.hs.Room(id.RoomID(change.Conversation))
	if err := s.hs.Load(ctx, r); err != nil {
		return err
	}
	reason := change.Reason
	if reason == "" && change.By.Name != "" {
		reason = "by " + change.By.Name
	}
	if len(change.Author.Native) > 0 {
		if change.Change == adapter.Joined || change.Change == adapter.Left {
			return nil // that is up to them
		}
		for _, native := range change.Author.Native {
			if err := s.hs.Moderate(ctx, r, change.Change, id.UserID(native), reason); err != nil {
				return err
			}
		}
		return nil
	}
	if a.settings.Mode == modeBot || change.Author.IsGateway() {
		return errBot
	}
	if change.Change == adapter.Joined || change.Change == adapter.Invited || change.Change == adapter.Unbanned {
		_, err := s.hs.Speaker(ctx, r, change.Author)
		return err
	}
	return s.hs.Leave(ctx, r, s.hs.Person(s.hs.Names.Of(change.Author.User)), reason)
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
	_, err = s.hs.Present(ctx, author)
	return err
}

// here returns one of our people who is in a room, for what is not worth bringing them there.
func (s *session) here(in adapter.Conversation, author adapter.Author) (*homeserver.Room, *homeserver.Person, bool) {
	r := s.hs.Room(id.RoomID(in))
	p := s.hs.Person(s.hs.Names.Of(author.User))
	return r, p, r.Member(p.ID).Membership == native.Joined
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
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "receipt", "m.read", last}
	return homeserver.Failed("a receipt", homeserver.Request(ctx, p.Client, http.MethodPost, path, nil, map[string]any{}, nil))
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
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "typing", p.ID}
	return homeserver.Failed("typing", homeserver.Request(ctx, p.Client, http.MethodPut, path, nil, body, nil))
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
	var profile native.Fields
	err = homeserver.Request(ctx, s.hs.Bot(), http.MethodGet, mautrix.ClientURLPath{"v3", "profile", user}, nil, nil, &profile)
	switch homeserver.Status(err) {
	case http.StatusNotFound, http.StatusForbidden, http.StatusBadRequest:
		return nil, fmt.Errorf("matrix: %s: %w", user, errors.Join(adapter.ErrNotFound, homeserver.Plain(err)))
	}
	if err != nil {
		return nil, homeserver.Failed("looking up a profile", err)
	}
	return []adapter.Person{s.memberPerson(ctx, user, native.MemberOf(profile))}, nil
}
