package markup

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Markdown writes GFM-MIMI that reads as d again. There is no HTML in it, and no text that would be read as any
// (mimi-content-09 §7.1.1).
func (d Doc) Markdown() string { return mdBlocks(d, "\n\n") }

// NoHTML returns Markdown that has no HTML tag in it, as GFM-MIMI must be sent (mimi-content-09 §7.1.1): the text itself where nothing in
// it looks like one, else the same in our spelling, in which tags are text.
func NoHTML(markdown string) string {
	markdown = clean(markdown)
	if !tag.MatchString(markdown) {
		return markdown
	}
	return Parse(markdown).Markdown()
}

func mdBlocks(blocks []Node, between string) string {
	var out []string
	for i, n := range blocks {
		var before Node
		if i > 0 {
			before = blocks[i-1]
		}
		if s := mdBlock(n, before); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, between)
}

func mdBlock(n, before Node) string {
	switch n.Kind {
	case Paragraph:
		return mdLines(n.Children)
	case Heading:
		line := strings.ReplaceAll(mdLines(oneLine(n.Children)), "\n", " ")
		if strings.HasSuffix(line, "#") { // would be taken for the heading's end
			line = line[:len(line)-1] + `\#`
		}
		return strings.TrimRight(strings.Repeat("#", min(max(n.Level, 1), 6))+" "+line, " ")
	case Quote:
		return "> " + indent(mdBlocks(n.Children, "\n\n"), "> ")
	case List:
		return mdList(n, before.Kind == List && before.Ordered == n.Ordered)
	case CodeBlock:
		fence := strings.Repeat("`", max(3, longestRun(n.Text, '`')+1))
		return fence + infoText(n.Info) + "\n" + n.Text + "\n" + fence
	case Rule:
		return "___" // unlike --- and *** it is never part of a list or a heading
	case Table:
		return mdTable(n)
	}
	return ""
}

// indent puts a prefix before every line but the first.
func indent(s, prefix string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if i > 0 {
			lines[i] = strings.TrimRight(prefix, " ")
			if line != "" {
				lines[i] = prefix + line
			}
		}
	}
	return strings.Join(lines, "\n")
}

// mdList writes a list; other says to use the second marker, or the list would continue the one before it.
func mdList(n Node, other bool) string {
	between := "\n"
	for _, item := range n.Children {
		if len(item.Children) > 2 || len(item.Children) == 2 && !followsTightly(item.Children[1]) {
			between = "\n\n" // some item has several paragraphs
		}
	}
	var items []string
	for i, item := range n.Children {
		marker := "- "
		if other {
			marker = "+ "
		}
		if n.Ordered {
			marker = strconv.Itoa(min(max(n.Start, 0)+i, 999_999_999)) + ". "
			if other {
				marker = strings.Replace(marker, ".", ")", 1)
			}
		}
		box := ""
		if len(item.Children) > 0 && item.Children[0].Kind == Paragraph {
			box = [...]string{NoTask: "", TaskOpen: "[ ] ", TaskDone: "[x] "}[item.Task]
		}
		content := box + mdBlocks(item.Children, between)
		if len(item.Children) > 0 && item.Children[0].Kind == List {
			content = "\n" + content // "- - -" would be a rule
		}
		items = append(items, strings.TrimRight(marker+indent(content, strings.Repeat(" ", len(marker))), " "))
	}
	return strings.Join(items, between)
}

// followsTightly reports whether a block may stand on the line after a paragraph: of lists only those that may interrupt one
// (CommonMark §5.3).
func followsTightly(n Node) bool {
	return n.Kind == List && (!n.Ordered || n.Start == 1) && len(n.Children) > 0 && len(n.Children[0].Children) > 0
}

