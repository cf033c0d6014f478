package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// take (design §4 step 1) passes a native event of a room to the gateway, once: nil means that it will not be needed again. Events of one room are
// taken one after the other, wherever they come from. room is where it happened, for events that do not say.
func (s *session) take(ctx context.Context, raw json.RawMessage, in id.RoomID) error {
	ev, err := native.Parse(raw)
	if ev.Room == "" {
		ev.Room = in
	}
	if err != nil || ev.Room == "" || ev.Sender == "" {
		s.log.Warn("an event that cannot be read is left out", "room", ev.Room, "event", ev.ID)
		return nil
	}
	r := s.hs.Room(ev.Room)
	if err := r.Order.Lock(ctx); err != nil {
		return err
	}
	defer r.Order.Unlock()
	if s.seen.contains(ev.ID) {
		return nil
	}
	if ev.Kind == "m.room.encryption" && ev.StateKey != nil {
		r.SetEncrypted() // at once, even if the gateway does not take the event now
	}
	for _, body := range s.bodies(ctx, r, ev) {
		if err := s.report(ctx, s.event(ctx, r, ev, body)); err != nil {
			return err
		}
	}
	s.applied(ctx, r, ev)
	s.seen.add(ev.ID)
	return nil
}

// event is what all events of a native event have in common.
func (s *session) event(ctx context.Context, r *homeserver.Room, ev native.Event, body adapter.Body) adapter.Event {
	return adapter.Event{
		Conversation: adapter.Conversation(r.ID), ID: adapter.NativeID(ev.ID), Sender: s.person(ctx, r, ev.Sender),
		Time: ev.Time, Own: s.hs.Names.Ours(ev.Sender), Marker: ev.Marker(), Body: body,
	}
}

// reader reads the messages of a room.
func (s *session) reader(ctx context.Context, r *homeserver.Room) native.Reader {
	return native.Reader{
		Names: s.hs.Names,
		User:  func(user id.UserID) uri.User { return s.hs.UserOf(ctx, user) },
		Name:  func(user id.UserID) string { return s.person(ctx, r, user).Name },
	}
}

// person is a user as the gateway knows people.
func (s *session) person(ctx context.Context, r *homeserver.Room, user id.UserID) adapter.Person {
	m := r.Member(user)
	return s.memberPerson(ctx, user, m)
}

func (s *session) memberPerson(ctx context.Context, user id.UserID, m native.Member) adapter.Person {
	p := adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(user)}, Name: native.Clean(m.Name), Avatar: native.Blob(m.Avatar), Verified: true}
	if p.Name == "" {
		p.Name = user.Localpart()
	}
	if s.hs.Names.Ours(user) {
		p.User = s.hs.UserOf(ctx, user)
	}
	return p
}

// bodies is what a native event says, in what the gateway understands; nothing for what it need not know.
func (s *session) bodies(ctx context.Context, r *homeserver.Room, ev native.Event) []adapter.Body {
	if ev.StateKey != nil {
		return s.stateBodies(ctx, r, ev)
	}
	if ev.Redacted != "" && ev.Kind != "m.room.redaction" {
		return nil // deleted before we got it
	}
	switch ev.Kind {
	case "m.room.message", "m.sticker", "m.reaction", "m.room.encrypted", "m.poll.start", "org.matrix.msc3381.poll.start":
		s.hs.Meet(ctx, r)
		if m, ok := s.reader(ctx, r).Message(ev); ok {
			return []adapter.Body{m}
		}
	case "m.room.redaction":
		target := ev.Redacts
		if of := ev.Text("redacts"); of != "" {
			target = id.EventID(of)
		}
		if target != "" {
			s.hs.Meet(ctx, r)
			return []adapter.Body{adapter.Message{Content: content.Delete(content.MessageID{}), Replaces: adapter.NativeID(target)}}
		}
	}
	return nil
}

