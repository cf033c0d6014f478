package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mellium.im/xmpp/jid"

	"mimigate/core/adapter"
)

// StanzaError is an error that a server or somebody answered with (RFC 6120 §8.3).
type StanzaError struct {
	Kind string // the type: auth, cancel, continue, modify, wait
	Cond string // the condition: item-not-found, …
	Text string // what whoever made it says about it; may be empty
	To   string // of gone and redirect: the new address
}

// Error names the condition and its text, which servers write for people.
func (e *StanzaError) Error() string {
	if e.Text == "" {
		return e.Cond
	}
	return fmt.Sprintf("%s (%.200s)", e.Cond, e.Text)
}

// ErrorOf returns the error that a stanza of type error bears.
func ErrorOf(n *Node) *StanzaError {
	e := n.Child("", "error")
	out := &StanzaError{Kind: e.Attr("type"), Cond: "undefined-condition"}
	for _, k := range e.Children(NSStanzas, "") {
		if k.Name.Local == "text" {
			out.Text = strings.ToValidUTF8(k.Text, "")
			continue
		}
		out.Cond, out.To = k.Name.Local, strings.TrimPrefix(k.Text, "xmpp:")
	}
	return out
}

// ErrorReply is a stanza's answer of type error.
func ErrorReply(n *Node, kind, cond, text string) *Node {
	e := El("", "error", El(NSStanzas, cond)).With("type", kind)
	if text != "" {
		e.Add(El(NSStanzas, "text").Put(text))
	}
	return El("", n.Name.Local, e).With("type", "error").With("id", n.Attr("id")).With("to", n.Attr("from")).With("from", n.Attr("to"))
}

// IsCond reports whether err is a stanza error of one of these conditions.
func IsCond(err error, conds ...string) bool {
	e, ok := AsError(err)
	return ok && slices.Contains(conds, e.Cond)
}

// AsError returns the stanza error that err wraps.
func AsError(err error) (*StanzaError, bool) {
	var e *StanzaError
	ok := errors.As(err, &e)
	return e, ok
}

// Result is a stanza's answer of type result.
func Result(n, payload *Node) *Node {
	return El("", "iq").With("type", "result").With("id", n.Attr("id")).With("to", n.Attr("from")).With("from", n.Attr("to")).Add(payload)
}

// Form is a data form (XEP-0004) with one field.
func Form(kind, field, value string) *Node {
	return El(NSForm, "x",
		El("", "field", El("", "value").Put(kind)).With("var", "FORM_TYPE").With("type", "hidden"),
		El("", "field", El("", "value").Put(value)).With("var", field)).With("type", "submit")
}

// Bare returns a JID without its resource.
func Bare(j string) string {
	b, _, _ := strings.Cut(j, "/")
	return b
}

// Resource returns a JID's resource: in a room, the nick.
func Resource(j string) string {
	_, r, _ := strings.Cut(j, "/")
	return r
}

// Domain returns a JID's domain.
func Domain(j string) string {
	b := Bare(j)
	return b[strings.LastIndexByte(b, '@')+1:]
}

// ParseJID parses an address that people wrote. Its error wraps adapter.ErrNotFound.
func ParseJID(text string) (jid.JID, error) {
	j, err := jid.Parse(text)
	if err != nil {
		return jid.JID{}, fmt.Errorf("%w: %q is not an XMPP address: %w", adapter.ErrNotFound, text, err)
	}
	return j, nil
}
