// Package thing is what people send besides text and files, in the form that stands in a message's part: polls and votes and
// notices (types of our own, CBOR), places (GeoJSON), and what of contacts (vCard) and appointments (iCalendar) fits on a line.
//
// The package is pure and part of core/content. Everything decoded here may have been written by anybody.
package thing

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"mimigate/core/content/strictcbor"
)

// ErrSyntax is wrapped by all errors about octets that are not what they should be.
var ErrSyntax = errors.New("not a thing of that kind")

// Bounds of a poll, our local policy.
const (
	MaxOptions = 256
	MaxText    = 4096 // octets of each text
)

// Poll is a question with options. It is in a part of type application/vnd.mimigate.poll+cbor: {1: question, 2: [[id, text]…], 3: max,
// 4: hidden, 5: closed}, of which the last three are left out when zero. An edit of the message by its author closes it.
type Poll struct {
	Question string   `cbor:"1,keyasint"`
	Options  []Option `cbor:"2,keyasint"`
	Max      uint16   `cbor:"3,keyasint,omitempty"` // options one person may choose; 0: one
	Hidden   bool     `cbor:"4,keyasint,omitempty"` // results are shown when it is closed
	Closed   bool     `cbor:"5,keyasint,omitempty"`
}

// Option is an answer to a poll.
type Option struct {
	_    struct{} `cbor:",toarray"`
	ID   string   // unique within the poll
	Text string
}

// Vote is one person's present choice, in reply to the poll: application/vnd.mimigate.vote+cbor, {1: [[id, text]…]}. It has the texts
// too, so that it can be shown where the poll is not known. No options: the choice is taken back.
type Vote struct {
	Options []Option `cbor:"1,keyasint"`
}

// Notice is something that happened and is no message, e.g. a missed call: application/vnd.mimigate.notice+cbor, {1: event}. A text
// that people read goes beside it.
type Notice struct {
	Event string `cbor:"1,keyasint"` // one of the constants, or unknown
}

// Events of notices.
const (
	MissedCall = "call.missed"
)

