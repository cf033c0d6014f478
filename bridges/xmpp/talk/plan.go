package talk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// MaxText is the longest text of one message, in octets. Servers take stanzas of 256 or 512 KiB, clients choke on less.
const MaxText = 20_000

// Voice is under which of our names something is said.
type Voice struct {
	JID     string // full
	Gateway bool   // the gateway's own name
	Prefix  string // the author's name, where it must stand in the text
	Notes   []string
}

// PrefixOf is the name of an author to stand before their text; "" for the gateway.
func PrefixOf(who adapter.Author) string {
	if who.IsGateway() {
		return ""
	}
	name := CleanNick(who.Name)
	if name == "" {
		name = "?"
	}
	return name + ": "
}

// Step is one stanza of those that show a message.
type Step struct {
	Part adapter.NativePart // without its id
	// Content is what is in the stanza, besides what every stanza has.
	Content []*wire.Node
}

// Speaker is which of our names must say something.
type Speaker uint8

// The speakers.
const (
	AnyName     Speaker = iota
	OwnName             // the author's: it said what is to be changed
	GatewayName         // the gateway's, likewise
)

// References are what a message refers to, as the conversation names it.
type References struct {
	Speaker  Speaker
	Replaces []string // the ids that we gave the stanzas of Outbound.Replaces
	Retract  []string // the ids to take them back by
	To       string   // the id of Outbound.InReplyTo; empty: none
	Author   string   // the JID of its author; may be empty
	// Names finds the nick of a native person who is mentioned; nil knows none.
	Names func(adapter.PersonID) string
}

// errNoRef is the reason for refusing what changes a message that is not here; Degrade has turned it into text before that.
var errNoRef = errors.New("what it refers to was never shown here")

