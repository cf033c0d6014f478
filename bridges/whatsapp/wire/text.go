//go:build !nowhatsapp

package wire

import (
	"slices"
	"strings"
	"unicode"

	"go.mau.fi/whatsmeow/types"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
)

// Text. WhatsApp's has marks (*bold* _italic_ ~struck~ ```code``` > quotes, lists), which package markup reads and writes, and
// mentions: "@" and the user part of an address, which is also in a list beside the text. The table testdata/text.txt shows
// both directions.

// Clean is a text without what WhatsApp or others choke on: octets that are not UTF-8, control characters but tabs and line ends.
func Clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}

// ReadText converts a text. mentioned are the addresses that its sender says are mentioned; name is what a person calls themself, or "".
func ReadText(text string, mentioned []string, name func(types.JID) string) content.Part {
	text = Clean(text)
	doc := markup.ParseText(text, markup.WhatsApp)
	links := map[string]markup.Node{}
	for _, m := range mentioned {
		jid, ok := user(m)
		if !ok {
			continue
		}
		label := name(jid)
		if label == "" {
			label = "…" // never the address, which may be a phone number
		}
		links["@"+jid.User] = markup.NewLink(PersonID(jid).URL(), markup.Node{Kind: markup.Text, Text: "@" + label})
	}
	if len(links) > 0 {
		doc = link(doc, links)
	}
	if doc.IsPlain() {
		return content.TextPart(text)
	}
	return content.MarkdownPart(doc.Markdown())
}

// link turns the words that are keys of links into them.
func link(nodes []markup.Node, links map[string]markup.Node) []markup.Node {
	var out []markup.Node
	for _, n := range nodes {
		switch {
		case n.Kind == markup.Text:
			out = append(out, linkText(n.Text, links)...)
			continue
		case n.Kind == markup.Link || n.Kind == markup.Code || n.Kind == markup.CodeBlock:
		case n.Children != nil:
			n.Children = link(n.Children, links)
		}
		out = append(out, n)
	}
	return out
}

func linkText(text string, links map[string]markup.Node) []markup.Node {
	var out []markup.Node
	for text != "" {
		at, key := -1, ""
		for k := range links {
			if i := strings.Index(text, k); i >= 0 && (at < 0 || i < at || i == at && len(k) > len(key)) {
				at, key = i, k
			}
		}
		if at < 0 {
			return append(out, markup.Node{Kind: markup.Text, Text: text})
		}
		if at > 0 {
			out = append(out, markup.Node{Kind: markup.Text, Text: text[:at]})
		}
		out = append(out, links[key])
		text = text[at+len(key):]
	}
	return out
}

// WriteText converts a part that is text, and returns whom it mentions. address finds the address of a person who is mentioned, as the
// conversation uses it.
func WriteText(p content.Part, address func(adapter.PersonID) (types.JID, bool)) (text string, mentioned []string) {
	single, ok := p.Body.(content.Single)
	if !ok {
		return "", nil
	}
	if p.MediaType() != "text/markdown" {
		return Clean(string(single.Content)), nil
	}
	doc := markup.Parse(string(single.Content)).MapLinks(func(n markup.Node) markup.Node {
		id, ok := adapter.ParsePerson(n.URL)
		if !ok {
			return n
		}
		jid, ok := address(id)
		if !ok {
			return markup.Node{Kind: markup.Text, Text: n.Label()}
		}
		if s := jid.ToNonAD().String(); !slices.Contains(mentioned, s) {
			mentioned = append(mentioned, s)
		}
		return markup.Node{Kind: markup.Text, Text: "@" + jid.User}
	})
	return Clean(doc.Text(markup.WhatsApp)), mentioned
}

// maxName is how much of an author's name stands before what they say, in characters as people count them.
const maxName = 80

// signed is a text with the name of its author in front; none where the name is empty.
func signed(name, text string) string {
	name = strings.Map(func(r rune) rune {
		if r == '*' { // it would end the bold type
			return -1
		}
		return r
	}, markup.Excerpt(Clean(name), maxName))
	if name = strings.TrimSpace(name); name == "" {
		return text
	}
	sep := " "
	for _, start := range []string{">", "```", "- ", "* ", "1. "} { // what is a mark only where a line begins
		if strings.HasPrefix(text, start) {
			sep = "\n"
		}
	}
	return strings.TrimSpace("*" + name + ":*" + sep + text)
}
