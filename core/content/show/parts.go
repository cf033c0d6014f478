package show

import (
	"strings"

	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/phrase"
)

// events degrades a part, whose index in the message is given, to what is shown one native event after the other.
func (d *degrader) events(p content.Part, index int) []content.Part {
	d.part = index
	multi, ok := p.Body.(content.Multi)
	if !ok {
		return d.leaf(p)
	}
	if multi.Semantics == content.ChooseOne {
		return d.chosen(p, multi, index)
	}
	kind := p.Kind()
	if kind == content.KindAlbum && d.level(content.KindAlbum) == content.None {
		return nil
	}
	var events, previews []content.Part
	next := index + 1
	for _, child := range multi.Parts {
		d.part = next
		if child.Disposition == content.Preview && d.level(content.KindLinkPreview) != content.Native {
			previews = append(previews, child) // repeats a link that the text has
		} else {
			events = append(events, d.events(child, next)...)
		}
		next += count(child)
	}
	if len(events) == 0 && len(previews) > 0 && d.limits.Of(content.KindLinkPreview) != content.None {
		return []content.Part{thingLine(d.scene.Language, content.KindLinkPreview, previews[0])}
	}
	d.part = index
	switch {
	case kind == content.KindAlbum && d.limits.Of(content.KindAlbum) == content.Native:
		return d.album(events)
	case kind == content.KindLinkPreview && d.limits.Of(content.KindLinkPreview) == content.Native && len(events) > 1:
		return []content.Part{unit(events)}
	}
	return d.caption(mergeTexts(events))
}

// count returns how many parts p is, itself and all below.
func count(p content.Part) int {
	n := 0
	for range p.Walk() {
		n++
	}
	return n
}

// unit is one native event of several parts.
func unit(parts []content.Part) content.Part {
	return content.Part{Disposition: content.Render, Body: content.Multi{Semantics: content.SingleUnit, Parts: parts}}
}

// chosen degrades the best of a ChooseOne.
func (d *degrader) chosen(p content.Part, multi content.Multi, index int) []content.Part {
	whole := p.Kind()
	if !isTextKind(whole) && d.limits.Of(whole) == content.None {
		d.change(whole, content.None, NotSupported, 0)
		return nil
	}
	best, at, next := -1, 0, index+1
	bestIndex := next
	for i, child := range multi.Parts {
		if score := d.score(child); score > best {
			best, at, bestIndex = score, i, next
		}
		next += count(child)
	}
	choice := multi.Parts[at]
	if !isTextKind(whole) && isTextKind(choice.Kind()) {
		d.change(whole, content.Line, NotSupported, 0)
	}
	return d.events(choice, bestIndex)
}

func isTextKind(k content.Kind) bool { return k == content.KindText || k == content.KindFormatted }

// score ranks the forms of a ChooseOne: what the conversation shows best, then what is in its language, then the sender's order.
func (d *degrader) score(p content.Part) int {
	if multi, ok := p.Body.(content.Multi); ok {
		best := 0
		for _, child := range multi.Parts {
			best = max(best, d.score(child))
		}
		return best
	}
	kind := p.Kind()
	rank := [...]int{content.Native: 7, content.Reduced: 6, content.Line: 2, content.None: 0}[d.limits.Of(kind)]
	switch {
	case kind == content.KindText:
		rank = 4
	case kind == content.KindFormatted && d.formatted():
		rank = 5
	case kind == content.KindFormatted:
		rank = 3
	case kind == content.KindFile: // of a type that nobody knows, mostly
		rank = 1
	}
	return 4*rank + d.speaks(p.Language)
}

// speaks ranks a list of language tags (RFC 5646) for the scene's language.
func (d *degrader) speaks(tags string) int {
	primary := func(tag string) string {
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		return tag
	}
	if tags == "" {
		return 1
	}
	for tag := range strings.SplitSeq(tags, ",") {
		if primary(tag) == primary(d.scene.Language) {
			return 2
		}
	}
	return 0
}

func (d *degrader) leaf(p content.Part) []content.Part {
	if p.Disposition == content.Reaction {
		p.Disposition = content.Render
	}
	switch kind := p.Kind(); kind {
	case content.KindDelete:
		return nil
	case content.KindText, content.KindFormatted:
		return d.text(p)
	case content.KindImage, content.KindVideo, content.KindAudio, content.KindVoice, content.KindFile, content.KindSticker:
		return d.file(p, kind)
	default:
		return d.thing(p, kind)
	}
}

