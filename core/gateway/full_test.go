package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk: while the disk is full nothing new is accepted, and the status says what to do; when there is room again all that was said is shown,
// once and in order, without anybody's doing.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "store")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	n, drivers := newNetworks("left", "right")
	ann := n.join(t, "left", "Ann")
	n.join(t, "right", "Bob")
	g := start(t, load(t, dir, twoNetworks, drivers), drivers)
	t.Cleanup(g.end) // before the disk goes
	n.members(t, "right", "Ann", "Bob")
	ok := must(t)
	ok(ann.Say("before"))
	n.sees(t, "right", "Ann", "before")

	fill := filepath.Join(disk, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 1<<12))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 20 {
		text := fmt.Sprintf("said %d %s", i, strings.Repeat("x", 2000))
		ok(ann.Say(text))
		want = append(want, text)
	}
	eventually(t, "the state of the store", func(ctx context.Context) error {
		s, err := g.Status(ctx)
		if err != nil {
			return err
		}
		if !strings.Contains(s.Store, "make room") {
			return fmt.Errorf("the status says %q", s.Store)
		}
		return nil
	})
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	n.sees(t, "right", "Ann", want[len(want)-1])
	var got []string
	for _, m := range n["right"].Messages("room") {
		if strings.HasPrefix(m.Text, "said ") {
			got = append(got, m.Text)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d of %d are shown, or in another order", len(got), len(want))
	}
	s, err := g.Status(t.Context())
	if err != nil || s.Store != "" {
		t.Errorf("the store is still %q, %v", s.Store, err)
	}
}
