// Package wire is XMPP as it is on the wire: elements and stanzas, addresses, and the one stream that carries them. It knows nothing
// of rooms, chats or content.
package wire

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// The namespaces that are used more than once or need a name.
const (
	NSDelay      = "urn:xmpp:delay"
	NSMUC        = "http://jabber.org/protocol/muc"
	NSMUCUser    = "http://jabber.org/protocol/muc#user"
	NSMUCAdmin   = "http://jabber.org/protocol/muc#admin"
	NSDiscoInfo  = "http://jabber.org/protocol/disco#info"
	NSDiscoItems = "http://jabber.org/protocol/disco#items"
	NSCommands   = "http://jabber.org/protocol/commands"
	NSForm       = "jabber:x:data"
	NSPing       = "urn:xmpp:ping"
	NSMAM        = "urn:xmpp:mam:2"
	NSRSM        = "http://jabber.org/protocol/rsm"
	NSForward    = "urn:xmpp:forward:0"
	NSStanzaID   = "urn:xmpp:sid:0"
	NSOccupantID = "urn:xmpp:occupant-id:0"
	NSCorrect    = "urn:xmpp:message-correct:0"
	NSRetract    = "urn:xmpp:message-retract:1"
	NSRetract0   = "urn:xmpp:message-retract:0"
	NSModerate   = "urn:xmpp:message-moderate:1"
	NSModerate0  = "urn:xmpp:message-moderate:0"
	NSFasten     = "urn:xmpp:fasten:0"
	NSReactions  = "urn:xmpp:reactions:0"
	NSReply      = "urn:xmpp:reply:0"
	NSFallback   = "urn:xmpp:fallback:0"
	NSFallback0  = "urn:xmpp:feature-fallback:0"
	NSHints      = "urn:xmpp:hints"
	NSReceipts   = "urn:xmpp:receipts"
	NSMarkers    = "urn:xmpp:chat-markers:0"
	NSStates     = "http://jabber.org/protocol/chatstates"
	NSOOB        = "jabber:x:oob"
	NSConference = "jabber:x:conference"
	NSStyling    = "urn:xmpp:styling:0"
	NSEncryption = "urn:xmpp:eme:0"
	NSStanzas    = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSVersion    = "jabber:iq:version"
	NSMarker     = "urn:mimigate:marker:1" // ours: adapter.Marker as text
)

// Bounds of a stanza that we look at; the servers have their own, mostly 256 or 512 KiB.
const (
	maxStanza = 8 << 20 // octets on the wire, above which the connection is given up
	maxNodes  = 20_000
	maxDepth  = 64
)

// errOdd: a stanza beyond maxNodes or maxDepth. It is passed over.
var errOdd = errors.New("stanza with too many elements")

// Node is an XML element, read or to be written. A name without a namespace has that of its parent.
type Node struct {
	Name  xml.Name
	Attrs []xml.Attr
	Text  string // the character data directly in it
	Kids  []*Node
}

// El makes an element.
func El(space, local string, kids ...*Node) *Node {
	return &Node{Name: xml.Name{Space: space, Local: local}, Kids: kids}
}

// With sets an attribute, unless it is empty.
func (n *Node) With(name, value string) *Node {
	if value != "" {
		n.Attrs = append(n.Attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	}
	return n
}

// Set sets an attribute anew.
func (n *Node) Set(name, value string) {
	for i, a := range n.Attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			n.Attrs[i].Value = value
			return
		}
	}
	n.With(name, value)
}

// Put sets the character data.
func (n *Node) Put(text string) *Node {
	n.Text = text
	return n
}

// Add appends children; nil is none.
func (n *Node) Add(kids ...*Node) *Node {
	for _, k := range kids {
		if k != nil {
			n.Kids = append(n.Kids, k)
		}
	}
	return n
}

// Attr returns an attribute's value, or "". n may be nil.
func (n *Node) Attr(name string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.Attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// Child returns the first child of that name, or nil. An empty space means that of n, an empty local name any. n may be nil.
func (n *Node) Child(space, local string) *Node {
	for _, k := range n.Children(space, local) {
		return k
	}
	return nil
}

// Children returns all children of that name, as child does.
func (n *Node) Children(space, local string) []*Node {
	if n == nil {
		return nil
	}
	if space == "" {
		space = n.Name.Space
	}
	var out []*Node
	for _, k := range n.Kids {
		if k.Name.Space == space && (local == "" || k.Name.Local == local) {
			out = append(out, k)
		}
	}
	return out
}

// Chars returns the character data; "" for nil.
func (n *Node) Chars() string {
	if n == nil {
		return ""
	}
	return n.Text
}

// tokens appends the element to out.
func (n *Node) tokens(out []xml.Token) []xml.Token {
	start := xml.StartElement{Name: n.Name}
	for _, a := range n.Attrs {
		start.Attr = append(start.Attr, xml.Attr{Name: a.Name, Value: Text(a.Value)})
	}
	out = append(out, start)
	if n.Text != "" {
		out = append(out, xml.CharData(Text(n.Text)))
	}
	for _, k := range n.Kids {
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

// Reader returns the element as a stream of tokens.
func (n *Node) Reader() xml.TokenReader {
	l := tokenList(n.tokens(nil))
	return &l
}

// Read reads the rest of an element whose start has been read. After errOdd the rest has not been read.
func Read(r xml.TokenReader, start xml.StartElement) (*Node, error) {
	root := startNode(start)
	path := []*Node{root}
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
			top.Kids = append(top.Kids, kid)
			path = append(path, kid)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if top.Text == "" {
				top.Text = string(tok)
			} else {
				top.Text += string(tok)
			}
		}
	}
	return root, nil
}

func startNode(start xml.StartElement) *Node {
	n := &Node{Name: start.Name}
	for _, a := range start.Attr {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			n.Attrs = append(n.Attrs, a)
		}
	}
	return n
}

// Text leaves out what XML 1.0 (§2.2) cannot carry, and makes line ends what XMPP's are.
func Text(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n', r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000:
			return r
		}
		return -1
	}, s)
}

// Time reads a time of XEP-0082; zero if there is none.
func Time(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Number reads a number that is not negative; −1 if it is none.
func Number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
