package matrix

import (
	"context"
	"strings"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/uri"
)

const formatHTML = "org.matrix.custom.html"

// textPart is the text of a message: GFM-MIMI if it is formatted, else as it is.
func (s *session) textPart(ctx context.Context, said fields, reply bool) content.Part {
	if said.text("format") == formatHTML && said.text("formatted_body") != "" {
		return docPart(s.doc(ctx, said, reply))
	}
	return content.TextPart(plainBody(said, reply))
}

// docPart is a text as a part, formatted only if it has formatting.
func docPart(d markup.Doc) content.Part {
	if d.IsPlain() {
		return content.TextPart(d.Text(markup.Plain))
	}
	return content.MarkdownPart(d.Markdown())
}

// doc is the text of a message with its formatting, and mentions as links to person: and mimi: targets.
func (s *session) doc(ctx context.Context, said fields, reply bool) markup.Doc {
	if said.text("format") != formatHTML || said.text("formatted_body") == "" {
		return markup.ParseText(plainBody(said, reply), markup.Plain)
	}
	return markup.ParseHTML(said.text("formatted_body")).MapLinks(func(n markup.Node) markup.Node { return s.readLink(ctx, n) })
}

// readLink makes a mention of a link to a user (Client-Server API, user and room mentions: matrix.to links and matrix: URIs).
func (s *session) readLink(ctx context.Context, n markup.Node) markup.Node {
	if n.Kind != markup.Link || !strings.HasPrefix(n.URL, "https://matrix.to/") && !strings.HasPrefix(n.URL, "matrix:") {
		return n
	}
	link, err := id.ParseMatrixURIOrMatrixToURL(n.URL)
	if err != nil || link.UserID() == "" {
		return n
	}
	user, name := link.UserID(), strings.TrimPrefix(n.Label(), "@")
	if name == "" || name == n.URL {
		name = user.Localpart()
	}
	target := personLink(user)
	if s.names.ours(user) {
		if of := s.userOf(ctx, user); !of.IsZero() {
			target = of.String()
		}
	}
	return markup.NewLink(target, markup.Node{Kind: markup.Text, Text: "@" + name})
}

// plainBody is the text of a message without formatting, and without the quote that clients before v1.13 put in front of replies.
func plainBody(said fields, reply bool) string {
	body := clean(said.text("body"))
	if !reply || !strings.HasPrefix(body, "> <@") && !strings.HasPrefix(body, "> * <@") {
		return body
	}
	lines := strings.Split(body, "\n")
	for len(lines) > 0 && strings.HasPrefix(lines[0], ">") {
		lines = lines[1:]
	}
	if len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	return strings.Join(lines, "\n")
}

// front puts words in front of a text.
func front(d markup.Doc, words string) markup.Doc {
	first := markup.Node{Kind: markup.Text, Text: words}
	if len(d) == 0 || d[0].Kind != markup.Paragraph {
		return append(markup.Doc{{Kind: markup.Paragraph, Children: []markup.Node{first}}}, d...)
	}
	p := d[0]
	p.Children = append([]markup.Node{first}, p.Children...)
	return append(markup.Doc{p}, d[1:]...)
}

// texts is a text as Matrix shows it, in as many events as it needs; author is who stands in front of each, or "".
func (s *session) texts(r *room, text string, markdown bool, author string) []rendered {
	limit := textBytes
	if author != "" {
		limit -= len(author) + len("**:** ")
	}
	var out []rendered
	if !markdown {
		for _, piece := range adapter.SplitText(clean(text), limit) {
			if author == "" {
				out = append(out, rendered{plain: piece})
				continue
			}
			out = append(out, rendered{plain: author + ": " + piece, html: markup.ParseText(piece, markup.Plain).By(author).HTML()})
		}
		return out
	}
	for _, piece := range markup.Parse(clean(text)).Split(limit) {
		out = append(out, s.render(r, piece, author))
	}
	return out
}

// render is one piece of formatted text.
func (s *session) render(r *room, d markup.Doc, author string) rendered {
	var t rendered
	linked := d.MapLinks(func(n markup.Node) markup.Node {
		user := s.mentioned(r, n)
		switch {
		case user != "":
			t.mentions = append(t.mentions, user)
			return markup.NewLink("https://matrix.to/#/"+string(user), n.Children...)
		case n.IsMention():
			return markup.Node{Kind: markup.Text, Text: n.Label()}
		}
		return n
	})
	plain := d.Text(markup.Plain)
	if author == "" && d.IsPlain() {
		return rendered{plain: plain}
	}
	if author != "" {
		plain, linked = author+": "+plain, linked.By(author)
	}
	t.plain, t.html = plain, linked.HTML()
	return t
}

// mentioned returns the user that a link mentions: a native person, or one of our people who is in the room; "": none.
func (s *session) mentioned(r *room, n markup.Node) id.UserID {
	if person, ok := adapter.ParsePerson(n.URL); ok {
		user := id.UserID(person)
		if _, _, err := user.ParseAndValidateRelaxed(); err == nil {
			return user
		}
		return ""
	}
	if s.settings.Mode == modeBot || !n.IsMention() {
		return ""
	}
	who, err := uri.ParseUser(n.URL)
	if err != nil {
		return ""
	}
	if user := s.names.of(who); r.member(user).Membership == joined {
		return user
	}
	return ""
}
