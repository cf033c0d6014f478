package policy

import (
	"slices"
	"strings"
)

// Optionality is how strongly a feature is asked for (mimi-room-policy-04 §6.1).
type Optionality uint8

// The values on the wire.
const (
	Optional  Optionality = 0
	Required  Optionality = 1
	Forbidden Optionality = 2
)

// StatusNotifications is the status_notification_policy (§6.1): clients obey it, nobody else can see it.
type StatusNotifications struct {
	Delivery Optionality
	Read     Optionality
}

// JoinLinkRules is the join_link_policy (§6.2).
type JoinLinkRules struct {
	OnRequest  bool
	Link       string // where a link can be asked for, or empty
	MultiUser  bool   // a link may be used by several people
	Expiration uint32 // seconds a new link is good for
}

// LinkPreviews is the link_preview_policy (§6.3).
type LinkPreviews struct {
	Autodetect Optionality // find links in plain text; never Required
	Send       Optionality // attach a preview to a sent link
	Automatic  Optionality // make previews on receipt
	ProxyUse   Optionality // through Proxy
	Proxy      string      // URI; empty exactly where ProxyUse is Forbidden
}

func (p *LinkPreviews) validate() error {
	switch {
	case p == nil:
		return nil
	case p.Autodetect == Required:
		return Invalid(secLinkPreview, "autodetect_hyperlinks_in_text is required")
	case (p.ProxyUse == Forbidden) != (p.Proxy == ""):
		return Invalid(secLinkPreview, "a proxy must be named exactly where its use is not forbidden")
	}
	return nil
}

// Logging is the logging_policy (§6.5). It is active where Clients is not empty.
type Logging struct {
	Logging         Optionality
	Clients         []string // user URIs of the logging clients, at most one per provider
	MachineReadable string   // URI of the provider's policy, or empty
	HumanReadable   string
}

func (p *Logging) validate() error {
	if p == nil {
		return nil
	}
	if p.Logging == Required && len(p.Clients) == 0 {
		return Invalid(secLogging, "logging is required and no client does it")
	}
	providers := make(map[string]bool)
	for _, c := range p.Clients {
		d := domainOf(c)
		if providers[d] {
			return Invalid(secLogging, "two logging clients of one provider")
		}
		providers[d] = true
	}
	return nil
}

// domainOf returns the host of a URI in lower case, or the whole text where there is none.
func domainOf(uri string) string {
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return strings.ToLower(host)
	}
	return uri
}

// History is the chat_history_policy (§6.6).
type History struct {
	Sharing   Optionality
	Roles     []RoleIndex // who may share
	Automatic bool        // without being asked by a person
	MaxTime   uint32      // seconds of history, at most
}

func (r *Rules) validateHistory() error {
	if r.History == nil {
		return nil
	}
	for _, i := range r.History.Roles {
		role := r.Role(i)
		if i == NoRole || i == BannedRole || role == nil || !role.MayBeActive() {
			return Invalid(secHistory, "role %d cannot share history", i)
		}
	}
	return nil
}

// Bot is an entry of the bot_policy (§6.7).
type Bot struct {
	Name, Description string
	Homepage          string // URI
	Local             bool   // not a participant: it works inside somebody's client
	Role              RoleIndex
	CanTarget         bool // may write to single participants
	PerUserContent    bool // may show different content to different people
}

func (r *Rules) validateBots() error {
	for i, b := range r.Bots {
		if b.Local && b.Role != NoRole {
			return Invalid(secBots, "bot %d is local but has role %d", i, b.Role)
		}
		if r.Role(b.Role) == nil {
			return Invalid(secBots, "bot %d has role %d, which does not exist", i, b.Role)
		}
	}
	return nil
}

// Expiration is the message_expiration_policy (§6.8), in seconds. All is zero where Expiring is Forbidden.
type Expiration struct {
	Expiring Optionality
	Min, Max uint32
	Default  *uint32
}

func (p *Expiration) validate() error {
	switch {
	case p == nil || p.Expiring == Forbidden:
		return nil
	case p.Min > p.Max:
		return Invalid(secExpiration, "the shortest duration is over the longest")
	case p.Default != nil && (*p.Default < p.Min || *p.Default > p.Max):
		return Invalid(secExpiration, "the default duration lies outside its bounds")
	}
	return nil
}

// Admits reports whether a message that expires after the given number of seconds may be sent; 0 means that it does not expire.
// A nil policy admits everything. The error wraps ErrDenied.
func (p *Expiration) Admits(seconds uint32) error {
	switch {
	case p == nil:
		return nil
	case seconds == 0 && p.Expiring == Required:
		return Denied(secExpiration, "messages must expire")
	case seconds == 0:
		return nil
	case p.Expiring == Forbidden:
		return Denied(secExpiration, "messages must not expire")
	case seconds < p.Min || seconds > p.Max:
		return Denied(secExpiration, "messages expire after %d to %d s, not %d", p.Min, p.Max, seconds)
	}
	return nil
}

// MediaType is a media type and its parameters (mls-extensions-10 §6.2.2).
type MediaType struct {
	Type       string // "image/png"
	Parameters []Parameter
}

// Parameter is a parameter of a media type; the value is without quotes.
type Parameter struct{ Name, Value string }

// covers reports whether an entry of a list stands for t: the same type, ignoring case, and the same parameters unless the entry
// has none, in which case it stands for all of them (mimi-room-policy-04 §6.4).
func (m MediaType) covers(t MediaType) bool {
	if !strings.EqualFold(m.Type, t.Type) {
		return false
	}
	same := func(p Parameter) bool {
		return slices.ContainsFunc(t.Parameters, func(q Parameter) bool { return strings.EqualFold(p.Name, q.Name) && p.Value == q.Value })
	}
	return len(m.Parameters) == 0 ||
		len(m.Parameters) == len(t.Parameters) && !slices.ContainsFunc(m.Parameters, func(p Parameter) bool { return !same(p) })
}
