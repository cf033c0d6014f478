package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// How private columns are sealed: each value with AES-256-GCM (random nonces) under a data key; each data key under a master key,
// which is never in the database nor in its backups. A value is bound to its place by the additional data (table and row), so
// values cannot be swapped. A new data key is made every keyLife, which keeps the values under one key far below the 2³² that
// random nonces allow. To change the master key, write the new one above the old one in the key file and start: Open seals the
// data keys anew, and the old line may go. No column is touched.
//
//	sealed value = version (1) | data key id (4, big endian) | nonce (12) | ciphertext | tag (16)

const (
	sealVersion = 1
	sealHeader  = 1 + 4
	masterLen   = 32
	keyLife     = 30 * 24 * time.Hour
	keyFileMax  = 1 << 16
	keyFileHead = "# The master key of a mimigate store: without it the store cannot be read. It is not part of backups: keep a copy elsewhere.\n"
)

// masterKey is a master key with its id: the first 8 octets of its SHA-256, in hex.
type masterKey struct {
	id   string
	aead cipher.AEAD
}

// Keys are master keys, the current one first. They print as nothing but their ids.
type Keys struct{ list []masterKey }

// String returns the keys' ids.
func (k Keys) String() string {
	ids := make([]string, len(k.list))
	for i, m := range k.list {
		ids[i] = m.id
	}
	return "master keys " + strings.Join(ids, " ")
}

// GoString is String, for %#v.
func (k Keys) GoString() string { return k.String() }

// ParseKeys reads master keys: a line for each, 32 octets in base64 (as from "openssl rand -base64 32"), the current key first,
// keys of the past after it. Empty lines and lines that begin with # do not count. It fails with ErrKey, and never quotes the text.
func ParseKeys(text string) (Keys, error) {
	var keys Keys
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != masterLen {
			return Keys{}, fmt.Errorf("%w: line %d of the master keys is not %d octets in base64", ErrKey, n+1, masterLen)
		}
		m, err := newMaster(raw)
		if err != nil {
			return Keys{}, err
		}
		keys.list = append(keys.list, m)
	}
	if len(keys.list) == 0 {
		return Keys{}, fmt.Errorf("%w: no master key given", ErrKey)
	}
	return keys, nil
}

