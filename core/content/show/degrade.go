// Package show turns messages into what a conversation of a network can show, the same way for all networks: Degrade before they
// reach the adapter, Pieces and By in the adapter.
//
// The package is pure and part of core/content.
package show

import (
	"time"

	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/phrase"
)

// Scene is where a message is to be shown, besides the Limits: what Degrade must know of the messages it refers to.
type Scene struct {
	Language                    string // of the lines that Degrade writes, RFC 5646
	Replaces, InReplyTo, Thread Referent
	// Links are where people can fetch files that are not shown, by the index of their part; where policy offers that.
	Links map[int]string
}

// Referent is an earlier message as a conversation knows it.
type Referent struct {
	Shown   bool   // there is a native event of it, that can be referred to
	Ours    bool   // which we made, so that we may change it
	Author  string // name; may be empty
	Excerpt string // beginning of its plain text; may be empty
	Age     time.Duration
}

// Change is something that a conversation shows less of than was sent. The sender may be told.
type Change struct {
	Kind  content.Kind
	To    content.Support // what became of it: Line, Reduced or None
	Part  int             // the part of the message as sent (depth first, the body is 0)
	Why   Reason
	Limit int64 // of TooLarge and TooLong in octets, of TooMany a count
}

// Reason is why something is changed.
type Reason uint8

// The reasons.
const (
	NotSupported Reason = iota // the network, or the adapter, cannot
	TooLarge
	TooMany
	TooLong
	TooLate  // EditWithin, DeleteWithin
	NotThere // it refers to what the conversation has never shown
	SeenOnce
)

// Degrade turns a message into what a conversation can show, and says what it changed. m stays as it is. The result is nil if
// nothing is to be shown; then either a Change says so, or there was nothing.
//
// The table, per kind. At Native everything stays.
//
//	kind            Reduced              Line                            None
//	text            stays                stays                           not shown
//	formatted text  stays                plain text                      plain text
//	mention         stays                the name                        the name
//	reply           stays                a quote before the text         the text alone
//	edit            stays                a new message, "edited:"        not shown
//	delete          stays                "deleted an earlier message"    not shown
//	reaction        stays                "reacted with …"                not shown
//	thread          stays                "in the thread …:" before it    the text alone
//	image video     a file               its name, size, and why         not shown
//	audio           a file               its name, size, and why         not shown
//	voice           a sound              its name, length, and why       not shown
//	sticker         an image             its name, size, and why         not shown
//	file            stays                its name, size, and why         not shown
//	album           one after the other  one after the other             not shown
//	caption         a text of its own    a text of its own               not shown
//	location        stays                name and geo: address           not shown
//	contact         a file               name, number, address           not shown
//	calendar        a file               title, time, place              not shown
//	poll            stays                question and numbered options   not shown
//	vote            stays                "voted for …"                   not shown
//	expiring        stays                the time in a line before it    not shown
//	view once       a line that says so  a line that says so             not shown
//	link preview    the text alone       the text alone, or the link     the text alone
//	call            stays                description and link            not shown
//	notice          stays                its text                        not shown
//	status          not shown            not shown                       not shown
//
// Beyond Limits' sizes, counts and times a thing is shown as at Line. What refers to a message that the conversation has never shown
// is shown as at Line too. Lines do not name the author: the conversation shows who speaks.
//
// In the result a SingleUnit is one native event (a captioned file, an album), a ProcessAll one event after the other: see Pieces. Captions are
// text parts, not External.Description. HTML has become GFM-MIMI. Of a ChooseOne the best form that the conversation can show is chosen,
// in the language of the scene if it can be.
func Degrade(m *content.Message, limits content.Limits, scene Scene) (*content.Message, []Change) {
	d := degrader{limits: limits, scene: scene}
	out := *m
	var shown *content.Message
	switch {
	case m.IsDelete():
		shown = d.deletion(&out)
	case m.IsUnreact():
		shown = d.unreaction(&out)
	case m.IsReaction():
		shown = d.reaction(&out)
	default:
		shown = d.message(&out)
	}
	return shown, d.changes
}

type degrader struct {
	limits  content.Limits
	scene   Scene
	changes []Change
	part    int // that is being looked at
}

func (d *degrader) change(kind content.Kind, to content.Support, why Reason, limit int64) {
	d.changes = append(d.changes, Change{kind, to, d.part, why, limit})
}

