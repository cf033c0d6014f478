package chat

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Client is a person in a room, with a client of their own.
type Client struct {
	n          *Network
	room, user string
}

// Join lets a person into a room. The user id is theirs in the whole network.
func (n *Network) Join(roomID, user, name string) (*Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rename(user, name)
	c := &Client{n: n, room: roomID, user: user}
	if r := n.rooms[roomID]; r != nil && slices.Contains(r.members, user) {
		return c, nil
	}
	_, err := n.apply(Event{Room: roomID, Kind: Join, User: user})
	return c, err
}

// User returns the person's user id.
func (c *Client) User() string { return c.user }

// Say writes a text and returns its id.
func (c *Client) Say(text string) (string, error) { return c.do(Event{Kind: Text, Text: text}) }

// Write writes a marked-up text: Markdown, with <@user> for mentions.
func (c *Client) Write(markup string) (string, error) {
	return c.do(Event{Kind: Text, Text: markup, Markup: true})
}

// Reply answers a message.
func (c *Client) Reply(to, text string) (string, error) {
	return c.do(Event{Kind: Text, To: to, Text: text})
}

// Edit gives the person's own message a new text.
func (c *Client) Edit(id, text string) (string, error) {
	return c.do(Event{Kind: Edit, To: id, Text: text})
}

// Delete deletes the person's own message.
func (c *Client) Delete(id string) (string, error) { return c.do(Event{Kind: Delete, To: id}) }

// React reacts to a message.
func (c *Client) React(to, emoji string) (string, error) {
	return c.do(Event{Kind: React, To: to, Emoji: emoji})
}

// Unreact takes a reaction back.
func (c *Client) Unreact(to, emoji string) (string, error) {
	return c.do(Event{Kind: Unreact, To: to, Emoji: emoji})
}

// Kick removes somebody, who cannot come back by themselves.
func (c *Client) Kick(user, reason string) error {
	_, err := c.do(Event{Kind: Kick, Whom: user, Text: reason})
	return err
}

// Invite asks an account to come to the room. Nobody but that account learns of it.
func (c *Client) Invite(account string) error {
	c.n.mu.Lock()
	title := ""
	if r := c.n.rooms[c.room]; r != nil {
		title = r.title
	}
	c.n.mu.Unlock()
	_, err := c.do(Event{Kind: Invite, Whom: account, Text: title, only: account})
	return err
}

// Retitle gives the room a new title.
func (c *Client) Retitle(title string) error {
	_, err := c.do(Event{Kind: Retitle, Text: title})
	return err
}

// Leave leaves the room.
func (c *Client) Leave() error {
	_, err := c.do(Event{Kind: Leave})
	return err
}

// Rename gives the person a new display name, in all rooms.
func (c *Client) Rename(name string) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.rename(c.user, name)
}

func (c *Client) do(ev Event) (string, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	ev.Room, ev.User = c.room, c.user
	done, err := c.n.apply(ev)
	return done.ID, err
}

// Line tells an event in a line: what a person sees who watches the room.
func (n *Network) Line(ev Event) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	about := ""
	if r := n.rooms[ev.Room]; r != nil && r.byID[ev.To] != nil {
		about = r.byID[ev.To].Name
		if quoted := excerpt(r.byID[ev.To].Text); quoted != "" && ev.Kind != Edit {
			about += ": “" + quoted + "”"
		}
	}
	switch ev.Kind {
	case Text:
		if ev.To != "" {
			return fmt.Sprintf("%s (to %s): %s", ev.Name, about, ev.Text)
		}
		return ev.Name + ": " + ev.Text
	case Edit:
		return fmt.Sprintf("%s, corrected: %s", ev.Name, ev.Text)
	case Delete:
		return ev.Name + " deleted a message"
	case React:
		return fmt.Sprintf("%s reacted with %s to %s", ev.Name, ev.Emoji, about)
	case Unreact:
		return fmt.Sprintf("%s took back %s from %s", ev.Name, ev.Emoji, about)
	case Join:
		return ev.Name + " joined"
	case Leave:
		return ev.Name + " left"
	case Kick:
		return fmt.Sprintf("%s removed %s", ev.Name, ev.WhomName)
	case Rename:
		return ev.User + " is now called " + ev.Name
	case Retitle:
		return fmt.Sprintf("%s called the room “%s”", ev.Name, ev.Text)
	}
	return ev.Name + ": " + string(ev.Kind)
}

// Transcript returns a room as it is now, as text: title, members, and a line or more for each message.
func (n *Network) Transcript(roomID string) string {
	members, messages := n.Members(roomID), n.Messages(roomID)
	n.mu.Lock()
	title := roomID
	if r := n.rooms[roomID]; r != nil && r.title != "" {
		title = r.title
	}
	n.mu.Unlock()
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	byID := map[string]Message{}
	var b strings.Builder
	fmt.Fprintf(&b, "── %s ── %s\n", title, strings.Join(names, ", "))
	for _, m := range messages {
		byID[m.ID] = m
		if to, ok := byID[m.To]; ok {
			fmt.Fprintf(&b, "  │ %s: %s\n", to.Name, excerpt(to.Text))
		}
		text := m.Text
		if m.Deleted {
			text = "(deleted)"
		}
		if m.Edited && !m.Deleted {
			text += " (edited)"
		}
		fmt.Fprintf(&b, "%s: %s\n", m.Name, strings.ReplaceAll(text, "\n", "\n    "))
		var reactions []string
		for _, r := range m.Reactions {
			reactions = append(reactions, r.Emoji+" "+r.Name)
		}
		if len(reactions) > 0 {
			fmt.Fprintf(&b, "    [%s]\n", strings.Join(reactions, ", "))
		}
	}
	return b.String()
}

// excerpt is the beginning of a text, in one line.
func excerpt(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= 40 {
		return s
	}
	return string([]rune(s)[:39]) + "…"
}
