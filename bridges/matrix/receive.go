package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// take passes a native event of a room to the gateway, once: nil means that it will not be needed again. Events of one room are
// taken one after the other, wherever they come from. room is where it happened, for events that do not say.
func (s *session) take(ctx context.Context, raw json.RawMessage, in id.RoomID) error {
	ev, err := parseEvent(raw)
	if ev.room == "" {
		ev.room = in
	}
	if err != nil || ev.room == "" || ev.sender == "" {
		s.log.Warn("an event that cannot be read is left out", "room", ev.room, "event", ev.id)
		return nil
	}
	r := s.rooms.get(ev.room)
	if err := r.order.lock(ctx); err != nil {
		return err
	}
	defer r.order.unlock()
	if s.seen.contains(ev.id) {
		return nil
	}
	if ev.kind == "m.room.encryption" && ev.stateKey != nil {
		r.setEncrypted() // at once, even if the gateway does not take the event now
	}
	for _, body := range s.bodies(ctx, r, ev) {
		if err := s.report(ctx, s.event(ctx, r, ev, body)); err != nil {
			return err
		}
	}
	s.applied(ctx, r, ev)
	s.seen.add(ev.id)
	return nil
}

// event is what all events of a native event have in common.
func (s *session) event(ctx context.Context, r *room, ev nativeEvent, body adapter.Body) adapter.Event {
	return adapter.Event{
		Conversation: adapter.Conversation(r.id), ID: adapter.NativeID(ev.id), Sender: s.native(ctx, r, ev.sender),
		Time: ev.time, Own: s.names.ours(ev.sender), Marker: ev.marker(), Body: body,
	}
}

// native is a user as the gateway knows people.
func (s *session) native(ctx context.Context, r *room, user id.UserID) adapter.Person {
	m := r.member(user)
	return s.nativeMember(ctx, user, m)
}

func (s *session) nativeMember(ctx context.Context, user id.UserID, m member) adapter.Person {
	p := adapter.Person{IDs: []adapter.PersonID{adapter.PersonID(user)}, Name: clean(m.Name), Avatar: blobOf(m.Avatar), Verified: true}
	if p.Name == "" {
		p.Name = user.Localpart()
	}
	if s.names.ours(user) {
		p.User = s.userOf(ctx, user)
	}
	return p
}

// bodies is what a native event says, in what the gateway understands; nothing for what it need not know.
func (s *session) bodies(ctx context.Context, r *room, ev nativeEvent) []adapter.Body {
	if ev.stateKey != nil {
		return s.stateBodies(ctx, r, ev)
	}
	if ev.redacted != "" && ev.kind != "m.room.redaction" {
		return nil // deleted before we got it
	}
	switch ev.kind {
	case "m.room.message", "m.sticker", "m.reaction", "m.room.encrypted", "m.poll.start", "org.matrix.msc3381.poll.start":
		s.meet(ctx, r)
		if m, ok := s.message(ctx, r, ev); ok {
			return []adapter.Body{m}
		}
	case "m.room.redaction":
		target := ev.redacts
		if of := ev.text("redacts"); of != "" {
			target = id.EventID(of)
		}
		if target != "" {
			s.meet(ctx, r)
			return []adapter.Body{adapter.Message{Content: content.Delete(content.MessageID{}), Replaces: adapter.NativeID(target)}}
		}
	}
	return nil
}

// meetTime is how long an event may wait for the names of the people in its room.
const meetTime = 20 * time.Second

// meet learns who is in a room, so that events have names. Without them, user ids must do.
func (s *session) meet(ctx context.Context, r *room) {
	ctx, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	if err := s.load(ctx, r); err != nil {
		s.log.Debug("a room's state cannot be read", "room", r.id, "error", err)
	}
}

func (s *session) stateBodies(ctx context.Context, r *room, ev nativeEvent) []adapter.Body {
	one := func(state adapter.ConversationState) []adapter.Body { return []adapter.Body{state} }
	switch ev.kind {
	case "m.room.member":
		return s.memberBodies(ctx, r, ev)
	case "m.room.name":
		name := clean(ev.text("name"))
		return one(adapter.ConversationState{Name: &name})
	case "m.room.topic":
		topic := clean(ev.text("topic"))
		return one(adapter.ConversationState{Topic: &topic})
	case "m.room.avatar":
		picture := blobOf(ev.text("url"))
		return one(adapter.ConversationState{Picture: &picture})
	case "m.room.encryption":
		yes := true
		return one(adapter.ConversationState{Encrypted: &yes})
	case "m.room.tombstone":
		gone, moved := "the room was replaced by another", adapter.Conversation(ev.text("replacement_room"))
		return one(adapter.ConversationState{Gone: &gone, MovedTo: &moved})
	}
	return nil
}

// memberBodies is what a change of membership says (Client-Server API, m.room.member). Our own changes are not news.
func (s *session) memberBodies(ctx context.Context, r *room, ev nativeEvent) []adapter.Body {
	who, now := id.UserID(*ev.stateKey), ev.member()
	before := r.member(who)
	if ev.before != nil {
		before = *ev.before
	}
	if s.names.ours(who) {
		return s.oursBodies(ctx, r, ev, who, before, now)
	}
	change := changeOf(before.Membership, now.Membership, who == ev.sender)
	person := s.nativeMember(ctx, who, now)
	if now.Name == "" && now.Membership != joined {
		person = s.nativeMember(ctx, who, before)
	}
	switch {
	case change != 0:
		return []adapter.Body{adapter.Membership{Change: change, Person: person, Reason: clean(now.Reason)}}
	case now.Membership == joined && (now.Name != before.Name || now.Avatar != before.Avatar):
		return []adapter.Body{adapter.Profile{Person: person}}
	}
	return nil
}

