package content

import (
	"strings"
	"unicode"

	"mimigate/core/content/markup"
)

// SafeFilename returns the last element of a filename that somebody else chose, without what could lead out of a directory, hide its
// ending or break a line; at most 200 octets, its ending kept. It is empty where nothing is left.
func SafeFilename(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`<>:"|?*`, r) {
			return -1 // Cf: marks that turn the direction of text, among others
		}
		return r
	}, name)
	name = strings.Trim(name, ". ")
	const most = 200
	if len(name) <= most {
		return name
	}
	end := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 16 {
		end = name[i:]
	}
	return markup.SplitText(name, most-len(end))[0] + end
}
