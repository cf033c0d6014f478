package mls

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// Framing says how a message of ours is framed.
type Framing struct {
	// AAD is the authenticated_data; only for groups without the safe_aad component.
	AAD []byte
	// SafeAAD are the items of authenticated_data in a group with the safe_aad component.
	SafeAAD SafeAAD
	// Padding is how many zero bytes to add to a PrivateMessage's content (RFC 9420 §6.3.1).
	Padding int
}

// authenticatedData encodes a Framing's AAD for the epoch.
func (f *Framing) authenticatedData(safe bool) ([]byte, error) {
	switch {
	case safe && f.AAD != nil, !safe && f.SafeAAD != nil:
		return nil, fmt.Errorf("%w: group has safe_aad: %v (mls-extensions-10 §4.9)", ErrSafeAAD, safe)
	case safe:
		for i := 1; i < len(f.SafeAAD); i++ {
			if f.SafeAAD[i-1].Component >= f.SafeAAD[i].Component {
				return nil, fmt.Errorf("%w: items out of order", ErrSafeAAD)
			}
		}
		return Marshal(f.SafeAAD), nil
	default:
		return f.AAD, nil
	}
}

const senderDataSize = 4 + 4 + 4 // leaf index, generation, reuse guard (RFC 9420 §6.3.2)

// senderDataKey derives key and nonce for the sender data from a sample of the ciphertext (RFC 9420 §6.3.2).
func (m *messageKeys) senderDataAEAD(ciphertext []byte) (cipher.AEAD, []byte, error) {
	s := m.secrets.suite
	sample := ciphertext[:min(len(ciphertext), s.nh)]
	key := s.expand(m.senderData, "key", sample, s.nk)
	aead, err := s.newAEAD(key)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: sender data key: %w", err)
	}
	return aead, s.expand(m.senderData, "nonce", sample, nn), nil
}

// seal encrypts content that a local leaf has signed and returns the MLSMessage (RFC 9420 §6.3).
func (m *messageKeys) seal(a *AuthenticatedContent, padding int, guard [4]byte, step *Step) ([]byte, error) {
	c := &a.Content
	k, err := m.next(ratchetID{c.Sender.Leaf(), c.ContentType != ContentApplication}, step)
	if err != nil {
		return nil, err
	}
	step.Generation = k.generation
	aead, err := m.secrets.suite.newAEAD(k.key)
	if err != nil {
		return nil, fmt.Errorf("mls: message key: %w", err)
	}
	plain := NewEncoder(len(c.Application) + len(a.Auth.Signature) + padding + 64)
	c.marshalBody(plain)
	a.Auth.marshal(plain, c.ContentType)
	plain.Raw(make([]byte, padding))

	sealed := plain.Len() + aead.Overhead()
	e := NewEncoder(len(c.GroupID) + len(c.AuthenticatedData) + sealed + 80)
	e.Uint16(uint16(MLS10))
	e.Uint16(uint16(WirePrivateMessage))
	start := e.Len()
	e.Opaque(c.GroupID)
	e.Uint64(c.Epoch)
	e.Uint8(uint8(c.ContentType))
	short := e.Len() // SenderDataAAD ends here, PrivateContentAAD after authenticated_data
	e.Opaque(c.AuthenticatedData)
	long := e.Len()
	e.Length(senderDataSize + aead.Overhead())
	senderAt := e.Len()
	e.Raw(make([]byte, senderDataSize+aead.Overhead()))
	e.Length(sealed)
	body := e.Len()
	guardNonce(k.nonce, guard)
	out := aead.Seal(e.Bytes(), k.nonce, plain.Bytes(), e.Bytes()[start:long])

	var sender [senderDataSize]byte
	binary.BigEndian.PutUint32(sender[:], c.Sender.Index)
	binary.BigEndian.PutUint32(sender[4:], k.generation)
	copy(sender[8:], guard[:])
	senderAEAD, nonce, err := m.senderDataAEAD(out[body:])
	if err != nil {
		return nil, err
	}
	senderAEAD.Seal(out[senderAt:senderAt], nonce, sender[:], out[start:short])
	return out, nil
}

