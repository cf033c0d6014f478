package xmpp

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The namespaces that are used more than once or need a name.
const (
	nsDelay      = "urn:xmpp:delay"
	nsMUC        = "http://jabber.org/protocol/muc"
	nsMUCUser    = "http://jabber.org/protocol/muc#user"
	nsMUCAdmin   = "http://jabber.org/protocol/muc#admin"
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info"
	nsDiscoItems = "http://jabber.org/protocol/disco#items"
	nsCommands   = "http://jabber.org/protocol/commands"
	nsForm       = "jabber:x:data"
	nsPing       = "urn:xmpp:ping"
	nsMAM        = "urn:xmpp:mam:2"
	nsRSM        = "http://jabber.org/protocol/rsm"
	nsForward    = "urn:xmpp:forward:0"
	nsStanzaID   = "urn:xmpp:sid:0"
	nsOccupantID = "urn:xmpp:occupant-id:0"
	nsCorrect    = "urn:xmpp:message-correct:0"
	nsRetract    = "urn:xmpp:message-retract:1"
	nsRetract0   = "urn:xmpp:message-retract:0"
	nsModerate   = "urn:xmpp:message-moderate:1"
	nsModerate0  = "urn:xmpp:message-moderate:0"
	nsFasten     = "urn:xmpp:fasten:0"
	nsReactions  = "urn:xmpp:reactions:0"
	nsReply      = "urn:xmpp:reply:0"
	nsFallback   = "urn:xmpp:fallback:0"
	nsFallback0  = "urn:xmpp:feature-fallback:0"
	nsHints      = "urn:xmpp:hints"
	nsReceipts   = "urn:xmpp:receipts"
	nsMarkers    = "urn:xmpp:chat-markers:0"
	nsStates     = "http://jabber.org/protocol/chatstates"
	nsOOB        = "jabber:x:oob"
	nsConference = "jabber:x:conference"
	nsStyling    = "urn:xmpp:styling:0"
	nsEncryption = "urn:xmpp:eme:0"
	nsStanzas    = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsVersion    = "jabber:iq:version"
	nsMarker     = "urn:mimigate:marker:1" // ours: adapter.Marker as text
)

// Bounds of a stanza that we look at; the servers have their own, mostly 256 or 512 KiB.
const (
	maxStanza = 8 << 20 // octets on the wire, above which the connection is given up
	maxNodes  = 20_000
	maxDepth  = 64
)

// errOdd: a stanza beyond maxNodes or maxDepth. It is passed over.
var errOdd = errors.New("stanza with too many elements")

// node is an XML element, read or to be written. A name without a namespace has that of its parent.
type node struct {
	name  xml.Name
	attrs []xml.Attr
	text  string // the character data directly in it
	kids  []*node
}

// el makes an element.
func el(space, local string, kids ...*node) *node {
	return &node{name: xml.Name{Space: space, Local: local}, kids: kids}
}

// with sets an attribute, unless it is empty.
func (n *node) with(name, value string) *node {
	if value != "" {
		n.attrs = append(n.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	}
	return n
}

// set sets an attribute anew.
func (n *node) set(name, value string) {
	for i, a := range n.attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			n.attrs[i].Value = value
			return
		}
	}
	n.with(name, value)
}

// put sets the character data.
func (n *node) put(text string) *node {
	n.text = text
	return n
}

// add appends children; nil is none.
func (n *node) add(kids ...*node) *node {
	for _, k := range kids {
		if k != nil {
			n.kids = append(n.kids, k)
		}
	}
	return n
}

