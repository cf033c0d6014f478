package markup

import (
	"html"
	"strconv"
	"strings"
)

// HTML writes HTML of the few elements that Matrix allows. A single paragraph stands without its <p>. All text is escaped, and
// there are no attributes but href, start and the class of a code block.
func (d Doc) HTML() string {
	var w htmlWriter
	if len(d) == 1 && d[0].Kind == Paragraph {
		w.all(d[0].Children)
	} else {
		w.all(d)
	}
	return w.String()
}

type htmlWriter struct{ strings.Builder }

func (w *htmlWriter) all(nodes []Node) {
	for _, n := range nodes {
		w.node(n)
	}
}

// element writes an element around the children of n; open may have attributes, already escaped.
func (w *htmlWriter) element(open string, n Node) {
	name, _, _ := strings.Cut(open, " ")
	w.WriteString("<" + open + ">")
	w.all(n.Children)
	w.WriteString("</" + name + ">")
}

// htmlNames are the elements of the kinds that need nothing more.
var htmlNames = map[Kind]string{
	Strong: "strong", Emphasis: "em", Strike: "del", Paragraph: "p", Quote: "blockquote", Row: "tr", Cell: "td",
}

func (w *htmlWriter) node(n Node) {
	switch n.Kind {
	case Text:
		w.WriteString(html.EscapeString(n.Text))
	case Break, SoftBreak:
		w.WriteString("<br>")
	case Code:
		w.WriteString("<code>" + html.EscapeString(n.Text) + "</code>")
	case Link, Image:
		w.element(`a href="`+html.EscapeString(n.URL)+`"`, n)
	case Heading:
		w.element("h"+strconv.Itoa(min(max(n.Level, 1), 6)), n)
	case List:
		w.list(n)
	case CodeBlock:
		w.WriteString("<pre><code")
		if info := infoText(n.Info); info != "" {
			w.WriteString(` class="language-` + html.EscapeString(info) + `"`)
		}
		w.WriteString(">" + html.EscapeString(n.Text) + "\n</code></pre>")
	case Rule:
		w.WriteString("<hr>")
	case Table:
		w.table(n)
	default:
		w.element(htmlNames[n.Kind], n)
	}
}

func (w *htmlWriter) list(n Node) {
	name := "ul"
	if n.Ordered {
		name = "ol"
		if n.Start != 1 {
			name += ` start="` + strconv.Itoa(n.Start) + `"`
		}
	}
	w.WriteString("<" + name + ">")
	for _, item := range n.Children {
		w.WriteString("<li>" + taskBox(item.Task))
		for i, block := range item.Children {
			if i == 0 && block.Kind == Paragraph {
				w.all(block.Children)
			} else {
				w.node(block)
			}
		}
		w.WriteString("</li>")
	}
	w.WriteString("</" + name[:2] + ">")
}

func (w *htmlWriter) table(n Node) {
	w.WriteString("<table>")
	for i, row := range n.Children {
		if i > 0 {
			w.node(row)
			continue
		}
		w.WriteString("<thead><tr>")
		for _, cell := range row.Children {
			w.element("th", cell)
		}
		w.WriteString("</tr></thead><tbody>")
	}
	w.WriteString("</tbody></table>")
}

// taskBox is the checkbox of an item where there is no form element for it.
func taskBox(t Task) string {
	return [...]string{NoTask: "", TaskOpen: "☐ ", TaskDone: "☑ "}[t]
}
