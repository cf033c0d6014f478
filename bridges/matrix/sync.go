package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// /sync as the account's own user: the only way to receive in mode bot, and in mode appservice a second way beside transactions, for
// homeservers that do not deliver redactions, typing and receipts. What comes twice is taken once, by its event id.

// Keys of the account's state.
const (
	sinceKey   = "sync/since"    // the position up to which everything was taken
	sessionKey = "login/session" // mode bot with a password: the access token
)

// syncWait is how long the homeserver may hold a /sync without news.
const syncWait = 30 * time.Second

// filters of /sync: nothing but what happens in rooms. The first one only finds the position from which we listen: what was
// said before we were there is not ours to pass on.
const (
	firstFilter = `{"presence":{"types":[]},"account_data":{"types":[]},"room":{"account_data":{"types":[]},"state":{"types":[]},"ephemeral":{"types":[]},"timeline":{"limit":1}}}`
	syncFilter  = `{"presence":{"types":[]},"account_data":{"types":[]},"room":{"account_data":{"types":[]},"state":{"types":[]},"timeline":{"limit":100},"include_leave":true}}`
)

// synced is the answer of /sync, as far as we read it.
type synced struct {
	Next  string `json:"next_batch"`
	Rooms struct {
		Join   map[id.RoomID]syncedRoom `json:"join"`
		Leave  map[id.RoomID]syncedRoom `json:"leave"`
		Invite map[id.RoomID]struct {
			State struct{ Events []json.RawMessage } `json:"invite_state"`
		} `json:"invite"`
	} `json:"rooms"`
}

type syncedRoom struct {
	Timeline struct {
		Events  []json.RawMessage
		Limited bool
		Prev    string `json:"prev_batch"`
	}
	Ephemeral struct{ Events []json.RawMessage }
}

// runBot is mode bot: log in, and /sync until ctx ends or the account no longer works.
func (s *session) runBot(ctx context.Context) error {
	if err := s.login(ctx); err != nil {
		return err
	}
	s.connect(s)
	s.status(ctx, adapter.Connected, "", "")
	ctx, cancel := context.WithCancel(ctx)
	reopened := make(chan struct{})
	defer func() { cancel(); <-reopened }()
	go func() {
		defer close(reopened)
		s.reopen(ctx)
	}()
	return s.syncLoop(ctx)
}

// login makes the account's client, with the token of the configuration, that of an earlier login, or by a new login.
func (s *session) login(ctx context.Context) error {
	token := s.settings.Token.Reveal()
	if token == "" {
		kept, err := s.account.State.Get(ctx, sessionKey)
		if err != nil {
			return fmt.Errorf("matrix: state of the account: %w", err)
		}
		token = string(kept)
	}
	if token != "" {
		err := s.tokenWorks(ctx, token)
		if homeserver.Status(err) != http.StatusUnauthorized { // M_UNKNOWN_TOKEN; M_MISSING_TOKEN where it has not the form of one
			return s.loginFailed(ctx, err)
		}
		if s.settings.Token != "" {
			return s.rejected(ctx, err, "the homeserver does not accept the account's token", "put a valid token into the account's configuration")
		}
	}
	var got struct {
		Token string `json:"access_token"`
	}
	err := homeserver.Request(ctx, s.hs.Client(""), http.MethodPost, mautrix.ClientURLPath{"v3", "login"}, nil, map[string]any{
		"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": s.settings.User},
		"password": s.settings.Password.Reveal(), "initial_device_display_name": "mimigate " + s.account.ID}, &got)
	if homeserver.Code(err) == "M_FORBIDDEN" || homeserver.Code(err) == "M_USER_DEACTIVATED" {
		return s.rejected(ctx, err, "the homeserver does not accept user and password", "correct user and password in the account's configuration")
	}
	if err != nil {
		return s.loginFailed(ctx, err)
	}
	if err := s.account.State.Put(ctx, sessionKey, []byte(got.Token)); err != nil {
		return fmt.Errorf("matrix: state of the account: %w", err)
	}
	return s.loginFailed(ctx, s.tokenWorks(ctx, got.Token))
}

