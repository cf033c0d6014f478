package gateway_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mimigate/core/gateway"
	"mimigate/core/store"
	"mimigate/core/store/database"
)

// TestTakenOver: a gateway whose store another has taken ends, and says why.
func TestTakenOver(t *testing.T) {
	n, drivers := newNetworks("left", "right")
	c := load(t, t.TempDir(), twoNetworks, drivers)
	o := gateway.Options{Config: c, Drivers: drivers, Log: testLog(t)}
	ann := n.join(t, "left", "Ann")
	g := start(t, c, drivers)
	g.opened("left/room", "right/room")
	if err := os.Remove(filepath.Join(c.Provider.Files, database.LockFile)); err != nil {
		t.Fatal(err)
	}
	options, err := o.StoreOptions()
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	must(t)(ann.Say("Hello"))
	select {
	case err := <-g.done:
		if !errors.Is(err, store.ErrLost) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("it did not end")
	}
	g.stop()
	g.stop = nil // it has ended
}
