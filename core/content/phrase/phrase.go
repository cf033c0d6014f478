// Package phrase is what the gateway says to people in its own words: the lines that stand for what a network cannot show, and
// why. It is the one place to translate them: a Phrase is the English text, and each other language has a table.
//
// The package is pure and part of core/content.
package phrase

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Phrase is a sentence or a word in English, with verbs of fmt for what varies. Translations may order them anew (%[2]s).
type Phrase string

// What stands for a thing that is not shown. The first %s names it: "📎 photo.jpg (2.3 MB)".
const (
	NotHere   Phrase = "%s: not available here"
	TooLarge  Phrase = "%s: larger than the %s allowed here"
	Elsewhere Phrase = "%s: %s" // a link
	SeenOnce  Phrase = "%s: to be seen once, only in the app it was sent to"
)

// What things are called.
const (
	Photo     Phrase = "photo"
	Video     Phrase = "video"
	Recording Phrase = "recording"
	VoiceNote Phrase = "voice message"
	File      Phrase = "file"
	Sticker   Phrase = "sticker"
	Place     Phrase = "place"
	Contact   Phrase = "contact"
	Date      Phrase = "appointment"
	Poll      Phrase = "poll"
	Call      Phrase = "call"
	Notice    Phrase = "notice"
)

// What people did.
const (
	Reacted      Phrase = "reacted with %s to “%s”"
	ReactedOld   Phrase = "reacted with %s to an earlier message"
	Unreacted    Phrase = "took back a reaction to “%s”"
	UnreactedOld Phrase = "took back a reaction to an earlier message"
	Edited       Phrase = "edited:"
	Deleted      Phrase = "deleted an earlier message"
	Voted        Phrase = "voted for %s"
	Unvoted      Phrase = "took back their vote"
	InThread     Phrase = "in the thread “%s”:"
	InThreadOld  Phrase = "in a thread:"
	Answering    Phrase = "in reply to %s:"
	AnsweringOld Phrase = "in reply to an earlier message:"
	Vanishes     Phrase = "to be deleted %s after reading"
	VanishesAt   Phrase = "to be deleted at %s"
	Question     Phrase = "poll: %s"
)

// How the sender learns of it. The first %s is a kind of message.
const (
	ShownAsLine  Phrase = "%s: shown as a line of text there"
	ShownReduced Phrase = "%s: shown in part there"
	NotShown     Phrase = "%s: not shown there"

	BecauseTooLarge Phrase = "larger than %s"
	BecauseTooMany  Phrase = "more than %s"
	BecauseTooLong  Phrase = "longer than %s"
	BecauseTooLate  Phrase = "too late to change it there"
	BecauseUnknown  Phrase = "what it refers to is not there"
	BecauseOnce     Phrase = "it was to be seen once"
)

// In returns the phrase in a language (RFC 5646; the first subtag counts) with its verbs filled in; in English where there is no
// translation.
func (p Phrase) In(language string, args ...any) string {
	text := string(p)
	if translated, ok := translations(language)[p]; ok {
		text = translated
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

func translations(language string) map[Phrase]string {
	switch primary(language) {
	case "de":
		return german
	}
	return nil
}

func primary(language string) string {
	tag, _, _ := strings.Cut(strings.ToLower(language), "-")
	return tag
}

// Size returns a size in octets as people read it: "2.3 MB", in German "2,3 MB". Units are decimal.
func Size(language string, octets uint64) string {
	if octets < 1000 {
		return strconv.FormatUint(octets, 10) + " B"
	}
	value, unit := float64(octets), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	for value >= 999.95 {
		value /= 1000
		unit++
	}
	s := strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0")
	if primary(language) == "de" {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s + " " + units[unit]
}

// Length returns the length of a recording: "0:07", "1:02:03".
func Length(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Span returns a time to live in its largest whole unit: "30 s", "5 min", "2 h", "7 d"; these symbols need no translation.
func Span(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, " d"}, {time.Hour, " h"}, {time.Minute, " min"}} {
		if d >= unit.of && d%unit.of == 0 {
			return strconv.FormatInt(int64(d/unit.of), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + " s"
}
