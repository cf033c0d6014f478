package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDirectory: ours has all ten endpoints, each with one variable.
func TestDirectory(t *testing.T) {
	text, err := json.Marshal(NewDirectory("https://mimi.a.example:8443/"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDirectory(text)
	if err != nil || len(d) != 10 {
		t.Fatalf("%d endpoints, %v", len(d), err)
	}
	for e, template := range d {
		if strings.Count(template, "{") != 1 || !strings.HasPrefix(template, "https://mimi.a.example:8443/"+string(e)+"/{") {
			t.Errorf("%s: %s", e, template)
		}
	}
}

// TestTemplates: others' templates, as they come.
func TestTemplates(t *testing.T) {
	const room, host = "mimi://a.example/r/club house", "a.example"
	const encoded = "mimi%3A%2F%2Fa.example%2Fr%2Fclub%20house"
	for template, want := range map[string]string{
		"https://x.example/v1/update{roomId}":       "https://x.example/v1/update" + encoded,
		"https://x.example/v1/update/{roomId}":      "https://x.example/v1/update/" + encoded,
		"https://x.example/{targetUser}/keys":       "https://x.example/" + encoded + "/keys",
		"https://x.example/consent/{targetDomain}":  "https://x.example/consent/a.example",
		"https://x.example/consent/{requesterUser}": "https://x.example/consent/" + encoded,
		"https://x.example/q?room={room}":           "https://x.example/q?room=" + encoded,
		"http://x.example/{roomId}":                 "",
		"https://x.example/update":                  "",
		"https://x.example/{a}/{b}":                 "",
		"https://x.example/{a":                      "",
		"https:///{roomId}":                         "",
		"https://user:pass@x.example/{roomId}":      "",
		"/update/{roomId}":                          "",
	} {
		u, err := Directory{Update: template}.URL(Update, room, host)
		switch {
		case want == "" && !errors.Is(err, ErrDirectory):
			t.Errorf("%s: %v %v", template, u, err)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%s: %v %v", template, u, err)
		}
	}
	if _, err := (Directory{}).URL(Update, room, host); !errors.Is(err, ErrDirectory) {
		t.Errorf("missing: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"120": 2 * time.Minute, "0": 0, now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
		now.Add(-time.Hour).Format(http.TimeFormat): 0, "": -1, "soon": -1, "-5": -1} {
		got, ok := retryAfter(text, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v %v", text, got, ok)
		}
	}
}

func FuzzParseDirectory(f *testing.F) {
	f.Add([]byte(`{"update":"https://x.example/{roomId}","x":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseDirectory(text)
		if err != nil {
			return
		}
		for e := range d {
			if u, err := d.URL(e, "mimi://a.example/r/club", "a.example"); err == nil && (u.Scheme != "https" || u.Host == "") {
				t.Errorf("%s leads to %s", d[e], u)
			}
		}
	})
}
