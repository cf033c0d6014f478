// Package reseal seals the private columns of a store anew, some values at a time.
package reseal

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"mimigate/core/store/seal"
	"mimigate/core/store/work"
)

// Column is a private column of a table, with the columns of its row's place (see seal.Place), which are also a key of the table.
type Column struct {
	Table, Name string
	Place       []string
}

// Columns are all there are.
func Columns() []Column {
	return []Column{
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

// Max is how many values are sealed anew in one unit, so that others have their turns between.
const Max = 200

// Page seals the values of up to Max rows anew that are not sealed under the current data key of s: of those after a place, of all where that
// is nil. It returns the place of the last one, and how many there were: fewer than Max at the end. ctx has a unit. It fails with seal.ErrKey
// where a value cannot be opened.
func Page(ctx context.Context, w *work.Work, s *seal.Sealer, c Column, after []any) (last []any, n int, err error) {
	args := append([]any{s.Header()}, after...)
	places := strings.Join(c.Place, ", ")
	query := fmt.Sprintf(`SELECT %s, %s FROM %s WHERE %s IS NOT NULL AND substr(%s, 1, %d) <> $1`, places, c.Name, c.Table, c.Name, c.Name, seal.HeaderLen)
	if after != nil {
		query += ` AND (` + places + `) > (` + numbered(2, len(after)) + `)`
	}
	query += fmt.Sprintf(` ORDER BY %s LIMIT %d`, places, Max)
	var rows [][]any
	if err := w.Query(ctx, func(scan func(...any) error) error {
		row, into := make([]any, len(c.Place)+1), make([]any, len(c.Place)+1)
		for i := range row {
			into[i] = &row[i]
		}
		err := scan(into...)
		rows = append(rows, row)
		return err
	}, query, args...); err != nil {
		return nil, 0, err
	}
	for _, row := range rows {
		if err := value(ctx, w, s, c, row); err != nil {
			return nil, 0, err
		}
		last = row[:len(c.Place)]
	}
	return last, len(rows), nil
}

// value seals one value anew. The row has the columns of its place, and it.
func value(ctx context.Context, w *work.Work, s *seal.Sealer, c Column, row []any) error {
	sealed, ok := row[len(c.Place)].([]byte)
	if !ok {
		return fmt.Errorf("%w: unknown form in %s", seal.ErrKey, c.Table)
	}
	var key [][]byte
	where := make([]string, len(c.Place))
	for i, name := range c.Place {
		part, err := placeOf(row[i])
		if err != nil {
			return err
		}
		key = append(key, part)
		where[i] = fmt.Sprintf("%s = $%d", name, i+2)
	}
	at := seal.Place(c.Table, key...)
	plain, err := s.Open(at, sealed)
	if err != nil {
		return err
	}
	_, err = w.Exec(ctx, fmt.Sprintf(`UPDATE %s SET %s = $1 WHERE %s`, c.Table, c.Name, strings.Join(where, " AND ")),
		append([]any{s.Seal(at, plain)}, row[:len(c.Place)]...)...)
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