// text makes a text what the conversation can show.
func (d *degrader) text(p content.Part) []content.Part {
	if d.limits.Of(content.KindText) == content.None {
		d.change(content.KindText, content.None, NotSupported, 0)
		return nil
	}
	if p.MediaType() == "text/plain" {
		return []content.Part{p}
	}
	doc := p.Doc()
	mentions := false
	for _, link := range doc.Links() {
		mentions = mentions || link.IsMention()
	}
	if mentions {
		if level := d.level(content.KindMention); level == content.Line || level == content.None {
			mentions = false
			doc = doc.MapLinks(withoutMentions)
			p = part(p, doc)
		}
	}
	if doc.IsPlain() {
		return []content.Part{part(p, doc)}
	}
	if d.formatted() {
		if d.limits.Of(content.KindFormatted) == content.Reduced {
			d.change(content.KindFormatted, content.Reduced, NotSupported, 0)
		}
	} else if !onlyMentions(doc) {
		d.change(content.KindFormatted, content.Line, NotSupported, 0)
		if !mentions { // else the adapter still needs the links
			p.Body = content.TextPart(doc.Text(markup.Plain)).Body
			return []content.Part{p}
		}
	}
	if p.MediaType() != "text/markdown" {
		return []content.Part{part(p, doc)}
	}
	return []content.Part{p}
}

// part is p with another text.
func part(p content.Part, doc markup.Doc) content.Part {
	p.Body = content.DocPart(doc).Body
	return p
}

func withoutMentions(n markup.Node) markup.Node {
	if n.IsMention() {
		return markup.Node{Text: n.Label()}
	}
	return n
}

// onlyMentions reports whether links to people are all the formatting that there is.
func onlyMentions(doc markup.Doc) bool { return doc.MapLinks(withoutMentions).IsPlain() }

// lesser is what a kind of file is shown as at Reduced.
var lesser = map[content.Kind]struct {
	kind content.Kind
	role content.MediaRole
}{
	content.KindSticker: {content.KindImage, content.MediaPlain}, content.KindVoice: {content.KindAudio, content.MediaPlain},
	content.KindImage: {content.KindFile, content.MediaFile}, content.KindVideo: {content.KindFile, content.MediaFile}, content.KindAudio: {content.KindFile, content.MediaFile},
}

// file degrades a picture, sound, film or file.
func (d *degrader) file(p content.Part, kind content.Kind) []content.Part {
	if p.Media.ViewOnce && d.limits.Of(content.KindViewOnce) != content.Native {
		if d.limits.Of(content.KindViewOnce) == content.None {
			d.change(content.KindViewOnce, content.None, SeenOnce, 0)
			return nil
		}
		d.change(content.KindViewOnce, content.Line, SeenOnce, 0)
		return d.fileLine(p, kind, phrase.SeenOnce)
	}
	sent := kind
	level := d.limits.Of(kind)
	for less, ok := lesser[kind]; ok && level == content.Reduced; less, ok = lesser[kind] {
		kind, p.Media.Role = less.kind, less.role
		if kind == content.KindFile {
			p.Disposition = content.Attachment
		}
		level = d.limits.Of(kind)
	}
	size := int64(0)
	if body, ok := p.Body.(content.External); ok && body.Size < 1<<62 {
		size = int64(body.Size)
	} else if ok {
		size = 1 << 62
	} else if body, ok := p.Body.(content.Single); ok {
		size = int64(len(body.Content))
	}
	switch most := d.limits.PartBytes; {
	case level == content.None:
		d.change(sent, content.None, NotSupported, 0)
		return nil
	case level == content.Line:
		d.change(sent, content.Line, NotSupported, 0)
		return d.fileLine(p, sent, phrase.NotHere)
	case most > 0 && size > most:
		d.change(sent, content.Line, TooLarge, most)
		return d.fileLine(p, sent, phrase.TooLarge, phrase.Size(d.scene.Language, uint64(most)))
	case kind != sent || level == content.Reduced:
		d.change(sent, content.Reduced, NotSupported, 0)
	}
	return d.described(p)
}

