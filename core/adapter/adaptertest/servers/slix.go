package servers

import (
	"context"
	_ "embed"
	"encoding/base64"
	"testing"
)

//go:embed slix.py
var slixPy string

// Stanza is a message or presence as a client received it, in the words of the XEPs, or Kind "disconnected".
type Stanza struct {
	Kind    string  `json:"kind"` // message, presence, disconnected
	From    string  `json:"from"`
	To      string  `json:"to"`
	Type    string  `json:"type"`
	ID      string  `json:"id"`
	Body    string  `json:"body"`
	Subject *string `json:"subject"` // nil: no such element
	Error   string  `json:"error"`   // the condition (RFC 6120 §8.3.3) of an error
	XML     string  `json:"xml"`     // all of it

	StanzaID   string `json:"stanza_id"`    // XEP-0359, given by StanzaIDBy
	StanzaIDBy string `json:"stanza_id_by"` // the archive
	OriginID   string `json:"origin_id"`    // XEP-0359
	OccupantID string `json:"occupant_id"`  // XEP-0421
	Delay      string `json:"delay"`        // XEP-0203: when it was sent, RFC 3339
	Carbon     bool   `json:"carbon"`       // XEP-0280: a copy of another client's
	ArchiveID  string `json:"archive_id"`   // XEP-0313, from Archive

	Replace     string   `json:"replace"`      // XEP-0308: the message that this one corrects
	ReplyID     string   `json:"reply_id"`     // XEP-0461
	ReplyTo     string   `json:"reply_to"`     // XEP-0461
	ReactionsTo string   `json:"reactions_to"` // XEP-0444: the message
	Reactions   []string `json:"reactions"`    // XEP-0444: all of the sender's, in place of earlier ones
	Retract     string   `json:"retract"`      // XEP-0424
	Receipt     string   `json:"receipt"`      // XEP-0184: the message received
	State       string   `json:"state"`        // XEP-0085: composing, active, …
	Marker      string   `json:"marker"`       // XEP-0333: markable, received, displayed
	MarkerID    string   `json:"marker_id"`    // XEP-0333: the message

	Status      []int  `json:"status"`      // XEP-0045 §15.6.2: 110 own presence, 301 ban, 303 new nick, 307 kick
	NewNick     string `json:"new_nick"`    // with status 303
	JID         string `json:"jid"`         // an occupant's real one, where the room shows it
	Role        string `json:"role"`        // moderator, participant, visitor, none
	Affiliation string `json:"affiliation"` // owner, admin, member, none, outcast
	Reason      string `json:"reason"`      // of a kick or ban
}

// XMPPMessage is a message to send. Ids of other messages are as the room or the peer knows them: in a group chat the
// stanza id for replies, reactions and retractions, the message's own id for corrections.
type XMPPMessage struct {
	To          string
	Group       bool   // type groupchat, else chat
	ID          string // "": a new one
	Body        string
	Replace     string
	ReplyID     string
	ReplyTo     string // the author's JID
	Quote       string // the text replied to, for the fallback (XEP-0428)
	ReactionsTo string
	Reactions   []string // none takes all back
	Retract     string
	Receipt     bool   // asks for a receipt
	State       string // chat state
	Extra       string // XML added as it is
}

// XMPPClient is slixmpp, logged in as a user. It does not reconnect by itself: see Connect.
type XMPPClient struct {
	*client[Stanza]
	JID string // bare
}

// Slix logs a user in on slixmpp, with carbons and an available presence.
func Slix(t testing.TB, s *XMPPServer, local string) *XMPPClient {
	t.Helper()
	jid := local + "@" + s.Domain
	host, port := "127.0.0.1", s.Client[len("127.0.0.1:"):]
	return &XMPPClient{JID: jid, client: script[Stanza](t, "slixmpp "+jid, linesPy+slixPy, host, port, jid, Password(local))}
}

// Connect logs in again after the connection was lost or closed. Rooms have to be joined again.
func (c *XMPPClient) Connect(ctx context.Context) error { return c.do(ctx, "connect", nil, nil) }

