package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mimigate/core/router"
)

// forgetAtOnce is how many rows are forgotten in one unit: others wait for no more.
const forgetAtOnce = 500

// forgotten are the tables of what ages: what else must hold of a row (a delivery is settled, a message is delivered nowhere any more), the
// columns of the key, and how one row is found by them.
var forgotten = []struct{ table, holds, key, row string }{
	{"delivery", fmt.Sprintf("state IN (%d, %d)", router.Sent, router.Dropped), "marker", "marker = $1"},
	{"message", "NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.message = message.id)", "id", "id = $1"},
	{"reaction", "1 = 1", "target, sender, emoji", "target = $1 AND sender = $2 AND emoji = $3"},
	{"native_event", "pending = 0", "network, conversation, id", "network = $1 AND conversation = $2 AND id = $3"},
}

// Forget deletes what is known of messages from before a time: their deliveries, ids on the networks, reactions and places in rooms. A
// reply, edit or deletion of such a message hits nothing any more. What still waits stays. It returns how many rows there were.
func (s *Store) Forget(ctx context.Context, before time.Time) (rows int, err error) {
	for _, f := range forgotten {
		for more := true; more; {
			// Looked for outside of the unit: the search may take long, and holds up nobody.
			keys, err := s.aged(ctx, strings.Count(f.key, ",")+1, fmt.Sprintf(`SELECT %s FROM %s WHERE made < $1 AND %s LIMIT %d`,
				f.key, f.table, f.holds, forgetAtOnce), before)
			if err == nil {
				err = s.Do(ctx, func(ctx context.Context) (err error) {
					for i := 0; i < len(keys) && err == nil; i++ {
						_, err = s.exec(ctx, fmt.Sprintf(`DELETE FROM %s WHERE %s`, f.table, f.row), keys[i]...)
					}
					return err
				})
			}
			if err != nil {
				return rows, err
			}
			rows += len(keys)
			more = len(keys) == forgetAtOnce
		}
	}
	return rows, nil
}

// aged returns keys of so many columns.
func (s *Store) aged(ctx context.Context, columns int, query string, before time.Time) (keys [][]any, err error) {
	err = s.query(ctx, func(scan func(...any) error) error {
		key, into := make([]any, columns), make([]any, columns)
		for i := range key {
			into[i] = &key[i]
		}
		err := scan(into...)
		keys = append(keys, key)
		return err
	}, query, before.UnixMilli())
	return keys, err
}
