package people

import (
	"context"
	"fmt"
	"strings"

	"mimigate/core/mimi"
	"mimigate/core/uri"
)

const (
	maxElements = 16  // of a query
	maxValue    = 256 // octets of what is searched for
	minPart     = 3   // characters of a part of a name: less would list everybody
	maxFound    = 20  // users in an answer
)

// Profile is what others may see of a user who lets themself be found.
type Profile struct {
	User   uri.User
	Handle string // the readable last part of the address; empty: it is random
	Name   string
}

// Directory knows those of our users who let themselves be found.
type Directory interface {
	// ByHandle returns the user of a handle.
	ByHandle(ctx context.Context, handle string) (Profile, bool, error)
	// ByName returns users whose name contains a text, whatever its case, at most limit of them.
	ByName(ctx context.Context, part string, limit int) ([]Profile, error)
}

// Identifiers answers other providers' queries for our users (mimi-protocol-06 §5.8): [mimi.Identifiers].
type Identifiers struct {
	Provider  uri.Provider
	Directory Directory
	// May says whether a provider's users may search.
	May func(uri.Provider) bool
}

var _ mimi.Identifiers = (*Identifiers)(nil)

// Identify implements [mimi.Identifiers]. Every element of a query must hold. Who does not let themself be found is not told apart from who does
// not exist, by whatever they are searched for; numbers and addresses of other networks are never searched.
func (i *Identifiers) Identify(ctx context.Context, from uri.Provider, r *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error) {
	if len(r.Elements) == 0 || len(r.Elements) > maxElements {
		return nil, fmt.Errorf("%w: a query of %d elements", mimi.ErrBadRequest, len(r.Elements))
	}
	if !i.May(from) {
		return &mimi.IdentifierResponse{Code: mimi.IdentifierForbidden}, nil
	}
	var conditions []condition
	for _, q := range r.Elements {
		if len(q.Value) > maxValue {
			return nil, fmt.Errorf("%w: a value of %d octets", mimi.ErrBadRequest, len(q.Value))
		}
		c, code := i.condition(q)
		if code != mimi.IdentifierSuccess {
			return &mimi.IdentifierResponse{Code: code}, nil
		}
		conditions = append(conditions, c)
	}
	found, err := i.candidates(ctx, conditions)
	if err != nil {
		return nil, err
	}
	return answer(found, conditions), nil
}

// condition is one element of a query: exactly one is set.
type condition struct {
	handle string
	name   string // exactly
	part   string // of the name
	any    string // a part of name or handle
}

func (c condition) holds(p *Profile) bool {
	name, handle := strings.ToLower(p.Name), strings.ToLower(p.Handle)
	switch {
	case c.handle != "":
		return p.Handle == c.handle
	case c.name != "":
		return p.Name == c.name
	case c.part != "":
		return strings.Contains(name, strings.ToLower(c.part))
	}
	return strings.Contains(name, strings.ToLower(c.any)) || strings.Contains(handle, strings.ToLower(c.any))
}

// condition reads an element, or says why it is not answered.
func (i *Identifiers) condition(q mimi.QueryElement) (condition, mimi.IdentifierCode) {
	if q.Value == "" {
		return condition{}, mimi.IdentifierAmbiguous
	}
	short := len([]rune(q.Value)) < minPart
	switch q.Type {
	case mimi.SearchHandle:
		return condition{handle: i.handle(q.Value)}, mimi.IdentifierSuccess
	case mimi.SearchNick:
		return condition{handle: q.Value}, mimi.IdentifierSuccess
	case mimi.SearchPartialName:
		if short {
			return condition{}, mimi.IdentifierAmbiguous
		}
		return condition{part: q.Value}, mimi.IdentifierSuccess
	case mimi.SearchWholeProfile:
		if short {
			return condition{}, mimi.IdentifierAmbiguous
		}
		return condition{any: q.Value}, mimi.IdentifierSuccess
	case mimi.SearchOIDCClaim, mimi.SearchVCardField:
		switch strings.ToLower(q.Name) {
		case "name", "fn":
			return condition{name: q.Value}, mimi.IdentifierSuccess
		case "preferred_username", "nickname":
			return condition{handle: q.Value}, mimi.IdentifierSuccess
		}
	}
	return condition{}, mimi.IdentifierUnsupported
}

// nobody is a handle that no user has.
const nobody = "\x00"

// handle returns the last part of the address that a whole handle stands for: im:alice@a.example, or the MIMI address itself.
func (i *Identifiers) handle(text string) string {
	if u, err := uri.ParseUser(text); err == nil && u.Provider() == i.Provider && len(u.Segments()) == 1 {
		return u.Segments()[0]
	}
	local, domain, ok := strings.Cut(strings.TrimPrefix(text, "im:"), "@")
	if p, err := uri.NewProvider(domain); !ok || err != nil || p != i.Provider || local == "" {
		return nobody
	}
	return local
}

// candidates finds the users for whom the most telling condition holds, one more than can be answered.
func (i *Identifiers) candidates(ctx context.Context, conditions []condition) ([]Profile, error) {
	for _, c := range conditions {
		if c.handle == "" {
			continue
		}
		p, ok, err := i.Directory.ByHandle(ctx, c.handle)
		if err != nil || !ok {
			return nil, err
		}
		return []Profile{p}, nil
	}
	longest := ""
	for _, c := range conditions {
		if text := c.name + c.part; len(text) > len(longest) {
			longest = text
		}
	}
	if longest != "" {
		return i.Directory.ByName(ctx, longest, maxFound+1)
	}
	found, err := i.Directory.ByName(ctx, conditions[0].any, maxFound+1)
	if err != nil {
		return nil, err
	}
	p, ok, err := i.Directory.ByHandle(ctx, conditions[0].any)
	if err == nil && ok && !conditions[0].holds(&Profile{Name: p.Name}) {
		found = append(found, p)
	}
	return found, err
}

// answer keeps those for whom every condition holds. Too many are not listed: whoever searches is to be more exact.
func answer(found []Profile, conditions []condition) *mimi.IdentifierResponse {
	if len(found) > maxFound {
		return &mimi.IdentifierResponse{Code: mimi.IdentifierAmbiguous}
	}
	resp := &mimi.IdentifierResponse{Code: mimi.IdentifierNotFound}
next:
	for _, p := range found {
		for _, c := range conditions {
			if !c.holds(&p) {
				continue next
			}
		}
		profile := mimi.UserProfile{User: p.User.String()}
		for _, f := range []mimi.ProfileField{{Source: mimi.SearchOIDCClaim, Name: "name", Value: p.Name},
			{Source: mimi.SearchOIDCClaim, Name: "preferred_username", Value: p.Handle}} {
			if f.Value != "" {
				profile.Fields = append(profile.Fields, f)
			}
		}
		resp.Code = mimi.IdentifierSuccess
		resp.Users = append(resp.Users, profile.User)
		resp.Profiles = append(resp.Profiles, profile)
	}
	return resp
}
