package show

import (
	"mimigate/core/content"
	"mimigate/core/content/markup"
)

// Piece is one native event of a degraded message.
type Piece struct {
	// Part is the index in the message of the part that the event shows (depth first, the body is 0), and Piece counts the events
	// of one part from 0: a text that is too long is several.
	Part, Piece int
	// Body is what to show: a text of at most Limits.TextBytes, a file, a SingleUnit of a file and its caption or of the files of an
	// album, or a thing. A deletion is a null part, a reaction has the disposition Reaction.
	Body content.Part
}

// Pieces returns the native events that show a message that Degrade made, in order. The same message and limits give the same pieces, so
// that an edit finds the events of the version before.
func Pieces(m *content.Message, limits content.Limits) []Piece {
	multi, ok := m.Body.Body.(content.Multi)
	if !ok || multi.Semantics != content.ProcessAll || m.Body.Disposition == content.Reaction {
		return split(m.Body, 0, limits.TextBytes)
	}
	var out []Piece
	index := 1
	for _, p := range multi.Parts {
		out = append(out, split(p, index, limits.TextBytes)...)
		index += count(p)
	}
	return out
}

func split(p content.Part, index, limit int) []Piece {
	single, ok := p.Body.(content.Single)
	if !ok || limit <= 0 || p.Disposition == content.Reaction || !p.IsText() || len(single.Content) <= limit {
		return []Piece{{Part: index, Body: p}}
	}
	var texts []content.Part
	if p.MediaType() == "text/plain" {
		for _, text := range markup.SplitText(string(single.Content), limit) {
			texts = append(texts, part0(p, text))
		}
	} else {
		for _, doc := range p.Doc().Split(limit) {
			texts = append(texts, part0(p, doc.Markdown()))
		}
	}
	out := make([]Piece, len(texts))
	for i, text := range texts {
		out[i] = Piece{Part: index, Piece: i, Body: text}
	}
	return out
}

// part0 is p with another text of the same type.
func part0(p content.Part, text string) content.Part {
	single := p.Body.(content.Single)
	single.Content = []byte(text)
	p.Body = single
	return p
}

// By returns a degraded message with the name of its author in front, for a conversation that shows everybody under one name
// (Limits.Authors is Line): before its first text, or with a file as its caption. Deletions and reactions stay as they are. m stays as it
// is. The pieces are to be made of the result, which has the name counted in.
func By(m *content.Message, name string, limits content.Limits) *content.Message {
	out := *m
	if m.Body.IsNull() || m.Body.Disposition == content.Reaction {
		return &out
	}
	d := degrader{limits: limits}
	events := []content.Part{m.Body}
	if multi, ok := m.Body.Body.(content.Multi); ok && multi.Semantics == content.ProcessAll {
		events = append([]content.Part(nil), multi.Parts...)
	}
	first := events[0]
	unitOf, isUnit := first.Body.(content.Multi)
	switch {
	case first.IsText():
		events[0] = d.named(first, name)
	case isUnit && len(unitOf.Parts) == 2 && unitOf.Parts[1].IsText():
		if named := d.named(unitOf.Parts[1], name); fits(named, limits.CaptionBytes) {
			events[0] = unit([]content.Part{unitOf.Parts[0], named})
			break
		}
		events = append([]content.Part{unitOf.Parts[0], d.named(unitOf.Parts[1], name)}, events[1:]...)
	case isFileKind(first.Kind()) && limits.Of(content.KindCaptioned) == content.Native:
		events[0] = unit([]content.Part{first, d.named(content.TextPart(""), name)})
	default:
		events = append([]content.Part{d.named(content.TextPart(""), name)}, events...)
	}
	out.Body = events[0]
	if len(events) > 1 {
		out.Body = content.Part{Disposition: content.Render, Body: content.Multi{Semantics: content.ProcessAll, Parts: events}}
	}
	return &out
}

func fits(p content.Part, limit int) bool {
	return limit <= 0 || len(p.Body.(content.Single).Content) <= limit
}

// named is a text with a name in front, in bold where the conversation has that.
func (d *degrader) named(p content.Part, name string) content.Part {
	name = markup.Excerpt(name, 80)
	if d.formatted() {
		return part0(content.Part{Disposition: p.Disposition, Language: p.Language, Body: content.Single{ContentType: content.TypeMarkdown}}, p.Doc().By(name).Markdown())
	}
	text := string(p.Body.(content.Single).Content)
	if p.MediaType() == "text/markdown" { // with mentions, for the adapter to find
		return part0(p, p.Doc().By(name).Markdown())
	}
	if text == "" {
		return part0(p, name+":")
	}
	return part0(p, name+": "+text)
}
