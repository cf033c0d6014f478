package mls

import "fmt"

// Record is one change to what is stored of a group. Keys are short byte strings, unique within the group; a nil
// Value deletes the key, or with Prefix every key that begins with it.
type Record struct {
	Key    []byte
	Value  []byte
	Prefix bool
}

// Step is the outcome of one operation: its result, and the delta to store with it. A step returned by Protect,
// Process (application messages and proposals), Propose, Commit, Drop or Merge is staged: memory is already
// ahead of storage. Settle it when the delta is stored; if that failed, Discard it and all after it are undone
// too. The step of a received commit is not staged: it changes nothing until given to Merge.
type Step struct {
	// Delta must be stored in order, in one transaction with whatever the caller derives from the step.
	Delta []Record

	Epoch             uint64 // epoch of the message; for Merge, the new epoch
	Sender            Sender
	AuthenticatedData []byte
	// Leaf is the sender's leaf node in the message's own epoch, nil for a sender that is no member: by now its
	// place in the tree may be somebody else's.
	Leaf       *LeafNode
	Generation uint32 // of an application message in its sender's ratchet

	Application []byte           // application data: opened, or as given to Protect
	Proposal    *PendingProposal // proposal received or made
	Commit      *CommitSummary   // commit received, made or merged

	Message   []byte     // MLSMessage to send: Protect, Propose, Commit
	Welcome   *Welcome   // Commit, when it adds members
	GroupInfo *GroupInfo // Commit, when asked for

	next    *next
	undo    []func()
	forget  [][]byte // secrets to erase once settled
	settled bool
}

// CommitSummary says what a commit does, for the application's own authorisation before Merge.
type CommitSummary struct {
	Committer LeafIndex // the new leaf for an external commit
	External  bool
	Proposals []ResolvedProposal
	Added     []AddedLeaf
	Removed   []LeafIndex
	Updated   []LeafIndex
	Context   *GroupContext // of the new epoch
	// Joined and Left are the local leaves that the commit adds and removes; empty for a PublicGroup.
	Joined, Left []LeafIndex
}

// AddedLeaf is a member that a commit adds by an Add proposal.
type AddedLeaf struct {
	Index      LeafIndex
	KeyPackage *KeyPackage
}

func (s *Step) put(key, value []byte) {
	s.Delta = append(s.Delta, Record{Key: key, Value: value})
}

func (s *Step) delete(key []byte) {
	s.Delta = append(s.Delta, Record{Key: key})
}

func (s *Step) deletePrefix(prefix []byte) {
	s.Delta = append(s.Delta, Record{Key: prefix, Prefix: true})
}

func (s *Step) rollback() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
	s.undo, s.forget = nil, nil
}

func (g *PublicGroup) stage(s *Step) *Step {
	g.steps = append(g.steps, s)
	return s
}

func (g *PublicGroup) staged(s *Step) (int, error) {
	for i := range g.steps {
		if g.steps[i] == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: not staged in this group", ErrStep)
}

// Settle makes a step and every one before it final: their deltas are stored. Consumed secrets are erased
// (RFC 9420 §9.2). The error wraps [ErrStep].
func (g *PublicGroup) Settle(s *Step) error {
	i, err := g.staged(s)
	if err != nil {
		return err
	}
	for _, done := range g.steps[:i+1] {
		for _, secret := range done.forget {
			clear(secret)
		}
		done.undo, done.forget, done.settled = nil, nil, true
	}
	rest := copy(g.steps, g.steps[i+1:])
	clear(g.steps[rest:])
	g.steps = g.steps[:rest]
	return nil
}

// Discard undoes a step and every one after it: the group is as it was before. The error wraps [ErrStep].
func (g *PublicGroup) Discard(s *Step) error {
	i, err := g.staged(s)
	if err != nil {
		return err
	}
	for j := len(g.steps) - 1; j >= i; j-- {
		g.steps[j].rollback()
	}
	clear(g.steps[i:])
	g.steps = g.steps[:i]
	return nil
}
