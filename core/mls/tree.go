package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ErrTree: a ratchet tree, or what a commit would make of it, breaks a rule of RFC 9420 §7.
var ErrTree = errors.New("mls: invalid ratchet tree")

// ParentNode is RFC 9420 §7.1. UnmergedLeaves is sorted.
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex

	owner *ownMark // the edit that may still change this node
}

// MarshalMLS implements [Marshaler].
func (p *ParentNode) MarshalMLS(e *Encoder) {
	e.Opaque(p.EncryptionKey)
	e.Opaque(p.ParentHash)
	marshalUnmerged(e, p.UnmergedLeaves)
}

func marshalUnmerged(e *Encoder, leaves []LeafIndex) {
	e.Length(4 * len(leaves))
	for _, l := range leaves {
		e.Uint32(uint32(l))
	}
}

// UnmarshalMLS implements [Unmarshaler].
func (p *ParentNode) UnmarshalMLS(d *Decoder) {
	*p = ParentNode{EncryptionKey: d.Opaque(), ParentHash: d.Opaque()}
	for i, v := range d.Uint32s() {
		if i > 0 && p.UnmergedLeaves[i-1] >= LeafIndex(v) {
			d.Failf("unmerged leaves not in increasing order")
			return
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, LeafIndex(v))
	}
}

func (p *ParentNode) clone() *ParentNode {
	return &ParentNode{EncryptionKey: bytes.Clone(p.EncryptionKey), ParentHash: bytes.Clone(p.ParentHash),
		UnmergedLeaves: slices.Clone(p.UnmergedLeaves)}
}

// node is one position of a ratchet tree. Once its tree is finished a node never changes, so epochs share
// what a commit did not touch. Blank nodes exist, so that their hashes are cached as well.
type node struct {
	left, right *node // nil at a leaf
	leaf        *LeafNode
	parent      *ParentNode
	hash        []byte   // tree hash (RFC 9420 §7.8)
	leaves      uint32   // how many leaves below are not blank
	owner       *ownMark // the edit that may still change this node
}

func (n *node) blank() bool { return n.leaf == nil && n.parent == nil }

func (n *node) encryptionKey() []byte {
	switch {
	case n.leaf != nil:
		return n.leaf.EncryptionKey
	case n.parent != nil:
		return n.parent.EncryptionKey
	}
	return nil
}

// tree is a ratchet tree of 2^depth leaves (RFC 9420 §4.1, §7.7). It is a value: edits make a new one.
type tree struct {
	root  *node
	depth int
}

func (t tree) size() uint32 { return 1 << t.depth }

// members is the number of leaves that are not blank.
func (t tree) members() int {
	if t.root == nil {
		return 0
	}
	return int(t.root.leaves)
}

// leaf returns the leaf node at i, nil when blank or outside.
func (t tree) leaf(i LeafIndex) *LeafNode {
	if uint64(i) >= uint64(t.size()) { // before i.node() can overflow
		return nil
	}
	if n := t.at(i.node()); n != nil {
		return n.leaf
	}
	return nil
}

