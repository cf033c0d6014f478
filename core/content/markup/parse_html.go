package markup

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// ParseHTML reads HTML as people's clients send it (Matrix' org.matrix.custom.html, text/html). Scripts, styles, forms and frames go,
// what they would show too; of everything else the text stays. It cannot fail: HTML that is too long (4 × MaxLen) or nested too deeply
// is read as its text.
func ParseHTML(s string) Doc {
	s = clean(s)
	body := &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body}
	if len(s) > 4*MaxLen {
		return ParseText(textOf(s), Plain)
	}
	nodes, err := html.ParseFragment(strings.NewReader(s), body)
	if err != nil {
		return ParseText(textOf(s), Plain)
	}
	for _, n := range nodes {
		body.AppendChild(n)
	}
	return group(mixed(body, 0))
}

// textOf returns the text of HTML without building a tree.
func textOf(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	hidden := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(b.String())
		case html.TextToken:
			if hidden == 0 {
				b.WriteString(html.UnescapeString(string(z.Raw())))
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			if dropped[atom.Lookup(name)] {
				hidden++
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			switch a := atom.Lookup(name); {
			case dropped[a]:
				hidden = max(hidden-1, 0)
			case a == atom.P || a == atom.Div || a == atom.Li || a == atom.Tr:
				b.WriteByte('\n')
			}
		}
	}
}

// dropped are elements that go with all they hold.
var dropped = map[atom.Atom]bool{
	atom.Script: true, atom.Style: true, atom.Head: true, atom.Title: true, atom.Template: true, atom.Noscript: true, atom.Iframe: true,
	atom.Object: true, atom.Embed: true, atom.Applet: true, atom.Svg: true, atom.Math: true, atom.Audio: true, atom.Video: true, atom.Canvas: true,
	atom.Textarea: true, atom.Select: true, atom.Button: true, atom.Noembed: true, atom.Noframes: true, atom.Frameset: true,
}

// styles are elements that are a style of text.
var styles = map[atom.Atom]Kind{
	atom.B: Strong, atom.Strong: Strong, atom.I: Emphasis, atom.Em: Emphasis, atom.Cite: Emphasis, atom.Dfn: Emphasis, atom.Var: Emphasis,
	atom.S: Strike, atom.Strike: Strike, atom.Del: Strike,
}

// paragraphs are elements whose content stands on lines of its own.
var paragraphs = map[atom.Atom]bool{
	atom.P: true, atom.Div: true, atom.Section: true, atom.Article: true, atom.Aside: true, atom.Header: true, atom.Footer: true, atom.Main: true,
	atom.Nav: true, atom.Address: true, atom.Center: true, atom.Details: true, atom.Summary: true, atom.Figure: true, atom.Figcaption: true, atom.Dl: true,
	atom.Dt: true, atom.Dd: true, atom.Fieldset: true, atom.Legend: true, atom.Form: true, atom.Caption: true, atom.Li: true, atom.Hgroup: true,
}

// mixed reads what an element holds: pieces of lines and blocks, as they come.
func mixed(parent *html.Node, depth int) []Node {
	var out []Node
	for n := parent.FirstChild; n != nil; n = n.NextSibling {
		switch n.Type {
		case html.TextNode:
			out = append(out, text(n.Data)...)
		case html.ElementNode:
			out = append(out, element(n, depth)...)
		}
	}
	return out
}

func element(n *html.Node, depth int) []Node {
	if dropped[n.DataAtom] || n.Namespace != "" || n.Data == "mx-reply" {
		return nil
	}
	if depth >= maxDepth {
		return mixed(n, depth)
	}
	if kind, ok := styles[n.DataAtom]; ok {
		return style(kind, mixed(n, depth+1))
	}
	if paragraphs[n.DataAtom] {
		return group(mixed(n, depth))
	}
	switch n.DataAtom {
	case atom.Br:
		return []Node{{Kind: Break}}
	case atom.Hr:
		return []Node{{Kind: Rule}}
	case atom.Code, atom.Tt, atom.Kbd, atom.Samp:
		return []Node{{Kind: Code, Text: strings.Join(strings.Fields(content(n)), " ")}}
	case atom.A:
		return anchor(n, depth)
	case atom.Img:
		return []Node{newImage(attribute(n, "src"), text(imageText(n))...)}
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		return heading(n, depth)
	case atom.Blockquote:
		return []Node{{Kind: Quote, Children: group(mixed(n, depth+1))}}
	case atom.Ul, atom.Ol:
		return []Node{list(n, depth)}
	case atom.Pre, atom.Listing, atom.Xmp, atom.Plaintext:
		return []Node{preformatted(n)}
	case atom.Table:
		return table(n, depth)
	case atom.Span:
		if has(n, "data-mx-spoiler") { // no form in GFM-MIMI hides text: it is marked, as several networks write it
			return append(append(text("||"), mixed(n, depth)...), text("||")...)
		}
	}
	return mixed(n, depth)
}

