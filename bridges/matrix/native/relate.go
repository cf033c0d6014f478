package native

import (
	"bytes"
	"encoding/json"

	"mimigate/core/adapter"
)

// Relate adds the relation to what a message answers and to the thread it is in (Client-Server API, rich replies and threading).
func Relate(c map[string]any, out adapter.Outbound) {
	relation := map[string]any{}
	if to := First(out.InReplyTo); to != "" {
		relation["m.in_reply_to"] = map[string]any{"event_id": to}
	}
	if root := First(out.Thread); root != "" {
		relation["rel_type"], relation["event_id"] = "m.thread", root
		if relation["m.in_reply_to"] == nil {
			relation["is_falling_back"] = true
			relation["m.in_reply_to"] = map[string]any{"event_id": root}
		}
	}
	if len(relation) > 0 {
		c["m.relates_to"] = relation
	}
}

// First returns the native event that a reference is to; "": there is none here.
func First(ref *adapter.Ref) adapter.NativeID {
	if ref == nil || len(ref.Parts) == 0 {
		return ""
	}
	return ref.Parts[0].ID
}

// Replacement is the content of an event that replaces another's, with what old clients show of it.
func Replacement(inner map[string]any, of adapter.NativeID) map[string]any {
	c := map[string]any{}
	for k, v := range inner {
		c[k] = v
	}
	for _, field := range []string{"body", "formatted_body"} {
		if text, ok := c[field].(string); ok {
			c[field] = "* " + text
		}
	}
	if _, ok := c["m.mentions"]; ok {
		c["m.mentions"] = map[string]any{} // those who were mentioned before are not told again
	}
	c["m.new_content"] = inner
	c["m.relates_to"] = map[string]any{"rel_type": "m.replace", "event_id": of}
	return c
}

// maxContent is the most octets of JSON that the content of an event may have: the whole event has at most 65,536, of which
// ids, hashes and signatures take some (Client-Server API, size limits).
const maxContent = 60_000

// Mark writes the marker and the part into an event, and makes it fit.
func (o Out) Mark(m adapter.Marker) {
	o.Content[MarkerField] = m.String()
	o.Content[PartField] = []int{o.Part, o.Piece}
	fit(o.Content)
}

// fit takes out what repeats the text where an event would be too large: first what old clients show of an edit, then the HTML.
func fit(c map[string]any) {
	size := func() int { return jsonSize(c) }
	inner, edit := c["m.new_content"].(map[string]any)
	if edit && size() > maxContent {
		delete(c, "formatted_body")
		delete(c, "format")
		c["body"] = "* …"
	}
	if edit && size() > maxContent {
		delete(inner, "formatted_body")
		delete(inner, "format")
	}
	if size() > maxContent {
		delete(c, "formatted_body")
		delete(c, "format")
	}
}

// jsonSize is how many octets a value has as canonical JSON, which does not escape what HTML would.
func jsonSize(v any) int {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return 0 // sending it will say why
	}
	return b.Len()
}
