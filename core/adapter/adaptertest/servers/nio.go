package servers

import (
	"context"
	_ "embed"
	"encoding/base64"
	"testing"
)

//go:embed nio.py
var nioPy string

// MatrixEvent is an event as a client received it (Matrix Client-Server API, room events, stripped invites, typing and
// receipts).
type MatrixEvent struct {
	Room      string         `json:"room"`
	Type      string         `json:"type"`
	ID        string         `json:"event_id"`
	Sender    string         `json:"sender"`
	StateKey  *string        `json:"state_key"`        // of a state event
	Time      int64          `json:"origin_server_ts"` // ms since 1970
	Content   map[string]any `json:"content"`
	Redacts   string         `json:"redacts"`   // of a redaction, before room version 11
	Decrypted bool           `json:"decrypted"` // it came as m.room.encrypted
	Invite    bool           `json:"invite"`    // an invite of this user to a room it is not in
}

// Body is the text of a message, "" where there is none.
func (e MatrixEvent) Body() string {
	body, _ := e.Content["body"].(string)
	return body
}

// Relates returns the event's relation: m.replace, m.annotation, m.thread and the like, and the event it is to; for a reply
// that is not in a thread "m.in_reply_to"; for a redaction "redacts".
func (e MatrixEvent) Relates() (kind, event string) {
	if e.Type == "m.room.redaction" {
		if to, ok := e.Content["redacts"].(string); ok {
			return "redacts", to
		}
		return "redacts", e.Redacts
	}
	r, _ := e.Content["m.relates_to"].(map[string]any)
	if kind, _ = r["rel_type"].(string); kind != "" {
		event, _ = r["event_id"].(string)
		return kind, event
	}
	if reply, ok := r["m.in_reply_to"].(map[string]any); ok {
		event, _ = reply["event_id"].(string)
		return "m.in_reply_to", event
	}
	return "", ""
}

// MatrixMember is a joined member of a room.
type MatrixMember struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Avatar string `json:"avatar"` // mxc URI
}

// MatrixRoom describes a room to create.
type MatrixRoom struct {
	Name      string
	Alias     string // local part
	Invite    []string
	Public    bool
	Encrypted bool
}

// MatrixClient is matrix-nio, logged in as a user and syncing until the test ends, through restarts of the homeserver too.
type MatrixClient struct {
	*client[MatrixEvent]
	User User
}

// Nio logs a user in on matrix-nio and returns after the first sync.
func Nio(t testing.TB, h *Homeserver, u User) *MatrixClient { return startNio(t, h, u, "0") }

// NioEncrypted is Nio with end-to-end encryption: what it sends to encrypted rooms is encrypted to every device there.
func NioEncrypted(t testing.TB, h *Homeserver, u User) *MatrixClient { return startNio(t, h, u, "1") }

func startNio(t testing.TB, h *Homeserver, u User, encryption string) *MatrixClient {
	t.Helper()
	return &MatrixClient{User: u, client: script[MatrixEvent](t, "matrix-nio "+u.ID, linesPy+nioPy, h.URL, u.ID, u.Device, u.Token, encryption)}
}

// Create makes a room and returns its id.
func (c *MatrixClient) Create(ctx context.Context, r MatrixRoom) (room string, err error) {
	err = c.do(ctx, "create", map[string]any{"name": r.Name, "alias": r.Alias, "invite": r.Invite, "public": r.Public, "encrypted": r.Encrypted}, &room)
	return room, err
}

// Join enters a room by id or alias and returns its id.
func (c *MatrixClient) Join(ctx context.Context, name string) (room string, err error) {
	err = c.do(ctx, "join", map[string]any{"room": name}, &room)
	return room, err
}

// Leave leaves a room.
func (c *MatrixClient) Leave(ctx context.Context, room string) error {
	return c.do(ctx, "leave", map[string]any{"room": room}, nil)
}

// Invite asks a user in.
func (c *MatrixClient) Invite(ctx context.Context, room, user string) error {
	return c.do(ctx, "invite", map[string]any{"room": room, "user": user}, nil)
}

// Kick puts a user out.
func (c *MatrixClient) Kick(ctx context.Context, room, user, reason string) error {
	return c.do(ctx, "kick", map[string]any{"room": room, "user": user, "reason": reason}, nil)
}

// Ban puts a user out for good.
func (c *MatrixClient) Ban(ctx context.Context, room, user, reason string) error {
	return c.do(ctx, "ban", map[string]any{"room": room, "user": user, "reason": reason}, nil)
}

// Unban lifts a ban.
func (c *MatrixClient) Unban(ctx context.Context, room, user string) error {
	return c.do(ctx, "unban", map[string]any{"room": room, "user": user}, nil)
}

