package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"mimigate/core/store/seal"
)

// keyLife is how long a data key is used before another is made, at the next Open.
const keyLife = 30 * 24 * time.Hour

type dataKey struct {
	id     uint32
	made   int64
	master string
	sealed []byte
}

// masters returns the master keys of o. A file is made where that is allowed.
func (o Options) masters(create bool) (seal.Keys, error) {
	keys := o.Keys
	if o.KeyFile != "" {
		if create && !seal.Exists(o.KeyFile) {
			fresh, err := seal.Keys{}.Fresh()
			if err != nil {
				return seal.Keys{}, err
			}
			return fresh, fresh.WriteFile(o.KeyFile)
		}
		var others bool
		var err error
		if keys, others, err = seal.ReadFile(o.KeyFile); err != nil {
			return seal.Keys{}, err
		}
		if others {
			o.logger().Warn("store: others may read the master key file; set its mode to 0600", "file", o.KeyFile)
		}
	}
	if _, ok := keys.Current(); !ok {
		return seal.Keys{}, fmt.Errorf("%w: no master key given", ErrKey)
	}
	return keys, nil
}

// MasterKeys returns the master keys of o. It fails with ErrKey where there are none.
func (o Options) MasterKeys() (Keys, error) { return o.masters(false) }

// openSealer opens the data keys with the master keys of o, seals them anew where the current master key is another, and makes
// a new data key where there is none or it is old.
func (s *Store) openSealer(ctx context.Context, o Options, now time.Time) error {
	stored, err := s.dataKeys(ctx)
	if err != nil {
		return err
	}
	keys, err := o.masters(len(stored) == 0)
	if err != nil {
		return err
	}
	master, _ := keys.Current()
	var out *seal.Sealer
	newest := time.Time{}
	for _, k := range stored {
		raw, err := k.open(keys)
		if err != nil {
			return err
		}
		if out, err = out.With(k.id, raw); err != nil {
			return err
		}
		if k.master != master.ID {
			if err := s.putDataKey(ctx, k.id, k.made, master, raw); err != nil {
				return err
			}
		}
		newest = time.UnixMilli(k.made)
	}
	s.sealer.Store(out)
	if now.Sub(newest).Abs() < keyLife {
		return nil
	}
	return s.addDataKey(ctx, master, now)
}

// addDataKey makes a data key that values are sealed under from then on, unless the unit is undone.
func (s *Store) addDataKey(ctx context.Context, master seal.Master, now time.Time) error {
	before := s.sealer.Load()
	raw, id := seal.NewDataKey(), before.Current()+1
	next, err := before.With(id, raw)
	if err != nil {
		return err
	}
	if err := s.putDataKey(ctx, id, now.UnixMilli(), master, raw); err != nil {
		return err
	}
	s.sealer.Store(next)
	s.OnRollback(ctx, func() { s.sealer.Store(before) })
	return nil
}

func (s *Store) dataKeys(ctx context.Context) ([]dataKey, error) {
	var list []dataKey
	err := s.query(ctx, func(scan func(...any) error) error {
		var k dataKey
		err := scan(&k.id, &k.made, &k.master, &k.sealed)
		list = append(list, k)
		return err
	}, `SELECT id, made, master, sealed FROM data_key ORDER BY id`)
	return list, err
}

func (s *Store) putDataKey(ctx context.Context, id uint32, made int64, m seal.Master, raw []byte) error {
	_, err := s.exec(ctx, `INSERT INTO data_key (id, made, master, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET master = excluded.master, sealed = excluded.sealed`,
		int64(id), made, m.ID, m.Seal(raw, dataKeyPlace(id)))
	return err
}

func (k dataKey) open(keys seal.Keys) ([]byte, error) {
	m, ok := keys.ByID(k.master)
	if !ok {
		return nil, fmt.Errorf("%w: it was sealed under master key %s, and these are given: %v", ErrKey, k.master, keys)
	}
	return m.Open(k.sealed, dataKeyPlace(k.id))
}

func dataKeyPlace(id uint32) []byte { return place("data_key", binary.BigEndian.AppendUint32(nil, id)) }

// place names a column's value: the table and the row's key.
func place(table string, key ...[]byte) []byte { return seal.Place(table, key...) }

// seal seals a value for its place.
func (s *Store) seal(place, value []byte) []byte { return s.sealer.Load().Seal(place, value) }

// unseal opens what seal made for the same place; the value is never nil. It fails with ErrKey.
func (s *Store) unseal(place, sealed []byte) ([]byte, error) {
	return s.sealer.Load().Open(place, sealed)
}

// Keys are master keys.
type Keys = seal.Keys

// ParseKeys is [seal.Parse].
func ParseKeys(text string) (Keys, error) { return seal.Parse(text) }
