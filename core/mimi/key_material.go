package mimi

import (
	"errors"
	"fmt"

	"mimigate/core/mls"
)

// KeyMaterialRequest asks for a key package of each client of a user, for one room (mimi-protocol-06 §5.2).
type KeyMaterialRequest struct {
	Requester    string            // requestingUser
	Target       string            // targetUser
	Room         string            // empty: for no room (reading A9)
	Suites       []mls.CipherSuite // acceptable ones, the best first; never empty
	Required     mls.RequiredCapabilities
	SignatureKey []byte // requesterSignatureKey
	Credential   mls.Credential
	Signature    []byte
}

const labelKeyMaterial = "KeyMaterialRequestTBS"

func (r *KeyMaterialRequest) marshalTBS(e *mls.Encoder) {
	encodeProtocol(e)
	e.Opaque([]byte(r.Requester))
	e.Opaque([]byte(r.Target))
	e.Opaque([]byte(r.Room))
	suites := make([]uint16, len(r.Suites))
	for i, s := range r.Suites {
		suites[i] = uint16(s)
	}
	e.Uint16s(suites)
	r.Required.MarshalMLS(e)
	e.Opaque(r.SignatureKey)
	r.Credential.MarshalMLS(e)
}

// MarshalMLS implements mls.Marshaler.
func (r *KeyMaterialRequest) MarshalMLS(e *mls.Encoder) {
	r.marshalTBS(e)
	e.Opaque(r.Signature)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *KeyMaterialRequest) UnmarshalMLS(d *mls.Decoder) {
	*r = KeyMaterialRequest{}
	decodeProtocol(d)
	r.Requester, r.Target, r.Room = string(d.Opaque()), string(d.Opaque()), string(d.Opaque())
	for _, s := range d.Uint16s() {
		r.Suites = append(r.Suites, mls.CipherSuite(s))
	}
	if d.Err() == nil && len(r.Suites) == 0 {
		d.Failf("no acceptable cipher suite")
	}
	r.Required.UnmarshalMLS(d)
	r.SignatureKey = d.Opaque()
	r.Credential.UnmarshalMLS(d)
	r.Signature = d.Opaque()
}

// Sign signs the request with the key whose public half is SignatureKey, in the scheme of the first suite.
func (r *KeyMaterialRequest) Sign(t mls.Suites, key *mls.SignatureKey) error {
	var e mls.Encoder
	r.marshalTBS(&e)
	var err error
	r.Signature, err = t.SignWithLabel(r.Suites[0], key, labelKeyMaterial, e.Bytes())
	return err
}

// Verify checks the signature. The request does not name its scheme, so that of every acceptable suite is tried (reading A8).
// The error wraps [mls.ErrSignature] or, where we know none of the suites, [mls.ErrCipherSuite].
func (r *KeyMaterialRequest) Verify(t mls.Suites) error {
	var e mls.Encoder
	r.marshalTBS(&e)
	err := fmt.Errorf("%w: none that we know", mls.ErrCipherSuite)
	for _, s := range r.Suites {
		got := t.VerifyWithLabel(s, r.SignatureKey, labelKeyMaterial, e.Bytes(), r.Signature)
		if got == nil {
			return nil
		}
		if !errors.Is(got, mls.ErrCipherSuite) {
			err = got
		}
	}
	return err
}

// UserCode is a KeyMaterialUserCode.
type UserCode uint8

// The answers for a user. The list of clients is empty but for Success, PartialSuccess and NoCompatible.
const (
	UserSuccess             UserCode = 0
	UserPartialSuccess      UserCode = 1
	UserWrongProtocol       UserCode = 2
	UserNoCompatible        UserCode = 3
	UserUnknown             UserCode = 4
	UserNoConsent           UserCode = 5
	UserNoConsentForThisOne UserCode = 6 // consent for other rooms, not for this one
	UserDeleted             UserCode = 7
)

func (c UserCode) listsClients() bool {
	return c == UserSuccess || c == UserPartialSuccess || c == UserNoCompatible
}

// ClientCode is a KeyMaterialClientCode.
type ClientCode uint8

// The answers for a client.
const (
	ClientSuccess           ClientCode = 0
	ClientExhausted         ClientCode = 1
	ClientNothingCompatible ClientCode = 2
)

// ClientKeyMaterial is the answer for one client. For codes that the draft gives no body there is none (reading A10).
type ClientKeyMaterial struct {
	Code         ClientCode
	Client       string
	KeyPackage   *mls.KeyPackage   // Success
	Capabilities *mls.Capabilities // NothingCompatible; may be nil
}

// MarshalMLS implements mls.Marshaler.
func (c *ClientKeyMaterial) MarshalMLS(e *mls.Encoder) {
	e.Uint8(uint8(c.Code))
	e.Opaque([]byte(c.Client))
	switch c.Code {
	case ClientSuccess:
		c.KeyPackage.MarshalMLS(e)
	case ClientNothingCompatible:
		e.Bool(c.Capabilities != nil)
		if c.Capabilities != nil {
			c.Capabilities.MarshalMLS(e)
		}
	}
}

// UnmarshalMLS implements mls.Unmarshaler. A code that the draft does not know cannot be skipped, as the length of its body is
// not known: it is an error.
func (c *ClientKeyMaterial) UnmarshalMLS(d *mls.Decoder) {
	*c = ClientKeyMaterial{Code: ClientCode(d.Uint8()), Client: string(d.Opaque())}
	switch c.Code {
	case ClientSuccess:
		c.KeyPackage = new(mls.KeyPackage)
		c.KeyPackage.UnmarshalMLS(d)
	case ClientExhausted:
	case ClientNothingCompatible:
		if d.Bool() {
			c.Capabilities = new(mls.Capabilities)
			c.Capabilities.UnmarshalMLS(d)
		}
	default:
		d.Failf("client code %d", c.Code)
	}
}

// KeyMaterialResponse answers a KeyMaterialRequest (mimi-protocol-06 §5.2).
type KeyMaterialResponse struct {
	Code    UserCode
	User    string
	Clients []ClientKeyMaterial
}

// MarshalMLS implements mls.Marshaler.
func (r *KeyMaterialResponse) MarshalMLS(e *mls.Encoder) {
	encodeProtocol(e)
	e.Uint8(uint8(r.Code))
	e.Opaque([]byte(r.User))
	e.Vector(func(e *mls.Encoder) {
		for i := range r.Clients {
			r.Clients[i].MarshalMLS(e)
		}
	})
}

// UnmarshalMLS implements mls.Unmarshaler.
func (r *KeyMaterialResponse) UnmarshalMLS(d *mls.Decoder) {
	*r = KeyMaterialResponse{}
	decodeProtocol(d)
	r.Code, r.User = UserCode(d.Uint8()), string(d.Opaque())
	d.Vector(func(d *mls.Decoder) {
		var c ClientKeyMaterial
		c.UnmarshalMLS(d)
		r.Clients = append(r.Clients, c)
	})
	if d.Err() == nil && len(r.Clients) > 0 && !r.Code.listsClients() {
		d.Failf("clients listed beside user code %d", r.Code)
	}
}
