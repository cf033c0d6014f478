package uri

// Provider is the address of a provider: a domain.
type Provider struct{ address }

// User is the address of a user or of a pseudonym: who takes part in rooms.
type User struct{ address }

// Client is the address of one MLS client of a user.
type Client struct{ address }

// Room is the address of a room; its domain is the hub's.
type Room struct{ address }

// Group is the address of a room's MLS group.
type Group struct{ address }

// NewProvider returns the provider of a bare domain, such as "chat.example.org". It fails with ErrHost or ErrTooLong.
func NewProvider(domain string) (Provider, error) { return ParseProvider(scheme + domain) }

// ParseProvider reads mimi://domain, also with a trailing slash.
func ParseProvider(s string) (Provider, error) {
	a, err := parse(s)
	if err != nil {
		return Provider{}, err
	}
	if a.letter() != 0 {
		return Provider{}, ErrKind
	}
	return Provider{a}, nil
}

// ParseUser reads mimi://domain/u/… or mimi://domain/p/….
func ParseUser(s string) (User, error) {
	a, err := parseKind(s, "up")
	return User{a}, err
}

// ParseClient reads mimi://domain/d/….
func ParseClient(s string) (Client, error) {
	a, err := parseKind(s, "d")
	return Client{a}, err
}

// ParseRoom reads mimi://domain/r/….
func ParseRoom(s string) (Room, error) {
	a, err := parseKind(s, "r")
	return Room{a}, err
}

// ParseGroup reads mimi://domain/g/….
func ParseGroup(s string) (Group, error) {
	a, err := parseKind(s, "g")
	return Group{a}, err
}

// User returns mimi://domain/u/segment…; the segments are percent-encoded as needed. It fails with ErrPath where a segment is
// empty, a dot segment or holds control characters, and with ErrTooLong.
func (p Provider) User(segments ...string) (User, error) {
	a, err := build(p, "u", segments)
	return User{a}, err
}

// Client returns mimi://domain/d/segment…; by our custom the segments are user and device, so that Client.User works.
// Errors as for [Provider.User].
func (p Provider) Client(segments ...string) (Client, error) {
	a, err := build(p, "d", segments)
	return Client{a}, err
}

// Room returns mimi://domain/r/segment…. Errors as for [Provider.User].
func (p Provider) Room(segments ...string) (Room, error) {
	a, err := build(p, "r", segments)
	return Room{a}, err
}

// Group returns mimi://domain/g/segment…. Errors as for [Provider.User].
func (p Provider) Group(segments ...string) (Group, error) {
	a, err := build(p, "g", segments)
	return Group{a}, err
}

// Pseudonym reports whether the user is known by a pseudonym (/p/) only.
func (u User) Pseudonym() bool { return u.letter() == 'p' }

// User returns the user of a client of the two-segment form: mimi://h/d/alice/phone is a client of mimi://h/u/alice.
// It reports false where the client URI is opaque; only its provider can then say whose it is.
func (c Client) User() (User, bool) {
	segments := c.Segments()
	if len(segments) != 2 {
		return User{}, false
	}
	u, err := c.Provider().User(segments[0])
	return u, err == nil
}

// UnmarshalText implements encoding.TextUnmarshaler; the empty text gives the zero value.
func (p *Provider) UnmarshalText(b []byte) error { return unmarshal(p, b, ParseProvider) }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text gives the zero value.
func (u *User) UnmarshalText(b []byte) error { return unmarshal(u, b, ParseUser) }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text gives the zero value.
func (c *Client) UnmarshalText(b []byte) error { return unmarshal(c, b, ParseClient) }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text gives the zero value.
func (r *Room) UnmarshalText(b []byte) error { return unmarshal(r, b, ParseRoom) }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text gives the zero value.
func (g *Group) UnmarshalText(b []byte) error { return unmarshal(g, b, ParseGroup) }

// unmarshal sets *to only where text is empty or valid: bad input changes nothing.
func unmarshal[T any](to *T, text []byte, parse func(string) (T, error)) error {
	var v T
	if len(text) > 0 {
		var err error
		if v, err = parse(string(text)); err != nil {
			return err
		}
	}
	*to = v
	return nil
}
