package room

import (
	"mimigate/core/mls"
	"mimigate/core/policy"
)

// Identify returns the user and client that a leaf's credential names. It is whoever runs the authentication service that knows.
type Identify func(*mls.LeafNode) (Leaf, error)

// Translate expresses an MLS proposal in the room's terms. sender is the leaf that sent it, for SelfRemove and Update; ref its
// reference, or empty for a proposal by value in a commit. The error is that of who, or of a malformed leaf extension.
func Translate(p *mls.Proposal, ref mls.ProposalRef, sender mls.LeafIndex, who Identify) (Proposal, error) {
	out := Proposal{Ref: ref, Type: p.Type}
	switch p.Type {
	case mls.ProposalAdd:
		var err error
		if out.Leaf, err = who(&p.Add.LeafNode); err != nil {
			return Proposal{}, err
		}
		life := p.Add.LeafNode.Lifetime
		out.Lifetime = max(life.NotAfter, life.NotBefore) - life.NotBefore
		out.Client, err = ClientOf(&p.Add.LeafNode)
		return out, err
	case mls.ProposalUpdate:
		l, err := who(p.Update)
		l.Index = sender
		out.Leaf = l
		return out, err
	case mls.ProposalRemove:
		out.Leaf.Index = p.Remove
	case mls.ProposalSelfRemove:
		out.Leaf.Index = sender
	case mls.ProposalAppDataUpdate:
		out.Component = policy.Component(p.AppDataUpdate.Component)
		out.Remove = p.AppDataUpdate.Operation == mls.OpRemove
		out.Data = p.AppDataUpdate.Update
	case mls.ProposalAppEphemeral:
		out.Component = policy.Component(p.AppEphemeral.Component)
	}
	return out, nil
}

// ClientOf returns what a client can do by its leaf: the RFC's capabilities and the lists of its dictionary (mls-extensions-10 §5).
// The error wraps mls.ErrSyntax.
func ClientOf(l *mls.LeafNode) (policy.ClientCapabilities, error) {
	var c policy.ClientCapabilities
	if l.Capabilities != nil {
		c.Versions, c.CipherSuites = numbers(l.Capabilities.Versions), numbers(l.Capabilities.CipherSuites)
		c.Extensions, c.Proposals = numbers(l.Capabilities.Extensions), numbers(l.Capabilities.Proposals)
		c.Credentials = numbers(l.Capabilities.Credentials)
	}
	dict, err := l.Dictionary()
	if err != nil {
		return c, err
	}
	if c.Components, err = componentsOf(dict, mls.ComponentAppComponents); err != nil {
		return c, err
	}
	if c.SafeAAD, err = componentsOf(dict, mls.ComponentSafeAAD); err != nil {
		return c, err
	}
	data, ok := dict.Get(mls.ComponentContentMediaTypes)
	if !ok {
		return c, nil
	}
	d := mls.NewDecoder(data)
	c.MediaTypes = decodeVector(d, decodeMediaType)
	return c, d.Finish()
}

func numbers[T ~uint16](list []T) []uint16 {
	out := make([]uint16, len(list))
	for i, v := range list {
		out[i] = uint16(v)
	}
	return out
}

func componentsOf(dict mls.AppDataDictionary, id mls.ComponentID) ([]policy.Component, error) {
	data, ok := dict.Get(id)
	if !ok {
		return nil, nil
	}
	d := mls.NewDecoder(data)
	list := decodeUint16s[policy.Component](d)
	return list, d.Finish()
}
