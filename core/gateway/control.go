package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"mimigate/core/config"
)

// closingTime is how long requests on the socket may take once the gateway ends.
const closingTime = 2 * time.Second

// control serves the socket.
type control struct {
	server *http.Server
	done   chan struct{}
}

// listen begins to serve. The store's lock is held, so a socket that is there is left from a gateway that was killed.
func (g *Gateway) listen(dir string) (*control, error) {
	path := filepath.Join(dir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("gateway: %w", err), l.Close())
	}
	c := &control{server: &http.Server{Handler: g.handler(), ReadHeaderTimeout: time.Minute}, done: make(chan struct{})}
	go func() { // ends by close
		defer close(c.done)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.log.Error("the control socket has ended", "error", err)
		}
	}()
	return c, nil
}

func (c *control) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close() // whoever still waits for an answer gets none
	}
	<-c.done
}

func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	answer(mux, "GET /status", func(ctx context.Context, _ url.Values) (any, error) { return g.Status(ctx) })
	answer(mux, "POST /connected", func(ctx context.Context, q url.Values) (any, error) {
		a, err := g.account(q.Get("account"))
		if err != nil {
			return nil, err
		}
		a.retry()
		return struct{}{}, a.connected(ctx)
	})
	answer(mux, "GET /conversations", func(ctx context.Context, q url.Values) (any, error) {
		a, err := g.account(q.Get("account"))
		if err != nil {
			return nil, err
		}
		return a.conversations(ctx)
	})
	answer(mux, "POST /open", func(ctx context.Context, q url.Values) (any, error) {
		a, err := g.account(q.Get("account"))
		if err != nil {
			return nil, err
		}
		return a.open(ctx, config.Chat{Account: q.Get("account"), ID: q.Get("chat")})
	})
	return mux
}

// answer adds a request to the socket.
func answer(mux *http.ServeMux, pattern string, f func(context.Context, url.Values) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r.Context(), r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // if it fails, who asked has gone
	})
}
