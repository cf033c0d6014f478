package mls

import "slices"

// GroupContext is RFC 9420 §8.1.
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// MarshalMLS implements [Marshaler].
func (c *GroupContext) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(c.Version))
	e.Uint16(uint16(c.CipherSuite))
	e.Opaque(c.GroupID)
	e.Uint64(c.Epoch)
	e.Opaque(c.TreeHash)
	e.Opaque(c.ConfirmedTranscriptHash)
	c.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements [Unmarshaler].
func (c *GroupContext) UnmarshalMLS(d *Decoder) {
	*c = GroupContext{
		Version: ProtocolVersion(d.Uint16()), CipherSuite: CipherSuite(d.Uint16()), GroupID: d.Opaque(),
		Epoch: d.Uint64(), TreeHash: d.Opaque(), ConfirmedTranscriptHash: d.Opaque(),
	}
	c.Extensions.UnmarshalMLS(d)
}

// sized is an encoder with room for the context and extra bytes: a participant list makes it large.
func (c *GroupContext) sized(extra int) *Encoder {
	n := 256 + extra
	for _, x := range c.Extensions {
		n += len(x.Data) + 8
	}
	return NewEncoder(n)
}

// encode returns the serialised context.
func (c *GroupContext) encode() []byte {
	e := c.sized(0)
	c.MarshalMLS(e)
	return e.Bytes()
}

// pathInfo is the EncryptContext under which path secrets are sealed, this being the provisional context (RFC 9420 §7.6).
func (c *GroupContext) pathInfo() []byte {
	e := c.sized(32)
	e.Raw(labelled(nil, "UpdatePathNode"))
	start := e.Open()
	c.MarshalMLS(e)
	e.Close(start)
	return e.Bytes()
}

// required returns the group's required_capabilities, or nil (RFC 9420 §11.1).
func (c *GroupContext) required() (*RequiredCapabilities, error) {
	data, ok := c.Extensions.Get(ExtRequiredCapabilities)
	if !ok {
		return nil, nil
	}
	r := new(RequiredCapabilities)
	return r, Unmarshal(data, r)
}

// externalSenders returns the group's external senders (RFC 9420 §12.1.8.1).
func (c *GroupContext) externalSenders() (ExternalSenders, error) {
	data, ok := c.Extensions.Get(ExtExternalSenders)
	if !ok {
		return nil, nil
	}
	var s ExternalSenders
	return s, Unmarshal(data, &s)
}

// requiresProposal reports whether every member must support proposal type t by required_capabilities.
func (c *GroupContext) requiresProposal(t ProposalType) bool {
	r, err := c.required()
	return err == nil && r != nil && slices.Contains(r.Proposals, t)
}
