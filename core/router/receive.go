package router

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/identity"
	"mimigate/core/router/phrase"
	"mimigate/core/uri"
)

// The roles of participants that the router gives (package policy).
const (
	roleNone   = 0
	roleBanned = 1
	roleMember = 2
)

// arrival is an event on its way in.
type arrival struct {
	account Account
	adapter.Event
	place   Place
	binding Binding
	bound   bool
}

// receive takes one event (design §4 step 2): unit T1. Nothing in it does I/O but the store.
func (r *Router) receive(ctx context.Context, id string, ev adapter.Event) error {
	account, ok := r.Accounts.Account(id)
	if !ok {
		return fmt.Errorf("router: account %s: %w", id, adapter.ErrNotFound)
	}
	switch body := ev.Body.(type) {
	case adapter.Status:
		return r.status(ctx, account, body)
	case adapter.Typing, adapter.Receipt:
		return nil // of no room yet
	}
	return r.Store.Do(ctx, func(ctx context.Context) error {
		in := &arrival{account: account, Event: ev, place: Place{Network: account.Network, Conversation: ev.Conversation}}
		return r.take(ctx, in)
	})
}

func (r *Router) take(ctx context.Context, in *arrival) error {
	if profile, ok := in.Body.(adapter.Profile); ok {
		return r.profile(ctx, in, profile)
	}
	if in.Conversation == "" {
		return nil
	}
	var err error
	if in.binding, in.bound, err = r.Store.BindingOf(ctx, in.place); err != nil {
		return err
	}
	if in.bound && in.binding.Account != in.account.ID {
		return nil // the account that the conversation is bound by reports it too
	}
	switch body := in.Body.(type) {
	case adapter.Message:
		return r.once(ctx, in, body.Pending, func(ctx context.Context, before Event) (content.MessageID, error) {
			return r.message(ctx, in, body, before)
		})
	case adapter.Reactions:
		return r.once(ctx, in, false, func(ctx context.Context, _ Event) (content.MessageID, error) { return r.reactionSet(ctx, in, body) })
	case adapter.Invitation:
		return r.once(ctx, in, false, func(ctx context.Context, _ Event) (content.MessageID, error) { return none, r.invitation(ctx, in) })
	case adapter.Command:
		return r.once(ctx, in, false, func(ctx context.Context, _ Event) (content.MessageID, error) {
			return none, r.command(ctx, in, body.Text)
		})
	case adapter.Membership:
		return r.membership(ctx, in, body)
	case adapter.ConversationState:
		return r.state(ctx, in, body)
	}
	return nil
}

var none content.MessageID

// errForget: the event need not be recognised when it is reported again, as nothing came of it and it is nobody's business.
var errForget = errors.New("router: not ours")

// once handles an event, unless it is an echo or was handled before, and records what became of it.
func (r *Router) once(ctx context.Context, in *arrival, pending bool, handle func(context.Context, Event) (content.MessageID, error)) error {
	before, known, err := r.Store.NativeEvent(ctx, in.place, in.ID)
	if err != nil {
		return err
	}
	if known && (!before.Pending || pending) {
		return nil
	}
	if echo, err := r.echo(ctx, in); echo || err != nil {
		return err
	}
	id, err := handle(ctx, before)
	if errors.Is(err, errForget) {
		return nil
	}
	if err != nil {
		return err
	}
	ev := Event{NativePart: adapter.NativePart{ID: in.ID}, Message: id, Pending: pending, Made: r.Now()}
	if known {
		ev.Message, ev.NativePart = before.Message, before.NativePart
	}
	if err := r.Store.PutNativeEvent(ctx, in.place, ev); err != nil {
		return err
	}
	message, ok := in.Body.(adapter.Message)
	if !ok || known {
		return nil
	}
	for _, part := range message.Parts {
		if part.ID == in.ID && part.Part == 0 && part.Piece == 0 {
			continue
		}
		if err := r.Store.PutNativeEvent(ctx, in.place, Event{NativePart: part, Message: id, Made: ev.Made}); err != nil {
			return err
		}
	}
	return nil
}

