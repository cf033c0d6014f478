package bridges

import (
	"reflect"
	"testing"
)

// TestDrivers holds every driver to the convention of adapter.Driver: a name, a constructor, and a fresh pointer to a struct whose
// fields all have yaml and doc tags.
func TestDrivers(t *testing.T) {
	for name, d := range Drivers() {
		if name == "" || d.Name != name || d.New == nil || d.Config == nil {
			t.Errorf("%q: incomplete driver %+v", name, d)
			continue
		}
		a, b := reflect.ValueOf(d.Config()), reflect.ValueOf(d.Config())
		if a.Kind() != reflect.Pointer || a.Elem().Kind() != reflect.Struct || a.Pointer() == b.Pointer() {
			t.Errorf("%s: Config must return a pointer to a new struct, got %v", name, a.Type())
			continue
		}
		for i := range a.Elem().NumField() {
			f := a.Elem().Type().Field(i)
			if f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "" {
				t.Errorf("%s: %s has no yaml or no doc tag", name, f.Name)
			}
		}
	}
}
