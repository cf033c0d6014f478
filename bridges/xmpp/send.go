package xmpp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// outcome is what became of a message that was sent: the id that it got, or why it was not taken.
type outcome struct {
	id   adapter.NativeID
	time time.Time
	err  *stanzaError
}

// await registers a message that is about to be sent.
func (a *Adapter) await(c adapter.Conversation, id string) (became <-chan outcome, forget func()) {
	key, ch := string(c)+" "+id, make(chan outcome, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits[key] = ch
	return ch, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waits, key)
	}
}

// settle tells whoever waits what became of a message.
func (a *Adapter) settle(c adapter.Conversation, id string, o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.waits[string(c)+" "+id] <- o: // of nobody: a nil channel
	default:
	}
}

// voice is under which of our names something is said.
type voice struct {
	jid     string // full
	gateway bool   // the gateway's own name
	prefix  string // the author's name, where it must stand in the text
	notes   []string
}

// step is one stanza of those that show a message.
type step struct {
	part adapter.NativePart // without its id
	// content makes what is in the stanza, besides what every stanza has.
	content []*node
}

// echoWithin is how long a room may take to show us our own message.
const echoWithin = 30 * time.Second

// Send implements adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	l, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	if ours, theirs, ok := a.chatOf(out.Conversation); ok {
		return a.sendChat(ctx, l, ours, theirs, out)
	}
	r, err := a.open(ctx, l, string(out.Conversation))
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	return r.send(ctx, l, out)
}

// send shows a message in the room.
func (r *room) send(ctx context.Context, l *link, out adapter.Outbound) (adapter.Sent, error) {
	if err := r.ready(ctx, l); err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	if out.Attempt > 1 { // it may have arrived after all
		if found, err := r.lookUp(ctx, l, out); err == nil || errors.Is(err, adapter.ErrNotDelivered) {
			out.Done = found.Parts
		}
	}
	refs, err := r.references(ctx, l, out)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	v, err := r.voice(ctx, l, out.Author, refs.speaker)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	sent, err := r.sendAs(ctx, l, out, v, refs)
	if errors.Is(err, errNoVoice) && !v.gateway && refs.speaker == anyName && r.mayspeak() {
		out.Done = sent.Parts
		v = r.gatewayVoice(out.Author, "the room gives them no voice")
		sent, err = r.sendAs(ctx, l, out, v, refs)
	}
	return sent, err
}

// sendAs shows a message under one of our names.
func (r *room) sendAs(ctx context.Context, l *link, out adapter.Outbound, v voice, refs references) (adapter.Sent, error) {
	steps, notes, err := plan(out, v, refs)
	sent := adapter.Sent{Notes: append(v.notes, notes...)}
	if err != nil {
		sent.Parts = out.Done
		return sent, err
	}
	for i, s := range steps {
		if done, ok := doneBefore(out, s.part); ok {
			sent.Parts = append(sent.Parts, done)
			continue
		}
		became, err := r.say(ctx, l, v, out, s)
		if err != nil {
			for _, later := range steps[i+1:] {
				if done, ok := doneBefore(out, later.part); ok {
					sent.Parts = append(sent.Parts, done)
				}
			}
			return sent, err
		}
		sent.Time = became.time
		s.part.ID = became.id
		sent.Parts = append(sent.Parts, s.part)
	}
	return sent, nil
}

func doneBefore(out adapter.Outbound, part adapter.NativePart) (adapter.NativePart, bool) {
	i := slices.IndexFunc(out.Done, func(p adapter.NativePart) bool { return p.Part == part.Part && p.Piece == part.Piece })
	if i < 0 {
		return adapter.NativePart{}, false
	}
	return out.Done[i], true
}

