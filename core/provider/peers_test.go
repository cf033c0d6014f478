package provider

import (
	"errors"
	"testing"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

type keyMaterial = mimi.KeyMaterial

// numbered is told apart by its number.
type numbered struct {
	mimi.Hub
	mimi.Follower
	keyMaterial
	number int
}

func TestPeers(t *testing.T) {
	var list []uri.Provider
	for _, domain := range []string{"a.example", "b.example", "c.example"} {
		p, err := uri.NewProvider(domain)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	p := NewPeers(list[0])
	for i := range 2 {
		e := numbered{number: i}
		p.Add(list[i], Endpoints{Hub: e, Follower: e, KeyMaterial: e})
	}
	for i, peer := range list {
		hub, hubJoins, err1 := p.Hub(peer)
		follower, followerJoins, err2 := p.Follower(peer)
		keys, err3 := p.KeyMaterial(peer)
		if i == 2 {
			for _, err := range []error{err1, err2, err3} {
				if !errors.Is(err, ErrNoPeer) {
					t.Errorf("unknown: %v", err)
				}
			}
			continue
		}
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if hub.(numbered).number != i || follower.(numbered).number != i || keys.(numbered).number != i {
			t.Errorf("%v: another's endpoints", peer)
		}
		if hubJoins != (i == 0) || followerJoins != (i == 0) {
			t.Errorf("%v: joins %v %v", peer, hubJoins, followerJoins)
		}
	}
}
