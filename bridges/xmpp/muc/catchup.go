package muc

import (
	"context"
	"encoding/json"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/wire"
)

// loadPosition fetches the position from State, once.
func (r *Room) loadPosition(ctx context.Context) error {
	r.mu.Lock()
	known := !r.position.Time.IsZero()
	r.mu.Unlock()
	if known {
		return nil
	}
	raw, err := r.a.State.Get(ctx, r.stateKey("mam"))
	if err != nil {
		return err
	}
	var p position
	if raw != nil {
		if err := json.Unmarshal(raw, &p); err != nil {
			r.a.Log.Warn("position in the room's archive is not readable: starting anew", "room", r.jid, "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position, r.stored = p, p
	return nil
}

// Save stores the position if it has moved: after each page of the archive, every few seconds, and at the end. What is taken after
// that is taken again after a crash, and known by its id.
func (r *Room) Save(ctx context.Context) {
	select {
	case r.saving <- struct{}{}:
		defer func() { <-r.saving }()
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	p, moved := r.position, r.position != r.stored
	r.mu.Unlock()
	if !moved {
		return
	}
	raw, err := json.Marshal(p)
	if err == nil {
		err = r.a.State.Put(ctx, r.stateKey("mam"), raw)
	}
	if err != nil {
		if ctx.Err() == nil {
			r.a.Log.Warn("position in the room's archive not stored", "room", r.jid, "err", err)
		}
		return
	}
	r.mu.Lock()
	r.stored = p
	r.mu.Unlock()
}

// taken notes that a message was taken.
func (r *Room) taken(id string, t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported.Put(id, "")
	if t.IsZero() {
		t = time.Now()
	}
	r.position = position{ID: id, Time: t}
}

// catchUp reports what was said since the position, and leaves the position at the end of the archive. It runs in the link.Lane, so
// that what is said meanwhile comes after it.
func (r *Room) catchUp(ctx context.Context, l *link.Link) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := r.tryCatchUp(ctx, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		r.a.Log.Warn("room's archive not read", "room", r.jid, "err", err, "again in", pause)
		if wire.IsCond(err, "forbidden", "feature-not-implemented", "service-unavailable", "not-allowed") {
			r.a.Report(l, r.jid, Problem{"account " + r.a.ID + ": room " + r.jid + " does not let us read its archive: " + err.Error(), ""})
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Room) tryCatchUp(ctx context.Context, l *link.Link) error {
	r.mu.Lock()
	from := r.position
	r.mu.Unlock()
	if from.Time.IsZero() {
		return r.startHere(ctx, l)
	}
	// Without an id the archive was empty when the room was opened: all that is in it now is new.
	after, start := from.ID, time.Time{}
	for {
		found, complete, err := r.query(ctx, l, query{after: after, start: start})
		if wire.IsCond(err, "item-not-found") && after != "" { // the archive has forgotten it: go by time
			after, start = "", from.Time
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range found {
			if err := r.reportArchived(ctx, l, m); err != nil {
				return err
			}
		}
		r.Save(ctx)
		if complete || len(found) == 0 {
			return nil
		}
		after, start = found[len(found)-1].id, time.Time{}
	}
}

// startHere sets the position of a room that was never open before to the end of its archive: what was said before is history,
// which nobody asked for.
func (r *Room) startHere(ctx context.Context, l *link.Link) error {
	found, _, err := r.query(ctx, l, query{backwards: true, max: 1})
	if err != nil {
		return err
	}
	p := position{Time: time.Now().UTC()}
	if len(found) > 0 {
		p.ID = found[0].id
		if t := found[0].time; !t.IsZero() {
			p.Time = t
		}
	}
	r.mu.Lock()
	r.position = p // what was said since we are in the room comes live, after this
	r.mu.Unlock()
	r.Save(ctx)
	return nil
}

// reportArchived reports a message of the archive.
func (r *Room) reportArchived(ctx context.Context, l *link.Link, m archived) error {
	r.mu.Lock()
	_, known := r.reported.Get(m.id)
	r.mu.Unlock()
	if known {
		return nil
	}
	if item, ok := r.convert(m.stanza, m.id, m.time); ok {
		return item(ctx, l)
	}
	r.taken(m.id, m.time)
	return nil
}
