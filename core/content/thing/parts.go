package thing

import (
	"strings"
	"time"

	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/phrase"
)

// The parts that hold things, each beside a text that shows it where the thing is not known, and the lines that say what they are.

// Part is a poll and its text. It fails as Marshal does.
func (p Poll) Part() (content.Part, error) {
	data, err := Marshal(p)
	if err != nil {
		return content.Part{}, err
	}
	return beside(content.TypePoll, data, p.Text("")), nil
}

// Part is a vote and its text. The message that it is in replies to the poll.
func (v Vote) Part() (content.Part, error) {
	data, err := Marshal(v)
	if err != nil {
		return content.Part{}, err
	}
	return beside(content.TypeVote, data, content.TextPart(v.Line(""))), nil
}

// Part is a notice and the text that people read.
func (n Notice) Part(text string) (content.Part, error) {
	data, err := Marshal(n)
	if err != nil {
		return content.Part{}, err
	}
	return beside(content.TypeNotice, data, content.TextPart(text)), nil
}

// Part is a place and a link to it. It fails as MarshalPlace does.
func (p Place) Part() (content.Part, error) {
	data, err := MarshalPlace(p)
	if err != nil {
		return content.Part{}, err
	}
	name := p.Name
	if name == "" {
		name = phrase.Place.In("")
	}
	link := markup.NewLink(p.URL(), markup.Node{Text: "📍 " + name})
	return beside(content.TypeLocation, data, content.DocPart(markup.Doc{{Kind: markup.Paragraph, Children: []markup.Node{link}}})), nil
}

func beside(contentType string, data []byte, text content.Part) content.Part {
	single := content.Single{ContentType: contentType, Content: data}
	return content.Alternatives(content.Part{Disposition: content.Render, Body: single}, text)
}

// Text is a poll as formatted text in a language: the question, and its options as a numbered list.
func (p Poll) Text(language string) content.Part {
	question := markup.Node{Kind: markup.Strong, Children: []markup.Node{{Text: phrase.Question.In(language, p.Question)}}}
	list := markup.Node{Kind: markup.List, Ordered: true, Start: 1}
	for _, o := range p.Options {
		line := markup.Node{Kind: markup.Paragraph, Children: []markup.Node{{Text: o.Text}}}
		list.Children = append(list.Children, markup.Node{Kind: markup.Item, Children: []markup.Node{line}})
	}
	return content.DocPart(markup.Doc{{Kind: markup.Paragraph, Children: []markup.Node{{Text: "📊 "}, question}}, list})
}

// Line says what was voted for.
func (v Vote) Line(language string) string {
	var chosen []string
	for _, o := range v.Options {
		chosen = append(chosen, join("", o.Text))
	}
	if len(chosen) == 0 {
		return "🗳 " + phrase.Unvoted.In(language)
	}
	return "🗳 " + phrase.Voted.In(language, strings.Join(chosen, ", "))
}

// Line says where a place is: its name and its geo: URI.
func (p Place) Line() string { return join(", ", p.Name, p.URL()) }

// ContactLine says who a vCard is about, with the first number and address. It is empty where the card tells neither.
func ContactLine(card []byte) string {
	fields := Fields(card, "FN", "TEL", "EMAIL")
	return join(", ", fields["FN"], fields["TEL"], fields["EMAIL"])
}

// DateLine says what, when and where the first event of an iCalendar object is. It is empty where the object does not tell.
func DateLine(object []byte) string {
	fields := Fields(object, "SUMMARY", "DTSTART", "LOCATION")
	when := fields["DTSTART"]
	for _, form := range []struct{ in, out string }{ // RFC 5545 §3.3.4, §3.3.5
		{"20060102T150405Z", "2006-01-02 15:04 UTC"}, {"20060102T150405", "2006-01-02 15:04"}, {"20060102", "2006-01-02"},
	} {
		if t, err := time.Parse(form.in, when); err == nil {
			when = t.Format(form.out)
			break
		}
	}
	return join(", ", fields["SUMMARY"], when, fields["LOCATION"])
}

// join joins what is there, each on one line and of bearable length.
func join(between string, all ...string) string {
	var some []string
	for _, s := range all {
		if s = markup.Excerpt(s, 500); s != "" {
			some = append(some, s)
		}
	}
	return strings.Join(some, between)
}
