package talk

import (
	"mime"
	"net/url"
	"path"
	"strings"

	"mimigate/bridges/xmpp/wire"
	"mimigate/core/adapter"
	"mimigate/core/content"
)

// Event converts a message of any kind. corrects is what an edit replaces, as its sender named it.
func (p Place) Event(n *wire.Node) (ev adapter.Event, corrects string, ok bool) {
	if m := n.Child(wire.NSMarker, "marker"); m != nil {
		ev.Marker, _ = adapter.ParseMarker(m.Text) // a marker that is none is no marker
	}
	if id := retracted(n); id != "" {
		ev.Body = adapter.Message{Content: content.Delete(content.MessageID{}), Replaces: p.Ref(id)}
		return ev, "", true
	}
	if set := n.Child(wire.NSReactions, "reactions"); set != nil && set.Attr("id") != "" {
		ev.Body = adapter.Reactions{To: p.Ref(set.Attr("id")), Emoji: emoji(set)}
		return ev, "", true
	}
	if body := receiptOf(n, p.Ref); body != nil {
		ev.Body = body
		return ev, "", true
	}
	m, ok := p.said(n)
	if !ok {
		state := typingOf(n)
		ev.Body = state
		return ev, "", state != nil
	}
	msg := adapter.Message{Content: m}
	if reply := n.Child(wire.NSReply, "reply").Attr("id"); reply != "" {
		msg.InReplyTo = p.Ref(reply)
	}
	if id := n.Child(wire.NSCorrect, "replace").Attr("id"); id != "" {
		msg.InReplyTo = "" // what an edit answers is what its first version answers
		corrects = id
		msg.Replaces = Given(id)
	}
	ev.Body = msg
	return ev, corrects, true
}

// maxReactions bounds the emoji of a reaction, and each of them.
const (
	maxReactions  = 32
	maxEmojiBytes = 128
)

func emoji(set *wire.Node) []string {
	out := []string{}
	for _, k := range set.Children("", "reaction") {
		if e := strings.TrimSpace(strings.ToValidUTF8(k.Text, "")); e != "" && len(e) <= maxEmojiBytes && len(out) < maxReactions {
			out = append(out, e)
		}
	}
	return out
}

// Moderation returns the element that says that a moderator retracted a message, in either version of XEP-0425; or nil.
func Moderation(n *wire.Node) *wire.Node {
	if m := n.Child(wire.NSRetract, "retract").Child(wire.NSModerate, "moderated"); m != nil {
		return m
	}
	return n.Child(wire.NSFasten, "apply-to").Child(wire.NSModerate0, "moderated")
}

// retracted returns the id of the message that a stanza takes back, in either version of XEP-0424 and XEP-0425. A room's word is
// needed where a moderator does.
func retracted(n *wire.Node) string {
	apply := n.Child(wire.NSFasten, "apply-to")
	if Moderation(n) != nil && wire.Resource(n.Attr("from")) != "" {
		return ""
	}
	if id := n.Child(wire.NSRetract, "retract").Attr("id"); id != "" {
		return id
	}
	if apply.Child(wire.NSRetract0, "retract") != nil || apply.Child(wire.NSModerate0, "moderated").Child(wire.NSRetract0, "retract") != nil {
		return apply.Attr("id")
	}
	return ""
}

// receiptOf converts receipts (XEP-0184) and markers (XEP-0333); nil: it is none.
func receiptOf(n *wire.Node, ref func(string) adapter.NativeID) adapter.Body {
	if id := n.Child(wire.NSReceipts, "received").Attr("id"); id != "" {
		return adapter.Receipt{IDs: []adapter.NativeID{ref(id)}, Status: adapter.Delivered}
	}
	for _, kind := range []string{"displayed", "acknowledged"} {
		if id := n.Child(wire.NSMarkers, kind).Attr("id"); id != "" {
			return adapter.Receipt{IDs: []adapter.NativeID{ref(id)}, UpTo: true, Status: adapter.Read}
		}
	}
	return nil
}

// typingOf converts a chat state (XEP-0085); nil: it is none.
func typingOf(n *wire.Node) adapter.Body {
	state := n.Child(wire.NSStates, "")
	if state == nil {
		return nil
	}
	return adapter.Typing{Active: state.Name.Local == "composing"}
}

// said converts what a message says; false: nothing.
func (p Place) said(n *wire.Node) (*content.Message, bool) {
	if e := n.Child(wire.NSEncryption, "encryption"); e != nil {
		name := e.Attr("name")
		if name == "" {
			name = "unknown"
		}
		return content.Text("[a message encrypted with " + strings.ToValidUTF8(name, "") + ", which this gateway cannot read]"), true
	}
	body, ok := bodyOf(n)
	file, link := attached(n)
	switch {
	case link != "" && (!ok || strings.TrimSpace(body) == link || strings.TrimSpace(body) == ""):
		return content.Of(file), true
	case link != "":
		return content.Of(content.Captioned(file, p.textPart(n, body))), true
	case !ok || body == "":
		return nil, false
	}
	return content.Of(p.textPart(n, body)), true
}

// attached converts a file's address (XEP-0066).
func attached(n *wire.Node) (content.Part, string) {
	x := n.Child(wire.NSOOB, "x")
	link := strings.TrimSpace(x.Child("", "url").Chars())
	u, err := url.Parse(link)
	if link == "" || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(link) > 4096 {
		return content.Part{}, ""
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		name = ""
	}
	kind, _, _ := strings.Cut(mime.TypeByExtension(strings.ToLower(path.Ext(name))), ";")
	if kind == "" {
		kind = "application/octet-stream"
	}
	return content.FilePart(content.External{ContentType: kind, URL: u.String(), Filename: strings.ToValidUTF8(name, ""),
		Description: strings.ToValidUTF8(x.Child("", "desc").Chars(), "")}, content.Media{}), u.String()
}

// bodyOf returns the text of a message without what stands there only for clients that do not know what we do (XEP-0428).
func bodyOf(n *wire.Node) (string, bool) {
	body := n.Child("", "body")
	if body == nil {
		return "", false
	}
	text := strings.ToValidUTF8(body.Text, "\uFFFD")
	cut := map[int]bool{} // runes to leave out
	length := len([]rune(text))
	for _, f := range append(n.Children(wire.NSFallback, "fallback"), n.Children(wire.NSFallback0, "fallback")...) {
		switch f.Attr("for") {
		case wire.NSReply, wire.NSReactions, wire.NSRetract, wire.NSOOB:
		default:
			continue
		}
		part := f.Child("", "body")
		from, to := 0, length
		if part != nil && part.Attr("start") != "" {
			from, to = wire.Number(part.Attr("start")), wire.Number(part.Attr("end"))
		} else if f.Attr("for") == wire.NSReply {
			continue // a reply's words are never all of them fallback
		}
		if from < 0 || to > length || from > to {
			continue
		}
		for i := from; i < to; i++ {
			cut[i] = true
		}
	}
	if len(cut) == 0 {
		return text, true
	}
	var b strings.Builder
	i := 0
	for _, c := range text {
		if !cut[i] {
			b.WriteRune(c)
		}
		i++
	}
	return b.String(), true
}