// changeOf is what a change of membership is to the gateway; 0: nothing.
func changeOf(before, now string, self bool) adapter.MemberChange {
	switch {
	case now == joined && before != joined:
		return adapter.Joined
	case now == invited:
		return adapter.Invited
	case now == banned && before != banned:
		return adapter.Banned
	case now == left && before == banned:
		return adapter.Unbanned
	case now == left && before == joined && self:
		return adapter.Left
	case now == left && before == joined:
		return adapter.Kicked
	}
	return 0
}

// oursBodies is what others do with our own users: invite and remove them.
func (s *session) oursBodies(ctx context.Context, r *room, ev nativeEvent, who id.UserID, before, now member) []adapter.Body {
	if s.names.ours(ev.sender) {
		return nil
	}
	change := changeOf(before.Membership, now.Membership, false)
	switch {
	case change == adapter.Invited:
		return []adapter.Body{adapter.Invitation{Name: string(r.id)}}
	case (change == adapter.Kicked || change == adapter.Banned) && who == r.agentOr(s.names.self):
		gone := string(who) + " was removed from the room by " + string(ev.sender)
		if change == adapter.Banned {
			gone = string(who) + " was banned from the room by " + string(ev.sender)
		}
		return []adapter.Body{adapter.ConversationState{Gone: &gone}}
	case change == adapter.Kicked, change == adapter.Banned:
		return []adapter.Body{adapter.Membership{Change: change, Person: s.native(ctx, r, who), Reason: clean(now.Reason)}}
	}
	return nil
}

// applied takes over what a state event changed, once the gateway has it.
func (s *session) applied(ctx context.Context, r *room, ev nativeEvent) {
	if ev.stateKey == nil {
		return
	}
	switch ev.kind {
	case "m.room.member":
		who := id.UserID(*ev.stateKey)
		now := ev.member()
		if m := r.member(who); now.Membership == invited && now.Direct && s.names.ours(who) || m.Direct {
			now.Direct = true // a join forgets that the invitation was to a direct chat
		}
		r.setMember(who, now)
		if who == r.agentOr(s.names.self) && now.Membership != joined {
			r.forget()
		}
		s.keepInvitation(ctx, r, who, now, ev.sender)
	case "m.room.encryption":
		s.status(ctx, adapter.Degraded, encryptedRoom(r.id), "use a room without encryption, or wait for a version that can do it")
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.about.apply(ev)
	}
}

// keepInvitation remembers which of our people was invited to a room that the account itself is not in: Open joins as them.
func (s *session) keepInvitation(ctx context.Context, r *room, who id.UserID, now member, by id.UserID) {
	if now.Membership != invited || who == s.names.self || !s.names.ours(who) || s.names.ours(by) {
		return
	}
	if r.member(s.names.self).Membership == joined {
		return
	}
	if err := s.account.State.Put(ctx, agentKey(r.id), []byte(who)); err != nil {
		s.log.Warn("state of the account", "error", err)
	}
}

// ephemeral passes on typing and receipts, which are not recorded: what fails is left out.
func (s *session) ephemeral(ctx context.Context, raw json.RawMessage, in id.RoomID) {
	ev, err := parseEvent(raw)
	if ev.room == "" {
		ev.room = in
	}
	if err != nil || ev.room == "" {
		return
	}
	r := s.rooms.get(ev.room)
	if r.order.lock(ctx) != nil {
		return
	}
	defer r.order.unlock()
	switch ev.kind {
	case "m.typing":
		err = s.typing(ctx, r, ev.content.texts("user_ids"))
	case "m.receipt":
		err = s.receipts(ctx, r, ev.content)
	}
	if err != nil && !errors.Is(err, errOver) {
		s.log.Debug("not taken", "room", r.id, "kind", ev.kind, "error", err)
	}
}

// typing reports who started and who stopped, from the list of all who type now.
func (s *session) typing(ctx context.Context, r *room, users []string) error {
	report := func(user id.UserID, active bool) error {
		return s.report(ctx, adapter.Event{Conversation: adapter.Conversation(r.id), Sender: s.native(ctx, r, user), Body: adapter.Typing{Active: active}})
	}
	for user := range r.typing {
		if !slices.Contains(users, string(user)) {
			delete(r.typing, user)
			if err := report(user, false); err != nil {
				return err
			}
		}
	}
	for _, u := range users {
		user := id.UserID(u)
		if r.typing[user] || s.names.ours(user) {
			continue
		}
		r.typing[user] = true
		if err := report(user, true); err != nil {
			return err
		}
	}
	return nil
}

// receipts reports read receipts: {event: {"m.read": {user: {ts}}}}.
func (s *session) receipts(ctx context.Context, r *room, all fields) error {
	for event := range all {
		for u, receipt := range all.object(event).object("m.read") {
			user := id.UserID(u)
			if s.names.ours(user) {
				continue
			}
			ev := adapter.Event{Conversation: adapter.Conversation(r.id), Sender: s.native(ctx, r, user),
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
