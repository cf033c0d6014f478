package metrics

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/mimi"
	"mimigate/core/router"
	"mimigate/core/uri"
)

// Sink returns a sink that counts what an account reports, and passes it on.
func (m *Metrics) Sink(account, network string, next adapter.Sink) adapter.Sink {
	return sink{m, account, network, next}
}

type sink struct {
	metrics          *Metrics
	account, network string
	next             adapter.Sink
}

// Receive implements adapter.Sink.
func (s sink) Receive(ctx context.Context, ev adapter.Event) error {
	began := time.Now()
	err := s.next.Receive(ctx, ev)
	switch ev.Body.(type) {
	case adapter.Status, adapter.Typing:
		return err // not recorded
	}
	if err != nil {
		s.metrics.refused.WithLabelValues(s.account, s.network).Inc()
		return err
	}
	s.metrics.accepted.WithLabelValues(s.account, s.network).Inc()
	s.metrics.receiving.WithLabelValues(s.network).Observe(time.Since(began).Seconds())
	return nil
}

// Store returns the router's store so that what becomes of deliveries is counted, and logged with the message's id, by which all steps of
// one message are found in the log.
func (m *Metrics) Store(next router.Store, log *slog.Logger) router.Store {
	return store{next, m, log}
}

type store struct {
	router.Store
	metrics *Metrics
	log     *slog.Logger
}

// PutDelivery implements router.Deliveries.
func (s store) PutDelivery(ctx context.Context, d router.Delivery) error {
	if err := s.Store.PutDelivery(ctx, d); err != nil {
		return err
	}
	if d.State == router.Sent || d.State == router.Failed {
		s.OnCommit(ctx, func() { s.settled(d) })
	}
	return nil
}

// settled counts what became of a delivery. Tasks and words of the gateway itself are no messages.
func (s store) settled(d router.Delivery) {
	if d.Task != nil || d.Room.IsZero() {
		return
	}
	about := []any{"message", d.Message.String(), "account", d.Account, "room", d.Room.String(), "attempt", d.Attempt}
	switch {
	case d.State == router.Failed:
		s.metrics.failed.WithLabelValues(d.Account, d.Network, Reason(d.Reason)).Inc()
		return // the router has logged it
	case d.Reason != "":
		s.metrics.degraded.WithLabelValues(d.Account, d.Network).Inc()
	default:
		s.metrics.delivered.WithLabelValues(d.Account, d.Network).Inc()
	}
	s.metrics.delivery.WithLabelValues(d.Network).Observe(time.Since(d.Made).Seconds())
	s.log.Debug("delivered", about...)
}

// Reason is the class of why something was not delivered: refused, unsupported, unavailable, or expired for what nobody took in time.
func Reason(text string) string {
	for _, known := range []struct {
		err  error
		word string
	}{{adapter.ErrRefused, "refused"}, {adapter.ErrUnsupported, "unsupported"}, {adapter.ErrGone, "unavailable"}} {
		if strings.HasPrefix(text, known.err.Error()) {
			return known.word
		}
	}
	return "expired"
}

// Units tells when a unit of work is committed; see package store.
type Units interface {
	OnCommit(ctx context.Context, f func()) // at once where ctx carries no unit
}

// Hub returns a hub that counts what is submitted to it.
func (m *Metrics) Hub(next mimi.Hub, units Units) mimi.Hub { return hub{next, m, units} }

type hub struct {
	mimi.Hub
	metrics *Metrics
	units   Units
}

// The outcomes of a request to the hub.
const (
	accepted = "accepted"
	conflict = "conflict"
	refused  = "refused"
)

// Update implements mimi.Hub.
func (h hub) Update(ctx context.Context, from uri.Provider, room uri.Room, r *mimi.UpdateRequest) (*mimi.UpdateRoomResponse, error) {
	began := time.Now()
	resp, err := h.Hub.Update(ctx, from, room, r)
	outcome := refused
	switch {
	case err != nil && !errors.Is(err, mimi.ErrBadRequest) && !errors.Is(err, mimi.ErrForbidden):
		return resp, err // no answer
	case err == nil && resp.Code == mimi.UpdateSuccess:
		outcome = accepted
	case err == nil && resp.Code == mimi.UpdateWrongEpoch:
		outcome = conflict
	}
	h.units.OnCommit(ctx, func() {
		h.metrics.updates.WithLabelValues(outcome).Inc()
		h.metrics.hub.WithLabelValues("update").Observe(time.Since(began).Seconds())
	})
	return resp, err
}

// Submit implements mimi.Hub.
func (h hub) Submit(ctx context.Context, from uri.Provider, room uri.Room, r *mimi.SubmitMessageRequest) (*mimi.SubmitMessageResponse, error) {
	began := time.Now()
	resp, err := h.Hub.Submit(ctx, from, room, r)
	outcome := refused
	switch {
	case err != nil && !errors.Is(err, mimi.ErrBadRequest) && !errors.Is(err, mimi.ErrForbidden):
		return resp, err // no answer
	case err == nil && resp.Code == mimi.SubmitAccepted:
		outcome = accepted
	case err == nil && resp.Code == mimi.SubmitEpochTooOld:
		outcome = conflict
	}
	h.units.OnCommit(ctx, func() {
		h.metrics.submits.WithLabelValues(outcome).Inc()
		h.metrics.hub.WithLabelValues("submit").Observe(time.Since(began).Seconds())
	})
	return resp, err
}
