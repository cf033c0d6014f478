package content

import (
	"strings"

	"mimigate/core/content/markup"
)

// The functions of this file make the messages that adapters need. They leave Salt, SenderURI and RoomURI to whoever encodes.
// Whom a message answers, edits or deletes is mostly known to an adapter by native id only; it then gives a zero MessageID and
// puts the native id into its event, and the router fills in the message id.

// Text is a message of plain text.
func Text(text string) *Message { return &Message{Body: TextPart(text)} }

// Markdown is a message of formatted text, GFM-MIMI: see MarkdownPart.
func Markdown(text string) *Message { return &Message{Body: MarkdownPart(text)} }

// Of is a message with this body.
func Of(body Part) *Message { return &Message{Body: body} }

// Reply is m as an answer to the message id: it sets InReplyTo.
func Reply(id MessageID, m *Message) *Message {
	m.InReplyTo = id
	return m
}

// Edit is m as the new content of a message: it sets Replaces, the id of the first version.
func Edit(first MessageID, m *Message) *Message {
	m.Replaces = first
	return m
}

// Delete deletes a message, given by the id of its first version (mimi-content-09 §5.6).
func Delete(first MessageID) *Message {
	return &Message{Replaces: first, Body: Part{Disposition: Render}}
}

// React reacts to a message with emoji: one part for one, a processAll multipart for several (mimi-content-09 §5.3).
// Without any emoji there is nothing to say: use Unreact.
func React(to MessageID, emoji ...string) *Message {
	parts := make([]Part, len(emoji))
	for i, e := range emoji {
		parts[i] = Part{Disposition: Reaction, Body: Single{ContentType: TypeText, Content: []byte(e)}}
	}
	m := &Message{InReplyTo: to, Body: Part{Disposition: Reaction}}
	switch len(parts) {
	case 0:
	case 1:
		m.Body = parts[0]
	default:
		m.Body.Body = Multi{Semantics: ProcessAll, Parts: parts}
	}
	return m
}

// Unreact takes a reaction back (mimi-content-09 §5.7); to is the message that was reacted to.
func Unreact(reaction, to MessageID) *Message {
	return &Message{Replaces: reaction, InReplyTo: to, Body: Part{Disposition: Reaction}}
}

// TextPart is a part of plain text. Octets that are not UTF-8 become U+FFFD.
func TextPart(text string) Part {
	return Part{Disposition: Render, Body: Single{ContentType: TypeText, Content: []byte(strings.ToValidUTF8(text, "\uFFFD"))}}
}

// MarkdownPart is a part of GFM-MIMI text. HTML tags in it become text (mimi-content-09 §7.1.1), and octets that are not UTF-8 U+FFFD.
func MarkdownPart(text string) Part {
	return Part{Disposition: Render, Body: Single{ContentType: TypeMarkdown, Content: []byte(markup.NoHTML(text))}}
}

// DocPart is a part of text: plain where nothing in it is formatted, else GFM-MIMI.
func DocPart(d markup.Doc) Part {
	if d.IsPlain() {
		return TextPart(d.Text(markup.Plain))
	}
	return MarkdownPart(d.Markdown())
}

// Doc returns the text of a part: plain text, Markdown or HTML in the message. It is nil for every other part.
func (p Part) Doc() markup.Doc {
	single, ok := p.Body.(Single)
	if !ok {
		return nil
	}
	switch p.MediaType() {
	case "text/plain":
		return markup.ParseText(string(single.Content), markup.Plain)
	case "text/markdown":
		return markup.Parse(string(single.Content))
	case "text/html":
		return markup.ParseHTML(string(single.Content))
	}
	return nil
}

// Find returns the content of the first part of a media type, which is given in lower case and without parameters: a poll among its
// alternatives. It is nil where there is none in the message.
func (p Part) Find(mediaType string) []byte {
	for _, part := range p.Walk() {
		if single, ok := part.Body.(Single); ok && part.MediaType() == mediaType {
			return single.Content
		}
	}
	return nil
}

// FilePart is a file to be shown where it can be (picture, sound, film, sticker), or with Role MediaFile to be offered.
func FilePart(file External, media Media) Part {
	p := Part{Disposition: Render, Body: file, Media: media}
	if media.Role == MediaFile {
		p.Disposition = Attachment
	}
	return p
}

// CallPart is a call to join at a URL, named by its description (mimi-content-09 §5.10).
func CallPart(url, description string) Part {
	return Part{Disposition: Session, Body: External{URL: url, Description: description}}
}

// Captioned is a file with a text that belongs to it.
func Captioned(file, caption Part) Part { return multi(SingleUnit, file, caption) }

// Album is several files, each for itself, perhaps with a text among them.
func Album(parts ...Part) Part { return multi(ProcessAll, parts...) }

// Alternatives is one thing in several forms, the richest first; the last should be text, that everybody can show.
func Alternatives(parts ...Part) Part { return multi(ChooseOne, parts...) }

// multi joins parts; one part needs no joining, and a Multi must have two (mimi-content-09 §4.4).
func multi(semantics PartSemantics, parts ...Part) Part {
	switch len(parts) {
	case 0:
		return Part{}
	case 1:
		return parts[0]
	}
	return Part{Disposition: Render, Body: Multi{Semantics: semantics, Parts: parts}}
}
