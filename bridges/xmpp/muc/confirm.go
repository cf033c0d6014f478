package muc

import (
	"context"
	"fmt"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/core/adapter"
)

// searchFrom is how long before the room accepted a message we begin to look for it here: clocks differ.
const searchFrom = 10 * time.Minute

// Confirm looks for a message by what the room showed us, and in its archive. See adapter.Confirmer.
func (r *Room) Confirm(ctx context.Context, l *link.Link, out adapter.Outbound) (adapter.Sent, error) {
	if err := r.Ready(ctx, l); err != nil {
		return adapter.Sent{Parts: out.Done}, fmt.Errorf("confirm: not in the room: %v", err) // not ErrNotDelivered: that would be an answer
	}
	return r.lookUp(ctx, l, out)
}

// lookUp finds which stanzas of a message the room has.
func (r *Room) lookUp(ctx context.Context, l *link.Link, out adapter.Outbound) (adapter.Sent, error) {
	steps, err := talk.Steps(out, r.a.Component)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	wanted := map[string]int{} // id → step
	found := map[int]adapter.NativeID{}
	for i, s := range steps {
		for _, viaGateway := range []bool{false, true} {
			wanted[r.a.OwnID(r.conv, out.Marker.Key, s.Part.Part, s.Part.Piece, viaGateway)] = i
		}
		if done, ok := talk.DoneBefore(out, s.Part); ok {
			found[i] = done.ID
		}
	}
	r.mu.Lock()
	for id, i := range wanted {
		if echoed, ok := r.echoes.Get(id); ok {
			found[i] = adapter.NativeID(echoed)
		}
	}
	mam := r.mam
	r.mu.Unlock()
	var last time.Time
	if len(found) < len(steps) && mam {
		if last, err = r.search(ctx, l, out.Time.Add(-searchFrom), wanted, found); err != nil {
			return adapter.Sent{Parts: out.Done}, fmt.Errorf("confirm: room %s: %v", r.jid, err)
		}
	}
	sent := adapter.Sent{Time: last}
	for i, s := range steps {
		if id, ok := found[i]; ok {
			s.Part.ID = id
			sent.Parts = append(sent.Parts, s.Part)
		}
	}
	switch {
	case len(sent.Parts) == len(steps):
		return sent, nil
	case !mam:
		return sent, fmt.Errorf("%w: room %s keeps no archive", adapter.ErrUnknown, r.jid)
	}
	return sent, adapter.NotDelivered(fmt.Errorf("room %s has %d of %d parts", r.jid, len(sent.Parts), len(steps)))
}

// search goes through the archive from a time on, until all that is wanted is found.
func (r *Room) search(ctx context.Context, l *link.Link, from time.Time, wanted map[string]int, found map[int]adapter.NativeID) (time.Time, error) {
	var last time.Time
	q := query{start: from}
	steps := map[int]bool{}
	for _, i := range wanted {
		steps[i] = true
	}
	for {
		page, complete, err := r.query(ctx, l, q)
		if err != nil {
			return last, err
		}
		for _, m := range page {
			if i, ok := wanted[talk.OriginOf(m.stanza)]; ok {
				found[i], last = talk.Stamped(m.id), m.time
			}
		}
		if complete || len(page) == 0 || len(found) == len(steps) {
			return last, nil
		}
		q.after = page[len(page)-1].id
	}
}
