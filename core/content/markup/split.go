package markup

import (
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// SplitText cuts plain text into pieces of at most limit octets: between paragraphs if it can, else between lines, sentences,
// words, and last between characters as people see them (grapheme clusters, UAX #29). A single character that is longer is
// cut between code points. Blanks at the cuts go; nothing else does. A limit of 0 is none; one below 4 is 4.
func SplitText(s string, limit int) []string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if limit <= 0 || len(s) <= limit {
		return []string{s}
	}
	limit = max(limit, utf8.UTFMax)
	var out []string
	for len(s) > limit {
		at := boundary(s, limit)
		if piece := strings.TrimRight(s[:at], " \n"); piece != "" {
			out = append(out, piece)
		}
		s = strings.TrimLeft(s[at:], " \n")
	}
	if s != "" {
		out = append(out, s)
	}
	return out
}

// boundary returns the best place to cut s, after at least one code point and at most limit octets, of which s has more. In
// the last half before limit anything better than a mere word's end is taken.
func boundary(s string, limit int) int {
	window := s[:limit]
	half := limit / 2
	for _, ends := range [][]string{{"\n\n"}, {"\n"}, {". ", "! ", "? ", "… ", "。", "！", "？"}, {" "}} {
		best := 0
		for _, end := range ends {
			if i := strings.LastIndex(window, end); i >= 0 {
				best = max(best, i+len(end))
			}
		}
		if best > half {
			return best
		}
	}
	if i := strings.LastIndexAny(window, " \n"); i > 0 {
		return i + 1
	}
	at, state := 0, -1
	for rest := s; rest != ""; {
		cluster, tail, _, next := uniseg.FirstGraphemeClusterInString(rest, state)
		if at+len(cluster) > limit {
			break
		}
		at += len(cluster)
		rest, state = tail, next
	}
	if at > 0 {
		return at
	}
	for at = limit; at > 1 && !utf8.RuneStart(s[at]); at-- {
	}
	return at
}

// Split cuts d like SplitText, keeping its formatting: what is cut in two is of its kind in both pieces, and lists go on counting.
// No piece is longer than limit octets as GFM-MIMI or in any Style. Where that cannot be, as a single link is longer, the
// formatting goes.
func (d Doc) Split(limit int) []Doc {
	if limit <= 0 || d.fits(limit) {
		return []Doc{d}
	}
	limit = max(limit, 4*utf8.UTFMax)
	var out []Doc
	for len(d) > 0 && !d.fits(limit) {
		flat := flatten(d)
		// The longest beginning that fits: what is written is never shorter than what it says.
		window, _ := cut(d, min(limit, len(flat)))
		n := sort.Search(min(limit, len(flat)), func(n int) bool {
			head, _ := cut(window, n+1)
			return !Doc(head).fits(limit)
		})
		at := 0
		if n > 0 {
			at = boundary(flat+" ", n)
		}
		head, tail := cut(d, at)
		if len(head) == 0 {
			return append(out, d.splitPlain(limit)...)
		}
		if len(head) > 0 {
			out = append(out, head)
		}
		d = tail
	}
	if len(d) > 0 {
		out = append(out, d)
	}
	return out
}

func (d Doc) fits(limit int) bool {
	return least(d) <= limit && len(d.Markdown()) <= limit && len(d.Text(Plain)) <= limit && len(d.Text(Styling)) <= limit && len(d.Text(WhatsApp)) <= limit
}

// least is what the nodes take at the least, in any form.
func least(nodes []Node) int {
	sum := 0
	for _, n := range nodes {
		sum += len(n.Text) + least(n.Children)
		if n.Kind == Item || n.Kind == Cell || n.Kind == Break || n.Kind == SoftBreak {
			sum++
		}
	}
	return sum
}

// splitPlain gives up the formatting. Text that must be escaped is longer than it looks, so the pieces get shorter until all fit.
func (d Doc) splitPlain(limit int) []Doc {
	for size := limit; ; size = max(size/2, utf8.UTFMax) {
		var out []Doc
		fit := true
		for _, piece := range SplitText(d.Text(Plain), size) {
			doc := ParseText(piece, Plain)
			fit = fit && doc.fits(limit)
			out = append(out, doc)
		}
		if fit || size == utf8.UTFMax {
			return out
		}
	}
}

// flatten returns what the nodes say, with a line's end for a break and two for a block's; cut counts in its octets. Blanks within
// links and code are no places to cut.
func flatten(nodes []Node) string {
	var b strings.Builder
	for _, n := range nodes {
		switch n.Kind {
		case Text, CodeBlock:
			b.WriteString(n.Text)
		case Code:
			b.WriteString(strings.ReplaceAll(n.Text, " ", "x"))
		case Link, Image:
			b.WriteString(strings.ReplaceAll(flatten(n.Children), " ", "x"))
		case Break, SoftBreak:
			b.WriteByte('\n')
		default:
			b.WriteString(flatten(n.Children))
		}
		if n.Kind.IsBlock() {
			b.WriteString("\n\n")
		}
	}
	return b.String()
}

// cut parts nodes at an octet of what flatten says of them.
func cut(nodes []Node, at int) (head, tail []Node) {
	for i, n := range nodes {
		size := len(flatten(nodes[i : i+1]))
		if size <= at {
			head = append(head, n)
			at -= size
			continue
		}
		first, second := cutNode(n, at)
		if second == nil { // only its end is behind the cut
			head, at = append(head, n), 0
			continue
		}
		if first != nil {
			head = append(head, *first)
		}
		if second.Kind == Text {
			second.Text = strings.TrimLeft(second.Text, " ")
		}
		tail = append(tail, *second)
		return head, append(tail, nodes[i+1:]...)
	}
	return head, nil
}

// cutNode parts one node; a side that would say nothing is nil.
func cutNode(n Node, at int) (first, second *Node) {
	if at == 0 {
		return nil, &n
	}
	one, two := n, n
	switch n.Kind {
	case Break, SoftBreak, Rule:
		return nil, &n
	case Text, Code, CodeBlock:
		at = min(at, len(n.Text))
		for at > 0 && at < len(n.Text) && !utf8.RuneStart(n.Text[at]) {
			at--
		}
		one.Text, two.Text = n.Text[:at], n.Text[at:]
		if n.Kind == CodeBlock {
			one.Text, two.Text = strings.TrimSuffix(one.Text, "\n"), strings.TrimPrefix(two.Text, "\n")
		}
		if two.Text == "" {
			return &n, nil
		}
		if one.Text == "" {
			return nil, &n
		}
		return &one, &two
	}
	one.Children, two.Children = cut(n.Children, at)
	if n.Kind == List && n.Ordered {
		two.Start = n.Start + len(one.Children)
		if len(one.Children)+len(two.Children) > len(n.Children) { // an item was cut in two
			two.Start--
		}
	}
	if n.Kind == Item {
		two.Task = NoTask
	}
	if len(two.Children) == 0 {
		return &n, nil
	}
	if len(one.Children) == 0 {
		return nil, &n
	}
	return &one, &two
}

// Excerpt returns the beginning of a plain text on one line, of at most so many grapheme clusters, with … where something is left
// out.
func Excerpt(s string, characters int) string {
	s = strings.Join(strings.Fields(s), " ")
	at, state := 0, -1
	for rest := s; rest != ""; characters-- {
		cluster, tail, _, next := uniseg.FirstGraphemeClusterInString(rest, state)
		if characters <= 0 {
			return strings.TrimRight(s[:at], " ") + "…"
		}
		at += len(cluster)
		rest, state = tail, next
	}
	return s
}
