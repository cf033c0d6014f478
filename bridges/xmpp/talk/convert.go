package talk

import (
	"fmt"
	"strings"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
)

// Place is what of a conversation is needed to convert what is said in it.
type Place struct {
	// Ref makes the id of a message that a stanza refers to.
	Ref func(id string) adapter.NativeID
	// Nicks are those of the others in the room, and what a mention of them links to; nil in a chat of two.
	Nicks func() map[string]string
}

// textPart converts the text of a message: XEP-0393, unless its sender says that it is none.
func (p Place) textPart(n *wire.Node, body string) content.Part {
	style := markup.Styling
	if n.Child(wire.NSStyling, "unstyled") != nil {
		style = markup.Plain
	}
	if nick, target := p.addressed(body); target != "" {
		doc := markup.ParseText(body[len(nick):], style)
		link := markup.NewLink(target, markup.Node{Kind: markup.Text, Text: nick})
		if len(doc) > 0 && doc[0].Kind == markup.Paragraph {
			doc[0].Children = append([]markup.Node{link}, doc[0].Children...)
			return content.MarkdownPart(doc.Markdown())
		}
	}
	doc := markup.ParseText(body, style)
	if doc.IsPlain() {
		return content.TextPart(body)
	}
	return content.MarkdownPart(doc.Markdown())
}

// addressed finds whom a message addresses as people do in a MUC: with their nick in front, and a colon or comma.
func (p Place) addressed(body string) (nick, target string) {
	if p.Nicks == nil || !strings.ContainsAny(body, ":,") {
		return "", ""
	}
	for n, t := range p.Nicks() {
		if len(n) > len(nick) && len(body) > len(n)+1 && strings.HasPrefix(body, n) && (body[len(n)] == ':' || body[len(n)] == ',') {
			nick, target = n, t
		}
	}
	return nick, target
}

// show is a part as text: plain says that none of its characters is meant as a mark, link is the address of a file that it is.
// names finds the nick of a person who is mentioned; nil knows none.
func show(p content.Part, names func(adapter.PersonID) string) (text string, plain bool, link string) {
	switch body := p.Body.(type) {
	case content.Single:
		switch {
		case p.MediaType() == "text/markdown":
			return styled(string(body.Content), names), false, ""
		case p.IsText():
			return wire.Text(string(body.Content)), true, ""
		}
		return fmt.Sprintf("[%s, %d bytes]", p.MediaType(), len(body.Content)), true, ""
	case content.External:
		if _, handle := adapter.ParseBlob(body.URL); handle || body.URL == "" {
			return joined(" ", "["+body.Filename+"]", body.Description), true, ""
		}
		if body.Description == "" && body.EncAlg == content.EncNone {
			return body.URL, true, body.URL
		}
		return joined("\n", body.Description, body.URL), true, ""
	}
	return "", true, ""
}

// styled converts GFM-MIMI to XEP-0393. A mention becomes a nick, which is what clients look for.
func styled(markdown string, names func(adapter.PersonID) string) string {
	doc := markup.Parse(markdown).MapLinks(func(n markup.Node) markup.Node {
		if id, ok := adapter.ParsePerson(n.URL); ok && names != nil {
			if nick := names(id); nick != "" {
				return markup.Node{Kind: markup.Text, Text: nick}
			}
		}
		return n
	})
	return wire.Text(doc.Text(markup.Styling))
}

// marked reports whether a text has characters that XEP-0393 would take for marks.
func marked(text string) bool { return !markup.ParseText(text, markup.Styling).IsPlain() }

// joined is both texts with sep between them, or the only one.
func joined(sep, a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}
