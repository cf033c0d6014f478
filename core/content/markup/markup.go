// Package markup is formatted text: GFM-MIMI (mimi-content-09 §7.1.1) and the forms of the networks, each read into one small
// tree and written from it.
//
//	Parse       GFM-MIMI             Doc.Markdown
//	ParseHTML   HTML, as Matrix's    Doc.HTML
//	ParseText   a Style of plain     Doc.Text
//	            text, as XEP-0393
//
// A network with a form of its own (entities with offsets, say) walks the tree. Between reading and writing, an adapter
// changes links with MapLinks: mentions are links to person: and mimi: targets.
//
// Whatever is read, nothing written is HTML that was in the text, and no link has a target that a client would run: the tree
// cannot hold either.
//
// The package is pure and part of core/content.
package markup

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Doc is a text: a list of blocks.
type Doc []Node

// Node is a block or a piece of a line. Which fields it has besides Children depends on its Kind.
type Node struct {
	Kind     Kind
	Text     string // of Text, Code and CodeBlock
	URL      string // of Link and Image: absolute, of a harmless scheme
	Info     string // of a CodeBlock: the language; may be empty
	Level    int    // of a Heading: 1–6
	Ordered  bool   // of a List
	Start    int    // of an ordered List: the number of its first item
	Task     Task   // of an Item
	Align    Align  // of a Cell
	Children []Node
}

// Kind is what a Node is.
type Kind uint8

// The kinds of nodes: first those of lines, then the blocks.
const (
	Text Kind = iota
	Break
	SoftBreak // a line's end in the source; shown like Break, as people mean it in a chat (GFM §6.13 allows it)
	Strong
	Emphasis
	Strike
	Code
	Link  // Children are its text, without further links
	Image // Children are its alternative text

	Paragraph // of lines
	Heading   // of lines
	Quote     // of blocks
	List      // of Items
	Item      // of blocks
	CodeBlock
	Rule
	Table // of Rows, the first being the header
	Row   // of Cells
	Cell  // of a line
)

// IsBlock reports whether a node is a block, and no piece of a line.
func (k Kind) IsBlock() bool { return k >= Paragraph }

// Task is the state of a list item that is to be done.
type Task uint8

// The states of an item.
const (
	NoTask Task = iota
	TaskOpen
	TaskDone
)

// Align is the alignment of a table's cell.
type Align uint8

// The alignments.
const (
	AlignNone Align = iota
	AlignLeft
	AlignCenter
	AlignRight
)

const (
	// MaxLen is the greatest length in octets of a text that is read as formatted; a longer one is read as plain.
	MaxLen = 64 << 10
	// maxDepth bounds the nesting of a tree; what is deeper is read as if it were not nested.
	maxDepth = 24
	// maxURL bounds a link's target in octets: handles of files may be long.
	maxURL = 16 << 10
)

// MapLinks returns d with every link and image replaced by what f makes of it: the same with another target or text, a Text for
// a network that has no links, or the node itself. Where f changes nothing the result equals d.
func (d Doc) MapLinks(f func(Node) Node) Doc { return mapLinks(d, f) }

func mapLinks(nodes []Node, f func(Node) Node) []Node {
	out := make([]Node, len(nodes))
	for i, n := range nodes {
		if n.Children != nil {
			n.Children = mapLinks(n.Children, f)
		}
		if n.Kind == Link || n.Kind == Image {
			n = f(n)
		}
		out[i] = n
	}
	return out
}

// Links returns the links of d in order; mentions are among them.
func (d Doc) Links() []Node {
	var out []Node
	d.MapLinks(func(n Node) Node {
		if n.Kind == Link {
			out = append(out, n)
		}
		return n
	})
	return out
}

// RewriteLinks is MapLinks for the targets of GFM-MIMI text. Where f changes none, the text comes back as it is, else in our
// own spelling. A target that is not safe makes the link plain text.
func RewriteLinks(markdown string, f func(target string) string) string {
	changed := false
	d := Parse(markdown).MapLinks(func(n Node) Node {
		if to := f(n.URL); to != n.URL {
			changed = true
			return NewLink(to, n.Children...)
		}
		return n
	})
	if !changed {
		return markdown
	}
	return d.Markdown()
}

// By returns d with the name of its author in front, for a conversation that shows everybody under one name.
func (d Doc) By(name string) Doc {
	who := Node{Kind: Strong, Children: []Node{{Kind: Text, Text: name + ":"}}}
	if len(d) > 0 && d[0].Kind == Paragraph {
		first := d[0]
		first.Children = append([]Node{who, {Kind: Text, Text: " "}}, first.Children...)
		return append(Doc{first}, d[1:]...)
	}
	return append(Doc{{Kind: Paragraph, Children: []Node{who}}}, d...)
}

// IsPlain reports whether d has no formatting at all: nothing but lines of text.
func (d Doc) IsPlain() bool {
	for _, block := range d {
		if block.Kind != Paragraph {
			return false
		}
		for _, n := range block.Children {
			if n.Kind > SoftBreak {
				return false
			}
		}
	}
	return true
}

// IsMention reports whether n is a link to a person or a room: what the reader's own name for the target may replace
// (mimi-content-09 §9.5).
func (n Node) IsMention() bool {
	return n.Kind == Link && (strings.HasPrefix(n.URL, "person:") || strings.HasPrefix(n.URL, "mimi:"))
}

// Label returns the text of a node and all below it on one line.
func (n Node) Label() string {
	switch n.Kind {
	case Text, Code, CodeBlock:
		return n.Text
	case Break, SoftBreak:
		return " "
	}
	var b strings.Builder
	for _, child := range n.Children {
		b.WriteString(child.Label())
	}
	return b.String()
}

// text returns one Text, or nothing for "".
func text(s string) []Node {
	if s == "" {
		return nil
	}
	return []Node{{Kind: Text, Text: s}}
}

// merge joins neighbours that read as one: texts, and pieces of the same style; it drops those that show nothing.
func merge(nodes []Node) []Node {
	var out []Node
	for _, n := range nodes {
		if n.Kind == Text && n.Text == "" || n.Kind == Code && n.Text == "" || n.Kind >= Strong && n.Kind <= Strike && len(n.Children) == 0 {
			continue
		}
		if len(out) > 0 && n.Kind == out[len(out)-1].Kind {
			last := &out[len(out)-1]
			switch n.Kind {
			case Text:
				last.Text += n.Text
				continue
			case Strong, Emphasis, Strike:
				last.Children = merge(append(last.Children[:len(last.Children):len(last.Children)], n.Children...))
				continue
			}
		}
		out = append(out, n)
	}
	return out
}

func isSpace(r rune) bool { return r == 0 || unicode.IsSpace(r) }
func isWord(r rune) bool  { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// isPunct follows CommonMark §2.1: ASCII punctuation, and Unicode's P and S.
func isPunct(r rune) bool {
	return r > ' ' && r < 0x7f && !isWord(r) || r >= 0x80 && (unicode.IsPunct(r) || unicode.IsSymbol(r))
}

func firstRune(s string) rune {
	if s == "" {
		return 0
	}
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func lastRune(s string) rune {
	if s == "" {
		return 0
	}
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}