func mdTable(n Node) string {
	columns := 0
	for _, row := range n.Children {
		columns = max(columns, len(row.Children))
	}
	var out []string
	for i, row := range n.Children {
		line, rule := "|", "|"
		for j := range columns {
			var cell Node
			if j < len(row.Children) {
				cell = row.Children[j]
			}
			w := mdWriter{cell: true}
			w.pieces(oneLine(cell.Children), 0)
			line += " " + strings.TrimSpace(w.String()) + " |"
			rule += [...]string{AlignNone: " --- |", AlignLeft: " :-- |", AlignCenter: " :-: |", AlignRight: " --: |"}[cell.Align]
		}
		out = append(out, line)
		if i == 0 {
			out = append(out, rule)
		}
	}
	return strings.Join(out, "\n")
}

// oneLine makes breaks spaces.
func oneLine(nodes []Node) []Node {
	out := make([]Node, len(nodes))
	for i, n := range nodes {
		if n.Kind == Break || n.Kind == SoftBreak {
			n = Node{Kind: Text, Text: " "}
		}
		if n.Children != nil {
			n.Children = oneLine(n.Children)
		}
		out[i] = n
	}
	return out
}

// lineStart is what a line of text must not begin with, or it would be no text (CommonMark §4, GFM §4.10).
var lineStart = regexp.MustCompile(`^(?:#{1,6}(?:\s|$)|>|[-+*](?:\s|$)|-+\s*$|=+\s*$|\[[ xX]\]\s|[:|][-:|\s]+$|-[-:|\s]*\|[-:|\s]*$)`)

// lineNumber is the beginning of an ordered list's item.
var lineNumber = regexp.MustCompile(`^\d{1,9}[.)](?:\s|$)`)

