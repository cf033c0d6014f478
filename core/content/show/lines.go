package show

import (
	"strconv"
	"strings"

	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/phrase"
	"mimigate/core/content/thing"
)

// The functions of this file say in a line of text what a part is, for conversations that cannot show it.

// icons of the kinds that are shown as a line, and what the thing is called that has no name of its own.
var icons = map[content.Kind]struct {
	icon string
	noun phrase.Phrase
}{
	content.KindImage: {"🖼", phrase.Photo}, content.KindVideo: {"🎬", phrase.Video}, content.KindAudio: {"🎵", phrase.Recording}, content.KindVoice: {"🎤", phrase.VoiceNote},
	content.KindFile: {"📎", phrase.File}, content.KindSticker: {"🏷", phrase.Sticker}, content.KindLocation: {"📍", phrase.Place}, content.KindContact: {"👤", phrase.Contact},
	content.KindCalendar: {"📅", phrase.Date}, content.KindPoll: {"📊", phrase.Poll}, content.KindVote: {"🗳", phrase.Poll}, content.KindCall: {"📞", phrase.Call},
	content.KindNotice: {"ℹ️", phrase.Notice}, content.KindLinkPreview: {"🔗", phrase.File},
}

// fileTitle names a file: "📎 photo.jpg (2.3 MB)", "🎤 voice message (0:12)".
func fileTitle(language string, kind content.Kind, p content.Part) string {
	name, size := "", uint64(0)
	switch body := p.Body.(type) {
	case content.External:
		name, size = content.SafeFilename(body.Filename), body.Size
	case content.Single:
		size = uint64(len(body.Content))
	}
	about := icons[kind]
	if name == "" {
		name = about.noun.In(language)
	}
	var details []string
	if p.Media.Duration > 0 {
		details = append(details, phrase.Length(p.Media.Duration))
	}
	if size > 0 {
		details = append(details, phrase.Size(language, size))
	}
	title := about.icon + " " + name
	if len(details) > 0 {
		title += " (" + strings.Join(details, ", ") + ")"
	}
	return title
}

// thingLine says what a part is that is neither text nor a file. Where it cannot be read it is called by its kind.
func thingLine(language string, kind content.Kind, p content.Part) content.Part {
	data := []byte(nil)
	if single, ok := p.Body.(content.Single); ok {
		data = single.Content
	}
	text := ""
	switch kind {
	case content.KindPoll:
		if poll, err := thing.Unmarshal[thing.Poll](data); err == nil {
			return poll.Text(language)
		}
	case content.KindVote:
		if vote, err := thing.Unmarshal[thing.Vote](data); err == nil {
			return content.TextPart(vote.Line(language))
		}
	case content.KindLocation:
		if place, err := thing.UnmarshalPlace(data); err == nil {
			text = place.Line()
		}
	case content.KindContact:
		text = thing.ContactLine(data)
	case content.KindCalendar:
		text = thing.DateLine(data)
	case content.KindCall, content.KindLinkPreview:
		if link, ok := p.Body.(content.External); ok {
			text = strings.TrimPrefix(markup.Excerpt(link.Description, 500)+": "+link.URL, ": ")
		}
	}
	if text == "" {
		return content.TextPart(phrase.NotHere.In(language, icons[kind].icon+" "+icons[kind].noun.In(language)))
	}
	return content.TextPart(icons[kind].icon + " " + text)
}

// Text says what a Change means, for the sender: "image: shown as a line of text there (larger than 100 MB)".
func (c Change) Text(language string) string {
	how := phrase.ShownReduced
	switch c.To {
	case content.Line:
		how = phrase.ShownAsLine
	case content.None:
		how = phrase.NotShown
	}
	text := how.In(language, phrase.Phrase(c.Kind.String()).In(language))
	why := ""
	switch c.Why {
	case TooLarge:
		why = phrase.BecauseTooLarge.In(language, phrase.Size(language, uint64(max(c.Limit, 0))))
	case TooMany:
		why = phrase.BecauseTooMany.In(language, strconv.FormatInt(c.Limit, 10))
	case TooLong:
		why = phrase.BecauseTooLong.In(language, phrase.Size(language, uint64(max(c.Limit, 0))))
	case TooLate:
		why = phrase.BecauseTooLate.In(language)
	case NotThere:
		why = phrase.BecauseUnknown.In(language)
	case SeenOnce:
		why = phrase.BecauseOnce.In(language)
	}
	if why != "" {
		text += " (" + why + ")"
	}
	return text
}
