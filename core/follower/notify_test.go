package follower_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mimigate/core/follower"
	"mimigate/core/mimi"
	"mimigate/core/mls"
	"mimigate/core/store"
	"mimigate/core/uri"
)

// opener takes what stands in the inbox, or fails.
type opener struct {
	store *store.Store
	mu    sync.Mutex
	err   error
	got   []string
}

func (o *opener) Open(ctx context.Context, room uri.Room) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	for {
		number, body, ok, err := o.store.NextInbox(ctx, room)
		if err != nil || !ok {
			return err
		}
		o.got = append(o.got, string(body))
		if err := o.store.DropInbox(ctx, room, number); err != nil {
			return err
		}
	}
}

func (o *opener) set(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *opener) taken() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.got)
}

// body is a request with one message, which differs by its time.
func body(t *testing.T, at uint64) []byte {
	t.Helper()
	g, err := mls.DefaultSuites().NewSignatureKey(mls.X25519AES128, zeros{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := mls.NewKeyPackage(new(mls.Config), mls.X25519AES128, mls.LeafTemplate{Credential: mls.BasicCredential([]byte("x")), Signature: g})
	if err != nil {
		t.Fatal(err)
	}
	group, err := mls.NewGroup(new(mls.Config), []byte("g"), nil, j)
	if err != nil {
		t.Fatal(err)
	}
	step, err := group.Protect(0, []byte("x"), mls.Framing{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mimi.ParseMessage(step.Message)
	if err != nil {
		t.Fatal(err)
	}
	return mls.Marshal(&mimi.FanoutMessage{Timestamp: at, Message: m})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestNotify(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	options := store.Options{Location: filepath.Join(dir, "s"), Domain: "b.example", KeyFile: filepath.Join(dir, "k")}
	st, err := store.Open(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	o := &opener{store: st}
	begin := func() *follower.Follower {
		f := follower.New(follower.Config{Store: o.store, Opener: o, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err := f.Start(ctx); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := begin()
	room, err := uri.ParseRoom("mimi://a.example/r/x")
	if err != nil {
		t.Fatal(err)
	}
	hub := room.Provider()
	other, err := uri.NewProvider("c.example")
	if err != nil {
		t.Fatal(err)
	}
	one, two := body(t, 1), body(t, 2)
	if err := f.Notify(ctx, other, room, one); !errors.Is(err, mimi.ErrForbidden) {
		t.Errorf("from a provider that is not the hub: %v", err)
	}
	for _, bad := range [][]byte{nil, one[:len(one)-1], append(one[:len(one):len(one)], 1)} {
		if err := f.Notify(ctx, hub, room, bad); !errors.Is(err, mimi.ErrBadRequest) {
			t.Errorf("malformed: %v", err)
		}
	}
	for range 2 { // a duplicate is taken, and has no effect
		if err := f.Notify(ctx, hub, room, one); err != nil {
			t.Fatal(err)
		}
	}
	if o.taken() != 1 {
		t.Errorf("opened %d", o.taken())
	}
	// What cannot be opened is taken all the same, and stands in the inbox over a restart.
	o.set(errors.New("not now"))
	if err := f.Notify(ctx, hub, room, two); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err = store.Open(ctx, options); err != nil {
		t.Fatal(err)
	}
	o.store = st
	o.set(nil)
	f = begin()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for o.taken() < 2 {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("the inbox was not opened")
		}
	}
	if err := f.Notify(ctx, hub, room, two); err != nil || o.taken() != 2 {
		t.Errorf("a duplicate after the restart: %v, opened %d", err, o.taken())
	}
	if o.got[0] != string(one) || o.got[1] != string(two) {
		t.Error("bodies differ")
	}
	f.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
