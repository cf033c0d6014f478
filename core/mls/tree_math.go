package mls

import "math/bits"

// Nodes are numbered as in the array of RFC 9420 appendix C: leaf i is node 2i, a parent stands between its
// children. Node indices exist on the wire (ratchet_tree, parent's unmerged leaves) and in storage; inside, the
// tree is one of pointers.
type nodeIndex uint32

// maxDepth bounds the tree: 2^18 leaves, so that a few bytes of blank nodes cannot demand gigabytes. RFC 9420 allows 2^31.
const maxDepth = 18

func (i LeafIndex) node() nodeIndex { return nodeIndex(i) * 2 }

// nodeAt is the node at the given level (0: leaves) whose leftmost leaf is first.
func nodeAt(first LeafIndex, level int) nodeIndex {
	return nodeIndex(first)*2 + 1<<level - 1
}

// level is how far above the leaves a node is.
func (n nodeIndex) level() int { return bits.TrailingZeros32(^uint32(n)) }

// first is the leftmost leaf below a node.
func (n nodeIndex) first() LeafIndex {
	return LeafIndex((uint32(n) - (1<<n.level() - 1)) / 2)
}

// commonAncestor is the lowest node above both leaves, which must differ.
func commonAncestor(a, b LeafIndex) nodeIndex {
	level := bits.Len32(uint32(a ^ b))
	return nodeAt(a>>level<<level, level)
}
