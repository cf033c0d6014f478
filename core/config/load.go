package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"mimigate/core/adapter"
)

const (
	// envName is what the names of our environment variables begin with: MIMIGATE_CONFIG is the file, and MIMIGATE_PROVIDER_DOMAIN
	// stands in for provider.domain, and so on for every single value that is not in a list.
	envName  = "MIMIGATE"
	fileName = "config.yaml"
	fileMax  = 4 << 20 // octets
)

// ErrNoFile: no configuration file was named, and there is none where it is looked for.
var ErrNoFile = errors.New("no configuration file")

// Options say what a configuration may speak of, and how it is read.
type Options struct {
	// Path of the file. Empty: $MIMIGATE_CONFIG, or else config.yaml in the working directory, in mimigate/ of the user's
	// configuration directory, or in /etc/mimigate/.
	Path string
	// Drivers are the networks of this binary, by name.
	Drivers map[string]adapter.Driver
	// Suites are the MLS cipher suites that this binary knows: name to code point.
	Suites map[string]uint16
	// ReadFile reads the files that the configuration refers to; nil: os.ReadFile.
	ReadFile func(name string) ([]byte, error)
	// Getenv returns the environment variables that the configuration refers to; nil: os.LookupEnv.
	Getenv func(name string) (string, bool)
}

// Load finds, reads and checks the configuration. It fails with ErrNoFile, with what the file system says, or with Problems:
// all that is wrong. What keeps only one account or peer from being used is in their Problems and is no error of Load.
func Load(o Options) (*Config, error) {
	path, err := find(o.Path)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parse(path, text, environment(), o)
}

// find returns the file to read.
func find(path string) (string, error) {
	v := viper.New()
	v.SetEnvPrefix(envName)
	if err := v.BindEnv("config"); err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	if path == "" {
		path = v.GetString("config")
	}
	if path != "" {
		return path, nil
	}
	dirs := []string{"."}
	if user, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(user, "mimigate"))
	}
	dirs = append(dirs, "/etc/mimigate")
	for _, dir := range dirs {
		v.AddConfigPath(dir)
	}
	v.SetConfigName(fileName)
	v.SetConfigType("yaml")
	// What is wrong with the text of a file is told below, with lines.
	if err := v.ReadInConfig(); errors.As(err, &viper.ConfigFileNotFoundError{}) || v.ConfigFileUsed() == "" {
		return "", fmt.Errorf("%w: looked for %s in %s; make one with \"mimigate config example\", or name one with --config or %s_CONFIG",
			ErrNoFile, fileName, strings.Join(dirs, ", "), envName)
	}
	return v.ConfigFileUsed(), nil
}

// environment returns the values that environment variables give, by key.
func environment() map[string]string {
	v := viper.New()
	v.SetEnvPrefix(envName)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	values := map[string]string{}
	for _, key := range singleKeys(reflect.TypeFor[Config](), "") {
		if v.IsSet(key) {
			values[key] = v.GetString(key)
		}
	}
	return values
}

// singleKeys returns the keys of all single values that are not in lists.
func singleKeys(t reflect.Type, path string) []string {
	var keys []string
	for _, f := range fields(reflect.New(t).Elem()) {
		_, own := f.value.Addr().Interface().(nodeDecoder)
		switch key := join(path, f.name); {
		case own || scalar(f.value):
			keys = append(keys, key)
		case f.value.Kind() == reflect.Struct:
			keys = append(keys, singleKeys(f.value.Type(), key)...)
		}
	}
	return keys
}

// parse decodes and checks the text of a configuration file, in which env stands in for some keys. It fails with Problems.
func parse(file string, text []byte, env map[string]string, o Options) (*Config, error) {
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	d := &decoder{opts: o, file: file, origin: map[*yaml.Node]string{}, keys: map[string]Pos{}, bad: map[string]bool{}}
	c := &Config{File: file}
	c.defaults()
	if root := d.document(text); root != nil {
		for _, key := range slices.Sorted(maps.Keys(env)) {
			d.override(root, key, env[key])
		}
		d.value(root, reflect.ValueOf(c).Elem(), "")
		d.check(c)
	}
	d.problems.sort()
	d.warnings.sort()
	c.Warnings = d.warnings
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return c, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// document returns the mapping that the text is, or nil where it is none.
func (d *decoder) document(text []byte) *yaml.Node {
	fail := func(line int, format string, args ...any) *yaml.Node {
		d.problems = append(d.problems, Problem{Pos{d.file, line}, fmt.Sprintf(format, args...)})
		return nil
	}
	if len(text) > fileMax {
		return fail(0, "larger than %d octets", fileMax)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1} // nothing but comments: all defaults
	} else if err != nil {
		line := 0
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1]) // digits
		}
		return fail(line, "no YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fail(more.Line, "a second document begins here: remove the line of dashes")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	}
	return root
}

// override sets a key of the document to the value of an environment variable.
func (d *decoder) override(root *yaml.Node, key, value string) {
	name := envName + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
	at := root
	for parts := strings.Split(key, "."); ; parts = parts[1:] {
		if at.Kind != yaml.MappingNode {
			return // a problem of the file, told when it is decoded
		}
		next := d.child(at, parts[0], name)
		if len(parts) > 1 {
			if next.Kind == yaml.ScalarNode && next.ShortTag() == "!!null" {
				next.Kind, next.Tag, next.Value = yaml.MappingNode, "", ""
			}
			at = next
			continue
		}
		*next = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
		d.origin[next] = name
		return
	}
}

// child returns the value of a mapping's key, made null if the key is not there.
func (d *decoder) child(n *yaml.Node, key, origin string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	k := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}
	v := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	d.origin[k], d.origin[v] = origin, origin
	n.Content = append(n.Content, k, v)
	return v
}

func (d *decoder) networks() []string { return slices.Sorted(maps.Keys(d.opts.Drivers)) }

// suites returns the names of the known cipher suites in the order of their code points.
func (d *decoder) suites() []string {
	return slices.SortedFunc(maps.Keys(d.opts.Suites), func(a, b string) int { return int(d.opts.Suites[a]) - int(d.opts.Suites[b]) })
}