func (s *session) stateBodies(ctx context.Context, r *homeserver.Room, ev native.Event) []adapter.Body {
	one := func(state adapter.ConversationState) []adapter.Body { return []adapter.Body{state} }
	switch ev.Kind {
	case "m.room.member":
		return s.memberBodies(ctx, r, ev)
	case "m.room.name":
		name := native.Clean(ev.Text("name"))
		return one(adapter.ConversationState{Name: &name})
	case "m.room.topic":
		topic := native.Clean(ev.Text("topic"))
		return one(adapter.ConversationState{Topic: &topic})
	case "m.room.avatar":
		picture := native.Blob(ev.Text("url"))
		return one(adapter.ConversationState{Picture: &picture})
	case "m.room.encryption":
		yes := true
		return one(adapter.ConversationState{Encrypted: &yes})
	case "m.room.tombstone":
		gone, moved := "the room was replaced by another", adapter.Conversation(ev.Text("replacement_room"))
		return one(adapter.ConversationState{Gone: &gone, MovedTo: &moved})
	}
	return nil
}

// memberBodies is what a change of membership says (Client-Server API, m.room.member). Our own changes are not news.
func (s *session) memberBodies(ctx context.Context, r *homeserver.Room, ev native.Event) []adapter.Body {
	who, now := id.UserID(*ev.StateKey), ev.Member()
	before := r.Member(who)
	if ev.Before != nil {
		before = *ev.Before
	}
	if s.hs.Names.Ours(who) {
		return s.oursBodies(ctx, r, ev, who, before, now)
	}
	change := changeOf(before.Membership, now.Membership, who == ev.Sender)
	person := s.memberPerson(ctx, who, now)
	if now.Name == "" && now.Membership != native.Joined {
		person = s.memberPerson(ctx, who, before)
	}
	switch {
	case change != 0:
		return []adapter.Body{adapter.Membership{Change: change, Person: person, Reason: native.Clean(now.Reason)}}
	case now.Membership == native.Joined && (now.Name != before.Name || now.Avatar != before.Avatar):
		return []adapter.Body{adapter.Profile{Person: person}}
	}
	return nil
}

// changeOf is what a change of membership is to the gateway; 0: nothing.
func changeOf(before, now string, self bool) adapter.MemberChange {
	switch {
	case now == native.Joined && before != native.Joined:
		return adapter.Joined
	case now == native.Invited:
		return adapter.Invited
	case now == native.Banned && before != native.Banned:
		return adapter.Banned
	case now == native.Left && before == native.Banned:
		return adapter.Unbanned
	case now == native.Left && before == native.Joined && self:
		return adapter.Left
	case now == native.Left && before == native.Joined:
		return adapter.Kicked
	}
	return 0
}

// oursBodies is what others do with our own users: invite and remove them.
func (s *session) oursBodies(ctx context.Context, r *homeserver.Room, ev native.Event, who id.UserID, before, now native.Member) []adapter.Body {
	if s.hs.Names.Ours(ev.Sender) {
		return nil
	}
	change := changeOf(before.Membership, now.Membership, false)
	switch {
	case change == adapter.Invited:
		return []adapter.Body{adapter.Invitation{Name: string(r.ID)}}
	case (change == adapter.Kicked || change == adapter.Banned) && who == r.AgentOr(s.hs.Names.Self):
		gone := string(who) + " was removed from the room by " + string(ev.Sender)
		if change == adapter.Banned {
			gone = string(who) + " was banned from the room by " + string(ev.Sender)
		}
		return []adapter.Body{adapter.ConversationState{Gone: &gone}}
	case change == adapter.Kicked, change == adapter.Banned:
		return []adapter.Body{adapter.Membership{Change: change, Person: s.person(ctx, r, who), Reason: native.Clean(now.Reason)}}
	}
	return nil
}

