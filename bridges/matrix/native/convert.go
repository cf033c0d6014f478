package native

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"maunium.net/go/mautrix/id"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/uri"
)

// Reader reads the messages of events.
type Reader struct {
	Names Names
	// User says whom of our people one of our user ids shows; zero: nobody known.
	User func(id.UserID) uri.User
	// Name is what a user is called in the room.
	Name func(id.UserID) string
}

// Clean is a text of the network as we pass it on: UTF-8, without control characters other than line ends and tabs.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Message is what an event says, be it a text, a file, an edit, a reaction; false: nothing.
func (r Reader) Message(ev Event) (adapter.Message, bool) {
	relation := ev.Content.Object("m.relates_to")
	target := adapter.NativeID(relation.Text("event_id"))
	m := adapter.Message{InReplyTo: adapter.NativeID(relation.Object("m.in_reply_to").Text("event_id"))}
	said := ev.Content
	switch kind := relation.Text("rel_type"); {
	case ev.Kind == "m.reaction":
		key := Clean(relation.Text("key"))
		if kind != "m.annotation" || target == "" || key == "" {
			return m, false
		}
		m.InReplyTo, m.Content = target, content.React(content.MessageID{}, reactionText(key))
		return m, true
	case kind == "m.replace" && target != "":
		m.Replaces, m.InReplyTo = target, ""
		if said = ev.Content.Object("m.new_content"); said == nil {
			return m, false
		}
	case kind == "m.thread" && target != "":
		m.Thread = target
		if relation.Flag("is_falling_back") {
			m.InReplyTo = ""
		}
	}
	body, ok := r.body(ev, said, m.InReplyTo != "")
	if !ok {
		return m, false
	}
	m.Content, m.Pending = content.Of(body), ev.Kind == "m.room.encrypted"
	return m, true
}

// reactionText is the text of a reaction; one that is a picture (its key an mxc URI) is named.
func reactionText(key string) string {
	if strings.HasPrefix(key, "mxc://") {
		return "🖼️"
	}
	return key
}

// body is the content of a message event. said is its content, or that of its new version.
func (r Reader) body(ev Event, said Fields, reply bool) (content.Part, bool) {
	switch ev.Kind {
	case "m.room.encrypted":
		return content.TextPart("[an encrypted message, which cannot be read here]"), true
	case "m.sticker":
		return r.file(said, "m.sticker"), true
	case "m.poll.start", "org.matrix.msc3381.poll.start":
		return poll(said)
	}
	switch kind := said.Text("msgtype"); kind {
	case "":
		return content.Part{}, false
	case "m.image", "m.video", "m.audio", "m.file":
		return r.file(said, kind), true
	case "m.location":
		return location(said), true
	case "m.emote":
		return r.emote(ev, said), true
	case "m.key.verification.request":
		return content.Part{}, false
	}
	return r.textPart(said, reply), true
}

// emote is what a person does ("/me waves"), as others read it: their name and what they do.
func (r Reader) emote(ev Event, said Fields) content.Part {
	return docPart(front(r.doc(said, false), "* "+r.Name(ev.Sender)+" "))
}

// poll is the question of a poll with its answers (MSC3381), as text.
func poll(said Fields) (content.Part, bool) {
	start := said.Object("org.matrix.msc3381.poll.start")
	if start == nil {
		start = said.Object("m.poll")
	}
	text := func(f Fields) string {
		for _, name := range []string{"org.matrix.msc1767.text", "m.text", "body"} {
			if t := Clean(f.Text(name)); t != "" {
				return t
			}
			for _, raw := range f.List(name) {
				var one Fields
				if json.Unmarshal(raw, &one) == nil && one.Text("body") != "" {
					return Clean(one.Text("body"))
				}
			}
		}
		return ""
	}
	question := text(start.Object("question"))
	if question == "" {
		return content.Part{}, false
	}
	lines := []string{"📊 " + question}
	for i, raw := range start.List("answers") {
		var one Fields
		if json.Unmarshal(raw, &one) == nil {
			lines = append(lines, fmt.Sprintf("%d. %s", i+1, text(one)))
		}
	}
	return content.TextPart(strings.Join(lines, "\n")), true
}