func newMaster(raw []byte) (masterKey, error) {
	aead, err := newAEAD(raw)
	sum := sha256.Sum256(raw)
	return masterKey{hex.EncodeToString(sum[:8]), aead}, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// readKeyFile reads the master keys of a file, or makes the file with a new key where create says so.
func (s *Store) readKeyFile(path string, create bool) (Keys, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) && create {
		return makeKeyFile(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return Keys{}, fmt.Errorf("%w: the master key file %s is missing: put the copy of it back", ErrKey, path)
	}
	if err != nil {
		return Keys{}, fmt.Errorf("store: master key: %w", err)
	}
	if info.Size() > keyFileMax {
		return Keys{}, fmt.Errorf("%w: %s is no file of master keys", ErrKey, path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.log.Warn("store: others may read the master key file; set its mode to 0600", "file", path, "mode", info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, fmt.Errorf("store: master key: %w", err)
	}
	keys, err := ParseKeys(string(text))
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// makeKeyFile writes a new master key, and returns only once it is on disk: what is sealed under it comes later.
func makeKeyFile(path string) (Keys, error) {
	raw := make([]byte, masterLen)
	rand.Read(raw)
	m, err := newMaster(raw)
	if err != nil {
		return Keys{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Keys{}, fmt.Errorf("store: master key: %w", err)
	}
	_, err = f.WriteString(keyFileHead + base64.StdEncoding.EncodeToString(raw) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return Keys{}, fmt.Errorf("store: master key: %w", errors.Join(err, os.Remove(path)))
	}
	return Keys{[]masterKey{m}}, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sealer seals and opens the values of private columns. It does not change after Open.
type sealer struct {
	current uint32
	keys    map[uint32]cipher.AEAD
}

type dataKey struct {
	id     uint32
	made   int64
	master string
	sealed []byte
}

// openSealer opens the data keys with the master keys of o, seals them anew where the current master key is another, and makes
// a new data key where there is none or it is old.
func (s *Store) openSealer(ctx context.Context, o Options, now time.Time) (*sealer, error) {
	stored, err := s.dataKeys(ctx)
	if err != nil {
		return nil, err
	}
	masters := o.Keys
	if o.KeyFile != "" {
		if masters, err = s.readKeyFile(o.KeyFile, len(stored) == 0); err != nil {
			return nil, err
		}
	}
	if len(masters.list) == 0 {
		return nil, fmt.Errorf("%w: no master key given", ErrKey)
	}
	out := &sealer{keys: make(map[uint32]cipher.AEAD)}
	newest := time.Time{}
	for _, k := range stored {
		raw, err := k.open(masters)
		if err != nil {
			return nil, err
		}
		if out.keys[k.id], err = newAEAD(raw); err != nil {
			return nil, err
		}
		if k.master != masters.list[0].id {
			if err := s.putDataKey(ctx, k.id, k.made, masters.list[0], raw); err != nil {
				return nil, err
			}
		}
		out.current, newest = k.id, time.UnixMilli(k.made)
	}
	if now.Sub(newest).Abs() < keyLife {
		return out, nil
	}
	raw := make([]byte, masterLen)
	rand.Read(raw)
	out.current++
	if out.keys[out.current], err = newAEAD(raw); err != nil {
		return nil, err
	}
	return out, s.putDataKey(ctx, out.current, now.UnixMilli(), masters.list[0], raw)
}

func (s *Store) dataKeys(ctx context.Context) ([]dataKey, error) {
	var list []dataKey
	err := s.query(ctx, func(scan func(...any) error) error {
		var k dataKey
		list = append(list, k)
		k2 := &list[len(list)-1]
		return scan(&k2.id, &k2.made, &k2.master, &k2.sealed)
	}, `SELECT id, made, master, sealed FROM data_key ORDER BY id`)
	return list, err
}

func (s *Store) putDataKey(ctx context.Context, id uint32, made int64, m masterKey, raw []byte) error {
	_, err := s.exec(ctx, `INSERT INTO data_key (id, made, master, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET master = excluded.master, sealed = excluded.sealed`,
		id, made, m.id, m.aead.Seal(nil, nil, raw, dataKeyPlace(id)))
	return err
}

func (k dataKey) open(masters Keys) ([]byte, error) {
	for _, m := range masters.list {
		if m.id != k.master {
			continue
		}
		raw, err := m.aead.Open(nil, nil, k.sealed, dataKeyPlace(k.id))
		if err != nil {
			return nil, fmt.Errorf("%w: data key %d was altered", ErrKey, k.id)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("%w: it was sealed under master key %s, and these are given: %v", ErrKey, k.master, masters)
}

func dataKeyPlace(id uint32) []byte { return place("data_key", binary.BigEndian.AppendUint32(nil, id)) }

// place names a column's value: the table and the row's key. Each part is preceded by its length, so no two places are the same.
func place(table string, key ...[]byte) []byte {
	b := append([]byte(table), 0)
	for _, k := range key {
		b = binary.BigEndian.AppendUint32(b, uint32(len(k)))
		b = append(b, k...)
	}
	return b
}

// seal seals a value for its place.
func (s *Store) seal(place, value []byte) []byte {
	out := make([]byte, sealHeader, sealHeader+12+len(value)+16)
	out[0] = sealVersion
	binary.BigEndian.PutUint32(out[1:], s.sealer.current)
	return s.sealer.keys[s.sealer.current].Seal(out, nil, value, place)
}

// unseal opens what seal made for the same place; the value is never nil. It fails with ErrKey.
func (s *Store) unseal(place, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: unknown form in %s", ErrKey, table(place))
	}
	aead, ok := s.sealer.keys[binary.BigEndian.Uint32(sealed[1:])]
	if !ok {
		return nil, fmt.Errorf("%w: unknown data key in %s", ErrKey, table(place))
	}
	value, err := aead.Open(nil, nil, sealed[sealHeader:], place)
	if err != nil {
		return nil, fmt.Errorf("%w: a value in %s was altered", ErrKey, table(place))
	}
	return some(value), nil
}

func table(place []byte) string {
	name, _, _ := bytes.Cut(place, []byte{0})
	return string(name)
}