// tokenWorks asks whose the token is, and makes that our user.
func (s *session) tokenWorks(ctx context.Context, token string) error {
	s.hs.Token = token
	var me struct {
		User id.UserID `json:"user_id"`
	}
	if err := homeserver.Request(ctx, s.hs.Client(""), http.MethodGet, mautrix.ClientURLPath{"v3", "account", "whoami"}, nil, nil, &me); err != nil {
		return err
	}
	return s.iAm(ctx, me.User)
}

func (s *session) loginFailed(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, adapter.ErrAccount) {
		return err
	}
	s.status(ctx, adapter.Connecting, "the homeserver "+s.settings.homeserver.Host+" cannot be reached", "")
	return fmt.Errorf("matrix: login: %w", homeserver.Plain(err))
}

// The pauses after a /sync that failed.
const (
	syncSoon = 250 * time.Millisecond
	syncRare = 15 * time.Second
)

// syncLoop receives until ctx ends, or with an error where the account no longer works.
func (s *session) syncLoop(ctx context.Context) error {
	kept, err := s.account.State.Get(ctx, sinceKey)
	if err != nil {
		return fmt.Errorf("matrix: state of the account: %w", err)
	}
	since, pause := string(kept), syncSoon
	for ctx.Err() == nil {
		next, err := s.syncOnce(ctx, since)
		if err == nil {
			since, pause = next, syncSoon
			if s.settings.Mode == modeBot {
				s.status(ctx, adapter.Connected, "", "")
			}
			continue
		}
		if err = s.syncFailed(ctx, err); err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, syncRare)
	}
	return nil
}

// syncFailed says what a failure means: an error if we cannot go on.
func (s *session) syncFailed(ctx context.Context, err error) error {
	var local *notTaken
	switch code := homeserver.Code(err); {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &local):
		s.log.Warn("what /sync brought was not taken", "error", err)
		return nil
	case code == "M_UNKNOWN_TOKEN" || code == "M_MISSING_TOKEN" || code == "M_USER_DEACTIVATED":
		if s.settings.Mode == modeBot && s.settings.Token == "" {
			return fmt.Errorf("matrix: logged out: %w", homeserver.Plain(err)) // the next run logs in anew
		}
		return s.rejected(ctx, err, "the homeserver no longer accepts the account's token", "put a valid token into the account's configuration")
	case s.settings.Mode == modeAppService:
		s.status(ctx, adapter.Degraded, "deletions, typing and receipts are not received: /sync: "+homeserver.Plain(err).Error(),
			"set sync: off if the homeserver delivers them by itself, as Synapse does")
	default:
		s.status(ctx, adapter.Connecting, "the homeserver "+s.settings.homeserver.Host+" cannot be reached: "+homeserver.Plain(err).Error(), "")
	}
	s.log.Debug("sync", "error", homeserver.Plain(err))
	return nil
}

// syncOnce makes one /sync, has the gateway take everything in it, and returns the new position, which is kept by then.
func (s *session) syncOnce(ctx context.Context, since string) (string, error) {
	query := map[string]string{"filter": firstFilter, "timeout": "0"}
	if since != "" {
		query = map[string]string{"filter": syncFilter, "timeout": strconv.FormatInt(syncWait.Milliseconds(), 10), "since": since}
	}
	var got synced
	if err := homeserver.Request(ctx, s.hs.Bot(), http.MethodGet, mautrix.ClientURLPath{"v3", "sync"}, query, nil, &got); err != nil {
		return "", err
	}
	if err := s.takeSynced(ctx, got, since); err != nil {
		return "", err
	}
	if err := s.account.State.Put(ctx, sinceKey, []byte(got.Next)); err != nil {
		return "", &notTaken{err}
	}
	return got.Next, nil
}

// notTaken says that the gateway, not the homeserver, is what failed.
type notTaken struct{ err error }

func (e *notTaken) Error() string { return "not taken: " + e.err.Error() }

func (e *notTaken) Unwrap() error { return e.err }

