package markup

import (
	"html"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	gmtext "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// gfm is GFM with tables, task lists and strikethrough, and nothing that knows HTML or finds links in plain text: that is
// GFM-MIMI (mimi-content-09 §7.1.1). It is safe for use by several goroutines.
var gfm = parser.NewParser(
	parser.WithBlockParsers(
		util.Prioritized(parser.NewSetextHeadingParser(), 100),
		util.Prioritized(parser.NewThematicBreakParser(), 200),
		util.Prioritized(parser.NewListParser(), 300),
		util.Prioritized(parser.NewListItemParser(), 400),
		util.Prioritized(parser.NewCodeBlockParser(), 500),
		util.Prioritized(parser.NewATXHeadingParser(), 600),
		util.Prioritized(parser.NewFencedCodeBlockParser(), 700),
		util.Prioritized(parser.NewBlockquoteParser(), 800),
		util.Prioritized(parser.NewParagraphParser(), 1000),
	),
	parser.WithInlineParsers(
		util.Prioritized(parser.NewCodeSpanParser(), 100),
		util.Prioritized(parser.NewLinkParser(), 200),
		util.Prioritized(parser.NewAutoLinkParser(), 300), // <https://…>, which is CommonMark; bare URLs stay text
		util.Prioritized(parser.NewEmphasisParser(), 500),
		util.Prioritized(extension.NewStrikethroughParser(), 500),
	),
	parser.WithParagraphTransformers(
		util.Prioritized(parser.LinkReferenceParagraphTransformer, 100),
		util.Prioritized(extension.NewTableParagraphTransformer(), 200),
	),
	parser.WithASTTransformers(util.Prioritized(extension.NewTableASTTransformer(), 0)),
)

// Parse reads GFM-MIMI. Every text is one: it cannot fail. HTML in it is shown as the text it is. Text longer than MaxLen, or
// that would show nothing (link definitions alone), is read as plain.
func Parse(markdown string) Doc {
	markdown = clean(markdown)
	if len(markdown) > MaxLen || hostile(markdown) {
		return ParseText(markdown, Plain)
	}
	source := []byte(markdown)
	c := converter{source}
	doc := Doc(c.blocks(gfm.Parse(gmtext.NewReader(source)), 0))
	if len(doc) == 0 {
		return ParseText(markdown, Plain)
	}
	return doc
}

// clean makes s UTF-8 and takes out what no text needs: NUL, and carriage returns before line feeds.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\uFFFD").Replace(s)
}

// Bounds against texts made to cost time and memory.
const (
	maxOpening = 4 * maxDepth // marks of quotes and lists at the start of a line
	maxCells   = 1 << 14      // of tables: the parser fills up every row to the width of the header
	maxMarks   = 1 << 13      // that could open a link or a style: the parser's time grows with their square
)

// hostile finds texts that would cost the parser far more than their length: deeply nested ones, tables wide and long, and those
// that are little but marks.
func hostile(s string) bool {
	lines, bars, marks := 0, 0, 0
	for line := range strings.Lines(s) {
		lines++
		marks += strings.Count(line, "[") + strings.Count(line, "*") + strings.Count(line, "_") + strings.Count(line, "~")
		bars = max(bars, strings.Count(line, "|"))
		opening := len(line) - len(strings.TrimLeft(line, ">-+* \t0123456789.)"))
		if opening > maxOpening && strings.ContainsAny(line[:opening], "> \t") { // a mere line of dashes is a rule
			return true
		}
	}
	return lines*bars > maxCells || marks > maxMarks
}

// converter makes our tree of goldmark's.
type converter struct{ source []byte }

func (c converter) blocks(parent ast.Node, depth int) []Node {
	var out []Node
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		if depth >= maxDepth && n.HasChildren() && n.FirstChild().Type() == ast.TypeBlock {
			out = append(out, c.blocks(n, depth)...) // read as if not nested
			continue
		}
		switch n := n.(type) {
		case *ast.Paragraph, *ast.TextBlock:
			if children := c.line(n, depth); len(children) > 0 {
				out = append(out, Node{Kind: Paragraph, Children: children})
			}
		case *ast.Heading:
			out = append(out, Node{Kind: Heading, Level: n.Level, Children: c.line(n, depth)})
		case *ast.Blockquote:
			out = append(out, Node{Kind: Quote, Children: c.blocks(n, depth+1)})
		case *ast.List:
			out = append(out, Node{Kind: List, Ordered: n.IsOrdered(), Start: n.Start, Children: c.blocks(n, depth+1)})
		case *ast.ListItem:
			out = append(out, c.item(n, depth))
		case *ast.CodeBlock:
			out = append(out, Node{Kind: CodeBlock, Text: c.lines(n)})
		case *ast.FencedCodeBlock:
			out = append(out, Node{Kind: CodeBlock, Text: c.lines(n), Info: string(n.Language(c.source))})
		case *ast.ThematicBreak:
			out = append(out, Node{Kind: Rule})
		case *extast.Table:
			out = append(out, c.table(n, depth))
		}
	}
	return out
}

