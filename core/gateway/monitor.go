package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"mimigate/core/adapter"
	"mimigate/core/gateway/account"
	"mimigate/core/gateway/metrics"
)

// monitor serves what watches the gateway, where configuration asks for that; nil otherwise.
func (g *Gateway) monitor() (*web, error) {
	address := g.config.Load().Provider.Monitor
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("provider.monitor: %w", err)
	}
	mux := http.NewServeMux()
	g.addMonitor(mux)
	return serveWeb(l, mux, func(err error) { g.log.Error("monitoring has ended", "error", err) }), nil
}

// addMonitor adds what watches the gateway: it tells nothing of people, rooms or messages.
func (g *Gateway) addMonitor(mux *http.ServeMux) {
	mux.Handle("GET /metrics", g.metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { g.tellHealth(w, true) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { g.tellHealth(w, g.ready()) })
}

// Health is what /healthz and /readyz answer.
type Health struct {
	Ready    bool
	Store    string          `json:",omitempty"` // what is wrong with it
	Accounts []AccountHealth // an account that does not work keeps no other from working, and the gateway ready
}

// AccountHealth is the state of one account, without what might name somebody.
type AccountHealth struct{ ID, Network, State string }

// tellHealth answers 200 where the gateway does, and otherwise 503. It lives while it answers: a store that takes nothing for now recovers
// by itself, and a restart would not help.
func (g *Gateway) tellHealth(w http.ResponseWriter, well bool) {
	h := Health{Ready: g.ready()}
	if err := g.store.Health(); err != nil {
		h.Store = err.Error()
	}
	for _, a := range g.allAccounts() {
		s := statusOf(a)
		h.Accounts = append(h.Accounts, AccountHealth{s.ID, s.Network, s.State})
	}
	w.Header().Set("Content-Type", "application/json")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h) // if it fails, who asked has gone
}

// ready reports whether the gateway takes work: its rooms are made, and its store takes what is to be kept.
func (g *Gateway) ready() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.run != nil && g.store.Health() == nil
}

// measure returns the state of the gateway for its metrics.
func (g *Gateway) measure(ctx context.Context) (metrics.State, error) {
	var m metrics.State
	for _, a := range g.allAccounts() {
		s := a.Now()
		m.Accounts = append(m.Accounts, metrics.Account{ID: a.ID(), Network: a.Network(), State: s.State.String(), Works: s.Works()})
	}
	queues, err := g.store.Queues(ctx)
	if err != nil {
		return m, err
	}
	now := time.Now()
	for _, q := range queues {
		one := metrics.Queue{Account: q.Account, Network: q.Network, Waiting: q.Waiting, Dead: q.Dead}
		if !q.Oldest.IsZero() {
			one.Oldest = max(0, now.Sub(q.Oldest))
		}
		m.Queues = append(m.Queues, one)
	}
	s, err := g.Status(ctx)
	m.Rooms, m.Repeated = len(s.Rooms), s.Repeated
	return m, err
}

const (
	// watchEvery is how often the states of accounts are looked at, to tell the admins; what adapters report is told at once.
	watchEvery = 15 * time.Second
	// tolerated is how long an account may try to connect before the admins are told.
	tolerated = 5 * time.Minute
	// tidyEvery is how often what is kept too long is looked for.
	tidyEvery = time.Hour
)

// watch tells the admins in their own messenger how accounts change, and gives dead letters up for good, until ctx ends.
func (g *Gateway) watch(ctx context.Context) {
	look, tidy := time.NewTicker(watchEvery), time.NewTicker(tidyEvery)
	defer look.Stop()
	defer tidy.Stop()
	told := map[string]adapter.AccountState{}
	for {
		for _, a := range g.allAccounts() {
			g.tell(ctx, a, told)
		}
		select {
		case <-look.C:
		case <-tidy.C:
			_, err := g.store.Forget(ctx, time.Now().Add(-g.config.Load().IDsKept()))
			if err := errors.Join(err, g.letters.Tidy(ctx)); err != nil && ctx.Err() == nil {
				g.log.Error("what is old is not given up", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tell tells the admins of an account that does not work, unless its adapter had that told, and that it works again.
func (g *Gateway) tell(ctx context.Context, a *account.Account, told map[string]adapter.AccountState) {
	s := a.Now()
	id, before := a.ID(), told[a.ID()]
	news := s.State != before
	switch {
	case s.Works():
		news = before != 0
		delete(told, id)
	case s.State > adapter.Connected:
		told[id] = s.State
		news = news && s.Heard != s.State
	case time.Since(s.Since) < tolerated:
		return
	default:
		told[id] = s.State
	}
	if !news {
		return
	}
	if err := g.router.TellAccount(ctx, id, s.Status); err != nil {
		g.log.Warn("admins not told", "account", id, "error", err)
		told[id] = before // once more
	}
}
