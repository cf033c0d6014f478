package adaptertest

import (
	"fmt"
	"strings"
	"unicode"

	"mimigate/core/adapter"
	"mimigate/core/content"
)

// textOf is the text of a body: of all its parts, of a ChooseOne the last text, without Markdown's escapes.
func textOf(p content.Part) string {
	switch body := p.Body.(type) {
	case content.Single:
		switch {
		case p.MediaType() == "text/markdown":
			return unescape(string(body.Content))
		case p.IsText():
			return string(body.Content)
		}
	case content.Multi:
		var texts []string
		for _, child := range body.Parts {
			if t := textOf(child); t != "" {
				texts = append(texts, t)
			}
		}
		if len(texts) > 0 && body.Semantics == content.ChooseOne {
			return texts[len(texts)-1]
		}
		return strings.Join(texts, "\n")
	}
	return ""
}

// unescape takes out the backslashes of GFM-MIMI before punctuation, and its &lt; for the < of a tag.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] < 0x80 && !isAlphanumeric(s[i+1]) && s[i+1] > ' ' {
			i++
		}
		b.WriteByte(s[i])
	}
	return strings.ReplaceAll(b.String(), "&lt;", "<")
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// plain leaves out what some network cannot carry: control characters other than line ends, which may also have become U+FFFD,
// spaces or nothing, and spaces at the ends. All else of a text must arrive as it was.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), r == '\uFFFD', r >= '\u2400' && r <= '\u2421', r&0xFFFE == 0xFFFE, r >= 0xFDD0 && r <= 0xFDEF:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

func excerpt(p content.Part) string {
	runes := []rune(textOf(p))
	return string(runes[:min(len(runes), 200)])
}

// text matches the event of a person's new message with this text.
func text(want string) func(adapter.Event) bool {
	return func(ev adapter.Event) bool {
		m, ok := ev.Body.(adapter.Message)
		return ok && m.Content != nil && m.Replaces == "" && plain(textOf(m.Content.Body)) == plain(want)
	}
}

// says matches a message of that author with that text, as Limits say that authors are shown.
func (x *session) says(who adapter.Author, want string) func(Seen) bool {
	authors := x.Limits(x.conv).Authors
	return func(m Seen) bool {
		got, want := plain(m.Text), plain(want)
		if m.Deleted || !strings.HasSuffix(got, want) {
			return false
		}
		before := strings.TrimSuffix(got, want)
		switch {
		case who.IsGateway():
			return before == ""
		case authors == content.Native:
			return before == "" && strings.Contains(m.Name, who.Name)
		case authors == content.Reduced && before == "":
			return strings.Contains(m.Name, who.Name)
		}
		return strings.Contains(before, who.Name)
	}
}

func brief(messages []Seen) string {
	var lines []string
	for _, m := range messages[max(0, len(messages)-12):] {
		lines = append(lines, fmt.Sprintf("%s: %.60q %v%v%v", m.Name, m.Text, m.Reactions, tick(m.Edited, " edited"), tick(m.Deleted, " deleted")))
	}
	return fmt.Sprintf("%d messages:\n\t%s", len(messages), strings.Join(lines, "\n\t"))
}

func briefEvents(events []adapter.Event) string {
	var lines []string
	for _, ev := range events[max(0, len(events)-12):] {
		line := fmt.Sprintf("%s %q by %q own=%v %T", ev.Conversation, ev.ID, ev.Sender.IDs, ev.Own, ev.Body)
		switch body := ev.Body.(type) {
		case adapter.Message:
			line += fmt.Sprintf(" %.60q replaces=%q to=%q", textOf(body.Content.Body), body.Replaces, body.InReplyTo)
		default:
			line += fmt.Sprintf(" %+v", body)
		}
		lines = append(lines, line)
	}
	return fmt.Sprintf("%d events:\n\t%s", len(events), strings.Join(lines, "\n\t"))
}

func tick(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}
