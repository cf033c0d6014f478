package store

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/router"
)

// What is in this file is for people who look at deliveries, and decide on those that failed.

// Queue is what waits for one account.
type Queue struct {
	Account, Network string
	Waiting          int
	Dead             int       // given up, and kept for a retry
	Oldest           time.Time // when the oldest that waits was queued; zero: none waits
}

// Queues returns what waits for each account, in order of their ids.
func (s *Store) Queues(ctx context.Context) ([]Queue, error) {
	var list []Queue
	err := s.query(ctx, func(scan func(...any) error) error {
		var q Queue
		var oldest int64
		err := scan(&q.Account, &q.Network, &q.Waiting, &q.Dead, &oldest)
		q.Oldest = moment(oldest)
		list = append(list, q)
		return err
	}, `SELECT account, network, SUM(CASE WHEN state <= $1 THEN 1 ELSE 0 END), SUM(CASE WHEN state = $2 THEN 1 ELSE 0 END),
			COALESCE(MIN(CASE WHEN state <= $1 THEN made END), 0)
		FROM delivery WHERE state <= $1 OR state = $2 GROUP BY account, network ORDER BY account, network`,
		int64(router.Attempted), int64(router.Failed))
	return list, err
}

// DeliveryFilter says which deliveries are meant. What is zero does not count.
type DeliveryFilter struct {
	Account string
	Message content.MessageID
	Marker  string
	Waiting bool // those that are not settled
	Dead    bool // those that were given up, and are kept for a retry; with Waiting: both
	Limit   int
}

// Deliveries returns the deliveries that are meant, the oldest first.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter) ([]router.Delivery, error) {
	query, args := `SELECT marker FROM delivery WHERE 1 = 1`, []any(nil)
	and := func(condition string, arg any) {
		args = append(args, arg)
		query += fmt.Sprintf(" AND "+condition, fmt.Sprintf("$%d", len(args)))
	}
	if f.Account != "" {
		and("account = %s", f.Account)
	}
	if !f.Message.IsZero() {
		and("message = %s", bytes.Clone(f.Message[:]))
	}
	if f.Marker != "" {
		and("marker = %s", f.Marker)
	}
	switch {
	case f.Waiting && f.Dead:
		and("state <> %s", int64(router.Sent))
		and("state <> %s", int64(router.Dropped))
	case f.Waiting:
		and("state <= %s", int64(router.Attempted))
	case f.Dead:
		and("state = %s", int64(router.Failed))
	}
	query += ` ORDER BY made, network, conversation, seq`
	if f.Limit > 0 {
		query += fmt.Sprintf(` LIMIT %d`, f.Limit)
	}
	var markers []string
	err := s.query(ctx, func(scan func(...any) error) error {
		var marker string
		err := scan(&marker)
		markers = append(markers, marker)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	list := make([]router.Delivery, 0, len(markers))
	for _, marker := range markers {
		d, ok, err := s.DeliveryByMarker(ctx, marker)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, d)
		}
	}
	return list, nil
}

// Retry queues a delivery that was given up, at its place in the conversation, and reports whether it could: its body must still be there.
// Where it was attempted, the network is first asked whether it arrived after all.
func (s *Store) Retry(ctx context.Context, marker string) (bool, error) {
	n, err := s.exec(ctx, `UPDATE delivery SET state = CASE WHEN attempt > 0 THEN CAST($2 AS BIGINT) ELSE $3 END, due = 0, reason = '', made = $4
		WHERE marker = $1 AND state = $5 AND EXISTS (SELECT 1 FROM body WHERE body.id = delivery.message)`,
		marker, int64(router.Attempted), int64(router.Waiting), time.Now().UnixMilli(), int64(router.Failed))
	return n > 0, err
}

// Drop gives a delivery up for good, and reports whether it could: one that was made already, or dropped, is left as it is.
func (s *Store) Drop(ctx context.Context, marker, why string) (dropped bool, err error) {
	err = s.Do(ctx, func(ctx context.Context) error {
		d, ok, err := s.DeliveryByMarker(ctx, marker)
		if err != nil || !ok || d.State == router.Sent || d.State == router.Dropped {
			return err
		}
		d.State, d.Reason, d.Done, dropped = router.Dropped, why, nil, true
		return s.PutDelivery(ctx, d)
	})
	return dropped, err
}

// MessagesOf returns the messages that a native event, of any conversation, is.
func (s *Store) MessagesOf(ctx context.Context, id adapter.NativeID) ([]content.MessageID, error) {
	var list []content.MessageID
	err := s.query(ctx, func(scan func(...any) error) error {
		var b []byte
		err := scan(&b)
		list = append(list, idOf(b))
		return err
	}, `SELECT DISTINCT message FROM native_event WHERE id = $1 AND message IS NOT NULL`, string(id))
	return list, err
}
