// Package seal keeps private columns of the store from whoever has only the database or a backup of it.
//
// Each value is sealed with AES-256-GCM (random nonces) under a data key; each data key under a master key, which is never in the
// database nor in its backups. A value is bound to its place by the additional data (table and row), so values cannot be
// swapped. A new data key is made now and then, which keeps the values under one key far below the 2³² that random nonces
// allow.
//
//	sealed value = version (1) | data key id (4, big endian) | nonce (12) | ciphertext | tag (16)
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrKey: no master key at hand opens what is sealed, or a sealed value was altered.
var ErrKey = errors.New("store: sealed under another key")

const (
	masterLen   = 32
	keyFileMax  = 1 << 16
	keyFileHead = "# The master key of a mimigate store: without it the store cannot be read. It is not part of backups: keep a copy elsewhere.\n"
	keyFilePast = "# Keys of the past, which backups of that time need.\n"
)

// Master is a master key with its id: the first 8 octets of its SHA-256, in hex.
type Master struct {
	ID   string
	aead cipher.AEAD
	text string // as it stands in a file
}

// Keys are master keys, the current one first. They print as nothing but their ids.
type Keys struct{ list []Master }

// IDs returns the keys' ids, which tell nothing of the keys: the current one's first.
func (k Keys) IDs() []string {
	ids := make([]string, len(k.list))
	for i, m := range k.list {
		ids[i] = m.ID
	}
	return ids
}

// String returns the keys' ids.
func (k Keys) String() string { return "master keys " + strings.Join(k.IDs(), " ") }

// GoString is String, for %#v.
func (k Keys) GoString() string { return k.String() }

// Parse reads master keys: a line for each, 32 octets in base64 (as from "openssl rand -base64 32"), the current key first,
// keys of the past after it. Empty lines and lines that begin with # do not count. It fails with ErrKey, and never quotes the text.
func Parse(text string) (Keys, error) {
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

// Current returns the key that data keys are sealed under, false where there is none.
func (k Keys) Current() (Master, bool) {
	if len(k.list) == 0 {
		return Master{}, false
	}
	return k.list[0], true
}

// ByID returns a key, false where it is not among these.
func (k Keys) ByID(id string) (Master, bool) {
	for _, m := range k.list {
		if m.ID == id {
			return m, true
		}
	}
	return Master{}, false
}

// Fresh returns a new random key before these.
func (k Keys) Fresh() (Keys, error) {
	raw := make([]byte, masterLen)
	rand.Read(raw)
	m, err := newMaster(raw)
	return Keys{append([]Master{m}, k.list...)}, err
}

// Only returns the current key without those of the past.
func (k Keys) Only() Keys { return Keys{k.list[:1:1]} }

// Past returns the keys without the current one.
func (k Keys) Past() Keys { return Keys{k.list[min(1, len(k.list)):]} }

// Append adds keys to a file of keys, which is made if need be: those that are not in it yet.
func (k Keys) Append(path string) error {
	if len(k.list) == 0 {
		return nil
	}
	var all Keys
	if Exists(path) {
		had, _, err := ReadFile(path)
		if err != nil {
			return err
		}
		all = had
	}
	for _, m := range k.list {
		if _, had := all.ByID(m.ID); !had {
			all.list = append(all.list, m)
		}
	}
	return all.WriteFile(path)
}

// Seal seals a data key with the place that it belongs to.
func (m Master) Seal(dataKey, place []byte) []byte { return m.aead.Seal(nil, nil, dataKey, place) }

// Open opens what Seal made. It fails with ErrKey.
func (m Master) Open(sealed, place []byte) ([]byte, error) {
	raw, err := m.aead.Open(nil, nil, sealed, place)
	if err != nil {
		return nil, fmt.Errorf("%w: a data key was altered", ErrKey)
	}
	return raw, nil
}

// String returns the key's id.
func (m Master) String() string { return m.ID }

// GoString is String, for %#v.
func (m Master) GoString() string { return m.ID }

func newMaster(raw []byte) (Master, error) {
	aead, err := newAEAD(raw)
	sum := sha256.Sum256(raw)
	return Master{hex.EncodeToString(sum[:8]), aead, base64.StdEncoding.EncodeToString(raw)}, err
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// ReadFile reads the master keys of a file. It fails with ErrKey, also where there is none. others reports whether others may read it.
func ReadFile(path string) (keys Keys, others bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Keys{}, false, fmt.Errorf("%w: the master key file %s is missing: put the copy of it back", ErrKey, path)
	case err != nil:
		return Keys{}, false, fmt.Errorf("store: master key: %w", err)
	case info.Size() > keyFileMax:
		return Keys{}, false, fmt.Errorf("%w: %s is no file of master keys", ErrKey, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, false, fmt.Errorf("store: master key: %w", err)
	}
	if keys, err = Parse(string(text)); err != nil {
		return Keys{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return keys, info.Mode().Perm()&0o077 != 0, nil
}

// Exists reports whether there is a file of that name.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// WriteFile writes a file of keys with mode 0600, in the place of an older one, and returns only once it is on disk: what is sealed
// under them comes later. A process that is killed leaves the old file or the new one.
func (k Keys) WriteFile(path string) error {
	text := keyFileHead
	for i, m := range k.list {
		if i == 1 {
			text += keyFilePast
		}
		text += m.text + "\n"
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("store: master key: %w", err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("store: master key: %w", errors.Join(err, os.Remove(f.Name())))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("store: master key: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