// guardNonce mixes the reuse guard into a nonce (RFC 9420 §6.3.1).
func guardNonce(nonce []byte, guard [4]byte) {
	for i, b := range guard {
		nonce[i] ^= b
	}
}

// open decrypts a PrivateMessage and verifies its signature (RFC 9420 §6.3). The key is consumed in step.
func (g *Group) open(m *messageKeys, p *PrivateMessage, step *Step) (*AuthenticatedContent, error) {
	s := g.suite
	e := NewEncoder(len(p.GroupID) + len(p.AuthenticatedData) + 24)
	e.Opaque(p.GroupID)
	e.Uint64(p.Epoch)
	e.Uint8(uint8(p.ContentType))
	senderAEAD, nonce, err := m.senderDataAEAD(p.Ciphertext)
	if err != nil {
		return nil, err
	}
	sender, err := senderAEAD.Open(nil, nonce, p.EncryptedSenderData, e.Bytes())
	if err != nil || len(sender) != senderDataSize {
		return nil, fmt.Errorf("%w: sender data (RFC 9420 §6.3.2)", ErrDecrypt)
	}
	leaf := LeafIndex(binary.BigEndian.Uint32(sender))
	generation := binary.BigEndian.Uint32(sender[4:])
	node := m.tree.leaf(leaf)
	if node == nil {
		return nil, fmt.Errorf("%w: sender leaf %d is blank (RFC 9420 §6.3.2)", ErrNotMember, leaf)
	}
	step.Sender, step.Leaf, step.Generation = Sender{Type: SenderMember, Index: uint32(leaf)}, node, generation
	if g.sentByUs(m, leaf, node) {
		return nil, fmt.Errorf("%w: leaf %d generation %d", ErrOwnMessage, leaf, generation)
	}
	k, err := m.at(ratchetID{leaf, p.ContentType != ContentApplication}, generation, g.cfg, step)
	if err != nil {
		return nil, err
	}
	aead, err := s.newAEAD(k.key)
	if err != nil {
		return nil, fmt.Errorf("mls: message key: %w", err)
	}
	e.Opaque(p.AuthenticatedData)
	guard := [4]byte(sender[8:])
	guardNonce(k.nonce, guard)
	plain, err := aead.Open(nil, k.nonce, p.Ciphertext, e.Bytes())
	guardNonce(k.nonce, guard) // as it was: the key is put back if anything fails
	if err != nil {
		return nil, fmt.Errorf("%w: message content (RFC 9420 §6.3.1)", ErrDecrypt)
	}
	a, err := parsePrivateContent(p, step.Sender, plain)
	if err != nil {
		return nil, err
	}
	if err := g.cfg.checkAAD(m.safeAAD, p.AuthenticatedData); err != nil {
		return nil, err
	}
	return a, a.verify(s, node.SignatureKey, m.context)
}

// sentByUs reports whether a sender was a leaf of ours; in a past epoch its place may have been another's.
func (g *Group) sentByUs(m *messageKeys, i LeafIndex, then *LeafNode) bool {
	return g.leaves[i] != nil && (m == g.keys || bytes.Equal(then.SignatureKey, g.state.tree.leaf(i).SignatureKey))
}

// parsePrivateContent decodes PrivateMessageContent; what follows must be zero (RFC 9420 §6.3.1).
func parsePrivateContent(p *PrivateMessage, sender Sender, plain []byte) (*AuthenticatedContent, error) {
	a := &AuthenticatedContent{WireFormat: WirePrivateMessage, Content: FramedContent{
		GroupID: p.GroupID, Epoch: p.Epoch, Sender: sender, AuthenticatedData: p.AuthenticatedData, ContentType: p.ContentType}}
	d := NewDecoder(plain)
	a.Content.unmarshalBody(d)
	a.Auth.unmarshal(d, p.ContentType)
	for _, b := range d.Remaining() {
		if b != 0 {
			return nil, fmt.Errorf("%w: padding is not zero (RFC 9420 §6.3.1)", ErrSyntax)
		}
	}
	return a, d.Err()
}
