// Package maintain looks after the store of a gateway, for the commands: backups, restoring, keys. What can be done while the gateway
// runs, it does by itself; the rest, and all of it where it does not run, is done on the store here.
package maintain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"mimigate/core/gateway"
	"mimigate/core/store"
	"mimigate/core/store/backup"
)

// Backup is what a file of a backup says of itself.
type Backup struct {
	File    string
	Size    int64 // octets
	Made    time.Time
	Domain  string   // of the provider; "": local only
	Masters []string // ids of the master keys that are needed with it
}

// Told hears how far a work has come: in octets, or in values. It is never nil.
type Told func(n int64)

// Save writes a backup of the store to a file, which must not be there yet unless replace is given, and reads it again to see that it is
// whole. Until then the file has another name.
func Save(ctx context.Context, o gateway.Options, file string, replace bool, told Told) (b Backup, err error) {
	if _, err := os.Stat(file); err == nil && !replace {
		return b, fmt.Errorf("%s is there already; --force replaces it", file)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // with mode 0600
	if err != nil {
		return b, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = errors.Join(write(ctx, o, &counted{file: f, told: told}), f.Sync(), f.Close())
	if err != nil {
		return b, err
	}
	if b, err = Look(f.Name()); err != nil {
		return b, err
	}
	b.File = file
	return b, os.Rename(f.Name(), file)
}

func write(ctx context.Context, o gateway.Options, w io.Writer) error {
	client, err := gateway.Dial(ctx, o.Config.Provider.Files)
	if err == nil {
		return errors.Join(client.Backup(ctx, w), client.Close())
	}
	if !errors.Is(err, gateway.ErrNotRunning) {
		return err
	}
	options, err := o.StoreOptions()
	if err != nil {
		return err
	}
	return store.Backup(ctx, options, w)
}

// counted tells how many octets of a file were written or read since its beginning.
type counted struct {
	file *os.File
	n    int64
	told Told
}

// Write implements io.Writer.
func (c *counted) Write(b []byte) (int, error) { return c.count(c.file.Write(b)) }

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) { return c.count(c.file.Read(b)) }

// Seek implements io.Seeker.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	n, err := c.file.Seek(offset, whence)
	c.n = n
	return n, err
}

func (c *counted) count(n int, err error) (int, error) {
	c.n += int64(n)
	c.told(c.n)
	return n, err
}

// Look reads a backup to its end and returns what it says of itself. It fails where it is not whole.
func Look(file string) (Backup, error) {
	f, err := os.Open(file)
	if err != nil {
		return Backup{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Backup{}, err
	}
	h, err := backup.Check(f)
	if err != nil {
		return Backup{}, fmt.Errorf("%s: %w", file, err)
	}
	return Backup{file, info.Size(), time.UnixMilli(h.Made), h.Domain, h.Masters}, nil
}

// Restore makes the store hold what a backup holds; see store.Restore. The gateway must not run.
func Restore(ctx context.Context, o gateway.Options, file string, force bool, told Told) (Backup, error) {
	b, err := Look(file)
	if err != nil {
		return b, err
	}
	options, err := o.StoreOptions()
	if err != nil {
		return b, err
	}
	f, err := os.Open(file)
	if err != nil {
		return b, err
	}
	defer f.Close()
	_, err = store.Restore(ctx, options, &counted{file: f, told: told}, force)
	return b, err
}

// RotateKeys replaces the keys of the store, and returns how many values were sealed anew; see store.Store.Rotate. told is called after
// each step where the gateway does not run.
func RotateKeys(ctx context.Context, o gateway.Options, told Told) (values int, err error) {
	client, err := gateway.Dial(ctx, o.Config.Provider.Files)
	if err == nil {
		values, err = client.RotateKeys(ctx)
		return values, errors.Join(err, client.Close())
	}
	if !errors.Is(err, gateway.ErrNotRunning) {
		return 0, err
	}
	options, err := o.StoreOptions()
	if err != nil {
		return 0, err
	}
	s, err := store.Open(ctx, options)
	if err != nil {
		return 0, err
	}
	err = s.Rotate(ctx, func(n int) error {
		values = n
		told(int64(n))
		return ctx.Err()
	})
	return values, errors.Join(err, s.Close())
}

// Keys returns the ids of the master keys that the configuration gives, the current one's first. The store is not touched.
func Keys(o gateway.Options) ([]string, error) {
	options, err := o.StoreOptions()
	if err != nil {
		return nil, err
	}
	keys, err := options.MasterKeys()
	return keys.IDs(), err
}