// echo reports whether an event is one that we, or a gateway that had the message from us, made (design §8, loop guard).
func (r *Router) echo(ctx context.Context, in *arrival) (bool, error) {
	if !in.Sender.User.IsZero() && in.Own {
		return true, r.noteEcho(ctx, in)
	}
	m := in.Marker
	if m.IsZero() {
		return false, nil
	}
	if m.Gateway != r.Provider {
		if m.Origin.IsZero() {
			return true, nil // a word of the other gateway itself
		}
		return r.Store.KnowsOrigin(ctx, m.Origin, in.place)
	}
	if in.Own {
		return true, r.noteEcho(ctx, in)
	}
	// Anybody can write our marker into an event: it counts only if another of our accounts did make it.
	d, ok, err := r.Store.DeliveryByMarker(ctx, m.Key)
	return ok && d.Place == in.place && d.Account != in.account.ID, err
}

// noteEcho records what the echo of a delivery is, in case that somebody answers it before Send has returned.
func (r *Router) noteEcho(ctx context.Context, in *arrival) error {
	if in.Marker.Gateway != r.Provider {
		return nil
	}
	d, ok, err := r.Store.DeliveryByMarker(ctx, in.Marker.Key)
	if err != nil || !ok || d.Place != in.place || d.Room.IsZero() {
		return err
	}
	// Which part it is only T6 will say; until then it is the first, or another piece of it.
	return r.Store.PutNativeEvent(ctx, in.place, Event{NativePart: adapter.NativePart{ID: in.ID}, Message: d.Message, Made: r.Now()})
}

// message passes a message on to the room. It returns the message's id there, or none where it was not passed on.
func (r *Router) message(ctx context.Context, in *arrival, m adapter.Message, before Event) (content.MessageID, error) {
	if text, ok := commandText(m.Content); ok {
		return none, r.command(ctx, in, text)
	}
	speaker, ok, err := r.speaker(ctx, in)
	if !ok || err != nil {
		return none, err
	}
	if before.Pending && !before.Message.IsZero() { // the real content of what could not be read before
		m.Content, m.Replaces = content.Edit(none, shallow(m.Content)), in.ID
	}
	draft, err := r.translate(ctx, in, speaker, m)
	if draft.content == nil || err != nil {
		return draft.known, err
	}
	return r.submit(ctx, in, draft)
}

func shallow(m *content.Message) *content.Message {
	c := *m
	return &c
}

// speaker finds out who speaks, makes them a participant, and reports whether what they say is to be passed on.
func (r *Router) speaker(ctx context.Context, in *arrival) (identity.Person, bool, error) {
	var nobody identity.Person
	if !in.bound {
		if err := r.unbound(ctx, in); err != nil || !in.bound {
			return nobody, false, err
		}
	}
	if in.binding.Direction == Out || len(in.Sender.IDs) == 0 {
		return nobody, false, nil
	}
	person, change, err := r.Identity.Resolve(ctx, in.place.Network, in.account.ID, in.Sender)
	if err != nil {
		return nobody, false, err
	}
	if change.Renamed {
		if err := r.renamed(ctx, person, in.place); err != nil {
			return nobody, false, err
		}
	}
	ok, err := r.admit(ctx, in, person)
	return person, ok, err
}

// admit makes a person a participant of the conversation's room, unless they said no, or were removed.
func (r *Router) admit(ctx context.Context, in *arrival, person identity.Person) (bool, error) {
	room := in.binding.Room
	rules := r.rules(room)
	rule := identity.Rule{Notice: rules.Notice != "", Require: rules.Consent}
	if rule.Tell(person.Consent) {
		if err := r.Identity.SetConsent(ctx, person.User, identity.Noticed); err != nil {
			return false, err
		}
		if err := r.notice(ctx, in.place, in.account.ID, uri.Room{}, content.Text(rules.Notice)); err != nil {
			return false, err
		}
	}
	if !rule.Allows(person.Consent) {
		return false, nil
	}
	attendance, err := r.Store.Attendance(ctx, in.place, person.User)
	if err != nil || attendance == Removed {
		return false, err
	}
	if attendance == Absent {
		roles, err := r.Members.Participants(ctx, room)
		if err != nil && !r.hopeless(err) {
			return false, err
		}
		attendance = Present
		if roles[person.User] == roleBanned {
			attendance = Removed
		}
		if err := r.Store.SetAttendance(ctx, in.place, person.User, attendance); err != nil || attendance == Removed {
			return false, err
		}
	}
	return r.taken(ctx, in, person, r.Members.EnsureParticipant(ctx, room, person.User, roleMember))
}

