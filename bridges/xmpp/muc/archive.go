package muc

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"mimigate/bridges/xmpp/link"
	"mimigate/bridges/xmpp/talk"
	"mimigate/bridges/xmpp/wire"
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
	stanza *wire.Node
}

const (
	pageSize = 50
	// lookBack is how many messages of the archive are looked through for one that a correction means.
	lookBack = 1000
)

// query is what to ask the archive for.
type query struct {
	after, before string // stanza-ids
	start         time.Time
	backwards     bool // the last page before `before`, or the very last
	max           int  // 0: pageSize
}

// query asks the archive for a page, oldest first, and says whether it was the last in that direction.
func (r *Room) query(ctx context.Context, l *link.Link, q query) (found []archived, complete bool, err error) {
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
	set := wire.El(wire.NSRSM, "set", wire.El("", "max").Put(strconv.Itoa(q.max)))
	if q.after != "" {
		set.Add(wire.El("", "after").Put(q.after))
	}
	if q.backwards {
		set.Add(wire.El("", "before").Put(q.before))
	}
	ask := wire.El(wire.NSMAM, "query").With("queryid", id)
	if !q.start.IsZero() {
		ask.Add(wire.Form(wire.NSMAM, "start", q.start.UTC().Format(time.RFC3339)))
	}
	answer, err := l.Stream.Ask(ctx, l.Stream.Me, r.jid, "set", ask.Add(set))
	if err != nil {
		return nil, false, err
	}
	fin := answer.Child(wire.NSMAM, "fin")
	if fin == nil {
		return nil, false, errors.New("the archive answered without an end")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.found, fin.Attr("complete") == "true", nil
}

// result takes a message that a query has found.
func (r *Room) result(n, result *wire.Node) {
	forwarded := result.Child(wire.NSForward, "forwarded")
	m := archived{id: result.Attr("id"), time: wire.Time(forwarded.Child(wire.NSDelay, "delay").Attr("stamp"))}
	for _, k := range forwarded.Children("jabber:client", "message") {
		m.stanza = k
	}
	if m.stanza == nil || m.id == "" || wire.Bare(m.stanza.Attr("from")) != r.jid {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.archive[result.Attr("queryid")]; p != nil && len(p.found) <= 4*pageSize {
		p.found = append(p.found, m)
	}
}

// find looks back through the archive, from its end, for a message that ok accepts.
func (r *Room) find(ctx context.Context, l *link.Link, ok func(archived) bool) (archived, bool, error) {
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
func (r *Room) fetch(ctx context.Context, l *link.Link, id string) (archived, bool, error) {
	previous, _, err := r.query(ctx, l, query{backwards: true, before: id, max: 1})
	if err != nil {
		if wire.IsCond(err, "item-not-found") {
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
func (r *Room) sourceOf(ctx context.Context, l *link.Link, id adapter.NativeID) (string, error) {
	if own, ok := talk.GivenOf(id); ok {
		return own, nil
	}
	sid, _ := talk.StampOf(id)
	r.mu.Lock()
	own, ok := r.echoes.Get("s:" + sid)
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
	return m.stanza.Attr("id"), nil
}
