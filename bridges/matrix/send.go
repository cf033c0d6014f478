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

	"mimigate/core/adapter"
)

// Fields of our own in the content of native events.
const (
	markerField = "mimigate.marker" // adapter.Marker
	partField   = "mimigate.part"   // [part, piece] of adapter.NativePart
)

// maxContent is the most octets of JSON that the content of an event may have: the whole event has at most 65,536, of which
// ids, hashes and signatures take some (Client-Server API, size limits).
const maxContent = 60_000

// native is one native event to send, or to find again.
type native struct {
	part, piece int
	kind        string // event type
	content     map[string]any
}

// key is the part that a native event shows.
func (n native) key() [2]int { return [2]int{n.part, n.piece} }

// plan is what a message becomes: events to send, and events to redact.
type plan struct {
	send   []native
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

// Send implements adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	sent := adapter.Sent{Parts: slices.Clone(out.Done)}
	if out.Marker.Key == "" {
		return sent, adapter.Refused(errors.New("matrix: a message without a key"))
	}
	s, err := a.online(ctx)
	if err != nil {
		return sent, err
	}
	r, err := s.sendable(ctx, out.Conversation)
	if err != nil {
		return sent, err
	}
	p := s.plan(ctx, r, out)
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
func (s *session) plan(ctx context.Context, r *room, out adapter.Outbound) plan {
	m := &out.Content
	switch {
	case m.IsDelete(), m.IsUnreact():
		return plan{redact: s.redactions(out.Replaces, out.Author, true)}
	case m.IsReaction():
		return s.reactionPlan(out)
	case m.IsEdit():
		return s.editPlan(ctx, r, out)
	}
	return plan{send: s.say(ctx, r, out)}
}

// say is a new message: the events of its body, related to what it answers and to its thread.
func (s *session) say(ctx context.Context, r *room, out adapter.Outbound) []native {
	events := s.natives(ctx, r, out)
	for i := range events {
		relate(events[i].content, out)
		s.mark(&events[i], out)
	}
	return events
}

// relate adds the relation to what a message answers and to the thread it is in (Client-Server API, rich replies and threading).
func relate(c map[string]any, out adapter.Outbound) {
	relation := map[string]any{}
	if to := first(out.InReplyTo); to != "" {
		relation["m.in_reply_to"] = map[string]any{"event_id": to}
	}
	if root := first(out.Thread); root != "" {
		relation["rel_type"], relation["event_id"] = "m.thread", root
		if relation["m.in_reply_to"] == nil {
			relation["is_falling_back"] = true
			relation["m.in_reply_to"] = map[string]any{"event_id": root}
		}
	}
	if len(relation) > 0 {
		c["m.relates_to"] = relation
	}
}

// first returns the native event that a reference is to; "": there is none here.
func first(ref *adapter.Ref) adapter.NativeID {
	if ref == nil || len(ref.Parts) == 0 {
		return ""
	}
	return ref.Parts[0].ID
}

// mark writes the marker and the part into an event, and makes it fit.
func (s *session) mark(n *native, out adapter.Outbound) {
	n.content[markerField] = out.Marker.String()
	n.content[partField] = []int{n.part, n.piece}
	fit(n.content)
}

// fit takes out what repeats the text where an event would be too large: first what old clients show of an edit, then the HTML.
func fit(c map[string]any) {
	size := func() int {
		b, err := json.Marshal(c)
		if err != nil {
			return 0 // SendMessageEvent will say so
		}
		return len(b)
	}
	inner, edit := c["m.new_content"].(map[string]any)
	if edit && size() > maxContent {
		delete(c, "formatted_body")
		delete(c, "format")
		c["body"] = "* …"
	}
	if edit && size() > maxContent {
		delete(inner, "formatted_body")
		delete(inner, "format")
	}
	if size() > maxContent {
		delete(c, "formatted_body")
		delete(c, "format")
	}
}

// editPlan is the new version of a message: each event that shows a part is replaced, parts that are no more are redacted,
// and new ones sent (Client-Server API, event replacements). What is not ours cannot be edited: it is answered.
func (s *session) editPlan(ctx context.Context, r *room, out adapter.Outbound) plan {
	ref := out.Replaces
	if first(ref) == "" || !ref.Ours {
		if first(ref) != "" && out.InReplyTo == nil {
			out.InReplyTo = ref
		}
		return plan{send: s.say(ctx, r, out), notes: []string{"an edit is shown as a new message, as the account did not write what it changes"}}
	}
	old := map[[2]int]adapter.NativePart{}
	for _, p := range ref.Parts {
		old[[2]int{p.Part, p.Piece}] = p
	}
	var p plan
	for _, n := range s.natives(ctx, r, out) {
		before, replaced := old[n.key()]
		if replaced && n.kind == "m.room.message" {
			n.content = replacement(n.content, before.ID)
			delete(old, n.key())
		} else {
			relate(n.content, out)
		}
		s.mark(&n, out)
		p.send = append(p.send, n)
	}
	for _, gone := range ref.Parts {
		if _, still := old[[2]int{gone.Part, gone.Piece}]; still {
			p.redact = append(p.redact, redaction{target: id.EventID(gone.ID), by: s.names.of(ref.Author.User), part: gone})
		}
	}
	return p
}

// replacement is the content of an event that replaces another's, with what old clients show of it.
func replacement(inner map[string]any, of adapter.NativeID) map[string]any {
	c := map[string]any{}
	for k, v := range inner {
		c[k] = v
	}
	for _, field := range []string{"body", "formatted_body"} {
		if text, ok := c[field].(string); ok {
			c[field] = "* " + text
		}
	}
	if _, ok := c["m.mentions"]; ok {
		c["m.mentions"] = map[string]any{} // those who were mentioned before are not told again
	}
	c["m.new_content"] = inner
	c["m.relates_to"] = map[string]any{"rel_type": "m.replace", "event_id": of}
	return c
}

// reactionPlan is one annotation for each emoji, in place of those of an earlier reaction.
func (s *session) reactionPlan(out adapter.Outbound) plan {
	var p plan
	if first(out.Replaces) != "" {
		p.redact = s.redactions(out.Replaces, out.Author, false)
	}
	to := first(out.InReplyTo)
	if to == "" {
		return plan{}
	}
	for i, emoji := range out.Content.Reactions() {
		n := native{piece: i, kind: "m.reaction", content: map[string]any{
			"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": to, "key": emoji}}}
		s.mark(&n, out)
		p.send = append(p.send, n)
	}
	return p
}