// described parts a file from its description, which is a caption.
func (d *degrader) described(p content.Part) []content.Part {
	body, ok := p.Body.(content.External)
	if !ok || body.Description == "" {
		return []content.Part{p}
	}
	caption := content.TextPart(body.Description)
	body.Description = ""
	p.Body = body
	return d.caption([]content.Part{p, caption})
}

// fileLine says which file is not shown and why, or where to fetch it. Its description stays.
func (d *degrader) fileLine(p content.Part, kind content.Kind, why phrase.Phrase, args ...any) []content.Part {
	if link := d.scene.Links[d.part]; link != "" && why != phrase.SeenOnce {
		why, args = phrase.Elsewhere, []any{link}
	}
	text := why.In(d.scene.Language, append([]any{fileTitle(d.scene.Language, kind, p)}, args...)...)
	if body, ok := p.Body.(content.External); ok && body.Description != "" {
		text += "\n" + body.Description
	}
	return []content.Part{content.TextPart(text)}
}

// thing degrades what is neither text nor a file.
func (d *degrader) thing(p content.Part, kind content.Kind) []content.Part {
	level := d.limits.Of(kind)
	asFile := kind == content.KindContact || kind == content.KindCalendar
	if level == content.Reduced && (asFile && !d.native(content.KindFile) || kind == content.KindLinkPreview) {
		level = content.Line
	}
	if level != content.Native {
		d.change(kind, level, NotSupported, 0)
	}
	switch {
	case level == content.None:
		return nil
	case level == content.Line:
		return []content.Part{thingLine(d.scene.Language, kind, p)}
	case level == content.Reduced && asFile:
		p.Media.Role, p.Disposition = content.MediaFile, content.Attachment
	}
	return []content.Part{p}
}

// mergeTexts joins texts that follow one another: lines that stand for files would each be a message.
func mergeTexts(events []content.Part) []content.Part {
	var out []content.Part
	for _, p := range events {
		if len(out) == 0 || !p.IsText() || !out[len(out)-1].IsText() {
			out = append(out, p)
			continue
		}
		last := &out[len(out)-1]
		a, b := last.Body.(content.Single), p.Body.(content.Single)
		if last.MediaType() == "text/plain" && p.MediaType() == "text/plain" {
			a.Content = []byte(string(a.Content) + "\n" + string(b.Content))
			last.Body = a
			continue
		}
		last.Body = content.MarkdownPart(markdownOf(*last) + "\n\n" + markdownOf(p)).Body
	}
	return out
}

func markdownOf(p content.Part) string {
	if p.MediaType() == "text/markdown" {
		return string(p.Body.(content.Single).Content)
	}
	return p.Doc().Markdown()
}

// caption joins one file and one text to one event, where the conversation has captions and this is not too long for one.
func (d *degrader) caption(events []content.Part) []content.Part {
	file, text := -1, -1
	for i, p := range events {
		if p.IsText() {
			text = i
		} else {
			file = i
		}
	}
	if len(events) != 2 || file < 0 || text < 0 || !isFileKind(events[file].Kind()) {
		return events
	}
	if d.level(content.KindCaptioned) == content.None {
		return events[file : file+1]
	}
	if d.limits.Of(content.KindCaptioned) != content.Native {
		return events
	}
	length := len(events[text].Body.(content.Single).Content)
	if most := d.limits.CaptionBytes; most > 0 && length > most {
		d.change(content.KindCaptioned, content.Reduced, TooLong, int64(most))
		return events
	}
	return []content.Part{unit([]content.Part{events[file], events[text]})}
}

func isFileKind(k content.Kind) bool {
	return k >= content.KindImage && k <= content.KindFile || k == content.KindSticker
}

// album joins files to albums of as many as the conversation allows; texts and things stand between.
func (d *degrader) album(events []content.Part) []content.Part {
	var out, run []content.Part
	most := d.limits.Parts
	flush := func() {
		if len(run) > 1 {
			out = append(out, unit(run))
		} else {
			out = append(out, run...)
		}
		run = nil
	}
	for _, p := range mergeTexts(events) {
		if !isFileKind(p.Kind()) {
			flush()
			out = append(out, p)
			continue
		}
		if most > 0 && len(run) == most {
			d.change(content.KindAlbum, content.Reduced, TooMany, int64(most))
			flush()
		}
		run = append(run, p)
	}
	flush()
	return out
}
