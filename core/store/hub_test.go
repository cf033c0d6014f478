package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"mimigate/core/uri"
)

func testRoom(t *testing.T) uri.Room {
	t.Helper()
	room, err := uri.ParseRoom("mimi://chat.example.org/r/a")
	if err != nil {
		t.Fatal(err)
	}
	return room
}

// Hub and member of one instance own a room together; the next instance takes it over.
func TestOwnRoom(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		s := open(t, o)
		room := testRoom(t)
		first, err1 := s.OwnRoom(ctx, room)
		again, err2 := s.OwnRoom(ctx, room)
		if err := errors.Join(err1, err2, s.CheckRoom(ctx, room, first)); err != nil || first != again {
			t.Errorf("%d, %d, %v", first, again, err)
		}
		s = reopen(t, s, o)
		if err := s.CheckRoom(ctx, room, first); !errors.Is(err, ErrFenced) {
			t.Errorf("the number of the instance before: %v", err)
		}
		if next, err := s.OwnRoom(ctx, room); err != nil || next != first+1 {
			t.Errorf("%d, %v", next, err)
		}
		closed(t, s)
	})
}

func TestHubSecret(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		s := open(t, o)
		secret := []byte("a secret of the hub, seen nowhere")
		got, err := s.HubSecret(ctx, "x", func() ([]byte, error) { return secret, nil })
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%q, %v", got, err)
		}
		s = reopen(t, s, o)
		got, err = s.HubSecret(ctx, "x", func() ([]byte, error) { return []byte("another"), nil })
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("after a restart: %q, %v", got, err)
		}
		if _, err := s.HubSecret(ctx, "y", func() ([]byte, error) { return nil, errors.New("no") }); err == nil {
			t.Error("a secret that could not be made")
		}
		if file := onDisk(t, s, string(secret)); file != "" {
			t.Errorf("the secret stands in %s", file)
		}
		closed(t, s)
	})
}

// Requests are known again for a week and a day.
func TestKnownAgain(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		s := open(t, o)
		room := testRoom(t)
		now := time.Now()
		request := sha256.Sum256([]byte("request"))
		if err := s.PutHubAnswer(ctx, request, []byte("answer"), now); err != nil {
			t.Fatal(err)
		}
		fresh := func(at time.Time) bool {
			ok, err := s.PutInbox(ctx, room, []byte("body"), request, at)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !fresh(now) || fresh(now) {
			t.Error("a body is fresh once")
		}
		for _, days := range []int{7, 9} {
			recent := days < 8
			at := now.Add(time.Duration(days) * 24 * time.Hour)
			if fresh(at) == recent {
				t.Errorf("a body of %d days ago: %v", days, recent)
			}
			other := sha256.Sum256([]byte{byte(days)})
			if err := s.PutHubAnswer(ctx, other, []byte{}, at); err != nil {
				t.Fatal(err)
			}
			if answer, err := s.HubAnswer(ctx, request); err != nil || (answer != nil) != recent {
				t.Errorf("after %d days: %q, %v", days, answer, err)
			}
		}
		closed(t, s)
	})
}
