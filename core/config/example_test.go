package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// certificate is one that anybody may have, so that a peer's ca can be checked.
var certificate = func() string {
	b, err := os.ReadFile("testdata/peer.pem")
	if err != nil {
		panic(err)
	}
	return string(b)
}()

// Each whole example is in the file, commented out, and passes the check when it is not.
func TestExamples(t *testing.T) {
	file := string(Example(testOptions().Drivers))
	for _, name := range exampleNames {
		text, err := exampleFiles.ReadFile("examples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		begin, ok := strings.CutPrefix(file[max(0, strings.Index(file, "#"+string(text[:20]))):], "#")
		if !ok {
			t.Fatalf("%s is not in the file", name)
		}
		block, _, _ := strings.Cut(begin, "\n\n")
		c, err := parse(name, []byte(strings.ReplaceAll(block, "\n#", "\n")), nil, withCredentials())
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		if len(c.Rooms) == 0 || len(c.Accounts) == 0 || len(c.Warnings) != 0 {
			t.Errorf("%s: %+v", name, c)
		}
		for _, a := range c.Accounts {
			if len(a.Problems) != 0 {
				t.Errorf("%s: %v", name, a.Problems)
			}
		}
	}
}

func withCredentials() Options {
	o := testOptions()
	o.Getenv = func(name string) (string, bool) { return "/run/" + name, true }
	return o
}

// An example of networks that are not in this binary is left out.
func TestExampleWithoutNetworks(t *testing.T) {
	o := testOptions()
	delete(o.Drivers, "xmpp")
	if text := string(Example(o.Drivers)); strings.Contains(text, "a family") || !strings.Contains(text, "two organisations") || strings.Contains(text, "xmpp-1") {
		t.Error("the wrong examples")
	}
}

// The file as it is sets nothing; with each # before a key deleted, it still decodes: every key shown exists and has a value of its type.
func TestExampleKeys(t *testing.T) {
	text := Example(testOptions().Drivers)
	c, err := parse("example", text, nil, testOptions())
	if err != nil || len(c.Accounts) != 0 || c.Provider.Store != "/var/lib/mimigate" {
		t.Fatalf("%v, %+v", err, c)
	}
	reference, _, _ := strings.Cut(string(text), "\n## Example")
	set := regexp.MustCompile(`(?m)^( *)#([^ #])`).ReplaceAllString(reference, "$1$2")
	if !strings.Contains(set, "\n  - id: matrix-1\n    # ") || !strings.Contains(set, "\n      body: delivered\n") {
		t.Fatalf("the test does not find the keys:\n%s", set)
	}
	_, err = parse("example", []byte(set), nil, testOptions())
	if err == nil {
		return
	}
	// Its bindings name accounts of the whole examples; nothing else may be wrong.
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, `unknown account "matrix-home"`) {
			t.Error(line)
		}
	}
}

// Every key is documented by a sentence.
func TestDocTags(t *testing.T) {
	var walk func(path string, list []documented)
	walk = func(path string, list []documented) {
		for _, f := range list {
			if path := join(path, f.name); !strings.HasSuffix(f.doc, ".") && !strings.HasSuffix(f.doc, "…") {
				t.Errorf("%s: %q", path, f.doc)
			} else if v := f.value; v.Kind() == reflect.Struct && !scalar(v) {
				walk(path, structFields(v))
			} else if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
				walk(path, structFields(newElement(v)))
			}
		}
	}
	walk("", structFields(reflect.ValueOf(&Config{}).Elem()))
}