// level returns the support of a kind, and notes what is lost by it.
func (d *degrader) level(kind content.Kind) content.Support {
	level := d.limits.Of(kind)
	if level != content.Native {
		d.change(kind, level, NotSupported, 0)
	}
	return level
}

// may reports whether a message of a kind that refers to another can be shown natively, and notes it if not. within bounds the
// age of the other; 0 does not.
func (d *degrader) may(kind content.Kind, to Referent, within time.Duration) (native, shown bool) {
	switch level := d.limits.Of(kind); {
	case level == content.None:
		d.change(kind, content.None, NotSupported, 0)
		return false, false
	case level == content.Line:
		d.change(kind, content.Line, NotSupported, 0)
	case !to.Shown:
		d.change(kind, content.Line, NotThere, 0)
	case within > 0 && to.Age > within:
		d.change(kind, content.Line, TooLate, 0)
	default:
		if level == content.Reduced {
			d.change(kind, content.Reduced, NotSupported, 0)
		}
		return true, true
	}
	return false, true
}

// line is a message that says in a line what happened, and refers to nothing.
func (d *degrader) line(m *content.Message, text string) *content.Message {
	m.Replaces, m.InReplyTo, m.Body = content.MessageID{}, content.MessageID{}, content.TextPart(text)
	return m
}

// deletion: what was never shown need not be deleted.
func (d *degrader) deletion(m *content.Message) *content.Message {
	if !d.scene.Replaces.Shown {
		return nil
	}
	native, shown := d.may(content.KindDelete, d.scene.Replaces, d.limits.DeleteWithin)
	switch {
	case native:
		return m
	case shown:
		return d.line(m, "🗑 "+phrase.Deleted.In(d.scene.Language))
	}
	return nil
}

// unreaction: a reaction that was shown as a line of ours is deleted as a line.
func (d *degrader) unreaction(m *content.Message) *content.Message {
	was, level := d.scene.Replaces, d.limits.Of(content.KindReaction)
	if !was.Shown || level == content.None { // there is nothing to take back
		return nil
	}
	if level == content.Line && was.Ours && d.native(content.KindDelete) && (d.limits.DeleteWithin == 0 || was.Age <= d.limits.DeleteWithin) {
		return content.Delete(m.Replaces)
	}
	if native, _ := d.may(content.KindReaction, was, 0); native {
		return m
	}
	return d.line(m, about(d.scene.Language, phrase.Unreacted, phrase.UnreactedOld, d.scene.InReplyTo))
}

// native reports whether a conversation has a kind in some form of its own.
func (d *degrader) native(kind content.Kind) bool {
	level := d.limits.Of(kind)
	return level == content.Native || level == content.Reduced
}

// reaction: on a network that has none it is a line; a changed one edits that line.
func (d *degrader) reaction(m *content.Message) *content.Message {
	emoji := m.Reactions()
	native, shown := d.may(content.KindReaction, d.scene.InReplyTo, 0)
	if !shown {
		return nil
	}
	if native && len(emoji) > 0 {
		if most := d.limits.Reactions; most > 0 && len(emoji) > most {
			d.change(content.KindReaction, content.Reduced, TooMany, int64(most))
			m.Body = content.React(m.InReplyTo, emoji[:most]...).Body
		}
		return m
	}
	what := ""
	for _, e := range emoji {
		what += markup.Excerpt(e, 20)
	}
	if what == "" { // a picture or a sound
		if native {
			d.change(content.KindReaction, content.Line, NotSupported, 0)
		}
		what = fileTitle(d.scene.Language, content.KindImage, m.Body)
	}
	edits, was := m.Replaces, d.scene.Replaces
	m = d.line(m, about(d.scene.Language, phrase.Reacted, phrase.ReactedOld, d.scene.InReplyTo, what))
	if was.Shown && was.Ours && d.native(content.KindEdit) && (d.limits.EditWithin == 0 || was.Age <= d.limits.EditWithin) {
		m.Replaces = edits
	}
	return m
}

// about fills in a phrase with an excerpt of what it is about, or the other one where there is none.
func about(language string, known, unknown phrase.Phrase, to Referent, args ...any) string {
	if excerpt := markup.Excerpt(to.Excerpt, 80); excerpt != "" {
		return known.In(language, append(args, excerpt)...)
	}
	return unknown.In(language, args...)
}

