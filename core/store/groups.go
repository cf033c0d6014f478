package store

import (
	"bytes"
	"context"
)

// Record is a piece of a group's MLS state: the engine chooses the keys and cuts the state so that what a step changes is small.
type Record struct{ Key, Value []byte }

func recordPlace(group, key []byte) []byte { return place("mls_record", group, key) }

// ApplyDelta changes the stored state of an MLS group by a step's delta, as one part of ctx's unit: first every record whose key
// begins with one of deletePrefixes is deleted (an empty prefix: all records of the group), then those named by deletes, and
// then puts are written, over whatever was there. Values are sealed, and what is deleted is overwritten on disk
// (RFC 9420 §9.2). group is the MLS group id.
func (s *Store) ApplyDelta(ctx context.Context, group []byte, puts []Record, deletes, deletePrefixes [][]byte) error {
	return s.Do(ctx, func(ctx context.Context) error {
		for _, p := range deletePrefixes {
			if err := s.deletePrefix(ctx, group, p); err != nil {
				return err
			}
		}
		for _, key := range deletes {
			if _, err := s.exec(ctx, `DELETE FROM mls_record WHERE group_id = $1 AND key = $2`, some(group), some(key)); err != nil {
				return err
			}
		}
		for _, r := range puts {
			if _, err := s.exec(ctx, `INSERT INTO mls_record (group_id, key, value) VALUES ($1, $2, $3)
				ON CONFLICT (group_id, key) DO UPDATE SET value = excluded.value`,
				some(group), some(r.Key), s.seal(recordPlace(group, r.Key), r.Value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) deletePrefix(ctx context.Context, group, prefix []byte) error {
	end := after(prefix)
	if end == nil {
		_, err := s.exec(ctx, `DELETE FROM mls_record WHERE group_id = $1 AND key >= $2`, some(group), some(prefix))
		return err
	}
	_, err := s.exec(ctx, `DELETE FROM mls_record WHERE group_id = $1 AND key >= $2 AND key < $3`, some(group), some(prefix), end)
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

// LoadRecords returns all records of an MLS group in the order of their keys; none for a group that is not stored.
// It fails with ErrKey where a value was altered.
func (s *Store) LoadRecords(ctx context.Context, group []byte) ([]Record, error) {
	var list []Record
	err := s.query(ctx, func(scan func(...any) error) error {
		var r Record
		if err := scan(&r.Key, &r.Value); err != nil {
			return err
		}
		var err error
		if r.Value, err = s.unseal(recordPlace(group, r.Key), r.Value); err != nil {
			return err
		}
		list = append(list, r)
		return nil
	}, `SELECT key, value FROM mls_record WHERE group_id = $1 ORDER BY key`, some(group))
	return list, err
}
