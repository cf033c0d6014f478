package mls

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
)

// leafHash is the tree hash of a leaf (RFC 9420 §7.8).
func leafHash(s *suite, i LeafIndex, l *LeafNode) []byte {
	e := NewEncoder(512)
	e.Uint8(1)
	e.Uint32(uint32(i))
	e.Bool(l != nil)
	if l != nil {
		l.MarshalMLS(e)
	}
	return s.sum(e.Bytes())
}

// parentNodeHash is the tree hash of a parent (RFC 9420 §7.8).
func parentNodeHash(s *suite, p *ParentNode, left, right []byte) []byte {
	e := NewEncoder(256)
	e.Uint8(2)
	e.Bool(p != nil)
	if p != nil {
		p.MarshalMLS(e)
	}
	e.Opaque(left)
	e.Opaque(right)
	return s.sum(e.Bytes())
}

// parentHash is RFC 9420 §7.9; siblingHash is the original tree hash of the sibling.
func parentHash(s *suite, p *ParentNode, siblingHash []byte) []byte {
	e := NewEncoder(256)
	e.Opaque(p.EncryptionKey)
	e.Opaque(p.ParentHash)
	e.Opaque(siblingHash)
	return s.sum(e.Bytes())
}

// hashWithout is the tree hash a subtree had before the leaves in removed (sorted) were added: the original
// tree hash of RFC 9420 §7.9.
func (t tree) hashWithout(s *suite, n *node, first LeafIndex, level int, removed []LeafIndex) []byte {
	from := sort.Search(len(removed), func(i int) bool { return removed[i] >= first })
	to := sort.Search(len(removed), func(i int) bool { return uint64(removed[i]) >= uint64(first)+1<<level })
	removed = removed[from:to]
	if len(removed) == 0 {
		return n.hash
	}
	if level == 0 {
		return leafHash(s, first, nil)
	}
	p := n.parent
	if p != nil {
		kept := slices.DeleteFunc(slices.Clone(p.UnmergedLeaves), func(l LeafIndex) bool {
			_, gone := slices.BinarySearch(removed, l)
			return gone
		})
		p = &ParentNode{EncryptionKey: p.EncryptionKey, ParentHash: p.ParentHash, UnmergedLeaves: kept}
	}
	left := t.hashWithout(s, n.left, first, level-1, removed)
	right := t.hashWithout(s, n.right, first+1<<(level-1), level-1, removed)
	return parentNodeHash(s, p, left, right)
}

// checkParentHashes verifies that every parent node is parent-hash valid (RFC 9420 §7.9.2) and that its
// unmerged leaves are leaves below it, unmerged all the way down.
func (t tree) checkParentHashes(s *suite) error {
	var walk func(n *node, first LeafIndex, level int) error
	walk = func(n *node, first LeafIndex, level int) error {
		if level == 0 {
			return nil
		}
		half := LeafIndex(1) << (level - 1)
		if n.parent != nil {
			if err := t.checkUnmerged(n, first, level); err != nil {
				return err
			}
			if !t.parentHashValid(s, n.parent, n.left, first, n.right, first+half, level-1) &&
				!t.parentHashValid(s, n.parent, n.right, first+half, n.left, first, level-1) {
				return fmt.Errorf("%w: node %d is not parent-hash valid (RFC 9420 §7.9.2)", ErrTree, nodeAt(first, level))
			}
		}
		if err := walk(n.left, first, level-1); err != nil {
			return err
		}
		return walk(n.right, first+half, level-1)
	}
	return walk(t.root, 0, t.depth)
}

// checkUnmerged verifies that each unmerged leaf of n is an occupied leaf below n, and unmerged at every
// non-blank node between (RFC 9420 §7.9.2, §12.4.3.1).
func (t tree) checkUnmerged(n *node, first LeafIndex, level int) error {
	for _, l := range n.parent.UnmergedLeaves {
		if l < first || uint64(l) >= uint64(first)+1<<level || t.leaf(l) == nil {
			return fmt.Errorf("%w: unmerged leaf %d is not a leaf below node %d (RFC 9420 §7.9.2)", ErrTree, l, nodeAt(first, level))
		}
		for m, k := n, level; k > 0; k-- {
			if m.parent != nil {
				if _, ok := slices.BinarySearch(m.parent.UnmergedLeaves, l); !ok {
					return fmt.Errorf("%w: leaf %d is unmerged at node %d but not below (RFC 9420 §7.9.2)", ErrTree, l, nodeAt(first, level))
				}
			}
			if l>>(k-1)&1 == 0 {
				m = m.left
			} else {
				m = m.right
			}
		}
	}
	return nil
}

