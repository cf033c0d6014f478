package native

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/uri"
)

const formatHTML = "org.matrix.custom.html"

// textPart is the text of a message: GFM-MIMI if it is formatted, else as it is.
func (r Reader) textPart(said Fields, reply bool) content.Part {
	if said.Text("format") == formatHTML && said.Text("formatted_body") != "" {
		return docPart(r.doc(said, reply))
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
func (r Reader) doc(said Fields, reply bool) markup.Doc {
	if said.Text("format") != formatHTML || said.Text("formatted_body") == "" {
		return markup.ParseText(plainBody(said, reply), markup.Plain)
	}
	return markup.ParseHTML(said.Text("formatted_body")).MapLinks(r.readLink)
}

// readLink makes a mention of a link to a user (Client-Server API, user and room mentions: matrix.to links and matrix: URIs).
func (r Reader) readLink(n markup.Node) markup.Node {
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
	target := adapter.PersonID(user).URL()
	if r.Names.Ours(user) {
		if of := r.User(user); !of.IsZero() {
			target = of.String()
		}
	}
	return markup.NewLink(target, markup.Node{Kind: markup.Text, Text: "@" + name})
}

// plainBody is the text of a message without formatting, and without the quote that clients before v1.13 put in front of replies.
func plainBody(said Fields, reply bool) string {
	body := Clean(said.Text("body"))
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

// TextBytes is the most that a text may have: an event has at most 65,536 octets (Client-Server API, size limits), in which a text
// stands twice, plain and as HTML, and in an edit four times; what repeats it goes first (see Out.Mark).
const TextBytes = 16_000

// texts is a text as Matrix shows it, in as many events as it needs.
func (w Writer) texts(text string, markdown bool) []rendered {
	limit := TextBytes
	if w.Author != "" {
		limit -= len(w.Author) + len("**:** ")
	}
	var out []rendered
	if !markdown {
		for _, piece := range adapter.SplitText(Clean(text), limit) {
			if w.Author == "" {
				out = append(out, rendered{plain: piece})
				continue
			}
			out = append(out, rendered{plain: w.Author + ": " + piece, html: markup.ParseText(piece, markup.Plain).By(w.Author).HTML()})
		}
		return out
	}
	for _, piece := range markup.Parse(Clean(text)).Split(limit) {
		out = append(out, w.render(piece))
	}
	return out
}

// render is one piece of formatted text.
func (w Writer) render(d markup.Doc) rendered {
	var t rendered
	linked := d.MapLinks(func(n markup.Node) markup.Node {
		user := w.mentioned(n)
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
	if w.Author == "" && d.IsPlain() {
		return rendered{plain: plain}
	}
	if w.Author != "" {
		plain, linked = w.Author+": "+plain, linked.By(w.Author)
	}
	t.plain, t.html = plain, linked.HTML()
	return t
}

// mentioned returns the user that a link mentions: a native person, or one of our people who is in the room; "": none.
func (w Writer) mentioned(n markup.Node) id.UserID {
	if person, ok := adapter.ParsePerson(n.URL); ok {
		user := id.UserID(person)
		if _, _, err := user.ParseAndValidateRelaxed(); err == nil {
			return user
		}
		return ""
	}
	who, err := uri.ParseUser(n.URL)
	if err != nil {
		return ""
	}
	return w.Mentioned(who)
}

// Blob is the handle of a file: its mxc URI. What is none is no handle.
func Blob(mxc string) adapter.Blob {
	if u, err := id.ParseContentURI(mxc); err != nil || u.IsEmpty() || len(mxc) > 1024 {
		return ""
	}
	return adapter.Blob(mxc)
}

// maxName is the most octets of a display name that Synapse takes (256), less a little.
const maxName = 250

// DisplayName is a name as homeservers take it: without control characters, and not too long.
func DisplayName(name string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD")))
	if len(name) > maxName {
		cut := maxName
		for !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + "…"
	}
	return name
}