// file is a file, with its caption if it has one (Client-Server API v1.10: body is a caption where filename differs from it).
func (r Reader) file(said Fields, kind string) content.Part {
	info := said.Object("info")
	name, caption := Clean(said.Text("filename")), Clean(said.Text("body"))
	if name == "" {
		name, caption = caption, ""
	}
	if caption == name {
		caption = ""
	}
	blob := Blob(said.Text("url"))
	if blob == "" {
		if name == "" {
			name = "a file"
		}
		return content.TextPart("[" + name + ": a file that cannot be fetched]")
	}
	file := content.External{ContentType: mediaType(info.Text("mimetype"), kind), URL: blob.URL(), Filename: name, Size: natural(info.Number("size"), math.MaxInt64)}
	if kind == "m.sticker" {
		file.Filename, file.Description = "", name
	}
	media := content.Media{
		Role: role(said, info, kind), Width: uint32(natural(info.Number("w"), 1<<20)), Height: uint32(natural(info.Number("h"), 1<<20)),
		Duration: time.Duration(natural(info.Number("duration"), 1<<40)) * time.Millisecond,
	}
	part := content.FilePart(file, media)
	if caption == "" {
		return part
	}
	return content.Captioned(part, r.textPart(said, false))
}

// mediaType is the type that an event claims, or else the most likely one for its kind.
func mediaType(claimed, kind string) string {
	claimed = Clean(claimed)
	if major, _, ok := strings.Cut(claimed, "/"); ok && len(claimed) <= 255 && (kind == "m.file" || "m."+major == kind || kind == "m.sticker" && major == "image") {
		return claimed
	}
	switch kind {
	case "m.image", "m.sticker":
		return "image/png"
	case "m.video":
		return "video/mp4"
	case "m.audio":
		return "audio/ogg"
	}
	return "application/octet-stream"
}

func role(said, info Fields, kind string) content.MediaRole {
	switch {
	case kind == "m.file":
		return content.MediaFile
	case kind == "m.sticker":
		return content.MediaSticker
	case kind == "m.audio" && (said.Object("org.matrix.msc3245.voice") != nil || said.Object("m.voice") != nil):
		return content.MediaVoice
	case kind == "m.video" && info.Flag("fi.mau.gif"):
		return content.MediaLoop
	}
	return content.MediaPlain
}

// natural is a number that should be a whole one between 0 and most.
func natural(f float64, most uint64) uint64 {
	if !(f > 0) || f > float64(most) {
		return 0
	}
	return uint64(f)
}