// style makes the pieces of lines among nodes of a kind, also those within blocks.
func style(kind Kind, nodes []Node) []Node {
	var out, run []Node
	flush := func() {
		if len(run) > 0 {
			out = append(out, Node{Kind: kind, Children: run})
			run = nil
		}
	}
	for _, n := range nodes {
		if !n.Kind.IsBlock() {
			run = append(run, n)
			continue
		}
		flush()
		n.Children = style(kind, n.Children)
		out = append(out, n)
	}
	flush()
	return out
}

// group puts what is between blocks into paragraphs, with the white space of HTML collapsed.
func group(nodes []Node) []Node {
	var out, run []Node
	flush := func() {
		if line := collapse(run); len(line) > 0 {
			out = append(out, Node{Kind: Paragraph, Children: line})
		}
		run = nil
	}
	for _, n := range nodes {
		if n.Kind.IsBlock() {
			flush()
			out = append(out, n)
			continue
		}
		run = append(run, n)
	}
	flush()
	return out
}

// collapse makes white space in a run of pieces one blank, and none at the ends of lines; empty pieces go.
func collapse(nodes []Node) []Node {
	nodes = squeeze(nodes, &squeezer{atStart: true})
	for len(nodes) > 0 && nodes[len(nodes)-1].Kind == Break {
		nodes = trimEnd(nodes[:len(nodes)-1])
	}
	return trimEnd(nodes)
}

// squeezer goes over the texts of a run in order.
type squeezer struct{ atStart bool }

func squeeze(nodes []Node, s *squeezer) []Node {
	var out []Node
	for _, n := range nodes {
		switch {
		case n.Kind == Text:
			n.Text = s.text(n.Text)
		case n.Kind == Break:
			out = trimEnd(out)
			s.atStart = true
		case n.Kind == Code:
			s.atStart = false
		case n.Kind >= Strong && n.Kind <= Strike:
			n.Children = squeeze(n.Children, s)
			out = append(out, hoist(n)...)
			continue
		case n.Children != nil:
			n.Children = squeeze(n.Children, s)
		}
		out = append(out, n)
	}
	return merge(out)
}

// hoist takes the blanks at the ends of a styled piece out of it: no form of ours can style them.
func hoist(n Node) []Node {
	label := n.Label()
	if strings.TrimSpace(label) == "" {
		return n.Children
	}
	var out []Node
	if strings.HasPrefix(label, " ") {
		out = append(out, Node{Kind: Text, Text: " "})
		n.Children = trimStart(n.Children)
	}
	if !strings.HasSuffix(label, " ") {
		return append(out, n)
	}
	n.Children = trimEnd(n.Children)
	return append(out, n, Node{Kind: Text, Text: " "})
}

// trimStart takes the blank off the start of the first text.
func trimStart(nodes []Node) []Node {
	if len(nodes) == 0 {
		return nodes
	}
	switch first := &nodes[0]; {
	case first.Kind == Text:
		first.Text = strings.TrimLeft(first.Text, " ")
	case first.Children != nil:
		first.Children = trimStart(first.Children)
	}
	return merge(nodes)
}

func (s *squeezer) text(t string) string {
	const white = " \t\n\f\r"
	var b strings.Builder
	for _, r := range t {
		if strings.ContainsRune(white, r) {
			if !s.atStart {
				b.WriteByte(' ')
			}
			s.atStart = true
			continue
		}
		b.WriteRune(r)
		s.atStart = false
	}
	return b.String()
}

// trimEnd takes the blank off the end of the last text.
func trimEnd(nodes []Node) []Node {
	if len(nodes) == 0 {
		return nodes
	}
	last := &nodes[len(nodes)-1]
	switch {
	case last.Kind == Text:
		last.Text = strings.TrimRight(last.Text, " ")
	case last.Children != nil:
		last.Children = trimEnd(last.Children)
	}
	return merge(nodes)
}