// at returns the node at a node index, nil outside the tree.
func (t tree) at(i nodeIndex) *node {
	if t.root == nil || uint64(i) >= 2*uint64(t.size())-1 {
		return nil
	}
	n, level, first := t.root, t.depth, i.first()
	for ; level > i.level(); level-- {
		if first>>(level-1)&1 == 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// each calls f for every leaf that is not blank, in order, until f returns an error.
func (t tree) each(f func(LeafIndex, *LeafNode) error) error {
	var walk func(*node, LeafIndex, int) error
	walk = func(n *node, first LeafIndex, level int) error {
		if n == nil || n.leaves == 0 {
			return nil
		}
		if level == 0 {
			return f(first, n.leaf)
		}
		if err := walk(n.left, first, level-1); err != nil {
			return err
		}
		return walk(n.right, first+1<<(level-1), level-1)
	}
	return walk(t.root, 0, t.depth)
}

// nodeRef is a node with its index.
type nodeRef struct {
	*node
	index nodeIndex
}

// resolution appends the resolution (RFC 9420 §4.1.1) of the node at first and level to refs.
func (t tree) resolution(refs []nodeRef, n *node, first LeafIndex, level int) []nodeRef {
	if n.leaves == 0 {
		return refs
	}
	if !n.blank() {
		refs = append(refs, nodeRef{n, nodeAt(first, level)})
		if n.parent != nil {
			for _, l := range n.parent.UnmergedLeaves {
				refs = append(refs, nodeRef{t.at(l.node()), l.node()})
			}
		}
		return refs
	}
	refs = t.resolution(refs, n.left, first, level-1)
	return t.resolution(refs, n.right, first+1<<(level-1), level-1)
}

// pathStep is one node of a filtered direct path with its copath child (RFC 9420 §4.1.2).
type pathStep struct {
	index        nodeIndex
	copath       *node
	copathFirst  LeafIndex
	copathLevel  int
	onPathBefore *node // the child on the direct path
}

// filteredPath returns the filtered direct path of leaf i, from the bottom up.
func (t tree) filteredPath(i LeafIndex) []pathStep {
	steps := make([]pathStep, 0, t.depth)
	n := t.root
	for level := t.depth; level > 0; level-- {
		first := i >> level << level
		half := LeafIndex(1) << (level - 1)
		step := pathStep{index: nodeAt(first, level), copath: n.right, copathFirst: first + half, copathLevel: level - 1, onPathBefore: n.left}
		if i&half != 0 {
			step.copath, step.copathFirst, step.onPathBefore = n.left, first, n.right
		}
		n = step.onPathBefore
		if step.copath.leaves > 0 {
			steps = append(steps, step)
		}
	}
	slices.Reverse(steps)
	return steps
}

// ownMark identifies an edit. It has a size, so that every mark has an address of its own.
type ownMark struct{ _ byte }

// treeEdit makes a new tree out of an old one: nodes are copied on first touch and changed in place after that.
type treeEdit struct {
	tree
	mark *ownMark
}

func (t tree) edit() *treeEdit { return &treeEdit{tree: t, mark: new(ownMark)} }

// own returns a node that this edit may change, in place of n.
func (e *treeEdit) own(n *node) *node {
	if n.owner == e.mark {
		return n
	}
	c := *n
	c.owner, c.hash = e.mark, nil
	return &c
}

// descend calls visit for each owned ancestor of leaf i from the root down, then leaf for the owned leaf itself.
func (e *treeEdit) descend(i LeafIndex, visit func(n *node), leaf func(n *node)) {
	e.root = e.own(e.root)
	n := e.root
	for level := e.depth; level > 0; level-- {
		n.hash = nil
		visit(n)
		next := &n.left
		if i>>(level-1)&1 == 1 {
			next = &n.right
		}
		*next = e.own(*next)
		n = *next
	}
	n.hash = nil
	leaf(n)
}

// add puts a leaf at the leftmost blank position (RFC 9420 §7.7).
func (e *treeEdit) add(l *LeafNode) (LeafIndex, error) {
	if e.root == nil {
		e.root, e.depth = &node{owner: e.mark}, 0
	}
	if e.root.leaves == e.size() {
		if e.depth == maxDepth {
			return 0, fmt.Errorf("%w: more than 2^%d leaves", ErrTree, maxDepth)
		}
		e.root = &node{left: e.root, right: e.blankSubtree(e.depth), leaves: e.root.leaves, owner: e.mark}
		e.depth++
	}
	i := e.leftmostBlank()
	e.descend(i, func(n *node) {
		n.leaves++
		if n.parent != nil {
			n.parent = e.unmerge(n.parent, i)
		}
	}, func(n *node) { n.leaf, n.leaves = l, 1 })
	return i, nil
}

// unmerge adds a leaf to a parent's unmerged leaves, in place of p if this edit made p.
func (e *treeEdit) unmerge(p *ParentNode, i LeafIndex) *ParentNode {
	at, found := slices.BinarySearch(p.UnmergedLeaves, i)
	if found {
		return p
	}
	if p.owner != e.mark {
		p = &ParentNode{EncryptionKey: p.EncryptionKey, ParentHash: p.ParentHash, UnmergedLeaves: slices.Clone(p.UnmergedLeaves), owner: e.mark}
	}
	p.UnmergedLeaves = slices.Insert(p.UnmergedLeaves, at, i)
	return p
}

func (e *treeEdit) blankSubtree(depth int) *node {
	n := &node{owner: e.mark}
	if depth > 0 {
		n.left, n.right = e.blankSubtree(depth-1), e.blankSubtree(depth-1)
	}
	return n
}

func (e *treeEdit) leftmostBlank() LeafIndex {
	n, i := e.root, LeafIndex(0)
	for level := e.depth; level > 0; level-- {
		half := uint32(1) << (level - 1)
		if n.left.leaves < half {
			n = n.left
		} else {
			n, i = n.right, i+LeafIndex(half)
		}
	}
	return i
}

// update replaces a leaf and blanks its direct path (RFC 9420 §12.1.2).
func (e *treeEdit) update(i LeafIndex, l *LeafNode) {
	e.descend(i, func(n *node) { n.parent = nil }, func(n *node) { n.leaf = l })
}

// remove blanks a leaf and its direct path and cuts the tree (RFC 9420 §7.7, §12.1.3).
func (e *treeEdit) remove(i LeafIndex) {
	e.descend(i, func(n *node) { n.parent = nil; n.leaves-- }, func(n *node) { n.leaf, n.leaves = nil, 0 })
}

// truncate removes the right half of the tree as long as it has no leaf (RFC 9420 §7.7).
func (e *treeEdit) truncate() {
	for e.depth > 0 && e.root.right.leaves == 0 {
		e.root = e.root.left
		e.depth--
	}
}

// set puts a node at an index, for trees read from the wire or storage; the caller counts the leaves.
func (e *treeEdit) set(i nodeIndex, l *LeafNode, p *ParentNode) {
	e.descend(i.first(), func(*node) {}, func(*node) {})
	n := e.at(i)
	n.leaf, n.parent = l, p
}

// mergePath puts an update path's keys on the filtered direct path of leaf i, blanks the rest of the direct path
// and computes the parent hashes (RFC 9420 §7.5, §7.9). keys are bottom up. It returns the parent hash that the
// leaf must carry.
func (e *treeEdit) mergePath(s *suite, i LeafIndex, steps []pathStep, keys [][]byte) []byte {
	e.descend(i, func(n *node) { n.parent = nil }, func(*node) {})
	hash := []byte{}
	for k := len(steps) - 1; k >= 0; k-- {
		n := e.at(steps[k].index)
		n.parent = &ParentNode{EncryptionKey: keys[k], ParentHash: hash}
		sibling := e.at(nodeAt(steps[k].copathFirst, steps[k].copathLevel))
		hash = parentHash(s, n.parent, e.hashNode(s, sibling, steps[k].copathFirst, steps[k].copathLevel))
	}
	return hash
}

// setLeaf replaces a leaf without touching its direct path.
func (e *treeEdit) setLeaf(i LeafIndex, l *LeafNode) {
	e.descend(i, func(*node) {}, func(n *node) { n.leaf = l })
}

// finish computes the hashes still missing and returns the tree.
func (e *treeEdit) finish(s *suite) tree {
	e.hashNode(s, e.root, 0, e.depth)
	return e.tree
}

// hashNode returns the tree hash of a node, computing what is not cached (RFC 9420 §7.8).
func (e *treeEdit) hashNode(s *suite, n *node, first LeafIndex, level int) []byte {
	if n.hash != nil {
		return n.hash
	}
	if level == 0 {
		n.hash = leafHash(s, first, n.leaf)
		return n.hash
	}
	left := e.hashNode(s, n.left, first, level-1)
	right := e.hashNode(s, n.right, first+1<<(level-1), level-1)
	n.hash = parentNodeHash(s, n.parent, left, right)
	return n.hash
}

// diff calls f for every index at which the two trees hold different nodes; absent positions are nil.
func (t tree) diff(o tree, f func(i nodeIndex, old, next *node)) {
	var walk func(a, b *node, first LeafIndex, level int)
	walk = func(a, b *node, first LeafIndex, level int) {
		if a == b {
			return
		}
		if level > 0 {
			var al, ar, bl, br *node
			if a != nil {
				al, ar = a.left, a.right
			}
			if b != nil {
				bl, br = b.left, b.right
			}
			walk(al, bl, first, level-1)
			walk(ar, br, first+1<<(level-1), level-1)
		}
		if a == nil || b == nil || a.leaf != b.leaf || a.parent != b.parent {
			f(nodeAt(first, level), a, b)
		}
	}
	a, b := t.root, o.root
	for depth := t.depth; depth < o.depth; depth++ { // the smaller tree is the left part of the larger
		a = &node{left: a}
	}
	for depth := o.depth; depth < t.depth; depth++ {
		b = &node{left: b}
	}
	if a != nil || b != nil {
		walk(a, b, 0, max(t.depth, o.depth))
	}
}