// say sends one stanza to the room, and waits until the room shows it to us.
func (r *room) say(ctx context.Context, l *link, v voice, out adapter.Outbound, s step) (outcome, error) {
	id := r.a.ownID(r.conv, out.Marker.Key, s.part.Part, s.part.Piece, v.gateway)
	became, forget := r.a.await(r.conv, id)
	defer forget()
	if err := l.s.send(ctx, stanza(out, s, id, "groupchat").with("from", v.jid).with("to", r.jid)); err != nil {
		return outcome{}, err
	}
	late := time.NewTimer(echoWithin)
	defer late.Stop()
	select {
	case o := <-became:
		if o.err != nil {
			return outcome{}, r.refused(l, o.err)
		}
		return o, nil
	case <-l.s.ended:
		return outcome{}, fmt.Errorf("room %s did not show the message before %w", r.jid, errStreamEnded)
	case <-ctx.Done():
		return outcome{}, fmt.Errorf("room %s did not show the message: %w", r.jid, ctx.Err())
	case <-late.C:
		return outcome{}, fmt.Errorf("room %s did not show the message within %v", r.jid, echoWithin)
	}
}

// refused says what it means that the room did not take a message.
func (r *room) refused(l *link, e *stanzaError) error {
	err := fmt.Errorf("room %s: %w", r.jid, e)
	switch {
	case e.cond == "forbidden" || e.cond == "not-authorized":
		err = fmt.Errorf("room %s: %w: %w", r.jid, errNoVoice, e)
		r.a.report(l, r.jid, problem{fmt.Sprintf("account %s: %v", r.a.account.ID, err), advice(err)})
		return adapter.Gone(err)
	case e.cond == "not-acceptable": // we are no longer in the room
		l.start(func() { r.checkPresence(l) })
		return adapter.NotDelivered(err)
	}
	return failure(err, e)
}

// failure says what an error means, of a room or of anybody.
func failure(err error, e *stanzaError) error {
	switch {
	case e.cond == "item-not-found" || e.cond == "gone":
		return adapter.Gone(err)
	case e.kind == "wait" || e.cond == "resource-constraint" || e.cond == "policy-violation" && e.kind != "modify":
		return adapter.RetryAfter(5*time.Second, err)
	case e.cond == "remote-server-not-found" || e.cond == "remote-server-timeout" || e.cond == "internal-server-error":
		return adapter.RetryAfter(30*time.Second, err)
	}
	return adapter.Refused(err)
}

// stanza is a message of ours.
func stanza(out adapter.Outbound, s step, id, kind string) *node {
	n := el("", "message").with("type", kind).with("id", id).add(s.content...)
	n.add(el(nsStanzaID, "origin-id").with("id", id))
	if marker := out.Marker.String(); marker != "" {
		n.add(el(nsMarker, "marker").put(marker))
	}
	return n
}

// sendChat shows a message in a chat of two. It is sent when our server has passed it on: a ping after it comes back.
func (a *Adapter) sendChat(ctx context.Context, l *link, ours, theirs string, out adapter.Outbound) (adapter.Sent, error) {
	v := voice{jid: ours + "/" + resource, prefix: prefixOf(out.Author)}
	if !a.component {
		v.jid = l.s.me
	} else if bare(a.addressOf(out.Author.User)) == ours {
		v.prefix = ""
	}
	steps, notes, err := plan(out, v, a.chatReferences(out, ours, theirs))
	sent := adapter.Sent{Notes: notes}
	if err != nil {
		sent.Parts = out.Done
		return sent, err
	}
	for _, s := range steps {
		if done, ok := doneBefore(out, s.part); ok {
			sent.Parts = append(sent.Parts, done)
			continue
		}
		id := a.ownID(out.Conversation, out.Marker.Key, s.part.Part, s.part.Piece, false)
		if err := a.sayTo(ctx, l, out, s, v.jid, theirs, id); err != nil {
			return sent, err
		}
		s.part.ID = given(id)
		sent.Parts = append(sent.Parts, s.part)
	}
	return sent, nil
}

