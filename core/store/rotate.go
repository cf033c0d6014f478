package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"mimigate/core/store/seal"
)

// sealedColumn is a private column of a table, with the columns of its row's place, which are also a key of the table.
type sealedColumn struct {
	table, column string
	place         []string
}

// sealedColumns are all there are.
func sealedColumns() []sealedColumn {
	return []sealedColumn{
		{"account_state", "value", []string{"account", "key"}},
		{"mls_record", "value", []string{"state", "key"}},
		{"body", "value", []string{"id"}},
		{"delivery", "task", []string{"marker"}},
		{"hub_secret", "value", []string{"name"}},
		{"hub_report", "body", []string{"number"}},
		{"member_outgoing", "content", []string{"room", "number"}},
		{"member_key_package", "secrets", []string{"ref"}},
	}
}

// resealMax is how many values are sealed anew in one unit, so that others have their turns between.
const resealMax = 200

// settingRotation says how far a change of the keys has come; none is there where no change is going on.
const settingRotation = "rotation"

const (
	rotationBegun   = "from "     // before the id of the master key that is to be replaced
	rotationReseals = "resealing" // there are a new master key and a new data key; values are sealed anew
	rotationEnds    = "ending"    // nothing is sealed under an old key any more; the key file has the old ones still
)

// Rotate replaces the keys: a new master key at the head of the key file (where the keys do not come from a file, the one that was put
// before the others there), a new data key, and every private column sealed under that, some at a time while other units
// have their turns. Old data keys are deleted, and old master keys moved to a file beside the key file, with ".old" at the end of its name: backups
// of before need them. It may be interrupted anywhere, even by a kill: the store can be used, and Rotate again goes on
// where it was. progress is called after each step with the number of values sealed anew so far, and stops it with an error.
func (s *Store) Rotate(ctx context.Context, progress func(values int) error) error {
	r := &rotation{store: s, progress: progress}
	for _, step := range []func(context.Context) error{r.begin, r.newKeys, r.reseal, r.end} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("store: rotation of the keys: %w", err)
		}
	}
	return nil
}

type rotation struct {
	store    *Store
	progress func(int) error
	values   int
}

func (r *rotation) told() error {
	if r.progress == nil {
		return nil
	}
	return r.progress(r.values)
}

// begin makes the new master key in the file, unless that was done before an interruption.
func (r *rotation) begin(ctx context.Context) error {
	s := r.store
	o := s.options
	state, found, err := s.setting(ctx, settingRotation)
	if err != nil || o.KeyFile == "" || found && !strings.HasPrefix(state, rotationBegun) {
		return err
	}
	keys, err := o.masters(false)
	if err != nil {
		return err
	}
	now, _ := keys.Current()
	if !found {
		state = rotationBegun + now.ID
		if err := errors.Join(s.setSetting(ctx, settingRotation, state), r.told()); err != nil {
			return err
		}
	}
	if state != rotationBegun+now.ID {
		return nil
	}
	fresh, err := keys.Fresh()
	if err != nil {
		return err
	}
	return errors.Join(fresh.WriteFile(o.KeyFile), r.told())
}

// newKeys seals the data keys under the new master key, and makes a new data key.
func (r *rotation) newKeys(ctx context.Context) error {
	s := r.store
	state, _, err := s.setting(ctx, settingRotation)
	if err != nil || state == rotationReseals || state == rotationEnds {
		return err
	}
	err = s.Do(ctx, func(ctx context.Context) error {
		if err := s.openSealer(ctx, s.options, time.Now()); err != nil {
			return err
		}
		keys, err := s.options.masters(false)
		if err != nil {
			return err
		}
		master, _ := keys.Current()
		if err := s.addDataKey(ctx, master, time.Now()); err != nil {
			return err
		}
		return s.setSetting(ctx, settingRotation, rotationReseals)
	})
	return errors.Join(err, r.told())
}

