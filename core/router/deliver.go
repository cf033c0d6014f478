package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router/convert"
	"mimigate/core/router/phrase"
	"mimigate/core/router/record"
	"mimigate/core/router/task"
	"mimigate/core/uri"
)

// line delivers to one conversation, one thing after the other, in a goroutine of Run that ends when there is nothing to deliver: a
// frozen conversation holds up itself and no other.
type line struct {
	place    Place
	again    bool          // something was queued since it last looked; under Router.mu
	account  string        // whose connection it waits for; empty: it waits for what the network said; under Router.mu
	hurry    chan struct{} // do not wait for Due
	failures int           // in a row
}

// wake lets a conversation be delivered to.
func (r *Router) wake(p Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lines[p]; l != nil {
		l.again = true
		return
	}
	if r.run == nil || r.run.ctx.Err() != nil {
		return // Run begins with all that waits
	}
	l := &line{place: p, hurry: make(chan struct{}, 1)}
	r.lines[p] = l
	r.start(func(ctx context.Context) { r.deliver(ctx, l) })
}

// hurry lets lines try now what waits for a later attempt.
func (r *Router) hurry(which func(*line) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if which(l) {
			select {
			case l.hurry <- struct{}{}:
			default:
			}
		}
	}
}

// Hurry lets a conversation be delivered to now: somebody has decided on what waits there.
func (r *Router) Hurry(p Place) {
	r.wake(p)
	r.hurry(func(l *line) bool { return l.place == p })
}

// waitsFor says whose connection a line waits for.
func (r *Router) waitsFor(l *line, account string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.account = account
	select {
	case <-l.hurry: // meant for an earlier wait
	default:
	}
}

// deliver is the goroutine of a line (design §4 step 11): it has each delivery fitted and sent (step 12).
func (r *Router) deliver(ctx context.Context, l *line) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lines[l.place] == l { // not a successor's, after idle
			delete(r.lines, l.place)
		}
	}()
	for ctx.Err() == nil {
		r.mu.Lock()
		l.again = false
		r.mu.Unlock()
		d, ok, err := r.Store.NextDelivery(ctx, l.place)
		if err == nil && !ok {
			if r.idle(l) {
				return
			}
			continue
		}
		if err == nil {
			if wait := d.Due.Sub(r.Now()); wait > 0 {
				l.wait(ctx, wait)
				if now, ok, err := r.Store.NextDelivery(ctx, l.place); err != nil || !ok || now.Marker != d.Marker {
					continue // dropped meanwhile
				}
			}
			r.waitsFor(l, "")
			err = r.attempt(ctx, l, d)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.ErrorContext(ctx, "delivery", "network", l.place.Network, "error", err)
			l.failures++
			l.wait(ctx, r.Backoff(l.failures))
		}
	}
}

// idle takes the line away where nothing more was queued.
func (r *Router) idle(l *line) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.again {
		return false
	}
	delete(r.lines, l.place)
	return true
}

// wait waits until it is over, or somebody is in a hurry, or ctx ends.
func (l *line) wait(ctx context.Context, d time.Duration) { pause(ctx, d, l.hurry) }

func pause(ctx context.Context, d time.Duration, hurry <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry:
	case <-ctx.Done():
	}
}

// attempt brings the first delivery of a line one step further. An error is one of the store's.
func (r *Router) attempt(ctx context.Context, l *line, d Delivery) error {
	if ctx.Err() != nil {
		return nil
	}
	account, ok := r.Accounts.Account(d.Account)
	if !ok || !d.Opened() {
		if r.expired(d) {
			return r.fail(ctx, d, r.say(phrase.Expired))
		}
		l.failures++
		l.wait(ctx, r.Backoff(l.failures))
		return nil
	}
	if d.Task != nil {
		wait, cancel := context.WithTimeout(ctx, r.SendTimeout)
		defer cancel()
		return r.settle(ctx, l, d, adapter.Sent{}, task.Doer{Store: r.Store, Convert: &r.convert}.Do(wait, account.Adapter, account.shown(), d))
	}
	out, note, err := r.convert.Outbound(ctx, account.shown(), d)
	if errors.Is(err, convert.ErrNoBody) {
		return r.fail(ctx, d, err.Error())
	}
	if err != nil {
		return err
	}
	if out == nil { // nothing to show
		return r.finish(ctx, d, adapter.Sent{Notes: note})
	}
	if d.State == Attempted {
		again, sent, err := r.confirm(ctx, account, out)
		if !again {
			return r.settle(ctx, l, d, sent, err)
		}
		d.Done = record.Merge(d.Done, sent.Parts)
	}
	if r.expired(d) {
		return r.fail(ctx, d, r.say(phrase.Expired))
	}
	d.State = Attempted
	d.Attempt++
	if err := r.Store.PutDelivery(ctx, d); err != nil { // T5
		return err
	}
	out.Attempt, out.Done = d.Attempt, d.Done
	sent, err := r.send(ctx, account, *out)
	sent.Notes = append(sent.Notes, note...)
	return r.settle(ctx, l, d, sent, err)
}

func (r *Router) send(ctx context.Context, account Account, out adapter.Outbound) (adapter.Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, r.SendTimeout)
	defer cancel()
	return account.Adapter.Send(ctx, out)
}

// expired reports whether a delivery has waited too long.
func (r *Router) expired(d Delivery) bool {
	return r.Now().Sub(d.Made) > r.rules(d.Room).Undelivered
}

