package xmpp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"mimigate/core/adapter"
)

// position is how far the gateway has taken what was said in a room.
type position struct {
	ID   string    `json:"id,omitempty"` // stanza-id of the last message taken; empty: none yet
	Time time.Time `json:"time"`         // of that message, or of when the room was first opened
}

// page is what an archive query has found so far (XEP-0313 §4).
type page struct {
	found []archived
}

// archived is a message in the archive.
type archived struct {
	id     string // its stanza-id
	time   time.Time
	stanza *node
}

const (
	pageSize = 50
	// lookBack is how many messages of the archive are looked through for one that a correction means.
	lookBack = 1000
)

// loadPosition fetches the position from State, once.
func (r *room) loadPosition(ctx context.Context) error {
	r.mu.Lock()
	known := !r.position.Time.IsZero()
	r.mu.Unlock()
	if known {
		return nil
	}
	raw, err := r.a.account.State.Get(ctx, r.stateKey("mam"))
	if err != nil {
		return err
	}
	var p position
	if raw != nil {
		if err := json.Unmarshal(raw, &p); err != nil {
			r.a.account.Log.Warn("position in the room's archive is not readable: starting anew", "room", r.jid, "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position, r.stored = p, p
	return nil
}

// savePosition stores the position if it has moved. It is called when the lane has nothing more to do, and after each page.
func (r *room) savePosition(ctx context.Context) {
	r.mu.Lock()
	p, moved := r.position, r.position != r.stored
	r.mu.Unlock()
	if !moved {
		return
	}
	raw, err := json.Marshal(p)
	if err == nil {
		err = r.a.account.State.Put(ctx, r.stateKey("mam"), raw)
	}
	if err != nil {
		if ctx.Err() == nil { // what is repeated after a restart is known by its id
			r.a.account.Log.Warn("position in the room's archive not stored", "room", r.jid, "err", err)
		}
		return
	}
	r.mu.Lock()
	r.stored = p
	r.mu.Unlock()
}

// taken notes that a message was taken.
func (r *room) taken(id string, t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported.put(id, "")
	r.position = position{ID: id, Time: t}
}

// catchUp reports what was said since the position, and leaves the position at the end of the archive. It runs in the lane, so
// that what is said meanwhile comes after it.
func (r *room) catchUp(ctx context.Context, l *link) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := r.tryCatchUp(ctx, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		r.a.account.Log.Warn("room's archive not read", "room", r.jid, "err", err, "again in", pause)
		if isCond(err, "forbidden", "feature-not-implemented", "service-unavailable", "not-allowed") {
			r.a.report(l, r.jid, problem{"account " + r.a.account.ID + ": room " + r.jid + " does not let us read its archive: " + err.Error(), ""})
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *room) tryCatchUp(ctx context.Context, l *link) error {
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
		if isCond(err, "item-not-found") && after != "" { // the archive has forgotten it: go by time
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
		r.savePosition(ctx)
		if complete || len(found) == 0 {
			return nil
		}
		after, start = found[len(found)-1].id, time.Time{}
	}
}

// startHere sets the position of a room that was never open before to the end of its archive: what was said before is history,
// which nobody asked for.
func (r *room) startHere(ctx context.Context, l *link) error {
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
	r.savePosition(ctx)
	return nil
}

// reportArchived reports a message of the archive.
func (r *room) reportArchived(ctx context.Context, l *link, m archived) error {
	r.mu.Lock()
	_, known := r.reported.get(m.id)
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

// query is what to ask the archive for.
type query struct {
	after, before string // stanza-ids
	start         time.Time
	backwards     bool // the last page before `before`, or the very last
	max           int  // 0: pageSize
}

// query asks the archive for a page, oldest first, and says whether it was the last in that direction.
func (r *room) query(ctx context.Context, l *link, q query) (found []archived, complete bool, err error) {
	id := rand.Text()
	p := &page{}
	r.mu.Lock()
	r.archive[id] = p
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.archive, id)
		r.mu.Unlock()
	}()
	if q.max == 0 {
		q.max = pageSize
	}
	set := el(nsRSM, "set", el("", "max").put(strconv.Itoa(q.max)))
	if q.after != "" {
		set.add(el("", "after").put(q.after))
	}
	if q.backwards {
		set.add(el("", "before").put(q.before))
	}
	ask := el(nsMAM, "query").with("queryid", id)
	if !q.start.IsZero() {
		ask.add(submitForm(nsMAM, "start", q.start.UTC().Format(time.RFC3339)))
	}
	answer, err := l.s.ask(ctx, l.s.me, r.jid, "set", ask.add(set))
	if err != nil {
		return nil, false, err
	}
	fin := answer.child(nsMAM, "fin")
	if fin == nil {
		return nil, false, errors.New("the archive answered without an end")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.found, fin.attr("complete") == "true", nil
}

// result takes a message that a query has found.
func (r *room) result(n, result *node) {
	forwarded := result.child(nsForward, "forwarded")
	m := archived{id: result.attr("id"), time: stamp(forwarded.child(nsDelay, "delay").attr("stamp"))}
	for _, k := range forwarded.children("jabber:client", "message") {
		m.stanza = k
	}
	if m.stanza == nil || m.id == "" || bare(m.stanza.attr("from")) != r.jid {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.archive[result.attr("queryid")]; p != nil && len(p.found) <= 4*pageSize {
		p.found = append(p.found, m)
	}
}

// find looks back through the archive, from its end, for a message that ok accepts.
func (r *room) find(ctx context.Context, l *link, ok func(archived) bool) (archived, bool, error) {
	before := ""
	for range lookBack / pageSize {
		found, complete, err := r.query(ctx, l, query{backwards: true, before: before})
		if err != nil {
			return archived{}, false, err
		}
		for i := len(found) - 1; i >= 0; i-- {
			if ok(found[i]) {
				return found[i], true, nil
			}
		}
		if complete || len(found) == 0 {
			break
		}
		before = found[0].id
	}
	return archived{}, false, nil
}

// fetch returns the message with that stanza-id, by way of the one before it, which every archive can do.
func (r *room) fetch(ctx context.Context, l *link, id string) (archived, bool, error) {
	previous, _, err := r.query(ctx, l, query{backwards: true, before: id, max: 1})
	if err != nil {
		if isCond(err, "item-not-found") {
			err = nil
		}
		return archived{}, false, err
	}
	q := query{max: 1}
	if len(previous) > 0 {
		q.after = previous[len(previous)-1].id
	}
	found, _, err := r.query(ctx, l, q)
	if err != nil || len(found) == 0 || found[0].id != id {
		return archived{}, false, err
	}
	return found[0], true, nil
}

// sourceOf returns the id that the sender of one of our messages gave it, for a stanza-id of the room.
func (r *room) sourceOf(ctx context.Context, l *link, id adapter.NativeID) (string, error) {
	if own, ok := givenOf(id); ok {
		return own, nil
	}
	sid, _ := stampOf(id)
	r.mu.Lock()
	own, ok := r.echoes.get("s:" + sid)
	r.mu.Unlock()
	if ok {
		return own, nil
	}
	m, ok, err := r.fetch(ctx, l, sid)
	if err != nil {
		return "", adapter.NotDelivered(err)
	}
	if !ok {
		return "", nil
	}
	return m.stanza.attr("id"), nil
}

// submitForm is a data form (XEP-0004) with one field.
func submitForm(kind, field, value string) *node {
	return el(nsForm, "x",
		el("", "field", el("", "value").put(kind)).with("var", "FORM_TYPE").with("type", "hidden"),
		el("", "field", el("", "value").put(value)).with("var", field)).with("type", "submit")
}
