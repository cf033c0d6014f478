package mls

import "fmt"

// GroupInfo is RFC 9420 §12.4.3.
type GroupInfo struct {
	Context         GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

func (g *GroupInfo) marshalBody(e *Encoder) {
	g.Context.MarshalMLS(e)
	g.Extensions.MarshalMLS(e)
	e.Opaque(g.ConfirmationTag)
	e.Uint32(uint32(g.Signer))
}

// MarshalMLS implements [Marshaler].
func (g *GroupInfo) MarshalMLS(e *Encoder) {
	g.marshalBody(e)
	e.Opaque(g.Signature)
}

// UnmarshalMLS implements [Unmarshaler].
func (g *GroupInfo) UnmarshalMLS(d *Decoder) {
	*g = GroupInfo{}
	g.Context.UnmarshalMLS(d)
	g.Extensions.UnmarshalMLS(d)
	g.ConfirmationTag = d.Opaque()
	g.Signer = LeafIndex(d.Uint32())
	g.Signature = d.Opaque()
}

func (g *GroupInfo) tbs() []byte {
	e := NewEncoder(1024)
	g.marshalBody(e)
	return e.Bytes()
}

func (g *GroupInfo) sign(s *suite, key *SignatureKey) (err error) {
	g.Signature, err = s.sign(key, "GroupInfoTBS", g.tbs())
	return err
}

func (g *GroupInfo) verify(s *suite, public []byte) error {
	return s.verify(public, "GroupInfoTBS", g.Signature, g.tbs())
}

// externalPub returns the key for external commits.
func (g *GroupInfo) externalPub() ([]byte, error) {
	data, ok := g.Extensions.Get(ExtExternalPub)
	if !ok {
		return nil, fmt.Errorf("%w: no external_pub extension (RFC 9420 §12.4.3.2)", ErrGroupInfo)
	}
	d := NewDecoder(data)
	key := d.Opaque()
	return key, d.Finish()
}

// Welcome is RFC 9420 §12.4.3.1.
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// EncryptedGroupSecrets is one new member's entry in a Welcome.
type EncryptedGroupSecrets struct {
	NewMember             []byte // KeyPackageRef
	EncryptedGroupSecrets HPKECiphertext
}

// MarshalMLS implements [Marshaler].
func (w *Welcome) MarshalMLS(e *Encoder) {
	e.Uint16(uint16(w.CipherSuite))
	start := e.Open()
	for i := range w.Secrets {
		e.Opaque(w.Secrets[i].NewMember)
		w.Secrets[i].EncryptedGroupSecrets.MarshalMLS(e)
	}
	e.Close(start)
	e.Opaque(w.EncryptedGroupInfo)
}

// UnmarshalMLS implements [Unmarshaler].
func (w *Welcome) UnmarshalMLS(d *Decoder) {
	*w = Welcome{CipherSuite: CipherSuite(d.Uint16())}
	d.Vector(func(d *Decoder) {
		s := EncryptedGroupSecrets{NewMember: d.Opaque()}
		s.EncryptedGroupSecrets.UnmarshalMLS(d)
		w.Secrets = append(w.Secrets, s)
	})
	w.EncryptedGroupInfo = d.Opaque()
}

// groupSecrets is GroupSecrets of RFC 9420 §12.4.3.1; pathSecret is nil when absent.
type groupSecrets struct {
	joinerSecret []byte
	pathSecret   []byte
	psks         []PreSharedKeyID
}

func (g *groupSecrets) MarshalMLS(e *Encoder) {
	e.Opaque(g.joinerSecret)
	e.Bool(g.pathSecret != nil)
	if g.pathSecret != nil {
		e.Opaque(g.pathSecret)
	}
	e.Vector(func(e *Encoder) {
		for i := range g.psks {
			g.psks[i].MarshalMLS(e)
		}
	})
}

func (g *groupSecrets) UnmarshalMLS(d *Decoder) {
	*g = groupSecrets{joinerSecret: d.Opaque()}
	if d.Bool() {
		g.pathSecret = d.Opaque()
	}
	d.Vector(func(d *Decoder) {
		var id PreSharedKeyID
		id.UnmarshalMLS(d)
		g.psks = append(g.psks, id)
	})
}
