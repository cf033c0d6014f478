package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"mimigate/bridges/matrix/homeserver"
	"mimigate/bridges/matrix/native"
	"mimigate/core/adapter"
)

// How far Confirm looks back.
const (
	confirmPages = 40
	confirmPage  = 250
	confirmSkew  = time.Hour // by how much the clocks of the room's hub and of the homeserver may differ
)

// Confirm implements adapter.Confirmer: it looks for the marker in the last events of the room. Homeservers forget transaction ids
// when they are restarted, so that asking by sending again will not do.
func (a *Adapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	sent := adapter.Sent{Parts: slices.Clone(out.Done)}
	s, err := a.online(ctx)
	if err != nil {
		return sent, fmt.Errorf("matrix: not connected: %w", context.Cause(ctx))
	}
	r := s.hs.Room(id.RoomID(out.Conversation))
	if err := s.hs.Load(ctx, r); err != nil {
		return sent, unsure(err)
	}
	p := s.plan(r, out)
	missing, err := s.findSent(ctx, r, out, p.send, &sent)
	if err != nil {
		return sent, err
	}
	for _, one := range p.redact {
		done, err := s.findRedacted(ctx, r, one, &sent)
		if err != nil {
			return sent, err
		}
		missing = missing || !done
	}
	slices.SortFunc(sent.Parts, byPart)
	if missing {
		return sent, adapter.NotDelivered(errors.New("matrix: it is not in the room, or not all of it"))
	}
	return sent, nil
}

// unsure is an error of a question: what is certainly not answered says nothing about what was asked for.
func unsure(err error) error {
	if errors.Is(err, adapter.ErrGone) || errors.Is(err, adapter.ErrRefused) {
		return fmt.Errorf("matrix: the room can no longer be read: %w", adapter.ErrUnknown)
	}
	return fmt.Errorf("matrix: cannot ask: %s", err.Error()) // not ErrNotDelivered
}

// findSent finds the events of a message and adds them to sent. It says whether some are missing.
func (s *session) findSent(ctx context.Context, r *homeserver.Room, out adapter.Outbound, want []native.Out, sent *adapter.Sent) (missing bool, err error) {
	left := map[[2]int]bool{}
	for _, n := range want {
		left[n.Key()] = true
	}
	for _, p := range sent.Parts {
		delete(left, [2]int{p.Part, p.Piece})
	}
	if len(left) == 0 {
		return false, nil
	}
	who := s.hs.Names.Of(out.Author.User)
	if who == s.hs.Names.Self {
		who = r.AgentOr(s.hs.Names.Self)
	}
	filter, err := json.Marshal(map[string]any{"senders": []id.UserID{who}, "types": []string{"m.room.message", "m.reaction", "m.sticker"}})
	if err != nil {
		return true, fmt.Errorf("matrix: filter: %w", err)
	}
	from := ""
	for range confirmPages {
		query := map[string]string{"dir": "b", "limit": fmt.Sprint(confirmPage), "filter": string(filter)}
		if from != "" {
			query["from"] = from
		}
		var page struct {
			Chunk []json.RawMessage
			End   string
		}
		err := homeserver.Request(ctx, s.hs.Agent(r), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.ID, "messages"}, query, nil, &page)
		if err != nil {
			return true, unsure(homeserver.Failed("looking for a message", err))
		}
		before := s.matchSent(page.Chunk, who, out, left, sent)
		if len(left) == 0 || before || page.End == "" || page.End == from {
			return len(left) > 0, nil
		}
		from = page.End
	}
	return true, fmt.Errorf("matrix: not among the last events of the room: %w", adapter.ErrUnknown)
}

// matchSent takes from left what a page of events holds. It says whether the page reaches back to before the message was.
func (s *session) matchSent(page []json.RawMessage, who id.UserID, out adapter.Outbound, left map[[2]int]bool, sent *adapter.Sent) (before bool) {
	for _, raw := range page {
		ev, err := native.Parse(raw)
		if err != nil || ev.Sender != who {
			continue
		}
		if !out.History && !out.Time.IsZero() && ev.Time.Before(out.Time.Add(-confirmSkew)) {
			return true
		}
		var key [2]int
		if m := ev.Marker(); m.Key != out.Marker.Key || m.Gateway != out.Marker.Gateway || json.Unmarshal(ev.Content[native.PartField], &key) != nil {
			continue
		}
		if left[key] {
			delete(left, key)
			sent.Parts = append(sent.Parts, adapter.NativePart{Part: key[0], Piece: key[1], ID: adapter.NativeID(ev.ID)})
			sent.Time = ev.Time
		}
	}
	return false
}

// findRedacted finds out whether an event was redacted, by whomever.
func (s *session) findRedacted(ctx context.Context, r *homeserver.Room, one redaction, sent *adapter.Sent) (bool, error) {
	var raw json.RawMessage
	err := homeserver.Request(ctx, s.hs.Agent(r), http.MethodGet, mautrix.ClientURLPath{"v3", "rooms", r.ID, "event", one.target}, nil, nil, &raw)
	if homeserver.Code(err) == "M_NOT_FOUND" {
		return true, nil
	}
	if err != nil {
		return false, unsure(homeserver.Failed("looking for a deletion", err))
	}
	ev, err := native.Parse(raw)
	if err != nil {
		return false, err
	}
	if ev.Redacted != "" && one.listed && !slices.ContainsFunc(sent.Parts, func(p adapter.NativePart) bool { return byPart(p, one.part) == 0 }) {
		sent.Parts = append(sent.Parts, adapter.NativePart{Part: one.part.Part, Piece: one.part.Piece, ID: adapter.NativeID(ev.Redacted)})
	}
	return ev.Redacted != "", nil
}