// redactions takes back all native events of an earlier message, its later versions too: they hold what is to be forgotten.
func (s *session) redactions(ref *adapter.Ref, who adapter.Author, listed bool) []redaction {
	if ref == nil {
		return nil
	}
	var by id.UserID
	if ref.Ours {
		by = s.names.of(who.User)
		if !ref.Author.IsGateway() {
			by = s.names.of(ref.Author.User)
		}
	}
	var all []redaction
	for _, p := range ref.Parts {
		all = append(all, redaction{target: id.EventID(p.ID), by: by, part: p, listed: listed})
	}
	for _, v := range ref.Versions {
		all = append(all, redaction{target: id.EventID(v), by: by})
	}
	return all
}

// sendAll sends the events that are not done yet.
func (s *session) sendAll(ctx context.Context, r *room, out adapter.Outbound, events []native, sent *adapter.Sent) error {
	done := map[[2]int]bool{}
	for _, p := range sent.Parts {
		done[[2]int{p.Part, p.Piece}] = true
	}
	p, err := s.speaker(ctx, r, out.Author)
	if err != nil {
		return err
	}
	for _, n := range events {
		if done[n.key()] {
			continue
		}
		event, err := s.sendOne(ctx, r, p, out, n)
		if err != nil {
			return err
		}
		sent.Parts = append(sent.Parts, adapter.NativePart{Part: n.part, Piece: n.piece, ID: adapter.NativeID(event)})
	}
	return nil
}

// txnID is the transaction id of an event: the same for every attempt, so that a homeserver that remembers knows a repetition.
func txnID(out adapter.Outbound, n native) string {
	return out.Marker.Key + "." + strconv.Itoa(n.part) + "." + strconv.Itoa(n.piece)
}

