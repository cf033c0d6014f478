package content

import (
	"strconv"
	"time"
)

// Kind is a thing that people do in a chat, as far as networks differ in what they can show of it (package show). One message may be of
// several kinds: a reply with a mention and a captioned picture that expires.
type Kind uint8

// The kinds. Their order is that of the table of Degrade and of the generated feature list.
const (
	KindText Kind = iota
	KindFormatted
	KindMention
	KindReply
	KindEdit
	KindDelete
	KindReaction
	KindThread
	KindImage
	KindVideo
	KindAudio
	KindVoice
	KindFile
	KindAlbum
	KindCaptioned // one file with a text to it
	KindSticker
	KindLocation
	KindContact
	KindCalendar
	KindPoll
	KindVote
	KindExpiring
	KindViewOnce
	KindLinkPreview
	KindCall
	KindNotice
	KindStatus // delivered and read, as a message of its own (TypeStatus)

	kinds
)

// Kinds returns all kinds in order.
func Kinds() []Kind {
	out := make([]Kind, kinds)
	for i := range out {
		out[i] = Kind(i)
	}
	return out
}

var kindNames = [kinds]string{
	"text", "formatted text", "mention", "reply", "edit", "delete", "reaction", "thread", "image", "video", "audio", "voice",
	"file", "album", "caption", "sticker", "location", "contact", "calendar", "poll", "vote", "expiring", "view once",
	"link preview", "call", "notice", "status",
}

// String returns the kind's name as people read it in lists and notices.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Support is how much of a kind a conversation can show. The zero value is what every network can do.
type Support uint8

// The levels of support. Degrade turns a message of a kind into what its level says; None is for what had better not be shown
// at all, and then the sender is told: nothing vanishes silently.
const (
	Line    Support = iota // as a line of text that says what it is, e.g. "reacted with 👍 to “Lunch?”"
	Reduced                // natively, but less than was sent; Degrade and the adapter say what is lost
	Native                 // as it is meant
	None                   // not at all
)

var supportNames = [...]string{"line", "reduced", "native", "none"}

// String returns "line", "reduced", "native" or "none".
func (s Support) String() string {
	if int(s) < len(supportNames) {
		return supportNames[s]
	}
	return "support " + strconv.Itoa(int(s))
}

// Formatting is how much of GFM-MIMI a conversation's text can show. Each level includes those before it.
type Formatting uint8

// The levels of formatting. At PlainText, markup that carries meaning (a link's target, a list's numbers) stays readable.
const (
	PlainText Formatting = iota
	Styled               // bold, italic, struck, code, quotes: WhatsApp, XEP-0393
	Rich                 // links with a text of their own, lists, headings, tables: Matrix HTML
)

// Limits is what one conversation of a network can show. It is plain data; the zero value is a network that shows nothing but
// plain text without bound, which every message can be degraded to.
type Limits struct {
	// Support is the level per kind. Absent kinds: Line.
	Support map[Kind]Support
	// Authors is Native where our people appear under their own name, Reduced where some of them do (occupants of a MUC), Line
	// where the adapter puts the author's name in the text. It is shown to people as what it is; Degrade does not use it.
	Authors    Support
	Formatting Formatting

	// TextBytes is the most a text may have, in octets of UTF-8 before the network's own escaping; longer ones are split
	// between words. 0: no bound.
	TextBytes int
	// PartBytes is the most a file may have, in octets of plaintext. 0: no bound.
	PartBytes int64
	// CaptionBytes is the most a caption may have; a longer one becomes a text of its own. 0: no bound.
	CaptionBytes int

	// Counts; 0: no bound.
	Parts       int // files in an album
	Reactions   int // that one person may have on one message
	PollOptions int

	// EditWithin and DeleteWithin are how long after its sending a message may still be edited or deleted; later, the change
	// is shown as at Line. 0: for ever.
	EditWithin, DeleteWithin time.Duration
}

// Of returns the level of support for a kind.
func (l Limits) Of(k Kind) Support { return l.Support[k] }

// Kinds returns the kinds that a message is of, each once, in the order of the constants: what it does (edit, reply, thread,
// expiring…) and what its body is. A deletion or a reaction is nothing else, an empty message is nothing. Mentions, which only
// the text tells, are not found.
func (m *Message) Kinds() []Kind {
	var has [kinds]bool
	switch {
	case m.IsDelete():
		return []Kind{KindDelete}
	case m.IsUnreact(), m.IsReaction():
		return []Kind{KindReaction}
	case m.Body.IsNull():
		return nil
	}
	has[KindReply] = m.IsReply()
	has[KindEdit] = m.IsEdit()
	has[KindThread] = len(m.TopicID) > 0
	has[KindExpiring] = m.Expires != nil
	has[m.Body.Kind()] = true
	for _, p := range m.Body.Walk() {
		has[KindViewOnce] = has[KindViewOnce] || p.Media.ViewOnce
	}
	var out []Kind
	for k, yes := range has {
		if yes {
			out = append(out, Kind(k))
		}
	}
	return out
}
