package loopback

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// The network's text is plain, or marked up: Markdown as ours is, but for mentions, which are <@user>. The table
// testdata/convert.txt shows both directions.

var (
	nativeMention = regexp.MustCompile(`<@([^<>\s]+)>`)
	mentionLink   = regexp.MustCompile(`\[((?:[^\[\]\\]|\\.)*)\]\(((?:person|mimi):[^()\s]+)\)`)
)

// toContent turns a text of the network into a message.
func (a *Adapter) toContent(text string, markup bool) *content.Message {
	if !markup {
		return content.Text(text)
	}
	return content.Markdown(nativeMention.ReplaceAllStringFunc(text, func(m string) string {
		id := nativeMention.FindStringSubmatch(m)[1]
		if u, ours := a.ours(id); ours && !u.IsZero() {
			return "[@" + escape(u.Segments()[0]) + "](" + u.String() + ")"
		}
		return "[@" + escape(id) + "](" + adapter.PersonID(id).URL() + ")"
	}))
}

// escape keeps a name from being taken for Markdown.
func escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `*`, `\*`, `_`, `\_`, "`", "\\`", `~`, `\~`, `<`, `\<`).Replace(name)
}

// nativeText is a text as the network takes it.
type nativeText struct {
	text   string
	markup bool
}

// toNative turns one part of a message into a text of the network.
func (a *Adapter) toNative(p content.Part) (nativeText, error) {
	single, ok := p.Body.(content.Single)
	if !ok || !p.IsText() {
		return nativeText{}, adapter.Refused(fmt.Errorf("a part of type %q, which Limits do not offer", p.MediaType()))
	}
	text := clean(string(single.Content))
	if p.MediaType() != "text/markdown" {
		return nativeText{text: text}, nil
	}
	return nativeText{markup: true, text: mentionLink.ReplaceAllStringFunc(text, func(m string) string {
		link := mentionLink.FindStringSubmatch(m)
		if id, ok := adapter.ParsePerson(link[2]); ok && nativeMention.MatchString("<@"+user(id)+">") {
			return "<@" + user(id) + ">"
		}
		if a.config.Mode == modeNames && strings.HasPrefix(link[2], "mimi:") {
			return "<@" + a.config.User + "/" + link[2] + ">"
		}
		return link[1] // a mention of nobody here
	})}, nil
}

// clean replaces what the network does not take: control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, strings.ReplaceAll(text, "\r\n", "\n"))
}