// Plan says which stanzas show a message under a name: always the same for the same Outbound, so that Confirm and a repeated
// Send mean the same ids.
func Plan(out adapter.Outbound, v Voice, refs References) ([]Step, []string, error) {
	m := &out.Content
	var steps []Step
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
func retractions(out adapter.Outbound, refs References) ([]Step, error) {
	if out.Replaces == nil || len(refs.Retract) == 0 {
		return nil, adapter.Refused(errNoRef)
	}
	if !out.Replaces.Ours {
		return nil, adapter.Refused(fmt.Errorf("%w: only those who wrote a message here, and the room's moderators, can take it back", adapter.ErrUnsupported))
	}
	var steps []Step
	for i, id := range refs.Retract {
		steps = append(steps, Step{Part: adapter.NativePart{Piece: i}, Content: retraction(id)})
	}
	return steps, nil
}

func retraction(id string) []*wire.Node {
	return []*wire.Node{
		wire.El(wire.NSRetract, "retract").With("id", id),
		wire.El(wire.NSFallback, "fallback").With("for", wire.NSRetract),
		wire.El("", "body").Put("/me took back a message, which this client cannot show."),
		wire.El(wire.NSHints, "store"),
	}
}

// reactions shows all that the author now reacts with (XEP-0444: a set per person and message). Where several people speak by one
// name, and so have one set, each reaction is a line of text.
func reactions(out adapter.Outbound, v Voice, refs References) ([]Step, error) {
	if v.Prefix != "" {
		if out.Content.IsUnreact() && len(refs.Retract) > 0 && refs.Speaker != OwnName {
			return retractions(out, refs)
		}
		line := "reacts with " + strings.Join(out.Content.Reactions(), " ")
		if out.Content.IsUnreact() {
			line = "takes back a reaction"
		}
		return []Step{{Content: append([]*wire.Node{wire.El("", "body").Put(v.Prefix + line)}, replyTo(refs)...)}}, nil
	}
	if refs.To == "" {
		return nil, adapter.Refused(errNoRef)
	}
	set := wire.El(wire.NSReactions, "reactions").With("id", refs.To)
	for _, e := range out.Reactions {
		set.Add(wire.El("", "reaction").Put(e))
	}
	return []Step{{Content: []*wire.Node{set, wire.El(wire.NSHints, "store")}}}, nil
}

func replyTo(refs References) []*wire.Node {
	if refs.To == "" {
		return nil
	}
	return []*wire.Node{wire.El(wire.NSReply, "reply").With("to", refs.Author).With("id", refs.To)}
}

// texts says each piece of a new message; the first is the answer, if it is one, with what it answers for clients that do not
// know replies (XEP-0461 §4.2).
func texts(out adapter.Outbound, v Voice, refs References) ([]Step, error) {
	var steps []Step
	for i, p := range pieces(out.Content.Body, v.Prefix, refs.Names) {
		var reply []*wire.Node
		quote := ""
		if i == 0 && refs.To != "" {
			reply = replyTo(refs)
			if quote = quoted(out.InReplyTo); quote != "" {
				reply = append(reply, wire.El(wire.NSFallback, "fallback",
					wire.El("", "body").With("start", "0").With("end", fmt.Sprint(utf8.RuneCountInString(quote)))).With("for", wire.NSReply))
			}
		}
		steps = append(steps, Step{Part: adapter.NativePart{Part: p.part, Piece: p.number}, Content: append(p.content(quote), reply...)})
	}
	return steps, nil
}

// quoted is the beginning of a message as a quote.
func quoted(ref *adapter.Ref) string {
	text := strings.TrimSpace(wire.Text(ref.Excerpt))
	if text == "" {
		return ""
	}
	who := ""
	if name := CleanNick(ref.Author.Name); name != "" {
		who = "> " + name + ":\n"
	}
	return who + "> " + strings.ReplaceAll(text, "\n", "\n> ") + "\n"
}

// corrections gives the stanzas of a message their new texts (XEP-0308). An edit makes no new stanzas: what does not fit is cut
// off, with a note, and those that it does not need any more are taken back.
func corrections(out adapter.Outbound, v Voice, refs References) (steps []Step, notes []string, err error) {
	if len(refs.Replaces) == 0 {
		return nil, nil, adapter.Refused(errNoRef)
	}
	all := pieces(out.Content.Body, v.Prefix, refs.Names)
	for i, id := range refs.Replaces {
		switch {
		case i >= len(all):
			steps = append(steps, Step{adapter.NativePart{Piece: i}, retraction(refs.Retract[i])})
		case id == "":
			notes = append(notes, "the first version is no longer known here: the edit is shown as a new message")
			steps = append(steps, Step{adapter.NativePart{Piece: i}, all[i].content("")})
		default:
			steps = append(steps, Step{adapter.NativePart{Piece: i}, append(all[i].content(""), wire.El(wire.NSCorrect, "replace").With("id", id))})
		}
	}
	if len(all) > len(steps) {
		notes = append(notes, "the edited text was cut to the length of the first version")
	}
	return steps, notes, nil
}

// piece is a text that one stanza shows.
type piece struct {
	part, number int
	text         string
	plain        bool   // no character of it is a mark of XEP-0393
	link         string // of a file
}

// content is what a stanza has to show a piece.
func (p piece) content(before string) []*wire.Node {
	out := []*wire.Node{wire.El("", "body").Put(before + wire.Text(p.text))}
	if p.plain && before == "" && marked(p.text) {
		out = append(out, wire.El(wire.NSStyling, "unstyled"))
	}
	if p.link != "" {
		out = append(out, wire.El(wire.NSOOB, "x", wire.El("", "url").Put(p.link)))
	}
	return out
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
		for i, each := range adapter.SplitText(text, MaxText-len(before)) {
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
		chosen := -1 // of alternatives one is shown: the first that is text, or else the first
		if multi.Semantics == content.ChooseOne {
			chosen = max(0, slices.IndexFunc(multi.Parts, content.Part.IsText))
		}
		for i, child := range multi.Parts {
			walk(child, show && (chosen < 0 || i == chosen))
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
	return ok && p.IsText() && strings.TrimSpace(wire.Text(string(single.Content))) == ""
}

// DoneBefore returns what an earlier attempt has sent of a part.
func DoneBefore(out adapter.Outbound, part adapter.NativePart) (adapter.NativePart, bool) {
	i := slices.IndexFunc(out.Done, func(p adapter.NativePart) bool { return p.Part == part.Part && p.Piece == part.Piece })
	if i < 0 {
		return adapter.NativePart{}, false
	}
	return out.Done[i], true
}

// Stanza is a message of ours.
func Stanza(out adapter.Outbound, s Step, id, kind string) *wire.Node {
	n := wire.El("", "message").With("type", kind).With("id", id).Add(s.Content...)
	n.Add(wire.El(wire.NSStanzaID, "origin-id").With("id", id))
	if marker := out.Marker.String(); marker != "" {
		n.Add(wire.El(wire.NSMarker, "marker").Put(marker))
	}
	return n
}

// Failure says what an error means, of a room or of anybody.
func Failure(err error, e *wire.StanzaError) error {
	switch {
	case e.Cond == "item-not-found" || e.Cond == "gone":
		return adapter.Gone(err)
	case e.Kind == "wait" || e.Cond == "Resource-constraint" || e.Cond == "policy-violation" && e.Kind != "modify":
		return adapter.RetryAfter(5*time.Second, err)
	case e.Cond == "remote-server-not-found" || e.Cond == "remote-server-timeout" || e.Cond == "internal-server-error":
		return adapter.RetryAfter(30*time.Second, err)
	}
	return adapter.Refused(err)
}

// Steps are the stanzas that a message needs, for those who only want to know their ids.
func Steps(out adapter.Outbound, component bool) ([]Step, error) {
	v := Voice{}
	if !component { // on a component the prefix depends on who could speak; no name is as long as a piece
		v.Prefix = PrefixOf(out.Author)
	}
	refs := References{}
	if out.InReplyTo != nil {
		refs.To = "?"
	}
	if out.Replaces != nil {
		for range out.Replaces.Parts {
			refs.Replaces, refs.Retract = append(refs.Replaces, "?"), append(refs.Retract, "?")
		}
	}
	steps, _, err := Plan(out, v, refs)
	return steps, err
}
