package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"mimigate/core/store"
)

// failedTrailer is the trailer of an answer that did not come to its end; it says why.
const failedTrailer = "Mimigate-Failed"

// StoreOptions returns how the store of a configuration is opened.
func (o Options) StoreOptions() (store.Options, error) {
	c := o.Config.Provider
	options := store.Options{Location: c.Store, Dir: c.Files, Domain: c.Domain.Domain(), KeyFile: c.MasterKey.File, Log: o.log(), Batch: o.batch}
	if c.MasterKey.Keys != "" {
		keys, err := store.ParseKeys(c.MasterKey.Keys.Reveal())
		if err != nil {
			return store.Options{}, fmt.Errorf("provider.master_key: %w", err)
		}
		options.Keys = keys
	}
	return options, nil
}

// serveBackup answers with a backup of the store, which goes on meanwhile.
func (g *Gateway) serveBackup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", failedTrailer)
	if err := g.store.Backup(r.Context(), w); err != nil {
		g.log.Error("the backup failed", "error", err)
		w.Header().Set(failedTrailer, err.Error())
	}
}

// rotateKeys is the request to replace the store's keys; see store.Store.Rotate. It returns how many values were sealed anew.
func (g *Gateway) rotateKeys(ctx context.Context, _ url.Values) (any, error) {
	values := 0
	err := g.store.Rotate(ctx, func(n int) error { values = n; return ctx.Err() })
	return values, err
}

// RotateKeys replaces the keys of the gateway's store, and returns how many values were sealed anew; see store.Store.Rotate.
func (c *Client) RotateKeys(ctx context.Context) (values int, err error) {
	return values, c.ask(ctx, http.MethodPost, "/keys", nil, &values)
}

// Backup writes a backup of the gateway's store to w; see store.Store.Backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mimigate/backup", nil)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the gateway: %s", resp.Status)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	if failed := resp.Trailer.Get(failedTrailer); failed != "" {
		return errors.New(failed)
	}
	return nil
}