// location is a place: as GeoJSON, and as text with a geo: link.
func location(said Fields) content.Part {
	geo, body := said.Text("geo_uri"), Clean(said.Text("body"))
	lat, lon, ok := parseGeo(geo)
	if !ok {
		return content.TextPart(body)
	}
	point := fmt.Sprintf(`{"type":"Point","coordinates":[%s,%s]}`, number(lon), number(lat))
	text := fmt.Sprintf("geo:%s,%s", number(lat), number(lon))
	if body != "" && !strings.Contains(body, text) {
		text = body + " " + text
	}
	return content.Alternatives(
		content.Part{Disposition: content.Render, Body: content.Single{ContentType: content.TypeLocation, Content: []byte(point)}},
		content.TextPart(text))
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// parseGeo reads a geo URI (RFC 5870): latitude and longitude.
func parseGeo(s string) (lat, lon float64, ok bool) {
	s, ok = strings.CutPrefix(s, "geo:")
	if !ok {
		return 0, 0, false
	}
	s, _, _ = strings.Cut(s, ";")
	parts := strings.Split(s, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, 0, false
	}
	lat, err := strconv.ParseFloat(parts[0], 64)
	lon, err2 := strconv.ParseFloat(parts[1], 64)
	return lat, lon, err == nil && err2 == nil && math.Abs(lat) <= 90 && math.Abs(lon) <= 180
}

// Writer makes events of messages.
type Writer struct {
	// Author stands in front of each text; empty: whoever sends it says who it is from.
	Author string
	// Notice makes texts notices, which other bots do not answer.
	Notice bool
	// Mentioned returns which user of the homeserver shows one of our people in the room; empty: none does.
	Mentioned func(uri.User) id.UserID
}

// Out is an event to send.
type Out struct {
	Part, Piece int            // what it shows, see adapter.NativePart
	Kind        string         // event type
	Content     map[string]any // without relations and marker
}

// Key is the part that an event shows.
func (o Out) Key() [2]int { return [2]int{o.Part, o.Piece} }

// writing is the state of a Writer on the way through a message.
type writing struct {
	Writer
	next   int // index of the next part
	events []Out
}

// Body returns the events of a message's body.
func (w Writer) Body(body content.Part) []Out {
	on := &writing{Writer: w}
	on.part(body)
	return on.events
}

// part writes a part and all below it.
func (w *writing) part(p content.Part) {
	index := w.next
	w.next++
	switch body := p.Body.(type) {
	case content.Single:
		w.single(index, p, body)
	case content.External:
		w.external(index, p, body, nil)
	case content.Multi:
		w.multi(body)
	}
}

func (w *writing) multi(m content.Multi) {
	first := w.next
	if m.Semantics == content.SingleUnit && len(m.Parts) == 2 && m.Parts[1].IsText() {
		if file, ok := m.Parts[0].Body.(content.External); ok && isBlob(file) {
			w.external(first, m.Parts[0], file, &m.Parts[1])
			w.next = first + 2
			return
		}
	}
	choice := -1
	if m.Semantics == content.ChooseOne {
		choice = choose(m.Parts)
	}
	for i, child := range m.Parts {
		if choice >= 0 && i != choice {
			w.skip(child)
			continue
		}
		w.part(child)
	}
}

// skip counts the parts that are not shown.
func (w *writing) skip(p content.Part) {
	for range p.Walk() {
		w.next++
	}
}

// choose returns which of several forms of the same we can show best.
func choose(parts []content.Part) int {
	text := -1
	for i, p := range parts {
		switch p.Kind() {
		case content.KindLocation, content.KindImage, content.KindVideo, content.KindAudio, content.KindVoice, content.KindSticker, content.KindFile:
			if file, ok := p.Body.(content.External); ok && isBlob(file) {
				return i
			}
			if _, _, ok := geoJSON(p); ok {
				return i
			}
		case content.KindFormatted:
			if text < 0 || parts[text].Kind() != content.KindFormatted {
				text = i
			}
		case content.KindText:
			if text < 0 {
				text = i
			}
		}
	}
	return max(text, 0)
}

func isBlob(file content.External) bool {
	_, ok := adapter.ParseBlob(file.URL)
	return ok
}

// single writes a part that is in the message: text, or a place.
func (w *writing) single(index int, p content.Part, body content.Single) {
	if lat, lon, ok := geoJSON(p); ok {
		geo := fmt.Sprintf("geo:%s,%s", number(lat), number(lon))
		w.add(index, 0, "m.room.message", map[string]any{"msgtype": "m.location", "body": w.named(geo), "geo_uri": geo})
		return
	}
	if !p.IsText() {
		w.text(index, "["+p.MediaType()+"]", false)
		return
	}
	w.text(index, string(body.Content), p.MediaType() == "text/markdown")
}

// geoJSON reads a place (RFC 7946 §3.1.2).
func geoJSON(p content.Part) (lat, lon float64, ok bool) {
	single, isSingle := p.Body.(content.Single)
	if !isSingle || p.Kind() != content.KindLocation {
		return 0, 0, false
	}
	var point struct {
		Type        string
		Coordinates []float64
		Geometry    *struct {
			Type        string
			Coordinates []float64
		}
	}
	if json.Unmarshal(single.Content, &point) != nil {
		return 0, 0, false
	}
	if g := point.Geometry; g != nil {
		point.Type, point.Coordinates = g.Type, g.Coordinates
	}
	if point.Type != "Point" || len(point.Coordinates) < 2 {
		return 0, 0, false
	}
	lon, lat = point.Coordinates[0], point.Coordinates[1]
	return lat, lon, math.Abs(lat) <= 90 && math.Abs(lon) <= 180
}

// text writes a text as one event, or several if it is long.
func (w *writing) text(index int, text string, markdown bool) {
	kind := "m.text"
	if w.Notice {
		kind = "m.notice"
	}
	for i, t := range w.texts(text, markdown) {
		w.add(index, i, "m.room.message", t.fill(map[string]any{"msgtype": kind}))
	}
}

// external writes a file of this homeserver with its caption, or a link to anything else.
func (w *writing) external(index int, p content.Part, file content.External, caption *content.Part) {
	blob, ok := adapter.ParseBlob(file.URL)
	if !ok {
		name := file.Description
		if name == "" {
			name = file.Filename
		}
		w.text(index, strings.TrimSpace(name+" "+file.URL), false)
		return
	}
	kind, name := p.Kind(), file.Filename
	info := map[string]any{"mimetype": file.ContentType}
	for field, value := range map[string]uint64{"size": file.Size, "w": uint64(p.Media.Width), "h": uint64(p.Media.Height), "duration": uint64(p.Media.Duration.Milliseconds())} {
		if value > 0 {
			info[field] = value
		}
	}
	c := map[string]any{"url": string(blob), "info": info}
	if kind == content.KindSticker && w.Author != "" {
		kind, name = content.KindImage, orElse(name, file.Description) // a sticker has no room for a name
	}
	if kind == content.KindSticker {
		c["body"] = orElse(file.Description, orElse(name, "sticker"))
		w.add(index, 0, "m.sticker", c)
		return
	}
	c["msgtype"] = map[content.Kind]string{content.KindImage: "m.image", content.KindVideo: "m.video", content.KindAudio: "m.audio", content.KindVoice: "m.audio"}[kind]
	if c["msgtype"] == "" {
		c["msgtype"] = "m.file"
	}
	if kind == content.KindVoice {
		c["org.matrix.msc3245.voice"] = map[string]any{}
		c["org.matrix.msc1767.audio"] = map[string]any{"duration": p.Media.Duration.Milliseconds()}
	}
	if p.Media.Role == content.MediaLoop {
		info["fi.mau.gif"], info["is_animated"] = true, true
	}
	c["filename"] = orElse(name, "file")
	c["body"] = c["filename"]
	var captions []rendered
	switch {
	case caption != nil:
		single, _ := caption.Body.(content.Single)
		captions = w.texts(string(single.Content), caption.MediaType() == "text/markdown")
	case file.Description != "":
		captions = w.texts(file.Description, false)
	case w.Author != "":
		captions = w.texts(orElse(name, "file"), false)
	}
	if len(captions) > 0 {
		captions[0].fill(c)
	}
	w.add(index, 0, "m.room.message", c)
	for i, more := range captions[min(1, len(captions)):] {
		w.add(index, i+1, "m.room.message", more.fill(map[string]any{"msgtype": "m.text"}))
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// named is a text with its author, where that stands in the text.
func (w *writing) named(text string) string {
	if w.Author == "" {
		return text
	}
	return w.Author + ": " + text
}

func (w *writing) add(part, piece int, kind string, c map[string]any) {
	w.events = append(w.events, Out{Part: part, Piece: piece, Kind: kind, Content: c})
}

// rendered is a text as Matrix shows it.
type rendered struct {
	plain, html string // html: empty if it says no more than plain
	mentions    []id.UserID
}

// fill writes the text into the content of an event.
func (t rendered) fill(c map[string]any) map[string]any {
	c["body"] = t.plain
	if t.html != "" {
		c["format"], c["formatted_body"] = formatHTML, t.html
	}
	mentions := map[string]any{} // present: nobody is notified because their name happens to stand in the text
	if len(t.mentions) > 0 {
		mentions["user_ids"] = t.mentions
	}
	c["m.mentions"] = mentions
	return c
}