// taskMark is what makes an item one that is to be done (GFM §5.3). The library's parser takes "[x](target)" for one too.
var taskMark = regexp.MustCompile(`^\[([ xX])\][ \t]+`)

func (c converter) item(n *ast.ListItem, depth int) Node {
	item := Node{Kind: Item, Children: c.blocks(n, depth+1)}
	first := n.FirstChild()
	if first == nil || first.Type() != ast.TypeBlock || first.Lines().Len() == 0 || len(item.Children) == 0 || item.Children[0].Kind != Paragraph {
		return item
	}
	line := first.Lines().At(0)
	mark := taskMark.FindSubmatch(line.Value(c.source))
	line1 := item.Children[0].Children
	if mark == nil || line1[0].Kind != Text || !strings.HasPrefix(line1[0].Text, string(mark[0])) {
		return item
	}
	item.Task = TaskOpen
	if mark[1][0] != ' ' {
		item.Task = TaskDone
	}
	line1[0].Text = line1[0].Text[len(mark[0]):]
	item.Children[0].Children = merge(line1)
	return item
}

func (c converter) table(n *extast.Table, depth int) Node {
	table := Node{Kind: Table}
	for r := n.FirstChild(); r != nil; r = r.NextSibling() {
		row := Node{Kind: Row}
		for cell := r.FirstChild(); cell != nil; cell = cell.NextSibling() {
			align := AlignNone
			if cell, ok := cell.(*extast.TableCell); ok {
				align = map[extast.Alignment]Align{extast.AlignLeft: AlignLeft, extast.AlignCenter: AlignCenter, extast.AlignRight: AlignRight}[cell.Alignment]
			}
			row.Children = append(row.Children, Node{Kind: Cell, Align: align, Children: c.line(cell, depth)})
		}
		table.Children = append(table.Children, row)
	}
	return table
}

// lines returns the text of a code block without its last line's end.
func (c converter) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		b.Write(segment.Value(c.source))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// line reads the pieces of a block's lines.
func (c converter) line(n ast.Node, depth int) []Node {
	out := c.pieces(n, depth)
	for len(out) > 0 && (out[len(out)-1].Kind == Break || out[len(out)-1].Kind == SoftBreak) {
		out = out[:len(out)-1]
	}
	return merge(out)
}

func (c converter) pieces(parent ast.Node, depth int) []Node {
	var out []Node
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		if depth >= maxDepth && n.HasChildren() {
			out = append(out, c.pieces(n, depth)...)
			continue
		}
		switch n := n.(type) {
		case *ast.Text:
			out = append(out, c.text(n)...)
		case *ast.String:
			out = append(out, text(string(n.Value))...)
		case *ast.CodeSpan:
			out = append(out, Node{Kind: Code, Text: c.code(n)})
		case *ast.Emphasis:
			kind := Emphasis
			if n.Level == 2 {
				kind = Strong
			}
			out = append(out, Node{Kind: kind, Children: c.pieces(n, depth+1)})
		case *extast.Strikethrough:
			out = append(out, Node{Kind: Strike, Children: c.pieces(n, depth+1)})
		case *ast.Link:
			out = append(out, NewLink(unescape(string(n.Destination)), c.pieces(n, depth+1)...))
		case *ast.Image:
			out = append(out, newImage(unescape(string(n.Destination)), c.pieces(n, depth+1)...))
		case *ast.AutoLink:
			target := string(n.URL(c.source))
			if n.AutoLinkType == ast.AutoLinkEmail && !strings.HasPrefix(target, "mailto:") {
				target = "mailto:" + target
			}
			out = append(out, NewLink(target, text(string(n.Label(c.source)))...))
		}
	}
	return merge(out)
}

func (c converter) text(n *ast.Text) []Node {
	s := string(n.Value(c.source))
	if !n.IsRaw() {
		s = unescape(s)
	}
	out := text(s)
	switch {
	case n.HardLineBreak():
		out = append(out, Node{Kind: Break})
	case n.SoftLineBreak():
		out = append(out, Node{Kind: SoftBreak})
	}
	return out
}

// code returns the text of a code span; its lines are joined by spaces.
func (c converter) code(n *ast.CodeSpan) string {
	var b strings.Builder
	for child := n.FirstChild(); child != nil; child = child.NextSibling() {
		switch child := child.(type) {
		case *ast.Text:
			b.Write(child.Value(c.source))
		case *ast.String:
			b.Write(child.Value)
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// escapes are backslash escapes and character references (CommonMark §2.4, §2.5).
var escapes = regexp.MustCompile("\\\\[!-/:-@\\[-`{-~]|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")

func unescape(s string) string {
	return clean(escapes.ReplaceAllStringFunc(s, func(e string) string {
		if e[0] == '\\' {
			return e[1:]
		}
		return html.UnescapeString(e)
	}))
}
