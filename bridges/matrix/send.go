package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// plan is what a message becomes: events to send, and events to redact.
type plan struct {
	send   []native.Out
	redact []redaction
	notes  []string
}

// redaction is the taking back of one native event by the one of our users who made it.
type redaction struct {
	target id.EventID
	by     id.UserID // one of our users, or empty: the agent
	part   adapter.NativePart
	listed bool // it is itself what shows the message (a deletion), and so in Sent
}

// Send (design §4 step 12) implements adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	sent := adapter.Sent{Parts: slices.Clone(out.Done)}
	if out.Marker.Key == "" {
		return sent, adapter.Refused(errors.New("matrix: a message without a key"))
	}
	s, err := a.online(ctx)
	if err != nil {
		return sent, err
	}
	r, err := s.hs.Sendable(ctx, out.Conversation)
	if err != nil {
		return sent, err
	}
	p := s.plan(r, out)
	sent.Notes = p.notes
	if len(p.send)+len(p.redact) == 0 {
		return sent, adapter.Refused(errors.New("matrix: nothing that can be shown here"))
	}
	if len(p.send) > 0 {
		if err := s.sendAll(ctx, r, out, p.send, &sent); err != nil {
			return sent, err
		}
	}
	for i, one := range p.redact {
		if err := s.redact(ctx, r, out, i, one, &sent); err != nil {
			return sent, err
		}
	}
	slices.SortFunc(sent.Parts, byPart)
	return sent, nil
}

func byPart(a, b adapter.NativePart) int {
	if a.Part != b.Part {
		return a.Part - b.Part
	}
	return a.Piece - b.Piece
}

// plan decides what a message becomes. It is the same at every attempt.
func (s *session) plan(r *homeserver.Room, out adapter.Outbound) plan {
	m := &out.Content
	switch {
	case m.IsDelete(), m.IsUnreact():
		return plan{redact: s.redactions(out.Replaces, out.Author, true)}
	case m.IsReaction():
		return s.reactionPlan(out)
	case m.IsEdit():
		return s.editPlan(r, out)
	}
	return plan{send: s.say(r, out)}
}

// say is a new message: the events of its body, related to what it answers and to its thread.
func (s *session) say(r *homeserver.Room, out adapter.Outbound) []native.Out {
	events := s.natives(r, out)
	for _, n := range events {
		native.Relate(n.Content, out)
		n.Mark(out.Marker)
	}
	return events
}

// editPlan is the new version of a message: each event that shows a part is replaced, parts that are no more are redacted,
// and new ones sent (Client-Server API, event replacements). What is not ours cannot be edited: it is answered.
func (s *session) editPlan(r *homeserver.Room, out adapter.Outbound) plan {
	ref := out.Replaces
	if native.First(ref) == "" || !ref.Ours {
		if native.First(ref) != "" && out.InReplyTo == nil {
			out.InReplyTo = ref
		}
		return plan{send: s.say(r, out), notes: []string{"an edit is shown as a new message, as the account did not write what it changes"}}
	}
	old := map[[2]int]adapter.NativePart{}
	for _, p := range ref.Parts {
		old[[2]int{p.Part, p.Piece}] = p
	}
	var p plan
	for _, n := range s.natives(r, out) {
		before, replaced := old[n.Key()]
		if replaced && n.Kind == "m.room.message" {
			n.Content = native.Replacement(n.Content, before.ID)
			delete(old, n.Key())
		} else {
			native.Relate(n.Content, out)
		}
		n.Mark(out.Marker)
		p.send = append(p.send, n)
	}
	for _, gone := range ref.Parts {
		if _, still := old[[2]int{gone.Part, gone.Piece}]; still {
			p.redact = append(p.redact, redaction{target: id.EventID(gone.ID), by: s.writer(ref, out.Author), part: gone})
		}
	}
	return p
}

