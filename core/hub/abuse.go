package hub

import (
	"context"
	"fmt"
	"time"

	"mimigate/core/mimi"
	"mimigate/core/policy"
	"mimigate/core/uri"
)

const secAbuse = "mimi-protocol-06 §5.9"

// maxReported is how many messages one report may hold; the draft says "a handful".
const maxReported = 64

// Claimed is what a message says of itself that its frank covers.
type Claimed struct {
	Salt      []byte
	Sender    string // extension 1 of mimi-content-09 §4.2
	Room      string // extension 2
	MediaType string // of the message: application/mimi-content
}

// Evidence reads what a reported message says of itself. The hub itself knows no content; whoever reports a message has opened it.
type Evidence func(message []byte) (Claimed, error)

// Report is a report of abuse, as the administrators see it.
type Report struct {
	Room     uri.Room
	From     uri.Provider
	Reporter string // may be empty
	Accused  string
	Reason   uint8
	Note     string // for people, of whoever reports; to be shown as theirs
	At       time.Time
	Messages []Reported
}

// Reported is a message in a report.
type Reported struct {
	Content  []byte
	Accepted uint64 // milliseconds since 1970
	// Proven: the accused sent it to this room, and we took it then, as our frank shows.
	Proven bool
}

// ReportAbuse implements [mimi.Abuse]. Whoever takes part in a room may report what was said in it; whether its franks hold is told to our
// administrators alone.
func (h *Hub) ReportAbuse(ctx context.Context, from uri.Provider, id uri.Room, r *mimi.AbuseReport) error {
	if len(r.Messages) > maxReported {
		return fmt.Errorf("%w: %d messages in one report, at most %d are taken", mimi.ErrBadRequest, len(r.Messages), maxReported)
	}
	return h.Store.Do(ctx, func(ctx context.Context) error {
		hosted, err := h.room(ctx, id)
		if err != nil {
			return err
		}
		if err := hosted.mayReport(from, r); err != nil {
			return err
		}
		report := &Report{Room: id, From: from, Reporter: r.Reporter, Accused: r.Accused, Reason: r.Reason, Note: r.Note, At: h.Now()}
		for i := range r.Messages {
			proven, err := h.proves(ctx, id, r.Accused, &r.Messages[i])
			if err != nil {
				return err
			}
			report.Messages = append(report.Messages, Reported{Content: r.Messages[i].Content, Accepted: r.Messages[i].Accepted, Proven: proven})
		}
		h.Log.Info("abuse reported", "room", id, "from", from.Domain(), "messages", len(r.Messages))
		return h.Store.PutHubReport(ctx, report)
	})
}

// mayReport: the reporter, where there is one, is a user of the provider and may report (mimi-room-policy-04 §8.3).
func (r *hosted) mayReport(from uri.Provider, report *mimi.AbuseReport) error {
	if !r.takesPart(from) {
		return fmt.Errorf("%w: takes no part in the room", mimi.ErrForbidden)
	}
	if report.Reporter == "" {
		return nil
	}
	user, err := uri.ParseUser(report.Reporter)
	switch {
	case err != nil:
		return fmt.Errorf("%w: reporter: %w", mimi.ErrBadRequest, err)
	case user.Provider() != from:
		return fmt.Errorf("%w: the reporter is not a user of the provider", mimi.ErrForbidden)
	case r.state.Role(user) != policy.NoRole && !r.state.Allows(user, policy.CanReportAbuse):
		return fmt.Errorf("%w: %w", mimi.ErrForbidden, policy.Denied(secAbuse, "the reporter's role lacks canReportAbuse"))
	}
	return nil
}

// proves reports whether a frank of ours shows that a message was sent by the accused in this room, at its time.
func (h *Hub) proves(ctx context.Context, id uri.Room, accused string, m *mimi.AbusiveMessage) (bool, error) {
	if h.Evidence == nil {
		return false, nil
	}
	said, err := h.Evidence(m.Content)
	if err != nil || said.Sender != accused || said.Room != id.String() {
		return false, nil
	}
	if _, known := h.MLS.Suites[m.Frank.Suite]; !known {
		return false, nil
	}
	key, _, err := h.signer(ctx, m.Frank.Suite)
	if err != nil {
		return false, err
	}
	hubKey, err := h.hubKey(ctx)
	if err != nil {
		return false, err
	}
	about := &mimi.FrankingContext{Sender: said.Sender, Room: said.Room, Accepted: m.Accepted}
	if m.Frank.Verify(h.MLS.Suites, m.Frank.Suite, key.PublicBytes(), about) != nil {
		return false, nil
	}
	for _, tag := range m.Tags(said.Salt, said.MediaType) {
		if hubKey.Holds(&m.Frank, tag, about) {
			return true, nil
		}
	}
	return false, nil
}

// Reports returns the newest reports of abuse, at most limit, the newest first: they are for administrators alone.
func (h *Hub) Reports(ctx context.Context, limit int) ([]Report, error) {
	return h.Store.HubReports(ctx, limit)
}
