package mimi

import "mimigate/core/mls"

// SearchType is a SearchIdentifierType: what a QueryElement looks at (mimi-protocol-06 §5.8).
type SearchType uint8

// What can be searched for. All but the last four match exactly; SearchPartialName and SearchWholeProfile match a part.
const (
	SearchHandle       SearchType = 1 // the whole handle URI
	SearchNick         SearchType = 2 // a nickname, or the user part of a handle
	SearchEmail        SearchType = 3
	SearchPhone        SearchType = 4 // international, with +
	SearchPartialName  SearchType = 5 // a part of any name, whatever its case
	SearchWholeProfile SearchType = 6 // a part of any searchable field
	SearchOIDCClaim    SearchType = 7 // the UserInfo claim of a name
	SearchVCardField   SearchType = 8 // the vCard property of a name
)

func (t SearchType) named() bool { return t == SearchOIDCClaim || t == SearchVCardField }

// QueryElement is one condition of a query.
type QueryElement struct {
	Type  SearchType
	Name  string // of the claim or property; empty for other types
	Value string
}

// MarshalMLS implements mls.Marshaler.
func (q *QueryElement) MarshalMLS(e *mls.Encoder) {
	e.Uint8(uint8(q.Type))
	if q.Type.named() {
		e.Opaque([]byte(q.Name))
	}
	e.Opaque([]byte(q.Value))
}

// UnmarshalMLS implements mls.Unmarshaler. A type that the draft does not know is taken to have no name, like most.
func (q *QueryElement) UnmarshalMLS(d *mls.Decoder) {
	*q = QueryElement{Type: SearchType(d.Uint8())}
	if q.Type.named() {
		q.Name = string(d.Opaque())
	}
	q.Value = string(d.Opaque())
}

// IdentifierRequest asks for the users for whom every element holds (mimi-protocol-06 §5.8).
type IdentifierRequest struct {
	Elements   []QueryElement
	Extensions mls.AppDataDictionary
}

// MarshalMLS implements mls.Marshaler.
func (r *IdentifierRequest) MarshalMLS(e *mls.Encoder) {
	e.Vector(func(e *mls.Encoder) {
		for i := range r.Elements {
			r.Elements[i].MarshalMLS(e)
		}
	})
	r.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *IdentifierRequest) UnmarshalMLS(d *mls.Decoder) {
	*r = IdentifierRequest{}
	d.Vector(func(d *mls.Decoder) {
		var q QueryElement
		q.UnmarshalMLS(d)
		r.Elements = append(r.Elements, q)
	})
	r.Extensions.UnmarshalMLS(d)
}

// IdentifierCode is an IdentifierQueryCode.
type IdentifierCode uint8

// The answers to a query.
const (
	IdentifierSuccess     IdentifierCode = 0
	IdentifierNotFound    IdentifierCode = 1
	IdentifierAmbiguous   IdentifierCode = 2 // only exact matches of certain fields are answered
	IdentifierForbidden   IdentifierCode = 3
	IdentifierUnsupported IdentifierCode = 4 // a field that cannot be searched
)

// ProfileField is one thing that is told of a user found: of SearchOIDCClaim or SearchVCardField, the only sources that the
// draft has (reading A29).
type ProfileField struct {
	Source SearchType
	Name   string
	Value  string
}

// UserProfile is a user found.
type UserProfile struct {
	User   string // stableUri
	Fields []ProfileField
}

// MarshalMLS implements mls.Marshaler.
func (p *UserProfile) MarshalMLS(e *mls.Encoder) {
	e.Opaque([]byte(p.User))
	e.Vector(func(e *mls.Encoder) {
		for _, f := range p.Fields {
			e.Uint8(uint8(f.Source))
			e.Opaque([]byte(f.Name))
			e.Opaque([]byte(f.Value))
		}
	})
}

// UnmarshalMLS implements mls.Unmarshaler.
func (p *UserProfile) UnmarshalMLS(d *mls.Decoder) {
	*p = UserProfile{User: string(d.Opaque())}
	d.Vector(func(d *mls.Decoder) {
		p.Fields = append(p.Fields, ProfileField{Source: SearchType(d.Uint8()), Name: string(d.Opaque()), Value: string(d.Opaque())})
	})
}

// IdentifierResponse answers an IdentifierRequest (mimi-protocol-06 §5.8). Users and Profiles name the same users in the
// same order (reading A30).
type IdentifierResponse struct {
	Code       IdentifierCode
	Users      []string
	Profiles   []UserProfile
	Extensions mls.AppDataDictionary
}

// MarshalMLS implements mls.Marshaler.
func (r *IdentifierResponse) MarshalMLS(e *mls.Encoder) {
	e.Uint8(uint8(r.Code))
	e.Vector(func(e *mls.Encoder) {
		for _, u := range r.Users {
			e.Opaque([]byte(u))
		}
	})
	e.Vector(func(e *mls.Encoder) {
		for i := range r.Profiles {
			r.Profiles[i].MarshalMLS(e)
		}
	})
	r.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *IdentifierResponse) UnmarshalMLS(d *mls.Decoder) {
	*r = IdentifierResponse{Code: IdentifierCode(d.Uint8())}
	d.Vector(func(d *mls.Decoder) { r.Users = append(r.Users, string(d.Opaque())) })
	d.Vector(func(d *mls.Decoder) {
		var p UserProfile
		p.UnmarshalMLS(d)
		r.Profiles = append(r.Profiles, p)
	})
	r.Extensions.UnmarshalMLS(d)
}