// applied takes over what a state event changed, once the gateway has it.
func (s *session) applied(ctx context.Context, r *homeserver.Room, ev native.Event) {
	if ev.StateKey == nil {
		return
	}
	switch ev.Kind {
	case "m.room.member":
		who := id.UserID(*ev.StateKey)
		now := ev.Member()
		if m := r.Member(who); now.Membership == native.Invited && now.Direct && s.hs.Names.Ours(who) || m.Direct {
			now.Direct = true // a join forgets that the invitation was to a direct chat
		}
		r.SetMember(who, now)
		if who == r.AgentOr(s.hs.Names.Self) && now.Membership != native.Joined {
			r.Forget()
		}
		s.keepInvitation(ctx, r, who, now, ev.Sender)
	case "m.room.encryption":
		s.setEncrypted(ctx, r.ID, true)
	default:
		r.Apply(ev)
	}
}

// keepInvitation remembers which of our people was invited to a room that the account itself is not in: Open joins as them.
func (s *session) keepInvitation(ctx context.Context, r *homeserver.Room, who id.UserID, now native.Member, by id.UserID) {
	if now.Membership != native.Invited || who == s.hs.Names.Self || !s.hs.Names.Ours(who) || s.hs.Names.Ours(by) {
		return
	}
	if r.Member(s.hs.Names.Self).Membership == native.Joined {
		return
	}
	if err := s.hs.KeepAgent(ctx, r.ID, who); err != nil {
		s.log.Warn("an invitation cannot be remembered", "room", r.ID, "error", err)
	}
}

// ephemeral passes on typing and receipts, which are not recorded: what fails is left out.
func (s *session) ephemeral(ctx context.Context, raw json.RawMessage, in id.RoomID) {
	ev, err := native.Parse(raw)
	if ev.Room == "" {
		ev.Room = in
	}
	if err != nil || ev.Room == "" {
		return
	}
	r := s.hs.Room(ev.Room)
	if r.Order.Lock(ctx) != nil {
		return
	}
	defer r.Order.Unlock()
	switch ev.Kind {
	case "m.typing":
		err = s.typing(ctx, r, ev.Content.Texts("user_ids"))
	case "m.receipt":
		err = s.receipts(ctx, r, ev.Content)
	}
	if err != nil && !errors.Is(err, errOver) {
		s.log.Debug("not taken", "room", r.ID, "kind", ev.Kind, "error", err)
	}
}

// typing reports who started and who stopped, from the list of all who type now.
func (s *session) typing(ctx context.Context, r *homeserver.Room, users []string) error {
	report := func(user id.UserID, active bool) error {
		return s.report(ctx, adapter.Event{Conversation: adapter.Conversation(r.ID), Sender: s.person(ctx, r, user), Body: adapter.Typing{Active: active}})
	}
	for user := range r.Typing {
		if !slices.Contains(users, string(user)) {
			delete(r.Typing, user)
			if err := report(user, false); err != nil {
				return err
			}
		}
	}
	for _, u := range users {
		user := id.UserID(u)
		if r.Typing[user] || s.hs.Names.Ours(user) {
			continue
		}
		r.Typing[user] = true
		if err := report(user, true); err != nil {
			return err
		}
	}
	return nil
}

// receipts reports read receipts: {event: {"m.read": {user: {ts}}}}.
func (s *session) receipts(ctx context.Context, r *homeserver.Room, all native.Fields) error {
	for event := range all {
		for u, receipt := range all.Object(event).Object("m.read") {
			user := id.UserID(u)
			if s.hs.Names.Ours(user) {
				continue
			}
			ev := adapter.Event{Conversation: adapter.Conversation(r.ID), Sender: s.person(ctx, r, user),
				Body: adapter.Receipt{IDs: []adapter.NativeID{adapter.NativeID(event)}, UpTo: true, Status: adapter.Read}}
			var at struct {
				TS float64 `json:"ts"`
			}
			if json.Unmarshal(receipt, &at) == nil && at.TS > 0 && at.TS < 1<<50 {
				ev.Time = time.UnixMilli(int64(at.TS))
			}
			if err := s.report(ctx, ev); err != nil {
				return err
			}
		}
	}
	return nil
}
