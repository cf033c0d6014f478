package adapter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SplitText splits a text of UTF-8 into pieces of at most limit octets for networks with short messages: between paragraphs, else
// lines, else words, else characters, and never inside a character with its combining marks and joiners unless that alone is too
// long. White space where it is split is left out. A limit below 1 means no bound, one below 4 means 4.
func SplitText(text string, limit int) []string {
	if limit < 1 || len(text) <= max(limit, utf8.UTFMax) {
		return []string{text}
	}
	limit = max(limit, utf8.UTFMax)
	var pieces []string
	for len(text) > limit {
		at := splitAt(text, limit)
		if piece := strings.TrimRightFunc(text[:at], unicode.IsSpace); piece != "" {
			pieces = append(pieces, piece)
		}
		text = strings.TrimLeftFunc(text[at:], unicode.IsSpace)
	}
	if text != "" || len(pieces) == 0 {
		pieces = append(pieces, text)
	}
	return pieces
}

// splitAt returns where to split a text longer than limit: 1 ≤ at ≤ limit, and limit ≥ 4.
func splitAt(text string, limit int) int {
	head := text[:limit]
	for _, sep := range []string{"\n\n", "\n", " "} {
		// A piece of less than half the size would read worse than a split at a lesser place.
		if at := strings.LastIndex(head, sep); at >= limit/2 {
			return at + len(sep)
		}
	}
	if at := strings.LastIndexFunc(head, unicode.IsSpace); at > 0 {
		return at
	}
	at := limit
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	whole := at
	for at > 0 && joined(text, at) {
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
	}
	if at == 0 {
		at = whole
	}
	return max(at, 1)
}

// joined reports whether the characters before and after at belong together: marks, modifiers, joiners and the halves of flags.
func joined(text string, at int) bool {
	const joiner = '\u200d'
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	after, _ := utf8.DecodeRuneInString(text[at:])
	return before == joiner || after == joiner || unicode.Is(unicode.M, after) || unicode.Is(unicode.Variation_Selector, after) ||
		after >= 0x1F3FB && after <= 0x1F3FF || regional(after) && insideFlag(text[:at])
}

// insideFlag reports whether text ends with the first half of a flag: an odd number of regional indicators.
func insideFlag(text string) bool {
	odd := false
	for text != "" {
		r, size := utf8.DecodeLastRuneInString(text)
		if !regional(r) {
			break
		}
		odd = !odd
		text = text[:len(text)-size]
	}
	return odd
}

func regional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }
