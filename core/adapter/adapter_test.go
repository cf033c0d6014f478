package adapter

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"mimigate/core/content"
	"mimigate/core/uri"
)

// TestPlainData holds Event, Outbound and all that crosses the border to design §9: plain data, fit for another process.
func TestPlainData(t *testing.T) {
	bodies := []any{Message{}, Reactions{}, Membership{}, Profile{}, Receipt{}, Typing{}, ConversationState{}, Invitation{}, Command{}, Status{}}
	parts := []any{content.Single{}, content.External{}, content.Multi{}}
	crossing := []any{Event{}, Outbound{}, Sent{}, MemberUpdate{}, Upload{}, Range{}, HistoryQuery{}, HistoryPage{}, LoginStep{},
		NewConversation{}, Listed{}, content.Limits{}, Setup{}}
	seen := map[reflect.Type]bool{}
	for _, v := range append(append(crossing, bodies...), parts...) {
		checkPlain(t, reflect.TypeOf(v), reflect.TypeOf(v).Name(), seen)
	}
	for _, v := range bodies {
		if _, ok := v.(Body); !ok {
			t.Errorf("%T is no Body", v)
		}
	}
	if !seen[reflect.TypeFor[content.Part]()] || !seen[reflect.TypeFor[Ref]()] {
		t.Error("the walk did not reach content.Part and Ref")
	}
}

func checkPlain(t *testing.T, typ reflect.Type, path string, seen map[reflect.Type]bool) {
	if seen[typ] {
		return
	}
	seen[typ] = true
	switch typ {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[uri.User](), reflect.TypeFor[uri.Provider](), reflect.TypeFor[content.MessageID]():
		return // have a text form
	case reflect.TypeFor[Body](), reflect.TypeFor[content.Body]():
		return // closed sets, checked one by one
	}
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				t.Errorf("%s.%s is hidden", path, f.Name)
			}
			checkPlain(t, f.Type, path+"."+f.Name, seen)
		}
	case reflect.Map:
		checkPlain(t, typ.Key(), path+" key", seen)
		checkPlain(t, typ.Elem(), path+" value", seen)
	case reflect.Slice, reflect.Array, reflect.Pointer:
		checkPlain(t, typ.Elem(), path+" element", seen)
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr:
		t.Errorf("%s is a %v", path, typ)
	}
}

