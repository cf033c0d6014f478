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
	"mimigate/core/gateway/account"
)

// web serves HTTP until it is closed.
type web struct {
	server *http.Server
	done   chan struct{}
}

// serveWeb serves on a listener.
func serveWeb(l net.Listener, h http.Handler, ended func(error)) *web {
	w := &web{server: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}, done: make(chan struct{})}
	go func() { // ends by close
		defer close(w.done)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			ended(err)
		}
	}()
	return w
}

func (w *web) close() {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close() // whoever still waits for an answer gets none
	}
	<-w.done
}

// closingTime is how long requests on the socket may take once the gateway ends.
const closingTime = 2 * time.Second

// listen begins to serve. The store's lock is held, so a socket that is there is left from a gateway that was killed.
func (g *Gateway) listen(dir string) (*web, error) {
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
	return serveWeb(l, g.handler(), func(err error) { g.log.Error("the control socket has ended", "error", err) }), nil
}

// request is one question to the gateway, whose answer is encoded as JSON.
type request = func(context.Context, url.Values) (any, error)

func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	for _, list := range []map[string]request{g.peeringRequests(), g.askedRequests(), {
		"GET /status":        func(ctx context.Context, _ url.Values) (any, error) { return g.Status(ctx) },
		"POST /connected":    g.ofAccount(func(ctx context.Context, a *account.Account, _ url.Values) (any, error) { return nil, a.Reconnect(ctx) }),
		"POST /login":        g.ofAccount(account.Login),
		"GET /conversations": g.ofAccount(func(ctx context.Context, a *account.Account, _ url.Values) (any, error) { return a.Conversations(ctx) }),
		"POST /open": g.ofAccount(func(ctx context.Context, a *account.Account, q url.Values) (any, error) {
			return a.Open(ctx, config.Chat{Account: q.Get("account"), ID: q.Get("chat")})
		}),
		"GET /queue": func(ctx context.Context, q url.Values) (any, error) {
			return g.letters.Queue(ctx, q.Get("account"), q.Has("dead"))
		},
		"POST /retry": func(ctx context.Context, q url.Values) (any, error) {
			return g.letters.Retry(ctx, q.Get("id"), q.Get("account"))
		},
		"POST /drop": func(ctx context.Context, q url.Values) (any, error) {
			return g.letters.Drop(ctx, q.Get("id"), q.Get("account"))
		},
		"GET /trace":   func(ctx context.Context, q url.Values) (any, error) { return g.letters.Trace(ctx, q.Get("message")) },
		"POST /keys":   g.rotateKeys,
		"POST /reload": func(ctx context.Context, _ url.Values) (any, error) { return g.Reload(ctx) },
		"GET /export":  func(ctx context.Context, _ url.Values) (any, error) { return g.Export(ctx) },
		"GET /room":    func(ctx context.Context, q url.Values) (any, error) { return g.Room(ctx, q.Get("room")) },
		"POST /room": func(ctx context.Context, q url.Values) (any, error) {
			return g.CreateRoom(ctx, q.Get("room"), q.Get("name"), q.Get("policy"))
		},
		"POST /policy": func(ctx context.Context, q url.Values) (any, error) {
			return nil, g.SetPolicy(ctx, q.Get("room"), q.Get("policy"))
		},
		"POST /bind": func(ctx context.Context, q url.Values) (any, error) {
			return nil, g.Bind(ctx, q.Get("room"), q.Get("chat"), q.Get("direction"))
		},
		"POST /unbind": func(ctx context.Context, q url.Values) (any, error) { return nil, g.Unbind(ctx, q.Get("chat")) },
		"POST /invite": func(ctx context.Context, q url.Values) (any, error) {
			return nil, g.Invite(ctx, q.Get("room"), q.Get("user"))
		},
		"POST /remove": func(ctx context.Context, q url.Values) (any, error) {
			return nil, g.Remove(ctx, q.Get("room"), q.Get("user"))
		},
	}} {
		for pattern, ask := range list {
			answer(mux, pattern, ask)
		}
	}
	mux.HandleFunc("GET /backup", g.serveBackup)
	g.addMonitor(mux)
	return mux
}

// ofAccount is a request about an account.
func (g *Gateway) ofAccount(f func(context.Context, *account.Account, url.Values) (any, error)) request {
	return func(ctx context.Context, q url.Values) (any, error) {
		a, err := g.account(q.Get("account"))
		if err != nil {
			return nil, err
		}
		return f(ctx, a, q)
	}
}

// answer adds a request to the socket.
func answer(mux *http.ServeMux, pattern string, f request) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r.Context(), r.URL.Query())
		switch {
		case errors.Is(err, ErrConfig):
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		case err != nil:
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // if it fails, who asked has gone
	})
}