// Marshal encodes a Poll, Vote or Notice. It fails with ErrSyntax where Unmarshal would.
func Marshal[T Poll | Vote | Notice](v T) ([]byte, error) {
	if err := check(any(v)); err != nil {
		return nil, err
	}
	data, err := strictcbor.Marshal(v)
	if err != nil {
		return nil, err
	}
	if err := strictcbor.Check(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return data, nil
}

// Unmarshal decodes a Poll, Vote or Notice. Errors wrap ErrSyntax.
func Unmarshal[T Poll | Vote | Notice](data []byte) (T, error) {
	var v, none T
	if err := strictcbor.Check(data); err != nil {
		return none, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if err := strictcbor.Unmarshal(data, &v); err != nil {
		return none, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if !strictcbor.Same(v, data) {
		return none, fmt.Errorf("%w: wrong shape", ErrSyntax)
	}
	if err := check(any(v)); err != nil {
		return none, err
	}
	return v, nil
}

func check(v any) error {
	switch v := v.(type) {
	case Poll:
		if v.Question == "" || len(v.Question) > MaxText || len(v.Options) == 0 {
			return fmt.Errorf("%w: question or options missing or too long", ErrSyntax)
		}
		return checkOptions(v.Options)
	case Vote:
		return checkOptions(v.Options)
	case Notice:
		if v.Event == "" || len(v.Event) > MaxText {
			return fmt.Errorf("%w: event", ErrSyntax)
		}
	}
	return nil
}

func checkOptions(options []Option) error {
	if len(options) > MaxOptions {
		return fmt.Errorf("%w: %d options", ErrSyntax, len(options))
	}
	seen := map[string]bool{}
	for _, o := range options {
		if o.ID == "" || seen[o.ID] || len(o.ID) > MaxText || len(o.Text) > MaxText {
			return fmt.Errorf("%w: option without an id of its own, or too long", ErrSyntax)
		}
		seen[o.ID] = true
	}
	return nil
}

// Place is a point on Earth.
type Place struct {
	Latitude, Longitude float64 // degrees, WGS 84
	Name                string  // may be empty
}

type geoJSON struct {
	Type        string      `json:"type"`
	Coordinates []float64   `json:"coordinates,omitempty"`
	Geometry    *geoJSON    `json:"geometry,omitempty"`
	Properties  *properties `json:"properties,omitempty"`
}

type properties struct {
	Name string `json:"name,omitempty"`
}

// MarshalPlace encodes a place as GeoJSON (RFC 7946): a Feature with a Point, and its name as a property. It fails with ErrSyntax for
// coordinates that are none.
func MarshalPlace(p Place) ([]byte, error) {
	if !p.valid() {
		return nil, fmt.Errorf("%w: coordinates", ErrSyntax)
	}
	return json.Marshal(geoJSON{Type: "Feature", Properties: &properties{p.Name},
		Geometry: &geoJSON{Type: "Point", Coordinates: []float64{p.Longitude, p.Latitude}}})
}

// UnmarshalPlace decodes a GeoJSON Point, or a Feature with one. Errors wrap ErrSyntax.
func UnmarshalPlace(data []byte) (Place, error) {
	var g geoJSON
	if len(data) > 4*MaxText || json.Unmarshal(data, &g) != nil {
		return Place{}, fmt.Errorf("%w: no GeoJSON", ErrSyntax)
	}
	var p Place
	if g.Type == "Feature" {
		if g.Properties != nil {
			p.Name = g.Properties.Name
		}
		if g.Geometry == nil {
			return Place{}, fmt.Errorf("%w: no geometry", ErrSyntax)
		}
		g = *g.Geometry
	}
	if g.Type != "Point" || len(g.Coordinates) < 2 {
		return Place{}, fmt.Errorf("%w: no point", ErrSyntax)
	}
	p.Longitude, p.Latitude = g.Coordinates[0], g.Coordinates[1]
	if !p.valid() {
		return Place{}, fmt.Errorf("%w: coordinates", ErrSyntax)
	}
	return p, nil
}

func (p Place) valid() bool {
	return math.Abs(p.Latitude) <= 90 && math.Abs(p.Longitude) <= 180 // false for NaN
}

// URL returns the place as a geo: URI (RFC 5870).
func (p Place) URL() string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return "geo:" + number(p.Latitude) + "," + number(p.Longitude)
}

// ParseGeo reads a geo: URI; its altitude and parameters are left out. Errors wrap ErrSyntax.
func ParseGeo(s string) (Place, error) {
	rest, ok := strings.CutPrefix(s, "geo:")
	rest, _, _ = strings.Cut(rest, ";")
	rest, _, _ = strings.Cut(rest, "?")
	numbers := strings.Split(rest, ",")
	if !ok || len(numbers) < 2 || len(numbers) > 3 {
		return Place{}, fmt.Errorf("%w: no geo: URI", ErrSyntax)
	}
	latitude, err1 := strconv.ParseFloat(numbers[0], 64)
	longitude, err2 := strconv.ParseFloat(numbers[1], 64)
	p := Place{Latitude: latitude, Longitude: longitude}
	if err1 != nil || err2 != nil || !p.valid() {
		return Place{}, fmt.Errorf("%w: coordinates", ErrSyntax)
	}
	return p, nil
}

// Fields returns the first value of each named property of a vCard (RFC 6350) or of the first event of an iCalendar object (RFC 5545):
// "FN", "TEL", "SUMMARY". What is not there, or binary, is missing from the result. It never fails: a card that is none has no fields.
func Fields(data []byte, names ...string) map[string]string {
	out := map[string]string{}
	text := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(strings.ToValidUTF8(string(data), "\uFFFD"))
	events := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(line, ":")
		key, parameters, _ := strings.Cut(strings.ToUpper(key), ";")
		if _, group, grouped := strings.Cut(key, "."); grouped {
			key = group
		}
		if key == "BEGIN" && strings.EqualFold(value, "VEVENT") {
			events++
		}
		if !ok || events > 1 || strings.Contains(parameters, "ENCODING=B") {
			continue
		}
		for _, name := range names {
			if key == name && out[name] == "" && len(value) <= MaxText {
				out[name] = strings.TrimSpace(unescape.Replace(strings.TrimPrefix(value, "tel:")))
			}
		}
	}
	return out
}

var unescape = strings.NewReplacer(`\n`, " ", `\N`, " ", `\,`, ",", `\;`, ";", `\\`, `\`)