func (s *session) takeSynced(ctx context.Context, got synced, since string) error {
	var work []func() error
	for name, invitation := range got.Rooms.Invite {
		work = append(work, func() error { return s.takeInvitation(ctx, name, invitation.State.Events) })
	}
	if since != "" {
		for _, rooms := range []map[id.RoomID]syncedRoom{got.Rooms.Join, got.Rooms.Leave} {
			for name, news := range rooms {
				work = append(work, func() error { return s.takeNews(ctx, name, news, since) })
			}
		}
	}
	return inParallel(work, func(f func() error) error { return f() })
}

// takeInvitation takes our invitation to a room. Stripped state has no event id (Client-Server API, stripped state): the invitation is
// named after the room and who invites.
func (s *session) takeInvitation(ctx context.Context, name id.RoomID, state []json.RawMessage) error {
	for _, raw := range state {
		ev, err := native.Parse(raw)
		if err != nil || ev.Kind != "m.room.member" || ev.StateKey == nil || *ev.StateKey != string(s.hs.Names.Self) || ev.Member().Membership != native.Invited {
			continue
		}
		if ev.ID == "" {
			ev.ID = id.EventID("invite " + string(ev.Sender) + " " + string(name))
		}
		r := s.hs.Room(name)
		if err := r.Order.Lock(ctx); err != nil {
			return err
		}
		defer r.Order.Unlock()
		if s.seen.contains(ev.ID) {
			return nil
		}
		ev.Room = name
		if err := s.report(ctx, s.event(ctx, r, ev, adapter.Invitation{Name: string(name)})); err != nil {
			return &notTaken{err}
		}
		s.seen.add(ev.ID)
		return nil
	}
	return nil
}

// takeNews takes what happened in a room since the last /sync, or since we joined.
func (s *session) takeNews(ctx context.Context, name id.RoomID, news syncedRoom, since string) error {
	events := news.Timeline.Events
	if news.Timeline.Limited && !s.hasOurJoin(events) {
		before, err := s.fill(ctx, name, news.Timeline.Prev, since)
		if err != nil {
			return err
		}
		events = append(before, events...)
	}
	for _, raw := range s.sinceOurJoin(events) {
		if err := s.take(ctx, raw, name); err != nil {
			return &notTaken{fmt.Errorf("room %s: %w", name, err)}
		}
	}
	for _, raw := range news.Ephemeral.Events {
		s.ephemeral(ctx, raw, name)
	}
	return nil
}

// fill fetches the events between two /syncs that a limited timeline left out, oldest first.
func (s *session) fill(ctx context.Context, name id.RoomID, from, to string) ([]json.RawMessage, error) {
	var all []json.RawMessage // newest first
	for from != "" {
		var page struct {
			Chunk []json.RawMessage
			End   string
		}
		query := map[string]string{"dir": "b", "from": from, "to": to, "limit": "500"}
		err := homeserver.Request(ctx, s.hs.Bot(), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", name, "messages"}, query, nil, &page)
		if homeserver.Code(err) == "M_FORBIDDEN" {
			break // we are no longer there, and may not read what was said before that
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page.Chunk...)
		if page.End == from || len(page.Chunk) == 0 || s.hasOurJoin(page.Chunk) {
			break
		}
		from = page.End
	}
	slices.Reverse(all)
	return all, nil
}

func (s *session) hasOurJoin(events []json.RawMessage) bool {
	return slices.ContainsFunc(events, s.isOurJoin)
}

// sinceOurJoin leaves out what was said before we came.
func (s *session) sinceOurJoin(events []json.RawMessage) []json.RawMessage {
	for i := len(events) - 1; i >= 0; i-- {
		if s.isOurJoin(events[i]) {
			return events[i:]
		}
	}
	return events
}

func (s *session) isOurJoin(raw json.RawMessage) bool {
	ev, err := native.Parse(raw)
	return err == nil && ev.Kind == "m.room.member" && ev.StateKey != nil && *ev.StateKey == string(s.hs.Names.Self) &&
		ev.Member().Membership == native.Joined && (ev.Before == nil || ev.Before.Membership != native.Joined)
}
