package markup

import (
	"regexp"
	"strconv"
	"strings"
)

// ParseText reads plain text with the marks of a style. Blank lines part paragraphs; blanks at the start of a line stay, as no-break
// spaces. Every text is one: it cannot fail. Text longer than MaxLen is read without marks.
func ParseText(s string, style Style) Doc {
	s = clean(s)
	if len(s) > MaxLen {
		style = Plain
	}
	return parseLines(strings.Split(s, "\n"), style, 0)
}

// textReader gathers the lines of a paragraph.
type textReader struct {
	style Style
	out   []Node
	lines []Node // of the paragraph being read
}

func (r *textReader) line(s string) {
	if r.lines != nil {
		r.lines = append(r.lines, Node{Kind: Break})
	}
	s = strings.TrimRight(s, " \t")
	trimmed := strings.TrimLeft(s, " \t")
	blanks := strings.Repeat("\u00a0", len(strings.ReplaceAll(s[:len(s)-len(trimmed)], "\t", "    ")))
	r.lines = append(r.lines, parseSpans(blanks+trimmed, r.style)...)
}

func (r *textReader) endParagraph() {
	if lines := merge(r.lines); len(lines) > 0 {
		r.out = append(r.out, Node{Kind: Paragraph, Children: lines})
	}
	r.lines = nil
}

func (r *textReader) block(n Node) {
	r.endParagraph()
	r.out = append(r.out, n)
}

func parseLines(lines []string, style Style, depth int) []Node {
	r := textReader{style: style}
	for i := 0; i < len(lines); {
		line := lines[i]
		used := 0
		if style != Plain {
			used = r.special(lines[i:], depth)
		}
		switch {
		case used > 0:
			i += used
			continue
		case strings.TrimSpace(line) == "":
			r.endParagraph()
		default:
			r.line(line)
		}
		i++
	}
	r.endParagraph()
	return r.out
}

// special reads a block that is no paragraph from the start of lines, and returns how many lines it took; 0: there is none.
func (r *textReader) special(lines []string, depth int) int {
	switch line := lines[0]; {
	case strings.HasPrefix(line, "```"):
		return r.codeBlock(lines)
	case strings.HasPrefix(line, ">") && depth < maxDepth:
		n := 0
		var inner []string
		for n < len(lines) && strings.HasPrefix(lines[n], ">") {
			inner = append(inner, strings.TrimPrefix(lines[n][1:], " "))
			n++
		}
		r.block(Node{Kind: Quote, Children: parseLines(inner, r.style, depth+1)})
		return n
	case r.style == WhatsApp:
		return r.list(lines)
	}
	return 0
}

// codeBlock reads XEP-0393 §5.1.2: from ``` to a line that is ``` alone, or to the end. WhatsApp also has ```code``` in one line.
func (r *textReader) codeBlock(lines []string) int {
	first := lines[0][3:]
	if r.style == WhatsApp && strings.Contains(first, "```") {
		return 0
	}
	n := 1
	for n < len(lines) && strings.TrimRight(lines[n], " ") != "```" && !(r.style == WhatsApp && strings.HasSuffix(lines[n], "```")) {
		n++
	}
	body := append([]string(nil), lines[1:n]...)
	if r.style == WhatsApp && first != "" {
		body = append([]string{first}, body...)
	}
	if n < len(lines) {
		if last := strings.TrimSuffix(strings.TrimRight(lines[n], " "), "```"); last != "" {
			body = append(body, last)
		}
		n++
	}
	for i, line := range body {
		body[i] = strings.TrimPrefix(line, disarm)
	}
	code := Node{Kind: CodeBlock, Text: strings.Join(body, "\n")}
	if r.style == Styling {
		code.Info = infoText(first)
	}
	r.block(code)
	return n
}

var (
	bullet   = regexp.MustCompile(`^[-*] +(\S.*)$`)
	numbered = regexp.MustCompile(`^(\d{1,9})\. +(\S.*)$`)
)

// list reads WhatsApp's lists: lines that begin with "- " or "* ", or with numbers.
func (r *textReader) list(lines []string) int {
	list := Node{Kind: List}
	n := 0
	for ; n < len(lines); n++ {
		item := bullet.FindStringSubmatch(lines[n])
		if number := numbered.FindStringSubmatch(lines[n]); number != nil && (n == 0 || list.Ordered) {
			value, _ := strconv.Atoi(number[1])
			if n == 0 {
				list.Ordered, list.Start = true, value
			} else if value != list.Start+n {
				break
			}
			item = number[1:]
		} else if list.Ordered {
			break
		}
		if item == nil {
			break
		}
		list.Children = append(list.Children, Node{Kind: Item, Children: []Node{{Kind: Paragraph, Children: parseSpans(item[1], r.style)}}})
	}
	if n > 0 {
		r.block(list)
	}
	return n
}

var spanKinds = map[byte]Kind{'*': Strong, '_': Emphasis, '~': Strike, '`': Code}

// parseSpans reads the spans of one line (XEP-0393 §5.2): a mark opens after a blank, the line's start or another mark, but not before
// a blank; the nearest one that is not after a blank closes.
func parseSpans(s string, style Style) []Node {
	var out []Node
	start := 0 // of the text not yet in out
	var none [256]bool
	flush := func(end int) {
		t := s[start:end]
		for _, m := range marks {
			t = strings.ReplaceAll(t, disarm+string(m), string(m))
		}
		out = append(out, text(t)...)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		kind, isMark := spanKinds[c]
		if style == Plain || !isMark || none[c] || !opensSpan(s, i, style) {
			continue
		}
		mark := string(c)
		if style == WhatsApp && strings.HasPrefix(s[i:], "```") {
			mark = "```"
		}
		end := closeSpan(s, i+len(mark), mark, style)
		if end < 0 {
			none[c] = mark == string(c) // and none after this one either
			continue
		}
		flush(i)
		inner := s[i+len(mark) : end]
		if kind == Code {
			out = append(out, Node{Kind: Code, Text: inner})
		} else {
			out = append(out, Node{Kind: kind, Children: parseSpans(inner, style)})
		}
		i = end + len(mark) - 1
		start = i + 1
	}
	flush(len(s))
	return merge(out)
}

func opensSpan(s string, i int, style Style) bool {
	w := textWriter{style: style}
	previous := lastRune(s[:i])
	return isSpace(previous) || style == WhatsApp && w.mayOpen(previous, s[i])
}

// closeSpan returns where the mark closes a span that began before from, or −1.
func closeSpan(s string, from int, mark string, style Style) int {
	if from >= len(s) || isSpace(firstRune(s[from:])) {
		return -1
	}
	for at := from; ; {
		i := strings.Index(s[at:], mark)
		if i < 0 {
			return -1
		}
		at += i
		ends := at > from && !isSpace(lastRune(s[:at]))
		if ends && style == WhatsApp && isWord(firstRune(s[at+len(mark):])) {
			ends = false
		}
		if ends {
			return at
		}
		if at == from && style == Styling {
			return -1 // an empty span is none, and its marks are text
		}
		at += len(mark)
	}
}
