package mls

// ProposalType is the code point of a proposal (RFC 9420 §17.4).
type ProposalType uint16

// Proposal types of RFC 9420 §17.4 and draft-ietf-mls-extensions-10 §7.
const (
	ProposalAdd                    ProposalType = 0x0001
	ProposalUpdate                 ProposalType = 0x0002
	ProposalRemove                 ProposalType = 0x0003
	ProposalPSK                    ProposalType = 0x0004
	ProposalReInit                 ProposalType = 0x0005
	ProposalExternalInit           ProposalType = 0x0006
	ProposalGroupContextExtensions ProposalType = 0x0007
	ProposalAppDataUpdate          ProposalType = 0x0008
	ProposalAppEphemeral           ProposalType = 0x0009
	ProposalSelfRemove             ProposalType = 0x000a
)

// defaultProposal reports the types every client supports and need not list (RFC 9420 §7.2).
func defaultProposal(t ProposalType) bool {
	return t >= ProposalAdd && t <= ProposalGroupContextExtensions
}

// ProposalRef identifies a proposal sent on its own (RFC 9420 §5.2); Nh bytes of the cipher suite.
type ProposalRef string

// Proposal is RFC 9420 §12.1. Only the field that Type names is meaningful; SelfRemove has none.
type Proposal struct {
	Type          ProposalType
	Add           *KeyPackage
	Update        *LeafNode
	Remove        LeafIndex
	PSK           *PreSharedKeyID
	ReInit        *ReInit
	KEMOutput     []byte // ExternalInit
	Extensions    Extensions
	AppDataUpdate *AppDataUpdate
	AppEphemeral  *AppEphemeral
}

// ReInit is RFC 9420 §12.1.5.
type ReInit struct {
	GroupID     []byte
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  Extensions
}

// MarshalMLS implements [Marshaler].
func (r *ReInit) MarshalMLS(e *Encoder) {
	e.Opaque(r.GroupID)
	e.Uint16(uint16(r.Version))
	e.Uint16(uint16(r.CipherSuite))
	r.Extensions.MarshalMLS(e)
}

// UnmarshalMLS implements [Unmarshaler].
func (r *ReInit) UnmarshalMLS(d *Decoder) {
	*r = ReInit{GroupID: d.Opaque(), Version: ProtocolVersion(d.Uint16()), CipherSuite: CipherSuite(d.Uint16())}
	r.Extensions.UnmarshalMLS(d)
}

// MarshalMLS implements [Marshaler].
func (p *Proposal) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(p.Type))
	switch p.Type {
	case ProposalAdd:
		p.Add.MarshalMLS(e)
	case ProposalUpdate:
		p.Update.MarshalMLS(e)
	case ProposalRemove:
		e.Uint32(uint32(p.Remove))
	case ProposalPSK:
		p.PSK.MarshalMLS(e)
	case ProposalReInit:
		p.ReInit.MarshalMLS(e)
	case ProposalExternalInit:
		e.Opaque(p.KEMOutput)
	case ProposalGroupContextExtensions:
		p.Extensions.MarshalMLS(e)
	case ProposalAppDataUpdate:
		p.AppDataUpdate.MarshalMLS(e)
	case ProposalAppEphemeral:
		p.AppEphemeral.MarshalMLS(e)
	}
}

// UnmarshalMLS implements [Unmarshaler]. A type that is not known cannot be decoded: its length is nowhere written.
func (p *Proposal) UnmarshalMLS(d *Decoder) {
	*p = Proposal{Type: ProposalType(d.Uint16())}
	switch p.Type {
	case ProposalAdd:
		orNew(&p.Add).UnmarshalMLS(d)
	case ProposalUpdate:
		orNew(&p.Update).UnmarshalMLS(d)
	case ProposalRemove:
		p.Remove = LeafIndex(d.Uint32())
	case ProposalPSK:
		orNew(&p.PSK).UnmarshalMLS(d)
	case ProposalReInit:
		orNew(&p.ReInit).UnmarshalMLS(d)
	case ProposalExternalInit:
		p.KEMOutput = d.Opaque()
	case ProposalGroupContextExtensions:
		p.Extensions.UnmarshalMLS(d)
	case ProposalAppDataUpdate:
		orNew(&p.AppDataUpdate).UnmarshalMLS(d)
	case ProposalAppEphemeral:
		orNew(&p.AppEphemeral).UnmarshalMLS(d)
	case ProposalSelfRemove:
	default:
		d.Failf("proposal type %#04x", p.Type)
	}
}

// ProposalOrRef is RFC 9420 §12.4: a proposal by value, or the reference of one sent before.
type ProposalOrRef struct {
	Proposal *Proposal
	Ref      ProposalRef // when Proposal is nil
}

// MarshalMLS implements [Marshaler].
func (p *ProposalOrRef) MarshalMLS(e *Encoder) {
	if p.Proposal != nil {
		e.Uint8(1)
		p.Proposal.MarshalMLS(e)
		return
	}
	e.Uint8(2)
	e.Opaque([]byte(p.Ref))
}

// UnmarshalMLS implements [Unmarshaler].
func (p *ProposalOrRef) UnmarshalMLS(d *Decoder) {
	switch t := d.Uint8(); t {
	case 1:
		p.Proposal = new(Proposal)
		p.Proposal.UnmarshalMLS(d)
	case 2:
		p.Ref = ProposalRef(d.Opaque())
	default:
		d.Failf("ProposalOrRef type %d", t)
	}
}

// Commit is RFC 9420 §12.4.
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath
}

// MarshalMLS implements [Marshaler].
func (c *Commit) MarshalMLS(e *Encoder) {
	start := e.Open()
	for i := range c.Proposals {
		c.Proposals[i].MarshalMLS(e)
	}
	e.Close(start)
	e.Bool(c.Path != nil)
	if c.Path != nil {
		c.Path.MarshalMLS(e)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (c *Commit) UnmarshalMLS(d *Decoder) {
	*c = Commit{}
	d.Vector(func(d *Decoder) {
		var p ProposalOrRef
		p.UnmarshalMLS(d)
		c.Proposals = append(c.Proposals, p)
	})
	if d.Bool() {
		c.Path = new(UpdatePath)
		c.Path.UnmarshalMLS(d)
	}
}

// UpdatePath is RFC 9420 §7.6.
type UpdatePath struct {
	LeafNode LeafNode
	Nodes    []UpdatePathNode
}

// UpdatePathNode is RFC 9420 §7.6: a new public key and the path secret under every key of the copath node's resolution.
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret []HPKECiphertext
}

// MarshalMLS implements [Marshaler].
func (u *UpdatePath) MarshalMLS(e *Encoder) {
	u.LeafNode.MarshalMLS(e)
	start := e.Open()
	for i := range u.Nodes {
		e.Opaque(u.Nodes[i].EncryptionKey)
		inner := e.Open()
		for j := range u.Nodes[i].EncryptedPathSecret {
			u.Nodes[i].EncryptedPathSecret[j].MarshalMLS(e)
		}
		e.Close(inner)
	}
	e.Close(start)
}

// UnmarshalMLS implements [Unmarshaler].
func (u *UpdatePath) UnmarshalMLS(d *Decoder) {
	*u = UpdatePath{}
	u.LeafNode.UnmarshalMLS(d)
	d.Vector(func(d *Decoder) {
		n := UpdatePathNode{EncryptionKey: d.Opaque()}
		d.Vector(func(d *Decoder) {
			var c HPKECiphertext
			c.UnmarshalMLS(d)
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
		})
		u.Nodes = append(u.Nodes, n)
	})
}