// reactionPlan is one annotation for each emoji, in place of those of an earlier reaction.
func (s *session) reactionPlan(out adapter.Outbound) plan {
	var p plan
	if native.First(out.Replaces) != "" {
		p.redact = s.redactions(out.Replaces, out.Author, false)
	}
	to := native.First(out.InReplyTo)
	if to == "" {
		return plan{}
	}
	for i, emoji := range out.Content.Reactions() {
		n := native.Out{Piece: i, Kind: "m.reaction", Content: map[string]any{
			"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": to, "key": emoji}}}
		n.Mark(out.Marker)
		p.send = append(p.send, n)
	}
	return p
}

// redactions takes back all native events of an earlier message, its later versions too: they hold what is to be forgotten.
func (s *session) redactions(ref *adapter.Ref, who adapter.Author, listed bool) []redaction {
	if ref == nil {
		return nil
	}
	by := s.writer(ref, who)
	var all []redaction
	for _, p := range ref.Parts {
		all = append(all, redaction{target: id.EventID(p.ID), by: by, part: p, listed: listed})
	}
	for _, v := range ref.Versions {
		all = append(all, redaction{target: id.EventID(v), by: by})
	}
	return all
}

// writer returns which of our users wrote a message that who now changes; "": it is not ours.
func (s *session) writer(ref *adapter.Ref, who adapter.Author) id.UserID {
	switch {
	case !ref.Ours:
		return ""
	case !ref.Author.IsGateway():
		return s.hs.Names.Of(ref.Author.User)
	}
	return s.hs.Names.Of(who.User)
}

// natives are the events of a message's body, without relations and marker.
func (s *session) natives(r *homeserver.Room, out adapter.Outbound) []native.Out {
	w := native.Writer{Notice: out.Author.IsGateway() || out.Author.Bot, Mentioned: func(who uri.User) id.UserID {
		user := s.hs.Names.Of(who)
		if user == s.hs.Names.Self || r.Member(user).Membership != native.Joined {
			return ""
		}
		return user
	}}
	if s.settings.Mode == modeBot && !out.Author.IsGateway() {
		w.Author = native.DisplayName(out.Author.Name)
	}
	return w.Body(out.Content.Body)
}

// sendAll sends the events that are not done yet.
func (s *session) sendAll(ctx context.Context, r *homeserver.Room, out adapter.Outbound, events []native.Out, sent *adapter.Sent) error {
	done := map[[2]int]bool{}
	for _, p := range sent.Parts {
		done[[2]int{p.Part, p.Piece}] = true
	}
	p, err := s.hs.Speaker(ctx, r, out.Author)
	if err != nil {
		return err
	}
	for _, n := range events {
		if done[n.Key()] {
			continue
		}
		event, err := s.sendOne(ctx, r, p, out, n)
		if err != nil {
			return err
		}
		sent.Parts = append(sent.Parts, adapter.NativePart{Part: n.Part, Piece: n.Piece, ID: adapter.NativeID(event)})
	}
	return nil
}

// txnID is the transaction id of an event: the same for every attempt, so that a homeserver that remembers knows a repetition.
func txnID(out adapter.Outbound, n native.Out) string {
	return out.Marker.Key + "." + strconv.Itoa(n.Part) + "." + strconv.Itoa(n.Piece)
}

// sendOne sends one event as one of our users. One who was removed without our knowledge is brought back once.
func (s *session) sendOne(ctx context.Context, r *homeserver.Room, p *homeserver.Person, out adapter.Outbound, n native.Out) (id.EventID, error) {
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "send", n.Kind, txnID(out, n)}
	var query map[string]string
	if out.History && !out.Time.IsZero() && s.settings.Mode == modeAppService {
		query = map[string]string{"ts": strconv.FormatInt(out.Time.UnixMilli(), 10)} // Application Service API, timestamp massaging
	}
	var got struct {
		Event id.EventID `json:"event_id"`
	}
	send := func() error { return homeserver.Put(ctx, p.Client, path, query, n.Content, &got) }
	err := send()
	if homeserver.Code(err) == "M_FORBIDDEN" {
		if err := s.mayStill(ctx, r, p); err != nil {
			return "", err
		}
		err = send()
	}
	if homeserver.Code(err) == "M_DUPLICATE_ANNOTATION" {
		return s.annotation(ctx, r, p, n)
	}
	forbidden := homeserver.Code(err) == "M_FORBIDDEN"
	if err = s.hs.Check(ctx, homeserver.Failed("sending to "+string(r.ID), err)); err == nil && got.Event == "" {
		err = errors.New("matrix: the homeserver took an event and did not say which")
	}
	if forbidden && errors.Is(err, adapter.ErrRefused) {
		err = adapter.Gone(fmt.Errorf("%s may not write in the room %s: raise its power level: %w", p.ID, r.ID, err))
	}
	return got.Event, err
}