// confirm finds out what became of an attempt whose outcome is unknown, and reports whether to send again. Where the network cannot say,
// that may be a repetition, and is counted.
func (r *Router) confirm(ctx context.Context, account Account, out *adapter.Outbound) (again bool, sent adapter.Sent, err error) {
	confirmer, ok := account.Adapter.(adapter.Confirmer)
	if ok {
		ctx, cancel := context.WithTimeout(ctx, r.SendTimeout)
		defer cancel()
		sent, err = confirmer.Confirm(ctx, *out)
		switch {
		case err == nil:
			return false, sent, nil
		case errors.Is(err, adapter.ErrNotDelivered) && ctx.Err() == nil:
			return true, sent, nil
		case !errors.Is(err, adapter.ErrUnknown):
			return false, sent, unasked{err}
		}
	}
	r.mu.Lock()
	r.repeated++
	r.mu.Unlock()
	r.Log.WarnContext(ctx, "sent again without knowing whether it had arrived", "account", account.ID, "marker", out.Marker.Key)
	return true, sent, nil
}

// unasked is an error of asking what became of an attempt: the answer is as unknown as before.
type unasked struct{ error }

// settle records what became of an attempt: unit T6, or what comes before the next attempt.
func (r *Router) settle(ctx context.Context, l *line, d Delivery, sent adapter.Sent, err error) error {
	// What the network answered is recorded even while we stop.
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		l.failures = 0
		r.clearProblem(ctx, d)
		return r.finish(ctx, d, sent)
	}
	d.Done = record.Merge(d.Done, sent.Parts)
	unknown := errors.As(err, new(unasked)) || !errors.Is(err, adapter.ErrNotDelivered)
	switch {
	case unknown && d.Task == nil:
		d.State = Attempted
	case errors.Is(err, adapter.ErrRefused), errors.Is(err, adapter.ErrUnsupported),
		errors.Is(err, adapter.ErrGone) && d.Room.IsZero():
		return r.fail(ctx, d, err.Error())
	default:
		d.State = Waiting
	}
	if r.expired(d) {
		return r.fail(ctx, d, r.say(phrase.Expired))
	}
	l.failures++
	delay, ok := adapter.RetryDelay(err)
	if !ok {
		delay = r.Backoff(l.failures)
		r.waitsFor(l, d.Account)
	}
	d.Due = r.Now().Add(delay)
	if errors.Is(err, adapter.ErrGone) {
		if err := r.gone(ctx, d, err); err != nil {
			return err
		}
	}
	return r.Store.PutDelivery(ctx, d)
}

// gone tells the admins, once, that a conversation is not available. Its messages wait.
func (r *Router) gone(ctx context.Context, d Delivery, why error) error {
	b, ok, err := r.Store.BindingOf(ctx, d.Place)
	if err != nil || !ok || !r.setProblem(b.Chat, why.Error()) {
		return err
	}
	return r.tellAdmins(ctx, r.say(phrase.CannotOpen, b.Account+"/"+b.Name, why.Error()))
}

func (r *Router) clearProblem(ctx context.Context, d Delivery) {
	r.mu.Lock()
	any := len(r.problems) > 0
	r.mu.Unlock()
	if !any || d.Room.IsZero() {
		return
	}
	if b, ok, err := r.Store.BindingOf(ctx, d.Place); err == nil && ok {
		r.setProblem(b.Chat, "")
	}
}

// finish is unit T6: the native ids, and that it is done.
func (r *Router) finish(ctx context.Context, d Delivery, sent adapter.Sent) error {
	d.State, d.Done = Sent, nil
	if len(sent.Notes) > 0 {
		d.Reason = fmt.Sprint(sent.Notes)
	}
	err := r.Store.Do(ctx, func(ctx context.Context) error {
		for _, part := range sent.Parts {
			ev := Event{NativePart: part, Made: r.Now()}
			if !d.Room.IsZero() {
				ev.Message = d.Message
			}
			if err := r.Store.PutNativeEvent(ctx, d.Place, ev); err != nil {
				return err
			}
		}
		return r.Store.PutDelivery(ctx, d)
	})
	return err
}

// fail gives a delivery up, and tells who should know why.
func (r *Router) fail(ctx context.Context, d Delivery, why string) error {
	ctx = context.WithoutCancel(ctx)
	r.Log.WarnContext(ctx, "not delivered", "account", d.Account, "room", d.Room.String(), "message", d.Message.String(), "reason", why)
	d.State, d.Reason, d.Done = Failed, why, nil
	return r.Store.Do(ctx, func(ctx context.Context) error {
		if err := r.Store.PutDelivery(ctx, d); err != nil {
			return err
		}
		if d.Task != nil {
			return r.taskFailed(ctx, d)
		}
		if d.Room.IsZero() {
			return nil
		}
		row, ok, err := r.Store.Message(ctx, d.Message)
		if err != nil || !ok || row.Place == (Place{}) {
			return err
		}
		there, err := r.Store.Conversation(ctx, d.Place)
		if err != nil {
			return err
		}
		title := there.Title
		if title == "" {
			title = d.Account
		}
		return r.tellSender(ctx, row.Place, row.Room, row.Sender, phrase.Undelivered, title, why)
	})
}

// taskFailed says in words what a network could not show.
func (r *Router) taskFailed(ctx context.Context, d Delivery) error {
	if d.Task.Member == nil {
		return nil
	}
	p := phrase.StillThere
	if !d.Task.Member.Native {
		if !r.rules(d.Room).ShowJoins {
			return nil
		}
		switch d.Task.Member.Change {
		case adapter.Joined:
			p = phrase.Joined
		case adapter.Left:
			p = phrase.Left
		default:
			p = phrase.Removed
		}
	}
	name, err := r.convert.NameOf(ctx, d.Room, d.Author)
	if err != nil {
		return err
	}
	return r.notice(ctx, d.Place, d.Account, uri.Room{}, content.Text(r.say(p, name)))
}