// mdLines writes the lines of a paragraph.
func mdLines(nodes []Node) string {
	var w mdWriter
	w.pieces(nodes, 0)
	lines := strings.Split(strings.Trim(w.String(), " \t\n"), "\n")
	for i, line := range lines {
		line = strings.TrimLeft(line, " \t")
		switch {
		case lineStart.MatchString(line):
			line = `\` + line
		case lineNumber.MatchString(line):
			dot := strings.IndexAny(line, ".)")
			line = line[:dot] + `\` + line[dot:]
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// mdWriter writes pieces of a line.
type mdWriter struct {
	strings.Builder
	cell  bool // in a table: no bars
	label bool // in the text of a link: no brackets
}

// pieces writes nodes; after is the rune that will follow them, 0 for none.
func (w *mdWriter) pieces(nodes []Node, after rune) {
	nodes = merge(nodes)
	for i, n := range nodes {
		next := after
		if i+1 < len(nodes) {
			next = begins(nodes[i+1])
		}
		switch n.Kind {
		case Text:
			w.WriteString(w.escape(n.Text, next))
		case Break:
			w.WriteString("  \n")
		case SoftBreak:
			w.WriteByte('\n')
		case Strong, Emphasis, Strike:
			w.styled(n, next)
		case Code:
			w.code(n.Text)
		case Link, Image:
			w.link(n)
		}
	}
}

// begins tells what the written form of a node begins with, as far as the rules of emphasis ask.
func begins(n Node) rune {
	switch n.Kind {
	case Text:
		return firstRune(n.Text)
	case Break, SoftBreak:
		return '\n'
	case Link:
		return '['
	}
	return '*' // or other punctuation: it is the same
}

// styled writes emphasis where the characters around it let it be read as such (CommonMark §6.2), else only its content. Blanks
// at its ends are put outside.
func (w *mdWriter) styled(n Node, next rune) {
	inner := mdWriter{cell: w.cell, label: w.label}
	inner.pieces(n.Children, '*')
	content := inner.String()
	core := strings.Trim(content, " \t\n")
	if core == "" {
		w.WriteString(content)
		return
	}
	at := strings.Index(content, core)
	w.WriteString(content[:at])
	trailing := content[at+len(core):]
	previous := lastRune(w.String())
	if trailing != "" {
		next = ' '
	}
	mark := [...]string{Strong: "**", Emphasis: "_", Strike: "~~"}[n.Kind]
	if mark == "_" && (isWord(previous) || isWord(next)) {
		mark = "*"
	}
	first, last := firstRune(core), lastRune(core)
	opens := !isPunct(first) || isSpace(previous) || isPunct(previous)
	closes := !isPunct(last) || isSpace(next) || isPunct(next)
	clash := strings.HasPrefix(core, mark[:1]) || strings.HasSuffix(core, mark[:1]) || previous == rune(mark[0]) || strings.Contains(core, "\n\n")
	if !opens || !closes || clash {
		mark = ""
	}
	w.WriteString(mark + core + mark + trailing)
}

func (w *mdWriter) code(s string) {
	s = strings.ReplaceAll(s, "\n", " ")
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.Trim(s, " ") != "" && (strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") || strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`")) {
		s = " " + s + " "
	}
	if w.cell {
		s = strings.ReplaceAll(s, "|", `\|`)
	}
	if lastRune(w.String()) == '`' { // two spans side by side would join
		w.WriteString("&#8203;")
	}
	w.WriteString(fence + s + fence)
}

func (w *mdWriter) link(n Node) {
	label := n.Label()
	if n.Kind == Link && label == n.URL && !strings.HasPrefix(n.URL, "mailto:") && strings.IndexByte(n.URL, ':') > 1 && !w.cell {
		w.WriteString("<" + n.URL + ">")
		return
	}
	inner := mdWriter{cell: w.cell, label: true}
	inner.pieces(n.Children, ']')
	if n.Kind == Image {
		w.WriteByte('!')
	}
	target := entity.ReplaceAllString(n.URL, "&amp;$1")
	target = strings.NewReplacer("(", `\(`, ")", `\)`, "|", "%7C").Replace(target)
	w.WriteString("[" + strings.TrimSpace(inner.String()) + "](" + target + ")")
}

var (
	// entity is an ampersand that would be read as the beginning of a character reference.
	entity = regexp.MustCompile(`&(#?[0-9A-Za-z]+;)`)
	// tag is an angle bracket that could be that of an HTML tag or of a link.
	tag = regexp.MustCompile(`<([A-Za-z/!?])`)
)

// escape writes text so that all of it is read as text; next is the rune that follows it.
func (w *mdWriter) escape(s string, next rune) string {
	var b strings.Builder
	previous := lastRune(w.String())
	s = strings.ToValidUTF8(s, "\uFFFD")
	for i, r := range s {
		following, rest := next, s[i+utf8.RuneLen(r):]
		last := rest == ""
		if !last {
			following = firstRune(rest)
		}
		switch r {
		case '\\', '`':
			b.WriteByte('\\')
		case '[':
			if w.label {
				b.WriteByte('\\')
			}
		case ']': // where none can close, none can open
			if w.label || strings.ContainsRune("([:", following) || last && next != 0 {
				b.WriteByte('\\')
			}
		case '*', '~':
			if !isSpace(previous) || !isSpace(following) || previous == 0 || following == 0 {
				b.WriteByte('\\')
			}
		case '_':
			if !isWord(previous) || !isWord(following) {
				b.WriteByte('\\')
			}
		case '!':
			if last && next == '[' { // would make a picture of the link
				b.WriteByte('\\')
			}
		case '\n':
			r = ' '
		}
		b.WriteRune(r)
		previous = r
	}
	out := entity.ReplaceAllString(b.String(), "&amp;$1")
	out = tag.ReplaceAllString(out, "&lt;$1")
	if strings.HasSuffix(out, "<") && next != 0 {
		out = out[:len(out)-1] + "&lt;"
	}
	if strings.HasSuffix(out, "&") && next != 0 {
		out += "amp;"
	}
	if w.cell {
		out = strings.ReplaceAll(out, "|", "&#124;")
	}
	return out
}

func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// infoText is the language of a code block as far as it is a word.
func infoText(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), " ")
	if strings.ContainsFunc(s, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("+-#._", r) }) {
		return ""
	}
	return s
}