// anchor reads a link. Around blocks, which a link of ours cannot hold, its text stands as a line.
func anchor(n *html.Node, depth int) []Node {
	children := mixed(n, depth+1)
	if !has(n, "href") {
		return children
	}
	var line []Node
	for _, child := range children {
		if child.Kind.IsBlock() {
			child = Node{Kind: Text, Text: child.Label() + " "}
		}
		line = append(line, child)
	}
	return []Node{NewLink(attribute(n, "href"), collapse(line)...)}
}

// imageText is what stands for a picture in text; custom emoji have a title too.
func imageText(n *html.Node) string {
	if alt := attribute(n, "alt"); alt != "" {
		return alt
	}
	return attribute(n, "title")
}

func heading(n *html.Node, depth int) []Node {
	var line []Node
	for _, child := range mixed(n, depth+1) {
		if child.Kind.IsBlock() {
			child = Node{Kind: Text, Text: child.Label() + " "}
		}
		line = append(line, child)
	}
	if line = collapse(line); len(line) == 0 {
		return nil
	}
	return []Node{{Kind: Heading, Level: int(n.Data[1] - '0'), Children: line}}
}

func list(n *html.Node, depth int) Node {
	list := Node{Kind: List, Ordered: n.DataAtom == atom.Ol, Start: 1}
	if start, err := strconv.Atoi(attribute(n, "start")); err == nil && start >= 0 && start < 1_000_000_000 {
		list.Start = start
	}
	if !list.Ordered {
		list.Start = 0
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || dropped[c.DataAtom] {
			continue
		}
		item := Node{Kind: Item}
		if box := c.FirstChild; box != nil && box.DataAtom == atom.Input && attribute(box, "type") == "checkbox" {
			item.Task = TaskOpen
			if has(box, "checked") {
				item.Task = TaskDone
			}
		}
		if c.DataAtom == atom.Li {
			item.Children = group(mixed(c, depth+1))
		} else {
			item.Children = group(element(c, depth+1))
		}
		list.Children = append(list.Children, item)
	}
	return list
}

func preformatted(n *html.Node) Node {
	code := Node{Kind: CodeBlock, Text: strings.TrimSuffix(content(n), "\n")}
	if c := n.FirstChild; c != nil && c.DataAtom == atom.Code {
		for _, class := range strings.Fields(attribute(c, "class")) {
			if info, ok := strings.CutPrefix(class, "language-"); ok {
				code.Info = infoText(info)
			}
		}
	}
	return code
}

// table reads the rows wherever they are in a table; a caption comes before it.
func table(n *html.Node, depth int) []Node {
	t := Node{Kind: Table}
	var before []Node
	var rows func(*html.Node)
	rows = func(parent *html.Node) {
		for c := parent.FirstChild; c != nil; c = c.NextSibling {
			switch c.DataAtom {
			case atom.Thead, atom.Tbody, atom.Tfoot:
				rows(c)
			case atom.Caption:
				before = append(before, element(c, depth+1)...)
			case atom.Tr:
				t.Children = append(t.Children, row(c, depth+1))
			}
		}
	}
	rows(n)
	if len(t.Children) == 0 {
		return before
	}
	return append(before, t)
}

func row(n *html.Node, depth int) Node {
	row := Node{Kind: Row}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.DataAtom != atom.Td && c.DataAtom != atom.Th {
			continue
		}
		var line []Node
		for _, child := range mixed(c, depth+1) {
			if child.Kind.IsBlock() {
				child = Node{Kind: Text, Text: child.Label() + " "}
			}
			line = append(line, child)
		}
		align := map[string]Align{"left": AlignLeft, "center": AlignCenter, "right": AlignRight}[attribute(c, "align")]
		row.Children = append(row.Children, Node{Kind: Cell, Align: align, Children: collapse(oneLine(line))})
	}
	return row
}

// content returns the text in an element as it stands.
func content(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	if n.DataAtom == atom.Br {
		return "\n"
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if !dropped[c.DataAtom] {
			b.WriteString(content(c))
		}
	}
	return b.String()
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key && a.Namespace == "" {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key && a.Namespace == "" {
			return true
		}
	}
	return false
}
