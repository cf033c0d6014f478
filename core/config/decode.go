package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"mimigate/core/adapter"
	"mimigate/core/uri"
)

// decoder turns YAML nodes into our structs, and collects all that is wrong. viper would lower-case keys, split them at
// dots and forget their lines (design §10).
type decoder struct {
	opts     Options
	file     string
	origin   map[*yaml.Node]string // of nodes that come from an environment variable
	problems Problems
	warnings Problems
	missing  *Problems       // where references that lead to nothing are told: of the account or peer they belong to
	keys     map[string]Pos  // where each key stands, by its path with indices
	bad      map[string]bool // paths that were not decoded, whose checks would only repeat it
}

// defaulter is a struct with defaults other than zero.
type defaulter interface{ defaults() }

// nodeDecoder decodes itself.
type nodeDecoder interface {
	decodeNode(d *decoder, n *yaml.Node, path string)
}

func (d *decoder) pos(n *yaml.Node) Pos {
	if name, ok := d.origin[n]; ok {
		return Pos{File: name}
	}
	return Pos{d.file, n.Line}
}

var index = regexp.MustCompile(`\[\d+\]`)

// problem tells what is wrong at a node. path is the key's, whose indices the line makes superfluous.
func (d *decoder) problem(n *yaml.Node, path, format string, args ...any) {
	d.bad[path] = true
	d.problems = append(d.problems, d.told(d.pos(n), path, format, args...))
}

func (d *decoder) told(at Pos, path, format string, args ...any) Problem {
	text := fmt.Sprintf(format, args...)
	if path = index.ReplaceAllString(path, ""); path != "" {
		text = path + ": " + text
	}
	return Problem{at, text}
}

// failed tells an error at a node: with the account or peer, if a reference leads to nothing and they can be left out.
func (d *decoder) failed(n *yaml.Node, path string, err error) {
	var u *unreadable
	if errors.As(err, &u) && d.missing != nil {
		*d.missing = append(*d.missing, d.told(d.pos(n), path, "%v", err))
		return
	}
	d.problem(n, path, "%v", err)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// value decodes a node into v. A value that is missing after its key leaves v as it is: with its default.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problem(n, path, "anchors (&) and aliases (*) are not supported: write it out")
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if own, ok := v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, n, path)
		return
	}
	switch {
	case scalar(v):
		if n.Kind != yaml.ScalarNode || !strings.HasPrefix(n.ShortTag(), "!!") || n.ShortTag() == "!!binary" {
			d.problem(n, path, "want a single value")
			return
		}
		if err := d.scalar(n.Value, v); err != nil {
			d.failed(n, path, err)
		}
	case v.Kind() == reflect.Struct:
		d.structs(n, path, v)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	default:
		panic("config: no value can be read into a " + v.Type().String()) // a driver's Config that its test would have shown
	}
}

// scalar reports whether a single value is read into v.
func scalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// scalar reads a single value into v.
func (d *decoder) scalar(text string, v reflect.Value) error {
	switch to := v.Addr().Interface().(type) {
	case *adapter.Secret:
		s, err := d.secret(text)
		*to = adapter.Secret(s)
		return err
	case *time.Duration:
		var err error
		*to, err = parseDuration(text)
		return err
	case *uri.Provider:
		p, err := uri.NewProvider(text)
		if err != nil {
			return errors.New("want a domain, such as chat.example.org")
		}
		*to = p
		return nil
	case encoding.TextUnmarshaler:
		return to.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || len(text) < 2 {
			return errors.New("want true or false")
		}
		v.SetBool(b)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number from 0 to %d", uint64(1)<<v.Type().Bits()-1)
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return errors.New("want a whole number")
		}
		v.SetInt(n)
	}
	return nil
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, path, "want a list: lines that begin with a dash, or [a, b]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		path := fmt.Sprintf("%s[%d]", path, i)
		d.keys[path] = d.pos(item)
		if item.Kind == yaml.ScalarNode && item.ShortTag() == "!!null" {
			d.problem(item, path, "an item without a value")
		}
		element := v.Index(i)
		if p, ok := element.Addr().Interface().(defaulter); ok {
			p.defaults()
		}
		d.element(item, element, path)
	}
}

// element decodes an item of a list, and keeps its place where it has a field for that.
func (d *decoder) element(n *yaml.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Struct {
		if at := v.FieldByName("At"); at.IsValid() {
			at.Set(reflect.ValueOf(d.pos(n)))
		}
		if problems := v.FieldByName("Problems"); problems.IsValid() {
			d.missing = problems.Addr().Interface().(*Problems)
			defer func() { d.missing = nil }()
		}
	}
	d.value(n, v, path)
}

// field is a key of a mapping and where its value goes.
type field struct {
	name, was string
	oneof     []string
	value     reflect.Value
}

// fields returns the keys of structs.
func fields(structs ...reflect.Value) []field {
	var list []field
	for _, s := range structs {
		for i := range s.NumField() {
			tag := s.Type().Field(i).Tag
			if name := tag.Get("yaml"); name != "" && name != "-" {
				list = append(list, field{name, tag.Get("was"), strings.Fields(tag.Get("oneof")), s.Field(i)})
			}
		}
	}
	return list
}