// TestInterfacesAreSmall holds the contract to design §9 and §11: three required methods, at most ten optional interfaces of at
// most six methods, most of them of one.
func TestInterfacesAreSmall(t *testing.T) {
	optional := []reflect.Type{reflect.TypeFor[Confirmer](), reflect.TypeFor[Media](), reflect.TypeFor[Members](),
		reflect.TypeFor[Profiles](), reflect.TypeFor[Receipts](), reflect.TypeFor[History](), reflect.TypeFor[Login](),
		reflect.TypeFor[Finder](), reflect.TypeFor[Creator](), reflect.TypeFor[Conversations]()}
	ones := 0
	for _, typ := range optional {
		if typ.NumMethod() > 6 {
			t.Errorf("%v has %d methods", typ, typ.NumMethod())
		}
		if typ.NumMethod() == 1 {
			ones++
		}
	}
	if len(optional) > 10 || 2*ones <= len(optional) {
		t.Errorf("%d optional interfaces, %d of one method", len(optional), ones)
	}
	if n := reflect.TypeFor[Adapter]().NumMethod(); n != 3 {
		t.Errorf("Adapter has %d methods", n)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("M_FORBIDDEN")
	for _, c := range []struct {
		err   error
		is    []error
		isNot []error
		delay time.Duration
	}{
		{NotDelivered(cause), []error{ErrNotDelivered, cause}, []error{ErrRefused, ErrGone}, 0},
		{RetryAfter(time.Minute, cause), []error{ErrNotDelivered, cause}, []error{ErrRefused, ErrGone}, time.Minute},
		{Refused(cause), []error{ErrNotDelivered, ErrRefused, cause}, []error{ErrGone}, 0},
		{Gone(cause), []error{ErrNotDelivered, ErrGone, cause}, []error{ErrRefused}, 0},
		{cause, nil, []error{ErrNotDelivered, ErrRefused, ErrGone}, 0},
	} {
		err := fmt.Errorf("send: %w", c.err)
		for _, target := range c.is {
			if !errors.Is(err, target) {
				t.Errorf("%v is not %v", err, target)
			}
		}
		for _, target := range c.isNot {
			if errors.Is(err, target) {
				t.Errorf("%v is %v", err, target)
			}
		}
		if d, ok := RetryDelay(err); d != c.delay || ok != (d > 0) {
			t.Errorf("%v: delay %v, %v", err, d, ok)
		}
	}
	if got := Refused(cause).Error(); got != "refused by the network: M_FORBIDDEN" {
		t.Error(got)
	}
	key := fmt.Errorf("account: %w", &KeyError{Key: "homeserver", Err: cause})
	if e := (*KeyError)(nil); !errors.As(key, &e) || e.Key != "homeserver" || !errors.Is(key, cause) {
		t.Errorf("%v", key)
	}
}

func TestHandlesInURLs(t *testing.T) {
	for _, s := range []string{"mxc://a/b", "@fox:example.org", "room@muc/ä ö%2F", `{"k":"v","u":"https://x/?a=b#c"}`, "\x00\xff"} {
		if got, ok := ParseBlob(Blob(s).URL()); !ok || string(got) != s {
			t.Errorf("blob %q came back as %q, %v", s, got, ok)
		}
		if got, ok := ParsePerson(PersonID(s).URL()); !ok || string(got) != s {
			t.Errorf("person %q came back as %q, %v", s, got, ok)
		}
		if strings.ContainsAny(PersonID(s).URL(), " ()<>[]\n\x00") {
			t.Errorf("%q does not fit a Markdown link", PersonID(s).URL())
		}
	}
	for _, s := range []string{"", "blob:", "person:", "https://a.example", "mimi://a.example/u/b", "person:%zz", "blob:%zz"} {
		if _, ok := ParseBlob(s); ok {
			t.Errorf("ParseBlob(%q)", s)
		}
		if _, ok := ParsePerson(s); ok {
			t.Errorf("ParsePerson(%q)", s)
		}
	}
}

func TestSecret(t *testing.T) {
	s := Secret("hunter2")
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "password", s, "in", struct{ S Secret }{s})
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), log.String(),
		fmt.Sprintf("%+v %#v", struct{ S Secret }{s}, struct{ S Secret }{s})} {
		if strings.Contains(text, "hunter") {
			t.Errorf("shown: %s", text)
		}
	}
	if s.Reveal() != "hunter2" || Secret("").String() != "" {
		t.Error("Reveal or the empty secret")
	}
}

func TestAccountStates(t *testing.T) {
	if LoggedOut.String() != "logged out" || Rejected.String() != "rejected" || AccountState(99).String() != "unknown" {
		t.Error("names out of step with the constants")
	}
}

func FuzzMarker(f *testing.F) {
	gateway, err := uri.NewProvider("chat.example.org")
	if err != nil {
		f.Fatal(err)
	}
	full := Marker{Gateway: gateway, Key: "0a1B", Origin: content.MessageID{1, 2}}
	noOrigin := Marker{Gateway: gateway, Key: "x"}
	for _, m := range []Marker{full, noOrigin} {
		if got, err := ParseMarker(m.String()); err != nil || got != m {
			f.Fatalf("%q: %+v, %v", m, got, err)
		}
	}
	for _, bad := range []string{"", "mimigate1", "mimigate2 a.example k ", "mimigate1 a.example k- ", "mimigate1 a.example  ",
		"mimigate1 a.example k 00", "mimigate1 a..example k ", "mimigate1 a.example " + strings.Repeat("k", 65) + " "} {
		if m, err := ParseMarker(bad); !errors.Is(err, ErrMarker) || !m.IsZero() {
			f.Fatalf("%q: %+v, %v", bad, m, err)
		}
	}
	f.Add(full.String())
	f.Add(noOrigin.String())
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMarker(s)
		if err != nil {
			return
		}
		if again, err := ParseMarker(m.String()); err != nil || again != m || m.IsZero() {
			t.Fatalf("%q: %+v, then %+v, %v", s, m, again, err)
		}
	})
}
