package gateway_test

import (
	"path/filepath"
	"testing"

	"mimigate/core/gateway"
	"mimigate/core/gateway/maintain"
)

// TestRestore: a gateway that was put back to a backup joins its rooms anew, and people go on talking. What was said since the backup it does
// not know any more: a network with a history may report it again.
func TestRestore(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	dir := t.TempDir()
	c := load(t, dir, twoNetworks, drivers)
	o := gateway.Options{Config: c, Drivers: drivers, Log: testLog(t)}
	ann, bob := n.join(t, "left", "Ann"), n.join(t, "right", "Bob")
	g := start(t, c, drivers)
	n.members(t, "left", "Ann", "Bob")
	n.members(t, "right", "Ann", "Bob")
	ok := must(t)
	ok(ann.Say("before the backup"))
	n.sees(t, "right", "Ann", "before the backup")
	file := filepath.Join(dir, "backup")
	if _, err := maintain.Save(t.Context(), o, file, false, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	ok(bob.Say("after the backup"))
	n.sees(t, "left", "Bob", "after the backup")
	g.end()
	if _, err := maintain.Restore(t.Context(), o, file, true, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	start(t, c, drivers)
	ok(ann.Say("from Ann again"))
	n.sees(t, "right", "Ann", "from Ann again")
	ok(bob.Say("from Bob again"))
	n.sees(t, "left", "Bob", "from Bob again")
	for network, texts := range map[string][]string{"right": {"before the backup", "from Ann again"}, "left": {"from Bob again"}} {
		for _, text := range texts {
			count := 0
			for _, m := range n[network].Messages("room") {
				if m.Text == text {
					count++
				}
			}
			if count != 1 {
				t.Errorf("%s shows %q %d times", network, text, count)
			}
		}
	}
}
