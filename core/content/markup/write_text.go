package markup

import (
	"strconv"
	"strings"
)

// Style is a way to mark up plain text.
type Style uint8

// The styles.
const (
	Plain    Style = iota // no marks at all
	Styling               // XEP-0393: *strong* _emphasis_ ~strike~ `code`, ``` blocks, > quotes
	WhatsApp              // the same marks, and lists
)

// mark is the mark of a kind of piece; 0 for none.
func (s Style) mark(k Kind) byte {
	if s == Plain {
		return 0
	}
	switch k {
	case Strong:
		return '*'
	case Emphasis:
		return '_'
	case Strike:
		return '~'
	case Code:
		return '`'
	}
	return 0
}

const marks = "*_~`"

// disarm is put before a mark that is none, and taken away again where text is read: a zero width space, before which no style
// lets anything begin.
const disarm = "\u200b"

// Text writes d in a style. What the style has no form for stays readable: a link's target stands behind its text, a list has
// its numbers, a table its bars. Mentions are their text alone. Where neighbouring characters do not let a mark be read as one
// it is left out.
func (d Doc) Text(style Style) string { return textBlocks(d, style) }

func textBlocks(blocks []Node, style Style) string {
	var b strings.Builder
	for i, n := range blocks {
		switch {
		case i == 0:
		case blocks[i-1].Kind == Quote && n.Kind != Quote:
			b.WriteString("\n")
		default:
			b.WriteString("\n\n")
		}
		b.WriteString(textBlock(n, style))
	}
	return b.String()
}

func textBlock(n Node, style Style) string {
	switch n.Kind {
	case Paragraph:
		return textLines(n.Children, style)
	case Heading:
		return textLines([]Node{{Kind: Strong, Children: n.Children}}, style)
	case Quote:
		return "> " + indent(textBlocks(n.Children, style), "> ")
	case List:
		return textList(n, style)
	case CodeBlock:
		if style == Plain {
			return n.Text
		}
		body := strings.ReplaceAll("\n"+n.Text, "\n```", "\n"+disarm+"```")
		return "```" + body + "\n```"
	case Rule:
		return "---"
	case Table:
		var rows []string
		for _, row := range n.Children {
			var cells []string
			for _, cell := range row.Children {
				cells = append(cells, textLines(oneLine(cell.Children), style))
			}
			rows = append(rows, strings.Join(cells, " | "))
		}
		return strings.Join(rows, "\n")
	}
	return ""
}

func textList(n Node, style Style) string {
	var items []string
	for i, item := range n.Children {
		marker := "- "
		if n.Ordered {
			marker = strconv.Itoa(n.Start+i) + ". "
		}
		var parts []string
		for _, block := range item.Children {
			parts = append(parts, textBlock(block, style))
		}
		content := taskBox(item.Task) + strings.Join(parts, "\n")
		items = append(items, strings.TrimRight(marker+indent(content, strings.Repeat(" ", len(marker))), " "))
	}
	return strings.Join(items, "\n")
}

func textLines(nodes []Node, style Style) string {
	w := textWriter{style: style}
	w.pieces(nodes, 0)
	return strings.Trim(w.String(), " \n")
}

// textWriter writes pieces of a line.
type textWriter struct {
	strings.Builder
	style Style
	open  string // the marks around what is being written
}

// pieces writes nodes; after is the rune that will follow them, 0 for none.
func (w *textWriter) pieces(nodes []Node, after rune) {
	nodes = merge(nodes)
	for i, n := range nodes {
		next := after
		if i+1 < len(nodes) {
			next = begins(nodes[i+1])
		}
		switch n.Kind {
		case Text:
			w.text(n.Text)
		case Break, SoftBreak:
			w.WriteByte('\n')
		case Strong, Emphasis, Strike:
			w.styled(n, next)
		case Code:
			w.code(n.Text, next)
		case Link, Image:
			w.pieces(n.Children, ' ')
			if label := n.Label(); !n.IsMention() && label != n.URL && "mailto:"+label != n.URL {
				w.WriteString(" (" + n.URL + ")")
			}
		}
	}
}

// text writes text, with marks that would be read as such disarmed.
func (w *textWriter) text(s string) {
	if w.style == Plain {
		w.WriteString(s)
		return
	}
	previous := w.previous()
	address := false // an address stays as it is, or nobody could follow it
	for i, r := range s {
		switch {
		case isSpace(r):
			address = false
		case strings.HasPrefix(s[i:], "://"):
			address = true
		}
		if !address && strings.ContainsRune(marks, r) && w.mayOpen(previous, byte(r)) {
			rest, _, _ := strings.Cut(s[i+1:], "\n")
			if !isSpace(firstRune(rest)) && strings.ContainsRune(rest, r) {
				w.WriteString(disarm)
			}
		}
		w.WriteRune(r)
		previous = r
	}
}

func (w *textWriter) previous() rune { return lastRune(w.String()) }

// mayOpen reports whether a mark is read as one after a rune: in XEP-0393 §4.3 after blanks and other opening marks, in WhatsApp after
// everything but words.
func (w *textWriter) mayOpen(previous rune, mark byte) bool {
	if isSpace(previous) {
		return true
	}
	if w.style == WhatsApp {
		return !isWord(previous) && previous != rune(mark) && previous != '\u200b'
	}
	return previous != rune(mark) && strings.ContainsRune(marks, previous)
}

// styled writes a piece with its mark at the ends of each of its lines, as no style goes beyond a line.
func (w *textWriter) styled(n Node, next rune) {
	mark := w.style.mark(n.Kind)
	if mark == 0 || strings.IndexByte(w.open, mark) >= 0 {
		w.pieces(n.Children, next)
		return
	}
	inner := textWriter{style: w.style, open: w.open + string(mark)}
	inner.pieces(n.Children, rune(mark))
	lines := strings.Split(inner.String(), "\n")
	for i, line := range lines {
		if i > 0 {
			w.WriteByte('\n')
		}
		follows := next
		if i+1 < len(lines) {
			follows = '\n'
		}
		w.marked(line, mark, follows)
	}
}

// marked writes one line with a mark at both ends, if it will be read so, and blanks outside.
func (w *textWriter) marked(line string, mark byte, next rune) {
	core := strings.Trim(line, " ")
	at := strings.Index(line, core)
	w.WriteString(line[:at])
	trailing := line[at+len(core):]
	if trailing != "" {
		next = ' '
	}
	previous := w.previous()
	inside := previous != 0 && strings.ContainsRune(w.open, previous)
	fits := core != "" && strings.IndexByte(core, mark) < 0 && (w.mayOpen(previous, mark) || inside) && (w.style != WhatsApp || !isWord(next))
	if fits {
		core = string(mark) + core + string(mark)
	}
	w.WriteString(core + trailing)
}

func (w *textWriter) code(s string, next rune) {
	mark := w.style.mark(Code)
	if mark == 0 || strings.Contains(s, "\n") || strings.TrimSpace(s) != s {
		w.text(s)
		return
	}
	w.marked(s, mark, next)
}

// Excerpt returns the beginning of d as plain text on one line, of at most so many characters as people count them.
func (d Doc) Excerpt(characters int) string {
	return Excerpt(d.Text(Plain), characters)
}
