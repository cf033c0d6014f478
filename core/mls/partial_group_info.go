package mls

import (
	"bytes"
	"fmt"

	"mimigate/core/mls/internal/codec"
)

// RatchetTreeRepresentation says how a ratchet tree is handed over (draft-mahy-mls-ratchet-tree-options-03 §2).
type RatchetTreeRepresentation uint8

// Ratchet tree representations. The two whose tree_signature the draft leaves undefined are decoded, never made.
const (
	TreeFull                RatchetTreeRepresentation = 1
	TreeHTTPSURI            RatchetTreeRepresentation = 2
	TreeOutOfBand           RatchetTreeRepresentation = 3
	TreeDistributionService RatchetTreeRepresentation = 4
)

// RatchetTreeOption is draft-mahy-mls-ratchet-tree-options-03 §2.
type RatchetTreeOption struct {
	Representation RatchetTreeRepresentation
	Tree           []byte // TreeFull: the encoded ratchet_tree vector, as [NewPublicGroup] and [JoinOptions] take it
	URL            []byte // TreeHTTPSURI
	Signature      []byte // TreeHTTPSURI and TreeOutOfBand; what it covers is undefined, so it is not checked: the tree hash is
}

// MarshalMLS implements [Marshaler].
func (o *RatchetTreeOption) MarshalMLS(e *Encoder) {
	e.Uint8(uint8(o.Representation))
	switch o.Representation {
	case TreeFull:
		e.Raw(o.Tree)
	case TreeHTTPSURI:
		e.Opaque(o.URL)
		e.Opaque(o.Signature)
	case TreeOutOfBand:
		e.Opaque(o.Signature)
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (o *RatchetTreeOption) UnmarshalMLS(d *Decoder) {
	*o = RatchetTreeOption{Representation: RatchetTreeRepresentation(d.Uint8())}
	switch o.Representation {
	case TreeFull:
		rest := d.Remaining()
		body := d.Opaque()
		if d.Err() == nil {
			o.Tree = rest[:codec.VarintSize(len(body))+len(body)]
		}
	case TreeHTTPSURI:
		o.URL, o.Signature = d.Opaque(), d.Opaque()
	case TreeOutOfBand:
		o.Signature = d.Opaque()
	case TreeDistributionService:
	default:
		d.Failf("ratchet tree representation %d", o.Representation)
	}
}

// RatchetTreePresence says what a PartialGroupInfo did with the ratchet_tree extension
// (draft-mahy-mls-ratchet-tree-options-03 §3).
type RatchetTreePresence uint8

// Ratchet tree presences.
const (
	TreeAbsent  RatchetTreePresence = 0
	TreePresent RatchetTreePresence = 1
	TreeRemoved RatchetTreePresence = 2
	TreeAdded   RatchetTreePresence = 3
)

// PartialGroupInfo is a GroupInfo without what the receiver of the commit can work out
// (draft-mahy-mls-ratchet-tree-options-03 §3).
type PartialGroupInfo struct {
	Presence   RatchetTreePresence
	Extensions Extensions
	Signature  []byte
}

// MarshalMLS implements [Marshaler].
func (p *PartialGroupInfo) MarshalMLS(e *Encoder) {
	e.Uint8(uint8(p.Presence))
	p.Extensions.MarshalMLS(e)
	e.Opaque(p.Signature)
}

// UnmarshalMLS implements [Unmarshaler].
func (p *PartialGroupInfo) UnmarshalMLS(d *Decoder) {
	*p = PartialGroupInfo{Presence: RatchetTreePresence(d.Uint8())}
	if p.Presence > TreeAdded {
		d.Failf("ratchet tree presence %d", p.Presence)
	}
	p.Extensions.UnmarshalMLS(d)
	p.Signature = d.Opaque()
}

// Partial returns the partial form of a GroupInfo that carries no ratchet tree.
func (g *GroupInfo) Partial() *PartialGroupInfo {
	return &PartialGroupInfo{Extensions: g.Extensions, Signature: g.Signature}
}

// Rebuild completes the partial GroupInfo that came with a commit, from the epoch the commit begins, and verifies
// it as [PublicGroup.CheckGroupInfo] does. A presence that leaves the place of the ratchet tree among the
// extensions open is refused. The error wraps [ErrGroupInfo] or [ErrSignature].
func (g *PublicGroup) Rebuild(commit *Step, p *PartialGroupInfo) (*GroupInfo, error) {
	if p.Presence != TreeAbsent && p.Presence != TreeRemoved {
		return nil, fmt.Errorf("%w: partial, with a ratchet tree in an unknown place", ErrGroupInfo)
	}
	st, err := commit.begun()
	if err != nil {
		return nil, err
	}
	info := &GroupInfo{Context: st.context, Extensions: p.Extensions, ConfirmationTag: st.confirmation,
		Signer: commit.Commit.Committer, Signature: p.Signature}
	return info, g.CheckGroupInfo(commit, info)
}

// CheckGroupInfo verifies that a GroupInfo describes the epoch that a commit begins, is signed by the committer and
// carries external_pub. A valid signature is also the only sign, for one without secrets, that the committer
// vouches for the confirmation tag. The error wraps [ErrGroupInfo] or [ErrSignature].
func (g *PublicGroup) CheckGroupInfo(commit *Step, info *GroupInfo) error {
	st, err := commit.begun()
	if err != nil {
		return err
	}
	if !bytes.Equal(Marshal(&info.Context), st.contextBytes) || !bytes.Equal(info.ConfirmationTag, st.confirmation) {
		return fmt.Errorf("%w: of another epoch than the commit's", ErrGroupInfo)
	}
	if info.Signer != commit.Commit.Committer {
		return fmt.Errorf("%w: signed by leaf %d, not by the committer", ErrGroupInfo, info.Signer)
	}
	if err := info.Extensions.check(inGroupInfo); err != nil {
		return fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	if _, err := info.externalPub(); err != nil {
		return err
	}
	return info.verify(g.suite, st.tree.leaf(info.Signer).SignatureKey)
}

// begun is the epoch that a commit's step begins.
func (s *Step) begun() (*epochState, error) {
	if s.next == nil || s.Commit == nil {
		return nil, fmt.Errorf("%w: not a commit", ErrStep)
	}
	return s.next.state, nil
}

// Tree returns the ratchet tree of the epoch that a commit's step begins, as an encoded ratchet_tree vector (RFC 9420
// §12.4.3.3); nil for any other step.
func (s *Step) Tree() []byte {
	if s.next == nil {
		return nil
	}
	return s.next.state.tree.marshal()
}
