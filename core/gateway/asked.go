package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"mimigate/core/gateway/consents"
	"mimigate/core/hub"
	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/uri"
)

// newConsents makes what answers for our people.
func (g *Gateway) newConsents() *consents.Desk {
	return consents.New(consents.Options{Provider: g.provider, Store: g.store, Persons: g.persons, Peers: g.peers, Log: g.log,
		Asked: func(ctx context.Context, s identity.Scope) error { return g.router.Asked(ctx, s) },
		Answered: func(ctx context.Context, s identity.Scope, granted bool) error {
			return g.router.Answered(ctx, s, granted)
		},
		Granted: func(ctx context.Context, of uri.Provider) { g.arrange(ctx, g.roomsInviting(of.Domain())) },
		May: func(of uri.Provider) (consents.May, bool) {
			m, ok := g.federation.may(of)
			return consents.May{Invite: m.Invite, Search: m.Search}, ok
		}})
}

// reportsMax is how many reports of abuse are listed.
const reportsMax = 1000

// askedRequests are those about what people elsewhere ask of ours, and tell us of others.
func (g *Gateway) askedRequests() map[string]request {
	return map[string]request{
		"GET /consents": func(ctx context.Context, _ url.Values) (any, error) { return g.consents.Waiting(ctx) },
		"POST /consent": func(ctx context.Context, q url.Values) (any, error) {
			granted, err := strconv.ParseBool(q.Get("granted"))
			if err != nil {
				return nil, fmt.Errorf("gateway: %w", err)
			}
			return nil, g.answerConsent(ctx, q.Get("requester"), q.Get("target"), q.Get("room"), granted)
		},
		"GET /reports": func(ctx context.Context, _ url.Values) (any, error) { return g.hub.Reports(ctx, reportsMax) },
	}
}

func (g *Gateway) answerConsent(ctx context.Context, requester, target, room string, granted bool) error {
	var s mimi.ConsentScope
	var err1, err2, err3 error
	s.Requester, err1 = uri.ParseUser(requester)
	s.Target, err2 = uri.ParseUser(target)
	if room != "" {
		s.Room, err3 = uri.ParseRoom(room)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return g.consents.Between.Answer(ctx, s, granted)
}

// Consents returns what our people were asked and have not answered, the oldest first.
func (c *Client) Consents(ctx context.Context) (list []consents.Question, err error) {
	return list, c.ask(ctx, http.MethodGet, "/consents", nil, &list)
}

// AnswerConsent says for one of our people whether somebody elsewhere may bring them into a room; room empty: into any.
func (c *Client) AnswerConsent(ctx context.Context, requester, target, room string, granted bool) error {
	return c.ask(ctx, http.MethodPost, "/consent",
		url.Values{"requester": {requester}, "target": {target}, "room": {room}, "granted": {strconv.FormatBool(granted)}}, nil)
}

// Reports returns the newest reports of abuse, the newest first.
func (c *Client) Reports(ctx context.Context) (list []hub.Report, err error) {
	return list, c.ask(ctx, http.MethodGet, "/reports", nil, &list)
}