// SendEvent sends an event of any type and returns its id.
func (c *MatrixClient) SendEvent(ctx context.Context, room, kind string, content map[string]any) (event string, err error) {
	err = c.do(ctx, "send", map[string]any{"room": room, "type": kind, "content": content}, &event)
	return event, err
}

func text(body string) map[string]any { return map[string]any{"msgtype": "m.text", "body": body} }

// Send sends a text message and returns its id.
func (c *MatrixClient) Send(ctx context.Context, room, body string) (event string, err error) {
	return c.SendEvent(ctx, room, "m.room.message", text(body))
}

// SendHTML sends a formatted message with its plain text and returns its id.
func (c *MatrixClient) SendHTML(ctx context.Context, room, body, html string) (event string, err error) {
	content := text(body)
	content["format"], content["formatted_body"] = "org.matrix.custom.html", html
	return c.SendEvent(ctx, room, "m.room.message", content)
}

// Reply answers a message and returns the answer's id.
func (c *MatrixClient) Reply(ctx context.Context, room, to, body string) (event string, err error) {
	content := text(body)
	content["m.relates_to"] = map[string]any{"m.in_reply_to": map[string]any{"event_id": to}}
	return c.SendEvent(ctx, room, "m.room.message", content)
}

// Edit replaces a message's text and returns the id of the event that does.
func (c *MatrixClient) Edit(ctx context.Context, room, message, body string) (event string, err error) {
	content := text("* " + body)
	content["m.new_content"] = text(body)
	content["m.relates_to"] = map[string]any{"rel_type": "m.replace", "event_id": message}
	return c.SendEvent(ctx, room, "m.room.message", content)
}

// React adds a reaction to a message and returns the reaction's id, which Redact takes back.
func (c *MatrixClient) React(ctx context.Context, room, message, key string) (event string, err error) {
	return c.SendEvent(ctx, room, "m.reaction", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": message, "key": key}})
}

// Redact deletes an event and returns the id of the redaction.
func (c *MatrixClient) Redact(ctx context.Context, room, event, reason string) (redaction string, err error) {
	err = c.do(ctx, "redact", map[string]any{"room": room, "event": event, "reason": reason}, &redaction)
	return redaction, err
}

// PutState sets a room's state and returns the event's id.
func (c *MatrixClient) PutState(ctx context.Context, room, kind, key string, content map[string]any) (event string, err error) {
	err = c.do(ctx, "put_state", map[string]any{"room": room, "type": kind, "key": key, "content": content}, &event)
	return event, err
}

// State returns a room's whole state.
func (c *MatrixClient) State(ctx context.Context, room string) (state []MatrixEvent, err error) {
	err = c.do(ctx, "state", map[string]any{"room": room}, &state)
	return state, err
}

// Messages returns the last events of a room, oldest first, at most limit, as the homeserver keeps them.
func (c *MatrixClient) Messages(ctx context.Context, room string, limit int) (events []MatrixEvent, err error) {
	err = c.do(ctx, "messages", map[string]any{"room": room, "limit": limit}, &events)
	return events, err
}

// Members returns who is in a room.
func (c *MatrixClient) Members(ctx context.Context, room string) (members []MatrixMember, err error) {
	err = c.do(ctx, "members", map[string]any{"room": room}, &members)
	return members, err
}

// SetName changes the user's display name everywhere.
func (c *MatrixClient) SetName(ctx context.Context, name string) error {
	return c.do(ctx, "set_name", map[string]any{"name": name}, nil)
}

// SetAvatar changes the user's avatar everywhere, to an mxc URI.
func (c *MatrixClient) SetAvatar(ctx context.Context, url string) error {
	return c.do(ctx, "set_avatar", map[string]any{"url": url}, nil)
}

// Upload stores a file on the homeserver and returns its mxc URI.
func (c *MatrixClient) Upload(ctx context.Context, data []byte, mediaType, name string) (url string, err error) {
	err = c.do(ctx, "upload", map[string]any{"data": base64.StdEncoding.EncodeToString(data), "type": mediaType, "name": name}, &url)
	return url, err
}

// Download fetches a file by its mxc URI.
func (c *MatrixClient) Download(ctx context.Context, url string) (data []byte, mediaType string, err error) {
	var file struct {
		Data []byte
		Type string
	}
	err = c.do(ctx, "download", map[string]any{"url": url}, &file)
	return file.Data, file.Type, err
}

// Typing says that the user types, or no longer does.
func (c *MatrixClient) Typing(ctx context.Context, room string, on bool) error {
	return c.do(ctx, "typing", map[string]any{"room": room, "on": on}, nil)
}

// Read says that the user has read up to an event.
func (c *MatrixClient) Read(ctx context.Context, room, event string) error {
	return c.do(ctx, "read", map[string]any{"room": room, "event": event}, nil)
}