// structs decodes a mapping into the fields of structs that share it.
func (d *decoder) structs(n *yaml.Node, path string, structs ...reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "want keys with values, each on a line of its own: key: value")
		return
	}
	all := fields(structs...)
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(all, func(f field) bool {
			return key.Kind == yaml.ScalarNode && (f.name == key.Value || f.was != "" && f.was == key.Value)
		})
		if at < 0 {
			d.unknownKey(key, path, names)
			continue
		}
		f := all[at]
		if f.name != key.Value {
			d.warnings = append(d.warnings, d.told(d.pos(key), join(path, f.was), "this key is now called %s: rename it", f.name))
		}
		if first, ok := seen[f.name]; ok {
			d.problem(key, join(path, f.name), "given twice, first at %s", d.pos(first))
			continue
		}
		seen[f.name] = key
		d.keys[join(path, f.name)] = d.pos(key)
		d.field(value, f, join(path, f.name))
	}
}

func (d *decoder) unknownKey(key *yaml.Node, path string, names []string) {
	if key.Kind != yaml.ScalarNode {
		d.problem(key, path, "a key must be a word")
		return
	}
	word := key.Value
	if len(word) > 64 {
		word = word[:64] + "…"
	}
	d.problem(key, path, "unknown key %q%s", word, didYouMean(key.Value, names))
}

func (d *decoder) field(n *yaml.Node, f field, path string) {
	before := f.value.String()
	d.value(n, f.value, path)
	if text := f.value.String(); len(f.oneof) > 0 && !slices.Contains(f.oneof, text) && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		d.problem(n, path, "%q is none of: %s", text, strings.Join(f.oneof, ", "))
		f.value.SetString(before)
	}
}

// decodeNode decodes an account: our keys and those of its network's driver.
func (a *Account) decodeNode(d *decoder, n *yaml.Node, path string) {
	var network string
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "network" {
				network = n.Content[i+1].Value
			}
		}
	}
	own := reflect.ValueOf(a).Elem()
	driver, ok := d.opts.Drivers[network]
	if !ok {
		d.unknownNetwork(a, n, path)
		return
	}
	a.Config = driver.Config()
	d.structs(n, path, own, reflect.ValueOf(a.Config).Elem())
	a.keys = map[string]Pos{}
	for key, at := range d.keys {
		if name, ok := strings.CutPrefix(key, path+"."); ok {
			a.keys[name] = at
		}
	}
}

// unknownNetwork tells that the network is missing or unknown, and not that each of its keys is.
func (d *decoder) unknownNetwork(a *Account, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		d.structs(n, path)
		return
	}
	at, name := n, ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key, value := n.Content[i], n.Content[i+1]; key.Value {
		case "network":
			at, name = value, value.Value
		case "id":
			d.keys[path+".id"] = d.pos(key)
			d.value(value, reflect.ValueOf(&a.ID).Elem(), path+".id")
		}
	}
	if name == "" {
		d.problem(at, path, "an account needs its network: one of %s", strings.Join(d.networks(), ", "))
		return
	}
	d.problem(at, path+".network", "unknown network %q%s", name, didYouMean(name, d.networks()))
}

// decodeNode decodes a binding: account/chat, or a mapping.
func (b *Binding) decodeNode(d *decoder, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode {
		d.value(n, reflect.ValueOf(&b.Chat).Elem(), path)
		return
	}
	before := len(d.problems)
	d.structs(n, path, reflect.ValueOf(b).Elem())
	if b.Chat == (Chat{}) && len(d.problems) == before {
		d.problem(n, path, "a binding needs its chat: account/chat")
	}
}

// decodeNode decodes a cipher suite: a number, or a name of those in Options.
func (c *CipherSuite) decodeNode(d *decoder, n *yaml.Node, path string) {
	if number, err := strconv.ParseUint(n.Value, 10, 16); err == nil && n.Kind == yaml.ScalarNode {
		for _, known := range d.opts.Suites {
			if uint64(known) == number {
				*c = CipherSuite(number)
				return
			}
		}
		d.problem(n, path, "this version does not know the cipher suite %d; it knows: %s", number, strings.Join(d.suites(), ", "))
		return
	}
	known, ok := d.opts.Suites[n.Value]
	if !ok || n.Kind != yaml.ScalarNode {
		d.problem(n, path, "unknown cipher suite%s", didYouMean(n.Value, d.suites()))
		return
	}
	*c = CipherSuite(known)
}

// decodeNode decodes a text: itself, or file:/path.
func (t *Text) decodeNode(d *decoder, n *yaml.Node, path string) {
	var text string
	d.value(n, reflect.ValueOf(&text).Elem(), path)
	name, ok := strings.CutPrefix(text, filePrefix)
	if !ok {
		t.Content = text
		return
	}
	content, err := d.readFile(name)
	if err != nil {
		d.failed(n, path, err)
	}
	*t = Text{content, d.path(name)}
}

// decodeNode decodes where the master keys are.
func (k *KeyRef) decodeNode(d *decoder, n *yaml.Node, path string) {
	var text string
	d.value(n, reflect.ValueOf(&text).Elem(), path)
	if name, ok := strings.CutPrefix(text, filePrefix); ok && name != "" {
		k.File = d.path(name)
		return
	}
	keys, err := d.secret(text)
	if err != nil {
		d.failed(n, path, err)
	}
	k.Keys = adapter.Secret(keys)
}