// attr returns an attribute's value, or "". n may be nil.
func (n *node) attr(name string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// child returns the first child of that name, or nil. An empty space means that of n, an empty local name any. n may be nil.
func (n *node) child(space, local string) *node {
	for _, k := range n.children(space, local) {
		return k
	}
	return nil
}

// children returns all children of that name, as child does.
func (n *node) children(space, local string) []*node {
	if n == nil {
		return nil
	}
	if space == "" {
		space = n.name.Space
	}
	var out []*node
	for _, k := range n.kids {
		if k.name.Space == space && (local == "" || k.name.Local == local) {
			out = append(out, k)
		}
	}
	return out
}

// chars returns the character data; "" for nil.
func (n *node) chars() string {
	if n == nil {
		return ""
	}
	return n.text
}

// tokens appends the element to out.
func (n *node) tokens(out []xml.Token) []xml.Token {
	start := xml.StartElement{Name: n.name}
	for _, a := range n.attrs {
		start.Attr = append(start.Attr, xml.Attr{Name: a.Name, Value: xmlText(a.Value)})
	}
	out = append(out, start)
	if n.text != "" {
		out = append(out, xml.CharData(xmlText(n.text)))
	}
	for _, k := range n.kids {
		out = k.tokens(out)
	}
	return append(out, start.End())
}

// tokenList reads tokens from a list.
type tokenList []xml.Token

// Token implements xml.TokenReader.
func (l *tokenList) Token() (xml.Token, error) {
	if len(*l) == 0 {
		return nil, io.EOF
	}
	t := (*l)[0]
	*l = (*l)[1:]
	return t, nil
}

// reader returns the element as a stream of tokens.
func (n *node) reader() xml.TokenReader {
	l := tokenList(n.tokens(nil))
	return &l
}

// readNode reads the rest of an element whose start has been read. After errOdd the rest has not been read.
func readNode(r xml.TokenReader, start xml.StartElement) (*node, error) {
	root := startNode(start)
	path := []*node{root}
	for count := 0; len(path) > 0; {
		tok, err := r.Token()
		if tok == nil && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		top := path[len(path)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			if count++; count > maxNodes || len(path) >= maxDepth {
				return nil, errOdd
			}
			kid := startNode(tok)
			top.kids = append(top.kids, kid)
			path = append(path, kid)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if top.text == "" {
				top.text = string(tok)
			} else {
				top.text += string(tok)
			}
		}
	}
	return root, nil
}

func startNode(start xml.StartElement) *node {
	n := &node{name: start.Name}
	for _, a := range start.Attr {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			n.attrs = append(n.attrs, a)
		}
	}
	return n
}

// xmlText leaves out what XML 1.0 (§2.2) cannot carry, and makes line ends what XMPP's are.
func xmlText(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n',
			r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD && r != utf8.RuneError, r >= 0x10000:
			return r
		case r == utf8.RuneError:
			return r
		}
		return -1
	}, s)
}

// escapedLen is about how many octets text takes on the wire.
func escapedLen(s string) int {
	return len(s) + 4*(strings.Count(s, "&")+strings.Count(s, "<")+strings.Count(s, ">")+strings.Count(s, `"`)+strings.Count(s, "'"))
}

// stanzaError is an error that a server or somebody answered with (RFC 6120 §8.3).
type stanzaError struct {
	kind string // the type: auth, cancel, continue, modify, wait
	cond string // the condition: item-not-found, …
	text string // what whoever made it says about it; may be empty
	to   string // of gone and redirect: the new address
}

// Error names the condition and its text, which servers write for people.
func (e *stanzaError) Error() string {
	if e.text == "" {
		return e.cond
	}
	return fmt.Sprintf("%s (%.200s)", e.cond, e.text)
}

// errorOf returns the error that a stanza of type error bears.
func errorOf(n *node) *stanzaError {
	e := n.child("", "error")
	out := &stanzaError{kind: e.attr("type"), cond: "undefined-condition"}
	for _, k := range e.children(nsStanzas, "") {
		if k.name.Local == "text" {
			out.text = strings.ToValidUTF8(k.text, "")
			continue
		}
		out.cond, out.to = k.name.Local, strings.TrimPrefix(k.text, "xmpp:")
	}
	return out
}

// errorReply is a stanza's answer of type error.
func errorReply(n *node, kind, cond, text string) *node {
	e := el("", "error", el(nsStanzas, cond)).with("type", kind)
	if text != "" {
		e.add(el(nsStanzas, "text").put(text))
	}
	return el("", n.name.Local, e).with("type", "error").with("id", n.attr("id")).with("to", n.attr("from")).with("from", n.attr("to"))
}

// isCond reports whether err is a stanza error of one of these conditions.
func isCond(err error, conds ...string) bool {
	var e *stanzaError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range conds {
		if e.cond == c {
			return true
		}
	}
	return false
}

// stamp reads a time of XEP-0082; zero if there is none.
func stamp(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// number reads a number that is not negative; −1 if it is none.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
