package config

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"mimigate/core/adapter"
)

//go:embed examples/*.yaml
var exampleFiles embed.FS

// exampleNames are the whole examples, the smallest first.
var exampleNames = []string{"family", "office", "two-organisations"}

const exampleHead = `# The configuration of mimigate: every key, with its default or an example. Delete the # directly before a key to set it.
# "mimigate config check" tells what is wrong, with the line. Whole examples are at the end.
# MIMIGATE_PROVIDER_DOMAIN and so on, in the environment, stand in for single keys; MIMIGATE_CONFIG names the file.
# Lengths of time: 90s, 12h, 7d. Sizes: 500kB, 100MB, 2GB.
# A secret is not written here, only where it is: file:/path, env:NAME or systemd:NAME.
#
# This file is made from the program itself ("mimigate config example").
`

// Example returns the documentation of the configuration as a file that is itself valid and sets nothing: every key with what
// it is for, those of the given drivers' accounts included, and whole examples of those that need no other networks.
func Example(drivers map[string]adapter.Driver) []byte {
	p := &printer{}
	p.b.WriteString(exampleHead)
	c := &Config{}
	c.defaults()
	for _, f := range structFields(reflect.ValueOf(c).Elem()) {
		p.b.WriteString("\n")
		p.doc(0, f)
		fmt.Fprintf(&p.b, "%s:\n", f.name)
		switch {
		case f.name == "accounts":
			p.accounts(drivers)
		case f.value.Kind() == reflect.Slice:
			p.item(newElement(f.value))
		default:
			p.keys(2, f.value)
		}
	}
	for _, name := range exampleNames {
		text, err := exampleFiles.ReadFile("examples/" + name + ".yaml")
		if err != nil {
			panic("config: " + err.Error()) // it is embedded
		}
		if !speaks(drivers, text) {
			continue
		}
		p.b.WriteString("\n")
		for line := range strings.Lines(string(text)) {
			p.b.WriteString("#" + line)
		}
	}
	return p.b.Bytes()
}

// speaks reports whether all networks of an example are among the drivers.
func speaks(drivers map[string]adapter.Driver, example []byte) bool {
	var c struct {
		Accounts []struct{ Network string }
	}
	if err := yaml.Unmarshal(example, &c); err != nil {
		panic("config: " + err.Error()) // it is embedded, and tested
	}
	for _, a := range c.Accounts {
		if _, ok := drivers[a.Network]; !ok {
			return false
		}
	}
	return true
}

// documented is a field of a configuration struct with what its tags say.
type documented struct {
	field
	doc, example string
}

func structFields(v reflect.Value) []documented {
	var list []documented
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if name := tag.Get("yaml"); name != "" && name != "-" {
			f := field{name: name, oneof: strings.Fields(tag.Get("oneof")), value: v.Field(i)}
			list = append(list, documented{f, tag.Get("doc"), tag.Get("example")})
		}
	}
	return list
}

// newElement returns an element of a list with its defaults.
func newElement(list reflect.Value) reflect.Value {
	v := reflect.New(list.Type().Elem())
	if d, ok := v.Interface().(defaulter); ok {
		d.defaults()
	}
	return v.Elem()
}

// printer writes keys and their documentation. Before a line of documentation stands "# ", before a key "#".
type printer struct{ b bytes.Buffer }

const docWidth = 118

func (p *printer) doc(indent int, f documented) {
	text := f.doc
	if len(f.oneof) > 0 {
		text += " One of: " + strings.Join(f.oneof, ", ") + "."
	}
	start := strings.Repeat(" ", indent) + "#"
	line := start
	for word := range strings.FieldsSeq(text) {
		if line != start && len(line)+1+len(word) > docWidth {
			p.b.WriteString(line + "\n")
			line = start
		}
		line += " " + word
	}
	if line != start {
		p.b.WriteString(line + "\n")
	}
}

// item writes an element of a list as its first, indented by two.
func (p *printer) item(v reflect.Value) {
	for i, f := range structFields(v) {
		if i == 0 {
			p.doc(2, f)
			fmt.Fprintf(&p.b, "  #- %s: %s\n", f.name, show(f))
			continue
		}
		p.key(4, f)
	}
}

// accounts writes an account for each network.
func (p *printer) accounts(drivers map[string]adapter.Driver) {
	for i, name := range slices.Sorted(maps.Keys(drivers)) {
		a := &Account{ID: name + "-1", Network: name}
		a.defaults()
		if i == 0 {
			p.item(reflect.ValueOf(a).Elem())
		} else {
			fmt.Fprintf(&p.b, "\n  #- id: %s\n    #network: %s\n", a.ID, name)
		}
		p.keys(4, reflect.ValueOf(drivers[name].Config()).Elem())
	}
}

func (p *printer) keys(indent int, v reflect.Value) {
	for _, f := range structFields(v) {
		p.key(indent, f)
	}
}

func (p *printer) key(indent int, f documented) {
	p.doc(indent, f)
	start := strings.Repeat(" ", indent) + "#" + f.name + ":"
	_, own := f.value.Addr().Interface().(nodeDecoder)
	switch {
	case f.example != "" || own || scalar(f.value):
		fmt.Fprintf(&p.b, "%s %s\n", start, show(f))
	case f.value.Kind() == reflect.Struct:
		p.b.WriteString(start + "\n")
		p.keys(indent+2, f.value)
	default:
		fmt.Fprintf(&p.b, "%s %s\n", start, show(f))
	}
}

// show returns a value as it may stand in the file: the default; an example where there is none.
func show(f documented) string {
	switch v := f.value.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case adapter.Secret:
		return filePrefix + "/etc/mimigate/" + f.name
	case fmt.Stringer:
		if text := v.String(); text != "" && (f.example == "" || !f.value.IsZero()) {
			return quoted(text)
		}
	}
	if f.example != "" && f.value.IsZero() {
		return f.example
	}
	switch f.value.Kind() {
	case reflect.String:
		return quoted(f.value.String())
	case reflect.Slice:
		var items []string
		for i := range f.value.Len() {
			items = append(items, fmt.Sprint(f.value.Index(i).Interface()))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(f.value.Interface())
}

// quoted returns a string as YAML, in quotes where it needs them.
func quoted(s string) string {
	b, err := yaml.Marshal(s)
	if err != nil {
		panic("config: " + err.Error()) // a string can be marshalled
	}
	return strings.TrimSpace(string(b))
}