// sendOne sends one event as one of our users. One who was removed without our knowledge is brought back once.
func (s *session) sendOne(ctx context.Context, r *room, p *person, out adapter.Outbound, n native) (id.EventID, error) {
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "send", n.kind, txnID(out, n)}
	var query map[string]string
	if out.History && !out.Time.IsZero() && s.settings.Mode == modeAppService {
		query = map[string]string{"ts": strconv.FormatInt(out.Time.UnixMilli(), 10)} // Application Service API, timestamp massaging
	}
	var got struct {
		Event id.EventID `json:"event_id"`
	}
	send := func() error { return s.put(ctx, p.client, path, query, n.content, &got) }
	err := send()
	if errcode(err) == "M_FORBIDDEN" {
		if err := s.mayStill(ctx, r, p, err); err != nil {
			return "", err
		}
		err = send()
	}
	if errcode(err) == "M_DUPLICATE_ANNOTATION" {
		return s.annotation(ctx, r, p, n)
	}
	if err = s.check(ctx, failed("sending to "+string(r.id), err)); err == nil && got.Event == "" {
		err = errors.New("matrix: the homeserver took an event and did not say which")
	}
	if errors.Is(err, adapter.ErrRefused) && errcode(err) == "M_FORBIDDEN" {
		err = adapter.Gone(fmt.Errorf("%s may not write in the room %s: raise its power level: %w", p.id, r.id, err))
	}
	return got.Event, err
}

// put makes a request that has an effect. Its outcome is unknown if it takes too long.
func (s *session) put(ctx context.Context, c *mautrix.Client, path mautrix.ClientURLPath, query map[string]string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	return request(ctx, c, http.MethodPut, path, query, in, out)
}

// mayStill finds out why one of our users may not do something in a room: nil if it was only not there, and now is.
func (s *session) mayStill(ctx context.Context, r *room, p *person, cause error) error {
	r.forget()
	if err := s.load(ctx, r); err != nil {
		return err
	}
	switch r.member(p.id).Membership {
	case banned:
		return adapter.Refused(fmt.Errorf("matrix: %s is banned from the room %s", p.id, r.id))
	case joined:
		return adapter.Gone(fmt.Errorf("%s may not write in the room %s: raise its power level: %w", p.id, r.id, plainError(cause)))
	}
	return s.join(ctx, r, p)
}

// annotation finds the annotation that is already there.
func (s *session) annotation(ctx context.Context, r *room, p *person, n native) (id.EventID, error) {
	relation, _ := n.content["m.relates_to"].(map[string]any)
	target, _ := relation["event_id"].(adapter.NativeID)
	emoji, _ := relation["key"].(string)
	var got struct{ Chunk []json.RawMessage }
	path := mautrix.ClientURLPath{"v1", "rooms", r.id, "relations", target, "m.annotation", "m.reaction"}
	if err := request(ctx, p.client, http.MethodGet, path, map[string]string{"limit": "500"}, nil, &got); err != nil {
		return "", failed("looking up a reaction", err)
	}
	for _, raw := range got.Chunk {
		ev, err := parseEvent(raw)
		if err == nil && ev.sender == p.id && ev.content.object("m.relates_to").text("key") == emoji {
			return ev.id, nil
		}
	}
	return "", adapter.Refused(errors.New("matrix: the homeserver says that this reaction exists, but does not show it"))
}

// redact takes one event back. Doing so twice does no harm.
func (s *session) redact(ctx context.Context, r *room, out adapter.Outbound, i int, one redaction, sent *adapter.Sent) error {
	c := s.agent(r)
	if one.by != "" {
		c = s.clientOf(one.by)
	}
	path := mautrix.ClientURLPath{"v3", "rooms", r.id, "redact", one.target, out.Marker.Key + ".r" + strconv.Itoa(i)}
	var got struct {
		Event id.EventID `json:"event_id"`
	}
	in := map[string]any{markerField: out.Marker.String()}
	err := s.put(ctx, c, path, nil, in, &got)
	if errcode(err) == "M_FORBIDDEN" && c != s.agent(r) {
		err = s.put(ctx, s.agent(r), path, nil, in, &got) // ours has left the room by now: the agent may still
	}
	if errcode(err) == "M_NOT_FOUND" {
		return adapter.Refused(fmt.Errorf("matrix: what is to be deleted in %s is not there: %w", r.id, plainError(err)))
	}
	if err := s.check(ctx, failed("deleting in "+string(r.id), err)); err != nil {
		return err
	}
	if one.listed {
		part := adapter.NativePart{Part: one.part.Part, Piece: one.part.Piece, ID: adapter.NativeID(got.Event)}
		sent.Parts = slices.DeleteFunc(sent.Parts, func(p adapter.NativePart) bool { return byPart(p, part) == 0 })
		sent.Parts = append(sent.Parts, part)
	}
	return nil
}