// sayTo sends one stanza of a chat of two.
func (a *Adapter) sayTo(ctx context.Context, l *link, out adapter.Outbound, s step, from, to, id string) error {
	became, forget := a.await(out.Conversation, id)
	defer forget()
	n := stanza(out, s, id, "chat").with("from", from).with("to", to).
		add(el(nsReceipts, "request"), el(nsMarkers, "markable"))
	if err := l.s.send(ctx, n); err != nil {
		return err
	}
	_, err := l.s.ask(ctx, l.s.me, l.s.pinged, "get", el(nsPing, "ping"))
	select {
	case o := <-became:
		return failure(fmt.Errorf("%s: %w", to, o.err), o.err)
	default:
	}
	if answer := (*stanzaError)(nil); err != nil && !errors.As(err, &answer) {
		return fmt.Errorf("no sign that the server has taken the message: %w", err)
	}
	return nil
}

// speaker is which of our names must say something.
type speaker uint8

const (
	anyName speaker = iota
	ownName         // the author's: it said what is to be changed
	gatewayName
)

// references are what a message refers to, as the conversation names it.
type references struct {
	speaker  speaker
	replaces []string // the ids that we gave the stanzas of Outbound.Replaces
	retract  []string // the ids to take them back by
	to       string   // the id of Outbound.InReplyTo; empty: none
	author   string   // the JID of its author; may be empty
	names    func(adapter.PersonID) string
}

// references finds what a message refers to.
func (r *room) references(ctx context.Context, l *link, out adapter.Outbound) (references, error) {
	refs := references{names: r.nickOfPerson}
	if out.Replaces != nil {
		for _, p := range out.Replaces.Parts {
			source, err := r.sourceOf(ctx, l, p.ID)
			if err != nil {
				return refs, err
			}
			if own, viaGateway := r.a.isOwnID(r.conv, source); own && viaGateway {
				refs.speaker = gatewayName
			} else if own && refs.speaker == anyName {
				refs.speaker = ownName
			}
			refs.replaces = append(refs.replaces, source)
			refs.retract = append(refs.retract, native(p.ID))
		}
	}
	if ref := out.InReplyTo; ref != nil && len(ref.Parts) > 0 {
		refs.to = native(ref.Parts[0].ID)
		if nick := r.nickFor(ref.Author); nick != "" {
			refs.author = r.jid + "/" + nick
		}
	}
	return refs, nil
}

// native returns an id as stanzas refer to it.
func native(id adapter.NativeID) string {
	if sid, ok := stampOf(id); ok {
		return sid
	}
	own, _ := givenOf(id)
	return own
}

func (a *Adapter) chatReferences(out adapter.Outbound, ours, theirs string) references {
	refs := references{}
	if out.Replaces != nil {
		for _, p := range out.Replaces.Parts {
			refs.replaces = append(refs.replaces, native(p.ID))
		}
		refs.retract = refs.replaces
	}
	if ref := out.InReplyTo; ref != nil && len(ref.Parts) > 0 {
		refs.to, refs.author = native(ref.Parts[0].ID), theirs
		if ref.Ours {
			refs.author = ours
		}
	}
	return refs
}

// nickFor returns the nick of somebody in the room, or "".
func (r *room) nickFor(who adapter.Author) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.ours[who.User]; o != nil {
		return o.nick
	}
	return r.nickAmong(who.Native)
}

// nickAmong returns the nick of the native person with one of these ids, or ""; r.mu is held.
func (r *room) nickAmong(ids []adapter.PersonID) string {
	for _, p := range r.people {
		for _, id := range p.person(r.jid).IDs {
			if slices.Contains(ids, id) {
				return p.nick
			}
		}
	}
	return ""
}

func (r *room) nickOfPerson(id adapter.PersonID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nickAmong([]adapter.PersonID{id})
}

// errNoRef is the reason for refusing what changes a message that is not here; Degrade has turned it into text before that.
var errNoRef = errors.New("what it refers to was never shown here")

