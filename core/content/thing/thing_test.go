package thing

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"mimigate/core/content"
)

func TestPoll(t *testing.T) {
	p := Poll{Question: "When?", Options: []Option{{ID: "a", Text: "now"}, {ID: "b", Text: "later"}}, Max: 2, Closed: true}
	data, err := Marshal(p)
	const want = "a4016557" + "68656e3f" + "0282826161636e6f7782616265" + "6c61746572" + "030205f5"
	if err != nil || hex.EncodeToString(data) != want {
		t.Fatalf("%x, %v", data, err)
	}
	if got, err := Unmarshal[Poll](data); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	part, err := p.Part()
	if err != nil || part.Kind() != content.KindPoll || string(part.Find(content.TypePoll)) != string(data) {
		t.Errorf("%+v, %v", part, err)
	}
	if text := part.Find("text/markdown"); string(text) != "📊 **poll: When?**\n\n1. now\n2. later" {
		t.Errorf("text: %q", text)
	}
	if part.Find("text/none") != nil {
		t.Error("found what is not there")
	}
}

func TestVote(t *testing.T) {
	for _, c := range []struct {
		vote Vote
		text string
	}{
		{Vote{Options: []Option{{ID: "a", Text: "now"}, {ID: "b", Text: "la\nter"}}}, "🗳 voted for now, la ter"},
		{Vote{Options: []Option{}}, "🗳 took back their vote"},
	} {
		part, err := c.vote.Part()
		if err != nil || part.Kind() != content.KindVote || string(part.Find("text/plain")) != c.text {
			t.Errorf("%+v, %v", part, err)
		}
		if got, err := Unmarshal[Vote](part.Find(content.TypeVote)); err != nil || !reflect.DeepEqual(got, c.vote) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if german := (Vote{Options: []Option{{ID: "a", Text: "jetzt"}}}).Line("de"); german != "🗳 stimmte für jetzt" {
		t.Error(german)
	}
}

func TestNotice(t *testing.T) {
	part, err := Notice{Event: MissedCall}.Part("Ann called")
	if err != nil || part.Kind() != content.KindNotice || string(part.Find("text/plain")) != "Ann called" {
		t.Fatalf("%+v, %v", part, err)
	}
	if got, err := Unmarshal[Notice](part.Find(content.TypeNotice)); err != nil || got.Event != MissedCall {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := (Notice{}).Part("x"); !errors.Is(err, ErrSyntax) {
		t.Errorf("no event: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, p := range map[string]Poll{
		"no question": {Options: []Option{{ID: "a"}}}, "no options": {Question: "x"}, "no id": {Question: "x", Options: []Option{{}}},
		"id twice": {Question: "x", Options: []Option{{ID: "a"}, {ID: "a"}}}, "long": {Question: strings.Repeat("x", MaxText+1), Options: []Option{{ID: "a"}}},
		"not UTF-8": {Question: "\xff", Options: []Option{{ID: "a"}}}, "many": {Question: "x", Options: make([]Option, MaxOptions+1)},
	} {
		if data, err := p.Part(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %+v, %v", name, data, err)
		}
	}
	if _, err := (Vote{Options: []Option{{}}}).Part(); !errors.Is(err, ErrSyntax) {
		t.Errorf("vote: %v", err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "no map": "80", "unknown field": "a30161780281826161" + "61610700", "indefinite": "bf016178028182616161" + "61ff", "zero that should be absent": "a3016178028182616161610300", "options null": "a201617802f6",
	} {
		data, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := Unmarshal[Poll](data); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestPlace(t *testing.T) {
	p := Place{Latitude: 52.5, Longitude: -13.25, Name: "Berlin"}
	data, err := MarshalPlace(p)
	if err != nil || string(data) != `{"type":"Feature","geometry":{"type":"Point","coordinates":[-13.25,52.5]},"properties":{"name":"Berlin"}}` {
		t.Fatalf("%s, %v", data, err)
	}
	if got, err := UnmarshalPlace(data); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := UnmarshalPlace([]byte(`{"type":"Point","coordinates":[1,2,3]}`)); err != nil || got != (Place{Latitude: 2, Longitude: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "[]", "{}", `{"type":"Point","coordinates":[1]}`, `{"type":"Feature"}`, `{"type":"Feature","geometry":{"type":"Line"}}`, `{"type":"Point","coordinates":[1,91]}`, strings.Repeat(" ", 4*MaxText) + "{}"} {
		if got, err := UnmarshalPlace([]byte(bad)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%.20q: %+v, %v", bad, got, err)
		}
	}
	if _, err := (Place{Latitude: math.NaN()}).Part(); !errors.Is(err, ErrSyntax) {
		t.Errorf("NaN: %v", err)
	}
	part, err := Place{Latitude: 1}.Part()
	if err != nil || part.Kind() != content.KindLocation || string(part.Find("text/markdown")) != "[📍 place](geo:1,0)" {
		t.Errorf("%+v, %v", part, err)
	}
	if p.Line() != "Berlin, geo:52.5,-13.25" {
		t.Error(p.Line())
	}
}

func TestParseGeo(t *testing.T) {
	for in, want := range map[string]Place{
		"geo:52.5,13.4": {Latitude: 52.5, Longitude: 13.4}, "geo:1,-2,30;u=10": {Latitude: 1, Longitude: -2}, "geo:0,0?z=1": {},
	} {
		if got, err := ParseGeo(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "52,13", "geo:", "geo:1", "geo:1,2,3,4", "geo:x,1", "geo:91,0", "geo:0,181", "geo:NaN,0", "geo:Inf,0"} {
		if got, err := ParseGeo(bad); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestLines(t *testing.T) {
	for in, want := range map[string]string{
		"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Bob \r\n Builder\\, Jr.\r\nTEL;VALUE=uri:tel:+49-1\r\nTEL:+49 2\r\nitem1.EMAIL:b@x.example\r\nEND:VCARD": "Bob Builder, Jr., +49-1, b@x.example",
		"FN;ENCODING=b:AAAA\nPHOTO;ENCODING=B:FN": "", "": "", "no card": "", "FN:a\\nb": "a b", "fn:lower": "lower", "FN:" + strings.Repeat("x", MaxText+1): "", "FN:\xff": "\uFFFD",
	} {
		if got := ContactLine([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\nSUMMARY:Xmas\nEND:VEVENT\nBEGIN:VEVENT\nLOCATION:other\nEND:VEVENT": "Xmas, 2026-12-24",
		"DTSTART;TZID=Europe/Berlin:20261224T180000": "2026-12-24 18:00", "DTSTART:soon": "soon", "x": "",
	} {
		if got := DateLine([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	poll, err := Marshal(Poll{Question: "x", Options: []Option{{ID: "a"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(poll)
	f.Add([]byte(`{"type":"Point","coordinates":[1,2,3]}`))
	f.Add([]byte("BEGIN:VCARD\r\nFN:Bob\r\n x\r\nitem1.EMAIL:b@x.example\r\nEND:VCARD"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Unmarshal[Poll](data); err == nil {
			if again, err := Marshal(p); err != nil || string(again) != string(data) {
				t.Fatalf("%x, %v", again, err)
			}
			p.Text("de")
		}
		if v, err := Unmarshal[Vote](data); err == nil {
			v.Line("")
		}
		if _, err := Unmarshal[Notice](data); err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatal(err)
		}
		if p, err := UnmarshalPlace(data); err == nil {
			if again, err := ParseGeo(p.URL()); err != nil || again.Latitude != p.Latitude || again.Longitude != p.Longitude {
				t.Fatalf("%+v: %+v, %v", p, again, err)
			}
		}
		ContactLine(data)
		DateLine(data)
	})
}