// parentHashValid reports whether p is parent-hash valid with respect to a descendant below its child c, whose
// sibling is o (RFC 9420 §7.9.2).
func (t tree) parentHashValid(s *suite, p *ParentNode, c *node, cFirst LeafIndex, o *node, oFirst LeafIndex, level int) bool {
	if c.leaves == 0 {
		return false
	}
	want := parentHash(s, p, t.hashWithout(s, o, oFirst, level, p.UnmergedLeaves))
	below := 0 // unmerged leaves of p under c
	for _, l := range p.UnmergedLeaves {
		if l >= cFirst && uint64(l) < uint64(cFirst)+1<<level {
			below++
		}
	}
	resolution := t.resolution(nil, c, cFirst, level)
	if len(resolution) != below+1 {
		return false
	}
	found := false
	for _, r := range resolution {
		if r.leaf != nil {
			if _, unmerged := slices.BinarySearch(p.UnmergedLeaves, LeafIndex(r.index/2)); unmerged {
				continue
			}
		}
		if found || !bytes.Equal(r.parentHash(), want) {
			return false
		}
		found = true
	}
	return found
}

// parentHash is the parent_hash a node carries, nil if it has none.
func (n *node) parentHash() []byte {
	switch {
	case n.parent != nil:
		return n.parent.ParentHash
	case n.leaf != nil && n.leaf.Source == SourceCommit:
		return n.leaf.ParentHash
	}
	return nil
}

// marshal encodes the tree as ratchet_tree (RFC 9420 §12.4.3.3): no blank nodes at the end.
func (t tree) marshal() []byte {
	last := t.lastLeaf().node()
	e := NewEncoder(int(t.root.leaves) * 600)
	start := e.Open()
	var walk func(n *node, first LeafIndex, level int)
	walk = func(n *node, first LeafIndex, level int) { // in order: left, node, right
		if level > 0 {
			walk(n.left, first, level-1)
		}
		if nodeAt(first, level) <= last {
			n.marshal(e)
		}
		if level > 0 && nodeAt(first, level) < last {
			walk(n.right, first+1<<(level-1), level-1)
		}
	}
	walk(t.root, 0, t.depth)
	e.Close(start)
	return e.Bytes()
}

// lastLeaf is the rightmost leaf that is not blank.
func (t tree) lastLeaf() LeafIndex {
	n, i := t.root, LeafIndex(0)
	for level := t.depth; level > 0; level-- {
		if n.right.leaves > 0 {
			n, i = n.right, i+1<<(level-1)
		} else {
			n = n.left
		}
	}
	return i
}

// marshal encodes optional<Node> (RFC 9420 §12.4.3.3).
func (n *node) marshal(e *Encoder) {
	switch {
	case n.leaf != nil:
		e.Uint8(1)
		e.Uint8(1)
		n.leaf.MarshalMLS(e)
	case n.parent != nil:
		e.Uint8(1)
		e.Uint8(2)
		n.parent.MarshalMLS(e)
	default:
		e.Uint8(0)
	}
}

// unmarshalNode decodes optional<Node> for a position; a leaf node may only stand at a leaf position and a parent
// node only at a parent position.
func unmarshalNode(d *Decoder, i nodeIndex) (l *LeafNode, p *ParentNode) {
	if !d.Bool() {
		return nil, nil
	}
	switch t := d.Uint8(); {
	case t == 1 && i.level() == 0:
		l = new(LeafNode)
		l.UnmarshalMLS(d)
	case t == 2 && i.level() > 0:
		p = new(ParentNode)
		p.UnmarshalMLS(d)
	default:
		d.Failf("node type %d at index %d", t, i)
	}
	return l, p
}

// parseTree decodes a ratchet_tree and computes its hashes. It checks the shape only; see tree.check.
func parseTree(s *suite, data []byte, in *interner) (tree, error) {
	d := NewDecoder(data)
	var nodes []*node
	d.Vector(func(d *Decoder) {
		i := nodeIndex(len(nodes))
		if i >= 2<<maxDepth {
			d.Failf("more than 2^%d leaves", maxDepth)
			return
		}
		l, p := unmarshalNode(d, i)
		n := new(node)
		if l != nil && d.Err() == nil {
			n.leaf, n.leaves = l.compact(in), 1
		}
		if p != nil {
			n.parent = p.clone()
		}
		nodes = append(nodes, n)
	})
	if err := d.Finish(); err != nil {
		return tree{}, err
	}
	if len(nodes) == 0 || nodes[len(nodes)-1].leaf == nil {
		// A parent cannot be last either: with nobody in its right half it is filtered from every path (§4.1.2).
		return tree{}, fmt.Errorf("%w: tree is empty or does not end with a leaf (RFC 9420 §12.4.3.3)", ErrTree)
	}
	e := &treeEdit{mark: new(ownMark)}
	for e.depth = 0; 2*uint64(e.size())-1 < uint64(len(nodes)); e.depth++ {
	}
	e.root = assemble(func(i nodeIndex) *node {
		if int(i) < len(nodes) {
			return nodes[i]
		}
		return nil
	}, 0, e.depth)
	return e.finish(s), nil
}

// assemble links nodes into a tree; positions without one are blank.
func assemble(at func(nodeIndex) *node, first LeafIndex, level int) *node {
	n := at(nodeAt(first, level))
	if n == nil {
		n = new(node)
	}
	if level > 0 {
		n.left = assemble(at, first, level-1)
		n.right = assemble(at, first+1<<(level-1), level-1)
		n.leaves = n.left.leaves + n.right.leaves
	}
	return n
}