// plan says which stanzas show a message under a name: always the same for the same Outbound, so that Confirm and a repeated
// Send mean the same ids.
func plan(out adapter.Outbound, v voice, refs references) ([]step, []string, error) {
	m := &out.Content
	var steps []step
	var notes []string
	var err error
	switch {
	case m.IsDelete():
		steps, err = retractions(out, refs)
	case m.IsUnreact() || m.IsReaction():
		steps, err = reactions(out, v, refs)
	case m.IsEdit():
		steps, notes, err = corrections(out, v, refs)
	default:
		steps, err = texts(out, v, refs)
	}
	if err == nil && len(steps) == 0 {
		err = adapter.Refused(errors.New("there is nothing to show"))
	}
	return steps, notes, err
}

// retractions takes back all stanzas of a message (XEP-0424).
func retractions(out adapter.Outbound, refs references) ([]step, error) {
	if out.Replaces == nil || len(refs.retract) == 0 {
		return nil, adapter.Refused(errNoRef)
	}
	if !out.Replaces.Ours {
		return nil, adapter.Refused(fmt.Errorf("%w: only those who wrote a message here, and the room's moderators, can take it back", adapter.ErrUnsupported))
	}
	var steps []step
	for i, id := range refs.retract {
		steps = append(steps, step{part: adapter.NativePart{Piece: i}, content: retraction(id)})
	}
	return steps, nil
}

func retraction(id string) []*node {
	return []*node{
		el(nsRetract, "retract").with("id", id),
		el(nsFallback, "fallback").with("for", nsRetract),
		el("", "body").put("/me took back a message, which this client cannot show."),
		el(nsHints, "store"),
	}
}

// reactions shows all that the author now reacts with (XEP-0444: a set per person and message). Where several people speak by one
// name, and so have one set, each reaction is a line of text.
func reactions(out adapter.Outbound, v voice, refs references) ([]step, error) {
	if v.prefix != "" {
		if out.Content.IsUnreact() && len(refs.retract) > 0 && refs.speaker != ownName {
			return retractions(out, refs)
		}
		line := "reacts with " + strings.Join(out.Content.Reactions(), " ")
		if out.Content.IsUnreact() {
			line = "takes back a reaction"
		}
		return []step{{content: append([]*node{el("", "body").put(v.prefix + line)}, replyTo(refs)...)}}, nil
	}
	if refs.to == "" {
		return nil, adapter.Refused(errNoRef)
	}
	set := el(nsReactions, "reactions").with("id", refs.to)
	for _, e := range out.Reactions {
		set.add(el("", "reaction").put(e))
	}
	return []step{{content: []*node{set, el(nsHints, "store")}}}, nil
}

func replyTo(refs references) []*node {
	if refs.to == "" {
		return nil
	}
	return []*node{el(nsReply, "reply").with("to", refs.author).with("id", refs.to)}
}

// piece is a text that one stanza shows.
type piece struct {
	part, number int
	text         string
	plain        bool   // no character of it is a mark of XEP-0393
	link         string // of a file
}

// texts says each piece of a new message; the first is the answer, if it is one, with what it answers for clients that do not
// know replies (XEP-0461 §4.2).
func texts(out adapter.Outbound, v voice, refs references) ([]step, error) {
	var steps []step
	for i, p := range pieces(out.Content.Body, v.prefix, refs.names) {
		var reply []*node
		quote := ""
		if i == 0 && refs.to != "" {
			reply = replyTo(refs)
			if quote = quoted(out.InReplyTo); quote != "" {
				reply = append(reply, el(nsFallback, "fallback",
					el("", "body").with("start", "0").with("end", fmt.Sprint(utf8.RuneCountInString(quote)))).with("for", nsReply))
			}
		}
		steps = append(steps, step{part: adapter.NativePart{Part: p.part, Piece: p.number}, content: append(p.content(quote), reply...)})
	}
	return steps, nil
}

