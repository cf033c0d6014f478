package store

import (
	"bytes"
	"context"

	"mimigate/core/mls"
)

func recordPlace(state, key []byte) []byte { return place("mls_record", state, key) }

// ApplyDelta changes what is stored of an MLS group by the delta of a step, in its order, as one part of ctx's unit. Values are
// sealed, and what is deleted is overwritten on disk (RFC 9420 §9.2). state names whose state of which group it is: hub and
// member each keep one of the same group, under different names.
func (s *Store) ApplyDelta(ctx context.Context, state []byte, delta []mls.Record) error {
	return s.Do(ctx, func(ctx context.Context) error {
		for _, r := range delta {
			if err := s.applyRecord(ctx, some(state), r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) applyRecord(ctx context.Context, state []byte, r mls.Record) error {
	var err error
	switch key := some(r.Key); {
	case r.Prefix:
		return s.deletePrefix(ctx, state, key)
	case r.Value == nil:
		_, err = s.exec(ctx, `DELETE FROM mls_record WHERE state = $1 AND key = $2`, state, key)
	default:
		_, err = s.exec(ctx, `INSERT INTO mls_record (state, key, value) VALUES ($1, $2, $3)
			ON CONFLICT (state, key) DO UPDATE SET value = excluded.value`, state, key, s.seal(recordPlace(state, key), r.Value))
	}
	return err
}

func (s *Store) deletePrefix(ctx context.Context, state, prefix []byte) error {
	end := after(prefix)
	if end == nil {
		_, err := s.exec(ctx, `DELETE FROM mls_record WHERE state = $1 AND key >= $2`, state, prefix)
		return err
	}
	_, err := s.exec(ctx, `DELETE FROM mls_record WHERE state = $1 AND key >= $2 AND key < $3`, state, prefix, end)
	return err
}

// after returns the first key behind all that begin with prefix, or nil where no key is.
func after(prefix []byte) []byte {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}

// some keeps an empty key from being NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// LoadRecords returns all records of a state, in the order of their keys; none where nothing is stored. It fails with ErrKey where a
// value was altered.
func (s *Store) LoadRecords(ctx context.Context, state []byte) ([]mls.Record, error) {
	var list []mls.Record
	err := s.query(ctx, func(scan func(...any) error) error {
		var r mls.Record
		if err := scan(&r.Key, &r.Value); err != nil {
			return err
		}
		var err error
		if r.Value, err = s.unseal(recordPlace(state, r.Key), r.Value); err != nil {
			return err
		}
		list = append(list, r)
		return nil
	}, `SELECT key, value FROM mls_record WHERE state = $1 ORDER BY key`, some(state))
	return list, err
}
