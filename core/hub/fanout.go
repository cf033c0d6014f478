package hub

import (
	"context"
	"slices"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// fanout (design §4 step 7) puts an event on the outbox of each provider, our own like any other's. A follower in this very process takes it within the
// unit (design §5 rule vii), if nothing older waits for it and it can; a failure of it is undone by itself, and the
// outbox tries again like for the others.
func (h *Hub) fanout(ctx context.Context, r *hosted, e Event, to map[uri.Provider]Parts) error {
	if err := h.Store.PutHubEvent(ctx, r.id, e, to); err != nil {
		return err
	}
	for p := range to {
		route := Route{r.id, p}
		f, joins, err := h.Peers.Follower(p)
		if err == nil && joins {
			err = h.tellWithin(ctx, f, route, e.Sequence)
		}
		if err != nil || !joins {
			h.Store.OnCommit(ctx, func() { h.outbox.Wake(route) })
		}
		if err != nil {
			h.Log.Warn("an event waits", "room", r.id, "to", p.Domain(), "error", err)
		}
	}
	return nil
}

// tellWithin tells a follower in this process, as a part of the unit.
func (h *Hub) tellWithin(ctx context.Context, f mimi.Follower, route Route, sequence uint64) error {
	return h.Store.Do(ctx, func(ctx context.Context) error {
		e, parts, ok, err := h.Store.NextHubEvent(ctx, route)
		switch {
		case err != nil:
			return err
		case !ok || e.Sequence != sequence: // an older one waits, or is just being told by a caller of ours
			h.Store.OnCommit(ctx, func() { h.outbox.Wake(route) })
			return nil
		}
		if err := f.Notify(ctx, h.Provider, route.Room, e.body(parts)); err != nil {
			return err
		}
		return h.Store.HubEventTold(ctx, route, sequence)
	})
}

// tell is the work of an outbox: to tell one provider the oldest event it has not been told. What was told twice, as the answer
// was lost, is the same to the octet.
func (h *Hub) tell(ctx context.Context, route Route) (more bool, err error) {
	e, parts, ok, err := h.Store.NextHubEvent(ctx, route)
	if err != nil || !ok {
		return false, err
	}
	f, _, err := h.Peers.Follower(route.To)
	if err == nil {
		err = f.Notify(ctx, h.Provider, route.Room, e.body(parts))
	}
	if err != nil {
		h.Log.Warn("an event was not taken", "room", route.Room, "to", route.To.Domain(), "error", err)
		if !mimi.Final(err) {
			return false, err
		}
		// It will never be taken, and what comes after it must not wait for ever.
	}
	return true, h.Store.HubEventTold(ctx, route, e.Sequence)
}

// body returns the parts of an event as the body of one request, so that a Welcome is with the commit it belongs to.
func (e *Event) body(parts Parts) []byte {
	var body []byte
	if parts&PartEvent != 0 {
		body = slices.Concat(body, e.Body)
	}
	if parts&PartWelcome != 0 {
		body = slices.Concat(body, e.Welcome)
	}
	return body
}
