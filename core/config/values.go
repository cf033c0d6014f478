package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"mimigate/core/adapter"
)

// Size is a number of octets, written with a unit: 500kB, 100MB (a million each), 2GiB (2³⁰ each).
type Size int64

// units are those of sizes, the largest first and each name before those that it ends in.
var units = []struct {
	name   string
	octets int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(string(b), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.octets {
			break
		}
		*s = Size(int64(n) * u.octets)
		return nil
	}
	if string(b) == "0" {
		*s = 0
		return nil
	}
	return errors.New("want a size such as 500kB, 100MB or 2GB")
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range units {
		if int64(s)%u.octets == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.octets, u.name)
		}
	}
	return "" // unreachable: every size is a multiple of 1B
}

const day = 24 * time.Hour

// parseDuration reads a length of time as Go does, with days before that: 7d, 1d12h, 90m.
func parseDuration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if number, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return 0, errDuration
		}
		days = time.Duration(n) * day
		if rest = after; rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") || d > math.MaxInt64-days {
		return 0, errDuration
	}
	return days + d, nil
}

var errDuration = errors.New("want a length of time such as 90s, 12h or 7d")

// formatDuration writes a length of time so that parseDuration reads the same.
func formatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Keep is how long bodies are kept; 0: until they are delivered.
type Keep time.Duration

const untilDelivered = "delivered"

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Keep) UnmarshalText(b []byte) error { return lengthOr((*time.Duration)(k), untilDelivered, b) }

// String returns "delivered" or the length of time.
func (k Keep) String() string { return formatOr(time.Duration(k), untilDelivered) }

// History is how far back messages are fetched when a chat is bound; 0: not at all.
type History time.Duration

const noHistory = "none"

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *History) UnmarshalText(b []byte) error { return lengthOr((*time.Duration)(h), noHistory, b) }

// String returns "none" or the length of time.
func (h History) String() string { return formatOr(time.Duration(h), noHistory) }

// lengthOr reads a length of time, or a word for none.
func lengthOr(d *time.Duration, zero string, text []byte) error {
	if string(text) == zero {
		*d = 0
		return nil
	}
	n, err := parseDuration(string(text))
	if err != nil || n == 0 {
		return fmt.Errorf("want %s, or a length of time such as 12h or 7d", zero)
	}
	*d = n
	return nil
}

func formatOr(d time.Duration, zero string) string {
	if d == 0 {
		return zero
	}
	return formatDuration(d)
}

// CipherSuite is the code point of an MLS cipher suite (RFC 9420 §17.1). Which ones there are, Options say.
type CipherSuite uint16

// PersonRef is a person on a network, written network:id.
type PersonRef struct {
	Network string
	ID      adapter.PersonID
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PersonRef) UnmarshalText(b []byte) error {
	network, id, ok := strings.Cut(string(b), ":")
	if !ok || network == "" || id == "" {
		return errors.New("want network:id, such as matrix:@inge:example.org")
	}
	*p = PersonRef{network, adapter.PersonID(id)}
	return nil
}

// String returns network:id.
func (p PersonRef) String() string {
	if p.ID == "" {
		return ""
	}
	return p.Network + ":" + string(p.ID)
}

// Chat is a chat as one of our accounts sees it, written account/chat. The chat is as people name it on the network (an alias,
// an address), which the adapter resolves to its id.
type Chat struct {
	Account string
	ID      string
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Chat) UnmarshalText(b []byte) error {
	account, id, ok := strings.Cut(string(b), "/")
	if !ok || account == "" || id == "" {
		return errors.New("want account/chat, such as matrix-home/#familie:example.org")
	}
	*c = Chat{account, id}
	return nil
}

// String returns account/chat.
func (c Chat) String() string {
	if c == (Chat{}) {
		return ""
	}
	return c.Account + "/" + c.ID
}

// Text is a text, written itself or as file:/path of it.
type Text struct {
	Content string
	File    string // where it was read from; "" where it was written itself
}

// String returns the reference, or the text.
func (t Text) String() string {
	if t.File != "" {
		return filePrefix + t.File
	}
	return t.Content
}

// KeyRef says where the store's master keys are: in a file, which is not read here as it is made at the first start, or in a secret.
type KeyRef struct {
	File string
	Keys adapter.Secret // the keys themselves, where File is empty
}

// String returns the reference of a file; keys are not shown.
func (k KeyRef) String() string {
	if k.File != "" {
		return filePrefix + k.File
	}
	return k.Keys.String()
}