// Disconnect closes the stream.
func (c *XMPPClient) Disconnect(ctx context.Context) error { return c.do(ctx, "disconnect", nil, nil) }

// Join enters a group chat under a nick, with at most so many messages of its history, and returns when it is in. A room
// that does not exist is made, with this user as its owner.
func (c *XMPPClient) Join(ctx context.Context, room, nick string, history int) error {
	return c.do(ctx, "join", map[string]any{"room": room, "nick": nick, "history": history}, nil)
}

// Leave leaves a group chat.
func (c *XMPPClient) Leave(ctx context.Context, room string) error {
	return c.do(ctx, "leave", map[string]any{"room": room}, nil)
}

// SetNick changes the user's nick in a group chat.
func (c *XMPPClient) SetNick(ctx context.Context, room, nick string) error {
	return c.do(ctx, "nick", map[string]any{"room": room, "nick": nick}, nil)
}

// SetSubject changes a group chat's subject.
func (c *XMPPClient) SetSubject(ctx context.Context, room, subject string) error {
	return c.do(ctx, "subject", map[string]any{"room": room, "subject": subject}, nil)
}

// Kick puts an occupant out.
func (c *XMPPClient) Kick(ctx context.Context, room, nick, reason string) error {
	return c.do(ctx, "role", map[string]any{"room": room, "nick": nick, "role": "none", "reason": reason}, nil)
}

// SetAffiliation makes a user owner, admin, member, none, or outcast, which is a ban.
func (c *XMPPClient) SetAffiliation(ctx context.Context, room, jid, affiliation, reason string) error {
	return c.do(ctx, "affiliation", map[string]any{"room": room, "jid": jid, "affiliation": affiliation, "reason": reason}, nil)
}

// Configure changes a group chat's configuration, such as muc#roomconfig_whois to "anyone".
func (c *XMPPClient) Configure(ctx context.Context, room string, fields map[string]any) error {
	return c.do(ctx, "configure", map[string]any{"room": room, "fields": fields}, nil)
}

// Destroy ends a group chat for everybody.
func (c *XMPPClient) Destroy(ctx context.Context, room, reason string) error {
	return c.do(ctx, "destroy", map[string]any{"room": room, "reason": reason}, nil)
}

// Send sends a message and returns its id. It does not wait for a room's reflection.
func (c *XMPPClient) Send(ctx context.Context, m XMPPMessage) (id string, err error) {
	kind := "chat"
	if m.Group {
		kind = "groupchat"
	}
	err = c.do(ctx, "send", map[string]any{
		"to": m.To, "type": kind, "id": m.ID, "body": m.Body, "reply_id": m.ReplyID, "reply_to": m.ReplyTo, "quote": m.Quote,
		"replace": m.Replace, "reactions_to": m.ReactionsTo, "reactions": m.Reactions, "retract": m.Retract,
		"receipt": m.Receipt, "state": m.State, "extra": m.Extra,
	}, &id)
	return id, err
}

// Archive returns the last messages of an archive, oldest first, at most limit: a group chat's, or with "" the user's own.
func (c *XMPPClient) Archive(ctx context.Context, jid string, limit int) (stanzas []Stanza, err error) {
	err = c.do(ctx, "archive", map[string]any{"jid": jid, "limit": limit}, &stanzas)
	return stanzas, err
}

// Upload stores a file with an upload service and returns the URL to fetch it from.
func (c *XMPPClient) Upload(ctx context.Context, service, name, mediaType string, data []byte) (url string, err error) {
	err = c.do(ctx, "upload", map[string]any{"service": service, "name": name, "type": mediaType, "data": base64.StdEncoding.EncodeToString(data)}, &url)
	return url, err
}

// IQ sends a get or set with a payload and returns the whole answer; "" asks the user's own server.
func (c *XMPPClient) IQ(ctx context.Context, to, kind, payload string) (xml string, err error) {
	err = c.do(ctx, "iq", map[string]any{"to": to, "type": kind, "payload": payload}, &xml)
	return xml, err
}

// Raw sends any stanza as it is.
func (c *XMPPClient) Raw(ctx context.Context, xml string) error {
	return c.do(ctx, "raw", map[string]any{"xml": xml}, nil)
}