// mayStill finds out why one of our users may not do something in a room: nil if it was only not there, and now is. A homeserver that has
// to merge branches of a room's history may take for absent whom it shows as joined: to join again does no harm, and settles that.
func (s *session) mayStill(ctx context.Context, r *homeserver.Room, p *homeserver.Person) error {
	r.Forget()
	if err := s.hs.Load(ctx, r); err != nil {
		return err
	}
	if r.Member(p.ID).Membership == native.Banned {
		return adapter.Refused(fmt.Errorf("matrix: %s is banned from the room %s", p.ID, r.ID))
	}
	r.SetMember(p.ID, native.Member{})
	return s.hs.Join(ctx, r, p)
}

// annotation finds the annotation that is already there.
func (s *session) annotation(ctx context.Context, r *homeserver.Room, p *homeserver.Person, n native.Out) (id.EventID, error) {
	relation, _ := n.Content["m.relates_to"].(map[string]any)
	target, _ := relation["event_id"].(adapter.NativeID)
	emoji, _ := relation["key"].(string)
	var got struct{ Chunk []json.RawMessage }
	path := mautrix.ClientURLPath{"v1", "rooms", r.ID, "relations", target, "m.annotation", "m.reaction"}
	if err := homeserver.Request(ctx, p.Client, http.MethodGet, path, map[string]string{"limit": "500"}, nil, &got); err != nil {
		return "", homeserver.Failed("looking up a reaction", err)
	}
	for _, raw := range got.Chunk {
		ev, err := native.Parse(raw)
		if err == nil && ev.Sender == p.ID && ev.Content.Object("m.relates_to").Text("key") == emoji {
			return ev.ID, nil
		}
	}
	return "", adapter.Refused(errors.New("matrix: the homeserver says that this reaction exists, but does not show it"))
}

// redact takes one event back. Doing so twice does no harm.
func (s *session) redact(ctx context.Context, r *homeserver.Room, out adapter.Outbound, i int, one redaction, sent *adapter.Sent) error {
	agent := s.hs.Agent(r)
	c := agent
	if one.by != "" {
		c = s.hs.Person(one.by).Client
	}
	path := mautrix.ClientURLPath{"v3", "rooms", r.ID, "redact", one.target, out.Marker.Key + ".r" + strconv.Itoa(i)}
	var got struct {
		Event id.EventID `json:"event_id"`
	}
	in := map[string]any{native.MarkerField: out.Marker.String()}
	err := homeserver.Put(ctx, c, path, nil, in, &got)
	if homeserver.Code(err) == "M_FORBIDDEN" && c != agent {
		err = homeserver.Put(ctx, agent, path, nil, in, &got) // ours has left the room by now: the agent may still
	}
	if homeserver.Code(err) == "M_NOT_FOUND" {
		return adapter.Refused(fmt.Errorf("matrix: what is to be deleted in %s is not there: %w", r.ID, homeserver.Plain(err)))
	}
	if err := s.hs.Check(ctx, homeserver.Failed("deleting in "+string(r.ID), err)); err != nil {
		return err
	}
	if one.listed {
		part := adapter.NativePart{Part: one.part.Part, Piece: one.part.Piece, ID: adapter.NativeID(got.Event)}
		sent.Parts = slices.DeleteFunc(sent.Parts, func(p adapter.NativePart) bool { return byPart(p, part) == 0 })
		sent.Parts = append(sent.Parts, part)
	}
	return nil
}
