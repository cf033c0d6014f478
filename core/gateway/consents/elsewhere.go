package consents

import (
	"context"
	"errors"
	"slices"
	"strings"

	"mimigate/core/identity"
	"mimigate/core/mimi"
	"mimigate/core/router/order"
	"mimigate/core/uri"
)

// Elsewhere is what admins' orders and people's answers in a chat ask of other providers.
type Elsewhere struct {
	*Desk
	Identifiers func(of uri.Provider) (mimi.Identifiers, error)
}

var _ order.Elsewhere = Elsewhere{}

// errSearch: the peer answers no such search.
var errSearch = errors.New("the provider does not answer that search")

// Knows implements order.Elsewhere.
func (e Elsewhere) Knows(p uri.Provider) bool {
	_, ok := e.options.May(p)
	return ok
}

// Find implements order.Elsewhere: users whose name, or whose whole handle, is the text.
func (e Elsewhere) Find(ctx context.Context, p uri.Provider, text string) ([]order.Found, error) {
	peer, err := e.Identifiers(p)
	if err != nil {
		return nil, err
	}
	var found []order.Found
	refused := 0
	queries := []mimi.QueryElement{{Type: mimi.SearchNick, Value: text}, {Type: mimi.SearchPartialName, Value: text}}
	for _, q := range queries {
		resp, err := peer.Identify(ctx, e.options.Provider, &mimi.IdentifierRequest{Elements: []mimi.QueryElement{q}})
		if err != nil {
			return nil, err
		}
		if resp.Code != mimi.IdentifierSuccess && resp.Code != mimi.IdentifierNotFound {
			refused++
			continue
		}
		for i, address := range resp.Users {
			u, err := uri.ParseUser(address)
			if err != nil || u.Provider() != p || slices.ContainsFunc(found, func(f order.Found) bool { return f.User == u }) {
				continue
			}
			f := order.Found{User: u}
			if i < len(resp.Profiles) {
				f.Name = nameOf(&resp.Profiles[i])
			}
			found = append(found, f)
		}
	}
	if refused == len(queries) {
		return nil, errSearch
	}
	return found, nil
}

// nameOf returns the name that a profile shows, empty where it has none.
func nameOf(p *mimi.UserProfile) string {
	for _, f := range p.Fields {
		if name := strings.ToLower(f.Name); name == "name" || name == "fn" {
			return f.Value
		}
	}
	return ""
}

// Request implements order.Elsewhere.
func (e Elsewhere) Request(ctx context.Context, s identity.Scope) error {
	return e.Invite(ctx, s.Target, s.Room)
}

// Answer implements order.Elsewhere.
func (e Elsewhere) Answer(ctx context.Context, s identity.Scope, granted bool) error {
	return e.Between.Answer(ctx, mimi.ConsentScope(s), granted)
}

// Waiting implements order.Elsewhere.
func (e Elsewhere) Waiting(ctx context.Context, target uri.User) ([]identity.Permission, error) {
	return e.permissions.Waiting(ctx, target)
}
