package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"mimigate/core/gateway/consents"
	"mimigate/core/hub"
	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/policy"
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
			s, err := (&mimi.ConsentEntry{Requester: q.Get("requester"), Target: q.Get("target"), Room: q.Get("room")}).Scope()
			if err != nil {
				return nil, err
			}
			return nil, g.consents.Between.Answer(ctx, s, granted)
		},
		"POST /ban": func(ctx context.Context, q url.Values) (any, error) {
			return nil, g.Ban(ctx, q.Get("room"), q.Get("user"))
		},
		"GET /reports": func(ctx context.Context, _ url.Values) (any, error) { return g.hub.Reports(ctx, reportsMax) },
	}
}

// Ban bans somebody from a room of this provider: the hub itself proposes it, and whoever is in the room commits it.
func (g *Gateway) Ban(ctx context.Context, name, user string) error {
	room, who, err := g.roomAndUser(ctx, name, user)
	if err != nil {
		return err
	}
	return g.hub.Expel(ctx, room, who, policy.BannedRole)
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

// Ban bans somebody from a room; see Gateway.Ban.
func (c *Client) Ban(ctx context.Context, room, user string) error {
	return c.ask(ctx, http.MethodPost, "/ban", url.Values{"room": {room}, "user": {user}}, nil)
}

// Reports returns the newest reports of abuse, the newest first.
func (c *Client) Reports(ctx context.Context) (list []hub.Report, err error) {
	return list, c.ask(ctx, http.MethodGet, "/reports", nil, &list)
}
