package mimi

import (
	"errors"
	"testing"

	"mimigate/core/mls"
	"mimigate/core/uri"
)

func TestAuthentication(t *testing.T) {
	calls := 0
	a := &Authentication{
		Certificates: func([][]byte, []byte) error { calls++; return errors.New("not good") },
		Basic:        func(p uri.Provider) bool { return p.Domain() == "a.example" },
	}
	basic := func(text string) *mls.Credential {
		c := mls.BasicCredential([]byte(text))
		return &c
	}
	if err := a.VerifyCredential(basic("mimi://a.example/u/a"), nil); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"mimi://b.example/u/a", "mimi://a.example", "x"} {
		if err := a.VerifyCredential(basic(text), nil); !errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := new(Authentication).VerifyCredential(basic("mimi://a.example/u/a"), nil); !errors.Is(err, ErrIdentity) {
		t.Errorf("Basic where none is allowed: %v", err)
	}
	garbage := mls.X509Credential([]byte{1})
	if err := a.VerifyCredential(&garbage, nil); !errors.Is(err, ErrIdentity) || calls != 0 {
		t.Errorf("a certificate of nobody: %v, %d", err, calls)
	}
	if err := a.VerifySuccessor(basic("mimi://a.example/d/a/1"), basic("mimi://a.example/d/a/1")); err != nil {
		t.Error(err)
	}
	for _, next := range []string{"mimi://a.example/d/a/2", "mimi://a.example/d/b/1", "mimi://a.example/u/a", "x"} {
		if err := a.VerifySuccessor(basic("mimi://a.example/d/a/1"), basic(next)); !errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v", next, err)
		}
	}
	if err := a.VerifySuccessor(basic("x"), basic("mimi://a.example/u/a")); !errors.Is(err, ErrIdentity) {
		t.Errorf("from nobody: %v", err)
	}
	if err := a.VerifyExternalSender(basic("mimi://a.example"), nil); err != nil {
		t.Error(err)
	}
	for _, c := range []*mls.Credential{basic("mimi://a.example/u/a"), basic("a"), &garbage} {
		if err := a.VerifyExternalSender(c, nil); !errors.Is(err, ErrIdentity) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