// taken reports whether Members took something; what they never will is told where it was said.
func (r *Router) taken(ctx context.Context, in *arrival, person identity.Person, err error) (bool, error) {
	if err == nil {
		return true, nil
	}
	if !r.hopeless(err) {
		return false, err
	}
	r.Log.WarnContext(ctx, "not passed on", "account", in.account.ID, "room", in.binding.Room.String(), "error", err)
	if in.Sender.Bot || !r.setProblem(in.binding.Chat, err.Error()) {
		return false, nil
	}
	return false, r.notice(ctx, in.place, in.account.ID, uri.Room{}, content.Text(r.say(phrase.Refused, cmp.Or(person.Name, "?"), err.Error())))
}

func (r *Router) hopeless(err error) bool {
	return errors.Is(err, content.ErrRefused) || r.Hopeless != nil && r.Hopeless(err)
}

// draft is what a native event becomes.
type draft struct {
	content *content.Message // nil: nothing is to be sent
	sender  uri.User
	known   content.MessageID // what the event is, where nothing is sent
}

// translate turns native references into those of the room, and what refers to nothing into what still makes sense.
func (r *Router) translate(ctx context.Context, in *arrival, person identity.Person, m adapter.Message) (draft, error) {
	c := shallow(m.Content)
	c.Replaces, c.InReplyTo, c.TopicID = none, none, nil
	d := draft{content: c, sender: person.User}
	if m.InReplyTo != "" {
		to, ok, err := r.lookup(ctx, in.place, m.InReplyTo)
		if err != nil {
			return draft{}, err
		}
		if !ok && c.Body.Disposition == content.Reaction && m.Replaces == "" {
			return draft{}, nil // to what was never in the room
		}
		c.InReplyTo = to.ID
	}
	if m.Thread != "" {
		root, ok, err := r.lookup(ctx, in.place, m.Thread)
		if err != nil {
			return draft{}, err
		}
		if ok {
			c.TopicID = root.First[:]
		}
	}
	if m.Replaces != "" {
		if ok, err := r.replace(ctx, in, person, m.Replaces, &d); !ok || err != nil {
			return draft{}, err
		}
	}
	if d.content.IsReaction() && d.content.Replaces.IsZero() {
		return r.newReactions(ctx, d)
	}
	var err error
	d.content.Body, err = r.convert.BodyIn(ctx, in.place.Network, d.content.Body)
	return d, err
}

// lookup finds the message of a native event of any version.
func (r *Router) lookup(ctx context.Context, p Place, id adapter.NativeID) (Message, bool, error) {
	ev, ok, err := r.Store.NativeEvent(ctx, p, id)
	if err != nil || !ok || ev.Message.IsZero() {
		return Message{}, false, err
	}
	return r.Store.Message(ctx, ev.Message)
}

// replace makes the draft replace the message of a native event. It reports false where nothing is to be sent.
func (r *Router) replace(ctx context.Context, in *arrival, person identity.Person, id adapter.NativeID, d *draft) (bool, error) {
	version, ok, err := r.lookup(ctx, in.place, id)
	if err != nil {
		return false, err
	}
	gone := d.content.Body.IsNull()
	if !ok { // from before the conversation was bound: new words are passed on as such
		return !gone, nil
	}
	original, ok, err := r.Store.Message(ctx, version.First)
	if err != nil || !ok {
		return !gone && err == nil, err
	}
	same, err := r.Identity.Same(ctx, person.User, original.Sender)
	switch {
	case err != nil:
		return false, err
	case same && original.Sender != person.User:
		// Said under an address that has become an alias: only that one may change it (mimi-content-09 §4.3).
		d.sender = original.Sender
		if err := r.Members.EnsureParticipant(ctx, in.binding.Room, original.Sender, roleMember); err != nil {
			return false, err
		}
	case !same && !gone:
		return false, r.notice(ctx, in.place, in.account.ID, uri.Room{}, content.Text(r.say(phrase.Edit, cmp.Or(person.Name, "?"))))
	case !same && !person.Verified:
		return false, nil // the bearer of a nick deletes only what they wrote themselves (design §8)
	}
	switch {
	case original.Kind == Reacted && gone:
		d.content = content.Unreact(original.ID, original.Target)
	case original.Kind == Undone || original.Kind == Rejected:
		return false, nil
	default:
		d.content.Replaces = original.ID
		if gone {
			d.content = content.Delete(original.ID)
		}
	}
	return true, nil
}