// content is what a stanza has to show a piece.
func (p piece) content(before string) []*node {
	out := []*node{el("", "body").put(before + xmlText(p.text))}
	if p.plain && before == "" && marked(p.text) {
		out = append(out, el(nsStyling, "unstyled"))
	}
	if p.link != "" {
		out = append(out, el(nsOOB, "x", el("", "url").put(p.link)))
	}
	return out
}

// quoted is the beginning of a message as a quote.
func quoted(ref *adapter.Ref) string {
	text := strings.TrimSpace(xmlText(ref.Excerpt))
	if text == "" {
		return ""
	}
	who := ""
	if name := cleanNick(ref.Author.Name); name != "" {
		who = "> " + name + ":\n"
	}
	return who + "> " + strings.ReplaceAll(text, "\n", "\n> ") + "\n"
}

// corrections gives the stanzas of a message their new texts (XEP-0308). An edit makes no new stanzas: what does not fit is cut
// off, with a note, and those that it does not need any more are taken back.
func corrections(out adapter.Outbound, v voice, refs references) (steps []step, notes []string, err error) {
	if len(refs.replaces) == 0 {
		return nil, nil, adapter.Refused(errNoRef)
	}
	all := pieces(out.Content.Body, v.prefix, refs.names)
	for i, id := range refs.replaces {
		switch {
		case i >= len(all):
			steps = append(steps, step{adapter.NativePart{Piece: i}, retraction(refs.retract[i])})
		case id == "":
			notes = append(notes, "the first version is no longer known here: the edit is shown as a new message")
			steps = append(steps, step{adapter.NativePart{Piece: i}, all[i].content("")})
		default:
			steps = append(steps, step{adapter.NativePart{Piece: i}, append(all[i].content(""), el(nsCorrect, "replace").with("id", id))})
		}
	}
	if len(all) > len(steps) {
		notes = append(notes, "the edited text was cut to the length of the first version")
	}
	return steps, notes, nil
}

// pieces are the texts of a body, each not longer than a stanza may be, with the author's name where it must stand in them.
func pieces(body content.Part, prefix string, names func(adapter.PersonID) string) []piece {
	var out []piece
	for _, leaf := range leaves(body) {
		text, plain, link := show(leaf.Part, names)
		before := prefix
		if before != "" && (strings.HasPrefix(text, ">") || strings.HasPrefix(text, "```")) {
			before = strings.TrimSpace(before) + "\n"
		}
		for i, each := range adapter.SplitText(text, maxText-len(before)) {
			p := piece{part: leaf.index, number: i, text: before + each, plain: plain}
			if before == "" && each == link {
				p.link = link
			}
			out = append(out, p)
		}
	}
	return out
}

// leaf is a part to show and its index (mimi-content-09 §4.7).
type leaf struct {
	index int
	content.Part
}

// leaves returns the parts of a body that are to be shown: of alternatives the first that is text.
func leaves(body content.Part) []leaf {
	var out []leaf
	next := 0
	var walk func(p content.Part, show bool)
	walk = func(p content.Part, show bool) {
		index := next
		next++
		multi, ok := p.Body.(content.Multi)
		if !ok {
			if show && !empty(p) {
				out = append(out, leaf{index, p})
			}
			return
		}
		chosen := false
		for _, child := range multi.Parts {
			walk(child, show && !chosen)
			chosen = chosen || multi.Semantics == content.ChooseOne && child.IsText()
		}
	}
	walk(body, true)
	return out
}

func empty(p content.Part) bool {
	if p.IsNull() {
		return true
	}
	single, ok := p.Body.(content.Single)
	return ok && p.IsText() && strings.TrimSpace(xmlText(string(single.Content))) == ""
}

// prefixOf is the name of an author to stand before their text; "" for the gateway.
func prefixOf(who adapter.Author) string {
	if who.IsGateway() {
		return ""
	}
	name := cleanNick(who.Name)
	if name == "" {
		name = "?"
	}
	return name + ": "
}