// reseal seals everything anew, and then deletes the old data keys.
func (r *rotation) reseal(ctx context.Context) error {
	s := r.store
	state, _, err := s.setting(ctx, settingRotation)
	if err != nil || state != rotationReseals {
		return err
	}
	for _, c := range sealedColumns() {
		var after []any
		for more := true; more; {
			if err := s.Do(ctx, func(ctx context.Context) error {
				var err error
				after, more, err = r.page(ctx, c, after)
				return err
			}); err != nil {
				return err
			}
			if err := r.told(); err != nil {
				return err
			}
		}
	}
	err = s.Do(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, `DELETE FROM data_key WHERE id <> $1`, int64(s.sealer.Load().Current())); err != nil {
			return err
		}
		return s.setSetting(ctx, settingRotation, rotationEnds)
	})
	return errors.Join(err, r.told())
}

// page seals the values of some rows anew: those after a place, all where that is nil. It returns the place of the last one, and whether
// there may be more.
func (r *rotation) page(ctx context.Context, c sealedColumn, after []any) (last []any, more bool, err error) {
	s := r.store
	args := append([]any{s.sealer.Load().Header()}, after...)
	places := strings.Join(c.place, ", ")
	query := fmt.Sprintf(`SELECT %s, %s FROM %s WHERE %s IS NOT NULL AND substr(%s, 1, %d) <> $1`, places, c.column, c.table, c.column, c.column, seal.HeaderLen)
	if after != nil {
		query += ` AND (` + places + `) > (` + numbered(2, len(after)) + `)`
	}
	query += fmt.Sprintf(` ORDER BY %s LIMIT %d`, places, resealMax)
	var rows [][]any
	if err := s.query(ctx, func(scan func(...any) error) error {
		row, into := make([]any, len(c.place)+1), make([]any, len(c.place)+1)
		for i := range row {
			into[i] = &row[i]
		}
		err := scan(into...)
		rows = append(rows, row)
		return err
	}, query, args...); err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		if err := r.value(ctx, c, row); err != nil {
			return nil, false, err
		}
		last = row[:len(c.place)]
	}
	return last, len(rows) == resealMax, nil
}

// value seals one value anew. The row has the columns of its place, and it.
func (r *rotation) value(ctx context.Context, c sealedColumn, row []any) error {
	s := r.store
	sealed, ok := row[len(c.place)].([]byte)
	if !ok {
		return fmt.Errorf("%w: unknown form in %s", ErrKey, c.table)
	}
	var key [][]byte
	where := make([]string, len(c.place))
	for i, name := range c.place {
		part, err := placeOf(row[i])
		if err != nil {
			return err
		}
		key = append(key, part)
		where[i] = fmt.Sprintf("%s = $%d", name, i+2)
	}
	at := place(c.table, key...)
	plain, err := s.unseal(at, sealed)
	if err != nil {
		return err
	}
	r.values++
	_, err = s.exec(ctx, fmt.Sprintf(`UPDATE %s SET %s = $1 WHERE %s`, c.table, c.column, strings.Join(where, " AND ")),
		append([]any{s.seal(at, plain)}, row[:len(c.place)]...)...)
	return err
}

// placeOf is the part of a place that a column is: numbers have 8 octets, big endian.
func placeOf(column any) ([]byte, error) {
	switch v := column.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	case int64:
		return binary.BigEndian.AppendUint64(nil, uint64(v)), nil
	}
	return nil, fmt.Errorf("a place of type %T", column)
}

// numbered is "$2, $3" for the first number 2 and a count of 2.
func numbered(first, count int) string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(list, ", ")
}

// end takes the old keys out of the key file.
func (r *rotation) end(ctx context.Context) error {
	s := r.store
	if path := s.options.KeyFile; path != "" {
		keys, err := s.options.masters(false)
		if err != nil {
			return err
		}
		if err := keys.Past().Append(path + ".old"); err != nil {
			return err
		}
		if err := errors.Join(r.told(), keys.Only().WriteFile(path), r.told()); err != nil {
			return err
		}
	}
	return s.setSetting(ctx, settingRotation, "")
}