// newReactions leaves only those emoji in a reaction that are not there yet.
func (r *Router) newReactions(ctx context.Context, d draft) (draft, error) {
	target, err := r.convert.First(ctx, d.content.InReplyTo)
	if err != nil {
		return draft{}, err
	}
	have, err := r.Store.Reactions(ctx, target, d.sender)
	if err != nil {
		return draft{}, err
	}
	var add []string
	for _, emoji := range d.content.Reactions() {
		if i := slices.IndexFunc(have, func(h Reaction) bool { return h.Emoji == emoji }); i >= 0 {
			d.known = have[i].ID
		} else if !slices.Contains(add, emoji) {
			add = append(add, emoji)
		}
	}
	if len(add) == 0 {
		d.content = nil
		return d, nil
	}
	d.content = content.React(d.content.InReplyTo, add...)
	return d, nil
}

// reactionSet finds what was added to a set of reactions and what was taken out of it.
func (r *Router) reactionSet(ctx context.Context, in *arrival, set adapter.Reactions) (content.MessageID, error) {
	person, ok, err := r.speaker(ctx, in)
	if !ok || err != nil {
		return none, err
	}
	to, ok, err := r.lookup(ctx, in.place, set.To)
	if !ok || err != nil {
		return none, err
	}
	have, err := r.Store.Reactions(ctx, to.First, person.User)
	if err != nil {
		return none, err
	}
	id := none
	for _, emoji := range set.Emoji {
		if slices.ContainsFunc(have, func(h Reaction) bool { return h.Emoji == emoji }) {
			continue
		}
		if id, err = r.submit(ctx, in, draft{content: content.React(to.ID, emoji), sender: person.User}); err != nil {
			return none, err
		}
	}
	for _, h := range have {
		if slices.Contains(set.Emoji, h.Emoji) {
			continue
		}
		if id, err = r.submit(ctx, in, draft{content: content.Unreact(h.ID, to.First), sender: person.User}); err != nil {
			return none, err
		}
	}
	return id, nil
}

// origin says, in the context of Members.Send, where the message comes from: where hub and follower are this very process,
// the message may come back (T4) before Send returns.
type origin struct {
	room    uri.Room
	salt    content.Salt
	place   Place
	origin  content.MessageID
	refused string
}

type originKey struct{}

// submit hands a message to the members, who protect it (step 3).
func (r *Router) submit(ctx context.Context, in *arrival, d draft) (content.MessageID, error) {
	from := &origin{room: in.binding.Room, place: in.place}
	if in.Marker.Gateway != r.Provider {
		from.origin = in.Marker.Origin
	}
	rand.Read(d.content.Salt[:])
	from.salt = d.content.Salt
	if d.content.SentAt.IsZero() {
		d.content.SentAt = in.Time
	}
	id, err := r.Members.Send(context.WithValue(ctx, originKey{}, from), in.binding.Room, d.sender, d.content)
	if err != nil {
		_, err = r.taken(ctx, in, identity.Person{Name: in.Sender.Name}, err)
		return none, err
	}
	row, err := r.row(ctx, in.binding.Room, d.sender, id, d.content)
	if err != nil {
		return none, err
	}
	row.Place, row.Origin = in.place, from.origin
	if from.refused != "" {
		row.Kind = Rejected
	}
	if err := r.Store.PutMessage(ctx, row); err != nil {
		return none, err
	}
	r.Log.Log(ctx, slog.LevelDebug, "received", "account", in.account.ID, "room", in.binding.Room.String(), "message", id.String())
	if row.Kind == Rejected {
		return id, nil
	}
	return id, r.noteReactions(ctx, row, d.content)
}

// row is what is kept of a message.
func (r *Router) row(ctx context.Context, room uri.Room, from uri.User, id content.MessageID, m *content.Message) (Message, error) {
	row := Message{ID: id, First: id, Room: room, Sender: from, Kind: Said, Made: r.Now()}
	var err error
	if !m.Replaces.IsZero() {
		if row.First, err = r.convert.First(ctx, m.Replaces); err != nil {
			return Message{}, err
		}
	}
	switch {
	case m.Body.IsNull():
		row.Kind = Undone
	case m.IsReaction():
		row.Kind = Reacted
		row.Target, err = r.convert.First(ctx, m.InReplyTo)
	}
	return row, err
}

// noteReactions keeps who reacts to what. It may be repeated.
func (r *Router) noteReactions(ctx context.Context, row Message, m *content.Message) error {
	if row.First != row.ID {
		if err := r.Store.DeleteReaction(ctx, row.First); err != nil {
			return err
		}
	}
	if row.Kind != Reacted {
		return nil
	}
	for _, emoji := range m.Reactions() {
		if err := r.Store.PutReaction(ctx, row.Target, row.Sender, Reaction{Emoji: emoji, ID: row.First, Made: row.Made}); err != nil {
			return err
		}
	}
	return nil
}
