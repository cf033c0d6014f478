package xmpp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mimigate/core/adapter"
)

// Confirm implements adapter.Confirmer: in a room by what the room showed us, or by its archive; in a chat of two by receipts.
func (a *Adapter) Confirm(ctx context.Context, out adapter.Outbound) (adapter.Sent, error) {
	l, err := a.online(ctx)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, errors.New("no connection, so nobody to ask") // not ErrNotDelivered: that would be an answer
	}
	if _, _, ok := a.chatOf(out.Conversation); ok {
		return a.confirmChat(out)
	}
	r, err := a.open(ctx, l, string(out.Conversation))
	if err == nil {
		err = r.ready(ctx, l)
	}
	if err != nil {
		return adapter.Sent{Parts: out.Done}, fmt.Errorf("confirm: not in the room: %v", err) // likewise
	}
	return r.lookUp(ctx, l, out)
}

// steps are the stanzas that a message needs; their ids may be of either name.
func (a *Adapter) steps(out adapter.Outbound, chat bool) ([]step, error) {
	v := voice{prefix: prefixOf(out.Author)}
	if a.component {
		v.prefix = "" // only the number of pieces matters, and no name is as long as a piece
	}
	refs := references{}
	if out.InReplyTo != nil {
		refs.to = "?"
	}
	if out.Replaces != nil {
		for range out.Replaces.Parts {
			refs.replaces, refs.retract = append(refs.replaces, "?"), append(refs.retract, "?")
		}
	}
	steps, _, err := plan(out, v, refs)
	return steps, err
}

// searchFrom is how long before the room accepted a message we begin to look for it here: clocks differ.
const searchFrom = 10 * time.Minute

// lookUp finds which stanzas of a message the room has.
func (r *room) lookUp(ctx context.Context, l *link, out adapter.Outbound) (adapter.Sent, error) {
	steps, err := r.a.steps(out, false)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	wanted := map[string]int{} // id → step
	found := map[int]adapter.NativeID{}
	for i, s := range steps {
		for _, viaGateway := range []bool{false, true} {
			wanted[r.a.ownID(r.conv, out.Marker.Key, s.part.Part, s.part.Piece, viaGateway)] = i
		}
		if done, ok := doneBefore(out, s.part); ok {
			found[i] = done.ID
		}
	}
	r.mu.Lock()
	for id, i := range wanted {
		if echoed, ok := r.echoes.get(id); ok {
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
			s.part.ID = id
			sent.Parts = append(sent.Parts, s.part)
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
func (r *room) search(ctx context.Context, l *link, from time.Time, wanted map[string]int, found map[int]adapter.NativeID) (time.Time, error) {
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
			if i, ok := wanted[originOf(m.stanza)]; ok {
				found[i], last = stamped(m.id), m.time
			}
		}
		if complete || len(page) == 0 || len(found) == len(steps) {
			return last, nil
		}
		q.after = page[len(page)-1].id
	}
}

// confirmChat knows only what a receipt told.
func (a *Adapter) confirmChat(out adapter.Outbound) (adapter.Sent, error) {
	steps, err := a.steps(out, true)
	if err != nil {
		return adapter.Sent{Parts: out.Done}, err
	}
	var sent adapter.Sent
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range steps {
		id := given(a.ownID(out.Conversation, out.Marker.Key, s.part.Part, s.part.Piece, false))
		if done, ok := doneBefore(out, s.part); ok {
			sent.Parts = append(sent.Parts, done)
		} else if _, ok := a.got.get(string(out.Conversation) + " " + string(id)); ok {
			s.part.ID = id
			sent.Parts = append(sent.Parts, s.part)
		}
	}
	if len(sent.Parts) == len(steps) {
		return sent, nil
	}
	return sent, fmt.Errorf("%w: no receipt has come, and a chat of two has no archive that we may read", adapter.ErrUnknown)
}
