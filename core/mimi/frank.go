package mimi

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"mimigate/core/mls"
)

// ErrFrank: a frank does not fit its message or its hub.
var ErrFrank = errors.New("mimi: frank does not hold")

// TagSize is the length of a franking tag, and of what a hub makes of it, in octets.
const TagSize = sha256.Size

// Frank is a hub's mark on a message that it has not read: it proves later that the hub took this message from this sender
// (mimi-protocol-06 §5.4.1).
type Frank struct {
	Server    [TagSize]byte   // server_frank
	Suite     mls.CipherSuite // of the room's group
	Signature []byte          // franking_integrity_signature
}

// MarshalMLS implements mls.Marshaler.
func (f *Frank) MarshalMLS(e *mls.Encoder) {
	e.Raw(f.Server[:])
	e.Uint16(uint16(f.Suite))
	e.Opaque(f.Signature)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (f *Frank) UnmarshalMLS(d *mls.Decoder) {
	*f = Frank{}
	copy(f.Server[:], d.Raw(TagSize))
	f.Suite = mls.CipherSuite(d.Uint16())
	f.Signature = d.Opaque()
}

func encodeFrank(e *mls.Encoder, f *Frank) {
	e.Bool(f != nil)
	if f != nil {
		f.MarshalMLS(e)
	}
}

func decodeFrank(d *mls.Decoder) *Frank {
	if !d.Bool() {
		return nil
	}
	f := new(Frank)
	f.UnmarshalMLS(d)
	return f
}

// FrankingTag is what a sender puts into the message's SafeAAD: an HMAC of the application data under the content's salt
// (mimi-protocol-06 §5.4.1).
func FrankingTag(salt, applicationData []byte) [TagSize]byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write(applicationData)
	return [TagSize]byte(mac.Sum(nil))
}

// FrankingContext is what a frank vouches for beside the tag: ServerFrankingContext.
type FrankingContext struct {
	Sender   string // sendingUri of the request
	Room     string
	Accepted uint64 // milliseconds since 1970
}

// MarshalMLS implements mls.Marshaler.
func (c *FrankingContext) MarshalMLS(e *mls.Encoder) {
	e.Opaque([]byte(c.Sender))
	e.Opaque([]byte(c.Room))
	e.Uint64(c.Accepted)
}

const labelFranking = "FrankingIntegrityTBS"

func (f *Frank) tbs(c *FrankingContext) []byte {
	var e mls.Encoder
	e.Raw(f.Server[:])
	e.Uint16(uint16(f.Suite))
	c.MarshalMLS(&e)
	return e.Bytes()
}

// HubKey is the secret that a hub's franks are made with; without it a frank cannot be checked against a message.
type HubKey [32]byte

func (k *HubKey) mark(tag [TagSize]byte, c *FrankingContext) [TagSize]byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write(tag[:])
	mac.Write(mls.Marshal(c))
	return [TagSize]byte(mac.Sum(nil))
}

// Frank franks a message. key is the private half of the room's franking agent, of the suite's signature scheme.
func (k *HubKey) Frank(t mls.Suites, suite mls.CipherSuite, key *mls.SignatureKey, tag [TagSize]byte, c *FrankingContext) (*Frank, error) {
	f := &Frank{Server: k.mark(tag, c), Suite: suite}
	var err error
	f.Signature, err = t.SignWithLabel(suite, key, labelFranking, f.tbs(c))
	return f, err
}

// Holds reports whether the frank was made with this key for this tag and context: what a hub asks when abuse is reported.
func (k *HubKey) Holds(f *Frank, tag [TagSize]byte, c *FrankingContext) bool {
	want := k.mark(tag, c)
	return hmac.Equal(want[:], f.Server[:])
}

// Verify checks, as a receiver, that the franking agent's key signed the frank for this context and suite. The error wraps ErrFrank.
func (f *Frank) Verify(t mls.Suites, suite mls.CipherSuite, agent []byte, c *FrankingContext) error {
	if f.Suite != suite {
		return fmt.Errorf("%w: of cipher suite %#04x", ErrFrank, f.Suite)
	}
	if err := t.VerifyWithLabel(suite, agent, labelFranking, f.tbs(c), f.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrFrank, err)
	}
	return nil
}

// FrankingAgent is the data of the franking_agent component: with which key the hub of a room signs franks.
type FrankingAgent struct {
	SignatureKey []byte
	Credential   mls.Credential
}

// MarshalMLS implements mls.Marshaler.
func (a *FrankingAgent) MarshalMLS(e *mls.Encoder) {
	e.Opaque(a.SignatureKey)
	a.Credential.MarshalMLS(e)
}

// UnmarshalMLS implements mls.Unmarshaler.
func (a *FrankingAgent) UnmarshalMLS(d *mls.Decoder) {
	*a = FrankingAgent{SignatureKey: d.Opaque()}
	a.Credential.UnmarshalMLS(d)
}