// message degrades a message that says something.
func (d *degrader) message(m *content.Message) *content.Message {
	body := m.Body
	if body.Disposition == content.Reaction { // to nothing: then it is a message like others
		body.Disposition = content.Render
	}
	if body.Kind() == content.KindStatus && d.limits.Of(content.KindStatus) != content.Native {
		return nil // it is no chat message (message-status-01), and nothing is lost by not showing it as one
	}
	lead, ok := d.lead(m)
	if !ok {
		return nil
	}
	events := d.events(body, 0)
	if len(events) == 0 {
		return nil
	}
	events = d.prepend(lead, events)
	m.Body = events[0]
	if len(events) > 1 {
		m.Body = content.Part{Disposition: content.Render, Body: content.Multi{Semantics: content.ProcessAll, Parts: events}}
	}
	return m
}

// lead returns what is to be said before the content, and takes from m what is said that way. It reports false where the message
// is not to be shown at all.
func (d *degrader) lead(m *content.Message) (markup.Doc, bool) {
	var lead markup.Doc
	say := func(text string) { lead = append(lead, paragraph(text)) }
	if m.Expires != nil {
		switch d.level(content.KindExpiring) {
		case content.None:
			return nil, false
		case content.Line:
			say("⏳ " + expiryText(d.scene.Language, *m.Expires))
			m.Expires = nil
		}
	}
	if len(m.TopicID) > 0 {
		switch level := d.level(content.KindThread); level {
		case content.Line, content.None:
			m.TopicID = nil
			if level == content.Line {
				say("🧵 " + about(d.scene.Language, phrase.InThread, phrase.InThreadOld, d.scene.Thread))
			}
		}
	}
	if m.IsReply() {
		native, shown := d.may(content.KindReply, d.scene.InReplyTo, 0)
		if !native {
			m.InReplyTo = content.MessageID{}
		}
		if !native && shown {
			lead = append(lead, d.quote())
		}
	}
	if m.IsEdit() {
		to := d.scene.Replaces
		to.Shown = to.Shown && to.Ours // what somebody wrote here natively is theirs to edit
		native, shown := d.may(content.KindEdit, to, d.limits.EditWithin)
		if !shown {
			return nil, false
		}
		if !native {
			m.Replaces = content.MessageID{}
			say("✏️ " + phrase.Edited.In(d.scene.Language))
		}
	}
	return lead, true
}

// quote stands before a reply: "> Ann: what she wrote", or a line where that is not known.
func (d *degrader) quote() markup.Node {
	to := d.scene.InReplyTo
	excerpt := markup.Excerpt(to.Excerpt, 200)
	switch {
	case excerpt != "" && to.Author != "":
		return markup.Node{Kind: markup.Quote, Children: []markup.Node{paragraph(to.Author + ": " + excerpt)}}
	case excerpt != "":
		return markup.Node{Kind: markup.Quote, Children: []markup.Node{paragraph(excerpt)}}
	case to.Author != "":
		return paragraph("↩ " + phrase.Answering.In(d.scene.Language, to.Author))
	}
	return paragraph("↩ " + phrase.AnsweringOld.In(d.scene.Language))
}

func paragraph(text string) markup.Node {
	return markup.Node{Kind: markup.Paragraph, Children: []markup.Node{{Text: text}}}
}

func expiryText(language string, e content.Expiry) string {
	if e.Relative {
		return phrase.Vanishes.In(language, phrase.Span(time.Duration(e.Seconds)*time.Second))
	}
	return phrase.VanishesAt.In(language, time.Unix(int64(e.Seconds), 0).UTC().Format("2006-01-02 15:04 UTC"))
}

// prepend puts lead before the first text, or as a text of its own before the first event.
func (d *degrader) prepend(lead markup.Doc, events []content.Part) []content.Part {
	if len(lead) == 0 {
		return events
	}
	text := content.TextPart(lead.Text(markup.Plain))
	if !lead.IsPlain() && d.formatted() {
		text = content.MarkdownPart(lead.Markdown())
	}
	return mergeTexts(append([]content.Part{text}, events...))
}

// formatted reports whether formatted text may stay so.
func (d *degrader) formatted() bool {
	return d.limits.Formatting > content.PlainText && d.native(content.KindFormatted)
}
